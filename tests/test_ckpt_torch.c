/* test_ckpt_torch.c: PyTorch's files: what the pickle machine builds, and what it refuses. Pickles are
 * spelled out; each becomes data.pkl of an archive with storages 0 (ten numbers), 1 (two) and 2 (none), or
 * the body of a legacy stream.
 */
#include "ckpt_help.h"
#include "zipper.h"

#define TEXT(n, s)      "X" n "\0\0\0" s
#define ODICT           "ccollections\nOrderedDict\n)R"
#define STORAGE(type, key, numel)                                                                              \
    "(" TEXT("\7", "storage") "ctorch\n" type "\n" TEXT("\1", key) TEXT("\3", "cpu") "K" numel "tQ"
#define REBUILD(storage, offset, shape, stride) \
    "ctorch._utils\n_rebuild_tensor_v2\n(" storage offset shape stride "\x89" ODICT "tR"
#define TEN             STORAGE("FloatStorage", "0", "\12")
#define PLAIN           REBUILD(TEN, "K\0", "(K\2K\3t", "(K\3K\1t")
#define STATE(items)    "\x80\2" ODICT "(" items "u."
#define WITH(tensor)    STATE(TEXT("\1", "w") tensor)
#define FROM_TYPE(f, args)                                                                                     \
    "ctorch._tensor\n_rebuild_from_type_v2\n(" f "cmy\nClass\n" args "}" TEXT("\1", "a") "K\1stR"
#define P(literal)      literal, sizeof(literal) - 1

static const f32 ten[] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 };

static size_t torch_make(u8 *out, const void *pickle, size_t n)
{
    const struct zipped e[] = {
        { "any/prefix/data.pkl", pickle, n }, { "any/prefix/data/0", ten, 40, .deflate = true },
        { "any/prefix/data/1", ten, 8 }, { "any/prefix/data/2", ten, 0 } };
    return zip_make(out, e, countof(e));
}

static ckpt *torch_open(const void *pickle, size_t n)
{
    static u8 file[1 << 16];
    check(n < sizeof file / 2, "pickle of %zu bytes", n);
    ckpt *c = ckpt_open_bytes(file, torch_make(file, pickle, n), "x");
    if (!c)
        print_error("%s\n", fail_message());
    return c;
}

/* ---- what is read -------------------------------------------------------------------------------------- */

static void views_of_every_kind(void **state)
{
    (void)state;
    static const struct { const void *pickle; size_t n; f32 want[6]; u64 count; } row[] = {
        { P(WITH(PLAIN)), { 0, 1, 2, 3, 4, 5 }, 6 },
        { P(WITH(REBUILD(TEN, "K\0", "(K\3K\2t", "(K\1K\3t"))), { 0, 3, 1, 4, 2, 5 },
          6 },         // transposed
        { P(WITH(REBUILD(TEN, "K\4", "K\3\x85", "K\2\x85"))), { 4, 6, 8 },
          3 },                    // offset, stride
        { P(WITH(REBUILD(TEN, "K\3", "(K\2K\2t", "(K\0K\1t"))), { 3, 4, 3, 4 }, 4 },               // expanded
        { P(WITH(REBUILD(TEN, "K\7", ")", ")"))), { 7 }, 1 },
        { P(WITH(REBUILD(STORAGE("FloatStorage", "2", "\0"), "K\0", "(K\0K\4t", "(K\4K\1t"))), { 0 }, 0 },
        { P(WITH("ctorch._utils\n_rebuild_parameter\n" PLAIN "\x88" ODICT "\x87R")), { 0, 1, 2, 3, 4, 5 },
          6 },
        { P(WITH("ctorch._utils\n_rebuild_tensor_v3\n((" TEXT("\7", "storage")
                 "ctorch.storage\nUntypedStorage\n" TEXT("\1", "0")
                 TEXT("\3", "cpu") "K\50tQK\1K\2\x85K\1\x85\x89" ODICT "ctorch\nfloat32\ntR")), { 1, 2 }, 2 },
        { P(WITH(FROM_TYPE("ctorch._utils\n_rebuild_tensor_v2\n", "(" TEN "K\0K\2\x85K\1\x85\x89" ODICT "t"))),
          { 0, 1 },
          2 },                    // a tensor with attributes
        { P(WITH(FROM_TYPE("ctorch._utils\n_rebuild_parameter\n", PLAIN "\x88" ODICT "\x87"))),
          { 0, 1, 2, 3, 4, 5 }, 6 },
        { P(WITH("ctorch._utils\n_rebuild_tensor_v2\n(" TEN "K\0K\2\x85K\1\x85\x89" ODICT "}" TEXT("\4",
          "conj") "\x89stR")),
          { 0, 1 }, 2 },
    };
    for (int i = 0; i < countof(row); i++) {
        f32 v[6];
        ckpt *c = torch_open(row[i].pickle, row[i].n);
        const tensor *t = c ? ckpt_find(c, "w") : NULL;
        if (!t || t->count != row[i].count || tensor_to_f32(t, v) || memcmp(v, row[i].want, row[i].count * 4))
            fail_msg("view %d: %s", i, fail_message());
        ckpt_close(c);
    }
}

static void containers_make_names(void **state)
{
    (void)state;
#define SCALAR REBUILD(TEN, "K\7", ")", ")")
    static const char pickle[] = "\x80\2}(" TEXT("\5", "model") "}(" TEXT("\1", "a") "}" TEXT("\1", "b") SCALAR
        "s" TEXT("\1", "l") "](" SCALAR "K\5" SCALAR "eu"
                            "K\3" SCALAR TEXT("\4", "meta") "}(" TEXT("\5", "epoch") "K\7" TEXT("\4", "name")
                                TEXT("\2", "\xc3\xa9")
                                    TEXT("\2", "lr") "G\77\340\0\0\0\0\0\0" TEXT("\2", "on") "\x88u" TEXT(
                                        "\3", "obj") "cmmengine.logging\nHistory\n)\x81}" TEXT("\1", "h") SCALAR
        "sb" TEXT("\3", "mod") "cmy.nets\nNet\n)\x81}(" TEXT("\13", "_parameters") "}" TEXT("\1", "w") SCALAR
        "s" TEXT("\10", "_modules") "}" TEXT("\2", "in") "cmy.nets\nIn\n)\x81}" TEXT("\10", "_buffers")
            ODICT TEXT("\1", "n") SCALAR "ssbsub" TEXT("\1", "d") "cmy\nDict\n)R" TEXT("\1", "k") SCALAR "s"
                                                                                                         "u.";
    static const char *const want[] = { "model.a.b", "model.l.0", "model.l.2", "3", "mod.w", "mod.in.n",
                                        "d.k" };
    const char *example;
    ckpt *c = torch_open(P(pickle));
    assert_non_null(c);
    for (int i = 0; i < countof(want); i++)
        if (!ckpt_find(c, want[i]))
            fail_msg("no %s", want[i]);
    assert_int_equal(ckpt_count(c), countof(want));
    assert_string_equal(ckpt_meta(c, "meta.epoch"), "7");
    assert_string_equal(ckpt_meta(c, "meta.name"), "\xc3\xa9");
    assert_string_equal(ckpt_meta(c, "meta.lr"), "0.5");
    assert_string_equal(ckpt_meta(c, "meta.on"), "true");
    assert_int_equal(ckpt_skipped(c, &example), 1);
    assert_non_null(strstr(example, "mmengine.logging.History"));
    ckpt_close(c);
}

/* One value in many spellings: protocols 0 to 5 and Python 2. */
static void every_opcode_is_understood(void **state)
{
    (void)state;
    static const struct { const void *pickle; size_t n; const char *key, *value; } row[] = {
        { P("(dp0\nS'a'\np1\nI42\ns."), "a", "42" }, { P("(dS\"a\"\nL42L\ns."), "a", "42" },
        { P("(dVa\nF0.5\ns."), "a", "0.5" },
        { P("(dS'a'\nI01\ns."), "a", "true" }, { P("(S'a'\nI00\nd."), "a", "false" },
        { P("\x80\2}U\1aM\0\1s."), "a", "256" }, { P("\x80\2}T\1\0\0\0aJ\376\377\377\377s."), "a", "-2" },
        { P("\x80\2}U\1a\x8a\0s."), "a", "0" }, { P("\x80\2}U\1a\x8a\1\377s."), "a", "-1" },
        { P("\x80\2}U\1a\x8b\2\0\0\0\0\1s."), "a", "256" }, { P("\x80\2}U\1a0U\1bq\1K\1h\0010s."), "b", "1" },
        { P("\x80\4\x95\20\0\0\0\0\0\0\0}\x94\x8c\1a\x94\x8c\1b\x94s."), "a", "b" },
        { P("\x80\4}\x8d\1\0\0\0\0\0\0\0ah\0s."), "", "" }, { P("\x80\4}(\x8c\1a2e."), "", "" },
        { P("\x80\4}\x8c\1aK\1K\2K\3\x87" "00K\4s."), "", "" },
        { P("\x80\4}\x8c\1a(K\1K\0021K\5s."), "a", "5" },
        { P("\x80\4}(\x8c\1b\x8f(K\1\x90\x8c\1c(K\1\x91\x8c\1aK\6u."), "a", "6" },
        { P("\x80\4}(\x8c\1b(cx\nY\nK\1o\x8c\1c(K\1ix\nY\n\x8c\1aK\7u."), "a", "7" },
        { P("\x80\4}(\x8c\1b\x8c\1x\x8c\1Y\x93)}\x92\x8c\1c\x8e\1\0\0\0\0\0\0\0z\x8c\1aK\10u."), "a", "8" },
        { P("\x80\5}(\x8c\1b\x96\1\0\0\0\0\0\0\0zU\1cC\1zU\1dB\1\0\0\0z\x8c\1aK\11u."), "a", "9" },
        { P("\x80\2ccollections\nOrderedDict\n]]U\1aK\3ea\x85R."), "", "" },
        { P("\x80\2ccollections\nOrderedDict\n](](U\1aK\3ee\x85R."), "a", "3" },
        { P("\x80\2ccollections\nCounter\n}U\1aK\4s\x85R."), "a", "4" },
        { P("\x80\2ccollections\ndefaultdict\nc__builtin__\nlist\n\x85RU\1aK\5s."), "a", "5" },
        { P("\x80\2}U\1aK\1q\0sU\1bh\0s."), "b", "1" }, { P("(dS'a'\nI7\np9\ng9\n0s."), "a", "7" },
    };
    for (int i = 0; i < countof(row); i++) {
        static u8 file[4096];
        ckpt *c = ckpt_open_bytes(file, torch_make(file, row[i].pickle, row[i].n), "x");
        const char *got = c ? ckpt_meta(c, row[i].key) : NULL;
        if (*row[i].key ? !got || strcmp(got, row[i].value) : !!c)
            fail_msg("pickle %d: '%s' '%s'", i, got ? got : "", fail_message());
        ckpt_close(c);
    }
}

/* A storage of big-endian numbers is swapped. */
static void byte_order_is_obeyed(void **state)
{
    (void)state;
    static const u8 data[40] = { 0x3f, 0x80, 0, 0, 0x40, 0, 0, 0 };
    const struct zipped e[] = { { "data.pkl", P(WITH(PLAIN)) }, { "data/0", data, 40 },
    { "byteorder", "big", 3 } };
    const struct zipped bad[] = { e[0], e[1], { "byteorder", "odd", 3 } };
    u8 file[2048];
    f32 v[6];
    ckpt *c = ckpt_open_bytes(file, zip_make(file, e, 3), "x");
    assert_true(c && !tensor_to_f32(ckpt_find(c, "w"), v));
    assert_true(v[0] == 1 && v[1] == 2 && v[2] == 0);
    ckpt_close(c);
    assert_refused(file, zip_make(file, bad, 3), "byte order");
}

/* ---- what is refused ----------------------------------------------------------------------------------- */

static void harm_is_refused_by_name(void **state)
{
    (void)state;
    static const struct { const void *pickle; size_t n; const char *says; } row[] = {
        { P("\x80\2cos\nsystem\nX\2\0\0\0id\x85R."), "'system' of 'os'" },
        { P("cposix\nsystem\n(S'id'\ntR."), "'posix'" }, { P("(S'id'\nios\nsystem\n."), "'os'" },
        { P("\x80\4\x8c\12subprocess\x8c\5Popen\x93."), "'subprocess'" },
        { P("\x80\4\x8c\10builtins\x8c\4eval\x93\x8c\1""1\x85R."), "'eval'" },
        { P("c__builtin__\n__import__\n."), "'__import__'" },
        { P("\x80\4\x8c\5torch\x8c\27serialization.os.system\x93."), "serialization.os.system" },
        { P("\x80\2}" TEXT("\4", "meta") "cos.path\njoin\n)Rs."), "'os.path'" },
        { P("crunpy\nrun_path\n."), "'runpy'" }, { P("c_pickle\nloads\n."), "'_pickle'" },
        { P("\x80\4\x8c\5\033]0;\007\x8c\3foo\x93" "cos\nsystem\n."), "'os'" },
    };
    for (int i = 0; i < countof(row); i++) {
        u8 file[2048];
        assert_refused(file, torch_make(file, row[i].pickle, row[i].n), row[i].says);
    }
}

static void hostile_tensors_are_refused(void **state)
{
    (void)state;
#define BAD(shape, stride) P(WITH(REBUILD(TEN, "K\0", shape, stride)))
    static const struct { const void *pickle; size_t n; const char *says; } row[] = {
        { BAD("K\13\x85", "K\1\x85"), "larger than its storage" },
        { BAD("(K\2K\6t", "(K\5K\1t"), "larger than its storage" },
        { P(WITH(REBUILD(TEN, "K\11", "K\2\x85", "K\1\x85"))), "larger" },
        { P(WITH(REBUILD(TEN, "K\13", "K\0\x85", "K\1\x85"))), "larger" },
        { BAD("J\377\377\377\377\x85", "K\1\x85"), "none negative" },
        { BAD("K\2\x85", "J\377\377\377\377\x85"), "none negative" },
        { P(WITH(REBUILD(TEN, "J\377\377\377\377", "K\2\x85", "K\1\x85"))), "other types" },
        { BAD("G\177\370\0\0\0\0\0\0\x85", "K\1\x85"), "integers" },
        { BAD("N", "K\1\x85"), "other types" },
        { BAD("K\2\x85", "(K\1K\1t"), "as many strides" },
        { BAD("(K\1K\1K\1K\1K\1K\1K\1K\1K\1t", "(K\1K\1K\1K\1K\1K\1K\1K\1K\1t"), "8 dimensions" },
        { BAD("\x8a\10\0\0\0\0\0\0\0\100\x85", "K\2\x85"), "larger" },
        { BAD("\x8a\10\0\0\0\0\0\0\0\100\x85", "K\0\x85"), "impossible shape" },
        { BAD("\x8a\5\0\0\0\0\1\x85", "K\0\x85"), "out of proportion" },
        { BAD("\x8a\12\0\0\0\0\0\0\0\0\0\1\x85", "K\0\x85"), "integers" },
        { P(WITH(REBUILD(STORAGE("FloatStorage", "1", "\3"), "K\0", "K\3\x85", "K\1\x85"))),
          "holds 8 bytes, but 3 elements" },
        { P(WITH(REBUILD(STORAGE("DoubleStorage", "1", "\2"), "K\0", "K\1\x85", "K\1\x85"))),
          "holds 8 bytes, but 2 elements" },
        { P(WITH(REBUILD(STORAGE("FloatStorage", "9", "\3"), "K\0", "K\3\x85", "K\1\x85"))),
          "not in the archive" },
        { P(WITH(REBUILD(STORAGE("OddStorage", "0", "\3"), "K\0", "K\3\x85", "K\1\x85"))),
          "unknown type 'OddStorage'" },
        { P(WITH(REBUILD("(" TEXT("\7", "storage") "ctorch\nFloatStorage\n" TEXT("\5", "../..") TEXT("\3",
          "cpu") "K\1tQ", "K\0", ")", ")"))),
          "not in the archive" },
        { P(WITH(REBUILD("(" TEXT("\7", "storage") "ctorch\nFloatStorage\n" TEXT("\1", "0") TEXT("\3", "cpu")
                         "\x8a\10\0\0\0\0\0\0\0\x7ftQ", "K\0", ")", ")"))), "elements" },
        { P(WITH(REBUILD("N", "K\0", ")", ")"))), "other types" },
        { P(WITH(REBUILD("K\1Q", "K\0", ")", ")"))), "not a storage" },
        { P(WITH("ctorch._utils\n_rebuild_tensor_v2\n)R")), "other types" },
        { P(WITH("ctorch._utils\n_rebuild_tensor_v2\n(" TEN "K\0K\2\x85K\1\x85\x89" ODICT "}" TEXT("\4",
          "conj") "\x88stR")),
          "conjugated" },
        { P(WITH("ctorch._utils\n_rebuild_tensor_v2\n(" TEN "K\0K\2\x85K\1\x85\x89" ODICT "}" TEXT("\3",
          "neg") "\x88stR")),
          "negated" },
        { P(WITH("ctorch._tensor\n_rebuild_from_type_v2\n)R")), "other types" },
        { P(WITH(FROM_TYPE("K\1", ")"))), "other types" },
        { P(WITH(FROM_TYPE("ctorch._utils\n_rebuild_tensor_v2\n", "K\1"))), "other types" },
        { P(WITH("ctorch._tensor\n_rebuild_from_type_v2\nq\0](h\0K\1eq\1h\1a" "h\0h\1\x85R")), "" },
        { P(WITH(FROM_TYPE("ctorch._tensor\n_rebuild_from_type\n", ")"))), "other types" },
        { P(WITH(FROM_TYPE("cos\nsystem\n", "(" TEXT("\2", "id") "t"))), "'os'" },
        { P(WITH("ctorch._utils\n_rebuild_parameter\n)R")), "nothing" },
        { P(STATE(TEXT("\1", "w") PLAIN TEXT("\1", "w") PLAIN)), "two tensors are called 'w'" },
        { P(STATE(TEXT("\2", "\033w") PLAIN)), "not a valid tensor name" },
        { P(STATE(TEXT("\1", "\0") PLAIN)), "not a valid tensor name" },
    };
    for (int i = 0; i < countof(row); i++) {
        u8 file[4096];
        assert_frugal(file, torch_make(file, row[i].pickle, row[i].n), row[i].says);
    }
}

static void broken_programs_are_refused(void **state)
{
    (void)state;
    static const struct { const void *pickle; size_t n; const char *says; } row[] = {
        { P(""), "truncated" }, { P("\x80"), "truncated" }, { P("N"), "truncated" },
        { P("."), "stack is empty" },
        { P("t."), "no mark" }, { P("(."), "stack is empty" }, { P("NNR."), "must be a tuple" },
        { P("N)b"), "truncated" },
        { P("K\1K\2K\3s."), "something other than a dict" }, { P("](K\1u."), "dict" },
        { P("}K\1a."), "something other than a list" },
        { P("}(K\1u."), "dict" }, { P("(K\1d."), "odd number" }, { P("\x87."), "stack is empty" },
        { P("h\0."), "memo index" }, { P("Nq\5h\4."), "memo index" },
        { P("Nr\377\377\377\177."), "memo index" },
        { P("j\377\377\377\377."), "memo index" }, { P("Np-1\n."), "memo index" },
        { P("g99999999999999999999\n."), "memo index" },
        { P("X\377\377\377\377a."), "truncated" },
        { P("\x8d\377\377\377\377\377\377\377\377a."), "truncated" },
        { P("\x8b\377\377\377\377a."), "truncated" }, { P("cno newline"), "truncated" },
        { P("\x82\1."), "opcode 0x82" },
        { P("P1\n."), "opcode 0x50" }, { P("\x97."), "opcode 0x97" }, { P("\377."), "opcode 0xff" },
        { P("Ix\n."), "integer" },
        { P("Fnan\n."), "not a number" }, { P("NN\x93."), "something other than text" },
        { P("ctorch\nSize\n)R."), "torch.Size" },
        { P("]q\0h\0a."), "nested deeper" }, { P("}q\0(U\1ah\0u."), "nested deeper" },
        { P("ccollections\nOrderedDict\n]K\1a\x85R."), "other than pairs" },
    };
    for (int i = 0; i < countof(row); i++) {
        u8 file[2048];
        assert_refused(file, torch_make(file, row[i].pickle, row[i].n), row[i].says);
    }
}

static void bombs_are_refused(void **state)
{
    (void)state;
    arena *a = arena_open("test");
    enum { N = 3 << 20 };
    u8 *pickle = arena_bytes(a, N + 64, 1), *file = arena_bytes(a, N + 4096, 1);
    static const struct { const char *unit, *tail, *says; } row[] = {
        { "]", ".", "more than 24 MB" }, { "}", ".", "more than 24 MB" }, { "N", ".", "more than 24 MB" },
        { "(", "N.", "more than 24 MB" },
        { "Nr\377\377\57\0", ".", "more than 24 MB" }, { "ca\nb\n", ".", "more than 24 MB" },
        { "2", ".", "stack is empty" },
    };
    for (int i = 0; i < countof(row); i++) {
        size_t unit = MAX(strlen(row[i].unit), i == 4 ? 6u : 0u), n = 0;
        for (; n + unit <= N; n += unit)
            memcpy(pickle + n, row[i].unit, unit);
        memcpy(pickle + n, row[i].tail, strlen(row[i].tail));
        assert_frugal(file, torch_make(file, pickle, n + strlen(row[i].tail)), row[i].says);
    }

    u8 *to = pickle;                                 // lists of ten of the list before: a billion leaves
    memcpy(to, "]q\0", 3);
    to += 3;
    for (int i = 0; i < 9; i++) {
        memcpy(to, "](", 2);
        to += 2;
        for (int k = 0; k < 10; k++, to += 2)
            memcpy(to, (u8[]){ 'h', (u8)i }, 2);
        memcpy(to, (u8[]){ 'e', 'q', (u8)(i + 1) }, 3);
        to += 3;
    }
    *to++ = '.';
    assert_frugal(file, torch_make(file, pickle, (size_t)(to - pickle)), "objects");

    to = pickle;                                     // a long list of numbers, many times over
    *to++ = ']';
    *to++ = '(';
    memset(to, 'N', 100000);
    memcpy(to += 100000, "eq\0" "](", 5);
    for (to += 5; to < pickle + 300000; to += 2)
        memcpy(to, "h", 2);
    memcpy(to, "e.", 2);
    assert_frugal(file, torch_make(file, pickle, (size_t)(to + 2 - pickle)), "objects");

    size_t deep = 20000;                            // [[[[...]]]]
    memset(pickle, ']', deep);
    memset(pickle + deep, 'a', deep - 1);
    pickle[2 * deep - 1] = '.';
    assert_frugal(file, torch_make(file, pickle, 2 * deep), "nested deeper than 64");
    arena_close(a);
}

/* ---- legacy streams ------------------------------------------------------------------------------------ */

#define MAGIC   "\x80\2\x8a\12\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
#define HEAD    MAGIC "\x80\2M\xe9\3." "\x80\2}."
#define NUMEL   "\12\0\0\0\0\0\0\0"
#define FORTY                                                                                                  \
    "\0\0\0\0\0\0\200\77\0\0\0\100\0\0\100\100\0\0\200\100\0\0\240\100\0\0\300\100\0\0\340\100\0\0\0\101\0\0"  \
    "\20\101"

static void legacy_streams(void **state)
{
    (void)state;
    static const char file[] = HEAD WITH(PLAIN) "\x80\2]U\1""0a." NUMEL FORTY;
    static const char shifted[] = HEAD WITH(REBUILD("(" TEXT("\7", "storage")
                 "ctorch\nFloatStorage\n" TEXT("\1", "0")
        TEXT("\3", "cpu") "K\12(U\1vK\3K\5ttQ", "K\1", "K\2\x85", "K\1\x85")) "\x80\2]U\1""0a." NUMEL FORTY;
    f32 v[6];
    ckpt *c = ckpt_open_bytes(P(file), "x");
    assert_true(c && !tensor_to_f32(ckpt_find(c, "w"), v));
    assert_string_equal(ckpt_format(c), "torch legacy");
    assert_memory_equal(v, ten, sizeof v);
    ckpt_close(c);
    c = ckpt_open_bytes(P(shifted), "x");
    assert_true(c && !tensor_to_f32(ckpt_find(c, "w"), v) && v[0] == 4 && v[1] == 5);
    ckpt_close(c);
    for (size_t n = 0; n < sizeof file - 1; n++)
        assert_refused(file, n, "");

    // protocol 4 frames each pickle
    static const char framed[] = "\x80\4\x95\15\0\0\0\0\0\0\0"
                                 "\x8a\12\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
                                 "\x80\4\x95\4\0\0\0\0\0\0\0M\xe9\3."
                                 "\x80\4}." WITH(PLAIN) "\x80\2]U\1"
                                                        "0a." NUMEL FORTY;
    c = ckpt_open_bytes(P(framed), "x");
    assert_true(c && !tensor_to_f32(ckpt_find(c, "w"), v) && v[5] == 5);
    ckpt_close(c);
    for (size_t n = 0; n < sizeof framed - 1; n++)
        assert_refused(framed, n, "");
}

static void hostile_legacy_streams_are_refused(void **state)
{
    (void)state;
    static const struct { const void *file; size_t n; const char *says; } row[] = {
        { P(MAGIC "\x80\2K\1." "\x80\2}." WITH(PLAIN) "]."), "unknown version" },
        { P(HEAD WITH(PLAIN) "\x80\2]."), "storage '0' is missing" },
        { P(HEAD WITH(PLAIN) "\x80\2}."), "list of storage keys" },
        { P(HEAD WITH(PLAIN) "\x80\2]K\1a."), "must be text" },
        { P(HEAD WITH(PLAIN) "\x80\2]U\1""9a." NUMEL FORTY), "belongs to no tensor" },
        { P(HEAD WITH(PLAIN) "\x80\2]U\1""0a." "\377\377\377\377\377\377\377\377" FORTY),
          "elements in the last" },
        { P(HEAD WITH(PLAIN) "\x80\2]U\1""0a." "\2\0\0\0\0\0\0\0" FORTY), "smaller than its tensors" },
        { P(HEAD WITH(PLAIN) "\x80\2](U\1""0U\1""0e." NUMEL FORTY NUMEL FORTY), "given twice" },
        { P(HEAD WITH(REBUILD("(" TEXT("\7", "storage") "ctorch\nFloatStorage\n" TEXT("\1", "0") TEXT("\3",
          "cpu")
            "K\12(U\1v\x8a\10\377\377\377\377\377\377\377\177K\5ttQ", "K\1", "K\2\x85", "K\1\x85")) "]."),
            "out of range" },
        { P(HEAD "cos\nsystem\n."), "'os'" },
    };
    for (int i = 0; i < countof(row); i++)
        assert_refused(row[i].file, row[i].n, row[i].says);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(views_of_every_kind),
        cmocka_unit_test(containers_make_names),
        cmocka_unit_test(every_opcode_is_understood),
        cmocka_unit_test(byte_order_is_obeyed),
        cmocka_unit_test(harm_is_refused_by_name),
        cmocka_unit_test(hostile_tensors_are_refused),
        cmocka_unit_test(broken_programs_are_refused),
        cmocka_unit_test(bombs_are_refused),
        cmocka_unit_test(legacy_streams),
        cmocka_unit_test(hostile_legacy_streams_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
