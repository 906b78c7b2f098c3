/* hash.c: FNV-1a, and bytes as hexadecimal digits. */
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
