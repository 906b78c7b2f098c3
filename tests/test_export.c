/* test_export.c: the ONNX files of `jetcl export`, unpacked by protobuf-c: a graph in order, of standard
 * operators, with our weights under their names. tests/peers/export.py compares what they compute, under ONNX
 * Runtime. */
#include "unit.h"
#include "export/export.h"
#ifdef HAVE_ONNX
#include "onnx.pb-c.h"
#include <stdlib.h>
#include <unistd.h>

#define VIT "arch: vit, image: [8, 12], patch: 4, dim: 8, depth: 2, heads: 2, classes: 3"
#define CONVNEXT "arch: convnext, image: 32, depths: [1, 2], dims: [4, 8], classes: 3"

/* How many of the operators that say which network it is: attention and dispatch are softmaxes, entmax sorts.
 * */
static const struct { const char *model; int softmax, topk, conv, erf, expand; } rows[] = {
    { VIT, 2, 0, 0, 2, 1 },
    { VIT ", pool: token, dist_token: head, registers: 2, pre_norm: on", 2, 0, 0, 2, 3 },
    { VIT ", class_token: off, act: quick_gelu, qkv_bias: off, layer_scale: 1", 2, 0, 0, 0, 0 },
    { VIT ", moe: {layers: [1], core: 2, universal: 3}", 3, 1, 0, 3, 1 },
    { VIT ", moe: {layers: [0, 1], core: 2, universal: 0, slots: 2, combine: softmax}", 6, 0, 0, 2, 1 },
    { VIT ", moe: {layers: [0, 1], core: 1, universal: 2, share: 2, multi_head: on}", 4, 2, 0, 4, 1 },
    { VIT ", moe: {layers: [1], core: 2, universal: 2, input_as_phi: on, key_proj: on}", 3, 1, 0, 3, 1 },
    { VIT ", moe: {kind: vmoe, layers: [1], core: 4}", 4, 0, 0, 2, 1 },
    { CONVNEXT, 0, 0, 3, 3, 0 },
    { CONVNEXT ", grn: on, layer_scale: off", 0, 0, 3, 3, 0 },
    { CONVNEXT ", moe: {layers: [1, 2], core: 2, universal: 2}", 2, 2, 3, 5, 0 },
};

/* Every operator that an export may use, with its operands. */
static const struct { const char *type; size_t least, most; } operators[] = {
    { "Add", 2, 2 }, { "Cast", 1, 1 }, { "Concat", 2, 3 }, { "Constant", 0, 0 }, { "Conv", 2, 3 },
    { "CumSum", 2, 2 },
    { "Div", 2, 2 }, { "Erf", 1, 1 }, { "Exp", 1, 1 }, { "Expand", 2, 2 }, { "Gather", 2, 2 },
    { "GatherElements", 2, 2 }, { "Identity", 1, 1 }, { "LayerNormalization", 2, 3 }, { "LessOrEqual", 2, 2 },
    { "MatMul", 2, 2 }, { "Max", 2, 2 }, { "Mul", 2, 2 }, { "ReduceMax", 1, 1 }, { "ReduceSum", 2, 2 },
    { "Reshape", 2, 2 }, { "Shape", 1, 1 }, { "Slice", 4, 4 }, { "Softmax", 1, 1 }, { "Sqrt", 1, 1 },
    { "Sub", 2, 2 },
    { "Tanh", 1, 1 }, { "TopK", 2, 2 }, { "Transpose", 1, 1 },
};

static char file[] = "/tmp/jetcl_export_XXXXXX";
static const char *const classes[] = { "cat", "dog \"x\"", "\xc3\xa9lan" };
static const f64 mean[3] = { 120, 110, 100 };

struct exported { arena *a; struct spec s; params *p; f32 **values; ckpt *c; Onnx__ModelProto *m; };


/* Random weights of a model, exported and unpacked. */
static struct exported exported(const char *model, bool half, bool probabilities)
{
    struct exported e = { arena_open("test") };
    const char *text = arena_printf(e.a, "model: {%s, drop_path: off}", model);
    if (spec_parse(&e.s, e.a, "x.yaml", text, NULL, 0) || !(e.p = model_params(&e.s)))
        fail_msg("%s: %s", model, fail_message());
    e.values = arena_array(e.a, f32 *, e.p->n);
    e.c = ckpt_new();
    for (size_t i = 0; i < e.p->n; i++) {
        const struct param *x = &e.p->list[i];
        e.values[i] = arena_array(e.a, f32, shape_count(x->shape));
        param_start(x, 1, e.values[i], e.a);
        ckpt_add(e.c, x->name, CKPT_F32, x->shape.nd, x->shape.d, e.values[i]);
    }
    e.c = ckpt_model(e.c, false);
    struct model_about about = { .classes = classes, .n_classes = 3, .mean = mean, .std = mean };
    struct export x = { &e.s, e.c, &about, half, probabilities };
    size_t n;
    const char *bytes = e.c && !export_onnx(&x, file) ? file_text(e.a, file, &n) : NULL;
    e.m = bytes ? onnx__model_proto__unpack(NULL, n, (const u8 *)bytes) : NULL;
    if (!e.m)
        fail_msg("%s: %s", model, fail_message());
    return e;
}

static void forget(struct exported *e)
{
    onnx__model_proto__free_unpacked(e->m, NULL);
    ckpt_close(e->c);
    params_free(e->p);
    arena_close(e->a);
}

static bool among(const char *const *names, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(names[i], name))
            return true;
    return false;
}

static void check_operator(const Onnx__NodeProto *n)
{
    for (int i = 0; i < countof(operators); i++)
        if (!strcmp(operators[i].type, n->op_type)) {
            if (n->n_input < operators[i].least || n->n_input > operators[i].most)
                fail_msg("%s has %zu operands", n->name, n->n_input);
            return;
        }
    fail_msg("%s is a %s", n->name, n->op_type);
}

/* Every operand is there before its node; every value has one maker and, but for the result and places, a
 * reader. */
static void check_order(arena *a, const Onnx__GraphProto *g)
{
    const char **have = arena_array(a, const char *, 2 * g->n_node + g->n_initializer + 1);
    const char **read = arena_array(a, const char *, 4 * g->n_node + 1);
    size_t n = 0, n_read = 0;
    have[n++] = g->input[0]->name;
    for (size_t i = 0; i < g->n_initializer; i++)
        have[n++] = g->initializer[i]->name;
    for (size_t i = 0; i < g->n_node; i++) {
        const Onnx__NodeProto *x = g->node[i];
        check_operator(x);
        for (size_t k = 0; k < x->n_input; k++) {
            if (!among(have, n, x->input[k]))
                fail_msg("%s reads %s, which nothing made before", x->name, x->input[k]);
            read[n_read++] = x->input[k];
        }
        for (size_t k = 0; k < x->n_output; k++) {
            if (among(have, n, x->output[k]))
                fail_msg("%s is made twice", x->output[k]);
            have[n++] = x->output[k];
        }
    }
    assert_true(among(have, n, g->output[0]->name));
    for (size_t i = 0; i < n; i++)
        if (!among(read, n_read, have[i]) && strcmp(have[i], g->output[0]->name)
            && !text_ends(have[i], ":places"))
            fail_msg("nothing reads %s", have[i]);
}

static void check_port(const Onnx__ValueInfoProto *p, const char *name, struct shape s)
{
    const Onnx__TypeProto__Tensor *t = p->type->tensor_type;
    assert_string_equal(p->name, name);
    assert_int_equal(t->elem_type, ONNX_FLOAT);
    assert_int_equal(t->shape->n_dim, s.nd);
    assert_string_equal(t->shape->dim[0]->dim_param, "batch");
    for (int i = 1; i < s.nd; i++)
        assert_int_equal(t->shape->dim[i]->dim_value, s.d[i]);
}

static int operators_of(const Onnx__GraphProto *g, const char *type)
{
    int n = 0;
    for (size_t i = 0; i < g->n_node; i++)
        n += !strcmp(g->node[i]->op_type, type);
    return n;
}

static void graphs_are_whole(void **state)
{
    (void)state;
    for (int i = 0; i < countof(rows); i++) {
        struct exported e = exported(rows[i].model, false, false);
        const Onnx__GraphProto *g = e.m->graph;
        assert_true(e.m->ir_version == 8 && e.m->n_opset_import == 1 && e.m->opset_import[0]->version == 17);
        check_port(g->input[0], "images", model_images(&e.s, 1));
        check_port(g->output[0], "logits", SHAPE(1, 3));
        check_order(e.a, g);
        int have[] = { operators_of(g, "Softmax"), operators_of(g, "TopK"), operators_of(g, "Conv"),
                       operators_of(g, "Erf"), operators_of(g, "Expand") };
        int want[] = { rows[i].softmax, rows[i].topk, rows[i].conv, rows[i].erf, rows[i].expand };
        for (int k = 0; k < countof(have); k++)
            if (have[k] != want[k])
                fail_msg("%s: %d in place of %d (Softmax, TopK, Conv, Erf, Expand: the %d.)", rows[i].model,
                         have[k], want[k], k + 1);
        forget(&e);
    }
}

/* Our reader finds the weights, bit for bit, and what the metadata says. */
static void weights_are_read_back(void **state)
{
    (void)state;
    for (int i = 0; i < countof(rows); i++) {
        struct exported e = exported(rows[i].model, false, false);
        ckpt *c = ckpt_open_model(file, false);
        if (!c)
            fail_msg("%s: %s", rows[i].model, fail_message());
        assert_int_equal(ckpt_count(c), e.p->n);
        for (size_t k = 0; k < e.p->n; k++) {
            const struct param *x = &e.p->list[k];
            const tensor *t = ckpt_find(c, x->name);
            if (!t || !tensor_shape_is(t, x->shape.nd, x->shape.d)
                || memcmp(tensor_data(t), e.values[k], t->bytes))
                fail_msg("%s: %s is not what it was", rows[i].model, x->name);
        }
        assert_string_equal(ckpt_meta(c, "classes"), "[\"cat\",\"dog \\\"x\\\"\",\"\xc3\xa9lan\"]");
        assert_string_equal(ckpt_meta(c, "mean"), "120 110 100");
        assert_string_equal(ckpt_meta(c, "crop"), "0.875");
        ckpt_close(c);
        forget(&e);
    }
}

static void halves_have_their_types(void **state)
{
    (void)state;
    struct exported e = exported(rows[3].model, true, true);
    const Onnx__GraphProto *g = e.m->graph;
    check_order(e.a, g);
    check_port(g->output[0], "probabilities", SHAPE(1, 3));
    assert_int_equal(operators_of(g, "Softmax"), rows[3].softmax + 1);
    for (size_t i = 0; i < g->n_initializer; i++) {
        const Onnx__TensorProto *t = g->initializer[i];
        assert_int_equal(t->data_type, ONNX_HALF);
        assert_int_equal(t->raw_data.len, 2 * shape_count(params_find(e.p, t->name)->shape));
    }
    assert_string_equal(g->node[g->n_node - 2]->op_type, "Softmax");
    forget(&e);
}

static void what_cannot_be_written_leaves_nothing(void **state)
{
    (void)state;
    struct exported e = exported(VIT, false, false);
    struct export x = { &e.s, e.c };
    assert_int_equal(export_onnx(&x, "/nowhere/model.onnx"), -1);
    assert_int_equal(fail_fault(), FAULT_RUN);
    e.s.model.classes = 4;                        // the file has three
    assert_int_equal(export_onnx(&x, file), -1);
    assert_int_equal(fail_fault(), FAULT_DATA);
    assert_non_null(strstr(fail_message(), "head.weight"));
    forget(&e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(graphs_are_whole),
        cmocka_unit_test(weights_are_read_back),
        cmocka_unit_test(halves_have_their_types),
        cmocka_unit_test(what_cannot_be_written_leaves_nothing),
    };
    int fd = mkstemp(file);
    if (fd >= 0)
        close(fd);
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(file);
    return rc;
}
#else
int main(void)
{
    puts("skip export  ./configure did not find protobuf-c: apt-get install libprotobuf-c-dev "
         "protobuf-c-compiler");
    return 0;
}
#endif
