/* test_model.c: the paper's models to the last parameter and multiply-add; what training draws; weights out
 * and in again. */
#include "on_device.h"
#include "model/model.h"
#include <math.h>
#include <time.h>
#include <unistd.h>

#define LATE "model.moe.layers=[6,7,8,9,10,11]"

/* ---- counting ------------------------------------------------------------------------------------------ */

/* Parameters as the reference model has them; multiply-adds in G as the paper counts, and all
 * (0: not given). */
struct row { const char *name; i64 params; f64 paper, complete; const char *set[6]; };
static const struct row rows[] = {
    { "ViT-T",               5717416, 1.075, 1.254, { "model.arch=vit_tiny_patch16_224" } },
    { "ViT-S",              22050664, 0,     0,     { "model.arch=vit_small_patch16_224" } },
    { "Soft MoE-T",        353892142, 1.209, 1.388,
      { "model.arch=vit_tiny_patch16_224", LATE, "model.moe.kind=soft" } },
    { "Soft MoE-S",       1412033134, 0,     0,
      { "model.arch=vit_small_patch16_224", LATE, "model.moe.kind=soft" } },
    { "V-JetMoE-T 11:12",   92282156, 0,     0,     { "model.moe.layers=[10,11]" } },
    { "V-JetMoE-T 9:12",   178846896, 0,     0,     { "model.moe.layers=[8,9,10,11]" } },
    { "V-JetMoE-T 7:12",   265411636, 1.187, 1.365, { LATE } },
    { "V-JetMoE-T 5:12",   351976376, 0,     0,     { "model.moe.layers=[4,5,6,7,8,9,10,11]" } },
    { "V-JetMoE-T 32/64",   89321524, 0,     0,     { LATE, "model.moe.core=32", "model.moe.universal=64" } },
    { "V-JetMoE-T 64/128", 174698548, 0,     0,
      { LATE, "model.moe.core=64", "model.moe.universal=128" } },
    { "V-JetMoE-S",       1058124916, 4.288, 4.645, { "model.arch=vit_small_patch16_224", LATE } },
};

static struct spec spec_with(arena *a, const char *const *set)
{
    struct spec s;
    struct spec_set sets[16] = { { "test", "model.classes=1000" } };
    int n = 1;
    while (set[n - 1])
        sets[n] = (struct spec_set){ "test", set[n - 1] }, n++;
    if (spec_load(&s, a, NULL, sets, n))
        fail_msg("%s", fail_message());
    return s;
}

static void test_count(void **state)
{
    const struct row *r = *state;
    arena *a = arena_open("test");
    struct spec s = spec_with(a, r->set);
    struct model_count k;
    clock_t start = clock();
    assert_int_equal(model_count(a, &s, 1, 8, 4, &k), 0);
    assert_true((f64)(clock() - start) / CLOCKS_PER_SEC < 60);   // an accident of the quadratic kind
    assert_int_equal(k.params, r->params);
    if (r->paper && (fabs(k.paper_macs / 1e9 - r->paper) > 5e-4 || fabs(k.macs / 1e9 - r->complete) > 5e-4))
        fail_msg("%s: %.4f and %.4f G", r->name, k.paper_macs / 1e9, k.macs / 1e9);
    i64 params = 0;
    f64 macs = 0;
    for (int i = 0; i < k.n; i++) {
        params += k.layer[i].params;
        macs += k.layer[i].macs;
        assert_true(k.layer[i].eval_bytes <= k.eval_bytes && k.layer[i].kept_bytes < k.train_bytes);
    }
    assert_int_equal(params, k.params);
    assert_true(fabs(macs - k.macs) <= 1e-9 * macs);
    arena_close(a);
}

/* ---- what training draws ------------------------------------------------------------------------------- */

enum { B = 64, N = 5, D = 12 };

struct drawn { f32 y[B * N * D]; };
static const char *const plain[] = {
    "model.dim=12", "model.heads=3", "model.depth=4", "model.moe.layers=[3]", "model.moe.core=4",
    "model.moe.universal=0", "model.moe.noise=off", "model.moe.dropout=off", "model.moe.expert_drop=off", NULL
};

/* One MoE layer on fixed tokens and weights, as s says; seed is of the draws. */
static void run_layer(const struct spec *s, bool train, u64 seed, struct drawn *out)
{
    struct moe l;
    arena *a = arena_open("layer");
    assert_true(moe_of_block(a, s, 3, &l));
    struct nn c = { graph_new(NULL), params_new() };
    moe_layer(&c, s, &l, graph_input(c.g, "x", F32, SHAPE(B, N, D)));
    graph_free(c.g);
    assert_int_equal(params_open(c.p, device, PARAMS_FORWARD), 0);
    assert_int_equal(params_init(c.p, 7), 0);

    struct nn m = { graph_new(device), c.p, train };
    node *x = graph_input(m.g, "x", F32, SHAPE(B, N, D)), *y = node_keep(moe_layer(&m, s, &l, x));
    graph_step(m.g);
    simplify_graph(m.g);
    if (graph_compile(m.g))
        fail_msg("%s", fail_message());
    rng r = rng_at(5, RNG_TEST, 0, 0);
    for (int i = 0; i < B * N * D; i++)
        out->y[i] = (f32)rng_normal(&r);
    node_write(x, out->y);
    step_words w = { .u = { [STEP_NUMBER] = 3, [STEP_SEED_LO] = (u32)seed } };
    assert_int_equal(graph_set_step(m.g, &w), 0);
    assert_int_equal(graph_run(m.g), 0);
    node_read(y, out->y);
    graph_free(m.g);
    params_free(c.p);
    arena_close(a);
}

static f64 distance(const struct drawn *a, const struct drawn *b)
{
    f64 sum = 0;
    for (int i = 0; i < B * N * D; i++)
        sum += fabs((f64)a->y[i] - (f64)b->y[i]);
    return sum / (B * N * D);
}

/* Noise in evaluation where the released code has it, never where the paper trains with it;
 * repeatable by seed. */
static void test_noise_when(void **state)
{
    (void)state;
    static struct drawn quiet, got, again;
    arena *a = arena_open("test");
    struct spec s = spec_with(a, plain);
    run_layer(&s, false, 1, &quiet);
    s.model.moe.noise = .25;
    run_layer(&s, false, 1, &got);
    run_layer(&s, false, 1, &again);
    assert_true(distance(&got, &quiet) > 1e-4 && distance(&got, &again) == 0);
    run_layer(&s, false, 2, &again);
    assert_true(distance(&got, &again) > 1e-4);
    s.model.moe.noise_when = NOISE_training;
    run_layer(&s, false, 1, &got);
    assert_true(distance(&got, &quiet) == 0);
    run_layer(&s, true, 1, &got);
    assert_true(distance(&got, &quiet) > 1e-4);
    arena_close(a);
}

/* All experts of a sample, or each on its own: a dropped sample is exactly zero, the others are 1/keep
 * times as large. */
static void test_expert_drop(void **state)
{
    (void)state;
    static struct drawn whole, got;
    arena *a = arena_open("test");
    struct spec s = spec_with(a, plain);
    run_layer(&s, true, 1, &whole);
    s.model.moe.expert_drop = .4;                 // of the last block: no rise to take into account
    run_layer(&s, true, 1, &got);
    int dropped = 0;
    for (int b = 0; b < B; b++) {
        const f32 *x = whole.y + b * N * D, *y = got.y + b * N * D;
        f32 factor = y[0] == 0 ? 0 : 1 / (1 - .4f);
        for (int i = 0; i < N * D; i++)
            assert_true(fabsf(y[i] - factor * x[i]) <= 1e-6f + 1e-5f * fabsf(x[i]));
        dropped += factor == 0;
    }
    assert_in_range(dropped, 13, 39);             // 25.6 +- 3.9, three standard deviations and more
    run_layer(&s, false, 1, &got);
    assert_true(distance(&got, &whole) == 0);

    s.model.moe.expert_drop_per = DROP_expert;
    run_layer(&s, true, 1, &got);
    int same = 0, zero = 0;
    for (int b = 0; b < B; b++) {
        const f32 *x = whole.y + b * N * D, *y = got.y + b * N * D;
        same += fabsf(y[0] - x[0] / .6f) < 1e-5f * fabsf(x[0]);
        zero += y[0] == 0;
    }
    assert_true(same < B / 2 && zero < B / 2);    // .6^4 = .13 keep all four, .4^4 = .03 lose all
    arena_close(a);
}

static void moments(const f32 *v, i64 n, f64 *mean, f64 *variance)
{
    *mean = *variance = 0;
    for (i64 i = 0; i < n; i++)
        *mean += v[i] / (f64)n;
    for (i64 i = 0; i < n; i++)
        *variance += (v[i] - *mean) * (v[i] - *mean) / (f64)n;
}

/* Mean and variance of every kind of draw, and that no two of them, nor two steps, are alike. */
static void test_draws(void **state)
{
    (void)state;
    enum { ROWS = 64, COLS = 1000, ALL = ROWS * COLS };
    static f32 v[5][ALL], x[ALL];
    struct nn m = { graph_new(device), params_new(), true };
    node *in = graph_input(m.g, "x", F32, SHAPE(ROWS, COLS)), *kinds[4];
    kinds[0] = nn_noise(&m, "a", in->shape, 1, .125f, false);
    kinds[1] = nn_noise(&m, "b", in->shape, 1, .125f, true);
    kinds[2] = nn_dropout(&m, in, "c", 1, .4f);
    kinds[3] = nn_drop_path(&m, in, "d", .25f);
    for (int i = 0; i < 4; i++)
        node_keep(kinds[i]);
    simplify_graph(m.g);
    assert_int_equal(graph_compile(m.g), 0);
    for (int i = 0; i < ALL; i++)
        x[i] = 1;
    node_write(in, x);
    for (u32 step = 0; step < 2; step++) {
        step_words w = { .u = { [STEP_NUMBER] = step, [STEP_SEED_LO] = 9 } };
        assert_int_equal(graph_set_step(m.g, &w), 0);
        assert_int_equal(graph_run(m.g), 0);
        for (int i = 0; i < (step ? 1 : 4); i++)
            node_read(kinds[i], v[step ? 4 : i]);
    }
    f64 mean, variance;
    for (int i = 0; i < 2; i++) {
        moments(v[i], ALL, &mean, &variance);
        assert_true(fabs(mean) < 4 * .125 / sqrt(ALL) && fabs(variance / (.125 * .125) - 1) < .03);
    }
    assert_true(memcmp(v[0], v[1], sizeof v[0]) && memcmp(v[0], v[4], sizeof v[0]));
    moments(v[2], ALL, &mean, &variance);
    assert_true(fabs(mean - 1) < .02 && fabs(variance - .4 / .6) < .02);
    int kept = 0;
    for (int r = 0; r < ROWS; r++) {
        kept += v[3][r * COLS] > 0;
        for (int i = 0; i < COLS; i++) {
            f32 x = v[3][r * COLS + i];
            assert_true(x == v[3][r * COLS] && (x == 0 || x == 1 / .75f));
        }
    }
    assert_in_range(kept, 34, 60);                // 48 +- 3.5
    graph_free(m.g);
    params_free(m.p);
}

/* Rates rise from 0 at the first block; the MoE layers' own take the same index, as in the released code. */
static void test_rates(void **state)
{
    (void)state;
    arena *a = arena_open("test");
    struct spec s = spec_with(a, (const char *const[]){ LATE, NULL });
    struct moe l;
    assert_true(model_rate(&s, .1, 0) == 0 && fabsf(model_rate(&s, .1, 11) - .1f) < 1e-7f);
    assert_true(moe_of_block(a, &s, 6, &l) && fabsf(l.expert_drop - .0545454f) < 1e-6f);
    assert_false(moe_of_block(a, &s, 5, &l));
    arena_close(a);
}

/* Experts of a stage, and whose they are. */
static void test_which_experts(void **state)
{
    (void)state;
    arena *a = arena_open("test");
    struct spec s = spec_with(a, (const char *const[]){
        "model.arch=convnext_f", "model.moe.layers=[10,11,12,13,14,15,16,17]", "model.moe.core=[98,24]",
        "model.moe.universal=[196,48]", "model.moe.share=2", NULL });
    struct moe l;
    const struct { int block, core, universal; const char *experts; } want[] = {
        { 10, 98, 196, NULL }, { 11, 98, 196, "stages.2.blocks.4.mlp" }, { 14, 98, 196, NULL },
        { 15, 24, 48, NULL }, { 16, 24, 48, "stages.3.blocks.0.mlp" }, { 17, 24, 48, NULL } };
    for (int i = 0; i < countof(want); i++) {
        assert_true(moe_of_block(a, &s, want[i].block, &l));
        assert_true(l.core == want[i].core && l.universal == want[i].universal);
        assert_true(!l.experts == !want[i].experts);
        if (l.experts)
            assert_string_equal(l.experts, want[i].experts);
    }
    arena_close(a);
}

/* ---- weights ------------------------------------------------------------------------------------------- */

/* Saved, loaded into a model with other random values, and compared; metadata too. */
static void test_weights(void **state)
{
    (void)state;
    arena *a = arena_open("test");
    char path[64];
    snprintf(path, sizeof path, "/tmp/jetcl-model-%d.safetensors", (int)getpid());
    struct spec s = spec_with(a, (const char *const[]){
        "model.arch=vit", "model.image=[16,8]", "model.patch=8", "model.dim=12", "model.depth=2",
        "model.heads=2", "model.moe.layers=[1]", NULL });
    s.model.classes = 3;
    params *p = model_open(device, &s, PARAMS_FORWARD), *q;
    const char *names[] = { "a cat", "\"dog\"", "Gr\xc3\xb6\xc3\x9f\x65" }, *const *got;
    struct model_about about = { .classes = names, .n_classes = 3,
                                 .more = (const char *const[]){ "parent", "none", NULL } };
    assert_int_equal(model_save(p, &s, path, &about), 0);
    s.seed = 4;
    s.model.init = path;
    assert_non_null(q = model_open(device, &s, PARAMS_FORWARD));
    for (size_t i = 0; i < p->n; i++) {
        i64 n = shape_count(p->list[i].shape);
        f32 *x = arena_array(a, f32, n), *y = arena_array(a, f32, n);
        assert_int_equal(params_read(p, &p->list[i], x), 0);
        assert_int_equal(params_read(q, &q->list[i], y), 0);
        assert_memory_equal(x, y, (size_t)n * sizeof *x);
        assert_true(q->list[i].loaded);
    }
    ckpt *c = ckpt_open(path);
    assert_int_equal(model_classes(c, a, &got), 3);
    for (int i = 0; i < 3; i++)
        assert_string_equal(got[i], names[i]);
    assert_string_equal(ckpt_meta(c, "grid"), "2 1");
    assert_string_equal(ckpt_meta(c, "parent"), "none");
    ckpt_close(c);
    remove(path);
    params_free(p);
    params_free(q);
    arena_close(a);
}

/* Two of each row of equal blocks, and one more where two share experts; lists stay valid. */
static void test_shortened(void **state)
{
    (void)state;
    static const struct { const char *sets[5]; int depth, depths[4], n, layers[8]; } row[] = {
        { { "model.depth=12" }, 2, { 0 }, 0, { 0 } },
        { { "model.depth=1" }, 1, { 0 }, 0, { 0 } },
        { { "model.depth=12", LATE }, 4, { 0 }, 2, { 2, 3 } },
        { { "model.depth=9", "model.moe.layers=[0,1,2,3,8]", "model.moe.share=2" },
          7, { 0 }, 4, { 0, 1, 2, 6 } },
        { { "model.arch=convnext", "model.depths=[3,3,9,3]", "model.moe.layers=[5,13,14,15,16,17]",
            "model.moe.core=[4,5,6]", "model.moe.universal=[1,2,3]" },
          0, { 2, 3, 4, 2 }, 5, { 4, 7, 8, 9, 10 } },
    };
    for (int i = 0; i < countof(row); i++) {
        struct spec s;
        struct spec_set sets[5];
        arena *a = arena_open("shortened");
        int n = 0;
        for (; n < 5 && row[i].sets[n]; n++)
            sets[n] = (struct spec_set){ .by = "test", .text = row[i].sets[n] };
        if (spec_load(&s, a, NULL, sets, n))
            fail_msg("%s", fail_message());
        s = moe_shortened(a, &s);
        for (int k = 0; k < 4 && !strcmp(s.model.family, "convnext"); k++)
            assert_int_equal(s.model.depths.v[k], row[i].depths[k]);
        if (strcmp(s.model.family, "convnext"))
            assert_int_equal(s.model.depth, row[i].depth);
        assert_int_equal(s.model.moe.layers.n, row[i].n);
        for (int k = 0; k < row[i].n; k++)
            assert_int_equal(s.model.moe.layers.v[k], row[i].layers[k]);
        s.model.classes = 3;
        params *p = model_params(&s);
        if (!p)
            fail_msg("%s", fail_message());
        params_free(p);
        arena_close(a);
    }
}

int main(void)
{
    static struct CMUnitTest tests[countof(rows) + 16];
    int n = 0;
    say_setup((struct say_options){ SAY_QUIET, 0, true });
    for (int i = 0; i < countof(rows); i++)
        tests[n++] = (struct CMUnitTest){ rows[i].name, test_count, NULL, NULL, (void *)&rows[i] };
    const struct CMUnitTest others[] = {
        cmocka_unit_test(test_noise_when), cmocka_unit_test(test_expert_drop), cmocka_unit_test(test_draws),
        cmocka_unit_test(test_rates), cmocka_unit_test(test_which_experts), cmocka_unit_test(test_weights),
        cmocka_unit_test(test_shortened) };
    for (int i = 0; i < countof(others); i++)
        tests[n++] = others[i];
    return _cmocka_run_group_tests("model", tests, (size_t)n, open_device, close_device);
}
