/* segments.c: images to be measured, cut into segments that depend on their number alone; a rank measures
 * neighbouring ones. A segment's totals are those of a device, in floats with what rounding took from them;
 * the totals of all are added up in double, in the order of the segments. So any number of ranks gives the
 * bits of one.
 *
 *     images    [  segment 0  |  segment 1  |  segment 2  |  segment 3  |  4  ]
 *     ranks       rank 0 ---------->  rank 1 -------------------->  rank 2 ->
 */
#include "dist/dist.h"
#include "recycle/stage.h"

enum { UNIT = 128, MOST_SEGMENTS = 64 };          /* images: a GPU's pass, or four of a CPU's */

void segments_cut(struct segments *g, const struct spec *s, i64 images, int step)
{
    *g = (struct segments){ .images = images, .step = step,
                            .unit = s->recycle.average == AVERAGE_all ? UNIT : s->recycle.batch };
    g->n = MIN(CEIL_DIV(images, g->unit), (i64)MOST_SEGMENTS);
    g->to = g->n;
}

i64 segment_begin(const struct segments *g, i64 k)
{
    i64 from, to, units = CEIL_DIV(g->images, g->unit);
    share_of(units, (int)k, (int)g->n, NULL, &from, &to);
    return CEIL_DIV(MIN(from * g->unit, g->images), (i64)g->step);
}

/* Segments by rank: of those that can measure, as equal as may be. */
static int segments_count(struct segments *g, bool able, arena *a)
{
    int n = dist_size();
    f64 *who = arena_array(a, f64, n);
    who[dist_rank()] = able;
    if (dist_sum(who, n))
        return -1;
    g->of = arena_array(a, i64, n);
    for (int r = 0; r < n; r++) {
        i64 from, to;
        share_of(g->n, r, n, who, &from, &to);
        g->of[r] = to - from;
        if (r == dist_rank())
            g->from = from, g->to = to;
        if (!who[r])
            warn("%s cannot read this predecessor, and measures nothing", dist_name(r));
    }
    return 0;
}

int segments_share(struct segments *g, bool able, arena *a)
{
    int n = dist_size();
    f64 *passes = arena_array(a, f64, n);
    if (segments_count(g, able, a))
        return -1;
    passes[dist_rank()] = (f64)(segment_begin(g, g->to) - segment_begin(g, g->from));
    if (dist_sum(passes, n))
        return -1;
    for (int r = 0; r < n; r++)
        g->rounds = MAX(g->rounds, (i64)passes[r]);
    return 0;
}

int segments_sum(const struct segments *g, i64 words, const f64 *own, f64 *sum)
{
    int n = dist_size();
    arena *a = arena_open("sums of segments");
    f64 *all = arena_array(a, f64, dist_rank() ? 1 : g->n * words);
    u64 *bytes = arena_array(a, u64, n);
    void **into = arena_array(a, void *, n);
    for (i64 r = 0, k = 0; r < n; k += g->of[r++]) {
        bytes[r] = sizeof *all * (u64)(g->of[r] * words);
        into[r] = dist_rank() ? NULL : all + k * words;
    }
    int rc = dist_gather(own, into, bytes);
    for (i64 i = 0; i < words && !dist_rank() && !rc; i++) {
        sum[i] = 0;
        for (i64 k = 0; k < g->n; k++)
            sum[i] += all[k * words + i];
    }
    arena_close(a);
    return rc;
}

int segments_sum_counts(const struct segments *g, u32 *v, i64 n)
{
    arena *a = arena_open("counts of ranks");
    u32 *other = arena_array(a, u32, dist_rank() || dist_size() == 1 ? 1 : n);
    u64 *bytes = arena_array(a, u64, dist_size());
    void **into = arena_array(a, void *, dist_size());
    int rc = 0;
    for (int r = 1; r < dist_size() && !rc; r++) {         // one after the other: memory for one
        if (!g->of[r])
            continue;
        bytes[r] = sizeof *v * (u64)n;
        into[r] = other;
        rc = dist_gather(v, into, bytes);
        bytes[r] = 0;
        for (i64 i = 0; i < n && !dist_rank() && !rc; i++)
            v[i] += other[i];
    }
    arena_close(a);
    return rc;
}
