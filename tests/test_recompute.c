/* test_recompute.c: gradients of a network whose blocks are computed again in the backward pass, against the
 * same network that keeps everything, and what that saves; and of batches down to one image, whose arrays share
 * memory, against those that have memory of their own. */
#include "unit.h"
#include "model/model.h"
#include "train/learner.h"
#include <math.h>

static dev *device;

static const char *const nets[] = {
    "image: 32, patch: 4, dim: 48, depth: 6, heads: 3, classes: 5, drop_path: 0.2",
    ("image: 32, patch: 4, dim: 48, depth: 6, heads: 3, classes: 5, drop_path: 0.2, "
     "moe: {layers: [2, 3, 4, 5], core: 4, universal: 8}"),
    ("image: 32, patch: 4, dim: 48, depth: 6, heads: 3, classes: 5, layer_scale: 0.1, "
     "moe: {layers: [1, 2, 4], core: 4, universal: 8, share: 2, multi_head: on}"),
};
static const char *const convnext =
    "depths: [1, 2, 2], dims: [16, 32, 48], image: 32, classes: 5, "
    "moe: {layers: [2, 4], core: 3, universal: 5}";

static void parse(struct spec *s, arena *a, const char *arch, const char *net, const char *train)
{
    const char *text = arena_printf(a, "model: {arch: %s, %s}\ntrain: {%s}\n", arch, net, train);
    if (spec_parse(s, a, "test", text, NULL, 0))
        fail_msg("%s", fail_message());
}

static u64 planned(const char *arch, const char *net, const char *train)
{
    arena *a = arena_open("test");
    struct spec s;
    struct model_count k;
    parse(&s, a, arch, net, train);
    if (model_count(a, &s, 1, 8, 8, &k))
        fail_msg("%s", fail_message());
    u64 bytes = k.train_bytes;
    arena_close(a);
    return bytes;
}

static void test_saves(void **state)
{
    (void)state;
    for (int i = 0; i < countof(nets); i++) {
        u64 all = planned("vit", nets[i], ""), less = planned("vit", nets[i], "recompute: blocks");
        if (!(less < all / 2))
            fail_msg("%s: %llu bytes, recomputing %llu", nets[i], (unsigned long long)all,
                     (unsigned long long)less);
    }
    assert_true(planned("convnext", convnext, "recompute: blocks") < planned("convnext", convnext, ""));
}

enum { BATCH = 4, MOST = 1 << 21 };
static f32 kept[MOST], again[MOST], images[2 * BATCH * 3 * 32 * 32], labels[2 * BATCH * 5];

/* All gradients of a step, one after the other. */
static i64 gradients(const char *arch, const char *net, const char *train, f32 *out)
{
    arena *a = arena_open("test");
    struct spec s;
    struct learner l;
    f64 loss = NAN, norm = NAN;
    parse(&s, a, arch, net, train);
    params *p = model_open(device, &s, PARAMS_TRAIN);
    struct batch b = { .n = s.train.batch, .numbers = images, .soft_labels = labels };
    if (!p || learner_open(&l, &s, device, p) || learner_step(&l, &b, 0) || learner_read(&l, &loss, &norm))
        fail_msg("%s", fail_message());
    assert_true(isfinite(loss) && norm > 0);
    i64 n = 0;
    for (size_t i = 0; i < p->n; n += shape_count(p->list[i++].shape)) {
        assert_true(n + shape_count(p->list[i].shape) < MOST);
        mem_read(device, p->list[i].grad, out + n);
    }
    learner_close(&l);
    params_free(p);
    arena_close(a);
    return n;
}

/* Kernels may be joined in another way, so that a value here and there is rounded otherwise. */
static void compare(const char *arch, const char *net, const char *more)
{
    arena *a = arena_open("test");
    i64 n = gradients(arch, net, more, kept), differ = 0;
    assert_int_equal(gradients(arch, net, arena_printf(a, "%s, recompute: blocks", more), again), n);
    f64 top = 0, far = 0;
    for (i64 i = 0; i < n; i++) {
        top = fmax(top, fabs(kept[i]));
        far = fmax(far, fabs((f64)again[i] - kept[i]));
        differ += memcmp(&again[i], &kept[i], 4) != 0;
        assert_true(isfinite(again[i]));
    }
    if (!(top > 0 && far <= 1e-6 * top))
        fail_msg("%s %s: %lld of %lld differ, by up to %.2g of %.2g", arch, net, (long long)differ,
                 (long long)n, far, top);
    arena_close(a);
}

static void test_gradients(void **state)
{
    (void)state;
    for (int i = 0; i < countof(nets); i++)
        compare("vit", nets[i], "batch: 4, accumulate: 1");
    compare("convnext", convnext, "batch: 4, accumulate: 1");
    compare("vit", nets[1], "batch: 8, accumulate: 2");
}

static void test_switches(void **state)
{
    (void)state;
    static const char *const off[] = { "no_join,no_plan", "no_plan", "no_class" };
    for (int i = 0; i < countof(off); i++) {
        trace_set(off[i]);
        compare("vit", nets[1], "batch: 4, accumulate: 1");
    }
    trace_set("");
}

/* One image: its tokens lie in one piece, so that slices are views and tokens are put together in place. */
static void share_memory(const char *arch, const char *net, int batch)
{
    arena *a = arena_open("test");
    const char *train = arena_printf(a, "batch: %d, accumulate: 1", batch);
    i64 n = gradients(arch, net, train, kept);
    trace_set("no_plan");
    assert_int_equal(gradients(arch, net, train, again), n);
    trace_set("");
    if (memcmp(kept, again, (size_t)n * sizeof *kept))
        fail_msg("%s, batch %d: another gradient when memory is shared", net, batch);
    arena_close(a);
}

static void test_shared_memory(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "registers: 4", "registers: 3, class_token: off", "registers: 2, dist_token: head", "dist_token: on",
        "registers: 1, pool: avg, pre_norm: on", "registers: 4, moe: {layers: [1], core: 2, universal: 3}" };
    arena *a = arena_open("test");
    for (int batch = 1; batch <= 2; batch++) {
        for (int i = 0; i < countof(rows); i++)
            share_memory("vit", arena_printf(a, "image: 32, patch: 8, dim: 48, depth: 2, heads: 3, "
                                             "classes: 5, %s", rows[i]), batch);
        share_memory("convnext", convnext, batch);
    }
    arena_close(a);
}

static int group_open(void **state)
{
    (void)state;
    device = dev_open(NULL);
    rng r = rng_at(7, RNG_TEST, 0, 0);
    for (int i = 0; i < countof(images); i++)
        images[i] = (f32)rng_normal(&r);
    for (int i = 0; i < 2 * BATCH; i++)
        labels[i * 5 + i % 5] = 1;
    return device ? 0 : -1;
}

static int group_close(void **state)
{
    (void)state;
    dev_close(device);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_saves), cmocka_unit_test(test_gradients), cmocka_unit_test(test_switches),
        cmocka_unit_test(test_shared_memory),
    };
    say_setup((struct say_options){ SAY_QUIET, 0, true });
    return cmocka_run_group_tests(tests, group_open, group_close);
}
