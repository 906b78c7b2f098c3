/* products.c: a product absorbs what follows it. The consumer becomes the product: it stands after every
 * operand.
 *
 *     matmul + bias, act of it, + residual     -> one product with an epilogue
 *     act and act' of one product              -> the first keeps act', the gradient's multiplies by it
 *     product * mask that is drawn             -> GPUs' products draw it (dropout, stochastic depth)
 */
#include "fuse/passes.h"
#include <limits.h>

/* Uses, and readers as one list per node: they are asked for of every product. A node that reads
 * another no longer stays in its list, and is passed over. */
struct fusing {
    int *uses, *first;                            /* of node i: operand how often; its first link or -1 */
    struct reader { const node *by; int next; } *links;
    size_t n, cap;
    arena *a;
};

static void fusing_add(struct fusing *f, const node *n)
{
    uses_add(n, f->uses);
    for (int k = 0; k < n->n_in; k++) {
        int *first = &f->first[n->in[k]->id];
        *arena_push(f->a, f->links, f->n, f->cap) = (struct reader){ n, *first };
        *first = (int)f->n - 1;
    }
}

static struct fusing fusing_open(graph *g)
{
    struct fusing f = { .a = g->a, .uses = arena_array(g->a, int, g->n),
                        .first = arena_array(g->a, int, g->n) };
    for (size_t i = 0; i < g->n; i++)
        f.first[i] = -1;
    for (size_t i = 0; i < g->n; i++)
        fusing_add(&f, g->nodes[i]);
    return f;
}

static bool product_reads(const node *n, const node *p)
{
    for (int k = 0; k < n->n_in; k++)
        if (n->in[k] == p)
            return true;
    return false;
}

/* The first node from `from` on that reads p; NULL: none. */
static node *product_reader(const struct fusing *f, const node *p, int from)
{
    int first = INT_MAX;
    for (int i = f->first[p->id]; i >= 0; i = f->links[i].next)
        if (f->links[i].by->id >= from && f->links[i].by->id < first && product_reads(f->links[i].by, p))
            first = f->links[i].by->id;
    return first < INT_MAX ? p->g->nodes[first] : NULL;
}

static bool plain_product(const node *n)
{
    const struct matmul_args *m = n->args;
    return n->op == &matmul_op && !m->act && !m->residual && !m->factor && !m->sums;
}

/* Makes n the product p with one more operand (or none). */
static struct matmul_args *product_absorb(node *n, node *p, node *extra, struct fusing *f)
{
    graph *g = n->g;
    struct matmul_args *m = arena_one(g->a, struct matmul_args);
    *m = *(const struct matmul_args *)p->args;
    uses_forget(n, f->uses);
    n->op = &matmul_op;
    n->args = m;
    n->keep_f32 |= p->keep_f32;
    n->n_in = p->n_in;
    memcpy(n->in, p->in, sizeof n->in);
    if (extra)
        n->in[n->n_in++] = extra;
    fusing_add(f, n);
    return m;
}

static bool is_bias(const node *p, const node *b)
{
    const struct matmul_args *m = p->args;
    i64 cols = node_dim(p, -1);
    if (m->bias || m->mask || node_dim(b, -1) != cols)
        return false;
    // (n) for all, or (batch.. 1 n): one row per batch of a batched product
    bool batched = p->in[1]->shape.nd > 2 && b->shape.nd == p->shape.nd && node_dim(b, -2) == 1;
    return node_count(b) == cols || (batched && node_count(b) * node_dim(p, -2) == node_count(p));
}

static void fuse_add(node *n, struct fusing *f)
{
    for (int k = 0; k < 2 && n->n_in == 2; k++) {
        node *p = n->in[k], *other = n->in[1 - k];
        if (p == other || !plain_product(p) || !uses_private(p, f->uses) || !shape_equal(p->shape, n->shape))
            continue;
        if (is_bias(p, other)) {
            struct matmul_args *m = product_absorb(n, p, other, f);
            m->bias = n->n_in - 1;
            return;
        }
        if (shape_equal(other->shape, n->shape)) {
            struct matmul_args *m = product_absorb(n, p, other, f);
            m->residual = n->n_in - 1;
            return;
        }
    }
}

/* act(product): if another node reads the value before the activation, that is still written; or, if it is
 * just the gradient, the activation's derivative, since both need the same exponential and error function. */
static void fuse_act(node *n, enum act act, struct fusing *f)
{
    node *p = n->in[0];
    if (!plain_product(p) || p->keep || p->fixed || p->maker || product_reader(f, p, p->id + 1) != n
        || ((const struct matmul_args *)p->args)->mask)
        return;
    node *other = product_reader(f, p, n->id + 1);
    bool slope = other && f->uses[p->id] == 2 && map_act(other, 1) == act && other->in[0] == p;
    struct matmul_args *m = product_absorb(n, p, NULL, f);
    m->act = act;
    if (other)
        p->maker = n;
    if (slope)
        m->slope = p;
    else
        m->pre = other ? p : NULL;
    if (slope) {
        uses_forget(other, f->uses);
        map_become_mul(other, other->in[1], p);
        fusing_add(f, other);
    }
}

/* product * slope: what the forward part has kept. */
static void fuse_mul(node *n, struct fusing *f)
{
    node *p = n->in[0], *slope = n->in[1];
    if (plain_product(p) && uses_private(p, f->uses) && slope->maker && shape_equal(slope->shape, n->shape)
        && shape_equal(p->shape, n->shape)) {
        struct matmul_args *m = product_absorb(n, p, slope, f);
        m->factor = n->n_in - 1;
    }
}

/* Does a mask of shape s have n's front, and ones after it? Then one of its numbers serves a
 * run of n's rows, or one element. */
static bool product_front(struct shape s, struct shape n)
{
    int same = 0, i;
    while (same < n.nd && same < s.nd && s.d[same] == n.d[same])
        same++;
    for (i = same; i < s.nd && s.d[i] == 1; i++)
        ;
    return s.nd == n.nd && i == s.nd;
}

/* The node that is kept for the backward part moves to where the product will be:
 * is it read from there on only? */
static bool fuse_side(const struct fusing *f, node *p, node *n)
{
    const struct matmul_args *m = p->args;
    node *side = m->pre ? m->pre : m->slope;
    node *first = side ? product_reader(f, side, p->id + 1) : NULL;
    if (first && first->id <= n->id)
        return false;
    if (side)
        side->maker = n;
    return true;
}

/* product * mask, or the gradient's dy * mask. */
static bool fuse_mask(node *n, node *p, node *mask, struct fusing *f)
{
    const struct map_step *drawn = map_drawn(mask, "keep_mask");
    const struct matmul_args *m = p->args;
    bool product = p->op == &matmul_op && !m->residual && !m->factor && !m->sums && !m->mask;
    if (!drawn || !product || !uses_private(p, f->uses) || !matmul_masks(p) || !shape_equal(p->shape, n->shape)
        || !product_front(drawn->shape, n->shape) || !fuse_side(f, p, n))
        return false;
    struct matmul_args *all = product_absorb(n, p, mask->in[0], f);
    all->step = n->n_in - 1;
    all->mask = drawn;
    return true;
}

void fuse_products(graph *g)
{
    struct fusing all = fusing_open(g), *f = &all;
    for (size_t i = 0; i < g->n; i++) {
        node *n = g->nodes[i];
        enum act act = map_act(n, 0);
        if (map_is(n, "add", 0))
            fuse_add(n, f);
        else if (act)
            fuse_act(n, act, f);
        else if (map_is(n, "mul", 0) && !fuse_mask(n, n->in[0], n->in[1], f))
            fuse_mul(n, f);
        else if (map_is(n, "mul", 1))
            fuse_mask(n, n->in[1], n->in[0], f);
    }
}
