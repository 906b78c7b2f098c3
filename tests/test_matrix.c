/* test_matrix.c: products on matrix engines (cl/gpu/matrix.cl), each vendor's data layout emulated (cl/mma.h),
 * against loops in double: sizes that are not multiples of blocks, transposes, epilogues, splits of k, batches,
 * both half types, TF32, exact F32. */
#include "engine.h"
#include "fuse/fuse.h"
#include "op/op.h"
#include "op/product_cut.h"

enum { ROOM = 1 << 18 };
static f32 values[3][ROOM], bias[512], got[ROOM], side[ROOM];
static u16 halves[ROOM];

static u16 half_of(f32 x, enum dtype t)
{
    u32 bits;
    memcpy(&bits, &x, sizeof bits);
    if (t == BF16)
        return (u16)(bits >> 16);
    i32 e = (i32)(bits >> 23 & 255) - 112;
    return (u16)((bits >> 16 & 0x8000) | (e > 0 ? (u32)e << 10 | (bits >> 13 & 0x3ff) : 0));
}

static f32 float_of(u16 h, enum dtype t)
{
    u32 bits = (u32)h << 16;
    f32 x;
    if (t == F16) {
        f32 size = (h >> 10 & 31) ? ldexpf((f32)((h & 0x3ff) | 0x400), (h >> 10 & 31) - 25)
                                  : ldexpf((f32)(h & 0x3ff), -24);
        return h & 0x8000 ? -size : size;
    }
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Random values of one type, as they lie on the device and as the loops read them. first: bits of the first,
 * where it is F32 and they are not 0. */
static struct operand operand_new(pool *p, int which, i64 count, i64 row, i64 matrix, enum dtype t, u32 first)
{
    rng r = rng_at(5, RNG_TEST, (u32)which, 0);
    range at = pool_take(p, dtype_bytes(t) * (u64)count);
    assert_true(count <= ROOM);
    LOOP(i, count) {
        values[which][i] = nearest((f32)rng_normal(&r) / 2, t);
        if (fabsf(values[which][i]) < 0x1p-13f)
            values[which][i] = 0;                 // fp16's subnormals are rounded elsewhere (test_half)
        if (!i && t == F32 && first)
            memcpy(&values[which][i], &first, sizeof first);
        halves[i] = half_of(values[which][i], t);
    }
    assert_int_equal(mem_write(device, (range){ at.mem, at.off, dtype_bytes(t) * (u64)count },
                               t == F32 ? (void *)values[which] : halves), 0);
    return (struct operand){ .r = at, .row = row, .outer = matrix, .type = t };
}

static void read_back(range r, f32 *out, i64 count, enum dtype t)
{
    r.bytes = dtype_bytes(t) * (u64)count;
    assert_int_equal(mem_read(device, r, t == F32 ? (void *)out : halves), 0);
    LOOP(i, t == F32 ? 0 : count)
        out[i] = float_of(halves[i], t);
}

struct matrix_case {
    i64 m, n, k, batch;
    bool ta, tb;
    enum dtype a, b, c;
    bool biased, added;
    enum act act;
    enum product_keep keep;
    u32 first;                                   /* bits of A's first value, or 0 */
    int splits;                                  /* at least */
    unsigned engines;                            /* 0: all. Which way A and B came into local memory does not
                                                     concern each, and compiling takes long */
};
#define ON(engine) (1u << MATRIX_##engine)

/* As an engine reads it: F32 as it is, or as TF32, to nearest, ties away from 0. */
static f64 element_of(f32 x, enum dtype half)
{
    int e;
    if (half != F32 || !dev_tf32(device) || !isfinite(x))
        return (f64)nearest(x, half);
    frexp((f64)x, &e);
    return ldexp(round(ldexp((f64)x, 11 - e)), e - 11);
}

static f64 sum_at(const struct matrix_case *x, i64 z, i64 i, i64 j, enum dtype half)
{
    const f32 *a = values[0] + z * x->m * x->k, *b = values[1] + z * x->k * x->n;
    f64 s = 0;
    LOOP(k, x->k)
        s += element_of(x->ta ? a[k * x->m + i] : a[i * x->k + k], half) *
             element_of(x->tb ? b[j * x->k + k] : b[k * x->n + j], half);
    return s;
}

static void check_values(const struct matrix_case *x, const char *engine, enum dtype half)
{
    f64 unit = x->c == F32 ? 0 : x->c == BF16 ? 0x1p-8 : 0x1p-11, noise = 0x1p-22 * (f64)x->k;
    LOOP(z, x->batch) LOOP(i, x->m) LOOP(j, x->n) {
        i64 at = (z * x->m + i) * x->n + j;
        f64 u = sum_at(x, z, i, j, half) + (x->biased ? (f64)bias[j] : 0), below = (1 + erf(u * M_SQRT1_2)) / 2;
        f64 slope = below + u * exp(-u * u / 2) / sqrt(2 * M_PI), y = x->act == ACT_gelu ? u * below : u;
        y += x->added ? (f64)values[2][at] : 0;
        if (isnan(y) ? !isnan(got[at]) : !(fabs((f64)got[at] - y) <= unit * fabs(y) + noise + 0x1p-20))
            fail_msg("%s, %lld x %lld x %lld: C[%lld][%lld][%lld] is %g, want %g", engine, (long long)x->m,
                     (long long)x->n, (long long)x->k, (long long)z, (long long)i, (long long)j, (f64)got[at],
                     y);
        if (x->keep == KEEP_SLOPE)
            assert_true(fabs((f64)side[at] - slope) <= unit * fabs(slope) + noise + 0x1p-20);
    }
    LOOP(i, x->keep == KEEP_SUMS ? x->m : 0) {
        f64 s = 0;
        LOOP(k, x->k)
            s += (f64)values[0][k * x->m + i];
        assert_true(fabs((f64)side[i] - s) < noise);
    }
}

static void run_case(const struct matrix_case *x, const char *engine)
{
    enum dtype half = dtype_half(x->a) ? x->a : x->b;             // F32, where none is
    pool *pool = pool_new(device, "test");
    i64 cells = x->m * x->n * x->batch;
    struct product p = { .m = x->m, .n = x->n, .k = x->k, .outer = x->batch, .inner = 1, .alpha = 1,
                         .ta = x->ta, .tb = x->tb, .act = x->act, .keep = x->keep };
    p.a = operand_new(pool, 0, x->m * x->k * x->batch, x->ta ? x->m : x->k, x->m * x->k, x->a,
                      x->first);
    p.b = operand_new(pool, 1, x->k * x->n * x->batch, x->tb ? x->k : x->n, x->k * x->n, x->b, 0);
    p.c = (struct operand){ .r = pool_take(pool, 4 * (u64)cells), .row = x->n, .outer = x->m * x->n,
                            .type = x->c };
    assert_int_equal(mem_fill(device, p.c.r, 0x7fc07fc0), 0);
    if (x->added)
        p.other = operand_new(pool, 2, cells, x->n, x->m * x->n, x->c, 0);
    if (x->biased) {
        LOOP(j, x->n) bias[j] = (f32)((j * 7) % 11 - 5) / 8;
        p.bias = (struct operand){ .r = pool_take(pool, sizeof bias) };
        assert_int_equal(mem_write(device, (range){ p.bias.r.mem, p.bias.r.off, 4 * (u64)x->n }, bias), 0);
    }
    if (x->keep)
        p.side = (struct operand){ .r = pool_take(pool, 4 * (u64)cells), .row = x->n,
                                   .outer = x->keep == KEEP_SUMS ? x->m : x->m * x->n,
                                   .type = x->keep == KEEP_SUMS ? F32 : x->c };
    struct cut cut = product_cut(device, &p);
    assert_string_equal(cut.file, "matrix");
    assert_true(cut.splits >= x->splits);
    if (product_scratch(device, &p))
        p.scratch = pool_take(pool, product_scratch(device, &p));
    launches *l = launches_new(device, "test");
    product_emit(l, &p, "p");
    if (launches_compile(l) || launches_run(l) || dev_finish(device))
        fail_msg("%s: %s", engine, fail_message());
    read_back(p.c.r, got, cells, x->c);
    if (x->keep)
        read_back(p.side.r, side, x->keep == KEEP_SUMS ? x->m : cells, x->keep == KEEP_SUMS ? F32 : x->c);
    check_values(x, engine, half);
    launches_free(l);
    pool_free(pool);
}

static const struct matrix_case cases[] = {
    /* a linear layer with odd sizes, forward */
    { .m = 37, .n = 45, .k = 51, .batch = 1, .tb = true, .a = BF16, .b = F32, .c = BF16, .biased = true,
      .act = ACT_gelu, .keep = KEEP_SLOPE },
    /* whole tiles, and steps that need no tests */
    { .m = 132, .n = 64, .k = 68, .batch = 1, .a = BF16, .b = BF16, .c = BF16, .added = true,
      .engines = ON(mma) },
    /* the gradient of weights: k in parts that join, and the bias's gradient */
    { .m = 68, .n = 36, .k = 1030, .batch = 1, .ta = true, .a = BF16, .b = BF16, .c = F32, .keep = KEEP_SUMS,
      .splits = 4, .engines = ON(mma) },
    /* experts: a batch, everything transposed, nothing aligned, fp16; DPAS has lines of A's pairs */
    { .m = 19, .n = 59, .k = 35, .batch = 3, .ta = true, .tb = true, .a = F16, .b = F16, .c = F16,
      .engines = ON(mma) | ON(dpas) },
    { .m = 132, .n = 136, .k = 68, .batch = 1, .a = BF16, .b = BF16, .c = BF16, .added = true,
      .engines = ON(mma) },
};

/* F32: TF32 on one engine, exact on another. */
static const struct matrix_case float_cases[] = {
    { .m = 37, .n = 45, .k = 51, .batch = 1, .tb = true, .biased = true, .act = ACT_gelu, .keep = KEEP_SLOPE },
    { .m = 68, .n = 36, .k = 1030, .batch = 1, .ta = true, .keep = KEEP_SUMS, .splits = 4 },
    /* whole tiles, and steps that need no tests; the large tile */
    { .m = 132, .n = 136, .k = 68, .batch = 1, .added = true, .engines = ON(mma) },
    /* nothing aligned; NaN as NVIDIA's instructions write it, which rounding by integers would make 0 */
    { .m = 19, .n = 59, .k = 35, .batch = 3, .ta = true, .tb = true, .first = 0x7fffffff, .engines = ON(mma) },
};

static void run_cases(const struct matrix_case *x, int n)
{
    for (int i = 0; i < n; i++)
        if (!x[i].engines || x[i].engines & 1u << dev_info(device)->matrix)
            run_case(&x[i], dev_matrix(device)->title);
}

static void test_engine(void **state)
{
    dev *before = device;
    device = open_engine(*state);
    run_cases(cases, countof(cases));
    dev_no_matrix(device);
    assert_null(dev_matrix(device));
    dev_close(device);
    device = before;
}

static const char *file_for(i64 m, i64 n)
{
    struct product p = { .m = m, .n = n, .k = 64, .outer = 1, .inner = 1, .alpha = 1 };
    return product_cut(device, &p).file;
}

/* Exact F32 is used as it is, but for few rows and for shapes whose tile was tuned; TF32 only if asked for. */
static void test_floats(void **state)
{
    dev *before = device;
    device = open_engine(*state);
    bool exact = dev_info(device)->floats;
    assert_true(exact == (dev_info(device)->matrix == MATRIX_mfma) && !dev_tf32(device));
    assert_string_equal(file_for(64, 64), exact ? "matrix" : "matmul");
    assert_true(dev_allow_tf32(device) == !exact && dev_tf32(device) == !exact);
    assert_string_equal(file_for(64, 64), "matrix");
    assert_string_equal(file_for(32, 64), exact ? "matmul" : "matrix");
    run_cases(float_cases, countof(float_cases));
    dev_tune_set(device, "matmul", "nn.64x64x64", "TILE", 2);
    assert_string_equal(file_for(64, 64), "matmul");
    dev_no_matrix(device);
    assert_string_equal(file_for(68, 68), "matmul");
    dev_close(device);
    device = before;
}

/* ---- weights in a graph -------------------------------------------------------------------------------- */

enum { IN = 40, OUT = 24, ROWS = 37, LAYERS = 3 };

static void weights_fill(const range *home, u32 seed)
{
    rng r = rng_at(6, RNG_TEST, seed, 0);
    LOOP(i, LAYERS * IN * OUT)
        values[1][i] = (f32)rng_normal(&r);
    LOOP(k, LAYERS)
        assert_int_equal(mem_write(device, home[k], values[1] + k * IN * OUT), 0);
}

static void check_layers(graph *g, node *const *y)
{
    assert_int_equal(graph_run(g), 0);
    LOOP(k, LAYERS) {
        assert_int_equal(node_read(y[k], got), 0);
        LOOP(i, ROWS) LOOP(j, OUT) {
            f64 s = 0;
            LOOP(c, IN)
                s += (f64)nearest(values[0][i * IN + c],
                                  BF16) * (f64)nearest(values[1][(k * IN + c) * OUT + j], BF16);
            assert_true(fabs((f64)got[i * OUT + j] - s) <= 0x1p-8 * fabs(s) + 0x1p-16);
        }
    }
}

/* All weights of an allocation are rounded by one launch a run, from the values that they have then. */
static void test_weights(void **state)
{
    dev *before = device;
    device = open_engine(*state);
    pool *p = pool_new(device, "weights");
    graph *g = graph_new(device);
    g->half = BF16;
    node *x = graph_input(g, "x", F32, SHAPE(ROWS, IN)), *y[LAYERS];
    range home[LAYERS];
    assert_int_equal(pool_reserve(p, LAYERS << 13), 0);
    LOOP(k, LAYERS) {
        home[k] = pool_take(p, 1 << 13);
        home[k].bytes = 4 * IN * OUT;
        y[k] = node_keep(op_copy(op_matmul(x, graph_fixed(g, "w", F32, SHAPE(IN, OUT), home[k]), 0)));
    }
    simplify_graph(g);
    assert_int_equal(graph_compile(g), 0);
    int rounding = 0;
    for (size_t i = 0; i < g->n; i++) {
        const node *n = g->nodes[i];
        rounding += n->n_in == 1 && n->in[0]->type == F32 && n->type == BF16 && n->in[0] != x;
        if (!strcmp(n->op->name, "matmul"))
            assert_true(n->in[0]->type == BF16 && n->in[1]->type == BF16 && plan_aliased(n->in[1]));
    }
    assert_int_equal(rounding, 1);
    rng r = rng_at(7, RNG_TEST, 0, 0);
    LOOP(i, ROWS * IN)
        values[0][i] = (f32)rng_normal(&r);
    assert_int_equal(node_write(x, values[0]), 0);
    for (u32 seed = 0; seed < 2; seed++) {
        weights_fill(home, seed);
        check_layers(g, y);
    }
    graph_free(g);
    pool_free(p);
    dev_close(device);
    device = before;
}

int main(void)
{
#define ENGINE_TEST(fake) { "test_engine " fake, test_engine, NULL, NULL, fake ",units=1,joins=1" }
    const struct CMUnitTest tests[] = {
        ENGINE_TEST("matrix=1"), ENGINE_TEST("matrix=2"), ENGINE_TEST("matrix=3"), ENGINE_TEST("matrix=4"),
        { "test_floats TF32", test_floats, NULL, NULL, "matrix=1,units=1,joins=1" },
        { "test_floats F32", test_floats, NULL, NULL, "matrix=2,units=1,joins=1" },
        { "test_weights", test_weights, NULL, NULL, "matrix=3,units=1" },
    };
    say_setup((struct say_options){ SAY_NORMAL, 0, true });
    return cmocka_run_group_tests(tests, open_device, close_device);
}
