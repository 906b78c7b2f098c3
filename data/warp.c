/* warp.c: rotate, shear and translate with Pillow's transform filters: every output pixel is sampled where the inverse map
 * sends its centre, in double, without antialiasing. Its cubic has a = -1 (its resize has -1/2). */
#include "data/image.h"
#include <math.h>

/* Weights of samples -1, 0, 1, 2 around a point d past sample 0, nested as Pillow evaluates them. */
static f64 cubic(const f64 v[4], f64 d)
{
    f64 p1 = v[1], p2 = -v[0] + v[2], p3 = 2 * (v[0] - v[1]) + v[2] - v[3], p4 = -v[0] + v[1] - v[2] + v[3];
    return p1 + d * (p2 + d * (p3 + d * p4));
}

static int inside(int v, int n) { return v < 0 ? 0 : v >= n ? n - 1 : v; }

static void sample_cubic(const struct image *m, f64 fx, f64 fy, u8 *to)
{
    int x = (int)floor(fx), y = (int)floor(fy), column[4];
    f64 dx = fx - x, dy = fy - y;
    for (int k = 0; k < 4; k++)
        column[k] = 3 * inside(x - 1 + k, m->w);
    for (int c = 0; c < 3; c++) {
        f64 row[4];
        for (int j = 0; j < 4; j++) {
            int yy = j == 0 ? inside(y - 1, m->h) : y - 1 + j;
            if (j > 0 && (yy < 0 || yy >= m->h)) {            // a later row outside repeats the one before
                row[j] = row[j - 1];
                continue;
            }
            const u8 *p = m->rgb + (size_t)yy * m->w * 3 + c;
            row[j] = cubic((const f64[4]){ p[column[0]], p[column[1]], p[column[2]], p[column[3]] }, dx);
        }
        f64 v = cubic(row, dy);
        to[c] = (u8)(v <= 0 ? 0 : v >= 255 ? 255 : v);
    }
}

static void sample_linear(const struct image *m, f64 fx, f64 fy, u8 *to)
{
    int x = (int)floor(fx), y = (int)floor(fy);
    f64 dx = fx - x, dy = fy - y;
    int x0 = 3 * inside(x, m->w), x1 = 3 * inside(x + 1, m->w);
    const u8 *above = m->rgb + (size_t)inside(y, m->h) * m->w * 3;
    const u8 *below = y + 1 >= 0 && y + 1 < m->h ? m->rgb + (size_t)(y + 1) * m->w * 3 : NULL;
    for (int c = 0; c < 3; c++) {
        f64 a = above[x0 + c] + dx * (above[x1 + c] - above[x0 + c]);
        f64 b = below ? below[x0 + c] + dx * (below[x1 + c] - below[x0 + c]) : a;
        to[c] = (u8)(a + dy * (b - a));
    }
}

void image_affine(const struct image *m, const f64 M[6], enum filter f, const u8 fill[3], struct image *out)
{
    u8 *to = out->rgb;
    for (int y = 0; y < out->h; y++)
        for (int x = 0; x < out->w; x++, to += 3) {
            f64 sx = M[0] * (x + 0.5) + M[1] * (y + 0.5) + M[2], sy = M[3] * (x + 0.5) + M[4] * (y + 0.5) + M[5];
            if (!(sx >= 0 && sx < m->w && sy >= 0 && sy < m->h))
                memcpy(to, fill, 3);
            else if (f == FILTER_BICUBIC)
                sample_cubic(m, sx - 0.5, sy - 0.5, to);
            else
                sample_linear(m, sx - 0.5, sy - 0.5, to);
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
