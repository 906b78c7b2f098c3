/* norm.c: normalisation of rows (the last axis).
 *
 *   layernorm   y = (x - mean) / sqrt(var + eps) * w + b         (Ba, Kiros and Hinton 2016; biased variance)
 *   l2norm      y = x / (|x| + eps), or x / sqrt(|x|^2 + eps)    (on to the sphere)
 *
 * The gradients recompute the row's statistics: a second pass over a row in L1 is cheaper
 * than storing and loading them.
 */
#include "op/op.h"
#include "op/grid.h"

struct norm_args { f32 eps; bool inside; };

static i64 cols_of(const node *x) { return node_dim(x, -1); }
static i64 rows_of(const node *x) { return node_count(x) / cols_of(x); }

static const char *same_shape(const node *n, struct shape *out)
{
    *out = n->in[0]->shape;
    return out->nd ? NULL : "needs an axis";
}

/* The gradient's rows in blocks whose number depends on the shape only: column sums follow them. */
static i64 block_of(i64 rows, i64 cols) { return MAX(CEIL_DIV(rows, (i64)256), MAX(1, 2048 / cols)); }

static void launch_rows(const node *n, launches *l, const char *kernel, i64 rows, i64 cols)
{
    const struct norm_args *a = n->args;
    launch k = { .file = "norm", .kernel = kernel, .label = n->name,
                 .bytes = 4.0 * (f64)(rows * cols) * (1 + n->n_in) };
    i64 block = grid_rows(l, &k, rows, cols);
    int c = grid_operands(n, &k);
    k.args[c++] = (arg)ARG_LONG(rows);
    k.args[c++] = (arg)ARG_LONG(cols);
    k.args[c++] = (arg)ARG_LONG(block);
    k.args[c++] = (arg)ARG_REAL(a->eps);
    grid_groups(l, &k, CEIL_DIV(rows, block), 1, 1);
    launch_add(l, &k);
}

/* ---- layernorm ----------------------------------------------------------------------------------------- */

static const char *layernorm_shape(const node *n, struct shape *out)
{
    *out = n->in[0]->shape;
    if (!out->nd)
        return "needs an axis";
    for (int i = 1; i < n->n_in; i++)
        if (node_count(n->in[i]) != cols_of(n->in[0]))
            return "weight and bias must be as long as the last axis";
    return NULL;
}

static void layernorm_emit(const node *n, launches *l)
{
    launch_rows(n, l, n->n_in > 1 ? "layernorm_affine" : "layernorm", rows_of(n), cols_of(n));
}

/* Two results in one array, since both need the row's statistics: dx (rows cols), then the sums over each
 * block of rows for dw and db, (blocks 2 cols). */
static i64 parts_offset(const node *x) { return ROUND_UP(node_count(x), (i64)1024); }

static const char *grad_shape(const node *n, struct shape *out)
{
    i64 rows = rows_of(n->in[0]), cols = cols_of(n->in[0]);
    *out = SHAPE(parts_offset(n->in[0]) + CEIL_DIV(rows, block_of(rows, cols)) * 2 * cols);
    return NULL;
}

static void grad_emit(const node *n, launches *l)
{
    const node *x = n->in[0];
    i64 rows = rows_of(x), cols = cols_of(x), block = block_of(rows, cols);
    const struct norm_args *a = n->args;
    launch k = { .file = "norm", .kernel = "layernorm_grad", .label = n->name,
                 .bytes = 12.0 * (f64)(rows * cols),
                 .args = { ARG_RANGE(x->home), ARG_RANGE(n->in[1]->home), ARG_RANGE(n->in[2]->home),
                           ARG_RANGE(n->home), ARG_LONG(rows), ARG_LONG(cols), ARG_LONG(block),
                           ARG_REAL(a->eps), ARG_LONG(parts_offset(x)) } };
    grid_groups(l, &k, CEIL_DIV(rows, block), 1, 1);
    launch_add(l, &k);
}

static const op layernorm_grad_op = { "layernorm_grad", .args = sizeof(struct norm_args), .shape = grad_shape,
                                      .emit = grad_emit };

/* As many ones as a row has values. */
static node *ones(node *x) { return op_offset(op_scale(op_view(x, 0, SHAPE(cols_of(x))), 0), 1); }

static void layernorm_vjp(node *n, node *g, node *dx[])
{
    node *x = n->in[0], *w = n->n_in > 1 ? n->in[1] : ones(x);
    i64 rows = rows_of(x), cols = cols_of(x), blocks = CEIL_DIV(rows, block_of(rows, cols));
    node *both = node_new(&layernorm_grad_op, n->args, x, w, g);
    dx[0] = op_view(both, 0, x->shape);
    if (n->n_in == 1)
        return;
    node *sums = op_sum_to(op_view(both, parts_offset(x), SHAPE(blocks, 2 * cols)), SHAPE(2 * cols));
    dx[1] = op_view(sums, 0, n->in[1]->shape);
    dx[2] = op_view(sums, cols, n->in[2]->shape);
}

const op layernorm_op = { "layernorm", .args = sizeof(struct norm_args), .flags = OP_INPLACE,
                          .shape = layernorm_shape, .emit = layernorm_emit, .vjp = layernorm_vjp };

node *op_layernorm(node *x, node *w, node *b, f32 eps)
{
    struct norm_args a = { .eps = eps };
    return w ? node_new(&layernorm_op, &a, x, w, b) : node_new(&layernorm_op, &a, x);
}

/* ---- l2norm -------------------------------------------------------------------------------------------- */

static bool inside(const node *n) { return ((const struct norm_args *)n->args)->inside; }

static void l2norm_emit(const node *n, launches *l)
{
    launch_rows(n, l, inside(n) ? "l2norm_inside" : "l2norm", rows_of(n), cols_of(n));
}

static void l2norm_grad_emit(const node *n, launches *l)
{
    launch_rows(n, l, inside(n) ? "l2norm_inside_grad" : "l2norm_grad", rows_of(n), cols_of(n));
}

static const op l2norm_grad_op = { "l2norm_grad", .args = sizeof(struct norm_args), .flags = OP_INPLACE,
                                   .shape = same_shape, .emit = l2norm_grad_emit };

static void l2norm_vjp(node *n, node *g, node *dx[])
{
    dx[0] = node_new(&l2norm_grad_op, n->args, n->in[0], g);
}

const op l2norm_op = { "l2norm", .args = sizeof(struct norm_args), .flags = OP_INPLACE, .shape = same_shape,
                       .emit = l2norm_emit, .vjp = l2norm_vjp };

node *op_l2norm(node *x, f32 eps, bool inside)
{
    return node_new(&l2norm_op, (&(struct norm_args){ eps, inside }), x);
}
