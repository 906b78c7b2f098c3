/* order.c: launches that do not need each other overlap. Where a launch ends, cores are idle until the last
 * of them is done; in a queue that keeps no order they begin something else that is ready.
 *
 *     dX = dY W            reads dY and W, writes dX
 *     dW += dY' X          reads dY and X, writes dW         may overlap with dX
 *     dU = dX * slope      reads dX, writes dU               waits for dX only
 *
 * A launch waits for an earlier one if either writes what the other touches; `const` arguments of a kernel
 * are only read. So the order has no effect on any value. (It also waits for one of its own kernel with
 * another size.) Other commands stay in the device's own queue:
 *
 *     queue   ... a write, [start] ................. [barrier: all of the list] ...
 *     unordered             launches, each after those it waits for
 *
 * For CPUs only: on GPUs it is not measured, and their drivers may pay more for the events than they gain.
 */
#include "dev/list.h"

static bool order_meet(range a, range b)
{
    return a.mem && a.mem == b.mem && a.off < b.off + b.bytes && b.off < a.off + a.bytes;
}

/* PoCL before 6 keeps the code of a kernel once more when it is launched with more groups than ever before,
 * then confuses the copies, and aborts where several launches of it are running. */
static bool must_not_overlap(const struct entry *x, const struct entry *y)
{
    return x->kernel == y->kernel && memcmp(x->global, y->global, sizeof x->global);
}

/* Must y, the later one, wait for x? */
static bool order_depend(const struct entry *x, const struct entry *y)
{
    if (must_not_overlap(x, y))
        return true;
    for (int i = 0; i < x->kernel->args; i++)
        for (int j = 0; j < y->kernel->args && x->k.args[i].kind == ARG_KIND_RANGE; j++)
            if (y->k.args[j].kind == ARG_KIND_RANGE && order_meet(x->k.args[i].r, y->k.args[j].r) &&
                !(x->kernel->reads[i] && y->kernel->reads[j]))
                return true;
    return false;
}

/* Where the bits of launch i begin: each has those of the launches before it alone, in words of 64. */
static i64 order_row(i64 i) { return 32 * (i / 64) * (i / 64 + 1) + i % 64 * (i / 64 + 1); }

/* The launches that the i-th waits for, the last first, without those that one of them comes after anyway.
 * before: for every launch, a bit for each launch it comes after. */
static void find_after(launches *l, int i, u64 *before)
{
    struct entry *e = &l->e[i];
    u64 *mine = before + order_row(i);
    size_t cap = 0, n = 0;
    e->after = NULL;
    e->waited = false;
    for (int j = i - 1; j >= 0 && e->cl; j--) {
        if (j % 64 == 63 && mine[j / 64] == UINT64_MAX) {          // in a deep network nearly all are
            j -= 63;
            continue;
        }
        if (!l->e[j].cl || mine[j / 64] >> j % 64 & 1 || !order_depend(&l->e[j], e))
            continue;
        *arena_push(l->a, e->after, n, cap) = j;
        mine[j / 64] |= (u64)1 << j % 64;
        for (int w = 0; w <= j / 64; w++)
            mine[w] |= before[order_row(j) + w];
        l->e[j].waited = true;
    }
    e->n_after = (int)n;
}

static bool can_overlap(const launches *l)
{
    const dev *d = l->d;
    cl_command_queue_properties p = 0;
    for (size_t i = 0; i < l->n; i++)
        if (l->e[i].call)
            return false;
    return d->queue && d->class == DEV_CPU && !trace_on(TRACE_in_order) &&
           !clGetDeviceInfo(d->id, CL_DEVICE_QUEUE_PROPERTIES, sizeof p, &p, NULL) &&
           p & CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE;
}

int order_find(launches *l)
{
    int n = (int)l->n, last = -1;
    bool chain = true;                            // each waits for the one before it
    l->events = NULL;
    if (!can_overlap(l))
        return 0;
    arena *a = arena_open("order");
    u64 *before = arena_array(a, u64, order_row(n) + 1);
    for (int i = 0; i < n; i++) {
        const struct entry *e = &l->e[i];
        find_after(l, i, before);
        chain &= !e->cl || last < 0 || (e->n_after && e->after[0] == last);
        last = e->cl ? i : last;
    }
    arena_close(a);
    if (chain)
        return 0;
    l->events = arena_array(l->a, cl_event, 2 * n + 2);
    return queue_make(l->d, &l->d->unordered, CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE);
}

/* ---- running ------------------------------------------------------------------------------------------- */

/* Enqueues the i-th launch after those it waits for, or after `start`. */
static int order_enqueue(launches *l, size_t i, cl_event start)
{
    struct entry *e = &l->e[i];
    cl_event *wait = l->events + l->n;
    int n = 0;
    l->events[i] = NULL;
    for (; n < e->n_after; n++)
        wait[n] = l->events[e->after[n]];
    if (!n)
        wait[n++] = start;
    return launch_enqueue(e, l->d->unordered, (cl_uint)n, wait, &l->events[i]);
}

/* The device's own queue continues when all launches are done: it waits for those that no other launch
 * waits for. */
static int order_join(launches *l)
{
    cl_event *wait = l->events + l->n;
    cl_uint n = 0;
    for (size_t i = 0; i < l->n; i++)
        if (l->e[i].cl && !l->e[i].waited)
            wait[n++] = l->events[i];
    return OCL(l->name, clFlush(l->d->unordered)) ||
           OCL(l->name, clEnqueueBarrierWithWaitList(l->d->queue, n, wait, NULL)) ? -1 : 0;
}

/* The events of launches [from, to), after those of the mark before, as one. */
static int mark_here(launches *l, size_t from, size_t to, const struct mark *before, struct mark *c)
{
    cl_event *wait = l->events + l->n, event = NULL;
    cl_uint n = 0;
    for (size_t i = from; i < to; i++)
        if (l->events[i])
            wait[n++] = l->events[i];
    if (!n && before && before->event && !clRetainEvent(before->event))
        c->event = before->event;
    if (!n)
        return 0;                                     // without one, marks_end gives it one
    int rc = OCL(l->name, clEnqueueMarkerWithWaitList(l->d->marks, n, wait, &event));
    c->event = event;
    return rc;
}

static bool order_ready(const launches *l, const bool *done, size_t i)
{
    bool yes = !done[i];
    for (int k = 0; k < l->e[i].n_after && yes; k++)
        yes = done[l->e[i].after[k]];
    return yes;
}

/* JETCL_TRACE=shuffle: one after the other, always the last that needs to wait for nothing any more. */
static int run_shuffled(launches *l)
{
    arena *a = arena_open("shuffle");
    bool *done = arena_array(a, bool, l->n);
    int rc = 0;
    for (size_t left = l->n; left && !rc; left--) {
        size_t i = l->n - 1;
        while (!order_ready(l, done, i))
            i--;
        rc = launch_enqueue(&l->e[i], l->d->queue, 0, NULL, NULL);
        done[i] = true;
    }
    arena_close(a);
    return rc;
}

int order_run(launches *l, struct mark *m, int n_marks)
{
    cl_event start;
    size_t n = 0, from = 0;
    int rc = 0, k = 0;
    if (trace_on(TRACE_shuffle))
        return run_shuffled(l);
    if ((n_marks && queue_make(l->d, &l->d->marks, 0)) ||
        OCL(l->name, clEnqueueMarkerWithWaitList(l->d->queue, 0, NULL, &start)) ||
        OCL(l->name, clFlush(l->d->queue)))
        return -1;
    for (; n < l->n && !rc; n++) {
        rc = order_enqueue(l, n, start);
        for (; k < n_marks && m[k].at <= (int)n + 1 && !rc; from = n + 1, k++)
            rc = mark_here(l, from, n + 1, k ? &m[k - 1] : NULL, &m[k]);
    }
    rc = rc ? rc : order_join(l);
    if (rc)
        clFinish(l->d->unordered);                    // whatever runs must not outlive the list
    clReleaseEvent(start);
    for (size_t i = 0; i < n; i++)
        if (l->events[i])
            clReleaseEvent(l->events[i]);
    return rc;
}
