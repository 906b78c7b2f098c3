/* simplify.c: fewer nodes for the same values, after the gradient is there.
 *
 *   products    matmul + bias, gelu of it, + residual     -> one product with an epilogue
 *   slopes      gelu and gelu' of one product             -> the first product keeps gelu', the gradient's
 *                                                            multiplies with it
 *   sums        a^T b, and the sums of a's columns        -> one product that reads a once (bias gradients)
 *   norms       x's adjoint + layernorm's dx              -> layernorm's gradient with one more operand
 *   chains      pointwise after pointwise                 -> one map node of several steps
 *   dead        what nobody reads                         -> gone
 *
 * The consumer takes over: the joined node stands where the last of them stood, behind every operand.
 */
#include "fuse/fuse.h"

static bool is_map(const node *n) { return n->op == &map_op; }

/* Where n's values come from, whatever their shape. */
static node *source_of(node *n)
{
    while (n->op == &view_op && node_count(n) == node_count(n->in[0]))
        n = n->in[0];
    return n;
}

/* ---- dead nodes ---------------------------------------------------------------------------------------- */

static void drop_dead(graph *g)
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

/* ---- uses ---------------------------------------------------------------------------------------------- */

static void count_uses(graph *g, int *uses)
{
    memset(uses, 0, sizeof *uses * g->n);
    for (size_t i = 0; i < g->n; i++)
        for (int k = 0; k < g->nodes[i]->n_in; k++)
            uses[g->nodes[i]->in[k]->id]++;
}

/* Can n's values stay in registers? Nobody but one reader wants them. */
static bool private_to(const node *n, const int *uses)
{
    return uses[n->id] == 1 && !n->keep && !n->fixed && !n->maker;
}

/* ---- products take over what follows them -------------------------------------------------------------- */

static bool plain_product(const node *n)
{
    const struct matmul_args *m = n->args;
    return n->op == &matmul_op && !m->gelu && !m->residual && !m->factor && !m->sums;
}

/* Turns n into the product p with one more operand (or none). */
static struct matmul_args *take_over(node *n, node *p, node *extra)
{
    graph *g = n->g;
    struct matmul_args *m = arena_one(g->a, struct matmul_args);
    *m = *(const struct matmul_args *)p->args;
    n->op = &matmul_op;
    n->args = m;
    n->n_in = p->n_in;
    memcpy(n->in, p->in, sizeof n->in);
    if (extra)
        n->in[n->n_in++] = extra;
    return m;
}

static bool is_bias(const node *p, const node *b)
{
    const struct matmul_args *m = p->args;
    i64 cols = node_dim(p, -1);
    if (m->bias || node_dim(b, -1) != cols)
        return false;
    // (n) for all, or (batch.. 1 n): one row per batch of a batched product
    bool batched = p->in[1]->shape.nd > 2 && b->shape.nd == p->shape.nd && node_dim(b, -2) == 1;
    return node_count(b) == cols || (batched && node_count(b) * node_dim(p, -2) == node_count(p));
}

static void fuse_add(node *n, const int *uses)
{
    for (int k = 0; k < 2 && n->n_in == 2; k++) {
        node *p = n->in[k], *other = n->in[1 - k];
        if (p == other || !plain_product(p) || !private_to(p, uses) || !shape_equal(p->shape, n->shape))
            continue;
        if (is_bias(p, other)) {
            struct matmul_args *m = take_over(n, p, other);
            m->bias = n->n_in - 1;
            return;
        }
        if (shape_equal(other->shape, n->shape)) {
            struct matmul_args *m = take_over(n, p, other);
            m->residual = n->n_in - 1;
            return;
        }
    }
}

/* The first node from `from` on that reads p; NULL: none. */
static node *reader(const node *p, int from)
{
    for (size_t i = (size_t)from; i < p->g->n; i++)
        for (int k = 0; k < p->g->nodes[i]->n_in; k++)
            if (p->g->nodes[i]->in[k] == p)
                return p->g->nodes[i];
    return NULL;
}

/* gelu(product): if somebody else reads the value before it, that is still written; or, if it is just the
 * gradient, gelu's derivative, since both take the same exponential and error function. */
static void fuse_gelu(node *n, const int *uses)
{
    node *p = n->in[0];
    if (!plain_product(p) || p->keep || p->fixed || p->maker || reader(p, p->id + 1) != n)
        return;
    node *other = reader(p, n->id + 1);
    bool slope = other && uses[p->id] == 2 && map_is(other, "gelu", 1) && other->in[0] == p;
    struct matmul_args *m = take_over(n, p, NULL);
    m->gelu = true;
    if (other) {
        *(slope ? &m->slope : &m->pre) = p;
        p->maker = n;
    }
    if (slope)
        map_become_mul(other, other->in[1], p);
}

/* product * slope: what the forward part has kept. */
static void fuse_mul(node *n, const int *uses)
{
    node *p = n->in[0], *slope = n->in[1];
    if (plain_product(p) && private_to(p, uses) && slope->maker && shape_equal(slope->shape, n->shape)
        && shape_equal(p->shape, n->shape)) {
        struct matmul_args *m = take_over(n, p, slope);
        m->factor = n->n_in - 1;
    }
}

/* a^T b takes over the sums of a's columns. */
static void fuse_sums(node *n, const int *uses)
{
    node *a = n->in[0];
    for (size_t i = 0; i < n->g->n && a->shape.nd == 2 && matmul_sums(n); i++) {
        node *s = n->g->nodes[i];
        bool fits = op_sums_rows(s, node_dim(a, 1)) && source_of(s->in[0]) == source_of(a);
        if (!fits || s->maker || uses[s->id])
            continue;
        struct matmul_args *m = arena_one(n->g->a, struct matmul_args);
        *m = *(const struct matmul_args *)n->args;
        m->sums = s;
        n->args = m;
        s->maker = n;
    }
}

static void fuse_products(graph *g)
{
    int *uses = arena_array(g->a, int, g->n);
    for (size_t i = 0; i < g->n; i++) {
        node *n = g->nodes[i];
        count_uses(g, uses);
        if (map_is(n, "add", 0))
            fuse_add(n, uses);
        else if (map_is(n, "gelu", 0))
            fuse_gelu(n, uses);
        else if (map_is(n, "mul", 0))
            fuse_mul(n, uses);
    }
    count_uses(g, uses);
    for (size_t i = 0; i < g->n; i++)
        if (g->nodes[i]->op == &matmul_op)
            fuse_sums(g->nodes[i], uses);
}

/* ---- layernorm's gradient adds what flows past the norm ------------------------------------------------ */

/* x + f(norm(x)) passes its adjoint on, and adds the norm's dx to it. Here the producer takes over, as dx's
 * sums for the weights are read before n: the adjoint becomes dx's first operand, and n a view of it. */
static bool fuse_norm_grad(node *n, node *dx, node *past, const int *uses)
{
    bool early = past->id < dx->id && !source_of(past)->maker;
    if (dx->op != &layernorm_grad_op || dx->n_in > 3 || !private_to(dx, uses) || !early
        || !shape_equal(past->shape, dx->shape))
        return false;
    memmove(dx->in + 1, dx->in, sizeof dx->in[0] * (size_t)dx->n_in++);
    dx->in[0] = past;
    op_become_view(n, dx);
    return true;
}

static void fuse_norm_grads(graph *g)
{
    int *uses = arena_array(g->a, int, g->n);
    count_uses(g, uses);
    for (size_t i = 0; i < g->n; i++) {
        node *n = g->nodes[i];
        if (map_is(n, "add", 0) && n->n_in == 2 && !fuse_norm_grad(n, n->in[0], n->in[1], uses))
            fuse_norm_grad(n, n->in[1], n->in[0], uses);
    }
}

/* ---- disjoint pads that fill an array are a concatenation ---------------------------------------------- */

/* The gradient of cutting an array in two: add(view(pad(a, front)), view(pad(b, back))) -> view(join(a, b)).
 * Here: the pad of the whole that n is, or is a view of, if only the sum reads it. */
static node *flat_pad(node *n, const int *uses)
{
    node *p = n->op == &view_op ? n->in[0] : n;
    bool whole = node_count(p) == node_count(n) && p->op == &pad_op && p->shape.nd == 1;
    return whole && private_to(p, uses) && (p == n || private_to(n, uses)) ? p : NULL;
}

static void fuse_pads(graph *g)
{
    int *uses = arena_array(g->a, int, g->n);
    for (size_t i = 0; i < g->n; i++) {
        node *n = g->nodes[i];
        if (!map_is(n, "add", 0) || n->n_in != 2 || node_count(n->in[0]) != node_count(n->in[1]))
            continue;
        count_uses(g, uses);
        node *a = flat_pad(n->in[0], uses), *b = flat_pad(n->in[1], uses);
        if (!a || !b || !op_become_join(a->id < b->id ? b : a, a, b))
            continue;
        op_become_view(n, a->id < b->id ? b : a);
    }
}

/* ---- pointwise chains ---------------------------------------------------------------------------------- */

static int operand(node *n, node *x)
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
static bool join(node *n, int k)
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
        if ((map[0][i] = operand(&out, p->in[i])) < 0)
            return false;
    for (int i = 0; i < n->n_in; i++)
        if ((map[1][i] = i == k ? -theirs->n : operand(&out, n->in[i])) < 0 && i != k)
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
    *n = out;
    return true;
}

/* A joined row-wide value is computed once a row; a joined full one must have n's shape. Random numbers are
 * always drawn where they are used. */
static bool joinable(const node *n, const node *p, const int *uses)
{
    bool draws = is_map(p) && ((const struct map_args *)p->args)->n == 1 && map_draws(p);
    return is_map(p) && !p->keep && !p->fixed && !p->maker && (draws || private_to(p, uses))
        && (draws || shape_equal(p->shape, n->shape));
}

static void join_chains(graph *g)
{
    int *uses = arena_array(g->a, int, g->n);
    for (size_t i = 0; i < g->n; i++) {
        node *n = g->nodes[i];
        if (!is_map(n))
            continue;
        count_uses(g, uses);
        for (int k = 0; k < n->n_in; k++)
            if (joinable(n, n->in[k], uses) && join(n, k))
                k = -1;
    }
}

/* ---- public -------------------------------------------------------------------------------------------- */

static bool placeable(const node *n)
{
    return !n->fixed && !n->keep && !(n->op->flags & (OP_LEAF | OP_ALIAS | OP_GATHER));
}

node *simplify_place(node *n, range home)
{
    if (placeable(source_of(n)))
        n = source_of(n);                         // the same values under another shape
    else if (!placeable(n))
        n = op_copy(n);
    n->fixed = true;
    n->home = home;
    return n;
}

void simplify_graph(graph *g)
{
    if (g->complaint)
        return;
    drop_dead(g);
    if (trace_on(TRACE_no_join))
        return;
    fuse_pads(g);
    fuse_products(g);
    fuse_norm_grads(g);
    drop_dead(g);
    join_chains(g);
    drop_dead(g);
}
