/* loss.cl for GPUs: a group takes a row. */
#include "team.h"
#include "special.h"

/* max z, log sum exp(z - max z) */
static inline float2 log_sum(global const float *z, long n, local float2 *shelf)
{
    float top = -INFINITY, s = 0;
    MINE(j, n)
        top = fmax(top, z[j]);
    top = team_max(shelf, TEAM, top);
    MINE(j, n)
        s += exp_decay_1(z[j] - top);
    return (float2)(top, log(team_sum(shelf, TEAM, s)));
}

kernel GROUP void cross_entropy(global const float *logits, global const float *target,
                                global float *loss, long rows, long cols, float smoothing)
{
    TEAM_ROW(rows, cols);
    global const float *z = logits + i * cols, *t = target + i * cols;
    const float2 top = log_sum(z, n, shelf);
    float s = 0;
    MINE(j, n)
        s = fma(fma(t[j], 1 - smoothing, smoothing / cols), top.x + top.y - z[j], s);
    s = team_sum(shelf, TEAM, s);
    if (n && LANE == 0)
        loss[i] = s;
}

kernel GROUP void cross_entropy_grad(global const float *logits, global const float *target,
                                     global const float *g, global float *dz, long rows, long cols,
                                     float smoothing)
{
    TEAM_ROW(rows, cols);
    global const float *z = logits + i * cols, *t = target + i * cols;
    const float2 top = log_sum(z, n, shelf);
    MINE(j, n)
        dz[i * cols + j] = (exp_1(z[j] - top.x - top.y) - fma(t[j], 1 - smoothing, smoothing / cols)) * g[i];
}
