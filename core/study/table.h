/* table.h: a table of results: rows of experiments, columns of data sets or metrics, several seeds; ours
 * against the paper's.
 *
 *     struct table t;
 *     if (table_load(&t, a, "experiments/tables/demo.yaml", "runs", sets, n)) return -1;
 *     if (table_run(&t, "", c.argc, c.argv)) return -1;
 *     table_print(stdout, &t, TABLE_MARKDOWN);
 *
 * The file:
 *     title: ...     seeds: [1, 2]     metric: top1     set: {keys of every experiment}     transpose: on
 *     prepare: [{name: small, file: ../demo/small.yaml}]                run first, once
 *     columns: [CIFAR-10, {name: "Params, M", metric: params, per: 1e6, digits: 1},
 *               {name: at 2e-3, set: {optim: {lr: 2e-3}}}]
 *     rows:
 *       - name: MoE Jetpack
 *         cells: [a.yaml, ~]                        one for all columns, or one for each without a metric
 *                                                   (those with one: `cell: 1` says which); ~ for none
 *         paper: [88.4, 265e6, ~]                   one number per column
 *         set: {optim: {lr: 1e-3}}                  keys over all its cells
 *         use: {model.init: small}                  keys that get the checkpoint a prepared run ends with
 *     compare: MoE Jetpack                          this row against each other, by pairs of seeds
 *     notes: [printed below]
 * An experiment lives in OUT/NAME/seed-N-HASH: what is done is found again, by other tables too, and a
 * changed experiment never meets the results of the one it was; nor that of another device, driver or version
 * of this program. Processes that run the same table, on any machine with this folder, share its experiments:
 * each is run once.
 */
#ifndef JETCL_TABLE_H
#define JETCL_TABLE_H
#include "spec/yaml.h"
#include "study/seeds.h"
#include "study/study.h"

enum metric {
#define METRIC(name, kind, value, help) METRIC_##name,
#include "study/metrics.def"
#undef METRIC
    METRICS
};

enum table_state { CELL_TODO, CELL_STARTED, CELL_DONE, CELL_FAILED }; /* STARTED: by any process, at any time */
struct table_run {
    const char       *name;                 /* where it is needed: "prepare / small", "MoE Jetpack / DTD" */
    bool              prepared, wanted;
    bool              counts_only;          /* only its parameters or FLOPs are asked for: never run */
    int              *uses, n_uses;         /* prepared runs whose checkpoints it starts from */
    const char       *dir;
    struct spec       spec;
    struct run_result result;               /* CELL_DONE */
    enum table_state  state;
    const char       *why;                  /* CELL_FAILED */
    bool              waits;                /* another process works on it, or on what it needs */
};

struct table_column {
    const char        *name;
    enum metric        metric;
    bool               plain;               /* no metric of its own */
    int                cell, row, digits;   /* row: the one epochs_to looks at; digits -1: as usual */
    f64                per;                 /* shown, and given for the paper, in units of this */
    const struct yaml *set;
};
struct table_cell { int n; int *runs; };                    /* one per seed, indices into table.runs */
struct table_row {
    const char        *name;
    struct table_cell *cells;               /* one per column */
    f64               *paper;               /* one per column, NAN for none */
};
struct table {
    arena               *arena;
    const char          *title, *out;
    bool                 transpose;
    int                  n_columns, n_rows, n_notes;
    int                  compare;           /* the row that is compared with the others, -1 for none */
    struct table_column *columns;
    struct table_row    *rows;
    const char         **notes;
    struct table_run    *runs;
    size_t               n_runs, cap_runs;
};

/* Reads the file, resolves every experiment with the n sets over it, and looks what is done. collect: results
 * of other devices, drivers and versions count where there are none of this one's. 0, or -1 +
 * fail(FAULT_USAGE), also when one of the sets (not --seed) is of a key that rows or columns set: their cells
 * would be the same. */
int table_load(struct table *t, arena *a, const char *path, const char *out, const struct spec_set *sets,
               int n, bool collect);
/* Runs what is not done and has `only` in "row / column" ("" for all), and first what that needs. What other
 * processes work on is left to them and waited for. A failure is kept and the next one tried, but a signal
 * ends it. 0, or -1 + fail with the first failure. */
int table_run(struct table *t, const char *only, int argc, char **argv);
/* Is there a cell with `only` in "row / column"? */
bool table_has(const struct table *t, const char *only);
/* What is there now: mean and standard deviation over seeds. */
enum table_format { TABLE_MARKDOWN, TABLE_CSV, TABLE_JSON };
int  table_print(FILE *f, struct table *t, enum table_format format, bool best);
/* Is this run asked for, or prepared for one that is? */
bool table_asks(const struct table *t, const struct table_run *r, const char *only);
/* One line per experiment that is asked for: its state and its folder; who: also which process works on it. */
void table_list(FILE *f, const struct table *t, const char *only, bool who);
/* Of what is to be done: steps, memory and time of each experiment, from a measured step of each model;
 * checkpoints and data sets that are not there, and where to get them; the time of all; which experiments fit
 * into a budget of seconds (NAN: none). As lines, or one line of JSON. 0, or -1 + fail. */
int  table_forecast(const struct table *t, const char *only, f64 budget, bool json);

/* ---- table_values.c, table_pairs.c: for table_print.c and page_table.c ---- */

/* Value of a column's metric for one run; NAN when it has none (yet). */
f64 table_value(struct table *t, const struct table_column *c, const struct table_run *r, bool best);
/* The row t->compare against another: differences by pairs of seeds, and in words. False where a column is not
 * of accuracy or loss, the seeds are not the same, or fewer than two pairs are done. */
struct table_pair { struct seeds seeds; const char *text; };
bool table_pair(struct table *t, int column, int other, bool best, struct table_pair *out);
extern const char *const metric_names[METRICS];
bool metric_counted(enum metric m);         /* known of a model that was not trained */

#endif
