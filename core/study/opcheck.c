/* opcheck.c: ops as graphs of their own, each with its gradient, node by node against the host. */
#include "study/nodecheck.h"
#include "autograd/autograd.h"
#include "fuse/fuse.h"
#include "op/op.h"

static node *case_entmax(node *x)        { return op_entmax15(x); }
static node *case_softmax_rows(node *x)  { return op_softmax(x, -1); }
static node *case_softmax_down(node *x)  { return op_softmax(x, 1); }
static node *case_l2norm(node *x)        { return op_l2norm(x, 1e-6f, false); }
static node *case_l2norm_inside(node *x) { return op_l2norm(x, 1e-6f, true); }
static node *case_layernorm(node *x)     { return op_layernorm(x, NULL, NULL, 1e-6f); }
static node *case_sum(node *x)           { return op_sum_to(x, SCALAR); }
static node *case_sum_middle(node *x)    { return op_sum(x, 1); }
static node *case_transpose(node *x)     { return op_transpose(x, 2, 0, 1); }
static node *case_swap(node *x)          { return op_transpose(x, 1, 0, 2); }
static node *case_cut(node *x)           { return op_slice(x, 1, 1, node_dim(x, 1) - 2); }
static node *case_pad(node *x)           { return op_pad(x, 2, 3, node_dim(x, 2) + 5); }
static node *case_concat(node *x)        { return op_concat(x, op_scale(x, .5f), 2); }
static node *case_tanh(node *x)          { return op_tanh(x); }
static node *case_noise(node *x)         { return op_add(x, op_normal(x->g, x->shape, .5f)); }
static node *case_dropout(node *x)       { return op_mul(x, op_keep_mask(x->g, x->shape, .8f)); }
static node *case_square(node *x)        { return op_matmul(x, op_scale(x, .5f), TRANS_B); }
/* A weight's gradient: long sums, which products split. */
static node *case_long(node *x)
{
    node *rows = op_reshape(x, SHAPE(-1, 16));
    return op_matmul(rows, op_scale(rows, .5f), TRANS_A);
}

static const struct op_case { node *(*build)(node *x); struct shape shape[2]; } cases[] = {
#define BOTH { { 3, { 3, 37, 67 } }, { 3, { 2, 32, 64 } } }
    { case_entmax, BOTH },        { case_softmax_rows, BOTH },
    { case_softmax_down, BOTH },  { case_l2norm, BOTH },
    { case_l2norm_inside, BOTH }, { case_layernorm, BOTH },
    { case_sum, BOTH },           { case_sum_middle, BOTH },
    { case_transpose, BOTH },     { case_swap, BOTH },
    { case_cut, BOTH },           { case_pad, BOTH },
    { case_concat, BOTH },        { case_tanh, BOTH },
    { case_noise, BOTH },         { case_dropout, BOTH },
    { case_square, BOTH },        { case_long, { { 2, { 3001, 16 } }, { 2, { 4096, 16 } } } },
};

/* One graph has all cases, so that equal kernels are built once. */
static int opcheck_graph(struct kernel_checks *c, dev *d, int which)
{
    graph *g = graph_new(d);
    arena *a = arena_open("opcheck");
    node *x[countof(cases)], *cot[countof(cases)];
    step_words w = { .u = { [STEP_NUMBER] = 3, [STEP_SEED_LO] = 7 } };
    rng r = rng_at(2, RNG_TEST, 0, 0);
    graph_step(g);
    for (int i = 0; i < countof(cases); i++) {
        node *grad, *y;
        x[i] = graph_input(g, "an op's operand", F32, cases[i].shape[which]);
        y = node_keep(cases[i].build(x[i]));
        cot[i] = graph_input(g, "its adjoint", F32, y->shape);
        grad_build_from(y, cot[i], &x[i], 1, &grad);
        node_keep(grad);
    }
    simplify_graph(g);
    int rc = graph_compile(g) || graph_set_step(g, &w) ? -1 : 0;
    for (int i = 0; i < 2 * countof(cases) && !rc; i++) {
        node *n = i % 2 ? cot[i / 2] : x[i / 2];
        f32 *v = arena_array(a, f32, node_count(n));
        for (i64 k = 0; k < node_count(n); k++)
            v[k] = (f32)rng_normal(&r);
        rc = node_write(n, v);
    }
    rc = rc || nodecheck_graph(c, g, 0x1p-24) ? -1 : 0;
    graph_free(g);
    arena_close(a);
    return rc;
}

int opcheck_all(struct kernel_checks *c, dev *d)
{
    return opcheck_graph(c, d, 0) || opcheck_graph(c, d, 1) ? -1 : 0;
}
