/* folder.c: checkpoints of more than one file: a Hugging Face folder, an index with its shards, a DeepSpeed
 * folder, a folder of .npy files. Shards lie beside their index; nothing outside the folder is opened on a
 * file's word.
 *
 *     model.safetensors.index.json: {"weight_map": {"vit.layernorm.bias": "model-00002-of-00003.safetensors"}}
 */
#include "ckpt/format.h"
#include "spec/spec.h"
#include <dirent.h>
#include <jansson.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { MAX_SHARDS = 1024, MAX_INDEX = 16 << 20, MAX_CONFIG = 1 << 20 };

/* ---- tensors of several files -------------------------------------------------------------------------- */

struct joined { ckpt *part[MAX_SHARDS]; const char *file[MAX_SHARDS]; int n; };

static const void *folder_read(ckpt *c, entry *e, arena *a)
{
    (void)c, (void)a;
    return tensor_data(e->src);
}

static void folder_drop(ckpt *c, entry *e)
{
    (void)c;
    tensor_drop(e->src);
}

static void folder_close(ckpt *c)
{
    const struct joined *j = c->state;
    for (int i = 0; j && i < j->n; i++)
        ckpt_close(j->part[i]);
}

static const struct format folder_format = { "folder", "", .read = folder_read, .drop = folder_drop,
                                             .close = folder_close };

static ckpt *folder_new(const char *path)
{
    ckpt *c = ckpt_make(path);
    c->format = &folder_format;
    c->state = arena_one(c->mem, struct joined);
    return c;
}

static int folder_add(ckpt *c, const char *name, const tensor *t)
{
    entry *e = ckpt_entry(c, slice_of(name), t->type, t->nd, t->shape);
    if (!e)
        return -1;
    e->src = t;
    return 0;
}

/* ---- an index ------------------------------------------------------------------------------------------ */

static json_t *folder_json(arena *a, const char *path, size_t most)
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

/* The shard of that name, opened at its first mention. A shard is a file beside the index and no index
 * itself. */
static ckpt *folder_shard(ckpt *c, const char *dir, const char *file)
{
    struct joined *j = c->state;
    for (int i = j->n - 1; i >= 0; i--)
        if (!strcmp(j->file[i], file))
            return j->part[i];
    if (j->n == MAX_SHARDS) {
        fail(FAULT_DATA, "more than %d shards", MAX_SHARDS);
        return NULL;
    }
    if (!*file || strchr(file, '/') || strchr(file, '\\') || *file == '.') {
        fail(FAULT_DATA, "shard %s does not lie beside the index", ckpt_quote(slice_of(file)));
        return NULL;
    }
    ckpt *part = ckpt_open_file(arena_printf(c->mem, "%s%s", dir, file));
    if (!part)
        return NULL;
    j->file[j->n] = arena_printf(c->mem, "%s", file);
    j->part[j->n++] = part;
    return part;
}

static int folder_join(ckpt *c, const char *dir, const json_t *map)
{
    const char *name;
    json_t *file;
    if (!json_is_object(map) || !json_object_size(map))
        return fail(FAULT_DATA, "no weight_map in this index");
    if (json_object_size(map) > MAX_TENSORS)
        return fail(FAULT_DATA, "more than %d tensors", MAX_TENSORS);
    json_object_foreach((json_t *)map, name, file) {
        if (!json_is_string(file))
            return fail(FAULT_DATA, "weight_map: no file for %s", ckpt_quote(slice_of(name)));
        ckpt *part = folder_shard(c, dir, json_string_value(file));
        const tensor *t = part ? ckpt_find(part, name) : NULL;
        if (part && !t)
            fail(FAULT_DATA, "%s is not in %s, where the index has it", ckpt_quote(slice_of(name)),
                 ckpt_quote(slice_of(json_string_value(file))));
        if (!t || folder_add(c, name, t))
            return -1;
    }
    return ckpt_sort(c);
}

static ckpt *folder_open_index(const char *path)
{
    ckpt *c = folder_new(path);
    const char *slash = strrchr(path, '/');
    json_t *root = folder_json(c->mem, path, MAX_INDEX);
    int rc = root ? folder_join(c, slash ? arena_copy(c->mem, path, (size_t)(slash - path) + 1) : "",
                                json_object_get(root, "weight_map")) : -1;
    if (rc && root)
        fail_in("%s", path);
    json_decref(root);
    if (!rc)
        return c;
    ckpt_close(c);
    return NULL;
}

/* ---- config.json --------------------------------------------------------------------------------------- */

/* The first of these keys (one after the other, up to an empty one) that is a number, into the metadata. */
static void folder_note_number(ckpt *c, const json_t *config, const char *keys, const char *meta)
{
    for (; *keys; keys += strlen(keys) + 1) {
        const json_t *v = json_object_get(config, keys);
        if (!json_is_number(v))
            continue;
        char text[40];
        snprintf(text, sizeof text, "%.12g", json_number_value(v));
        ckpt_set_meta(c, meta, text);
        return;
    }
}

/* Integers of this key as "96 192 384 768" into the metadata. */
static void folder_note_list(ckpt *c, const json_t *config, const char *key, const char *meta)
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

/* WordNet has two cranes: names that stand twice get their class's number. */
static json_t *folder_tell_apart(const json_t *names)
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

static void folder_note_classes(ckpt *c, const json_t *config)
{
    const json_t *names = json_object_get(config, "id2label");
    size_t n = json_is_object(names) ? json_object_size(names) : 0;
    json_t *list = json_array();
    bool named = n > 0 && n < 1 << 20;
    for (size_t i = 0; i < n && named; i++) {
        char key[24];
        snprintf(key, sizeof key, "%zu", i);
        const char *name = json_string_value(json_object_get(names, key));
        named = name && strncmp(name, "LABEL_", 6);
        json_array_append_new(list, json_string(name ? name : ""));
    }
    json_t *apart = folder_tell_apart(list);
    char *text = named ? json_dumps(apart, JSON_COMPACT) : NULL;
    if (text)
        ckpt_set_meta(c, "classes", text);
    free(text);
    json_decref(apart);
    json_decref(list);
}

/* Three fractions of 1 of this key, in 1/255 into the metadata, unless it has them. */
static void folder_note_pixels(ckpt *c, const json_t *config, const char *key, const char *meta)
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
static int folder_read_preprocessor(ckpt *c, const char *path)
{
    if (!file_exists(path))
        return 0;
    json_t *root = folder_json(c->mem, path, MAX_CONFIG);
    if (!root)
        return -1;
    folder_note_pixels(c, root, "image_mean", "mean");
    folder_note_pixels(c, root, "image_std", "std");
    json_decref(root);
    return 0;
}

/* What Hugging Face's classes compute when the file does not say: it leaves out what is their default. */
static const char *folder_usual_act(const char *family)
{
    return !family                          ? NULL
           : text_starts(family, "clip")    ? "quick_gelu"
           : text_starts(family, "siglip")  ? "gelu_pytorch_tanh"
                                            : NULL;
}

/* open_clip's: its activation is gelu unless it says otherwise. */
static int folder_read_open_clip(ckpt *c, const char *path)
{
    json_t *root = file_exists(path) ? folder_json(c->mem, path, MAX_CONFIG) : NULL;
    if (!root)
        return file_exists(path) ? -1 : 0;
    const json_t *model = json_object_get(root, "model_cfg"), *images = json_object_get(root, "preprocess_cfg");
    const json_t *vision = json_object_get(model, "vision_cfg");
    i64 width = json_integer_value(json_object_get(vision, "width")),
        of_head = json_integer_value(json_object_get(vision, "head_width"));
    char heads[24];
    snprintf(heads, sizeof heads, "%lld", (long long)(width / (of_head > 0 ? of_head : 64)));
    ckpt_set_meta(c, "act", json_is_true(json_object_get(model, "quick_gelu")) ? "quick_gelu" : "gelu");
    if (width > 0)
        ckpt_set_meta(c, "heads", heads);
    folder_note_pixels(c, images, "mean", "mean");
    folder_note_pixels(c, images, "std", "std");
    json_decref(root);
    return 0;
}

/* What no tensor says; and what tensors say too, for arch.c to compare. */
static int folder_read_config(ckpt *c, const char *path)
{
    if (!file_exists(path))
        return 0;
    json_t *root = folder_json(c->mem, path, MAX_CONFIG), *config = root;
    json_t *vision = json_object_get(root, "vision_config");
    if (!root)
        return -1;
    if (json_is_object(vision))
        config = vision;
    folder_note_number(c, config, "num_attention_heads\0num_heads\0", "heads");
    folder_note_number(c, config, "layer_norm_eps\0", "norm_eps");
    folder_note_number(c, config, "hidden_size\0", "config.hidden_size");
    folder_note_number(c, config, "num_hidden_layers\0", "config.num_hidden_layers");
    folder_note_number(c, config, "patch_size\0", "config.patch_size");
    folder_note_number(c, config, "image_size\0", "config.image_size");
    folder_note_number(c, config, "num_channels\0", "config.num_channels");
    folder_note_list(c, config, "hidden_sizes", "config.hidden_sizes");
    folder_note_list(c, config, "depths", "config.depths");
    const char *family = json_string_value(json_object_get(config, "model_type"));
    family = family ? family : json_string_value(json_object_get(root, "model_type"));
    const char *act = json_string_value(json_object_get(config, "hidden_act"));
    act = act ? act : folder_usual_act(family);
    if (act && spec_word_index("model.act", act) >= 0)
        ckpt_set_meta(c, "act", act);
    else if (act)
        ckpt_set_meta(c, "config.hidden_act", act);
    if (family && strstr(family, "convnext"))        // its layer_norm_eps is that of the last norm alone
        ckpt_set_meta(c, "norm_eps", "1e-06");
    folder_note_classes(c, root);
    folder_note_pixels(c, json_object_get(root, "pretrained_cfg"), "mean", "mean");
    folder_note_pixels(c, json_object_get(root, "pretrained_cfg"), "std", "std");
    json_decref(root);
    return 0;
}

/* ---- a folder ------------------------------------------------------------------------------------------ */

static int folder_is_npy(const struct dirent *e) { return text_ends(e->d_name, ".npy") && *e->d_name != '.'; }

static ckpt *folder_open_npy(const char *dir)
{
    struct dirent **list = NULL;
    int n = scandir(dir, &list, folder_is_npy, alphasort), rc = n > 0 ? 0 : -1;
    ckpt *c = folder_new(dir);
    struct joined *j = c->state;
    if (n > MAX_SHARDS)
        rc = fail(FAULT_DATA, "%s: more than %d .npy files", dir, MAX_SHARDS);
    for (int i = 0; i < n; i++) {
        const char *file = list[i]->d_name;
        ckpt *part = rc ? NULL : ckpt_open_file(arena_printf(c->mem, "%s/%s", dir, file));
        if (part) {
            j->part[j->n++] = part;
            rc = folder_add(c, arena_copy(c->mem, file, strlen(file) - 4), ckpt_at(part, 0));
            rc = rc ? fail_in("%s", dir) : 0;
        } else
            rc = -1;
        free(list[i]);
    }
    free(list);
    if (!rc && !ckpt_sort(c))
        return c;
    ckpt_close(c);
    return NULL;
}

/* DeepSpeed: `latest` names the folder of the last step; one rank has the model whole unless it was split. */
static const char *folder_deepspeed(arena *a, const char *dir)
{
    size_t n;
    const char *latest = arena_printf(a, "%s/latest", dir);
    char *tag = file_exists(latest) ? file_text(a, latest, &n) : NULL;
    if (tag)
        tag[strcspn(tag, "\r\n")] = 0;
    if (tag && (!*tag || strchr(tag, '/') || *tag == '.' || n > 255))
        return NULL;
    const char *in = tag ? arena_printf(a, "%s/%s", dir, tag) : dir;
    const char *file = arena_printf(a, "%s/mp_rank_00_model_states.pt", in);
    return file_exists(file) && !file_exists(arena_printf(a, "%s/mp_rank_01_model_states.pt", in)) ? file
                                                                                                   : NULL;
}

static ckpt *folder_open_dir(const char *dir, arena *a)
{
    static const char *const known[] = { "model.safetensors.index.json",
                                         "model.safetensors",
                                         "pytorch_model.bin.index.json",
                                         "pytorch_model.bin",
                                         "open_clip_model.safetensors",
                                         "open_clip_pytorch_model.bin",
                                         "model.onnx" };
    for (int i = 0; i < countof(known); i++) {
        const char *path = arena_printf(a, "%s/%s", dir, known[i]);
        if (!file_exists(path))
            continue;
        ckpt *c = text_ends(path, ".json") ? folder_open_index(path) : ckpt_open_file(path);
        if (c && (folder_read_open_clip(c, arena_printf(a, "%s/open_clip_config.json", dir))
                  || folder_read_config(c, arena_printf(a, "%s/config.json", dir))
                  || folder_read_preprocessor(c, arena_printf(a, "%s/preprocessor_config.json", dir)))) {
            ckpt_close(c);
            return NULL;
        }
        return c;
    }
    const char *path = folder_deepspeed(a, dir);
    if (path)
        return ckpt_open_file(path);
    fail_clear();
    ckpt *c = folder_open_npy(dir);
    if (!c && !*fail_message())
        fail(FAULT_DATA,
             "%s: a folder with no model.safetensors, pytorch_model.bin, index of shards, DeepSpeed states "
             "of one rank or .npy files%s",
             dir,
             file_exists(arena_printf(a, "%s/.metadata", dir))
                 ? ": a distributed checkpoint; save the full state dict instead"
                 : "");
    return c;
}

int ckpt_sha256(const ckpt *c, char hex[65])
{
    if (c->inner)
        return ckpt_sha256(c->inner, hex);
    if (c->format != &folder_format)
        return file_sha256(c->path, hex);
    const struct joined *j = c->state;
    arena *a = arena_open("checksums");
    char *all = arena_bytes(a, 64 * (size_t)j->n + 1, 1);
    int rc = 0;
    for (int i = 0; i < j->n && !rc; i++)
        if (!(rc = file_sha256(j->part[i]->path, hex)))
            memcpy(all + 64 * i, hex, 64);
    bytes_sha256(all, 64 * (size_t)j->n, hex);
    arena_close(a);
    return rc;
}

ckpt *ckpt_open(const char *path)
{
    struct stat st;
    if (text_ends(path, ".index.json"))
        return folder_open_index(path);
    if (stat(path, &st) || !S_ISDIR(st.st_mode))
        return ckpt_open_file(path);
    arena *a = arena_open("folder");
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    ckpt *c = folder_open_dir(arena_copy(a, path, n), a);
    arena_close(a);
    return c;
}
