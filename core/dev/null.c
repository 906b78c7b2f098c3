/* null.c: the device without hardware. It takes every call of dev.h, checks what a device would check about
 * ranges, and computes nothing: the other files of this folder do no OpenCL where dev.queue is NULL. Reading
 * gives zeros. */
#include "dev/ocl.h"

const struct dev_info null_info = {
    .name = "null", .vendor = "jetcl", .driver = JETCL_VERSION, .version = "none", .platform = "null",
    .spec = "null", .class = DEV_NULL, .global_mem = (u64)1 << 40, .max_alloc = (u64)1 << 38,
    .local_mem = 64 << 10, .compute_units = 1, .max_group = 1024, .align = 128, .simd = 16,
    .registers = 32, .cache = { 48 << 10, 1 << 20 }, .cache_from = "assumed", .little_endian = true,
};

dev *null_open(void)
{
    arena *a = arena_open("null device");
    dev *d = arena_one(a, dev);
    *d = (dev){ .a = a, .class = DEV_NULL, .info = null_info };
    if (fake_apply(&d->info, &d->class)) {
        arena_close(a);
        return NULL;
    }
    return d;
}
