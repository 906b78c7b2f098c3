/* activations.c: one forward pass over the images measures every layer. Statistics are nodes of the graph,
 * put after the activations as these are built, so that no activation is kept for longer than its step and
 * only totals leave the device, a segment's at a time.
 *
 *     blocks.7: norm2 -> [stats]   attn.proj.in -> [stats]   mlp.act -> [stats]
 *
 * Averaged over all images, any number of images a pass gives the same bits; averaged by batches
 * (the released scripts), a batch's L2 norm is taken before the mean, and its last batch counts as
 * much as a full one. */
#include "recycle/stage.h"
#include <math.h>

/* As many as use a device well. By batches, passes end where batches do, and limits need a batch in one. */
int measuring_step_images(const struct spec *s, const dev *d)
{
    int many = dev_class(d) == DEV_GPU ? 128 : 32, n = MIN(s->recycle.batch, many);
    if (s->recycle.average == AVERAGE_all)
        return (int)MIN((i64)many, s->recycle.images);
    if (s->recycle.threshold != THRESHOLD_zero)
        return s->recycle.batch;
    while (s->recycle.batch % n)
        n--;
    return n;
}

static struct stats_args args_of(const struct measuring *m, const struct measured *x)
{
    static const enum stats_limit limit[] = { STATS_ZERO, STATS_PERCENTILE, STATS_MEAN_STD };
    return (struct stats_args){ x->state, x->together, limit[m->s->recycle.threshold],
                                m->s->recycle.average == AVERAGE_all,
                                (int)rint(m->s->recycle.percentile * 1e6) };
}

static void measure_node(struct measuring *m, struct measured *x, node *n)
{
    i64 width = node_dim(n, -1);
    x->width = (int)width;
    m->words += 3 * width;
    x->state = pool_take(m->memory, 4 * (u64)stats_state_words(width));
    x->together = m->pairs ? pool_take(m->memory, 4 * (u64)(width * width)) : RANGE_NONE;
    if (!x->state.mem || (m->pairs && !x->together.mem))
        graph_complain(m->g, "%s", fail_message());
    struct stats_args args = args_of(m, x);
    op_stats(n, m->job, &args);
}

static void on_tap(void *who, const char *name, node *n)
{
    static const char *const taps[SITES] = { ".mlp.act", ".attn.proj.in", ".norm2" };
    struct measuring *m = who;
    char block[64];
    for (int l = 0; l < m->n->depth; l++) {
        anatomy_block_name(block, m->n, l);
        for (enum site site = 0; site < SITES; site++)
            if (text_starts(name, block) && !strcmp(name + strlen(block), taps[site]))
                measure_node(m, &m->of[site][l], n);
    }
}

static int activations_zero(struct measuring *m)
{
    for (enum site site = 0; site < SITES; site++)
        for (int l = 0; l < m->n->depth; l++) {
            const struct measured *x = &m->of[site][l];
            if (x->width && (mem_fill(m->d, x->state, 0) || (m->pairs && mem_fill(m->d, x->together, 0))))
                return -1;
        }
    return 0;
}

int measuring_open(struct measuring *m, const struct spec *s, const struct anatomy *n, dev *d, params *p,
                   bool pairs)
{
    *m = (struct measuring){ .s = s, .n = n, .d = d, .g = graph_new(d), .memory = pool_new(d, "statistics"),
                             .pairs = pairs, .step = measuring_step_images(s, d) };
    struct nn nn = { .g = m->g, .p = p, .on_tap = on_tap, .who = m };
    for (enum site site = 0; site < SITES; site++)
        m->of[site] = arena_array(m->g->a, struct measured, n->depth);
    m->images = graph_input(m->g, "images", F32, model_images(s, m->step));
    m->job = graph_input(m->g, "job", I32, SHAPE(2));
    model_build(&nn, s, m->images);
    simplify_graph(m->g);
    return graph_compile(m->g) || feed_open(&m->feed, d, m->images, true) || activations_zero(m) ? -1 : 0;
}

int measuring_step(struct measuring *m, const struct batch *b, bool ends)
{
    int slot = (int)(m->passes++ % 2);
    m->jobs[slot][0] = b->n;
    m->jobs[slot][1] = ends && m->s->recycle.average == AVERAGE_batch;
    m->seen += b->n;
    m->in_batch += b->n;
    m->batches += ends && m->in_batch;
    m->in_batch = ends ? 0 : m->in_batch;
    if ((b->n && feed_batch(&m->feed, b, 0, b->n)) || mem_write_later(m->d, m->job->home, m->jobs[slot])
        || graph_run(m->g))
        return -1;
    m->done[slot] = dev_fence(m->d);
    dev_flush(m->d);
    return m->done[!slot] ? dev_wait(m->d, m->done[!slot]) : 0;
}

/* Sums by channel: of the rows `which` and `which + 1`, floats and what rounding took from them. */
static void activations_sums(const f32 *state, i64 row, int which, int width, f64 *v)
{
    for (int i = 0; i < width; i++)
        v[i] = (f64)state[which * row + i] + (f64)state[(which + 1) * row + i];
}

/* sums: width of |x|, of x^2 or the batches' roots, and counts. */
static int activations_take_layer(const struct measuring *m, const struct measured *x, f64 *sums)
{
    i64 row = stats_state_words(x->width) / 7;
    arena *a = arena_open("totals");
    f32 *state = arena_array(a, f32, 7 * row);
    range rows = { x->state.mem, x->state.off, 28 * (u64)row };
    int rc = mem_read(m->d, rows, state) || mem_fill(m->d, rows, 0) ? -1 : 0;
    activations_sums(state, row, 0, x->width, sums);
    activations_sums(state, row, m->s->recycle.average == AVERAGE_batch ? 4 : 2, x->width, sums + x->width);
    for (int i = 0; i < x->width; i++) {
        u32 count;
        memcpy(&count, &state[6 * row + i], sizeof count);
        sums[2 * x->width + i] = count;
    }
    arena_close(a);
    return rc;
}

int measuring_take(struct measuring *m, f64 *sums)
{
    for (enum site site = 0; site < SITES; site++)
        for (int l = 0; l < m->n->depth; sums += 3 * m->of[site][l++].width)
            if (m->of[site][l].width && activations_take_layer(m, &m->of[site][l], sums))
                return -1;
    return 0;
}

static int activations_read_pairs(const struct measuring *m, const struct measured *x, f64 share,
                                  const struct segments *g, arena *a, f32 *together)
{
    i64 n = (i64)x->width * x->width;
    arena_mark mark = arena_save(a);
    u32 *pairs = arena_array(a, u32, n);
    int rc = mem_read(m->d, (range){ x->together.mem, x->together.off, 4 * (u64)n }, pairs)
             || (g && segments_sum_counts(g, pairs, n)) ? -1 : 0;
    for (i64 i = 0; i < x->width; i++)
        for (i64 j = i; j < x->width; j++)
            together[i * x->width + j] = together[j * x->width + i] = (f32)(pairs[i * x->width + j] * share);
    arena_restore(a, mark);
    return rc;
}

static int activations_read_layer(const struct measuring *m, const struct measured *x, const f64 *sums,
                                  const struct segments *g, arena *a, struct activity *out)
{
    bool by_batch = m->s->recycle.average == AVERAGE_batch;
    f64 share = by_batch ? 1.0 / (f64)MAX(1, m->batches) : 1;
    *out = (struct activity){ x->width, arena_array(a, f64, x->width), arena_array(a, f64, x->width),
                              arena_array(a, f64, x->width), NULL };
    for (int i = 0; i < x->width; i++) {
        f64 l2 = sums[x->width + i];
        out->l1[i] = sums[i] * share;
        out->l2[i] = by_batch ? l2 * share : sqrt(l2);
        out->count[i] = sums[2 * x->width + i] * share;
    }
    if (!m->pairs)
        return 0;
    out->together = arena_array(a, f32, (i64)x->width * x->width);
    return activations_read_pairs(m, x, share, g, a, out->together);
}

int measuring_read(struct measuring *m, const f64 *sums, const struct segments *g, arena *a,
                   struct statistics *out)
{
    *out = (struct statistics){ .depth = m->n->depth };
    for (enum site site = 0; site < SITES; site++) {
        out->of[site] = arena_array(a, struct activity, out->depth);
        for (int l = 0; l < out->depth; sums += 3 * m->of[site][l++].width) {
            const struct measured *x = &m->of[site][l];
            if (x->width && activations_read_layer(m, x, sums, g, a, &out->of[site][l]))
                return -1;
        }
    }
    return dev_finish(m->d);
}

void measuring_close(struct measuring *m)
{
    if (m->d)
        dev_finish(m->d);
    feed_close(&m->feed);
    graph_free(m->g);
    if (m->memory)
        pool_free(m->memory);
    *m = (struct measuring){ 0 };
}

int measuring_forecast(struct predecessor *p, dev *d, bool pairs, f64 *seconds)
{
    struct measuring m = { 0 };
    int rc = predecessor_load(p, d) || measuring_open(&m, &p->s, &p->n, d, p->p, pairs) ? -1 : 0;
    struct batch noise = rc ? (struct batch){ 0 } : feed_noise(m.g->a, &p->s, m.step, 0);
    f64 start = 0;
    for (int pass = 0; !rc && pass < 2; pass++) {            // the first one warms up
        start = clock_now();
        rc = measuring_step(&m, &noise, false) || dev_finish(d) ? -1 : 0;
    }
    *seconds = rc ? 0 : (clock_now() - start) / m.step;
    measuring_close(&m);
    return rc;
}
