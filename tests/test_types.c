/* test_types.c: what a training step's graph stores in which type, on both classes of kernels: what must be F32
 * is, however it is computed, and what costs memory is not. No kernel is built. Values: test_half.c. */
#include "on_device.h"
#include "model/model.h"
#include "op/op.h"

#define VIT "model: {arch: vit, image: 16, patch: 4, dim: 48, depth: 3, heads: 3, classes: 3, drop_path: 0.1"
static const char *const models[] = {
    VIT,
    VIT ", moe: {kind: soft, layers: [1, 2], core: 4, noise: 0.1}",
    VIT ", moe: {kind: vmoe, layers: [1, 2], core: 4}",
    VIT ", moe: {layers: [1, 2], core: 2, universal: 3, share: 2, combine: softmax}",
    VIT ", moe: {layers: [1, 2], core: 2, universal: 3, multi_head: on}",
    VIT ", moe: {layers: [1, 2], core: 2, universal: 3}",
    "model: {arch: convnext, image: 32, dims: [16, 24, 32, 40], depths: [1, 1, 2, 1], classes: 3"
};

enum { BATCH = 7 };                               /* divides none of the models' sizes */

static bool is_op(const node *n, const char *name) { return !strcmp(n->op->name, name); }

static void expect_f32(const node *n, const node *of, const char *what)
{
    if (n->type != F32)
        fail_msg("%s: %s %s of %s is stored in %s", what, n->op->name, shape_text(n->g->a, n->shape), of->name,
                 dtype_name(n->type));
}

/* ---- what must be F32 ---------------------------------------------------------------------------------- */

static bool takes_logits(const node *n)
{
    static const char *const ops[] = { "softmax", "entmax", "route", "route_dispatch", "route_combine" };
    for (int i = 0; i < countof(ops); i++)
        if (is_op(n, ops[i]))
            return true;
    return false;
}

/* The operand that was computed: not a temperature, nor the words that noise is drawn by. */
static const node *computed(const node *n)
{
    int k = 0;
    while (k < n->n_in - 1 && n->in[k]->op->flags & OP_LEAF)
        k++;
    return n->in[k];
}

/* From a softmax back to the product that its logits are: a temperature multiplies what is rounded between. */
static void check_logits(const node *softmax)
{
    const node *n = softmax;
    do {
        n = computed(n);
        expect_f32(n, softmax, "logits");
    } while (!is_op(n, "matmul") && n->n_in);
    assert_true(is_op(n, "matmul"));
}

/* Without half types in its kernels an op reads and gives floats: casts stand around it. */
static void check_casts(const dev *d, const node *n)
{
    static const struct { const char *op, *file; } rows[] = {
#define POLICY(op, file, operands, result) { #op, file },
#include "fuse/precision.def"
#undef POLICY
    };
    bool able = n->op->flags & (OP_ALIAS | OP_LEAF);
    for (int i = 0; i < countof(rows); i++)
        able |= is_op(n, rows[i].op) && (!*rows[i].file || dev_has_types(d, rows[i].file));
    for (int k = 0; k < n->n_in && !able && !n->maker; k++)
        if (n->in[k]->type != I32)
            expect_f32(n->in[k], n, "read as floats");
    if (!able && n->type != I32)
        expect_f32(n, n, "written as floats");
}

/* Routing's two results, or what their gradients are put together in: an array with a gap. */
static bool has_gap(const node *n) { return is_op(n, "route") || is_op(n, "pad"); }

/* Of what depends on the images, sums over them have not their number among their factors. */
static bool summed(const node *n) { return node_count(n) % BATCH && !has_gap(n) && !has_gap(n->in[0]); }

static void check_node(const node *n, bool data)
{
    if (n->fixed && n->type != I32)
        expect_f32(n, n, "a parameter or its gradient");
    if (data && n->n_in && summed(n))
        expect_f32(n, n, "a sum over the batch");
    if (is_op(n, "sum"))
        expect_f32(n, n, "a sum");
    if (takes_logits(n))
        check_logits(n);
    if (is_op(n, "cross_entropy") || is_op(n, "cross_entropy_grad"))
        for (int k = 0; k < n->n_in; k++)
            expect_f32(n->in[k], n, "the loss");
    if (is_op(n, "route_grad"))
        expect_f32(n, n, "the temperatures' gradients");
    if (is_op(n, "attention_grad"))
        expect_f32(n->in[2], n, "attention's statistics");
    if (is_op(n, "layernorm") || is_op(n, "depthwise"))
        expect_f32(n->in[1], n, "weights");
}

/* ---- graphs -------------------------------------------------------------------------------------------- */

static graph *typed_graph(dev *d, const struct spec *s, params *p)
{
    graph *g = graph_new(d);
    struct nn m = { g, p, .train = true };
    g->half = model_precision(s);
    node *images = graph_input(g, "images", F32, model_images(s, BATCH));
    node *targets = graph_input(g, "targets", F32, SHAPE(BATCH, s->model.classes));
    node *loss = op_mean(op_cross_entropy(model_build(&m, s, images), targets, 0.1f));
    node **wrt = arena_array(g->a, node *, p->n), **grads = arena_array(g->a, node *, p->n);
    for (size_t i = 0; i < p->n; i++)
        wrt[i] = nn_node(&m, p->list[i].name);
    model_grad(s, loss, wrt, (int)p->n, grads);
    for (size_t i = p->n; i-- > 0;)
        simplify_place(grads[i], RANGE_NONE);
    simplify_graph(g);
    return g;
}

/* Of what an op computes from the images more than half is stored in the half type. */
static void check_share(const graph *g, const char *op)
{
    const bool *data = graph_data(g);
    i64 half = 0, all = 0;
    for (size_t i = 0; i < g->n; i++) {
        const node *n = g->nodes[i];
        if (!data[i] || n->fixed || n->maker || !is_op(n, op))
            continue;
        all += node_count(n);
        half += dtype_half(n->type) ? node_count(n) : 0;
    }
    if (2 * half < all)
        fail_msg("%s: %lld of %lld elements are stored in half", op, (long long)half, (long long)all);
}

static void check_graph(dev *d, const char *model, const char *train)
{
    arena *a = arena_open("test");
    params *p = params_new();
    struct spec s;
    const char *text = arena_printf(a, "%s}\ntrain: {batch: 7, %s}\n", model, train);
    if (spec_parse(&s, a, "test", text, NULL, 0))
        fail_msg("%s: %s", text, fail_message());
    graph *g = typed_graph(d, &s, p);
    if (g->complaint)
        fail_msg("%s: %s", text, g->complaint);
    static const char *const small[] = { "matmul", "attention", "map", "layernorm", "l2norm" };
    const bool *data = graph_data(g);
    int softmaxes = 0;
    for (size_t i = 0; i < g->n; i++) {
        check_node(g->nodes[i], data[i]);
        check_casts(d, g->nodes[i]);
        softmaxes += takes_logits(g->nodes[i]);
    }
    assert_true(softmaxes >= (strstr(model, "moe:") ? 2 + !!strstr(train, "recompute") : 0));
    for (int i = 0; i < countof(small); i++)
        check_share(g, small[i]);
    graph_free(g);
    params_free(p);
    arena_close(a);
}

/* Fused kernels, single ones, and those of any device; blocks that are computed again, too. */
static void test_policy(void **state)
{
    (void)state;
    static const char *const ways[] = { "", "no_join", "no_class" },
                            *const trains[] = { "precision: bf16", "precision: fp16",
                                                "precision: bf16, recompute: blocks" };
    dev *other = dev_open(NULL);
    assert_non_null(other);
    dev_force_class(other, dev_class(device) == DEV_GPU ? DEV_CPU : DEV_GPU);
    for (int k = 0; k < countof(models); k++)
        for (int w = 0; w < countof(ways); w++)
            for (int i = 0; i < countof(trains); i++) {
                trace_set(ways[w]);
                check_graph(device, models[k], trains[i]);
                check_graph(other, models[k], trains[i]);
            }
    trace_set("");
    dev_close(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_policy) };
    say_setup((struct say_options){ SAY_QUIET, 0, true });
    return cmocka_run_group_tests(tests, open_device, close_device);
}
