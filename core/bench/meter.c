/* meter.c: measuring. A subject runs alternately with the two peaks (fused multiply-adds in registers, a copy
 * of more than any cache holds), and what counts is the median over the rounds: other work on the machine
 * slows both. */
#include "bench/bench_subject.h"
#include <stdlib.h>
#include <time.h>

/* ---- timing -------------------------------------------------------------------------------------------- */

/* Seconds so far: the clock's, or with cpu_time what the processors spent on us, shared among all of them. */
static f64 meter_now(const struct meter *m)
{
    struct timespec t;
    if (!m->cpu_time)
        return clock_now();
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return ((f64)t.tv_sec + 1e-9 * (f64)t.tv_nsec) / dev_info(m->d)->compute_units;
}

static int meter_run_list(void *what)
{
    const struct list *x = what;
    return launches_run_part(x->l, x->from, x->to);
}

struct subject subject_list(struct list *x)
{
    struct subject s = { meter_run_list, x };
    for (int i = x->from; i < x->to; i++)
        s.flops += launches_at(x->l, i)->flops;
    return s;
}

static int time_runs(struct meter *m, const struct subject *s, int times, f64 *seconds)
{
    f64 start = meter_now(m);
    for (int i = 0; i < times; i++)
        if (s->run(s->what))
            return -1;
    if (dev_finish(m->d))
        return -1;
    *seconds = (meter_now(m) - start) / times;
    return 0;
}

enum { ROUNDS = 9, SLOW_ROUNDS = 5 };
#define SHORTEST 4e-3                             /* seconds a reading takes at least: short ones run often */

static int times_of(struct meter *m, const struct subject *s, int *times)
{
    f64 t;
    // the first builds what a driver leaves to the last moment
    if (time_runs(m, s, 1, &t) || time_runs(m, s, 2, &t))
        return -1;
    *times = MAX(1, (int)MIN(1e5, MAX(SHORTEST, m->seconds / (2 * ROUNDS)) / t));
    return 0;
}

static int meter_ascending(const void *a, const void *b)
{
    f64 x = *(const f64 *)a, y = *(const f64 *)b;
    return (x > y) - (x < y);
}

static f64 meter_median(f64 *v, int n)
{
    qsort(v, (size_t)n, sizeof *v, meter_ascending);
    return v[n / 2];
}

int meter_measure(struct meter *m, const struct subject *s, struct bench_result *r)
{
    f64 t[ROUNDS], share[ROUNDS], fma, copy;
    int times, rounds = ROUNDS;
    if (times_of(m, s, &times))
        return -1;
    for (int i = 0; i < rounds; i++) {
        if (time_runs(m, &m->fma, 1, &fma) || time_runs(m, s, times, &t[i])
            || time_runs(m, &m->copy, 1, &copy))
            return -1;
        share[i] = MAX(s->flops / m->fma.flops * fma, s->bytes / m->copy.bytes * copy) / t[i];
        rounds = t[i] > m->seconds ? SLOW_ROUNDS : rounds;
    }
    f64 mid = meter_median(t, rounds);
    r->median_ms = 1e3 * mid;
    r->min_ms = 1e3 * t[0];
    r->gflops = 1e-9 * s->flops / mid;
    r->gb_s = 1e-9 * s->bytes / mid;
    r->of_peak = s == &m->fma || s == &m->copy ? 0 : meter_median(share, rounds);
    return 0;
}

/* ---- the peaks ----------------------------------------------------------------------------------------- */

#define STREAM_BYTES ((u64)64 << 20)
#define FMA_ROUNDS   100000

int meter_open(struct meter *m)
{
    const struct dev_info *i = dev_info(m->d);
    bool cpu = dev_class(m->d) != DEV_GPU;
    i64 wg = cpu ? 1 : MIN(256, i->max_group), lanes = cpu ? MIN(16, i->simd) : 4;
    i64 groups = i->compute_units * (cpu ? 8 : 32);
    i64 count = (i64)MIN(STREAM_BYTES, i->max_alloc / 2) / 4;
    i64 chunk = cpu ? 65536 : 16 * wg * lanes, chunks = count / chunk;
    char defs[64];
    snprintf(defs, sizeof defs, "-DWG=%d -DLANES=%d", (int)wg, (int)lanes);
    m->stream = mem_new(m->d, (u64)(2 * count * 4), "bench");
    m->out = m->stream ? mem_new(m->d, (u64)(groups * wg * 4), "bench") : NULL;
    if (!m->out || mem_fill(m->d, (range){ m->stream, 0, (u64)count * 8 }, 0x3f800000))
        return -1;
    range x = { m->stream, 0, (u64)count * 4 }, y = { m->stream, (u64)count * 4, (u64)count * 4 };
    range out = { m->out, 0, mem_bytes(m->out) };
    m->peaks = launches_new(m->d, "bench");
    launch_add(m->peaks, &(launch){ .file = "bench", .kernel = "fma_chain", .defs = defs,
                                    .flops = 20.0 * FMA_ROUNDS * (f64)(lanes * wg * groups),
                                    .global = { (u64)(groups * wg) }, .local = { (u64)wg },
                                    .args = { ARG_RANGE(out), ARG_INT(FMA_ROUNDS), ARG_REAL(.5),
                                              ARG_REAL(1) } });
    launch_add(m->peaks, &(launch){ .file = "bench", .kernel = "stream", .defs = defs,
                                    .global = { (u64)(chunks * wg) }, .local = { (u64)wg },
                                    .args = { ARG_RANGE(x), ARG_RANGE(y), ARG_LONG(chunk) } });
    m->fma_list = (struct list){ m->peaks, 0, 1 };
    m->copy_list = (struct list){ m->peaks, 1, 2 };
    m->fma = subject_list(&m->fma_list);
    m->copy = subject_list(&m->copy_list);
    m->copy.bytes = 8.0 * (f64)(chunks * chunk);
    f64 warm;
    return launches_compile(m->peaks) || time_runs(m, &m->fma, 1, &warm)
           || time_runs(m, &m->copy, 1, &warm) ? -1 : 0;
}

void meter_close(struct meter *m)
{
    launches_free(m->peaks);
    mem_free(m->stream);
    mem_free(m->out);
}
