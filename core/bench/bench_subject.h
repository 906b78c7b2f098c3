/* bench_subject.h: a clock and what can be measured with it. Private to this folder.
 *
 *     struct meter m = { .d = d, .seconds = 1 };
 *     struct subject s = { run_it, &it, .flops = 2e9 };
 *     if (meter_open(&m) || meter_measure(&m, &s, &result)) return -1;
 *     meter_close(&m);
 */
#ifndef JETCL_BENCH_SUBJECT_H
#define JETCL_BENCH_SUBJECT_H
#include "bench/bench.h"

/* Something that can be enqueued again and again; what it must compute and move each time. */
struct subject { int (*run)(void *what); void *what; f64 flops, bytes; };

/* Launches [from, to) of a list as a subject, with their flops. x must stay. */
struct list { launches *l; int from, to; };
struct subject subject_list(struct list *x);

/* Seconds for one measurement; the two peaks that it is compared with. The caller sets d, seconds, cpu_time. */
struct meter {
    dev        *d;
    f64         seconds;
    bool        cpu_time;
    mem        *stream, *out;
    launches   *peaks;
    struct list fma_list, copy_list;
    struct subject fma, copy;
};
int  meter_open(struct meter *m);                           /* 0, or -1 + fail; meter_close follows either */
void meter_close(struct meter *m);
int  meter_measure(struct meter *m, const struct subject *s, struct bench_result *r);

/* ---- bench_model.c: whole networks ---- */

struct bench_model { const char *name, *spec; i64 batch; };
extern const struct bench_model bench_models[];             /* ends in an empty row */
/* A training step, or a forward pass in evaluation mode, at batch r->batch. Fills in r. */
int bench_model(struct meter *m, const char *spec, bool step, struct bench_result *r);

#endif
