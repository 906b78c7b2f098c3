/* record_time.c: a step's time by kernel file, against the device's own peaks. */
#include "study/compare.h"
#include "bench/bench.h"
#include <stdlib.h>

static int by_time(const void *a, const void *b)
{
    f64 x = ((const struct record_kernel *)a)->ms, y = ((const struct record_kernel *)b)->ms;
    return (x < y) - (x > y);
}

/* Adds a list's launches to r's kernels, by file; gflops and gb_s still as sums. */
static int record_times(struct record *r, arena *a, launches *l)
{
    f64 *seconds = arena_array(a, f64, launches_count(l) + 1);
    if (launches_time(l, seconds))
        return -1;
    for (int i = 0; i < launches_count(l); i++) {
        const launch *k = launches_at(l, i);
        int at = 0;
        while (at < r->n_kernels && strcmp(r->kernels[at].name, k->file))
            at++;
        if (at == r->n_kernels)
            r->kernels[r->n_kernels++].name = arena_printf(a, "%s", k->file);
        r->kernels[at].launches++;
        r->kernels[at].ms += 1e3 * seconds[i];
        r->kernels[at].gflops += 1e-9 * k->flops;
        r->kernels[at].gb_s += 1e-9 * k->bytes;
    }
    r->launches += launches_count(l);
    return 0;
}

/* Of multiply-adds in registers and of a copy, each for a fifth of a second. */
static int record_peaks(struct record *r, dev *d)
{
    bench *b = bench_open(d, &(struct bench_options){ .seconds = 0.2 });
    int rc = b ? 0 : -1;
    for (int i = 0; b && i < bench_count(b) && !rc; i++) {
        bool fma = !strcmp(bench_name(b, i), "peak.fma");
        struct bench_result got;
        if ((!fma && strcmp(bench_name(b, i), "peak.bandwidth")) || (rc = bench_run(b, i, &got)))
            continue;
        f64 best = got.median_ms / got.min_ms;                     // a peak is what it once reached
        if (fma)
            r->peak_gflops = best * got.gflops;
        else
            r->peak_gb_s = best * got.gb_s;
    }
    bench_close(b);
    return rc;
}

int record_kernels(struct record *r, arena *a, dev *d, launches *step, launches *update)
{
    r->kernels = arena_array(a, struct record_kernel, launches_count(step) + launches_count(update) + 1);
    if (record_times(r, a, step) || record_times(r, a, update) || record_peaks(r, d))
        return -1;
    for (int i = 0; i < r->n_kernels; i++) {
        f64 seconds = MAX(1e-3 * r->kernels[i].ms, 1e-9);
        r->kernels[i].gflops /= seconds;
        r->kernels[i].gb_s /= seconds;
        if (r->peak_gflops > 0 && r->peak_gb_s > 0)
            r->kernels[i].of_peak = MAX(r->kernels[i].gflops / r->peak_gflops,
                                        r->kernels[i].gb_s / r->peak_gb_s);
    }
    qsort(r->kernels, (size_t)r->n_kernels, sizeof *r->kernels, by_time);
    return 0;
}
