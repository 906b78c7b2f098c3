/* test_spec_rows.c: the table of keys: every default, preset and check against a file that says what they
 * were, each row at its bounds, keys against each other at theirs, and which keys the hash sees. */
#include "unit.h"
#include <math.h>
#include <stdlib.h>
#include <unistd.h>
#include "spec/key.h"

static arena *a;

static int rows_begin(void **state)
{
    (void)state;
    a = arena_open("test");
    unsetenv("JETCL_DEVICE");
    unsetenv("JETCL_DATA");
    return setenv("XDG_CONFIG_HOME", "/nonexistent", 1);
}

static int rows_end(void **state)
{
    (void)state;
    arena_close(a);
    return 0;
}

#define EACH_KEY(k) \
    for (const struct key *k = spec_keys; k < spec_keys + spec_key_count; k++) \
        if (k->type > TYPE_end)

static struct spec parsed(const char *text)
{
    struct spec s;
    if (spec_parse(&s, a, "x.yaml", text, NULL, 0))
        fail_msg("%s: %s", text, fail_message());
    return s;
}

static void refused(const char *text, const char *key)
{
    struct spec s;
    fail_clear();
    if (!spec_parse(&s, a, "x.yaml", text, NULL, 0))
        fail_msg("%s: accepted", text);
    assert_int_equal(fail_fault(), FAULT_USAGE);
    if (!strstr(fail_message(), key))
        fail_msg("%s: refused, but not for '%s': %s", text, key, fail_message());
}

/* ---- what the table says ------------------------------------------------------------------------------- */

static const char *const type_words[] = {
    [TYPE_choice] = "choice", [TYPE_count] = "count", [TYPE_integer] = "integer", [TYPE_real] = "real",
    [TYPE_text] = "text", [TYPE_path] = "path", [TYPE_flag] = "flag", [TYPE_counts] = "counts",
    [TYPE_reals] = "reals", [TYPE_texts] = "texts" };

/* What a preset or variant changes, one key a line. */
static void write_changes(FILE *f, const char *key, const char *value)
{
    struct spec before = parsed(""), after;
    struct spec_set set = { "--set", arena_printf(a, "%s=%s", key, value), NULL };
    if (spec_parse(&after, a, "x.yaml", "", &set, 1))
        fail_msg("%s: %s: %s", key, value, fail_message());
    fprintf(f, "\n[%s: %s]\n", key, value);
    EACH_KEY(k) {
        const char *new = value_text(a, k, key_field(k, &after));
        if (strcmp(new, value_text(a, k, key_field(k, &before))) && strcmp(k->path, key))
            fprintf(f, "%s = %s\n", k->path, new);
    }
}

/* Regenerated into the build folder, where a wished change can be copied from. */
static void test_snapshot(void **state)
{
    (void)state;
    const char *want_path = "tests/golden/keys.txt", *got_path = "build/keys.txt";
    FILE *f = (file_mkdirs("build"), fopen(got_path, "w"));
    assert_non_null(f);
    struct spec s = parsed("");
    s.name = "";
    fprintf(f, "[defaults]\n");
    EACH_KEY(k)
        fprintf(f, "%s = %s  (%s%s%s)\n", k->path, value_text(a, k, key_field(k, &s)), type_words[k->type],
                k->checks[0] ? ": " : "", k->checks);
    for (int i = 0; i < spec_preset_count; i++)
        write_changes(f, spec_presets[i].key, spec_presets[i].value);
    fclose(f);
    const char *got = file_text(a, got_path, NULL), *want = file_text(a, want_path, NULL);
    if (!want)
        fail_msg("%s", fail_message());
    for (const char *g = got, *w = want; *g || *w; g += *g == '\n', w += *w == '\n') {
        size_t n = strcspn(g, "\n"), m = strcspn(w, "\n");
        if (n != m || memcmp(g, w, n))
            fail_msg("%s has\n  %.*s\nwhere the table of keys gives\n  %.*s\n(meant? cp %s %s)", want_path,
                     (int)m, w, (int)n, g, got_path, want_path);
        g += n, w += m;
    }
    remove(got_path);
}

/* ---- each row at its bounds ---------------------------------------------------------------------------- */

struct bounds { f64 lo, hi; bool has_lo, has_hi, above; int least, most; bool distinct; };

/* The check column, read here by other means than value.c's. */
static struct bounds bounds_of(const struct key *k)
{
    struct bounds b = { .most = -1 };
    char *text = arena_printf(a, "%s", k->checks), *save = NULL;
    for (char *w = strtok_r(text, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
        char *dots = strstr(w, ".."), *from = w;
        if (!strcmp(w, "distinct"))
            b.distinct = true;
        if (!dots)
            continue;
        *dots = 0;
        if (*w == '#') {
            b.least = atoi(w + 1);
            b.most = atoi(dots + 2);
            continue;
        }
        b.above = *w == '>';
        from += b.above;
        b.has_lo = *from != 0;
        b.has_hi = dots[2] != 0;
        b.lo = b.has_lo ? atof(from) : 0;
        b.hi = b.has_hi ? atof(dots + 2) : 0;
    }
    return b;
}

/* Reads one value in the form the key takes it, alone or as every item of a list; true when it is taken. */
static bool takes(const struct key *k, const char *item, int n)
{
    const char *text = n == 1 && k->type != TYPE_texts ? item : "[";
    for (int i = 0; i < n && text[0] == '['; i++)
        text = arena_printf(a, "%s%s%s", text, i ? ", " : "", item);
    if (text[0] == '[')
        text = arena_printf(a, "%s]", text);
    fail_clear();
    struct yaml *y = yaml_parse(a, "x", "", text, false);
    u8 room[64];
    assert_non_null(y);
    bool ok = !value_read(a, k, y, room);
    if (!ok && strncmp(fail_message(), "x: ", 3))
        fail_msg("%s: %s", k->path, fail_message());
    return ok;
}

static void expect(const struct key *k, f64 v, bool accepted)
{
    const char *item = arena_printf(a, "%.17g", v);
    struct bounds b = bounds_of(k);
    int n = b.most > 0 ? MAX(1, b.least) : 1;
    if (takes(k, item, n) != accepted)
        fail_msg("%s: %s is %s (checks: %s)", k->path, item, accepted ? "refused" : "accepted", k->checks);
}

static void test_ranges(void **state)
{
    (void)state;
    int rows = 0;
    EACH_KEY(k) {
        struct bounds b = bounds_of(k);
        bool whole = k->type == TYPE_count || k->type == TYPE_counts || k->type == TYPE_integer;
        if (!whole && k->type != TYPE_real && k->type != TYPE_reals)
            continue;
        assert_true(b.has_lo);                    // every number has a least value
        f64 step = whole ? 1 : 1e-9 * fmax(1, fabs(b.hi));
        expect(k, b.lo, !b.above);
        expect(k, b.lo + (whole ? 1 : 1e-12), !b.has_hi || b.lo + 1e-12 <= b.hi);
        expect(k, b.lo - (whole ? 1 : 1e-12), false);
        expect(k, -3, false);
        if (b.has_hi) {
            expect(k, b.hi, true);
            expect(k, b.hi - step, true);
            expect(k, b.hi + step, false);
        } else
            expect(k, 2147483647, true);
        if (whole)
            expect(k, b.lo + 1.5, false);
        if (k->type == TYPE_count)
            expect(k, 2147483648.0, false);
        rows++;
    }
    assert_true(rows > 60);
}

static void test_lengths(void **state)
{
    (void)state;
    EACH_KEY(k) {
        struct bounds b = bounds_of(k);
        bool list = k->type == TYPE_counts || k->type == TYPE_reals || k->type == TYPE_texts;
        const char *item = k->type == TYPE_texts ? "x" : arena_printf(a, "%.17g", b.has_hi ? b.hi : b.lo + 1);
        if (list && b.distinct)
            assert_true(takes(k, item, 1) && !takes(k, item, 2));
        if (list && b.most < 0)
            assert_true(takes(k, item, 0));
        if (list && b.most >= 0)
            for (int n = 0; n <= b.most + 1; n++)
                if (takes(k, item, n) != (n >= b.least && n <= b.most))
                    fail_msg("%s: a list of %d (checks: %s)", k->path, n, k->checks);
        if (!list && k->type != TYPE_text && k->type != TYPE_path)
            assert_false(takes(k, item, 2));
    }
}

/* Words for numbers (`auto=0`) are read as that number and written as that word; choices take their words and
 * no other. */
static void test_words(void **state)
{
    (void)state;
    int words = 0;
    EACH_KEY(k) {
        char *text = arena_printf(a, "%s", k->checks), *save = NULL;
        int nth = 0;
        for (char *w = strtok_r(text, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
            char *eq = strchr(w, '=');
            if (k->type != TYPE_choice && !eq)
                continue;
            if (eq)
                *eq = 0;
            u8 room[64] = { 0 };
            if (value_read(a, k, yaml_parse(a, "x", "", w, false), room))
                fail_msg("%s: %s", k->path, fail_message());
            if (k->type == TYPE_choice)
                assert_int_equal(*(int *)room, nth++);
            else if (k->type == TYPE_count)
                assert_int_equal(*(int *)room, atoi(eq + 1));
            else if (k->type == TYPE_real)
                assert_true(*(f64 *)room == atof(eq + 1));
            else if (strcmp(eq + 1, "[]"))            // a list of that number alone
                assert_true(((reals *)room)->n == 1 && ((reals *)room)->v[0] == atof(eq + 1));
            else
                assert_int_equal(((reals *)room)->n, 0);
            const char *back = value_text(a, k, room);            // off=1 comes back as 1
            if (k->type != TYPE_reals && strcmp(back, w) && (!eq || strcmp(back, eq + 1)))
                fail_msg("%s: '%s' is written as '%s'", k->path, w, back);
            words++;
        }
        if (k->type == TYPE_choice || k->type == TYPE_count || k->type == TYPE_real || k->type == TYPE_flag)
            assert_true(!takes(k, "nonsense", 1) && !takes(k, "''", 1) && !takes(k, "nan", 1)
                        && !takes(k, "inf", 1));
        if (k->type == TYPE_text || k->type == TYPE_path)
            assert_true(takes(k, "''", 1));
    }
    assert_true(words > 80);
    struct { const char *text; bool on; } flags[] = { { "true", true }, { "on", true }, { "false", false },
                                                      { "off", false } };
    for (int i = 0; i < countof(flags); i++) {
        bool got = !flags[i].on;
        assert_int_equal(value_read(a, key_find("data.exif"), yaml_parse(a, "x", "", flags[i].text, false),
                                    &got), 0);
        assert_int_equal(got, flags[i].on);
    }
}

/* ---- keys against each other --------------------------------------------------------------------------- */

static void test_together(void **state)
{
    (void)state;
    parsed("train: {batch: 8, accumulate: 8}");
    refused("train: {batch: 8, accumulate: 9}", "a batch of 8 cannot be split in 9");
    refused("augment: {randaugment: [2]}", "must be [operations, magnitude");
    refused("augment: {randaugment: [2, 9]}", "must be [operations, magnitude");
    parsed("data: {mean: [1, 2, 3], std: 4}");
    refused("data: {mean: [1, 2]}", "1:8: one value");
    refused("data: {std: [1, 2]}", "1:8: one value");
    parsed("recycle: {from: {experts: b.npz, dense: a.npz}}");
    refused("recycle: {from: {dense: a.npz}}", "nothing is recycled");
    parsed("signal: {save_on: [INT, TERM, USR1, USR2, HUP]}");
    parsed("signal: {save_on: []}");
    refused("signal: {save_on: [HUP, STOP]}", "'STOP' is not INT, TERM, USR1, USR2 or HUP");
    parsed("model: {pool: token}");
    parsed("model: {class_token: off}");
    parsed("model: {image: [32, 48]}");
    refused("model: {image: [32, 40]}", "side of 40");
    refused("model: {image: [40, 32]}", "side of 40");
}

static void test_experts(void **state)
{
    (void)state;
    parsed("model: {moe: {layers: [0, 11]}}");
    refused("model: {moe: {layers: [0, 12]}}", "layer 12 of a model with 12 blocks");
    parsed("model: {moe: {layers: [1], core: 0}}");
    parsed("model: {moe: {layers: [1], universal: 0}}");
    refused("model: {moe: {layers: [1], core: 0, universal: 0}}", "no experts at all");
    refused("model: {moe: {layers: [1, 11], universal: [1, 2]}}", "2 values, but MoE blocks are in 1 stage");
    parsed("model: {moe: {core: [1, 2]}}");                                       // no layers: not read
    parsed("model: {moe: {layers: [1], multi_head: on}}");
    parsed("model: {moe: {layers: [1], input_as_phi: on}}");
    refused("model: {moe: {layers: [1], input_as_phi: on, multi_head: on}}", "requires kind: sphero");
    refused("model: {moe: {layers: [1], input_as_phi: on, kind: soft}}", "requires kind: sphero");
    refused("model: {moe: {layers: [1], kind: vmoe, universal: 1}}", "universal experts require kind");
    parsed("model: {moe: {layers: [1], kind: vmoe, universal: 0}}");
#define CONVNEXT "model: {arch: convnext, image: 32, depths: [1, 2, 3, 1], dims: [8, 16, 24, 32], moe: "
    parsed(CONVNEXT "{layers: [0, 6]}}");
    refused(CONVNEXT "{layers: [7]}}", "layer 7 of a model with 7 blocks");
    parsed(CONVNEXT "{layers: [1, 2, 3], core: [2, 3], universal: [1, 0]}}");     // stages 1 and 2
    parsed(CONVNEXT "{layers: [0, 3, 6], core: [2, 3, 4]}}");
    refused(CONVNEXT "{layers: [1, 2], core: [2, 3]}}", "2 values, but MoE blocks are in 1 stage");
    refused(CONVNEXT "{layers: [2, 3], core: [2, 0], universal: [2, 0]}}", "no experts at all");
    refused(CONVNEXT "{layers: [2, 3, 6], core: [2, 3]}}", "in 3 stages");
    refused(CONVNEXT "{layers: [1], multi_head: on}}", "a ConvNeXt has no attention heads");
    refused("model: {arch: convnext, image: 31, depths: [1, 2, 3, 1], dims: [8, 16, 24, 32]}",
            "at least 32 pixels");
    refused("model: {arch: convnext, image: [64, 31], depths: [1, 2, 3, 1], dims: [8, 16, 24, 32]}",
            "at least 32 pixels");
    parsed("model: {arch: convnext, image: 16, depths: [1, 2, 3], dims: [8, 16, 24]}");
    refused("model: {arch: convnext, depths: [1, 2, 3, 4, 5], dims: [8, 16, 24, 8]}", "5 depths but 4 dims");
}

/* ---- who sees a change --------------------------------------------------------------------------------- */

/* Another value than the default, for keys that can stand alone. */
static const char *other_value(const struct key *k, const struct spec *s)
{
    const char *now = value_text(a, k, key_field(k, s));
    static const char *const try[] = { "off", "on", "2", "0.5", "3", "1", "[0.25, 0.5]", "[1, 2, 3]",
                                       "[x]", "[]", "x", "vit_base_patch32_224", "[9, 9, 9, 9]", "0", "4",
                                       "32" };
    if (k->type == TYPE_choice) {
        const char *word = k->checks;
        if (text_starts(word, now))
            word = strchr(word, ' ') + 1;
        return arena_copy(a, word, strcspn(word, " "));
    }
    for (int i = 0; i < countof(try); i++) {
        u8 room[64];
        struct yaml *y = yaml_parse(a, "x", "", try[i], false);
        fail_clear();
        if (!value_read(a, k, y, room) && strcmp(value_text(a, k, room), now))
            return try[i];
    }
    fail_msg("%s: no other value found", k->path);
    return NULL;
}

/* FNV-1a over "key=value" lines: folders of results are named by it, so it must not move on its own. */
static u64 hash_of_lines(const struct spec *s, const char *const *outside, int n)
{
    u64 h = 0xcbf29ce484222325u;
    EACH_KEY(k) {
        bool out = false;
        for (int i = 0; i < n; i++)
            out |= !strcmp(outside[i], k->path);
        const char *line = arena_printf(a, "%s=%s\n", k->path,
                                        k->type == TYPE_path ? "" : value_text(a, k, key_field(k, s)));
        for (; *line && !out; line++)
            h = (h ^ (u8)*line) * 0x100000001b3u;
    }
    return h;
}

/* Keys that only say where, how fast and how loud leave the hash alone; every other key changes it, and is
 * named by spec_changes. */
static void test_hash(void **state)
{
    (void)state;
    static const char *const outside[] = {
        "name", "device", "device.matrix", "threads", "data.root", "data.workers", "data.changed",
        "recycle.statistics",
        "log.every",
        "log.tensorboard", "keep.every", "keep.minutes", "keep.states", "keep.last", "keep.best",
        "signal.save_on", "dist.shard", "dist.shares", "dist.overlap", "dist.bucket",
        "dist.timeout", "train.check", "train.profile" };
    struct spec s = parsed("");
    u64 before = spec_hash(&s);
    int seen = 0;
    assert_true(before == hash_of_lines(&s, outside, countof(outside)));
    EACH_KEY(k) {
        struct spec t = s;
        const char *value = other_value(k, &s);
        if (!value[0])
            continue;                             // a choice of one
        fail_clear();
        if (value_read(a, k, yaml_parse(a, "x", "", value, false), key_field(k, &t)))
            fail_msg("%s: %s", k->path, fail_message());
        bool out = false;
        for (int i = 0; i < countof(outside); i++)
            out |= !strcmp(outside[i], k->path);
        if ((spec_hash(&t) == before) != out)
            fail_msg("%s = %s: the hash %s", k->path, value, out ? "changes" : "stays");
        const char *changes = spec_changes(a, &s, &t);
        const char *start = arena_printf(a, "%s ", k->path);
        if (out ? changes[0] != 0 : !text_starts(changes, start) || !strstr(changes, " -> "))
            fail_msg("%s: changes '%s'", k->path, changes);
        seen++;
    }
    assert_true(seen > 90);
    struct spec one = parsed("model: {init: a/../b/./c}"), two = parsed("model: {init: b/c}");
    assert_true(spec_hash(&one) == spec_hash(&two));
    char here[4096];
    assert_non_null(getcwd(here, sizeof here));
    two = parsed(arena_printf(a, "model: {init: %s/b/c}", here));
    assert_true(spec_hash(&one) == spec_hash(&two));
    two = parsed(arena_printf(a, "model: {init: %sxb/c}", here));
    assert_true(spec_hash(&one) != spec_hash(&two));
    two = parsed("model: {init: b/d}");
    assert_string_equal(spec_changes(a, &one, &two), "model.init b/c -> b/d");
}

/* Written by whom: file, --set and environment count; presets and defaults do not, and cannot overrule. */
static void test_origin(void **state)
{
    (void)state;
    struct spec s = parsed("optim: {lr: 4e-3}\nmodel: {arch: vit_small_patch16_224, heads: 3}");
    assert_true(spec_written(&s, "optim.lr") && spec_written(&s, "model.heads"));
    assert_false(spec_written(&s, "model.dim") || spec_written(&s, "optim.eps"));
    assert_int_equal(s.model.heads, 3);
    assert_int_equal(s.model.dim, 384);
    struct spec_set sets[] = { { "--set", "optim.eps=1e-7", NULL }, { "--set", "optim.eps=1e-6", NULL } };
    assert_int_equal(spec_parse(&s, a, "x.yaml", "optim: {eps: 1e-5}", sets, 2), 0);
    assert_true(spec_written(&s, "optim.eps") && s.optim.eps == 1e-6);            // the last one counts
    s = parsed("model: {arch: vit_tiny_patch16_224.augreg_in21k}");
    assert_int_equal(s.model.heads, 3);
    refused("model: {arch: vit_tiny_patch16_22}", "did you mean 'vit_tiny_patch16_224'");
    setenv("JETCL_DATA", "/from/environment", 1);
    s = parsed("data: {root: /from/file}");
    assert_string_equal(s.data.root, "/from/environment");
    unsetenv("JETCL_DATA");
}

/* What a message says that a key takes, apart from the words for its type. */
static void test_wants(void **state)
{
    (void)state;
    static const char *const ends[][2] = {
        { "train.epochs", ", 0 to 1000000" }, { "train.steps", ", 0 to 1000000000, or off" },
        { "augment.scale_min", ", above 0 and at most 1" }, { "optim.eps", ", above 0 and at most 1000" },
        { "optim.layer_decay", ", above 0 and at most 1, or off" }, { "threads", ", 1 to 1024, or auto" },
        { "model.moe.noise", ", 0 to 1000000, or off, or 1/E" }, { "variant", "released or paper" },
        { "recycle.metric", "l1, l2 or count" }, { "seed", ", at least 0" } };
    static const char *const starts[][2] = {
        { "optim.betas", "2 " }, { "data.mean", "0 to 3 " }, { "model.moe.layers", "a list of " },
        { "model.image", "1 to 2 " }, { "data.classes", "a list of words" } };
    for (int i = 0; i < countof(ends); i++)
        if (!text_ends(value_expected(a, key_find(ends[i][0])), ends[i][1]))
            fail_msg("%s: %s", ends[i][0], value_expected(a, key_find(ends[i][0])));
    for (int i = 0; i < countof(starts); i++)
        if (!text_starts(value_expected(a, key_find(starts[i][0])), starts[i][1]))
            fail_msg("%s: %s", starts[i][0], value_expected(a, key_find(starts[i][0])));
}

/* ---- help ---------------------------------------------------------------------------------------------- */

static const char *said(int (*call)(FILE *, const char *), const char *key)
{
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    assert_int_equal(call(f, key), 0);
    fclose(f);
    const char *copy = arena_copy(a, text, n);
    free(text);
    return copy;
}

static int list_text(FILE *f, const char *how)
{
    *how == 'j' ? spec_list_json(f) : spec_list(f, *how == 'm');
    return 0;
}

/* Every key is listed with its default and what it takes, in its section, in all three forms. */
static void test_lists(void **state)
{
    (void)state;
    const char *plain = said(list_text, "text"), *markdown = said(list_text, "markdown"),
               *json = said(list_text, "json");
    EACH_KEY(k) {
        const char *def = k->def[0] ? k->def : "none", *wants = value_expected(a, k);
        const char *line = strstr(plain, arena_printf(a, "  %-28s %-22s ", k->path, def));
        if (!line || strncmp(line + strlen(arena_printf(a, "  %-28s %-22s ", k->path, def)), wants,
                             strlen(wants)))
            fail_msg("config --list: %s", k->path);
        if (!strstr(markdown, arena_printf(a, "\n| `%s` | `%s` | ", k->path, def)))
            fail_msg("config --markdown: %s", k->path);
        if (!strstr(json, arena_printf(a, "\"key\": \"%s\"", k->path)))
            fail_msg("config --list --json: %s", k->path);
        const char *help = said(spec_help, k->path);
        if (!strstr(help, arena_printf(a, "  default: %s\n", def)) || !text_starts(help, k->path)
            || !strstr(help, arena_printf(a, "  value:   %s\n", wants)))
            fail_msg("help %s: %s", k->path, help);
    }
    assert_non_null(strstr(plain, "\nmodel.moe: mixture-of-experts layers"));
    assert_non_null(strstr(markdown, "\n### recycle.from\n\ndense checkpoints to recycle\n"));
    assert_non_null(strstr(said(spec_help, "variant"), "      model.moe.combine: softmax\n"));
    assert_non_null(strstr(said(spec_help, "model.arch"), "      model.depths: [3, 3, 27, 3]\n"));
    assert_non_null(strstr(said(spec_help, "lr"), "optim.lr: "));
    assert_non_null(strstr(said(spec_help, "recycle."), "recycle.from.heads"));
    assert_null(strstr(said(spec_help, "train"), "recycle.from.heads"));
    assert_non_null(strstr(said(spec_help, "optim.betas"), "--set 'optim.betas=[0.9, 0.999]'\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_snapshot), cmocka_unit_test(test_ranges), cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_words), cmocka_unit_test(test_together), cmocka_unit_test(test_experts),
        cmocka_unit_test(test_hash), cmocka_unit_test(test_origin), cmocka_unit_test(test_wants),
        cmocka_unit_test(test_lists) };
    return cmocka_run_group_tests(tests, rows_begin, rows_end);
}
