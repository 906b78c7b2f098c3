/* test_model.c: the paper's models to the last parameter and multiply-add; what training draws; weights out and in again. */
#include "unit.h"
#include "model/model.h"
#include <math.h>
#include <stdlib.h>

#define LATE "model.moe.layers=[6,7,8,9,10,11]"

/* ---- counting ----------------------------------------------------------------------------------------------------------- */

/* Parameters as the reference model has them; multiply-adds in G as the paper counts, and all (0: not given). */
struct row { const char *name; i64 params; f64 paper, complete; const char *set[6]; };
static const struct row rows[] = {
    { "ViT-T",               5717416, 1.075, 1.254, { "model.arch=vit_tiny_patch16_224" } },
    { "ViT-S",              22050664, 0,     0,     { "model.arch=vit_small_patch16_224" } },
    { "Soft MoE-T",        353892142, 1.209, 1.388, { "model.arch=vit_tiny_patch16_224", LATE, "model.moe.kind=soft" } },
    { "Soft MoE-S",       1412033134, 0,     0,     { "model.arch=vit_small_patch16_224", LATE, "model.moe.kind=soft" } },
    { "V-JetMoE-T 11:12",   92282156, 0,     0,     { "model.moe.layers=[10,11]" } },
    { "V-JetMoE-T 9:12",   178846896, 0,     0,     { "model.moe.layers=[8,9,10,11]" } },
    { "V-JetMoE-T 7:12",   265411636, 1.187, 1.365, { LATE } },
    { "V-JetMoE-T 5:12",   351976376, 0,     0,     { "model.moe.layers=[4,5,6,7,8,9,10,11]" } },
    { "V-JetMoE-T 32/64",   89321524, 0,     0,     { LATE, "model.moe.core=32", "model.moe.universal=64" } },
    { "V-JetMoE-T 64/128", 174698548, 0,     0,     { LATE, "model.moe.core=64", "model.moe.universal=128" } },
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
    f64 start = clock_now();
    assert_int_equal(model_count(a, &s, 8, 4, &k), 0);
    assert_true(clock_now() - start < 30);        // an accident of the quadratic kind, not a benchmark
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

int main(void)
{
    static struct CMUnitTest tests[countof(rows) + 16];
    int n = 0;
    say_setup((struct say_options){ SAY_QUIET, 0, true });
    for (int i = 0; i < countof(rows); i++)
        tests[n++] = (struct CMUnitTest){ rows[i].name, test_count, NULL, NULL, (void *)&rows[i] };
    return _cmocka_run_group_tests("model", tests, (size_t)n, NULL, NULL);
}
