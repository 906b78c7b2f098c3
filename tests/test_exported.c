/* test_exported.c: what an exported file computes, by ONNX's specification, is what the network computes by the
 * float64 loops of its ops, for another number of images than it was built for. */
#include "export_help.h"
#ifdef HAVE_ONNX
#include "onnx_plain.h"

enum { IMAGES = 3 };

static const f64 *as_f64(arena *a, const f32 *v, i64 n)
{
    f64 *out = arena_array(a, f64, n);
    LOOP(i, n) out[i] = v[i];
    return out;
}

static const f64 *leaf_values(const struct exported *e, const node *n, const f64 *images)
{
    for (size_t i = 0; i < e->p->n; i++)
        if (!strcmp(e->p->list[i].name, n->name))
            return as_f64(e->a, e->values[i], node_count(n));
    return n->fixed && n->args ? as_f64(e->a, n->args, node_count(n)) : images;
}

/* The logits of the model in evaluation, each node by its op's loops. */
static const f64 *network_values(const struct exported *e, const f64 *images)
{
    struct nn m = { graph_new(NULL), e->p };
    const f64 *operands[MAX_IN], *y = NULL;
    struct spec s = e->s;
    s.model.moe.noise_when = NOISE_training;
    m.g->composed = true;
    node *logits = model_build(&m, &s, graph_input(m.g, "images", F32, model_images(&e->s, IMAGES)));
    f64 **of = arena_array(e->a, f64 *, m.g->n);
    assert_null(m.g->complaint);
    for (size_t i = 0; i < m.g->n; i++) {
        const node *n = m.g->nodes[i];
        if (n->op->flags & OP_LEAF) {
            of[n->id] = (f64 *)leaf_values(e, n, images);
            continue;
        }
        of[n->id] = arena_array(e->a, f64, node_count(n));
        LOOP(k, n->n_in) operands[k] = of[n->in[k]->id];
        if (!n->op->host)
            fail_msg("%s has no loops", n->op->name);
        n->op->host(n, operands, of[n->id]);
    }
    y = of[logits->id];
    graph_free(m.g);
    return y;
}

static const struct value *file_values(struct exported *e, const f64 *images)
{
    static struct values all;
    const Onnx__GraphProto *g = e->m->graph;
    all = (struct values){ .a = e->a };
    for (size_t i = 0; i < g->n_initializer; i++) {
        const Onnx__TensorProto *t = g->initializer[i];
        struct value x = value_new(e->a, (int)t->n_dims, t->dims);
        for (size_t k = 0; k < e->p->n; k++)
            if (!strcmp(e->p->list[k].name, t->name))
                memcpy(x.v, as_f64(e->a, e->values[k], value_count(&x)), sizeof *x.v * (size_t)value_count(&x));
        value_add(&all, t->name, x);
    }
    struct shape s = model_images(&e->s, IMAGES);
    struct value x = value_new(e->a, s.nd, s.d);
    memcpy(x.v, images, sizeof *x.v * (size_t)value_count(&x));
    value_add(&all, "images", x);
    return plain_graph(&all, g);
}

/* Numbers of float32 are constants of the file (1 / sqrt(d), epsilons): 1e-6 of the largest. */
static void compare(const char *model, bool half, bool probabilities)
{
    struct exported e = exported(model, half, probabilities);
    i64 n = shape_count(model_images(&e.s, IMAGES));
    f64 *images = arena_array(e.a, f64, n), want[IMAGES * 3], most = 0, sum;
    rng r = rng_at(3, RNG_TEST, 0, 0);
    LOOP(i, n) images[i] = rng_normal(&r);
    const struct value *got = file_values(&e, images);
    memcpy(want, network_values(&e, images), sizeof want);
    LOOP(b, probabilities ? IMAGES : 0) {
        sum = exp(want[3 * b]) + exp(want[3 * b + 1]) + exp(want[3 * b + 2]);
        LOOP(k, 3) want[3 * b + k] = exp(want[3 * b + k]) / sum;
    }
    assert_true(got->nd == 2 && got->d[0] == IMAGES && got->d[1] == 3);
    LOOP(i, IMAGES * 3) most = fmax(most, fabs(want[i]));
    assert_true(most > 1e-3);
    LOOP(i, IMAGES * 3) if (!(fabs(got->v[i] - want[i]) <= 1e-6 * most))
        fail_msg("%s: output %d is %.9g, not %.9g", model, (int)i, got->v[i], want[i]);
    forget(&e);
}

static void files_compute_the_network(void **state)
{
    (void)state;
    for (int i = 0; i < 2 * countof(rows); i++) {
        queries = i % 2 ? 1 : 1e-5f;
        compare(rows[i / 2].model, false, i / 2 % 2);
    }
    compare(VIT ", act: gelu_tanh, moe: {layers: [1], core: 2, universal: 2, noise_when: always}", false,
            false);
    compare(rows[3].model, true, true);            // casts change nothing in float64
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(files_compute_the_network) };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
#else
NO_EXPORTS
#endif
