/* test_recycle.c: strategies on small made-up layers: exact indices, exact probabilities, planted parts. */
#include "unit.h"
#include "cuts.h"
#include "recycle/recycle.h"
#include <math.h>

static arena *a;

static int setup(void **state)
{
    (void)state;
    a = arena_open("test");
    fail_clear();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_close(a);
    return 0;
}

static i32 *choose(const char *name, struct choice c)
{
    c.what = c.what ? c.what : "mlp.act of block 0";
    c.sets = MAX(c.sets, 1);
    c.scratch = a;
    i32 *out = arena_array(a, i32, c.sets * c.subset);
    return recycle_choose(strategy_find(name), &c, out) ? NULL : out;
}

static void expect(const i32 *got, const i32 *want, int n)
{
    assert_non_null(got);
    for (int i = 0; i < n; i++)
        if (got[i] != want[i])
            fail_msg("index %d is %d, expected %d", i, got[i], want[i]);
}

#define EXPECT(got, ...) expect(got, (const i32[]){ __VA_ARGS__ }, countof(((const i32[]){ __VA_ARGS__ })))

static void strictly_ascending(const i32 *v, int n, int total)
{
    assert_non_null(v);
    for (int i = 0; i < n; i++)
        assert_true(v[i] >= 0 && v[i] < total && (!i || v[i] > v[i - 1]));
}

/* What fires at all can be drawn, however little against the largest. */
static void weights_of_scores(void **state)
{
    (void)state;
    u64 w[5];
    assert_int_equal(sample_weights("x", (f64[]){ 2, 1, 0, 1e-30, 0.5 }, 5, w), 0);
    assert_true(w[0] == 1ull << 40 && w[1] == 1ull << 39 && w[2] == 0 && w[3] == 1 && w[4] == 1ull << 38);
}

/* ---- uniform, copy, random ----------------------------------------------------------------------------- */

static void uniform_spacings(void **state)
{
    (void)state;
#define UNIFORM(n, k, how) choose("uniform", (struct choice){ .total = (n), .subset = (k), .spacing = (how) })
    EXPECT(UNIFORM(10, 4, SPACING_ROUND), 0, 3, 6, 9);
    EXPECT(UNIFORM(10, 4, SPACING_FLOOR), 0, 2, 5, 7);
    EXPECT(UNIFORM(8, 5, SPACING_ROUND), 0, 2, 4, 5, 7);              // 3.5 -> 4
    EXPECT(UNIFORM(8, 5, SPACING_TRUNCATE), 0, 1, 3, 5, 7);
    EXPECT(UNIFORM(6, 3, SPACING_ROUND), 0, 2, 5);                    // 2.5 -> 2
    EXPECT(UNIFORM(11, 1, SPACING_ROUND), 0);
    for (int total = 1; total < 70; total++)
        for (int subset = 1; subset <= total; subset++)
            for (enum spacing s = SPACING_FLOOR; s <= SPACING_TRUNCATE; s++)
                strictly_ascending(UNIFORM(total, subset, s), subset, total);
}

static void copies_are_whole(void **state)
{
    (void)state;
    EXPECT(choose("copy", (struct choice){ .total = 3, .subset = 3, .sets = 2 }), 0, 1, 2, 0, 1, 2);
    assert_null(choose("copy", (struct choice){ .total = 4, .subset = 3, .sets = 2 }));
    assert_int_equal(fail_fault(), FAULT_DATA);
    assert_non_null(strstr(fail_message(), "exactly as wide"));
}

static void random_sets_differ_and_repeat(void **state)
{
    (void)state;
    struct choice c = { .total = 97, .subset = 31, .sets = 40, .seed = 3407, .place = 5 };
    i32 *x = choose("random", c), *y = choose("random", c);
    int same = 0;
    for (int set = 0; set < c.sets; set++) {
        strictly_ascending(x + set * c.subset, c.subset, c.total);
        same += set && !memcmp(x, x + set * c.subset, sizeof *x * (size_t)c.subset);
    }
    expect(x, y, c.sets * c.subset);
    assert_int_equal(same, 0);
    c.place = 6;
    assert_true(memcmp(x, choose("random", c), sizeof *x * (size_t)c.subset));
}

/* ---- importance ---------------------------------------------------------------------------------------- */

/* Adds to p[mask] the probability that sequential draws without replacement end in that set. */
static void exact(const f64 *w, int n, int k, unsigned taken, f64 left, f64 chance, f64 *p)
{
    if (!k) {
        p[taken] += chance;
        return;
    }
    for (int i = 0; i < n; i++)
        if (!(taken >> i & 1))
            exact(w, n, k - 1, taken | 1u << i, left - w[i], chance * w[i] / left, p);
}

static void draws_have_exact_probabilities(void **state)
{
    (void)state;
    enum { N = 7, K = 3, DRAWS = 60000, CELLS = 35 };
    const f64 w[N] = { 0.5, 4, 1, 1, 0.25, 7, 2 };
    f64 p[1 << N] = { 0 }, sum = 0, chi2 = 0;
    int seen[1 << N] = { 0 }, cells = 0;
    for (int i = 0; i < N; i++)
        sum += w[i];
    exact(w, N, K, 0, sum, 1, p);
    const struct choice c = { .total = N, .subset = K, .sets = DRAWS, .seed = 1, .score = w };
    i32 *x = choose("importance", c);
    for (int d = 0; d < DRAWS; d++) {
        unsigned mask = 0;
        strictly_ascending(x + d * K, K, N);
        for (int i = 0; i < K; i++)
            mask |= 1u << x[d * K + i];
        seen[mask]++;
    }
    for (int m = 0; m < 1 << N; m++)
        if (p[m] > 0) {
            cells++;
            chi2 += (seen[m] - DRAWS * p[m]) * (seen[m] - DRAWS * p[m]) / (DRAWS * p[m]);
        }
    assert_int_equal(cells, CELLS);
    if (!(chi2 < 65.2))                            // 99.9 % of a chi-square of 34 degrees
        fail_msg("chi-square %g over %d sets", chi2, cells);
}

/* Of many units: how often each is taken against the same scheme done naively in floating point. */
static void inclusion_matches_a_plain_implementation(void **state)
{
    (void)state;
    enum { N = 53, K = 20, DRAWS = 4000 };
    f64 w[N], left[N];
    int mine[N] = { 0 }, plain[N] = { 0 };
    for (int i = 0; i < N; i++)
        w[i] = exp(i % 11 * 0.4);
    const struct choice c = { .total = N, .subset = K, .sets = DRAWS, .seed = 9, .score = w };
    i32 *x = choose("importance", c);
    rng r = rng_at(9, RNG_TEST, 0, 0);
    for (int d = 0; d < DRAWS; d++) {
        memcpy(left, w, sizeof w);
        for (int k = 0; k < K; k++) {
            f64 sum = 0, u;
            int i = 0;
            for (int j = 0; j < N; j++)
                sum += left[j];
            for (u = rng_unit(&r) * sum; u >= left[i]; i++)
                u -= left[i];
            left[i] = 0;
            plain[i]++;
            mine[x[d * K + k]]++;
        }
    }
    for (int i = 0; i < N; i++) {
        f64 p = plain[i] / (f64)DRAWS, sigma = sqrt(2 * p * (1 - p) / DRAWS);
        if (!(fabs(mine[i] / (f64)DRAWS - p) <= 4 * sigma + 1e-9))
            fail_msg("unit %d: taken %d times, %d expected", i, mine[i], plain[i]);
    }
}

static void importance_takes_the_best_where_asked(void **state)
{
    (void)state;
    const f64 w[6] = { 3, 9, 1, 9, 0, 4 };
    struct choice c = { .total = 6, .subset = 3, .best = true, .score = w };
    EXPECT(choose("importance", c), 1, 3, 5);
    c.subset = 1;
    EXPECT(choose("importance", c), 1);            // a tie: the first
    EXPECT(choose("importance", (struct choice){ .total = 6, .subset = 5, .score = w, .seed = 4 }),
           0, 1, 2, 3, 5);
}

static void bad_statistics_are_refused(void **state)
{
    (void)state;
    const f64 dead[4] = { 1, 0, 0, 2 }, zero[4] = { 0 }, nan[4] = { 1, NAN, 1, 1 };
    const f64 minus[4] = { 1, -1, 1, 1 };
    const f32 alone[16] = { 5, 0, 0, 0, 0, 5 };
    assert_null(choose("importance", (struct choice){ .total = 4, .subset = 3, .score = dead }));
    assert_non_null(strstr(fail_message(), "only 2 of the 4 units"));
    assert_null(choose("importance", (struct choice){ .total = 4, .subset = 3, .score = zero }));
    assert_non_null(strstr(fail_message(), "all zero"));
    assert_null(choose("importance", (struct choice){ .total = 4, .subset = 3, .score = nan }));
    assert_non_null(strstr(fail_message(), "not finite"));
    assert_null(choose("importance", (struct choice){ .total = 4, .subset = 3, .score = minus }));
    assert_null(choose("graph", (struct choice){ .total = 4, .subset = 3, .together = alone, .parts = 2 }));
    assert_int_equal(fail_fault(), FAULT_NUMBERS);
    for (int metis = 0; metis < 2; metis++) {
        f32 crooked[16] = { 0, 1, 2, 3,  1, 0, 4, 5,  2, 4, 0, 6,  3, 5, 7, 0 }, below[4] = { 0, -1, -1, 0 };
        enum graph_cutter how = metis ? GRAPH_METIS : GRAPH_LOUVAIN;
        struct choice c = { .total = 4, .subset = 2, .together = crooked, .parts = 2, .cutter = how };
        assert_null(choose("graph", c));
        assert_non_null(strstr(fail_message(), "must be symmetric"));
        c = (struct choice){ .total = 2, .subset = 1, .together = below, .parts = 1, .cutter = how };
        assert_null(choose("graph", c));
        assert_non_null(strstr(fail_message(), "not negative"));
    }
    const f32 complete[9] = { 0, 1, 1, 1, 0, 1, 1, 1, 0 };
    assert_null(choose("graph", (struct choice){ .total = 3, .subset = 2, .together = complete, .parts = 3,
                                                 .cutter = GRAPH_METIS }));
    assert_int_equal(fail_fault(), FAULT_USAGE);
    assert_non_null(strstr(fail_message(), "has only 3 units"));
    assert_null(choose("random", (struct choice){ .total = 4, .subset = 5 }));
    assert_int_equal(fail_fault(), FAULT_DATA);
    assert_non_null(strstr(fail_message(), "at least as wide"));
    assert_null(strategy_find("importence"));
    assert_non_null(strstr(fail_message(), "'importance'"));
}

/* ---- graph --------------------------------------------------------------------------------------------- */

/* Symmetric, strong inside blocks of the given sizes and weak between; the units shuffled. */
static f32 *planted(const int *size, int blocks, i32 *truth, int *n)
{
    *n = 0;
    for (int b = 0; b < blocks; b++)
        for (int i = 0; i < size[b]; i++)
            truth[(*n)++] = b;
    rng r = rng_at(7, RNG_TEST, 0, 0);
    rng_shuffle(&r, truth, *n);
    f32 *w = arena_array(a, f32, *n * *n);
    for (int i = 0; i < *n; i++)
        for (int j = 0; j < i; j++) {
            u32 weight = truth[i] == truth[j] ? 20 + rng_below(&r, 20) : rng_below(&r, 12);
            w[i * *n + j] = w[j * *n + i] = (f32)weight;
        }
    return w;
}

static void louvain_finds_planted_communities(void **state)
{
    (void)state;
    i32 truth[64], part[64];
    int n;
    f32 *w = planted((int[]){ 9, 17, 12, 20, 6 }, 5, truth, &n);
    for (u64 seed = 0; seed < 20; seed++) {
        louvain_cut(w, n, 1, seed, part, a);
        assert_true(same_cut(part, truth, n));
    }
}

/* Two triangles joined by one edge: 2m = 14, Q = 2 (6/14 - (7/14)^2) = 5/14. */
static void modularity_by_hand(void **state)
{
    (void)state;
    const int edges[7][2] = { { 0, 1 }, { 0, 2 }, { 1, 2 }, { 3, 4 }, { 3, 5 }, { 4, 5 }, { 2, 3 } };
    const i32 triangles[6] = { 8, 8, 8, 2, 2, 2 };
    f32 w[36] = { [0] = 100 };                     // the diagonal is not read
    i32 part[6];
    for (int e = 0; e < 7; e++)
        w[edges[e][0] * 6 + edges[e][1]] = w[edges[e][1] * 6 + edges[e][0]] = 1;
    struct cut_quality q = cut_measure(w, 6, triangles, a);
    assert_true(q.cut == 1 && q.total == 7 && fabs(q.modularity - 5.0 / 14) < 1e-12);
    louvain_cut(w, 6, 1, 0, part, a);
    assert_true(same_cut(part, triangles, 6));
    assert_int_equal(metis_cut(w, 6, 2, false, 0, part, a), 0);
    assert_true(same_cut(part, triangles, 6));
}

static void isolated_units_stay_alone(void **state)
{
    (void)state;
    f32 w[25] = { 0 };
    i32 part[5];
    louvain_cut(w, 5, 1, 0, part, a);
    w[1] = w[5] = 3;
    louvain_cut(w, 5, 1, 0, part, a);
    assert_true(part[0] == part[1] && part[2] != part[3] && part[3] != part[4] && part[2] != part[0]);
}

static void metis_minds_weights(void **state)
{
    (void)state;
    i32 truth[80], part[80];
    int n;
    f32 *w = planted((int[]){ 20, 20, 20, 20 }, 4, truth, &n);
    for (int scale = 0; scale < 3; scale++) {      // however large or small the numbers are
        assert_int_equal(metis_cut(w, n, 4, false, 3407, part, a), 0);
        assert_true(same_cut(part, truth, n));
        for (int i = 0; i < n * n; i++)
            w[i] *= scale ? 1e-9f : 1e6f;
    }
    for (int parts = 1; parts <= n + 1; parts += 13) {
        assert_int_equal(metis_cut(w, n, parts, parts % 2, 0, part, a), 0);
        for (int i = 0; i < n; i++)
            assert_true(part[i] >= 0 && part[i] < MIN(parts, n));
    }
}

static void parts_fill_in_the_order_drawn(void **state)
{
    (void)state;
    const i32 label[8] = { 7, 7, 3, 5, 3, 7, 5, 3 };      // numbered by first unit: 7 -> 0, 3 -> 1, 5 -> 2
    const i32 drawn[3] = { 1, 0, 2 };
    f32 w[64];
    i32 out[8];
    for (int i = 0; i < 64; i++)
        w[i] = (f32)(1 + i % 9 % 8 + i / 9);
    struct partition p = partition_read(w, 8, label, a);
    assert_int_equal(p.count, 3);
    EXPECT(p.of, 0, 0, 1, 2, 1, 0, 2, 1);
    assert_true(p.inside[2] == w[3 * 8 + 6] + w[6 * 8 + 3]);
    assert_int_equal(partition_fill(&p, w, drawn, 3, 5, NULL, out, a), 5);
    EXPECT(out, 0, 1, 2, 4, 7);
    assert_int_equal(partition_fill(&p, w, drawn, 1, 5, NULL, out, a), 3);
    EXPECT(out, 2, 4, 7);
    rng r = rng_at(1, RNG_TEST, 0, 0);
    assert_int_equal(partition_fill(&p, w, drawn, 2, 5, &r, out, a), 5);
    strictly_ascending(out, 5, 8);
    assert_true(out[0] <= 1);
}

static void graph_experts_are_unions_of_parts(void **state)
{
    (void)state;
    i32 truth[60], part[60];
    int n, whole = 0;
    f32 *w = planted((int[]){ 20, 20, 20 }, 3, truth, &n);
    for (enum graph_cutter cutter = GRAPH_METIS; cutter <= GRAPH_LOUVAIN; cutter++) {
        struct choice c = { .total = n, .subset = 30, .sets = 12, .seed = 3, .together = w,
                            .cutter = cutter, .parts = 3, .resolution = 1, .part = part };
        i32 *x = choose("graph", c), *y = choose("graph", c);
        expect(x, y, c.sets * c.subset);
        assert_true(same_cut(part, truth, n));
        for (int set = 0; set < c.sets; set++, x += c.subset) {
            int of[60] = { 0 }, parts = 0;
            strictly_ascending(x, c.subset, n);
            for (int i = 0; i < c.subset; i++)
                of[part[x[i]]]++;
            for (int k = 0; k < n; k++) {
                parts += of[k] > 0;
                whole += of[k] == 20;
            }
            assert_int_equal(parts, 2);
        }
    }
    assert_int_equal(whole, 24);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(weights_of_scores), T(uniform_spacings), T(copies_are_whole), T(random_sets_differ_and_repeat),
        T(draws_have_exact_probabilities), T(inclusion_matches_a_plain_implementation),
        T(importance_takes_the_best_where_asked), T(bad_statistics_are_refused),
        T(louvain_finds_planted_communities), T(modularity_by_hand), T(isolated_units_stay_alone),
        T(metis_minds_weights), T(parts_fill_in_the_order_drawn), T(graph_experts_are_unions_of_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
