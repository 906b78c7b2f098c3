/* enqueue.c: a launch list as others use it: compiled once, then enqueued once per step.
 *
 *     launch_add ... -> launches_compile -> launches_run, launches_run, ...
 */
#include "dev/list.h"

int launches_compile(launches *l)
{
    return launches_bind(l) || order_find(l) ? -1 : 0;
}

int launches_run_part(launches *l, int from, int to)
{
    check(l->compiled == l->n, "%s is not compiled", l->name);
    check(0 <= from && from <= to && to <= (int)l->n, "launches %d to %d of %zu", from, to, l->n);
    if (!l->d->queue)
        return 0;
    if (trace_on(TRACE_time))
        return launches_trace(l, from, to);
    if (timeline_on())
        return launches_timeline(l, from, to);
    for (int i = from; i < to; i++)
        if (launch_enqueue(&l->e[i], l->d->queue, 0, NULL, NULL))
            return -1;
    return 0;
}

int launches_run(launches *l)
{
    return launches_run_marks(l, NULL, 0);
}

int launches_run_marks(launches *l, struct mark *c, int n)
{
    bool one_run = trace_on(TRACE_time) || timeline_on(), overlap = l->events && !one_run;
    int at = 0, rc = overlap ? order_run(l, c, n) : 0;
    for (int i = 0; i < n && !overlap && !one_run && !rc && l->d->queue; at = c[i++].at)
        rc = launches_run_part(l, at, c[i].at)
             || OCL(l->name, clEnqueueMarkerWithWaitList(l->d->queue, 0, NULL, (cl_event *)&c[i].event))
             ? -1 : 0;
    if (!overlap && !rc)
        rc = launches_run_part(l, at, (int)l->n);
    return rc ? -1 : marks_end(l->d, c, n);
}
