/* test_recycle_run.c: recycling as a stage, on pictures in a folder: every strategy, statistics kept and
 * refused, what can be wrong with predecessors and images, and that nothing half written is left. */
#include "recycle_help.h"
#include "recycle/stage.h"
#include <dirent.h>

/* Two classes of pictures, one of them wide. */
static const char *make_images(int n)
{
    const char *root = at("set%d", n);
    for (int i = 0; i < n; i++) {
        struct image m = picture(20 + i % 3 * 8, 20, (u32)i);
        const char *path = at("set%d/train/%s/%02d.png", n, i % 2 ? "owl" : "fox", i);
        write_png(path, &m, PNG_COLOR_TYPE_RGB, 8, false, false);
    }
    return root;
}

static struct spec *parsed(const char *text)
{
    struct spec *s = arena_one(room, struct spec);
    if (spec_parse(s, room, "test", text, NULL, 0))
        fail_msg("%s", fail_message());
    return s;
}

#define SMALL "arch: vit, image: 16, patch: 8, depth: 3, mlp_ratio: 2"

/* A dense network with random weights as a file. */
static const char *make_dense(const char *name, const char *model)
{
    const char *path = at("%s.safetensors", name);
    struct spec *s = parsed(arena_printf(room, "seed: 5\nmodel: {%s}", model));
    params *p = model_open(device, s, PARAMS_FORWARD);
    if (!p || model_save(p, s, path, NULL))
        fail_msg("%s", fail_message());
    params_free(p);
    return path;
}

static struct spec *experiment(const char *predecessor, const char *root, const char *recycle,
                               const char *more)
{
    return parsed(arena_printf(room, "seed: 3407\ndata: {set: folder, root: '%s', train: train}\n"
        "model: {" SMALL ", dim: 8, heads: 2, moe: {layers: [1, 2], core: 3, universal: 5}%s}\n"
        "eval: {crop: 1}\nrecycle: {from: {experts: '%s'}, images: 11, batch: 4, compare: 5, %s}\n",
        root, more, predecessor, recycle));
}

static struct recycle_report report_of(const struct spec *s, const char *out)
{
    struct recycle_report r;
    if (recycle_run(s, device, out, room, &r))
        fail_msg("%s", fail_message());
    return r;
}

static void refused(const struct spec *s, enum fault fault, const char *says)
{
    const char *out = at("refused/x.safetensors");
    fail_clear();
    assert_int_equal(recycle_run(s, device, out, room, NULL), -1);
    if (fail_fault() != fault || !strstr(fail_message(), says))
        fail_msg("fault %d '%s', expected %d '%s'", fail_fault(), fail_message(), fault, says);
    assert_int_equal(files_in(at("refused")), 0);
}

static void same_file(const char *x, const char *y, bool same)
{
    size_t n, m;
    const char *a = file_text(room, x, &n), *b = file_text(room, y, &m);
    assert_true((n == m && !memcmp(a, b, n)) == same);
}

/* ---- tests --------------------------------------------------------------------------------------------- */

static void every_strategy_makes_a_model_that_loads(void **state)
{
    (void)state;
    const char *root = make_images(12), *wide = make_dense("wide", SMALL ", dim: 24, heads: 6, classes: 7");
    const char *equal = make_dense("equal", SMALL ", dim: 8, heads: 2, classes: 2");
    for (int i = 0; strategies[i]; i++)
        for (int v = 0; v < 2; v++) {
            const char *name = strategies[i]->name, *out = at("%s%d.safetensors", name, v);
            const char *from = strcmp(name, "copy") ? wide : equal;
            const char *how = arena_printf(room, "strategy: %s, parts: 5", name);
            const char *more = v ? "}\nvariant: paper\nlog: {every: 1" : "";
            struct spec *s = experiment(from, root, how, more);
            struct recycle_report r = report_of(s, out);
            assert_int_equal(r.layers, 2);
            assert_true(r.distance > 0 && r.distance < 10 && r.agreement >= 0 && r.agreement <= 1);
            s->model.init = out;
            s->model.classes = 2;
            params *p = model_open(device, s, PARAMS_FORWARD);
            assert_non_null(p);
            for (size_t k = 0; k < p->n; k++)
                assert_true(p->list[k].loaded);
            params_free(p);
            ckpt *c = ckpt_open(out);
            char sha[65];
            file_sha256(s->recycle.from.experts, sha);
            assert_string_equal(ckpt_meta(c, "parent.experts"), sha);
            assert_string_equal(ckpt_meta(c, "recycle.strategy"), name);
            assert_string_equal(ckpt_meta(c, "classes"), "[\"fox\",\"owl\"]");
            ckpt_close(c);
        }
}

/* The same width, one expert that is everything: a dense network, but for the routing. */
static void copies_keep_the_trunk(void **state)
{
    (void)state;
    const char *root = make_images(12);
    const char *equal = make_dense("equal", SMALL ", dim: 8, heads: 2, classes: 2, pool: token");
    struct spec *s = experiment(equal, root, "strategy: copy, cut: paper", ", pool: token");
    report_of(s, at("copied.safetensors"));
    ckpt *from = ckpt_open(equal), *to = ckpt_open(at("copied.safetensors"));
    int n = 0;
    for (int i = 0; i < ckpt_count(to); i++) {
        const tensor *t = ckpt_at(to, i), *f = ckpt_find(from, t->name);
        if (!f)
            continue;
        assert_memory_equal(tensor_data(t), tensor_data(f), t->bytes);
        n++;
    }
    assert_int_equal(n, ckpt_count(from) - 2 * 4);
    ckpt_close(from);
    ckpt_close(to);
}

/* A successor without experts: what the cut alone gives. Of equal width it is the predecessor. */
static void a_dense_successor(void **state)
{
    (void)state;
    const char *root = make_images(12), *out = at("dense-cut.safetensors");
    const char *equal = make_dense("equal", SMALL ", dim: 8, heads: 2, classes: 2");
    const char *wide = make_dense("wide", SMALL ", dim: 24, heads: 6, classes: 7");
    struct spec *s = experiment(equal, root, "strategy: importance, cut: paper", "");
    s->model.moe.layers = (counts){ 0 };
    struct recycle_report r = report_of(s, out);
    assert_int_equal(r.layers, 0);
    assert_true(r.distance == 0 && r.agreement == 1);
    ckpt *from = ckpt_open(equal), *to = ckpt_open(out);
    assert_int_equal(ckpt_count(from), ckpt_count(to));
    for (int i = 0; i < ckpt_count(to); i++) {
        const tensor *t = ckpt_at(to, i);
        assert_memory_equal(tensor_data(t), tensor_data(ckpt_find(from, t->name)), t->bytes);
    }
    ckpt_close(from);
    ckpt_close(to);
    s = experiment(wide, root, "strategy: importance, cut: paper", "");
    s->model.moe.layers = (counts){ 0 };
    assert_int_equal(report_of(s, at("dense-narrow.safetensors")).layers, 0);
    s->recycle.from.dense = equal;
    refused(s, FAULT_USAGE, "start from it with model.init");
}

static void same_seed_same_bytes(void **state)
{
    (void)state;
    const char *root = make_images(12), *wide = make_dense("wide", SMALL ", dim: 24, heads: 6, classes: 7");
    const char *files[] = { at("one.safetensors"), at("two.safetensors"), at("three.safetensors") };
    struct spec *s = experiment(wide, root, "average: all", "");
    report_of(s, files[0]);
    s->threads = 1;
    s->recycle.statistics = at("kept.safetensors");       // measured again, not from the cache
    report_of(s, files[1]);
    ckpt *c[2] = { ckpt_open(files[0]), ckpt_open(files[1]) };
    for (int i = 0; i < ckpt_count(c[0]); i++) {
        const tensor *t = ckpt_at(c[0], i);
        assert_memory_equal(tensor_data(t), tensor_data(ckpt_find(c[1], t->name)), t->bytes);
    }
    ckpt_close(c[0]);
    ckpt_close(c[1]);
    s->seed++;
    report_of(s, files[2]);
    same_file(files[1], files[2], false);
}

static void statistics_are_kept_and_checked(void **state)
{
    (void)state;
    const char *root = make_images(12), *wide = make_dense("wide", SMALL ", dim: 24, heads: 6, classes: 7");
    const char *other = make_dense("other", SMALL ", dim: 20, heads: 5, classes: 7");
    const char *kept = at("kept/statistics.safetensors");
    struct spec *s = experiment(wide, root, "threshold: percentile", "");
    s->recycle.statistics = kept;
    report_of(s, at("a.safetensors"));
    ckpt *c = ckpt_open(kept);
    assert_string_equal(ckpt_meta(c, "image_count"), "11");
    assert_non_null(ckpt_find(c, "mlp.act.2.l2"));
    ckpt_close(c);
    struct stat before, after;
    assert_int_equal(stat(kept, &before), 0);
    report_of(s, at("b.safetensors"));
    assert_int_equal(stat(kept, &after), 0);
    assert_true(before.st_ino == after.st_ino);            // not written again
    same_file(at("a.safetensors"), at("b.safetensors"), true);

    s->recycle.strategy = "graph";
    refused(s, FAULT_DATA, "has no co-activation");
    s->recycle.strategy = "importance";
    s->recycle.from.experts = other;
    refused(s, FAULT_DATA, "another predecessor");
    s->recycle.from.experts = wide;
    s->recycle.images = 10;
    refused(s, FAULT_DATA, "another set of images");
    s->recycle.images = 11;
    s->recycle.percentile = 50;
    refused(s, FAULT_DATA, "another threshold");
    s->recycle.percentile = parsed("")->recycle.percentile;
    s->train.precision = PRECISION_bf16;
    refused(s, FAULT_DATA, "another set of images");
    s->train.precision = PRECISION_fp32;
    assert_int_equal(stat(kept, &after), 0);
    assert_true(before.st_ino == after.st_ino);

    // what could not be kept is not measured first
    s->recycle.statistics = at("kept/statistics.txt");
    refused(s, FAULT_USAGE, "the suffix must be .safetensors");
    s->recycle.statistics = at("kept/new.safetensors");
    assert_int_equal(recycle_run(s, device, "/no/such/folder/x.safetensors", room, NULL), -1);
    assert_int_equal(fail_fault(), FAULT_RUN);
    assert_false(file_exists(at("kept/new.safetensors")));
}

/* Whole pictures, however a run decodes its own. */
static void measured_images_are_decoded_whole(void **state)
{
    (void)state;
    const char *wide = make_dense("wide", SMALL ", dim: 24, heads: 6, classes: 7"), *kept[2];
    for (int i = 0; i < 4; i++) {
        struct image m = picture(300, 200, (u32)i);
        write_jpeg(at("large/train/%s/%d.jpg", i % 2 ? "owl" : "fox", i), &m,
                   (struct jpeg_how){ JPEG_444, 95 });
    }
    for (int fast = 0; fast < 2; fast++) {
        struct spec *s = experiment(wide, at("large"), "average: all", "");
        s->data.fast_decode = fast;
        s->recycle.statistics = kept[fast] = at("kept/fast%d.safetensors", fast);
        report_of(s, at("fast.safetensors"));
    }
    same_file(kept[0], kept[1], true);
}

static void a_second_predecessor_is_the_trunk(void **state)
{
    (void)state;
    const char *root = make_images(12), *wide = make_dense("wide", SMALL ", dim: 24, heads: 6, classes: 7");
    const char *small = make_dense("small", SMALL ", dim: 8, heads: 2, classes: 3");
    const char *out = at("stitched.safetensors");
    struct spec *s = experiment(wide, root, "universal: dense", "");
    s->recycle.from.dense = small;
    struct recycle_report r = report_of(s, out);
    assert_true(isnan(r.layer[0].mass_universal));
    ckpt *from = ckpt_open(small), *to = ckpt_open(out);
    const char *same[] = { "pos_embed", "blocks.0.mlp.fc1.weight", "blocks.2.attn.qkv.weight" };
    for (int i = 0; i < 3; i++) {
        const tensor *x = ckpt_find(to, same[i]), *y = ckpt_find(from, same[i]);
        assert_memory_equal(tensor_data(x), tensor_data(y), x->bytes);
    }
    assert_non_null(ckpt_meta(to, "parent.dense"));
    ckpt_close(from);
    ckpt_close(to);
    s->recycle.from.dense = wide;
    refused(s, FAULT_DATA, "must be of the successor's sizes");
    s->recycle.from.dense = "";
    refused(s, FAULT_USAGE, "needs recycle.from.dense");
    s->recycle.from.heads = 3;                    // the file knows better
    refused(s, FAULT_USAGE, "recycle.from.heads");
}

static void convnext_stages(void **state)
{
    (void)state;
    const char *root = make_images(12);
    const char *wide = make_dense("convnext", "arch: convnext, image: 32, depths: [1, 2, 1], "
                                              "dims: [8, 12, 20], classes: 4");
    struct spec *s = parsed(arena_printf(room, "data: {set: folder, root: '%s'}\n"
        "model: {arch: convnext, image: 32, depths: [1, 2, 1], dims: [4, 6, 10],\n"
        "        moe: {layers: [2, 3], core: [3, 2], universal: [4, 5]}}\neval: {crop: 1}\n"
        "recycle: {from: {experts: '%s'}, images: 9, batch: 4, compare: 5, strategy: graph, "
        "graph: louvain}\n", root, wide));
    struct recycle_report r = report_of(s, at("convnext-out.safetensors"));
    assert_int_equal(r.layers, 2);
    assert_true(r.layer[0].parts > 0 && r.distance > 0);
    ckpt *c = ckpt_open(at("convnext-out.safetensors"));
    const tensor *w = ckpt_find(c, "stages.2.blocks.0.mlp.univ_experts.vit_fc1.weight");
    assert_true(tensor_shape_is(w, 3, (i64[]){ 5, 10, 10 }));
    ckpt_close(c);
}

static void another_image_size_resizes_the_grid(void **state)
{
    (void)state;
    const char *root = make_images(12);
    const char *wide = make_dense("grid", "arch: vit, image: 24, patch: 8, depth: 3, mlp_ratio: 2, dim: 24, "
                                          "heads: 6, classes: 7");
    report_of(experiment(wide, root, "strategy: random", ""), at("grid-out.safetensors"));
    ckpt *c = ckpt_open(at("grid-out.safetensors"));
    assert_true(tensor_shape_is(ckpt_find(c, "pos_embed"), 3, (i64[]){ 1, 5, 8 }));
    ckpt_close(c);
    const char *fine = make_dense("patch", "arch: vit, image: 16, patch: 4, depth: 3, mlp_ratio: 2, dim: 24, "
                                           "heads: 6, classes: 7");
    refused(experiment(fine, root, "strategy: random", ""), FAULT_DATA, "patch_embed.proj.weight");
}

/* The values of `from` but for some of the tensor `name`: its `count` (at most) from `first` on are `value`. */
static const char *spoilt(const char *from, const char *name, u64 first, u64 count, f32 value, const char *to)
{
    ckpt *c = ckpt_open(from), *bad = ckpt_new();
    for (int i = 0; i < ckpt_count(c); i++) {
        const tensor *t = ckpt_at(c, i);
        f32 *v = arena_array(room, f32, t->count);
        tensor_to_f32(t, v);
        for (u64 k = first; k < t->count && k < first + count && !strcmp(t->name, name); k++)
            v[k] = value;
        ckpt_add(bad, t->name, CKPT_F32, t->nd, t->shape, v);
    }
    ckpt_set_meta(bad, "heads", "6");
    assert_int_equal(ckpt_save(bad, at(to)), 0);
    ckpt_close(bad);
    ckpt_close(c);
    return at(to);
}

static void bad_input_is_refused(void **state)
{
    (void)state;
    const char *root = make_images(12), *wide = make_dense("wide", SMALL ", dim: 24, heads: 6, classes: 7");
    refused(experiment(at("missing.safetensors"), root, "metric: l1", ""), FAULT_DATA, "missing.safetensors");
    const char *narrow = make_dense("narrow", SMALL ", dim: 6, heads: 2, classes: 7");
    refused(experiment(narrow, root, "metric: l1", ""), FAULT_DATA, "at least as wide");
    refused(experiment(wide, at("no-such-set"), "metric: l1", ""), FAULT_DATA, "no-such-set");
    refused(experiment(wide, root, "strategy: importence", ""), FAULT_USAGE, "importance");
    write_text(at("garbage.safetensors"), "this is no checkpoint, whatever its name says");
    refused(experiment(at("garbage.safetensors"), root, "metric: l1", ""), FAULT_DATA, "garbage");
    write_text(at("set12/train/fox/zz.png"), "not a picture");
    struct spec *s = experiment(wide, root, "average: all", "");
    s->recycle.images = 100;
    refused(s, FAULT_DATA, "zz.png");
    s->data.on_error = ON_ERROR_skip;
    report_of(s, at("skipped.safetensors"));
    remove(at("set12/train/fox/zz.png"));

    // weights that give NaN, and an activation that is never there
    const char *bad = spoilt(wide, "blocks.1.mlp.fc1.weight", 3, 1, NAN, "nan.safetensors");
    refused(experiment(bad, root, "metric: l1", ""), FAULT_NUMBERS,
            "blocks.1.mlp.fc1.weight holds a value that is not a number");
}

/* Of finite activations the squares may not be: the layer where that happens first is named. */
static void an_overflow_is_named(void **state)
{
    (void)state;
    const char *root = make_images(12), *wide = make_dense("wide", SMALL ", dim: 24, heads: 6, classes: 7");
    const char *bad = spoilt(wide, "blocks.1.mlp.fc1.bias", 0, UINT32_MAX, 1e25f, "large.safetensors");
    refused(experiment(bad, root, "metric: l1", ""), FAULT_NUMBERS,
            "NaN or infinity at mlp.act of block 1");
}

/* A limit that everything is below: nothing ever fires. */
static void too_few_active_units(void **state)
{
    (void)state;
    const char *root = make_images(12), *wide = make_dense("wide", SMALL ", dim: 24, heads: 6, classes: 7");
    refused(experiment(wide, root, "metric: count, threshold: percentile, percentile: 100", ""),
            FAULT_NUMBERS, "all zero");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, memory_open, memory_close)
    const struct CMUnitTest tests[] = {
        T(every_strategy_makes_a_model_that_loads), T(copies_keep_the_trunk), T(same_seed_same_bytes),
        T(a_dense_successor),
        T(statistics_are_kept_and_checked), T(a_second_predecessor_is_the_trunk), T(convnext_stages),
        T(another_image_size_resizes_the_grid), T(bad_input_is_refused), T(too_few_active_units),
        T(an_overflow_is_named), T(measured_images_are_decoded_whole),
    };
    return cmocka_run_group_tests(tests, recycle_begin, recycle_end);
}
