/* softmax.cl: softmax of the middle axis of (a r b), and its gradient dx = y (g - sum(g y)).
 * _rows (b = 1): an item takes `block` rows, float16 along the row, which stays in L1 between the passes.
 * _columns: an item takes `block` columns of one a, walking down r with two vectors side by side: rows begin
 * anywhere, so one vector touches two cache lines, but two touch three. 197 rows of them stay in L1.
 * Bound by memory: every value is read and written once. x and y may be the same array.
 */
#include "special.h"

kernel ALONE void softmax_rows(global const float *x, global float *y, long a, long r, long b,
                               long block)
{
    const long i1 = min(a, (long)(get_group_id(0) + 1) * block);
    for (long i = get_group_id(0) * block; i < i1; i++) {
        global const float *from = x + i * r;
        global float *to = y + i * r;
        float16 m = -INFINITY, s = 0;
        for (long j = 0; j < r; j += 16)
            m = larger_16(m, load_16(from + j, r - j, -INFINITY));
        const float top = max_16(m);
        for (long j = 0; j < r; j += 16) {
            const long left = r - j;
            const float16 e = exp_decay_16(load_16(from + j, left, -INFINITY) - top);
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

/* The two vectors of row j from column c on, of which `left` columns exist. */
#define AT(j) ((j) * b + c)
#define PAIR(v, array, j) \
    const float16 v##0 = load_16(array + AT(j), left, 0), v##1 = load_16(array + AT(j) + 16, left - 16, 0)
#define STORE_PAIR(v0, v1, array, j) \
    store_16(v0, array + AT(j), left); \
    store_16(v1, array + AT(j) + 16, left - 16)

kernel ALONE void softmax_columns(global const float *x, global float *y, long a, long r, long b,
                                  long block)
{
    const long groups = (b + block - 1) / block, base = get_group_id(0) / groups * r * b;
    const long c0 = get_group_id(0) % groups * block, c1 = min(b, c0 + block);
    x += base;
    y += base;
    for (long c = c0; c < c1; c += 32) {
        const long left = c1 - c;
        float16 m0 = -INFINITY, m1 = -INFINITY, s0 = 0, s1 = 0;
        for (long j = 0; j < r; j++) {
            PAIR(v, x, j);
            m0 = larger_16(m0, v0);
            m1 = larger_16(m1, v1);
        }
        for (long j = 0; j < r; j++) {
            PAIR(v, x, j);
            const float16 e0 = exp_decay_16(v0 - m0), e1 = exp_decay_16(v1 - m1);
            STORE_PAIR(e0, e1, y, j);
            s0 += e0;
            s1 += e1;
        }
        s0 = 1.0f / s0;
        s1 = 1.0f / s1;
        for (long j = 0; j < r; j++) {
            PAIR(e, y, j);
            STORE_PAIR(e0 * s0, e1 * s1, y, j);
        }
    }
}

kernel ALONE void softmax_grad_rows(global const float *y, global const float *g, global float *dx,
                                    long a, long r, long b, long block)
{
    const long i1 = min(a, (long)(get_group_id(0) + 1) * block);
    for (long i = get_group_id(0) * block; i < i1; i++) {
        float16 s = 0;
        for (long j = 0; j < r; j += 16) {
            const long left = r - j;
            s = fma(load_16(y + i * r + j, left, 0), load_16(g + i * r + j, left, 0), s);
        }
        const float dot = sum_16(s);
        for (long j = 0; j < r; j += 16) {
            const long left = r - j, at = i * r + j;
            store_16(load_16(y + at, left, 0) * (load_16(g + at, left, 0) - dot), dx + at, left);
        }
    }
}

kernel ALONE void softmax_grad_columns(global const float *y, global const float *g, global float *dx,
                                       long a, long r, long b, long block)
{
    const long groups = (b + block - 1) / block, base = get_group_id(0) / groups * r * b;
    const long c0 = get_group_id(0) % groups * block, c1 = min(b, c0 + block);
    y += base;
    g += base;
    dx += base;
    for (long c = c0; c < c1; c += 32) {
        const long left = c1 - c;
        float16 s0 = 0, s1 = 0;
        for (long j = 0; j < r; j++) {
            PAIR(y, y, j);
            PAIR(g, g, j);
            s0 = fma(y0, g0, s0);
            s1 = fma(y1, g1, s1);
        }
        for (long j = 0; j < r; j++) {
            PAIR(y, y, j);
            PAIR(g, g, j);
            STORE_PAIR(y0 * (g0 - s0), y1 * (g1 - s1), dx, j);
        }
    }
}
