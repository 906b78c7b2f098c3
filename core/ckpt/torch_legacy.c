/* torch_legacy.c: PyTorch's stream format before 1.6: five pickles, then the storages one after the other.
 *
 *     magic | 1001 | {'little_endian': True, ...} | the object | [KEY, KEY, ...] | i64 numel, elements | ...
 */
#include "ckpt/torch.h"
#include <stdlib.h>

#define MAGIC "\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"       /* 0x1950a86a20f9469cfc6c */

struct opened { struct pickle pickle; bool big; };

/* Since protocol 4 a pickle lies in a frame: nine bytes more. */
static bool legacy_knows(const struct file_map *m)
{
    u64 at = m->n > 2 && m->p[2] == 0x95 ? 11 : 2;
    return m->n >= at + 13 && m->p[0] == 0x80 && !memcmp(m->p + at, "\x8a\x0a" MAGIC ".", 13);
}

static int read_preamble(struct opened *o)
{
    value magic, version, system;
    struct pickle *p = &o->pickle;
    if (pickle_read(p, &magic) || pickle_read(p, &version) || pickle_read(p, &system))
        return -1;
    if (version.kind != P_INT || version.i != 1001)
        return fail(FAULT_DATA, "a torch stream of an unknown version");
    const value *little = pickle_get(&system, "little_endian");
    o->big = little && little->kind == P_BOOL && !little->i;
    return 0;
}

static int legacy_by_key(const void *a, const void *b)
{
    slice x = (*(struct storage *const *)a)->key, y = (*(struct storage *const *)b)->key;
    int order = memcmp(x.p, y.p, MIN(x.n, y.n));
    return order ? order : x.n < y.n ? -1 : x.n > y.n;
}

/* The storages (each mention is one) of this key get their place in the file. Sorted by key. */
static int legacy_place(struct opened *o, struct storage **sorted, slice key, u64 numel, u64 at,
                        const u8 **end)
{
    struct pickle *p = &o->pickle;
    struct storage want = { .key = key }, *w = &want;
    struct storage **hit = NULL;
    if (p->nstorages)
        hit = bsearch(&w, sorted, p->nstorages, sizeof *sorted, legacy_by_key);
    u64 bytes;
    if (!hit)
        return fail(FAULT_DATA, "storage %s belongs to no tensor", ckpt_quote(key));
    while (hit > sorted && !legacy_by_key(hit - 1, &w))
        hit--;
    enum ckpt_type type = (*hit)->type;
    if (__builtin_mul_overflow(numel, (u64)ckpt_type_bytes(type), &bytes) || bytes > (u64)(p->end - p->at))
        return fail(FAULT_DATA, "storage %s: %llu elements in the last %td bytes of the file",
                    ckpt_quote(key), (unsigned long long)numel, p->end - p->at);
    for (; hit < sorted + p->nstorages && !legacy_by_key(hit, &w); hit++) {
        if ((*hit)->type != type || (u64)(*hit)->numel > numel || (*hit)->at)
            return fail(FAULT_DATA, "storage %s is given twice, or smaller than its tensors",
                        ckpt_quote(key));
        (*hit)->at = at;
    }
    *end = p->at + bytes;
    return 0;
}

static int read_storages(struct opened *o, const value *keys, struct storage **sorted)
{
    struct pickle *p = &o->pickle;
    for (size_t i = 0; i < keys->node->n; i++) {
        u64 numel;
        const value *key = &keys->node->item[i];
        if (key->kind != P_TEXT)
            return fail(FAULT_DATA, "storage keys must be text");
        if (p->end - p->at < 8)
            return fail(FAULT_DATA, "truncated: storage %s is missing", ckpt_quote(pickle_text(key)));
        memcpy(&numel, p->at, 8);
        if (o->big)
            ckpt_swap(&numel, 8, 8);
        p->at += 8;
        if (legacy_place(o, sorted, pickle_text(key), numel, (u64)(p->at - p->start), &p->at))
            return -1;
    }
    for (size_t i = 0; i < p->nstorages; i++)
        if (!p->storages[i]->at)
            return fail(FAULT_DATA, "truncated: storage %s is missing", ckpt_quote(p->storages[i]->key));
    return 0;
}

static int find_storages(struct opened *o)
{
    struct pickle *p = &o->pickle;
    value keys;
    if (pickle_read(p, &keys))
        return -1;
    if (keys.kind != P_LIST)
        return fail(FAULT_DATA, "a list of storage keys expected");
    struct storage **sorted = pickle_alloc(p, (p->nstorages + 1) * sizeof *sorted);
    if (!sorted)
        return -1;
    if (p->nstorages)
        memcpy(sorted, p->storages, p->nstorages * sizeof *sorted);
    qsort(sorted, p->nstorages, sizeof *sorted, legacy_by_key);
    return read_storages(o, &keys, sorted);
}

static int legacy_open_file(ckpt *c)
{
    struct opened *o = arena_one(c->mem, struct opened);
    value root;
    c->state = o;
    pickle_init(&o->pickle, c->map.p, c->map.n);
    return read_preamble(o) || pickle_read(&o->pickle, &root) || find_storages(o)
               ? -1
               : torch_list(c, &root, NULL);
}

static void legacy_close_file(ckpt *c)
{
    struct opened *o = c->state;
    pickle_close(&o->pickle);
}

static const void *legacy_read_tensor(ckpt *c, entry *e, arena *a)
{
    const struct opened *o = c->state;
    const struct view *v = e->src;
    const struct type_row *type = &types[v->type];
    const u8 *from = c->map.p + v->storage->at + (u64)v->offset * (u64)type->bytes;
    if (view_is_plain(v) && !o->big)
        return from;
    u8 *out = arena_try(a, e->t.bytes, 64);
    if (!out)
        return NULL;
    ckpt_gather(out, from, type->bytes, v->nd, v->shape, v->stride);
    if (o->big)
        ckpt_swap(out, e->t.bytes, type->unit);
    return out;
}

const struct format torch_legacy_format = { "torch legacy", "", legacy_knows, legacy_open_file,
                                            legacy_read_tensor, legacy_close_file };
