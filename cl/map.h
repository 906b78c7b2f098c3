/* map.h: what generated pointwise kernels (core/op/map.c) stand on. V: MAP_W floats, 16 on CPUs, one per item on GPUs. */
#ifndef MAP_H
#define MAP_H
#include "special.h"
#include "random.h"

#if MAP_W == 16
#define V float16
#define load_v(p, n)     load_16(p, n, 0)
#define store_v(x, p, n) store_16(x, p, n)
#define gelu             gelu_16
#define gelu_grad        gelu_grad_16
#define unit_to_normal   normal_16
#else
#define V float
#define load_v(p, n)     (*(p))
#define store_v(x, p, n) (*(p) = (x))
#define gelu             gelu_1
#define gelu_grad        gelu_grad_1
#define unit_to_normal   normal_1
#endif

/* step: the step buffer, [number, seed lo, seed hi, ...] (core/graph/graph.h). Uniform [0, 1) for element i, or from it on. */
static inline float draw(__global const uint *step, uint stream, long i)
{
    return unit_1(random_1((ulong)step[2] << 32 | step[1], stream, step[0], (ulong)i));
}

static inline V draw_v(__global const uint *step, uint stream, long i)
{
#if MAP_W == 16
    return unit_16(random_16((ulong)step[2] << 32 | step[1], stream, step[0], (ulong)i >> 4));
#else
    return draw(step, stream, i);
#endif
}
#endif
