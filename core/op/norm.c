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
#include "op/onnx.h"
#include <math.h>

struct norm_args { f32 eps; bool inside; };

static i64 cols_of(const node *x) { return node_dim(x, -1); }
static i64 norm_rows_count(const node *x) { return node_count(x) / cols_of(x); }

static const char *same_shape(const node *n, struct shape *out)
{
    *out = n->in[0]->shape;
    return out->nd ? NULL : "needs an axis";
}

/* The gradient's rows in blocks whose number depends on the shape only: column sums follow them. */
static i64 block_of(i64 rows, i64 cols) { return MAX(CEIL_DIV(rows, (i64)120), MAX(1, 2048 / cols)); }

static void norm_launch_rows(const node *n, launches *l, const char *kernel, const char *types, i64 rows,
                             i64 cols)
{
    const struct norm_args *a = n->args;
    launch k = { .file = "norm", .kernel = kernel, .label = n->name, .types = types,
                 .bytes = (f64)node_bytes(n) };
    for (int i = 0; i < n->n_in; i++)
        k.bytes += (f64)node_bytes(n->in[i]);
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
    bool affine = n->n_in > 1;
    norm_launch_rows(n, l, affine ? "layernorm_affine" : "layernorm", affine ? "x--y" : "xy",
                     norm_rows_count(n), cols_of(n));
}

/* Mean of a row, and 1 / sqrt(var + eps). */
static f64 layernorm_statistics(const f64 *x, i64 cols, f64 eps, f64 *mean)
{
    f64 square = 0;
    *mean = 0;
    for (i64 j = 0; j < cols; j++)
        *mean += x[j] / (f64)cols;
    for (i64 j = 0; j < cols; j++)
        square += (x[j] - *mean) * (x[j] - *mean);
    return 1 / sqrt(square / (f64)cols + eps);
}

static void layernorm_host(const node *n, const f64 *const *in, f64 *y)
{
    i64 cols = cols_of(n);
    f64 mean, scale = 0;
    for (i64 i = 0; i < node_count(n); i++) {
        if (i % cols == 0)
            scale = layernorm_statistics(in[0] + i, cols, (f64)((const struct norm_args *)n->args)->eps, &mean);
        y[i] = (in[0][i] - mean) * scale;
        if (n->n_in > 1)
            y[i] = y[i] * in[1][i % cols] + in[2][i % cols];
    }
}

/* Of dy, x, w the gradient is dx; fuse/ may put what else flows into x before them, and dx is added to
 * that, in its place: the plan writes over the first operand that no later node reads. Beside it, since both
 * need the row's statistics, sums over each block of rows for dw and db:
 *
 *     partials    dw's (blocks cols), up to a multiple of 1024, then db's
 */
struct grad_args { f32 eps; node *partials, *sums[2]; /* of w and b, where the kernel itself adds them */ };

static i64 norm_blocks(i64 rows, i64 cols) { return CEIL_DIV(rows, block_of(rows, cols)); }
static i64 apart_of(i64 rows, i64 cols)  { return ROUND_UP(norm_blocks(rows, cols) * cols, (i64)1024); }

static const char *partials_shape(const node *n, struct shape *out)
{
    *out = SHAPE(2, apart_of(norm_rows_count(n->in[0]), cols_of(n->in[0])));
    return NULL;
}

static void norm_grad_emit(const node *n, launches *l)
{
    const struct grad_args *a = n->args;
    bool adds = n->n_in > 3;
    const node *g = n->in[adds], *x = n->in[adds + 1], *w = n->in[adds + 2];
    i64 rows = norm_rows_count(x), cols = cols_of(x);
    arg more = ARG_RANGE(RANGE_NONE);
    if (adds)
        more = (arg)ARG_NODE(n->in[0]);
    range partials = a->partials ? a->partials->home : RANGE_NONE;
    launch k = { .file = "norm", .kernel = "layernorm_grad", .label = n->name, .types = "xbgmy",
                 .bytes = (f64)node_bytes(n->in[0]) * n->n_in,
                 .args = { ARG_NODE(x), ARG_NODE(w), ARG_NODE(g), more, ARG_NODE(n), ARG_RANGE(partials),
                           ARG_LONG(rows), ARG_LONG(cols), ARG_LONG(block_of(rows, cols)),
                           ARG_LONG(apart_of(rows, cols)), ARG_REAL(a->eps) } };
    dev *d = launches_dev(l);
    int c = 0;
    while (k.args[c].kind != ARG_END)
        c++;
    if (dev_class(d) == DEV_GPU && dev_has_override(d, "norm")) {
        for (int i = 0; i < 2; i++)
            k.args[c++] = (arg)ARG_RANGE(a->sums[i] ? a->sums[i]->home : RANGE_NONE);
        k.args[c] = (arg)ARG_RANGE(a->sums[0] ? dev_counters(d) : RANGE_NONE);
    }
    grid_groups(l, &k, norm_blocks(rows, cols), 1, 1);
    launch_add(l, &k);
}

/* With h = (x - mean) scale and d = g w: dx = scale (d - mean(d) - h mean(d h)), onto what is before it. */
static void layernorm_grad_host(const node *n, const f64 *const *in, f64 *dx)
{
    bool adds = n->n_in > 3;
    const f64 *g = in[adds], *x = in[adds + 1], *w = in[adds + 2];
    i64 cols = cols_of(n);
    for (i64 at = 0; at < node_count(n); at += cols) {
        f64 mean, scale = layernorm_statistics(x + at, cols, (f64)((const struct grad_args *)n->args)->eps,
                                               &mean);
        f64 sum = 0, along = 0;
        for (i64 j = 0; j < cols; j++) {
            sum += g[at + j] * w[j] / (f64)cols;
            along += g[at + j] * w[j] * (x[at + j] - mean) * scale / (f64)cols;
        }
        for (i64 j = 0; j < cols; j++)
            dx[at + j] = scale * (g[at + j] * w[j] - sum - (x[at + j] - mean) * scale * along)
                         + (adds ? in[0][at + j] : 0);
    }
}

/* Sums of g h for w and of g for b, over rows [from, to); h as above. */
static void layernorm_host_sums(const node *n, const f64 *const *in, f64 *dw, f64 *db, i64 from, i64 to)
{
    const f64 *g = in[n->n_in > 3], *x = in[(n->n_in > 3) + 1];
    i64 cols = cols_of(n);
    for (i64 j = 0; j < cols; j++)
        dw[j] = db[j] = 0;
    for (i64 i = from; i < to; i++) {
        f64 mean, scale = layernorm_statistics(x + i * cols, cols,
                                               (f64)((const struct grad_args *)n->args)->eps, &mean);
        for (i64 j = 0; j < cols; j++) {
            dw[j] += g[i * cols + j] * (x[i * cols + j] - mean) * scale;
            db[j] += g[i * cols + j];
        }
    }
}

/* The partials of each block of rows, or the sum for w or for b. */
static void layernorm_grad_host_side(const node *n, const node *side, const f64 *const *in, f64 *y)
{
    const struct grad_args *a = n->args;
    i64 cols = cols_of(n), rows = norm_rows_count(n), block = block_of(rows, cols);
    for (i64 p = 0; p < norm_blocks(rows, cols) && side == a->partials; p++)
        layernorm_host_sums(n, in, y + p * cols, y + apart_of(rows, cols) + p * cols, p * block,
                            MIN(rows, (p + 1) * block));
    if (side == a->partials)
        return;
    f64 *other = arena_array(n->g->a, f64, cols);
    bool of_w = side == a->sums[0];
    layernorm_host_sums(n, in, of_w ? y : other, of_w ? other : y, 0, rows);
}

static const char *norm_sum_shape(const node *n, struct shape *out)
{
    *out = SHAPE(cols_of(n->in[0]));
    return NULL;
}

/* layernorm_grad writes them. */
static const op layernorm_sum_op = { "layernorm_sum", .shape = norm_sum_shape };
static const op layernorm_partials_op = { "layernorm_partials", .shape = partials_shape };
const op layernorm_grad_op = { "layernorm_grad", .args = sizeof(struct grad_args), .flags = OP_INPLACE,
                               .shape = same_shape, .emit = norm_grad_emit, .host = layernorm_grad_host,
                               .host_side = layernorm_grad_host_side };

/* As many ones as a row has values. */
static node *norm_ones(node *x) { return op_offset(op_scale(op_view(x, 0, SHAPE(cols_of(x))), 0), 1); }

static void layernorm_vjp(node *n, node *g, node *dx[])
{
    const struct norm_args *a = n->args;
    node *x = n->in[0], *w = n->n_in > 1 ? n->in[1] : norm_ones(x);
    i64 rows = norm_rows_count(x), cols = cols_of(x);
    dx[0] = node_new(&layernorm_grad_op, (&(struct grad_args){ .eps = a->eps }), g, x, w);
    if (n->n_in == 1)
        return;
    node *partials = node_new(&layernorm_partials_op, NULL, x);
    partials->maker = dx[0];
    ((struct grad_args *)dx[0]->args)->partials = partials;
    const dev *d = x->g->d;
    bool joins = d && dev_class(d) == DEV_GPU && dev_has_override(d, "norm") && dev_info(d)->joins;
    for (int i = 0; i < 2 && joins; i++) {
        node *sum = node_new(&layernorm_sum_op, NULL, x, partials);       // partials: so that it has memory
        sum->maker = dx[0];
        ((struct grad_args *)dx[0]->args)->sums[i] = sum;
        dx[1 + i] = op_reshape(sum, n->in[1 + i]->shape);
    }
    for (int i = 0; i < 2 && !joins; i++) {
        node *partial = op_view(partials, i * apart_of(rows, cols), SHAPE(norm_blocks(rows, cols), cols));
        dx[1 + i] = op_sum_to(partial, n->in[1 + i]->shape);
    }
}

static const char *layernorm_onnx(const node *n, struct onnx *o)
{
    i64 d = node_dim(n, -1);
    f32 *ones = arena_array(o->a, f32, d);
    for (i64 i = 0; i < d; i++)
        ones[i] = 1;
    const char *w = n->n_in > 1 ? onnx_in(o, n, 1) : onnx_half(o, onnx_values(o, SHAPE(d), ones));
    const char *y = n->n_in > 2 ? onnx_apply(o, "LayerNormalization", onnx_in(o, n, 0), w, onnx_in(o, n, 2))
                                : onnx_apply(o, "LayerNormalization", onnx_in(o, n, 0), w);
    onnx_int(o, "axis", -1);
    onnx_real(o, "epsilon", ((const struct norm_args *)n->args)->eps);
    return y;
}

const op layernorm_op = { "layernorm", .args = sizeof(struct norm_args), .flags = OP_INPLACE,
                          .shape = layernorm_shape, .emit = layernorm_emit, .vjp = layernorm_vjp,
                          .host = layernorm_host, .onnx = layernorm_onnx };

node *op_layernorm(node *x, node *w, node *b, f32 eps)
{
    struct norm_args a = { .eps = eps };
    return w ? node_new(&layernorm_op, &a, x, w, b) : node_new(&layernorm_op, &a, x);
}

/* ---- l2norm -------------------------------------------------------------------------------------------- */

static bool norm_inside(const node *n) { return ((const struct norm_args *)n->args)->inside; }

static void l2norm_emit(const node *n, launches *l)
{
    norm_launch_rows(n, l, norm_inside(n) ? "l2norm_inside" : "l2norm", "xy", norm_rows_count(n), cols_of(n));
}

static void l2norm_grad_emit(const node *n, launches *l)
{
    norm_launch_rows(n, l, norm_inside(n) ? "l2norm_inside_grad" : "l2norm_grad", "xgy", norm_rows_count(n),
                     cols_of(n));
}

/* |x| of a row and what x is divided by. */
static f64 l2norm_length(const node *n, const f64 *x, f64 *length)
{
    f64 square = 0, eps = (f64)((const struct norm_args *)n->args)->eps;
    for (i64 j = 0; j < cols_of(n); j++)
        square += x[j] * x[j];
    *length = sqrt(norm_inside(n) ? square + eps : square);
    return norm_inside(n) ? *length : *length + eps;
}

static void l2norm_host(const node *n, const f64 *const *in, f64 *y)
{
    f64 length, by = 1;
    for (i64 i = 0; i < node_count(n); i++) {
        by = i % cols_of(n) ? by : l2norm_length(n, in[0] + i, &length);
        y[i] = in[0][i] / by;
    }
}

/* dx = g / by - x (x.g) / (by^2 |x|), |x| with eps under its root where `inside` */
static void l2norm_grad_host(const node *n, const f64 *const *in, f64 *dx)
{
    i64 cols = cols_of(n);
    for (i64 at = 0; at < node_count(n); at += cols) {
        f64 length, by = l2norm_length(n, in[0] + at, &length), along = 0;
        for (i64 j = at; j < at + cols; j++)
            along += in[0][j] * in[1][j];
        for (i64 j = at; j < at + cols; j++)
            dx[j] = in[1][j] / by - (length > 0 ? in[0][j] * along / (by * by * length) : 0);
    }
}

static const op l2norm_grad_op = { "l2norm_grad", .args = sizeof(struct norm_args), .flags = OP_INPLACE,
                                   .shape = same_shape, .emit = l2norm_grad_emit, .host = l2norm_grad_host };

static void l2norm_vjp(node *n, node *g, node *dx[])
{
    dx[0] = node_new(&l2norm_grad_op, n->args, n->in[0], g);
}

static const char *l2norm_onnx(const node *n, struct onnx *o)
{
    const char *x = onnx_wide(o, onnx_in(o, n, 0));
    const char *eps = onnx_number(o, ((const struct norm_args *)n->args)->eps);
    const char *sum = onnx_apply(o, "ReduceSum", onnx_apply(o, "Mul", x, x), onnx_integers(o, -1));
    sum = norm_inside(n) ? onnx_apply(o, "Sqrt", onnx_apply(o, "Add", sum, eps))
                    : onnx_apply(o, "Add", onnx_apply(o, "Sqrt", sum), eps);
    return onnx_half(o, onnx_apply(o, "Div", x, sum));
}

const op l2norm_op = { "l2norm", .args = sizeof(struct norm_args), .flags = OP_INPLACE, .shape = same_shape,
                       .emit = l2norm_emit, .vjp = l2norm_vjp, .host = l2norm_host, .onnx = l2norm_onnx };

node *op_l2norm(node *x, f32 eps, bool inside)
{
    return node_new(&l2norm_op, (&(struct norm_args){ eps, inside }), x);
}
