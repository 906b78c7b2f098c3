/* tune.h: choosing among kernels' parameters by the clock, for the shapes of one model's training step.
 *
 *     struct tune_row *rows;
 *     int n = tune_model(a, &spec, d, 600, &rows);                   // the tuning file is written
 *     for (int i = 0; i < n; i++) puts(rows[i].choice);
 */
#ifndef JETCL_TUNE_H
#define JETCL_TUNE_H
#include "train/learner.h"

/* ratio: time of the choice over that of the shipped values. choice: "KB=128 NP=192". 1 and "" where the
 * shipped ones stay. */
struct tune_row { const char *kernel, *shape, *choice; int uses, tried; f64 shipped_ms, best_ms, ratio; };

/* Times candidates for every shape, those that matter most first, until `seconds` are over; each winner must
 * agree with the generic kernels. Kept after each shape by dev_tune_save. classes must be known. Returns how
 * many rows, or -1 + fail. */
int tune_model(arena *a, const struct spec *s, dev *d, f64 seconds, struct tune_row **rows);

#endif
