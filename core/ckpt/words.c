/* words.c: a file's words in our messages and in JSON, and SHA-256. */
#include "ckpt/format.h"
#include <openssl/evp.h>

const char *ckpt_quote(slice s)
{
    static _Thread_local char ring[4][160];
    static _Thread_local unsigned next;
    char *out = ring[next++ % 4];
    int at = 0;
    out[at++] = '\'';
    for (size_t i = 0; i < s.n; i++) {
        u8 ch = (u8)s.p[i];
        if (at > 64 || i == 64) {
            at += sprintf(out + at, "...");
            break;
        }
        if (ch < 32 || ch >= 127)
            at += sprintf(out + at, "\\x%02x", ch);
        else
            out[at++] = (char)ch;
    }
    out[at++] = '\'';
    out[at] = 0;
    return out;
}

/* Bytes that follow the first one of a character; -1: no character starts so. */
static int words_followers(u8 c)
{
    return c < 0x80 ? 0 : c < 0xc2 ? -1 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : c < 0xf5 ? 3 : -1;
}

/* No stray or missing continuation, no overlong form, no surrogate, nothing beyond U+10FFFF. */
bool ckpt_is_utf8(slice s)
{
    for (size_t i = 0; i < s.n;) {
        u8 c = (u8)s.p[i];
        int more = words_followers(c);
        if (more < 0 || s.n - i <= (size_t)more)
            return false;
        u32 code = more == 0 ? c : more == 1 ? c & 31u : more == 2 ? c & 15u : c & 7u;
        for (int k = 1; k <= more; k++) {
            u8 next = (u8)s.p[i + (size_t)k];
            if ((next & 0xc0) != 0x80)
                return false;
            code = code << 6 | (next & 63u);
        }
        if ((more == 2 && code < 0x800) || (more == 3 && (code < 0x10000 || code > 0x10ffff)) ||
            (code >= 0xd800 && code < 0xe000))
            return false;
        i += (size_t)more + 1;
    }
    return true;
}

void words_json(FILE *f, const char *s)
{
    fputc('"', f);
    for (; *s; s++)
        if (*s == '"' || *s == '\\')
            fprintf(f, "\\%c", *s);
        else if ((u8)*s < 32)
            fprintf(f, "\\u%04x", (u8)*s);
        else
            fputc(*s, f);
    fputc('"', f);
}

static void hex_of(EVP_MD_CTX *ctx, char hex[65])
{
    u8 digest[EVP_MAX_MD_SIZE];
    check(EVP_DigestFinal_ex(ctx, digest, NULL), "SHA-256 failed");
    hash_hex(hex, digest, 32);
}

static EVP_MD_CTX *sha256_new(void)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    check(ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL), "libcrypto has no SHA-256");
    return ctx;
}

void bytes_sha256(const void *p, size_t n, char hex[65])
{
    EVP_MD_CTX *ctx = sha256_new();
    EVP_DigestUpdate(ctx, p, n);
    hex_of(ctx, hex);
    EVP_MD_CTX_free(ctx);
}

int file_sha256(const char *path, char hex[65])
{
    enum { STEP = 16 << 20 };
    struct file_map m;
    if (file_map(path, &m))
        return -1;
    EVP_MD_CTX *ctx = sha256_new();
    for (u64 at = 0; at < m.n; at += STEP) {
        EVP_DigestUpdate(ctx, m.p + at, MIN((u64)STEP, m.n - at));
        file_forget(&m, m.p + at, MIN((u64)STEP, m.n - at));
    }
    hex_of(ctx, hex);
    EVP_MD_CTX_free(ctx);
    file_unmap(&m);
    return 0;
}
