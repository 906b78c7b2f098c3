/* cmd_run.c: `run` does every stage of an experiment; `train` is the same without recycling. */
#include "cli/cli.h"
#include "cli/ranks.h"
#include "log/files.h"
#include "log/log.h"
#include "study/study.h"

static int run_print_json(const struct run_result *r)
{
    return json_line(stdout, json_pack("{s:o, s:o, s:o, s:o, s:i, s:i, s:o, s:o}",
                                       "top1", json_number(r->top1), "top5", json_number(r->top5),
                                       "loss", json_number(r->loss), "best_top1", json_number(r->best_top1),
                                       "best_epoch", r->best_epoch, "epochs", r->epochs,
                                       "seconds", json_number(r->seconds), "img_s", json_number(r->img_s)));
}

static int run_finish(struct cli *c, struct spec *s)
{
    struct run_result r;
    if (ranks_launch(c, s->device))
        return -1;
    if (c->dry_run)
        return run_dry(s, c->json);
    struct run_options o = { .out = c->out, .resume = c->resume, .force = c->force,
                             .argc = c->argc, .argv = c->argv };
    if (run_experiment(s, &o, c->arena, &r))
        return -1;
    if (c->json)
        return run_print_json(&r);
    if (!r.n_evals)
        return puts("nothing was trained or evaluated"), 0;
    printf("top-1 %.2f %%, top-5 %.2f %%, loss %.4f after %d epoch%s (best top-1 %.2f %% after epoch %d)\n",
           r.top1, r.top5, r.loss, r.epochs, r.epochs == 1 ? "" : "s", r.best_top1, r.best_epoch);
    return 0;
}

static int run_command(struct cli *c)
{
    struct spec s;
    if (cli_operands(c, 1, 1) || cli_experiment(c, &s))
        return -1;
    if (s.model.moe.layers.n && !*s.recycle.from.experts && !*s.model.init)
        say(SAY_NORMAL, "recycle.from.experts is not given: nothing is recycled, the experts start at "
            "random");
    return run_finish(c, &s);
}

static int run_train(struct cli *c)
{
    struct spec s;
    if (cli_operands(c, 1, 1) || cli_experiment(c, &s))
        return -1;
    s.recycle.from.experts = "";
    return run_finish(c, &s);
}

const struct command run_cmd = {
    "run", "the whole pipeline: recycle, fine-tune, evaluate", "run EXP.yaml [options]",
    { "jetcl run experiments/demo.yaml", "jetcl run exp.yaml --out runs/a --resume" },
    NULL, TAKES_JSON | TAKES_OUT | TAKES_RESUME | TAKES_DRY_RUN | TAKES_RANKS, run_command };
const struct command train_cmd = {
    "train", "train one experiment, without recycling", "train EXP.yaml [options]",
    { "jetcl train exp.yaml --set train.epochs=10", "jetcl train exp.yaml --resume" },
    NULL, TAKES_JSON | TAKES_OUT | TAKES_RESUME | TAKES_DRY_RUN | TAKES_RANKS, run_train };
