/* cmd_table.c: runs, continues or collects the cells of a table. */
#include "cli/cli.h"
#include "study/table.h"
#include <math.h>

/* NAN without --budget. */
static int table_cmd_budget(const struct cli *c, f64 *seconds)
{
    const char *text = cli_value(c, "budget");
    *seconds = NAN;
    if (!text)
        return 0;
    if (!c->dry_run)
        return fail(FAULT_USAGE, "--budget says what would fit: add --dry-run");
    if (!text_duration(text, seconds))
        return fail(FAULT_USAGE, "--budget %s: must be a time such as 48h, 1d12h or 90m", text);
    return 0;
}

static int table_cmd_load(struct cli *c, struct table *t, bool others)
{
    const char *path = cli_find_file(c, c->operands[0], "tables");
    if (!table_load(t, c->arena, path, c->out ? c->out : "runs", c->sets, c->n_sets, others))
        return 0;
    const char *why = arena_printf(c->arena, "%s", fail_message());
    enum fault fault = fail_fault();
    enum file_kind kind = cli_kind(c->arena, path);
    return kind == FILE_EXPERIMENT || kind == FILE_RUN || kind == FILE_CHECKPOINT
           ? fail(FAULT_USAGE, "%s is %s, not a table: jetcl %s %s", path,
                  kind == FILE_EXPERIMENT ? "an experiment" : kind == FILE_RUN ? "a run's folder"
                                                                               : "a checkpoint",
                  kind == FILE_EXPERIMENT ? "run" : "eval", path)
           : fail(fault, "%s", why);
}

static int table_cmd_run(struct cli *c)
{
    struct table t;
    const char *only = cli_value(c, "only");
    enum table_format format = c->json ? TABLE_JSON : cli_given(c, "csv") ? TABLE_CSV : TABLE_MARKDOWN;
    bool collect = cli_given(c, "collect"), status = cli_given(c, "status");
    f64 budget;
    if (cli_operands(c, 1, 1) || table_cmd_budget(c, &budget) || table_cmd_load(c, &t, collect || status))
        return -1;
    if (only && !table_has(&t, only))
        return fail(FAULT_USAGE, "--only %s: no cell has this in its name (--dry-run lists them)", only);
    only = only ? only : "";
    if (status || (c->dry_run && !c->json))
        table_list(stdout, &t, only, status);
    if (c->dry_run || status)
        return c->dry_run ? table_forecast(&t, only, budget, c->json) : 0;
    int rc = collect ? 0 : table_run(&t, only, c->argc, c->argv);
    if (rc && fail_fault() == FAULT_STOPPED)
        return fail(FAULT_STOPPED,
                    "stopped by a signal; finished runs are saved, the same command continues");
    const char *why = arena_printf(c->arena, "%s", fail_message());   // printing has faults of its own
    enum fault fault = fail_fault();
    if (table_print(stdout, &t, format, cli_given(c, "best")))
        return -1;
    return rc ? fail(fault, "%s", why) : 0;
}

static const struct cli_option options[] = {
    { "collect", NULL, "run nothing; show finished cells, of other devices and versions too" },
    { "status", NULL, "run nothing; show which experiments are done, and which process runs which" },
    { "only", "TEXT", "run only the cells with TEXT in \"ROW / COLUMN\"" },
    { "budget", "TIME", "with --dry-run: say which experiments fit into 48h, 1d12h, 90m" },
    { "best", NULL,
      "show the best epoch's accuracy (chosen on the images it is reported for) instead of the last's" },
    { "csv", NULL, "print one line per cell, for spreadsheets" },
    { 0 },
};
const struct command table_cmd = {
    "table", "run, continue or collect the cells of a table, beside the paper's numbers",
    "table TABLE.yaml [options]",
    { "jetcl table experiments/tables/demo.yaml",
      "jetcl table experiments/tables/table1-vit-t.yaml --only Flowers" },
    options, TAKES_JSON | TAKES_OUT | TAKES_DRY_RUN, table_cmd_run };
