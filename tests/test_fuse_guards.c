/* test_fuse_guards.c: graphs that nearly fit what core/fuse joins, each against one of its conditions:
 * joined, they must give what the same nodes give one by one (JETCL_TRACE=no_join), in the kernels of both
 * classes. */
#include "on_device.h"
#include "autograd/autograd.h"
#include "fuse/fuse.h"
#include <math.h>
#include <stdlib.h>

enum { MOST = 8192, OUTS = 8 };
struct built { graph *g; node *in[16], *out[OUTS]; int n_in, n_out; pool *homes; range home[OUTS]; };

static node *given(struct built *b, struct shape s)
{
    return b->in[b->n_in++] = graph_input(b->g, "x", F32, s);
}
#define IN(...) given(b, SHAPE(__VA_ARGS__))

/* Read after the run; returns n, which others may read as well. */
static node *seen(struct built *b, node *n)
{
    b->out[b->n_out++] = node_keep(n->op->flags & (OP_LEAF | OP_ALIAS) ? op_copy(n) : n);
    return n;
}

static void grads(struct built *b, node *y, int n)
{
    node *dx[16];
    grad_build_from(y, op_square(y), b->in, n, dx);
    for (int i = 0; i < n; i++)
        seen(b, dx[i]);
}

/* Computed where its values must lie, as gradients are. */
static void placed(struct built *b, node *n)
{
    if (!b->homes)
        b->homes = pool_new(device, "test");
    b->home[b->n_out] = pool_take(b->homes, node_bytes(n));
    b->out[b->n_out] = simplify_place(n, b->home[b->n_out]);
    b->n_out++;
}

/* ---- products ------------------------------------------------------------------------------------------ */

static node *product(struct built *b) { return op_matmul(IN(6, 5), IN(7, 5), TRANS_B); }

#define GRAPH(name, ...) static void name(struct built *b) { __VA_ARGS__ }
GRAPH(two_biases, seen(b, op_add(op_add(product(b), IN(7)), IN(7)));)
GRAPH(bias_and_residual, seen(b, op_add(op_add(product(b), IN(7)), IN(6, 7)));)
GRAPH(residual_and_bias, seen(b, op_add(op_add(product(b), IN(6, 7)), IN(7)));)
GRAPH(two_residuals, seen(b, op_add(op_add(product(b), IN(6, 7)), IN(6, 7)));)
GRAPH(bias_after_gelu, seen(b, op_add(op_gelu(product(b)), IN(7)));)
GRAPH(residual_after_gelu, seen(b, op_add(op_gelu(product(b)), IN(6, 7)));)
GRAPH(gelu_after_residual, seen(b, op_gelu(op_add(product(b), IN(6, 7))));)
GRAPH(gelu_twice, seen(b, op_gelu(op_gelu(product(b))));)
GRAPH(itself_added, node *p = product(b); seen(b, op_add(p, p));)
GRAPH(two_products_added, node *p = product(b); seen(b, op_add(p, product(b)));)
GRAPH(kept_before_bias, seen(b, op_add(seen(b, product(b)), IN(7)));)
GRAPH(kept_before_gelu, seen(b, op_gelu(seen(b, product(b))));)
GRAPH(placed_before_bias, node *p = product(b); placed(b, p); seen(b, op_add(p, IN(7)));)
GRAPH(placed_before_gelu, node *p = product(b); placed(b, p); seen(b, op_gelu(p));)
GRAPH(two_readers, node *p = product(b); seen(b, op_add(p, IN(7))); seen(b, op_mul(p, IN(6, 7)));)
GRAPH(a_column_is_no_bias, seen(b, op_add(product(b), IN(6, 1)));)
GRAPH(a_number_is_no_bias, seen(b, op_add(product(b), IN(1)));)
GRAPH(one_row_for_many, seen(b, op_add(op_matmul(IN(1, 5), IN(7, 5), TRANS_B), IN(6, 7)));)
GRAPH(batched_bias, seen(b, op_add(op_matmul(IN(2, 3, 5), IN(2, 7, 5), TRANS_B), IN(2, 1, 7)));)
GRAPH(bias_of_a_batch_of_rows, seen(b, op_add(op_matmul(IN(2, 3, 5), IN(7, 5), TRANS_B), IN(2, 1, 7)));)
GRAPH(bias_of_each_row, seen(b, op_add(op_matmul(IN(2, 3, 5), IN(2, 7, 5), TRANS_B), IN(1, 3, 7)));)
GRAPH(square_bias, seen(b, op_add(op_matmul(IN(7, 5), IN(7, 5), TRANS_B), IN(7, 1)));)
GRAPH(later_residual, node *p = product(b), *r = op_square(IN(6, 7)); seen(b, op_add(r, p));)
GRAPH(reader_before_gelu,
    node *p = product(b), *q = op_square(p); seen(b, op_add(op_gelu(p), op_scale(q, 2)));)
GRAPH(reader_after_gelu, node *p = product(b), *y = op_gelu(p); seen(b, op_mul(y, op_exp(p)));)
GRAPH(two_gelus, node *p = product(b); seen(b, op_gelu(p)); seen(b, op_scale(op_gelu(p), 3));)
GRAPH(mlp_gradient,
    node *y = op_gelu(op_add(product(b), IN(7))); seen(b, y); grads(b, op_matmul(y, IN(7, 4), 0), 4);)
GRAPH(third_reader_of_the_slope,
    node *p = op_add(product(b), IN(7)); node *y = op_mul(op_gelu(p), op_tanh(p)); grads(b, y, 3);)
GRAPH(slope_read_by_the_loss,
    node *p = product(b); grads(b, op_add(op_gelu(p), op_scale(p, .5f)), 2);)
GRAPH(slope_of_the_forward_kept, node *p = op_add(product(b), IN(7)); seen(b, p); grads(b, op_gelu(p), 3);)
GRAPH(gradient_kept_before_slope,
    node *x = IN(6, 5), *w = IN(7, 5), *v = IN(4, 7), *p = op_matmul(x, w, TRANS_B), *y = op_gelu(p), *dy;
    grad_build_from(op_matmul(y, v, TRANS_B), IN(6, 4), &y, 1, &dy);
    seen(b, dy);
    node *dx; grad_build_from(y, dy, &x, 1, &dx); seen(b, dx);)
GRAPH(other_gelus_slope,
    node *p = product(b), *q = product(b), *y = op_add(op_gelu(p), op_mul(op_gelu(q), p)); grads(b, y, 4);)

/* ---- sums ---------------------------------------------------------------------------------------------- */

GRAPH(column_sums,
    node *a = IN(70, 6), *y = op_matmul(a, IN(70, 5), TRANS_A);
    seen(b, y); seen(b, op_sum(a, 0));)
GRAPH(column_sums_read,
    node *a = IN(70, 6), *s = op_sum(a, 0); node *y = op_matmul(a, IN(70, 5), TRANS_A);
    seen(b, y); seen(b, s); seen(b, op_exp(s));)
GRAPH(column_sums_read_before,
    node *a = IN(70, 6), *e = op_softmax(op_sum(a, 0), 1); node *y = op_matmul(a, IN(70, 5), TRANS_A);
    seen(b, y); seen(b, e);)
GRAPH(sums_of_another,
    node *a = IN(70, 6), *c = IN(70, 6); seen(b, op_matmul(a, IN(70, 5), TRANS_A)); seen(b, op_sum(c, 0));)
GRAPH(sums_of_the_right_operand,
    node *a = IN(70, 6), *c = IN(70, 6); seen(b, op_matmul(a, c, TRANS_A)); seen(b, op_sum(c, 0));)
GRAPH(sums_of_rows,
    node *a = IN(6, 6); seen(b, op_matmul(a, IN(6, 6), TRANS_A)); seen(b, op_sum(a, 1));)
GRAPH(sums_for_two_products,
    node *a = IN(70, 6); seen(b, op_matmul(a, IN(70, 5), TRANS_A)); seen(b, op_matmul(a, IN(70, 4), TRANS_A));
    seen(b, op_sum(a, 0)); seen(b, op_sum(a, 0));)
GRAPH(sums_of_a_view,
    node *a = IN(2, 35, 6), *f = op_reshape(a, SHAPE(70, 6));
    seen(b, op_matmul(f, IN(70, 5), TRANS_A)); seen(b, op_sum(op_reshape(a, SHAPE(70, 6)), 0));)
GRAPH(sums_of_all_but_one_axis,
    node *a = IN(2, 35, 6); seen(b, op_matmul(op_reshape(a, SHAPE(70, 6)), IN(70, 5), TRANS_A));
    seen(b, op_sum(a, 1));)
GRAPH(bias_gradients, grads(b, op_add(op_matmul(IN(70, 5), IN(7, 5), TRANS_B), IN(7)), 3);)

/* ---- layernorm ----------------------------------------------------------------------------------------- */

static node *norm(struct built *b, node *x) { return op_layernorm(x, IN(17), IN(17), 1e-2f); }
GRAPH(norm_and_past, node *x = IN(9, 17); grads(b, op_add(x, op_gelu(norm(b, x))), 3);)
GRAPH(norm_past_twice,
    node *x = IN(9, 17); grads(b, op_add(op_add(x, norm(b, x)), op_square(x)), 3);)
GRAPH(two_norms_of_one, node *x = IN(9, 17), *y = norm(b, x); grads(b, op_add(op_mul(y, norm(b, x)), x), 5);)
GRAPH(norm_first_in_the_sum, node *x = IN(9, 17), *y = norm(b, x); grads(b, op_add(y, op_tanh(x)), 3);)
GRAPH(norms_gradient_read_twice,
    node *x = IN(9, 17), *y = norm(b, x), *dx;
    grad_build_from(y, IN(9, 17), &x, 1, &dx);
    seen(b, op_add(op_exp(x), dx)); seen(b, op_square(dx));)
GRAPH(norms_gradient_kept,
    node *x = IN(9, 17), *y = norm(b, x), *dx, *past = op_square(x);
    grad_build_from(y, IN(9, 17), &x, 1, &dx);
    seen(b, op_add(past, seen(b, dx)));)
GRAPH(past_comes_later,
    node *x = IN(9, 17), *y = norm(b, x), *dx;
    grad_build_from(y, IN(9, 17), &x, 1, &dx);
    seen(b, op_add(op_tanh(x), dx));)
GRAPH(past_is_a_row,
    node *x = IN(9, 17), *y = norm(b, x), *row = op_square(IN(17)), *dx;
    grad_build_from(y, IN(9, 17), &x, 1, &dx);
    seen(b, op_add(row, dx));)
GRAPH(past_twice,
    node *x = IN(9, 17), *y = norm(b, x), *p = op_square(x), *q = op_tanh(x), *dx;
    grad_build_from(y, IN(9, 17), &x, 1, &dx);
    seen(b, op_add(op_add(p, dx), q));)
GRAPH(past_is_a_products_second_result,
    node *x = IN(9, 17), *p = op_matmul(x, IN(17, 17), TRANS_B), *y = op_gelu(p), *z = norm(b, y), *dx;
    grad_build_from(z, IN(9, 17), &y, 1, &dx);
    seen(b, op_add(p, dx));)

/* ---- pads ---------------------------------------------------------------------------------------------- */

/* The gradient of two slices of six rows. */
static void slices(struct built *b, i64 from1, i64 n1, i64 from2, i64 n2)
{
    node *x = IN(6, 4), *u = op_slice(x, 0, from1, n1), *v = op_slice(x, 0, from2, n2), *all[2], *dx[2];
    all[0] = op_sum(op_reshape(op_exp(u), SHAPE(-1)), 0);
    all[1] = op_sum(op_reshape(op_square(v), SHAPE(-1)), 0);
    grad_build_from(op_add(all[0], all[1]), IN(1), &x, 1, dx);
    seen(b, dx[0]);
}
GRAPH(halves, slices(b, 0, 3, 3, 3);)
GRAPH(unequal_parts, slices(b, 0, 2, 2, 4);)
GRAPH(parts_backwards, slices(b, 4, 2, 0, 4);)
GRAPH(parts_that_overlap, slices(b, 0, 4, 2, 4);)
GRAPH(parts_with_a_gap, slices(b, 0, 2, 3, 3);)
GRAPH(a_part_twice, slices(b, 0, 3, 0, 3);)
GRAPH(parts_that_end_early, slices(b, 0, 2, 2, 3);)
GRAPH(parts_that_start_late, slices(b, 1, 2, 3, 3);)
GRAPH(pads_of_columns, node *p = op_pad(IN(3, 2), 1, 0, 5); seen(b, op_add(p, op_pad(IN(3, 3), 1, 2, 5)));)
GRAPH(pads_flat, node *p = op_pad(IN(10), 0, 0, 25); seen(b, op_add(p, op_pad(IN(15), 0, 10, 25)));)
GRAPH(pads_flat_backwards, node *p = op_pad(IN(15), 0, 10, 25); seen(b, op_add(op_pad(IN(10), 0, 0, 25), p));)
GRAPH(a_pad_kept,
    node *p = seen(b, op_pad(IN(10), 0, 0, 25)); seen(b, op_add(p, op_pad(IN(15), 0, 10, 25)));)
GRAPH(a_pad_read_twice,
    node *p = op_pad(IN(10), 0, 0, 25), *q = op_pad(IN(15), 0, 10, 25); seen(b, op_add(p, q));
    seen(b, op_exp(q));)
GRAPH(a_pads_view_read_twice,
    node *p = op_reshape(op_pad(IN(10), 0, 0, 25), SHAPE(5, 5));
    node *q = op_reshape(op_pad(IN(15), 0, 10, 25), SHAPE(5, 5));
    seen(b, op_add(p, q)); seen(b, op_exp(q)); seen(b, op_exp(p));)
GRAPH(a_pad_added_to_others, node *p = op_pad(IN(10), 0, 0, 25); seen(b, op_add(p, IN(25)));)
GRAPH(a_pad_broadcast,
    node *p = op_pad(IN(10), 0, 0, 25), *q = op_reshape(op_pad(IN(15), 0, 10, 25), SHAPE(25, 1));
    seen(b, op_add(p, q));)

/* ---- chains -------------------------------------------------------------------------------------------- */

GRAPH(a_long_chain, node *x = IN(5, 9); LOOP(i, 60) x = op_offset(op_scale(x, .9f), .1f * (f32)i); seen(b, x);)
GRAPH(many_operands, node *x = IN(5, 9); LOOP(i, 14) x = op_add(x, op_mul(IN(5, 9), x)); seen(b, x);)
GRAPH(kept_in_the_middle, seen(b, op_exp(seen(b, op_tanh(op_scale(IN(5, 9), 2)))));)
GRAPH(placed_in_the_middle, node *m = op_tanh(op_scale(IN(5, 9), 2)); placed(b, m); seen(b, op_exp(m));)
GRAPH(read_twice_in_the_middle, node *m = op_tanh(IN(5, 9)); seen(b, op_sub(op_exp(m), op_square(m)));)
GRAPH(the_same_operand_twice, node *m = op_tanh(IN(5, 9)); seen(b, op_mul(m, m));)
GRAPH(operands_exchanged,
    node *x = IN(5, 9), *y = IN(5, 9); seen(b, op_sub(op_div(op_exp(y), op_exp(x)), op_sub(x, y)));)
GRAPH(rows_and_columns,
    node *r = op_exp(IN(9)), *c = op_tanh(IN(5, 1)); seen(b, op_add(op_mul(IN(5, 9), r), op_sub(c, r)));)
GRAPH(a_row_made_wide_late,
    node *r = op_square(op_exp(IN(1, 9))); seen(b, op_sub(op_mul(r, IN(5, 9)), op_scale(r, 2)));)
GRAPH(read_before_and_after,
    node *x = op_tanh(IN(5, 9)), *s = op_softmax(x, 1); seen(b, op_mul(x, s)); seen(b, op_exp(op_sub(x, s)));)
GRAPH(random_drawn_twice,
    node *m = op_keep_mask(b->g, SHAPE(5, 9), .5f); seen(b, op_mul(IN(5, 9), m)); seen(b, op_mul(IN(5, 9), m));)
GRAPH(random_in_both_operands,
    node *m = op_normal(b->g, SHAPE(5, 9), 1); seen(b, op_sub(op_exp(m), op_square(m)));)
GRAPH(two_randoms, seen(b, op_sub(op_normal(b->g, SHAPE(5, 9), 2), op_normal(b->g, SHAPE(5, 9), 3)));)
GRAPH(random_rows, seen(b, op_mul(IN(5, 9), op_keep_mask(b->g, SHAPE(5, 1), .5f)));)
GRAPH(random_kept, node *m = seen(b, op_normal(b->g, SHAPE(5, 9), 1)); seen(b, op_add(IN(5, 9), m));)
GRAPH(random_in_a_gradient,
    node *x = IN(5, 9), *m = op_keep_mask(b->g, x->shape, .6f); seen(b, m);
    grads(b, op_mul(op_exp(x), m), 1);)
GRAPH(random_of_a_random_size,
    node *m = op_normal(b->g, SHAPE(9), 1); seen(b, op_add(op_mul(IN(5, 9), m), op_scale(m, 2)));)
GRAPH(kept_and_placed, node *m = op_exp(IN(5, 9)); seen(b, m); placed(b, m); placed(b, op_square(m));)
GRAPH(placed_views,
    node *x = IN(5, 9), *m = op_exp(x);
    placed(b, op_reshape(m, SHAPE(9, 5))); placed(b, op_view(x, 16, SHAPE(8)));)
GRAPH(placed_twice, node *m = op_exp(IN(5, 9)); placed(b, m); placed(b, m);)
GRAPH(placed_leaf, placed(b, IN(5, 9));)
GRAPH(placed_concatenation,
    node *x = op_exp(IN(5, 9)); placed(b, op_concat(x, op_square(IN(3, 9)), 0)); seen(b, x);)
GRAPH(written_over,
    node *x = op_exp(IN(5, 9)), *y = op_reshape(x, SHAPE(9, 5)), *z = op_softmax(y, 1);
    seen(b, op_mul(op_reshape(z, SHAPE(5, 9)), x)); seen(b, op_tanh(y));)

static const struct { const char *name; void (*build)(struct built *b); } graphs[] = {
#define ROW(name) { #name, name }
    ROW(two_biases), ROW(bias_and_residual), ROW(residual_and_bias), ROW(two_residuals), ROW(bias_after_gelu),
    ROW(residual_after_gelu), ROW(gelu_after_residual), ROW(gelu_twice), ROW(itself_added),
    ROW(two_products_added), ROW(kept_before_bias), ROW(kept_before_gelu), ROW(placed_before_bias),
    ROW(placed_before_gelu), ROW(two_readers), ROW(a_column_is_no_bias), ROW(a_number_is_no_bias),
    ROW(one_row_for_many), ROW(batched_bias), ROW(bias_of_a_batch_of_rows), ROW(bias_of_each_row),
    ROW(square_bias), ROW(later_residual), ROW(reader_before_gelu), ROW(reader_after_gelu), ROW(two_gelus),
    ROW(mlp_gradient), ROW(third_reader_of_the_slope), ROW(slope_read_by_the_loss),
    ROW(slope_of_the_forward_kept), ROW(gradient_kept_before_slope), ROW(other_gelus_slope),
    ROW(column_sums), ROW(column_sums_read), ROW(column_sums_read_before),
    ROW(sums_of_another), ROW(sums_of_the_right_operand),
    ROW(sums_of_rows), ROW(sums_for_two_products), ROW(sums_of_a_view), ROW(sums_of_all_but_one_axis),
    ROW(bias_gradients), ROW(norm_and_past), ROW(norm_past_twice), ROW(two_norms_of_one),
    ROW(norm_first_in_the_sum), ROW(norms_gradient_read_twice), ROW(norms_gradient_kept),
    ROW(past_comes_later), ROW(past_is_a_row), ROW(past_twice), ROW(past_is_a_products_second_result),
    ROW(halves), ROW(unequal_parts), ROW(parts_backwards), ROW(parts_that_overlap), ROW(parts_with_a_gap),
    ROW(a_part_twice), ROW(parts_that_end_early), ROW(parts_that_start_late), ROW(pads_of_columns),
    ROW(pads_flat), ROW(pads_flat_backwards), ROW(a_pad_kept), ROW(a_pad_read_twice),
    ROW(a_pads_view_read_twice), ROW(a_pad_added_to_others), ROW(a_pad_broadcast), ROW(a_long_chain),
    ROW(many_operands), ROW(kept_in_the_middle), ROW(placed_in_the_middle), ROW(read_twice_in_the_middle),
    ROW(the_same_operand_twice), ROW(operands_exchanged), ROW(rows_and_columns), ROW(a_row_made_wide_late),
    ROW(read_before_and_after), ROW(random_drawn_twice), ROW(random_in_both_operands), ROW(two_randoms),
    ROW(random_rows), ROW(random_kept), ROW(random_in_a_gradient), ROW(random_of_a_random_size),
    ROW(kept_and_placed), ROW(placed_views), ROW(placed_twice), ROW(placed_leaf), ROW(placed_concatenation),
    ROW(written_over),
};

/* ---- both ways ----------------------------------------------------------------------------------------- */

struct values { i64 n[OUTS]; int outs; f32 v[OUTS][MOST]; };

static void run(int k, const char *trace, struct values *to)
{
    static step_words step = { .u = { [STEP_NUMBER] = 4, [STEP_SEED_LO] = 9, [STEP_SEED_HI] = 1 } };
    static f32 v[MOST];
    struct built b = { .g = graph_new(device) };
    trace_set(trace);
    graphs[k].build(&b);
    simplify_graph(b.g);
    trace_set("");
    if (graph_compile(b.g))
        fail_msg("%s: %s", graphs[k].name, fail_message());
    for (int s = 0; s < b.g->plan->n_slabs; s++)
        mem_fill(device, (range){ b.g->slabs[s], 0, mem_bytes(b.g->slabs[s]) }, 0x7fc00000);
    for (int i = 0; i < b.n_in; i++) {
        LOOP(j, node_count(b.in[i])) v[j] = sinf((f32)(1.3 * (f64)j + 2.1 * i + 1));
        node_write(b.in[i], v);
    }
    assert_int_equal(graph_set_step(b.g, &step), 0);
    assert_int_equal(graph_run(b.g), 0);
    to->outs = b.n_out;
    for (int i = 0; i < b.n_out; i++) {
        to->n[i] = node_count(b.out[i]);
        assert_in_range(to->n[i], 1, MOST);
        assert_int_equal(b.homes && b.home[i].mem ? mem_read(device, b.home[i], to->v[i])
                                                  : node_read(b.out[i], to->v[i]), 0);
    }
    graph_free(b.g);
    if (b.homes)
        pool_free(b.homes);
}

static void same_both_ways(enum dev_class class)
{
    static struct values apart, joined;
    dev *usual = device;
    device = dev_open(NULL);
    assert_non_null(device);
    dev_force_class(device, class);
    const char *only = getenv("ONLY");
    for (int k = 0; k < countof(graphs); k++) {
        if (only && strcmp(only, graphs[k].name))
            continue;
        run(k, "no_join", &apart);
        run(k, "", &joined);
        assert_int_equal(apart.outs, joined.outs);
        for (int i = 0; i < apart.outs; i++)
            LOOP(j, apart.n[i]) {
                f32 x = joined.v[i][j], want = apart.v[i][j];
                if (!(fabsf(x - want) <= 2e-5f * (1 + fabsf(want))))
                    fail_msg("%s, class %s: value %d of result %d is %.9g, apart %.9g", graphs[k].name,
                             class == DEV_GPU ? "gpu" : "cpu", (int)j, i, (f64)x, (f64)want);
            }
    }
    dev_close(device);
    device = usual;
}
static void cpu_class(void **state) { (void)state; same_both_ways(DEV_CPU); }
static void gpu_class(void **state) { (void)state; same_both_ways(DEV_GPU); }

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(cpu_class), cmocka_unit_test(gpu_class) };
    say_setup((struct say_options){ SAY_QUIET, 0, true });
    return cmocka_run_group_tests(tests, open_device, close_device);
}
