/* test_data_options.c: what an experiment asks of its images reaches them, and nothing else moves: every key
 * against the fields of data_options_of, every field against the bytes that it shapes, and each kind of draw
 * against seed, epoch and sample. */
#include "data_help.h"
#include "data/set.h"
#include "spec/spec.h"

/* ---- from keys to fields ------------------------------------------------------------------------------- */

/* Every field as "name=value ". */
static const char *fields_of(const struct data_options *o)
{
    const struct augment_options *g = &o->augment;
    const char *only = "";
    for (int i = 0; i < o->n_only; i++)
        only = arena_printf(mem, "%s%s,", only, o->only[i]);
    return arena_printf(mem,
        "set=%s root=%s split=%s only=%s image=%d workers=%d batch=%d train=%d seed=%llu eval_short=%d fold=%d "
        "bilinear=%d exif=%d released=%d skip_errors=%d keep_decoded=%d fast_decode=%d has_mean=%d has_std=%d "
        "mean=%g,%g,%g "
        "std=%g,%g,%g ra_ops=%d ra_magnitude=%g ra_std=%g erasing=%g mixup=%g cutmix=%g smoothing=%g "
        "scale_min=%g flip=%d pad=%d limit=%lld spread=%d ",
        o->set, o->root, o->split, only, o->image, o->workers, o->batch, o->train,
        (unsigned long long)o->seed, o->eval_short, o->fold, o->bilinear, o->exif, o->released,
        o->skip_errors, o->keep_decoded, o->fast_decode, o->has_mean, o->has_std,
        (f64)o->mean[0], (f64)o->mean[1], (f64)o->mean[2],
        (f64)o->std[0], (f64)o->std[1], (f64)o->std[2], g->ra_ops, g->ra_magnitude, g->ra_std, g->erasing,
        g->mixup, g->cutmix, g->smoothing, g->scale_min, g->flip, g->pad, (long long)o->limit, o->spread);
}

static const struct spec *parsed(const char *text, const char *set)
{
    struct spec *s = arena_one(mem, struct spec);
    if (spec_parse(s, mem, "test", text, &(struct spec_set){ "--set", set }, set != NULL))
        fail_msg("%s", fail_message());
    return s;
}

static const char base[] = "data: {set: pets, root: /r, workers: 3}\nseed: 7\n"
                           "model: {arch: vit, image: 24, patch: 8}\n";

/* What differs in fields `b`, in its words. */
static const char *difference(const char *a, const char *b)
{
    const char *out = "";
    while (*a && *b) {
        int n = (int)strcspn(a, " "), m = (int)strcspn(b, " ");
        if (n != m || memcmp(a, b, (size_t)n))
            out = arena_printf(mem, "%s%s%.*s", out, *out ? " " : "", m, b);
        a += n + 1;
        b += m + 1;
    }
    return out;
}

static void every_key_sets_its_fields(void **state)
{
    (void)state;
    static const struct { const char *key, *train, *eval; } row[] = {
        { "data.set=food101", "set=food101", "set=food101" },
        { "data.root=/elsewhere", "root=/elsewhere", "root=/elsewhere" },
        { "data.train=more", "split=more", "" },
        { "data.eval=val", "", "split=val" },
        { "data.classes=[b, a]", "only=b,a,", "only=b,a," },
        { "data.fold=4", "fold=4", "fold=4" },
        { "data.workers=9", "workers=9", "workers=9" },
        { "threads=5", "", "" },                  // data.workers goes before
        { "data.on_error=skip", "skip_errors=1", "skip_errors=1" },
        { "data.exif=off", "exif=0", "exif=0" },
        { "data.interpolation=bilinear", "bilinear=1", "bilinear=1" },
        { "data.fast_decode=off", "fast_decode=0", "" },
        { "data.mean=[1, 2, 3]", "has_mean=1 mean=1,2,3", "has_mean=1 mean=1,2,3" },
        { "data.mean=[9]", "has_mean=1 mean=9,9,9", "has_mean=1 mean=9,9,9" },
        { "data.std=[4, 5, 6]", "has_std=1 std=4,5,6", "has_std=1 std=4,5,6" },
        { "seed=8", "seed=8", "seed=8" },
        { "seed=4294967303", "seed=4294967303", "seed=4294967303" },
        { "variant=paper", "released=0", "released=0" },
        { "train.batch=640", "batch=640", "" },
        { "train.batch=40", "batch=40", "batch=40" },         // evaluation: at most 64 unless it says so
        { "eval.batch=100", "", "batch=100" },
        { "eval.crop=0.5", "eval_short=48", "eval_short=48" },
        { "eval.crop=1", "eval_short=24", "eval_short=24" },
        { "model.image=48", "image=48 eval_short=55", "image=48 eval_short=55" },
        { "augment.scale_min=0.3", "scale_min=0.3", "scale_min=0.3" },
        { "augment.pad=4", "pad=4", "pad=4" },
        { "augment.flip=off", "flip=0", "flip=0" },
        { "augment.randaugment=[3, 8, 0.25]", "ra_ops=3 ra_magnitude=8 ra_std=0.25",
          "ra_ops=3 ra_magnitude=8 ra_std=0.25" },
        { "augment.randaugment=off", "ra_ops=0 ra_magnitude=0 ra_std=0",
          "ra_ops=0 ra_magnitude=0 ra_std=0" },
        { "augment.erasing=0.5", "erasing=0.5", "erasing=0.5" },
        { "augment.mixup=0.2", "mixup=0.2", "mixup=0.2" },
        { "augment.cutmix=0.3", "cutmix=0.3", "cutmix=0.3" },
        { "augment.smoothing=0.4", "smoothing=0.4", "smoothing=0.4" },
        { "optim.lr=0.1", "", "" },
        { "recycle.batch=3", "", "" },
    };
    const char *whole[2];
    for (int train = 0; train < 2; train++) {
        struct data_options o = data_options_of(parsed(base, NULL), train);
        whole[train] = fields_of(&o);
    }
    assert_string_equal(whole[1],
        "set=pets root=/r split=train only= image=24 workers=3 batch=512 train=1 seed=7 eval_short=27 fold=1 "
        "bilinear=0 exif=1 released=1 skip_errors=0 keep_decoded=1 fast_decode=1 has_mean=0 has_std=0 "
        "mean=0,0,0 std=0,0,0 "
        "ra_ops=2 ra_magnitude=9 ra_std=0.5 erasing=0.25 mixup=0.8 cutmix=1 smoothing=0.1 scale_min=0.08 "
        "flip=1 pad=0 limit=0 spread=0 ");
    assert_string_equal(difference(whole[1], whole[0]), "split=test batch=64 train=0 fast_decode=0");
    for (int i = 0; i < countof(row); i++)
        for (int train = 0; train < 2; train++) {
            struct data_options o = data_options_of(parsed(base, row[i].key), train);
            const char *got = difference(whole[train], fields_of(&o));
            const char *want = train ? row[i].train : row[i].eval;
            if (strcmp(got, want))
                fail_msg("%s, train %d: '%s', expected '%s'", row[i].key, train, got, want);
        }
    struct data_options o = data_options_of(parsed("threads: 5\n", NULL), true);
    assert_int_equal(o.workers, 5);
    o = data_options_of(parsed("seed: 1\n", NULL), true);
    assert_true(o.workers >= 1 && o.eval_short == 256);
}

/* ---- from fields to bytes ------------------------------------------------------------------------------ */

enum { SIDE = 24, N = 36 };

static const char *pictures(void)
{
    for (int i = 0; i < N; i++) {
        struct image m = picture(90 + 3 * i, 80 + i, (u32)i);
        write_jpeg(at("options/train/%c/%02d.jpg", 'a' + i % 3, i), &m, (struct jpeg_how){ .orientation = 6 });
    }
    return at("options");
}

static struct data_options everything(const char *root)
{
    return (struct data_options){
        .set = "folder", .root = root, .split = "train", .image = SIDE, .workers = 2, .batch = 4, .train = true,
        .seed = 7, .exif = true, .fast_decode = true, .has_mean = true, .has_std = true,
        .mean = { 120, 110, 100 }, .std = { 60, 50, 40 },
        .augment = { 2, 9, 0.5, .erasing = 0.5, .mixup = 0.8, .cutmix = 1, .smoothing = 0.1, .scale_min = 0.3,
                     .flip = true } };
}

/* What a batch is made of. */
enum { ORDER = 1, PIXELS = 2, ERASED = 4, NOISE = 8, VALUES = 16, PARTNERS = 32, LABELS = 64, SOFT = 128,
       MIXED = 256, SIZE = 512 };
struct prints { u64 of[10]; };

static u64 fold(u64 h, const void *p, size_t n)
{
    for (const u8 *b = p; n; n--)
        h = (h ^ *b++) * 0x100000001b3u;
    return h;
}

/* Pixels and erasing by sample: a new order alone does not change them. */
static struct prints prints_of(const struct data_options *o, i64 epoch)
{
    struct prints p = { 0 };
    dataset *d = data_open(o);
    loader *l = d ? loader_open(d, o) : NULL;
    if (!l)
        fail_msg("%s", fail_message());
    loader_start(l, epoch, 0);
    for (const struct batch *b; (b = loader_next(l)); loader_release(l, b))
        for (int k = 0; k < b->n; k++) {
            const struct recipe *r = &b->recipes[k];
            size_t size = 3 * (size_t)b->h * (size_t)b->w;
            p.of[0] = fold(p.of[0], &b->index[k], sizeof *b->index);
            p.of[1] += fold((u64)b->index[k], b->pixels + (size_t)k * size, size);
            p.of[2] += fold((u64)b->index[k], &r->own, sizeof r->own);
            p.of[3] = b->noise ? fold(1, b->noise, 3 * NOISE_DRAWS) : 0;
            p.of[4] = fold(p.of[4], b->values, sizeof *b->values);
            p.of[5] = fold(p.of[5], &r->partner, sizeof r->partner);
            p.of[6] += fold((u64)b->index[k], &b->labels[k], sizeof *b->labels);
            p.of[7] = fold(p.of[7], b->soft_labels + k * data_classes(d),
                           sizeof(f32) * (size_t)data_classes(d));
            p.of[8] = fold(p.of[8], r->mixed, sizeof r->mixed);
            p.of[9] = fold(p.of[9], (int[]){ b->n, b->h, b->w }, 3 * sizeof(int));
            assert_memory_equal(&r->other, &b->recipes[r->partner].own, sizeof r->other);
        }
    assert_int_equal(fail_fault(), FAULT_NONE);
    loader_close(l);
    data_close(d);
    return p;
}

static int changed(struct prints a, struct prints b)
{
    int bits = 0;
    for (int i = 0; i < countof(a.of); i++)
        bits |= (a.of[i] != b.of[i]) << i;
    return bits;
}

static void every_field_moves_its_bytes(void **state)
{
    (void)state;
    const struct data_options o = everything(pictures());
    const struct prints before = prints_of(&o, 0);
    struct data_options x;
#define CASE_BUT(maybe, what, ...) \
    x = o; \
    __VA_ARGS__; \
    if ((changed(before, prints_of(&x, 0)) & ~(maybe)) != (what)) \
        fail_msg("%s: changed %#x, expected %#x", #__VA_ARGS__, changed(before, prints_of(&x, 0)), what)
#define CASE(what, ...) CASE_BUT(0, what, __VA_ARGS__)
    CASE(0, x.workers = 1);
    CASE(0, x.eval_short = 30);
    CASE(0, x.limit = 5);
    CASE(0, x.spread = true);
    CASE(0, x.augment.smoothing = 0.5);
    CASE(0, x.released = true);                               // a folder's means are not reversed
    CASE(PIXELS, x.fast_decode = false);
    const struct prints in_full = prints_of(&x, 0);
    CASE(PIXELS, x.keep_decoded = true);                      // what is kept was decoded in full
    assert_int_equal(changed(in_full, prints_of(&x, 0)), 0);
    CASE(PIXELS, x.bilinear = true);
    CASE(PIXELS, x.exif = false);
    CASE(PIXELS, x.augment.ra_ops = 1);
    CASE(PIXELS, x.augment.ra_magnitude = 5);
    CASE(PIXELS, x.augment.ra_std = 0);
    CASE(PIXELS, x.augment.scale_min = 0.5);
    CASE(PIXELS, x.augment.scale_min = 0);
    const struct prints least = prints_of(&x, 0);
    CASE(PIXELS, x.augment.scale_min = 0.08);                 // is what 0 stands for
    assert_int_equal(changed(least, prints_of(&x, 0)), 0);
    CASE(PIXELS, x.augment.flip = false);
    CASE(PIXELS, x.augment.pad = 2);
    CASE(ERASED, x.augment.erasing = 0.9);
    CASE(ERASED | NOISE, x.augment.erasing = 0);
    // partners are drawn after lambda, which takes one draw or more
    CASE_BUT(PARTNERS, VALUES | SOFT, x.augment.mixup = 0.1);
    CASE(MIXED | SOFT | VALUES | PARTNERS, x.augment.mixup = 0);
    CASE_BUT(PARTNERS, MIXED | SOFT, x.augment.cutmix = 6);
    CASE(MIXED | SOFT | VALUES | PARTNERS, x.augment.cutmix = 0);
    CASE(VALUES | NOISE | PIXELS, x.mean[1] = 20);            // pixels: what warps leave free
    CASE(VALUES | NOISE, x.std[2] = 20);
    CASE(ORDER | PIXELS | ERASED | PARTNERS | MIXED | VALUES | SOFT, x.seed = 8);
    CASE(ORDER | PIXELS | ERASED | PARTNERS | MIXED | VALUES | SOFT, x.seed = 7 + (1ull << 32));
    if (changed(before, prints_of(&o, 1)) != (ORDER | PIXELS | ERASED | PARTNERS | MIXED | VALUES | SOFT))
        fail_msg("a new epoch changes %#x", changed(before, prints_of(&o, 1)));
    assert_int_equal(changed(before, prints_of(&o, 0)), 0);
}

/* In evaluation nothing is drawn. */
static void evaluation_draws_nothing(void **state)
{
    (void)state;
    struct data_options o = everything(pictures()), x;
    o.train = false;
    const struct prints before = prints_of(&o, 0);
    assert_int_equal(changed(before, prints_of(&o, 1)), 0);
    CASE(0, x.seed = 8);
    CASE(0, x.fast_decode = false);
    CASE(0, x.augment = (struct augment_options){ .pad = 3 });
    CASE(0, x.released = true);
    CASE(PIXELS, x.eval_short = 30);
    CASE(PIXELS, x.bilinear = true);
    CASE(PIXELS, x.exif = false);
    CASE(VALUES, x.mean[0] = 20);
    CASE(VALUES, x.std[1] = 20);
    CASE(ORDER | SIZE | VALUES | PIXELS | LABELS | ERASED | PARTNERS | SOFT, x.limit = 6);
}

/* ---- each kind of draw alone --------------------------------------------------------------------------- */

/* The sample's bytes and rectangle. */
static u64 sample_print(dataset *d, const struct data_options *o, i64 epoch, i64 i)
{
    static struct worker_space w;
    static u8 rgb[SIDE * SIDE * 3];
    struct erasing e;
    w = (struct worker_space){ .decoder.a = mem, .resizer.a = mem };
    if (sample_prepare(&w, d, o, epoch, i, rgb, &e))
        fail_msg("%s", fail_message());
    return fold(fold(1, rgb, sizeof rgb), &e, sizeof e);
}

/* Another epoch, seed or sample draws again; the same draws the same. At least a third differs: flips of one
 * picture have two outcomes. */
static void each_kind_follows_seed_epoch_and_sample(void **state)
{
    (void)state;
    enum { DRAWS = 60 };
    static const struct augment_options kinds[] = {
        { .scale_min = 0.2 }, { .scale_min = 1, .flip = true }, { .pad = 3 }, { .scale_min = 1, .erasing = 1 },
        { 1, 9, 0, .scale_min = 1 }, { 1, 9, 0.5, .scale_min = 1 },
    };
    struct image m = picture(40, 40, 1);
    for (int i = 0; i < DRAWS + 1; i++)
        write_png(at("kinds/train/a/%02d.png", i), &m, PNG_COLOR_TYPE_RGB, 8, false, false);
    struct data_options o = everything(at("kinds"));
    o.keep_decoded = true;
    for (int k = 0; k < countof(kinds); k++) {
        int differ[5] = { 0 };
        o.augment = kinds[k];
        dataset *d = data_open(&o);
        for (int i = 0; i < DRAWS; i++) {
            struct data_options low = o, high = o;
            u64 want = sample_print(d, &o, 3, i);
            low.seed++;
            high.seed += 1ull << 32;
            assert_true(sample_print(d, &o, 3, i) == want);
            differ[0] += sample_print(d, &o, 4, i) != want;
            differ[1] += sample_print(d, &low, 3, i) != want;
            differ[2] += sample_print(d, &high, 3, i) != want;
            differ[3] += sample_print(d, &o, 3, i + 1) != want;
            differ[4] += sample_print(d, &o, i, 3) != want;      // epoch and sample are not exchanged
        }
        for (int i = 0; i < 5; i++)
            if (differ[i] < DRAWS / 4)
                fail_msg("kind %d: only %d of %d draws differ by %s", k, differ[i], DRAWS,
                         (const char *[]){ "epoch", "seed", "seed's upper half", "sample", "place" }[i]);
        data_close(d);
    }
}

/* One kind switched on or off leaves the others' choices as they were. */
static void kinds_do_not_share_draws(void **state)
{
    (void)state;
    struct data_options o = everything(pictures()), x;
    o.augment = (struct augment_options){ .scale_min = 0.5, .erasing = 1 };
    const struct prints before = prints_of(&o, 0);
    CASE(PIXELS, x.augment.flip = true);
    CASE(PIXELS, x.augment.ra_ops = 2, x.augment.ra_magnitude = 9);
    CASE(PIXELS, x.augment.pad = 2);
    CASE(PARTNERS | MIXED | SOFT | VALUES, x.augment.mixup = 1);
    CASE(PARTNERS | MIXED | SOFT, x.augment.cutmix = 1);
}

/* What seed 7 draws in epoch 3: a run that is repeated with a later version has the same images. Crops by
 * their corners, mirrored ones with the right side first; erased rectangles; orders; partners and shares. */
static void draws_of_a_seed_stay(void **state)
{
    (void)state;
    static const int order[6] = { 3, 2, 1, 4, 5, 0 }, partners[6] = { 0, 2, 1, 1, 0, 2 };
    static const int crops[6][4] = { { 21, 1, 6, 17 }, { 3, 0, 17, 13 }, { 2, 5, 18, 19 }, { 0, 4, 13, 19 },
                                     { 1, 1, 20, 16 }, { 5, 0, 17, 16 } };
    static const int erased[6][4] = { { 8, 22, 9, 23 }, { 18, 23, 7, 14 }, { 10, 18, 0, 16 }, { 3, 8, 5, 10 },
                                      { 2, 23, 1, 8 }, { 10, 15, 15, 20 } };
    static const int mixed[2][4] = { { 0, 24, 0, 24 }, { 0, 24, 0, 24 } };
    struct image m = { 0 };
    image_room(mem, &m, 24, 20);
    for (int i = 0; i < 24 * 20; i++)
        memcpy(m.rgb + 3 * i, (u8[]){ (u8)(10 * (i % 24)), (u8)(12 * (i / 24)), 5 }, 3);
    for (int i = 0; i < 6; i++)
        write_png(at("frozen/train/a/%d.png", i), &m, PNG_COLOR_TYPE_RGB, 8, false, false);
    struct data_options o = everything(at("frozen"));
    o.bilinear = true;
    o.batch = 3;
    o.augment = (struct augment_options){ .scale_min = 0.2, .flip = true, .erasing = 1, .mixup = 0.8,
                                          .cutmix = 1 };
    dataset *d = data_open(&o);
    loader *l = loader_open(d, &o);
    loader_start(l, 3, 0);
    for (int n = 0; n < 2; n++) {
        const struct batch *b = loader_next(l);
        for (int k = 0; k < 3; k++) {
            const struct recipe *r = &b->recipes[k];
            const u8 *first = b->pixels + k * SIDE * SIDE * 3, *last = first + (SIDE * SIDE - 1) * 3;
            i64 i = b->index[k];
            const int crop[4] = { first[0] / 10, first[1] / 12, last[0] / 10, last[1] / 12 };
            assert_int_equal(i, order[3 * n + k]);
            assert_int_equal(r->partner, partners[3 * n + k]);
            assert_memory_equal(crop, crops[i], sizeof crop);
            assert_memory_equal(r->own.box, erased[i], sizeof r->own.box);
            assert_memory_equal(r->mixed, mixed[n], sizeof r->mixed);
        }
        loader_release(l, b);
    }
    loader_close(l);
    data_close(d);
    static const struct { bool mixup; int millionths; i32 box[4]; } mix[6] = {
        { 1, 312617, { 0, 24, 0, 24 } }, { 1, 29317, { 0, 24, 0, 24 } },
        { 1, 840032, { 0, 24, 0, 24 } }, { 1, 249584, { 0, 24, 0, 24 } },
        { 0, 968750, { 0, 3, 11, 17 } }, { 1, 155263, { 0, 24, 0, 24 } },
    };
    for (int n = 0; n < 6; n++) {
        i32 partner[3];
        struct mix x = { .partner = partner };
        mix_choose(&x, &o.augment, 7, 3, n, 3, SIDE);
        assert_int_equal(x.mixup, mix[n].mixup);
        assert_int_equal((int)rint(1e6 * x.lambda), mix[n].millionths);
        assert_memory_equal(x.box, mix[n].box, sizeof x.box);
    }
}

/* ---- evaluation to the pixel --------------------------------------------------------------------------- */

/* Short edge to eval_short, the long one truncated; the square from the middle, halves to the even side. */
static void centre_crops(void **state)
{
    (void)state;
    static const struct { int w, h, edge, size, ow, oh, x, y; } row[] = {
        { 60, 40, 32, 24, 48, 32, 12, 4 }, { 40, 60, 32, 24, 32, 48, 4, 12 }, { 50, 50, 27, 24, 27, 27, 2, 2 },
        { 50, 50, 29, 24, 29, 29, 2, 2 },  { 50, 50, 31, 24, 31, 31, 4, 4 },  { 61, 40, 25, 24, 38, 25, 7, 0 },
        { 40, 61, 26, 23, 26, 39, 2, 8 },  { 33, 50, 23, 23, 23, 34, 0, 6 },  { 47, 50, 24, 24, 24, 25, 0, 0 },
        { 50, 47, 26, 24, 27, 26, 2, 1 },  { 24, 24, 24, 24, 24, 24, 0, 0 },  { 10, 12, 24, 24, 24, 28, 0, 2 },
    };
    for (int i = 0; i < countof(row); i++)
        for (int bilinear = 0; bilinear < 2; bilinear++) {
            struct image m = picture(row[i].w, row[i].h, (u32)i), whole = { 0 }, want = { 0 };
            int size = row[i].size;
            const char *root = at("centre%d", i);
            write_png(at("centre%d/train/a/x.png", i), &m, PNG_COLOR_TYPE_RGB, 8, false, false);
            image_resize(mem, &m, bilinear ? FILTER_BILINEAR : FILTER_BICUBIC, row[i].ow, row[i].oh, &whole);
            image_room(mem, &want, size, size);
            image_crop(&whole, (struct window){ row[i].x, row[i].y, size, size }, &want);
            struct data_options o = { .set = "folder", .root = root, .split = "train", .image = size,
                                      .batch = 1, .workers = 1, .eval_short = row[i].edge,
                                      .bilinear = bilinear };
            for (int kept = 0; kept < 2; kept++) {
                o.keep_decoded = kept;
                dataset *d = data_open(&o);
                loader *l = loader_open(d, &o);
                loader_start(l, 0, 0);
                const struct batch *b = loader_next(l);
                assert_non_null(b);
                struct image got = { size, size, b->pixels, image_bytes(&want) };
                assert_pixels(&got, size, size, want.rgb, 0, arena_printf(mem, "row %d", i));
                loader_release(l, b);
                loader_close(l);
                data_close(d);
            }
        }
}

/* No short edge named: the image's own size. */
static void without_a_short_edge(void **state)
{
    (void)state;
    struct image m = picture(48, 24, 3);
    write_png(at("short/train/a/x.png"), &m, PNG_COLOR_TYPE_RGB, 8, false, false);
    struct data_options o = { .set = "folder", .root = at("short"), .split = "train", .image = 24, .batch = 1,
                              .workers = 1 };
    dataset *d = data_open(&o);
    loader *l = loader_open(d, &o);
    loader_start(l, 0, 0);
    const struct batch *b = loader_next(l);
    for (int y = 0; y < 24; y++)
        assert_memory_equal(b->pixels + y * 72, m.rgb + (y * 48 + 12) * 3, 72);
    loader_release(l, b);
    loader_close(l);
    data_close(d);
}

/* ---- numbers ------------------------------------------------------------------------------------------- */

/* (byte - mean) / std of each channel by its own, weighted where it is mixed; a set's own where none are
 * given. */
static void values_of_each_channel(void **state)
{
    (void)state;
    const f32 mean[3] = { 10, 100, 200 }, std[3] = { 2, 4, 8 };
    struct batch b = { 0 };
    b.values = arena_bytes(mem, sizeof *b.values, 64);
    values_table(&b, mean, std, 0.25f, 0.75f);
    for (int c = 0; c < 3; c++)
        for (int i = 0; i < 256; i++) {
            f32 v = ((f32)i - mean[c]) / std[c];
            assert_true(b.values->alone[c][i] == v);
            assert_true(b.values->own[c][i] == 0.25f * v && b.values->other[c][i] == 0.75f * v);
        }
    struct data_options o = everything(pictures());
    const char *sets[] = { NULL, "data.mean=[10, 100, 200]", "data.std=[2, 4, 8]", "data.mean=[0]" };
    const f32 zero[3] = { 0 }, own_mean[3] = { 123.675f, 116.28f, 103.53f };
    const f32 own_std[3] = { 58.395f, 57.12f, 57.375f };
    f32 m[3], s[3];
    for (int i = 0; i < 4; i++) {                 // one of them given: the other stays the set's own
        const char *text = arena_printf(mem, "data: {set: folder, root: '%s'}\n", o.root);
        struct data_options some = data_options_of(parsed(text, sets[i]), true);
        dataset *d = data_open(&some);
        data_mean_std(d, m, s);
        assert_memory_equal(m, i == 3 ? zero : i == 1 ? mean : own_mean, sizeof m);
        assert_memory_equal(s, i == 2 ? std : own_std, sizeof s);
        data_close(d);
    }
    for (int given = 0; given < 2; given++) {
        if (!given)
            o.has_mean = o.has_std = false;
        else
            o.has_mean = o.has_std = true, memcpy(o.mean, mean, sizeof mean), memcpy(o.std, std, sizeof std);
        dataset *d = data_open(&o);
        data_mean_std(d, m, s);
        assert_memory_equal(m, given ? mean : own_mean, sizeof m);
        assert_memory_equal(s, given ? std : own_std, sizeof s);
        loader *l = loader_open(d, &o);
        loader_start(l, 0, 0);
        const struct batch *batch = loader_next(l);
        for (int c = 0; c < 3; c++)
            assert_true(batch->values->alone[c][77] == (77 - m[c]) / s[c]);
        loader_release(l, batch);
        loader_close(l);
        data_close(d);
    }
}

/* What warps leave free and noise scatters around: the means, whose order the released code reverses for
 * CIFAR. */
static void fills(void **state)
{
    (void)state;
    const int color[3] = { 10, 21, 30 };
    const struct data_set plain = { .fill_reversed = false }, reversed = { .fill_reversed = true };
    for (int k = 0; k < 4; k++) {
        dataset d = { .kind = k & 1 ? &reversed : &plain, .mean = { 10.4f, 20.6f, 30.5f }, .std = { 1, 2, 3 } };
        struct data_options o = { .released = k & 2 };
        struct fill f = fill_of(&d, &o);
        for (int c = 0; c < 3; c++) {
            int from = k == 3 ? 2 - c : c;
            assert_true(f.mean[c] == d.mean[from] && f.std[c] == d.std[from]);
            assert_true(f.color[c] == color[from]);
        }
    }
}

/* lambda of the own class, the rest of the partner's; the same class twice adds up. */
static void soft_labels(void **state)
{
    (void)state;
    f32 soft[4] = { 9, 9, 9, 9 };
    mix_label(0.75, 2, 0, 4, soft);
    assert_true(soft[0] == 0.25f && soft[1] == 0 && soft[2] == 0.75f && soft[3] == 0);
    mix_label(0.75, 3, 3, 4, soft);
    assert_true(soft[0] == 0 && soft[1] == 0 && soft[2] == 0 && soft[3] == 1);

    struct data_options o = everything(pictures());
    for (int cut = 0; cut < 2; cut++) {
        o.augment = (struct augment_options){ .mixup = cut ? 0 : 0.5, .cutmix = cut ? 2 : 0 };
        dataset *d = data_open(&o);
        loader *l = loader_open(d, &o);
        loader_start(l, 2, 0);
        for (const struct batch *b; (b = loader_next(l)); loader_release(l, b))
            for (int k = 0; k < b->n; k++) {
                const struct recipe *r = &b->recipes[k];
                f64 area = (f64)((r->mixed[1] - r->mixed[0]) * (r->mixed[3] - r->mixed[2])) / (SIDE * SIDE);
                f32 one = (255 - o.mean[0]) / o.std[0];
                f32 own = cut ? (f32)(1 - area) : b->values->own[0][255] / one, want[3] = { 0 };
                want[b->labels[k]] += own;
                want[b->labels[r->partner]] += 1 - own;
                assert_int_equal(b->labels[k], data_label(d, b->index[k]));
                assert_true(cut || area == 1);
                for (int c = 0; c < 3; c++)
                    assert_true(fabsf(want[c] - b->soft_labels[3 * k + c]) < 1e-6f);
            }
        loader_close(l);
        data_close(d);
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, memory_open, memory_close)
    const struct CMUnitTest tests[] = {
        TEST(every_key_sets_its_fields), TEST(every_field_moves_its_bytes), TEST(evaluation_draws_nothing),
        TEST(each_kind_follows_seed_epoch_and_sample), TEST(kinds_do_not_share_draws),
        TEST(draws_of_a_seed_stay), TEST(centre_crops),
        TEST(without_a_short_edge), TEST(values_of_each_channel), TEST(fills), TEST(soft_labels),
    };
    return cmocka_run_group_tests(tests, NULL, scratch_close);
}
