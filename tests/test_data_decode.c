/* test_data_decode.c: files to pixels: every odd kind of JPEG, PNG and GIF, windows against whole decodes,
 * damage. */
#include "data_help.h"
#include "data/formats.h"

static struct image decoded(const u8 *p, size_t n, bool exif, const struct window *part, int halvings)
{
    struct decoder d = { .a = mem };
    struct image_info info;
    struct image out = { 0 };
    if (image_peek(p, n, exif, &info) || image_decode(&d, p, n, &info, part, halvings, &out))
        fail_msg("%s", fail_message());
    return out;
}

static struct image part_of(const struct image *m, struct window w)
{
    struct image out = { 0 };
    image_room(mem, &out, w.w, w.h);
    image_crop(m, w, &out);
    return out;
}

/* Any window, of any kind of JPEG, at any reduction, holds the pixels of the whole decode. */
static void windows_are_exact(void **state)
{
    (void)state;
    rng r = rng_at(1, RNG_TEST, 0, 0);
    for (int form = JPEG_444; form <= JPEG_PLAIN_CMYK; form++)
        for (int how = 0; how < 4; how++) {
            struct image m = picture(150 + form, 117 + how, (u32)form);
            size_t n;
            const u8 *p = jpeg_bytes(&m,
                                     (struct jpeg_how){ .form = form,
                                                        .progressive = how & 1,
                                                        .restart = how & 2 ? 3 : 0,
                                                        .orientation = how == 3 ? 1 + form % 8 : 0 },
                                     &n);
            for (int k = 0; k < 2; k++) {
                struct image whole = decoded(p, n, true, NULL, k);
                for (int t = 0; t < 12; t++) {
                    int x = (int)rng_below(&r, (u32)whole.w), y = (int)rng_below(&r, (u32)whole.h);
                    struct window w = { x, y, 1 + (int)rng_below(&r, (u32)(whole.w - x)),
                                        1 + (int)rng_below(&r, (u32)(whole.h - y)) };
                    struct image got = decoded(p, n, true, &w, k), want = part_of(&whole, w);
                    assert_pixels(&got, w.w, w.h, want.rgb, 0,
                                  arena_printf(mem, "form %d how %d window %d,%d %dx%d", form, how, w.x, w.y,
                                               w.w, w.h));
                }
            }
        }
}

/* The eight orientations, little and big endian, against rotating by hand. */
static void orients_by_exif(void **state)
{
    (void)state;
    struct image m = picture(40, 24, 3);
    size_t n;
    const u8 *p = jpeg_bytes(&m, (struct jpeg_how){ 0 }, &n);
    struct image flat = decoded(p, n, true, NULL, 0);
    for (int orientation = 1; orientation <= 8; orientation++) {
        p = jpeg_bytes(&m, (struct jpeg_how){ .orientation = orientation, .big_endian = orientation & 1 }, &n);
        struct image got = decoded(p, n, true, NULL, 0), ignored = decoded(p, n, false, NULL, 0);
        assert_pixels(&ignored, 40, 24, flat.rgb, 0, "exif off");
        assert_int_equal(got.w, orientation >= 5 ? 24 : 40);
        for (int y = 0; y < got.h; y++)
            for (int x = 0; x < got.w; x++) {
                // column and row as stored, before mirroring
                int a = orientation >= 5 ? y : x, b = orientation >= 5 ? x : y;
                bool back = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8,
                     down = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
                const u8 *want =
                    flat.rgb + ((size_t)(down ? 23 - b : b) * 40 + (size_t)(back ? 39 - a : a)) * 3;
                assert_memory_equal(got.rgb + ((size_t)y * got.w + x) * 3, want, 3);
            }
    }
}

static void jpeg_colors(void **state)
{
    (void)state;
    struct image m = picture(33, 17, 5);
    size_t n;
    const u8 *p = jpeg_bytes(&m, (struct jpeg_how){ .form = JPEG_GREY, .quality = 100 }, &n);
    struct image g = decoded(p, n, true, NULL, 0);
    for (size_t i = 0; i < image_bytes(&g); i++)
        assert_true(abs(g.rgb[i] - m.rgb[i / 3 * 3]) <= 3);
    // jpeg_bytes: inks are m's values and 255-(x+y)%90
    for (int form = JPEG_CMYK; form <= JPEG_PLAIN_CMYK; form++) {
        p = jpeg_bytes(&m, (struct jpeg_how){ .form = form, .quality = 100 }, &n);
        struct image c = decoded(p, n, true, NULL, 0);
        f64 worst = 0;
        for (int i = 0; i < m.w * m.h; i++)
            for (int k = 0; k < 3; k++) {
                f64 ink = m.rgb[3 * i + k], key = 255 - (i % m.w + i / m.w) % 90;
                f64 want = form == JPEG_PLAIN_CMYK ? (255 - ink) * (255 - key) / 255 : ink * key / 255;
                worst = fmax(worst, fabs(want - c.rgb[3 * i + k]));
            }
        assert_true(worst <= 7);
    }
}

static void png_kinds(void **state)
{
    (void)state;
    static const struct { int type, depth; } row[] = {
        { PNG_COLOR_TYPE_GRAY, 1 }, { PNG_COLOR_TYPE_GRAY, 2 }, { PNG_COLOR_TYPE_GRAY, 4 },
        { PNG_COLOR_TYPE_GRAY, 8 },
        { PNG_COLOR_TYPE_GRAY, 16 }, { PNG_COLOR_TYPE_RGB, 8 }, { PNG_COLOR_TYPE_RGB, 16 },
        { PNG_COLOR_TYPE_GRAY_ALPHA, 8 },
        { PNG_COLOR_TYPE_GRAY_ALPHA, 16 }, { PNG_COLOR_TYPE_RGBA, 8 }, { PNG_COLOR_TYPE_RGBA, 16 },
        { PNG_COLOR_TYPE_PALETTE, 1 },
        { PNG_COLOR_TYPE_PALETTE, 2 }, { PNG_COLOR_TYPE_PALETTE, 4 }, { PNG_COLOR_TYPE_PALETTE, 8 },
    };
    struct image m = picture(37, 23, 9);
    for (int i = 0; i < 2 * countof(row); i++) {
        int type = row[i / 2].type, depth = row[i / 2].depth;
        const char *path = at("kinds.jpg");                   // the name does not decide
        write_png(path, &m, type, depth, i & 1, i & 1);
        struct image got = { 0 };
        assert_int_equal(image_load(mem, path, true, &got), 0);
        for (int k = 0; k < m.w * m.h * 3; k++) {
            int v = m.rgb[k], x = k / 3 % m.w, y = k / 3 / m.w, low = depth < 8 ? v >> (8 - depth) : v;
            if (!(type & PNG_COLOR_MASK_COLOR))
                low = depth < 8 ? m.rgb[k / 3 * 3] >> (8 - depth) : m.rgb[k / 3 * 3];
            int want = depth < 8 ? low * 255 / ((1 << depth) - 1) : low;
            if (type == PNG_COLOR_TYPE_PALETTE) {
                int index = (x * 3 + y * 7) & ((1 << depth) - 1);
                want = (u8[]){ (u8)(index * 37), (u8)(index * 91 + 5), (u8)(255 - index) }[k % 3];
            }
            if (got.rgb[k] != want)
                fail_msg("type %d depth %d: %d instead of %d at %d,%d", type, depth, got.rgb[k], want, x, y);
        }
        struct decoder d = { .a = mem };
        struct image_info info;
        size_t n;
        struct window w = { 3, 5, 20, 11 };
        assert_int_equal(image_read_file(&d, path, &n), 0);
        image_peek(d.file, n, true, &info);
        struct image part = decoded(d.file, n, true, &w, 0), want = part_of(&got, w);
        assert_pixels(&part, 20, 11, want.rgb, 0, "window");
    }
}

/* A 6 x 4 GIF, colours red, green, blue, white; the frame is 4 x 4 at (1,0), interlaced or not. LZW by hand:
 * clear codes keep every code 3 bits wide. */
SOME size_t gif_bytes(u8 *out, bool interlaced, int transparent)
{
    static const u8 head[] = { 'G', 'I', 'F', '8', '9', 'a', 6, 0, 4,   0,   0x91, 0,  0,
                               255, 0,   0,   0,   255, 0,   0, 0, 255, 255, 255,  255 };
    size_t n = sizeof head;
    memcpy(out, head, n);
    if (transparent >= 0) {
        memcpy(out + n, (u8[]){ 0x21, 0xF9, 4, 1, 0, 0, (u8)transparent, 0 }, 8);
        n += 8;
    }
    memcpy(out + n, (u8[]){ 0x2C, 1, 0, 0, 0, 4, 0, 4, 0, interlaced ? 0x40 : 0, 2 }, 11);
    n += 11;
    u8 *size = out + n++;
    u32 bits = 0, have = 0;
    int codes = 0;
#define CODE(c) \
    for (bits |= (u32)(c) << have, have += 3; have >= 8; bits >>= 8, have -= 8) \
        out[n++] = (u8)bits
    for (int i = 0; i < 16; i++, codes++) {
        if (i % 2 == 0)
            CODE(4);
        CODE((i / 4 + i % 4) & 3);
    }
    CODE(5);
    out[n++] = (u8)bits;
    *size = (u8)(out + n - size - 1);
    out[n++] = 0;
    out[n++] = 0x3B;
    return n;
}

static void gif_frames(void **state)
{
    (void)state;
#ifndef HAVE_GIF
    skip();
#else
    static const u8 colors[4][3] = { { 255, 0, 0 }, { 0, 255, 0 }, { 0, 0, 255 }, { 255, 255, 255 } };
    static const int sweep[] = { 0, 2, 1, 3 };               // a 4-row picture: rows 0, 2 (third sweep), 1, 3
    for (int v = 0; v < 3; v++) {
        u8 bytes[128];
        size_t n = gif_bytes(bytes, v == 1, v == 2 ? 2 : -1);
        struct image m = decoded(bytes, n, true, NULL, 0);
        assert_int_equal(m.w, 6);
        assert_int_equal(m.h, 4);
        for (int i = 0; i < 4; i++)
            for (int x = 0; x < 6; x++) {
                int y = v == 1 ? sweep[i] : i, index = x == 0 || x == 5 ? (v == 2 ? 2 : 0) : (i + x - 1) & 3;
                assert_memory_equal(m.rgb + (y * 6 + x) * 3, colors[index], 3);
            }
        for (size_t cut = 0; cut < n - 2; cut++) {
            struct decoder d = { .a = mem };
            struct image_info info;
            struct image out = { 0 };
            if (!image_peek(bytes, cut, true, &info) && !image_decode(&d, bytes, cut, &info, NULL, 0, &out))
                fail_msg("a GIF cut at %zu of %zu is accepted", cut, n);
        }
    }
#endif
}

static int load(const char *path)
{
    struct image out = { 0 };
    fail_clear();
    return image_load(mem, path, true, &out);
}

static void refuses_damage(void **state)
{
    (void)state;
    struct image m = picture(64, 64, 2);
    size_t n;
    u8 *p = jpeg_bytes(&m, (struct jpeg_how){ .form = JPEG_420 }, &n);
    for (size_t cut = 0; cut < n - 2; cut += 7) {           // without its end marker alone a file is complete
        write_file(at("cut.jpg"), p, cut);
        if (!load(at("cut.jpg")))
            fail_msg("a JPEG cut at %zu of %zu is accepted", cut, n);
        assert_failed(FAULT_DATA, "cut.jpg: ");
    }
    const char *png = at("whole.png");
    write_png(png, &m, PNG_COLOR_TYPE_RGB, 8, false, false);
    p = (u8 *)file_text(mem, png, &n);
    for (size_t cut = 0; cut < n; cut += 29) {
        write_file(at("cut.png"), p, cut);
        if (!load(at("cut.png")))
            fail_msg("a PNG cut at %zu of %zu is accepted", cut, n);
        assert_failed(FAULT_DATA, "cut.png: ");
    }
    p[n / 2] ^= 0x10;
    write_file(at("flipped.png"), p, n);
    assert_int_equal(load(at("flipped.png")), -1);
    assert_failed(FAULT_DATA, "flipped.png: damaged PNG");
    write_text(at("text.jpg"), "hello, I am a picture");
    assert_int_equal(load(at("text.jpg")), -1);
    assert_failed(FAULT_DATA, "not a JPEG, PNG, GIF, WebP or BMP image (starts with 68 65 6c");
    write_text(at("none.jpg"), "");
    assert_int_equal(load(at("none.jpg")), -1);
    assert_failed(FAULT_DATA, "none.jpg: empty file");
    assert_int_equal(load(at("missing\n.jpg")), -1);
    assert_failed(FAULT_DATA, "missing\\n.jpg: No such file");
    assert_int_equal(load(scratch()), -1);
    assert_failed(FAULT_DATA, "not a regular file");
}

/* Headers that promise more memory than there is. */
static void refuses_bombs(void **state)
{
    (void)state;
    struct image m = picture(16, 16, 2);
    size_t n;
    u8 *p = jpeg_bytes(&m, (struct jpeg_how){ 0 }, &n);
    for (size_t i = 0; i + 8 < n; i++)
        if (p[i] == 0xFF && p[i + 1] == 0xC0)
            memset(p + i + 5, 0xFF, 4);
    write_file(at("bomb.jpg"), p, n);
    assert_int_equal(load(at("bomb.jpg")), -1);
    assert_failed(FAULT_DATA, "65535 x 65535 pixels");
    write_png(at("bomb.png"), &m, PNG_COLOR_TYPE_RGB, 8, false, false);
    p = (u8 *)file_text(mem, at("bomb.png"), &n);
    memset(p + 17, 0xFF, 3);
    memset(p + 21, 0xFF, 3);
    write_file(at("bomb.png"), p, n);
    assert_int_equal(load(at("bomb.png")), -1);
    assert_failed(FAULT_DATA, "16777215 x 16777215 pixels");
}

/* One-pixel and one-line pictures survive. */
static void tiny_pictures(void **state)
{
    (void)state;
    static const int sizes[][2] = { { 1, 1 }, { 1, 9 }, { 9, 1 }, { 2, 2 }, { 17, 1 } };
    for (int i = 0; i < countof(sizes); i++) {
        struct image m = picture(sizes[i][0], sizes[i][1], 1), out = { 0 };
        size_t n;
        const u8 *p = jpeg_bytes(&m, (struct jpeg_how){ .form = JPEG_420 }, &n);
        struct image got = decoded(p, n, true, NULL, 0);
        assert_int_equal(got.w, m.w);
        assert_int_equal(got.h, m.h);
        assert_int_equal(image_resize(mem, &got, FILTER_BICUBIC, 31, 33, &out), 0);
        assert_int_equal(out.w, 31);
    }
}

static void saves_png(void **state)
{
    (void)state;
    struct image m = picture(50, 40, 8), got = { 0 };
    assert_int_equal(image_save_png(at("saved.png"), &m), 0);
    assert_int_equal(image_load(mem, at("saved.png"), true, &got), 0);
    assert_pixels(&got, 50, 40, m.rgb, 0, "saved");
    assert_int_equal(image_save_png(at("no/such") , &m), 0);
    assert_int_equal(image_save_png("/nowhere/at/all.png", &m), -1);
    assert_failed(FAULT_RUN, "/nowhere/at/all.png: cannot write");
}

static void shows_paths(void **state)
{
    (void)state;
    char out[512], longer[2000];
    assert_string_equal(path_shown(out, "a b/\xc3\xa9t\xc3\xa9.jpg"), "a b/\xc3\xa9t\xc3\xa9.jpg");
    assert_string_equal(path_shown(out, "x\ny\x01\xff\xc3(\xed\xa0\x80"),
                        "x\\ny\\x01\\xff\\xc3(\\xed\\xa0\\x80");
    memset(longer, '\xff', sizeof longer);
    longer[1999] = 0;
    assert_true(strlen(path_shown(out, longer)) < 512);
}

/* All of it at once, as djpeg does. */
static struct image by_libjpeg(const u8 *p, size_t n)
{
    struct jpeg_decompress_struct c;
    struct jpeg_error_mgr err;
    struct image m = { 0 };
    c.err = jpeg_std_error(&err);
    jpeg_create_decompress(&c);
    jpeg_mem_src(&c, p, (unsigned long)n);
    jpeg_read_header(&c, TRUE);
    c.out_color_space = JCS_RGB;
    jpeg_start_decompress(&c);
    assert_int_equal(image_room(mem, &m, (int)c.output_width, (int)c.output_height), 0);
    while (c.output_scanline < c.output_height)
        jpeg_read_scanlines(&c, &(JSAMPROW){ m.rgb + (size_t)c.output_scanline * (size_t)m.w * 3 }, 1);
    jpeg_finish_decompress(&c);
    jpeg_destroy_decompress(&c);
    return m;
}

static void whole_decodes_as_djpeg(void **state)
{
    (void)state;
    for (int form = JPEG_444; form <= JPEG_GREY; form++)
        for (int how = 0; how < 8; how++) {
            struct image m = picture(150 + 17 * form, 117 + how, (u32)(form + how));
            struct jpeg_how as = { .form = form, .progressive = how & 1, .restart = how & 2 ? 3 : 0,
                                   .quality = how & 4 ? 40 : 95 };
            size_t n;
            const u8 *p = jpeg_bytes(&m, as, &n);
            struct image got = decoded(p, n, true, NULL, 0), want = by_libjpeg(p, n);
            assert_pixels(&got, want.w, want.h, want.rgb, 0, arena_printf(mem, "form %d how %d", form, how));
        }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, memory_open, memory_close)
    const struct CMUnitTest tests[] = {
        TEST(windows_are_exact), TEST(orients_by_exif),  TEST(jpeg_colors),          TEST(png_kinds),
        TEST(gif_frames),        TEST(refuses_damage), TEST(refuses_bombs),        TEST(tiny_pictures),
        TEST(saves_png),         TEST(shows_paths),    TEST(whole_decodes_as_djpeg),
    };
    return cmocka_run_group_tests(tests, NULL, scratch_close);
}
