/* cmd_recycle.c: dense checkpoints become the initial weights of a mixture of experts. */
#include "cli/cli.h"
#include "cli/ranks.h"
#include "dist/dist.h"
#include "recycle/recycle.h"

/* A file that is already there was perhaps hours of work. */
static int check_out(const struct cli *c, const char *out)
{
    if (file_exists(out) && !cli_given(c, "force"))
        return fail(FAULT_USAGE, "%s already exists; --force replaces it, --out FILE chooses another name",
                    out);
    return ckpt_can_save(out);
}

static int recycle_cmd_run(struct cli *c)
{
    struct spec s;
    struct recycle_report r;
    if (cli_operands(c, 1, 1) || cli_experiment(c, &s))
        return -1;
    const char *out = c->out ? c->out : arena_printf(c->arena, "%s-recycled.safetensors", s.name);
    dist_timeout(s.dist.timeout);
    if (ranks_launch(c, s.device) || dist_agree(!c->dry_run && !dist_rank() ? check_out(c, out) : 0))
        return -1;
    dev *d = dev_open_rank(s.device, dist_size() > 1 ? dist_local() : -1);
    int rc = dist_agree(d ? 0 : -1) || dist_name_device(dev_info(d)->spec) ? -1 : 0;
    dist_tell_names();
    stop_catch(s.signal.save_on.v, s.signal.save_on.n);
    if (!rc && c->dry_run)
        rc = dist_agree(dist_rank() ? 0 : recycle_try(&s, d, stdout));
    else if (!rc)
        rc = recycle_run(&s, d, out, c->arena, &r);
    if (d)
        dev_close(d);
    if (rc || c->dry_run || dist_rank())
        return rc;
    say(SAY_NORMAL, "recycle: %s", out);
    if (c->json)
        printf("%s\n", recycle_report_json(c->arena, &r));
    else
        recycle_report_text(stdout, &r);
    return 0;
}

static const struct cli_option options[] = {
    { "force", NULL, "replace the file that is there; without --out that is NAME-recycled.safetensors" },
    { 0 },
};

const struct command recycle_cmd = {
    "recycle", "dense checkpoints -> experts of a mixture", "recycle EXP.yaml [options]",
    { "jetcl recycle experiments/demo.yaml --out moe.safetensors",
      "jetcl recycle exp.yaml --set recycle.strategy=graph --json" },
    options, TAKES_JSON | TAKES_FILE | TAKES_DRY_RUN | TAKES_RANKS, recycle_cmd_run };
