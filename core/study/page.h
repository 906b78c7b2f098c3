/* page.h: runs, tables and comparisons as one HTML file that needs nothing else: no network, no script to be read.
 *
 *     if (page_write("page.html", arena, paths, n)) return -1;         // run folders, table files, comparisons
 *
 * The files, each calling only those before it: html plot page_run page_table page_compare page
 */
#ifndef JETCL_PAGE_H
#define JETCL_PAGE_H
#include "base/base.h"

/* ---- html.c ------------------------------------------------------------------------------------------------ */

/* The one way of text into the page: markup in names, paths and messages comes out as itself; bytes that are not
 * UTF-8, and characters that neither HTML nor XML allows, as '?'. */
void html_text(FILE *f, const char *s);
void html_printf(FILE *f, const char *fmt, ...) PRINTF(2, 3);    /* formatted, then as html_text */
/* A link that downloads text as a file. */
void html_download(FILE *f, const char *name, const char *type, const char *text, size_t n);
/* A PNG inside the page; nothing when it is no PNG or larger than 4 MB. */
void html_png(FILE *f, const char *path, const char *caption);
/* A number with no more digits than are worth reading; "-" for NaN. */
const char *html_number(char out[32], f64 v);

/* ---- plot.c ------------------------------------------------------------------------------------------------ */

/* A line of n points; lo and hi: a band around it, or NULL. Colour and dashes go by `colour`. */
struct series { const char *label; int n, colour; f64 *x, *y, *lo, *hi; };
struct plot { const char *title, *x_label, *y_label; bool log_y; int n; struct series *s; };
/* Picture, table and CSV of it. Long lines are thinned to the least and the largest of each column of pixels, so that
 * no peak is lost. */
void plot_lines(FILE *f, arena *a, const struct plot *p);
/* Bars side by side: values[group * n_series + series]. */
struct bars { const char *title, *unit; int n_groups, n_series; const char **groups, **series; f64 *values; };
void plot_bars(FILE *f, arena *a, const struct bars *b);
/* Dots with a spread along one axis: ours by row, and the paper's as a ring where there is one (NAN: none). */
struct dots { const char *title, *unit; int n; const char **labels; f64 *mean, *sd, *other; };
void plot_dots(FILE *f, arena *a, const struct dots *d);

/* ---- page_run.c, page_table.c, page_compare.c: parts of a page ------------------------------------------------ */

int page_runs(FILE *f, arena *a, const char *const *dirs, int n);
int page_table(FILE *f, arena *a, const char *path);
int page_comparison(FILE *f, arena *a, const char *path);        /* comparison.json */

/* ---- page.c ------------------------------------------------------------------------------------------------ */

/* paths: run folders, table files (.yaml), comparison.json or folders with one. Replaced as a whole. 0, or -1 + fail. */
int page_write(const char *out, arena *a, const char *const *paths, int n);

#endif
