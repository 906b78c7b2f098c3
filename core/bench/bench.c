/* bench.c: what can be measured: each kernel as a small graph on a memory of its own, and whole networks.
 * Rates are of the work that must be done: multiply-adds, and bytes that cross the border of what is timed,
 * each once. */
#include "bench/bench_subject.h"
#include "autograd/autograd.h"
#include "fuse/fuse.h"

#define MAX_X 3
struct row {
    const char *name;
    i64         batch;
    int       (*shapes)(i64 b, struct shape *s);            /* a kernel: its inputs, and the node */
    node     *(*build)(node *const *x);
    bool        backward;
    int         trans;                                      /* a product, where shapes == NULL */
    i64         e, m, n, k;
    const char *model;                                      /* a step; a forward pass if not `backward` */
};

struct bench {
    arena       *a;
    struct meter meter;
    struct row  *rows;
    size_t       n, cap;
};

/* ---- what there is to measure -------------------------------------------------------------------------- */

/* Both sides of a MoE layer's routing, and one value that both have a part in. */
static node *bench_routing(node *const *x)
{
    node *t_disp = op_offset(op_square(x[1]), 1), *t_comb = op_offset(op_square(x[2]), 1);
    struct routing r = op_route(x[0], t_disp, t_comb, op_normal(x[0]->g, x[0]->shape, .01f), true);
    node_keep(r.disp), node_keep(r.comb);
    return op_add(r.disp, r.comb);
}

#define SHAPES(...) \
    memcpy(s, ((struct shape[]){ __VA_ARGS__ }), sizeof((struct shape[]){ __VA_ARGS__ })); \
    return countof(((struct shape[]){ __VA_ARGS__ }))
#define JOIN_(a, b) a##b
#define JOIN(a, b)  JOIN_(a, b)
#define FORWARD(name, shapes, node_) \
    static int JOIN(shapes_, __LINE__)(i64 b, struct shape *s) { (void)b; shapes; } \
    static node *JOIN(build_, __LINE__)(node *const *x) { return node_; }
#define KERNEL(name, shapes, node) FORWARD(name, shapes, node)
#define LAYER(rows, in, out)
#define SQUARE(n)
#define EXPERTS(e, rows, in, out)
#include "bench/bench.def"
#undef FORWARD
#undef KERNEL
#undef LAYER
#undef SQUARE
#undef EXPERTS

static void add_kernel(bench *b, i64 batch, const char *name, bool backward,
                       int (*shapes)(i64, struct shape *), node *(*build)(node *const *))
{
    name = arena_printf(b->a, "%s.%s", name, backward ? "bwd" : "fwd");
    *arena_push(b->a, b->rows, b->n, b->cap) = (struct row){
        .name = name, .batch = batch, .shapes = shapes, .build = build, .backward = backward };
}

static void bench_add_product(bench *b, i64 batch, const char *what, int trans, i64 e, i64 m, i64 n, i64 k)
{
    char experts[24] = "";
    if (e)
        snprintf(experts, sizeof experts, "%lldx", (long long)e);
    const char *name = arena_printf(b->a, "%s.%s%lldx%lldx%lld", what, experts, (long long)m, (long long)n,
                                    (long long)k);
    *arena_push(b->a, b->rows, b->n, b->cap) = (struct row){
        .name = name, .batch = batch, .trans = trans, .e = e, .m = m, .n = n, .k = k };
}

static void add_layer(bench *b, i64 batch, const char *y, const char *dx, const char *dw, i64 e, i64 rows,
                      i64 in, i64 out)
{
    bench_add_product(b, batch, y, TRANS_B, e, rows, out, in);
    bench_add_product(b, batch, dx, 0, e, rows, in, out);
    bench_add_product(b, batch, dw, TRANS_A, e, out, in, rows);
}

static void add_models(bench *b, i64 batch)
{
    for (int step = 1; step >= 0; step--)
        for (const struct bench_model *m = bench_models; m->name; m++)
            *arena_push(b->a, b->rows, b->n, b->cap) = (struct row){
                .name = arena_printf(b->a, "%s.%s", step ? "step" : "forward", m->name),
                .batch = batch ? batch : m->batch, .model = m->spec, .backward = step };
}

static void list_rows(bench *bench_, i64 b)
{
    *arena_push(bench_->a, bench_->rows, bench_->n, bench_->cap) = (struct row){ "peak.fma" };
    *arena_push(bench_->a, bench_->rows, bench_->n, bench_->cap) = (struct row){ "peak.bandwidth" };
#define FORWARD(name, shapes, node) \
    add_kernel(bench_, b, #name, false, JOIN(shapes_, __LINE__), JOIN(build_, __LINE__));
#define KERNEL(name, shapes, node) \
    FORWARD(name, shapes, node) \
    add_kernel(bench_, b, #name, true, JOIN(shapes_, __LINE__), JOIN(build_, __LINE__));
#define LAYER(rows, in, out) \
    add_layer(bench_, b, "matmul.nt", "matmul.nn", "matmul.tn", 0, rows, in, out);
#define SQUARE(n) \
    bench_add_product(bench_, 0, "matmul.nn", 0, 0, n, n, n);
#define EXPERTS(e, rows, in, out) \
    add_layer(bench_, b, "experts.fwd", "experts.dx", "experts.dw", e, rows, in, out);
#include "bench/bench.def"
    *arena_push(bench_->a, bench_->rows, bench_->n, bench_->cap) = (struct row){ "square_sum" };
    *arena_push(bench_->a, bench_->rows, bench_->n, bench_->cap) = (struct row){ "adamw" };
}

int         bench_count(const bench *b)       { return (int)b->n; }
const char *bench_name(const bench *b, int i) { return b->rows[i].name; }

bool bench_matches(const bench *b, int i, const char *word)
{
    const char *name = b->rows[i].name;
    size_t n = strlen(word);
    return !strncmp(name, word, n) && (!name[n] || name[n] == '.');
}

/* ---- opening ------------------------------------------------------------------------------------------- */

bench *bench_open(dev *d, const struct bench_options *o)
{
    arena *a = arena_open("bench");
    bench *b = arena_one(a, bench);
    *b = (bench){ .a = a, .meter = { .d = d, .seconds = o->seconds, .cpu_time = o->cpu_time } };
    list_rows(b, o->batch ? o->batch : 32);
    add_models(b, o->batch);
    if (meter_open(&b->meter)) {
        bench_close(b);
        return NULL;
    }
    return b;
}

void bench_close(bench *b)
{
    if (!b)
        return;
    meter_close(&b->meter);
    arena_close(b->a);
}

/* ---- kernels as graphs --------------------------------------------------------------------------------- */

static int bench_fill_node(const node *x, u32 stream)
{
    arena *a = arena_open("bench");
    f32 *v = arena_array(a, f32, node_count(x));
    rng r = rng_at(1, RNG_TEST, stream, 0);
    for (i64 i = 0; i < node_count(x); i++)
        v[i] = (f32)(rng_unit(&r) + rng_unit(&r) + rng_unit(&r) - 1.5) * 2;       // variance 1
    int rc = node_write((node *)x, v);
    arena_close(a);
    return rc;
}

/* Bytes that come into nodes [from, to) from outside, and that stay when they are done. */
static f64 bench_border(const graph *g, size_t from, size_t to)
{
    f64 bytes = 0;
    bool *seen = arena_array(g->a, bool, g->n);
    for (size_t i = from; i < to; i++) {
        const node *n = g->nodes[i];
        for (int k = 0; k < n->n_in; k++) {
            const node *x = n->in[k];
            if (((size_t)x->id < from || x->op->flags & OP_LEAF) && !seen[x->id]) {
                seen[x->id] = true;
                bytes += (f64)node_bytes(n->op->flags & OP_ALIAS ? n : x);
            }
        }
        bytes += n->keep && !(n->op->flags & OP_LEAF) ? (f64)node_bytes(n) : 0;
    }
    return bytes;
}

static int run_graph(bench *b, graph *g, const node *start, node *const *x, int n, struct bench_result *r)
{
    static const step_words step;
    simplify_graph(g);
    if (graph_compile(g))
        return -1;
    for (int i = 0; i < n; i++)
        if (bench_fill_node(x[i], (u32)i))
            return -1;
    struct list all = { g->list, start ? start->list.from : 0, launches_count(g->list) };
    struct subject s = subject_list(&all);
    s.bytes = bench_border(g, start ? (size_t)start->id : 0, g->n);
    if (graph_set_step(g, &step) || graph_run(g) || dev_finish(b->meter.d))
        return -1;
    return meter_measure(&b->meter, &s, r);
}

static int run_kernel(bench *b, graph *g, const struct row *row, struct bench_result *r)
{
    struct shape s[MAX_X];
    node *x[MAX_X + 1], *dx[MAX_X] = { NULL }, *start = NULL;
    int n = row->shapes(row->batch, s);
    for (int i = 0; i < n; i++)
        x[i] = graph_input(g, "x", F32, s[i]);
    node *y = node_keep(row->build(x));
    if (row->backward) {
        start = x[n] = graph_input(g, "dy", F32, y->shape);
        grad_build_from(y, start, x, n, dx);
    }
    for (int i = 0; i < n; i++)
        if (dx[i])
            node_keep(dx[i]);
    return run_graph(b, g, start, x, n + row->backward, r);
}

static int run_product(bench *b, graph *g, const struct row *row, struct bench_result *r)
{
    bool ta = row->trans & TRANS_A, tb = row->trans & TRANS_B;
    i64 am = ta ? row->k : row->m, ak = ta ? row->m : row->k;
    i64 bk = tb ? row->n : row->k, bn = tb ? row->k : row->n;
    node *x[2] = { graph_input(g, "a", F32, row->e ? SHAPE(row->e, am, ak) : SHAPE(am, ak)),
                   graph_input(g, "b", F32, row->e ? SHAPE(row->e, bk, bn) : SHAPE(bk, bn)) };
    node_keep(op_matmul(x[0], x[1], row->trans));
    return run_graph(b, g, NULL, x, 2, r);
}

#define PARAMS ((i64)16 << 20)

static int run_adamw(bench *b, graph *g, const struct row *row, struct bench_result *r)
{
    static const step_words step = { .f = { [STEP_LR] = 1e-3f, [STEP_BIAS1] = .1f, [STEP_BIAS2] = .001f,
                                            [STEP_GRAD_SCALE] = 1 } };
    bool whole = !strcmp(row->name, "adamw");
    pool *p = pool_new(b->meter.d, "bench");
    range part[5] = { { 0 } };
    int rc = -1;
    for (int i = 0; i < (whole ? 5 : 1); i++) {
        part[i] = pool_take(p, (u64)PARAMS * 4 / (i == 4 ? ADAMW_BLOCK / 2 : 1));
        if (!part[i].mem || mem_fill(b->meter.d, part[i], 0x3c000000))
            goto done;
    }
    node *sum = node_keep(op_square_sum(g, part[0], PARAMS));
    if (whole)
        op_adamw(sum, &(struct adamw_args){ part[1], part[0], part[2], part[3], part[4], PARAMS,
                                            .9f, .999f, 1e-8f, 1 });
    if (graph_compile(g) || graph_set_step(g, &step) || graph_run(g) || dev_finish(b->meter.d))
        goto done;
    struct list measured = { g->list, whole ? sum->list.to : 0, launches_count(g->list) };
    struct subject s = subject_list(&measured);
    s.bytes = (whole ? 28.0 : 4.0) * PARAMS;
    rc = meter_measure(&b->meter, &s, r);
done:
    pool_free(p);
    return rc;
}

int bench_run(bench *b, int i, struct bench_result *r)
{
    const struct row *row = &b->rows[i];
    *r = (struct bench_result){ .name = row->name, .batch = row->batch };
    if (text_starts(row->name, "peak."))
        return meter_measure(&b->meter, i ? &b->meter.copy : &b->meter.fma, r);
    if (row->model)
        return bench_model(&b->meter, row->model, row->backward, r);
    graph *g = graph_new(b->meter.d);
    int rc = row->shapes ? run_kernel(b, g, row, r) : row->k ? run_product(b, g, row, r)
           : run_adamw(b, g, row, r);
    graph_free(g);
    return rc ? fail_in("%s", row->name) : 0;
}
