/* test_export.c: the ONNX files of `jetcl export`, unpacked by protobuf-c: a graph in order, of standard
 * operators, with our weights under their names. tests/peers/export.py compares what they compute, under ONNX
 * Runtime. */
#include "export_help.h"
#ifdef HAVE_ONNX
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
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
#else
NO_EXPORTS
#endif
