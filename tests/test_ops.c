/* test_ops.c: every op against plain C loops in double, at nasty sizes; its gradient along a random direction
 * against central differences of those loops; the same planned and unplanned, joined and unjoined, override
 * and generic kernels. Outputs are poisoned with NaN first. Cases: ops_cases.def. */
#include "on_device.h"
#include "autograd/autograd.h"
#include "fuse/fuse.h"
#include "study/nodecheck.h"
#include <math.h>
#include <stdlib.h>

#include "ops_plain.h"

static node *build_routing(node **x, bool entmax)
{
    node *t_disp = op_offset(op_square(x[1]), 1), *t_comb = op_offset(op_square(x[2]), 1);
    struct routing r = op_route(x[0], t_disp, t_comb, NULL, entmax);
    return op_add(op_scale(r.disp, 2), r.comb);
}

/* ---- map.def as C: f_NAME the values, d_NAME, da_NAME, db_NAME the derivatives -----------------------*/

static f64 gelu(f64 x) { return plain_phi(x); }
static f64 gelu_grad(f64 x) { return 0.5 * (1 + erf(x / sqrt(2))) + x * exp(-x * x / 2) / sqrt(2 * M_PI); }
#define MAP0(name, y)
#define MAP1(name, f, dx) \
    static f64 f_##name(f64 x, f64 c) { (void)c, (void)x; return f; } \
    static f64 d_##name(f64 x, f64 y, f64 c) { f64 dy = 1; (void)c, (void)x, (void)y, (void)dy; return dx; }
#define MAP2(name, f, da, db) \
    static f64 f_##name(f64 a, f64 b) { return f; } \
    static f64 da_##name(f64 a, f64 b, f64 y) \
        { f64 dy = 1; (void)a, (void)b, (void)y, (void)dy; return da; } \
    static f64 db_##name(f64 a, f64 b, f64 y) \
        { f64 dy = 1; (void)a, (void)b, (void)y, (void)dy; return db; }
#include "op/map.def"
#undef MAP0
#undef MAP1
#undef MAP2

/* Operands between 0.5 and 1.5, which every formula takes. */
static f64 near_1(f64 x) { return 0.5 * tanh(x) + 1; }
static node *op_near_1(node *x) { return op_offset(op_scale(op_tanh(x), .5f), 1); }
#define MAP0(name, y)
#define MAP1(name, f, dx) \
    PLAIN(row_##name) { LOOP(i, N(0)) y[i] = f_##name(near_1(x[0][i]), (f64).7f) + near_1(x[0][i]); }
#define MAP2(name, f, da, db) \
    PLAIN(row_##name) { LOOP(i, N(0)) y[i] = f_##name(near_1(x[0][i]), near_1(x[1][i])); }
#include "op/map.def"
#undef MAP0
#undef MAP1
#undef MAP2
#define ACT(name, value, slope) PLAIN(act_##name) { LOOP(i, N(0)) y[i] = f_##name(x[0][i], 0); }
#include "cl/act.def"
#undef ACT
#define ACT(name, value, slope) \
    PLAIN(linear_##name) \
    { \
        plain_matmul_tb(x, s, y); \
        LOOP(i, N(0) / A(1) * 7) y[i] = f_##name(y[i], 0); \
    }
#include "cl/act.def"
#undef ACT

/* ---- running a case ------------------------------------------------------------------------------------ */

struct test_case {
    const char *op, *name;
    int  (*shapes)(i64 r, i64 c, struct shape *s);
    node *(*build)(node **x, i64 r, i64 c);
    void (*plain)(in x, const struct shape *s, f64 *y);
    f64  tolerance, grad_tolerance;
};

#define SHAPES(...) \
    memcpy(s, ((struct shape[]){ __VA_ARGS__ }), sizeof((struct shape[]){ __VA_ARGS__ })); \
    return countof(((struct shape[]){ __VA_ARGS__ }))
#define CASE(op, name, shapes, expr, plain, tol, gtol) \
    static int shapes_##name(i64 r, i64 c, struct shape *s) { (void)r, (void)c; shapes; } \
    static node *build_##name(node **x, i64 r, i64 c) { (void)r, (void)c; return expr; }
#define NO_CASE(op, why)
#include "ops_cases.def"
#undef CASE
#undef NO_CASE

static const struct test_case cases[] = {
#define CASE(op, name, shapes, expr, plain, tol, gtol) \
    { #op, #name, shapes_##name, build_##name, plain, tol, gtol },
#define NO_CASE(op, why) { #op, NULL },
#include "ops_cases.def"
#undef CASE
#undef NO_CASE
};

static void close_to(const f32 *got, const f64 *want, i64 n, f64 tolerance, const char *what, i64 r, i64 c)
{
    f64 top = 0;
    LOOP(i, n) top = fmax(top, fabs(want[i]));
    LOOP(i, n)
        if (!(fabs((f64)got[i] - want[i]) <= tolerance * top + (tolerance > 0 ? 1e-6 : 0)))
            fail_msg("%s, r %d c %d: element %d of %d: got %.9g, want %.9g (largest %.3g)", what, (int)r,
                     (int)c, (int)i, (int)n, (f64)got[i], want[i], top);
}

static f64 dot_plain(const struct test_case *t, f64 *const *x, const struct shape *s, const f64 *cot, i64 n,
                     f64 *y)
{
    f64 sum = 0;
    t->plain((in)x, s, y);
    LOOP(i, n) sum += y[i] * cot[i];
    return sum;
}

/* What activations are stored in. Operands are then half too: of values that the type holds exactly, so that
 * what is wrong is the rounding of results (and of what is stored between an op's own nodes). */
static enum dtype half = F32;

static f64 half_unit(void) { return half == F16 ? 0x1p-11 : half == BF16 ? 0x1p-8 : 0; }

static f32 as_stored(f32 x)
{
    int exponent;
    f64 mantissa = frexp((f64)x, &exponent), steps = half == F16 ? 0x1p11 : 0x1p8;
    return half == F32 ? x : (f32)ldexp(nearbyint(mantissa * steps) / steps, exponent);
}

/* A half copy that is read as such, and (nothing more is read of it) makes n half. */
static node *stored(node *n) { return half == F32 ? n : node_keep(op_copy(n)); }

/* The ops' own loops in double (op->host) say what these kernels give, of forward and backward part: both
 * are right. */
static bool by_host;

static void check_host(const struct test_case *t, arena *a, graph *g, i64 r, i64 c)
{
    struct kernel_checks k = kernel_checks_new(a);
    if (nodecheck_graph(&k, g, half_unit() > 0 ? half_unit() : 0x1p-24) || k.unknown || !k.nodes || k.first)
        fail_msg("%s r %d c %d: %d nodes, %d without loops: %s", t->name, (int)r, (int)c, k.nodes, k.unknown,
                 k.first ? k.first : fail_message());
}

static void run_case(const struct test_case *t, i64 r, i64 c)
{
    arena *a = arena_open("case");
    struct shape s[4];
    int n = t->shapes(r, c, s);
    graph *g = graph_new(device);
    node *x[4], *grad[4], *given[4];
    g->half = half;
    f64 *v[4], *dir[4];
    rng random = rng_at((u64)(r * 1000 + c), RNG_TEST, 0, 0);
    for (int k = 0; k < n; k++)
        given[k] = stored(x[k] = graph_input(g, "x", F32, s[k]));
    node *y = node_keep(t->build(given, r, c));
    stored(y);
    node *cot = graph_input(g, "cot", F32, y->shape);
    i64 count = node_count(y);
    if (count > 0)
        grad_build_from(y, stored(cot), x, n, grad);
    for (int k = 0; k < n; k++) {
        grad[k] = grad[k]->fixed ? node_keep(op_copy(grad[k])) : node_keep(grad[k]);
        stored(grad[k]);
    }
    simplify_graph(g);
    if (graph_compile(g))
        fail_msg("%s r %d c %d: %s", t->name, (int)r, (int)c, fail_message());

    f32 *host = arena_array(a, f32, 1 << 20);
    f64 *want = arena_array(a, f64, count), *cotangent = arena_array(a, f64, count);
    f64 expect = 0, got = 0, scale = 0;
    for (int s_ = 0; s_ < g->plan->n_slabs; s_++)
        mem_fill(device, (range){ g->slabs[s_], 0, mem_bytes(g->slabs[s_]) }, 0x7fc00000);      // NaN
    for (int k = 0; k <= n; k++) {
        i64 size = k < n ? N(k) : count;
        check(size <= 1 << 20, "test too large: %d", (int)size);
        f64 *into = k < n ? (v[k] = arena_array(a, f64, size)) : cotangent;
        LOOP(i, size) into[i] = host[i] = as_stored((f32)rng_normal(&random));
        node_write(k < n ? x[k] : cot, host);
    }
    if (graph_run(g) || node_read(y, host))
        fail_msg("%s: %s", t->name, fail_message());
    t->plain((in)v, s, want);
    close_to(host, want, count, t->tolerance + 4 * half_unit(), t->name, r, c);

    const f64 h = 1e-5;
    for (int k = 0; k < n; k++) {
        dir[k] = arena_array(a, f64, N(k));
        node_read(grad[k], host);
        f64 part = 0;
        LOOP(i, N(k)) {
            dir[k][i] = rng_normal(&random);
            part += dir[k][i] * (f64)host[i];
            scale += fabs(dir[k][i] * (f64)host[i]);
        }
        got += part;
    }
    for (int sign = -1; sign <= 1; sign += 2) {
        for (int k = 0; k < n; k++)
            LOOP(i, N(k)) v[k][i] += sign * h * dir[k][i] * (sign > 0 ? 2 : 1);
        expect += sign * dot_plain(t, v, s, cotangent, count, want) / (2 * h);
    }
    if (!(fabs(got - expect) <= (t->grad_tolerance + 4 * half_unit()) * fmax(scale, fabs(expect)) + 1e-5))
        fail_msg("%s, r %d c %d: directional derivative %.9g, want %.9g (sum of magnitudes %.3g)", t->name,
                 (int)r, (int)c, got, expect, scale);
    if (by_host)
        check_host(t, a, g, r, c);
    graph_free(g);
    arena_close(a);
}

static const i64 sizes[] = { 1, 2, 31, 32, 33, 63, 64, 65, 37 };

static bool tiny;                                 // few and small: for oclgrind (test_races.sh)

static void run_all(const struct test_case *t)
{
    if (tiny) {
        run_case(t, 7, 19);
        run_case(t, 70, 19);
        return;
    }
    for (int i = 0; i < countof(sizes); i++) {
        run_case(t, sizes[i], sizes[(i * 5 + 3) % countof(sizes)]);
        run_case(t, sizes[(i * 4 + 1) % countof(sizes)], sizes[i]);
    }
    run_case(t, 5, 331);
}

static void test_case_plain(void **state)   { run_all(*state); }

static void with_trace(const char *trace)
{
    trace_set(trace);
    for (int i = 0; i < countof(cases); i++)
        if (cases[i].name) {
            run_case(&cases[i], 33, 65);
            run_case(&cases[i], 7, 17);
        }
    trace_set("");
}
/* Most of the time here is the compiler's. What a run in float uses is built as there; the generic kernels and
 * those of half types without optimisation, as a GPU's are (dev_force_class): their values are held to the same
 * loops in double. */
static void optimise(bool on)
{
    static bool off;                              // by us: a setting of the caller's stays
    if (on && off)
        unsetenv("JETCL_CL_OPTIONS");
    off = !on && !getenv("JETCL_CL_OPTIONS") && !setenv("JETCL_CL_OPTIONS", "-cl-opt-disable", 0);
}

static void test_no_plan(void **state)  { (void)state; with_trace("no_plan"); }
static void test_no_join(void **state)  { (void)state; with_trace("no_join"); }
static void test_no_class(void **state)
{
    (void)state;
    optimise(false);
    with_trace("no_class");
    optimise(true);
}

static void other_class(enum dev_class class)
{
    dev *usual = device;
    device = dev_open(NULL);
    assert_non_null(device);
    dev_force_class(device, class);
    for (int i = 0; i < countof(cases); i++)
        if (cases[i].name) {
            run_case(&cases[i], 33, 65);
            run_case(&cases[i], 5, 131);
            run_case(&cases[i], 1000, 3);         // many rows for a group
            run_case(&cases[i], 40, 300);
        }
    dev_close(device);
    device = usual;
}
static void test_gpu_class(void **state) { (void)state; other_class(DEV_GPU); }

/* Every op has loops of its own, and they say what its kernels do: of this class, and of a GPU's. */
static void test_hosts(void **state)
{
    (void)state;
    dev *usual = device;
    by_host = true;
    for (int class = 0; class < 2; class++) {
        for (int i = 0; i < countof(cases); i++)
            if (cases[i].name)
                run_case(&cases[i], 33, 65);
        device = class ? device : dev_open(NULL);
        assert_non_null(device);
        dev_force_class(device, DEV_GPU);
    }
    by_host = false;
    dev_close(device);
    device = usual;
}

/* Where groups may not read what others wrote, sums of their parts are another launch. */
static void test_gpu_apart(void **state)
{
    (void)state;
    dev *usual = device;
    setenv("JETCL_FAKE", "joins=0", 1);
    device = dev_open(NULL);
    unsetenv("JETCL_FAKE");
    assert_non_null(device);
    assert_true(dev_class(device) == DEV_GPU && !dev_info(device)->joins);
    dev_force_class(device, DEV_GPU);
    for (int i = 0; i < countof(cases); i++)
        if (cases[i].name
            && (text_starts(cases[i].name, "layernorm") || text_starts(cases[i].name, "matmul"))) {
            run_case(&cases[i], 33, 65);
            run_case(&cases[i], 1000, 3);
        }
    dev_close(device);
    device = usual;
}
static void test_cpu_class(void **state) { (void)state; other_class(DEV_CPU); }

static void test_half_types(void **state)
{
    half = *(const enum dtype *)*state;
    optimise(false);
    for (int i = 0; i < countof(cases); i++)
        if (cases[i].name && (!getenv("HALF") || !strcmp(cases[i].name, getenv("HALF")))) {
            run_case(&cases[i], 5, tiny ? 19 : 131);
            for (int k = 0; k < 2 && !tiny; k++)
                run_case(&cases[i], k ? 70 : 33, k ? 16 : 65);
        }
    optimise(true);
    half = F32;
}

static void test_every_op_has_a_case(void **state)
{
    (void)state;
    for (int i = 0; i < op_count; i++) {
        bool found = false;
        for (int k = 0; k < countof(cases); k++)
            found |= !strcmp(cases[k].op, op_list[i]->name);
        if (!found)
            fail_msg("op %s has no row in ops_cases.def", op_list[i]->name);
    }
    for (int i = 0; i < map_row_count; i++) {
        bool found = false;
        for (int k = 0; k < countof(cases); k++)
            found |= cases[k].name ? text_starts(cases[k].name, "row_") &&
                                     !strcmp(cases[k].name + 4, map_rows[i].name)
                                   : !strcmp(cases[k].op, map_rows[i].name);
        if (!found)
            fail_msg("map.def's %s has no row in ops_cases.def", map_rows[i].name);
    }
}

/* The derivative text of every row of map.def against central differences of the first. */
static void near_derivative(const char *name, f64 got, f64 up, f64 down)
{
    f64 want = (up - down) / 2e-6;
    if (!(fabs(got - want) <= 1e-6 * (1 + fabs(want))))
        fail_msg("map.def: derivative of %s is %.9g, want %.9g", name, got, want);
}

static void test_map_rows(void **state)
{
    (void)state;
    for (f64 x = 0.3; x < 3; x += 0.37) {
        f64 b = 1.7 - x * 0.4, h = 1e-6;
        (void)b;
#define MAP0(name, y)
#define MAP1(name, f, dx) \
        near_derivative(#name, d_##name(x, f_##name(x, .7), .7), f_##name(x + h, .7), f_##name(x - h, .7));
#define MAP2(name, f, da, db) \
        near_derivative(#name, da_##name(x, b, f_##name(x, b)), f_##name(x + h, b), f_##name(x - h, b)); \
        near_derivative(#name, db_##name(x, b, f_##name(x, b)), f_##name(x, b + h), f_##name(x, b - h));
#include "op/map.def"
#undef MAP0
#undef MAP1
#undef MAP2
    }
}

/* Random values: those of rng.c, wherever they are drawn; and a gradient sees the mask that
 * the result saw. */
static void test_random(void **state)
{
    (void)state;
    static f32 mask[6 * 37], y[6 * 37], dx[6 * 37], x[6 * 37], drop[6];
    static step_words step = { .u = { [STEP_NUMBER] = 5, [STEP_SEED_LO] = 77, [STEP_SEED_HI] = 3 } };
    graph *g = graph_new(device);
    node *in = graph_input(g, "x", F32, SHAPE(2, 3, 37)), *one = graph_input(g, "dy", F32, in->shape), *grad;
    node *keep = op_keep_mask(g, in->shape, .6f), *path = op_keep_mask(g, SHAPE(2, 3, 1), .5f);
    node *out = op_mul(op_mul(in, keep), path);
    grad_build_from(out, one, &in, 1, &grad);
    node_keep(out), node_keep(grad);
    node *seen = node_keep(op_mul(keep, op_offset(op_scale(in, 0), 1))), *rows = node_keep(path);
    simplify_graph(g);
    assert_int_equal(graph_compile(g), 0);
    LOOP(i, 6 * 37) x[i] = 1 + (f32)i, y[i] = 1;
    node_write(in, x), node_write(one, y);
    assert_int_equal(graph_set_step(g, &step), 0);
    assert_int_equal(graph_run(g), 0);
    node_read(seen, mask), node_read(rows, drop), node_read(out, y), node_read(grad, dx);
    LOOP(i, 6 * 37) {
        i64 at = i / 37 * 48 + i % 37;            // rows start blocks of 16
        f32 want = floorf(.6f + rng_element_unit((u64)3 << 32 | 77, RNG_NODE, 5, (u64)at)) / .6f;
        assert_true(mask[i] == want);
        f32 unit = rng_element_unit((u64)3 << 32 | 77, RNG_NODE + 1, 5, (u64)(i / 37 * 16));
        f32 row = floorf(.5f + unit) / .5f;
        assert_true(drop[i / 37] == row);
        assert_true(dx[i] == want * row);
        assert_true(fabsf(y[i] - x[i] * want * row) <= 1e-6f * x[i] * 4);
    }
    graph_free(g);
}

/* A builder's mistake is one complaint with the place, both shapes and what is wrong; nothing runs. */
static void test_complaints(void **state)
{
    (void)state;
    graph *g = graph_new(device);
    const char *old = graph_push(g, "blocks.3");
    node *a = graph_input(g, "a", F32, SHAPE(4, 5)), *b = graph_input(g, "b", F32, SHAPE(4, 7));
    op_softmax(op_matmul(a, b, 0), 9);
    graph_pop(g, old);
    assert_int_equal(graph_compile(g), -1);
    assert_string_equal(fail_message(), "blocks.3: matmul: inner axes differ: [4 5] x [4 7]");
    graph_free(g);
}

static void test_adamw(void **state)
{
    (void)state;
    enum { N_ = 3000 };
    static f32 p[N_], gr[N_], m[N_], v[N_], got[N_];
    static f32 groups[6] = { 1, .05f, .5f, 0, .25f, .1f };
    pool *pool = pool_new(device, "test");
    range rp = pool_take(pool, 4 * N_), rg = pool_take(pool, 4 * N_), rm = pool_take(pool, 4 * N_);
    range rv = pool_take(pool, 4 * N_), rt = pool_take(pool, sizeof groups);
    rng r = rng_at(9, RNG_TEST, 0, 0);
    f64 square = 0, q[N_], mm[N_], vv[N_];
    LOOP(i, N_) {
        q[i] = p[i] = (f32)rng_normal(&r), gr[i] = (f32)rng_normal(&r);
        mm[i] = m[i] = (f32)rng_normal(&r), vv[i] = v[i] = (f32)rng_unit(&r);
        square += (f64)gr[i] * (f64)gr[i];
    }
    mem_write(device, rp, p), mem_write(device, rg, gr), mem_write(device, rm, m);
    mem_write(device, rv, v), mem_write(device, rt, groups);
    graph *g = graph_new(device);
    node *sum = node_keep(op_square_sum(g, rg, N_));
    op_adamw(sum, &(struct adamw_args){ rp, rg, rm, rv, rt, N_, .9, .999, 1e-8f, 5 });
    op_add_into(g, rm, rv, N_);
    simplify_graph(g);
    assert_int_equal(graph_compile(g), 0);
    step_words w = { .f = { [STEP_LR] = .1f, [STEP_BIAS1] = 1 - .729f, [STEP_BIAS2] = 1 - .997f,
                            [STEP_GRAD_SCALE] = .5f } };
    graph_set_step(g, &w);
    assert_int_equal(graph_run(g), 0);
    f32 total;
    node_read(sum, &total);
    assert_true(fabs(total - square) < 1e-5 * square);
    f64 coef = .5 * fmin(1, 5 / (.5 * sqrt(square) + 1e-6));
    LOOP(i, N_) {
        f64 lr = (f64).1f * groups[i / 1024 * 2], wd = groups[i / 1024 * 2 + 1], gg = gr[i] * coef;
        mm[i] = .9 * mm[i] + .1 * gg;
        vv[i] = .999 * vv[i] + .001 * gg * gg;
        q[i] = q[i] * (1 - lr * wd) - lr / (1 - .729) * mm[i] / (sqrt(vv[i]) / sqrt(1 - .997) + 1e-8);
        mm[i] += vv[i];
    }
    mem_read(device, rp, got);
    close_to(got, q, N_, 5e-6, "adamw p", 0, 0);
    mem_read(device, rv, got);
    close_to(got, vv, N_, 2e-6, "adamw v", 0, 0);
    mem_read(device, rm, got);
    close_to(got, mm, N_, 2e-6, "adamw m + v", 0, 0);
    graph_free(g);
    pool_free(pool);
}

int main(void)
{
    static struct CMUnitTest tests[countof(cases) + 16];
    int n = 0;
    say_setup((struct say_options){ SAY_QUIET, 0, true });
    const char *only = getenv("ONLY");            // one case, for debugging
    for (int i = 0; i < countof(cases); i++)
        if (cases[i].name && !getenv("SOME") && (!only || !strcmp(only, cases[i].name)))
            tests[n++] = (struct CMUnitTest){ cases[i].name, test_case_plain, NULL, NULL, (void *)&cases[i] };
    static enum dtype types[] = { F16, BF16 };
    const struct CMUnitTest others[] = {
        { "half_types_f16", test_half_types, NULL, NULL, &types[0] },
        { "half_types_bf16", test_half_types, NULL, NULL, &types[1] },
        cmocka_unit_test(test_every_op_has_a_case), cmocka_unit_test(test_map_rows),
        cmocka_unit_test(test_random), cmocka_unit_test(test_complaints), cmocka_unit_test(test_adamw),
        cmocka_unit_test(test_no_plan), cmocka_unit_test(test_no_join), cmocka_unit_test(test_no_class),
        cmocka_unit_test(test_gpu_class), cmocka_unit_test(test_gpu_apart), cmocka_unit_test(test_cpu_class),
        cmocka_unit_test(test_hosts) };
    tiny = getenv("TINY");
    const char *some = getenv("SOME");            // others whose names have this in it
    for (int i = 0; i < (tiny ? 7 : countof(others)) && !only; i++)
        if (!some || strstr(others[i].name, some))
            tests[n++] = others[i];
    return _cmocka_run_group_tests("ops", tests, (size_t)n, open_device, close_device);
}
