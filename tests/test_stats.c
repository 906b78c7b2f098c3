/* test_stats.c: activation statistics on the device against plain loops in double: odd sizes, padding,
 * batches, limits. */
#include "unit.h"
#include "autograd/autograd.h"
#include "fuse/fuse.h"
#include <math.h>
#include <stdlib.h>

static dev *device;
static arena *a;

struct setting {
    enum stats_limit limit;
    bool by_image, batches;
    int percentile;
    i64 images, n, channels, step, batch;
};
struct result { f64 *l1, *l2, *count; f64 *together; };

static struct result result_new(i64 c)
{
    return (struct result){ arena_array(a, f64, c), arena_array(a, f64, c), arena_array(a, f64, c),
                            arena_array(a, f64, c * c) };
}

/* All images, `step` at a time; the last step is padded with garbage. */
static struct result on_device(const struct setting *s, const f32 *x)
{
    graph *g = graph_new(device);
    node *in = graph_input(g, "x", F32, SHAPE(s->step, s->n, s->channels));
    node *job = graph_input(g, "job", I32, SHAPE(2));
    i64 words = stats_state_words(s->channels), row = words / 7;
    pool *p = pool_new(device, "test");
    range totals = pool_take(p, 4 * (u64)words);
    range pairs_of = pool_take(p, 4 * (u64)(s->channels * s->channels));
    struct stats_args args = { totals, pairs_of, s->limit, s->by_image, s->percentile };
    op_stats(op_scale(in, 1), job, &args);
    simplify_graph(g);
    if (graph_compile(g))
        fail_msg("%s", fail_message());
    mem_fill(device, args.state, 0);
    mem_fill(device, args.together, 0);
    i64 per = s->n * s->channels;
    f32 *batch = arena_array(a, f32, s->step * per);
    for (i64 from = 0; from < s->images; from += s->step) {
        i32 real = (i32)MIN(s->step, s->images - from);
        i32 end = s->batches && (from + real == s->images || (from + real) % s->batch == 0);
        LOOP(i, s->step * per) batch[i] = i < real * per ? x[from * per + i] : (i % 3 ? 1e30f : NAN);
        node_write(in, batch);
        node_write(job, (i32[]){ real, end });
        if (graph_run(g))
            fail_msg("%s", fail_message());
    }
    f32 *state = arena_array(a, f32, words);
    u32 *pairs = arena_array(a, u32, s->channels * s->channels);
    assert_int_equal(mem_read(device, args.state, state), 0);
    assert_int_equal(mem_read(device, args.together, pairs), 0);
    struct result r = result_new(s->channels);
    LOOP(c, s->channels) {
        r.l1[c] = (f64)state[c] + (f64)state[row + c];
        r.l2[c] = s->batches ? (f64)state[4 * row + c] + (f64)state[5 * row + c]
                             : sqrt((f64)state[2 * row + c] + (f64)state[3 * row + c]);
        r.count[c] = ((u32 *)state)[6 * row + c];
        LOOP(d, s->channels)
            r.together[c * s->channels + d] = pairs[MIN(c, d) * s->channels + MAX(c, d)];
    }
    pool_free(p);
    graph_free(g);
    return r;
}

static int by_value(const void *p, const void *q)
{
    f32 x = *(const f32 *)p, y = *(const f32 *)q;
    return (x > y) - (x < y);
}

static f64 limit_of(const struct setting *s, const f32 *x, i64 n)
{
    if (s->limit == STATS_ZERO)
        return 0;
    f64 mean = 0, var = 0;
    LOOP(i, n) mean += (f64)x[i] / (f64)n;
    LOOP(i, n) var += ((f64)x[i] - mean) * ((f64)x[i] - mean) / (f64)n;
    if (s->limit == STATS_MEAN_STD)
        return mean + sqrt(var);
    f32 *sorted = arena_array(a, f32, n);
    memcpy(sorted, x, sizeof *x * (size_t)n);
    qsort(sorted, (size_t)n, sizeof *sorted, by_value);
    f64 at = s->percentile * 1e-8 * (f64)(n - 1);
    i64 k = (i64)floor(at + 1e-9);
    return (f64)sorted[k] + ((f64)sorted[MIN(k + 1, n - 1)] - (f64)sorted[k]) * (at - (f64)k);
}

static struct result in_plain_c(const struct setting *s, const f32 *x)
{
    struct result r = result_new(s->channels);
    f64 *square = arena_array(a, f64, s->channels);
    i64 batch = s->batches ? s->batch : s->images, per = s->n * s->channels;
    for (i64 from = 0; from < s->images; from += batch) {
        i64 to = MIN(s->images, from + batch);
        memset(square, 0, sizeof *square * (size_t)s->channels);
        for (i64 i = from; i < to; i++) {
            f64 limit = s->by_image ? limit_of(s, x + i * per, per)
                                    : limit_of(s, x + from * per, (to - from) * per);
            LOOP(n, s->n) LOOP(c, s->channels) {
                const f32 *v = x + i * per + n * s->channels;
                r.l1[c] += fabs((f64)v[c]);
                square[c] += (f64)v[c] * (f64)v[c];
                r.count[c] += v[c] > limit;
                LOOP(d, s->channels) r.together[c * s->channels + d] += v[c] > limit && v[d] > limit;
            }
        }
        LOOP(c, s->channels) r.l2[c] += sqrt(square[c]);
    }
    return r;
}

static void compare(const struct setting *s)
{
    i64 n = s->images * s->n * s->channels;
    f32 *x = arena_array(a, f32, n);
    rng r = rng_at((u64)(n + s->limit), RNG_TEST, 0, 0);
    LOOP(i, n) x[i] = i % 13 ? (f32)rng_normal(&r) - 0.2f : 0;            // ties at zero
    struct result got = on_device(s, x), want = in_plain_c(s, x);
    LOOP(c, s->channels) {
        f64 off_l1 = fabs(got.l1[c] - want.l1[c]), off_l2 = fabs(got.l2[c] - want.l2[c]);
        if (!(off_l1 <= 2e-6 * want.l1[c]) || !(off_l2 <= 2e-6 * want.l2[c]))
            fail_msg("channel %d: l1 %.9g (%.9g), l2 %.9g (%.9g)", (int)c, got.l1[c], want.l1[c],
                     got.l2[c], want.l2[c]);
        if (got.count[c] != want.count[c])
            fail_msg("channel %d of %d: count %.0f, expected %.0f", (int)c, (int)s->channels, got.count[c],
                     want.count[c]);
    }
    LOOP(c, s->channels * s->channels)
        if (got.together[c] != want.together[c])
            fail_msg("pair %d %d: %.0f, expected %.0f", (int)(c / s->channels), (int)(c % s->channels),
                     got.together[c], want.together[c]);
}

static void odd_sizes(void **state)
{
    (void)state;
    const i64 sizes[] = { 1, 2, 31, 32, 33, 63, 64, 65, 37 };
    LOOP(i, countof(sizes)) {
        const i64 channels = sizes[(i * 5 + 3) % 9];
        compare(&(struct setting){ .images = 3, .n = sizes[i], .channels = channels, .step = 2 });
        compare(&(struct setting){ .images = 4, .n = 5, .channels = sizes[i], .step = 4 });
    }
    compare(&(struct setting){ .images = 1, .n = 17, .channels = 211, .step = 3 });
    for (int words = 255; words <= 513; words += 86)              // pairs are counted 256 words at a time
        compare(&(struct setting){ .images = 1, .n = 32 * words + 1, .channels = 21, .step = 1 });
}

static void batches_of_several_steps(void **state)
{
    (void)state;
    compare(&(struct setting){ .images = 7, .n = 9, .channels = 20, .step = 2, .batch = 4, .batches = true });
    compare(&(struct setting){ .images = 7, .n = 9, .channels = 20, .step = 3, .batch = 3, .batches = true });
}

static void limits(void **state)
{
    (void)state;
    for (enum stats_limit l = STATS_PERCENTILE; l <= STATS_MEAN_STD; l++)
        for (int q = 0; q <= 100; q += 20) {
            int percentile = q * 1000000;
            compare(&(struct setting){ l, true, false, percentile, 5, 7, 19, 2, 0 });
            compare(&(struct setting){ l, false, true, percentile, 5, 7, 19, 2, 2 });
            percentile += (q < 100) * 123457;
            compare(&(struct setting){ l, false, true, percentile, 3, 40, 700, 3, 3 });      // several parts
        }
}

/* Ten thousand times as much at first as ever after: totals keep what is too small for a float's last place,
 * within a step and over steps. */
static void small_values_after_large_ones(void **state)
{
    (void)state;
    for (int batches = 0; batches < 2; batches++)
        for (int one = 0; one < 2; one++) {
            struct setting s = { .images = one ? 1 : 2000, .n = one ? 4000 : 1, .channels = 3, .step = 1,
                                 .batch = 1, .batches = batches };
            i64 n = s.images * s.n * 3;
            f32 *x = arena_array(a, f32, n);
            LOOP(i, n) x[i] = i < 3 ? 3e7f : 1 + (f32)(i % 3);
            struct result got = on_device(&s, x), want = in_plain_c(&s, x);
            LOOP(c, 3) {
                assert_true(fabs(got.l1[c] - want.l1[c]) < 1e-2 * (want.l1[c] - 3e7));
                assert_true(one || !batches || fabs(got.l2[c] - want.l2[c]) < 1e-2 * (want.l2[c] - 3e7));
            }
            LOOP(i, n) x[i] = i < 3 ? 5e3f : 1 + (f32)(i % 3);
            got = on_device(&s, x), want = in_plain_c(&s, x);
            LOOP(c, 3)
                assert_true(batches || fabs(got.l2[c] - want.l2[c]) < 1e-2 * (want.l2[c] - 5e3));
        }
}

/* What is measured does not depend on how images were cut into steps: bit for bit. */
static void any_step_gives_the_same_bits(void **state)
{
    (void)state;
    struct setting s = { .limit = STATS_PERCENTILE, .by_image = true, .percentile = 80000000,
                         .images = 11, .n = 35, .channels = 30, .step = 1 };
    i64 n = s.images * s.n * s.channels;
    f32 *x = arena_array(a, f32, n);
    rng r = rng_at(5, RNG_TEST, 0, 0);
    LOOP(i, n) x[i] = (f32)rng_normal(&r);
    struct result one = on_device(&s, x);
    for (s.step = 2; s.step <= 12; s.step += 3) {
        struct result many = on_device(&s, x);
        assert_memory_equal(one.l1, many.l1, 30 * sizeof(f64));
        assert_memory_equal(one.l2, many.l2, 30 * sizeof(f64));
        assert_memory_equal(one.count, many.count, 30 * sizeof(f64));
        assert_memory_equal(one.together, many.together, 900 * sizeof(f64));
    }
}

static int start(void **state)
{
    (void)state;
    device = dev_open(NULL);
    a = arena_open("test");
    return device ? 0 : -1;
}

static int start_as_gpu(void **state)
{
    int rc = start(state);
    if (!rc)
        dev_force_class(device, DEV_GPU);
    return rc;
}

static int end(void **state)
{
    (void)state;
    dev_close(device);
    arena_close(a);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(odd_sizes), cmocka_unit_test(batches_of_several_steps),
        cmocka_unit_test(limits), cmocka_unit_test(small_values_after_large_ones),
        cmocka_unit_test(any_step_gives_the_same_bits),
    };
    int failed = cmocka_run_group_tests_name("statistics", tests, start, end);
    return failed + cmocka_run_group_tests_name("in the kernels for GPUs", tests, start_as_gpu, end);
}
