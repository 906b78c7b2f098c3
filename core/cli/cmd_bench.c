/* cmd_bench.c: how fast kernels and steps are here. */
#include "cli/cli.h"
#include "bench/bench.h"
#include <jansson.h>

static void bench_print_json(const struct bench_result *r, const char *device)
{
    json_t *j = json_pack("{s:s, s:f, s:f, s:s}", "name", r->name, "median_ms", r->median_ms,
                          "min_ms", r->min_ms, "device", device);
    const struct { const char *key; f64 value; } more[] = {
        { "gflops", r->gflops }, { "gb_s", r->gb_s }, { "of_peak", r->of_peak },
        { "img_s", r->img_s }, { "peak_rss_mb", r->peak_rss_mb }, { "start_ms", r->start_ms } };
    if (r->batch)
        json_object_set_new(j, "batch", json_integer(r->batch));
    for (int i = 0; i < countof(more); i++)
        if (more[i].value > 0)
            json_object_set_new(j, more[i].key, json_real(more[i].value));
    json_dumpf(j, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
    putchar('\n');
    json_decref(j);
}

static const char *bench_cell(char out[16], const char *format, f64 value)
{
    snprintf(out, 16, value > 0 ? format : "", value);
    return out;
}

static void bench_print_row(const struct bench_result *r)
{
    char a[16], b[16], c[16], d[16], e[16], f[16];
    printf("%-30s %10.3f ms %9s %7s %6s %9s %9s %9s\n", r->name, r->median_ms,
           bench_cell(a, "%.1f", r->gflops), bench_cell(b, "%.1f", r->gb_s),
           bench_cell(c, "%.0f %%", 100 * r->of_peak), bench_cell(d, "%.1f", r->img_s),
           bench_cell(e, "%.0f", r->peak_rss_mb), bench_cell(f, "%.2f s", 1e-3 * r->start_ms));
}

/* start: from opening the model to the end of its first step. */
static void print_header(const dev *d)
{
    printf("%s%s%s\n%-30s %13s %9s %7s %6s %9s %9s %9s\n", say_bold(1), dev_info(d)->name, say_plain(1),
           "", "median", "GFLOP/s", "GB/s", "peak", "images/s", "peak MB", "start");
}

/* How much longer an MoE step takes than the dense one of the same multiply-adds, once both were measured. */
static void print_ratio(const struct bench_result *dense, const struct bench_result *moe, bool json)
{
    if (!dense->name || !moe->name)
        return;
    f64 ratio = moe->median_ms / (f64)moe->batch / (dense->median_ms / (f64)dense->batch);
    if (json)
        printf("{\"name\":\"%s.over_dense\",\"ratio\":%.4g}\n", moe->name, ratio);
    else
        printf("%s takes %.2f times as long per image as %s\n", moe->name, ratio, dense->name);
}

static bool bench_wanted(const struct cli *c, const bench *b, int i)
{
    for (int k = 0; k < c->n; k++)
        if (bench_matches(b, i, c->operands[k]))
            return true;
    return !c->n;
}

static int bench_unknown(struct cli *c, const bench *b)
{
    const char **names = arena_array(c->arena, const char *, bench_count(b));
    for (int i = 0; i < bench_count(b); i++)
        names[i] = bench_name(b, i);
    char hint[96];
    for (int k = 0; k < c->n; k++) {
        bool any = false;
        for (int i = 0; i < bench_count(b); i++)
            any |= bench_matches(b, i, c->operands[k]);
        if (!any)
            return fail(FAULT_USAGE, "no measurement '%s'%s; --list shows them", c->operands[k],
                        text_hint(hint, c->operands[k], names, bench_count(b)));
    }
    return 0;
}

static void print_names(struct cli *c, const bench *b)
{
    for (int i = 0; i < bench_count(b); i++)
        if (bench_wanted(c, b, i))
            puts(bench_name(b, i));
}

static int print_rows(struct cli *c, dev *d, bench *b)
{
    static const char *const names[] = { "step.vit_t", "step.moe_t", "step.vit_s32", "step.moe_s32" };
    struct bench_result r, pairs[4] = { { 0 } };  // dense and MoE, large and small
    if (!c->json)
        print_header(d);
    for (int i = 0; i < bench_count(b); i++) {
        if (!bench_wanted(c, b, i))
            continue;
        progress("%s", bench_name(b, i));
        if (bench_run(b, i, &r))
            return -1;
        progress_done();                          // stdout may be the same terminal
        c->json ? bench_print_json(&r, dev_info(d)->name) : bench_print_row(&r);
        fflush(stdout);
        for (int k = 0; k < countof(names); k++)
            if (!strcmp(r.name, names[k]))
                pairs[k] = r;
    }
    for (int k = 0; k < countof(pairs); k += 2)
        print_ratio(&pairs[k], &pairs[k + 1], c->json);
    return 0;
}

static int run_on(struct cli *c, const char *spec, const struct bench_options *o)
{
    dev *d = dev_open_real(spec);
    bench *b = d ? bench_open(d, o) : NULL;
    int rc = b ? bench_unknown(c, b) : -1;
    if (!rc && cli_given(c, "list"))
        print_names(c, b);
    else if (!rc)
        rc = print_rows(c, d, b);
    progress_done();
    bench_close(b);
    dev_close(d);
    return rc;
}

static int bench_cmd_run(struct cli *c)
{
    struct bench_options o = { .seconds = 0.3, .cpu_time = cli_given(c, "cpu-time") };
    struct spec s;
    f64 seconds = 0;
    const char *given = cli_value(c, "seconds");
    if (cli_spec(c, NULL, &s) || cli_count(c, "batch", 1, 1 << 20, &o.batch))
        return -1;
    if (given && (!text_real(slice_of(given), &seconds) || !(seconds > 0 && seconds <= 3600)))
        return fail(FAULT_USAGE, "--seconds %s: a number of seconds, at most 3600", given);
    o.seconds = given ? seconds : o.seconds;
    char *devices = arena_printf(c->arena, "%s", s.device), *end;
    for (char *p = devices; p; p = end) {
        if ((end = strchr(p, ',')))
            *end++ = 0;
        if (run_on(c, p, &o))
            return -1;
    }
    return 0;
}

static const struct cli_option options[] = {
    { "batch", "N", "number of images, instead of each measurement's own" },
    { "seconds", "S", "time for one measurement (0.3)" },
    { "cpu-time", NULL,
      "count processor time, divided by the processors: for a CPU with other work" },
    { "list", NULL, "print only the names" },
    { 0 },
};
const struct command bench_cmd = {
    "bench", "speed of kernels and whole steps, against the device's own peaks", "bench [NAME...] [options]",
    { "jetcl bench layernorm matmul.nt --device cpu,gpu", "jetcl bench step.moe_t --batch 32 --json" },
    options, TAKES_JSON, bench_cmd_run };
