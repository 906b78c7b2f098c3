/* pairs.cl for GPUs: popcount(a & b) over the bits that stats.cl packs; see cl/pairs.cl for the layout. A
 * group of SIDE x SIDE items counts 64 x 64 pairs, EACH x EACH an item, 16 words at a time out of local
 * memory:
 *
 *     strip s1: words x 64  -> local -> channels y, y + SIDE, ..   } SIDE 16: 16 pairs in registers,
 *     strip s2: words x 64  -> local -> channels x, x + SIDE, ..   } 8 reads for 16 popcounts
 */
#define STRIP 64
#define WORDS 16
#ifndef SIDE
#define SIDE 16                                   // 8 on devices without groups of 256
#endif
#define EACH (STRIP / SIDE)

kernel __attribute__((reqd_work_group_size(SIDE, SIDE, 1)))
void pairs(global const uint *bits, global uint *together, long channels, long all)
{
    local uint one[WORDS * STRIP], other[WORDS * STRIP];
    const long s1 = get_group_id(0), s2 = get_group_id(1);
    const int x = get_local_id(0), y = get_local_id(1), me = SIDE * y + x;
    uint sum[EACH * EACH];
    if (s2 < s1)
        return;
    for (int i = 0; i < EACH * EACH; i++)
        sum[i] = 0;
    for (long w = 0; w < all; w += WORDS) {
        for (int i = me; i < WORDS * STRIP; i += SIDE * SIDE) {
            one[i] = bits[(s1 * all + w) * STRIP + i];
            other[i] = bits[(s2 * all + w) * STRIP + i];
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        for (int k = 0; k < WORDS * STRIP; k += STRIP)
            for (int i = 0; i < EACH; i++)
                for (int j = 0; j < EACH; j++)
                    sum[EACH * i + j] += popcount(one[k + y + SIDE * i] & other[k + x + SIDE * j]);
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    for (int i = 0; i < EACH; i++)
        for (int j = 0; j < EACH; j++) {
            const long c1 = s1 * STRIP + y + SIDE * i, c2 = s2 * STRIP + x + SIDE * j;
            if (c1 < channels && c2 < channels)
                together[c1 * channels + c2] += sum[EACH * i + j];
        }
}
