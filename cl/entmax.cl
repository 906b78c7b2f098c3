/* entmax.cl: 1.5-entmax of rows. f(tau) = sum max(z - tau, 0)^2 - 1 is convex and falls; started at tau = -1, left of its
 * root since max z = 0, Newton's steps tau += f / (2 sum max(z - tau, 0)) climb to it without passing it. 6 to 8 rounds for
 * 294 logits. No sort, no shared state: an item takes `block` rows. Bound by arithmetic in L1.
 */
#define ROUNDS 24

__kernel ALONE void entmax15(__global const float *x, __global float *y, long rows, long cols, long block)
{
    const long i1 = min(rows, (long)(get_group_id(0) + 1) * block);
    for (long i = get_group_id(0) * block; i < i1; i++) {
        __global const float *from = x + i * cols;
        __global float *to = y + i * cols;
        float16 m = -INFINITY;
        for (long j = 0; j < cols; j += 16)
            m = fmax(m, load_16(from + j, cols - j, -INFINITY));
        const float top = max_16(m);
        for (long j = 0; j < cols; j += 16) {
            const long left = cols - j;
            store_16((load_16(from + j, left, 0) - top) * 0.5f, to + j, left);
        }
        float tau = -1;
        for (int round = 0; round < ROUNDS; round++) {
            float16 s1 = 0, s2 = 0;
            for (long j = 0; j < cols; j += 16) {
                const float16 d = fmax(load_16(to + j, cols - j, -INFINITY) - tau, 0.0f);
                s1 += d;
                s2 = fma(d, d, s2);
            }
            const float step = (sum_16(s2) - 1) / (2 * sum_16(s1));
            tau += step;
            if (!(step > 1e-8f))                  // NaN leaves too
                break;
        }
        for (long j = 0; j < cols; j += 16) {
            const long left = cols - j;
            const float16 z = load_16(to + j, left, 0) - tau, d = fmax(z, 0.0f);
            store_16(select(d * d, z, isnan(z)), to + j, left);    // a NaN stays one
        }
    }
}

__kernel ALONE void entmax15_grad(__global const float *y, __global const float *g, __global float *dx, long rows, long cols, long block)
{
    const long i1 = min(rows, (long)(get_group_id(0) + 1) * block);
    for (long i = get_group_id(0) * block; i < i1; i++) {
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
