/* conv.cl on GPUs: an item is one channel of one tile, neighbours read neighbouring channels. See conv.h. */
#include "type.h"
#define V float
#define LOAD(p) (*(p))
#define STORE(v, p) (*(p) = (v))
#define LOAD_V(T, p) LOAD_1(T, p)
#define STORE_V(T, v, p) STORE_1(T, v, p)
/* Sums are an item's own registers. */
#define SUMS V *
#define GET(s, k) (s)[k]
#define PUT(s, k, v) (s)[k] = (v)
#define ROWS_UNROLLED _Pragma("unroll")
#define AHEAD 0
#ifdef CHANNELS                               // then neighbours' distance is part of an instruction
#define FIX(c) c = CHANNELS;
#else
#define FIX(c)
#endif
#include "conv.h"
#include "unroll.h"

kernel void depthwise(global const TYPE(Tx) *x, global const float *t, global const float *bias,
                      global TYPE(Ty) *y, int h, int w, int c, int rows, int biased)
{
    FIX(c)
    const long image = (long)get_group_id(2) * h * w * c;
    const int n = get_global_id(0), from = get_group_id(1) * rows, to = min(h, from + rows);
    if (n >= c)
        return;
    for (int i = from; i < to; i++)
        for (int j = 0; j < WIDTH(w); j += XB)
            tile(x + image + n, t + n, y + image + n, biased ? bias[n] : 0, i, j, h, WIDTH(w), c);
}

kernel void depthwise_grad(global const TYPE(Tx) *x, global const TYPE(Tg) *g, global float *partials,
                           int h, int w, int c, int rows, int chunk)
{
    FIX(c)
    const long from = get_group_id(1) * chunk, to = min((long)rows, from + chunk);
    const int n = get_global_id(0);
    global float *dw = partials + (long)get_group_id(1) * c * (KH * KW + 1);
    V sum[KH * KW + 1];
    if (n >= c)
        return;
    EACH(k, KH * KW + 1) sum[k] = 0;
    for (long r = from; r < to; r++)
        for (int j = 0; j < WIDTH(w); j += XB)
            tile_grad(x + n, g + n, sum, 1, r, j, h, WIDTH(w), c, rows);
    EACH(k, KH * KW + 1) dw[k * c + n] = sum[k];
}
