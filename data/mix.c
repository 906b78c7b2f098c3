/* mix.c: what crosses samples: Mixup (Zhang et al. 2018) and CutMix (Yun et al. 2019), one choice and one
 * lambda per batch, and the soft labels they make. Normalising happens here too: the pixels are read once and
 * written once. */
#include "data/set.h"
#include <math.h>

/* Gamma(shape, 1): Marsaglia and Tsang 2000; below 1 by the power of a uniform. */
static f64 gamma_draw(rng *r, f64 shape)
{
    if (shape < 1) {
        f64 u = 1 - rng_unit(r);
        return gamma_draw(r, shape + 1) * pow(u, 1 / shape);
    }
    f64 d = shape - 1.0 / 3, c = 1 / sqrt(9 * d);
    for (;;) {
        f64 x = rng_normal(r), v = 1 + c * x, u = 1 - rng_unit(r);
        v = v * v * v;
        if (v > 0 && log(u) < 0.5 * x * x + d - d * v + d * log(v))
            return d * v;
    }
}

static f64 beta_draw(rng *r, f64 alpha)
{
    f64 a = gamma_draw(r, alpha), b = gamma_draw(r, alpha);
    return a + b > 0 ? a / (a + b) : 0.5;
}

void cutmix_box(f64 lambda, int h, int w, int cy, int cx, int *y1, int *y2, int *x1, int *x2,
                f64 *area_lambda)
{
    f64 edge = sqrt(1 - lambda);
    int cut_h = (int)(h * edge), cut_w = (int)(w * edge);
    *y1 = MIN(h, MAX(0, cy - cut_h / 2));
    *y2 = MIN(h, MAX(0, cy + cut_h / 2));
    *x1 = MIN(w, MAX(0, cx - cut_w / 2));
    *x2 = MIN(w, MAX(0, cx + cut_w / 2));
    *area_lambda = 1 - (f64)((*y2 - *y1) * (*x2 - *x1)) / ((f64)h * w);
}

/* Pixels become numbers by table, the weights of Mixup included. */
static void make_tables(struct mix *m, const f32 mean[3], const f32 std[3])
{
    f32 weight = m->mixup ? (f32)m->lambda : 1, rest = m->mixup ? 1 - weight : 1;
    for (int c = 0; c < 3; c++)
        for (int i = 0; i < 256; i++) {
            f32 v = ((f32)i - mean[c]) / std[c];
            m->own[c][i] = weight * v;
            m->other[c][i] = rest * v;
        }
}

static void choose(struct mix *m, const struct augment_options *a, u64 seed, i64 epoch, i64 batch, int n,
                   int side)
{
    rng r = rng_at(seed, RNG_MIX, (u64)epoch << 32 | (u64)(u32)batch, 0);
    bool first = rng_u32(&r) & 1;
    m->mixup = a->mixup > 0 && (a->cutmix <= 0 || first);
    m->cutmix = a->cutmix > 0 && !m->mixup;
    m->lambda = 1;
    for (int i = 0; i < n; i++)
        m->partner[i] = i;
    if (!m->mixup && !m->cutmix)
        return;
    m->lambda = beta_draw(&r, m->mixup ? a->mixup : a->cutmix);
    rng_shuffle(&r, m->partner, n);
    if (m->cutmix) {
        int cy = (int)rng_below(&r, (u32)side), cx = (int)rng_below(&r, (u32)side);
        cutmix_box(m->lambda, side, side, cy, cx, &m->y1, &m->y2, &m->x1, &m->x2, &m->lambda);
    }
}

void mix_choose(struct mix *m, const struct augment_options *a, u64 seed, i64 epoch, i64 batch, int n,
                int side, const f32 mean[3], const f32 std[3])
{
    choose(m, a, seed, epoch, batch, n, side);
    make_tables(m, mean, std);
}

static void convert(const u8 *p, int n, f32 table[3][256], f32 *r, f32 *g, f32 *b)
{
    for (int i = 0; i < n; i++, p += 3) {
        r[i] = table[0][p[0]];
        g[i] = table[1][p[1]];
        b[i] = table[2][p[2]];
    }
}

static void convert_mixed(const u8 *p, const u8 *q, int n, struct mix *m, f32 *r, f32 *g, f32 *b)
{
    for (int i = 0; i < n; i++, p += 3, q += 3) {
        r[i] = m->own[0][p[0]] + m->other[0][q[0]];
        g[i] = m->own[1][p[1]] + m->other[1][q[1]];
        b[i] = m->own[2][p[2]] + m->other[2][q[2]];
    }
}

void mix_image(struct mix *m, const u8 *rgb, const u8 *partner, int side, f32 *planes)
{
    size_t plane = (size_t)side * (size_t)side;
    f32 *r = planes, *g = planes + plane, *b = planes + 2 * plane;
    if (m->mixup) {
        convert_mixed(rgb, partner, side * side, m, r, g, b);
        return;
    }
    convert(rgb, side * side, m->own, r, g, b);
    for (int y = m->y1; m->cutmix && y < m->y2; y++) {
        size_t at = (size_t)y * (size_t)side + (size_t)m->x1;
        convert(partner + 3 * at, m->x2 - m->x1, m->other, r + at, g + at, b + at);
    }
}

void mix_label(const struct mix *m, int label, int partner, int classes, f32 *soft)
{
    memset(soft, 0, sizeof *soft * (size_t)classes);
    soft[label] += (f32)m->lambda;
    soft[partner] += (f32)(1 - m->lambda);
}
