/* test_known.c: evaluation whose answers are known beforehand: hand-made logits through what counts them, and
 * a network with hand-made weights that tells dark pictures from light ones, through the program. */
#define mem scratch_arena                         /* `mem` is a type of dev.h */
#include "data_help.h"
#undef mem
#include <jansson.h>
#include "train/learner.h"

#define A scratch_arena

/* ---- counting ------------------------------------------------------------------------------------------ */

static void test_counting(void **state)
{
    (void)state;
    const f32 nan = NAN, inf = INFINITY;
    static const struct { i32 label, right1, right5, predicted; } want[] = {
        { 2, 1, 1, 2 },                           /* largest                                        */
        { 0, 0, 1, 6 },                           /* fifth: four are above                          */
        { 0, 0, 0, 6 },                           /* sixth                                          */
        { 1, 0, 1, 0 },                           /* a tie for the first place is not right         */
        { 0, 0, 1, 1 },
        { 3, 0, 0, 0 },                           /* all equal: six are not smaller                 */
        { 1, 0, 0, 0 },                           /* the true one is not a number                    */
        { 0, 0, 0, 1 },
        { 2, 0, 1, 5 },                           /* another is                                     */
        { 4, 1, 1, 4 },                           /* infinitely sure                                */
        { 4, 0, 0, 0 } };
    const f32 z[][7] = {
        { 1, 2, 5, 2, 0, 0, 0 }, { 3, 1, 1, 4, 5, 6, 7 }, { 2, 1, 3, 4, 5, 6, 7 }, { 5, 5, 1, 1, 1, 1, 1 },
        { 5, 5, 1, 1, 1, 1, 1 }, { 2, 2, 2, 2, 2, 2, 2 }, { 1, nan, 0, 0, 0, 0, 0 },
        { nan, 1, 0, 0, 0, 0, 0 }, { 1, 1, 5, 1, 1, nan, 1 }, { 0, 0, 0, 0, inf, 0, 0 },
        { nan, nan, nan, nan, nan, nan, nan } };
    for (int i = 0; i < countof(want); i++) {
        struct run_eval s = { 0 };
        i64 confusion[49] = { 0 };
        eval_count(z[i], &want[i].label, 1, 7, &s, confusion);
        int column = -1, others = 0;
        for (int k = 0; k < 49; k++) {
            column = confusion[k] == 1 && k / 7 == want[i].label ? k % 7 : column;
            others += (int)confusion[k];
        }
        /* Row 8's largest is a NaN that nothing exceeds; which of the others is named does not matter. */
        bool named = i == 8 ? column != 2 : column == want[i].predicted;
        if (s.top1 != want[i].right1 || s.top5 != want[i].right5 || s.n != 1 || others != 1 || !named)
            fail_msg("row %d: top1 %g, top5 %g, column %d", i, s.top1, s.top5, column);
        eval_count(z[i], &want[i].label, 1, 7, &s, NULL);
        assert_true(s.n == 2 && s.top1 == 2 * want[i].right1);
    }
}

static void test_losses(void **state)
{
    (void)state;
    const f32 z[] = { 0, 0, 0, 1000, 1001, 999, -1000, -2000, -3000, NAN, 0, 0 };
    const i32 labels[] = { 1, 0, 1, 2 };
    const f64 want[] = { log(3), 1 + log(1 + exp(-1) + exp(-2)), 1000, NAN };
    struct run_eval all = { 0 };
    for (int i = 0; i < 4; i++) {
        struct run_eval s = { 0 };
        eval_count(z + 3 * i, labels + i, 1, 3, &s, NULL);
        assert_true(i == 3 ? isnan(s.loss) : fabs(s.loss - want[i]) < 1e-12 * fabs(want[i]));
    }
    eval_count(z, labels, 3, 3, &all, NULL);
    assert_true(all.n == 3 && fabs(all.loss - want[0] - want[1] - want[2]) < 1e-9 && all.top1 == 0);
}

/* Of a hundred thousand classes a matrix would need 80 GB: each class is counted without one. */
static void test_many_classes(void **state)
{
    (void)state;
    enum { CLASSES = 100000 };
    arena *a = arena_open("test");
    f32 *z = arena_array(a, f32, CLASSES);
    struct scores s, small;
    scores_open(&s, a, CLASSES, 5, 0, true);
    scores_open(&small, a, 3, 1, 0, true);
    assert_true(!s.confusion && small.confusion && arena_used(a) < 16 << 20);
    z[99999] = 2;
    z[7] = 1;
    scores_add(&s, z, 99999);
    scores_add(&s, z, 7);
    struct class_score last = scores_class(&s, 99999), seven = scores_class(&s, 7), mean = scores_mean(&s);
    assert_true(last.images == 1 && last.right == 1 && last.said == 2 && last.precision == 0.5
                && last.recall == 1);
    assert_true(seven.images == 1 && seven.right == 0 && seven.said == 0 && seven.f1 == 0);
    assert_true(mean.images == 2 && mean.right == 1 && mean.recall == 0.5 && s.in_top_k == 2);
    scores_add(&small, z + 99997, 1);
    assert_true(small.confusion[1 * 3 + 2] == 1);
    arena_close(a);
}

/* ---- a network that sees brightness -------------------------------------------------------------------- */

enum { SIDE = 8, DIM = 4 };
static const char *yaml;

/* One patch, whose mean brightness above 128 goes to channel 0 and below to channel 1; the block adds
 * nothing. fc_norm makes (b, -b, 0, 0) into +-sqrt 2; the head answers class 1, or `dark` class 0, to light. */
static void add_weights(ckpt *c, const char *prefix, bool swapped)
{
    static const struct { const char *name; i64 shape[4]; int nd; } rest[] = {
        { "patch_embed.proj.bias", { DIM }, 1 }, { "pos_embed", { 1, 1, DIM }, 3 },
        { "blocks.0.norm1.weight", { DIM }, 1 }, { "blocks.0.norm1.bias", { DIM }, 1 },
        { "blocks.0.attn.qkv.weight", { 3 * DIM, DIM }, 2 }, { "blocks.0.attn.qkv.bias", { 3 * DIM }, 1 },
        { "blocks.0.attn.proj.weight", { DIM, DIM }, 2 }, { "blocks.0.attn.proj.bias", { DIM }, 1 },
        { "blocks.0.norm2.weight", { DIM }, 1 }, { "blocks.0.norm2.bias", { DIM }, 1 },
        { "blocks.0.mlp.fc1.weight", { 4 * DIM, DIM }, 2 }, { "blocks.0.mlp.fc1.bias", { 4 * DIM }, 1 },
        { "blocks.0.mlp.fc2.weight", { DIM, 4 * DIM }, 2 }, { "blocks.0.mlp.fc2.bias", { DIM }, 1 },
        { "fc_norm.bias", { DIM }, 1 }, { "head.bias", { 2 }, 1 } };
    static f32 zero[256], patch[DIM * 3 * SIDE * SIDE];
    static const f32 one[DIM] = { 1, 1, 1, 1 };
    static const f32 heads[2][2 * DIM] = { { -1, 0, 0, 0, 1, 0, 0, 0 }, { 1, 0, 0, 0, -1, 0, 0, 0 } };
    int pixels = 3 * SIDE * SIDE;
    for (int i = 0; i < 2 * pixels; i++)
        patch[i] = (i < pixels ? 1.f : -1.f) / (f32)pixels;
    for (int i = 0; i < countof(rest); i++)
        ckpt_add(c, arena_printf(A, "%s%s", prefix, rest[i].name), CKPT_F32, rest[i].nd, rest[i].shape, zero);
    ckpt_add(c, arena_printf(A, "%spatch_embed.proj.weight", prefix), CKPT_F32, 4,
             (i64[]){ DIM, 3, SIDE, SIDE }, patch);
    ckpt_add(c, arena_printf(A, "%sfc_norm.weight", prefix), CKPT_F32, 1, (i64[]){ DIM }, one);
    ckpt_add(c, arena_printf(A, "%shead.weight", prefix), CKPT_F32, 2, (i64[]){ 2, DIM }, heads[swapped]);
}

static void grey(const char *path, int v)
{
    struct image m = { 0 };
    assert_int_equal(image_room(A, &m, 16, 16), 0);
    memset(m.rgb, v, image_bytes(&m));
    write_png(path, &m, PNG_COLOR_TYPE_RGB, 8, false, false);
}

static int make_world(void **state)
{
    memory_open(state);
    for (int i = 0; i < 3; i++)
        grey(at("set/test/dark/%d.png", i), 10 + 20 * i);
    grey(at("set/test/dark/3.png"), 200);         // a light one among the dark
    grey(at("set/test/light/0.png"), 180), grey(at("set/test/light/1.png"), 250);
    grey(at("set/other/dark/0.png"), 220), grey(at("set/other/light/0.png"), 230);
    ckpt *c = ckpt_new();
    add_weights(c, "", false);
    assert_int_equal(ckpt_save(c, at("plain.safetensors")), 0);
    ckpt_close(c);
    c = ckpt_new();
    add_weights(c, "model.", true);
    add_weights(c, "model_ema.", false);
    assert_int_equal(ckpt_save(c, at("both.safetensors")), 0);
    ckpt_close(c);
    yaml = at("exp.yaml");
    write_text(yaml, arena_printf(A,
        "data: {set: folder, root: %s/set, eval: test, mean: 128, std: 64, workers: 1}\n"
        "model: {arch: vit, image: 8, patch: 8, dim: 4, depth: 1, heads: 1, class_token: off}\n"
        "eval: {batch: 4}\n", scratch()));
    yaml = strdup(yaml);
    return memory_close(state);
}

/* What the program prints for these arguments; its exit code in *code. */
static const char *said(int *code, const char *fmt, ...) PRINTF(2, 3);
static const char *said(int *code, const char *fmt, ...)
{
    const char *build = getenv("TEST_BUILD");
    va_list ap;
    va_start(ap, fmt);
    const char *args = arena_vprintf(A, fmt, ap);
    va_end(ap);
    FILE *p = popen(arena_printf(A, "%s/jetcl %s 2>%s/stderr", build ? build : "build", args, scratch()), "r");
    char *out = arena_bytes(A, 1 << 16, 1);
    assert_non_null(p);
    out[fread(out, 1, (1 << 16) - 1, p)] = 0;
    int status = pclose(p);
    *code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return out;
}

static const char *worked(const char *args)
{
    int code;
    const char *out = said(&code, "%s", args);
    if (code)
        fail_msg("jetcl %s: exit %d: %s", args, code, file_text(A, at("stderr"), NULL));
    return out;
}

static const f64 sure = 2.8284271247461903;       /* logit of one class over the other's */

static void evaluates(const char *args, i64 n, f64 top1, f64 loss)
{
    json_t *j = json_loads(worked(arena_printf(A, "eval %s %s --json -q", yaml, args)), 0, NULL);
    assert_non_null(j);
    f64 got = json_number_value(json_object_get(j, "loss"));
    if (json_integer_value(json_object_get(j, "n")) != n
        || fabs(json_number_value(json_object_get(j, "top1")) - top1) > 1e-4
        || json_number_value(json_object_get(j, "top5")) != 100 || fabs(got - loss) > 1e-4 * loss)
        fail_msg("%s: %s", args, json_dumps(j, 0));
    json_decref(j);
}

/* Six pictures in batches of four, one of them wrong; then another split, and averaged weights. */
static void test_eval(void **state)
{
    (void)state;
    f64 right = log(1 + exp(-sure)), wrong = sure + right;
    const char *plain = at("plain.safetensors"), *both = at("both.safetensors");
    evaluates(plain, 6, 500. / 6, (5 * right + wrong) / 6);
    evaluates(arena_printf(A, "%s --split other", plain), 2, 50, (right + wrong) / 2);
    evaluates(arena_printf(A, "--set model.init=%s", plain), 6, 500. / 6, (5 * right + wrong) / 6);
    evaluates(both, 6, 100. / 6, (5 * wrong + right) / 6);
    evaluates(arena_printf(A, "%s --set model.init_ema=on", both), 6, 500. / 6, (5 * right + wrong) / 6);
    const char *text = worked(arena_printf(A, "eval %s %s -q", yaml, plain));
    if (!strstr(text, ": top-1 83.33 %, top-5 100.00 %, loss 0.5288 on 6 images of test ("))
        fail_msg("%s", text);
}

static void test_tables(void **state)
{
    (void)state;
    const char *classes = at("classes.csv"), *confusion = at("confusion.csv");
    worked(arena_printf(A, "eval %s %s -q --per-class %s --confusion %s", yaml, at("plain.safetensors"),
                        classes, confusion));
    assert_string_equal(file_text(A, classes, NULL), "class,name,images,top1,precision,recall,f1\n"
                        "0,\"dark\",4,75.0000,1.000000,0.750000,0.857143\n"
                        "1,\"light\",2,100.0000,0.666667,1.000000,0.800000\n");
    assert_string_equal(file_text(A, confusion, NULL),
                        "truth,\"dark\",\"light\"\n\"dark\",3,1\n\"light\",0,2\n");
}

static void test_convert(void **state)
{
    (void)state;
    f64 right = log(1 + exp(-sure)), wrong = sure + right;
    const char *both = at("both.safetensors"), *out = at("out.safetensors");
    worked(arena_printf(A, "convert %s %s -q --ema --meta note=hello", both, out));
    evaluates(out, 6, 500. / 6, (5 * right + wrong) / 6);
    ckpt *c = ckpt_open(out);
    assert_true(c && ckpt_count(c) == 19);
    assert_string_equal(ckpt_meta(c, "note"), "hello");
    ckpt_close(c);
    worked(arena_printf(A, "convert %s %s -q", both, out));
    evaluates(out, 6, 100. / 6, (5 * wrong + right) / 6);
    worked(arena_printf(A, "convert %s %s -q --raw", both, out));
    c = ckpt_open(out);
    assert_true(c && ckpt_count(c) == 38 && ckpt_find(c, "model_ema.head.weight"));
    ckpt_close(c);
    int code;
    said(&code, "convert %s %s --raw --ema", both, out);
    assert_int_equal(code, 2);
    said(&code, "convert %s %s --meta =x", both, out);
    assert_int_equal(code, 2);
}

/* Likeliest first, with its probability and name. */
static void test_predict(void **state)
{
    (void)state;
    f64 p = 1 / (1 + exp(-sure));
    const char *plain = at("plain.safetensors"), *dark = at("set/test/dark/0.png");
    int code;
    const char *csv = worked(arena_printf(A, "predict %s %s %s %s --top 2 -q --set model.classes=2", yaml,
                                          plain, dark, at("set/test/dark/3.png")));
    const char *want = arena_printf(A, "image,rank,class,name,probability\n"
        "\"%s\",1,0,\"0\",%.6f\n\"%s\",2,1,\"1\",%.6f\n\"%s\",1,1,\"1\",%.6f\n\"%s\",2,0,\"0\",%.6f\n",
        dark, p, dark, 1 - p, at("set/test/dark/3.png"), p, at("set/test/dark/3.png"), 1 - p);
    const char *c1 = csv, *c2 = want;             // equal but for the last digit of a probability
    for (; *c1 && *c2; c1 += *c1 != 0, c2 += *c2 != 0) {
        char *e1, *e2;
        if (*c1 == '0' && c1[1] == '.' && *c2 == '0' && c2[1] == '.') {
            assert_true(fabs(strtod(c1, &e1) - strtod(c2, &e2)) < 5e-6);
            c1 = e1, c2 = e2;
        }
        if (*c1 != *c2)
            fail_msg("got\n%swanted\n%s", csv, want);
    }
    assert_true(!*c1 && !*c2);
    const char *line = worked(arena_printf(A, "predict %s %s %s --json -q --set model.classes=2", yaml, plain,
                                           dark));
    json_t *j = json_loads(line, 0, NULL), *top = json_object_get(j, "top"), *first;
    assert_non_null(first = json_array_get(top, 0));
    assert_int_equal(json_array_size(top), 1);
    assert_int_equal(json_integer_value(json_object_get(first, "class")), 0);
    assert_true(fabs(json_number_value(json_object_get(first, "p")) - p) < 1e-5);
    assert_string_equal(json_string_value(json_object_get(j, "image")), dark);
    json_decref(j);
    said(&code, "predict %s %s %s --top 3 --set model.classes=2", yaml, plain, dark);
    assert_int_equal(code, 2);
    said(&code, "predict %s %s %s --top 0 --set model.classes=2", yaml, plain, dark);
    assert_int_equal(code, 2);
    said(&code, "predict %s %s %s", yaml, plain, dark);
    assert_int_equal(code, 0);                    // the head says how many classes
    said(&code, "predict %s %s %s --set model.classes=3", yaml, plain, dark);
    assert_int_equal(code, 3);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, memory_open, memory_close)
    const struct CMUnitTest tests[] = {
        TEST(test_counting), TEST(test_losses), TEST(test_many_classes), TEST(test_eval), TEST(test_tables),
        TEST(test_convert),
        TEST(test_predict) };
    return cmocka_run_group_tests(tests, make_world, scratch_close);
}
