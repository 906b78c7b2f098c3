/* recycle.h: a dense predecessor is cut into the experts of a successor (Zhu et al. 2024, "MoE Jetpack").
 *
 *     images -> statistics -> strategy -> picks (which units go where) -> graft (cut tensors) -> checkpoint
 *
 *     i32 *out = arena_array(a, i32, c.sets * c.subset);    // c: a layer's units and what is known of them
 *     if (recycle_choose(strategy_find("importance"), &c, out)) return -1;
 *                                                           // out: c.sets ascending lists of c.subset units
 *
 * `make layers` checks that no file calls one that stands after it here:
 * Order: anatomy sample louvain metis graph copy importance random uniform strategy statistics
 * Order: graft predecessor segments activations distance summary picks measure recycle
 */
#ifndef JETCL_RECYCLE_H
#define JETCL_RECYCLE_H
#include "base/base.h"
#include "ckpt/ckpt.h"
#include "dev/dev.h"
#include "spec/spec.h"

/* ---- strategies: which of a layer's units a smaller layer keeps ---------------------------------------- */

/* Uniform spacing of k indices in n: the paper's floor(i n/k); the scripts' linspace(0, n-1, k), rounded half
 * to even in the released one and truncated in the simplified one. */
enum spacing { SPACING_FLOOR, SPACING_ROUND, SPACING_TRUNCATE };

enum graph_cutter { GRAPH_METIS, GRAPH_LOUVAIN };

struct choice {
    const char *what;                   /* "mlp.act of block 7": for messages */
    int         total, subset, sets;    /* to choose: `sets` lists of `subset` among `total` units */
    bool        best;                   /* the one list that all share: the strongest, nothing is drawn */
    u64         seed, place;            /* list i draws from rng_at(seed, RNG_RECYCLE, place, i) */
    const f64  *score;                  /* [total] how active each unit is; NULL: not measured */
    const f32  *together;               /* [total][total] how often two units fire together, symmetric, the
                                           diagonal is not read; NULL: not measured */
    enum spacing spacing;
    enum graph_cutter cutter;
    int         parts;                  /* METIS: how many */
    f64         resolution;             /* Louvain: more gives smaller parts; 1 is plain modularity */
    bool        unweighted;             /* METIS sees which units fire together, but not how often */
    bool        prefix;                 /* graph: an expert's last part is cut in index order, not drawn */
    i32        *part;                   /* [total] or NULL: graph strategies leave each unit's part here */
    arena      *scratch;
};

enum { NEEDS_SCORE = 1, NEEDS_TOGETHER = 2 };

typedef struct strategy {
    const char *name, *help;
    int         needs;                                      /* NEEDS_* */
    int       (*choose)(const struct choice *c, i32 *out);  /* out[sets][subset], each ascending; 0 or -1 */
} strategy;

extern const strategy *const strategies[];                  /* ends in NULL */
const strategy *strategy_find(const char *name);            /* NULL + fail(FAULT_USAGE) naming the nearest */

/* Checks what the strategy relies on (enough units, finite statistics) and lets it choose. Lists are
 * ascending and without repeats; the same choice gives the same lists on every machine. 0, or -1 + fail. */
int recycle_choose(const strategy *s, const struct choice *c, i32 *out);

/* ---- sample.c: exact draws without replacement --------------------------------------------------------- */

/* Integers proportional to score, at least 1 where score > 0: draws then need no floating point. 0, or -1 +
 * fail when a score is negative or not finite, or when all are zero. */
int  sample_weights(const char *what, const f64 *score, int n, u64 *weight);
/* Draws k of n one after the other, each with probability weight / (weight of those left); out in the order
 * drawn. Returns how many it drew: less than k when no weight is left. */
int  sample_draw(rng *r, const u64 *weight, int n, int k, i32 *out, arena *scratch);
void sample_sort(i32 *v, int n, int total, arena *scratch);  /* different numbers below total, ascending */

/* ---- uniform.c ----------------------------------------------------------------------------------------- */

void uniform_fill(int total, int subset, enum spacing spacing, i32 *out);

/* ---- metis.c, louvain.c: cut a co-activation graph, together[n][n], into part[n] ----------------------- */

/* Parts of about equal size with little weight between them (Karypis and Kumar 1998). 0, or -1 + fail. */
int metis_cut(const f32 *together, int n, int parts, bool unweighted, u64 seed, i32 *part, arena *scratch);
/* Parts of any number and size with high modularity (Blondel et al. 2008). Isolated units stay alone. */
void louvain_cut(const f32 *together, int n, f64 resolution, u64 seed, i32 *part, arena *scratch);

/* ---- graph.c ------------------------------------------------------------------------------------------- */

/* Parts numbered by their first unit, and the co-activation inside each (every pair counted twice). */
struct partition { int n, count; i32 *of; f64 *inside; };
struct partition partition_read(const f32 *together, int n, const i32 *part, arena *a);
/* The units of the drawn parts, part after part, until `subset` are found; ascending in the end. Of the part
 * that does not fit, its first units (r == NULL), or units drawn by their co-activation inside the part.
 * Returns how many there were. */
int partition_fill(const struct partition *p, const f32 *together, const i32 *drawn, int count, int subset,
                   rng *r,
               i32 *out, arena *scratch);

/* Quality of a cut: weight between parts, weight of all edges (each once), and Newman's modularity at
 * resolution 1. */
struct cut_quality { f64 cut, total, modularity; };
struct cut_quality cut_measure(const f32 *together, int n, const i32 *part, arena *scratch);

/* ---- anatomy.c: what cutting has to know of a network -------------------------------------------------- */

struct block_shape {
    int stage, index;                   /* index: within the stage. A ViT has one stage */
    int dim, hidden;                    /* channels; neurons of the MLP, or of a core expert */
    int core, universal, narrow;        /* experts (0 and 0: dense); neurons of a universal expert */
};
struct anatomy {
    bool convnext;
    int stages, depth, heads, classes;  /* heads: 0 when not known */
    struct block_shape *block;          /* [depth] */
};

/* The network an experiment describes. */
void anatomy_of_spec(const struct spec *s, arena *a, struct anatomy *out);
/* A dense checkpoint's, from names and shapes. -1 + fail(FAULT_DATA) when it is not one. */
int  anatomy_of_ckpt(const ckpt *c, arena *a, struct anatomy *out);
bool block_moe(const struct block_shape *b);
int  anatomy_stage_dim(const struct anatomy *n, int stage);
/* "blocks.3" or "stages.2.blocks.0". */
const char *anatomy_block_name(char out[64], const struct anatomy *n, int block);

/* ---- statistics.c -------------------------------------------------------------------------------------- */

/* Where activations are measured: after the MLP's activation function (neurons), before the attention's
 * output projection (attention channels), after the norm before the MLP (channels). */
enum site { SITE_HIDDEN, SITE_ATTN, SITE_CHANNEL, SITES };
extern const char *const site_names[SITES];         /* "mlp.act", "attn.proj", "norm2" */

/* Of one layer; arrays of `width`, together of width x width or NULL. width 0: there is no such layer. */
struct activity { int width; f64 *l1, *l2, *count; f32 *together; };
struct statistics { int depth; struct activity *of[SITES]; };      /* of[site][block] */

/* The vector that recycle.metric asks for. */
const f64 *activity_score(const struct spec *s, const struct activity *x);

/* What statistics depend on: kept with them, and compared before they are used again. */
struct provenance {
    char predecessor[65], image_hash[65];           /* SHA-256 */
    i64  images;
    int  batch;                                     /* images per batch where that counts; 0: all together */
    char threshold[32];                             /* "zero", "percentile 90", "mean + std" */
};
int statistics_save(const struct statistics *st, const struct provenance *w, const char *path);
/* Arrays in a. -1 + fail(FAULT_DATA) naming the first thing that differs from w. */
int statistics_load(const char *path, const struct provenance *w, arena *a, struct statistics *out);

/* ---- picks.c: which of the predecessor's units go where ------------------------------------------------ */

#define MAX_STAGES 8
struct block_picks {
    int from;                           /* the predecessor's block */
    const i32 *attn, *hidden;           /* dense parts: [dim] attention channels, [hidden] neurons */
    const i32 *expert_channel;          /* [experts][dim], channels an expert reads and writes */
    const i32 *expert_hidden;           /* [experts][hidden]; universal experts take `narrow` of their list */
    const i32 *narrow;                  /* [narrow] positions in a list of expert_hidden */
    const i32 *dense_hidden;            /* [universal][narrow] of the dense predecessor, or NULL */
    i32       *part;                    /* graph strategies: the part of each neuron; NULL otherwise */
};
struct picks { const i32 *channel[MAX_STAGES]; struct block_picks *block; };

/* Chooses everything s->recycle asks for. st may be NULL for strategies that need no statistics. 0,
 * or -1 + fail. */
int picks_make(const struct spec *s, const struct anatomy *from, const struct anatomy *to,
               const struct statistics *st, arena *a, struct picks *out);

/* ---- graft.c ------------------------------------------------------------------------------------------- */

/* Cuts `experts` by the picks into out: experts, and where dense is NULL everything else that the table
 * cuts.def knows. Dense parts come whole from `dense` otherwise, a checkpoint of the successor's own widths.
 * Arrays lie in a, which must live as long as out. What the predecessors lack is left out (the model keeps
 * its initial values there). 0, or -1 + fail. */
int recycle_graft(const struct spec *s, const ckpt *experts, const ckpt *dense, const struct anatomy *from,
                  const struct anatomy *to, const struct picks *p, arena *a, ckpt *out);

/* ---- summary.c: what a recycling did ------------------------------------------------------------------- */

/* Shares are of 1; NAN where there is nothing to say (no statistics, one expert, no graph). */
struct layer_report {
    int block;
    f64 mass_core, mass_universal;      /* share of the neurons' importance an expert holds, on average */
    f64 mass_channels;                  /* of the channels' importance, those it reads and writes */
    f64 overlap_core, overlap_universal;        /* mean Jaccard index of two experts' neurons */
    f64 coverage;                       /* share of the layer's neurons that some expert holds */
    int parts;                          /* graph: how many, the share of co-activation cut, modularity */
    f64 cut, modularity;
};
struct recycle_report {
    const char *strategy, *metric;
    bool dense;                         /* the trunk is that of a second predecessor */
    f64 channel_mass;                   /* importance in the trunk's channels, mean over stages; NAN: dense */
    int layers;
    struct layer_report *layer;
    f64 distance, agreement;            /* logits against those of the trunk's predecessor, before training:
                                           relative L2 distance, share of images with the same first class;
                                           NAN: not measured */
};
void recycle_report_make(const struct spec *s, const struct anatomy *from, const struct anatomy *to,
                         const struct statistics *st, const struct picks *p, arena *a,
                         struct recycle_report *out);
void recycle_report_text(FILE *f, const struct recycle_report *r);
char *recycle_report_json(arena *a, const struct recycle_report *r);

/* ---- recycle.c ----------------------------------------------------------------------------------------- */

/* What can be told from the experiment alone: the strategy's name, and that something is cut: of a model
 * without experts (a baseline: what the cut alone gives) all of it, with recycle.from.dense the
 * experts. 0, or -1 + fail(FAULT_USAGE). */
int recycle_check(const struct spec *s);
/* Are its predecessors there, undamaged, and wide enough? 0, also where nothing is recycled, or -1 + fail. */
int recycle_check_inputs(const struct spec *s);
/* Together, the whole stage: s->recycle's predecessors become a checkpoint of s->model at out_path, complete or
 * not there at all. Rank 0 makes it; the others measure with it, and are told neither path nor report. *report
 * may be NULL; its lists lie in a. 0, or -1 + fail; stop_fault() after a signal at any rank. */
int recycle_run(const struct spec *s, dev *d, const char *out_path, arena *a, struct recycle_report *report);
/* Seconds an image would take whose activations are measured in a network of `from`'s model, on made-up images;
 * 0 where the strategy measures none. 0, or -1 + fail. */
int recycle_forecast(const struct spec *s, const struct spec *from, dev *d, f64 *seconds);
/* Checks everything, measures one pass on made-up images, and prints what the whole would take.
 * Writes nothing. */
int recycle_try(const struct spec *s, dev *d, FILE *f);

#endif
