/* table_forecast.c: what running a table would take: what is not there, memory, and time from
 * a measured step of each model. */
#include "model/model.h"
#include "recycle/recycle.h"
#include "study/table_forecast.h"
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
    if (model_count(m->a, &s, 1, part, part, &k))
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

/* fits: whether it is within the budget; -1: there is none. */
static json_t *cost_json(const struct asked *x, int fits)
{
    const struct table_run *r = x->run;
    const struct cost *c = &x->cost;
    json_t *o = json_pack("{s:o, s:I, s:o, s:o, s:i, s:o, s:o, s:o, s:o, s:o}", "name", json_text(r->name),
                          "seed", (json_int_t)r->spec.seed, "folder", json_text(r->dir), "steps",
                          json_number(c->steps), "batch", r->spec.train.batch, "train_s",
                          json_number(c->training), "eval_s", json_number(c->evaluating), "recycle_s",
                          json_number(c->recycling), "seconds", json_number(c->seconds), "memory",
                          json_integer((json_int_t)x->bytes));
    if (fits >= 0)
        json_object_set_new(o, "fits", json_boolean(fits));
    return o;
}

static void cost_print(const struct asked *x, int fits)
{
    char bytes[24], time[24];
    const struct table_run *r = x->run;
    const struct cost *c = &x->cost;
    printf("%s%s, seed %lld: ", fits < 0 ? "" : fits ? "fits     " : "too long ", r->name,
           (long long)r->spec.seed);
    isnan(c->steps) ? printf("steps of %d images", r->spec.train.batch)
                    : printf("%.0f steps of %d images", c->steps, r->spec.train.batch);
    printf(", %s of memory", text_bytes(bytes, x->bytes));
    isnan(c->seconds) ? puts("") : printf(", about %s\n", text_time(time, c->seconds));
}

/* Sums over what is known. */
static void cost_add(struct cost *all, const struct cost *c)
{
    all->training += c->training;
    all->evaluating += isnan(c->evaluating) ? 0 : c->evaluating;
    all->recycling += isnan(c->recycling) ? 0 : c->recycling;
    all->seconds += c->seconds;
    all->cuts |= c->cuts;
}

/* What is to be done, and what it takes. */
static int needs_ask(struct measuring *m, const char *only, struct asked **out, size_t *n)
{
    size_t cap = 0;
    *out = NULL;
    *n = 0;
    for (size_t i = 0; i < m->t->n_runs; i++) {
        if (!needs_work(m->t, &m->t->runs[i], only))
            continue;
        struct asked *x = arena_push(m->a, *out, *n, cap);
        *x = (struct asked){ .run = &m->t->runs[i] };
        if (cost_of(m, x->run, &x->cost, &x->bytes))
            return -1;
    }
    return 0;
}

static void forecast_print(const struct measuring *m, const struct needs *n, const struct cost *all, int todo)
{
    char time[24], train[24], eval[24], recycle[24];
    needs_print(stdout, n);
    if (m->why)
        printf("not measured: %s\n", m->why);
    if (!isnan(all->seconds))
        printf("%d experiments to do take about %s here: %s of training, %s of evaluating, %s of measuring "
               "activations%s\n", todo, text_time(time, all->seconds), text_time(train, all->training),
               text_time(eval, all->evaluating), text_time(recycle, all->recycling),
               all->cuts ? ", partitioning their graphs not included" : "");
}

static void budget_print(const struct asked *list, size_t n, f64 used, f64 budget)
{
    char time[24], all[24];
    size_t fit = 0;
    for (size_t i = 0; i < n; i++)
        fit += list[i].fits;
    printf("%zu of %zu experiments fit into %s: they take about %s\n", fit, n, text_time(all, budget),
           text_time(time, used));
}

int table_forecast(const struct table *t, const char *only, f64 budget, bool json)
{
    struct measuring m = { .a = arena_open("what a table takes"), .t = t };
    struct needs missing = { .a = m.a };
    struct asked *list;
    size_t n;
    json_t *lines = json_array();
    struct cost all = { 0 };
    needs_of_table(&missing, t, only);
    int rc = needs_ask(&m, only, &list, &n);
    f64 used = rc || isnan(budget) ? 0 : budget_choose(list, n, t, budget);
    for (size_t i = 0; i < n && !rc; i++) {
        int fits = isnan(budget) ? -1 : list[i].fits;
        cost_add(&all, &list[i].cost);
        json ? (void)json_array_append_new(lines, cost_json(&list[i], fits)) : cost_print(&list[i], fits);
    }
    if (!rc && json)
        rc = json_line(stdout, json_pack("{s:O, s:o, s:o}", "experiments", lines, "missing",
                                         needs_json(&missing), "seconds", json_number(all.seconds)));
    else if (!rc) {
        forecast_print(&m, &missing, &all, (int)n);
        if (!isnan(budget))
            budget_print(list, n, used, budget);
    }
    json_decref(lines);
    arena_close(m.a);
    return rc;
}
