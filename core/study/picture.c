/* picture.c: axes, frames, legends, and the numbers below each picture as a table and as CSV. */
#include "study/picture.h"
#include <ctype.h>
#include <math.h>
#include <stdlib.h>

enum { COLOURS = 7 };

/* ---- axes ------------------------------------------------------------------------------------------------ */

void axis_extend(struct axis *x, f64 v)
{
    if (!isfinite(v) || (x->log && v <= 0))
        return;
    x->lo = MIN(x->lo, v);
    x->hi = MAX(x->hi, v);
}

void axis_ticks(struct axis *x, int want)
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

/* t: of a log axis, the exponent. */
static f64 axis_place(const struct axis *x, f64 t, f64 from, f64 to)
{
    return from + (MIN(MAX(t, x->lo), x->hi) - x->lo) / (x->hi - x->lo) * (to - from);
}

f64 axis_at(const struct axis *x, f64 v, f64 from, f64 to)
{
    return axis_place(x, x->log ? (v > 0 ? log10(v) : x->lo) : v, from, to);
}

static void axis_label(FILE *f, const struct axis *x, f64 v)
{
    if (x->log)
        fprintf(f, "10<tspan dy=\"-5\" font-size=\"9\">%.0f</tspan>", v);
    else
        fprintf(f, "%.6g", v);
}

/* Would tick i's label touch the last one, which ends at the frame? On narrow screens letters are larger. */
static bool axis_crowded(const struct axis *x, int i)
{
    enum { LETTER = 11 };
    char text[2][32];
    f64 last = axis_place(x, x->ticks[x->n - 1], FRAME_LEFT, FRAME_RIGHT);
    f64 at = axis_place(x, x->ticks[i], FRAME_LEFT, FRAME_RIGHT);
    snprintf(text[0], sizeof text[0], "%.6g", x->ticks[i]);
    snprintf(text[1], sizeof text[1], "%.6g", x->ticks[x->n - 1]);
    bool ends = !x->log && i == x->n - 2 && last > FRAME_RIGHT - 12;
    return ends && at + LETTER / 2.0 * (f64)strlen(text[0]) > last - LETTER * (f64)strlen(text[1]);
}

void picture_axes(FILE *f, const struct axis *x, const struct axis *y, const char *x_label, const char *y_label)
{
    fputs("<g class=\"axes\">", f);
    for (int i = 0; i < y->n; i++) {
        f64 at = axis_place(y, y->ticks[i], FRAME_FOOT, FRAME_TOP);
        fprintf(f, "<path class=\"grid\" d=\"M%d %.1fH%d\"/><text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">",
                FRAME_LEFT, at, FRAME_RIGHT, FRAME_LEFT - 6, at + 4);
        axis_label(f, y, y->ticks[i]);
        fputs("</text>", f);
    }
    for (int i = 0; i < x->n; i++) {
        f64 at = axis_place(x, x->ticks[i], FRAME_LEFT, FRAME_RIGHT);
        if (axis_crowded(x, i))
            continue;
        fprintf(f, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"%s\">", at, FRAME_FOOT + 16,
                at > FRAME_RIGHT - 12 ? "end" : "middle");
        axis_label(f, x, x->ticks[i]);
        fputs("</text>", f);
    }
    fprintf(f, "<path d=\"M%d %dH%d\"/><text x=\"%d\" y=\"%d\" text-anchor=\"middle\">", FRAME_LEFT, FRAME_FOOT,
            FRAME_RIGHT, (FRAME_LEFT + FRAME_RIGHT) / 2, FRAME_HEIGHT - 8);
    html_text(f, x_label);
    fprintf(f, "</text><text transform=\"translate(11 %d) rotate(-90)\" text-anchor=\"middle\">",
            FRAME_FOOT / 2);
    html_text(f, y_label);
    fputs("</text></g>", f);
}

/* ---- frames ---------------------------------------------------------------------------------------------- */

void picture_begin(FILE *f, const char *title)
{
    fputs("<figure><figcaption>", f);
    html_text(f, title);
    fputs("</figcaption>", f);
}

void picture_svg(FILE *f, const char *title, const char *sentence, const char *class, int height)
{
    fprintf(f, "<svg class=\"%s\" viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"", class, FRAME_WIDTH,
            height);
    html_printf(f, "%s: %s", title, sentence);
    fputs("\">", f);
}

void picture_class(FILE *f, const char *kind, int colour)
{
    fprintf(f, "class=\"%s c%d d%d\"", kind, colour % COLOURS, (colour + colour / COLOURS) % COLOURS);
}

static void picture_legend(FILE *f, const struct series *s, int n)
{
    enum { MOST = 40 };
    fputs("<div class=\"legend\">", f);
    for (int i = 0; i < n && i < MOST && n > 1; i++) {
        fputs("<span><svg viewBox=\"0 0 26 8\" width=\"26\" height=\"8\" aria-hidden=\"true\"><path ", f);
        picture_class(f, "line", s[i].colour);
        fputs(" d=\"M1 4H25\"/></svg> ", f);
        html_text(f, s[i].label);
        fputs("</span>", f);
    }
    if (n > MOST)
        fprintf(f, "and %d more", n - MOST);
    fputs("</div>", f);
}

/* ---- numbers --------------------------------------------------------------------------------------------- */

void numbers_open(struct numbers *t, const char *title)
{
    *t = (struct numbers){ .title = title };
    t->html = open_memstream(&t->text[0], &t->n[0]);
    t->csv = open_memstream(&t->text[1], &t->n[1]);
    check(t->html && t->csv, "open_memstream failed");
    fputs("<table><tr>", t->html);
}

/* People open this CSV in a spreadsheet by a click: what it would compute, text that begins with = + - @ and is
 * not a number, comes after a '. */
static void numbers_text(struct numbers *t, const char *s)
{
    char *end;
    bool formula = *s && strchr("=+-@\t\r", *s) && (strtod(s, &end), end == s || *end);
    arena *a = arena_open("name");
    csv_text(t->csv, formula ? arena_printf(a, "'%s", s) : s);
    html_text(t->html, s);
    arena_close(a);
}

void numbers_head(struct numbers *t, const char *name)
{
    fputs("<th>", t->html);
    fputs(ftell(t->csv) ? "," : "", t->csv);
    numbers_text(t, name);
}

void numbers_row(struct numbers *t, const char *name)
{
    fputs("<tr><td>", t->html);
    fputc('\n', t->csv);
    numbers_text(t, name);
}

void numbers_value(struct numbers *t, f64 v)
{
    char text[32];
    fprintf(t->html, "<td>%s", isnan(v) ? "" : html_number(text, v));
    if (isnan(v))
        fputc(',', t->csv);
    else
        fprintf(t->csv, ",%.6g", v);
}

/* "Top-1 accuracy" -> "top-1-accuracy.csv" */
static const char *numbers_file(char out[64], const char *title)
{
    int n = 0;
    for (; *title && n < 58; title++)
        if (isalnum((u8)*title))
            out[n++] = (char)tolower((u8)*title);
        else if (n && out[n - 1] != '-')
            out[n++] = '-';
    memcpy(out + n, ".csv", 5);
    return out;
}

void picture_end(FILE *f, struct numbers *t, const struct series *s, int n, const char *note)
{
    char name[64];
    fputc('\n', t->csv);
    fclose(t->html);
    fclose(t->csv);
    picture_legend(f, s, n);
    fputs("<details><summary>numbers</summary>", f);
    html_download(f, numbers_file(name, t->title), "text/csv", t->text[1], t->n[1]);
    fputs("<div class=\"wide\">", f);
    fputs(t->text[0], f);
    fputs("</table></div>", f);
    if (note)
        fprintf(f, "<p class=\"small\">%s</p>", note);
    fputs("</details></figure>\n", f);
    free(t->text[0]);
    free(t->text[1]);
}
