/* test_data_laws.c: every random choice about a training image, drawn ten thousand times by the path that a
 * run takes (data_options_of, sample_prepare, mix_choose, the loader), against the law that the reference
 * states. The laws are integrated here from their definitions. */
#include "augment_help.h"

/* ---- random resized crop ------------------------------------------------------------------------------- */

/* Interpolation starts and ends at the crop's own outer pixels, so its corners say which it was. */
static struct window crop_seen(const u8 *rgb, int red, int green, bool *flipped)
{
    const u8 *first = rgb, *last = rgb + (SIDE * SIDE - 1) * 3;
    *flipped = first[0] > last[0];
    int x = MIN(first[0], last[0]) / red, y = first[1] / green;
    return (struct window){ x, y, MAX(first[0], last[0]) / red - x + 1, last[1] / green - y + 1 };
}

/* Chance of a crop of w' x h' from w x h: area uniform in [least, 1], log aspect uniform in +-log 4/3,
 * rounded, ten tries, then what fits best. */
enum { MOST = 41 };
struct crop_law { f64 of[MOST][MOST]; };

static void crop_law_make(struct crop_law *law, int w, int h, f64 least, int spare_w, int spare_h)
{
    enum { GRID = 700 };
    f64 fits = 0, spread = log(4.0 / 3);
    memset(law, 0, sizeof *law);
    for (int i = 0; i < GRID; i++)
        for (int j = 0; j < GRID; j++) {
            f64 area = (least + (1 - least) * (i + 0.5) / GRID) * w * h;
            f64 root = exp(spread / 2 * (2 * (j + 0.5) / GRID - 1));
            int cw = (int)nearbyint(sqrt(area) * root), ch = (int)nearbyint(sqrt(area) / root);
            if (cw > w || ch > h)
                continue;
            law->of[ch][cw] += 1.0 / GRID / GRID;
            fits += 1.0 / GRID / GRID;
        }
    f64 never = pow(1 - fits, 10), scale = fits > 0 ? (1 - never) / fits : 0;
    for (int i = 0; i < MOST * MOST; i++)
        law->of[i / MOST][i % MOST] *= scale;
    law->of[spare_h][spare_w] += never;
}

static void crops_of(const char *name, int w, int h, f64 least, int spare_w, int spare_h)
{
    enum { DRAWS = 20000 };
    static struct crop_law law;
    static f64 size[MOST * MOST], x_of[MOST * MOST], y_of[MOST * MOST], corner[MOST * MOST];
    static f64 law_x[MOST * MOST], law_y[MOST * MOST], law_corner[MOST * MOST];
    int red = 250 / w, green = 250 / h;
    struct image m = ramps(w, h, red, green);
    struct data_options o = asked(name, &m, FILES, arena_printf(mem, "scale_min=%g", least));
    struct bench *b = bench_open(&o);
    f64 *all[] = { size, x_of, y_of, corner, law_x, law_y, law_corner };
    for (int i = 0; i < countof(all); i++)
        memset(all[i], 0, sizeof size);
    for (i64 k = 0; k < DRAWS; k++) {
        bool flipped;
        draw(b, &o, k);
        struct window c = crop_seen(b->rgb, red, green, &flipped);
        assert_false(flipped);
        size[c.h * MOST + c.w]++;
        x_of[c.w * MOST + c.x]++;
        y_of[c.h * MOST + c.y]++;
        corner[c.y * MOST + c.x]++;
    }
    crop_law_make(&law, w, h, least, spare_w, spare_h);
    for (int ch = 1; ch <= h; ch++)
        for (int cw = 1; cw <= w; cw++)
            for (int y = 0; y <= h - ch; y++)
                for (int x = 0; x <= w - cw; x++) {
                    f64 p = law.of[ch][cw] / ((h - ch + 1) * (w - cw + 1));
                    law_x[cw * MOST + x] += p;
                    law_y[ch * MOST + y] += p;
                    law_corner[y * MOST + x] += p;
                }
    bins_follow("crop sizes", size, law.of[0], MOST * MOST, DRAWS);
    bins_follow("crop widths and columns", x_of, law_x, MOST * MOST, DRAWS);
    bins_follow("crop heights and rows", y_of, law_y, MOST * MOST, DRAWS);
    bins_follow("crop corners", corner, law_corner, MOST * MOST, DRAWS);
    data_close(b->d);
}

static void crops(void **state)
{
    (void)state;
    crops_of("wide", 12, 10, 0.08, 12, 10);
    crops_of("tall", 11, 13, 0.5, 11, 13);
}

/* Where no crop fits, the largest of the middle with an aspect between 3/4 and 4/3. */
static void crops_that_never_fit(void **state)
{
    (void)state;
    static const struct { int w, h; struct window want; } row[] = {
        { 40, 4, { 17, 0, 5, 4 } }, { 4, 40, { 0, 17, 4, 5 } }, { 41, 7, { 16, 0, 9, 7 } },
        { 7, 41, { 0, 16, 7, 9 } }, { 1, 30, { 0, 14, 1, 1 } },
    };
    for (int i = 0; i < countof(row); i++) {
        int red = 250 / row[i].w, green = 250 / row[i].h;
        struct image m = ramps(row[i].w, row[i].h, red, green);
        struct data_options o = asked(arena_printf(mem, "never%d", i), &m, 4, "scale_min=0.9");
        struct bench *b = bench_open(&o);
        for (i64 k = 0; k < 40; k++) {
            bool flipped;
            draw(b, &o, k);
            struct window c = crop_seen(b->rgb, red, green, &flipped), w = row[i].want;
            assert_true(c.x == w.x && c.y == w.y && c.w == w.w && c.h == w.h);
        }
        data_close(b->d);
    }
}

/* Ten tries, neither nine nor eleven: a picture of which a third of the crops does not fit in any. */
static void crops_are_tried_ten_times(void **state)
{
    (void)state;
    enum { DRAWS = 20000 };
    static struct crop_law law;
    struct image m = ramps(40, 4, 6, 60);
    struct data_options o = asked("tries", &m, FILES, "scale_min=0.02");
    struct bench *b = bench_open(&o);
    f64 seen[2] = { 0 }, chance[2];
    for (i64 k = 0; k < DRAWS; k++) {
        bool flipped;
        draw(b, &o, k);
        struct window c = crop_seen(b->rgb, 6, 60, &flipped);
        seen[c.w == 5 && c.h == 4 && c.x == 17]++;
    }
    crop_law_make(&law, 40, 4, 0.02, 0, 0);       // [0][0]: none fitted
    chance[1] = law.of[0][0] + law.of[4][5] / 36;
    chance[0] = 1 - chance[1];
    assert_true(chance[1] > 0.03 && chance[1] < 0.97);
    bins_follow("crops given up", seen, chance, 2, DRAWS);
    data_close(b->d);
}

/* ---- flip, pad ----------------------------------------------------------------------------------------- */

static void mirror(u8 *rgb)
{
    struct image m = { SIDE, SIDE, rgb, SIDE * SIDE * 3 };
    image_flip(&m);
}

/* Half of the images, whatever the sample; the crop stays what it was. */
static void flips(void **state)
{
    (void)state;
    enum { DRAWS = 10000 };
    struct image m = ramps(12, 10, 20, 25);
    struct data_options on = asked("flips", &m, FILES, "flip=on; scale_min=0.3"), off = on;
    struct bench *b = bench_open(&on);
    f64 seen[2] = { 0 }, by_sample[FILES] = { 0 }, half[2] = { 0.5, 0.5 };
    u8 plain[sizeof b->rgb];
    off.augment.flip = false;
    for (i64 k = 0; k < DRAWS; k++) {
        bool flipped, not;
        draw(b, &off, k);
        crop_seen(b->rgb, 20, 25, &not);
        memcpy(plain, b->rgb, sizeof plain);
        draw(b, &on, k);
        crop_seen(b->rgb, 20, 25, &flipped);
        assert_false(not);
        if (flipped)
            mirror(plain);
        assert_memory_equal(plain, b->rgb, sizeof plain);
        seen[flipped]++;
        by_sample[k % FILES] += flipped;
    }
    bins_follow("flips", seen, half, 2, DRAWS);
    for (int i = 0; i < FILES; i++)
        assert_true(fabs(by_sample[i] - DRAWS / FILES / 2) < 60);
    data_close(b->d);
}

/* All shifts up to the border are equally likely, rows and columns apart. */
static void pads(void **state)
{
    (void)state;
    enum { DRAWS = 20000, PAD = 3, ALL = 2 * PAD + 1 };
    struct image m = ramps(SIDE, SIDE, 10, 10);
    struct data_options o = asked("pads", &m, FILES, "pad=3");
    struct bench *b = bench_open(&o);
    f64 seen[ALL * ALL] = { 0 }, chance[ALL * ALL];
    for (i64 k = 0; k < DRAWS; k++) {
        draw(b, &o, k);
        const u8 *middle = b->rgb + (12 * SIDE + 12) * 3;
        int dx = middle[0] / 10 - 12, dy = middle[1] / 10 - 12;
        assert_in_range(dx + PAD, 0, 2 * PAD);
        assert_in_range(dy + PAD, 0, 2 * PAD);
        seen[(dy + PAD) * ALL + dx + PAD]++;
        for (int i = 0; k < 300 && i < SIDE * SIDE; i++) {
            int y = i / SIDE + dy, x = i % SIDE + dx;
            bool in = x >= 0 && y >= 0 && x < SIDE && y < SIDE;
            assert_int_equal(b->rgb[3 * i], in ? 10 * x : 0);
            assert_int_equal(b->rgb[3 * i + 1], in ? 10 * y : 0);
            assert_int_equal(b->rgb[3 * i + 2], in ? 7 : 0);
        }
    }
    for (int i = 0; i < ALL * ALL; i++)
        chance[i] = 1.0 / (ALL * ALL);
    bins_follow("shifts", seen, chance, ALL * ALL, DRAWS);
    data_close(b->d);
}

/* ---- erasing ------------------------------------------------------------------------------------------- */

/* Area uniform in [0.02, 1/3], log aspect (height over width) in +-log 10/3, a corner uniform among those but
 * the last (the reference's upper bounds are exclusive), where there is room. */
static void erasing_law(f64 size[], f64 rows[], f64 columns[])
{
    enum { GRID = 700, W = SIDE + 1 };
    for (int i = 0; i < GRID; i++)
        for (int j = 0; j < GRID; j++) {
            f64 area = (0.02 + (1.0 / 3 - 0.02) * (i + 0.5) / GRID) * SIDE * SIDE;
            f64 root = exp(log(10.0 / 3) / 2 * (2 * (j + 0.5) / GRID - 1));
            int h = MIN(SIDE, (int)nearbyint(sqrt(area) * root));
            int w = MIN(SIDE, (int)nearbyint(sqrt(area) / root));
            size[h * W + w] += 1.0 / GRID / GRID;
        }
    for (int h = 1; h <= SIDE; h++)
        for (int w = 1; w <= SIDE; w++) {
            for (int y = 0; y < MAX(1, SIDE - h); y++)
                rows[h * W + y] += size[h * W + w] / MAX(1, SIDE - h);
            for (int x = 0; x < MAX(1, SIDE - w); x++)
                columns[w * W + x] += size[h * W + w] / MAX(1, SIDE - w);
        }
}

static void erases_by_the_law(void **state)
{
    (void)state;
    enum { DRAWS = 20000, W = SIDE + 1 };
    static f64 size[2][W * W], rows[2][W * W], columns[2][W * W];
    static u32 keys[DRAWS];
    struct image m = ramps(SIDE, SIDE, 10, 10);
    struct data_options o = asked("erases", &m, FILES, "erasing=1"), some = o;
    struct bench *b = bench_open(&o);
    f64 seen[2] = { 0 };
    for (i64 k = 0; k < DRAWS; k++) {
        draw(b, &o, k);
        struct erasing e = b->e;
        int h = e.box[1] - e.box[0], w = e.box[3] - e.box[2];
        assert_true(e.box[0] >= 0 && e.box[2] >= 0 && h > 0 && w > 0 && e.box[1] <= SIDE && e.box[3] <= SIDE);
        size[0][h * W + w]++;
        rows[0][h * W + e.box[0]]++;
        columns[0][w * W + e.box[2]]++;
        keys[k] = e.key[0] ^ e.key[1] * 0x9E3779B9u;
        assert_true(e.key[0] != e.key[1]);
        some.augment.erasing = 0.2;
        draw(b, &some, k);
        seen[b->e.box[1] > 0]++;
        if (b->e.box[1] > 0)
            assert_memory_equal(&b->e, &e, sizeof e);
    }
    erasing_law(size[1], rows[1], columns[1]);
    bins_follow("erased sizes", size[0], size[1], W * W, DRAWS);
    bins_follow("erased rows", rows[0], rows[1], W * W, DRAWS);
    bins_follow("erased columns", columns[0], columns[1], W * W, DRAWS);
    bins_follow("erased images", seen, (const f64[2]){ 0.8, 0.2 }, 2, DRAWS);
    for (int i = 1; i < DRAWS; i++)
        assert_true(keys[i] != keys[i - 1]);
    data_close(b->d);
}

/* The bytes of noise: mean + std z of each channel, truncated and clipped, for equally likely draws; and the
 * rectangle alone is filled, each channel from its own. */
static void noise_is_normal(void **state)
{
    (void)state;
    const struct fill fill = { .mean = { 60, 130, 190 }, .std = { 20, 40, 70 } };
    u8 (*noise)[NOISE_DRAWS] = arena_bytes(mem, 3 * NOISE_DRAWS, 64);
    noise_table(&fill, noise);
    for (int c = 0; c < 3; c++)
        for (int v = 0, below = 0; v < 256; v++) {
            while (below < NOISE_DRAWS && noise[c][below] <= v)
                below++;
            f64 want = v == 255 ? 1 : normal_cdf((v + 1 - fill.mean[c]) / fill.std[c]);
            assert_true(fabs((f64)below / NOISE_DRAWS - want) < 5e-5);
        }
    enum { S = 200 };
    struct image m = { 0 };
    image_room(mem, &m, S, S);
    memset(m.rgb, 0, image_bytes(&m));
    struct recipe recipe = { .own = { { 3, S - 5, 7, S - 2 }, { 11, 12 } } };
    struct batch b = { .n = 1, .h = S, .w = S, .pixels = m.rgb, .recipes = &recipe, .noise = noise };
    b.values = arena_bytes(mem, sizeof *b.values, 64);
    values_table(&b, (const f32[3]){ 0 }, (const f32[3]){ 1, 1, 1 }, 0, 1);
    f32 *out = arena_array(mem, f32, 3 * S * S);
    batch_image(&b, 0, out);
    for (int c = 0; c < 3; c++) {
        f64 seen[8] = { 0 }, chance[8], n = (S - 8) * (S - 9);
        for (int i = 0; i < S * S; i++) {
            f32 v = out[c * S * S + i];
            int y = i / S, x = i % S;
            if (y < 3 || y >= S - 5 || x < 7 || x >= S - 2)
                assert_true(v == 0);
            else
                seen[(int)v / 32]++;
        }
        for (int k = 0; k < 8; k++)
            chance[k] = (k == 7 ? 1 : normal_cdf((32 * (k + 1) - fill.mean[c]) / fill.std[c]))
                      - (k ? normal_cdf((32 * k - fill.mean[c]) / fill.std[c]) : 0);
        bins_follow("noise", seen, chance, 8, n);
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, memory_open, memory_close)
    const struct CMUnitTest tests[] = {
        TEST(crops), TEST(crops_that_never_fit), TEST(crops_are_tried_ten_times), TEST(flips), TEST(pads),
        TEST(erases_by_the_law), TEST(noise_is_normal),
    };
    return cmocka_run_group_tests(tests, NULL, scratch_close);
}
