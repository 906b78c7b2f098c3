/* page_curves.c: what runs log, and curves of it with seeds as bands. */
#include "study/page_run.h"
#include <jansson.h>
#include <math.h>
#include <stdlib.h>

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
/* These are drawn over hours too. */
static const bool over_hours[COLUMNS] = { [TOP1] = true, [LOSS] = true, [EVAL_LOSS_] = true };

/* Of a place logged twice, before and after a resume, the later line counts. */
static void curve_push(arena *a, struct points *c, f64 x, f64 hours, f64 y)
{
    while (c->n && c->x[c->n - 1] >= x)
        c->n--;
    f64 **column[] = { &c->x, &c->hours, &c->y }, v[] = { x, hours, y };
    size_t cap = 0;
    for (int k = 0; k < countof(column); k++) {
        cap = (size_t)c->cap;
        if (c->n == c->cap)
            *column[k] = arena_grow(a, *column[k], (size_t)c->n, &cap, sizeof **column[k]);
        (*column[k])[c->n] = v[k];
    }
    c->cap = (int)cap;
    c->n++;
}

static void curves_line(arena *a, struct page_run *r, const char *line)
{
    json_t *j = json_loads(line, 0, NULL);
    const char *split = json_string_value(json_object_get(j, "split"));
    f64 step = json_number_value(json_object_get(j, "step")),
        epoch = json_number_value(json_object_get(j, "epoch"));
    const json_t *seconds = json_object_get(j, "run_s");
    f64 hours = json_is_number(seconds) ? json_number_value(seconds) / 3600 : NAN;
    for (int k = 0; k < COLUMNS && split; k++) {
        const json_t *v = json_object_get(j, columns[k].key);
        if (v && !strcmp(split, columns[k].split))         // null is what is not finite: a gap
            curve_push(a, &r->curve[k], *split == 'e' ? epoch : step, hours,
                       json_is_number(v) ? json_number_value(v) : NAN);
    }
    json_decref(j);
}

void curves_read(arena *a, struct page_run *r)
{
    char *line = NULL;
    size_t room = 0;
    FILE *f = fopen(arena_printf(a, "%s/metrics.jsonl", r->dir), "r");
    while (f && getline(&line, &room, f) > 0)
        curves_line(a, r, line);
    free(line);
    if (f)
        fclose(f);
}

/* ---- seeds as bands -------------------------------------------------------------------------------------- */

/* The value at x, or NAN; *from: where to look first, left there for the next x, which is not smaller. */
static f64 curve_value(const struct points *c, f64 x, int *from)
{
    while (*from < c->n && c->x[*from] < x)
        ++*from;
    return *from < c->n && c->x[*from] == x ? c->y[*from] : NAN;
}

/* Mean, least and largest of the curves where all of them have a value, be it of the same epoch or step. */
static void curves_mean(arena *a, const struct points *const *c, int n, struct series *s)
{
    int most = c[0]->n, *at = arena_array(a, int, n);
    f64 **room[] = { &s->x, &s->hours, &s->y, &s->lo, &s->hi };
    for (int i = 0; i < countof(room); i++)
        *room[i] = arena_array(a, f64, most + 1);
    for (int j = 0; j < most; j++) {
        f64 sum = 0, hours = 0, lo = INFINITY, hi = -INFINITY;
        for (int i = 0; i < n; i++) {
            f64 v = curve_value(c[i], c[0]->x[j], &at[i]);
            sum += v;
            hours += at[i] < c[i]->n ? c[i]->hours[at[i]] / n : NAN;
            lo = MIN(lo, v);
            hi = MAX(hi, v);
        }
        if (isnan(sum))
            continue;
        s->x[s->n] = c[0]->x[j], s->hours[s->n] = hours, s->y[s->n] = sum / n, s->lo[s->n] = lo,
            s->hi[s->n++] = hi;
    }
}

/* A group's runs as one line with a band; one run is its own. */
static struct series curves_series(arena *a, struct page_run *r, int n, int group, int k)
{
    const struct points **c = arena_array(a, const struct points *, n);
    const char *name = NULL;
    int members = 0;
    for (int i = 0; i < n; i++)
        if (r[i].group == group) {
            name = name ? name : r[i].name;
            c[members++] = &r[i].curve[k];
        }
    struct series s = { .label = members > 1 ? arena_printf(a, "%s, %d seeds", name, members) : name,
                        .n = members > 1 ? 0 : c[0]->n, .colour = group, .x = c[0]->x, .hours = c[0]->hours,
                        .y = c[0]->y };
    if (members > 1)
        curves_mean(a, c, members, &s);
    for (int i = 0; i < s.n && s.hours; i++)
        s.hours = isnan(s.hours[i]) ? NULL : s.hours;      // of a version that did not log them
    return s;
}

void curves_draw(FILE *f, arena *a, struct page_run *r, int n, int groups, f64 target)
{
    static const int order[] = { TOP1, LOSS, EVAL_LOSS_, LR, GRAD, SPEED, MEMORY };
    fputs("<h2>Curves</h2><input type=\"radio\" name=\"over\" id=\"over-count\" checked>"
          "<label for=\"over-count\">over epochs </label><input type=\"radio\" name=\"over\" "
          "id=\"over-hours\"><label for=\"over-hours\">over hours</label><div class=\"plots\">", f);
    for (int o = 0; o < countof(order); o++) {
        int k = order[o];
        struct plot p = { .title = columns[k].title, .x_label = *columns[k].split == 'e' ? "epoch" : "step",
                          .y_label = columns[k].y, .log_y = columns[k].log,
                          .target = k == TOP1 ? target : 0, .n = groups,
                          .s = arena_array(a, struct series, groups) };
        for (int g = 0; g < groups; g++)
            p.s[g] = curves_series(a, r, n, g, k);
        for (int g = 0; g < groups && !over_hours[k]; g++)
            p.s[g].hours = NULL;
        plot_lines(f, a, &p);
    }
    fputs("</div>", f);
}

int curves_reach(const struct points *c, f64 at)
{
    for (int i = 0; i < c->n; i++)
        if (c->y[i] >= at)
            return i;
    return -1;
}
