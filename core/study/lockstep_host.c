/* lockstep_host.c: nodes by plain loops in float64: products with what is fused into them and sums here,
 * other ops by their own `host`. */
#include "study/lockstep_host.h"
#include <math.h>

enum { MOST_MACS = 1 << 26 };

static bool host_product(const node *n)
{
    const struct matmul_args *m = n->args;
    return n->op == &matmul_op && (m->act == ACT_NONE || m->act == ACT_gelu) && n->op->macs(n) < MOST_MACS;
}

bool lockstep_on_host(const node *n) { return n->op->host || host_product(n) || n->op == &sum_op; }

/* A bias has one row for all batches, or one for each (of rows * cols elements). */
static f64 host_epilogue(const node *n, const f64 *const *in, i64 at, f64 v)
{
    const struct matmul_args *m = n->args;
    i64 cols = node_dim(n, -1), matrix = cols * node_dim(n, -2);
    if (m->bias)
        v += in[m->bias][(node_count(n->in[m->bias]) > cols ? at / matrix * cols : 0) + at % cols];
    if (m->act == ACT_gelu)
        v = 0.5 * v * (1 + erf(v * 0.70710678118654752440));
    if (m->residual)
        v += in[m->residual][at % node_count(n->in[m->residual])];
    return m->factor ? v * in[m->factor][at % node_count(n->in[m->factor])] : v;
}

static void host_matmul(const node *n, const f64 *const *in, f64 *y)
{
    const struct matmul_args *m = n->args;
    const node *a = n->in[0], *b = n->in[1];
    bool ta = m->trans & TRANS_A, tb = m->trans & TRANS_B;
    i64 rows = node_dim(n, -2), cols = node_dim(n, -1), deep = node_dim(a, ta ? -2 : -1);
    i64 batch = node_count(n) / (rows * cols);
    i64 next_a = a->shape.nd == 2 ? 0 : rows * deep, next_b = b->shape.nd == 2 ? 0 : deep * cols;
    for (i64 z = 0; z < batch; z++)
        for (i64 i = 0; i < rows; i++)
            for (i64 j = 0; j < cols; j++) {
                const f64 *p = in[0] + z * next_a, *q = in[1] + z * next_b;
                f64 sum = 0;
                for (i64 k = 0; k < deep; k++)
                    sum += (ta ? p[k * rows + i] : p[i * deep + k]) * (tb ? q[j * deep + k] : q[k * cols + j]);
                i64 at = (z * rows + i) * cols + j;
                y[at] = host_epilogue(n, in, at, m->alpha * sum);
            }
}

/* Every element into the one of y that broadcasts to it. */
static void host_sum(const node *n, const f64 *x, f64 *y)
{
    const struct shape from = n->in[0]->shape, to = n->shape;
    for (i64 i = 0; i < shape_count(from); i++) {
        i64 rest = i, at = 0, step = 1;
        for (int k = from.nd - 1; k >= 0; k--) {
            i64 place = rest % from.d[k], axis = k - (from.nd - to.nd);
            rest /= from.d[k];
            if (axis < 0)
                continue;
            at += to.d[axis] == 1 ? 0 : place * step;
            step *= to.d[axis];
        }
        y[at] += x[i];
    }
}

const f64 *lockstep_host(arena *a, const node *n, const f64 *const *operands)
{
    if (!lockstep_on_host(n))
        return NULL;
    for (int i = 0; i < n->n_in; i++)
        if (!operands[i])
            return NULL;
    f64 *y = arena_array(a, f64, node_count(n));
    if (n->op->host)
        n->op->host(n, operands, y);
    else
        n->op == &sum_op ? host_sum(n, operands[0], y) : host_matmul(n, operands, y);
    return y;
}
