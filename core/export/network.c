/* network.c: a network and its weights as a list of ONNX nodes and of initialisers. */
#include "export/export.h"

struct exporting {
    const struct export *x;
    struct spec s;                                /* x's, without noise */
    arena  *a;
    params *p;
    ckpt   *weights;                              /* in single precision */
};

/* ---- weights ------------------------------------------------------------------------------------------- */

static int onnx_take(void *arg, const struct param *x, const f32 *values)
{
    struct exporting *e = arg;
    void *copy = arena_try(e->a, sizeof *values * (size_t)shape_count(x->shape), 64);
    if (!copy)
        return -1;
    memcpy(copy, values, sizeof *values * (size_t)shape_count(x->shape));
    ckpt_add(e->weights, arena_printf(e->a, "%s", x->name), CKPT_F32, x->shape.nd, x->shape.d, copy);
    return 0;
}

static int onnx_weights(struct exporting *e)
{
    e->weights = ckpt_new();
    model_describe(e->weights, &e->s, e->a, e->x->about);
    ckpt_set_meta(e->weights, "crop", arena_printf(e->a, "%g", e->s.eval.crop));
    return model_load_whole(e->p, &e->s, e->x->c, onnx_take, e);
}

/* ---- the network --------------------------------------------------------------------------------------- */

/* In evaluation, for so many images; what no node reads is dropped. */
static graph *onnx_network(struct exporting *e, int images, node **out)
{
    struct nn m = { graph_new(NULL), e->p };
    m.g->composed = true;
    node *in = graph_input(m.g, "images", F32, model_images(&e->s, images));
    *out = node_keep(model_build(&m, &e->s, in));
    simplify_drop(m.g);
    return m.g;
}

/* Parameters have their names, and what the network was built with besides is a constant. */
static void onnx_leaves(const struct exporting *e, struct onnx *o, const graph *g)
{
    for (size_t i = 0; i < g->n; i++) {
        const node *n = g->nodes[i];
        if (!n->fixed)
            continue;
        o->now = n;
        if (params_find(e->p, n->name))
            o->value[i] = n->name;
        else if (n->args)
            o->value[i] = onnx_half(o, onnx_values(o, n->shape, n->args));
        else
            o->value[i] = onnx_half(o, n->name);
    }
}

static void onnx_result(const struct exporting *e, struct onnx *o, const node *logits, const char *name)
{
    o->now = logits;
    const char *y = onnx_wide(o, o->value[logits->id]);
    if (e->x->probabilities) {
        y = onnx_apply(o, "Softmax", y);
        onnx_int(o, "axis", -1);
    }
    onnx_apply(o, "Identity", y);
    o->list[o->n - 1]->out = name;
}

static int onnx_write(struct exporting *e, const graph *g, const node *logits, struct onnx *o, const char *path)
{
    const char *name = e->x->probabilities ? "probabilities" : "logits";
    o->input = "images";
    onnx_leaves(e, o, g);
    if (onnx_graph(o, g))
        return -1;
    onnx_result(e, o, logits, name);
    struct onnx_model m = { o, e->weights, { "images", false, model_images(&e->s, 1) },
                            { name, false, SHAPE(1, e->s.model.classes) } };
    return onnx_save(&m, e->a, path);
}

int export_onnx(const struct export *x, const char *path)
{
    struct exporting e = { x, *x->s, arena_open("export") };
    node *logits, *other;
    graph *g = NULL, *twin = NULL;
    int rc = -1;
    e.s.model.moe.noise_when = NOISE_training;
    if (export_built() || !(e.p = model_params(&e.s)) || onnx_weights(&e))
        goto done;
    if (x->half)
        e.weights = ckpt_cast(e.weights, CKPT_F16);
    g = onnx_network(&e, 2, &logits);
    twin = onnx_network(&e, 3, &other);
    struct onnx o = { .a = e.a, .half = x->half, .twin = twin, .value = arena_array(e.a, const char *, g->n) };
    rc = onnx_write(&e, g, logits, &o, path);
done:
    graph_free(g);
    graph_free(twin);
    ckpt_close(e.weights);
    params_free(e.p);
    arena_close(e.a);
    return rc;
}
