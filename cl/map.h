/* map.h: what generated pointwise kernels (core/op/map.c) use. V: MAP_W floats, 16 on CPUs, where an
 * item is a group, and one on GPUs, where items stand side by side: MAP_COL along the row, MAP_ROW from
 * row to row. */
#ifndef MAP_H
#define MAP_H
#include "special.h"
#include "random.h"
#include "type.h"

#if MAP_W == 16
#define V float16
#define load_v(p, n)     load_16(p, n, 0)
#define store_v(x, p, n) store_16(x, p, n)
#define LOAD_V(T, p, n)     LOAD_16(T, p, n, 0)
#define STORE_V(T, x, p, n) STORE_16(T, x, p, n)
#define gelu             gelu_16
#define gelu_grad        gelu_grad_16
#define unit_to_normal   normal_16
#define whole(x)         convert_float16(convert_int16(x))
#define MAP_GROUP ALONE
#define MAP_ROW  0
#define MAP_ROWS 1
#define MAP_COL  0
#define MAP_COLS 16
#define MAP_DRAWN 2                               /* vectors whose random numbers come together */
#define bits_v   uint16
#define unit_v   unit_16
#else
#define V float
#define load_v(p, n)     (*(p))
#define store_v(x, p, n) (*(p) = (x))
#define LOAD_V(T, p, n)     LOAD_1(T, p)
#define STORE_V(T, x, p, n) STORE_1(T, x, p)
#define gelu             gelu_1
#define gelu_grad        gelu_grad_1
#define unit_to_normal   normal_1
#define whole(x)         convert_float(convert_int(x))
#define MAP_GROUP
#define MAP_ROW  get_local_id(1)
#define MAP_ROWS get_local_size(1)
#define MAP_COL  get_local_id(0)
#define MAP_COLS get_local_size(0)
#define MAP_DRAWN 1
#define bits_v   uint
#define unit_v   unit_1
#endif

/* Uniform [0, 1) for element i; bits for element i on, MAP_DRAWN vectors of them. seed and step are the step
 * buffer's (core/graph/graph.h). */
static inline float draw(ulong seed, uint step, uint stream, long i)
{
    return unit_1(random_1(seed, stream, step, (ulong)i));
}

static inline void draw_bits(bits_v *bits, ulong seed, uint step, uint stream, long i)
{
#if MAP_W == 16
    random_32(seed, stream, step, (ulong)i >> 4, bits);
#else
    *bits = random_1(seed, stream, step, (ulong)i);
#endif
}
#endif
