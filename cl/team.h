/* team.h: groups of TEAM x TEAMS items, for the kernels of cl/gpu: a team of TEAM neighbouring items works on
 * one row, so that what they read is one run of memory. Sums and maxima of a team are trees in local memory:
 * a fixed order.
 *
 *     lanes      0 1 2 .. TEAM-1 | TEAM .. 2 TEAM-1 | ..       every item of the group must come by: there
 *                   team 0       |      team 1      |          are barriers in team_sum, team_sum2, team_max
 */
#ifndef TEAM_H
#define TEAM_H

#ifndef TEAM
#define TEAM  64
#define TEAMS 4
#endif
#define ITEMS (TEAM * TEAMS)
#define GROUP __attribute__((reqd_work_group_size(ITEMS, 1, 1)))
#define SHELF __local float2 shelf[ITEMS]

#define TEAM_TREE(type, part, step)                             \
    const int me = get_local_id(0), lane = me & (team - 1);     \
    shelf[me] part = x;                                         \
    barrier(CLK_LOCAL_MEM_FENCE);                               \
    for (int far = team / 2; far > 0; far /= 2) {               \
        if (lane < far)                                         \
            shelf[me] part = step;                              \
        barrier(CLK_LOCAL_MEM_FENCE);                           \
    }                                                           \
    const type all = shelf[me - lane] part;                     \
    barrier(CLK_LOCAL_MEM_FENCE);                               \
    return all;

/* Over `team` neighbours: a power of two, the same for all items. */
static inline float team_sum(__local float2 *shelf, int team, float x)
{
    TEAM_TREE(float, .x, shelf[me].x + shelf[me + far].x)
}

static inline float2 team_sum2(__local float2 *shelf, int team, float2 x)
{
    TEAM_TREE(float2, , shelf[me] + shelf[me + far])
}

static inline float team_max(__local float2 *shelf, int team, float x)
{
    TEAM_TREE(float, .x, fmax(shelf[me].x, shelf[me + far].x))
}

/* A row for each team: row i of n values; a team beyond the last has none (n = 0), and comes by all barriers
 * like the others. The grid has a group for every TEAMS rows. */
#define TEAM_ROW(rows, cols)                                                                    \
    SHELF;                                                                                      \
    const long i = (long)get_group_id(0) * TEAMS + get_local_id(0) / TEAM, n = i < (rows) ? (cols) : 0
#define LANE ((long)get_local_id(0) & (TEAM - 1))
#define MINE(j, n) for (long j = LANE; j < (n); j += TEAM)
#endif
