/* page_run.c: runs on the page: verdict, curves with seeds as bands, results, where they come from. */
#include "study/page_run.h"
#include "spec/spec.h"
#include "study/seeds.h"
#include <dirent.h>
#include <math.h>
#include <stdlib.h>

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
    curves_read(a, r);
    const struct points *top1 = &r->curve[TOP1];
    r->top1 = r->done ? r->r.top1 : top1->n ? top1->y[top1->n - 1] : NAN;
    return 0;
}

/* ---- words and tables ---------------------------------------------------------------------------------- */

/* One run: what it reached. */
static void run_verdict(FILE *f, const struct page_run *r)
{
    char time[24];
    const struct points *c = &r->curve[TOP1];
    fputs("<p class=\"verdict\">", f);
    html_text(f, r->label);
    if (r->done && isfinite(r->r.top1))
        html_printf(f, ": top-1 %.2f %% after %d epochs (best %.2f %% after epoch %d) in %s%s%s", r->r.top1,
                    r->r.epochs, r->r.best_top1, r->r.best_epoch, text_time(time, r->r.seconds),
                    *r->device ? " on " : "", r->device);
    else if (c->n)
        html_printf(f, ": not finished; top-1 %.2f %% after epoch %.0f", c->y[c->n - 1], c->x[c->n - 1]);
    else
        html_printf(f, ": not finished; %d reports so far", r->curve[LOSS].n);
    fputs("</p>", f);
}

/* The group's last top-1 by run; how many, and of them how many are not finished. */
static int group_top1(const struct page_run *r, int n, int group, f64 *v, int *open)
{
    int m = 0;
    *open = 0;
    for (int i = 0; i < n; i++)
        if (r[i].group == group) {
            v[m++] = r[i].top1;
            *open += !r[i].done;
        }
    return m;
}

static const char *group_name(const struct page_run *r, int group)
{
    while (r->group != group)
        r++;
    return r->name;
}

static struct seeds group_seeds(arena *a, const struct page_run *r, int n, int group)
{
    int open;
    f64 *v = arena_array(a, f64, n);
    return seeds_of(v, group_top1(r, n, group, v, &open));
}

static void group_verdict(FILE *f, arena *a, const struct page_run *r, int n, int group)
{
    f64 *v = arena_array(a, f64, n);
    int open, m = group_top1(r, n, group, v, &open);
    struct seeds s = seeds_of(v, m);
    fputs("<p class=\"verdict\">", f);
    html_printf(f, "%s, %d seeds: top-1 %.2f", group_name(r, group), m, s.mean);
    if (s.n > 1)
        html_printf(f, " ± %.2f %% (95 %%: %.2f to %.2f)", s.sd, s.mean - s.half, s.mean + s.half);
    if (open)
        html_printf(f, "; %d not finished", open);
    fputs("</p>", f);
}

/* The best group against each other one: by pairs of seeds where both have the same, else by Welch's test. */
static const char *group_test(arena *a, const struct page_run *r, int n, int best, int other)
{
    f64 *x = arena_array(a, f64, n), *y = arena_array(a, f64, n);
    int pairs = 0;
    for (int i = 0; i < n; i++)
        for (int k = 0; k < n; k++)
            if (r[i].group == best && r[k].group == other && r[i].seed == r[k].seed)
                x[pairs] = r[i].top1, y[pairs++] = r[k].top1;
    struct seeds p = group_seeds(a, r, n, best), q = group_seeds(a, r, n, other);
    return pairs > 1 && pairs == p.n && pairs == q.n ? seeds_paired(a, x, y, pairs) : seeds_unpaired(a, &p, &q);
}

static void group_tests(FILE *f, arena *a, const struct page_run *r, int n, int groups)
{
    enum { MOST = 12 };
    int best = 0;
    for (int g = 1; g < groups; g++)
        if (group_seeds(a, r, n, g).mean > group_seeds(a, r, n, best).mean)
            best = g;
    fputs(groups > 1 ? "<ul>" : "", f);
    for (int g = 0; g < groups && groups <= MOST; g++) {
        f64 gap = group_seeds(a, r, n, best).mean - group_seeds(a, r, n, g).mean;
        if (g == best || isnan(gap))
            continue;
        fputs("<li>", f);
        html_printf(f, "%s is %.2f above %s: %s", group_name(r, best), gap, group_name(r, g),
                    group_test(a, r, n, best, g));
    }
    fputs(groups > 1 ? "</ul>" : "", f);
}

static void run_verdicts(FILE *f, arena *a, const struct page_run *r, int n, int groups)
{
    enum { MOST = 6 };
    if (n == groups)
        for (int i = 0; i < n && i < MOST; i++)
            run_verdict(f, &r[i]);
    for (int g = 0; g < groups && g < MOST && n > groups; g++)
        group_verdict(f, a, r, n, g);
    if (groups > MOST)
        fprintf(f, "<p>and %d more, below</p>", groups - MOST);
    group_tests(f, a, r, n, groups);
}

/* When each run reaches the target: the paper's Figure 5 in numbers. */
static void run_target(FILE *f, const struct page_run *r, int n, f64 target)
{
    if (!target)
        return;
    fprintf(f, "<h2>Reaching %.4g %%</h2><div class=\"wide\"><table><tr><th>run<th>seed<th>epochs<th>hours",
            target);
    for (int i = 0; i < n; i++) {
        int at = curves_reach(&r[i].curve[TOP1], target);
        fputs("<tr><td>", f);
        html_text(f, r[i].name);
        fprintf(f, "<td>%lld", r[i].seed);
        if (at < 0)
            fputs("<td>not reached<td>-", f);
        else
            fprintf(f, "<td>%.4g<td>%.3g", r[i].curve[TOP1].x[at], r[i].curve[TOP1].hours[at]);
    }
    fputs("</table></div>\n", f);
}

static void run_table(FILE *f, const struct page_run *r, int n)
{
    char a[24], b[24], c[24], d[24];
    fputs("<h2>Results</h2><div class=\"wide\"><table><tr><th>run<th>seed<th>top-1, %<th>best, %<th>top-5, %"
          "<th>loss<th>epochs<th>images/s<th>time<th>parameters<th>multiply-adds<th>memory", f);
    for (int i = 0; i < n; i++) {
        fputs("<tr><td>", f);
        html_text(f, r[i].name);
        fprintf(f, "<td>%lld", r[i].seed);
        if (!r[i].done) {
            fprintf(f, isfinite(r[i].top1) ? "<td>%.2f" : "<td>-", r[i].top1);
            fputs("<td class=\"words\" colspan=\"9\">not finished", f);
            continue;
        }
        const struct run_result *x = &r[i].r;
        fprintf(f, "<td>%.2f<td>%.2f<td>%.2f<td>%.4f<td>%d<td>%.0f<td>%s<td>%s<td>%s<td>%s", x->top1,
                x->best_top1, x->top5, x->loss, x->epochs, isfinite(x->img_s) ? x->img_s : 0,
                text_time(a, x->seconds), text_count(b, (f64)x->params), text_count(c, x->flops),
                text_bytes(d, (f64)x->memory));
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
    fputs("<h2>Where it comes from</h2>\n", f);
    for (int i = 0; i < n && i < 20; i++) {
        const json_t *line = json_object_get(r[i].env, "command");
        const char *version = json_string_value(json_object_get(r[i].env, "version"));
        const char *git = json_string_value(json_object_get(r[i].env, "git"));
        fputs("<h3>", f);
        html_text(f, r[i].label);
        fputs("</h3><p>", f);
        if (version)
            html_printf(f, "jetcl %s (%s)%s%s. ", version, git ? git : "?", *r[i].device ? " on " : "",
                        r[i].device);
        fputs("To repeat it: ", f);
        fputs("<code>jetcl run ", f);
        html_text(f, r[i].dir);
        fputs(json_array_size(line) ? "/config.yaml</code>; it was made by <code>" : "/config.yaml", f);
        for (size_t k = 0; k < json_array_size(line); k++)
            html_printf(f, "%s%s", k ? " " : "", json_is_string(json_array_get(line, k))
                        ? json_string_value(json_array_get(line, k)) : "?");
        fputs("</code></p>", f);
        run_file(f, a, r[i].dir, "config.yaml");
        run_file(f, a, r[i].dir, "env.json");
    }
}

/* ---- what `jetcl analyse` left ------------------------------------------------------------------------- */

static int page_by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void run_analysis(FILE *f, arena *a, const struct page_run *r)
{
    struct dirent **list = NULL;
    const char *dir = arena_printf(a, "%s/analysis", r->dir);
    int n = scandir(dir, &list, NULL, page_by_name), shown = 0;
    for (int i = 0; i < n; i++) {
        const char *name = list[i]->d_name, *path = arena_printf(a, "%s/%s", dir, name);
        if (!shown && (text_ends(name, ".png") || text_ends(name, ".csv"))) {
            fputs("<h2>Experts and classes: ", f);
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

int page_runs(FILE *f, arena *a, const char *const *dirs, int n, f64 target)
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
    run_verdicts(f, a, r, n, groups);
    curves_draw(f, a, r, n, groups, target);
    run_table(f, r, n);
    run_target(f, r, n, target);
    for (int i = 0; i < n && i < 4; i++)
        run_analysis(f, a, &r[i]);
    run_provenance(f, a, r, n);
    for (int i = 0; i < n; i++)
        json_decref(r[i].env);
    return 0;
}
