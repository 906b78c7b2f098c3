/* test_golden.c: ops, layers and whole models against the reference's own numbers (computed in double by its
 * authors' code), forward and every gradient, at the tolerances their README gives: about ten times what
 * torch in float32 measures; networks of odd sizes against tests/golden/make.py's. Each case runs as it is and
 * with a part of the machinery switched off. */
#include "on_device.h"
#include "golden.h"

/* ---- single ops ---------------------------------------------------------------------------------------- */

static node *linear(node *x, node *w, node *b) { return op_add(op_matmul(x, w, TRANS_B), b); }
static node *to_nhwc(node *x) { return op_transpose(x, 0, 2, 3, 1); }
static node *to_nchw(node *x) { return op_transpose(x, 0, 3, 1, 2); }
static node *grid(node *x, struct shape nhwc) { return to_nchw(op_reshape(x, nhwc)); }

/* (x - mean) / (std + eps) w + b, w and b (e d), x (b e s d) */
static node *std_plus_eps(node *x, node *w, node *b)
{
    i64 e = node_dim(x, 1), d = node_dim(x, 3);
    node *mean = op_scale(op_sum(x, 3), 1 / (f32)d), *c = op_sub(x, mean);
    node *std = op_sqrt(op_scale(op_sum(op_square(c), 3), 1 / (f32)d));
    node *y = op_div(c, op_offset(std, 1e-6f));
    return op_add(op_mul(y, op_reshape(w, SHAPE(e, 1, d))), op_reshape(b, SHAPE(e, 1, d)));
}

/* x (b e s i), w (e o i), b (e o): all of an expert's rows are one matrix. */
static node *expert_linear(node *x, node *w, node *b)
{
    i64 n = node_dim(x, 0), e = node_dim(x, 1), s = node_dim(x, 2), o = node_dim(w, 1);
    node *rows = op_reshape(op_transpose(x, 1, 0, 2, 3), SHAPE(e, n * s, -1));
    node *y = op_add(op_matmul(rows, w, TRANS_B), op_reshape(b, SHAPE(e, 1, o)));
    return op_transpose(op_reshape(y, SHAPE(e, n, s, o)), 1, 0, 2, 3);
}

/* A convolution whose stride is its kernel, as in nn_patches, with given weights. */
static node *patches(node *x, node *w, node *b)
{
    i64 n = node_dim(x, 0), c = node_dim(x, 1), p = node_dim(w, 2);
    i64 h = node_dim(x, 2) / p, v = node_dim(x, 3) / p;
    node *rows = op_transpose(op_reshape(x, SHAPE(n, c, h, p, v, p)), 0, 2, 4, 1, 3, 5);
    return linear(op_reshape(rows, SHAPE(n, h * v, c * p * p)), op_reshape(w, SHAPE(-1, c * p * p)), b);
}

struct op_case { const char *name, *inputs; node *(*build)(node **x); };
#define OP_CASE(name, inputs, expr) static node *build_##name(node **x) { return expr; }
#include "golden_ops.def"
#undef OP_CASE
static const struct op_case op_cases[] = {
#define OP_CASE(name, inputs, expr) { #name, inputs, build_##name },
#include "golden_ops.def"
#undef OP_CASE
};

static struct tolerance op_tolerance(const char *name, bool gradient)
{
    bool tiny = strstr(name, "tiny");             // gradients of up to 1e6
    return gradient ? (struct tolerance){ 1e-5, tiny ? 0 : 1e-6 } : (struct tolerance){ 5e-6, 1e-6 };
}

static void run_op(ckpt *c, const struct op_case *t)
{
    struct golden k = golden_begin(device, c, "");
    k.prefix = arena_printf(k.a, "%s.", t->name);
    char *list = arena_printf(k.a, "%s", t->inputs), *save = NULL;
    const char *names[8];
    node *x[8], *grad[8];
    int n = 0;
    for (char *w = strtok_r(list, " ", &save); w; w = strtok_r(NULL, " ", &save), n++) {
        names[n] = arena_printf(k.a, "in.%s", w);
        x[n] = !strcmp(w, "label") ? golden_labels(&k, names[n], 10) : golden_in(&k, names[n]);
    }
    node *y = t->build(x);
    if (golden_find(&k, "cot"))
        grad_build_from(y, op_reshape(golden_in(&k, "cot"), y->shape), x, n, grad);
    else
        grad_build(y, x, n, grad);
    golden_expect(&k, y, "out", op_tolerance(t->name, false));
    for (int i = 0; i < n; i++) {
        const char *name = arena_printf(k.a, "grad.%s", names[i] + strlen("in."));
        if (golden_find(&k, name))
            golden_expect(&k, grad[i], name, op_tolerance(t->name, true));
    }
    golden_end(&k);
}

/* Position embeddings of a 6 x 6 grid after one class token, at another grid. */
struct resize_case { const char *name; int side; bool bilinear; };
static const struct resize_case resizes[] = {
    { "posembed_bicubic_aa_6to4.",    4, false }, { "posembed_bicubic_aa_6to9.",    9, false },
    { "posembed_bilinear_noaa_6to4.", 4, true },  { "posembed_bilinear_noaa_6to9.", 9, true },
};

static void run_resize(ckpt *c, const struct resize_case *t)
{
    struct golden k = golden_begin(device, c, t->name);
    const tensor *in = golden_get(&k, "in.pos"), *out = golden_get(&k, "out");
    i64 d = in->shape[2];
    f32 *got = arena_array(k.a, f32, out->count);
    memcpy(got, golden_reals(&k, in), sizeof *got * (size_t)d);
    posembed_resize(golden_reals(&k, in) + d, 6, 6, got + d, t->side, t->side, (int)d, t->bilinear);
    golden_compare(t->name, got, golden_reals(&k, out), (i64)out->count, (struct tolerance){ 5e-6, 0 });
    graph_free(k.g);
    arena_close(k.a);
}

/* ---- MoE layers ---------------------------------------------------------------------------------------- */

static const struct tolerance layer_forward = { 1e-5, 1e-6 }, layer_gradient = { 2e-5, 2e-6 };
static const struct tolerance layer_scalar = { 1e-4, 2e-5 };     // sums with heavy cancellation

/* How a layer of the file is configured; what it leaves out is as the file's metadata words it. */
struct layer {
    const char *name;
    int core, universal, slots, heads;
    bool slot_norm, proj, key_proj, layer_scale, input_as_phi;
    enum { DUAL, SOFT, VMOE } kind;
};
static const struct layer layers[] = {
    { "dual_base",                   2, 4, 1, 1, true },
    { "dual_noln",                   2, 4, 1, 1, false },
    { "dual_slots2",                 2, 4, 2, 1, true },
    { "dual_slots2_noln",            2, 4, 2, 1, false },
    { "dual_proj",                   2, 4, 1, 1, true, .proj = true },
    { "dual_mh",                     2, 4, 1, 3, true },
    { "dual_mh_slots2_noln_keyproj", 2, 4, 2, 3, false, .key_proj = true },
    { "dual_input_as_phi",           2, 4, 1, 1, false, .input_as_phi = true },
    { "dual_conv4d",                 2, 4, 1, 1, true },
    { "dual_sharp",                  2, 4, 1, 1, true },
    { "dual_initscale",              2, 4, 1, 1, true },
    { "dual_d24_n37",                2, 5, 2, 1, true },
    { "dual_noise",                  2, 4, 2, 1, true },
    { "dual_noise_droppath",         2, 4, 2, 1, true },
    { "dual_noise_droppath_dropout", 2, 4, 2, 1, true },
    { "dual_noise_expertdrop",       2, 4, 2, 1, true },
    { "soft_noln",                   4, 0, 1, 1, false, .kind = SOFT },
    { "soft_ln",                     4, 0, 1, 1, true, .kind = SOFT },
    { "soft_slots2_proj",            4, 0, 2, 1, false, .proj = true, .kind = SOFT },
    { "soft_layerscale",             4, 0, 1, 1, false, .layer_scale = true, .kind = SOFT },
    { "soft_noise",                  4, 0, 1, 1, false, .kind = SOFT },
    { "vmoe_soft_slots1",            4, 0, 1, 1, false, .kind = VMOE },
    { "vmoe_soft_slots2",            4, 0, 2, 1, false, .kind = VMOE },
};

static struct spec layer_spec(arena *a, const struct layer *l, bool softmax)
{
    struct spec s;
    assert_int_equal(spec_load(&s, a, NULL, NULL, 0), 0);
    s.model.mlp_ratio = l->kind == VMOE ? 2 : 4;
    s.model.moe.kind = l->kind == DUAL ? MOE_sphero : l->kind == SOFT ? MOE_soft : MOE_vmoe;
    s.model.moe.slots = l->slots;
    s.model.moe.slot_norm = l->slot_norm;
    s.model.moe.key_proj = l->proj || l->key_proj;
    s.model.moe.query_proj = l->proj;
    s.model.moe.layer_scale = l->layer_scale;
    s.model.moe.input_as_phi = l->input_as_phi;
    s.model.moe.combine = softmax ? COMBINE_softmax : COMBINE_entmax15;
    s.model.moe.noise_when = NOISE_training;
    s.model.moe.expert_drop_per = strstr(l->name, "expertdrop") ? DROP_expert : DROP_sample;
    return s;
}

/* Noise and masks of the file in the layer's own layout, experts outermost. */
static void give(struct golden *k, struct nn *m, const struct layer *l, i64 b)
{
    if (golden_find(k, "in.noise")) {
        node *n = golden_in(k, "in.noise");
        nn_give(m, "noise", op_reshape(n, SHAPE(b, node_dim(n, 1), -1)));
    }
    if (golden_find(k, "in.expert_drop")) {
        node *d = golden_in(k, "in.expert_drop");
        i64 e = node_count(d) / b;
        nn_give(m, "expert_drop", op_reshape(op_transpose(op_reshape(d, SHAPE(b, e)), 1, 0), SHAPE(e, b, 1)));
    }
    const char *masks[][2] = {
        { "in.drop1_core", "core_experts.drop1" }, { "in.drop2_core", "core_experts.drop2" },
        { "in.drop1_univ", "univ_experts.drop1" }, { "in.drop2_univ", "univ_experts.drop2" },
    };
    for (int i = 0; i < 4; i++)
        if (golden_find(k, masks[i][0])) {
            node *d = op_transpose(golden_in(k, masks[i][0]), 1, 0, 2, 3);
            nn_give(m, masks[i][1], op_reshape(d, SHAPE(node_dim(d, 0), b * l->slots, -1)));
        }
}

/* The file's name of a parameter: the original Soft MoE is written as a formula there. */
static const char *file_name(arena *a, const struct layer *l, const char *what, const char *name)
{
    static const char *const own[][2] = {
        { "experts.vit_fc1.weight", "w1" }, { "experts.vit_fc1.bias", "b1" },
        { "experts.vit_fc2.weight", "w2" }, { "experts.vit_fc2.bias", "b2" },
    };
    if (l->kind != VMOE)
        return arena_printf(a, "%s.%s", what, name);
    for (int i = 0; i < 4; i++)
        if (!strcmp(name, own[i][0]))
            name = own[i][1];
    return arena_printf(a, "%s.%s", strcmp(what, "param") ? what : "in", name);
}

typedef const char *namer(arena *a, const void *who, const char *what, const char *name);

static void fill_params(struct golden *k, params *p, namer *name, const void *who)
{
    assert_int_equal(params_open(p, device, PARAMS_GRAD), 0);
    for (size_t i = 0; i < p->n; i++) {
        const tensor *t = golden_get(k, name(k->a, who, "param", p->list[i].name));
        if ((i64)t->count != shape_count(p->list[i].shape))
            fail_msg("%s: %s in ours, %lld elements in the file's", p->list[i].name,
                     shape_text(k->a, p->list[i].shape), (long long)t->count);
        assert_int_equal(params_write(p, &p->list[i], golden_reals(k, t)), 0);
    }
}

static const char *layer_name(arena *a, const void *l, const char *what, const char *name)
{
    return file_name(a, l, what, name);
}

/* The graph's nodes of all parameters, in their order. */
static int param_nodes(graph *g, params *p, node **out)
{
    int n = 0;
    for (size_t i = 0; i < p->n; i++)
        for (size_t k = 0; k < g->n; k++)
            if (g->nodes[k]->fixed && !strcmp(g->nodes[k]->name, p->list[i].name)) {
                out[n++] = g->nodes[k];
                break;
            }
    assert_int_equal(n, (int)p->n);
    return n;
}

static void run_layer_as(ckpt *c, const struct layer *l, const char *variant)
{
    struct golden k = golden_begin(device, c, "");
    const char *base = arena_printf(k.a, "%s.", l->name), *own = arena_printf(k.a, "%s%s", base, variant);
    k.prefix = base;
    struct spec s = layer_spec(k.a, l, strcmp(variant, "entmax."));
    struct moe moe = { l->core, l->universal, l->heads };
    const tensor *tx = golden_get(&k, "in.x");
    i64 b = tx->shape[0], d = tx->shape[tx->nd - 1];

    struct nn m = { graph_new(NULL), params_new() };
    moe_layer(&m, &s, &moe, graph_input(m.g, "x", F32, SHAPE(b, (i64)tx->count / (b * d), d)));
    graph_free(m.g);
    fill_params(&k, m.p, layer_name, l);

    struct nn t = { k.g, m.p };
    node *x = golden_in(&k, "in.x"), *cot = golden_in(&k, "cot"), *wrt[32], *grad[32];
    give(&k, &t, l, b);
    node *y = moe_layer(&t, &s, &moe, op_reshape(x, SHAPE(b, -1, d)));
    int n = param_nodes(k.g, m.p, wrt);
    wrt[n] = x;
    grad_build_from(y, op_reshape(cot, y->shape), wrt, n + 1, grad);

    golden_upload(&k);                            // inputs carry no variant
    k.n_in = 0;
    k.prefix = own;
    golden_expect(&k, y, "out", layer_forward);
    golden_expect(&k, grad[n], "grad.x", layer_gradient);
    for (int i = 0; i < n; i++) {
        simplify_place(grad[i], m.p->list[i].grad);                                   // as training has them
        const char *name = file_name(k.a, l, "grad", m.p->list[i].name);
        golden_expect_at(&k, m.p->list[i].grad, name, m.p->list[i].shape.nd ? layer_gradient : layer_scalar);
    }
    if (golden_find(&k, "aux.dispatch")) {
        golden_expect(&k, nn_find_tap(&t, "dispatch"), "aux.dispatch", layer_forward);
        golden_expect(&k, nn_find_tap(&t, "combine"), "aux.combine", layer_forward);
    }
    golden_end(&k);
    params_free(m.p);
}

static void run_layer(ckpt *c, const struct layer *l)
{
    if (l->kind != DUAL) {
        run_layer_as(c, l, "");
        return;
    }
    run_layer_as(c, l, "entmax.");
    if (!l->input_as_phi)                         // which the file has with entmax only
        run_layer_as(c, l, "softmax.");
}

/* ---- whole models -------------------------------------------------------------------------------------- */

struct network { const char *file, *prefix, *weights; const char *set[16]; };
#define DENSE "model.arch=vit", "model.image=32", "model.patch=8", "model.dim=48", "model.depth=4", \
              "model.heads=3"
#define JET   "model.arch=vit", "model.image=32", "model.patch=8", "model.dim=24", "model.depth=4", \
              "model.heads=3", "model.moe.layers=[2,3]", "model.moe.core=6", "model.moe.universal=12", \
              "model.moe.noise=off"
static const struct network networks[] = {
    { "vit_dense", "avg.", "avg.", { DENSE } },
    { "vit_dense", "token.", "avg.", { DENSE, "model.pool=token" } },
    { "vit_moe", "", "", { JET } },
    { "vit_moe", "softmax_combine.", "", { JET, "model.moe.combine=softmax" } },
    { "convnext_dense", "", "",
      { "model.arch=convnext", "model.image=32", "model.depths=[1,1,2,1]", "model.dims=[16,32,64,128]" } },
    { "convnext_moe", "", "",
      { "model.arch=convnext", "model.image=64", "model.depths=[1,1,2,1]", "model.dims=[8,16,32,48]",
        "model.moe.layers=[2,3,4]", "model.moe.core=2", "model.moe.universal=4", "model.moe.noise=off" } },
    // made by tests/golden/make.py
    { "tiny_vit", "", "",
      { "model.arch=vit", "model.image=16", "model.patch=8", "model.dim=21", "model.depth=2",
        "model.heads=3", "model.pool=token", "model.layer_scale=1e-6", "model.classes=7" } },
    { "tiny_moe", "", "",
      { "model.arch=vit", "model.image=[8,12]", "model.patch=4", "model.dim=20", "model.depth=3",
        "model.heads=4", "model.moe.layers=[1,2]", "model.moe.core=2", "model.moe.universal=3",
        "model.moe.slots=2", "model.moe.share=2", "model.moe.noise=off", "model.classes=5" } },
    { "tiny_soft", "", "",
      { "model.arch=vit", "model.image=[12,8]", "model.patch=4", "model.dim=12", "model.depth=2",
        "model.heads=1", "model.moe.layers=[1]", "model.moe.kind=soft", "model.moe.core=5",
        "model.classes=5" } },
    { "tiny_convnext", "", "",
      { "model.arch=convnext", "model.image=[40,32]", "model.depths=[1,2]", "model.dims=[6,18]",
        "model.moe.layers=[1,2]", "model.moe.core=2", "model.moe.universal=3", "model.moe.noise=off",
        "model.classes=5" } },
};

static struct spec network_spec(arena *a, const struct network *t)
{
    struct spec s;
    struct spec_set sets[17] = { { "test", "model.classes=10" } };
    int n = 1;
    for (int i = 0; t->set[i]; i++)
        sets[n++] = (struct spec_set){ "test", t->set[i] };
    if (spec_load(&s, a, NULL, sets, n))
        fail_msg("%s", fail_message());
    return s;
}

/* The file's name: a token model takes the other one's final norm. */
static const char *network_name(arena *a, const void *ctx, const char *what, const char *name)
{
    const struct network *t = ctx;
    bool norm = text_starts(name, "norm.") && !strcmp(t->prefix, "token.");
    return arena_printf(a, "%s%s.%s%s", t->weights, what, norm ? "fc_" : "", name);
}

/* The largest gradient of the model sets what round-off is worth. */
static f64 largest_gradient(const struct golden *k)
{
    f64 top = 0;
    for (int i = 0; i < ckpt_count(k->c); i++) {
        const tensor *t = ckpt_at(k->c, i);
        if (text_starts(t->name, arena_printf(k->a, "%sgrad.", k->prefix)))
            top = fmax(top, golden_top(golden_reals(k, t), (i64)t->count));
    }
    return top;
}

static void expect_taps(struct golden *k, const struct nn *m)
{
    static const char *const kinds[][2] = {
        { "aux.block%d", "block.%d" }, { "aux.block%d.mlp", "blocks.%d.mlp" },
        { "aux.stage%d", "stage.%d" }, { "aux.stem", "stem" },
    };
    for (int i = 0; i < 8; i++) {
        for (int j = 0; j < (i ? 3 : 4); j++) {
            const char *name = arena_printf(k->a, kinds[j][0], i), *tap = arena_printf(k->a, kinds[j][1], i);
            if (golden_find(k, name)) {
                assert_non_null(nn_find_tap(m, tap));
                golden_expect(k, nn_find_tap(m, tap), name, (struct tolerance){ 2e-5, 1e-6 });
            }
        }
    }
}

static void run_network(ckpt *c, const struct network *t, enum dtype half)
{
    struct golden k = golden_begin(device, c, "");
    struct spec s = network_spec(k.a, t);
    k.g->half = half;
    k.scale = half == F16 ? 1024 : 1;
    params *p = model_params(&s);
    assert_non_null(p);
    fill_params(&k, p, network_name, t);

    k.prefix = golden_find(&k, arena_printf(k.a, "%sin.images", t->prefix)) ? t->prefix : t->weights;
    struct nn m = { k.g, p };
    node *images = golden_in(&k, "in.images"), *labels = golden_in(&k, "in.soft_labels");
    node *logits = model_build(&m, &s, images), *loss = op_mean(op_cross_entropy(logits, labels, .1f));
    node **wrt = arena_array(k.a, node *, p->n), **grad = arena_array(k.a, node *, p->n);
    int n = param_nodes(k.g, p, wrt), found = 0;
    grad_build(k.scale > 1 ? op_scale(loss, (f32)k.scale) : loss, wrt, n, grad);
    golden_upload(&k);
    k.n_in = 0;
    k.prefix = t->prefix;
    golden_expect(&k, logits, "out.logits", (struct tolerance){ 2e-5, 1e-6 });
    golden_expect(&k, loss, "out.loss", (struct tolerance){ 1e-5, 1e-6 });
    expect_taps(&k, &m);
    struct tolerance tolerance = { 2e-5, 5e-6 * largest_gradient(&k) };
    for (int i = 0; i < n; i++) {
        simplify_place(grad[i], p->list[i].grad);
        const char *name = arena_printf(k.a, "grad.%s", p->list[i].name);
        if (golden_find(&k, name)) {
            golden_expect_at(&k, p->list[i].grad, name, tolerance);
            found++;
        }
    }
    assert_true(found > 5);
    golden_end(&k);
    params_free(p);
}

/* ---- all of them, with parts switched off -------------------------------------------------------------- */

static const char *const switches[] = { "", "no_plan", "no_join", "no_class" };

struct job { void (*run)(ckpt *c, const void *what); const void *what; const char *file, *trace; };
static void job_op(ckpt *c, const void *t)      { run_op(c, t); }
static void job_resize(ckpt *c, const void *t)  { run_resize(c, t); }
static void job_layer(ckpt *c, const void *t)   { run_layer(c, t); }
static void job_network(ckpt *c, const void *t) { run_network(c, t, F32); }

/* Built without optimisation: most of the time would be the compiler's. */
static void run_half_network(ckpt *c, const void *t, enum dtype half)
{
    bool own = !getenv("JETCL_CL_OPTIONS") && !setenv("JETCL_CL_OPTIONS", "-cl-opt-disable", 0);
    run_network(c, t, half);
    if (own)
        unsetenv("JETCL_CL_OPTIONS");
}
static void job_network_f16(ckpt *c, const void *t)  { run_half_network(c, t, F16); }
static void job_network_bf16(ckpt *c, const void *t) { run_half_network(c, t, BF16); }

static void test_job(void **state)
{
    const struct job *j = *state;
    ckpt *c = golden_open(j->file);
    trace_set(j->trace);
    j->run(c, j->what);
    trace_set("");
    ckpt_close(c);
}

enum { CASES = countof(op_cases) + countof(resizes) + countof(layers) + 2 * countof(networks) };
static struct job jobs[4 * CASES];
static struct CMUnitTest tests[4 * CASES];
static char names[4 * CASES][96];

/* With the first `ways` switches. */
static void add(int *n, const char *name, struct job j, int ways)
{
    const char *only = getenv("ONLY");            // part of a name, for debugging
    for (int i = 0; i < ways; i++) {
        j.trace = switches[i];
        snprintf(names[*n], sizeof names[*n], "%s %s%s%s", j.file, name, *j.trace ? " " : "", j.trace);
        if (only && !strstr(names[*n], only))
            continue;
        jobs[*n] = j;
        tests[*n] = (struct CMUnitTest){ names[*n], test_job, NULL, NULL, &jobs[*n] };
        ++*n;
    }
}

int main(void)
{
    int n = 0;
    arena *a = arena_open("names");
    say_setup((struct say_options){ SAY_QUIET, 0, true });
    for (int i = 0; i < countof(op_cases); i++)
        add(&n, op_cases[i].name, (struct job){ job_op, &op_cases[i], "ops" }, countof(switches));
    for (int i = 0; i < countof(resizes); i++)
        add(&n, resizes[i].name, (struct job){ job_resize, &resizes[i], "ops" }, countof(switches));
    for (int i = 0; i < countof(layers); i++)
        add(&n, layers[i].name, (struct job){ job_layer, &layers[i], "moe_layer" }, countof(switches));
    for (int i = 0; i < countof(networks); i++)
        add(&n, networks[i].prefix, (struct job){ job_network, &networks[i], networks[i].file },
            countof(switches));
    for (int i = 0; i < countof(networks); i++) {
        const struct network *t = &networks[i];
        add(&n, arena_printf(a, "%sfp16", t->prefix), (struct job){ job_network_f16, t, t->file }, 1);
        add(&n, arena_printf(a, "%sbf16", t->prefix), (struct job){ job_network_bf16, t, t->file }, 1);
    }
    int rc = _cmocka_run_group_tests("golden", tests, (size_t)n, open_device, close_device);
    arena_close(a);
    return rc;
}
