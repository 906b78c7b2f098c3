/* test_names.c: every framework's names for the same model, whole files by their key lists: read to ours,
 * written back, refused. */
#include "ckpt_help.h"

enum { D = 6, IMAGE = 8, PATCH = 4 };                /* channels; 2 x 2 patches */

/* ---- files by key lists -------------------------------------------------------------------------------- */

/* Our name, its shape, and what a scheme calls it: "" for the same name, NULL for a tensor that this scheme's
 * file does not hold; of queries, keys and values, with %s for each. */
struct key { const char *ours, *theirs; int nd; i64 shape[4]; };

static const f32 *ramp(int from)
{
    static f32 v[1 << 14];
    for (int i = 0; i < countof(v) && v[1] == 0; i++)
        for (int k = 0; k < countof(v); k++)
            v[k] = (f32)k;
    return v + from;
}

static i64 count(const struct key *k)
{
    i64 n = 1;
    for (int i = 0; i < k->nd; i++)
        n *= k->shape[i];
    return n;
}

/* A file of these keys under `before`, q/k/v apart, and the same under our names. */
static ckpt *theirs_new(const struct key *k, int n, const char *const qkv[3], const char *before, arena *a)
{
    ckpt *c = ckpt_new();
    for (int i = 0, at = 0; i < n; at += (int)count(&k[i++])) {
        if (!strstr(k[i].theirs, "%s")) {
            ckpt_add(c, arena_printf(a, "%s%s", before, k[i].theirs), CKPT_F32, k[i].nd, k[i].shape, ramp(at));
            continue;
        }
        i64 shape[4] = { k[i].shape[0] / 3, k[i].shape[1] };
        const char *mark = strstr(k[i].theirs, "%s");
        for (int s = 0; s < 3; s++)
            ckpt_add(
                c,
                arena_printf(a, "%s%.*s%s%s", before, (int)(mark - k[i].theirs), k[i].theirs, qkv[s], mark + 2),
                CKPT_F32, k[i].nd, shape, ramp(at + s * (int)count(&k[i]) / 3));
    }
    return c;
}

static ckpt *ours_new(const struct key *k, int n)
{
    ckpt *c = ckpt_new();
    for (int i = 0, at = 0; i < n; at += (int)count(&k[i++]))
        ckpt_add(c, k[i].ours, CKPT_F32, k[i].nd, k[i].shape, ramp(at));
    return c;
}

#define VIT(patch, cls, pos, n1w, n1b, qw, qb, pw, pb, n2w, n2b, f1w, f1b, f2w, f2b, nw, nb, hw, hb) { \
    { "patch_embed.proj.weight",     patch ".weight", 4, { D, 3, PATCH, PATCH } }, \
    { "patch_embed.proj.bias",       patch ".bias", 1, { D } }, \
    { "cls_token", cls, 3, { 1, 1, D } }, { "pos_embed", pos, 3, { 1, 5, D } }, \
    { "blocks.0.norm1.weight", n1w, 1, { D } }, { "blocks.0.norm1.bias", n1b, 1, { D } }, \
    { "blocks.0.attn.qkv.weight", qw, 2, { 3 * D, D } }, { "blocks.0.attn.qkv.bias", qb, 1, { 3 * D } }, \
    { "blocks.0.attn.proj.weight", pw, 2, { D, D } }, { "blocks.0.attn.proj.bias", pb, 1, { D } }, \
    { "blocks.0.norm2.weight", n2w, 1, { D } }, { "blocks.0.norm2.bias", n2b, 1, { D } }, \
    { "blocks.0.mlp.fc1.weight", f1w, 2, { 4 * D, D } }, { "blocks.0.mlp.fc1.bias", f1b, 1, { 4 * D } }, \
    { "blocks.0.mlp.fc2.weight", f2w, 2, { D, 4 * D } }, { "blocks.0.mlp.fc2.bias", f2b, 1, { D } }, \
    { "norm.weight", nw, 1, { D } }, { "norm.bias", nb, 1, { D } }, \
    { "head.weight", hw, 2, { 3, D } }, { "head.bias", hb, 1, { 3 } } }

#define CONVNEXT(stem, stemnorm, dw, norm, f1, f2, gamma, down0, down1, hn, fc)                                \
    {                                                                                                          \
        { "stem.0.weight", stem ".weight", 4, { D, 3, 4, 4 } }, { "stem.0.bias", stem ".bias", 1, { D } },     \
            { "stem.1.weight", stemnorm ".weight", 1, { D } }, { "stem.1.bias", stemnorm ".bias", 1, { D } },  \
            { "stages.0.blocks.0.gamma", gamma, 1, { D } },                                                    \
            { "stages.0.blocks.0.conv_dw.weight", dw ".weight", 4, { D, 1, 7, 7 } },                           \
            { "stages.0.blocks.0.conv_dw.bias", dw ".bias", 1, { D } },                                        \
            { "stages.0.blocks.0.norm.weight", norm ".weight", 1, { D } },                                     \
            { "stages.0.blocks.0.norm.bias", norm ".bias", 1, { D } },                                         \
            { "stages.0.blocks.0.mlp.fc1.weight", f1 ".weight", 2, { 4 * D, D } },                             \
            { "stages.0.blocks.0.mlp.fc1.bias", f1 ".bias", 1, { 4 * D } },                                    \
            { "stages.0.blocks.0.mlp.fc2.weight", f2 ".weight", 2, { D, 4 * D } },                             \
            { "stages.0.blocks.0.mlp.fc2.bias", f2 ".bias", 1, { D } },                                        \
            { "stages.1.downsample.0.weight", down0 ".weight", 1, { D } },                                     \
            { "stages.1.downsample.0.bias", down0 ".bias", 1, { D } },                                         \
            { "stages.1.downsample.1.weight", down1 ".weight", 4, { 8, D, 2, 2 } },                            \
            { "stages.1.downsample.1.bias", down1 ".bias", 1, { 8 } },                                         \
            { "head.norm.weight", hn ".weight", 1, { 8 } }, { "head.norm.bias", hn ".bias", 1, { 8 } },        \
            { "head.fc.weight", fc ".weight", 2, { 3, 8 } },                                                   \
        {                                                                                                      \
            "head.fc.bias", fc ".bias", 1, { 3 }                                                               \
        }                                                                                                      \
    }

static const struct key timm_vit[] = VIT("patch_embed.proj", "cls_token", "pos_embed", "blocks.0.norm1.weight",
    "blocks.0.norm1.bias", "blocks.0.attn.qkv.weight", "blocks.0.attn.qkv.bias", "blocks.0.attn.proj.weight",
    "blocks.0.attn.proj.bias", "blocks.0.norm2.weight", "blocks.0.norm2.bias", "blocks.0.mlp.fc1.weight",
    "blocks.0.mlp.fc1.bias", "blocks.0.mlp.fc2.weight", "blocks.0.mlp.fc2.bias", "norm.weight", "norm.bias",
    "head.weight", "head.bias");
#define L "vit.encoder.layer.0."
static const struct key hf_vit[] = VIT(
    "vit.embeddings.patch_embeddings.projection", "vit.embeddings.cls_token",
    "vit.embeddings.position_embeddings", L "layernorm_before.weight", L "layernorm_before.bias",
    L "attention.attention.%s.weight", L "attention.attention.%s.bias", L "attention.output.dense.weight",
    L "attention.output.dense.bias", L "layernorm_after.weight", L "layernorm_after.bias",
    L "intermediate.dense.weight", L "intermediate.dense.bias", L "output.dense.weight", L "output.dense.bias",
    "vit.layernorm.weight", "vit.layernorm.bias", "classifier.weight", "classifier.bias");
#undef L
#define L "encoder.layers.encoder_layer_0."
static const struct key torchvision_vit[] =
    VIT("conv_proj", "class_token", "encoder.pos_embedding", L "ln_1.weight", L "ln_1.bias",
        L "self_attention.in_proj_weight", L "self_attention.in_proj_bias", L "self_attention.out_proj.weight",
        L "self_attention.out_proj.bias", L "ln_2.weight", L "ln_2.bias", L "mlp.0.weight", L "mlp.0.bias",
        L "mlp.3.weight", L "mlp.3.bias", "encoder.ln.weight", "encoder.ln.bias", "heads.head.weight",
        "heads.head.bias");
#undef L
#define L "backbone.layers.0."
static const struct key mmpretrain_vit[] = VIT("backbone.patch_embed.projection", "backbone.cls_token",
    "backbone.pos_embed", L "ln1.weight", L "ln1.bias", L "attn.qkv.weight", L "attn.qkv.bias",
    L "attn.proj.weight",
    L "attn.proj.bias", L "ln2.weight", L "ln2.bias", L "ffn.layers.0.0.weight", L "ffn.layers.0.0.bias",
    L "ffn.layers.1.weight", L "ffn.layers.1.bias", "backbone.ln1.weight", "backbone.ln1.bias",
    "head.layers.head.weight", "head.layers.head.bias");
#undef L
static const struct key facebook_convnext[] = CONVNEXT("downsample_layers.0.0", "downsample_layers.0.1",
    "stages.0.0.dwconv", "stages.0.0.norm", "stages.0.0.pwconv1", "stages.0.0.pwconv2", "stages.0.0.gamma",
    "downsample_layers.1.0", "downsample_layers.1.1", "norm", "head");
#define B "convnext.encoder.stages.0.layers.0."
static const struct key hf_convnext[] = CONVNEXT(
    "convnext.embeddings.patch_embeddings", "convnext.embeddings.layernorm", B "dwconv", B "layernorm",
    B "pwconv1", B "pwconv2", B "layer_scale_parameter", "convnext.encoder.stages.1.downsampling_layer.0",
    "convnext.encoder.stages.1.downsampling_layer.1", "convnext.layernorm", "classifier");
#undef B
static const struct key torchvision_convnext[] =
    CONVNEXT("features.0.0", "features.0.1", "features.1.0.block.0", "features.1.0.block.2",
             "features.1.0.block.3", "features.1.0.block.5", "features.1.0.layer_scale", "features.2.0",
             "features.2.1", "classifier.0", "classifier.2");
#define B "backbone.stages.0.0."
static const struct key mmpretrain_convnext[] = CONVNEXT("backbone.downsample_layers.0.0",
    "backbone.downsample_layers.0.1", B "depthwise_conv", B "norm", B "pointwise_conv1", B "pointwise_conv2",
    B "gamma",
    "backbone.downsample_layers.1.0", "backbone.downsample_layers.1.1", "backbone.norm3", "head.fc");
#undef B

static const struct { const char *id, *title; const struct key *key; int n; } table[] = {
    { "timm_vit", "timm ViT", timm_vit, countof(timm_vit) },
    { "hf_vit", "Hugging Face ViT", hf_vit, countof(hf_vit) },
    { "torchvision_vit", "torchvision ViT", torchvision_vit, countof(torchvision_vit) },
    { "mmpretrain_vit", "mmpretrain ViT", mmpretrain_vit, countof(mmpretrain_vit) },
    { "facebook_convnext", "Facebook ConvNeXt", facebook_convnext, countof(facebook_convnext) },
    { "hf_convnext", "Hugging Face ConvNeXt", hf_convnext, countof(hf_convnext) },
    { "torchvision_convnext", "torchvision ConvNeXt", torchvision_convnext, countof(torchvision_convnext) },
    { "mmpretrain_convnext", "mmpretrain ConvNeXt", mmpretrain_convnext, countof(mmpretrain_convnext) },
};
static const char *const qkv[] = { "query", "key", "value" };
/* torchvision keeps its layer scale as (d, 1, 1); its file here is written flat but for the way back */
static bool is_column(int i) { return !strcmp(table[i].id, "torchvision_convnext"); }

static struct key *keys_of(int i, arena *a)
{
    struct key *k = arena_array(a, struct key, table[i].n);
    memcpy(k, table[i].key, sizeof *k * (size_t)table[i].n);
    for (int j = 0; j < table[i].n; j++)
        if (is_column(i) && strstr(k[j].theirs, "layer_scale")) {
            k[j].nd = 3;
            k[j].shape[1] = k[j].shape[2] = 1;
        }
    return k;
}

/* Every scheme's file, plain and in wrappings, gives our names and values; each is written back to the same
 * keys. */
static void schemes_read_and_write_alike(void **state)
{
    (void)state;
    static const char *const before[] = {
        "", "state_dict.", "model.", "state_dict.module._orig_mod.", "net.encoder." };
    for (int i = 0; i < countof(table); i++)
        for (int w = 0; w < countof(before); w++) {
            arena *a = arena_open("test");
            struct key *k = keys_of(i, a);
            const char *under;
            ckpt *c = ckpt_model(theirs_new(k, table[i].n, qkv, before[w], a), false);
            ckpt *want = ours_new(table[i].key, table[i].n);
            if (!c)
                fail_msg("%s%s: %s", before[w], table[i].id, fail_message());
            assert_string_equal(ckpt_scheme(c, &under), table[i].title);
            assert_same(want, c);
            assert_string_equal(ckpt_left_out(c, a), "");
            if (!w) {
                ckpt *file = theirs_new(k, table[i].n, qkv, "", a), *back = ckpt_named(c, table[i].id);
                if (!back)
                    fail_msg("%s: %s", table[i].id, fail_message());
                assert_same(file, back);
                ckpt_close(file);
                c = back;
            }
            ckpt_close(want);
            ckpt_close(c);
            arena_close(a);
        }
}

/* ---- which model of a file ----------------------------------------------------------------------------- */

/* A timm ViT's first keys under `under`, and these besides. */
static ckpt *small_new(const char *under, const char *const *more, int n, arena *a)
{
    static const char *const base[] = {
        "patch_embed.proj.weight", "cls_token", "blocks.0.norm1.weight", "norm.weight" };
    ckpt *c = ckpt_new();
    for (int i = 0; i < countof(base); i++)
        ckpt_add(c, arena_printf(a, "%s%s", under, base[i]), CKPT_F32, 1, (i64[]){ 1 }, ramp(i));
    for (int i = 0; i < n && more[i]; i++)
        ckpt_add(c, more[i], CKPT_F32, 1, (i64[]){ 1 }, ramp(16 + i));
    return c;
}

static void wrappers_come_off(void **state)
{
    (void)state;
    static const struct { const char *under, *more[4], *out, *left; bool ema; } row[] = {
        { "", { "head.bias" }, "head.bias", "" },
        { "state_dict.model.", { "optimizer.x", "state_dict.model.head.bias", "message_hub.y" }, "head.bias",
          "2 beside" },
        { "module.backbone.", { "module.backbone.head.bias" }, "head.bias", "" },
        { "teacher.module.backbone.",
          { "student.module.backbone.patch_embed.proj.weight", "teacher.module.backbone.norm.bias",
          "teacher.module.head.mlp.0.weight" }, "norm.bias", "1 a projection head" },
        { "student.",
          { "teacher.patch_embed.proj.weight", "teacher.cls_token", "teacher.norm.bias", "teacher.pos_embed" },
          "pos_embed", "4 beside" },
        { "module.base_encoder.",
          { "module.momentum_encoder.patch_embed.proj.weight", "module.base_encoder.head.0.weight",
          "module.base_encoder.pos_embed" }, "pos_embed", "1 a projection head" },
        { "ema_state_dict.module.model.",
          { "epoch", "ema_state_dict.module.model.head.bias", "ema_state_dict.steps" },
          "head.bias", "2 beside", true },
        { "", { "head.bias", "ema.head.bias" }, "head.bias", "1 averaged" },
        { "", { "blocks.2.mlp.phi", "moe_layers_dict.a.phi" }, "blocks.2.mlp.phi", "1 a second mention" },
        { "model.", { "model.blocks.6.mlp.core_experts.vit_fc1.weight" },
          "blocks.6.mlp.core_experts.vit_fc1.weight", "" },
        { "", { "blocks.1.12.ls1.gamma" }, "blocks.12.ls1.gamma", "" },
        { "", { "blocks._fsdp_wrapped_module.0._checkpoint_wrapped_module.norm2.bias" }, "blocks.0.norm2.bias",
          "" },
        { "", { "decoder_blocks.0.norm1.weight", "mask_token", "register_tokens" }, "reg_token",
          "1 the decoder" },
        { "", { "blocks.0.attn.qkv.activation_post_process.min_val", "norm.bias" }, "norm.bias",
          "1 an observer" },
        { "", { "pre_logits.fc.weight", "head.weight", "norm.bias" }, "norm.bias", "1 of no use" },
    };
    for (int i = 0; i < countof(row); i++) {
        arena *a = arena_open("test");
        ckpt *c = ckpt_model(small_new(row[i].under, row[i].more, 4, a), row[i].ema);
        if (!c)
            fail_msg("%s: %s", row[i].out, fail_message());
        const char *first, *left = ckpt_left_out(c, a);
        if (!ckpt_find(c, row[i].out) || ckpt_strange(c, &first))
            fail_msg("row %d: no %s, or strange %s", i, row[i].out, first);
        if (*row[i].left ? !strstr(left, row[i].left) : *left)
            fail_msg("row %d: left out '%s', expected '%s'", i, left, row[i].left);
        ckpt_close(c);
        arena_close(a);
    }
}

/* Whole key lists of open_clip's and MoCo v3's files, of one layer: what each tensor becomes; "": left out. */
static void encoders_come_out_of_their_training(void **state)
{
    (void)state;
    struct row { const char *theirs, *ours; int nd; i64 shape[4]; };
#define T "state_dict.module.visual."
#define R T "transformer.resblocks.0."
    static const struct row open_clip[] = {
        { "epoch", "", 1, { 1 } }, { "state_dict.module.logit_scale", "", 1, { 1 } },
        { "state_dict.module.text_projection", "", 2, { 4, 4 } },
        { "state_dict.module.token_embedding.weight", "", 2, { 9, 4 } },
        { "state_dict.module.positional_embedding", "", 2, { 7, 4 } },
        { "state_dict.module.transformer.resblocks.0.ln_1.weight", "", 1, { 4 } },
        { "state_dict.module.ln_final.weight", "", 1, { 4 } },
        { T "class_embedding", "cls_token", 1, { D } }, { T "positional_embedding", "pos_embed", 2, { 5, D } },
        { T "conv1.weight", "patch_embed.proj.weight", 4, { D, 3, PATCH, PATCH } },
        { T "ln_pre.weight", "norm_pre.weight", 1, { D } }, { T "ln_pre.bias", "norm_pre.bias", 1, { D } },
        { R "ln_1.weight", "blocks.0.norm1.weight", 1, { D } },
        { R "ln_1.bias", "blocks.0.norm1.bias", 1, { D } },
        { R "attn.in_proj_weight", "blocks.0.attn.qkv.weight", 2, { 3 * D, D } },
        { R "attn.in_proj_bias", "blocks.0.attn.qkv.bias", 1, { 3 * D } },
        { R "attn.out_proj.weight", "blocks.0.attn.proj.weight", 2, { D, D } },
        { R "attn.out_proj.bias", "blocks.0.attn.proj.bias", 1, { D } },
        { R "ln_2.weight", "blocks.0.norm2.weight", 1, { D } },
        { R "ln_2.bias", "blocks.0.norm2.bias", 1, { D } },
        { R "mlp.c_fc.weight", "blocks.0.mlp.fc1.weight", 2, { 4 * D, D } },
        { R "mlp.c_fc.bias", "blocks.0.mlp.fc1.bias", 1, { 4 * D } },
        { R "mlp.c_proj.weight", "blocks.0.mlp.fc2.weight", 2, { D, 4 * D } },
        { R "mlp.c_proj.bias", "blocks.0.mlp.fc2.bias", 1, { D } },
        { T "ln_post.weight", "norm.weight", 1, { D } }, { T "ln_post.bias", "norm.bias", 1, { D } },
        { T "proj", "head.weight", 2, { D, 4 } } };
#undef R
#undef T
#define E "state_dict.module.base_encoder."
#define M "state_dict.module.momentum_encoder."
    static const struct row moco[] = {
        { E "cls_token", "cls_token", 3, { 1, 1, D } }, { E "pos_embed", "pos_embed", 3, { 1, 5, D } },
        { E "patch_embed.proj.weight", "patch_embed.proj.weight", 4, { D, 3, PATCH, PATCH } },
        { E "blocks.0.norm1.weight", "blocks.0.norm1.weight", 1, { D } },
        { E "blocks.0.attn.qkv.weight", "blocks.0.attn.qkv.weight", 2, { 3 * D, D } },
        { E "blocks.0.mlp.fc2.bias", "blocks.0.mlp.fc2.bias", 1, { D } },
        { E "norm.weight", "norm.weight", 1, { D } }, { E "norm.bias", "norm.bias", 1, { D } },
        { E "head.0.weight", "", 2, { 8, D } }, { E "head.1.running_mean", "", 1, { 8 } },
        { E "head.1.num_batches_tracked", "", 1, { 1 } }, { E "head.3.weight", "", 2, { 8, 8 } },
        { M "cls_token", "", 3, { 1, 1, D } }, { M "patch_embed.proj.weight", "", 4, { D, 3, PATCH, PATCH } },
        { M "norm.weight", "", 1, { D } }, { M "head.0.weight", "", 2, { 8, D } },
        { "state_dict.module.predictor.0.weight", "", 2, { 8, 8 } },
        { "state_dict.module.predictor.1.running_var", "", 1, { 8 } } };
#undef E
#undef M
    const struct row *file[] = { open_clip, moco };
    const int rows[] = { countof(open_clip), countof(moco) };
    for (int k = 0; k < 2; k++) {
        const char *first, *under;
        ckpt *c = ckpt_new();
        int taken = 0;
        for (int i = 0; i < rows[k]; i++)
            ckpt_add(c, file[k][i].theirs, CKPT_F32, file[k][i].nd, file[k][i].shape, ramp(i));
        if (!(c = ckpt_model(c, false)))
            fail_msg("%s", fail_message());
        assert_string_equal(ckpt_scheme(c, &under), k ? "timm ViT" : "CLIP");
        for (int i = 0; i < rows[k]; i++) {
            const tensor *t = *file[k][i].ours ? ckpt_find(c, file[k][i].ours) : NULL;
            if (*file[k][i].ours && (!t || *(const f32 *)tensor_data(t) != (f32)i))
                fail_msg("%s is not %s", file[k][i].theirs, file[k][i].ours);
            taken += t != NULL;
        }
        assert_int_equal(ckpt_count(c), taken);
        assert_int_equal(ckpt_strange(c, &first), 0);
        ckpt_close(c);
    }
}

static void no_scheme_is_half_loaded(void **state)
{
    (void)state;
    static const struct { const char *under, *more[4], *says; bool ema; } row[] = {
        { "", { "norm.bias", "blocks.0.norm3.weight" }, NULL },
        { "", { "backbone.norm.weight" }, NULL },
        { "x_", { "norm.bias" }, "no model whose names are known" },
        { "", { "blocks.0.attn.relative_position_bias_table" }, "relative position biases" },
        { "", { "blocks.0.mlp.w12.weight" }, "SwiGLU" },
        { "", { "blocks.0.attn.qkv.SCB" }, "bitsandbytes" },
        { "", { "_orig_mod.norm.weight" }, "doubled" },
        { "", { "norm.bias" }, "EMA", true },
        { "schema.", { "schema.norm.bias" }, "EMA", true },
        { "emanuel.", { "emanuel.norm.bias" }, "EMA", true },
        { "a.", { "b.patch_embed.proj.weight", "b.cls_token", "b.norm.bias", "b.pos_embed" },
          "more than one model, under 'a.' and 'b.': jetcl convert --under" },
        { "old.", { "patch_embed.proj.weight", "cls_token", "blocks.0.norm1.weight", "norm.weight" },
          "more than one model, under 'old.' and ''" },
        { "student.", { "teacher.patch_embed.proj.weight", "teacher.cls_token", "teacher.norm.bias" },
          "more than one model, under 'teacher.' and 'student.'" },
    };
    for (int i = 0; i < countof(row); i++) {
        arena *a = arena_open("test");
        const char *first;
        fail_clear();
        ckpt *c = ckpt_model(small_new(row[i].under, row[i].more, 4, a), row[i].ema);
        if (row[i].says ? c || fail_fault() != FAULT_DATA || !strstr(fail_message(), row[i].says)
                        : !c || ckpt_strange(c, &first) != 1)
            fail_msg("row %d: %s", i, fail_message());
        ckpt_close(c);
        arena_close(a);
    }
    assert_null(ckpt_model(ckpt_new(), false));
}

static void one_of_several_models_is_taken(void **state)
{
    (void)state;
    static const char *const more[] = {
        "b.patch_embed.proj.weight", "b.cls_token", "b.norm.bias", "b.pos_embed" };
    arena *a = arena_open("test");
    const char *under;
    ckpt *c = ckpt_below(small_new("a.", more, 4, a), "b.");
    assert_true(c && ckpt_count(c) == 4 && (c = ckpt_model(c, false)));
    assert_true(ckpt_find(c, "pos_embed") && ckpt_scheme(c, &under));
    assert_string_equal(under, "b.");
    ckpt_close(c);
    assert_null(ckpt_below(small_new("a.", more, 4, a), "c."));
    assert_true(fail_fault() == FAULT_DATA && strstr(fail_message(), "no tensor under 'c.'"));
    arena_close(a);
}

/* CLIP computes with another activation, and nothing but OpenAI's own files or a config.json says so. */
static void the_activation_is_known_or_asked_for(void **state)
{
    (void)state;
    static const struct { const char *under, *more[3], *act; } row[] = {
        { "visual.", { "visual.proj" }, "unknown" },
        { "visual.", { "visual.proj", "input_resolution" }, "quick_gelu" },
        { "model.visual.", { "model.visual.proj", "model.input_resolution" }, "quick_gelu" } };
    static const char *const base[] = { "conv1.weight", "class_embedding", "ln_post.weight", "ln_post.bias" };
    for (int i = 0; i < countof(row); i++) {
        arena *a = arena_open("test");
        ckpt *c = ckpt_new();
        for (int k = 0; k < countof(base); k++)
            ckpt_add(c, arena_printf(a, "%s%s", row[i].under, base[k]), CKPT_F32, 1, (i64[]){ 1 }, ramp(k));
        for (int k = 0; k < 3 && row[i].more[k]; k++)
            ckpt_add(c, row[i].more[k], CKPT_F32, 2, (i64[]){ 1, 1 }, ramp(k));
        if (!(c = ckpt_model(c, false)))
            fail_msg("row %d: %s", i, fail_message());
        assert_string_equal(ckpt_meta(c, "act"), row[i].act);
        ckpt_close(c);
        arena_close(a);
    }
}

/* CLIPA: patches without a bias and without a norm after them get one of zeros; the last norm is the mean's,
 * as its configuration says. */
static void patches_get_a_bias_and_the_mean_its_norm(void **state)
{
    (void)state;
    static const char *const name[] = { "visual.class_embedding", "visual.ln_post.weight",
                                        "visual.ln_post.bias" };
    for (int pre = 0; pre < 2; pre++)
        for (int first = 0; first < 2; first++) {
            ckpt *c = ckpt_new();
            ckpt_add(c, "visual.conv1.weight", CKPT_F32, 4, (i64[]){ D, 3, PATCH, PATCH }, ramp(0));
            for (int k = 0; k < countof(name); k++)
                ckpt_add(c, name[k], CKPT_F32, 1, (i64[]){ D }, ramp(k));
            if (pre)
                ckpt_add(c, "visual.ln_pre.weight", CKPT_F32, 1, (i64[]){ D }, ramp(9));
            ckpt_set_meta(c, "pool", first ? "avg" : "norm_avg");
            if (!(c = ckpt_model(c, false)))
                fail_msg("%s", fail_message());
            const tensor *bias = ckpt_find(c, "patch_embed.proj.bias");
            const tensor *norm = ckpt_find(c, first ? "fc_norm.bias" : "norm.bias");
            assert_true(norm && *(const f32 *)tensor_data(norm) == 2);
            assert_null(ckpt_find(c, first ? "norm.bias" : "fc_norm.bias"));
            assert_int_equal(bias != NULL, !pre);
            assert_true(pre || (bias->nd == 1 && bias->shape[0] == D));
            for (int k = 0; k < D && !pre; k++)
                assert_true(((const f32 *)tensor_data(bias))[k] == 0);
            ckpt_close(c);
        }
}

/* An unknown scheme's message: the three nearest, and the first names that do not fit the nearest. */
static void unknown_names_are_explained(void **state)
{
    (void)state;
    static const char *const name[] = { "vit.embeddings.cls_token", "vit.embeddings.position_embeddings",
                                        "vit.encoder.block.0.ln1.weight", "vit.encoder.block.0.ln2.weight",
                                        "vit.encoder.block.0.fc.weight", "vit.encoder.block.0.fd.weight" };
    ckpt *c = ckpt_new();
    for (int i = 0; i < countof(name); i++)
        ckpt_add(c, name[i], CKPT_F32, 1, (i64[]){ 1 }, ramp(i));
    assert_null(ckpt_model(c, false));
    assert_non_null(strstr(fail_message(), "Hugging Face ViT (2 of 6)"));
    assert_non_null(
        strstr(fail_message(), "'vit.encoder.block.0.ln1.weight', 'vit.encoder.block.0.ln2.weight'"));
    assert_null(ckpt_named(ckpt_new(), "hugging"));
    assert_int_equal(fail_fault(), FAULT_USAGE);
}

/* ---- shapes -------------------------------------------------------------------------------------------- */

/* Fused, padded with zeros, transposed and squeezed on the way. */
static void tensors_are_reshaped(void **state)
{
    (void)state;
    arena *a = arena_open("test");
    static const char *const none[] = { NULL };
    ckpt *c = small_new("", none, 0, a);
    ckpt_add(c, "blocks.0.attn.q_bias", CKPT_F32, 1, (i64[]){ D }, ramp(1));
    ckpt_add(c, "blocks.0.attn.v_bias", CKPT_F32, 1, (i64[]){ D }, ramp(9));
    c = ckpt_model(c, false);
    const tensor *t = c ? ckpt_find(c, "blocks.0.attn.qkv.bias") : NULL;
    assert_true(t && tensor_shape_is(t, 1, (i64[]){ 3 * D }));
    const f32 *v = tensor_data(t);
    assert_true(v[0] == 1 && v[D - 1] == D && v[D] == 0 && v[2 * D - 1] == 0 && v[2 * D] == 9);
    ckpt_close(c);

    c = ckpt_new();
    ckpt_add(c, "visual.conv1.weight", CKPT_F32, 4, (i64[]){ D, 3, 1, 1 }, ramp(0));
    ckpt_add(c, "visual.class_embedding", CKPT_F32, 1, (i64[]){ D }, ramp(0));
    ckpt_add(c, "visual.positional_embedding", CKPT_F32, 2, (i64[]){ 5, D }, ramp(0));
    ckpt_add(c, "visual.proj", CKPT_F32, 2, (i64[]){ D, 2 }, ramp(0));
    ckpt_add(c, "transformer.resblocks.0.ln_1.weight", CKPT_F32, 1, (i64[]){ 3 }, ramp(0));
    c = ckpt_model(c, false);
    assert_non_null(c);
    assert_int_equal(ckpt_count(c), 5);              // four, and the patches' bias of zeros
    assert_true(tensor_shape_is(ckpt_find(c, "cls_token"), 3, (i64[]){ 1, 1, D }));
    assert_true(tensor_shape_is(ckpt_find(c, "pos_embed"), 3, (i64[]){ 1, 5, D }));
    t = ckpt_find(c, "head.weight");
    assert_true(tensor_shape_is(t, 2, (i64[]){ 2, D }) && ((const f32 *)tensor_data(t))[D] == 1);
    assert_string_equal(ckpt_meta(c, "norm_eps"), "1e-05");
    ckpt_close(c);

    c = ckpt_new(); // the patch embedding in its place, but a class token of rank 2
    ckpt_add(c, "visual.conv1.weight", CKPT_F32, 4, (i64[]){ D, 3, 1, 1 }, ramp(0));
    ckpt_add(c, "visual.class_embedding", CKPT_F32, 2, (i64[]){ 1, D }, ramp(0));
    ckpt_add(c, "visual.ln_pre.bias", CKPT_F32, 1, (i64[]){ D }, ramp(0));
    assert_null(ckpt_model(c, false));
    assert_non_null(strstr(fail_message(), "class_embedding"));
    arena_close(a);
}

/* JAX's projections tell the heads, alike in all layers. */
static void heads_are_told_by_projections(void **state)
{
    (void)state;
    for (int other = 2; other <= 4; other += 2) {
        ckpt *c = ckpt_new();
        ckpt_add(c, "embedding/kernel", CKPT_F32, 4, (i64[]){ 1, 1, 1, 4 }, ramp(0));
        ckpt_add(c, "cls", CKPT_F32, 1, (i64[]){ 4 }, ramp(0));
        for (int i = 0; i < 6; i++) {
            char name[100];
            snprintf(name, sizeof name,
                     "Transformer/encoderblock_%d/MultiHeadDotProductAttention_1/%s/kernel", i / 3, qkv[i % 3]);
            i64 heads = i == 4 ? other : 2;
            ckpt_add(c, name, CKPT_F32, 3, (i64[]){ 4, heads, 4 / heads }, ramp(0));
        }
        if ((c = ckpt_model(c, false)))
            assert_string_equal(ckpt_meta(c, "heads"), "2");
        else
            assert_non_null(strstr(fail_message(), "has 4 heads, other layers have 2"));
        assert_int_equal(c != NULL, other == 2);
        ckpt_close(c);
    }
}

/* big-vision's newer files hold all layers of a kind in one array; query, key and value become one. */
static void stacked_layers_come_apart(void **state)
{
    (void)state;
    enum { LAYERS = 2, C = 4, H = 2, K = 2 };
    static f32 w[3][LAYERS][C][H][K], scale[LAYERS][C];
    for (int i = 0; i < (int)(sizeof w / 4); i++)
        (&w[0][0][0][0][0])[i] = (f32)i;
    for (int i = 0; i < LAYERS * C; i++)
        (&scale[0][0])[i] = (f32)i;
    ckpt *c = ckpt_new();
    char name[3][100];
    for (int p = 0; p < 3; p++) {
        snprintf(name[p], 100, "params/img/Transformer/encoderblock/MultiHeadDotProductAttention_0/%s/kernel",
                 qkv[p]);
        ckpt_add(c, name[p], CKPT_F32, 4, (i64[]){ LAYERS, C, H, K }, w[p]);
    }
    ckpt_add(c, "params/img/embedding/kernel", CKPT_F32, 4, (i64[]){ 1, 1, 1, 1 }, w);
    ckpt_add(c, "params/img/Transformer/encoderblock/LayerNorm_0/scale", CKPT_F32, 2, (i64[]){ LAYERS, C },
             scale);
    ckpt_add(c, "params/txt/other", CKPT_F32, 0, NULL, w);
    c = ckpt_model(c, false);
    assert_non_null(c);
    assert_int_equal(ckpt_count(c), 5);
    const tensor *t = ckpt_find(c, "blocks.1.attn.qkv.weight");
    assert_true(t && tensor_shape_is(t, 2, (i64[]){ 3 * C, C }));
    const f32 *got = tensor_data(t);
    for (int p = 0; p < 3; p++)
        for (int hk = 0; hk < H * K; hk++)
            for (int d = 0; d < C; d++)
                assert_float_equal(got[(p * C + hk) * C + d], w[p][1][d][hk / K][hk % K], 0);
    assert_float_equal(((const f32 *)tensor_data(ckpt_find(c, "blocks.1.norm1.weight")))[2], 6, 0);
    ckpt_close(c);

    c = ckpt_new(); // thousands of layers, each of which unpacks the whole stack
    ckpt_add(c, "embedding/kernel", CKPT_F32, 4, (i64[]){ 1, 1, 1, 1 }, w);
    ckpt_add(c, "cls", CKPT_F32, 1, (i64[]){ 1 }, w);
    ckpt_add(c, "Transformer/encoderblock/LayerNorm_0/scale", CKPT_F32, 2, (i64[]){ 60000, 1 }, scale);
    assert_null(ckpt_model(c, false));
    assert_non_null(strstr(fail_message(), "layers"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(schemes_read_and_write_alike),
        cmocka_unit_test(wrappers_come_off),
        cmocka_unit_test(encoders_come_out_of_their_training), cmocka_unit_test(no_scheme_is_half_loaded),
        cmocka_unit_test(one_of_several_models_is_taken),
        cmocka_unit_test(the_activation_is_known_or_asked_for),
        cmocka_unit_test(patches_get_a_bias_and_the_mean_its_norm),
        cmocka_unit_test(unknown_names_are_explained),
        cmocka_unit_test(tensors_are_reshaped),
        cmocka_unit_test(heads_are_told_by_projections),
        cmocka_unit_test(stacked_layers_come_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
