/* cpu.c: what the operating system knows of this machine's processors: caches, cores, nodes of
 * memory. OpenCL has one number for a cache and PoCL fills it with the last one's size, so kernels on
 * CPUs are shaped by these tables:
 *
 *     /sys/devices/system/cpu/cpuN/cache/indexK     level, type, size, coherency_line_size
 *     sysconf(_SC_LEVEL1_DCACHE_SIZE), ...          where that folder is missing
 *     CL_DEVICE_GLOBAL_MEM_CACHE_SIZE               the last cache, where neither knows
 *     32 KiB, 512 KiB                               where none does
 *
 * JETCL_FAKE (fake.c) puts other sizes in their place. */
#include "dev/ocl.h"
#include <ctype.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#define HOST_CPUS "/sys/devices/system/cpu/cpu"

/* The first word of a file below cpuN's folder; false: no such file. */
static bool host_word(int cpu, const char *file, char word[64])
{
    char path[256];
    snprintf(path, sizeof path, HOST_CPUS "%d/%s", cpu, file);
    FILE *f = fopen(path, "r");
    bool found = f && fscanf(f, "%63s", word) == 1;
    if (f)
        fclose(f);
    return found;
}

/* "48K", "1024K", "2M" */
static u64 host_bytes(const char *text)
{
    char *end;
    u64 n = strtoull(text, &end, 10);
    return toupper((u8)*end) == 'K' ? n << 10 : toupper((u8)*end) == 'M' ? n << 20 : n;
}

/* A core's caches for data, and the last one, by level. */
static void host_read(int cpu, u64 cache[3])
{
    memset(cache, 0, 3 * sizeof *cache);
    for (int k = 0; k < 8; k++) {
        char file[48], level[64], type[64], size[64];
        snprintf(file, sizeof file, "cache/index%d/level", k);
        if (!host_word(cpu, file, level))
            return;
        snprintf(file, sizeof file, "cache/index%d/type", k);
        bool data = host_word(cpu, file, type) && strcmp(type, "Instruction");
        snprintf(file, sizeof file, "cache/index%d/size", k);
        int at = MIN(atoi(level), 3) - 1;
        if (data && at >= 0 && host_word(cpu, file, size))
            cache[at] = MAX(cache[at], host_bytes(size));
    }
}

/* The smallest of what the cores we may run on have, so that a shape fits all of them. */
static bool host_caches_of_all(u64 cache[3])
{
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed))
        return false;
    memset(cache, 0, 3 * sizeof *cache);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        u64 own[3];
        if (!CPU_ISSET(cpu, &allowed))
            continue;
        host_read(cpu, own);
        for (int k = 0; k < 3; k++)
            cache[k] = !cache[k] || (own[k] && own[k] < cache[k]) ? own[k] : cache[k];
    }
    return cache[0];
}

static bool host_sysconf(u64 cache[3])
{
    static const int names[] = { _SC_LEVEL1_DCACHE_SIZE, _SC_LEVEL2_CACHE_SIZE, _SC_LEVEL3_CACHE_SIZE };
    for (int k = 0; k < 3; k++)
        cache[k] = (u64)MAX(sysconf(names[k]), 0);
    return cache[0];
}

void host_caches(struct dev_info *i, u64 driver)
{
    const char *from = host_caches_of_all(i->cache) ? "/sys/devices/system/cpu" : NULL;
    if (!from && host_sysconf(i->cache))
        from = "sysconf";
    if (!from)
        from = (i->cache[2] = driver) ? "the OpenCL driver, the first two assumed" : "assumed";
    i->cache[0] = i->cache[0] ? i->cache[0] : 32 << 10;
    i->cache[1] = i->cache[1] ? i->cache[1] : 512 << 10;
    snprintf(i->cache_from, sizeof i->cache_from, "%s", from);
}

u32 host_registers(u32 lanes)
{
#if defined(__x86_64__) || defined(__i386__)
    return lanes >= 16 ? 32 : 16;                 // AVX-512 doubled them
#else
    (void)lanes;                                  // NEON, SVE, VSX (as many and more), RISC-V's vectors
    return 32;
#endif
}

/* ---- for people ---------------------------------------------------------------------------------------- */

static int host_nodes(void)
{
    int nodes = 0;
    for (int k = 0; k < 1024; k++) {
        char path[64];
        snprintf(path, sizeof path, "/sys/devices/system/node/node%d", k);
        nodes += !access(path, F_OK);
    }
    return MAX(nodes, 1);
}

void dev_host(struct dev_host *h)
{
    cpu_set_t allowed;
    i64 slow = 0, fast = 0;
    *h = (struct dev_host){ .nodes = host_nodes() };
    if (sched_getaffinity(0, sizeof allowed, &allowed))
        return;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        char word[64];
        if (!CPU_ISSET(cpu, &allowed))
            continue;
        h->cpus++;                             // a core counts by the first of its threads, if we may run there
        int first = host_word(cpu, "topology/thread_siblings_list", word) ? atoi(word) : cpu;
        h->cores += first == cpu || first >= CPU_SETSIZE || !CPU_ISSET(first, &allowed);
        i64 speed = host_word(cpu, "cpu_capacity", word) || host_word(cpu, "cpufreq/cpuinfo_max_freq", word)
                  ? atoll(word) : 0;
        slow = !slow || speed < slow ? speed : slow;
        fast = MAX(fast, speed);
    }
    h->two_speeds = slow * 10 < fast * 9;
}
