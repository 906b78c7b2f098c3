/* louvain.c: communities by greedy modularity (Blondel et al. 2008). Units move one at a time to the
 * neighbouring community that gains most; when none gains, communities become the units of a smaller
 * graph, and again.
 *
 *     gain of unit u in community c = w(u, c) - r d(c) d(u) / 2m    r: resolution (Reichardt, Bornholdt 2006)
 *
 * Co-activation graphs are nearly complete, so the graph is a dense matrix, its diagonal the weight inside a
 * node (counted twice). The order of visits comes from the seed, ties go to the lower number: the result is
 * repeatable. The order also decides how good it is, so the best of several counts. */
#include "recycle/recycle.h"

#define LEAST_GAIN 1e-7     /* of modularity, by a pass over all units: below it a level is finished */
#define RUNS 8

struct level { int n; const f32 *w; f64 *degree, twice_m; };

static struct level level_new(arena *a, int n, const f32 *w)
{
    struct level l = { n, w, arena_array(a, f64, n), 0 };
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < n; j++)
            l.degree[i] += w[(size_t)i * n + j];
        l.twice_m += l.degree[i];
    }
    return l;
}

/* Moves unit u where it gains most; returns the gain in modularity. of: community of each unit, sum: degree
 * of each community, toward: scratch, zero before and after. */
static f64 louvain_settle(const struct level *l, int u, f64 r, i32 *of, f64 *sum, f64 *toward)
{
    const f32 *row = l->w + (size_t)u * l->n;
    int old = of[u], best = old;
    for (int v = 0; v < l->n; v++)
        if (v != u)
            toward[of[v]] += row[v];
    sum[old] -= l->degree[u];
    f64 share = r * l->degree[u] / l->twice_m, stay = toward[old] - sum[old] * share, most = stay;
    for (int c = 0; c < l->n; c++) {
        f64 gain = toward[c] - sum[c] * share;
        if (toward[c] > 0 && gain > most) {
            most = gain;
            best = c;
        }
        toward[c] = 0;
    }
    of[u] = best;
    sum[best] += l->degree[u];
    return (most - stay) * 2 / l->twice_m;
}

/* Every unit on its own at first, then passes until they gain nothing. Returns the gain in modularity. */
static f64 settle_all(const struct level *l, f64 r, rng *g, i32 *of, arena *a)
{
    f64 *sum = arena_array(a, f64, l->n), *toward = arena_array(a, f64, l->n), gained, all = 0;
    i32 *order = arena_array(a, i32, l->n);
    for (int i = 0; i < l->n; i++) {
        order[i] = of[i] = i;
        sum[i] = l->degree[i];
    }
    rng_shuffle(g, order, l->n);
    do {
        gained = 0;
        for (int i = 0; i < l->n; i++)
            gained += louvain_settle(l, order[i], r, of, sum, toward);
        all += gained;
    } while (gained > LEAST_GAIN);
    return all;
}

/* Numbers the communities 0, 1, ... by first member; returns how many. */
static int louvain_renumber(i32 *of, int n, arena *a)
{
    i32 *number = arena_array(a, i32, n);
    int count = 0;
    for (int i = 0; i < n; i++) {
        if (!number[of[i]])
            number[of[i]] = ++count;
        of[i] = number[of[i]] - 1;
    }
    return count;
}

/* The graph of communities. Summed in double: millions of counts lose their last digits in float. */
static const f32 *louvain_merged(const struct level *l, const i32 *of, int count, arena *a)
{
    f64 *sum = arena_array(a, f64, (size_t)count * count);
    f32 *w = arena_array(a, f32, (size_t)count * count);
    for (int i = 0; i < l->n; i++)
        for (int j = 0; j < l->n; j++)
            sum[(size_t)of[i] * count + of[j]] += l->w[(size_t)i * l->n + j];
    for (i64 i = 0; i < (i64)count * count; i++)
        w[i] = (f32)sum[i];
    return w;
}

/* Level after level. Returns what is gained over every unit on its own. */
static f64 louvain_run(struct level l, f64 resolution, rng *g, i32 *part, arena *a)
{
    int n = l.n;
    f64 gained = 0;
    for (int i = 0; i < n; i++)
        part[i] = i;
    while (l.twice_m > 0) {
        i32 *of = arena_array(a, i32, l.n);
        gained += settle_all(&l, resolution, g, of, a);
        int count = louvain_renumber(of, l.n, a);
        for (int i = 0; i < n; i++)
            part[i] = of[part[i]];
        if (count == l.n)
            break;
        l = level_new(a, count, louvain_merged(&l, of, count, a));
    }
    return gained;
}

void louvain_cut(const f32 *together, int n, f64 resolution, u64 seed, i32 *part, arena *scratch)
{
    f32 *w = arena_array(scratch, f32, (size_t)n * n);
    memcpy(w, together, sizeof *w * (size_t)n * n);
    for (int i = 0; i < n; i++)
        w[(size_t)i * n + i] = 0;
    struct level l = level_new(scratch, n, w);
    i32 *mine = arena_array(scratch, i32, n);
    f64 best = -1;
    for (u32 i = 0; i < RUNS; i++) {
        rng g = rng_at(seed, RNG_RECYCLE, (u64)1 << 63, i);      // far above the places of choices
        arena_mark m = arena_save(scratch);
        f64 gained = louvain_run(l, resolution, &g, mine, scratch);
        if (gained > best) {
            best = gained;
            memcpy(part, mine, sizeof *part * (size_t)n);
        }
        arena_restore(scratch, m);
    }
}
