/* plan.c: liveness -> offsets. Nodes that may share memory (views, in-place results, parts of a
 * concatenation) get one root; each root is a block alive from its first writer to its last reader; blocks
 * are placed largest first at the lowest offset where nothing alive at the same time lies.
 *
 *     time ->   [---- a ----]
 *                     [---- b ----]        c may lie where a lay
 *                                 [-- c --]
 *
 * JETCL_TRACE=no_plan gives every node a block alive all the time, and no sharing but views.
 */
#include "graph/graph.h"
#include <stdlib.h>

static u64 plan_alignment(const graph *g) { return g->d ? MAX(dev_info(g->d)->align, 64) : 128; }

static u64 plan_view_offset(const node *n)
{
    return n->op->offset ? dtype_bytes(n->type) * (u64)n->op->offset(n) : 0;
}

/* Does a view lie where its operand has these values? One whose place is not aligned is a copy, which may lie
 * in a concatenation. */
bool plan_aliased(const node *n)
{
    const node *x = n->op->flags & OP_ALIAS ? n->in[0] : NULL;
    return x && n->plan.root != n && n->plan.root == x->plan.root
           && n->plan.offset == x->plan.offset + plan_view_offset(n);
}

/* A node's launches run at its own place, or at its maker's. */
static int written_at(const node *n) { return n->maker ? n->maker->id : n->id; }

static node *root_of(const node *n) { return n->plan.root; }

/* Moves everything rooted at `from`, a root, to lie `offset` bytes into `to`, another. */
static void plan_reroot(node *from, node *to, u64 offset)
{
    for (node *n = from; n; n = n->plan.next) {
        n->plan.root = to;
        n->plan.offset += offset;
    }
    to->plan.last->plan.next = from;
    to->plan.last = from->plan.last;
}

static void share_views(graph *g)
{
    for (size_t i = 0; i < g->n; i++) {
        node *n = g->nodes[i];
        n->plan.root = n->plan.last = n;
        n->plan.next = NULL;
        n->plan.offset = 0;
        if (!(n->op->flags & OP_ALIAS) || n->fixed || n->maker)
            continue;
        u64 at = n->in[0]->plan.offset + plan_view_offset(n);
        if (plan_view_offset(n) % plan_alignment(g) == 0 && !(n->in[0]->fixed && at % plan_alignment(g)))
            plan_reroot(n, n->in[0]->plan.root, at);
    }
}

/* Operands of a concatenation along its outermost axis are computed where they will lie. */
static void share_concats(graph *g)
{
    for (size_t i = 0; i < g->n; i++) {
        node *n = g->nodes[i];
        if (!(n->op->flags & OP_CONCAT) || n->fixed)
            continue;
        u64 at = 0;
        for (int k = 0; k < n->n_in; at += node_bytes(n->in[k++])) {
            node *view = n->in[k], *x = root_of(view);        // it, or what it shows all of
            bool all = !view->plan.offset && node_bytes(view) == node_bytes(x);
            bool own = all && !x->fixed && !(x->op->flags & (OP_LEAF | OP_CONCAT));
            if (own && at % plan_alignment(g) == 0)
                plan_reroot(x, n, at);
        }
    }
}

static void find_lives(graph *g, int *from, int *to)
{
    for (size_t i = 0; i < g->n; i++)
        from[i] = (int)g->n, to[i] = -1;
    for (size_t i = 0; i < g->n; i++) {
        node *n = g->nodes[i], *r = root_of(n);
        int at = written_at(n);
        if (!plan_aliased(n))
            from[r->id] = MIN(from[r->id], at);
        to[r->id] = MAX(to[r->id], n->keep ? (int)g->n : at);
        for (int k = 0; k < n->n_in; k++) {
            node *rk = root_of(n->in[k]);
            to[rk->id] = MAX(to[rk->id], at);
        }
    }
}

/* n may write over an operand of its own size that no later node reads. */
static void share_inplace(graph *g, int *from, int *to)
{
    for (size_t i = 0; i < g->n; i++) {
        node *n = g->nodes[i];
        if (!(n->op->flags & OP_INPLACE) || n->fixed || n->maker || root_of(n) != n)
            continue;
        for (int k = 0; k < n->n_in && root_of(n) == n; k++) {
            node *x = n->in[k], *r = root_of(x);
            if (r->fixed || r->keep || to[r->id] != n->id || x->plan.offset || node_bytes(r) != node_bytes(n)
                || node_bytes(x) != node_bytes(n) || !shape_equal(x->shape, n->shape))
                continue;
            int last = to[n->id];
            plan_reroot(n, r, 0);
            to[r->id] = MAX(to[r->id], last);
            from[n->id] = (int)g->n;
            to[n->id] = -1;
        }
    }
}

static void add_block(graph *g, node *owner, bool work, u64 bytes, int from, int to)
{
    struct plan *p = g->plan;
    u64 size = ROUND_UP(MAX(bytes, 1), plan_alignment(g));
    p->unplanned += size;
    if (!work)
        owner->plan.block = p->n;
    p->blocks[p->n++] = (struct block){ owner, work, from, to, size, 0, 0 };
}

static void find_blocks(graph *g, const int *from, const int *to)
{
    for (size_t i = 0; i < g->n; i++) {
        node *n = g->nodes[i];
        if (root_of(n) == n && !n->fixed && !(n->op->flags & OP_LEAF))
            add_block(g, n, false, node_bytes(n), from[i], to[i]);
        u64 work = n->op->scratch && !n->maker ? n->op->scratch(n) : 0;
        if (work)
            add_block(g, n, true, work, n->id, n->id);
    }
}

static int by_size(const void *a, const void *b)
{
    const struct block *x = *(struct block *const *)a, *y = *(struct block *const *)b;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? 1 : -1;
    return x->from != y->from ? x->from - y->from : x < y ? -1 : 1;
}

/* Of a slab: where its blocks lie, in order, and when they are alive. */
struct shelf { struct shelved { u64 at, end; int from, to; } *v; size_t n, cap; };

/* The lowest gap that holds b among the blocks alive with it; -1: none. */
static i64 find_gap(const struct shelf *s, const struct block *b, u64 limit)
{
    u64 at = 0;
    for (size_t i = 0; i < s->n && s->v[i].at < at + b->bytes; i++)
        if (s->v[i].from <= b->to && b->from <= s->v[i].to)
            at = MAX(at, s->v[i].end);
    return at + b->bytes <= limit ? (i64)at : -1;
}

static void put_on_shelf(arena *a, struct shelf *s, const struct block *b)
{
    size_t i = s->n;
    (void)arena_push(a, s->v, s->n, s->cap);
    for (; i && s->v[i - 1].at > b->at; i--)
        ;
    memmove(s->v + i + 1, s->v + i, (s->n - 1 - i) * sizeof *s->v);
    s->v[i] = (struct shelved){ b->at, b->at + b->bytes, b->from, b->to };
}

static void place_blocks(graph *g)
{
    struct plan *p = g->plan;
    u64 limit = g->d && dev_info(g->d)->max_alloc ? dev_info(g->d)->max_alloc : (u64)1 << 62;
    struct block **order = arena_array(g->a, struct block *, p->n);
    arena *a = arena_open("placing blocks");
    struct shelf *shelves = arena_array(a, struct shelf, p->n + 1);
    for (int i = 0; i < p->n; i++)
        order[i] = &p->blocks[i];
    qsort(order, (size_t)p->n, sizeof *order, by_size);
    for (int i = 0; i < p->n; i++) {
        struct block *b = order[i];
        i64 at = -1;
        for (int s = 0; at < 0; s++) {
            if (s == p->n_slabs)
                p->n_slabs++;
            at = find_gap(&shelves[s], b, MAX(limit, b->bytes));
            b->slab = s;
        }
        b->at = (u64)at;
        put_on_shelf(a, &shelves[b->slab], b);
        p->slab_bytes[b->slab] = MAX(p->slab_bytes[b->slab], b->at + b->bytes);
    }
    for (int s = 0; s < p->n_slabs; s++)
        p->planned += p->slab_bytes[s];
    arena_close(a);
}

void plan_build(graph *g)
{
    struct plan *p = arena_one(g->a, struct plan);
    g->plan = p;
    p->blocks = arena_array(g->a, struct block, 2 * g->n + 1);
    p->slab_bytes = arena_array(g->a, u64, 2 * g->n + 1);
    int *from = arena_array(g->a, int, g->n + 1), *to = arena_array(g->a, int, g->n + 1);
    bool share = !trace_on(TRACE_no_plan);
    share_views(g);
    if (share)
        share_concats(g);
    find_lives(g, from, to);
    if (share)
        share_inplace(g, from, to);
    else
        for (size_t i = 0; i < g->n; i++)
            from[i] = 0, to[i] = (int)g->n;
    find_blocks(g, from, to);
    place_blocks(g);
    if (trace_on(TRACE_plan))
        graph_dump_plan(g, trace_file());
}
