/* forecast.c: what a run would take, from a few steps on made-up images. Neither data nor weights need be there: of a
 * published set the number of images and classes is known. */
#include "data/data.h"
#include "study/study.h"
#include "train/learner.h"
#include <math.h>

enum { STEPS = 5, ASSUMED_CLASSES = 1000 };

int forecast_images(struct spec *s)
{
    struct data_options o = data_options_of(s, true);
    int classes = 0, images = 0;
    dataset *d = *s->data.set && !data_absent(&o) ? data_open(&o) : NULL;
    if (d) {
        images = data_count(d);
        classes = data_classes(d);
        data_close(d);
    } else if (*s->data.set && !s->data.classes.n)
        images = data_published(&o, &classes);
    classes = s->data.classes.n ? s->data.classes.n : classes;
    if (!s->model.classes)
        s->model.classes = classes ? classes : ASSUMED_CLASSES;
    fail_clear();
    return images;
}

f64 forecast_steps(const struct spec *s, int images)
{
    f64 steps = images ? (f64)s->train.epochs * (images / s->train.batch) : s->train.steps ? s->train.steps : NAN;
    return s->train.steps && steps > s->train.steps ? s->train.steps : steps;
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
    int rc = learner_open(&l, &e->s, e->d, e->p) || learner_step(&l, &b, 0) || learner_read(&l, &f->loss, &norm);
    f64 built = clock_now();
    f->built = built - start;
    for (int i = 0; i < STEPS && !rc; i++)
        rc = learner_step(&l, &b, 0) || learner_wait(&l);
    rc = rc || learner_read(&l, &f->loss, &norm) ? -1 : 0;
    f->step = (clock_now() - built) / STEPS;
    f->micro_batches = l.micro_batches;
    f->memory = dev_mem_peak(e->d);
    learner_close(&l);
    arena_close(a);
    return rc;
}

/* Without its data and weights. */
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
