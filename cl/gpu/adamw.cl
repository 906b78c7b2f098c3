/* adamw.cl for GPUs: neighbouring items take neighbouring values. Sums: an item's values in order, then a
 * tree, then the partial sums in order. Bound by memory. */
#include "team.h"
#include "adamw.h"

#define CHUNK(j) \
    for (long j = get_group_id(0) * chunk + get_local_id(0), \
              end_ = min(count, ((long)get_group_id(0) + 1) * chunk); j < end_; j += ITEMS)

kernel GROUP void square_partials(global const float *x, global float *partials, long count, long chunk)
{
    SHELF;
    float s = 0;
    CHUNK(j)
        s = fma(x[j], x[j], s);
    s = team_sum(shelf, ITEMS, s);
    if (get_local_id(0) == 0)
        partials[get_group_id(0)] = s;
}

kernel GROUP void add_partials(global const float *partials, global float *sum, long count)
{
    SHELF;
    float s = 0;
    for (long j = get_local_id(0); j < count; j += ITEMS)
        s += partials[j];
    s = team_sum(shelf, ITEMS, s);
    if (get_local_id(0) == 0)
        *sum = s;
}

kernel GROUP void blend_into(global float *sum, global const float *x, long count, long chunk,
                             float keep, float share)
{
    CHUNK(j)
        sum[j] = fma(sum[j], keep, x[j] * share);
}

kernel GROUP void adamw(ADAMW_ARGS)
{
    EACH_BLOCK(b) {
        BLOCK_RATES(b)
        for (long j = b * BLOCK + get_local_id(0); j < end; j += ITEMS) {
            const float gj = g[j] * scale;
            const float mj = m[j] * beta1 + gj * new1, vj = v[j] * beta2 + gj * gj * new2;
            m[j] = mj;
            v[j] = vj;
            p[j] = p[j] * keep - rate * mj / (sqrt(vj) / root2 + eps);
        }
    }
}
