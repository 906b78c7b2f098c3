/* entmax.c: 1.5-entmax over the last axis (Peters, Niculae and Martins 2019): p = max(z - tau, 0)^2 with
 * z = (x - max x)/2 and tau such that p sums to 1.
 * Gradient with s = sqrt(p): dx = s (g - sum(s g) / sum(s)). */
#include "op/op.h"
#include "op/grid.h"

static const char *entmax_shape(const node *n, struct shape *out)
{
    *out = n->in[0]->shape;
    return out->nd ? NULL : "needs an axis";
}

static void launch_rows(const node *n, launches *l, const char *kernel)
{
    launch k = { .file = "entmax", .kernel = kernel, .label = n->name,
                 .bytes = (f64)node_bytes(n) * (1 + n->n_in) };
    i64 cols = node_dim(n, -1), rows = node_count(n) / cols, block = grid_rows(l, &k, rows, cols);
    int c = grid_operands(n, &k);
    k.args[c++] = (arg)ARG_LONG(rows);
    k.args[c++] = (arg)ARG_LONG(cols);
    k.args[c++] = (arg)ARG_LONG(block);
    grid_groups(l, &k, CEIL_DIV(rows, block), 1, 1);
    launch_add(l, &k);
}

static void entmax_emit(const node *n, launches *l)      { launch_rows(n, l, "entmax15"); }
static void entmax_grad_emit(const node *n, launches *l) { launch_rows(n, l, "entmax15_grad"); }

const op entmax_grad_op = { "entmax_grad", .flags = OP_INPLACE, .shape = entmax_shape,
                            .emit = entmax_grad_emit };

static void entmax_vjp(node *n, node *g, node *dx[]) { dx[0] = node_new(&entmax_grad_op, NULL, n, g); }

const op entmax_op = { "entmax", .flags = OP_INPLACE, .shape = entmax_shape, .emit = entmax_emit,
                       .vjp = entmax_vjp };

node *op_entmax15(node *x) { return node_new(&entmax_op, NULL, x); }
