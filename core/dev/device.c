/* device.c: finds the device a spec means, and says what it can do. The rest of the program asks dev_info()
 * and dev_class(), never the driver. */
#include "dev/ocl.h"
#include <ctype.h>
#include <stdlib.h>

/* From extensions and OpenCL 3.0, which the headers for 1.2 leave out. */
enum { DEVICE_UUID = 0x106A, DEVICE_PCI_KHR = 0x410F, DEVICE_LANES = 0x1067, NV_PCI_BUS = 0x4008,
       NV_PCI_SLOT = 0x4009, NV_WARP = 0x4003, AMD_WAVEFRONT = 0x4043 };

/* ---- what a device says about itself ------------------------------------------------------------------- */

static bool ask(cl_device_id id, cl_device_info what, void *out, size_t bytes)
{
    size_t n = 0;
    return !clGetDeviceInfo(id, what, bytes, out, &n) && n == bytes;
}

/* Without the blanks around it, in plain ASCII. */
static void clean(const char *text, char *out, size_t size)
{
    while (isspace((u8)*text))
        text++;
    size_t n = strlen(text);
    while (n && isspace((u8)text[n - 1]))
        n--;
    snprintf(out, size, "%.*s", (int)n, text);
    for (char *p = out; *p; p++)
        *p = isprint((u8)*p) ? *p : '?';
}

static void ask_text(cl_device_id id, cl_device_info what, char *out, size_t size)
{
    char text[8192] = "";
    if (clGetDeviceInfo(id, what, sizeof text - 1, text, NULL))
        text[0] = 0;
    clean(text, out, size);
}

/* A number of 4 or 8 bytes; 0 when the driver does not know. */
static u64 ask_number(cl_device_id id, cl_device_info what)
{
    union { u32 small; u64 large; } v = { .large = 0 };
    size_t n = 0;
    if (clGetDeviceInfo(id, what, sizeof v, &v, &n))
        return 0;
    return n == 4 ? v.small : v.large;
}

/* Only what the list of extensions says it knows: a question too many is an error to some drivers and
 * checkers. */
static void identity(cl_device_id id, const char *ext, struct dev_info *i)
{
    u8 uuid[16];
    if (strstr(ext, "cl_khr_device_uuid") && ask(id, DEVICE_UUID, uuid, sizeof uuid))
        for (int k = 0, at = 0; k < 16; k++)
            at += snprintf(i->uuid + at, sizeof i->uuid - (size_t)at, "%s%02x",
                           k == 4 || k == 6 || k == 8 || k == 10 ? "-" : "", uuid[k]);
    u32 pci[4] = { 0 }, slot = 0;                 // domain, bus, device, function
    bool nvidia = strstr(ext, "cl_nv_device_attribute_query"), known = strstr(ext, "cl_khr_pci_bus_info");
    if (nvidia && ask(id, NV_PCI_BUS, &pci[1], 4) && ask(id, NV_PCI_SLOT, &slot, 4)) {
        pci[2] = slot >> 3;
        pci[3] = slot & 7;
    } else if (!known || !ask(id, DEVICE_PCI_KHR, pci, sizeof pci)) {
        return;
    }
    snprintf(i->pci, sizeof i->pci, "%02x:%02x.%x", pci[1] & 0xff, pci[2] & 0xff, pci[3] & 0xf);
}

/* How many items run in step: vector width of a CPU, warp of a GPU. */
static u32 lanes(cl_device_id id, const char *ext, const struct dev_info *i)
{
    if (i->class == DEV_CPU)
        return MAX(4, (u32)ask_number(id, CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT));
    u32 n = strstr(ext, "cl_nv_device_attribute_query")    ? (u32)ask_number(id, NV_WARP)
            : strstr(ext, "cl_amd_device_attribute_query") ? (u32)ask_number(id, AMD_WAVEFRONT)
            : text_starts(i->version, "OpenCL 3")          ? (u32)ask_number(id, DEVICE_LANES) : 0;
    return n ? MIN(MAX(n, 4), 128) : 32;
}

/* The one place where class and capabilities are decided. */
static void capabilities(cl_device_id id, const char *ext, struct dev_info *i)
{
    u64 type = ask_number(id, CL_DEVICE_TYPE);
    i->cpu_kind = type & CL_DEVICE_TYPE_CPU;
    i->gpu_kind = type & CL_DEVICE_TYPE_GPU;
    i->accelerator_kind = type & CL_DEVICE_TYPE_ACCELERATOR;
    i->class = i->cpu_kind ? DEV_CPU : DEV_GPU;
    i->global_mem = ask_number(id, CL_DEVICE_GLOBAL_MEM_SIZE);
    i->max_alloc = ask_number(id, CL_DEVICE_MAX_MEM_ALLOC_SIZE);
    i->local_mem = ask_number(id, CL_DEVICE_LOCAL_MEM_SIZE);
    i->compute_units = (u32)ask_number(id, CL_DEVICE_MAX_COMPUTE_UNITS);
    i->max_group = (u32)ask_number(id, CL_DEVICE_MAX_WORK_GROUP_SIZE);
    i->align = MAX(64, (u32)ask_number(id, CL_DEVICE_MEM_BASE_ADDR_ALIGN) / 8);
    i->little_endian = ask_number(id, CL_DEVICE_ENDIAN_LITTLE);
    i->fp16 = strstr(ext, "cl_khr_fp16");
    i->fp64 = strstr(ext, "cl_khr_fp64");
    i->subgroups = strstr(ext, "cl_khr_subgroups") || strstr(ext, "cl_intel_subgroups");
    i->fma = ask_number(id, CL_DEVICE_SINGLE_FP_CONFIG) & CL_FP_FMA;
    i->simd = lanes(id, ext, i);
}

static void describe(cl_platform_id platform, cl_device_id id, int p, int k, struct dev_info *i)
{
    char text[1024] = "", ext[8192];
    clGetPlatformInfo(platform, CL_PLATFORM_NAME, sizeof text - 1, text, NULL);
    clean(text, i->platform, sizeof i->platform);
    ask_text(id, CL_DEVICE_NAME, i->name, sizeof i->name);
    ask_text(id, CL_DEVICE_VENDOR, i->vendor, sizeof i->vendor);
    ask_text(id, CL_DRIVER_VERSION, i->driver, sizeof i->driver);
    ask_text(id, CL_DEVICE_VERSION, i->version, sizeof i->version);
    snprintf(i->spec, sizeof i->spec, "%d:%d", p, k);
    ask_text(id, CL_DEVICE_EXTENSIONS, ext, sizeof ext);
    identity(id, ext, i);
    capabilities(id, ext, i);
}

/* ---- all devices --------------------------------------------------------------------------------------- */

struct found { cl_platform_id platform; cl_device_id id; struct dev_info info; };

/* What cannot be used is passed over (Clover installs an empty platform; a device may lack its compiler), but
 * its number still counts in P:D. */
static int find(arena *a, struct found **out)
{
    cl_platform_id platforms[32];
    cl_uint np = 0, nd;
    size_t n = 0, cap = 0;
    *out = NULL;
    if (clGetPlatformIDs(countof(platforms), platforms, &np))
        return 0;
    for (cl_uint p = 0; p < MIN(np, (cl_uint)countof(platforms)); p++) {
        cl_device_id ids[64];
        if (clGetDeviceIDs(platforms[p], CL_DEVICE_TYPE_ALL, countof(ids), ids, &nd))
            continue;
        for (cl_uint k = 0; k < MIN(nd, (cl_uint)countof(ids)); k++) {
            if (!ask_number(ids[k], CL_DEVICE_AVAILABLE) || !ask_number(ids[k], CL_DEVICE_COMPILER_AVAILABLE))
                continue;
            struct found *f = arena_push(a, *out, n, cap);
            *f = (struct found){ .platform = platforms[p], .id = ids[k] };
            describe(platforms[p], ids[k], (int)p, (int)k, &f->info);
        }
    }
    return (int)n;
}

int dev_list(arena *a, struct dev_info **out)
{
    struct found *all;
    int n = find(a, &all);
    *out = arena_array(a, struct dev_info, MAX(n, 1));
    for (int i = 0; i < n; i++)
        (*out)[i] = all[i].info;
    return n;
}

/* ---- choosing one -------------------------------------------------------------------------------------- */

static bool gpu(const struct dev_info *i)         { return i->gpu_kind; }
static bool cpu(const struct dev_info *i)         { return i->cpu_kind; }
static bool accelerator(const struct dev_info *i) { return i->accelerator_kind; }

typedef bool kind(const struct dev_info *i);

static kind *kind_of(const char *word)
{
    return !strcmp(word, "gpu") ? gpu : !strcmp(word, "cpu") ? cpu
         : !strcmp(word, "accelerator") ? accelerator : NULL;
}

static struct found *first(struct found *all, int n, kind *is)
{
    for (int i = 0; i < n; i++)
        if (is(&all[i].info))
            return &all[i];
    return NULL;
}

static bool exact(const struct dev_info *i, const char *spec)
{
    return !strcmp(i->spec, spec) || !strcasecmp(i->name, spec);
}

static bool matches(const struct dev_info *i, const char *spec)
{
    if (text_starts(spec, "uuid:"))
        return *i->uuid && !strcasecmp(i->uuid, spec + 5);
    if (text_starts(spec, "pci:"))
        return *i->pci && (!strcasecmp(i->pci, spec + 4) || text_ends(spec, i->pci));
    return strcasestr(i->name, spec) || strcasestr(i->platform, spec);
}

static const char *listing(arena *a, struct found *all, int n)
{
    char *s = "";
    for (int i = 0; i < n; i++)
        s = arena_printf(a, "%s%s%s (%s)", s, i ? ", " : "", all[i].info.spec, all[i].info.name);
    return s;
}

/* By P:D, whole name, uuid, bus, or part of a name. */
static struct found *choose_one(arena *a, const char *spec, struct found *all, int n)
{
    struct found *hits = arena_array(a, struct found, n);
    int nhits = 0;
    for (int i = 0; i < n; i++)
        if (exact(&all[i].info, spec))
            return &all[i];
        else if (matches(&all[i].info, spec))
            hits[nhits++] = all[i];
    if (nhits == 1)
        return hits;
    if (nhits)
        fail(FAULT_DEVICE, "device '%s' fits more than one: %s", spec, listing(a, hits, nhits));
    else if (strchr(spec, ','))
        fail(FAULT_DEVICE, "several devices at once ('%s') are not built yet; devices: %s", spec,
             listing(a, all, n));
    else
        fail(FAULT_DEVICE, "no device '%s'; devices: %s", spec, listing(a, all, n));
    return NULL;
}

/* The device a spec means; NULL + fail with those there are. */
static struct found *choose(arena *a, const char *spec)
{
    struct found *all, *f;
    int n = find(a, &all);
    if (!n) {
        fail(FAULT_DEVICE, "no OpenCL device: the loader found no driver with one; install your card's "
                           "OpenCL driver, or pocl-opencl-icd to run on the CPU");
        return NULL;
    }
    if (!strcmp(spec, "auto"))
        return (f = first(all, n, gpu)) || (f = first(all, n, cpu)) ? f : all;
    if (!kind_of(spec))
        return choose_one(a, spec, all, n);
    if (!(f = first(all, n, kind_of(spec))))
        fail(FAULT_DEVICE, "no %s here; devices: %s", spec, listing(a, all, n));
    return f;
}

int dev_find(const char *spec, struct dev_info *out)
{
    arena *a = arena_open("devices");
    bool null = !strcmp(spec, "null");
    const struct found *f = null ? NULL : choose(a, spec);
    if (f || null)
        *out = f ? f->info : null_info;
    arena_close(a);
    return f || null ? 0 : -1;
}

/* ---- open and close ------------------------------------------------------------------------------------ */

/* JETCL_CLASS and JETCL_CL, for those who work on kernels. */
static int overrides(dev *d)
{
    const char *class = getenv("JETCL_CLASS"), *folder = getenv("JETCL_CL");
    if (folder && *folder && !file_exists(folder))
        return fail(FAULT_USAGE, "JETCL_CL=%s: no such folder", folder);
    if (!class || !*class)
        return 0;
    if (strcmp(class, "cpu") && strcmp(class, "gpu"))
        return fail(FAULT_USAGE, "JETCL_CLASS=%s: cpu or gpu", class);
    d->class = *class == 'c' ? DEV_CPU : DEV_GPU;
    return 0;
}

static int connect(dev *d, const struct found *f)
{
    cl_int e;
    cl_context_properties props[] = { CL_CONTEXT_PLATFORM, (cl_context_properties)f->platform, 0 };
    u64 config = ask_number(f->id, CL_DEVICE_SINGLE_FP_CONFIG);
    if (f->info.little_endian != (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__))
        return fail(FAULT_DEVICE, "%s: its byte order is not this machine's", f->info.name);
    d->id = f->id;
    d->keep = !strstr(f->info.version, "PoCL");            // program.c says why
    d->rounded = config & CL_FP_CORRECTLY_ROUNDED_DIVIDE_SQRT;
    d->context = clCreateContext(props, 1, &f->id, NULL, NULL, &e);
    if (ocl_check(f->info.name, e, "clCreateContext"))
        return -1;
    d->queue = clCreateCommandQueue(d->context, f->id, 0, &e);
    return ocl_check(f->info.name, e, "clCreateCommandQueue");
}

/* What the device's own bookkeeping takes does not count as used. */
static int make_turns(dev *d)
{
    u64 bytes = TURNS * (u64)d->info.align;
    if (!(d->turns = mem_new(d, bytes, "turns")) || mem_fill(d, (range){ d->turns, 0, bytes }, 0))
        return -1;
    d->used = d->peak = 0;
    return 0;
}

range dev_turns(dev *d)
{
    if (!d->turns)
        return RANGE_NONE;
    d->turn = (d->turn + 1) % TURNS;
    return (range){ d->turns, d->turn * (u64)d->info.align, 8 };
}

dev *dev_open(const char *spec)
{
    if (!spec)
        spec = getenv("JETCL_DEVICE");
    spec = spec && *spec ? spec : "auto";
    if (!strcmp(spec, "null"))
        return null_open();
    arena *a = arena_open("device");
    const struct found *f = choose(a, spec);
    if (!f) {
        arena_close(a);
        return NULL;
    }
    dev *d = arena_one(a, dev);
    *d = (dev){ .a = a, .info = f->info, .class = f->info.class };
    if (overrides(d) || connect(d, f) || make_turns(d)) {
        dev_close(d);
        return NULL;
    }
    tune_load(d);
    if (!strcmp(spec, "auto"))
        say(SAY_NORMAL, "device %s: %s, %s", d->info.spec, d->info.name, d->info.platform);
    return d;
}

dev *dev_open_real(const char *spec)
{
    dev *d = dev_open(spec);
    if (!d || d->class != DEV_NULL)
        return d;
    dev_close(d);
    fail(FAULT_USAGE, "device null computes nothing: there would be no result");
    return NULL;
}

void dev_close(dev *d)
{
    if (!d)
        return;
    if (d->queue)
        dev_finish(d);
    programs_close(d);
    mem_free(d->turns);
    if (d->loose)
        clReleaseCommandQueue(d->loose);
    if (d->timed)
        clReleaseCommandQueue(d->timed);
    if (d->queue)
        clReleaseCommandQueue(d->queue);
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
    tune_load(d);
}

void dev_force_plain(dev *d) { d->plain = true; }

void dev_limit_alloc(dev *d, u64 bytes) { d->info.max_alloc = MIN(d->info.max_alloc, bytes); }
void dev_keep_binaries(dev *d)          { d->keep = d->queue; }
void dev_want_blas(dev *d)              { d->blas_anywhere = true; }

static char cache_dir[4096];

void dev_set_cache_dir(const char *path) { snprintf(cache_dir, sizeof cache_dir, "%s", path); }

const char *dev_cache_dir(void)
{
    const char *own = getenv("JETCL_CACHE_DIR"), *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (*cache_dir)
        return cache_dir;
    if (own && *own)
        dev_set_cache_dir(own);
    else if (xdg && *xdg)
        snprintf(cache_dir, sizeof cache_dir, "%s/jetcl", xdg);
    else
        snprintf(cache_dir, sizeof cache_dir, "%s/.cache/jetcl", home && *home ? home : ".");
    return cache_dir;
}
