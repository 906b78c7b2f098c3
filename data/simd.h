/* simd.h: vectors of the compiler's own kind (GCC, clang), for loops over bytes. The two hottest loops exist
 * twice: _plain for any machine, and _avx2, where loading widens by itself; BEST takes the one that the
 * processor has. Same bits: no fused multiply-add.
 */
#ifndef JETCL_SIMD_H
#define JETCL_SIMD_H

#include "base/base.h"

typedef u8  u8x16 __attribute__((vector_size(16)));
typedef u8  u8x4  __attribute__((vector_size(4)));
typedef u16 u16x8 __attribute__((vector_size(16)));
typedef i32 i32x4 __attribute__((vector_size(16)));
typedef i32 i32x8 __attribute__((vector_size(32)));
typedef f32 f32x4 __attribute__((vector_size(16)));
typedef f64 f64x4 __attribute__((vector_size(32)));

/* ThreadSanitizer instruments the resolver, which runs before it is ready. */
#if defined __x86_64__
#include <immintrin.h>
#define AVX2 __attribute__((target("avx2")))
#define LOAD8_AVX2(p) ((i32x8)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(p))))
#define LOAD4_AVX2(p) ((i32x4)_mm_cvtepu8_epi32(_mm_loadu_si32(p)))
#define BEST(function, ...) \
    (!simd_plain && __builtin_cpu_supports("avx2") ? function##_avx2(__VA_ARGS__) \
                                                   : function##_plain(__VA_ARGS__))
#else
#define BEST(function, ...) function##_plain(__VA_ARGS__)
#endif
extern bool simd_plain;                           /* tests: leave the loops for particular processors alone */

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "WIDEN16 needs a little-endian machine");
#define INTERLEAVE_LOW(a, b) \
    __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define INTERLEAVE_HIGH(a, b) \
    __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)

/* Every other byte of a, then of b. */
#define EVEN_BYTES(a, b) \
    __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30)

/* 16 bytes to 4 vectors of 4 integers and back (each below 256). Interleaving with zeros widens, on
 * little-endian machines. */
#define WIDEN16(v, a, b, c, d) do { \
    u8x16 zero_ = { 0 }; \
    u16x8 none_ = { 0 }, low_ = (u16x8)INTERLEAVE_LOW(v, zero_), high_ = (u16x8)INTERLEAVE_HIGH(v, zero_); \
    (a) = (i32x4)__builtin_shufflevector(low_, none_, 0, 8, 1, 9, 2, 10, 3, 11); \
    (b) = (i32x4)__builtin_shufflevector(low_, none_, 4, 12, 5, 13, 6, 14, 7, 15); \
    (c) = (i32x4)__builtin_shufflevector(high_, none_, 0, 8, 1, 9, 2, 10, 3, 11); \
    (d) = (i32x4)__builtin_shufflevector(high_, none_, 4, 12, 5, 13, 6, 14, 7, 15); \
} while (0)
#define NARROW16(a, b, c, d) \
    EVEN_BYTES(EVEN_BYTES((u8x16)(a), (u8x16)(b)), EVEN_BYTES((u8x16)(c), (u8x16)(d)))
/* The four integers' lowest bytes come first. */
#define LOWEST_BYTES(v) \
    __builtin_shufflevector((u8x16)(v), (u8x16)(v), 0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15)
/* Each lane into 0..255. */
#define CLIP255(v) do { (v) &= (v) >= 0; (v) = ((v) & ((v) <= 255)) | (((v) > 255) & 255); } while (0)

#define LOW4(v)  __builtin_shufflevector(v, v, 0, 1, 2, 3)
#define HIGH4(v) __builtin_shufflevector(v, v, 4, 5, 6, 7)

/* v[16] of u8x16: byte j of v[i] and byte i of v[j] change places. Four rounds of interleaving the halves. */
#define INTERLEAVE_HALVES(from, to) do { \
    for (int i_ = 0; i_ < 8; i_++) { \
        (to)[2 * i_] = INTERLEAVE_LOW((from)[i_], (from)[i_ + 8]); \
        (to)[2 * i_ + 1] = INTERLEAVE_HIGH((from)[i_], (from)[i_ + 8]); \
    } \
} while (0)
#define TRANSPOSE16(v) do { \
    u8x16 t_[16]; \
    for (int r_ = 0; r_ < 2; r_++) { \
        INTERLEAVE_HALVES(v, t_); \
        INTERLEAVE_HALVES(t_, v); \
    } \
} while (0)

#endif
