/* labels.c: classes by name, and the thousand of ImageNet-1k, which go by WordNet number as well. */
#include "data/data.h"
#include <stdlib.h>
#ifdef HAVE_UTF8PROC
#include <utf8proc.h>
#endif

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

/* The name in Unicode's composed form (NFC): macOS takes letters apart ("e" and an accent), others do not.
 * What is not UTF-8 stays as it is. */
static const char *label_composed(arena *a, const char *name)
{
    const char *text = name;
#ifdef HAVE_UTF8PROC
    bool ascii = true;
    for (const char *s = name; *s; s++)
        ascii &= (u8)*s < 128;
    utf8proc_uint8_t *composed = ascii ? NULL : utf8proc_NFC((const utf8proc_uint8_t *)name);
    text = composed ? arena_printf(a, "%s", (char *)composed) : name;
    free(composed);
#else
    (void)a;
#endif
    return text;
}

static int find_composed(const char *const *names, int n, const char *name)
{
    arena *a = arena_open("class names");
    const char *composed = label_composed(a, name);
    int k = 0;
    while (k < n && strcmp(label_composed(a, names[k]), composed))
        k++;
    arena_close(a);
    return k < n ? k : -1;
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
    return k < 0 ? find_composed(names, n, name) : k;
}

static int labels_by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

int class_check(const char *const *names, int n, const char *whose)
{
    arena *a = arena_open("class names");
    const char **sorted = arena_array(a, const char *, MAX(1, n));
    int rc = 0;
    for (int i = 0; i < n; i++)
        sorted[i] = label_composed(a, names[i]);
    qsort(sorted, (size_t)n, sizeof *sorted, labels_by_name);
    for (int i = 1; i < n && !rc; i++)
        if (!strcmp(sorted[i], sorted[i - 1]))
            rc = fail(FAULT_DATA, "%s: two of its classes are called '%s'", whose, sorted[i]);
    arena_close(a);
    return rc;
}
