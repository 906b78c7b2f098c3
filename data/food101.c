/* food101.c: Food-101 (Bossard et al. 2014): meta/train.txt and test.txt, lines "class/id";
 * images/class/id.jpg. Classes are numbered by the bytes of their names, so cheese_plate is 16 and cheesecake
 * 17; the reference has these two the other way. */
#include "data/set.h"

static int food101_add_line(dataset *d, const char *list, slice line, const struct names *classes)
{
    const char *slash = memchr(line.p, '/', line.n);
    if (list_path_ok(d, list, line))
        return -1;
    int label = slash ? names_find(classes, (slice){ line.p, (size_t)(slash - line.p) }) : -1;
    if (label < 0)
        return fail(FAULT_DATA, "%s/%s: '%.*s' is not class/id with a class of meta/classes.txt", d->root,
                    list, (int)MIN(line.n, 80), line.p);
    set_add(d, arena_printf(d->a, "images/%.*s.jpg", (int)line.n, line.p), label);
    return 0;
}

static int open_food101(dataset *d, const struct data_options *o)
{
    (void)o;
    const char *list = arena_printf(d->a, "meta/%s.txt", d->split), *text = list_text(d, list),
               *classes = list_text(d, "meta/classes.txt");
    struct names v = { 0 };
    slice line;
    if (!text || !classes)
        return -1;
    while (list_line(&classes, &line))
        names_add(d->a, &v, line);
    names_sort(&v);
    set_classes(d, v.v, (int)v.n);
    while (list_line(&text, &line))
        if (food101_add_line(d, list, line, &v))
            return -1;
    return 0;
}

const struct data_set food101_set = {
    .name = "food101", .help = "Food-101", .folders = { "food-101", "Food/food-101" },
    .probe = { "meta/train.txt", "meta/test.txt" },
    .splits = { { "train", 75750 }, { "test", 25250 } }, .classes = 101, IMAGENET_PIXELS,
    .sources = { { "https://data.vision.ee.ethz.ch/cvl/food-101.tar.gz", "85eeb15f3717b99a5da872d97d918f87",
                   "d97d15e438b7f4498f96086a4f7e2fa42a32f2712e87d3295441b2b6314053a4", "", "food-101" } },
    .open = open_food101,
};
