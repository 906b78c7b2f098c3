/* energy.c: what the host tells of the energy that a device uses. */
#include "study/energy.h"
#include <dirent.h>
#include <math.h>
#include <stdlib.h>

/* The number in a file, or NAN. */
static f64 energy_file(const char *path)
{
    f64 v = NAN;
    FILE *f = fopen(path, "r");
    if (f && fscanf(f, "%lf", &v) != 1)
        v = NAN;
    if (f)
        fclose(f);
    return v;
}

static void energy_counter(struct energy *e, const char *path, f64 range)
{
    f64 now = energy_file(path);
    if (isnan(now) || e->counters == ENERGY_COUNTERS || strlen(path) >= sizeof e->path[0])
        return;
    snprintf(e->path[e->counters], sizeof e->path[0], "%s", path);
    e->range[e->counters] = isnan(range) ? 0 : range;
    e->start[e->counters++] = now;
}

/* Packages "intel-rapl:0", which AMD's processors have too; "intel-rapl:0:0" is a part of one. */
static void energy_rapl(struct energy *e, arena *a, const char *root)
{
    const char *dir = arena_printf(a, "%s/class/powercap", root);
    DIR *d = opendir(dir);
    for (struct dirent *x; d && (x = readdir(d));)
        if (text_starts(x->d_name, "intel-rapl:") && !strchr(x->d_name + 11, ':'))
            energy_counter(e, arena_printf(a, "%s/%s/energy_uj", dir, x->d_name),
                           energy_file(arena_printf(a, "%s/%s/max_energy_range_uj", dir, x->d_name)));
    if (d)
        closedir(d);
    e->from = e->counters ? "RAPL" : "";
}

/* A card's own counter, else its meter: <root>/bus/pci/devices/0000:03:00.0/hwmon/hwmonN/. */
static void energy_hwmon(struct energy *e, arena *a, const char *root, const char *pci)
{
    const char *dir = arena_printf(a, "%s/bus/pci/devices/0000:%s/hwmon", root, pci);
    static const char *const meters[] = { "power1_average", "power1_input" };
    DIR *d = *pci ? opendir(dir) : NULL;
    for (struct dirent *x; d && (x = readdir(d));) {
        if (!text_starts(x->d_name, "hwmon"))
            continue;
        energy_counter(e, arena_printf(a, "%s/%s/energy1_input", dir, x->d_name), NAN);
        for (int i = 0; i < countof(meters) && !e->counters && !e->meter; i++) {
            const char *path = arena_printf(a, "%s/%s/%s", dir, x->d_name, meters[i]);
            e->meter = !isnan(energy_file(path)) && strlen(path) < sizeof e->path[0];
            snprintf(e->path[0], sizeof e->path[0], "%s", e->meter ? path : "");
        }
    }
    if (d)
        closedir(d);
    e->from = e->counters || e->meter ? "hwmon" : "";
}

static f64 energy_watts(const struct energy *e)
{
    f64 w = NAN;
    if (!e->command[0])
        return 1e-6 * energy_file(e->path[0]);
    FILE *f = popen(e->command, "r");
    if (f && fscanf(f, "%lf", &w) != 1)
        w = NAN;
    if (f)
        pclose(f);
    return w;
}

static void energy_nvidia(struct energy *e, const struct dev_info *d)
{
    if (!strstr(d->vendor, "NVIDIA") || !*d->pci
        || strspn(d->pci, "0123456789abcdefABCDEF:.") != strlen(d->pci))
        return;
    snprintf(e->command, sizeof e->command,
             "nvidia-smi --id=0000:%s --query-gpu=power.draw --format=csv,noheader,nounits 2>/dev/null",
             d->pci);
    e->meter = !isnan(energy_watts(e));
    e->from = e->meter ? "nvidia-smi" : "";
}

void energy_begin(struct energy *e, const char *root, const struct dev_info *d)
{
    arena *a = arena_open("energy");
    *e = (struct energy){ .from = "" };
    if (d->cpu_kind)
        energy_rapl(e, a, root);
    else
        energy_hwmon(e, a, root, d->pci);
    if (!d->cpu_kind && !*e->from)
        energy_nvidia(e, d);
    if (e->meter)
        e->watts = energy_watts(e);
    e->time = clock_now();
    arena_close(a);
}

static void energy_sum(struct energy *e)
{
    f64 now = clock_now(), watts = energy_watts(e);
    if (isnan(watts))
        return;
    e->joules += 0.5 * (e->watts + watts) * (now - e->time);
    e->watts = watts;
    e->time = now;
}

void energy_tick(struct energy *e)
{
    if (e->meter && clock_now() - e->time >= 1)
        energy_sum(e);
}

f64 energy_end(struct energy *e)
{
    f64 sum = 0;
    if (e->meter)
        energy_sum(e);
    for (int i = 0; i < e->counters; i++) {
        f64 used = energy_file(e->path[i]) - e->start[i];
        sum += used < 0 ? used + e->range[i] : used;
    }
    sum = e->meter ? e->joules : 1e-6 * sum;
    return sum > 0 ? sum : 0;                     // NaN too: a counter that went away tells nothing
}
