/* sums.c: sums that another kernel can compute on the way.
 *
 *     a^T b, and the sums of a's columns       -> one product that reads a once (bias gradients)
 *     x's adjoint + layernorm's dx             -> layernorm's gradient with one more operand; so does routing's
 *     pad(a, front) + pad(b, back)             -> a concatenation
 */
#include "fuse/passes.h"

/* ---- sums of columns ----------------------------------------------------------------------------------- */

/* Nodes by where their first operand comes from: lists in the order of the graph, -1 ends one. */
struct sourced { int *first, *next; };

static struct sourced by_source(graph *g)
{
    struct sourced l = { arena_array(g->a, int, g->n), arena_array(g->a, int, g->n) };
    for (size_t i = 0; i < g->n; i++)
        l.first[i] = -1;
    for (size_t i = g->n; i-- > 0;) {
        int *first = g->nodes[i]->n_in ? &l.first[source_of(g->nodes[i]->in[0])->id] : NULL;
        l.next[i] = first ? *first : -1;
        if (first)
            *first = (int)i;
    }
    return l;
}

/* a^T b also computes the sums of a's columns. */
static void fuse_column_sums(node *n, const struct sourced *l, const int *uses)
{
    node *a = n->in[0], *s = NULL;
    i64 cols = node_dim(a, -1), batches = node_count(a) / MAX(1, cols * node_dim(a, -2));
    for (int i = l->first[source_of(a)->id]; i >= 0 && !s; i = l->next[i]) {
        node *x = n->g->nodes[i];
        s = op_sums_rows(x, batches, cols) && !x->maker && !uses[x->id] ? x : NULL;
    }
    if (!s || !matmul_sums(n))
        return;
    struct matmul_args *m = arena_one(n->g->a, struct matmul_args);
    *m = *(const struct matmul_args *)n->args;
    m->sums = s;
    n->args = m;
    s->maker = n;
}

/* ---- gradients add what flows past ---------------------------------------------------------------------- */

static bool takes_past(const node *dx)
{
    return (dx->op == &layernorm_grad_op && dx->n_in == 3) || route_takes_past(dx);
}

/* x + f(norm(x)) passes its adjoint on, and adds the norm's dx to it. Here the producer absorbs the sum, as
 * dx's sums for the weights are read before n: the adjoint becomes dx's first operand, and n a view of dx. */
static bool fuse_past(node *n, node *dx, node *past, int *uses)
{
    bool early = past->id < dx->id && !source_of(past)->maker;
    if (!takes_past(dx) || !uses_private(dx, uses) || !early || !shape_equal(past->shape, dx->shape))
        return false;
    uses_forget(n, uses);
    uses_forget(dx, uses);
    memmove(dx->in + 1, dx->in, sizeof dx->in[0] * (size_t)dx->n_in++);
    dx->in[0] = past;
    op_become_view(n, dx);
    uses_add(dx, uses);
    uses_add(n, uses);
    return true;
}

static void fuse_pasts(graph *g)
{
    int *uses = uses_count(g);
    for (size_t i = 0; i < g->n; i++) {
        node *n = g->nodes[i];
        if (map_is(n, "add", 0) && n->n_in == 2 && !fuse_past(n, n->in[0], n->in[1], uses))
            fuse_past(n, n->in[1], n->in[0], uses);
    }
}

void fuse_sums(graph *g)
{
    int *uses = uses_count(g);
    struct sourced l = by_source(g);
    for (size_t i = 0; i < g->n; i++)
        if (g->nodes[i]->op == &matmul_op)
            fuse_column_sums(g->nodes[i], &l, uses);
    fuse_pasts(g);
}

/* ---- disjoint pads that fill an array are a concatenation ---------------------------------------------- */

/* The gradient of cutting an array in two: add(view(pad(a, front)), view(pad(b, back))) -> view(join(a, b)).
 * Here: the pad of the whole that n is, or is a view of, if only the sum reads it. */
static node *flat_pad(node *n, const int *uses)
{
    node *p = n->op == &view_op ? n->in[0] : n;
    bool whole = node_count(p) == node_count(n) && p->op == &pad_op && p->shape.nd == 1;
    return whole && uses_private(p, uses) && (p == n || uses_private(n, uses)) ? p : NULL;
}

void fuse_pads(graph *g)
{
    int *uses = uses_count(g);
    for (size_t i = 0; i < g->n; i++) {
        node *n = g->nodes[i];
        if (!map_is(n, "add", 0) || n->n_in != 2 || !shape_equal(n->in[0]->shape, n->shape)
            || !shape_equal(n->in[1]->shape, n->shape))
            continue;
        node *a = flat_pad(n->in[0], uses), *b = flat_pad(n->in[1], uses);
        if (!a || !b)
            continue;
        node *last = a->id < b->id ? b : a;
        uses_forget(last, uses);
        bool joined = op_become_concat(last, a, b);
        uses_add(last, uses);
        if (!joined)
            continue;
        uses_forget(n, uses);
        op_become_view(n, last);
        uses_add(n, uses);
    }
}
