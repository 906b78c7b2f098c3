/* test_product.c: every matmul kernel family against a loop in double, at sizes around tile edges. Each case
 * draws its transposes, strides, batches and epilogue; C is NaN before (unless it is added to), and must stay
 * NaN between its rows and around. */
#include "unit.h"
#include "op/product.h"
#include <math.h>
#include <stdlib.h>

enum { SPACE = 12 << 20 };                           /* values of a case: A, B, C, bias, side, other, ... */

struct bench {                                       /* a device, and host copies of what its memory holds */
    dev   *d;
    mem   *m;
    arena *a;
    f32   *in, *out;
    u64    used;
    rng    r;
};

static void open_bench(struct bench *b, const char *class)
{
    trace_set(strcmp(class, "generic") ? "" : "no_class");
    if (text_starts(class, "cpu_"))                  // shaped as for a CPU of other vectors and caches
        setenv("JETCL_FAKE", class + 4, 1);
    if (!strcmp(class, "gpu_apart"))                // groups may not read what others wrote
        setenv("JETCL_FAKE", "joins=0", 1);
    *b = (struct bench){ .d = dev_open(NULL), .a = arena_open("product"), .r = rng_at(5, RNG_TEST, 0, 0) };
    unsetenv("JETCL_FAKE");
    assert_non_null(b->d);
    if (strcmp(class, "generic"))
        dev_force_class(b->d, text_starts(class, "cpu") ? DEV_CPU : DEV_GPU);
    b->m = mem_new(b->d, 4ull * SPACE, "test");
    assert_non_null(b->m);
    b->in = arena_array(b->a, f32, SPACE);
    b->out = arena_array(b->a, f32, SPACE);
}

static void close_bench(struct bench *b)
{
    mem_free(b->m);
    dev_close(b->d);
    arena_close(b->a);
    trace_set("");
}

/* Room for an operand of rows x columns a batch: padded rows, gaps between batches, an odd first element. */
static struct operand lay(struct bench *b, const struct product *p, i64 rows, i64 columns, bool shared)
{
    struct operand o = { .at = rng_below(&b->r, 3) ? 0 : 1 + rng_below(&b->r, 20) };
    o.row = columns + (rng_below(&b->r, 2) ? rng_below(&b->r, 19) : 0);
    i64 one = rows * o.row + (rng_below(&b->r, 2) ? rng_below(&b->r, 9) : 0);
    bool swap = rng_below(&b->r, 2);                 // which batch axis is the slow one
    o.inner = shared ? 0 : swap ? one * p->outer : one;
    o.outer = shared ? 0 : swap ? one : one * p->inner;
    u64 n = (u64)(o.at + one * (shared ? 1 : p->outer * p->inner) + 16), unit = dev_info(b->d)->align / 4;
    o.r = (range){ b->m, 4 * b->used, 4 * n };
    b->used = ROUND_UP(b->used + n, unit);
    assert_true(b->used <= SPACE);
    return o;
}

static f32 *cell(f32 *base, const struct operand *o, i64 z0, i64 z1, i64 row, i64 column)
{
    return base + o->r.off / 4 + o->at + z0 * o->outer + z1 * o->inner + row * o->row + column;
}

struct want { f64 value, side, size; };              /* size: what rounding is measured against */

static f64 gelu(f64 x)      { return 0.5 * x * (1 + erf(x * sqrt(0.5))); }
static f64 gelu_grad(f64 x)
{
    return 0.5 * (1 + erf(x * sqrt(0.5))) + x * exp(-0.5 * x * x) / sqrt(2 * M_PI);
}

static struct want expected(struct bench *b, const struct product *p, i64 z0, i64 z1, i64 i, i64 j)
{
    struct want w = { 0 };
    f64 y = 0;
    const f32 *x = cell(b->in, &p->a, z0, z1, p->ta ? 0 : i, p->ta ? i : 0);
    const f32 *v = cell(b->in, &p->b, z0, z1, p->tb ? j : 0, p->tb ? 0 : j);
    i64 x_step = p->ta ? p->a.row : 1, v_step = p->tb ? 1 : p->b.row;
    for (i64 k = 0; k < p->k; k++) {
        f64 one = (f64)x[k * x_step] * (f64)v[k * v_step];
        y += one;
        w.size += fabs(one);
    }
    y *= p->alpha;
    w.size *= fabs(p->alpha);
    if (p->bias.r.mem)
        y += *cell(b->in, &p->bias, z0, z1, 0, j);
    w.side = p->keep == KEEP_SLOPE ? gelu_grad(y) : y;
    w.value = p->act == ACT_gelu ? gelu(y) : y;
    f64 other = p->other.r.mem ? *cell(b->in, &p->other, z0, z1, i, j) : p->times;
    w.value = p->times ? w.value * other : w.value + other;
    if (p->accumulate)
        w.value += *cell(b->in, &p->c, z0, z1, i, j);
    w.size += fabs(w.value) + 1;
    return w;
}

/* side[i] = the sum of stored A's column i; then NaN, as below. */
static void verify_sums(struct bench *b, const struct product *p, const char *what)
{
    for (i64 z = 0; z < p->outer * p->inner; z++)
        for (i64 i = 0; i < p->m; i++) {
            f64 sum = 0, size = 1;
            for (i64 k = 0; k < p->k; k++) {
                f64 x = *cell(b->in, &p->a, z / p->inner, z % p->inner, k, i);
                sum += x;
                size += fabs(x);
            }
            f32 *got = cell(b->out, &p->side, z / p->inner, z % p->inner, 0, i);
            if (!(fabs(*got - sum) <= 1e-6 * size))
                fail_msg("%s: sum %d of batch %d is %.9g, should be %.9g", what, (int)i, (int)z, *got, sum);
            *got = NAN;
        }
}

static bool near(f64 got, f64 want, f64 size)
{
    return isnan(want) ? isnan(got) : isinf(want) ? got == want : fabs(got - want) <= 1e-6 * size;
}

static void verify(struct bench *b, const struct product *p, const char *what)
{
    // Cells become NaN once looked at, so that in the end C's range must be NaN throughout.
    for (i64 z0 = 0; z0 < p->outer; z0++)
        for (i64 z1 = 0; z1 < p->inner; z1++)
            for (i64 i = 0; i < p->m; i++)
                for (i64 j = 0; j < p->n; j++) {
                    struct want w = expected(b, p, z0, z1, i, j);
                    f32 *got = cell(b->out, &p->c, z0, z1, i, j);
                    f32 *side = cell(b->out, &p->side, z0, z1, i, j);
                    if (!near(*got, w.value, w.size))
                        fail_msg("%s: C(%d,%d)[%d,%d] is %.9g, should be %.9g", what, (int)z0, (int)z1,
                                 (int)i, (int)j, *got, w.value);
                    *got = NAN;
                    if (p->keep != KEEP_PRE && p->keep != KEEP_SLOPE)
                        continue;
                    if (!near(*side, w.side, w.size))
                        fail_msg("%s: side(%d,%d)[%d,%d] is %.9g, should be %.9g", what, (int)z0, (int)z1,
                                 (int)i, (int)j, *side, w.side);
                    *side = NAN;
                }
    if (p->keep == KEEP_SUMS)
        verify_sums(b, p, what);
    const struct operand *written[] = { &p->c, &p->side };
    for (int o = 0; o < 2; o++)
        for (u64 i = 0; written[o]->r.mem && i < written[o]->r.bytes / 4; i++)
            if (!isnan(b->out[written[o]->r.off / 4 + i]))
                fail_msg("%s: %s written out of bounds at %d", what, o ? "side" : "C", (int)i);
}

static void poison(struct bench *b, const struct operand *o, const struct product *p, bool keep)
{
    arena_mark mark = arena_save(b->a);
    u64 n = o->r.bytes / 4;
    f32 *old = arena_array(b->a, f32, n);
    memcpy(old, b->in + o->r.off / 4, n * 4);
    for (u64 i = 0; i < n; i++)
        b->in[o->r.off / 4 + i] = NAN;
    for (i64 z = 0; keep && z < p->outer * p->inner; z++)
        for (i64 i = 0; i < p->m; i++)
            for (i64 j = 0; j < p->n; j++) {
                f32 *to = cell(b->in, o, z / p->inner, z % p->inner, i, j);
                *to = old[to - (b->in + o->r.off / 4)];
            }
    arena_restore(b->a, mark);
}

static void run(struct bench *b, const struct product *p, const char *what)
{
    launches *l = launches_new(b->d, "product");
    range all = { b->m, 0, 4ull * SPACE };
    all.bytes = 4 * b->used;
    product_emit(l, p, what);
    if (launches_compile(l))
        fail_msg("%s: %s", what, fail_message());
    f32 *again = arena_array(b->a, f32, b->used);
    for (int k = 0; k < 2; k++) {
        assert_int_equal(mem_write(b->d, all, b->in), 0);
        assert_int_equal(launches_run(l), 0);
        assert_int_equal(mem_read(b->d, all, k ? again : b->out), 0);
    }
    assert_int_equal(dev_finish(b->d), 0);
    u64 end = p->scratch.mem ? p->scratch.off / 4 : b->used;
    if (memcmp(again, b->out, end * 4))
        fail_msg("%s: two runs differ", what);
    launches_free(l);
}

/* Fills in what p leaves open (operands, scratch), draws the numbers, runs twice and compares. */
static void try(struct bench *b, struct product p, bool bias, bool other)
{
    arena_mark mark = arena_save(b->a);
    b->used = 0;
    i64 z = p.outer * p.inner;
    bool share_a = z > 1 && !rng_below(&b->r, 4), share_b = z > 1 && !rng_below(&b->r, 4);
    p.a = p.ta ? lay(b, &p, p.k, p.m, share_a) : lay(b, &p, p.m, p.k, share_a);
    p.b = p.tb ? lay(b, &p, p.n, p.k, share_b) : lay(b, &p, p.k, p.n, share_b);
    p.c = lay(b, &p, p.m, p.n, false);
    p.bias = bias ? lay(b, &p, 1, p.n, !rng_below(&b->r, 2)) : p.bias;
    p.side = !p.keep ? p.side : p.keep == KEEP_SUMS ? lay(b, &p, 1, p.m, false) : lay(b, &p, p.m, p.n, false);
    p.other = other ? lay(b, &p, p.m, p.n, false) : p.other;
    p.times = other && p.times && !p.accumulate;
    for (u64 i = 0; i < b->used; i++)
        b->in[i] = (f32)(2 * rng_unit(&b->r) - 1);
    poison(b, &p.c, &p, p.accumulate);
    if (p.keep)
        poison(b, &p.side, &p, false);
    u64 scratch = product_scratch(b->d, &p);
    if (scratch) {
        p.scratch = (range){ b->m, 4 * b->used, scratch };
        for (u64 i = 0; i < scratch / 4; i++)
            b->in[b->used + i] = NAN;
        b->used += scratch / 4;
        assert_true(b->used <= SPACE);
    }
    static const char *const keeps[] = { "", " pre", " slope", " sums" };
    const char *what = arena_printf(b->a, "%dx%dx%d batch %dx%d%s%s%s%s%s%s%s%s", (int)p.m, (int)p.n,
                                    (int)p.k, (int)p.outer, (int)p.inner, p.ta ? " ta" : "",
                                    p.tb ? " tb" : "", p.act ? " gelu" : "", bias ? " bias" : "",
                                    keeps[p.keep], !other ? "" : p.times ? " times" : " residual",
                                    p.accumulate ? " onto" : "", scratch ? " parts" : "");
    run(b, &p, what);
    verify(b, &p, what);
    arena_restore(b->a, mark);
}

/* A second result that the product can have: some of the time. */
static enum product_keep draw_keep(struct bench *b, const struct product *p)
{
    if (p->act)
        return (enum product_keep)rng_below(&b->r, KEEP_SLOPE + 1);
    return p->ta && product_sums(b->d) && rng_below(&b->r, 2) ? KEEP_SUMS : KEEP_NOTHING;
}

static const int sizes[] = { 1, 2, 3, 15, 16, 17, 31, 33, 64, 65, 97, 131 };

static void draw(struct bench *b, i64 m, i64 n, i64 k)
{
    bool many = m * n * k < 40000;
    struct product p = { .m = m, .n = n, .k = k,
                         .outer = many ? 1 + rng_below(&b->r, 3) : 1,
                         .inner = many ? 1 + rng_below(&b->r, 3) : 1,
                         .ta = rng_below(&b->r, 2), .tb = rng_below(&b->r, 2),
                         .act = rng_below(&b->r, 2) ? ACT_gelu : ACT_NONE,
                         .accumulate = !rng_below(&b->r, 3), .alpha = rng_below(&b->r, 2) ? 1 : 0.125f };
    bool bias = rng_below(&b->r, 2), other = !rng_below(&b->r, 3);
    p.times = rng_below(&b->r, 2);
    p.keep = draw_keep(b, &p);
    try(b, p, bias, other);
}

/* Oclgrind computes a million operations a second: cases of more are left to the other devices. */
static bool too_long(struct bench *b, f64 macs)
{
    return strstr(dev_info(b->d)->platform, "Oclgrind") && macs > 4e3;
}

static void test_sizes(const char *class)
{
    struct bench b;
    open_bench(&b, class);
    for (int i = 0; i < countof(sizes); i++)
        for (int j = 0; j < countof(sizes); j++)
            for (int t = 0; t < 4; t++) {            // every pair of m and n, with a third of the ks
                int k = sizes[(i + j + 3 * t) % countof(sizes)];
                if (!too_long(&b, (f64)sizes[i] * sizes[j] * k))
                    draw(&b, sizes[i], sizes[j], k);
            }
    close_bench(&b);
}

/* Long k (blocks and parts), wide n, many rows, in all four transposes. */
static void test_blocks(const char *class)
{
    static const int shapes[][4] = {
        { 97, 131, 1500, 1 }, { 5, 17, 3000, 1 }, { 64, 900, 600, 1 }, { 700, 33, 65, 1 },
        { 230, 460, 300, 1 }, { 1, 1, 5000, 1 }, { 96, 96, 2100, 1 }, { 10, 192, 777, 2 },
        { 2, 2000, 7, 1 }, { 2000, 3, 4, 3 }, { 20, 30, 2500, 3 }, { 40, 60, 70, 30 }, { 100, 97, 5, 256 }
    };
    struct bench b;
    open_bench(&b, class);
    for (int s = 0; s < countof(shapes); s++)
        for (int t = 0; t < 4 && !too_long(&b, (f64)shapes[s][0] * shapes[s][1] * shapes[s][2]); t++) {
            struct product p = { .m = shapes[s][0], .n = shapes[s][1], .k = shapes[s][2],
                                 .outer = shapes[s][3], .inner = 1 + shapes[s][3] % 2,
                                 .ta = t & 1, .tb = t & 2, .alpha = 1, .accumulate = (s + t) & 1,
                                 .act = (s ^ t) & 2 ? ACT_gelu : ACT_NONE };
            p.keep = draw_keep(&b, &p);
            p.times = s & 4;
            try(&b, p, s & 1, s & 2);
        }
    close_bench(&b);
}

/* Whatever a tuning file may choose is right: each tile and block size, all four transposes. */
static void test_tuned(const char *class, const char *macro, const i32 *values, int n)
{
    struct bench b;
    open_bench(&b, class);
    for (int v = 0; v < n; v++)
        for (int t = 0; t < 4; t++) {
            struct product p = { .m = 45, .n = 211, .k = 150, .outer = 1, .inner = 1,
                                 .ta = t & 1, .tb = t & 2, .alpha = 1 };
            p.keep = draw_keep(&b, &p);
            char key[64];
            product_key(&p, key);
            dev_tune_set(b.d, "matmul", key, macro, values[v]);
            if (!too_long(&b, (f64)p.m * (f64)p.n * (f64)p.k))
                try(&b, p, t & 1, t & 2);
        }
    close_bench(&b);
}

#define TUNED(class, macro, ...) \
    test_tuned(class, macro, (i32[]){ __VA_ARGS__ }, countof(((i32[]){ __VA_ARGS__ })))

static void cpu_tuned(void **state)
{
    (void)state;
    TUNED("cpu", "TILE", 1, 2, 3, 4, 5, 6, 82);
    TUNED("cpu", "KB", 16, 128, 512);
    TUNED("cpu", "PACK", 7200, 14400, 115200);
    TUNED("cpu", "GROUPS", 1, 2, 8);
    TUNED("cpu", "BLOCKS", 1, 128);
}

static void gpu_tuned(void **state)
{
    (void)state;
    TUNED("gpu", "TILE", 1, 2, 3, 4);
    TUNED("gpu", "GROUPS", 1, 1024);
    TUNED("gpu", "SPLIT_K", 64, 1024);
}

/* x += x W in place: what is added is C itself. */
static void test_onto_itself(const char *class)
{
    struct bench b;
    open_bench(&b, class);
    struct product p = { .m = 5, .n = 19, .k = 600, .outer = 1, .inner = 1, .tb = true, .alpha = 1 };
    p.a = lay(&b, &p, p.m, p.k, false);
    p.b = lay(&b, &p, p.n, p.k, false);
    p.c = lay(&b, &p, p.m, p.n, false);
    for (u64 i = 0; i < b.used; i++)
        b.in[i] = (f32)(2 * rng_unit(&b.r) - 1);
    poison(&b, &p.c, &p, true);
    p.other = p.c;
    u64 scratch = product_scratch(b.d, &p);
    p.scratch = scratch ? (range){ b.m, 4 * b.used, scratch } : RANGE_NONE;
    b.used += scratch / 4;
    run(&b, &p, "onto itself");
    verify(&b, &p, "onto itself");
    close_bench(&b);
}

/* A NaN or an infinity in A or B reaches the row or column it belongs to, and no other. */
static void test_not_finite(const char *class)
{
    struct bench b;
    open_bench(&b, class);
    struct product p = { .m = 33, .n = 70, .k = 20, .outer = 1, .inner = 1, .alpha = 1 };
    p.a = lay(&b, &p, p.m, p.k, false);
    p.b = lay(&b, &p, p.k, p.n, false);
    p.c = lay(&b, &p, p.m, p.n, false);
    for (u64 i = 0; i < b.used; i++)
        b.in[i] = (f32)(2 * rng_unit(&b.r) - 1);
    *cell(b.in, &p.a, 0, 0, 7, 3) = NAN;
    *cell(b.in, &p.a, 0, 0, 32, 19) = INFINITY;
    *cell(b.in, &p.b, 0, 0, 5, 69) = -INFINITY;
    *cell(b.in, &p.b, 0, 0, 0, 0) = NAN;
    poison(&b, &p.c, &p, false);
    run(&b, &p, "not finite");
    verify(&b, &p, "not finite");
    close_bench(&b);
}

/* The order of sums, so every bit, is the same on any number of cores. */
static void cores(void **state)
{
    (void)state;
    static const i64 shapes[][3] = {
        { 600, 48, 900 }, { 300, 100, 400 }, { 210, 300, 2000 }, { 40, 200, 800 }
    };
    struct bench b;
    open_bench(&b, "cpu");
    for (int i = 0; i < 2 * countof(shapes); i++) {
        arena_mark mark = arena_save(b.a);
        const i64 *s = shapes[i / 2];
        struct product p = { .m = s[0], .n = s[1], .k = s[2], .outer = 1, .inner = 1, .ta = i % 2,
                             .alpha = 1 };
        b.used = 0;
        p.a = p.ta ? lay(&b, &p, p.k, p.m, false) : lay(&b, &p, p.m, p.k, false);
        p.b = lay(&b, &p, p.k, p.n, false);
        p.c = lay(&b, &p, p.m, p.n, false);
        for (u64 k = 0; k < b.used; k++)
            b.in[k] = (f32)(2 * rng_unit(&b.r) - 1);
        f32 *first = arena_array(b.a, f32, b.used);
        u64 used = b.used;
        for (u32 units = 1; units <= 64; units *= 8) {
            ((struct dev_info *)dev_info(b.d))->compute_units = units;
            u64 scratch = product_scratch(b.d, &p);
            p.scratch = scratch ? (range){ b.m, 4 * used, scratch } : RANGE_NONE;
            b.used = used + scratch / 4;
            run(&b, &p, "cores");
            if (units == 1)
                memcpy(first, b.out, 4 * used);
            assert_memory_equal(first, b.out, 4 * used);
        }
        arena_restore(b.a, mark);
    }
    close_bench(&b);
}

#define FAMILY(class)                                                                                       \
    static void class##_sizes(void **state)      { (void)state; test_sizes(#class); }                      \
    static void class##_blocks(void **state)     { (void)state; test_blocks(#class); }                     \
    static void class##_itself(void **state)     { (void)state; test_onto_itself(#class); }                \
    static void class##_not_finite(void **state) { (void)state; test_not_finite(#class); }
FAMILY(generic)
FAMILY(cpu)
FAMILY(cpu_avx2)
FAMILY(cpu_sse)
FAMILY(cpu_neon)
FAMILY(gpu)
FAMILY(gpu_apart)
#define TESTS(class) cmocka_unit_test(class##_sizes), cmocka_unit_test(class##_blocks), \
                     cmocka_unit_test(class##_itself), cmocka_unit_test(class##_not_finite)

int main(void)
{
    const struct CMUnitTest tests[] = { TESTS(generic), TESTS(cpu), TESTS(cpu_avx2), TESTS(cpu_sse),
                                        TESTS(cpu_neon), TESTS(gpu), TESTS(gpu_apart),
                                        cmocka_unit_test(cores), cmocka_unit_test(cpu_tuned),
                                        cmocka_unit_test(gpu_tuned) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
