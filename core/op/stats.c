/* stats.c: activation statistics of x (images ... channels), added up over steps in memory that the caller
 * gives: only totals leave the device. This file lays out the work; the kernels do it.
 *
 *     x -> [limits] -> bits and sums by word -> state, pairs
 */
#include "op/op.h"

#define STRIP 64
#define WORD  32
#define CHUNK 65536                /* values of a group that one item counts, for limits */

/* Sizes of a node, and where its scratch holds what. */
struct layout {
    i64 images, n, channels, strips, words, all, per_image, groups, chunks;
    u64 sums, limit, found, counts, end;
};

static struct layout layout_of(const node *n)
{
    const struct stats_args *s = n->args;
    const node *x = n->in[0];
    struct layout l = { .images = node_dim(x, 0), .channels = node_dim(x, -1) };
    l.per_image = node_count(x) / l.images;
    l.n = l.per_image / l.channels;
    l.strips = CEIL_DIV(l.channels, (i64)STRIP);
    l.words = CEIL_DIV(l.n, (i64)WORD);
    l.all = ROUND_UP(l.images * l.words, (i64)16);
    l.groups = s->by_image ? l.images : 1;
    l.chunks = CEIL_DIV(s->by_image ? l.per_image : node_count(x), (i64)CHUNK);
    u64 align = n->g->d ? dev_info(n->g->d)->align : 128, words = (u64)(l.strips * l.all * STRIP);
    l.sums = ROUND_UP(dtype_bytes(I32) * words, align);
    l.limit = l.sums + ROUND_UP(2 * dtype_bytes(F32) * words, align);
    l.found = l.limit + ROUND_UP(dtype_bytes(F32) * (u64)l.groups, align);
    l.counts = l.found + ROUND_UP(16 * (u64)l.groups, align);
    l.end = l.counts + (s->limit == STATS_ZERO ? 0 : 1024 * (u64)(l.groups * l.chunks));
    return l;
}

static const char *stats_shape(const node *n, struct shape *out)
{
    const node *x = n->in[0];
    *out = SCALAR;
    if (x->shape.nd < 3)
        return "needs (images, rows, channels)";
    return n->in[1]->type != I32 ? "the job must be integers" : NULL;
}

static u64 stats_scratch(const node *n) { return layout_of(n).end; }

i64 stats_state_words(i64 channels) { return 7 * ROUND_UP(channels, (i64)STRIP); }

static range part_of(const node *n, u64 from, u64 to)
{
    return (range){ n->work.mem, n->work.off + from, to - from };
}

static void emit_limits(const node *n, launches *l, const struct layout *t)
{
    const struct stats_args *s = n->args;
    const node *x = n->in[0], *job = n->in[1];
    range limit = part_of(n, t->limit, t->found), found = part_of(n, t->found, t->counts);
    range counts = part_of(n, t->counts, t->end);
    launch count = { .file = "limits", .label = n->name, .global = { (u64)t->chunks, (u64)t->groups },
                     .local = { 1, 1 }, .bytes = (f64)node_bytes(x) };
    launch join = { .file = "limits", .label = n->name, .global = { (u64)t->groups }, .local = { 1 } };
    if (s->limit == STATS_MEAN_STD) {
        count.kernel = "limit_moments";
        memcpy(count.args, (arg[]){ ARG_RANGE(x->home), ARG_RANGE(counts), ARG_RANGE(job->home),
                                    ARG_LONG(t->per_image), ARG_LONG(CHUNK), ARG_INT(s->by_image) },
               6 * sizeof(arg));
        join.kernel = "limit_mean_std";
        memcpy(join.args, (arg[]){ ARG_RANGE(counts), ARG_RANGE(limit), ARG_LONG(t->chunks) },
               3 * sizeof(arg));
        launch_add(l, &count);
        launch_add(l, &join);
        return;
    }
    for (int shift = 24; shift >= 0; shift -= 8) {
        count.kernel = "limit_digits";
        memcpy(count.args, (arg[]){ ARG_RANGE(x->home), ARG_RANGE(counts), ARG_RANGE(found),
                                    ARG_RANGE(job->home), ARG_LONG(t->per_image), ARG_LONG(CHUNK),
                                    ARG_INT(s->by_image), ARG_INT(shift) }, 8 * sizeof(arg));
        join.kernel = "limit_digit";
        memcpy(join.args, (arg[]){ ARG_RANGE(counts), ARG_RANGE(found), ARG_RANGE(job->home),
                                   ARG_LONG(t->per_image), ARG_LONG(t->chunks), ARG_INT(s->by_image),
                                   ARG_INT(shift), ARG_INT(s->percentile) }, 8 * sizeof(arg));
        launch_add(l, &count);
        launch_add(l, &join);
    }
    count.kernel = "limit_above";
    memcpy(count.args, (arg[8]){ ARG_RANGE(x->home), ARG_RANGE(counts), ARG_RANGE(found),
                                 ARG_RANGE(job->home), ARG_LONG(t->per_image), ARG_LONG(CHUNK),
                                 ARG_INT(s->by_image) }, 8 * sizeof(arg));
    join.kernel = "limit_percentile";
    memcpy(join.args, (arg[]){ ARG_RANGE(counts), ARG_RANGE(found), ARG_RANGE(job->home), ARG_RANGE(limit),
                               ARG_LONG(t->per_image), ARG_LONG(t->chunks), ARG_INT(s->by_image),
                               ARG_INT(s->percentile) }, 8 * sizeof(arg));
    launch_add(l, &count);
    launch_add(l, &join);
}

/* Words that a CPU takes at a time: those of two sides are two thirds of its first cache. */
static const char *pairs_block(const node *n)
{
    const dev *d = n->g->d;
    u64 words = d && dev_info(d)->cache[0] ? MAX(dev_info(d)->cache[0] / 192 / 16 * 16, 16) : 0;
    bool cpu = words && dev_class(d) == DEV_CPU && dev_has_override(d, "pairs");
    return cpu ? arena_printf(n->g->a, "-DBLOCK=%d", (int)words) : NULL;
}

static void stats_emit(const node *n, launches *l)
{
    const struct stats_args *s = n->args;
    const node *x = n->in[0], *job = n->in[1];
    struct layout t = layout_of(n);
    range bits = part_of(n, 0, t.sums), sums = part_of(n, t.sums, t.limit);
    if (s->limit != STATS_ZERO)
        emit_limits(n, l, &t);
    // On GPUs an item takes a channel, and 16 x 16 of them (8 x 8) a square of pairs; elsewhere an item is a
    // group.
    const dev *d = launches_dev(l);
    bool gpu = dev_class(d) == DEV_GPU && dev_has_override(d, "stats");
    u64 items = gpu ? STRIP : 1, side = !gpu ? 1 : dev_info(d)->max_group < 256 ? 8 : 16;
    u64 strips = (u64)t.strips;
    launch pack = { .file = "stats", .kernel = "stats_pack", .label = n->name,
        .global = { strips * items, (u64)t.images }, .local = { items, 1 }, .bytes = (f64)node_bytes(x),
        .args = { ARG_RANGE(x->home), ARG_RANGE(bits), ARG_RANGE(sums), ARG_RANGE(job->home),
                  ARG_RANGE(part_of(n, t.limit, t.found)), ARG_LONG(t.n), ARG_LONG(t.channels),
                  ARG_LONG(t.words), ARG_LONG(t.images), ARG_LONG(t.all),
                  ARG_INT(s->limit == STATS_ZERO ? -1 : s->by_image) } };
    launch add = { .file = "stats", .kernel = "stats_add", .label = n->name,
        .global = { strips * (gpu ? STRIP : STRIP / 16) }, .local = { items },
        .bytes = 3 * (f64)dtype_bytes(F32) * (f64)(t.strips * t.all * STRIP),
        .args = { ARG_RANGE(bits), ARG_RANGE(sums), ARG_RANGE(s->state), ARG_RANGE(job->home),
                  ARG_LONG(t.words), ARG_LONG(t.images), ARG_LONG(t.all), ARG_LONG(t.strips * STRIP) } };
    launch pairs = { .file = "pairs", .kernel = "pairs", .label = n->name,
        .global = { strips * side, strips * side }, .local = { side, side },
        .defs = side > 1 ? arena_printf(n->g->a, "-DSIDE=%d", (int)side) : pairs_block(n),
        .bytes = (f64)dtype_bytes(I32) * (f64)(t.channels * t.channels),
        .args = { ARG_RANGE(bits), ARG_RANGE(s->together), ARG_LONG(t.channels), ARG_LONG(t.all) } };
    launch_add(l, &pack);
    launch_add(l, &add);
    if (s->together.mem)
        launch_add(l, &pairs);
}

const op stats_op = { "stats", .args = sizeof(struct stats_args), .flags = OP_EFFECT, .shape = stats_shape,
                      .emit = stats_emit, .scratch = stats_scratch };

void op_stats(node *x, node *job, const struct stats_args *s) { node_new(&stats_op, s, x, job); }
