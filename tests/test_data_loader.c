/* test_data_loader.c: sets, batches and faults on small folders that the tests write. */
#include "data_help.h"
#include <pthread.h>

/* A folder of `classes` classes with `each` pictures of mixed sizes and formats. */
static const char *folder(const char *name, int classes, int each)
{
    for (int c = 0; c < classes; c++)
        for (int i = 0; i < each; i++) {
            struct image m = picture(30 + 7 * i % 31, 25 + 5 * c % 23, (u32)(c * 100 + i));
            const char *path = at("%s/train/class%c/im %d.%s", name, 'a' + c, i, i % 3 == 2 ? "png" : "jpg");
            if (i % 3 == 2)
                write_png(path, &m, PNG_COLOR_TYPE_RGB, 8, false, false);
            else
                write_jpeg(path, &m, (struct jpeg_how){ .form = i % 2 ? JPEG_420 : JPEG_444 });
        }
    return at("%s", name);
}

static struct data_options options(const char *root, bool train)
{
    return (struct data_options){ .set = "folder", .root = root, .split = "train", .image = 24,
                                  .workers = 2, .batch = 5, .train = train,
        .seed = 7, .eval_short = 28, .exif = true,
        .augment = { 2, 9, 0.5, .erasing = 0.25, .mixup = 0.8, .cutmix = 1, .flip = true } };
}

/* Every byte of an epoch, folded. */
static u64 fold(u64 h, const void *p, size_t n)
{
    for (const u8 *b = p; n; n--)
        h = (h ^ *b++) * 0x100000001b3u;
    return h;
}

/* The whole batch as the network sees it. */
static const f32 *numbers(const struct batch *b)
{
    i64 size = 3 * b->h * b->w;
    f32 *x = arena_array(mem, f32, b->n * size);
    for (int k = 0; k < b->n; k++)
        batch_image(b, k, x + k * size);
    return x;
}

static u64 epoch_hash(const struct data_options *o, i64 epoch, i64 from, int hold)
{
    dataset *d = data_open(o);
    if (!d)
        fail_msg("%s", fail_message());
    loader *l = loader_open(d, o);
    const struct batch *held[2] = { 0 };
    u64 h = 0xcbf29ce484222325u;
    int k = 0;
    assert_non_null(l);
    loader_start(l, epoch, from);
    for (const struct batch *b; (b = loader_next(l)); k++) {
        h = fold(h, b->pixels, (size_t)b->n * 3 * (size_t)o->image * (size_t)o->image);
        h = fold(h, b->recipes, sizeof *b->recipes * (size_t)b->n);
        h = fold(h, b->values, sizeof *b->values);
        h = fold(h, numbers(b), sizeof(f32) * (size_t)b->n * 3 * (size_t)o->image * (size_t)o->image);
        h = fold(h, b->soft_labels, sizeof(f32) * (size_t)b->n * (size_t)data_classes(d));
        h = fold(h, b->labels, sizeof(i32) * (size_t)b->n);
        h = fold(h, b->index, sizeof(i64) * (size_t)b->n);
        if (held[k % hold])
            loader_release(l, held[k % hold]);
        held[k % hold] = b;
    }
    assert_int_equal(fail_fault(), FAULT_NONE);
    assert_int_equal(k, loader_batches(l) - from);
    loader_close(l);
    data_close(d);
    return h;
}

static void lists_a_folder(void **state)
{
    (void)state;
    struct data_options o = options(folder("list", 3, 4), false);
    dataset *d = data_open(&o);
    assert_non_null(d);
    assert_int_equal(data_count(d), 12);
    assert_int_equal(data_classes(d), 3);
    assert_string_equal(data_class_name(d, 1), "classb");
    assert_int_equal(data_label(d, 4), 1);
    char path[4096];
    assert_non_null(strstr(data_path(d, 4, path), "train/classb/im 0.jpg"));
    data_close(d);
}

/* The first few samples of a split, or evenly spaced ones. */
static void some_samples_only(void **state)
{
    (void)state;
    const i64 want[2][7] = { { 0, 1, 2, 3, 4, 5, 6 }, { 0, 1, 3, 5, 6, 8, 10 } };
    for (int spread = 0; spread < 2; spread++) {
        struct data_options o = options(folder("some", 3, 4), false);
        o.limit = 7;
        o.spread = spread;
        dataset *d = data_open(&o);
        loader *l = loader_open(d, &o);
        int n = 0;
        assert_int_equal(loader_batches(l), 2);
        loader_start(l, 0, 0);
        for (const struct batch *b; (b = loader_next(l)); loader_release(l, b))
            for (int i = 0; i < b->n; i++, n++)
                assert_int_equal(b->index[i], want[spread][n]);
        assert_int_equal(n, 7);
        loader_close(l);
        data_close(d);
    }
}

static void same_bytes_with_any_threads(void **state)
{
    (void)state;
    struct data_options o = options(folder("threads", 3, 9), true);
    for (int train = 0; train < 2; train++) {
        o.train = train;
        o.workers = 1;
        u64 h = epoch_hash(&o, 3, 0, 1);
        o.workers = 7;
        assert_int_equal(epoch_hash(&o, 3, 0, 2), h);
        o.keep_decoded = true;
        assert_int_equal(epoch_hash(&o, 3, 0, 2), h);
        o.keep_decoded = false;
        u64 other = epoch_hash(&o, 4, 0, 2);
        assert_true(train ? other != h : other == h);
    }
}

/* Starting at batch 2 gives batch 2 of the whole epoch; restarting in mid-flight works. */
static void resumes_mid_epoch(void **state)
{
    (void)state;
    struct data_options o = options(folder("resume", 3, 9), true);
    dataset *d = data_open(&o);
    loader *l = loader_open(d, &o);
    size_t n = (size_t)o.batch * 3 * 24 * 24;
    f32 *want = arena_array(mem, f32, n);
    loader_start(l, 1, 0);
    for (int k = 0; k < 3; k++) {
        const struct batch *b = loader_next(l);
        if (k == 2)
            memcpy(want, numbers(b), n * sizeof(f32));
        loader_release(l, b);
    }
    for (int again = 0; again < 20; again++) {
        loader_start(l, 1, again & 1 ? 2 : 0);
        const struct batch *b = loader_next(l);
        if (again & 1)
            assert_memory_equal(numbers(b), want, n * sizeof(f32));
        loader_release(l, b);
    }
    loader_close(l);
    data_close(d);
}

static void last_batch(void **state)
{
    (void)state;
    struct data_options o = options(folder("last", 2, 6), false);
    dataset *d = data_open(&o);
    loader *l = loader_open(d, &o);
    int seen = 0, sizes[3] = { 5, 5, 2 };
    assert_int_equal(loader_batches(l), 3);
    loader_start(l, 0, 0);
    for (const struct batch *b; (b = loader_next(l)); loader_release(l, b)) {
        assert_int_equal(b->n, sizes[seen / 5]);
        for (int k = 0; k < b->n; k++, seen++) {
            assert_int_equal(b->index[k], seen);
            assert_int_equal(b->labels[k], seen / 6);
            assert_true(b->soft_labels[2 * k + seen / 6] == 1);
        }
    }
    assert_int_equal(seen, 12);
    loader_close(l);
    o.train = true;
    l = loader_open(d, &o);
    assert_int_equal(loader_batches(l), 2);
    loader_close(l);
    o.batch = 13;
    assert_null(loader_open(d, &o));
    assert_failed(FAULT_USAGE, "larger than the whole split");
    data_close(d);
}

static void mixes_batches(void **state)
{
    (void)state;
    struct data_options o = options(folder("mix", 5, 4), true);
    dataset *d = data_open(&o);
    loader *l = loader_open(d, &o);
    int mixed = 0;
    for (int e = 0; e < 5; e++) {
        loader_start(l, e, 0);
        for (const struct batch *b; (b = loader_next(l)); loader_release(l, b))
            for (int k = 0; k < b->n; k++) {
                f64 sum = 0;
                for (int c = 0; c < 5; c++) {
                    f32 v = b->soft_labels[5 * k + c];
                    assert_true(v >= 0 && v <= 1);
                    sum += v;
                    mixed += v > 0 && v < 1;
                }
                assert_true(fabs(sum - 1) < 1e-6);
            }
    }
    assert_true(mixed > 50);
    loader_close(l);
    data_close(d);
}

/* All images of an epoch, one after the other. */
static f32 *epoch_images(const struct data_options *o, i64 epoch, int *n)
{
    dataset *d = data_open(o);
    loader *l = loader_open(d, o);
    size_t size = 3 * (size_t)o->image * (size_t)o->image;
    f32 *all = arena_array(mem, f32, size * (size_t)data_count(d));
    *n = 0;
    loader_start(l, epoch, 0);
    for (const struct batch *b; (b = loader_next(l)); loader_release(l, b)) {
        memcpy(all + size * (size_t)*n, numbers(b), size * sizeof(f32) * (size_t)b->n);
        *n += b->n;
    }
    assert_int_equal(fail_fault(), FAULT_NONE);
    loader_close(l);
    data_close(d);
    return all;
}

/* Pictures dark on the left, bright on the right: how the augmentations are spread. */
static struct data_options halves(int n)
{
    struct image m = { 0 };
    image_room(mem, &m, 32, 32);
    for (int i = 0; i < 32 * 32 * 3; i++)
        m.rgb[i] = i / 3 % 32 < 16 ? 40 : 200;
    for (int i = 0; i < n; i++)
        write_png(at("halves/train/a/%d.png", i), &m, PNG_COLOR_TYPE_RGB, 8, false, false);
    return (struct data_options){ .set = "folder", .root = at("halves"), .split = "train", .image = 32,
                                  .batch = 50, .workers = 2, .train = true,
                                  .keep_decoded = true, .has_mean = true, .has_std = true, .mean = { 0, 0, 0 },
                                  .std = { 1, 1, 1 },
                                  .augment.scale_min = 1 };
}

static void flips_half_of_them(void **state)
{
    (void)state;
    struct data_options o = halves(200);
    int n, flipped = 0;
    o.augment = (struct augment_options){ .flip = true, .pad = 4 };
    const f32 *x = epoch_images(&o, 0, &n);
    assert_int_equal(n, 200);
    for (int i = 0; i < n; i++)
        flipped += x[i * 3072 + 16 * 32 + 8] > x[i * 3072 + 16 * 32 + 23];
    assert_true(flipped > 70 && flipped < 130);
}

/* pad: a shift of -4..4 in both directions, black outside. */
static void pads_and_crops(void **state)
{
    (void)state;
    struct data_options o = halves(200);
    int n, edges[9] = { 0 };
    o.augment = (struct augment_options){ .pad = 4 };
    o.eval_short = 36;                                        // is evaluation's alone
    const f32 *x = epoch_images(&o, 0, &n);
    for (int i = 0; i < n; i++) {
        const f32 *row = x + i * 3072 + 16 * 32;
        int edge = 0;
        while (row[edge] < 200)
            edge++;
        assert_true(edge >= 12 && edge <= 20);
        edges[edge - 12]++;
        for (int k = 0; k < 32; k++)
            assert_true(row[k] == (k < edge - 16 || k >= edge + 16 ? 0 : k < edge ? 40 : 200));
    }
    for (int k = 0; k < 9; k++)
        assert_true(edges[k] > 5 && edges[k] < 50);
}

static void erases_some_of_them(void **state)
{
    (void)state;
    struct data_options o = halves(200);
    int n, erased = 0, pixels = 0;
    o.augment = (struct augment_options){ .pad = 1, .erasing = 0.25 };
    for (int c = 0; c < 3; c++) {
        o.mean[c] = 128;
        o.std[c] = 32;
    }
    const f32 *x = epoch_images(&o, 0, &n);
    for (int i = 0; i < n; i++) {
        int here = 0;
        for (int k = 0; k < 1024; k++) {
            f32 v = x[i * 3072 + k] * 32 + 128;
            here += v != 0 && v != 40 && v != 200;
        }
        erased += here > 0;
        pixels += here;
    }
    assert_true(erased > 30 && erased < 70);
    assert_true(pixels > erased * 1024 / 10 && pixels < erased * 1024 / 4);      // 2 % to a third of the area
}

/* Decoding at half size is close to decoding in full, and used only where it leaves enough. */
static void fast_decoding_is_close(void **state)
{
    (void)state;
    for (int i = 0; i < 6; i++) {
        struct image m = picture(400 + 13 * i, 300 + 31 * i, (u32)i), soft = { 0 };
        image_resize(mem, &m, FILTER_BILINEAR, 12, 10, &soft);                        // nothing fine
        image_resize(mem, &soft, FILTER_BICUBIC, m.w, m.h, &m);
        write_jpeg(at("fast/train/a/%d.jpg", i), &m,
                   (struct jpeg_how){ .form = JPEG_420, .orientation = 1 + i });
    }
    struct data_options o = { .set = "folder",
                              .root = at("fast"),
                              .split = "train",
                              .image = 48,
                              .batch = 6,
                              .workers = 1,
                              .train = true,
                              .exif = true,
                              .has_mean = true, .has_std = true, .mean = { 0, 0, 0 },
                              .std = { 1, 1, 1 },
                              .augment.scale_min = 0.3 };
    int n, differ = 0;
    for (int epoch = 0; epoch < 4; epoch++) {
        o.fast_decode = false;
        const f32 *full = epoch_images(&o, epoch, &n);
        o.fast_decode = true;
        const f32 *fast = epoch_images(&o, epoch, &n);
        f64 sum = 0;
        for (int i = 0; i < n * 3 * 48 * 48; i++) {
            sum += fabs(full[i] - fast[i]);
            differ += full[i] != fast[i];
        }
        assert_true(sum / (n * 3 * 48 * 48) < 1.5);
    }
    assert_true(differ > 1000);
}

/* ---- faults -------------------------------------------------------------------------------------------- */

/* Of two damaged ones the first is named, whichever thread finds its own sooner. */
static void names_the_first_damaged_file(void **state)
{
    (void)state;
    struct image m = picture(3000, 2000, 1);
    size_t n;
    const char *slow = at("two/train/a/1.jpg");
    write_png(slow, &m, PNG_COLOR_TYPE_RGB, 8, false, false);
    const char *text = file_text(mem, slow, &n);
    write_file(slow, text, n - 100);                       // decoded nearly to its end
    write_text(at("two/train/a/2.jpg"), "\xff\xd8\xff\xe0garbage");
    struct data_options o = options(at("two"), false);
    o.batch = 2;
    dataset *d = data_open(&o);
    loader *l = loader_open(d, &o);
    loader_start(l, 0, 0);
    assert_null(loader_next(l));
    assert_failed(FAULT_DATA, "train/a/1.jpg: ");
    loader_close(l);
    data_close(d);
}

static void names_a_damaged_file(void **state)
{
    (void)state;
    const char *root = folder("damaged", 2, 6);
    write_text(at("damaged/train/classb/im 1.jpg"), "\xff\xd8\xff\xe0garbage");
    struct data_options o = options(root, false);
    dataset *d = data_open(&o);
    loader *l = loader_open(d, &o);
    loader_start(l, 0, 0);
    const struct batch *b = loader_next(l);
    assert_non_null(b);
    loader_release(l, b);
    assert_null(loader_next(l));
    assert_failed(FAULT_DATA, "train/classb/im 1.jpg: damaged JPEG");
    loader_close(l);
    o.skip_errors = true;
    l = loader_open(d, &o);
    for (int twice = 0; twice < 2; twice++) {
        int n = 0;
        loader_start(l, twice, 0);
        for (; (b = loader_next(l)); loader_release(l, b))
            n += b->n;
        assert_int_equal(n, 11);
    }
    const char *const *messages;
    assert_int_equal(loader_skipped(l, &messages), 1);
    assert_non_null(strstr(messages[0], "im 1.jpg"));
    loader_close(l);
    o.train = true;
    l = loader_open(d, &o);
    loader_start(l, 0, 0);
    for (int k = 0; k < 2; k++) {
        assert_non_null(b = loader_next(l));
        assert_int_equal(b->n, 5);
        for (int i = 0; i < 5; i++)
            assert_int_not_equal(b->index[i], 7);
        loader_release(l, b);
    }
    assert_null(loader_next(l));
    loader_close(l);
    data_close(d);
}

static void a_file_vanishes(void **state)
{
    (void)state;
    struct data_options o = options(folder("vanish", 2, 4), false);
    dataset *d = data_open(&o);
    loader *l = loader_open(d, &o);
    unlink(at("vanish/train/classa/im 2.png"));
    loader_start(l, 0, 0);
    assert_null(loader_next(l));
    assert_failed(FAULT_DATA, "im 2.png: No such file");
    loader_close(l);
    data_close(d);
}

static void refuses_odd_folders(void **state)
{
    (void)state;
    struct data_options o = options(at("nothing-here"), true);
    assert_null(data_open(&o));
    assert_failed(FAULT_DATA, "nothing-here: No such file");
    o.root = folder("odd", 2, 2);
    o.split = "val";
    assert_null(data_open(&o));
    assert_failed(FAULT_DATA, "odd: no split 'val' there");
    at("odd/val/classz/x");
    assert_null(data_open(&o));
    assert_failed(FAULT_DATA, "no class folders");
    o.split = "empty";
    at("odd/empty/x");
    assert_null(data_open(&o));
    assert_failed(FAULT_DATA, "odd/empty: no class folders with images in it (images belong");
    write_text(at("odd/empty/x.txt"), "not a picture");
    assert_null(data_open(&o));
    assert_failed(FAULT_DATA, "odd/empty: no class folders with images in it (images belong");
    write_text(at("odd/empty/x.jpg"), "a picture by its name");
    assert_null(data_open(&o));
    assert_failed(FAULT_DATA, "no class folders with images in it, but images themselves (images belong");
    o.split = "train";
    at("odd/train/nobody/x");
    dataset *d = data_open(&o);
    assert_int_equal(data_classes(d), 2);
    assert_string_equal(data_passed_over(mem, d), "classes without a file: nobody");
    data_close(d);
    static const char *const left[] = { "__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "lost+found",
                                        "System Volume Information" };
    for (int i = 0; i < countof(left); i++)
        write_text(at("odd/train/%s/x.jpg", left[i]), "not a picture of a class");
    d = data_open(&o);
    assert_int_equal(data_classes(d), 2);
    assert_string_equal(data_passed_over(mem, d),
                        "6 folders of thumbnails or archivers; classes without a file: nobody");
    data_close(d);
    for (int i = 0; i < countof(left); i++) {
        remove(at("odd/train/%s/x.jpg", left[i]));
        rmdir(at("odd/train/%s", left[i]));
    }
    write_text(at("odd/train/nobody/x.tif"), "II*");
    write_text(at("odd/train/nobody/y.TIF"), "II*");
    assert_null(data_open(&o));
    assert_failed(FAULT_DATA,
                  "odd/train/nobody: no image in it that can be read, but 2 .tif (JPEG, PNG, GIF, WebP");
    o.set = "foldr";
    assert_null(data_open(&o));
    assert_failed(FAULT_USAGE, "did you mean 'folder'?");
}

/* A class that data.classes names must be the model's, also where this split has no image of it. */
static void chosen_classes_must_be_known(void **state)
{
    (void)state;
    static const char *const only[] = { "classa", "classz" }, *const model[] = { "classa", "classb" };
    struct data_options o = options(folder("chosen", 2, 2), false);
    dataset *d = data_open(&o);
    assert_int_equal(data_follow(d, model, 2, "train"), 0);
    data_close(d);
    o.only = only;
    o.n_only = 2;
    d = data_open(&o);
    assert_non_null(d);
    assert_int_equal(data_follow(d, model, 2, "train"), -1);
    assert_non_null(strstr(fail_message(), "1 of its 2 classes is not among those of train: classz"));
    data_close(d);
}

/* Of 32 files every second is looked for, so that a part that is missing shows wherever it is. */
static void index_of_many(void **state)
{
    (void)state;
    struct data_options o = { .set = "folder", .root = at("many"), .split = "train", .image = 8 };
    u64 bytes;
    for (int i = 0; i < 32; i++)
        write_text(at("many/train/a/%02d.png", i), "opened by none");
    data_take_index(&o, data_index(mem, &o, &bytes));
    unlink(at("many/train/a/29.png"));
    dataset *d = data_open(&o);
    assert_non_null(d);
    data_close(d);
    unlink(at("many/train/a/30.png"));
    assert_null(data_open(&o));
    assert_failed(FAULT_DATA, "many/train/a/30.png: No such file or directory, but rank 0 has it");
}

static void takes_any_name(void **state)
{
    (void)state;
    struct image m = picture(20, 20, 1);
    static const char *const names[] = { "with space.jpg", "quote'\".JPEG", "new\nline.jpg", "\xff\xfe.jpg",
                                         "no-suffix",      "lies.png",      ".hidden.jpg" };
    for (int i = 0; i < countof(names); i++)
        write_jpeg(at("names/train/a\nb\xff/%s", names[i]), &m, (struct jpeg_how){ 0 });
    write_text(at("names/train/a\nb\xff/notes.txt"), "not a picture");
    assert_int_equal(symlink("..", at("names/train/a\nb\xff/up")), 0);
    assert_int_equal(symlink("gone", at("names/train/a\nb\xff/broken.jpg")), 0);
    assert_int_equal(mkfifo(at("names/train/a\nb\xff/fifo.jpg"), 0600), 0);
    write_jpeg(at("names/train/a\nb\xff/deep/er/one.jpg"), &m, (struct jpeg_how){ 0 });
    struct data_options o = options(at("names"), false);
    say_setup((struct say_options){ .level = SAY_QUIET });
    dataset *d = data_open(&o);
    assert_non_null(d);
    assert_int_equal(data_count(d), 7);                    // "up" leads back here
    assert_string_equal(data_class_name(d, 0), "a\\nb\\xff");
    loader *l = loader_open(d, &o);
    loader_start(l, 0, 0);
    int n = 0;
    for (const struct batch *b; (b = loader_next(l)); loader_release(l, b))
        n += b->n;
    assert_int_equal(n, 7);
    loader_close(l);
    data_close(d);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, memory_open, memory_close)
    const struct CMUnitTest tests[] = {
        TEST(lists_a_folder),         TEST(same_bytes_with_any_threads),
        TEST(resumes_mid_epoch),      TEST(last_batch),
        TEST(mixes_batches),          TEST(flips_half_of_them),
        TEST(pads_and_crops),         TEST(erases_some_of_them),
        TEST(fast_decoding_is_close), TEST(some_samples_only),
        TEST(names_the_first_damaged_file), TEST(names_a_damaged_file),   TEST(a_file_vanishes),
        TEST(index_of_many),
        TEST(chosen_classes_must_be_known), TEST(refuses_odd_folders),    TEST(takes_any_name),
    };
    return cmocka_run_group_tests(tests, NULL, scratch_close);
}
