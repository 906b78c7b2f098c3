/* cmd_convert.c: a checkpoint of any framework into safetensors, .pth or .npz. */
#include "cli/cli.h"
#include "ckpt/ckpt.h"

static int convert_note(ckpt *file, struct cli *c)
{
    for (int i = 0; i < c->n_given; i++) {
        const char *text = c->given[i].value, *eq;
        if (strcmp(c->given[i].name, "meta"))
            continue;
        if (!(eq = strchr(text, '=')) || eq == text)
            return fail(FAULT_USAGE, "--meta must be KEY=VALUE, not '%s'", text);
        if (ckpt_set_meta(file, arena_copy(c->arena, text, (size_t)(eq - text)), eq + 1))
            return -1;
    }
    return 0;
}

/* Whose names it had, and what is left out. */
static void say_model(struct cli *c, const char *path, const ckpt *file)
{
    const char *under, *scheme = ckpt_scheme(file, &under), *left = ckpt_left_out(file, c->arena);
    say(SAY_NORMAL, "%s: %s%s%s%s", path, scheme, *under ? " under '" : "", under, *under ? "'" : "");
    if (*left)
        say(SAY_NORMAL, "  left out: %s; --raw takes all", left);
}

/* What no tensor tells, for who loads it under other names. */
static const char *convert_untold(struct cli *c, const ckpt *file)
{
    static const char *const keys[] = { "heads", "norm_eps", "act", "pool", "grid" };
    const char *text = "";
    for (int i = 0; i < countof(keys); i++)
        if (ckpt_meta(file, keys[i]))
            text = arena_printf(c->arena, "%s%s%s %s", text, *text ? ", " : "; not in them: ", keys[i],
                                ckpt_meta(file, keys[i]));
    return text;
}

/* The model, or -- raw -- every tensor as it is. */
static ckpt *open_source(struct cli *c, const char *from)
{
    const char *example;
    ckpt *file = ckpt_open(from);
    if (file && cli_value(c, "under"))
        file = ckpt_below(file, cli_value(c, "under"));
    int skipped = file ? ckpt_skipped(file, &example) : 0;
    if (skipped)
        say(SAY_NORMAL, "%s: left out %d that %s no tensor%s (%s)", from, skipped, skipped > 1 ? "are" : "is",
            skipped > 1 ? "s" : "", example);
    if (!file || cli_given(c, "raw"))
        return file;
    if (!(file = ckpt_model(file, cli_given(c, "ema"))))
        return NULL;
    if (ckpt_strange(file, &example)) {
        const char *under;
        fail(FAULT_DATA, "%s: %s does not know %d of its tensors, such as %s; --raw converts it as it is",
             from, ckpt_scheme(file, &under), ckpt_strange(file, &example), example);
        ckpt_close(file);
        return NULL;
    }
    say_model(c, from, file);
    return file;
}

/* A model that cannot be used is not passed on. A raw copy may hold anything: masks are made of infinities. */
static int convert_check(const struct cli *c, const ckpt *file)
{
    for (int i = 0; i < ckpt_count(file) && !cli_given(c, "raw"); i++) {
        if (tensor_check_numbers(ckpt_at(file, i)))
            return fail_fault() == FAULT_NUMBERS ? fail(FAULT_NUMBERS, "%s; --raw copies it as it is",
                                                        fail_message()) : -1;
        tensor_drop(ckpt_at(file, i));
    }
    return 0;
}

/* CKPT_TYPES for a word that is none. */
static enum ckpt_type convert_type(const char *word)
{
    return !strcmp(word, "fp32")   ? CKPT_F32
           : !strcmp(word, "fp16") ? CKPT_F16
           : !strcmp(word, "bf16") ? CKPT_BF16
                                   : CKPT_TYPES;
}

static int convert_file(struct cli *c, const char *from, const char *to)
{
    ckpt *file = open_source(c, from);
    if (file && cli_value(c, "names"))
        file = ckpt_named(file, cli_value(c, "names"));
    if (!file)
        return -1;
    if (cli_value(c, "dtype"))
        file = ckpt_cast(file, convert_type(cli_value(c, "dtype")));
    int rc = convert_check(c, file) || convert_note(file, c) || ckpt_save(file, to) ? -1 : 0;
    if (!rc)
        say(SAY_NORMAL, "%s: %d tensors%s", to, ckpt_count(file),
            cli_value(c, "names") ? convert_untold(c, file) : "");
    ckpt_close(file);
    return rc;
}

static int convert_run(struct cli *c)
{
    if (cli_operands(c, 2, 2))
        return -1;
    if (cli_given(c, "raw") && cli_given(c, "ema"))
        return fail(FAULT_USAGE, "--raw and --ema exclude each other");
    if (cli_given(c, "raw") && cli_given(c, "names"))
        return fail(FAULT_USAGE, "--raw and --names exclude each other");
    if (cli_value(c, "dtype") && convert_type(cli_value(c, "dtype")) == CKPT_TYPES)
        return fail(FAULT_USAGE, "--dtype must be fp32, fp16 or bf16, not '%s'", cli_value(c, "dtype"));
    return ckpt_can_save(c->operands[1]) ? -1 : convert_file(c, c->operands[0], c->operands[1]);
}

static const struct cli_option options[] = {
    { "raw", NULL, "keep every tensor under its own name, optimiser state and values that are not numbers "
                   "included" },
    { "ema", NULL, "take the averaged weights instead of the last ones" },
    { "under", "PREFIX", "take only tensors whose names begin so, of a file that holds several models" },
    { "names", "SCHEME", "write another framework's names: hf_vit, torchvision_convnext, ..." },
    { "dtype", "fp32|fp16|bf16", "round the weights to this type; default: keep theirs" },
    { "meta", "KEY=VALUE", "add metadata; may be repeated", true },
    { 0 },
};
const struct command convert_cmd = {
    "convert",
    "any checkpoint into safetensors, .pth or .npz, by timm's names or others'",
    "convert FROM TO [options]",
    { "jetcl convert Ti_16-i21k-300ep.npz vit_tiny.safetensors",
      "jetcl convert work_dirs/epoch_300.pth best.safetensors --ema",
      "jetcl convert best.safetensors model.safetensors --names hf_vit" },
    options,
    0,
    convert_run
};
