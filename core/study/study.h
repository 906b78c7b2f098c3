/* study.h: one experiment from start to finish.
 *
 *     struct run_result r;
 *     if (run_experiment(&s, &(struct run_options){ .out = "runs/x" }, a, &r)) return -1;
 *     printf("%.2f %% after %d epochs\n", r.top1, r.epochs);
 */
#ifndef JETCL_STUDY_H
#define JETCL_STUDY_H
#include "log/log.h"

/* ---- run.c --------------------------------------------------------------------------------------------- */

/* Recycles if the experiment says so, trains, evaluates; stages already done in the folder are kept. 0; 1
 * when another process works in the folder (fail_message() says which); or -1 + fail; FAULT_STOPPED after a
 * signal, with everything saved. Strings and lists of *r lie in a. */
int run_experiment(const struct spec *s, const struct run_options *o, arena *a, struct run_result *r);
/* Checks files and device, builds, takes memory, measures a few steps on made-up data, says what a run
 * would take. */
int run_dry(const struct spec *s);

#endif
