/* tune_trial.h: a shape to tune, and two ways of computing it against each other.
 *
 *     if (trial_open(&a, &job, d)) return -1;
 *     dev_tune_set(d, "matmul", job.key, "KB", 128);
 *     if (trial_open(&b, &job, d)) return -1;
 *     if (!trial_same(&a, &b) && trial_race(&a, &b, &r)) return -1;         // r.ratio < 1: b is faster
 */
#ifndef JETCL_BENCH_TUNE_TRIAL_H
#define JETCL_BENCH_TUNE_TRIAL_H
#include "train/learner.h"

enum { MACROS = 6, VALUES = 6 };
struct choice { const char *macro; i32 values[VALUES]; };       /* to try besides what ships; ends in 0 */

/* One shape: a small graph of its own can be built from what is here. */
struct job {
    const struct kind *kind;
    char         key[64];
    struct shape in[2];
    enum dtype   type[2], out;           /* what they and the result are stored in */
    int          n_in, arg;              /* arg: transposes, or heads */
    int          uses;
    f64          macs;
};

struct kind {
    const op *op;
    const char *name;
    void    (*key)(const node *n, char key[64]);
    int     (*arg)(const node *n);
    int       n_in;
    node   *(*build)(const struct job *j, node *const *in);      /* the values that are compared */
    struct choice of_class[2][MACROS];   /* by enum dev_class */
};

/* Is an operand of a half type? */
bool job_half(const struct job *j);

struct trial { graph *g; node *y; };
/* The shape's graph on d, as its tunables stand now, with the same inputs each time. 0, or -1 + fail and
 * nothing open. */
int  trial_open(struct trial *t, const struct job *j, dev *d);
void trial_close(struct trial *t);
/* Would both enqueue the same? Then no race is needed. */
bool trial_same(const struct trial *p, const struct trial *q);
/* Both alternately: the least seconds of each, and b's over a's: of the least ones or in the middle of the
 * rounds, whichever says less for b. A clear loser runs no further. 0, or -1 + fail. */
struct race { f64 a, b, ratio; };
int  trial_race(const struct trial *a, const struct trial *b, struct race *r);

#endif
