/* test_data.c: pixels. Against the golden files (Pillow's bits), and against whole decodes for windows. */
#include "data_help.h"
#include "ckpt/ckpt.h"
#include "data/set.h"
#include "data/simd.h"

/* ---- golden -------------------------------------------------------------------------------------------- */

static ckpt *golden;

static int golden_open(void **state)
{
    golden = ckpt_open(REFERENCE "preprocess.safetensors");
    return golden ? memory_open(state) : -1;
}

static int own_open(void **state)      /* pixels.safetensors, which tests/golden/pixels.py made with Pillow */
{
    golden = ckpt_open("tests/golden/pixels.safetensors");
    return golden ? memory_open(state) : -1;
}

static int golden_close(void **state)
{
    ckpt_close(golden);
    return memory_close(state);
}

static const tensor *want(const char *name)
{
    const tensor *t = ckpt_find(golden, name);
    if (!t)
        fail_msg("no %s in the golden file", name);
    return t;
}

static struct image stored(const char *name)
{
    const tensor *t = want(name);
    struct image m = { 0 };
    image_room(mem, &m, (int)t->shape[1], (int)t->shape[0]);
    memcpy(m.rgb, tensor_data(t), image_bytes(&m));
    return m;
}

static void same(const struct image *m, const char *name)
{
    const tensor *t = want(name);
    assert_pixels(m, (int)t->shape[1], (int)t->shape[0], tensor_data(t), 0, name);
}

static const char *const filters[] = { "bicubic", "bilinear" };

static void resizes_as_pillow(void **state)
{
    (void)state;
    static const struct { const char *name, *from; int w, h; } row[] = {
        { "resize_short36", "img_a_47x61", 46, 36 }, { "upscale_48", "img_b_20x30", 48, 48 },
        { "upscale_short48", "img_b_20x30", 72, 48 }, { "down_7x9", "img_a_47x61", 9, 7 },
    };
    for (int i = 0; i < countof(row); i++)
        for (int f = 0; f < 2; f++) {
            struct image m = stored(row[i].from), out = { 0 };
            assert_int_equal(image_resize(mem, &m, f, row[i].w, row[i].h, &out), 0);
            same(&out, arena_printf(mem, "%s.%s", row[i].name, filters[f]));
        }
}

static void crops_as_the_reference(void **state)
{
    (void)state;
    struct image m = stored("img_a_47x61");
    struct resizer r = { .a = mem };
    const i32 *box = tensor_data(want("rrc32.boxes_tlhw"));
    for (int f = 0; f < 2; f++) {
        struct image out = { 0 };
        image_scale(&r, &(struct scaling){ f, 61, 47, 46, 36, .part = { 7, 2, 32, 32 } }, &m, 0, 0, &out);
        same(&out, arena_printf(mem, "resize_short36_crop32.%s", filters[f]));
        const u8 *squares = tensor_data(want(arena_printf(mem, "rrc32.%s", filters[f])));
        for (int k = 0; k < 4; k++) {
            const i32 *b = box + 4 * k;
            struct image crop = { 0 };
            image_room(mem, &crop, b[3], b[2]);
            image_crop(&m, (struct window){ b[1], b[0], b[3], b[2] }, &crop);
            image_scale(&r, &(struct scaling){ f, b[3], b[2], 32, 32 }, &crop, 0, 0, &out);
            assert_pixels(&out, 32, 32, squares + k * 32 * 32 * 3, 0, "rrc32");
        }
    }
    image_flip(&m);
    same(&m, "hflip");
}

static const struct image *the_picture;

static int give_picture(const dataset *d, i64 i, arena *a, struct image *out)
{
    (void)d, (void)i;
    if (image_room(a, out, the_picture->w, the_picture->h))
        return -1;
    memcpy(out->rgb, the_picture->rgb, image_bytes(out));
    return 0;
}

/* What evaluation makes of a picture: size x size RGB bytes. */
static struct image evaluated(const struct image *m, int filter, int edge, int size)
{
    static const struct data_set kind = { .pixels = give_picture };
    dataset d = { .kind = &kind, .n = 1 };
    struct data_options o = { .image = size, .eval_short = edge, .bilinear = filter };
    struct worker_space w = { .decoder.a = mem, .resizer.a = mem };
    struct erasing e;
    struct image out = { 0 };
    the_picture = m;
    assert_int_equal(image_room(mem, &out, size, size), 0);
    assert_int_equal(sample_prepare(&w, &d, &o, 0, 0, out.rgb, &e), 0);
    return out;
}

/* Short edge and centre crop on the path of evaluation. Where the crop begins is read off pictures that are
 * not scaled and whose pixels are their own places. */
static void evaluates_as_the_reference(void **state)
{
    (void)state;
    struct image m = stored("img_a_47x61");
    for (int f = 0; f < 2; f++) {
        struct image got = evaluated(&m, f, 36, 32);
        same(&got, arena_printf(mem, "resize_short36_crop32.%s", filters[f]));
    }
    const tensor *t = want("center_crop.offsets");
    const i32 *row = tensor_data(t);
    for (int i = 0; i < t->shape[0]; i++, row += 3) {
        struct image places = { 0 };
        assert_int_equal(image_room(mem, &places, row[0], row[0]), 0);
        for (int k = 0; k < row[0] * row[0]; k++)
            memcpy(places.rgb + 3 * k, (u8[]){ (u8)(k % row[0]), (u8)(k / row[0]), (u8)(k % row[0] >> 8) }, 3);
        const u8 *first = evaluated(&places, 0, row[0], row[1]).rgb;
        assert_int_equal(first[0] + 256 * first[2], row[2]);
        assert_int_equal(first[1], row[2] & 255);
    }
}

/* "aug.OP.VALUE" -> the operation on img_c. */
static bool apply(const char *op, f64 v, struct image *m, struct image *out)
{
    const u8 *fill = tensor_data(want("pad_rgb"));
    image_room(mem, out, m->w, m->h);
#define BESIDE(name, call) if (!strcmp(op, name)) { call; return true; }
#define IN_PLACE(name, call) if (!strcmp(op, name)) { call; *out = *m; return true; }
    IN_PLACE("autocontrast", image_autocontrast(m))
    IN_PLACE("equalize", image_equalize(m))
    IN_PLACE("invert", image_invert(m))
    IN_PLACE("posterize", image_posterize(m, (int)v))
    IN_PLACE("solarize", image_solarize(m, v))
    IN_PLACE("solarize_add", image_solarize_add(m, v))
    IN_PLACE("color", image_color(m, v))
    IN_PLACE("contrast", image_contrast(m, v))
    IN_PLACE("brightness", image_brightness(m, v))
    BESIDE("sharpness", image_sharpness(m, v, out))
    BESIDE("rotate_bicubic", image_rotate(m, v, FILTER_BICUBIC, fill, out))
    BESIDE("rotate_bilinear", image_rotate(m, v, FILTER_BILINEAR, fill, out))
    BESIDE("shear_x_bicubic", image_affine(m, (f64[6]){ 1, v, 0, 0, 1, 0 }, FILTER_BICUBIC, fill, out))
    BESIDE("shear_y_bicubic", image_affine(m, (f64[6]){ 1, 0, 0, v, 1, 0 }, FILTER_BICUBIC, fill, out))
    BESIDE("translate_x_bicubic",
           image_affine(m, (f64[6]){ 1, 0, v * m->w, 0, 1, 0 }, FILTER_BICUBIC, fill, out))
    BESIDE("translate_y_bicubic",
           image_affine(m, (f64[6]){ 1, 0, 0, 0, 1, v * m->h }, FILTER_BICUBIC, fill, out))
    return false;
}

static int check_operations(const char *image)
{
    int checked = 0;
    for (int i = 0; i < ckpt_count(golden); i++) {
        const char *name = ckpt_at(golden, i)->name;
        char op[64];
        if (!text_starts(name, "aug.") && !text_starts(name, "mmcv."))
            continue;
        const char *first = strchr(name, '.') + 1, *dot = strchr(first, '.');
        snprintf(op, sizeof op, "%.*s", (int)(dot - first), first);
        struct image m = stored(image), out = { 0 };
        assert_true(apply(op, strtod(dot + 1, NULL), &m, &out));
        same(&out, name);
        checked++;
    }
    return checked;
}

static void operations_as_pillow(void **state)
{
    (void)state;
    assert_int_equal(check_operations("img_c_33x41"), 64);
}

static void check_own(void)
{
    struct image m = stored("image");
    int checked = 0;
    for (int i = 0; i < ckpt_count(golden); i++) {
        const char *name = ckpt_at(golden, i)->name;
        char filter[16];
        int w, h;
        if (sscanf(name, "resize.%15[a-z].%dx%d", filter, &w, &h) != 3)
            continue;
        struct image out = { 0 };
        assert_int_equal(image_resize(mem, &m, !strcmp(filter, "bilinear"), w, h, &out), 0);
        same(&out, name);
        checked++;
    }
    assert_int_equal(checked, 12);
    assert_int_equal(check_operations("image"), 48);
}

static void own_golden(void **state)
{
    (void)state;
    check_own();
    simd_plain = true;                            // the loops of other processors
    check_own();
    simd_plain = false;
}

/* Both kinds of loops on larger pictures, where their insides are what runs. */
static void same_on_any_processor(void **state)
{
    (void)state;
    struct image m = picture(203, 151, 4), out[2] = { 0 };
    rng r = rng_at(3, RNG_TEST, 0, 0);
    for (int i = 0; i < 40; i++) {
        int w = 1 + (int)rng_below(&r, 260), h = 1 + (int)rng_below(&r, 260);
        f64 angle = 60 * rng_unit(&r) - 30;
        for (int k = 0; k < 2; k++) {
            simd_plain = k;
            if (i % 2)
                image_resize(mem, &m, i % 4 == 1, w, h, &out[k]);
            else {
                image_room(mem, &out[k], m.w, m.h);
                image_rotate(&m, angle, FILTER_BICUBIC, (u8[]){ 1, 2, 3 }, &out[k]);
            }
        }
        assert_pixels(&out[0], out[1].w, out[1].h, out[1].rgb, 0, i % 2 ? "resize" : "rotate");
    }
    simd_plain = false;
}

static void close_to(const f32 *got, const tensor *t, f64 rtol, const char *name)
{
    const f32 *w = tensor_data(t);
    f32 top = 0;
    for (u64 i = 0; i < t->count; i++)
        top = fmaxf(top, fabsf(w[i]));
    for (u64 i = 0; i < t->count; i++)
        if (!(fabs((f64)got[i] - w[i]) <= rtol * top + 1e-6))
            fail_msg("%s[%lu]: %g, wanted %g", name, (long)i, got[i], w[i]);
}

/* One picture as a batch, its values by mean and std. */
static struct batch alone(struct image *m, const f32 mean[3], const f32 std[3])
{
    struct batch b = { .n = 1, .h = m->h, .w = m->w, .pixels = m->rgb };
    b.recipes = arena_array(mem, struct recipe, 1);
    b.values = arena_bytes(mem, sizeof *b.values, 64);
    values_table(&b, mean, std, 0, 1);
    return b;
}

static void normalises(void **state)
{
    (void)state;
    struct image m = stored("normalize.in");
    f32 out[3 * 16 * 16];
    struct batch b = alone(&m, (f32[]){ 123.675f, 116.28f, 103.53f }, (f32[]){ 58.395f, 57.12f, 57.375f });
    batch_image(&b, 0, out);
    close_to(out, want("normalize.imagenet"), 1e-6, "normalize.imagenet");
    b = alone(&m, (f32[]){ 127.5f, 127.5f, 127.5f }, (f32[]){ 127.5f, 127.5f, 127.5f });
    batch_image(&b, 0, out);
    close_to(out, want("normalize.half"), 1e-6, "normalize.half");
}

/* Rectangles from the reference's own function, and labels. */
static void mixes(void **state)
{
    (void)state;
    const tensor *t = want("cutmix.bbox_table");
    const f64 *row = tensor_data(t);
    for (int i = 0; i < t->shape[0]; i++, row += 10) {
        i32 box[4];
        f64 lambda;
        cutmix_box(row[2], (int)row[0], (int)row[1], (int)row[3], (int)row[4], box, &lambda);
        for (int k = 0; k < 4; k++)
            assert_true(box[k] == row[5 + k]);
        assert_true(fabs(lambda - row[9]) < 1e-12);
    }
    const i32 *perm = tensor_data(want("mix.in.perm"));
    const f32 *hot = tensor_data(want("mix.in.onehot"));
    const f64 lambda[2] = { *(const f64 *)tensor_data(want("mixup.lam")),
                            ((const f64 *)tensor_data(want("cutmix.bbox_table")))[9] };
    for (int which = 0; which < 2; which++) {
        f32 soft[4 * 6];
        for (int i = 0; i < 4; i++) {
            int own = 0, other = 0;
            for (int k = 0; k < 6; k++) {
                own = hot[6 * i + k] > 0 ? k : own;
                other = hot[6 * perm[i] + k] > 0 ? k : other;
            }
            mix_label(lambda[which], own, other, 6, soft + 6 * i);
        }
        close_to(soft, want(which ? "cutmix.out.labels" : "mixup.out.labels"), 1e-6, "labels");
    }
}

/* The pixels: lambda x + (1 - lambda) x[partner], or the partner's in the rectangle, of normalised values. */
static void mixes_pixels(void **state)
{
    (void)state;
    enum { SIDE = 37, SIZE = 3 * SIDE * SIDE };
    const f32 mean[3] = { 120, 110, 100 }, std[3] = { 58, 57, 56 };
    struct image both = { 0 };
    i32 partner[2], labels[2] = { 0, 1 };
    f32 out[SIZE], plain[2][SIZE], soft[4];
    image_room(mem, &both, SIDE, 2 * SIDE);
    for (int k = 0; k < 2; k++)
        memcpy(both.rgb + k * SIZE, picture(SIDE, SIDE, (u32)k + 1).rgb, SIZE);
    struct batch b = { .n = 2, .h = SIDE, .w = SIDE, .pixels = both.rgb, .labels = labels,
                       .soft_labels = soft };
    b.recipes = arena_array(mem, struct recipe, 2);
    b.values = arena_bytes(mem, sizeof *b.values, 64);
    u8 (*noise)[NOISE_DRAWS] = arena_bytes(mem, 3 * NOISE_DRAWS, 1);
    noise_table(&(struct fill){ { 120, 110, 100 }, { 50, 60, 70 }, { 0 } }, noise);
    b.noise = (const u8 (*)[NOISE_DRAWS])noise;
    b.recipes[0].own = (struct erasing){ { 1, 5, 2, 6 }, { 3, 4 } };       // erased before they are mixed
    b.recipes[1].own = (struct erasing){ { 3, 8, 0, 4 }, { 5, 6 } };
    int seen[2] = { 0 };
    for (int number = 0; number < 20; number++) {
        struct mix m = { .partner = partner };
        mix_choose(&m, &(struct augment_options){ 0 }, 3, 1, number, 2, SIDE);
        mix_batch(&m, &b, 2, mean, std);
        assert_true(!b.mixes);
        for (int k = 0; k < 2; k++)
            batch_image(&b, k, plain[k]);
        mix_choose(&m, &(struct augment_options){ .mixup = 0.8, .cutmix = 1 }, 3, 1, number, 2, SIDE);
        mix_batch(&m, &b, 2, mean, std);
        assert_true(m.mixup != m.cutmix && m.lambda >= 0 && m.lambda <= 1);
        batch_image(&b, 0, out);
        seen[m.cutmix]++;
        for (int i = 0; i < SIZE; i++) {
            int y = i / SIDE % SIDE, x = i % SIDE;
            bool in = y >= m.box[0] && y < m.box[1] && x >= m.box[2] && x < m.box[3];
            f64 own = plain[0][i], other = plain[partner[0]][i];
            f64 want = m.mixup ? m.lambda * own + (1 - m.lambda) * other : in ? other : own;
            assert_true(fabs(out[i] - want) < 1e-6);
        }
    }
    assert_true(seen[0] > 4 && seen[1] > 4);
}

/* Noise that is always the same byte is the constant fill. */
static void erases_constant(void **state)
{
    (void)state;
    struct image m = stored("img_a_47x61");
    const i32 *box = tensor_data(want("erase.box_tlhw"));
    const u8 *out = tensor_data(want("erase.out_const"));
    u8 (*noise)[NOISE_DRAWS] = arena_bytes(mem, 3 * NOISE_DRAWS, 64);
    f32 *planes = arena_array(mem, f32, image_bytes(&m));
    struct batch b = alone(&m, (f32[3]){ 0, 0, 0 }, (f32[3]){ 1, 1, 1 });
    for (int c = 0; c < 3; c++)
        memset(noise[c], (int[]){ 123, 116, 103 }[c], NOISE_DRAWS);
    b.noise = noise;
    b.recipes[0].own = (struct erasing){ { box[0], box[0] + box[2], box[1], box[1] + box[3] }, { 1, 2 } };
    batch_image(&b, 0, planes);
    for (size_t i = 0; i < image_bytes(&m); i++)
        assert_true(planes[i % 3 * image_bytes(&m) / 3 + i / 3] == out[i]);
}

/* The noise byte of each normal draw. */
static void erases(void **state)
{
    (void)state;
    struct image m = stored("img_a_47x61");
    const i32 *box = tensor_data(want("erase.box_tlhw"));
    const f32 *z = tensor_data(want("erase.noise_std_normal"));
    const f32 mean[3] = { 123.675f, 116.28f, 103.53f }, std[3] = { 58.395f, 57.12f, 57.375f };
    for (int i = 0; i < 3 * box[2] * box[3]; i++) {
        int y = box[0] + i / 3 / box[3], x = box[1] + i / 3 % box[3];
        m.rgb[(y * m.w + x) * 3 + i % 3] = noise_byte(mean[i % 3], std[i % 3], z[i]);
    }
    same(&m, "erase.out_rand");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(own_golden, own_open, golden_close),
        cmocka_unit_test_setup_teardown(same_on_any_processor, memory_open, memory_close),
        cmocka_unit_test_setup_teardown(resizes_as_pillow, golden_open, golden_close),
        cmocka_unit_test_setup_teardown(crops_as_the_reference, golden_open, golden_close),
        cmocka_unit_test_setup_teardown(evaluates_as_the_reference, golden_open, golden_close),
        cmocka_unit_test_setup_teardown(operations_as_pillow, golden_open, golden_close),
        cmocka_unit_test_setup_teardown(normalises, golden_open, golden_close),
        cmocka_unit_test_setup_teardown(mixes, golden_open, golden_close),
        cmocka_unit_test_setup_teardown(mixes_pixels, golden_open, golden_close),
        cmocka_unit_test_setup_teardown(erases_constant, golden_open, golden_close),
        cmocka_unit_test_setup_teardown(erases, golden_open, golden_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
