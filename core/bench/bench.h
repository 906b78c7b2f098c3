/* bench.h: how fast kernels and whole steps are on a device, against its own measured peaks.
 *
 *     bench *b = bench_open(d, &(struct bench_options){ .seconds = 1 });
 *     for (int i = 0; i < bench_count(b); i++)
 *         if (bench_matches(b, i, "layernorm") && bench_run(b, i, &r)) return -1;
 *     bench_close(b);
 *
 * `make layers` checks that no file calls one that stands after it here:
 * Order: meter bench_model bench tune_trial tune_model
 */
#ifndef JETCL_BENCH_H
#define JETCL_BENCH_H
#include "dev/dev.h"

struct bench_options {
    i64  batch;                             /* 0: each one's own */
    f64  seconds;                           /* for one measurement */
    bool cpu_time;                          /* processor time over the number of processors, not wall time */
};
/* What does not apply is 0. of_peak: the time the device's peaks would allow over the time taken. */
struct bench_result {
    const char *name;
    i64         batch;
    f64         median_ms, min_ms, gflops, gb_s, of_peak;
    f64         img_s, peak_rss_mb, start_ms;   /* start: from the device to the end of the first step */
};

typedef struct bench bench;
bench      *bench_open(dev *d, const struct bench_options *o);          /* NULL + fail */
void        bench_close(bench *b);                                      /* NULL is fine */
int         bench_count(const bench *b);
const char *bench_name(const bench *b, int i);
/* "matmul", "matmul.nt" and the whole name all fit "matmul.nt.6304x576x192". */
bool        bench_matches(const bench *b, int i, const char *word);
/* Measures number i alternately with the peaks, so that other work on the
 * machine slows both. 0 or -1 + fail. */
int         bench_run(bench *b, int i, struct bench_result *r);

#endif
