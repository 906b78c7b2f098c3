/* move.c: the same values in another place: views, slices, padding, concatenation; permutations are in
 * permute.c. All are copies of one block between two arrays seen as (a r b):
 *
 *     dst[a, dst_from + r, b] = src[a, src_from + r, b]        r < count
 */
#include "op/op.h"
#include "op/grid.h"
#include "op/move.h"
#include "op/onnx.h"

/* ---- view, reshape ------------------------------------------------------------------------------------- */

struct view_args { i64 offset; struct shape shape; };

static const char *view_shape(const node *n, struct shape *out)
{
    const struct view_args *v = n->args;
    *out = v->shape;
    bool inside = v->offset >= 0 && v->offset + shape_count(v->shape) <= node_count(n->in[0]);
    return inside ? NULL : "view beyond the end";
}

struct share move_share(const launches *l, i64 a, i64 run)
{
    const dev *d = launches_dev(l);
    i64 share = dev_tune(d, "move", "SHARE"), most = dev_tune(d, "move", "GROUPS");
    i64 chunk = ROUND_UP(MIN(MAX(1, run), MAX(share, CEIL_DIV(run, most))), (i64)16);
    i64 chunks = CEIL_DIV(run, chunk), rows = MAX(share / MAX(1, run), a * chunks / most);
    return (struct share){ MAX(1, chunks), chunk, MAX(1, rows) };
}

static void emit_block(const node *n, launches *l, const node *src, i64 a, i64 count, i64 b,
                       i64 src_r, i64 src_from, i64 dst_r, i64 dst_from)
{
    i64 run = count * b;
    struct share s = move_share(l, a, run);
    launch k = { .file = "move", .kernel = "copy_block", .label = n->name, .types = "xy",
                 .bytes = 2 * (f64)dtype_bytes(n->type) * (f64)(a * run),
                 .args = { ARG_NODE(src), ARG_NODE(n), ARG_LONG(a), ARG_LONG(run),
                           ARG_LONG(src_r * b), ARG_LONG(src_from * b), ARG_LONG(dst_r * b),
                           ARG_LONG(dst_from * b), ARG_LONG(s.chunks), ARG_LONG(s.chunk), ARG_LONG(s.rows) } };
    grid_groups(l, &k, s.chunks * CEIL_DIV(a, s.rows), 1, 1);
    launch_add(l, &k);
}

static void view_emit(const node *n, launches *l)
{
    const struct view_args *v = n->args;
    emit_block(n, l, n->in[0], 1, node_count(n), 1, node_count(n->in[0]), v->offset, node_count(n), 0);
}

static void view_host(const node *n, const f64 *const *in, f64 *y)
{
    const struct view_args *v = n->args;
    memcpy(y, in[0] + v->offset, (size_t)node_count(n) * sizeof *y);
}

static i64 move_view_offset(const node *n) { return ((const struct view_args *)n->args)->offset; }

static void view_vjp(node *n, node *g, node *dx[])
{
    i64 total = node_count(n->in[0]), offset = move_view_offset(n);
    node *flat = op_reshape(g, SHAPE(-1));
    bool all = !offset && total == node_count(n);
    dx[0] = op_reshape(all ? flat : op_pad(flat, 0, offset, total), n->in[0]->shape);
}

static const char *onnx_slice_of(struct onnx *o, const char *x, int axis, i64 from, i64 count)
{
    const char *first = onnx_integers(o, from), *end = onnx_integers(o, from + count);
    return onnx_apply(o, "Slice", x, first, end, onnx_integers(o, axis));
}

/* All of it in another shape, or some of the rows of its first axis. */
static const char *view_onnx(const node *n, struct onnx *o)
{
    const struct shape *x = &n->in[0]->shape, *y = &n->shape;
    i64 row = node_count(n) / MAX(1, node_dim(n, 0)), from = move_view_offset(n) / MAX(1, row);
    if (node_count(n) == node_count(n->in[0]))
        return onnx_apply(o, "Reshape", onnx_in(o, n, 0), onnx_shape(o, n));
    bool rows = x->nd == y->nd && !memcmp(x->d + 1, y->d + 1, sizeof *x->d * (size_t)(x->nd - 1));
    if (!rows || from * row != move_view_offset(n) || onnx_images_axis(o, n) == 0)
        return NULL;
    return onnx_slice_of(o, onnx_in(o, n, 0), 0, from, y->d[0]);
}

const op view_op = { "view", .args = sizeof(struct view_args), .flags = OP_ALIAS, .shape = view_shape,
                     .emit = view_emit, .vjp = view_vjp, .offset = move_view_offset,
                     .host = view_host, .onnx = view_onnx };

node *op_view(node *x, i64 offset, struct shape s)
{
    return node_new(&view_op, (&(struct view_args){ offset, s }), x);
}

node *op_reshape(node *x, struct shape s)
{
    i64 known = 1, have = node_count(x);
    int open = -1;
    for (int i = 0; i < s.nd; i++)
        if (s.d[i] < 0)
            open = i;
        else
            known *= s.d[i];
    if (open >= 0)
        s.d[open] = known ? have / known : 0;
    if (shape_count(s) != have)
        graph_complain(x->g, "reshape: %s does not fill %s", shape_text(x->g->a, x->shape),
                       shape_text(x->g->a, s));
    return shape_equal(s, x->shape) ? x : op_view(x, 0, s);
}

/* ---- slice, pad ---------------------------------------------------------------------------------------- */

struct slice_args { int axis; i64 from, extent; };

static i64 outer_size(const node *n, int axis)
{
    i64 a = 1;
    for (int i = 0; i < axis; i++)
        a *= n->shape.d[i];
    return a;
}

static i64 inner_size(const node *n, int axis)
{
    return node_count(n) / MAX(1, outer_size(n, axis) * n->shape.d[axis]);
}

static int axis_of(const node *x, int axis) { return axis < 0 ? axis + x->shape.nd : axis; }

static const char *slice_shape(const node *n, struct shape *out)
{
    const struct slice_args *p = n->args;
    const struct shape *x = &n->in[0]->shape;
    if (p->axis < 0 || p->axis >= x->nd || p->from < 0 || p->from + p->extent > x->d[p->axis])
        return "the slice reaches past the end";
    *out = *x;
    out->d[p->axis] = p->extent;
    return NULL;
}

static void slice_emit(const node *n, launches *l)
{
    const struct slice_args *p = n->args;
    const node *x = n->in[0];
    emit_block(n, l, x, outer_size(n, p->axis), p->extent, inner_size(n, p->axis), x->shape.d[p->axis],
               p->from, p->extent, 0);
}

/* Rows src_from.. of the axis of x, `count` of them, to rows dst_from.. of y's. */
static void move_host(const node *x, const f64 *v, const node *y, f64 *to, int axis, i64 src_from, i64 count,
                      i64 dst_from)
{
    i64 b = inner_size(y, axis), src = x->shape.d[axis], dst = y->shape.d[axis];
    for (i64 a = 0; a < outer_size(y, axis); a++)
        memcpy(to + (a * dst + dst_from) * b, v + (a * src + src_from) * b, (size_t)(count * b) * sizeof *to);
}

static void slice_host(const node *n, const f64 *const *in, f64 *y)
{
    const struct slice_args *p = n->args;
    move_host(n->in[0], in[0], n, y, p->axis, p->from, p->extent, 0);
}

static void slice_vjp(node *n, node *g, node *dx[])
{
    const struct slice_args *p = n->args;
    dx[0] = op_pad(g, p->axis, p->from, n->in[0]->shape.d[p->axis]);
}

static const char *slice_onnx(const node *n, struct onnx *o)
{
    const struct slice_args *p = n->args;
    return onnx_slice_of(o, onnx_in(o, n, 0), p->axis, p->from, p->extent);
}

const op slice_op = { "slice", .args = sizeof(struct slice_args), .shape = slice_shape, .emit = slice_emit,
                      .vjp = slice_vjp, .host = slice_host, .onnx = slice_onnx };

node *op_slice(node *x, int axis, i64 from, i64 count)
{
    axis = axis_of(x, axis);
    if (outer_size(x, axis) == 1) {               // contiguous: no copy
        struct shape s = x->shape;
        s.d[axis] = count;
        return op_view(x, from * inner_size(x, axis), s);
    }
    return node_new(&slice_op, (&(struct slice_args){ axis, from, count }), x);
}

static const char *pad_shape(const node *n, struct shape *out)
{
    const struct slice_args *p = n->args;
    const struct shape *x = &n->in[0]->shape;
    if (p->axis < 0 || p->axis >= x->nd || p->from < 0 || p->from + x->d[p->axis] > p->extent)
        return "the operand does not fit inside";
    *out = *x;
    out->d[p->axis] = p->extent;
    return NULL;
}

static void pad_emit(const node *n, launches *l)
{
    const struct slice_args *p = n->args;
    const node *x = n->in[0];
    i64 a = outer_size(n, p->axis), b = inner_size(n, p->axis), count = x->shape.d[p->axis];
    struct share s = move_share(l, a, p->extent * b);
    launch k = { .file = "move", .kernel = "pad_block", .label = n->name, .types = "xy",
                 .bytes = (f64)(node_bytes(n) + node_bytes(x)),
                 .args = { ARG_NODE(x), ARG_NODE(n), ARG_LONG(a), ARG_LONG(count * b),
                           ARG_LONG(p->from * b), ARG_LONG(p->extent * b), ARG_LONG(s.chunks),
                           ARG_LONG(s.chunk), ARG_LONG(s.rows) } };
    grid_groups(l, &k, s.chunks * CEIL_DIV(a, s.rows), 1, 1);
    launch_add(l, &k);
}

static void pad_host(const node *n, const f64 *const *in, f64 *y)
{
    const struct slice_args *p = n->args;
    memset(y, 0, (size_t)node_count(n) * sizeof *y);
    move_host(n->in[0], in[0], n, y, p->axis, 0, n->in[0]->shape.d[p->axis], p->from);
}

static void pad_vjp(node *n, node *g, node *dx[])
{
    const struct slice_args *p = n->args;
    dx[0] = op_slice(g, p->axis, p->from, n->in[0]->shape.d[p->axis]);
}

const op pad_op = { "pad", .args = sizeof(struct slice_args), .shape = pad_shape, .emit = pad_emit,
                    .vjp = pad_vjp, .host = pad_host };

node *op_pad(node *x, int axis, i64 from, i64 total)
{
    return node_new(&pad_op, (&(struct slice_args){ axis_of(x, axis), from, total }), x);
}

/* ---- concat -------------------------------------------------------------------------------------------- */

struct axis_args { int axis; };

static const char *concat_shape(const node *n, struct shape *out)
{
    int axis = ((const struct axis_args *)n->args)->axis;
    struct shape a = n->in[0]->shape, b = n->in[1]->shape;
    if (axis < 0 || axis >= a.nd || a.nd != b.nd)
        return "no such axis";
    i64 both = a.d[axis] + b.d[axis];
    a.d[axis] = b.d[axis] = both;
    *out = a;
    return shape_equal(a, b) ? NULL : "the other axes differ";
}

/* Operands that were computed in place (plan.c) are there already. */
static void concat_emit(const node *n, launches *l)
{
    int axis = ((const struct axis_args *)n->args)->axis;
    i64 at = 0;
    for (int i = 0; i < 2; i++) {
        const node *x = n->in[i];
        i64 extent = x->shape.d[axis];
        if (x->plan.root != n)
            emit_block(n, l, x, outer_size(n, axis), extent, inner_size(n, axis), extent, 0,
                       n->shape.d[axis], at);
        at += extent;
    }
}

static void concat_host(const node *n, const f64 *const *in, f64 *y)
{
    int axis = ((const struct axis_args *)n->args)->axis;
    i64 first = n->in[0]->shape.d[axis];
    move_host(n->in[0], in[0], n, y, axis, 0, first, 0);
    move_host(n->in[1], in[1], n, y, axis, 0, n->in[1]->shape.d[axis], first);
}

static void concat_vjp(node *n, node *g, node *dx[])
{
    int axis = ((const struct axis_args *)n->args)->axis;
    i64 first = n->in[0]->shape.d[axis];
    dx[0] = op_slice(g, axis, 0, first);
    dx[1] = op_slice(g, axis, first, n->in[1]->shape.d[axis]);
}

static const char *concat_onnx(const node *n, struct onnx *o)
{
    const char *y = onnx_apply(o, "Concat", onnx_in(o, n, 0), onnx_in(o, n, 1));
    onnx_int(o, "axis", ((const struct axis_args *)n->args)->axis);
    return y;
}

/* Along the outermost axis the operands follow one another: the planner may have them computed there. */
const op concat_op = { "concat", .args = sizeof(struct axis_args), .shape = concat_shape, .emit = concat_emit,
                       .vjp = concat_vjp, .host = concat_host, .onnx = concat_onnx };
const op concat_outer_op = { "concat_outer", .args = sizeof(struct axis_args), .flags = OP_CONCAT,
                             .shape = concat_shape, .emit = concat_emit, .vjp = concat_vjp, .host = concat_host,
                             .onnx = concat_onnx };

node *op_concat(node *a, node *b, int axis)
{
    axis = axis_of(a, axis);
    bool outer = axis >= 0 && axis < a->shape.nd && outer_size(a, axis) == 1;
    return node_new(outer ? &concat_outer_op : &concat_op, (&(struct axis_args){ axis }), a, b);
}

bool op_become_concat(node *at, node *a, node *b)
{
    const struct slice_args *pa = a->args, *pb = b->args;
    if (pa->from > pb->from)
        return op_become_concat(at, b, a);
    i64 first = node_count(a->in[0]), all = first + node_count(b->in[0]);
    if (pa->extent != pb->extent || pa->from || pb->from != first || all != pa->extent)
        return false;
    node *both[2] = { a->in[0], b->in[0] };
    at->op = &concat_outer_op;
    at->args = memset(arena_bytes(at->g->a, sizeof(struct axis_args), 16), 0, sizeof(struct axis_args));
    memcpy(at->in, both, sizeof both);
    at->n_in = 2;
    return true;
}

void op_become_view(node *n, node *x)
{
    struct view_args v = { 0, n->shape };
    n->op = &view_op;
    n->args = memcpy(arena_bytes(n->g->a, sizeof v, 16), &v, sizeof v);
    n->in[0] = x;
    n->n_in = 1;
}
