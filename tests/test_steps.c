/* test_steps.c: optimiser steps against a host that computes them in double: moments, decay, clipping,
 * micro-batches, averaged weights, the learning rate; which random draws differ, and which must not; what a
 * state file brings back. */
#include "on_device.h"
#include "parsed.h"
#include <math.h>
#include <stdlib.h>
#include <unistd.h>
#include "train/learner.h"

#define OK(call) do { if (call) fail_msg("%s: %s", #call, fail_message()); } while (0)

/* ---- steps against the host ---------------------------------------------------------------------------- */

enum { MOST = 12, STEPS = 3 };
static f32 pixels[STEPS][MOST * 3 * 32 * 32], labels[STEPS][MOST * 3];

static void make_batches(const struct spec *s)
{
    rng r = rng_at(5, RNG_TEST, 0, 0);
    for (int k = 0; k < STEPS; k++)
        for (int i = 0; i < MOST; i++) {
            i64 n = 3 * s->model.image.v[0] * s->model.image.v[0];
            for (i64 j = 0; j < n; j++)
                pixels[k][i * n + j] = (f32)rng_normal(&r);
            for (int j = 0; j < 3; j++)
                labels[k][i * 3 + j] = j == (i + k) % 3 ? .75f : .125f;
        }
}

/* Values, moments or gradients of all parameters, one after the other. */
static f32 *values_of(const params *p, size_t of, i64 *n)
{
    *n = 0;
    for (size_t i = 0; i < p->n; i++)
        *n += shape_count(p->list[i].shape);
    f32 *v = arena_array(a, f32, *n), *at = v;
    for (size_t i = 0; i < p->n; at += shape_count(p->list[i++].shape)) {
        const struct param *x = &p->list[i];
        range r = *(const range *)((const char *)&p->slabs[x->slab] + of);
        r = (range){ r.mem, r.off + 4 * (u64)x->offset, 4 * (u64)shape_count(x->shape) };
        OK(mem_read(p->d, r, at));
    }
    return v;
}
#define VALUES(p, which, n) values_of(p, offsetof(struct param_slab, which), n)

static f64 *doubles(const f32 *v, i64 n)
{
    f64 *d = arena_array(a, f64, n);
    LOOP(i, n)
        d[i] = v[i];
    return d;
}

/* Where each value's group stands. */
struct host { i64 n; f64 *p, *m, *v, *ema, *rate, *decay; };

static struct host host_of(const struct spec *s, const params *p)
{
    struct host h;
    const f32 *start = VALUES(p, value, &h.n);
    h.p = doubles(start, h.n);
    h.ema = doubles(start, h.n);
    h.m = arena_array(a, f64, h.n);
    h.v = arena_array(a, f64, h.n);
    h.rate = arena_array(a, f64, h.n);
    h.decay = arena_array(a, f64, h.n);
    i64 at = 0;
    for (size_t i = 0; i < p->n; i++) {
        const struct param *x = &p->list[i];
        struct group g = optim_group(s, x->name, x->shape.nd);
        LOOP(j, shape_count(x->shape)) {
            h.rate[at] = g.lr_scale;
            h.decay[at++] = g.weight_decay;
        }
    }
    return h;
}

/* One step with the mean gradient g; returns its norm. */
static f64 host_step(struct host *h, const struct spec *s, const f64 *g, int t, f64 factor)
{
    f64 square = 0, b1 = s->optim.betas.v[0], b2 = s->optim.betas.v[1];
    LOOP(i, h->n)
        square += g[i] * g[i];
    f64 norm = sqrt(square), clip = s->train.clip_norm, scale = clip > 0 && norm > clip ? clip / norm : 1;
    LOOP(i, h->n) {
        f64 x = g[i] * scale, lr = s->optim.lr * factor * h->rate[i];
        h->m[i] = b1 * h->m[i] + (1 - b1) * x;
        h->v[i] = b2 * h->v[i] + (1 - b2) * x * x;
        f64 mean = h->m[i] / (1 - pow(b1, t)), root = sqrt(h->v[i] / (1 - pow(b2, t)));
        h->p[i] -= lr * h->decay[i] * h->p[i] + lr * mean / (root + s->optim.eps);
        h->ema[i] = s->train.ema * h->ema[i] + (1 - s->train.ema) * h->p[i];
    }
    return norm;
}

static void close_to(const char *what, int step, const f32 *got, const f64 *want, i64 n, f64 relative,
                     f64 absolute)
{
    LOOP(i, n)
        if (!(fabs(got[i] - want[i]) <= relative * fabs(want[i]) + absolute))
            fail_msg("step %d, %s %lld: %.9g, wanted %.9g", step, what, (long long)i, (f64)got[i], want[i]);
}

/* The loss of a batch by hand, from the logits of the model in evaluation mode. */
static f64 loss_by_hand(const struct spec *s, params *p, const struct batch *b)
{
    struct evaluator e;
    f32 *z = arena_array(a, f32, b->n * 3);
    f64 loss = 0;
    OK(evaluator_open(&e, s, device, p, b->n) || evaluator_logits(&e, b, z));
    for (int i = 0; i < b->n; i++) {
        f64 sum = 0;
        for (int k = 0; k < 3; k++)
            sum += exp(z[3 * i + k]);
        for (int k = 0; k < 3; k++) {
            f64 t = (1 - s->augment.smoothing) * b->soft_labels[3 * i + k] + s->augment.smoothing / 3;
            loss -= t * (z[3 * i + k] - log(sum)) / b->n;
        }
    }
    evaluator_close(&e);
    return loss;
}

/* Three steps, with each batch computed at once and as the experiment says, against the host's, which takes
 * the device's gradients. */
static void steps(const char *text)
{
    struct spec s = parsed(text), whole = s;
    whole.train.accumulate = 1;
    make_batches(&s);
    const struct spec *of[] = { &whole, &s };
    for (int which = 0; which < (s.train.accumulate > 1 ? 2 : 1); which++) {
        struct learner l;
        i64 n;
        params *p = model_open(device, &s, PARAMS_TRAIN);
        if (!p)
            fail_msg("%s", fail_message());
        OK(learner_open(&l, of[which], device, p));
        struct host h = host_of(&s, p);
        assert_int_equal(l.micro_batches, of[which]->train.accumulate);
        for (int t = 1; t <= STEPS; t++) {
            struct batch b = { .n = s.train.batch, .numbers = pixels[t - 1], .soft_labels = labels[t - 1] };
            f64 loss, norm, factor = t == 2 ? .5 : 1, want = loss_by_hand(&s, p, &b);
            OK(learner_step(&l, &b, factor) || learner_read(&l, &loss, &norm));
            const f32 *summed = VALUES(p, grad, &n);
            f64 *g = doubles(summed, n);
            f64 length = host_step(&h, &s, g, t, factor);
            if (fabs(norm - length) > 1e-5 * length || fabs(loss - want) > 1e-5 * want)
                fail_msg("step %d: norm %g, wanted %g; loss %g, wanted %g", t, norm, length, loss, want);
            f64 clipped = s.train.clip_norm ? fmin(length, s.train.clip_norm) : length;
            close_to("first moment", t, VALUES(p, m, &n), h.m, n, 1e-5, 1e-7 * clipped);
            close_to("second moment", t, VALUES(p, v, &n), h.v, n, 2e-5, 1e-7 * clipped * clipped / (f64)n);
            f32 *now = VALUES(p, value, &n);
            close_to("value", t, now, h.p, n, 3e-7, 3e-5 * s.optim.lr);
            if (s.train.ema > 0) {
                close_to("average", t, VALUES(learner_weights(&l), value, &n), h.ema, n, 3e-7,
                         3e-5 * s.optim.lr);
            }
        }
        learner_close(&l);
        params_free(p);
    }
}

#define STILL_MOE "noise: off, dropout: off, expert_drop: off, core: 2, universal: 3"
#define VIT "model: {arch: vit, image: 8, patch: 4, dim: 16, depth: 3, heads: 2, classes: 3,\n" \
            " drop_path: off, moe: {layers: [1, 2], " STILL_MOE "}}\n"
#define CONVNEXT "model: {arch: convnext, image: 32, depths: [1, 1, 4, 1], dims: [8, 16, 24, 32],\n" \
                 " classes: 3, drop_path: off, moe: {layers: [5, 6], " STILL_MOE "}}\n"
#define RECIPE "optim: {lr: 1e-2, eps: 1e-4, weight_decay: 0.5, betas: [0.8, 0.9], layer_decay: 0.7}\n" \
               "augment: {smoothing: 0.2}\n"

static void test_one_micro_batch(void **state)
{
    (void)state;
    steps(VIT RECIPE "train: {batch: 6, accumulate: 1, ema: 0.5, clip_norm: off}");
}
static void test_two_micro_batches(void **state)
{
    (void)state;
    steps(VIT RECIPE "train: {batch: 6, accumulate: 2, ema: 0.5, clip_norm: 100}");       // not reached
}
static void test_three_micro_batches(void **state)
{
    (void)state;
    steps(VIT RECIPE "train: {batch: 6, accumulate: 3, ema: 0.9, clip_norm: 0.1}");
}
static void test_average_that_stays(void **state)
{
    (void)state;
    steps(VIT RECIPE "train: {batch: 6, accumulate: 1, ema: 1}");
}
static void test_convnext(void **state)
{
    (void)state;
    steps(CONVNEXT RECIPE "train: {batch: 4, accumulate: 2, ema: 0.5, clip_norm: 0.1}");
}

/* The gradient of a batch in micro-batches is that of the whole: the micro-batches are other images, and all of
 * them, each with what is drawn for it. */
static void parts_are_the_batch(const char *text)
{
    f32 *first = NULL;
    i64 n;
    for (int micro_batches = 1; micro_batches <= 3; micro_batches++) {
        struct spec s = parsed(arena_printf(a, "%strain: {batch: 6}", text));
        struct learner l;
        f64 loss, norm;
        s.train.accumulate = micro_batches;
        make_batches(&s);
        params *p = model_open(device, &s, PARAMS_TRAIN);
        OK(learner_open(&l, &s, device, p));
        struct batch b = { .n = 6, .numbers = pixels[0], .soft_labels = labels[0] };
        OK(learner_step(&l, &b, 0) || learner_read(&l, &loss, &norm));
        f32 *g = VALUES(p, grad, &n);
        if (first)
            LOOP(i, n)
                if (!(fabs((f64)g[i] - first[i]) <= 1e-5 * fabs(first[i]) + 4e-7 * norm))
                    fail_msg("%s: %d micro-batches: gradient %lld is %g, of the whole %g", text, micro_batches,
                             (long long)i, (f64)g[i], (f64)first[i]);
        first = micro_batches == 1 ? g : first;
        learner_close(&l);
        params_free(p);
    }
}

#define MOE(more) "model: {arch: vit, image: 8, patch: 4, dim: 16, depth: 3, heads: 2, classes: 3,\n" \
                  " drop_path: 0.4, moe: {layers: [1, 2], core: 2, universal: 3, slots: 2, " more "}}\n"

static void test_micro_batches_are_the_batch(void **state)
{
    (void)state;
    parts_are_the_batch(VIT);
    parts_are_the_batch(CONVNEXT);
    parts_are_the_batch(MOE("noise: 1, dropout: 0.4, expert_drop: 0.3"));
    parts_are_the_batch(MOE("noise: 1, dropout: 0.4, expert_drop: 0.3, multi_head: on,"
                            " expert_drop_per: expert"));
    trace_set("no_join");
    parts_are_the_batch(MOE("noise: 1, dropout: 0.4, expert_drop: 0.3, multi_head: on"));
    trace_set("");
}

static void test_micro_batches_must_fit(void **state)
{
    (void)state;
    struct spec s = parsed(VIT "train: {batch: 6, accumulate: 4}");
    struct learner l;
    params *p = model_open(device, &s, PARAMS_TRAIN);
    fail_clear();
    assert_int_equal(learner_open(&l, &s, device, p), -1);
    assert_int_equal(fail_fault(), FAULT_USAGE);
    learner_close(&l);
    params_free(p);
}

/* Losses are means over the micro-batches since the last reading. */
static void test_reported(void **state)
{
    (void)state;
    struct spec s = parsed(VIT "train: {batch: 6, accumulate: 2}");
    struct learner l;
    f64 loss[3], all, norm[3], last;
    make_batches(&s);
    params *p = model_open(device, &s, PARAMS_TRAIN);
    OK(learner_open(&l, &s, device, p));
    for (int round = 0; round < 2; round++)
        for (int k = 0; k < 3; k++) {
            struct batch b = { .n = 6, .numbers = pixels[k], .soft_labels = labels[k] };
            OK(learner_step(&l, &b, 0));
            if (!round)
                OK(learner_read(&l, &loss[k], &norm[k]));
        }
    OK(learner_read(&l, &all, &last));
    assert_true(fabs(all - (loss[0] + loss[1] + loss[2]) / 3) < 1e-6 && last == norm[2]);
    assert_true(loss[0] != loss[1] && loss[1] != loss[2]);
    learner_close(&l);
    params_free(p);
}

/* ---- random draws -------------------------------------------------------------------------------------- */

/* Losses of the micro-batches of some steps that change nothing, on a batch of one image many times over, with
 * labels that are the same in both halves: whatever differs was drawn. */
enum { DRAWS = 6 };
static void drawn(const char *model, const char *train, i64 seed, i64 from, f64 out[DRAWS])
{
    struct spec s = parsed(arena_printf(a, "model: {arch: vit, image: 8, patch: 4, dim: 16, heads: 2,"
                                        " classes: 3, %s}\ntrain: {batch: 8, %s}", model, train));
    struct learner l;
    s.seed = seed;
    make_batches(&s);
    i64 image = 3 * 64;
    for (int i = 1; i < 8; i++) {
        memcpy(pixels[0] + i * image, pixels[0], 4 * (size_t)image);
        memcpy(labels[0] + 3 * i, labels[0] + 3 * (i % 4), 12);
    }
    struct spec same = s;
    same.seed = 1;                                // the same weights for every seed
    params *p = model_open(device, &same, PARAMS_TRAIN);
    OK(learner_open(&l, &s, device, p));
    l.step = from;
    struct batch b = { .n = 8, .numbers = pixels[0], .soft_labels = labels[0] };
    f64 norm;
    for (int k = 0; k < DRAWS;) {
        f32 last;
        OK(learner_step(&l, &b, 0) || mem_read(device, l.loss, &last) || learner_read(&l, &out[k], &norm));
        if (l.micro_batches == 2) {
            out[k + 1] = 2 * last;                // of the second part, half of the batch, and of the first
            out[k] = 2 * out[k] - 2 * last;
        }
        k += l.micro_batches;
    }
    learner_close(&l);
    params_free(p);
}

static int distinct(const f64 *v, int n)
{
    int count = 0;
    for (int i = 0; i < n; i++) {
        bool seen = false;
        for (int j = 0; j < i; j++)
            seen |= fabs(v[i] - v[j]) < 1e-6;
        count += !seen;
    }
    return count;
}

static const char *const random_models[] = {
    "depth: 2, drop_path: 0.5",
#define FEW "depth: 3, drop_path: off, moe: {core: 2, universal: 2, "
    FEW "layers: [1], noise: 1, dropout: off, expert_drop: off}",
    FEW "layers: [1], noise: off, dropout: 0.5, expert_drop: off}",
    FEW "layers: [2], noise: off, dropout: off, expert_drop: 0.5}",
    FEW "layers: [2], noise: off, dropout: off, expert_drop: 0.5, expert_drop_per: expert}" };

static void test_draws(void **state)
{
    (void)state;
    for (int i = 0; i < countof(random_models); i++) {
        const char *model = random_models[i];
        f64 one[DRAWS], two[DRAWS], halves[DRAWS], seed[DRAWS], later[DRAWS], high[DRAWS];
        drawn(model, "accumulate: 1", 1, 0, one);
        drawn(model, "accumulate: 1", 1, 0, two);
        drawn(model, "accumulate: 1", 1, 3, later);
        drawn(model, "accumulate: 1", 2, 0, seed);
        drawn(model, "accumulate: 1", 1 + (1LL << 32), 0, high);
        drawn(model, "accumulate: 2", 1, 0, halves);
        if (memcmp(one, two, sizeof one) || memcmp(one + 3, later, 3 * sizeof *one))
            fail_msg("%s: not a function of seed and step", model);
        bool fine = i == 1 || i == 2;             // of many small draws: never equal by chance
        if (distinct(one, DRAWS) < (fine ? DRAWS : 4))
            fail_msg("%s: steps draw the same", model);
        bool alike = true;
        for (int k = 0; k < DRAWS; k += 2)
            alike &= fabs(halves[k] - halves[k + 1]) < 1e-6;
        if (distinct(halves, DRAWS) < (fine ? DRAWS : 4) || alike)
            fail_msg("%s: micro-batches draw the same", model);
        if (!memcmp(one, seed, sizeof one) || !memcmp(one, high, sizeof one)
            || !memcmp(seed, high, sizeof one))
            fail_msg("%s: seeds draw the same", model);
    }
}

/* Samples are dropped each on its own: one mask for the batch could give two losses for a block's experts and
 * four for its two branches. */
static void test_samples(void **state)
{
    (void)state;
    for (int which = 0; which < 2; which++) {
        f64 all[4 * DRAWS];
        for (int k = 0; k < 4; k++)
            drawn(random_models[which ? 3 : 0], "accumulate: 1", 1, k * DRAWS, all + k * DRAWS);
        if (distinct(all, 4 * DRAWS) < 10)
            fail_msg("%s: %d losses", random_models[which ? 3 : 0], distinct(all, 4 * DRAWS));
    }
}

/* Routing noise in evaluation: drawn (as released), always the same; another for other seeds. */
static void test_noise_in_evaluation(void **state)
{
    (void)state;
    const char *text = "model: {arch: vit, image: 8, patch: 4, dim: 16, depth: 2, heads: 2, classes: 3,\n"
                       " moe: {layers: [1], noise: 1, noise_when: %s, core: 2, universal: 2}}";
    for (int always = 0; always < 2; always++) {
        struct spec s = parsed(arena_printf(a, text, always ? "always" : "training"));
        make_batches(&s);
        params *p = model_open(device, &s, PARAMS_FORWARD);
        f32 z[4][12];
        for (int k = 0; k < 4; k++) {
            struct evaluator e;
            struct batch b = { .n = 4, .numbers = pixels[0], .soft_labels = labels[0] };
            s.seed = k == 2 ? 1 : k == 3 ? 3407 + (1LL << 32) : 3407;
            OK(evaluator_open(&e, &s, device, p, 4) || evaluator_logits(&e, &b, z[k]));
            if (!k)
                OK(evaluator_logits(&e, &b, z[1]));
            if (!k)
                assert_memory_equal(z[0], z[1], sizeof z[0]);
            evaluator_close(&e);
        }
        assert_memory_equal(z[0], z[1], sizeof z[0]);
        for (int k = 2; k < 4; k++)
            assert_int_equal(memcmp(z[0], z[k], sizeof z[0]) != 0, always);
        params_free(p);
    }
}

/* ---- state --------------------------------------------------------------------------------------------- */

#define RANDOM "model: {arch: vit, image: 8, patch: 4, dim: 16, depth: 2, heads: 2, classes: 3,\n" \
               " drop_path: 0.3, moe: {layers: [1], core: 2, universal: 3}}\n" RECIPE

static void some_steps(struct learner *l, int from, int to)
{
    f64 loss, norm;
    for (int k = from; k < to; k++) {
        struct batch b = { .n = 6, .numbers = pixels[k % STEPS], .soft_labels = labels[k % STEPS] };
        OK(learner_step(l, &b, 1) || learner_wait(l));
    }
    OK(learner_read(l, &loss, &norm));
}

/* Everything a state holds comes back to the bit, and steps from there are those of the run that continued. */
/* The weights' file that comes out of a state has what the device has. */
static void saved_weights(const ckpt *from, const struct learner *l)
{
    const char *path = "build/test_steps.safetensors";
    ckpt *c = ckpt_new();
    state_weights(from, l, c, a);
    OK(ckpt_save(c, path));
    ckpt_close(c);
    c = ckpt_open(path);
    i64 n;
    const f32 *want = VALUES(learner_weights(l), value, &n);
    for (size_t i = 0; i < l->p->n; want += shape_count(l->p->list[i++].shape)) {
        const tensor *t = ckpt_find(c, l->p->list[i].name);
        f32 *got = arena_array(a, f32, shape_count(l->p->list[i].shape));
        assert_true(t && tensor_shape_is(t, l->p->list[i].shape.nd, l->p->list[i].shape.d));
        OK(tensor_to_f32(t, got));
        assert_memory_equal(got, want, 4 * (size_t)t->count);
    }
    ckpt_close(c);
    remove(path);
}

static void test_state(void **state)
{
    (void)state;
    const char *path = "build/test_steps.state";
    for (int ema = 0; ema < 2; ema++) {
        struct spec s = parsed(ema ? RANDOM "train: {batch: 6, accumulate: 2, ema: 0.5}"
                                   : RANDOM "train: {batch: 6, accumulate: 1}");
        struct learner l, k;
        struct position at = { 7, 3, 1. / 3, 5, 2 }, back;
        i64 n;
        make_batches(&s);
        params *p = model_open(device, &s, PARAMS_TRAIN);
        OK(learner_open(&l, &s, device, p));
        some_steps(&l, 0, 3);
        OK(state_save(path, &l, &at));
        ckpt *c = ckpt_open(path);                // under these names: files outlive programs
        const struct param *x = &p->list[p->n - 1];
        for (int moment = 0; moment < 2; moment++) {
            const tensor *t = ckpt_find(c, arena_printf(a, "%c.%s", "mv"[moment], x->name));
            f32 kept[64], *all = moment ? VALUES(p, v, &n) : VALUES(p, m, &n);
            assert_true(t && (i64)t->count == shape_count(x->shape) && !tensor_to_f32(t, kept));
            assert_memory_equal(kept, all + n - (i64)t->count, 4 * (size_t)t->count);
        }
        saved_weights(c, &l);
        ckpt_close(c);
        s.seed++;                                 // other initial values
        params *q = model_open(device, &s, PARAMS_TRAIN);
        s.seed--;
        OK(learner_open(&k, &s, device, q) || state_load(path, &k, &back));
        assert_memory_equal(&back, &at, sizeof at);
        assert_int_equal(k.step, 3);
        VALUES(p, value, &n);
        for (int rest = 0; rest < 2; rest++) {
            assert_memory_equal(VALUES(p, value, &n), VALUES(q, value, &n), 4 * (size_t)n);
            assert_memory_equal(VALUES(p, m, &n), VALUES(q, m, &n), 4 * (size_t)n);
            assert_memory_equal(VALUES(p, v, &n), VALUES(q, v, &n), 4 * (size_t)n);
            f32 *model = VALUES(learner_weights(&l), value, &n);
            assert_memory_equal(model, VALUES(learner_weights(&k), value, &n), 4 * (size_t)n);
            assert_int_equal(memcmp(model, VALUES(p, value, &n), 4 * (size_t)n) != 0, ema);
            if (!rest) {
                some_steps(&l, 3, 6);
                some_steps(&k, 3, 6);
            }
        }
        learner_close(&l);
        learner_close(&k);
        params_free(p);
        params_free(q);
    }
    remove(path);
}

static void test_other_state(void **state)
{
    (void)state;
    const char *path = "build/test_steps.state";
    struct spec s = parsed(RANDOM "train: {batch: 6, accumulate: 1}");
    struct learner l;
    struct position at = { 1, 1, 1, 1, 1 };
    make_batches(&s);
    params *p = model_open(device, &s, PARAMS_TRAIN);
    OK(learner_open(&l, &s, device, p) || state_save(path, &l, &at));
    learner_close(&l);
    params_free(p);
    for (int i = 0; i < 2; i++) {
        s = parsed(RANDOM "train: {batch: 6, accumulate: 1}");
        s.train.ema = i ? 0 : .5;
        s.model.classes = i ? 4 : 3;
        p = model_open(device, &s, PARAMS_TRAIN);
        OK(learner_open(&l, &s, device, p));
        fail_clear();
        assert_int_equal(state_load(path, &l, &at), -1);
        assert_int_equal(fail_fault(), FAULT_DATA);
        if (!strstr(fail_message(), i ? "'head.weight'" : "'ema."))
            fail_msg("%s", fail_message());
        learner_close(&l);
        params_free(p);
    }
    remove(path);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, test_begin, test_end)
    const struct CMUnitTest tests[] = {
        TEST(test_one_micro_batch), TEST(test_two_micro_batches), TEST(test_three_micro_batches),
        TEST(test_convnext), TEST(test_average_that_stays), TEST(test_micro_batches_are_the_batch),
        TEST(test_micro_batches_must_fit), TEST(test_reported), TEST(test_draws), TEST(test_samples),
        TEST(test_noise_in_evaluation), TEST(test_state), TEST(test_other_state) };
    say_setup((struct say_options){ SAY_QUIET, 0, true });
    return cmocka_run_group_tests(tests, open_device, close_device);
}
