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
#include "type.h"
#include "team.h"
#include "special.h"

kernel GROUP void softmax_rows(global const TYPE(Tx) *x, global TYPE(Ty) *y, long a, long r, long b,
                               long block)
{
    TEAM_ROW(a, r);
    global const TYPE(Tx) *from = x + i * r;
    float top = -INFINITY, s = 0;
    MINE(j, n)
        top = fmax(top, LOAD_1(Tx, from + j));
    top = team_max(shelf, TEAM, top);
    MINE(j, n)
        s += exp_decay_1(LOAD_1(Tx, from + j) - top);
    const float scale = 1.0f / team_sum(shelf, TEAM, s);
    MINE(j, n)
        STORE_1(Ty, exp_decay_1(LOAD_1(Tx, from + j) - top) * scale, y + i * r + j);
}

kernel GROUP void softmax_columns(global const TYPE(Tx) *x, global TYPE(Ty) *y, long a, long r, long b,
                                  long block)
{
    TILE(r, b, block);
    float top = -INFINITY, s = 0;
    for (long j = down; j < rows; j += step)
        top = fmax(top, LOAD_1(Tx, x + base + j * b));
    shelf[me].x = top;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int k = 0; k < step; k++)
        top = fmax(top, shelf[k * cols + across].x);
    for (long j = down; j < rows; j += step)
        s += exp_decay_1(LOAD_1(Tx, x + base + j * b) - top);
    shelf[me].y = s;
    barrier(CLK_LOCAL_MEM_FENCE);
    s = 0;
    for (int k = 0; k < step; k++)
        s += shelf[k * cols + across].y;
    const float scale = 1.0f / s;
    for (long j = down; j < rows; j += step)
        STORE_1(Ty, exp_decay_1(LOAD_1(Tx, x + base + j * b) - top) * scale, y + base + j * b);
}

kernel GROUP void softmax_grad_rows(global const TYPE(Tx) *y, global const TYPE(Tg) *g,
                                    global TYPE(Ty) *dx, long a, long r, long b, long block)
{
    TEAM_ROW(a, r);
    float s = 0;
    MINE(j, n)
        s = fma(LOAD_1(Tx, y + i * r + j), LOAD_1(Tg, g + i * r + j), s);
    s = team_sum(shelf, TEAM, s);
    MINE(j, n)
        STORE_1(Ty, LOAD_1(Tx, y + i * r + j) * (LOAD_1(Tg, g + i * r + j) - s), dx + i * r + j);
}

kernel GROUP void softmax_grad_columns(global const TYPE(Tx) *y, global const TYPE(Tg) *g,
                                       global TYPE(Ty) *dx, long a, long r, long b, long block)
{
    TILE(r, b, block);
    float s = 0;
    for (long j = down; j < rows; j += step)
        s = fma(LOAD_1(Tx, y + base + j * b), LOAD_1(Tg, g + base + j * b), s);
    shelf[me].x = s;
    barrier(CLK_LOCAL_MEM_FENCE);
    s = 0;
    for (int k = 0; k < step; k++)
        s += shelf[k * cols + across].x;
    for (long j = down; j < rows; j += step)
        STORE_1(Ty, LOAD_1(Tx, y + base + j * b) * (LOAD_1(Tg, g + base + j * b) - s), dx + base + j * b);
}
