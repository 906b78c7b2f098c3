/* test_ckpt_foreign.c: weights in files that were not made to hold weights: ONNX graphs, pickles of NumPy
 * arrays. Files are built byte by byte here. */
#include "ckpt_help.h"

struct bytes { u8 p[4096]; size_t n; };

static void add(struct bytes *b, const void *p, size_t n)
{
    assert_true(b->n + n <= sizeof b->p);
    memcpy(b->p + b->n, p, n);
    b->n += n;
}

static void add_text(struct bytes *b, const char *s) { add(b, s, strlen(s)); }

/* ---- ONNX ---------------------------------------------------------------------------------------------- */

static void field(struct bytes *b, int number, const void *p, size_t n) /* of bytes, shorter than 16 kB */
{
    u8 head[3] = { (u8)(number << 3 | 2), (u8)(n | 128), (u8)(n >> 7) };
    add(b, head, 3);
    add(b, p, n);
}

static void number(struct bytes *b, int field, u8 v) { add(b, (u8[]){ (u8)(field << 3), v }, 2); }

static struct bytes initialiser(const char *name, int type, u8 rows, u8 columns, int data, const void *p,
                                size_t n)
{
    struct bytes t = { .n = 0 };
    number(&t, 1, rows);
    if (columns)
        number(&t, 1, columns);
    number(&t, 2, (u8)type);
    field(&t, 8, name, strlen(name));
    field(&t, data, p, n);
    return t;
}

static struct bytes model(const struct bytes *graph)
{
    struct bytes m = { .n = 0 };
    number(&m, 1, 8);
    field(&m, 2, "test", 4);
    field(&m, 7, graph->p, graph->n);
    return m;
}

static const f32 values[6] = { 1, 2, 3, 4, 5, 6 };

static ckpt *open_graph(const struct bytes *graph)
{
    static struct bytes m;
    m = model(graph);
    fail_clear();
    return ckpt_open_bytes(m.p, m.n, "x");
}

static void initialisers_are_tensors(void **state)
{
    (void)state;
    struct bytes g = { .n = 0 }, t = initialiser("a.weight", 1, 2, 3, 9, values, 24);
    field(&g, 5, t.p, t.n);
    t = initialiser("b", 1, 6, 0, 4, values, 24);    // float_data, packed
    field(&g, 5, t.p, t.n);
    t = initialiser("c", 7, 2, 0, 7, "\x05\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11);       // 5, -1
    field(&g, 5, t.p, t.n);
    t = initialiser("text", 8, 1, 0, 6, "x", 1);
    field(&g, 5, t.p, t.n);
    ckpt *c = open_graph(&g);
    if (!c)
        fail_msg("%s", fail_message());
    const char *example;
    assert_string_equal(ckpt_format(c), "onnx");
    assert_int_equal(ckpt_count(c), 3);
    assert_int_equal(ckpt_skipped(c, &example), 1);
    assert_memory_equal(tensor_data(ckpt_find(c, "a.weight")), values, 24);
    assert_memory_equal(tensor_data(ckpt_find(c, "b")), values, 24);
    const i64 *v = tensor_data(ckpt_find(c, "c"));
    assert_true(v[0] == 5 && v[1] == -1);
    ckpt_close(c);
}

/* A product's nameless weight has its layer's path and shape again. */
static void nodes_name_their_weights(void **state)
{
    (void)state;
    struct bytes g = { .n = 0 }, n = { .n = 0 }, t = initialiser("onnx::MatMul_7", 1, 2, 3, 9, values, 24);
    field(&n, 1, "x", 1);
    field(&n, 1, "onnx::MatMul_7", 14);
    field(&n, 3, "/encoder/layer.0/mlp/fc1/MatMul", 31);
    field(&n, 4, "MatMul", 6);
    field(&g, 1, n.p, n.n);
    field(&g, 5, t.p, t.n);
    ckpt *c = open_graph(&g);
    const tensor *w = c ? ckpt_find(c, "encoder.layer.0.mlp.fc1.weight") : NULL;
    if (!w)
        fail_msg("%s", fail_message());
    assert_true(tensor_shape_is(w, 2, (i64[]){ 3, 2 }));
    const f32 *v = tensor_data(w);
    assert_true(v[0] == 1 && v[1] == 4 && v[2] == 2 && v[5] == 6);
    ckpt_close(c);
}

/* A tensor whose bytes lie in `file` from `offset` on; "" for a property that is left out. */
static struct bytes elsewhere(const char *file, const char *offset, const char *length)
{
    struct bytes t = { .n = 0 };
    const char *const said[][2] = { { "location", file }, { "offset", offset }, { "length", length } };
    number(&t, 1, 2);
    number(&t, 1, 3);
    number(&t, 2, 1);
    field(&t, 8, "a", 1);
    for (int i = 0; i < 3; i++) {
        struct bytes p = { .n = 0 };
        field(&p, 1, said[i][0], strlen(said[i][0]));
        field(&p, 2, said[i][1], strlen(said[i][1]));
        if (*said[i][1])
            field(&t, 13, p.p, p.n);
    }
    number(&t, 14, 1);
    return t;
}

static ckpt *open_beside(const struct bytes *t)
{
    char path[4096];
    struct bytes g = { .n = 0 };
    field(&g, 5, t->p, t->n);
    struct bytes m = model(&g);
    scratch_path(path, "model.onnx");
    assert_int_equal(file_save(path, m.p, m.n), 0);
    fail_clear();
    return ckpt_open(path);
}

static void weights_may_lie_beside_a_graph(void **state)
{
    (void)state;
    static const struct { const char *file, *offset, *length; f32 first; } good[] = {
        { "model.data", "", "", 1 }, { "model.data", "0", "24", 1 }, { "more.data", "8", "24", 2 } };
    static const struct { const char *file, *offset, *length, *says; } bad[] = {
        { "../model.data", "", "", "does not lie beside" }, { "/etc/passwd", "", "", "does not lie beside" },
        { "", "0", "24", "does not lie beside" }, { "sub\\x", "", "", "does not lie beside" },
        { "two\nlines", "", "", "two\\x0alines' does not lie beside" },
        { "..", "", "", "does not lie beside" }, { "none.data", "", "", "none.data" },
        { "model.data", "8", "24", "lies at" }, { "model.data", "25", "", "lies at" },
        { "model.data", "-1", "24", "lies at" }, { "model.data", "99999999999999999999999", "", "lies at" },
        { "model.data", "0", "18446744073709551615", "lies at" }, { "model.data", "0", "20", "needs 24" } };
    char path[4096];
    scratch_path(path, "model.data");
    assert_int_equal(file_save(path, values, 24), 0);
    scratch_path(path, "more.data");
    f32 more[8] = { 0, 0 };
    memcpy(more + 2, values + 1, 20);
    assert_int_equal(file_save(path, more, 32), 0);
    for (int i = 0; i < countof(good); i++) {
        struct bytes t = elsewhere(good[i].file, good[i].offset, good[i].length);
        ckpt *c = open_beside(&t);
        if (!c)
            fail_msg("%s", fail_message());
        assert_true(*(const f32 *)tensor_data(ckpt_find(c, "a")) == good[i].first);
        ckpt_close(c);
    }
    for (int i = 0; i < countof(bad); i++) {
        struct bytes t = elsewhere(bad[i].file, bad[i].offset, bad[i].length);
        if (open_beside(&t) || fail_fault() != FAULT_DATA || !strstr(fail_message(), bad[i].says))
            fail_msg("%s at %s: '%s' does not say '%s'", bad[i].file, bad[i].offset, fail_message(),
                     bad[i].says);
    }
    struct bytes t = elsewhere("model.data", "", ""), g = { .n = 0 };     // bytes without a folder
    field(&g, 5, t.p, t.n);
    assert_null(open_graph(&g));
}

static void damaged_graphs_are_refused(void **state)
{
    (void)state;
    struct bytes g = { .n = 0 }, t = initialiser("a", 1, 2, 3, 9, values, 20);
    field(&g, 5, t.p, t.n);
    assert_null(open_graph(&g));
    assert_non_null(strstr(fail_message(), "20 bytes, but its shape needs 24"));
    g.n = 0;
    t = initialiser("a", 1, 2, 3, 9, values, 24);
    field(&g, 5, t.p, t.n);
    struct bytes m = model(&g);
    for (size_t n = 5; n < m.n; n++) {               // cut anywhere
        fail_clear();
        ckpt *c = ckpt_open_bytes(m.p, n, "x");
        assert_true(!c && fail_fault() == FAULT_DATA);
    }
}

/* ---- pickles of arrays --------------------------------------------------------------------------------- */

/* {'w': array} as protocol 4 writes it; order '<' or '>', fortran b"\x88" or b"\x89" */
static struct bytes pickled(const char *order, const char *fortran, u8 size)
{
    struct bytes b = { .n = 0 };
    add(&b, "\x80\4}\x8c\1w", 6);
    add_text(&b, "cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK");
    add(&b, "\0\x85" "C\1b\x87R(K\1K\2K\3\x86", 15);
    add_text(&b, "cnumpy\ndtype\n\x8c");
    add(&b, "\2f4\x89\x88\x87R(K\3\x8c\1", 12);
    add_text(&b, order);
    add_text(&b, "NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK");
    add(&b, "\0tb", 3);
    add_text(&b, fortran);
    add(&b, "C", 1);
    add(&b, &size, 1);
    add(&b, values, size);
    add_text(&b, "tbs.");
    return b;
}

static void arrays_are_unpickled(void **state)
{
    (void)state;
    static const struct { const char *order, *fortran; f32 second; } row[] = {
        { "<", "\x89", 2 }, { "<", "\x88", 3 }, { ">", "\x89", 2 } };
    for (int i = 0; i < countof(row); i++) {
        struct bytes b = pickled(row[i].order, row[i].fortran, 24);
        ckpt *c = ckpt_open_bytes(b.p, b.n, "x");
        const tensor *t = c ? ckpt_find(c, "w") : NULL;
        if (!t)
            fail_msg("%s", fail_message());
        assert_true(tensor_shape_is(t, 2, (i64[]){ 2, 3 }) && t->type == CKPT_F32);
        u8 v[4];
        memcpy(v, (const u8 *)tensor_data(t) + 4, 4);
        if (*row[i].order == '>')
            for (int k = 0; k < 2; k++) {
                u8 keep = v[k];
                v[k] = v[3 - k];
                v[3 - k] = keep;
            }
        assert_memory_equal(v, &row[i].second, 4);
        ckpt_close(c);
    }
    struct bytes b = pickled("<", "\x89", 20);
    assert_null(ckpt_open_bytes(b.p, b.n, "x"));
    assert_non_null(strstr(fail_message(), "20 bytes, but its shape needs 24"));
    b = pickled("<", "\x89", 24);
    for (size_t n = 3; n < b.n; n++) {
        fail_clear();
        assert_null(ckpt_open_bytes(b.p, n, "x"));
        assert_true(fail_fault() == FAULT_DATA);
    }
}

static void calls_are_refused(void **state)
{
    (void)state;
    const char *text = "\x80\4cos\nsystem\n\x8c\2ls\x85R.";
    assert_null(ckpt_open_bytes(text, strlen(text), "x"));
    assert_non_null(strstr(fail_message(), "refused"));
    text = "\x80\4}.";
    assert_null(ckpt_open_bytes(text, strlen(text), "x"));
    assert_non_null(strstr(fail_message(), "no NumPy arrays"));
}

/* ---- other types --------------------------------------------------------------------------------------- */

/* To nearest, ties to even, into subnormal numbers and infinity; what comes back is what the bits say. */
static void floats_are_rounded(void **state)
{
    (void)state;
    static const struct { f32 in; u16 half, brain; } row[] = {
        { 1, 0x3c00, 0x3f80 }, { -2, 0xc000, 0xc000 }, { 0, 0, 0 }, { 65504, 0x7bff, 0x4780 },
        { 65519, 0x7bff, 0x4780 }, { 6.1035156e-5f, 0x0400, 0x3880 },
        { 5.9604645e-8f, 0x0001, 0x3380 }, { 2.9802322e-8f, 0, 0x3300 }, { 2.9802326e-8f, 0x0001, 0x3300 },
        { 6.1e-5f, 0x03ff, 0x3880 }, { 1.00048828125f, 0x3c00, 0x3f80 }, { 1.00146484375f, 0x3c02, 0x3f80 },
        { 1.00390625f, 0x3c04, 0x3f80 }, { 1.01171875f, 0x3c0c, 0x3f82 }, { INFINITY, 0x7c00, 0x7f80 } };
    f32 in[countof(row)];
    for (int i = 0; i < countof(row); i++)
        in[i] = row[i].in;
    for (int brain = 0; brain < 2; brain++) {
        ckpt *c = ckpt_new();
        ckpt_add(c, "x", CKPT_F32, 1, (i64[]){ countof(row) }, in);
        ckpt_add(c, "n", CKPT_I64, 1, (i64[]){ 1 }, (i64[]){ 7 });
        ckpt_set_meta(c, "key", "value");
        c = ckpt_cast(c, brain ? CKPT_BF16 : CKPT_F16);
        const u16 *v = tensor_data(ckpt_find(c, "x"));
        for (int i = 0; i < countof(row); i++)
            if (v[i] != (brain ? row[i].brain : row[i].half))
                fail_msg("%g: %04x, expected %04x", (f64)in[i], v[i], brain ? row[i].brain : row[i].half);
        assert_true(ckpt_find(c, "n")->type == CKPT_I64 && *(const i64 *)tensor_data(ckpt_find(c, "n")) == 7);
        assert_string_equal(ckpt_meta(c, "key"), "value");
        ckpt_close(c);
    }
}

/* The first that a type cannot hold, and the last one that it can; what is infinite already stays so. */
static void numbers_too_large_are_refused(void **state)
{
    (void)state;
    static const struct { f64 in; enum ckpt_type to; bool fits; } row[] = {
        { 65519.9, CKPT_F16, true }, { 65520, CKPT_F16, false }, { -65520, CKPT_F16, false },
            { 1e9, CKPT_F16, false },
        { 3.38e38, CKPT_BF16, true }, { 3.4e38, CKPT_BF16, false }, { 3.4e38, CKPT_F32, true },
        { 1e39, CKPT_F32, false },
        { INFINITY, CKPT_F16, true }, { -INFINITY, CKPT_F32, true }, { NAN, CKPT_BF16, true } };
    for (int i = 0; i < countof(row); i++) {
        ckpt *c = ckpt_new();
        ckpt_add(c, "x", CKPT_F64, 1, (i64[]){ 2 }, (f64[]){ 1, row[i].in });
        c = ckpt_cast(c, row[i].to);
        fail_clear();
        bool read = tensor_data(ckpt_find(c, "x"));
        if (read != row[i].fits || (!read && fail_fault() != FAULT_NUMBERS))
            fail_msg("%g as %s: %s", row[i].in, ckpt_type_name(row[i].to), fail_message());
        assert_true(read || (strstr(fail_message(), "x holds") && strstr(fail_message(), "element 1")));
        ckpt_close(c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(initialisers_are_tensors),
        cmocka_unit_test(nodes_name_their_weights),
        cmocka_unit_test(weights_may_lie_beside_a_graph),
        cmocka_unit_test(damaged_graphs_are_refused),
        cmocka_unit_test(arrays_are_unpickled),
        cmocka_unit_test(calls_are_refused),
        cmocka_unit_test(floats_are_rounded),
        cmocka_unit_test(numbers_too_large_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, scratch_remove);
}
