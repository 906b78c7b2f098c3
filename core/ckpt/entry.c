/* entry.c: a checkpoint as a list of named tensors and metadata, which every format fills and every reader
 * walks. */
#include "ckpt/format.h"
#include <errno.h>
#include <stdlib.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "elements are used in place: little-endian only");

ckpt *ckpt_make(const char *path)
{
    arena *mem = arena_open("checkpoint");
    ckpt *c = arena_one(mem, ckpt);
    c->mem = mem;
    c->path = arena_copy(mem, path, strlen(path));
    return c;
}

/* ---- in memory ----------------------------------------------------------------------------------------- */

struct later { int (*give)(void *arg, void *out); void *arg; };

static const void *read_later(ckpt *c, entry *e, arena *a)
{
    const struct later *l = e->src;
    void *out = arena_try(a, e->t.bytes, 64);
    (void)c;
    return out && !l->give(l->arg, out) ? out : NULL;
}

static const struct format memory_format = { "memory", "", .read = read_later };

ckpt *ckpt_new(void)
{
    ckpt *c = ckpt_make("memory");
    c->format = &memory_format;
    return c;
}

void ckpt_close(ckpt *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->n; i++)
        arena_close(c->list[i]->held);
    if (c->format && c->format->close)
        c->format->close(c);
    if (c->mapped)
        file_unmap(&c->map);
    arena_close(c->mem);
}

/* ---- the list ------------------------------------------------------------------------------------------ */

static int text_budget(ckpt *c, size_t n)
{
    c->text += n;
    if (c->text <= MAX_TEXT)
        return 0;
    return fail(FAULT_DATA, "more than %d MB of names and metadata", MAX_TEXT >> 20);
}

/* Elements of a shape; dimensions of an empty one are bounded too, so that strides never overflow. */
static int count_elements(slice name, int nd, const i64 *shape, int bytes, u64 *count)
{
    u64 all = (u64)bytes;
    *count = 1;
    if (nd < 0 || nd > CKPT_DIMS)
        return fail(FAULT_DATA, "tensor %s has %d dimensions, more than %d", ckpt_quote(name), nd, CKPT_DIMS);
    for (int i = 0; i < nd; i++) {
        if (shape[i] < 0 || __builtin_mul_overflow(all, (u64)MAX(shape[i], 1), &all) || all > (u64)1 << 60)
            return fail(FAULT_DATA, "tensor %s has an impossible shape (dimension %d is %lld)",
                        ckpt_quote(name), i, (long long)shape[i]);
        *count *= (u64)shape[i];
    }
    return 0;
}

static bool entry_printable(slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((u8)s.p[i] < 32 || s.p[i] == 127)
            return false;
    return s.n > 0 && ckpt_is_utf8(s);
}

bool ckpt_is_neighbour(slice s)
{
    return entry_printable(s) && *s.p != '.' && !memchr(s.p, '/', s.n) && !memchr(s.p, '\\', s.n);
}

entry *ckpt_entry(ckpt *c, slice name, enum ckpt_type type, int nd, const i64 *shape)
{
    u64 count;
    if (c->n >= MAX_TENSORS) {
        fail(FAULT_DATA, "more than %d tensors", MAX_TENSORS);
        return NULL;
    }
    if (name.n > MAX_NAME || !entry_printable(name) || slice_eq(name, "__metadata__")) {
        fail(FAULT_DATA, "%s is not a valid tensor name", ckpt_quote(name));
        return NULL;
    }
    if (count_elements(name, nd, shape, ckpt_type_bytes(type), &count) || text_budget(c, name.n))
        return NULL;
    entry *e = arena_one(c->mem, entry);
    e->t = (tensor){ arena_copy(c->mem, name.p, name.n), type, nd, { 0 }, count,
                     count * (u64)ckpt_type_bytes(type), c };
    if (nd)
        memcpy(e->t.shape, shape, (size_t)nd * sizeof *shape);
    *arena_push(c->mem, c->list, c->n, c->cap) = e;
    c->sorted = NULL;
    return e;
}

static int entry_by_name(const void *a, const void *b)
{
    return strcmp((*(entry *const *)a)->t.name, (*(entry *const *)b)->t.name);
}

/* Sorted rather than hashed: no choice of names makes it slow. */
int ckpt_sort(ckpt *c)
{
    if (c->sorted || !c->n)
        return 0;
    entry **s = arena_array(c->mem, entry *, c->n);
    memcpy(s, c->list, c->n * sizeof *s);
    qsort(s, c->n, sizeof *s, entry_by_name);
    for (size_t i = 1; i < c->n; i++)
        if (!entry_by_name(&s[i - 1], &s[i]))
            return fail(FAULT_DATA, "two tensors are called %s", ckpt_quote(slice_of(s[i]->t.name)));
    c->sorted = s;
    return 0;
}

int         ckpt_count(const ckpt *c) { return (int)c->n; }
const char *ckpt_path(const ckpt *c)  { return c->path; }

const char *ckpt_format(const ckpt *c)
{
    return c->inner ? ckpt_format(c->inner) : c->format ? c->format->name : "memory";
}

const tensor *ckpt_at(const ckpt *c, int i)
{
    check(i >= 0 && i < (int)c->n, "tensor %d of %zu", i, c->n);
    return &c->list[i]->t;
}

const tensor *ckpt_find(const ckpt *c, const char *name)
{
    check(!ckpt_sort((ckpt *)c), "%s", fail_message());
    entry key = { .t.name = name }, *k = &key;
    entry **hit = c->n ? bsearch(&k, c->sorted, c->n, sizeof k, entry_by_name) : NULL;
    return hit ? &(*hit)->t : NULL;
}

/* ---- metadata ------------------------------------------------------------------------------------------ */

int ckpt_note(ckpt *c, slice key, slice value)
{
    if (text_budget(c, key.n + value.n + sizeof(struct meta)))
        return -1;
    if (memchr(key.p, 0, key.n) || memchr(value.p, 0, value.n))
        return fail(FAULT_DATA, "metadata %s holds a zero byte", ckpt_quote(key));
    if (!ckpt_is_utf8(key) || !ckpt_is_utf8(value))
        return fail(FAULT_DATA, "metadata %s is not UTF-8", ckpt_quote(key));
    *arena_push(c->mem, c->meta, c->nmeta, c->meta_cap) =
        (struct meta){ arena_copy(c->mem, key.p, key.n), arena_copy(c->mem, value.p, value.n) };
    return 0;
}

const char *ckpt_meta(const ckpt *c, const char *key)
{
    for (size_t i = 0; i < c->nmeta; i++)
        if (!strcmp(c->meta[i].key, key))
            return c->meta[i].value;
    return NULL;
}

int ckpt_meta_count(const ckpt *c) { return (int)c->nmeta; }

const char *ckpt_meta_at(const ckpt *c, int i, const char **value)
{
    check(i >= 0 && i < (int)c->nmeta, "metadata %d of %zu", i, c->nmeta);
    *value = c->meta[i].value;
    return c->meta[i].key;
}

int ckpt_set_meta(ckpt *c, const char *key, const char *value)
{
    size_t i = 0;
    if (!ckpt_is_utf8(slice_of(key)) || !ckpt_is_utf8(slice_of(value)))
        return fail(FAULT_USAGE, "metadata %s is not UTF-8", ckpt_quote(slice_of(key)));
    while (i < c->nmeta && strcmp(c->meta[i].key, key))
        i++;
    struct meta *m = i < c->nmeta ? &c->meta[i] : arena_push(c->mem, c->meta, c->nmeta, c->meta_cap);
    *m = (struct meta){ arena_copy(c->mem, key, strlen(key)), arena_copy(c->mem, value, strlen(value)) };
    return 0;
}

void ckpt_drop_meta(ckpt *c, const char *key)
{
    size_t n = 0;
    for (size_t i = 0; i < c->nmeta; i++)
        if (strcmp(c->meta[i].key, key))
            c->meta[n++] = c->meta[i];
    c->nmeta = n;
}

int ckpt_skip(ckpt *c, slice name, const char *what)
{
    if (!c->skipped++)
        c->skipped_first = arena_printf(c->mem, "%s, %s", ckpt_quote(name), what);
    return 0;
}

int ckpt_skipped(const ckpt *c, const char **example)
{
    *example = c->skipped_first;
    return c->skipped;
}

/* ---- elements ------------------------------------------------------------------------------------------ */

/* To aligned memory, a piece at a time so that the map's pages and the copy are not held both. */
static const void *entry_copy(ckpt *c, arena *a, const u8 *p, u64 n)
{
    enum { PIECE = 4 << 20 };
    u8 *to = arena_try(a, n, 64);
    for (u64 at = 0, step; to && at < n; at += step) {
        step = MIN(PIECE, n - at);
        memcpy(to + at, p + at, step);
        if (c->mapped)
            file_forget(&c->map, p + at, step);
    }
    return to;
}

enum { AHEAD = 16 << 20 };

const void *tensor_data(const tensor *t)
{
    entry *e = (entry *)t;                           // t is its first member
    ckpt *c = t->in;
    if (e->data)
        return e->data;
    if (!t->bytes)
        return e->data = e;
    arena *a = arena_open("tensor");
    const void *p = c->format->read(c, e, a);
    if (p && c->mapped)
        file_expect(&c->map, p, t->bytes + AHEAD);   // of the next one while this one is at work
    if (p && (uintptr_t)p % (uintptr_t)types[t->type].unit)
        p = entry_copy(c, a, p, t->bytes);
    if (!p) {
        if (!c->inner && c->format != &memory_format)        // else the file's own tensor has said where
            fail_in("%s: %s", c->path, t->name);
        arena_close(a);
        return NULL;
    }
    e->held = a;
    return e->data = p;
}

void tensor_drop(const tensor *t)
{
    entry *e = (entry *)t;
    if (!e->held)                                    // borrowed data stays
        return;
    if (t->in->mapped)
        file_forget(&t->in->map, e->data, t->bytes);
    if (t->in->format->drop)
        t->in->format->drop(t->in, e);
    arena_close(e->held);
    e->held = NULL;
    e->data = NULL;
}

/* ---- adding ---------------------------------------------------------------------------------------------- */

void ckpt_add(ckpt *c, const char *name, enum ckpt_type type, int nd, const i64 *shape, const void *data)
{
    check((int)type >= 0 && type < CKPT_TYPES, "type %d", (int)type);
    entry *e = ckpt_entry(c, slice_of(name), type, nd, shape);
    check(e, "%s", fail_message());
    e->data = data ? data : e;
}

void ckpt_add_later(ckpt *c, const char *name, enum ckpt_type type, int nd, const i64 *shape,
                    int (*give)(void *arg, void *out), void *arg)
{
    ckpt_add(c, name, type, nd, shape, NULL);
    entry *e = c->list[c->n - 1];
    struct later *l = arena_one(c->mem, struct later);
    *l = (struct later){ give, arg };
    e->src = l;
    e->data = NULL;
}

int entry_write(entry *e, FILE *f)
{
    bool was_read = e->data;
    const void *p = tensor_data(&e->t);
    if (!p)
        return -1;
    if (e->t.bytes && fwrite(p, 1, e->t.bytes, f) != e->t.bytes)
        return fail(FAULT_RUN, "cannot write: %s", strerror(errno));
    if (!was_read)
        tensor_drop(&e->t);
    return 0;
}
