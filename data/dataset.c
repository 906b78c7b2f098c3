/* dataset.c: opening a set by name, and what all sets share: the sample list, where the root is. */
#include "data/verify.h"
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

const struct data_set *data_set_named(const char *name)
{
    const char *names[countof(sets)];
    for (int i = 0; i < countof(sets); i++) {
        names[i] = sets[i]->name;
        if (!strcmp(names[i], name))
            return sets[i];
    }
    char hint[96], list[512] = "";
    for (int i = 0; i < countof(sets); i++)
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", i ? ", " : "", names[i]);
    fail(FAULT_USAGE, "no data set '%s'%s; known: %s", name, text_hint(hint, name, names, countof(sets)),
         list);
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

const char *data_default_root(arena *a, const char *root)
{
    return root && *root ? expand_home(a, root) : default_root(a);
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

int set_map(dataset *d, int k, const char *name)
{
    d->map_name[k] = name;
    return file_map(arena_printf(d->a, "%s/%s", d->root, name), &d->map[k]);
}

static const struct data_split *dataset_find_split(const dataset *d)
{
    const struct data_split *s = d->kind->splits;
    for (; s->name && strcmp(s->name, d->split); s++)
        ;
    return s->name ? s : NULL;
}

static int no_such_split(const dataset *d)
{
    char list[256] = "";
    for (const struct data_split *s = d->kind->splits; s->name; s++)
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", *list ? ", " : "", s->name);
    return fail(FAULT_USAGE, "data set %s has no split '%s'; it has %s", d->kind->name, d->split, list);
}

/* The folder with the layout: ours, the reference's, or the root itself. */
static int find_layout(dataset *d)
{
    const struct data_set *k = d->kind;
    for (int i = 0; i < countof(k->folders); i++) {
        const char *folder = k->folders[i] ? arena_printf(d->a, "%s/%s", d->root, k->folders[i]) : d->root;
        for (int p = 0; p < countof(k->probe) && k->probe[p]; p++)
            if (file_exists(arena_printf(d->a, "%s/%s", folder, k->probe[p]))) {
                d->root = folder;
                return 0;
            }
        if (!k->folders[i])
            break;
    }
    if (k->mistaken && file_exists(arena_printf(d->a, "%s/%s", d->root, k->mistaken)))
        return fail(FAULT_DATA, "%s/%s: %s", d->root, k->mistaken, k->hint);
    return fail(FAULT_DATA, "%s: no %s there (no %s/%s)%s%s", d->root, k->name, k->folders[0], k->probe[0],
                k->sources[0].url ? "; get it with: jetcl data fetch " : "",
                k->sources[0].url ? k->name : "");
}

/* Would all pictures, decoded, fit into what may be kept? Judged by the sizes of a few: a set that does not
 * fit is better decoded crop by crop. */
static bool small_enough(dataset *d, const struct data_options *o)
{
    enum { PROBES = 16 };
    struct decoder w = { .a = arena_open("sizes") };
    f64 bytes = 0;
    int known = 0;
    for (int k = 0; k < PROBES; k++) {
        char path[4096];
        struct image_info info;
        size_t n;
        if (image_read_file(&w, data_path(d, d->n * k / PROBES, path), &n)
            || image_peek(w.file, n, o->exif, &info))
            continue;
        bytes += 3.0 * info.w * info.h;
        known++;
    }
    arena_close(w.a);
    fail_clear();                                 // a damaged file is the loader's to report
    return known && bytes / known * (f64)d->n <= MOST_KEPT;
}

static int finish_open(dataset *d, const struct data_options *o)
{
    if (!d->n)
        return fail(FAULT_DATA, "%s: split '%s' holds no image", d->root, d->split);
    if (d->n > INT32_MAX)
        return fail(FAULT_DATA, "%s: %ld samples, more than are supported", d->root, (long)d->n);
    memcpy(d->mean, o->has_mean ? o->mean : d->kind->mean, sizeof d->mean);
    memcpy(d->std, o->has_std ? o->std : d->kind->std, sizeof d->std);
    if (o->keep_decoded && !d->kind->pixels && small_enough(d, o))
        d->kept = arena_array(d->a, struct image, d->n);
    return 0;
}

/* All samples of the split, in place: by an index that is known, or by what lies there. */
static int dataset_list(dataset *d, const struct data_options *o)
{
    const struct data_set *k = d->kind;
    const void *index = index_known(d, o->fold);
    if (k->splits[0].name && !dataset_find_split(d))
        return no_such_split(d);
    if (k->probe[0] && find_layout(d))
        return -1;
    return index ? index_read(d, index) : k->open(d, o);
}

static int open_kind(dataset *d, const struct data_options *o)
{
    const struct data_split *split = dataset_find_split(d);
    if (dataset_list(d, o))
        return -1;
    d->listed = d->n;
    d->published = split ? split->images : 0;
    return (o->n_only && classes_keep(d, o)) || finish_open(d, o) ? -1 : 0;
}

static dataset *new_dataset(const struct data_set *kind)
{
    arena *a = arena_open("data set");
    dataset *d = arena_one(a, dataset);
    *d = (dataset){ .a = a, .kind = kind };
    pthread_mutex_init(&d->lock, NULL);
    return d;
}

/* The set that is asked for, nothing of it read yet; NULL + fail. */
static dataset *dataset_named(const struct data_options *o)
{
    const struct data_set *kind = data_set_named(o->set);
    if (!kind)
        return NULL;
    dataset *d = new_dataset(kind);
    d->split = o->split && *o->split ? o->split : o->train ? "train" : "test";
    d->root = data_default_root(d->a, o->root);
    return d;
}

static dataset *dataset_checked(dataset *d, int rc)
{
    if (rc)
        data_close(d);
    return rc ? NULL : d;
}

static void say_passed_over(const dataset *d)
{
    const char *what = data_passed_over(d->a, d);
    if (*what)
        say(SAY_NORMAL, "%s%s%s: passed over %s", d->root, *d->root ? "/" : "",
            *d->split ? d->split : "images", what);
}

bool data_absent(const struct data_options *o)
{
    const struct data_set *kind = data_set_named(o->set);
    if (!kind)
        return false;
    dataset *d = new_dataset(kind);
    d->root = data_default_root(d->a, o->root);
    d->split = o->split;
    bool known = !kind->splits[0].name || dataset_find_split(d);
    bool absent = !known           ? false
                  : kind->made     ? !file_exists(arena_printf(d->a, "%s/%s", d->root, kind->made))
                  : kind->probe[0] ? find_layout(d)
                                   : !file_exists(d->root);
    fail_clear();
    data_close(d);
    return absent;
}

bool data_drawn(const struct data_options *o)
{
    const struct data_set *kind = data_set_named(o->set);
    return kind && kind->made;
}

int data_published(const struct data_options *o, int *classes)
{
    const struct data_set *kind = data_set_named(o->set);
    *classes = kind ? kind->classes : 0;
    for (const struct data_split *x = kind ? kind->splits : NULL; x && x->name; x++)
        if (!strcmp(x->name, o->split)) {
            *classes = x->classes ? x->classes : *classes;
            return (int)x->images;
        }
    return 0;
}

dataset *data_open(const struct data_options *o)
{
    dataset *d = dataset_named(o);
    int rc = d ? open_kind(d, o) : -1;
    if (!rc)
        say_passed_over(d);
    return dataset_checked(d, rc);
}

bool data_is_listed(const struct data_options *o)
{
    dataset *d = dataset_named(o);
    bool listed = d && !d->kind->pixels && !d->kind->made && !index_known(d, o->fold);
    data_close(d);
    fail_clear();
    return listed;
}

void *data_index(arena *a, const struct data_options *o, u64 *bytes)
{
    dataset *d = dataset_named(o);
    void *index = d && !dataset_list(d, o) ? index_write(d, a, bytes) : NULL;
    data_close(d);
    return index;
}

void data_take_index(const struct data_options *o, const void *index)
{
    dataset *d = dataset_named(o);
    if (d)
        index_remember(d, o->fold, index);
    data_close(d);
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
        rc = realpath(paths[i], full) ? set_add_below(d, arena_printf(d->a, "%s", full + 1))
                                      : fail(FAULT_DATA, "%s: %s", paths[i], strerror(errno));
    }
    rc = rc || finish_open(d, o) ? -1 : 0;
    if (!rc)
        say_passed_over(d);
    return dataset_checked(d, rc);
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

const char *const *data_class_names(const dataset *d) { return d->class_name; }

i32 data_label(const dataset *d, i64 i)
{
    check(i >= 0 && i < d->n, "sample %ld of %ld", (long)i, (long)d->n);
    return d->label[i];
}

const char *data_folder(arena *a, const dataset *d, const char *split)
{
    const char *folder = arena_printf(a, "%s/%s", d->root, split);
    return *split && file_is_folder(folder) ? folder : NULL;
}

const char *data_path(const dataset *d, i64 i, char out[4096])
{
    check(i >= 0 && i < d->n, "sample %ld of %ld", (long)i, (long)d->n);
    if (d->path[i]) {
        snprintf(out, 4096, "%s/%s", d->root, d->path[i]);
        return out;
    }
    for (int k = 0; k < countof(d->map) && d->map[k].p; k++)
        if (d->record[i] >= d->map[k].p && d->record[i] < d->map[k].p + d->map[k].n)
            snprintf(out, 4096, "%s/%s, byte %ld", d->root, d->map_name[k],
                     (long)(d->record[i] - d->map[k].p));
    return out;
}

void data_mean_std(const dataset *d, f32 mean[3], f32 std[3])
{
    memcpy(mean, d->mean, sizeof d->mean);
    memcpy(std, d->std, sizeof d->std);
}
