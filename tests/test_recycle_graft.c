/* test_recycle_graft.c: whole networks are cut. Every value of the made-up predecessors tells where it came
 * from, so a grafted tensor is checked element by element against the lists of indices. */
#include "unit.h"
#include "recycle/recycle.h"
#include <math.h>

static arena *a;

static int setup(void **state)
{
    (void)state;
    a = arena_open("test");
    fail_clear();
    say_setup((struct say_options){ .level = SAY_QUIET });
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_close(a);
    return 0;
}

/* ---- made-up predecessors ------------------------------------------------------------------------------ */

static u32 hash(const char *s)
{
    u32 h = 2166136261u;
    while (*s)
        h = (h ^ (u8)*s++) * 16777619u;
    return h;
}

/* Exact below 2^24. */
static f32 value(const char *name, i64 i) { return (f32)((hash(name) % 999) * 8192 + i); }

static void add(ckpt *c, const char *name, int nd, const i64 *shape)
{
    i64 n = 1;
    for (int i = 0; i < nd; i++)
        n *= shape[i];
    f32 *v = arena_array(a, f32, n);
    for (i64 i = 0; i < n; i++)
        v[i] = value(name, i);
    ckpt_add(c, name, CKPT_F32, nd, shape, v);
}

#define ADD(c, name, ...) add(c, name, countof(((i64[]){ __VA_ARGS__ })), (const i64[]){ __VA_ARGS__ })
#define NAME(...) arena_printf(a, __VA_ARGS__)

static void add_linear(ckpt *c, const char *name, int out, int in)
{
    ADD(c, NAME("%s.weight", name), out, in);
    ADD(c, NAME("%s.bias", name), out);
}

static void add_norm(ckpt *c, const char *name, int n)
{
    ADD(c, NAME("%s.weight", name), n);
    ADD(c, NAME("%s.bias", name), n);
}

static ckpt *make_vit(int dim, int depth, int heads, int hidden, int classes)
{
    ckpt *c = ckpt_new();
    ADD(c, "cls_token", 1, 1, dim);
    ADD(c, "pos_embed", 1, 5, dim);
    ADD(c, "patch_embed.proj.weight", dim, 3, 2, 2);
    ADD(c, "patch_embed.proj.bias", dim);
    for (int l = 0; l < depth; l++) {
        add_norm(c, NAME("blocks.%d.norm1", l), dim);
        add_norm(c, NAME("blocks.%d.norm2", l), dim);
        add_linear(c, NAME("blocks.%d.attn.qkv", l), 3 * dim, dim);
        add_linear(c, NAME("blocks.%d.attn.proj", l), dim, dim);
        add_linear(c, NAME("blocks.%d.mlp.fc1", l), hidden, dim);
        add_linear(c, NAME("blocks.%d.mlp.fc2", l), dim, hidden);
    }
    add_norm(c, "norm", dim);
    add_linear(c, "head", classes, dim);
    ckpt_set_meta(c, "heads", NAME("%d", heads));
    return c;
}

static ckpt *make_convnext(const int *depths, const int *dims, int stages)
{
    ckpt *c = ckpt_new();
    ADD(c, "stem.0.weight", dims[0], 3, 4, 4);
    ADD(c, "stem.0.bias", dims[0]);
    add_norm(c, "stem.1", dims[0]);
    for (int s = 0; s < stages; s++) {
        if (s) {
            add_norm(c, NAME("stages.%d.downsample.0", s), dims[s - 1]);
            ADD(c, NAME("stages.%d.downsample.1.weight", s), dims[s], dims[s - 1], 2, 2);
            ADD(c, NAME("stages.%d.downsample.1.bias", s), dims[s]);
        }
        for (int i = 0; i < depths[s]; i++) {
            const char *b = NAME("stages.%d.blocks.%d", s, i);
            ADD(c, NAME("%s.conv_dw.weight", b), dims[s], 1, 7, 7);
            ADD(c, NAME("%s.conv_dw.bias", b), dims[s]);
            add_norm(c, NAME("%s.norm", b), dims[s]);
            add_linear(c, NAME("%s.mlp.fc1", b), 4 * dims[s], dims[s]);
            add_linear(c, NAME("%s.mlp.fc2", b), dims[s], 4 * dims[s]);
            ADD(c, NAME("%s.gamma", b), dims[s]);
        }
    }
    add_norm(c, "head.norm", dims[stages - 1]);
    add_linear(c, "head.fc", 3, dims[stages - 1]);
    return c;
}

/* ---- successors ---------------------------------------------------------------------------------------- */

static counts list(int n, const int *v)
{
    int *copy = arena_array(a, int, n);
    memcpy(copy, v, sizeof *v * (size_t)n);
    return (counts){ n, copy };
}

#define LIST(...) list(countof(((int[]){ __VA_ARGS__ })), (const int[]){ __VA_ARGS__ })

static struct spec vit_spec(int dim, int depth, int heads, counts layers)
{
    struct spec s = { 0 };
    s.model.family = "vit";
    s.model.dim = dim;
    s.model.depth = depth;
    s.model.heads = heads;
    s.model.mlp_ratio = 4;
    s.model.moe.layers = layers;
    s.model.moe.kind = MOE_sphero;
    s.model.moe.core = LIST(3);
    s.model.moe.universal = LIST(2);
    s.model.moe.universal_ratio = 0.25;
    s.recycle.from.dense = "";
    s.recycle.strategy = "random";
    s.recycle.cut = CUT_paper;
    s.recycle.metric = METRIC_l2;
    s.recycle.parts = 4;
    s.recycle.resolution = 1;
    s.recycle.edge_weights = true;
    s.seed = 3407;
    return s;
}

struct result { struct anatomy from, to; struct picks p; ckpt *out; };

static int recycle(const struct spec *s, const ckpt *experts, const ckpt *dense, const struct statistics *st,
                   struct result *r)
{
    anatomy_of_spec(s, a, &r->to);
    if (anatomy_of_ckpt(experts, a, &r->from) || picks_make(s, &r->from, &r->to, st, a, &r->p))
        return -1;
    r->out = ckpt_new();
    return recycle_graft(s, experts, dense, &r->from, &r->to, &r->p, a, r->out);
}

static struct result recycled(const struct spec *s, const ckpt *experts, const ckpt *dense,
                              const struct statistics *st)
{
    struct result r;
    if (recycle(s, experts, dense, st, &r))
        fail_msg("%s", fail_message());
    return r;
}

static void refused(const struct spec *s, const ckpt *experts, const struct statistics *st, enum fault fault,
                    const char *words)
{
    struct result r;
    fail_clear();
    if (!recycle(s, experts, NULL, st, &r))
        fail_msg("nothing wrong with it? expected: %s", words);
    assert_int_equal(fail_fault(), fault);
    if (!strstr(fail_message(), words))
        fail_msg("'%s' does not say '%s'", fail_message(), words);
}

static const f32 *out_tensor(const struct result *r, const char *name, int nd, const i64 *shape)
{
    const tensor *t = ckpt_find(r->out, name);
    char got[200], want[200];
    if (!t)
        fail_msg("no %s", name);
    if (!tensor_shape_is(t, nd, shape))
        fail_msg("%s is %s, expected %s", name, tensor_shape_text(got, t->nd, t->shape),
                 tensor_shape_text(want, nd, shape));
    return tensor_data(t);
}

#define OUT(r, name, ...) out_tensor(r, name, countof(((i64[]){ __VA_ARGS__ })), (const i64[]){ __VA_ARGS__ })

/* got[i][j] = source[rows[i] (+ offset)][columns[j]], a row of source being `width` long. */
static void same_matrix(const char *source, const f32 *got, const i32 *rows, int n, i64 offset,
                        const i32 *columns, int m, int width)
{
    for (int i = 0; i < n; i++)
        for (int j = 0; j < m; j++) {
            f32 want = value(source, ((rows ? rows[i] : i) + offset) * width + (columns ? columns[j] : j));
            if (got[i * m + j] != want)
                fail_msg("%s: [%d %d] is %.0f, expected %.0f", source, i, j, got[i * m + j], want);
        }
}

/* All four tensors of a MoE block's experts against the lists. */
static void check_experts(const struct result *r, const char *name, const char *from_name, int l)
{
    const struct block_shape *to = &r->to.block[l], *from = &r->from.block[r->p.block[l].from];
    const struct block_picks *b = &r->p.block[l];
    for (int universal = 0; universal < 2; universal++) {
        int n = universal ? to->universal : to->core, h = universal ? to->narrow : to->hidden, d = to->dim;
        const char *kind = universal ? "univ_experts" : "core_experts";
        const f32 *w1 = OUT(r, NAME("%s.mlp.%s.vit_fc1.weight", name, kind), n, h, d);
        const f32 *b1 = OUT(r, NAME("%s.mlp.%s.vit_fc1.bias", name, kind), n, h);
        const f32 *w2 = OUT(r, NAME("%s.mlp.%s.vit_fc2.weight", name, kind), n, d, h);
        const f32 *b2 = OUT(r, NAME("%s.mlp.%s.vit_fc2.bias", name, kind), n, d);
        for (int e = 0; e < n; e++) {
            int at = e + universal * to->core;
            const i32 *channel = b->expert_channel ? b->expert_channel + at * d : r->p.channel[to->stage];
            i32 *hidden = arena_array(a, i32, h);
            for (int i = 0; i < h; i++)
                hidden[i] = b->expert_hidden[at * to->hidden + (universal ? b->narrow[i] : i)];
            same_matrix(NAME("%s.mlp.fc1.weight", from_name), w1 + e * h * d, hidden, h, 0, channel, d,
                        from->dim);
            same_matrix(NAME("%s.mlp.fc1.bias", from_name), b1 + e * h, hidden, h, 0, NULL, 1, 1);
            same_matrix(NAME("%s.mlp.fc2.weight", from_name), w2 + e * d * h, channel, d, 0, hidden, h,
                        from->hidden);
            same_matrix(NAME("%s.mlp.fc2.bias", from_name), b2 + e * d, channel, d, 0, NULL, 1, 1);
        }
    }
}

static void check_vit(const struct result *r)
{
    int d = r->to.block->dim, wide = r->from.block->dim;
    const i32 *channel = r->p.channel[0];
    same_matrix("pos_embed", OUT(r, "pos_embed", 1, 5, d), NULL, 5, 0, channel, d, wide);
    same_matrix("patch_embed.proj.weight", OUT(r, "patch_embed.proj.weight", d, 3, 2, 2), channel, d, 0,
                NULL, 12, 12);
    for (int l = 0; l < r->to.depth; l++) {
        const struct block_picks *b = &r->p.block[l];
        const char *to = NAME("blocks.%d", l), *from = NAME("blocks.%d", b->from);
        const f32 *qkv = OUT(r, NAME("%s.attn.qkv.weight", to), 3 * d, d);
        const f32 *proj = OUT(r, NAME("%s.attn.proj.weight", to), d, d);
        const f32 *norm = OUT(r, NAME("%s.norm2.bias", to), d);
        for (int part = 0; part < 3; part++)
            same_matrix(NAME("%s.attn.qkv.weight", from), qkv + part * d * d, b->attn, d, part * wide,
                        channel, d, wide);
        same_matrix(NAME("%s.attn.proj.weight", from), proj, channel, d, 0, b->attn, d, wide);
        same_matrix(NAME("%s.norm2.bias", from), norm, channel, d, 0, NULL, 1, 1);
        if (block_moe(&r->to.block[l])) {
            check_experts(r, to, from, l);
            assert_null(ckpt_find(r->out, NAME("%s.mlp.fc1.weight", to)));
            continue;
        }
        int h = r->to.block[l].hidden, h_from = r->from.block[b->from].hidden;
        const f32 *fc1 = OUT(r, NAME("%s.mlp.fc1.weight", to), h, d);
        const f32 *fc2 = OUT(r, NAME("%s.mlp.fc2.weight", to), d, h);
        same_matrix(NAME("%s.mlp.fc1.weight", from), fc1, b->hidden, h, 0, channel, d, wide);
        same_matrix(NAME("%s.mlp.fc2.weight", from), fc2, channel, d, 0, b->hidden, h, h_from);
    }
}

/* ---- tests --------------------------------------------------------------------------------------------- */

static void vit_one_residual_stream(void **state)
{
    (void)state;
    struct spec s = vit_spec(9, 3, 3, LIST(0, 2));
    ckpt *experts = make_vit(23, 3, 1, 77, 5);              // neither width divides the other
    struct result r = recycled(&s, experts, NULL, NULL), again = recycled(&s, experts, NULL, NULL);
    check_vit(&r);
    assert_null(r.p.block[0].expert_channel);
    same_matrix("head.weight", OUT(&r, "head.weight", 5, 9), NULL, 5, 0, r.p.channel[0], 9, 23);
    same_matrix("norm.weight", OUT(&r, "fc_norm.weight", 9), r.p.channel[0], 9, 0, NULL, 1, 1);
    for (int i = 0; i < ckpt_count(r.out); i++) {
        const tensor *x = ckpt_at(r.out, i), *y = ckpt_find(again.out, x->name);
        assert_memory_equal(tensor_data(x), tensor_data(y), x->bytes);
    }
    s.seed++;
    struct result other = recycled(&s, experts, NULL, NULL);
    check_vit(&other);
    assert_true(memcmp(r.p.channel[0], other.p.channel[0], 9 * sizeof(i32)));
}

static void vit_released_cut(void **state)
{
    (void)state;
    struct spec s = vit_spec(8, 4, 2, LIST(2, 3));
    s.recycle.cut = CUT_released;
    struct result r = recycled(&s, make_vit(16, 4, 4, 64, 5), NULL, NULL);
    check_vit(&r);
    assert_true(memcmp(r.p.block[2].expert_channel, r.p.block[2].expert_channel + 8, 8 * sizeof(i32)));
    assert_null(ckpt_find(r.out, "head.weight"));
    assert_null(ckpt_find(r.out, "fc_norm.weight"));
}

static void attention_heads_stay_whole(void **state)
{
    (void)state;
    struct spec s = vit_spec(16, 2, 2, LIST(1));
    s.recycle.heads = HEADS_whole;
    struct result r = recycled(&s, make_vit(48, 2, 6, 192, 5), NULL, NULL);
    check_vit(&r);
    for (int i = 0; i < 16; i++)
        assert_int_equal(r.p.block[0].attn[i], r.p.block[0].attn[i / 8 * 8] + i % 8);
    s = vit_spec(10, 2, 2, LIST(1));                        // heads of 5 channels out of heads of 8
    s.recycle.heads = HEADS_whole;
    r = recycled(&s, make_vit(48, 2, 6, 192, 5), NULL, NULL);
    check_vit(&r);
    for (int i = 0; i < 10; i++)
        assert_int_equal(r.p.block[1].attn[i] / 8, r.p.block[1].attn[i / 5 * 5] / 8);
    s.model.heads = 1;
    refused(&s, make_vit(48, 2, 6, 192, 5), NULL, FAULT_DATA,
            "the successor has 1 heads of 10 channels, the predecessor only 6 of 8");
    refused(&s, make_vit(48, 2, 7, 192, 5), NULL, FAULT_USAGE, "recycle.from.heads");
}

static void convnext_stage_by_stage(void **state)
{
    (void)state;
    struct spec s = vit_spec(1, 1, 1, LIST(1, 3));
    s.model.family = "convnext";
    s.model.depths = LIST(1, 2, 1);
    s.model.dims = LIST(3, 5, 7);
    s.model.moe.core = LIST(3, 1);
    s.model.moe.universal = LIST(2, 4);
    struct result r = recycled(&s, make_convnext((int[]){ 1, 2, 1 }, (int[]){ 4, 8, 13 }, 3), NULL, NULL);
    const i32 *const *c = r.p.channel, *hidden = r.p.block[2].hidden;
    same_matrix("stem.0.weight", OUT(&r, "stem.0.weight", 3, 3, 4, 4), c[0], 3, 0, NULL, 48, 48);
    const char *name = "stages.1.downsample.0.bias";
    same_matrix(name, OUT(&r, name, 3), c[0], 3, 0, NULL, 1, 1);
    name = "stages.2.downsample.1.weight";
    const f32 *down = OUT(&r, name, 7, 5, 2, 2);
    for (int i = 0; i < 7; i++)
        for (int j = 0; j < 5; j++)
            for (int k = 0; k < 4; k++)
                assert_true(down[(i * 5 + j) * 4 + k] == value(name, (c[2][i] * 8 + c[1][j]) * 4 + k));
    name = "stages.1.blocks.1.conv_dw.weight";
    same_matrix(name, OUT(&r, name, 5, 1, 7, 7), c[1], 5, 0, NULL, 49, 49);
    name = "stages.1.blocks.0.gamma";
    same_matrix(name, OUT(&r, name, 5), c[1], 5, 0, NULL, 1, 1);
    same_matrix("head.fc.weight", OUT(&r, "head.fc.weight", 3, 7), NULL, 3, 0, c[2], 7, 13);
    name = "stages.1.blocks.1.mlp.fc1.weight";
    same_matrix(name, OUT(&r, name, 20, 5), hidden, 20, 0, c[1], 5, 8);
    check_experts(&r, "stages.1.blocks.0", "stages.1.blocks.0", 1);
    check_experts(&r, "stages.2.blocks.0", "stages.2.blocks.0", 3);
    assert_int_equal(r.to.block[3].core, 1);
    refused(&s, make_vit(16, 4, 4, 64, 5), NULL, FAULT_DATA,
            "a ViT of 1 stages, the successor a ConvNeXt of 3");
}

static void another_depth_takes_evenly_spaced_blocks(void **state)
{
    (void)state;
    struct spec s = vit_spec(8, 4, 2, LIST(3));
    struct result r = recycled(&s, make_vit(8, 7, 2, 32, 5), NULL, NULL);
    for (int l = 0; l < 4; l++)
        assert_int_equal(r.p.block[l].from, 2 * l);
    check_vit(&r);
}

static void copies_are_the_dense_mlp(void **state)
{
    (void)state;
    struct spec s = vit_spec(8, 2, 2, LIST(1));
    s.recycle.strategy = "copy";
    s.recycle.cut = CUT_released;
    struct result r = recycled(&s, make_vit(8, 2, 2, 32, 5), NULL, NULL);
    check_vit(&r);
    const f32 *w = OUT(&r, "blocks.1.mlp.core_experts.vit_fc1.weight", 3, 32, 8);
    for (int i = 0; i < 3 * 32 * 8; i++)
        assert_true(w[i] == value("blocks.1.mlp.fc1.weight", i % (32 * 8)));
    refused(&s, make_vit(16, 2, 2, 64, 5), NULL, FAULT_DATA, "exactly as wide");
}

static void soft_moe_has_one_kind_of_expert(void **state)
{
    (void)state;
    struct spec s = vit_spec(8, 2, 2, LIST(1));
    s.model.moe.kind = MOE_soft;
    struct result r = recycled(&s, make_vit(16, 2, 2, 64, 5), NULL, NULL);
    OUT(&r, "blocks.1.mlp.experts.vit_fc2.weight", 3 + 2, 8, 32);
}

static void dense_parts_from_a_second_predecessor(void **state)
{
    (void)state;
    struct spec s = vit_spec(8, 2, 2, LIST(1));
    s.recycle.from.dense = "second";
    s.recycle.universal = UNIVERSAL_dense;
    ckpt *dense = make_vit(8, 2, 2, 32, 5);
    struct result r = recycled(&s, make_vit(16, 2, 2, 64, 9), dense, NULL);
    const char *whole[] = { "pos_embed", "blocks.0.attn.qkv.weight", "blocks.0.mlp.fc2.bias",
                            "blocks.1.norm2.weight", "head.weight" };
    for (int i = 0; i < countof(whole); i++) {
        const tensor *want = ckpt_find(dense, whole[i]);
        assert_memory_equal(out_tensor(&r, whole[i], want->nd, want->shape), tensor_data(want), want->bytes);
    }
    const i32 *hidden = r.p.block[1].dense_hidden;
    const f32 *w = OUT(&r, "blocks.1.mlp.univ_experts.vit_fc1.weight", 2, 8, 8);
    for (int e = 0; e < 2; e++)
        same_matrix("blocks.1.mlp.fc1.weight", w + e * 64, hidden + e * 8, 8, 0, NULL, 8, 8);
    s.recycle.from.dense = "";
    s.recycle.universal = UNIVERSAL_sampled;
    assert_int_equal(recycle(&s, make_vit(16, 2, 2, 64, 9), make_vit(10, 2, 2, 32, 5), NULL, &r), -1);
    assert_non_null(strstr(fail_message(), "expected"));
}

static struct statistics measured(const struct anatomy *n, bool together)
{
    struct statistics st = { .depth = n->depth };
    rng r = rng_at(1, RNG_TEST, 0, 0);
    for (enum site site = 0; site < SITES; site++) {
        st.of[site] = arena_array(a, struct activity, n->depth);
        for (int l = 0; l < n->depth; l++) {
            int w = site == SITE_HIDDEN ? n->block[l].hidden
                  : site == SITE_ATTN && n->convnext ? 0 : n->block[l].dim;
            struct activity x = { .width = w, .l1 = arena_array(a, f64, w), .l2 = arena_array(a, f64, w),
                                  .count = arena_array(a, f64, w) };
            for (int i = 0; i < w; i++) {
                x.l1[i] = rng_unit(&r);
                x.l2[i] = rng_unit(&r);
                x.count[i] = rng_below(&r, 100);
            }
            x.together = together ? arena_array(a, f32, w * w) : NULL;
            for (int i = 0; together && i < w; i++)
                for (int j = 0; j < i; j++)
                    x.together[i * w + j] = x.together[j * w + i] = (f32)rng_below(&r, 50);
            st.of[site][l] = x;
        }
    }
    return st;
}

static void strategies_with_statistics(void **state)
{
    (void)state;
    ckpt *experts = make_vit(16, 3, 4, 64, 5);
    struct anatomy from;
    anatomy_of_ckpt(experts, a, &from);
    struct statistics st = measured(&from, true);
    const char *names[] = { "importance", "graph" };
    for (int i = 0; i < 2; i++)
        for (int cut = CUT_released; cut <= CUT_paper; cut++)
            for (int heads = HEADS_split; heads <= HEADS_whole; heads++) {
                struct spec s = vit_spec(8, 3, 2, LIST(1, 2));
                s.recycle.strategy = names[i];
                s.recycle.cut = cut;
                s.recycle.heads = heads;
                s.recycle.graph = heads ? GRAPH_louvain : GRAPH_metis;
                struct result r = recycled(&s, experts, NULL, &st);
                check_vit(&r);
                struct recycle_report rep;
                recycle_report_make(&s, &r.from, &r.to, &st, &r.p, a, &rep);
                assert_int_equal(rep.layers, 2);
                assert_true(rep.layer[0].mass_core > 0.3 && rep.layer[0].mass_core < 0.95);
                assert_true(rep.layer[0].mass_universal > 0.02 && rep.layer[0].mass_universal < 0.5);
                assert_true(rep.layer[1].overlap_core > 0.1 && rep.layer[1].overlap_core < 1);
                assert_true(rep.layer[1].coverage > 0.5 && rep.layer[1].coverage <= 1);
                assert_true(i ? rep.layer[0].parts > 1 && rep.layer[0].cut > 0 : isnan(rep.layer[0].cut));
                assert_non_null(strstr(recycle_report_json(a, &rep), "\"jaccard\""));
            }
}

static void report_by_hand(void **state)
{
    (void)state;
    ckpt *experts = make_vit(4, 1, 1, 8, 2);
    struct anatomy from, to;
    struct spec s = vit_spec(2, 1, 1, LIST(0));
    s.model.mlp_ratio = 2;
    s.model.moe.core = LIST(2);
    s.model.moe.universal = LIST(1);
    anatomy_of_ckpt(experts, a, &from);
    anatomy_of_spec(&s, a, &to);
    struct statistics st = measured(&from, false);
    f64 neurons[8] = { 1, 2, 3, 4, 0, 0, 0, 10 }, channels[4] = { 4, 3, 2, 1 };
    st.of[SITE_HIDDEN]->l2 = neurons;
    st.of[SITE_CHANNEL]->l2 = channels;
    const i32 kept[2] = { 0, 2 }, hidden[12] = { 0, 1, 2, 3, 1, 2, 6, 7, 4, 5, 6, 7 }, narrow[1] = { 3 };
    struct block_picks b = { .expert_hidden = hidden, .narrow = narrow };
    struct picks p = { .channel = { kept }, .block = &b };
    struct recycle_report r;
    recycle_report_make(&s, &from, &to, &st, &p, a, &r);
    assert_true(fabs(r.channel_mass - 0.6) < 1e-12);
    assert_true(fabs(r.layer[0].mass_core - (10 + 15) / 40.0) < 1e-12);        // 0 1 2 3 and 1 2 6 7, of 20
    assert_true(fabs(r.layer[0].mass_universal - 10 / 20.0) < 1e-12);          // 7
    assert_true(fabs(r.layer[0].overlap_core - 2 / 6.0) < 1e-12 && isnan(r.layer[0].overlap_universal));
    assert_true(fabs(r.layer[0].coverage - 6 / 8.0) < 1e-12);
    assert_true(fabs(r.layer[0].mass_channels - 0.6) < 1e-12);                 // everybody's 0 2
    b.expert_channel = (const i32[6]){ 0, 1, 2, 3, 1, 3 };                     // 7, 3 and 4 of 10
    s.recycle.from.dense = "another";                                          // now the trunk is another's
    recycle_report_make(&s, &from, &to, &st, &p, a, &r);
    assert_true(fabs(r.layer[0].mass_channels - 14 / 30.0) < 1e-12 && isnan(r.channel_mass));
    b.dense_hidden = hidden;                                                   // and its universal experts
    recycle_report_make(&s, &from, &to, &st, &p, a, &r);
    assert_true(fabs(r.layer[0].mass_channels - 10 / 20.0) < 1e-12 && isnan(r.layer[0].mass_universal));
}

static void bad_predecessors_are_refused(void **state)
{
    (void)state;
    struct spec s = vit_spec(16, 2, 2, LIST(1));
    refused(&s, make_vit(12, 2, 2, 48, 5), NULL, FAULT_DATA, "at least as wide");
    refused(&s, make_vit(16, 2, 2, 48, 5), NULL, FAULT_DATA, "at least as wide");       // too few neurons
    ckpt *none = ckpt_new(), *moe = ckpt_new();
    ADD(none, "layers.0.weight", 3, 3);
    refused(&s, none, NULL, FAULT_DATA, "neither a ViT nor a ConvNeXt");
    ADD(moe, "blocks.0.mlp.core_experts.vit_fc1.weight", 2, 8, 4);
    refused(&s, moe, NULL, FAULT_DATA, "mixture of experts already");
    ckpt *good = make_vit(32, 2, 2, 128, 5), *other = make_vit(32, 3, 2, 128, 5);
    struct anatomy from;
    struct result r;
    s.recycle.strategy = "importance";
    anatomy_of_ckpt(good, a, &from);
    struct statistics st = measured(&from, false), bad = measured(&from, false);
    assert_int_equal(recycle(&s, good, NULL, &st, &r), 0);
    refused(&s, other, &st, FAULT_DATA, "statistics are of another network");
    bad.of[SITE_HIDDEN][1].l2[5] = NAN;
    refused(&s, good, &bad, FAULT_NUMBERS, "mlp.act of block 1 are not finite");
    bad = measured(&from, false);
    memset(bad.of[SITE_ATTN][0].l2, 0, 32 * sizeof(f64));
    s.recycle.cut = CUT_released;
    refused(&s, good, &bad, FAULT_NUMBERS, "attn.proj of block 0 are all zero");
    s.recycle.strategy = "graph";
    refused(&s, good, &st, FAULT_DATA, "no co-activation");
}

static void statistics_files(void **state)
{
    (void)state;
    ckpt *experts = make_vit(16, 2, 4, 64, 5);
    struct anatomy from;
    anatomy_of_ckpt(experts, a, &from);
    struct statistics st = measured(&from, true), back;
    struct provenance w = { "aaaa", "bbbb", 100, 25, "zero" }, x = w;
    const char *path = NAME("/tmp/jetcl_statistics_%ld.safetensors", (long)(clock_now() * 1e6));
    assert_int_equal(statistics_save(&st, &w, path), 0);
    assert_int_equal(statistics_load(path, &w, a, &back), 0);
    assert_int_equal(back.depth, 2);
    for (enum site site = 0; site < SITES; site++)
        for (int l = 0; l < 2; l++) {
            struct activity *p = &st.of[site][l], *q = &back.of[site][l];
            assert_int_equal(p->width, q->width);
            assert_memory_equal(p->l2, q->l2, sizeof(f64) * (size_t)p->width);
            assert_memory_equal(p->together, q->together, sizeof(f32) * (size_t)(p->width * p->width));
        }
    strcpy(x.predecessor, "cccc");
    assert_int_equal(statistics_load(path, &x, a, &back), -1);
    assert_int_equal(fail_fault(), FAULT_DATA);
    assert_non_null(strstr(fail_message(), "another predecessor"));
    x = w;
    x.batch = 0;
    assert_int_equal(statistics_load(path, &x, a, &back), -1);
    assert_non_null(strstr(fail_message(), "images per batch"));
    assert_int_equal(ckpt_save(experts, path), 0);
    assert_int_equal(statistics_load(path, &w, a, &back), -1);
    assert_non_null(strstr(fail_message(), "not a statistics file"));
    remove(path);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(vit_one_residual_stream), T(vit_released_cut), T(attention_heads_stay_whole),
        T(convnext_stage_by_stage), T(another_depth_takes_evenly_spaced_blocks), T(copies_are_the_dense_mlp),
        T(soft_moe_has_one_kind_of_expert), T(dense_parts_from_a_second_predecessor),
        T(strategies_with_statistics), T(report_by_hand), T(bad_predecessors_are_refused),
        T(statistics_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
