/* attention.c: softmax(q k^T / sqrt(d)) v for every head of packed qkv (b n 3*h*d).
 *
 * Where the device's class has kernels for it (cl/cpu, cl/gpu) it is one op, which never writes the (n n)
 * matrix to memory and keeps log sum exp of each row for the backward op; elsewhere it is composed of
 * products and a softmax.
 */
#include "op/attention.h"
#include "op/onnx.h"
#include "op/product.h"
#include <math.h>

struct attention_sizes attention_sizes(const node *n)
{
    i64 h = ((const struct attention_args *)n->args)->heads;
    const node *qkv = n->in[0];
    return (struct attention_sizes){ node_dim(qkv, 0), node_dim(qkv, 1), h, node_dim(qkv, 2) / (3 * h) };
}

/* ---- cpu: each group has a slab of work memory and takes heads ----------------------------------------- */

struct slabs { i64 groups, block, floats; char defs[32]; };

static i64 attention_padded(i64 n, struct product_tile t) { return ROUND_UP(n, 16 * (i64)t.vectors); }

void attention_key(const node *n, char key[64])
{
    struct attention_sizes s = attention_sizes(n);
    enum dtype type = n->in[0]->type;
    snprintf(key, 64, "%lldx%lldx%lldx%lld%s%s", (long long)s.b, (long long)s.h, (long long)s.n, (long long)s.d,
             dtype_half(type) ? "." : "", dtype_half(type) ? dtype_name(type) : "");
}

int attention_heads(const node *n) { return ((const struct attention_args *)n->args)->heads; }

/* The layout is cl/cpu/attention.cl's. */
static struct slabs attention_slabs(const node *n, bool grad)
{
    const dev *dev = n->g->d;
    struct attention_sizes s = attention_sizes(n);
    struct product_tile t = product_tile(dev_info(dev));
    i64 wide = attention_padded(s.n, t), deep = attention_padded(s.d, t), heads = s.b * s.h;
    struct slabs r = { .block = t.rows, .groups = MIN(heads, (i64)dev_info(dev)->compute_units) };
    char key[64];
    attention_key(n, key);
    if (grad) {                                  // P and dS of a block: a quarter of the second cache
        i64 tuned = dev_tune_for(dev, "attention", key, "BLOCK");
        i64 block = tuned ? tuned : (i64)(dev_info(dev)->cache[1] / 8 / dtype_bytes(F32));
        i64 rows = MAX(block / wide / t.rows, 1) * t.rows;
        i64 blocks = dtype_half(n->in[0]->type) ? 1 : CEIL_DIV(s.n, rows);
        r.block = ROUND_UP(CEIL_DIV(s.n, blocks), t.rows);
        r.floats = 2 * s.d * wide + s.n * deep + 2 * r.block * (deep + wide);
    } else {
        r.floats = s.d * wide + s.n * deep + t.rows * wide;
    }
    if (dtype_half(n->in[0]->type))
        r.floats += 2 * t.rows * deep;           // rows of q and of dout as floats
    snprintf(r.defs, sizeof r.defs, "-DMR=%d -DNV=%d", t.rows, t.vectors);
    return r;
}

static f64 attention_flops(struct attention_sizes s, int products)
{
    return 2.0 * products * (f64)(s.b * s.h) * (f64)(s.n * s.n) * (f64)s.d;
}

#define SIZES(l, s, t) \
    ARG_INT((s).n), ARG_INT((s).h), ARG_INT((s).d), ARG_INT((s).b * (s).h), \
    ARG_RANGE(dev_tickets(launches_dev(l))), ARG_LONG((t).floats), ARG_REAL(1 / sqrt((f64)(s).d))

static void attention_emit_cpu(const node *n, launches *l)
{
    const struct attention_args *a = n->args;
    struct attention_sizes s = attention_sizes(n);
    struct slabs t = attention_slabs(n, false);
    launch_add(l, &(launch){ .file = "attention", .kernel = "attention", .label = n->name, .defs = t.defs,
                             .types = "xy",
                             .global = { (u64)t.groups }, .local = { 1 }, .flops = attention_flops(s, 2),
                             .bytes = 4 * (f64)node_bytes(n),
                             .args = { ARG_NODE(n->in[0]), ARG_NODE(n),
                                       ARG_RANGE(a->log_sum ? a->log_sum->home : RANGE_NONE),
                                       ARG_RANGE(n->work), SIZES(l, s, t) } });
}

static void attention_grad_emit_cpu(const node *n, launches *l)
{
    struct attention_sizes s = attention_sizes(n);
    struct slabs t = attention_slabs(n, true);
    launch_add(l, &(launch){ .file = "attention", .kernel = "attention_grad", .label = n->name,
                             .defs = t.defs, .types = "x--y",
                             .global = { (u64)t.groups }, .local = { 1 }, .flops = attention_flops(s, 5),
                             .bytes = 7.0 / 3 * (f64)node_bytes(n),
                             .args = { ARG_NODE(n->in[0]), ARG_RANGE(n->in[2]->home),
                                       ARG_NODE(n->in[3]), ARG_NODE(n),
                                       ARG_RANGE(n->work), SIZES(l, s, t), ARG_INT(t.block) } });
}

/* ---- gpu: a group has some rows of one head in local memory, and walks the others ---------------------- */

enum { KEYS = 32 };                               // of a block, as in cl/gpu/attention.cl

static u64 attention_room(i64 channels, i64 rows)
{
    i64 wide = MAX(ROUND_UP(channels, (i64)32), rows);
    return dtype_bytes(F32) * (u64)(channels * rows + 2 * KEYS * wide);
}

/* Rows of a group of twice as many items: at most `most`, 64 or 32; 0: neither fits this device. */
static i64 attention_block_rows(const dev *d, i64 channels, i64 most)
{
    const struct dev_info *i = dev_info(d);
    for (i64 rows = most; rows >= 32; rows /= 2)
        if (2 * rows <= i->max_group && attention_room(channels, rows) <= i->local_mem)
            return rows;
    return 0;
}

/* How the rows of a head are cut into groups of items[0] x items[1]; file: of kernels; defs: their variant. */
struct rows_cut { const char *file; i64 rows; u64 items[2], local; char defs[128]; };

static struct rows_cut attention_cut_plain(const node *n)
{
    struct attention_sizes s = attention_sizes(n);
    const struct dev_info *i = dev_info(n->g->d);
    char key[64];
    attention_key(n, key);
    i64 rows = attention_block_rows(n->g->d, s.d, dev_tune_for(n->g->d, "attention", key, "ROWS"));
    struct rows_cut t = { "attention", rows, { 8, (u64)rows / 4 }, attention_room(s.d, rows) };
    snprintf(t.defs, sizeof t.defs, "-DD=%d -DROWS=%d%s%s%s", (int)s.d, (int)rows, i->cpu_kind ? " -DUNROLL=1"
             : "", *i->many_registers ? " " : "", i->many_registers);
    return t;
}

/* ---- gpu, on a matrix engine: cl/gpu/attention_matrix.cl, which says what lies in local memory ---------- */

enum { MATRIX_ROWS = 64, MATRIX_ITEMS = 256 };

static u64 attention_matrix_room(const dev *d, i64 channels, bool grad)
{
    i64 wide = ROUND_UP(channels, (i64)32), along = KEYS / 2 + 4;
    i64 lines = (MATRIX_ROWS + KEYS) * (wide / 2 + 4), keys = (wide + MATRIX_ROWS) * along;
    i64 words = grad ? 2 * lines + keys + MATRIX_ITEMS + 2 * MATRIX_ROWS
                     : lines + keys + MATRIX_ROWS * (KEYS + 4) + MATRIX_ITEMS + MATRIX_ROWS;
    i64 scratch = dev_info(d)->emulated ? MATRIX_ITEMS * dev_matrix(d)->words : 0;
    return sizeof(u32) * (u64)(words + scratch);
}

static bool attention_on_matrix(const node *n)
{
    const dev *d = n->g->d;
    return dtype_half(n->in[0]->type) && dev_matrix(d) && dev_has_override(d, "attention_matrix") &&
           dev_info(d)->max_group >= MATRIX_ITEMS &&
           attention_matrix_room(d, attention_sizes(n).d, true) <= dev_info(d)->local_mem;
}

static struct rows_cut attention_cut_matrix(const node *n, bool grad)
{
    struct attention_sizes s = attention_sizes(n);
    const struct dev_info *i = dev_info(n->g->d);
    struct rows_cut t = { "attention_matrix", MATRIX_ROWS, { MATRIX_ITEMS, 1 },
                       attention_matrix_room(n->g->d, s.d, grad) };
    char engine[64];
    dev_matrix_defs(n->g->d, NULL, engine);
    snprintf(t.defs, sizeof t.defs, "%s -DD=%d%s%s%s", engine, (int)s.d, i->cpu_kind ? " -DUNROLL=1" : "",
             *i->many_registers ? " " : "", i->many_registers);
    return t;
}

static void attention_add_blocks(const node *n, launches *l, const char *kernel, int products,
                                 const char *types, const arg *args, int n_args)
{
    struct attention_sizes s = attention_sizes(n);
    struct rows_cut t =
        attention_on_matrix(n) ? attention_cut_matrix(n, products > 2) : attention_cut_plain(n);
    launch k = { .file = t.file, .kernel = kernel, .label = n->name, .defs = t.defs, .types = types,
                 .flops = attention_flops(s, products), .local = { t.items[0], t.items[1] },
                 .global = { t.items[0] * (u64)CEIL_DIV(s.n, t.rows), t.items[1] * (u64)(s.b * s.h) } };
    memcpy(k.args, args, (size_t)n_args * sizeof *args);
    k.args[n_args] = (arg)ARG_INT(s.n);
    k.args[n_args + 1] = (arg)ARG_INT(s.h);
    k.args[n_args + 2] = (arg)ARG_REAL(1 / sqrt((f64)s.d));
    k.args[n_args + 3] = (arg)ARG_LOCAL(t.local);
    launch_add(l, &k);
}

static void attention_emit_gpu(const node *n, launches *l)
{
    const struct attention_args *a = n->args;
    arg args[] = { ARG_NODE(n->in[0]), ARG_NODE(n), ARG_RANGE(a->log_sum ? a->log_sum->home : RANGE_NONE) };
    attention_add_blocks(n, l, "attention", 2, "xy", args, countof(args));
}

/* in: qkv, out, log sums, dout */
static void attention_grad_emit_gpu(const node *n, launches *l)
{
    arg q[] = { ARG_NODE(n->in[0]), ARG_NODE(n->in[1]), ARG_NODE(n->in[2]), ARG_NODE(n->in[3]), ARG_NODE(n),
                ARG_RANGE(n->work) };
    arg kv[] = { ARG_NODE(n->in[0]), ARG_NODE(n->in[2]), ARG_NODE(n->in[3]), ARG_NODE(n), ARG_RANGE(n->work) };
    attention_add_blocks(n, l, "attention_dq", 3, "x---y", q, countof(q));
    attention_add_blocks(n, l, "attention_dkv", 4, "x--y", kv, countof(kv));
}

/* ---- the ops ------------------------------------------------------------------------------------------- */

bool attention_on_gpu(const node *n) { return dev_class(n->g->d) == DEV_GPU; }

static u64 attention_slab_bytes(const node *n, bool grad)
{
    struct slabs t = attention_slabs(n, grad);
    return dtype_bytes(F32) * (u64)(t.groups * t.floats);
}

static u64 attention_scratch(const node *n)
{
    return !n->g->d || attention_on_gpu(n) ? 0 : attention_slab_bytes(n, false);
}

static u64 attention_grad_scratch(const node *n)
{
    struct attention_sizes s = attention_sizes(n);
    if (!n->g->d)
        return 0;
    return attention_on_gpu(n) ? dtype_bytes(F32) * (u64)(s.b * s.h * s.n) : attention_slab_bytes(n, true);
}

static void attention_emit(const node *n, launches *l)
{
    (attention_on_gpu(n) ? attention_emit_gpu : attention_emit_cpu)(n, l);
}

static void attention_grad_emit(const node *n, launches *l)
{
    (attention_on_gpu(n) ? attention_grad_emit_gpu : attention_grad_emit_cpu)(n, l);
}

static const char *attention_shape(const node *n, struct shape *out)
{
    struct attention_sizes s = attention_sizes(n);
    *out = SHAPE(s.b, s.n, s.h * s.d);
    return NULL;
}

static const char *attention_log_sum_shape(const node *n, struct shape *out)
{
    struct attention_sizes s = attention_sizes(n->in[0]);
    *out = SHAPE(s.b, s.h, s.n);
    return NULL;
}

static const char *attention_grad_shape(const node *n, struct shape *out)
{
    *out = n->in[0]->shape;
    return NULL;
}

static f64 attention_macs(const node *n) { return attention_flops(attention_sizes(n), 2) / 2; }

/* ---- descriptors, gradient, builder ------------------------------------------------------------------- */

/* attention_op writes it. */
static const op log_sum_op = { "attention_log_sum", .shape = attention_log_sum_shape };
static const op attention_grad_op = { "attention_grad", .args = sizeof(struct attention_args),
                                      .shape = attention_grad_shape, .emit = attention_grad_emit,
                                      .scratch = attention_grad_scratch, .host = attention_grad_host };

static void attention_vjp(node *n, node *g, node *dx[])
{
    struct attention_args *a = n->args;
    if (!a->log_sum) {
        a->log_sum = node_new(&log_sum_op, NULL, n);
        a->log_sum->maker = n;
    }
    dx[0] = node_new(&attention_grad_op, a, n->in[0], n, a->log_sum, g);
}

static const char *attention_onnx(const node *n, struct onnx *o)
{
    i64 h = attention_heads(n), tokens = node_dim(n, 1), d = node_dim(n, 2) / h;
    const char *split = onnx_apply(o, "Reshape", onnx_in(o, n, 0), onnx_integers(o, -1, tokens, 3, h, d));
    const char *part[3];
    split = onnx_apply(o, "Transpose", split);
    onnx_ints(o, "perm", 5, (i64[]){ 2, 0, 3, 1, 4 });                                          /* 3 b h n d */
    for (int i = 0; i < 3; i++) {
        part[i] = onnx_apply(o, "Gather", split, onnx_index(o, i));
        onnx_int(o, "axis", 0);
    }
    const char *keys = onnx_apply(o, "Transpose", part[1]);
    onnx_ints(o, "perm", 4, (i64[]){ 0, 1, 3, 2 });
    const char *scale = onnx_half(o, onnx_number(o, (f32)(1 / sqrt((f64)d))));
    const char *score = onnx_apply(o, "Mul", onnx_apply(o, "MatMul", part[0], keys), scale);
    score = onnx_apply(o, "Softmax", score);
    onnx_int(o, "axis", -1);
    const char *y = onnx_apply(o, "Transpose", onnx_apply(o, "MatMul", score, part[2]));
    onnx_ints(o, "perm", 4, (i64[]){ 0, 2, 1, 3 });
    return onnx_apply(o, "Reshape", y, onnx_integers(o, -1, tokens, h * d));
}

const op attention_op = { "attention", .args = sizeof(struct attention_args), .shape = attention_shape,
                          .emit = attention_emit, .vjp = attention_vjp, .scratch = attention_scratch,
                          .macs = attention_macs, .host = attention_host, .host_side = attention_host_log_sum,
                          .onnx = attention_onnx };

static node *attention_composed(node *qkv, i64 b, i64 n, i64 heads, i64 d)
{
    node *split = op_transpose(op_reshape(qkv, SHAPE(b, n, 3, heads, d)), 2, 0, 3, 1, 4);      /* 3 b h n d */
    struct shape one = SHAPE(b * heads, n, d);
    i64 part = b * heads * n * d;
    node *q = op_view(split, 0, one), *k = op_view(split, part, one), *v = op_view(split, 2 * part, one);
    node *score = node_keep_f32(op_matmul(q, k, TRANS_B));                                     /* (b h) n n */
    score = op_scale(score, (f32)(1 / sqrt((f64)d)));
    node *out = op_matmul(op_softmax(score, -1), v, 0);                                        /* (b h) n d */
    node *heads_inside = op_transpose(op_reshape(out, SHAPE(b, heads, n, d)), 0, 2, 1, 3);
    return op_reshape(heads_inside, SHAPE(b, n, heads * d));
}

/* Without a device, only shapes and counts matter. */
static bool attention_has_kernels(const dev *dev, i64 channels)
{
    if (!dev || dev_class(dev) == DEV_NULL)
        return true;
    bool cpu = dev_class(dev) == DEV_CPU;
    bool fits = cpu || attention_block_rows(dev, channels, 64);
    return fits && dev_has_override(dev, "attention");
}

node *op_attention(node *qkv, int heads)
{
    i64 b = node_dim(qkv, 0), n = node_dim(qkv, 1), d = node_dim(qkv, 2) / (3 * heads);
    if (qkv->shape.nd != 3 || d * 3 * heads != node_dim(qkv, 2)) {
        graph_complain(qkv->g, "attention: %s is not (b n 3*%d*d)", shape_text(qkv->g->a, qkv->shape), heads);
        return qkv;
    }
    if (!attention_has_kernels(qkv->g->d, d))
        return attention_composed(qkv, b, n, heads, d);
    return node_new(&attention_op, (&(struct attention_args){ .heads = heads }), qkv);
}
