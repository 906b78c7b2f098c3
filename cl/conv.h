/* conv.h: what the depthwise-convolution files share. Values are (b h w c), channels innermost, weights
 * (c 1 KH KW).
 *
 *   depthwise_weights   w -> t (KH KW c), rotated by 180 degrees for the gradient of x; channels innermost
 *   depthwise           y[b, i, j, c] = bias[c] + sum_pq t[p, q, c] x[b, i + p - KH/2, j + q - KW/2, c]
 *   depthwise_grad      chunk p on its own: sums over some rows i of dw (KH KW c) and, after them, of db (c)
 *
 * The _plain kernels are the reference, and serve few channels; the tiles below serve a GPU's item (V is
 * float: one channel) and a CPU's (V is float16: sixteen neighbours) alike.
 *
 *      x:  [ . . . | . . . . . . . . | . . . ]    one row: XB + KW - 1 values, each loaded once a kernel row
 *      y:          [ 0 1 2 3 4 5 6 7 ]            and used up to KW times; XB sums and the row's KW weights
 *                                                 stay in registers
 *
 * The gradient of the weights is the same picture with weights and sums changing roles. Zeros beyond the
 * border are neither loaded nor multiplied. Bound: memory where it is slow; else multiply-adds, KH KW of
 * them for 8 bytes.
 */
#include "type.h"
#ifndef KH
#define KH 7
#define KW 7
#endif
#ifndef XB
#define XB 8                                      // outputs of a tile, side by side in a row
#endif
#ifndef WHOLE
#define WHOLE 0                                   // is a row one tile? Then its border is known at build time
#endif
#define WIDTH(w) (WHOLE ? XB : (w))

kernel void depthwise_weights(global const float *w, global float *t, int c, int rotated)
{
    const int i = get_global_id(0), k = i / c;
    if (i < c * KH * KW)
        t[i] = w[i % c * KH * KW + (rotated ? KH * KW - 1 - k : k)];
}

/* start + the sum of output (i, j) at channel n. */
static float depthwise_at(global const TYPE(Tx) *image, global const float *t, const float start,
                          const int i, const int j, const int n, const int h, const int w, const int c)
{
    float s = start;
    for (int p = max(0, KH / 2 - i); p < min(KH, h + KH / 2 - i); p++)
        for (int q = max(0, KW / 2 - j); q < min(KW, w + KW / 2 - j); q++)
            s += t[(p * KW + q) * c + n]
                 * LOAD_1(Tx, image + ((i + p - KH / 2) * w + j + q - KW / 2) * c + n);
    return s;
}

/* Groups (channels, rows of `rows`, image). */
kernel void depthwise_plain(global const TYPE(Tx) *x, global const float *t, global const float *bias,
                            global TYPE(Ty) *y, int h, int w, int c, int rows, int biased)
{
    global const TYPE(Tx) *image = x + (long)get_global_id(2) * h * w * c;
    global TYPE(Ty) *out = y + (long)get_global_id(2) * h * w * c;
    for (int i = get_global_id(1) * rows; i < min(h, (int)(get_global_id(1) + 1) * rows); i++)
        for (int j = 0; j < w; j++)
            for (int n = get_global_id(0); n < c; n += get_global_size(0))
                STORE_1(Ty, depthwise_at(image, t, biased ? bias[n] : 0, i, j, n, h, w, c),
                        out + (i * w + j) * c + n);
}

/* Groups (channels, chunks): chunk p sums rows [p * chunk, p * chunk + chunk) of all b * h. */
kernel void depthwise_grad_plain(global const TYPE(Tx) *x, global const TYPE(Tg) *g,
                                 global float *partials, int h, int w, int c, int rows, int chunk)
{
    global float *dw = partials + (long)get_global_id(1) * c * (KH * KW + 1);
    const int from = get_global_id(1) * chunk, to = min(rows, from + chunk);
    for (int n = get_global_id(0); n < c; n += get_global_size(0)) {
        for (int k = 0; k < KH * KW; k++) {
            float s = 0;
            for (int r = from; r < to; r++) {
                const int i = r % h + k / KW - KH / 2, q = k % KW - KW / 2;
                if (i < 0 || i >= h)
                    continue;
                for (int j = max(0, -q); j < min(w, w - q); j++)
                    s += LOAD_1(Tg, g + ((long)r * w + j) * c + n) *
                         LOAD_1(Tx, x + ((long)(r + k / KW - KH / 2) * w + j + q) * c + n);
            }
            dw[k * c + n] = s;
        }
        float s = 0;
        for (long i = (long)from * w; i < (long)to * w; i++)
            s += LOAD_1(Tg, g + i * c + n);
        dw[KH * KW * c + n] = s;
    }
}

#ifdef V
#ifndef LOAD_V                                    // a class whose values are all float
#define LOAD_V(T, p)     LOAD(p)
#define STORE_V(T, v, p) STORE(v, p)
#endif
/* Where a class reads rows AHEAD of those it computes: a tile's worth. PoCL's prefetch() does nothing, its
 * compiler's does. */
#if AHEAD && defined(POCL_DEVICE_ADDRESS_BITS) && defined(__has_builtin)
#define FETCH(from) \
    _Pragma("unroll") \
    for (int o = 0; o < XB; o++) \
        __builtin_prefetch((const void *)(size_t)((from) + o * c), 0, 2);
#else
#define FETCH(from)
#endif

/* Weights q of a row that meet an output of the tile at input column m: output m - q. */
#define EACH_MET(q, m)                                                                                    \
    _Pragma("unroll")                                                                                     \
    for (int q = 0; q < KW; q++)                                                                          \
        if ((m) - q >= 0 && (m) - q < XB)

/* XB outputs of row i from column j on, at V's channels; those beyond w are not stored. */
static inline void tile(global const TYPE(Tx) *image, global const float *t, global TYPE(Ty) *out,
                        const V start, const int i, const int j, const int h, const int w, const int c)
{
    V s[XB], k[KW];
    if (i + AHEAD + KH / 2 < h) {
        FETCH(image + ((long)(i + AHEAD + KH / 2) * w + j) * c)
    }
    #pragma unroll
    for (int o = 0; o < XB; o++)
        s[o] = start;
    for (int p = max(0, KH / 2 - i); p < min(KH, h + KH / 2 - i); p++) {
        global const TYPE(Tx) *row = image + ((long)(i + p - KH / 2) * w + j - KW / 2) * c;
        #pragma unroll
        for (int q = 0; q < KW; q++)
            k[q] = LOAD(t + (p * KW + q) * c);
        #pragma unroll
        for (int m = 0; m < XB + KW - 1; m++)
            if ((uint)(j + m - KW / 2) < (uint)w) {
                const V v = LOAD_V(Tx, row + m * c);
                EACH_MET(q, m) s[m - q] = fma(v, k[q], s[m - q]);
            }
    }
    #pragma unroll
    for (int o = 0; o < XB; o++)
        if (j + o < w)
            STORE_V(Ty, s[o], out + ((long)i * w + j + o) * c);
}

/* Adds a tile's share to the sums at V's channels, [KH KW] of dw and one of db, which GET and PUT reach.
 * Channels count as much as `share` says: 0 for those that another vector has. */
static inline void tile_grad(global const TYPE(Tx) *x, global const TYPE(Tg) *g, SUMS sum, const V share,
                             const long row, const int j, const int h, const int w, const int c,
                             const int rows)
{
    V d[XB], a[KW], all = GET(sum, KH * KW);
    const int i = row % h;
    if (row + AHEAD + KH / 2 < rows) {
        FETCH(x + ((row + AHEAD + KH / 2) * w + j) * c)
        FETCH(g + ((row + AHEAD) * w + j) * c)
    }
    #pragma unroll
    for (int o = 0; o < XB; o++)
        d[o] = j + o < w ? share * LOAD_V(Tg, g + (row * w + j + o) * c) : 0;
    #pragma unroll
    for (int o = 0; o < XB; o++)
        all += d[o];
    PUT(sum, KH * KW, all);
    ROWS_UNROLLED
    for (int p = 0; p < KH; p++) {
        if ((uint)(i + p - KH / 2) >= (uint)h)
            continue;
        global const TYPE(Tx) *from = x + ((row + p - KH / 2) * w + j - KW / 2) * c;
        #pragma unroll
        for (int q = 0; q < KW; q++)
            a[q] = GET(sum, p * KW + q);
        #pragma unroll
        for (int m = 0; m < XB + KW - 1; m++)
            if ((uint)(j + m - KW / 2) < (uint)w) {
                const V v = LOAD_V(Tx, from + m * c);
                EACH_MET(q, m) a[q] = fma(v, d[m - q], a[q]);
            }
        #pragma unroll
        for (int q = 0; q < KW; q++)
            PUT(sum, p * KW + q, a[q]);
    }
}
#endif
