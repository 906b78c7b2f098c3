/* profile.c: where the device's time goes. Launches are timed by device events in a queue of
 * their own; JETCL_TRACE=time prints one line per kernel, the slowest first; train.profile
 * puts each launch on the timeline. */
#include "dev/list.h"
#include <math.h>
#include <stdlib.h>

static cl_command_queue timed_queue(dev *d)
{
    return queue_make(d, &d->timed, CL_QUEUE_PROFILING_ENABLE) ? NULL : d->timed;
}

/* A call may be several kernels of a library's own: timed by the host's clock around it. */
static int time_call(struct entry *e, cl_command_queue q, f64 *seconds)
{
    if (OCL(launch_where(e), clFinish(q)))
        return -1;
    f64 start = clock_now();
    if (launch_enqueue(e, q, 0, NULL, NULL) || OCL(launch_where(e), clFinish(q)))
        return -1;
    *seconds = clock_now() - start;
    return 0;
}

static f64 time_of(cl_event event, cl_profiling_info which)
{
    cl_ulong t = 0;
    clGetEventProfilingInfo(event, which, sizeof t, &t, NULL);
    return 1e-9 * (f64)t;
}

/* Seconds of launches [from, to) by device events, the queue drained before and after. begins: NULL, or where
 * they lie in clock_now()'s time; the device's clock is set by when the first one was enqueued. */
static int time_part(launches *l, int from, int to, f64 *begins, f64 *seconds)
{
    f64 host = 0;
    arena *a = arena_open("events");
    cl_event *events = arena_array(a, cl_event, MAX(to - from, 1));
    cl_command_queue q = timed_queue(l->d);
    int rc = !q || dev_finish(l->d) ? -1 : 0;
    for (int i = from; i < to && !rc; i++) {
        f64 now = clock_now();
        rc = l->e[i].call ? time_call(&l->e[i], q, &seconds[i - from])
                          : launch_enqueue(&l->e[i], q, 0, NULL, l->e[i].cl ? &events[i - from] : NULL);
        if (begins)
            begins[i - from] = now;
        host = events[i - from] && !host ? now : host;     // when the first one was enqueued
    }
    if (q && OCL(l->name, clFinish(q)))
        rc = -1;
    f64 queued = NAN;
    for (int i = 0; i < to - from; i++) {
        if (!events[i])
            continue;
        f64 start = time_of(events[i], CL_PROFILING_COMMAND_START),
            end = time_of(events[i], CL_PROFILING_COMMAND_END);
        queued = isnan(queued) ? time_of(events[i], CL_PROFILING_COMMAND_QUEUED) : queued;
        seconds[i] = end - start;
        if (begins)
            begins[i] = host + start - queued;
        clReleaseEvent(events[i]);
    }
    arena_close(a);
    return rc;
}

int launches_time(launches *l, f64 *seconds)
{
    check(l->compiled == l->n, "%s is not compiled", l->name);
    memset(seconds, 0, l->n * sizeof *seconds);
    return l->d->queue ? time_part(l, 0, (int)l->n, NULL, seconds) : 0;
}

/* ---- train.profile ------------------------------------------------------------------------------------- */

int launches_timeline(launches *l, int from, int to)
{
    arena *a = arena_open("times");
    f64 *begins = arena_array(a, f64, to - from + 1), *seconds = arena_array(a, f64, to - from + 1);
    int rc = time_part(l, from, to, begins, seconds);
    for (int i = from; i < to && !rc; i++) {
        const launch *k = launches_at(l, i);
        if (seconds[i - from] > 0)
            timeline_span("device queue 0", k->kernel, k->label ? k->label : k->file, begins[i - from],
                          begins[i - from] + seconds[i - from]);
    }
    arena_close(a);
    return rc;
}

/* ---- JETCL_TRACE=time ---------------------------------------------------------------------------------- */

struct total { const char *kernel; int calls; f64 seconds, flops, bytes; };

static int profile_slower(const void *a, const void *b)
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

static void profile_print(const struct total *t, f64 sum)
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
    int n = 0, rc = time_part(l, from, to, NULL, seconds);
    for (int i = from; i < to; i++) {
        const launch *k = launches_at(l, i);
        struct total *t = total_of(totals, &n, k->kernel);
        t->calls++;
        t->seconds += seconds[i - from];
        t->flops += k->flops;
        t->bytes += k->bytes;
        sum += seconds[i - from];
    }
    qsort(totals, (size_t)n, sizeof *totals, profile_slower);
    trace(TRACE_time, "%s: %.2f ms in %d launches", launches_name(l), 1e3 * sum, to - from);
    for (int i = 0; i < n; i++)
        profile_print(&totals[i], sum);
    arena_close(a);
    return rc;
}
