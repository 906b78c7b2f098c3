/* softmax.cl: softmax of the middle axis of (a r b), and its gradient dx = y (g - sum(g y)).
 * _rows (b = 1): an item takes `block` rows, float16 along the row, which stays in L1 between the passes.
 * _columns: an item takes 64 columns of one a, 16 at a time, walking down r; neighbours in memory go together.
 * Bound by memory: every value is read and written once. x and y may be the same array.
 */
#include "special.h"

__kernel ALONE void softmax_rows(__global const float *x, __global float *y, long a, long r, long b, long block)
{
    const long i1 = min(a, (long)(get_group_id(0) + 1) * block);
    for (long i = get_group_id(0) * block; i < i1; i++) {
        __global const float *from = x + i * r;
        __global float *to = y + i * r;
        float16 m = -INFINITY, s = 0;
        for (long j = 0; j < r; j += 16)
            m = fmax(m, load_16(from + j, r - j, -INFINITY));
        const float top = max_16(m);
        for (long j = 0; j < r; j += 16) {
            const long left = r - j;
            const float16 e = exp_16(load_16(from + j, left, -INFINITY) - top);
            store_16(e, to + j, left);
            s += e;
        }
        const float scale = 1.0f / sum_16(s);
        for (long j = 0; j < r; j += 16) {
            const long left = r - j;
            store_16(load_16(to + j, left, 0) * scale, to + j, left);
        }
    }
}

__kernel ALONE void softmax_columns(__global const float *x, __global float *y, long a, long r, long b, long block)
{
    const long groups = (b + block - 1) / block, base = get_group_id(0) / groups * r * b;
    const long c0 = get_group_id(0) % groups * block, c1 = min(b, c0 + block);
    for (long c = c0; c < c1; c += 16) {
        const long left = c1 - c;
        float16 m = -INFINITY, s = 0;
        for (long j = 0; j < r; j++)
            m = fmax(m, load_16(x + base + j * b + c, left, 0));
        for (long j = 0; j < r; j++) {
            const float16 e = exp_16(load_16(x + base + j * b + c, left, 0) - m);
            store_16(e, y + base + j * b + c, left);
            s += e;
        }
        const float16 scale = 1.0f / s;
        for (long j = 0; j < r; j++)
            store_16(load_16(y + base + j * b + c, left, 0) * scale, y + base + j * b + c, left);
    }
}

__kernel ALONE void softmax_grad_rows(__global const float *y, __global const float *g, __global float *dx, long a, long r, long b, long block)
{
    const long i1 = min(a, (long)(get_group_id(0) + 1) * block);
    for (long i = get_group_id(0) * block; i < i1; i++) {
        float16 s = 0;
        for (long j = 0; j < r; j += 16) {
            const long left = r - j;
            s += load_16(y + i * r + j, left, 0) * load_16(g + i * r + j, left, 0);
        }
        const float dot = sum_16(s);
        for (long j = 0; j < r; j += 16) {
            const long left = r - j;
            store_16(load_16(y + i * r + j, left, 0) * (load_16(g + i * r + j, left, 0) - dot), dx + i * r + j, left);
        }
    }
}

__kernel ALONE void softmax_grad_columns(__global const float *y, __global const float *g, __global float *dx, long a, long r, long b,
                          long block)
{
    const long groups = (b + block - 1) / block, base = get_group_id(0) / groups * r * b;
    const long c0 = get_group_id(0) % groups * block, c1 = min(b, c0 + block);
    for (long c = c0; c < c1; c += 16) {
        const long left = c1 - c;
        float16 s = 0;
        for (long j = 0; j < r; j++)
            s += load_16(y + base + j * b + c, left, 0) * load_16(g + base + j * b + c, left, 0);
        for (long j = 0; j < r; j++) {
            const long at = base + j * b + c;
            store_16(load_16(y + at, left, 0) * (load_16(g + at, left, 0) - s), dx + at, left);
        }
    }
}
