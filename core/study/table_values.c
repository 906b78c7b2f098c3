/* table_values.c: what one run of a table has to show in a column. */
#include "study/table.h"
#include "model/model.h"
#include <math.h>

static f64 values_known(f64 v) { return v > 0 ? v : NAN; }   // 0 of these means not known

static f64 values_plain(enum metric m, const struct run_result *r)
{
    switch (m) {
#define METRIC(name, kind, value, help) case METRIC_##name: return (f64)(value);
#include "study/metrics.def"
#undef METRIC
    default: return NAN;
    }
}

static f64 values_mean(const struct table *t, const struct table_cell *c)
{
    f64 sum = 0;
    int n = 0;
    for (int i = 0; i < c->n; i++)
        if (t->runs[c->runs[i]].state == CELL_DONE) {
            sum += t->runs[c->runs[i]].result.top1;
            n++;
        }
    return n ? sum / n : NAN;
}

static f64 values_epochs_to(f64 top1, const struct run_result *r)
{
    for (int i = 0; i < r->n_evals; i++)
        if (r->evals[i].top1 >= top1)
            return r->evals[i].epoch;
    return isnan(top1) ? NAN : INFINITY;                   // never
}

/* What can be known of a model that was not run. */
static f64 values_counted(arena *a, enum metric m, const struct spec *s)
{
    struct model_count k;
    if (!metric_counted(m) || !s->model.classes || model_count(a, s, 1, 1, 1, &k)) {
        fail_clear();
        return NAN;
    }
    return m == METRIC_params ? (f64)k.params : m == METRIC_flops ? k.paper_macs : k.macs;
}

f64 table_value(struct table *t, const struct table_column *c, const struct table_run *r, bool best)
{
    int column = (int)(c - t->columns);
    if (r->state != CELL_DONE)
        return values_counted(t->arena, c->metric, &r->spec);
    if (c->metric == METRIC_epochs_to)
        return values_epochs_to(values_mean(t, &t->rows[c->row].cells[column]), &r->result);
    return values_plain(best && c->metric == METRIC_top1 ? METRIC_best : c->metric, &r->result);
}
