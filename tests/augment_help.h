/* augment_help.h: one picture as a training set and its samples, drawn by the path that a run takes
 * (data_options_of, sample_prepare). */
#ifndef JETCL_AUGMENT_HELP_H
#define JETCL_AUGMENT_HELP_H
#include "data_help.h"
#include "laws.h"
#include "data/set.h"
#include "spec/spec.h"

enum { SIDE = 24, FILES = 20 };

/* `n` copies of a picture as a training set, and what an experiment asks of it that sets these keys of
 * `augment`, "a=1; b=2", beside which nothing is drawn. */
SOME struct data_options asked(const char *name, const struct image *m, int n, const char *keys)
{
    struct spec *s = arena_one(mem, struct spec);
    struct spec_set set[4];
    int sets = 0;
    for (int i = 0; i < n; i++)
        write_png(at("%s/train/a/%02d.png", name, i), m, PNG_COLOR_TYPE_RGB, 8, false, false);
    for (const char *k = keys; k; k = (k = strstr(k, "; ")) ? k + 2 : NULL)
        set[sets++] = (struct spec_set){ "--set", arena_printf(mem, "augment.%.*s", (int)strcspn(k, ";"), k) };
    if (spec_parse(s, mem, "test", arena_printf(mem,
            "data: {set: folder, root: '%s', interpolation: bilinear, workers: 1}\ntrain: {batch: 4}\n"
            "model: {arch: vit, image: %d, patch: 8}\naugment: {scale_min: 1, flip: off, randaugment: off, "
            "erasing: off, mixup: off, cutmix: off}\n", at("%s", name), SIDE), set, sets))
        fail_msg("%s", fail_message());
    return data_options_of(s, true);
}

/* Red counts columns, green rows. */
SOME struct image ramps(int w, int h, int red, int green)
{
    struct image m = { 0 };
    image_room(mem, &m, w, h);
    for (int i = 0; i < w * h; i++) {
        m.rgb[3 * i] = (u8)(red * (i % w));
        m.rgb[3 * i + 1] = (u8)(green * (i / w));
        m.rgb[3 * i + 2] = 7;
    }
    return m;
}

struct bench { dataset *d; struct worker_space w; struct erasing e; u8 rgb[SIDE * SIDE * 3]; };

SOME struct bench *bench_open(const struct data_options *o)
{
    struct bench *b = arena_one(mem, struct bench);
    b->w.decoder.a = b->w.resizer.a = mem;
    if (!(b->d = data_open(o)))
        fail_msg("%s", fail_message());
    return b;
}

SOME void draw(struct bench *b, const struct data_options *o, i64 k)
{
    i64 n = data_count(b->d);
    if (sample_prepare(&b->w, b->d, o, k / n, k % n, b->rgb, &b->e))
        fail_msg("%s", fail_message());
}
#endif
