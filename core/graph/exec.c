/* exec.c: nodes -> launch list, once; a step then only enqueues it. */
#include "graph/graph.h"
#include <math.h>

static int exec_allocate(graph *g)
{
    struct plan *p = g->plan;
    g->slabs = arena_array(g->a, mem *, p->n_slabs + 1);
    for (int s = 0; s < p->n_slabs; s++) {
        if (!(g->slabs[s] = mem_new(g->d, p->slab_bytes[s], "activations")))
            return -1;
        mem_large_pages(g->slabs[s]);
    }
    return 0;
}

static range in_block(graph *g, const struct block *b, u64 offset, u64 bytes)
{
    return (range){ g->slabs[b->slab], b->at + offset, bytes };
}

static void set_homes(graph *g)
{
    for (size_t i = 0; i < g->n; i++) {
        node *n = g->nodes[i], *r = n->plan.root;
        if (n->fixed)
            continue;
        if (r->fixed)
            n->home = (range){ r->home.mem, r->home.off + n->plan.offset, node_bytes(n) };
        else
            n->home = in_block(g, &g->plan->blocks[r->plan.block], n->plan.offset, node_bytes(n));
    }
    for (int i = 0; i < g->plan->n; i++)
        if (g->plan->blocks[i].work)
            g->plan->blocks[i].owner->work = in_block(g, &g->plan->blocks[i], 0, g->plan->blocks[i].bytes);
}

int graph_compile(graph *g)
{
    if (g->complaint)
        return fail(FAULT_USAGE, "%s", g->complaint);
    if (trace_on(TRACE_graph))
        graph_dump(g, trace_file());
    plan_build(g);
    if (exec_allocate(g))
        return -1;
    set_homes(g);
    g->list = launches_new(g->d, "graph");
    for (size_t i = 0; i < g->n; i++) {
        node *n = g->nodes[i];
        n->list.from = launches_count(g->list);
        if (!(n->op->flags & OP_LEAF) && !n->maker && !plan_aliased(n))
            n->op->emit(n, g->list);
        n->list.to = launches_count(g->list);
    }
    return g->complaint ? fail(FAULT_USAGE, "%s", g->complaint) : launches_compile(g->list);
}

int graph_run(graph *g) { return graph_run_marks(g, NULL, 0); }

int graph_run_marks(graph *g, struct mark *m, int n)
{
    if (!trace_on(TRACE_nan))
        return launches_run_marks(g->list, m, n);
    return graph_find_nan(g) || marks_end(g->d, m, n) ? -1 : 0;
}

int graph_last(const graph *g, range r)
{
    int last = 0;
    for (size_t i = 0; i < g->n; i++) {
        const node *n = g->nodes[i];
        if (node_makes(n, r))
            last = MAX(last, n->maker ? n->maker->list.to : n->list.to);
    }
    return last;
}

int graph_set_step(graph *g, const step_words *w)
{
    return g->step ? mem_write_later(g->d, g->step->home, w) : 0;
}

int node_write(node *n, const void *host) { return mem_write(n->g->d, n->home, host); }

static f32 f32_of_bits(u32 u)
{
    f32 x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* Of 1.0 the bits are 0x3c00 and 0x3f800000; a half's subnormals are multiples of 2^-24. */
static f32 f32_of_f16(u16 h)
{
    u32 sign = (u32)(h & 0x8000) << 16, size = h & 0x7fff;
    if (size < 0x400)
        return (sign ? -1 : 1) * (f32)size * 0x1p-24f;
    return f32_of_bits(sign
                       | (size >= 0x7c00 ? 0x7f800000 | (size & 0x3ff) << 13 : (size << 13) + 0x38000000));
}

/* In place, from the last element to the first: half i lies before float i. */
static void exec_widen(f32 *v, i64 n, enum dtype from)
{
    for (i64 i = n; i-- > 0;) {
        u16 h;
        memcpy(&h, (const char *)v + i * (i64)sizeof h, sizeof h);
        v[i] = from == F16 ? f32_of_f16(h) : f32_of_bits((u32)h << 16);
    }
}

int node_read(const node *n, void *host)
{
    if (mem_read(n->g->d, n->home, host))
        return -1;
    if (dtype_half(n->type))
        exec_widen(host, node_count(n), n->type);
    return 0;
}

static bool exec_find_bad(graph *g, const node *n, i64 *where)
{
    arena_mark m = arena_save(g->a);
    f32 *v = arena_array(g->a, f32, node_count(n));
    bool found = false;
    if (!node_read(n, v))
        for (i64 i = 0; i < node_count(n) && !found; i++)
            if (!isfinite(v[i]))
                found = true, *where = i;
    arena_restore(g->a, m);
    return found;
}

/* The first value of n that is not a number, as a failure. What is run for its effect alone (the optimiser)
 * leaves its own memory unwritten. */
static int check_node(graph *g, const node *n)
{
    i64 where;
    if (n->type == I32 || n->op->flags & OP_EFFECT || node_bytes(n) > n->home.bytes
        || !exec_find_bad(g, n, &where))
        return 0;
    return fail(FAULT_NUMBERS, "%s: %s %s: not a number at element %lld", n->name, n->op->name,
                shape_text(g->a, n->shape), (long long)where);
}

/* Memory is reused during a run, so each node is looked at before the next one runs; so are the further
 * results of a fused one, which its own launches have written. Everything runs once, as in launches_run. */
static int exec_find_nan(graph *g, int from, int to)
{
    int rc = 0;
    for (size_t i = 0; i < g->n && !rc; i++) {
        const node *n = g->nodes[i];
        if (n->list.from == n->list.to || n->list.from < from || n->list.to > to)
            continue;
        rc = launches_run_part(g->list, n->list.from, n->list.to) || check_node(g, n) ? -1 : 0;
        for (size_t k = 0; k < g->n && !rc; k++)
            if (g->nodes[k]->maker == n)
                rc = check_node(g, g->nodes[k]);
    }
    return rc;
}

int graph_find_nan(graph *g) { return exec_find_nan(g, 0, launches_count(g->list)); }

int graph_run_part(graph *g, int from, int to)
{
    return trace_on(TRACE_nan) ? exec_find_nan(g, from, to) : launches_run_part(g->list, from, to);
}
