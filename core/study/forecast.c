/* forecast.c: what a run would take, from a few steps on made-up images. Neither data nor
 * weights need be there: of a published set the number of images and classes is known, of a
 * published checkpoint the network. */
#include "data/data.h"
#include "model/model.h"
#include "recycle/recycle.h"
#include "study/study.h"
#include "train/learner.h"
#include <math.h>

enum { STEPS = 5, ASSUMED_CLASSES = 1000 };

/* ---- what is known without running ----------------------------------------------------------------------- */

static int forecast_split(const struct spec *s, bool train, int *classes)
{
    struct data_options o = data_options_of(s, train);
    dataset *d = *s->data.set && !data_absent(&o) ? data_open(&o) : NULL;
    int images = d ? data_count(d) : 0;
    *classes = d ? data_classes(d) : 0;
    if (!d && *s->data.set && !s->data.classes.n)
        images = data_published(&o, classes);
    data_close(d);
    fail_clear();
    return images;
}

struct images forecast_images(struct spec *s)
{
    int classes, unused;
    struct images n = { forecast_split(s, true, &classes), forecast_split(s, false, &unused) };
    classes = s->data.classes.n ? s->data.classes.n : classes;
    if (!s->model.classes)
        s->model.classes = classes ? classes : ASSUMED_CLASSES;
    return n;
}

/* Steps of a run; NAN: not known. */
static f64 forecast_steps(const struct spec *s, int images)
{
    f64 steps = images ? (f64)s->train.epochs * (images / s->train.batch)
              : s->train.steps ? s->train.steps : NAN;
    return s->train.steps && steps > s->train.steps ? s->train.steps : steps;
}

/* Evaluations of a run of so many steps: every eval.every epochs, and at the end. */
static f64 forecast_evaluations(const struct spec *s, f64 steps, int images)
{
    int per_epoch = images / s->train.batch, every = s->eval.every;
    f64 epochs = per_epoch && !isnan(steps) ? ceil(steps / per_epoch) : s->train.epochs;
    return every ? floor(epochs / every) + (fmod(epochs, every) > 0) : 1;
}

/* The architecture that a published checkpoint's file is named after: "vit_tiny_patch16_224.augreg_in21k.npz",
 * "convnext_tiny_22k_224.pth". */
static bool named_after(arena *a, struct spec *out, const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    char *arch = arena_copy(a, name, strcspn(name, "."));
    bool known = false;
    for (char *end; !known && *arch && strcmp(arch, "vit") && strcmp(arch, "convnext");
         end ? *end = 0 : (*arch = 0)) {
        known = !spec_parse(out, a, path, arena_printf(a, "model: {arch: %s}", arch), NULL, 0);
        end = strrchr(arch, '_');
    }
    fail_clear();
    return known;
}

bool forecast_predecessor(arena *a, const struct spec *s, struct spec *out)
{
    const char *path = s->recycle.from.experts;
    if (!*path)
        return false;
    if (!file_exists(path))
        return named_after(a, out, path);
    ckpt *c = ckpt_open_model(path, false);
    bool known = c && !spec_parse(out, a, path, "", NULL, 0) && !model_read(out, c, a);
    ckpt_close(c);
    fail_clear();
    return known;
}

/* ---- what is measured ---------------------------------------------------------------------------------- */

/* Seconds an image takes in an evaluation. */
static int measure_evaluation(const struct learner *l, struct session *e, arena *a, f64 *image)
{
    struct evaluator v;
    int n = data_options_of(&e->s, false).batch;
    struct batch b = feed_noise(a, &e->s, n, (u64)e->s.seed);
    f32 *logits = arena_array(a, f32, (i64)n * e->s.model.classes);
    int rc = evaluator_open(&v, &e->s, e->d, learner_weights(l), n) || evaluator_logits(&v, &b, logits);
    f64 start = clock_now();
    rc = rc || evaluator_logits(&v, &b, logits) ? -1 : 0;
    *image = (clock_now() - start) / n;
    evaluator_close(&v);
    return rc;
}

int forecast_measure(struct session *e, struct forecast *f)
{
    struct learner l;
    arena *a = arena_open("dry run");
    int from, to;
    f64 norm;
    exchange_share(&e->s, &from, &to);
    struct batch b = feed_noise(a, &e->s, MAX(1, to - from), (u64)e->s.seed);
    f64 start = clock_now();
    int rc = learner_open(&l, &e->s, e->d, e->p) || learner_step(&l, &b, 0)
             || learner_read(&l, &f->loss, &norm);
    f64 built = clock_now();
    f->built = built - start;
    for (int i = 0; i < STEPS && !rc; i++)
        rc = learner_step(&l, &b, 0) || learner_wait(&l);
    rc = rc || learner_read(&l, &f->loss, &norm) ? -1 : 0;
    f->step = (clock_now() - built) / STEPS;
    rc = rc || measure_evaluation(&l, e, a, &f->image) ? -1 : 0;
    f->micro_batches = l.micro_batches;
    f->memory = dev_mem_peak(e->d);
    learner_close(&l);
    arena_close(a);
    return rc;
}

/* Measures a step on made-up images and random weights. */
int forecast_step(const struct spec *s, struct forecast *f)
{
    struct spec alone = *s;
    struct session e = { 0 };
    forecast_images(&alone);
    alone.model.init = alone.recycle.from.experts = alone.recycle.from.dense = "";
    int rc = session_open(&e, &alone, SESSION_TRAINS, NULL);
    if (!rc && dev_class(e.d) == DEV_NULL)
        rc = fail(FAULT_USAGE, "device null computes nothing");
    rc = rc || forecast_measure(&e, f) ? -1 : 0;
    session_close(&e);
    return rc;
}

/* ---- and what follows ---------------------------------------------------------------------------------- */

struct cost forecast_cost(const struct spec *s, const struct forecast *f, struct images n)
{
    struct cost c = { .steps = forecast_steps(s, n.train) };
    c.cuts = *s->recycle.from.experts && strategy_find(s->recycle.strategy)->needs & NEEDS_TOGETHER;
    c.evaluations = forecast_evaluations(s, c.steps, n.train);
    c.measured = *s->recycle.from.experts ? MIN((f64)s->recycle.images, n.train ? n.train : INFINITY) : 0;
    c.training = c.steps * f->step;
    c.evaluating = n.eval ? c.evaluations * n.eval * f->image / dist_size() : NAN;
    c.recycling = c.measured ? c.measured * f->activations / dist_size() : 0;
    c.seconds = c.training + (isnan(c.evaluating) ? 0 : c.evaluating) + (isnan(c.recycling) ? 0 : c.recycling);
    return c;
}
