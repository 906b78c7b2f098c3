/* test_data_mix.c: the laws of RandAugment, Mixup and CutMix and of the order of samples, drawn as in
 * test_data_laws.c. */
#include "augment_help.h"

/* ---- RandAugment --------------------------------------------------------------------------------------- */

/* Per operation: the magnitude at level 0 and at level 10, whether it has two directions, and what it is
 * (timm's "increasing" policies, which the released configuration names). */
#define OPS(ROW) \
    ROW(autocontrast, 0,   0,    false, image_autocontrast(m)) \
    ROW(equalize,     0,   0,    false, image_equalize(m)) \
    ROW(invert,       0,   0,    false, image_invert(m)) \
    ROW(rotate,       0,   30,   true,  image_rotate(&from, v, FILTER_BICUBIC, fill, m)) \
    ROW(posterize,    4,   0,    false, image_posterize(m, (int)ceil(v))) \
    ROW(solarize,     256, 0,    false, image_solarize(m, v)) \
    ROW(solarize_add, 0,   110,  false, image_solarize_add(m, v)) \
    ROW(color,        0,   0.9,  true,  image_color(m, 1 + v)) \
    ROW(contrast,     0,   0.9,  true,  image_contrast(m, 1 + v)) \
    ROW(brightness,   0,   0.9,  true,  image_brightness(m, 1 + v)) \
    ROW(sharpness,    0,   0.9,  true,  image_sharpness(&from, 1 + v, m)) \
    ROW(shear_x,      0,   0.3,  true,  affine(&from, 1, v, 0, 0, 1, 0, fill, m)) \
    ROW(shear_y,      0,   0.3,  true,  affine(&from, 1, 0, 0, v, 1, 0, fill, m)) \
    ROW(translate_x,  0,   0.45, true,  affine(&from, 1, 0, v * SIDE, 0, 1, 0, fill, m)) \
    ROW(translate_y,  0,   0.45, true,  affine(&from, 1, 0, 0, 0, 1, v * SIDE, fill, m))

static void affine(const struct image *m, f64 a, f64 b, f64 c, f64 d, f64 e, f64 f, const u8 *fill,
                   struct image *out)
{
    image_affine(m, (const f64[6]){ a, b, c, d, e, f }, FILTER_BICUBIC, fill, out);
}

enum { ROWS = 15, KINDS = 2 * ROWS + 1 };

/* What the picture becomes: [0] unchanged, [1 + 2 i + negative] by row i at `level`. Returns the chances. */
static void outcomes(const struct image *picture, f64 level, const u8 *fill, u8 (*to)[SIDE * SIDE * 3],
                     f64 chance[KINDS])
{
    int i = 0;
    struct image from = *picture, made = { 0 }, *m = &made;
    image_room(mem, m, SIDE, SIDE);
    memcpy(to[0], picture->rgb, sizeof *to);
    chance[0] = 0.5;
#define ROW(name, at0, at10, both, call) \
    for (int negative = 0; negative < 2; negative++) { \
        f64 v = at0 + (at10 - at0) * level / 10; \
        v = negative ? -v : v; \
        memcpy(m->rgb, picture->rgb, sizeof *to); \
        if (!negative || both) \
            call; \
        memcpy(to[1 + 2 * i + negative], m->rgb, sizeof *to); \
        chance[1 + 2 * i + negative] = both ? 0.5 / ROWS / 2 : negative ? 0 : 0.5 / ROWS; \
    } \
    i++;
    OPS(ROW)
#undef ROW
    assert_int_equal(i, ROWS);
}

static struct image colourful(void)
{
    struct image m = picture(SIDE, SIDE, 5);
    for (size_t i = 0; i < image_bytes(&m); i++)
        m.rgb[i] = (u8)(8 + m.rgb[i] * 3 / 4 + i % 3 * (i / 3 % SIDE) / 2);
    return m;
}

static void policies(void **state)
{
    (void)state;
    enum { DRAWS = 6000 };
    static const f64 levels[] = { 3, 7, 9 };
    static u8 can[KINDS][SIDE * SIDE * 3];
    struct image m = colourful();
    for (int l = 0; l < countof(levels); l++) {
        struct data_options o = asked("policies", &m, FILES,
                                      arena_printf(mem, "randaugment=[1, %g, 0]", levels[l]));
        struct bench *b = bench_open(&o);
        struct fill fill = fill_of(b->d, &o);
        f64 seen[KINDS] = { 0 }, chance[KINDS];
        outcomes(&m, levels[l], fill.color, can, chance);
        for (int i = 0; i < KINDS; i++)           // else they could not be told from each other
            for (int j = 0; j < i && chance[i] > 0; j++)
                assert_true(chance[j] == 0 || memcmp(can[i], can[j], sizeof can[0]));
        for (i64 k = 0; k < DRAWS; k++) {
            int i = 0;
            draw(b, &o, k);
            while (i < KINDS && (chance[i] == 0 || memcmp(b->rgb, can[i], sizeof can[0])))
                i++;
            if (i == KINDS)
                fail_msg("level %g, draw %d: no operation at this level makes this picture", levels[l],
                         (int)k);
            seen[i]++;
        }
        bins_follow("operations", seen, chance, KINDS, DRAWS);
        data_close(b->d);
    }
}

/* n operations leave the picture alone with chance 2^-n. */
static void number_of_operations(void **state)
{
    (void)state;
    enum { DRAWS = 4000 };
    struct image m = colourful();
    for (int n = 1; n <= 3; n++) {
        struct data_options o = asked("number", &m, FILES, arena_printf(mem, "randaugment=[%d, 7, 0]", n));
        struct bench *b = bench_open(&o);
        f64 seen[2] = { 0 };
        for (i64 k = 0; k < DRAWS; k++) {
            draw(b, &o, k);
            seen[memcmp(b->rgb, m.rgb, sizeof b->rgb) != 0]++;
        }
        bins_follow("number of operations", seen, (const f64[2]){ pow(0.5, n), 1 - pow(0.5, n) }, 2, DRAWS);
        data_close(b->d);
    }
}

/* Levels are normal around the magnitude and end at 0 and 10. What solarize_add adds, 11 times the level
 * without its fraction, shows them. */
static int added(const u8 *rgb, const u8 *plain)
{
    int amount = rgb[0] - plain[0];               // the first one is dark
    for (int i = 0; i < SIDE * SIDE * 3; i++)
        if (rgb[i] - plain[i] != (plain[i] < 128 ? amount : 0))
            return 0;
    return amount;
}

static void levels(void **state)
{
    (void)state;
    enum { DRAWS = 40000 };
    static const f64 row[][2] = { { 5, 0.5 }, { 9, 0.5 }, { 9, 2 }, { 1, 1 } };
    struct image m = { 0 };
    image_room(mem, &m, SIDE, SIDE);
    for (int i = 0; i < SIDE * SIDE; i++)         // enough colours to tell the operations apart
        memcpy(m.rgb + 3 * i, (u8[][3]){ { 45, 90, 200 }, { 120, 160, 60 }, { 50, 64, 255 } }[i / SIDE % 3], 3);
    for (int k = 0; k < countof(row); k++) {
        f64 seen[112] = { 0 }, chance[112], mean = row[k][0], std = row[k][1], all = 0, n = 0;
        struct augment_options o = asked("levels", &m, 1,
            arena_printf(mem, "randaugment=[1, %g, %g]", mean, std)).augment;
        struct image to = { 0 }, spare = { 0 };
        image_room(mem, &to, SIDE, SIDE);
        for (int i = 0; i < DRAWS; i++) {
            rng r = rng_at(9, RNG_TEST, (u64)i, 0);
            memcpy(to.rgb, m.rgb, image_bytes(&m));
            assert_int_equal(randaugment(&to, &spare, mem, &o, (const u8[]){ 1, 2, 3 }, &r), 0);
            int v = added(to.rgb, m.rgb);
            if (!v)
                continue;
            assert_in_range(v, 1, 110);
            seen[v]++;
            n++;
        }
        for (int v = 1; v <= 110; v++) {
            chance[v] = (v == 110 ? 1 : normal_cdf(((v + 1) / 11.0 - mean) / std))
                      - normal_cdf((v / 11.0 - mean) / std);
            all += chance[v];
        }
        f64 expected = DRAWS * all / ROWS / 2;
        if (fabs(n - expected) > 4 * sqrt(expected))
            fail_msg("level %g: %.0f times solarize_add, expected %.0f", mean, n, expected);
        for (int v = 1; v <= 110; v++)
            chance[v] /= all;
        bins_follow("levels", seen + 1, chance + 1, 110, n);
    }
}

/* ---- Mixup, CutMix ------------------------------------------------------------------------------------- */

/* Of Beta(a, a), by the midpoint rule in t where x = t^k near 0 takes the pole away. */
static f64 beta_cdf(f64 x, f64 a)
{
    enum { STEPS = 400 };
    f64 k = fmax(1, 2 / a), half[2] = { 0 }, end = fmin(x, 1 - x);   // half[1]: up to end
    if (end <= 0)
        return x > 0.5;
    for (int side = 0; side < 2; side++) {
        f64 top = pow(side ? end : 0.5, 1 / k);
        for (int i = 0; i < STEPS; i++) {
            f64 t = top * (i + 0.5) / STEPS, v = pow(t, k);
            half[side] += pow(v, a - 1) * pow(1 - v, a - 1) * k * pow(t, k - 1) * top / STEPS;
        }
    }
    f64 p = 0.5 * half[1] / half[0];
    return x < 0.5 ? p : 1 - p;
}

/* Mixup's lambda, and how often it is taken; partners are any permutation. */
static void mixup(void **state)
{
    (void)state;
    enum { DRAWS = 100000, BINS = 64 };
    static const f64 alphas[] = { 0.3, 0.8, 3 };
    i32 partner[4];
    for (int k = 0; k < countof(alphas); k++) {
        f64 lambda[BINS] = { 0 }, share[BINS], orders[256] = { 0 }, chance[256] = { 0 };
        struct augment_options a = { .mixup = alphas[k] };
        for (int i = 0; i < DRAWS; i++) {
            struct mix m = { .partner = partner };
            int code = 0;
            mix_choose(&m, &a, 5, i / 100, i % 100, 4, SIDE);
            assert_true(m.mixup && !m.cutmix && m.lambda >= 0 && m.lambda <= 1);
            assert_true(!m.box[0] && m.box[1] == SIDE && !m.box[2] && m.box[3] == SIDE);
            lambda[MIN(BINS - 1, (int)(BINS * m.lambda))]++;
            for (int j = 0; j < 4; j++)
                code = 4 * code + partner[j];
            orders[code]++;
        }
        for (int code = 0; code < 256; code++) {
            unsigned seen = 0;
            for (int j = 0; j < 4; j++)
                seen |= 1u << (code >> 2 * j & 3);
            chance[code] = seen == 15 ? 1.0 / 24 : 0;
        }
        for (int i = 0; i < BINS; i++)
            share[i] = beta_cdf((i + 1.0) / BINS, alphas[k]) - beta_cdf((f64)i / BINS, alphas[k]);
        bins_follow("Mixup's lambda", lambda, share, BINS, DRAWS);
        bins_follow("Mixup's partners", orders, chance, 256, DRAWS);
    }
}

/* CutMix's share of the own image: 1 less the area that is left of a square-root-of-(1-lambda) rectangle
 * around a uniform centre. */
enum { SHARES = SIDE * SIDE + 1 };
static void cutmix_law(f64 alpha, f64 chance[SHARES])
{
    f64 before = 0;
    for (int cut = 0; cut <= SIDE; cut++) {       // (int)(SIDE sqrt(1 - lambda)) == cut
        f64 edge = (cut + 1.0) / SIDE, upto = edge >= 1 ? 1 : beta_cdf(edge * edge, alpha);
        int length[SIDE];
        for (int c = 0; c < SIDE; c++)
            length[c] = MIN(SIDE, c + cut / 2) - MAX(0, c - cut / 2);
        for (int i = 0; i < SIDE * SIDE; i++)
            chance[length[i / SIDE] * length[i % SIDE]] += (upto - before) / (SIDE * SIDE);
        before = upto;
    }
}

static void cutmix(void **state)
{
    (void)state;
    enum { DRAWS = 10000 };
    static const f64 alphas[] = { 1, 0.3, 4 };
    i32 partner[4];
    for (int k = 0; k < countof(alphas); k++) {
        static f64 seen[SHARES], chance[SHARES], at[2][SIDE + 1], uniform[SIDE + 1];
        f64 n = 0;
        memset(seen, 0, sizeof seen);
        memset(chance, 0, sizeof chance);
        memset(at, 0, sizeof at);
        struct augment_options a = { .cutmix = alphas[k] };
        for (int i = 0; i < DRAWS; i++) {
            struct mix m = { .partner = partner };
            mix_choose(&m, &a, 5, i / 100, i % 100, 4, SIDE);
            int h = m.box[1] - m.box[0], w = m.box[3] - m.box[2];
            assert_true(m.cutmix && !m.mixup);
            assert_true(fabs(m.lambda - (1 - (f64)(h * w) / (SIDE * SIDE))) < 1e-12);
            seen[h * w]++;
            bool inside = m.box[0] && m.box[2] && m.box[1] < SIDE && m.box[3] < SIDE;
            if (h == 4 && w == 4 && inside) {     // whole: where it lies
                at[0][m.box[0]]++;
                at[1][m.box[2]]++;
                n++;
            }
        }
        cutmix_law(alphas[k], chance);
        bins_follow("CutMix's area", seen, chance, SHARES, DRAWS);
        for (int i = 0; i <= SIDE; i++)
            uniform[i] = i > 0 && i < SIDE - 4 ? 1.0 / (SIDE - 5) : 0;
        if (alphas[k] != 1)
            continue;
        assert_true(n > 200);
        bins_follow("CutMix's rows", at[0], uniform, SIDE + 1, n);
        bins_follow("CutMix's columns", at[1], uniform, SIDE + 1, n);
    }
}

/* With both, every batch takes one, as often one as the other, each with its own alpha; with none, none. */
static void mixup_or_cutmix(void **state)
{
    (void)state;
    enum { DRAWS = 10000 };
    i32 partner[4];
    f64 *lambda = arena_array(mem, f64, DRAWS), seen[2] = { 0 };
    struct augment_options a = { .mixup = 0.3, .cutmix = 4 };
    int n = 0;
    for (int i = 0; i < DRAWS; i++) {
        struct mix m = { .partner = partner };
        mix_choose(&m, &a, 5, 0, i, 4, SIDE);
        assert_true(m.mixup != m.cutmix);
        seen[m.mixup]++;
        if (m.mixup)
            lambda[n++] = m.lambda;
        mix_choose(&m, &(struct augment_options){ .flip = true }, 5, 0, i, 4, SIDE);
        assert_true(!m.mixup && !m.cutmix && m.lambda == 1 && m.box[1] == 0 && m.box[3] == 0);
        for (int k = 0; k < 4; k++)
            assert_int_equal(partner[k], k);
    }
    bins_follow("Mixup or CutMix", seen, (const f64[2]){ 0.5, 0.5 }, 2, DRAWS);
    draws_follow("Mixup's lambda beside CutMix", lambda, n, beta_cdf, 0.3);
}

/* ---- order --------------------------------------------------------------------------------------------- */

/* Every sample once an epoch, every order equally likely: which sample stands where, and pairs at the front. */
static void orders(void **state)
{
    (void)state;
    enum { EPOCHS = 1500, N = 8 };
    struct image m = ramps(SIDE, SIDE, 10, 10);
    struct data_options o = asked("orders", &m, N, "flip=off");
    f64 at[N * N] = { 0 }, pair[N * N] = { 0 }, chance[N * N], chance_pair[N * N];
    dataset *d = data_open(&o);
    loader *l = loader_open(d, &o);
    assert_int_equal(loader_batches(l), 2);
    for (int e = 0; e < EPOCHS; e++) {
        i64 order[N], n = 0;
        unsigned seen = 0;
        loader_start(l, e, 0);
        for (const struct batch *b; (b = loader_next(l)); loader_release(l, b))
            for (int k = 0; k < b->n; k++)
                order[n++] = b->index[k];
        for (int k = 0; k < N; k++) {
            at[k * N + order[k]]++;
            seen |= 1u << order[k];
        }
        assert_true(n == N && seen == (1u << N) - 1);
        pair[order[0] * N + order[1]]++;
    }
    for (int i = 0; i < N * N; i++) {
        chance[i] = 1.0 / (N * N);
        chance_pair[i] = i / N == i % N ? 0 : 1.0 / (N * (N - 1));
    }
    bins_follow("places of samples", at, chance, N * N, N * EPOCHS);
    bins_follow("first pairs", pair, chance_pair, N * N, EPOCHS);
    loader_close(l);
    data_close(d);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, memory_open, memory_close)
    const struct CMUnitTest tests[] = {
        TEST(policies), TEST(number_of_operations), TEST(levels), TEST(mixup), TEST(cutmix),
        TEST(mixup_or_cutmix), TEST(orders),
    };
    return cmocka_run_group_tests(tests, NULL, scratch_close);
}
