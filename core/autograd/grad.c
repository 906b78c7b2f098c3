/* grad.c: the reverse sweep. Nodes are visited from last to first; each passes its adjoint to its operands by
 * op->vjp, contributions are added, and an adjoint of a broadcast shape is summed to its operand's shape,
 * here for all ops. */
#include "autograd/autograd.h"

struct sweep {
    graph *g;
    node **adjoint;
    bool  *wanted, *data;                /* data: depends on an input */
    size_t n;
    const struct span *spans;            /* stretches to compute again, and the nodes that do */
    int    n_spans;
    node **again;
};

/* Which nodes lie on a way from something in wrt? */
static void grad_mark(struct sweep *s, node *const *wrt, int n)
{
    for (int i = 0; i < n; i++)
        s->wanted[wrt[i]->id] = true;
    for (size_t i = 0; i < s->n; i++)
        for (int k = 0; k < s->g->nodes[i]->n_in; k++)
            s->wanted[i] |= s->wanted[s->g->nodes[i]->in[k]->id];
}

static void grad_contribute(struct sweep *s, node *x, node *dx)
{
    if (!dx || !s->wanted[x->id])
        return;
    if (!shape_equal(dx->shape, x->shape))
        dx = op_sum_to(dx, x->shape);
    dx->keep_f32 |= !s->data[x->id];         // summed over the batch, for parameters: not in a half type
    node **sum = &s->adjoint[x->id];
    *sum = *sum ? op_add(*sum, dx) : dx;
}

/* The node that holds n's values in the backward part. */
static node *grad_values_of(struct sweep *s, node *n)
{
    for (int i = 0; i < s->n_spans && !s->again[n->id]; i++)
        if (n->id >= s->spans[i].from && n->id <= s->spans[i].to)
            recompute_span(s->g, s->spans[i], s->again);
    return s->again[n->id] ? s->again[n->id] : n;
}

static void grad_pass(struct sweep *s, node *n)
{
    node *dx[MAX_IN] = { NULL };
    if (n->op->flags & OP_LEAF)
        return;
    if (!n->op->vjp) {
        graph_complain(s->g, "%s: no gradient passes through %s", n->name, n->op->name);
        return;
    }
    const char *old = s->g->scope;
    s->g->scope = arena_printf(s->g->a, "%s'", n->name);
    n->op->vjp(grad_values_of(s, n), s->adjoint[n->id], dx);
    for (int k = 0; k < n->n_in; k++)
        grad_contribute(s, n->in[k], dx[k]);
    graph_pop(s->g, old);
}

static void grad_sweep(node *y, node *adjoint, node *const *wrt, int n, const struct span *spans, int n_spans,
                       node **out)
{
    graph *g = y->g;
    struct sweep s = {
        g,       arena_array(g->a, node *, g->n), arena_array(g->a, bool, g->n), graph_data(g), g->n, spans,
        n_spans, arena_array(g->a, node *, g->n)
    };
    grad_mark(&s, wrt, n);
    s.adjoint[y->id] = adjoint;
    for (size_t i = s.n; i-- > 0 && !g->complaint;)
        if (s.adjoint[i] && s.wanted[i])
            grad_pass(&s, g->nodes[i]);
    for (int i = 0; i < n; i++)
        out[i] = g->complaint ? wrt[i] : s.adjoint[wrt[i]->id];
}

void grad_build_from(node *y, node *adjoint, node *const *wrt, int n, node **out)
{
    grad_sweep(y, adjoint, wrt, n, NULL, 0, out);
}

void grad_build_forgetting(node *loss, node *const *wrt, int n, const struct span *spans, int n_spans,
                           node **out)
{
    if (node_count(loss) != 1)
        graph_complain(loss->g, "gradient of %s, which is not a scalar", shape_text(loss->g->a, loss->shape));
    node *one = op_offset(op_scale(loss, 0), 1);  // 1, and NaN when the loss is NaN or infinite
    grad_sweep(loss, one, wrt, n, spans, n_spans, out);
}

void grad_build(node *loss, node *const *wrt, int n, node **out)
{
    grad_build_forgetting(loss, wrt, n, NULL, 0, out);
}
