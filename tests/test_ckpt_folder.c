/* test_ckpt_folder.c: checkpoints of several files: indexes and their shards, folders, config.json. */
#include "ckpt_help.h"
#include "model/model.h"
#include <sys/stat.h>

static const char *folder(const char *name)          /* a new one in the scratch folder */
{
    static char path[4096];
    char command[5000];
    scratch_path(path, name);
    snprintf(command, sizeof command, "rm -rf '%s'", path);
    assert_int_equal(system(command), 0);
    assert_int_equal(mkdir(path, 0777), 0);
    return path;
}

static void put(const char *dir, const char *file, const char *text)
{
    char path[5000];
    snprintf(path, sizeof path, "%s/%s", dir, file);
    assert_int_equal(file_save(path, text, strlen(text)), 0);
}

static const f32 values[4096] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 };

static void put_tensors(const char *dir, const char *file, const char *const *name, int n)
{
    char path[5000];
    ckpt *c = ckpt_new();
    for (int i = 0; i < n; i++)
        ckpt_add(c, name[i], CKPT_F32, 1, (i64[]){ 2 }, values + 2 * i);
    snprintf(path, sizeof path, "%s/%s", dir, file);
    assert_int_equal(ckpt_save(c, path), 0);
    ckpt_close(c);
}

static void opens(const char *dir, const char *file, const char *last, f32 value)
{
    char path[5000], sha[65];
    snprintf(path, sizeof path, "%s%s%s", dir, *file ? "/" : "", file);
    ckpt *c = ckpt_open(path);
    if (!c)
        fail_msg("%s", fail_message());
    const tensor *t = ckpt_find(c, last);
    assert_non_null(t);
    const f32 *v = tensor_data(t);
    assert_true(v && v[0] == value);
    tensor_drop(t);
    assert_int_equal(ckpt_sha256(c, sha), 0);
    ckpt_close(c);
}

static void refuses(const char *dir, const char *file, const char *says)
{
    char path[5000];
    fail_clear();
    snprintf(path, sizeof path, "%s%s%s", dir, *file ? "/" : "", file);
    assert_null(ckpt_open(path));
    assert_int_equal(fail_fault(), FAULT_DATA);
    if (!strstr(fail_message(), says) || strchr(fail_message(), '\n'))
        fail_msg("'%s' does not say '%s'", fail_message(), says);
}

static void shards_are_joined(void **state)
{
    (void)state;
    const char *d = folder("shards");
    put_tensors(d, "a.safetensors", (const char *const[]){ "x", "y" }, 2);
    put_tensors(d, "b.pth", (const char *const[]){ "z" }, 1);
    put(d, "model.safetensors.index.json",
        "{\"metadata\": {\"total_size\": 24}, \"weight_map\": {\"x\": \"a.safetensors\", \"z\": \"b.pth\", "
        "\"y\": \"a.safetensors\"}}");
    opens(d, "model.safetensors.index.json", "z", 1);
    opens(d, "", "y", 3);
}

static void hostile_indexes_are_refused(void **state)
{
    (void)state;
    static const struct { const char *text, *says; } row[] = {
        { "{\"weight_map\": {\"x\": \"m.index.json\"}}", "JSON" },                // itself
        { "{\"weight_map\": {\"x\": \"n.index.json\"}}", "JSON" },                // another index
        { "{\"weight_map\": {\"x\": \"../a.safetensors\"}}", "beside the index" },
        { "{\"weight_map\": {\"x\": \"/etc/passwd\"}}", "beside the index" },
        { "{\"weight_map\": {\"x\": \"\"}}", "beside the index" },
        { "{\"weight_map\": {\"x\": \"none.safetensors\"}}", "No such file" },
        { "{\"weight_map\": {\"w\": \"a.safetensors\"}}", "where the index has it" },
        { "{\"weight_map\": {\"x\": 3}}", "no file for" },
        { "{\"weight_map\": {\"x\": \"a.safetensors\", \"x\": \"a.safetensors\"}}", "duplicate" },
        { "{\"weight_map\": {}}", "no weight_map" },
        { "[]", "no weight_map" },
        { "{\"weight_map\": ", "line 1" },
        { "", "line 1" },
    };
    const char *d = folder("hostile");
    put_tensors(d, "a.safetensors", (const char *const[]){ "x" }, 1);
    put(d, "n.index.json", "{\"weight_map\": {\"x\": \"m.index.json\"}}");
    for (int i = 0; i < countof(row); i++) {
        put(d, "m.index.json", row[i].text);
        refuses(d, "m.index.json", row[i].says);
    }
    arena *a = arena_open("test");                   // a million tensors: too long, or too many
    char *text = arena_bytes(a, 40 << 20, 1), *at = text + sprintf(text, "{\"weight_map\": {");
    for (int i = 0; i < 1000000; i++)
        at += sprintf(at, "%s\"t%d\": \"a.safetensors\"", i ? ", " : "", i);
    strcpy(at, "}}");
    put(d, "m.index.json", text);
    refuses(d, "m.index.json", "more than 16 MB");
    at = text + sprintf(text, "{\"weight_map\": {");
    for (int i = 0; i < MAX_TENSORS_FOR_TEST + 1; i++)
        at += sprintf(at, "%s\"t%d\": \"a.safetensors\"", i ? ", " : "", i);
    strcpy(at, "}}");
    put(d, "m.index.json", text);
    refuses(d, "m.index.json", "more than 65536 tensors");
    arena_close(a);
}

static void folders_are_searched(void **state)
{
    (void)state;
    const char *d = folder("plain");
    refuses(d, "", "a folder with no model.safetensors");
    put_tensors(d, "pytorch_model.bin", (const char *const[]){ "x" }, 1);
    opens(d, "", "x", 1);
    put_tensors(d, "model.safetensors", (const char *const[]){ "w", "x" }, 2);   // goes first
    opens(d, "", "x", 3);
    d = folder("deepspeed");
    put(d, "latest", "global_step5\n");
    refuses(d, "", "DeepSpeed states of one rank");
    char inner[5000];
    snprintf(inner, sizeof inner, "%s/global_step5", d);
    assert_int_equal(mkdir(inner, 0777), 0);
    put_tensors(inner, "mp_rank_00_model_states.pt", (const char *const[]){ "module.x" }, 1);
    opens(d, "", "module.x", 1);
    opens(inner, "", "module.x", 1);
    put(d, "latest", "../plain");
    refuses(d, "", "DeepSpeed states of one rank");
    d = folder("npy");
    put(d, "head.bias.npy", "no array");
    refuses(d, "", "head.bias.npy");
    char path[5000], bytes[200] = "\x93NUMPY\1\0v\0{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }";
    memset(bytes + 10 + strlen(bytes + 10), ' ', 128 - 10 - strlen(bytes + 10));
    bytes[127] = '\n';
    memcpy(bytes + 128, values, 8);
    snprintf(path, sizeof path, "%s/head.bias.npy", d);
    assert_int_equal(file_save(path, bytes, 136), 0);
    opens(d, "", "head.bias", 1);
    opens(d, "head.bias.npy", "array", 1);
    assert_int_equal(file_save(path, bytes, 135), 0);
    refuses(d, "", "7 bytes of elements");
}

/* ---- config.json --------------------------------------------------------------------------------------- */

struct row { const char *name; int nd; i64 shape[4]; };

static void put_rows(const char *dir, const struct row *row, int n)
{
    char path[5000];
    ckpt *c = ckpt_new();
    for (int i = 0; i < n; i++)
        ckpt_add(c, row[i].name, CKPT_F32, row[i].nd, row[i].shape, values);
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    assert_int_equal(ckpt_save(c, path), 0);
    ckpt_close(c);
}

/* Hugging Face's, 8 channels, one block, 2 x 2 patches of 4. */
static void put_vit_rows(const char *dir, bool head)
{
    static const struct row row[] = {
        { "vit.embeddings.patch_embeddings.projection.weight", 4, { 8, 3, 4, 4 } },
        { "vit.embeddings.cls_token", 3, { 1, 1, 8 } },
        { "vit.embeddings.position_embeddings", 3, { 1, 5, 8 } },
        { "vit.encoder.layer.0.intermediate.dense.weight", 2, { 16, 8 } },
        { "classifier.weight", 2, { 2, 8 } } };
    put_rows(dir, row, countof(row) - !head);
}

static void put_vit(const char *dir) { put_vit_rows(dir, true); }

static void configs_are_checked(void **state)
{
    (void)state;
    static const struct { const char *text, *says; } row[] = {
        { "{\"hidden_size\": 8, \"num_hidden_layers\": 1, \"num_attention_heads\": 4, \"patch_size\": "
                  "4, \"image_size\": 8, "
                  "\"hidden_act\": \"gelu\", \"id2label\": {\"0\": \"cat\", \"1\": \"dog\"}}",
                  NULL },
                { "{\"vision_config\": {\"num_attention_heads\": 4}, \"hidden_size\": 512, \"id2label\": "
                  "{\"0\": \"cat\", \"1\": \"dog\"}}",
                  NULL },
                { "{\"hidden_size\": 16}", "hidden_size 16, but the tensors have 8" },
                { "{\"num_hidden_layers\": 2}", "num_hidden_layers 2" },
                { "{\"patch_size\": 16}", "patch_size 16" },
                { "{\"image_size\": 224}", "image_size 224" },
                { "{\"num_attention_heads\": 3}", "do not divide 8" },
                { "{\"hidden_act\": \"relu\"}", "hidden_act relu" },
                { "{\"intermediate_size\": 32}", "intermediate_size 32, but the tensors have 16" },
                { "{\"mlp_ratio\": 2.0625, \"num_attention_heads\": 4, \"id2label\": "
                  "{\"0\": \"cat\", \"1\": \"dog\"}}", NULL },
                { "{\"mlp_ratio\": 4}", "mlp_ratio 4, but the tensors have 2" },
                { "{\"num_register_tokens\": 4}", "num_register_tokens 4, but the tensors have 0" },
                { "{\"qkv_bias\": true}", "qkv_bias true, but the tensors have false" },
                { "{\"num_classes\": 1000}", "num_labels 1000, but the tensors have 2" },
                { "{\"id2label\": {\"0\": \"LABEL_0\"}}", "num_labels 1, but the tensors have 2" },
                { "{\"patch_size\": [4, 8]}", "patch_size 4 8, but the tensors have 4" },
                { "{\"image_size\": [8, 16], \"patch_size\": 4}", "image_size 8 16, but the tensors have 8" },
                { "{\"hidden_size\": ", "line 1" } };
    const char *d = folder("hf");
    put_vit(d);
    for (int i = 0; i < countof(row); i++) {
        struct spec s;
        arena *a = arena_open("test");
        put(d, "config.json", row[i].text);
        assert_int_equal(spec_load(&s, a, NULL, NULL, 0), 0);
        fail_clear();
        ckpt *c = ckpt_open_model(d, false);
        int rc = c ? model_read(&s, c, a) : -1;
        if (row[i].says ? !rc || fail_fault() != FAULT_DATA || !strstr(fail_message(), row[i].says) : rc)
            fail_msg("%s: %s", row[i].text, fail_message());
        if (!rc) {
            assert_true(s.model.heads == 4 && s.model.dim == 8 && s.model.depth == 1 && s.model.patch == 4 &&
                        list_at(s.model.image, 0) == 8 && s.model.classes == 2 && s.model.norm_eps == 1e-12);
            assert_string_equal(ckpt_meta(c, "classes"), "[\"cat\",\"dog\"]");
        }
        ckpt_close(c);
        arena_close(a);
    }
}

/* A config speaks of the head that is there: one put on a converted trunk may have other classes. */
static void classes_belong_to_a_head(void **state)
{
    (void)state;
    const char *d = folder("headless");
    put_vit(d);
    put(d, "config.json", "{\"num_labels\": 2, \"hidden_size\": 8}");
    ckpt *c = ckpt_open_model(d, false);
    assert_string_equal(c ? ckpt_meta(c, "config.num_labels") : fail_message(), "2");
    ckpt_close(c);
    put_vit_rows(d, false);
    c = ckpt_open_model(d, false);
    assert_true(c && !ckpt_meta(c, "config.num_labels"));
    assert_string_equal(ckpt_meta(c, "config.hidden_size"), "8");
    ckpt_close(c);
}

static int take_nothing(void *arg, const struct param *x, const f32 *values)
{
    (void)arg, (void)x, (void)values;
    return 0;
}

static void put_convnext(const char *dir)  /* Hugging Face's, two stages of 8 and 16 channels, 1 and 2 blocks */
{
    static const struct row row[] = {
        { "embeddings.patch_embeddings.weight", 4, { 8, 3, 4, 4 } },
        { "embeddings.layernorm.weight", 1, { 8 } },
        { "encoder.stages.0.layers.0.pwconv1.weight", 2, { 32, 8 } },
        { "encoder.stages.1.layers.0.pwconv1.weight", 2, { 64, 16 } },
        { "encoder.stages.1.layers.1.pwconv1.weight", 2, { 64, 16 } }, { "layernorm.weight", 1, { 16 } } };
    put_rows(dir, row, countof(row));
}

/* Of a ConvNeXt too, and by whoever loads it whole, whatever the experiment says. */
static void configs_of_convnext_are_checked(void **state)
{
    (void)state;
    static const struct { const char *text, *says; } row[] = {
        { "{\"depths\": [1, 2], \"hidden_sizes\": [8, 16], \"num_channels\": 3, \"patch_size\": 4}",
          "drawn at random" },
        { "{\"depths\": [1, 3], \"hidden_sizes\": [8, 16]}", "says depths 1 3, but the tensors have 1 2" },
        { "{\"hidden_sizes\": [8, 16, 32]}", "says hidden_sizes 8 16 32, but the tensors have 8 16" },
        { "{\"hidden_sizes\": [\"x\"]}", "says hidden_sizes 0" }, { "{\"num_channels\": 1}", "num_channels 1" },
        { "{\"patch_size\": 2}", "says patch_size 2, but the tensors have 4" } };
    const char *d = folder("hf_convnext");
    put_convnext(d);
    for (int i = 0; i < countof(row); i++) {
        arena *a = arena_open("test");
        struct spec s;
        put(d, "config.json", row[i].text);
        assert_int_equal(spec_parse(&s, a, "x.yaml", "model: {arch: convnext, image: 32, depths: [1, 2], "
                                    "dims: [8, 16], classes: 3}", NULL, 0), 0);
        ckpt *c = ckpt_open_model(d, false);
        params *p = model_params(&s);
        fail_clear();
        int rc = c && p ? model_load_whole(p, &s, c, take_nothing, NULL) : 0;
        if (!rc || fail_fault() != FAULT_DATA || !strstr(fail_message(), row[i].says))
            fail_msg("%s: %s", row[i].text, fail_message());
        params_free(p);
        ckpt_close(c);
        arena_close(a);
    }
}

/* What a hub's folder says besides: its normalisation, an activation left out
 * as usual, classes called alike. */
static void config_says(const char *config, const char *preprocessor, const char *meta, const char *want)
{
    const char *d = folder("hub");
    put_vit(d);
    put(d, "config.json", config);
    if (*preprocessor)
        put(d, "preprocessor_config.json", preprocessor);
    ckpt *c = ckpt_open_model(d, false);
    if (!c)
        fail_msg("%s: %s", config, fail_message());
    const char *got = ckpt_meta(c, meta);
    if (want ? !got || strcmp(got, want) : got != NULL)
        fail_msg("%s %s: %s is %s, not %s", config, preprocessor, meta, got, want);
    ckpt_close(c);
}

static void hubs_say_more(void **state)
{
    (void)state;
    static const char half[] = "{\"image_mean\": [0.5, 0.5, 0.5], \"image_std\": [0.5, 0.25, 1]}";
    config_says("{}", half, "mean", "127.5 127.5 127.5");
    config_says("{}", half, "std", "127.5 63.75 255");
    config_says("{}", "{\"image_mean\": [0.5, 0.5]}", "mean", NULL);
    config_says("{}", "", "mean", NULL);
    config_says("{\"pretrained_cfg\": {\"mean\": [0, 0.2, 1]}}", half, "mean", "0 51 255");
    config_says("{\"model_type\": \"clip\", \"vision_config\": {}}", "", "act", "quick_gelu");
    config_says("{\"model_type\": \"clip\", \"vision_config\": {\"hidden_act\": \"gelu\"}}", "", "act", "gelu");
    config_says("{\"model_type\": \"siglip\", \"vision_config\": {}}", "", "act", "gelu_tanh");
    config_says("{\"model_type\": \"siglip\", \"vision_config\": {}}", "", "heads", "12");
    config_says("{\"model_type\": \"siglip\", \"vision_config\": {\"num_attention_heads\": 2}}", "",
                "heads", "2");
    config_says("{\"model_type\": \"convnext\", \"layer_norm_eps\": 1e-3}", "", "norm_eps", "1e-06");
    config_says("{\"model_type\": \"convnext\", \"layer_norm_eps\": 1e-12}", "", "config.layer_norm_eps", NULL);
    config_says("{\"model_type\": \"convnext\", \"layer_norm_eps\": 1e-3}", "", "config.layer_norm_eps",
                "0.001");
    config_says("{\"model_type\": \"vit\"}", "", "heads", NULL);
    config_says("{\"hidden_act\": \"gelu_new\"}", "", "act", "gelu_tanh");
    config_says("{\"hidden_act\": \"gelu_10\"}", "", "act", NULL);
    config_says("{\"hidden_act\": \"gelu_10\"}", "", "config.hidden_act", "gelu_10");
    config_says("{\"model_args\": {\"act_layer\": \"quick_gelu\"}}", "", "act", "quick_gelu");
    config_says("{\"model_args\": {\"num_heads\": 4}}", "", "heads", "4");
    config_says("{\"global_pool\": \"avg\"}", "", "config.global_pool", "avg");
    config_says("{\"global_pool\": \"avg\", \"model_args\": {\"pool_include_prefix\": true}}", "",
                "config.global_pool", "avg of all tokens");
    config_says("{\"model_type\": \"vit\"}", "", "act", NULL);
    config_says("{\"id2label\": {\"0\": \"crane\", \"1\": \"crane\"}}", "", "classes",
                "[\"crane (0)\",\"crane (1)\"]");
}

/* What the library's name of a model says, in config.json or as the name of its folder; and a hub's file is
 * read with what lies beside it when it is named itself. */
static void names_of_models_say_more(void **state)
{
    (void)state;
    static const struct { const char *folder, *config, *file, *eps, *act, *says; } row[] = {
        { "a", "vit_base_patch16_224", "", NULL, NULL, NULL },
        { "a", "vit_base_patch16_clip_224", "", "1e-05", NULL, NULL },
        { "a", "vit_base_patch16_clip_224", "model.safetensors", "1e-05", NULL, NULL },
        { "a", "vit_base_patch32_clip_quickgelu_224", "", "1e-05", "quick_gelu", NULL },
        { "vit_base_patch32_clip_quickgelu_224.openai", "", "", "1e-05", "quick_gelu", NULL },
        { "vit_base_patch32_clip_quickgelu_224.openai", "vit_base_patch32_224", "", NULL, NULL, NULL },
        { "ViT-B-32-quickgelu", "", "", NULL, "quick_gelu", NULL },
        { "a", "vit_base_patch32_siglip_gap_256", "", NULL, "gelu_tanh", NULL },
        { "a", "vit_base_patch16_siglip_gap_256", "", NULL, NULL, NULL },
        { "a", "vit_base_patch16_rpn_224", "", NULL, NULL, "has norms after attention and MLP" },
        { "a", "vit_base_patch16_rope_ape_224", "", NULL, NULL, "has rotary position embeddings" },
        { "vit_small_patch16_dinov3.lvd1689m", "", "", NULL, NULL, "has rotary position embeddings" } };
    static const struct row tensors[] = {
        { "patch_embed.proj.weight", 4, { 8, 3, 4, 4 } }, { "cls_token", 3, { 1, 1, 8 } },
        { "pos_embed", 3, { 1, 5, 8 } }, { "blocks.0.mlp.fc1.weight", 2, { 16, 8 } },
        { "head.weight", 2, { 2, 8 } } };
    for (int i = 0; i < countof(row); i++) {
        arena *a = arena_open("test");
        const char *d = folder(row[i].folder);
        put_rows(d, tensors, countof(tensors));
        if (*row[i].config)
            put(d, "config.json", arena_printf(a, "{\"architecture\": \"%s\"}", row[i].config));
        fail_clear();
        ckpt *c = ckpt_open_model(arena_printf(a, "%s/%s", d, row[i].file), false);
        if (row[i].says) {
            assert_true(!c && fail_fault() == FAULT_DATA && strstr(fail_message(), row[i].says));
        } else {
            const char *eps = c ? ckpt_meta(c, "norm_eps") : fail_message();
            const char *act = c ? ckpt_meta(c, "act") : "";
            if ((eps ? !row[i].eps || strcmp(eps, row[i].eps) : !!row[i].eps)
                || (act ? !row[i].act || strcmp(act, row[i].act) : !!row[i].act))
                fail_msg("row %d: norm_eps %s, act %s", i, eps ? eps : "-", act ? act : "-");
        }
        ckpt_close(c);
        arena_close(a);
    }
}

static void open_clip_says_what_it_computes(void **state)
{
    (void)state;
#define TOWER(keys) "{\"model_cfg\": {\"vision_cfg\": {\"width\": 768, " keys "}}}"
    static const struct { const char *text, *meta, *want; } row[] = {
        { "{\"model_cfg\": {\"quick_gelu\": true, \"vision_cfg\": {\"width\": 768}}}", "act", "quick_gelu" },
        { "{\"model_cfg\": {\"vision_cfg\": {\"width\": 1280, \"head_width\": 80}}}", "heads", "16" },
        { "{\"model_cfg\": {}}", "act", "gelu" },
        { TOWER("\"act_kwargs\": {\"approximate\": \"tanh\"}"), "act", "gelu_tanh" },
        { TOWER("\"act_kwargs\": {\"inplace\": true}"), "config.hidden_act", "with act_kwargs" },
        { TOWER("\"norm_kwargs\": {\"eps\": 0.01}"), "norm_eps", "0.01" },
        { TOWER("\"pool_type\": \"avg\""), "pool", "norm_avg" },
        { TOWER("\"pool_type\": \"avg\", \"final_ln_after_pool\": true"), "pool", "avg" },
        { TOWER("\"pool_type\": \"tok\", \"final_ln_after_pool\": true"), "act", "gelu" },
        { TOWER("\"pool_type\": \"none\""), "config.global_pool", "none" },
        { TOWER("\"timm_model_name\": \"vit_x\""), "config.architecture", "vit_x" },
        { "{\"preprocess_cfg\": {\"mean\": [0, 0.2, 1]}}", "mean", "0 51 255" } };
#undef TOWER
    for (int i = 0; i < countof(row); i++) {
        const char *d = folder("open_clip");
        put_vit(d);
        put(d, "open_clip_config.json", row[i].text);
        ckpt *c = ckpt_open_model(d, false);
        assert_string_equal(c ? ckpt_meta(c, row[i].meta) : fail_message(), row[i].want);
        ckpt_close(c);
    }
}

/* ImageNet's classes as hubs write them, with two cranes, are ours; in another order they are somebody's own.
 * */
static int imagenet_classes(arena *a, bool reversed, const char *const **got)
{
    const char *const *ours = imagenet_names(a, false), *list = "[";
    ckpt *c = ckpt_new();
    for (int i = 0; i < 1000; i++) {
        const char *name = ours[reversed ? 999 - i : i];
        list = arena_printf(a, "%s\"%.*s\"%s", list, (int)strcspn(name, "("), name, i < 999 ? "," : "]");
    }
    ckpt_set_meta(c, "classes", list);
    int n = model_classes(c, a, got);
    ckpt_close(c);
    return n;
}

static void imagenet_is_recognised(void **state)
{
    (void)state;
    arena *a = arena_open("test");
    const char *const *got;
    assert_int_equal(imagenet_classes(a, false, &got), 1000);
    assert_string_equal(got[134], "crane (bird)");
    assert_string_equal(got[517], "crane (machine)");
    assert_int_equal(imagenet_classes(a, true, &got), -1);
    assert_non_null(strstr(fail_message(), "two of its classes"));
    arena_close(a);
}

static int clean(void **state)
{
    char command[5000];
    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", scratch_dir());
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shards_are_joined),
        cmocka_unit_test(hostile_indexes_are_refused),
        cmocka_unit_test(folders_are_searched),
        cmocka_unit_test(configs_are_checked),
        cmocka_unit_test(configs_of_convnext_are_checked), cmocka_unit_test(hubs_say_more),
        cmocka_unit_test(classes_belong_to_a_head), cmocka_unit_test(names_of_models_say_more),
        cmocka_unit_test(open_clip_says_what_it_computes),
        cmocka_unit_test(imagenet_is_recognised),
    };
    return cmocka_run_group_tests(tests, NULL, clean);
}
