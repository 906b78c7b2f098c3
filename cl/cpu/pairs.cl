/* pairs.cl (CPU): popcount(a & b) over the bits that stats.cl packs; see cl/pairs.cl for the layout and who counts what.
 *
 * Without an instruction for it, a popcount is a dozen steps, so words are first added up in carry-save form (Harley and
 * Seal; Mula, Kurz and Lemire 2018): sixteen words become a word of sixteens, and only that is counted.
 *
 *     word 0 1 | 2 3 ...        ones, twos, fours, eights: digits of 512 running sums, one per bit of a vector
 *      twos a  | twos b ...     add3: sum and carry of three words, two instructions where the CPU has three-input logic
 *
 * Bound by logic: about five instructions for 512 pairs of bits.
 */
#include "pairs.h"
#define WORDS 16

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

#define BOTH(i)   (vload16(0, other + (i) * STRIP) & (uint16)(one[(i) * STRIP]))
#define TWO(i)    add3(&d1, BOTH(i), BOTH((i) + 1))
#define FOUR(i)   add3(&d2, TWO(i), TWO((i) + 2))
#define EIGHT(i)  add3(&d4, FOUR(i), FOUR((i) + 4))

__kernel ALONE void pairs(__global const uint *bits, __global uint *together, long channels, long all)
{
    const long s1 = get_group_id(0), s2 = get_group_id(1);
    if (s2 < s1)
        return;
    for (int c = 0; c < STRIP && s1 * STRIP + c < channels; c++)
        for (int v = 0; v < STRIP; v += 16) {
            __global const uint *one = bits + s1 * all * STRIP + c, *other = bits + s2 * all * STRIP + v;
            uint16 d1 = 0, d2 = 0, d4 = 0, d8 = 0, sum = 0;
            for (long w = 0; w < all; w += WORDS, one += WORDS * STRIP, other += WORDS * STRIP) {
                const uint16 a = EIGHT(0), b = EIGHT(8);
                sum += ones_in(add3(&d8, a, b));
            }
            sum = (sum << 4) + (ones_in(d8) << 3) + (ones_in(d4) << 2) + (ones_in(d2) << 1) + ones_in(d1);
            count_up(sum, together + (s1 * STRIP + c) * channels + s2 * STRIP + v, channels - s2 * STRIP - v);
        }
}
