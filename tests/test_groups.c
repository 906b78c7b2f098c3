/* test_groups.c: the learning rate of every parameter: its group, the decay by layer, the schedule. */
#include "parsed.h"
#include <math.h>
#include <stdlib.h>
#include "train/learner.h"

/* ---- groups -------------------------------------------------------------------------------------------- */

/* Models whose parameters between them meet every rule; third stages of 9 and 27 blocks count differently. */
static const struct { const char *name, *text; } grouped[] = {
    { "vit moe", "model: {arch: vit_tiny_patch16_224, classes: 10, moe: {layers: [6, 7, 8, 9, 10, 11]}}" },
    { "vit paper", "variant: paper\nmodel: {arch: vit, image: 32, dim: 12, depth: 4, heads: 3, classes: 5,\n"
                   " moe: {layers: [1, 2], key_proj: on, query_proj: on, layer_scale: on, core: 2}}" },
    { "vit input as phi",
      "model: {arch: vit, image: 32, dim: 12, depth: 3, heads: 3, classes: 5,\n"
      " pool: token, layer_scale: 1, moe: {layers: [1, 2], share: 2, input_as_phi: on, core: 2}}" },
    { "vit of puigcerver", "model: {arch: vit, image: 32, dim: 12, depth: 3, heads: 3, classes: 5,\n"
                           " moe: {layers: [1, 2], kind: vmoe}}" },
    { "convnext-f moe", "model: {arch: convnext_f, classes: 10, moe: {layers: [10, 11, 12, 13, 14, 16, 17]}}" },
    { "convnext-t", "model: {arch: convnext_tiny, classes: 10}" },
    { "convnext-s", "model: {arch: convnext_small, classes: 10}" },
    { "two stages", "model: {arch: convnext, image: 32, depths: [2, 2], dims: [8, 16], classes: 5}" },
};

/* Layers above a parameter and its decay, per name, as tests/golden/groups.txt has them. */
static void test_groups(void **state)
{
    (void)state;
    const char *want_path = "tests/golden/groups.txt", *got_path = "build/groups.txt";
    FILE *f = (file_mkdirs("build"), fopen(got_path, "w"));
    assert_non_null(f);
    for (int k = 0; k < countof(grouped); k++) {
        struct spec s = parsed(grouped[k].text);
        params *p = model_params(&s);
        if (!p)
            fail_msg("%s", fail_message());
        fprintf(f, "%s[%s]\n", k ? "\n" : "", grouped[k].name);
        for (size_t i = 0; i < p->n; i++) {
            struct group g = optim_group(&s, p->list[i].name, p->list[i].shape.nd);
            f64 above = log(g.lr_scale) / log(s.optim.layer_decay);
            assert_true(fabs(above - rint(above)) < 1e-9);
            fprintf(f, "%-55s %3d %5g\n", p->list[i].name, abs((int)rint(above)), g.weight_decay);
        }
        params_free(p);
    }
    fclose(f);
    const char *got = file_text(a, got_path, NULL), *want = file_text(a, want_path, NULL);
    if (!want || strcmp(got, want))
        fail_msg("%s and %s differ", want_path, got_path);
    remove(got_path);
}

/* With another decay the same layers: the rate falls by the factor per layer, and not at all with 1. */
static void test_layer_decay(void **state)
{
    (void)state;
    struct spec s = parsed("model: {arch: vit_tiny_patch16_224, classes: 10}\noptim: {layer_decay: 0.5, "
                           "weight_decay: 0.25}");
    struct group g = optim_group(&s, "blocks.9.attn.qkv.weight", 2);
    assert_true(g.lr_scale == 0.125 && g.weight_decay == 0.25 && g.layer == 10);
    s.optim.layer_decay = 1;
    assert_true(optim_group(&s, "cls_token", 3).lr_scale == 1);
}

/* ---- the learning rate --------------------------------------------------------------------------------- */

static void test_schedule(void **state)
{
    (void)state;
    static const char *const text[] = {
        "train: {epochs: 6}\nschedule: {warmup_epochs: 1.5, warmup_start: 0.1, min_ratio: 0.2, by: step}",
        "train: {epochs: 6}\nschedule: {warmup_epochs: 1.5, warmup_start: 0.1, min_ratio: 0.2, by: epoch}",
        "train: {epochs: 6}\nschedule: {warmup_epochs: 1.5, warmup_start: 0.1, name: constant}",
        "train: {epochs: 6}\nschedule: {warmup_epochs: off, min_ratio: 0, by: step}",
        "train: {epochs: 6}\nschedule: {warmup_epochs: 6, warmup_start: 0}",
        "train: {epochs: 2}\nschedule: {warmup_epochs: 0.25, warmup_start: 0.5, min_ratio: 1}" };
    static const struct { int which; i64 step; f64 want; } rows[] = {       // four steps an epoch
        { 0, 0, .1 }, { 0, 1, .28 }, { 0, 4, .82 }, { 0, 5, 1 }, { 0, 6, 1 },
        { 0, 7, .993923101204883 }, { 0, 12, .8 }, { 0, 15, .6 }, { 0, 24, .2 }, { 0, 30, .2 },
        { 1, 5, 1 }, { 1, 6, 1 }, { 1, 7, 1 }, { 1, 8, .975877048314364 }, { 1, 11, .975877048314364 },
        { 1, 12, .8 }, { 1, 23, .293582222752409 },
        { 2, 0, .1 }, { 2, 3, .64 }, { 2, 5, 1 }, { 2, 23, 1 },
        { 3, 0, 1 }, { 3, 6, .853553390593274 }, { 3, 12, .5 }, { 3, 23, .004277569313095 }, { 3, 24, 0 },
        { 4, 0, 0 }, { 4, 1, 1. / 23 }, { 4, 23, 1 }, { 4, 24, 1 },
        { 5, 0, .5 }, { 5, 1, 1 }, { 5, 5, 1 }, { 5, 8, 1 } };
    for (int i = 0; i < countof(rows); i++) {
        struct spec s = parsed(text[rows[i].which]);
        f64 got = schedule_factor(&s, rows[i].step, 4);
        if (fabs(got - rows[i].want) > 1e-12)
            fail_msg("%d, step %lld: %.15g, wanted %.15g", rows[i].which, (long long)rows[i].step, got,
                     rows[i].want);
    }
}

/* The warm-up ends on a whole step, at a half the later one; a cosine shorter than an epoch is one. */
static void test_schedule_rounds(void **state)
{
    (void)state;
    struct spec s = parsed("train: {epochs: 2}\n"
                           "schedule: {warmup_epochs: 1.5, warmup_start: 0.1, min_ratio: 0.2, by: step}");
    assert_true(fabs(schedule_factor(&s, 6, 5) - (.1 + .9 * 6 / 7)) < 1e-12 && schedule_factor(&s, 7, 5) == 1);
    assert_true(fabs(schedule_factor(&s, 7, 4) - .6) < 1e-12);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, test_begin, test_end)
    const struct CMUnitTest tests[] = {
        TEST(test_groups), TEST(test_layer_decay), TEST(test_schedule), TEST(test_schedule_rounds) };
    say_setup((struct say_options){ SAY_QUIET, 0, true });
    return cmocka_run_group_tests(tests, NULL, NULL);
}
