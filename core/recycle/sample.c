/* sample.c: weighted draws without replacement, exact and in integers. The weights lie in a Fenwick tree
 * (1994): finding the unit that a number below the total falls on, and taking its weight out, are both a walk
 * of log2 n steps.
 *
 *     tree[i] = weight of the 2^z units ending at i, z = trailing zeros of i          (1-based)
 */
#include "recycle/recycle.h"
#include <math.h>

int sample_weights(const char *what, const f64 *score, int n, u64 *weight)
{
    f64 most = 0;
    check(n <= 1 << 22, "%d units", n);           // 2^22 weights of 2^40 fit in 63 bits
    for (int i = 0; i < n; i++) {
        if (!(score[i] >= 0 && isfinite(score[i])))
            return fail(FAULT_NUMBERS, "the statistics of %s hold %g for unit %d: they must be finite and "
                        "not negative", what, score[i], i);
        most = MAX(most, score[i]);
    }
    if (most == 0)
        return fail(FAULT_NUMBERS, "the statistics of %s are all zero: nothing was active in these images",
                    what);
    for (int i = 0; i < n; i++)
        weight[i] = score[i] > 0 ? (u64)MAX(rint(score[i] / most * 0x1p40), 1) : 0;
    return 0;
}

/* Uniform in [0, n): as many bits as n has, again when too large. */
static u64 sample_below(rng *r, u64 n)
{
    u64 mask = n - 1, x;
    for (int s = 1; s < 64; s *= 2)
        mask |= mask >> s;
    do {
        u64 high = rng_u32(r);
        x = (high << 32 | rng_u32(r)) & mask;
    } while (x >= n);
    return x;
}

int sample_draw(rng *r, const u64 *weight, int n, int k, i32 *out, arena *scratch)
{
    arena_mark m = arena_save(scratch);
    u64 *tree = arena_array(scratch, u64, n + 1), total = 0;
    int top = 1, drawn = 0;
    for (int i = 1; i <= n; i++) {
        total += weight[i - 1];
        tree[i] += weight[i - 1];
        if (i + (i & -i) <= n)
            tree[i + (i & -i)] += tree[i];
    }
    while (2 * top <= n)
        top *= 2;
    for (; drawn < k && total; drawn++) {
        u64 x = sample_below(r, total);
        int at = 0;                               // the last unit whose running sum is <= x
        for (int step = top; step; step /= 2)
            if (at + step <= n && tree[at + step] <= x)
                x -= tree[at += step];
        out[drawn] = at;
        total -= weight[at];
        for (int i = at + 1; i <= n; i += i & -i)
            tree[i] -= weight[at];
    }
    arena_restore(scratch, m);
    return drawn;
}

void sample_sort(i32 *v, int n, int total, arena *scratch)
{
    arena_mark m = arena_save(scratch);
    u64 *there = arena_array(scratch, u64, CEIL_DIV(total, 64));
    for (int i = 0; i < n; i++)
        there[v[i] / 64] |= (u64)1 << v[i] % 64;
    for (int w = 0; w < CEIL_DIV(total, 64); w++)
        for (u64 left = there[w]; left; left &= left - 1)
            *v++ = w * 64 + __builtin_ctzll(left);
    arena_restore(scratch, m);
}
