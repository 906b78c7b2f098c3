/* test_feed.c: batches of bytes become the network's input on the device: the golden file's normalising,
 * Mixup, CutMix and erasing, and the same bits as the host's batch_image for what a loader gives. */
#define mem tests_mem                             // dev.h has a type of that name
#include "data_help.h"
#undef mem
#include "ckpt/ckpt.h"
#include "data/set.h"
#include "model/model.h"

static dev *device;
static ckpt *golden;

static const tensor *want(const char *name)
{
    const tensor *t = ckpt_find(golden, name);
    if (!t)
        fail_msg("no %s in the golden file", name);
    return t;
}

/* b's images as the device makes them, `part` at a time. */
static f32 *on_device(const struct batch *b, int part)
{
    struct feed f;
    i64 size = 3 * b->h * b->w;
    graph *g = graph_new(device);
    node *images = graph_input(g, "images", F32, SHAPE(part, 3, b->h, b->w));
    f32 *poison = arena_array(tests_mem, f32, part * size), *out = arena_array(tests_mem, f32, b->n * size);
    memset(poison, 0xFF, sizeof(f32) * (size_t)(part * size));
    node_write(images, poison);
    if (feed_open(&f, device, images, part >= b->n))
        fail_msg("%s", fail_message());
    for (int from = 0; from < b->n; from += part) {
        int n = MIN(part, b->n - from);
        range front = images->home;
        front.bytes = sizeof(f32) * (u64)(n * size);
        assert_int_equal(feed_batch(&f, b, from, n), 0);
        assert_int_equal(mem_read(device, front, out + from * size), 0);
    }
    feed_close(&f);
    graph_free(g);
    return out;
}

static void same_bits(const f32 *got, const f32 *want, i64 n, const char *what)
{
    for (i64 i = 0; i < n; i++)
        if (memcmp(got + i, want + i, sizeof *got))
            fail_msg("%s[%ld]: %.9g, the host has %.9g", what, (long)i, got[i], want[i]);
}

/* In one go and in parts, against the host. */
static void check_batch(const struct batch *b)
{
    i64 size = 3 * b->h * b->w;
    f32 *host = arena_array(tests_mem, f32, b->n * size);
    for (int k = 0; k < b->n; k++)
        batch_image(b, k, host + k * size);
    same_bits(on_device(b, b->n), host, b->n * size, "whole");
    same_bits(on_device(b, b->n + 3), host, b->n * size, "with room");
    for (int part = 1; part < b->n; part++)
        same_bits(on_device(b, part), host, b->n * size, "in parts");
}

static struct batch room(int n, int h, int w)
{
    struct batch b = { .n = n, .h = h, .w = w };
    b.pixels = arena_bytes(tests_mem, (size_t)(3 * n * h * w), 64);
    b.recipes = arena_array(tests_mem, struct recipe, n);
    b.values = arena_bytes(tests_mem, sizeof *b.values, 64);
    return b;
}

/* Whatever a recipe may say: every image with its own rectangles: empty, of a single pixel, whole ones. */
static void draw_box(rng *r, int h, int w, i32 box[4])
{
    int kind = (int)rng_below(r, 4);
    box[0] = kind ? (i32)rng_below(r, (u32)h) : 0;
    box[2] = kind ? (i32)rng_below(r, (u32)w) : 0;
    box[1] = kind == 1 ? box[0] : kind ? box[0] + 1 + (i32)rng_below(r, (u32)(h - box[0])) : h;
    box[3] = kind == 2 ? box[2] + 1 : kind ? box[2] + 1 + (i32)rng_below(r, (u32)(w - box[2])) : w;
}

static void any_recipe(void **state)
{
    (void)state;
    static const int sizes[][2] = {
        { 1, 1 }, { 1, 7 }, { 5, 3 }, { 16, 16 }, { 17, 33 }, { 40, 65 }, { 8, 224 }
    };
    struct fill fill = { { 124, 116, 104 }, { 58, 57, 56 }, { 0 } };
    u8 (*noise)[NOISE_DRAWS] = arena_bytes(tests_mem, 3 * NOISE_DRAWS, 64);
    noise_table(&fill, noise);
    rng r = rng_at(11, RNG_TEST, 0, 0);
    for (int i = 0; i < countof(sizes); i++) {
        struct batch b = room(5, sizes[i][0], sizes[i][1]);
        b.noise = noise;
        b.mixes = true;
        for (int k = 0; k < 3 * b.n * b.h * b.w; k++)
            b.pixels[k] = (u8)rng_u32(&r);
        values_table(&b, fill.mean, fill.std, 0.3f, 0.7f);
        for (int k = 0; k < b.n; k++) {
            struct recipe *p = &b.recipes[k];
            p->partner = (i32)rng_below(&r, 5);
            draw_box(&r, b.h, b.w, p->mixed);
            draw_box(&r, b.h, b.w, p->own.box);
            p->own.key[0] = rng_u32(&r);
            p->own.key[1] = rng_u32(&r);
        }
        for (int k = 0; k < b.n; k++)
            b.recipes[k].other = b.recipes[b.recipes[k].partner].own;
        check_batch(&b);
    }
}

/* The loader's own batches, train and eval, with damaged files left out. */
static void loaders_batches(void **state)
{
    (void)state;
    for (int i = 0; i < 23; i++) {
        struct image m = picture(30 + i, 50 - i, (u32)i);
        write_jpeg(at("fed/train/%c/%d.jpg", 'a' + i % 3, i), &m, (struct jpeg_how){ 0 });
    }
    write_text(at("fed/train/b/4.jpg"), "\xff\xd8\xff\xe0garbage");
    say_setup((struct say_options){ .level = SAY_QUIET });
    for (int train = 0; train < 2; train++) {
        struct data_options o = { .set = "folder", .root = at("fed"), .split = "train", .image = 24,
                                  .workers = 2, .batch = 7, .train = train, .seed = 5, .eval_short = 28,
                                  .skip_errors = true,
                                  .augment = { 2, 9, 0.5, .erasing = 0.5, .mixup = 0.8, .cutmix = 1,
                                               .flip = true } };
        dataset *d = data_open(&o);
        loader *l = loader_open(d, &o);
        int mixed = 0, erased = 0;
        assert_non_null(l);
        for (int epoch = 0; epoch < 3; epoch++) {
            loader_start(l, epoch, 0);
            for (const struct batch *b; (b = loader_next(l)); loader_release(l, b)) {
                check_batch(b);
                mixed += b->mixes;
                for (int k = 0; k < b->n; k++)
                    erased += b->recipes[k].own.box[1] > 0;
            }
            assert_int_equal(fail_fault(), FAULT_NONE);
        }
        assert_true(train ? mixed > 5 && erased > 10 : !mixed && !erased);
        loader_close(l);
        data_close(d);
    }
}

/* ---- batches in a row, for which nobody waits ----------------------------------------------------------- */

enum { BATCHES = 9, IMAGES = 4 };

static void draw_batches(struct batch *b, int side)
{
    rng r = rng_at(21, RNG_TEST, 0, 0);
    struct fill fill = { { 124, 116, 104 }, { 58, 57, 56 }, { 0 } };
    for (int i = 0; i < BATCHES; i++) {
        b[i] = room(IMAGES, side, side);
        b[i].mixes = true;
        values_table(&b[i], fill.mean, fill.std, 0.1f * (f32)i, 1 - 0.1f * (f32)i);
        for (int k = 0; k < 3 * IMAGES * side * side; k++)
            b[i].pixels[k] = (u8)rng_u32(&r);
        for (int k = 0; k < IMAGES; k++) {
            b[i].recipes[k].partner = (i32)rng_below(&r, IMAGES);
            draw_box(&r, side, side, b[i].recipes[k].mixed);
        }
    }
}

/* Enough for the host to enqueue everything meanwhile. */
static int keep_busy(mem *busy)
{
    range r = { busy, 0, mem_bytes(busy) };
    return mem_fill(device, r, 1) || mem_fill(device, r, 2) ? -1 : 0;
}

/* Images [from, from + part) of each batch, kept before the next one; on a device that is late, or not. */
static void check_row(const struct batch *b, int part, bool late)
{
    struct feed f;
    i64 size = 3 * b->h * b->w;
    u64 bytes = sizeof(f32) * (u64)(part * size);
    graph *g = graph_new(device);
    node *images = graph_input(g, "images", F32, SHAPE(part, 3, b->h, b->w));
    mem *kept = mem_new(device, BATCHES * bytes, "kept"), *busy = mem_new(device, 8 << 20, "busy");
    f32 *got = arena_array(tests_mem, f32, part * size), *host = arena_array(tests_mem, f32, size);
    if (feed_open(&f, device, images, part == IMAGES))
        fail_msg("%s", fail_message());
    for (int i = 0; i < BATCHES; i++)
        if ((late && keep_busy(busy)) || feed_batch(&f, &b[i], i % (IMAGES + 1 - part), part)
            || mem_copy(device, (range){ kept, (u64)i * bytes, bytes }, images->home))
            fail_msg("%s", fail_message());
    for (int i = 0; i < BATCHES; i++) {
        assert_int_equal(mem_read(device, (range){ kept, (u64)i * bytes, bytes }, got), 0);
        for (int k = 0; k < part; k++) {
            batch_image(&b[i], i % (IMAGES + 1 - part) + k, host);
            same_bits(got + k * size, host, size, late ? "late" : "at once");
        }
    }
    feed_close(&f);
    mem_free(kept);
    mem_free(busy);
    graph_free(g);
}

/* None may go up over one that is still to be read (small ones, late), nor be read before it is there (large
 * ones, at once). */
static void in_a_row(void **state)
{
    (void)state;
    struct batch b[BATCHES];
    for (int large = 0; large < 2; large++) {
        draw_batches(b, large ? 400 : 24);
        check_row(b, IMAGES, !large);
        check_row(b, IMAGES / 2, !large);
    }
}

/* ---- the golden file ----------------------------------------------------------------------------------- */

static void close_to(const f32 *got, const f32 *w, i64 n, const char *name)
{
    for (i64 i = 0; i < n; i++)
        if (!(fabs((f64)got[i] - w[i]) <= 1e-6 + 1e-6 * fabs(w[i])))
            fail_msg("%s[%ld]: %g, wanted %g", name, (long)i, got[i], w[i]);
}

static void golden_normalising(void **state)
{
    (void)state;
    static const f32 mean[2][3] = { { 123.675f, 116.28f, 103.53f }, { 127.5f, 127.5f, 127.5f } };
    static const f32 std[2][3] = { { 58.395f, 57.12f, 57.375f }, { 127.5f, 127.5f, 127.5f } };
    static const char *const names[2] = { "normalize.imagenet", "normalize.half" };
    struct batch b = room(1, 16, 16);
    memcpy(b.pixels, tensor_data(want("normalize.in")), 768);
    for (int k = 0; k < 2; k++) {
        values_table(&b, mean[k], std[k], 0, 1);
        close_to(on_device(&b, 1), tensor_data(want(names[k])), 768, names[k]);
    }
}

/* The golden images are numbers. One channel of two of them has 160, so that bytes can stand for them: image
 * 0 holds the bytes 0..79, its partner 80..159. */
static void golden_mixing(void **state)
{
    (void)state;
    enum { H = 8, W = 10, N = H * W };
    const f32 *x = tensor_data(want("mix.in.images"));
    const i32 *perm = tensor_data(want("mix.in.perm"));
    const f64 *row = tensor_data(want("cutmix.bbox_table"));
    for (int cutmix = 0; cutmix < 2; cutmix++)
        for (int k = 0; k < 4; k++) {
            struct batch b = room(2, H, W);
            f32 weight = cutmix ? 0 : (f32)*(const f64 *)tensor_data(want("mixup.lam"));
            const char *name = cutmix ? "cutmix.out.images" : "mixup.out.images";
            b.mixes = true;
            for (int i = 0; i < 3 * N; i++) {
                int c = i % 3, p = i / 3;
                f32 own = x[(k * 3 + c) * N + p], other = x[(perm[k] * 3 + c) * N + p];
                b.pixels[i] = (u8)p;
                b.pixels[3 * N + i] = (u8)(N + p);
                b.values->alone[c][p] = own;
                b.values->own[c][p] = weight * own;
                b.values->other[c][N + p] = (1 - weight) * other;
            }
            b.recipes[0] = (struct recipe){ .partner = 1, .mixed = { 0, H, 0, W } };
            for (int i = 0; cutmix && i < 4; i++)
                b.recipes[0].mixed[i] = (i32)row[5 + i];
            for (int part = 1; part <= 2; part++)
                close_to(on_device(&b, part), (const f32 *)tensor_data(want(name)) + 3 * N * k, 3 * N, name);
        }
}

/* Noise that is always the same byte is the constant fill. */
static void golden_erasing(void **state)
{
    (void)state;
    const tensor *t = want("img_a_47x61");
    const i32 *box = tensor_data(want("erase.box_tlhw"));
    const u8 *out = tensor_data(want("erase.out_const"));
    u8 (*noise)[NOISE_DRAWS] = arena_bytes(tests_mem, 3 * NOISE_DRAWS, 64);
    struct batch b = room(1, (int)t->shape[0], (int)t->shape[1]);
    memcpy(b.pixels, tensor_data(t), (size_t)t->count);
    for (int c = 0; c < 3; c++)
        memset(noise[c], (int[]){ 123, 116, 103 }[c], NOISE_DRAWS);
    b.noise = noise;
    values_table(&b, (f32[3]){ 0, 0, 0 }, (f32[3]){ 1, 1, 1 }, 0, 1);
    b.recipes[0].own = (struct erasing){ { box[0], box[0] + box[2], box[1], box[1] + box[3] }, { 1, 2 } };
    const f32 *got = on_device(&b, 1);
    for (int i = 0; i < (int)t->count; i++)
        assert_true(got[i % 3 * b.h * b.w + i / 3] == out[i]);
}

static int open_all(void **state)
{
    (void)state;
    golden = ckpt_open(REFERENCE "preprocess.safetensors");
    device = dev_open(NULL);
    return golden && device ? 0 : -1;
}

/* As on a GPU: batches go up beside the launches. */
static int open_beside(void **state)
{
    if (open_all(state))
        return -1;
    dev_force_class(device, DEV_GPU);
    return dev_uploads_beside(device) ? 0 : -1;
}

static int close_all(void **state)
{
    ckpt_close(golden);
    dev_close(device);
    return scratch_close(state);
}

int main(void)
{
    say_setup((struct say_options){ .level = SAY_QUIET });
#define TEST(f) cmocka_unit_test_setup_teardown(f, memory_open, memory_close)
    const struct CMUnitTest tests[] = {
        TEST(any_recipe), TEST(loaders_batches), TEST(in_a_row), TEST(golden_normalising),
        TEST(golden_mixing), TEST(golden_erasing),
    };
    int failed = cmocka_run_group_tests_name("feed", tests, open_all, close_all);
    return failed + cmocka_run_group_tests_name("feed beside launches", tests, open_beside, close_all);
}
