/* entmax.cl for GPUs: a team takes a row; team_entmax.h finds its threshold. */
#include "team_entmax.h"

__kernel GROUP void entmax15(__global const float *x, __global float *y, long rows, long cols, long block)
{
    TEAM_ROW(rows, cols);
    __local int going[TEAMS];
    __global const float *from = x + i * cols;
    float top = -INFINITY;
    MINE(j, n)
        top = fmax(top, from[j]);
    top = team_max(shelf, TEAM, top);
    const float tau = team_entmax(shelf, going, from, n, top);
    MINE(j, n)
        y[i * cols + j] = entmax_part(from[j], top, tau);
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
