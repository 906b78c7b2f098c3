/* torch_zip.c: PyTorch's archive format (1.6 and later).
 *
 *     PREFIX/data.pkl      the object, tensors by storage key        PREFIX/data/KEY   the storages' elements
 *     PREFIX/byteorder     "little" or "big", since 2.0              PREFIX/version    "3"
 */
#include "ckpt/archive.h"
#include "ckpt/torch.h"
#include <stdlib.h>

struct opened { zip_t *z; struct pickle pickle; u8 *text; const char *prefix; arena *mem; bool big; };

/* ---- opening ------------------------------------------------------------------------------------------- */

static bool torch_zip_knows(const struct file_map *m) { return archive_knows(m); }

static int find_pickle(zip_t *z)
{
    for (int i = 0; i < archive_count(z); i++) {
        const char *name = archive_name(z, i), *slash = strrchr(name, '/');
        if (!strcmp(slash ? slash + 1 : name, "data.pkl"))
            return i;
    }
    return -1;
}

/* A whole entry in memory, a NUL after it. */
static u8 *zip_read_entry(zip_t *z, int i, arena *a, u64 *n)
{
    *n = archive_size(z, i);
    zip_file_t *f = archive_begin(z, i);
    u8 *p = f ? arena_try(a, *n + 1, 1) : NULL;
    int rc = p ? archive_read(f, p, *n) : -1;
    return f && archive_end(f) ? NULL : rc ? NULL : p;
}

static int zip_locate(const struct opened *o, const char *dir, slice name)
{
    char full[2 * MAX_NAME];
    int n = snprintf(full, sizeof full, "%s%s%.*s", o->prefix, dir, (int)MIN(name.n, MAX_NAME), name.p);
    return memchr(name.p, 0, name.n) || n >= (int)sizeof full ? -1 : (int)zip_name_locate(o->z, full, 0);
}

/* Each storage has its entry, and the entry is as long as the storage claims. */
static int check_storages(const struct opened *o)
{
    for (size_t i = 0; i < o->pickle.nstorages; i++) {
        struct storage *s = o->pickle.storages[i];
        int at = zip_locate(o, "data/", s->key);
        u64 want, held = at < 0 ? 0 : archive_size(o->z, at);
        if (at < 0)
            return fail(FAULT_DATA, "storage %s is not in the archive", ckpt_quote(s->key));
        if (__builtin_mul_overflow((u64)s->numel, (u64)ckpt_type_bytes(s->type), &want) || want > held)
            return fail(FAULT_DATA, "storage %s holds %llu bytes, but %lld elements of %s are claimed",
                        ckpt_quote(s->key), (unsigned long long)held, (long long)s->numel,
                        ckpt_type_name(s->type));
        s->at = (u64)at;
    }
    return 0;
}

static int read_order(struct opened *o)
{
    int i = zip_locate(o, "", SLICE("byteorder"));
    u64 n;
    const u8 *text = i < 0 ? NULL : zip_read_entry(o->z, i, o->mem, &n);
    if (i >= 0 && !text)
        return -1;
    o->big = text && !strcmp((const char *)text, "big");
    if (text && !o->big && strcmp((const char *)text, "little"))
        return fail(FAULT_DATA, "unknown byte order");
    return 0;
}

/* To reach a view in a deflated entry, all before it is unpacked: many views could keep us busy for days. */
static int check_work(const ckpt *c, const struct opened *o)
{
    u64 work = 0;
    for (size_t i = 0; i < c->n; i++) {
        int at = (int)((const struct view *)c->list[i]->src)->storage->at;
        work += archive_deflated(o->z, at) ? archive_size(o->z, at) : 0;
    }
    if (work > 64 * (c->map.n + MAX_SLACK))
        return fail(FAULT_DATA, "too many views into deflated storages");
    return 0;
}

static int open_pickle(ckpt *c, struct opened *o, int i)
{
    u64 n;
    value root;
    const char *name = archive_name(o->z, i);
    o->prefix = arena_copy(o->mem, name, strlen(name) - strlen("data.pkl"));
    if (zip_locate(o, "", SLICE("constants.pkl")) >= 0)
        return fail(FAULT_DATA, "a TorchScript program; save the model's state_dict() instead");
    if (!(o->text = zip_read_entry(o->z, i, o->mem, &n)) || read_order(o))
        return -1;
    pickle_init(&o->pickle, o->text, n);
    if (pickle_read(&o->pickle, &root) || check_storages(o) || torch_list(c, &root, NULL))
        return -1;
    return check_work(c, o);
}

static int torch_zip_open_file(ckpt *c)
{
    zip_t *z = archive_open(c);
    int i = z ? find_pickle(z) : -1;
    if (!z)
        return -1;
    if (i < 0) {
        zip_discard(z);
        return NOT_MINE;
    }
    struct opened *o = arena_one(c->mem, struct opened);
    c->state = o;
    o->z = z;
    o->mem = arena_open("torch archive");
    return open_pickle(c, o, i);
}

static void torch_zip_close_file(ckpt *c)
{
    struct opened *o = c->state;
    if (!o)
        return;
    zip_discard(o->z);
    if (o->pickle.mem)
        pickle_close(&o->pickle);
    arena_close(o->mem);
}

/* ---- elements ------------------------------------------------------------------------------------------ */

/* Bytes [from, from + n) of an entry. Stored ones can be entered anywhere, deflated ones at their start. */
static int torch_zip_read_range(zip_t *z, int i, u64 from, u8 *out, u64 n)
{
    u8 skipped[4096];
    zip_file_t *f = archive_begin(z, i);
    int rc = f ? 0 : -1;
    bool whole = from + n == archive_size(z, i);    // then the CRC is compared at the end
    if (f && from && !archive_deflated(z, i)) {
        rc = zip_fseek(f, (zip_int64_t)from, SEEK_SET) ? fail(FAULT_DATA, "damaged archive entry") : 0;
        from = 0;
        whole = false;
    }
    for (u64 step; !rc && from; from -= step)
        rc = archive_read(f, skipped, step = MIN(from, sizeof skipped));
    rc = rc ? rc : archive_read(f, out, n);
    if (f && whole)
        return archive_end(f) ? -1 : rc;
    if (f)
        zip_fclose(f);
    return rc;
}

static const void *torch_zip_read_tensor(ckpt *c, entry *e, arena *a)
{
    const struct opened *o = c->state;
    const struct view *v = e->src;
    const struct type_row *type = &types[v->type];
    bool plain = view_is_plain(v);
    u64 from = (u64)v->offset * (u64)type->bytes, n = view_span(v) * (u64)type->bytes;
    arena *raw = plain ? a : arena_open("storage");
    u8 *bytes = arena_try(raw, n, 64), *out = plain ? bytes : arena_try(a, e->t.bytes, 64);
    int rc = bytes && out ? torch_zip_read_range(o->z, (int)v->storage->at, from, bytes, n) : -1;
    if (!rc && o->big)
        ckpt_swap(bytes, n, type->unit);
    if (!rc && !plain)
        ckpt_gather(out, bytes, type->bytes, v->nd, v->shape, v->stride);
    if (!plain)
        arena_close(raw);
    return rc ? NULL : out;
}

/* ---- saving -----------------------------------------------------------------------------------------------
 * A plain state dict, OrderedDict of tensors, as torch.save makes it in protocol 2; metadata is an attribute
 * of the dict, which load_state_dict and other readers ignore.
 */
static void put_text(FILE *f, const char *s)
{
    u32 n = (u32)strlen(s);
    fputc('X', f);
    fwrite(&n, 4, 1, f);
    fwrite(s, 1, n, f);
}

static void put_int(FILE *f, i64 v)
{
    i32 small = (i32)v;
    if (v == small) {
        fputc('J', f);
        fwrite(&small, 4, 1, f);
    } else {
        fputs("\x8a\x08", f);
        fwrite(&v, 8, 1, f);
    }
}

static void put_ints(FILE *f, const i64 *v, int n)
{
    fputc('(', f);
    for (int i = 0; i < n; i++)
        put_int(f, v[i]);
    fputc('t', f);
}

static void put_storage(FILE *f, const tensor *t, size_t key, bool typed)
{
    char number[24];
    snprintf(number, sizeof number, "%zu", key);
    fputc('(', f);
    put_text(f, "storage");
    fprintf(f, typed ? "ctorch\n%s\n" : "ctorch.storage\nUntypedStorage\n", types[t->type].storage);
    put_text(f, number);
    put_text(f, "cpu");
    put_int(f, typed ? (i64)t->count : (i64)t->bytes);
    fputs("tQ", f);
}

static void put_tensor(FILE *f, const tensor *t, size_t key)
{
    i64 stride[CKPT_DIMS], step = 1;
    bool typed = *types[t->type].storage;
    for (int i = t->nd - 1; i >= 0; i--) {
        stride[i] = step;
        step *= MAX(t->shape[i], 1);
    }
    fprintf(f, "ctorch._utils\n_rebuild_tensor_v%d\n(", typed ? 2 : 3);
    put_storage(f, t, key, typed);
    put_int(f, 0);
    put_ints(f, t->shape, t->nd);
    put_ints(f, stride, t->nd);
    fputs("\x89" "ccollections\nOrderedDict\n)R", f);
    if (!typed)
        fprintf(f, "ctorch\n%s\n", types[t->type].dtype);
    fputs("tR", f);
}

static void put_notes(FILE *f, const ckpt *c)
{
    fputs("}", f);
    put_text(f, TORCH_NOTES);
    fputs("}(", f);
    for (size_t i = 0; i < c->nmeta; i++) {
        put_text(f, c->meta[i].key);
        put_text(f, c->meta[i].value);
    }
    fputs("usb", f);
}

static void put_pickle(FILE *f, const ckpt *c)
{
    fputs("\x80\x02" "ccollections\nOrderedDict\n)R(", f);
    for (size_t i = 0; i < c->n; i++) {
        put_text(f, c->list[i]->t.name);
        put_tensor(f, &c->list[i]->t, i);
    }
    fputc('u', f);
    if (c->nmeta)
        put_notes(f, c);
    fputc('.', f);
}

static int torch_zip_put_all(ckpt *c, zip_t *z, arena *a, const char *text, size_t n)
{
    if (archive_put(a, z, "archive/data.pkl", text, n, NULL) ||
        archive_put(a, z, "archive/byteorder", "little", 6, NULL))
        return -1;
    for (size_t i = 0; i < c->n; i++)
        if (archive_put(a, z, arena_printf(a, "archive/data/%zu", i), NULL, 0, c->list[i]))
            return -1;
    return archive_put(a, z, "archive/version", "3\n", 2, NULL);
}

static int torch_zip_save(ckpt *c, struct file_out *o)
{
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    check(f, "open_memstream");
    put_pickle(f, c);
    fclose(f);
    arena *a = arena_open("torch archive");
    zip_t *z = archive_create(a, o);
    int rc = z ? torch_zip_put_all(c, z, a, text, n) : -1;
    if (z && rc)
        zip_discard(z);
    else if (z)
        rc = archive_finish(z);
    arena_close(a);
    free(text);
    return rc;
}

const struct format torch_zip_format = { "torch zip", ".pth .pt .pth.tar .ckpt .bin", torch_zip_knows,
                                         torch_zip_open_file, torch_zip_read_tensor, torch_zip_close_file,
                                         .save = torch_zip_save };
