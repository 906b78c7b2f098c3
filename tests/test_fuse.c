/* test_fuse.c: what becomes of several ops at once, in one launch, against the same ops one by one. */
#include "on_device.h"
#include "autograd/autograd.h"
#include "fuse/fuse.h"
#include <math.h>

/* Routing in one pass gives what the composed ops give, with the noise that they draw or are given. */
static void same_routing(bool drawn, bool entmax, f32 temperature)
{
    static f32 x[3 * 7 * 37], y[2][2][3 * 7 * 37], dx[2][3 * 7 * 37], dt[2];
    static step_words step = { .u = { [STEP_NUMBER] = 3, [STEP_SEED_LO] = 5 } };
    LOOP(i, countof(x)) x[i] = sinf((f32)i);
    for (int apart = 0; apart < 2; apart++) {
        trace_set(apart ? "no_join" : "");
        graph *g = graph_new(device);
        node *in = graph_input(g, "x", F32, SHAPE(3, 7, 37)), *t = graph_input(g, "t", F32, SCALAR);
        node *grad[2], *wrt[2] = { in, t };
        node *given = graph_input(g, "noise", F32, in->shape);
        struct routing r = op_route(in, t, t, drawn ? op_normal(g, in->shape, .5f) : given, entmax);
        grad_build_from(op_add(op_square(r.disp), r.comb), in, wrt, 2, grad);
        node_keep(r.disp), node_keep(r.comb), node_keep(grad[0]), node_keep(grad[1]);
        simplify_graph(g);
        assert_int_equal(graph_compile(g), 0);
        node_write(in, x), node_write(given, x), node_write(t, &temperature);
        assert_int_equal(graph_set_step(g, &step), 0);
        assert_int_equal(graph_run(g), 0);
        node_read(r.disp, y[apart][0]), node_read(r.comb, y[apart][1]);
        node_read(grad[0], dx[apart]), node_read(grad[1], &dt[apart]);
        graph_free(g);
    }
    trace_set("");
    LOOP(i, countof(x)) {
        assert_true(fabsf(y[0][0][i] - y[1][0][i]) < 1e-6f);
        assert_true(fabsf(y[0][1][i] - y[1][1][i]) < 1e-6f);
        assert_true(fabsf(dx[0][i] - dx[1][i]) < 3e-6f);
    }
    assert_true(fabsf(dt[0] - dt[1]) < 1e-4f);
}

static void test_route(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++)
        same_routing(i & 1, i & 2, i & 4 ? -.7f : .7f);    // nothing keeps a learned one positive
}

/* Random numbers of two readers are drawn in each of them, the same, and never lie in memory. */
static void test_draws(void **state)
{
    (void)state;
    static f32 x[4 * 33], sum[4 * 33], product[4 * 33];
    step_words step = { .u = { [STEP_NUMBER] = 3, [STEP_SEED_LO] = 5 } };
    LOOP(i, countof(x)) x[i] = 1 + .25f * sinf((f32)i);
    graph *g = graph_new(device);
    node *in = graph_input(g, "x", F32, SHAPE(4, 33)), *drawn = op_normal(g, in->shape, .5f);
    node *a = node_keep(op_add(in, drawn)), *m = node_keep(op_mul(in, drawn));
    simplify_graph(g);
    assert_int_equal(graph_compile(g), 0);
    assert_int_equal(launches_count(g->list), 2);
    node_write(in, x);
    assert_int_equal(graph_set_step(g, &step), 0);
    assert_int_equal(graph_run(g), 0);
    node_read(a, sum), node_read(m, product);
    f64 square = 0;
    LOOP(i, countof(x)) {
        assert_true(fabsf(product[i] - x[i] * (sum[i] - x[i])) < 1e-6f);
        square += (f64)(sum[i] - x[i]) * (f64)(sum[i] - x[i]);
    }
    assert_true(fabs(sqrt(square / countof(x)) - .5) < .1);
    graph_free(g);
}

/* Two linear layers with gelu between, and all their gradients. Returns the launches. */
enum { MLP_ROWS = 70, MLP_IN = 19, MLP_HIDDEN = 37 };
struct mlp { f32 y[MLP_ROWS * MLP_IN], grads[5][MLP_HIDDEN * MLP_ROWS]; };

static int run_mlp(const char *trace, struct mlp *out)
{
    static f32 values[MLP_HIDDEN * MLP_ROWS];
    LOOP(i, countof(values)) values[i] = cosf(.7f * (f32)i);
    trace_set(trace);
    graph *g = graph_new(device);
    const struct shape shapes[] = { SHAPE(2, MLP_ROWS / 2, MLP_IN), SHAPE(MLP_HIDDEN, MLP_IN),
                                    SHAPE(MLP_HIDDEN), SHAPE(MLP_IN, MLP_HIDDEN), SHAPE(MLP_IN) };
    node *in[5], *grad[5];
    LOOP(k, 5) in[k] = graph_input(g, "x", F32, shapes[k]);
    node *hidden = op_gelu(op_add(op_matmul(in[0], in[1], TRANS_B), in[2]));
    node *y = node_keep(op_add(op_add(op_matmul(hidden, in[3], TRANS_B), in[4]), in[0]));
    grad_build_from(y, op_square(y), in, 5, grad);
    LOOP(k, 5) node_keep(grad[k] = grad[k]->op == &view_op ? grad[k]->in[0] : grad[k]);
    simplify_graph(g);
    assert_int_equal(graph_compile(g), 0);
    LOOP(k, 5) node_write(in[k], values + k);
    assert_int_equal(graph_run(g), 0);
    node_read(y, out->y);
    LOOP(k, 5) node_read(grad[k], out->grads[k]);
    int launches = launches_count(g->list);
    graph_free(g);
    trace_set("");
    return launches;
}

/* The products add the biases, keep gelu's slope, multiply with it and sum the gradients of the biases. */
static void test_mlp(void **state)
{
    static struct mlp apart, joined;
    (void)state;
    assert_in_range(run_mlp("no_join", &apart), 14, 99);
    int launches = run_mlp("", &joined), dy = 1, forward = 2, backward = 4;
    assert_int_equal(launches, forward + dy + backward);
    LOOP(i, countof(apart.y)) assert_true(fabsf(apart.y[i] - joined.y[i]) < 1e-5f);
    LOOP(k, 5)
        LOOP(i, countof(apart.grads[k]))
            assert_true(fabsf(apart.grads[k][i] - joined.grads[k][i]) <=
                        1e-5f * (10 + fabsf(apart.grads[k][i])));
}

/* x + norm(x) y: x's adjoint, of which the fused gradient adds a part, and those of the weights are what the
 * ops apart give, also where there is a NaN. */
enum { NORM_MOST = 6 * 1000 };
static void norm_grads(i64 r, i64 c, bool apart, f32 got[3][NORM_MOST])
{
    static f32 v[NORM_MOST];
    graph *g = graph_new(device);
    node *x = graph_input(g, "x", F32, SHAPE(r, c)), *y = graph_input(g, "y", F32, SHAPE(r, c));
    node *wrt[3] = { x, graph_input(g, "w", F32, SHAPE(c)), graph_input(g, "b", F32, SHAPE(c)) }, *grad[3];
    trace_set(apart ? "no_join" : "");
    grad_build_from(op_add(x, op_mul(op_layernorm(x, wrt[1], wrt[2], 1e-2f), y)), y, wrt, 3, grad);
    LOOP(k, 3) node_keep(grad[k]);
    simplify_graph(g);
    trace_set("");
    i64 fused = 0;
    for (size_t i = 0; i < g->n; i++)
        fused += g->nodes[i]->op == &layernorm_grad_op && g->nodes[i]->n_in == 4;
    assert_int_equal(fused, !apart);
    assert_int_equal(graph_compile(g), 0);
    LOOP(k, 4) {
        node *in = k < 3 ? wrt[k] : y;
        LOOP(i, node_count(in)) v[i] = k == 3 && i == r * c / 2 ? NAN : sinf((f32)(i + 7 * k));
        node_write(in, v);
    }
    assert_int_equal(graph_run(g), 0);
    LOOP(k, 3) node_read(grad[k], got[k]);
    graph_free(g);
}

static void same_norm(i64 r, i64 c)
{
    static f32 got[2][3][NORM_MOST];
    LOOP(apart, 2) norm_grads(r, c, apart, got[apart]);
    LOOP(k, 3) LOOP(i, k ? c : r * c) {
        f32 a = got[0][k][i], b = got[1][k][i];
        if (!(isnan(a) ? isnan(b) : fabsf(a - b) <= 2e-6f * (1 + fabsf(b))))
            fail_msg("%d x %d, gradient %d, element %d: %.9g, apart %.9g", (int)r, (int)c, (int)k, (int)i,
                     (f64)a, (f64)b);
    }
    assert_true(isnan(got[0][0][r * c / 2]) && isnan(got[0][1][r * c / 2 % c]));
}

static void test_norm_past(void **state)
{
    (void)state;
    static const i64 shapes[][2] = { { 1, 1 }, { 5, 1 }, { 2000, 3 }, { 300, 17 }, { 31, 192 }, { 6, 1000 } };
    LOOP(i, countof(shapes)) same_norm(shapes[i][0], shapes[i][1]);
}

/* Two kinds of experts on a permuted array, each with biases, gelu and dropout, then stochastic depth: (b e d)
 * -> (b e d). Returns the launches. */
enum { EX_B = 6, EX_E = 5, EX_CORE = 2, EX_D = 20, EX_WEIGHTS = 10, EX_X = EX_B * EX_E * EX_D,
       EX_MOST = 3 * 37 * EX_D };
struct experts { f32 y[EX_X], grads[EX_WEIGHTS][EX_MOST]; };

static node *two_layers(node *x, node *const w[4], i64 hidden)
{
    graph *g = x->g;
    i64 e = node_dim(x, 0);
    node *h = op_gelu(op_add(op_matmul(x, w[0], TRANS_B), op_reshape(w[1], SHAPE(e, 1, hidden))));
    h = op_mul(h, op_by_sample(op_keep_mask(g, h->shape, .7f), 1, EX_B));
    node *y = op_add(op_matmul(h, w[2], TRANS_B), op_reshape(w[3], SHAPE(e, 1, EX_D)));
    return op_mul(y, op_by_sample(op_keep_mask(g, y->shape, .8f), 1, EX_B));
}

static int run_experts(const char *trace, struct experts *out)
{
    static f32 values[EX_MOST];
    static step_words step = { .u = { [STEP_NUMBER] = 7, [STEP_SEED_LO] = 11, [STEP_BEFORE] = 2,
                                      [STEP_OTHERS] = 3 } };
    const i64 hidden[2] = { 37, 24 }, count[2] = { EX_CORE, EX_E - EX_CORE };
    LOOP(i, countof(values)) values[i] = .3f * cosf(.7f * (f32)i);
    trace_set(trace);
    graph *g = graph_new(device);
    node *in[EX_WEIGHTS], *grad[EX_WEIGHTS], *part[2];
    in[0] = graph_input(g, "x", F32, SHAPE(EX_B, EX_E, EX_D));
    in[1] = graph_input(g, "mix", F32, SHAPE(EX_B, 9, EX_E));
    LOOP(k, 2) {
        const struct shape shapes[4] = { SHAPE(count[k], hidden[k], EX_D), SHAPE(count[k], hidden[k]),
                                         SHAPE(count[k], EX_D, hidden[k]), SHAPE(count[k], EX_D) };
        LOOP(i, 4) in[2 + 4 * k + i] = graph_input(g, "w", F32, shapes[i]);
    }
    node *x = op_transpose(op_square(in[0]), 1, 0, 2);
    LOOP(k, 2) part[k] = two_layers(op_slice(x, 0, k ? EX_CORE : 0, count[k]), in + 2 + 4 * k, hidden[k]);
    node *y = op_transpose(op_square(op_concat(part[0], part[1], 0)), 1, 0, 2);
    node *mask = op_by_sample(op_keep_mask(g, SHAPE(EX_B, 1, 1), .6f), 1, EX_B);
    y = op_add(op_matmul(in[1], op_mul(in[0], y), 0), op_mul(op_matmul(in[1], y, 0), mask));
    grad_build_from(y, op_square(y), in, EX_WEIGHTS, grad);
    LOOP(k, EX_WEIGHTS) node_keep(grad[k] = grad[k]->op == &view_op ? grad[k]->in[0] : grad[k]);
    simplify_graph(g);
    assert_int_equal(graph_compile(g), 0);
    LOOP(k, EX_WEIGHTS) node_write(in[k], values + k);
    assert_int_equal(graph_set_step(g, &step), 0);
    assert_int_equal(graph_run(g), 0);
    LOOP(k, EX_WEIGHTS) node_read(grad[k], out->grads[k]);
    int launches = launches_count(g->list);
    graph_free(g);
    trace_set("");
    return launches;
}

/* Products of GPUs draw masks, sum the gradients of experts' biases, and read
 * permuted arrays where they lie. */
static void test_experts(void **state)
{
    static struct experts apart, joined;
    (void)state;
    int many = run_experts("no_join", &apart), few = run_experts("", &joined);
    bool gpu = dev_class(device) == DEV_GPU;
    assert_in_range(few, 20, gpu && dev_info(device)->joins ? many - 25 : many - 10);
    f64 sum = 0;
    LOOP(k, EX_WEIGHTS) LOOP(i, countof(apart.grads[k])) {
        sum += fabs((f64)apart.grads[k][i]);
        if (!(fabsf(apart.grads[k][i] - joined.grads[k][i]) <= 1e-5f * (1 + fabsf(apart.grads[k][i]))))
            fail_msg("gradient %d, element %d: %.9g, apart %.9g", (int)k, (int)i, (f64)joined.grads[k][i],
                     (f64)apart.grads[k][i]);
    }
    assert_true(sum > 1);
    print_message("%d launches, %d apart\n", few, many);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_experts), cmocka_unit_test(test_route), cmocka_unit_test(test_mlp),
        cmocka_unit_test(test_norm_past), cmocka_unit_test(test_draws)
    };
    say_setup((struct say_options){ SAY_QUIET, 0, true });
    return cmocka_run_group_tests(tests, open_device, close_device);
}
