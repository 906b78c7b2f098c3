/* test_lanes.c: CPUs of other vectors and caches than this one's (JETCL_FAKE, JETCL_LANES): what shapes follow
 * from them, and that the kernels so shaped give what the plain ones give. */
#include "unit.h"
#include "autograd/autograd.h"
#include "fuse/fuse.h"
#include "op/product.h"
#include <math.h>
#include <stdlib.h>

enum { MOST = 1 << 16, OUTS = 4 };
struct values { int outs; i64 n[OUTS]; f32 *v[OUTS]; };

/* ---- shapes -------------------------------------------------------------------------------------------- */

static dev *open_as(const char *variable, const char *value, const char *spec)
{
    setenv(variable, value, 1);
    dev *d = dev_open(spec);
    unsetenv(variable);
    if (!d)
        fail_msg("%s=%s: %s", variable, value, fail_message());
    return d;
}

static void test_shapes(void **state)
{
    (void)state;
    static const struct { const char *fake; int rows, vectors; i64 fit[3][2]; } want[] = {
        { "avx512", 8, 3, { { 768, 147456 }, { 256, 61440 }, { 256, 12288 } } },
        { "avx2", 6, 1, { { 672, 73728 }, { 160, 30720 }, { 512, 8192 } } },
        { "sse", 2, 1, { { 2048, 73728 }, { 160, 30720 }, { 512, 8192 } } },
        { "neon", 6, 1, { { 1360, 147456 }, { 336, 61440 }, { 1024, 16384 } } },
    };
    for (int k = 0; k < countof(want); k++) {
        dev *d = open_as("JETCL_FAKE", want[k].fake, "null");
        struct product_tile t = product_tile(dev_info(d));
        assert_int_equal(dev_class(d), DEV_CPU);
        assert_int_equal(t.rows, want[k].rows);
        assert_int_equal(t.vectors, want[k].vectors);
        for (int f = 0; f < 3; f++) {             // A in rows, A transposed, few rows
            struct product_fit fit = product_fit(dev_info(d), f == 1, f == 2);
            assert_int_equal(fit.kb, want[k].fit[f][0]);
            assert_int_equal(fit.pack, want[k].fit[f][1]);
        }
        dev_close(d);
    }
}

/* Sums never take more registers than there are, whatever the machine. */
static void test_tiles_fit(void **state)
{
    (void)state;
    for (u32 lanes = 4; lanes <= 64; lanes *= 2)
        for (u32 registers = 16; registers <= 32; registers *= 2) {
            struct dev_info i = { .simd = lanes, .registers = registers };
            struct product_tile t = product_tile(&i);
            assert_true((t.rows + 1) * t.vectors * (int)MAX(16 / lanes, 1) + 2 <= (int)registers);
        }
}

/* This machine's caches are known, and its cores counted. */
static void test_host(void **state)
{
    (void)state;
    struct dev_host h;
    struct dev_info *all;
    arena *a = arena_open("devices");
    int n = dev_list(a, &all);
    dev_host(&h);
    assert_true(h.cpus >= 1 && h.cores >= 1 && h.cores <= h.cpus && h.nodes >= 1);
    for (int i = 0; i < n; i++)
        if (all[i].cpu_kind) {
            assert_true(all[i].cache[0] >= 4 << 10 && all[i].cache[0] <= all[i].cache[1]);
            assert_true(*all[i].cache_from && all[i].registers >= 16);
        }
    arena_close(a);
}

static void test_wrong_words(void **state)
{
    (void)state;
    static const char *const words[][2] = {
        { "JETCL_LANES", "5" }, { "JETCL_LANES", "x" }, { "JETCL_LANES", "32" }, { "JETCL_FAKE", "avx3" },
        { "JETCL_FAKE", "avx2,l1=0" },
    };
    for (int i = 0; i < countof(words); i++) {
        setenv(words[i][0], words[i][1], 1);
        assert_null(dev_open(strcmp(words[i][0], "JETCL_FAKE") ? "cpu" : "null"));
        assert_non_null(strstr(fail_message(), words[i][0]));
        unsetenv(words[i][0]);
        fail_clear();
    }
}

/* ---- results ------------------------------------------------------------------------------------------- */

/* A node of inputs x, of the case's shape. */
struct lanes_case { const char *name; struct shape in[3]; int n; node *(*build)(node **x); };

static node *lanes_attention(node **x) { return op_attention(x[0], 2); }
static node *lanes_products(node **x)  { return op_matmul(op_gelu(op_matmul(x[0], x[1], TRANS_B)), x[2], 0); }
static node *lanes_experts(node **x)   { return op_matmul(x[0], x[1], 0); }
static node *lanes_depthwise(node **x) { return op_depthwise(x[0], x[1], x[2]); }
static node *lanes_norm(node **x)      { return op_layernorm(x[0], x[1], x[2], 1e-5f); }
static node *lanes_softmax(node **x)   { return op_add(op_softmax(x[0], 0), op_entmax15(x[0])); }

static const struct lanes_case cases[] = {
    { "attention", { SHAPE(2, 37, 6 * 17) }, 1, lanes_attention },
    { "attention_65", { SHAPE(1, 65, 6 * 32) }, 1, lanes_attention },
    { "products", { SHAPE(97, 33), SHAPE(131, 33), SHAPE(131, 17) }, 3, lanes_products },
    { "long_products", { SHAPE(7, 1471), SHAPE(5, 1471), SHAPE(5, 31) }, 3, lanes_products },
    { "experts", { SHAPE(5, 3, 97), SHAPE(5, 97, 65) }, 2, lanes_experts },
    { "depthwise", { SHAPE(2, 15, 9, 37), SHAPE(37, 1, 7, 7), SHAPE(37) }, 3, lanes_depthwise },
    { "norm", { SHAPE(31, 67), SHAPE(67), SHAPE(67) }, 3, lanes_norm },
    { "softmax", { SHAPE(33, 71) }, 1, lanes_softmax },
};

static void run_case(dev *d, const struct lanes_case *c, arena *a, struct values *to)
{
    graph *g = graph_new(d);
    node *x[3], *out[OUTS];
    static f32 v[MOST];
    for (int i = 0; i < c->n; i++)
        x[i] = graph_input(g, "x", F32, c->in[i]);
    out[0] = node_keep(c->build(x));
    grad_build_from(out[0], op_square(out[0]), x, c->n, out + 1);
    to->outs = c->n + 1;
    for (int i = 1; i < to->outs; i++)
        node_keep(out[i]);
    simplify_graph(g);
    if (graph_compile(g))
        fail_msg("%s: %s", c->name, fail_message());
    for (int s = 0; s < g->plan->n_slabs; s++)
        mem_fill(d, (range){ g->slabs[s], 0, mem_bytes(g->slabs[s]) }, 0x7fc00000);
    for (int i = 0; i < c->n; i++) {
        LOOP(j, node_count(x[i])) v[j] = sinf((f32)(1.3 * (f64)j + 2.1 * i + 1));
        node_write(x[i], v);
    }
    assert_int_equal(graph_run(g), 0);
    for (int i = 0; i < to->outs; i++) {
        to->n[i] = node_count(out[i]);
        assert_in_range(to->n[i], 1, MOST);
        to->v[i] = arena_array(a, f32, to->n[i]);
        assert_int_equal(node_read(out[i], to->v[i]), 0);
    }
    graph_free(g);
}

static void near(const struct values *got, const struct values *want, const char *what, const char *as)
{
    for (int i = 0; i < want->outs; i++) {
        f32 top = 0;
        LOOP(j, want->n[i]) top = fmaxf(top, fabsf(want->v[i][j]));
        LOOP(j, want->n[i])
            if (!(fabsf(got->v[i][j] - want->v[i][j]) <= 2e-5f * (top + 1e-3f)))
                fail_msg("%s as %s: value %d of result %d is %.9g, plain %.9g", what, as, (int)j, i,
                         (f64)got->v[i][j], (f64)want->v[i][j]);
    }
}

static void test_results(void **state)
{
    (void)state;
    static const char *const as[][2] = {
        { "JETCL_LANES", "4" }, { "JETCL_LANES", "8" }, { "JETCL_LANES", "16" }, { "JETCL_FAKE", "avx2" },
        { "JETCL_FAKE", "neon,l1=16,l2=128" },
    };
    struct dev_info *all;
    arena *a = arena_open("lanes");
    struct values want[countof(cases)], got;
    bool cpu = false;
    int n = dev_list(a, &all);
    for (int i = 0; i < n; i++)
        cpu |= all[i].cpu_kind;
    if (!cpu) {
        arena_close(a);
        skip();
    }
    dev *plain = dev_open("cpu");
    assert_non_null(plain);
    dev_force_plain(plain);
    for (int k = 0; k < countof(cases); k++)
        run_case(plain, &cases[k], a, &want[k]);
    dev_close(plain);
    for (int i = 0; i < countof(as); i++) {
        dev *d = open_as(as[i][0], as[i][1], "cpu");
        for (int k = 0; k < countof(cases); k++) {
            run_case(d, &cases[k], a, &got);
            near(&got, &want[k], cases[k].name, as[i][1]);
        }
        dev_close(d);
    }
    arena_close(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shapes), cmocka_unit_test(test_tiles_fit), cmocka_unit_test(test_host),
        cmocka_unit_test(test_wrong_words), cmocka_unit_test(test_results),
    };
    say_setup((struct say_options){ SAY_QUIET, 0, true });
    return cmocka_run_group_tests(tests, NULL, NULL);
}
