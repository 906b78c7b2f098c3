/* test_train.c: schedule and parameter groups against the reference's numbers, a batch in parts against the
 * whole, a run that stopped and was continued against one that was not. */
#include "unit.h"
#include "train/learner.h"
#include <jansson.h>
#include <math.h>
#include <stdlib.h>

static dev *device;

static void parse(struct spec *s, arena *a, const char *text)
{
    if (spec_parse(s, a, "test", text, NULL, 0))
        fail_msg("%s", fail_message());
}

static const char *const tiny =
    "model: {arch: vit, image: 8, patch: 4, dim: 16, depth: 2, heads: 2, classes: 3, drop_path: 0.3,\n"
    "        moe: {layers: [1], core: 2, universal: 3}}\n"
    "train: {batch: 4, clip_norm: 1.0, epochs: 10}\noptim: {lr: 1e-2}\n"
    "schedule: {warmup_epochs: 2, name: cosine}\n";

/* Constants of mmengine's LinearLR(1e-3, end 2 epochs of 7) and CosineAnnealingLR(8 epochs,
 * eta_min_ratio 1e-2). */
static void test_schedule(void **state)
{
    (void)state;
    arena *a = arena_open("test");
    struct spec s;
    parse(&s, a, tiny);
    const struct { i64 step; f64 by_epoch, by_step; } want[] = {
        { 0, 1e-3, 1e-3 }, { 6, .001 + .999 * 6 / 13, .001 + .999 * 6 / 13 }, { 13, 1, 1 }, { 14, 1, 1 },
        { 20, 1, 0 }, { 21, .01 + .495 * (1 + cos(M_PI / 8)), .01 + .495 * (1 + cos(M_PI / 8)) },
        { 69, .01 + .495 * (1 + cos(M_PI * 7 / 8)), .01 + .495 * (1 + cos(M_PI * 55 / 56)) } };
    for (int i = 0; i < countof(want); i++) {
        s.schedule.by = BY_epoch;
        assert_true(fabs(schedule_factor(&s, want[i].step, 7) - want[i].by_epoch) < 1e-12);
        s.schedule.by = BY_step;
        if (want[i].by_step > 0)
            assert_true(fabs(schedule_factor(&s, want[i].step, 7) - want[i].by_step) < 1e-12);
    }
    arena_close(a);
}

/* The rule's cases, by name: embeddings, dense block, MoE block, head. */
static void test_groups(void **state)
{
    (void)state;
    arena *a = arena_open("test");
    struct spec s;
    parse(&s, a, "model: {arch: vit_tiny_patch16_224, classes: 10, moe: {layers: [6, 7, 8, 9, 10, 11]}}");
    const struct { const char *name; int nd; f64 layers_above, decay; } want[] = {
        { "cls_token", 3, 13, .05 }, { "pos_embed", 3, 13, 0 }, { "patch_embed.proj.weight", 4, 13, .05 },
        { "patch_embed.proj.bias", 1, 13, 0 }, { "blocks.0.norm1.weight", 1, 12, 0 },
        { "blocks.5.mlp.fc1.weight", 2, 7, .05 }, { "blocks.11.attn.qkv.weight", 2, 1, .05 },
        { "blocks.11.attn.qkv.bias", 1, 1, 0 }, { "blocks.8.norm2.weight", 1, 0, 0 },
        { "blocks.5.norm2.weight", 1, 7, 0 }, { "blocks.7.mlp.phi", 3, 0, .05 },
        { "blocks.7.mlp.scales.0", 0, 0, 0 }, { "blocks.7.mlp.slot_norm.weight", 1, 0, .05 },
        { "blocks.7.mlp.core_experts.vit_fc1.bias", 2, 0, 0 },
        { "blocks.7.mlp.univ_experts.vit_fc2.weight", 3, 0, .05 }, { "fc_norm.weight", 1, 0, 0 },
        { "head.weight", 2, 0, .05 }, { "head.bias", 1, 0, 0 } };
    for (int i = 0; i < countof(want); i++) {
        struct group g = optim_group(&s, want[i].name, want[i].nd);
        if (fabs(g.lr_scale - pow(.6, want[i].layers_above)) > 1e-12
            || fabs(g.weight_decay - want[i].decay) > 1e-12)
            fail_msg("%s: lr scale %g, decay %g", want[i].name, g.lr_scale, g.weight_decay);
    }
    parse(&s, a, "variant: paper\nmodel: {arch: vit_tiny_patch16_224, classes: 10, moe: {layers: [2]}}");
    assert_true(optim_group(&s, "blocks.2.mlp.slot_norm.weight", 1).weight_decay == 0);
    assert_true(optim_group(&s, "blocks.2.norm2.weight", 1).lr_scale == 1);
    assert_true(optim_group(&s, "blocks.7.norm2.weight", 1).lr_scale < 1);
    arena_close(a);
}

static void test_golden_groups(void **state)
{
    (void)state;
    arena *a = arena_open("test");
    json_t *all = json_load_file(REFERENCE "optim_groups.json", 0, NULL), *row;
    assert_non_null(all);
    const char *toy = "model: {arch: vit, image: 32, patch: 8, dim: 24, depth: 4, heads: 3, classes: 10,\n"
                      "        moe: {layers: [2, 3]}}";
    const char *real = "model: {arch: vit_tiny_patch16_224, classes: 1000,\n"
                       "        moe: {layers: [6, 7, 8, 9, 10, 11]}}";
    const char *key;
    json_t *list;
    size_t i, checked = 0;
    json_object_foreach(all, key, list) {
        struct spec s;
        parse(&s, a, strcmp(key, "toy") ? real : toy);
        json_array_foreach(list, i, row) {
            if (!json_is_object(row))
                continue;
            const char *name = json_string_value(json_object_get(row, "name"));
            struct group g = optim_group(&s, name, (int)json_array_size(json_object_get(row, "shape")));
            f64 scale = json_number_value(json_object_get(row, "lr_scale"));
            f64 wd = json_number_value(json_object_get(row, "weight_decay"));
            if (fabs(g.lr_scale - scale) > 1e-9 || fabs(g.weight_decay - wd) > 1e-12)
                fail_msg("%s %s: lr scale %g, want %g; decay %g, want %g", key, name, g.lr_scale, scale,
                         g.weight_decay, wd);
            checked++;
        }
    }
    assert_true(checked > 50);
    json_decref(all);
    arena_close(a);
}

/* ---- steps --------------------------------------------------------------------------------------------- */

static f32 pixels[6][4 * 3 * 64], labels[6][4 * 3];

static void make_batches(void)
{
    rng r = rng_at(3, RNG_TEST, 0, 0);
    for (int k = 0; k < 6; k++) {
        for (int i = 0; i < countof(pixels[k]); i++)
            pixels[k][i] = (f32)rng_normal(&r);
        for (int i = 0; i < 4; i++)
            for (int j = 0; j < 3; j++)
                labels[k][i * 3 + j] = j == (i + k) % 3;
    }
}

static struct batch batch_at(const struct learner *l, int k)
{
    return (struct batch){ .n = l->s->train.batch, .numbers = pixels[k], .soft_labels = labels[k] };
}

/* Weights after steps [from, to) into out; state is loaded before and saved after where a path is given. */
static i64 run_steps(const char *text, int from, int to, const char *load, const char *save, f32 *out,
                     f64 *loss)
{
    arena *a = arena_open("test");
    struct spec s;
    struct learner l;
    struct position at = { 0 };
    f64 norm;
    parse(&s, a, text);
    params *p = model_open(device, &s, PARAMS_TRAIN);
    if (!p || learner_open(&l, &s, device, p) || (load && state_load(load, &l, &at)))
        fail_msg("%s", fail_message());
    for (int k = from; k < to; k++) {
        struct batch b = batch_at(&l, k);
        if (learner_step(&l, &b, schedule_factor(&s, k, 2)) || learner_wait(&l))
            fail_msg("%s", fail_message());
    }
    if (learner_read(&l, loss, &norm))
        fail_msg("%s", fail_message());
    at.step = to;
    if (save && state_save(save, &l, &at))
        fail_msg("%s", fail_message());
    i64 n = 0;
    for (size_t i = 0; i < p->n; n += shape_count(p->list[i++].shape))
        params_read(p, &p->list[i], out + n);
    learner_close(&l);
    params_free(p);
    arena_close(a);
    return n;
}

static f32 one[1 << 16], two[1 << 16];

static void test_resume(void **state)
{
    (void)state;
    f64 loss[2];
    const char *path = "build/test_train.state";
    i64 n = run_steps(tiny, 0, 6, NULL, NULL, one, &loss[0]);
    run_steps(tiny, 0, 3, NULL, path, two, &loss[1]);
    assert_true(memcmp(one, two, 4 * (size_t)n) != 0);
    run_steps(tiny, 3, 6, path, NULL, two, &loss[1]);
    assert_memory_equal(one, two, 4 * (size_t)n);
    assert_true(isfinite(loss[0]) && loss[0] > 0);
    remove(path);
}

/* Twice, and in whatever order launches run that may overlap. */
/* A state of one parameter, sealed, with one row of its metadata replaced, or (value NULL)
 * parts missing from `parts` on. */
static void write_state(const char *path, const char *key, const char *value, int parts)
{
    static const char *const prefix[] = { "", "m.", "v.", "ema." };
    static const char *const counters[] = { "epoch", "step", "sample", "images", "evaluated", "best",
                                            "best_epoch", "since_best" };
    static const f32 w[2] = { 1, 2 };
    arena *a = arena_open("state");
    ckpt *c = ckpt_new();
    for (int i = 0; i < parts; i++)
        ckpt_add(c, arena_printf(a, "%sw", prefix[i]), CKPT_F32, 1, (i64[]){ 2 }, w);
    ckpt_set_meta(c, "format", "jetcl state 2");
    for (int i = 0; i < countof(counters); i++)
        ckpt_set_meta(c, counters[i], "3");
    if (value)
        ckpt_set_meta(c, key, value);
    assert_int_equal(ckpt_seal(c) || ckpt_save(c, path), 0);
    ckpt_close(c);
    arena_close(a);
}

static void test_absurd_states(void **state)
{
    (void)state;
    static const char path[] = "build/test_absurd.state";
    static const struct { const char *key, *value, *says; } bad[] = {
        { "step", "-1", "a counter" },    { "step", "1e300", "a counter" },     { "step", "0.5", "a counter" },
        { "step", "nan", "a counter" },   { "sample", "-9", "a counter" },
        { "epoch", "1000001", "a counter" },
        { "epoch", "inf", "a counter" },  { "evaluated", "1e16", "a counter" },
        { "images", "-2147483648", "a counter" }, { "format", "something else", "not a state" } };
    struct param x = { .name = "w", .shape = { 1, { 2 } } };
    const params model = { .list = &x, .n = 1, .total = 2 };
    struct position at;
    write_state(path, NULL, NULL, 4);
    assert_int_equal(state_check(path, &model, true, &at), 0);
    assert_true(at.epoch == 3 && at.step == 3 && at.since_best == 3);
    for (int i = 0; i < countof(bad); i++) {
        write_state(path, bad[i].key, bad[i].value, 4);
        if (state_check(path, &model, true, &at) != -1 || fail_fault() != FAULT_DATA
            || !strstr(fail_message(), bad[i].says))
            fail_msg("%s %s: '%s'", bad[i].key, bad[i].value, fail_message());
    }
    for (int parts = 0; parts < 4; parts++) {
        write_state(path, NULL, NULL, parts);
        assert_int_equal(state_check(path, &model, true, &at), -1);
        assert_int_equal(state_check(path, &model, false, &at), parts < 3 ? -1 : 0);
    }
    remove(path);
}

static void test_same_bits(void **state)
{
    (void)state;
    static const char *const orders[] = { "", "shuffle", "in_order" };
    f64 loss[2];
    i64 n = run_steps(tiny, 0, 4, NULL, NULL, one, &loss[0]);
    for (int i = 0; i < countof(orders); i++) {
        trace_set(orders[i]);
        run_steps(tiny, 0, 4, NULL, NULL, two, &loss[1]);
        assert_memory_equal(one, two, 4 * (size_t)n);
        assert_true(loss[0] == loss[1]);
    }
    trace_set("");
}

/* Without random draws a batch in two parts gives the whole batch's step, up to rounding. */
static void test_parts(void **state)
{
    (void)state;
    f64 loss[2], far = 0;
#define STILL \
    "model: {arch: vit, image: 8, patch: 4, dim: 16, depth: 2, heads: 2, classes: 3, drop_path: off}\n"
    const char *still = STILL "train: {batch: 4, accumulate: 1}\n";
    const char *parts = STILL "train: {batch: 4, accumulate: 2}\n";
    i64 n = run_steps(still, 0, 1, NULL, NULL, one, &loss[0]);
    run_steps(parts, 0, 1, NULL, NULL, two, &loss[1]);
    assert_true(fabs(loss[0] - loss[1]) < 1e-5);
    i64 off = 0;
    for (i64 i = 0; i < n; i++) {
        far = fmax(far, fabs((f64)one[i] - two[i]));
        off += !(fabs((f64)one[i] - two[i]) < 1e-6);
    }
    assert_true(far < 1e-4 && off < n / 20);      // Adam makes of a gradient of round-off a step
}

static void test_learns(void **state)
{
    (void)state;
    f64 first, later;
    run_steps(tiny, 0, 1, NULL, NULL, one, &first);
    arena *a = arena_open("test");
    struct spec s;
    struct learner l;
    f64 norm;
    parse(&s, a, tiny);
    s.model.drop_path = s.model.moe.dropout = s.model.moe.expert_drop = 0;
    params *p = model_open(device, &s, PARAMS_TRAIN);
    assert_non_null(p);
    assert_int_equal(learner_open(&l, &s, device, p), 0);
    struct batch b = batch_at(&l, 0);
    for (int k = 0; k < 60; k++)
        assert_int_equal(learner_step(&l, &b, .3) || learner_wait(&l), 0);
    learner_read(&l, &later, &norm);
    for (int k = 0; k < 5; k++)
        assert_int_equal(learner_step(&l, &b, .1), 0);
    learner_read(&l, &later, &norm);
    assert_true(later < .6 * first);
    learner_close(&l);
    params_free(p);
    arena_close(a);
}

/* Six steps; `read_after` of them the log reads. each: the losses that are known
 * after every step, without a stall. */
static void late_losses(const char *text, int read_after, f64 each[6], f64 *logged)
{
    arena *a = arena_open("test");
    struct spec s;
    struct learner l;
    f64 norm;
    parse(&s, a, text);
    params *p = model_open(device, &s, PARAMS_TRAIN);
    assert_true(p && !learner_open(&l, &s, device, p));
    for (int k = 0; k < 6; k++) {
        struct batch b = batch_at(&l, k);
        assert_false(learner_step(&l, &b, 1) || learner_wait(&l));
        each[k] = learner_loss(&l);
        if (k + 1 == read_after)
            assert_false(learner_read(&l, logged, &norm));
    }
    learner_close(&l);
    params_free(p);
    arena_close(a);
}

/* The loss on the progress line is one step late, and the mean since the last line of
 * the log, which then starts again. */
static void test_late_loss(void **state)
{
    (void)state;
    static const char *const accumulate[] = {
        "train: {batch: 4, clip_norm: 1.0, epochs: 10}\n",
        "train: {batch: 4, accumulate: 2, clip_norm: 1.0, epochs: 10}\n" };
    for (int i = 0; i < countof(accumulate); i++) {
        char text[600];
        const char *train = strstr(tiny, "train:"), *rest = strchr(train, '\n') + 1;
        snprintf(text, sizeof text, "%.*s%s%s", (int)(train - tiny), tiny, accumulate[i], rest);
        f64 mean[7] = { 0 }, late[6], logged, unused[6];
        for (int k = 1; k <= 6; k++)                           // of the first k steps, as the log reads them
            late_losses(text, k, unused, &mean[k]);
        late_losses(text, 3, late, &logged);
        assert_true(isnan(late[0]) && logged == mean[3]);
        for (int k = 1; k < 4; k++)
            assert_true(fabs(late[k] - mean[k]) < 1e-5 * mean[k]);
        assert_true(fabs(late[4] - (4 * mean[4] - 3 * mean[3])) < 1e-4);
        assert_true(fabs(2 * late[5] - (5 * mean[5] - 3 * mean[3])) < 1e-4);
    }
}

static int setup(void **state)
{
    (void)state;
    make_batches();
    file_mkdirs("build");
    return (device = dev_open(NULL)) ? 0 : -1;
}
static int teardown(void **state) { (void)state; dev_close(device); return 0; }

/* More than any disk has: the message says how much. A checkpoint is W, a state 3 W or, with averages, 4 W;
 * what is replaced is there twice for a moment. */
static void test_room(void **state)
{
    (void)state;
    static const struct { const char *more; f64 weights; } rows[] = {
        { "train: {ema: off, epochs: 4}\nkeep: {every: off, best: 0}", 2 * 4 },
        { "train: {ema: 0.9, epochs: 4}\nkeep: {every: off, best: 0}", 2 * 5 },
        { "train: {ema: off, epochs: 4}\nkeep: {every: off, best: 1}", 2 * 4 + 2 },
        { "train: {ema: off, epochs: 9}\nkeep: {every: 2, last: 3, states: off, best: 0}", 2 * 4 + 3 },
        { "train: {ema: off, epochs: 9}\nkeep: {every: 2, last: 7, states: off, best: 0}", 2 * 4 + 4 },
        { "train: {ema: 0.9, epochs: 9}\nkeep: {every: 2, last: 3, states: on, best: 1}",
          2 * 5 + 3 * 5 + 2 } };
    for (int i = 0; i < countof(rows); i++) {
        arena *a = arena_open("test");
        struct session e = { 0 };
        char need[24];
        parse(&e.s, a, arena_printf(a, "model: {arch: vit, image: 32, patch: 16, dim: 16384, depth: 1000, "
                                       "heads: 64, classes: 3}\n%s", rows[i].more));
        assert_non_null(e.p = model_params(&e.s));
        text_bytes(need, rows[i].weights * (f64)params_bytes(e.p, PARAMS_FORWARD));
        assert_int_equal(saver_room(&e, "/tmp"), -1);
        assert_int_equal(fail_fault(), FAULT_RUN);
        if (!strstr(fail_message(), arena_printf(a, "the run will keep %s there", need)))
            fail_msg("%s: '%s', not %s", rows[i].more, fail_message(), need);
        params_free(e.p);
        arena_close(a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_schedule), cmocka_unit_test(test_groups), cmocka_unit_test(test_golden_groups),
        cmocka_unit_test(test_same_bits), cmocka_unit_test(test_resume), cmocka_unit_test(test_parts),
        cmocka_unit_test(test_learns), cmocka_unit_test(test_late_loss),
        cmocka_unit_test(test_absurd_states), cmocka_unit_test(test_room) };
    say_setup((struct say_options){ SAY_QUIET, 0, true });
    return cmocka_run_group_tests(tests, setup, teardown);
}
