/* softmax.cl for GPUs. _rows: a team takes a row of (a r). _columns: a group takes `block` columns of one a,
 * several items for each, so that a row of the tile is one run of memory; their maxima and sums meet in local
 * memory, in order.
 *
 *          block
 *        +--------+
 *      r |  tile  |  item (x, y) takes rows y, y + step, ..
 *        +--------+
 *
 * Bound by memory: the second pass finds most of the array in the cache. x and y may be the same array.
 */
#include "team.h"
#include "special.h"

__kernel GROUP void softmax_rows(__global const float *x, __global float *y, long a, long r, long b,
                                 long block)
{
    TEAM_ROW(a, r);
    __global const float *from = x + i * r;
    float top = -INFINITY, s = 0;
    MINE(j, n)
        top = fmax(top, from[j]);
    top = team_max(shelf, TEAM, top);
    MINE(j, n)
        s += exp_decay_1(from[j] - top);
    const float scale = 1.0f / team_sum(shelf, TEAM, s);
    MINE(j, n)
        y[i * r + j] = exp_decay_1(from[j] - top) * scale;
}

__kernel GROUP void softmax_columns(__global const float *x, __global float *y, long a, long r, long b,
                                    long block)
{
    TILE(r, b, block);
    float top = -INFINITY, s = 0;
    for (long j = down; j < rows; j += step)
        top = fmax(top, x[base + j * b]);
    shelf[me].x = top;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int k = 0; k < step; k++)
        top = fmax(top, shelf[k * cols + across].x);
    for (long j = down; j < rows; j += step)
        s += exp_decay_1(x[base + j * b] - top);
    shelf[me].y = s;
    barrier(CLK_LOCAL_MEM_FENCE);
    s = 0;
    for (int k = 0; k < step; k++)
        s += shelf[k * cols + across].y;
    const float scale = 1.0f / s;
    for (long j = down; j < rows; j += step)
        y[base + j * b] = exp_decay_1(x[base + j * b] - top) * scale;
}

__kernel GROUP void softmax_grad_rows(__global const float *y, __global const float *g, __global float *dx,
                                      long a, long r, long b, long block)
{
    TEAM_ROW(a, r);
    float s = 0;
    MINE(j, n)
        s = fma(y[i * r + j], g[i * r + j], s);
    s = team_sum(shelf, TEAM, s);
    MINE(j, n)
        dx[i * r + j] = y[i * r + j] * (g[i * r + j] - s);
}

__kernel GROUP void softmax_grad_columns(__global const float *y, __global const float *g, __global float *dx,
                                         long a, long r, long b, long block)
{
    TILE(r, b, block);
    float s = 0;
    for (long j = down; j < rows; j += step)
        s = fma(y[base + j * b], g[base + j * b], s);
    shelf[me].x = s;
    barrier(CLK_LOCAL_MEM_FENCE);
    s = 0;
    for (int k = 0; k < step; k++)
        s += shelf[k * cols + across].x;
    for (long j = down; j < rows; j += step)
        dx[base + j * b] = y[base + j * b] * (g[base + j * b] - s);
}
