/* labels.c: classes by name, and the thousand of ImageNet-1k, which go by WordNet number as well. */
#include "data/data.h"
#include <stdlib.h>

static const struct { const char *wnid, *name; } imagenet[] = {
#define IMAGENET(wnid, name) { #wnid, name },
#include "data/imagenet1k.def"
#undef IMAGENET
};

_Static_assert(sizeof imagenet / sizeof *imagenet == 1000, "ImageNet-1k has 1000 classes");

const char *const *imagenet_names(arena *a, bool wnids)
{
    const char **names = arena_array(a, const char *, countof(imagenet));
    for (int i = 0; i < countof(imagenet); i++)
        names[i] = wnids ? imagenet[i].wnid : imagenet[i].name;
    return names;
}

static int find_exactly(const char *const *names, int n, const char *name)
{
    for (int i = 0; i < n; i++)
        if (!strcmp(names[i], name))
            return i;
    return -1;
}

int class_find(const char *const *names, int n, const char *name)
{
    int k = find_exactly(names, n, name);
    for (int i = 0; k < 0 && i < countof(imagenet); i++) {
        if (!strcmp(imagenet[i].wnid, name))
            k = find_exactly(names, n, imagenet[i].name);
        else if (!strcmp(imagenet[i].name, name))
            k = find_exactly(names, n, imagenet[i].wnid);
    }
    return k;
}
