/* mat.c: MATLAB level-5 files, as far as Flowers needs: named numeric arrays, compressed or not.
 *
 *     header 128 bytes: text, version, "IM" (little endian) or "MI"
 *     element: type u32, bytes u32, data padded to 8
 *     small:   bytes u16 in the high half of type, data of at most 4
 *     type 15: a zlib stream of one element    type 14: an array: flags, dimensions, name, real part
 */
#include "data/set.h"
#include <zlib.h>

enum { INT8 = 1, UINT8, INT16, UINT16, INT32, UINT32, SINGLE, DOUBLE = 9, INT64 = 12, UINT64, MATRIX,
       COMPRESSED };
enum { MOST_INFLATED = 16 << 20 };

struct reader  { const u8 *p; size_t n; bool swap; };
struct element { u32 type; const u8 *p; size_t n; };

static u32 mat_get32(const struct reader *r, const u8 *p)
{
    u32 v;
    memcpy(&v, p, 4);
    return r->swap ? __builtin_bswap32(v) : v;
}

/* The next element; false at the end or where the lengths do not fit. */
static bool mat_next(struct reader *r, struct element *e)
{
    if (r->n < 8)
        return false;
    u32 first = mat_get32(r, r->p), small = first >> 16;
    size_t head = small ? 4 : 8, bytes = small ? small : mat_get32(r, r->p + 4);
    *e = (struct element){ small ? first & 0xFFFF : first, r->p + head, bytes };
    if ((small && bytes > 4) || bytes > r->n - head)
        return false;
    size_t all = small ? 8 : e->type == COMPRESSED ? 8 + bytes : 8 + ROUND_UP(bytes, 8);
    all = MIN(all, r->n);
    r->p += all;
    r->n -= all;
    return true;
}

static int unit_of(u32 type)
{
    static const u8 bytes[] = { [INT8] = 1,   [UINT8] = 1,  [INT16] = 2,  [UINT16] = 2, [INT32] = 4,
                                [UINT32] = 4, [SINGLE] = 4, [DOUBLE] = 8, [INT64] = 8,  [UINT64] = 8 };
    return type < countof(bytes) ? bytes[type] : 0;
}

static u64 mat_get(const struct reader *r, const u8 *p, int bytes)
{
    u64 v = 0;
    for (int i = 0; i < bytes; i++)
        v |= (u64)p[r->swap ? bytes - 1 - i : i] << 8 * i;
    return v;
}

/* One number as an integer; false when it is none of 32 bits. */
static bool mat_number(const struct reader *r, u32 type, const u8 *p, i32 *out)
{
    int bytes = unit_of(type);
    u64 bits = mat_get(r, p, bytes);
    f64 v;
    if (type == SINGLE) {
        u32 low = (u32)bits;
        f32 f;
        memcpy(&f, &low, 4);
        v = f;
    } else if (type == DOUBLE)
        memcpy(&v, &bits, 8);
    else if (type == INT8 || type == INT16 || type == INT32 || type == INT64)
        v = (f64)((i64)(bits << (64 - 8 * bytes)) >> (64 - 8 * bytes));
    else
        v = (f64)bits;
    if (!(v >= INT32_MIN && v <= INT32_MAX) || v != (f64)(i32)v)
        return false;
    *out = (i32)v;
    return true;
}

/* The numbers of an array element, when its name is the one asked for: 1 found, 0 another, -1 + fail. */
static int read_matrix(arena *a, struct reader r, const char *name, i32 **out, size_t *n)
{
    struct element flags, dims, label, real;
    if (!mat_next(&r, &flags) || !mat_next(&r, &dims) || !mat_next(&r, &label))
        return fail(FAULT_DATA, "an array without name or size");
    if (label.n != strlen(name) || memcmp(label.p, name, label.n))
        return 0;
    int unit = mat_next(&r, &real) ? unit_of(real.type) : 0;
    if (!unit || real.n % (size_t)unit)
        return fail(FAULT_DATA, "array '%s' holds no plain numbers", name);
    *n = real.n / (size_t)unit;
    *out = arena_array(a, i32, MAX(1, *n));
    for (size_t i = 0; i < *n; i++)
        if (!mat_number(&r, real.type, real.p + i * (size_t)unit, *out + i))
            return fail(FAULT_DATA, "array '%s': value %ld is not an integer", name, (long)i);
    return 1;
}

/* What a zlib stream holds, in memory of a. */
static int inflate_all(arena *a, const struct element *e, struct reader *out)
{
    size_t room = MIN((size_t)MOST_INFLATED, MAX((size_t)1 << 16, 64 * e->n));
    u8 *to = arena_bytes(a, room, 8);
    z_stream z = { .next_in = (u8 *)e->p, .avail_in = (uInt)e->n, .next_out = to, .avail_out = (uInt)room };
    if (inflateInit(&z) != Z_OK)
        return fail(FAULT_RUN, "zlib does not start");
    int rc = inflate(&z, Z_FINISH);
    *out = (struct reader){ to, z.total_out, out->swap };
    inflateEnd(&z);
    return rc == Z_STREAM_END
               ? 0
               : fail(FAULT_DATA,
                      rc == Z_BUF_ERROR && !z.avail_out ? "a compressed array is larger than %d bytes"
                                                        : "a damaged compressed array (limit %d bytes)",
                      MOST_INFLATED);
}

/* 1 found, 0 not in this element, -1 + fail. */
static int mat_search(arena *a, struct element e, bool swap, const char *name, i32 **out, size_t *n)
{
    struct reader r = { e.p, e.n, swap };
    if (e.type == COMPRESSED && (inflate_all(a, &e, &r) || !mat_next(&r, &e)))
        return -1;
    return e.type == MATRIX ? read_matrix(a, (struct reader){ e.p, e.n, swap }, name, out, n) : 0;
}

i32 *mat_integers_in(arena *a, const u8 *p, size_t bytes, const char *name, size_t *n)
{
    struct element e;
    i32 *out = NULL;
    int found = 0;
    if (bytes < 128 || (memcmp(p + 126, "IM", 2) && memcmp(p + 126, "MI", 2))) {
        fail(FAULT_DATA, "not a MATLAB level-5 file");
        return NULL;
    }
    struct reader r = { p + 128, bytes - 128, p[126] == 'M' };
    while (!found && mat_next(&r, &e))
        found = mat_search(a, e, r.swap, name, &out, n);
    if (!found)
        fail(FAULT_DATA, "no array '%s' in it", name);
    return found > 0 ? out : NULL;
}

i32 *mat_integers(arena *a, const char *path, const char *name, size_t *n)
{
    struct file_map m;
    if (file_map(path, &m))
        return NULL;
    i32 *v = mat_integers_in(a, m.p, m.n, name, n);
    file_unmap(&m);
    if (!v)
        fail_in("%s", path);
    return v;
}
