/* product.c: chooses kernel, tile and blocks for one matrix product, and appends its launches.
 *
 * The kernel takes sizes and strides as arguments, so that one compiled variant serves every shape; a variant is a tile
 * (MR rows by NV vectors of 16 columns on CPUs). What is cut how, `struct cut`, is decided here:
 *
 *     sizes, class ----> tile, kb, parts      these fix the order of sums, so neither load nor core count enters
 *     compute units ---> mb, nb               who computes which rows and columns: no effect on any value
 */
#include "op/product.h"

/* Flags as in cl/product.h. */
enum { TURN_A = 1, TURN_B = 2, GELU = 4, BIAS = 8, PRE = 16, RESIDUAL = 32, ONTO = 64, ADD = 128 };

struct cut {
    int mr, nv;                      /* tile of sums: mr x 16 nv */
    i64 mb, nb;                      /* rows and columns of one group */
    i64 kb, np;                      /* of k and of the columns, what is packed at a time */
    i64 share, parts;                /* k of one part, and how many parts */
};

static i64 batches(const struct product *p) { return p->outer * p->inner; }

static bool same_place(const struct operand *a, const struct operand *b)
{
    return a->r.mem == b->r.mem && a->r.off == b->r.off && a->at == b->at && a->row == b->row && a->outer == b->outer &&
           a->inner == b->inner;
}

/* Equal shares of n, each a multiple of `unit` and at most `most`. */
static i64 even(i64 n, i64 most, i64 unit)
{
    i64 pieces = CEIL_DIV(n, MAX(most / unit, 1) * unit);
    return ROUND_UP(CEIL_DIV(n, pieces), unit);
}

/* ---- cpu ---------------------------------------------------------------------------------------------------------- */

/* One tile per vector width; the last panel of columns is as narrow as it needs to be, so none pads n much. */
static void choose_tile(const dev *d, struct cut *c)
{
    u32 simd = dev_info(d)->simd;
    c->mr = simd >= 16 ? 8 : simd >= 8 ? 6 : 3;
    c->nv = simd >= 16 ? 3 : 1;
}

/* Rows and columns of a group: of all cuts into at least `want` groups the cheapest by a model in units of one tile
 * column: multiply-adds, packing of B, reading of A. */
static void choose_groups(const dev *d, const struct product *p, i64 want, struct cut *c)
{
    i64 w = 16 * c->nv, most_m = CEIL_DIV(p->m, c->mr), most_n = CEIL_DIV(p->n, w), each = CEIL_DIV(want, batches(p) * c->parts);
    f64 best = 0;
    for (i64 gm = 1; gm <= MIN(each, most_m); gm++) {
        i64 gn = MIN(CEIL_DIV(each, gm), most_n);
        i64 mb = ROUND_UP(CEIL_DIV(p->m, gm), c->mr), nb = ROUND_UP(CEIL_DIV(p->n, gn), w);
        i64 groups = CEIL_DIV(p->m, mb) * CEIL_DIV(p->n, nb) * batches(p) * c->parts;
        f64 cost = ((f64)mb * (f64)nb + 8 * (f64)nb + 10 * (f64)mb) * (f64)CEIL_DIV(groups, (i64)dev_info(d)->compute_units);
        if (!best || cost < best) {
            best = cost;
            c->mb = mb;
            c->nb = nb;
        }
    }
}

static struct cut cut_cpu(const dev *d, const struct product *p)
{
    struct cut c = { .parts = 1 };
    choose_tile(d, &c);
    i64 w = 16 * c.nv, room = (i64)dev_info(d)->local_mem / 4;
    i64 most_k = MIN(dev_tune(d, "matmul", "KB"), room / w), blocks = CEIL_DIV(p->m, 96) * CEIL_DIV(p->n, 192) * batches(p);
    if (blocks < dev_tune(d, "matmul", "BLOCKS"))
        c.parts = MIN(MIN(MAX(16 / blocks, 4), 8), MAX(p->k / dev_tune(d, "matmul", "PART"), 1));
    if (p->accumulate && p->act == PRODUCT_GELU && p->k > most_k)
        c.parts = MAX(c.parts, 2);               // the old value may not mix with the sums before the activation
    c.share = ROUND_UP(CEIL_DIV(p->k, c.parts), 16);
    c.parts = CEIL_DIV(p->k, c.share);
    c.share = c.parts == 1 ? p->k : c.share;
    c.kb = MIN(even(c.share, most_k, 16), most_k);
    choose_groups(d, p, (i64)dev_info(d)->compute_units * dev_tune(d, "matmul", "GROUPS"), &c);
    // For few rows about one first-level cache of B, so that the next part is fetched during the multiply-adds of this one.
    i64 most_n = c.mb < dev_tune(d, "matmul", "FEW") ? 12288 / c.kb : dev_tune(d, "matmul", "NP");
    c.np = even(c.nb, MIN(most_n, room / c.kb), w);
    return c;
}

static struct cut cut_for(const dev *d, const struct product *p)
{
    if (dev_class(d) == DEV_CPU && dev_has_override(d, "matmul"))
        return cut_cpu(d, p);
    return (struct cut){ .share = p->k, .parts = 1 };
}

u64 product_scratch(const dev *d, const struct product *p)
{
    i64 parts = cut_for(d, p).parts;
    return parts > 1 ? 4 * (u64)parts * (u64)(p->m * p->n * batches(p)) : 0;
}

/* ---- launches ----------------------------------------------------------------------------------------------------- */

#define PLACE(o) ARG_LONG4((o).at, (o).row, (o).outer, (o).inner)

static f64 bytes_of(const struct product *p, const struct operand *o, i64 values)
{
    return o->r.mem ? 4.0 * (f64)values * (f64)((o->outer ? p->outer : 1) * (o->inner ? p->inner : 1)) : 0;
}

static f64 bytes_moved(const struct product *p)
{
    i64 c = p->m * p->n;
    return bytes_of(p, &p->a, p->m * p->k) + bytes_of(p, &p->b, p->k * p->n) + bytes_of(p, &p->bias, p->n) +
           bytes_of(p, &p->pre, c) + bytes_of(p, &p->residual, c) + bytes_of(p, &p->c, c) * (p->accumulate ? 2 : 1);
}

static int flags_of(const struct product *p)
{
    return (p->ta ? TURN_A : 0) | (p->tb ? TURN_B : 0) | (p->act == PRODUCT_GELU ? GELU : 0) | (p->bias.r.mem ? BIAS : 0) |
           (p->pre.r.mem ? PRE : 0) | (p->residual.r.mem ? RESIDUAL : 0) |
           (!p->accumulate ? 0 : p->act == PRODUCT_GELU ? ADD : ONTO);
}

static void check_product(const dev *d, const struct product *p)
{
    check(p->m > 0 && p->n > 0 && p->k > 0 && p->outer > 0 && p->inner > 0, "product of %lld x %lld x %lld, %lld x %lld times",
          (long long)p->m, (long long)p->n, (long long)p->k, (long long)p->outer, (long long)p->inner);
    check(MAX(MAX(p->m, p->n), MAX(p->k, batches(p))) < INT32_MAX / 2, "product of %lld x %lld x %lld, %lld x %lld times: too long",
          (long long)p->m, (long long)p->n, (long long)p->k, (long long)p->outer, (long long)p->inner);
    check(!p->pre.r.mem || p->act != PRODUCT_LINEAR, "product keeps the value before no activation (%d)", (int)p->act);
    u64 need = product_scratch(d, p);
    check(p->scratch.bytes >= need, "product: scratch of %llu bytes, needs %llu", (unsigned long long)p->scratch.bytes,
          (unsigned long long)need);
}

/* What a group of the kernel computes when k is cut into parts: a plain product into its part's slab. */
static struct product partial(const struct product *p)
{
    struct product q = *p;
    q.c = (struct operand){ .r = p->scratch, .row = p->n, .outer = p->inner * p->m * p->n, .inner = p->m * p->n };
    q.bias = q.pre = q.residual = (struct operand){ 0 };
    q.act = PRODUCT_LINEAR;
    q.accumulate = false;
    q.alpha = 1;
    return q;
}

#define EPILOGUE(p)                                                                                                 \
    ARG_RANGE((p)->c.r), PLACE((p)->c), ARG_RANGE((p)->bias.r), PLACE((p)->bias), ARG_RANGE((p)->pre.r), PLACE((p)->pre), \
    ARG_RANGE((p)->residual.r), PLACE((p)->residual), ARG_LONG4((p)->m, (p)->n, (p)->k, (p)->inner),                 \
    ARG_INT(batches(p)), ARG_INT(flags_of(p)), ARG_REAL((p)->alpha)

static void emit_product(launches *l, const struct product *p, const struct cut *c, const char *label)
{
    char defs[64];
    bool tiled = c->mr;
    snprintf(defs, sizeof defs, "-DMR=%d -DNV=%d", c->mr, c->nv);
    launch k = {
        .file = "matmul", .kernel = "matmul", .label = label, .defs = tiled ? defs : NULL,
        .flops = 2.0 * (f64)p->m * (f64)p->n * (f64)p->k * (f64)batches(p), .bytes = bytes_moved(p),
        .args = { ARG_RANGE(p->a.r), PLACE(p->a), ARG_RANGE(p->b.r), PLACE(p->b), EPILOGUE(p),
                  ARG_LONG4(c->mb, c->nb, c->kb, c->np), ARG_INT(c->share), ARG_LOCAL(tiled ? (u64)(c->kb * c->np * 4) : 4) },
    };
    u64 grid[3] = { (u64)p->n, (u64)p->m, (u64)batches(p) }, group[3] = { 16, 4, 1 };
    if (tiled)
        memcpy(grid, (u64[]){ (u64)CEIL_DIV(p->m, c->mb), (u64)CEIL_DIV(p->n, c->nb), (u64)(batches(p) * c->parts) }, sizeof grid);
    for (int i = 0; i < 3; i++) {
        k.local[i] = tiled ? 1 : group[i];
        k.global[i] = ROUND_UP(grid[i], k.local[i]);
    }
    launch_add(l, &k);
}

static void emit_sum(launches *l, const struct product *p, const struct cut *c, const char *label)
{
    i64 rows = MAX(CEIL_DIV(p->m * batches(p), (i64)dev_info(launches_dev(l))->compute_units * 4 * batches(p)), 1);
    launch k = {
        .file = "matmul", .kernel = "matmul_sum", .label = label, .global = { (u64)CEIL_DIV(p->m, rows), (u64)batches(p) },
        .local = { 1, 1 }, .flops = (f64)c->parts * (f64)p->m * (f64)p->n, .bytes = 4.0 * (f64)(c->parts + 1) * (f64)(p->m * p->n),
        .args = { ARG_RANGE(p->scratch), ARG_INT(c->parts), EPILOGUE(p), ARG_INT(rows) },
    };
    char defs[64];
    snprintf(defs, sizeof defs, "-DMR=%d -DNV=%d", c->mr, c->nv);
    k.defs = defs;
    launch_add(l, &k);
}

void product_emit(launches *l, const struct product *given, const char *label)
{
    const dev *d = launches_dev(l);
    struct product p = *given;
    if (p.residual.r.mem && same_place(&p.residual, &p.c)) {
        check(p.act == PRODUCT_LINEAR && !p.accumulate, "%s: product onto its own result after an activation", label);
        p.accumulate = true;                     // the same sum, and the only form that may be cut along k
        p.residual = (struct operand){ 0 };
    }
    check_product(d, &p);
    struct cut c = cut_for(d, &p);
    if (c.parts == 1) {
        emit_product(l, &p, &c, label);
        return;
    }
    struct product q = partial(&p);
    emit_product(l, &q, &c, label);
    emit_sum(l, &p, &c, label);
}
