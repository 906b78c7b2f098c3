/* plot.c: lines with bands, over epochs or steps and, where they are known, over hours. Of long lines the least
 * and the largest value of each column of pixels are drawn, so that no peak is lost. */
#include "study/picture.h"
#include <math.h>

/* Points of all lines of a picture; cells of its table and of its CSV. A hundred runs of 300 epochs make a page
 * of a few megabytes with these. */
enum { MOST_POINTS = 10000, MOST_CELLS = 3000, MOST_CSV = 32000 };

/* What a picture is drawn against: the axes, and how many pixels make a column. */
struct view { struct axis x, y; bool hours; f64 column; };

static f64 view_x(const struct view *v, const struct series *s, int i)
{
    return axis_at(&v->x, v->hours ? s->hours[i] : s->x[i], FRAME_LEFT, FRAME_RIGHT);
}

static f64 view_y(const struct view *v, f64 y) { return axis_at(&v->y, y, FRAME_FOOT, FRAME_TOP); }

/* Points [i, result) lie in one column; NaN is the least and the largest there is, so that gaps stay. */
static int view_column(const struct view *v, const struct series *s, const f64 *low, const f64 *high, int i,
                       int *least, int *most)
{
    f64 column = floor(view_x(v, s, i) / v->column);
    *least = *most = i;
    for (; i < s->n && floor(view_x(v, s, i) / v->column) == column; i++) {
        if (!(low[i] >= low[*least]))
            *least = i;
        if (!(high[i] <= high[*most]))
            *most = i;
    }
    return i;
}

/* Zero lies at the bottom of a log axis. */
static void draw_line(FILE *f, const struct view *v, const struct series *s)
{
    bool pen = false;
    fputs("<path ", f);
    picture_class(f, "line", s->colour);
    fputs(" d=\"", f);
    for (int i = 0, least, most; i < s->n;) {
        int end = view_column(v, s, s->y, s->y, i, &least, &most),
        list[4] = { i, MIN(least, most), MAX(least, most), end - 1 };
        for (int k = 0; k < 4; k++) {
            int at = list[k];
            if (k && at == list[k - 1])
                continue;
            if (isfinite(s->y[at]))
                fprintf(f, "%c%.1f %.1f", pen ? 'L' : 'M', view_x(v, s, at), view_y(v, s->y[at]));
            pen = isfinite(s->y[at]);
        }
        i = end;
    }
    fputs("\"><title>", f);
    html_text(f, s->label);
    fputs("</title></path>", f);
    if (s->n == 1 && isfinite(s->y[0]))
        fprintf(f, "<circle class=\"dot c%d\" r=\"3\" cx=\"%.1f\" cy=\"%.1f\"/>", s->colour % 7,
                view_x(v, s, 0), view_y(v, s->y[0]));
}

static void draw_band(FILE *f, arena *a, const struct view *v, const struct series *s)
{
    f64 *low = arena_array(a, f64, s->n + 1), *at = arena_array(a, f64, s->n + 1);
    int n = 0;
    if (!s->lo || s->n < 2)
        return;
    fputs("<path ", f);
    picture_class(f, "band", s->colour);
    fputs(" d=\"", f);
    for (int i = 0, least, most; i < s->n;) {
        at[n] = view_x(v, s, i);
        i = view_column(v, s, s->lo, s->hi, i, &least, &most);
        low[n] = s->lo[least];
        fprintf(f, "%c%.1f %.1f", n ? 'L' : 'M', at[n], view_y(v, s->hi[most]));
        n++;
    }
    while (n--)
        fprintf(f, "L%.1f %.1f", at[n], view_y(v, low[n]));
    fputs("Z\"/>", f);
}

static void draw_target(FILE *f, const struct view *v, f64 target)
{
    if (!target)
        return;
    fprintf(f, "<path class=\"target\" d=\"M%d %.1fH%d\"/><text class=\"small\" x=\"%d\" y=\"%.1f\" "
            "text-anchor=\"end\">target %.4g</text>", FRAME_LEFT, view_y(v, target), FRAME_RIGHT, FRAME_RIGHT,
            view_y(v, target) - 4, target);
}

static void plot_view(FILE *f, arena *a, const struct plot *p, const struct axis *y, bool hours,
                      const char *class)
{
    struct view v = { .x = { INFINITY, -INFINITY }, .y = *y, .hours = hours };
    const char *x_label = hours ? "hours" : p->x_label;
    v.column = MAX(1, 2.0 * (FRAME_RIGHT - FRAME_LEFT) * p->n / MOST_POINTS);
    for (int i = 0; i < p->n; i++)
        for (int k = 0; k < p->s[i].n; k++)
            axis_extend(&v.x, hours ? p->s[i].hours[k] : p->s[i].x[k]);
    axis_ticks(&v.x, 6);
    picture_svg(f, p->title, arena_printf(a, "%s over %s, %d lines", p->y_label, x_label, p->n), class,
                FRAME_HEIGHT);
    picture_axes(f, &v.x, &v.y, x_label, p->y_label);
    for (int i = 0; i < p->n; i++)
        draw_band(f, a, &v, &p->s[i]);
    draw_target(f, &v, p->target);
    for (int i = 0; i < p->n; i++)
        draw_line(f, &v, &p->s[i]);
    fputs("</svg>", f);
}

/* ---- numbers --------------------------------------------------------------------------------------------- */

/* The least x of all series' next points, and how many rows there are up to the end. */
static bool rows_next(const struct plot *p, const int *at, f64 *x)
{
    *x = INFINITY;
    for (int i = 0; i < p->n; i++)
        if (at[i] < p->s[i].n)
            *x = MIN(*x, p->s[i].x[at[i]]);
    return *x < INFINITY;
}

static int rows_count(const struct plot *p, int *at)
{
    f64 x;
    int n = 0;
    for (; rows_next(p, at, &x); n++)
        for (int i = 0; i < p->n; i++)
            at[i] += at[i] < p->s[i].n && p->s[i].x[at[i]] == x;
    memset(at, 0, sizeof *at * (size_t)p->n);
    return n;
}

static void numbers_of_series(struct numbers *t, const struct series *s, int at, f64 x, bool hours)
{
    bool has = at < s->n && s->x[at] == x;
    numbers_value(t, has ? s->y[at] : NAN);
    if (s->lo) {
        numbers_value(t, has ? s->lo[at] : NAN);
        numbers_value(t, has ? s->hi[at] : NAN);
    }
    if (s->hours && hours)
        numbers_value(t, has ? s->hours[at] : NAN);
}

static int numbers_wide(const struct plot *p, bool hours)
{
    int n = 1;
    for (int i = 0; i < p->n; i++)
        n += 1 + 2 * (p->s[i].lo != NULL) + (hours && p->s[i].hours);
    return n;
}

static void numbers_heads(struct numbers *t, arena *a, const struct plot *p, bool hours)
{
    numbers_head(t, p->x_label);
    for (int i = 0; i < p->n; i++) {
        const struct series *s = &p->s[i];
        const char *further[] = { s->lo ? "least" : NULL, s->lo ? "largest" : NULL,
                                  hours && s->hours ? "hours" : NULL };
        numbers_head(t, s->label);
        for (int k = 0; k < countof(further); k++)
            if (further[k])
                numbers_head(t, arena_printf(a, "%s: %s", s->label, further[k]));
    }
}

/* A row for each epoch or step, a column for each line, hours beside them where there is room; every k-th row
 * where they are many, and always the last. */
static const char *plot_numbers(struct numbers *t, arena *a, const struct plot *p)
{
    int *at = arena_array(a, int, p->n + 1), rows = rows_count(p, at);
    bool hours = (i64)rows * numbers_wide(p, true) <= MOST_CSV;
    i64 cells = (i64)rows * numbers_wide(p, hours);
    int csv = MAX(1, (int)((cells + MOST_CSV - 1) / MOST_CSV)),
        html = csv * MAX(1, (int)(cells / csv / MOST_CELLS));
    FILE *shown = t->html, *hidden = fopen("/dev/null", "w");
    f64 x;
    numbers_heads(t, a, p, hours);
    for (int row = 0; rows_next(p, at, &x); row++) {
        bool last = row == rows - 1, told = row % csv == 0 || last;
        t->html = hidden && row % html && !last ? hidden : shown;
        if (told)
            numbers_row(t, arena_printf(a, "%.9g", x));
        for (int i = 0; i < p->n; i++) {
            if (told)
                numbers_of_series(t, &p->s[i], at[i], x, hours);
            at[i] += at[i] < p->s[i].n && p->s[i].x[at[i]] == x;
        }
    }
    t->html = shown;
    if (hidden)
        fclose(hidden);
    return csv > 1 ? arena_printf(a, "Every %d-th of %d rows, in the CSV every %d-th; metrics.csv of each run "
                                     "has all.", html, rows, csv)
           : html > 1 ? arena_printf(a, "Every %d-th of %d rows; the CSV has all.", html, rows) : NULL;
}

void plot_lines(FILE *f, arena *a, const struct plot *p)
{
    struct axis y = { INFINITY, -INFINITY, .log = p->log_y };
    struct numbers t;
    bool hours = p->n > 0;
    for (int i = 0; i < p->n; i++) {
        const struct series *s = &p->s[i];
        hours &= s->hours != NULL;
        for (int k = 0; k < s->n; k++) {
            axis_extend(&y, s->y[k]);
            if (s->lo)
                axis_extend(&y, s->lo[k]), axis_extend(&y, s->hi[k]);
        }
    }
    if (!(y.lo <= y.hi))
        return;
    if (p->target)
        axis_extend(&y, p->target);
    axis_ticks(&y, 5);
    picture_begin(f, p->title);
    plot_view(f, a, p, &y, false, hours ? "by-count" : "");
    if (hours)
        plot_view(f, a, p, &y, true, "by-hours");
    numbers_open(&t, p->title);
    const char *note = plot_numbers(&t, a, p);
    picture_end(f, &t, p->s, p->n, note);
}
