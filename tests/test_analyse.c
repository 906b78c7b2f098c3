/* test_analyse.c: what is said of experts, on layers whose answer is known: one that does everything, two
 * that are the same, one for a class; and that silencing an expert equals zeroing its last layer. */
#include "on_device.h"
#include "study/analyse.h"
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

static arena *a;
static void near(f64 got, f64 want)
{
    if (!(fabs(got - want) <= 1e-6 * fmax(1, fabs(want))))
        fail_msg("got %.9g, want %.9g", got, want);
}

/* ---- planted layers ------------------------------------------------------------------------------------ */

/* 2 core and 2 universal experts, random outputs, and equal routing that a test then changes. */
static struct routed layer(i64 b, i64 h, i64 n, i64 s, f32 **disp, f32 **comb, f32 **out)
{
    struct routed r = { .b = b, .used = b, .h = h, .n = n, .e = 4, .s = s, .d = 6 };
    rng g = rng_at(1, RNG_TEST, 0, 0);
    i64 weights = b * h * n * r.e * s;
    *disp = arena_array(a, f32, weights);
    *comb = arena_array(a, f32, weights);
    *out = arena_array(a, f32, r.e * b * s * r.d);
    LOOP(i, weights) (*disp)[i] = 1 / (f32)n, (*comb)[i] = 1 / (f32)(r.e * s);
    LOOP(i, r.e * b * s * r.d) (*out)[i] = (f32)rng_normal(&g);
    r.dispatch = *disp;
    r.combine = *comb;
    r.experts = *out;
    return r;
}

/* Maps are drawn of images spread over all: 0, 3, 6 and 9 of 12 (a class each, of four), all of 3, and the
 * first ones when it is not said how many there are. */
static void test_places(void **state)
{
    (void)state;
    static const struct { int show; i64 of, n; const char *places; } rows[] = {
        { 4, 12, 12, "0..1..2..3.." }, { 4, 10, 10, "0.1..2.3.." }, { 4, 3, 3, "012" }, { 4, 4, 4, "0123" },
        { 2, 0, 4, "01.." }, { 0, 5, 5, "....." }, { 1, 5, 5, "0...." },
    };
    for (int r = 0; r < countof(rows); r++)
        for (i64 i = 0; i < rows[r].n; i++) {
            struct analysis x = { .show = rows[r].show, .of = rows[r].of };
            char want = rows[r].places[i];
            assert_int_equal(analyse_place(&x, i), want == '.' ? -1 : want - '0');
        }
}

static void test_one_does_all(void **state)
{
    f32 *disp, *comb, *out;
    struct routed r = layer(3, 1, 5, 1, &disp, &comb, &out);
    struct load l;
    (void)state;
    load_open(&l, a, 2, 2, 1);
    LOOP(i, 3 * 5 * 4) comb[i] = i % 4 == 1;
    load_add(&l, &r, a);
    LOOP(e, 4) near(load_share(&l, (int)e), e == 1);
    LOOP(e, 4) assert_int_equal(load_dead(&l, (int)e), e != 1);
    near(load_entropy(&l), 0);
    near(l.token_entropy, 0);
    near(load_part(&l, PART_CORE), 1);
    near(load_part(&l, PART_UNIVERSAL), 0);
    near(l.along[PART_CORE] / l.square[PARTS], 1);
    near(l.square[PART_UNIVERSAL], 0);
    near(l.spread[0] / 3, 5);                                // reads all tokens alike
}

static void test_twins(void **state)
{
    f32 *disp, *comb, *out;
    struct routed r = layer(3, 1, 5, 2, &disp, &comb, &out);
    struct load l;
    (void)state;
    load_open(&l, a, 2, 2, 1);
    i64 row = 3 * 2 * 6;
    LOOP(i, row) out[3 * row + i] = 2 * out[i];              // 3 gives what 0 gives, scaled
    load_add(&l, &r, a);
    near(load_alike(&l, 0, 3), 1);
    near(load_alike(&l, 3, 0), 1);
    assert_true(load_alike(&l, 0, 1) < 0.9 && load_alike(&l, 1, 2) < 0.9);
    near(load_entropy(&l), 1);
    LOOP(e, 4) near(l.dispatch[e] / 3, 2);                   // as many as there are slots
}

/* Expert 0 for the images of class 1 alone, expert 2 for the others. */
static void test_pure(void **state)
{
    f32 *disp, *comb, *out;
    struct routed r = layer(4, 1, 5, 1, &disp, &comb, &out);
    struct load l;
    const i32 label[] = { 1, 0, 2, 1 };
    int top;
    (void)state;
    load_open(&l, a, 2, 2, 3);
    r.label = label;
    LOOP(b, 4) LOOP(n, 5) LOOP(e, 4) comb[(b * 5 + n) * 4 + e] = e == (label[b] == 1 ? 0 : 2);
    load_add(&l, &r, a);
    near(load_specialised(&l, 0, &top), 1);                  // log2 of 1 / (2/4)
    assert_int_equal(top, 1);
    near(load_specialised(&l, 2, &top), 1);
    near(load_information(&l), 1);
    struct load even;
    load_open(&even, a, 2, 2, 3);
    LOOP(i, 4 * 5 * 4) comb[i] = .25f;
    load_add(&even, &r, a);
    near(load_information(&even), 0);
    near(load_specialised(&even, 3, &top), 0);
}

/* Heads and slots, and a batch that is not full: the parts' outputs against a plain sum, and nothing of
 * what comes after the images used. */
static void test_heads(void **state)
{
    f32 *disp, *comb, *out;
    struct routed r = layer(3, 2, 4, 2, &disp, &comb, &out);
    struct load l;
    rng g = rng_at(2, RNG_TEST, 0, 0);
    f64 square[3] = { 0 };
    (void)state;
    load_open(&l, a, 1, 3, 1);
    r.used = 2;
    LOOP(i, 3 * 2 * 4 * 8) comb[i] = (f32)rng_unit(&g) / 8;
    LOOP(i, 2 * 4 * 8) comb[2 * 2 * 4 * 8 + i] = NAN;
    load_add(&l, &r, a);
    LOOP(b, 2) LOOP(n, 4) LOOP(c, 6) {
        f64 core = 0, all = 0;
        LOOP(e, 4) LOOP(s, 2) {
            f64 y = (f64)comb[((b * 2 + c / 3) * 4 + n) * 8 + e * 2 + s]
                    * (f64)out[((e * 3 + b) * 2 + s) * 6 + c];
            core += e < 1 ? y : 0;
            all += y;
        }
        square[0] += core * core;
        square[1] += (all - core) * (all - core);
        square[2] += all * all;
    }
    LOOP(i, 3) near(l.square[i], square[i]);
    near(l.along[0] + l.along[1], l.square[2]);
    assert_int_equal(l.images, 2);
}

/* ---- weights ------------------------------------------------------------------------------------------- */

static void test_weights(void **state)
{
    f32 core[3][4] = { { 1, 2, 3, 4 }, { 2, 4, 6, 8 }, { 4, -3, 2, -1 } }, univ[1][2] = { { 1, 2 } };
    f32 before[3][4] = { { 1, 2, 3, 4 }, { 1, 2, 3, 4 }, { 0, 0, 0, 0 } };
    struct expert_weights w = { 4, 3, { 4, 2 }, { core[0], univ[0] } },
                          w0 = { 4, 3, { 4, 2 }, { before[0], univ[0] } };
    (void)state;
    near(weights_alike(&w, 0, 1), 1);
    near(weights_alike(&w, 0, 2), 0);
    assert_true(isnan(weights_alike(&w, 0, 3)));
    near(weights_moved(&w, &w0, 0), 0);
    near(weights_moved(&w, &w0, 1), 1);
    assert_true(isnan(weights_moved(&w, &w0, 2)));
    near(weights_moved(&w, &w0, 3), 0);
}

/* ---- silence ------------------------------------------------------------------------------------------- */

static void run_model(const struct spec *s, params *p, const f32 *mask, const f32 *pixels, f32 *logits)
{
    graph *g = graph_new(device);
    struct nn m = { .g = g, .p = p };
    node *images = graph_input(g, "images", F32, model_images(s, 2)), *speak = NULL;
    if (mask)
        nn_give(&m, "blocks.1.mlp.silence", speak = graph_input(g, "speak", F32, SHAPE(5, 1, 1)));
    node *y = node_keep(model_build(&m, s, images));
    simplify_graph(g);
    assert_int_equal(graph_compile(g), 0);
    assert_int_equal(node_write(images, pixels), 0);
    if (mask)
        assert_int_equal(node_write(speak, mask), 0);
    assert_int_equal(graph_run(g), 0);
    assert_int_equal(node_read(y, logits), 0);
    graph_free(g);
}

/* Expert e of a parameter becomes zeros. */
static void zero_expert(params *p, const char *name, i64 e)
{
    struct param *x = params_find(p, name);
    assert_non_null(x);
    i64 n = shape_count(x->shape), each = n / x->shape.d[0];
    f32 *v = arena_array(a, f32, n);
    assert_int_equal(params_read(p, x, v), 0);
    memset(v + e * each, 0, sizeof *v * (size_t)each);
    assert_int_equal(params_write(p, x, v), 0);
}

static void test_silence(void **state)
{
    struct spec s;
    const char *set[] = { "model.arch=vit",        "model.image=16",
                          "model.patch=4",         "model.dim=12",
                          "model.depth=2",         "model.heads=2",
                          "model.moe.layers=[1]",  "model.moe.core=2",
                          "model.moe.universal=3", "model.moe.noise_when=training",
                          "model.moe.init=paper" };
    struct spec_set sets[countof(set)];
    f32 pixels[2 * 3 * 256], all[6], plain[6], silent[6], zeroed[6], ones[5] = { 1, 1, 1, 1, 1 },
                                                                     mask[5] = { 1, 0, 1, 1, 0 };
    rng g = rng_at(3, RNG_TEST, 0, 0);
    (void)state;
    LOOP(i, countof(set)) sets[i] = (struct spec_set){ "test", set[i], NULL };
    assert_int_equal(spec_load(&s, a, NULL, sets, countof(set)), 0);
    s.model.classes = 3;
    LOOP(i, countof(pixels)) pixels[i] = (f32)rng_normal(&g);
    params *p = model_open(device, &s, PARAMS_FORWARD);
    assert_non_null(p);
    run_model(&s, p, NULL, pixels, plain);
    run_model(&s, p, ones, pixels, all);
    run_model(&s, p, mask, pixels, silent);
    zero_expert(p, "blocks.1.mlp.core_experts.vit_fc2.weight", 1);
    zero_expert(p, "blocks.1.mlp.core_experts.vit_fc2.bias", 1);
    zero_expert(p, "blocks.1.mlp.univ_experts.vit_fc2.weight", 2);
    zero_expert(p, "blocks.1.mlp.univ_experts.vit_fc2.bias", 2);
    run_model(&s, p, NULL, pixels, zeroed);
    f64 apart = 0;
    LOOP(i, 6) near((f64)all[i], (f64)plain[i]);
    LOOP(i, 6) near((f64)silent[i], (f64)zeroed[i]);
    LOOP(i, 6) apart = fmax(apart, fabs((f64)silent[i] - (f64)all[i]));
    assert_true(apart > 1e-5);                               // their outputs were not zero
    params_free(p);
}

/* ---- curves -------------------------------------------------------------------------------------------- */

static void test_curve(void **state)
{
    static const char lines[] =
        "{\"split\":\"train\",\"epoch\":1,\"step\":5,\"loss\":1}\n"
        "{\"split\":\"eval\",\"epoch\":1,\"step\":5,\"top1\":20,\"run_s\":1800}\n"
        "{\"split\":\"eval\",\"epoch\":2,\"step\":9,\"top1\":60,\"run_s\":3600}\n"
        "{\"split\":\"eval\",\"epoch\":2,\"step\":9,\"top1\":50,\"run_s\":3700}\n" // again, after a resume
        "{\"split\":\"eval\",\"epoch\":3,\"step\":13,\"top1\":70,\"run_s\":7200}\n"
        "{\"split\":\"eval\",\"epoch\":4,\"step\":17,\"top1\":65,\"run_s\":9000}\n";
    char dir[] = "/tmp/jetcl-analyse-XXXXXX";
    struct curve c;
    (void)state;
    assert_non_null(mkdtemp(dir));
    const char *file = arena_printf(a, "%s/metrics.jsonl", dir);
    assert_int_equal(file_save(file, lines, strlen(lines)), 0);
    assert_int_equal(curve_read(&c, a, dir), 0);
    assert_int_equal(c.n, 4);
    near(c.top1[1], 50);
    near(c.best, 70);
    near(c.hours[2], 2);
    assert_int_equal(curve_reaches(&c, 20), 0);
    assert_int_equal(curve_reaches(&c, 55), 2);
    assert_int_equal(curve_reaches(&c, 71), -1);
    unlink(file);
    assert_int_equal(curve_read(&c, a, dir), -1);
    fail_clear();
    rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_places), cmocka_unit_test(test_one_does_all),
        cmocka_unit_test(test_twins), cmocka_unit_test(test_pure),
        cmocka_unit_test(test_heads), cmocka_unit_test(test_weights), cmocka_unit_test(test_silence),
        cmocka_unit_test(test_curve) };
    say_setup((struct say_options){ SAY_QUIET, 0, true });
    a = arena_open("test");
    int rc = cmocka_run_group_tests_name("analyse", tests, open_device, close_device);
    arena_close(a);
    return rc;
}
