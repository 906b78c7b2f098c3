/* test_cl.c: what kernels share (cl/prelude.h, special.h, random.h): draws against the host's generator bit
 * for bit, functions against libm in double over dense samples, loads and stores of ends. One, four and
 * sixteen lanes each. */
#include "unit.h"
#include <math.h>
#include "dev/dev.h"

enum { N = 1 << 16 };
static arena *scratch;
static dev   *d;
static mem   *m;
static range  x, y;

#define must(e) do { if (e) fail_msg("%s: %s", #e, fail_message()); } while (0)

static int setup(void **state)
{
    (void)state;
    scratch = arena_open("test");
    say_setup((struct say_options){ .level = SAY_QUIET });
    if (!(d = dev_open(NULL)))
        return 0;
    m = mem_new(d, 8 * N, "arrays");
    x = (range){ m, 0, 4 * N };
    y = (range){ m, 4 * N, 4 * N };
    return m ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    mem_free(m);
    dev_close(d);
    arena_close(scratch);
    return 0;
}

static void need_device(void)
{
    if (d && dev_class(d) != DEV_NULL)
        return;
    print_message("no device that computes: %s\n", fail_message());
    skip();
}

/* y[i] = expr(x[i]), w lanes at a time; the expression may use v, the lanes' first index i, and W. */
static void evaluate(const char *includes, const char *expr, int w, const void *in, void *out)
{
    char lanes[12] = "", load[32] = "x[i]", store[32] = "y[i] = r";
    if (w > 1) {
        snprintf(lanes, sizeof lanes, "%d", w);
        snprintf(load, sizeof load, "vload%d(0, x + i)", w);
        snprintf(store, sizeof store, "vstore%d(r, 0, y + i)", w);
    }
    char *text = arena_printf(scratch, "%s#define W %d\n"
                              "__kernel void evaluate_%d(__global const float *x, __global float *y)\n"
                              "{ long i = get_global_id(0) * %d; float%s v = %s, r = %s; %s; }\n",
                              includes, w, w, w, lanes, load, expr, store);
    launches *l = launches_new(d, "test");
    launch_add(l, &(launch){ .file = "test", .kernel = arena_printf(scratch, "evaluate_%d", w),
                             .source = text, .global = { (u64)(N / w) },
                             .args = { ARG_RANGE(x), ARG_RANGE(y) } });
    must(mem_write(d, x, in));
    must(launches_compile(l));
    must(launches_run(l));
    must(mem_read(d, y, out));
    launches_free(l);
}

static f64 ulp(f64 v) { return exp2(MAX(floor(log2(fabs(v))), -126) - 23); }

/* ---- special.h ----------------------------------------------------------------------------------------- */

static f64 normal_cdf(f64 v)  { return 0.5 * erfc(-v * sqrt(0.5)); }
static f64 gelu(f64 v)        { return v * normal_cdf(v); }
static f64 gelu_grad(f64 v)   { return normal_cdf(v) + v * exp(-0.5 * v * v) / sqrt(2 * M_PI); }

/* |result - reference| <= ulps of the reference + absolute */
static void expect_function(const char *name, f64 (*f)(f64), f64 lo, f64 hi, f64 ulps, f64 absolute)
{
    static f32 in[N], out[N];
    static const int widths[] = { 1, 4, 16 };
    for (int i = 0; i < N; i++)
        in[i] = (f32)(lo + (hi - lo) * i / (N - 1));
    for (int k = 0; k < 3; k++) {
        evaluate("#include \"special.h\"\n", arena_printf(scratch, "FN(%s)(v)", name), widths[k], in, out);
        for (int i = 0; i < N; i++) {
            f64 right = f(in[i]), off = fabs(out[i] - right);
            if (!(off <= ulps * ulp(right) + absolute))
                fail_msg("%s_%d(%.9g) = %.9g, not %.9g: %.3g ulp", name, widths[k], in[i], out[i], right,
                         off / ulp(right));
        }
    }
}

static void test_special(void **state)
{
    (void)state;
    need_device();
    expect_function("exp", exp, -87, 88.7, 1.01, 0);
    expect_function("exp", exp, -0.01, 0.01, 1.01, 0);
    expect_function("exp", exp, -110, -87, 1.01, 0x1p-126);      // denormals may be flushed
    expect_function("exp_decay", exp, -87, 0, 1.01, 0);
    expect_function("exp_decay", exp, -0.01, 0, 1.01, 0);
    expect_function("exp_decay", exp, -110, -87, 1.01, 0x1p-125);
    expect_function("erf", erf, -6, 6, 2, 0);
    expect_function("erf", erf, -1e-3, 1e-3, 2, 0);
    expect_function("gelu", gelu, -4, 4, 16, 0);
    expect_function("gelu", gelu, -8, 8, 48, 0);                 // exp(-x^2/2) carries the rounding of x^2
    expect_function("gelu", gelu, -40, 40, 48, 1e-14);
    expect_function("gelu", gelu, -1e-4, 1e-4, 6, 0);
    expect_function("gelu_grad", gelu_grad, -12, 12, 0, 3e-7);
}

static void test_special_ends(void **state)
{
    (void)state;
    need_device();
    static f32 in[N], out[N];
    const f32 ends[] = { NAN, INFINITY, -INFINITY, 1000, -1000, 0, -0.0f, 88.72283f, 88.7229f };
    memcpy(in, ends, sizeof ends);
    for (int w = 1; w <= 16; w *= 4) {
        evaluate("#include \"special.h\"\n", "FN(exp)(v)", w, in, out);
        assert_true(isnan(out[0]) && isinf(out[1]) && out[2] == 0 && isinf(out[3]) && out[4] == 0);
        assert_true(out[5] == 1 && out[6] == 1);
        assert_true(out[7] > 3.402e38f && isfinite(out[7]) && isinf(out[8]));
        evaluate("#include \"special.h\"\n", "FN(exp_decay)(v)", w, in, out);
        assert_true(isnan(out[0]) && out[2] == 0 && out[4] == 0 && out[5] == 1 && out[6] == 1);
        evaluate("#include \"special.h\"\n", "FN(erf)(v)", w, in, out);
        assert_true(isnan(out[0]) && out[1] == 1 && out[2] == -1);
        assert_true(out[3] == 1 && out[4] == -1 && out[5] == 0);
        evaluate("#include \"special.h\"\n", "FN(gelu)(v)", w, in, out);
        assert_true(isnan(out[0]) && out[3] == 1000 && fabsf(out[4]) < 1e-30f && out[5] == 0);
        evaluate("#include \"special.h\"\n", "FN(gelu_grad)(v)", w, in, out);
        assert_true(isnan(out[0]) && out[3] == 1 && fabsf(out[4]) < 1e-30f && out[5] == 0.5f);
    }
}

/* ---- random.h ------------------------------------------------------------------------------------------ */

static const u64 seed = 0x9876543210FEDCBA;
enum { STREAM = RNG_NODE + 3, STEP = 41 };

static void test_bits(void **state)
{
    (void)state;
    need_device();
    static u32 in[N], out[N];
    static const char *const draws[] = {
        "as_float16(random_16(0x9876543210FEDCBAul, 19, 41, (i >> 4) + %luul))",
        "as_float(random_1(0x9876543210FEDCBAul, 19, 41, i + %luul))"
    };
    const u64 from[] = { 0, (u64)1 << 31, ((u64)1 << 32) - 32, (u64)1 << 40 };   // carries into the high word
    for (int k = 0; k < 2; k++)
        for (int f = 0; f < countof(from); f++) {
            u64 first = from[f] * 16;
            const char *expr = arena_printf(scratch, draws[k], k ? first : first / 16);
            evaluate("#include \"random.h\"\n", expr, k ? 1 : 16, in, out);
            for (int i = 0; i < N; i++)
                assert_int_equal(out[i], rng_element(seed, STREAM, STEP, first + (u64)i));
        }
}

static void test_draws(void **state)
{
    (void)state;
    need_device();
    static u32 bits[N];
    static f32 out[N];
    for (int i = 0; i < N; i++)
        bits[i] = i < 8 ? (u32[8]){ 0, 255, 256, ~0u, 1u << 31, (1u << 31) - 1, ~0u << 8, 512 }[i]
                        : rng_element(seed, STREAM, STEP, (u64)i);
    for (int w = 1; w <= 16; w *= 4) {
        const char *type = w == 1 ? "" : w == 4 ? "4" : "16";
        const char *draw = arena_printf(scratch, "FN(unit)(as_uint%s(v))", type);
        evaluate("#include \"random.h\"\n", draw, w, bits, out);
        for (int i = 0; i < N; i++)
            assert_true(out[i] == (bits[i] >> 8) * 0x1p-24f);
        const char *expr = arena_printf(scratch, "FN(normal)(FN(unit)(as_uint%s(v)))", type);
        evaluate("#include \"random.h\"\n", expr, w, bits, out);
        for (int i = 0; i < N; i++) {
            f32 right = rng_unit_to_normal((bits[i] >> 8) * 0x1p-24f);
            if (!(fabs((f64)out[i] - right) <= 2 * ulp(right)))
                fail_msg("normal_%d of %08x: %.9g, not %.9g", w, bits[i], out[i], right);
        }
    }
}

/* ---- prelude.h ----------------------------------------------------------------------------------------- */

static void test_ends(void **state)
{
    (void)state;
    need_device();
    static f32 in[N], out[N];
    for (int i = 0; i < N; i++)
        in[i] = (f32)(i + 1);
    const char *text =
        "__kernel void ends(__global const float *x, __global float *y)\n"
        "{ int n = get_global_id(0); store_16(2.0f * load_16(x, n, -7.0f), y + 32 * n, n + 1); }\n";
    launches *l = launches_new(d, "test");
    launch_add(l, &(launch){ .file = "test", .kernel = "ends", .source = text, .global = { 20 },
                             .args = { ARG_RANGE(x), ARG_RANGE(y) } });
    must(mem_write(d, x, in));
    must(mem_fill(d, y, 0));
    must(launches_compile(l));
    must(launches_run(l));
    must(mem_read(d, y, out));
    for (int n = 0; n < 20; n++)
        for (int i = 0; i < 32; i++)
            assert_true(out[32 * n + i] == (i >= MIN(n + 1, 16) ? 0 : i < n ? 2 * in[i] : -14));
    launches_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_special), cmocka_unit_test(test_special_ends), cmocka_unit_test(test_bits),
        cmocka_unit_test(test_draws), cmocka_unit_test(test_ends),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
