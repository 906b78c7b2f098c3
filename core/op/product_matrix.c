/* product_matrix.c: how a product is cut for a matrix engine: cl/gpu/matrix.cl's tile. The order of sums
 * follows from sizes and the engine, as in product_cut.c. */
#include "op/product_cut.h"

enum { DEEP = 16, LINE = DEEP + 4, DEPTH = 2 * DEEP };   // words of k in a step; of its line; k, of halves

/* Teams across and down, blocks of each across and down: 128 x 128, and 64 x 64. */
struct matrix_tile { int wx, wy, bn, bm; };
static const struct matrix_tile matrix_tiles[][2] = {
    [MATRIX_mma]  = { { 2, 2, 8, 4 }, { 2, 2, 4, 2 } },
    [MATRIX_mfma] = { { 2, 2, 4, 4 }, { 2, 2, 2, 2 } },
    [MATRIX_wmma] = { { 4, 2, 2, 4 }, { 2, 2, 2, 2 } },
    [MATRIX_dpas] = { { 8, 4, 2, 4 }, { 4, 4, 2, 2 } },
};
enum { LARGE, SMALL };

struct matrix_plan { i64 items, tm, tn, local; };

static struct matrix_plan matrix_plan_of(const dev *d, const struct matrix_tile *t)
{
    const struct dev_matrix *m = dev_matrix(d);
    struct matrix_plan p = { t->wx * t->wy * m->lanes, t->wy * t->bm * m->rows, t->wx * t->bn * m->columns };
    p.local = (p.tm + p.tn) * LINE + (dev_info(d)->emulated ? p.items * m->words : 0);
    return p;
}

static bool matrix_plan_fits(const dev *d, struct matrix_plan p)
{
    const struct dev_info *i = dev_info(d);
    return p.items <= i->max_group && dtype_bytes(F32) * (u64)p.local <= i->local_mem;
}

static i64 matrix_plan_groups(const struct product *p, struct matrix_plan t)
{
    return CEIL_DIV(p->m, t.tm) * CEIL_DIV(p->n, t.tn) * product_batches(p);
}

static bool product_half(const struct product *p) { return dtype_half(p->a.type) || dtype_half(p->b.type); }

/* Does a product of F32 gain by it? TF32 always; exact F32 is as fast as packed multiply-adds, so that small
 * tiles of few rows are better, and what was measured to be (`jetcl tune`: TILE). */
static bool product_floats_pay(const dev *d, const struct product *p)
{
    return dev_info(d)->floats && !product_tune(d, p, "TILE") && (dev_tf32(d) || MIN(p->m, p->n) > 32);
}

/* Types that are not F32 are one half type. */
bool product_on_matrix(const dev *d, const struct product *p)
{
    return d && dev_matrix(d) && dev_has_override(d, "matrix") &&
           (product_half(p) || product_floats_pay(d, p)) &&
           matrix_plan_fits(d, matrix_plan_of(d, &matrix_tiles[dev_info(d)->matrix][SMALL]));
}

/* The large tile where C has enough of them for all compute units, which count small ones of 8 lanes or 16 for
 * an eighth. */
static const struct matrix_tile *matrix_tile_of(const dev *d, const struct product *p)
{
    const struct dev_info *i = dev_info(d);
    const struct matrix_tile *tiles = matrix_tiles[i->matrix];
    i64 units = MAX(1, i->simd > 16 ? i->compute_units : i->compute_units / 8);
    struct matrix_plan large = matrix_plan_of(d, &tiles[LARGE]);
    bool pays = p->m > 64 && p->n > 64 && matrix_plan_groups(p, large) >= units;
    return &tiles[pays && matrix_plan_fits(d, large) ? LARGE : SMALL];
}

/* k is cut, where groups may join, until small tiles would be GROUPS. */
static i64 matrix_splits_of(const dev *d, const struct product *p, i64 tiles)
{
    const struct matrix_tile *small = &matrix_tiles[dev_info(d)->matrix][SMALL];
    i64 want = product_tune(d, p, "GROUPS"), least = product_tune(d, p, "SPLIT_K");
    i64 all = matrix_plan_groups(p, matrix_plan_of(d, small));
    return all < want && dev_info(d)->joins && tiles <= DEV_COUNTERS
           ? MIN(CEIL_DIV(want, all), MAX(p->k / least, 1)) : 1;
}

struct cut product_cut_matrix(const dev *d, const struct product *p)
{
    const struct dev_info *i = dev_info(d);
    const struct matrix_tile *t = matrix_tile_of(d, p);
    struct matrix_plan plan = matrix_plan_of(d, t);
    struct cut c = { .file = "matrix", .items = { (u64)plan.items, 1 }, .mb = plan.tm, .nb = plan.tn,
                     .local = plan.local, .tiles = matrix_plan_groups(p, plan) };
    i64 splits = matrix_splits_of(d, p, c.tiles);
    c.share = splits > 1 ? ROUND_UP(CEIL_DIV(p->k, splits), (i64)DEPTH) : p->k;
    c.splits = CEIL_DIV(p->k, c.share);
    c.joined = c.splits > 1;
    char engine[64];
    dev_matrix_defs(d, product_half(p) ? NULL : i->floats, engine);
    snprintf(c.defs, sizeof c.defs, "%s -DWX=%d -DWY=%d -DBM=%d -DBN=%d -DTA=%d -DTB=%d -DALIGNED=%d "
             "-DWITH_SUMS=%d -DINDEX=%s%s%s%s%s", engine, t->wx, t->wy, t->bm, t->bn, p->ta, p->tb,
             product_aligned(p), p->keep == KEEP_SUMS, product_far(p) ? "long" : "int",
             p->mask.kept > 0 ? " -DDRAWS=1" : "", i->cpu_kind ? " -DUNROLL=1" : "",
             *i->many_registers ? " " : "", i->many_registers);
    return c;
}
