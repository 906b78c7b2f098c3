/* zipper.h: zip archives for tests, honest and otherwise, and .npy files.
 *
 *     struct zipped e[] = { { "a.npy", bytes, n }, { "b.npy", bytes, n, .deflate = true, .claim = 10 } };
 *     size_t size = zip_make(out, e, 2);
 */
#ifndef JETCL_TEST_ZIPPER_H
#define JETCL_TEST_ZIPPER_H

#include <zlib.h>
#include "base/base.h"

struct zipped {
    const char *name;
    const void *p;
    size_t      n;
    bool        deflate;
    u32         claim;                               /* unpacked size to declare; 0: the true one */
    u16         flags, method;                       /* to be set besides; method 0: as deflate says */
    bool        bad_crc, again;             /* again: no data of its own, another name for the one before */
};
struct zip_seen { u32 at, packed, size, crc; };

static inline void zip_number(u8 **to, u64 v, int bytes)
{
    memcpy(*to, &v, (size_t)bytes);
    *to += bytes;
}

static inline u32 zip_pack(u8 *to, const struct zipped *e)
{
    if (!e->deflate) {
        if (e->n)
            memcpy(to, e->p, e->n);
        return (u32)e->n;
    }
    z_stream z = { .next_in = (u8 *)e->p, .avail_in = (uInt)e->n, .next_out = to, .avail_out = 1 << 28 };
    check(deflateInit2(&z, 9, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY) == Z_OK, "zlib");
    check(deflate(&z, Z_FINISH) == Z_STREAM_END, "zlib");
    deflateEnd(&z);
    return (u32)z.total_out;
}

/* The fields that local and central headers share. */
static inline void zip_common(u8 **to, const struct zipped *e, const struct zip_seen *s)
{
    zip_number(to, 20, 2);
    zip_number(to, e->flags, 2);
    zip_number(to, e->method ? e->method : e->deflate ? 8 : 0, 2);
    zip_number(to, 0x00210000, 4);
    zip_number(to, s->crc, 4);
    zip_number(to, s->packed, 4);
    zip_number(to, s->size, 4);
    zip_number(to, strlen(e->name), 2);
    zip_number(to, 0, 2);
}

static inline void zip_local(u8 **to, const u8 *out, const struct zipped *e, struct zip_seen *s)
{
    u8 *head = *to, *data = head + 30 + strlen(e->name);
    *s = (struct zip_seen){ (u32)(head - out), zip_pack(data, e), e->claim ? e->claim : (u32)e->n,
                            (u32)crc32(0, e->n ? e->p : (const void *)"", (uInt)e->n) ^ e->bad_crc };
    zip_number(to, 0x04034b50, 4);
    zip_common(to, e, s);
    memcpy(*to, e->name, strlen(e->name));
    *to = data + s->packed;
}

static inline size_t zip_make(u8 *out, const struct zipped *e, int n)
{
    u8 *to = out, *central;
    struct zip_seen seen[64];
    check(n <= countof(seen), "%d entries", n);
    for (int i = 0; i < n; i++)
        if (e[i].again)
            seen[i] = seen[i - 1];
        else
            zip_local(&to, out, &e[i], &seen[i]);
    central = to;
    for (int i = 0; i < n; i++) {
        zip_number(&to, 0x02014b50, 4);
        zip_number(&to, 20, 2);
        zip_common(&to, &e[i], &seen[i]);
        zip_number(&to, 0, 8);
        zip_number(&to, 0, 2);
        zip_number(&to, seen[i].at, 4);
        memcpy(to, e[i].name, strlen(e[i].name));
        to += strlen(e[i].name);
    }
    u32 size = (u32)(to - central);
    zip_number(&to, 0x06054b50, 8);
    zip_number(&to, (u64)n, 2);
    zip_number(&to, (u64)n, 2);
    zip_number(&to, size, 4);
    zip_number(&to, (u64)(central - out), 4);
    zip_number(&to, 0, 2);
    return (size_t)(to - out);
}

static inline size_t npy_make(u8 *out, const char *header, const void *data, size_t n)
{
    size_t h = strlen(header);
    memcpy(out, "\x93NUMPY\1\0", 8);
    memcpy(out + 8, &(u16){ (u16)h }, 2);
    memcpy(out + 10, header, h);
    if (n)
        memcpy(out + 10 + h, data, n);
    return 10 + h + n;
}

#endif
