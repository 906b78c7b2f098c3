/* test_ckpt.c: the list of tensors, element types, safetensors, and saving. Formats with an archive:
 * test_ckpt_zip.c. */
#include "ckpt_help.h"

/* ---- values -------------------------------------------------------------------------------------------- */

static void values_of_every_type(void **state)
{
    (void)state;
    static const u16 f16[] = { 0x3c00, 0xc000, 0x0001, 0x83ff, 0x7bff, 0x7c00, 0x7e00, 0x8000 };
    static const f32 as16[] = { 1, -2, 5.9604644775390625e-8f, -6.097555160522461e-5f, 65504, INFINITY, NAN,
                                -0.0f };
    static const u16 bf16[] = { 0x3f80, 0x0001, 0xff80, 0x7fc0 };
    static const f32 asb[] = { 1, 9.183549615799121e-41f, -INFINITY, NAN };
    static const u8  e4m3[] = { 0x38, 0x7e, 0xff, 0x01 }, e5m2[] = { 0x3c, 0x7b, 0xfc, 0x7f };
    static const f32 as43[] = { 1, 448, NAN, 0.001953125f }, as52[] = { 1, 57344, -INFINITY, NAN };
    static const i64 wide[] = { 16777217, -3, INT64_MAX };
    static const f32 aswide[] = { 16777216, -3, 9223372036854775808.0f };
    static const u8 flag[] = { 0, 1, 7 };
    static const f32 asflag[] = { 0, 1, 1 };
    static const int8_t small[] = { -128, 127 };
    static const f32 assmall[] = { -128, 127 };
    const struct { enum ckpt_type type; const void *bits; const f32 *want; i64 n; } row[] = {
        { CKPT_F16, f16, as16, 8 }, { CKPT_BF16, bf16, asb, 4 }, { CKPT_F8_E4M3, e4m3, as43, 4 },
        { CKPT_F8_E5M2, e5m2, as52, 4 },
        { CKPT_I64, wide, aswide, 3 }, { CKPT_BOOL, flag, asflag, 3 }, { CKPT_I8, small, assmall, 2 },
    };
    ckpt *c = ckpt_new();
    for (int r = 0; r < countof(row); r++) {
        f32 got[8];
        f64 got64[8];
        ckpt_add(c, ckpt_type_name(row[r].type), row[r].type, 1, &row[r].n, row[r].bits);
        const tensor *t = ckpt_find(c, ckpt_type_name(row[r].type));
        assert_int_equal(tensor_to_f32(t, got), 0);
        assert_int_equal(tensor_to_f64(t, got64), 0);
        for (int i = 0; i < row[r].n; i++) {
            f32 w = row[r].want[i];
            assert_true(w != w ? got[i] != got[i] : !memcmp(&got[i], &w, 4));
            assert_true(w != w ? got64[i] != got64[i] : row[r].type == CKPT_I64 || got64[i] == (f64)w);
        }
    }
    ckpt_add(c, "z", CKPT_C64, 0, NULL, "12345678");
    f32 z;
    assert_int_equal(tensor_to_f32(ckpt_find(c, "z"), &z), -1);
    ckpt_close(c);
}

/* ---- safetensors --------------------------------------------------------------------------------------- */

static void round_trip_keeps_every_bit(void **state)
{
    (void)state;
    char path[4096];
    ckpt *c = sample_new();
    assert_int_equal(ckpt_save(c, scratch_path(path, "round.safetensors")), 0);
    ckpt *back = ckpt_open(path);
    assert_non_null(back);
    assert_string_equal(ckpt_format(back), "safetensors");
    assert_same(c, back);
    assert_string_equal(ckpt_meta(back, "arch"), "vit \"tiny\"\n\\ \xc3\xa9");
    assert_null(ckpt_meta(back, "nothing"));
    ckpt_close(back);
    ckpt_close(c);
}

static void written_bytes_are_fixed(void **state)
{
    (void)state;
    static const char want[] =
        "\x88\0\0\0\0\0\0\0{\"__metadata__\":{\"k\":\"v\"},\"w\":{\"dtype\":\"F32\",\"shape\":[2],"
        "\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[8,9]}}      "
        "\0\0\x80?\0\0\0\xc0*";
    static const f32 w[] = { 1, -2 };
    char path[4096];
    ckpt *c = ckpt_new();
    ckpt_set_meta(c, "k", "u");
    ckpt_set_meta(c, "k", "v");
    ckpt_add(c, "b", CKPT_U8, 0, NULL, "*");
    ckpt_add(c, "w", CKPT_F32, 1, (i64[]){ 2 }, w);
    assert_int_equal(ckpt_save(c, scratch_path(path, "bytes.safetensors")), 0);
    assert_file(path, want, sizeof want - 1);
    ckpt_close(c);
}

static void empty_files_are_files(void **state)
{
    (void)state;
    static const char *const header[] = { "{}", "{\"__metadata__\":{}}", "{\"__metadata__\":{\"a\":\"b\"}}  ",
                                          ("{ \"a\\u00e9\\ud83d\\ude00\" : { \"shape\" : [ 0 , 3 ] , "
                                           "\"dtype\" : \"F32\" , \"data_offsets\" : [ 0 , 0 ] } }") };
    for (int i = 0; i < countof(header); i++) {
        u8 file[256];
        ckpt *c = ckpt_open_bytes(file, safetensors(file, header[i], NULL, 0), "x");
        assert_non_null(c);
        assert_int_equal(ckpt_count(c), i == 3);
        if (i == 3)
            assert_non_null(tensor_data(ckpt_find(c, "a\xc3\xa9\xf0\x9f\x98\x80")));
        ckpt_close(c);
    }
}

/* Data that is not aligned to its type is copied, not refused and not read crooked. */
static void crooked_data_is_aligned(void **state)
{
    (void)state;
    u8 file[256];
    const f32 v = 1.5f;
    size_t n = safetensors(file, "{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}", &v, 4);
    for (int shift = 0; shift < 4; shift++) {
        u8 moved[260];
        memcpy(moved + shift, file, n);
        ckpt *c = ckpt_open_bytes(moved + shift, n, "x");
        assert_float_equal(*(const f32 *)tensor_data(ckpt_find(c, "a")), 1.5f, 0);
        tensor_drop(ckpt_find(c, "a"));
        assert_float_equal(*(const f32 *)tensor_data(ckpt_find(c, "a")), 1.5f, 0);
        ckpt_close(c);
    }
}

static void hostile_headers_are_refused(void **state)
{
    (void)state;
#define T(name, type, shape, offsets)                                                                          \
    "\"" name "\":{\"dtype\":\"" type "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"
    static const struct { const char *header, *says; } row[] = {
        { "{" T("a", "F32", "[2]", "[0,8]") "," T("a", "F32", "[2]", "[8,16]") "}",
          "two tensors are called 'a'" },
        { "{" T("a", "F32", "[2]", "[0,8]") "," T("b", "F32", "[3]", "[4,16]") "}", "overlaps" },
        { "{" T("a", "F32", "[2]", "[0,8]") "," T("b", "F32", "[1]", "[12,16]") "}", "hole" },
        { "{" T("a", "F32", "[2]", "[0,8]") "}", "16 bytes of data" },
        { "{" T("a", "F32", "[5]", "[0,20]") "}", "truncated" },
        { "{" T("a", "F32", "[4]", "[16,32]") "}", "truncated" },
        { "{" T("a", "F32", "[4]", "[16,0]") "}", "do not hold" },
        { "{" T("a", "F32", "[4]", "[0,12]") "}", "do not hold" },
        { "{" T("a", "F32", "[4]", "[0]") "}", "lacks" },
        { "{" T("a", "F32", "[4]", "[0,16,3]") "}", "too long" },
        { "{" T("a", "F32", "[4,NaN]", "[0,16]") "}", "integer" },
        { "{" T("a", "F32", "[-4]", "[0,16]") "}", "integer" },
        { "{" T("a", "F32", "[4.0]", "[0,16]") "}", "']' expected" },
        { "{" T("a", "F32", "[9223372036854775808]", "[0,16]") "}", "too large" },
        { "{" T("a", "F32", "[4611686018427387904,4]", "[0,16]") "}", "impossible shape" },
        { "{" T("a", "F32", "[0,4611686018427387904,4]", "[0,0]") "}", "impossible shape" },
        { "{" T("a", "F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]") "}", "too long" },
        { "{" T("a", "F31", "[4]", "[0,16]") "}", "unknown dtype" },
        { "{" T("", "F32", "[4]", "[0,16]") "}", "not a valid tensor name" },
        { "{" T("a\\u0000b", "F32", "[4]", "[0,16]") "}", "not a valid tensor name" },
        { "{" T("a\\u001b[2J", "F32", "[4]", "[0,16]") "}", "not a valid tensor name" },
        { "{" T("a\xff", "F32", "[4]", "[0,16]") "}", "not a valid tensor name" },
        { "{" T("a\\ud800", "F32", "[4]", "[0,16]") "}", "surrogate" },
        { "{" T("a\\u12", "F32", "[4]", "[0,16]") "}", "hexadecimal" },
        { "{" T("a\\q", "F32", "[4]", "[0,16]") "}", "unknown escape" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[4]}}", "lacks" },
        { "{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}}", "twice" },
        { "{\"a\":{\"dtype\":\"F32\",\"extra\":1,\"shape\":[4],\"data_offsets\":[0,16]}}", "dtype, shape" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]},}", "'\"' expected" },
        { "{\"a\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", "'{' expected" },
        { "{\"__metadata__\":{\"a\":{}}}", "'\"' expected" },
        { "{\"__metadata__\":{\"a\":\"\\u0000\"}}", "zero byte" },
        { "{\"__metadata__\":{\"a\":\"1\",\"b\":\"1\",\"a\":\"2\"}}", "metadata 'a' is given twice" },
        { "{\"__metadata__\":{\"a\":\"1\"},\"__metadata__\":{\"a\":\"1\"}}", "metadata 'a' is given twice" },
        { "{\"__metadata__\":{\"a\":\"\xff\"}}", "metadata 'a' is not UTF-8" },
        { "{\"__metadata__\":{\"\xc3\":\"a\"}}", "is not UTF-8" },
        { "{} {}", "after the header" }, { "{\"a", "unfinished" }, { "{\"a\\", "unfinished" },
        { "{", "expected" },
    };
    static const u8 data[16];
    for (int i = 0; i < countof(row); i++) {
        u8 file[512];
        assert_refused(file, safetensors(file, row[i].header, data, 16), row[i].says);
    }
}

static void header_lengths_are_not_trusted(void **state)
{
    (void)state;
    static const u64 n[] = { (u64)1 << 63, (u64)1 << 60, UINT64_MAX, (100 << 20) + 1, 100 << 20, 3, 1 };
    for (int i = 0; i < countof(n); i++) {
        u8 file[10] = { [8] = '{', [9] = '}' };
        memcpy(file, &n[i], 8);
        assert_refused(file, sizeof file, i < 4 ? "at most 100 MiB" : i < 6 ? "truncated" : "expected");
    }
    assert_refused("\x02\0\0\0\0\0\0\0", 8, "not a checkpoint that jetcl can read");
    assert_refused("hello, world", 12, "not a checkpoint that jetcl can read");
}

static void common_mistakes_are_named(void **state)
{
    (void)state;
    static const struct { const char *file, *says; } row[] = {
        { "", "empty" }, { "version https://git-lfs.github.com/spec/v1\n", "git lfs pull" },
        { "<!DOCTYPE html><html>", "web page" }, { "{\"model_type\": \"vit\"}", "JSON" },
        { "\x1f\x8b\x08 gzip", "unpack" },
        { "\x89HDF\r\n", "HDF5" }, { "\x80\4\x95 pickle", "plain pickle" } };
    for (int i = 0; i < countof(row); i++)
        assert_refused(row[i].file, strlen(row[i].file), row[i].says);
}

/* Metadata of ours is text as well, however much a file brought along. */
static void metadata_is_text(void **state)
{
    (void)state;
    arena *a = arena_open("test");
    size_t most = 8 << 20;
    char *text = arena_bytes(a, most + 64, 1);
    memset(text, 'x', most);
    memcpy(text, "{\"__metadata__\":{\"a\":\"", 22);
    strcpy(text + most - 64, "\"}}");
    u8 *file = arena_bytes(a, strlen(text) + 8, 1);
    ckpt *c = ckpt_open_bytes(file, safetensors(file, text, NULL, 0), "x");
    assert_non_null(c);
    for (int i = 0; i < 100; i++)
        assert_int_equal(ckpt_set_meta(c, "k", "another value"), 0);
    assert_string_equal(ckpt_meta(c, "k"), "another value");
    assert_int_equal(ckpt_set_meta(c, "k", "Gr\xf6\xdf" "e"), -1);
    assert_int_equal(fail_fault(), FAULT_USAGE);
    assert_string_equal(ckpt_meta(c, "k"), "another value");
    ckpt_close(c);
    arena_close(a);
}

static void truncation_at_every_byte_is_refused(void **state)
{
    (void)state;
    char path[4096];
    struct file_map m;
    ckpt *c = sample_new();
    assert_int_equal(ckpt_save(c, scratch_path(path, "cut.safetensors")), 0);
    assert_int_equal(file_map(path, &m), 0);
    for (u64 n = 0; n < m.n; n++)
        assert_refused(m.p, n, "");
    file_unmap(&m);
    ckpt_close(c);
}

/* Millions of tensors or megabytes of names in a small space: refused before they cost memory. */
static void crowds_are_refused(void **state)
{
    (void)state;
    arena *a = arena_open("test");
    enum { N = MAX_TENSORS_FOR_TEST + 1 };
    char *text = arena_bytes(a, (size_t)N * 70 + 64, 1), *to = text;
    for (int i = 0; i < N; i++)
        to += sprintf(to, "%s\"%d\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}", i ? "," : "{",
                      i);
    strcpy(to, "}");
    u8 *file = arena_bytes(a, strlen(text) + 8, 1);
    assert_frugal(file, safetensors(file, text, NULL, 0), "more than 65536 tensors");

    size_t big = 26 << 20;
    text = arena_bytes(a, big + 64, 1);
    memset(text, 'x', big);
    memcpy(text, "{\"__metadata__\":{\"a\":\"", 22);
    strcpy(text + big, "\"}}");
    file = arena_bytes(a, strlen(text) + 8, 1);
    assert_frugal(file, safetensors(file, text, NULL, 0), "names and metadata");

    // metadata in escapes, which are six times as long as what they stand for
    big = 56 << 20;
    text = arena_bytes(a, big + 64, 1);
    to = text + sprintf(text, "{\"__metadata__\":{");
    while (to < text + big - 8192) {
        to += sprintf(to, "%s\"k\":\"", to[-1] == '{' ? "" : ",");
        for (int i = 0; i < 1000; i++, to += 6)
            memcpy(to, "\\u0041", 6);
        *to++ = '"';
    }
    strcpy(to, "}}");
    file = arena_bytes(a, strlen(text) + 8, 1);
    assert_frugal(file, safetensors(file, text, NULL, 0), "names and metadata");
    arena_close(a);
}

/* ---- elements that are asked for ------------------------------------------------------------------------- */

struct source { f32 value; int asked, fails; };

static int give(void *arg, void *out)
{
    struct source *s = arg;
    s->asked++;
    for (int i = 0; i < 3; i++)
        ((f32 *)out)[i] = s->value + (f32)i;
    return s->fails ? fail(FAULT_DEVICE, "the device is gone") : 0;
}

/* They are asked for once for each use, beside borrowed ones, and a failure spares the old file. */
static void elements_may_come_later(void **state)
{
    (void)state;
    static const char *const name[] = { "later.safetensors", "later.pth", "later.npz" };
    struct source s[2] = { { 1 }, { 5 } };
    f32 mine[3] = { 7, 8, 9 };
    ckpt *c = ckpt_new();
    ckpt_add_later(c, "a", CKPT_F32, 1, (i64[]){ 3 }, give, &s[0]);
    ckpt_add(c, "b", CKPT_F32, 1, (i64[]){ 3 }, mine);
    ckpt_add_later(c, "c", CKPT_F32, 2, (i64[]){ 1, 3 }, give, &s[1]);
    ckpt_add_later(c, "d", CKPT_F32, 1, (i64[]){ 0 }, give, &s[1]);
    assert_int_equal(s[0].asked, 0);
    for (int i = 0; i < countof(name); i++) {
        char path[4096];
        s[0].value = (f32)i;                         // as it is when it is saved
        s[0].asked = s[1].fails = 0;
        assert_int_equal(ckpt_save(c, scratch_path(path, name[i])), 0);
        assert_int_equal(s[0].asked, 1);
        ckpt *back = ckpt_open(path);
        assert_non_null(back);
        assert_float_equal(((const f32 *)tensor_data(ckpt_find(back, "a")))[2], (f32)i + 2, 0);
        assert_float_equal(((const f32 *)tensor_data(ckpt_find(back, "b")))[2], 9, 0);
        assert_float_equal(((const f32 *)tensor_data(ckpt_find(back, "c")))[0], 5, 0);
        ckpt_close(back);
        s[1].fails = 1;
        assert_int_equal(ckpt_save(c, path), -1);
        assert_int_equal(fail_fault(), FAULT_DEVICE);
        assert_true(strstr(fail_message(), "the device is gone") && strstr(fail_message(), path));
        assert_true(file_exists(path));
    }
    tensor_drop(ckpt_find(c, "b"));
    assert_float_equal(((const f32 *)tensor_data(ckpt_find(c, "b")))[0], 7, 0);
    ckpt_close(c);
}

/* ---- golden, saving ------------------------------------------------------------------------------------ */

static void golden_file_is_read(void **state)
{
    (void)state;
    ckpt *c = ckpt_open(REFERENCE "tiny_edge.safetensors");
    assert_non_null(c);
    assert_int_equal(ckpt_count(c), 14);
    ckpt_close(c);
}

static void sha256_of_a_file(void **state)
{
    (void)state;
    char path[4096], hex[65];
    assert_int_equal(file_save(scratch_path(path, "abc"), "abc", 3), 0);
    assert_int_equal(file_sha256(path, hex), 0);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(file_save(path, "", 0), 0);
    assert_int_equal(file_sha256(path, hex), 0);
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_int_equal(file_sha256("/nowhere/at/all", hex), -1);
    assert_int_equal(fail_fault(), FAULT_DATA);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_of_every_type),
        cmocka_unit_test(round_trip_keeps_every_bit),
        cmocka_unit_test(written_bytes_are_fixed),
        cmocka_unit_test(empty_files_are_files),
        cmocka_unit_test(crooked_data_is_aligned),
        cmocka_unit_test(hostile_headers_are_refused),
        cmocka_unit_test(header_lengths_are_not_trusted),
        cmocka_unit_test(common_mistakes_are_named),
        cmocka_unit_test(metadata_is_text),
        cmocka_unit_test(truncation_at_every_byte_is_refused),
        cmocka_unit_test(crowds_are_refused),
        cmocka_unit_test(elements_may_come_later),
        cmocka_unit_test(golden_file_is_read),
        cmocka_unit_test(sha256_of_a_file),
    };
    return cmocka_run_group_tests(tests, NULL, scratch_remove);
}
