/* stats.cl: how active each channel of x (images, n, channels) is, and which channels are active together: sums of |x| and
 * x^2, counts of x > limit, and counts of pairs above it. One pass over x packs "active" into bits; everything that pairs
 * needs is then in 1/32 of the memory, and a pair's count is popcount(a & b): exact, and without an order.
 *
 *     bits:  32 rows of one image are a word, `words` words an image (the last one short); channels in strips of 64
 *
 *     strip 0                          strip 1
 *     image 0 word 0: 64 channels      image 0 word 0: 64 channels
 *     image 0 word 1: 64 channels      ...
 *     ...
 *     image 1 word 0: 64 channels
 *
 * Words end with their image, so that no value depends on how images were batched. Images behind job[0] are padding: no bits.
 * A strip ends in words of zeros, to a multiple of 16: `all` words. Pairs are counted in pairs.cl. Bound by reading x.
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

/* Words of image get_group_id(1), channels of strip get_group_id(0). Sums go with their words: 64 of |x|, 64 of x^2.
 * limits: one for each image, 0: one for all, negative: none, zero is the limit. */
__kernel ALONE void stats_pack(__global const float *x, __global uint *bits, __global float *sums, __global const int *job,
                               __global const float *limit, long n, long channels, long words, long images, long all,
                               int limits)
{
    const long strip = get_group_id(0), image = get_group_id(1), c0 = strip * STRIP;
    const float t = limits < 0 ? 0 : limit[limits ? image : 0];
    const bool real = image < job[0];
    for (long w = 0; w < words; w++) {
        const long at = (strip * all + image * words + w) * STRIP;
        const long r0 = w * WORD, rows = real ? min((long)WORD, n - r0) : 0;
        for (int v = 0; v < STRIP; v += 16) {
            const long left = channels - c0 - v;
            __global const float *from = x + (image * n + r0) * channels + c0 + v;
            float16 s1 = 0, s2 = 0;
            uint16 b = 0;
            for (long r = 0; r < rows && left > 0; r++) {
                const float16 y = load_16(from + r * channels, left, 0);
                s1 += fabs(y);
                s2 = fma(y, y, s2);
                b |= as_uint16(y > t) & (uint16)(1u << r);
            }
            if (left < 16)                                      // lanes beyond the last channel hold zeros, above a limit < 0
                b &= as_uint16((int16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15) < (int16)max(left, 0L));
            vstore16(b, 0, bits + at + v);
            vstore16(s1, 0, sums + 2 * at + v);
            vstore16(s2, 0, sums + 2 * at + STRIP + v);
        }
    }
    for (long i = images * words * STRIP; image == images - 1 && i < all * STRIP; i += 16)
        vstore16((uint16)0, 0, bits + strip * all * STRIP + i);
}

/* Adds the images of this step to the state: rows of `row` floats: |x|, its lost part, x^2, its lost part, roots, their
 * lost part, and counts as integers. With batches, x^2 starts anew with each and its root is added up where job[1] is set. */
__kernel ALONE void stats_add(__global const uint *bits, __global const float *sums, __global float *state,
                              __global const int *job, long words, long images, long all, long row)
{
    const long strip = get_group_id(0) / (STRIP / 16), v = get_group_id(0) % (STRIP / 16) * 16;
    __global float *s = state + strip * STRIP + v;
    float16 l1 = vload16(0, s), l1_lost = vload16(0, s + row), l2 = vload16(0, s + 2 * row), l2_lost = vload16(0, s + 3 * row);
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

/* ---- limits: mean + standard deviation of a group of values, or a percentile ------------------------------------------------
 * A group is an image, or all images of the step (then there is one). Part p of a group is `part` values of it. */

#define GROUP_VALUES(group) ((limits ? ((group) < job[0] ? 1 : 0) : job[0]) * per_image)

/* Count, mean and sum of squared differences of each part. */
__kernel ALONE void stats_moments(__global const float *x, __global float4 *parts, __global const int *job, long per_image,
                                  long part, int limits)
{
    const long group = get_group_id(1), p = get_group_id(0), size = GROUP_VALUES(group);
    const long from = p * part, n = clamp(size - from, 0L, part);
    __global const float *v = x + group * per_image + from;
    float16 s = 0, d2 = 0;
    for (long i = 0; i < n; i += 16)
        s += load_16(v + i, n - i, 0);
    const float mean = n ? sum_16(s) / n : 0;
    for (long i = 0; i < n; i += 16) {
        const float16 d = load_16(v + i, n - i, mean) - mean;
        d2 = fma(d, d, d2);
    }
    parts[group * get_num_groups(0) + p] = (float4)(n, mean, sum_16(d2), 0);
}

/* Joined as Chan, Golub and LeVeque (1979) do. */
__kernel ALONE void stats_mean_std(__global const float4 *parts, __global float *limit, long count)
{
    const long group = get_group_id(0);
    float4 all = 0;
    for (long p = 0; p < count; p++) {
        const float4 x = parts[group * count + p];
        if (x.x == 0)
            continue;
        const float n = all.x + x.x, d = x.y - all.y;
        all = (float4)(n, all.y + d * (x.x / n), all.z + x.z + d * d * all.x * (x.x / n), 0);
    }
    limit[group] = all.x > 0 ? all.y + sqrt(all.z / all.x) : 0;
}

/* Floats as unsigned numbers of the same order. */
static inline uint ordered(float v)
{
    const uint u = as_uint(v);
    return u & 0x80000000u ? ~u : u | 0x80000000u;
}

static inline float unordered(uint u) { return as_float(u & 0x80000000u ? u & 0x7fffffffu : ~u); }

/* The k-th smallest value digit by digit, eight bits at a time: parts count the digits of values that begin with what is
 * known (state.x), then stats_digit finds the digit where k lies. state: known bits, k within them, how many are there. */
__kernel ALONE void stats_digits(__global const float *x, __global uint *counts, __global const uint4 *state,
                                 __global const int *job, long per_image, long part, int limits, int shift)
{
    const long group = get_group_id(1), p = get_group_id(0), size = GROUP_VALUES(group);
    const uint known = shift < 24 ? state[group].x : 0;
    const long from = p * part, n = clamp(size - from, 0L, part);
    __global const float *v = x + group * per_image + from;
    __global uint *out = counts + (group * get_num_groups(0) + p) * 256;
    uint h[256];
    for (int i = 0; i < 256; i++)
        h[i] = 0;
    for (long i = 0; i < n; i++) {
        const uint u = ordered(v[i]);
        if (shift == 24 || (u ^ known) >> (shift + 8) == 0)
            h[u >> shift & 255]++;
    }
    for (int i = 0; i < 256; i++)
        out[i] = h[i];
}

/* numpy's percentile: position q (size - 1) / 10^8, linear between neighbours. */
__kernel ALONE void stats_digit(__global const uint *counts, __global uint4 *state, __global const int *job, long per_image,
                                long parts, int limits, int shift, int q)
{
    const long group = get_group_id(0), size = GROUP_VALUES(group);
    uint4 s = shift < 24 ? state[group] : (uint4)(0, size ? (uint)((ulong)q * (ulong)(size - 1) / 100000000ul) : 0, 0, 0);
    uint below = 0, here = 0;
    int digit = 0;
    for (;; digit++) {
        here = 0;
        for (long p = 0; p < parts; p++)
            here += counts[(group * parts + p) * 256 + digit];
        if (digit == 255 || s.y < below + here)
            break;
        below += here;
    }
    state[group] = (uint4)(s.x | (uint)digit << shift, s.y - below, here, 0);
}

/* Smallest value above the one found, by parts. */
__kernel ALONE void stats_above(__global const float *x, __global uint *counts, __global const uint4 *state,
                                __global const int *job, long per_image, long part, int limits)
{
    const long group = get_group_id(1), p = get_group_id(0), size = GROUP_VALUES(group);
    const uint found = state[group].x;
    const long from = p * part, n = clamp(size - from, 0L, part);
    uint least = 0xffffffffu;
    for (long i = 0; i < n; i++) {
        const uint u = ordered(x[group * per_image + from + i]);
        least = u > found ? min(least, u) : least;
    }
    counts[group * get_num_groups(0) + p] = least;
}

__kernel ALONE void stats_percentile(__global const uint *counts, __global const uint4 *state, __global const int *job,
                                     __global float *limit, long per_image, long parts, int limits, int q)
{
    const long group = get_group_id(0), size = GROUP_VALUES(group);
    const uint4 s = state[group];
    const float low = unordered(s.x), share = size ? (float)((ulong)q * (ulong)(size - 1) % 100000000ul) * 1e-8f : 0;
    uint least = 0xffffffffu;
    for (long p = 0; p < parts; p++)
        least = min(least, counts[group * parts + p]);
    const float high = s.y + 1 < s.z || least == 0xffffffffu ? low : unordered(least);
    limit[group] = low + (high - low) * share;
}
