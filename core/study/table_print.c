/* table_print.c: what a table says: mean and standard deviation over seeds, beside the paper's number. */
#include "study/table.h"
#include "log/files.h"
#include <jansson.h>
#include <math.h>

enum kind { KIND_percent, KIND_real, KIND_size, KIND_whole, KIND_time };
static const enum kind kinds[METRICS] = {
#define METRIC(name, kind, value, help) KIND_##kind,
#include "study/metrics.def"
#undef METRIC
};

struct stats { int n, of; f64 mean, sd, *values; };

static struct stats stats_of(struct table *t, int row, int column, bool best)
{
    const struct table_cell *cell = &t->rows[row].cells[column];
    struct stats s = { .of = cell->n, .mean = NAN, .values = arena_array(t->arena, f64, MAX(1, cell->n)) };
    f64 sum = 0, square = 0;
    for (int i = 0; i < cell->n; i++) {
        f64 v = table_value(t, &t->columns[column], &t->runs[cell->runs[i]], best);
        if (isnan(v))
            continue;
        v /= t->columns[column].per;
        s.values[s.n++] = v;
        sum += v;
    }
    if (s.n)
        s.mean = sum / s.n;
    for (int i = 0; i < s.n; i++)
        square += (s.values[i] - s.mean) * (s.values[i] - s.mean);
    s.sd = s.n > 1 ? sqrt(square / (s.n - 1)) : NAN;
    return s;
}

/* ---- text ---------------------------------------------------------------------------------------------- */

static const char *table_number(arena *a, const struct table_column *c, f64 v)
{
    char text[24];
    if (isinf(v))
        return "never";
    if (c->digits >= 0)
        return arena_printf(a, "%.*f", c->digits, v);
    switch (kinds[c->metric]) {
    case KIND_percent: return arena_printf(a, "%.1f", v);
    case KIND_real:    return arena_printf(a, "%.3f", v);
    case KIND_size:    return arena_printf(a, "%s", text_count(text, v));
    case KIND_time:    return arena_printf(a, "%s", text_time(text, v));
    default:           return arena_printf(a, fabs(v) < 100 && v != rint(v) ? "%.1f" : "%.0f", v);
    }
}

/* "88.1 ± 0.3 [2/3] (88.4)": ours, spread, how many seeds of how many, the paper's. */
static const char *cell_text(struct table *t, int row, int column, bool best)
{
    arena *a = t->arena;
    const struct table_column *c = &t->columns[column];
    struct stats s = stats_of(t, row, column, best);
    f64 paper = t->rows[row].paper[column];
    const char *text = !s.of && isnan(paper) ? "" : !s.n ? "-" : table_number(a, c, s.mean);
    if (s.n > 1 && isfinite(s.sd) && s.sd > 0)
        text = arena_printf(a, "%s ± %s", text, table_number(a, c, s.sd));
    if (s.n && s.n < s.of)
        text = arena_printf(a, "%s [%d/%d]", text, s.n, s.of);
    if (isnan(paper))
        return text;
    return c->per == 1 ? arena_printf(a, "%s (%s)", text, table_number(a, c, paper))
           : arena_printf(a, "%s (%.10g)", text, paper);
}

static int columns_of(const char *s)
{
    int n = 0;
    for (; *s; s++)
        n += ((u8)*s & 0xc0) != 0x80;
    return n;
}

/* `|` in a name would end the cell. */
static const char *table_safe(arena *a, const char *s)
{
    char *out = arena_bytes(a, 2 * strlen(s) + 1, 1), *p = out;
    for (; *s; s++) {
        if (*s == '|')
            *p++ = '\\';
        *p++ = *s;
    }
    return out;
}

static void print_pairs(FILE *f, struct table *t, bool best)
{
    struct table_pair p;
    for (int c = 0; c < t->n_columns; c++)
        for (int r = 0; r < t->n_rows; r++)
            if (table_pair(t, c, r, best, &p))
                fprintf(f, "%s\n", p.text);
}

static void print_markdown(FILE *f, struct table *t, bool best)
{
    int rows = 1 + (t->transpose ? t->n_columns : t->n_rows);
    int columns = 1 + (t->transpose ? t->n_rows : t->n_columns);
    const char **text = arena_array(t->arena, const char *, rows * columns);
    bool paper = false;
    int most = 0;
    for (int i = 0; i < rows * columns; i++)
        text[i] = "";
    for (int r = 0; r < t->n_rows; r++)
        for (int c = 0; c < t->n_columns; c++) {
            int at = t->transpose ? (c + 1) * columns + r + 1 : (r + 1) * columns + c + 1;
            text[at] = cell_text(t, r, c, best);
            text[t->transpose ? r + 1 : (r + 1) * columns] = table_safe(t->arena, t->rows[r].name);
            text[t->transpose ? (c + 1) * columns : c + 1] = table_safe(t->arena, t->columns[c].name);
            paper |= !isnan(t->rows[r].paper[c]);
            most = MAX(most, t->rows[r].cells[c].n);
        }
    if (t->title[0])
        fprintf(f, "**%s**\n\n", t->title);
    for (int r = 0; r < rows; r++) {
        for (int c = 0; c < columns; c++) {
            int width = 3;
            for (int k = 0; k < rows; k++)
                width = MAX(width, columns_of(text[k * columns + c]));
            fprintf(f, "| %s%*s ", text[r * columns + c], width - columns_of(text[r * columns + c]), "");
        }
        fputs("|\n", f);
        for (int c = 0; r == 0 && c < columns; c++)
            fputs("|---", f);
        fputs(r == 0 ? "|\n" : "", f);
    }
    fputs("\n", f);
    const char *when = best ? "Best epoch, chosen on the images it is reported for" : "After the last epoch";
    if (most > 1 || paper)
        fprintf(f, "%s%s%s.\n", when, most > 1 ? "; mean ± standard deviation over the seeds" : "",
                paper ? "; in brackets what the paper reports" : "");
    print_pairs(f, t, best);
    for (int i = 0; i < t->n_notes; i++)
        fprintf(f, "%s\n", t->notes[i]);
}

static void csv_number(FILE *f, f64 v, const char *end)
{
    if (!isnan(v))
        fprintf(f, "%.10g", v);
    fputs(end, f);
}

static void table_print_csv(FILE *f, struct table *t, bool best)
{
    fputs("row,column,metric,mean,sd,seeds,paper\n", f);
    for (int r = 0; r < t->n_rows; r++)
        for (int c = 0; c < t->n_columns; c++) {
            struct stats s = stats_of(t, r, c, best);
            csv_text(f, t->rows[r].name);
            fputc(',', f);
            csv_text(f, t->columns[c].name);
            fputc(',', f);
            enum metric m = t->columns[c].metric;
            fprintf(f, "%s,", metric_names[best && m == METRIC_top1 ? METRIC_best : m]);
            csv_number(f, s.mean, ",");
            csv_number(f, s.sd, ",");
            fprintf(f, "%d,", s.n);
            csv_number(f, t->rows[r].paper[c], "\n");
        }
}

static json_t *number_json(f64 v) { return isfinite(v) ? json_real(v) : json_null(); }

static json_t *cell_json(struct table *t, int row, int column, bool best)
{
    struct stats s = stats_of(t, row, column, best);
    const struct table_cell *cell = &t->rows[row].cells[column];
    json_t *values = json_array(), *folders = json_array(), *failures = json_array();
    for (int i = 0; i < s.n; i++)
        json_array_append_new(values, number_json(s.values[i]));
    for (int i = 0; i < cell->n; i++) {
        json_array_append_new(folders, json_string(t->runs[cell->runs[i]].dir));
        if (t->runs[cell->runs[i]].state == CELL_FAILED)
            json_array_append_new(failures, json_string(t->runs[cell->runs[i]].why));
    }
    return json_pack("{s:s, s:s, s:o, s:o, s:i, s:i, s:o, s:o, s:o, s:o}",
                     "column", t->columns[column].name, "metric", metric_names[t->columns[column].metric],
                     "mean", number_json(s.mean), "sd", number_json(s.sd), "seeds", s.n, "of", s.of,
                     "paper", number_json(t->rows[row].paper[column]),
                     "values", values, "runs", folders, "failures", failures);
}

static json_t *pairs_json(struct table *t, bool best)
{
    json_t *all = json_array();
    struct table_pair p;
    for (int c = 0; c < t->n_columns; c++)
        for (int r = 0; r < t->n_rows; r++)
            if (table_pair(t, c, r, best, &p))
                json_array_append_new(all, json_pack("{s:s, s:s, s:s, s:i, s:o, s:o}", "row",
                    t->rows[t->compare].name, "against", t->rows[r].name, "column", t->columns[c].name,
                    "seeds", p.seeds.n, "mean", number_json(p.seeds.mean), "half", number_json(p.seeds.half)));
    return all;
}

static int table_print_json(FILE *f, struct table *t, bool best)
{
    json_t *rows = json_array();
    for (int r = 0; r < t->n_rows; r++) {
        json_t *cells = json_array();
        for (int c = 0; c < t->n_columns; c++)
            json_array_append_new(cells, cell_json(t, r, c, best));
        json_array_append_new(rows, json_pack("{s:s, s:o}", "name", t->rows[r].name, "cells", cells));
    }
    return json_lines(f, json_pack("{s:s, s:b, s:o, s:o}", "title", t->title, "best", (int)best, "rows", rows,
                                   "differences", pairs_json(t, best)), 10);
}

int table_print(FILE *f, struct table *t, enum table_format format, bool best)
{
    if (format == TABLE_JSON)
        return table_print_json(f, t, best);
    (format == TABLE_CSV ? table_print_csv : print_markdown)(f, t, best);
    return 0;
}
