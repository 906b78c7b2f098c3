/* convnext.c: ConvNeXt (Liu et al. 2022) as timm builds and names it, with MoE layers in place of MLPs where
 * the experiment asks for them. Values are (b h w c) throughout, so norms and linears see channels innermost
 * and nothing is transposed.
 *
 *     stem 4x4/4, norm | stage: (norm, 2x2/2 between stages) blocks | mean over the map, norm, linear
 *     block: x += gamma * mlp(norm(depthwise 7x7 (x)))
 */
#include "model/model.h"

static const struct init weights = { INIT_TRUNC_NORMAL, .02f }, zero = { INIT_CONSTANT, 0 };

/* Seen from outside maps are (b c h w), as in other frameworks. */
static void tap_map(struct nn *m, node *x, const char *name) { nn_tap(m, op_transpose(x, 0, 3, 1, 2), name); }

/* Rows and columns that a stride of `by` leaves over at the end are not seen, as in any convolution
 * without padding. */
static node *convnext_crop(node *x, int axis, i64 by)
{
    i64 n = node_dim(x, axis), whole = n / by * by;
    return whole == n ? x : op_slice(x, axis, 0, whole);
}

/* (b h w c) -> (b h/2 w/2 out): a convolution whose stride is its kernel, as a product. The weight is
 * transposed, not the map. */
static node *convnext_halve(struct nn *m, node *x, i64 out)
{
    x = convnext_crop(convnext_crop(x, 1, 2), 2, 2);
    i64 b = node_dim(x, 0), h = node_dim(x, 1) / 2, w = node_dim(x, 2) / 2, c = node_dim(x, 3);
    node *weight = nn_param(m, "weight", SHAPE(out, c, 2, 2), weights);
    node *bias = nn_param(m, "bias", SHAPE(out), zero);
    node *rows = op_transpose(op_reshape(x, SHAPE(b, h, 2, w, 2, c)), 0, 1, 3, 2, 4, 5); /* b h w p q c     */
    node *kernel = op_reshape(op_transpose(weight, 0, 2, 3, 1), SHAPE(out, 4 * c));     /* out (p q c)      */
    return op_add(op_matmul(op_reshape(rows, SHAPE(b, h, w, 4 * c)), kernel, TRANS_B), bias);
}

static node *convnext_depthwise(struct nn *m, node *x)
{
    const char *old = graph_push(m->g, "conv_dw");
    i64 c = node_dim(x, 3);
    node *weight = nn_param(m, "weight", SHAPE(c, 1, 7, 7), weights);
    x = op_depthwise(x, weight, nn_param(m, "bias", SHAPE(c), zero));
    graph_pop(m->g, old);
    return x;
}

static node *convnext_block(struct nn *m, const struct spec *s, node *x, int i)
{
    const char *old = graph_push(m->g, "%s", model_block(m->g->a, s, i));
    i64 b = node_dim(x, 0), h = node_dim(x, 1), w = node_dim(x, 2), c = node_dim(x, 3);
    struct moe l;
    node *y = convnext_depthwise(m, x);                                                   /* b h w c          */
    y = nn_tap(m, nn_layernorm(m, y, "norm", (f32)s->model.norm_eps), "norm2");
    const char *inner = graph_push(m->g, "mlp");
    if (moe_of_block(m->g->a, s, i, &l))
        y = op_reshape(moe_layer(m, s, &l, op_reshape(y, SHAPE(b, h * w, c))), SHAPE(b, h, w, c));
    else
        y = nn_mlp(m, y, (i64)((f64)c * s->model.mlp_ratio), model_act(s), s->model.grn);
    graph_pop(m->g, inner);
    y = nn_tap(m, y, "mlp");
    if (s->model.layer_scale > 0)
        y = nn_scale(m, y, "gamma", (f32)s->model.layer_scale);
    x = op_add(x, nn_drop_path(m, y, "drop_path", model_rate(s, s->model.drop_path, i)));
    graph_pop(m->g, old);
    tap_map(m, x, arena_printf(m->g->a, "block.%d", i));
    return x;
}

static node *convnext_stem(struct nn *m, const struct spec *s, node *images)
{
    const char *old = graph_push(m->g, "stem");
    images = convnext_crop(convnext_crop(images, 2, 4), 3, 4);
    i64 b = node_dim(images, 0), h = node_dim(images, 2) / 4, w = node_dim(images, 3) / 4;
    i64 c = s->model.dims.v[0];
    node *x = op_reshape(nn_patches(m, images, "0", 4, c, true, &weights), SHAPE(b, h, w, c));
    x = nn_layernorm(m, x, "1", (f32)s->model.norm_eps);
    graph_pop(m->g, old);
    tap_map(m, x, "stem");
    return x;
}

static node *convnext_stage(struct nn *m, const struct spec *s, node *x, int i, int first)
{
    const char *old = graph_push(m->g, "stages.%d.downsample", i), *inner;
    if (i) {
        x = nn_layernorm(m, x, "0", (f32)s->model.norm_eps);
        inner = graph_push(m->g, "1");
        x = convnext_halve(m, x, s->model.dims.v[i]);
        graph_pop(m->g, inner);
    }
    graph_pop(m->g, old);
    for (int k = 0; k < s->model.depths.v[i]; k++)
        x = convnext_block(m, s, x, first + k);
    tap_map(m, x, arena_printf(m->g->a, "stage.%d", i));
    return x;
}

static node *convnext_head(struct nn *m, const struct spec *s, node *x)
{
    const char *old = graph_push(m->g, "head");
    i64 b = node_dim(x, 0), n = node_dim(x, 1) * node_dim(x, 2), c = node_dim(x, 3);
    node *mean = op_scale(op_sum(op_reshape(x, SHAPE(b, n, c)), 1), 1 / (f32)n);
    node *y = nn_layernorm(m, op_reshape(mean, SHAPE(b, c)), "norm", (f32)s->model.norm_eps);
    y = nn_linear(m, y, "fc", s->model.classes, s->model.head_bias);
    graph_pop(m->g, old);
    return y;
}

static node *convnext_build(struct nn *m, const struct spec *s, node *images)
{
    node *x = convnext_stem(m, s, images);
    for (int i = 0, first = 0; i < s->model.depths.n; first += s->model.depths.v[i++])
        x = convnext_stage(m, s, x, i, first);
    return convnext_head(m, s, x);
}

const struct model convnext_model = { "convnext", convnext_build };
