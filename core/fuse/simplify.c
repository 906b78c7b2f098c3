/* simplify.c: fewer nodes for the same values, after the gradient is there: the order of the passes, and
 * computing a node where its values must lie. */
#include "fuse/passes.h"

static bool simplify_placeable(const node *n)
{
    return !n->fixed && !n->keep && !(n->op->flags & (OP_LEAF | OP_ALIAS | OP_CONCAT));
}

node *simplify_place(node *n, range home)
{
    if (simplify_placeable(source_of(n)))
        n = source_of(n);                         // the same values under another shape
    else if (!simplify_placeable(n)) {
        int ready = node_ready(n);
        n = op_copy(n);
        if (n == n->g->nodes[n->g->n - 1])        // gradients leave as soon as they are there
            graph_hoist(n->g, ready);
    }
    n->fixed = true;
    n->home = home;
    return n;
}

static void fuse_all(graph *g)
{
    fuse_pads(g);
    fuse_products(g);
    fuse_sums(g);
    fuse_strides(g);
    drop_dead(g);
    join_chains(g);
    drop_dead(g);
}

void simplify_drop(graph *g) { drop_dead(g); }

void simplify_graph(graph *g)
{
    if (g->complaint)
        return;
    drop_dead(g);
    if (!trace_on(TRACE_no_join))
        fuse_all(g);
    types_assign(g);
}
