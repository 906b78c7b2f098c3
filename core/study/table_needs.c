/* table_needs.c: what a table cannot start without: checkpoints and data sets that are not there, and where to
 * get them. */
#include "data/data.h"
#include "study/table.h"

static const struct { const char *file, *where; } published[] = {
#define WEIGHTS(file, where) { file, where },
#include "study/weights.def"
#undef WEIGHTS
};

struct need { const char *what, *where; int runs; };
struct needs { arena *a; struct need *list; size_t n, cap; };

static void needs_add(struct needs *s, const char *what, const char *where)
{
    size_t i = 0;
    while (i < s->n && strcmp(s->list[i].what, what))
        i++;
    if (i == s->n)
        *arena_push(s->a, s->list, s->n, s->cap) = (struct need){ what, where, 0 };
    s->list[i].runs++;
}

/* "a/b/../c" as "a/c": experiments name the same file along different ways. */
static const char *needs_plain(arena *a, const char *path)
{
    char *out = arena_printf(a, "%s", path);
    for (char *up; (up = strstr(out, "/../"));) {
        char *from = up;
        while (from > out && from[-1] != '/')
            from--;
        if (from == up || !strncmp(from, "../", 3))           // nothing before it to leave out
            break;
        memmove(from, up + 4, strlen(up + 4) + 1);
    }
    return out;
}

static const char *needs_where(const char *path)
{
    for (int i = 0; i < countof(published); i++)
        if (text_ends(path, published[i].file))
            return published[i].where;
    return "named by the experiment";
}

/* A checkpoint that a prepared run will leave there is not missing. */
static void needs_checkpoint(struct needs *s, const struct table *t, const struct table_run *r, const char *path)
{
    bool made = !*path || file_exists(path);
    for (int i = 0; i < r->n_uses; i++)
        made |= strstr(path, t->runs[r->uses[i]].dir) != NULL;
    if (!made)
        needs_add(s, needs_plain(s->a, path), needs_where(path));
}

static void needs_data(struct needs *s, const struct table_run *r)
{
    struct data_options o = data_options_of(&r->spec, true);
    if (!*r->spec.data.set || !strcmp(r->spec.data.set, "demo"))          // draws its own
        return;
    dataset *d = data_open(&o);
    if (!d)
        needs_add(s, arena_printf(s->a, "%s", fail_message()), "");       // says where to get it
    data_close(d);
    fail_clear();
}

void table_needs(FILE *f, const struct table *t)
{
    struct needs s = { .a = arena_open("what a table needs") };
    for (size_t i = 0; i < t->n_runs; i++) {
        const struct table_run *r = &t->runs[i];
        if (r->state == CELL_DONE || (r->counts_only && !r->prepared))
            continue;
        needs_checkpoint(&s, t, r, r->spec.model.init);
        needs_checkpoint(&s, t, r, r->spec.recycle.from.experts);
        needs_checkpoint(&s, t, r, r->spec.recycle.from.dense);
        needs_data(&s, r);
    }
    for (size_t i = 0; i < s.n; i++)
        fprintf(f, "missing for %d: %s%s%s\n", s.list[i].runs, s.list[i].what, *s.list[i].where ? ": " : "",
                s.list[i].where);
    arena_close(s.a);
}
