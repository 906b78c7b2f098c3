/* safetensors.c: the plain format: a JSON header, then raw elements, used where they lie in the mapped file.
 *
 *     u64 n | {"name":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},...} n bytes | elements
 *
 * The header's grammar is two levels deep and fixed, so it is scanned in place rather than built as a JSON
 * tree: a tree costs up to fifty times the text, which a hostile header of 100 MiB would have us pay.
 */
#include "ckpt/format.h"
#include <errno.h>
#include <stdlib.h>

enum { MAX_HEADER = 100 << 20 };

struct scan { ckpt *c; const u8 *at, *end, *start; arena *scratch; };

static bool safetensors_knows(const struct file_map *m) { return m->n >= 9 && m->p[8] == '{'; }

/* ---- the header ---------------------------------------------------------------------------------------- */

static int safetensors_wrong(const struct scan *s, const char *what)
{
    return fail(FAULT_DATA, "header byte %td: %s", s->at - s->start, what);
}

static int json_peek(struct scan *s)
{
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\n' || *s->at == '\t' || *s->at == '\r'))
        s->at++;
    return s->at < s->end ? *s->at : -1;
}

static bool safetensors_accept(struct scan *s, int ch)
{
    bool hit = json_peek(s) == ch;
    s->at += hit;
    return hit;
}

static int json_expect(struct scan *s, int ch)
{
    char what[] = "'?' expected";
    what[1] = (char)ch;
    return safetensors_accept(s, ch) ? 0 : safetensors_wrong(s, what);
}

static int json_hex4(struct scan *s, u32 *out)
{
    *out = 0;
    for (int i = 0; i < 4; i++, s->at++) {
        const char *digits = "0123456789abcdef", *d;
        int ch = s->at < s->end ? *s->at | (*s->at >= 'A' ? 32 : 0) : 0;
        if (!ch || !(d = strchr(digits, ch)))
            return safetensors_wrong(s, "four hexadecimal digits expected after \\u");
        *out = *out << 4 | (u32)(d - digits);
    }
    return 0;
}

static char *put_utf8(char *to, u32 code)
{
    int more = code < 0x80 ? 0 : code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    static const u8 lead[] = { 0, 0xc0, 0xe0, 0xf0 };
    *to++ = (char)(lead[more] | code >> (6 * more));
    while (more--)
        *to++ = (char)(0x80 | (code >> (6 * more) & 0x3f));
    return to;
}

static int json_escape(struct scan *s, char **to)
{
    static const char from[] = "\"\\/bfnrt", as[] = "\"\\/\b\f\n\r\t";
    int ch = s->at < s->end ? *s->at++ : 0;
    const char *hit = ch ? strchr(from, ch) : NULL;
    u32 code, low;
    if (hit) {
        *(*to)++ = as[hit - from];
        return 0;
    }
    if (ch != 'u' || json_hex4(s, &code))
        return ch == 'u' ? -1 : safetensors_wrong(s, "unknown escape in a string");
    if (code >= 0xd800 && code < 0xdc00) {
        if (s->end - s->at < 2 || *s->at++ != '\\' || *s->at++ != 'u' || json_hex4(s, &low) || low < 0xdc00 ||
            low > 0xdfff)
            return safetensors_wrong(s, "half a surrogate pair");
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    *to = put_utf8(*to, code);
    return 0;
}

/* A string; it points into the header when it has no escapes, else into the scratch arena. */
static int json_string_at(struct scan *s, slice *out)
{
    if (json_expect(s, '"'))
        return -1;
    const u8 *from = s->at, *stop = from;
    bool plain = true;
    while (stop < s->end && *stop != '"' && *stop >= 32) {
        plain &= *stop != '\\';
        stop += 1 + (*stop == '\\');
    }
    if (stop >= s->end || *stop != '"')
        return safetensors_wrong(s, "unfinished string");
    *out = (slice){ (const char *)from, (size_t)(stop - from) };
    s->at = stop + 1;
    if (plain)
        return 0;
    if (out->n > MAX_TEXT)
        return safetensors_wrong(s, "string too long");
    char *text = arena_bytes(s->scratch, out->n, 1), *to = text;       // escapes only ever shrink
    for (s->at = from; s->at < stop;)
        if (*s->at == '\\') {
            s->at++;
            if (json_escape(s, &to))
                return -1;
        } else
            *to++ = (char)*s->at++;
    s->at = stop + 1;
    *out = (slice){ text, (size_t)(to - text) };
    return 0;
}

static int safetensors_number(struct scan *s, i64 *out)
{
    int ch = json_peek(s);
    if (ch < '0' || ch > '9')
        return safetensors_wrong(s, "integer expected");
    for (*out = 0; s->at < s->end && *s->at >= '0' && *s->at <= '9'; s->at++)
        if (__builtin_mul_overflow(*out, 10, out) || __builtin_add_overflow(*out, *s->at - '0', out))
            return safetensors_wrong(s, "number too large");
    return 0;
}

static int safetensors_numbers(struct scan *s, i64 *out, int most, int *n)
{
    *n = 0;
    if (json_expect(s, '['))
        return -1;
    if (safetensors_accept(s, ']'))
        return 0;
    do {
        if (*n == most)
            return safetensors_wrong(s, "list too long");
        if (safetensors_number(s, &out[(*n)++]))
            return -1;
    } while (safetensors_accept(s, ','));
    return json_expect(s, ']');
}

/* {"key": value, ...}: calls member with each key in order. */
static int json_object_at(struct scan *s, int (*member)(struct scan *, slice key, void *arg), void *arg)
{
    slice key;
    if (json_expect(s, '{'))
        return -1;
    if (safetensors_accept(s, '}'))
        return 0;
    do {
        arena_mark mark = arena_save(s->scratch);
        if (json_string_at(s, &key) || json_expect(s, ':') || member(s, key, arg))
            return -1;
        arena_restore(s->scratch, mark);
    } while (safetensors_accept(s, ','));
    return json_expect(s, '}');
}

struct row { enum ckpt_type type; int nd, noffsets; i64 shape[CKPT_DIMS], offsets[2]; u8 seen; };

static int tensor_member(struct scan *s, slice key, void *arg)
{
    struct row *r = arg;
    slice type;
    int bit = slice_eq(key, "dtype") ? 1 : slice_eq(key, "shape") ? 2 : slice_eq(key, "data_offsets") ? 4 : 0;
    if (!bit || r->seen & bit)
        return safetensors_wrong(s, bit ? "key given twice" : "dtype, shape or data_offsets expected");
    r->seen |= (u8)bit;
    if (bit == 2)
        return safetensors_numbers(s, r->shape, CKPT_DIMS, &r->nd);
    if (bit == 4)
        return safetensors_numbers(s, r->offsets, 2, &r->noffsets);
    if (json_string_at(s, &type))
        return -1;
    r->type = type_of(type, offsetof(struct type_row, safetensors));
    return r->type < CKPT_TYPES ? 0 : fail(FAULT_DATA, "unknown dtype %s", ckpt_quote(type));
}

static int note_member(struct scan *s, slice key, void *arg)
{
    slice value;
    (void)arg;
    return json_string_at(s, &value) || ckpt_note(s->c, key, value) ? -1 : 0;
}

static int header_member(struct scan *s, slice name, void *arg)
{
    struct row r = { CKPT_TYPES };
    (void)arg;
    if (slice_eq(name, "__metadata__"))
        return json_object_at(s, note_member, NULL);
    if (json_object_at(s, tensor_member, &r))
        return fail_in("tensor %s", ckpt_quote(name));
    if (r.seen != 7 || r.noffsets != 2)
        return fail(FAULT_DATA, "tensor %s lacks dtype, shape or two data_offsets", ckpt_quote(name));
    entry *e = ckpt_entry(s->c, name, r.type, r.nd, r.shape);
    if (!e)
        return -1;
    e->at = (u64)r.offsets[0];
    if (r.offsets[1] < r.offsets[0] || (u64)(r.offsets[1] - r.offsets[0]) != e->t.bytes)
        return fail(FAULT_DATA, "tensor %s: data_offsets [%lld, %lld] do not hold its %llu bytes",
                    ckpt_quote(name), (long long)r.offsets[0], (long long)r.offsets[1],
                    (unsigned long long)e->t.bytes);
    return 0;
}

static int safetensors_by_key(const void *a, const void *b)
{
    return strcmp(((const struct meta *)a)->key, ((const struct meta *)b)->key);
}

static int check_notes(const ckpt *c, arena *scratch)
{
    struct meta *m = arena_array(scratch, struct meta, c->nmeta);
    if (c->nmeta) {
        memcpy(m, c->meta, c->nmeta * sizeof *m);
        qsort(m, c->nmeta, sizeof *m, safetensors_by_key);
    }
    for (size_t i = 1; i < c->nmeta; i++)
        if (!safetensors_by_key(&m[i - 1], &m[i]))
            return fail(FAULT_DATA, "metadata %s is given twice", ckpt_quote(slice_of(m[i].key)));
    return 0;
}

int ckpt_notes_json(ckpt *c, const void *text, size_t n)
{
    arena *scratch = arena_open("metadata");
    struct scan s = { c, text, (const u8 *)text + n, text, scratch };
    int rc = json_object_at(&s, note_member, NULL);
    if (!rc && json_peek(&s) != -1)
        rc = safetensors_wrong(&s, "text after the end");
    rc = rc ? rc : check_notes(c, scratch);
    arena_close(scratch);
    return rc ? fail_in("metadata") : 0;
}

/* ---- opening ------------------------------------------------------------------------------------------- */

static int safetensors_by_offset(const void *a, const void *b)
{
    const entry *x = *(entry *const *)a, *y = *(entry *const *)b;
    return x->at != y->at ? (x->at < y->at ? -1 : 1) : x->t.bytes < y->t.bytes ? -1 : x->t.bytes > y->t.bytes;
}

/* In order of their offsets the tensors must tile the data: no overlap, no hole, nothing after the last. */
static int check_tiling(ckpt *c, arena *scratch, u64 bytes)
{
    entry **s = arena_array(scratch, entry *, c->n);
    u64 end = 0;
    if (c->n) {
        memcpy(s, c->list, c->n * sizeof *s);
        qsort(s, c->n, sizeof *s, safetensors_by_offset);
    }
    for (size_t i = 0; i < c->n; i++) {
        unsigned long long from = s[i]->at, to = from + s[i]->t.bytes;
        if (to > bytes)
            return fail(FAULT_DATA, "tensor %s ends at byte %llu of %llu: truncated, or wrong offsets",
                        s[i]->t.name, to, (unsigned long long)bytes);
        if (from != end)
            return fail(FAULT_DATA, "tensor %s %s: its data starts at byte %llu, not %llu", s[i]->t.name,
                        from < end ? "overlaps another" : "leaves a hole", from, (unsigned long long)end);
        end = to;
    }
    if (end == bytes)
        return 0;
    return fail(FAULT_DATA, "%llu bytes of data, but the tensors use %llu", (unsigned long long)bytes,
                (unsigned long long)end);
}

static int safetensors_read_header(ckpt *c, u64 n, arena *scratch)
{
    struct scan s = { c, c->map.p + 8, c->map.p + 8 + n, c->map.p, scratch };
    if (json_object_at(&s, header_member, NULL))
        return -1;
    if (json_peek(&s) != -1)
        return safetensors_wrong(&s, "text after the header's end");
    return check_notes(c, scratch) ? -1 : check_tiling(c, scratch, c->map.n - 8 - n);
}

static int safetensors_open_file(ckpt *c)
{
    u64 n;
    memcpy(&n, c->map.p, 8);
    if (n > MAX_HEADER)
        return fail(FAULT_DATA, "header of %llu bytes; safetensors allows at most 100 MiB",
                    (unsigned long long)n);
    if (n > c->map.n - 8)
        return fail(FAULT_DATA, "truncated: header of %llu bytes in a file of %llu", (unsigned long long)n,
                    (unsigned long long)c->map.n);
    arena *scratch = arena_open("safetensors header");
    int rc = safetensors_read_header(c, n, scratch);
    arena_close(scratch);
    c->state = (void *)(c->map.p + 8 + n);
    return rc;
}

static const void *safetensors_read_tensor(ckpt *c, entry *e, arena *a)
{
    (void)a;
    return (const u8 *)c->state + e->at;
}

/* ---- saving -------------------------------------------------------------------------------------------- */

static void write_notes(const ckpt *c, FILE *f)
{
    for (size_t i = 0; i < c->nmeta; i++) {
        fputs(i ? "," : "\"__metadata__\":{", f);
        words_json(f, c->meta[i].key);
        fputc(':', f);
        words_json(f, c->meta[i].value);
    }
    if (c->nmeta)
        fputs(c->n ? "}," : "}", f);
}

static void write_row(const entry *e, u64 at, FILE *f)
{
    words_json(f, e->t.name);
    fprintf(f, ":{\"dtype\":\"%s\",\"shape\":[", types[e->t.type].safetensors);
    for (int i = 0; i < e->t.nd; i++)
        fprintf(f, i ? ",%lld" : "%lld", (long long)e->t.shape[i]);
    fprintf(f, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)at,
            (unsigned long long)(at + e->t.bytes));
}

/* Wide types first, each in the order given: then every tensor is aligned to its type without padding. */
static entry **wide_first(ckpt *c)
{
    entry **s = arena_array(c->mem, entry *, c->n + 1), **to = s;
    for (int unit = 8; unit; unit /= 2)
        for (size_t i = 0; i < c->n; i++)
            if (types[c->list[i]->t.type].unit == unit)
                *to++ = c->list[i];
    return s;
}

static int safetensors_save(ckpt *c, struct file_out *o)
{
    entry **s = wide_first(c);
    u64 at = 0, n = 0;
    fwrite(&n, 8, 1, o->f);
    fputc('{', o->f);
    write_notes(c, o->f);
    for (size_t i = 0; i < c->n; at += s[i]->t.bytes, i++) {
        if (!*types[s[i]->t.type].safetensors)
            return fail(FAULT_DATA, "%s: safetensors has no type for %s", s[i]->t.name,
                        types[s[i]->t.type].name);
        write_row(s[i], at, o->f);
        if (i + 1 < c->n)
            fputc(',', o->f);
    }
    fputc('}', o->f);
    n = (u64)ftello(o->f) - 8;
    for (; n % 8; n++)
        fputc(' ', o->f);
    for (size_t i = 0; i < c->n; i++)
        if (entry_write(s[i], o->f))
            return -1;
    if (fseeko(o->f, 0, SEEK_SET) || fwrite(&n, 8, 1, o->f) != 1)
        return fail(FAULT_RUN, "cannot write: %s", strerror(errno));
    return 0;
}

const struct format safetensors_format = { "safetensors",           ".safetensors .state",
                                           safetensors_knows,       safetensors_open_file,
                                           safetensors_read_tensor, .save = safetensors_save };
