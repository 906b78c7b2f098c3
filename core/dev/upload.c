/* upload.c: batches on their way to the device while it still computes. What is to go up is copied into host
 * memory that the driver can fetch without help (pinned), and from there in a queue beside the launches':
 *
 *     queue     step n: launches that read set 0 ........ | wait | step n + 1: launches that read set 1 .....
 *     beside         set 1 goes up ---------------------------^  set 0 goes up, once step n has read it
 */
#include "dev/list.h"

struct upload {
    arena   *a;
    dev     *d;
    cl_mem   pinned;
    u8      *host;                           /* where it is mapped, for as long as it lives */
    u64      bytes, used;
    cl_event copied, read;                   /* of the last set: it has left host memory; it has been read */
};

static int upload_map(upload *u)
{
    cl_int e;
    u->pinned = clCreateBuffer(u->d->context, CL_MEM_READ_WRITE | CL_MEM_ALLOC_HOST_PTR, u->bytes, NULL, &e);
    if (ocl_check("pixels on the host", e, "clCreateBuffer"))
        return -1;
    u->host = clEnqueueMapBuffer(u->d->queue, u->pinned, CL_TRUE, CL_MAP_WRITE, 0, u->bytes, 0, NULL, NULL, &e);
    return ocl_check("pixels on the host", e, "clEnqueueMapBuffer") || queue_make(u->d, &u->d->beside, 0)
           ? -1 : 0;
}

bool dev_uploads_beside(const dev *d) { return d->queue && d->class == DEV_GPU && !trace_on(TRACE_in_order); }

upload *upload_new(dev *d, u64 bytes)
{
    arena *a = arena_open("upload");
    upload *u = arena_one(a, upload);
    *u = (upload){ .a = a, .d = d, .bytes = MAX(bytes, 1) };
    if (!upload_map(u))
        return u;
    upload_free(u);
    return NULL;
}

static void upload_forget(cl_event *e)
{
    if (*e)
        clReleaseEvent(*e);
    *e = NULL;
}

void upload_free(upload *u)
{
    if (!u)
        return;
    if (u->copied)
        clWaitForEvents(1, &u->copied);
    upload_forget(&u->copied);
    upload_forget(&u->read);
    if (u->host)
        clEnqueueUnmapMemObject(u->d->queue, u->pinned, u->host, 0, NULL, NULL);
    if (u->pinned)
        clReleaseMemObject(u->pinned);
    arena_close(u->a);
}

int upload_begin(upload *u)
{
    int rc = u->copied ? OCL("pixels", clWaitForEvents(1, &u->copied)) : 0;
    upload_forget(&u->copied);
    u->used = 0;
    return rc;
}

int upload_add(upload *u, range r, const void *src)
{
    mem_check(r);
    check(r.bytes <= u->bytes - u->used, "an upload of %llu bytes, %llu used, for %llu",
          (unsigned long long)r.bytes, (unsigned long long)u->used, (unsigned long long)u->bytes);
    u8 *from = u->host + u->used;
    memcpy(from, src, r.bytes);
    u->used += r.bytes;
    return OCL(r.mem->what, clEnqueueWriteBuffer(u->d->beside, r.mem->cl, CL_FALSE, r.off, r.bytes, from,
                                                 u->read != NULL, u->read ? &u->read : NULL, NULL));
}

int upload_end(upload *u)
{
    dev *d = u->d;
    return OCL("pixels", clEnqueueMarkerWithWaitList(d->beside, 0, NULL, &u->copied))
           || OCL("pixels", clFlush(d->beside))
           || OCL("pixels", clEnqueueBarrierWithWaitList(d->queue, 1, &u->copied, NULL)) ? -1 : 0;
}

int upload_read(upload *u)
{
    upload_forget(&u->read);
    return OCL("pixels", clEnqueueMarkerWithWaitList(u->d->queue, 0, NULL, &u->read))
           || OCL("pixels", clFlush(u->d->queue)) ? -1 : 0;
}
