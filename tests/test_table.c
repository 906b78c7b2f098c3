/* test_table.c: table files: what they ask for, what is done already, what is printed, and what is
 * wrong with them. */
#include "unit.h"
#include <math.h>
#include <stdlib.h>
#include <unistd.h>
#include "study/seeds.h"
#include "study/study.h"
#include "study/table_forecast.h"

static arena *a;
static char   folder[64];

static const char *file(const char *name, const char *text)
{
    assert_int_equal(file_save(name, text, strlen(text)), 0);
    return name;
}

static int begin(void **state)
{
    (void)state;
    a = arena_open("test");
    say_setup((struct say_options){ SAY_QUIET, 0, true });
    snprintf(folder, sizeof folder, "/tmp/jetcl-table-XXXXXX");
    if (!mkdtemp(folder) || setenv("XDG_CONFIG_HOME", folder, 1) || chdir(folder))
        return -1;
    file("small.yaml", "model: {arch: vit, image: 8, patch: 4, dim: 8, depth: 2, heads: 2, classes: 3}\n");
    file("moe.yaml", "base: small.yaml\nmodel: {moe: {layers: [1], core: 2, universal: 4}}\n");
    return 0;
}

static int end(void **state)
{
    (void)state;
    arena_close(a);
    return chdir("/") || system(arena_printf(arena_open("rm"), "rm -rf %s", folder));
}

static struct table loaded(const char *text, int n, const struct spec_set *sets)
{
    struct table t;
    if (table_load(&t, a, file("t.yaml", text), "runs", sets, n, false))
        fail_msg("%s", fail_message());
    return t;
}

static void refused(const char *text, const char *message)
{
    struct table t;
    fail_clear();
    assert_int_equal(table_load(&t, a, file("t.yaml", text), "runs", NULL, 0, false), -1);
    assert_int_equal(fail_fault(), FAULT_USAGE);
    if (strncmp(fail_message(), message, strlen(message)))
        fail_msg("for <%s>\n got <%s>\nwant <%s>", text, fail_message(), message);
}

static const char *printed(struct table *t, enum table_format format, bool best)
{
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    assert_int_equal(table_print(f, t, format, best), 0);
    fclose(f);
    const char *copy = arena_copy(a, text, n);
    free(text);
    return copy;
}

/* As if the run had been done. */
static void done(const struct table *t, int run, f64 top1, f64 img_s)
{
    const struct table_run *r = &t->runs[run];
    struct run_eval evals[] = { { 1, 10, 100, top1 / 2, 100, 1, 1 }, { 2, 20, 100, top1 + 1, 100, 1, 1 },
                                { 3, 30, 100, top1, 100, 1, 1 } };
    struct run_result result = { .reason = "done", .epochs = 3, .steps = 30, .params = 1234567, .top1 = top1,
                                 .best_top1 = top1 + 1, .best_epoch = 2, .loss = NAN,
                                 .img_s = img_s, .hash = spec_hash(&r->spec), .n_evals = 3, .evals = evals };
    assert_int_equal(file_mkdirs(r->dir), 0);
    assert_int_equal(result_save(r->dir, &result), 0);
}

static const char grid[] =
    "title: T\ncolumns: [one, {name: two, set: {optim: {lr: 1e-3}}}, {name: speed, metric: img_s}]\n"
    "seeds: [1, 2]\nrows:\n"
    "  - {name: 'Dense | x', cells: [small.yaml], paper: [70.5, ~, ~]}\n"
    "  - {name: MoE, cells: [moe.yaml], set: {train: {epochs: 7}}}\nnotes: [a note]\n";

static void test_grid(void **state)
{
    (void)state;
    struct table t = loaded(grid, 0, NULL);
    assert_true(t.n_rows == 2 && t.n_columns == 3 && t.n_runs == 8);
    assert_string_equal(t.runs[0].name, "Dense | x / one");
    assert_true(t.runs[2].spec.optim.lr == 1e-3 && t.runs[0].spec.optim.lr == 4e-3 &&
                t.runs[4].spec.train.epochs == 7);
    assert_true(t.runs[0].spec.seed == 1 && t.runs[1].spec.seed == 2);
    assert_int_equal(t.rows[0].cells[2].runs[1], t.rows[0].cells[0].runs[1]);      // speed: of the first cell
    done(&t, 0, 70, 100);
    done(&t, 1, 71, 120);
    done(&t, 4, 80, 50);
    t = loaded(grid, 0, NULL);
    assert_true(t.runs[0].state == CELL_DONE && t.runs[2].state == CELL_TODO);
    assert_string_equal(printed(&t, TABLE_MARKDOWN, false),
        "**T**\n\n"
        "|            | one               | two | speed      |\n"
        "|---|---|---|---|\n"
        "| Dense \\| x | 70.5 ± 0.7 (70.5) | -   | 110 ± 14.1 |\n"
        "| MoE        | 80.0 [1/2]        | -   | 50 [1/2]   |\n"
        "\nAfter the last epoch; mean ± standard deviation over the seeds; in brackets what the paper "
        "reports.\na note\n");
    assert_non_null(strstr(printed(&t, TABLE_MARKDOWN, true), "71.5 ± 0.7 (70.5)"));
    assert_non_null(strstr(printed(&t, TABLE_CSV, false),
                           "\"Dense | x\",\"one\",top1,70.5,0.7071067812,2,70.5\n"));
    assert_non_null(strstr(printed(&t, TABLE_CSV, false), "\"MoE\",\"two\",top1,,,0,\n"));
    assert_non_null(strstr(printed(&t, TABLE_JSON, false), "\"mean\": 70.5"));
    t = loaded(grid, 1, &(struct spec_set){ "--seed", "seed=1", NULL });           // all seeds are the same
    assert_true(t.n_runs == 4 && t.rows[0].cells[0].n == 1 && t.runs[0].state == CELL_DONE);
    t = loaded(grid, 1, &(struct spec_set){ "--set", "optim.eps=1e-7", NULL });    // others: nothing is done
    assert_true(t.n_runs == 8 && t.runs[0].state == CELL_TODO);
}

static const char demo[] =
    "transpose: on\n"
    "prepare: [{name: wide, file: small.yaml, set: {model: {dim: 16}}},\n"
    "          {name: other, file: small.yaml, use: {model.init: wide}}]\n"
    "columns: [{name: acc, metric: top1}, {name: to, metric: epochs_to, row: A},\n"
    "          {name: size, metric: params}]\n"
    "rows: [{name: A, cells: [small.yaml]},\n"
    "       {name: B, cells: [moe.yaml], use: {recycle.from.experts: wide}}, {name: C, cells: [~]}]";

static void test_prepare(void **state)
{
    (void)state;
    struct table t = loaded(demo, 0, NULL);
    assert_int_equal(t.n_runs, 4);
    assert_true(t.runs[0].prepared && t.runs[1].prepared && !t.runs[2].prepared);
    assert_string_equal(t.runs[3].spec.recycle.from.experts,
                        arena_printf(a, "%s/ckpt/last.safetensors", t.runs[0].dir));
    assert_true(t.runs[3].n_uses == 1 && t.runs[3].uses[0] == 0);
    done(&t, 2, 60, 1);
    done(&t, 3, 59.5, 1);
    t = loaded(demo, 0, NULL);
    assert_string_equal(printed(&t, TABLE_MARKDOWN, false),
        "|      | A    | B    | C   |\n|---|---|---|---|\n"
        "| acc  | 60.0 | 59.5 |     |\n"
        "| to   | 2    | 2    |     |\n"
        "| size | 1.2M | 1.2M |     |\n\n");
    struct spec_set changed = { "--set", "model.mlp_ratio=2", NULL };
    t = loaded(demo, 1, &changed);                         // a changed predecessor changes what it makes
    assert_true(t.runs[3].state == CELL_TODO);
    assert_non_null(strstr(printed(&t, TABLE_MARKDOWN, false), "| size |"));
    assert_null(strstr(printed(&t, TABLE_MARKDOWN, false), "1.2M"));               // counted, not read
}

/* A result with one value for each metric. */
static void done_with(const struct table *t, int run, struct run_result r)
{
    r.reason = "done";
    r.hash = spec_hash(&t->runs[run].spec);
    assert_int_equal(file_mkdirs(t->runs[run].dir), 0);
    assert_int_equal(result_save(t->runs[run].dir, &r), 0);
}

/* Mean and deviation over three seeds by hand, every metric, and the paper's numbers beside them. */
static void test_statistics(void **state)
{
    (void)state;
    static const char text[] =
        "seeds: [11, 12, 13]\ncolumns: [top1, {name: best, metric: best}, {name: top5, metric: top5},\n"
        " {name: loss, metric: loss}, {name: speed, metric: img_s}, {name: time, metric: seconds},\n"
        " {name: mem, metric: memory, per: 1e6, digits: 2}, {name: flops, metric: flops, per: 1e9},\n"
        " {name: full, metric: flops_complete}, {name: to, metric: epochs_to, row: B}]\n"
        "rows: [{name: A, cells: [small.yaml], set: {optim: {lr: 0.5}}}, {name: B, cells: [moe.yaml],\n"
        " set: {optim: {lr: 0.5}}}, {name: C, cells: [small.yaml], set: {optim: {lr: 0.25}}}]\n";
    const f64 top1[] = { 1, 2, 4 };
    struct table t = loaded(text, 0, NULL);
    assert_int_equal(t.n_runs, 9);
    for (int k = 0; k < 3; k++) {
        struct run_eval evals[] = { { 1, 10, 100, top1[k], 5, 1, 1 }, { 5, 20, 100, 3, 5, 1, 1 } };
        done_with(&t, k, (struct run_result){ .top1 = top1[k], .best_top1 = 10 * top1[k], .top5 = 50 + top1[k],
            .loss = top1[k] / 8, .img_s = 100 * top1[k], .seconds = 60 * top1[k],
            .memory = (u64)(1e6 * top1[k]),
            .flops = 1e9 * top1[k], .flops_complete = 2e9 * top1[k], .n_evals = 2, .evals = evals });
        done_with(&t, 3 + k, (struct run_result){ .top1 = k ? k + 1 : 3, .best_top1 = 1, .n_evals = 0 });
        struct run_eval never = { 1, 10, 100, .5, 5, 1, 1 };
        done_with(&t, 6 + k, (struct run_result){ .top1 = .5, .n_evals = 1, .evals = &never });
    }
    t = loaded(text, 0, NULL);
    const char *csv = printed(&t, TABLE_CSV, false);
    static const char *const want[] = {
        "\"A\",\"top1\",top1,2.333333333,1.527525232,3,\n", "\"A\",\"best\",best,23.33333333,15.27525232,3,\n",
        "\"A\",\"top5\",top5,52.33333333,1.527525232,3,\n", "\"A\",\"loss\",loss,0.2916666667,0.190940654,3,\n",
        "\"A\",\"speed\",img_s,233.3333333,152.7525232,3,\n", "\"A\",\"time\",seconds,140,91.6515139,3,\n",
        "\"A\",\"mem\",memory,2.333333333,1.527525232,3,\n",
        "\"A\",\"flops\",flops,2.333333333,1.527525232,3,\n",
        "\"A\",\"full\",flops_complete,4666666667,3055050463,3,\n",
        "\"A\",\"to\",epochs_to,3.666666667,2.309401077,3,\n",       /* B's mean is 8/3: after 5, 5 and 1 */
        "\"C\",\"to\",epochs_to,inf,", "\"B\",\"top1\",top1,2.666666667,0.5773502692,3,\n" };
    for (int i = 0; i < countof(want); i++)
        if (!strstr(csv, want[i]))
            fail_msg("no line %s in\n%s", want[i], csv);
    const char *plain = printed(&t, TABLE_MARKDOWN, false);
    static const char *const cells[] = { "| 2.3 ± 1.5 ", "| 23.3 ± 15.3 ", "| 0.292 ± 0.191 ",
                                         "| 233 ± 153 ", "| 2.33 ± 1.53 ", "| never " };
    for (int i = 0; i < countof(cells); i++)
        if (!strstr(plain, cells[i]))
            fail_msg("no cell %s in\n%s", cells[i], plain);
    assert_non_null(strstr(printed(&t, TABLE_CSV, true), "\"A\",\"top1\",best,23.33333333,15.27525232,3,\n"));
    assert_non_null(strstr(printed(&t, TABLE_JSON, false), "\"sd\": 1.527525"));
}

/* One row against the others by pairs of seeds. By hand: 2, 1 and 3 above B is 2 with deviation 1, and half of
 * the interval 4.303 / sqrt(3) = 2.48; below C always by 10; of D one seed is done, which says nothing. */
static void test_pairs(void **state)
{
    (void)state;
    static const char text[] =
        "seeds: [21, 22, 23]\ncolumns: [acc, {name: size, metric: params}]\ncompare: A\nrows:\n"
        "  - {name: B, cells: [small.yaml], set: {optim: {lr: 0.1}}}\n"
        "  - {name: A, cells: [small.yaml], set: {optim: {lr: 0.2}}}\n"
        "  - {name: C, cells: [small.yaml], set: {optim: {lr: 0.3}}}\n"
        "  - {name: D, cells: [small.yaml], set: {optim: {lr: 0.4}}}\n";
    static const f64 top1[] = { 60, 62, 61, 62, 63, 64, 72, 73, 74, 50 };
    struct table t = loaded(text, 0, NULL);
    for (int i = 0; i < countof(top1); i++)
        done(&t, i, top1[i], 1);
    t = loaded(text, 0, NULL);
    assert_non_null(strstr(printed(&t, TABLE_MARKDOWN, false),
        "over the seeds.\n"
        "A - B, acc: +2.0 ± 2.5 by pairs of 3 seeds (95 %): no difference that they can show\n"
        "A - C, acc: -10 in each of 3 seeds\n"));
    assert_null(strstr(printed(&t, TABLE_MARKDOWN, false), "A - D"));
    const char *json = printed(&t, TABLE_JSON, false);
    assert_non_null(strstr(json, "\"against\": \"B\""));
    assert_non_null(strstr(json, "\"mean\": 2.0,\n      \"half\": 2.484338208"));
    refused("columns: [a]\ncompare: y\nrows: [{name: x, cells: [small.yaml]}]",
            "t.yaml:2:10: compare: no row 'y'");
    refused("columns: [a]\ncompare: [x]\nrows: [{name: x, cells: [small.yaml]}]",
            "t.yaml:2:1: compare must be text");
}

static void test_refusals(void **state)
{
    (void)state;
    refused("rows: []", "t.yaml:1:1: a table needs columns");
    refused("colums: [a]", "t.yaml:1:1: unknown key 'colums' in a table (did you mean 'columns'?)");
    refused("columns: [a]\nrows: [{name: x, cells: [none.yaml]}]", "t.yaml:2:26: none.yaml: no such file");
    refused("columns: [a]\nrows: [{name: x, cell: [small.yaml]}]",
            "t.yaml:2:18: unknown key 'cell' in rows (did you mean 'cells'?)");
    refused("columns: [a, b, c]\nrows: [{name: x, cells: [small.yaml, moe.yaml]}]",
            "t.yaml:2:9: row 'x' has 2 cells, but column 'c' is number 3");
    refused("columns: [a]\nrows: [{name: x, cells: [small.yaml], paper: [1, 2]}]",
            "t.yaml:2:39: 2 numbers for 1 columns");
    refused("columns: [{name: a, metric: top2}]\nrows: []",
            "t.yaml:1:29: no metric 'top2' (did you mean 'top1'?)");
    refused("columns: [{name: a, metric: epochs_to}]\nrows: [{name: x, cells: [small.yaml]}]",
            "t.yaml:1:12: metric epochs_to needs `row:`");
    refused("columns: [a]\nrows: [{name: x, cells: [small.yaml], set: {optim: {lrr: 1}}}]",
            "t.yaml:2:53: unknown key 'lrr' in optim (did you mean 'lr'?)");
    refused("columns: [a]\nrows: [{name: x, cells: [small.yaml], use: {model.init: y}}]",
            "t.yaml:2:57: use: nothing called 'y' in prepare");
    refused("columns: [a]\nseeds: [x]\nrows: [{name: x, cells: [small.yaml]}]",
            "seeds x: seed: 'x' is not an integer");
    refused("columns: [a]\nrows: 3", "t.yaml:2:7: rows must be a list");
    struct table t;
    assert_int_equal(table_load(&t, a, "nowhere.yaml", "runs", NULL, 0, false), -1);
}

/* Two dense experiments of 10 and 30 seconds, two that need the same prepared one: 5 and 8, and 20 before. */
static void test_budget(void **state)
{
    (void)state;
    static const struct { f64 seconds, used; const char *fit; } rows[] = {
        { 9, 0, "....." }, { 10, 10, "a...." }, { 34.9, 10, "a...." }, { 35, 35, "a.p1." },
        { 42.9, 35, "a.p1." },
        { 43, 43, "a.p12" }, { 72, 43, "a.p12" }, { 73, 73, "abp12" }, { 1e9, 73, "abp12" },
    };
    struct table t = { .runs = (struct table_run[6]){ [2] = { .prepared = true },
                                                      [3] = { .uses = (int[]){ 2 }, .n_uses = 1 },
                                                      [4] = { .uses = (int[]){ 2 }, .n_uses = 1 } } };
    for (int i = 0; i < countof(rows); i++) {
        struct asked list[6] = { { .cost.seconds = 10 }, { .cost.seconds = 30 }, { .cost.seconds = 20 },
                                 { .cost.seconds = 5 }, { .cost.seconds = 8 }, { .cost.seconds = NAN } };
        for (int k = 0; k < 6; k++)
            list[k].run = &t.runs[k];
        assert_true(budget_choose(list, 6, &t, rows[i].seconds) == rows[i].used);
        for (int k = 0; k < 6; k++)
            assert_int_equal(list[k].fits, k < 5 && rows[i].fit[k] == "abp12"[k]);
    }
}

/* ---- seeds --------------------------------------------------------------------------------------------- */

/* Student's 97.5 % points. */
static void test_seeds(void **state)
{
    (void)state;
    static const struct { int freedom; f64 t, off; } rows[] = {
        { 1, 12.706, 0 }, { 2, 4.303, 0 }, { 3, 3.182, 0 }, { 4, 2.776, 0 }, { 5, 2.571, 0 }, { 6, 2.447, 0 },
        { 7, 2.365, 0 }, { 8, 2.306, 0 }, { 9, 2.262, 0 }, { 10, 2.228, 0 }, { 11, 2.201, .02 },
        { 20, 2.086, .02 }, { 31, 2.040, .02 } };
    for (int i = 0; i < countof(rows); i++) {
        f64 v[33], sum = 0, square = 0;
        int n = rows[i].freedom + 1;
        for (int k = 0; k < n; k++)
            sum += v[k] = 10 + k % 3;
        for (int k = 0; k < n; k++)
            square += (v[k] - sum / n) * (v[k] - sum / n);
        v[n] = NAN;                                        // one that is not known
        struct seeds s = seeds_of(v, n + 1);
        assert_true(s.n == n && fabs(s.mean - sum / n) < 1e-12 && fabs(s.sd - sqrt(square / (n - 1))) < 1e-12);
        assert_true(fabs(s.half / (s.sd / sqrt(n)) - rows[i].t) < 1e-9 + rows[i].off);
    }
}

/* Three and three of variance 1: 4 degrees of freedom, 2.776 sqrt(2 / 3) = 2.267. */
static void test_unpaired(void **state)
{
    (void)state;
    struct seeds x = seeds_of((f64[]){ 1, 2, 3 }, 3), y = seeds_of((f64[]){ 3.2, 4.2, 5.2 }, 3),
                 z = seeds_of((f64[]){ 3.3, 4.3, 5.3 }, 3), one = seeds_of((f64[]){ 9 }, 1);
    assert_string_equal(seeds_unpaired(a, &x, &y), "no difference that 3 and 3 seeds can show");
    assert_string_equal(seeds_unpaired(a, &z, &x), "more than 3 and 3 seeds leave to chance (5 %)");
    assert_string_equal(seeds_unpaired(a, &x, &one), "one seed cannot say whether that is chance");
}

/* ---- what is missing ----------------------------------------------------------------------------------- */

static void test_needs(void **state)
{
    (void)state;
    struct needs s = { .a = a };
    static const struct { const char *path, *what, *where; } rows[] = {
        { "some/tables/../../weights/mine.npz", "weights/mine.npz", "named by the experiment" },
        { "../../weights/mine.npz", "../../weights/mine.npz", "named by the experiment" },
        { "some/../runs/small/latest/x.pth", "runs/small/latest/x.pth",
          "left by a run of the experiment named small" },
        { "dryruns/small/x.pth", "dryruns/small/x.pth", "named by the experiment" } };
    assert_false(needs_checkpoint(&s, "small.yaml") || needs_checkpoint(&s, ""));
    for (int i = 0; i < countof(rows); i++) {
        assert_true(needs_checkpoint(&s, rows[i].path) && needs_checkpoint(&s, rows[i].what));
        assert_int_equal(s.n, i + 1);
        assert_string_equal(s.list[i].what, rows[i].what);
        assert_string_equal(s.list[i].where, rows[i].where);
        assert_int_equal(s.list[i].runs, 2);
    }
}

/* ---- forecasts ----------------------------------------------------------------------------------------- */

/* Ten steps an epoch of two seconds, half a second an image evaluated, a quarter one measured. */
static void test_costs(void **state)
{
    (void)state;
    static const struct { const char *more; f64 steps, evaluations, measured; } rows[] = {
        { "train: {epochs: 3, batch: 100}\neval: {every: off}", 30, 1, 0 },
        { "train: {epochs: 3, batch: 100}\neval: {every: 2}", 30, 2, 0 },
        { "train: {epochs: 4, batch: 100}\neval: {every: 2}", 40, 2, 0 },
        { "train: {epochs: 3, batch: 100, steps: 15}\neval: {every: 1}", 15, 2, 0 },
        { "train: {epochs: 3, batch: 100, steps: 500}\neval: {every: 1}", 30, 3, 0 },
        { "recycle: {from: {experts: a.pth}, images: 128}\ntrain: {epochs: 3, batch: 100}\n"
          "eval: {every: off}", 30, 1, 128 },
        { "recycle: {from: {experts: a.pth}, images: 4096}\ntrain: {epochs: 3, batch: 100}\n"
          "eval: {every: off}", 30, 1, 1050 } };
    const struct forecast f = { .step = 2, .image = .5, .activations = .25 };
    for (int i = 0; i < countof(rows); i++) {
        struct spec s;
        assert_int_equal(spec_parse(&s, a, "x.yaml", rows[i].more, NULL, 0), 0);
        struct cost c = forecast_cost(&s, &f, (struct images){ 1050, 200 });
        if (c.steps != rows[i].steps || c.evaluations != rows[i].evaluations || c.measured != rows[i].measured)
            fail_msg("%s: %g steps, %g evaluations, %g measured", rows[i].more, c.steps, c.evaluations,
                     c.measured);
        assert_true(c.training == 2 * c.steps && c.evaluating == 100 * c.evaluations
                    && c.recycling == c.measured / 4 && c.seconds == c.training + c.evaluating + c.recycling);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_grid), cmocka_unit_test(test_prepare),
                                        cmocka_unit_test(test_statistics), cmocka_unit_test(test_budget),
                                        cmocka_unit_test(test_pairs),
                                        cmocka_unit_test(test_refusals), cmocka_unit_test(test_seeds),
        cmocka_unit_test(test_unpaired), cmocka_unit_test(test_needs), cmocka_unit_test(test_costs) };
    return cmocka_run_group_tests(tests, begin, end);
}
