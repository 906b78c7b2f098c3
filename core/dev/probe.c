/* probe.c: what devices there are, and what each reports about itself. The rest of the program asks
 * dev_info() and dev_class(), never the driver. */
#include "dev/ocl.h"
#include <pthread.h>
#include <unistd.h>
#include <ctype.h>

/* From extensions and OpenCL 3.0, which the headers for 1.2 leave out. */
enum { DEVICE_UUID = 0x106A, DEVICE_PCI_KHR = 0x410F, DEVICE_LANES = 0x1067, NV_PCI_BUS = 0x4008,
       NV_PCI_SLOT = 0x4009, NV_WARP = 0x4003, NV_MAJOR = 0x4000, AMD_WAVEFRONT = 0x4043 };

static bool probe_ask(cl_device_id id, cl_device_info what, void *out, size_t bytes)
{
    size_t n = 0;
    return !clGetDeviceInfo(id, what, bytes, out, &n) && n == bytes;
}

/* Without the blanks around it, in plain ASCII. */
static void probe_clean(const char *text, char *out, size_t size)
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
    probe_clean(text, out, size);
}

/* A number of 4 or 8 bytes; 0 when the driver does not know. */
u64 probe_number(cl_device_id id, cl_device_info what)
{
    union { u32 small; u64 large; } v = { .large = 0 };
    size_t n = 0;
    if (clGetDeviceInfo(id, what, sizeof v, &v, &n))
        return 0;
    return n == 4 ? v.small : v.large;
}

/* Only what the list of extensions names: some drivers and checkers report an unknown query as an error. */
static void probe_identity(cl_device_id id, const char *ext, struct dev_info *i)
{
    u8 uuid[16];
    if (strstr(ext, "cl_khr_device_uuid") && probe_ask(id, DEVICE_UUID, uuid, sizeof uuid))
        for (int k = 0, at = 0; k < 16; k++)
            at += snprintf(i->uuid + at, sizeof i->uuid - (size_t)at, "%s%02x",
                           k == 4 || k == 6 || k == 8 || k == 10 ? "-" : "", uuid[k]);
    u32 pci[4] = { 0 }, slot = 0;                 // domain, bus, device, function
    bool nvidia = strstr(ext, "cl_nv_device_attribute_query"), known = strstr(ext, "cl_khr_pci_bus_info");
    if (nvidia && probe_ask(id, NV_PCI_BUS, &pci[1], 4) && probe_ask(id, NV_PCI_SLOT, &slot, 4)) {
        pci[2] = slot >> 3;
        pci[3] = slot & 7;
    } else if (!known || !probe_ask(id, DEVICE_PCI_KHR, pci, sizeof pci)) {
        return;
    }
    snprintf(i->pci, sizeof i->pci, "%02x:%02x.%x", pci[1] & 0xff, pci[2] & 0xff, pci[3] & 0xf);
}

/* How many items run in step: vector width of a CPU, warp of a GPU. */
static u32 probe_lanes(cl_device_id id, const char *ext, const struct dev_info *i)
{
    if (i->class == DEV_CPU)
        return MAX(4, (u32)probe_number(id, CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT));
    u32 n = strstr(ext, "cl_nv_device_attribute_query")    ? (u32)probe_number(id, NV_WARP)
            : strstr(ext, "cl_amd_device_attribute_query") ? (u32)probe_number(id, AMD_WAVEFRONT)
            : strstr(ext, "cl_intel_subgroups")            ? 16
            : text_starts(i->version, "OpenCL 3")          ? (u32)probe_number(id, DEVICE_LANES) : 0;
    return n ? MIN(MAX(n, 4), 128) : 32;
}

/* A matrix engine, by the device's own word; matrix.c confirms it. AMD's name is the instruction set's. */
static enum matrix probe_matrix(cl_device_id id, const char *ext, const struct dev_info *i)
{
    static const char *const mfma[] = { "gfx90a", "gfx940", "gfx941", "gfx942", "gfx950" };
    if (!i->gpu_kind)
        return MATRIX_none;
    if (strstr(ext, "cl_nv_device_attribute_query"))
        return probe_number(id, NV_MAJOR) >= 8 ? MATRIX_mma : MATRIX_none;
    for (int k = 0; k < countof(mfma); k++)
        if (text_starts(i->name, mfma[k]))
            return i->simd == 64 ? MATRIX_mfma : MATRIX_none;
    if (text_starts(i->name, "gfx11"))
        return i->simd == 32 ? MATRIX_wmma : MATRIX_none;
    return strstr(ext, "cl_intel_subgroup_matrix_multiply_accumulate") &&
           strstr(ext, "cl_intel_required_subgroup_size") ? MATRIX_dpas : MATRIX_none;
}

/* The one place where class and capabilities are decided. */
static void probe_capabilities(cl_device_id id, const char *ext, struct dev_info *i)
{
    u64 type = probe_number(id, CL_DEVICE_TYPE);
    i->cpu_kind = type & CL_DEVICE_TYPE_CPU;
    i->gpu_kind = type & CL_DEVICE_TYPE_GPU;
    i->accelerator_kind = type & CL_DEVICE_TYPE_ACCELERATOR;
    i->class = i->cpu_kind ? DEV_CPU : DEV_GPU;
    i->global_mem = probe_number(id, CL_DEVICE_GLOBAL_MEM_SIZE);
    i->max_alloc = probe_number(id, CL_DEVICE_MAX_MEM_ALLOC_SIZE);
    i->local_mem = probe_number(id, CL_DEVICE_LOCAL_MEM_SIZE);
    i->compute_units = (u32)probe_number(id, CL_DEVICE_MAX_COMPUTE_UNITS);
    i->max_group = (u32)probe_number(id, CL_DEVICE_MAX_WORK_GROUP_SIZE);
    i->align = MAX(64, (u32)probe_number(id, CL_DEVICE_MEM_BASE_ADDR_ALIGN) / 8);
    i->little_endian = probe_number(id, CL_DEVICE_ENDIAN_LITTLE);
    i->fp16 = strstr(ext, "cl_khr_fp16");
    i->fp64 = strstr(ext, "cl_khr_fp64");
    i->subgroups = strstr(ext, "cl_khr_subgroups") || strstr(ext, "cl_intel_subgroups");
    i->fma = probe_number(id, CL_DEVICE_SINGLE_FP_CONFIG) & CL_FP_FMA;
    i->simd = probe_lanes(id, ext, i);
    i->registers = host_registers(i->simd);
    host_caches(i, probe_number(id, CL_DEVICE_GLOBAL_MEM_CACHE_SIZE)); // others need them under JETCL_CLASS=cpu
    i->joins = true;                              // others than CPUs are asked when they are opened: joins.c
    i->matrix = probe_matrix(id, ext, i);
    if (i->gpu_kind && strstr(ext, "cl_intel_subgroups"))
        snprintf(i->many_registers, sizeof i->many_registers, "%s", MANY_REGISTERS_INTEL);
}

static void probe_describe(cl_platform_id platform, cl_device_id id, int p, int k, struct dev_info *i)
{
    char text[1024] = "", ext[8192];
    clGetPlatformInfo(platform, CL_PLATFORM_NAME, sizeof text - 1, text, NULL);
    probe_clean(text, i->platform, sizeof i->platform);
    ask_text(id, CL_DEVICE_NAME, i->name, sizeof i->name);
    ask_text(id, CL_DEVICE_VENDOR, i->vendor, sizeof i->vendor);
    ask_text(id, CL_DRIVER_VERSION, i->driver, sizeof i->driver);
    ask_text(id, CL_DEVICE_VERSION, i->version, sizeof i->version);
    snprintf(i->spec, sizeof i->spec, "%d:%d", p, k);
    ask_text(id, CL_DEVICE_EXTENSIONS, ext, sizeof ext);
    probe_identity(id, ext, i);
    probe_capabilities(id, ext, i);
}

/* ---- all devices --------------------------------------------------------------------------------------- */

/* One of those that are tried: it ends when all are there. */
static void *probe_thread(void *go)
{
    pthread_mutex_lock(go);
    pthread_mutex_unlock(go);
    return NULL;
}

/* PoCL aborts where it cannot have a thread for every core, and replaces the handler that would tell: so they
 * are tried before. 0, or -1 + fail. */
static int probe_threads(void)
{
    enum { MOST = 64 };
    pthread_mutex_t go = PTHREAD_MUTEX_INITIALIZER;
    pthread_t all[MOST];
    int n = 0, cores = (int)MIN(MOST, MAX(1, sysconf(_SC_NPROCESSORS_ONLN))), error = 0;
    pthread_mutex_lock(&go);
    while (n < cores && !(error = pthread_create(&all[n], NULL, probe_thread, &go)))
        n++;
    pthread_mutex_unlock(&go);
    while (n > 0)
        pthread_join(all[--n], NULL);
    return error ? fail(FAULT_DEVICE, "the device's driver needs %d threads, and cannot have them: %s (ulimit "
                        "-u, or the limit of a container)", cores, strerror(error)) : 0;
}

const char driver_starts[] = "as it started: are threads and memory left (ulimit -u, ulimit -v)?";

/* What cannot be used is passed over (Clover installs an empty platform; a device may lack its compiler), but
 * its number still counts in P:D. */
int probe_devices(arena *a, struct found **out)
{
    cl_platform_id platforms[32];
    cl_uint np = 0, nd;
    size_t n = 0, cap = 0;
    *out = NULL;
    if (probe_threads())
        return -1;
    cache_check_driver();
    crash_inside("clGetPlatformIDs", driver_starts);
    if (clGetPlatformIDs(countof(platforms), platforms, &np))
        np = 0;
    for (cl_uint p = 0; p < MIN(np, (cl_uint)countof(platforms)); p++) {
        cl_device_id ids[64];
        crash_inside("clGetDeviceIDs", driver_starts);
        if (clGetDeviceIDs(platforms[p], CL_DEVICE_TYPE_ALL, countof(ids), ids, &nd))
            continue;
        for (cl_uint k = 0; k < MIN(nd, (cl_uint)countof(ids)); k++) {
            if (!probe_number(ids[k], CL_DEVICE_AVAILABLE) ||
                !probe_number(ids[k], CL_DEVICE_COMPILER_AVAILABLE))
                continue;
            struct found *f = arena_push(a, *out, n, cap);
            *f = (struct found){ .platform = platforms[p], .id = ids[k] };
            probe_describe(platforms[p], ids[k], (int)p, (int)k, &f->info);
        }
    }
    crash_inside(NULL, NULL);
    return (int)n;
}

bool dev_builds_alone(const dev *d)
{
    struct dev_host host;
    dev_host(&host);
    return host.cpus > 1 && strstr(d->info.platform, "Portable Computing");
}
