/* stats.cl: how active each channel of x (images, n, channels) is, and which channels are active together:
 * sums of |x| and x^2, counts of x > limit, and counts of pairs above it. One pass over x packs "active" into
 * bits; everything that pairs needs is then in 1/32 of the memory, and a pair's count is popcount(a & b):
 * exact, and without an order.
 *
 *     bits:  32 rows of an image are a word, `words` words an image (the last one short); 64 channels a strip
 *
 *     strip 0                          strip 1
 *     image 0 word 0: 64 channels      image 0 word 0: 64 channels
 *     image 0 word 1: 64 channels      ...
 *     ...
 *     image 1 word 0: 64 channels
 *
 * Words end with their image, so that no value depends on how images were batched. Images after job[0] are
 * padding: no bits. A strip ends in words of zeros, to a multiple of 16: `all` words. Pairs are counted in
 * pairs.cl. Bound by reading x.
 */
#define STRIP 64
#define WORD  32

/* The sum of two floats and what rounding lost (Knuth): 38,400 images must not be added up in plain float. */
static inline void add_16(float16 x, float16 *hi, float16 *lo)
{
    const float16 sum = *hi + x, back = sum - *hi;
    *lo += (*hi - (sum - back)) + (x - back);
    *hi = sum;
}

/* Words of image get_group_id(1), channels of strip get_group_id(0). Sums go with their words: 64 of |x|, 64
 * of x^2. limits: one for each image, 0: one for all, negative: none, zero is the limit. */
kernel ALONE void stats_pack(global const float *x, global uint *bits, global float *sums,
                             global const int *job, global const float *limit, long n, long channels,
                             long words, long images, long all, int limits)
{
    const int16 lane = (int16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const long strip = get_group_id(0), image = get_group_id(1), c0 = strip * STRIP;
    const float t = limits < 0 ? 0 : limit[limits ? image : 0];
    const bool real = image < job[0];
    for (long w = 0; w < words; w++) {
        const long at = (strip * all + image * words + w) * STRIP;
        const long r0 = w * WORD, rows = real ? min((long)WORD, n - r0) : 0;
        for (int v = 0; v < STRIP; v += 16) {
            const long left = channels - c0 - v;
            global const float *from = x + (image * n + r0) * channels + c0 + v;
            float16 s1 = 0, s2 = 0;
            uint16 b = 0;
            for (long r = 0; r < rows && left > 0; r++) {
                const float16 y = load_16(from + r * channels, left, 0);
                s1 += fabs(y);
                s2 = fma(y, y, s2);
                b |= as_uint16(y > t) & (uint16)(1u << r);
            }
            if (left < 16)                // lanes beyond the last channel hold zeros: above a limit < 0
                b &= as_uint16(lane < (int16)max(left, 0L));
            vstore16(b, 0, bits + at + v);
            vstore16(s1, 0, sums + 2 * at + v);
            vstore16(s2, 0, sums + 2 * at + STRIP + v);
        }
    }
    for (long i = images * words * STRIP; image == images - 1 && i < all * STRIP; i += 16)
        vstore16((uint16)0, 0, bits + strip * all * STRIP + i);
}

/* Adds the images of this step to the state: rows of `row` floats: |x|, its lost part, x^2, its lost part,
 * roots, their lost part, and counts as integers. With batches, x^2 starts again with each and its root is
 * added up where job[1] is set. */
kernel ALONE void stats_add(global const uint *bits, global const float *sums, global float *state,
                            global const int *job, long words, long images, long all, long row)
{
    const long strip = get_group_id(0) / (STRIP / 16), v = get_group_id(0) % (STRIP / 16) * 16;
    global float *s = state + strip * STRIP + v;
    float16 l1 = vload16(0, s), l1_lost = vload16(0, s + row);
    float16 l2 = vload16(0, s + 2 * row), l2_lost = vload16(0, s + 3 * row);
    uint16 count = as_uint16(vload16(0, s + 6 * row));
    for (long image = 0; image < min(images, (long)job[0]); image++) {
        float16 a = 0, b = 0;
        for (long w = 0; w < words; w++) {
            const long at = (strip * all + image * words + w) * STRIP;
            a += vload16(0, sums + 2 * at + v);
            b += vload16(0, sums + 2 * at + STRIP + v);
            count += popcount(vload16(0, bits + at + v));
        }
        add_16(a, &l1, &l1_lost);
        add_16(b, &l2, &l2_lost);
    }
    if (job[1]) {
        float16 root = vload16(0, s + 4 * row), root_lost = vload16(0, s + 5 * row);
        add_16(sqrt(l2 + l2_lost), &root, &root_lost);
        vstore16(root, 0, s + 4 * row);
        vstore16(root_lost, 0, s + 5 * row);
        l2 = l2_lost = 0;
    }
    vstore16(l1, 0, s);
    vstore16(l1_lost, 0, s + row);
    vstore16(l2, 0, s + 2 * row);
    vstore16(l2_lost, 0, s + 3 * row);
    vstore16(as_float16(count), 0, s + 6 * row);
}
