/* log.h: what a run writes: its folder, metrics.jsonl, the progress line, result.json. It is told numbers
 * and knows no learner.
 *
 *     report *r = report_open(&s, &(struct run_options){ .out = "runs/x" }, dev_info(d));
 *     if (report_step(r, &(struct report_step){ .step = 1, .loss = 2.3 })) return -1;
 *     report_close(r);
 *     if (result_load(a, "runs/x", &result)) ...             // the numbers, read back from result.json
 *
 * `make layers` checks that no file calls one that stands after it here:
 * Order: append json_out lock speed repair env result run_folder tensorboard metrics
 */
#ifndef JETCL_LOG_H
#define JETCL_LOG_H
#include "dev/dev.h"
#include "spec/spec.h"

/* ---- results ------------------------------------------------------------------------------------------- */

struct run_eval { int epoch; i64 step, n; f64 top1, top5, loss, seconds; };    /* per cent, over n images */
struct run_result {
    const char *reason;                     /* why it ended: "done", "patience" */
    int    epochs;
    i64    steps, params;
    int    unset;                         /* tensors of the model that no checkpoint set: random at the start */
    f64    top1, top5, loss;              /* of the last evaluation */
    f64    best_top1;                     /* of all evaluations, on the very split that is reported */
    int    best_epoch;
    f64    seconds, img_s;           /* wall time of all its parts; images/s, without start-up */
    i64    saves;                    /* of this process: how many, */
    f64    save_wait, save_seconds;  /* the most seconds that steps waited for one, and that writing one took */
    f64    flops, flops_complete;    /* multiply-adds per image: as the paper counts, and all */
    u64    memory, hash;             /* most device memory held, bytes; the experiment's spec_hash() */
    int    n_evals;
    const struct run_eval *evals;
    int    n_skipped;                       /* unreadable images, with data.on_error: skip */
    const char *const *skipped;
};
/* Reads result.json of a run folder. 0; 1 when there is none (not an error); -1 + fail(FAULT_DATA) when it
 * is damaged. */
int result_load(arena *a, const char *dir, struct run_result *r);
/* Writes it, atomically. 0 or -1 + fail. */
int result_save(const char *dir, const struct run_result *r);

/* ---- lock.c: one owner for a folder, on one machine or on many with a common file system --------------- */

typedef struct lock lock;
struct lock_owner { struct process who; char since[32]; bool alive; };
/* Takes dir/lock. 0; 1 when a living process has it (fail_message() says which); -1 + fail(FAULT_RUN). The
 * lock of a dead one is taken over, with a warning. Its own thread keeps it fresh until lock_drop (NULL is
 * fine). */
int  lock_take(const char *dir, lock **out);
void lock_drop(lock *l);
/* Did another machine take it, because nothing was seen of us for minutes? Then nothing more may be written. */
bool lock_lost(lock *l);
/* Removes the lock of a dead owner, where nobody is to be the next. */
void lock_clear(const char *dir);
/* Who owns it? 0; 1: no process; -1 + fail. */
int  lock_look(const char *dir, struct lock_owner *o);

/* ---- run_folder.c -------------------------------------------------------------------------------------- */

struct run_folder;
/* What becomes of the link runs/NAME/latest: points to this run; only if there is none yet; nothing. */
enum latest { LATEST_MOVES, LATEST_IF_NONE, LATEST_STAYS };
struct run_options {
    const char *out;                        /* the run folder; NULL: runs/NAME/TIME */
    const char *resume;                     /* NULL: a new run; "": continue in `out` or the newest; else a run
                                             * folder or a checkpoint beside which its .state lies */
    bool        force;                     /* use a run folder that is not empty: what a run wrote there goes */
    enum latest latest;
    const struct run_folder *folder;        /* claimed already; NULL: report_open does */
    u64         hash;                       /* for result.json; 0: spec_hash() of what report_open gets */
    int         argc;                       /* command line, for env.json */
    char      **argv;
};

/* dir: where the run lives; resumed: a run begun earlier continues, from `state` (NULL: it saved none yet,
 * and begins again). made: folders that folder_claim made. */
struct run_folder { const char *dir, *state; bool resumed; int made; lock *lock; };
/* Finds the folder o asks for, refuses what may not be used, and locks it; nothing in it is changed but that
 * half files of dead owners go. Strings lie in a. 0; 1: another process works there; -1 + fail: FAULT_USAGE
 * for a folder that is not empty, or with --force no run's or one that holds an input; FAULT_DATA for nothing
 * to resume. */
int  folder_claim(arena *a, const struct spec *s, const struct run_options *o, struct run_folder *f);
/* Unlocks it, and removes what folder_claim made if nothing was put there. */
void folder_release(struct run_folder *f);

/* ---- metrics.c, speed.c: the run folder and the progress line ------------------------------------------ */

typedef struct report report;
/* Claims the run folder (or takes o->folder, which stays the caller's), removes what a run wrote with
 * o->force, writes config.yaml and env.json, opens metrics.jsonl and log.txt, sets `latest`. device may be
 * NULL. NULL + fail as folder_claim, FAULT_RUN when it cannot be written. */
report     *report_open(const struct spec *s, const struct run_options *o, const struct dev_info *device);
const char *report_state(const report *r);              /* the state to continue from, or NULL */
const char *report_path(report *r, const char *name);   /* a file of the folder, for 8 calls; "": itself */

/* After every step: `at` of the epoch's `of` steps are done; images, and data_s seconds spent waiting for data,
 * count from the start of the program; loss: of the last steps that are known. Redraws the progress line, at
 * most ten times a second, once a loss is known. */
struct report_tick { int epoch, at, of; i64 images; f64 data_s, loss; };      /* epoch from 1 */
void report_tick(report *r, const struct report_tick *t);
/* When the numbers of a step have been read: a line in metrics.jsonl and, without a terminal, a plain one.
 * mem in bytes. 0, or -1 + fail. */
/* scale: of the loss, where it is scaled (fp16), else 0; skipped: steps that were, for an overflow. */
struct report_step { int epoch; i64 step; f64 loss, lr, grad_norm; u64 mem; f64 scale; i64 skipped;
                     bool ranks; f64 comm; /* with several: per cent of the time spent waiting for them */ };
int  report_step(report *r, const struct report_step *s);
int  report_eval(report *r, const struct run_eval *e);
/* A save of the state: for `held` seconds no step was taken, after `took` more it was written. */
void report_saved(report *r, f64 held, f64 took);
/* {"event":"resume","step":...}. */
int  report_event(report *r, const char *event, i64 step);
/* The run continues after `step`; evaluations up to step `evaluated` count. What metrics.jsonl has beyond
 * comes again, and goes. Also writes the event. */
int  report_resume(report *r, i64 step, i64 evaluated);
/* Fills in what was reported; the caller adds reason, params, flops, memory and skipped, and finishes:
 * result.json is there, so the run is complete. */
void report_result(const report *r, arena *a, struct run_result *out);
int  report_finish(report *r, const struct run_result *result);
/* Are the lines so far written? Those that could not be wait, and go first the next
 * time. 0, or -1 + fail(FAULT_RUN). */
int  report_flush(report *r);
void report_close(report *r);                           /* NULL is fine */

#endif
