/* limits.cl: from which value on a channel counts as active: mean + standard deviation of a group of values,
 * or a percentile. A group is an image, or all images of the step (then there is one). Chunk p of a group is
 * `chunk` values of it; chunks are counted side by side and joined in order. Percentiles are found digit by
 * digit, without sorting. Bound by reading x: once for mean and deviation, five times for a percentile.
 */
#define GROUP_VALUES(group) ((limits ? ((group) < job[0] ? 1 : 0) : job[0]) * per_image)

/* Count, mean and sum of squared differences of each chunk. */
kernel ALONE void limit_moments(global const float *x, global float4 *partials, global const int *job,
                                long per_image, long chunk, int limits)
{
    const long group = get_group_id(1), p = get_group_id(0), size = GROUP_VALUES(group);
    const long from = p * chunk, n = clamp(size - from, 0L, chunk);
    global const float *v = x + group * per_image + from;
    float16 s = 0, d2 = 0;
    for (long i = 0; i < n; i += 16)
        s += load_16(v + i, n - i, 0);
    const float mean = n ? sum_16(s) / n : 0;
    for (long i = 0; i < n; i += 16) {
        const float16 d = load_16(v + i, n - i, mean) - mean;
        d2 = fma(d, d, d2);
    }
    partials[group * get_num_groups(0) + p] = (float4)(n, mean, sum_16(d2), 0);
}

/* Joined as Chan, Golub and LeVeque (1979) do. */
kernel ALONE void limit_mean_std(global const float4 *partials, global float *limit, long count)
{
    const long group = get_group_id(0);
    float4 all = 0;
    for (long p = 0; p < count; p++) {
        const float4 x = partials[group * count + p];
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

/* The k-th smallest value digit by digit, eight bits at a time: chunks count the digits of values that begin
 * with what is known (state.x), then limit_digit finds the digit where k lies. state: known bits, k within
 * them, how many are there. */
kernel ALONE void limit_digits(global const float *x, global uint *counts, global const uint4 *state,
                               global const int *job, long per_image, long chunk, int limits, int shift)
{
    const long group = get_group_id(1), p = get_group_id(0), size = GROUP_VALUES(group);
    const uint known = shift < 24 ? state[group].x : 0;
    const long from = p * chunk, n = clamp(size - from, 0L, chunk);
    global const float *v = x + group * per_image + from;
    global uint *out = counts + (group * get_num_groups(0) + p) * 256;
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
kernel ALONE void limit_digit(global const uint *counts, global uint4 *state, global const int *job,
                              long per_image, long chunks, int limits, int shift, int q)
{
    const long group = get_group_id(0), size = GROUP_VALUES(group);
    const uint rank = size ? (uint)((ulong)q * (ulong)(size - 1) / 100000000ul) : 0;
    uint4 s = shift < 24 ? state[group] : (uint4)(0, rank, 0, 0);
    uint below = 0, here = 0;
    int digit = 0;
    for (;; digit++) {
        here = 0;
        for (long p = 0; p < chunks; p++)
            here += counts[(group * chunks + p) * 256 + digit];
        if (digit == 255 || s.y < below + here)
            break;
        below += here;
    }
    state[group] = (uint4)(s.x | (uint)digit << shift, s.y - below, here, 0);
}

/* Smallest value above the one found, by chunks. */
kernel ALONE void limit_above(global const float *x, global uint *counts, global const uint4 *state,
                              global const int *job, long per_image, long chunk, int limits)
{
    const long group = get_group_id(1), p = get_group_id(0), size = GROUP_VALUES(group);
    const uint found = state[group].x;
    const long from = p * chunk, n = clamp(size - from, 0L, chunk);
    uint least = 0xffffffffu;
    for (long i = 0; i < n; i++) {
        const uint u = ordered(x[group * per_image + from + i]);
        least = u > found ? min(least, u) : least;
    }
    counts[group * get_num_groups(0) + p] = least;
}

kernel ALONE void limit_percentile(global const uint *counts, global const uint4 *state,
                                   global const int *job, global float *limit, long per_image,
                                   long chunks, int limits, int q)
{
    const long group = get_group_id(0), size = GROUP_VALUES(group);
    const uint4 s = state[group];
    const float low = unordered(s.x);
    const float share = size ? (float)((ulong)q * (ulong)(size - 1) % 100000000ul) * 1e-8f : 0;
    uint least = 0xffffffffu;
    for (long p = 0; p < chunks; p++)
        least = min(least, counts[group * chunks + p]);
    const float high = s.y + 1 < s.z || least == 0xffffffffu ? low : unordered(least);
    limit[group] = low + (high - low) * share;
}
