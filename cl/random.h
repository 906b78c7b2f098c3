/* random.h: draws as functions of (seed, stream, step, element): Philox4x32-10 (Salmon et al. 2011),
 * bit-equal to core/base/rng.c. Masks and noise are drawn again wherever they are needed, never stored.
 *
 *     uint16 bits = random_16(seed, stream, step, g);        // elements 16 g .. 16 g + 15
 *     float16 u = unit_16(bits), z = normal_16(u);           // [0, 1) in steps of 2^-24; N(0, 1)
 *     uint bits = random_1(seed, stream, step, i);           // one element, at the price of four
 *
 * Sixteen elements take four counters, one per lane of a uint4; word w of lane l is element 4 w + l.
 */
#ifndef RANDOM_H
#define RANDOM_H

/* A round works on 64-bit lanes of which only the low halves count: the product of two low halves is one
 * instruction. */
#define PHILOX_LOW(x) ((x) & 0xFFFFFFFFul)
#define PHILOX_ROUND(k0, k1) {                                                                          \
    ulong4 p0 = PHILOX_LOW(c0) * 0xD2511F53ul, p1 = PHILOX_LOW(c2) * 0xCD9E8D57ul;                      \
    c0 = (p1 >> 32) ^ c1 ^ (ulong)(k0), c2 = (p0 >> 32) ^ c3 ^ (ulong)(k1);                             \
    c1 = p1, c3 = p0; }
#define PHILOX_KEYS(n) PHILOX_ROUND((uint)seed + n * 0x9E3779B9u, (uint)(seed >> 32) + n * 0xBB67AE85u)

static inline uint16 random_16(ulong seed, uint stream, uint step, ulong group)
{
    ulong4 c0 = (group << 2) + (ulong4)(0, 1, 2, 3), c1 = group >> 30, c2 = step, c3 = stream;
    PHILOX_KEYS(0) PHILOX_KEYS(1) PHILOX_KEYS(2) PHILOX_KEYS(3) PHILOX_KEYS(4)
    PHILOX_KEYS(5) PHILOX_KEYS(6) PHILOX_KEYS(7) PHILOX_KEYS(8) PHILOX_KEYS(9)
    return (uint16)(convert_uint4(c0), convert_uint4(c1), convert_uint4(c2), convert_uint4(c3));
}

static inline uint random_1(ulong seed, uint stream, uint step, ulong i)
{
    uint16 bits = random_16(seed, stream, step, i >> 4);
    uint v[16];
    vstore16(bits, 0, v);
    return v[i & 15];
}

#define W     1
#define real  float
#define whole int
#define bits  uint
#include "random_w.h"
#undef W
#undef real
#undef whole
#undef bits

#define W     4
#define real  float4
#define whole int4
#define bits  uint4
#include "random_w.h"
#undef W
#undef real
#undef whole
#undef bits

#define W     16
#define real  float16
#define whole int16
#define bits  uint16
#include "random_w.h"
#undef W
#undef real
#undef whole
#undef bits
#endif
