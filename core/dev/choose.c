/* choose.c: which device a spec means. */
#include "dev/ocl.h"

static bool choose_gpu(const struct dev_info *i)         { return i->gpu_kind; }
static bool choose_cpu(const struct dev_info *i)         { return i->cpu_kind; }
static bool choose_accelerator(const struct dev_info *i) { return i->accelerator_kind; }

typedef bool kind(const struct dev_info *i);

static kind *choose_kind(const char *word)
{
    return !strcmp(word, "gpu") ? choose_gpu : !strcmp(word, "cpu") ? choose_cpu
         : !strcmp(word, "accelerator") ? choose_accelerator : NULL;
}

static struct found *choose_first(struct found *all, int n, kind *is)
{
    for (int i = 0; i < n; i++)
        if (is(&all[i].info))
            return &all[i];
    return NULL;
}

static bool choose_exact(const struct dev_info *i, const char *spec)
{
    return !strcmp(i->spec, spec) || !strcasecmp(i->name, spec);
}

static bool choose_matches(const struct dev_info *i, const char *spec)
{
    if (text_starts(spec, "uuid:"))
        return *i->uuid && !strcasecmp(i->uuid, spec + 5);
    if (text_starts(spec, "pci:"))
        return *i->pci && (!strcasecmp(i->pci, spec + 4) || text_ends(spec, i->pci));
    return strcasestr(i->name, spec) || strcasestr(i->platform, spec);
}

static const char *choose_listing(arena *a, struct found *all, int n)
{
    char *s = "";
    for (int i = 0; i < n; i++)
        s = arena_printf(a, "%s%s%s (%s)", s, i ? ", " : "", all[i].info.spec, all[i].info.name);
    return s;
}

/* By P:D, whole name, uuid, bus, or part of a name. */
static struct found *choose_by_name(arena *a, const char *spec, struct found *all, int n)
{
    struct found *hits = arena_array(a, struct found, n);
    int nhits = 0;
    for (int i = 0; i < n; i++)
        if (choose_exact(&all[i].info, spec))
            return &all[i];
        else if (choose_matches(&all[i].info, spec))
            hits[nhits++] = all[i];
    if (nhits == 1)
        return hits;
    if (nhits)
        fail(FAULT_DEVICE, "device '%s' matches more than one: %s", spec, choose_listing(a, hits, nhits));
    else if (strchr(spec, ','))
        fail(FAULT_DEVICE, "only run and train take several devices ('%s'); devices: %s", spec,
             choose_listing(a, all, n));
    else
        fail(FAULT_DEVICE, "no device '%s'; devices: %s", spec, choose_listing(a, all, n));
    return NULL;
}

const char *choose_kernels(const char *spec)
{
    static const char *const words[] = { "@cpu", "@gpu", "@plain" };
    for (int i = 0; i < countof(words); i++)
        if (text_ends(spec, words[i]))
            return words[i] + 1;
    return NULL;                                  // names may hold an @: "CPU @ 2.40GHz"
}

struct found *choose_device(arena *a, const char *spec)
{
    struct found *all, *f;
    int n = probe_devices(a, &all);
    if (n < 0)
        return NULL;
    if (!n) {
        fail(FAULT_DEVICE, "no OpenCL device: the loader found no driver with one; install your card's "
                           "OpenCL driver, or pocl-opencl-icd to run on the CPU");
        return NULL;
    }
    const char *kernels = choose_kernels(spec);
    if (kernels)
        spec = arena_printf(a, "%.*s", (int)(strlen(spec) - strlen(kernels) - 1), spec);
    if (!*spec || !strcmp(spec, "auto"))
        return (f = choose_first(all, n, choose_gpu)) || (f = choose_first(all, n, choose_cpu)) ? f : all;
    if (!choose_kind(spec))
        return choose_by_name(a, spec, all, n);
    if (!(f = choose_first(all, n, choose_kind(spec))))
        fail(FAULT_DEVICE, "no %s here; devices: %s", spec, choose_listing(a, all, n));
    return f;
}

static int split_list(arena *a, const char *spec, const char **out)
{
    int n = 0;
    char *save = NULL, *list = arena_printf(a, "%s", spec);
    for (char *s = strtok_r(list, ",", &save); s; s = strtok_r(NULL, ",", &save))
        out[n++] = s;
    return n;
}

int dev_of_rank(arena *a, const char *spec, int rank, const char **out)
{
    const char **names = arena_array(a, const char *, strlen(spec) + 1);
    int n = split_list(a, spec, names);
    bool every = n == 1 && text_ends(spec, ":*"), automatic = !strcmp(spec, "auto");
    kind *is = n != 1 ? NULL : automatic ? choose_gpu
             : choose_kind(every ? arena_copy(a, spec, strlen(spec) - 2) : spec);
    struct found *all;
    int have = is && (every || rank >= 0) ? probe_devices(a, &all) : 0;
    if (have > 0) {
        names = arena_array(a, const char *, have);
        n = 0;
        for (int i = 0; i < have; i++)
            if (is(&all[i].info))
                names[n++] = all[i].info.spec;
    }
    *out = n ? names[MAX(0, rank) % n] : spec;
    return MAX(1, n);
}

/* As JETCL_FAKE has it. */
static struct dev_info choose_played(struct dev_info i)
{
    enum dev_class class = i.class;
    if (fake_apply(&i, &class))                   // opening it will say what is wrong
        fail_clear();
    return i;
}

int dev_list(arena *a, struct dev_info **out)
{
    struct found *all;
    int n = MAX(0, probe_devices(a, &all));
    *out = arena_array(a, struct dev_info, MAX(n, 1));
    for (int i = 0; i < n; i++)
        (*out)[i] = choose_played(all[i].info);
    return n;
}

int dev_find(const char *spec, struct dev_info *out)
{
    arena *a = arena_open("devices");
    bool null = !strcmp(spec, "null");
    const struct found *f = null ? NULL : choose_device(a, spec);
    if (f || null)
        *out = f ? choose_played(f->info) : null_info;
    arena_close(a);
    return f || null ? 0 : -1;
}
