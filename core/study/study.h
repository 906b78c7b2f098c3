/* study.h: one experiment from start to finish.
 *
 *     struct run_result r;
 *     if (run_experiment(&s, &(struct run_options){ .out = "runs/x" }, a, &r)) return -1;
 *     printf("%.2f %% after %d epochs\n", r.top1, r.epochs);
 *
 * `make layers` checks that no file calls one that stands after it here:
 * Order: needs forecast energy seeds record_io record_bound record_time record nodecheck opcheck
 * Order: kernelcheck memcheck selftest compare compare_out html chart confusion analyse_load analyse_weights
 * Order: analyse_open analyse analyse_moves analyse_maps analyse_write curves run dry table_fields
 * Order: table_cells table table_values table_pairs table_print table_run table_budget table_forecast picture
 * Order: plot bars page_curves page_run page_table page_compare page
 */
#ifndef JETCL_STUDY_H
#define JETCL_STUDY_H
#include "log/log.h"
#include "log/files.h"

/* ---- run.c --------------------------------------------------------------------------------------------- */

/* Recycles if the experiment says so, trains, evaluates; stages already done in the folder are kept. 0; 1
 * when another process works in the folder (fail_message() says which); or -1 + fail; FAULT_STOPPED after a
 * signal, with everything saved. Strings and lists of *r lie in a. */
int run_experiment(const struct spec *s, const struct run_options *o, arena *a, struct run_result *r);

/* ---- dry.c --------------------------------------------------------------------------------------------- */

/* Checks files and device, builds, takes memory, measures a few steps on made-up data, says what
 * a run would take: on stderr, or json on stdout. What is not there yet is done without, and
 * then named. */
int run_dry(const struct spec *s, bool json);

/* What a new run starts from, before anything is built or made: checkpoints are opened, contradictions said. */
int run_check_start(const struct spec *s);

/* ---- needs.c: checkpoints and data sets that are not there ----------------------------------------------- */

struct need { const char *what, *where; int runs; };       /* where to get it; how many runs need it */
struct needs { arena *a; struct need *list; size_t n, cap; };
/* Is it missing? Then it is noted, but for a set that the program draws itself. */
bool needs_checkpoint(struct needs *s, const char *path);
bool needs_data(struct needs *s, const struct spec *spec);
/* "missing: WHAT: WHERE" on stderr; "missing for 3: WHAT: WHERE" */
void needs_say(const struct needs *s);
void needs_print(FILE *f, const struct needs *s);
json_t *needs_json(const struct needs *s);

/* ---- forecast.c: what a run would take ----------------------------------------------------------------- */

struct session;
struct forecast {
    int micro_batches;                   /* micro-batches of a step */
    f64 built, step, loss;               /* seconds to the end of the first step, of a later one */
    f64 image;                           /* seconds an image of an evaluation takes; */
    f64 activations;                     /* one whose activations are measured (NAN: not known): the caller's */
    u64 memory;                          /* of the device, most at once */
};
/* Of an opened session, on made-up images. 0, or -1 + fail. */
int forecast_measure(struct session *e, struct forecast *f);
/* The same of an experiment alone, whose data and weights are not looked at. */
int forecast_step(const struct spec *s, struct forecast *f);
/* Images of both splits, 0: not known: those there, else as published. Fills in model.classes: auto. */
struct images { int train, eval; };
struct images forecast_images(struct spec *s);
/* The network of recycle.from.experts: the file's, or, where it is missing, that of
 * the published one it is named as. */
bool forecast_predecessor(arena *a, const struct spec *s, struct spec *out);
/* What a run takes: seconds of its parts and of all that are known; NAN: not known. measured: images whose
 * activations recycling measures. */
struct cost {
    f64  steps, evaluations, measured, training, evaluating, recycling, seconds;
    bool cuts;                          /* a graph is partitioned besides, in a time that is not known */
};
struct cost forecast_cost(const struct spec *s, const struct forecast *f, struct images n);

#endif
