/* test_dev.c: the device runtime, on the device JETCL_DEVICE chooses and on the null device. */
#include "unit.h"
#include "dev/dev.h"

static void test_roundtrip(void **state)
{
    (void)state;
    dev *d = dev_open(NULL);
    if (!d) fprintf(stderr, "%s\n", fail_message());
    assert_non_null(d);
    mem *m = mem_new(d, 8192, "m");
    assert_non_null(m);
    float in[1000], out[1000];
    for (int i = 0; i < 1000; i++) in[i] = (float)i;
    range x = { m, 0, 4000 }, y = { m, 4096, 4000 };
    assert_int_equal(mem_write(d, x, in), 0);
    launches *l = launches_new(d, "demo");
    i32 wg = dev_tune(d, "copy", "WG");
    launch_add(l, &(launch){ .file = "copy", .kernel = "copy_scaled", .defs = "-DWG=1", .global = { ROUND_UP(1000, wg) }, .local = { wg },
        .args = { ARG_RANGE(x), ARG_RANGE(y), ARG_INT(1000), ARG_REAL(2) } });
    launch_add(l, &(launch){ .file = "map", .kernel = "map_inc", .source = "__kernel void map_inc(__global float *x) { x[get_global_id(0)] += 1; }", .global = { 1000 }, .local = { 1 },
        .args = { ARG_RANGE(y) } });
    if (launches_compile(l)) fail_in("x"), fprintf(stderr, "%s\n", fail_message());
    assert_int_equal(launches_run(l), 0);
    assert_int_equal(mem_read(d, y, out), 0);
    for (int i = 0; dev_class(d) != DEV_NULL && i < 1000; i++) assert_true(out[i] == 2 * in[i] + 1);
    f64 s[2];
    assert_int_equal(launches_time(l, s), 0);
    assert_true(dev_class(d) == DEV_NULL || s[0] > 0 && s[1] > 0);
    assert_int_equal(dev_finish(d), 0);
    launches_free(l);
    mem_free(m);
    dev_close(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_roundtrip) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
