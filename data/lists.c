/* lists.c: what annotation files are made of: lines, words, and names to look up. */
#include "data/set.h"
#include <stdlib.h>

static bool lists_blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }

bool list_line(const char **at, slice *line)
{
    while (**at) {
        const char *p = *at, *end = p + strcspn(p, "\r\n");
        *at = *end ? end + 1 : end;
        while (p < end && lists_blank(*p))
            p++;
        while (end > p && lists_blank(end[-1]))
            end--;
        if (p < end && *p != '#') {
            *line = (slice){ p, (size_t)(end - p) };
            return true;
        }
    }
    return false;
}

bool list_word(slice *line, slice *word)
{
    while (line->n && lists_blank(*line->p)) {
        line->p++;
        line->n--;
    }
    *word = (slice){ line->p, 0 };
    while (word->n < line->n && !lists_blank(line->p[word->n]))
        word->n++;
    line->p += word->n;
    line->n -= word->n;
    return word->n;
}

char *list_text(const dataset *d, const char *name)
{
    size_t n;
    const char *path = arena_printf(d->a, "%s/%s", d->root, name);
    char *text = file_text(d->a, path, &n);
    if (text && memchr(text, 0, n)) {
        fail(FAULT_DATA, "%s: not a text file in UTF-8", path);
        return NULL;
    }
    return text && text_starts(text, "\xef\xbb\xbf") ? text + 3 : text;       // a byte order mark
}

int list_classes(dataset *d, const char *name, int n)
{
    const char *text = list_text(d, name);
    struct names v = { 0 };
    slice line;
    while (text && list_line(&text, &line))
        names_add(d->a, &v, line);
    if (!text)
        return -1;
    const char *path = arena_printf(d->a, "%s/%s", d->root, name);
    if ((int)v.n != n)
        return fail(FAULT_DATA, "%s: %d names instead of %d", path, (int)v.n, n);
    set_classes(d, v.v, n);
    return class_check(v.v, n, path);
}

int list_path_ok(const dataset *d, const char *what, slice path)
{
    bool up = path.n >= 2 && !memcmp(path.p, "..", 2) && (path.n == 2 || path.p[2] == '/');
    for (size_t i = 0; i + 3 <= path.n; i++)
        up |= !memcmp(path.p + i, "/..", 3) && (i + 3 == path.n || path.p[i + 3] == '/');
    if (!path.n || *path.p == '/' || up || path.n > 1024)
        return fail(FAULT_DATA, "%s/%s: '%.*s' is not an image name", d->root, what, (int)MIN(path.n, 80),
                    path.p);
    return 0;
}

void names_add(arena *a, struct names *v, slice name)
{
    *arena_push(a, v->v, v->n, v->cap) = arena_copy(a, name.p, name.n);
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

void names_sort(struct names *v)
{
    if (!v->n)
        return;
    qsort(v->v, v->n, sizeof *v->v, by_bytes);
    size_t kept = 1;
    for (size_t i = 1; i < v->n; i++)
        if (strcmp(v->v[i], v->v[kept - 1]))
            v->v[kept++] = v->v[i];
    v->n = kept;
}

int names_find(const struct names *v, slice name)
{
    size_t lo = 0, hi = v->n;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        int c = strncmp(v->v[mid], name.p, name.n);
        c = c ? c : v->v[mid][name.n] != 0;
        if (!c)
            return (int)mid;
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return -1;
}
