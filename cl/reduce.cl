/* reduce.cl: sums of the middle axis of (a r b). Group (., p, .) sums split p of r, `chunk` rows from p chunk.
 * Bound by memory. Order of a sum: 16 running sums along a row (sum_rows), rows in order (sum_columns).
 */
#include "type.h"

kernel ALONE void sum_rows(global const TYPE(Tx) *x, global TYPE(Ty) *y, long a, long r, long b,
                           long chunk, long block)
{
    const long splits = get_num_groups(1), p = get_group_id(1), j0 = p * chunk, j1 = min(r, j0 + chunk);
    const long i0 = get_group_id(0) * block, i1 = min(a, i0 + block);
    for (long i = i0; i < i1; i++) {
        global const TYPE(Tx) *row = x + i * r;
        float16 s = 0;
        for (long j = j0; j < j1; j += 16)
            s += LOAD_16(Tx, row + j, j1 - j, 0);
        STORE_1(Ty, sum_16(s), y + i * splits + p);
    }
}

kernel ALONE void sum_columns(global const TYPE(Tx) *x, global TYPE(Ty) *y, long a, long r, long b,
                              long chunk, long block)
{
    const long splits = get_num_groups(1), p = get_group_id(1), j0 = p * chunk, j1 = min(r, j0 + chunk);
    const long c0 = get_group_id(0) * block, c1 = min(b, c0 + block);
    for (long i = get_group_id(2); i < a; i += get_num_groups(2))
        for (long c = c0; c < c1; c += 16) {
            const long left = c1 - c;
            float16 s = 0;
            for (long j = j0; j < j1; j++)
                s += LOAD_16(Tx, x + (i * r + j) * b + c, left, 0);
            STORE_16(Ty, s, y + (i * splits + p) * b + c, left);
        }
}
