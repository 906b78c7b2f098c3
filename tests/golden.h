/* golden.h: comparing a graph with a golden file: tensors `<case>.in.x`, `<case>.param.w`, `<case>.out`,
 * `<case>.grad.x`.
 *
 *     struct golden k = golden_begin(d, c, "linear.");
 *     node *y = ...golden_in(&k, "x")...;                  // uploaded before the run
 *     golden_expect(&k, y, "out", FORWARD);                // compared after it
 *     golden_end(&k);
 */
#ifndef JETCL_GOLDEN_H
#define JETCL_GOLDEN_H
#include "unit.h"
#include "model/model.h"
#include <math.h>
#include <stdlib.h>

/* |got - want| <= rtol max|want| + atol */
struct tolerance { f64 rtol, atol; };
struct golden_input { node *n; const char *name; bool one_hot; };
struct golden_check { node *n; range home; const char *name; struct tolerance t; };
struct golden {
    arena *a;
    ckpt  *c;
    graph *g;
    const char *prefix;
    struct golden_input input[64];
    struct golden_check check[512];
    int n_in, n_check;
    f64 scale;                                    /* what gradients are multiplied with; 0: not */
};

static inline struct golden golden_begin(dev *d, ckpt *c, const char *prefix)
{
    return (struct golden){ .a = arena_open("golden"), .c = c, .g = graph_new(d), .prefix = prefix };
}

static inline const char *golden_name(const struct golden *k, const char *name)
{
    return arena_printf(k->a, "%s%s", k->prefix, name);
}

static inline const tensor *golden_find(const struct golden *k, const char *name)
{
    return ckpt_find(k->c, golden_name(k, name));
}

static inline const tensor *golden_get(const struct golden *k, const char *name)
{
    const tensor *t = golden_find(k, name);
    if (!t)
        fail_msg("%s: no %s%s", ckpt_path(k->c), k->prefix, name);
    return t;
}

static inline struct shape golden_shape(const tensor *t)
{
    struct shape s = { t->nd };
    for (int i = 0; i < t->nd; i++)
        s.d[i] = t->shape[i];
    return s;
}

static inline const f32 *golden_reals(const struct golden *k, const tensor *t)
{
    f32 *v = arena_array(k->a, f32, t->count + 1);
    assert_int_equal(tensor_to_f32(t, v), 0);
    return v;
}

/* An input with the values of that tensor. */
static inline node *golden_in(struct golden *k, const char *name)
{
    node *n = graph_input(k->g, name, F32, golden_shape(golden_get(k, name)));
    k->input[k->n_in++] = (struct golden_input){ n, name };
    return n;
}

/* Labels (b) as rows of `classes` with a one each. */
static inline node *golden_labels(struct golden *k, const char *name, i64 classes)
{
    node *n = graph_input(k->g, name, F32, SHAPE(golden_get(k, name)->shape[0], classes));
    k->input[k->n_in++] = (struct golden_input){ n, name, true };
    return n;
}

static inline void golden_expect(struct golden *k, node *n, const char *name, struct tolerance t)
{
    n = node_keep(n->fixed || n->op->flags & (OP_LEAF | OP_ALIAS) ? op_copy(n) : n);
    k->check[k->n_check++] = (struct golden_check){ .n = n, .name = name, .t = t };
}

/* The same for values that lie in `home` after the run. */
static inline void golden_expect_at(struct golden *k, range home, const char *name, struct tolerance t)
{
    k->check[k->n_check++] = (struct golden_check){ .home = home, .name = name, .t = t };
}

static inline f64 golden_top(const f32 *v, i64 n)
{
    f64 top = 0;
    for (i64 i = 0; i < n; i++)
        top = fmax(top, fabs((f64)v[i]));
    return top;
}

static inline void golden_compare(const char *name, const f32 *got, const f32 *want, i64 n,
                                  struct tolerance t)
{
    f64 top = golden_top(want, n);
    for (i64 i = 0; i < n; i++)
        if (!(fabs((f64)got[i] - (f64)want[i]) <= t.rtol * top + t.atol))
            fail_msg("%s: element %lld of %lld: got %.9g, want %.9g (largest %.3g)", name, (long long)i,
                     (long long)n, (f64)got[i], (f64)want[i], top);
}

static inline void golden_upload(struct golden *k)
{
    for (int i = 0; i < k->n_in; i++) {
        const tensor *t = golden_get(k, k->input[i].name);
        node *n = k->input[i].n;
        if (!k->input[i].one_hot) {
            assert_int_equal(node_write(n, golden_reals(k, t)), 0);
            continue;
        }
        f32 *rows = arena_array(k->a, f32, node_count(n));
        const f32 *label = golden_reals(k, t);
        for (i64 r = 0; r < node_dim(n, 0); r++)
            rows[r * node_dim(n, 1) + (i64)label[r]] = 1;
        assert_int_equal(node_write(n, rows), 0);
    }
}

/* Results and gradients in a half type: each stored tensor is off by u / sqrt(3) of its own size at the root of
 * the mean square; were all errors independent and passed on undamped, a result would be off by u sqrt(n / 3)
 * for n tensors. */
struct golden_distance { f64 off, size; };
static inline void golden_measure(struct golden_distance *d, const f32 *got, const f32 *want, i64 n, f64 scale)
{
    for (i64 i = 0; i < n; i++) {
        f64 e = (f64)got[i] / scale - (f64)want[i];
        d->off += e * e;
        d->size += (f64)want[i] * (f64)want[i];
    }
}

static inline void golden_near(const struct golden *k, const char *what, struct golden_distance d)
{
    f64 unit = k->g->half == F16 ? 0x1p-11 : 0x1p-8, off = sqrt(d.off / d.size);
    int n = 0;
    for (size_t i = 0; i < k->g->n; i++)
        n += dtype_half(k->g->nodes[i]->type) && !(k->g->nodes[i]->op->flags & OP_ALIAS);
    assert_true(n > 10);
    if (!(off > 0 && off < unit * sqrt(n / 3.0)))
        fail_msg("%s: %s off by %.3g, not %.3g, with %d tensors of half type", k->prefix, what, off,
                 unit * sqrt(n / 3.0), n);
}

/* Runs what was built and compares what was expected. */
static inline void golden_end(struct golden *k)
{
    simplify_graph(k->g);
    if (graph_compile(k->g))
        fail_msg("%s: %s", k->prefix, fail_message());
    golden_upload(k);
    assert_int_equal(graph_set_step(k->g, &(step_words){ { 0 } }), 0);
    if (graph_run(k->g) || dev_finish(k->g->d))
        fail_msg("%s: %s", k->prefix, fail_message());
    struct golden_distance result = { 0, 0 }, gradient = { 0, 0 };
    for (int i = 0; i < k->n_check; i++) {
        const struct golden_check *x = &k->check[i];
        const tensor *t = golden_get(k, x->name);
        bool grad = text_starts(x->name, "grad.");
        f32 *got = arena_array(k->a, f32, t->count + 1);
        if (x->n)
            assert_int_equal(node_count(x->n), (i64)t->count);
        assert_int_equal(x->n ? node_read(x->n, got) : mem_read(k->g->d, x->home, got), 0);
        if (k->g->half == F32)
            golden_compare(golden_name(k, x->name), got, golden_reals(k, t), (i64)t->count, x->t);
        else
            golden_measure(grad ? &gradient : &result, got, golden_reals(k, t), (i64)t->count,
                           grad && k->scale > 0 ? k->scale : 1);
    }
    if (k->g->half != F32) {
        golden_near(k, "results", result);
        golden_near(k, "gradients", gradient);
    }
    graph_free(k->g);
    arena_close(k->a);
}

/* A golden file by name: the networks of tests/golden/make.py begin with "tiny_", the others are the
 * reference's. */
static inline ckpt *golden_open(const char *file)
{
    char path[256];
    snprintf(path, sizeof path, "%s%s.safetensors", text_starts(file, "tiny_") ? "tests/golden/" : REFERENCE,
             file);
    ckpt *c = ckpt_open(path);
    if (!c)
        fail_msg("%s", fail_message());
    return c;
}
#endif
