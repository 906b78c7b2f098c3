/* attention.c: softmax(q k^T / sqrt(d)) v for every head of packed qkv (b n 3*h*d).
 *
 * Where the device's class has kernels for it (cl/cpu, cl/gpu) it is one op, which never writes the (n n)
 * matrix to memory and keeps log sum exp of each row for the backward op; elsewhere it is composed of
 * products and a softmax.
 */
#include "op/op.h"
#include "op/host.h"
#include "op/product.h"
#include "op/onnx.h"
#include <math.h>

struct attention_args { int heads; node *log_sum; /* (b h n), where the backward op needs it */ };
struct sizes { i64 b, n, h, d; };

static struct sizes attention_sizes(const node *n)
{
    i64 h = ((const struct attention_args *)n->args)->heads;
    const node *qkv = n->in[0];
    return (struct sizes){ node_dim(qkv, 0), node_dim(qkv, 1), h, node_dim(qkv, 2) / (3 * h) };
}

/* ---- cpu: each group has a slab of work memory and takes heads ----------------------------------------- */

struct slabs { i64 groups, block, floats; char defs[32]; };

static i64 attention_padded(i64 n, struct product_tile t) { return ROUND_UP(n, 16 * (i64)t.vectors); }

static void key_of(struct sizes s, char key[64])
{
    snprintf(key, 64, "%lldx%lldx%lldx%lld", (long long)s.b, (long long)s.h, (long long)s.n, (long long)s.d);
}

int attention_heads(const node *n) { return ((const struct attention_args *)n->args)->heads; }

void attention_key(const node *n, char key[64]) { key_of(attention_sizes(n), key); }

/* The layout is cl/cpu/attention.cl's. */
static struct slabs slabs_of(const node *n, bool grad)
{
    const dev *dev = n->g->d;
    struct sizes s = attention_sizes(n);
    struct product_tile t = product_tile(dev_info(dev));
    i64 wide = attention_padded(s.n, t), deep = attention_padded(s.d, t), heads = s.b * s.h;
    struct slabs r = { .block = t.rows, .groups = MIN(heads, (i64)dev_info(dev)->compute_units) };
    char key[64];
    key_of(s, key);
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

static f64 flops_of(struct sizes s, int products)
{
    return 2.0 * products * (f64)(s.b * s.h) * (f64)(s.n * s.n) * (f64)s.d;
}

#define SIZES(l, s, t) \
    ARG_INT((s).n), ARG_INT((s).h), ARG_INT((s).d), ARG_INT((s).b * (s).h), \
    ARG_RANGE(dev_tickets(launches_dev(l))), ARG_LONG((t).floats), ARG_REAL(1 / sqrt((f64)(s).d))

static void emit_cpu(const node *n, launches *l)
{
    const struct attention_args *a = n->args;
    struct sizes s = attention_sizes(n);
    struct slabs t = slabs_of(n, false);
    launch_add(l, &(launch){ .file = "attention", .kernel = "attention", .label = n->name, .defs = t.defs,
                             .types = "xy",
                             .global = { (u64)t.groups }, .local = { 1 }, .flops = flops_of(s, 2),
                             .bytes = 4 * (f64)node_bytes(n),
                             .args = { ARG_NODE(n->in[0]), ARG_NODE(n),
                                       ARG_RANGE(a->log_sum ? a->log_sum->home : RANGE_NONE),
                                       ARG_RANGE(n->work), SIZES(l, s, t) } });
}

static void grad_emit_cpu(const node *n, launches *l)
{
    struct sizes s = attention_sizes(n);
    struct slabs t = slabs_of(n, true);
    launch_add(l, &(launch){ .file = "attention", .kernel = "attention_grad", .label = n->name,
                             .defs = t.defs, .types = "x--y",
                             .global = { (u64)t.groups }, .local = { 1 }, .flops = flops_of(s, 5),
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
static i64 block_rows(const dev *d, i64 channels, i64 most)
{
    const struct dev_info *i = dev_info(d);
    for (i64 rows = most; rows >= 32; rows /= 2)
        if (2 * rows <= i->max_group && attention_room(channels, rows) <= i->local_mem)
            return rows;
    return 0;
}

/* How the rows of a head are dealt to groups of items[0] x items[1]; file: of kernels; defs: their variant. */
struct dealt { const char *file; i64 rows; u64 items[2], local; char defs[128]; };

static struct dealt dealt_plain(const node *n)
{
    struct sizes s = attention_sizes(n);
    const struct dev_info *i = dev_info(n->g->d);
    char key[64];
    key_of(s, key);
    i64 rows = block_rows(n->g->d, s.d, dev_tune_for(n->g->d, "attention", key, "ROWS"));
    struct dealt t = { "attention", rows, { 8, (u64)rows / 4 }, attention_room(s.d, rows) };
    snprintf(t.defs, sizeof t.defs, "-DD=%d -DROWS=%d%s%s%s", (int)s.d, (int)rows, i->cpu_kind ? " -DUNROLL=1"
             : "", *i->wide ? " " : "", i->wide);
    return t;
}

/* ---- gpu, on a matrix engine: cl/gpu/attention_matrix.cl, which says what lies in local memory ---------- */

enum { MATRIX_ROWS = 64, MATRIX_ITEMS = 256 };

static u64 matrix_room(const dev *d, i64 channels, bool grad)
{
    i64 wide = ROUND_UP(channels, (i64)32), along = KEYS / 2 + 4;
    i64 lines = (MATRIX_ROWS + KEYS) * (wide / 2 + 4), keys = (wide + MATRIX_ROWS) * along;
    i64 words = grad ? 2 * lines + keys + MATRIX_ITEMS + 2 * MATRIX_ROWS
                     : lines + keys + MATRIX_ROWS * (KEYS + 4) + MATRIX_ITEMS + MATRIX_ROWS;
    i64 scratch = dev_info(d)->emulated ? MATRIX_ITEMS * dev_matrix(d)->words : 0;
    return sizeof(u32) * (u64)(words + scratch);
}

static bool on_matrix(const node *n)
{
    const dev *d = n->g->d;
    return dtype_half(n->in[0]->type) && dev_matrix(d) && dev_has_override(d, "attention_matrix") &&
           dev_info(d)->max_group >= MATRIX_ITEMS &&
           matrix_room(d, attention_sizes(n).d, true) <= dev_info(d)->local_mem;
}

static struct dealt dealt_matrix(const node *n, bool grad)
{
    struct sizes s = attention_sizes(n);
    const struct dev_info *i = dev_info(n->g->d);
    struct dealt t = { "attention_matrix", MATRIX_ROWS, { MATRIX_ITEMS, 1 }, matrix_room(n->g->d, s.d, grad) };
    char engine[32];
    dev_matrix_defs(n->g->d, engine);
    snprintf(t.defs, sizeof t.defs, "%s -DD=%d%s%s%s", engine, (int)s.d, i->cpu_kind ? " -DUNROLL=1" : "",
             *i->wide ? " " : "", i->wide);
    return t;
}

static void add_blocks(const node *n, launches *l, const char *kernel, int products, const char *types,
                       const arg *args, int n_args)
{
    struct sizes s = attention_sizes(n);
    struct dealt t = on_matrix(n) ? dealt_matrix(n, products > 2) : dealt_plain(n);
    launch k = { .file = t.file, .kernel = kernel, .label = n->name, .defs = t.defs, .types = types,
                 .flops = flops_of(s, products), .local = { t.items[0], t.items[1] },
                 .global = { t.items[0] * (u64)CEIL_DIV(s.n, t.rows), t.items[1] * (u64)(s.b * s.h) } };
    memcpy(k.args, args, (size_t)n_args * sizeof *args);
    k.args[n_args] = (arg)ARG_INT(s.n);
    k.args[n_args + 1] = (arg)ARG_INT(s.h);
    k.args[n_args + 2] = (arg)ARG_REAL(1 / sqrt((f64)s.d));
    k.args[n_args + 3] = (arg)ARG_LOCAL(t.local);
    launch_add(l, &k);
}

static void emit_gpu(const node *n, launches *l)
{
    const struct attention_args *a = n->args;
    arg args[] = { ARG_NODE(n->in[0]), ARG_NODE(n), ARG_RANGE(a->log_sum ? a->log_sum->home : RANGE_NONE) };
    add_blocks(n, l, "attention", 2, "xy", args, countof(args));
}

/* in: qkv, out, log sums, dout */
static void grad_emit_gpu(const node *n, launches *l)
{
    arg q[] = { ARG_NODE(n->in[0]), ARG_NODE(n->in[1]), ARG_NODE(n->in[2]), ARG_NODE(n->in[3]), ARG_NODE(n),
                ARG_RANGE(n->work) };
    arg kv[] = { ARG_NODE(n->in[0]), ARG_NODE(n->in[2]), ARG_NODE(n->in[3]), ARG_NODE(n), ARG_RANGE(n->work) };
    add_blocks(n, l, "attention_dq", 3, "x---y", q, countof(q));
    add_blocks(n, l, "attention_dkv", 4, "x--y", kv, countof(kv));
}

/* ---- the ops ------------------------------------------------------------------------------------------- */

static bool on_gpu(const node *n) { return dev_class(n->g->d) == DEV_GPU; }

static u64 slab_bytes(const node *n, bool grad)
{
    struct slabs t = slabs_of(n, grad);
    return dtype_bytes(F32) * (u64)(t.groups * t.floats);
}

static u64 attention_scratch(const node *n) { return !n->g->d || on_gpu(n) ? 0 : slab_bytes(n, false); }

static u64 attention_grad_scratch(const node *n)
{
    struct sizes s = attention_sizes(n);
    return !n->g->d ? 0 : on_gpu(n) ? dtype_bytes(F32) * (u64)(s.b * s.h * s.n) : slab_bytes(n, true);
}

static void attention_emit(const node *n, launches *l) { (on_gpu(n) ? emit_gpu : emit_cpu)(n, l); }
static void attention_grad_emit(const node *n, launches *l)
{
    (on_gpu(n) ? grad_emit_gpu : grad_emit_cpu)(n, l);
}

static const char *attention_shape(const node *n, struct shape *out)
{
    struct sizes s = attention_sizes(n);
    *out = SHAPE(s.b, s.n, s.h * s.d);
    return NULL;
}

static const char *log_sum_shape(const node *n, struct shape *out)
{
    struct sizes s = attention_sizes(n->in[0]);
    *out = SHAPE(s.b, s.h, s.n);
    return NULL;
}

static const char *attention_grad_shape(const node *n, struct shape *out)
{
    *out = n->in[0]->shape;
    return NULL;
}

static f64 attention_macs(const node *n) { return flops_of(attention_sizes(n), 2) / 2; }

/* ---- float64 on the host, head by head ------------------------------------------------------------- */

/* Row i of head h of image z in packed qkv; part 0: q, 1: k, 2: v. */
static const f64 *attention_row(struct sizes s, const f64 *qkv, i64 z, i64 h, i64 i, i64 part)
{
    return qkv + ((z * s.n + i) * 3 + part) * s.h * s.d + h * s.d;
}

static f64 attention_dot(const f64 *a, const f64 *b, i64 d)
{
    f64 sum = 0;
    for (i64 c = 0; c < d; c++)
        sum += a[c] * b[c];
    return sum;
}

/* p = softmax(q_i k^T / sqrt(d)). Returns log sum exp. */
static f64 attention_host_row(struct sizes s, const f64 *qkv, i64 z, i64 h, i64 i, f64 *p)
{
    for (i64 j = 0; j < s.n; j++)
        p[j] = attention_dot(attention_row(s, qkv, z, h, i, 0), attention_row(s, qkv, z, h, j, 1), s.d)
               / sqrt((f64)s.d);
    f64 first = p[0];
    host_softmax(p, p, s.n, 1);
    return p[0] > 0 ? first - log(p[0]) : NAN;
}

static void attention_host(const node *n, const f64 *const *in, f64 *y)
{
    struct sizes s = attention_sizes(n);
    f64 *p = arena_array(n->g->a, f64, s.n);
    for (i64 z = 0, every = host_every(s.b * s.h, (f64)(s.n * s.n * s.d)); z < s.b * s.h; z += every)
        for (i64 i = 0; i < s.n; i++) {
            f64 *out = y + (z / s.h * s.n + i) * s.h * s.d + z % s.h * s.d;
            attention_host_row(s, in[0], z / s.h, z % s.h, i, p);
            for (i64 c = 0; c < s.d; c++)
                out[c] = 0;
            for (i64 j = 0; j < s.n; j++)
                for (i64 c = 0; c < s.d; c++)
                    out[c] += p[j] * attention_row(s, in[0], z / s.h, z % s.h, j, 2)[c];
        }
}

static void attention_host_log_sum(const node *n, const node *side, const f64 *const *in, f64 *y)
{
    struct sizes s = attention_sizes(n);
    f64 *p = arena_array(n->g->a, f64, s.n), unit = on_gpu(n) ? 1 : log(2); // CPUs have logarithms to base 2
    i64 rows = node_count(side), every = host_every(rows, (f64)(s.n * s.d));
    for (i64 at = 0; at < rows; at += every)
        y[at] = attention_host_row(s, in[0], at / s.n / s.h, at / s.n % s.h, at % s.n, p) / unit;
}

/* dv_j += p_ij g_i; ds_ij = p_ij (g_i v_j - sum_j p_ij g_i v_j) / sqrt(d); dq_i += ds_ij k_j; dk_j += ds_ij
 * q_i */
static void attention_grad_host_row(struct sizes s, const f64 *const *in, f64 *dx, i64 z, i64 h, i64 i, f64 *p)
{
    const f64 *x = in[0], *q = attention_row(s, x, z, h, i, 0),
              *g = in[3] + (z * s.n + i) * s.h * s.d + h * s.d;
    f64 *to = dx + (q - x), mean = 0;
    attention_host_row(s, x, z, h, i, p);
    for (i64 j = 0; j < s.n; j++)
        mean += p[j] * attention_dot(g, attention_row(s, x, z, h, j, 2), s.d);
    for (i64 j = 0; j < s.n; j++) {
        const f64 *k = attention_row(s, x, z, h, j, 1), *v = k + s.h * s.d;
        f64 ds = p[j] * (attention_dot(g, v, s.d) - mean) / sqrt((f64)s.d);
        for (i64 c = 0; c < s.d; c++) {
            to[c] += ds * k[c];
            dx[k - x + c] += ds * q[c];
            dx[v - x + c] += p[j] * g[c];
        }
    }
}

static void attention_grad_host(const node *n, const f64 *const *in, f64 *dx)
{
    struct sizes s = attention_sizes(n);
    f64 *p = arena_array(n->g->a, f64, s.n);
    for (i64 z = 0, every = host_every(s.b * s.h, 5 * (f64)(s.n * s.n * s.d)); z < s.b * s.h; z += every) {
        for (i64 i = 0; i < 3 * s.n; i++)
            for (i64 c = 0; c < s.d; c++)
                dx[attention_row(s, in[0], z / s.h, z % s.h, i / 3, i % 3) - in[0] + c] = 0;
        for (i64 i = 0; i < s.n; i++)
            attention_grad_host_row(s, in, dx, z / s.h, z % s.h, i, p);
    }
}

static const op log_sum_op = { "attention_log_sum", .shape = log_sum_shape };      // attention_op writes it
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
    node *score = op_scale(op_matmul(q, k, TRANS_B), (f32)(1 / sqrt((f64)d)));                 /* (b h) n n */
    node *out = op_matmul(op_softmax(score, -1), v, 0);                                        /* (b h) n d */
    node *heads_inside = op_transpose(op_reshape(out, SHAPE(b, heads, n, d)), 0, 2, 1, 3);
    return op_reshape(heads_inside, SHAPE(b, n, heads * d));
}

/* Without a device, only shapes and counts matter. */
static bool has_kernels(const dev *dev, i64 channels)
{
    if (!dev || dev_class(dev) == DEV_NULL)
        return true;
    bool cpu = dev_class(dev) == DEV_CPU;
    bool fits = cpu || block_rows(dev, channels, 64);
    return fits && dev_has_override(dev, "attention");
}

node *op_attention(node *qkv, int heads)
{
    i64 b = node_dim(qkv, 0), n = node_dim(qkv, 1), d = node_dim(qkv, 2) / (3 * heads);
    if (qkv->shape.nd != 3 || d * 3 * heads != node_dim(qkv, 2)) {
        graph_complain(qkv->g, "attention: %s is not (b n 3*%d*d)", shape_text(qkv->g->a, qkv->shape), heads);
        return qkv;
    }
    if (!has_kernels(qkv->g->d, d))
        return attention_composed(qkv, b, n, heads, d);
    return node_new(&attention_op, (&(struct attention_args){ .heads = heads }), qkv);
}
