/* onnx_read.c: the initialisers of an ONNX graph as tensors. A protobuf message is a run of fields, key =
 * number << 3 | kind; of those that matter here:
 *
 *     model: 7 graph, 14 property     graph: 1 node, 5 initialiser     node: 1 input.., 3 name, 4 op
 *     property: 1 key, 2 value
 *     tensor: 1 dims.., 2 type, 4 floats, 5 int32s, 7 int64s, 8 name, 9 raw bytes, 10 doubles,
 *             13 location.., offset, length (properties), 14 place: 1 where they count
 *
 * Exporters rename a linear layer's weight to onnx::MatMul_N and transpose it; the node that uses it still
 * has the layer's path as its name, which gives weight its own back.
 */
#include "ckpt/format.h"

enum { VARINT, FIXED64, BYTES, FIXED32 = 5 };        /* kinds */

struct field { u32 number; int kind; u64 value; slice bytes; };

/* path: the name that a node gives it, with its axes exchanged. */
struct initialiser { slice raw; enum ckpt_type type; int kind; const char *path; };

/* ---- the wire ------------------------------------------------------------------------------------------ */

static bool onnx_varint(slice *s, u64 *out)
{
    *out = 0;
    for (int i = 0; i < 10 && s->n; i++) {
        u8 byte = (u8)*s->p++;
        s->n--;
        *out |= i < 9 || byte < 2 ? (u64)(byte & 127) << (7 * i) : 0;
        if (byte < 128)
            return true;
    }
    return false;
}

/* The next field off the front of s: 1, 0 at the end, -1 + fail. */
static int onnx_field(slice *s, struct field *f)
{
    u64 key, n;
    if (!s->n)
        return 0;
    *f = (struct field){ 0 };
    if (!onnx_varint(s, &key) || key >> 3 == 0 || key >> 32)
        return fail(FAULT_DATA, "damaged protobuf: not a field");
    f->number = (u32)(key >> 3);
    f->kind = (int)(key & 7);
    if (f->kind == VARINT)
        return onnx_varint(s, &f->value) ? 1 : fail(FAULT_DATA, "damaged protobuf: an unfinished number");
    if (f->kind == BYTES ? !onnx_varint(s, &n) : f->kind != FIXED32 && f->kind != FIXED64)
        return fail(FAULT_DATA, "damaged protobuf: field %u of an unknown kind", f->number);
    n = f->kind == BYTES ? n : f->kind == FIXED32 ? 4 : 8;
    if (n > s->n)
        return fail(FAULT_DATA,
                    "damaged or truncated protobuf: field %u of %llu bytes, of which %zu are left", f->number,
                    (unsigned long long)n, s->n);
    f->bytes = (slice){ s->p, (size_t)n };
    s->p += n;
    s->n -= (size_t)n;
    return 1;
}

/* Numbers of a repeated field, one or packed, after those that are there. */
static int onnx_numbers(const struct field *f, i64 *out, int most, int *n)
{
    slice s = f->bytes;
    u64 v = f->value;
    if (f->kind != VARINT && f->kind != BYTES)
        return fail(FAULT_DATA, "damaged protobuf: dimensions expected");
    while (f->kind == VARINT || s.n) {
        if ((f->kind == BYTES && !onnx_varint(&s, &v)) || *n == most || v > INT64_MAX)
            return fail(FAULT_DATA, "damaged protobuf: too many or impossible dimensions");
        out[(*n)++] = (i64)v;
        if (f->kind == VARINT)
            break;
    }
    return 0;
}

/* ---- one initialiser ----------------------------------------------------------------------------------- */

static enum ckpt_type onnx_type(u64 number)
{
    static const enum ckpt_type known[] = {
        [0] = CKPT_TYPES, [1] = CKPT_F32,   [2] = CKPT_U8,       [3] = CKPT_I8,     [4] = CKPT_U16,
        [5] = CKPT_I16,   [6] = CKPT_I32,   [7] = CKPT_I64,      [8] = CKPT_TYPES,  [9] = CKPT_BOOL,
        [10] = CKPT_F16,  [11] = CKPT_F64,  [12] = CKPT_U32,     [13] = CKPT_U64,   [14] = CKPT_C64,
        [15] = CKPT_C128, [16] = CKPT_BF16, [17] = CKPT_F8_E4M3, [18] = CKPT_TYPES, [19] = CKPT_F8_E5M2
    };
    return number < countof(known) ? known[number] : CKPT_TYPES;
}

struct parsed { slice name, raw, file, offset, length; u64 type, place; i64 shape[CKPT_DIMS]; int nd, kind; };

/* One of the properties that say where a tensor's bytes lie. */
static int onnx_location(struct parsed *t, slice s)
{
    struct field f;
    slice word[3] = { { 0 } };
    int rc;
    while ((rc = onnx_field(&s, &f)) > 0)
        if (f.kind == BYTES && f.number < countof(word))
            word[f.number] = f.bytes;
    if (slice_eq(word[1], "location"))
        t->file = word[2];
    if (slice_eq(word[1], "offset"))
        t->offset = word[2];
    if (slice_eq(word[1], "length"))
        t->length = word[2];
    return rc;
}

static int onnx_parse(slice s, struct parsed *t)
{
    struct field f;
    int rc;
    *t = (struct parsed){ 0 };
    while ((rc = onnx_field(&s, &f)) > 0) {
        bool data = f.number == 4 || f.number == 5 || f.number == 7 || f.number == 9 || f.number == 10;
        if (f.number == 1 && onnx_numbers(&f, t->shape, CKPT_DIMS, &t->nd))
            return -1;
        if (f.number == 2)
            t->type = f.value;
        if (f.number == 14)
            t->place = f.value;
        if (f.number == 8)
            t->name = f.bytes;
        if (f.number == 13 && f.kind == BYTES && onnx_location(t, f.bytes))
            return -1;
        if (data && f.kind != BYTES)
            return fail(FAULT_DATA, "tensor %s: values one by one", ckpt_quote(t->name));
        if (data && f.bytes.n) {
            t->raw = f.bytes;
            t->kind = (int)f.number;
        }
    }
    return rc;
}

/* ---- bytes in other files ------------------------------------------------------------------------------ */

/* Files beside the model that it names, open until the checkpoint is closed. */
enum { MOST_FILES = 1024 };
struct beside { const char *file[MOST_FILES]; struct file_map map[MOST_FILES]; int n; };

static const struct file_map *onnx_beside(ckpt *c, slice name)
{
    if (!c->state)
        c->state = arena_one(c->mem, struct beside);
    struct beside *b = c->state;
    const char *file = arena_copy(c->mem, name.p, name.n), *slash = strrchr(c->path, '/');
    for (int i = b->n - 1; i >= 0; i--)
        if (!strcmp(b->file[i], file))
            return &b->map[i];
    if (!c->mapped || !ckpt_is_neighbour(name)) {
        fail(FAULT_DATA, "%s does not lie beside the model", ckpt_quote(name));
        return NULL;
    }
    if (b->n == MOST_FILES) {
        fail(FAULT_DATA, "more than %d files", MOST_FILES);
        return NULL;
    }
    const char *dir = slash ? arena_copy(c->mem, c->path, (size_t)(slash - c->path) + 1) : "";
    if (file_map(arena_printf(c->mem, "%s%s", dir, file), &b->map[b->n]))
        return NULL;
    b->file[b->n] = file;
    return &b->map[b->n++];
}

static void onnx_close(ckpt *c)
{
    struct beside *b = c->state;
    for (int i = 0; b && i < b->n; i++)
        file_unmap(&b->map[i]);
}

/* A number in decimal digits; `absent` where there is none. */
static bool onnx_decimal(slice s, u64 absent, u64 *out)
{
    *out = s.n ? 0 : absent;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9' || *out > UINT64_MAX / 10 - 1)
            return false;
        *out = *out * 10 + (u64)(s.p[i] - '0');
    }
    return true;
}

/* t's bytes, from the file that it names. */
static int onnx_fetch(ckpt *c, struct parsed *t)
{
    u64 offset, length;
    const struct file_map *m = onnx_beside(c, t->file);
    if (!m)
        return fail_in("tensor %s", ckpt_quote(t->name));
    bool known = onnx_decimal(t->offset, 0, &offset) && offset <= m->n
                 && onnx_decimal(t->length, m->n - offset, &length);
    if (!known || length > m->n - offset)
        return fail(FAULT_DATA, "tensor %s lies at %s, %s bytes, of a file %s of %zu", ckpt_quote(t->name),
                    ckpt_quote(t->offset), ckpt_quote(t->length), ckpt_quote(t->file), m->n);
    t->raw = (slice){ (const char *)m->p + offset, (size_t)length };
    t->kind = 9;
    return 0;
}

static int onnx_add(ckpt *c, slice bytes)
{
    struct parsed t;
    if (onnx_parse(bytes, &t))
        return -1;
    enum ckpt_type type = onnx_type(t.type);
    if (type == CKPT_TYPES || !t.name.n)
        return ckpt_skip(c, t.name.n ? t.name : SLICE("?"), "an initialiser of no numbers");
    if (t.place > 1)
        return fail(FAULT_DATA, "tensor %s lies in a place of an unknown kind, %llu", ckpt_quote(t.name),
                    (unsigned long long)t.place);
    if (t.place && onnx_fetch(c, &t))
        return -1;
    entry *e = ckpt_entry(c, t.name, type, t.nd, t.shape);
    if (!e)
        return -1;
    bool plain =
        !t.kind || t.kind == 9 || (t.kind == 4 && type == CKPT_F32) || (t.kind == 10 && type == CKPT_F64);
    u64 need = plain ? e->t.bytes : e->t.count;      // numbers of at least a byte each
    if (plain ? t.raw.n != need : t.raw.n < need)
        return fail(FAULT_DATA, "tensor %s holds %zu bytes, but its shape needs %llu", ckpt_quote(t.name),
                    t.raw.n, (unsigned long long)need);
    struct initialiser *i = arena_one(c->mem, struct initialiser);
    *i = (struct initialiser){ t.raw, type, plain ? 9 : t.kind, NULL };
    e->src = i;
    return 0;
}

/* ---- names from the nodes ------------------------------------------------------------------------------ */

/* "/encoder/layer.0/attention/query/MatMul" -> "encoder.layer.0.attention.query.weight" */
static const char *onnx_path(arena *a, slice node)
{
    const char *end = "/MatMul";
    size_t n = node.n, tail = 0;
    for (size_t i = 0; i + strlen(end) <= n; i++)
        if (!memcmp(node.p + i, end, strlen(end)))
            tail = i;
    if (tail < 2 || *node.p != '/' || tail > MAX_NAME - 8)
        return NULL;
    char *text = arena_printf(a, "%.*s.weight", (int)tail - 1, node.p + 1);
    for (char *s = text; *s; s++)
        *s = *s == '/' ? '.' : *s;
    return text;
}

/* What a MatMul node tells of the initialiser that is its second operand. */
static int onnx_look(ckpt *c, slice node)
{
    struct field f;
    slice name = { 0 }, op = { 0 }, input[2] = { { 0 } };
    int rc, n = 0;
    while ((rc = onnx_field(&node, &f)) > 0) {
        if (f.number == 1 && f.kind == BYTES && n < 2)
            input[n++] = f.bytes;
        if (f.number == 3)
            name = f.bytes;
        if (f.number == 4)
            op = f.bytes;
    }
    if (rc || n < 2 || !slice_eq(op, "MatMul") || input[1].n < 6 || input[1].n > MAX_NAME
        || memcmp(input[1].p, "onnx::", 6))
        return rc;
    entry *e = (entry *)ckpt_find(c, arena_copy(c->mem, input[1].p, input[1].n));
    const char *path = e && e->t.nd == 2 ? onnx_path(c->mem, name) : NULL;
    struct initialiser *i = path ? (struct initialiser *)e->src : NULL;
    if (i && !i->path && !ckpt_find(c, path) && ckpt_is_utf8(slice_of(path)))
        i->path = path;
    return 0;
}

static void onnx_apply(entry *e)
{
    const struct initialiser *i = e->src;
    i64 rows = e->t.shape[0];
    if (!i->path)
        return;
    e->t.name = i->path;
    e->t.shape[0] = e->t.shape[1];
    e->t.shape[1] = rows;
}

static int onnx_read_graph(ckpt *c, slice graph)
{
    struct field f;
    int rc;
    slice s = graph;
    while ((rc = onnx_field(&s, &f)) > 0)
        if (f.number == 5 && f.kind == BYTES && onnx_add(c, f.bytes))
            return -1;
    if (rc || ckpt_sort(c))
        return -1;
    for (s = graph; (rc = onnx_field(&s, &f)) > 0;)
        if (f.number == 1 && f.kind == BYTES && onnx_look(c, f.bytes))
            return -1;
    for (size_t i = 0; i < c->n && !rc; i++)
        onnx_apply(c->list[i]);
    c->sorted = NULL;
    return rc;
}

/* ---- the format ---------------------------------------------------------------------------------------- */

/* A model begins with its version (field 1), then the producer's name, or the graph. */
static bool onnx_knows(const struct file_map *m)
{
    return m->n > 4 && m->p[0] == 0x08 && m->p[1] > 0 && m->p[1] < 64 &&
           (m->p[2] == 0x12 || m->p[2] == 0x3a || m->p[2] == 0x42 || m->p[2] == 0x1a);
}

static int onnx_property(ckpt *c, slice s)
{
    struct field f;
    slice word[3] = { SLICE(""), SLICE(""), SLICE("") };
    int rc;
    while ((rc = onnx_field(&s, &f)) > 0)
        if (f.kind == BYTES && f.number < countof(word))
            word[f.number] = f.bytes;
    return rc || !word[1].n ? rc : ckpt_note(c, word[1], word[2]);
}

static int onnx_open(ckpt *c)
{
    struct field f;
    slice s = { (const char *)c->map.p, c->map.n };
    int rc;
    bool graph = false;
    while ((rc = onnx_field(&s, &f)) > 0) {
        if (f.kind != BYTES || (f.number != 7 && f.number != 14))
            continue;
        if (f.number == 7 && graph)
            return fail(FAULT_DATA, "two graphs in one model");
        graph |= f.number == 7;
        if (f.number == 7 ? onnx_read_graph(c, f.bytes) : onnx_property(c, f.bytes))
            return -1;
    }
    return rc || graph ? rc : fail(FAULT_DATA, "an ONNX model without a graph");
}

/* Numbers of five or ten bytes at most each, into their type. */
static int onnx_unpack(const struct initialiser *i, u8 *out, u64 count, int size)
{
    slice s = i->raw;
    for (u64 k = 0; k < count; k++) {
        u64 v;
        if (!onnx_varint(&s, &v))
            return fail(FAULT_DATA, "damaged protobuf: fewer values than its shape needs");
        memcpy(out + k * (u64)size, &v, (size_t)size);
    }
    return 0;
}

static const void *onnx_read(ckpt *c, entry *e, arena *a)
{
    const struct initialiser *i = e->src;
    int size = ckpt_type_bytes(i->type);
    const void *from = i->raw.p;
    (void)c;
    if (i->kind != 9) {
        u8 *values = arena_try(a, e->t.bytes, 64);
        if (values && size > 8)
            fail(FAULT_DATA, "complex numbers as a list");
        if (!values || size > 8 || onnx_unpack(i, values, e->t.count, size))
            return NULL;
        from = values;
    }
    if (!i->path)
        return from;
    u8 *out = arena_try(a, e->t.bytes, 64);
    if (out)
        ckpt_gather(out, from, size, 2, e->t.shape, (i64[]){ 1, e->t.shape[0] });
    return out;
}

const struct format onnx_format = { "onnx", "", onnx_knows, onnx_open, onnx_read, onnx_close };
