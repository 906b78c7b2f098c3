/* targets.h: what the fuzzers feed, shared by libFuzzer (fuzz.c) and by the replay of the corpus
 * (test_fuzz.c). Formats inside an archive get a well-formed one around the input, so that the fuzzer need
 * not guess CRCs.
 */
#ifndef JETCL_FUZZ_TARGETS_H
#define JETCL_FUZZ_TARGETS_H

#include "ckpt/ckpt.h"
#include "zipper.h"
#include <stdlib.h>

/* Everything a command does with a file it was given; whatever happens must end in one line and
 * FAULT_DATA. */
static void visit(ckpt *c)
{
    for (int i = 0; i < ckpt_count(c); i++) {
        const tensor *t = ckpt_at(c, i);
        f64 few[256];
        check(ckpt_find(c, t->name) == t, "%s is not found", t->name);
        const u8 *p = tensor_data(t);
        if (p && t->bytes) {
            volatile u8 ends = (u8)(p[0] ^ p[t->bytes - 1]);
            (void)ends;
        }
        if (p && t->count <= 256 && tensor_to_f64(t, few))
            check(t->type == CKPT_C64 || t->type == CKPT_C128, "%s has no values", t->name);
        tensor_drop(t);
    }
    const char *value;
    for (int i = 0; i < ckpt_meta_count(c); i++)
        check(ckpt_meta_at(c, i, &value) && value, "no metadata %d", i);
}

static void load(ckpt *c)
{
    static f32 pos[7 * 8], norm[8];
    struct want w[] = { { "pos_embed", 3, { 1, 7, 8 }, pos }, { "fc_norm.weight", 1, { 8 }, norm } };
    struct load_options o = { .grid = { 2, 3 }, .prefix = 1, .norm_to_fc_norm = true };
    struct load_report r;
    arena *a = arena_open("load");
    ckpt_load(a, c, w, countof(w), &o, &r);
    arena_close(a);
}

static int feed(const void *p, size_t n)
{
    fail_clear();
    ckpt *c = ckpt_open_bytes(p, n, "x");
    if (c) {
        visit(c);
        load(c);
    } else
        check(fail_fault() == FAULT_DATA && !strncmp(fail_message(), "x: ", 3)
              && !strchr(fail_message(), '\n'), "fault %d, message '%s'", fail_fault(), fail_message());
    if (c && (c = ckpt_model(c, false))) {
        visit(c);
        load(c);
    }
    ckpt_close(c);
    return 0;
}

/* ---- the targets --------------------------------------------------------------------------------------- */

enum { FUZZ_MAX = 1 << 16 };

/* Header text, then elements after its last '}', as a safetensors file; n + 8 bytes of *file. */
static const u8 *fuzz_safetensors_file(const u8 *p, size_t n)
{
    static u8 file[FUZZ_MAX + 8];
    size_t header = n;
    while (header && p[header - 1] != '}')
        header--;
    u64 size = header ? header : n;
    memcpy(file, &size, 8);
    memcpy(file + 8, p, n);
    return file;
}

static int fuzz_safetensors(const u8 *p, size_t n) { return feed(fuzz_safetensors_file(p, n), n + 8); }

static int fuzz_archive(const u8 *p, size_t n) { return feed(p, n); }      /* whole files of any format */

static u8 archive[FUZZ_MAX + 2048];

static int fuzz_npy(const u8 *p, size_t n)
{
    return feed(archive, zip_make(archive, &(struct zipped){ "a.npy", p, n }, 1));
}

static int fuzz_pickle(const u8 *p, size_t n)        /* data.pkl of an archive with storages 0, 1 and 2 */
{
    static const u8 zeros[256];
    const struct zipped e[] = { { "a/data.pkl", p, n }, { "a/data/0", zeros, 256 }, { "a/data/1", zeros, 24 },
                                { "a/data/2", zeros, 0 } };
    return feed(archive, zip_make(archive, e, countof(e)));
}

static int fuzz_legacy(const u8 *p, size_t n)        /* what follows the magic number */
{
    static u8 file[FUZZ_MAX + 32] = "\x80\2\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\2M\xe9\3.";
    memcpy(file + 21, p, n);
    return feed(file, n + 21);
}

/* After the version and producer of an ONNX model: whole messages. */
static const u8 *fuzz_onnx_file(const u8 *p, size_t n)
{
    static u8 file[FUZZ_MAX + 8] = "\x08\x08\x12\1t\x3a";
    u64 size = n & 0x1fffff;
    for (int i = 0; i < 3; i++)
        file[6 + i] = (u8)(size >> (7 * i) | (i < 2 ? 128 : 0));
    memcpy(file + 9, p, n);
    return file;
}

static int fuzz_onnx(const u8 *p, size_t n) { return feed(fuzz_onnx_file(p, n), n + 9); }

static int fuzz_numpy(const u8 *p, size_t n)         /* a plain pickle of protocol 4 */
{
    static u8 file[FUZZ_MAX + 2] = "\x80\4";
    memcpy(file + 2, p, n);
    return feed(file, n + 2);
}

/* What lies at a path is read, or refused in one line. */
static void fuzz_visit(const char *path)
{
    fail_clear();
    ckpt *c = ckpt_open(path);
    if (c)
        visit(c);
    else
        check(fail_fault() == FAULT_DATA && !strchr(fail_message(), '\n'), "fault %d, '%s'", fail_fault(),
              fail_message());
    ckpt_close(c);
}

/* An index of shards, a config.json and open_clip's, in a folder with one shard. */
static char index_dir[64];

static void fuzz_index_remove(void)
{
    static const char *const file[] = { "/model.safetensors.index.json", "/config.json",
                                        "/open_clip_config.json", "/a.safetensors", "" };
    char path[128];
    for (int i = 0; i < countof(file); i++) {
        snprintf(path, sizeof path, "%s%s", index_dir, file[i]);
        remove(path);
    }
}

static int fuzz_index(const u8 *p, size_t n)
{
    static char index[96], config[96], clip[96], shard[96];
    char *dir = index_dir;
    if (!*dir) {
        snprintf(dir, sizeof index_dir, "/tmp/jetcl-fuzz-XXXXXX");
        check(mkdtemp(dir) && !atexit(fuzz_index_remove), "no folder in /tmp");
        snprintf(shard, sizeof shard, "%s/a.safetensors", dir);
        snprintf(index, sizeof index, "%s/model.safetensors.index.json", dir);
        snprintf(config, sizeof config, "%s/config.json", dir);
        snprintf(clip, sizeof clip, "%s/open_clip_config.json", dir);
        ckpt *c = ckpt_new();
        ckpt_add(c, "vit.embeddings.cls_token", CKPT_F32, 0, NULL, (f32[]){ 1 });
        ckpt_save(c, shard);
        ckpt_close(c);
    }
    const char *file[] = { index, config, clip };    // not file_save: its fsync is most of the time
    for (int i = 0; i < countof(file); i++) {
        FILE *f = fopen(file[i], "wb");
        check(f, "cannot write %s", file[i]);
        fwrite(p, 1, n, f);
        fclose(f);
    }
    fuzz_visit(dir);
    return 0;
}

/* The configuration that mmengine keeps beside a ConvNeXt's tensors. */
static int fuzz_mmengine(const u8 *p, size_t n)
{
    static char text[FUZZ_MAX + 1];
    ckpt *c = ckpt_new();
    memcpy(text, p, n);
    text[n] = 0;
    ckpt_add(c, "backbone.downsample_layers.0.0.weight", CKPT_F32, 4, (i64[]){ 1, 1, 1, 1 }, (f32[]){ 1 });
    ckpt_add(c, "backbone.norm3.weight", CKPT_F32, 1, (i64[]){ 1 }, (f32[]){ 1 });
    ckpt_add(c, "head.fc.weight", CKPT_F32, 2, (i64[]){ 1, 1 }, (f32[]){ 1 });
    ckpt_set_meta(c, "meta.cfg", text);
    fail_clear();
    if ((c = ckpt_model(c, false)))
        visit(c);
    else
        check(fail_fault() == FAULT_DATA && !strchr(fail_message(), '\n'), "fault %d, '%s'", fail_fault(),
              fail_message());
    ckpt_close(c);
    return 0;
}

#include "data_targets.h"

/* The same as a file, with 64 bytes beside it in a.data. */
static int fuzz_beside(const u8 *p, size_t n)
{
    static const u8 zeros[64];
    char path[160];
    fuzz_begin();
    fuzz_write("c/a.data", zeros, sizeof zeros);
    fuzz_write("c/x.onnx", fuzz_onnx_file(p, n), n + 9);
    snprintf(path, sizeof path, "%s/c/x.onnx", fuzz_folder);
    fuzz_visit(path);
    return 0;
}
#include "run_targets.h"

static const struct target { const char *name; int (*run)(const u8 *, size_t); } targets[] = {
    { "safetensors", fuzz_safetensors }, { "archive", fuzz_archive }, { "npy", fuzz_npy },
    { "pickle", fuzz_pickle }, { "legacy", fuzz_legacy }, { "onnx", fuzz_onnx }, { "beside", fuzz_beside },
    { "numpy", fuzz_numpy }, { "index", fuzz_index }, { "mmengine", fuzz_mmengine },
    { "image", fuzz_image }, { "mat", fuzz_mat }, { "records", fuzz_records }, { "lists", fuzz_lists },
    { "webp", fuzz_image }, { "bmp", fuzz_image }, { "state", fuzz_state }, { "statistics", fuzz_statistics },
    { "metrics", fuzz_metrics }, { "result", fuzz_result }, { "tuning", fuzz_tuning },
    { "experiment", fuzz_experiment }, { "table", fuzz_table },
};

#endif
