/* ocl.c: OpenCL's errors by name, and waiting for the queue. */
#include "dev/ocl.h"

const char *ocl_name(cl_int code)
{
    static const struct { cl_int code; const char *name; } names[] = {
#define NAME(x) { x, #x }
        NAME(CL_DEVICE_NOT_FOUND), NAME(CL_DEVICE_NOT_AVAILABLE), NAME(CL_COMPILER_NOT_AVAILABLE),
        NAME(CL_MEM_OBJECT_ALLOCATION_FAILURE), NAME(CL_OUT_OF_RESOURCES), NAME(CL_OUT_OF_HOST_MEMORY),
        NAME(CL_PROFILING_INFO_NOT_AVAILABLE), NAME(CL_MEM_COPY_OVERLAP), NAME(CL_BUILD_PROGRAM_FAILURE),
        NAME(CL_MAP_FAILURE), NAME(CL_MISALIGNED_SUB_BUFFER_OFFSET),
        NAME(CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST), NAME(CL_COMPILE_PROGRAM_FAILURE),
        NAME(CL_LINKER_NOT_AVAILABLE), NAME(CL_LINK_PROGRAM_FAILURE), NAME(CL_KERNEL_ARG_INFO_NOT_AVAILABLE),
        NAME(CL_INVALID_VALUE), NAME(CL_INVALID_DEVICE), NAME(CL_INVALID_CONTEXT),
        NAME(CL_INVALID_QUEUE_PROPERTIES),
        NAME(CL_INVALID_COMMAND_QUEUE), NAME(CL_INVALID_MEM_OBJECT), NAME(CL_INVALID_BINARY),
        NAME(CL_INVALID_BUILD_OPTIONS), NAME(CL_INVALID_PROGRAM), NAME(CL_INVALID_PROGRAM_EXECUTABLE),
        NAME(CL_INVALID_KERNEL_NAME), NAME(CL_INVALID_KERNEL_DEFINITION), NAME(CL_INVALID_KERNEL),
        NAME(CL_INVALID_ARG_INDEX), NAME(CL_INVALID_ARG_VALUE), NAME(CL_INVALID_ARG_SIZE),
        NAME(CL_INVALID_KERNEL_ARGS),
        NAME(CL_INVALID_WORK_DIMENSION), NAME(CL_INVALID_WORK_GROUP_SIZE), NAME(CL_INVALID_WORK_ITEM_SIZE),
        NAME(CL_INVALID_GLOBAL_OFFSET), NAME(CL_INVALID_EVENT_WAIT_LIST), NAME(CL_INVALID_EVENT),
        NAME(CL_INVALID_OPERATION), NAME(CL_INVALID_BUFFER_SIZE), NAME(CL_INVALID_GLOBAL_WORK_SIZE),
#undef NAME
    };
    static _Thread_local char number[32];
    for (int i = 0; i < countof(names); i++)
        if (names[i].code == code)
            return names[i].name;
    snprintf(number, sizeof number, "OpenCL error %d", code);
    return number;
}

int ocl_check(const char *what, cl_int code, const char *call)
{
    crash_inside(NULL, NULL);
    if (!code)
        return 0;
    bool full = code == CL_MEM_OBJECT_ALLOCATION_FAILURE || code == CL_OUT_OF_RESOURCES
             || code == CL_OUT_OF_HOST_MEMORY;
    const char *hint = full ? " (device memory may be full: a smaller train.batch needs less)" : "";
    return fail(FAULT_DEVICE, "%s: %.*s: %s%s", what, (int)strcspn(call, "("), call, ocl_name(code), hint);
}

/* ---- waiting ------------------------------------------------------------------------------------------- */

static void ocl_reached(dev *d, fence f)
{
    for (; d->reached < f; d->reached++)
        clReleaseEvent(d->fences[(d->reached + 1) % MAX_FENCES]);
}

int dev_finish(dev *d)
{
    if (!d->queue)
        return 0;
    int rc = OCL(d->info.name, clFinish(d->queue));
    crash_catch();                                // kernels are also compiled at their first run
    ocl_reached(d, d->last);
    return rc;
}

void dev_flush(dev *d)
{
    if (d->queue)
        clFlush(d->queue);
}

fence dev_fence(dev *d)
{
    if (!d->queue)
        return 0;
    if (d->last - d->reached == MAX_FENCES)       // one this old is no longer waited for
        dev_wait(d, d->reached + 1);
    cl_event e;
    if (OCL(d->info.name, clEnqueueMarkerWithWaitList(d->queue, 0, NULL, &e)))
        return d->last;                           // the queue is broken; the next wait reports it
    d->fences[++d->last % MAX_FENCES] = e;
    return d->last;
}

int dev_wait(dev *d, fence f)
{
    check(f <= d->last, "fence %llu of %llu", (unsigned long long)f, (unsigned long long)d->last);
    if (f <= d->reached)
        return 0;
    int rc = OCL(d->info.name, clWaitForEvents(1, &d->fences[f % MAX_FENCES]));
    ocl_reached(d, f);
    return rc;
}

int queue_make(dev *d, cl_command_queue *q, cl_command_queue_properties p)
{
    cl_int e = 0;
    if (!*q)
        *q = clCreateCommandQueue(d->context, d->id, p, &e);
    return ocl_check(d->info.name, e, "clCreateCommandQueue");
}
