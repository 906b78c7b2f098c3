/* needs.c: checkpoints and data sets that experiments start from and that are
 * not there, and where to get them. */
#include "data/data.h"
#include "study/study.h"

static const struct { const char *file, *where; } published[] = {
#define WEIGHTS(file, where) { file, where },
#include "study/weights.def"
#undef WEIGHTS
};

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

static const char *needs_where(arena *a, const char *path)
{
    for (int i = 0; i < countof(published); i++)
        if (text_ends(path, published[i].file))
            return published[i].where;
    const char *run = strstr(path, "runs/"), *name = run ? run + strlen("runs/") : "";
    if (run && (run == path || run[-1] == '/') && strchr(name, '/'))
        return arena_printf(a, "left by a run of the experiment named %.*s", (int)strcspn(name, "/"), name);
    return "named by the experiment";
}

bool needs_checkpoint(struct needs *s, const char *path)
{
    if (!*path || file_exists(path))
        return false;
    needs_add(s, needs_plain(s->a, path), needs_where(s->a, path));
    return true;
}

bool needs_data(struct needs *s, const struct spec *spec)
{
    struct data_options o = data_options_of(spec, true);
    if (!*spec->data.set || !data_absent(&o))
        return false;
    if (data_drawn(&o))
        return true;
    data_close(data_open(&o));
    needs_add(s, arena_printf(s->a, "%s", fail_message()), "");                          // says where to get it
    fail_clear();
    return true;
}

void needs_print(FILE *f, const struct needs *s)
{
    for (size_t i = 0; i < s->n; i++)
        fprintf(f, "missing for %d: %s%s%s\n", s->list[i].runs, s->list[i].what, *s->list[i].where ? ": " : "",
                s->list[i].where);
}

void needs_say(const struct needs *s)
{
    for (size_t i = 0; i < s->n; i++)
        say(SAY_NORMAL, "missing: %s%s%s", s->list[i].what, *s->list[i].where ? ": " : "", s->list[i].where);
}

json_t *needs_json(const struct needs *s)
{
    json_t *list = json_array();
    for (size_t i = 0; i < s->n; i++)
        json_array_append_new(list, json_pack("{s:o, s:o, s:i}", "what", json_text(s->list[i].what), "where",
                                              json_text(s->list[i].where), "for", s->list[i].runs));
    return list;
}
