/* rng.c: Philox4x32-10 (Salmon et al. 2011): every draw is a function of (seed, stream, position), so results
 * do not depend on thread count, device or order.
 *
 *     key = seed (64 bits)          counter = position a lo, a hi, b, stream
 */
#include "base/base.h"
#include <math.h>

void rng_philox(const u32 key[2], const u32 ctr[4], u32 out[4])
{
    u32 c0 = ctr[0], c1 = ctr[1], c2 = ctr[2], c3 = ctr[3], k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        u64 p0 = (u64)0xD2511F53u * c0, p1 = (u64)0xCD9E8D57u * c2;
        u32 n0 = (u32)(p1 >> 32) ^ c1 ^ k0, n2 = (u32)(p0 >> 32) ^ c3 ^ k1;
        c1 = (u32)p1;
        c3 = (u32)p0;
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

/* Draws of one generator come in blocks of four, counted in the upper twelve bits of the stream's word. */
rng rng_at(u64 seed, u32 stream, u64 a, u32 b)
{
    return (rng){ { (u32)seed, (u32)(seed >> 32) }, { (u32)a, (u32)(a >> 32), b, stream }, { 0 }, 0 };
}

u32 rng_u32(rng *r)
{
    if (!r->left) {
        rng_philox(r->key, r->ctr, r->out);
        r->ctr[3] += 1u << 20;                    // streams are below 2^20
        if (r->ctr[3] >> 20 == 0)
            r->key[1] += 0x632BE5ABu;             // 4096 blocks drawn: continue under another key
        r->left = 4;
    }
    return r->out[4 - r->left--];
}

f64 rng_unit(rng *r) { return rng_u32(r) * 0x1p-32; }

f64 rng_normal(rng *r)
{
    f64 u = (rng_u32(r) + 1.0) * 0x1p-32, v = rng_u32(r) * 0x1p-32;     // Box and Muller 1958
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

u32 rng_below(rng *r, u32 n)
{
    check(n, "rng_below(%u)", n);
    u32 floor = -n % n, x;                        // 2^32 mod n values are one too many
    u64 m;
    do {
        x = rng_u32(r);
        m = (u64)x * n;
    } while ((u32)m < floor);
    return (u32)(m >> 32);
}

void rng_shuffle(rng *r, i32 *v, int n)
{
    for (int i = n - 1; i > 0; i--) {
        int j = (int)rng_below(r, (u32)i + 1);
        i32 t = v[i];
        v[i] = v[j];
        v[j] = t;
    }
}

/* Sixteen elements share four counters, so that a device draws them as four uint4 without a shuffle:
 *     element i:  counter 4*(i/16) + i%4,  word i/4%4 */
u32 rng_element(u64 seed, u32 stream, u32 step, u64 i)
{
    u64 c = 4 * (i / 16) + i % 4;
    u32 out[4];
    const u32 key[2] = { (u32)seed, (u32)(seed >> 32) };
    rng_philox(key, (u32[4]){ (u32)c, (u32)(c >> 32), step, stream }, out);
    return out[i / 4 % 4];
}

f32 rng_element_unit(u64 seed, u32 stream, u32 step, u64 i)
{
    return (rng_element(seed, stream, step, i) >> 8) * 0x1p-24f;
}

/* Natural logarithm of a normal positive float to about 2 ulp, with fma and integer steps only: the
 * same bits in C and OpenCL. x = 2^e m, m in [sqrt 1/2, sqrt 2); log m = 2 atanh(s), s = (m-1)/(m+1),
 * by its odd series. */
static f32 rng_ln(f32 x)
{
    union { f32 f; u32 u; } v = { x };
    i32 e = (i32)((v.u - 0x3F3504F3u) >> 23);
    e -= e & 0x100 ? 0x200 : 0;
    v.u -= (u32)e << 23;
    f32 t = v.f - 1, p = 7.0376836292e-2f;        // log(1+t), |t| < 0.42: minimax of degree 9 (Cephes logf)
    p = fmaf(p, t, -1.1514610310e-1f);
    p = fmaf(p, t, 1.1676998740e-1f);
    p = fmaf(p, t, -1.2420140846e-1f);
    p = fmaf(p, t, 1.4249322787e-1f);
    p = fmaf(p, t, -1.6668057665e-1f);
    p = fmaf(p, t, 2.0000714765e-1f);
    p = fmaf(p, t, -2.4999993993e-1f);
    p = fmaf(p, t, 3.3333331174e-1f);
    f32 y = p * t * t * t;
    y = fmaf(-0.5f * t, t, y) + t;
    return fmaf((f32)e, 0.693147180f, y);
}

/* sqrt(2) erfinv(2u - 1): Giles 2012, "Approximating the erfinv function", single precision. u in [0, 1). */
f32 rng_unit_to_normal(f32 u)
{
    f32 x = fmaf(2, u, -0x1.fffffep-1f);          // 2u-1, inside (-1, 1)
    f32 w = -rng_ln(fmaf(-x, x, 1)), p;
    if (w < 5) {
        w -= 2.5f;
        p = 2.81022636e-08f;
        p = fmaf(p, w, 3.43273939e-07f);
        p = fmaf(p, w, -3.5233877e-06f);
        p = fmaf(p, w, -4.39150654e-06f);
        p = fmaf(p, w, 0.00021858087f);
        p = fmaf(p, w, -0.00125372503f);
        p = fmaf(p, w, -0.00417768164f);
        p = fmaf(p, w, 0.246640727f);
        p = fmaf(p, w, 1.50140941f);
    } else {
        w = sqrtf(w) - 3;
        p = -0.000200214257f;
        p = fmaf(p, w, 0.000100950558f);
        p = fmaf(p, w, 0.00134934322f);
        p = fmaf(p, w, -0.00367342844f);
        p = fmaf(p, w, 0.00573950773f);
        p = fmaf(p, w, -0.0076224613f);
        p = fmaf(p, w, 0.00943887047f);
        p = fmaf(p, w, 1.00167406f);
        p = fmaf(p, w, 2.83297682f);
    }
    return 1.41421356f * p * x;
}

f32 rng_element_normal(u64 seed, u32 stream, u32 step, u64 i)
{
    return rng_unit_to_normal(rng_element_unit(seed, stream, step, i));
}
