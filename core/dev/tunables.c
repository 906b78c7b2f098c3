/* tunables.c: their values. cl/tune.def holds what ships; rows of the device's tuning file, if `jetcl tune`
 * made one, come first for the shapes they name.
 *
 *     cache/tuning/KEY.txt       what it was made for: platform, device, driver, class, hash of the kernels
 *                                matmul nt.8192x576x192 KB 128         kernel, shape, macro, value
 *                                sum: hash of all that stands above; runs record it
 */
#include "dev/ocl.h"
#include <openssl/evp.h>

struct tuned { struct tuned *next; char kernel[32], shape[64], macro[32]; i32 value; };

static const struct row { const char *kernel, *class, *macro; i32 value; } rows[] = {
#define TUNE(kernel, class, macro, value) { #kernel, #class, #macro, value },
#include "cl/tune.def"
#undef TUNE
};

static const struct row *tunables_find(const char *kernel, const char *class, const char *macro)
{
    for (const struct row *r = rows; r < rows + countof(rows); r++)
        if (!strcmp(r->kernel, kernel) && !strcmp(r->macro, macro) && (!class || !strcmp(r->class, class)))
            return r;
    return NULL;
}

i32 dev_tune(const dev *d, const char *kernel, const char *macro)
{
    static const char *const class[] = { "cpu", "gpu", NULL };       // the null device takes any row there is
    const struct row *r = tunables_find(kernel, source_generic(d, kernel) ? "any" : class[d->class], macro);
    r = r ? r : tunables_find(kernel, "any", macro);
    check(r, "cl/tune.def has no row (%s, any, %s)", kernel, macro);
    return r->value;
}

struct dev_team dev_team(const dev *d, const char *kernel)
{
    struct dev_team t = { dev_tune(d, kernel, "TEAM"), dev_tune(d, kernel, "TEAMS") };
    i32 most = (i32)MIN(d->info.max_group, (u32)INT32_MAX);
    while (t.teams > 1 && t.team * t.teams > most)
        t.teams /= 2;
    while (t.team > 1 && t.team > most)
        t.team /= 2;
    return t;
}

i32 dev_group(const dev *d, const char *kernel)
{
    i32 items = dev_tune(d, kernel, "WG");
    while (items > 1 && (u32)items > d->info.max_group)
        items /= 2;
    return items;
}

/* ---- the tuning file ----------------------------------------------------------------------------------- */

i32 dev_tune_for(const dev *d, const char *kernel, const char *shape, const char *macro)
{
    for (const struct tuned *t = source_generic(d, kernel) ? NULL : d->tuned; t; t = t->next)
        if (!strcmp(t->kernel, kernel) && !strcmp(t->shape, shape) && !strcmp(t->macro, macro))
            return t->value;
    return dev_tune(d, kernel, macro);
}

void dev_tune_set(dev *d, const char *kernel, const char *shape, const char *macro, i32 value)
{
    struct tuned **t = &d->tuned;                 // in the order they came: files are equal when rows are
    while (*t && (strcmp((*t)->kernel, kernel) || strcmp((*t)->shape, shape) || strcmp((*t)->macro, macro)))
        t = &(*t)->next;
    if (!*t)
        *t = arena_one(d->a, struct tuned);
    snprintf((*t)->kernel, sizeof (*t)->kernel, "%s", kernel);
    snprintf((*t)->shape, sizeof (*t)->shape, "%s", shape);
    snprintf((*t)->macro, sizeof (*t)->macro, "%s", macro);
    (*t)->value = value;
}

void dev_tune_drop(dev *d, const char *kernel, const char *shape)
{
    for (struct tuned **t = &d->tuned; *t;)
        if (!strcmp((*t)->kernel, kernel) && !strcmp((*t)->shape, shape))
            *t = (*t)->next;
        else
            t = &(*t)->next;
}

static void tunables_hash(const char *text, size_t n, char hex[20])
{
    u8 out[32];
    check(EVP_Digest(text, n, out, NULL, EVP_sha256(), NULL), "sha256 of %zu bytes", n);
    hash_hex(hex, out, 8);
}

static const char *device_text(arena *a, const dev *d)
{
    static const char *const class[] = { "cpu", "gpu", "null" };
    const struct dev_info *i = &d->info;
    return arena_printf(a,
                        "platform: %s\ndevice: %s\ndriver: %s %s\nclass: %s\nunits: %u\nmatrix: %s%s%s\n",
                        i->platform, i->name, i->version, i->driver, class[d->class], i->compute_units,
                        dev_matrix_name(i->matrix), i->floats ? " " : "", i->floats ? i->floats : "");
}

static const char *tunables_head(arena *a, const dev *d)
{
    char kernels[20];
    source_hash(kernels);
    return arena_printf(a, "jetcl tuning 1\n%skernels: %s\n", device_text(a, d), kernels);
}

const char *dev_tune_path(const dev *d, char path[4200])
{
    char hex[20];
    arena *a = arena_open("tuning");
    const char *text = device_text(a, d);
    tunables_hash(text, strlen(text), hex);
    arena_close(a);
    snprintf(path, 4200, "%s/tuning/%s.txt", dev_cache_dir(), hex);
    return path;
}

/* Its rows; NULL, or why they cannot be used. */
static const char *read_rows(dev *d, arena *a, const char *path)
{
    size_t n;
    char *text = file_text(a, path, &n), *sum = NULL, hex[20], macro[32], kernel[32], shape[64];
    if (!text)
        return fail_message();
    for (char *p = text; (p = strstr(p, "\nsum: ")); p++)
        sum = p + 1;
    if (!sum || strlen(text) != n)
        return "damaged";
    tunables_hash(text, (size_t)(sum - text), hex);
    if (strncmp(sum + 5, hex, 16) || strcmp(sum + 5 + 16, "\n"))
        return "damaged";
    const char *made_for = tunables_head(a, d);
    if (!text_starts(text, made_for))
        return "made for another device or by another version";
    *sum = 0;
    for (char *p = text + strlen(made_for), *end; *p; p = end + 1) {
        int value, used = 0;
        if (!(end = strchr(p, '\n')))
            return "damaged";
        *end = 0;
        if (sscanf(p, "%31s %63s %31s %d%n", kernel, shape, macro, &value, &used) != 4 || p[used] || value < 1
            || !tunables_find(kernel, NULL, macro))
            return "damaged";
        dev_tune_set(d, kernel, shape, macro, value);
    }
    snprintf(d->info.tuning, sizeof d->info.tuning, "%s", hex);
    return NULL;
}

void tune_load(dev *d)
{
    char path[4200];
    d->tuned = NULL;
    d->info.tuning[0] = 0;
    if (trace_on(TRACE_no_tuning) || source_plain(d) || !file_exists(dev_tune_path(d, path)))
        return;
    arena *a = arena_open("tuning");
    const char *wrong = read_rows(d, a, path);
    if (wrong) {
        warn("%s: %s; using built-in values (jetcl tune writes it again)", path, wrong);
        d->tuned = NULL;
        fail_clear();
    }
    arena_close(a);
}

int dev_tune_save(dev *d)
{
    char path[4200], hex[20];
    arena *a = arena_open("tuning");
    const char *text = tunables_head(a, d);
    for (const struct tuned *t = d->tuned; t; t = t->next)
        text = arena_printf(a, "%s%s %s %s %d\n", text, t->kernel, t->shape, t->macro, t->value);
    tunables_hash(text, strlen(text), hex);
    const char *all = arena_printf(a, "%ssum: %s\n", text, hex);
    int rc = file_mkdirs(arena_printf(a, "%s/tuning", dev_cache_dir()))
          || file_save(dev_tune_path(d, path), all, strlen(all)) ? -1 : 0;
    arena_close(a);
    if (!rc)
        snprintf(d->info.tuning, sizeof d->info.tuning, "%s", hex);
    return rc;
}
