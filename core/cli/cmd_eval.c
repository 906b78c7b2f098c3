/* cmd_eval.c: accuracy of a checkpoint on a split. */
#include "cli/cli.h"
#include "train/learner.h"
#include "log/files.h"
#include <errno.h>

static int write_tables(const char *per_class, const char *confusion, const dataset *d, const i64 *counts)
{
    int k = data_classes(d);
    struct file_out o;
    if (per_class) {
        if (file_begin(&o, per_class))
            return -1;
        fprintf(o.f, "class,name,images,top1\n");
        for (int i = 0; i < k; i++) {
            i64 n = 0, right = counts[(i64)i * k + i];
            for (int j = 0; j < k; j++)
                n += counts[(i64)i * k + j];
            fprintf(o.f, "%d,\"%s\",%lld,%.4f\n", i, data_class_name(d, i), (long long)n,
                    n ? 100.0 * (f64)right / (f64)n : 0);
        }
        if (file_commit(&o))
            return -1;
    }
    if (confusion) {
        if (file_begin(&o, confusion))
            return -1;
        for (int i = 0; i < k; i++)
            for (int j = 0; j < k; j++)
                fprintf(o.f, "%lld%c", (long long)counts[(i64)i * k + j], j + 1 < k ? ',' : '\n');
        if (file_commit(&o))
            return -1;
    }
    return 0;
}

static int eval_print_json(const char *weights, const char *split, const struct run_eval *r)
{
    return json_line(stdout, json_pack("{s:o, s:o, s:I, s:o, s:o, s:o, s:o}",
                                       "checkpoint", json_text(weights), "split", json_text(split),
                                       "n", (json_int_t)r->n,
                                       "top1", json_number(r->top1), "top5", json_number(r->top5),
                                       "loss", json_number(r->loss), "seconds", json_number(r->seconds)));
}

static int eval_run(struct cli *c)
{
    struct spec s;
    struct session e = { 0 };
    struct evaluator v = { 0 };
    struct run_eval got;
    loader *l = NULL;
    if (cli_operands(c, 1, 2) || cli_experiment(c, &s))
        return -1;
    const char *weights = c->n > 1 ? c->operands[1] : *s.model.init ? s.model.init : NULL;
    if (!weights)
        return fail(FAULT_USAGE, "which checkpoint? jetcl eval EXP.yaml CHECKPOINT");
    if (cli_value(c, "split"))
        s.data.eval = cli_value(c, "split");
    i64 *counts = NULL;
    int rc = session_open(&e, &s, SESSION_EVAL_DATA, weights)
          || evaluator_open(&v, &e.s, e.d, e.p, e.eval_options.batch)
          || !(l = loader_open(e.eval, &e.eval_options)) ? -1 : 0;
    if (!rc) {
        counts = arena_array(c->arena, i64, (i64)e.s.model.classes * e.s.model.classes);
        rc = evaluate(&v, l, &got, counts);
        progress_done();
    }
    if (!rc && c->json)
        rc = eval_print_json(weights, e.s.data.eval, &got);
    else if (!rc)
        printf("%s: top-1 %.2f %%, top-5 %.2f %%, loss %.4f on %lld images of %s (%.0f img/s)\n", weights,
               got.top1, got.top5, got.loss, (long long)got.n, e.s.data.eval, (f64)got.n / got.seconds);
    rc = rc || write_tables(cli_value(c, "per-class"), cli_value(c, "confusion"), e.eval, counts) ? -1 : 0;
    if (l)
        loader_close(l);
    evaluator_close(&v);
    session_close(&e);
    return rc;
}

static const struct cli_option options[] = {
    { "split", "NAME", "this split instead of data.eval" },
    { "per-class", "FILE", "accuracy of every class as CSV" },
    { "confusion", "FILE", "confusion matrix as CSV: rows are the truth" },
    { 0 },
};
const struct command eval_cmd = {
    "eval", "accuracy of a checkpoint on a split", "eval EXP.yaml CHECKPOINT [options]",
    { "jetcl eval runs/demo/latest/config.yaml runs/demo/latest/ckpt/best.safetensors",
      "jetcl eval exp.yaml best.safetensors --per-class classes.csv" },
    options, TAKES_JSON, eval_run };
