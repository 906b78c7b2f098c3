/* bench_subject.h: what can be measured. Private to bench.c and bench_model.c.
 *
 *     struct subject s = { run_it, &it, .flops = 2e9 };
 *     if (bench_measure(b, &s, &result)) return -1;
 */
#ifndef JETCL_BENCH_SUBJECT_H
#define JETCL_BENCH_SUBJECT_H
#include "bench/bench.h"

/* Something that can be enqueued again and again; what it must compute and move each time. */
struct subject { int (*run)(void *what); void *what; f64 flops, bytes; };

/* Launches [from, to) of a list as a subject, with their flops. x must stay. */
struct list { launches *l; int from, to; };
struct subject subject_list(struct list *x);

int bench_measure(bench *b, const struct subject *s, struct bench_result *r);

/* ---- bench_model.c: whole networks ---- */

struct bench_model { const char *name, *spec; i64 batch; };
extern const struct bench_model bench_models[];             /* ends in an empty row */
/* A training step, or a forward pass in evaluation mode, at batch r->batch. Fills in r. */
int bench_model(bench *b, dev *d, const char *spec, bool step, struct bench_result *r);

#endif
