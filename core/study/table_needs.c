/* table_needs.c: what running a table would take: what is not there, memory, and time from a measured step of each
 * model. */
#include "model/model.h"
#include "study/table.h"
#include <math.h>

/* Models of one family, cost and precision take equally long. */
struct measured { const struct spec *s; f64 macs; struct forecast f; bool known; };
struct measuring { arena *a; struct measured *list; size_t n, cap; const char *why; };

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

/* Steps, seconds (NAN: not known) and bytes of one experiment. */
struct cost { f64 steps, seconds, bytes; };
static int cost_of(struct measuring *m, const struct spec *of, struct cost *out)
{
    struct spec s = *of;
    struct model_count k;
    int images = forecast_images(&s);
    int part = CEIL_DIV(s.train.batch, MAX(1, s.train.accumulate));
    if (model_count(m->a, &s, part, part, &k))
        return -1;
    const struct measured *x = measure_like(m, &s, k.macs);
    out->steps = forecast_steps(&s, images);
    out->seconds = x->known ? out->steps * x->f.step * s.train.batch / x->s->train.batch : NAN;
    out->bytes = (f64)(k.state_bytes + k.train_bytes);
    return 0;
}

static json_t *cost_json(const struct table_run *r, const struct cost *c)
{
    return json_pack("{s:o, s:I, s:o, s:o, s:i, s:o, s:o}", "name", json_text(r->name), "seed",
                     (json_int_t)r->spec.seed, "folder", json_text(r->dir), "steps", json_number(c->steps), "batch",
                     r->spec.train.batch, "seconds", json_number(c->seconds), "memory", json_integer((json_int_t)c->bytes));
}

static void cost_print(const struct table_run *r, const struct cost *c)
{
    char bytes[24], time[24];
    printf("%s, seed %lld: ", r->name, (long long)r->spec.seed);
    isnan(c->steps) ? printf("steps of %d images", r->spec.train.batch)
                    : printf("%.0f steps of %d images", c->steps, r->spec.train.batch);
    printf(", %s of memory", text_bytes(bytes, c->bytes));
    isnan(c->seconds) ? puts("") : printf(", about %s\n", text_time(time, c->seconds));
}

int table_forecast(const struct table *t, const char *only, bool json)
{
    struct measuring m = { .a = arena_open("what a table takes") };
    struct needs n = { .a = m.a };
    json_t *list = json_array();
    f64 total = 0;
    int rc = 0, todo = 0;
    char time[24];
    needs_of_table(&n, t, only);
    for (size_t i = 0; i < t->n_runs && !rc; i++) {
        const struct table_run *r = &t->runs[i];
        struct cost c;
        if (!needs_work(t, r, only) || (rc = cost_of(&m, &r->spec, &c)))
            continue;
        total += c.seconds;
        todo++;
        json ? (void)json_array_append_new(list, cost_json(r, &c)) : cost_print(r, &c);
    }
    if (!rc && json)
        rc = json_line(stdout, json_pack("{s:O, s:o, s:o}", "experiments", list, "missing", needs_json(&n), "seconds",
                                         json_number(total)));
    else if (!rc) {
        needs_print(stdout, &n);
        if (m.why)
            printf("no step was measured: %s\n", m.why);
        else if (!isnan(total))
            printf("%d experiments to do: training takes about %s here\n", todo, text_time(time, total));
    }
    json_decref(list);
    arena_close(m.a);
    return rc;
}
