/* record_bound.c: what rounding explains: of the first step from the roundings on the longest way to a value,
 * of later ones from a run whose weights started one rounding off. */
#include "study/compare.h"
#include <math.h>

f64 record_roundings(const node *n)
{
    if (n->op->flags & OP_LEAF)
        return 1;
    f64 count = (f64)MAX(1, node_count(n)), own = 4;
    if (n->op->macs)
        own += n->op->macs(n) / count;
    else if (n->n_in && !(n->op->flags & OP_ALIAS) && strcmp(n->op->name, "map"))
        own += (f64)node_dim(n->in[0], -1) + (f64)node_count(n->in[0]) / count;
    return own;
}

/* Relative error of each node by Higham and Mary (2019): roundings are as good as independent,
 * so that k of them on the longest way to a value make about sqrt(k) units. Eight times that,
 * for what is cancelled on the way. */
f64 *record_bounds(arena *a, const graph *g, f64 unit)
{
    f64 *way = arena_array(a, f64, g->n + 1);
    for (size_t i = 0; i < g->n; i++) {
        const node *n = g->nodes[i];
        f64 before = 0;
        for (int k = 0; k < n->n_in; k++)
            before = MAX(before, way[n->in[k]->id]);
        if (n->maker)
            before = MAX(before, way[n->maker->id]);
        way[n->id] = before + record_roundings(n);
    }
    for (size_t i = 0; i < g->n; i++)
        way[i] = 8 * unit * sqrt(way[i]);
    return way;
}

void record_spread(struct record_tensor *t, const f32 *v, f64 unit)
{
    f64 gap = 0, size = 0;
    for (i64 i = 0; i < t->n; i++) {
        f64 x = t->v[i], d = v[record_index(i, t->n, t->count)] - x;
        if (!isfinite(d))
            continue;                             // a bound that is not a number would bound nothing
        gap += d * d;
        size += x * x;
    }
    t->bound = MAX(t->bound, 8 * (sqrt(gap / MAX(size, 1e-300)) + unit));
}
