/* pairs.cl (CPU): popcount(a & b) over the bits that stats.cl packs; see cl/pairs.cl for the layout and
 * who counts what.
 *
 * Without an instruction for it, a popcount is a dozen steps, so words are first added up in carry-save
 * form (Harley and Seal; Mula, Kurz and Lemire 2018): sixteen words become a word of sixteens, and only
 * that is counted.
 *
 *     word 0 1 | 2 3 ...        ones, twos, fours, eights: digits of 512 running sums, one per bit of a
 *      twos a  | twos b ...     vector; add3: sum and carry of three words, two instructions where the CPU
 *                               has three-input logic
 *
 * Bound by logic: about five instructions for 512 pairs of bits, once both sides lie in the first cache.
 */
#include "pairs.h"
#define WORDS 16
#ifndef BLOCK
#define BLOCK 256        /* words at a time: both sides, 128 bytes a word, are two thirds of the first cache */
#endif

static inline uint16 ones_in(uint16 v)
{
    v -= (v >> 1) & 0x55555555u;
    v = (v & 0x33333333u) + ((v >> 2) & 0x33333333u);
    v = (v + (v >> 4)) & 0x0f0f0f0fu;
    v += v >> 8;
    return (v + (v >> 16)) & 0x3fu;
}

/* a + b + sum: the carry; sum keeps its digit. */
static inline uint16 add3(uint16 *sum, uint16 a, uint16 b)
{
    const uint16 differ = a ^ b, carry = bitselect(a, *sum, differ);
    *sum ^= differ;
    return carry;
}

#define BOTH(i)   (other[w + (i)] & (uint16)(((const uint *)&one[w + (i)])[c]))
#define TWO(i)    add3(&d1, BOTH(i), BOTH((i) + 1))
#define FOUR(i)   add3(&d2, TWO(i), TWO((i) + 2))
#define EIGHT(i)  add3(&d4, FOUR(i), FOUR((i) + 4))

/* Words of sixteen channels. As they lie, a strip apart, a quarter of the first cache's sets would
 * hold them all. */
static inline void gather(global const uint *bits, int words, uint16 *to)
{
    for (int w = 0; w < words; w++)
        to[w] = vload16(0, bits + w * STRIP);
}

kernel ALONE void pairs(global const uint *bits, global uint *together, long channels, long all)
{
    const long s1 = get_group_id(0), s2 = get_group_id(1);
    uint16 one[BLOCK], other[BLOCK];
    if (s2 < s1)
        return;
    for (long from = 0; from < all; from += BLOCK)
        for (int k = 0; k < 16; k++) {
            const int words = (int)min(all - from, (long)BLOCK), c0 = k / 4 * 16, v = k % 4 * 16;
            if (k % 4 == 0)
                gather(bits + (s1 * all + from) * STRIP + c0, words, one);
            gather(bits + (s2 * all + from) * STRIP + v, words, other);
            for (int c = 0; c < 16 && s1 * STRIP + c0 + c < channels; c++) {
                uint16 d1 = 0, d2 = 0, d4 = 0, d8 = 0, sum = 0;
                for (int w = 0; w < words; w += WORDS) {
                    const uint16 a = EIGHT(0), b = EIGHT(8);
                    sum += ones_in(add3(&d8, a, b));
                }
                sum = (sum << 4) + (ones_in(d8) << 3) + (ones_in(d4) << 2) + (ones_in(d2) << 1) + ones_in(d1);
                const long c1 = s1 * STRIP + c0 + c, c2 = s2 * STRIP + v;
                count_up(sum, together + c1 * channels + c2, channels - c2);
            }
        }
}
