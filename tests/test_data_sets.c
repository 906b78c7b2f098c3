/* test_data_sets.c: every data set on a small imitation in its exact on-disk form, traps included. */
#include "data_help.h"
#include <zlib.h>

static dataset *opened(const char *set, const char *root, const char *split)
{
    struct data_options o = { .set = set, .root = root, .split = split, .image = 16, .batch = 1 };
    fail_clear();
    return data_open(&o);
}

static dataset *must_open(const char *set, const char *root, const char *split)
{
    dataset *d = opened(set, root, split);
    if (!d)
        fail_msg("%s %s: %s", set, split, fail_message());
    return d;
}

static void refused(const char *set, const char *root, const char *split, int fault, const char *says)
{
    assert_null(opened(set, root, split));
    assert_failed(fault, says);
}

static void expect(dataset *d, int n, int classes, const i32 *labels)
{
    assert_int_equal(data_count(d), n);
    assert_int_equal(data_classes(d), classes);
    for (int i = 0; i < n; i++)
        if (data_label(d, i) != labels[i])
            fail_msg("label %d is %d, not %d", i, data_label(d, i), labels[i]);
}

static const char *path_of(dataset *d, int i)
{
    char *path = arena_bytes(mem, 4096, 1);
    return data_path(d, i, path) + strlen(scratch()) + 1;
}

/* Sample i through a loader, as bytes again. Evaluation at the stored size: no scaling. */
static u8 *pixels(const char *set, const char *root, const char *split, int side, int i)
{
    struct data_options o = { .set = set,
                              .root = root,
                              .split = split,
                              .image = side,
                              .batch = 1,
                              .workers = 1,
                              .has_mean = true, .has_std = true, .mean = { 0, 0, 0 },
                              .std = { 1, 1, 1 } };
    dataset *d = data_open(&o);
    loader *l = loader_open(d, &o);
    loader_start(l, 0, i);
    const struct batch *b = loader_next(l);
    if (!b)
        fail_msg("%s", fail_message());
    u8 *rgb = arena_bytes(mem, (size_t)side * (size_t)side * 3, 1);
    memcpy(rgb, b->pixels, (size_t)side * (size_t)side * 3);
    loader_release(l, b);
    loader_close(l);
    data_close(d);
    return rgb;
}

static char *lines(int n, const char *fmt)
{
    char *text = arena_bytes(mem, (size_t)n * 32 + 1, 1);
    for (int i = 0; i < n; i++)
        sprintf(text + strlen(text), fmt, i);
    return text;
}

/* ---- CIFAR --------------------------------------------------------------------------------------------- */

static u8 cifar_byte(int record, int k) { return (u8)(record * 31 + k * 7 + k / 32 * 3 + k / 1024 * 50); }

static void write_records(const char *path, int n, int labels, int first)
{
    u8 *p = arena_bytes(mem, (size_t)n * (size_t)(labels + 3072), 1);
    for (int i = 0; i < n; i++) {
        u8 *r = p + (size_t)i * (size_t)(labels + 3072);
        r[0] = (u8)((first + i) % 10);                        // CIFAR-100: the coarse label, to be ignored
        if (labels == 2)
            r[1] = (u8)((first + i) * 13 % 100);
        for (int k = 0; k < 3072; k++)
            r[labels + k] = cifar_byte(first + i, k);
    }
    write_file(path, p, (size_t)n * (size_t)(labels + 3072));
}

static void check_cifar_pixels(const u8 *rgb, int record)
{
    for (int k = 0; k < 1024; k++)
        for (int c = 0; c < 3; c++)
            assert_int_equal(rgb[3 * k + c], cifar_byte(record, c * 1024 + k));
}

static void cifar10(void **state)
{
    (void)state;
    for (int k = 0; k < 5; k++)
        write_records(at("c10/cifar-10-batches-bin/data_batch_%d.bin", k + 1), 2, 1, 2 * k);
    write_records(at("c10/cifar-10-batches-bin/test_batch.bin"), 3, 1, 4);
    write_text(at("c10/cifar-10-batches-bin/batches.meta.txt"),
               "airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n");
    dataset *d = must_open("cifar10", at("c10"), "train");
    expect(d, 10, 10, (i32[]){ 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 });
    assert_string_equal(data_class_name(d, 9), "truck");
    assert_string_equal(path_of(d, 3), "c10/cifar-10-batches-bin/data_batch_2.bin, byte 3074");
    data_close(d);
    d = must_open("cifar10", at("c10"), "test");
    expect(d, 3, 10, (i32[]){ 4, 5, 6 });
    data_close(d);
    check_cifar_pixels(pixels("cifar10", at("c10"), "train", 32, 7), 7);
    struct data_options some = { .set = "cifar10",
                                 .root = at("c10"),
                                 .split = "train",
                                 .only = (const char *const[]){ "truck", "cat" },
                                 .n_only = 2 };
    d = data_open(&some);
    expect(d, 2, 2, (i32[]){ 1, 0 });
    assert_string_equal(path_of(d, 1), "c10/cifar-10-batches-bin/data_batch_5.bin, byte 3074");
    data_close(d);
    some.only = (const char *const[]){ "truck", "truck" };
    assert_null(data_open(&some));
    assert_failed(FAULT_USAGE, "data.classes: 'truck' is named twice");
    some.only = (const char *const[]){ "truk" };
    some.n_only = 1;
    assert_null(data_open(&some));
    assert_failed(FAULT_USAGE, "no class 'truk' (did you mean 'truck'?)");
    // the layout's own folder as root
    data_close(must_open("cifar10", at("c10/cifar-10-batches-bin"), "test"));
    refused("cifar10", at("c10"), "val", FAULT_USAGE, "has no split 'val'; it has train, test");
    assert_int_equal(truncate(at("c10/cifar-10-batches-bin/data_batch_3.bin"), 6000), 0);
    refused("cifar10", at("c10"), "train", FAULT_DATA,
            "data_batch_3.bin: 6000 bytes are not a multiple of the record size 3073");
    write_records(at("c10/cifar-10-batches-bin/data_batch_3.bin"), 2, 2, 0);
    assert_int_equal(truncate(at("c10/cifar-10-batches-bin/data_batch_3.bin"), 2 * 3073), 0);
    refused("cifar10", at("c10"), "train", FAULT_DATA, "data_batch_3.bin: label ");
    unlink(at("c10/cifar-10-batches-bin/data_batch_5.bin"));
    write_records(at("c10/cifar-10-batches-bin/data_batch_3.bin"), 2, 1, 0);
    refused("cifar10", at("c10"), "train", FAULT_DATA, "data_batch_5.bin: No such file");
    write_text(at("pickled/cifar-10-batches-py/data_batch_1"), "\x80\x02");
    refused("cifar10", at("pickled"), "train", FAULT_DATA, "pickled form");
    refused(
        "cifar10", at("nowhere/."), "train", FAULT_DATA,
        "no cifar10 there (no cifar-10-batches-bin/data_batch_1.bin); get it with: jetcl data fetch cifar10");
}

/* The released configuration erases with the means in reversed order, on CIFAR alone. */
static void cifar_fill(void **state)
{
    (void)state;
    u8 *black = arena_bytes(mem, 64 * 3073, 1);
    write_file(at("fill/cifar10/test_batch.bin"), black, 64 * 3073);
    write_text(at("fill/cifar10/batches.meta.txt"), lines(10, "c%d\n"));
    struct data_options o = { .set = "cifar10",
                              .root = at("fill"),
                              .split = "test",
                              .image = 32,
                              .batch = 64,
                              .train = true,
                              .augment = { .pad = 1, .erasing = 1 } };
    for (int released = 0; released < 2; released++) {
        f64 sum[3] = { 0 }, n = 0;
        o.released = released;
        dataset *d = data_open(&o);
        loader *l = loader_open(d, &o);
        loader_start(l, 0, 0);
        const struct batch *b = loader_next(l);
        f32 mean[3], std[3];
        data_mean_std(d, mean, std);
        for (int i = 0; i < 64; i++) {
            f32 x[3 * 1024];
            batch_image(b, i, x);
            for (int k = 0; k < 1024; k++) {
                f64 v[3];
                for (int c = 0; c < 3; c++)
                    v[c] = x[c * 1024 + k] * std[c] + mean[c];
                if (v[0] + v[1] + v[2] < 0.5)
                    continue;
                n++;
                for (int c = 0; c < 3; c++)
                    sum[c] += v[c];
            }
        }
        f64 red = sum[0] / n, blue = sum[2] / n;
        assert_true(n > 3000 && fabs((released ? blue - red : red - blue) - (125.3 - 113.9)) < 5);
        loader_release(l, b);
        loader_close(l);
        data_close(d);
    }
}

static void cifar100(void **state)
{
    (void)state;
    write_records(at("c100/cifar100/train.bin"), 4, 2, 0);
    write_records(at("c100/cifar100/test.bin"), 2, 2, 9);
    write_text(at("c100/cifar100/fine_label_names.txt"), lines(100, "fine%02d\n"));
    write_text(at("c100/cifar100/coarse_label_names.txt"), lines(20, "coarse%d\n"));
    dataset *d = must_open("cifar100", at("c100"), "train");
    expect(d, 4, 100, (i32[]){ 0, 13, 26, 39 });
    assert_string_equal(data_class_name(d, 99), "fine99");
    f32 mean[3], std[3];
    data_mean_std(d, mean, std);
    assert_true(mean[0] == 129.304f && std[2] == 70.418f);
    data_close(d);
    check_cifar_pixels(pixels("cifar100", at("c100"), "test", 32, 1), 10);
}

/* ---- STL-10 -------------------------------------------------------------------------------------------- */

static void stl10(void **state)
{
    (void)state;
    enum { N = 3, SIDE = 96, PLANE = SIDE * SIDE };
    u8 *x = arena_bytes(mem, N * 3 * PLANE, 1);
    for (int i = 0; i < N; i++)
        for (int c = 0; c < 3; c++)
            for (int row = 0; row < SIDE; row++)
                for (int col = 0; col < SIDE; col++)
                    x[i * 3 * PLANE + c * PLANE + col * SIDE + row] = (u8)(i * 9 + c * 60 + row + 2 * col);
    write_file(at("stl/STL/stl10_binary/train_X.bin"), x, N * 3 * PLANE);
    write_file(at("stl/STL/stl10_binary/train_y.bin"), "\x0a\x01\x03", N);
    write_text(at("stl/STL/stl10_binary/class_names.txt"), lines(10, "thing%d\n"));
    dataset *d = must_open("stl10", at("stl"), "train");
    expect(d, N, 10, (i32[]){ 9, 0, 2 });
    data_close(d);
    const u8 *rgb = pixels("stl10", at("stl"), "train", SIDE, 1);
    for (int row = 0; row < SIDE; row++)
        for (int col = 0; col < SIDE; col++)
            for (int c = 0; c < 3; c++)
                assert_int_equal(rgb[(row * SIDE + col) * 3 + c], (u8)(9 + c * 60 + row + 2 * col));
    write_file(at("stl/STL/stl10_binary/train_y.bin"), "\x0a\x00\x03", N);
    refused("stl10", at("stl"), "train", FAULT_DATA, "train_y.bin: label 0 at byte 1 is outside 1..10");
    write_file(at("stl/STL/stl10_binary/train_y.bin"), "\x0a\x01", 2);
    refused("stl10", at("stl"), "train", FAULT_DATA, "train_X.bin has 82944 bytes, but the 2 labels");
}

/* As editors of any system leave such a list; as it must not be. */
static void class_lists(void **state)
{
    (void)state;
    static const char *const good[] = { "\xef\xbb\xbfthing%d\r\n", "thing%d \t\r\n\r\n", "thing%d\r",
                                        "  thing%d\n\n" };
    write_file(at("lists/stl10_binary/train_y.bin"), "\x0a", 1);
    write_file(at("lists/stl10_binary/train_X.bin"), arena_bytes(mem, 3 * 96 * 96, 1), 3 * 96 * 96);
    for (int i = 0; i < countof(good); i++) {
        const char *text = lines(10, good[i]), *mark = "\xef\xbb\xbf";
        write_text(at("lists/stl10_binary/class_names.txt"), i ? text : arena_printf(mem, "%s%s", mark,
                   lines(10, good[i] + strlen(mark))));
        dataset *d = must_open("stl10", at("lists"), "train");
        assert_string_equal(data_class_name(d, 0), "thing0");
        assert_string_equal(data_class_name(d, 9), "thing9");
        data_close(d);
    }
    static const struct { const char *text, *says; } bad[] = {
        { "a\nb\nc\nd\ne\nf\ng\nh\ni\na \n", "class_names.txt: two of its classes are called 'a'" },
        { "a\nb\nc\nd\ne\nf\ng\nh\ni\n", "class_names.txt: 9 names instead of 10" },
        { "\xff\xfe", "class_names.txt: 1 names instead of 10" } };
    for (int i = 0; i < countof(bad); i++) {
        write_text(at("lists/stl10_binary/class_names.txt"), bad[i].text);
        refused("stl10", at("lists"), "train", FAULT_DATA, bad[i].says);
    }
    write_file(at("lists/stl10_binary/class_names.txt"), "\xff\xfe" "a\0\r\0\n\0", 8);
    refused("stl10", at("lists"), "train", FAULT_DATA, "not a text file in UTF-8");
}

/* One spelling of a letter is one class, however Unicode writes it. */
static void class_names(void **state)
{
    (void)state;
#define COMPOSED "caf\xc3\xa9"
#define APART    "cafe\xcc\x81"
    static const char *const names[] = { "ape", COMPOSED, "\xed\x95\x9c", "n01440764" };
    assert_int_equal(class_find(names, 4, COMPOSED), 1);
    assert_int_equal(class_find(names, 4, "tench"), 3);
    assert_int_equal(class_find(names, 4, "cafe"), -1);
    assert_int_equal(class_find(names, 4, "Ape"), -1);
    assert_int_equal(class_find(names, 4, "caf\xe9"), -1);          // Latin-1, no UTF-8
#ifdef HAVE_UTF8PROC
    assert_int_equal(class_find(names, 4, APART), 1);
    assert_int_equal(class_find(names, 4, "\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab"), 2);  // Hangul in three parts
    assert_int_equal(class_find((const char *const[]){ "x", APART }, 2, COMPOSED), 1);
    assert_int_equal(class_check((const char *const[]){ COMPOSED, "x", APART }, 3, "list"), -1);
    assert_failed(FAULT_DATA, "list: two of its classes are called '" COMPOSED "'");
#endif
    assert_int_equal(class_check(names, 4, "list"), 0);
    assert_int_equal(class_check(NULL, 0, "list"), 0);
    assert_int_equal(class_check((const char *const[]){ "b", "a", "b" }, 3, "list"), -1);
    assert_failed(FAULT_DATA, "list: two of its classes are called 'b'");
}

/* ---- Flowers: level-5 .mat files ----------------------------------------------------------------------- */

struct bytes { u8 *p; size_t n; };
static void put(struct bytes *b, const void *p, size_t n) { memcpy(b->p + b->n, p, n); b->n += n; }

static void put_int(struct bytes *b, u64 v, int size, bool big)
{
    for (int i = 0; i < size; i++)
        b->p[b->n++] = (u8)(v >> 8 * (big ? size - 1 - i : i));
}

static void put_element(struct bytes *b, u32 type, const struct bytes *data, bool big)
{
    bool small = data->n <= 4 && data->n && type < 14;
    if (small)
        put_int(b, (u64)data->n << 16 | type, 4, big);
    else {
        put_int(b, type, 4, big);
        put_int(b, data->n, 4, big);
    }
    put(b, data->p, data->n);
    while (type != 15 && b->n % 8)
        b->p[b->n++] = 0;
}

enum { U8_ = 2, U16_ = 4, F64_ = 9 };

/* An array of 1 x n numbers stored as `type`, perhaps deflated, appended to a file. */
static void put_array(struct bytes *file, const char *name, const i32 *v, int n, int type, bool big,
                      bool deflated)
{
    struct bytes inner = { arena_bytes(mem, 65536, 8), 0 }, whole = { arena_bytes(mem, 65536, 8), 0 },
                 t = { arena_bytes(mem, 65536, 8), 0 };
    put_int(&t, 6, 4, big);                                   // mxDOUBLE_CLASS, whatever the storage
    put_int(&t, 0, 4, big);
    put_element(&inner, 6, &t, big);
    t.n = 0;
    put_int(&t, 1, 4, big);
    put_int(&t, (u64)n, 4, big);
    put_element(&inner, 5, &t, big);
    t.n = 0;
    put(&t, name, strlen(name));
    put_element(&inner, 1, &t, big);
    t.n = 0;
    for (int i = 0; i < n; i++)
        if (type == F64_) {
            f64 d = v[i];
            u64 bits;
            memcpy(&bits, &d, 8);
            put_int(&t, bits, 8, big);
        } else
            put_int(&t, (u64)v[i], type == U8_ ? 1 : 2, big);
    put_element(&inner, (u32)type, &t, big);
    put_element(&whole, 14, &inner, big);
    if (!deflated) {
        put(file, whole.p, whole.n);
        return;
    }
    uLongf size = 65536;
    t.n = 0;
    assert_int_equal(compress(t.p, &size, whole.p, whole.n), Z_OK);
    t.n = size;
    put_element(file, 15, &t, big);
}

static struct bytes mat_header(bool big)
{
    struct bytes b = { arena_bytes(mem, 1 << 18, 8), 128 };
    memset(b.p, ' ', 124);
    memcpy(b.p, "MATLAB 5.0 MAT-file", 19);
    memcpy(b.p + 124, big ? "\x01\x00MI" : "\x00\x01IM", 4);
    return b;
}

static void flowers(void **state)
{
    (void)state;
    const i32 labels[] = { 77, 1, 102, 5, 5, 60, 3 };
    for (int form = 0; form < 8; form++) {
        bool big = form & 1, deflated = form & 2;
        const char *root = at("flowers%d/flowers-102/.", form);
        struct bytes l = mat_header(big), s = mat_header(big);
        put_array(&l, "labels", labels, 7, form & 4 ? F64_ : U8_, big, deflated);
        put_array(&s, "trnid", (i32[]){ 7, 2 }, 2, U16_, big, deflated);
        put_array(&s, "valid", (i32[]){ 3, 1, 4 }, 3, U16_, big, deflated);
        put_array(&s, "tstid", (i32[]){ 5, 6 }, 2, F64_, big, deflated);
        write_file(arena_printf(mem, "%s/imagelabels.mat", root), l.p, l.n);
        write_file(arena_printf(mem, "%s/setid.mat", root), s.p, s.n);
        root = at("flowers%d", form);
        dataset *d = must_open("flowers", root, "trainval");
        expect(d, 5, 102, (i32[]){ 2, 0, 101, 76, 4 });
        assert_string_equal(path_of(d, 0) + 9, "flowers-102/jpg/image_00007.jpg");
        data_close(d);
        d = must_open("flowers", root, "test");
        expect(d, 2, 102, (i32[]){ 4, 59 });
        data_close(d);
        for (size_t cut = 0; cut < s.n; cut += 5) {       // any prefix: an error or the arrays before the cut
            write_file(arena_printf(mem, "%s/flowers-102/setid.mat", root), s.p, cut);
            d = opened("flowers", root, "test");
            assert_true(!d || cut + 8 > s.n);
            if (!d)
                assert_failed(FAULT_DATA, "setid.mat: ");
            data_close(d);
        }
    }
    struct bytes s = mat_header(false);
    put_array(&s, "tstid", (i32[]){ 5, 8 }, 2, U16_, false, false);
    write_file(at("flowers0/flowers-102/setid.mat"), s.p, s.n);
    refused("flowers", at("flowers0"), "test", FAULT_DATA, "tstid: image number 8 is outside 1..7");
    refused("flowers", at("flowers0"), "val", FAULT_DATA, "no array 'valid' in it");
}

/* ---- lists --------------------------------------------------------------------------------------------- */

static void pets(void **state)
{
    (void)state;
    const char *root = at("pets/oxford-iiit-pet/annotations/x");
    write_text(at("pets/oxford-iiit-pet/annotations/trainval.txt"),
               "# a comment\nAbyssinian_100 1 1 1\nstaffordshire_bull_terrier_7 35 2 24\r\n\n");
    write_text(at("pets/oxford-iiit-pet/annotations/test.txt"), "great_pyrenees_2 16 2 9\n");
    root = at("pets");
    dataset *d = must_open("pets", root, "trainval");
    expect(d, 2, 37, (i32[]){ 0, 34 });
    assert_string_equal(data_class_name(d, 34), "staffordshire_bull_terrier");
    assert_string_equal(path_of(d, 0), "pets/oxford-iiit-pet/images/Abyssinian_100.jpg");
    data_close(d);
    struct image m = picture(20, 20, 1);                      // a PNG called .jpg
    write_png(at("pets/oxford-iiit-pet/images/Abyssinian_100.jpg"), &m, PNG_COLOR_TYPE_RGB, 8, false, false);
    assert_memory_equal(pixels("pets", root, "trainval", 20, 0), m.rgb, 1200);
    const struct { const char *text, *says; } bad[] = {
        { "Abyssinian_100 38 1 1\n", "entry 1 is not 'name class species breed'" },
        { "Abyssinian_100\n", "entry 1" },
        { "Abyssinian_1 1 1 1\nBengal_1 1 1 1\n", "class 1 is called both Abyssinian and Bengal" },
        { "../../etc/passwd_1 1 1 1\n", "is not an image name" },
        { "/etc/passwd_1 1 1 1\n", "is not an image name" },
        { arena_printf(mem, "%01025d_1 1 1 1\n", 0), "is not an image name" },
        { "\n", "holds no image" },
    };
    for (int i = 0; i < countof(bad); i++) {
        write_text(at("pets/oxford-iiit-pet/annotations/test.txt"), bad[i].text);
        refused("pets", root, "test", FAULT_DATA, bad[i].says);
    }
    write_file(at("pets/oxford-iiit-pet/annotations/test.txt"), "a\0b 1 1 1\n", 10);
    refused("pets", root, "test", FAULT_DATA, "not a text file");
}

static void food101(void **state)
{
    (void)state;
    write_text(at("food/Food/food-101/meta/classes.txt"), "apple_pie\ncheesecake\ncheese_plate\nwaffles\n");
    write_text(at("food/Food/food-101/meta/train.txt"),
               "apple_pie/1005649\nwaffles/3\ncheesecake/12\ncheese_plate/9\n");
    write_text(at("food/Food/food-101/meta/test.txt"), "waffle/3\n");
    dataset *d = must_open("food101", at("food"), "train");
    expect(d, 4, 4, (i32[]){ 0, 3, 2, 1 });                   // '_' sorts before 'c'
    assert_string_equal(data_class_name(d, 1), "cheese_plate");
    assert_string_equal(path_of(d, 1), "food/Food/food-101/images/waffles/3.jpg");
    data_close(d);
    refused("food101", at("food"), "test", FAULT_DATA, "'waffle/3' is not class/id");
}

static void dtd(void **state)
{
    (void)state;
    static const char *const parts[] = { "train", "val", "test" };
    for (int fold = 1; fold <= 2; fold++)
        for (int i = 0; i < 3; i++)
            write_text(at("dtd/dtd/dtd/labels/%s%d.txt", parts[i], fold),
                       i < 2 ? arena_printf(mem, "banded/banded_%04d.jpg\nzigzagged/zigzagged_%d.jpg\n",
                                            10 * fold + i, fold)
                             : "cobwebbed/cobwebbed_0001.jpg\n");
    dataset *d = must_open("dtd", at("dtd"), "trainval");
    expect(d, 4, 3, (i32[]){ 0, 2, 0, 2 });
    assert_string_equal(path_of(d, 2), "dtd/dtd/dtd/images/banded/banded_0011.jpg");
    data_close(d);
    struct data_options o = {
        .set = "dtd", .root = at("dtd"), .split = "test", .image = 8, .batch = 1, .fold = 2
    };
    d = data_open(&o);
    expect(d, 1, 3, (i32[]){ 1 });
    data_close(d);
    o.fold = 11;
    assert_null(data_open(&o));
    assert_failed(FAULT_USAGE, "data.fold is 11");
}

static void imagenet(void **state)
{
    (void)state;
    struct image m = picture(20, 20, 1);
    write_jpeg(at("in/imagenet/train/n01440764/n01440764_1.JPEG"), &m, (struct jpeg_how){ 0 });
    write_png(at("in/imagenet/train/n02105855/n02105855_2933.JPEG"), &m, PNG_COLOR_TYPE_RGB, 8, false, false);
    write_jpeg(at("in/imagenet/train/n09999999/n09999999_5.JPEG"), &m,
               (struct jpeg_how){ .form = JPEG_YCCK });
    write_jpeg(at("in/imagenet/val/n02105855/ILSVRC2012_val_00000001.JPEG"), &m, (struct jpeg_how){ 0 });
    dataset *d = must_open("imagenet", at("in"), "train");
    expect(d, 3, 3, (i32[]){ 0, 1, 2 });
    data_close(d);
    assert_memory_equal(pixels("imagenet", at("in"), "train", 20, 1), m.rgb, 1200);
    pixels("imagenet", at("in"), "train", 20, 2);
    d = must_open("imagenet", at("in"), "val");
    expect(d, 1, 1, (i32[]){ 0 });
    data_close(d);
    write_jpeg(at("flat/val/ILSVRC2012_val_00000001.JPEG"), &m, (struct jpeg_how){ 0 });
    refused("imagenet", at("flat"), "val", FAULT_DATA, "so its labels must come from a list: ");
    write_text(at("flat/meta/val.txt"),
               "ILSVRC2012_val_00000001.JPEG 65\nILSVRC2012_val_00000002.JPEG 970\n");
    d = must_open("imagenet", at("flat"), "val");
    expect(d, 2, 1000, (i32[]){ 65, 970 });
    assert_string_equal(path_of(d, 1), "flat/val/ILSVRC2012_val_00000002.JPEG");
    data_close(d);
    write_text(at("flat/meta/val.txt"), "ILSVRC2012_val_00000001.JPEG 1000\n");
    refused("imagenet", at("flat"), "val", FAULT_DATA, "entry 1 is not 'file index'");
}

static void same_sets(const dataset *a, const dataset *b)
{
    char one[4096], two[4096];
    assert_int_equal(data_count(a), data_count(b));
    assert_int_equal(data_classes(a), data_classes(b));
    for (int k = 0; k < data_classes(a); k++)
        assert_string_equal(data_class_name(a, k), data_class_name(b, k));
    for (int i = 0; i < data_count(a); i++) {
        assert_int_equal(data_label(a, i), data_label(b, i));
        assert_string_equal(data_path(a, i, one), data_path(b, i, two));
    }
    assert_string_equal(data_passed_over(mem, a), data_passed_over(mem, b));
}

/* What one process found serves another, which has only its bytes. */
static void index_of_a_set(void **state)
{
    (void)state;
    struct image m = picture(20, 20, 1);
    const char *const chosen[] = { "c", "a\\nb" };
    static const char *const names[] = { "a\nb/1.png", "a\nb/\xff.png", "c/1.png", "d\\e/deep/1.png" };
    for (int i = 0; i < countof(names); i++)
        write_png(at("index/train/%s", names[i]), &m, PNG_COLOR_TYPE_RGB, 8, false, false);
    write_text(at("index/train/c/notes.txt"), "not a picture");
    at("index/train/nobody/x");
    struct data_options all = { .set = "folder", .root = at("index"), .split = "train", .image = 8 };
    struct data_options few = all, other = all, folded = all;
    folded.fold = 2;
    few.only = chosen;
    few.n_only = countof(chosen);
    other.root = at("index/train");
    dataset *a = data_open(&all), *b = data_open(&few);
    u64 bytes;
    void *index = data_index(mem, &all, &bytes), *copy = arena_bytes(mem, bytes, 8);
    memcpy(copy, index, bytes);
    memset(index, 0xff, bytes);
    assert_true(data_is_listed(&all));
    data_take_index(&all, copy);
    assert_true(!data_is_listed(&all) && !data_is_listed(&few) && data_is_listed(&other)
                && data_is_listed(&folded));
    write_png(at("index/train/new/1.png"), &m, PNG_COLOR_TYPE_RGB, 8, false, false);
    dataset *c = data_open(&all), *d = data_open(&few);
    assert_non_null(d);
    same_sets(a, c);
    same_sets(b, d);
    assert_int_equal(data_count(a), 4);
    assert_int_equal(data_count(b), 3);
    dataset *const sets[] = { a, b, c, d };
    for (int i = 0; i < countof(sets); i++)
        data_close(sets[i]);
    unlink(at("index/train/c/1.png"));
    assert_null(data_open(&all));
    assert_failed(FAULT_DATA, "index/train/c/1.png: No such file or directory, but rank 0 has it");
    few.set = "cifar10";                          // its files are the images themselves
    assert_false(data_is_listed(&few));
    few.set = "nothing";
    assert_false(data_is_listed(&few));
    assert_int_equal(fail_fault(), FAULT_NONE);
    assert_null(data_index(mem, &few, &bytes));
    assert_failed(FAULT_USAGE, "no data set 'nothing'");
}

int main(void)
{
    say_setup((struct say_options){ .level = SAY_QUIET });
#define TEST(f) cmocka_unit_test_setup_teardown(f, memory_open, memory_close)
    const struct CMUnitTest tests[] = {
        TEST(cifar10), TEST(cifar_fill), TEST(cifar100), TEST(stl10),    TEST(flowers),
        TEST(class_lists), TEST(class_names),
        TEST(pets),    TEST(food101),    TEST(dtd),      TEST(imagenet),
        TEST(index_of_a_set),
    };
    return cmocka_run_group_tests(tests, NULL, scratch_close);
}
