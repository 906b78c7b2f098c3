/* test_half.c: whole models in bf16 and fp16 against fp32, the loss scale, and what a run in each precision
 * must keep: the same bits twice, and exact resumption. Single ops in half types: test_ops.c. */
#include "on_device.h"
#include "train/learner.h"
#include <math.h>
#include <stdlib.h>

#define VIT "model: {arch: vit, image: 16, patch: 4, dim: 48, depth: 3, heads: 3, classes: 3, drop_path: "
#define MOE ",\n        moe: {layers: [1, 2], core: 2, universal: 3}"
#define CONVNEXT                                                                                               \
    "model: {arch: convnext, image: 32, dims: [16, 24, 32, 40], depths: [1, 1, 2, 1], classes: 3, drop_path: "
#define RECIPE "}\noptim: {lr: 1e-2}\nschedule: {warmup_epochs: 0}\ntrain: {batch: 4, precision: "

static f32 pixels[4 * 3 * 32 * 32], labels[4 * 3];

static void parse(struct spec *s, arena *a, const char *text)
{
    if (spec_parse(s, a, "test", text, NULL, 0))
        fail_msg("%s: %s", text, fail_message());
}

/* A learner from the first step of an experiment's text. */
struct run { arena *a; struct spec s; params *p; struct learner l; };

static void start(struct run *r, const char *model, const char *precision)
{
    r->a = arena_open("test");
    parse(&r->s, r->a, arena_printf(r->a, "%s%s%s}\n", model, RECIPE, precision));
    r->p = model_open(device, &r->s, PARAMS_TRAIN);
    if (!r->p || learner_open(&r->l, &r->s, device, r->p))
        fail_msg("%s", fail_message());
}

static void step(struct run *r, int n)
{
    struct batch b = { .n = 4, .numbers = pixels, .soft_labels = labels };
    for (int i = 0; i < n; i++)
        if (learner_step(&r->l, &b, 1) || learner_wait(&r->l))
            fail_msg("%s", fail_message());
}

static struct loss_scale scale_of(struct run *r)
{
    struct loss_scale s = { 0 };
    assert_int_equal(learner_scale(&r->l, &s), 0);
    return s;
}

static void set_scale(struct run *r, f32 scale, u32 good)
{
    assert_int_equal(learner_set_scale(&r->l, &(struct loss_scale){ .scale = scale, .good = good }), 0);
}

/* Weights (or, grads: gradients) of all parameters. */
static f32 *read_all(struct run *r, bool grads)
{
    f32 *v = arena_array(r->a, f32, r->p->total), *at = v;
    for (size_t i = 0; i < r->p->n; at += shape_count(r->p->list[i++].shape))
        assert_int_equal(mem_read(device, grads ? r->p->list[i].grad : r->p->list[i].value, at), 0);
    return v;
}

static void finish(struct run *r)
{
    learner_close(&r->l);
    params_free(r->p);
    arena_close(r->a);
}

static const char *const precisions[] = { "bf16", "fp16" };

/* ---- rounding ------------------------------------------------------------------------------------------ */

/* x to the nearest value of the type, ties to even, subnormals and overflow included. */
static f32 rounded(f32 x, enum dtype t)
{
    int digits = t == F16 ? 11 : 8, least = t == F16 ? -13 : -125, e;
    f64 most = t == F16 ? 65520 : ldexp(511, 119);
    if (!isfinite(x))
        return x;
    frexp((f64)x, &e);
    f64 quantum = ldexp(1, MAX(e, least) - digits);
    return fabs((f64)x) >= most ? copysignf(INFINITY, x) : (f32)(nearbyint((f64)x / quantum) * quantum);
}

enum { VALUES = 4099 };                           /* rows of 16 and a rest */

/* Any bits, every exponent; values half way between two of the type, and their neighbours. */
static void fill_values(f32 *x, enum dtype t)
{
    rng r = rng_at(9, RNG_TEST, 0, 0);
    for (int i = 0; i < VALUES; i++) {
        u32 bits = rng_u32(&r), low = t == F16 ? 0x1fff : 0xffff;
        if (t == F16 && i % 3)                    // in its range
            bits = (bits & 0x807fffff) | (100 + bits % 45) << 23;
        if (i % 4 == 1)
            bits = (bits & ~low) + low / 2 + (u32)(i / 4 % 3);
        memcpy(&x[i], &bits, sizeof bits);
    }
    x[0] = 65519.9f, x[1] = 65520, x[2] = -INFINITY, x[3] = NAN, x[4] = -0.0f, x[5] = 0x1p-25f,
    x[6] = 0x1.8p-24f;
}

static void round_on(dev *d, enum dtype t)
{
    static f32 x[VALUES], y[VALUES];
    graph *g = graph_new(d);
    g->half = t;
    node *in = graph_input(g, "x", F32, SHAPE(VALUES)), *half = node_keep(op_copy(in));
    node_keep(op_copy(half));
    simplify_graph(g);
    assert_int_equal(graph_compile(g), 0);
    assert_true(half->type == t);
    fill_values(x, t);
    assert_int_equal(node_write(in, x) || graph_run(g) || node_read(half, y), 0);
    for (int i = 0; i < VALUES; i++) {
        f32 want = rounded(x[i], t);
        if (!(isnan(want) ? isnan(y[i]) : y[i] == want && signbit(y[i]) == signbit(want)))
            fail_msg("%s: %a became %a, want %a", dtype_name(t), (f64)x[i], (f64)y[i], (f64)want);
    }
    graph_free(g);
}

static void test_rounding(void **state)
{
    (void)state;
    dev *other = dev_open(NULL);                  // one element at a time
    assert_non_null(other);
    dev_force_class(other, DEV_GPU);
    for (enum dtype t = F16; t <= BF16; t++) {
        round_on(device, t);
        round_on(other, t);
    }
    dev_close(other);
}

/* ---- values -------------------------------------------------------------------------------------------- */

static int half_nodes(const graph *g)
{
    int n = 0;
    for (size_t i = 0; i < g->n; i++)
        n += dtype_half(g->nodes[i]->type) && !(g->nodes[i]->op->flags & OP_ALIAS);
    return n;
}

/* The gradient of routing holds sums for the temperatures, too: they are read as they were computed. */
static void check_temperatures(const graph *g, bool routes)
{
    int n = 0;
    for (size_t i = 0; i < g->n; i++) {
        const node *x = g->nodes[i], *from = x->n_in ? x->in[0] : x;
        n += !strcmp(x->op->name, "route_grad");
        assert_false(!strcmp(from->op->name, "route_grad") && node_count(from) == node_count(x)
                     && dtype_half(x->type));
    }
    assert_true(!routes || n || dev_class(device) == DEV_GPU);
}

static f64 distance(const f32 *x, const f32 *y, i64 n, f64 over)
{
    f64 far = 0, size = 0;
    for (i64 i = 0; i < n; i++) {
        far += ((f64)x[i] / over - (f64)y[i]) * ((f64)x[i] / over - (f64)y[i]);
        size += (f64)y[i] * (f64)y[i];
    }
    return sqrt(far / size);
}

/* Each stored tensor is off by u / sqrt(3) of its own size at the root of the mean square. Were all errors
 * independent and each passed on undamped, a result would be off by u sqrt(n / 3) for n tensors. */
static void test_models(void **state)
{
    (void)state;
    static const char *const models[] = { VIT "off", VIT "off" MOE, CONVNEXT "off" };
    for (int k = 0; k < countof(models); k++) {
        struct run want, got;
        f64 loss, norm, loss_half, norm_half;
        start(&want, models[k], "fp32");
        step(&want, 1);
        assert_int_equal(learner_read(&want.l, &loss, &norm), 0);
        for (int i = 0; i < countof(precisions); i++) {
            start(&got, models[k], precisions[i]);
            step(&got, 1);
            assert_int_equal(learner_read(&got.l, &loss_half, &norm_half), 0);
            f64 unit = i ? 0x1p-11 : 0x1p-8, scale = i ? LOSS_SCALE_START : 1;
            int n = half_nodes(got.l.g);
            f64 off = distance(read_all(&got, true), read_all(&want, true), want.p->total, scale);
            if (getenv("SHOW"))
                fprintf(stderr,
                        "model %d %s: %d of %d nodes half, gradient off by %.3f of %.3f, loss %.6f %.6f, plan "
                        "%.3f\n",
                        k, precisions[i], n, (int)got.l.g->n, off, unit * sqrt(n / 3.0), loss_half, loss,
                        (f64)got.l.g->plan->planned / (f64)want.l.g->plan->planned);
            check_temperatures(got.l.g, strstr(models[k], "moe"));
            assert_true(n > 40);
            assert_true(off > 0 && off < unit * sqrt(n / 3.0));
            assert_true(fabs(loss_half - loss) < 4 * unit * loss && fabs(norm_half / norm - 1) < 8 * unit);
            finish(&got);
        }
        finish(&want);
    }
}

/* ---- routing ------------------------------------------------------------------------------------------- */

enum { TOKENS = 17, SLOTS = 5, IMAGE = TOKENS * SLOTS };
static const f32 heat = 1.0f / 64;

/* Element i's share of the softmax over n elements from `first` on. */
static f64 share(const f32 *x, int i, int first, int step, int n)
{
    f64 sum = 0;
    for (int k = 0; k < n; k++)
        sum += exp(((f64)x[first + k * step] - (f64)x[i]) / (f64)heat);
    return 1 / sum;
}

/* Similarities up to 1 over a low temperature: rounding 64 to bf16 would change the weights by a tenth. */
static void route_hot(enum dtype half)
{
    f32 x[2 * IMAGE], disp[countof(x)], comb[countof(x)];
    rng r = rng_at(4, RNG_TEST, 0, 0);
    for (int i = 0; i < countof(x); i++)
        x[i] = (f32)(2 * rng_unit(&r) - 1);
    graph *g = graph_new(device);
    g->half = half;
    node *logits = graph_input(g, "logits", F32, SHAPE(2, TOKENS, SLOTS)),
         *t = graph_constant(g, "t", SCALAR, &heat);
    struct routing y = op_route(logits, t, t, NULL, false);
    node_keep(y.disp), node_keep(y.comb);
    simplify_graph(g);
    assert_int_equal(graph_compile(g), 0);
    assert_int_equal(node_write(logits, x) || graph_run(g) || node_read(y.disp, disp)
                     || node_read(y.comb, comb), 0);
    for (int i = 0; i < countof(x); i++) {
        int column = i / IMAGE * IMAGE + i % SLOTS, row = i - i % SLOTS;
        assert_true(fabs((f64)disp[i] - share(x, i, column, SLOTS, TOKENS)) < 2e-5);
        assert_true(fabs((f64)comb[i] - share(x, i, row, 1, SLOTS)) < 2e-5);
    }
    graph_free(g);
}

static void test_hot_routing(void **state)
{
    (void)state;
    static const char *const ways[] = { "", "no_join", "no_class" };
    for (int i = 0; i < countof(ways); i++) {
        trace_set(ways[i]);
        route_hot(BF16);
        route_hot(F16);
    }
    trace_set("");
}

/* ---- the loss scale ------------------------------------------------------------------------------------ */

static void test_overflow(void **state)
{
    (void)state;
    struct run r, other;
    start(&r, VIT "off", "fp16");
    const f32 *before = read_all(&r, false);
    set_scale(&r, 0x1p40f, 7);
    step(&r, 1);
    assert_memory_equal(read_all(&r, false), before, 4 * (size_t)r.p->total);
    struct loss_scale s = scale_of(&r);
    assert_true(s.scale == 0x1p39f && s.skipped == 1 && s.taken == 0 && s.good == 0);
    f64 loss, norm;
    assert_int_equal(learner_read(&r.l, &loss, &norm), 0);
    assert_true(isfinite(loss) && norm == 0);
    step(&r, 2);
    assert_true(scale_of(&r).skipped == 3);
    set_scale(&r, LOSS_SCALE_START, 0);           // forgets the counters too: the next step is a first one
    step(&r, 1);
    start(&other, VIT "off", "fp16");
    step(&other, 1);
    assert_true(scale_of(&other).taken == 1 && scale_of(&other).skipped == 0);
    assert_memory_equal(read_all(&r, false), read_all(&other, false), 4 * (size_t)r.p->total);
    assert_true(memcmp(read_all(&r, false), before, 4 * (size_t)r.p->total) != 0);
    finish(&r);
    finish(&other);
}

/* Gradients that fp16 cannot hold: lost at a small scale, right at the usual one. */
static void test_underflow(void **state)
{
    (void)state;
    f64 loss, want, lost, saved;
    struct run r;
    start(&r, VIT "off", "fp32");
    step(&r, 1);
    assert_int_equal(learner_read(&r.l, &loss, &want), 0);
    finish(&r);
    start(&r, VIT "off", "fp16");
    set_scale(&r, 0x1p-30f, 0);
    step(&r, 1);
    assert_int_equal(learner_read(&r.l, &loss, &lost), 0);
    finish(&r);
    start(&r, VIT "off", "fp16");
    step(&r, 1);
    assert_int_equal(learner_read(&r.l, &loss, &saved), 0);
    assert_true(fabs(saved / want - 1) < 0.01);
    assert_true(fabs(lost / want - 1) > 0.1);
    finish(&r);
}

static void test_growth(void **state)
{
    (void)state;
    struct run r;
    start(&r, VIT "off", "fp16");
    set_scale(&r, 1024, LOSS_SCALE_GROW - 2);
    step(&r, 1);
    assert_true(scale_of(&r).scale == 1024 && scale_of(&r).good == LOSS_SCALE_GROW - 1);
    step(&r, 1);
    assert_true(scale_of(&r).scale == 2048 && scale_of(&r).good == 0 && scale_of(&r).taken == 2);
    set_scale(&r, LOSS_SCALE_MOST, LOSS_SCALE_GROW - 1);
    finish(&r);
}

/* The optimiser's steps in fp16 are those of fp32 but for rounding: what corrects the moments' bias is found
 * on the device. */
static void test_bias(void **state)
{
    (void)state;
    struct run r[2];
    const f32 *w[2];
    for (int i = 0; i < 2; i++) {
        start(&r[i], VIT "off", i ? "fp16" : "fp32");
        const f32 *before = read_all(&r[i], false);
        step(&r[i], 3);
        f32 *after = read_all(&r[i], false);
        for (i64 k = 0; k < r[i].p->total; k++)
            after[k] -= before[k];
        w[i] = after;
    }
    assert_true(distance(w[1], w[0], r[0].p->total, 1) < 0.1);
    for (int i = 0; i < 2; i++)
        finish(&r[i]);
}

/* ---- runs ---------------------------------------------------------------------------------------------- */

static void test_same_bits(void **state)
{
    (void)state;
    static const char *const orders[] = { "", "shuffle" };
    for (int i = 0; i < countof(precisions); i++)
        for (int k = 0; k < countof(orders); k++) {
            struct run r[2];
            for (int j = 0; j < 2; j++) {
                trace_set(j ? orders[k] : "");
                start(&r[j], VIT "0.2" MOE, precisions[i]);
                step(&r[j], 2);
            }
            trace_set("");
            assert_memory_equal(read_all(&r[0], false), read_all(&r[1], false), 4 * (size_t)r[0].p->total);
            finish(&r[0]);
            finish(&r[1]);
        }
}

static void test_resume(void **state)
{
    (void)state;
    const char *path = "build/test_half.state";
    for (int i = 0; i < countof(precisions); i++) {
        struct run whole, first, second;
        struct position at = { .step = 2 };
        start(&whole, VIT "0.2" MOE, precisions[i]);
        start(&first, VIT "0.2" MOE, precisions[i]);
        start(&second, VIT "0.2" MOE, precisions[i]);
        if (i) {                                  // one step is skipped, and the scale moved
            set_scale(&whole, 0x1p33f, 5);
            set_scale(&first, 0x1p33f, 5);
        }
        step(&whole, 4);
        step(&first, 2);
        assert_int_equal(state_save(path, &first.l, &at), 0);
        assert_int_equal(state_load(path, &second.l, &at), 0);
        step(&second, 2);
        assert_memory_equal(read_all(&whole, false), read_all(&second, false), 4 * (size_t)whole.p->total);
        if (i) {
            struct loss_scale a = scale_of(&whole), b = scale_of(&second);
            assert_memory_equal(&a, &b, sizeof a);
            assert_true(a.skipped > 0);
        }
        finish(&whole);
        finish(&first);
        finish(&second);
    }
    remove(path);
}

static int setup(void **state)
{
    rng r = rng_at(3, RNG_TEST, 0, 0);
    for (int i = 0; i < countof(pixels); i++)
        pixels[i] = (f32)rng_normal(&r);
    for (int i = 0; i < 4; i++)
        labels[i * 3 + i % 3] = 1;
    file_mkdirs("build");
    return open_device(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rounding), cmocka_unit_test(test_models), cmocka_unit_test(test_hot_routing),
        cmocka_unit_test(test_overflow), cmocka_unit_test(test_underflow),
        cmocka_unit_test(test_growth), cmocka_unit_test(test_bias), cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_resume) };
    say_setup((struct say_options){ SAY_QUIET, 0, true });
    return cmocka_run_group_tests(tests, setup, close_device);
}
