/* conv.c: depthwise convolution of (b h w c), stride 1, zero padding of half the kernel. Each channel is on
 * its own, so it moves much and computes little: kernels of its own (cl/conv.h), not a product. The gradient
 * of x is the same convolution with the weights rotated by 180 degrees. */
#include "op/op.h"
#include "op/host.h"
#include "op/onnx.h"

struct conv_args { bool rotated; };               /* in: x, w (c 1 kh kw), and maybe bias (c) */

struct conv { i64 b, h, w, c, kh, kw; };

static struct conv conv_of(const node *x, const node *w)
{
    return (struct conv){ node_dim(x, 0), node_dim(x, 1), node_dim(x, 2), node_dim(x, 3),
                          node_dim(w, 2), node_dim(w, 3) };
}

static const char *check_shapes(const node *n)
{
    const node *x = n->in[0], *w = n->in[1];
    if (x->shape.nd != 4 || w->shape.nd != 4 || node_dim(w, 1) != 1 || node_dim(w, 0) != node_dim(x, 3))
        return "operands must be (b h w c) and (c 1 kh kw)";
    if (node_dim(w, 2) % 2 == 0 || node_dim(w, 3) % 2 == 0 || node_dim(w, 2) > 31 || node_dim(w, 3) > 9)
        return "kernel sizes must be odd, at most 31 high and 9 wide";
    i64 image = node_dim(x, 1) * node_dim(x, 2) * node_dim(x, 3);
    return image >= INT32_MAX ? "one image has too many values" : NULL;
}

static const char *depthwise_shape(const node *n, struct shape *out)
{
    *out = n->in[0]->shape;
    return check_shapes(n);
}

/* Do the tiles of the class' own file apply? A CPU's are vectors of sixteen channels. */
static bool conv_tiled(const dev *d, const struct conv *k)
{
    return dev_has_override(d, "conv") && (dev_group(d, "conv") > 1 || k->c >= 16);
}

/* Outputs of a tile: what wastes least of a row, the widest first. A CPU has a register for each and for a row
 * of weights, and two for values. */
static int tile_width(const dev *d, const struct conv *k)
{
    static const int widths[] = { 14, 8, 7 };
    i64 room = dev_class(d) == DEV_CPU ? (i64)dev_info(d)->registers - k->kw - 2 : 14;
    int best = room >= 14 ? 14 : 7;
    for (int i = 0; i < countof(widths); i++)
        if (widths[i] <= room && ROUND_UP(k->w, widths[i]) < ROUND_UP(k->w, best))
            best = widths[i];
    return best;
}

/* Rows of a strip: a share of the second cache. The sums' order does not follow it. */
static i64 conv_strip(const dev *d)
{
    i64 rows = dev_tune(d, "conv", "STRIP");
    return rows ? rows : MIN(MAX((i64)(dev_info(d)->cache[1] >> 17), 2), 16);
}

/* Channels of a share: their sums, KH KW + 1 floats each, and rows that they are
 * made from share the first cache. */
static i64 conv_share(const dev *d)
{
    i64 channels = dev_tune(d, "conv", "SHARE");
    return channels ? channels : MAX((i64)(dev_info(d)->cache[0] / 512 / 16 * 16), 16);
}

/* `grad`: of the weights. A GPU's item has all of their sums in registers, so that its
 * tile is narrow unless a row is one tile, whose borders are known. */
static const char *conv_defs(char out[128], const dev *d, const struct conv *k, bool grad)
{
    const struct dev_info *i = dev_info(d);
    bool gpu = dev_class(d) == DEV_GPU && dev_has_override(d, "conv");
    int width = tile_width(d, k), n;
    if (gpu && grad && width != k->w)
        width = 7;
    n = snprintf(out, 128, "-DKH=%d -DKW=%d -DXB=%d -DWHOLE=%d -DSTRIP=%d -DSHARE=%d", (int)k->kh, (int)k->kw,
                 width, width == k->w, (int)conv_strip(d), (int)conv_share(d));
    if (gpu)
        snprintf(out + n, 128 - (size_t)n, i->cpu_kind ? " -DUNROLL=1" : " -DCHANNELS=%d", (int)k->c);
    return out;
}

static void depthwise_emit(const node *n, launches *l)
{
    const struct conv_args *a = n->args;
    const node *x = n->in[0], *w = n->in[1];
    const struct conv k = conv_of(x, w);
    const dev *d = launches_dev(l);
    i64 wg = dev_group(d, "conv"), groups = dev_tune(d, "conv", "GROUPS"), biased = n->n_in > 2;
    i64 rows = CEIL_DIV(k.h, MIN(k.h, CEIL_DIV(groups, k.b)));
    char text[128];
    launch weights = { .file = "conv", .kernel = "depthwise_weights", .label = n->name,
                    .defs = conv_defs(text, d, &k, false), .bytes = 2 * (f64)node_bytes(w),
                    .global = { (u64)ROUND_UP(node_count(w), 64) }, .local = { 64 },
                    .args = { ARG_RANGE(w->home), ARG_RANGE(n->work), ARG_INT(k.c), ARG_INT(a->rotated) } };
    launch_add(l, &weights);
    launch conv = { .file = "conv", .kernel = conv_tiled(d, &k) ? "depthwise" : "depthwise_plain",
                    .label = n->name, .defs = text, .types = "x--y",
                    .flops = 2.0 * (f64)(k.kh * k.kw) * (f64)node_count(n), .bytes = 2 * (f64)node_bytes(n),
                    .global = { wg > 1 ? (u64)ROUND_UP(k.c, wg) : 1, (u64)CEIL_DIV(k.h, rows), (u64)k.b },
                    .local = { (u64)wg, 1, 1 },
                    .args = { ARG_NODE(x), ARG_RANGE(n->work), ARG_RANGE(n->in[biased ? 2 : 1]->home),
                              ARG_NODE(n), ARG_INT(k.h), ARG_INT(k.w), ARG_INT(k.c), ARG_INT(rows),
                              ARG_INT(biased) } };
    launch_add(l, &conv);
}

static u64 depthwise_scratch(const node *n) { return node_bytes(n->in[1]); }

/* Element (i, j, channel) of an image, 0 beyond its border. */
static f64 conv_at(const struct conv *k, const f64 *x, i64 image, i64 i, i64 j, i64 channel)
{
    bool inside = i >= 0 && i < k->h && j >= 0 && j < k->w;
    return inside ? x[((image * k->h + i) * k->w + j) * k->c + channel] : 0;
}

static void depthwise_host(const node *n, const f64 *const *in, f64 *y)
{
    const struct conv k = conv_of(n->in[0], n->in[1]);
    bool rotated = ((const struct conv_args *)n->args)->rotated;
    i64 area = k.kh * k.kw, count = node_count(n);
    for (i64 at = 0, every = host_every(count, (f64)area); at < count; at += every) {
        i64 c = at % k.c, j = at / k.c % k.w, i = at / k.c / k.w % k.h, image = at / k.c / k.w / k.h;
        y[at] = n->n_in > 2 ? in[2][c] : 0;
        for (i64 p = 0; p < area; p++)
            y[at] += in[1][c * area + (rotated ? area - 1 - p : p)]
                     * conv_at(&k, in[0], image, i + p / k.kw - k.kh / 2, j + p % k.kw - k.kw / 2, c);
    }
}

static f64 depthwise_macs(const node *n)
{
    const struct conv k = conv_of(n->in[0], n->in[1]);
    return (f64)(k.kh * k.kw) * (f64)node_count(n);
}

/* ---- the gradient of the weights ----------------------------------------------------------------------- */

/* Rows of all images are summed in chunks, (chunks, (kh kw + 1) c): dw with channels innermost, then db. Their
 * number follows from the shape and the class, so the bits are the same on every run. */
static i64 chunk_of(const node *n)
{
    i64 rows = node_dim(n->in[0], 0) * node_dim(n->in[0], 1);
    return CEIL_DIV(rows, MIN(rows, n->g->d ? dev_tune(n->g->d, "conv", "CHUNKS") : 32));
}

static const char *depthwise_grad_shape(const node *n, struct shape *out)
{
    i64 rows = node_dim(n->in[0], 0) * node_dim(n->in[0], 1);
    *out = SHAPE(CEIL_DIV(rows, chunk_of(n)), node_count(n->in[1]) + node_dim(n->in[1], 0));
    return check_shapes(n);
}

static void depthwise_grad_emit(const node *n, launches *l)
{
    const node *x = n->in[0], *g = n->in[2];
    const struct conv k = conv_of(x, n->in[1]);
    const dev *d = launches_dev(l);
    i64 wg = dev_group(d, "conv"), shares = MAX(1, k.c / conv_share(d));
    char text[128];
    launch grad = { .file = "conv", .kernel = conv_tiled(d, &k) ? "depthwise_grad" : "depthwise_grad_plain",
                    .label = n->name, .defs = conv_defs(text, d, &k, true), .types = "xg",
                    .flops = 2.0 * (f64)(k.kh * k.kw) * (f64)node_count(g), .bytes = 2 * (f64)node_bytes(x),
                    .global = { wg > 1 ? (u64)ROUND_UP(k.c, wg) : (u64)shares, (u64)n->shape.d[0] },
                    .local = { (u64)wg, 1 },
                    .args = { ARG_NODE(x), ARG_NODE(g), ARG_RANGE(n->home), ARG_INT(k.h),
                              ARG_INT(k.w), ARG_INT(k.c), ARG_INT(k.b * k.h), ARG_INT(chunk_of(n)) } };
    launch_add(l, &grad);
}

/* A chunk's sums of dw, and after them of db. */
static void depthwise_grad_host(const node *n, const f64 *const *in, f64 *y)
{
    const struct conv k = conv_of(n->in[0], n->in[1]);
    i64 cols = node_dim(n, -1), area = k.kh * k.kw, chunk = chunk_of(n), count = node_count(n);
    for (i64 at = 0, every = host_every(count, (f64)(chunk * k.w)); at < count; at += every) {
        i64 from = at / cols * chunk, c = at % cols % k.c, p = at % cols / k.c;
        y[at] = 0;
        for (i64 r = from; r < MIN(from + chunk, k.b * k.h); r++)
            for (i64 j = 0; j < k.w; j++) {
                f64 g = in[2][(r * k.w + j) * k.c + c];
                y[at] += p == area ? g : g * conv_at(&k, in[0], r / k.h, r % k.h + p / k.kw - k.kh / 2,
                                                     j + p % k.kw - k.kw / 2, c);
            }
    }
}

static const op depthwise_grad_op = { "depthwise_grad", .args = sizeof(struct conv_args),
                                      .shape = depthwise_grad_shape, .emit = depthwise_grad_emit,
                                      .host = depthwise_grad_host };

extern const op depthwise_op;

static void depthwise_vjp(node *n, node *g, node *dx[])
{
    node *x = n->in[0], *w = n->in[1];
    i64 c = node_dim(x, 3);
    dx[0] = node_new(&depthwise_op, (&(struct conv_args){ true }), g, w);
    node *sums = op_sum_to(node_new(&depthwise_grad_op, n->args, x, w, g), SHAPE(node_count(w) + c));
    node *dw = op_transpose(op_view(sums, 0, SHAPE(node_count(w) / c, c)), 1, 0);
    dx[1] = op_reshape(dw, w->shape);
    if (n->n_in > 2)
        dx[2] = op_view(sums, node_count(w), SHAPE(c));
}

static const char *depthwise_permuted(struct onnx *o, const char *x, const i64 order[4])
{
    const char *y = onnx_apply(o, "Transpose", x);
    onnx_ints(o, "perm", 4, order);
    return y;
}

/* ONNX has channels before the map. */
static const char *depthwise_onnx(const node *n, struct onnx *o)
{
    const node *w = n->in[1];
    i64 kh = node_dim(w, 2), kw = node_dim(w, 3);
    const char *x = depthwise_permuted(o, onnx_in(o, n, 0), (i64[]){ 0, 3, 1, 2 });
    const char *y = n->n_in > 2 ? onnx_apply(o, "Conv", x, onnx_in(o, n, 1), onnx_in(o, n, 2))
                                : onnx_apply(o, "Conv", x, onnx_in(o, n, 1));
    onnx_int(o, "group", node_dim(w, 0));
    onnx_ints(o, "pads", 4, (i64[]){ kh / 2, kw / 2, kh / 2, kw / 2 });
    return depthwise_permuted(o, y, (i64[]){ 0, 2, 3, 1 });
}

const op depthwise_op = { "depthwise", .args = sizeof(struct conv_args), .shape = depthwise_shape,
                          .emit = depthwise_emit, .vjp = depthwise_vjp, .scratch = depthwise_scratch,
                          .macs = depthwise_macs, .host = depthwise_host, .onnx = depthwise_onnx };

node *op_depthwise(node *x, node *w, node *b)
{
    struct conv_args a = { false };
    return b ? node_new(&depthwise_op, &a, x, w, b) : node_new(&depthwise_op, &a, x, w);
}
