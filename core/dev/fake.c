/* fake.c: JETCL_FAKE puts another device's limits over the real one's, so that plans, tiles and launches are
 * those of a GPU that is not here, and results are computed under its limits:
 *
 *     JETCL_FAKE=apple                      a row of fakes.def
 *     JETCL_FAKE=rdna,units=20,local=32     the same with other numbers; numbers alone start from the device's
 *
 * The class is gpu then, also of the null device, which plans and dumps (dump.c) but still computes nothing. */
#include "dev/ocl.h"
#include <stdlib.h>

enum { LOCAL, GROUP, LANES, FP64, ALLOC, ALIGN, UNITS, JOINS, LIMITS };
static const char *const limits[LIMITS] = { "local", "group", "lanes", "fp64", "alloc", "align", "units", "joins" };
static const struct kind { const char *name; u32 limit[LIMITS]; } kinds[] = {
#define FAKE(name, local, group, lanes, fp64, alloc, align, units, joins) \
    { #name, { local, group, lanes, fp64, alloc, align, units, joins } },
#include "dev/fakes.def"
#undef FAKE
};

static u64 fake_least(u64 own, u64 limit) { return MIN(own, limit); }

static void fake_set(struct dev_info *i, int limit, u32 value)
{
    switch (limit) {
    case LOCAL: i->local_mem = fake_least(i->local_mem, (u64)value << 10); break;
    case GROUP: i->max_group = MIN(i->max_group, value); break;
    case LANES: i->simd = value; break;
    case FP64:  i->fp64 = value; break;
    case ALLOC: i->max_alloc = fake_least(i->max_alloc, (u64)value << 20); break;
    case ALIGN: i->align = MAX(i->align, value); break;
    case UNITS: i->compute_units = value; break;
    case JOINS: i->joins = value; break;
    }
}

/* "local=16" or "apple". */
static int fake_word(struct dev_info *i, slice word)
{
    const char *names[countof(kinds) + LIMITS];
    int n = 0;
    for (int k = 0; k < countof(kinds); k++) {
        names[n++] = kinds[k].name;
        for (int limit = 0; limit < LIMITS && slice_eq(word, kinds[k].name); limit++)
            fake_set(i, limit, kinds[k].limit[limit]);
        if (slice_eq(word, kinds[k].name))
            return 0;
    }
    for (int limit = 0; limit < LIMITS; limit++) {
        size_t length = strlen(limits[limit]);
        i64 value;
        names[n++] = limits[limit];
        if (word.n <= length || memcmp(word.p, limits[limit], length) || word.p[length] != '=')
            continue;
        if (!text_int((slice){ word.p + length + 1, word.n - length - 1 }, &value) || value < 0 ||
            value > INT32_MAX || (!value && limit != FP64 && limit != JOINS) || (limit == ALIGN && value & (value - 1)))
            break;
        fake_set(i, limit, (u32)value);
        return 0;
    }
    char text[64], hint[96];
    snprintf(text, sizeof text, "%.*s", (int)MIN(word.n, 63), word.p);
    text[strcspn(text, "=")] = 0;
    return fail(FAULT_USAGE, "JETCL_FAKE: '%.*s' is neither a kind of device (apple, mali, adreno, arc, rdna, "
                "cdna, nvidia) nor a limit such as local=16 (local, group, lanes, fp64, alloc, align, units, joins)%s",
                (int)word.n, word.p, text_hint(hint, text, names, n));
}

int fake_apply(dev *d)
{
    const char *fake = getenv("JETCL_FAKE");
    if (!fake || !*fake)
        return 0;
    struct dev_info *i = &d->info;
    i->fp64 = i->fp16 = i->subgroups = false;
    for (const char *p = fake, *end; *p; p = end + (*end == ',')) {
        end = p + strcspn(p, ",");
        if (fake_word(i, (slice){ p, (size_t)(end - p) }))
            return -1;
    }
    if (i->local_mem < 16 << 10 || i->max_group < 64)
        return fail(FAULT_USAGE, "JETCL_FAKE=%s: local must be at least 16 (KiB), group at least 64", fake);
    size_t n = strlen(i->name);
    snprintf(i->name + n, sizeof i->name - n, " as %s", fake);
    if (!d->queue && d->class == DEV_NULL && i->simd == 16 && i->max_group > 256)
        snprintf(i->wide, sizeof i->wide, "%s", WIDE_INTEL);     // for compilers that read a dump
    d->class = DEV_GPU;
    return 0;
}
