/* table_needs.c: what running a table would take: what is not there, memory, and time from
 * a measured step of each model. */
#include "model/model.h"
#include "recycle/recycle.h"
#include "study/table.h"
#include <math.h>

/* Models of one family, cost and precision take equally long; so do predecessors of one architecture. */
struct measured { const struct spec *s; f64 macs; struct forecast f; bool known; };
struct predecessor_time { const char *what; f64 seconds; };
struct measuring {
    arena *a;
    const struct table *t;
    struct measured *list;
    struct predecessor_time *predecessors;
    size_t n, cap, n_predecessors, cap_predecessors;
    const char *why;
};

/* A checkpoint that a prepared run will leave there is not missing. */
static void needs_of_run(struct needs *s, const struct table *t, const struct table_run *r, const char *path)
{
    bool made = false;
    for (int i = 0; i < r->n_uses; i++)
        made |= strstr(path, t->runs[r->uses[i]].dir) != NULL;
    if (!made)
        needs_checkpoint(s, path);
}

/* What is to be done of what is asked for. */
static bool needs_work(const struct table *t, const struct table_run *r, const char *only)
{
    return table_asks(t, r, only) && r->state != CELL_DONE;
}

static void needs_of_table(struct needs *s, const struct table *t, const char *only)
{
    for (size_t i = 0; i < t->n_runs; i++) {
        const struct table_run *r = &t->runs[i];
        if (!needs_work(t, r, only))
            continue;
        needs_of_run(s, t, r, r->spec.model.init);
        needs_of_run(s, t, r, r->spec.recycle.from.experts);
        needs_of_run(s, t, r, r->spec.recycle.from.dense);
        needs_data(s, &r->spec);
    }
}

/* Measured with few images at a time: for a person who waits. */
static const struct measured *measure_like(struct measuring *m, const struct spec *s, f64 macs)
{
    enum { IMAGES = 16 };
    for (size_t i = 0; i < m->n; i++) {
        const struct spec *x = m->list[i].s;
        if (!strcmp(x->model.family, s->model.family) && !strcmp(x->device, s->device)
            && x->train.precision == s->train.precision && x->model.moe.layers.n == s->model.moe.layers.n
            && macs < 1.02 * m->list[i].macs && macs > 0.98 * m->list[i].macs)
            return &m->list[i];
    }
    struct spec *few = arena_one(m->a, struct spec);
    *few = *s;
    few->train.batch = MIN(IMAGES, s->train.batch);
    few->train.accumulate = 1;
    struct measured *x = arena_push(m->a, m->list, m->n, m->cap);
    *x = (struct measured){ .s = few, .macs = macs };
    progress("measuring a step of %s", s->name);
    x->known = !forecast_step(few, &x->f);
    progress_done();
    if (!x->known)
        m->why = arena_printf(m->a, "%s", fail_message());
    fail_clear();
    return x;
}

static void measure_predecessor(struct measuring *m, const struct spec *s, const struct spec *from,
                                f64 *seconds)
{
    dev *d = dev_open_real(s->device);
    progress("measuring the predecessor of %s", s->name);
    int rc = d ? recycle_forecast(s, from, d, seconds) : -1;
    progress_done();
    if (d)
        dev_close(d);
    if (rc) {
        m->why = arena_printf(m->a, "%s", fail_message());
        *seconds = NAN;
    }
    fail_clear();
}

/* The network that a run recycles: that of a prepared run that will leave it, or the file's. */
static bool predecessor_of(struct measuring *m, const struct table_run *r, struct spec *out)
{
    for (int i = 0; i < r->n_uses; i++)
        if (strstr(r->spec.recycle.from.experts, m->t->runs[r->uses[i]].dir)) {
            *out = m->t->runs[r->uses[i]].spec;
            forecast_images(out);
            return true;
        }
    return forecast_predecessor(m->a, &r->spec, out);
}

/* Seconds an image takes whose activations are measured; NAN: not known. */
static f64 predecessor_seconds(struct measuring *m, const struct table_run *r)
{
    const struct spec *s = &r->spec;
    struct spec *from = arena_one(m->a, struct spec);
    if (!*s->recycle.from.experts || !predecessor_of(m, r, from))
        return NAN;
    const char *what = arena_printf(m->a, "%s %s %s %d %d %d %d", s->device, model_lines(m->a, from),
                                    s->recycle.strategy, (int)s->recycle.average, s->recycle.batch,
                                    s->recycle.image, list_at(s->model.image, 0));
    for (size_t i = 0; i < m->n_predecessors; i++)
        if (!strcmp(m->predecessors[i].what, what))
            return m->predecessors[i].seconds;
    struct predecessor_time *x = arena_push(m->a, m->predecessors, m->n_predecessors, m->cap_predecessors);
    *x = (struct predecessor_time){ what, NAN };
    measure_predecessor(m, s, from, &x->seconds);
    return x->seconds;
}

/* Of one experiment. */
static int cost_of(struct measuring *m, const struct table_run *r, struct cost *out, f64 *bytes)
{
    struct spec s = r->spec;
    struct model_count k;
    struct images images = forecast_images(&s);
    int part = CEIL_DIV(s.train.batch, MAX(1, s.train.accumulate));
    if (model_count(m->a, &s, part, part, &k))
        return -1;
    const struct measured *x = measure_like(m, &s, k.macs);
    struct forecast f = x->f;
    f.step = x->known ? f.step * s.train.batch / x->s->train.batch : NAN;
    f.image = x->known ? f.image : NAN;
    f.activations = predecessor_seconds(m, r);
    *out = forecast_cost(&s, &f, images);
    *bytes = (f64)(k.state_bytes + k.train_bytes);
    return 0;
}

static json_t *cost_json(const struct table_run *r, const struct cost *c, f64 bytes)
{
    return json_pack("{s:o, s:I, s:o, s:o, s:i, s:o, s:o, s:o, s:o, s:o}", "name", json_text(r->name), "seed",
                     (json_int_t)r->spec.seed, "folder", json_text(r->dir), "steps", json_number(c->steps),
                     "batch", r->spec.train.batch, "train_s", json_number(c->training), "eval_s",
                     json_number(c->evaluating),
                     "recycle_s", json_number(c->recycling), "seconds", json_number(c->seconds), "memory",
                     json_integer((json_int_t)bytes));
}

static void cost_print(const struct table_run *r, const struct cost *c, f64 of_memory)
{
    char bytes[24], time[24];
    printf("%s, seed %lld: ", r->name, (long long)r->spec.seed);
    isnan(c->steps) ? printf("steps of %d images", r->spec.train.batch)
                    : printf("%.0f steps of %d images", c->steps, r->spec.train.batch);
    printf(", %s of memory", text_bytes(bytes, of_memory));
    isnan(c->seconds) ? puts("") : printf(", about %s\n", text_time(time, c->seconds));
}

/* Sums over what is known. */
static void cost_add(struct cost *all, const struct cost *c)
{
    all->training += c->training;
    all->evaluating += isnan(c->evaluating) ? 0 : c->evaluating;
    all->recycling += isnan(c->recycling) ? 0 : c->recycling;
    all->seconds += c->seconds;
}

static void forecast_print(const struct measuring *m, const struct needs *n, const struct cost *all, int todo)
{
    char time[24], train[24], eval[24], recycle[24];
    needs_print(stdout, n);
    if (m->why)
        printf("not measured: %s\n", m->why);
    if (!isnan(all->seconds))
        printf("%d experiments to do take about %s here: %s of training, %s of evaluating, %s of measuring "
               "activations\n", todo, text_time(time, all->seconds), text_time(train, all->training),
               text_time(eval, all->evaluating), text_time(recycle, all->recycling));
}

int table_forecast(const struct table *t, const char *only, bool json)
{
    struct measuring m = { .a = arena_open("what a table takes"), .t = t };
    struct needs n = { .a = m.a };
    json_t *list = json_array();
    struct cost all = { 0 };
    int rc = 0, todo = 0;
    needs_of_table(&n, t, only);
    for (size_t i = 0; i < t->n_runs && !rc; i++) {
        const struct table_run *r = &t->runs[i];
        struct cost c;
        f64 bytes;
        if (!needs_work(t, r, only) || (rc = cost_of(&m, r, &c, &bytes)))
            continue;
        cost_add(&all, &c);
        todo++;
        json ? (void)json_array_append_new(list, cost_json(r, &c, bytes)) : cost_print(r, &c, bytes);
    }
    if (!rc && json)
        rc = json_line(stdout, json_pack("{s:O, s:o, s:o}", "experiments", list, "missing", needs_json(&n),
                                         "seconds", json_number(all.seconds)));
    else if (!rc)
        forecast_print(&m, &n, &all, todo);
    rc = rc || needs_fail(&n) ? -1 : 0;
    json_decref(list);
    arena_close(m.a);
    return rc;
}
