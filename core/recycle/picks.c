/* picks.c: every choice a recycling makes, as lists of indices. What there is one of (the residual stream;
 * with cut: paper also attention and dense MLPs) takes the strongest units; what there are many of (experts)
 * draws, so that they differ.
 *
 *               channels read and written          hidden neurons
 *   dense part  channel[stage]                     hidden
 *   expert e    expert_channel[e]  (released)      expert_hidden[e]; universal experts only `narrow` of them
 *               channel[stage]     (paper)
 */
#include "recycle/recycle.h"

struct picker {
    const struct spec *s;
    const strategy *how;
    const struct anatomy *from, *to;
    const struct statistics *st;
    arena *a;
};

/* What a draw is for: no two kinds share random numbers. Part of results: never renumber. */
enum kind {
    KIND_CHANNEL, KIND_ATTN, KIND_HIDDEN,
    KIND_EXPERT_CHANNEL, KIND_EXPERT_HIDDEN, KIND_DENSE_HIDDEN, KIND_IN_HEAD
};
#define PLACE(kind, at) ((u64)(kind) << 32 | (u32)(at))

/* Lists for one choice, the spec's options filled in. NULL + fail. */
static const i32 *picks_choose(const struct picker *p, const strategy *how, struct choice c)
{
    c.sets = MAX(c.sets, 1);
    c.seed = (u64)p->s->seed;
    c.spacing = (enum spacing[]){ SPACING_ROUND, SPACING_TRUNCATE, SPACING_FLOOR }[p->s->recycle.rounding];
    c.cutter = p->s->recycle.graph == GRAPH_louvain ? GRAPH_LOUVAIN : GRAPH_METIS;
    c.parts = p->s->recycle.parts;
    c.resolution = p->s->recycle.resolution;
    c.unweighted = !p->s->recycle.edge_weights;
    c.prefix = p->s->recycle.cut == CUT_released;
    c.scratch = p->a;
    i32 *out = arena_array(p->a, i32, (size_t)c.sets * c.subset);
    return recycle_choose(how, &c, out) ? NULL : out;
}

static struct activity *activity_at(const struct picker *p, enum site site, int block)
{
    return p->st ? &p->st->of[site][block] : NULL;
}

/* A layer's units: `total` of the predecessor's block, of which `sets` lists of `subset` are chosen. */
static const i32 *choose_at(const struct picker *p, enum site site, enum kind kind, int to, int from,
                            int total, int subset, int sets, bool best, i32 *part)
{
    const struct activity *x = activity_at(p, site, from);
    struct choice c = { .what = arena_printf(p->a, "%s of block %d", site_names[site], from), .total = total,
                        .subset = subset, .sets = sets, .best = best, .part = part,
                        .place = PLACE(kind, to) };
    if (x) {
        c.score = activity_score(p->s, x);
        c.together = x->together;
    }
    return picks_choose(p, p->how, c);
}

/* The residual stream of a stage runs through all its blocks: their statistics are added up. */
static const i32 *choose_channels(const struct picker *p, int stage)
{
    int total = anatomy_stage_dim(p->from, stage);
    struct choice c = { .what = arena_printf(p->a, "%s of stage %d", site_names[SITE_CHANNEL], stage),
                        .total = total, .subset = anatomy_stage_dim(p->to, stage), .best = true,
                        .place = PLACE(KIND_CHANNEL, stage) };
    if (p->st) {
        f64 *score = arena_array(p->a, f64, total);
        f32 *together = p->how->needs & NEEDS_TOGETHER ? arena_array(p->a, f32, (size_t)total * total) : NULL;
        for (int l = 0; l < p->from->depth; l++) {
            if (p->from->block[l].stage != stage)
                continue;
            const struct activity *x = activity_at(p, SITE_CHANNEL, l);
            for (int i = 0; i < total; i++)
                score[i] += activity_score(p->s, x)[i];
            for (i64 i = 0; together && i < (i64)total * total; i++)
                together[i] += x->together[i];
        }
        c.score = score;
        c.together = together;
    }
    return picks_choose(p, p->how, c);
}

/* Attention channels head by head: heads by the activity of all their channels, then channels within each. */
static const i32 *choose_heads(const struct picker *p, int to, int from, bool best)
{
    int dim_from = p->from->block[from].dim, dim_to = p->to->block[to].dim;
    int heads = p->from->heads, keep = p->to->heads;
    if (heads <= 0 || dim_from % heads) {
        fail(FAULT_USAGE, "recycle.heads: whole needs recycle.from.heads, the number of attention "
             "heads of the predecessor, a divisor of its %d channels", dim_from);
        return NULL;
    }
    int width = dim_from / heads, narrow = dim_to / keep;
    if (keep > heads || narrow > width) {
        fail(FAULT_DATA, "recycle.heads: whole: the successor has %d heads of %d channels, the "
             "predecessor only %d of %d", keep, narrow, heads, width);
        return NULL;
    }
    const struct activity *x = activity_at(p, SITE_ATTN, from);
    const strategy *how = p->how->needs ? strategy_find("importance") : p->how;
    const f64 *score = !x ? NULL : p->how->needs & NEEDS_SCORE ? activity_score(p->s, x) : x->count;
    f64 *sum = score ? arena_array(p->a, f64, heads) : NULL;
    for (int i = 0; score && i < dim_from; i++)
        sum[i / width] += score[i];
    const i32 *head = picks_choose(p, how, (struct choice){
        .what = arena_printf(p->a, "heads of block %d", from), .total = heads, .subset = keep, .best = best,
        .score = sum, .place = PLACE(KIND_ATTN, to) });
    i32 *out = arena_array(p->a, i32, dim_to);
    for (int h = 0; head && h < keep; h++) {
        const i32 *in = picks_choose(p, how, (struct choice){
            .what = arena_printf(p->a, "head %d of block %d", head[h], from),
            .total = width, .subset = narrow, .best = best,
            .score = score ? score + head[h] * width : NULL, .place = PLACE(KIND_IN_HEAD, to * 4096 + h) });
        if (!in)
            return NULL;
        for (int i = 0; i < narrow; i++)
            out[h * narrow + i] = head[h] * width + in[i];
    }
    return head ? out : NULL;
}

static int choose_experts(const struct picker *p, int l, struct block_picks *b)
{
    const struct block_shape *to = &p->to->block[l], *from = &p->from->block[b->from];
    int experts = to->core + to->universal;
    b->part = p->how->needs & NEEDS_TOGETHER ? arena_array(p->a, i32, from->hidden) : NULL;
    b->expert_hidden = choose_at(p, SITE_HIDDEN, KIND_EXPERT_HIDDEN, l, b->from, from->hidden, to->hidden,
                                 experts, false, b->part);
    if (!b->expert_hidden)
        return -1;
    if (p->s->recycle.cut == CUT_released) {
        b->expert_channel = choose_at(p, SITE_CHANNEL, KIND_EXPERT_CHANNEL, l, b->from, from->dim, to->dim,
                                      experts, false, NULL);
        if (!b->expert_channel)
            return -1;
    }
    if (!to->universal)
        return 0;
    if (to->narrow < 1)
        return fail(FAULT_USAGE, "model.moe.universal_ratio leaves universal experts of block %d without "
                    "neurons", l);
    struct choice c = { .what = "a universal expert", .total = to->hidden, .subset = to->narrow,
                        .place = PLACE(KIND_DENSE_HIDDEN, l) };
    b->narrow = picks_choose(p, strategy_find("uniform"), c);
    if (p->s->recycle.universal == UNIVERSAL_dense) {
        c.sets = to->universal;
        b->dense_hidden = picks_choose(p, strategy_find("random"), c);
        return b->dense_hidden ? 0 : -1;
    }
    return b->narrow ? 0 : -1;
}

static int choose_block(const struct picker *p, int l, struct block_picks *b)
{
    const struct block_shape *to = &p->to->block[l], *from = &p->from->block[b->from];
    bool best = p->s->recycle.cut == CUT_paper;
    if (!p->to->convnext) {
        b->attn = p->s->recycle.heads == HEADS_whole
                ? choose_heads(p, l, b->from, best)
                : choose_at(p, SITE_ATTN, KIND_ATTN, l, b->from, from->dim, to->dim, 1, best, NULL);
        if (!b->attn)
            return -1;
    }
    if (block_moe(to))
        return choose_experts(p, l, b);
    b->hidden = choose_at(p, SITE_HIDDEN, KIND_HIDDEN, l, b->from, from->hidden, to->hidden, 1, best, NULL);
    return b->hidden ? 0 : -1;
}

/* A stage of another depth takes the predecessor's blocks evenly spaced. */
static void match_blocks(const struct picker *p, struct picks *out)
{
    for (int stage = 0, from = 0, to = 0; stage < p->to->stages; stage++) {
        int n_from = 0, n_to = 0;
        while (from + n_from < p->from->depth && p->from->block[from + n_from].stage == stage)
            n_from++;
        while (to + n_to < p->to->depth && p->to->block[to + n_to].stage == stage)
            n_to++;
        i32 *at = arena_array(p->a, i32, n_to);
        uniform_fill(n_from, n_to, SPACING_ROUND, at);
        for (int i = 0; i < n_to; i++)
            out->block[to + i].from = from + at[i];
        if (n_from != n_to)
            say(SAY_NORMAL, "recycle: %d blocks of the successor's stage %d come from %d of the "
                "predecessor's, evenly spaced", n_to, stage, n_from);
        from += n_from;
        to += n_to;
    }
}

/* Statistics must be of this network, and hold what the strategy reads. */
static int check_statistics(const struct picker *p)
{
    if (!p->how->needs)
        return 0;
    check(p->st, "strategy %s without statistics", p->how->name);
    for (int l = 0; l < p->from->depth; l++)
        for (enum site site = 0; site < SITES; site++) {
            const struct activity *x = l < p->st->depth ? &p->st->of[site][l] : NULL;
            int want = site == SITE_HIDDEN ? p->from->block[l].hidden
                     : site == SITE_ATTN && p->from->convnext ? 0 : p->from->block[l].dim;
            if (!x || x->width != want)
                return fail(FAULT_DATA, "the statistics are of another network: %s of block %d has %d units "
                            "there, the predecessor %d", site_names[site], l, x ? x->width : 0, want);
            if (want && p->how->needs & NEEDS_TOGETHER && !x->together)
                return fail(FAULT_DATA, "the statistics have no co-activation for %s of block %d, which "
                            "strategy %s needs", site_names[site], l, p->how->name);
        }
    return 0;
}

int picks_make(const struct spec *s, const struct anatomy *from, const struct anatomy *to,
               const struct statistics *st, arena *a, struct picks *out)
{
    struct picker p = { s, strategy_find(s->recycle.strategy), from, to, st, a };
    if (!p.how)
        return spec_fail(s, "recycle.strategy", "%s", fail_message());
    if (from->convnext != to->convnext || from->stages != to->stages)
        return fail(FAULT_DATA, "the predecessor is a %s of %d stages, the successor a %s of %d",
                    from->convnext ? "ConvNeXt" : "ViT", from->stages,
                    to->convnext ? "ConvNeXt" : "ViT", to->stages);
    if (s->recycle.universal == UNIVERSAL_dense && !*s->recycle.from.dense)
        return spec_fail(s, "recycle.universal",
                         "universal: dense needs recycle.from.dense, the checkpoint to draw from");
    if (!p.how->needs)
        p.st = NULL;
    if (check_statistics(&p))
        return -1;
    *out = (struct picks){ .block = arena_array(a, struct block_picks, to->depth) };
    for (int stage = 0; stage < to->stages; stage++)
        if (!(out->channel[stage] = choose_channels(&p, stage)))
            return -1;
    match_blocks(&p, out);
    for (int l = 0; l < to->depth; l++)
        if (choose_block(&p, l, &out->block[l]))
            return -1;
    return 0;
}
