/* test_analysed.c: what an analysis reads of a model and leaves as files, computed again from the network's own
 * arrays: maps, attention, silenced experts, distances, tables, pictures. */
#define mem own                                  // dev.h has a type of that name
#include "data_help.h"
#undef mem
#include "study/analyse.h"

enum { IMAGES = 6, CLASSES = 3, CORE = 2, UNIVERSAL = 3, EXPERTS = CORE + UNIVERSAL, SIDE = 16, GAP = 6,
       TILE = 160 };

/* Image i: each patch has a colour of its own. */
static u8 paint(int i, i64 patch, i64 c) { return (u8)(40 * i + 37 * patch * (c + 1) + 11 * i * c); }

static struct session e;
static struct analysis x;
static loader *l;

static void near(f64 got, f64 want)
{
    if (!(fabs(got - want) <= 1e-5 * fmax(1, fabs(want))))
        fail_msg("got %.9g, want %.9g", got, want);
}

static f32 *read_node(const node *n)
{
    f32 *v = arena_array(own, f32, node_count(n));
    assert_int_equal(node_read(n, v), 0);
    return v;
}

/* Expert k of a parameter (all of it: k < 0) times c. */
static void scale(const char *name, i64 k, f32 c)
{
    struct param *p = params_find(e.p, name);
    assert_non_null(p);
    i64 n = shape_count(p->shape), each = k < 0 ? n : n / p->shape.d[0];
    f32 *v = arena_array(own, f32, n);
    assert_int_equal(params_read(e.p, p, v), 0);
    LOOP(i, each) v[MAX(k, 0) * each + i] *= c;
    assert_int_equal(params_write(e.p, p, v), 0);
}

/* Experts `from` and `to` get the same weights. */
static void copy_expert(const char *name, i64 from, i64 to)
{
    struct param *p = params_find(e.p, name);
    i64 n = shape_count(p->shape), each = n / p->shape.d[0];
    f32 *v = arena_array(own, f32, n);
    assert_int_equal(params_read(e.p, p, v), 0);
    memcpy(v + to * each, v + from * each, sizeof *v * (size_t)each);
    assert_int_equal(params_write(e.p, p, v), 0);
}

static void draw(const char *name)
{
    struct param *p = params_find(e.p, name);
    i64 n = shape_count(p->shape);
    f32 *v = arena_array(own, f32, n);
    rng g = rng_at(5, RNG_TEST, 0, 0);
    LOOP(i, n) v[i] = (f32)rng_normal(&g);
    assert_int_equal(params_write(e.p, p, v), 0);
}

#define MLP "blocks.1.mlp."
static const char *const of_core[] = { MLP "core_experts.vit_fc1.weight", MLP "core_experts.vit_fc1.bias",
                                       MLP "core_experts.vit_fc2.weight", MLP "core_experts.vit_fc2.bias" };
static const char *const of_universal[] = { MLP "univ_experts.vit_fc1.weight", MLP "univ_experts.vit_fc1.bias",
                                            MLP "univ_experts.vit_fc2.weight",
                                            MLP "univ_experts.vit_fc2.bias" };

/* Six pictures of three classes; core expert 1 twice, universal expert 2 (4 of all) four times what was
 * recycled. */
static void set_up(const char *pool)
{
    struct spec s;
    const char *set[] = { "data.set=folder", arena_printf(own, "data.root=%s", at("set")), "data.eval=test",
                          "data.mean=[127.5]", "data.std=[64]", "eval.crop=1",
                          "model.arch=vit", "model.image=16", "model.patch=4", "model.dim=12", "model.depth=2",
                          "model.heads=2", "model.classes=3", "model.moe.layers=[1]", "model.moe.core=2",
                          "model.moe.universal=3", "model.moe.init=paper", "model.moe.slots=2",
                          "model.moe.multi_head=on", pool };
    struct spec_set sets[countof(set)];
    for (int i = 0; i < IMAGES; i++) {
        struct image m = { 0 };
        assert_int_equal(image_room(own, &m, SIDE, SIDE), 0);
        LOOP(y, SIDE) LOOP(z, SIDE) LOOP(c, 3)
            m.rgb[(y * SIDE + z) * 3 + c] = paint(i, y / 4 * 4 + z / 4, c);
        write_png(at("set/test/%c/%d.png", 'a' + i / 2, i), &m, PNG_COLOR_TYPE_RGB, 8, false, false);
    }
    LOOP(i, countof(set)) sets[i] = (struct spec_set){ "test", set[i], NULL };
    if (spec_load(&s, own, NULL, sets, countof(set)) || session_open(&e, &s, SESSION_EVAL_DATA, NULL))
        fail_msg("%s", fail_message());
    LOOP(i, 4) copy_expert(of_universal[i], 0, 1);         // twins by their weights
    assert_int_equal(session_save(&e, e.p, at("recycled.safetensors")), 0);
    LOOP(i, 4) scale(of_core[i], 1, 2), scale(of_universal[i], 2, 4);
    draw("head.weight");
    x = (struct analysis){ .a = own, .show = 4, .of = IMAGES, .each = true, .labelled = true,
                           .checkpoint = "model.safetensors", .save_images = at("images.safetensors") };
    e.eval_options.batch = IMAGES;
    if (analyse_open(&x, &e, IMAGES) || !(l = loader_open(e.eval, &e.eval_options)) || analyse_images(&x, l)
        || analyse_moves(&x, at("recycled.safetensors"), NULL, 0))
        fail_msg("%s", fail_message());
}

static void tear_down(void)
{
    loader_close(l);
    analyse_close(&x);
    session_close(&e);
}

/* Images 0, 2, 3 and 5 of six are shown: i of / show, rounded up. */
static const int shown[] = { 0, 1, 3, 4 };

/* softmax(q k / sqrt(d)) of the queries [from, to), its mean. */
static void expect_attention(int layer, int from)
{
    const f32 *v = read_node(x.qkv[layer]);
    i64 n = x.attention_tokens, d = 12, k = 6, to = from ? n : 1;
    LOOP(place, 4) LOOP(t, n) {
        const f32 *of = v + shown[place] * n * 3 * d;
        f64 want = 0;
        for (i64 q = from; q < to; q++)
            LOOP(h, 2) {
                f64 sum = 0, this = 0;
                LOOP(other, n) {
                    f64 dot = 0;
                    LOOP(j, k) dot += (f64)of[q * 3 * d + h * k + j] * (f64)of[(other * 3 + 1) * d + h * k + j];
                    sum += exp(dot / sqrt((f64)k));
                    this = other == t ? exp(dot / sqrt((f64)k)) : this;
                }
                want += this / sum / (f64)(2 * (to - from));
            }
        near((f64)x.attention[(place * 2 + layer) * n + t], want);
    }
}

static void test_attention(void **state)
{
    (void)state;
    set_up("model.pool=token");
    assert_int_equal(x.attention_tokens, 17);
    expect_attention(0, 0);
    expect_attention(1, 0);
    tear_down();
}

/* Sums over slots and means over heads of C, means over both of D. */
static void expect_maps(void)
{
    const struct layer_analysis *y = &x.layer[0];
    const f32 *disp = read_node(y->dispatch), *comb = read_node(y->combine);
    i64 n = y->tokens, s = y->slots, h = y->heads;
    LOOP(place, 4) LOOP(t, n) LOOP(k, EXPERTS) {
        f64 d = 0, c = 0;
        LOOP(head, h) LOOP(slot, s) {
            i64 from = (((shown[place] * h + head) * n + t) * EXPERTS + k) * s + slot;
            d += (f64)disp[from] / (f64)(h * s);
            c += (f64)comb[from] / (f64)h;
        }
        near((f64)y->dispatch_map[(place * n + t) * EXPERTS + k], d);
        near((f64)y->combine_map[(place * n + t) * EXPERTS + k], c);
    }
}

static int likeliest(const f32 *z)
{
    return z[1] > z[0] ? z[2] > z[1] ? 2 : 1 : z[2] > z[0] ? 2 : 0;
}

/* Each entry's mask by hand, through the same graph. */
static void expect_silenced(void)
{
    int changes = 0;
    f32 mask[EXPERTS];
    assert_int_equal(analyse_write_mask(&x, 0, 0, 0), 0);
    assert_int_equal(graph_run(x.g), 0);
    f32 *base = read_node(x.logits);
    assert_int_equal(x.n_silenced, 2 + EXPERTS);
    for (int i = 0; i < x.n_silenced; i++) {
        const struct silenced *s = &x.silenced[i];
        int first = i < 2 ? i * CORE : i - 2, count = i < 2 ? i ? UNIVERSAL : CORE : 1, right = 0, changed = 0;
        assert_true(s->first == first && s->count == count && s->layer == 0);
        LOOP(k, EXPERTS) mask[k] = k < first || k >= first + count;
        assert_int_equal(node_write(x.layer[0].mask, mask) || graph_run(x.g), 0);
        f32 *z = read_node(x.logits);
        LOOP(k, IMAGES) {
            right += likeliest(z + k * CLASSES) == k / 2;
            changed += likeliest(z + k * CLASSES) != likeliest(base + k * CLASSES);
        }
        assert_true(s->right == right && s->changed == changed);
        changes += changed;
    }
    assert_true(changes > 0 && changes < IMAGES * x.n_silenced);
}

/* ---- files --------------------------------------------------------------------------------------------- */

static f64 number_at(const json_t *j, const char *key, const char *below)
{
    j = json_object_get(below ? json_object_get(j, key) : j, below ? below : key);
    return json_is_number(j) ? json_number_value(j) : json_is_boolean(j) ? json_is_true(j) : NAN;
}

static int nearest(const struct load *d, int k)
{
    int best = k ? 0 : 1;
    for (int o = 0; o < EXPERTS; o++)
        best = o != k && load_alike(d, k, o) > load_alike(d, k, best) ? o : best;
    return best;
}

static void expect_expert(const json_t *j, int k, const char *csv)
{
    const struct layer_analysis *y = &x.layer[0];
    const struct load *d = &y->load;
    const struct silenced *s = &x.silenced[2 + k];
    const f64 moved[EXPERTS] = { 0, 1, 0, 0, 3 };
    f64 square = 0, cell[4];
    int top, other = nearest(d, k);
    const f32 *out = read_node(y->experts);                // (e b s d)
    i64 each = IMAGES * y->slots * 12;
    LOOP(i, each) square += (f64)out[k * each + i] * (f64)out[k * each + i];
    near(number_at(j, "share", NULL), load_share(d, k));
    near(number_at(j, "dispatch", NULL), d->dispatch[k] / IMAGES);
    near(number_at(j, "dispatch_tokens", NULL), d->spread[k] / IMAGES);
    near(number_at(j, "output_norm", NULL), sqrt(square / (f64)(IMAGES * y->slots)));
    near(number_at(j, "specialisation", NULL), load_specialised(d, k, &top));
    near(number_at(j, "dead", NULL), load_dead(d, k));
    near(number_at(j, "nearest", "expert"), other);
    near(number_at(j, "nearest", "outputs"), load_alike(d, k, other));
    near(number_at(j, "moved", NULL), moved[k]);
    near(number_at(j, "silenced", "lost"), (x.base.top1 - (f64)s->right) * 100 / IMAGES);
    near(number_at(j, "silenced", "changed"), (f64)s->changed / IMAGES);
    const char *row = strstr(csv, arena_printf(own, "\n1,%d,%s,", k, k < CORE ? "core" : "universal"));
    assert_non_null(row);
    assert_int_equal(sscanf(strchr(row + 3, ',') + 1, "%*[a-z],%lf,%lf,%lf,%lf", &cell[0], &cell[1],
                            &cell[2], &cell[3]), 4);
    near(cell[0], load_share(d, k));
    near(cell[1], d->spread[k] / IMAGES);
    near(cell[3], load_specialised(d, k, &top));
}

static void expect_part(const json_t *j, int p, const char *csv)
{
    const struct load *d = &x.layer[0].load;
    f64 cell[6], want[] = { p ? UNIVERSAL : CORE, sqrt(d->square[p] / d->square[PARTS]),
                            d->along[p] / d->square[PARTS], load_part(d, p),
                            (x.base.top1 - (f64)x.silenced[p].right) * 100 / IMAGES,
                            (f64)x.silenced[p].changed / IMAGES };
    near(number_at(j, "norm", NULL), want[1]);
    near(number_at(j, "projection", NULL), want[2]);
    near(number_at(j, "combine", NULL), want[3]);
    near(number_at(j, "silenced", "lost"), want[4]);
    const char *row = strstr(csv, p ? "\n1,universal," : "\n1,core,");
    assert_int_equal(sscanf(row ? row + 3 : "", "%*[a-z],%lf,%lf,%lf,%lf,%lf,%lf", &cell[0], &cell[1], &cell[2],
                            &cell[3], &cell[4], &cell[5]), 6);
    LOOP(i, 6) near(cell[i], want[i]);
}

static void expect_tables(const char *dir)
{
    const char *experts = file_text(own, arena_printf(own, "%s/experts.csv", dir), NULL),
               *groups = file_text(own, arena_printf(own, "%s/contributions.csv", dir), NULL);
    json_t *j = json_load_file(arena_printf(own, "%s/analysis.json", dir), 0, NULL);
    const json_t *y = json_array_get(json_object_get(j, "layers"), 0),
                 *part = json_object_get(y, "contribution"),
                 *moved = json_array_get(json_object_get(y, "moved"), 0);
    assert_true(experts && groups && y);
    near(number_at(j, "top1", NULL), 100 * x.base.top1 / IMAGES);
    near(number_at(y, "token_entropy", NULL), x.layer[0].load.token_entropy / IMAGES);
    LOOP(k, EXPERTS) expect_expert(json_array_get(json_object_get(y, "experts"), (size_t)k), (int)k, experts);
    expect_part(json_object_get(part, "core"), PART_CORE, groups);
    expect_part(json_object_get(part, "universal"), PART_UNIVERSAL, groups);
    near(number_at(moved, "core", NULL), .5);              // (0 + 1) / 2
    near(number_at(moved, "universal", NULL), 1);          // (0 + 0 + 3) / 3
    size_t twins = 0;
    for (int a = 0; a < EXPERTS; a++)
        for (int b = a + 1; b < EXPERTS; b++)
            twins += load_alike(&x.layer[0].load, a, b) > .99 || weights_alike(&x.layer[0].weights, a, b) > .99;
    assert_int_equal(json_array_size(json_object_get(y, "twins")), twins);
    assert_true(twins == 1 && load_alike(&x.layer[0].load, CORE, CORE + 1) < .99);
    json_decref(j);
}

/* ---- pictures ------------------------------------------------------------------------------------------ */

static struct image read_png(const char *path)
{
    png_image m = { .version = PNG_IMAGE_VERSION };
    struct image out = { 0 };
    assert_true(png_image_begin_read_from_file(&m, path));
    m.format = PNG_FORMAT_RGB;
    assert_int_equal(image_room(own, &out, (int)m.width, (int)m.height), 0);
    assert_true(png_image_finish_read(&m, NULL, out.rgb, 0, NULL));
    return out;
}

static void expect_pixel(const struct image *m, i64 at_x, i64 at_y, const f64 want[3], f64 apart)
{
    const u8 *p = m->rgb + 3 * (at_y * m->w + at_x);
    LOOP(c, 3) if (!(fabs(p[c] - want[c]) <= apart))
        fail_msg("(%d, %d) is %d %d %d, not %.0f %.0f %.0f", (int)at_x, (int)at_y, p[0], p[1], p[2], want[0],
                 want[1], want[2]);
}

/* The middle of each patch: grey of the picture to three tenths, the rest a colour from violet to yellow. */
static void expect_tile(const struct image *m, int row, int column, const f32 *v, i64 stride, int image)
{
    static const f64 stop[5][3] = { { 13, 8, 135 }, { 126, 3, 168 }, { 204, 71, 120 }, { 248, 149, 64 },
                                    { 240, 249, 33 } };
    f64 least = INFINITY, most = -INFINITY, want[3];
    LOOP(t, 16) least = fmin(least, (f64)v[t * stride]), most = fmax(most, (f64)v[t * stride]);
    LOOP(t, 16) {
        f64 of = 4 * ((f64)v[t * stride] - least) / (most - least);
        int i = (int)fmin(of, 3);
        f64 grey = .299 * paint(image, t, 0) + .587 * paint(image, t, 1) + .114 * paint(image, t, 2);
        LOOP(c, 3) want[c] = .3 * grey + .7 * (stop[i][c] + (of - i) * (stop[i + 1][c] - stop[i][c]));
        expect_pixel(m, GAP + column * (TILE + GAP) + 20 + 40 * (t % 4),
                     GAP + row * (TILE + GAP) + 20 + 40 * (t / 4), want, 14);
    }
}

static void expect_sheet(const char *path, const f32 *maps)
{
    static const f64 white[] = { 255, 255, 255 };
    const struct layer_analysis *y = &x.layer[0];
    struct image m = read_png(path);
    int order[EXPERTS], n = analyse_top(y, PART_CORE, order);
    assert_int_equal(n, CORE);
    assert_int_equal(n += analyse_top(y, PART_UNIVERSAL, order + CORE), EXPERTS);
    for (int k = 1; k < EXPERTS; k++)
        assert_true(k == CORE || y->load.combine[order[k - 1]] >= y->load.combine[order[k]]);
    assert_true(m.w == GAP + (1 + n) * (TILE + GAP) && m.h == GAP + 4 * (TILE + GAP));
    expect_pixel(&m, GAP + TILE + 3, 50, white, 0);
    LOOP(i, 4) {
        LOOP(t, 16) expect_pixel(&m, GAP + 20 + 40 * (t % 4), GAP + i * (TILE + GAP) + 20 + 40 * (t / 4),
                                 (f64[]){ paint(shown[i], t, 0), paint(shown[i], t, 1), paint(shown[i], t, 2) },
                                 1);
        LOOP(k, n) expect_tile(&m, (int)i, 1 + (int)k,
                               maps + (i * y->tokens + x.prefix) * EXPERTS + order[k], EXPERTS, shown[i]);
    }
}

static void test_files(void **state)
{
    (void)state;
    set_up("model.pool=avg");
    const char *dir = at("analysis");
    expect_attention(1, x.prefix);
    expect_maps();
    assert_int_equal(analyse_write_mask(&x, 0, 0, 0) || graph_run(x.g), 0);
    if (analyse_save(&x, dir))
        fail_msg("%s", fail_message());
    expect_tables(dir);
    expect_sheet(arena_printf(own, "%s/layer-01-dispatch.png", dir), x.layer[0].dispatch_map);
    expect_sheet(arena_printf(own, "%s/layer-01-combine.png", dir), x.layer[0].combine_map);
    struct image m = read_png(arena_printf(own, "%s/attention.png", dir));
    LOOP(i, 4) LOOP(b, 2) expect_tile(&m, (int)i, 1 + (int)b, x.attention + (i * 2 + b) * x.attention_tokens
                                      + x.prefix, 1, shown[i]);
    expect_silenced();
    ckpt *c = ckpt_open(x.save_images);
    f32 pixels[IMAGES * 3 * SIDE * SIDE];
    assert_true(c && !tensor_to_f32(ckpt_find(c, "images"), pixels));
    LOOP(i, IMAGES) LOOP(k, 3)
        near((f64)pixels[(i * 3 + k) * SIDE * SIDE + 7], (paint((int)i, 1, k) - 127.5) / 64);
    ckpt_close(c);
    tear_down();
}

/* Rows are the truth: of class 1 a quarter is taken for 0; class 2 has no image. */
static void test_confusion(void **state)
{
    (void)state;
    i64 counts[] = { 2, 0, 0, 1, 3, 0, 0, 0, 0 };
    struct scores s = { .classes = 3, .confusion = counts };
    const char *path = at("confusion.png");
    assert_int_equal(confusion_png(path, &s), 0);
    struct image m = read_png(path);
    assert_true(m.w == 96 && m.h == 96);
    expect_pixel(&m, 16, 16, (f64[]){ 8, 48, 107 }, 1);
    expect_pixel(&m, 48, 16, (f64[]){ 255, 255, 255 }, 0);
    expect_pixel(&m, 16, 48, (f64[]){ 255 - 247 / 4., 255 - 207 / 4., 255 - 148 / 4. }, 1);
    expect_pixel(&m, 48, 48, (f64[]){ 255 - 247 * .75, 255 - 207 * .75, 255 - 148 * .75 }, 1);
    expect_pixel(&m, 80, 80, (f64[]){ 255, 255, 255 }, 0);
}

/* ---- charts -------------------------------------------------------------------------------------------- */

static void expect_in(const char *text, const char *what)
{
    if (!strstr(text, what))
        fail_msg("no '%s' in %s", what, text);
}

/* The frame is 64 to 550 and, upside down, 314 to 34. */
static void test_charts(void **state)
{
    (void)state;
    const f64 at_x[] = { 0, 5, 10, 7 }, v[] = { 0, 25, 100, NAN }, bars[] = { 40, -20 };
    const struct chart_series s = { "accuracy", 4, at_x, v };
    const char *path = at("chart.svg");
    assert_int_equal(chart_lines(path, "T", "epoch", "top-1, %", &s, 1), 0);
    const char *text = file_text(own, path, NULL);
    expect_in(text, "points=\"64.0,314.0 307.0,244.0 550.0,34.0 \"");
    expect_in(text, "<path d=\"M64 258.0H550\" stroke=\"#ddd\"/>\n<text x=\"58.0\" y=\"262.0\" "
                    "text-anchor=\"end\">20</text>");
    expect_in(text, "<text x=\"161.2\" y=\"330.0\" text-anchor=\"middle\">2</text>");
    expect_in(text, ">accuracy</text>");
    assert_null(strstr(text, ">10</text>\n<path"));
    const struct chart_series b[] = { { "one", 2, NULL, bars }, { "two", 2, NULL, bars } };
    assert_int_equal(chart_bars(path, "T", "share", (const char *[]){ "g", "h" }, b, 2), 0);
    text = file_text(own, path, NULL);                     // y from -20 to 40: 0 is at 314 - 280 / 3
    expect_in(text, "<rect x=\"88.3\" y=\"34.0\" width=\"97.20\" height=\"186.7\"");
    expect_in(text, "<rect x=\"428.5\" y=\"220.7\" width=\"97.20\" height=\"93.3\"");
    expect_in(text, "<text x=\"428.5\" y=\"330.0\" text-anchor=\"middle\">h</text>");
}

#define T(f) cmocka_unit_test_setup_teardown(f, memory_open, memory_close)
int main(void)
{
    const struct CMUnitTest tests[] = { T(test_attention), T(test_files), T(test_confusion), T(test_charts) };
    say_setup((struct say_options){ SAY_QUIET, 0, true });
    return cmocka_run_group_tests(tests, NULL, scratch_close);
}
