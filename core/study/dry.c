/* dry.c: `run --dry-run`: what a run would take, without doing it. */
#include "recycle/recycle.h"
#include "study/study.h"
#include "train/learner.h"
#include <math.h>

/* A step that computes for `own` seconds here and sends gradients for `half` seconds, parameters for as many:
 * gradients while the backward pass runs, two thirds of it all (core/dist/NOTES.md). */
static f64 dry_network_step(const struct session *e, f64 own, f64 half)
{
    bool overlap = e->s.dist.overlap && e->s.train.accumulate == 1;
    return overlap ? own / 3 + fmax(2 * own / 3, half) + half : own + 2 * half;
}

/* What a step over several ranks would send, and take, beside one that computes for `step` seconds: a rank
 * sends and receives at the same time. */
static void dry_say_network(const struct session *e, f64 step)
{
    static const struct { const char *name; f64 bits;
    } links[] = { { "1 Gb/s", 1e9 },
                  { "10 Gb/s", 10e9 },
                  { "25 Gb/s", 25e9 },
                  { "100 Gb/s", 100e9 },
                  { "PCIe 3 x16", 100e9 } };
    static const int counts[] = { 2, 4, 8 };
    f64 weights = (f64)params_bytes(e->p, PARAMS_FORWARD);
    for (int i = 0; i < countof(counts); i++) {
        char bytes[24], text[256] = "";
        u64 sent = exchange_bytes((u64)weights, counts[i]);
        for (int k = 0; k < countof(links); k++)
            snprintf(text + strlen(text), sizeof text - strlen(text), "%s %.3g s at %s", k ? "," : "",
                     dry_network_step(e, step / counts[i], 4 * (f64)sent / links[k].bits), links[k].name);
        say(SAY_NORMAL, "%d ranks: each sends %s per step; a step would take%s", counts[i],
            text_bytes(bytes, (f64)sent), text);
    }
}

static json_t *dry_json(const struct spec *s, const struct forecast *f, const struct cost *c,
                        const struct needs *n)
{
    return json_pack("{s:o, s:o, s:i, s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "built_s",
                     json_number(f->built),
                     "step_s", json_number(f->step), "batch", s->train.batch, "micro_batches", f->micro_batches,
                     "img_s", json_number(s->train.batch / f->step), "memory",
                     json_integer((json_int_t)f->memory), "steps", json_number(c->steps), "train_s",
                     json_number(c->training), "eval_s", json_number(c->evaluating), "recycle_s",
                     json_number(c->recycling), "seconds", json_number(c->seconds), "missing", needs_json(n));
}

/* "1500 steps in about 0:35, 3 evaluations in 0:02, activations of 512 images in 0:05: 0:42 in all" */
static const char *dry_times(arena *a, const struct cost *c)
{
    char train[24], eval[24], recycle[24], all[24];
    if (isnan(c->steps))
        return "number of steps not known";
    const char *text = arena_printf(a, "%.0f steps in about %s, %.0f evaluation%s %s", c->steps,
                                    text_time(train, c->training), c->evaluations,
                                    c->evaluations > 1 ? "s" : "",
                                    isnan(c->evaluating) ? "of an unknown number of images"
                                    : arena_printf(a, "in %s", text_time(eval, c->evaluating)));
    if (c->measured)
        text = arena_printf(a, "%s, activations of %.0f images %s", text, c->measured,
                            isnan(c->recycling) ? "of an unknown network"
                                                : arena_printf(a, "in %s", text_time(recycle, c->recycling)));
    if (c->cuts)
        text = arena_printf(a, "%s, partitioning their graph not included", text);
    return arena_printf(a, "%s: %s%s in all", text,
                        isnan(c->evaluating + c->recycling) || c->cuts ? "at least " : "",
                        text_time(all, c->seconds));
}

static void dry_say(const struct spec *s, const struct forecast *f, const struct cost *c, const struct needs *n)
{
    char mem[24];
    say(SAY_NORMAL,
        "dry run: kernels ready after %.1f s; a step of %d images in %d micro-batch%s takes %.0f ms "
        "(%.0f img/s), %s of memory; %s; loss %.3f",
        f->built, s->train.batch, f->micro_batches, f->micro_batches == 1 ? "" : "es", 1e3 * f->step,
        s->train.batch / f->step, text_bytes(mem, (f64)f->memory), dry_times(n->a, c), f->loss);
}

/* Leaves out of *s what is not there, and notes it: what a session can open.
 * Together: rank 0 reads the files. */
static int dry_without(struct spec *s, struct needs *n)
{
    const char **const from[] = { &s->model.init, &s->recycle.from.experts, &s->recycle.from.dense };
    for (int i = 0; i < countof(from); i++)
        if (needs_checkpoint(n, *from[i]))
            *from[i] = "";
    bool data = *s->data.set && !needs_data(n, s);
    return data ? SESSION_TRAIN_DATA | SESSION_EVAL_DATA | SESSION_TRAINS : SESSION_TRAINS;
}

/* Measures with what the session has filled in for `auto`. */
static int dry_measure(struct session *e, const struct spec *given, arena *a, struct forecast *f)
{
    struct spec from;
    f->activations = NAN;
    if (forecast_measure(e, f))
        return -1;
    return forecast_predecessor(a, given, &from) ? recycle_forecast(given, &from, e->d, &f->activations) : 0;
}

int run_dry(const struct spec *given, bool json)
{
    struct session e = { 0 };
    struct forecast f = { 0 };
    struct needs n = { .a = arena_open("what a run needs") };
    struct spec s = *given;
    int what = dry_without(&s, &n), rc = dist_agree(run_check_start(&s));
    rc = dist_broadcast(&what, sizeof what) || rc ? -1 : 0;
    struct images images = what == SESSION_TRAINS ? forecast_images(&s) : (struct images){ 0 };
    dist_timeout(s.dist.timeout);
    rc = rc || shares_measure(&s, n.a) || dist_agree(session_open(&e, &s, what, NULL)) || session_join(&e)
         || dry_measure(&e, given, n.a, &f) ? -1 : 0;
    if (!rc) {
        if (e.train)
            images = (struct images){ data_count(e.train), data_count(e.eval) };
        struct spec whole = e.s;
        whole.recycle.from.experts = given->recycle.from.experts;
        struct cost c = forecast_cost(&whole, &f, images);
        if (dist_size() == 1)
            dry_say_network(&e, f.step);
        if (json)
            rc = json_line(stdout, dry_json(&e.s, &f, &c, &n));
        else
            dry_say(&e.s, &f, &c, &n);
        needs_say(&n);
    }
    if (!rc && !*given->data.set)                 // the run itself would end with it at once
        rc = fail(FAULT_USAGE, "data.set is not given (--set data.set=folder --set data.root=DIR)");
    session_close(&e);
    arena_close(n.a);
    return rc;
}
