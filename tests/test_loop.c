/* test_loop.c: the training loop itself, with a script in place of evaluation and of the signals that stop
 * it: what is best, when patience ends, what is evaluated, logged and kept; a run in pieces is the run in
 * one. */
#define mem scratch_arena                         /* `mem` is a type of dev.h */
#include "data_help.h"
#undef mem
#include <dirent.h>
#include <jansson.h>
#include "spec/yaml.h"
#include "train/learner.h"

static int  scripted_evaluate(struct evaluator *e, loader *l, struct run_eval *out, i64 *confusion);
static bool scripted_stop(void);

#define evaluate       scripted_evaluate
#define stop_requested scripted_stop
#include "train/train.c"
#undef evaluate
#undef stop_requested

/* Waiting for a disk is most of what a run of this size does. */
int fsync(int fd) { (void)fd; return 0; }

/* ---- the script ---------------------------------------------------------------------------------------- */

enum { STEPS = 3, MOST = 32 };                    /* batches of an epoch */
static struct { f64 top1, top5, loss; } series[MOST];
static struct session session;
static int  calls;                                /* of it, since run_loop */
static f32  evaluated[1 << 16];                   /* weights at the last evaluation */
static i64  stop_after;                           /* looks at the flag before it is up; -1: never */

/* What the evaluator's graph reads: the averaged weights where there are some. */
static void read_evaluated(const struct evaluator *e, f32 *out)
{
    const params *p = session.p;
    i64 n = 0;
    for (size_t i = 0; i < p->n; n += shape_count(p->list[i++].shape)) {
        node *x = names_get(&e->g->fixed, p->list[i].name);
        assert_non_null(x);
        assert_int_equal(node_read(x, out + n), 0);
    }
}

static i64 evaluations(void);

static int scripted_evaluate(struct evaluator *e, loader *l, struct run_eval *out, i64 *confusion)
{
    (void)l, (void)confusion;
    i64 k = evaluations();
    *out = (struct run_eval){ .n = 100, .top1 = series[k].top1, .top5 = series[k].top5,
                              .loss = series[k].loss, .seconds = .25 };
    read_evaluated(e, evaluated);
    calls++;
    return 0;
}

static bool scripted_stop(void)
{
    stop_after -= stop_after > 0;
    return stop_after == 0;
}

/* ---- a run --------------------------------------------------------------------------------------------- */

static const char *folder;                        /* of the run that is tested */

/* Evaluations a run folder tells of, those of earlier pieces included: the script continues there. */
static i64 evaluations(void)
{
    i64 n = 0;
    char line[2048];
    FILE *f = fopen(arena_printf(scratch_arena, "%s/metrics.jsonl", folder), "r");
    while (f && fgets(line, sizeof line, f))
        n += strstr(line, "\"split\":\"eval\"") != NULL;
    if (f)
        fclose(f);
    return n;
}

static void make_set(void)
{
    static const char *const classes[] = { "a", "b", "c" };
    for (int i = 0; i < 12; i++) {
        struct image m = picture(8, 8, (u32)i + 1);
        write_png(at("set/train/%s/%d.png", classes[i % 3], i), &m, PNG_COLOR_TYPE_RGB, 8, false, false);
    }
    struct image m = picture(8, 8, 99);
    for (int c = 0; c < 3; c++)
        write_png(at("set/test/%s/0.png", classes[c]), &m, PNG_COLOR_TYPE_RGB, 8, false, false);
}

static struct spec experiment(const char *keys)
{
    struct spec s;
    struct yaml *y = yaml_parse(scratch_arena, "keys", "", keys, true);
    struct spec_set set = { "keys", NULL, y };
    const char *text = arena_printf(scratch_arena,
        "data: {set: folder, root: %s/set, workers: 1}\n"
        "model: {arch: vit, image: 8, patch: 4, dim: 8, depth: 1, heads: 2, classes: auto, drop_path: 0.2}\n"
        "train: {epochs: 10, batch: 4, accumulate: 1}\noptim: {lr: 1e-2}\n"
        "schedule: {warmup_epochs: 2, by: step}\neval: {every: 1, batch: 3}\nkeep: {every: 1, last: 100}\n",
        scratch());
    if (!y || spec_parse(&s, scratch_arena, "test", text, &set, 1))
        fail_msg("%s", fail_message());
    return s;
}

static f64 number_in(const ckpt *c, const char *key)
{
    const char *text = ckpt_meta(c, key);
    assert_non_null(text);
    return atof(text);
}

/* Runs the loop in `out` (a name below the scratch folder), or continues there; returns its return code. */
static int run_loop(const char *out, const char *keys, bool resume, i64 stop, struct position *end,
                    const char **reason)
{
    struct spec s = experiment(keys);
    folder = at("%s/x", out);
    folder = arena_copy(scratch_arena, folder, strlen(folder) - 2);
    stop_after = stop;
    calls = 0;
    if (session_open(&session, &s, SESSION_TRAIN_DATA | SESSION_EVAL_DATA | SESSION_TRAINS, NULL))
        fail_msg("%s", fail_message());
    struct run_options o = { .out = folder, .resume = resume ? "" : NULL, .force = !resume };
    report *r = report_open(&session.s, &o, NULL);
    if (!r)
        fail_msg("%s", fail_message());
    int rc = train_loop(&session, r, reason);
    if (rc && fail_fault() != FAULT_STOPPED)
        fail_msg("%s", fail_message());
    ckpt *c = ckpt_open(report_path(r, "ckpt/last.state"));
    assert_non_null(c);
    *end = (struct position){ (i64)number_in(c, "epoch"), (i64)number_in(c, "step"), number_in(c, "best"),
                              (i64)number_in(c, "best_epoch"), (i64)number_in(c, "since_best") };
    ckpt_close(c);
    report_close(r);
    session_close(&session);
    return rc;
}

static struct position ran(const char *out, const char *keys, const char **reason)
{
    struct position end;
    assert_int_equal(run_loop(out, keys, false, -1, &end, reason), 0);
    return end;
}

static void script(int n, const f64 *top1)
{
    memset(series, 0, sizeof series);
    for (int i = 0; i < MOST; i++)
        series[i].top1 = top1[MIN(i, n - 1)], series[i].top5 = 100, series[i].loss = 1;
}
#define SCRIPT(...) script(countof(((f64[]){ __VA_ARGS__ })), (f64[]){ __VA_ARGS__ })

static bool there(const char *name)
{
    return file_exists(arena_printf(scratch_arena, "%s/ckpt/%s", folder, name));
}

static bool same_file(const char *a, const char *b)
{
    size_t n = 0, m = 0;
    const char *x = file_text(scratch_arena, arena_printf(scratch_arena, "%s/%s", scratch(), a), &n);
    const char *y = file_text(scratch_arena, arena_printf(scratch_arena, "%s/%s", scratch(), b), &m);
    if (!x || !y)
        fail_msg("%s", fail_message());
    return n == m && !memcmp(x, y, n);
}

/* ---- best, patience, metric ---------------------------------------------------------------------------- */

static void test_patience(void **state)
{
    (void)state;
    const char *reason;
    SCRIPT(10, 30, 20, 30, 25, 99);               // a tie is not better
    struct position end = ran("one", "eval: {patience: 3}", &reason);
    assert_string_equal(reason, "patience");
    assert_true(end.epoch == 5 && end.step == 5 * STEPS && end.best == 30 && end.best_epoch == 2
                && end.since_best == 3 && calls == 5);
    assert_true(same_file("one/ckpt/best.safetensors", "one/ckpt/epoch_0002.safetensors"));
    assert_true(same_file("one/ckpt/last.safetensors", "one/ckpt/epoch_0005.safetensors"));
    assert_false(same_file("one/ckpt/best.safetensors", "one/ckpt/last.safetensors"));
    end = ran("one", "eval: {patience: 5}", &reason);      // the sixth is the best
    assert_string_equal(reason, "done");
    assert_true(end.epoch == 10 && end.best == 99 && end.best_epoch == 6 && end.since_best == 4
                && calls == 10);
    SCRIPT(10, 9);
    end = ran("one", "{eval: {patience: 1, every: 2}, train: {epochs: 7}}", &reason);
    assert_true(end.epoch == 4 && end.best_epoch == 2 && end.since_best == 1);
    end = ran("one", "{eval: {patience: 1}, keep: {every: off}}", &reason); // saved, though nothing else is
    assert_true(end.epoch == 2 && end.since_best == 1);
    SCRIPT(5);
    end = ran("one", "train: {epochs: 3}", &reason);       // no patience: never ends early
    assert_string_equal(reason, "done");
    assert_true(end.epoch == 3 && end.since_best == 2 && end.best_epoch == 1);
}

static void test_metric(void **state)
{
    (void)state;
    const char *reason;
    static const struct { const char *keys; int epoch; f64 best; } want[] = {
        { "eval: {metric: top1}", 2, 40 }, { "eval: {metric: top5}", 3, 80 },
        { "eval: {metric: loss}", 1, -.5 } };
    static const f64 rows[4][3] = { { 10, 70, .5 }, { 40, 60, 2 }, { 30, 80, 3 }, { 20, 75, 4 } };
    for (int k = 0; k < countof(want); k++) {
        memset(series, 0, sizeof series);
        for (int i = 0; i < 4; i++)
            series[i].top1 = rows[i][0], series[i].top5 = rows[i][1], series[i].loss = rows[i][2];
        const char *keys = arena_printf(scratch_arena, "{train: {epochs: 4}, %s}", want[k].keys);
        struct position end = ran("metric", keys, &reason);
        assert_true(end.best_epoch == want[k].epoch && end.best == want[k].best
                    && end.since_best == 4 - want[k].epoch);
        assert_true(
            same_file("metric/ckpt/best.safetensors",
                      arena_printf(scratch_arena, "metric/ckpt/epoch_%04d.safetensors", want[k].epoch)));
    }
    memset(series, 0, sizeof series);             // a loss that is not a number is the worst
    series[0].loss = series[2].loss = NAN;
    series[1].loss = 2, series[3].loss = 3;
    struct position end = ran("metric", "{train: {epochs: 4}, eval: {metric: loss}}", &reason);
    assert_true(end.best_epoch == 2 && end.best == -2 && end.since_best == 2);
}

static void test_when(void **state)
{
    (void)state;
    static const struct { const char *keys; int n, step[6], epoch[6]; } want[] = {
        { "{eval: {every: 2}, train: {epochs: 5}}", 3, { 6, 12, 15 }, { 2, 4, 5 } },
        { "{eval: {every: off}, train: {epochs: 4}}", 1, { 12 }, { 4 } },
        { "{eval: {every: 3}, train: {epochs: 6}}", 2, { 9, 18 }, { 3, 6 } },
        { "{eval: {every: 1}, train: {epochs: 6, steps: 7}}", 3, { 3, 6, 7 }, { 1, 2, 3 } },
        { "{eval: {every: 1}, train: {epochs: 2, steps: 50}}", 2, { 3, 6 }, { 1, 2 } } };
    const char *reason;
    SCRIPT(1, 2, 3);
    for (int k = 0; k < countof(want); k++) {
        struct position end = ran("when", want[k].keys, &reason);
        struct past { int n; } got = { 0 };
        char line[2048];
        FILE *f = fopen(arena_printf(scratch_arena, "%s/metrics.jsonl", folder), "r");
        while (fgets(line, sizeof line, f)) {
            int epoch, step;
            char *p = strstr(line, "\"split\":\"eval\"");
            if (!p)
                continue;
            assert_int_equal(sscanf(p, "\"split\":\"eval\",\"epoch\":%d,\"step\":%d", &epoch, &step), 2);
            assert_true(got.n < want[k].n && step == want[k].step[got.n] && epoch == want[k].epoch[got.n]);
            got.n++;
        }
        fclose(f);
        assert_int_equal(got.n, want[k].n);
        assert_int_equal(end.step, want[k].step[got.n - 1]);
        assert_int_equal(end.epoch, end.step / STEPS);
    }
}

/* ---- what is kept -------------------------------------------------------------------------------------- */

static void test_kept(void **state)
{
    (void)state;
    static const struct { const char *keys; bool best; int n, epochs[8]; } want[] = {
        { "{train: {epochs: 5}, keep: {every: 1, last: 2}}", true, 2, { 4, 5 } },
        { "{train: {epochs: 7}, keep: {every: 2, last: 2}}", true, 2, { 4, 6 } },
        { "{train: {epochs: 4}, keep: {every: 2, last: 0}}", true, 0, { 0 } },
        { "{train: {epochs: 4}, keep: {every: off, last: 3, best: 0}}", false, 0, { 0 } },
        { "{train: {epochs: 5, steps: 7}, keep: {every: 1, last: 9}}", true, 2, { 1, 2 } } };
    const char *reason;
    SCRIPT(1, 2, 3);
    for (int k = 0; k < countof(want); k++) {
        ran("kept", want[k].keys, &reason);
        assert_true(there("last.safetensors") && there("last.state"));
        assert_int_equal(there("best.safetensors"), want[k].best);
        int n = 0;
        for (int e = 1; e < 12; e++)
            if (there(arena_printf(scratch_arena, "epoch_%04d.safetensors", e)) && ++n)
                if (n > want[k].n || want[k].epochs[n - 1] != e)
                    fail_msg("%s: epoch %d is there", want[k].keys, e);
        assert_int_equal(n, want[k].n);
    }
    assert_false(same_file("kept/ckpt/last.safetensors", "kept/ckpt/epoch_0002.safetensors"));    // of step 7
}

static void head_of(const char *path, const char *name, f32 out[24])
{
    ckpt *c = ckpt_open(path);
    assert_non_null(c);
    const tensor *t = ckpt_find(c, name);
    assert_true(t && t->count == 24 && !tensor_to_f32(t, out));
    ckpt_close(c);
}

/* Averaged weights are what is evaluated and saved as the model; the state keeps both. */
static void test_averaged(void **state)
{
    (void)state;
    const char *reason;
    SCRIPT(1, 2, 3);
    ran("ema", "train: {epochs: 3, ema: 0.5}", &reason);
    struct { const char *file; const char *prefix; bool same; } of[] = {
        { "last.safetensors", "", true }, { "best.safetensors", "", true },
        { "epoch_0003.safetensors", "", true }, { "epoch_0002.safetensors", "", false },
        { "last.state", "ema.", true }, { "last.state", "", false } };
    for (int k = 0; k < countof(of); k++) {
        f32 x[24], y[24];
        head_of(arena_printf(scratch_arena, "%s/ckpt/%s", folder, of[k].file),
                arena_printf(scratch_arena, "%shead.weight", of[k].prefix), x);
        head_of(arena_printf(scratch_arena, "%s/ckpt/last.state", folder), "ema.head.weight", y);
        assert_int_equal(memcmp(x, y, 4 * 24) == 0, of[k].same);
        if (k == 0) {                             // the head lies last
            bool found = false;
            for (int i = 0; i + 24 <= countof(evaluated) && !found; i++)
                found = !memcmp(evaluated + i, x, 4 * 24);
            assert_true(found);
        }
    }
    f32 with[24], without[24];                    // averaging leaves what is trained alone
    head_of(arena_printf(scratch_arena, "%s/ckpt/last.state", folder), "head.weight", with);
    ran("raw", "train: {epochs: 3}", &reason);
    head_of(arena_printf(scratch_arena, "%s/ckpt/last.safetensors", folder), "head.weight", without);
    assert_memory_equal(with, without, sizeof with);
}

/* ---- what is logged ------------------------------------------------------------------------------------ */

/* Loss, rate and norm every log.every steps, at the end of each epoch and of the run; the rate is the
 * schedule's at that very step. */
static void test_logged(void **state)
{
    (void)state;
    static const int want[] = { 2, 3, 4, 6, 7 };
    const char *reason;
    SCRIPT(1);
    ran("log", "{train: {epochs: 4, steps: 7}, log: {every: 2}}", &reason);
    struct spec s = experiment("train: {epochs: 4}");
    char line[2048];
    int n = 0;
    FILE *f = fopen(arena_printf(scratch_arena, "%s/metrics.jsonl", folder), "r");
    while (fgets(line, sizeof line, f)) {
        json_t *j = json_loads(line, 0, NULL);
        assert_non_null(j);
        if (!strcmp(json_string_value(json_object_get(j, "split")), "train")) {
            i64 step = json_integer_value(json_object_get(j, "step"));
            f64 lr = json_number_value(json_object_get(j, "lr"));
            assert_true(n < countof(want) && step == want[n++]);
            assert_int_equal(json_integer_value(json_object_get(j, "epoch")), (step - 1) / STEPS + 1);
            assert_true(fabs(lr - 1e-2 * schedule_factor(&s, step - 1, STEPS)) < 1e-7 * lr);
            f64 loss = json_number_value(json_object_get(j, "loss"));
            f64 norm = json_number_value(json_object_get(j, "grad_norm"));
            assert_true(loss > .3 && loss < 3 && norm > 0 && norm < 100);
        }
        json_decref(j);
    }
    fclose(f);
    assert_int_equal(n, countof(want));
}

/* Each epoch has an order and crops of its own: at a rate of nothing losses differ by their data alone. */
static void test_epochs_differ(void **state)
{
    (void)state;
    const char *reason;
    f64 loss[3 * STEPS];
    int n = 0;
    SCRIPT(1);
    ran("still", "{train: {epochs: 3}, optim: {lr: 0}, model: {drop_path: off}, log: {every: 1}}", &reason);
    char line[2048];
    FILE *f = fopen(arena_printf(scratch_arena, "%s/metrics.jsonl", folder), "r");
    while (fgets(line, sizeof line, f)) {
        const char *p = strstr(line, "\"loss\":");
        if (strstr(line, "\"split\":\"train\"") && n < 3 * STEPS)
            loss[n++] = atof(p + 7);
    }
    fclose(f);
    assert_int_equal(n, 3 * STEPS);
    for (int i = 0; i < n; i++)
        for (int j = 0; j < i; j++)
            assert_true(loss[i] != loss[j]);
}

/* ---- in pieces ----------------------------------------------------------------------------------------- */

/* Stopped here and there, and resumed: weights, state and the best come out the same to the bit. */
static void test_pieces(void **state)
{
    (void)state;
    const char *reason;
    const char *keys = "{eval: {patience: 2}, train: {epochs: 9, ema: 0.5}, keep: {every: 2, last: 1}}";
    SCRIPT(10, 30, 20, 30, 25, 99);
    struct position end, whole = ran("whole", keys, &reason);
    assert_true(whole.epoch == 4 && whole.best_epoch == 2 && whole.since_best == 2);
    static const i64 stops[] = {
        1, 2, 4, 5, 8, 11 };      // looks at the flag: after a step, and an epoch's last
    for (int k = 0; k < countof(stops); k++) {
        fail_clear();
        assert_int_equal(run_loop("parts", keys, false, stops[k], &end, &reason), -1);
        assert_int_equal(fail_fault(), FAULT_STOPPED);
        assert_true(end.step < whole.step);
        fail_clear();
        assert_int_equal(run_loop("parts", keys, true, -1, &end, &reason), 0);
        assert_string_equal(reason, "patience");
        assert_memory_equal(&end, &whole, sizeof end);
        assert_true(same_file("parts/ckpt/last.safetensors", "whole/ckpt/last.safetensors"));
        assert_true(same_file("parts/ckpt/best.safetensors", "whole/ckpt/best.safetensors"));
        assert_true(same_file("parts/ckpt/last.state", "whole/ckpt/last.state"));
    }
    fail_clear();                                 // what has ended stays so
    assert_int_equal(run_loop("parts", keys, true, -1, &end, &reason), 0);
    assert_true(end.step == whole.step && calls == 0 && !strcmp(reason, "patience"));
}

static int begin(void **state)
{
    memory_open(state);
    say_setup((struct say_options){ SAY_QUIET, 0, true });
    setenv("XDG_CONFIG_HOME", "/nonexistent", 1);
    unsetenv("JETCL_DATA");
    make_set();
    return memory_close(state);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, memory_open, memory_close)
    const struct CMUnitTest tests[] = {
        TEST(test_patience), TEST(test_metric), TEST(test_when), TEST(test_kept), TEST(test_averaged),
        TEST(test_logged), TEST(test_epochs_differ), TEST(test_pieces) };
    return cmocka_run_group_tests(tests, begin, scratch_close);
}
