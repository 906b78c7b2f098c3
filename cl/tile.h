/* tile.h (CPU only): the inner loop of the products on CPUs (cl/cpu/matmul.cl, cl/cpu/attention.cl), and how B
 * is packed for it.
 *
 *     MR rows of A  x  a panel of B, [k][WIDE], WIDE = 16 NV columns  ->  MR x NV sums of 16, in registers
 *
 * Sums are named scalars (c00 .. c72), not arrays, so that no compiler puts them into memory. A tile keeps 24
 * of AVX-512's 32 registers, 12 of AVX's 16 (where a float16 is two). Before including: SPACE, where panels
 * lie (local or global); optionally AHEAD, what to do besides in each step of k, and B_STEP, floats from one
 * k of the panel to the next. B is of type Tb, the panels float.
 */
#include "transpose.h"
#include "type.h"
// Into the second cache; near: into the first. PoCL's prefetch() does nothing, its compiler's own does.
// Addresses past the end are harmless.
#if defined(POCL_DEVICE_ADDRESS_BITS) && defined(__has_builtin)
#define PREFETCH(p) __builtin_prefetch((const void *)(size_t)(p), 0, 2)
#define PREFETCH_NEAR(p) __builtin_prefetch((const void *)(size_t)(p), 0, 3)
#define PREFETCH_TO_WRITE(p) __builtin_prefetch((const void *)(size_t)(p), 1, 3)
#else
#define PREFETCH(p) (void)(p)
#define PREFETCH_NEAR(p) (void)(p)
#define PREFETCH_TO_WRITE(p) (void)(p)
#endif
#ifndef MR
#define MR 8                                  // rows of a tile: 2, 3, 6 or 8
#define NV 3                                  // vectors of a tile: 1 or 3
#endif
// Steps of k in an iteration of the inner loop: AVX2's twelve multiply-adds are too few for counters and AHEAD.
// With 4 lanes, compilers load four steps' values of A at once, and spill.
#ifndef STEPS
#if SIMD == 8
#define STEPS 4
#else
#define STEPS 1
#endif
#endif
#ifndef AHEAD
#define AHEAD
#endif
#define WIDE (16 * NV)
#ifndef B_STEP
#define B_STEP WIDE
#endif

#define ROWS_2(X)  X(0) X(1)
#define ROWS_3(X)  ROWS_2(X) X(2)
#define ROWS_6(X)  ROWS_3(X) X(3) X(4) X(5)
#define ROWS_8(X)  ROWS_6(X) X(6) X(7)
#define ROWS(X)    JOIN(ROWS_, MR)(X)
#define VECTORS_1(X, r) X(r, 0)
#define VECTORS_2(X, r) X(r, 0) X(r, 1)
#define VECTORS_3(X, r) X(r, 0) X(r, 1) X(r, 2)
#define VECTORS(X, r)   JOIN(VECTORS_, NV)(X, r)

/* ---- packing: one panel, kk x WIDE, of which nn columns exist ------------------------------------------ */

/* B is stored [column][k]: transposed in squares of 16 x 16, or of 8 x 8 where a vector has no 16 lanes. */
#if SIMD < 16 && BYTES(Tb) == 4
#define SQUARE 8
static void pack_squares(SPACE float16 *to, global const TYPE(Tb) *b, const long row, const int kk,
                         const int last)
{
    for (int k0 = 0; k0 < kk; k0 += 8) {
        const int k = min(k0, kk - 8);                      // the last square overlaps the one before
        for (int h = 0; h < 16; h += 8) {
            SPACE float *at = (SPACE float *)(to + k * NV) + h;
#define LOAD(i)  const float8 x##i = vload8(0, b + min(h + i, last) * row + k);
#define STORE(i) vstore8(b##i, 0, at + i * WIDE);
            EIGHT(LOAD) { TRANSPOSE_8(x) EIGHT(STORE) }
        }
    }
}
#else
#define SQUARE 16
static void pack_squares(SPACE float16 *to, global const TYPE(Tb) *b, const long row, const int kk,
                         const int last)
{
    for (int k0 = 0; k0 < kk; k0 += 16) {
        const int k = min(k0, kk - 16);
#define LOAD(i) float16 x##i = LOAD_16(Tb, b + min(i, last) * row + k, 16, 0), y##i;
#define STORE(i) to[(k + i) * NV] = x##i;
        SIXTEEN(LOAD) TRANSPOSE(x, y) SIXTEEN(STORE)
    }
}
#endif

static void pack_transposed(SPACE float16 *to, global const TYPE(Tb) *b, const long row, const int kk,
                            const int nn)
{
    for (int v = 0; 16 * v < min(nn, WIDE); v++, b += 16 * row) {
        const int last = min(nn - 1 - 16 * v, 15);          // columns past it repeat it: never stored
        if (kk >= SQUARE)
            pack_squares(to + v, b, row, kk, last);
        for (int k = 0; k < kk && kk < SQUARE; k++) {
            float t[16];
            for (int j = 0; j < 16; j++)
                t[j] = LOAD_1(Tb, b + min(j, last) * row + k);
            to[k * NV + v] = vload16(0, t);
        }
    }
}

/* ---- packing a transposed A ---------------------------------------------------------------------------- */

#if defined(BAND)
#if BYTES(Ta) == 2
#define EIGHT_OF_A(p) WIDENED(Ta, (ushort16)(vload8(0, p), (ushort8)0)).lo
#else
#define EIGHT_OF_A(p) vload8(0, p)
#endif

static void put_columns(local float *to, const float8 x)
{
#if MR == 8
    vstore8(x, 0, to);
#elif MR == 6
    vstore4(x.lo, 0, to);
    vstore2(x.hi.lo, 0, to + 4);
#elif MR == 3
    vstore3(x.s012, 0, to);
#else
    vstore2(x.lo.lo, 0, to);
#endif
}

/* kk of k of `count` columns of A, tile after tile; a row has `left` from here on, 0 past its end. */
static void pack_band(local float *to, global const TYPE(Ta) *a, const long row, const int kk, const int count,
                      const int left)
{
    for (int k = 0; k < kk; k++, a += row, to += MR) {
        int i = 0;
        for (; i < count && i + 8 <= left; i += MR)
            put_columns(to + i * kk, EIGHT_OF_A(a + i));
        for (; i < count; i += MR)
            for (int r = 0; r < MR; r++)
                to[i * kk + r] = i + r < left ? LOAD_1(Ta, a + i + r) : 0;
    }
}
#endif

/* ---- the sums ------------------------------------------------------------------------------------------ */

#define ZERO(r, v)   float16 c##r##v = 0;
#define ZEROS(r)     VECTORS(ZERO, r)
#define LOAD_B(r, v) const float16 b##v = vload16(v, panel);
#define MAD(r, v)    c##r##v = fma(x, b##v, c##r##v);
#define MADS_1(r)    { const float16 x = a##r[p]; VECTORS_1(MAD, r) }
#define MADS_2(r)    { const float16 x = a##r[p]; VECTORS_2(MAD, r) }
#define MADS_3(r)    { const float16 x = a##r[p]; VECTORS_3(MAD, r) }
#define K_STEP(nv, ak)                                                                      \
    {                                                                                       \
        VECTORS_##nv(LOAD_B, )                                                              \
        ROWS(MADS_##nv)                                                                     \
        p += (ak);                                                                          \
        panel += B_STEP;                                                                    \
    }
#if STEPS == 1
#define ALONG_K(nv, kk, ak)                                                                 \
    for (long p = 0, stop = (long)(kk) * (ak); p < stop; p += (ak), panel += B_STEP) {      \
        VECTORS_##nv(LOAD_B, )                                                              \
        AHEAD                                                                               \
        ROWS(MADS_##nv)                                                                     \
    }
#else
#define ALONG_K(nv, kk, ak)                                                                 \
    {                                                                                       \
        long p = 0;                                                                         \
        const long stop = (long)(kk) * (ak);                                                \
        for (const long whole = stop - (STEPS - 1) * (ak); p < whole;) {                    \
            AHEAD                                                                           \
            K_STEP(nv, ak) K_STEP(nv, ak) K_STEP(nv, ak) K_STEP(nv, ak)                     \
        }                                                                                   \
        while (p < stop)                                                                    \
            K_STEP(nv, ak)                                                                  \
    }
#endif

/* Declares the sums and fills them: a0.. point to rows of A, whose k are ak apart; `panel` points to B.
 * Vectors beyond the `columns` that are asked for stay 0. */
#if NV == 3
#define MULTIPLY(columns, kk, ak)                                                           \
    ROWS(ZEROS)                                                                             \
    if ((columns) <= 16) ALONG_K(1, kk, ak)                                                 \
    else if ((columns) <= 32) ALONG_K(2, kk, ak)                                            \
    else ALONG_K(3, kk, ak)
#else
#define MULTIPLY(columns, kk, ak) ROWS(ZEROS) ALONG_K(1, kk, ak)
#endif
#define KEEP(r, v)   sums[r * NV + v] = c##r##v;
#define KEEP_SUMS(r) VECTORS(KEEP, r)         // into float16 sums[MR * NV]
