/* test_ckpt_names.c: position embeddings of another grid, and loading into a model. */
#include "ckpt_help.h"

/* ---- position embeddings ------------------------------------------------------------------------------- */

static void check_resize(const ckpt *c, const char *from, const char *to, int h, int w, bool bilinear)
{
    const tensor *in = ckpt_find(c, from), *out = ckpt_find(c, to);
    if (!in || !out)
        fail_msg("no %s or %s", from, to);
    int d = (int)in->shape[2];
    f32 *got = test_calloc(out->count, 4);
    const f32 *p = tensor_data(in);
    memcpy(got, p, (size_t)d * 4);
    posembed_resize(p + d, 6, 6, got + d, h, w, d, bilinear);
    assert_near(got, tensor_data(out), out->count, 5e-6, 0);
    test_free(got);
}

static void resize_matches_timm(void **state)
{
    (void)state;
    static const int size[][2] = { { 4, 4 }, { 9, 9 }, { 5, 7 } };
    char name[64];
    ckpt *c = ckpt_open("tests/golden/ckpt_posembed.safetensors");
    assert_non_null(c);
    for (int i = 0; i < 2 * countof(size); i++) {
        const int *s = size[i / 2];
        snprintf(name, sizeof name, "%s.%dx%d", i % 2 ? "bilinear" : "bicubic", s[0], s[1]);
        check_resize(c, "from", name, s[0], s[1], i % 2);
    }
    ckpt_close(c);
    c = ckpt_open(REFERENCE "ops.safetensors");
    assert_non_null(c);
    for (int i = 0; i < 4; i++) {
        static const char *const mode[] = { "bicubic_aa", "bilinear_noaa" };
        int side = i % 2 ? 9 : 4, n = snprintf(name, sizeof name, "posembed_%s_6to%d", mode[i / 2], side);
        char from[80];
        snprintf(from, sizeof from, "%s.in.pos", name);
        snprintf(name + n, sizeof name - (size_t)n, ".out");
        check_resize(c, from, name, side, side, i / 2);
    }
    ckpt_close(c);
}

static void resize_of_the_same_grid_is_the_identity(void **state)
{
    (void)state;
    f32 in[3 * 5 * 2], out[3 * 5 * 2];
    for (int i = 0; i < countof(in); i++)
        in[i] = (f32)(i * 7 % 11) - 4.5f;
    for (int bilinear = 0; bilinear < 2; bilinear++) {
        posembed_resize(in, 3, 5, out, 3, 5, 2, bilinear);
        assert_near(out, in, countof(in), 1e-7, 0);
        posembed_resize(in, 1, 1, out, 3, 5, 2, bilinear);
        for (int i = 0; i < countof(out); i++)
            assert_float_equal(out[i], in[i % 2], 1e-6);
    }
}

/* Whichever direction goes first: the transposed grid gives the transposed result. */
static void resize_knows_no_direction(void **state)
{
    (void)state;
    enum { H0 = 9, W0 = 3, H = 2, W = 8 };
    f32 in[H0 * W0], transposed[H0 * W0], out[H * W], back[H * W];
    for (int i = 0; i < H0 * W0; i++)
        transposed[i % W0 * H0 + i / W0] = in[i] = (f32)(i * 7 % 11) - 4.5f;
    for (int bilinear = 0; bilinear < 2; bilinear++) {
        posembed_resize(in, H0, W0, out, H, W, 1, bilinear);
        posembed_resize(transposed, W0, H0, back, W, H, 1, bilinear);
        for (int i = 0; i < H * W; i++)
            assert_float_equal(out[i], back[i % W * H + i / W], 1e-6);
    }
}

/* A file of one-element tensors with these names. */
static ckpt *names_new(const char *const *name, int n)
{
    static const f32 v[16] = { 1, 2, 3, 4, 5, 6, 7, 8, 9 };
    ckpt *c = ckpt_new();
    for (int i = 0; i < n; i++)
        ckpt_add(c, name[i], CKPT_F32, 1, (i64[]){ 1 }, v + i);
    return c;
}

/* ---- loading ------------------------------------------------------------------------------------------- */

static const f32 ramp[64] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };

static void report_counts_what_happened(void **state)
{
    (void)state;
    ckpt *c = ckpt_new();
    ckpt_add(c, "cls_token", CKPT_F32, 3, (i64[]){ 1, 1, 2 }, ramp);
    ckpt_add(c, "pos_embed", CKPT_F32, 3, (i64[]){ 1, 5, 2 }, ramp);
    ckpt_add(c, "norm.weight", CKPT_F32, 1, (i64[]){ 2 }, ramp + 2);
    ckpt_add(c, "head.weight", CKPT_F32, 2, (i64[]){ 3, 2 }, ramp);
    ckpt_add(c, "blocks.9.norm1.bias", CKPT_F32, 1, (i64[]){ 2 }, ramp);
    f32 cls[2], pos[20], norm[2] = { -1, -1 }, head[4] = { -1, -1, -1, -1 }, phi[2] = { -1, -1 };
    struct want w[] = {
        { "cls_token", 1, { 2 }, cls }, { "pos_embed", 3, { 1, 10, 2 }, pos },
        { "fc_norm.weight", 1, { 2 }, norm },
        { "head.weight", 2, { 2, 2 }, head }, { "blocks.0.mlp.phi", 1, { 2 }, phi },
    };
    struct load_options o = { .grid = { 3, 3 }, .prefix = 1 };
    struct load_report r;
    arena *a = arena_open("test");
    assert_int_equal(ckpt_load(a, c, w, countof(w), &o, &r), 0);
    assert_int_equal(r.loaded, 1);
    assert_int_equal(r.resized, 1);
    assert_int_equal(r.fresh, 2);
    assert_int_equal(r.missing, 1);
    assert_int_equal(r.unexpected, 2);
    assert_int_equal(r.nlines, 6);
    assert_true(w[0].got == GOT_LOADED && w[1].got == GOT_RESIZED && w[2].got == GOT_NOTHING);
    assert_true(norm[0] == -1 && head[3] == -1 && phi[0] == -1);
    assert_true(pos[0] == 0 && pos[1] == 1);                          // the class token's row is kept
    assert_float_equal(pos[2 + 4 * 2], (2 + 4 + 6 + 8) / 4.0, 1e-6);  // the centre of 2 x 2
    o.norm_to_fc_norm = true;
    assert_int_equal(ckpt_load(a, c, w, countof(w), &o, &r), 0);
    assert_true(r.loaded == 2 && norm[0] == 2 && norm[1] == 3);
    o.strict = true;
    assert_int_equal(ckpt_load(a, c, w, countof(w), &o, &r), -1);
    assert_int_equal(fail_fault(), FAULT_DATA);
    assert_non_null(strstr(fail_message(), "blocks.0.mlp.phi"));
    assert_non_null(strstr(fail_message(), "1 more"));
    arena_close(a);
    ckpt_close(c);
}

static f32 taken[8];

static int take_first(void *arg, int i)
{
    const struct want *w = arg;
    taken[i] = w[i].data[0];
    return i == 2 ? fail(FAULT_DEVICE, "no room") : 0;
}

/* Data that is lent: one parameter at a time, and an error of the taker ends the loading. */
static void values_may_be_lent(void **state)
{
    (void)state;
    static const char *const names[] = { "a", "b", "c" };
    struct want w[] = { { "b", 1, { 1 } }, { "x", 1, { 1 } }, { "c", 1, { 1 } }, { "a", 1, { 1 } } };
    struct load_options o = { .store = take_first, .arg = w };
    struct load_report r;
    ckpt *c = names_new(names, 3);
    arena *a = arena_open("test");
    assert_int_equal(ckpt_load(a, c, w, 2, &o, &r), 0);
    assert_true(taken[0] == 2 && r.loaded == 1 && r.missing == 1 && !w[0].data);
    assert_int_equal(ckpt_load(a, c, w, 4, &o, &r), -1);
    assert_int_equal(fail_fault(), FAULT_DEVICE);
    assert_true(taken[2] == 3 && taken[3] == 0);
    arena_close(a);
    ckpt_close(c);
}

/* timm's register tokens may have positions, in pos_embed after the class token's: ours have none. */
static void positions_of_registers_are_added(void **state)
{
    (void)state;
    for (int lent = 0; lent < 2; lent++) {
        ckpt *c = ckpt_new();
        ckpt_add(c, "pos_embed", CKPT_F32, 3, (i64[]){ 1, 1 + 2 + 4, 2 }, ramp);
        ckpt_add(c, "reg_token", CKPT_F32, 3, (i64[]){ 1, 2, 2 }, ramp);
        f32 pos[10], reg[4];
        struct want w[] = { { "reg_token", 3, { 1, 2, 2 }, lent ? NULL : reg },
                            { "pos_embed", 3, { 1, 5, 2 }, pos } };
        struct load_options o = { .grid = { 2, 2 }, .prefix = 1, .store = lent ? take_first : NULL, .arg = w };
        struct load_report r;
        arena *a = arena_open("test");
        if (ckpt_load(a, c, w, countof(w), &o, &r))
            fail_msg("%s", fail_message());
        assert_float_equal(lent ? taken[0] : reg[0], ramp[0] + ramp[2], 1e-6);
        for (int i = 0; i < 4 && !lent; i++)
            assert_float_equal(reg[i], ramp[i] + ramp[2 + i], 1e-6);
        for (int i = 0; i < 10; i++)
            assert_float_equal(pos[i], ramp[i < 2 ? i : i + 4], 1e-6);
        arena_close(a);
        ckpt_close(c);
    }
}

static void position_grids_need_not_be_square(void **state)
{
    (void)state;
    static const struct {
        const char *grid;
        i64 tokens;
        int rows, columns;
        i64 want;
        bool ok, resized;
    } row[] = {
        { NULL, 5, 2, 3, 7, true, true },      { NULL, 4, 2, 3, 7, true, true },
        { NULL, 7, 2, 3, 7, true, false },     { "2 3", 7, 3, 2, 7, true, true },
        { "2 3", 7, 2, 3, 7, true, false },    { "2 3", 6, 3, 3, 10, true, true },
        { NULL, 8, 3, 3, 10, true, true },     { "99999999 9", 7, 3, 3, 10, true, true },
        { NULL, 5, 3, 4, 10, false, false },   { "1 1", 17, 3, 3, 10, true, true },
        { "1 1", 15, 3, 3, 10, false, false },
    };
    for (int i = 0; i < countof(row); i++) {
        ckpt *c = ckpt_new();
        ckpt_add(c, "pos_embed", CKPT_F32, 3, (i64[]){ 1, row[i].tokens, 2 }, ramp);
        if (row[i].grid)
            ckpt_set_meta(c, "grid", row[i].grid);
        f32 out[32];
        struct want w = { "pos_embed", 3, { 1, row[i].want, 2 }, out };
        struct load_report r;
        arena *a = arena_open("test");
        struct load_options o = { .grid = { row[i].rows, row[i].columns }, .prefix = 1 };
        int rc = ckpt_load(a, c, &w, 1, &o, &r);
        if (rc != (row[i].ok ? 0 : -1) || (row[i].ok && w.got != (row[i].resized ? GOT_RESIZED : GOT_LOADED)))
            fail_msg("case %d: %d %d %s", i, rc, w.got, fail_message());
        arena_close(a);
        ckpt_close(c);
    }
}

/* Patch embeddings of another size: what they say of a patch stays, if both are resampled; 1 and 4 channels. */
static void patches_are_resized(void **state)
{
    (void)state;
    f32 in[4 * 4], up[8 * 8], back[4 * 4], flat[16], same[16];
    for (int i = 0; i < countof(in); i++) {
        in[i] = (f32)(i * 7 % 11) - 4.5f;
        flat[i] = 1;
    }
    assert_true(patch_resize(in, 4, 4, same, 4, 4, 1));
    assert_near(same, in, 16, 1e-6, 0);
    assert_true(patch_resize(in, 4, 4, up, 8, 8, 1) && patch_resize(up, 8, 8, back, 4, 4, 1));
    f64 was = 0, is = 0;                             // on a grey patch, which any resampling leaves grey
    for (int i = 0; i < 16; i++)
        was += in[i] * flat[i];
    for (int i = 0; i < 64; i++)
        is += up[i];
    assert_float_equal(is, was, 1e-4);

    static const struct { i64 channels, side, want; bool ok; } row[] = {
        { 3, 4, 4, true }, { 1, 4, 4, true }, { 4, 4, 4, true }, { 3, 4, 2, true }, { 1, 2, 4, true },
        { 2, 4, 4, false } };
    for (int i = 0; i < countof(row); i++) {
        static const f32 ones[4 * 16] = { 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3 };
        f32 out[3 * 16] = { 0 };
        ckpt *c = ckpt_new();
        ckpt_add(c, "patch_embed.proj.weight", CKPT_F32, 4,
                 (i64[]){ 1, row[i].channels, row[i].side, row[i].side }, ones);
        struct want w = { "patch_embed.proj.weight", 4, { 1, 3, row[i].want, row[i].want }, out };
        struct load_report r;
        arena *a = arena_open("test");
        struct load_options o = { .strict = true };
        int rc = ckpt_load(a, c, &w, 1, &o, &r);
        if (rc != (row[i].ok ? 0 : -1))
            fail_msg("row %d: %s", i, fail_message());
        if (row[i].channels == 1 && row[i].side == 4)                     // a third of it to each colour
            assert_true(out[0] == 1 && out[16] == 1 && out[47] == 1 && w.got == GOT_RESIZED);
        if (row[i].channels == 4)
            assert_true(out[0] == 3 && out[15] == 3 && out[16] == 0 && w.got == GOT_RESIZED);
        arena_close(a);
        ckpt_close(c);
    }
}

/* Every parameter of a model from a file of Google's, position embeddings resized on the way, as timm does
 * it. */
static void check_google(const char *path, const char *twin, int resized)
{
    ckpt *c = ckpt_open_model(path, false), *t = ckpt_open(twin);
    struct load_report r;
    arena *a = arena_open("test");
    if (!c || !t)
        fail_msg("%s", fail_message());
    struct want *w = arena_array(a, struct want, ckpt_count(t));
    for (int i = 0; i < ckpt_count(t); i++) {
        const tensor *x = ckpt_at(t, i);
        w[i] = (struct want){ x->name, x->nd, .data = arena_array(a, f32, x->count) };
        memcpy(w[i].shape, x->shape, sizeof w[i].shape);
    }
    struct load_options o = { .grid = { 2, 2 }, .prefix = 1, .strict = true };
    if (ckpt_load(a, c, w, ckpt_count(t), &o, &r))
        fail_msg("%s", fail_message());
    assert_true(r.resized == resized && r.loaded == ckpt_count(t) - resized && r.nlines == resized);
    for (int i = 0; i < ckpt_count(t); i++)
        assert_near(w[i].data, tensor_data(ckpt_at(t, i)), ckpt_at(t, i)->count,
                    w[i].got == GOT_RESIZED ? 5e-6 : 0, 0);
    arena_close(a);
    ckpt_close(t);
    ckpt_close(c);
}

static void google_files_load_as_in_timm(void **state)
{
    (void)state;
    check_google("tests/golden/ckpt_augreg.npz", "tests/golden/ckpt_augreg.safetensors", 1);
    check_google("tests/golden/ckpt_bigvision.npz", "tests/golden/ckpt_bigvision.safetensors", 0);
    check_google(REFERENCE "tiny_augreg_pos4.npz", REFERENCE "tiny_augreg_pos4.safetensors", 1);
}

/* MoCo v3's ViT-S has twice the heads that others of its width have. */
static void moco_says_its_heads(void **state)
{
    (void)state;
    static const struct { const char *under, *arch; int width; bool known; } row[] = {
        { "state_dict.module.base_encoder.", NULL, 384, true },
        { "state_dict.module.", "vit_small", 384, true },
        { "state_dict.module.base_encoder.", "vit_base", 768, false },
        { "state_dict.module.", "vit_small_patch16_224", 384, false }, { "", "vit_small", 384, false } };
    static const char *const more[] = { "norm.weight", "norm.bias", "blocks.0.norm1.bias" };
    static const f32 zeros[3 * 768];
    for (int i = 0; i < countof(row); i++) {
        arena *a = arena_open("test");
        ckpt *c = ckpt_new();
        ckpt_add(c, arena_printf(a, "%spatch_embed.proj.weight", row[i].under), CKPT_F32, 4,
                 (i64[]){ row[i].width, 3, 1, 1 }, zeros);
        ckpt_add(c, arena_printf(a, "%scls_token", row[i].under), CKPT_F32, 3, (i64[]){ 1, 1, row[i].width },
                 zeros);
        for (int k = 0; k < countof(more); k++)
            ckpt_add(c, arena_printf(a, "%s%s", row[i].under, more[k]), CKPT_F32, 1, (i64[]){ row[i].width },
                     zeros);
        if (row[i].arch)
            ckpt_set_meta(c, "arch", row[i].arch);
        if (!(c = ckpt_model(c, false)))
            fail_msg("row %d: %s", i, fail_message());
        const char *heads = ckpt_meta(c, "heads");
        assert_true(row[i].known ? heads && !strcmp(heads, "12") : !heads);
        ckpt_close(c);
        arena_close(a);
    }
}

/* What mmengine's configuration says of mmpretrain's models, read as text. */
static void mmengine_says_what_is_computed(void **state)
{
    (void)state;
#define MODEL(backbone) "x = dict(a=[1, 2], b='model = dict(')\nmodel = dict(\n    backbone=dict(" backbone \
                        "),\n    head=dict(type='X'),\n    neck=dict(type='GlobalAveragePooling'))\ny = 1\n"
    static const struct { const char *text, *key, *want; } row[] = {
        { MODEL("arch='b', type='VisionTransformer'"), "heads", NULL },
        { MODEL("arch='small', type='VisionTransformer'"), "heads", "8" },
        { MODEL("arch='small', type='DeiT3'"), "heads", NULL },
        { MODEL("arch='mocov3-s', type='MoCoV3ViT'"), "heads", "12" },
        { MODEL("arch=dict(embed_dims=6,\n        num_heads=3), type='VisionTransformer'"), "heads", "3" },
        { MODEL("b=dict(norm_cfg=dict(eps=1)), arch='b'"), "norm_eps", NULL },
        { MODEL("arch='b', norm_cfg=dict(eps=0.01, type='LN')"), "norm_eps", "0.01" },
        { MODEL("arch='b', norm_cfg=dict(type='LN')"), "norm_eps", "1e-05" },
        { MODEL("layer_cfgs=dict(act_cfg=dict(type='mmpretrain.QuickGELU'))"), "act", "quick_gelu" },
        { MODEL("act_cfg=dict(approximate='tanh', type='GELU')"), "act", "gelu_tanh" },
        { MODEL("act_cfg=dict(type='GELU')"), "act", "gelu" },
        { MODEL("act_cfg=dict(type='ReLU')"), NULL, "another activation" },
        { MODEL("img_size=(\n        32,\n        48,\n    )"), "grid", "32 48" },
        { MODEL("img_size=32, patch_size=8"), "grid", NULL },
        { MODEL("out_type='featmap'"), "pool", "norm_avg" },
        { MODEL("out_type='cls_token'"), "pool", NULL },
        { MODEL("out_type='raw'"), NULL, "reads all tokens" },
        { MODEL("gap_before_final_norm=True"), "pool", NULL },
        { MODEL("gap_before_final_norm=False"), NULL, "gap_before_final_norm=False" },
        { MODEL("patch_cfg=dict(stride=4)"), NULL, "a stride" },
        { "model = dict(backbone=dict(out_type='featmap'))", NULL, "reads all tokens" },
        { "model = dict(backbone=dict(out_type='raw", "pool", NULL },
        { "model = dict(backbone=dict(out_type=", "pool", NULL },
        { "a model = dict(backbone=dict(out_type='raw'))", "pool", NULL },
        { "model = dict(backbone=)", "pool", NULL },
        { "", "pool", NULL } };
#undef MODEL
    for (int i = 0; i < countof(row); i++) {
        ckpt *c = ckpt_new();
        ckpt_add(c, "backbone.patch_embed.projection.weight", CKPT_F32, 4, (i64[]){ 1, 1, 1, 1 }, (f32[]){ 1 });
        ckpt_add(c, "backbone.ln1.weight", CKPT_F32, 1, (i64[]){ 1 }, (f32[]){ 1 });
        ckpt_add(c, "head.fc.weight", CKPT_F32, 2, (i64[]){ 1, 1 }, (f32[]){ 1 });
        ckpt_set_meta(c, i % 2 ? "meta.config" : "meta.cfg", row[i].text);
        fail_clear();
        c = ckpt_model(c, false);
        if (!row[i].key)
            assert_true(!c && fail_fault() == FAULT_DATA && strstr(fail_message(), row[i].want));
        else {
            const char *got = c ? ckpt_meta(c, row[i].key) : fail_message();
            if (row[i].want ? !got || strcmp(got, row[i].want) : got != NULL)
                fail_msg("%s: %s", row[i].text, got ? got : "nothing");
        }
        ckpt_close(c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resize_matches_timm),
        cmocka_unit_test(resize_of_the_same_grid_is_the_identity),
        cmocka_unit_test(resize_knows_no_direction),
        cmocka_unit_test(report_counts_what_happened),
        cmocka_unit_test(values_may_be_lent),
        cmocka_unit_test(positions_of_registers_are_added),
        cmocka_unit_test(position_grids_need_not_be_square),
        cmocka_unit_test(patches_are_resized),
        cmocka_unit_test(google_files_load_as_in_timm),
        cmocka_unit_test(moco_says_its_heads),
        cmocka_unit_test(mmengine_says_what_is_computed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
