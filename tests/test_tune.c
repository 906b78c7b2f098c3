/* test_tune.c: the tuning file: made by measuring, read back, ignored where it is damaged or another's, and
 * part of what makes a run repeat. */
#include "unit.h"
#include "bench/tune.h"
#include <math.h>
#include <stdlib.h>

#define FOLDER "build/test_tune_cache"
#define SHAPE_KEY "nt.37x48x300"

static char path[4200];

static dev *open_device(void)
{
    dev *d = dev_open(NULL);
    assert_non_null(d);
    dev_tune_path(d, path);
    return d;
}

/* A file with two rows for the shape that product() computes. Its hash. */
static void write_rows(char hash[20])
{
    remove(path);
    dev *d = open_device();
    dev_tune_set(d, "matmul", SHAPE_KEY, "SPLIT_K", 64);
    dev_tune_set(d, "matmul", SHAPE_KEY, "GROUPS", 3);
    assert_int_equal(dev_tune_save(d), 0);
    snprintf(hash, 20, "%s", dev_info(d)->tuning);
    dev_close(d);
}

static void test_read_back(void **state)
{
    (void)state;
    char hash[20];
    write_rows(hash);
    dev *d = open_device();
    assert_string_equal(dev_info(d)->tuning, hash);
    assert_int_equal(strlen(hash), 16);
    assert_int_equal(dev_tune_for(d, "matmul", SHAPE_KEY, "SPLIT_K"), 64);
    assert_int_equal(dev_tune_for(d, "matmul", SHAPE_KEY, "GROUPS"), 3);
    assert_int_equal(dev_tune_for(d, "matmul", "nt.37x48x301", "GROUPS"), dev_tune(d, "matmul", "GROUPS"));
    dev_tune_drop(d, "matmul", SHAPE_KEY);
    assert_int_equal(dev_tune_for(d, "matmul", SHAPE_KEY, "SPLIT_K"), dev_tune(d, "matmul", "SPLIT_K"));
    dev_close(d);
    trace_set("no_tuning");
    d = open_device();
    assert_string_equal(dev_info(d)->tuning, "");
    assert_int_equal(dev_tune_for(d, "matmul", SHAPE_KEY, "SPLIT_K"), dev_tune(d, "matmul", "SPLIT_K"));
    dev_close(d);
    trace_set("");
}

static void assert_ignored(void)
{
    dev *d = open_device();
    assert_string_equal(dev_info(d)->tuning, "");
    assert_int_equal(dev_tune_for(d, "matmul", SHAPE_KEY, "SPLIT_K"), dev_tune(d, "matmul", "SPLIT_K"));
    dev_close(d);
}

static void test_damaged(void **state)
{
    (void)state;
    char hash[20];
    write_rows(hash);
    arena *a = arena_open("test");
    size_t n;
    char *text = file_text(a, path, &n);
    for (size_t i = 0; i < n; i += 1 + n / 40) {
        text[i] ^= 1;
        assert_int_equal(file_save(path, text, n), 0);
        assert_ignored();
        text[i] ^= 1;
        assert_int_equal(file_save(path, text, i), 0);
        assert_ignored();
    }
    assert_int_equal(file_save(path, arena_printf(a, "%s\nmore", text), n + 5), 0);
    assert_ignored();
    dev *d = open_device();                       // another class's, under this one's name
    enum dev_class own = dev_class(d);
    dev_force_class(d, own == DEV_CPU ? DEV_GPU : DEV_CPU);
    dev_tune_set(d, "matmul", SHAPE_KEY, "SPLIT_K", 64);
    assert_int_equal(dev_tune_save(d), 0);
    char other[4200];
    dev_tune_path(d, other);
    dev_close(d);
    assert_string_not_equal(other, path);
    assert_int_equal(rename(other, path), 0);
    assert_ignored();
    arena_close(a);
}

static void product(f32 *out)
{
    static f32 x[37 * 300], w[48 * 300];
    rng r = rng_at(2, RNG_TEST, 0, 0);
    for (int i = 0; i < countof(x); i++)
        x[i] = (f32)rng_normal(&r);
    for (int i = 0; i < countof(w); i++)
        w[i] = (f32)rng_normal(&r);
    dev *d = open_device();
    graph *g = graph_new(d);
    node *a = graph_input(g, "x", F32, SHAPE(37, 300)), *b = graph_input(g, "w", F32, SHAPE(48, 300));
    node *y = node_keep(op_matmul(a, b, TRANS_B));
    char key[64];
    matmul_key(y, key);
    assert_string_equal(key, SHAPE_KEY);
    assert_true(!graph_compile(g) && !node_write(a, x) && !node_write(b, w));
    assert_true(!graph_run(g) && !node_read(y, out));
    graph_free(g);
    dev_close(d);
}

static void test_repeats(void **state)
{
    (void)state;
    static f32 shipped[37 * 48], one[37 * 48], two[37 * 48];
    char hash[20];
    remove(path);
    product(shipped);
    write_rows(hash);
    product(one);
    product(two);
    assert_memory_equal(one, two, sizeof one);
    for (int i = 0; i < countof(one); i++)
        assert_true(fabsf(one[i] - shipped[i]) < 1e-3f);
}

/* Is key what a product or attention of the step's graph asks for its tunables by? */
static bool learner_asks(const struct learner *l, const char *key)
{
    char k[64];
    for (size_t i = 0; i < l->g->n; i++) {
        const node *n = l->g->nodes[i];
        if (n->op == &matmul_op)
            matmul_key(n, k);
        else if (n->op == &attention_op)
            attention_key(n, k);
        else
            continue;
        if (!strcmp(k, key))
            return true;
    }
    return false;
}

static void check_rows(const struct tune_row *rows, int n)
{
    for (int i = 0; i < n; i++) {
        assert_true(rows[i].uses >= 1 && rows[i].shipped_ms > 0 && rows[i].best_ms > 0);
        assert_true(rows[i].ratio > 0 && rows[i].ratio <= 1);
        assert_true((rows[i].ratio == 1) == !*rows[i].choice);
    }
}

/* A model's shapes are those of its own step, types included: rows under any other name would never be read. */
static void tune_in(const char *precision, const char *type)
{
    arena *a = arena_open("test");
    struct spec s;
    struct tune_row *rows;
    struct learner l;
    int typed = 0;
    char hash[20];
    write_rows(hash);
    const char *net = "model: {arch: vit, image: 16, patch: 4, dim: 32, depth: 1, heads: 2, classes: 3}\n"
                      "train: {batch: 4, precision: %s}\n";
    assert_int_equal(spec_parse(&s, a, "test", arena_printf(a, net, precision), NULL, 0), 0);
    dev *d = open_device();
    int n = tune_model(a, &s, d, 2, &rows);
    if (n < 1)
        fail_msg("%d: %s", n, fail_message());
    check_rows(rows, n);
    snprintf(hash, sizeof hash, "%s", dev_info(d)->tuning);
    assert_int_equal(dev_tune_for(d, "matmul", SHAPE_KEY, "SPLIT_K"), 64);     // other models' rows stay
    dev_close(d);
    d = open_device();
    assert_string_equal(dev_info(d)->tuning, hash);
    params *p = model_open(d, &s, PARAMS_TRAIN);
    assert_non_null(p);
    s.train.accumulate = 1;
    assert_int_equal(learner_open(&l, &s, d, p), 0);
    for (int i = 0; i < n; i++) {
        if (!learner_asks(&l, rows[i].shape))
            fail_msg("no node of the step asks for %s %s", rows[i].kernel, rows[i].shape);
        const char *dot = strrchr(rows[i].shape, '.');
        typed += dot && text_starts(dot + 1, type);
    }
    assert_int_equal(typed > 0, *type != '-');
    learner_close(&l);
    params_free(p);
    dev_close(d);
    arena_close(a);
}

static void test_tunes(void **state)
{
    (void)state;
    tune_in("fp32", "-");
    tune_in("bf16", "BF16");
    tune_in("fp16", "F16");
}

/* What was measured in F32 says nothing of the kernels of half types. */
static void test_types_apart(void **state)
{
    (void)state;
    char key[64];
    dev *d = open_device();
    graph *g = graph_new(d);
    node *x = graph_input(g, "x", BF16, SHAPE(37, 300)), *w = graph_input(g, "w", F32, SHAPE(48, 300));
    node *y = op_matmul(x, w, TRANS_B);
    matmul_key(y, key);
    assert_string_equal(key, SHAPE_KEY ".BF16a");
    y->type = BF16;
    matmul_key(y, key);
    assert_string_equal(key, SHAPE_KEY ".BF16ac");
    dev_tune_set(d, "matmul", SHAPE_KEY, "GROUPS", 77);
    assert_int_not_equal(dev_tune_for(d, "matmul", key, "GROUPS"), 77);
    dev_tune_set(d, "matmul", key, "GROUPS", 78);
    assert_int_equal(dev_tune_for(d, "matmul", key, "GROUPS"), 78);
    graph_free(g);
    dev_close(d);
}

static int setup(void **state)
{
    (void)state;
    dev_set_cache_dir(FOLDER);
    trace_set("");
    dev *d = dev_open(NULL);
    if (!d)
        return -1;
    dev_tune_path(d, path);
    bool real = dev_class(d) != DEV_NULL;
    dev_close(d);
    return real ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read_back), cmocka_unit_test(test_damaged), cmocka_unit_test(test_repeats),
        cmocka_unit_test(test_tunes), cmocka_unit_test(test_types_apart),
    };
    say_setup((struct say_options){ SAY_QUIET, 0, true });
    const char *device = getenv("JETCL_DEVICE");
    return device && !strcmp(device, "null") ? 0 : cmocka_run_group_tests(tests, setup, NULL);
}
