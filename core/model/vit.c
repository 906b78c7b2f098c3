/* vit.c: Vision Transformer (Dosovitskiy et al. 2021) as timm builds and names it, with MoE layers in place
 * of MLPs where the experiment wants them. Blocks are pre-norm: x += attn(norm1(x)); x += mlp(norm2(x)). */
#include "model/model.h"

#define EPS 1e-6f

/* A branch on its way back to the residual stream: layer scale, then stochastic depth. */
static node *branch(struct nn *m, const struct spec *s, node *y, int block, int which)
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
    node *y = nn_layernorm(m, x, "norm1", EPS);
    const char *inner = graph_push(m->g, "attn");
    y = nn_attention(m, y, s->model.heads, s->model.qkv_bias);
    graph_pop(m->g, inner);
    x = op_add(x, branch(m, s, y, i, 1));                                               /* b n d            */

    struct moe l;
    y = nn_tap(m, nn_layernorm(m, x, "norm2", EPS), "norm2");
    inner = graph_push(m->g, "mlp");
    i64 hidden = (i64)((f64)s->model.dim * s->model.mlp_ratio);
    y = moe_of_block(m->g->a, s, i, &l) ? moe_layer(m, s, &l, y) : nn_mlp(m, y, hidden);
    graph_pop(m->g, inner);
    y = nn_tap(m, y, "mlp");
    x = op_add(x, branch(m, s, y, i, 2));
    graph_pop(m->g, old);
    return nn_tap(m, x, arena_printf(m->g->a, "block.%d", i));
}

/* Patches, behind the class token where there is one, and where they are. */
static node *embed(struct nn *m, const struct spec *s, node *images)
{
    i64 b = node_dim(images, 0), d = s->model.dim;
    node *x = nn_patches(m, images, "patch_embed.proj", s->model.patch, d, NULL);       /* b (h w) d        */
    if (s->model.class_token) {
        node *token = nn_param(m, "cls_token", SHAPE(1, 1, d), (struct init){ INIT_NORMAL, 1e-6f });
        x = op_concat(op_expand(token, SHAPE(b, 1, d)), x, 1);                          /* b n d            */
    }
    struct init start = { INIT_TRUNC_NORMAL, .02f };
    return op_add(x, nn_param(m, "pos_embed", SHAPE(1, node_dim(x, 1), d), start));
}

/* The class token after `norm`, or the mean over patches, then `fc_norm`: (b d). */
static node *pooled(struct nn *m, const struct spec *s, node *x)
{
    i64 b = node_dim(x, 0), d = node_dim(x, 2), skip = s->model.class_token;
    if (s->model.pool == POOL_token)
        return op_reshape(op_slice(nn_layernorm(m, x, "norm", EPS), 1, 0, 1), SHAPE(b, d));
    return nn_layernorm(m, nn_mean_tokens(x, skip), "fc_norm", EPS);
}

static node *vit_build(struct nn *m, const struct spec *s, node *images)
{
    node *x = embed(m, s, images);
    for (int i = 0; i < s->model.depth; i++)
        x = vit_block(m, s, x, i);
    return nn_linear(m, pooled(m, s, x), "head", s->model.classes, true);
}

const struct model vit_model = { "vit", vit_build };
