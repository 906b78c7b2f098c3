/* pets.c: Oxford-IIIT Pets (Parkhi et al. 2012): annotations/trainval.txt and test.txt, lines "name class
 * species breed", class from 1; images/name.jpg. A class is called as its images without their number. Some
 * of the .jpg are GIFs or PNGs. */
#include "data/set.h"

enum { CLASSES = 37 };

static slice pets_class_part(slice name)
{
    size_t n = name.n;
    while (n && name.p[n - 1] != '_')
        n--;
    return (slice){ name.p, n ? n - 1 : name.n };
}

static int pets_add_line(dataset *d, const char *list, int number, slice line, const char *names[CLASSES])
{
    slice name, word;
    i64 label;
    if (!list_word(&line, &name) || !list_word(&line, &word) || !text_int(word, &label) || label < 1
        || label > CLASSES)
        return fail(FAULT_DATA, "%s/%s: entry %d is not 'name class species breed' with a class of 1..%d",
                    d->root, list, number, CLASSES);
    if (list_path_ok(d, list, name))
        return -1;
    slice class = pets_class_part(name);
    if (!names[label - 1])
        names[label - 1] = arena_copy(d->a, class.p, class.n);
    else if (!slice_eq(class, names[label - 1]))
        return fail(FAULT_DATA, "%s/%s: class %d is called both %s and %.*s", d->root, list, (int)label,
                    names[label - 1], (int)class.n, class.p);
    set_add(d, arena_printf(d->a, "images/%.*s.jpg", (int)name.n, name.p), (i32)label - 1);
    return 0;
}

static int open_pets(dataset *d, const struct data_options *o)
{
    (void)o;
    const char *names[CLASSES] = { 0 }, *list = arena_printf(d->a, "annotations/%s.txt", d->split),
               *text = list_text(d, list);
    slice line;
    if (!text)
        return -1;
    for (int number = 1; list_line(&text, &line); number++)
        if (pets_add_line(d, list, number, line, names))
            return -1;
    for (int i = 0; i < CLASSES; i++)
        names[i] = names[i] ? names[i] : arena_printf(d->a, "class %d", i + 1);
    set_classes(d, names, CLASSES);
    return 0;
}

#define OXFORD "https://www.robots.ox.ac.uk/~vgg/data/pets/data/"

const struct data_set pets_set = {
    .name = "pets", .help = "Oxford-IIIT Pets, 37 breeds", .folders = { "oxford-iiit-pet", "Pets" },
    .probe = { "annotations/trainval.txt", "annotations/test.txt" },
    .splits = { { "trainval", 3680 }, { "test", 3669 } }, .classes = CLASSES, IMAGENET_PIXELS,
    .sources = { { OXFORD "images.tar.gz", "5c4f3ee8e5d25df40f4fd59a7f44e54c",
                   "67195c5e1c01f1ab5f9b6a5d22b8c27a580d896ece458917e61d459337fa318d", "oxford-iiit-pet",
                   "oxford-iiit-pet/images" },
                 { OXFORD "annotations.tar.gz", "95a8c909bbe2e81eed6a22bccdf3f68f",
                   "52425fb6de5c424942b7626b428656fcbd798db970a937df61750c0f1d358e91", "oxford-iiit-pet",
                   "oxford-iiit-pet/annotations" } },
    .open = open_pets,
};
