/* cmd_count.c: how big an experiment's network is: parameters, multiply-adds, memory. No device, no data. */
#include "cli/cli.h"
#include "model/model.h"
#include <jansson.h>
#include <stdlib.h>

enum { CLASSES = 1000 };                          /* when neither the experiment nor data says how many */

static json_t *count_integer(f64 x) { return json_integer((json_int_t)x); }

static void count_print_json(const struct spec *s, const struct model_count *k)
{
    json_t *layers = json_array();
    for (int i = 0; i < k->n; i++) {
        const struct model_layer *l = &k->layer[i];
        json_t *row = json_pack("{s:s, s:s?, s:I, s:o, s:o, s:o, s:o}",
            "name", l->name, "experts", l->experts, "params", (json_int_t)l->params,
            "flops", count_integer(l->macs - l->attention), "flops_complete", count_integer(l->macs),
            "eval_bytes", count_integer((f64)l->eval_bytes), "kept_bytes", count_integer((f64)l->kept_bytes));
        json_array_append_new(layers, row);
    }
    json_t *all = json_pack("{s:s, s:s, s:i, s:I, s:o, s:o, s:{s:o, s:o, s:o, s:o, s:i, s:i}, s:o}",
        "name", s->name, "arch", s->model.arch, "classes", s->model.classes,
        "params", (json_int_t)k->params, "flops", count_integer(k->paper_macs),
        "flops_complete", count_integer(k->macs),
        "memory", "weights", count_integer((f64)k->weight_bytes),
            "training_state", count_integer((f64)k->state_bytes),
            "eval_activations", count_integer((f64)k->eval_bytes),
            "train_activations", count_integer((f64)k->train_bytes),
            "eval_batch", k->eval_batch, "train_batch", k->train_batch,
        "layers", layers);
    json_dumpf(all, stdout, JSON_INDENT(1));
    putchar('\n');
    json_decref(all);
}

/* 265,411,636 */
static const char *count_grouped(char out[32], i64 n)
{
    char digits[32];
    int len = snprintf(digits, sizeof digits, "%lld", (long long)n), at = 0;
    for (int i = 0; i < len; i++) {
        if (i && (len - i) % 3 == 0)
            out[at++] = ',';
        out[at++] = digits[i];
    }
    out[at] = 0;
    return out;
}

static void count_print_table(const struct model_count *k, int ranks)
{
    char a[32], b[24], c[24], d[24];
    printf("%-19s %-8s %11s %10s %10s %8s %8s\n", "layer", "experts", "parameters", "M-adds", "complete",
           "alive", "kept");
    for (int i = 0; i < k->n; i++) {
        const struct model_layer *l = &k->layer[i];
        printf("%-19s %-8s %11s %8.3f M %8.3f M %8s %8s\n", l->name, l->experts ? l->experts : "",
               count_grouped(a, l->params), (l->macs - l->attention) / 1e6, l->macs / 1e6,
               text_bytes(b, (f64)l->eval_bytes), text_bytes(c, (f64)l->kept_bytes));
    }
    f64 unit = k->paper_macs < 1e9 ? 1e6 : 1e9;
    char sign = unit < 1e9 ? 'M' : 'G';
    printf("%-19s %-8s %11s %8.3f %c %8.3f %c\n\n", "all", "", count_grouped(a, k->params),
           k->paper_macs / unit, sign, k->macs / unit, sign);
    printf("M-adds: multiply-adds for one image, the paper's FLOPs\n"
           "complete: with attention's two products\n"
           "alive: activations while it computes, evaluating\n"
           "kept: what it leaves for the backward pass, training\n");
    printf("evaluating %d images: %s for weights, %s for activations\n", k->eval_batch,
           text_bytes(b, (f64)k->weight_bytes), text_bytes(c, (f64)k->eval_bytes));
    if (ranks > 1)
        printf("each of %d ranks, ", ranks);
    printf("training on %d images: %s for weights, gradients and moments,\n"
           "    %s for activations; %s in all\n", k->train_batch,
           text_bytes(b, (f64)k->state_bytes), text_bytes(c, (f64)k->train_bytes),
           text_bytes(d, (f64)(k->state_bytes + k->train_bytes)));
}

static int count_run(struct cli *c)
{
    struct spec s;
    struct model_count k;
    i64 batch = 0, ranks = 1;
    if (cli_operands(c, 1, 1) || cli_experiment(c, &s) || cli_count(c, "batch", 1, 65536, &batch)
        || cli_count(c, "ranks", 1, 65536, &ranks))
        return -1;
    if (!s.model.classes) {
        s.model.classes = CLASSES;
        say(SAY_NORMAL, "model.classes is auto: counted with %d (--set model.classes=N)", CLASSES);
    }
    int count = MAX(1, s.train.accumulate), share = CEIL_DIV(s.train.batch, (int)ranks);
    int train = batch ? (int)batch : CEIL_DIV(share, count);
    int eval = batch ? (int)batch : s.eval.batch ? s.eval.batch : MIN(64, s.train.batch);
    if (model_count(c->arena, &s, (int)ranks, train, eval, &k))
        return -1;
    if (c->json)
        count_print_json(&s, &k);
    else
        count_print_table(&k, (int)ranks);
    return 0;
}

static const struct cli_option options[] = {
    { "ranks", "N", "memory of one of N ranks, which share the batch and, as dist.shard says, the state" },
    { "batch", "N", "batch size for the memory estimate, instead of train.batch and eval.batch" },
    { 0 },
};
const struct command count_cmd = {
    "count", "parameters, multiply-adds and memory, by layer", "count EXP.yaml [options]",
    { "jetcl count experiments/demo.yaml", "jetcl count exp.yaml --batch 32 --json" },
    options, TAKES_JSON, count_run };
