/* permute.c: axes in another order: rows that stay together are copied, the others go through squares that
 * are transposed in registers (cl/move.cl). A permutation that only products read becomes a strided view. */
#include "op/op.h"
#include "op/grid.h"
#include "op/move.h"
#include "op/onnx.h"

struct permute_args { int order[MAX_DIM]; };

static const char *permute_shape(const node *n, struct shape *out)
{
    const struct permute_args *p = n->args;
    u32 seen = 0;
    *out = n->in[0]->shape;
    for (int i = 0; i < out->nd; i++) {
        if (p->order[i] < 0 || p->order[i] >= out->nd || seen >> p->order[i] & 1)
            return "not a permutation";
        seen |= 1u << p->order[i];
        out->d[i] = n->in[0]->shape.d[p->order[i]];
    }
    return NULL;
}

struct strided { int n; i64 extent[MAX_DIM], stride[MAX_DIM]; };

/* Axes of the result with their strides in the source; neighbours that lie side by side in both are one. */
static struct strided strides_of(const node *n)
{
    const struct permute_args *p = n->args;
    const struct shape *s = &n->in[0]->shape;
    struct strided r = { 0 };
    for (int i = 0; i < s->nd; i++) {
        i64 extent = n->shape.d[i], stride = 1;
        for (int k = p->order[i] + 1; k < s->nd; k++)
            stride *= s->d[k];
        if (extent == 1)
            continue;
        if (r.n && r.stride[r.n - 1] == stride * extent) {
            r.extent[r.n - 1] *= extent;
            r.stride[r.n - 1] = stride;
        } else {
            r.extent[r.n] = extent;
            r.stride[r.n++] = stride;
        }
    }
    return r;
}

/* Rows that lie together on both sides. e, s: the axes in front, aligned at the last. */
static void emit_rows(const node *n, launches *l, struct strided x)
{
    i64 e[MAX_DIM], st[MAX_DIM];
    for (int i = 0; i < MAX_DIM; i++) {
        int k = i - (MAX_DIM - x.n);
        e[i] = k < 0 ? 1 : x.extent[k];
        st[i] = k < 0 ? 0 : x.stride[k];
    }
    i64 rows = node_count(n) / e[5];
    struct share s = move_share(l, rows, e[5]);
    launch k = { .file = "move", .kernel = "permute_rows", .label = n->name, .types = "xy",
                 .bytes = 2 * (f64)node_bytes(n),
                 .args = { ARG_NODE(n->in[0]), ARG_NODE(n), ARG_LONG(rows), ARG_LONG(s.rows),
                           ARG_LONG(e[5]), ARG_LONG4(e[1], e[2], e[3], e[4]),
                           ARG_LONG(st[0]), ARG_LONG4(st[1], st[2], st[3], st[4]) } };
    grid_groups(l, &k, CEIL_DIV(rows, s.rows), 1, 1);
    launch_add(l, &k);
}

/* The last axis is v; u is the one that lies together in the source. */
static void emit_transposed(const node *n, launches *l, struct strided x)
{
    i64 e[4] = { 1, 1, 1, 1 }, from[4] = { 0 }, to[4] = { 0 }, inner = 1, du = 0, nu = 1, batches = 1;
    for (int i = x.n - 1, k = 3; i >= 0; inner *= x.extent[i--])
        if (x.stride[i] == 1) {
            du = inner;
            nu = x.extent[i];
        } else if (i < x.n - 1) {
            batches *= e[k] = x.extent[i];
            from[k] = x.stride[i];
            to[k--] = inner;
        }
    i64 nv = x.extent[x.n - 1], share = dev_tune(launches_dev(l), "move", "SHARE");
    i64 block = ROUND_UP(MIN(nu, MAX(1, share / nv)), (i64)32), blocks = CEIL_DIV(nu, block);
    launch k = { .file = "move", .kernel = "permute_transpose", .label = n->name, .types = "xy",
                 .bytes = 2 * (f64)node_bytes(n),
                 .args = { ARG_NODE(n->in[0]), ARG_NODE(n),
                           ARG_LONG4(nu, nv, du, x.stride[x.n - 1]),
                           ARG_LONG4(e[0], e[1], e[2], e[3]), ARG_LONG4(from[0], from[1], from[2], from[3]),
                           ARG_LONG4(to[0], to[1], to[2], to[3]), ARG_LONG(blocks), ARG_LONG(block) } };
    grid_groups(l, &k, blocks * batches, 1, 1);
    launch_add(l, &k);
}

static void permute_emit(const node *n, launches *l)
{
    struct strided x = strides_of(n);
    (x.n < 2 || x.stride[x.n - 1] == 1 ? emit_rows : emit_transposed)(n, l, x);
}

static void permute_host(const node *n, const f64 *const *in, f64 *y)
{
    const struct permute_args *p = n->args;
    const struct shape *s = &n->in[0]->shape;
    i64 stride[MAX_DIM];
    for (int i = s->nd; i-- > 0;)
        stride[i] = i == s->nd - 1 ? 1 : stride[i + 1] * s->d[i + 1];
    for (i64 at = 0; at < node_count(n); at++) {
        i64 rest = at, from = 0;
        for (int i = s->nd; i-- > 0; rest /= n->shape.d[i])
            from += rest % n->shape.d[i] * stride[p->order[i]];
        y[at] = in[0][from];
    }
}

static const char *strided_shape(const node *n, struct shape *out)
{
    *out = n->shape;
    return NULL;
}

static const op strided_op = { "strided", .args = sizeof(struct strided_view), .flags = OP_ALIAS,
                               .shape = strided_shape };

const struct strided_view *op_strided(const node *n) { return n->op == &strided_op ? n->args : NULL; }

bool op_become_strided(node *n, const node *permute, i64 offset)
{
    if (permute->op != &permute_op)
        return false;
    struct strided s = strides_of(permute);
    i64 rows = node_dim(n, -2), cols = node_dim(n, -1);
    bool even = s.n == 3 && s.stride[2] == 1 && s.extent[2] == cols && s.extent[1] == rows
                && !(offset % (rows * cols));
    if (!even)
        return false;
    struct strided_view v = { offset / (rows * cols) * s.stride[0], s.stride[1], s.stride[0] };
    n->op = &strided_op;
    n->args = memcpy(arena_bytes(n->g->a, sizeof v, 16), &v, sizeof v);
    n->in[0] = permute->in[0];
    return true;
}

static void permute_vjp(node *n, node *g, node *dx[])
{
    const struct permute_args *p = n->args;
    int back[MAX_DIM] = { 0 };
    for (int i = 0; i < n->shape.nd; i++)
        back[p->order[i]] = i;
    dx[0] = op_permute(g, back);
}

static const char *permute_onnx(const node *n, struct onnx *o)
{
    const struct permute_args *p = n->args;
    i64 order[MAX_DIM];
    for (int i = 0; i < n->shape.nd; i++)
        order[i] = p->order[i];
    const char *y = onnx_apply(o, "Transpose", onnx_in(o, n, 0));
    onnx_ints(o, "perm", n->shape.nd, order);
    return y;
}

const op permute_op = { "permute", .args = sizeof(struct permute_args), .shape = permute_shape,
                        .emit = permute_emit, .vjp = permute_vjp,
                        .host = permute_host, .onnx = permute_onnx };

node *op_permute(node *x, const int *order)
{
    struct permute_args p = { { 0 } };
    for (int i = 0; i < x->shape.nd; i++)
        p.order[i] = order[i];
    return node_new(&permute_op, &p, x);
}
