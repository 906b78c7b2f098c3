/* graph.c: units that are active together are kept together. Co-activation is a weighted graph over a layer's
 * units; it is cut into parts, and an expert is a union of parts, drawn without replacement with probability
 * proportional to the co-activation inside them, until it is full.
 *
 *     part:   0 0 1 2 1 0 2 ...        drawn: 2, 0  ->  units 3 6 | 0 1 5
 *
 * The released script draws 17 of 32 parts and keeps the first `subset` units; drawing until full gives the
 * same lists without its short ones. Communities may be few and large, and then a prefix of one is the same
 * in every expert; so by default what fits of the last part is drawn as well. */
#include "recycle/recycle.h"

struct partition partition_read(const f32 *together, int n, const i32 *part, arena *a)
{
    struct partition p = { n, 0, arena_array(a, i32, n), arena_array(a, f64, n) };
    int most = 0;
    for (int i = 0; i < n; i++)
        most = MAX(most, part[i] + 1);
    i32 *number = arena_array(a, i32, most);      // old label -> new number + 1
    for (int i = 0; i < n; i++) {
        i32 *k = &number[part[i]];
        if (!*k)
            *k = ++p.count;
        p.of[i] = *k - 1;
    }
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++)
            if (i != j && p.of[i] == p.of[j])
                p.inside[p.of[i]] += together[(size_t)i * n + j];
    return p;
}

/* Draws `room` of a part's units by their co-activation with the rest of the part. */
static int partition_trim(const f32 *together, int n, const i32 *unit, int size, int room, rng *r, i32 *out,
                          arena *scratch)
{
    f64 *inside = arena_array(scratch, f64, size);
    u64 *weight = arena_array(scratch, u64, size);
    for (int i = 0; i < size; i++)
        for (int j = 0; j < size; j++)
            inside[i] += i == j ? 0 : together[(size_t)unit[i] * n + unit[j]];
    if (sample_weights("a part", inside, size, weight))      // a part without any was not drawn
        return 0;
    int drawn = sample_draw(r, weight, size, room, out, scratch);
    for (int i = 0; i < drawn; i++)
        out[i] = unit[out[i]];
    return drawn;
}

int partition_fill(const struct partition *p, const f32 *together, const i32 *drawn, int count, int subset,
                   rng *r,
               i32 *out, arena *scratch)
{
    arena_mark m = arena_save(scratch);
    i32 *unit = arena_array(scratch, i32, p->n);
    int n = 0;
    for (int d = 0; d < count && n < subset; d++) {
        int size = 0, room = subset - n;
        for (int i = 0; i < p->n; i++)
            if (p->of[i] == drawn[d])
                unit[size++] = i;
        if (size > room && r) {
            n += partition_trim(together, p->n, unit, size, room, r, out + n, scratch);
            continue;
        }
        memcpy(out + n, unit, sizeof *out * (size_t)MIN(size, room));
        n += MIN(size, room);
    }
    sample_sort(out, n, p->n, scratch);
    arena_restore(scratch, m);
    return n;
}

struct cut_quality cut_measure(const f32 *together, int n, const i32 *part, arena *scratch)
{
    arena_mark m = arena_save(scratch);
    struct partition p = partition_read(together, n, part, scratch);
    f64 *degree = arena_array(scratch, f64, p.count), all = 0, inside = 0, q = 0;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++)
            if (i != j)
                degree[p.of[i]] += together[(size_t)i * n + j];
    for (int k = 0; k < p.count; k++) {
        all += degree[k];
        inside += p.inside[k];
    }
    for (int k = 0; k < p.count && all > 0; k++)
        q += p.inside[k] / all - degree[k] / all * (degree[k] / all);
    arena_restore(scratch, m);
    return (struct cut_quality){ (all - inside) / 2, all / 2, q };
}

static int partition_cut(const struct choice *c, i32 *part)
{
    if (c->cutter == GRAPH_METIS && c->parts >= c->total)
        return fail(FAULT_USAGE, "recycle.parts is %d, but %s has only %d units: a part must hold some that "
                    "fire together", c->parts, c->what, c->total);
    if (c->cutter == GRAPH_METIS)
        return metis_cut(c->together, c->total, c->parts, c->unweighted, c->seed, part, c->scratch);
    louvain_cut(c->together, c->total, c->resolution, c->seed, part, c->scratch);
    return 0;
}

static int graph_choose(const struct choice *c, i32 *out)
{
    i32 *part = c->part ? c->part : arena_array(c->scratch, i32, c->total);
    if (partition_cut(c, part))
        return -1;
    struct partition p = partition_read(c->together, c->total, part, c->scratch);
    u64 *weight = arena_array(c->scratch, u64, p.count);
    i32 *drawn = arena_array(c->scratch, i32, p.count);
    if (sample_weights(c->what, p.inside, p.count, weight))
        return -1;
    for (int set = 0; set < c->sets; set++, out += c->subset) {
        rng r = rng_at(c->seed, RNG_RECYCLE, c->place, (u32)set);
        int count = sample_draw(&r, weight, p.count, p.count, drawn, c->scratch);
        int n = partition_fill(&p, c->together, drawn, count, c->subset, c->prefix ? NULL : &r, out,
                               c->scratch);
        if (n < c->subset)
            return fail(FAULT_NUMBERS, "only %d of the %d units of %s ever fire together with others, %d are "
                        "needed: use more images, a lower recycle.threshold, or another strategy",
                        n, c->total, c->what, c->subset);
    }
    return 0;
}

const strategy graph_strategy = {
    "graph", "unions of co-activation communities (METIS or Louvain)", NEEDS_TOGETHER, graph_choose
};
