/* join.c: pointwise after pointwise becomes one map node of several steps. */
#include "fuse/passes.h"

static int join_add_operand(node *n, node *x)
{
    for (int k = 0; k < n->n_in; k++)
        if (n->in[k] == x)
            return k;
    if (n->n_in == MAX_IN)
        return -1;
    n->in[n->n_in] = x;
    return n->n_in++;
}

/* n's steps with operand k replaced by the steps that compute it. False (nothing changed): it
 * does not fit. */
static bool join_operand(node *n, int k, int *uses)
{
    const node *p = n->in[k];
    const struct map_args *mine = n->args, *theirs = p->args;
    node out = *n;
    struct map_args m = { .shape = mine->shape, .n = theirs->n };
    int map[2][MAX_IN];
    if (mine->n + theirs->n > MAX_STEPS)
        return false;
    out.n_in = 0;
    for (int i = 0; i < p->n_in; i++)
        if ((map[0][i] = join_add_operand(&out, p->in[i])) < 0)
            return false;
    for (int i = 0; i < n->n_in; i++)
        if ((map[1][i] = i == k ? -theirs->n : join_add_operand(&out, n->in[i])) < 0 && i != k)
            return false;
    for (int i = 0; i < theirs->n + mine->n; i++) {
        bool own = i >= theirs->n;
        m.step[i] = own ? mine->step[i - theirs->n] : theirs->step[i];
        for (int v = 0; v < m.step[i].n_in; v++) {
            int from = m.step[i].in[v];
            m.step[i].in[v] = from >= 0 ? map[own][from] : own ? from - theirs->n : from;
        }
    }
    m.n = theirs->n + mine->n;
    out.args = memcpy(arena_bytes(n->g->a, sizeof m, 16), &m, sizeof m);
    if (!map_fits(&out))
        return false;
    uses_forget(n, uses);
    *n = out;
    uses_add(n, uses);
    return true;
}

/* A joined row-wide value is computed once a row; a joined full one must have n's shape. Random numbers are
 * always drawn where they are used. */
static bool join_fits(const node *n, const node *p, const int *uses)
{
    bool draws = p->op == &map_op && ((const struct map_args *)p->args)->n == 1 && map_draws(p);
    return p->op == &map_op && !p->keep && !p->fixed && !p->maker && (draws || uses_private(p, uses))
        && (draws || shape_equal(p->shape, n->shape));
}

void join_chains(graph *g)
{
    int *uses = uses_count(g);
    for (size_t i = 0; i < g->n; i++) {
        node *n = g->nodes[i];
        if (n->op != &map_op)
            continue;
        for (int k = 0; k < n->n_in; k++)
            if (join_fits(n, n->in[k], uses) && join_operand(n, k, uses))
                k = -1;
    }
}
