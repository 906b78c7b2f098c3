/* curves.c: how soon runs reach an accuracy: the paper's Figure 5, from what every run logs. */
#include "study/analyse.h"
#include "log/files.h"
#include <math.h>

static f64 curve_real(const json_t *j, const char *name)
{
    const json_t *v = json_object_get(j, name);
    return json_is_number(v) ? json_number_value(v) : NAN;
}

static void curve_add(struct curve *c, size_t cap, f64 epoch, f64 hours, f64 top1)
{
    while (c->n && c->epoch[c->n - 1] >= epoch)           // logged twice: the later line counts
        c->n--;
    if ((size_t)c->n == cap)
        return;
    c->epoch[c->n] = epoch;
    c->hours[c->n] = hours;
    c->top1[c->n++] = top1;
}

int curve_read(struct curve *c, arena *a, const char *dir)
{
    const char *path = arena_printf(a, "%s/metrics.jsonl", dir);
    char *text = file_text(a, path, NULL), *save = NULL;
    size_t lines = 1;
    if (!text)
        return -1;
    for (const char *p = text; *p; p++)
        lines += *p == '\n';
    *c = (struct curve){ .run = dir, .epoch = arena_array(a, f64, lines), .hours = arena_array(a, f64, lines),
                         .top1 = arena_array(a, f64, lines), .best = NAN };
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        json_t *j = json_loads(line, 0, NULL);
        const char *split = json_string_value(json_object_get(j, "split"));
        if (split && !strcmp(split, "eval"))
            curve_add(c, lines, curve_real(j, "epoch"), curve_real(j, "run_s") / 3600, curve_real(j, "top1"));
        json_decref(j);
    }
    for (int i = 0; i < c->n; i++)
        c->best = c->top1[i] > c->best || isnan(c->best) ? c->top1[i] : c->best;
    return c->n ? 0 : fail(FAULT_DATA, "%s: no evaluation was logged there", path);
}

int curve_reaches(const struct curve *c, f64 at)
{
    for (int i = 0; i < c->n; i++)
        if (c->top1[i] >= at)
            return i;
    return -1;
}

/* ---- writing ------------------------------------------------------------------------------------------- */

static json_t *curves_json(const struct curve *c, const f64 *at, int n_at)
{
    json_t *points = json_array(), *reached = json_array();
    for (int i = 0; i < c->n; i++)
        json_array_append_new(points, json_pack("{s:o, s:o, s:o}", "epoch", json_number(c->epoch[i]), "hours",
                                                json_number(c->hours[i]), "top1", json_number(c->top1[i])));
    for (int i = 0; i < n_at; i++) {
        int k = curve_reaches(c, at[i]);
        json_array_append_new(reached, json_pack("{s:o, s:o, s:o}", "top1", json_number(at[i]), "epochs",
                                                 json_number(k < 0 ? NAN : c->epoch[k]), "hours",
                                                 json_number(k < 0 ? NAN : c->hours[k])));
    }
    return json_pack("{s:o, s:o, s:o, s:o}", "run", json_text(c->run), "best", json_number(c->best),
                     "reached", reached, "points", points);
}

static int curves_csv(const struct curve *c, int n, const char *path)
{
    struct file_out o;
    if (file_begin(&o, path))
        return -1;
    fprintf(o.f, "run,epoch,hours,top1\n");
    for (int i = 0; i < n; i++)
        for (int k = 0; k < c[i].n; k++) {
            csv_text(o.f, c[i].run);
            fprintf(o.f, ",%.9g,%.9g,%.9g\n", c[i].epoch[k], c[i].hours[k], c[i].top1[k]);
        }
    return file_commit(&o);
}

static int curves_chart(const struct curve *c, int n, bool hours, const char *path, arena *a)
{
    struct chart_series *s = arena_array(a, struct chart_series, n);
    for (int i = 0; i < n; i++) {
        const char *slash = strrchr(c[i].run, '/');                  // legends are narrow
        s[i] = (struct chart_series){ slash && slash[1] ? slash + 1 : c[i].run, c[i].n,
                                      hours ? c[i].hours : c[i].epoch, c[i].top1 };
    }
    return chart_lines(path, "Convergence", hours ? "hours" : "epoch", "top-1, %", s, n);
}

static void curves_print(const struct curve *c, int n, const f64 *at, int n_at)
{
    printf("%-40s %7s", "run", "best");
    for (int k = 0; k < n_at; k++)
        printf("   %6.2f %%: epochs, hours", at[k]);
    putchar('\n');
    for (int i = 0; i < n; i++) {
        printf("%-40s %7.2f", c[i].run, c[i].best);
        for (int k = 0; k < n_at; k++) {
            int r = curve_reaches(&c[i], at[k]);
            r < 0 ? printf("   %24s", "-") : printf("   %16.4g %7.3f", c[i].epoch[r], c[i].hours[r]);
        }
        putchar('\n');
    }
}

int curves_save(const struct curve *c, int n, const f64 *at, int n_at, const char *dir, bool print)
{
    arena *a = arena_open("convergence");
    json_t *runs = json_array();
    for (int i = 0; i < n; i++)
        json_array_append_new(runs, curves_json(&c[i], at, n_at));
    json_t *all = json_pack("{s:o}", "runs", runs);
    int rc = file_mkdirs(dir) || json_save(arena_printf(a, "%s/convergence.json", dir), all)
             || curves_csv(c, n, arena_printf(a, "%s/convergence.csv", dir))
             || curves_chart(c, n, false, arena_printf(a, "%s/convergence.svg", dir), a)
             || curves_chart(c, n, true, arena_printf(a, "%s/convergence-hours.svg", dir), a) ? -1 : 0;
    if (!rc && print)
        curves_print(c, n, at, n_at);
    arena_close(a);
    return rc;
}
