/* color.c: RandAugment's colour operations with Pillow's arithmetic (ImageOps and ImageEnhance). Whatever
 * depends on one channel value alone is a table of 256 entries. Blends run in float and truncate, as
 * there. */
#include "data/image.h"

static void apply_table(struct image *m, u8 table[256])
{
    size_t n = image_bytes(m);
    for (size_t i = 0; i < n; i++)
        m->rgb[i] = table[m->rgb[i]];
}

static void apply_tables(struct image *m, u8 table[3][256])
{
    size_t n = image_bytes(m);
    for (size_t i = 0; i < n; i += 3) {
        m->rgb[i + 0] = table[0][m->rgb[i + 0]];
        m->rgb[i + 1] = table[1][m->rgb[i + 1]];
        m->rgb[i + 2] = table[2][m->rgb[i + 2]];
    }
}

static void color_histogram(const struct image *m, u32 count[3][256])
{
    memset(count, 0, 3 * 256 * sizeof(u32));
    size_t n = image_bytes(m);
    for (size_t i = 0; i < n; i += 3)
        for (int c = 0; c < 3; c++)
            count[c][m->rgb[i + c]]++;
}

void image_autocontrast(struct image *m)
{
    u32 count[3][256];
    u8 table[3][256];
    color_histogram(m, count);
    for (int c = 0; c < 3; c++) {
        int lo = 0, hi = 255;
        while (lo < 255 && !count[c][lo])
            lo++;
        while (hi > 0 && !count[c][hi])
            hi--;
        f64 scale = 255.0 / MAX(1, hi - lo), offset = -lo * scale;
        for (int i = 0; i < 256; i++) {
            int v = (int)(i * scale + offset);
            table[c][i] = (u8)(hi <= lo ? i : MIN(255, MAX(0, v)));
        }
    }
    apply_tables(m, table);
}

void image_equalize(struct image *m)
{
    u32 count[3][256];
    u8 table[3][256];
    color_histogram(m, count);
    u32 total = (u32)(image_bytes(m) / 3);
    for (int c = 0; c < 3; c++) {
        int last = 255;
        while (last > 0 && !count[c][last])
            last--;
        u32 step = (total - count[c][last]) / 255, n = step / 2;
        for (int i = 0; i < 256; i++) {
            table[c][i] = (u8)(step ? MIN(255, n / step) : (u32)i);
            n += count[c][i];
        }
    }
    apply_tables(m, table);
}

void image_invert(struct image *m)
{
    size_t n = image_bytes(m);
    for (size_t i = 0; i < n; i++)
        m->rgb[i] = (u8)~m->rgb[i];
}

void image_posterize(struct image *m, int bits)
{
    u8 mask = (u8)~(0xFF >> bits);
    size_t n = image_bytes(m);
    for (size_t i = 0; i < n; i++)
        m->rgb[i] &= mask;
}

void image_solarize(struct image *m, f64 threshold)
{
    u8 table[256];
    for (int i = 0; i < 256; i++)
        table[i] = (u8)(i < threshold ? i : 255 - i);
    apply_table(m, table);
}

void image_solarize_add(struct image *m, f64 amount)
{
    u8 table[256];
    for (int i = 0; i < 256; i++)
        table[i] = (u8)(i < 128 ? MIN(255, (int)(i + amount)) : i);
    apply_table(m, table);
}

static u8 color_blend(f32 base, f32 v, f32 factor)
{
    f32 x = base + factor * (v - base);
    return (u8)(x <= 0 ? 0 : x >= 255 ? 255 : x);
}

static void blend_with(struct image *m, int base, f64 factor)
{
    u8 table[256];
    for (int i = 0; i < 256; i++)
        table[i] = color_blend((f32)base, (f32)i, (f32)factor);
    apply_table(m, table);
}

/* ITU-R 601 luma in 16-bit fixed point. */
static int color_grey(const u8 *p)
{
    return (int)((19595u * p[0] + 38470u * p[1] + 7471u * p[2] + 32768u) >> 16);
}

void image_brightness(struct image *m, f64 factor) { blend_with(m, 0, factor); }

void image_contrast(struct image *m, f64 factor)
{
    u64 sum = 0, n = image_bytes(m) / 3;
    for (u64 i = 0; i < n; i++)
        sum += (u64)color_grey(m->rgb + 3 * i);
    blend_with(m, (int)((f64)sum / (f64)n + 0.5), factor);
}

void image_color(struct image *m, f64 factor)
{
    f32 f = (f32)factor;
    size_t n = image_bytes(m);
    for (u8 *p = m->rgb; p < m->rgb + n; p += 3) {
        f32 g = (f32)color_grey(p);
        p[0] = color_blend(g, p[0], f);
        p[1] = color_blend(g, p[1], f);
        p[2] = color_blend(g, p[2], f);
    }
}

/* The blurred picture: 3x3 weights 1 1 1, 1 5 1, 1 1 1 over 13; the border is the picture's own. */
void image_sharpness(const struct image *m, f64 factor, struct image *out)
{
    check(out->w == m->w && out->h == m->h, "%d x %d into %d x %d", m->w, m->h, out->w, out->h);
    memcpy(out->rgb, m->rgb, image_bytes(m));
    size_t stride = (size_t)m->w * 3;
    for (int y = 1; y + 1 < m->h; y++) {
        const u8 *p = m->rgb + (size_t)y * stride, *up = p - stride, *down = p + stride;
        u8 *to = out->rgb + (size_t)y * stride;
        for (size_t i = 3; i + 3 < stride; i++) {
            int sum = up[i - 3] + up[i] + up[i + 3] + p[i - 3] + 5 * p[i] + p[i + 3] + down[i - 3] + down[i]
                      + down[i + 3];
            to[i] = color_blend((f32)((2 * sum + 13) / 26), p[i], (f32)factor);
        }
    }
}
