/* random.h: draws as functions of (seed, stream, step, element): Philox4x32-10 (Salmon et al. 2011),
 * bit-equal to core/base/rng.c. Masks and noise are drawn again wherever they are needed, never stored.
 *
 *     uint16 bits = random_16(seed, stream, step, g);        // elements 16 g .. 16 g + 15
 *     float16 u = unit_16(bits), z = normal_16(u);           // [0, 1) in steps of 2^-24; N(0, 1)
 *     uint16 two[2]; random_32(seed, stream, step, g, two);  // elements 16 g .. 16 g + 31
 *     uint bits = random_1(seed, stream, step, i);           // one element
 *     uint4 four = random_4(seed, stream, step, i);          // elements i .. i + 3, i a multiple of 4
 *
 * Sixteen elements take four counters, one per lane of a uint4; word w of lane l is element 4 w + l.
 */
#ifndef RANDOM_H
#define RANDOM_H

#define PHILOX_10(round) round(0) round(1) round(2) round(3) round(4) \
                         round(5) round(6) round(7) round(8) round(9)

/* Works on 64-bit lanes of which only the low halves count: the product of two low halves is one instruction.
 * Eight counters at a time take half as long as four: a chain of 10 rounds waits for itself more than for the
 * units. (Both products of a round as the halves of one ulong8 are fewer instructions, but a longer chain,
 * and slower.) */
#define PHILOX_LOW(x) ((x) & 0xFFFFFFFFul)
#define PHILOX_MANY(n, lanes) {                                                                         \
    const lanes p0 = PHILOX_LOW(c0) * 0xD2511F53ul, p1 = PHILOX_LOW(c2) * 0xCD9E8D57ul;                 \
    c0 = (p1 >> 32) ^ c1 ^ (ulong)((uint)seed + n * 0x9E3779B9u);                                       \
    c2 = (p0 >> 32) ^ c3 ^ (ulong)((uint)(seed >> 32) + n * 0xBB67AE85u);                               \
    c1 = p1, c3 = p0; }
#define PHILOX_FOUR(n)  PHILOX_MANY(n, ulong4)
#define PHILOX_EIGHT(n) PHILOX_MANY(n, ulong8)

static inline uint16 random_16(ulong seed, uint stream, uint step, ulong group)
{
    ulong4 c0 = (group << 2) + (ulong4)(0, 1, 2, 3), c1 = group >> 30, c2 = step, c3 = stream;
    PHILOX_10(PHILOX_FOUR)
    return (uint16)(convert_uint4(c0), convert_uint4(c1), convert_uint4(c2), convert_uint4(c3));
}

/* Groups `group` and `group` + 1. */
static inline void random_32(ulong seed, uint stream, uint step, ulong group, uint16 *bits)
{
    ulong8 c0 = (group << 2) + (ulong8)(0, 1, 2, 3, 4, 5, 6, 7);
    ulong8 c1 = (ulong8)((ulong4)(group >> 30), (ulong4)((group + 1) >> 30)), c2 = step, c3 = stream;
    PHILOX_10(PHILOX_EIGHT)
    const uint8 a = convert_uint8(c0), b = convert_uint8(c1), c = convert_uint8(c2), d = convert_uint8(c3);
    bits[0] = (uint16)(a.lo, b.lo, c.lo, d.lo);
    bits[1] = (uint16)(a.hi, b.hi, c.hi, d.hi);
}

#define PHILOX_WORDS(n, word) {                                                                         \
    const word low0 = c0 * 0xD2511F53u, low2 = c2 * 0xCD9E8D57u;                                        \
    const word high0 = mul_hi(c0, (word)0xD2511F53u), high2 = mul_hi(c2, (word)0xCD9E8D57u);            \
    c0 = high2 ^ c1 ^ ((uint)seed + n * 0x9E3779B9u);                                                   \
    c2 = high0 ^ c3 ^ ((uint)(seed >> 32) + n * 0xBB67AE85u);                                           \
    c1 = low2, c3 = low0; }
#define PHILOX_ONE(n)  PHILOX_WORDS(n, uint)
#define PHILOX_ONE4(n) PHILOX_WORDS(n, uint4)

/* Elements i .. i + 3, i a multiple of 4: the same word of four counters. */
static inline uint4 random_4(ulong seed, uint stream, uint step, ulong i)
{
    const ulong counter = i >> 4 << 2;
    uint4 c0 = (uint4)((uint)counter) + (uint4)(0, 1, 2, 3), c1 = (uint)(counter >> 32), c2 = step, c3 = stream;
    PHILOX_10(PHILOX_ONE4)
    return i & 8 ? i & 4 ? c3 : c2 : i & 4 ? c1 : c0;
}

static inline uint random_1(ulong seed, uint stream, uint step, ulong i)
{
    const ulong counter = (i >> 4 << 2) + (i & 3);
    uint c0 = (uint)counter, c1 = (uint)(counter >> 32), c2 = step, c3 = stream;
    PHILOX_10(PHILOX_ONE)
    return i & 8 ? i & 4 ? c3 : c2 : i & 4 ? c1 : c0;
}

/* A row of a drawn tensor, numbered as if the whole batch lay in it: drawn.y rows are a sample's, the part's
 * samples take drawn.z of them, then it begins again (core/op/op.h, op_by_sample). */
static inline long row_of_batch(long row, long4 drawn, long before, long others)
{
    return row + drawn.y * before + (others && drawn.z ? row / drawn.z * drawn.y * others : 0);
}

/* Is any of these far out, where the normal's second polynomial holds (one draw in 300)? Yes, if asking costs
 * more. */
#define FAR_1(y)  ((y) >= 5.0f)
#define FAR_4(y)  1
#ifdef MASKED
#define FAR_16(y) __builtin_ia32_cmpps512_mask(__builtin_astype(y, masked_16), \
                                               __builtin_astype((float16)5.0f, masked_16), 13, -1, 4)
#else
#define FAR_16(y) 1
#endif

#define W     1
#define real  float
#define ints int
#define bits  uint
#include "random_lanes.h"
#undef W
#undef real
#undef ints
#undef bits

#define W     4
#define real  float4
#define ints int4
#define bits  uint4
#include "random_lanes.h"
#undef W
#undef real
#undef ints
#undef bits

#define W     16
#define real  float16
#define ints int16
#define bits  uint16
#include "random_lanes.h"
#undef W
#undef real
#undef ints
#undef bits
#endif
