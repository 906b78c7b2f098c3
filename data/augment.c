/* augment.c: from a stored sample to the square the network sees. Each kind of choice draws from its own
 * generator, placed by (seed, epoch, sample): switching one augmentation off leaves the others' choices as
 * they were.
 *
 *     train   random resized crop (or pad and crop) -> flip -> RandAugment -> (random erasing: chosen)
 *     eval    short edge to eval_short -> centre crop
 */
#include "data/set.h"
#include <math.h>
#include <stdlib.h>

enum purpose { CROP, FLIP, OPS, ERASE, ERASE_NOISE };
enum { TRIES = 10 };

static rng augment_draws(const struct data_options *o, i64 epoch, i64 i, enum purpose p)
{
    return rng_at(o->seed, RNG_AUGMENT, (u64)epoch << 32 | (u64)(u32)i, p);
}

static f64 augment_uniform(rng *r, f64 lo, f64 hi) { return lo + (hi - lo) * rng_unit(r); }

/* ---- where to crop ------------------------------------------------------------------------------------- */

/* Inception's crop (Szegedy et al. 2015): area and aspect ratio drawn until they fit, else the largest centre
 * crop. */
static struct window random_crop(rng *r, int w, int h, f64 scale_min)
{
    const f64 narrow = 3.0 / 4, wide = 4.0 / 3;
    for (int k = 0; k < TRIES; k++) {
        f64 area = augment_uniform(r, scale_min, 1) * w * h,
            aspect = exp(augment_uniform(r, log(narrow), log(wide)));
        int cw = (int)nearbyint(sqrt(area * aspect)), ch = (int)nearbyint(sqrt(area / aspect));
        if (cw > 0 && ch > 0 && cw <= w && ch <= h) {
            int y = (int)rng_below(r, (u32)(h - ch + 1)), x = (int)rng_below(r, (u32)(w - cw + 1));
            return (struct window){ x, y, cw, ch };
        }
    }
    int cw = w, ch = h;
    if ((f64)w / h < narrow)
        ch = MIN(h, (int)nearbyint(w / narrow));
    else if ((f64)w / h > wide)
        cw = MIN(w, (int)nearbyint(h * wide));
    return (struct window){ (w - cw) / 2, (h - ch) / 2, cw, ch };
}

/* What becomes of the sample: a window of it is scaled, and of the result a part is kept. */
struct view { struct window source; int out_w, out_h; struct window part; };

/* Train: the crop becomes the whole square. */
static struct view train_view(const struct data_options *o, i64 epoch, i64 i, int w, int h)
{
    rng r = augment_draws(o, epoch, i, CROP);
    f64 scale_min = o->augment.scale_min > 0 ? o->augment.scale_min : 0.08;
    struct window crop = random_crop(&r, w, h, scale_min);
    return (struct view){ crop, o->image, o->image, { 0, 0, o->image, o->image } };
}

/* Eval: short edge to `edge` (the long edge truncated), then the centre, its offset rounded half to even. */
static struct view centre_view(int edge, int size, int w, int h)
{
    int ow = w <= h ? edge : (int)((i64)edge * w / h), oh = w <= h ? (int)((i64)edge * h / w) : edge;
    int x = (int)nearbyint((ow - size) / 2.0), y = (int)nearbyint((oh - size) / 2.0);
    return (struct view){ { 0, 0, w, h }, ow, oh, { x, y, size, size } };
}

static int view_of(const struct data_options *o, i64 epoch, i64 i, int w, int h, struct view *v)
{
    if ((i64)MAX(w, h) > (i64)MIN(w, h) << 14)
        return fail(FAULT_DATA, "%d x %d pixels: too long and thin to scale", w, h);
    if (o->train && !o->augment.pad)
        *v = train_view(o, epoch, i, w, h);
    else
        *v = centre_view(o->train || !o->eval_short ? o->image : o->eval_short, o->image, w, h);
    return 0;
}

static struct scaling scaling_of(const struct data_options *o, const struct view *v)
{
    return (struct scaling){ o->bilinear ? FILTER_BILINEAR : FILTER_BICUBIC, v->source.w, v->source.h,
                             v->out_w, v->out_h, .part = v->part };
}

/* ---- the stored pixels: from a record, from memory, or from a file ------------------------------------- */

static int from_image(struct worker_space *w, const struct data_options *o, i64 epoch, i64 i,
                      const struct image *m)
{
    struct view v;
    if (view_of(o, epoch, i, m->w, m->h, &v))
        return -1;
    struct scaling s = scaling_of(o, &v);
    return image_scale(&w->resizer, &s, m, -v.source.x, -v.source.y, &w->out);
}

/* How often a JPEG's crop can be halved while decoding and still be no smaller than what it becomes. */
static int augment_halvings(const struct view *v)
{
    int k = 0;
    while (k < 3 && v->source.w >> (k + 1) >= v->out_w && v->source.h >> (k + 1) >= v->out_h)
        k++;
    return k;
}

/* Decodes at 1/2^k: the view's window becomes a box with fractions in the smaller picture. */
static int from_halved(struct worker_space *w, const struct data_options *o, const struct image_info *info,
                       size_t bytes, const struct view *v, int k)
{
    int W, H;
    image_oriented_size(info, &W, &H);
    f64 shrink = 1.0 / (1 << k);
    struct scaling s = scaling_of(o, v);
    s.in_w = CEIL_DIV(W, 1 << k);
    s.in_h = CEIL_DIV(H, 1 << k);
    s.box.x = v->source.x * shrink;
    s.box.y = v->source.y * shrink;
    s.box.w = v->source.w * shrink;
    s.box.h = v->source.h * shrink;
    struct window need = scaling_needs(&s);
    return image_decode(&w->decoder, w->decoder.file, bytes, info, &need, k, &w->stored)
        || image_scale(&w->resizer, &s, &w->stored, need.x, need.y, &w->out) ? -1 : 0;
}

static int peek_file(struct worker_space *w, const dataset *d, const struct data_options *o, i64 i,
                     struct image_info *info, size_t *bytes)
{
    char path[4096];
    return image_read_file(&w->decoder, data_path(d, i, path), bytes)
        || image_peek(w->decoder.file, *bytes, o->exif, info) ? -1 : 0;
}

static int from_file(struct worker_space *w, const dataset *d, const struct data_options *o, i64 epoch, i64 i)
{
    struct image_info info;
    size_t bytes;
    int W, H;
    struct view v;
    if (peek_file(w, d, o, i, &info, &bytes))
        return -1;
    image_oriented_size(&info, &W, &H);
    if (view_of(o, epoch, i, W, H, &v))
        return -1;
    int k = o->train && o->fast_decode && info.kind == IMAGE_JPEG ? augment_halvings(&v) : 0;
    if (k)
        return from_halved(w, o, &info, bytes, &v, k);
    struct scaling s = scaling_of(o, &v);
    struct window need = scaling_needs(&s);
    struct window part = { v.source.x + need.x, v.source.y + need.y, need.w, need.h };
    return image_decode(&w->decoder, w->decoder.file, bytes, &info, &part, 0, &w->stored)
        || image_scale(&w->resizer, &s, &w->stored, need.x, need.y, &w->out) ? -1 : 0;
}

/* A whole decode of sample i, kept in the set's memory while there is room; NULL + fail. */
static const struct image *kept_image(struct worker_space *w, dataset *d, const struct data_options *o, i64 i)
{
    struct image *k = &d->kept[i];
    struct image_info info;
    size_t bytes;
    if (__atomic_load_n(&k->rgb, __ATOMIC_ACQUIRE))
        return k;
    if (peek_file(w, d, o, i, &info, &bytes)
        || image_decode(&w->decoder, w->decoder.file, bytes, &info, NULL, 0, &w->spare))
        return NULL;
    pthread_mutex_lock(&d->lock);
    i64 size = (i64)image_bytes(&w->spare);
    if (!k->rgb && d->kept_bytes + size <= MOST_KEPT) {
        u8 *rgb = arena_bytes(d->a, (size_t)size + IMAGE_SLACK, 1);
        memcpy(rgb, w->spare.rgb, (size_t)size);
        k->w = w->spare.w;
        k->h = w->spare.h;
        d->kept_bytes += size;
        __atomic_store_n(&k->rgb, rgb, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&d->lock);
    return &w->spare;
}

/* The sample cropped and scaled to the square, in w->out. */
static int augment_fetch(struct worker_space *w, dataset *d, const struct data_options *o, i64 epoch, i64 i)
{
    if (d->kind->pixels) {
        return d->kind->pixels(d, i, w->decoder.a, &w->spare) ? -1 : from_image(w, o, epoch, i, &w->spare);
    }
    if (d->kept) {
        const struct image *m = kept_image(w, d, o, i);
        return m ? from_image(w, o, epoch, i, m) : -1;
    }
    return from_file(w, d, o, epoch, i);
}

/* ---- changes to the square ----------------------------------------------------------------------------- */

/* Black borders of `pad`, then a crop of the old size: a shift by up to pad. */
static int pad_and_crop(struct worker_space *w, const struct data_options *o, i64 epoch, i64 i)
{
    rng r = augment_draws(o, epoch, i, CROP);
    int pad = o->augment.pad, side = o->image, y0 = (int)rng_below(&r, (u32)(2 * pad + 1)) - pad;
    int x0 = (int)rng_below(&r, (u32)(2 * pad + 1)) - pad, x = MAX(0, -x0), n = side - abs(x0);
    if (image_room(w->decoder.a, &w->spare, side, side))
        return -1;
    memset(w->spare.rgb, 0, image_bytes(&w->spare));
    for (int y = MAX(0, -y0); y < MIN(side, side - y0) && n > 0; y++)
        memcpy(w->spare.rgb + ((size_t)y * side + x) * 3, w->out.rgb + ((size_t)(y + y0) * side + x + x0) * 3,
               (size_t)n * 3);
    struct image t = w->out;
    w->out = w->spare;
    w->spare = t;
    return 0;
}

static void maybe_flip(struct image *m, const struct data_options *o, i64 epoch, i64 i)
{
    rng r = augment_draws(o, epoch, i, FLIP);
    if (rng_u32(&r) & 1)
        image_flip(m);
}

struct fill fill_of(const dataset *d, const struct data_options *o)
{
    struct fill f;
    for (int c = 0; c < 3; c++) {
        int from = o->released && d->kind->fill_reversed ? 2 - c : c;
        f.mean[c] = d->mean[from];
        f.std[c] = d->std[from];
        f.color[c] = (u8)nearbyint(f.mean[c]);
    }
    return f;
}

/* Random erasing (Zhong et al. 2020), to be filled with normal noise per pixel. The last row and column are
 * never reached, as in the reference. */
static void maybe_erase(const struct image *m, const struct data_options *o, i64 epoch, i64 i,
                        struct erasing *e)
{
    rng r = augment_draws(o, epoch, i, ERASE);
    if (rng_unit(&r) >= o->augment.erasing)
        return;
    f64 aspect = exp(augment_uniform(&r, log(3.0 / 10), log(10.0 / 3)));
    f64 area = augment_uniform(&r, 0.02, 1.0 / 3) * m->w * m->h;
    int h = MIN(m->h, (int)nearbyint(sqrt(area * aspect)));
    int w = MIN(m->w, (int)nearbyint(sqrt(area / aspect)));
    int y = m->h > h ? (int)rng_below(&r, (u32)(m->h - h)) : 0;
    int x = m->w > w ? (int)rng_below(&r, (u32)(m->w - w)) : 0;
    e->box[0] = y;
    e->box[1] = y + h;
    e->box[2] = x;
    e->box[3] = x + w;
    e->key[1] = rng_u32(&r);
    e->key[0] = rng_u32(&r);
}

static int augment_sample(struct worker_space *w, const dataset *d, const struct data_options *o, i64 epoch,
                          i64 i, struct erasing *e)
{
    struct fill fill = fill_of(d, o);
    rng ops = augment_draws(o, epoch, i, OPS);
    if (o->augment.pad && pad_and_crop(w, o, epoch, i))
        return -1;
    if (o->augment.flip)
        maybe_flip(&w->out, o, epoch, i);
    if (o->augment.ra_ops > 0 && randaugment(&w->out, &w->spare, w->decoder.a, &o->augment, fill.color, &ops))
        return -1;
    if (o->augment.erasing > 0)
        maybe_erase(&w->out, o, epoch, i, e);
    return 0;
}

int sample_prepare(struct worker_space *w, dataset *d, const struct data_options *o, i64 epoch, i64 i, u8 *to,
                   struct erasing *e)
{
    *e = (struct erasing){ 0 };
    if (augment_fetch(w, d, o, epoch, i))
        return -1;
    if (o->train && augment_sample(w, d, o, epoch, i, e))
        return -1;
    memcpy(to, w->out.rgb, image_bytes(&w->out));
    return 0;
}
