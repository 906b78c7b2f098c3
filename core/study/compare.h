/* compare.h: one experiment on several devices, or with several settings: where do they part, and is
 * it more than rounding explains?
 *
 *     struct record a, b;  struct comparison c;
 *     if (record_make(&a, arena, &spec, &(struct record_options){ .steps = 200, .label = "cpu" })) return -1;
 *     if (record_save(&a, "a.jetcmp") || record_load(&b, arena, "b.jetcmp")) return -1;
 *     compare_records(&c, arena, &a, &b, 0);
 *     puts(c.verdict);
 *
 * Errors are relative: |a - b| / |b| in the Euclidean norm. What rounding explains is derived, not chosen:
 * of values of the first step from the roundings on the longest way to them, of later ones from the same run
 * with every starting weight moved by one rounding.
 */
#ifndef JETCL_COMPARE_H
#define JETCL_COMPARE_H
#include "graph/graph.h"
#include "spec/spec.h"
#include <jansson.h>

/* ---- record.c: what one device computed ------------------------------------------------------------------ */

enum record_kind { RECORD_START, RECORD_INPUT, RECORD_FORWARD, RECORD_GRADIENT, RECORD_AFTER };
struct record_tensor {
    const char *name;            /* "input/images", "forward/block.3", "gradient/head.weight", "after.10/..." */
    enum record_kind kind;
    i64    step;                                  /* RECORD_AFTER: after so many */
    i64    count, n;                              /* elements; those kept, spread over all by record_index() */
    f32   *v;
    u64    hash;                                  /* of all bits; 0: not known */
    f64    bound;                                 /* relative error that rounding explains; 0: not known */
};
/* Of one step. of_peak: the time that the device's own peaks would take over the time taken; 0: not known. */
struct record_kernel { const char *name; int launches; f64 ms, gflops, gb_s, of_peak; };
struct record {
    const char *label, *device, *platform, *driver, *program, *experiment, *precision, *settings;
    i64   steps, batch;
    f64   start_s, step_ms, img_s, joules;    /* of a step; joules 0: not known */
    f64   peak_gflops, peak_gb_s;             /* measured on this device; 0: not known */
    const char *joules_from;                  /* who told: "RAPL", "hwmon", "nvidia-smi"; "" */
    int   n_seeds;                            /* the experiment's seed and those after it, on the same device */
    f64  *seed_loss, *seed_top1;              /* mean of the last tenth of the steps; % after them, or NAN */
    u64   memory;
    int   launches, n_kernels;
    struct record_kernel *kernels;          /* slowest first */
    f64  *loss, *nudged, *reseeded;         /* of each step; with weights one rounding off; with another seed */
    int   n_loss, n_nudged, n_reseeded;
    struct record_tensor *tensors;
    size_t n, cap;
};
struct record_options {
    const char *label, *settings;                 /* settings: what differs from the experiment, in words */
    i64  steps;
    i64  keep;                                   /* elements kept of a tensor */
    int  seeds;                                  /* so many seeds; 1: the experiment's alone */
    bool yardsticks;                             /* run it twice more: weights one rounding off, another seed */
};
/* Runs s (device, precision and so on as it says): the first step in parts, then all of them.
 * Everything lies in a. 0, or -1 + fail. */
int  record_make(struct record *r, arena *a, const struct spec *s, const struct record_options *o);
/* Roundings of one element of n beyond its operands': a product's or a sum's length,
 * a row's where it is normalised. */
f64  record_roundings(const node *n);
/* Widens t's bound to what one rounding of the weights at the start has become: v are all `count` values of the
 * same run from weights nudged so. Elements that are not finite in either count for nothing. */
void record_spread(struct record_tensor *t, const f32 *v, f64 unit);
/* The bound of every node of g, by id, in a: relative, for values of this unit roundoff. */
f64 *record_bounds(arena *a, const graph *g, f64 unit);
/* r->kernels, slowest first, of a step and an update that ran on d, and d's
 * peaks, measured. 0, or -1 + fail. */
int  record_kernels(struct record *r, arena *a, dev *d, launches *step, launches *update);
struct record_tensor *record_find(const struct record *r, const char *name);
/* The element of `count` that is the i-th of n kept: evenly spread, not on a grid.
 * tests/peers/jetcmp.py has it too. */
i64  record_index(i64 i, i64 n, i64 count);
/* Unit roundoff of a precision by name; of float32 for what is unknown. */
f64  record_unit(const char *precision);

/* ---- record_io.c: .jetcmp, a safetensors file ---------------------------------------------------------- */

int  record_save(const struct record *r, const char *path);
/* -1 + fail(FAULT_DATA) for a file that is not a record or is damaged. */
int  record_load(struct record *r, arena *a, const char *path);
/* What r is, without values and curves; the caller owns it. */
json_t *record_json(const struct record *r);

/* ---- compare.c ----------------------------------------------------------------------------------------- */

struct compared { const struct record_tensor *a, *b; f64 error, ulps, bound; bool equal, beyond; };
struct comparison {
    const struct record *a, *b;
    size_t n, missing;                            /* tensors of both; of one alone */
    struct compared *list;                        /* tensors of both, in the order of the network */
    int    equal;
    f64    worst, tolerance;                      /* largest error of forward and gradient; 0: bounds decide */
    bool   agree, same_start;
    bool   twins;                                 /* the same on the same device: equal bits are expected */
    i64    first_step;                            /* where they part, from 1; 0: nowhere */
    const char *first_layer, *verdict;
    const struct compared *first;                 /* the tensor that shows it, or NULL */
    int    n_loss;
    f64   *gap, *allowed;               /* of the loss, by step; allowed 0: not known */
    f64    seed_gap, mean_gap;          /* mean |difference| of the loss over steps: of two seeds, of a and b */
    const char *seeds;                  /* what several seeds show, in words, or NULL */
    f64    speed;                       /* how many times as fast as a b is; 0: not known */
};
void compare_records(struct comparison *c, arena *a, const struct record *x, const struct record *y,
                     f64 tolerance);

/* ---- compare_out.c ------------------------------------------------------------------------------------- */

void compare_print(FILE *f, const struct comparison *c);
/* comparison.json, which `jetcl report` reads: records first, then pairs. 0 or -1 + fail. */
int  compare_json(FILE *f, const struct record *const *r, int n, const struct comparison *c, int pairs);

#endif
