/* bars.c: bars side by side, and dots with a spread along one axis. */
#include "study/picture.h"
#include <math.h>

enum { NAMES = 150, ROW = 20, THICK = 12, VALUES = FRAME_RIGHT - 50 };

static void row_name(FILE *f, f64 y, const char *name)
{
    fprintf(f, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">", NAMES - 8, y);
    html_printf(f, "%.24s", name);
    fputs("</text>", f);
}

static void row_unit(FILE *f, int y, const char *unit)
{
    fprintf(f, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">", (NAMES + FRAME_RIGHT) / 2, y);
    html_text(f, unit);
    fputs("</text>", f);
}

static void draw_bar(FILE *f, const struct bars *b, const struct axis *x, int group, int k, int y)
{
    char v[32];
    f64 value = b->values[group * b->n_series + k], end = axis_at(x, value, NAMES, VALUES);
    fputs("<rect ", f);
    picture_class(f, "bar", k);
    fprintf(f, " x=\"%d\" y=\"%d\" height=\"%d\" width=\"%.1f\"><title>", NAMES, y, THICK - 1, end - NAMES);
    html_printf(f, "%s, %s: %s %s", b->groups[group], b->series[k], html_number(v, value), b->unit);
    if (value >= 1e-3 && value < 1000)
        snprintf(v, sizeof v, "%.3g", value);
    fprintf(f, "</title></rect><text class=\"small\" x=\"%.1f\" y=\"%d\">%s</text>", end + 4, y + THICK - 2, v);
}

void plot_bars(FILE *f, arena *a, const struct bars *b)
{
    struct axis x = { 0, 0 };
    struct numbers t;
    for (int i = 0; i < b->n_groups * b->n_series; i++)
        axis_extend(&x, b->values[i]);
    if (!b->n_groups || !(x.hi > 0))
        return;
    axis_ticks(&x, 5);
    int group = THICK * b->n_series + 8, height = b->n_groups * group + 24;
    struct series *legend = arena_array(a, struct series, b->n_series);
    picture_begin(f, b->title);
    picture_svg(f, b->title, arena_printf(a, "%d groups of %d bars, in %s", b->n_groups, b->n_series, b->unit),
                "", height);
    numbers_open(&t, b->title);
    numbers_head(&t, "name");
    for (int k = 0; k < b->n_series; k++) {
        numbers_head(&t, b->series[k]);
        legend[k] = (struct series){ .label = b->series[k], .colour = k };
    }
    for (int i = 0; i < b->n_groups; i++) {
        row_name(f, i * group + 4 + group / 2.0, b->groups[i]);
        numbers_row(&t, b->groups[i]);
        for (int k = 0; k < b->n_series; k++) {
            numbers_value(&t, b->values[i * b->n_series + k]);
            if (!isnan(b->values[i * b->n_series + k]))
                draw_bar(f, b, &x, i, k, i * group + 4 + k * THICK);
        }
    }
    row_unit(f, height - 4, b->unit);
    fputs("</svg>", f);
    picture_end(f, &t, legend, b->n_series, NULL);
}

static void draw_scale(FILE *f, const struct axis *x, int rows)
{
    char v[32];
    for (int i = 0; i < x->n; i++) {
        f64 at = axis_at(x, x->ticks[i], NAMES, FRAME_RIGHT - 14);
        fprintf(f, "<g class=\"axes\"><path class=\"grid\" d=\"M%.1f 4V%d\"/><text x=\"%.1f\" y=\"%d\" "
                "text-anchor=\"middle\">%s</text></g>", at, rows * ROW + 6, at, rows * ROW + 20,
                html_number(v, x->ticks[i]));
    }
}

static void draw_dot(FILE *f, const struct dots *d, const struct axis *x, int i)
{
    char v[32];
    f64 y = i * ROW + 14, from = NAMES, to = FRAME_RIGHT - 14, mean = d->mean[i], sd = d->sd[i];
    row_name(f, y + 4, d->labels[i]);
    if (isfinite(sd) && isfinite(mean))
        fprintf(f, "<path class=\"line c0\" d=\"M%.1f %.1fH%.1f\"/>", axis_at(x, mean - sd, from, to), y,
                axis_at(x, mean + sd, from, to));
    if (isfinite(mean))
        fprintf(f, "<circle class=\"dot c0\" cx=\"%.1f\" cy=\"%.1f\" r=\"4\"><title>%s</title></circle>",
                axis_at(x, mean, from, to), y, html_number(v, mean));
    if (isfinite(d->other[i]))
        fprintf(f, "<circle class=\"ring c1\" cx=\"%.1f\" cy=\"%.1f\" r=\"6\"><title>paper %s</title></circle>",
                axis_at(x, d->other[i], from, to), y, html_number(v, d->other[i]));
}

void plot_dots(FILE *f, arena *a, const struct dots *d)
{
    static const char *const columns[] = { "name", "ours", "sd", "paper" };
    struct axis x = { INFINITY, -INFINITY };
    struct numbers t;
    for (int i = 0; i < d->n; i++) {
        f64 sd = isnan(d->sd[i]) ? 0 : d->sd[i];
        axis_extend(&x, d->mean[i] - sd);
        axis_extend(&x, d->mean[i] + sd);
        axis_extend(&x, d->other[i]);
    }
    if (!(x.lo <= x.hi))
        return;
    axis_ticks(&x, 5);
    picture_begin(f, d->title);
    picture_svg(f, d->title, arena_printf(a, "%d rows, in %s; rings are the paper's", d->n, d->unit), "",
                d->n * ROW + 40);
    numbers_open(&t, d->title);
    for (int k = 0; k < countof(columns); k++)
        numbers_head(&t, columns[k]);
    draw_scale(f, &x, d->n);
    for (int i = 0; i < d->n; i++) {
        draw_dot(f, d, &x, i);
        numbers_row(&t, d->labels[i]);
        numbers_value(&t, d->mean[i]);
        numbers_value(&t, d->sd[i]);
        numbers_value(&t, d->other[i]);
    }
    row_unit(f, d->n * ROW + 36, d->unit);
    fputs("</svg>", f);
    picture_end(f, &t, NULL, 0, NULL);
}
