/* simd.h: vectors of the compiler's own kind (GCC, clang), for loops over bytes. CLONES compiles a function twice where the
 * C library can choose at start: for any x86-64 and for AVX2. No fused multiply-add in either, so both give the same bits. */
#ifndef JETCL_SIMD_H
#define JETCL_SIMD_H

#include "base/base.h"

typedef u8  u8x16 __attribute__((vector_size(16)));
typedef u8  u8x4  __attribute__((vector_size(4)));
typedef u16 u16x8 __attribute__((vector_size(16)));
typedef i32 i32x4 __attribute__((vector_size(16)));
typedef f32 f32x4 __attribute__((vector_size(16)));
typedef f64 f64x4 __attribute__((vector_size(32)));

/* ThreadSanitizer instruments the resolver, which runs before it is ready. */
#if defined __x86_64__ && defined __GLIBC__ && !defined __SANITIZE_THREAD__
#define CLONES __attribute__((target_clones("avx2", "default")))
#else
#define CLONES
#endif

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "WIDEN16 needs a little-endian machine");
#define INTERLEAVE_LOW(a, b)  __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define INTERLEAVE_HIGH(a, b) __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)

/* Every other byte of a, then of b. */
#define EVEN_BYTES(a, b) __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30)

/* 16 bytes to 4 vectors of 4 integers and back (each below 256). Interleaving with zeros widens, on little-endian machines. */
#define WIDEN16(v, a, b, c, d) do { \
    u8x16 zero_ = { 0 }; \
    u16x8 none_ = { 0 }, low_ = (u16x8)INTERLEAVE_LOW(v, zero_), high_ = (u16x8)INTERLEAVE_HIGH(v, zero_); \
    (a) = (i32x4)__builtin_shufflevector(low_, none_, 0, 8, 1, 9, 2, 10, 3, 11); \
    (b) = (i32x4)__builtin_shufflevector(low_, none_, 4, 12, 5, 13, 6, 14, 7, 15); \
    (c) = (i32x4)__builtin_shufflevector(high_, none_, 0, 8, 1, 9, 2, 10, 3, 11); \
    (d) = (i32x4)__builtin_shufflevector(high_, none_, 4, 12, 5, 13, 6, 14, 7, 15); \
} while (0)
#define NARROW16(a, b, c, d) EVEN_BYTES(EVEN_BYTES((u8x16)(a), (u8x16)(b)), EVEN_BYTES((u8x16)(c), (u8x16)(d)))
/* Each lane into 0..255. */
#define CLIP255(v) do { (v) &= (v) >= 0; (v) = ((v) & ((v) <= 255)) | (((v) > 255) & 255); } while (0)

/* v[16] of u8x16: byte j of v[i] and byte i of v[j] change places. Four rounds of interleaving the halves. */
#define TRANSPOSE16(v) do { \
    u8x16 t_[16]; \
    for (int r_ = 0; r_ < 4; r_++) { \
        for (int i_ = 0; i_ < 8; i_++) { \
            t_[2 * i_] = INTERLEAVE_LOW(v[i_], v[i_ + 8]); \
            t_[2 * i_ + 1] = INTERLEAVE_HIGH(v[i_], v[i_ + 8]); \
        } \
        memcpy(v, t_, sizeof t_); \
    } \
} while (0)

#endif
