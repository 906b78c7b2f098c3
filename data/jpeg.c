/* jpeg.c: libjpeg-turbo. Only the window asked for is decoded: rows above are entropy-decoded and dropped,
 * rows below never read, columns outside skipped by whole MCUs. Smooth chroma upsampling looks one chroma
 * sample to each side, so the window is decoded with a margin and its pixels are exactly those of a whole
 * decode. */
#include "data/formats.h"
#include <setjmp.h>
#include <stdio.h>
#include <jpeglib.h>
#include <jerror.h>

enum { MOST_SCANS = 500 };                        // a progressive file may repeat scans to burn time

struct trouble { struct jpeg_error_mgr mgr; jmp_buf out; char text[JMSG_LENGTH_MAX]; };

static void jpeg_file_on_error(j_common_ptr c)
{
    struct trouble *t = (struct trouble *)c->err;
    t->mgr.format_message(c, t->text);
    longjmp(t->out, 1);
}

/* A warning means damage that libjpeg can hide. Extraneous bytes are common in good collections; a file
 * that simply ends is damage to report. */
static void on_message(j_common_ptr c, int level)
{
    if (level < 0 && c->err->msg_code == JWRN_JPEG_EOF)
        jpeg_file_on_error(c);
}
static void on_output(j_common_ptr c) { (void)c; }

static void on_progress(j_common_ptr c)
{
    if (c->is_decompressor && ((j_decompress_ptr)c)->input_scan_number > MOST_SCANS) {
        struct trouble *t = (struct trouble *)c->err;
        snprintf(t->text, sizeof t->text, "more than %d scans", MOST_SCANS);
        longjmp(t->out, 1);
    }
}

/* One row of C M Y K to RGB as Pillow does: channel = (255 - ink)(255 - k) / 255, rounded. Adobe stores inks
 * inverted. */
static void cmyk_row(const u8 *in, int n, bool inverted, u8 *out)
{
    for (int i = 0; i < n; i++) {
        u32 k = inverted ? in[4 * i + 3] : 255 - in[4 * i + 3];
        for (int c = 0; c < 3; c++) {
            u32 ink = inverted ? 255 - in[4 * i + c] : in[4 * i + c], t = ink * k + 128;
            out[3 * i + c] = (u8)(k - ((t + (t >> 8)) >> 8));
        }
    }
}

/* Decodes rows until the window's last one. row: memory for one decoded row and its slack. */
static void jpeg_file_read_rows(struct jpeg_decompress_struct *c, struct window want, int left, u8 *row,
                                struct image *out)
{
    for (int y = 0; y < want.h; y++) {
        u8 *to = out->rgb + (size_t)y * want.w * 3,
           *whole = left == 0 && (int)c->output_width == want.w ? to : row;
        if (c->out_color_space == JCS_CMYK)
            whole = row;
        while (!jpeg_read_scanlines(c, &whole, 1))
            ;
        if (c->out_color_space == JCS_CMYK)
            cmyk_row(row + (size_t)left * 4, want.w, c->saw_Adobe_marker, to);
        else if (whole != to)
            memcpy(to, row + (size_t)left * 3, (size_t)want.w * 3);
    }
}

static void decode_window(struct jpeg_decompress_struct *c, struct window want, u8 *row, struct image *out)
{
    int margin = 2 * c->max_h_samp_factor, lead = 2 * c->max_v_samp_factor;
    int from = MAX(0, want.x - margin), to = MIN((int)c->output_width, want.x + want.w + margin);
    JDIMENSION left = (JDIMENSION)from, width = (JDIMENSION)(to - from);
    if (width < c->output_width)
        jpeg_crop_scanline(c, &left, &width);     // moves left down to an MCU boundary
    int top = MAX(0, want.y - lead);
    if (top > 0)
        jpeg_skip_scanlines(c, (JDIMENSION)top);
    for (; top < want.y; top++)
        jpeg_read_scanlines(c, &row, 1);
    jpeg_file_read_rows(c, want, want.x - (int)left, row, out);
}

int jpeg_decode(const u8 *p, size_t n, const struct image_info *info, struct window want, int halvings,
                arena *a, struct image *out)
{
    struct jpeg_decompress_struct c;
    struct trouble t;
    struct jpeg_progress_mgr watch = { .progress_monitor = on_progress };
    c.err = jpeg_std_error(&t.mgr);
    t.mgr.error_exit = jpeg_file_on_error;
    t.mgr.emit_message = on_message;
    t.mgr.output_message = on_output;
    u8 *row = arena_try(a, (size_t)info->w * 4 + IMAGE_SLACK, 64);
    if (!row)
        return -1;
    if (setjmp(t.out)) {
        jpeg_destroy_decompress(&c);
        return fail(FAULT_DATA, "damaged JPEG: %s", t.text);
    }
    jpeg_create_decompress(&c);
    c.progress = &watch;
    jpeg_mem_src(&c, p, n);
    jpeg_read_header(&c, TRUE);
    bool inks = c.jpeg_color_space == JCS_CMYK || c.jpeg_color_space == JCS_YCCK;
    c.out_color_space = inks ? JCS_CMYK : JCS_RGB;
    c.scale_num = 1;
    c.scale_denom = 1u << halvings;
    if ((int)c.image_width != info->w || (int)c.image_height != info->h) {
        snprintf(t.text, sizeof t.text, "two frame headers of different size");
        longjmp(t.out, 1);
    }
    jpeg_start_decompress(&c);
    check(want.x + want.w <= (int)c.output_width && want.y + want.h <= (int)c.output_height,
          "window %d+%d of %d, %d+%d of %d", want.x, want.w, (int)c.output_width, want.y, want.h,
          (int)c.output_height);
    decode_window(&c, want, row, out);
    jpeg_abort_decompress(&c);
    jpeg_destroy_decompress(&c);
    return 0;
}

int jpeg_write(FILE *f, const struct image *m, int quality)
{
    struct jpeg_compress_struct c;
    struct trouble t;
    c.err = jpeg_std_error(&t.mgr);
    t.mgr.error_exit = jpeg_file_on_error;
    t.mgr.output_message = on_output;
    if (setjmp(t.out)) {
        jpeg_destroy_compress(&c);
        return -1;
    }
    jpeg_create_compress(&c);
    jpeg_stdio_dest(&c, f);
    c.image_width = (JDIMENSION)m->w;
    c.image_height = (JDIMENSION)m->h;
    c.input_components = 3;
    c.in_color_space = JCS_RGB;
    jpeg_set_defaults(&c);
    jpeg_set_quality(&c, quality, TRUE);
    jpeg_start_compress(&c, TRUE);
    while (c.next_scanline < c.image_height) {
        JSAMPROW row = m->rgb + (size_t)c.next_scanline * m->w * 3;
        jpeg_write_scanlines(&c, &row, 1);
    }
    jpeg_finish_compress(&c);
    jpeg_destroy_compress(&c);
    return 0;
}
