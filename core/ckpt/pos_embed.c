/* pos_embed.c: position embeddings for another grid, patch embeddings for another patch. Both filters are
 * separable: each output row is a weighted sum of a few input rows, then each output column likewise; weights
 * as PyTorch's interpolate(align_corners=False) has them. */
#include "ckpt/ckpt.h"
#include <math.h>

struct tap { int from, n; f64 *weight; };            /* out = sum over i < n of weight[i] * in[from + i] */

/* Keys (1981), a = -0.5, as Pillow and PyTorch's antialiased mode; PyTorch's plain bicubic has a = -0.75. */
static f64 pos_embed_cubic(f64 x)
{
    const f64 a = -0.5;
    x = fabs(x);
    return x < 1 ? ((a + 2) * x - (a + 3)) * x * x + 1 : x < 2 ? ((x - 5) * x + 8) * x * a - 4 * a : 0;
}

/* Shrinking widens the filter by the scale, so that no input is passed over. */
static void cubic_tap(arena *a, struct tap *t, int i, int in, int out)
{
    f64 scale = (f64)in / out, stretch = MAX(scale, 1), center = scale * (i + 0.5), sum = 0;
    t->from = MAX((int)(center - 2 * stretch + 0.5), 0);
    t->n = MIN((int)(center + 2 * stretch + 0.5), in) - t->from;
    t->weight = arena_array(a, f64, t->n);
    for (int k = 0; k < t->n; k++)
        sum += t->weight[k] = pos_embed_cubic((k + t->from - center + 0.5) / stretch);
    for (int k = 0; k < t->n; k++)
        t->weight[k] /= sum;
}

static void linear_tap(arena *a, struct tap *t, int i, int in, int out)
{
    f64 at = MAX(((f64)in / out) * (i + 0.5) - 0.5, 0);
    t->from = MIN((int)at, in - 1);
    t->n = MIN(2, in - t->from);
    t->weight = arena_array(a, f64, 2);
    t->weight[1] = at - t->from;
    t->weight[0] = t->n == 2 ? 1 - t->weight[1] : 1;
}

static struct tap *pos_taps(arena *a, int in, int out, bool bilinear)
{
    struct tap *t = arena_array(a, struct tap, out);
    for (int i = 0; i < out; i++)
        (bilinear ? linear_tap : cubic_tap)(a, &t[i], i, in, out);
    return t;
}

/* [rows in cols] -> [rows out cols] along the middle axis */
static void pos_resample(const f64 *from, f64 *to, const struct tap *t, int rows, int in, int out, i64 cols)
{
    for (int r = 0; r < rows; r++)
        for (int o = 0; o < out; o++, to += cols)
            for (int k = 0; k < t[o].n; k++) {
                const f64 *row = from + ((i64)r * in + t[o].from + k) * cols;
                for (i64 c = 0; c < cols; c++)
                    to[c] += t[o].weight[k] * row[c];
            }
}

void posembed_resize(const f32 *from, int h0, int w0, f32 *to, int h, int w, int d, bool bilinear)
{
    arena *a = arena_open("position embeddings");
    bool rows_first = (i64)h * w0 < (i64)h0 * w;     // the smaller array between: the file chose its grid
    struct tap *across = pos_taps(a, w0, w, bilinear), *down = pos_taps(a, h0, h, bilinear);
    f64 *in = arena_array(a, f64, (i64)h0 * w0 * d), *out = arena_array(a, f64, (i64)h * w * d);
    f64 *between = arena_array(a, f64, (rows_first ? (i64)h * w0 : (i64)h0 * w) * d);
    for (i64 i = 0; i < (i64)h0 * w0 * d; i++)
        in[i] = from[i];
    if (rows_first) {
        pos_resample(in, between, down, 1, h0, h, (i64)w0 * d);
        pos_resample(between, out, across, h, w0, w, d);
    } else {
        pos_resample(in, between, across, h0, w0, w, d);
        pos_resample(between, out, down, 1, h0, h, (i64)w * d);
    }
    for (i64 i = 0; i < (i64)h * w * d; i++)
        to[i] = (f32)out[i];
    arena_close(a);
}

/* ---- patch embeddings ---------------------------------------------------------------------------------- */

/* Solves A X = B in place of B, A (n n) symmetric and positive definite, B (n m). false: A is singular. */
static bool pos_solve(f64 *A, f64 *B, int n, int m)
{
    for (int i = 0; i < n; i++) {
        f64 pivot = A[i * n + i];
        if (!(pivot > 1e-12))
            return false;
        for (int k = 0; k < n; k++) {
            f64 by = k == i ? 0 : A[k * n + i] / pivot;
            for (int j = i; j < n && by != 0; j++)
                A[k * n + j] -= by * A[i * n + j];
            for (int j = 0; j < m && by != 0; j++)
                B[k * m + j] -= by * B[i * m + j];
        }
    }
    for (int i = 0; i < n; i++)
        for (int j = 0; j < m; j++)
            B[i * m + j] /= A[i * n + i];
    return true;
}

/* The pseudo-inverse of R^T, (out in), R being the resampling from `in` pixels to `out`: then resized patches
 * times resized weights are what patches times weights were (Beyer et al. 2023). NULL: R has no full rank. */
static f64 *resize_weights(arena *a, int in, int out)
{
    f64 *R = arena_array(a, f64, in * out), *Rt = arena_array(a, f64, in * out);
    struct tap *t = pos_taps(a, in, out, false);
    for (int o = 0; o < out; o++)
        for (int k = 0; k < t[o].n; k++)
            R[o * in + t[o].from + k] = Rt[(t[o].from + k) * out + o] = t[o].weight[k];
    bool grows = out >= in;                          // R (R^T R)^-1, else (R R^T)^-1 R
    int n = grows ? in : out, m = grows ? out : in;
    const f64 *left = grows ? Rt : R;                // (n m)
    f64 *square = arena_array(a, f64, n * n), *b = grows ? Rt : R;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++)
            for (int k = 0; k < m; k++)
                square[i * n + j] += left[i * m + k] * left[j * m + k];
    if (!pos_solve(square, b, n, m))
        return NULL;
    for (int o = 0; grows && o < out; o++)
        for (int i = 0; i < in; i++)
            R[o * in + i] = Rt[i * out + o];
    return R;
}

bool patch_resize(const f32 *from, int h0, int w0, f32 *to, int h, int w, i64 n)
{
    arena *a = arena_open("patch embedding");
    f64 *down = resize_weights(a, h0, h), *across = resize_weights(a, w0, w),
        *row = arena_array(a, f64, h * w0);
    for (i64 i = 0; down && across && i < n; i++, from += h0 * w0, to += h * w) {
        for (int y = 0; y < h; y++)
            for (int x = 0; x < w0; x++) {
                f64 sum = 0;
                for (int k = 0; k < h0; k++)
                    sum += down[y * h0 + k] * from[k * w0 + x];
                row[y * w0 + x] = sum;
            }
        for (int y = 0; y < h; y++)
            for (int x = 0; x < w; x++) {
                f64 sum = 0;
                for (int k = 0; k < w0; k++)
                    sum += across[x * w0 + k] * row[y * w0 + k];
                to[y * w + x] = (f32)sum;
            }
    }
    arena_close(a);
    return down && across;
}
