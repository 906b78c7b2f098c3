/* table.c: reads a table file: columns, rows, and what each cell holds. */
#include "study/table_read.h"
#include <math.h>

/* A column is a name, or a map with more. Those without a metric of their own take the rows' cells one
 * after the other. */
static int table_read_column(const struct yaml *y, enum metric metric, struct table_column *out, int *next)
{
    static const char *const known[] = { "name", "metric", "cell", "set", "row", "per", "digits" };
    const struct yaml *own = yaml_get(y, "metric");
    i64 at = own ? 0 : (*next)++, digits = -1;
    *out = (struct table_column){ .metric = metric, .plain = !own, .row = -1, .per = 1,
                                  .set = yaml_get(y, "set") };
    if (y->kind != YAML_TEXT && table_only_keys(y, "columns", known, countof(known)))
        return -1;
    out->name = y->kind == YAML_TEXT ? y->text : table_text_at(y, "name", NULL);
    if (!out->name || (own && table_metric_at(own, own->text, &out->metric)))
        return -1;
    if (table_integer_at(y, "cell", 1000, &at) || table_integer_at(y, "digits", 9, &digits))
        return -1;
    const struct yaml *per = yaml_get(y, "per");
    if (per && (per->kind != YAML_TEXT || !text_real(slice_of(per->text), &out->per) || out->per <= 0))
        return yaml_fail(per, "per must be a number above 0");
    out->cell = (int)at;
    out->digits = (int)digits;
    return 0;
}

static int table_read_columns(struct table_reading *c, const char *metric_name)
{
    const struct yaml *items, *metric = yaml_get(c->root, "metric");
    enum metric m = METRIC_top1;
    int next = 0;
    struct table *t = c->t;
    if (table_metric_at(metric ? metric : c->root, metric_name, &m) ||
        table_list_at(c->root, "columns", &items, &t->n_columns))
        return -1;
    t->columns = arena_array(t->arena, struct table_column, MAX(1, t->n_columns));
    for (int i = 0; i < t->n_columns; i++)
        if (table_read_column(&items[i], m, &t->columns[i], &next))
            return -1;
    return t->n_columns ? 0 : yaml_fail(c->root, "a table needs columns");
}

static int table_read_cell(struct table_reading *c, const struct yaml *row, const char *name,
                           const struct table_column *column, const struct yaml *file, struct table_cell *out)
{
    const struct yaml *seeds;
    int n;
    if (table_list_at(c->root, "seeds", &seeds, &n))
        return -1;
    if (yaml_get(c->root, "seeds") && !n)
        return yaml_fail(yaml_get(c->root, "seeds"), "seeds must name one at least");
    const struct yaml *sets[] = { yaml_get(c->root, "set"), yaml_get(row, "set"), column->set };
    for (int i = 0; i < countof(sets); i++)
        if (n && sets[i] && yaml_get(sets[i], "seed"))
            return yaml_fail(yaml_get(sets[i], "seed"), "seed is set here, and the table has seeds: give one");
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

static int table_read_paper(struct table *t, const struct yaml *row, f64 *out)
{
    const struct yaml *items;
    int n;
    if (table_list_at(row, "paper", &items, &n))
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

static int table_read_row(struct table_reading *c, const struct yaml *y, struct table_row *out)
{
    static const char *const known[] = { "name", "cells", "paper", "set", "use" };
    struct table *t = c->t;
    const struct yaml *cells;
    int n;
    if (table_only_keys(y, "rows", known, countof(known)) || table_list_at(y, "cells", &cells, &n) ||
        !(out->name = table_text_at(y, "name", NULL)))
        return -1;
    out->cells = arena_array(t->arena, struct table_cell, t->n_columns);
    out->paper = arena_array(t->arena, f64, t->n_columns);
    for (int i = 0; i < t->n_columns; i++) {
        int at = n == 1 ? 0 : t->columns[i].cell;
        if (at >= n)
            return yaml_fail(y, "row '%s' has %d cells, but column '%s' is number %d", out->name, n,
                             t->columns[i].name, at + 1);
        bool none = cells[at].kind == YAML_TEXT && !cells[at].text[0];
        if (!none && table_read_cell(c, y, out->name, &t->columns[i], &cells[at], &out->cells[i]))
            return -1;
    }
    return table_read_paper(t, y, out->paper);
}

/* Names are how a row is found again: in CSV, by --only, by a column's `row`. */
static int table_row_twice(const struct table *t, const struct yaml *y, int i)
{
    for (int j = 0; j < i; j++)
        if (!strcmp(t->rows[j].name, t->rows[i].name))
            return yaml_fail(y, "two rows are named '%s'", t->rows[i].name);
    return 0;
}

static int table_read_rows(struct table_reading *c)
{
    struct table *t = c->t;
    const struct yaml *items, *columns = yaml_get(c->root, "columns");
    if (table_list_at(c->root, "rows", &items, &t->n_rows))
        return -1;
    if (!t->n_rows)
        return yaml_fail(c->root, "a table needs rows");
    t->rows = arena_array(t->arena, struct table_row, MAX(1, t->n_rows));
    for (int i = 0; i < t->n_rows; i++)
        if (table_read_row(c, &items[i], &t->rows[i]) || table_row_twice(t, &items[i], i))
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

/* The row that is compared with the others, by its name. */
static int table_read_compare(struct table *t, const struct yaml *root)
{
    const struct yaml *y = yaml_get(root, "compare");
    const char *want = y ? table_text_at(root, "compare", NULL) : NULL;
    const char **names = arena_array(t->arena, const char *, t->n_rows);
    char hint[96];
    t->compare = -1;
    for (int i = 0; i < t->n_rows; i++) {
        names[i] = t->rows[i].name;
        if (want && !strcmp(want, names[i]))
            t->compare = i;
    }
    if (!y || t->compare >= 0)
        return 0;
    return want ? yaml_fail(y, "compare: no row '%s'%s", want, text_hint(hint, want, names, t->n_rows)) : -1;
}

int table_load(struct table *t, arena *a, const char *path, const char *out, const struct spec_set *sets,
               int n, bool collect)
{
    static const char *const known[] = { "title", "columns", "rows", "prepare", "seeds", "metric", "set",
                                         "transpose", "compare", "notes" };
    const struct yaml *notes, *root = yaml_load(a, path);
    struct table_reading c = { .t = t, .root = root, .sets = sets, .n_sets = n, .collect = collect };
    *t = (struct table){ .arena = a, .out = out };
    if (!root || table_only_keys(root, "a table", known, countof(known)) ||
        !(t->title = table_text_at(root, "title", "")))
        return -1;
    const char *metric = table_text_at(root, "metric", "top1");
    if (table_flag_at(root, "transpose", &t->transpose) || !metric
        || table_list_at(root, "notes", &notes, &t->n_notes))
        return -1;
    t->notes = arena_array(a, const char *, MAX(1, t->n_notes));
    for (int i = 0; i < t->n_notes; i++)
        t->notes[i] = notes[i].kind == YAML_TEXT ? notes[i].text : "";
    return table_refuse_overrides(&c, "rows") || table_refuse_overrides(&c, "columns") || table_read_prepare(&c)
           || table_read_columns(&c, metric) || table_read_rows(&c) || table_read_compare(t, root) ? -1 : 0;
}
