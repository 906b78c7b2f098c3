/* index.c: what listing a set's files gives, as bytes that other processes can take in place of reading folders
 * and lists themselves.
 *
 *     head | labels, i32 each | names of classes, of empty classes, and paths, each with its NUL
 */
#include "data/set.h"
#include <errno.h>

enum { CHECKED = 16 };                            /* files that must be there before an index is believed */

struct index_head { i64 n; i32 classes, empty; struct passed_over passed; };

static struct {
    arena *a;
    struct known { const struct data_set *kind; const char *root, *split; int fold; const void *index; } *v;
    size_t n, cap;
} known;

static char *index_put(char *at, const char *const *names, i64 n)
{
    for (i64 i = 0; i < n; i++)
        at = stpcpy(at, names[i]) + 1;
    return at;
}

static u64 index_length(const char *const *names, i64 n)
{
    u64 bytes = 0;
    for (i64 i = 0; i < n; i++)
        bytes += strlen(names[i]) + 1;
    return bytes;
}

void *index_write(const dataset *d, arena *a, u64 *bytes)
{
    struct index_head head = { d->n, d->classes, (i32)d->empty.n, d->passed };
    u64 labels = sizeof *d->label * (u64)d->n;
    *bytes = sizeof head + labels + index_length(d->class_name, d->classes)
             + index_length(d->empty.v, head.empty) + index_length(d->path, d->n);
    char *out = arena_bytes(a, *bytes, _Alignof(struct index_head)), *at = out + sizeof head;
    memcpy(out, &head, sizeof head);
    if (labels)
        memcpy(at, d->label, labels);
    at = index_put(at + labels, d->class_name, d->classes);
    at = index_put(at, d->empty.v, head.empty);
    index_put(at, d->path, d->n);
    return out;
}

/* The next n names, which stay where they are. */
static const char **index_names(arena *a, const char **at, i64 n)
{
    const char **names = arena_array(a, const char *, MAX(1, n));
    for (i64 i = 0; i < n; i++) {
        names[i] = *at;
        *at += strlen(*at) + 1;
    }
    return names;
}

/* Looking for all files would be as slow as listing them; one that is missing later is the loader's to
 * report. */
static int index_check(const dataset *d)
{
    char path[4096], shown[512];
    for (i64 k = 0; k < MIN(CHECKED, d->n); k++)
        if (!file_exists(data_path(d, d->n * k / MIN(CHECKED, d->n), path)))
            return fail(FAULT_DATA, "%s: %s, but rank 0 has it (data.root must hold the same images for all "
                        "ranks)", path_shown(shown, path), strerror(errno));
    return 0;
}

int index_read(dataset *d, const void *index)
{
    struct index_head head;
    memcpy(&head, index, sizeof head);
    const char *labels = (const char *)index + sizeof head, *at = labels + sizeof *d->label * (u64)head.n;
    d->n = d->cap = head.n;
    d->classes = head.classes;
    d->passed = head.passed;
    d->label = arena_array(d->a, i32, MAX(1, head.n));
    memcpy(d->label, labels, sizeof *d->label * (u64)head.n);
    d->class_name = index_names(d->a, &at, head.classes);
    d->empty.n = d->empty.cap = (size_t)head.empty;
    d->empty.v = index_names(d->a, &at, head.empty);
    d->path = index_names(d->a, &at, head.n);
    return index_check(d);
}

const void *index_known(const dataset *d, int fold)
{
    for (size_t i = 0; i < known.n; i++) {
        const struct known *k = &known.v[i];
        if (k->kind == d->kind && k->fold == fold && !strcmp(k->root, d->root) && !strcmp(k->split, d->split))
            return k->index;
    }
    return NULL;
}

void index_remember(const dataset *d, int fold, const void *index)
{
    known.a = known.a ? known.a : arena_open("indices of data sets");
    *arena_push(known.a, known.v, known.n, known.cap) =
        (struct known){ d->kind, arena_printf(known.a, "%s", d->root), arena_printf(known.a, "%s", d->split),
                        fold, index };
}
