/* run_targets.h: the fuzzers' targets of what runs leave and read again: states, metrics, results, statistics,
 * tuning files; and of what people write: experiments and tables. Part of targets.h. */
#ifndef JETCL_FUZZ_RUN_TARGETS_H
#define JETCL_FUZZ_RUN_TARGETS_H

#include "dev/ocl.h"
#include "log/files.h"
#include "recycle/recycle.h"
#include "study/table.h"
#include "train/learner.h"

static void told(void)
{
    check(fail_fault() != FAULT_NONE && *fail_message() && fail_fault() != FAULT_DEVICE,
          "fault %d, message '%s'", fail_fault(), fail_message());
}

static const char *fuzz_path(arena *a, const char *name)
{
    fuzz_begin();
    return arena_printf(a, "%s/%s", fuzz_folder, name);
}

static int fuzz_state(const u8 *p, size_t n)
{
    struct param x = { .name = "w", .shape = { 1, { 2 } } };
    const params model = { .list = &x, .n = 1, .total = 2 };
    struct position at = { 0 };
    arena *a = arena_open("fuzz");
    const char *path = fuzz_path(a, "x.state");
    fuzz_write("x.state", fuzz_safetensors_file(p, n), n + 8);
    for (int ema = 0; ema < 2; ema++) {
        fail_clear();
        if (state_check(path, &model, ema, &at))
            told();
        else
            check(at.epoch >= 0 && at.epoch <= 1000000 && at.step >= 0 && at.sample >= 0 && at.since_best >= 0
                  && at.evaluated >= 0, "counters of a state that passed");
    }
    arena_close(a);
    return 0;
}

static int fuzz_statistics(const u8 *p, size_t n)
{
    static const struct provenance w = { "a", "b", 1, 0, "zero" };
    struct statistics s;
    arena *a = arena_open("fuzz");
    const char *path = fuzz_path(a, "statistics.safetensors");
    fuzz_write("statistics.safetensors", fuzz_safetensors_file(p, n), n + 8);
    fail_clear();
    if (statistics_load(path, &w, a, &s))
        told();
    arena_close(a);
    return 0;
}

/* Read, cut to whole lines, cut at a step, and read again: what is left is shorter and as good. */
static int fuzz_metrics(const u8 *p, size_t n)
{
    struct past first = { 0 }, then = { 0 };
    arena *a = arena_open("fuzz");
    const char *path = fuzz_path(a, "metrics.jsonl");
    fuzz_write("metrics.jsonl", p, n);
    fail_clear();
    int rc = past_read(path, a, &first);
    if (rc)
        told();
    for (size_t i = 1; !rc && i < first.n; i++)
        check(first.evals[i].step > first.evals[i - 1].step, "evaluations out of order");
    check(!repair_lines(path), "%s", fail_message());
    rc = rc || repair_cut(path, 7, 5) || past_read(path, a, &then) ? -1 : 0;
    check(rc || then.n <= first.n, "%zu evaluations of %zu", then.n, first.n);
    arena_close(a);
    return 0;
}

static int fuzz_result(const u8 *p, size_t n)
{
    struct run_result r = { 0 };
    arena *a = arena_open("fuzz");
    const char *dir = fuzz_path(a, "");
    fuzz_write("result.json", p, n);
    fail_clear();
    int rc = result_load(a, dir, &r);
    check(rc <= 0, "a file that is there is missing");
    if (rc)
        told();
    else
        check(r.n_evals >= 0 && (!r.n_evals || r.evals) && r.reason, "an incomplete result");
    arena_close(a);
    return 0;
}

/* The first byte odd: rows between a head and a sum that are right. */
static arena *tuning_arena;                      /* reachable, so no leak */
static char  *tuning_text;
static size_t tuning_head;
static char   tuning_path[4200];
static dev   *tuning_dev;

static void fuzz_tuning_begin(void)
{
    fuzz_begin();
    if (tuning_dev)
        return;
    setenv("JETCL_CACHE_DIR", fuzz_folder, 1);
    check((tuning_dev = dev_open("null")) && !dev_tune_save(tuning_dev), "%s", fail_message());
    tuning_arena = arena_open("fuzz");
    tuning_text = file_text(tuning_arena, dev_tune_path(tuning_dev, tuning_path), NULL);
    const char *sum = tuning_text ? strstr(tuning_text, "\nsum: ") : NULL;
    check(sum, "no tuning file");
    tuning_head = (size_t)(sum + 1 - tuning_text);
}

static int fuzz_tuning(const u8 *p, size_t n)
{
    char hex[65];
    fuzz_tuning_begin();
    arena *a = arena_open("fuzz");
    size_t head = n && *p & 1 ? tuning_head : 0, rows = n ? n - 1 : 0;
    char *all = arena_array(a, char, head + rows + 32);
    memcpy(all, tuning_text, head);
    memcpy(all + head, p + 1, rows);
    bytes_sha256(all, head + rows, hex);
    int sum = head ? sprintf(all + head + rows, "sum: %.16s\n", hex) : 0;
    FILE *f = fopen(tuning_path, "wb");
    check(f && fwrite(all, 1, head + rows + (size_t)sum, f) == head + rows + (size_t)sum && !fclose(f),
          "cannot write");
    fail_clear();
    tune_load(tuning_dev);
    check(!fail_fault(), "'%s' was not told as a warning", fail_message());
    arena_close(a);
    return 0;
}

static int fuzz_experiment(const u8 *p, size_t n)
{
    struct spec s;
    arena *a = arena_open("fuzz");
    const char *text = arena_copy(a, p, n);
    fail_clear();
    if (spec_parse(&s, a, "x.yaml", text, NULL, 0))
        told();
    else
        check(spec_hash(&s), "no hash");
    arena_close(a);
    return 0;
}

static int fuzz_table(const u8 *p, size_t n)
{
    static const char small[] = "model: {arch: vit, image: 32, patch: 16, dim: 16, depth: 1, heads: "
                                "2}\ndevice: null\n";
    struct table t;
    arena *a = arena_open("fuzz");
    const char *path = fuzz_path(a, "table.yaml");
    fuzz_write("exp.yaml", small, sizeof small - 1);
    fuzz_write("table.yaml", p, n);
    fail_clear();
    if (table_load(&t, a, path, fuzz_folder, NULL, 0, false))
        told();
    else
        check(t.n_rows >= 0 && t.n_columns >= 0, "a table of nothing");
    arena_close(a);
    return 0;
}

#endif
