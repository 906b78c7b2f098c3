/* randaugment.c: RandAugment (Cubuk et al. 2020), timm's "increasing" policy: fifteen operations, drawn with
 * replacement, each then applied with probability 1/2 at a strength that grows with the level; signs are
 * tossed where both directions exist. */
#include "data/set.h"
#include <math.h>

enum { TOP_LEVEL = 10 };

/* apply: v is the magnitude, already signed. Operations that cannot work in place write `out` and return
 * true. */
struct operation {
    f64 lo, hi;
    bool sign;
    bool (*apply)(struct image *m, f64 v, const u8 fill[3], struct image *out);
};

#define IN_PLACE(name, call) \
    static bool name(struct image *m, f64 v, const u8 fill[3], struct image *out) \
    { \
        (void)v, (void)fill, (void)out; \
        call; \
        return false; \
    }
#define BESIDE(name, call) \
    static bool name(struct image *m, f64 v, const u8 fill[3], struct image *out) \
    { \
        (void)fill; \
        call; \
        return true; \
    }

static void randaugment_shift(const struct image *m, f64 a, f64 b, f64 c, f64 d, f64 e, f64 f, const u8 fill[3],
                              struct image *out)
{
    image_affine(m, (const f64[6]){ a, b, c, d, e, f }, FILTER_BICUBIC, fill, out);
}

IN_PLACE(autocontrast, image_autocontrast(m))
IN_PLACE(equalize,     image_equalize(m))
IN_PLACE(invert,       image_invert(m))
BESIDE(rotate,         image_rotate(m, v, FILTER_BICUBIC, fill, out))
IN_PLACE(posterize,    image_posterize(m, (int)ceil(v)))
IN_PLACE(solarize,     image_solarize(m, v))
IN_PLACE(solarize_add, image_solarize_add(m, v))
IN_PLACE(color,        image_color(m, 1 + v))
IN_PLACE(contrast,     image_contrast(m, 1 + v))
IN_PLACE(brightness,   image_brightness(m, 1 + v))
BESIDE(sharpness,      image_sharpness(m, 1 + v, out))
BESIDE(shear_x,        randaugment_shift(m, 1, v, 0, 0, 1, 0, fill, out))
BESIDE(shear_y,        randaugment_shift(m, 1, 0, 0, v, 1, 0, fill, out))
BESIDE(translate_x,    randaugment_shift(m, 1, 0, v * m->w, 0, 1, 0, fill, out))
BESIDE(translate_y,    randaugment_shift(m, 1, 0, 0, 0, 1, v * m->h, fill, out))

/* magnitude = lo + (hi - lo) level / 10 */
static const struct operation policy[] = {
    { 0, 0, false, autocontrast }, { 0, 0, false, equalize },        { 0, 0, false, invert },
    { 0, 30, true, rotate },       { 4, 0, false, posterize },       { 256, 0, false, solarize },
    { 0, 110, false, solarize_add }, { 0, 0.9, true, color },        { 0, 0.9, true, contrast },
    { 0, 0.9, true, brightness },  { 0, 0.9, true, sharpness },      { 0, 0.3, true, shear_x },
    { 0, 0.3, true, shear_y },     { 0, 0.45, true, translate_x },   { 0, 0.45, true, translate_y },
};

int randaugment(struct image *m, struct image *spare, arena *a, const struct augment_options *o,
                const u8 fill[3], rng *r)
{
    if (image_room(a, spare, m->w, m->h))
        return -1;
    for (int k = 0; k < o->ra_ops; k++) {
        const struct operation *op = &policy[rng_below(r, countof(policy))];
        bool skipped = rng_u32(r) & 1, negative = rng_u32(r) & 1;
        f64 drawn = o->ra_magnitude + o->ra_std * rng_normal(r), level = MIN(TOP_LEVEL, MAX(0, drawn));
        f64 v = op->lo + (op->hi - op->lo) * level / TOP_LEVEL;
        if (skipped || !op->apply(m, op->sign && negative ? -v : v, fill, spare))
            continue;
        struct image t = *m;
        *m = *spare;
        *spare = t;
    }
    return 0;
}
