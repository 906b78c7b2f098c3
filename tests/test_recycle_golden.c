/* test_recycle_golden.c: recycling against the released scripts' own numbers. Reads recycle.safetensors and
 * recycle_metis.json of tests/golden/reference. */
#include "unit.h"
#include "cuts.h"
#include "recycle/stage.h"
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

static arena *a;
static ckpt *golden;

static int open_golden(void **state)
{
    (void)state;
    a = arena_open("test");
    golden = ckpt_open(REFERENCE "recycle.safetensors");
    return golden ? 0 : -1;
}

static int close_golden(void **state)
{
    (void)state;
    ckpt_close(golden);
    arena_close(a);
    return 0;
}

static const tensor *get(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    const char *name = arena_vprintf(a, fmt, ap);
    va_end(ap);
    const tensor *t = ckpt_find(golden, name);
    if (!t)
        fail_msg("no %s", name);
    return t;
}

static const i32 *ints(const tensor *t)
{
    assert_int_equal(t->type, CKPT_I32);
    return tensor_data(t);
}

static const f32 *reals_of(const tensor *t)
{
    assert_int_equal(t->type, CKPT_F32);
    return tensor_data(t);
}

static f64 *doubles(const tensor *t)
{
    f64 *v = arena_array(a, f64, t->count);
    assert_int_equal(tensor_to_f64(t, v), 0);
    return v;
}

static void same_ints(const char *what, const i32 *got, const i32 *want, u64 n)
{
    for (u64 i = 0; i < n; i++)
        if (got[i] != want[i])
            fail_msg("%s: %d at %lu, expected %d", what, got[i], (unsigned long)i, want[i]);
}

static struct spec *parsed(const char *text)
{
    struct spec *s = arena_one(a, struct spec);
    if (spec_parse(s, a, "test", text, NULL, 0))
        fail_msg("%s", fail_message());
    return s;
}

static void close_to(const char *what, const f64 *got, const tensor *want, f64 rtol)
{
    const f64 *w = doubles(want);
    f64 top = 0;
    for (u64 i = 0; i < want->count; i++)
        top = fmax(top, fabs(w[i]));
    for (u64 i = 0; i < want->count; i++)
        if (!(fabs(got[i] - w[i]) <= rtol * top))
            fail_msg("%s: %.9g at %lu, expected %.9g", what, got[i], (unsigned long)i, w[i]);
}

/* ---- strategies ---------------------------------------------------------------------------------------- */

static void uniform_lists(void **state)
{
    (void)state;
    int lists = 0;
    for (int i = 0; i < ckpt_count(golden); i++) {
        const tensor *t = ckpt_at(golden, i);
        bool simple = text_starts(t->name, "uniform.simple.");
        int total, subset;
        if (!text_starts(t->name, "uniform.")
            || sscanf(strrchr(t->name, '.'), ".%dto%d", &total, &subset) != 2)
            continue;
        i32 *got = arena_array(a, i32, subset);
        assert_int_equal((int)t->count, subset);
        uniform_fill(total, subset, simple ? SPACING_TRUNCATE : SPACING_ROUND, got);
        same_ints(t->name, got, ints(t), t->count);
        lists++;
    }
    assert_int_equal(lists, 16);
}

static void shared_channels_are_the_top(void **state)
{
    (void)state;
    const char *metrics[] = { "L1", "L2", "act_patrn" };
    for (int m = 0; m < countof(metrics); m++) {
        f64 sum[64] = { 0 };
        i32 got[32];
        for (int l = 0; l < 4; l++) {
            const f64 *x = doubles(get("stats.norm2.%d.%s", l, metrics[m]));
            for (int i = 0; i < 64; i++)
                sum[i] += x[i];
        }
        struct choice c = { .what = "norm2", .total = 64, .subset = 32, .sets = 1, .best = true, .score = sum,
                            .scratch = a };
        assert_int_equal(recycle_choose(strategy_find("importance"), &c, got), 0);
        same_ints(metrics[m], got, ints(get("topk.norm2.%s", metrics[m])), 32);
    }
}

static void graph_selection_with_the_given_partition(void **state)
{
    (void)state;
    const f32 *together = reals_of(get("stats.mlp.act.2.co_act"));
    const i32 *drawn = ints(get("graph.drawn_positions"));
    const f32 *want = reals_of(get("graph.prob"));
    struct partition p = partition_read(together, 256, ints(get("graph.partition")), a);
    assert_int_equal(p.count, 32);
    const i32 *ids = ints(get("graph.cluster_ids"));
    for (int i = 0; i < 256; i++)
        assert_int_equal(ids[p.of[i]], ints(get("graph.partition"))[i]);
    f64 sum = 0;
    for (int k = 0; k < 32; k++)
        sum += p.inside[k];
    for (int k = 0; k < 32; k++)
        assert_true(fabs(p.inside[k] / sum - want[k]) <= 1e-6);
    for (int e = 0; e < 3; e++) {
        i32 got[128];
        assert_int_equal(partition_fill(&p, together, drawn + 17 * e, 17, 128, NULL, got, a), 128);
        same_ints("graph.selected", got, ints(get("graph.selected")) + 128 * e, 128);
    }
}

static void louvain_as_good_as_the_script(void **state)
{
    (void)state;
    const char *cases[] = { "planted", "planted_r1p1", "attn.proj", "attn.proj_r1" };
    for (int i = 0; i < countof(cases); i++) {
        bool made = text_starts(cases[i], "planted");
        const f64 *want = doubles(get("louvain.%s.resolution_modularity", cases[i]));
        const f32 *w = reals_of(get(made ? "louvain.planted.matrix" : "simple.stats.attn.proj.2.co_act"));
        for (u64 seed = 0; seed < 8; seed++) {
            i32 part[64];
            louvain_cut(w, 64, want[0], seed, part, a);
            struct cut_quality q = cut_measure(w, 64, part, a);
            if (getenv("SHOW"))
                printf("%s seed %d: Q %.5f, script %.5f\n", cases[i], (int)seed, q.modularity, want[1]);
            if (made)
                assert_true(same_cut(part, ints(get("louvain.planted.truth")), 64));
            assert_true(q.modularity >= want[1] - 1e-6);
        }
        f64 stored = cut_measure(w, 64, ints(get("louvain.%s.partition", cases[i])), a).modularity;
        assert_true(fabs(stored - want[1]) < 1e-6);
    }
}

static void metis_as_good_as_pymetis(void **state)
{
    (void)state;
    json_t *bar = json_load_file(REFERENCE "recycle_metis.json", 0, NULL);
    assert_non_null(bar);
    const struct { const char *key, *matrix; int n, k; f64 scale; } cases[] = {
        { "planted_x64_k4", "louvain.planted.matrix", 64, 4, 64 },
        { "planted_x64_k5", "louvain.planted.matrix", 64, 5, 64 },
        { "attn.proj.2_k8", "stats.attn.proj.2.co_act", 64, 8, 2 },
        { "attn.proj.2_k12", "stats.attn.proj.2.co_act", 64, 12, 2 },
        { "mlp.act.2_k32", "stats.mlp.act.2.co_act", 256, 32, 2 },
    };
    for (int i = 0; i < countof(cases); i++) {
        json_t *row = json_object_get(bar, cases[i].key);
        f64 want = json_number_value(json_object_get(row, "weighted_cut"));
        f64 any = json_number_value(json_object_get(row, "random_same_sizes_cut"));
        int n = cases[i].n;
        f32 *w = arena_array(a, f32, n * n);
        for (int j = 0; j < n * n; j++)
            w[j] = floorf(reals_of(get("%s", cases[i].matrix))[j] * (f32)cases[i].scale);
        i32 part[256];
        for (u64 seed = 0; seed < 4; seed++) {
            assert_int_equal(metis_cut(w, n, cases[i].k, false, seed, part, a), 0);
            f64 cut = cut_measure(w, n, part, a).cut;
            int size[32] = { 0 };
            for (int j = 0; j < n; j++)
                size[part[j]]++;
            if (getenv("SHOW"))
                printf("%s seed %d: cut %.0f, pymetis %.0f, random %.0f\n", cases[i].key, (int)seed, cut,
                       want, any);
            assert_true(cut <= 1.03 * want && cut < any);
            for (int k = 0; k < cases[i].k; k++)
                assert_in_range(size[k], n / cases[i].k - 2, CEIL_DIV(n, cases[i].k) + 2);
        }
    }
    json_decref(bar);
}

/* ---- grafting: the indices as the script drew them ----------------------------------------------------- */

/* The tensors called prefix... as a checkpoint of their own. */
static ckpt *part_of_golden(const char *prefix)
{
    ckpt *c = ckpt_new();
    for (int i = 0; i < ckpt_count(golden); i++) {
        const tensor *t = ckpt_at(golden, i);
        if (text_starts(t->name, prefix))
            ckpt_add(c, t->name + strlen(prefix), t->type, t->nd, t->shape, tensor_data(t));
    }
    return c;
}

static struct spec student(bool dual)
{
    static const int layers[] = { 2, 3 }, core[] = { 2 }, universal[] = { 4 }, all[] = { 6 }, none[] = { 0 };
    struct spec s = { 0 };
    s.model.family = "vit";
    s.model.dim = 32;
    s.model.depth = 4;
    s.model.heads = 2;
    s.model.mlp_ratio = 4;
    s.model.moe.layers = (counts){ 2, layers };
    s.model.moe.kind = dual ? MOE_sphero : MOE_soft;
    s.model.moe.core = (counts){ 1, dual ? core : all };
    s.model.moe.universal = (counts){ 1, dual ? universal : none };
    s.model.moe.universal_ratio = 0.25;
    s.recycle.cut = CUT_released;
    return s;
}

static struct picks given_picks(void)
{
    struct picks p = { .channel = { ints(get("idx.dense_channel_idx")) },
                       .block = arena_array(a, struct block_picks, 4) };
    for (int l = 0; l < 4; l++) {
        p.block[l] = (struct block_picks){ .from = l, .attn = ints(get("idx.dense_attn_idx")) + 32 * l,
                                           .hidden = ints(get("idx.dense_mlp_idx")) + 128 * l };
        if (l < 2)
            continue;
        p.block[l].expert_channel = ints(get("idx.moe_channel_idx")) + (l - 2) * 6 * 32;
        p.block[l].expert_hidden = ints(get("idx.moe_mlp_idx")) + (l - 2) * 6 * 128;
        p.block[l].narrow = ints(get("uniform.gen.128to32"));
    }
    return p;
}

static ckpt *graft(bool dual, const ckpt *dense)
{
    struct spec s = student(dual);
    struct anatomy from, to;
    struct picks p = given_picks();
    ckpt *teacher = part_of_golden("teacher."), *out = ckpt_new();
    assert_int_equal(anatomy_of_ckpt(teacher, a, &from), 0);
    anatomy_of_spec(&s, a, &to);
    assert_true(from.depth == 4 && from.block[3].dim == 64 && from.block[3].hidden == 256);
    assert_int_equal(to.block[2].narrow, 32);
    if (recycle_graft(&s, teacher, dense, &from, &to, &p, a, out))
        fail_msg("%s", fail_message());
    ckpt_close(teacher);
    return out;
}

static void same_tensor(const ckpt *c, const char *name, const tensor *want)
{
    const tensor *t = ckpt_find(c, name);
    if (!t)
        fail_msg("no %s", name);
    if (!tensor_shape_is(t, want->nd, want->shape) || memcmp(tensor_data(t), tensor_data(want), want->bytes))
        fail_msg("%s differs", name);
}

static void selected_weights(void **state)
{
    (void)state;
    ckpt *out = graft(false, NULL);
    int n = 0, block3 = 0;
    for (int i = 0; i < ckpt_count(golden); i++) {
        const tensor *t = ckpt_at(golden, i);
        if (!text_starts(t->name, "selected."))
            continue;
        same_tensor(out, t->name + strlen("selected."), t);
        n++;
    }
    for (int i = 0; i < ckpt_count(out); i++)
        block3 += text_starts(ckpt_at(out, i)->name, "blocks.3.mlp.experts.");     // the file has block 2's
    assert_int_equal(block3, 4);
    assert_int_equal(ckpt_count(out), n + block3);
    ckpt_close(out);
}

static void dual_path_and_stitching(void **state)
{
    (void)state;
    ckpt *dense = part_of_golden("dense_student."), *out = graft(true, dense);
    int experts = 0, copied = 0;
    for (int i = 0; i < ckpt_count(golden); i++) {
        const tensor *t = ckpt_at(golden, i);
        if (!text_starts(t->name, "final.") || !strstr(t->name, "_experts."))
            continue;
        same_tensor(out, t->name + strlen("final."), t);
        experts++;
    }
    json_t *names = json_loads(ckpt_meta(golden, "final_equals_dense_student"), 0, NULL), *name;
    size_t i;
    json_array_foreach(names, i, name) {
        same_tensor(out, json_string_value(name), ckpt_find(dense, json_string_value(name)));
        copied++;
    }
    assert_int_equal(experts, 16);
    for (int k = 0; k < ckpt_count(out); k++)
        if (!text_starts(ckpt_at(out, k)->name, "norm."))          // the student has none and will say so
            copied--;
    assert_int_equal(copied, -experts);
    json_decref(names);
    ckpt_close(dense);
    ckpt_close(out);
}

/* The student with what recycling leaves alone as the released model started it: logits of the
 * released model. */
static void stitched_student_computes(void **state)
{
    (void)state;
    dev *d = dev_open(NULL);
    struct spec *s = parsed("model: {arch: vit, image: 32, patch: 8, dim: 32, depth: 4, heads: 2, "
                            "classes: 10, moe: {layers: [2, 3], core: 2, universal: 4, noise: off}}");
    ckpt *dense = part_of_golden("dense_student."), *grafted = graft(true, dense);
    ckpt *kept = part_of_golden("final.");
    params *p = model_params(s);
    assert_int_equal(params_open(p, d, PARAMS_FORWARD), 0);
    for (size_t i = 0; i < p->n; i++) {
        const char *name = p->list[i].name;
        const tensor *t = ckpt_find(grafted, name) ? ckpt_find(grafted, name) : ckpt_find(kept, name);
        if (!t || (i64)t->count != shape_count(p->list[i].shape))
            fail_msg("no %s", name);
        params_write(p, &p->list[i], tensor_data(t));
    }
    const tensor *images = get("final_model.in.images"), *want = get("final_model.out.logits");
    struct nn m = { .g = graph_new(d), .p = p };
    node *in = graph_input(m.g, "images", F32, SHAPE(3, 3, 32, 32)), *out = node_keep(model_build(&m, s, in));
    simplify_graph(m.g);
    assert_int_equal(graph_compile(m.g), 0);
    f32 got[30];
    f64 logits[30];
    node_write(in, tensor_data(images));
    assert_int_equal(graph_run(m.g) || node_read(out, got), 0);
    for (int i = 0; i < 30; i++)
        logits[i] = got[i];
    close_to("logits", logits, want, 2e-5);
    graph_free(m.g);
    params_free(p);
    ckpt_close(grafted);
    ckpt_close(dense);
    ckpt_close(kept);
    dev_close(d);
}

/* ---- statistics: the teacher on the device ------------------------------------------------------------- */

static const char *saved(ckpt *c, const char *name)
{
    const char *dir = getenv("TMPDIR");
    const char *path = arena_printf(a, "%s/jetcl_%ld_%s.safetensors", dir ? dir : "/tmp", (long)getpid(),
                                    name);
    assert_int_equal(ckpt_save(c, path), 0);
    ckpt_close(c);
    return path;
}

/* Both golden batches (4 and 3 images); only >= 0: that batch alone. */
static struct statistics measured(dev *d, const char *teacher, const char *options, int only)
{
    struct spec *s = parsed(arena_printf(
        a, "recycle: {from: {experts: '%s', heads: 4}, image: 32, batch: 4, %s}", teacher, options));
    struct predecessor p;
    struct measuring m;
    struct statistics st;
    if (predecessor_open(&p, s, teacher, a) || predecessor_load(&p, d)
        || measuring_open(&m, &p.s, &p.n, d, p.p, true))
        fail_msg("%s", fail_message());
    for (int b = 0; b < 2; b++) {
        const tensor *images = get("in.images%d", b);
        const struct batch one = { .n = (int)images->shape[0], .numbers = reals_of(images) };
        if (only < 0 || b == only)
            assert_int_equal(measuring_step(&m, &one, true), 0);
    }
    f64 *sums = arena_array(a, f64, m.words);
    if (measuring_take(&m, sums) || measuring_read(&m, sums, NULL, a, &st))
        fail_msg("%s", fail_message());
    measuring_close(&m);
    predecessor_close(&p);
    return st;
}

static const f64 *widened(const f32 *v, i64 n)
{
    f64 *w = arena_array(a, f64, n);
    for (i64 i = 0; i < n; i++)
        w[i] = i % ((i64)sqrt((f64)n) + 1) ? v[i] : 0;          // without the diagonal
    return w;
}

static const tensor *without_diagonal(const tensor *t)
{
    f32 *v = arena_array(a, f32, t->count);
    memcpy(v, tensor_data(t), t->bytes);
    for (i64 i = 0; i < t->shape[0]; i++)
        v[i * t->shape[0] + i] = 0;
    ckpt *c = ckpt_new();
    ckpt_add(c, "x", CKPT_F32, 2, t->shape, v);
    return ckpt_find(c, "x");
}

static void statistics_of_the_script(void **state)
{
    (void)state;
    dev *d = dev_open(NULL);
    const char *teacher = saved(part_of_golden("teacher."), "teacher");
    struct statistics st = measured(d, teacher, "threshold: zero, average: batch", -1);
    int pairs = 0;
    for (enum site site = 0; site < SITES; site++)
        for (int l = 0; l < 4; l++) {
            const struct activity *x = &st.of[site][l];
            const char *name = arena_printf(a, "stats.%s.%d", site_names[site], l);
            close_to(name, x->l1, get("%s.L1", name), 5e-6);
            close_to(name, x->l2, get("%s.L2", name), 5e-6);
            close_to(name, x->count, get("%s.act_patrn", name), 0);
            const tensor *together = ckpt_find(golden, arena_printf(a, "%s.co_act", name));
            if (!together)
                continue;
            close_to(name, widened(x->together, (i64)x->width * x->width), without_diagonal(together), 0);
            pairs++;
        }
    assert_int_equal(pairs, 5);
    remove(teacher);
    dev_close(d);
}

/* The simplified script: sums over batches of what a batch gives divided by its values; the limit is the
 * batch's own. */
static void statistics_of_the_simplified_script(void **state)
{
    (void)state;
    dev *d = dev_open(NULL);
    const char *teacher = saved(part_of_golden("teacher."), "teacher2");
    const char *metrics[] = { "L1", "L2", "act_patrn" };
    const char *options[] = { "threshold: percentile, percentile: 80, average: batch",
                              "threshold: mean_std, average: batch" };
    for (int k = 0; k < 2; k++) {
        struct statistics st[2] = { measured(d, teacher, options[k], 0),
                                    measured(d, teacher, options[k], 1) };
        for (enum site site = SITE_HIDDEN; site <= SITE_ATTN; site++)
            for (int l = 2; l < 4; l++)
                for (int m = 0; m < 3; m++) {
                    const char *name = arena_printf(a, "simple.stats%s.%s.%d.%s", k ? "_mean_std" : "",
                                                    site_names[site], l, metrics[m]);
                    const tensor *want = ckpt_find(golden, name);
                    int width = st[0].of[site][l].width;
                    f64 *sum = arena_array(a, f64, width);
                    for (int b = 0; b < 2; b++) {
                        const struct activity *x = &st[b].of[site][l];
                        const f64 *v[] = { x->l1, x->l2, x->count };
                        for (int i = 0; i < width; i++)
                            sum[i] += v[m][i] / (17 * (b ? 3 : 4));
                    }
                    if (want)
                        close_to(want->name, sum, want, m < 2 ? 5e-6 : 1e-6);
                }
    }
    remove(teacher);
    dev_close(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(uniform_lists), cmocka_unit_test(shared_channels_are_the_top),
        cmocka_unit_test(graph_selection_with_the_given_partition),
        cmocka_unit_test(louvain_as_good_as_the_script), cmocka_unit_test(metis_as_good_as_pymetis),
        cmocka_unit_test(selected_weights), cmocka_unit_test(dual_path_and_stitching),
        cmocka_unit_test(stitched_student_computes), cmocka_unit_test(statistics_of_the_script),
        cmocka_unit_test(statistics_of_the_simplified_script),
    };
    return cmocka_run_group_tests(tests, open_golden, close_golden);
}
