/* chart.c: lines and bars as SVG, legible on white and in a page. */
#include "study/analyse.h"
#include "study/page.h"
#include <math.h>

enum { CHART_W = 720, CHART_H = 360, CHART_LEFT = 64, CHART_RIGHT = 170, CHART_TOP = 34, CHART_FOOT = 46 };
struct chart { struct file_out o; f64 x0, x1, y0, y1; };

static const char *const chart_colors[] = { "#1f6fb4", "#d9622b", "#2a9d5c", "#8e4fb5",
                                            "#b3962a", "#c2367a", "#4a4a4a", "#2aa3b3" };

static const char *chart_color(int i) { return chart_colors[i % countof(chart_colors)]; }

static void chart_text(FILE *f, f64 x, f64 y, const char *anchor, const char *more, const char *text)
{
    fprintf(f, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\"%s>", x, y, anchor, more);
    html_text(f, text);
    fputs("</text>\n", f);
}

static f64 chart_x(const struct chart *c, f64 v)
{
    return CHART_LEFT + (v - c->x0) / (c->x1 - c->x0) * (CHART_W - CHART_LEFT - CHART_RIGHT);
}

static f64 chart_y(const struct chart *c, f64 v)
{
    return CHART_H - CHART_FOOT - (v - c->y0) / (c->y1 - c->y0) * (CHART_H - CHART_FOOT - CHART_TOP);
}

/* 1, 2 or 5 times a power of ten: about five of them in `range`. */
static f64 chart_step(f64 range)
{
    f64 ten = pow(10, floor(log10(range / 5)));
    f64 of = range / 5 / ten;
    return ten * (of < 1.5 ? 1 : of < 3.5 ? 2 : of < 7.5 ? 5 : 10);
}

static void chart_scale_y(struct chart *c, const char *name)
{
    char text[32];
    f64 step = chart_step(c->y1 - c->y0);
    for (f64 v = ceil(c->y0 / step) * step; v <= c->y1 + step / 1e6; v += step) {
        f64 y = chart_y(c, v);
        fprintf(c->o.f, "<path d=\"M%d %.1fH%d\" stroke=\"#ddd\"/>\n", CHART_LEFT, y, CHART_W - CHART_RIGHT);
        snprintf(text, sizeof text, "%.4g", fabs(v) < step / 1e6 ? 0 : v);
        chart_text(c->o.f, CHART_LEFT - 6, y + 4, "end", "", text);
    }
    snprintf(text, sizeof text, " transform=\"rotate(-90 14 %d)\"", CHART_H / 2);
    chart_text(c->o.f, 14, CHART_H / 2, "middle", text, name);
}

static void chart_scale_x(struct chart *c, const char *name)
{
    char text[32];
    f64 step = chart_step(c->x1 - c->x0);
    for (f64 v = ceil(c->x0 / step) * step; v <= c->x1 + step / 1e6; v += step) {
        snprintf(text, sizeof text, "%.4g", v);
        chart_text(c->o.f, chart_x(c, v), CHART_H - CHART_FOOT + 16, "middle", "", text);
    }
    chart_text(c->o.f, (CHART_LEFT + CHART_W - CHART_RIGHT) / 2, CHART_H - 10, "middle", "", name);
}

static int chart_begin(struct chart *c, const char *path, const char *title)
{
    if (file_begin(&c->o, path))
        return -1;
    fprintf(c->o.f,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" "
            "font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%%\" height=\"100%%\" "
            "fill=\"#fff\"/>\n",
            CHART_W, CHART_H, CHART_W, CHART_H);
    chart_text(c->o.f, CHART_LEFT, 20, "start", " font-size=\"14\" font-weight=\"bold\"", title);
    return 0;
}

static int chart_end(struct chart *c, const struct chart_series *s, int n)
{
    for (int i = 0; i < n; i++) {
        int y = CHART_TOP + 8 + 18 * i, x = CHART_W - CHART_RIGHT + 12;
        fprintf(c->o.f, "<rect x=\"%d\" y=\"%d\" width=\"12\" height=\"12\" fill=\"%s\"/>\n", x, y,
                chart_color(i));
        chart_text(c->o.f, x + 18, y + 10, "start", "", s[i].name);
    }
    fputs("</svg>\n", c->o.f);
    return file_commit(&c->o);
}

/* Equal but for rounding: steps between such two would add nothing to either. */
static bool chart_flat(f64 least, f64 most) { return !(most - least > 1e-9 * fmax(fabs(least), fabs(most))); }

/* The axes hold every finite value; y starts at 0 for bars. A flat one gets room above. */
static void chart_bounds(struct chart *c, const struct chart_series *s, int n, bool bars)
{
    c->x0 = c->y0 = INFINITY;
    c->x1 = c->y1 = -INFINITY;
    for (int i = 0; i < n; i++)
        for (int k = 0; k < s[i].n; k++) {
            f64 x = bars ? k : s[i].x[k], y = s[i].y[k];
            if (!isfinite(x) || !isfinite(y))
                continue;
            c->x0 = fmin(c->x0, x);
            c->x1 = fmax(c->x1, x + bars);
            c->y0 = fmin(c->y0, y);
            c->y1 = fmax(c->y1, y);
        }
    if (!(c->x0 < INFINITY))
        *c = (struct chart){ c->o, 0, 1, 0, 1 };
    c->y0 = bars ? fmin(c->y0, 0) : c->y0;
    c->x1 = chart_flat(c->x0, c->x1) ? c->x0 + fmax(1, 0.1 * fabs(c->x0)) : c->x1;
    c->y1 = chart_flat(c->y0, c->y1) ? c->y0 + fmax(1, 0.1 * fabs(c->y0)) : c->y1;
}

int chart_lines(const char *path, const char *title, const char *x_name, const char *y_name,
                const struct chart_series *s, int n)
{
    struct chart c;
    if (chart_begin(&c, path, title))
        return -1;
    chart_bounds(&c, s, n, false);
    chart_scale_y(&c, y_name);
    chart_scale_x(&c, x_name);
    for (int i = 0; i < n; i++) {
        fprintf(c.o.f, "<polyline fill=\"none\" stroke-width=\"2\" stroke=\"%s\" points=\"", chart_color(i));
        for (int k = 0; k < s[i].n; k++)
            if (isfinite(s[i].x[k]) && isfinite(s[i].y[k]))
                fprintf(c.o.f, "%.1f,%.1f ", chart_x(&c, s[i].x[k]), chart_y(&c, s[i].y[k]));
        fputs("\"/>\n", c.o.f);
    }
    return chart_end(&c, s, n);
}

int chart_bars(const char *path, const char *title, const char *y_name, const char *const *label,
               const struct chart_series *s, int n)
{
    struct chart c;
    if (chart_begin(&c, path, title))
        return -1;
    chart_bounds(&c, s, n, true);
    chart_scale_y(&c, y_name);
    for (int k = 0; label && n && k < s[0].n; k++)
        chart_text(c.o.f, chart_x(&c, k + .5), CHART_H - CHART_FOOT + 16, "middle", "", label[k]);
    for (int i = 0; i < n; i++)
        for (int k = 0; k < s[i].n; k++) {
            f64 y = chart_y(&c, s[i].y[k]), zero = chart_y(&c, 0), x = chart_x(&c, k + .1 + .8 * i / n);
            if (isfinite(s[i].y[k]))
                fprintf(c.o.f, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.2f\" height=\"%.1f\" fill=\"%s\"/>\n",
                        x, fmin(y, zero), chart_x(&c, k + .1 + .8 * (i + 1) / n) - x, fabs(zero - y),
                        chart_color(i));
        }
    return chart_end(&c, s, n);
}
