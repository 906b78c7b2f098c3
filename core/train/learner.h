/* learner.h: the machinery of training, for the files of this folder and for commands that run a model.
 *
 *     struct session e;  struct evaluator v;  struct run_eval got;
 *     if (session_open(&e, &spec, SESSION_EVAL_DATA, "best.safetensors")) return -1;
 *     if (evaluator_open(&v, &e.s, e.d, e.p, 64)) return -1;
 *     loader *l = loader_open(e.eval, &e.eval_options);
 *     if (evaluate(&v, l, &got, NULL)) return -1;
 */
#ifndef JETCL_LEARNER_H
#define JETCL_LEARNER_H
#include "data/data.h"
#include "model/model.h"
#include "log/log.h"

/* ---- schedule.c ---------------------------------------------------------------------------------------- */

/* Factor on every group's learning rate at optimiser step `step` (from 0), `per_epoch` steps an epoch: linear
 * warm-up that reaches 1 at its last step, then the cosine, which moves every step or, as in the released
 * configurations, once an epoch (schedule.by epoch), and then never quite reaches its minimum. */
f64 schedule_factor(const struct spec *s, i64 step, i64 per_epoch);

/* ---- optim.c ------------------------------------------------------------------------------------------- */

/* Learning rate scale and weight decay of one parameter: the layer-decay rule as the released code applies it
 * (oversights included) or, with optim.groups: paper, as the paper states it. nd: axes of the parameter. */
struct group { f64 lr_scale, weight_decay; int layer; };
struct group optim_group(const struct spec *s, const char *name, int nd);

/* The optimiser's graphs, over what is updated here: the sum of squares of the gradients into norm; then, from
 * the norm of all of them, clipping and AdamW. */
struct optim {
    graph *squares, *g;
    range  norm, scale;                           /* scale: fp16's struct loss_scale */
    pool  *memory;
    bool   owns;                                  /* is anything updated here at all? */
};
int  optim_open(struct optim *o, const struct spec *s, params *p);       /* after params_open(PARAMS_TRAIN) */
void optim_close(struct optim *o);

/* ---- slabs.c: between device and host ------------------------------------------------------------------- */

struct learner;
enum slab_row { SLAB_VALUES, SLAB_GRADS, SLAB_FIRSTS, SLAB_SECONDS };
enum slab_way { SLAB_READ, SLAB_WRITE, SLAB_READ_AT, SLAB_WRITE_BESIDE };  /* as dev.h's mem_ functions */
/* Elements [at, at + n) of all slabs in a row. Of moments, and of gradients that are sharded, only what lies
 * here: host[0] is element `at`. mark: for SLAB_READ_AT. 0, or -1 + fail. */
int   slabs_copy(struct learner *l, enum slab_row row, i64 at, i64 n, f32 *host, enum slab_way way,
                 const struct mark *mark);
/* Where they are, if all of them lie in one slab; else RANGE_NONE. */
range slabs_range(const struct learner *l, enum slab_row row, i64 at, i64 n);

/* ---- exchange.c: a step over several ranks ------------------------------------------------------------- */

/* Which of the graph's launches each bucket of gradients waits for; before the first step. */
int  exchange_plan(struct learner *l);
/* Together: sums the gradients over ranks, in their order, into what each rank updates (dist.shard: off: into
 * all). */
int  exchange_gradients(struct learner *l);
/* Together: the sum of squares of all shards, on every rank's device. Nothing with dist.shard: off. */
int  exchange_norm(struct learner *l);
/* Together: the parameters that each rank has updated go to all. */
int  exchange_values(struct learner *l);
/* Together: n elements from `at` on of a moment (that of all slabs one after the other), on rank 0. */
int  exchange_gather(struct learner *l, bool second, i64 at, i64 n, f32 *out);
/* The same elements, all of them, into what of them lies here. */
int  exchange_put(struct learner *l, bool second, i64 at, i64 n, f32 *values);
/* Together: all parameters become rank 0's. */
int  exchange_start(params *p);
/* This rank's images of a batch: [*from, *to). */
void exchange_share(const struct spec *s, int *from, int *to);
/* Until m is reached, while what is under way between ranks goes on; m is free then. 0, or -1 + fail. */
int  exchange_await(struct learner *l, struct mark *m);
/* Gradients [at, at + n) of those that are updated here. */
int  exchange_put_gradients(struct learner *l, i64 at, i64 n, f32 *values);
/* Bytes that a rank sends per step, of `ranks`. */
u64  exchange_bytes(u64 weight_bytes, int ranks);

/* ---- rounds.c: dist.shard: gradients -------------------------------------------------------------------- */

struct rounds;
/* offloads: of each parameter's gradient, in l's compiled graph, or NULL; NULL: this rank has no images. */
int  rounds_open(struct learner *l, node *const *offloads);
void rounds_close(struct rounds *o);
/* Together: how many micro-batches the rank has that has most; -1 + fail. */
int  rounds_passes(struct learner *l);
/* Together, once per pass: runs the graph, if it computes, and adds up over ranks what it leaves. */
int  rounds_run(struct learner *l, bool first, bool computes);
int  rounds_end(struct learner *l);               /* the sums of all passes, to where the update reads them */

/* ---- balance.c: dist.shares: auto ----------------------------------------------------------------------- */

bool shares_auto(const struct spec *s);
/* Together, before session_open: measures, where auto, and sets dist.shares, which then lies in a. */
int  shares_measure(struct spec *s, arena *a);

/* ---- learner.c: a model with its gradient -------------------------------------------------------------- */

#define STEPS_AHEAD 4
struct learner {
    const struct spec *s;
    dev     *d;
    params  *p;
    graph   *g;                                   /* a micro-batch: loss, gradients into their slab */
    struct optim optim;
    node    *images, *targets;                    /* (b 3 h w), (b k) */
    struct feed feed;                             /* what writes the images of the loader's batches */
    int      micro_size, micro_batches;           /* images of one; how many this rank's share is, 0: none */
    int      first;                               /* of its images, in the batch */
    struct mark *marks;                           /* of the graph: where each bucket of gradients is there */
    int      n_marks;
    struct rounds *rounds;                        /* gradients are sharded; NULL: they are not */
    range    loss, loss_sum;
    pool    *memory;
    pool    *micro_grads;                         /* with several micro-batches: the gradients of one */
    params  *ema;                                 /* averaged weights (train.ema); NULL: none */
    graph   *ema_graph;
    i64      step;                                /* optimiser steps done */
    i64      summed;                              /* steps in loss_sum */
    step_words ring[STEPS_AHEAD];
    fence    done[STEPS_AHEAD];
    i64      runs;                                /* graphs enqueued, for the ring */
    fence    last, before;                        /* ends of the last step and of the one before */
    /* Read back late, by step % STEPS_AHEAD: the square of the gradient's norm, the sum of losses, and the
     * steps in it. */
    struct { f32 square, sum; i64 steps; } late[STEPS_AHEAD];
};
int  learner_open(struct learner *l, const struct spec *s, dev *d, params *p);
void learner_close(struct learner *l);
/* One optimiser step on a whole batch, of its images and soft_labels: enqueues everything. Its arrays must
 * stay until learner_wait(). */
int  learner_step(struct learner *l, const struct batch *b, f64 lr_factor);
/* Until the batch of the last but one step may go. fail(FAULT_NUMBERS) when that step's gradient was not a
 * number (except in fp16, where such a step is skipped). */
int  learner_wait(struct learner *l);
/* Mean loss since the last call and the norm of the last gradient (fp16: the
 * last one that was taken). Blocks. */
int  learner_read(struct learner *l, f64 *loss, f64 *grad_norm);
/* Mean loss, of this rank's images, from the last learner_read to the last step that learner_wait has
 * seen; NAN: none. Does not block. */
f64  learner_loss(const struct learner *l);
/* fp16: the loss scale as it stands. Blocks. */
bool learner_scales(const struct learner *l);
int  learner_scale(struct learner *l, struct loss_scale *out);
int  learner_set_scale(struct learner *l, const struct loss_scale *s);
/* What is evaluated and saved as the model: the averaged weights, where there
 * are some, else the trained ones. */
params *learner_weights(const struct learner *l);

/* ---- eval.c -------------------------------------------------------------------------------------------- */

struct evaluator { graph *g; node *images, *logits; struct feed feed; int batch, classes; };
int  evaluator_open(struct evaluator *e, const struct spec *s, dev *d, params *p, int batch);
void evaluator_close(struct evaluator *e);
/* Class scores of a batch of n <= e->batch images -> logits (n classes). */
int  evaluator_logits(struct evaluator *e, const struct batch *b, f32 *logits);
/* Adds what n rows of logits (n classes) are worth to the sums: right ones to top1 and top5, cross-entropy to
 * loss, n; and to confusion (classes x classes counts, rows the truth), which may be NULL. A tie is not right,
 * nor is a NaN. */
void eval_count(const f32 *logits, const i32 *labels, int n, int classes, struct run_eval *sums,
                i64 *confusion);
/* The class that a row of logits says, as that matrix counts it: of equally likely ones never the true one. */
int  eval_predicted(const f32 *logits, int classes, int label);
/* Together, over the batches of all ranks: a whole split: top1, top5, loss, n and seconds of *out, and, on rank
 * 0, what is counted besides (NULL: nothing). Scores that are not numbers end it with fail(FAULT_NUMBERS),
 * naming the first tensor of the network that holds one. */
struct scores;
int  evaluate(struct evaluator *e, loader *l, struct run_eval *out, struct scores *s);

/* ---- scores.c: what is counted of an evaluation ---------------------------------------------------------- */

enum { CALIBRATION_BINS = 15, CONFUSION_CLASSES = 10000 };
struct scores {
    int classes, k;
    i64 n, in_top_k;                              /* images; those whose class is among the k likeliest */
    struct { i64 images, said, right; } *of;      /* (classes) */
    i64 *confusion;                      /* (classes classes): rows the truth, columns what was said; or NULL */
    struct { i64 n, right; f64 confidence; } bin[CALIBRATION_BINS];
    f32 *logits;                                  /* (n classes) and (n), or NULL */
    i64 *labels;
};
/* keep: room for so many images' logits, 0: they are not kept. matrix: with
 * confusion, of at most CONFUSION_CLASSES. */
void scores_open(struct scores *s, arena *a, int classes, int k, i64 keep, bool matrix);
/* One image. */
void scores_add(struct scores *s, const f32 *logits, int label);
struct class_score { i64 images, said, right; f64 precision, recall, f1; };
struct class_score scores_class(const struct scores *s, int k);
/* Means of the three over the classes that have images. */
struct class_score scores_mean(const struct scores *s);
/* Expected calibration error (Guo et al. 2017), in 15 bins of equal width: how
 * far confidence is from accuracy. */
f64  scores_calibration(const struct scores *s);

/* ---- trained.c: a checkpoint to evaluate or predict with ------------------------------------------------- */

struct trained {
    const char *path;                             /* of the checkpoint itself */
    ckpt       *c;                                /* ckpt_open_model's */
    struct spec s;                                /* its experiment; classes, pool, mean and std filled in */
    const char *const *names;                     /* of its n classes; NULL: it does not name them */
    int         n;
};
/* path: a checkpoint or a run's folder. s: the experiment, sets included, or NULL for the checkpoint's own
 * with n sets over it. 0, or -1 + fail: the file lacks a head, or contradicts itself or the experiment. Closed
 * in any case. */
int  trained_open(struct trained *t, arena *a, const char *path, const struct spec *s,
                  const struct spec_set *sets, int n);
void trained_close(struct trained *t);

/* ---- session.c: what every command that runs a model opens --------------------------------------------- */

struct session {
    struct spec s;                                /* classes and other `auto` filled in */
    dev        *d;
    params     *p;
    dataset    *train, *eval;                     /* NULL when not asked for */
    struct data_options train_options, eval_options;
};
enum { SESSION_TRAIN_DATA = 1, SESSION_EVAL_DATA = 2, SESSION_TRAINS = 4 };
/* Together, after session_open: tells the other ranks what this one computes on; all must see the same data. */
int  session_join(const struct session *e);
/* Device, data sets, parameters with random or loaded (model.init, or `weights`) values. 0, or -1 + fail. */
int  session_open(struct session *e, const struct spec *s, int wants, const char *weights);
/* Device and every parameter of a trained model; data: and its evaluation split,
 * labelled by the model's class names. */
int  session_open_trained(struct session *e, const struct trained *t, bool data);
/* The part of it that needs s and d alone: train.accumulate, as few micro-batches as memory allows. 0, or
 * -1 + fail(FAULT_DEVICE). */
int  session_fit(struct session *e);
/* The weights p with what a reader needs to know: classes in index order, mean and std, architecture. */
int  session_save(const struct session *e, const params *p, const char *path);
/* The same without weights, to be filled and closed; what it says lies in a. */
ckpt *session_ckpt(const struct session *e, arena *a);
void session_close(struct session *e);

/* ---- timing.c: train.profile, together on all ranks ---------------------------------------------------- */

struct timing { bool on, over; i64 until; f64 began, mark; };
/* Before a step, of which `done` were done in this process: begins the trace of `steps`
 * when it is time. 0 or -1 + fail. */
int  timing_step(struct timing *t, i64 steps, i64 done);
void timing_part(struct timing *t, const char *part);       /* what was done since the part before */
/* After it: the last of the steps ends the trace. path: where rank 0 writes it; NULL
 * on the others. 0 or -1 + fail. */
int  timing_done(struct timing *t, i64 step, i64 done, const char *path, const char *device);
/* Where training ends before. */
int  timing_end(struct timing *t, const char *path, const char *device);

/* ---- state.c: what a run needs to continue ------------------------------------------------------------- */

/* One file with weights, moments, averaged weights and counters, replaced atomically; exact to the bit. epoch:
 * epochs done; sample: of the next one, in its order, so that batches may be of another size after a resume.
 * images: of the training split; 0: not said. evaluated: the step of the last evaluation. Together; path is
 * rank 0's. What N ranks saved any number of ranks loads. */
struct position { i64 epoch, step; f64 best; i64 best_epoch, since_best, sample, images, evaluated; };
int  state_save(const char *path, struct learner *l, const struct position *at);
int  state_load(const char *path, struct learner *l, struct position *at);
/* Is it a state, undamaged, and of a model with these parameters, with averaged ones if `ema`? Reads all of it,
 * changes nothing. 0, or -1 + fail(FAULT_DATA). */
int  state_check(const char *path, const params *p, bool ema, struct position *at);

/* A copy in the host's memory, from which another thread can write while training continues. */
struct snapshot { arena *a; u8 **kind[4]; bool full; };  /* [weights, moments, averages][slab] */
int  snapshot_open(struct snapshot *s, const struct learner *l);     /* -1 + fail when memory is short */
void snapshot_close(struct snapshot *s);
int  snapshot_take(struct snapshot *s, struct learner *l);           /* blocks until the last step is done */
/* The state as a file to be sealed and saved; s NULL: read from the device when it is written. */
ckpt *state_ckpt(struct learner *l, const struct position *at, const struct snapshot *s, arena *a);
/* Adds the model as it is evaluated (learner_weights) to c, out of a copy, or out of a state's file, which
 * stays open until c is saved: the device is read once. */
void snapshot_weights(const struct snapshot *s, const struct learner *l, ckpt *c);
void state_weights(const ckpt *state, const struct learner *l, ckpt *c, arena *a);

/* ---- save.c: saving while training continues------------------------------------------------------------- */

/* Writes ckpt/last.safetensors and ckpt/last.state, and with `epoch` > 0 links them as epoch_NNNN, on a thread.
 * What went wrong with the save before is said, and not an error: this one replaces it. 0; -1 + fail only when
 * the state cannot be read from the device. */
typedef struct saver saver;
saver *saver_open(struct session *e, struct learner *l, report *r);
int    saver_start(saver *v, const struct position *at, i64 epoch);
/* Is one of the files missing that saver_start links for this epoch? */
bool   saver_lacks(const saver *v, i64 epoch);
/* Until the last one is written. 0, or -1 + fail(FAULT_RUN) when it could not be. */
int    saver_finish(saver *v);
void   saver_close(saver *v);                     /* NULL is fine */
/* Room for what the run will keep in its folder? 0, or -1 + fail(FAULT_RUN). */
int    saver_room(const struct session *e, const char *dir);

/* ---- train.c ------------------------------------------------------------------------------------------- */

/* Together. Trains e's model into the report's folder (rank 0's; NULL on others), from ckpt/last.state when it
 * is there. *reason: "done" or "patience". */
int  train_loop(struct session *e, report *r, const char **reason);

#endif
