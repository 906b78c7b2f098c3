/* uses.c: who reads a node, and what it is a view of. */
#include "fuse/passes.h"

static void uses_change(const node *n, int by, int *uses)
{
    for (int k = 0; k < n->n_in; k++)
        uses[n->in[k]->id] += by;
}

void uses_forget(const node *n, int *uses) { uses_change(n, -1, uses); }
void uses_add(const node *n, int *uses)    { uses_change(n, 1, uses); }

int *uses_count(graph *g)
{
    int *uses = arena_array(g->a, int, g->n);
    for (size_t i = 0; i < g->n; i++)
        uses_add(g->nodes[i], uses);
    return uses;
}

bool uses_private(const node *n, const int *uses)
{
    return uses[n->id] == 1 && !n->keep && !n->fixed && !n->maker;
}

node *source_of(node *n)
{
    while (n->op == &view_op && node_count(n) == node_count(n->in[0]))
        n = n->in[0];
    return n;
}
