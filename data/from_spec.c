/* from_spec.c: what an experiment asks of its images. */
#include "data/data.h"
#include <unistd.h>

static void options_copy3(f32 *to, reals from)
{
    for (int i = 0; i < 3 && from.n; i++)
        to[i] = (f32)list_at(from, i);
}

struct data_options data_options_of(const struct spec *s, bool train)
{
    int side = s->model.image.v[0], cores = (int)sysconf(_SC_NPROCESSORS_ONLN);
    struct data_options o = {
        .set = s->data.set, .root = s->data.root, .split = train ? s->data.train : s->data.eval,
        .only = s->data.classes.v, .n_only = s->data.classes.n, .image = side,
        .workers = s->data.workers ? s->data.workers : s->threads ? s->threads : MAX(1, cores),
        .train = train,
        .batch = train ? s->train.batch : s->eval.batch ? s->eval.batch : MIN(64, s->train.batch),
        .seed = (u64)s->seed,
        .eval_short = (int)(side / s->eval.crop + 0.5), .fold = s->data.fold,
        .bilinear = s->data.interpolation == INTERPOLATION_bilinear,
        .exif = s->data.exif, .released = s->variant == VARIANT_released,
        .skip_errors = s->data.on_error == ON_ERROR_skip, .keep_decoded = true,
        .fast_decode = train && s->data.fast_decode,
        .augment = { .erasing = s->augment.erasing, .mixup = s->augment.mixup, .cutmix = s->augment.cutmix,
                     .smoothing = s->augment.smoothing, .scale_min = s->augment.scale_min,
                     .flip = s->augment.flip, .pad = s->augment.pad } };
    if (s->augment.randaugment.n) {
        o.augment.ra_ops = (int)s->augment.randaugment.v[0];
        o.augment.ra_magnitude = list_at(s->augment.randaugment, 1);
        o.augment.ra_std = s->augment.randaugment.n > 2 ? s->augment.randaugment.v[2] : 0;
    }
    o.has_mean = s->data.mean.n;
    o.has_std = s->data.std.n;
    options_copy3(o.mean, s->data.mean);
    options_copy3(o.std, s->data.std);
    return o;
}
