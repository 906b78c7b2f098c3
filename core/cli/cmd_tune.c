/* cmd_tune.c: choose the kernels' parameters for a model on this device by measuring them. */
#include "cli/cli.h"
#include "bench/tune.h"
#include <errno.h>
#include <unistd.h>

static void tune_print(const struct cli *c, const struct tune_row *r, int n)
{
    if (!c->json)
        printf("%-10s %-26s %5s %12s %12s %6s  %s\n", "kernel", "shape", "uses", "shipped", "best", "ratio",
               "choice");
    for (int i = 0; i < n; i++, r++)
        if (c->json)
            printf("{\"kernel\":\"%s\",\"shape\":\"%s\",\"uses\":%d,\"tried\":%d,\"shipped_ms\":%.6g,"
                   "\"best_ms\":%.6g,\"ratio\":%.4g,\"choice\":\"%s\"}\n", r->kernel, r->shape, r->uses,
                   r->tried, r->shipped_ms, r->best_ms, r->ratio, r->choice);
        else
            printf("%-10s %-26s %5d %9.3f ms %9.3f ms %6.2f  %s\n", r->kernel, r->shape, r->uses,
                   r->shipped_ms, r->best_ms, r->ratio, *r->choice ? r->choice : "as shipped");
}

/* Checked first, since measuring takes minutes. */
static int check_cache(const struct cli *c)
{
    const char *dir = arena_printf(c->arena, "%s/tuning", dev_cache_dir());
    if (file_mkdirs(dir))
        return -1;
    return access(dir, W_OK) ? fail(FAULT_RUN, "%s: cannot write: %s", dir, strerror(errno)) : 0;
}

static int tune_run(struct cli *c)
{
    struct spec s;
    f64 minutes = 10;
    const char *given = cli_value(c, "minutes");
    char path[4200];
    if (cli_operands(c, 1, 1) || cli_experiment(c, &s))
        return -1;
    if (given && (!text_real(slice_of(given), &minutes) || !(minutes > 0 && minutes <= 1440)))
        return fail(FAULT_USAGE, "--minutes %s: a number of minutes, at most 1440", given);
    if (trace_on(TRACE_no_tuning))
        return fail(FAULT_USAGE, "JETCL_TRACE=no_tuning leaves nothing to tune");
    if (!s.model.classes)
        s.model.classes = 1000;                   // the head is a small part of any step
    if (check_cache(c))
        return -1;
    dev *d = model_device(dev_open_real(s.device), &s);
    struct tune_row *rows;
    int n = d ? tune_model(c->arena, &s, d, 60 * minutes, &rows) : -1;
    if (n >= 0) {
        tune_print(c, rows, n);
        say(SAY_NORMAL, "saved in %s (%s) and used from now on; JETCL_TRACE=no_tuning ignores it",
            dev_tune_path(d, path), dev_info(d)->tuning);
    }
    dev_close(d);
    return n < 0 ? -1 : 0;
}

static const struct cli_option options[] = {
    { "minutes", "N", "time limit (10); the most expensive shapes are measured first" },
    { 0 },
};
const struct command tune_cmd = {
    "tune", "measure which kernel parameters suit a model on this device", "tune EXP.yaml [options]",
    { "jetcl tune experiments/demo.yaml", "jetcl tune exp.yaml --minutes 3 --device gpu" },
    options, TAKES_JSON, tune_run };
