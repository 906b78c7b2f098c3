/* recompute.c: forgetting what lies inside a stretch of the forward part. Before its backward part
 * the stretch is made again from what goes into it, and the backward part reads those nodes instead
 * (Chen et al. 2016).
 *
 *     forward             x ------> [a b c] ------> y ...            a, b, c go once y is there
 *     backward   ... dy   x ------> [a b c]' -----> [dc db da] ---> dx
 *
 * The nodes made again are copies with the same arguments, random streams included, so they hold the same
 * values; those without readers are dropped with the other dead nodes. */
#include "autograd/autograd.h"

static bool recompute_within(const char *name, const char *scope)
{
    size_t n = strlen(scope);
    return !strncmp(name, scope, n) && (!name[n] || name[n] == '.');
}

int recompute_spans(const graph *g, const char *const *scopes, int n, struct span *out)
{
    int found = 0;
    for (int k = 0; k < n; k++) {
        struct span s = { (int)g->n, -1 };
        for (int i = 0; i < (int)g->n; i++)
            if (!(g->nodes[i]->op->flags & OP_LEAF) && recompute_within(g->nodes[i]->name, scopes[k]))
                s = (struct span){ MIN(s.from, i), i };
        if (s.to >= 0)
            out[found++] = s;
    }
    return found;
}

void recompute_span(graph *g, struct span s, node **again)
{
    const char *old = g->scope;
    for (int i = s.from; i <= s.to; i++) {
        const node *n = g->nodes[i];
        node *in[MAX_IN];
        if (n->op->flags & (OP_LEAF | OP_EFFECT))
            continue;
        for (int k = 0; k < n->n_in; k++)
            in[k] = again[n->in[k]->id] ? again[n->in[k]->id] : n->in[k];
        g->scope = arena_printf(g->a, "%s'", n->name);
        again[i] = node_make(g, n->op, n->args, in, n->n_in);
        again[i]->keep_f32 = n->keep_f32;
    }
    g->scope = old;
}
