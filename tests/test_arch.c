/* test_arch.c: the parts of other ViTs and of ConvNeXt V2: which parameters they have, and that all is read
 * back from a saved model. */
#include "on_device.h"
#include "model/model.h"
#include <math.h>

static const struct { const char *model, *has, *lacks; i64 n; } rows[] = {
    { "dist_token: head, pool: token", "head_dist.weight", "reg_token", 1 },
    { "dist_token: on, pool: token", "dist_token", "head_dist.weight", 1 },
    { "registers: 3, pool: token", "reg_token", "dist_token", 3 },
    { "registers: 2, class_token: off, pool: avg", "reg_token", "cls_token", 2 },
    { "pre_norm: on, pool: token", "norm_pre.bias", "patch_embed.proj.bias", 0 },
    { "head_bias: off, pool: token, act: quick_gelu, norm_eps: 1e-5", "head.weight", "head.bias", 0 },
    { "pool: norm_avg", "norm.weight", "fc_norm.weight", 0 },
    { "pool: norm_avg, class_token: off", "norm.bias", "cls_token", 0 },
    { "pool: norm_avg, act: gelu_tanh, dist_token: on", "norm.bias", "fc_norm.bias", 0 },
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
        if (!strcmp(s.model.family, "vit"))
            assert_int_equal(t.model.pool, s.model.pool);
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

/* ---- the head ------------------------------------------------------------------------------------------ */

enum { IMAGES = 2, DIM = 16, CLASSES = 3 };

static const f32 *random_values(arena *a, i64 n, u64 seed)
{
    f32 *v = arena_array(a, f32, n);
    rng r = rng_at(seed, RNG_TEST, 0, 0);
    LOOP(i, n) v[i] = (f32)rng_normal(&r);
    return v;
}

/* norm, the mean over tokens from `before` on, the head, in float64: of one image's x (n d). */
static void head_on_host(const f32 *x, i64 n, i64 before, const f32 *const w[4], f64 eps, f64 out[CLASSES])
{
    f64 mean[DIM] = { 0 };
    for (i64 t = before; t < n; t++) {
        f64 sum = 0, square = 0;
        LOOP(k, DIM) sum += (f64)x[t * DIM + k] / DIM;
        LOOP(k, DIM) square += pow((f64)x[t * DIM + k] - sum, 2) / DIM;
        LOOP(k, DIM) mean[k] += (((f64)x[t * DIM + k] - sum) / sqrt(square + eps) * (f64)w[0][k] + (f64)w[1][k])
                                / (f64)(n - before);
    }
    LOOP(c, CLASSES) {
        out[c] = (f64)w[3][c];
        LOOP(k, DIM) out[c] += (f64)w[2][c * DIM + k] * mean[k];
    }
}

static void run_norm_first(arena *a, const char *text, i64 tokens, i64 before)
{
    static const char *const names[] = { "norm.weight", "norm.bias", "head.weight", "head.bias" };
    struct spec s = parsed(a, text);
    graph *g = graph_new(device);
    params *p = model_params(&s);
    const f32 *w[4];
    f32 got[IMAGES * CLASSES], *x = arena_array(a, f32, IMAGES * tokens * DIM);
    f64 want[CLASSES];
    assert_int_equal(params_open(p, device, PARAMS_FORWARD), 0);
    for (size_t i = 0; i < p->n; i++) {
        const f32 *v = random_values(a, shape_count(p->list[i].shape), i);
        assert_int_equal(params_write(p, &p->list[i], v), 0);
        for (int k = 0; k < 4; k++)
            w[k] = strcmp(p->list[i].name, names[k]) ? w[k] : v;
    }
    struct nn m = { g, p };
    node *images = graph_input(g, "images", F32, model_images(&s, IMAGES));
    node *logits = node_keep(model_build(&m, &s, images));
    node *last = node_keep(op_copy(nn_find_tap(&m, "block.1")));
    assert_int_equal(shape_count(last->shape), IMAGES * tokens * DIM);
    assert_int_equal(graph_compile(g), 0);
    node_write(images, random_values(a, shape_count(images->shape), 99));
    assert_int_equal(graph_run(g) || node_read(logits, got) || node_read(last, x), 0);
    for (int i = 0; i < IMAGES; i++) {
        head_on_host(x + i * tokens * DIM, tokens, before, w, s.model.norm_eps, want);
        LOOP(c, CLASSES) assert_float_equal(got[i * CLASSES + c], want[c], 2e-5 * fmax(1, fabs(want[c])));
    }
    graph_free(g);
    params_free(p);
}

/* 4 x 6 patches, after none to six tokens that the head does not read. */
static void norm_comes_before_the_mean(void **state)
{
    (void)state;
    arena *a = arena_open("test");
    run_norm_first(a, "pool: norm_avg", 25, 1);
    run_norm_first(a, "pool: norm_avg, class_token: off, norm_eps: 0.1", 24, 0);
    run_norm_first(a, "pool: norm_avg, registers: 4, dist_token: on, act: gelu_tanh", 30, 6);
    arena_close(a);
}

/* The lines' ratio gives the file's hidden width, which the builder rounds down to. */
static void lines_keep_the_hidden_width(void **state)
{
    (void)state;
    static const int row[][2] = { { 384, 104 }, { 1152, 4304 }, { 192, 768 }, { 48, 104 }, { 7, 5 },
                                  { 1408, 6144 } };
    for (int i = 0; i < countof(row); i++) {
        arena *a = arena_open("test");
        int dim = row[i][0], hidden = row[i][1];
        struct spec s = parsed(a, "pool: avg"), t;
        ckpt *c = ckpt_new();
        f32 *zero = arena_array(a, f32, (i64)dim * hidden);
        ckpt_add(c, "patch_embed.proj.weight", CKPT_F32, 4, (i64[]){ dim, 3, 1, 1 }, zero);
        ckpt_add(c, "pos_embed", CKPT_F32, 3, (i64[]){ 1, 4, dim }, zero);
        ckpt_add(c, "blocks.0.mlp.fc1.weight", CKPT_F32, 2, (i64[]){ hidden, dim }, zero);
        ckpt_set_meta(c, "heads", "1");
        assert_true((c = ckpt_model(c, false)) && !model_read(&s, c, a));
        s.model.classes = 1;
        const char *text = arena_printf(a, "model: {%s}", model_lines(a, &s));
        if (spec_parse(&t, a, "x.yaml", text, NULL, 0) || (int)(dim * t.model.mlp_ratio) != hidden)
            fail_msg("%d of %d: %s: %s", hidden, dim, text, fail_message());
        ckpt_close(c);
        arena_close(a);
    }
}

/* Which pooling a file asks for: by its norms, its tokens, its metadata, and timm's config.json. */
static void pooling_is_read(void **state)
{
    (void)state;
    static const struct { const char *norm, *key, *value; bool token; const char *pool; } row[] = {
        { "norm.weight", NULL, NULL, true, "token" },
        { "norm.weight", NULL, NULL, false, "norm_avg" },
        { "fc_norm.weight", NULL, NULL, true, "avg" },
        { "fc_norm.weight", NULL, NULL, false, "avg" },
        { "head.weight", NULL, NULL, false, "avg" },
        { "norm.weight", "pool", "norm_avg", true, "norm_avg" },
        { "norm.weight", "config.global_pool", "avg", true, "norm_avg" },
        { "norm.weight", "config.global_pool", "token", true, "token" },
        { "fc_norm.weight", "config.global_pool", "avg", true, "avg" } };
    for (int i = 0; i < countof(row); i++) {
        ckpt *c = ckpt_new();
        ckpt_add(c, row[i].norm, CKPT_F32, 1, (i64[]){ 2 }, (f32[]){ 1, 1 });
        if (row[i].key)
            ckpt_set_meta(c, row[i].key, row[i].value);
        assert_int_equal(model_pool(c, row[i].token), spec_word_index("model.pool", row[i].pool));
        ckpt_close(c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(sizes_are_read_back),
                                        cmocka_unit_test(heads_are_settled),
                                        cmocka_unit_test(other_shapes_are_no_model_of_ours),
                                        cmocka_unit_test(what_tensors_do_not_tell_is_asked_for),
                                        cmocka_unit_test(heads_are_those_of_published_sizes),
                                        cmocka_unit_test(norm_comes_before_the_mean),
                                        cmocka_unit_test(lines_keep_the_hidden_width),
                                        cmocka_unit_test(pooling_is_read) };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
