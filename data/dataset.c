/* dataset.c: opening a set by name, and what all sets share: the sample list, classes, where the root is. */
#include "data/set.h"
#include <errno.h>
#include <limits.h>
#include <stdlib.h>

static const struct data_set *const sets[] = {
#define SET(name) &name##_set,
#include "data/datasets.def"
#undef SET
};

const char *data_set_name(int i) { return i >= 0 && i < countof(sets) ? sets[i]->name : NULL; }
const char *data_set_help(int i) { return i >= 0 && i < countof(sets) ? sets[i]->help : NULL; }

static const struct data_set *find(const char *name)
{
    const char *names[countof(sets)];
    for (int i = 0; i < countof(sets); i++) {
        names[i] = sets[i]->name;
        if (!strcmp(names[i], name))
            return sets[i];
    }
    const char *near = text_nearest(name, names, countof(sets));
    char list[512] = "";
    for (int i = 0; i < countof(sets); i++)
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", i ? ", " : "", names[i]);
    fail(FAULT_USAGE, "no data set '%s'%s%s%s; known: %s", name, near ? " (did you mean '" : "", near ? near : "",
         near ? "'?)" : "", list);
    return NULL;
}

/* Where sets are looked for when the experiment names no root. */
static const char *default_root(arena *a)
{
    const char *data = getenv("JETCL_DATA"), *xdg = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    if (data && *data)
        return arena_printf(a, "%s", data);
    if (xdg && *xdg)
        return arena_printf(a, "%s/jetcl/datasets", xdg);
    return arena_printf(a, "%s/.local/share/jetcl/datasets", home ? home : ".");
}

static const char *expand_home(arena *a, const char *path)
{
    const char *home = getenv("HOME");
    return path[0] == '~' && (path[1] == '/' || !path[1]) && home ? arena_printf(a, "%s%s", home, path + 1)
                                                                  : arena_printf(a, "%s", path);
}

void set_add(dataset *d, const char *path, i32 label)
{
    if (d->n == d->cap) {
        i64 cap = MAX(1024, 2 * d->cap);
        const char **paths = arena_array(d->a, const char *, cap);
        i32 *labels = arena_array(d->a, i32, cap);
        if (d->n) {
            memcpy(paths, d->path, sizeof *paths * (size_t)d->n);
            memcpy(labels, d->label, sizeof *labels * (size_t)d->n);
        }
        d->path = paths;
        d->label = labels;
        d->cap = cap;
    }
    d->path[d->n] = path;
    d->label[d->n++] = label;
}

void set_classes(dataset *d, const char *const *names, int n)
{
    d->classes = n;
    d->class_name = arena_array(d->a, const char *, MAX(1, n));
    for (int i = 0; i < n; i++) {
        char shown[512];
        d->class_name[i] = arena_printf(d->a, "%s", path_shown(shown, names[i]));
    }
}

int set_no_split(const dataset *d, const char *known)
{
    return fail(FAULT_USAGE, "data set %s has no split '%s'; it has %s", d->kind->name, d->split, known);
}

/* The class that o->only[k] names: its number, or -1 + fail. */
static int class_named(const dataset *d, const char *name)
{
    for (int i = 0; i < d->classes; i++)
        if (!strcmp(d->class_name[i], name))
            return i;
    const char *near = text_nearest(name, d->class_name, d->classes);
    return fail(FAULT_USAGE, "data.classes: %s has no class '%s'%s%s%s", d->kind->name, name, near ? " (did you mean '" : "",
                near ? near : "", near ? "'?)" : "");
}

/* Leaves the samples of the wanted classes, relabelled in their order. Not for record files, whose samples are places. */
static int keep_classes(dataset *d, const struct data_options *o)
{
    i32 *to = arena_array(d->a, i32, d->classes + 1);
    const char **names = arena_array(d->a, const char *, o->n_only);
    for (int i = 0; i < d->classes; i++)
        to[i] = -1;
    for (int k = 0; k < o->n_only; k++) {
        int c = class_named(d, o->only[k]);
        if (c < 0)
            return -1;
        to[c] = k;
        names[k] = d->class_name[c];
    }
    i64 kept = 0;
    d->place = d->kind->pixels ? arena_array(d->a, i64, d->n) : NULL;
    for (i64 i = 0; i < d->n; i++)
        if (to[d->label[i]] >= 0) {
            if (d->place)
                d->place[kept] = i;
            else
                d->path[kept] = d->path[i];
            d->label[kept++] = to[d->label[i]];
        }
    d->n = kept;
    d->class_name = names;
    d->classes = o->n_only;
    return 0;
}

static int finish_open(dataset *d, const struct data_options *o)
{
    if (!d->n)
        return fail(FAULT_DATA, "%s: split '%s' holds no image", d->root, d->split);
    if (d->n > INT32_MAX)
        return fail(FAULT_DATA, "%s: %ld samples are more than are counted here", d->root, (long)d->n);
    bool given = o->std[0] != 0;
    memcpy(d->mean, given ? o->mean : d->kind->mean, sizeof d->mean);
    memcpy(d->std, given ? o->std : d->kind->std, sizeof d->std);
    if (o->keep_decoded && !d->kind->pixels)
        d->kept = arena_array(d->a, struct image, d->n);
    return 0;
}

static int open_kind(dataset *d, const struct data_options *o)
{
    return d->kind->open(d, o) || (o->n_only && keep_classes(d, o)) || finish_open(d, o) ? -1 : 0;
}

static dataset *new_dataset(const struct data_set *kind)
{
    arena *a = arena_open("data set");
    dataset *d = arena_one(a, dataset);
    *d = (dataset){ .a = a, .kind = kind };
    pthread_mutex_init(&d->lock, NULL);
    return d;
}

static dataset *checked(dataset *d, int rc)
{
    if (rc)
        data_close(d);
    return rc ? NULL : d;
}

dataset *data_open(const struct data_options *o)
{
    const struct data_set *kind = find(o->set);
    if (!kind)
        return NULL;
    dataset *d = new_dataset(kind);
    d->split = o->split && *o->split ? o->split : o->train ? "train" : "test";
    d->root = o->root && *o->root ? expand_home(d->a, o->root) : default_root(d->a);
    return checked(d, open_kind(d, o));
}

dataset *data_open_files(const char *const *paths, int n, const struct data_options *o)
{
    dataset *d = new_dataset(&folder_set);
    d->split = "";
    d->root = "";                                 // paths are absolute, without the first slash
    set_classes(d, (const char *const[]){ "any" }, 1);
    int rc = 0;
    for (int i = 0; i < n && !rc; i++) {
        char full[PATH_MAX];
        rc = realpath(paths[i], full) ? folder_add_below(d, arena_printf(d->a, "%s", full + 1))
                                      : fail(FAULT_DATA, "%s: %s", paths[i], strerror(errno));
    }
    return checked(d, rc || finish_open(d, o) ? -1 : 0);
}

void data_close(dataset *d)
{
    if (!d)
        return;
    for (int i = 0; i < countof(d->map); i++)
        file_unmap(&d->map[i]);
    pthread_mutex_destroy(&d->lock);
    arena_close(d->a);
}

int data_count(const dataset *d)   { return (int)d->n; }
int data_classes(const dataset *d) { return d->classes; }

const char *data_class_name(const dataset *d, int class)
{
    check(class >= 0 && class < d->classes, "class %d of %d", class, d->classes);
    return d->class_name[class];
}

i32 data_label(const dataset *d, i64 i)
{
    check(i >= 0 && i < d->n, "sample %ld of %ld", (long)i, (long)d->n);
    return d->label[i];
}

const char *data_path(const dataset *d, i64 i, char out[4096])
{
    if (d->kind->pixels)
        snprintf(out, 4096, "%s/%s[%ld]", d->root, d->split, (long)(d->place ? d->place[i] : i));
    else
        snprintf(out, 4096, "%s/%s", d->root, d->path[i]);
    return out;
}

void data_mean_std(const dataset *d, f32 mean[3], f32 std[3])
{
    memcpy(mean, d->mean, sizeof d->mean);
    memcpy(std, d->std, sizeof d->std);
}
