/* cmd_config.c: the experiment as the program understands it. */
#include "cli/cli.h"

static int run(struct cli *c)
{
    struct spec s;
    if (cli_given(c, "list") || cli_given(c, "markdown"))
        return spec_list(stdout, cli_given(c, "markdown")), 0;
    if (cli_operands(c, 0, 1) || cli_spec(c, c->n ? c->operands[0] : NULL, &s))
        return -1;
    if (!cli_given(c, "check"))
        spec_write(stdout, &s);
    return 0;
}

static const struct cli_option options[] = {
    { "list", NULL, "every key with its default, what it may be and what it means" },
    { "markdown", NULL, "the same list as Markdown" },
    { "check", NULL, "print nothing: only the exit code and what is wrong" },
    { 0 },
};
const struct command config_cmd = { "config", "print the resolved experiment, check it, list every key", "config [EXP.yaml] [options]",
                                    { "jetcl config experiments/demo.yaml --set optim.lr=1e-3", "jetcl config --list" },
                                    options, 0, run };
