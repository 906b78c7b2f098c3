/* norm.cl: layernorm and l2norm of rows, and their gradients. An item takes `block` rows, float16 along
 * the row; a row stays in L1 between the passes (mean, variance, result), so memory sees each value once.
 * Bound by memory.
 */
#include "type.h"

static inline float row_sum(global const TYPE(Tx) *x, long cols)
{
    float16 s = 0;
    for (long j = 0; j < cols; j += 16)
        s += LOAD_16(Tx, x + j, cols - j, 0);
    return sum_16(s);
}

/* mean, 1 / sqrt(var + eps) */
static inline float2 statistics(global const TYPE(Tx) *x, long cols, float eps)
{
    const float mean = row_sum(x, cols) / cols;
    float16 s = 0;
    for (long j = 0; j < cols; j += 16) {
        const float16 d = LOAD_16(Tx, x + j, cols - j, mean) - mean;
        s = fma(d, d, s);
    }
    return (float2)(mean, 1.0f / sqrt(sum_16(s) / cols + eps));
}

#define ROWS(i) \
    const long last_ = min(rows, (long)(get_group_id(0) + 1) * block); \
    for (long i = get_group_id(0) * block; i < last_; i++)

kernel ALONE void layernorm(global const TYPE(Tx) *x, global TYPE(Ty) *y, long rows, long cols,
                            long block, float eps)
{
    ROWS(i) {
        const float2 s = statistics(x + i * cols, cols, eps);
        for (long j = 0; j < cols; j += 16)
            STORE_16(Ty, (LOAD_16(Tx, x + i * cols + j, cols - j, 0) - s.x) * s.y, y + i * cols + j, cols - j);
    }
}

kernel ALONE void layernorm_affine(global const TYPE(Tx) *x, global const float *w,
                                   global const float *b, global TYPE(Ty) *y, long rows, long cols,
                                   long block, float eps)
{
    ROWS(i) {
        const float2 s = statistics(x + i * cols, cols, eps);
        for (long j = 0; j < cols; j += 16) {
            const long left = cols - j;
            const float16 n = (LOAD_16(Tx, x + i * cols + j, left, 0) - s.x) * s.y;
            STORE_16(Ty, fma(n, load_16(w + j, left, 0), load_16(b + j, left, 0)), y + i * cols + j, left);
        }
    }
}

/* With d = x - mean, r = 1 / sqrt(mean(d^2) + eps) and h = g w: dx = r (h - mean(h) - d r^2 mean(h d)), plus
 * `more` if there is some; dw = sum_rows g r d and db = sum_rows g, over the block's rows into row
 * block_number of partials, and `apart` elements after it. dx may lie over x, g or more.
 *
 * Row after row: several at a time are faster in the second cache, but what reads ahead follows rows, not
 * pairs of them: from memory they took twice as long. */
kernel ALONE void layernorm_grad(global const TYPE(Tx) *x, global const TYPE(Tb) *w,
                                 global const TYPE(Tg) *g, global const TYPE(Tm) *more,
                                 global TYPE(Ty) *dx, global float *partials, long rows, long cols,
                                 long block, long apart, float eps)
{
    global float *dw = partials + get_group_id(0) * cols, *db = dw + apart;
    for (long j = 0; j < cols && partials; j++)
        dw[j] = db[j] = 0;
    ROWS(i) {
        global const TYPE(Tx) *xi = x + i * cols;
        global const TYPE(Tg) *gi = g + i * cols;
        const float mean = row_sum(xi, cols) / cols;
        float16 dd = 0, h1 = 0, hd = 0;
        for (long j = 0; j < cols; j += 16) {
            const long left = cols - j;
            const float16 d = LOAD_16(Tx, xi + j, left, mean) - mean;
            const float16 h = LOAD_16(Tg, gi + j, left, 0) * LOAD_16(Tb, w + j, left, 0);
            dd = fma(d, d, dd);
            h1 += h;
            hd = fma(h, d, hd);
        }
        const float r = 1.0f / sqrt(sum_16(dd) / cols + eps);
        const float m1 = r * (sum_16(h1) / cols), m2 = r * r * r * (sum_16(hd) / cols);
        for (long j = 0; j < cols; j += 16) {
            const long left = cols - j;
            const float16 d = LOAD_16(Tx, xi + j, left, 0) - mean, gj = LOAD_16(Tg, gi + j, left, 0);
            const float16 gr = gj * r;
            const float16 y = fma(gr, LOAD_16(Tb, w + j, left, 0), -m1) - d * m2;
            if (partials) {
                store_16(fma(gr, d, load_16(dw + j, left, 0)), dw + j, left);
                store_16(gj + load_16(db + j, left, 0), db + j, left);
            }
            STORE_16(Ty, more ? y + LOAD_16(Tm, more + i * cols + j, left, 0) : y, dx + i * cols + j, left);
        }
    }
}

static inline float row_square(global const TYPE(Tx) *x, long cols)
{
    float16 s = 0;
    for (long j = 0; j < cols; j += 16) {
        const float16 v = LOAD_16(Tx, x + j, cols - j, 0);
        s = fma(v, v, s);
    }
    return sum_16(s);
}

static inline void scale_row(global const TYPE(Tx) *x, global TYPE(Ty) *y, long cols, float c)
{
    for (long j = 0; j < cols; j += 16)
        STORE_16(Ty, LOAD_16(Tx, x + j, cols - j, 0) * c, y + j, cols - j);
}

kernel ALONE void l2norm(global const TYPE(Tx) *x, global TYPE(Ty) *y, long rows, long cols, long block,
                         float eps)
{
    ROWS(i)
        scale_row(x + i * cols, y + i * cols, cols, 1.0f / (sqrt(row_square(x + i * cols, cols)) + eps));
}

kernel ALONE void l2norm_inside(global const TYPE(Tx) *x, global TYPE(Ty) *y, long rows, long cols,
                                long block, float eps)
{
    ROWS(i)
        scale_row(x + i * cols, y + i * cols, cols, 1.0f / sqrt(row_square(x + i * cols, cols) + eps));
}

/* y = c x with c = c(|x|^2):  dx = c g + x * slope, slope = 2 c' (x . g) */
static inline void l2norm_grad_row(global const TYPE(Tx) *x, global const TYPE(Tg) *g,
                                   global TYPE(Ty) *dx, long cols, float c, float slope)
{
    for (long j = 0; j < cols; j += 16) {
        const long left = cols - j;
        STORE_16(Ty, fma(LOAD_16(Tx, x + j, left, 0), slope, LOAD_16(Tg, g + j, left, 0) * c), dx + j, left);
    }
}

static inline float row_dot(global const TYPE(Tx) *x, global const TYPE(Tg) *g, long cols)
{
    float16 s = 0;
    for (long j = 0; j < cols; j += 16)
        s = fma(LOAD_16(Tx, x + j, cols - j, 0), LOAD_16(Tg, g + j, cols - j, 0), s);
    return sum_16(s);
}

/* At a zero row the derivative of |x| is taken as 0: dx = g / eps (the reference gives NaN). */
kernel ALONE void l2norm_grad(global const TYPE(Tx) *x, global const TYPE(Tg) *g, global TYPE(Ty) *dx,
                              long rows, long cols, long block, float eps)
{
    ROWS(i) {
        const float r = sqrt(row_square(x + i * cols, cols)), c = 1.0f / (r + eps);
        const float dot = row_dot(x + i * cols, g + i * cols, cols), slope = r == 0 ? 0.0f : -dot * c * c / r;
        l2norm_grad_row(x + i * cols, g + i * cols, dx + i * cols, cols, c, slope);
    }
}

kernel ALONE void l2norm_inside_grad(global const TYPE(Tx) *x, global const TYPE(Tg) *g,
                                     global TYPE(Ty) *dx, long rows, long cols, long block, float eps)
{
    ROWS(i) {
        const float c = 1.0f / sqrt(row_square(x + i * cols, cols) + eps);
        const float dot = row_dot(x + i * cols, g + i * cols, cols);
        l2norm_grad_row(x + i * cols, g + i * cols, dx + i * cols, cols, c, -dot * c * c * c);
    }
}
