/* test_recycle_graphs.c: how graphs of co-activation are cut, against all partitions and by the law of what is
 * drawn from them. */
#define mem room                                     /* dev.h has a type of the other name */
#include "data_help.h"
#undef mem
#include "laws.h"
#include "recycle/stage.h"

static const i32 *drawn(struct choice c)
{
    i32 *out = arena_array(room, i32, c.sets * c.subset);
    c.what = "a layer";
    c.scratch = room;
    if (recycle_choose(strategy_find("graph"), &c, out))
        fail_msg("%s", fail_message());
    return out;
}

/* Reichardt's and Bornholdt's modularity of a partition. */
static f64 modularity(const f32 *w, int n, const i32 *part, f64 resolution)
{
    f64 all = 0, q = 0, degree[16] = { 0 };
    for (int i = 0; i < n * n; i++) {
        all += i / n == i % n ? 0 : w[i];
        degree[i / n] += i / n == i % n ? 0 : w[i];
    }
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++)
            if (part[i] == part[j])
                q += (i == j ? 0 : w[i * n + j]) / all - resolution * degree[i] / all * degree[j] / all;
    return q;
}

/* The best of all partitions: part[i] at most one above the largest before. */
static void best_of_all(const f32 *w, int n, f64 resolution, i32 *part, int at, int used, f64 *most)
{
    if (at == n) {
        *most = fmax(*most, modularity(w, n, part, resolution));
        return;
    }
    for (part[at] = 0; part[at] <= used && part[at] < n; part[at]++) {
        i32 keep = part[at];
        best_of_all(w, n, resolution, part, at + 1, MAX(used, keep + 1), most);
        part[at] = keep;
    }
}

static int how_many(const i32 *part, int n)
{
    unsigned seen = 0;
    for (int i = 0; i < n; i++)
        seen |= 1u << part[i];
    return __builtin_popcount(seen);
}

/* Two groups of two pairs: the resolution says which of them are seen. The diagonal never counts. */
static void louvain_at_every_resolution(void **state)
{
    (void)state;
    static const struct { f64 resolution; int parts; } row[] = {
        { 0.2, 1 }, { 0.6, 2 }, { 1, 2 }, { 1.05, 2 }, { 2.4, 4 }, { 3, 4 }, { 9, 8 },
    };
    f32 w[64];
    for (int i = 0; i < 64; i++) {
        int x = i / 8, y = i % 8;
        w[i] = x == y ? 1000 : x / 2 == y / 2 ? 12 : x / 4 == y / 4 ? 5 : 1;
    }
    for (int i = 0; i < countof(row); i++) {
        i32 part[8], trial[8];
        f64 most = -9;
        best_of_all(w, 8, row[i].resolution, trial, 0, 0, &most);
        for (u64 seed = 0; seed < 5; seed++) {
            louvain_cut(w, 8, row[i].resolution, seed, part, room);
            if (how_many(part, 8) != row[i].parts
                || fabs(modularity(w, 8, part, row[i].resolution) - most) > 1e-9)
                fail_msg("resolution %g: %d parts of modularity %.9g, the best has %.9g", row[i].resolution,
                         how_many(part, 8), modularity(w, 8, part, row[i].resolution), most);
        }
    }
}

/* Random graphs: the best of all partitions, or nearly so where greedy moves do not reach it. */
static void louvain_against_all_partitions(void **state)
{
    (void)state;
    int missed = 0;
    for (int k = 0; k < 24; k++) {
        rng r = rng_at((u64)k, RNG_TEST, 0, 0);
        f32 w[64] = { 0 };
        i32 part[8], trial[8];
        f64 most = -9, resolution = (f64[]){ 0.8, 1, 1.3, 2 }[k % 4];
        for (int i = 0; i < 8; i++)
            for (int j = 0; j < i; j++)
                w[i * 8 + j] = w[j * 8 + i] = (f32)rng_below(&r, 2) * (f32)rng_below(&r, 30);
        best_of_all(w, 8, resolution, trial, 0, 0, &most);
        louvain_cut(w, 8, resolution, 1, part, room);
        f64 got = modularity(w, 8, part, resolution);
        assert_true(got <= most + 1e-9 && got > most - 0.05);
        missed += got < most - 1e-9;
    }
    assert_in_range(missed, 0, 4);
}

/* Two groups by what is connected; by weight it is the connections between them that must not be cut. */
static void metis_with_weights_that_matter(void **state)
{
    (void)state;
    f32 w[64] = { 0 };
    i32 part[8];
    for (int i = 0; i < 64; i++) {
        int x = i / 8, y = i % 8;
        w[i] = x == y ? 0 : x / 4 == y / 4 ? 1 : x % 4 == y % 4 ? 50 : 0;
    }
    for (u64 seed = 0; seed < 4; seed++) {
        assert_int_equal(metis_cut(w, 8, 2, false, seed, part, room), 0);
        for (int i = 0; i < 4; i++)
            assert_int_equal(part[i], part[i + 4]);
        assert_int_equal(cut_measure(w, 8, part, room).cut, 8);
        assert_int_equal(metis_cut(w, 8, 2, true, seed, part, room), 0);
        for (int i = 0; i < 8; i++)
            assert_true((part[i] == part[0]) == (i < 4));
        assert_int_equal(metis_cut(w, 8, 4, false, seed, part, room), 0);
        assert_int_equal(how_many(part, 8), 4);
        for (int i = 0; i < 4; i++)
            assert_int_equal(part[i], part[i + 4]);
    }
}

/* Parts are drawn by the co-activation inside them, and of a part that does not fit its units by theirs with
 * the rest of it; no unit counts itself. */
static void draws_of_parts_and_units(void **state)
{
    (void)state;
    enum { DRAWS = 8000 };
    // parts 0 1, 2 3, 4 5 of inner weight 1, 2, 5, and single 6 with nothing but itself
    f32 w[49] = { 0 };
    i32 part[7];
    for (int k = 0; k < 3; k++)
        w[(2 * k) * 7 + 2 * k + 1] = w[(2 * k + 1) * 7 + 2 * k] = (f32[]){ 1, 2, 5 }[k];
    for (int i = 0; i < 7; i++)
        w[i * 7 + i] = i == 6 ? 900 : 3;
    struct choice c = { .total = 7, .subset = 2, .sets = DRAWS, .together = w, .cutter = GRAPH_LOUVAIN,
                        .resolution = 1, .part = part };
    const i32 *out = drawn(c);
    f64 seen[3] = { 0 };
    for (int i = 0; i < DRAWS; i++) {
        assert_true(out[2 * i] % 2 == 0 && out[2 * i + 1] == out[2 * i] + 1);
        seen[out[2 * i] / 2]++;
    }
    bins_follow("parts", seen, (const f64[3]){ 1 / 8.0, 2 / 8.0, 5 / 8.0 }, 3, DRAWS);

    // one part 0..3; 1, 2, 3 are with 0 alone, with weights 1, 2, 3; 4 is in no pair but its own
    f32 star[25] = { 0 };
    for (int i = 1; i < 4; i++)
        star[i] = star[5 * i] = (f32)i;
    for (int i = 0; i < 5; i++)
        star[6 * i] = (f32)(100 * (5 - i));
    struct partition p = partition_read(star, 5, (const i32[5]){ 0 }, room);
    assert_true(p.count == 1 && p.inside[0] == 12);
    f64 units[5] = { 0 };
    for (u32 i = 0; i < DRAWS; i++) {
        rng r = rng_at(4, RNG_TEST, i, 0);
        i32 unit[5];
        assert_int_equal(partition_fill(&p, star, (const i32[1]){ 0 }, 1, 1, &r, unit, room), 1);
        units[unit[0]]++;
    }
    bins_follow("units", units, (const f64[5]){ 6 / 12.0, 1 / 12.0, 2 / 12.0, 3 / 12.0, 0 }, 5, DRAWS);
}

/* What METIS would run wild on, and what no measurement gives, each in one place of a graph that is right. */
static void statistics_that_cannot_be(void **state)
{
    (void)state;
    static const struct { int i, j; f32 x; const char *says; bool score; } row[] = {
        { 2, 5, NAN, "not finite" }, { 0, 0, INFINITY, "not finite" }, { 7, 7, -INFINITY, "not finite" },
        { 2, 5, 3, "must be symmetric" }, { 5, 2, 3, "must be symmetric" }, { 4, 4, -1, "not negative" },
        { 0, 3, NAN, "not finite", true }, { 0, 7, INFINITY, "not finite", true }, { 4, 4, 9, NULL },
        { 1, 1, 0, NULL },
    };
    for (int k = 0; k < countof(row); k++) {
        f32 w[64];
        f64 score[8];
        i32 out[4];
        for (int i = 0; i < 64; i++)
            w[i] = i / 8 / 4 == i % 8 / 4 ? 5 : 1;
        for (int i = 0; i < 8; i++)
            score[i] = 1 + i;
        if (row[k].score)
            score[row[k].j] = row[k].x;
        else
            w[row[k].i * 8 + row[k].j] = row[k].x;
        struct choice c = { .what = "layer 3", .total = 8, .subset = 4, .sets = 1, .score = score,
                            .together = w, .parts = 2, .cutter = GRAPH_METIS, .scratch = room };
        fail_clear();
        int rc = recycle_choose(strategy_find("graph"), &c, out);
        bool told = strstr(fail_message(), "of layer 3") && row[k].says && strstr(fail_message(), row[k].says);
        if (row[k].says ? rc != -1 || fail_fault() != FAULT_NUMBERS || !told : rc)
            fail_msg("row %d: %d, %s", k, rc, fail_message());
    }
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, memory_open, memory_close)
    const struct CMUnitTest tests[] = {
        T(louvain_at_every_resolution), T(louvain_against_all_partitions), T(metis_with_weights_that_matter),
        T(draws_of_parts_and_units), T(statistics_that_cannot_be) };
    return cmocka_run_group_tests(tests, NULL, scratch_close);
}
