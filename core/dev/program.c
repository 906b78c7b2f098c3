/* program.c: programs are built once per (text, options) and kept on disk as the driver's binaries.
 *
 *     cache/kernels/KEY.bin      "jetcl binary 1\n\0" | sha256 of the rest | binary
 *
 * KEY is a hash of everything the binary depends on. PoCL keeps its own cache of compiled kernels, and asking
 * it for a binary makes it compile every kernel of the program again for any local size (50 ms and more each,
 * against 17 ms that a start saves later); so programs are not kept there. To find a program in that cache PoCL
 * preprocesses it, after a header of all built-in functions: 15 000 lines, 50 ms a program at every start, and
 * 300 ms where it is compiled. cl/builtins.h declares those that kernels call, in their place.
 */
#include "dev/ocl.h"
#include <openssl/evp.h>

static const char magic[16] = "jetcl binary 1\n";
#define HEAD (sizeof magic + 32)

static void program_sha256(const void *p, size_t n, u8 out[32])
{
    check(EVP_Digest(p, n, out, NULL, EVP_sha256(), NULL), "sha256 of %zu bytes", n);
}

const char *program_options(arena *a, const dev *d, const char *defs)
{
    static const char *const class[] = { " -DCLASS_CPU=1", " -DCLASS_GPU=1", "" };
    const struct dev_info *i = &d->info;
    bool lanes = i->emulated > 1 && d->class == DEV_GPU;
    const char *more = d->options ? d->options : getenv("JETCL_CL_OPTIONS");
    return arena_printf(a, "-cl-std=CL1.2 -w -cl-kernel-arg-info%s%s -DSIMD=%u -DLOCAL_BYTES=%llu%s%s%s%s%s%s",
                        d->rounded ? " -cl-fp32-correctly-rounded-divide-sqrt" : "",
                        source_plain(d) ? "" : class[d->class], i->simd, (unsigned long long)i->local_mem,
                        i->fma || d->class != DEV_CPU ? "" : " -DNO_FMA=1",
                        lanes ? arena_printf(a, " -DEMULATE_SUBGROUP=%u", i->emulated) : "",
                        defs && *defs ? " " : "", defs ? defs : "",
                        more ? " " : "", more ? more : "");
}

static void make_key(const dev *d, const char *text, const char *options, u8 key[32])
{
    const struct dev_info *i = &d->info;
    arena *a = arena_open("key");
    char *all = arena_printf(a, "%s\n%s\n%s\n%s\n%s\n%s\n%s\n%s", JETCL_VERSION, i->platform, i->name,
                             i->vendor, i->driver, i->version, options, text);
    program_sha256(all, strlen(all), key);
    arena_close(a);
}

/* ---- building ------------------------------------------------------------------------------------------ */

static const char *build_log(arena *a, const dev *d, cl_program cl)
{
    size_t n = 0;
    clGetProgramBuildInfo(cl, d->id, CL_PROGRAM_BUILD_LOG, 0, NULL, &n);
    char *log = arena_array(a, char, n + 1);
    clGetProgramBuildInfo(cl, d->id, CL_PROGRAM_BUILD_LOG, n, log, NULL);
    return log;
}

/* A program, built or not: *e. NULL + fail when there is none. before: what comes first. */
static cl_program program_compile(const dev *d, const char *label, const char *before, const char *text,
                                  const char *options, cl_int *e)
{
    const char *texts[] = { before, text };
    cl_program cl = clCreateProgramWithSource(d->context, countof(texts), texts, NULL, e);
    if (ocl_check(label, *e, "clCreateProgramWithSource"))
        return NULL;
    *e = clBuildProgram(cl, 1, &d->id, options, NULL, NULL);
    return cl;
}

/* With cl/builtins.h; from the first program on for which that is not enough, with the driver's header. */
static cl_program program_compile_either(arena *a, dev *d, const char *label, const char *text,
                                         const char *options, cl_int *e)
{
    if (d->own_builtins) {
        const char *brief = arena_printf(a, "%s -D_OPENCL_H_", options);      // its header counts as read
        cl_program cl = program_compile(d, label, source_builtins(a), text, brief, e);
        if (!cl || *e != CL_BUILD_PROGRAM_FAILURE)
            return cl;
        trace(TRACE_kernel, "%s: with the driver's own header of built-in functions", label);
        clReleaseProgram(cl);
        d->own_builtins = false;
    }
    return program_compile(d, label, "", text, options, e);
}

static cl_program program_build(dev *d, const char *label, const char *text, const char *options)
{
    arena *a = arena_open("build");
    cl_int e;
    crash_inside("clBuildProgram", label);
    progress("building kernels: %s", label);
    cl_program cl = program_compile_either(a, d, label, text, options, &e);
    progress_done();
    crash_inside(NULL, NULL);
    crash_catch();
    const char *log = cl && (e || trace_on(TRACE_kernel)) ? build_log(a, d, cl) : "";
    if (cl && e) {
        fail(FAULT_DEVICE, "%s: clBuildProgram: %s on %s:\n%.1600s", label, ocl_name(e), d->info.name, log);
        clReleaseProgram(cl);
        cl = NULL;
    } else if (*log && strcmp(log, "\n")) {
        trace(TRACE_kernel, "%s: %s", label, log);
    }
    arena_close(a);
    return cl;
}

/* The binary at path as a built program, or NULL: none there, damaged, or refused by the driver. */
static cl_program program_load(const dev *d, const char *path, const char *options)
{
    struct file_map m;
    cl_program cl = NULL;
    if (!file_exists(path) || file_map(path, &m))
        return NULL;
    u8 sum[32];
    if (m.n <= HEAD || memcmp(m.p, magic, sizeof magic))
        goto done;
    program_sha256(m.p + HEAD, m.n - HEAD, sum);
    if (memcmp(sum, m.p + sizeof magic, 32))
        goto done;
    const u8 *binary = m.p + HEAD;
    size_t size = m.n - HEAD;
    cl_int e, status;
    crash_inside("clCreateProgramWithBinary", path);
    cl = clCreateProgramWithBinary(d->context, 1, &d->id, &size, &binary, &status, &e);
    if (cl && clBuildProgram(cl, 1, &d->id, options, NULL, NULL)) {
        clReleaseProgram(cl);
        cl = NULL;
    }
    crash_inside(NULL, NULL);
done:
    file_unmap(&m);
    return cl;
}

static int program_save(arena *a, cl_program cl, const char *path)
{
    size_t size = 0;
    if (clGetProgramInfo(cl, CL_PROGRAM_BINARY_SIZES, sizeof size, &size, NULL) || !size)
        return 0;                                 // a driver without binaries builds each time
    u8 *file = arena_array(a, u8, HEAD + size), *binary = file + HEAD;
    if (clGetProgramInfo(cl, CL_PROGRAM_BINARIES, sizeof binary, &binary, NULL))
        return 0;
    memcpy(file, magic, sizeof magic);
    program_sha256(binary, size, file + sizeof magic);
    if (file_mkdirs(arena_printf(a, "%s/kernels", dev_cache_dir())))
        return -1;
    return file_save(path, file, HEAD + size);
}

static void program_keep(dev *d, cl_program cl, const char *path)
{
    arena *a = arena_open("binary");
    if (d->keep && program_save(a, cl, path)) {
        warn("cannot cache built kernels: %s", fail_message());
        fail_clear();
        d->keep = false;
    }
    arena_close(a);
}

struct program *program_get(dev *d, const char *label, const char *text, const char *options)
{
    u8 key[32];
    make_key(d, text, options, key);
    for (struct program *p = d->programs; p; p = p->next)
        if (!memcmp(p->key, key, sizeof key))
            return p;
    if (dump_program(label, text, options, key))
        return NULL;
    arena *a = arena_open("program");
    char name[65];
    hash_hex(name, key, sizeof key);
    const char *path = arena_printf(a, "%s/kernels/%s.bin", dev_cache_dir(), name);
    f64 start = clock_now();
    cl_program cl = d->keep ? program_load(d, path, options) : NULL, kept = cl;
    if (d->queue && !cl && !(cl = program_build(d, label, text, options))) {
        arena_close(a);
        return NULL;
    }
    trace(TRACE_kernel, "%s %s in %.0f ms", kept ? "loaded" : "built", label, 1e3 * (clock_now() - start));
    if (!kept && cl)
        program_keep(d, cl, path);
    struct program *p = arena_one(a, struct program);
    *p = (struct program){ .next = d->programs, .a = a, .label = arena_printf(a, "%s", label), .cl = cl };
    memcpy(p->key, key, sizeof key);
    return d->programs = p;
}

/* ---- entry points -------------------------------------------------------------------------------------- */

static enum arg_kind program_arg_kind(cl_kernel cl, int i)
{
    cl_kernel_arg_address_qualifier where;
    char type[64] = "";
    if (clGetKernelArgInfo(cl, (cl_uint)i, CL_KERNEL_ARG_ADDRESS_QUALIFIER, sizeof where, &where, NULL))
        return ARG_END;
    if (where != CL_KERNEL_ARG_ADDRESS_PRIVATE)
        return where == CL_KERNEL_ARG_ADDRESS_LOCAL ? ARG_KIND_LOCAL : ARG_KIND_RANGE;
    if (clGetKernelArgInfo(cl, (cl_uint)i, CL_KERNEL_ARG_TYPE_NAME, sizeof type, type, NULL))
        return ARG_END;
    const char *name = type + (*type == 'u');
    return !strcmp(name, "int") ? ARG_KIND_INT : !strcmp(name, "long") ? ARG_KIND_LONG :
           !strcmp(name, "long4") ? ARG_KIND_LONG4 : !strcmp(name, "float") ? ARG_KIND_REAL : ARG_END;
}

/* Does the kernel only read argument i? Unknown: no. */
static bool program_only_reads(cl_kernel cl, int i)
{
    cl_kernel_arg_type_qualifier type = 0;
    return !clGetKernelArgInfo(cl, (cl_uint)i, CL_KERNEL_ARG_TYPE_QUALIFIER, sizeof type, &type, NULL) &&
           type & CL_KERNEL_ARG_TYPE_CONST;
}

struct kernel *program_kernel(dev *d, struct program *p, const char *name)
{
    for (struct kernel *k = p->kernels; k; k = k->next)
        if (!strcmp(k->name, name))
            return k;
    if (!p->cl) {                                 // the null device: nothing is known but the name
        struct kernel *k = arena_one(p->a, struct kernel);
        *k = (struct kernel){ .next = p->kernels, .program = p, .name = arena_printf(p->a, "%s", name),
                              .max_group = d->info.max_group };
        return p->kernels = k;
    }
    cl_int e;
    cl_uint args = 0;
    cl_ulong local = 0, private = 0;
    cl_kernel cl = clCreateKernel(p->cl, name, &e);
    check(e != CL_INVALID_KERNEL_NAME, "%s has no kernel %s", p->label, name);
    if (ocl_check(name, e, "clCreateKernel"))
        return NULL;
    struct kernel *k = arena_one(p->a, struct kernel);
    *k = (struct kernel){ .next = p->kernels, .program = p, .name = arena_printf(p->a, "%s", name) };
    if (OCL(name, clGetKernelInfo(cl, CL_KERNEL_NUM_ARGS, sizeof args, &args, NULL)) ||
        OCL(name, clGetKernelWorkGroupInfo(cl, d->id, CL_KERNEL_WORK_GROUP_SIZE, sizeof k->max_group,
                                           &k->max_group, NULL))) {
        clReleaseKernel(cl);
        return NULL;
    }
    clGetKernelWorkGroupInfo(cl, d->id, CL_KERNEL_COMPILE_WORK_GROUP_SIZE, sizeof k->required, k->required,
                             NULL);
    clGetKernelWorkGroupInfo(cl, d->id, CL_KERNEL_LOCAL_MEM_SIZE, sizeof local, &local, NULL);
    clGetKernelWorkGroupInfo(cl, d->id, CL_KERNEL_PRIVATE_MEM_SIZE, sizeof private, &private, NULL);
    k->max_group = MIN(k->max_group, d->info.max_group);       // a faked device's is smaller
    k->args = (int)args;
    k->local_mem = local;
    k->private_mem = private;
    check(k->args <= MAX_ARGS, "%s: kernel %s takes %d arguments, a launch holds %d", p->label, name, k->args,
          MAX_ARGS);
    for (int i = 0; i < k->args; i++) {
        k->kinds[i] = (u8)program_arg_kind(cl, i);
        k->reads[i] = program_only_reads(cl, i);
    }
    clReleaseKernel(cl);
    return p->kernels = k;
}

void programs_close(dev *d)
{
    for (struct program *p = d->programs, *next; p; p = next) {
        next = p->next;
        if (p->cl)
            clReleaseProgram(p->cl);
        arena_close(p->a);
    }
    d->programs = NULL;
}
