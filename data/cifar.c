/* cifar.c: CIFAR-10 and CIFAR-100 in their binary form (Krizhevsky 2009). A record is one label (CIFAR-100:
 * the coarse one, then the fine one, which counts), then 1024 reds, 1024 greens, 1024 blues, row by row. */
#include "data/set.h"

enum { SIDE = 32, PLANE = SIDE * SIDE };

static int add_records(dataset *d, int k, const char *name, int labels)
{
    i64 size = labels + 3 * PLANE;
    if (set_map(d, k, name))
        return -1;
    const struct file_map *m = &d->map[k];
    if (!m->n || m->n % (u64)size)
        return fail(FAULT_DATA, "%s/%s: %lu bytes are not a multiple of the record size %ld", d->root, name,
                    (unsigned long)m->n, (long)size);
    for (const u8 *p = m->p; p < m->p + m->n; p += size) {
        if (p[labels - 1] >= d->classes)
            return fail(FAULT_DATA, "%s/%s: label %d at byte %ld, but there are %d classes", d->root, name,
                        p[labels - 1], (long)(p - m->p), d->classes);
        set_add(d, NULL, p[labels - 1]);
    }
    return 0;
}

/* Pointers to the pixels, once all files are mapped. */
static void index_records(dataset *d, int labels)
{
    d->record = arena_array(d->a, const u8 *, MAX(1, d->n));
    i64 i = 0;
    for (int k = 0; k < countof(d->map) && d->map[k].p; k++)
        for (const u8 *p = d->map[k].p; p < d->map[k].p + d->map[k].n; p += labels + 3 * PLANE)
            d->record[i++] = p + labels;
}

static int open_cifar10(dataset *d, const struct data_options *o)
{
    static const char *const train[] = { "data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin",
                                         "data_batch_4.bin", "data_batch_5.bin" };
    (void)o;
    if (list_classes(d, "batches.meta.txt", 10))
        return -1;
    bool test = !strcmp(d->split, "test");
    for (int k = 0; k < (test ? 1 : countof(train)); k++)
        if (add_records(d, k, test ? "test_batch.bin" : train[k], 1))
            return -1;
    index_records(d, 1);
    return 0;
}

static int open_cifar100(dataset *d, const struct data_options *o)
{
    (void)o;
    if (list_classes(d, "fine_label_names.txt", 100)
        || add_records(d, 0, strcmp(d->split, "test") ? "train.bin" : "test.bin", 2))
        return -1;
    index_records(d, 2);
    return 0;
}

static int cifar_pixels(const dataset *d, i64 i, arena *a, struct image *out)
{
    const u8 *p = d->record[i];
    if (image_room(a, out, SIDE, SIDE))
        return -1;
    for (int k = 0; k < PLANE; k++) {
        out->rgb[3 * k + 0] = p[k];
        out->rgb[3 * k + 1] = p[PLANE + k];
        out->rgb[3 * k + 2] = p[2 * PLANE + k];
    }
    return 0;
}

#define TORONTO "https://www.cs.toronto.edu/~kriz/"

const struct data_set cifar10_set = {
    .name = "cifar10", .help = "CIFAR-10, binary version: 32x32, 10 classes",
    .folders = { "cifar-10-batches-bin", "cifar10", "cifar10/cifar-10-batches-bin" },
    .probe = { "data_batch_1.bin", "test_batch.bin" }, .mistaken = "cifar-10-batches-py",
    .hint = "this is the pickled form for Python; the binary one is needed, "
            "cifar-10-binary.tar.gz (jetcl data fetch cifar10)",
    .splits = { { "train", 50000 }, { "test", 10000 } }, .classes = 10,
    .sources = { { TORONTO "cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530",
                   "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd", "",
                   "cifar-10-batches-bin" } },
    .mean = { 125.307f, 122.961f, 113.8575f }, .std = { 51.5865f, 50.847f, 51.255f }, .fill_reversed = true,
    .open = open_cifar10, .pixels = cifar_pixels,
};

const struct data_set cifar100_set = {
    .name = "cifar100", .help = "CIFAR-100, binary version: 32x32, 100 fine classes",
    .folders = { "cifar-100-binary", "cifar100", "cifar100/cifar-100-binary" },
    .probe = { "train.bin", "test.bin" }, .mistaken = "cifar-100-python",
    .hint = "this is the pickled form for Python; the binary one is needed, "
            "cifar-100-binary.tar.gz (jetcl data fetch cifar100)",
    .splits = { { "train", 50000 }, { "test", 10000 } }, .classes = 100,
    .sources = { { TORONTO "cifar-100-binary.tar.gz", "03b5dce01913d631647c71ecec9e9cb8", NULL, "",
                   "cifar-100-binary" } },
    .files = { { "train.bin", "6172c7755cfe09b2fe270c85cebc1b15" },
               { "test.bin", "4499cfba6c016c1be1438163640a0898" } },
    .mean = { 129.304f, 124.070f, 112.434f }, .std = { 68.170f, 65.392f, 70.418f }, .fill_reversed = true,
    .open = open_cifar100, .pixels = cifar_pixels,
};
