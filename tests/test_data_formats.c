/* test_data_formats.c: WebP and BMP to pixels, what a folder passes over, and classes by name. */
#include "data_help.h"
#include <webp/encode.h>

static int load(const void *p, size_t n, struct image *out)
{
    write_file(at("one"), p, n);
    *out = (struct image){ 0 };
    return image_load(mem, at("one"), true, out);
}

static void assert_same_picture(const struct image *got, const struct image *want)
{
    assert_int_equal(got->w, want->w);
    assert_int_equal(got->h, want->h);
    assert_memory_equal(got->rgb, want->rgb, image_bytes(want));
}

/* ---- WebP ---------------------------------------------------------------------------------------------- */

static size_t webp_of(const struct image *m, u8 **out)
{
    return WebPEncodeLosslessRGB(m->rgb, m->w, m->h, 3 * m->w, out);
}

static void reads_webp(void **state)
{
    (void)state;
    struct image m = picture(37, 23, 5), got, part = { 0 };
    u8 *file;
    size_t n = webp_of(&m, &file);
    assert_int_equal(load(file, n, &got), 0);
    assert_same_picture(&got, &m);
    struct decoder d = { .a = mem };
    struct image_info info;
    struct window w = { 5, 7, 11, 9 };
    assert_int_equal(image_peek(file, n, true, &info), 0);
    assert_int_equal(info.kind, IMAGE_WEBP);
    assert_int_equal(image_decode(&d, file, n, &info, &w, 0, &part), 0);
    for (int y = 0; y < 9; y++)
        assert_memory_equal(part.rgb + 33 * y, m.rgb + 3 * ((7 + y) * 37 + 5), 33);
    for (size_t cut = 1; cut < n; cut += 1 + n / 50)
        if (!load(file, cut, &got))
            fail_msg("a WebP cut at %zu of %zu is accepted", cut, n);
    WebPFree(file);
}

static u8 *chunk(u8 *to, const char *type, const void *body, u32 n)
{
    memcpy(to, type, 4);
    memcpy(to + 4, &n, 4);
    memcpy(to + 8, body, n);
    return to + 8 + n + (n & 1);
}

/* The orientation of an extended file is applied; an animation is refused by name. */
static void reads_extended_webp(void **state)
{
    (void)state;
    struct image m = picture(20, 10, 6), got;
    u8 *file, *x = arena_bytes(mem, 1 << 16, 1), head[10] = { 0 }, *end;
    const u8 exif[] = "II*\0\10\0\0\0\1\0\x12\1\3\0\1\0\0\0\3\0\0\0\0\0\0";
    size_t n = webp_of(&m, &file);
    head[0] = 8;                                  /* has EXIF */
    head[4] = 19;
    head[7] = 9;
    memcpy(x, "RIFF\0\0\0\0WEBP", 12);
    end = chunk(x + 12, "VP8X", head, sizeof head);
    memcpy(end, file + 12, n - 12);
    end = chunk(end + n - 12, "EXIF", exif, sizeof exif - 1);
    u32 size = (u32)(end - x - 8);
    memcpy(x + 4, &size, 4);
    assert_int_equal(load(x, (size_t)(end - x), &got), 0);
    assert_int_equal(got.w, 20);
    for (int i = 0; i < 200; i++)                 /* rotated by half a circle */
        assert_memory_equal(got.rgb + 3 * i, m.rgb + 3 * (199 - i), 3);
    x[20] |= 2;
    assert_int_equal(load(x, (size_t)(end - x), &got), -1);
    assert_failed(FAULT_DATA, "an animated WebP, which is not read");
    WebPFree(file);
}

/* ---- BMP ----------------------------------------------------------------------------------------------- */

static void put(u8 *p, u32 v, int bytes)
{
    for (int i = 0; i < bytes; i++)
        p[i] = (u8)(v >> 8 * i);
}

/* A head of 54 bytes, extra more (palette or masks), rows of `stride` bytes. */
static u8 *bmp(int w, int h, int bits, u32 compression, int extra, int *stride, size_t *n)
{
    int rows = h < 0 ? -h : h;
    *stride = (w * bits + 31) / 32 * 4;
    *n = (size_t)(54 + extra + rows * *stride);
    u8 *p = arena_bytes(mem, *n, 1);
    memcpy(p, "BM", 2);
    put(p + 10, (u32)(54 + extra), 4);
    put(p + 14, 40, 4);
    put(p + 18, (u32)w, 4);
    put(p + 22, (u32)h, 4);
    put(p + 26, 1, 2);
    put(p + 28, (u32)bits, 2);
    put(p + 30, compression, 4);
    return p;
}

static const u8 *pixel(const struct image *m, int x, int y) { return m->rgb + 3 * (y * m->w + x); }

static void reads_true_colour(void **state)
{
    (void)state;
    struct image m = picture(7, 5, 1), got;
    int stride;
    size_t n;
    for (int way = 0; way < 4; way++) {           /* 24 and 32 bits, from the bottom and from the top */
        int bits = way & 1 ? 32 : 24;
        u8 *p = bmp(7, way & 2 ? -5 : 5, bits, 0, 0, &stride, &n);
        for (int y = 0; y < 5; y++)
            for (int x = 0; x < 7; x++)
                for (int c = 0; c < 3; c++)
                    p[54 + stride * (way & 2 ? y : 4 - y) + x * bits / 8 + c] = pixel(&m, x, y)[2 - c];
        assert_int_equal(load(p, n, &got), 0);
        assert_same_picture(&got, &m);
        assert_int_equal(load(p, n - 1, &got), -1);
        assert_failed(FAULT_DATA, "damaged BMP: the file ends early");
    }
}

static void reads_masks(void **state)
{
    (void)state;
    struct image got;
    int stride;
    size_t n;
    u8 *p = bmp(2, 1, 16, 3, 12, &stride, &n);
    put(p + 54, 0xF800, 4);
    put(p + 58, 0x07E0, 4);
    put(p + 62, 0x001F, 4);
    put(p + 66, 0xF800 | 31 << 5, 2);             /* full red, 31 of 63 green, no blue */
    put(p + 68, 0x001F, 2);
    assert_int_equal(load(p, n, &got), 0);
    assert_memory_equal(got.rgb, ((u8[]){ 255, 125, 0, 0, 0, 255 }), 6);
    put(p + 58, 0, 4);
    assert_int_equal(load(p, n, &got), -1);
    assert_failed(FAULT_DATA, "an empty channel mask");
    p = bmp(1, 1, 16, 0, 0, &stride, &n);         /* without masks: five bits each */
    put(p + 54, 31 << 10 | 1, 2);
    assert_int_equal(load(p, n, &got), 0);
    assert_memory_equal(got.rgb, ((u8[]){ 255, 0, 8 }), 3);
}

static void reads_palettes(void **state)
{
    (void)state;
    struct image got;
    int stride;
    size_t n;
    for (int bits = 1; bits <= 8; bits = bits == 1 ? 4 : 2 * bits) {
        int colors = bits == 8 ? 3 : 2;           /* fewer than the bits could name */
        u8 *p = bmp(9, 2, bits, 0, 4 * colors, &stride, &n);
        put(p + 46, (u32)colors, 4);
        for (int c = 0; c < colors; c++)
            put(p + 54 + 4 * c, 0x102030u * (u32)(c + 1), 4);
        for (int x = 0; x < 9; x++)               /* the lower row: 0 1 0 1 ..., the upper one stays 0 */
            p[54 + 4 * colors + x * bits / 8] |= (u8)((x & 1) << (8 - bits - x * bits % 8));
        assert_int_equal(load(p, n, &got), 0);
        for (int x = 0; x < 9; x++) {
            const u8 *first = (u8[]){ 0x10, 0x20, 0x30 }, *second = (u8[]){ 0x20, 0x40, 0x60 };
            assert_memory_equal(pixel(&got, x, 0), first, 3);
            assert_memory_equal(pixel(&got, x, 1), x & 1 ? second : first, 3);
        }
    }
}

static void refuses_odd_bitmaps(void **state)
{
    (void)state;
    struct image got;
    int stride;
    size_t n;
    u8 *p = bmp(4, 4, 8, 1, 1024, &stride, &n);
    assert_int_equal(load(p, n, &got), -1);
    assert_failed(FAULT_DATA, "run-length encoded");
    put(p + 30, 4, 4);
    assert_int_equal(load(p, n, &got), -1);
    assert_failed(FAULT_DATA, "compression 4");
    put(p + 30, 0, 4);
    assert_int_equal(load(p, 200, &got), -1);
    assert_failed(FAULT_DATA, "ends in its palette");
    put(p + 28, 7, 2);
    assert_int_equal(load(p, n, &got), -1);
    assert_failed(FAULT_DATA, "7 bits");
    put(p + 22, 0x80000000u, 4);
    assert_int_equal(load(p, n, &got), -1);
    assert_failed(FAULT_DATA, "no pixels");
    for (size_t cut = 14; cut < 54; cut++)
        assert_int_equal(load(p, cut, &got), -1);
    write_text(at("note.txt"), "BMW is a maker of cars");
    assert_int_equal(image_kind_of((const u8 *)"BMW is a maker of cars", 16), IMAGE_UNKNOWN);
    assert_int_equal(load("II*\0\10\0\0\0", 8, &got), -1);
    assert_failed(FAULT_DATA, "a TIFF image");
}

/* ---- folders ------------------------------------------------------------------------------------------- */

static void says_what_it_passes_over(void **state)
{
    (void)state;
    struct image m = picture(9, 9, 1);
    u8 *file;
    size_t n = webp_of(&m, &file);
    struct data_options o = { .set = "folder", .root = at("p"), .split = "test", .image = 8, .batch = 4 };
    write_file(at("p/test/cat/a.webp"), file, n);
    write_file(at("p/test/dog/nameless"), file, n);
    write_text(at("p/test/dog/b.tif"), "II*");
    write_text(at("p/test/dog/c.TIF"), "II*");
    write_text(at("p/test/dog/.DS_Store"), "x");
    write_text(at("p/test/notes.txt"), "x");
    write_file(at("p/test/__MACOSX/cat/a.webp"), file, n);
    write_file(at("p/test/dog/@eaDir/t.webp"), file, n);
    at("p/test/none/x");
    say_setup((struct say_options){ .level = SAY_QUIET });
    dataset *d = data_open(&o);
    assert_non_null(d);
    assert_int_equal(data_count(d), 2);
    assert_int_equal(data_classes(d), 2);
    assert_string_equal(data_passed_over(mem, d), "1 .txt, 2 .tif, 1 hidden file or folder, "
                        "2 folders of thumbnails or archivers; classes without a file: none");
    data_close(d);
    WebPFree(file);
}

/* ---- classes by name ----------------------------------------------------------------------------------- */

static void follows_names(void **state)
{
    (void)state;
    struct image m = picture(9, 9, 1);
    struct data_options o = { .set = "folder", .root = at("n"), .split = "test", .image = 8, .batch = 4 };
    write_jpeg(at("n/test/ape/a.jpg"), &m, (struct jpeg_how){ 0 });
    write_jpeg(at("n/test/n01440764/a.jpg"), &m, (struct jpeg_how){ 0 });
    dataset *d = data_open(&o);
    assert_non_null(d);
    assert_int_equal(data_follow(d, (const char *const[]){ "zebra", "tench", "ape" }, 3, "the model"), 0);
    assert_int_equal(data_classes(d), 3);
    assert_int_equal(data_label(d, 0), 2);        /* ape */
    assert_int_equal(data_label(d, 1), 1);        /* by its WordNet number */
    assert_int_equal(data_follow(d, (const char *const[]){ "apes", "tench" }, 2, "the model"), -1);
    assert_failed(FAULT_DATA, "1 of its 3 classes is not among those of the model: ape (did you mean 'apes'?); "
                  "the model has 2: apes, tench");
    data_close(d);
    const char *const *wnid = imagenet_names(mem, true), *const *name = imagenet_names(mem, false);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(class_find(name, 1000, wnid[i]), i);
        assert_int_equal(class_find(wnid, 1000, name[i]), i);
    }
    assert_string_equal(name[0], "tench");
    assert_string_equal(name[999], "toilet tissue");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, memory_open, memory_close)
    const struct CMUnitTest tests[] = {
        TEST(reads_webp),     TEST(reads_extended_webp),      TEST(reads_true_colour), TEST(reads_masks),
        TEST(reads_palettes), TEST(refuses_odd_bitmaps),      TEST(says_what_it_passes_over),
        TEST(follows_names),
    };
    return cmocka_run_group_tests(tests, NULL, scratch_close);
}
