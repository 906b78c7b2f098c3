/* shards.c: checkpoints of more than one file: a Hugging Face folder, an index with its shards, a DeepSpeed
 * folder, a folder of .npy files. Shards lie beside their index; nothing outside the folder is opened on a
 * file's word.
 *
 *     model.safetensors.index.json: {"weight_map": {"vit.layernorm.bias": "model-00002-of-00003.safetensors"}}
 */
#include "ckpt/format.h"
#include "ckpt/config.h"
#include <dirent.h>
#include <sys/stat.h>
#include <stdlib.h>

enum { MAX_SHARDS = 1024, MAX_INDEX = 16 << 20 };

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
    if (!ckpt_is_neighbour(slice_of(file))) {
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
    json_t *root = config_json(c->mem, path, MAX_INDEX);
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

/* Files that a hub's folder holds its model in. */
static const char *const hub_files[] = { "model.safetensors.index.json", "model.safetensors",
                                         "pytorch_model.bin.index.json", "pytorch_model.bin",
                                         "open_clip_model.safetensors", "open_clip_pytorch_model.bin",
                                         "model.onnx" };

/* What the JSON files beside a hub's file say. c, which may be NULL, or NULL + fail. */
static ckpt *folder_configs(ckpt *c, arena *a, const char *dir)
{
    if (!c || !(config_open_clip(c, arena_printf(a, "%s/open_clip_config.json", dir))
                || config_read(c, arena_printf(a, "%s/config.json", dir))
                || config_images(c, arena_printf(a, "%s/preprocessor_config.json", dir))))
        return c;
    ckpt_close(c);
    return NULL;
}

/* One file, or an index of shards: with what lies beside it, if its name is a hub's. */
static ckpt *folder_open_file(arena *a, const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    ckpt *c = text_ends(path, ".index.json") ? folder_open_index(path) : ckpt_open_file(path);
    for (int i = 0; i < countof(hub_files); i++)
        if (!strcmp(name, hub_files[i]))
            return folder_configs(c, a, slash ? arena_copy(a, path, (size_t)(slash - path) + 1) : ".");
    return c;
}

static ckpt *folder_open_dir(const char *dir, arena *a)
{
    for (int i = 0; i < countof(hub_files); i++) {
        const char *path = arena_printf(a, "%s/%s", dir, hub_files[i]);
        if (file_exists(path))
            return folder_open_file(a, path);
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

const char *ckpt_of_run(arena *a, const char *path)
{
    static const char *const inside[] = { "ckpt/last.safetensors", "last.safetensors",
                                          "ckpt/best.safetensors" };
    struct stat st;
    if (stat(path, &st) || !S_ISDIR(st.st_mode))
        return path;
    for (int i = 0; i < countof(inside); i++) {
        const char *file = arena_printf(a, "%s%s%s", path, text_ends(path, "/") ? "" : "/", inside[i]);
        if (file_exists(file))
            return file;
    }
    return path;
}

ckpt *ckpt_open(const char *path)
{
    struct stat st;
    arena *a = arena_open("folder");
    bool dir = !stat(path, &st) && S_ISDIR(st.st_mode);
    size_t n = strlen(path);
    while (dir && n > 1 && path[n - 1] == '/')
        n--;
    const char *file = ckpt_of_run(a, path);
    ckpt *c = dir && file == path ? folder_open_dir(arena_copy(a, path, n), a) : folder_open_file(a, file);
    arena_close(a);
    return c;
}
