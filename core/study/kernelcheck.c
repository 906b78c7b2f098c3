/* kernelcheck.c: kernels that no network's graph has, against plain loops: the optimiser's step, averages,
 * the loss scale, activation statistics, batches of bytes, memory filled and drawn. Sizes are odd, so that
 * every loop has a rest. */
#include "study/nodecheck.h"
#include "model/model.h"
#include "op/op.h"
#include <math.h>
#include <stdlib.h>

static const f64 kernel_bound = 64 * 0x1p-24;     // a few roundings of each element, sums of thousands of them

/* n values at r, as f64; NULL + fail. */
static f64 *kernel_read(arena *a, dev *d, range r, i64 n)
{
    f32 *raw = arena_array(a, f32, n);
    f64 *v = arena_array(a, f64, n);
    r.bytes = 4 * (u64)n;
    if (mem_read(d, r, raw))
        return NULL;
    for (i64 i = 0; i < n; i++)
        v[i] = raw[i];
    return v;
}

/* n normal values in new memory: as f64, or NULL + fail. */
static f64 *kernel_values(arena *a, dev *d, pool *p, i64 n, rng *r, bool positive, range *at)
{
    f32 *raw = arena_array(a, f32, n);
    f64 *v = arena_array(a, f64, n);
    for (i64 i = 0; i < n; i++)
        v[i] = raw[i] = positive ? (f32)rng_unit(r) : (f32)rng_normal(r);
    *at = pool_take(p, 4 * (u64)n);
    at->bytes = 4 * (u64)n;
    return !at->mem || mem_write(d, *at, raw) ? NULL : v;
}

static int kernel_compare(struct kernel_checks *c, arena *a, dev *d, const char *kernel, const char *where,
                          range r, const f64 *want, i64 n, f64 bound)
{
    const f64 *got = kernel_read(a, d, r, n);
    if (!got)
        return -1;
    kernel_checked(c, kernel, where, got, want, n, bound);
    return 0;
}

/* ---- the optimiser --------------------------------------------------------------------------------- */

enum { ADAMW_N = 20011, ADAMW_BLOCKS = (ADAMW_N + ADAMW_BLOCK - 1) / ADAMW_BLOCK };
struct adamw_case {
    f64 *p, *g, *m, *v;
    struct adamw_args a;
    range mean;
    f64 *average;
    f32 groups[2 * ADAMW_BLOCKS];
};

static int adamw_fill(struct adamw_case *x, arena *a, dev *d, pool *pool)
{
    rng r = rng_at(9, RNG_TEST, 0, 0);
    x->a = (struct adamw_args){ .count = ADAMW_N, .beta1 = .9, .beta2 = .999, .eps = 1e-8f, .clip = 5 };
    x->p = kernel_values(a, d, pool, ADAMW_N, &r, false, &x->a.p);
    x->g = kernel_values(a, d, pool, ADAMW_N, &r, false, &x->a.g);
    x->m = kernel_values(a, d, pool, ADAMW_N, &r, false, &x->a.m);
    x->v = kernel_values(a, d, pool, ADAMW_N, &r, true, &x->a.v);
    x->average = kernel_values(a, d, pool, ADAMW_N, &r, false, &x->mean);
    for (int i = 0; i < ADAMW_BLOCKS; i++) {
        x->groups[2 * i] = 1.0f / (f32)(1 + i % 5);
        x->groups[2 * i + 1] = .05f * (f32)(i % 3);
    }
    x->a.groups = pool_take(pool, sizeof x->groups);
    return !x->p || !x->g || !x->m || !x->v || !x->average || !x->a.groups.mem
           || mem_write(d, x->a.groups, x->groups) ? -1 : 0;
}

enum { ADAMW_STEPS = 3 };                         /* bias corrections of the third step */

/* Decay, moments and step by the formulas of op/adamw.c; the gradient is scaled by a half and clipped to
 * norm 5. */
static f64 adamw_loops(struct adamw_case *x, f64 lr)
{
    f64 square = 0;
    for (i64 i = 0; i < ADAMW_N; i++)
        square += x->g[i] * x->g[i];
    f64 scale = .5 * fmin(1, 5 / (.5 * sqrt(square) + 1e-6));
    for (i64 i = 0; i < ADAMW_N; i++) {
        const f32 *group = x->groups + i / ADAMW_BLOCK * 2;
        f64 rate = lr * (f64)group[0], g = x->g[i] * scale;
        x->m[i] = .9 * x->m[i] + .1 * g;
        x->v[i] = .999 * x->v[i] + .001 * g * g;
        f64 step = x->m[i] / (1 - pow(.9, ADAMW_STEPS)) / (sqrt(x->v[i] / (1 - pow(.999, ADAMW_STEPS))) + 1e-8);
        x->p[i] = x->p[i] * (1 - rate * (f64)group[1]) - rate * step;
        x->average[i] = .75 * x->average[i] + .25 * x->p[i];
    }
    return square;
}

static int check_adamw(struct kernel_checks *c, arena *a, dev *d, pool *pool)
{
    struct adamw_case *x = arena_one(a, struct adamw_case);
    step_words w = { .f = { [STEP_LR] = .1f,
                            [STEP_BIAS1] = 1 - .729f,
                            [STEP_BIAS2] = 1 - .997003f,
                            [STEP_GRAD_SCALE] = .5f } };
    graph *g = graph_new(d);
    int rc = adamw_fill(x, a, d, pool);
    node *sum = rc ? NULL : node_keep(op_square_sum(g, x->a.g, ADAMW_N));
    if (!rc) {
        op_adamw(sum, &x->a);
        op_blend_into(g, x->mean, x->a.p, ADAMW_N, .75f);
        rc = graph_compile(g) || graph_set_step(g, &w) || graph_run(g) ? -1 : 0;
    }
    f64 square = rc ? 0 : adamw_loops(x, (f64).1f), bias = 1e-5; // 1 - .997 in float is off by 1e-5 of itself
    static const char adamw[] = "adamw.cl adamw";
    rc = rc || kernel_compare(c, a, d, "adamw.cl square_partials+add_partials", "the gradient's norm",
                              sum->home, &square, 1, kernel_bound)
         || kernel_compare(c, a, d, adamw, "first moments", x->a.m, x->m, ADAMW_N, kernel_bound)
         || kernel_compare(c, a, d, adamw, "second moments", x->a.v, x->v, ADAMW_N, kernel_bound)
         || kernel_compare(c, a, d, adamw, "a step of the optimiser", x->a.p, x->p, ADAMW_N,
                           kernel_bound + bias)
         || kernel_compare(c, a, d, "adamw.cl blend_into", "averaged weights", x->mean, x->average, ADAMW_N,
                           kernel_bound + bias) ? -1 : 0;
    graph_free(g);
    return rc;
}

/* ---- the loss scale -------------------------------------------------------------------------------- */

/* A step: the gradient's one value in, state and step words afterwards. */
static int loss_scale_step(struct kernel_checks *c, arena *a, dev *d, graph *g, const f32 *start,
                           f32 gradient, range from, range state, const f64 want[3], const f64 words[4])
{
    step_words w = { .f = { [STEP_GRAD_SCALE] = 1 } }, after;
    u32 got[5];
    int rc = mem_write(d, from, &gradient) || mem_write(d, state, start) || graph_set_step(g, &w)
             || graph_run(g) || mem_read(d, state, got) || mem_read(d, g->step->home, &after) ? -1 : 0;
    f32 scale;
    memcpy(&scale, got, sizeof scale);
    const f64 counts[3] = { (f64)scale, got[1] + 16.0 * got[2] + 256.0 * got[3], 0 };
    const f64 said[4] = { (f64)after.f[STEP_GRAD_SCALE], after.u[STEP_SKIP], (f64)after.f[STEP_BIAS1],
                          (f64)after.f[STEP_BIAS2] };
    (void)a;
    if (rc)
        return -1;
    kernel_checked(c, "loss_scale.cl loss_scale", "scale and counters", counts, want, 2, 0);
    kernel_checked(c, "loss_scale.cl loss_scale", "the optimiser's step", said, words, 4, kernel_bound);
    return 0;
}

/* A good step, one that makes the scale grow, and one that overflows. */
static int check_loss_scale(struct kernel_checks *c, arena *a, dev *d, pool *pool)
{
    static const u32 counters[4] = { 1, 2, 4 };   // good, skipped, taken
    range from = pool_take(pool, 16), state = pool_take(pool, sizeof(struct loss_scale));
    graph *g = graph_new(d);
    int rc = from.mem && state.mem ? 0 : -1;
    f32 start[5] = { 1024 };
    memcpy(start + 1, counters, sizeof counters);
    if (!rc) {
        from.bytes = 4, state.bytes = sizeof(struct loss_scale);
        op_loss_scale(op_square_sum(g, from, 1), &(struct loss_scale_args){ state, .9, .999, 3 });
        rc = graph_compile(g);
    }
    const f64 bias[2] = { 1 - pow(.9, 5), 1 - pow(.999, 5) };
    rc = rc || loss_scale_step(c, a, d, g, start, 3, from, state, (f64[3]){ 1024, 2 + 32 + 1280 },
                               (f64[4]){ 1.0 / 1024, 0, bias[0], bias[1] }) ? -1 : 0;
    const u32 two = 2;
    memcpy(start + 1, &two, sizeof two);
    rc = rc || loss_scale_step(c, a, d, g, start, 3, from, state, (f64[3]){ 2048, 0 + 32 + 1280 },
                               (f64[4]){ 1.0 / 1024, 0, bias[0], bias[1] })
         || loss_scale_step(c, a, d, g, start, INFINITY, from, state, (f64[3]){ 512, 0 + 48 + 1024 },
                            (f64[4]){ 1.0 / 1024, 1, 0, 0 }) ? -1 : 0;
    graph_free(g);
    return rc;
}

/* ---- activation statistics ------------------------------------------------------------------------- */

enum {
    STATS_IMAGES = 2,
    STATS_ROWS = 37,
    STATS_CHANNELS = 67,
    STATS_N = STATS_IMAGES * STATS_ROWS * STATS_CHANNELS
};
enum { STATS_PERCENT = 75 };

static int stats_by_value(const void *a, const void *b)
{
    f64 x = *(const f64 *)a, y = *(const f64 *)b;
    return (x > y) - (x < y);
}

/* Between two values: none is so near that rounding could move it to the other side. */
static f64 stats_limit(arena *a, const f64 *x, enum stats_limit limit)
{
    f64 *sorted = arena_array(a, f64, STATS_N), mean = 0, square = 0,
        at = STATS_PERCENT / 100.0 * (STATS_N - 1);
    if (limit == STATS_ZERO)
        return 0;
    for (int i = 0; i < STATS_N; i++)
        sorted[i] = x[i], mean += x[i] / STATS_N;
    for (int i = 0; i < STATS_N; i++)
        square += (x[i] - mean) * (x[i] - mean) / STATS_N;
    qsort(sorted, STATS_N, sizeof *sorted, stats_by_value);
    int k = (int)at;
    if (limit == STATS_MEAN_STD)
        for (k = 0; k < STATS_N - 2 && sorted[k + 1] < mean + sqrt(square); k++)
            ;
    return (sorted[k] + sorted[k + 1]) / 2;
}

/* state: rows of `row` values: sums of |x|, what they lost, of x^2, of roots; counts. As `want`, or as it
 * was read. */
static int stats_compare(struct kernel_checks *c, arena *a, dev *d, const f64 *x, f64 limit,
                         const struct stats_args *s, const char *kernel)
{
    i64 row = stats_state_words(STATS_CHANNELS) / 7, n = STATS_CHANNELS;
    f32 *state = arena_array(a, f32, 7 * row);
    u32 *pairs = arena_array(a, u32, n * n);
    f64 *got = arena_array(a, f64, 3 * n + n * n), *want = arena_array(a, f64, 3 * n + n * n);
    if (mem_read(d, s->state, state) || mem_read(d, s->together, pairs))
        return -1;
    for (i64 k = 0; k < n; k++) {
        u32 count;
        memcpy(&count, &state[6 * row + k], sizeof count);
        got[k] = (f64)state[k] + (f64)state[row + k];
        got[n + k] = (f64)state[4 * row + k] + (f64)state[5 * row + k];
        got[2 * n + k] = count;
        for (i64 r = 0; r < STATS_IMAGES * STATS_ROWS; r++) {
            f64 v = x[r * n + k];
            want[k] += fabs(v);
            want[n + k] += v * v;
            want[2 * n + k] += v > limit;
            for (i64 j = k; j < n; j++)
                want[3 * n + k * n + j] += v > limit && x[r * n + j] > limit;
        }
        want[n + k] = sqrt(want[n + k]);
        for (i64 j = k; j < n; j++)
            got[3 * n + k * n + j] = pairs[k * n + j];
    }
    kernel_checked(c, "stats.cl stats_pack+stats_add", "sums of activations", got, want, 2 * n, kernel_bound);
    kernel_checked(c, kernel, "counts of activations", got + 2 * n, want + 2 * n, n, 0);
    kernel_checked(c, "pairs.cl pairs", "counts of pairs", got + 3 * n, want + 3 * n, n * n, 0);
    return 0;
}

static int check_stats(struct kernel_checks *c, arena *a, dev *d, pool *pool, enum stats_limit limit,
                       const char *kernel)
{
    const i32 job[2] = { STATS_IMAGES, 1 };
    rng r = rng_at(5, RNG_TEST, 0, 0);
    graph *g = graph_new(d);
    node *x = graph_input(g, "activations", F32, SHAPE(STATS_IMAGES, STATS_ROWS, STATS_CHANNELS));
    node *jobs = graph_input(g, "job", I32, SHAPE(2));
    f32 *raw = arena_array(a, f32, STATS_N);
    f64 *v = arena_array(a, f64, STATS_N);
    for (int i = 0; i < STATS_N; i++)
        v[i] = raw[i] = (f32)rng_normal(&r);
    struct stats_args s = { .state = pool_take(pool, 4 * (u64)stats_state_words(STATS_CHANNELS)),
                            .together = pool_take(pool, 4 * STATS_CHANNELS * STATS_CHANNELS), .limit = limit,
                            .percentile = STATS_PERCENT * 1000000 };
    s.state.bytes = 4 * (u64)stats_state_words(STATS_CHANNELS);
    s.together.bytes = 4 * STATS_CHANNELS * STATS_CHANNELS;
    int rc = s.state.mem && s.together.mem ? 0 : -1;
    if (!rc)
        op_stats(x, jobs, &s);
    rc = rc || graph_compile(g) || mem_fill(d, s.state, 0) || mem_fill(d, s.together, 0) || node_write(x, raw)
         || node_write(jobs, (void *)job) || graph_run(g)
         || stats_compare(c, a, d, v, stats_limit(a, v, limit), &s, kernel) ? -1 : 0;
    graph_free(g);
    return rc;
}

/* ---- batches --------------------------------------------------------------------------------------- */

enum { FEED_N = 3, FEED_H = 13, FEED_W = 19, FEED_BYTES = 3 * FEED_H * FEED_W };

/* Every image erased somewhere, mixed with another in a rectangle of its own. */
static struct batch feed_case(arena *a)
{
    struct batch b = { .n = FEED_N, .h = FEED_H, .w = FEED_W, .mixes = true };
    rng r = rng_at(4, RNG_TEST, 0, 0);
    b.pixels = arena_bytes(a, FEED_N * FEED_BYTES, 64);
    b.recipes = arena_array(a, struct recipe, FEED_N);
    b.values = arena_bytes(a, sizeof *b.values, 64);
    u8 (*noise)[NOISE_DRAWS] = arena_bytes(a, 3 * NOISE_DRAWS, 64);
    for (int i = 0; i < FEED_N * FEED_BYTES; i++)
        b.pixels[i] = (u8)rng_u32(&r);
    for (int i = 0; i < 3 * NOISE_DRAWS; i++)
        noise[i / NOISE_DRAWS][i % NOISE_DRAWS] = (u8)rng_u32(&r);
    for (int i = 0; i < 3 * 256; i++) {
        b.values->alone[i / 256][i % 256] = (f32)rng_normal(&r);
        b.values->own[i / 256][i % 256] = (f32)rng_normal(&r);
        b.values->other[i / 256][i % 256] = (f32)rng_normal(&r);
    }
    for (int k = 0; k < FEED_N; k++)
        b.recipes[k] = (struct recipe){ .partner = (k + 1) % FEED_N, .mixed = { 2, 9 + k, 3, 17 },
                                        .own = { { k, k + 6, 1, 12 }, { rng_u32(&r), rng_u32(&r) } } };
    for (int k = 0; k < FEED_N; k++)
        b.recipes[k].other = b.recipes[b.recipes[k].partner].own;
    b.noise = (const u8 (*)[NOISE_DRAWS])noise;
    return b;
}

static int check_feed(struct kernel_checks *c, arena *a, dev *d)
{
    struct batch b = feed_case(a);
    struct feed f = { 0 };
    graph *g = graph_new(d);
    node *images = graph_input(g, "images", F32, SHAPE(FEED_N, 3, FEED_H, FEED_W));
    f32 *planes = arena_array(a, f32, FEED_N * FEED_BYTES);
    f64 *want = arena_array(a, f64, FEED_N * FEED_BYTES);
    for (int k = 0; k < FEED_N; k++)
        batch_image(&b, k, planes + k * FEED_BYTES);
    for (int i = 0; i < FEED_N * FEED_BYTES; i++)
        want[i] = planes[i];
    int rc = feed_open(&f, d, images, true) || feed_batch(&f, &b, 0, FEED_N) || dev_finish(d)
             || kernel_compare(c, a, d, "feed.cl erase+feed", "a batch", images->home, want,
                               FEED_N * FEED_BYTES, 0) ? -1 : 0;
    feed_close(&f);
    graph_free(g);
    return rc;
}

/* ---- memory ---------------------------------------------------------------------------------------- */

/* Large enough that a kernel does it, and not full of whole groups. */
static int check_fill(struct kernel_checks *c, arena *a, dev *d)
{
    enum { WORDS = (16 << 18) + 4099 };
    const f32 one = 1.25f;
    u32 pattern;
    memcpy(&pattern, &one, sizeof one);
    mem *m = mem_new(d, 4 * (u64)WORDS, "self-test");
    range all = { m, 0, 4 * (u64)WORDS };
    f64 *want = arena_array(a, f64, WORDS);
    for (i64 i = 0; i < WORDS; i++)
        want[i] = (f64)one;
    int rc = !m || mem_fill(d, all, pattern)
             || kernel_compare(c, a, d, "start.cl fill", "memory filled", all, want, WORDS, 0) ? -1 : 0;
    if (m)
        mem_free(m);
    return rc;
}

int kernelcheck_all(struct kernel_checks *c, dev *d)
{
    arena *a = arena_open("kernelcheck");
    pool *pool = pool_new(d, "self-test");
    int rc = check_adamw(c, a, d, pool) || check_loss_scale(c, a, d, pool)
             || check_stats(c, a, d, pool, STATS_ZERO, "stats.cl stats_pack")
             || check_stats(c, a, d, pool, STATS_PERCENTILE,
                            "limits.cl limit_digits+limit_digit+limit_above+limit_percentile")
             || check_stats(c, a, d, pool, STATS_MEAN_STD, "limits.cl limit_moments+limit_mean_std")
             || check_feed(c, a, d) || check_fill(c, a, d) ? -1 : 0;
    pool_free(pool);
    arena_close(a);
    return rc;
}
