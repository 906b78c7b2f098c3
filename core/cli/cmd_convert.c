/* cmd_convert.c: a checkpoint of any framework into safetensors, .pth or .npz. */
#include "cli/cli.h"
#include "ckpt/ckpt.h"

static int note(ckpt *file, struct cli *c)
{
    for (int i = 0; i < c->n_given; i++) {
        const char *text = c->given[i].value, *eq;
        if (strcmp(c->given[i].name, "meta"))
            continue;
        if (!(eq = strchr(text, '=')) || eq == text)
            return fail(FAULT_USAGE, "--meta wants KEY=VALUE, not '%s'", text);
        if (ckpt_set_meta(file, arena_copy(c->arena, text, (size_t)(eq - text)), eq + 1))
            return -1;
    }
    return 0;
}

/* What is left behind must be said: optimiser state mostly, but nobody likes to guess. */
static void say_left(const char *path, int before, ckpt *file)
{
    if (ckpt_count(file) < before)
        say(SAY_NORMAL, "%s: %d tensors, the model's %d of them taken (--raw takes all)", path, before,
            ckpt_count(file));
}

static int convert(struct cli *c, const char *from, const char *to)
{
    const char *example;
    ckpt *file = ckpt_open(from);
    int before = file ? ckpt_count(file) : 0, skipped = file ? ckpt_skipped(file, &example) : 0;
    if (skipped)
        say(SAY_NORMAL, "%s: left out %d that %s no tensor%s (%s)", from, skipped, skipped > 1 ? "are" : "is",
            skipped > 1 ? "s" : "", example);
    if (file && !cli_given(c, "raw"))
        file = ckpt_model(file, cli_given(c, "ema"));
    if (!file)
        return -1;
    say_left(from, before, file);
    int rc = note(file, c) || ckpt_save(file, to) ? -1 : 0;
    if (!rc && ckpt_count(file) == before)
        say(SAY_NORMAL, "%s: %d tensors", to, before);
    ckpt_close(file);
    return rc;
}

static int run(struct cli *c)
{
    if (cli_operands(c, 2, 2))
        return -1;
    if (cli_given(c, "raw") && cli_given(c, "ema"))
        return fail(FAULT_USAGE, "--raw and --ema exclude each other");
    return ckpt_can_save(c->operands[1]) ? -1 : convert(c, c->operands[0], c->operands[1]);
}

static const struct cli_option options[] = {
    { "raw", NULL, "every tensor under its own name, optimiser state and all" },
    { "ema", NULL, "the averaged weights in place of the last ones" },
    { "meta", "KEY=VALUE", "metadata to add; repeat for more" },
    { 0 },
};
const struct command convert_cmd = {
    "convert", "any checkpoint into safetensors, .pth or .npz, by timm's names", "convert FROM TO [options]",
    { "jetcl convert Ti_16-i21k-300ep.npz vit_tiny.safetensors",
      "jetcl convert work_dirs/epoch_300.pth best.safetensors --ema" },
    options, 0, run };
