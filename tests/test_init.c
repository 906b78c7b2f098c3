/* test_init.c: what parameters start from: the device's draws against those on the host, their moments and
 * bounds, and fills around the size from which a kernel makes them. */
#include "on_device.h"
#include "nn/nn.h"
#include <math.h>
#include <stdlib.h>

static const struct init starts[] = {
    { INIT_NORMAL, 1 }, { INIT_TRUNC_NORMAL, .02f }, { INIT_TRUNC_NORMAL, 1.5f }, { INIT_UNIFORM, .3f },
    { INIT_CONSTANT, -2.5f }, { INIT_ORTHOGONAL, 1 },
};

static bool tiny(void) { return getenv("TINY"); }         // under Oclgrind

/* One parameter of n values of each kind, started with that seed. */
static params *open_params(i64 n, u64 seed)
{
    params *p = params_new();
    struct nn m = { graph_new(NULL), p };
    for (int i = 0; i < countof(starts); i++) {
        i64 cut = starts[i].kind == INIT_ORTHOGONAL ? MIN(n, 60) : n;
        nn_param(&m, arena_printf(p->a, "start%d", i), SHAPE(cut), starts[i]);
    }
    graph_free(m.g);
    if (params_open(p, device, PARAMS_FORWARD))
        fail_msg("%s", fail_message());
    for (size_t i = 0; i < p->n; i++)             // poison
        assert_int_equal(mem_fill(device, p->list[i].value, 0xFFFFFFFF), 0);
    if (params_init(p, seed))
        fail_msg("%s", fail_message());
    return p;
}

static f32 *values(const params *p, int i)
{
    f32 *v = arena_array(p->a, f32, shape_count(p->list[i].shape));
    assert_int_equal(params_read(p, &p->list[i], v), 0);
    return v;
}

/* Equal bits but where a device has no fused multiply-add. */
static void test_host_agrees(void **state)
{
    (void)state;
    const i64 sizes[] = { 1, 15, 16, 17, 1000, START_BLOCK, START_BLOCK + 5, 5 * START_BLOCK - 1 };
    for (int k = 0; k < (tiny() ? 5 : countof(sizes)); k++) {
        params *p = open_params(sizes[k], 77);
        for (int i = 0; i < (int)p->n; i++) {
            const f32 *got = values(p, i);
            i64 n = shape_count(p->list[i].shape);
            f32 *wanted = arena_array(p->a, f32, n);
            param_start(&p->list[i], 77, wanted, p->a);
            for (i64 j = 0; j < n; j++)
                if (!(fabsf(got[j] - wanted[j]) <= 4e-7f * fabsf(wanted[j])))
                    fail_msg("kind %d of %lld: [%lld] is %.9g, on the host %.9g", starts[i].kind,
                             (long long)sizes[k], (long long)j, got[j], wanted[j]);
        }
        params_free(p);
    }
}

static void moments(const f32 *v, i64 n, f64 *mean, f64 *std, f64 *top)
{
    f64 sum = 0, squares = 0;
    *top = 0;
    for (i64 i = 0; i < n; i++) {
        sum += v[i];
        squares += (f64)v[i] * v[i];
        *top = fmax(*top, fabs(v[i]));
    }
    *mean = sum / (f64)n;
    *std = sqrt(squares / (f64)n - *mean * *mean);
}

/* A normal of deviation s cut at c s has variance s^2 (1 - 2 c phi(c) / (2 Phi(c) - 1)); s = 1.5, c = 4/3. */
static void test_moments(void **state)
{
    (void)state;
    enum { N = 1 << 20 };
    static const f64 std[] = { 1, .02, 1.02292, .3 / 1.7320508 }, least[] = { 4, .08, 1.999, .2999 },
                     most[] = { 6, .12, 2, .3000001 };
    if (tiny())
        skip();
    params *p = open_params(N, 3), *q = open_params(N, 4);
    for (int i = 0; i < 4; i++) {
        f64 mean, s, top, both = 0, mean2, s2, top2;
        const f32 *v = values(p, i), *w = values(q, i);
        moments(v, N, &mean, &s, &top);
        moments(w, N, &mean2, &s2, &top2);
        for (int j = 0; j < N; j++)
            both += (f64)v[j] * w[j] / N;
        if (!(fabs(mean) < .005 * std[i] && fabs(s - std[i]) < .005 * std[i] && top >= least[i] &&
              top <= most[i]))
            fail_msg("kind %d: mean %g, deviation %g, up to %g", starts[i].kind, mean, s, top);
        if (!(fabs(both) < .005 * s * s2))
            fail_msg("kind %d: seeds 3 and 4 correlate: %g", starts[i].kind, both / s / s2);
    }
    params_free(p);
    params_free(q);
}

/* Whatever lies around the range stays. */
static void test_fills(void **state)
{
    (void)state;
    const u64 sizes[] = { 4, (16 << 20) + 4, 4096, (16 << 20) - 4, 16 << 20, 17 << 20 };
    for (int k = 0; k < (tiny() ? 2 : countof(sizes)); k++)
        for (int at = 0; at < 2; at++) {
            u64 off = at ? 4 : dev_info(device)->align, all = sizes[k] + 2 * off;
            u32 *v = malloc(all);
            mem *m = mem_new(device, all, "filled");
            memset(v, 0xAB, all);
            assert_int_equal(mem_write(device, (range){ m, 0, all }, v), 0);
            assert_int_equal(mem_fill(device, (range){ m, off, sizes[k] }, 0x7FC01234), 0);
            assert_int_equal(mem_read(device, (range){ m, 0, all }, v), 0);
            for (u64 i = 0; i < all / 4; i++)
                if (v[i] != (i * 4 >= off && i * 4 < off + sizes[k] ? 0x7FC01234 : 0xABABABAB))
                    fail_msg("%llu bytes at %llu: [%llu] is %08x", (unsigned long long)sizes[k],
                             (unsigned long long)off, (unsigned long long)i, v[i]);
            mem_free(m);
            free(v);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_host_agrees), cmocka_unit_test(test_moments), cmocka_unit_test(test_fills),
    };
    say_setup((struct say_options){ SAY_QUIET, 0, true });
    return cmocka_run_group_tests(tests, open_device, close_device);
}
