/* plot.c: pictures as SVG inside the page, each with its numbers as a table and as CSV. */
#include "study/page.h"
#include <math.h>
#include <stdlib.h>

enum { WIDTH = 520, HEIGHT = 290, LEFT = 66, RIGHT = 12, TOP = 12, BOTTOM = 42, COLOURS = 7, MOST_ROWS = 400 };

/* ---- axes ------------------------------------------------------------------------------------------------ */

struct axis { f64 lo, hi; bool log; f64 ticks[16]; int n; };

/* About `want` round numbers over [lo, hi]; powers of ten on a log axis. */
static void axis_ticks(struct axis *x, int want)
{
    if (!(x->hi - x->lo > 1e-9 * MAX(fabs(x->lo), fabs(x->hi))))
        x->hi = x->lo + (x->lo ? fabs(x->lo) * 0.1 : 1);
    if (x->log) {
        x->lo = floor(log10(x->lo) + 1e-9);
        x->hi = MAX(x->lo + 1, ceil(log10(x->hi) - 1e-9));
        int step = MAX(1, (int)ceil((x->hi - x->lo) / want));
        for (f64 e = x->lo; e <= x->hi && x->n < 16; e += step)
            x->ticks[x->n++] = e;
        return;
    }
    f64 raw = (x->hi - x->lo) / want, power = pow(10, floor(log10(raw))), ratio = raw / power;
    f64 step = power * (ratio <= 1 ? 1 : ratio <= 2 ? 2 : ratio <= 5 ? 5 : 10);
    x->lo = floor(x->lo / step + 1e-9) * step;
    x->hi = ceil(x->hi / step - 1e-9) * step;
    for (int i = 0; i < 16 && x->lo + i * step <= x->hi + step / 2; i++)
        x->ticks[x->n++] = fabs(x->lo + i * step) < step * 1e-9 ? 0 : x->lo + i * step;
}

static f64 axis_at(const struct axis *x, f64 v, f64 from, f64 to)
{
    f64 t = x->log ? (v > 0 ? log10(v) : x->lo) : v;
    return from + (MIN(MAX(t, x->lo), x->hi) - x->lo) / (x->hi - x->lo) * (to - from);
}

static void axis_label(FILE *f, const struct axis *x, f64 v)
{
    if (x->log)
        fprintf(f, "10<tspan dy=\"-5\" font-size=\"9\">%.0f</tspan>", v);
    else
        fprintf(f, "%.6g", v);
}

static void draw_axes(FILE *f, const struct axis *x, const struct axis *y, const char *x_label, const char *y_label)
{
    fputs("<g class=\"axes\">", f);
    for (int i = 0; i < y->n; i++) {
        f64 at = HEIGHT - BOTTOM - (y->ticks[i] - y->lo) / (y->hi - y->lo) * (HEIGHT - BOTTOM - TOP);
        fprintf(f, "<path class=\"grid\" d=\"M%d %.1fH%d\"/><text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">", LEFT, at,
                WIDTH - RIGHT, LEFT - 6, at + 4);
        axis_label(f, y, y->ticks[i]);
        fputs("</text>", f);
    }
    for (int i = 0; i < x->n; i++) {
        f64 at = LEFT + (x->ticks[i] - x->lo) / (x->hi - x->lo) * (WIDTH - RIGHT - LEFT);
        fprintf(f, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"%s\">", at, HEIGHT - BOTTOM + 16,
                at > WIDTH - RIGHT - 12 ? "end" : "middle");
        axis_label(f, x, x->ticks[i]);
        fputs("</text>", f);
    }
    fprintf(f, "<path d=\"M%d %dH%d\"/><text x=\"%d\" y=\"%d\" text-anchor=\"middle\">", LEFT, HEIGHT - BOTTOM,
            WIDTH - RIGHT, (LEFT + WIDTH) / 2, HEIGHT - 8);
    html_text(f, x_label);
    fprintf(f, "</text><text transform=\"translate(11 %d) rotate(-90)\" text-anchor=\"middle\">", (HEIGHT - BOTTOM) / 2);
    html_text(f, y_label);
    fputs("</text></g>", f);
}

static void begin_picture(FILE *f, const char *title, const char *sentence, int height)
{
    fputs("<figure><figcaption>", f);
    html_text(f, title);
    fprintf(f, "</figcaption><svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"", WIDTH, height);
    html_text(f, title);
    fputs(": ", f);
    html_text(f, sentence);
    fputs("\">", f);
}

/* ---- numbers below a picture ------------------------------------------------------------------------------ */

struct text { FILE *f; char *p; size_t n; };

static struct text *text_open(struct text *t)
{
    *t = (struct text){ 0 };
    t->f = open_memstream(&t->p, &t->n);
    check(t->f, "open_memstream failed");
    return t;
}

static void draw_legend(FILE *f, const struct series *s, int n)
{
    fputs("<div class=\"legend\">", f);
    for (int i = 0; i < n && i < 40 && n > 1; i++) {
        fprintf(f, "<span><svg viewBox=\"0 0 26 8\" width=\"26\" height=\"8\" aria-hidden=\"true\">"
                "<path class=\"line c%d\" d=\"M1 4H25\"/></svg> ", s[i].colour % COLOURS);
        html_text(f, s[i].label);
        fputs("</span>", f);
    }
    fputs("</div>", f);
}

/* A name in the page's CSV, which people open in a spreadsheet by a click: what it would compute, text that begins with
 * = + - @ and is not a number, comes after a '. */
static void csv_name(FILE *f, const char *s)
{
    char *end;
    bool formula = *s && strchr("=+-@\t\r", *s) && (strtod(s, &end), end == s || *end);
    arena *a = arena_open("name");
    csv_text(f, formula ? arena_printf(a, "'%s", s) : s);
    arena_close(a);
}

/* csv: a header line and rows; table: the same as HTML. Both are closed. */
static void end_picture(FILE *f, const struct series *s, int n, struct text *csv, struct text *table)
{
    fclose(csv->f);
    fclose(table->f);
    fputs("</svg>", f);
    draw_legend(f, s, n);
    fputs("<details><summary>numbers</summary>", f);
    html_download(f, "numbers.csv", "text/csv", csv->p, csv->n);
    fputs("<div class=\"wide\">", f);
    fputs(table->p, f);
    fputs("</div></details></figure>\n", f);
    free(csv->p);
    free(table->p);
}

/* ---- lines ------------------------------------------------------------------------------------------------ */

static void extend(struct axis *x, f64 v)
{
    if (!isfinite(v) || (x->log && v <= 0))
        return;
    x->lo = MIN(x->lo, v);
    x->hi = MAX(x->hi, v);
}

/* Zero lies at the bottom of a log axis. Of the points in one column of pixels the first, the least, the largest and the last, in their order. */
static void draw_line(FILE *f, const struct series *s, const struct axis *x, const struct axis *y)
{
    bool pen = false;
    fprintf(f, "<path class=\"line c%d\" d=\"", s->colour % COLOURS);
    for (int i = 0; i < s->n;) {
        int end = i, least = i, most = i;
        f64 column = floor(axis_at(x, s->x[i], LEFT, WIDTH - RIGHT));
        while (end < s->n && floor(axis_at(x, s->x[end], LEFT, WIDTH - RIGHT)) == column) {
            if (!(s->y[end] >= s->y[least])) least = end;
            if (!(s->y[end] <= s->y[most]))  most = end;
            end++;
        }
        int list[4] = { i, MIN(least, most), MAX(least, most), end - 1 };
        for (int k = 0, last = -1; k < 4; k++) {
            int at = list[k];
            if (at == last)
                continue;
            last = at;
            if (!isfinite(s->y[at])) {
                pen = false;
                continue;
            }
            fprintf(f, "%c%.1f %.1f", pen ? 'L' : 'M', axis_at(x, s->x[at], LEFT, WIDTH - RIGHT),
                    axis_at(y, s->y[at], HEIGHT - BOTTOM, TOP));
            pen = true;
        }
        i = end;
    }
    fputs("\"><title>", f);
    html_text(f, s->label);
    fputs("</title></path>", f);
    if (s->n == 1 && isfinite(s->y[0]))
        fprintf(f, "<circle class=\"dot c%d\" r=\"3\" cx=\"%.1f\" cy=\"%.1f\"/>", s->colour % COLOURS,
                axis_at(x, s->x[0], LEFT, WIDTH - RIGHT), axis_at(y, s->y[0], HEIGHT - BOTTOM, TOP));
}

static void draw_band(FILE *f, const struct series *s, const struct axis *x, const struct axis *y)
{
    if (!s->lo || s->n < 2)
        return;
    fprintf(f, "<path class=\"band c%d\" d=\"", s->colour % COLOURS);
    for (int i = 0; i < s->n; i++)
        fprintf(f, "%c%.1f %.1f", i ? 'L' : 'M', axis_at(x, s->x[i], LEFT, WIDTH - RIGHT),
                axis_at(y, s->hi[i], HEIGHT - BOTTOM, TOP));
    for (int i = s->n - 1; i >= 0; i--)
        fprintf(f, "L%.1f %.1f", axis_at(x, s->x[i], LEFT, WIDTH - RIGHT), axis_at(y, s->lo[i], HEIGHT - BOTTOM, TOP));
    fputs("Z\"/>", f);
}

static void line_numbers(const struct plot *p, FILE *csv, FILE *table)
{
    char v[32], w[32];
    int rows = 0, all = 0;
    for (int i = 0; i < p->n; i++)
        all += p->s[i].n;
    int step = MAX(1, all / MOST_ROWS);
    fprintf(csv, "series,%s,%s\n", p->x_label, p->y_label);
    fputs("<table><tr><th>", table);
    fputs("<th>", table);
    html_text(table, p->x_label);
    fputs("<th>", table);
    html_text(table, p->y_label);
    for (int i = 0; i < p->n; i++)
        for (int k = 0; k < p->s[i].n; k++) {
            const struct series *s = &p->s[i];
            csv_name(csv, s->label);
            fprintf(csv, ",%.7g,%.7g\n", s->x[k], s->y[k]);
            if (k % step && k != s->n - 1)
                continue;
            fputs("<tr><td>", table);
            html_text(table, s->label);
            fprintf(table, "<td>%s<td>%s", html_number(v, s->x[k]), html_number(w, s->y[k]));
            rows++;
        }
    fputs("</table>", table);
    if (step > 1)
        fprintf(table, "<p>Every %d-th of %d; the CSV has all.</p>", step, all);
}

void plot_lines(FILE *f, arena *a, const struct plot *p)
{
    struct axis x = { INFINITY, -INFINITY }, y = { INFINITY, -INFINITY, .log = p->log_y };
    struct text csv, table;
    for (int i = 0; i < p->n; i++)
        for (int k = 0; k < p->s[i].n; k++) {
            extend(&x, p->s[i].x[k]);
            extend(&y, p->s[i].y[k]);
            if (p->s[i].lo)
                extend(&y, p->s[i].lo[k]), extend(&y, p->s[i].hi[k]);
        }
    if (!(x.lo <= x.hi) || !(y.lo <= y.hi))
        return;
    axis_ticks(&x, 6);
    axis_ticks(&y, 5);
    begin_picture(f, p->title, arena_printf(a, "%s over %s, %d lines", p->y_label, p->x_label, p->n), HEIGHT);
    draw_axes(f, &x, &y, p->x_label, p->y_label);
    for (int i = 0; i < p->n; i++)
        draw_band(f, &p->s[i], &x, &y);
    for (int i = 0; i < p->n; i++)
        draw_line(f, &p->s[i], &x, &y);
    text_open(&csv), text_open(&table);
    line_numbers(p, csv.f, table.f);
    end_picture(f, p->s, p->n, &csv, &table);
}

/* ---- bars and dots ---------------------------------------------------------------------------------------- */

enum { NAMES = 150, ROW = 20 };

static void row_name(FILE *f, f64 y, const char *name)
{
    fprintf(f, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">", NAMES - 8, y);
    html_printf(f, "%.24s", name);
    fputs("</text>", f);
}

void plot_bars(FILE *f, arena *a, const struct bars *b)
{
    struct axis x = { 0, 0 };
    struct text csv, table;
    char v[32];
    for (int i = 0; i < b->n_groups * b->n_series; i++)
        x.hi = MAX(x.hi, b->values[i]);
    if (!b->n_groups || !(x.hi > 0))
        return;
    axis_ticks(&x, 5);
    int thick = MAX(6, 14 / b->n_series), group = thick * b->n_series + 8, height = b->n_groups * group + 34;
    begin_picture(f, b->title, arena_printf(a, "%d groups of %d bars, in %s", b->n_groups, b->n_series, b->unit), height);
    text_open(&csv), text_open(&table);
    fputs("<table><tr><th>", table.f);
    fprintf(csv.f, "name");
    for (int k = 0; k < b->n_series; k++) {
        fputs("<th>", table.f);
        html_text(table.f, b->series[k]);
        fputc(',', csv.f);
        csv_name(csv.f, b->series[k]);
    }
    for (int i = 0; i < b->n_groups; i++) {
        row_name(f, i * group + group / 2.0, b->groups[i]);
        fputs("<tr><td>", table.f);
        html_text(table.f, b->groups[i]);
        fputc('\n', csv.f);
        csv_name(csv.f, b->groups[i]);
        for (int k = 0; k < b->n_series; k++) {
            f64 value = b->values[i * b->n_series + k];
            fprintf(f, "<rect class=\"bar c%d\" x=\"%d\" y=\"%d\" height=\"%d\" width=\"%.1f\"><title>", k % COLOURS, NAMES,
                    i * group + 2 + k * thick, thick - 1, axis_at(&x, value, 0, WIDTH - RIGHT - NAMES - 50));
            html_printf(f, "%s, %s: %.4g %s", b->groups[i], b->series[k], value, b->unit);
            fprintf(f, "</title></rect><text class=\"small\" x=\"%.1f\" y=\"%d\">%s</text>",
                    NAMES + 4 + axis_at(&x, value, 0, WIDTH - RIGHT - NAMES - 50), i * group + 2 + k * thick + thick - 2,
                    html_number(v, value));
            fprintf(table.f, "<td>%s", html_number(v, value));
            fprintf(csv.f, ",%.7g", value);
        }
    }
    fputs("</table>", table.f);
    fprintf(f, "<text x=\"%d\" y=\"%d\">", NAMES, height - 10);
    html_text(f, b->unit);
    fputs("</text>", f);
    struct series *legend = arena_array(a, struct series, b->n_series);
    for (int k = 0; k < b->n_series; k++)
        legend[k] = (struct series){ .label = b->series[k], .colour = k };
    end_picture(f, legend, b->n_series, &csv, &table);
}

void plot_dots(FILE *f, arena *a, const struct dots *d)
{
    struct axis x = { INFINITY, -INFINITY };
    struct text csv, table;
    char v[32], w[32], u[32];
    for (int i = 0; i < d->n; i++) {
        f64 sd = isnan(d->sd[i]) ? 0 : d->sd[i];
        extend(&x, d->mean[i] - sd);
        extend(&x, d->mean[i] + sd);
        extend(&x, d->other[i]);
    }
    if (!(x.lo <= x.hi))
        return;
    axis_ticks(&x, 5);
    int height = d->n * ROW + 40;
    begin_picture(f, d->title, arena_printf(a, "%d rows, in %s; rings are the paper's", d->n, d->unit), height);
    text_open(&csv), text_open(&table);
    fputs("<table><tr><th><th>ours<th>sd<th>paper", table.f);
    fputs("name,ours,sd,paper", csv.f);
    for (int i = 0; i < x.n; i++) {
        f64 at = NAMES + (x.ticks[i] - x.lo) / (x.hi - x.lo) * (WIDTH - RIGHT - 14 - NAMES);
        fprintf(f, "<g class=\"axes\"><path class=\"grid\" d=\"M%.1f 4V%d\"/><text x=\"%.1f\" y=\"%d\" "
                "text-anchor=\"middle\">%s</text></g>", at, d->n * ROW + 6, at, d->n * ROW + 20, html_number(v, x.ticks[i]));
    }
    for (int i = 0; i < d->n; i++) {
        f64 y = i * ROW + 14, at = axis_at(&x, d->mean[i], NAMES, WIDTH - RIGHT - 14);
        row_name(f, y + 4, d->labels[i]);
        if (isfinite(d->sd[i]) && isfinite(d->mean[i]))
            fprintf(f, "<path class=\"line c0\" d=\"M%.1f %.1fH%.1f\"/>",
                    axis_at(&x, d->mean[i] - d->sd[i], NAMES, WIDTH - RIGHT - 14), y,
                    axis_at(&x, d->mean[i] + d->sd[i], NAMES, WIDTH - RIGHT - 14));
        if (isfinite(d->mean[i]))
            fprintf(f, "<circle class=\"dot c0\" cx=\"%.1f\" cy=\"%.1f\" r=\"4\"><title>%s</title></circle>", at, y,
                    html_number(v, d->mean[i]));
        if (isfinite(d->other[i]))
            fprintf(f, "<circle class=\"ring c1\" cx=\"%.1f\" cy=\"%.1f\" r=\"6\"><title>paper %s</title></circle>",
                    axis_at(&x, d->other[i], NAMES, WIDTH - RIGHT - 14), y, html_number(v, d->other[i]));
        fputs("<tr><td>", table.f);
        html_text(table.f, d->labels[i]);
        fprintf(table.f, "<td>%s<td>%s<td>%s", html_number(v, d->mean[i]), html_number(w, d->sd[i]),
                html_number(u, d->other[i]));
        fputc('\n', csv.f);
        csv_name(csv.f, d->labels[i]);
        fprintf(csv.f, ",%s,%s,%s", html_number(v, d->mean[i]), html_number(w, d->sd[i]), html_number(u, d->other[i]));
    }
    fputs("</table>", table.f);
    fprintf(f, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">", (NAMES + WIDTH) / 2, height - 4);
    html_text(f, d->unit);
    fputs("</text>", f);
    end_picture(f, NULL, 0, &csv, &table);
}
