/* entmax.h: 1.5-entmax of one row: p = max(z - tau, 0)^2 with z = (x - max x) / 2 and tau such that p sums to
 * 1. The norm n(tau) = |max(z - tau, 0)| is convex and falls, and is at least 1 at tau = -1 since max z = 0,
 * so Newton's steps
 *
 *     tau += (n - 1) n / sum max(z - tau, 0)
 *
 * climb to n = 1 without passing it. (On n^2, a parabola where n is nearly a line, they are twice as
 * many.) What is left after a step is of the order of its square: 4 to 6 rounds for 294 logits. No sort,
 * no shared state.
 */
#ifndef ENTMAX_H
#define ENTMAX_H
#define ENTMAX_ROUNDS 24
#define ENTMAX_ENOUGH 1e-5f                       /* a step after which none is needed */

/* Of x, whose largest value is top, into y; they may be the same. */
static inline void entmax_row(global const float *x, global float *y, long cols, float top)
{
    for (long j = 0; j < cols; j += 16) {
        const long left = cols - j;
        store_16((load_16(x + j, left, 0) - top) * 0.5f, y + j, left);
    }
    float tau = -1;
    for (int round = 0; round < ENTMAX_ROUNDS; round++) {
        float16 s1 = 0, s2 = 0, t1 = 0, t2 = 0;   // two of each: additions that need not wait for each other
        for (long j = 0; j < cols; j += 32) {
            const float16 d = larger_16(0, load_16(y + j, cols - j, -INFINITY) - tau);
            const float16 e = larger_16(0, load_16(y + j + 16, cols - j - 16, -INFINITY) - tau);
            s1 += d;
            t1 += e;
            s2 = fma(d, d, s2);
            t2 = fma(e, e, t2);
        }
        const float sum = sum_16(s1 + t1), square = sum_16(s2 + t2);
        const float step = (square - sqrt(square)) / sum;
        tau += step;
        if (!(step > ENTMAX_ENOUGH))              // NaN leaves too
            break;
    }
    for (long j = 0; j < cols; j += 16) {
        const long left = cols - j;
        const float16 z = load_16(y + j, left, 0) - tau, d = larger_16(0, z);
        store_16(select(d * d, z, isnan(z)), y + j, left);         // a NaN stays one
    }
}

/* sum(s g) / sum(s) with s = sqrt(p): what the gradient s (g - that) needs of a row. */
static inline float entmax_mean(global const float *p, global const float *g, long cols)
{
    float16 s = 0, sg = 0;
    for (long j = 0; j < cols; j += 16) {
        const long left = cols - j;
        const float16 root = sqrt(load_16(p + j, left, 0));
        s += root;
        sg = fma(root, load_16(g + j, left, 0), sg);
    }
    return sum_16(sg) / sum_16(s);
}
#endif
