/* test_spec.c: experiment files: defaults, layers, presets, round trip, and the messages for what is
 * wrong with one. */
#include "unit.h"
#include <dirent.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "spec/spec.h"
#include "spec/yaml.h"

static arena *a;
static char   folder[64];

static int begin(void **state)
{
    (void)state;
    a = arena_open("test");
    snprintf(folder, sizeof folder, "/tmp/jetcl-spec-XXXXXX");
    unsetenv("JETCL_DEVICE");
    unsetenv("JETCL_DATA");
    return !mkdtemp(folder) || setenv("XDG_CONFIG_HOME", folder, 1);
}

static int end(void **state)
{
    (void)state;
    DIR *d = opendir(folder);
    for (struct dirent *e; (e = readdir(d));)
        unlink(arena_printf(a, "%s/%s", folder, e->d_name));
    closedir(d);
    rmdir(folder);
    arena_close(a);
    return 0;
}

static const char *file(const char *name, const char *text)
{
    const char *path = arena_printf(a, "%s/%s", folder, name);
    assert_int_equal(file_save(path, text, strlen(text)), 0);
    return path;
}

static struct spec parsed(const char *text)
{
    struct spec s;
    if (spec_parse(&s, a, "x.yaml", text, NULL, 0))
        fail_msg("%s", fail_message());
    return s;
}

static struct spec with_sets(const char *path, int n, const char *const *texts)
{
    struct spec s;
    struct spec_set sets[8];
    for (int i = 0; i < n; i++)
        sets[i] = (struct spec_set){ "--set", texts[i] };
    if (spec_load(&s, a, path, sets, n))
        fail_msg("%s", fail_message());
    return s;
}

static void refused(const char *text, const char *message)
{
    struct spec s;
    fail_clear();
    assert_int_equal(spec_parse(&s, a, "x.yaml", text, NULL, 0), -1);
    assert_int_equal(fail_fault(), FAULT_USAGE);
    if (strncmp(fail_message(), message, strlen(message)))
        fail_msg("for <%s>\n got <%s>\nwant <%s>", text, fail_message(), message);
}

/* ---- values -------------------------------------------------------------------------------------------- */

static void test_defaults(void **state)
{
    (void)state;
    struct spec s = with_sets(NULL, 0, NULL);
    assert_int_equal(s.seed, 3407);
    assert_int_equal(s.variant, VARIANT_released);
    assert_true(s.optim.lr == 4e-3 && s.optim.betas.n == 2 && s.optim.betas.v[1] == 0.999);
    assert_int_equal(s.model.moe.layers.n, 0);
    assert_true(s.model.moe.noise == NOISE_ONE_OVER_E);
    assert_int_equal(s.model.image.n, 1);
    assert_string_equal(s.data.root, "");
    assert_int_equal(s.signal.save_on.n, 5);
    assert_false(spec_written(&s, "optim.lr"));
}

static void test_values(void **state)
{
    (void)state;
    struct spec s = parsed("{name: é x, train: {accumulate: auto, ema: off, clip_norm: 2},\n"
                           " data: {exif: false, mean: 3}, model: {image: [32, 64], patch: 8,\n"
                           " moe: {layers: [3, 1], core: 5, universal: [9], noise: 0.25}},\n"
                           " seed: 9007199254740993}");
    assert_string_equal(s.name, "é x");
    assert_int_equal(s.train.accumulate, 0);
    assert_true(s.train.ema == 0 && s.train.clip_norm == 2 && !s.data.exif);
    assert_true(s.data.mean.n == 1 && s.data.mean.v[0] == 3);
    assert_true(s.model.image.n == 2 && s.model.image.v[1] == 64);
    assert_true(s.model.moe.layers.v[0] == 3 && s.model.moe.layers.v[1] == 1);
    assert_true(list_at(s.model.moe.core, 7) == 5 && s.model.moe.noise == 0.25);
    assert_true(s.seed == 9007199254740993);
    s = parsed("augment: {randaugment: off}\nmodel: {moe: {noise: off}}");
    assert_true(s.augment.randaugment.n == 0 && s.model.moe.noise == 0);
}

static void test_refusals(void **state)
{
    (void)state;
    refused("name: x\nschedule:\n  warmup_epoch: 3\n",
            "x.yaml:3:3: unknown key 'warmup_epoch' in schedule (did you mean 'warmup_epochs'?)\n"
            "      warmup_epoch: 3\n      ^");
    refused("train: {epochs: 1, epochs: 2}", "x.yaml:1:20: duplicate key 'epochs' (first in line 1)");
    refused("train: {epochs: 1}\ntrain: {batch: 2}", "x.yaml:2:1: duplicate key 'train' (first in line 1)");
    refused("train: {epochs: -1}", "x.yaml:1:17: train.epochs: '-1' is not an integer, 0 to 1000000");
    refused("train: {epochs: 1.5}", "x.yaml:1:17: train.epochs: '1.5' is not");
    refused("optim: {lr: nan}", "x.yaml:1:13: optim.lr: 'nan' is not a number, 0 to 1000");
    refused("optim: {lr: 1e999}", "x.yaml:1:13: optim.lr: '1e999' is not");
    refused("seed: 99999999999999999999", "x.yaml:1:7: seed: ");
    refused("data: {exif: yes}", "x.yaml:1:14: data.exif: 'yes' is not true, false, on or off");
    refused("variant: papper",
            "x.yaml:1:10: variant: 'papper' is not released or paper (did you mean 'paper'?)");
    refused("train: {lr: 1}", "x.yaml:1:9: unknown key 'lr' in train (did you mean 'optim.lr'?)");
    refused("train: 5", "x.yaml:1:8: train is a section");
    refused("optim: {betas: [0.9]}", "x.yaml:1:9: optim.betas must be 2 numbers");
    refused("model: {moe: {layers: [1, 1]}}", "x.yaml:1:27: model.moe.layers: 1 is given twice");
    refused("model: {arch: vit_tinny_patch16_224}",
            "x.yaml:1:15: unknown architecture 'vit_tinny_patch16_224' "
            "(did you mean 'vit_tiny_patch16_224'?)");
    refused("signal: {save_on: [KILL]}", "x.yaml:1:10: 'KILL' is not INT");
}

static void test_combinations(void **state)
{
    (void)state;
    refused("model: {heads: 5}", "x.yaml:1:16: 5 heads do not divide model.dim 192");
    refused("model: {dim: 100}",
            "x.yaml: model.heads: 3 heads do not divide model.dim 100 "
            "(heads is 3, from model.arch: vit_tiny_patch16_224)");
    refused("model: {image: 225}", "x.yaml:1:16: an image side of 225 is not a multiple of model.patch 16");
    refused("model: {moe: {layers: [12]}}", "x.yaml:1:15: layer 12 of a model with 12 blocks");
    refused("model: {moe: {layers: [1], core: [1, 2]}}",
            "x.yaml:1:28: 2 values, but MoE blocks are in 1 stage");
    refused("model: {moe: {layers: [1], core: 0, universal: 0}}", "x.yaml:1:34: no experts at all");
    refused("model: {moe: {kind: soft, layers: [1], universal: 3}}",
            "x.yaml:1:51: universal experts require kind: sphero");
    refused("model: {arch: convnext_f, depths: [1, 2]}", "x.yaml:1:27: 2 depths but 4 dims");
    refused("model: {pool: token, class_token: off}", "x.yaml:1:15: pool: token needs");
    refused("dist: {shares: [auto, 1]}", "x.yaml:1:8: auto stands for all ranks");
    refused("recycle: {from: {dense: a.npz}}", "x.yaml:1:25: nothing is recycled");
    parsed("model: {arch: convnext, image: 64, depths: [1, 1, 2, 1], dims: [16, 32, 64, 128],\n"
           "        moe: {layers: [3, 4], core: [2, 1], universal: [4, 2]}}");
}

/* Keys against each other, just outside and just inside. */
static void test_between_keys(void **state)
{
    (void)state;
    static const struct { const char *outside, *says, *inside; } rows[] = {
        { "model: {dist_token: head, pool: avg}", "dist_token: head needs pool: token",
          "model: {dist_token: head, pool: token}" },
        { "model: {dist_token: head, pool: norm_avg}", "dist_token: head needs pool: token",
          "model: {dist_token: on, pool: norm_avg}" },
        { "model: {dist_token: head, class_token: off, pool: avg}", "dist_token needs class_token: on", NULL },
        { "model: {arch: convnext_f, image: 31}", "4 stages need an image of at least 32 pixels",
          "model: {arch: convnext_f, image: 32}" },
        { "model: {arch: convnext_f, image: [32, 31]}", "4 stages need an image of at least 32 pixels", NULL },
        { "train: {batch: 8, accumulate: 9}", "a batch of 8 cannot be split in 9",
          "train: {batch: 8, accumulate: 8}" },
        { "augment: {randaugment: [16, 9, 0]}", "at most 15 operations",
          "augment: {randaugment: [15, 10, 0]}" },
        { "augment: {randaugment: [2, 10.5, 0]}", "at most 15 operations", NULL },
        { "augment: {randaugment: [2, 9]}", "must be [operations", NULL },
        { "data: {mean: [120, 110]}", "one value, or one for each", "data: {mean: [120]}" },
        { "data: {mean: [0.5, 0.4, 0.4]}", "multiply fractions by 255", "data: {mean: [0.5, 0.4, 1]}" },
        { "data: {std: [0.2]}", "multiply fractions by 255", "data: {std: [1]}" },
        { "recycle: {from: {mean: [0.5]}}", "multiply fractions by 255", "recycle: {from: {mean: [0, 0, 0]}}" },
        { "recycle: {from: {std: [0.9]}}", "multiply fractions by 255", "recycle: {from: {std: [9]}}" },
        { "signal: {save_on: [USR1, ALRM]}", "'ALRM' is not INT",
          "signal: {save_on: [INT, TERM, USR1, USR2, HUP]}" },
        { "model: {moe: {layers: [1], core: 2, universal: 2, input_as_phi: on, multi_head: on}}",
          "requires kind: sphero without multi_head", NULL },
        { "model: {moe: {kind: soft, layers: [1], core: 2, universal: 0, input_as_phi: on}}",
          "requires kind: sphero without multi_head", NULL },
        { "model: {arch: convnext_f, moe: {layers: [1], core: 2, universal: 2, multi_head: on}}",
          "a ConvNeXt has no attention heads", NULL },
    };
    for (int i = 0; i < countof(rows); i++) {
        struct spec s;
        fail_clear();
        if (!spec_parse(&s, a, "x.yaml", rows[i].outside, NULL, 0) || !strstr(fail_message(), rows[i].says))
            fail_msg("%s: '%s', not '%s'", rows[i].outside, fail_message(), rows[i].says);
        if (rows[i].inside)
            parsed(rows[i].inside);
    }
}

static void test_bombs(void **state)
{
    (void)state;
    refused("a: &a [1]\nb: [*a, *a]", "x.yaml:1:1: anchors and aliases");
    refused("name: !evil x", "x.yaml:1:1: tags");
    refused("a: 1\n---\nb: 2", "x.yaml: more than one document");
    refused("? [1]\n: 2", "x.yaml:1:1: keys are plain words");
    refused("%YAML 1.2\n---\nname: x", "x.yaml:1:1: directives");
    refused("name: \xff", "x.yaml:1:7: byte 0xff is not UTF-8");
    refused("name: \xc0\x80", "x.yaml:1:7: byte 0xc0 is not UTF-8");
    refused("name: \x1b[31m", "x.yaml:1:7: a control character (0x1b)");
    refused("train: [", "x.yaml:");
    refused("train:\n\tepochs: 1", "x.yaml:2:1: ");
    char *deep = arena_bytes(a, 5001, 1);
    memset(deep, '[', 5000);
    refused(deep, "x.yaml:1:");
    char *wide = arena_bytes(a, 400001, 1), *p = wide;
    for (int i = 0; i < 40000; i++)
        p += sprintf(p, "k%d: 1\n", i);
    refused(wide, "x.yaml:1:1: more than 1000 keys");
    struct spec s;
    char *big = arena_bytes(a, 2 << 20, 1);
    memset(big, ' ', (2 << 20) - 1);
    assert_int_equal(spec_load(&s, a, file("big.yaml", big), NULL, 0), -1);
    assert_int_equal(spec_load(&s, a, folder, NULL, 0), -1);
    assert_int_equal(fail_fault(), FAULT_USAGE);
}

/* Just inside and just outside what a file may hold. */
static void test_edges(void **state)
{
    (void)state;
    static const char *const bad[] = { "\xe0\x9f\x80", "\xed\xa0\x80", "\xf0\x8f\x80\x80", "\xf4\x90\x80\x80",
                                       "\xf5\x80\x80\x80", "\xc1\xbf", "\xe0\xa0", "\x80", "\x7f" };
    static const char *const good[] = { "\xe0\xa0\x80", "\xed\x9f\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf",
                                        "\xc2\x80", "\xee\x80\x80" };
    for (int i = 0; i < countof(bad); i++)
        refused(arena_printf(a, "name: x%s", bad[i]), "x.yaml:1:8: ");
    for (int i = 0; i < countof(good); i++)
        assert_string_equal(parsed(arena_printf(a, "name: x%s", good[i])).name,
                            arena_printf(a, "x%s", good[i]));
    for (int depth = 32; depth <= 33; depth++) {           // the file itself is the first level
        char left[40] = "", right[40] = "";
        memset(left, '[', (size_t)depth);
        memset(right, ']', (size_t)depth);
        refused(arena_printf(a, "x: %s%s", left, right), "x.yaml:1:");
        assert_true(!strstr(fail_message(), "nested") == (depth == 32));
    }
    for (int n = 99990; n <= 100010; n += 20) {
        char *text = arena_bytes(a, 3 * (size_t)n + 8, 1), *p = text + sprintf(text, "x: [");
        for (int i = 0; i < n; i++)
            p += sprintf(p, "1,");
        sprintf(p, "]");
        refused(text, n < 100000 ? "x.yaml:1:1: unknown key 'x'" : "x.yaml:1:");
        assert_true(!strstr(fail_message(), "nested") == (n < 100000));
    }
    assert_int_equal(file_save(file("size.yaml", ""), "", 0), 0);
    for (int more = 0; more < 2; more++) {
        char *big = arena_bytes(a, (1 << 20) + 2, 1);
        memset(big, '#', (1 << 20) + (size_t)more);
        memcpy(big, "name: x\n", 8);
        struct spec s;
        assert_int_equal(spec_load(&s, a, file("size.yaml", big), NULL, 0), -more);
    }
    assert_string_equal(parsed("name: ~").name, "x");      // null is not given; a file names its run
    assert_string_equal(parsed("name: null").name, "x");
    assert_string_equal(parsed("name: 'null'").name, "null");
    refused("data: {classes: ['']}", "x.yaml:1:19: data.classes");
    struct spec s;
    assert_int_equal(spec_parse(&s, a, "dir/.hidden", "", NULL, 0), 0);
    assert_string_equal(s.name, ".hidden");
}

/* Of a long line the part around the fault is shown, with the caret below it. */
static void test_long_line(void **state)
{
    (void)state;
    struct spec s;
    for (int n = 10; n <= 90; n += 20) {
        fail_clear();
        const char *text = arena_printf(a, "name: x\ndata: {root: '%0*d', exif: yes%99s}", n, 0, " ");
        assert_int_equal(spec_parse(&s, a, "x.yaml", text, NULL, 0), -1);
        const char *row = strchr(fail_message(), '\n') + 1, *caret = strchr(row, '\n') + 1;
        size_t at = strcspn(caret, "^"), column = 24 + (size_t)n;
        if (strncmp(row + at, "yes", 3) || strcspn(row, "\n") != 4 + 100
            || at != (column > 75 ? 4 + 50 : 4 + column - 1))
            fail_msg("%d: caret at %zu of\n%s", n, at, fail_message());
    }
}

/* Paths are relative to the file they stand in; ~ is the home folder. */
static void test_paths(void **state)
{
    (void)state;
    setenv("HOME", "/home/x", 1);
    static const char *const want[][2] = {
        { "~/a", "/home/x/a" }, { "~", "/home/x" }, { "~b/a", "F/~b/a" }, { "/a/b", "/a/b" }, { "a", "F/a" },
        { "", "" }, { "../a", "F/../a" } };
    for (int i = 0; i < countof(want); i++) {
        struct source in = { "x", "F", "", false };
        assert_string_equal(place_path(a, (struct place){ &in, 1, 1 }, want[i][0]), want[i][1]);
    }
    struct source top = { "x", "", "", false };
    assert_string_equal(place_path(a, (struct place){ &top, 1, 1 }, "a"), "a");
    struct spec s = with_sets(file("rel.yaml", "data: {root: d}\nmodel: {init: m}"), 0, NULL);
    assert_string_equal(s.model.init, arena_printf(a, "%s/m", folder));
    const char *const sets[] = { "model.init=m", "name='a b'", "data.train=\"c d\"", "data.eval=e \"f" };
    s = with_sets(NULL, 4, sets);
    assert_string_equal(s.model.init, "m");                // of the command line: to the working folder
    assert_string_equal(s.name, "a b");
    assert_string_equal(s.data.train, "c d");
    assert_string_equal(s.data.eval, "e \"f");
}

/* ---- layers -------------------------------------------------------------------------------------------- */

static void test_base(void **state)
{
    (void)state;
    file("one.yaml", "optim: {lr: 1, eps: 1}\ndata: {root: here}\n");
    file("two.yaml", "optim: {lr: 2}\nmodel: {moe: {layers: [1, 2, 3]}}");
    struct spec s = with_sets(file("top.yaml", "base: [one.yaml, two.yaml]\nmodel: {moe: {layers: [4]}}"), 0,
                              NULL);
    assert_true(s.optim.lr == 2 && s.optim.eps == 1);
    assert_true(s.model.moe.layers.n == 1 && s.model.moe.layers.v[0] == 4);
    assert_string_equal(s.data.root, arena_printf(a, "%s/here", folder));
    assert_string_equal(s.name, "top");
    struct spec t;
    file("loop.yaml", "base: pool.yaml");
    assert_int_equal(spec_load(&t, a, file("pool.yaml", "base: loop.yaml"), NULL, 0), -1);
    assert_non_null(strstr(fail_message(), "leads back to itself"));
    for (int i = 0; i < 17; i++)                           // sixteen files may stand on each other
        file(arena_printf(a, "deep%d.yaml", i), i ? arena_printf(a, "base: deep%d.yaml", i - 1) : "seed: 5");
    assert_int_equal(spec_load(&t, a, arena_printf(a, "%s/deep15.yaml", folder), NULL, 0), 0);
    assert_int_equal(t.seed, 5);
    assert_int_equal(spec_load(&t, a, arena_printf(a, "%s/deep16.yaml", folder), NULL, 0), -1);
    assert_non_null(strstr(fail_message(), "more than 16 files deep"));
    assert_int_equal(spec_load(&t, a, file("lost.yaml", "base: gone.yaml"), NULL, 0), -1);
    assert_non_null(strstr(fail_message(), "lost.yaml:1:7: "));
}

static void test_precedence(void **state)
{
    (void)state;
    const char *path = file("p.yaml", "device: from-file\noptim: {lr: 1}\n");
    mkdir(arena_printf(a, "%s/jetcl", folder), 0777);
    file("jetcl/config.yaml", "device: from-user\nthreads: 7\ndata: {root: /d, workers: 3}\n");
    struct spec s = with_sets(path, 0, NULL);
    assert_string_equal(s.device, "from-file");
    assert_int_equal(s.threads, 7);
    assert_string_equal(s.data.root, "/d");
    assert_int_equal(s.data.workers, 3);
    setenv("JETCL_DEVICE", "from: [environment", 1);
    s = with_sets(path, 0, NULL);
    assert_string_equal(s.device, "from: [environment");
    const char *const sets[] = { "device=from=set", "optim.lr=3", "model.moe.layers=[1, 2]",
                                 "train={epochs: 4, batch: 8}" };
    s = with_sets(path, 4, sets);
    assert_string_equal(s.device, "from=set");
    assert_true(s.optim.lr == 3 && s.model.moe.layers.n == 2 && s.train.epochs == 4 && s.train.batch == 8);
    unsetenv("JETCL_DEVICE");
    struct spec t;
    file("jetcl/config.yaml", "optim: {lr: 5}\n");
    assert_int_equal(spec_load(&t, a, path, NULL, 0), -1);
    assert_non_null(strstr(fail_message(), "config.yaml:1:9: optim.lr belongs in an experiment file"));
    unlink(arena_printf(a, "%s/jetcl/config.yaml", folder));
    rmdir(arena_printf(a, "%s/jetcl", folder));
    struct spec_set bad[] = { { "--set", "optim.lrr=1" }, { "--seed", "seed=x" }, { "--set", "lr" },
                              { "--set", "modle.x=1" } };
    const char *const said[] = { "--set optim.lrr=1: unknown key 'lrr' in optim (did you mean 'lr'?)",
                                 "--seed x: seed: 'x' is not",
                                 "--set lr: must be key=value",
                                 "--set modle.x=1: there is no section 'modle'" };
    for (int i = 0; i < countof(bad); i++) {
        assert_int_equal(spec_load(&t, a, path, &bad[i], 1), -1);
        assert_memory_equal(fail_message(), said[i], strlen(said[i]));
    }
}

static void test_presets(void **state)
{
    (void)state;
    struct spec s = parsed("model: {arch: vit_small_patch16_224.augreg_in21k, depth: 5}");
    assert_true(s.model.dim == 384 && s.model.heads == 6 && s.model.depth == 5);
    s = parsed("variant: paper\nmodel: {moe: {noise_when: always}}");
    assert_true(s.model.moe.combine == COMBINE_softmax && s.model.moe.noise_when == NOISE_always &&
                s.recycle.cut == CUT_paper);
    s = parsed("model: {moe: {kind: soft, layers: [6]}}");
    assert_true(s.model.moe.core.v[0] == 197 && s.model.moe.universal.v[0] == 0 &&
                s.model.moe.combine == COMBINE_softmax);
    s = parsed("model: {arch: convnext_f}");
    assert_string_equal(s.model.family, "convnext");
    assert_true(s.model.dims.n == 4 && s.model.dims.v[3] == 384 && s.model.layer_scale == 1e-6);
}

/* ---- writing ------------------------------------------------------------------------------------------- */

static char *written(const struct spec *s)
{
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    spec_write(f, s);
    fclose(f);
    char *copy = arena_copy(a, text, n);
    free(text);
    return copy;
}

static void test_round_trip(void **state)
{
    (void)state;
    struct spec s = parsed("name: \"a: \\\"b\\\" # \\x07 é\"\nvariant: paper\n"
                           "data: {root: /data/x y, classes: [a b, 'null', \"#\"]}\n"
                           "optim: {lr: 0.1, eps: 1.0000000000000002e-8}\n"
                           "model: {moe: {layers: [1, 5], noise: 1/E}}\naugment: {randaugment: off}");
    const char *once = written(&s);
    struct spec t = parsed(once);
    assert_string_equal(once, written(&t));
    assert_string_equal(t.name, s.name);
    assert_string_equal(t.data.classes.v[1], "null");
    assert_true(t.optim.eps == 1.0000000000000002e-8);
    assert_true(spec_hash(&s) == spec_hash(&t));
    static const char *const names[] = {
        "-", "- x", "-x", "~", "'", "\"", "a: b", "#", "null", "[", "x", "é", "%" };
    for (int i = 0; i < countof(names); i++) {
        s.name = names[i];
        assert_string_equal(parsed(written(&s)).name, names[i]);
    }
    s = parsed("");                               // a set's classes may be called so, a file's may not
    s.data.classes = (texts){ 2, (const char *const[]){ "a\x7f", "\x01 b" } };
    t = parsed(written(&s));
    assert_string_equal(t.data.classes.v[0], "a\x7f");
    assert_string_equal(t.data.classes.v[1], "\x01 b");
    t = parsed("data: {mean: 3}\noptim: {lr: 0.30000000000000004, eps: 1e-300}\nmodel: {image: [32]}");
    assert_string_equal(spec_value(a, &t, "data.mean"), "[3]");
    assert_string_equal(spec_value(a, &t, "optim.lr"), "0.30000000000000004");
    assert_string_equal(spec_value(a, &t, "optim.eps"), "1e-300");
    assert_string_equal(spec_value(a, &t, "model.image"), "32");
    assert_string_equal(spec_value(a, &t, "optim.weight_decay"), "0.05");
    t = parsed("name: other\ndevice: gpu\nkeep: {every: 9}");
    assert_true(spec_hash(&t) == spec_hash(&(struct spec[]){ parsed("") }[0]));
    t = parsed("optim: {lr: 5e-3}");
    assert_true(spec_hash(&t) != spec_hash(&(struct spec[]){ parsed("") }[0]));
}

static void test_help(void **state)
{
    (void)state;
    FILE *f = fopen("/dev/null", "w");
    assert_int_equal(spec_help(f, "model.moe.noise"), 0);
    assert_int_equal(spec_help(f, "lr"), 0);
    assert_int_equal(spec_help(f, "recycle.from"), 0);
    assert_int_equal(spec_help(f, "model.moe.noize"), -1);
    assert_non_null(strstr(fail_message(), "'model.moe.noise'"));
    spec_list(f, true);
    spec_list(f, false);
    fclose(f);
}

/* Damaged files are refused or read, never more: cut short at every byte, and with one byte changed. */
static void test_damage(void **state)
{
    (void)state;
    const char *text = "base: [a.yaml]\nname: \"x\\n\"\n"
                       "model: {moe: {layers: [1, 2], noise: 1/E}, image: [32, 32]}\n"
                       "optim:\n  lr: 1e-3\n  betas:\n    - 0.9\n    - 0.99\n";
    size_t n = strlen(text);
    rng r = rng_at(1, RNG_TEST, 0, 0);
    for (int i = 0; i < 4000; i++) {
        arena *b = arena_open("damage");
        char *copy = arena_copy(b, text, n);
        if (i < (int)n)
            copy[i] = 0;
        else
            for (int j = 0; j < 3; j++)
                copy[rng_below(&r, (u32)n)] = (char)(1 + rng_below(&r, 255));
        struct spec s;
        spec_parse(&s, b, "x.yaml", copy, NULL, 0);
        arena_close(b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults), cmocka_unit_test(test_values), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_combinations), cmocka_unit_test(test_between_keys),
        cmocka_unit_test(test_bombs), cmocka_unit_test(test_edges),
        cmocka_unit_test(test_long_line), cmocka_unit_test(test_paths), cmocka_unit_test(test_base),
        cmocka_unit_test(test_precedence), cmocka_unit_test(test_presets),
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_help), cmocka_unit_test(test_damage),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
