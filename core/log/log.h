/* log.h: what a run leaves behind: its folder, metrics.jsonl, the progress line, result.json. It is told numbers
 * and knows no learner.
 *
 *     report *r = report_open(&s, &(struct run_options){ .out = "runs/x" }, dev_info(d));
 *     if (report_step(r, &(struct report_step){ .step = 1, .loss = 2.3 })) return -1;
 *     report_close(r);
 *     if (result_load(a, "runs/x", &result)) ...             // the numbers, read back from result.json
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
    f64    top1, top5, loss;                /* of the last evaluation */
    f64    best_top1;                       /* of all evaluations, on the very split that is reported */
    int    best_epoch;
    f64    seconds, img_s;                  /* wall time of all its parts; images/s, without start-up */
    f64    flops, flops_complete;           /* multiply-adds per image: as the paper counts, and all */
    u64    memory, hash;                    /* most device memory held, bytes; the experiment's spec_hash() */
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

/* ---- metrics.c, progress.c: the run folder and the progress line --------------------------------------- */

struct run_options {
    const char *out;                        /* the run folder; NULL: runs/NAME/TIME */
    const char *resume;                     /* NULL: a new run; "": go on in `out` or the newest; else a run
                                             * folder or a checkpoint */
    bool        force;                      /* use a folder that is not empty: what a run left there goes */
    u64         hash;                       /* for result.json; 0: spec_hash() of what report_open gets */
    int         argc;                       /* command line, for env.json */
    char      **argv;
};

typedef struct report report;
/* Makes or finds the run folder, writes config.yaml and env.json, opens metrics.jsonl and log.txt, points
 * `latest` here. device may be NULL. NULL + fail(FAULT_USAGE) for a folder that is not empty, FAULT_RUN when
 * it cannot be written. */
report     *report_open(const struct spec *s, const struct run_options *o, const struct dev_info *device);
const char *report_path(report *r, const char *name);   /* a file of the folder; "": itself; lives with r */

/* After every step: `at` of the epoch's `of` steps are done; images, and data_s seconds spent waiting for
 * data, count from the start of the program. Redraws the progress line, at most ten times a second. */
struct report_tick { int epoch, at, of; i64 images; f64 data_s; };      /* epoch from 1 */
void report_tick(report *r, const struct report_tick *t);
/* When the numbers of a step have been read: a line in metrics.jsonl and, without a terminal, a plain one.
 * mem in bytes. 0, or -1 + fail. */
struct report_step { int epoch; i64 step; f64 loss, lr, grad_norm; u64 mem; };
int  report_step(report *r, const struct report_step *s);
int  report_eval(report *r, const struct run_eval *e);
/* {"event":"resume","step":...}. A resume forgets evaluations behind its step: they come again. */
int  report_event(report *r, const char *event, i64 step);
/* Fills in what was reported; the caller adds reason, params, flops, memory and skipped, and finishes:
 * result.json is there, so the run is complete. */
void report_result(const report *r, arena *a, struct run_result *out);
int  report_finish(report *r, const struct run_result *result);
void report_close(report *r);                           /* NULL is fine */

#endif
