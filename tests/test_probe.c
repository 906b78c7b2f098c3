/* test_probe.c: `jetcl probe` as another framework's user sees it: golden weights and images in,
 * logits, loss, gradients and activations out; and one clear line for everything that can be wrong with
 * what comes in. */
#include "golden.h"
#include <dirent.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static arena *a;
static ckpt *golden;
static char dir[64];

static const char *at(const char *name) { return arena_printf(a, "%s/%s", dir, name); }

static const char *const moe_yaml =
    "model: {arch: vit, image: [8, 12], patch: 4, dim: 20, depth: 3, heads: 4,\n"
    "        moe: {layers: [1, 2], core: 2, universal: 3, slots: 2, share: 2}}\n";

/* The golden file's tensors of one kind ("param.", "in.") as a file of their own, without the one
 * called `skip`. */
static void write_kind(const char *kind, const char *name, const char *skip)
{
    ckpt *c = ckpt_new();
    for (int i = 0; i < ckpt_count(golden); i++) {
        const tensor *t = ckpt_at(golden, i);
        if (text_starts(t->name, kind) && (!skip || strcmp(t->name + strlen(kind), skip)))
            ckpt_add(c, t->name + strlen(kind), t->type, t->nd, t->shape, tensor_data(t));
    }
    assert_int_equal(ckpt_save(c, at(name)), 0);
    ckpt_close(c);
}

/* Runs the program; its exit code, and what it wrote to both streams. */
static int probe(const char *options, char *text, size_t size)
{
    const char *build = getenv("TEST_BUILD");
    FILE *f = popen(arena_printf(a, "%s/jetcl probe -q %s 2>&1", build ? build : "build", options), "r");
    size_t n = fread(text, 1, size - 1, f);
    text[n] = 0;
    int status = pclose(f);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void same(const ckpt *y, const char *name, const char *want, f64 rtol, f64 atol)
{
    const tensor *t = ckpt_find(y, name), *g = ckpt_find(golden, want);
    if (!t || !g)
        fail_msg("no %s or %s", name, want);
    assert_true(tensor_shape_is(t, g->nd, g->shape));
    golden_compare(name, tensor_data(t), tensor_data(g), (i64)g->count, (struct tolerance){ rtol, atol });
}

static void test_everything(void **state)
{
    (void)state;
    char text[4096];
    const char *options = arena_printf(a, "--weights %s --input %s --grads --activations --out %s %s",
                                       at("w.safetensors"), at("x.safetensors"), at("y.safetensors"),
                                       at("m.yaml"));
    int rc = probe(options, text, sizeof text);
    if (rc)
        fail_msg("%d: %s", rc, text);
    ckpt *y = ckpt_open(at("y.safetensors"));
    same(y, "logits", "out.logits", 2e-5, 1e-6);
    same(y, "loss", "out.loss", 1e-5, 1e-6);
    for (int i = 0; i < 3; i++)
        same(y, arena_printf(a, "block.%d", i), arena_printf(a, "aux.block%d", i), 2e-5, 1e-6);
    int grads = 0;
    for (int i = 0; i < ckpt_count(golden); i++)
        if (text_starts(ckpt_at(golden, i)->name, "grad.")) {
            same(y, ckpt_at(golden, i)->name, ckpt_at(golden, i)->name, 2e-5, 5e-6);
            grads++;
        }
    assert_true(grads > 30 && ckpt_count(y) == grads + 5);
    ckpt_close(y);
}

/* Named activations, and hard labels without smoothing. */
static void test_names_and_labels(void **state)
{
    (void)state;
    char text[4096];
    i64 label[] = { 4, 0, 2 }, three = 3;
    ckpt *x = ckpt_new();
    const tensor *t = ckpt_find(golden, "in.images");
    ckpt_add(x, "images", CKPT_F32, t->nd, t->shape, tensor_data(t));
    ckpt_add(x, "labels", CKPT_I64, 1, &three, label);
    assert_int_equal(ckpt_save(x, at("hard.safetensors")), 0);
    ckpt_close(x);
    const char *options = arena_printf(a, "--weights %s --input %s --activations='blocks.1.mlp.*,block.2' "
                                       "--out %s %s --set augment.smoothing=0", at("w.safetensors"),
                                       at("hard.safetensors"), at("y.npz"), at("m.yaml"));
    int rc = probe(options, text, sizeof text);
    if (rc)
        fail_msg("%d: %s", rc, text);
    ckpt *y = ckpt_open(at("y.npz"));
    assert_true(tensor_shape_is(ckpt_find(y, "blocks.1.mlp.dispatch"), 4, (i64[]){ 3, 7, 5, 2 }));
    assert_true(tensor_shape_is(ckpt_find(y, "blocks.1.mlp.combine"), 3, (i64[]){ 3, 7, 10 }));
    assert_non_null(ckpt_find(y, "block.2"));
    assert_null(ckpt_find(y, "block.1"));
    const f32 *z = tensor_data(ckpt_find(y, "logits"));
    f64 want = 0;
    for (int b = 0; b < 3; b++) {
        f64 sum = 0;
        for (int k = 0; k < 5; k++)
            sum += exp((f64)z[b * 5 + k]);
        want += (log(sum) - (f64)z[b * 5 + label[b]]) / 3;
    }
    f64 got = (f64)*(const f32 *)tensor_data(ckpt_find(y, "loss"));
    assert_true(fabs(got - want) < 1e-5 * want);
    ckpt_close(y);
}

/* ---- what can be wrong --------------------------------------------------------------------------------- */

struct mistake { const char *name, *options; int code; const char *says; };
#define USUAL "--weights W --input X --out Y M "
static const struct mistake mistakes[] = {
    { "no output",          "--weights W --input X M", 2,
      "probe needs --weights, --input and --out" },
    { "no weights",         "--input X --out Y M", 2,
      "probe needs --weights, --input and --out" },
    { "strange suffix",     "--weights W --input X --out DIR/y.txt M", 2, "y.txt" },
    { "no such folder",     "--weights W --input X --out DIR/no/y.safetensors M", 1, "no/y.safetensors" },
    { "no such weights",    "--weights DIR/none.pth --input X --out Y M", 3, "none.pth" },
    { "weights are YAML",   "--weights M --input X --out Y M", 3, "m.yaml" },
    { "lacks a parameter",  "--weights DIR/less.safetensors --input X --out Y M", 3,
      "blocks.1.mlp.phi: not in the file" },
    { "lacks the head",     "--weights DIR/beheaded.safetensors --input X --out Y M --set model.classes=5", 3,
      "head.weight: not in the file" },
    { "other classes",      USUAL "--set model.classes=6 --grads", 3,
      "soft_labels is [3 5], expected [3 6]" },
    { "other size",         USUAL "--set model.image=16", 3,
      "images is [3 3 8 12], the model needs [3 3 16 16]" },
    { "other width",        USUAL "--set model.dim=24", 3, "the file has" },
    { "other experts",      USUAL "--set model.moe.core=3", 3, "the file has" },
    { "no images",          "--weights W --input W --out Y M", 3, "no tensor 'images'" },
    { "no labels",          "--weights W --input DIR/bare.safetensors --out Y M --grads", 3,
      "--grads needs labels or soft_labels" },
    { "label too large",    "--weights W --input DIR/far.safetensors --out Y M --grads", 3,
      "labels[1] is 5, expected 0 to 4" },
    { "two kinds of label", "--weights W --input DIR/both.safetensors --out Y M --grads", 3,
      "both labels and soft_labels" },
    { "unknown activation", USUAL "--activations=blocks.1.mlp.combin", 2,
      "did you mean 'blocks.1.mlp.combine'" },
    { "unknown key",        USUAL "--set model.dimm=3", 2, "did you mean" },
    { "two models",         "--weights W --input X --out Y M M", 2, "" },
    { "no such device",     USUAL "--device 99:9", 4, "99:9" },
};

static const char *filled(const char *options)
{
    const char *words[][2] = { { "W ", at("w.safetensors ") }, { "X ", at("x.safetensors ") },
                               { "Y ", at("y.safetensors ") }, { "M ", at("m.yaml ") }, { "DIR", dir } };
    const char *out = "";
    options = arena_printf(a, "%s ", options);
    while (*options) {
        int k = 0;
        while (k < 5 && !text_starts(options, words[k][0]))
            k++;
        out = k < 5 ? arena_printf(a, "%s%s", out, words[k][1]) : arena_printf(a, "%s%c", out, *options);
        options += k < 5 ? strlen(words[k][0]) : 1;
    }
    return out;
}

static void test_mistake(void **state)
{
    const struct mistake *m = *state;
    char text[4096];
    int rc = probe(filled(m->options), text, sizeof text), lines = 0;
    for (const char *p = text; *p; p++)
        lines += *p == '\n';
    // an experiment's mistake shows its line and a caret below
    if (rc != m->code || !strstr(text, m->says) || lines < 1 || lines > 3)
        fail_msg("%s: exit code %d, want %d; said: %s", m->name, rc, m->code, text);
}

static void write_input(const char *name, bool hard, bool soft, i64 label)
{
    i64 labels[] = { 0, label, 1 }, three = 3;
    const tensor *x = ckpt_find(golden, "in.images"), *t = ckpt_find(golden, "in.soft_labels");
    ckpt *c = ckpt_new();
    ckpt_add(c, "images", CKPT_F32, x->nd, x->shape, tensor_data(x));
    if (hard)
        ckpt_add(c, "labels", CKPT_I64, 1, &three, labels);
    if (soft)
        ckpt_add(c, "soft_labels", CKPT_F32, t->nd, t->shape, tensor_data(t));
    assert_int_equal(ckpt_save(c, at(name)), 0);
    ckpt_close(c);
}

static int setup(void **state)
{
    (void)state;
    a = arena_open("test");
    snprintf(dir, sizeof dir, "/tmp/jetcl-probe-XXXXXX");
    if (!mkdtemp(dir) || !(golden = golden_open("tiny_moe")))
        return -1;
    write_kind("param.", "w.safetensors", NULL);
    write_kind("param.", "less.safetensors", "blocks.1.mlp.phi");
    write_kind("param.", "beheaded.safetensors", "head.weight");
    write_kind("in.", "x.safetensors", NULL);
    write_input("bare.safetensors", false, false, 0);
    write_input("far.safetensors", true, false, 5);
    write_input("both.safetensors", true, true, 0);
    return file_save(at("m.yaml"), moe_yaml, strlen(moe_yaml));
}

static int teardown(void **state)
{
    (void)state;
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));)
        unlink(at(e->d_name));
    closedir(d);
    rmdir(dir);
    ckpt_close(golden);
    arena_close(a);
    return 0;
}

int main(void)
{
    static struct CMUnitTest tests[countof(mistakes) + 2];
    int n = 0;
    say_setup((struct say_options){ SAY_QUIET, 0, true });
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_everything);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_names_and_labels);
    for (int i = 0; i < countof(mistakes); i++)
        tests[n++] = (struct CMUnitTest){ mistakes[i].name, test_mistake, NULL, NULL, (void *)&mistakes[i] };
    return _cmocka_run_group_tests("probe", tests, (size_t)n, setup, teardown);
}
