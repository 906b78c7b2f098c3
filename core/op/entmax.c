/* entmax.c: 1.5-entmax over the last axis (Peters, Niculae and Martins 2019): p = max(z - tau, 0)^2 with
 * z = (x - max x)/2 and tau such that p sums to 1.
 * Gradient with s = sqrt(p): dx = s (g - sum(s g) / sum(s)). */
#include "op/op.h"
#include "op/grid.h"
#include "op/host.h"
#include "op/onnx.h"

static const char *entmax_shape(const node *n, struct shape *out)
{
    *out = n->in[0]->shape;
    return out->nd ? NULL : "needs an axis";
}

static void entmax_launch_rows(const node *n, launches *l, const char *kernel, const char *types)
{
    launch k = { .file = "entmax", .kernel = kernel, .label = n->name, .types = types,
                 .bytes = (f64)node_bytes(n) * (1 + n->n_in) };
    i64 cols = node_dim(n, -1), rows = node_count(n) / cols, block = grid_rows(l, &k, rows, cols);
    int c = grid_operands(n, &k);
    k.args[c++] = (arg)ARG_LONG(rows);
    k.args[c++] = (arg)ARG_LONG(cols);
    k.args[c++] = (arg)ARG_LONG(block);
    grid_groups(l, &k, CEIL_DIV(rows, block), 1, 1);
    launch_add(l, &k);
}

static void entmax_emit(const node *n, launches *l)      { entmax_launch_rows(n, l, "entmax15", "xy"); }
static void entmax_grad_emit(const node *n, launches *l) { entmax_launch_rows(n, l, "entmax15_grad", "xgy"); }

static void entmax_host(const node *n, const f64 *const *in, f64 *y)
{
    i64 cols = node_dim(n, -1);
    for (i64 at = 0; at < node_count(n); at += cols)
        host_entmax(in[0] + at, y + at, cols);
}

static void entmax_grad_host(const node *n, const f64 *const *in, f64 *dx)
{
    i64 cols = node_dim(n, -1);
    for (i64 at = 0; at < node_count(n); at += cols)
        host_softmax_grad(in[0] + at, in[1] + at, dx + at, cols, 1, true);
}

const op entmax_grad_op = { "entmax_grad", .flags = OP_INPLACE, .shape = entmax_shape,
                            .emit = entmax_grad_emit, .host = entmax_grad_host };

static void entmax_vjp(node *n, node *g, node *dx[]) { dx[0] = node_new(&entmax_grad_op, NULL, n, g); }

/* With z sorted: tau_k = mean_k - sqrt((1 - k var_k) / k) over the first k, and tau the last tau_k <= z_k. What
 * lies more than 1 below the largest has no share: cut off there, it does not round the running sums. */
static const char *entmax_onnx(const node *n, struct onnx *o)
{
    i64 k = node_dim(n, -1);
    f32 *count = arena_array(o->a, f32, k);
    for (i64 i = 0; i < k; i++)
        count[i] = (f32)(i + 1);
    const char *x = onnx_wide(o, onnx_in(o, n, 0)), *last = onnx_integers(o, -1), *zero = onnx_number(o, 0);
    const char *top = onnx_apply(o, "ReduceMax", x);
    onnx_ints(o, "axes", 1, (i64[]){ -1 });
    const char *z = onnx_apply(o, "Mul", onnx_apply(o, "Sub", x, top), onnx_number(o, 0.5f));
    z = onnx_apply(o, "Max", z, onnx_number(o, -1));
    const char *sorted = onnx_apply(o, "TopK", z, onnx_integers(o, k));
    const char *counts = onnx_values(o, SHAPE(k), count), *axis = onnx_index(o, -1);
    const char *mean = onnx_apply(o, "Div", onnx_apply(o, "CumSum", sorted, axis), counts);
    const char *square = onnx_apply(o, "CumSum", onnx_apply(o, "Mul", sorted, sorted), axis);
    square = onnx_apply(o, "Sub", onnx_apply(o, "Div", square, counts), onnx_apply(o, "Mul", mean, mean));
    const char *rest = onnx_apply(o, "Sub", onnx_apply(o, "Div", onnx_number(o, 1), counts), square);
    const char *tau = onnx_apply(o, "Sub", mean, onnx_apply(o, "Sqrt", onnx_apply(o, "Max", rest, zero)));
    const char *in = onnx_apply(o, "LessOrEqual", tau, sorted);
    in = onnx_apply(o, "Cast", in);
    onnx_int(o, "to", 7);
    const char *place = onnx_apply(o, "Sub", onnx_apply(o, "ReduceSum", in, last), onnx_integers(o, 1));
    tau = onnx_apply(o, "GatherElements", tau, place);
    onnx_int(o, "axis", -1);
    const char *p = onnx_apply(o, "Max", onnx_apply(o, "Sub", z, tau), zero);
    return onnx_half(o, onnx_apply(o, "Mul", p, p));
}

const op entmax_op = { "entmax", .flags = OP_INPLACE, .shape = entmax_shape, .emit = entmax_emit,
                       .vjp = entmax_vjp, .host = entmax_host, .onnx = entmax_onnx };

node *op_entmax15(node *x) { return node_new(&entmax_op, NULL, x); }
