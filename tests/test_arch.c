/* test_arch.c: the parts of other ViTs and of ConvNeXt V2: which parameters they have, and that all is read
 * back from a saved model. */
#include "unit.h"
#include "model/model.h"

static const struct { const char *model, *has, *lacks; i64 n; } rows[] = {
    { "dist_token: head, pool: token", "head_dist.weight", "reg_token", 1 },
    { "dist_token: on, pool: token", "dist_token", "head_dist.weight", 1 },
    { "registers: 3, pool: token", "reg_token", "dist_token", 3 },
    { "registers: 2, class_token: off, pool: avg", "reg_token", "cls_token", 2 },
    { "pre_norm: on, pool: token", "norm_pre.bias", "patch_embed.proj.bias", 0 },
    { "head_bias: off, pool: token, act: quick_gelu, norm_eps: 1e-5", "head.weight", "head.bias", 0 },
    { "qkv_bias: off, pool: avg, layer_scale: 1", "blocks.1.ls2.gamma", "blocks.0.attn.qkv.bias", 0 },
    { "arch: convnext, grn: on, layer_scale: off", "stages.2.blocks.0.mlp.grn.weight", "stages.0.blocks.0.gamma", 0 },
    { "arch: convnext, head_bias: off", "stages.0.blocks.0.gamma", "head.fc.bias", 0 },
};

static struct spec parsed(arena *a, const char *text)
{
    struct spec s;
    bool convnext = strstr(text, "convnext");
    const char *size = convnext ? "image: 32, depths: [1, 1, 2], dims: [8, 16, 24], classes: 3"
                                : "arch: vit, image: [16, 24], patch: 4, dim: 16, depth: 2, heads: 2, classes: 3";
    text = arena_printf(a, "model: {%s, %s, drop_path: off}", size, text);
    if (spec_parse(&s, a, "x.yaml", text, NULL, 0))
        fail_msg("%s", fail_message());
    return s;
}

/* A model saved and read again is the same model, but for what leaves no trace in it. */
static void sizes_are_read_back(void **state)
{
    (void)state;
    for (int i = 0; i < countof(rows); i++) {
        arena *a = arena_open("test");
        struct spec s = parsed(a, rows[i].model), t = parsed(a, "pool: avg");
        params *p = model_params(&s), *q = NULL;
        if (!p)
            fail_msg("%s: %s", rows[i].model, fail_message());
        const struct param *x = params_find(p, rows[i].has);
        if (!x || params_find(p, rows[i].lacks))
            fail_msg("%s: no %s, or %s", rows[i].model, rows[i].has, rows[i].lacks);
        if (rows[i].n)
            assert_int_equal(x->shape.nd == 3 ? x->shape.d[1] : 1, x->shape.nd == 3 ? rows[i].n : 1);
        ckpt *c = ckpt_new();
        for (size_t k = 0; k < p->n; k++)
            ckpt_add(c, p->list[k].name, CKPT_F32, p->list[k].shape.nd, p->list[k].shape.d,
                     arena_array(a, f32, shape_count(p->list[k].shape)));
        model_describe(c, &s, a, NULL);
        if (!(c = ckpt_model(c, false)) || model_read(&t, c, a) || !(q = model_params(&t)))
            fail_msg("%s: %s", rows[i].model, fail_message());
        assert_int_equal(q->n, p->n);
        for (size_t k = 0; k < p->n; k++) {
            const struct param *y = params_find(q, p->list[k].name);
            if (!y || !shape_equal(y->shape, p->list[k].shape))
                fail_msg("%s: %s is not read back", rows[i].model, p->list[k].name);
        }
        assert_true(t.model.act == s.model.act && t.model.norm_eps == s.model.norm_eps);
        params_free(q);
        params_free(p);
        ckpt_close(c);
        arena_close(a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(sizes_are_read_back) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
