/* cmd_config.c: the experiment as the program understands it. */
#include "cli/cli.h"
#include "data/verify.h"
#include "recycle/recycle.h"
#include "train/learner.h"

static bool config_builds_graph(const struct cli *c)
{
    return cli_given(c, "graph") || cli_given(c, "dot") || cli_given(c, "plan") || cli_given(c, "launches");
}

/* What a training step would run. Nodes and plan need no device; launches are those of the chosen one. */
static int show_graph(struct cli *c, struct spec *s)
{
    struct learner l = { 0 };
    if (!s->model.classes)
        s->model.classes = 1000;
    s->model.init = "";
    dev *d = model_device(dev_open(cli_given(c, "launches") ? s->device : "null"), s);
    params *p = d ? model_open(d, s, PARAMS_TRAIN) : NULL;
    int rc = p ? learner_open(&l, s, d, p) : -1;
    if (!rc && cli_given(c, "graph"))
        graph_dump(l.g, stdout);
    if (!rc && cli_given(c, "dot"))
        graph_dump_dot(l.g, stdout);
    if (!rc && cli_given(c, "plan"))
        graph_dump_plan(l.g, stdout);
    if (!rc && cli_given(c, "launches"))
        graph_dump_launches(l.g, stdout);
    learner_close(&l);
    params_free(p);
    if (d)
        dev_close(d);
    return rc;
}

/* Names whose lists lie in other folders than the keys' own. */
static int config_check_names(const struct spec *s)
{
    if (*s->data.set && !data_set_named(s->data.set))
        return spec_fail(s, "data.set", "%s", fail_message());
    return recycle_check(s);
}

static int config_run(struct cli *c)
{
    struct spec s;
    if (cli_given(c, "list") || cli_given(c, "markdown"))
        return c->json ? spec_list_json(stdout) : spec_list(stdout, cli_given(c, "markdown")), 0;
    if (cli_operands(c, 0, 1) || cli_spec(c, c->n ? c->operands[0] : NULL, &s) || config_check_names(&s))
        return -1;
    if (config_builds_graph(c))
        return show_graph(c, &s);
    if (!cli_given(c, "check"))
        (c->json ? spec_write_json : spec_write)(stdout, &s);
    return 0;
}

static const struct cli_option options[] = {
    { "list", NULL, "list every key with its default, its values and its meaning" },
    { "markdown", NULL, "print the same list as Markdown" },
    { "check", NULL, "print only what is wrong; the exit code says whether anything is" },
    { "graph", NULL, "print the nodes of a training step, one per line" },
    { "dot", NULL, "print the same for Graphviz" },
    { "plan", NULL, "print memory offset and lifetime of each activation of a training step" },
    { "launches", NULL, "print the kernel launches of a training step on the chosen device" },
    { 0 },
};
const struct command config_cmd = { "config", "print the resolved experiment, check it, list every key",
                                    "config [EXP.yaml] [options]",
                                    { "jetcl config experiments/demo.yaml --set optim.lr=1e-3",
                                      "jetcl config --list" },
                                    options, TAKES_JSON, config_run };
