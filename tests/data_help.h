/* data_help.h: what the tests of data/ share: scratch folders, pictures to encode, and encoders for every odd
 * kind of file. */
#ifndef JETCL_TEST_DATA_HELP_H
#define JETCL_TEST_DATA_HELP_H

#include "unit.h"
#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <jpeglib.h>
#include <png.h>
#include "data/data.h"

#define SOME __attribute__((unused)) static

SOME arena *mem;                                     /* of the running test */

SOME int memory_open(void **state)  { (void)state; mem = arena_open("test"); return 0; }
SOME int memory_close(void **state) { (void)state; arena_close(mem); return 0; }

/* A fresh folder for this test program, removed by scratch_close. */
SOME const char *scratch(void)
{
    static char dir[64];
    if (!*dir) {
        snprintf(dir, sizeof dir, "/tmp/jetcl-data-XXXXXX");
        assert_non_null(mkdtemp(dir));
    }
    return dir;
}

SOME int scratch_close(void **state)
{
    (void)state;
    char command[256];
    snprintf(command, sizeof command, "chmod -R u+rwx %s; rm -rf %s", scratch(), scratch());
    return system(command);
}

/* scratch/fmt; the folders on the way exist afterwards. */
SOME char *at(const char *fmt, ...) PRINTF(1, 2);
SOME char *at(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *path = arena_printf(mem, "%s/%s", scratch(), arena_vprintf(mem, fmt, ap)),
         *slash = strrchr(path, '/');
    va_end(ap);
    *slash = 0;
    assert_int_equal(file_mkdirs(path), 0);
    *slash = '/';
    return path;
}

SOME void write_file(const char *path, const void *p, size_t n)
{
    assert_int_equal(file_save(path, p, n), 0);
}
SOME void write_text(const char *path, const char *s)           { write_file(path, s, strlen(s)); }

/* A picture with edges and gradients, different for every seed. */
SOME struct image picture(int w, int h, u32 seed)
{
    struct image m = { 0 };
    assert_int_equal(image_room(mem, &m, w, h), 0);
    rng r = rng_at(seed, RNG_TEST, 0, 0);
    f64 a = rng_unit(&r) * 6, fx = 0.02 + 0.2 * rng_unit(&r), fy = 0.02 + 0.2 * rng_unit(&r);
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++)
            for (int c = 0; c < 3; c++) {
                f64 v = 128 + 90 * sin(a + c + fx * x + fy * y) + ((x / 7 + y / 5) & 1 ? 20 : -20)
                        + (int)rng_below(&r, 9);
                m.rgb[((size_t)y * w + x) * 3 + c] = (u8)(v < 0 ? 0 : v > 255 ? 255 : v);
            }
    return m;
}

enum jpeg_form { JPEG_444, JPEG_422, JPEG_420, JPEG_440, JPEG_GREY, JPEG_CMYK, JPEG_YCCK, JPEG_PLAIN_CMYK };
struct jpeg_how { enum jpeg_form form; int quality, orientation /* EXIF, 0 none */, restart; bool progressive,
                  big_endian; };

SOME void jpeg_exif(j_compress_ptr c, int orientation, bool big)
{
    u8 b[32] = "Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\0\0\0\0\0",
       m[32] = "Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01";
    b[24] = (u8)orientation;
    m[25] = (u8)orientation;
    jpeg_write_marker(c, JPEG_APP0 + 1, big ? m : b, 32);
}

/* m as a JPEG file's bytes. */
SOME u8 *jpeg_bytes(const struct image *m, struct jpeg_how how, size_t *n)
{
    struct jpeg_compress_struct c;
    struct jpeg_error_mgr err;
    u8 *out = NULL;
    unsigned long size = 0;
    bool four = how.form >= JPEG_CMYK;
    c.err = jpeg_std_error(&err);
    jpeg_create_compress(&c);
    jpeg_mem_dest(&c, &out, &size);
    c.image_width = (JDIMENSION)m->w;
    c.image_height = (JDIMENSION)m->h;
    c.input_components = four ? 4 : how.form == JPEG_GREY ? 1 : 3;
    c.in_color_space = four ? JCS_CMYK : how.form == JPEG_GREY ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_set_defaults(&c);
    if (four)
        jpeg_set_colorspace(&c, how.form == JPEG_YCCK ? JCS_YCCK : JCS_CMYK);
    if (how.form == JPEG_PLAIN_CMYK)
        c.write_Adobe_marker = FALSE;
    jpeg_set_quality(&c, how.quality ? how.quality : 90, TRUE);
    for (int i = 0; how.quality == 100 && i < c.num_components; i++)
        c.comp_info[i].h_samp_factor = c.comp_info[i].v_samp_factor = 1;
    if (how.form <= JPEG_440) {
        c.comp_info[0].h_samp_factor = how.form == JPEG_422 || how.form == JPEG_420 ? 2 : 1;
        c.comp_info[0].v_samp_factor = how.form == JPEG_420 || how.form == JPEG_440 ? 2 : 1;
    }
    c.restart_interval = (unsigned)how.restart;
    if (how.progressive)
        jpeg_simple_progression(&c);
    jpeg_start_compress(&c, TRUE);
    if (how.orientation)
        jpeg_exif(&c, how.orientation, how.big_endian);
    u8 *row = arena_bytes(mem, (size_t)m->w * 4, 1);
    for (int y = 0; y < m->h; y++) {
        const u8 *p = m->rgb + (size_t)y * m->w * 3;
        for (int x = 0; x < m->w; x++)
            for (int k = 0; k < c.input_components; k++)
                row[x * c.input_components + k] = k < 3 ? p[3 * x + k] : (u8)(255 - (x + y) % 90);
        jpeg_write_scanlines(&c, &row, 1);
    }
    jpeg_finish_compress(&c);
    jpeg_destroy_compress(&c);
    u8 *copy = (u8 *)arena_copy(mem, out, size);
    free(out);
    *n = size;
    return copy;
}

SOME void write_jpeg(const char *path, const struct image *m, struct jpeg_how how)
{
    size_t n;
    u8 *p = jpeg_bytes(m, how, &n);
    write_file(path, p, n);
}

/* m as a PNG of any colour type and depth: PNG_COLOR_TYPE_..., 1..16 bits. Grey takes red, palettes count
 * pixels' positions. */
SOME void write_png(const char *path, const struct image *m, int type, int depth, bool interlaced,
                    bool transparent)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    assert_false(setjmp(png_jmpbuf(png)));
    png_init_io(png, f);
    png_set_IHDR(png, info, (u32)m->w, (u32)m->h, depth, type,
                 interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE, 0, 0);
    if (type == PNG_COLOR_TYPE_PALETTE) {
        png_color colors[256];
        for (int i = 0; i < 256; i++)
            colors[i] = (png_color){ (u8)(i * 37), (u8)(i * 91 + 5), (u8)(255 - i) };
        png_set_PLTE(png, info, colors, 1 << depth);
        if (transparent)
            png_set_tRNS(png, info, (u8[]){ 0, 128, 255 }, 2, NULL);
    }
    png_write_info(png, info);
    int channels = type == PNG_COLOR_TYPE_RGB          ? 3
                   : type == PNG_COLOR_TYPE_RGBA       ? 4
                   : type == PNG_COLOR_TYPE_GRAY_ALPHA ? 2
                                                       : 1;
    size_t stride = ((size_t)m->w * (size_t)channels * (size_t)depth + 7) / 8;
    png_bytep *rows = arena_array(mem, png_bytep, m->h);
    for (int y = 0; y < m->h; y++) {
        rows[y] = arena_bytes(mem, stride + 8, 8);
        for (int x = 0; x < m->w; x++)
            for (int k = 0; k < channels; k++) {
                int v = type == PNG_COLOR_TYPE_PALETTE   ? x * 3 + y * 7
                        : k == channels - 1 && type >= 4 ? x * 5
                                                         : m->rgb[((size_t)y * m->w + x) * 3 + k];
                size_t i = (size_t)x * channels + k;
                if (depth == 16) {
                    rows[y][2 * i] = (u8)v;
                    rows[y][2 * i + 1] = (u8)(v * 7);
                } else if (depth == 8)
                    rows[y][i] = (u8)v;
                else {
                    u32 bits =
                        (u32)(type == PNG_COLOR_TYPE_PALETTE ? v & ((1 << depth) - 1) : v >> (8 - depth));
                    rows[y][i * depth / 8] |= (u8)(bits << (8 - depth - i * depth % 8));
                }
            }
    }
    png_write_image(png, rows);
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
    fclose(f);
}

SOME void assert_pixels(const struct image *m, int w, int h, const u8 *want, int tolerance, const char *what)
{
    if (m->w != w || m->h != h)
        fail_msg("%s: %d x %d instead of %d x %d", what, m->w, m->h, w, h);
    for (size_t i = 0; i < image_bytes(m); i++)
        if (abs(m->rgb[i] - want[i]) > tolerance)
            fail_msg("%s: pixel %zu,%zu channel %zu is %d, wanted %d", what, i / 3 % (size_t)w,
                     i / 3 / (size_t)w, i % 3, m->rgb[i], want[i]);
}

SOME void assert_failed(int fault, const char *says)
{
    if (fail_fault() != (enum fault)fault || !strstr(fail_message(), says) || strchr(fail_message(), '\n'))
        fail_msg("expected fault %d '%s', got %d '%s'", fault, says, fail_fault(), fail_message());
}

#endif
