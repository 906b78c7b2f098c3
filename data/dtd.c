/* dtd.c: Describable Textures (Cimpoi et al. 2014): labels/train1.txt .. test10.txt, lines "class/file";
 * images/class/file. Ten splits; the first is used unless o->fold says otherwise. Classes are numbered by the
 * bytes of their names. */
#include "data/set.h"

static slice dtd_class_part(slice line)
{
    const char *slash = memchr(line.p, '/', line.n);
    return (slice){ line.p, slash ? (size_t)(slash - line.p) : 0 };
}

/* The classes of all three lists: an evaluation list need not have every class. */
static int dtd_find_classes(dataset *d, int fold, struct names *v)
{
    static const char *const parts[] = { "train", "val", "test" };
    for (int i = 0; i < countof(parts); i++) {
        const char *list = arena_printf(d->a, "labels/%s%d.txt", parts[i], fold), *text = list_text(d, list);
        slice line;
        if (!text)
            return -1;
        while (list_line(&text, &line)) {
            if (list_path_ok(d, list, line))
                return -1;
            if (!dtd_class_part(line).n)
                return fail(FAULT_DATA, "%s/%s: '%.*s' is not class/file", d->root, list,
                            (int)MIN(line.n, 80), line.p);
            if (!v->n || !slice_eq(dtd_class_part(line), v->v[v->n - 1]))
                names_add(d->a, v, dtd_class_part(line));
        }
    }
    names_sort(v);
    return 0;
}

static int add_list(dataset *d, const char *part, int fold, const struct names *classes)
{
    const char *text = list_text(d, arena_printf(d->a, "labels/%s%d.txt", part, fold));
    slice line;
    if (!text)
        return -1;
    while (list_line(&text, &line))
        set_add(d, arena_printf(d->a, "images/%.*s", (int)line.n, line.p),
                names_find(classes, dtd_class_part(line)));
    return 0;
}

static int open_dtd(dataset *d, const struct data_options *o)
{
    struct names classes = { 0 };
    int fold = o->fold ? o->fold : 1;
    if (fold < 1 || fold > 10)
        return fail(FAULT_USAGE, "data.fold is %d; dtd has the splits 1..10", fold);
    if (dtd_find_classes(d, fold, &classes))
        return -1;
    set_classes(d, classes.v, (int)classes.n);
    if (strcmp(d->split, "trainval"))
        return add_list(d, d->split, fold, &classes);
    return add_list(d, "train", fold, &classes) || add_list(d, "val", fold, &classes) ? -1 : 0;
}

const struct data_set dtd_set = {
    .name = "dtd", .help = "Describable Textures, 47 classes", .folders = { "dtd/dtd", "dtd", "DTD/dtd" },
    .probe = { "labels/train1.txt", "labels/test1.txt" },
    .splits = { { "train", 1880 }, { "val", 1880 }, { "trainval", 3760, true }, { "test", 1880 } },
    .classes = 47, IMAGENET_PIXELS,
    .sources = { { "https://www.robots.ox.ac.uk/~vgg/data/dtd/download/dtd-r1.0.1.tar.gz",
                   "fff73e5086ae6bdbea199a49dfb8a4c1",
                   "e42855a52a4950a3b59612834602aa253914755c95b0cff9ead6d07395f8e205", "", "dtd" } },
    .open = open_dtd,
};
