/* data_targets.h: the fuzzers' targets of data/: pictures, .mat files, record files, annotation lists. Part
 * of targets.h. */
#ifndef JETCL_FUZZ_DATA_TARGETS_H
#define JETCL_FUZZ_DATA_TARGETS_H

#include <ftw.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "data/set.h"

static void one_line(void)
{
    check((fail_fault() == FAULT_DATA || fail_fault() == FAULT_RUN) && *fail_message()
              && !strchr(fail_message(), '\n'),
          "fault %d, message '%s'", fail_fault(), fail_message());
}

/* Decoded whole, a window of it, and at half size where it is a JPEG; then scaled, since sizes are the
 * file's. */
static int fuzz_image(const u8 *p, size_t n)
{
    arena *a = arena_open("image");
    struct decoder d = { .a = a };
    struct image_info info;
    struct image out = { 0 }, small = { 0 };
    int w, h;
    fail_clear();
    if (image_peek(p, n, true, &info))
        one_line();
    else if ((i64)info.w * info.h <= 1 << 20) {
        image_oriented_size(&info, &w, &h);
        struct window part = { w / 3, h / 4, w - w / 3 - w / 5, h - h / 4 - h / 7 };
        int rc = image_decode(&d, p, n, &info, NULL, 0, &out);
        if (rc)
            one_line();
        else
            image_resize(a, &out, FILTER_BICUBIC, 7, 9, &small);
        if (image_decode(&d, p, n, &info, &part, 0, &out)
            || (info.kind == IMAGE_JPEG && image_decode(&d, p, n, &info, NULL, 1, &out)))
            one_line();
    }
    arena_close(a);
    return 0;
}

static int fuzz_mat(const u8 *p, size_t n)
{
    arena *a = arena_open("mat");
    size_t count = 0;
    fail_clear();
    const i32 *v = mat_integers_in(a, p, n, "labels", &count);
    if (v)
        check(!count || (v[0] | v[count - 1] | 1), "%zu values", count);
    else
        one_line();
    arena_close(a);
    return 0;
}

/* ---- sets in a folder of this process ------------------------------------------------------------------ */

static char fuzz_folder[64];

static int fuzz_remove(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}
static void fuzz_clean(void) { nftw(fuzz_folder, fuzz_remove, 16, FTW_DEPTH | FTW_PHYS); }

static void fuzz_write(const char *name, const void *p, size_t n)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", fuzz_folder, name);
    FILE *f = fopen(path, "wb");
    check(f && fwrite(p, 1, n, f) == n && !fclose(f), "cannot write %s", path);
}

static void fuzz_begin(void)
{
    static const char *const folders[] = { "c", "c/labels", "c/meta", "c/annotations", "c/val" };
    if (*fuzz_folder)
        return;
    snprintf(fuzz_folder, sizeof fuzz_folder, "%s/jetcl-fuzz-XXXXXX",
             file_exists("/dev/shm") ? "/dev/shm" : "/tmp");
    check(mkdtemp(fuzz_folder), "no folder %s", fuzz_folder);
    atexit(fuzz_clean);
    say_setup((struct say_options){ .level = SAY_QUIET });
    for (int i = 0; i < countof(folders); i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/%s", fuzz_folder, folders[i]);
        check(!mkdir(path, 0700), "no folder %s", path);
    }
}

/* Opens the set and looks at every sample of the split. */
static void fuzz_open(const char *set, const char *split)
{
    char root[128], path[4096];
    snprintf(root, sizeof root, "%s/c", fuzz_folder);
    struct data_options o = { .set = set, .root = root, .split = split, .image = 8, .batch = 1 };
    arena *a = arena_open("open");
    struct image out = { 0 };
    fail_clear();
    dataset *d = data_open(&o);
    if (!d)
        one_line();
    for (int i = 0; d && i < data_count(d); i++) {
        check(data_label(d, i) >= 0 && data_label(d, i) < data_classes(d), "label %d of %d classes",
              data_label(d, i), data_classes(d));
        check(strlen(data_path(d, i, path)) > strlen(root), "path %s", path);
        if (d->kind->pixels)
            check(!d->kind->pixels(d, i, a, &out) && out.w > 0, "no pixels of %d", i);
    }
    data_close(d);
    arena_close(a);
}

/* First byte: which file it is. */
static int fuzz_records(const u8 *p, size_t n)
{
    static const char ten[] = "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n";
    static u8 pixels[3 * 27648];
    char hundred[400] = "";
    fuzz_begin();
    if (!n)
        return 0;
    for (int i = 0; i < 100; i++)
        snprintf(hundred + strlen(hundred), 5, "%d\n", i);
    fuzz_write("c/batches.meta.txt", ten, sizeof ten - 1);
    fuzz_write("c/class_names.txt", ten, sizeof ten - 1);
    fuzz_write("c/fine_label_names.txt", hundred, strlen(hundred));
    switch (*p % 4) {
    case 0:
        fuzz_write("c/test_batch.bin", p + 1, n - 1);
        fuzz_open("cifar10", "test");
        break;
    case 1:
        fuzz_write("c/test.bin", p + 1, n - 1);
        fuzz_open("cifar100", "test");
        break;
    case 2:
        fuzz_write("c/test_X.bin", p + 1, n - 1);
        fuzz_write("c/test_y.bin", "\1\2", 2);
        fuzz_open("stl10", "test");
        break;
    default:
        fuzz_write("c/test_X.bin", pixels, sizeof pixels);
        fuzz_write("c/test_y.bin", p + 1, n - 1);
        fuzz_open("stl10", "test");
    }
    return 0;
}

static int fuzz_lists(const u8 *p, size_t n)
{
    static const char one[] = "a/1\nb/2\n";
    static const struct { const char *file, *set, *split; } row[] = {
        { "c/annotations/test.txt", "pets", "test" },     { "c/meta/test.txt", "food101", "test" },
        { "c/meta/classes.txt", "food101", "test" },
        { "c/labels/train1.txt", "dtd", "train" },        { "c/meta/val.txt", "imagenet", "val" },
         { "c/batches.meta.txt", "cifar10", "test" },
        { "c/imagelabels.mat", "flowers", "test" },       { "c/setid.mat", "flowers", "test" },
    };
    fuzz_begin();
    if (!n)
        return 0;
    fuzz_write("c/meta/test.txt", one, sizeof one - 1);
    fuzz_write("c/meta/classes.txt", "a\nb\n", 4);
    fuzz_write("c/labels/train1.txt", one, sizeof one - 1);
    fuzz_write("c/labels/val1.txt", one, sizeof one - 1);
    fuzz_write("c/labels/test1.txt", one, sizeof one - 1);
    fuzz_write("c/test_batch.bin", "", 0);
    fuzz_write("c/imagelabels.mat", "", 0);
    fuzz_write("c/setid.mat", "", 0);
    int k = *p % countof(row);
    fuzz_write(row[k].file, p + 1, n - 1);
    fuzz_open(row[k].set, row[k].split);
    return 0;
}

#endif
