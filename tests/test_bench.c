/* test_bench.c: measurements have the names and numbers that bench.h promises. Their sizes are not tested. */
#include "unit.h"
#include "bench/bench.h"

static dev *device;

static void test_names(void **state)
{
    (void)state;
    bench *b = bench_open(device, &(struct bench_options){ .batch = 2, .seconds = .001 });
    assert_non_null(b);
    bool found = false;
    for (int i = 0; i < bench_count(b); i++) {
        for (int k = 0; k < i; k++)
            assert_string_not_equal(bench_name(b, i), bench_name(b, k));
        found |= !strcmp(bench_name(b, i), "matmul.tn.576x192x394");
        assert_true(bench_matches(b, i, bench_name(b, i)));
    }
    assert_true(found);
    assert_true(bench_matches(b, 0, "peak") && bench_matches(b, 0, "peak.fma"));
    assert_false(bench_matches(b, 0, "pea"));
    assert_false(bench_matches(b, 0, "peak.f"));
    bench_close(b);
}

static void test_numbers(void **state)
{
    (void)state;
    static const char *const words[] = {
        "peak", "step.vit_s32", "layernorm", "cross_entropy", "matmul.tn.192x192", "square_sum"
    };
    bench *b = bench_open(device, &(struct bench_options){ .batch = 1, .seconds = .001 });
    assert_non_null(b);
    for (int i = 0; i < bench_count(b); i++)
        for (int k = 0; k < countof(words); k++) {
            struct bench_result r;
            if (!text_starts(bench_name(b, i), words[k]))
                continue;
            assert_int_equal(bench_run(b, i, &r), 0);
            assert_string_equal(r.name, bench_name(b, i));
            assert_true(r.min_ms > 0 && r.median_ms >= r.min_ms);
            assert_true(r.gflops > 0 || r.gb_s > 0);
            assert_true(k ? r.of_peak > 0 : r.of_peak == 0);
        }
    bench_close(b);
}

static int setup(void **state) { (void)state; return (device = dev_open(NULL)) ? 0 : -1; }
static int teardown(void **state) { (void)state; dev_close(device); return 0; }

int main(void)
{
    say_setup((struct say_options){ SAY_QUIET, 0, true });
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_names), cmocka_unit_test(test_numbers) };
    return cmocka_run_group_tests(tests, setup, teardown);
}
