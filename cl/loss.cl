/* loss.cl: cross-entropy of row i with soft labels and smoothing s, and its gradient g_i (softmax(z) - t').
 * One item a row; a few thousand values in all. */
#include "special.h"

/* max z, log sum exp(z - max z) */
static inline float2 log_sum(global const float *z, long cols)
{
    float16 m = -INFINITY, s = 0;
    for (long j = 0; j < cols; j += 16)
        m = larger_16(m, load_16(z + j, cols - j, -INFINITY));
    const float top = max_16(m);
    for (long j = 0; j < cols; j += 16)
        s += exp_decay_16(load_16(z + j, cols - j, -INFINITY) - top);
    return (float2)(top, log(sum_16(s)));
}

kernel ALONE void cross_entropy(global const float *logits, global const float *target,
                                global float *loss, long rows, long cols, float smoothing)
{
    const long i = get_group_id(0);
    global const float *z = logits + i * cols, *t = target + i * cols;
    const float2 top = log_sum(z, cols);
    const int16 lane = (int16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    float16 s = 0;
    for (long j = 0; j < cols; j += 16) {
        const float16 soft = fma(load_16(t + j, cols - j, 0), 1 - smoothing, smoothing / cols);
        const float16 term = soft * (top.x + top.y - load_16(z + j, cols - j, 0));
        s += select((float16)0, term, lane < (int)min(cols - j, 16L));
    }
    loss[i] = sum_16(s);
}

kernel ALONE void cross_entropy_grad(global const float *logits, global const float *target,
                                     global const float *g, global float *dz, long rows, long cols,
                                     float smoothing)
{
    const long i = get_group_id(0);
    global const float *z = logits + i * cols, *t = target + i * cols;
    const float2 top = log_sum(z, cols);
    for (long j = 0; j < cols; j += 16) {
        const long left = cols - j;
        const float16 p = exp_16(load_16(z + j, left, 0) - top.x - top.y);
        const float16 soft = fma(load_16(t + j, left, 0), 1 - smoothing, smoothing / cols);
        store_16((p - soft) * g[i], dz + i * cols + j, left);
    }
}
