/* product.c: chooses kernel, tile and blocks for one matrix product, and appends its launches.
 *
 * Kernels take sizes and strides as arguments, so that one compiled variant serves every shape. What is cut
 * how, `struct cut`, is decided here:
 *
 *     sizes, class ----> tile, kb, parts      these fix the order of sums: neither load nor core count enters
 *     compute units ---> mb, nb, np (CPUs)    who computes which rows and columns: no effect on any value
 */
#include "op/product.h"

/* Flags as in cl/product.h. */
enum {
    TURN_A = 1, TURN_B = 2, GELU = 4, BIAS = 8, PRE = 16, RESIDUAL = 32, ONTO = 64, ADD = 128, SLOPE = 256,
    FACTOR = 512, SUMS = 1024
};

struct cut {
    char defs[64];                   /* the compiled variant */
    u64  items[2];                   /* of a group */
    i64  mb, nb;                     /* rows and columns of a group */
    i64  kb, np;                     /* of k and of the columns, what a CPU packs at a time */
    i64  share, parts;               /* k of one part, and how many parts */
    i64  takers;                     /* CPUs: groups that take blocks in turns */
    i64  local;                      /* floats of local memory */
};

static i64 batches(const struct product *p) { return p->outer * p->inner; }

/* The size of the fewest equal pieces of n (the last may be less): multiples of `unit`, at most `most`. */
static i64 even(i64 n, i64 most, i64 unit)
{
    i64 pieces = CEIL_DIV(n, MAX(most / unit, 1) * unit);
    return ROUND_UP(CEIL_DIV(n, pieces), unit);
}

/* A size that may vary from step to step or batch to batch counts by its power of two, others as they are. */
static i64 size_class(i64 n)
{
    int log = 0;
    while (n > 1024 && (n >> log) > 1)
        log++;
    return n <= 1024 ? n : (i64)1 << (log + ((n >> (log - 1)) & 1));
}

void product_key(const struct product *p, char key[64])
{
    i64 z = batches(p);
    snprintf(key, 64, "%c%c.%.0lld%s%lldx%lldx%lld", p->ta ? 't' : 'n', p->tb ? 't' : 'n',
             (long long)(z > 1 ? size_class(z) : 0), z > 1 ? "x" : "",
             (long long)size_class(p->m), (long long)size_class(p->n), (long long)size_class(p->k));
}

static i64 tune(const dev *d, const struct product *p, const char *macro)
{
    char key[64];
    product_key(p, key);
    return dev_tune_for(d, "matmul", key, macro);
}

/* The value for this shape, or else for its kind. */
static i64 tune_kind(const dev *d, const struct product *p, const char *macro, const char *kind)
{
    char name[32];
    i64 tuned = tune(d, p, macro);
    snprintf(name, sizeof name, "%s_%s", macro, kind);
    return tuned ? tuned : tune(d, p, name);
}

static void cut_k(const struct product *p, i64 parts, i64 unit, struct cut *c)
{
    c->share = parts > 1 ? ROUND_UP(CEIL_DIV(p->k, parts), unit) : p->k;
    c->parts = CEIL_DIV(p->k, c->share);
}

/* ---- cpu ----------------------------------------------------------------------------------------------- */

/* k is cut where C is small: its few blocks would neither occupy many cores nor read A and B only once. */
static i64 parts_cpu(const dev *d, const struct product *p)
{
    i64 blocks = CEIL_DIV(p->m, 96) * CEIL_DIV(p->n, 192) * batches(p), parts = 1;
    if (blocks < tune(d, p, "BLOCKS"))
        parts = MIN(MIN(MAX(16 / blocks, 4), 8), MAX(p->k / tune(d, p, "PART"), 1));
    if (p->accumulate && p->act == PRODUCT_GELU)
        parts = MAX(parts, 2);                    // the old value may not mix with the sums before the GELU
    return parts;
}

/* Rows and columns of a group: of all cuts into about `want` groups the cheapest by a model in units of
 * one row and column: multiply-adds, packing of B, reading of A; and on average the last group is waited
 * for by a quarter of its time. */
static void choose_groups(const struct product *p, i64 units, i64 want, i64 mr, i64 wide, struct cut *c)
{
    i64 others = batches(p) * c->parts, each = CEIL_DIV(want, others);
    f64 best = 0;
    for (i64 gm = 1; gm <= MIN(each, CEIL_DIV(p->m, mr)); gm++) {
        i64 gn = MIN(CEIL_DIV(each, gm), CEIL_DIV(p->n, wide));
        i64 mb = ROUND_UP(CEIL_DIV(p->m, gm), mr), nb = ROUND_UP(CEIL_DIV(p->n, gn), wide);
        f64 rounds = (f64)CEIL_DIV(CEIL_DIV(p->m, mb) * CEIL_DIV(p->n, nb) * others, units) + 0.25;
        f64 cost = ((f64)mb * (f64)nb + 8 * (f64)nb + 10 * (f64)mb) * rounds;
        if (!best || cost < best) {
            best = cost;
            c->mb = mb;
            c->nb = nb;
        }
    }
}

struct product_tile product_tile(const dev *d)
{
    u32 simd = dev_info(d)->simd;
    return (struct product_tile){ simd >= 16 ? 8 : simd >= 8 ? 6 : 3, simd >= 16 ? 3 : 1 };
}

static struct cut cut_cpu(const dev *d, const struct product *p)
{
    static const struct product_tile tiles[] = {                                    // what cl/tile.h has
        { 8, 3 }, { 8, 1 }, { 6, 3 }, { 6, 1 }, { 3, 1 },
    };
    const struct dev_info *info = dev_info(d);
    struct cut c = { .items = { 1, 1 } };
    i64 tile = tune(d, p, "TILE");
    struct product_tile t = tile >= 1 && tile <= countof(tiles) ? tiles[tile - 1] : product_tile(d);
    if (!tile && t.vectors == 3 && p->ta && p->k <= tune(d, p, "SHORT"))
        t.rows = 6;
    i64 wide = 16 * t.vectors, room = (i64)info->local_mem / 4, units = info->compute_units;
    snprintf(c.defs, sizeof c.defs, "-DMR=%d -DNV=%d", t.rows, t.vectors);
    cut_k(p, parts_cpu(d, p), 16, &c);
    choose_groups(p, units, units * tune(d, p, "GROUPS"), t.rows, wide, &c);
    i64 few = tune(d, p, "FEW");
    const char *kind = p->ta ? "TURNED" : "PLAIN";
    i64 most_k = MIN(tune_kind(d, p, "KB", p->m < few ? "FEW" : kind), room / wide);
    c.kb = MIN(even(c.share, most_k, 16), most_k);
    c.np = even(c.nb, MIN(tune_kind(d, p, "PACK", c.mb < few ? "FEW" : kind), room) / c.kb, wide);
    i64 others = CEIL_DIV(p->n, c.nb) * batches(p) * c.parts;
    if (c.np >= c.nb && c.kb >= c.share) {        // packed B stays: then small blocks cost nothing
        i64 each = CEIL_DIV(units * tune(d, p, "TURNS"), others);
        c.mb = MIN(c.mb, ROUND_UP(MAX(CEIL_DIV(p->m, each), 48), t.rows));
    }
    c.takers = MIN(units, CEIL_DIV(p->m, c.mb) * others);
    c.local = c.kb * c.np;
    return c;
}

/* ---- gpu ----------------------------------------------------------------------------------------------- */

/* The largest tile of which C has enough to occupy a large device; k is cut when even small ones are few. */
static struct cut cut_gpu(const dev *d, const struct product *p)
{
    static const struct { i64 gx, gy, rm, rn; } tiles[] = {
        { 16, 16, 8, 8 }, { 16, 16, 4, 4 }, { 32, 8, 4, 4 }, { 8, 8, 4, 4 },
    };
    enum { BIG, MIDDLE, FLAT, SMALL, DEPTH = 16 };
    i64 want = tune(d, p, "GROUPS"), part = tune(d, p, "PART");
    i64 tiled = CEIL_DIV(p->m, 128) * CEIL_DIV(p->n, 128) * batches(p) * CEIL_DIV(p->k, part);
    bool small = (p->m <= 32 && p->n <= 32) || dev_info(d)->max_group < 256;
    bool big = p->m >= 96 && p->n >= 96 && tiled >= want;
    int t = small ? SMALL : p->m <= 32 ? FLAT : big ? BIG : MIDDLE;
    i64 tuned = tune(d, p, "TILE");
    if (tuned >= 1 && tuned <= countof(tiles) && dev_info(d)->max_group >= 256)
        t = (int)tuned - 1;
    struct cut c = { .items = { (u64)tiles[t].gx, (u64)tiles[t].gy }, .mb = tiles[t].gy * tiles[t].rm,
                     .nb = tiles[t].gx * tiles[t].rn };
    i64 groups = CEIL_DIV(p->m, c.mb) * CEIL_DIV(p->n, c.nb) * batches(p);
    cut_k(p, groups < want ? MIN(CEIL_DIV(want, groups), MAX(p->k / part, 1)) : 1, DEPTH, &c);
    c.local = DEPTH * (c.mb + c.nb + 8);
    snprintf(c.defs, sizeof c.defs, "-DGX=%d -DGY=%d -DRM=%d -DRN=%d", (int)tiles[t].gx, (int)tiles[t].gy,
             (int)tiles[t].rm, (int)tiles[t].rn);
    return c;
}

/* CLBlast's copies and padding pay for large products only, and it knows no epilogue. */
static bool wants_blas(dev *d, const struct product *p)
{
    bool plain = batches(p) == 1 && !p->bias.r.mem && !p->other.r.mem && !p->keep && p->act == PRODUCT_LINEAR;
    return plain && dev_class(d) == DEV_GPU && dev_has_override(d, "matmul") &&
           MIN(MIN(p->m, p->n), p->k) >= tune(d, p, "BLAS") && dev_blas(d);
}

static struct cut cut_for(const dev *d, const struct product *p)
{
    if (!dev_has_override(d, "matmul"))
        return (struct cut){ .items = { 16, 4 }, .mb = 4, .nb = 16, .share = p->k, .parts = 1, .local = 1 };
    return dev_class(d) == DEV_CPU ? cut_cpu(d, p) : cut_gpu(d, p);
}

u64 product_scratch(const dev *d, const struct product *p)
{
    i64 parts = cut_for(d, p).parts, columns = p->n + (p->keep == KEEP_SUMS);
    return parts > 1 ? 4 * (u64)parts * (u64)(p->m * columns * batches(p)) : 0;
}

bool product_sums(const dev *d) { return d && dev_class(d) == DEV_CPU && dev_has_override(d, "matmul"); }

/* ---- launches ------------------------------------------------------------------------------------------ */

#define PLACE(o) ARG_LONG4((o).at, (o).row, (o).outer, (o).inner)

static f64 bytes_of(const struct product *p, const struct operand *o, i64 values)
{
    return o->r.mem ? 4.0 * (f64)values * (f64)((o->outer ? p->outer : 1) * (o->inner ? p->inner : 1)) : 0;
}

static f64 bytes_moved(const struct product *p)
{
    i64 c = p->m * p->n;
    return bytes_of(p, &p->a, p->m * p->k) + bytes_of(p, &p->b, p->k * p->n) + bytes_of(p, &p->bias, p->n) +
           bytes_of(p, &p->side, p->keep == KEEP_SUMS ? p->m : c) + bytes_of(p, &p->other, c) +
           bytes_of(p, &p->c, c) * (p->accumulate ? 2 : 1);
}

static int flags_of(const struct product *p)
{
    static const int keeps[] = { 0, PRE, SLOPE, SUMS };
    return (p->ta ? TURN_A : 0) | (p->tb ? TURN_B : 0) | (p->act == PRODUCT_GELU ? GELU : 0) |
           (p->bias.r.mem ? BIAS : 0) | keeps[p->keep] |
           (!p->other.r.mem ? 0 : p->times ? FACTOR : RESIDUAL) |
           (!p->accumulate ? 0 : p->act == PRODUCT_GELU ? ADD : ONTO);
}

static void check_product(const dev *d, const struct product *p)
{
    i64 longest = MAX(MAX(p->m, p->n), MAX(p->k, batches(p)));
    check(p->m > 0 && p->n > 0 && p->k > 0 && p->outer > 0 && p->inner > 0 && longest < INT32_MAX / 2,
          "product of %lld x %lld x %lld, %lld x %lld times", (long long)p->m, (long long)p->n,
          (long long)p->k, (long long)p->outer, (long long)p->inner);
    check(!p->keep == !p->side.r.mem, "product keeps %d nowhere", (int)p->keep);
    check(!p->keep || (p->keep == KEEP_SUMS ? p->ta && product_sums(d) : p->act == PRODUCT_GELU),
          "product cannot keep %d (activation %d, A turned %d)", (int)p->keep, (int)p->act, p->ta);
    check(!p->times || !p->accumulate, "product times a matrix onto its old value");
    u64 need = product_scratch(d, p);
    check(p->scratch.bytes >= need, "product: scratch of %llu bytes, needs %llu",
          (unsigned long long)p->scratch.bytes, (unsigned long long)need);
}

/* What the kernel computes when k is cut into parts: a plain product into each part's slab; behind the
 * slabs, each part's sums of A. */
static struct product partial(const struct product *p, i64 parts)
{
    struct product q = *p;
    q.c = (struct operand){ .r = p->scratch, .row = p->n, .outer = p->inner * p->m * p->n,
                            .inner = p->m * p->n };
    q.bias = q.side = q.other = (struct operand){ 0 };
    if (p->keep == KEEP_SUMS)
        q.side = (struct operand){ .r = p->scratch, .at = parts * p->m * p->n * batches(p),
                                   .outer = p->inner * p->m, .inner = p->m };
    else
        q.keep = KEEP_NOTHING;
    q.act = PRODUCT_LINEAR;
    q.times = q.accumulate = false;
    q.alpha = 1;
    return q;
}

#define EPILOGUE(p)                                                                                          \
    ARG_RANGE((p)->c.r), PLACE((p)->c), ARG_RANGE((p)->bias.r), PLACE((p)->bias),                            \
    ARG_RANGE((p)->side.r), PLACE((p)->side), ARG_RANGE((p)->other.r), PLACE((p)->other),                    \
    ARG_LONG4((p)->m, (p)->n, (p)->k, (p)->inner), ARG_INT(batches(p)), ARG_INT(flags_of(p)),                \
    ARG_REAL((p)->alpha)

static void emit_product(launches *l, const struct product *p, const struct cut *c, const char *label)
{
    u64 rows = (u64)CEIL_DIV(p->m, c->mb), columns = (u64)CEIL_DIV(p->n, c->nb);
    launch k = {
        .file = "matmul", .kernel = "matmul", .label = label, .defs = c->defs,
        .flops = 2.0 * (f64)p->m * (f64)p->n * (f64)p->k * (f64)batches(p), .bytes = bytes_moved(p),
        .global = { rows * c->items[0], columns * c->items[1], (u64)(batches(p) * c->parts) },
        .local = { c->items[0], c->items[1], 1 },
        .args = { ARG_RANGE(p->a.r), PLACE(p->a), ARG_RANGE(p->b.r), PLACE(p->b), EPILOGUE(p),
                  ARG_LONG4(c->mb, c->nb, c->kb, c->np), ARG_INT(c->share),
                  ARG_RANGE(dev_turns(launches_dev(l))), ARG_LOCAL(4 * (u64)c->local) },
    };
    if (c->takers) {
        k.global[0] = (u64)c->takers;
        k.global[1] = k.global[2] = 1;
    }
    launch_add(l, &k);
}

static void emit_sum(launches *l, const struct product *p, const struct cut *c, const char *label)
{
    // On CPUs a group of one item takes some rows; else an item takes four values.
    bool alone = c->items[0] == 1;
    f64 values = (f64)(p->m * p->n * batches(p));
    i64 groups = MAX(4 * (i64)dev_info(launches_dev(l))->compute_units / batches(p), 1);
    i64 rows = alone ? CEIL_DIV(p->m, groups) : 1;
    launch_add(l, &(launch){
        .file = "matmul", .kernel = "matmul_sum", .label = label, .defs = c->defs,
        .flops = (f64)c->parts * values, .bytes = 4 * (f64)(c->parts + 1) * values,
        .global = { alone ? 1 : (u64)ROUND_UP(CEIL_DIV(p->n, 4), 64), (u64)CEIL_DIV(p->m, rows),
                    (u64)batches(p) },
        .local = { alone ? 1 : 64, 1, 1 },
        .args = { ARG_RANGE(p->scratch), ARG_INT(c->parts), EPILOGUE(p), ARG_INT(rows) },
    });
}

static range from(const struct operand *o)
{
    return (range){ o->r.mem, o->r.off + 4 * (u64)o->at, o->r.bytes - 4 * (u64)o->at };
}

static void emit_blas(launches *l, const struct product *p, const char *label)
{
    struct gemm g = { .ta = p->ta, .tb = p->tb, .m = p->m, .n = p->n, .k = p->k,
                      .lda = p->a.row, .ldb = p->b.row, .ldc = p->c.row, .batch = 1,
                      .a = from(&p->a), .b = from(&p->b), .c = from(&p->c),
                      .alpha = p->alpha, .beta = p->accumulate ? 1 : 0 };
    launch_gemm(l, &g, label);
}

static bool same_place(const struct operand *a, const struct operand *b)
{
    return a->r.mem == b->r.mem && a->r.off == b->r.off && a->at == b->at && a->row == b->row &&
           a->outer == b->outer && a->inner == b->inner;
}

void product_emit(launches *l, const struct product *given, const char *label)
{
    dev *d = launches_dev(l);
    struct product p = *given;
    if (p.other.r.mem && !p.times && same_place(&p.other, &p.c)) {
        check(p.act == PRODUCT_LINEAR && !p.accumulate,
              "%s: product onto its own result after an activation", label);
        p.accumulate = true;                     // the same sum, in the form that may be cut along k
        p.other = (struct operand){ 0 };
    }
    check_product(d, &p);
    struct cut c = cut_for(d, &p);
    if (wants_blas(d, &p)) {
        emit_blas(l, &p, label);
    } else if (c.parts == 1) {
        emit_product(l, &p, &c, label);
    } else {
        struct product q = partial(&p, c.parts);
        emit_product(l, &q, &c, label);
        emit_sum(l, &p, &c, label);
    }
}
