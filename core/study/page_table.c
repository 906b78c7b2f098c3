/* page_table.c: a table of results on the page: ours beside the paper's,
 * differences, and what the seeds can show. */
#include "study/page.h"
#include "study/seeds.h"
#include "study/table.h"
#include <math.h>

static struct seeds cell_seeds(struct table *t, int row, int column)
{
    const struct table_cell *cell = &t->rows[row].cells[column];
    f64 *v = arena_array(t->arena, f64, cell->n + 1);
    for (int i = 0; i < cell->n; i++)
        v[i] = table_value(t, &t->columns[column], &t->runs[cell->runs[i]], false) / t->columns[column].per;
    return seeds_of(v, cell->n);
}

/* Welch's test of the best row against the next, in words. */
static void table_verdict(FILE *f, struct table *t, int column)
{
    int best = -1, next = -1;
    struct seeds b = { 0 }, s = { 0 };
    for (int r = 0; r < t->n_rows; r++) {
        struct seeds x = cell_seeds(t, r, column);
        if (!x.n)
            continue;
        if (best < 0 || x.mean > b.mean)
            next = best, s = b, best = r, b = x;
        else if (next < 0 || x.mean > s.mean)
            next = r, s = x;
    }
    if (best < 0 || next < 0)
        return;
    fputs("<p class=\"verdict\">", f);
    html_printf(f, "%s: %s %.2f, %.2f above %s: %s", t->columns[column].name, t->rows[best].name, b.mean,
                b.mean - s.mean, t->rows[next].name, seeds_unpaired(t->arena, &b, &s));
    fputs("</p>", f);
}

static void table_pairs(FILE *f, struct table *t)
{
    struct table_pair p;
    for (int c = 0; c < t->n_columns; c++)
        for (int r = 0; r < t->n_rows; r++)
            if (table_pair(t, c, r, false, &p)) {
                fputs("<p>", f);
                html_text(f, p.text);
                fputs("</p>", f);
            }
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
            struct seeds s = cell_seeds(t, r, c);
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
    fputs("<details><summary>experiments</summary><div class=\"wide\"><table>"
           "<tr><th>experiment<th>state<th>folder", f);
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
    fputs("<h2>", f);
    html_text(f, t.title[0] ? t.title : path);
    fputs("</h2>", f);
    for (int c = 0; c < t.n_columns && c < 3; c++)
        if (t.columns[c].metric == METRIC_top1)
            table_verdict(f, &t, c);
    fputs("<div class=\"plots\">", f);
    for (int c = 0; c < t.n_columns; c++) {
        int m = t.columns[c].metric;
        bool share = m == METRIC_top1 || m == METRIC_best || m == METRIC_top5;
        struct dots d = { .title = t.columns[c].name, .n = t.n_rows,
                          .unit = arena_printf(a, "%s%s", metric_names[m], share ? ", %" : ""),
                          .labels = arena_array(a, const char *, t.n_rows),
                          .mean = arena_array(a, f64, t.n_rows),
                          .sd = arena_array(a, f64, t.n_rows), .other = arena_array(a, f64, t.n_rows) };
        for (int r = 0; r < t.n_rows; r++) {
            struct seeds s = cell_seeds(&t, r, c);
            d.labels[r] = t.rows[r].name;
            d.mean[r] = s.mean, d.sd[r] = s.sd, d.other[r] = t.rows[r].paper[c];
        }
        plot_dots(f, a, &d);
    }
    fputs("</div>", f);
    table_cells(f, &t);
    table_pairs(f, &t);
    for (int i = 0; i < t.n_notes; i++) {
        fputs("<p>", f);
        html_text(f, t.notes[i]);
        fputs("</p>", f);
    }
    table_states(f, &t);
    return 0;
}
