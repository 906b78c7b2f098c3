/* imagenet.c: ImageNet-1k (Russakovsky et al. 2015): train/<wnid>/NAME.JPEG, and val either likewise or flat
 * with meta/val.txt, lines "file index". A class's number is the rank of its wnid; the devkit's own numbers
 * are another order and are not read. */
#include "data/set.h"

static int imagenet_add_line(dataset *d, int number, slice line)
{
    slice name, word;
    i64 label;
    if (!list_word(&line, &name) || !list_word(&line, &word) || !text_int(word, &label) || label < 0
        || label > 999)
        return fail(FAULT_DATA, "%s/meta/val.txt: entry %d is not 'file index' with an index of 0..999",
                    d->root, number);
    if (list_path_ok(d, "meta/val.txt", name))
        return -1;
    set_add(d, arena_printf(d->a, "val/%.*s", (int)name.n, name.p), (i32)label);
    return 0;
}

static int flat_val(dataset *d)
{
    const char *text = list_text(d, "meta/val.txt");
    slice line;
    if (!text)
        return fail_in("%s/val has no class folders, so its labels must come from a list", d->root);
    set_classes(d, imagenet_names(d->a, true), 1000);
    for (int number = 1; list_line(&text, &line); number++)
        if (imagenet_add_line(d, number, line))
            return -1;
    return 0;
}

static int open_imagenet(dataset *d, const struct data_options *o)
{
    struct names folders = { 0 };
    if (!strcmp(d->split, "val")) {
        if (set_folders_in(d, "val", &folders))
            return -1;
        if (!folders.n)
            return flat_val(d);
    }
    return set_open_folder(d, o);
}

const struct data_set imagenet_set = {
    .name = "imagenet", .help = "ImageNet-1k; from image-net.org by registration, never fetched",
    .folders = { "imagenet" },
    .probe = { "train", "val" }, .splits = { { "train", 1281167 }, { "val", 50000 } }, .classes = 1000,
    IMAGENET_PIXELS, .open = open_imagenet,
};
