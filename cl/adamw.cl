/* adamw.cl: the optimiser's step, and sums over whole slabs. 28 bytes a parameter: bound by memory. Sums add
 * 16 running sums a chunk, then the partial sums in order. */
#include "adamw.h"

kernel ALONE void square_partials(global const float *x, global float *partials, long count, long chunk)
{
    const long j0 = get_group_id(0) * chunk, j1 = min(count, j0 + chunk);
    float16 s = 0;
    for (long j = j0; j < j1; j += 16) {
        const float16 v = load_16(x + j, j1 - j, 0);
        s = fma(v, v, s);
    }
    partials[get_group_id(0)] = sum_16(s);
}

kernel ALONE void add_partials(global const float *partials, global float *sum, long count)
{
    float16 s = 0;
    for (long j = 0; j < count; j += 16)
        s += load_16(partials + j, count - j, 0);
    *sum = sum_16(s);
}

kernel ALONE void blend_into(global float *sum, global const float *x, long count, long chunk,
                             float keep, float share)
{
    const long j0 = get_group_id(0) * chunk, j1 = min(count, j0 + chunk);
    for (long j = j0; j < j1; j += 16)
        store_16(fma(load_16(sum + j, j1 - j, 0), keep, load_16(x + j, j1 - j, 0) * share), sum + j, j1 - j);
}

kernel ALONE void adamw(ADAMW_ARGS)
{
    EACH_BLOCK(b) {
        BLOCK_RATES(b)
        for (long j = b * BLOCK; j < end; j += 16) {
            const long left = end - j;
            const float16 gj = load_16(g + j, left, 0) * scale;
            const float16 mj = load_16(m + j, left, 0) * beta1 + gj * new1;
            const float16 vj = load_16(v + j, left, 0) * beta2 + gj * gj * new2;
            store_16(mj, m + j, left);
            store_16(vj, v + j, left);
            store_16(load_16(p + j, left, 0) * keep - rate * mj / (sqrt(vj) / root2 + eps), p + j, left);
        }
    }
}
