/* test_names_whole.c: a scheme's file of a whole model is used whole or not at all: with any one
 * of its tensors missing, or under an unknown name, it is refused, with the parameter
 * that would be drawn at random. */
#include "ckpt_help.h"
#include "model/model.h"

#define VIT "arch: vit, image: 8, patch: 4, dim: 8, depth: 2, heads: 2, classes: 3, "
#define JAX "arch: vit, patch: 2, dim: 4, depth: 2, heads: 2, classes: 3, mlp_ratio: 1.5, pool: token, "
#define CONVNEXT "arch: convnext, image: 32, depths: [1, 2], dims: [4, 8], classes: 3"

/* Every scheme, with a model that it can name; of JAX's, which are only read, files. */
static const struct { const char *id, *model, *file; } rows[] = {
    { "timm_vit", VIT "pool: token, dist_token: head" },
    { "timm_vit", VIT "pool: avg, layer_scale: 1" },
    { "timm_convnext", CONVNEXT },
    { "timm_convnext", CONVNEXT ", grn: on, layer_scale: off" },
    { "facebook_convnext", CONVNEXT },
    { "hf_vit", VIT "pool: token" },
    { "hf_vit", VIT "pool: token, dist_token: on" },
    { "hf_vit", VIT "pool: token, dist_token: head" },
    { "hf_dinov2", VIT "pool: token, layer_scale: 1, registers: 2" },
    { "hf_beit", VIT "pool: avg, layer_scale: 1" },
    { "hf_vit", VIT "pool: norm_avg, class_token: off" },
    { "hf_siglip", VIT "pool: norm_avg, class_token: off, act: gelu_tanh" },
    { "hf_clip", VIT "pool: token, pre_norm: on, head_bias: off" },
    { "hf_convnext", CONVNEXT },
    { "hf_convnextv2", CONVNEXT ", grn: on, layer_scale: off" },
    { "torchvision_vit", VIT "pool: token" },
    { "torchvision_convnext", CONVNEXT },
    { "mmpretrain_vit", VIT "pool: token" },
    { "mmpretrain_vit", VIT "pool: avg" },
    { "mmpretrain_convnext", CONVNEXT },
    { "clip", VIT "pool: token, pre_norm: on, head_bias: off" },
    { "augreg", JAX "image: 6", "tests/golden/ckpt_augreg.npz" },
    { "big_vision", JAX "image: 4", "tests/golden/ckpt_bigvision.npz" },
};

struct whole { arena *a; struct spec s; params *p; ckpt *theirs; bool headless; };

/* Random values, so that a tensor in another's place would show. */
static struct whole whole_open(int row)
{
    struct whole w = { arena_open("test") };
    const char *text = arena_printf(w.a, "model: {%s, drop_path: off}", rows[row].model);
    if (spec_parse(&w.s, w.a, "x.yaml", text, NULL, 0) || !(w.p = model_params(&w.s)))
        fail_msg("%s: %s", rows[row].model, fail_message());
    if (rows[row].file) {
        w.theirs = ckpt_open(rows[row].file);
        return w;
    }
    ckpt *ours = ckpt_new();
    bool keyless = !strcmp(rows[row].id, "hf_beit");
    bool headless = !strcmp(rows[row].id, "hf_dinov2");  // its classifier reads the mean of the patches as well
    rng r = rng_at(1, RNG_TEST, 0, 0);
    for (size_t i = 0; i < w.p->n; i++) {
        const struct param *x = &w.p->list[i];
        f32 *v = arena_array(w.a, f32, shape_count(x->shape));
        LOOP(k, shape_count(x->shape)) v[k] = (f32)rng_normal(&r);
        if (keyless && text_ends(x->name, ".qkv.bias"))  // its keys have none: what is not there becomes zeros
            continue;
        if (!headless || !text_starts(x->name, "head."))
            ckpt_add(ours, x->name, CKPT_F32, x->shape.nd, x->shape.d, v);
    }
    if (!(w.theirs = ckpt_named(ours, rows[row].id)))
        fail_msg("%s: %s: %s", rows[row].id, rows[row].model, fail_message());
    w.headless = headless;
    return w;
}

static void whole_close(struct whole *w)
{
    ckpt_close(w->theirs);
    params_free(w->p);
    arena_close(w->a);
}

static int count_taken(void *arg, const struct param *x, const f32 *values)
{
    (void)x, (void)values;
    ++*(int *)arg;
    return 0;
}

/* A backbone's file, into all parameters but the head's. */
static int load_headless(struct whole *w, ckpt *c)
{
    struct want *want = arena_array(w->a, struct want, w->p->n);
    struct load_options o = model_load_options(&w->s);
    struct load_report r = { 0 };
    int n = 0;
    for (size_t i = 0; i < w->p->n; i++) {
        const struct param *x = &w->p->list[i];
        if (text_starts(x->name, "head."))
            continue;
        want[n] = (struct want){ .name = x->name, .nd = x->shape.nd,
                                 .data = arena_array(w->a, f32, shape_count(x->shape)) };
        memcpy(want[n++].shape, x->shape.d, sizeof x->shape.d);
    }
    if (ckpt_load(w->a, c, want, n, &o, &r))
        return -1;
    return r.loaded == n ? (int)w->p->n : fail(FAULT_DATA, "%d of %d", r.loaded, n);
}

/* Loads their tensors but for `odd`, which is left out, or (renamed) has an unknown name. How many
 * parameters were taken, or -1 + fail. */
static int load_but(struct whole *w, int odd, bool renamed)
{
    ckpt *c = ckpt_new();
    int taken = 0;
    for (int i = 0; i < ckpt_count(w->theirs); i++) {
        const tensor *t = ckpt_at(w->theirs, i);
        const char *name = i == odd ? arena_printf(w->a, "%s_x", t->name) : t->name;
        if (i != odd || renamed)
            ckpt_add(c, name, t->type, t->nd, t->shape, tensor_data(t));
    }
    for (size_t i = 0; i < w->p->n; i++)
        w->p->list[i].loaded = false;
    ckpt_set_meta(c, "act", "gelu");              // which CLIP's names alone do not tell
    fail_clear();
    c = ckpt_model(c, false);
    struct spec s = w->s;
    int rc = !c ? -1 : w->headless ? (taken = load_headless(w, c)) < 0
                                   : model_load_whole(w->p, &s, c, count_taken, &taken);
    ckpt_close(c);
    return rc ? -1 : taken;
}

static void one_tensor_less_is_refused(void **state)
{
    (void)state;
    for (int row = 0; row < countof(rows); row++) {
        struct whole w = whole_open(row);
        int n = ckpt_count(w.theirs);
        if (load_but(&w, -1, false) != (int)w.p->n)
            fail_msg("%s: %s", rows[row].id, fail_message());
        for (int i = 0; i < 2 * n; i++) {
            const char *name = ckpt_at(w.theirs, i / 2)->name;
            int taken = load_but(&w, i / 2, i % 2);
            if (taken >= 0 || fail_fault() != FAULT_DATA || strchr(fail_message(), '\n'))
                fail_msg("%s: with %s %s it is accepted, %d parameters; %s", rows[row].id, name,
                         i % 2 ? "renamed" : "missing", taken, fail_message());
        }
        whole_close(&w);
    }
}

/* What the library's own model always has, or would compute otherwise, is not exported to its names. */
static void what_cannot_be_said_is_refused(void **state)
{
    (void)state;
    static const struct { const char *id, *model, *says; } row[] = {
        { "torchvision_vit", VIT "pool: token", NULL },
        { "torchvision_vit", VIT "pool: token, qkv_bias: off, head_bias: off", NULL },
        { "torchvision_vit", "arch: vit, image: [8, 12], patch: 4, dim: 8, heads: 2, classes: 3, pool: token",
          "images are squares, this model's have 2 x 3 patches" },
        { "hf_clip", "arch: vit, image: [12, 8], patch: 4, dim: 8, heads: 2, classes: 3, pool: token, "
                     "pre_norm: on, head_bias: off", "have 3 x 2 patches" },
        { "hf_dinov2", "arch: vit, image: [12, 8], patch: 4, dim: 8, heads: 2, classes: 3, pool: token, "
                       "layer_scale: 1", "have 3 x 2 patches" },
        { "timm_vit", VIT "pool: token, head_bias: off", NULL },
        { "timm_vit", VIT "pool: token, registers: 2", "class token has no position where its registers" },
        { "timm_vit", VIT "pool: norm_avg, class_token: off, registers: 2", NULL },
        { "timm_vit", VIT "pool: token, dist_token: on", "has a second head" },
        { "mmpretrain_vit", VIT "pool: token, dist_token: on", "has a second head" },
        { "mmpretrain_vit", VIT "pool: norm_avg, class_token: off", NULL },
        { "hf_siglip", VIT "pool: norm_avg, class_token: off, qkv_bias: off",
          "always has what is blocks.0.attn.qkv.bias" },
        { "hf_convnext", CONVNEXT ", norm_eps: 1e-3", "norm_eps is 1e-06, this model's is 0.001" },
        { "torchvision_convnext", CONVNEXT ", norm_eps: 1e-3", NULL },
        { "facebook_convnext", CONVNEXT ", head_bias: off", NULL },
        { "torchvision_vit", VIT "pool: norm_avg, class_token: off", "always has what is cls_token" },
        { "torchvision_vit", VIT "pool: norm_avg", "head reads the class token" },
        { "torchvision_vit", VIT "pool: avg", "has no name for fc_norm" },
        { "torchvision_vit", VIT "pool: token, act: gelu_tanh", "this model's is gelu_tanh" },
        { "facebook_convnext", CONVNEXT ", act: quick_gelu", "act is gelu, this model's is quick_gelu" },
        { "torchvision_vit", VIT "pool: token, layer_scale: 1", "has no name for blocks.0.ls1.gamma" },
        { "torchvision_convnext", CONVNEXT ", layer_scale: off", "what is stages.0.blocks.0.gamma" },
        { "timm_vit", VIT "pool: norm_avg", NULL },
        { "hf_vit", VIT "pool: token, head_bias: off", "always has what is head.bias" },
        { "hf_vit", VIT "pool: token, registers: 2", "has no name for reg_token" },
        { "hf_dinov2", VIT "pool: token", "always has what is blocks.0.ls1.gamma" },
        { "hf_siglip", VIT "pool: token", "has no name for cls_token" },
        { "hf_clip", VIT "pool: token, head_bias: off", "always has what is norm_pre.weight" },
        { "hf_clip", VIT "pool: token, pre_norm: on", "has no name for head.bias" },
        { "hf_convnextv2", CONVNEXT ", layer_scale: off", "always has what is stages.0.blocks.0.mlp.grn" },
    };
    for (int i = 0; i < countof(row); i++) {
        arena *a = arena_open("test");
        struct spec s;
        const char *text = arena_printf(a, "model: {%s, drop_path: off}", row[i].model);
        params *p = spec_parse(&s, a, "x.yaml", text, NULL, 0) ? NULL : model_params(&s);
        assert_non_null(p);
        ckpt *ours = ckpt_new();
        model_describe(ours, &s, a, NULL);
        for (size_t k = 0; k < p->n; k++)
            ckpt_add(ours, p->list[k].name, CKPT_F32, p->list[k].shape.nd, p->list[k].shape.d,
                     arena_array(a, f32, shape_count(p->list[k].shape)));
        fail_clear();
        ckpt *theirs = ckpt_named(ours, row[i].id);
        bool refused = !theirs && fail_fault() == FAULT_DATA;
        if (row[i].says ? !refused || !strstr(fail_message(), row[i].says) : !theirs)
            fail_msg("%s: %s: %s", row[i].id, row[i].model, fail_message());
        if (theirs)
            ckpt_close(theirs);
        params_free(p);
        arena_close(a);
    }
}

/* Names that depend on what else the model has, as each library's own class has them. */
static void names_follow_the_model(void **state)
{
    (void)state;
    static const struct { const char *scheme, *ours[3], *theirs[3]; } row[] = {
        { "hf_vit", { "cls_token", "head.bias" }, { "vit.embeddings.cls_token", "classifier.bias" } },
        { "hf_vit", { "dist_token", "head.bias" },
          { "deit.embeddings.distillation_token", "classifier.bias" } },
        { "hf_vit", { "dist_token", "head.bias", "head_dist.weight" },
          { "deit.embeddings.distillation_token", "cls_classifier.bias", "distillation_classifier.weight" } },
        { "hf_dinov2", { "cls_token" }, { "dinov2.embeddings.cls_token" } },
        { "hf_dinov2", { "reg_token", "norm.bias" },
          { "dinov2_with_registers.embeddings.register_tokens", "dinov2_with_registers.layernorm.bias" } },
        { "mmpretrain_vit", { "norm.bias", "head.bias" }, { "backbone.ln1.bias", "head.fc.bias" } },
        { "mmpretrain_vit", { "cls_token", "head.bias" }, { "backbone.cls_token", "head.layers.head.bias" } },
        { "mmpretrain_vit", { "fc_norm.weight", "head.bias" }, { "backbone.ln2.weight", "head.fc.bias" } } };
    for (int i = 0; i < countof(row); i++) {
        ckpt *c = ckpt_new();
        int n = 0;
        for (; n < 3 && row[i].ours[n]; n++)
            ckpt_add(c, row[i].ours[n], CKPT_F32, 1, (i64[]){ 1 }, (f32[]){ 1 });
        if (!(c = ckpt_named(c, row[i].scheme)))
            fail_msg("%s: %s", row[i].scheme, fail_message());
        for (int k = 0; k < n; k++)
            if (!ckpt_find(c, row[i].theirs[k]))
                fail_msg("%s: no %s but %s", row[i].scheme, row[i].theirs[k], ckpt_at(c, k)->name);
        ckpt_close(c);
    }
}

/* A bias that theirs always has is zeros, one for each output, where ours has none. */
static void missing_biases_become_zeros(void **state)
{
    (void)state;
#define VIT_HAS { "cls_token", "patch_embed.proj.bias" }
    static const struct { const char *scheme, *like, *theirs, *more[3]; } row[] = {
        { "timm_vit", "head.weight", "head.bias", VIT_HAS },
        { "timm_convnext", "head.fc.weight", "head.fc.bias", { NULL } },
        { "torchvision_vit", "head.weight", "heads.head.bias", VIT_HAS },
        { "torchvision_vit", "blocks.7.attn.qkv.weight",
          "encoder.layers.encoder_layer_7.self_attention.in_proj_bias", VIT_HAS },
        { "hf_siglip", "head.weight", "classifier.bias",
          { "patch_embed.proj.bias", "blocks.0.attn.qkv.bias" } },
        { "hf_beit", "blocks.3.attn.proj.weight", "beit.encoder.layer.3.attention.attention.query.bias",
          VIT_HAS },
        { "hf_beit", "blocks.3.attn.proj.weight", "beit.encoder.layer.3.attention.attention.value.bias",
          VIT_HAS },
        { "hf_convnext", "head.fc.weight", "classifier.bias", { "stages.0.blocks.0.gamma" } },
        { "mmpretrain_convnext", "head.fc.weight", "head.fc.bias", { NULL } } };
#undef VIT_HAS
    for (int i = 0; i < countof(row); i++) {
        ckpt *c = ckpt_new();
        for (int k = 0; row[i].more[k]; k++)
            ckpt_add(c, row[i].more[k], CKPT_F32, 1, (i64[]){ 3 }, (f32[]){ 1, 1, 1 });
        ckpt_add(c, row[i].like, CKPT_F32, 2, (i64[]){ 3, 2 }, (f32[]){ 1, 1, 1, 1, 1, 1 });
        if (!(c = ckpt_named(c, row[i].scheme)))
            fail_msg("%s: %s", row[i].scheme, fail_message());
        const tensor *t = ckpt_find(c, row[i].theirs);
        if (!t || t->nd != 1 || t->shape[0] != 3 || memcmp(tensor_data(t), (f32[]){ 0, 0, 0 }, 12))
            fail_msg("%s: no %s of three zeros", row[i].scheme, row[i].theirs);
        ckpt_close(c);
    }
}

/* mmpretrain may normalise the tokens and then their mean once more. */
static void two_norms_may_both_be_computed(void **state)
{
    (void)state;
    static const char *const name[] = { "patch_embed.projection.bias", "cls_token", "layers.0.ln1.bias",
                                        "layers.0.ln2.bias", "ln1.weight", "ln2.weight" };
    for (int n = 5; n <= 6; n++) {
        ckpt *c = ckpt_new();
        for (int i = 0; i < n; i++)
            ckpt_add(c, name[i], CKPT_F32, 1, (i64[]){ 1 }, (f32[]){ 1 });
        ckpt *m = ckpt_model(c, false);
        assert_int_equal(m != NULL, n == 5);
        if (n == 6)
            assert_true(fail_fault() == FAULT_DATA && strstr(fail_message(), "before and after the mean"));
        ckpt_close(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(one_tensor_less_is_refused),
                                        cmocka_unit_test(what_cannot_be_said_is_refused),
                                        cmocka_unit_test(names_follow_the_model),
                                        cmocka_unit_test(missing_biases_become_zeros),
                                        cmocka_unit_test(two_norms_may_both_be_computed) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
