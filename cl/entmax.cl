/* entmax.cl: 1.5-entmax of rows: p = max(z - tau, 0)^2 with z = (x - max x) / 2 and tau such that p sums to 1. The norm
 * n(tau) = |max(z - tau, 0)| is convex and falls, and is at least 1 at tau = -1 since max z = 0, so Newton's steps
 *
 *     tau += (n - 1) n / sum max(z - tau, 0)
 *
 * climb to n = 1 without passing it. (On n^2, a parabola where n is nearly a line, they are twice as many.) What is left after
 * a step is of the order of its square: 4 to 6 rounds for 294 logits. No sort, no shared state: an item takes `block` rows.
 * Bound by arithmetic in L1.
 */
#define ROUNDS 24
#define ENOUGH 1e-5f                            /* a step after which none is needed */
#define ROWS(i) \
    const long last_ = min(rows, (long)(get_group_id(0) + 1) * block); \
    for (long i = get_group_id(0) * block; i < last_; i++)

__kernel ALONE void entmax15(__global const float *x, __global float *y, long rows, long cols, long block)
{
    ROWS(i) {
        __global const float *from = x + i * cols;
        __global float *to = y + i * cols;
        float16 m = -INFINITY;
        for (long j = 0; j < cols; j += 16)
            m = larger_16(m, load_16(from + j, cols - j, -INFINITY));
        const float top = max_16(m);
        for (long j = 0; j < cols; j += 16) {
            const long left = cols - j;
            store_16((load_16(from + j, left, 0) - top) * 0.5f, to + j, left);
        }
        float tau = -1;
        for (int round = 0; round < ROUNDS; round++) {
            float16 s1 = 0, s2 = 0, t1 = 0, t2 = 0;
            for (long j = 0; j < cols; j += 32) {
                const float16 d = larger_16(0, load_16(to + j, cols - j, -INFINITY) - tau);
                const float16 e = larger_16(0, load_16(to + j + 16, cols - j - 16, -INFINITY) - tau);
                s1 += d;
                t1 += e;
                s2 = fma(d, d, s2);
                t2 = fma(e, e, t2);
            }
            const float sum = sum_16(s1 + t1), square = sum_16(s2 + t2);
            const float step = (square - sqrt(square)) / sum;
            tau += step;
            if (!(step > ENOUGH))                 // NaN leaves too
                break;
        }
        for (long j = 0; j < cols; j += 16) {
            const long left = cols - j;
            const float16 z = load_16(to + j, left, 0) - tau, d = larger_16(0, z);
            store_16(select(d * d, z, isnan(z)), to + j, left);    // a NaN stays one
        }
    }
}

__kernel ALONE void entmax15_grad(__global const float *y, __global const float *g, __global float *dx, long rows, long cols, long block)
{
    ROWS(i) {
        __global const float *p = y + i * cols, *q = g + i * cols;
        float16 s = 0, sg = 0;
        for (long j = 0; j < cols; j += 16) {
            const long left = cols - j;
            const float16 root = sqrt(load_16(p + j, left, 0));
            s += root;
            sg = fma(root, load_16(q + j, left, 0), sg);
        }
        const float mean = sum_16(sg) / sum_16(s);
        for (long j = 0; j < cols; j += 16) {
            const long left = cols - j;
            store_16(sqrt(load_16(p + j, left, 0)) * (load_16(q + j, left, 0) - mean), dx + i * cols + j, left);
        }
    }
}
