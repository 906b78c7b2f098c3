/* conv.cl on CPUs with wide vectors: one item is one group and computes some rows, STRIP of them at a time:
 * LANES channels after the other, so that their KH rows and weights (or sums) stay in the first cache and
 * the strip in the second. Memory is read in an order no hardware foresees, so the next strip is prefetched:
 * without it large images take twice the time. The last vector overlaps the one before where c is not a
 * multiple of LANES; it computes the same values again.
 */
#ifndef STRIP
#define STRIP 8                                   // rows
#define SHARE 96                                  // channels
#endif
#include "type.h"
/* V is one register, as sums and weights fill them: a tile of 7 and 7 weights are 14
 * of 16. Halves come by sixteen. */
#if SIMD >= 16 || BYTES(Tx) == 2 || BYTES(Ty) == 2 || BYTES(Tg) == 2
#define LANES 16
#define LOAD_V  LOAD_WHOLE
#define STORE_V STORE_WHOLE
#else
#if SIMD >= 8
#define LANES 8
#else
#define LANES 4
#endif
#define LOAD_V(T, p)     LOAD(p)
#define STORE_V(T, v, p) JOIN(vstore, LANES)(v, 0, p)
#endif
#define V       JOIN(float, LANES)
#define LOAD(p) JOIN(vload, LANES)(0, p)
/* Sums lie in the result, (KH KW + 1, c). */
#define SUMS global float *
#define GET(s, k) LOAD(s + (k) * c)
#define PUT(s, k, v) JOIN(vstore, LANES)(v, 0, s + (k) * c)
#define ROWS_UNROLLED
#define AHEAD STRIP
#include "conv.h"

kernel ALONE void depthwise(global const TYPE(Tx) *x, global const float *t, global const float *bias,
                            global TYPE(Ty) *y, int h, int w, int c, int rows, int biased)
{
    const long image = (long)get_group_id(2) * h * w * c;
    const int from = get_group_id(1) * rows, to = min(h, from + rows);
    for (int i0 = from; i0 < to; i0 += STRIP)
        for (int n0 = 0; n0 < c; n0 += LANES) {
            const int n = min(n0, c - LANES);
            const V start = biased ? LOAD(bias + n) : 0;
            for (int i = i0; i < min(to, i0 + STRIP); i++)
                for (int j = 0; j < WIDTH(w); j += XB)
                    tile(x + image + n, t + n, y + image + n, start, i, j, h, WIDTH(w), c);
        }
}

/* Groups (shares of SHARE channels, the last one takes the rest as well; chunks). */
kernel ALONE void depthwise_grad(global const TYPE(Tx) *x, global const TYPE(Tg) *g,
                                 global float *partials, int h, int w, int c, int rows, int chunk)
{
    const long from = get_group_id(1) * chunk, to = min((long)rows, from + chunk);
    const bool at_end = get_group_id(0) + 1 == get_num_groups(0);
    const int first = get_group_id(0) * SHARE, last = at_end ? c : first + SHARE;
    const float counted[16] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };
    const V lane = LOAD(counted);
    global float *sum = partials + (long)get_group_id(1) * c * (KH * KW + 1);
    for (int k = 0; k <= KH * KW; k++)
        for (int n = first; n < last; n++)
            sum[k * c + n] = 0;
    for (long r0 = from; r0 < to; r0 += STRIP)
        for (int n0 = first; n0 < last; n0 += LANES) {
            const int n = min(n0, c - LANES);
            const V share = clamp(lane - (n0 - n) + 1, 0.0f, 1.0f);      // 0 below n0
            for (long r = r0; r < min(to, r0 + STRIP); r++)
                for (int j = 0; j < WIDTH(w); j += XB)
                    tile_grad(x + n, g + n, sum + n, share, r, j, h, WIDTH(w), c, rows);
        }
}
