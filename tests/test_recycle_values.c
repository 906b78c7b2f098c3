/* test_recycle_values.c: recycling where every wrong choice gives another answer: what is measured, over
 * which images and how averaged; which units are picked by which metric, from which blocks; what the
 * statistics that are kept depend on. */
#include "recycle_help.h"
#include "laws.h"
#include "recycle/stage.h"
#include <dirent.h>

static struct spec *parsed(const char *text, const char *set)
{
    struct spec *s = arena_one(room, struct spec);
    const char *keys[8], *rest = set;
    struct spec_set sets[8];
    int n = 0;
    for (; rest && *rest; rest = *rest ? rest + 2 : rest) {
        int m = (int)strcspn(rest, ";");
        keys[n] = arena_printf(room, "%.*s", m, rest);
        sets[n] = (struct spec_set){ "--set", keys[n] };
        n++;
        rest += m;
    }
    if (spec_parse(s, room, "test", text, sets, n))
        fail_msg("%s", fail_message());
    return s;
}

/* ---- which images, and how they are averaged ----------------------------------------------------------- */

#define SMALL "arch: vit, image: 16, patch: 8, depth: 2, mlp_ratio: 2, dim: 8, heads: 2, classes: 3"
enum { KINDS = 5, IMAGES = 40 };

/* IMAGES files of KINDS pictures: sample i is picture 3 i mod 5. And a set of each picture alone. */
static const char *image_sets(void)
{
    for (int i = 0; i < IMAGES + KINDS; i++) {
        int kind = i < IMAGES ? 3 * i % KINDS : i - IMAGES;
        struct image m = picture(24, 20, (u32)kind);
        const char *path = i < IMAGES ? at("all/train/x/%02d.png", i) : at("alone%d/train/x/0.png", kind);
        write_png(path, &m, PNG_COLOR_TYPE_RGB, 8, false, false);
    }
    return at("all");
}

static const char *dense(const char *name)
{
    const char *path = at("%s", name);
    struct spec *s = parsed("seed: 5\nmodel: {" SMALL "}", "");
    params *p = model_open(device, s, PARAMS_FORWARD);
    if (!p || model_save(p, s, path, NULL))
        fail_msg("%s", fail_message());
    params_free(p);
    return path;
}

static const char *experiment(const char *predecessor, const char *root)
{
    return arena_printf(room, "seed: 3407\ndata: {set: folder, root: '%s', train: train}\n"
        "model: {" SMALL ", moe: {layers: [1], core: 3, universal: 5}}\neval: {crop: 1}\n"
        "recycle: {from: {experts: '%s'}, images: 7, batch: 4}\n", root, predecessor);
}

static struct statistics measured(const char *predecessor, const char *root, const char *set)
{
    struct spec *s = parsed(experiment(predecessor, root), set);
    struct predecessor p;
    struct statistics st;
    fail_clear();
    if (predecessor_open(&p, s, s->recycle.from.experts, room)
        || statistics_get(&p, s, device, true, room, &st))
        fail_msg("%s: %s", set, fail_message());
    predecessor_close(&p);
    return st;
}

static void near_value(const char *what, int unit, f64 got, f64 want)
{
    if (!(fabs(got - want) <= 2e-5 * fabs(want) + 1e-9))
        fail_msg("%s of unit %d: %.9g, expected %.9g", what, unit, got, want);
}

/* The statistics of many images from those of each alone: batches of `batch` are averaged (0: all are
 * summed), the last one however short it is. */
static void averaged(const char *path, const char *set, const int *sample, int n, int batch)
{
    struct statistics alone[KINDS], st;
    for (int k = 0; k < KINDS; k++)
        alone[k] = measured(path, at("alone%d", k), "recycle.images=1; recycle.batch=1");
    st = measured(path, at("all"), set);
    int whole = batch ? batch : n, batches = CEIL_DIV(n, whole), share = batch ? batches : 1;
    for (enum site site = 0; site < SITES; site++)
        for (int l = 0; l < 2; l++) {
            const struct activity *x = &st.of[site][l];
            f32 *pair = arena_array(room, f32, x->width * x->width);
            for (int u = 0; u < x->width; u++) {
                f64 l1 = 0, l2 = 0, count = 0;
                for (int b = 0; b < batches; b++) {
                    f64 square = 0;
                    for (int i = b * whole; i < MIN(n, (b + 1) * whole); i++) {
                        const struct activity *one = &alone[3 * sample[i] % KINDS].of[site][l];
                        l1 += one->l1[u] / share;
                        square += one->l2[u] * one->l2[u];
                        count += one->count[u] / share;
                        for (int v = 0; v < x->width; v++)
                            pair[u * x->width + v] += one->together[u * x->width + v] / (f32)share;
                    }
                    l2 += sqrt(square) / share;
                }
                near_value("l1", u, x->l1[u], l1);
                near_value("l2", u, x->l2[u], l2);
                near_value("count", u, x->count[u], count);
                for (int v = 0; v < x->width; v++)
                    near_value("together", u, x->together[u * x->width + v], pair[u * x->width + v]);
            }
        }
}

static void averages_of_batches_and_of_all(void **state)
{
    (void)state;
    const char *path = dense("dense.safetensors");
    int first[IMAGES], spread[IMAGES];
    image_sets();
    for (int i = 0; i < IMAGES; i++)
        first[i] = i;
    for (int i = 0; i < 7; i++)
        spread[i] = i * IMAGES / 7;
    averaged(path, "recycle.average=batch", first, 7, 4);                     // 4 and 3
    averaged(path, "recycle.average=batch; recycle.batch=3; recycle.images=8", first, 8, 3);
    averaged(path, "recycle.average=batch; recycle.batch=35; recycle.images=40", first, 40, 35); // in 5 parts
    averaged(path, "recycle.average=batch; recycle.batch=100; recycle.images=9", first, 9, 100);
    averaged(path, "recycle.average=all", spread, 7, 0);
}

/* ---- the predecessor's own mean and std ---------------------------------------------------------------- */

static void same_reals(const char *what, reals got, int n, f64 want)
{
    if (got.n != n || (n && (got.v[0] != want || got.v[1] != want || got.v[2] != want)))
        fail_msg("%s: %d numbers, the first %g; expected %d of %g", what, got.n, got.n ? got.v[0] : 0, n, want);
}

static void normalisation_of_the_predecessor(void **state)
{
    (void)state;
    const char *plain = dense("plain.safetensors"), *augreg = dense("vit.augreg_in21k.safetensors");
    const char *root = image_sets(), *said = at("said.augreg.safetensors");
    ckpt *from = ckpt_open(plain), *c = ckpt_new();
    for (int i = 0; i < ckpt_count(from); i++) {
        const tensor *t = ckpt_at(from, i);
        ckpt_add(c, t->name, t->type, t->nd, t->shape, tensor_data(t));
    }
    ckpt_set_meta(c, "heads", "2");
    ckpt_set_meta(c, "mean", "11 11 11");
    ckpt_set_meta(c, "std", "12 12 12");
    assert_int_equal(ckpt_save(c, said), 0);
    ckpt_close(c);
    ckpt_close(from);
    const struct { const char *path, *set; int n; f64 mean, std; } row[] = {
        { plain, "", 0, 0, 0 }, { augreg, "", 3, 127.5, 127.5 }, { said, "", 3, 11, 12 },
        { augreg, "recycle.from.mean=[5, 5, 5]; recycle.from.std=[6, 6, 6]", 3, 5, 6 },
        { said, "recycle.from.mean=[5, 5, 5]; recycle.from.std=[6, 6, 6]", 3, 5, 6 },
    };
    for (int i = 0; i < countof(row); i++) {
        struct spec *s = parsed(experiment(row[i].path, root), row[i].set);
        struct predecessor p;
        assert_int_equal(predecessor_open(&p, s, row[i].path, room), 0);
        same_reals(row[i].path, p.s.data.mean, row[i].n, row[i].mean);
        same_reals(row[i].path, p.s.data.std, row[i].n, row[i].std);
        predecessor_close(&p);
    }
    // and the images are measured with them
    const char *given[] = { "", "recycle.from.mean=[127.5]; recycle.from.std=[127.5]",
                            "recycle.from.mean=[127.5]", "recycle.from.std=[127.5]" };
    f64 want = measured(augreg, root, "").of[SITE_CHANNEL][0].l1[3], got[4];
    for (int i = 0; i < 4; i++) {
        got[i] = measured(plain, root, given[i]).of[SITE_CHANNEL][0].l1[3];
        assert_true((got[i] == want) == (i == 1));
        for (int k = 0; k < i; k++)
            assert_true(got[i] != got[k]);
    }
}

/* ---- what kept statistics depend on -------------------------------------------------------------------- */

/* The file `from` once more at `to`, with one bit of a weight flipped or none; heads: NULL, or as it says. */
static const char *again(const char *from, const char *to, bool flipped, const char *heads)
{
    ckpt *c = ckpt_open(from), *changed = ckpt_new();
    for (int i = 0; i < ckpt_count(c); i++) {
        const tensor *t = ckpt_at(c, i);
        u8 *v = (u8 *)arena_copy(room, tensor_data(t), t->bytes);
        v[0] ^= flipped && i == 3;
        ckpt_add(changed, t->name, t->type, t->nd, t->shape, v);
    }
    if (heads)
        ckpt_set_meta(changed, "heads", heads);
    ckpt_close(c);
    assert_int_equal(ckpt_save(changed, to), 0);
    ckpt_close(changed);
    return to;
}

/* Each line makes one more file in the cache, or none; and all again make none. */
static void the_key_of_kept_statistics(void **state)
{
    (void)state;
    const char *one = dense("key1.safetensors"), *root = image_sets();
    const char *two = again(one, at("key2.safetensors"), true, "2"),
               *silent = again(one, at("key3.safetensors"), false, NULL);         // its heads can be said
    dev_set_cache_dir(at("keys"));
    const char *folder = at("keys/statistics");
    struct image m = picture(24, 20, 9);
    for (int i = 0; i < 10; i++) {                // as many, under other names, and of another split
        write_png(at("all/more/x/%02d.png", i), &m, PNG_COLOR_TYPE_RGB, 8, false, false);
        write_png(at("other/train/x/%c.png", 'a' + i), &m, PNG_COLOR_TYPE_RGB, 8, false, false);
    }
    const struct { bool measured; const char *predecessor, *root, *set; } row[] = {
        { true, one, root, "" }, { false, one, root, "" },
        { true, one, root, "data.exif=off" }, { true, one, root, "data.interpolation=bilinear" },
        { true, one, root, "data.train=more" }, { true, one, at("other"), "" },
        { true, one, root, "recycle.from.mean=[1, 2, 3]" }, { true, one, root, "recycle.from.mean=[1, 2, 4]" },
        { true, one, root, "recycle.from.std=[1, 2, 3]" }, { true, one, root, "recycle.from.std=[1, 5, 3]" },
        { false, one, root, "data.mean=[1, 2, 3]" }, { false, one, root, "data.std=[1, 5, 3]" },
        { true, one, root, "recycle.image=24" },
        { false, one, root, "recycle.image=16" },   // auto: the successor's
        { false, one, root, "model.image=24" }, { false, one, root, "model.image=32; recycle.image=24" },
        { true, one, root, "model.image=40" },
        { true, one, root, "recycle.crop=0.9" }, { true, one, root, "eval.crop=0.8" },
        { true, one, root, "recycle.images=6" }, { true, one, root, "recycle.batch=3" },
        { true, one, root, "recycle.average=all" },
        { false, one, root, "recycle.average=all; recycle.batch=3" },
        { true, one, root, "recycle.threshold=percentile" },
        { true, one, root, "recycle.threshold=percentile; recycle.percentile=80" },
        { true, one, root, "recycle.threshold=mean_std" }, { false, one, root, "recycle.percentile=80" },
        { true, silent, root, "recycle.from.heads=2" }, { true, silent, root, "recycle.from.heads=4" },
        { true, two, root, "" },
        { false, one, root, "seed=5" }, { false, one, root, "recycle.metric=l1" },
        { false, one, root, "recycle.strategy=graph" }, { false, one, root, "threads=3" },
        { false, one, root, "train.batch=9; eval.batch=3; augment.flip=off" },
    };
    for (int twice = 0; twice < 2; twice++)
        for (int i = 0; i < countof(row); i++) {
            int before = files_in(folder);
            measured(row[i].predecessor, row[i].root, row[i].set);
            if (files_in(folder) - before != (row[i].measured && !twice))
                fail_msg("row %d, '%s': %d new files", i, row[i].set, files_in(folder) - before);
        }
    // sample 34 is one of the seven that are spread over the set, but not of the first seven
    struct image large = picture(60, 50, 1);
    write_png(at("all/train/x/34.png"), &large, PNG_COLOR_TYPE_RGB, 8, false, false);
    for (int spread = 0; spread < 2; spread++) {
        int before = files_in(folder);
        measured(one, root, spread ? "recycle.average=all" : "recycle.average=batch");
        assert_int_equal(files_in(folder) - before, spread);
    }
    dev_set_cache_dir(scratch());
}

/* ---- which units, by which number, of which blocks ----------------------------------------------------- */

/* Two stages of two blocks: channels 6, neurons 8 in each. */
static struct block_shape blocks[4] = { { 0, 0, 6, 8 }, { 0, 1, 6, 8 }, { 1, 0, 6, 8 }, { 1, 1, 6, 8 } };
static struct block_shape narrower[4] = { { 0, 0, 3, 4 }, { 0, 1, 3, 4 }, { 1, 0, 3, 4 }, { 1, 1, 3, 4 } };
static const struct anatomy wide = { .convnext = true, .stages = 2, .depth = 4, .block = blocks };
static const struct anatomy narrow = { .convnext = true, .stages = 2, .depth = 4, .block = narrower };

static struct statistics made(void)
{
    struct statistics st = { .depth = 4 };
    for (enum site site = 0; site < SITES; site++) {
        st.of[site] = arena_array(room, struct activity, 4);
        for (int l = 0; l < 4 && site != SITE_ATTN; l++) {
            struct activity *x = &st.of[site][l];
            int n = x->width = site == SITE_HIDDEN ? 8 : 6;
            x->l1 = arena_array(room, f64, n), x->l2 = arena_array(room, f64, n);
            x->count = arena_array(room, f64, n), x->together = arena_array(room, f32, n * n);
            for (int i = 0; i < n; i++)
                x->l1[i] = x->l2[i] = x->count[i] = 1;
        }
    }
    return st;
}

static struct spec *picking(const char *set)
{
    return parsed("seed: 11\nmodel: {arch: convnext, image: 64, depths: [2, 2], dims: [3, 3], classes: 2}\n"
                  "recycle: {cut: paper}\n", set);
}

static struct picks picked(const struct spec *s, const struct statistics *st)
{
    struct picks p;
    if (picks_make(s, &wide, &narrow, st, room, &p))
        fail_msg("%s", fail_message());
    return p;
}

static void same_list(const char *what, const i32 *got, const i32 *want, int n)
{
    for (int i = 0; i < n; i++)
        if (got[i] != want[i])
            fail_msg("%s: index %d is %d, expected %d", what, i, got[i], want[i]);
}
#define SAME(what, got, ...) \
    same_list(what, got, (const i32[]){ __VA_ARGS__ }, countof(((const i32[]){ __VA_ARGS__ })))

/* Channels by the sum over their stage's blocks: neither block alone, nor the other stage, picks these three.
 * */
static void channels_by_their_stage(void **state)
{
    (void)state;
    struct statistics st = made();
    static const f64 score[4][6] = { { 9, 0, 6, 5, 1, 5 }, { 0, 9, 6, 5, 1, 5 },
                                     { 1, 5, 5, 0, 6, 9 }, { 1, 5, 5, 9, 6, 0 } };
    for (int l = 0; l < 4; l++)
        memcpy(st.of[SITE_CHANNEL][l].l2, score[l], sizeof score[l]);
    struct picks p = picked(picking("recycle.metric=l2"), &st);
    SAME("stage 0", p.channel[0], 2, 3, 5);
    SAME("stage 1", p.channel[1], 1, 2, 4);
}

/* Three numbers for a unit, three answers. */
static void units_by_the_metric(void **state)
{
    (void)state;
    struct statistics st = made();
    static const f64 l1[8] = { 9, 8, 7, 6, 1, 1, 1, 1 }, l2[8] = { 1, 1, 7, 7, 7, 7, 1, 1 };
    static const f64 count[8] = { 1, 1, 1, 1, 5, 5, 5, 5 };
    for (int l = 0; l < 4; l++) {
        memcpy(st.of[SITE_HIDDEN][l].l1, l1, sizeof l1), memcpy(st.of[SITE_CHANNEL][l].l1, l1, 48);
        memcpy(st.of[SITE_HIDDEN][l].l2, l2, sizeof l2), memcpy(st.of[SITE_CHANNEL][l].l2, l2, 48);
        memcpy(st.of[SITE_HIDDEN][l].count, count, sizeof count);
    }
    SAME("l1", picked(picking("recycle.metric=l1"), &st).block[1].hidden, 0, 1, 2, 3);
    SAME("l2", picked(picking("recycle.metric=l2"), &st).block[1].hidden, 2, 3, 4, 5);
    SAME("count", picked(picking("recycle.metric=count"), &st).block[1].hidden, 4, 5, 6, 7);
    SAME("channels", picked(picking("recycle.metric=l1"), &st).channel[1], 0, 1, 2);
    SAME("channels", picked(picking("recycle.metric=l2"), &st).channel[1], 2, 3, 4);
}

/* Each block by its own statistics. */
static void neurons_by_their_block(void **state)
{
    (void)state;
    struct statistics st = made();
    for (int l = 0; l < 4; l++)
        for (int i = 0; i < 8; i++)
            st.of[SITE_HIDDEN][l].l2[i] = i >= l && i < l + 4 ? 5 : 1;
    struct picks p = picked(picking(""), &st);
    for (int l = 0; l < 4; l++) {
        assert_int_equal(p.block[l].from, l);
        SAME("hidden", p.block[l].hidden, l, l + 1, l + 2, l + 3);
    }
}

/* The co-activation of a stage's blocks is added up as well: pairs 03 12 only win in the sum. */
static void communities_of_a_stage(void **state)
{
    (void)state;
    static const f32 pair[2][4][4] = {
        { { 0, 4, 0, 3 }, { 4, 0, 3, 0 }, { 0, 3, 0, 4 }, { 3, 0, 4, 0 } },           // 01 23
        { { 0, 0, 4, 3 }, { 0, 0, 3, 4 }, { 4, 3, 0, 0 }, { 3, 4, 0, 0 } },           // 02 13
    };
    struct block_shape from[2] = { { 0, 0, 4, 4 }, { 0, 1, 4, 4 } }, to[2] = { { 0, 0, 2, 2 }, { 0, 1, 2, 2 } };
    struct anatomy big = { .convnext = true, .stages = 1, .depth = 2, .block = from }, small = big;
    struct statistics st = made();
    small.block = to;
    st.depth = 2;
    for (int l = 0; l < 2; l++)
        for (int site = 0; site < SITES; site++)
            if (site != SITE_ATTN) {
                st.of[site][l].width = 4;
                memcpy(st.of[site][l].together, pair[l], sizeof pair[l]);
            }
    struct spec *s = picking("recycle.strategy=graph; recycle.graph=louvain; recycle.resolution=1.4");
    int seen = 0;
    for (s->seed = 0; s->seed < 20; s->seed++) {
        struct picks p;
        assert_int_equal(picks_make(s, &big, &small, &st, room, &p), 0);
        const i32 *c = p.channel[0], *h = p.block[0].hidden, *g = p.block[1].hidden;
        assert_true((c[0] == 0 && c[1] == 3) || (c[0] == 1 && c[1] == 2));
        assert_true((h[0] == 0 && h[1] == 1) || (h[0] == 2 && h[1] == 3));
        assert_true((g[0] == 0 && g[1] == 2) || (g[0] == 1 && g[1] == 3));
        seen |= 1 << c[0];
    }
    assert_int_equal(seen, 3);
}

/* ---- from the experiment's keys to a choice ------------------------------------------------------------ */

/* Expert lists are those of the choice as it is described here. The kinds of draws are part of results: 3 and
 * 4 are an expert's channels and neurons, 5 a universal expert's neurons of the dense predecessor. */
enum { EXPERT_CHANNELS = 3, EXPERT_NEURONS = 4 };

static const i32 *chosen(const char *strategy, struct choice c)
{
    i32 *out = arena_array(room, i32, c.sets * c.subset);
    c.what = "expected";
    c.scratch = room;
    if (recycle_choose(strategy_find(strategy), &c, out))
        fail_msg("%s", fail_message());
    return out;
}

static void keys_reach_the_choice(void **state)
{
    (void)state;
    enum { DIM = 16, NEURONS = 40, CORE = 3, UNIVERSAL = 2, SETS = CORE + UNIVERSAL };
    struct block_shape from = { 0, 0, DIM, NEURONS }, to = { 0, 0, 8, 20, CORE, UNIVERSAL, 5 };
    struct anatomy big = { .convnext = true, .stages = 1, .depth = 1, .block = &from }, small = big;
    struct statistics st = { .depth = 1 };
    rng r = rng_at(3, RNG_TEST, 0, 0);
    small.block = &to;
    for (enum site site = 0; site < SITES; site++) {
        int n = site == SITE_HIDDEN ? NEURONS : site == SITE_CHANNEL ? DIM : 0;
        struct activity *x = st.of[site] = arena_one(room, struct activity);
        *x = (struct activity){ n, arena_array(room, f64, n), arena_array(room, f64, n),
                                arena_array(room, f64, n), arena_array(room, f32, n * n) };
        for (int i = 0; i < n; i++) {
            x->l1[i] = rng_unit(&r), x->l2[i] = rng_unit(&r), x->count[i] = 1 + rng_below(&r, 99);
            for (int j = 0; j < i; j++)
                x->together[i * n + j] = x->together[j * n + i] = (f32)rng_below(&r, i % 4 == j % 4 ? 90 : 60);
        }
    }
    static const struct { const char *key; struct choice is; int metric; const char *strategy; } row[] = {
        { "recycle.strategy=importance", { .seed = 11 }, 2, "importance" },
        { "recycle.strategy=importance; seed=12", { .seed = 12 }, 2, "importance" },
        { "recycle.strategy=importance; recycle.metric=l1", { .seed = 11 }, 1, "importance" },
        { "recycle.strategy=importance; recycle.metric=count", { .seed = 11 }, 3, "importance" },
        { "recycle.strategy=random", { .seed = 11 }, 2, "random" },
        { "recycle.strategy=uniform", { .spacing = SPACING_ROUND }, 2, "uniform" },
        { "recycle.strategy=uniform; recycle.rounding=down", { .spacing = SPACING_TRUNCATE }, 2, "uniform" },
        { "recycle.strategy=uniform; recycle.rounding=floor", { .spacing = SPACING_FLOOR }, 2, "uniform" },
        { "recycle.strategy=graph; recycle.parts=5", { .seed = 11, .parts = 5, .prefix = true }, 2, "graph" },
        { "recycle.strategy=graph; recycle.parts=3", { .seed = 11, .parts = 3, .prefix = true }, 2, "graph" },
        { "recycle.strategy=graph; recycle.parts=5; recycle.edge_weights=off",
          { .seed = 11, .parts = 5, .prefix = true, .unweighted = true }, 2, "graph" },
        { "recycle.strategy=graph; recycle.graph=louvain",
          { .seed = 11, .cutter = GRAPH_LOUVAIN, .resolution = 1.05, .prefix = true }, 2, "graph" },
        { "recycle.strategy=graph; recycle.graph=louvain; recycle.resolution=1.6",
          { .seed = 11, .cutter = GRAPH_LOUVAIN, .resolution = 1.6, .prefix = true }, 2, "graph" },
        { "recycle.strategy=graph; recycle.graph=louvain; recycle.cut=paper",
          { .seed = 11, .cutter = GRAPH_LOUVAIN, .resolution = 1.05 }, 2, "graph" },
    };
    const i32 *all[countof(row)];
    for (int i = 0; i < countof(row); i++) {
        struct spec *s = parsed("seed: 11\nrecycle: {cut: released}\n", row[i].key);
        struct picks p;
        if (picks_make(s, &big, &small, &st, room, &p))
            fail_msg("%s: %s", row[i].key, fail_message());
        struct choice c = row[i].is;
        const struct activity *x = st.of[SITE_HIDDEN];
        c.total = NEURONS, c.subset = 20, c.sets = SETS, c.place = (u64)EXPERT_NEURONS << 32;
        c.score = row[i].metric == 1 ? x->l1 : row[i].metric == 2 ? x->l2 : x->count;
        c.together = x->together;
        same_list(row[i].key, p.block->expert_hidden, all[i] = chosen(row[i].strategy, c), SETS * 20);
        for (int k = 0; k < i; k++)               // or the key would not be seen to matter
            if (!memcmp(all[i], all[k], sizeof(i32) * SETS * 20))
                fail_msg("'%s' chooses what '%s' does", row[i].key, row[k].key);
        bool paper = strstr(row[i].key, "paper");
        assert_true((p.block->expert_channel == NULL) == paper);
        if (paper || !strcmp(row[i].strategy, "graph"))
            continue;
        x = st.of[SITE_CHANNEL];
        c.total = DIM, c.subset = 8, c.place = (u64)EXPERT_CHANNELS << 32, c.together = NULL;
        c.score = row[i].metric == 1 ? x->l1 : row[i].metric == 2 ? x->l2 : x->count;
        same_list(row[i].key, p.block->expert_channel, chosen(row[i].strategy, c), SETS * 8);
        c = (struct choice){ .total = 20, .subset = 5, .sets = 1, .spacing = SPACING_ROUND };
        if (!strcmp(row[i].strategy, "uniform"))
            c.spacing = row[i].is.spacing;
        same_list("narrow", p.block->narrow, chosen("uniform", c), 5);
    }
}

/* ---- what is said of it -------------------------------------------------------------------------------- */

static void the_report_has_every_layer(void **state)
{
    (void)state;
    struct layer_report layer[] = {
        { .block = 3, .mass_core = .5, .mass_universal = .125, .mass_channels = .75, .overlap_core = .25,
          .overlap_universal = 0, .coverage = 1, .parts = 4, .cut = .0625, .modularity = .5 },
        { .block = 7, .mass_core = .1, .mass_universal = .2, .mass_channels = .3, .overlap_core = NAN,
          .overlap_universal = .4, .coverage = .9, .parts = 5, .cut = 1, .modularity = -.25 } };
    struct recycle_report r = { "graph", "l2", false, .6, 2, layer, NAN, NAN };
    char *text = NULL;
    size_t n;
    FILE *f = open_memstream(&text, &n);
    recycle_report_text(f, &r);
    recycle_report_text(f, &(struct recycle_report){ "copy", "l1", true, NAN, 0, NULL, .25, .5 });
    fclose(f);
    assert_string_equal(text,
        "strategy graph, importance by l2; shares in % of the predecessor's block, for the mean expert\n"
        "                    importance held      overlap (Jaccard)    neurons   co-activation\n"
        "block     core  universal  channels        core  universal     in use"
        "   parts     cut  modularity\n"
        "3         50.0       12.5      75.0        25.0        0.0      100.0       4     6.2      0.5000\n"
        "7         10.0       20.0      30.0           -       40.0       90.0       5   100.0     -0.2500\n"
        "the residual stream keeps channels of 60.0 % of the importance\n"
        "strategy copy, importance by l1; a model without experts\n"
        "before training, class scores differ from those of recycle.from.dense by 25.0 %\n"
        "of their length; the first class is the same for 50.0 % of the images\n");
    free(text);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, memory_open, memory_close)
    const struct CMUnitTest tests[] = {
        T(averages_of_batches_and_of_all), T(normalisation_of_the_predecessor), T(the_key_of_kept_statistics),
        T(channels_by_their_stage), T(units_by_the_metric), T(neurons_by_their_block),
        T(communities_of_a_stage), T(keys_reach_the_choice), T(the_report_has_every_layer),
    };
    return cmocka_run_group_tests(tests, recycle_begin, recycle_end);
}
