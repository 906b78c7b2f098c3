/* test_limits.c: what the ops do at the edges: NaN and infinity through values and gradients, every number of
 * rows and columns from 1 to 70 in sums, drawn numbers against the host's, in the kernels of both classes. */
#include "on_device.h"
#include "autograd/autograd.h"
#include "fuse/fuse.h"
#include <math.h>

enum { R = 5, C = 37, BAD_ROW = 2, BAD_COLUMN = 11 };

static void in_both_classes(void (*test)(void))
{
    dev *usual = device;
    for (enum dev_class class = DEV_CPU; class <= DEV_GPU; class++) {
        device = dev_open(NULL);
        assert_non_null(device);
        dev_force_class(device, class);
        test();
        dev_close(device);
    }
    device = usual;
}

static void compiled(graph *g)
{
    simplify_graph(g);
    if (graph_compile(g))
        fail_msg("%s", fail_message());
    for (int s = 0; s < g->plan->n_slabs; s++)
        mem_fill(device, (range){ g->slabs[s], 0, mem_bytes(g->slabs[s]) }, 0x42000000);       // finite
}

/* ---- NaN ----------------------------------------------------------------------------------------------- */

/* Pointwise: a NaN stays where it is, in the value and in the gradient of what it multiplies. */
static node *pointwise(int k, node *x, node *y)
{
    switch (k) {
    case 0: return op_copy(x);
    case 1: return op_scale(x, 2);
    case 2: return op_offset(x, 2);
    case 3: return op_exp(x);
    case 4: return op_sqrt(x);
    case 5: return op_square(x);
    case 6: return op_tanh(x);
    case 7: return op_gelu(x);
    case 8: return op_add(x, y);
    case 9: return op_sub(y, x);
    case 10: return op_mul(x, y);
    case 11: return op_div(x, y);
    case 12: return op_div(y, x);
    default: return NULL;
    }
}

/* By rows: a NaN takes its whole row, and no other; entmax's value only itself. */
enum { ENTMAX = 1 };
static node *by_rows(int k, node *x, node *y)
{
    node *w = op_slice(y, 0, 0, 1), *row = op_reshape(w, SHAPE(C));
    switch (k) {
    case 0: return op_softmax(x, -1);
    case ENTMAX: return op_entmax15(x);
    case 2: return op_layernorm(x, row, row, 1e-5f);
    case 3: return op_l2norm(x, 1e-6f, false);
    case 4: return op_l2norm(x, 1e-6f, true);
    case 5: return op_cross_entropy(x, op_softmax(y, -1), .1f);
    case 6: return op_sum(x, 1);
    case 7: return op_matmul(x, y, TRANS_B);
    default: return NULL;
    }
}

struct outcome { f32 y[R * C], dx[R * C]; i64 n; };

static void outcome_of(node *(*build)(int, node *, node *), int k, f32 bad, struct outcome *to)
{
    static f32 v[R * C];
    graph *g = graph_new(device);
    node *x = graph_input(g, "x", F32, SHAPE(R, C)), *other = graph_input(g, "y", F32, SHAPE(R, C)), *dx;
    node *y = build(k, x, other);
    grad_build_from(y, op_offset(op_scale(y, .1f), 1), &x, 1, &dx);
    node_keep(y = op_copy(y)), node_keep(dx = op_copy(dx));
    compiled(g);
    LOOP(i, R * C) v[i] = 1.5f + sinf((f32)(3 * i));
    node_write(other, v);
    LOOP(i, R * C) v[i] = i == BAD_ROW * C + BAD_COLUMN ? bad : 1.2f + cosf((f32)(5 * i));
    node_write(x, v);
    assert_int_equal(graph_run(g), 0);
    to->n = node_count(y);
    node_read(y, to->y), node_read(dx, to->dx);
    graph_free(g);
}

static void nan_stays_in_its_place(void)
{
    static struct outcome good, bad;
    node *(*const builds[])(int, node *, node *) = { pointwise, by_rows };
    for (int rows = 0; rows < 2; rows++)
        for (int k = 0; k < (rows ? 8 : 13); k++) {
            outcome_of(builds[rows], k, .5f, &good);
            outcome_of(builds[rows], k, NAN, &bad);
            i64 width = good.n / R;
            LOOP(i, good.n) {
                bool hit = rows ? i / width == BAD_ROW : i == BAD_ROW * C + BAD_COLUMN;
                if (rows && k == ENTMAX && hit && i % C != BAD_COLUMN)
                    continue;
                if (isnan(bad.y[i]) != hit || (!hit && bad.y[i] != good.y[i]))
                    fail_msg("op %d by %s: value %d is %g", k, rows ? "rows" : "points", (int)i, (f64)bad.y[i]);
            }
            LOOP(i, R * C) {
                bool hit = rows ? i / C == BAD_ROW : i == BAD_ROW * C + BAD_COLUMN;
                if (isnan(bad.dx[i]) != hit || (!hit && bad.dx[i] != good.dx[i]))
                    fail_msg("op %d by %s: gradient %d is %g", k, rows ? "rows" : "points", (int)i,
                             (f64)bad.dx[i]);
            }
        }
}
static void nan_stays(void **state) { (void)state; in_both_classes(nan_stays_in_its_place); }

/* Infinity as the formula says. */
static void infinity_by_the_formula(void)
{
    static struct outcome to;
    static const struct { int op; f32 x, y; } row[] = {
        { 1, INFINITY, INFINITY }, { 2, -INFINITY, -INFINITY }, { 3, INFINITY, INFINITY }, { 3, -INFINITY, 0 },
        { 3, 100, INFINITY }, { 3, -200, 0 }, { 4, INFINITY, INFINITY }, { 4, -1, NAN }, { 4, 0, 0 },
        { 5, -INFINITY, INFINITY }, { 5, 1e30f, INFINITY }, { 6, INFINITY, 1 }, { 6, -INFINITY, -1 },
        { 6, 50, 1 }, { 7, INFINITY, INFINITY }, { 7, 60, 60 }, { 8, -INFINITY, -INFINITY },
        { 9, INFINITY, -INFINITY }, { 10, INFINITY, INFINITY }, { 11, INFINITY, INFINITY },
        { 12, INFINITY, 0 }, { 12, 0, INFINITY },
    };
    for (int i = 0; i < countof(row); i++) {
        outcome_of(pointwise, row[i].op, row[i].x, &to);
        f32 got = to.y[BAD_ROW * C + BAD_COLUMN];
        if (!(isnan(row[i].y) ? isnan(got) : got == row[i].y || fabsf(got - row[i].y) < 1e-6f))
            fail_msg("op %d of %g: %g, expected %g", row[i].op, (f64)row[i].x, (f64)got, (f64)row[i].y);
    }
}
static void infinities(void **state) { (void)state; in_both_classes(infinity_by_the_formula); }

/* A loss that is not finite leaves no finite gradient, also of what does not meet the bad number. */
static void bad_losses(void **state)
{
    (void)state;
    const f32 bad[] = { 3, NAN, INFINITY, -INFINITY };
    for (int k = 0; k < 4; k++) {
        f32 v[8], got[8];
        graph *g = graph_new(device);
        node *x = graph_input(g, "x", F32, SHAPE(8)), *b = graph_input(g, "b", F32, SHAPE(8)), *dx;
        grad_build(op_mean(op_add(x, b)), &x, 1, &dx);
        node_keep(dx = op_copy(dx));
        compiled(g);
        LOOP(i, 8) v[i] = (f32)i;
        node_write(x, v);
        v[5] = bad[k];
        node_write(b, v);
        assert_int_equal(graph_run(g), 0);
        node_read(dx, got);
        LOOP(i, 8) assert_true(k ? isnan(got[i]) : got[i] == 0.125f);
        graph_free(g);
    }
}

/* ---- sums of every size -------------------------------------------------------------------------------- */

/* Small integers: sums are exact in any order, so a row or column left out or taken twice shows. */
static void sums_exact(i64 r, i64 c)
{
    static f32 v[70 * 70], other[70 * 5], rows[70], columns[70], sums[70], all;
    graph *g = graph_new(device);
    node *x = graph_input(g, "x", F32, SHAPE(r, c)), *b = graph_input(g, "b", F32, SHAPE(r, 5));
    node *along = node_keep(op_sum(x, 1)), *down = node_keep(op_sum(op_scale(x, 2), 0));
    node *y = node_keep(op_matmul(x, b, TRANS_A)), *fused = node_keep(op_sum(x, 0));
    node *whole = node_keep(op_sum(op_reshape(x, SHAPE(-1)), 0));
    compiled(g);
    LOOP(i, r * c) v[i] = (f32)(i * 7 % 13 + 1);
    LOOP(i, r * 5) other[i] = (f32)(i * 5 % 11 + 1);
    node_write(x, v), node_write(b, other);
    assert_int_equal(graph_run(g), 0);
    static f32 product[70 * 5];
    node_read(along, rows), node_read(down, columns), node_read(fused, sums), node_read(y, product);
    node_read(whole, &all);
    LOOP(i, r) {
        f32 want = 0;
        LOOP(j, c) want += v[i * c + j];
        all -= want;
        if (rows[i] != want)
            fail_msg("%d x %d: row %d sums to %g, expected %g", (int)r, (int)c, (int)i, (f64)rows[i],
                     (f64)want);
    }
    assert_true(all == 0);
    LOOP(j, c) {
        f32 want = 0, with[5] = { 0 };
        LOOP(i, r) {
            want += v[i * c + j];
            LOOP(k, 5) with[k] += v[i * c + j] * other[i * 5 + k];
        }
        if (columns[j] != 2 * want || sums[j] != want)
            fail_msg("%d x %d: column %d sums to %g and %g, expected %g", (int)r, (int)c, (int)j,
                     (f64)columns[j] / 2, (f64)sums[j], (f64)want);
        LOOP(k, 5) assert_true(product[j * 5 + k] == with[k]);
    }
    graph_free(g);
}

static void sums_of_every_size(void)
{
    for (i64 n = 1; n <= 70; n++) {
        sums_exact(n, 37);
        sums_exact(11, n);
    }
}
static void sums(void **state) { (void)state; in_both_classes(sums_of_every_size); }

/* Two million tenths: one addition after the other would lose a hundred times the tolerance. */
static void long_sums_keep_their_digits(void)
{
    enum { N = 1 << 21 };
    arena *a = arena_open("long");
    f32 *v = arena_array(a, f32, N), got, square;
    graph *g = graph_new(device);
    pool *p = pool_new(device, "test");
    range r = pool_take(p, 4 * (u64)N);
    node *x = graph_input(g, "x", F32, SHAPE(N)), *s = node_keep(op_mean(x));
    node *q = node_keep(op_square_sum(g, r, N));
    compiled(g);
    LOOP(i, N) v[i] = .1f;
    node_write(x, v);
    mem_write(device, r, v);
    assert_int_equal(graph_run(g), 0);
    node_read(s, &got), node_read(q, &square);
    f64 want = (f64).1f * (f64).1f * N;
    if (!(fabs((f64)got - (f64).1f) < 3e-5 * .1) || !(fabs((f64)square - want) < 3e-5 * want))
        fail_msg("mean %.9g, squares %.9g, expected %.9g", (f64)got, (f64)square, want);
    graph_free(g);
    pool_free(p);
    arena_close(a);
}
static void long_sums(void **state) { (void)state; in_both_classes(long_sums_keep_their_digits); }

/* ---- drawn numbers ------------------------------------------------------------------------------------- */

/* Rows start blocks of 16 elements; every stream, step and half of the seed counts. */
static void draws_of_the_host(void)
{
    static const i64 columns[] = { 1, 2, 15, 16, 17, 31, 33, 48, 70 };
    for (int k = 0; k < countof(columns); k++) {
        i64 c = columns[k], r = 3;
        static f32 normal[3 * 70], mask[3 * 70], second[3 * 70];
        step_words w = { .u = { [STEP_NUMBER] = 7 + (u32)k, [STEP_SEED_LO] = 5, [STEP_SEED_HI] = 2 } };
        u64 seed = (u64)2 << 32 | 5;
        graph *g = graph_new(device);
        node *n = node_keep(op_normal(g, SHAPE(r, c), .5f)), *m = node_keep(op_keep_mask(g, SHAPE(r, c), .3f));
        node *again = node_keep(op_normal(g, SHAPE(r, c), 2));
        compiled(g);
        assert_int_equal(graph_set_step(g, &w), 0);
        assert_int_equal(graph_run(g), 0);
        node_read(n, normal), node_read(m, mask), node_read(again, second);
        LOOP(i, r * c) {
            u64 at = (u64)(i / c * ROUND_UP(c, (i64)16) + i % c);
            u32 step = 7 + (u32)k;
            f32 z = rng_element_normal(seed, RNG_NODE, step, at);
            f32 y = rng_element_normal(seed, RNG_NODE + 2, step, at);
            f32 u = rng_element_unit(seed, RNG_NODE + 1, step, at);
            assert_true(fabsf(normal[i] - .5f * z) <= 1e-6f * (1 + fabsf(z)));
            assert_true(fabsf(second[i] - 2 * y) <= 4e-6f * (1 + fabsf(y)));
            assert_true(fabsf(mask[i] - (.3f + u >= 1 ? 1 / .3f : 0)) < 1e-6f);
        }
        graph_free(g);
    }
}
static void draws(void **state) { (void)state; in_both_classes(draws_of_the_host); }

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nan_stays), cmocka_unit_test(infinities), cmocka_unit_test(bad_losses),
        cmocka_unit_test(sums), cmocka_unit_test(long_sums), cmocka_unit_test(draws),
    };
    say_setup((struct say_options){ SAY_QUIET, 0, true });
    return cmocka_run_group_tests(tests, open_device, close_device);
}
