/* test_compared.c: comparisons of runs whose loss is not a number, and charts of values that rounding alone
 * tells apart. */
#include "unit.h"
#include "study/analyse.h"
#include "study/compare.h"
#include "study/nodecheck.h"
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

static struct record losses(f64 *v, int n)
{
    return (struct record){ .label = "a",
                            .device = "d",
                            .platform = "p",
                            .driver = "v",
                            .program = "j",
                            .experiment = "",
                            .precision = "fp32",
                            .settings = "",
                            .loss = v,
                            .n_loss = n };
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

static struct compared compare_one(struct record_tensor x, struct record_tensor y)
{
    arena *a = arena_open("test");
    f64 loss[] = { 1 };
    struct record p = losses(loss, 1), q = losses(loss, 1);
    struct comparison c;
    x.name = y.name = "gradient/head.weight";
    x.kind = y.kind = RECORD_GRADIENT;
    p.tensors = &x, q.tensors = &y, p.n = q.n = 1;
    compare_records(&c, a, &p, &q, 0);
    assert_int_equal(c.n, 1);
    struct compared out = c.list[0];
    assert_int_equal(c.agree, !out.beyond);
    arena_close(a);
    return out;
}

/* A hundred elements of which neither record kept one: only equal hashes say that they are the same. */
static void nothing_kept_shows_nothing(void **state)
{
    (void)state;
    f32 none[1] = { 0 };
    struct record_tensor t = { .count = 100, .n = 0, .v = none, .bound = 1e-6 }, known = t, other = t,
                         empty = t;
    known.hash = 7, other.hash = 8, empty.count = 0;
    assert_true(compare_one(t, t).beyond && !compare_one(t, t).equal);
    assert_true(compare_one(known, other).beyond);
    assert_true(compare_one(known, known).equal && !compare_one(known, known).beyond);
    assert_true(compare_one(empty, empty).equal);
}

/* The nudged twin's NaN must not lift the bound of the values beside it. */
static void a_bound_is_a_number(void **state)
{
    (void)state;
    f32 v[] = { 3, 4, 5 }, twin[] = { 3, NAN, 5 }, off[] = { 3, 4, 5.5f };
    struct record_tensor t = { .count = 3, .n = 3, .v = v }, u = { .count = 3, .n = 3, .v = off };
    record_spread(&t, twin, 0x1p-24);
    assert_true(t.bound > 0 && t.bound < 1e-5);
    assert_true(compare_one(t, u).beyond);
    twin[1] = 4 + 0x1p-20f;
    record_spread(&t, twin, 0x1p-24);                      // 8 (2^-20 / sqrt(50) + 2^-24)
    assert_true(fabs(t.bound - 8 * (0x1p-20 / sqrt(50) + 0x1p-24)) < 1e-12);
    assert_false(compare_one(t, t).beyond);
}

/* Weights after a step of Adam: in bf16 small gradients may change sign, in fp32 they may not by as much. */
static void coarser_steps_may_flip(void **state)
{
    (void)state;
    f32 v[100], off[100], far[100];
    for (int i = 0; i < 100; i++) {
        v[i] = 1e-3f;
        off[i] = i ? v[i] : -v[i];                          // one of a hundred: off by 2 sqrt(1 / 100)
        far[i] = i % 4 ? v[i] : -v[i];
    }
    static const struct { const char *precision; bool far, beyond; } row[] = {
        { "fp32", false, true }, { "bf16", false, false }, { "bf16", true, true } };
    for (int i = 0; i < countof(row); i++) {
        arena *a = arena_open("test");
        f64 loss[] = { 1 };
        struct record_tensor x = { .name = "after.1/head.bias", .kind = RECORD_AFTER, .step = 1, .count = 100,
                                   .n = 100, .v = v, .bound = 1e-8 }, y = x;
        struct record p = losses(loss, 1), q = losses(loss, 1);
        struct comparison c;
        y.v = row[i].far ? far : off;
        p.tensors = &x, q.tensors = &y, p.n = q.n = 1;
        q.precision = row[i].precision;
        compare_records(&c, a, &p, &q, 0);
        assert_int_equal(c.list[0].beyond, row[i].beyond);
        arena_close(a);
    }
}

/* The same on the same device: other bits are told, however near. On another device they are rounding. */
static void twins_have_equal_bits(void **state)
{
    (void)state;
    f32 v[] = { 1, 2 }, off[] = { 1, 2.0000002f };
    for (int other = 0; other < 2; other++) {
        arena *a = arena_open("test");
        f64 loss[] = { 1 };
        struct record_tensor x = { .name = "forward/logits", .kind = RECORD_FORWARD, .step = 1, .count = 2,
                                   .n = 2, .v = v, .bound = 1e-6 }, y = x;
        struct record p = losses(loss, 1), q = losses(loss, 1);
        struct comparison c;
        y.v = off;
        p.tensors = &x, q.tensors = &y, p.n = q.n = 1;
        q.device = other ? "another" : q.device;
        compare_records(&c, a, &p, &q, 0);
        assert_int_equal(c.agree, other);
        assert_true(other || strstr(c.verdict,
                                    "the same device gives other bits from step 1 on, first in logi"));
        arena_close(a);
    }
}

/* Legends take names of runs, which are folders: any bytes. */
static void a_chart_is_xml(void **state)
{
    (void)state;
    f64 x[] = { 1, 2 };
    struct chart_series s = { "a<b>&\"\x01\xff\xc3\xa9\xed\xa0\x80\xef\xbf\xbe", 2, x, x };
    char path[] = "/tmp/jetcl-chart-XXXXXX";
    int file = mkstemp(path);
    assert_true(file >= 0);
    close(file);
    assert_int_equal(chart_lines(path, "t", "x", "y", &s, 1), 0);
    arena *a = arena_open("test");
    assert_non_null(strstr(file_text(a, path, NULL), ">a&lt;b&gt;&amp;&quot;?" "?\xc3\xa9?????" "?</text>"));
    arena_close(a);
    unlink(path);
}

/* Shares of experts that get the same: 100 / 3 in two roundings. Steps of that axis would be lost when added.
 * */
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

static struct kernel_checks checked(arena *a, dev *d, const char *depth)
{
    struct spec s;
    const char *const texts[] = { "model.arch=vit", "model.image=16", "model.patch=8", "model.dim=16",
                                  "model.heads=2", "model.classes=3", "model.drop_path=off",
                                  "model.moe.layers=[]", depth };
    struct spec_set sets[countof(texts)];
    for (int i = 0; i < countof(texts); i++)
        sets[i] = (struct spec_set){ .by = "test", .text = texts[i] };
    struct kernel_checks c = kernel_checks_new(a);
    assert_int_equal(spec_load(&s, a, NULL, sets, countof(sets)), 0);
    assert_int_equal(nodecheck_network(&c, &s, d, 3), 0);
    assert_null(c.first);
    return c;
}

/* Blocks beyond the second bring no work of another kind, and none of it is passed over. */
static void each_work_is_checked_once(void **state)
{
    (void)state;
    arena *a = arena_open("test");
    dev *d = dev_open(NULL);
    if (!d || dev_class(d) == DEV_NULL) {
        dev_close(d);
        skip();
    }
    struct kernel_checks few = checked(a, d, "model.depth=3"), many = checked(a, d, "model.depth=7");
    assert_int_equal(few.nodes, many.nodes);
    assert_int_equal(few.n, many.n);
    assert_true(few.nodes > 40);
    dev_close(d);
    arena_close(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(a_loss_that_is_no_number_differs),
                                        cmocka_unit_test(nothing_kept_shows_nothing),
                                        cmocka_unit_test(a_bound_is_a_number),
                                        cmocka_unit_test(coarser_steps_may_flip),
                                        cmocka_unit_test(twins_have_equal_bits),
                                        cmocka_unit_test(a_chart_is_xml),
                                        cmocka_unit_test(a_flat_chart_ends),
                                        cmocka_unit_test(each_work_is_checked_once) };
    return cmocka_run_group_tests_name("compared", tests, NULL, NULL);
}
