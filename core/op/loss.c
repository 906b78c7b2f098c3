/* loss.c: cross-entropy with soft labels: -sum_k t'_k log softmax(z)_k, t' = t (1 - s) + s / k, with the
 * smoothing s of mmpretrain's LabelSmoothLoss 'original'. Rows of t sum to 1, so d/dz = softmax(z) - t'. */
#include "op/op.h"
#include "op/grid.h"
#include <math.h>

struct loss_args { f32 smoothing; };

static const char *cross_entropy_shape(const node *n, struct shape *out)
{
    const node *z = n->in[0], *t = n->in[1];
    if (z->shape.nd != 2 || !shape_equal(z->shape, t->shape))
        return "logits and targets must both be (b k)";
    *out = SHAPE(z->shape.d[0]);
    return NULL;
}

static void launch_loss(const node *n, launches *l, const char *kernel)
{
    i64 rows = node_dim(n->in[0], 0), cols = node_dim(n->in[0], 1);
    launch k = { .file = "loss", .kernel = kernel, .label = n->name,
                 .bytes = (f64)node_bytes(n->in[0]) * n->n_in };
    int c = grid_operands(n, &k);
    k.args[c++] = (arg)ARG_LONG(rows);
    k.args[c++] = (arg)ARG_LONG(cols);
    k.args[c++] = (arg)ARG_REAL(((const struct loss_args *)n->args)->smoothing);
    grid_groups(l, &k, CEIL_DIV(rows, dev_team(launches_dev(l), "loss").teams), 1, 1);
    launch_add(l, &k);
}

static void cross_entropy_emit(const node *n, launches *l)      { launch_loss(n, l, "cross_entropy"); }
static void cross_entropy_grad_emit(const node *n, launches *l) { launch_loss(n, l, "cross_entropy_grad"); }

static const char *cross_entropy_grad_shape(const node *n, struct shape *out)
{
    *out = n->in[0]->shape;
    return NULL;
}

/* log of the sum of exp(z), of one row. */
static f64 loss_log_sum(const f64 *z, i64 cols)
{
    f64 top = -INFINITY, sum = 0;
    for (i64 k = 0; k < cols; k++)
        top = fmax(top, z[k]);
    for (i64 k = 0; k < cols; k++)
        sum += exp(z[k] - top);
    return top + log(sum);
}

static f64 loss_target(const node *n, f64 t, i64 cols)
{
    f64 s = (f64)((const struct loss_args *)n->args)->smoothing;
    return t * (1 - s) + s / (f64)cols;
}

static void cross_entropy_host(const node *n, const f64 *const *in, f64 *y)
{
    i64 cols = node_dim(n->in[0], 1);
    for (i64 i = 0; i < node_count(n); i++) {
        y[i] = 0;
        for (i64 k = i * cols; k < (i + 1) * cols; k++)
            y[i] += loss_target(n, in[1][k], cols) * (loss_log_sum(in[0] + i * cols, cols) - in[0][k]);
    }
}

static void cross_entropy_grad_host(const node *n, const f64 *const *in, f64 *dx)
{
    i64 cols = node_dim(n, 1);
    for (i64 k = 0; k < node_count(n); k++) {
        i64 row = k / cols;
        f64 p = exp(in[0][k] - loss_log_sum(in[0] + row * cols, cols));
        dx[k] = in[2][row] * (p - loss_target(n, in[1][k], cols));
    }
}

static const op cross_entropy_grad_op = { "cross_entropy_grad", .args = sizeof(struct loss_args),
                                          .shape = cross_entropy_grad_shape,
                                          .emit = cross_entropy_grad_emit, .host = cross_entropy_grad_host };

static void cross_entropy_vjp(node *n, node *g, node *dx[])
{
    dx[0] = node_new(&cross_entropy_grad_op, n->args, n->in[0], n->in[1], g);
}

const op cross_entropy_op = { "cross_entropy", .args = sizeof(struct loss_args), .shape = cross_entropy_shape,
                              .emit = cross_entropy_emit, .vjp = cross_entropy_vjp,
                              .host = cross_entropy_host };

node *op_cross_entropy(node *logits, node *target, f32 smoothing)
{
    return node_new(&cross_entropy_op, (&(struct loss_args){ smoothing }), logits, target);
}
