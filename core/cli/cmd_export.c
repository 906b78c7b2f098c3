/* cmd_export.c: a trained network as a file for other programs. */
#include "cli/cli.h"
#include "export/export.h"
#include "train/learner.h"

/* Mean and std that say nothing are ImageNet's, as predict takes them. */
static const f64 *export_three(arena *a, reals have, f64 red, f64 green, f64 blue)
{
    f64 *v = arena_array(a, f64, 3);
    const f64 usual[3] = { red, green, blue };
    for (int i = 0; i < 3; i++)
        v[i] = have.n ? have.v[i] : usual[i];
    return v;
}

static int export_trained(struct cli *c, struct trained *t, const char *to)
{
    struct model_about about = { .classes = t->names, .n_classes = t->names ? t->n : 0,
                                 .mean = export_three(c->arena, t->s.data.mean, 123.675, 116.28, 103.53),
                                 .std = export_three(c->arena, t->s.data.std, 58.395, 57.12, 57.375) };
    struct export x = { &t->s, t->c, &about, cli_given(c, "fp16"), cli_given(c, "probabilities") };
    if (export_onnx(&x, to))
        return -1;
    struct shape in = model_images(&t->s, 1);
    say(SAY_NORMAL, "%s: images (b 3 %lld %lld) -> %s (b %d)", to, (long long)in.d[2], (long long)in.d[3],
        x.probabilities ? "probabilities" : "logits", t->n);
    return 0;
}

static int export_run(struct cli *c)
{
    struct trained t = { 0 };
    int used;
    const char *to = cli_value(c, "onnx");
    if (cli_operands(c, 1, 2))
        return -1;
    if (!to || !*to)
        return fail(FAULT_USAGE, "which file? jetcl %s", c->command->usage);
    int rc = export_built() || file_can_replace(to, ".onnx") || cli_trained(c, &t, &used)
             || cli_not_input(c, "onnx", t.path) ? -1
             : used < c->n ? fail(FAULT_USAGE, "'%s' is one operand too many: jetcl %s", c->operands[used],
                                  c->command->usage)
                           : export_trained(c, &t, to);
    trained_close(&t);
    return rc;
}

static const struct cli_option options[] = {
    { "onnx", "FILE", "write an ONNX model (opset 17); its weights beside it in FILE.data beyond a gigabyte" },
    { "fp16", NULL, "weights and values in half precision, norms and routing excepted" },
    { "probabilities", NULL, "end in a softmax instead of logits" },
    { 0 },
};
const struct command export_cmd = {
    "export", "a trained network as an ONNX model, for other runtimes",
    "export RUN|CHECKPOINT|EXP.yaml CHECKPOINT --onnx FILE [options]",
    { "jetcl export runs/demo_jetpack/latest --onnx model.onnx",
      "jetcl export best.safetensors --onnx model.onnx --fp16" },
    options, 0, export_run };
