/* picture.h: what every picture of the page has: axes, a frame with its numbers
 * below. Private to plot.c and bars.c. */
#ifndef JETCL_PICTURE_H
#define JETCL_PICTURE_H
#include "study/page.h"

enum { FRAME_WIDTH = 520, FRAME_HEIGHT = 290, FRAME_LEFT = 88, FRAME_RIGHT = 508, FRAME_TOP = 12,
       FRAME_FOOT = 248 };

struct axis { f64 lo, hi; bool log; f64 ticks[16]; int n; };
void axis_extend(struct axis *x, f64 v);         /* not by what is not finite, or not above 0 on a log axis */
/* About `want` round numbers over [lo, hi], which become round too; powers of ten on a log axis. */
void axis_ticks(struct axis *x, int want);
f64  axis_at(const struct axis *x, f64 v, f64 from, f64 to);    /* pixels; what is outside lies on the edge */

void picture_begin(FILE *f, const char *title);
/* An image of `sentence`, for screen readers; class: "", or what a switch of
 * the page shows. Ends with </svg>. */
void picture_svg(FILE *f, const char *title, const char *sentence, const char *class, int height);
void picture_axes(FILE *f, const struct axis *x, const struct axis *y, const char *x_label,
                  const char *y_label);
/* The class of a line or a dot: a colour, and dashes that tell further ones apart. */
void picture_class(FILE *f, const char *kind, int colour);

/* The numbers of a picture: HTML and CSV, both kept until the end. A row begins with a name. */
struct numbers { FILE *html, *csv; char *text[2]; size_t n[2]; const char *title; };
void numbers_open(struct numbers *t, const char *title);
void numbers_head(struct numbers *t, const char *column);
void numbers_row(struct numbers *t, const char *name);
void numbers_value(struct numbers *t, f64 v);                   /* NAN: empty */
/* Legend (where there are two or more), numbers, end of the figure. note: below the numbers, or NULL. */
void picture_end(FILE *f, struct numbers *t, const struct series *s, int n, const char *note);

#endif
