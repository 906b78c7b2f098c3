/* decode.c: bytes to pixels. The first bytes choose the format, never the file's name. Sizes and orientation
 * are read by a walk over the markers, so that a caller can choose its crop before anything is decoded. */
#include "data/formats.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_PIXELS = 1 << 27 };

static const char *image_kind_name(enum image_kind k)
{
    static const char *const names[] = { "unknown", "JPEG", "PNG", "GIF", "WebP", "BMP" };
    return names[k];
}

static u32 be16(const u8 *p) { return (u32)p[0] << 8 | p[1]; }
static u32 be32(const u8 *p) { return be16(p) << 16 | be16(p + 2); }

/* TIFF: "II*\0" or "MM\0*", offset of a directory of 12-byte entries {tag, type, count, value}; tag 0x112 is
 * the orientation. */
int exif_orientation(const u8 *t, size_t n)
{
    if (n < 8 || (memcmp(t, "II*\0", 4) && memcmp(t, "MM\0*", 4)))
        return 1;
    bool big = *t == 'M';
#define GET16(p) (big ? be16(p) : (u32)(p)[0] | (u32)(p)[1] << 8)
    u64 at = big ? be32(t + 4) : GET16(t + 4) | GET16(t + 6) << 16;
    if (at + 2 > n)
        return 1;
    u32 entries = GET16(t + at);
    for (at += 2; entries-- && at + 12 <= n; at += 12)
        if (GET16(t + at) == 0x112) {
            u32 orientation = GET16(t + at + 8);
            return orientation >= 1 && orientation <= 8 ? (int)orientation : 1;
        }
#undef GET16
    return 1;
}

/* Marker segments up to the frame header: FF, marker, 16-bit length, payload. */
static int peek_jpeg(const u8 *p, size_t n, struct image_info *out)
{
    size_t at = 2;
    while (at + 4 <= n) {
        if (p[at] != 0xFF) {
            at++;                                 // libjpeg skips such bytes too
            continue;
        }
        u8 m = p[at + 1];
        if (m == 0xFF || m == 0 || m == 1 || (m >= 0xD0 && m <= 0xD8)) {
            at += m == 0xFF ? 1 : 2;
            continue;
        }
        size_t len = be16(p + at + 2);
        if (m == 0xD9 || m == 0xDA || len < 2 || at + 2 + len > n)
            break;
        const u8 *body = p + at + 4;
        if (m >= 0xC0 && m <= 0xCF && m != 0xC4 && m != 0xC8 && m != 0xCC) {
            if (len < 8)
                break;
            out->h = (int)be16(body + 1);
            out->w = (int)be16(body + 3);
            return 0;
        }
        if (m == 0xE1 && len >= 8 && !memcmp(body, "Exif\0\0", 6))
            out->orientation = exif_orientation(body + 6, len - 8);
        at += 2 + len;
    }
    return fail(FAULT_DATA, "damaged JPEG: no frame header");
}

/* Signature, then chunks: 32-bit length, type, payload, CRC. IHDR comes first; eXIf may come before the
 * data. */
static int peek_png(const u8 *p, size_t n, struct image_info *out)
{
    if (n < 33 || memcmp(p + 12, "IHDR", 4))
        return fail(FAULT_DATA, "damaged PNG: no header");
    u32 w = be32(p + 16), h = be32(p + 20);
    if (w > INT32_MAX || h > INT32_MAX)
        return fail(FAULT_DATA, "damaged PNG: %u x %u pixels", w, h);
    out->w = (int)w;
    out->h = (int)h;
    for (u64 at = 8; at + 12 <= n; at += 12 + (u64)be32(p + at)) {
        u64 len = be32(p + at);
        if (at + 12 + len > n || !memcmp(p + at + 4, "IDAT", 4))
            break;
        if (!memcmp(p + at + 4, "eXIf", 4))
            out->orientation = exif_orientation(p + at + 8, len);
    }
    return 0;
}

static int peek_gif(const u8 *p, size_t n, struct image_info *out)
{
    if (n < 13)
        return fail(FAULT_DATA, "damaged GIF: no header");
    out->w = p[6] | p[7] << 8;
    out->h = p[8] | p[9] << 8;
    return 0;
}

enum image_kind image_kind_of(const u8 *p, size_t n)
{
    static const struct { enum image_kind kind; size_t at, n; const char *bytes; } known[] = {
        { IMAGE_JPEG, 0, 3, "\xFF\xD8\xFF" }, { IMAGE_PNG, 0, 8, "\x89PNG\r\n\x1A\n" },
        { IMAGE_GIF, 0, 6, "GIF87a" },        { IMAGE_GIF, 0, 6, "GIF89a" },
        { IMAGE_WEBP, 8, 4, "WEBP" } };
    for (int i = 0; i < countof(known); i++)
        if (n >= known[i].at + known[i].n && !memcmp(p + known[i].at, known[i].bytes, known[i].n)
            && (known[i].kind != IMAGE_WEBP || !memcmp(p, "RIFF", 4)))
            return known[i].kind;
    // two letters begin many a text: the bitmap's reserved words are zero besides
    bool bmp = n >= 14 && !memcmp(p, "BM", 2) && !memcmp(p + 6, "\0\0\0\0", 4);
    return bmp ? IMAGE_BMP : IMAGE_UNKNOWN;
}

static int peek_unknown(const u8 *p, size_t n)
{
    if (!n)
        return fail(FAULT_DATA, "empty file");
    if (n >= 4 && (!memcmp(p, "II*\0", 4) || !memcmp(p, "MM\0*", 4)))
        return fail(FAULT_DATA, "a TIFF image, which is not read");
    char hex[32] = "";
    for (size_t i = 0; i < MIN(n, 8); i++)
        snprintf(hex + strlen(hex), 4, i ? " %02x" : "%02x", p[i]);
    return fail(FAULT_DATA, "not a JPEG, PNG, GIF, WebP or BMP image (starts with %s)", hex);
}

static int peek_kind(const u8 *p, size_t n, struct image_info *out)
{
    switch (out->kind) {
    case IMAGE_JPEG: return peek_jpeg(p, n, out);
    case IMAGE_PNG:  return peek_png(p, n, out);
    case IMAGE_GIF:  return peek_gif(p, n, out);
    case IMAGE_BMP:  return bmp_peek(p, n, out);
    case IMAGE_WEBP:
        out->orientation = webp_orientation(p, n);
        return webp_peek(p, n, out);
    default: return peek_unknown(p, n);
    }
}

int image_peek(const u8 *p, size_t n, bool exif, struct image_info *out)
{
    *out = (struct image_info){ .kind = image_kind_of(p, n), .orientation = 1 };
    if (peek_kind(p, n, out))
        return -1;
    if (!exif)
        out->orientation = 1;
    if (out->w <= 0 || out->h <= 0 || (i64)out->w * out->h > MOST_PIXELS)
        return fail(FAULT_DATA, "%s of %d x %d pixels (1 to %d are read)", image_kind_name(out->kind), out->w,
                    out->h, MOST_PIXELS);
    return 0;
}

void image_oriented_size(const struct image_info *info, int *w, int *h)
{
    *w = info->orientation >= 5 ? info->h : info->w;
    *h = info->orientation >= 5 ? info->w : info->h;
}

/* EXIF orientations as a map from upright (x, y) to stored (x, y) of a W x H stored picture:
 *   1 x,y   2 W-1-x,y   3 W-1-x,H-1-y   4 x,H-1-y   5 y,x   6 y,H-1-x   7 W-1-y,H-1-x   8 W-1-y,x */
static struct window stored_window(int orientation, int W, int H, struct window w)
{
    struct window s = orientation >= 5 ? (struct window){ w.y, w.x, w.h, w.w } : w;
    if (orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8)
        s.x = W - s.x - s.w;
    if (orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7)
        s.y = H - s.y - s.h;
    return s;
}

static void orient_pixels(int orientation, const struct image *m, struct image *out)
{
    i64 dx = 3, dy = 3 * (i64)m->w, at = 0;                   // steps through m for one step of x, y in out
    if (orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8) {
        at += 3 * (i64)(m->w - 1);
        dx = -3;
    }
    if (orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7) {
        at += 3 * (i64)m->w * (m->h - 1);
        dy = -dy;
    }
    i64 sx = orientation >= 5 ? dy : dx, sy = orientation >= 5 ? dx : dy;
    u8 *to = out->rgb;
    for (int y = 0; y < out->h; y++)
        for (int x = 0; x < out->w; x++, to += 3)
            memcpy(to, m->rgb + at + x * sx + y * sy, 3);
}

static int decode_stored(struct decoder *d, const u8 *p, size_t n, const struct image_info *info,
                         struct window want, int halvings, struct image *out)
{
    arena_mark mark = arena_save(d->a);
    int rc;
    switch (info->kind) {
    case IMAGE_JPEG: rc = jpeg_decode(p, n, info, want, halvings, d->a, out); break;
    case IMAGE_PNG:  rc = png_decode(p, n, info, want, d->a, out); break;
    case IMAGE_WEBP: rc = webp_decode(p, n, info, want, d->a, out); break;
    case IMAGE_BMP:  rc = bmp_decode(p, n, info, want, out); break;
    default:         rc = gif_decode(p, n, info, want, out); break;
    }
    arena_restore(d->a, mark);
    return rc;
}

int image_decode(struct decoder *d, const u8 *p, size_t n, const struct image_info *info,
                 const struct window *want, int halvings, struct image *out)
{
    check(!halvings || info->kind == IMAGE_JPEG, "%d halvings of a %s", halvings,
          image_kind_name(info->kind));
    int W = CEIL_DIV(info->w, 1 << halvings), H = CEIL_DIV(info->h, 1 << halvings);
    struct window all = { 0, 0, info->orientation >= 5 ? H : W, info->orientation >= 5 ? W : H };
    struct window w = want ? *want : all, s = stored_window(info->orientation, W, H, w);
    if (image_room(d->a, out, w.w, w.h))
        return -1;
    if (info->orientation == 1)
        return decode_stored(d, p, n, info, s, halvings, out);
    if (image_room(d->a, &d->raw, s.w, s.h) || decode_stored(d, p, n, info, s, halvings, &d->raw))
        return -1;
    orient_pixels(info->orientation, &d->raw, out);
    return 0;
}

static int read_open(struct decoder *d, int fd, size_t *n)
{
    struct stat st;
    if (fstat(fd, &st))
        return fail(FAULT_DATA, "%s", strerror(errno));
    if (!S_ISREG(st.st_mode))
        return fail(FAULT_DATA, "not a regular file");
    if (st.st_size > 1 << 30)
        return fail(FAULT_DATA, "larger than an image can be (%ld bytes)", (long)st.st_size);
    size_t size = (size_t)st.st_size;
    if (size > d->file_room || !d->file) {
        u8 *p = arena_try(d->a, size + size / 4 + IMAGE_SLACK, 64);
        if (!p)
            return -1;
        d->file = p;
        d->file_room = size + size / 4;
    }
    for (*n = 0; *n < size;) {
        ssize_t got = read(fd, d->file + *n, size - *n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fail(FAULT_DATA, "%s", strerror(errno));
        if (!got)
            break;
        *n += (size_t)got;
    }
    return 0;
}

int image_read_file(struct decoder *d, const char *path, size_t *n)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);   // a FIFO among the images must not block
    if (fd < 0)
        return fail(FAULT_DATA, "%s", strerror(errno));
    int rc = read_open(d, fd, n);
    close(fd);
    return rc;
}

int image_load(arena *a, const char *path, bool exif, struct image *out)
{
    struct decoder d = { a };
    struct image_info info;
    size_t n;
    char shown[512];
    if (image_read_file(&d, path, &n) || image_peek(d.file, n, exif, &info)
        || image_decode(&d, d.file, n, &info, NULL, 0, out))
        return fail_in("%s", path_shown(shown, path));
    return 0;
}

/* Length of a well-formed UTF-8 sequence at s, 0 when it is none (overlong forms and surrogates included). */
static int utf8_length(const u8 *s)
{
    if (s[0] < 0x80)
        return 1;
    int n = s[0] >= 0xF0 ? 4 : s[0] >= 0xE0 ? 3 : 2;
    if (s[0] < 0xC2 || s[0] > 0xF4)
        return 0;
    for (int i = 1; i < n; i++)
        if ((s[i] & 0xC0) != 0x80)
            return 0;
    bool bad = (s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] > 0x9F) || (s[0] == 0xF0 && s[1] < 0x90)
            || (s[0] == 0xF4 && s[1] > 0x8F);
    return bad ? 0 : n;
}

const char *path_shown(char out[512], const char *path)
{
    int at = 0;
    for (const u8 *s = (const u8 *)path; *s && at < 500;) {
        int n = utf8_length(s);
        if (n == 0 || (n == 1 && (*s < 32 || *s == 127))) {
            at += snprintf(out + at, 6, *s == '\n' ? "\\n" : "\\x%02x", *s);
            s++;
        } else
            for (; n; n--)
                out[at++] = (char)*s++;
    }
    out[at] = 0;
    return out;
}
