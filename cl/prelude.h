/* prelude.h: put before every kernel file and all generated text. Kept short, since every program pays for
 * it; what only some kernels need stands in headers of its own: #include "special.h" (exp, erf, gelu),
 * #include "random.h" (draws).
 *
 * From the build: CLASS_CPU or CLASS_GPU (neither under JETCL_TRACE=no_class), SIMD (lanes: vector width of a
 * CPU, warp of a GPU), LOCAL_BYTES; NO_FMA on a CPU that does not report a fused multiply-add.
 */
#ifndef PRELUDE_H
#define PRELUDE_H

#define JOIN_(a, b) a##b
#define JOIN(a, b)  JOIN_(a, b)
#define FN(name)       JOIN(name##_, W)              /* exp_16, where W is 16 */
#define TO(how, type)  JOIN(how##_, type)            /* convert_int16, where the macro `type` is int16 */

/* In software an fma takes a hundred times as long. The compiler may fuse this itself, and does where that
 * pays. */
#ifdef NO_FMA
#define fma(a, b, c) ((a) * (b) + (c))
#endif

#define SQRT1_2   0.70710678f
#define RSQRT_2PI 0.39894228f

/* One work-item is a whole group: what cl/cpu kernels are. */
#define ALONE __attribute__((reqd_work_group_size(1, 1, 1)))

/* The first n of 16 floats at p; the other lanes are `fill`. Full vectors cost one comparison; short
 * ones are one masked instruction where the compiler has it, which makes the ends of rows two to three
 * times faster. */
#if defined(__AVX512F__) && SIMD >= 16 && defined(__has_builtin)
#if __has_builtin(__builtin_ia32_loadups512_mask) && __has_builtin(__builtin_ia32_storeups512_mask) && \
    __has_builtin(__builtin_ia32_cmpps512_mask)
#define MASKED
typedef float masked_16 __attribute__((vector_size(64)));
typedef float16 unaligned_16 __attribute__((aligned(4)));          /* vload16 may be four loads of a quarter */
#define MASK_OF(n) (ushort)((1u << max((int)(n), 0)) - 1)
#endif
#elif defined(__AVX__) && defined(__has_builtin)
#if __has_builtin(__builtin_ia32_maskloadps256) && __has_builtin(__builtin_ia32_maskstoreps256)
#define MASKED_HALF                                            /* eight at a time */
typedef float masked_8 __attribute__((vector_size(32)));
typedef int mask_8 __attribute__((vector_size(32)));
#define LANES_8 (int8)(0, 1, 2, 3, 4, 5, 6, 7)
#endif
#endif

static inline float16 load_16(global const float *p, long n, float fill)
{
#ifdef MASKED
    if (n >= 16)
        return *(global const unaligned_16 *)p;
    const masked_16 rest = __builtin_astype((float16)fill, masked_16);
    const void *from = (const void *)(size_t)p;
    return __builtin_astype(__builtin_ia32_loadups512_mask(from, rest, MASK_OF(n)), float16);
#else
    if (n >= 16)
        return vload16(0, p);
#ifdef MASKED_HALF
    const int8 lo = LANES_8 < (int8)(int)n, hi = LANES_8 + 8 < (int8)(int)n;
    const masked_8 *from = (const masked_8 *)(size_t)p;
    const float8 a = __builtin_astype(__builtin_ia32_maskloadps256(from, __builtin_astype(lo, mask_8)), float8);
    const float8 b = __builtin_astype(__builtin_ia32_maskloadps256(from + 1, __builtin_astype(hi, mask_8)),
                                      float8);
    return (float16)(select((float8)fill, a, lo), select((float8)fill, b, hi));
#else
    float v[16];
    for (int i = 0; i < 16; i++)
        v[i] = i < n ? p[i] : fill;
    return vload16(0, v);
#endif
#endif
}

static inline void store_16(float16 x, global float *p, long n)
{
#ifdef MASKED
    if (n >= 16)
        *(global unaligned_16 *)p = x;
    else
        __builtin_ia32_storeups512_mask((void *)(size_t)p, __builtin_astype(x, masked_16), MASK_OF(n));
#else
    if (n >= 16) {
        vstore16(x, 0, p);
        return;
    }
#ifdef MASKED_HALF
    const int8 lo = LANES_8 < (int8)(int)n, hi = LANES_8 + 8 < (int8)(int)n;
    masked_8 *to = (masked_8 *)(size_t)p;
    __builtin_ia32_maskstoreps256(to, __builtin_astype(lo, mask_8), __builtin_astype(x.lo, masked_8));
    __builtin_ia32_maskstoreps256(to + 1, __builtin_astype(hi, mask_8), __builtin_astype(x.hi, masked_8));
#else
    float v[16];
    vstore16(x, 0, v);
    for (int i = 0; i < n; i++)
        p[i] = v[i];
#endif
#endif
}

/* The larger one, in one instruction where fmax takes three; a NaN in b is passed over. */
static inline float16 larger_16(float16 a, float16 b) { return select(a, b, b > a); }

/* The lanes' sum and maximum, halving: a fixed order. */
static inline float sum_16(float16 v)
{
    const float8 a = v.lo + v.hi;
    const float4 b = a.lo + a.hi;
    const float2 c = b.lo + b.hi;
    return c.lo + c.hi;
}

static inline float max_16(float16 v)
{
    const float8 a = fmax(v.lo, v.hi);
    const float4 b = fmax(a.lo, a.hi);
    const float2 c = fmax(b.lo, b.hi);
    return fmax(c.lo, c.hi);
}
#endif
