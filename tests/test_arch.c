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
    { "arch: convnext, grn: on, layer_scale: off", "stages.2.blocks.0.mlp.grn.weight",
      "stages.0.blocks.0.gamma", 0 },
    { "arch: convnext, head_bias: off", "stages.0.blocks.0.gamma", "head.fc.bias", 0 },
};

static struct spec parsed(arena *a, const char *text)
{
    struct spec s;
    bool convnext = strstr(text, "convnext");
    const char *size = convnext
                           ? "image: 32, depths: [1, 1, 2], dims: [8, 16, 24], classes: 3"
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

/* A ViT with both final norms, as no tensor tells which of them its head reads: the experiment must. And the
 * same of an activation. */
static const struct { const char *set, *act, *says, *heads; } asked[] = {
    { "registers: 0", NULL, "--set model.pool=token" },      { "pool: avg", NULL, NULL },
    { "pool: token", NULL, NULL },                    { "pool: avg", "unknown", "--set model.act=quick_gelu" },
    { "pool: avg, act: gelu", "unknown", NULL },      { "pool: avg, act: quick_gelu", "unknown", NULL },
    { "pool: avg", "quick_gelu", NULL },              { "pool: avg", NULL, NULL, "2" },
    { "pool: avg", NULL, "--set model.heads=4", "4" } };

static ckpt *two_norms_new(arena *a, const char *act, const char *heads)
{
    struct spec s = parsed(a, "pool: avg");
    params *p = model_params(&s);
    ckpt *c = ckpt_new();
    for (size_t k = 0; k < p->n; k++)
        ckpt_add(c, p->list[k].name, CKPT_F32, p->list[k].shape.nd, p->list[k].shape.d,
                 arena_array(a, f32, shape_count(p->list[k].shape)));
    ckpt_add(c, "norm.weight", CKPT_F32, 1, (i64[]){ 16 }, arena_array(a, f32, 16));
    ckpt_add(c, "norm.bias", CKPT_F32, 1, (i64[]){ 16 }, arena_array(a, f32, 16));
    if (act)
        ckpt_set_meta(c, "act", act);
    if (heads)
        ckpt_set_meta(c, "heads", heads);
    params_free(p);
    return ckpt_model(c, false);
}

static void what_tensors_do_not_tell_is_asked_for(void **state)
{
    (void)state;
    dev *d = dev_open("null");
    for (int i = 0; i < countof(asked); i++) {
        arena *a = arena_open("test");
        struct spec s = parsed(a, asked[i].set);
        ckpt *c = two_norms_new(a, asked[i].act, asked[i].heads);
        fail_clear();
        model_settle(&s, c);
        params *p = model_params(&s);
        int rc = params_open(p, d, PARAMS_FORWARD) || model_load_whole(p, &s, c, NULL, NULL);
        if (asked[i].says ? !rc || fail_fault() != FAULT_DATA || !strstr(fail_message(), asked[i].says) : rc)
            fail_msg("%s: %s", asked[i].set, fail_message());
        if (!rc)
            assert_int_equal(s.model.act == MLP_ACT_quick_gelu,
                             strstr(asked[i].set, "quick")
                                 || (asked[i].act && !strcmp(asked[i].act, "quick_gelu")));
        params_free(p);
        ckpt_close(c);
        arena_close(a);
    }
    dev_close(d);
}

/* What the file says where the experiment does not. */
static void heads_are_settled(void **state)
{
    (void)state;
    for (int written = 0; written < 2; written++) {
        arena *a = arena_open("test");
        struct spec s;
        ckpt *c = ckpt_new();
        ckpt_set_meta(c, "heads", "4");
        const char *text = written ? "model: {arch: vit, heads: 3}" : "";
        assert_int_equal(spec_parse(&s, a, "x.yaml", text, NULL, 0), 0);
        model_settle(&s, c);
        assert_int_equal(s.model.heads, written ? 3 : 4);
        ckpt_close(c);
        arena_close(a);
    }
}

/* Shapes of models that ours are not. */
static void other_shapes_are_no_model_of_ours(void **state)
{
    (void)state;
    static const struct { i64 patch[4], fc2[2]; const char *says; } row[] = {
        { { 8, 3, 4, 4 }, { 8, 16 }, NULL }, { { 8, 3, 4, 8 }, { 8, 16 }, "patches of 4 x 8 pixels" },
        { { 8, 3, 4, 4 }, { 8, 8 }, "blocks.0.mlp.fc2.weight is [8 8], expected [8 16]" } };
    static const f32 zero[8 * 3 * 8 * 8];
    for (int i = 0; i < countof(row); i++) {
        arena *a = arena_open("test");
        struct spec s = parsed(a, "pool: avg");
        ckpt *c = ckpt_new();
        ckpt_add(c, "patch_embed.proj.weight", CKPT_F32, 4, row[i].patch, zero);
        ckpt_add(c, "pos_embed", CKPT_F32, 3, (i64[]){ 1, 4, 8 }, zero);
        ckpt_add(c, "blocks.0.mlp.fc1.weight", CKPT_F32, 2, (i64[]){ 16, 8 }, zero);
        ckpt_add(c, "blocks.0.mlp.fc2.weight", CKPT_F32, 2, row[i].fc2, zero);
        fail_clear();
        int rc = (c = ckpt_model(c, false)) ? model_read(&s, c, a) : -1;
        if (row[i].says ? !rc || fail_fault() != FAULT_DATA || !strstr(fail_message(), row[i].says) : rc)
            fail_msg("row %d: %s", i, fail_message());
        ckpt_close(c);
        arena_close(a);
    }
}

/* Heads leave no trace in shapes; one rule for who evaluates and who recycles. */
static void heads_are_those_of_published_sizes(void **state)
{
    (void)state;
    static const int row[][2] = { { 192, 3 }, { 384, 6 }, { 768, 12 }, { 1280, 16 }, { 128, 0 }, { 200, 0 } };
    ckpt *c = ckpt_new();
    for (int i = 0; i < countof(row); i++)
        assert_int_equal(model_heads(c, row[i][0]), row[i][1]);
    ckpt_set_meta(c, "heads", "5");
    assert_int_equal(model_heads(c, 1280), 5);
    ckpt_close(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(sizes_are_read_back),
                                        cmocka_unit_test(heads_are_settled),
                                        cmocka_unit_test(other_shapes_are_no_model_of_ours),
                                        cmocka_unit_test(what_tensors_do_not_tell_is_asked_for),
                                        cmocka_unit_test(heads_are_those_of_published_sizes) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
