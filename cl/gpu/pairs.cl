/* pairs.cl for GPUs: popcount(a & b) over the bits that stats.cl packs; see cl/pairs.cl for the layout. A
 * group of 16 x 16 items counts 64 x 64 pairs, 4 x 4 an item, 16 words at a time out of local memory:
 *
 *     strip s1: words x 64  -> local -> channels y, y+16, y+32, y+48   } 16 pairs in registers,
 *     strip s2: words x 64  -> local -> channels x, x+16, x+32, x+48   } 8 reads for 16 popcounts
 */
#define STRIP 64
#define WORDS 16

__kernel __attribute__((reqd_work_group_size(16, 16, 1)))
void pairs(__global const uint *bits, __global uint *together, long channels, long all)
{
    __local uint one[WORDS * STRIP], other[WORDS * STRIP];
    const long s1 = get_group_id(0), s2 = get_group_id(1);
    const int x = get_local_id(0), y = get_local_id(1), me = 16 * y + x;
    uint sum[16];
    if (s2 < s1)
        return;
    for (int i = 0; i < 16; i++)
        sum[i] = 0;
    for (long w = 0; w < all; w += WORDS) {
        for (int i = me; i < WORDS * STRIP; i += 256) {
            one[i] = bits[(s1 * all + w) * STRIP + i];
            other[i] = bits[(s2 * all + w) * STRIP + i];
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        for (int k = 0; k < WORDS * STRIP; k += STRIP)
            for (int i = 0; i < 4; i++)
                for (int j = 0; j < 4; j++)
                    sum[4 * i + j] += popcount(one[k + y + 16 * i] & other[k + x + 16 * j]);
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) {
            const long c1 = s1 * STRIP + y + 16 * i, c2 = s2 * STRIP + x + 16 * j;
            if (c1 < channels && c2 < channels)
                together[c1 * channels + c2] += sum[4 * i + j];
        }
}
