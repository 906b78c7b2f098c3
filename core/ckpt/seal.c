/* seal.c: a SHA-256 of every tensor, and one of the metadata, kept among the metadata:
 *
 *     "sha256:blocks.0.attn.qkv.weight": "9f86d0..."    "sha256": of "KEY=VALUE\n" of all other rows, in order
 *
 * For files whose every bit counts, such as what a run continues from. */
#include "ckpt/format.h"
#include <stdlib.h>

static const char prefix[] = "sha256:";

static const char *seal_name(arena *a, const tensor *t) { return arena_printf(a, "%s%s", prefix, t->name); }

static void seal_of_meta(const ckpt *c, char hex[65])
{
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    check(f, "no memory stream");
    for (int i = 0; i < ckpt_meta_count(c); i++) {
        const char *value, *key = ckpt_meta_at(c, i, &value);
        if (strcmp(key, "sha256"))
            fprintf(f, "%s=%s\n", key, value);
    }
    fclose(f);
    bytes_sha256(text, n, hex);
    free(text);
}

int ckpt_seal(ckpt *c)
{
    char hex[65];
    arena *a = arena_open("seal");
    int rc = 0;
    for (int i = 0; i < ckpt_count(c) && !rc; i++) {
        const tensor *t = ckpt_at(c, i);
        bool held = ((const entry *)t)->data;
        const void *p = tensor_data(t);
        rc = p ? 0 : -1;
        if (rc)
            break;
        bytes_sha256(p, t->bytes, hex);
        rc = ckpt_set_meta(c, seal_name(a, t), hex);
        if (!held)
            tensor_drop(t);
    }
    if (!rc) {
        seal_of_meta(c, hex);
        rc = ckpt_set_meta(c, "sha256", hex);
    }
    arena_close(a);
    return rc;
}

static int seal_wrong(const ckpt *c, const char *what)
{
    return fail(FAULT_DATA, "%s: %s is not as it was saved (its SHA-256 differs): the file is damaged",
                ckpt_path(c), what);
}

int ckpt_check_seal(const ckpt *c)
{
    char hex[65];
    const char *seal = ckpt_meta(c, "sha256");
    arena *a = arena_open("seal");
    int rc = 0;
    seal_of_meta(c, hex);
    if (!seal || strcmp(seal, hex))
        rc = seal_wrong(c, "its metadata");
    for (int i = 0; i < ckpt_count(c) && !rc; i++) {
        const tensor *t = ckpt_at(c, i);
        const void *p = tensor_data(t);
        seal = ckpt_meta(c, seal_name(a, t));
        if (!p)
            rc = -1;
        else {
            bytes_sha256(p, t->bytes, hex);
            rc = seal && !strcmp(seal, hex) ? 0 : seal_wrong(c, t->name);
            tensor_drop(t);
        }
    }
    arena_close(a);
    return rc;
}
