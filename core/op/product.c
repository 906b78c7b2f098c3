/* product.c: the launches of one matrix product, cut as product_cut.c says. */
#include "op/product_cut.h"

enum {
#define FLAG(name, value) name = value,
#include "cl/product_flags.def"
#undef FLAG
};

#define PLACE(o) ARG_LONG4((o).at, (o).row, (o).outer, (o).inner)

static f64 product_bytes(const struct product *p, const struct operand *o, i64 values)
{
    i64 matrices = (o->outer ? p->outer : 1) * (o->inner ? p->inner : 1);
    return o->r.mem ? (f64)dtype_bytes(o->type) * (f64)values * (f64)matrices : 0;
}

static f64 bytes_moved(const struct product *p)
{
    i64 c = p->m * p->n;
    return product_bytes(p, &p->a, p->m * p->k) + product_bytes(p, &p->b, p->k * p->n)
           + product_bytes(p, &p->bias, p->n) + product_bytes(p, &p->side, p->keep == KEEP_SUMS ? p->m : c)
           + product_bytes(p, &p->other, c) + product_bytes(p, &p->c, c) * (p->accumulate ? 2 : 1);
}

static int flags_of(const struct product *p)
{
    static const int keeps[] = { 0, PRE, SLOPE, SUMS };
    return (p->ta ? TRANS_A : 0) | (p->tb ? TRANS_B : 0) | (int)p->act * ACT_UNIT |
           (p->bias.r.mem ? BIAS : 0) | keeps[p->keep] |
           (!p->other.r.mem ? 0 : p->times ? FACTOR : RESIDUAL) |
           (!p->accumulate ? 0 : p->act ? ADD : ONTO);
}

static void check_product(const dev *d, const struct product *p)
{
    i64 longest = MAX(MAX(p->m, p->n), MAX(p->k, product_batches(p)));
    check(p->m > 0 && p->n > 0 && p->k > 0 && p->outer > 0 && p->inner > 0 && longest < INT32_MAX / 2,
          "product of %lld x %lld x %lld, %lld x %lld times", (long long)p->m, (long long)p->n,
          (long long)p->k, (long long)p->outer, (long long)p->inner);
    check(!p->keep == !p->side.r.mem, "product keeps result %d but has no place for it", (int)p->keep);
    check(!p->keep || (p->keep == KEEP_SUMS ? p->ta && product_sums(d) : p->act != ACT_NONE),
          "product cannot keep %d (activation %d, A transposed %d)", (int)p->keep, (int)p->act, p->ta);
    check(p->other.type == p->c.type, "product: what is added to C is of another type");
    check(!(p->mask.kept > 0) || product_masks(d), "product: this device's kernels draw no mask");
    check(!p->times || !p->accumulate, "product cannot both multiply with a matrix and accumulate");
    u64 need = product_scratch(d, p);
    check(p->scratch.bytes >= need, "product: scratch of %llu bytes, needs %llu",
          (unsigned long long)p->scratch.bytes, (unsigned long long)need);
}

/* What the kernel computes when k is split: a plain product into each split's slab; after the
 * slabs, each split's sums of A. */
static struct product product_partial(const struct product *p, i64 splits)
{
    struct product q = *p;
    q.c = (struct operand){ .r = p->scratch, .row = p->n, .outer = p->inner * p->m * p->n,
                            .inner = p->m * p->n };
    q.bias = q.side = q.other = (struct operand){ 0 };
    if (p->keep == KEEP_SUMS)
        q.side = (struct operand){ .r = p->scratch, .at = splits * p->m * p->n * product_batches(p),
                                   .outer = p->inner * p->m, .inner = p->m };
    else
        q.keep = KEEP_NOTHING;
    q.act = ACT_NONE;
    q.times = q.accumulate = false;
    q.mask = (struct mask){ 0 };
    q.alpha = 1;
    return q;
}

/* GPUs' last arguments: the mask. */
static void add_mask(launch *k, const struct product *p)
{
    const struct mask *m = &p->mask;
    int n = 0;
    while (k->args[n].kind != ARG_END)
        n++;
    k->args[n] = (arg)ARG_RANGE(m->step);
    k->args[n + 1] = (arg)ARG_LONG4(m->stream, m->together, m->together * m->samples, m->rows);
    k->args[n + 2] = (arg)ARG_REAL(m->kept);
}

#define ARRAY(o) ARG_TYPED((o).r, (o).type), PLACE(o)
#define EPILOGUE(p)                                                                                          \
    ARRAY((p)->c), ARRAY((p)->bias), ARRAY((p)->side), ARRAY((p)->other),                                    \
    ARG_LONG4((p)->m, (p)->n, (p)->k, (p)->inner), ARG_INT(product_batches(p)), ARG_INT(flags_of(p)),        \
    ARG_REAL((p)->alpha)

/* slab: where joined splits keep their sums. */
static void emit_product(launches *l, const struct product *p, const struct cut *c, range slab,
                         const char *label)
{
    dev *d = launches_dev(l);
    u64 rows = (u64)CEIL_DIV(p->m, c->mb), columns = (u64)CEIL_DIV(p->n, c->nb);
    launch k = {
        .file = c->file, .kernel = "matmul", .label = label, .defs = c->defs,
        .types = "a-b-c-d-s-o",
        .flops = 2.0 * (f64)p->m * (f64)p->n * (f64)p->k * (f64)product_batches(p), .bytes = bytes_moved(p),
        .global = { rows * c->items[0], columns * c->items[1], (u64)(product_batches(p) * c->splits) },
        .local = { c->items[0], c->items[1], 1 },
        .args = { ARRAY(p->a), ARRAY(p->b), EPILOGUE(p),
                  ARG_LONG4(c->mb, c->nb, c->kb, c->np), ARG_INT(c->share),
                  ARG_RANGE(dev_tickets(d)), ARG_LOCAL(dtype_bytes(F32) * (u64)c->local) },
    };
    if (product_masks(d)) {
        int n = 0;
        while (k.args[n].kind != ARG_END)
            n++;
        k.args[n] = (arg)ARG_RANGE(slab);
        k.args[n - 4] = (arg)ARG_LONG4(c->mb, c->nb, c->splits, c->joined);
        k.args[n - 2] = (arg)ARG_RANGE(c->joined ? dev_counters(d) : RANGE_NONE);
        add_mask(&k, p);
    }
    if (c->workers) {
        k.global[0] = (u64)c->workers;
        k.global[1] = k.global[2] = 1;
    }
    launch_add(l, &k);
}

static void emit_sum(launches *l, const struct product *p, const struct cut *c, const char *label)
{
    // On CPUs a group of one item takes some rows; else an item takes four values.
    bool alone = c->items[0] == 1;
    f64 values = (f64)(p->m * p->n * product_batches(p));
    i64 groups = MAX(4 * (i64)dev_info(launches_dev(l))->compute_units / product_batches(p), 1);
    i64 rows = alone ? CEIL_DIV(p->m, groups) : 1;
    launch k = {
        .file = "matmul", .kernel = "matmul_sum", .label = label, .defs = c->defs,
        .types = "--c-d-s-o",
        .flops = (f64)c->splits * values, .bytes = (f64)dtype_bytes(F32) * (f64)(c->splits + 1) * values,
        .global = { alone ? 1 : (u64)ROUND_UP(CEIL_DIV(p->n, 4), 64), (u64)CEIL_DIV(p->m, rows),
                    (u64)product_batches(p) },
        .local = { alone ? 1 : 64, 1, 1 },
        .args = { ARG_RANGE(p->scratch), ARG_INT(c->splits), EPILOGUE(p), ARG_INT(rows) },
    };
    if (product_masks(launches_dev(l)))
        add_mask(&k, p);
    launch_add(l, &k);
}

static range product_range(const struct operand *o)
{
    u64 at = dtype_bytes(o->type) * (u64)o->at;
    return (range){ o->r.mem, o->r.off + at, o->r.bytes - at };
}

static void emit_blas(launches *l, const struct product *p, const char *label)
{
    struct gemm g = { .ta = p->ta, .tb = p->tb, .m = p->m, .n = p->n, .k = p->k,
                      .lda = p->a.row, .ldb = p->b.row, .ldc = p->c.row, .batch = 1,
                      .a = product_range(&p->a), .b = product_range(&p->b), .c = product_range(&p->c),
                      .alpha = p->alpha, .beta = p->accumulate ? 1 : 0 };
    launch_gemm(l, &g, label);
}

static bool same_place(const struct operand *a, const struct operand *b)
{
    return a->r.mem == b->r.mem && a->r.off == b->r.off && a->at == b->at && a->row == b->row &&
           a->outer == b->outer && a->inner == b->inner;
}

/* CLBlast's copies and padding pay for large products only, and it knows no epilogue. */
static bool product_on_blas(dev *d, const struct product *p)
{
    bool plain = product_batches(p) == 1 && !p->bias.r.mem && !p->other.r.mem && !p->keep
                 && !(p->mask.kept > 0) &&
                 p->act == ACT_NONE && p->a.type == F32 && p->b.type == F32 && p->c.type == F32;
    return plain && dev_class(d) == DEV_GPU && dev_has_override(d, "matmul") &&
           MIN(MIN(p->m, p->n), p->k) >= product_tune(d, p, "BLAS") && dev_blas(d);
}

void product_emit(launches *l, const struct product *given, const char *label)
{
    dev *d = launches_dev(l);
    struct product p = *given;
    if (p.other.r.mem && !p.times && !(p.mask.kept > 0) && same_place(&p.other, &p.c)) {
        check(p.act == ACT_NONE && !p.accumulate,
              "%s: product onto its own result after an activation", label);
        p.accumulate = true;                     // the same sum, in the form that may be cut along k
        p.other = (struct operand){ 0 };
    }
    if (!p.other.r.mem)
        p.other.type = p.c.type;                  // kernels read C, or what is added to it, by one pointer
    if (!p.side.r.mem)
        p.side.type = p.c.type;                   // one text less to compile
    check_product(d, &p);
    struct cut c = product_cut(d, &p);
    if (product_on_blas(d, &p)) {
        emit_blas(l, &p, label);
    } else if (c.splits == 1 || c.joined) {
        emit_product(l, &p, &c, c.joined ? p.scratch : RANGE_NONE, label);
    } else {
        struct product q = product_partial(&p, c.splits);
        emit_product(l, &q, &c, RANGE_NONE, label);
        emit_sum(l, &p, &c, label);
    }
}
