/* team_entmax.h (GPU only): 1.5-entmax of a row by a team of items: its threshold by Newton's steps from the
 * left (entmax.h explains why they climb). The row is read again each round, from the cache. Rounds continue
 * until every team of the group is done, and a team that is done no longer moves, so that a row's result does
 * not depend on its neighbours. / */
#ifndef TEAM_ENTMAX_H
#define TEAM_ENTMAX_H
#include "team.h"
#include "type.h"
#define ROUNDS 24
#define ENOUGH 1e-5f

/* Of the n values (of type Tx) at `from`, the largest of which is top; going: room for TEAMS.
 * All items of the group come by. */
static inline float team_entmax(local float2 *shelf, local int *going, global const TYPE(Tx) *from,
                                long n, float top)
{
    const int team = get_local_id(0) / TEAM;
    float tau = -1;
    bool active = n > 0;
    for (int round = 0, any = 1; round < ROUNDS && any; round++) {
        float2 s = 0;
        MINE(j, n) {
            const float d = fmax((LOAD_1(Tx, from + j) - top) * 0.5f - tau, 0.0f);
            s = fma((float2)(1, d), (float2)d, s);
        }
        s = team_sum2(shelf, TEAM, s);
        const float step = (s.y - sqrt(s.y)) / s.x;
        tau += active ? step : 0;
        active &= step > ENOUGH;                  // NaN leaves too
        going[team] = active;
        barrier(CLK_LOCAL_MEM_FENCE);
        any = 0;
        for (int t = 0; t < TEAMS; t++)
            any |= going[t];
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    return tau;
}

static inline float entmax_part(float x, float top, float tau)
{
    const float z = (x - top) * 0.5f - tau, d = fmax(z, 0.0f);
    return isnan(z) ? z : d * d;                  // a NaN stays one
}
#endif
