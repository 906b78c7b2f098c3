/* page_compare.c: a comparison of devices on the page: verdicts, the strip of
 * layers, losses, time by kernel. */
#include "study/page.h"
#include <jansson.h>
#include <math.h>
#include <stdlib.h>

static const char *page_str(const json_t *j, const char *key)
{
    const char *v = json_string_value(json_object_get(j, key));
    return v ? v : "";
}
static f64 page_num(const json_t *j, const char *key)
{
    const json_t *v = json_object_get(j, key);
    return json_is_number(v) ? json_number_value(v) : NAN;
}

static struct series strip_curve(arena *a, const json_t *list, const char *label, int colour)
{
    int n = (int)json_array_size(list);
    struct series s = { .label = label, .n = n, .colour = colour, .x = arena_array(a, f64, n + 1),
                        .y = arena_array(a, f64, n + 1) };
    for (int i = 0; i < n; i++) {
        const json_t *v = json_array_get(list, (size_t)i);
        s.x[i] = i + 1;
        s.y[i] = json_is_number(v) ? json_number_value(v) : NAN;
    }
    return s;
}

/* ---- the strip ----------------------------------------------------------------------------------------- */

enum { CLASSES = 6 };
/* 0: equal bits; then by error over bound: below 1/100, 1/10, 1; 4: up to 10 times; 5: more. */
static int strip_class(const json_t *t)
{
    f64 error = page_num(t, "error"), bound = page_num(t, "bound");
    if (json_is_true(json_object_get(t, "equal")))
        return 0;
    if (isnan(error))
        return 5;
    f64 ratio = bound > 0 ? error / bound : 0;
    return ratio < 0.01 ? 1 : ratio < 0.1 ? 2 : ratio <= 1 ? 3 : ratio <= 10 ? 4 : 5;
}

static const char *strip_column(arena *a, const json_t *t)
{
    const char *kind = page_str(t, "kind");
    return strcmp(kind, "after") ? kind : arena_printf(a, "after %.0f", page_num(t, "step"));
}

/* A layer's cell is its worst tensor: "blocks.3.attn" of blocks.3.attn.qkv.weight. */
static const char *strip_layer(arena *a, const json_t *t)
{
    char *name = arena_printf(a, "%s", page_str(t, "name"));
    if (text_starts(name, "block."))
        return arena_printf(a, "blocks%s", name + 5);      // what a block gives
    int dots = 0, most = text_starts(name, "stages.") ? 5 : text_starts(name, "blocks.") ? 3 : 1;
    for (char *p = name; *p; p++)
        if (*p == '.' && ++dots == most)
            *p = 0, p--;
    return name;
}

struct strip { const char *layer[512], *column[16]; int rows, columns; const json_t *worst[512][16]; };

static int strip_find(const char **list, int *n, int most, const char *what)
{
    for (int i = 0; i < *n; i++)
        if (!strcmp(list[i], what))
            return i;
    if (*n == most)
        return -1;
    list[*n] = what;
    return (*n)++;
}

static void strip_draw(FILE *f, const struct strip *s)
{
    static const char *const marks[CLASSES] = { "=", "", "·", "•", "!", "‼" };
    char v[32], w[32];
    fputs("<div class=\"wide\"><table class=\"strip\"><tr><th>layer", f);
    for (int c = 0; c < s->columns; c++)
        fputs("<th>", f), html_text(f, s->column[c]);
    for (int r = 0; r < s->rows; r++) {
        fputs("<tr><td>", f);
        html_text(f, s->layer[r]);
        for (int c = 0; c < s->columns; c++) {
            const json_t *t = s->worst[r][c];
            if (!t) {
                fputs("<td>", f);
                continue;
            }
            int k = strip_class(t);
            fprintf(f, "<td class=\"e%d\" title=\"", k);
            html_printf(f, "%s: error %s, rounding explains %s", page_str(t, "name"),
                        html_number(v, page_num(t, "error")), html_number(w, page_num(t, "bound")));
            fprintf(f, "\">%s %s", marks[k], k ? html_number(v, page_num(t, "error")) : "");
        }
    }
    fputs("</table></div><p class=\"small\">= equal bits; • within what rounding explains; ! up to ten times "
          "as much; ‼ more. The error is relative, the worst of the layer.</p>", f);
}

static void strip_of(FILE *f, arena *a, const json_t *pair)
{
    struct strip *s = arena_one(a, struct strip);
    const json_t *tensors = json_object_get(pair, "tensors");
    for (size_t i = 0; i < json_array_size(tensors); i++) {
        const json_t *t = json_array_get(tensors, i);
        int r = strip_find(s->layer, &s->rows, 512, strip_layer(a, t));
        int c = strip_find(s->column, &s->columns, 16, strip_column(a, t));
        if (r < 0 || c < 0)
            continue;
        const json_t *old = s->worst[r][c];
        if (!old || strip_class(t) > strip_class(old) || (strip_class(t) == strip_class(old)
                                                          && page_num(t, "error") > page_num(old, "error")))
            s->worst[r][c] = t;
    }
    strip_draw(f, s);
}

/* ---- parts --------------------------------------------------------------------------------------------- */

static void compare_pair(FILE *f, arena *a, const json_t *pair, const json_t *records)
{
    const json_t *first = json_array_get(records, 0);
    fputs("<p class=\"verdict\">", f);
    html_printf(f, "%s and %s: %s", page_str(pair, "a"), page_str(pair, "b"), page_str(pair, "verdict"));
    f64 speed = page_num(pair, "speed");
    if (speed > 0)
        html_printf(f, "; %s is %.3g times as fast", speed >= 1 ? page_str(pair, "a") : page_str(pair, "b"),
                    speed >= 1 ? speed : 1 / speed);
    fputs("</p>", f);
    if (*page_str(pair, "seeds"))
        fputs("<p>", f), html_text(f, page_str(pair, "seeds")), fputs("</p>", f);
    strip_of(f, a, pair);
    struct series gaps[3] = {
        strip_curve(a, json_object_get(pair, "gap"), "between the two", 1),
        strip_curve(a, json_object_get(pair, "allowed"), "explained by rounding", 2),
        strip_curve(a, json_object_get(first, "loss_reseeded"), "between two seeds", 0) };
    struct series base = strip_curve(a, json_object_get(first, "loss"), "", 0);
    for (int i = 0; i < gaps[2].n && i < base.n; i++)
        gaps[2].y[i] = fabs(gaps[2].y[i] - base.y[i]);
    fputs("<div class=\"plots\">", f);
    plot_lines(f, a, &(struct plot){ .title = "Difference of the loss", .x_label = "step",
                                     .y_label = "difference", .log_y = true, .n = 3, .s = gaps });
    fputs("</div>", f);
}

/* Bars of a number of each kernel file, by device. */
static void compare_bars(FILE *f, arena *a, const json_t *records, const char *title, const char *unit,
                         const char *key, f64 scale)
{
    int n = (int)MIN(json_array_size(records), 8);
    const char *groups[64], **labels = arena_array(a, const char *, n + 1);
    f64 *values = arena_array(a, f64, 64 * MAX(1, n));
    struct bars b = { .title = title, .unit = unit, .n_series = n, .groups = groups, .series = labels };
    for (int i = 0; i < 64 * n; i++)
        values[i] = NAN;
    for (int i = 0; i < n; i++)
        labels[i] = page_str(json_array_get(records, (size_t)i), "label");
    for (int i = 0; i < n; i++) {
        const json_t *kernels = json_object_get(json_array_get(records, (size_t)i), "kernels");
        for (size_t k = 0; k < json_array_size(kernels); k++) {
            const json_t *x = json_array_get(kernels, k);
            int at = strip_find(groups, &b.n_groups, 64, page_str(x, "name"));
            if (at >= 0)
                values[at * n + i] = scale * page_num(x, key);
        }
    }
    b.values = values;
    plot_bars(f, a, &b);
}

static void compare_records_table(FILE *f, const json_t *records)
{
    char a[32], b[32], c[32], d[24], e[32];
    fputs("<h2>Devices</h2><div class=\"wide\"><table><tr><th><th class=\"words\">device"
          "<th class=\"words\">driver<th class=\"words\">program"
          "<th class=\"words\">settings<th class=\"words\">precision"
          "<th>ms/step<th>images/s<th>start, s<th>memory<th>launches<th>J/step", f);
    for (size_t i = 0; i < json_array_size(records); i++) {
        const json_t *r = json_array_get(records, i);
        const char *words[] = { "label", "device", "driver", "program", "settings", "precision" };
        fputs("<tr>", f);
        for (int k = 0; k < countof(words); k++)
            fputs("<td class=\"words\">", f), html_text(f, page_str(r, words[k]));
        f64 joules = page_num(r, "joules");
        const char *told = joules > 0 ? page_str(r, "joules_from") : "not told";
        fprintf(f, "<td>%s<td>%s<td>%s<td>%s<td>%.0f<td>%s", html_number(a, page_num(r, "step_ms")),
                html_number(b, page_num(r, "img_s")), html_number(c, page_num(r, "start_s")),
                text_bytes(d, page_num(r, "memory")), page_num(r, "launches"),
                joules > 0 ? html_number(e, joules) : "");
        fputs(" ", f);
        html_text(f, told);
    }
    fputs("</table></div>", f);
}

int page_comparison(FILE *f, arena *a, const char *path)
{
    json_error_t e;
    json_t *j = json_load_file(path, 0, &e);
    if (!j)
        return fail(FAULT_DATA, "%s:%d: %s", path, e.line, e.text);
    if (strcmp(page_str(j, "format"), "jetcl comparison 1")) {
        json_decref(j);
        return fail(FAULT_DATA, "%s: not a comparison of `jetcl compare --out`", path);
    }
    const json_t *pairs = json_object_get(j, "pairs"), *records = json_object_get(j, "records");
    fputs("<h2>Comparison</h2>", f);
    for (size_t i = 0; i < json_array_size(pairs); i++)
        compare_pair(f, a, json_array_get(pairs, i), records);
    int n = (int)MIN(json_array_size(records), 8);
    struct series *s = arena_array(a, struct series, n + 1);
    for (int i = 0; i < n; i++)
        s[i] = strip_curve(a, json_object_get(json_array_get(records, (size_t)i), "loss"),
                           page_str(json_array_get(records, (size_t)i), "label"), i);
    fputs("<div class=\"plots\">", f);
    plot_lines(f, a, &(struct plot){ .title = "Loss", .x_label = "step", .y_label = "loss", .n = n, .s = s });
    compare_bars(f, a, records, "Time of a step by kernel file", "ms", "ms", 1);
    compare_bars(f, a, records, "Share of each device's own peaks", "%", "of_peak", 100);
    fputs("</div><p class=\"small\">Peaks are those of multiply-adds in registers and of a copy in memory, "
          "the nearer one counts; what stays in caches can be above 100 %.</p>\n", f);
    compare_records_table(f, records);
    json_decref(j);
    return 0;
}
