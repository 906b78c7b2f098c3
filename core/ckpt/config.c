/* config.c: JSON beside a checkpoint, as metadata: Hugging Face's config.json and preprocessor_config.json, and
 * open_clip's file: what no tensor tells (heads, activation, classes, pixels), and sizes for model/arch.c to
 * compare. */
#include "ckpt/format.h"
#include "ckpt/config.h"
#include "spec/spec.h"
#include <stdlib.h>

enum { MAX_CONFIG = 1 << 20 };

json_t *config_json(arena *a, const char *path, size_t most)
{
    struct file_map m;
    json_error_t error;
    if (file_map(path, &m))
        return NULL;
    bool fits = m.n <= most;
    char *text = fits ? arena_copy(a, m.p, m.n) : NULL;
    json_t *root = fits ? json_loadb(text, m.n, JSON_REJECT_DUPLICATES, &error) : NULL;
    if (!fits)
        fail(FAULT_DATA, "%s: %llu bytes of JSON, more than %zu MB", path, (unsigned long long)m.n,
             most >> 20);
    else if (!root)
        fail(FAULT_DATA, "%s: line %d: %s", path, error.line, ckpt_quote(slice_of(error.text)));
    file_unmap(&m);
    return root;
}

/* A number; or a list of numbers that are all alike, as the one that they are. */
static const json_t *config_number(const json_t *v)
{
    const json_t *first = json_is_array(v) ? json_array_get(v, 0) : v;
    for (size_t i = 1; i < json_array_size(v); i++)
        if (json_number_value(json_array_get(v, i)) != json_number_value(first))
            return NULL;
    return json_is_number(first) ? first : NULL;
}

/* Integers of this key as "96 192 384 768" into the metadata. */
static void config_note_list(ckpt *c, const json_t *config, const char *key, const char *meta)
{
    const json_t *list = json_object_get(config, key), *v;
    const char *text = "";
    size_t i;
    json_array_foreach((json_t *)list, i, v)
        if (i < 16)
            text = arena_printf(c->mem, "%s%s%.12g", text, i ? " " : "", json_number_value(v));
    if (*text)
        ckpt_set_meta(c, meta, text);
}

/* The first of these keys (one after the other, up to an empty one) that is a number, into the metadata; or a
 * list of them. */
static void config_note_number(ckpt *c, const json_t *config, const char *keys, const char *meta)
{
    for (; *keys; keys += strlen(keys) + 1) {
        const json_t *is = json_object_get(config, keys), *v = config_number(is);
        if (v)
            ckpt_set_meta(c, meta, arena_printf(c->mem, "%.12g", json_number_value(v)));
        else if (json_is_array(is))
            config_note_list(c, config, keys, meta);
        if (v || json_is_array(is))
            return;
    }
}

static void config_note_flag(ckpt *c, const json_t *config, const char *key, const char *meta)
{
    const json_t *v = json_object_get(config, key);
    if (json_is_boolean(v))
        ckpt_set_meta(c, meta, json_is_true(v) ? "true" : "false");
}

/* Rows and columns of patches, where images are not squares: nothing else tells 4 x 6 from 3 x 8. */
static void config_note_grid(ckpt *c, const json_t *config)
{
    const json_t *image = json_object_get(config, "image_size");
    f64 patch = json_number_value(config_number(json_object_get(config, "patch_size")));
    f64 rows = json_number_value(json_array_get(image, 0));
    f64 columns = json_number_value(json_array_get(image, 1));
    if (json_array_size(image) != 2 || rows == columns || !(patch >= 1 && rows >= patch && rows <= 1 << 16
                                                            && columns >= patch && columns <= 1 << 16))
        return;
    if (!ckpt_meta(c, "grid"))
        ckpt_set_meta(c, "grid", arena_printf(c->mem, "%d %d", (int)(rows / patch), (int)(columns / patch)));
}

/* WordNet has two cranes: names that stand twice get their class's number. */
static json_t *config_tell_apart(const json_t *names)
{
    json_t *times = json_object(), *out = json_array();
    size_t i;
    const json_t *name;
    json_array_foreach((json_t *)names, i, name) {
        const char *text = json_string_value(name);
        json_object_set_new(times, text, json_integer(1 + json_integer_value(json_object_get(times, text))));
    }
    json_array_foreach((json_t *)names, i, name) {
        const char *text = json_string_value(name);
        bool alone = json_integer_value(json_object_get(times, text)) == 1;
        json_array_append_new(out, alone ? json_string(text) : json_sprintf("%s (%zu)", text, i));
    }
    json_decref(times);
    return out;
}

static void config_note_classes(ckpt *c, const json_t *config)
{
    const json_t *names = json_object_get(config, "id2label");
    size_t n = json_is_object(names) ? json_object_size(names) : 0;
    json_t *list = json_array();
    bool named = n > 0 && n < 1 << 20;
    if (n && !json_is_object(json_object_get(config, "vision_config")))
        ckpt_set_meta(c, "config.num_labels", arena_printf(c->mem, "%zu", n));
    for (size_t i = 0; i < n && named; i++) {
        char key[24];
        snprintf(key, sizeof key, "%zu", i);
        const char *name = json_string_value(json_object_get(names, key));
        named = name && strncmp(name, "LABEL_", 6);
        json_array_append_new(list, json_string(name ? name : ""));
    }
    json_t *apart = config_tell_apart(list);
    char *text = named ? json_dumps(apart, JSON_COMPACT) : NULL;
    if (text)
        ckpt_set_meta(c, "classes", text);
    free(text);
    json_decref(apart);
    json_decref(list);
}

/* Three fractions of 1 of this key, in 1/255 into the metadata, unless it has them. */
static void config_note_pixels(ckpt *c, const json_t *config, const char *key, const char *meta)
{
    const json_t *list = json_object_get(config, key);
    f64 v[3];
    char text[100];
    for (size_t i = 0; i < 3; i++)
        if (!json_is_number(json_array_get(list, i)))
            return;
        else
            v[i] = 255 * json_number_value(json_array_get(list, i));
    snprintf(text, sizeof text, "%.9g %.9g %.9g", v[0], v[1], v[2]);
    if (json_array_size(list) == 3 && !ckpt_meta(c, meta))
        ckpt_set_meta(c, meta, text);
}

/* How its images were normalised. */
int config_images(ckpt *c, const char *path)
{
    if (!file_exists(path))
        return 0;
    json_t *root = config_json(c->mem, path, MAX_CONFIG);
    if (!root)
        return -1;
    config_note_pixels(c, root, "image_mean", "mean");
    config_note_pixels(c, root, "image_std", "std");
    json_decref(root);
    return 0;
}

/* Hugging Face's word for an activation, as ours where it has several. */
static const char *config_act(const char *word)
{
    static const char *const same[][2] = {
        { "gelu_pytorch_tanh", "gelu_tanh" }, { "gelu_new", "gelu_tanh" },   { "gelu_fast", "gelu_tanh" },
        { "gelu_accurate", "gelu_tanh" },     { "gelu_python", "gelu" } };
    for (int i = 0; i < countof(same); i++)
        if (!strcmp(word, same[i][0]))
            return same[i][1];
    return word;
}

/* What Hugging Face's classes compute when the file does not say: it leaves out what is their default. */
static const char *config_usual_act(const char *family)
{
    return !family                          ? NULL
           : text_starts(family, "clip")    ? "quick_gelu"
           : text_starts(family, "siglip")  ? "gelu_tanh"
                                            : NULL;
}

/* How many heads they have when a tower's configuration does not say. */
static void config_usual_heads(ckpt *c, const char *family)
{
    bool tower = family && (text_starts(family, "clip") || text_starts(family, "siglip"));
    if (tower && !ckpt_meta(c, "heads"))
        ckpt_set_meta(c, "heads", "12");
}

static void config_note_act(ckpt *c, const char *act)
{
    if (act)
        ckpt_set_meta(c, spec_word_index("model.act", act) >= 0 ? "act" : "config.hidden_act", act);
}

/* What open_clip's image tower computes; pool "avg" is the mean before the last norm, as CLIPA has it. */
static void config_clip_tower(ckpt *c, const json_t *model, const json_t *vision)
{
    const json_t *norm = json_object_get(vision, "norm_kwargs"), *act = json_object_get(vision, "act_kwargs");
    const char *pool = json_string_value(json_object_get(vision, "pool_type"));
    const char *curve = json_string_value(json_object_get(act, "approximate"));
    bool mean = pool && !strcmp(pool, "avg"), tanh_curve = curve && !strcmp(curve, "tanh");
    i64 width = json_integer_value(json_object_get(vision, "width")),
        of_head = json_integer_value(json_object_get(vision, "head_width"));
    if (width > 0)
        ckpt_set_meta(c, "heads",
                      arena_printf(c->mem, "%lld", (long long)(width / (of_head > 0 ? of_head : 64))));
    config_note_act(c, json_is_true(json_object_get(model, "quick_gelu")) ? "quick_gelu"
                       : !json_object_size(act)                           ? "gelu"
                       : tanh_curve                                       ? "gelu_tanh"
                                                                          : "with act_kwargs");
    config_note_number(c, norm, "eps\0", "norm_eps");
    if (mean)
        ckpt_set_meta(c, "pool",
                      json_is_true(json_object_get(vision, "final_ln_after_pool")) ? "avg" : "norm_avg");
    else if (pool && strcmp(pool, "tok"))
        ckpt_set_meta(c, "config.global_pool", pool);
}

/* open_clip's: its activation is gelu unless it says otherwise; an image tower of timm's is known by name. */
int config_open_clip(ckpt *c, const char *path)
{
    json_t *root = file_exists(path) ? config_json(c->mem, path, MAX_CONFIG) : NULL;
    if (!root)
        return file_exists(path) ? -1 : 0;
    const json_t *model = json_object_get(root, "model_cfg"), *images = json_object_get(root, "preprocess_cfg");
    const json_t *vision = json_object_get(model, "vision_cfg");
    const char *timm = json_string_value(json_object_get(vision, "timm_model_name"));
    if (timm)
        ckpt_set_meta(c, "config.architecture", timm);
    else
        config_clip_tower(c, model, vision);
    config_note_pixels(c, images, "mean", "mean");
    config_note_pixels(c, images, "std", "std");
    json_decref(root);
    return 0;
}

/* Its layer_norm_eps is that of the last norm alone; its default, 1e-12, is 1e-6 to the digits of a float. */
static void config_convnext_eps(ckpt *c)
{
    const char *says = ckpt_meta(c, "norm_eps");
    f64 eps;
    if (says && text_real(slice_of(says), &eps) && eps > 1e-6)
        ckpt_set_meta(c, "config.layer_norm_eps", says);
    ckpt_set_meta(c, "norm_eps", "1e-06");
}

/* timm's own: the function that builds the model, what was asked of it, what its head reads. */
static void config_timm(ckpt *c, const json_t *root)
{
    const json_t *args = json_object_get(root, "model_args"), *cfg = json_object_get(root, "pretrained_cfg");
    const char *architecture = json_string_value(json_object_get(root, "architecture"));
    const char *pool = json_string_value(json_object_get(root, "global_pool"));
    if (architecture)
        ckpt_set_meta(c, "config.architecture", architecture);
    if (pool && json_is_true(json_object_get(args, "pool_include_prefix")))
        pool = arena_printf(c->mem, "%s of all tokens", pool);
    if (pool)
        ckpt_set_meta(c, "config.global_pool", pool);
    config_note_number(c, args, "num_heads\0", "heads");
    config_note_act(c, json_string_value(json_object_get(args, "act_layer")));
    config_note_pixels(c, cfg, "mean", "mean");
    config_note_pixels(c, cfg, "std", "std");
}

/* What no tensor says; and what tensors say too, for arch.c to compare. */
int config_read(ckpt *c, const char *path)
{
    if (!file_exists(path))
        return 0;
    json_t *root = config_json(c->mem, path, MAX_CONFIG), *config = root;
    json_t *vision = json_object_get(root, "vision_config");
    if (!root)
        return -1;
    if (json_is_object(vision))
        config = vision;
    config_note_number(c, config, "num_attention_heads\0num_heads\0", "heads");
    config_note_number(c, config, "layer_norm_eps\0", "norm_eps");
    config_note_number(c, config, "hidden_size\0", "config.hidden_size");
    config_note_number(c, config, "num_hidden_layers\0", "config.num_hidden_layers");
    config_note_number(c, config, "patch_size\0", "config.patch_size");
    config_note_number(c, config, "image_size\0", "config.image_size");
    config_note_grid(c, config);
    config_note_number(c, config, "intermediate_size\0", "config.intermediate_size");
    config_note_number(c, config, "mlp_ratio\0", "config.mlp_ratio");
    config_note_number(c, config, "num_register_tokens\0", "config.num_register_tokens");
    config_note_flag(c, config, "qkv_bias", "config.qkv_bias");
    if (config == root)                              // the head of CLIP's tower is its projection
        config_note_number(c, config, "num_labels\0num_classes\0", "config.num_labels");
    config_note_number(c, config, "num_channels\0", "config.num_channels");
    config_note_list(c, config, "hidden_sizes", "config.hidden_sizes");
    config_note_list(c, config, "depths", "config.depths");
    const char *family = json_string_value(json_object_get(config, "model_type"));
    family = family ? family : json_string_value(json_object_get(root, "model_type"));
    const char *act = json_string_value(json_object_get(config, "hidden_act"));
    config_note_act(c, act ? config_act(act) : config_usual_act(family));
    config_usual_heads(c, family);
    if (family && strstr(family, "convnext"))
        config_convnext_eps(c);
    config_timm(c, root);
    config_note_classes(c, root);
    json_decref(root);
    return 0;
}
