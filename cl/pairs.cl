/* pairs.cl: how often two channels are active together: popcount(a & b) over the bits that stats.cl packs, in
 * strips of 64 channels, `all` words long. A group counts 64 x 64 pairs: strip get_group_id(0) with strip
 * get_group_id(1), which is not before it; the host mirrors the rest.
 */
#include "pairs.h"

kernel ALONE void pairs(global const uint *bits, global uint *together, long channels, long all)
{
    const long s1 = get_group_id(0), s2 = get_group_id(1);
    if (s2 < s1)
        return;
    for (int c = 0; c < STRIP && s1 * STRIP + c < channels; c++)
        for (int v = 0; v < STRIP; v += 16) {
            global const uint *one = bits + s1 * all * STRIP + c, *other = bits + s2 * all * STRIP + v;
            uint16 sum = 0;
            for (long w = 0; w < all * STRIP; w += STRIP)
                sum += popcount(vload16(0, other + w) & (uint16)(one[w]));
            count_up(sum, together + (s1 * STRIP + c) * channels + s2 * STRIP + v, channels - s2 * STRIP - v);
        }
}
