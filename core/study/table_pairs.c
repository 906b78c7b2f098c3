/* table_pairs.c: one row of a table against each of the others, seed by seed. */
#include "study/table.h"

/* The values of two rows in a column, seed by seed; how many, or 0 when their seeds are not the same. */
static int pairs_values(struct table *t, int row, int other, int column, bool best, f64 **x, f64 **y)
{
    const struct table_column *c = &t->columns[column];
    const struct table_cell *p = &t->rows[row].cells[column], *q = &t->rows[other].cells[column];
    int n = p->n == q->n ? p->n : 0;
    *x = arena_array(t->arena, f64, n + 1);
    *y = arena_array(t->arena, f64, n + 1);
    for (int i = 0; i < n; i++) {
        const struct table_run *a = &t->runs[p->runs[i]], *b = &t->runs[q->runs[i]];
        if (a->spec.seed != b->spec.seed)
            return 0;
        (*x)[i] = table_value(t, c, a, best) / c->per;
        (*y)[i] = table_value(t, c, b, best) / c->per;
    }
    return n;
}

bool table_pair(struct table *t, int column, int other, bool best, struct table_pair *out)
{
    f64 *x, *y;
    enum metric m = t->columns[column].metric;
    bool trained = m == METRIC_top1 || m == METRIC_top5 || m == METRIC_best || m == METRIC_loss;
    if (t->compare < 0 || other == t->compare || !trained)
        return false;
    int n = pairs_values(t, t->compare, other, column, best, &x, &y);
    out->seeds = seeds_pairs(t->arena, x, y, n);
    out->text = arena_printf(t->arena, "%s - %s, %s: %s", t->rows[t->compare].name, t->rows[other].name,
                             t->columns[column].name, seeds_paired(t->arena, x, y, n));
    return out->seeds.n > 1;
}
