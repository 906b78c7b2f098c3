/* page.h: runs, tables and comparisons as one HTML file that needs nothing else: no
 * network, no script to be read.
 *
 *     if (page_write("page.html", arena, paths, n, 0)) return -1;      // run folders, table files, comparisons
 */
#ifndef JETCL_PAGE_H
#define JETCL_PAGE_H
#include "base/base.h"

/* ---- html.c -------------------------------------------------------------------------------------------- */

/* The one way of text into the page: markup in names, paths and messages comes out as itself; bytes that are
 * not UTF-8, and characters that neither HTML nor XML allows, as '?'. */
void html_text(FILE *f, const char *s);
void html_printf(FILE *f, const char *fmt, ...) PRINTF(2, 3);    /* formatted, then as html_text */
/* A link that downloads text as a file. */
void html_download(FILE *f, const char *name, const char *type, const char *text, size_t n);
/* A PNG inside the page; nothing when it is not a PNG or is larger than 4 MB. */
void html_png(FILE *f, const char *path, const char *caption);
/* A number with no more digits than are worth reading; "-" for NaN. */
const char *html_number(char out[32], f64 v);

/* ---- plot.c, bars.c: pictures, each with its numbers as a table and as CSV ----------------------------- */

/* A line of n points by rising x; hours: where they lie in time, or NULL; lo and hi: a band around it, or NULL.
 * Colour and dashes go by `colour`. */
struct series { const char *label; int n, colour; f64 *x, *hours, *y, *lo, *hi; };
/* target: a line across at this y; 0: none. */
struct plot { const char *title, *x_label, *y_label; bool log_y; f64 target; int n; struct series *s; };
/* Where all series have hours there is a second picture over them, which the page's switch shows. */
void plot_lines(FILE *f, arena *a, const struct plot *p);
/* Bars side by side: values[group * n_series + series]; NAN: none. */
struct bars { const char *title, *unit; int n_groups, n_series; const char **groups, **series; f64 *values; };
void plot_bars(FILE *f, arena *a, const struct bars *b);
/* Dots with a spread along one axis: ours by row, and the paper's as a ring where there is one (NAN: none). */
struct dots { const char *title, *unit; int n; const char **labels; f64 *mean, *sd, *other; };
void plot_dots(FILE *f, arena *a, const struct dots *d);

/* ---- page_run.c, page_table.c, page_compare.c: parts of a page; headings are <h2> without attributes --- */

int page_runs(FILE *f, arena *a, const char *const *dirs, int n, f64 target);
int page_table(FILE *f, arena *a, const char *path);
int page_comparison(FILE *f, arena *a, const char *path);        /* comparison.json */

/* ---- page.c -------------------------------------------------------------------------------------------- */

/* paths: run folders, table files (.yaml), comparison.json or folders with one. target: a top-1 in
 * % that curves are held against, 0: none. Replaced as a whole. 0, or -1 + fail. */
int page_write(const char *out, arena *a, const char *const *paths, int n, f64 target);

#endif
