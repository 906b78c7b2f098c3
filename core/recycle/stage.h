/* stage.h: what the files of recycling as a stage of a run share: the predecessor as a running network,
 * measuring it, and comparing with it. The strategies and the grafting below (recycle.h) know no device.
 *
 *     struct predecessor p;  struct statistics st;
 *     if (predecessor_open(&p, &spec, path, a) || statistics_get(&p, &spec, d, true, a, &st)) return -1;
 */
#ifndef JETCL_STAGE_H
#define JETCL_STAGE_H
#include "data/data.h"
#include "model/model.h"
#include "recycle/recycle.h"

/* ---- predecessor.c ------------------------------------------------------------------------------------- */

struct predecessor {
    const char    *path;
    ckpt          *c;                   /* under timm's names */
    struct anatomy n;
    struct spec    s;                   /* the experiment with the predecessor's model and normalisation */
    params        *p;                   /* NULL until predecessor_load */
    char           sha256[65];
};
int  predecessor_open(struct predecessor *p, const struct spec *s, const char *path, arena *a);
/* One of `from`'s model with random weights, ready to run, for measurements. */
int  predecessor_like(struct predecessor *p, const struct spec *s, const struct spec *from, dev *d, arena *a);
int  predecessor_heads(const struct predecessor *p);         /* does it say how many it has? 0, or -1 + fail */
int  predecessor_load(struct predecessor *p, dev *d);        /* its weights on the device, once */
void predecessor_close(struct predecessor *p);

/* ---- segments.c: the images of the statistics over the ranks ------------------------------------------- */

struct segments {
    i64  images, n;                     /* images of all n segments */
    int  unit, step;                    /* images that stay together; those of a pass on this rank's device */
    i64  from, to, *of;                 /* this rank's segments [from, to); how many each rank has */
    i64  rounds;                        /* most passes that a rank has */
};
/* All segments, this rank's. */
void segments_cut(struct segments *g, const struct spec *s, i64 images, int step);
/* The first pass of segment k; of k = n: how many passes all images take. */
i64  segment_begin(const struct segments *g, i64 k);
/* Together: deals the segments to the ranks that are able to measure; rank 0 must be. g->of lies in a. */
int  segments_share(struct segments *g, bool able, arena *a);
/* Together: own: words of each own segment; sum: on rank 0, those of all added up in order. */
int  segments_sum(const struct segments *g, i64 words, const f64 *own, f64 *sum);
/* Together, by rank 0 and those that have segments: adds all ranks' counts up on rank 0. */
int  segments_sum_counts(const struct segments *g, u32 *v, i64 n);

/* ---- activations.c ------------------------------------------------------------------------------------- */

/* A forward pass with statistics: open, step for each few images, take after each segment, read once. */
struct measuring {
    const struct spec    *s;
    const struct anatomy *n;
    dev   *d;
    graph *g;
    node  *images, *job;
    struct feed feed;
    pool  *memory;
    struct measured { range state, together; int width; } *of[SITES];
    int    step;                        /* images a pass takes */
    bool   pairs;
    i64    batches, passes, seen;       /* batches ended, passes begun, images measured */
    i64    in_batch, words;             /* images of the batch so far; f64 that take gives */
    i32    jobs[2][2];
    fence  done[2];
};
/* s: a predecessor's; p its weights. pairs: co-activation too. 0, or -1 + fail. */
int  measuring_open(struct measuring *m, const struct spec *s, const struct anatomy *n, dev *d, params *p,
                    bool pairs);
/* Images that a pass takes. s: a predecessor's. */
int  measuring_step_images(const struct spec *s, const dev *d);
/* b: at most m->step images, or none, left alone until the next call returns; ends: the last of a batch of
 * recycle.batch. */
int  measuring_step(struct measuring *m, const struct batch *b, bool ends);
/* The sums of what was measured since the last call: m->words of them. */
int  measuring_take(struct measuring *m, f64 *sums);
/* Statistics of these sums, which are those of m->batches batches. Together, with segments of several ranks
 * (NULL: of this one alone), by rank 0, where they are right, and those that have some. */
int  measuring_read(struct measuring *m, const f64 *sums, const struct segments *g, arena *a,
                    struct statistics *out);
void measuring_close(struct measuring *m);
/* Seconds an image would take, from one pass over made-up ones. 0, or -1 + fail. */
int  measuring_forecast(struct predecessor *p, dev *d, bool pairs, f64 *seconds);

/* ---- measure.c ----------------------------------------------------------------------------------------- */

/* Together: statistics of the experiment's training images, on rank 0: from recycle.statistics or the cache
 * where they match, else measured by all ranks, and then written there. p->c NULL: this rank could not open
 * it. pairs as above. d NULL: nothing is measured, and out->depth is 0 where nothing was kept. 0, or -1 +
 * fail. */
int statistics_get(struct predecessor *p, const struct spec *s, dev *d, bool pairs, arena *a,
                   struct statistics *out);

/* ---- distance.c ---------------------------------------------------------------------------------------- */

/* How far the recycled model's class scores are from those of the predecessor that its trunk comes from,
 * whose head it gets for this (channels: the ones kept, NULL for all): r->distance, r->agreement. Leaves NAN
 * where there is no head. 0, or -1 + fail. */
int distance_measure(struct predecessor *p, const struct spec *s, const ckpt *recycled, const i32 *channels,
                     dev *d, struct recycle_report *r);

#endif
