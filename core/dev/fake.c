/* fake.c: JETCL_FAKE puts another device's limits over the real one's, so that plans, tiles and launches are
 * those of a GPU that is not here, and results are computed under its limits:
 *
 *     JETCL_FAKE=apple                      a row of fakes.def
 *     JETCL_FAKE=rdna,units=20,local=32     the same with other numbers; numbers alone start from the device's
 *
 * The class is gpu then, also of the null device, which plans and dumps (dump_programs.c) but still
 * computes nothing.
 *
 *     JETCL_FAKE=avx2                       a CPU's vectors and caches: kernels take its shapes, in class cpu,
 *                                           and on the null device dumped as its compiler would be given them
 *     JETCL_LANES=8                         a CPU's vectors alone: 4, 8 or 16 floats */
#include "dev/ocl.h"
#include <stdlib.h>

enum { LOCAL, GROUP, LANES, FP64, ALLOC, ALIGN, UNITS, JOINS, ENGINE, L1, L2, LIMITS };
static const char *const limits[LIMITS] = {
    "local", "group", "lanes", "fp64", "alloc", "align", "units", "joins", "matrix", "l1", "l2"
};
static const struct kind { const char *name; u32 limit[LIMITS]; } kinds[] = {
#define FAKE(name, local, group, lanes, fp64, alloc, align, units, joins, matrix) \
    { #name, { local, group, lanes, fp64, alloc, align, units, joins, matrix } },
#define FAKE_CPU(...)
#include "dev/fakes.def"
#undef FAKE
#undef FAKE_CPU
};
static const struct cpu { const char *name; u32 lanes, registers, l1, l2; bool fma; } cpus[] = {
#define FAKE(...)
#define FAKE_CPU(name, lanes, registers, l1, l2, fma) { #name, lanes, registers, l1, l2, fma },
#include "dev/fakes.def"
#undef FAKE
#undef FAKE_CPU
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
    case ENGINE: i->matrix = (enum matrix)value; break;
    case L1:    i->cache[0] = (u64)value << 10; break;
    case L2:    i->cache[1] = (u64)value << 10; break;
    }
}

/* The null device takes all of these; a real one keeps its own, and can only leave multiply-adds unused. */
static void fake_cpu(struct dev_info *i, const struct cpu *c)
{
    bool null = i->class == DEV_NULL;
    i->simd = c->lanes;
    i->registers = c->registers;
    i->cache[0] = (u64)c->l1 << 10;
    i->cache[1] = (u64)c->l2 << 10;
    i->fma = c->fma && (null || i->fma);
    if (null)
        i->local_mem = i->cache[1];
    snprintf(i->cache_from, sizeof i->cache_from, "JETCL_FAKE");
}

/* "avx2": a CPU. */
static const struct cpu *fake_cpu_named(slice word)
{
    for (int k = 0; k < countof(cpus); k++)
        if (slice_eq(word, cpus[k].name))
            return &cpus[k];
    return NULL;
}

static bool fake_may(int limit, i64 value)
{
    bool zero = limit == FP64 || limit == JOINS || limit == ENGINE;
    i64 most = limit == ENGINE ? MATRIX_dpas : INT32_MAX;
    return value >= !zero && value <= most && !(limit == ALIGN && value & (value - 1));
}

/* "local=16", "apple" or "avx2". */
static int fake_word(struct dev_info *i, slice word)
{
    const char *names[countof(kinds) + countof(cpus) + LIMITS];
    int n = 0;
    if (fake_cpu_named(word)) {
        fake_cpu(i, fake_cpu_named(word));
        return 0;
    }
    for (int k = 0; k < countof(cpus); k++)
        names[n++] = cpus[k].name;
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
        if (!text_int((slice){ word.p + length + 1, word.n - length - 1 }, &value) || !fake_may(limit, value))
            break;
        fake_set(i, limit, (u32)value);
        return 0;
    }
    char text[64], hint[96];
    snprintf(text, sizeof text, "%.*s", (int)MIN(word.n, 63), word.p);
    text[strcspn(text, "=")] = 0;
    return fail(FAULT_USAGE, "JETCL_FAKE: '%.*s' is neither a kind of device (apple, mali, adreno, arc, rdna, "
                "cdna, nvidia, avx512, avx2, sse, neon) nor a limit such as local=16 (local, group, lanes, "
                "fp64, alloc, align, units, joins, matrix, l1, l2)%s",
                (int)word.n, word.p, text_hint(hint, text, names, n));
}

/* JETCL_LANES: the registers are those that this architecture has at that width. */
static int fake_lanes(struct dev_info *i)
{
    const char *lanes = getenv("JETCL_LANES");
    i64 n = 0;
    if (!lanes || !*lanes || !i->cpu_kind)
        return 0;
    if (!text_int(slice_of(lanes), &n) || (n != 4 && n != 8 && n != 16))
        return fail(FAULT_USAGE, "JETCL_LANES=%s: must be 4, 8 or 16, floats of a CPU's vectors", lanes);
    i->simd = (u32)n;
    i->registers = host_registers(i->simd);
    return 0;
}

int fake_apply(struct dev_info *i, enum dev_class *class)
{
    const char *fake = getenv("JETCL_FAKE");
    if (fake_lanes(i))
        return -1;
    if (!fake || !*fake)
        return 0;
    bool cpu = fake_cpu_named((slice){ fake, strcspn(fake, ",") });
    i->matrix = MATRIX_none;
    if (!cpu)
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
    if (cpu) {
        *class = DEV_CPU;
        return 0;
    }
    for (i->emulated = i->cpu_kind; i->emulated && i->emulated < 32 && 2 * i->emulated <= i->simd;)
        i->emulated *= 2;
    if (*class == DEV_NULL && i->simd == 16 && i->max_group > 256)
        snprintf(i->many_registers, sizeof i->many_registers, "%s", MANY_REGISTERS_INTEL);   // for dumps
    *class = DEV_GPU;
    return 0;
}
