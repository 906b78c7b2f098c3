/* reduce.cl for GPUs: sums of the middle axis of (a r b); group (., p, .) sums split p. Bound by memory.
 *
 *   sum_rows      a long row is one group's, a short one a team's; both end in a tree
 *   sum_columns   `block` columns a group, several items for each, as in softmax.cl
 */
#include "type.h"
#include "team.h"
#define LONG (8 * ITEMS)

kernel GROUP void sum_rows(global const TYPE(Tx) *x, global TYPE(Ty) *y, long a, long r, long b,
                           long chunk, long block)
{
    SHELF;
    const long splits = get_num_groups(1), p = get_group_id(1), j0 = p * chunk, j1 = min(r, j0 + chunk);
    const int team = chunk >= LONG ? ITEMS : TEAM, teams = ITEMS / team, lane = get_local_id(0) & (team - 1);
    const long i0 = get_group_id(0) * block, i1 = min(a, i0 + block);
    for (long first = i0; first < i1; first += teams) {
        const long i = first + get_local_id(0) / team, end = i < i1 ? j1 : 0;
        float s = 0;
        for (long j = j0 + lane; j < end; j += team)
            s += LOAD_1(Tx, x + i * r + j);
        s = team_sum(shelf, team, s);
        if (end && lane == 0)
            STORE_1(Ty, s, y + i * splits + p);
    }
}

kernel GROUP void sum_columns(global const TYPE(Tx) *x, global TYPE(Ty) *y, long a, long r, long b,
                              long chunk, long block)
{
    SHELF;
    const int cols = block, me = get_local_id(0), across = me % cols, down = me / cols, step = ITEMS / cols;
    const long splits = get_num_groups(1), p = get_group_id(1), c = get_group_id(0) * cols + across;
    const long j0 = p * chunk, j1 = c < b ? min(r, j0 + chunk) : 0;
    for (long i = get_group_id(2); i < a; i += get_num_groups(2)) {
        float s = 0;
        for (long j = j0 + down; j < j1; j += step)
            s += LOAD_1(Tx, x + (i * r + j) * b + c);
        shelf[me].x = s;
        barrier(CLK_LOCAL_MEM_FENCE);
        s = 0;
        for (int k = 0; k < step; k++)
            s += shelf[k * cols + across].x;
        if (j1 && down == 0)
            STORE_1(Ty, s, y + (i * splits + p) * b + c);
        barrier(CLK_LOCAL_MEM_FENCE);
    }
}
