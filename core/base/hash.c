/* hash.c: FNV-1a, tables of names by it, and bytes as hexadecimal digits. */
#include "base/base.h"

u64 hash_bytes(u64 h, const void *bytes, size_t n)
{
    const u8 *p = bytes;
    for (size_t i = 0; i < n; i++)
        h = (h ^ p[i]) * 0x100000001b3u;
    return h;
}

u64 hash_text(u64 h, const char *s) { return hash_bytes(h, s, strlen(s)); }

const char *hash_hex(char *out, const void *bytes, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    const u8 *p = bytes;
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[p[i] >> 4];
        out[2 * i + 1] = digits[p[i] & 15];
    }
    out[2 * n] = 0;
    return out;
}

/* Where name is, or would be: open addressing, at most half full. */
static struct name_row *names_place(const struct name_table *t, const char *name)
{
    size_t i = (size_t)hash_text(HASH_START, name) & (t->cap - 1);
    while (t->rows[i].name && strcmp(t->rows[i].name, name))
        i = (i + 1) & (t->cap - 1);
    return &t->rows[i];
}

void *names_get(const struct name_table *t, const char *name)
{
    return t->cap ? names_place(t, name)->value : NULL;
}

void names_put(arena *a, struct name_table *t, const char *name, void *value)
{
    if (2 * (t->n + 1) > t->cap) {
        struct name_table more = { .cap = MAX(64, 4 * t->cap) };
        more.rows = arena_array(a, struct name_row, more.cap);
        for (size_t i = 0; i < t->cap; i++)
            if (t->rows[i].name)
                *names_place(&more, t->rows[i].name) = t->rows[i];
        more.n = t->n;
        *t = more;
    }
    struct name_row *row = names_place(t, name);
    if (row->name)
        return;
    *row = (struct name_row){ name, value };
    t->n++;
}
