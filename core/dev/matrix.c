/* matrix.c: does the matrix engine that a device says it has (probe.c) do what cl/mma.h says of it? Two blocks
 * of small integers, whose products are exact, in each half type. */
#include "dev/ocl.h"

static const struct dev_matrix engines[] = {
    { "none" },
#define MATRIX(name, title, lanes, rows, columns, words) { #name, title, lanes, rows, columns, words },
#include "dev/matrices.def"
#undef MATRIX
};

const struct dev_matrix *dev_matrix(const dev *d)
{
    return d && d->info.matrix && !d->no_matrix ? &engines[d->info.matrix] : NULL;
}

void dev_matrix_defs(const dev *d, char out[32])
{
    snprintf(out, 32, "-DENGINE=%d%s", (int)d->info.matrix, d->info.emulated ? " -DEMULATED" : "");
}

void dev_no_matrix(dev *d) { d->no_matrix = true; }

/* ---- the check ----------------------------------------------------------------------------------------- */

/* ACROSS: blocks of B side by side, since some engines read two at once. */
enum { DEEP = 16, LINE = DEEP / 2 + 4, ACROSS = 2 };
static int matrix_value(int which, int i, int k) { return (i * 5 + k * 3 + which * 7 + i * k) % 13 - 6; }

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

static int matrix_write(dev *d, range r, int which, int rows, enum dtype t)
{
    u16 h[ACROSS * 16 * DEEP];
    for (int i = 0; i < rows * DEEP; i++)
        h[i] = matrix_half(matrix_value(which, i / DEEP, i % DEEP), t);
    r.bytes = sizeof *h * (u64)(rows * DEEP);
    return mem_write(d, r, h);
}

static bool matrix_same(const f32 *c, const struct dev_matrix *m)
{
    const int columns = ACROSS * m->columns;
    for (int i = 0; i < m->rows * columns; i++) {
        int sum = 0;
        for (int k = 0; k < DEEP; k++)
            sum += matrix_value(0, i / columns, k) * matrix_value(1, i % columns, k);
        if (c[i] != (f32)sum)
            return false;
    }
    return true;
}

static bool matrix_right(dev *d, mem *all, const struct dev_matrix *m, enum dtype t)
{
    u64 piece = ROUND_UP((u64)2048, d->info.align);
    int columns = ACROSS * m->columns, room = (m->rows + columns) * LINE + m->lanes * m->words;
    range r[3] = { { all, 0, piece }, { all, piece, piece }, { all, 2 * piece, piece } };
    f32 c[16 * 32];
    char defs[32];
    dev_matrix_defs(d, defs);
    launches *l = launches_new(d, "matrix check");
    launch_add(l, &(launch){ .file = "matrix_check", .kernel = "matrix_check", .defs = defs, .types = "ab",
                             .global = { (u64)m->lanes }, .local = { (u64)m->lanes },
                             .args = { ARG_TYPED(r[0], t), ARG_TYPED(r[1], t), ARG_RANGE(r[2]),
                                       ARG_LOCAL(4 * (u64)room) } });
    r[2].bytes = sizeof *c * (u64)(m->rows * columns);
    bool right = !matrix_write(d, r[0], 0, m->rows, t) && !matrix_write(d, r[1], 1, columns, t) &&
                 !mem_fill(d, r[2], 0x7fc00000) && !launches_compile(l) && !launches_run(l) &&
                 !mem_read(d, r[2], c) && matrix_same(c, m);
    launches_free(l);
    return right;
}

void matrix_confirm(dev *d)
{
    const struct dev_matrix *m = dev_matrix(d);
    if (!m || !d->queue || d->class != DEV_GPU || source_plain(d))
        return;
    mem *all = mem_new(d, 3 * ROUND_UP((u64)2048, d->info.align), "matrix check");
    if (!all || !matrix_right(d, all, m, BF16) || !matrix_right(d, all, m, F16)) {
        say(SAY_NORMAL, "%s: its matrix engine (%s) fails a small product; using the kernels without it",
            d->info.name, m->title);
        d->info.matrix = MATRIX_none;
        fail_clear();
    }
    mem_free(all);
    d->used = d->peak = 0;
}
