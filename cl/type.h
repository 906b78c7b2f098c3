/* type.h: reading and writing elements by their type, so that a kernel's text is written once and compiled
 * per type. Arithmetic is float's whatever is stored.
 *
 *     global const TYPE(Tx) *x                   an array of Tx: F32, F16 or BF16
 *     LOAD_1(Tx, p)    STORE_1(Tx, v, p)           one element; *p for F32
 *     LOAD_16(Tx, p, n, fill)   STORE_16(Tx, v, p, n)       as load_16 and store_16 of prelude.h
 *     LOAD_WHOLE(Tx, p)  STORE_WHOLE(Tx, v, p)     sixteen; vload16, vstore16 for F32
 *     WIDENED(Tx, h)                               sixteen of a half type, read as ushort16
 *     #if BYTES(Tx) == 2
 *
 * Launches name the types that are not F32 (launch.types, core/dev/dev.h): -DTx=F16. Halves are rounded to
 * nearest, ties to even. F16 by the instructions of a CPU that has them, else by vload_half, which no
 * extension is needed for (PoCL's takes bits apart one lane after the other); BF16, the upper half of a
 * float, by integers.
 *
 * A kernel file that includes this serves every type: the precision pass (core/fuse/types.c) looks for the
 * line, and puts casts around the kernels of other files. */
#ifndef TYPE_H
#define TYPE_H
#ifndef Ta
#define Ta F32
#endif
#ifndef Tb
#define Tb F32
#endif
#ifndef Tc
#define Tc F32
#endif
#ifndef Td
#define Td F32
#endif
#ifndef Tg
#define Tg F32
#endif
#ifndef Tm
#define Tm F32
#endif
#ifndef To
#define To F32
#endif
#ifndef Ts
#define Ts F32
#endif
#ifndef Tx
#define Tx F32
#endif
#ifndef Ty
#define Ty F32
#endif

#define TYPE(T)                   JOIN(type_, T)
#define BYTES(T)                  JOIN(BYTES_, T)
#define LOAD_1(T, p)              JOIN(load_1_, T)(p)
#define STORE_1(T, v, p)          JOIN(store_1_, T)(v, p)
#define LOAD_16(T, p, n, fill)    JOIN(load_16_, T)(p, n, fill)
#define STORE_16(T, v, p, n)      JOIN(store_16_, T)(v, p, n)
#define LOAD_WHOLE(T, p)          JOIN(load_whole_, T)(p)
#define STORE_WHOLE(T, v, p)      JOIN(store_whole_, T)(v, p)
#define WIDENED(T, h)             JOIN(widened_, T)(h)

#define BYTES_F32  4
#define BYTES_F16  2
#define BYTES_BF16 2

#define type_F32                  float
#define load_1_F32(p)             (*(p))
#define store_1_F32(v, p)         (*(p) = (v))
#define load_16_F32(p, n, fill)   load_16(p, n, fill)
#define store_16_F32(v, p, n)     store_16(v, p, n)
#define load_whole_F32(p)         vload16(0, p)
#define store_whole_F32(v, p)     vstore16(v, 0, p)

/* ---- the first n of sixteen pieces of two bytes, n < 16: the others 0 ---------------------------------- */

#if defined(__AVX512BW__) && defined(__AVX512VL__) && SIMD >= 16 && defined(__has_builtin)
#if __has_builtin(__builtin_ia32_loaddquhi256_mask) && __has_builtin(__builtin_ia32_storedquhi256_mask)
#define MASKED_HALVES
typedef short halves_16 __attribute__((vector_size(32)));
#define MASK_OF_HALVES(n) (ushort)((1u << max((int)(n), 0)) - 1)
#endif
#endif

static inline ushort16 load_halves(global const ushort *p, long n)
{
#ifdef MASKED_HALVES
    const halves_16 zero = __builtin_astype((ushort16)0, halves_16);
    const halves_16 *from = (const halves_16 *)(size_t)p;
    return __builtin_astype(__builtin_ia32_loaddquhi256_mask(from, zero, MASK_OF_HALVES(n)), ushort16);
#else
    ushort v[16];
    for (int i = 0; i < 16; i++)
        v[i] = i < n ? p[i] : 0;
    return vload16(0, v);
#endif
}

static inline void store_halves(ushort16 x, global ushort *p, long n)
{
#ifdef MASKED_HALVES
    __builtin_ia32_storedquhi256_mask((halves_16 *)(size_t)p, __builtin_astype(x, halves_16),
                                      MASK_OF_HALVES(n));
#else
    ushort v[16];
    vstore16(x, 0, v);
    for (int i = 0; i < n; i++)
        p[i] = v[i];
#endif
}

static inline float16 fill_up(float16 x, long n, float fill)
{
    const int16 lane = (int16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    return select((float16)fill, x, lane < (int16)(int)n);
}

/* Rows of sixteen, of which n exist, of a half type that from() widens and to() rounds. */
#define LOAD_STORE_16(T, from, to)                                                                        \
    static inline float16 load_16_##T(global const ushort *p, long n, float fill)                         \
    {                                                                                                     \
        if (n >= 16)                                                                                      \
            return from(vload16(0, p));                                                                   \
        return fill_up(from(load_halves(p, n)), n, fill);                                                 \
    }                                                                                                     \
    static inline void store_16_##T(float16 x, global ushort *p, long n)                                  \
    {                                                                                                     \
        if (n >= 16)                                                                                      \
            vstore16(to(x), 0, p);                                                                        \
        else                                                                                              \
            store_halves(to(x), p, n);                                                                    \
    }

/* ---- BF16 ---------------------------------------------------------------------------------------------- */

#define type_BF16 ushort

static inline float load_1_BF16(global const ushort *p) { return as_float((uint)*p << 16); }

static inline void store_1_BF16(float x, global ushort *p)
{
    const uint u = as_uint(x);
    *p = isnan(x) ? u >> 16 | 0x40 : (u + 0x7fff + (u >> 16 & 1)) >> 16;
}

static inline float16 from_bf16(ushort16 h) { return as_float16(convert_uint16(h) << 16); }

static inline ushort16 to_bf16(float16 x)
{
    const uint16 u = as_uint16(x), is_nan = as_uint16(x != x);            // select() took twice as long
    const uint16 bias = ((u >> 16 & 1) + 0x7fff) & ~is_nan;
    return convert_ushort16((u + bias | (is_nan & 0x400000)) >> 16);
}

LOAD_STORE_16(BF16, from_bf16, to_bf16)

#define widened_BF16(h)         from_bf16(h)
#define load_whole_BF16(p)      from_bf16(vload16(0, p))
#define store_whole_BF16(v, p)  vstore16(to_bf16(v), 0, p)

/* ---- F16 ----------------------------------------------------------------------------------------------- */

#define type_F16 ushort

#if defined(__AVX512F__) && defined(__has_builtin)
#if __has_builtin(__builtin_ia32_vcvtph2ps512_mask) && __has_builtin(__builtin_ia32_vcvtps2ph512_mask)
#define CONVERTED_BY_16
#endif
#elif defined(__F16C__) && defined(__has_builtin)
#if __has_builtin(__builtin_ia32_vcvtph2ps256) && __has_builtin(__builtin_ia32_vcvtps2ph256)
#define CONVERTED_BY_8
#endif
#endif

#if defined(CONVERTED_BY_16)
typedef short short_16 __attribute__((vector_size(32)));
typedef float float_16 __attribute__((vector_size(64)));

static inline float16 from_f16(ushort16 h)
{
    const float_16 zero = __builtin_astype((float16)0, float_16);
    return __builtin_astype(
        __builtin_ia32_vcvtph2ps512_mask(__builtin_astype(h, short_16), zero, (ushort)0xffff, 4), float16);
}

static inline ushort16 to_f16(float16 x)
{
    const short_16 zero = __builtin_astype((ushort16)0, short_16);
    return __builtin_astype(
        __builtin_ia32_vcvtps2ph512_mask(__builtin_astype(x, float_16), 0, zero, (ushort)0xffff), ushort16);
}
#elif defined(CONVERTED_BY_8)
typedef short short_8 __attribute__((vector_size(16)));
typedef float float_8 __attribute__((vector_size(32)));

static inline float16 from_f16(ushort16 h)
{
    return (float16)(__builtin_astype(__builtin_ia32_vcvtph2ps256(__builtin_astype(h.lo, short_8)), float8),
                     __builtin_astype(__builtin_ia32_vcvtph2ps256(__builtin_astype(h.hi, short_8)), float8));
}

static inline ushort16 to_f16(float16 x)
{
    return (ushort16)(
        __builtin_astype(__builtin_ia32_vcvtps2ph256(__builtin_astype(x.lo, float_8), 0), ushort8),
        __builtin_astype(__builtin_ia32_vcvtps2ph256(__builtin_astype(x.hi, float_8), 0), ushort8));
}
#else
static inline float16 from_f16(ushort16 h)
{
    ushort v[16];
    vstore16(h, 0, v);
    return vload_half16(0, (const half *)v);
}

static inline ushort16 to_f16(float16 x)
{
    ushort v[16];
    vstore_half16_rte(x, 0, (half *)v);
    return vload16(0, v);
}
#endif

static inline float load_1_F16(global const ushort *p) { return vload_half(0, (global const half *)p); }
static inline void store_1_F16(float x, global ushort *p) { vstore_half_rte(x, 0, (global half *)p); }

LOAD_STORE_16(F16, from_f16, to_f16)

#define widened_F16(h)         from_f16(h)
#define load_whole_F16(p)      from_f16(vload16(0, p))
#define store_whole_F16(v, p)  vstore16(to_f16(v), 0, p)
#endif
