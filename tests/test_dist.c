/* test_dist.c: shares of a batch: what a rank's loader gives is bit for bit its part of the whole batch,
 * whoever the images are mixed with; and how things are shared out. What several ranks do together is
 * test_dist.sh's. */
#include "data_help.h"
#include "dist/dist.h"

static const char *folder(void)
{
    for (int c = 0; c < 3; c++)
        for (int i = 0; i < 7; i++) {
            struct image m = picture(30 + 7 * i % 31, 25 + 5 * c % 23, (u32)(c * 100 + i));
            write_png(at("shared/train/class%c/im %d.png", 'a' + c, i), &m, PNG_COLOR_TYPE_RGB, 8, false,
                      false);
        }
    return at("shared");
}

static struct data_options options(const char *root)
{
    return (struct data_options){ .set = "folder", .root = root, .split = "train", .image = 24, .workers = 2,
                                  .batch = 10, .train = true, .seed = 7,
                                  .augment = { 2, 9, 0.5, .erasing = 0.5, .mixup = 0.8, .cutmix = 1,
                                  .flip = true } };
}

static loader *opened(dataset *d, const struct data_options *o)
{
    loader *l = loader_open(d, o);
    if (!l)
        fail_msg("%s", fail_message());
    return l;
}

/* Images [from, to) of every batch of an epoch, alone and out of the whole. */
static void same_as_whole(const char *root, int from, int to)
{
    struct data_options whole = options(root), part = whole;
    part.shared = true, part.from = from, part.to = to;
    dataset *d = data_open(&whole);
    loader *a = opened(d, &whole), *b = opened(d, &part);
    static f32 x[3 * 24 * 24], y[3 * 24 * 24];
    for (i64 epoch = 0; epoch < 4; epoch++) {
        int batches = 0;
        loader_start(a, epoch, 0);
        loader_start(b, epoch, 0);
        for (const struct batch *p, *q; (p = loader_next(a)); batches++) {
            assert_non_null(q = loader_next(b));
            assert_int_equal(q->n, to - from);
            for (int k = 0; k < q->n; k++) {
                batch_image(p, from + k, x);
                batch_image(q, k, y);
                assert_memory_equal(x, y, sizeof x);
                assert_memory_equal(p->soft_labels + 3 * (from + k), q->soft_labels + 3 * k, 12);
                assert_int_equal(p->index[from + k], q->index[k]);
            }
            loader_release(a, p);
            loader_release(b, q);
        }
        assert_null(loader_next(b));
        assert_int_equal(batches, 2);
    }
    loader_close(a);
    loader_close(b);
    data_close(d);
}

static void test_shares_of_batches(void **state)
{
    (void)state;
    static const int cut[][2] = { { 0, 5 }, { 5, 10 }, { 3, 4 }, { 0, 10 }, { 10, 10 }, { 0, 0 } };
    const char *root = folder();
    for (int i = 0; i < countof(cut); i++)
        same_as_whole(root, cut[i][0], cut[i][1]);
}

/* Evaluation takes whole batches, one rank after the other: all of them, each once, with their own numbers. */
static void test_shared_batches(void **state)
{
    (void)state;
    struct data_options o = options(folder());
    o.train = false;
    o.batch = 4;
    for (int ranks = 1; ranks <= 7; ranks++) {
        int seen[21] = { 0 }, batches = 0;
        for (o.ranks = ranks, o.rank = 0; o.rank < ranks; o.rank++) {
            dataset *d = data_open(&o);
            loader *l = opened(d, &o);
            i64 number = 0, all;
            loader_start(l, 0, 0);
            for (const struct batch *b; (b = loader_next(l)); loader_release(l, b), batches++) {
                assert_int_equal(b->index[0], 4 * loader_place(l, number++, &all));
                assert_int_equal(all, 6);
                for (int k = 0; k < b->n; k++)
                    seen[b->index[k]]++;
            }
            loader_close(l);
            data_close(d);
        }
        assert_int_equal(batches, 6);
        for (int i = 0; i < 21; i++)
            assert_int_equal(seen[i], 1);
    }
}

static void test_shares(void **state)
{
    (void)state;
    static const f64 weights[] = { 2, 0, 1, 1 };
    static const i64 all[] = { 0, 1, 3, 4, 7, 512 };
    for (int k = 0; k < countof(all); k++)
        for (int given = 0; given < 2; given++) {
            i64 from, to, end = 0;
            for (int r = 0; r < 4; r++) {
                share_of(all[k], r, 4, given ? weights : NULL, &from, &to);
                assert_int_equal(from, end);
                f64 fair = (f64)all[k] * (given ? weights[r] / 4 : .25);
                assert_true(to >= from && (f64)(to - from) >= fair - 1 && (f64)(to - from) <= fair + 1);
                assert_true(!given || r != 1 || to == from);
                end = to;
            }
            assert_int_equal(end, all[k]);
        }
}

static void test_shares_by_time(void **state)
{
    (void)state;
    f64 shares[3];
    share_by_time((f64[]){ 1, 2, 4 }, 3, shares);          // as 4 to 2 to 1
    assert_true(shares[0] == .571 && shares[1] == .286 && shares[2] == .143);
    share_by_time((f64[]){ 3, 3, 3 }, 1, shares);
    assert_true(shares[0] == 1);
}

/* Without others: nothing is changed, nothing waits. */
static void test_alone(void **state)
{
    (void)state;
    f64 v[2] = { 1, 2 };
    bool flag = true;
    assert_int_equal(dist_open(), 0);
    assert_true(dist_size() == 1 && dist_rank() == 0);
    assert_int_equal(dist_sum(v, 2) || dist_broadcast(v, sizeof v) || dist_same(1, FAULT_DATA, "x"), 0);
    assert_true(v[0] == 1 && v[1] == 2);
    assert_int_equal(dist_agree_flag(0, &flag), 0);
    assert_true(flag);
    fail(FAULT_DATA, "mine");
    assert_int_equal(dist_agree(-1), -1);
    assert_string_equal(fail_message(), "mine");
    dist_close(NULL);
}

static f64 resident(void)                         /* megabytes */
{
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    assert_true(f && fscanf(f, "%*d %ld", &pages) == 1);
    fclose(f);
    return (f64)pages * (f64)sysconf(_SC_PAGESIZE) / 1e6;
}

static void test_prints(void **state)
{
    (void)state;
    enum { BYTES = 1 << 20 };
    FILE *to = fopen("/dev/null", "w");
    static char text[BYTES];
    f64 before = resident();
    for (int i = 0; i < 48; i++)
        assert_int_equal(dist_print(to, text, BYTES), 0);
    assert_true(resident() - before < 24);        // what each took is given back
    assert_int_equal(fflush(to), 0);
    fclose(to);
}

#define T(f) cmocka_unit_test_setup_teardown(f, memory_open, memory_close)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_shares_of_batches), T(test_shared_batches), T(test_shares), T(test_shares_by_time),
        T(test_alone), T(test_prints),
    };
    return cmocka_run_group_tests(tests, NULL, scratch_close);
}
