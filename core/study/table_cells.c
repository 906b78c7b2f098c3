/* table_cells.c: the experiments of a table's cells: resolved from file, rows, columns and the command line,
 * and found again where their results are there. */
#include "study/table_read.h"
#include "log/files.h"
#include <dirent.h>

/* What else a result depends on: the device that is meant here, its driver, this program. Looked up once per
 * name. */
static const char *table_identity(struct table_reading *c, const char *device)
{
    for (struct identity *i = c->identities; i; i = i->next)
        if (!strcmp(i->device, device))
            return i->text;
    struct identity *i = arena_one(c->t->arena, struct identity);
    struct dev_info d = { .name = "" };
    if (dev_find(device, &d))
        fail_clear();                                      // none here: running it reports that
    *i = (struct identity){ c->identities, device,
                            arena_printf(c->t->arena, "%s\n%s\n%s\n%s\n%s", device, d.name, d.driver,
                                         d.version, JETCL_VERSION) };
    c->identities = i;
    return i->text;
}

/* OUT/NAME/seed-N-* that holds the result of the same experiment, whatever computed it; NULL when none does. */
static const char *table_found_elsewhere(struct table *t, const struct spec *s, u64 hash)
{
    const char *base = arena_printf(t->arena, "%s/%s", t->out, folder_name(t->arena, s->name)), *found = NULL;
    const char *start = arena_printf(t->arena, "seed-%lld-", (long long)s->seed);
    DIR *d = opendir(base);
    struct run_result r;
    for (struct dirent *e; d && (e = readdir(d));) {
        const char *dir =
            text_starts(e->d_name, start) ? arena_printf(t->arena, "%s/%s", base, e->d_name) : NULL;
        if (dir && !result_load(t->arena, dir, &r) && r.hash == hash && (!found || strcmp(dir, found) < 0))
            found = dir;
    }
    if (d)
        closedir(d);
    fail_clear();
    return found;
}

/* The run of a resolved experiment: the one in the list that is the same, else a new one. */
static int table_add_run(struct table_reading *c, const struct spec *s, const char *name)
{
    struct table *t = c->t;
    u64 hash = spec_hash(s), own = hash_text(hash, table_identity(c, s->device));
    const char *dir = arena_printf(t->arena, "%s/%s/seed-%lld-%08x", t->out, folder_name(t->arena, s->name),
                                   (long long)s->seed, (u32)(own ^ own >> 32)), *other = NULL;
    if (c->collect && !file_exists(arena_printf(t->arena, "%s/result.json", dir)))
        other = table_found_elsewhere(t, s, hash);
    dir = other ? other : dir;
    for (size_t i = 0; i < t->n_runs; i++)
        if (!strcmp(t->runs[i].dir, dir)) {
            if (text_starts(name, t->runs[i].name))        // "ViT-T" by Params, now "ViT-T / CIFAR-100"
                t->runs[i].name = name;
            return (int)i;
        }
    struct table_run *r = arena_push(t->arena, t->runs, t->n_runs, t->cap_runs);
    *r = (struct table_run){ .name = name, .dir = dir, .spec = *s, .counts_only = true };
    int none = result_load(t->arena, dir, &r->result);
    if (none < 0)
        return -1;
    r->state = !none && r->result.hash == hash ? CELL_DONE
             : file_exists(arena_printf(t->arena, "%s/config.yaml", dir)) ? CELL_STARTED : CELL_TODO;
    return (int)t->n_runs - 1;
}

/* ---- what the command line sets over rows ---------------------------------------------------------------- */

/* Where a `set` tree sets the key called path[0, n), or NULL. */
static const struct yaml *table_key_in(const struct yaml *y, const char *path, size_t n)
{
    for (int i = 0; y && y->kind == YAML_MAP && i < y->n; i++) {
        size_t k = strlen(y->items[i].key);
        if (k > n || strncmp(y->items[i].key, path, k))
            continue;
        if (k == n)
            return &y->items[i];
        const struct yaml *in = path[k] == '.' ? table_key_in(&y->items[i], path + k + 1, n - k - 1) : NULL;
        if (in)
            return in;
    }
    return NULL;
}

/* Cells would then be one and the same. */
int table_refuse_overrides(const struct table_reading *c, const char *list)
{
    const struct yaml *items;
    int n;
    if (table_list_at(c->root, list, &items, &n))
        return -1;
    for (int i = 0; i < n; i++)
        for (int k = 0; k < c->n_sets; k++) {
            const char *text = c->sets[k].text;
            size_t length = text ? strcspn(text, "=") : 0;
            const struct yaml *at = length ? table_key_in(yaml_get(&items[i], "set"), text, length) : NULL;
            if (at)
                return place_fail(at->key_at,
                                  "%s %s is over %.*s of these %s, whose cells would then be the same; "
                                  "change it here",
                                  c->sets[k].by, text, (int)length, text, list);
        }
    return 0;
}

static int table_prepared_at(const struct table_reading *c, const struct yaml *y)
{
    const char **names = arena_array(c->t->arena, const char *, c->n_prepare + 1), *want = y->text;
    char hint[96];
    for (int i = 0; i < c->n_prepare; i++) {
        names[i] = table_text_at(&c->prepare[i], "name", "");
        if (!strcmp(names[i], want))
            return i;
    }
    return yaml_fail(y, "use: nothing called '%s' in prepare%s", want,
                     text_hint(hint, want, names, c->n_prepare));
}

int table_resolve(struct table_reading *c, const char *name, const struct yaml *file, const struct yaml *row,
                  const struct table_column *column, const struct yaml *seed)
{
    struct spec s;
    arena *a = c->t->arena;
    const struct yaml *use = yaml_get(row, "use");
    const struct yaml *over = column ? column->set : NULL;
    const struct yaml *trees[] = { yaml_get(c->root, "set"), yaml_get(row, "set"), over };
    struct spec_set *sets = arena_array(a, struct spec_set,
                                        countof(trees) + (use ? use->n : 0) + 1 + c->n_sets);
    int n = 0, *uses = arena_array(a, int, use ? MAX(1, use->n) : 1);
    if (file->kind != YAML_TEXT || !file->text[0])
        return yaml_fail(file, "must be the name of an experiment file");
    for (int i = 0; i < countof(trees); i++)
        if (trees[i])
            sets[n++] = (struct spec_set){ .by = "set", .tree = trees[i] };
    for (int i = 0; use && i < use->n; i++) {
        int at = table_prepared_at(c, &use->items[i]);
        if (at < 0)
            return -1;
        uses[i] = c->prepared[at];
        const char *dir = c->t->runs[c->prepared[at]].dir;
        sets[n++] = (struct spec_set){ .by = "use", .text = arena_printf(a, "%s=%s/ckpt/last.safetensors",
                                                                         use->items[i].key, dir) };
    }
    if (seed)
        sets[n++] = (struct spec_set){ .by = "seeds", .text = arena_printf(a, "seed=%s", seed->text) };
    for (int i = 0; i < c->n_sets; i++)
        sets[n++] = c->sets[i];
    const char *path = place_path(a, file->at, file->text);
    if (!file_exists(path))
        return yaml_fail(file, "%s: no such file", path);
    int at = spec_load(&s, a, path, sets, n) ? -1 : table_add_run(c, &s, name);
    if (at >= 0 && use) {
        c->t->runs[at].uses = uses;
        c->t->runs[at].n_uses = use->n;
    }
    return at;
}

int table_read_prepare(struct table_reading *c)
{
    static const char *const known[] = { "name", "file", "set", "use" };
    int all;
    if (table_list_at(c->root, "prepare", &c->prepare, &all))
        return -1;
    c->prepared = arena_array(c->t->arena, int, MAX(1, all));
    for (; c->n_prepare < all; c->n_prepare++) {           // each may use those before it
        const struct yaml *y = &c->prepare[c->n_prepare], *file = yaml_get(y, "file");
        const char *name;
        if (table_only_keys(y, "prepare", known, countof(known)) || !(name = table_text_at(y, "name", NULL)))
            return -1;
        if (!file)
            return yaml_fail(y, "prepare needs a name and a file");
        int at = table_resolve(c, arena_printf(c->t->arena, "prepare / %s", name), file, y, NULL, NULL);
        if (at < 0)
            return -1;
        c->prepared[c->n_prepare] = at;
        c->t->runs[at].prepared = true;
    }
    return 0;
}
