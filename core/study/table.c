/* table.c: reads a table file and finds or makes the experiments of its cells. */
#include "study/table.h"
#include "log/files.h"
#include <dirent.h>
#include <math.h>

const char *const metric_names[METRICS] = {
#define METRIC(name, kind, value, help) #name,
#include "study/metrics.def"
#undef METRIC
};

bool metric_counted(enum metric m)
{
    return m == METRIC_params || m == METRIC_flops || m == METRIC_flops_complete;
}

/* ---- small readers ------------------------------------------------------------------------------------- */

static int only_keys(const struct yaml *y, const char *what, const char *const *known, int n)
{
    if (y->kind != YAML_MAP)
        return yaml_fail(y, "%s is made of `key: value` pairs", what);
    for (int i = 0; i < y->n; i++) {
        const char *key = y->items[i].key;
        char hint[96];
        bool found = false;
        for (int j = 0; j < n; j++)
            found |= !strcmp(key, known[j]);
        if (found)
            continue;
        return place_fail(y->items[i].key_at, "unknown key '%s' in %s%s", key, what,
                          text_hint(hint, key, known, n));
    }
    return 0;
}

/* Text below a key; `fallback` when it is absent. NULL + fail for anything else, and without a fallback. */
static const char *text_at(const struct yaml *y, const char *key, const char *fallback)
{
    const struct yaml *v = yaml_get(y, key);
    if (v && v->kind == YAML_TEXT && v->text[0])
        return v->text;
    if (!v && fallback)
        return fallback;
    yaml_fail(v ? v : y, "%s must be text", key);
    return NULL;
}

/* The list below a key; *n is 0 when it is absent. */
static int list_below(const struct yaml *y, const char *key, const struct yaml **items, int *n)
{
    const struct yaml *v = yaml_get(y, key);
    *items = v ? v->items : NULL;
    *n = v ? v->n : 0;
    return v && v->kind != YAML_LIST ? yaml_fail(v, "%s must be a list", key) : 0;
}

/* An integer from 0 to most below a key; *out stays when it is absent. */
static int number_at(const struct yaml *y, const char *key, i64 most, i64 *out)
{
    const struct yaml *v = yaml_get(y, key);
    if (v && (v->kind != YAML_TEXT || !text_int(slice_of(v->text), out) || *out < 0 || *out > most))
        return yaml_fail(v, "%s must be an integer from 0 to %lld", key, (long long)most);
    return 0;
}

static int read_metric(const struct yaml *y, const char *name, enum metric *out)
{
    for (int i = 0; i < METRICS; i++)
        if (!strcmp(metric_names[i], name)) {
            *out = (enum metric)i;
            return 0;
        }
    char all[512] = "", hint[96];
    for (int i = 0; i < METRICS; i++)
        snprintf(all + strlen(all), sizeof all - strlen(all), "%s%s", i ? ", " : "", metric_names[i]);
    return yaml_fail(y, "no metric '%s'%s; there are: %s", name,
                     text_hint(hint, name, metric_names, METRICS), all);
}

/* ---- experiments --------------------------------------------------------------------------------------- */

struct identity { struct identity *next; const char *device, *text; };
struct context {                                  /* what loading passes along */
    struct table *t;
    struct identity *identities;
    bool collect;
    const struct yaml *root, *prepare;
    int n_prepare;
    int *prepared;                                /* index of each in runs */
    const struct spec_set *sets;
    int n_sets;
};

/* What else a result depends on: the device that is meant here, its driver, this program. Looked up once per
 * name. */
static const char *table_identity(struct context *c, const char *device)
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
static const char *found_elsewhere(struct table *t, const struct spec *s, u64 hash)
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
static int add_run(struct context *c, const struct spec *s, const char *name)
{
    struct table *t = c->t;
    u64 hash = spec_hash(s), own = hash_text(hash, table_identity(c, s->device));
    const char *dir = arena_printf(t->arena, "%s/%s/seed-%lld-%08x", t->out, folder_name(t->arena, s->name),
                                   (long long)s->seed, (u32)(own ^ own >> 32)), *other = NULL;
    if (c->collect && !file_exists(arena_printf(t->arena, "%s/result.json", dir)))
        other = found_elsewhere(t, s, hash);
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
static const struct yaml *key_in(const struct yaml *y, const char *path, size_t n)
{
    for (int i = 0; y && y->kind == YAML_MAP && i < y->n; i++) {
        size_t k = strlen(y->items[i].key);
        if (k > n || strncmp(y->items[i].key, path, k))
            continue;
        if (k == n)
            return &y->items[i];
        const struct yaml *in = path[k] == '.' ? key_in(&y->items[i], path + k + 1, n - k - 1) : NULL;
        if (in)
            return in;
    }
    return NULL;
}

/* --set of a key in which rows or columns differ would make their cells one and the same. */
static int refuse_overrides(const struct context *c, const char *list)
{
    const struct yaml *items;
    int n;
    if (list_below(c->root, list, &items, &n))
        return -1;
    for (int i = 0; i < n; i++)
        for (int k = 0; k < c->n_sets; k++) {
            const char *text = c->sets[k].text;
            size_t length = text ? strcspn(text, "=") : 0;
            const struct yaml *at = length ? key_in(yaml_get(&items[i], "set"), text, length) : NULL;
            if (at)
                return place_fail(at->key_at,
                                  "%s %s is over %.*s of these %s, whose cells would then be the same; "
                                  "change it here",
                                  c->sets[k].by, text, (int)length, text, list);
        }
    return 0;
}

static int prepared_at(const struct context *c, const struct yaml *y)
{
    const char **names = arena_array(c->t->arena, const char *, c->n_prepare + 1), *want = y->text;
    char hint[96];
    for (int i = 0; i < c->n_prepare; i++) {
        names[i] = text_at(&c->prepare[i], "name", "");
        if (!strcmp(names[i], want))
            return i;
    }
    return yaml_fail(y, "use: nothing called '%s' in prepare%s", want,
                     text_hint(hint, want, names, c->n_prepare));
}

/* One run of `file`: over it the table's set, the row's, the column's, `use`, the seed, and what the command
 * line says. Returns its place in the list, or -1 + fail. */
static int table_resolve(struct context *c, const char *name, const struct yaml *file, const struct yaml *row,
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
        int at = prepared_at(c, &use->items[i]);
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
    int at = spec_load(&s, a, path, sets, n) ? -1 : add_run(c, &s, name);
    if (at >= 0 && use) {
        c->t->runs[at].uses = uses;
        c->t->runs[at].n_uses = use->n;
    }
    return at;
}

static int read_prepare(struct context *c)
{
    static const char *const known[] = { "name", "file", "set", "use" };
    int all;
    if (list_below(c->root, "prepare", &c->prepare, &all))
        return -1;
    c->prepared = arena_array(c->t->arena, int, MAX(1, all));
    for (; c->n_prepare < all; c->n_prepare++) {           // each may use those before it
        const struct yaml *y = &c->prepare[c->n_prepare], *file = yaml_get(y, "file");
        const char *name = only_keys(y, "prepare", known, countof(known)) ? NULL : text_at(y, "name", NULL);
        if (!name)
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

/* ---- columns and rows ---------------------------------------------------------------------------------- */

/* A column is a name, or a map with more. Those without a metric of their own take the rows' cells one
 * after the other. */
static int read_column(const struct yaml *y, enum metric metric, struct table_column *out, int *next)
{
    static const char *const known[] = { "name", "metric", "cell", "set", "row", "per", "digits" };
    const struct yaml *own = yaml_get(y, "metric");
    i64 at = own ? 0 : (*next)++, digits = -1;
    *out = (struct table_column){ .metric = metric, .plain = !own, .row = -1, .per = 1,
                                  .set = yaml_get(y, "set") };
    if (y->kind != YAML_TEXT && only_keys(y, "columns", known, countof(known)))
        return -1;
    out->name = y->kind == YAML_TEXT ? y->text : text_at(y, "name", NULL);
    if (!out->name || (own && read_metric(own, own->text, &out->metric)))
        return -1;
    if (number_at(y, "cell", 1000, &at) || number_at(y, "digits", 9, &digits))
        return -1;
    const struct yaml *per = yaml_get(y, "per");
    if (per && (per->kind != YAML_TEXT || !text_real(slice_of(per->text), &out->per) || out->per <= 0))
        return yaml_fail(per, "per must be a number above 0");
    out->cell = (int)at;
    out->digits = (int)digits;
    return 0;
}

static int read_columns(struct context *c, const char *metric_name)
{
    const struct yaml *items, *metric = yaml_get(c->root, "metric");
    enum metric m = METRIC_top1;
    int next = 0;
    struct table *t = c->t;
    if (read_metric(metric ? metric : c->root, metric_name, &m) ||
        list_below(c->root, "columns", &items, &t->n_columns))
        return -1;
    t->columns = arena_array(t->arena, struct table_column, MAX(1, t->n_columns));
    for (int i = 0; i < t->n_columns; i++)
        if (read_column(&items[i], m, &t->columns[i], &next))
            return -1;
    return t->n_columns ? 0 : yaml_fail(c->root, "a table needs columns");
}

static int read_cell(struct context *c, const struct yaml *row, const char *name,
                     const struct table_column *column, const struct yaml *file, struct table_cell *out)
{
    const struct yaml *seeds;
    int n;
    if (list_below(c->root, "seeds", &seeds, &n))
        return -1;
    out->runs = arena_array(c->t->arena, int, MAX(1, n));
    const char *shown = column->plain ? arena_printf(c->t->arena, "%s / %s", name, column->name) : name;
    for (int i = 0; i < MAX(1, n); i++) {
        int at = table_resolve(c, shown, file, row, column, n ? &seeds[i] : NULL);
        bool twice = false;
        if (at < 0)
            return -1;
        c->t->runs[at].counts_only &= metric_counted(column->metric);
        for (int j = 0; j < out->n; j++)
            twice |= out->runs[j] == at;                   // --seed makes all seeds one
        if (!twice)
            out->runs[out->n++] = at;
    }
    return 0;
}

static int read_paper(struct table *t, const struct yaml *row, f64 *out)
{
    const struct yaml *items;
    int n;
    if (list_below(row, "paper", &items, &n))
        return -1;
    if (n && n != t->n_columns)
        return yaml_fail(yaml_get(row, "paper"), "%d numbers for %d columns", n, t->n_columns);
    for (int i = 0; i < t->n_columns; i++) {
        out[i] = NAN;
        bool text = n && items[i].kind == YAML_TEXT;
        if (n && (!text || (items[i].text[0] && !text_real(slice_of(items[i].text), &out[i]))))
            return yaml_fail(&items[i], "paper must hold numbers, or ~ for none");
    }
    return 0;
}

static int read_row(struct context *c, const struct yaml *y, struct table_row *out)
{
    static const char *const known[] = { "name", "cells", "paper", "set", "use" };
    struct table *t = c->t;
    const struct yaml *cells;
    int n;
    if (only_keys(y, "rows", known, countof(known)) || list_below(y, "cells", &cells, &n) ||
        !(out->name = text_at(y, "name", NULL)))
        return -1;
    out->cells = arena_array(t->arena, struct table_cell, t->n_columns);
    out->paper = arena_array(t->arena, f64, t->n_columns);
    for (int i = 0; i < t->n_columns; i++) {
        int at = n == 1 ? 0 : t->columns[i].cell;
        if (at >= n)
            return yaml_fail(y, "row '%s' has %d cells, but column '%s' is number %d", out->name, n,
                             t->columns[i].name, at + 1);
        bool none = cells[at].kind == YAML_TEXT && !cells[at].text[0];
        if (!none && read_cell(c, y, out->name, &t->columns[i], &cells[at], &out->cells[i]))
            return -1;
    }
    return read_paper(t, y, out->paper);
}

static int table_read_rows(struct context *c)
{
    struct table *t = c->t;
    const struct yaml *items, *columns = yaml_get(c->root, "columns");
    if (list_below(c->root, "rows", &items, &t->n_rows))
        return -1;
    t->rows = arena_array(t->arena, struct table_row, MAX(1, t->n_rows));
    for (int i = 0; i < t->n_rows; i++)
        if (read_row(c, &items[i], &t->rows[i]))
            return -1;
    for (int i = 0; i < t->n_columns; i++) {
        const struct yaml *row = yaml_get(&columns->items[i], "row");
        for (int j = 0; row && j < t->n_rows; j++)
            if (!strcmp(row->text, t->rows[j].name))
                t->columns[i].row = j;
        if ((row || t->columns[i].metric == METRIC_epochs_to) && t->columns[i].row < 0)
            return yaml_fail(row ? row : &columns->items[i],
                             "metric epochs_to needs `row:` with the name of a row");
    }
    return 0;
}

int table_load(struct table *t, arena *a, const char *path, const char *out, const struct spec_set *sets,
               int n, bool collect)
{
    static const char *const known[] = { "title", "columns", "rows", "prepare", "seeds", "metric", "set",
                                         "transpose", "notes" };
    const struct yaml *notes, *root = yaml_load(a, path);
    struct context c = { .t = t, .root = root, .sets = sets, .n_sets = n, .collect = collect };
    *t = (struct table){ .arena = a, .out = out };
    if (!root || only_keys(root, "a table", known, countof(known)) ||
        !(t->title = text_at(root, "title", "")))
        return -1;
    const char *transpose = text_at(root, "transpose", "off"), *metric = text_at(root, "metric", "top1");
    if (!transpose || !metric || list_below(root, "notes", &notes, &t->n_notes))
        return -1;
    t->transpose = !strcmp(transpose, "on") || !strcmp(transpose, "true");
    t->notes = arena_array(a, const char *, MAX(1, t->n_notes));
    for (int i = 0; i < t->n_notes; i++)
        t->notes[i] = notes[i].kind == YAML_TEXT ? notes[i].text : "";
    return refuse_overrides(&c, "rows") || refuse_overrides(&c, "columns") || read_prepare(&c)
           || read_columns(&c, metric) || table_read_rows(&c) ? -1 : 0;
}
