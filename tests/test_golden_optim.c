/* test_golden_optim.c: the optimiser against the reference's own numbers: AdamW and clipping on single
 * tensors, the learning rate of every iteration, and five whole training steps of a small V-JetMoE ViT.
 * Without the golden files all are skipped; test_train has the constants that every clone can check. */
#include "golden.h"
#include "train/learner.h"

static dev *device;
static ckpt *file;


static const tensor *get(arena *a, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    const char *name = arena_vprintf(a, fmt, ap);
    va_end(ap);
    const tensor *t = ckpt_find(file, name);
    if (!t)
        fail_msg("no %s", name);
    return t;
}

static f32 *values(arena *a, const tensor *t)
{
    f32 *v = arena_array(a, f32, t->count);
    assert_int_equal(tensor_to_f32(t, v), 0);
    return v;
}

static f64 *doubles(arena *a, const tensor *t)
{
    f64 *v = arena_array(a, f64, t->count);
    assert_int_equal(tensor_to_f64(t, v), 0);
    return v;
}

static f64 scalar(arena *a, const char *name) { return doubles(a, get(a, "%s", name))[0]; }

/* ---- one tensor ---------------------------------------------------------------------------------------- */

/* Memory of one parameter of up to a block, and an update of it. */
struct update { pool *memory; range p, g, m, v, table; graph *graph; };

static void update_open(struct update *u, i64 count, f64 lr_scale, f64 decay, f64 clip)
{
    f32 table[2] = { (f32)lr_scale, (f32)decay };
    u->memory = pool_new(device, "test");
    range *all[] = { &u->p, &u->g, &u->m, &u->v, &u->table };
    for (int i = 0; i < 5; i++) {
        *all[i] = pool_take(u->memory, 4 * ADAMW_BLOCK);
        mem_fill(device, *all[i], 0);
        all[i]->bytes = i < 4 ? 4 * (u64)count : sizeof table;
    }
    mem_write(device, u->table, table);
    u->graph = graph_new(device);
    node *sum = op_square_sum(u->graph, u->g, count);
    struct adamw_args args = { u->p, u->g, u->m, u->v, u->table, count, .9, .999, 1e-8f, (f32)clip };
    op_adamw(sum, &args);
    simplify_graph(u->graph);
    assert_int_equal(graph_compile(u->graph), 0);
}

static void update_step(struct update *u, const f32 *g, f64 lr, int t)
{
    step_words w = { .f = { [STEP_LR] = (f32)lr, [STEP_BIAS1] = (f32)(1 - pow(.9, t)),
                            [STEP_BIAS2] = (f32)(1 - pow(.999, t)), [STEP_GRAD_SCALE] = 1 } };
    mem_write(device, u->g, g);
    assert_int_equal(graph_set_step(u->graph, &w), 0);
    assert_int_equal(graph_run(u->graph), 0);
    assert_int_equal(dev_finish(device), 0);
}

static void update_close(struct update *u)
{
    graph_free(u->graph);
    pool_free(u->memory);
}

static void near(range r, const tensor *t, f64 factor)
{
    arena *a = arena_open("test");
    f32 *got = arena_array(a, f32, t->count);
    mem_read(device, r, got);
    for (u64 i = 0; i < t->count; i++)
        got[i] = (f32)((f64)got[i] * factor);
    golden_compare(t->name, got, values(a, t), (i64)t->count, (struct tolerance){ 2e-6, 1e-7 });
    arena_close(a);
}

static void test_adamw(void **state)
{
    (void)state;
    arena *a = arena_open("test");
    for (int k = 0; k < 3; k++) {
        const f64 *lr_wd = doubles(a, get(a, "adamw%d.lr_wd", k));
        const tensor *p0 = get(a, "adamw%d.p0", k);
        struct update u;
        update_open(&u, (i64)p0->count, 1, lr_wd[1], 0);
        mem_write(device, u.p, values(a, p0));
        for (int t = 1; t <= 5; t++) {
            update_step(&u, values(a, get(a, "adamw%d.g%d", k, t - 1)), lr_wd[0], t);
            near(u.p, get(a, "adamw%d.p%d", k, t), 1);
            near(u.m, get(a, "adamw%d.m%d", k, t), 1);
            near(u.v, get(a, "adamw%d.v%d", k, t), 1);
        }
        update_close(&u);
    }
    arena_close(a);
}

/* Tensors one after the other, as in a slab: what the first step leaves in m is a tenth of the
 * clipped gradient. */
static void test_clip(void **state)
{
    (void)state;
    static const char *const cases[] = { "clip_active", "clip_inactive" };
    arena *a = arena_open("test");
    for (int k = 0; k < 2; k++) {
        f32 all[256];
        i64 n = 0;
        struct update u;
        for (int i = 0; i < 3; i++) {
            const tensor *t = get(a, "%s.in.g%d", cases[k], i);
            memcpy(all + n, values(a, t), t->count * sizeof *all);
            n += (i64)t->count;
        }
        update_open(&u, n, 1, 0, 5);
        update_step(&u, all, 1e-3, 1);
        range at = u.m;
        f32 m[256], want[256];
        mem_read(device, at, m);
        n = 0;
        for (int i = 0; i < 3; i++) {
            const tensor *t = get(a, "%s.out.g%d", cases[k], i);
            memcpy(want + n, values(a, t), t->count * sizeof *want);
            n += (i64)t->count;
        }
        for (i64 i = 0; i < n; i++)
            m[i] *= 10;
        golden_compare(cases[k], m, want, n, (struct tolerance){ 2e-6, 1e-7 });
        update_close(&u);
    }
    arena_close(a);
}

/* JETCL_TRACE=nan looks at what nodes write: not at the memory of an average's
 * own node, which no launch writes. */
static void test_effect_has_no_value(void **state)
{
    (void)state;
    struct update u;
    f32 g[2] = { 1, 2 };
    update_open(&u, 2, 1, 0, 1);
    mem_write(device, u.g, g);
    graph *average = graph_new(device);
    op_blend_into(average, u.m, u.g, 2, .5f);
    assert_int_equal(graph_compile(average), 0);
    mem_write(device, average->nodes[average->n - 1]->home, &(f32){ NAN });
    assert_int_equal(graph_find_nan(average), 0);
    graph_free(average);
    mem_write(device, u.g, (f32[]){ NAN, 0 });
    assert_int_equal(graph_find_nan(u.graph), -1);
    assert_non_null(strstr(fail_message(), "square_sum"));
    update_close(&u);
}

/* ---- schedule ------------------------------------------------------------------------------------------ */

static void test_rates(void **state)
{
    (void)state;
    static const char *const names[] = { "lr_schedule.lr", "lr_schedule_iter_cosine.lr" };
    arena *a = arena_open("test");
    struct spec s;
    const char *text = "train: {epochs: 10}\nschedule: {warmup_epochs: 2}\n";
    assert_int_equal(spec_parse(&s, a, "test", text, NULL, 0), 0);
    const f64 *scale = doubles(a, get(a, "lr_schedule.group_scale"));
    for (int k = 0; k < 2; k++) {
        s.schedule.by = k ? BY_step : BY_epoch;
        const f64 *want = doubles(a, get(a, "%s", names[k]));
        for (int i = 0; i < 70 * 3; i++) {
            f64 got = 4e-3 * scale[i % 3] * schedule_factor(&s, i / 3, 7);
            if (!(fabs(got - want[i]) <= 1e-12 * want[i]))
                fail_msg("%s: iteration %d: %.17g, want %.17g", names[k], i / 3, got, want[i]);
        }
    }
    arena_close(a);
}

/* ---- five steps ---------------------------------------------------------------------------------------- */

static const char *const toy =
    "model: {arch: vit, image: 32, patch: 8, dim: 24, depth: 4, heads: 3, classes: 10, drop_path: off,\n"
    "        moe: {layers: [2, 3], core: 3, universal: 6, noise: off, dropout: off, expert_drop: off}}\n"
    "train: {batch: 4}\noptim: {lr: 2e-3}\n";

static void check_groups(arena *a, const struct spec *s, const params *p)
{
    for (size_t i = 0; i < p->n; i++) {
        const f64 *want = doubles(a, get(a, "vit.group.%s", p->list[i].name));     // lr scale, lr, decay
        struct group got = optim_group(s, p->list[i].name, p->list[i].shape.nd);
        assert_true(fabs(got.lr_scale - want[0]) < 1e-12 && fabs(got.weight_decay - want[2]) < 1e-12);
    }
}

/* The bias of the keys has no gradient but round-off, which Adam makes a step of: left out. */
static bool is_key_bias(const struct param *x, i64 i)
{
    i64 d = shape_count(x->shape) / 3;
    return text_ends(x->name, "qkv.bias") && i >= d && i < 2 * d;
}

static void check_weights(arena *a, const params *p)
{
    i64 all = 0, far = 0;
    for (size_t k = 0; k < p->n; k++) {
        const struct param *x = &p->list[k];
        const f32 *want = values(a, get(a, "vit.p5.%s", x->name));
        f32 *got = arena_array(a, f32, shape_count(x->shape));
        assert_int_equal(params_read(p, x, got), 0);
        for (i64 i = 0; i < shape_count(x->shape); i++) {
            f64 error = is_key_bias(x, i) ? 0 : fabs((f64)got[i] - (f64)want[i]);
            if (!(error <= 5e-5))
                fail_msg("%s[%lld]: %.9g, want %.9g", x->name, (long long)i, (f64)got[i], (f64)want[i]);
            all++;
            far += error > 1e-6;
        }
    }
    assert_true(far <= all / 1000);
}

static void test_five_steps(void **state)
{
    (void)state;
    arena *a = arena_open("test");
    struct spec s;
    struct learner l;
    if (spec_parse(&s, a, "test", toy, NULL, 0))
        fail_msg("%s", fail_message());
    params *p = model_open(device, &s, PARAMS_TRAIN);
    assert_non_null(p);
    check_groups(a, &s, p);
    for (size_t i = 0; i < p->n; i++)
        assert_int_equal(params_write(p, &p->list[i], values(a, get(a, "vit.p0.%s", p->list[i].name))), 0);
    if (learner_open(&l, &s, device, p))
        fail_msg("%s", fail_message());
    for (int k = 0; k < 5; k++) {
        f64 loss, norm, want_loss = scalar(a, arena_printf(a, "vit.loss%d", k));
        f64 want_norm = scalar(a, arena_printf(a, "vit.grad_norm%d", k));
        struct batch b = { .n = s.train.batch, .numbers = values(a, get(a, "vit.in.images%d", k)),
                           .soft_labels = values(a, get(a, "vit.in.soft_labels%d", k)) };
        assert_int_equal(learner_step(&l, &b, 1), 0);
        assert_int_equal(learner_read(&l, &loss, &norm), 0);
        if (!(fabs(loss - want_loss) <= 1e-5 * want_loss + 1e-6)
            || !(fabs(norm - want_norm) <= 1e-5 * want_norm + 1e-6))
            fail_msg("step %d: loss %.9g, want %.9g; gradient norm %.9g, want %.9g", k, loss, want_loss,
                     norm, want_norm);
    }
    check_weights(a, p);
    learner_close(&l);
    params_free(p);
    arena_close(a);
}

static int setup(void **state)
{
    (void)state;
    file = golden_open("optim");
    device = dev_open(NULL);
    return device ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    ckpt_close(file);
    dev_close(device);
    return 0;
}

int main(void)
{
    say_setup((struct say_options){ SAY_QUIET, 0, true });
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adamw), cmocka_unit_test(test_clip), cmocka_unit_test(test_effect_has_no_value),
        cmocka_unit_test(test_rates), cmocka_unit_test(test_five_steps),
    };
    return cmocka_run_group_tests_name("golden_optim", tests, setup, teardown);
}
