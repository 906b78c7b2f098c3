/* page_run.h: a run as the page reads it. Private to page_curves.c and page_run.c. */
#ifndef JETCL_PAGE_RUN_H
#define JETCL_PAGE_RUN_H
#include "log/log.h"
#include "study/page.h"
#include <jansson.h>

/* Columns of metrics.jsonl; x is the step, and for evaluations the epoch. */
enum column { LOSS, LR, GRAD, SPEED, MEMORY, EVAL_LOSS_, TOP1, TOP5, COLUMNS };
struct points { int n, cap; f64 *x, *hours, *y; };         /* by rising x; y NAN where it was not finite */
struct page_run {
    const char *dir, *name, *label, *device;
    long long seed;
    bool done;
    struct run_result r;                                   /* where it is done */
    struct points curve[COLUMNS];
    f64 top1;                                              /* of the last evaluation, or NAN */
    int group;                                             /* runs of one name and several seeds */
    json_t *env;
};
void curves_read(arena *a, struct page_run *r);            /* metrics.jsonl of r->dir, where there is one */
/* target: a top-1 to mark, 0: none. */
void curves_draw(FILE *f, arena *a, struct page_run *r, int n, int groups, f64 target);
/* The first place where a curve's top-1 is at least `at`, or -1. */
int  curves_reach(const struct points *c, f64 at);

#endif
