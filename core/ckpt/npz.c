/* npz.c: NumPy archives, a zip of .npy files, and such a file alone.
 *
 *     "\x93NUMPY" version | u16 or u32 n | {'descr': '<f4', 'fortran_order': False, 'shape': (3,)} | elements
 *
 * Metadata goes into an entry of its own, __metadata__.npy: bytes of a JSON object of strings.
 */
#include "ckpt/archive.h"
#include <stdlib.h>

#define NOTES "__metadata__"

enum { MAX_NPY_HEADER = 64 << 10 };

struct npy { enum ckpt_type type; bool fortran, swapped; int nd; i64 shape[CKPT_DIMS]; u64 start; };

/* ---- the .npy header: one Python literal --------------------------------------------------------------- */

struct literal { const char *at, *end; };

static int npz_wrong(const char *what) { return fail(FAULT_DATA, ".npy header: %s", what); }

static bool skip_blanks(struct literal *l)           /* false at the end */
{
    while (l->at < l->end && (*l->at == ' ' || *l->at == '\n'))
        l->at++;
    return l->at < l->end;
}

static bool npz_accept(struct literal *l, char ch)
{
    bool hit = skip_blanks(l) && *l->at == ch;
    l->at += hit;
    return hit;
}

static bool npz_quoted(struct literal *l, slice *out)
{
    char mark = npz_accept(l, '\'') ? '\'' : npz_accept(l, '"') ? '"' : 0;
    if (!mark)
        return false;
    const char *from = l->at;
    while (l->at < l->end && *l->at != mark && *l->at != '\\')
        l->at++;
    *out = (slice){ from, (size_t)(l->at - from) };
    return npz_accept(l, mark);
}

static bool npz_word(struct literal *l, const char *w)
{
    skip_blanks(l);
    size_t n = strlen(w);
    bool hit = (size_t)(l->end - l->at) >= n && !memcmp(l->at, w, n);
    l->at += hit ? n : 0;
    return hit;
}

static int npz_read_number(struct literal *l, i64 *v)
{
    if (!skip_blanks(l) || *l->at < '0' || *l->at > '9')
        return npz_wrong("integer expected in the shape");
    for (*v = 0; l->at < l->end && *l->at >= '0' && *l->at <= '9'; l->at++)
        if (__builtin_mul_overflow(*v, 10, v) || __builtin_add_overflow(*v, *l->at - '0', v))
            return npz_wrong("number too large in the shape");
    npz_word(l, "L");                                // Python 2 wrote 3L
    return 0;
}

static int read_shape(struct literal *l, struct npy *h)
{
    h->nd = 0;
    if (!npz_accept(l, '('))
        return npz_wrong("'(' expected before the shape");
    for (bool more = true; !npz_accept(l, ')'); more = npz_accept(l, ',')) {
        if (!more || h->nd == CKPT_DIMS)
            return npz_wrong(more ? "too many dimensions" : "',' or ')' expected in the shape");
        if (npz_read_number(l, &h->shape[h->nd++]))
            return -1;
    }
    return 0;
}

/* '<f4': byte order, then kind and bytes. What is not a number (text, records, objects) leaves CKPT_TYPES. */
static int read_descr(struct literal *l, struct npy *h)
{
    slice d;
    h->type = CKPT_TYPES;
    if (npz_accept(l, '[')) {                              // a record: skipped whole, its brackets balanced
        int depth = 1;
        for (; l->at < l->end && depth; l->at++)
            depth += (*l->at == '[') - (*l->at == ']');
        return depth ? npz_wrong("unfinished descr") : 0;
    }
    if (!npz_quoted(l, &d) || d.n < 2)
        return npz_wrong("text expected for descr");
    h->swapped = d.p[0] == '>';
    if (strchr("<>|=", d.p[0])) {
        d.p++;
        d.n--;
    }
    h->type = type_of(d, offsetof(struct type_row, npy));
    if (slice_eq(d, "?"))
        h->type = CKPT_BOOL;
    return 0;
}

static int read_member(struct literal *l, struct npy *h, int *seen)
{
    slice key;
    if (!npz_quoted(l, &key) || !npz_accept(l, ':'))
        return npz_wrong("a key expected");
    int bit = slice_eq(key, "descr") | slice_eq(key, "fortran_order") << 1 | slice_eq(key, "shape") << 2;
    if (!bit || *seen & bit)
        return npz_wrong("unknown or repeated key");
    *seen |= bit;
    if (bit == 2) {
        h->fortran = npz_word(l, "True");
        return h->fortran || npz_word(l, "False") ? 0 : npz_wrong("True or False expected for fortran_order");
    }
    return bit == 1 ? read_descr(l, h) : read_shape(l, h);
}

static int read_literal(slice text, struct npy *h)
{
    struct literal l = { text.p, text.p + text.n };
    int seen = 0;
    if (!npz_accept(&l, '{'))
        return npz_wrong("'{' expected");
    for (bool more = true; !npz_accept(&l, '}'); more = npz_accept(&l, ',')) {
        if (!more)
            return npz_wrong("',' or '}' expected");
        if (read_member(&l, h, &seen))
            return -1;
    }
    return seen == 7 && !skip_blanks(&l) ? 0
                                         : npz_wrong("descr, fortran_order, shape expected, nothing else");
}

static int npz_read_header(const u8 *p, u64 n, struct npy *h)
{
    if (n < 10 || memcmp(p, "\x93NUMPY", 6) || p[6] < 1 || p[6] > 3)
        return npz_wrong("not a NumPy array of a known version");
    int wide = p[6] == 1 ? 2 : 4;
    u32 size = 0;
    memcpy(&size, p + 8, (size_t)wide);
    *h = (struct npy){ .start = 8u + (u64)wide + size };
    if (size > MAX_NPY_HEADER || h->start > n)
        return npz_wrong("truncated, or longer than 64 kB");
    return read_literal((slice){ (const char *)p + 8 + wide, size }, h);
}

/* ---- opening ------------------------------------------------------------------------------------------- */

/* The first bytes of an entry, enough for the longest header. */
static int peek_header(zip_t *z, int i, u8 *buffer, struct npy *h)
{
    u64 n = MIN(archive_size(z, i), (u64)MAX_NPY_HEADER + 12);
    zip_file_t *f = archive_begin(z, i);
    if (!f)
        return -1;
    int rc = archive_read(f, buffer, MIN(n, 12));
    u64 want = n < 12 ? n : buffer[6] == 1 ? 10u + (buffer[8] | (u32)buffer[9] << 8) : n;
    if (!rc && n > 12)
        rc = archive_read(f, buffer + 12, MIN(n, MAX(want, 12)) - 12);
    zip_fclose(f);
    return rc ? rc : npz_read_header(buffer, MIN(n, MAX(want, 12)), h);
}

static int open_notes(ckpt *c, zip_t *z, int i, const struct npy *h)
{
    u64 n = archive_size(z, i);
    if (h->type != CKPT_U8 || n > MAX_TEXT)
        return fail(FAULT_DATA, "metadata is not text of reasonable size");
    arena *a = arena_open("metadata");
    u8 *text = arena_bytes(a, n, 1);
    zip_file_t *f = archive_begin(z, i);
    int rc = f ? archive_read(f, text, n) : -1;
    rc = f && archive_end(f) ? -1 : rc;
    rc = rc ? rc : ckpt_notes_json(c, text + h->start, n - h->start);
    arena_close(a);
    return rc;
}

static int open_entry(ckpt *c, zip_t *z, int i, u8 *buffer)
{
    const char *name = archive_name(z, i);
    struct npy h;
    if (!text_ends(name, ".npy"))
        return ckpt_skip(c, slice_of(name), "no .npy");
    if (peek_header(z, i, buffer, &h))
        return fail_in("%s", ckpt_quote(slice_of(name)));
    slice key = { name, strlen(name) - 4 };
    if (slice_eq(key, NOTES))
        return open_notes(c, z, i, &h);
    if (h.type == CKPT_TYPES)
        return ckpt_skip(c, key, "not an array of numbers");
    entry *e = ckpt_entry(c, key, h.type, h.nd, h.shape);
    if (!e)
        return -1;
    if (archive_size(z, i) - h.start != e->t.bytes)
        return fail(FAULT_DATA, "%s holds %llu bytes, but its shape needs %llu", ckpt_quote(key),
                    (unsigned long long)(archive_size(z, i) - h.start), (unsigned long long)e->t.bytes);
    e->at = (u64)i;
    struct npy *kept = arena_one(c->mem, struct npy);
    *kept = h;
    e->src = kept;
    return 0;
}

static bool npz_knows(const struct file_map *m) { return archive_knows(m); }

static int npz_open_file(ckpt *c)
{
    zip_t *z = archive_open(c);
    int rc = z ? 0 : -1;
    c->state = z;
    bool any = false;
    arena *a = arena_open("npz headers");
    u8 *buffer = arena_bytes(a, MAX_NPY_HEADER + 12, 1);
    for (int i = 0; !rc && i < archive_count(z); i++) {
        any |= text_ends(archive_name(z, i), ".npy");
        rc = open_entry(c, z, i, buffer);
    }
    arena_close(a);
    if (rc || any)
        return rc;
    return archive_count(z) < 1
               ? fail(FAULT_DATA, "an empty zip archive")
               : fail(FAULT_DATA,
                      "a zip archive with neither data.pkl (PyTorch) nor .npy files (NumPy) in "
                      "it, but %s: unpack it first",
                      ckpt_quote(slice_of(archive_name(z, 0))));
}

static void npz_close_file(ckpt *c)
{
    if (c->state)
        zip_discard(c->state);
}

static int npz_read_bytes(zip_t *z, const entry *e, u64 start, u8 *out)
{
    u8 head[256];
    zip_file_t *f = archive_begin(z, (int)e->at);
    int rc = f ? 0 : -1;
    for (u64 n; !rc && start; start -= n)
        rc = archive_read(f, head, n = MIN(start, sizeof head));
    rc = rc ? rc : archive_read(f, out, e->t.bytes);
    return f && archive_end(f) ? -1 : rc;
}

/* Fortran order is C order with the dimensions reversed: strides grow from the first dimension on. */
static void from_fortran(const tensor *t, const void *from, void *to)
{
    i64 stride[CKPT_DIMS], step = 1;
    for (int i = 0; i < t->nd; step *= t->shape[i++])
        stride[i] = step;
    ckpt_gather(to, from, types[t->type].bytes, t->nd, t->shape, stride);
}

static const void *npz_read_tensor(ckpt *c, entry *e, arena *a)
{
    const struct npy *h = e->src;
    arena *raw = h->fortran && e->t.nd > 1 ? arena_open("Fortran order") : a;
    u8 *bytes = arena_try(raw, e->t.bytes, 64), *out = raw == a ? bytes : arena_try(a, e->t.bytes, 64);
    int rc = bytes && out ? npz_read_bytes(c->state, e, h->start, bytes) : -1;
    if (!rc && h->swapped)
        ckpt_swap(bytes, e->t.bytes, types[e->t.type].unit);
    if (!rc && raw != a)
        from_fortran(&e->t, bytes, out);
    if (raw != a)
        arena_close(raw);
    return rc ? NULL : out;
}

/* ---- saving -------------------------------------------------------------------------------------------- */

/* The header of version 1.0, padded so that elements begin on a multiple of 64. */
static char *write_header(arena *a, const char *descr, int nd, const i64 *shape, u64 *n)
{
    char *dims = "";
    for (int i = 0; i < nd; i++)
        dims = arena_printf(a, i ? "%s, %lld" : nd == 1 ? "%s%lld," : "%s%lld", dims, (long long)shape[i]);
    char *text = arena_printf(a, "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", descr, dims);
    int pad = 63 - (int)((10 + strlen(text)) % 64);
    char *out = arena_printf(a, "XNUMPYvv..%s%*s\n", text, pad, "");
    *n = strlen(out);
    u16 size = (u16)(*n - 10);
    memcpy(out, "\x93NUMPY\1\0", 8);
    memcpy(out + 8, &size, 2);
    return out;
}

static const char *notes_text(ckpt *c, arena *a, u64 *n)
{
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    check(f, "open_memstream");
    for (size_t i = 0; i < c->nmeta; i++) {
        fputs(i ? ",\n" : "{", f);
        words_json(f, c->meta[i].key);
        fputs(": ", f);
        words_json(f, c->meta[i].value);
    }
    fputs("}\n", f);
    fclose(f);
    char *head = write_header(a, "|u1", 1, (i64[]){ (i64)size }, n);
    char *all = arena_bytes(a, *n + size, 1);
    memcpy(all, head, *n);
    memcpy(all + *n, text, size);
    free(text);
    *n += size;
    return all;
}

static int npz_put_all(ckpt *c, zip_t *z, arena *a)
{
    u64 n;
    if (c->nmeta) {
        const char *text = notes_text(c, a, &n);
        if (archive_put(a, z, NOTES ".npy", text, n, NULL))
            return -1;
    }
    for (size_t i = 0; i < c->n; i++) {
        entry *e = c->list[i];
        const struct type_row *type = &types[e->t.type];
        if (!*type->npy)
            return fail(FAULT_DATA, "%s: NumPy has no type for %s", e->t.name, type->name);
        bool orderless = type->unit == 1 || *type->npy == 'V';
        const char *descr = arena_printf(a, "%c%s", orderless ? '|' : '<', type->npy);
        const char *head = write_header(a, descr, e->t.nd, e->t.shape, &n);
        if (archive_put(a, z, arena_printf(a, "%s.npy", e->t.name), head, n, e))
            return -1;
    }
    return 0;
}

static int npz_save(ckpt *c, struct file_out *o)
{
    if (!c->n && !c->nmeta)
        return fail(FAULT_DATA, "nothing to save, and an .npz cannot be empty");
    arena *a = arena_open("npz");
    zip_t *z = archive_create(a, o);
    int rc = z ? npz_put_all(c, z, a) : -1;
    if (z && rc)
        zip_discard(z);
    else if (z)
        rc = archive_finish(z);
    arena_close(a);
    return rc;
}

const struct format npz_format = { "npz", ".npz", npz_knows, npz_open_file, npz_read_tensor,
                                   npz_close_file, .save = npz_save };

/* ---- one array ----------------------------------------------------------------------------------------- */

static bool npy_knows(const struct file_map *m) { return m->n >= 10 && !memcmp(m->p, "\x93NUMPY", 6); }

static int npy_open(ckpt *c)
{
    struct npy h, *kept = arena_one(c->mem, struct npy);
    if (npz_read_header(c->map.p, MIN(c->map.n, (u64)MAX_NPY_HEADER + 12), &h))
        return -1;
    if (h.type == CKPT_TYPES)
        return fail(FAULT_DATA, "an array of no numbers");
    entry *e = ckpt_entry(c, SLICE("array"), h.type, h.nd, h.shape);
    if (!e)
        return -1;
    if (c->map.n - h.start != e->t.bytes)
        return fail(FAULT_DATA, "%llu bytes of elements, but its shape needs %llu",
                    (unsigned long long)(c->map.n - h.start), (unsigned long long)e->t.bytes);
    *kept = h;
    e->src = kept;
    return 0;
}

static const void *npy_read(ckpt *c, entry *e, arena *a)
{
    const struct npy *h = e->src;
    const u8 *from = c->map.p + h->start;
    bool plain = !h->swapped && !(h->fortran && e->t.nd > 1);
    u8 *out = plain ? NULL : arena_try(a, e->t.bytes, 64);
    if (plain || !out)
        return plain ? from : NULL;
    if (h->fortran && e->t.nd > 1)
        from_fortran(&e->t, from, out);
    else
        memcpy(out, from, e->t.bytes);
    if (h->swapped)
        ckpt_swap(out, e->t.bytes, types[e->t.type].unit);
    return out;
}

const struct format npy_format = { "npy", "", npy_knows, npy_open, npy_read };
