/* stl10.c: STL-10 (Coates et al. 2011): train_X.bin and train_y.bin, test likewise. An image is 96x96 reds,
 * greens, blues, each column by column; a label is one byte, 1..10. */
#include "data/set.h"

enum { SIDE = 96, PLANE = SIDE * SIDE };

static int open_stl10(dataset *d, const struct data_options *o)
{
    (void)o;
    bool test = !strcmp(d->split, "test");
    const char *x = test ? "test_X.bin" : "train_X.bin", *y = test ? "test_y.bin" : "train_y.bin";
    if (list_classes(d, "class_names.txt", 10) || set_map(d, 0, x) || set_map(d, 1, y))
        return -1;
    u64 n = d->map[1].n;
    if (!n || d->map[0].n != n * 3 * PLANE)
        return fail(FAULT_DATA, "%s: %s has %lu bytes, but the %lu labels of %s need %lu", d->root, x,
                    (unsigned long)d->map[0].n, (unsigned long)n, y, (unsigned long)(n * 3 * PLANE));
    d->record = arena_array(d->a, const u8 *, n);
    for (u64 i = 0; i < n; i++) {
        int label = d->map[1].p[i];
        if (label < 1 || label > 10)
            return fail(FAULT_DATA, "%s/%s: label %d at byte %lu is outside 1..10", d->root, y, label,
                        (unsigned long)i);
        set_add(d, NULL, label - 1);
        d->record[i] = d->map[0].p + i * 3 * PLANE;
    }
    return 0;
}

static int stl10_pixels(const dataset *d, i64 i, arena *a, struct image *out)
{
    if (image_room(a, out, SIDE, SIDE))
        return -1;
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++)
            for (int c = 0; c < 3; c++)
                out->rgb[(y * SIDE + x) * 3 + c] = d->record[i][c * PLANE + x * SIDE + y];
    return 0;
}

const struct data_set stl10_set = {
    .name = "stl10", .help = "STL-10, binary version: 96x96, 10 classes",
    .folders = { "stl10_binary", "STL/stl10_binary" },
    .probe = { "train_X.bin", "test_X.bin" }, .splits = { { "train", 5000 }, { "test", 8000 } },
    .classes = 10, IMAGENET_PIXELS,
    .sources = { { "https://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz",
                   "91f7769df0f17e558f3565bffb0c7dfb",
                   "f31fd99273a1acb8609c8db427cebb1de3f71de77758cdc0e22956e1289b9866", "", "stl10_binary" } },
    .files = { { "train_X.bin", "918c2871b30a85fa023e0c44e0bee87f" },
               { "train_y.bin", "5a34089d4802c674881badbb80307741" },
               { "test_X.bin", "7f263ba9f9e0b06b93213547f721ac82" },
               { "test_y.bin", "36f9794fa4beb8a2c72628de14fa638e" } },
    .open = open_stl10, .pixels = stl10_pixels,
};
