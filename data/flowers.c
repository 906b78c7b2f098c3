/* flowers.c: Oxford Flowers-102 (Nilsback and Zisserman 2008): jpg/image_00001.jpg.., imagelabels.mat
 * (labels, 1..102), setid.mat (trnid, valid, tstid: image numbers from 1). trainval is trnid, then valid. */
#include "data/set.h"

enum { CLASSES = 102 };

struct labels { const i32 *v; size_t n; };

static int add_ids(dataset *d, const char *array, struct labels labels)
{
    size_t n;
    const char *path = arena_printf(d->a, "%s/setid.mat", d->root);
    const i32 *id = mat_integers(d->a, path, array, &n);
    if (!id)
        return -1;
    for (size_t i = 0; i < n; i++) {
        if (id[i] < 1 || (size_t)id[i] > labels.n)
            return fail(FAULT_DATA, "%s: %s: image number %d is outside 1..%d", path, array, id[i],
                        (int)labels.n);
        set_add(d, arena_printf(d->a, "jpg/image_%05d.jpg", id[i]), labels.v[id[i] - 1] - 1);
    }
    return 0;
}

static int open_flowers(dataset *d, const struct data_options *o)
{
    (void)o;
    const char *names[CLASSES], *path = arena_printf(d->a, "%s/imagelabels.mat", d->root);
    struct labels labels = { 0 };
    if (!(labels.v = mat_integers(d->a, path, "labels", &labels.n)))
        return -1;
    for (size_t i = 0; i < labels.n; i++)
        if (labels.v[i] < 1 || labels.v[i] > CLASSES)
            return fail(FAULT_DATA, "%s: label %d of image %d is outside 1..%d", path, labels.v[i],
                        (int)i + 1, CLASSES);
    for (int i = 0; i < CLASSES; i++)
        names[i] = arena_printf(d->a, "flower %d", i + 1);
    set_classes(d, names, CLASSES);
    bool all = !strcmp(d->split, "trainval");
    if ((all || !strcmp(d->split, "train")) && add_ids(d, "trnid", labels))
        return -1;
    if ((all || !strcmp(d->split, "val")) && add_ids(d, "valid", labels))
        return -1;
    return strcmp(d->split, "test") ? 0 : add_ids(d, "tstid", labels);
}

#define LABELS_MD5 "e0620be6f572b9609742df49c70aed4d"
#define SETID_MD5 "a5357ecc9cb78c4bef273ce3793fc85c"
#define OXFORD "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/"

const struct data_set flowers_set = {
    .name = "flowers", .help = "Oxford Flowers-102", .folders = { "flowers-102", "Flowers" },
    .probe = { "setid.mat" },
    .splits = { { "train", 1020 }, { "val", 1020 }, { "trainval", 2040, true }, { "test", 6149 } },
    .classes = CLASSES, IMAGENET_PIXELS,
    .sources = { { OXFORD "102flowers.tgz", "52808999861908f626f3c1f4e79d11fa", NULL, "flowers-102",
                   "flowers-102/jpg" },
                 { OXFORD "imagelabels.mat", LABELS_MD5, NULL, "flowers-102", "flowers-102/imagelabels.mat" },
                 { OXFORD "setid.mat", SETID_MD5, NULL, "flowers-102", "flowers-102/setid.mat" } },
    .files = { { "imagelabels.mat", LABELS_MD5 }, { "setid.mat", SETID_MD5 } },
    .open = open_flowers,
};
