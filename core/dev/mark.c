/* mark.c: reading what a launch list has computed while the rest of it still runs. A mark's event comes when
 * the launches before it are done; copies wait for it in a queue of their own:
 *
 *     queue    launch launch launch [mark 0] launch launch [mark 1] launch ...
 *     beside                         read             read
 *
 * Where launches overlap (order.c), marks are in a third queue, since PoCL's marker waits for everything in an
 * unordered queue, whatever it was told to wait for: a list of events per mark, searched at each event. */
#include "dev/list.h"

int marks_end(dev *d, struct mark *c, int n)
{
    cl_event all = NULL;
    if (!d->queue || !n)
        return 0;
    if (queue_make(d, &d->beside, 0) || OCL(d->info.name, clEnqueueMarkerWithWaitList(d->queue, 0, NULL, &all)))
        return -1;
    for (int i = 0; i < n; i++)
        if (!c[i].event && !clRetainEvent(all))
            c[i].event = all;
    clReleaseEvent(all);
    clFlush(d->queue);
    if (d->marks)
        clFlush(d->marks);
    return 0;
}

void marks_forget(struct mark *c, int n)
{
    for (int i = 0; i < n; i++) {
        if (c[i].event)
            clReleaseEvent(c[i].event);
        c[i].event = NULL;
    }
}

int mem_read_at(dev *d, const struct mark *c, range r, void *dst)
{
    cl_event event = c->event;
    mem_check(r);
    if (!d->queue)
        memset(dst, 0, r.bytes);
    if (!d->queue || !r.bytes)
        return 0;
    return OCL(r.mem->what, clEnqueueReadBuffer(d->beside, r.mem->cl, CL_FALSE, r.off, r.bytes, dst, 1, &event,
                                                NULL));
}

int mem_write_beside(dev *d, range r, const void *src)
{
    mem_check(r);
    if (!d->queue || !r.bytes)
        return 0;
    return OCL(r.mem->what, clEnqueueWriteBuffer(d->beside, r.mem->cl, CL_TRUE, r.off, r.bytes, src, 0, NULL,
                                                 NULL));
}

bool dev_lends(const dev *d)
{
    return d->queue && d->info.cpu_kind && d->class == DEV_CPU && !trace_on(TRACE_no_lend);
}

int mem_lend(dev *d, const struct mark *c, range r, bool write, void **p)
{
    cl_event event = c ? c->event : NULL;
    cl_command_queue queue = c ? d->beside : d->queue;
    cl_int e = 0;
    mem_check(r);
    crash_inside("clEnqueueMapBuffer", r.mem->what);
    *p = !r.bytes ? NULL : clEnqueueMapBuffer(queue, r.mem->cl, c ? CL_FALSE : CL_TRUE,
                                              write ? CL_MAP_READ | CL_MAP_WRITE : CL_MAP_READ, r.off, r.bytes,
                                              event != NULL, event ? &event : NULL, NULL, &e);
    return ocl_check(r.mem->what, e, "clEnqueueMapBuffer");
}

int mem_return(dev *d, range r, void *p)
{
    cl_event event = NULL;
    if (!p)
        return 0;
    int rc = queue_make(d, &d->beside, 0)
             || OCL(r.mem->what, clEnqueueUnmapMemObject(d->beside, r.mem->cl, p, 0, NULL, &event))
             || OCL(r.mem->what, clWaitForEvents(1, &event));
    if (event)
        clReleaseEvent(event);
    return rc ? -1 : 0;
}

int mem_reads_end(dev *d, struct mark *end)
{
    cl_event event = NULL;
    int rc = !d->queue ? 0 : OCL(d->info.name, clEnqueueMarkerWithWaitList(d->beside, 0, NULL, &event));
    if (d->queue)
        clFlush(d->beside);
    end->event = event;
    return rc;
}

int mark_reached(dev *d, const struct mark *c, bool *yes)
{
    cl_int state = CL_COMPLETE;
    int rc = !c->event ? 0 : OCL(d->info.name, clGetEventInfo(c->event, CL_EVENT_COMMAND_EXECUTION_STATUS,
                                                              sizeof state,
                                                             &state, NULL));
    *yes = state <= CL_COMPLETE;
    return rc || state < 0 ? fail(FAULT_DEVICE, "%s: a copy failed", d->info.name) : 0;
}
