/* product_cut.c: how one matrix product is cut: the register tile, and the blocks of rows, columns and k.
 *
 * Kernels take sizes and strides as arguments, so that one compiled variant serves every shape. What is cut
 * how, `struct cut`, is decided here:
 *
 *     sizes, class, lanes, caches --> tile, kb, splits   these fix the order of sums: neither load nor core
 *                                                        count enters
 *     compute units ----------------> mb, nb, np (CPUs)  who computes which rows and columns: values stay
 */
#include "op/product_cut.h"

/* The size of the fewest equal pieces of n (the last may be less): multiples of `unit`, at most `most`. */
static i64 cut_even(i64 n, i64 most, i64 unit)
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
    const enum dtype types[] = { p->a.type, p->b.type, p->c.type };
    i64 z = product_batches(p);
    int n = snprintf(key, 64, "%c%c.%.0lld%s%lldx%lldx%lld", p->ta ? 't' : 'n', p->tb ? 't' : 'n',
                     (long long)(z > 1 ? size_class(z) : 0), z > 1 ? "x" : "",
                     (long long)size_class(p->m), (long long)size_class(p->n), (long long)size_class(p->k));
    for (int i = 0, halves = 0; i < countof(types); i++)
        if (dtype_half(types[i])) {
            n += snprintf(key + n, (size_t)(64 - n), "%s%s%c", halves ? "" : ".",
                          halves ? "" : dtype_name(types[i]), "abc"[i]);
            halves++;
        }
}

i64 product_tune(const dev *d, const struct product *p, const char *macro)
{
    char key[64];
    product_key(p, key);
    return dev_tune_for(d, "matmul", key, macro);
}

static void cut_k(const struct product *p, i64 splits, i64 unit, struct cut *c)
{
    c->share = splits > 1 ? ROUND_UP(CEIL_DIV(p->k, splits), unit) : p->k;
    c->splits = CEIL_DIV(p->k, c->share);
}

/* ---- cpu ----------------------------------------------------------------------------------------------- */

/* k is cut where C is small: its few blocks would neither occupy many cores nor read A and B only once. */
static i64 splits_cpu(const dev *d, const struct product *p, i64 most_k)
{
    i64 blocks = CEIL_DIV(p->m, 96) * CEIL_DIV(p->n, 192) * product_batches(p), splits = 1;
    if (blocks < product_tune(d, p, "BLOCKS"))
        splits = MIN(MIN(MAX(16 / blocks, 4), 8), MAX(p->k / product_tune(d, p, "SPLIT_K"), 1));
    if (p->accumulate && p->act)
        splits = MAX(splits, 2);                  // the old value is added after the activation
    if (dtype_half(p->c.type) && p->k > most_k)
        splits = MAX(splits, 2);                  // sums that wait in C for the next block of k are float
    return splits;
}

/* Rows and columns of a group: of all cuts into about `want` groups the cheapest by a model in units of
 * one row and column: multiply-adds, packing of B, reading of A; and on average the last group is waited
 * for by a quarter of its time. */
static void choose_groups(const struct product *p, i64 units, i64 want, i64 mr, i64 wide, struct cut *c)
{
    i64 others = product_batches(p) * c->splits, each = CEIL_DIV(want, others);
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

static const struct product_tile tiles[] = {                                        // what cl/tile.h has
    { 8, 3 }, { 8, 1 }, { 6, 3 }, { 6, 1 }, { 3, 1 }, { 2, 1 },
};

/* Of the tiles whose sums leave registers for the vectors of B, one of A and a product, the one with the fewest
 * loads for a multiply-add. 16 lanes, 32 registers: 8 x 3; 8, 16 and 4, 32: 6 x 1; 4, 16: 2 x 1. */
struct product_tile product_tile(const struct dev_info *i)
{
    int each = (int)MAX(16 / i->simd, 1);         // registers of 16 floats
    const struct product_tile *best = &tiles[countof(tiles) - 1];
    for (const struct product_tile *t = tiles; t < tiles + countof(tiles); t++) {
        int wide = t->vectors * each, best_wide = best->vectors * each;
        bool fewer = (t->rows + wide) * best->rows * best_wide < (best->rows + best_wide) * t->rows * wide;
        if (t->rows * wide + wide + 2 <= (int)i->registers && fewer)
            best = t;
    }
    return *best;
}

/* What fits where: bytes of a core's first and second cache, and the tile.
 *
 *     A in rows        its `rows` rows of kb fill half of the first cache, while panels of B pass by
 *     A transposed     kb of its lines, of 64 bytes, fill a third (a packed band: of the second)
 *     few rows of C    a panel of B fills it: the next panel is fetched during one panel's multiply-adds
 *     packed B         9/16, or 15/64 beside a transposed A, of the second cache; of few rows, the first */
struct product_fit product_fit(const struct dev_info *i, bool transposed, bool few)
{
    struct product_tile t = product_tile(i);
    i64 l1 = (i64)i->cache[0], l2 = (i64)i->cache[1];
    struct product_fit f = few        ? (struct product_fit){ l1 / (64 * t.vectors), l1 / 4 }
                         : transposed ? (struct product_fit){ l1 / 192, l2 * 15 / 256 }
                                      : (struct product_fit){ l1 / 8 / t.rows, l2 * 9 / 64 };
    f.kb = MAX(f.kb / 16 * 16, 16);
    return f;
}

/* Is A copied before its multiply-adds: columns, where it is transposed, unless vectors have 16 lanes; rows of
 * a half type, as floats. */
enum copied { IN_PLACE, ROWS, COLUMNS };
static enum copied copied_a(const dev *d, const struct product *p)
{
    bool half = dtype_half(p->a.type);
    return p->ta && (half || dev_info(d)->simd < 16) ? COLUMNS : half ? ROWS : IN_PLACE;
}

/* The compiled variant and its local memory, of which `room` floats are left beside the packed part of B. */
static void cut_variant(const dev *d, const struct product *p, struct product_tile t, i64 room, struct cut *c)
{
    int n = snprintf(c->defs, sizeof c->defs, "-DMR=%d -DNV=%d", t.rows, t.vectors);
    i64 band = MIN(product_tune(d, p, "BAND"), (room - 16) / c->kb) / t.rows * t.rows;
    c->local = c->kb * c->np;
    if (copied_a(d, p) == ROWS)
        c->local += ROUND_UP(t.rows * (c->kb + 16) + 16, (i64)16);
    if (copied_a(d, p) == COLUMNS) {
        band = MAX(band, t.rows);
        snprintf(c->defs + n, sizeof c->defs - (size_t)n, " -DBAND=%d", (int)band);
        c->local += ROUND_UP(band * c->kb + 16, (i64)16);
    }
}

static struct cut cut_cpu(const dev *d, const struct product *p)
{
    const struct dev_info *info = dev_info(d);
    struct cut c = { .file = "matmul", .items = { 1, 1 } };
    i64 tile = product_tune(d, p, "TILE");
    struct product_tile t = tile >= 1 && tile <= countof(tiles) ? tiles[tile - 1] : product_tile(info);
    if (!tile && t.vectors == 3 && p->ta && p->k <= product_tune(d, p, "SHORT"))
        t.rows = 6;
    i64 wide = 16 * t.vectors, units = info->compute_units, copied = copied_a(d, p);
    i64 local = (i64)(info->local_mem / dtype_bytes(F32)), room = copied ? local * 3 / 4 : local;
    i64 few = copied ? 0 : product_tune(d, p, "FEW");                   // A is copied for each part of B
    i64 kb = product_tune(d, p, "KB"), pack = product_tune(d, p, "PACK");
    i64 fit = kb ? kb : product_fit(info, p->ta, p->m < few).kb;
    if (dtype_half(p->c.type) && p->k <= 2 * fit)
        fit = ROUND_UP(p->k, 16);                 // costs less than slabs
    i64 most_k = MIN(fit, room / wide);
    cut_k(p, splits_cpu(d, p, most_k), 16, &c);
    choose_groups(p, units, units * product_tune(d, p, "GROUPS"), t.rows, wide, &c);
    c.kb = MIN(cut_even(c.share, most_k, 16), most_k);
    c.np = cut_even(c.nb, MIN(pack ? pack : product_fit(info, p->ta, c.mb < few).pack, room) / c.kb, wide);
    i64 others = CEIL_DIV(p->n, c.nb) * product_batches(p) * c.splits;
    if (c.np >= c.nb && c.kb >= c.share) {        // packed B stays: then small blocks cost nothing
        i64 each = CEIL_DIV(units * product_tune(d, p, "TICKETS"), others);
        c.mb = MIN(c.mb, ROUND_UP(MAX(CEIL_DIV(p->m, each), 48), t.rows));
    }
    c.workers = MIN(units, CEIL_DIV(p->m, c.mb) * others);
    cut_variant(d, p, t, local - room, &c);
    return c;
}

/* ---- gpu ----------------------------------------------------------------------------------------------- */

enum { DEPTH = 8 };                               // of k in a step

struct gpu_tile { i64 gx, gy, rm, rn; };
static const struct gpu_tile gpu_tiles[] = {
    { 16, 8, 8, 8 }, { 8, 8, 8, 8 }, { 8, 8, 4, 8 }, { 8, 8, 4, 4 },
};
enum { BIG, MIDDLE, FLAT, SMALL };

static i64 gpu_groups(const struct product *p, int t)
{
    const struct gpu_tile *g = &gpu_tiles[t];
    return CEIL_DIV(p->m, g->gy * g->rm) * CEIL_DIV(p->n, g->gx * g->rn) * product_batches(p);
}

/* The largest tile of which C has enough for all compute units, which count small ones of 8 lanes or 16 for
 * an eighth. Where a kernel cannot have many registers, 32 sums an item are what fits. */
static int gpu_tile(const dev *d, const struct product *p)
{
    const struct dev_info *i = dev_info(d);
    i64 tuned = product_tune(d, p, "TILE");
    i64 units = MAX(1, i->simd > 16 ? i->compute_units : i->compute_units / 8);
    bool narrow = i->simd <= 16 && !*i->many_registers;
    if (tuned >= 1 && tuned <= countof(gpu_tiles))
        return (int)tuned - 1 == BIG && i->max_group < 128 ? MIDDLE : (int)tuned - 1;
    if (p->m <= 32)
        return p->n <= 32 ? SMALL : FLAT;
    if (narrow)
        return FLAT;
    if (i->max_group >= 128 && p->n > 64 && gpu_groups(p, BIG) >= 2 * units)
        return BIG;
    return p->n <= 32 ? SMALL : MIDDLE;
}

static bool gpu_aligned(const struct operand *o)
{
    return o->at % 4 == 0 && o->row % 4 == 0 && o->outer % 4 == 0 && o->inner % 4 == 0 && o->r.off % 16 == 0;
}

bool product_aligned(const struct product *p) { return gpu_aligned(&p->a) && gpu_aligned(&p->b); }

bool product_far(const struct product *p)
{
    return (p->ta ? p->k : p->m) * p->a.row >= INT32_MAX || (p->tb ? p->n : p->k) * p->b.row >= INT32_MAX;
}

/* k is cut by the size of C alone, until tiles of 64 x 64 would be GROUPS. */
static struct cut cut_gpu(const dev *d, const struct product *p)
{
    const struct gpu_tile g = gpu_tiles[gpu_tile(d, p)];
    struct cut c = { .file = "matmul", .items = { (u64)g.gx, (u64)g.gy }, .mb = g.gy * g.rm,
                     .nb = g.gx * g.rn };
    i64 want = product_tune(d, p, "GROUPS"), least = product_tune(d, p, "SPLIT_K"), all = gpu_groups(p, MIDDLE);
    cut_k(p, all < want ? MIN(CEIL_DIV(want, all), MAX(p->k / least, 1)) : 1, DEPTH, &c);
    c.tiles = CEIL_DIV(p->m, c.mb) * CEIL_DIV(p->n, c.nb) * product_batches(p);
    c.joined = dev_info(d)->joins && c.splits > 1 && c.tiles <= DEV_COUNTERS;
    c.local = DEPTH * (c.mb + c.nb + 8);
    snprintf(c.defs, sizeof c.defs, "-DGX=%d -DGY=%d -DRM=%d -DRN=%d -DTA=%d -DTB=%d -DALIGNED=%d "
             "-DWITH_SUMS=%d -DINDEX=%s%s%s%s%s", (int)g.gx, (int)g.gy, (int)g.rm, (int)g.rn, p->ta, p->tb,
             product_aligned(p), p->keep == KEEP_SUMS, product_far(p) ? "long" : "int",
             p->mask.kept > 0 ? " -DDRAWS=1" : "", dev_info(d)->cpu_kind ? " -DUNROLL=1" : "",
             *dev_info(d)->many_registers ? " " : "", dev_info(d)->many_registers);
    return c;
}

struct cut product_cut(const dev *d, const struct product *p)
{
    if (!dev_has_override(d, "matmul"))
        return (struct cut){ .file = "matmul", .items = { 16, 4 }, .mb = 4, .nb = 16, .share = p->k,
                             .splits = 1, .local = 1 };
    if (dev_class(d) == DEV_CPU)
        return cut_cpu(d, p);
    return product_on_matrix(d, p) ? product_cut_matrix(d, p) : cut_gpu(d, p);
}

/* Joined splits keep whole tiles, and for each row of tiles the sums of A's columns. */
u64 product_scratch(const dev *d, const struct product *p)
{
    const struct cut c = product_cut(d, p);
    i64 sums = p->keep == KEEP_SUMS, z = product_batches(p);
    i64 values = c.joined ? c.tiles * c.mb * c.nb + sums * z * CEIL_DIV(p->m, c.mb) * c.mb
                          : p->m * (p->n + sums) * z;
    return c.splits > 1 ? dtype_bytes(F32) * (u64)(c.splits * values) : 0;
}

bool product_masks(const dev *d) { return d && dev_class(d) == DEV_GPU && dev_has_override(d, "matmul"); }
bool product_sums(const dev *d) { return d && dev_class(d) != DEV_NULL && dev_has_override(d, "matmul"); }
