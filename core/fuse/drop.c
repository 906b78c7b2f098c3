/* drop.c: removes nodes without readers. Alive: kept, fixed, with an effect, and what these need. */
#include "fuse/passes.h"

void drop_dead(graph *g)
{
    bool *alive = arena_array(g->a, bool, g->n);
    for (size_t i = g->n; i-- > 0;) {
        node *n = g->nodes[i];
        alive[i] |= n->keep || n->fixed || n->op->flags & OP_EFFECT;
        if (alive[i] && n->maker)
            alive[n->maker->id] = true;
        for (int k = 0; alive[i] && k < n->n_in; k++)
            alive[n->in[k]->id] = true;
    }
    size_t kept = 0;
    for (size_t i = 0; i < g->n; i++)
        if (alive[i]) {
            g->nodes[kept] = g->nodes[i];
            g->nodes[kept]->id = (int)kept;
            kept++;
        }
    g->n = kept;
}
