/* bmp.c: Windows bitmaps of 1, 4, 8, 16, 24 and 32 bits without compression, or with channel masks.
 *
 *     0 "BM"   10 offset of the pixels   14 header: size, width, height (negative: rows from the top), planes,
 *     28 bits  30 compression  46 colours used (0: 2^bits)  54 masks of red, green, blue  then the palette,
 *     then rows from the bottom, each padded to four bytes
 *
 * The OS/2 header of 12 bytes has 16-bit sizes at 18 and 20, the bits at 24, and a palette of three bytes a
 * colour. Run-length encoded ones are refused by name. */
#include "data/formats.h"

enum { OS2_HEADER = 12, PLAIN = 0, RLE8 = 1, RLE4 = 2, MASKS = 3, ALPHA_MASKS = 6 };

struct bmp {
    u32 header, pixels, bits, compression, colors;
    i64 w, h;                                     /* h < 0: rows from the top */
    u32 mask[3];
    const u8 *palette;
    u32 entry;                                    /* bytes of a palette's colour */
};

static u32 bmp_16(const u8 *p) { return (u32)p[0] | (u32)p[1] << 8; }
static u32 bmp_32(const u8 *p) { return bmp_16(p) | bmp_16(p + 2) << 16; }

static int bmp_damaged(const char *what) { return fail(FAULT_DATA, "damaged BMP: %s", what); }

static int bmp_sizes(struct bmp *b, const u8 *p, size_t n)
{
    if (n < 26)
        return bmp_damaged("the file ends in its header");
    *b = (struct bmp){ .pixels = bmp_32(p + 10), .header = bmp_32(p + 14), .entry = 4 };
    if (b->header == OS2_HEADER) {
        b->w = bmp_16(p + 18);
        b->h = bmp_16(p + 20);
        b->bits = bmp_16(p + 24);
        b->entry = 3;
    } else if (b->header >= 40 && n >= 54) {
        b->w = (i32)bmp_32(p + 18);
        b->h = (i32)bmp_32(p + 22);
        b->bits = bmp_16(p + 28);
        b->compression = bmp_32(p + 30);
        b->colors = bmp_32(p + 46);
    } else
        return bmp_damaged("a header of unknown size, or cut off");
    if (b->h == INT32_MIN || b->w <= 0 || !b->h)
        return bmp_damaged("no pixels");
    return 0;
}

int bmp_peek(const u8 *p, size_t n, struct image_info *out)
{
    struct bmp b;
    if (bmp_sizes(&b, p, n))
        return -1;
    out->w = (int)b.w;
    out->h = (int)(b.h < 0 ? -b.h : b.h);
    return 0;
}

/* What the bits mean: masks of 16 and 32 bits, a palette up to 8. */
static int bmp_colors(struct bmp *b, const u8 *p, size_t n)
{
    u64 palette = 14 + (u64)b->header;
    if (b->compression == RLE8 || b->compression == RLE4)
        return fail(FAULT_DATA, "a run-length encoded BMP, which is not read (save it without compression)");
    bool masks = b->compression == MASKS || b->compression == ALPHA_MASKS;
    if (b->compression != PLAIN && !(masks && (b->bits == 16 || b->bits == 32)))
        return fail(FAULT_DATA, "a BMP of compression %u, which is not read", b->compression);
    if (masks) {
        if (n < 66)
            return bmp_damaged("the file ends in its masks");
        for (int i = 0; i < 3; i++)
            if (!(b->mask[i] = bmp_32(p + 54 + 4 * i)))
                return bmp_damaged("an empty channel mask");
    } else
        for (int i = 0; i < 3; i++)
            b->mask[i] = b->bits == 16 ? 0x1Fu << (10 - 5 * i) : 0xFFu << (16 - 8 * i);
    if (b->bits > 8)
        return 0;
    u32 most = 1u << b->bits;
    b->colors = b->colors && b->colors < most ? b->colors : most;
    b->palette = p + palette;
    return palette + (u64)b->colors * b->entry <= n ? 0 : bmp_damaged("the file ends in its palette");
}

/* A channel's bits brought to 8, rounded. */
static u8 bmp_channel(u32 v, u32 mask)
{
    int shift = __builtin_ctz(mask);
    u64 most = mask >> shift, at = (v & mask) >> shift;
    return (u8)((at * 510 + most) / (2 * most));
}

static void bmp_pixel(const struct bmp *b, const u8 *row, int x, u8 to[3])
{
    if (b->bits <= 8) {
        int bit = x * (int)b->bits;
        u32 i = (u32)(row[bit / 8] >> (8 - (int)b->bits - bit % 8)) & ((1u << b->bits) - 1);
        const u8 *c = b->palette + i * b->entry;
        for (int k = 0; k < 3; k++)               // after the palette's end is black, as Pillow has it
            to[k] = i < b->colors ? c[2 - k] : 0;
    } else if (b->bits == 24) {
        for (int k = 0; k < 3; k++)
            to[k] = row[3 * x + 2 - k];
    } else {
        u32 v = b->bits == 16 ? bmp_16(row + 2 * x) : bmp_32(row + 4 * x);
        for (int k = 0; k < 3; k++)
            to[k] = bmp_channel(v, b->mask[k]);
    }
}

int bmp_decode(const u8 *p, size_t n, const struct image_info *info, struct window want, struct image *out)
{
    struct bmp b;
    if (bmp_sizes(&b, p, n))
        return -1;
    if (b.bits != 1 && b.bits != 4 && b.bits != 8 && b.bits != 16 && b.bits != 24 && b.bits != 32)
        return fail(FAULT_DATA, "damaged BMP: %u bits a pixel", b.bits);
    if (bmp_colors(&b, p, n))
        return -1;
    u64 stride = CEIL_DIV((u64)b.w * b.bits, 32u) * 4;
    if (b.pixels + stride * (u64)info->h > n)
        return bmp_damaged("the file ends early");
    for (int y = 0; y < want.h; y++) {
        int from = want.y + y;
        const u8 *row = p + b.pixels + stride * (u64)(b.h < 0 ? from : info->h - 1 - from);
        for (int x = 0; x < want.w; x++)
            bmp_pixel(&b, row, want.x + x, out->rgb + 3 * ((size_t)y * want.w + x));
    }
    return 0;
}
