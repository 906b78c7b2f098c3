/* types.c: which nodes are stored in the graph's half type, by the policy of precision.def. The last pass:
 * graphs are built, differentiated and fused without types.
 *
 *     x (half) --> [layernorm] --> y (half)                            a kernel that serves half types
 *     x (half) --> copy --> (F32) --> [entmax] --> (F32) --> copy --> y (half)        one that does not
 *
 * A cast to F32 stands before each reader, so that its memory is free again after it; one to the half type
 * is shared, and takes the place of the values it is of.
 *
 * Weights are F32. Where a matrix engine multiplies (dev_matrix), all that products read are rounded once in a
 * run, by one launch for each allocation that holds some, and products see them through views of the result:
 *
 *     weights (F32, from the first to the last) --> copy (half) --> view --> [matmul], [its gradient] ..
 */
#include "fuse/passes.h"

struct policy { const char *op, *file, *operands; char result; };
static const struct policy policies[] = {
#define POLICY(op, file, operands, result) { #op, file, operands, #result[0] },
#include "fuse/precision.def"
#undef POLICY
};

struct types {
    graph *g;
    size_t n;                            /* nodes before the pass: what the arrays below are for */
    const struct policy **policy;        /* of each node's op; NULL: none */
    bool  *able;                         /* do its kernels serve half types? */
    bool  *data;                         /* does it depend on an input? */
    bool  *wanted;                       /* is it read in the half type? */
    node **narrow;                       /* its cast to the half type, once made */
    struct weights { range all; node *half; } *weights;
    int    n_weights;
    node **order;                        /* the list with casts in it */
    size_t n_order, cap_order;
};

static const struct policy *policy_of(const node *n)
{
    for (int i = 0; i < countof(policies); i++)
        if (!strcmp(policies[i].op, n->op->name))
            return &policies[i];
    return NULL;
}

static bool types_able(const node *n, const struct policy *p)
{
    return p && (!*p->file || dev_has_types(n->g->d, p->file));
}

/* What the policy makes of operand k of n: a letter of precision.def. */
static char policy_kind(const struct types *t, const node *n, int k)
{
    const struct policy *p = t->policy[n->id];
    const struct matmul_args *m = n->args;
    if (!p)
        return 'F';
    if (n->op == &matmul_op && k > 1)
        return k == m->bias ? 'F' : 'R';
    return p->operands[MIN(k, (int)strlen(p->operands) - 1)];
}

/* A view follows its operand's type; but one that must be copied, since it begins at an odd place, is as
 * able as the kernel that copies it. */
static bool types_follows(const struct types *t, const node *n)
{
    return (n->op->flags & OP_ALIAS) && t->able[n->id];
}

/* As policy_kind, but for what n's kernels can read, once n's type is decided. */
static char types_kind(const struct types *t, const node *n, int k)
{
    if (types_follows(t, n))
        return 'A';
    if (!t->able[n->id])
        return 'F';
    if (n->op == &matmul_op && !k && (dtype_half(n->type) || dtype_half(n->in[1]->type)))
        return 'H';                             // a few texts serve all products: each takes seconds to compile
    return policy_kind(t, n, k);
}

/* What is computed element by element of values that stay F32 alone stays F32 too: logits over temperatures,
 * factors of sums over the batch. */
static void find_kept(const struct types *t)
{
    for (size_t i = 0; i < t->n; i++) {
        node *n = t->g->nodes[i];
        bool kept = false, others = n->op != &map_op;
        for (int k = 0; k < n->n_in && !others; k++) {
            const node *x = n->in[k];
            bool stays = x->keep_f32 || (x->fixed && !(x->op->flags & OP_LEAF));
            kept |= t->data[x->id] && stays;
            others |= t->data[x->id] && !stays;
        }
        n->keep_f32 |= kept && !others;
    }
}

/* Readers are counted before anything is decided, from the last on: a view is read as what reads it. */
static void find_wanted(struct types *t)
{
    for (size_t i = t->n; i-- > 0;) {
        const node *n = t->g->nodes[i];
        bool alias = n->op->flags & OP_ALIAS;
        for (int k = 0; k < n->n_in && !n->maker; k++)
            t->wanted[n->in[k]->id] |= alias ? t->wanted[i] : policy_kind(t, n, k) != 'F';
        if (alias && n->keep_f32 && node_count(n) == node_count(n->in[0]))
            n->in[0]->keep_f32 = true;
    }
}

/* Is n, by the policy, stored in the half type? Whether its kernels can write that is another matter. A single
 * number is not: the loss's share of the batch, with its scale, multiplies all gradients. */
static bool types_small(const struct types *t, const node *n)
{
    const struct policy *p = t->policy[n->id];
    bool many = node_count(n) > 1;
    return p && p->result == 'H' && many && t->wanted[n->id] && t->data[n->id] && !n->keep_f32 && !n->fixed;
}

static void types_append(struct types *t, node *n)
{
    *arena_push(t->g->a, t->order, t->n_order, t->cap_order) = n;
}

static node *types_cast(struct types *t, node *x, enum dtype to)
{
    const char *old = t->g->scope;
    t->g->scope = x->name;
    node *c = op_copy(x);
    t->g->scope = old;
    c->type = to;
    types_append(t, c);
    return c;
}

static node *types_narrow(struct types *t, node *x)
{
    node **c = &t->narrow[x->id];
    if (dtype_half(x->type))
        return x;
    return *c ? *c : (*c = types_cast(t, x, t->g->half));
}

/* ---- weights ------------------------------------------------------------------------------------------- */

/* Operand k of n, if it is one that is rounded once for all. */
static node *types_weight(const node *n, int k)
{
    node *x = n->in[k];
    bool ours = n->op == &matmul_op && k < 2 && x->fixed && x->type == F32 && !(x->op->flags & OP_DATA);
    return ours && dev_matrix(x->g->d) ? x : NULL;
}

static struct weights *weights_at(struct types *t, const mem *m)
{
    for (int i = 0; i < t->n_weights; i++)
        if (t->weights[i].all.mem == m)
            return &t->weights[i];
    return NULL;
}

static void weights_add(struct types *t, range r)
{
    struct weights *w = weights_at(t, r.mem);
    if (!w) {
        t->weights[t->n_weights++] = (struct weights){ .all = r };
        return;
    }
    u64 end = MAX(w->all.off + w->all.bytes, r.off + r.bytes);
    w->all.off = MIN(w->all.off, r.off);
    w->all.bytes = end - w->all.off;
}

static void find_weights(struct types *t)
{
    t->weights = arena_array(t->g->a, struct weights, t->n + 1);
    for (size_t i = 0; i < t->n && t->g->d; i++)
        for (int k = 0; k < t->g->nodes[i]->n_in; k++)
            if (types_weight(t->g->nodes[i], k))
                weights_add(t, t->g->nodes[i]->in[k]->home);
}

/* The weight x of matmul n in the half type, if the product computes in it. */
static node *weights_half(struct types *t, const node *n, int k)
{
    node *x = types_weight(n, k);
    if (!x || !(dtype_half(n->type) || dtype_half(n->in[1 - k]->type)))
        return NULL;
    struct weights *w = weights_at(t, x->home.mem);
    if (!w->half) {
        node *all = graph_fixed(t->g, "weights", F32, SHAPE((i64)(w->all.bytes / dtype_bytes(F32))), w->all);
        types_append(t, all);
        w->half = types_cast(t, all, t->g->half);
    }
    node **view = &t->narrow[x->id];
    if (!*view) {
        *view = op_view(w->half, (i64)((x->home.off - w->all.off) / dtype_bytes(F32)), x->shape);
        types_append(t, *view);
    }
    return *view;
}

/* What n reads in place of x, by the kind of the operand. */
static node *types_operand(struct types *t, const node *n, node *x, char kind)
{
    bool small = dtype_half(x->type) || (types_small(t, x) && !(x->op->flags & OP_ALIAS));
    if (x->type == I32)
        return x;
    if (kind == 'R')
        kind = dtype_half(n->type) ? 'H' : 'F';
    if (kind == 'F')
        return small ? types_cast(t, types_narrow(t, x), F32) : x;
    return small || kind == 'H' ? types_narrow(t, x) : x;
}

static void types_visit(struct types *t, node *n)
{
    bool alias = types_follows(t, n);
    if (!(n->op->flags & OP_ALIAS) && types_small(t, n) && t->able[n->id])
        n->type = t->g->half;
    for (int k = n->n_in; k-- > 0 && !n->maker;) {
        node *weight = weights_half(t, n, k);
        n->in[k] = weight ? weight : types_operand(t, n, n->in[k], types_kind(t, n, k));
    }
    if (alias)
        n->type = n->in[0]->type;
    types_append(t, n);
}

void types_assign(graph *g)
{
    struct types t = { g, g->n, arena_array(g->a, const struct policy *, g->n), arena_array(g->a, bool, g->n),
                       graph_data(g), arena_array(g->a, bool, g->n), arena_array(g->a, node *, g->n) };
    if (g->half == F32 || g->complaint)
        return;
    for (size_t i = 0; i < t.n; i++) {
        t.policy[i] = policy_of(g->nodes[i]);
        t.able[i] = types_able(g->nodes[i], t.policy[i]);
    }
    find_kept(&t);
    find_wanted(&t);
    find_weights(&t);
    for (size_t i = 0; i < t.n; i++)
        types_visit(&t, g->nodes[i]);
    g->nodes = t.order;
    g->n = t.n_order;
    g->cap = t.cap_order;
    for (size_t i = 0; i < g->n; i++)
        g->nodes[i]->id = (int)i;
}
