/* dump.c: a graph for people: one node per line, Graphviz, the memory plan, the launches. */
#include "graph/graph.h"

static const char *dump_scope(const node *n) { return n->name && *n->name ? n->name : "-"; }

const char *node_title(const node *n) { return n->op->title ? n->op->title(n) : n->op->name; }

void graph_dump(const graph *g, FILE *f)
{
    for (size_t i = 0; i < g->n; i++) {
        const node *n = g->nodes[i];
        fprintf(f, "%4d  %-36s %-22s %-22s", n->id, dump_scope(n), node_title(n), shape_text(g->a, n->shape));
        for (int k = 0; k < n->n_in; k++)
            fprintf(f, " %d", n->in[k]->id);
        fprintf(f, "%s%s", dtype_half(n->type) ? "  " : "", dtype_half(n->type) ? dtype_name(n->type) : "");
        fprintf(f, "%s%s", n->keep ? "  keep" : "", n->fixed ? "  fixed" : "");
        if (n->maker)
            fprintf(f, "  by %d", n->maker->id);
        fputc('\n', f);
    }
}

void graph_dump_dot(const graph *g, FILE *f)
{
    fprintf(f, "digraph jetcl {\n  rankdir=TB; node [shape=box, fontname=monospace];\n");
    for (size_t i = 0; i < g->n; i++) {
        const node *n = g->nodes[i];
        fprintf(f, "  n%d [label=\"%s\\n%s %s\"%s];\n", n->id, dump_scope(n), node_title(n),
                shape_text(g->a, n->shape), n->op->flags & OP_LEAF ? ", style=filled" : "");
        for (int k = 0; k < n->n_in; k++)
            fprintf(f, "  n%d -> n%d;\n", n->in[k]->id, n->id);
    }
    fprintf(f, "}\n");
}

void graph_dump_plan(const graph *g, FILE *f)
{
    char a[24], b[24];
    const struct plan *p = g->plan;
    fprintf(f, "slab       offset        bytes   alive          node\n");
    for (int i = 0; i < p->n; i++) {
        const struct block *k = &p->blocks[i];
        fprintf(f, "%4d %12llu %12llu   %5d..%-5d  %s%s (%s)\n", k->slab, (unsigned long long)k->at,
                (unsigned long long)k->bytes, k->from, k->to, dump_scope(k->owner), k->work ? ", work" : "",
                node_title(k->owner));
    }
    fprintf(f, "%s in %d slabs; %s without reuse\n", text_bytes(a, (f64)p->planned), p->n_slabs,
            text_bytes(b, (f64)p->unplanned));
}

/* What the host spends on a launch of most GPU drivers, in microseconds. */
#define HOST_US 5

void graph_dump_launches(const graph *g, FILE *f)
{
    for (int i = 0; i < launches_count(g->list); i++) {
        const launch *k = launches_at(g->list, i);
        fprintf(f, "%4d  %-30s %-22s %llu x %llu x %llu / %llu  %s\n",
                i, k->label ? k->label : "-", k->kernel,
                (unsigned long long)k->global[0], (unsigned long long)MAX(1, k->global[1]),
                (unsigned long long)MAX(1, k->global[2]), (unsigned long long)MAX(1, k->local[0]),
                k->defs ? k->defs : "");
    }
    int n = launches_count(g->list);
    fprintf(f, "%d launches, %.1f ms of the host's time at %d us each\n", n, 1e-3 * HOST_US * n, HOST_US);
}
