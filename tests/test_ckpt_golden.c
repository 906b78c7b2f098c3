/* test_ckpt_golden.c: files of other programs hold the tensors they should, bit for bit, and files we wrote
 * that other programs were seen to read are still written the same. tests/golden/ckpt.py made the former.
 */
#include <zip.h>
#include "ckpt_help.h"

/* Of a model under its own names; of other tensors as the file has them. */
static void assert_twins(const char *path, const char *twin, bool model)
{
    ckpt *c = model ? ckpt_open_model(path, false) : ckpt_open(path), *t = ckpt_open(twin);
    if (!c || !t)
        fail_msg("%s", fail_message());
    assert_same(t, c);
    ckpt_close(t);
    ckpt_close(c);
}

static void files_of_other_programs(void **state)
{
    (void)state;
    static const char *const name[] = { "torch.pth", "torch4.pth", "legacy.pth", "deflated.pth", "numpy.npz",
                                        "deflated.npz" };
    for (int i = 0; i < countof(name); i++) {
        char path[256];
        snprintf(path, sizeof path, "tests/golden/ckpt_%s", name[i]);
        assert_twins(path, "tests/golden/ckpt_twin.safetensors", false);
    }
}

static void what_is_no_tensor_is_left_out(void **state)
{
    (void)state;
    const char *example;
    ckpt *c = ckpt_open("tests/golden/ckpt_nested.pth");
    assert_non_null(c);
    assert_int_equal(ckpt_count(c), 15);             // the model's and the optimiser's one
    assert_int_equal(ckpt_skipped(c, &example), 1);
    assert_string_equal(example, "'hub.loss', framework.logging.History");
    assert_string_equal(ckpt_meta(c, "meta.epoch"), "3");
    ckpt *twin = ckpt_open("tests/golden/ckpt_twin.safetensors");
    for (int i = 0; i < ckpt_count(twin); i++) {
        const tensor *x = ckpt_at(twin, i);
        char name[200];
        snprintf(name, sizeof name, "state_dict.model.%s", x->name);
        const tensor *y = ckpt_find(c, name);
        assert_true(y && y->bytes == x->bytes);
        assert_memory_equal(tensor_data(x), tensor_data(y), x->bytes);
    }
    ckpt_close(twin);
    ckpt_close(c);
}

/* Archives are compared entry by entry: how libzip lays them out is its own affair. */
static void assert_same_entries(const char *path, const char *want)
{
    zip_t *a = zip_open(path, ZIP_RDONLY, NULL), *b = zip_open(want, ZIP_RDONLY, NULL);
    assert_true(a && b);
    assert_int_equal(zip_get_num_entries(a, 0), zip_get_num_entries(b, 0));
    for (zip_int64_t i = 0; i < zip_get_num_entries(b, 0); i++) {
        u8 x[8192], y[8192];
        const char *name = zip_get_name(b, (zip_uint64_t)i, 0);
        zip_file_t *f = zip_fopen(a, name, 0), *g = zip_fopen_index(b, (zip_uint64_t)i, 0);
        assert_true(f && g);
        zip_int64_t n = zip_fread(g, y, sizeof y);
        assert_int_equal(zip_fread(f, x, sizeof x), n);
        if (n && memcmp(x, y, (size_t)n))
            fail_msg("%s: other bytes in %s", path, name);
        zip_fclose(f);
        zip_fclose(g);
    }
    zip_discard(a);
    zip_discard(b);
}

static void our_files_are_as_they_were(void **state)
{
    (void)state;
    static const char *const suffix[] = { "pth", "npz" };
    ckpt *sample = sample_new();
    for (int i = 0; i < countof(suffix); i++) {
        char path[4096], name[32], want[64];
        snprintf(name, sizeof name, "ours.%s", suffix[i]);
        snprintf(want, sizeof want, "tests/golden/ckpt_ours.%s", suffix[i]);
        assert_int_equal(ckpt_save(sample, scratch_path(path, name)), 0);
        assert_same_entries(path, want);
        ckpt *c = ckpt_open(want);
        assert_non_null(c);
        assert_same(sample, c);
        ckpt_close(c);
    }
    ckpt_close(sample);
}

static void golden_files_are_their_twins(void **state)
{
    (void)state;
    static const char *const pair[][2] = {
        { "tiny_augreg.npz", "tiny_augreg" }, { "tiny_augreg_optprefix.npz", "tiny_augreg_optprefix" },
        { "tiny_bigvision.npz", "tiny_bigvision" }, { "tiny_vit.safetensors", "tiny_vit" },
        { "tiny_vit.pth", "tiny_vit" }, { "tiny_vit_legacy.pth", "tiny_vit" },
        { "tiny_vit_nested.pth", "tiny_vit" },
        { "tiny_vit_mmengine.pth", "tiny_vit" }, { "tiny_edge.pth", "tiny_edge" },
        { "tiny_edge_legacy.pth", "tiny_edge" },
    };
    for (int i = 0; i < countof(pair); i++) {
        char path[256], twin[256];
        snprintf(path, sizeof path, REFERENCE "%s", pair[i][0]);
        snprintf(twin, sizeof twin, REFERENCE "%s.safetensors", pair[i][1]);
        assert_twins(path, twin, !text_starts(pair[i][0], "tiny_edge"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_of_other_programs),
        cmocka_unit_test(what_is_no_tensor_is_left_out),
        cmocka_unit_test(our_files_are_as_they_were),
        cmocka_unit_test(golden_files_are_their_twins),
    };
    return cmocka_run_group_tests(tests, NULL, scratch_remove);
}
