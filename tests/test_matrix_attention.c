/* test_matrix_attention.c: attention on matrix engines (cl/gpu/attention_matrix.cl), each vendor's data layout
 * emulated, against loops in double: its values and its gradient, with rows and channels that fill no block. */
#include "engine.h"
#include "autograd/autograd.h"
#include "fuse/fuse.h"
#include "op/op.h"

enum { HEADS = 2, MOST_N = 80, MOST_D = 40, ROOM = MOST_N * 3 * HEADS * MOST_D };
struct size { i64 n, d; };                        /* rows, channels of a head */

static f32 qkv[ROOM], dout[ROOM], out[ROOM], dqkv[ROOM];
static f64 want[3][MOST_N][MOST_D], bound[3][MOST_N][MOST_D], value[MOST_N][MOST_D], off[MOST_N][MOST_D];

static f64 at(const f32 *x, const struct size *s, i64 i, i64 part, i64 head, i64 c)
{
    return (f64)x[(i * 3 + part) * HEADS * s->d + head * s->d + c];
}

static f64 dot(const struct size *s, i64 i, i64 j, i64 head, i64 a, i64 b)
{
    f64 sum = 0;
    LOOP(c, s->d)
        sum += at(qkv, s, i, a, head, c) * at(qkv, s, j, b, head, c);
    return sum;
}

/* One head: value[i][c], and in `off` what rounding p and the result to `unit` may make of it. */
static void plain_row(const struct size *s, i64 head, i64 i, f64 unit, f64 *p)
{
    f64 scale = 1 / sqrt((f64)s->d), total = 0;
    LOOP(j, s->n)
        total += p[j] = exp(dot(s, i, j, head, 0, 1) * scale);
    LOOP(c, s->d) {
        value[i][c] = off[i][c] = 0;
        LOOP(j, s->n) {
            value[i][c] += p[j] / total * at(qkv, s, j, 2, head, c);
            off[i][c] += p[j] / total * fabs(at(qkv, s, j, 2, head, c));
        }
        off[i][c] = unit * (off[i][c] + fabs(value[i][c]));
    }
    LOOP(j, s->n)
        p[j] /= total;
}

static f64 grad_at(const struct size *s, i64 i, i64 head, i64 c)
{
    return (f64)dout[(i * HEADS + head) * s->d + c];
}

/* The same backward: row i's share of dq, dk and dv. Each of p, dS and out is rounded once. */
static void plain_grad(const struct size *s, i64 head, i64 i, f64 unit, const f64 *p)
{
    f64 scale = 1 / sqrt((f64)s->d), inner = 0, size = 0;
    LOOP(c, s->d) {
        inner += grad_at(s, i, head, c) * value[i][c];
        size += fabs(grad_at(s, i, head, c)) * (fabs(value[i][c]) + off[i][c] / unit);
    }
    LOOP(j, s->n) {
        f64 g = 0;
        LOOP(c, s->d)
            g += grad_at(s, i, head, c) * at(qkv, s, j, 2, head, c);
        f64 ds = p[j] * (g - inner) * scale, slack = unit * p[j] * (fabs(g) + fabs(inner) + size) * scale;
        LOOP(c, s->d) {
            want[0][i][c] += ds * at(qkv, s, j, 1, head, c);
            bound[0][i][c] += slack * fabs(at(qkv, s, j, 1, head, c));
            want[1][j][c] += ds * at(qkv, s, i, 0, head, c);
            bound[1][j][c] += slack * fabs(at(qkv, s, i, 0, head, c));
            want[2][j][c] += p[j] * grad_at(s, i, head, c);
            bound[2][j][c] += unit * p[j] * fabs(grad_at(s, i, head, c));
        }
    }
}

static void check_head(const struct size *s, i64 head, f64 unit, const char *name)
{
    f64 p[MOST_N];
    memset(want, 0, sizeof want);
    memset(bound, 0, sizeof bound);
    LOOP(i, s->n) {
        plain_row(s, head, i, unit, p);
        LOOP(c, s->d) {
            f64 got = (f64)out[(i * HEADS + head) * s->d + c];
            if (!(fabs(got - value[i][c]) <= off[i][c] + 1e-6))
                fail_msg("%s, %d x %d: out[%d][%d] is %g, want %g", name, (int)s->n, (int)s->d, (int)i, (int)c,
                         got, value[i][c]);
        }
        plain_grad(s, head, i, unit, p);
    }
    LOOP(part, 3) LOOP(i, s->n) LOOP(c, s->d) {
        f64 got = at(dqkv, s, i, part, head, c), y = want[part][i][c];
        if (!(fabs(got - y) <= bound[part][i][c] + unit * fabs(y) + 1e-6))
            fail_msg("%s, %d x %d: d%c[%d][%d] is %g, want %g within %g", name, (int)s->n, (int)s->d,
                     "qkv"[part], (int)i, (int)c, got, y, bound[part][i][c]);
    }
}

static void check_launches(const graph *g)
{
    int n = 0;
    for (int i = 0; i < launches_count(g->list); i++)
        n += !strcmp(launches_at(g->list, i)->file, "attention_matrix");
    assert_int_equal(n, 3);
}

static void fill_rounded(f32 *x, i64 n, u32 seed, enum dtype t)
{
    rng r = rng_at(8, RNG_TEST, seed, 0);
    LOOP(i, n)
        x[i] = nearest((f32)rng_normal(&r), t);
}

static void run_case(const struct size *s, enum dtype t, const char *name)
{
    graph *g = graph_new(device);
    g->half = t;
    node *x = graph_input(g, "qkv", F32, SHAPE(1, s->n, 3 * HEADS * s->d)), *dx;
    node *dy = graph_input(g, "dout", F32, SHAPE(1, s->n, HEADS * s->d)), *y = op_attention(x, HEADS);
    grad_build_from(y, dy, &x, 1, &dx);
    y = node_keep(op_copy(y));
    dx = node_keep(op_copy(dx));
    simplify_graph(g);
    assert_int_equal(graph_compile(g), 0);
    check_launches(g);
    fill_rounded(qkv, node_count(x), 1, t);
    fill_rounded(dout, node_count(dy), 2, t);
    if (node_write(x, qkv) || node_write(dy, dout) || graph_run(g) || node_read(y, out) || node_read(dx, dqkv))
        fail_msg("%s: %s", name, fail_message());
    LOOP(head, HEADS)
        check_head(s, head, t == F16 ? 0x1p-11 : 0x1p-8, name);
    graph_free(g);
}

static void test_attention(void **state)
{
    dev *before = device;
    device = open_engine(*state);
    const char *name = dev_matrix(device)->title;
    run_case(&(struct size){ 37, 24 }, BF16, name);          // one group, channels below a block
    run_case(&(struct size){ 77, 38 }, F16, name);           // two groups, rows that begin at odd pairs
    dev_close(device);
    device = before;
}

int main(void)
{
#define ENGINE_TEST(fake) { "test_attention " fake, test_attention, NULL, NULL, fake }
    const struct CMUnitTest tests[] = { ENGINE_TEST("matrix=1"), ENGINE_TEST("matrix=2"),
                                        ENGINE_TEST("matrix=3"), ENGINE_TEST("matrix=4") };
    say_setup((struct say_options){ SAY_NORMAL, 0, true });
    return cmocka_run_group_tests(tests, open_device, close_device);
}
