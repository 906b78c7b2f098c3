/* targets.h: what the fuzzers feed, shared by libFuzzer (fuzz.c) and by the replay of the corpus
 * (test_fuzz.c). Formats inside an archive get a well-formed one around the input, so that the fuzzer need
 * not guess CRCs.
 */
#ifndef JETCL_FUZZ_TARGETS_H
#define JETCL_FUZZ_TARGETS_H

#include "ckpt/ckpt.h"
#include "zipper.h"

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

static int fuzz_safetensors(const u8 *p, size_t n)   /* header text, elements behind its last '}' */
{
    static u8 file[FUZZ_MAX + 8];
    size_t header = n;
    while (header && p[header - 1] != '}')
        header--;
    u64 size = header ? header : n;
    memcpy(file, &size, 8);
    memcpy(file + 8, p, n);
    return feed(file, n + 8);
}

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

#include "data_targets.h"

static const struct target { const char *name; int (*run)(const u8 *, size_t); } targets[] = {
    { "safetensors", fuzz_safetensors }, { "archive", fuzz_archive }, { "npy", fuzz_npy },
    { "pickle", fuzz_pickle },
    { "legacy", fuzz_legacy },
    { "image", fuzz_image }, { "mat", fuzz_mat }, { "records", fuzz_records }, { "lists", fuzz_lists },
};

#endif
