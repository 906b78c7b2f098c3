/* open.c: a device's life: context and queue, what a handle may be told before anything is built, closing. */
#include "dev/ocl.h"
#include <stdlib.h>

/* JETCL_CLASS and JETCL_CL, for those who work on kernels; SPEC@gpu, @cpu and @plain, for those who compare. */
static int open_overrides(dev *d, const char *spec)
{
    const char *class = getenv("JETCL_CLASS"), *folder = getenv("JETCL_CL");
    if (folder && *folder && !file_exists(folder))
        return fail(FAULT_USAGE, "JETCL_CL=%s: no such folder", folder);
    const char *kernels = choose_kernels(spec);
    d->plain = kernels && !strcmp(kernels, "plain");
    if (kernels && !d->plain)
        class = kernels;
    if (!class || !*class)
        return 0;
    if (strcmp(class, "cpu") && strcmp(class, "gpu"))
        return fail(FAULT_USAGE, "JETCL_CLASS=%s: must be cpu or gpu", class);
    d->class = *class == 'c' ? DEV_CPU : DEV_GPU;
    return 0;
}

static int open_connect(dev *d, const struct found *f)
{
    cl_int e;
    cl_context_properties props[] = { CL_CONTEXT_PLATFORM, (cl_context_properties)f->platform, 0 };
    u64 config = probe_number(f->id, CL_DEVICE_SINGLE_FP_CONFIG);
    if (f->info.little_endian != (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__))
        return fail(FAULT_DEVICE, "%s: its byte order differs from this machine's", f->info.name);
    d->id = f->id;
    d->own_builtins = strstr(f->info.version, "PoCL");                           // see program.c
    d->keep = !d->own_builtins || trace_on(TRACE_binaries);
    d->rounded = config & CL_FP_CORRECTLY_ROUNDED_DIVIDE_SQRT;
    crash_inside("clCreateContext", driver_starts);
    d->context = clCreateContext(props, 1, &f->id, NULL, NULL, &e);
    crash_inside(NULL, NULL);
    if (ocl_check(f->info.name, e, "clCreateContext"))
        return -1;
    crash_inside("clCreateCommandQueue", driver_starts);
    d->queue = clCreateCommandQueue(d->context, f->id, 0, &e);
    crash_inside(NULL, NULL);
    return ocl_check(f->info.name, e, "clCreateCommandQueue");
}

/* What the device's own bookkeeping takes does not count as used (dev_open). */
static int make_tickets(dev *d)
{
    u64 bytes = TICKETS * (u64)d->info.align + 4 * DEV_COUNTERS;
    if (!(d->tickets = mem_new(d, bytes, "tickets")) || mem_fill(d, (range){ d->tickets, 0, bytes }, 0))
        return -1;
    return 0;
}

/* The option is asked for only if a program builds with it: older drivers do not know it. */
static void confirm_wide(dev *d)
{
    static const char *const text = "kernel void none(global float *x) { x[0] = 1; }";
    cl_int e;
    if (!*d->info.many_registers)
        return;
    cl_program p = clCreateProgramWithSource(d->context, 1, (const char **)&text, NULL, &e);
    if (!p || clBuildProgram(p, 1, &d->id, d->info.many_registers, NULL, NULL))
        d->info.many_registers[0] = 0;
    if (p)
        clReleaseProgram(p);
}

dev *dev_open(const char *spec)
{
    if (!spec)
        spec = getenv("JETCL_DEVICE");
    spec = spec && *spec ? spec : "auto";
    if (!strcmp(spec, "null")) {
        dev *null = null_open();
        if (null)
            matrix_confirm(null);
        return null;
    }
    arena *a = arena_open("device");
    const struct found *f = choose_device(a, spec);
    if (!f) {
        arena_close(a);
        return NULL;
    }
    dev *d = arena_one(a, dev);
    *d = (dev){ .a = a, .info = f->info, .class = f->info.class };
    if (open_overrides(d, spec) || fake_apply(&d->info, &d->class) || open_connect(d, f) || make_tickets(d)) {
        dev_close(d);
        return NULL;
    }
    confirm_wide(d);
    if (!d->info.cpu_kind && d->info.joins && d->class == DEV_GPU)
        d->info.joins = dev_joins_hold(d, NULL);
    matrix_confirm(d);
    d->used = d->peak = 0;
    tune_load(d);
    crash_hint(dev_cache_hint(a, &d->info));
    if (!strcmp(spec, "auto"))
        say(SAY_NORMAL, "device %s: %s, %s", d->info.spec, d->info.name, d->info.platform);
    return d;
}

dev *dev_open_rank(const char *spec, int rank)
{
    arena *a = arena_open("device of a rank");
    const char *own = spec;
    if (rank >= 0)
        dev_of_rank(a, spec, rank, &own);
    dev *d = dev_open_real(own);
    arena_close(a);
    return d;
}

dev *dev_open_real(const char *spec)
{
    dev *d = dev_open(spec);
    if (!d || d->queue)
        return d;
    dev_close(d);
    fail(FAULT_USAGE, "device null computes nothing, so there would be no result");
    return NULL;
}

void dev_close(dev *d)
{
    if (!d)
        return;
    if (d->queue)
        dev_finish(d);
    programs_close(d);
    mem_free(d->tickets);
    cl_command_queue all[] = { d->unordered, d->marks, d->beside, d->timed, d->queue };
    for (int i = 0; i < countof(all); i++)
        if (all[i])
            clReleaseCommandQueue(all[i]);
    if (d->context)
        clReleaseContext(d->context);
    arena_close(d->a);
}

const struct dev_info *dev_info(const dev *d)  { return &d->info; }
enum dev_class         dev_class(const dev *d) { return d->class; }

void dev_force_class(dev *d, enum dev_class class)
{
    check(class == DEV_CPU || class == DEV_GPU, "class %d for %s", class, d->info.name);
    d->class = class;
    if (class == DEV_GPU && d->info.cpu_kind)
        d->options = "-cl-opt-disable";
    tune_load(d);
}

void dev_force_plain(dev *d) { d->plain = true; }

void dev_replace(dev *d, const char *files)
{
    check(strlen(files) + 3 <= sizeof d->info.replaced, "too many kernel files: %s", files);
    snprintf(d->info.replaced, sizeof d->info.replaced, *files ? " %s " : "%s", files);
}

void dev_limit_alloc(dev *d, u64 bytes) { d->info.max_alloc = MIN(d->info.max_alloc, bytes); }
void dev_want_blas(dev *d)              { d->blas_anywhere = true; }
