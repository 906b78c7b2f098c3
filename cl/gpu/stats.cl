/* stats.cl for GPUs: an item takes a channel, a group of 64 a strip of them, so that neighbours read
 * neighbours; otherwise as cl/stats.cl, which draws the layout. Sums run in the same order, to the same bits.
 */
#define STRIP 64
#define WORD  32
#define GROUP __attribute__((reqd_work_group_size(STRIP, 1, 1)))

static inline void add_lost(float x, float *hi, float *lo)
{
    const float sum = *hi + x, back = sum - *hi;
    *lo += (*hi - (sum - back)) + (x - back);
    *hi = sum;
}

kernel GROUP void stats_pack(global const float *x, global uint *bits, global float *sums,
                             global const int *job, global const float *limit, long n, long channels,
                             long words, long images, long all, int limits)
{
    const long strip = get_group_id(0), image = get_group_id(1), lane = get_local_id(0);
    const long c = strip * STRIP + lane;
    const float t = limits < 0 ? 0 : limit[limits ? image : 0];
    const bool real = image < job[0] && c < channels;
    for (long w = 0; w < words; w++) {
        const long at = (strip * all + image * words + w) * STRIP, r0 = w * WORD;
        const long rows = real ? min((long)WORD, n - r0) : 0;
        float s1 = 0, s2 = 0;
        uint b = 0;
        for (long r = 0; r < rows; r++) {
            const float y = x[(image * n + r0 + r) * channels + c];
            s1 += fabs(y);
            s2 = fma(y, y, s2);
            b |= (y > t ? 1u : 0u) << r;
        }
        bits[at + lane] = b;
        sums[2 * at + lane] = s1;
        sums[2 * at + STRIP + lane] = s2;
    }
    for (long i = images * words; image == images - 1 && i < all; i++)
        bits[(strip * all + i) * STRIP + lane] = 0;
}

kernel GROUP void stats_add(global const uint *bits, global const float *sums, global float *state,
                            global const int *job, long words, long images, long all, long row)
{
    const long strip = get_group_id(0), lane = get_local_id(0);
    global float *s = state + strip * STRIP + lane;
    float l1 = s[0], l1_lost = s[row], l2 = s[2 * row], l2_lost = s[3 * row];
    uint count = as_uint(s[6 * row]);
    for (long image = 0; image < min(images, (long)job[0]); image++) {
        float a = 0, b = 0;
        for (long w = 0; w < words; w++) {
            const long at = (strip * all + image * words + w) * STRIP;
            a += sums[2 * at + lane];
            b += sums[2 * at + STRIP + lane];
            count += popcount(bits[at + lane]);
        }
        add_lost(a, &l1, &l1_lost);
        add_lost(b, &l2, &l2_lost);
    }
    if (job[1]) {
        float root = s[4 * row], root_lost = s[5 * row];
        add_lost(sqrt(l2 + l2_lost), &root, &root_lost);
        s[4 * row] = root;
        s[5 * row] = root_lost;
        l2 = l2_lost = 0;
    }
    s[0] = l1;
    s[row] = l1_lost;
    s[2 * row] = l2;
    s[3 * row] = l2_lost;
    s[6 * row] = as_float(count);
}
