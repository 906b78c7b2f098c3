/* test_data_verify.c: verify, stats, sheet and fetch. Archives are made with tar. */
#include "data_help.h"
#include "data/verify.h"

static int shell(const char *fmt, ...) PRINTF(1, 2);
static int shell(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int rc = system(arena_vprintf(mem, fmt, ap));
    va_end(ap);
    return rc;
}

static void jpegs(const char *folder, int n, u32 seed)
{
    for (int i = 0; i < n; i++) {
        struct image m = picture(24 + i, 20, seed + (u32)i);
        write_jpeg(at("%s/%d.jpg", folder, i), &m, (struct jpeg_how){ 0 });
    }
}

static void verifies(void **state)
{
    (void)state;
    struct verify_report r;
    struct data_options o = { .set = "folder", .root = at("v"), .workers = 3 };
    jpegs("v/train/a", 30, 0);
    jpegs("v/train/b", 20, 100);
    jpegs("v/test/a", 5, 200);
    jpegs("v/test/b", 5, 300);
    assert_int_equal(data_verify(mem, &o, &r), 0);
    assert_int_equal(r.problems, 0);
    assert_int_equal(r.n_splits, 2);
    assert_int_equal(r.splits[1].images, 50);
    assert_int_equal(r.all_doubles, 0);
    assert_int_equal(shell("cp %s/v/train/a/7.jpg %s/v/test/b/copy.jpg", scratch(), scratch()), 0);
    assert_int_equal(truncate(at("v/train/b/3.jpg"), 300), 0);
    write_text(at("v/train/b/11.jpg"), "no");
    assert_int_equal(data_verify(mem, &o, &r), 0);
    assert_int_equal(r.problems, 2);
    assert_int_equal(r.splits[1].sweep.damaged, 2);
    assert_non_null(strstr(r.splits[1].sweep.messages[0], "train/b/11.jpg: not a JPEG"));
    assert_non_null(strstr(r.splits[1].sweep.messages[1], "train/b/3.jpg: damaged JPEG"));
    assert_int_equal(r.all_doubles, 1);
    assert_string_equal(r.doubles[0].a, "test/b/copy.jpg");
    assert_string_equal(r.doubles[0].b, "train/a/7.jpg");
    jpegs("v/val/c", 2, 1);
    assert_int_equal(data_verify(mem, &o, &r), 0);
    assert_int_equal(r.problems, 3);
    assert_non_null(strstr(r.splits[2].error, "1 of its 1 classes is not among those of train: c"));
}

/* Counts and checksums of the published set, on files that are not it. */
static void verifies_published(void **state)
{
    (void)state;
    struct verify_report r;
    struct data_options o = { .set = "cifar100", .root = at("pub"), .workers = 1 };
    u8 *p = arena_bytes(mem, 5 * 3074, 1);
    for (int i = 0; i < 5; i++)
        p[3074 * i + 1000] = (u8)i;
    write_file(at("pub/cifar-100-binary/train.bin"), p, 4 * 3074);
    write_file(at("pub/cifar-100-binary/test.bin"), p + 3 * 3074, 2 * 3074);
    char *names = arena_bytes(mem, 1024, 1);
    for (int i = 0; i < 100; i++)
        sprintf(names + strlen(names), "c%d\n", i);
    write_text(at("pub/cifar-100-binary/fine_label_names.txt"), names);
    assert_int_equal(data_verify(mem, &o, &r), 0);
    assert_int_equal(r.n_files, 2);
    assert_false(r.files[0].as_published);
    assert_int_equal(r.problems, 4);                         // two counts, two checksums
    assert_int_equal(r.splits[0].published, 50000);
    assert_int_equal(r.all_doubles, 1);
    assert_string_equal(r.doubles[0].a, "train.bin, byte 9224");
    o.set = "cifr100";
    assert_int_equal(data_verify(mem, &o, &r), -1);
    assert_failed(FAULT_USAGE, "did you mean 'cifar100'?");
}

static void measures(void **state)
{
    (void)state;
    struct stats_report r;
    struct data_options o = { .set = "folder", .root = at("s"), .split = "train", .workers = 2 };
    struct image m = { 0 };
    image_room(mem, &m, 2, 1);
    memcpy(m.rgb, (u8[]){ 10, 20, 30, 30, 20, 10 }, 6);
    write_png(at("s/train/a/1.png"), &m, PNG_COLOR_TYPE_RGB, 8, false, false);
    memcpy(m.rgb, (u8[]){ 50, 20, 0, 50, 20, 0 }, 6);
    write_png(at("s/train/a/2.png"), &m, PNG_COLOR_TYPE_RGB, 8, false, false);
    write_text(at("s/train/a/3.png"), "bad");
    assert_int_equal(data_stats(mem, &o, &r), 0);
    assert_int_equal(r.images, 3);
    assert_int_equal(r.sweep.damaged, 1);
    assert_int_equal(r.pixels, 4);
    assert_true(fabs(r.mean[0] - 35) < 1e-12 && r.mean[1] == 20 && fabs(r.mean[2] - 10) < 1e-12);
    assert_true(fabs(r.std[0] - sqrt((625 + 25 + 225 + 225) / 4.0)) < 1e-12 && r.std[1] == 0);
    assert_true(fabs(r.std_within[0] - 5) < 1e-12);
}

static void draws_sheets(void **state)
{
    (void)state;
    f32 images[3 * 3 * 4];
    for (int i = 0; i < 36; i++)
        images[i] = (f32)i / 10 - 1;
    struct image m = { 0 };
    assert_int_equal(sheet_draw(mem, images, 3, 2, 2, (f32[]){ 100, 100, 100 }, (f32[]){ 50, 50, 50 }, &m),
                     0);
    enum { SIDE = 2 + 96 + 2 + 96 + 2 };          // every pixel 48 times
    assert_int_equal(m.w, SIDE);
    assert_int_equal(m.h, SIDE);
    assert_int_equal(m.rgb[0], 235);
    assert_int_equal(m.rgb[(2 * SIDE + 2) * 3], 50);        // tile 0, pixel 0, red: -1 * 50 + 100
    assert_int_equal(m.rgb[(49 * SIDE + 49) * 3 + 1], 70);
    assert_int_equal(m.rgb[(100 * SIDE + 2) * 3], 170);     // tile 2 begins the second row: 24 / 10 - 1 = 1.4
    assert_int_equal(m.rgb[(195 * SIDE + 97) * 3 + 2], 225);        // its last pixel, blue: 35 / 10 - 1 = 2.5
    assert_int_equal(m.rgb[(196 * SIDE + 97) * 3 + 2], 235);
}

/* ---- fetch --------------------------------------------------------------------------------------------- */

#if defined HAVE_CURL && defined HAVE_ARCHIVE

static struct data_set toy(const char *archive, const char *sha256, const char *gives)
{
    return (struct data_set){ .name = "toy", .sources = { { archive, NULL, sha256, "toys", gives } } };
}

static const char *digest(const char *path)
{
    char *hex = arena_bytes(mem, 65, 1);
    assert_int_equal(file_digest(path, "sha256", hex), 0);
    return hex;
}

static void fetches(void **state)
{
    (void)state;
    const char *mirror = at("mirror/."), *root = at("got/x");
    root = at("got");
    write_text(at("src/images/one.txt"), "1");
    write_text(at("src/images/deep/two.txt"), "22");
    assert_int_equal(shell("tar -C %s/src -czf %s/mirror/toy.tar.gz images", scratch(), scratch()), 0);
    struct data_set k = toy("http://nowhere.invalid/toy.tar.gz", digest(at("mirror/toy.tar.gz")),
                            "toys/images");
    say_setup((struct say_options){ .level = SAY_QUIET });
    assert_int_equal(data_fetch(&k, root, mirror, false), 0);
    assert_true(file_exists(at("got/toys/images/deep/two.txt")));
    assert_false(file_exists(at("got/toy.tar.gz")));
    unlink(at("mirror/toy.tar.gz"));
    assert_int_equal(data_fetch(&k, root, mirror, false), 0);           // there already: nothing is asked for
    shell("rm -r %s/got/toys", scratch());
    assert_int_equal(data_fetch(&k, root, mirror, false), -1);
    assert_failed(FAULT_RUN, "run it again to continue");
}

/* A part of the file is there: only the rest comes. A wrong part is found out by the checksum, and all is
 * fetched again. */
static void resumes_a_download(void **state)
{
    (void)state;
    size_t n;
    const char *mirror = at("mirror2/."), *root = at("got2");
    write_text(at("got2/x"), "");
    write_text(at("src2/images/one.txt"), "1");
    assert_int_equal(shell("tar -C %s/src2 -czf %s/mirror2/toy.tar.gz images", scratch(), scratch()), 0);
    struct data_set k = toy("http://nowhere.invalid/toy.tar.gz", digest(at("mirror2/toy.tar.gz")),
                            "toys/images");
    char *bytes = file_text(mem, at("mirror2/toy.tar.gz"), &n);
    write_file(at("got2/toy.tar.gz.part"), bytes, n / 2);
    assert_int_equal(data_fetch(&k, root, mirror, true), 0);
    assert_string_equal(digest(at("got2/toy.tar.gz")), k.sources[0].sha256);
    shell("rm -r %s/got2/toys %s/got2/toy.tar.gz", scratch(), scratch());
    bytes[1] ^= 1;
    write_file(at("got2/toy.tar.gz.part"), bytes, n / 2);
    assert_int_equal(data_fetch(&k, root, mirror, true), -1);
    assert_failed(FAULT_DATA, "was published; removed");
    assert_false(file_exists(at("got2/toy.tar.gz.part")));
    assert_int_equal(data_fetch(&k, root, mirror, true), 0);
    write_file(at("got2/toy.tar.gz.part"), "complete", 8);
    assert_true(file_exists(at("got2/toys/images/one.txt")));
}

/* Archives with paths that leave their folder; nothing of them may remain. */
static void refuses_wicked_archives(void **state)
{
    (void)state;
    const char *mirror = at("wicked/."), *root = at("cage/x");
    root = at("cage");
    write_text(at("bad/images/one.txt"), "1");
    static const struct { const char *make, *says; } row[] = {
        { "tar -C %s/bad -P --transform 's,images/one.txt,../../../escaped,'"
          " -czf %s/wicked/toy.tar.gz images",
          "leads out of the folder" },
        { "tar -C %s/bad -P --transform 's,^images,/tmp/jetcl-escaped,' -czf %s/wicked/toy.tar.gz images",
          "leads out of the folder" },
        { "cd %s/bad && ln -sf /etc images/link && tar -czf %s/wicked/toy.tar.gz images; rm images/link",
          "is neither file nor folder" },
        { "cd %s/bad && ln -f images/one.txt images/two.txt &&"
          " tar -czf %s/wicked/toy.tar.gz images; rm images/two.txt",
          "is neither file nor folder" },
        { "cd %s/bad && mkfifo images/fifo && tar -czf %s/wicked/toy.tar.gz images; rm images/fifo",
          "is neither file nor folder" },
        { "cd %s/bad && head -c 200 /dev/urandom > %s/wicked/toy.tar.gz", "toy.tar.gz: " },
        { "cd %s/bad && mkdir -p other && echo 1 > other/x && tar -czf %s/wicked/toy.tar.gz other",
          "has no toys/images in it" },
    };
    for (int i = 0; i < countof(row); i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat-security"
        char command[1024];
        snprintf(command, sizeof command, row[i].make, scratch(), scratch());
#pragma GCC diagnostic pop
        assert_int_equal(system(command), 0);
        struct data_set k = toy("http://nowhere.invalid/toy.tar.gz", NULL, "toys/images");
        assert_int_equal(data_fetch(&k, root, mirror, false), -1);
        assert_failed(FAULT_DATA, row[i].says);
        assert_false(file_exists(at("cage/toys/images")) || file_exists("/tmp/jetcl-escaped")
                     || file_exists(at("escaped")) || file_exists(at("cage/escaped")));
        assert_int_equal(shell("test -z \"$(ls %s/cage | grep tmp)\"", scratch()), 0);
        shell("rm -rf %s/cage/*", scratch());
    }
}

static void wants_the_published_bytes(void **state)
{
    (void)state;
    const char *mirror = at("wrong/."), *root = at("wrong-got/x");
    root = at("wrong-got");
    write_text(at("wrong/batch.bin"), "not it");
    struct data_set k = { .name = "toy", .sources = { { "http://nowhere.invalid/batch.bin",
                                                        "0123456789abcdef0123456789abcdef", NULL, "",
                                                        "batch.bin" } } };
    assert_int_equal(data_fetch(&k, root, mirror, false), -1);
    assert_failed(FAULT_DATA, "its md5 is ");
    assert_false(file_exists(at("wrong-got/batch.bin")) || file_exists(at("wrong-got/batch.bin.part")));
    k.sources[0].md5 = NULL;
    assert_int_equal(data_fetch(&k, root, mirror, false), 0);
    assert_true(file_exists(at("wrong-got/batch.bin")));
    assert_int_equal(data_fetch(&folder_set, root, mirror, false), -1);
    assert_failed(FAULT_USAGE, "folder is not fetched");
}

#else
static void fetches(void **state) { (void)state; skip(); }
#define resumes_a_download fetches
#define refuses_wicked_archives fetches
#define wants_the_published_bytes fetches
#endif

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, memory_open, memory_close)
    const struct CMUnitTest tests[] = {
        TEST(verifies),
        TEST(verifies_published),
        TEST(measures),
        TEST(draws_sheets),
        TEST(fetches),
        TEST(resumes_a_download),
        TEST(refuses_wicked_archives),
        TEST(wants_the_published_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, scratch_close);
}
