/* png.c: libpng, whole pictures (its rows depend on those above). Palette, grey and 16-bit files become 8-bit
 * RGB; alpha and transparency are dropped, not blended. Also writes them, for contact sheets and the drawn
 * sets. */
#include "data/formats.h"
#include <png.h>
#include <errno.h>
#include <setjmp.h>

struct source { const u8 *p; size_t left; char text[256]; };

static void png_file_on_error(png_structp png, png_const_charp what)
{
    struct source *s = png_get_error_ptr(png);
    snprintf(s->text, sizeof s->text, "%s", what);
    longjmp(png_jmpbuf(png), 1);
}
static void on_warning(png_structp png, png_const_charp what) { (void)png, (void)what; }

static void png_file_read_bytes(png_structp png, png_bytep to, size_t n)
{
    struct source *s = png_get_io_ptr(png);
    if (n > s->left)
        png_error(png, "the file ends early");
    memcpy(to, s->p, n);
    s->p += n;
    s->left -= n;
}

static void want_rgb8(png_structp png, png_infop info)
{
    png_set_palette_to_rgb(png);
    png_set_expand_gray_1_2_4_to_8(png);
    png_set_strip_16(png);
    png_set_gray_to_rgb(png);
    png_set_strip_alpha(png);
    png_set_interlace_handling(png);
    png_read_update_info(png, info);
}

int png_decode(const u8 *p, size_t n, const struct image_info *info, struct window want, arena *a,
               struct image *out)
{
    struct source s = { p, n, "out of memory" };
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &s, png_file_on_error, on_warning);
    png_infop meta = png ? png_create_info_struct(png) : NULL;
    struct image *volatile whole = out;
    struct image all = { 0 };
    png_bytep *rows = arena_try(a, sizeof *rows * (size_t)info->h, 16);
    if (!rows)
        return -1;
    if (!meta || setjmp(png_jmpbuf(png))) {
        png_destroy_read_struct(&png, &meta, NULL);
        return fail(FAULT_DATA, "damaged PNG: %s", s.text);
    }
    png_set_read_fn(png, &s, png_file_read_bytes);
    png_set_user_limits(png, 1 << 27, 1 << 27);
    // ancillary chunks are skipped, some cost memory
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
    png_read_info(png, meta);
    want_rgb8(png, meta);
    if ((int)png_get_image_width(png, meta) != info->w || (int)png_get_image_height(png, meta) != info->h
        || png_get_rowbytes(png, meta) != (size_t)info->w * 3)
        png_error(png, "its header contradicts itself");
    if (want.w != info->w || want.h != info->h) {
        whole = &all;
        if (image_room(a, &all, info->w, info->h))
            png_error(png, "too large for memory");
    }
    for (int y = 0; y < info->h; y++)
        rows[y] = whole->rgb + (size_t)y * info->w * 3;
    png_read_image(png, rows);
    png_read_end(png, NULL);
    png_destroy_read_struct(&png, &meta, NULL);
    if (whole != out)
        image_crop(&all, want, out);
    return 0;
}

int png_write(FILE *f, const struct image *m)
{
    struct source s = { 0 };
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &s, png_file_on_error, on_warning);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    if (!info || setjmp(png_jmpbuf(png))) {
        png_destroy_write_struct(&png, &info);
        return -1;
    }
    png_init_io(png, f);
    png_set_IHDR(png, info, (u32)m->w, (u32)m->h, 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png, info);
    for (int y = 0; y < m->h; y++)
        png_write_row(png, m->rgb + (size_t)y * m->w * 3);
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
    return 0;
}

int image_save_png(const char *path, const struct image *m)
{
    struct file_out o;
    if (file_begin(&o, path))
        return -1;
    if (!png_write(o.f, m))
        return file_commit(&o);
    int err = errno;
    file_abort(&o);
    return fail(FAULT_RUN, "%s: cannot write: %s", path, strerror(err));
}
