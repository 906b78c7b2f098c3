/* table_read.h: reading a table file, from inside: table_fields.c, table_cells.c, table.c.
 *
 *     const struct yaml *y = yaml_get(r->root, "prepare");
 *     if (table_only_keys(y, "prepare", known, countof(known)) || !(name = table_text_at(y, "name", NULL)))
 *         return -1;
 *     int at = table_resolve(r, name, yaml_get(y, "file"), y, NULL, NULL);      // r->t->runs[at]
 */
#ifndef JETCL_TABLE_READ_H
#define JETCL_TABLE_READ_H
#include "study/table.h"

/* What is passed along while a table is read. */
struct identity { struct identity *next; const char *device, *text; };
struct table_reading {
    struct table *t;
    struct identity *identities;                  /* of the devices asked about so far */
    bool collect;                                 /* as table_load's */
    const struct yaml *root, *prepare;
    int n_prepare;
    int *prepared;                                /* index of each in runs */
    const struct spec_set *sets;
    int n_sets;
};

/* ---- table_fields.c: what stands below a key; else -1, or NULL, and fail(FAULT_USAGE) with the place ---- */

/* Is y a map with no keys but the n known ones? what: what messages call it. */
int table_only_keys(const struct yaml *y, const char *what, const char *const *known, int n);
/* Text; `fallback`, which may be NULL (an error), when the key is absent. */
const char *table_text_at(const struct yaml *y, const char *key, const char *fallback);
/* A list; *n is 0 when the key is absent. */
int table_list_at(const struct yaml *y, const char *key, const struct yaml **items, int *n);
/* An integer from 0 to most; *out stays when the key is absent. */
int table_flag_at(const struct yaml *y, const char *key, bool *out);              /* off when it is missing */
int table_integer_at(const struct yaml *y, const char *key, i64 most, i64 *out);
/* The metric called `name`; y: where it is named. */
int table_metric_at(const struct yaml *y, const char *name, enum metric *out);

/* ---- table_cells.c -------------------------------------------------------------------------------------- */

/* -1 + fail(FAULT_USAGE) where the command line sets a key in which the rows or columns, `list`, differ. */
int table_refuse_overrides(const struct table_reading *c, const char *list);
/* One run of `file`: over it the table's set, the row's, the column's, `use`, the seed, and what the command
 * line says; column and seed may be NULL. Its index in runs, or -1 + fail. */
int table_resolve(struct table_reading *c, const char *name, const struct yaml *file, const struct yaml *row,
                  const struct table_column *column, const struct yaml *seed);
/* The runs of `prepare`. 0, or -1 + fail. */
int table_read_prepare(struct table_reading *c);

#endif
