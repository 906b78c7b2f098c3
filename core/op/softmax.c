/* softmax.c: y_i = exp(x_i - max x) / sum_j exp(x_j - max x), along one axis. The array is seen as (a r b), r
 * the axis: rows when b is 1, columns otherwise. */
#include "op/op.h"
#include "op/grid.h"
#include "op/host.h"
#include "op/onnx.h"

struct softmax_args { int axis; };

static const char *softmax_shape(const node *n, struct shape *out)
{
    int axis = ((const struct softmax_args *)n->args)->axis;
    *out = n->in[0]->shape;
    return axis < 0 || axis >= out->nd ? "no such axis" : NULL;
}

static void launch_softmax(const node *n, launches *l, const char *rows, const char *columns, const char *types)
{
    int axis = ((const struct softmax_args *)n->args)->axis;
    i64 a = 1, r = n->shape.d[axis], b = 1;
    for (int i = 0; i < n->shape.nd; i++)
        if (i < axis)
            a *= n->shape.d[i];
        else if (i > axis)
            b *= n->shape.d[i];
    launch k = { .file = "softmax", .kernel = b == 1 ? rows : columns, .label = n->name, .types = types,
                 .bytes = (f64)node_bytes(n) * (1 + n->n_in) };
    i64 block = b == 1 ? grid_rows(l, &k, a, r) : dev_tune(launches_dev(l), "softmax", "COLS");
    i64 groups = CEIL_DIV(b, block);
    int c = grid_operands(n, &k);
    k.args[c++] = (arg)ARG_LONG(a);
    k.args[c++] = (arg)ARG_LONG(r);
    k.args[c++] = (arg)ARG_LONG(b);
    k.args[c++] = (arg)ARG_LONG(block);
    grid_groups(l, &k, b == 1 ? CEIL_DIV(a, block) : a * groups, 1, 1);
    launch_add(l, &k);
}

static void softmax_emit(const node *n, launches *l)
{
    launch_softmax(n, l, "softmax_rows", "softmax_columns", "xy");
}

static void softmax_grad_emit(const node *n, launches *l)
{
    launch_softmax(n, l, "softmax_grad_rows", "softmax_grad_columns", "xgy");
}

/* Calls row(n, operands, y, first element, elements, their distance) for each row along the axis. */
typedef void softmax_row(const f64 *const *in, f64 *y, i64 at, i64 r, i64 step);

static void softmax_each(const node *n, const f64 *const *in, f64 *y, softmax_row *row)
{
    int axis = ((const struct softmax_args *)n->args)->axis;
    i64 r = n->shape.d[axis], b = 1;
    for (int i = axis + 1; i < n->shape.nd; i++)
        b *= n->shape.d[i];
    for (i64 i = 0; i < node_count(n) / (r * b); i++)
        for (i64 j = 0; j < b; j++)
            row(in, y, i * r * b + j, r, b);
}

static void softmax_host_row(const f64 *const *in, f64 *y, i64 at, i64 r, i64 step)
{
    host_softmax(in[0] + at, y + at, r, step);
}

static void softmax_grad_host_row(const f64 *const *in, f64 *dx, i64 at, i64 r, i64 step)
{
    host_softmax_grad(in[0] + at, in[1] + at, dx + at, r, step, false);
}

static void softmax_host(const node *n, const f64 *const *in, f64 *y)
{
    softmax_each(n, in, y, softmax_host_row);
}
static void softmax_grad_host(const node *n, const f64 *const *in, f64 *y)
{
    softmax_each(n, in, y, softmax_grad_host_row);
}

/* dx = y (g - sum(g y)) */
const op softmax_grad_op = { "softmax_grad", .args = sizeof(struct softmax_args), .flags = OP_INPLACE,
                             .shape = softmax_shape, .emit = softmax_grad_emit, .host = softmax_grad_host };

static void softmax_vjp(node *n, node *g, node *dx[]) { dx[0] = node_new(&softmax_grad_op, n->args, n, g); }

static const char *softmax_onnx(const node *n, struct onnx *o)
{
    const char *y = onnx_apply(o, "Softmax", onnx_wide(o, onnx_in(o, n, 0)));
    onnx_int(o, "axis", ((const struct softmax_args *)n->args)->axis);
    return onnx_half(o, y);
}

const op softmax_op = { "softmax", .args = sizeof(struct softmax_args), .flags = OP_INPLACE,
                        .shape = softmax_shape, .emit = softmax_emit, .vjp = softmax_vjp,
                        .host = softmax_host, .onnx = softmax_onnx };

node *op_softmax(node *x, int axis)
{
    return node_new(&softmax_op, (&(struct softmax_args){ axis < 0 ? axis + x->shape.nd : axis }), x);
}
