/* archive.c: zip archives through libzip, which writes into the temporary file of file_out. */
#include "ckpt/archive.h"
#include <errno.h>
#include <stdlib.h>

enum { MAX_ENTRIES = MAX_TENSORS, MAX_EXPANSION = 16 };

bool archive_knows(const struct file_map *m) { return m->n >= 22 && !memcmp(m->p, "PK", 2) && m->p[2] < 8; }

/* ---- reading ------------------------------------------------------------------------------------------- */

static u64 archive_little(const u8 *p, int bytes)
{
    u64 v = 0;
    memcpy(&v, p, (size_t)bytes);
    return v;
}

/* libzip reserves memory for as many entries as the end record claims; only zip64's can claim over 65535. A
 * stored archive within this one has such records too, but what they point at lies elsewhere.
 *     .. | end record: "PK66" .. entries: u64 at +24, +32 | locator: "PK67" .. place: u64 at +8 | "PK56" */
static int judge_zip64(const struct file_map *m)
{
    u64 from = m->n > 65557 + 20 ? m->n - 65557 - 20 : 0;
    for (u64 at = from; at + 20 <= m->n; at++) {
        if (memcmp(m->p + at, "PK\6\7", 4))
            continue;
        u64 end = archive_little(m->p + at + 8, 8);
        if (m->n < 56 || end > m->n - 56 || memcmp(m->p + end, "PK\6\6", 4))
            continue;
        const u8 *claimed = m->p + end + 24;
        if (archive_little(claimed, 8) > MAX_ENTRIES || archive_little(claimed + 8, 8) > MAX_ENTRIES)
            return fail(FAULT_DATA, "archive of more than %d entries", MAX_ENTRIES);
    }
    return 0;
}

/* Nothing is unpacked to disk, but a name that would climb out of a folder says what the archive is for. */
static bool sane_name(const char *name)
{
    for (const char *part = name; *part; part += strcspn(part, "/\\"), part += *part != 0)
        if (!strncmp(part, "..", 2) && (!part[2] || strchr("/\\", part[2])))
            return false;
    return *name && *name != '/' && *name != '\\' && strlen(name) <= MAX_NAME;
}

static int judge_entry(ckpt *c, zip_t *z, int i, u64 *total)
{
    zip_stat_t st;
    const char *name = zip_get_name(z, (zip_uint64_t)i, 0);
    const char *said = ckpt_quote(slice_of(name ? name : ""));
    zip_uint64_t need = ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD |
                        ZIP_STAT_ENCRYPTION_METHOD;
    if (!name || !sane_name(name))
        return fail(FAULT_DATA, "archive entry %s: unsafe name", said);
    if (zip_stat_index(z, (zip_uint64_t)i, 0, &st) || (st.valid & need) != need)
        return fail(FAULT_DATA, "archive entry %s is damaged", said);
    bool stored = st.comp_method == ZIP_CM_STORE;
    if (st.encryption_method != ZIP_EM_NONE || (!stored && st.comp_method != ZIP_CM_DEFLATE))
        return fail(FAULT_DATA, "archive entry %s is encrypted, or packed by another method than deflate",
                    said);
    if (st.comp_size > c->map.n || (stored && st.size != st.comp_size))
        return fail(FAULT_DATA, "archive entry %s declares %llu bytes in a file of %llu", said,
                    (unsigned long long)MAX(st.size, st.comp_size), (unsigned long long)c->map.n);
    *total += MIN(st.size, (zip_uint64_t)1 << 50);
    if (st.size > c->map.n + MAX_SLACK || *total > MAX_EXPANSION * (c->map.n + MAX_SLACK))
        return fail(FAULT_DATA, "archive entry %s: %llu bytes unpacked, out of proportion to a file of %llu",
                    said, (unsigned long long)st.size, (unsigned long long)c->map.n);
    return 0;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int archive_check(ckpt *c, zip_t *z)
{
    u64 total = 0;
    int n = archive_count(z);
    arena_mark mark = arena_save(c->mem);
    const char **names = arena_array(c->mem, const char *, n + 1);
    if (n > MAX_ENTRIES)
        return fail(FAULT_DATA, "archive of more than %d entries", MAX_ENTRIES);
    for (int i = 0; i < n; i++) {
        if (judge_entry(c, z, i, &total))
            return -1;
        names[i] = archive_name(z, i);
    }
    qsort(names, (size_t)n, sizeof *names, by_text);
    for (int i = 1; i < n; i++)
        if (!by_text(&names[i - 1], &names[i]))
            return fail(FAULT_DATA, "two archive entries are called %s", ckpt_quote(slice_of(names[i])));
    arena_restore(c->mem, mark);
    return 0;
}

zip_t *archive_open(ckpt *c)
{
    zip_error_t e;
    zip_error_init(&e);
    if (judge_zip64(&c->map))
        return NULL;
    // read, not mapped, where there is a file: pages of the map would be held beside each tensor's copy
    zip_source_t *src = c->mapped ? zip_source_file_create(c->path, 0, 0, &e)
                                  : zip_source_buffer_create(c->map.p, c->map.n, 0, &e);
    zip_t *z = src ? zip_open_from_source(src, ZIP_RDONLY, &e) : NULL;
    if (!z) {
        fail(FAULT_DATA, "damaged or truncated archive (%s)", zip_error_strerror(&e));
        zip_source_free(src);
    } else if (archive_check(c, z)) {
        zip_discard(z);
        z = NULL;
    }
    zip_error_fini(&e);
    return z;
}

int         archive_count(zip_t *z)       { return (int)MIN(zip_get_num_entries(z, 0), MAX_ENTRIES + 1); }
const char *archive_name(zip_t *z, int i) { return zip_get_name(z, (zip_uint64_t)i, 0); }

u64 archive_size(zip_t *z, int i)
{
    zip_stat_t st;
    return zip_stat_index(z, (zip_uint64_t)i, 0, &st) ? 0 : st.size;
}

bool archive_deflated(zip_t *z, int i)
{
    zip_stat_t st;
    return !zip_stat_index(z, (zip_uint64_t)i, 0, &st) && st.comp_method != ZIP_CM_STORE;
}

zip_file_t *archive_begin(zip_t *z, int i)
{
    zip_file_t *f = zip_fopen_index(z, (zip_uint64_t)i, 0);
    if (!f)
        fail(FAULT_DATA, "archive entry %s: %s", ckpt_quote(slice_of(archive_name(z, i))), zip_strerror(z));
    return f;
}

int archive_read(zip_file_t *f, void *out, u64 n)
{
    for (u64 at = 0; at < n;) {
        zip_int64_t got = zip_fread(f, (u8 *)out + at, n - at);
        if (got < 0)
            return fail(FAULT_DATA, "damaged archive entry (%s)", zip_error_strerror(zip_file_get_error(f)));
        if (!got)
            return fail(FAULT_DATA, "archive entry ends %llu bytes early", (unsigned long long)(n - at));
        at += (u64)got;
    }
    return 0;
}

int archive_end(zip_file_t *f)
{
    u8 more;
    zip_int64_t got = zip_fread(f, &more, 1);        // libzip compares the CRC when it meets the end
    int rc = got > 0 ? fail(FAULT_DATA, "archive entry is longer than it declares") : 0;
    if (got < 0)
        rc = fail(FAULT_DATA, "damaged archive entry (%s)", zip_error_strerror(zip_file_get_error(f)));
    zip_fclose(f);
    return rc;
}

/* ---- writing ----------------------------------------------------------------------------------------------
 * Two kinds of libzip source: the sink is the archive itself, on our FILE; a piece is one entry, head bytes
 * and then a tensor. */

struct sink { struct file_out *o; zip_error_t error; };
struct piece { const u8 *head; u64 n, at; entry *e; bool was_read; zip_error_t error; };

static zip_int64_t sink_call(void *self, void *data, zip_uint64_t n, zip_source_cmd_t cmd)
{
    struct sink *s = self;
    FILE *f = s->o->f;
    bool bad = false;
    zip_int64_t rc = 0;
    switch (cmd) {
    case ZIP_SOURCE_SUPPORTS:
        return ZIP_SOURCE_SUPPORTS_WRITABLE;
    case ZIP_SOURCE_STAT: {
        zip_stat_t *st = data;
        zip_stat_init(st);
        st->valid = ZIP_STAT_SIZE;
        st->size = 0;
        return sizeof *st;
    }
    case ZIP_SOURCE_WRITE:
        rc = (zip_int64_t)fwrite(data, 1, n, f);
        bad = (zip_uint64_t)rc != n;
        break;
    case ZIP_SOURCE_SEEK_WRITE: {
        zip_source_args_seek_t *to = ZIP_SOURCE_GET_ARGS(zip_source_args_seek_t, data, n, &s->error);
        bad = !to || fseeko(f, to->offset, to->whence);
        break;
    }
    case ZIP_SOURCE_TELL_WRITE:
        rc = ftello(f);
        bad = rc < 0;
        break;
    case ZIP_SOURCE_COMMIT_WRITE:
        bad = fflush(f);
        break;
    case ZIP_SOURCE_ERROR:
        return zip_error_to_data(&s->error, data, n);
    case ZIP_SOURCE_FREE:
        zip_error_fini(&s->error);
        return 0;
    default:                                         // opening, closing and rolling back are file_out's
        return 0;
    }
    if (bad)
        zip_error_set(&s->error, ZIP_ER_WRITE, errno);
    return bad ? -1 : rc;
}

static zip_int64_t piece_read(struct piece *p, u8 *out, u64 n)
{
    u64 done = 0;
    if (p->at < p->n) {
        done = MIN(n, p->n - p->at);
        memcpy(out, p->head + p->at, done);
    }
    u64 from = p->at + done - p->n, size = p->e ? p->e->t.bytes : 0;
    if (done < n && from < size) {
        const u8 *bytes = tensor_data(&p->e->t);
        if (!bytes) {
            zip_error_set(&p->error, ZIP_ER_READ, EIO);
            return -1;
        }
        u64 step = MIN(n - done, size - from);
        memcpy(out + done, bytes + from, step);
        done += step;
    }
    p->at += done;
    return (zip_int64_t)done;
}

static zip_int64_t piece_call(void *self, void *data, zip_uint64_t n, zip_source_cmd_t cmd)
{
    struct piece *p = self;
    switch (cmd) {
    case ZIP_SOURCE_SUPPORTS:
        return ZIP_SOURCE_SUPPORTS_READABLE;
    case ZIP_SOURCE_OPEN:
        p->at = 0;
        p->was_read = p->e && p->e->data;
        return 0;
    case ZIP_SOURCE_READ:
        return piece_read(p, data, n);
    case ZIP_SOURCE_CLOSE:
        if (p->e && !p->was_read)
            tensor_drop(&p->e->t);
        return 0;
    case ZIP_SOURCE_STAT: {
        zip_stat_t *st = data;
        zip_stat_init(st);
        st->valid = ZIP_STAT_SIZE;
        st->size = p->n + (p->e ? p->e->t.bytes : 0);
        return sizeof *st;
    }
    case ZIP_SOURCE_ERROR:
        return zip_error_to_data(&p->error, data, n);
    case ZIP_SOURCE_FREE:
        zip_error_fini(&p->error);
        return 0;
    default:
        return -1;
    }
}
zip_t *archive_create(arena *a, struct file_out *o)
{
    zip_error_t e;
    struct sink *s = arena_one(a, struct sink);
    s->o = o;
    zip_error_init(&s->error);
    zip_error_init(&e);
    zip_source_t *src = zip_source_function_create(sink_call, s, &e);
    zip_t *z = src ? zip_open_from_source(src, ZIP_CREATE | ZIP_TRUNCATE, &e) : NULL;
    if (!z) {
        fail(FAULT_RUN, "cannot make an archive (%s)", zip_error_strerror(&e));
        zip_source_free(src);
    }
    zip_error_fini(&e);
    return z;
}

int archive_put(arena *a, zip_t *z, const char *name, const void *head, u64 n, entry *e)
{
    struct piece *p = arena_one(a, struct piece);
    *p = (struct piece){ head, n, 0, e };
    zip_error_init(&p->error);
    zip_source_t *src = zip_source_function(z, piece_call, p);
    zip_int64_t i = src ? zip_file_add(z, name, src, ZIP_FL_ENC_UTF_8) : -1;
    if (i < 0) {
        zip_source_free(src);
        return fail(FAULT_RUN, "archive entry %s: %s", ckpt_quote(slice_of(name)), zip_strerror(z));
    }
    zip_set_file_compression(z, (zip_uint64_t)i, ZIP_CM_STORE, 0);
    zip_file_set_dostime(z, (zip_uint64_t)i, 0, 1 << 5 | 1, 0);       // 1980-01-01: same input, same bytes
    return 0;
}

int archive_finish(zip_t *z)
{
    fail_clear();
    if (!zip_close(z))
        return 0;
    if (!fail_fault())                               // else a tensor could not be read, and that was said
        fail(FAULT_RUN, "cannot write: %s", zip_strerror(z));
    zip_discard(z);
    return -1;
}
