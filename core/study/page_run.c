/* page_run.c: runs on the page: verdict, curves with seeds as bands, results, where they come from. */
#include "study/page.h"
#include "log/log.h"
#include "spec/spec.h"
#include <dirent.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>

/* Columns of metrics.jsonl; x is the step, and for evaluations the epoch. */
enum column { LOSS, LR, GRAD, SPEED, MEMORY, EVAL_LOSS_, TOP1, TOP5, COLUMNS };
static const struct { const char *split, *key, *title, *y; bool log; } columns[COLUMNS] = {
    [TOP1] = { "eval", "top1", "Top-1 accuracy", "top-1, %" },
    [EVAL_LOSS_] = { "eval", "loss", "Evaluation loss", "loss" },
    [LOSS] = { "train", "loss", "Training loss", "loss" },
    [LR] = { "train", "lr", "Learning rate", "learning rate" },
    [GRAD] = { "train", "grad_norm", "Norm of the gradient", "norm", true },
    [SPEED] = { "train", "img_s", "Speed", "images/s" },
    [MEMORY] = { "train", "mem", "Device memory", "MiB" },
    [TOP5] = { "eval", "top5", "Top-5 accuracy", "top-5, %" },
};
struct curve { int n, cap; f64 *x, *y; };
struct page_run {
    const char *dir, *name, *label, *device;
    long long seed;
    bool done;
    struct run_result r;
    struct curve curve[COLUMNS];
    int group;
    json_t *env;
};

/* Of a place logged twice, before and after a resume, the later line counts. */
static void curve_push(arena *a, struct curve *c, f64 x, f64 y)
{
    while (c->n && c->x[c->n - 1] >= x)
        c->n--;
    size_t n = (size_t)c->n, cap = (size_t)c->cap, more = cap;
    if (n == cap) {
        c->x = arena_grow(a, c->x, n, &cap, sizeof *c->x);
        c->y = arena_grow(a, c->y, n, &more, sizeof *c->y);
        c->cap = (int)cap;
    }
    c->x[c->n] = x;
    c->y[c->n++] = y;
}

static void run_line(arena *a, struct page_run *r, const char *line)
{
    json_t *j = json_loads(line, 0, NULL);
    const char *split = json_string_value(json_object_get(j, "split"));
    f64 step = json_number_value(json_object_get(j, "step")), epoch = json_number_value(json_object_get(j, "epoch"));
    for (int k = 0; k < COLUMNS && split; k++) {
        const json_t *v = json_object_get(j, columns[k].key);
        if (v && !strcmp(split, columns[k].split))         // null is what is not finite: a gap
            curve_push(a, &r->curve[k], *split == 'e' ? epoch : step, json_is_number(v) ? json_number_value(v) : NAN);
    }
    json_decref(j);
}

static int run_metrics(arena *a, struct page_run *r)
{
    char *line = NULL;
    size_t room = 0;
    FILE *f = fopen(arena_printf(a, "%s/metrics.jsonl", r->dir), "r");
    while (f && getline(&line, &room, f) > 0)
        run_line(a, r, line);
    free(line);
    if (f)
        fclose(f);
    return 0;
}

static int run_load(arena *a, struct page_run *r, const char *dir)
{
    struct spec s;
    const char *config = arena_printf(a, "%s/config.yaml", dir);
    *r = (struct page_run){ .dir = dir, .name = dir, .device = "" };
    if (!file_exists(config))
        return fail(FAULT_DATA, "%s: no run (it has no config.yaml)", dir);
    if (spec_load(&s, a, config, NULL, 0))
        return -1;
    r->name = s.name;
    r->seed = (long long)s.seed;
    r->label = arena_printf(a, "%s, seed %lld", s.name, r->seed);
    int none = result_load(a, dir, &r->r);
    if (none < 0)
        fail_clear();
    r->done = none == 0;
    r->env = json_load_file(arena_printf(a, "%s/env.json", dir), 0, NULL);
    const char *device = json_string_value(json_object_get(json_object_get(r->env, "device"), "name"));
    r->device = device ? arena_printf(a, "%s", device) : "";
    return run_metrics(a, r);
}

/* ---- curves ------------------------------------------------------------------------------------------------ */

/* The value at x, or NAN; *from: where to look first, left there for the next x, which is not smaller. */
static f64 curve_value(const struct curve *c, f64 x, int *from)
{
    while (*from < c->n && c->x[*from] < x)
        ++*from;
    return *from < c->n && c->x[*from] == x ? c->y[*from] : NAN;
}

/* Mean, least and largest of the curves where all of them have a value, be it of the same epoch or step. */
static void curves_mean(arena *a, const struct curve *const *c, int n, struct series *s)
{
    int most = c[0]->n, *at = arena_array(a, int, n);
    f64 **room[] = { &s->x, &s->y, &s->lo, &s->hi };
    for (int i = 0; i < countof(room); i++)
        *room[i] = arena_array(a, f64, most + 1);
    for (int j = 0; j < most; j++) {
        f64 sum = 0, lo = INFINITY, hi = -INFINITY;
        for (int i = 0; i < n; i++) {
            f64 v = curve_value(c[i], c[0]->x[j], &at[i]);
            sum += v;
            lo = MIN(lo, v);
            hi = MAX(hi, v);
        }
        if (isnan(sum))
            continue;
        s->x[s->n] = c[0]->x[j], s->y[s->n] = sum / n, s->lo[s->n] = lo, s->hi[s->n++] = hi;
    }
}

/* A group's runs as one line with a band; one run is its own. */
static struct series run_series(arena *a, struct page_run *r, int n, int group, int k)
{
    const struct curve **c = arena_array(a, const struct curve *, n);
    const char *name = NULL;
    int members = 0;
    for (int i = 0; i < n; i++)
        if (r[i].group == group) {
            name = name ? name : r[i].name;
            c[members++] = &r[i].curve[k];
        }
    struct series s = { .label = members > 1 ? arena_printf(a, "%s, %d seeds", name, members) : name,
                        .n = members > 1 ? 0 : c[0]->n, .colour = group, .x = c[0]->x, .y = c[0]->y };
    if (members > 1)
        curves_mean(a, c, members, &s);
    return s;
}

static void run_curves(FILE *f, arena *a, struct page_run *r, int n, int groups)
{
    static const int order[] = { TOP1, LOSS, EVAL_LOSS_, LR, GRAD, SPEED, MEMORY };
    fputs("<div class=\"plots\">", f);
    for (int o = 0; o < countof(order); o++) {
        int k = order[o];
        struct plot p = { .title = columns[k].title, .x_label = *columns[k].split == 'e' ? "epoch" : "step",
                          .y_label = columns[k].y, .log_y = columns[k].log,
                          .n = groups, .s = arena_array(a, struct series, groups) };
        for (int g = 0; g < groups; g++)
            p.s[g] = run_series(a, r, n, g, k);
        plot_lines(f, a, &p);
    }
    fputs("</div>", f);
}

/* ---- words and tables -------------------------------------------------------------------------------------- */

static void run_verdict(FILE *f, const struct page_run *r)
{
    char time[24];
    const struct curve *c = &r->curve[TOP1];
    fputs("<p class=\"verdict\">", f);
    html_text(f, r->label);
    if (r->done && isfinite(r->r.top1))
        html_printf(f, ": top-1 %.2f %% after %d epochs (best %.2f %% after epoch %d) in %s%s%s", r->r.top1, r->r.epochs,
                    r->r.best_top1, r->r.best_epoch, text_time(time, r->r.seconds), *r->device ? " on " : "", r->device);
    else if (c->n)
        html_printf(f, ": not finished; top-1 %.2f %% after epoch %.0f", c->y[c->n - 1], c->x[c->n - 1]);
    else
        html_printf(f, ": not finished; %d reports so far", r->curve[LOSS].n);
    fputs("</p>", f);
}

static void run_table(FILE *f, const struct page_run *r, int n)
{
    char a[24], b[24], c[24], d[24];
    fputs("<h2 id=\"results\">Results</h2><div class=\"wide\"><table><tr><th>run<th>seed<th>top-1, %<th>best, %<th>top-5, %"
          "<th>loss<th>epochs<th>images/s<th>time<th>parameters<th>multiply-adds<th>memory", f);
    for (int i = 0; i < n; i++) {
        fputs("<tr><td>", f);
        html_text(f, r[i].name);
        fprintf(f, "<td>%lld", r[i].seed);
        if (!r[i].done) {
            fputs("<td colspan=\"10\">not finished", f);
            continue;
        }
        const struct run_result *x = &r[i].r;
        fprintf(f, "<td>%.2f<td>%.2f<td>%.2f<td>%.4f<td>%d<td>%.0f<td>%s<td>%s<td>%s<td>%s", x->top1, x->best_top1, x->top5,
                x->loss, x->epochs, isfinite(x->img_s) ? x->img_s : 0, text_time(a, x->seconds), text_count(b, (f64)x->params),
                text_count(c, x->flops), text_bytes(d, (f64)x->memory));
    }
    fputs("</table></div>\n", f);
}

static void run_file(FILE *f, arena *a, const char *dir, const char *name)
{
    size_t n;
    char *text = file_text(a, arena_printf(a, "%s/%s", dir, name), &n);
    if (!text) {
        fail_clear();
        return;
    }
    fputs("<details><summary>", f);
    html_text(f, name);
    fputs("</summary><pre>", f);
    html_text(f, text);
    fputs("</pre></details>", f);
}

static void run_provenance(FILE *f, arena *a, const struct page_run *r, int n)
{
    fputs("<h2 id=\"provenance\">Where it comes from</h2>\n", f);
    for (int i = 0; i < n && i < 20; i++) {
        const json_t *line = json_object_get(r[i].env, "command");
        const char *version = json_string_value(json_object_get(r[i].env, "version"));
        const char *git = json_string_value(json_object_get(r[i].env, "git"));
        fputs("<h3>", f);
        html_text(f, r[i].label);
        fputs("</h3><p>", f);
        html_printf(f, "jetcl %s (%s)%s%s. To repeat it: ", version ? version : "?", git ? git : "?",
                    *r[i].device ? " on " : "", r[i].device);
        fputs("<code>jetcl run ", f);
        html_text(f, r[i].dir);
        fputs("/config.yaml</code>; it was made by <code>", f);
        for (size_t k = 0; k < json_array_size(line); k++)
            html_printf(f, "%s%s", k ? " " : "", json_is_string(json_array_get(line, k))
                        ? json_string_value(json_array_get(line, k)) : "?");
        fputs("</code></p>", f);
        run_file(f, a, r[i].dir, "config.yaml");
        run_file(f, a, r[i].dir, "env.json");
    }
}

/* ---- what `jetcl analyse` left ------------------------------------------------------------------------------- */

static int by_name(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }

static void run_analysis(FILE *f, arena *a, const struct page_run *r)
{
    struct dirent **list = NULL;
    const char *dir = arena_printf(a, "%s/analysis", r->dir);
    int n = scandir(dir, &list, NULL, by_name), shown = 0;
    for (int i = 0; i < n; i++) {
        const char *name = list[i]->d_name, *path = arena_printf(a, "%s/%s", dir, name);
        if (!shown && (text_ends(name, ".png") || text_ends(name, ".csv"))) {
            fputs("<h2 id=\"experts\">Experts and classes: ", f);
            html_text(f, r->label);
            fputs("</h2><div class=\"maps\">", f);
        }
        size_t size;
        char *text = text_ends(name, ".csv") ? file_text(a, path, &size) : NULL;
        if (text_ends(name, ".png") && shown < 16)
            html_png(f, path, name), shown++;
        if (text && size < 1u << 20)
            html_download(f, name, "text/csv", text, size), shown++;
        fail_clear();
        free(list[i]);
    }
    free(list);
    fputs(shown ? "</div>" : "", f);
}

int page_runs(FILE *f, arena *a, const char *const *dirs, int n)
{
    struct page_run *r = arena_array(a, struct page_run, n + 1);
    int groups = 0;
    for (int i = 0; i < n; i++) {
        if (run_load(a, &r[i], dirs[i]))
            return -1;
        r[i].group = -1;
        for (int k = 0; k < i && r[i].group < 0; k++)
            if (!strcmp(r[k].name, r[i].name) && r[k].seed != r[i].seed)
                r[i].group = r[k].group;
        if (r[i].group < 0)
            r[i].group = groups++;
    }
    for (int i = 0; i < n && i < 5; i++)
        run_verdict(f, &r[i]);
    run_curves(f, a, r, n, groups);
    run_table(f, r, n);
    for (int i = 0; i < n && i < 4; i++)
        run_analysis(f, a, &r[i]);
    run_provenance(f, a, r, n);
    for (int i = 0; i < n; i++)
        json_decref(r[i].env);
    return 0;
}
