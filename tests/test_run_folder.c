/* test_run_folder.c: the run folder: what is in it, when it is refused, how it continues after a stop, and a
 * disk that is full. */
#include "unit.h"
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include "log/log.h"

static arena *a;
static char   folder[64];

static int begin(void **state)
{
    (void)state;
    a = arena_open("test");
    say_setup((struct say_options){ SAY_QUIET, 0, true });
    snprintf(folder, sizeof folder, "/tmp/jetcl-report-XXXXXX");
    return !mkdtemp(folder) || setenv("XDG_CONFIG_HOME", folder, 1) || chdir(folder);
}

static int end(void **state)
{
    (void)state;
    arena_close(a);
    return chdir("/") || system(arena_printf(arena_open("rm"), "rm -rf %s", folder));
}

static struct spec experiment(const char *text)
{
    struct spec s;
    if (spec_parse(&s, a, "demo.yaml", text, NULL, 0))
        fail_msg("%s", fail_message());
    return s;
}

static report *opened(const struct spec *s, const char *out, const char *resume)
{
    char *line[] = { "jetcl", "train", "demo.yaml" };
    report *r = report_open(s, &(struct run_options){ .out = out, .resume = resume, .argc = 3, .argv = line },
                            NULL);
    if (!r)
        fail_msg("%s", fail_message());
    return r;
}

static void train_epochs(report *r, int from, int to)
{
    for (int e = from; e <= to; e++) {
        for (int i = 1; i <= 4; i++)
            report_tick(r, &(struct report_tick){ e, i, 4, ((e - from) * 4 + i) * 32, 0.01 * i });
        const struct report_step step = { e, e * 4, 3.25, 2.1e-3, 1.5, 6120ull << 20 };
        assert_int_equal(report_step(r, &step), 0);
        assert_int_equal(report_eval(r, &(struct run_eval){ e, e * 4, 100, 10.0 * e, 50, 2.5, 0.1 }), 0);
    }
}

static char *text_of(const char *path)
{
    char *text = file_text(a, path, NULL);
    if (!text)
        fail_msg("%s", fail_message());
    return text;
}

static int lines_of(const char *path)
{
    int n = 0;
    for (const char *p = text_of(path); (p = strchr(p, '\n')); p++)
        n++;
    return n;
}

static void test_files(void **state)
{
    (void)state;
    struct spec s = experiment("train: {epochs: 2}\nlog: {tensorboard: on}");
    report *r = opened(&s, "one/two", NULL);
    assert_string_equal(report_path(r, "ckpt/last.safetensors"), "one/two/ckpt/last.safetensors");
    train_epochs(r, 1, 2);
    struct run_result out, in;
    report_result(r, a, &out);
    out.params = 265411636;
    out.flops = 1.187e9;
    out.skipped = (const char *const[]){ "bad.jpg" };
    out.n_skipped = 1;
    assert_int_equal(result_load(a, "one/two", &in), 1);
    assert_int_equal(report_finish(r, &out), 0);
    report_close(r);
    assert_int_equal(result_load(a, "one/two", &in), 0);
    assert_true(in.params == 265411636 && in.flops == 1.187e9 && in.top1 == 20 && in.best_epoch == 2 &&
                in.epochs == 2 && in.steps == 8);
    assert_true(in.n_evals == 2 && in.evals[0].top1 == 10 && in.hash == spec_hash(&s));
    assert_string_equal(in.skipped[0], "bad.jpg");
    assert_string_equal(in.reason, "done");
    struct spec t;
    assert_int_equal(spec_load(&t, a, "one/two/config.yaml", NULL, 0), 0);
    assert_true(spec_hash(&t) == spec_hash(&s));
    json_t *env = json_load_file("one/two/env.json", 0, NULL);
    assert_string_equal(json_string_value(json_array_get(json_object_get(env, "command"), 2)), "demo.yaml");
    json_decref(env);
    char link[64] = "";
    assert_true(readlink("one/latest", link, sizeof link - 1) == 3);
    assert_string_equal(link, "two");
    assert_int_equal(lines_of("one/two/metrics.jsonl"), 4);
    char *metrics = text_of("one/two/metrics.jsonl");
    assert_non_null(strstr(metrics, "\"split\":\"train\",\"epoch\":1,\"step\":4,\"loss\":3.25,\"lr\":0.0021,"
                                    "\"grad_norm\":1.5,"));
    assert_non_null(strstr(metrics, "\"split\":\"eval\",\"epoch\":2,\"step\":8,\"loss\":2.5,\"top1\":20.0,"
                                    "\"top5\":50.0,\"n\":100,\"s\":0.1"));
}

static void test_not_a_number(void **state)
{
    (void)state;
    struct spec s = experiment("");
    report *r = opened(&s, "nan", NULL);
    assert_int_equal(report_step(r, &(struct report_step){ 1, 1, NAN, 1, INFINITY, 0 }), 0);
    report_close(r);
    assert_non_null(strstr(text_of("nan/metrics.jsonl"),
                           "\"loss\":null,\"nan\":true,\"lr\":1.0,\"grad_norm\":null"));
}

static void test_refusals(void **state)
{
    (void)state;
    struct spec s = experiment("");
    report_close(opened(&s, "used", NULL));
    assert_null(report_open(&s, &(struct run_options){ .out = "used" }, NULL));
    assert_int_equal(fail_fault(), FAULT_USAGE);
    assert_non_null(strstr(fail_message(), "used is not empty; --resume"));
    assert_int_equal(file_save("used/ckpt/last.state", "x", 1), 0);
    assert_int_equal(file_save("used/ckpt/notes.txt", "x", 1), 0);
    report_close(opened(&s, "used", ""));
    assert_true(file_exists("used/ckpt/last.state"));
    report_close(report_open(&s, &(struct run_options){ .out = "used", .force = true }, NULL));
    assert_true(!file_exists("used/ckpt/last.state") && file_exists("used/ckpt/notes.txt"));
    assert_null(report_open(&s, &(struct run_options){ .resume = "no/such" }, NULL));
    assert_int_equal(fail_fault(), FAULT_DATA);
    assert_null(report_open(&s, &(struct run_options){ .resume = "" }, NULL));
    assert_int_equal(fail_fault(), FAULT_DATA);
    assert_null(report_open(&s, &(struct run_options){ .out = "/proc/x" }, NULL));
    assert_int_equal(fail_fault(), FAULT_RUN);
    assert_null(report_open(&s, &(struct run_options){ .out = "used/config.yaml" }, NULL));
    struct run_result in;
    assert_int_equal(file_save("used/result.json", "{}", 2), 0);
    assert_int_equal(result_load(a, "used", &in), -1);
    assert_int_equal(file_save("used/result.json", "{", 1), 0);
    assert_int_equal(result_load(a, "used", &in), -1);
    assert_int_equal(fail_fault(), FAULT_DATA);
}

static void test_resume(void **state)
{
    (void)state;
    struct spec s = experiment("name: a/../b\ntrain: {epochs: 5}");
    report *r = opened(&s, NULL, NULL);
    const char *dir = report_path(r, "");
    assert_memory_equal(dir, "runs/a_.._b/", 12);
    dir = arena_printf(a, "%s", dir);
    train_epochs(r, 1, 3);
    report_close(r);
    const char *path = arena_printf(a, "%s/metrics.jsonl", dir);
    assert_int_equal(file_save(arena_printf(a, "%s/ckpt/last.state", dir), "x", 1), 0);
    FILE *f = fopen(path, "a");
    fputs("{\"t\":\"half a li", f);
    fclose(f);
    r = opened(&s, NULL, "");
    assert_int_equal(report_resume(r, 8, 8), 0);        // what came after step 8 comes again
    train_epochs(r, 3, 4);
    struct run_result out;
    report_result(r, a, &out);
    assert_int_equal(out.n_evals, 4);
    assert_true(out.evals[2].epoch == 3 && out.evals[3].epoch == 4);
    report_close(r);
    assert_int_equal(lines_of(path), 4 + 1 + 4);           // without those of epoch 3
    assert_null(strstr(text_of(path), "half"));
    const char *ckpt = arena_printf(a, "%s/ckpt/last.safetensors", dir);
    assert_int_equal(file_save(ckpt, "x", 1), 0);
    r = opened(&s, NULL, ckpt);
    assert_string_equal(report_path(r, ""), dir);
    report_result(r, a, &out);
    assert_int_equal(out.n_evals, 4);                      // of evaluations logged twice the later ones
    report_close(r);
}

static int lines(const char *path)
{
    size_t n;
    int count = 0;
    for (const char *p = file_text(a, path, &n); *p; p++)
        count += *p == '\n';
    return count;
}

/* What cannot be written waits, and a run without its metrics is not complete. */
static void test_full_disk(void **state)
{
    (void)state;
    struct spec s = experiment("");
    struct run_result result = { .reason = "done" };
    report_close(opened(&s, "full", NULL));
    unlink("full/metrics.jsonl");
    assert_int_equal(symlink("/dev/full", "full/metrics.jsonl"), 0);
    report *r = report_open(&s, &(struct run_options){ .out = "full", .force = true }, NULL);
    assert_non_null(r);
    assert_int_equal(report_event(r, "test", 1), 0);
    assert_int_equal(report_flush(r), -1);
    assert_string_equal(fail_message(), "full/metrics.jsonl: cannot write: No space left on device");
    assert_int_equal(report_finish(r, &result), -1);
    assert_false(file_exists("full/result.json"));
    report_close(r);
}

/* A disk that has room again: every line, once and in order, although one was written in part. */
static void test_full_for_a_while(void **state)
{
    (void)state;
    struct spec s = experiment("log: {tensorboard: on}");
    struct rlimit old, low;
    report *r = opened(&s, "while", NULL);
    struct stat st;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(report_event(r, "test", 0), 0);
    assert_int_equal(stat("while/metrics.jsonl", &st), 0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    low = (struct rlimit){ (rlim_t)st.st_size + 10, old.rlim_max };
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    for (int i = 1; i < 4; i++) {
        assert_int_equal(report_step(r, &(struct report_step){ .epoch = 1, .step = i, .loss = i }), 0);
        assert_int_equal(report_flush(r), -1);
    }
    assert_int_equal(lines("while/metrics.jsonl"), 1);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(report_event(r, "test", 4), 0);
    assert_int_equal(report_flush(r), 0);
    FILE *f = fopen("while/metrics.jsonl", "r");
    char line[2048];
    for (int i = 0; i < 5; i++) {
        assert_non_null(fgets(line, sizeof line, f));
        json_t *j = json_loads(line, 0, NULL);
        assert_int_equal(json_integer_value(json_object_get(j, "step")), i);
        json_decref(j);
    }
    assert_null(fgets(line, sizeof line, f));
    fclose(f);
    assert_int_equal(lines("while/metrics.csv"), 4);       // a head, and the three steps
    assert_int_equal(report_finish(r, &(struct run_result){ .reason = "done" }), 0);
    report_close(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files), cmocka_unit_test(test_not_a_number), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_resume), cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_full_for_a_while),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
