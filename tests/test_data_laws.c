/* test_data_laws.c: every random choice about a training image, drawn ten thousand times by the path that a
 * run takes (data_options_of, sample_prepare, mix_choose, the loader), against the law that the reference
 * states. The laws are integrated here from their definitions. */
#include "data_help.h"
#include "laws.h"
#include "data/set.h"
#include "spec/spec.h"

enum { SIDE = 24, FILES = 20 };

/* `n` copies of a picture as a training set, and what an experiment asks of it that sets these keys of
 * `augment`, "a=1; b=2", beside which nothing is drawn. */
static struct data_options asked(const char *name, const struct image *m, int n, const char *keys)
{
    struct spec *s = arena_one(mem, struct spec);
    struct spec_set set[4];
    int sets = 0;
    for (int i = 0; i < n; i++)
        write_png(at("%s/train/a/%02d.png", name, i), m, PNG_COLOR_TYPE_RGB, 8, false, false);
    for (const char *k = keys; k; k = (k = strstr(k, "; ")) ? k + 2 : NULL)
        set[sets++] = (struct spec_set){ "--set", arena_printf(mem, "augment.%.*s", (int)strcspn(k, ";"), k) };
    if (spec_parse(s, mem, "test", arena_printf(mem,
            "data: {set: folder, root: '%s', interpolation: bilinear, workers: 1}\ntrain: {batch: 4}\n"
            "model: {arch: vit, image: %d, patch: 8}\naugment: {scale_min: 1, flip: off, randaugment: off, "
            "erasing: off, mixup: off, cutmix: off}\n", at("%s", name), SIDE), set, sets))
        fail_msg("%s", fail_message());
    return data_options_of(s, true);
}

/* Red counts columns, green rows. */
static struct image ramps(int w, int h, int red, int green)
{
    struct image m = { 0 };
    image_room(mem, &m, w, h);
    for (int i = 0; i < w * h; i++) {
        m.rgb[3 * i] = (u8)(red * (i % w));
        m.rgb[3 * i + 1] = (u8)(green * (i / w));
        m.rgb[3 * i + 2] = 7;
    }
    return m;
}

struct bench { dataset *d; struct worker_space w; struct erasing e; u8 rgb[SIDE * SIDE * 3]; };

static struct bench *bench_open(const struct data_options *o)
{
    struct bench *b = arena_one(mem, struct bench);
    b->w.decoder.a = b->w.resizer.a = mem;
    if (!(b->d = data_open(o)))
        fail_msg("%s", fail_message());
    return b;
}

static void draw(struct bench *b, const struct data_options *o, i64 k)
{
    i64 n = data_count(b->d);
    if (sample_prepare(&b->w, b->d, o, k / n, k % n, b->rgb, &b->e))
        fail_msg("%s", fail_message());
}

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

static f64 normal_cdf(f64 x) { return 0.5 * erfc(-x / sqrt(2)); }

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
    f64 k = fmax(1, 2 / a), half = 0, part = 0, end = fmin(x, 1 - x);
    if (end <= 0)
        return x > 0.5;
    for (int side = 0; side < 2; side++) {
        f64 top = pow(side ? end : 0.5, 1 / k), sum = 0;
        for (int i = 0; i < STEPS; i++) {
            f64 t = top * (i + 0.5) / STEPS, v = pow(t, k);
            sum += pow(v, a - 1) * pow(1 - v, a - 1) * k * pow(t, k - 1) * top / STEPS;
        }
        *(side ? &part : &half) = sum;
    }
    f64 p = 0.5 * part / half;
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
        TEST(crops), TEST(crops_that_never_fit), TEST(crops_are_tried_ten_times), TEST(flips), TEST(pads),
        TEST(erases_by_the_law), TEST(noise_is_normal), TEST(policies), TEST(number_of_operations),
        TEST(levels), TEST(mixup), TEST(cutmix), TEST(mixup_or_cutmix), TEST(orders),
    };
    return cmocka_run_group_tests(tests, NULL, scratch_close);
}
