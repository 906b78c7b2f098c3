/* reduce.c: sums over axes. One launch sums the middle axis of (a r b); long sums are cut into splits whose
 * number depends on the shape only, and a second launch adds those in order: the same bits on every run.
 *
 *     (a r b) -> partial sums (a s b) -> (a b)
 */
#include "op/op.h"
#include "op/grid.h"
#include "op/host.h"
#include "op/onnx.h"

struct sum_args { int axis, count; };             /* axes [axis, axis + count) become 1 */

struct split { i64 a, r, b, splits, chunk; };

static struct split split_of(const node *n)
{
    const struct sum_args *s = n->args;
    const struct shape *x = &n->in[0]->shape;
    struct split t = { 1, 1, 1, 1, 0 };
    for (int i = 0; i < x->nd; i++)
        if (i < s->axis)
            t.a *= x->d[i];
        else if (i < s->axis + s->count)
            t.r *= x->d[i];
        else
            t.b *= x->d[i];
    i64 wide = t.b == 1 ? 4096 : 64;              // elements or rows worth a chunk of their own
    if (t.r >= 2 * wide && t.a * CEIL_DIV(t.b, (i64)256) < 64)
        t.splits = MIN(64, t.r / wide);
    t.chunk = CEIL_DIV(t.r, t.splits);
    if (t.b == 1)
        t.chunk = ROUND_UP(t.chunk, (i64)16);
    t.splits = CEIL_DIV(t.r, t.chunk);
    return t;
}

static const char *reduce_sum_shape(const node *n, struct shape *out)
{
    const struct sum_args *s = n->args;
    *out = n->in[0]->shape;
    if (s->axis < 0 || s->count < 1 || s->axis + s->count > out->nd)
        return "no such axis";
    for (int i = 0; i < s->count; i++)
        out->d[s->axis + i] = 1;
    return NULL;
}

/* The other two axes of a grid may end at 65535: a kernel continues `groups` further. */
#define MOST_DEEP 16384

static void launch_sum(const node *n, launches *l, arg from, arg to, i64 a, i64 r, i64 b,
                       i64 splits, i64 chunk)
{
    bool rows = b == 1;
    launch k = { .file = "reduce",
                 .kernel = rows ? "sum_rows" : "sum_columns",
                 .label = n->name,
                 .types = "xy",
                 .bytes = (f64)dtype_bytes(n->type) * (f64)(a * b) * (f64)(r + splits) };
    i64 block = rows ? grid_rows(l, &k, a, chunk) : dev_tune(launches_dev(l), "reduce", "COLS");
    const arg args[] = { from, to, ARG_LONG(a), ARG_LONG(r), ARG_LONG(b),
                         ARG_LONG(chunk), ARG_LONG(block) };
    memcpy(k.args, args, sizeof args);
    grid_groups(l, &k, CEIL_DIV(rows ? a : b, block), splits, rows ? 1 : MIN(a, MOST_DEEP));
    launch_add(l, &k);
}

static void sum_emit(const node *n, launches *l)
{
    struct split s = split_of(n);
    const arg from = ARG_NODE(n->in[0]), to = ARG_NODE(n), splits = ARG_RANGE(n->work);
    launch_sum(n, l, from, s.splits > 1 ? splits : to, s.a, s.r, s.b, s.splits, s.chunk);
    if (s.splits > 1)
        launch_sum(n, l, splits, to, s.a, s.splits, s.b, 1, s.splits);
}

static u64 sum_scratch(const node *n)
{
    struct split s = split_of(n);
    return s.splits > 1 ? dtype_bytes(F32) * (u64)(s.a * s.splits * s.b) : 0;
}

static void sum_vjp(node *n, node *g, node *dx[]) { dx[0] = op_expand(g, n->in[0]->shape); }

/* Every element into the one of y that it broadcasts to. */
static void sum_host(const node *n, const f64 *const *in, f64 *y)
{
    struct shape from = n->in[0]->shape;
    for (i64 i = 0; i < node_count(n); i++)
        y[i] = 0;
    for (i64 i = 0; i < shape_count(from); i++)
        y[host_at(from, i, n->shape)] += in[0][i];
}

static const char *sum_onnx(const node *n, struct onnx *o)
{
    const struct sum_args *s = n->args;
    i64 axes[MAX_DIM];
    for (int i = 0; i < s->count; i++)
        axes[i] = s->axis + i;
    const char *x = onnx_wide(o, onnx_in(o, n, 0));
    return onnx_half(o, onnx_apply(o, "ReduceSum", x, onnx_list(o, s->count, axes)));
}

const op sum_op = { "sum", .args = sizeof(struct sum_args), .shape = reduce_sum_shape, .emit = sum_emit,
                    .vjp = sum_vjp, .scratch = sum_scratch, .host = sum_host, .onnx = sum_onnx };

bool op_sums_rows(const node *n, i64 batches, i64 cols)
{
    return n->op == &sum_op && split_of(n).a == batches && split_of(n).b == cols;
}

static node *sum_axes(node *x, int axis, int count)
{
    return node_new(&sum_op, (&(struct sum_args){ axis, count }), x);
}

node *op_sum(node *x, int axis) { return sum_axes(x, axis < 0 ? axis + x->shape.nd : axis, 1); }

node *op_sum_to(node *x, struct shape s)
{
    int front = x->shape.nd - s.nd;
    for (int i = x->shape.nd; i-- > 0;) {         // runs of summed axes, innermost first
        int from = i;
        for (; from >= 0 && x->shape.d[from] != 1 && (from < front || s.d[from - front] == 1); from--)
            ;
        if (from < i) {
            x = sum_axes(x, from + 1, i - from);
            i = from + 1;
        }
    }
    return op_reshape(x, s);
}

node *op_mean(node *x)
{
    f32 share = 1.0f / (f32)node_count(x);
    return op_scale(op_sum_to(x, SCALAR), share);
}
