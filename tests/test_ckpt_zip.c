/* test_ckpt_zip.c: archives: .npz and PyTorch's, honest and hostile. */
#include "ckpt_help.h"
#include "zipper.h"

#define F4 "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n"

static const f32 six[] = { 1, 2, 3, 4, 5, 6 };

/* ---- .npy headers -------------------------------------------------------------------------------------- */

static size_t npz_make(u8 *out, const char *header, const void *data, size_t n)
{
    static u8 npy[1 << 17];
    return zip_make(out, &(struct zipped){ "a.npy", npy, npy_make(npy, header, data, n) }, 1);
}

static void headers_of_every_kind(void **state)
{
    (void)state;
    static const u8 big[] = { 0x3f, 0x80, 0, 0, 0xc0, 0, 0, 0 };
    static const struct {
        const char *header; const void *data; size_t n;
        enum ckpt_type type; int nd; i64 d[2]; f64 first, last;
    } row[] = {
        { F4, six, 24, CKPT_F32, 2, { 2, 3 }, 1, 6 },
        { "{'shape':(2,3),'fortran_order':False,'descr':\"<f4\"}", six, 24, CKPT_F32, 2, { 2, 3 }, 1, 6 },
        { "{'descr': '=f4', 'fortran_order': False, 'shape': (6L,), }", six, 24, CKPT_F32, 1, { 6 }, 1, 6 },
        { "{'descr': '>f4', 'fortran_order': False, 'shape': (2,)}", big, 8, CKPT_F32, 1, { 2 }, 1, -2 },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': ()}", six, 4, CKPT_F32, 0, { 0 }, 1, 1 },
        { "{'descr': '|b1', 'fortran_order': False, 'shape': (2,)}", "\1\0", 2, CKPT_BOOL, 1, { 2 }, 1, 0 },
        { "{'descr': '|?', 'fortran_order': False, 'shape': (2,)}", "\1\0", 2, CKPT_BOOL, 1, { 2 }, 1, 0 },
        { "{'descr': '|u1', 'fortran_order': False, 'shape': (2,)}", "\377\2", 2, CKPT_U8, 1, { 2 }, 255, 2 },
        { "{'descr': '<i8', 'fortran_order': False, 'shape': (1,)}", "\376\377\377\377\377\377\377\377", 8,
          CKPT_I64, 1, { 1 }, -2, -2 },
        { "{'descr': '<V2', 'fortran_order': False, 'shape': (1,)}", "\200\77", 2, CKPT_BF16, 1, { 1 }, 1,
          1 },
    };
    for (int i = 0; i < countof(row); i++) {
        u8 file[1024];
        f64 v[6];
        ckpt *c = ckpt_open_bytes(file, npz_make(file, row[i].header, row[i].data, row[i].n), "x");
        const tensor *t = c ? ckpt_find(c, "a") : NULL;
        if (!t || t->type != row[i].type || !tensor_shape_is(t, row[i].nd, row[i].d) || tensor_to_f64(t, v))
            fail_msg("%s: %s", row[i].header, fail_message());
        assert_true(v[0] == row[i].first && v[t->count - 1] == row[i].last);
        ckpt_close(c);
    }
}

static void fortran_order_is_transposed(void **state)
{
    (void)state;
    static const u16 data[24] = { 0, 12, 4, 16, 8, 20, 1, 13, 5, 17, 9, 21, 2, 14, 6, 18, 10, 22, 3, 15, 7,
                                  19, 11, 23 };
    u8 file[1024];
    size_t n = npz_make(file, "{'descr': '<i2', 'fortran_order': True, 'shape': (2, 3, 4), }", data, 48);
    ckpt *c = ckpt_open_bytes(file, n, "x");
    assert_non_null(c);
    const u16 *v = tensor_data(ckpt_find(c, "a"));
    assert_non_null(v);
    for (int i = 0; i < 24; i++)
        assert_int_equal(v[i], i);
    ckpt_close(c);
}

static void arrays_of_no_numbers_are_left_out(void **state)
{
    (void)state;
    static const char *const header[] = { "{'descr': '<U5', 'fortran_order': False, 'shape': (1,), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
        "{'descr': [('a', '<f4'), ('b', [('c', '|u1')])], 'fortran_order': False, 'shape': (1,), }" };
    for (int i = 0; i < countof(header); i++) {
        u8 file[1024];
        const char *example;
        ckpt *c = ckpt_open_bytes(file, npz_make(file, header[i], six, 20), "x");
        assert_non_null(c);
        assert_true(ckpt_count(c) == 0 && ckpt_skipped(c, &example) == 1 && strstr(example, "'a'"));
        ckpt_close(c);
    }
}

static void hostile_npy_headers_are_refused(void **state)
{
    (void)state;
#define H(shape) "{'descr': '<f4', 'fortran_order': False, 'shape': " shape ", }"
    static const struct { const char *header, *says; } row[] = {
        { H("(2, 4)"), "shape needs 32" }, { H("(-6,)"), "integer" }, { H("(nan,)"), "integer" },
        { H("(2.0, 3)"), "','" },
        { H("(9223372036854775808,)"), "too large" }, { H("(4611686018427387904, 4)"), "impossible shape" },
        { H("(1, 1, 1, 1, 1, 1, 1, 1, 1)"), "too many" }, { H("[6]"), "'('" }, { H("(6"), "integer" },
        { H("(6,,)"), "integer" },
        { "{'descr': '<f4', 'fortran_order': 1, 'shape': (6,), }", "True or False" }, { "", "'{'" },
        { "{", "a key" },
        { "{'descr': '<f4', 'fortran_order': False, }", "shape expected" },
        { "{'descr': 5, }", "text expected" },
        { "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (6,), }", "repeated" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (6,), 'x': 1}", "unknown" },
        { "{'descr': '<f4' 'fortran_order': False, 'shape': (6,), }", "','" },
        { "{'de\\scr': '<f4', }", "a key" },
        { "{'descr': [('a', }", "unfinished" }, { H("(6,)") " 5", "nothing else" },
        { "__import__('os').system('id')", "'{'" },
    };
    u8 file[1024], npy[64];
    for (int i = 0; i < countof(row); i++)
        assert_refused(file, npz_make(file, row[i].header, six, 24), row[i].says);
    npy_make(npy, "{}", six, 24);
    memcpy(npy + 8, "\377\377", 2);
    assert_refused(file, zip_make(file, &(struct zipped){ "a.npy", npy, 36 }, 1), "truncated");
    npy[6] = 4;
    assert_refused(file, zip_make(file, &(struct zipped){ "a.npy", npy, 36 }, 1), "known version");
    assert_refused(file, zip_make(file, &(struct zipped){ "a.npy", "", 0 }, 1), "known version");
}

/* ---- archives ------------------------------------------------------------------------------------------ */

static void hostile_entries_are_refused(void **state)
{
    (void)state;
    u8 npy[128], file[2048];
    size_t n = npy_make(npy, F4, six, 24);
    const struct { struct zipped e[2]; int n; const char *says; } row[] = {
        { { { "../../etc/a.npy", npy, n } }, 1, "unsafe name" },
        { { { "/a.npy", npy, n } }, 1, "unsafe name" },
        { { { "b/../../a.npy", npy, n } }, 1, "unsafe name" },
        { { { "..\\a.npy", npy, n } }, 1, "unsafe name" },
        { { { "a\033[2J.npy", npy, n, .flags = 0x800 } }, 1, "" },
        { { { "a.npy", npy, n }, { "a.npy", npy, n } }, 2, "two archive entries" },
        { { { "a.npy", npy, n, .flags = 1 } }, 1, "encrypted" },
        { { { "a.npy", npy, n, .method = 12 } }, 1, "another method" },
        { { { "a.npy", npy, n, .bad_crc = true } }, 1, "CRC" },
        { { { "a.npy", npy, n, .claim = 1000 } }, 1, "declares" },
        { { { "a.npy", npy, n, .claim = 10 } }, 1, "declares" },
        { { { "a.npy", npy, n, .deflate = true, .claim = (u32)n - 4 } }, 1, "shape needs" },
        { { { "a.npy", npy, n, .deflate = true, .claim = (u32)n + 4 } }, 1, "shape needs" },
        { { { "a.npy", npy, n, .deflate = true, .claim = 0xfffffff0 } }, 1, "out of proportion" },
        { { { "readme.txt", "hello", 5 } }, 1, "neither" },
        { { { "x/constants.pkl", "", 0 }, { "x/data.pkl", "N.", 2 } }, 2, "TorchScript" },
    };
    for (int i = 0; i < countof(row); i++)
        assert_refused(file, zip_make(file, row[i].e, row[i].n), row[i].says);
    u8 whole[128];                                   // a size that lies about a tensor which would just fit
    size_t less = npy_make(whole, "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", six, 8);
    npy_make(whole, "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", six, 24);
    struct zipped liar = { "a.npy", whole, less + 16, .deflate = true, .claim = (u32)less };
    assert_refused(file, zip_make(file, &liar, 1), "");
}

static void bombs_are_refused(void **state)
{
    (void)state;
    arena *a = arena_open("test");
    size_t n = 24 << 20;
    u8 *npy = arena_bytes(a, n, 1), *file = arena_bytes(a, 1 << 20, 1);
    size_t size = npy_make(npy, "{'descr': '|u1', 'fortran_order': False, 'shape': (20971520,)}", NULL,
                           0) + 20971520;
    struct zipped e[60] = { { "0.npy", npy, size, .deflate = true } };
    assert_frugal(file, zip_make(file, e, 1), "out of proportion");

    // names for the same megabytes, over and over
    char names[60][16];
    size = npy_make(npy, "{'descr': '|u1', 'fortran_order': False, 'shape': (12582912,)}", NULL,
                    0) + 12582912;
    for (int i = 0; i < countof(e); i++) {
        snprintf(names[i], sizeof names[i], "%d.npy", i);
        e[i] = (struct zipped){ names[i], npy, size, .deflate = true, .again = i > 0 };
    }
    assert_frugal(file, zip_make(file, e, countof(e)), "out of proportion");
    arena_close(a);
}

static void impossible_counts_are_refused(void **state)
{
    (void)state;
    u8 npy[128], file[2048];
    size_t n = zip_make(file, &(struct zipped){ "a.npy", npy, npy_make(npy, F4, six, 24) }, 1);
    memcpy(file + n - 14, "\377\377\377\377", 4);    // the end record: 65535 entries
    assert_frugal(file, n, "archive");
    u8 *to = file + n - 22, end[22];
    memcpy(end, to, 22);
    u64 at = (u64)(to - file);
    zip_number(&to, 0x06064b50, 4), zip_number(&to, 44, 8), zip_number(&to, 0x2d, 4), zip_number(&to, 0, 8);
    zip_number(&to, (u64)1 << 32, 8), zip_number(&to, (u64)1 << 32, 8), zip_number(&to, 46, 8),
        zip_number(&to, 0, 8);
    zip_number(&to, 0x07064b50, 8), zip_number(&to, at, 8), zip_number(&to, 1, 4);
    memcpy(to, end, 22);
    memset(to + 12, 0xff, 8);
    assert_frugal(file, (size_t)(to + 22 - file), "more than 65536");
    assert_refused("PK\3\4 and then nothing that is a zip", 36, "archive");
}

/* ---- our own files ------------------------------------------------------------------------------------- */

static void round_trip_through_every_format(void **state)
{
    (void)state;
    static const char *const name[] = { "1.safetensors", "2.pth", "3.npz", "4.pt", "5.safetensors" };
    char path[4096], first[4096];
    const char *value;
    ckpt *c = sample_new();
    for (int i = 0; i < countof(name); i++) {
        assert_int_equal(ckpt_save(c, scratch_path(path, name[i])), 0);
        ckpt_close(c);
        c = ckpt_open(path);
        if (!c)
            fail_msg("%s", fail_message());
        ckpt *sample = sample_new();
        assert_same(sample, c);
        assert_string_equal(ckpt_meta(c, "classes"), "cat\ndog");
        assert_string_equal(ckpt_meta(c, "arch"), ckpt_meta(sample, "arch"));
        assert_int_equal(ckpt_meta_count(c), 2);
        assert_string_equal(ckpt_meta_at(c, 0, &value), "arch");
        ckpt_close(sample);
    }
    struct file_map m;
    assert_int_equal(file_map(path, &m), 0);
    assert_file(scratch_path(first, "1.safetensors"), m.p,
                m.n);       // as the bytes were at first, metadata included
    file_unmap(&m);
    ckpt_close(c);
}

static void types_without_a_word_are_said(void **state)
{
    (void)state;
    char path[4096];
    ckpt *c = ckpt_new();
    ckpt_add(c, "f8", CKPT_F8_E4M3, 0, NULL, "x");
    assert_int_equal(ckpt_save(c, scratch_path(path, "f8.pth")), 0);
    assert_int_equal(ckpt_save(c, scratch_path(path, "f8.npz")), -1);
    assert_non_null(strstr(fail_message(), "NumPy has no type for F8_E4M3"));
    assert_false(file_exists(path));
    ckpt_close(c);
    c = ckpt_open(scratch_path(path, "f8.pth"));
    assert_true(c && ckpt_find(c, "f8")->type == CKPT_F8_E4M3);
    ckpt_close(c);
    c = ckpt_new();
    assert_int_equal(ckpt_save(c, scratch_path(path, "none.npz")), -1);
    assert_int_equal(ckpt_save(c, scratch_path(path, "none.pth")), 0);
    assert_int_equal(ckpt_save(c, scratch_path(path, "none.txt")), -1);
    assert_int_equal(fail_fault(), FAULT_USAGE);
    ckpt_close(c);
}

static void truncation_at_every_byte_is_refused(void **state)
{
    (void)state;
    static const char *const name[] = { "cut.npz", "cut.pth" };
    for (int i = 0; i < countof(name); i++) {
        char path[4096];
        struct file_map m;
        ckpt *c = ckpt_new();
        ckpt_set_meta(c, "a", "b");
        ckpt_add(c, "w", CKPT_F32, 2, (i64[]){ 2, 3 }, six);
        assert_int_equal(ckpt_save(c, scratch_path(path, name[i])), 0);
        assert_int_equal(file_map(path, &m), 0);
        for (u64 n = 0; n < m.n; n++)
            assert_refused(m.p, n, "");
        file_unmap(&m);
        ckpt_close(c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_of_every_kind),
        cmocka_unit_test(fortran_order_is_transposed),
        cmocka_unit_test(arrays_of_no_numbers_are_left_out),
        cmocka_unit_test(hostile_npy_headers_are_refused),
        cmocka_unit_test(hostile_entries_are_refused),
        cmocka_unit_test(bombs_are_refused),
        cmocka_unit_test(impossible_counts_are_refused),
        cmocka_unit_test(round_trip_through_every_format),
        cmocka_unit_test(types_without_a_word_are_said),
        cmocka_unit_test(truncation_at_every_byte_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, scratch_remove);
}
