/* summary.c: how much of the predecessor the experts hold, how far they differ, how well the graph was cut.
 * Neurons are sets of bits here: an expert's set has one word per 64 neurons. */
#include "recycle/recycle.h"
#include <jansson.h>
#include <math.h>

struct sets { int n, words, total; u64 *bits; };

/* The neurons of experts [first, first + n): whole lists, or their narrow share. */
static struct sets sets_of(const struct block_shape *to, const struct block_picks *b, int first, int n,
                           int total, arena *a)
{
    struct sets s = { n, CEIL_DIV(total, 64), total, NULL };
    s.bits = arena_array(a, u64, (size_t)n * s.words);
    for (int e = 0; e < n; e++) {
        bool narrow = first + e >= to->core;
        const i32 *list = b->expert_hidden + (size_t)(first + e) * to->hidden;
        for (int i = 0; i < (narrow ? to->narrow : to->hidden); i++) {
            i32 unit = list[narrow ? b->narrow[i] : i];
            s.bits[(size_t)e * s.words + unit / 64] |= (u64)1 << unit % 64;
        }
    }
    return s;
}

static f64 summary_overlap(const struct sets *s)
{
    f64 sum = 0;
    for (int x = 0; x < s->n; x++)
        for (int y = 0; y < x; y++) {
            i64 both = 0, any = 0;
            for (int w = 0; w < s->words; w++) {
                u64 p = s->bits[(size_t)x * s->words + w], q = s->bits[(size_t)y * s->words + w];
                both += __builtin_popcountll(p & q);
                any += __builtin_popcountll(p | q);
            }
            sum += (f64)both / (f64)any;
        }
    return s->n > 1 ? sum / (s->n * (s->n - 1) / 2) : NAN;
}

static f64 summary_mass(const struct sets *s, const f64 *score)
{
    f64 all = 0, held = 0;
    for (int i = 0; score && i < s->total; i++) {
        all += score[i];
        for (int e = 0; e < s->n; e++)
            held += s->bits[(size_t)e * s->words + i / 64] >> i % 64 & 1 ? score[i] : 0;
    }
    return score && s->n && all > 0 ? held / all / s->n : NAN;
}

/* The mean over experts cut from this predecessor; `shared`: the channels of those without their own. */
static f64 channels_held(const struct block_shape *to, const struct block_picks *b, const i32 *shared,
                         const struct activity *x, const f64 *score)
{
    int sets = b->expert_channel ? to->core + (b->dense_hidden ? 0 : to->universal) : 1;
    const i32 *channel = b->expert_channel ? b->expert_channel : shared;
    f64 all = 0, held = 0;
    for (int i = 0; i < x->width; i++)
        all += score[i];
    for (i64 i = 0; i < (i64)sets * to->dim; i++)
        held += score[channel[i]];
    return sets && all > 0 ? held / all / sets : NAN;
}

static void summary_cover(const struct sets *s, u64 *any)
{
    for (int e = 0; e < s->n; e++)
        for (int w = 0; w < s->words; w++)
            any[w] |= s->bits[(size_t)e * s->words + w];
}

static struct layer_report summary_layer(const struct spec *s, const struct block_shape *to,
                                         const struct block_picks *b, int total, const struct activity *x,
                                         arena *a)
{
    arena_mark m = arena_save(a);
    const f64 *score = x ? activity_score(s, x) : NULL;
    // Universal experts drawn from a second predecessor hold none of this one's neurons.
    struct sets core = sets_of(to, b, 0, to->core, total, a);
    struct sets universal = sets_of(to, b, to->core, b->dense_hidden ? 0 : to->universal, total, a);
    struct layer_report r = { .mass_core = summary_mass(&core, score),
                              .mass_universal = summary_mass(&universal, score),
                              .overlap_core = summary_overlap(&core),
                              .overlap_universal = summary_overlap(&universal),
                              .mass_channels = NAN,
                              .cut = NAN,
                              .modularity = NAN };
    u64 *any = arena_array(a, u64, core.words);
    summary_cover(&core, any);
    summary_cover(&universal, any);
    i64 covered = 0;
    for (int w = 0; w < core.words; w++)
        covered += __builtin_popcountll(any[w]);
    r.coverage = (f64)covered / total;
    if (b->part && x && x->together) {
        struct cut_quality q = cut_measure(x->together, total, b->part, a);
        r.parts = partition_read(x->together, total, b->part, a).count;
        r.cut = q.total > 0 ? q.cut / q.total : NAN;
        r.modularity = q.modularity;
    }
    arena_restore(a, m);
    return r;
}

static f64 channel_mass(const struct spec *s, const struct anatomy *from, const struct anatomy *to,
                        const struct statistics *st, const struct picks *p)
{
    f64 sum = 0;
    for (int stage = 0; stage < to->stages; stage++) {
        f64 all = 0, held = 0;
        for (int l = 0; l < from->depth; l++) {
            if (from->block[l].stage != stage)
                continue;
            const f64 *score = activity_score(s, &st->of[SITE_CHANNEL][l]);
            for (int i = 0; i < from->block[l].dim; i++)
                all += score[i];
            for (int i = 0; i < anatomy_stage_dim(to, stage); i++)
                held += score[p->channel[stage][i]];
        }
        sum += held / all / to->stages;
    }
    return sum;
}

void recycle_report_make(const struct spec *s, const struct anatomy *from, const struct anatomy *to,
                 const struct statistics *st, const struct picks *p, arena *a, struct recycle_report *out)
{
    bool dense = *s->recycle.from.dense;
    *out = (struct recycle_report){ .strategy = s->recycle.strategy, .dense = dense,
                                    .distance = NAN, .agreement = NAN,
                                    .metric = (const char *[]){ "l1", "l2", "count" }[s->recycle.metric],
                                    .channel_mass = st && !dense ? channel_mass(s, from, to, st, p) : NAN,
                                    .layer = arena_array(a, struct layer_report, to->depth) };
    for (int l = 0; l < to->depth; l++) {
        const struct block_picks *b = &p->block[l];
        if (!block_moe(&to->block[l]))
            continue;
        struct layer_report *r = &out->layer[out->layers++];
        const struct activity *hidden = st ? &st->of[SITE_HIDDEN][b->from] : NULL;
        *r = summary_layer(s, &to->block[l], b, from->block[b->from].hidden, hidden, a);
        r->block = l;
        if (!st)
            continue;
        const struct activity *x = &st->of[SITE_CHANNEL][b->from];
        const i32 *shared = p->channel[to->block[l].stage];
        r->mass_channels = channels_held(&to->block[l], b, shared, x, activity_score(s, x));
    }
}

/* ---- writing it down ----------------------------------------------------------------------------------- */

static const char *summary_percent(char out[16], f64 share)
{
    snprintf(out, 16, isnan(share) ? "-" : "%.1f", 100 * share);
    return out;
}

static void summary_layers(FILE *f, const struct recycle_report *r)
{
    char c[7][16];
    bool graph = r->layer->parts;
    fprintf(f, "strategy %s, importance by %s; shares in %% of the predecessor's block, for the mean "
            "expert\n", r->strategy, r->metric);
    fprintf(f, "%-5s %29s %22s %10s%s\n", "", "importance held", "overlap (Jaccard)", "neurons",
            graph ? "   co-activation" : "");
    fprintf(f, "%-5s %8s %10s %9s %11s %10s %10s%s\n", "block", "core", "universal", "channels", "core",
            "universal", "in use", graph ? "   parts     cut  modularity" : "");
    for (int i = 0; i < r->layers; i++) {
        const struct layer_report *l = &r->layer[i];
        fprintf(f, "%-5d %8s %10s %9s %11s %10s %10s", l->block, summary_percent(c[0], l->mass_core),
                summary_percent(c[1], l->mass_universal), summary_percent(c[2], l->mass_channels),
                summary_percent(c[3], l->overlap_core), summary_percent(c[4], l->overlap_universal),
                summary_percent(c[5], l->coverage));
        if (l->parts)
            fprintf(f, " %7d %7s %11.4f", l->parts, summary_percent(c[6], l->cut), l->modularity);
        fprintf(f, "\n");
    }
    if (isnan(r->layer->mass_channels))
        fprintf(f, "importance is unknown: this strategy measures no activations, and none are saved\n");
}

void recycle_report_text(FILE *f, const struct recycle_report *r)
{
    if (r->layers)
        summary_layers(f, r);
    else
        fprintf(f, "strategy %s, importance by %s; a model without experts\n", r->strategy, r->metric);
    if (!isnan(r->channel_mass))
        fprintf(f, "the residual stream keeps channels of %.1f %% of the importance\n",
                100 * r->channel_mass);
    if (!isnan(r->distance))
        fprintf(f, "before training, class scores differ from those of recycle.from.%s by %.1f %%\n"
                "of their length; the first class is the same for %.1f %% of the images\n",
                r->dense ? "dense" : "experts", 100 * r->distance, 100 * r->agreement);
}

static json_t *summary_json(f64 x) { return isnan(x) ? json_null() : json_real(x); }

char *recycle_report_json(arena *a, const struct recycle_report *r)
{
    json_t *layers = json_array();
    for (int i = 0; i < r->layers; i++) {
        const struct layer_report *l = &r->layer[i];
        json_t *row = json_pack("{s:i, s:{s:o, s:o, s:o}, s:{s:o, s:o}, s:o}", "block", l->block,
            "importance", "core", summary_json(l->mass_core), "universal", summary_json(l->mass_universal),
                "channels", summary_json(l->mass_channels),
            "jaccard", "core", summary_json(l->overlap_core), "universal", summary_json(l->overlap_universal),
            "coverage", summary_json(l->coverage));
        if (l->parts)
            json_object_update_new(row,
                                   json_pack("{s:i, s:o, s:o}", "parts", l->parts, "edge_cut",
                                             summary_json(l->cut), "modularity", summary_json(l->modularity)));
        json_array_append_new(layers, row);
    }
    json_t *all = json_pack("{s:s, s:s, s:o, s:o, s:{s:s, s:o, s:o}}",
        "strategy", r->strategy, "metric", r->metric,
        "channel_importance", summary_json(r->channel_mass), "layers", layers,
        "logits", "of", r->dense ? "dense" : "experts", "distance", summary_json(r->distance),
        "agreement", summary_json(r->agreement));
    char *text = json_dumps(all, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    char *copy = arena_copy(a, text, strlen(text));
    free(text);
    json_decref(all);
    return copy;
}
