/* start.cl: what memory starts from: one value, or draws as core/nn/init.c says. A group takes BLOCK values,
 * 16 at a time. Bound by writing, on CPUs by touching new pages, which is faster on all cores. */
#include "random.h"
#define BLOCK 16384                               /* START_BLOCK of core/dev/dev.h */
#define EACH_16(j) \
    for (long j = (long)get_group_id(0) * BLOCK + 16 * (int)get_local_id(0), \
              end_ = min(n, ((long)get_group_id(0) + 1) * BLOCK); j < end_; j += 16 * (int)get_local_size(0))

kernel void fill(global float *y, long n, int pattern)
{
    const float16 v = as_float(pattern);
    EACH_16(j)
        store_16(v, y + j, n - j);
}

/* A standard normal, by its inverse distribution function at low + span u, or 2 u - 1; u uniform in [0, 1).
 * Times scale, cut at +-bound. */
kernel void draw(global float *y, long n, long seed, int stream, int normal, float low, float span,
                 float scale, float bound)
{
    EACH_16(j) {
        const float16 u = unit_16(random_16(seed, stream, 0, j >> 4));
        const float16 v = normal ? normal_16(fma(u, span, low)) : fma(u, 2.0f, -1.0f);
        store_16(clamp(v * scale, -bound, bound), y + j, n - j);
    }
}
