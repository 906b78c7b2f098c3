/* cmd_report.c: runs, tables and comparisons as one page. */
#include "cli/cli.h"
#include "study/page.h"
#include <time.h>

static int report_once(struct cli *c, f64 target)
{
    arena *a = arena_open("page");
    int rc = page_write(c->out, a, (const char *const *)c->operands, c->n, target);
    arena_close(a);
    return rc;
}

static int report_run(struct cli *c)
{
    static const char *const signals[] = { "INT", "TERM" };
    const char *at = cli_value(c, "target");
    i64 seconds = 10;
    f64 target = 0;
    if (cli_operands(c, 1, INT32_MAX) || cli_count(c, "every", 1, 86400, &seconds))
        return -1;
    if (!c->out)
        return fail(FAULT_USAGE, "report needs --out FILE.html");
    if (file_can_replace(c->out, ".html"))
        return -1;
    if (at && (!text_real(slice_of(at), &target) || !(target > 0 && target <= 100)))
        return fail(FAULT_USAGE, "--target must be a top-1 accuracy in percent, not '%s'", at);
    if (report_once(c, target) || !cli_given(c, "watch"))
        return fail_fault() ? -1 : (say(SAY_NORMAL, "%s", c->out), 0);
    stop_catch(signals, 2);
    say(SAY_NORMAL, "%s is written every %lld seconds until Ctrl-C", c->out, (long long)seconds);
    while (!stop_requested()) {
        for (i64 i = 0; i < 10 * seconds && !stop_requested(); i++)
            nanosleep(&(struct timespec){ .tv_nsec = 100000000 }, NULL);
        if (!stop_requested() && report_once(c, target))
            return -1;
    }
    return 0;
}

static const struct cli_option options[] = {
    { "watch", NULL, "write it again while runs continue, until Ctrl-C" },
    { "target", "TOP1", "mark this accuracy in %, and say when each run reaches it" },
    { "every", "S", "with --watch: seconds in between (10)" },
    { 0 },
};
const struct command report_cmd = {
    "report", "runs, tables and comparisons as one HTML page",
    "report RUN|TABLE|COMPARISON... --out PAGE.html [options]",
    { "jetcl report runs/demo_jetpack/latest --out page.html",
      "jetcl report experiments/tables/demo.yaml --out table.html" },
    options, TAKES_FILE, report_run };
