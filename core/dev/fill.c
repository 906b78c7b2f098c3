/* fill.c: memory filled with a pattern, by the driver or by a kernel. */
#include "dev/ocl.h"

/* Drivers for CPUs fill on one core: PoCL's takes 1.5 times as long as the kernel on two, and twice where
 * the pages are untouched. The list costs 0.2 ms. */
static int fill_by_kernel(dev *d, range r, u32 pattern)
{
    launches *l = launches_new(d, r.mem->what);
    i64 n = (i64)(r.bytes / sizeof pattern);
    size_t groups = (size_t)CEIL_DIV(n, START_BLOCK);
    launch_add(l, &(launch){ .file = "start", .kernel = "fill", .global = { groups },
                             .args = { ARG_RANGE(r), ARG_LONG(n), ARG_INT((i32)pattern) } });
    int rc = launches_compile(l) || launches_run(l) ? -1 : 0;
    launches_free(l);
    return rc;
}

int mem_fill(dev *d, range r, u32 pattern)
{
    mem_check(r);
    check(r.off % sizeof pattern == 0 && r.bytes % sizeof pattern == 0, "%s: fill of %llu bytes", r.mem->what,
          (unsigned long long)r.bytes);
    if (!d->queue || !r.bytes)
        return 0;
    if (d->class == DEV_CPU && r.bytes >= 16 << 20 && r.off % d->info.align == 0)
        return fill_by_kernel(d, r, pattern);
    return OCL(r.mem->what, clEnqueueFillBuffer(d->queue, r.mem->cl, &pattern, sizeof pattern, r.off, r.bytes,
                                                0, NULL, NULL));
}
