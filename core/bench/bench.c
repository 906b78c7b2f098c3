/* bench.c: measuring. Each subject is a small graph on a memory of its own; it runs in turn with the two
 * peaks (fused multiply-adds in registers, a copy of more than any cache holds), and what counts is the
 * median over the turns: a machine with other work slows both. Rates are of the work that must be done:
 * multiply-adds, and bytes that cross the border of what is timed, each once.
 */
#include "bench/bench_subject.h"
#include "autograd/autograd.h"
#include "fuse/fuse.h"
#include <stdlib.h>
#include <time.h>

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
    arena      *a;
    dev        *d;
    f64         seconds;
    bool        cpu_time;
    struct row *rows;
    size_t      n, cap;
    mem        *stream, *out;
    launches   *peaks;
    struct list fma_list, copy_list;
    struct subject fma, copy;
};

/* ---- what there is to measure -------------------------------------------------------------------------- */

/* Both sides of a MoE layer's routing, and one value that both have a part in. */
static node *routing(node *const *x)
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

static void add_product(bench *b, i64 batch, const char *what, int trans, i64 e, i64 m, i64 n, i64 k)
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
    add_product(b, batch, y, TRANS_B, e, rows, out, in);
    add_product(b, batch, dx, 0, e, rows, in, out);
    add_product(b, batch, dw, TRANS_A, e, out, in, rows);
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
    add_product(bench_, 0, "matmul.nn", 0, 0, n, n, n);
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

/* ---- timing -------------------------------------------------------------------------------------------- */

/* Seconds so far: the clock's, or with cpu_time what the processors spent on us, shared among all of them. */
static f64 now(const bench *b)
{
    struct timespec t;
    if (!b->cpu_time)
        return clock_now();
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return ((f64)t.tv_sec + 1e-9 * (f64)t.tv_nsec) / dev_info(b->d)->compute_units;
}

static int run_list(void *what)
{
    const struct list *x = what;
    return launches_run_part(x->l, x->from, x->to);
}

struct subject subject_list(struct list *x)
{
    struct subject s = { run_list, x };
    for (int i = x->from; i < x->to; i++)
        s.flops += launches_at(x->l, i)->flops;
    return s;
}

static int run(bench *b, const struct subject *s, int times, f64 *seconds)
{
    f64 start = now(b);
    for (int i = 0; i < times; i++)
        if (s->run(s->what))
            return -1;
    if (dev_finish(b->d))
        return -1;
    *seconds = (now(b) - start) / times;
    return 0;
}

enum { TURNS = 9, SLOW_TURNS = 5 };
#define SHORTEST 4e-3                             /* seconds a reading takes at least: short ones run often */

static int times_of(bench *b, const struct subject *s, int *times)
{
    f64 t;
    if (run(b, s, 1, &t) || run(b, s, 2, &t))     // the first builds what a driver leaves to the last moment
        return -1;
    *times = MAX(1, (int)MIN(1e5, MAX(SHORTEST, b->seconds / (2 * TURNS)) / t));
    return 0;
}

static int ascending(const void *a, const void *b)
{
    f64 x = *(const f64 *)a, y = *(const f64 *)b;
    return (x > y) - (x < y);
}

static f64 median(f64 *v, int n)
{
    qsort(v, (size_t)n, sizeof *v, ascending);
    return v[n / 2];
}

int bench_measure(bench *b, const struct subject *s, struct bench_result *r)
{
    f64 t[TURNS], share[TURNS], fma, copy;
    int times, turns = TURNS;
    if (times_of(b, s, &times))
        return -1;
    for (int i = 0; i < turns; i++) {
        if (run(b, &b->fma, 1, &fma) || run(b, s, times, &t[i]) || run(b, &b->copy, 1, &copy))
            return -1;
        share[i] = MAX(s->flops / b->fma.flops * fma, s->bytes / b->copy.bytes * copy) / t[i];
        turns = t[i] > b->seconds ? SLOW_TURNS : turns;
    }
    f64 mid = median(t, turns);
    r->median_ms = 1e3 * mid;
    r->min_ms = 1e3 * t[0];
    r->gflops = 1e-9 * s->flops / mid;
    r->gb_s = 1e-9 * s->bytes / mid;
    r->of_peak = s == &b->fma || s == &b->copy ? 0 : median(share, turns);
    return 0;
}

/* ---- the peaks ----------------------------------------------------------------------------------------- */

#define STREAM_BYTES ((u64)64 << 20)
#define FMA_ROUNDS   100000

static int open_peaks(bench *b)
{
    const struct dev_info *i = dev_info(b->d);
    bool cpu = dev_class(b->d) != DEV_GPU;
    i64 wg = cpu ? 1 : 256, lanes = cpu ? MIN(16, i->simd) : 4, groups = i->compute_units * (cpu ? 8 : 32);
    i64 count = (i64)MIN(STREAM_BYTES, i->max_alloc / 2) / 4;
    i64 part = cpu ? 65536 : 16 * wg * lanes, parts = count / part;
    char defs[64];
    snprintf(defs, sizeof defs, "-DWG=%d -DLANES=%d", (int)wg, (int)lanes);
    b->stream = mem_new(b->d, (u64)(2 * count * 4), "bench");
    b->out = b->stream ? mem_new(b->d, (u64)(groups * wg * 4), "bench") : NULL;
    if (!b->out || mem_fill(b->d, (range){ b->stream, 0, (u64)count * 8 }, 0x3f800000))
        return -1;
    range x = { b->stream, 0, (u64)count * 4 }, y = { b->stream, (u64)count * 4, (u64)count * 4 };
    range out = { b->out, 0, mem_bytes(b->out) };
    b->peaks = launches_new(b->d, "bench");
    launch_add(b->peaks, &(launch){ .file = "bench", .kernel = "fma_chain", .defs = defs,
                                    .flops = 20.0 * FMA_ROUNDS * (f64)(lanes * wg * groups),
                                    .global = { (u64)(groups * wg) }, .local = { (u64)wg },
                                    .args = { ARG_RANGE(out), ARG_INT(FMA_ROUNDS), ARG_REAL(.5),
                                              ARG_REAL(1) } });
    launch_add(b->peaks, &(launch){ .file = "bench", .kernel = "stream", .defs = defs,
                                    .global = { (u64)(parts * wg) }, .local = { (u64)wg },
                                    .args = { ARG_RANGE(x), ARG_RANGE(y), ARG_LONG(part) } });
    b->fma_list = (struct list){ b->peaks, 0, 1 };
    b->copy_list = (struct list){ b->peaks, 1, 2 };
    b->fma = subject_list(&b->fma_list);
    b->copy = subject_list(&b->copy_list);
    b->copy.bytes = 8.0 * (f64)(parts * part);
    f64 warm;
    return launches_compile(b->peaks) || run(b, &b->fma, 1, &warm) || run(b, &b->copy, 1, &warm) ? -1 : 0;
}

bench *bench_open(dev *d, const struct bench_options *o)
{
    arena *a = arena_open("bench");
    bench *b = arena_one(a, bench);
    *b = (bench){ .a = a, .d = d, .seconds = o->seconds, .cpu_time = o->cpu_time };
    list_rows(b, o->batch ? o->batch : 32);
    add_models(b, o->batch);
    if (open_peaks(b)) {
        bench_close(b);
        return NULL;
    }
    return b;
}

void bench_close(bench *b)
{
    if (!b)
        return;
    launches_free(b->peaks);
    mem_free(b->stream);
    mem_free(b->out);
    arena_close(b->a);
}

/* ---- kernels as graphs --------------------------------------------------------------------------------- */

static int fill(const node *x, u32 stream)
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
static f64 border(const graph *g, size_t from, size_t to)
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
        if (fill(x[i], (u32)i))
            return -1;
    struct list all = { g->list, start ? start->list.from : 0, launches_count(g->list) };
    struct subject s = subject_list(&all);
    s.bytes = border(g, start ? (size_t)start->id : 0, g->n);
    return graph_set_step(g, &step) || graph_run(g) || dev_finish(b->d) ? -1 : bench_measure(b, &s, r);
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
    pool *p = pool_new(b->d, "bench");
    range part[5] = { { 0 } };
    int rc = -1;
    for (int i = 0; i < (whole ? 5 : 1); i++) {
        part[i] = pool_take(p, (u64)PARAMS * 4 / (i == 4 ? ADAMW_BLOCK / 2 : 1));
        if (!part[i].mem || mem_fill(b->d, part[i], 0x3c000000))
            goto done;
    }
    node *sum = node_keep(op_square_sum(g, part[0], PARAMS));
    if (whole)
        op_adamw(sum, &(struct adamw_args){ part[1], part[0], part[2], part[3], part[4], PARAMS,
                                            .9f, .999f, 1e-8f, 1 });
    if (graph_compile(g) || graph_set_step(g, &step) || graph_run(g) || dev_finish(b->d))
        goto done;
    struct list measured = { g->list, whole ? sum->list.to : 0, launches_count(g->list) };
    struct subject s = subject_list(&measured);
    s.bytes = (whole ? 28.0 : 4.0) * PARAMS;
    rc = bench_measure(b, &s, r);
done:
    pool_free(p);
    return rc;
}

int bench_run(bench *b, int i, struct bench_result *r)
{
    const struct row *row = &b->rows[i];
    *r = (struct bench_result){ .name = row->name, .batch = row->batch };
    if (text_starts(row->name, "peak."))
        return bench_measure(b, i ? &b->copy : &b->fma, r);
    if (row->model)
        return bench_model(b, b->d, row->model, row->backward, r);
    graph *g = graph_new(b->d);
    int rc = row->shapes ? run_kernel(b, g, row, r) : row->k ? run_product(b, g, row, r)
           : run_adamw(b, g, row, r);
    graph_free(g);
    return rc ? fail_in("%s", row->name) : 0;
}
