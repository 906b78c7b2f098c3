/* matrix.c: does the matrix engine that a device says it has (probe.c) do what cl/mma.h says of it? Two blocks
 * of integers, whose products are exact, in each type that it takes. */
#include "dev/ocl.h"

static const struct dev_matrix engines[] = {
    { "none" },
#define MATRIX(name, title, lanes, rows, columns, words, floats) \
    { #name, title, lanes, rows, columns, words, floats },
#include "dev/matrices.def"
#undef MATRIX
};

const char *dev_matrix_floats(enum matrix m) { return engines[m].floats; }

const struct dev_matrix *dev_matrix(const dev *d)
{
    return d && d->info.matrix ? &engines[d->info.matrix] : NULL;
}

void dev_matrix_defs(const dev *d, const char *element, char out[64])
{
    snprintf(out, 64, "-DENGINE=%d%s%s%s", (int)d->info.matrix, d->info.emulated ? " -DEMULATED" : "",
             element ? " -DELEMENT=" : "", element ? element : "");
}

bool dev_tf32(const dev *d) { return d && d->info.floats && !strcmp(d->info.floats, "TF32"); }

/* What was tuned with the engine is not for kernels without it. */
static void matrix_retune(dev *d)
{
    if (d->queue)
        tune_load(d);
}

void dev_no_matrix(dev *d)
{
    d->info.matrix = MATRIX_none;
    d->info.floats = NULL;
    matrix_retune(d);
}

bool dev_allow_tf32(dev *d)
{
    if (!d->tf32)
        return false;
    d->info.floats = "TF32";
    matrix_retune(d);
    return true;
}

/* ---- the check ----------------------------------------------------------------------------------------- */

/* ACROSS: blocks of B side by side, since some engines read two at once. WORDS: of k. */
enum { WORDS = 8, LINE = WORDS + 4, ACROSS = 2, MOST = ACROSS * 16 * 2 * WORDS };

/* A type that the engine multiplies, and the one that its values are stored in. */
struct matrix_type { const char *name; enum dtype stored; };
static int matrix_deep(struct matrix_type t) { return dtype_half(t.stored) ? 2 * WORDS : WORDS; }

/* F32: every second value of A, and the others of B, have 17 bits. The sums of their products have 22. */
static int matrix_value(struct matrix_type t, int which, int i, int k)
{
    bool wide = !strcmp(t.name, "F32") && k % 2 == which;
    return (i * 5 + k * 3 + which * 7 + i * k) % 13 - 6 + (wide ? 1 << 16 : 0);
}

/* An integer up to 255 in a half type. */
static u16 matrix_half(int v, enum dtype t)
{
    f32 x = (f32)v;
    u32 bits;
    memcpy(&bits, &x, sizeof bits);
    if (t == BF16)
        return (u16)(bits >> 16);
    return v ? (u16)((bits >> 16 & 0x8000) | ((bits >> 13 & 0x3ffff) - (112 << 10))) : 0;
}

static int matrix_write(dev *d, range r, int which, int rows, struct matrix_type t)
{
    u16 h[MOST];
    f32 x[MOST];
    int deep = matrix_deep(t);
    for (int i = 0; i < rows * deep; i++) {
        int v = matrix_value(t, which, i / deep, i % deep);
        h[i] = dtype_half(t.stored) ? matrix_half(v, t.stored) : 0;
        x[i] = (f32)v;
    }
    r.bytes = dtype_bytes(t.stored) * (u64)(rows * deep);
    return mem_write(d, r, dtype_half(t.stored) ? (const void *)h : x);
}

static bool matrix_same(const f32 *c, const struct dev_matrix *m, struct matrix_type t)
{
    const int columns = ACROSS * m->columns;
    for (int i = 0; i < m->rows * columns; i++) {
        int sum = 0;
        for (int k = 0; k < matrix_deep(t); k++)
            sum += matrix_value(t, 0, i / columns, k) * matrix_value(t, 1, i % columns, k);
        if (c[i] != (f32)sum)
            return false;
    }
    return true;
}

static bool matrix_right(dev *d, mem *all, const struct dev_matrix *m, struct matrix_type t)
{
    u64 piece = ROUND_UP((u64)2048, d->info.align);
    int columns = ACROSS * m->columns, room = (m->rows + columns) * LINE + m->lanes * m->words;
    range r[3] = { { all, 0, piece }, { all, piece, piece }, { all, 2 * piece, piece } };
    f32 c[16 * 32];
    char defs[64];
    dev_matrix_defs(d, t.name, defs);
    launches *l = launches_new(d, "matrix check");
    launch_add(l, &(launch){ .file = "matrix_check", .kernel = "matrix_check", .defs = defs, .types = "ab",
                             .global = { (u64)m->lanes }, .local = { (u64)m->lanes },
                             .args = { ARG_TYPED(r[0], t.stored), ARG_TYPED(r[1], t.stored), ARG_RANGE(r[2]),
                                       ARG_LOCAL(4 * (u64)room) } });
    r[2].bytes = sizeof *c * (u64)(m->rows * columns);
    bool right = !matrix_write(d, r[0], 0, m->rows, t) && !matrix_write(d, r[1], 1, columns, t) &&
                 !mem_fill(d, r[2], 0x7fc00000) && !launches_compile(l) && !launches_run(l) &&
                 !mem_read(d, r[2], c) && matrix_same(c, m, t);
    launches_free(l);
    fail_clear();
    return right;
}

/* Can it be asked? The null device and kernels of other classes take its word. */
static bool matrix_asked(const dev *d) { return d->queue && d->class == DEV_GPU && !source_plain(d); }

void matrix_confirm(dev *d)
{
    const struct dev_matrix *m = dev_matrix(d);
    mem *all = m && matrix_asked(d) ? mem_new(d, 3 * ROUND_UP((u64)2048, d->info.align), "matrix check") : NULL;
    if (!m)
        return;
    bool halves = !matrix_asked(d) || (all && matrix_right(d, all, m, (struct matrix_type){ "BF16", BF16 }) &&
                                       matrix_right(d, all, m, (struct matrix_type){ "F16", F16 }));
    bool floats = halves && m->floats &&
                  (!matrix_asked(d) || matrix_right(d, all, m, (struct matrix_type){ m->floats, F32 }));
    if (!halves)
        say(SAY_NORMAL, "%s: its matrix engine (%s) fails a small product; using the kernels without it",
            d->info.name, m->title);
    else if (m->floats && !floats)
        say(SAY_NORMAL, "%s: its matrix engine (%s) fails a small product of %s; using it for half types alone",
            d->info.name, m->title, m->floats);
    if (!halves)
        d->info.matrix = MATRIX_none;
    d->tf32 = floats && !strcmp(m->floats, "TF32");
    d->info.floats = floats && !d->tf32 ? m->floats : NULL;
    mem_free(all);
    fail_clear();
    d->used = d->peak = 0;
}
