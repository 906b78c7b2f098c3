/* warp.c: rotate, shear and translate with Pillow's transform filters: every output pixel is sampled where
 * the inverse map sends its centre, in double, without antialiasing. Its cubic has a = -1 (its resize has
 * -1/2). */
#include "data/image.h"
#include "data/simd.h"
#include <math.h>

/* Weights of samples -1, 0, 1, 2 around a point d past sample 0, nested as Pillow evaluates them. */
static f64 warp_cubic(const f64 v[4], f64 d)
{
    f64 p1 = v[1], p2 = -v[0] + v[2], p3 = 2 * (v[0] - v[1]) + v[2] - v[3], p4 = -v[0] + v[1] - v[2] + v[3];
    return p1 + d * (p2 + d * (p3 + d * p4));
}

static int warp_inside(int v, int n) { return v < 0 ? 0 : v >= n ? n - 1 : v; }

static void sample_cubic(const struct image *m, f64 fx, f64 fy, u8 *to)
{
    int x = (int)floor(fx), y = (int)floor(fy), column[4];
    f64 dx = fx - x, dy = fy - y;
    for (int k = 0; k < 4; k++)
        column[k] = 3 * warp_inside(x - 1 + k, m->w);
    for (int c = 0; c < 3; c++) {
        f64 row[4];
        for (int j = 0; j < 4; j++) {
            int yy = j == 0 ? warp_inside(y - 1, m->h) : y - 1 + j;
            if (j > 0 && (yy < 0 || yy >= m->h)) {            // a later row outside repeats the one before
                row[j] = row[j - 1];
                continue;
            }
            const u8 *p = m->rgb + (size_t)yy * m->w * 3 + c;
            row[j] = warp_cubic((const f64[4]){ p[column[0]], p[column[1]], p[column[2]], p[column[3]] }, dx);
        }
        f64 v = warp_cubic(row, dy);
        to[c] = (u8)(v <= 0 ? 0 : v >= 255 ? 255 : v);
    }
}

static void sample_linear(const struct image *m, f64 fx, f64 fy, u8 *to)
{
    int x = (int)floor(fx), y = (int)floor(fy);
    f64 dx = fx - x, dy = fy - y;
    int x0 = 3 * warp_inside(x, m->w), x1 = 3 * warp_inside(x + 1, m->w);
    const u8 *above = m->rgb + (size_t)warp_inside(y, m->h) * m->w * 3;
    const u8 *below = y + 1 >= 0 && y + 1 < m->h ? m->rgb + (size_t)(y + 1) * m->w * 3 : NULL;
    for (int c = 0; c < 3; c++) {
        f64 a = above[x0 + c] + dx * (above[x1 + c] - above[x0 + c]);
        f64 b = below ? below[x0 + c] + dx * (below[x1 + c] - below[x0 + c]) : a;
        to[c] = (u8)(a + dy * (b - a));
    }
}

/* The cubic where all sixteen samples exist, the channels side by side in a vector (the fourth is the next
 * pixel's). Same operations in the same order as sample_cubic; an offset of exactly 0 leaves sample 0, which
 * shears and shifts make common. */
#define LOAD4(p, out) do { \
    u8x16 v_ = { 0 }; \
    i32x4 b_, c_, d_; \
    memcpy(&v_, (p), 4); \
    WIDEN16(v_, out, b_, c_, d_); \
    (void)b_, (void)c_, (void)d_; \
} while (0)
#define PIXEL(p, out) do { i32x4 x_; LOAD4(p, x_); (out) = __builtin_convertvector(x_, f64x4); } while (0)
#define PIXEL_AVX2(p, out) ((out) = __builtin_convertvector(LOAD4_AVX2(p), f64x4))
#define CUBIC(v0, v1, v2, v3, d, out) do { \
    f64x4 p2_ = -(v0) + (v2), p3_ = 2 * ((v0) - (v1)) + (v2) - (v3), p4_ = -(v0) + (v1) - (v2) + (v3); \
    (out) = (v1) + (d) * (p2_ + (d) * (p3_ + (d) * p4_)); \
} while (0)
#define ROW(pixel, p, dx, out) do { \
    pixel((p), out); \
    if ((dx) != 0) { \
        f64x4 r0_, r2_, r3_; \
        pixel((p) - 3, r0_); \
        pixel((p) + 3, r2_); \
        pixel((p) + 6, r3_); \
        CUBIC(r0_, out, r2_, r3_, dx, out); \
    } \
} while (0)

/* The source point of output x in a row: a (x + 1/2) + b + c, b holding the row's share; summed in Pillow's
 * order. */
struct line { f64 ax, bx, cx, ay, by, cy; };
#define SOURCE_X(l, x) ((l)->ax * ((x) + 0.5) + (l)->bx + (l)->cx)
#define SOURCE_Y(l, x) ((l)->ay * ((x) + 0.5) + (l)->by + (l)->cy)

static bool all_samples_exist(const struct image *m, const struct line *l, int x)
{
    f64 fx = SOURCE_X(l, x) - 0.5, fy = SOURCE_Y(l, x) - 0.5;
    return fx >= 1 && fx < m->w - 2 && fy >= 1 && fy < m->h - 2;
}

static void affine_some(const struct image *m, const struct line *l, enum filter f, const u8 fill[3],
                        int from, int to, u8 *out)
{
    for (int x = from; x < to; x++) {
        f64 sx = SOURCE_X(l, x), sy = SOURCE_Y(l, x);
        if (!(sx >= 0 && sx < m->w && sy >= 0 && sy < m->h))
            memcpy(out + 3 * x, fill, 3);
        else
            (f == FILTER_BICUBIC ? sample_cubic : sample_linear)(m, sx - 0.5, sy - 0.5, out + 3 * x);
    }
}

/* Outputs [from, to). Writes a byte after each, which the next pixel (or the slack) takes. */
#define DEFINE_INSIDE(name, attributes, pixel) \
    attributes static void affine_inside##name(const struct image *m, const struct line *line, int from, \
                                               int to, u8 *out) \
    { \
        struct line l = *line; \
        size_t stride = (size_t)m->w * 3; \
        for (int x = from; x < to; x++) { \
            f64 fx = SOURCE_X(&l, x) - 0.5, fy = SOURCE_Y(&l, x) - 0.5; \
            f64 dx = fx - (int)fx, dy = fy - (int)fy; \
            const u8 *p = m->rgb + (size_t)(int)fy * stride + 3 * (size_t)(int)fx;      /* both samples 0 */ \
            f64x4 v; \
            ROW(pixel, p, dx, v); \
            if (dy != 0) { \
                f64x4 above, below, last; \
                ROW(pixel, p - stride, dx, above); \
                ROW(pixel, p + stride, dx, below); \
                ROW(pixel, p + 2 * stride, dx, last); \
                CUBIC(above, v, below, last, dy, v); \
            } \
            i32x4 whole = __builtin_convertvector(v, i32x4); \
            CLIP255(whole); \
            u8x16 bytes = LOWEST_BYTES(whole); \
            memcpy(out + 3 * x, &bytes, 4); \
        } \
    }
DEFINE_INSIDE(_plain, , PIXEL)
#ifdef AVX2
DEFINE_INSIDE(_avx2, AVX2, PIXEL_AVX2)
#endif

/* The points whose samples all exist follow each other; those before and after are sampled with tests. */
static void affine_row(const struct image *m, const struct line *l, enum filter f, const u8 fill[3], int n,
                       u8 *out)
{
    int from = 0, to = n;
    while (from < n && (f == FILTER_BILINEAR || !all_samples_exist(m, l, from)))
        from++;
    while (to > from && !all_samples_exist(m, l, to - 1))
        to--;
    affine_some(m, l, f, fill, 0, from, out);
    BEST(affine_inside, m, l, from, to, out);
    affine_some(m, l, f, fill, to, n, out);       // last: affine_inside writes a byte too many
}

void image_affine(const struct image *m, const f64 M[6], enum filter f, const u8 fill[3], struct image *out)
{
    for (int y = 0; y < out->h; y++) {
        struct line l = { M[0], M[1] * (y + 0.5), M[2], M[3], M[4] * (y + 0.5), M[5] };
        affine_row(m, &l, f, fill, out->w, out->rgb + (size_t)y * out->w * 3);
    }
}

/* Counter-clockwise about the centre; Pillow rounds the matrix to 15 decimals. */
void image_rotate(const struct image *m, f64 degrees, enum filter f, const u8 fill[3], struct image *out)
{
    f64 angle = -fmod(degrees + 360, 360) * (3.14159265358979323846 / 180), cx = m->w / 2.0, cy = m->h / 2.0;
    f64 c = round(cos(angle) * 1e15) / 1e15, s = round(sin(angle) * 1e15) / 1e15;
    f64 M[6] = { c, s, 0, -s, c, 0 };
    M[2] = c * -cx + s * -cy + cx;
    M[5] = -s * -cx + c * -cy + cy;
    image_affine(m, M, f, fill, out);
}
