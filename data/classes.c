/* classes.c: which classes a set has for a run: those that data.classes chooses, or a model's, by name. */
#include "data/set.h"
#include <ctype.h>

/* The class that o->only[k] names: its number, or -1 + fail. */
static int classes_named(const dataset *d, const char *name)
{
    char hint[96];
    int i = class_find(d->class_name, d->classes, name);
    if (i >= 0)
        return i;
    return fail(FAULT_USAGE, "data.classes: %s has no class '%s'%s", d->kind->name, name,
                text_hint(hint, name, d->class_name, d->classes));
}

int classes_keep(dataset *d, const struct data_options *o)
{
    i32 *to = arena_array(d->a, i32, d->classes + 1);
    const char **names = arena_array(d->a, const char *, o->n_only);
    for (int i = 0; i < d->classes; i++)
        to[i] = -1;
    for (int k = 0; k < o->n_only; k++) {
        int c = classes_named(d, o->only[k]);
        if (c < 0 && o->train)
            return -1;
        names[k] = o->only[k];
        if (c < 0) {
            names_add(d->a, &d->empty, slice_of(o->only[k]));
            continue;
        }
        if (to[c] >= 0)
            return fail(FAULT_USAGE, "data.classes: '%s' is named twice", o->only[k]);
        to[c] = k;
    }
    i64 kept = 0;
    for (i64 i = 0; i < d->n; i++)
        if (to[d->label[i]] >= 0) {
            d->path[kept] = d->path[i];
            if (d->record)
                d->record[kept] = d->record[i];
            d->label[kept++] = to[d->label[i]];
        }
    if (!kept)
        return classes_named(d, o->only[0]) < 0 ? -1 : fail(FAULT_DATA, "no image of data.classes");
    d->n = kept;
    d->chosen = true;
    set_classes(d, names, o->n_only);
    return 0;
}

/* A name in a message: in one line, and with quotes where it begins or ends in a blank. */
static const char *classes_shown(arena *a, const char *name)
{
    char shown[512];
    bool blank = *name && (isspace((u8)*name) || isspace((u8)name[strlen(name) - 1]));
    return arena_printf(a, blank ? "'%s'" : "%s", path_shown(shown, name));
}

/* "a, b, c, ... (12)": the first names of a list. */
static const char *classes_few(arena *a, const char *const *names, int n)
{
    enum { MOST = 8 };
    const char *text = "";
    for (int i = 0; i < n && i < MOST; i++)
        text = arena_printf(a, "%s%s%s", text, i ? ", " : "", classes_shown(a, names[i]));
    return n > MOST ? arena_printf(a, "%s, ... (%d)", text, n) : text;
}

int data_follow(dataset *d, const char *const *names, int n, const char *whose)
{
    i32 *to = arena_array(d->a, i32, d->classes + 1);
    const char **unknown = arena_array(d->a, const char *, d->classes + 1);
    i64 *images = arena_array(d->a, i64, d->classes + 1);
    int strangers = 0;
    for (i64 i = 0; i < d->n; i++)
        images[d->label[i]]++;
    for (int k = 0; k < d->classes; k++) {
        to[k] = class_find(names, n, d->class_name[k]);
        if (to[k] < 0 && (images[k] || d->chosen))
            unknown[strangers++] = d->class_name[k];
    }
    char hint[96];
    if (strangers)
        return fail(FAULT_DATA, "%s/%s: %d of its %d classes %s not among those of %s: %s%s; %s has %d: %s",
                    d->root, d->split, strangers, d->classes, strangers > 1 ? "are" : "is", whose,
                    classes_few(d->a, unknown, strangers), text_hint(hint, unknown[0], names, n), whose, n,
                    classes_few(d->a, names, n));
    for (i64 i = 0; i < d->n; i++)
        d->label[i] = to[d->label[i]];
    set_classes(d, names, n);
    return 0;
}
