/* compare_out.c: a comparison as text and as JSON. */
#include "study/compare.h"
#include "log/files.h"
#include <math.h>

static const char *const kind_words[] = { "start", "input", "forward", "gradient", "after" };

/* ---- text ------------------------------------------------------------------------------------------------ */

struct worst { int n, equal, beyond; const struct compared *most; };

static f64 out_ratio(const struct compared *x) { return x->bound > 0 ? x->error / x->bound : x->error; }

static struct worst out_worst(const struct comparison *c, enum record_kind kind, i64 step)
{
    struct worst w = { 0 };
    for (size_t i = 0; i < c->n; i++) {
        const struct compared *x = &c->list[i];
        if (x->a->kind != kind || (kind == RECORD_AFTER && x->a->step != step))
            continue;
        w.n++;
        w.equal += x->equal;
        w.beyond += x->beyond;
        if (!w.most || out_ratio(x) > out_ratio(w.most))
            w.most = x;
    }
    return w;
}

static void out_line(FILE *f, const char *what, const struct worst *w)
{
    if (!w->n)
        return;
    fprintf(f, "  %-22s %5d %10d %8d", what, w->n, w->equal, w->beyond);
    if (w->most->error > 0)
        fprintf(f, "  %9.2g %9.2g %9.3g  %s", w->most->error, w->most->bound, w->most->ulps,
                strchr(w->most->a->name, '/') + 1);
    fputc('\n', f);
}

static void out_tensors(FILE *f, const struct comparison *c)
{
    fprintf(f, "\n  %-22s %5s %10s %8s  %9s %9s %9s\n", "", "all", "equal bits", "beyond", "error", "bound",
            "ulps");
    static const char *const titles[] = { "initial values", "inputs", "activations", "gradients" };
    for (int k = RECORD_START; k < RECORD_AFTER; k++) {
        struct worst w = out_worst(c, (enum record_kind)k, 0);
        out_line(f, titles[k], &w);
    }
    i64 done = 0;
    for (size_t i = 0; i < c->n; i++) {
        const struct record_tensor *t = c->list[i].a;
        char what[40];
        if (t->kind != RECORD_AFTER || t->step <= done)
            continue;
        struct worst w = out_worst(c, RECORD_AFTER, done = t->step);
        snprintf(what, sizeof what, "weights after %lld", (long long)t->step);
        out_line(f, what, &w);
    }
}

static void out_speed(FILE *f, const struct comparison *c)
{
    const struct record *r[] = { c->a, c->b };
    char mem[24];
    for (int i = 0; i < 2; i++)
        if (r[i]->step_ms > 0) {
            fprintf(f, "  %-16s %9.1f ms/step %9.1f images/s  start %.1f s  %s  %d launches", r[i]->label,
                    r[i]->step_ms, r[i]->img_s, r[i]->start_s, text_bytes(mem, (f64)r[i]->memory),
                    r[i]->launches);
            fprintf(f, r[i]->joules > 0 ? "  %.2f J/step (%s)\n" : "\n", r[i]->joules, r[i]->joules_from);
        }
}

static void out_share(FILE *f, f64 of_peak)
{
    if (of_peak > 0)
        fprintf(f, " %9.0f %%", 100 * of_peak);
    else
        fprintf(f, " %11s", "-");
}

static void out_kernels(FILE *f, const struct comparison *c)
{
    const struct record *a = c->a, *b = c->b;
    if (!a->n_kernels || !b->n_kernels)
        return;
    fprintf(f, "\n  %-16s %12s %12s %8s   share of own peaks\n", "ms by kernel file", a->label, b->label,
            "ratio");
    for (int i = 0; i < a->n_kernels; i++)
        for (int k = 0; k < b->n_kernels; k++)
            if (!strcmp(a->kernels[i].name, b->kernels[k].name)) {
                fprintf(f, "  %-16s %12.3f %12.3f %8.2f", a->kernels[i].name, a->kernels[i].ms,
                        b->kernels[k].ms, b->kernels[k].ms / MAX(a->kernels[i].ms, 1e-9));
                out_share(f, a->kernels[i].of_peak);
                out_share(f, b->kernels[k].of_peak);
                fputc('\n', f);
            }
    for (int i = 0; i < 2; i++)
        if ((i ? b : a)->peak_gflops > 0)
            fprintf(f, "  peaks of %s: %.0f GFLOP/s, %.1f GB/s\n", (i ? b : a)->label, (i ? b : a)->peak_gflops,
                    (i ? b : a)->peak_gb_s);
}

void compare_print(FILE *f, const struct comparison *c)
{
    fprintf(f, "%s%s and %s%s: %s\n", say_bold(1), c->a->label, c->b->label, say_plain(1), c->verdict);
    if (strcmp(c->a->program, c->b->program))
        fprintf(f, "  made by %s and %s\n", c->a->program, c->b->program);
    if (c->a->experiment[0] && c->b->experiment[0] && strcmp(c->a->experiment, c->b->experiment)
        && !c->a->settings[0] && !c->b->settings[0])
        fprintf(f, "  of two different experiments\n");
    if (c->n)
        out_tensors(f, c);
    if (c->seeds)
        fprintf(f, "\n  %s\n", c->seeds);
    if (c->missing)
        fprintf(f, "\n  %zu tensors are in one of the records only\n", c->missing);
    fputc('\n', f);
    out_speed(f, c);
    out_kernels(f, c);
}

/* ---- JSON ------------------------------------------------------------------------------------------------ */

static json_t *out_curve(const f64 *v, int n)
{
    json_t *j = json_array();
    for (int i = 0; i < n; i++)
        json_array_append_new(j, json_number(v[i]));
    return j;
}

static json_t *out_record(const struct record *r)
{
    json_t *j = record_json(r);
    json_object_set_new(j, "seed_loss", out_curve(r->seed_loss, r->n_seeds));
    json_object_set_new(j, "seed_top1", out_curve(r->seed_top1, r->n_seeds));
    json_object_set_new(j, "loss", out_curve(r->loss, r->n_loss));
    json_object_set_new(j, "loss_nudged", out_curve(r->nudged, r->n_nudged));
    json_object_set_new(j, "loss_reseeded", out_curve(r->reseeded, r->n_reseeded));
    return j;
}

static json_t *out_pair(const struct comparison *c)
{
    json_t *tensors = json_array();
    for (size_t i = 0; i < c->n; i++) {
        const struct compared *x = &c->list[i];
        json_array_append_new(tensors, json_pack("{s:o, s:s, s:I, s:o, s:o, s:o, s:b, s:b}", "name",
            json_text(strchr(x->a->name, '/') + 1), "kind", kind_words[x->a->kind], "step",
            (json_int_t)x->a->step,
            "error", json_number(x->error), "bound", json_number(x->bound), "ulps", json_number(x->ulps),
            "equal", (int)x->equal, "beyond", (int)x->beyond));
    }
    return json_pack("{s:o, s:o, s:b, s:o, s:I, s:o, s:i, s:f, s:f, s:o, s:o, s:o, s:o, s:o, s:o}", "a",
                     json_text(c->a->label),
                     "b", json_text(c->b->label), "agree", (int)c->agree, "verdict", json_text(c->verdict),
                     "first_step", (json_int_t)c->first_step, "first_layer",
                     c->first_layer ? json_text(c->first_layer) : json_null(),
                     "equal", c->equal, "worst", isfinite(c->worst) ? c->worst : 1e300, "speed", c->speed,
                     "seeds", c->seeds ? json_text(c->seeds) : json_null(), "mean_gap",
                     json_number(c->mean_gap), "seed_gap", json_number(c->seed_gap), "gap",
                     out_curve(c->gap, c->n_loss),
                     "allowed", out_curve(c->allowed, c->n_loss), "tensors", tensors);
}

int compare_json(FILE *f, const struct record *const *r, int n, const struct comparison *c, int pairs)
{
    json_t *records = json_array(), *all = json_array();
    for (int i = 0; i < n; i++)
        json_array_append_new(records, out_record(r[i]));
    for (int i = 0; i < pairs; i++)
        json_array_append_new(all, out_pair(&c[i]));
    return json_lines(f, json_pack("{s:s, s:o, s:o}", "format", "jetcl comparison 1", "records", records,
                                   "pairs", all), 9);
}
