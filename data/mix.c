/* mix.c: what crosses samples: Mixup (Zhang et al. 2018) and CutMix (Yun et al. 2019), one choice and one
 * lambda per batch, and the soft labels they make. The pixels themselves are mixed later: see finish.c. */
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

void cutmix_box(f64 lambda, int h, int w, int cy, int cx, i32 box[4], f64 *area_lambda)
{
    f64 edge = sqrt(1 - lambda);
    int cut_h = (int)(h * edge), cut_w = (int)(w * edge);
    box[0] = MIN(h, MAX(0, cy - cut_h / 2));
    box[1] = MIN(h, MAX(0, cy + cut_h / 2));
    box[2] = MIN(w, MAX(0, cx - cut_w / 2));
    box[3] = MIN(w, MAX(0, cx + cut_w / 2));
    *area_lambda = 1 - (f64)((box[1] - box[0]) * (box[3] - box[2])) / ((f64)h * w);
}

void mix_choose(struct mix *m, const struct augment_options *a, u64 seed, i64 epoch, i64 number, int n,
                int side)
{
    rng r = rng_at(seed, RNG_MIX, (u64)epoch << 32 | (u64)(u32)number, 0);
    bool first = rng_u32(&r) & 1;
    m->mixup = a->mixup > 0 && (a->cutmix <= 0 || first);
    m->cutmix = a->cutmix > 0 && !m->mixup;
    m->lambda = 1;
    memset(m->box, 0, sizeof m->box);
    for (int i = 0; i < n; i++)
        m->partner[i] = i;
    if (!m->mixup && !m->cutmix)
        return;
    m->lambda = beta_draw(&r, m->mixup ? a->mixup : a->cutmix);
    rng_shuffle(&r, m->partner, n);
    if (m->cutmix) {
        int cy = (int)rng_below(&r, (u32)side), cx = (int)rng_below(&r, (u32)side);
        cutmix_box(m->lambda, side, side, cy, cx, m->box, &m->lambda);
    } else
        m->box[1] = m->box[3] = side;
}

void mix_label(f64 lambda, int label, int partner, int classes, f32 *soft)
{
    memset(soft, 0, sizeof *soft * (size_t)classes);
    soft[label] += (f32)lambda;
    soft[partner] += (f32)(1 - lambda);
}

void mix_batch(const struct mix *m, struct batch *b, int classes, const f32 mean[3], const f32 std[3])
{
    f32 weight = m->mixup ? (f32)m->lambda : 0;
    values_table(b, mean, std, weight, 1 - weight);
    b->mixes = m->box[1] > m->box[0] && m->box[3] > m->box[2];
    for (int k = 0; k < b->n; k++) {
        struct recipe *r = &b->recipes[k];
        r->partner = m->partner[k];
        memcpy(r->mixed, m->box, sizeof r->mixed);
        r->other = b->recipes[r->partner].own;
        mix_label(m->lambda, b->labels[k], b->labels[r->partner], classes,
                  b->soft_labels + (size_t)k * (size_t)classes);
    }
}
