/* profile.c: JETCL_TRACE=time: where the device's time goes, one line per kernel, the slowest first. */
#include "dev/ocl.h"
#include <stdlib.h>

struct total { const char *kernel; int calls; f64 seconds, flops, bytes; };

static int slower(const void *a, const void *b)
{
    f64 x = ((const struct total *)a)->seconds, y = ((const struct total *)b)->seconds;
    return (x < y) - (x > y);
}

static struct total *total_of(struct total *totals, int *n, const char *kernel)
{
    for (int i = 0; i < *n; i++)
        if (!strcmp(totals[i].kernel, kernel))
            return &totals[i];
    totals[*n].kernel = kernel;
    return &totals[(*n)++];
}

static void print(const struct total *t, f64 sum)
{
    f64 s = MAX(t->seconds, 1e-9);
    trace(TRACE_time, "%9.3f ms %5.1f %% %5d x %-32s %7.1f GFLOP/s %6.1f GB/s", 1e3 * t->seconds,
          100 * t->seconds / MAX(sum, 1e-9), t->calls, t->kernel, 1e-9 * t->flops / s, 1e-9 * t->bytes / s);
}

int launches_trace(launches *l, int from, int to)
{
    arena *a = arena_open("times");
    f64 *seconds = arena_array(a, f64, to - from + 1), sum = 0;
    struct total *totals = arena_array(a, struct total, to - from + 1);
    int n = 0, rc = launches_time_part(l, from, to, seconds);
    for (int i = from; i < to; i++) {
        const launch *k = launches_at(l, i);
        struct total *t = total_of(totals, &n, k->kernel);
        t->calls++;
        t->seconds += seconds[i - from];
        t->flops += k->flops;
        t->bytes += k->bytes;
        sum += seconds[i - from];
    }
    qsort(totals, (size_t)n, sizeof *totals, slower);
    trace(TRACE_time, "%s: %.2f ms in %d launches", launches_name(l), 1e3 * sum, to - from);
    for (int i = 0; i < n; i++)
        print(&totals[i], sum);
    arena_close(a);
    return rc;
}
