/* vit.c: Vision Transformer (Dosovitskiy et al. 2021) as timm builds and names it, with MoE layers in place
 * of MLPs where the experiment asks for them. Blocks are pre-norm: x += attn(norm1(x)); x += mlp(norm2(x)). */
#include "model/model.h"

static node *vit_norm(struct nn *m, const struct spec *s, node *x, const char *name)
{
    return nn_layernorm(m, x, name, (f32)s->model.norm_eps);
}

/* A branch on its way back to the residual stream: layer scale, then stochastic depth. */
static node *vit_branch(struct nn *m, const struct spec *s, node *y, int block, int which)
{
    const char *old = graph_push(m->g, "ls%d", which);
    if (s->model.layer_scale > 0)
        y = nn_scale(m, y, "gamma", (f32)s->model.layer_scale);
    graph_pop(m->g, old);
    f32 rate = model_rate(s, s->model.drop_path, block);
    return nn_drop_path(m, y, which == 1 ? "drop_path1" : "drop_path2", rate);
}

static node *vit_block(struct nn *m, const struct spec *s, node *x, int i)
{
    const char *old = graph_push(m->g, "blocks.%d", i);
    node *y = vit_norm(m, s, x, "norm1");
    const char *inner = graph_push(m->g, "attn");
    y = nn_attention(m, y, s->model.heads, s->model.qkv_bias);
    graph_pop(m->g, inner);
    x = op_add(x, vit_branch(m, s, y, i, 1));                                           /* b n d            */

    struct moe l;
    y = nn_tap(m, vit_norm(m, s, x, "norm2"), "norm2");
    inner = graph_push(m->g, "mlp");
    i64 hidden = (i64)((f64)s->model.dim * s->model.mlp_ratio);
    y = moe_of_block(m->g->a, s, i, &l) ? moe_layer(m, s, &l, y) : nn_mlp(m, y, hidden, model_act(s), false);
    graph_pop(m->g, inner);
    y = nn_tap(m, y, "mlp");
    x = op_add(x, vit_branch(m, s, y, i, 2));
    graph_pop(m->g, old);
    return nn_tap(m, x, arena_printf(m->g->a, "block.%d", i));
}

/* n learned tokens before x: (b n' d) */
static node *vit_prepend(struct nn *m, node *x, const char *name, i64 n)
{
    i64 b = node_dim(x, 0), d = node_dim(x, 2);
    node *token = nn_param(m, name, SHAPE(1, n, d), (struct init){ INIT_NORMAL, 1e-6f });
    return op_concat(op_expand(token, SHAPE(b, n, d)), x, 1);
}

/* Class token, distillation token, registers, patches: those there are. Registers have no position, so they
 * are put after those tokens that have one. */
static node *vit_embed(struct nn *m, const struct spec *s, node *images)
{
    i64 d = s->model.dim;
    int placed;
    model_prefix(s, &placed);
    node *x = nn_patches(m, images, "patch_embed.proj", s->model.patch, d, !s->model.pre_norm, NULL);
    if (s->model.dist_token != DISTILL_off)
        x = vit_prepend(m, x, "dist_token", 1);
    if (s->model.class_token)
        x = vit_prepend(m, x, "cls_token", 1);                                            /* b n d            */
    struct init start = { INIT_TRUNC_NORMAL, .02f };
    x = op_add(x, nn_param(m, "pos_embed", SHAPE(1, node_dim(x, 1), d), start));
    if (s->model.registers) {
        node *patches = placed ? op_slice(x, 1, placed, node_dim(x, 1) - placed) : x;
        node *rest = vit_prepend(m, patches, "reg_token", s->model.registers);
        x = placed ? op_concat(op_slice(x, 1, 0, placed), rest, 1) : rest;
    }
    return s->model.pre_norm ? vit_norm(m, s, x, "norm_pre") : x;
}

static node *vit_token(node *x, i64 i)
{
    return op_reshape(op_slice(x, 1, i, 1), SHAPE(node_dim(x, 0), node_dim(x, 2)));
}

static node *vit_linear_head(struct nn *m, const struct spec *s, node *x, const char *name)
{
    return nn_linear(m, x, name, s->model.classes, s->model.head_bias);                 /* b classes        */
}

/* The head reads the class token after `norm` -- with DeiT's second head on its token, the mean of both -- or
 * the mean over patches, then `fc_norm`, or after `norm`. */
static node *vit_head(struct nn *m, const struct spec *s, node *x)
{
    int placed, before = model_prefix(s, &placed);
    bool norm_first = s->model.pool == POOL_token || s->model.pool == POOL_norm_avg;
    if (!norm_first)
        return vit_linear_head(m, s, vit_norm(m, s, nn_mean_tokens(x, before), "fc_norm"), "head");
    x = vit_norm(m, s, x, "norm");
    if (s->model.pool == POOL_norm_avg)
        return vit_linear_head(m, s, nn_mean_tokens(x, before), "head");
    node *y = vit_linear_head(m, s, vit_token(x, 0), "head");
    if (s->model.dist_token != DISTILL_head)
        return y;
    return op_scale(op_add(y, vit_linear_head(m, s, vit_token(x, 1), "head_dist")), 0.5f);
}

static node *vit_build(struct nn *m, const struct spec *s, node *images)
{
    node *x = vit_embed(m, s, images);
    for (int i = 0; i < s->model.depth; i++)
        x = vit_block(m, s, x, i);
    return vit_head(m, s, x);
}

const struct model vit_model = { "vit", vit_build };
