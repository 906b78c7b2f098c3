/* entmax.cl for GPUs: a team takes a row and finds its threshold by Newton's steps from the left (cl/entmax.h
 * explains why they climb); the row is read again each round, from the cache. Rounds continue until every
 * team of the group is done, and a team that is done no longer moves, so that a row's result does not depend
 * on its neighbours.
 */
#include "team.h"
#define ROUNDS 24
#define ENOUGH 1e-5f

__kernel GROUP void entmax15(__global const float *x, __global float *y, long rows, long cols, long block)
{
    TEAM_ROW(rows, cols);
    __local int going[TEAMS];
    __global const float *from = x + i * cols;
    const int team = get_local_id(0) / TEAM;
    float top = -INFINITY, tau = -1;
    MINE(j, n)
        top = fmax(top, from[j]);
    top = team_max(shelf, TEAM, top);
    bool active = n > 0;
    for (int round = 0, any = 1; round < ROUNDS && any; round++) {
        float2 s = 0;
        MINE(j, n) {
            const float d = fmax((from[j] - top) * 0.5f - tau, 0.0f);
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
    MINE(j, n) {
        const float z = (from[j] - top) * 0.5f - tau, d = fmax(z, 0.0f);
        y[i * cols + j] = isnan(z) ? z : d * d;   // a NaN stays one
    }
}

__kernel GROUP void entmax15_grad(__global const float *y, __global const float *g, __global float *dx,
                                  long rows, long cols, long block)
{
    TEAM_ROW(rows, cols);
    float2 s = 0;
    MINE(j, n) {
        const float root = sqrt(y[i * cols + j]);
        s = fma((float2)(1, g[i * cols + j]), (float2)root, s);
    }
    s = team_sum2(shelf, TEAM, s);
    const float mean = s.y / s.x;
    MINE(j, n)
        dx[i * cols + j] = sqrt(y[i * cols + j]) * (g[i * cols + j] - mean);
}
