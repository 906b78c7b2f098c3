/* test_compared.c: comparisons of runs whose loss is not a number, and charts of values that rounding alone tells apart. */
#include "unit.h"
#include "study/analyse.h"
#include "study/compare.h"
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

static struct record losses(f64 *v, int n)
{
    return (struct record){ .label = "a", .device = "d", .platform = "p", .driver = "v", .program = "j", .experiment = "",
                            .precision = "fp32", .settings = "", .loss = v, .n_loss = n };
}

static void compare(f64 *x, f64 *y, bool agree)
{
    arena *a = arena_open("test");
    struct record p = losses(x, 3), q = losses(y, 3);
    struct comparison c;
    char *text = NULL;
    size_t n;
    compare_records(&c, a, &p, &q, 0);
    assert_int_equal(c.agree, agree);
    FILE *f = open_memstream(&text, &n);
    assert_int_equal(compare_json(f, (const struct record *[]){ &p, &q }, 2, &c, 1), 0);
    fclose(f);
    json_t *j = json_loads(text, 0, NULL), *pairs = json_object_get(j, "pairs");
    assert_int_equal(json_array_size(pairs), 1);
    assert_int_equal(json_is_true(json_object_get(json_array_get(pairs, 0), "agree")), agree);
    json_decref(j);
    free(text);
    arena_close(a);
}

static void a_loss_that_is_no_number_differs(void **state)
{
    (void)state;
    compare((f64[]){ 2, 1, NAN }, (f64[]){ 2, 1, 0.5 }, false);
    compare((f64[]){ 2, 1, 0.5 }, (f64[]){ 2, NAN, NAN }, false);
    compare((f64[]){ 2, 1, INFINITY }, (f64[]){ 2, 1, NAN }, false);
    compare((f64[]){ 2, INFINITY, NAN }, (f64[]){ 2, INFINITY, NAN }, true);
    compare((f64[]){ 2, 1, 0.5 }, (f64[]){ 2, 1, 0.5 }, true);
}

/* Shares of experts that get the same: 100 / 3 in two roundings. Steps of that axis would be lost when added. */
static void a_flat_chart_ends(void **state)
{
    (void)state;
    f64 x[] = { 1, 2 }, y[] = { 100 / 3.0, nextafter(100 / 3.0, 100) };
    struct chart_series s = { "one", 2, x, y };
    char path[] = "/tmp/jetcl-chart-XXXXXX";
    int file = mkstemp(path);
    assert_true(file >= 0);
    close(file);
    alarm(20);
    assert_int_equal(chart_lines(path, "t", "x", "y", &s, 1), 0);
    alarm(0);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(a_loss_that_is_no_number_differs),
                                        cmocka_unit_test(a_flat_chart_ends) };
    return cmocka_run_group_tests_name("compared", tests, NULL, NULL);
}
