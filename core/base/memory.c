/* memory.c: how much memory this process may have: the machine's, or less:
 *
 *     ulimit -v                         getrlimit(RLIMIT_AS); VmSize in /proc/self/status is used up
 *     control groups, version 2         /proc/self/cgroup "0::/PATH": memory.max, memory.current, PATH and up
 *     control groups, version 1         "N:memory:/PATH": memory.limit_in_bytes, memory.usage_in_bytes
 *
 * In a container the path may be the host's, which does not exist inside: then the root's files are the
 * container's. JETCL_CGROUP, for tests: the folder in place of /sys/fs/cgroup and the path.
 */
#include "base/base.h"
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

/* The number in DIR/NAME; UINT64_MAX: none ("max", or no such file). */
static u64 memory_number(const char *dir, const char *name)
{
    char path[4200], text[64] = "";
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "r");
    bool found = f && fgets(text, sizeof text, f);
    if (f)
        fclose(f);
    return found && text[0] >= '0' && text[0] <= '9' ? strtoull(text, NULL, 10) : UINT64_MAX;
}

/* "NAME:   123 kB" of a file in /proc, in bytes; 0: not there. */
static u64 memory_line(const char *path, const char *format)
{
    char line[256];
    unsigned long long kb = 0;
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f) && sscanf(line, format, &kb) != 1)
        ;
    if (f)
        fclose(f);
    return (u64)kb << 10;
}

static void memory_limit(struct memory *m, u64 limit, u64 used, const char *by)
{
    if (limit < m->machine && limit < m->limit)
        m->by = by;
    m->limit = MIN(m->limit, limit);
    if (limit != UINT64_MAX && used != UINT64_MAX)
        m->unused = MIN(m->unused, limit - MIN(limit, used));
}

/* The folder and those above it, each of which may have a limit. Page cache
 * counts as used, but is given back. */
static void memory_groups(struct memory *m, char *dir, size_t root, bool second)
{
    for (;;) {
        u64 limit = memory_number(dir, second ? "memory.max" : "memory.limit_in_bytes");
        u64 used = memory_number(dir, second ? "memory.current" : "memory.usage_in_bytes");
        char stat[4200];
        snprintf(stat, sizeof stat, "%s/memory.stat", dir);
        u64 cache = memory_line(stat, second ? "inactive_file %llu" : "total_inactive_file %llu") >> 10;
        memory_limit(m, limit, used == UINT64_MAX ? used : used - MIN(used, cache), " (its control group)");
        char *slash = strrchr(dir, '/');
        if (strlen(dir) <= root || !slash)
            return;
        *slash = 0;
    }
}

static void memory_group(struct memory *m)
{
    char line[2048], dir[4096];
    const char *given = getenv("JETCL_CGROUP");
    if (given && *given) {
        snprintf(dir, sizeof dir, "%s", given);
        memory_groups(m, dir, strlen(dir), file_exists(dir)
                      && memory_number(dir, "memory.current") != UINT64_MAX);
        return;
    }
    FILE *f = fopen("/proc/self/cgroup", "r");
    while (f && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = 0;
        char *path = strchr(line, ':'), *list = path ? path + 1 : NULL;
        bool second = text_starts(line, "0::");
        if (!path || !(path = strchr(path + 1, ':')))
            continue;
        *path++ = 0;
        if (!second && !strstr(list, "memory"))
            continue;
        const char *root = second ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
        snprintf(dir, sizeof dir, "%s%s", root, strcmp(path, "/") ? path : "");
        if (!file_exists(dir))
            snprintf(dir, sizeof dir, "%s", root);
        memory_groups(m, dir, strlen(root), second);
    }
    if (f)
        fclose(f);
}

struct memory memory_look(void)
{
    struct rlimit as;
    struct memory m = { .machine = (u64)sysconf(_SC_PHYS_PAGES) * (u64)sysconf(_SC_PAGESIZE),
                        .limit = UINT64_MAX, .unused = UINT64_MAX, .by = "" };
    u64 unused = memory_line("/proc/meminfo", "MemAvailable: %llu kB");
    if (unused)
        m.unused = unused;
    if (!getrlimit(RLIMIT_AS, &as) && as.rlim_cur != RLIM_INFINITY)
        memory_limit(&m, as.rlim_cur, memory_line("/proc/self/status", "VmSize: %llu kB"), " (ulimit -v)");
    memory_group(&m);
    return m;
}
