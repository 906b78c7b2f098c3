/* page_table.c: a table of results on the page: ours beside the paper's, differences, and what the seeds can show. */
#include "study/page.h"
#include "study/table.h"
#include <math.h>

struct cell_sum { int n; f64 mean, sd; };

static struct cell_sum cell_sum(struct table *t, int row, int column)
{
    const struct table_cell *cell = &t->rows[row].cells[column];
    struct cell_sum s = { .mean = NAN, .sd = NAN };
    f64 sum = 0, square = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < cell->n; i++) {
            f64 v = table_value(t, &t->columns[column], &t->runs[cell->runs[i]], false) / t->columns[column].per;
            if (!isfinite(v))
                continue;
            s.n += !pass;
            sum += pass ? 0 : v;
            square += pass ? (v - s.mean) * (v - s.mean) : 0;
        }
        if (!pass && s.n)
            s.mean = sum / s.n;
    }
    if (s.n > 1)
        s.sd = sqrt(square / (s.n - 1));
    return s;
}

/* 97.5 % point of Student's t. */
static f64 student(f64 freedom)
{
    static const f64 t[] = { 12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23 };
    int k = (int)freedom;
    return k < 1 ? t[0] : k <= countof(t) ? t[k - 1] : 1.96 + 2.7 / freedom;
}

/* Welch's test of the best row against the next, in words. */
static void table_verdict(FILE *f, struct table *t, int column)
{
    int best = -1, next = -1;
    struct cell_sum b = { 0 }, s = { 0 };
    for (int r = 0; r < t->n_rows; r++) {
        struct cell_sum x = cell_sum(t, r, column);
        if (!x.n)
            continue;
        if (best < 0 || x.mean > b.mean)
            next = best, s = b, best = r, b = x;
        else if (next < 0 || x.mean > s.mean)
            next = r, s = x;
    }
    if (best < 0 || next < 0)
        return;
    f64 va = b.n > 1 ? b.sd * b.sd / b.n : NAN, vb = s.n > 1 ? s.sd * s.sd / s.n : NAN, gap = b.mean - s.mean;
    f64 freedom = (va + vb) * (va + vb) / (va * va / MAX(1, b.n - 1) + vb * vb / MAX(1, s.n - 1));
    fputs("<p class=\"verdict\">", f);
    html_printf(f, "%s: %s %.2f, %.2f above %s: ", t->columns[column].name, t->rows[best].name, b.mean, gap, t->rows[next].name);
    if (isnan(va) || isnan(vb) || !(va + vb > 0))     // seeds of equal results are copies of one
        fputs("one seed cannot say whether that is chance", f);
    else
        html_printf(f, gap > student(freedom) * sqrt(va + vb) ? "more than %d and %d seeds leave to chance (5 %%)"
                    : "no difference that %d and %d seeds can show", b.n, s.n);
    fputs("</p>", f);
}

static void table_cells(FILE *f, struct table *t)
{
    char v[32];
    fputs("<div class=\"wide\"><table><tr><th>", f);
    for (int c = 0; c < t->n_columns; c++) {
        fputs("<th>", f);
        html_text(f, t->columns[c].name);
    }
    for (int r = 0; r < t->n_rows; r++) {
        fputs("<tr><td>", f);
        html_text(f, t->rows[r].name);
        for (int c = 0; c < t->n_columns; c++) {
            struct cell_sum s = cell_sum(t, r, c);
            f64 paper = t->rows[r].paper[c];
            fprintf(f, "<td>%s", html_number(v, s.mean));
            if (s.n > 1)
                fprintf(f, " ± %s", html_number(v, s.sd));
            if (!isnan(paper)) {
                fprintf(f, "<br><small>paper %s", html_number(v, paper));      // in units of `per`, as ours
                if (s.n)
                    fprintf(f, " (%+.3g)", s.mean - paper);
                fputs("</small>", f);
            }
        }
    }
    fputs("</table></div>\n", f);
}

static void table_states(FILE *f, const struct table *t)
{
    static const char *const words[] = { "to do", "started", "done", "failed" };
    fputs("<details><summary>experiments</summary><div class=\"wide\"><table><tr><th>experiment<th>state<th>folder", f);
    for (size_t i = 0; i < t->n_runs; i++) {
        fputs("<tr><td>", f);
        html_text(f, t->runs[i].name);
        fprintf(f, "<td>%s<td><code>", t->runs[i].state < countof(words) ? words[t->runs[i].state] : "?");
        html_text(f, t->runs[i].dir);
        fputs("</code>", f);
    }
    fputs("</table></div></details>", f);
}

int page_table(FILE *f, arena *a, const char *path)
{
    struct table t;
    if (table_load(&t, a, path, "runs", NULL, 0, true))
        return -1;
    fputs("<h2 id=\"table\">", f);
    html_text(f, t.title[0] ? t.title : path);
    fputs("</h2>", f);
    for (int c = 0; c < t.n_columns && c < 3; c++)
        if (t.columns[c].metric == METRIC_top1)
            table_verdict(f, &t, c);
    fputs("<div class=\"plots\">", f);
    for (int c = 0; c < t.n_columns; c++) {
        struct dots d = { .title = t.columns[c].name, .unit = metric_names[t.columns[c].metric], .n = t.n_rows,
                          .labels = arena_array(a, const char *, t.n_rows), .mean = arena_array(a, f64, t.n_rows),
                          .sd = arena_array(a, f64, t.n_rows), .other = arena_array(a, f64, t.n_rows) };
        for (int r = 0; r < t.n_rows; r++) {
            struct cell_sum s = cell_sum(&t, r, c);
            d.labels[r] = t.rows[r].name;
            d.mean[r] = s.mean, d.sd[r] = s.sd, d.other[r] = t.rows[r].paper[c];
        }
        plot_dots(f, a, &d);
    }
    fputs("</div>", f);
    table_cells(f, &t);
    for (int i = 0; i < t.n_notes; i++) {
        fputs("<p>", f);
        html_text(f, t.notes[i]);
        fputs("</p>", f);
    }
    table_states(f, &t);
    return 0;
}
