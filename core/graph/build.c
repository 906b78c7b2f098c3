/* build.c: making nodes. Shapes are checked here, once; the first complaint is kept, since later ones
 * only echo it. */
#include "graph/graph.h"

graph *graph_new(dev *d)
{
    arena *a = arena_open("graph");
    graph *g = arena_one(a, graph);
    g->a = a;
    g->d = d;
    g->scope = "";
    g->inputs = d ? pool_new(d, "inputs") : NULL;
    return g;
}

void graph_free(graph *g)
{
    if (!g)
        return;
    if (g->list)
        launches_free(g->list);
    for (int i = 0; g->slabs && i < g->plan->n_slabs; i++)
        mem_free(g->slabs[i]);
    if (g->inputs)
        pool_free(g->inputs);
    arena_close(g->a);
}

int graph_complain(graph *g, const char *fmt, ...)
{
    if (g->complaint)
        return -1;
    va_list ap;
    va_start(ap, fmt);
    const char *text = arena_vprintf(g->a, fmt, ap);
    va_end(ap);
    g->complaint = *g->scope ? arena_printf(g->a, "%s: %s", g->scope, text) : text;
    return -1;
}

const char *graph_push(graph *g, const char *fmt, ...)
{
    const char *old = g->scope;
    va_list ap;
    va_start(ap, fmt);
    const char *text = arena_vprintf(g->a, fmt, ap);
    va_end(ap);
    g->scope = *old ? arena_printf(g->a, "%s.%s", old, text) : text;
    return old;
}

void graph_pop(graph *g, const char *old) { g->scope = old; }

static node *node_append(graph *g, const op *op, const void *args, node *const *in, int n_in)
{
    node *n = arena_one(g->a, node);
    n->op = op;
    n->g = g;
    n->id = (int)g->n;
    n->name = g->scope;
    n->n_in = n_in;
    for (int i = 0; i < n_in; i++)
        n->in[i] = in[i];
    if (op->args)
        n->args = memcpy(arena_bytes(g->a, op->args, 16), args, op->args);
    *arena_push(g->a, g->nodes, g->n, g->cap) = n;
    return n;
}

static const char *shapes_text(graph *g, node *const *in, int n_in)
{
    const char *text = "";
    for (int i = 0; i < n_in; i++)
        text = arena_printf(g->a, "%s%s%s", text, i ? " x " : "", shape_text(g->a, in[i]->shape));
    return text;
}

node *node_make(graph *g, const op *op, const void *args, node *const *in, int n_in)
{
    check(n_in <= MAX_IN, "%s: %d operands", op->name, n_in);
    for (int i = 0; i < n_in; i++)
        check(in[i] && in[i]->g == g, "%s: operand %d is missing or of another graph", op->name, i);
    node *n = node_append(g, op, args, in, n_in);
    n->type = op->flags & OP_ALIAS ? in[0]->type : F32;
    const char *wrong = g->complaint ? "" : op->shape(n, &n->shape);
    if (wrong) {
        graph_complain(g, "%s: %s: %s", op->name, wrong, shapes_text(g, in, n_in));
        n->shape = n_in ? in[0]->shape : SCALAR;   // harmless: the graph will not run
    }
    return n;
}

bool node_makes(const node *n, range r)
{
    range h = n->home;
    return n->fixed && h.mem == r.mem && h.off < r.off + r.bytes && r.off < h.off + h.bytes;
}

int node_ready(const node *n)
{
    int at = n->maker ? MAX(n->id, n->maker->id) : n->id;
    return n->op->flags & OP_ALIAS ? MAX(at, node_ready(n->in[0])) : at;
}

static void graph_move(graph *g, node *n, int after)
{
    int at = after + 1, last = n->id;
    memmove(g->nodes + at + 1, g->nodes + at, (size_t)(last - at) * sizeof(node *));
    g->nodes[at] = n;
    for (; at <= last; at++)
        g->nodes[at]->id = at;
}

void graph_hoist(graph *g, int after) { graph_move(g, g->nodes[g->n - 1], after); }

static const char *offload_shape(const node *n, struct shape *out)
{
    (void)n;
    *out = SCALAR;
    return NULL;
}
static void offload_emit(const node *n, launches *l) { (void)n, (void)l; }
static const op offload_op = { "offload", .flags = OP_EFFECT, .shape = offload_shape, .emit = offload_emit };

node *node_offload(node *x) { return node_new(&offload_op, NULL, x); }

void graph_offload_early(graph *g)
{
    int last = -1;
    for (size_t i = 0; i < g->n; i++) {
        node *n = g->nodes[i];
        if (n->op != &offload_op)
            continue;
        last = MAX(last, node_ready(n->in[0]));
        if (last + 1 < n->id)
            graph_move(g, n, last);
        last = n->id;
    }
}

static const char *leaf_shape(const node *n, struct shape *out)
{
    *out = n->shape;
    return NULL;
}
static const op input_op = { "input", .flags = OP_LEAF | OP_DATA, .shape = leaf_shape };
static const op param_op = { "param", .flags = OP_LEAF, .shape = leaf_shape };

node *graph_fixed(graph *g, const char *name, enum dtype type, struct shape s, range home)
{
    node *n = node_append(g, &param_op, NULL, NULL, 0);
    n->name = arena_printf(g->a, "%s", name);
    n->shape = s;
    n->type = type;
    n->fixed = true;
    n->home = home;
    names_put(g->a, &g->fixed, n->name, n);
    return n;
}

node *graph_input(graph *g, const char *name, enum dtype type, struct shape s)
{
    node *n = graph_fixed(g, name, type, s, RANGE_NONE);
    n->op = &input_op;
    if (!g->d)
        return n;
    n->home = pool_take(g->inputs, node_bytes(n));
    if (!n->home.mem)
        graph_complain(g, "%s: %s", name, fail_message());
    return n;
}

node *graph_constant(graph *g, const char *name, struct shape s, const f32 *values)
{
    node *n = graph_input(g, name, F32, s);
    n->op = &param_op;
    if (g->composed)
        n->args = arena_copy(g->a, values, sizeof *values * (size_t)shape_count(s));
    if (n->home.mem && mem_write(g->d, n->home, values))
        graph_complain(g, "%s: %s", name, fail_message());
    return n;
}

node *graph_step(graph *g)
{
    if (!g->step)
        g->step = graph_input(g, "step", I32, SHAPE(STEP_WORDS));
    g->step->op = &param_op;                      // who draws random numbers does not yet depend on the data
    return g->step;
}

u32 graph_stream(graph *g) { return RNG_NODE + g->streams++; }

node *node_keep(node *n)
{
    n->keep = true;
    return n;
}

node *node_keep_f32(node *n)
{
    n->keep_f32 = true;
    return n;
}

bool *graph_data(const graph *g)
{
    bool *data = arena_array(g->a, bool, g->n + 1);
    for (size_t i = 0; i < g->n; i++) {
        const node *n = g->nodes[i];
        data[i] = n->op->flags & OP_DATA;
        for (int k = 0; k < n->n_in; k++)
            data[i] |= data[n->in[k]->id];
    }
    return data;
}

i64 shape_count(struct shape s)
{
    i64 n = 1;
    for (int i = 0; i < s.nd; i++)
        n *= s.d[i];
    return n;
}

bool shape_equal(struct shape a, struct shape b)
{
    return a.nd == b.nd && !memcmp(a.d, b.d, sizeof *a.d * (size_t)a.nd);
}

bool shape_broadcast(struct shape a, struct shape b, struct shape *out)
{
    *out = (struct shape){ .nd = MAX(a.nd, b.nd) };
    for (int i = 1; i <= out->nd; i++) {
        i64 x = i <= a.nd ? a.d[a.nd - i] : 1, y = i <= b.nd ? b.d[b.nd - i] : 1;
        if (x != y && x != 1 && y != 1)
            return false;
        out->d[out->nd - i] = x == 1 ? y : x;
    }
    return true;
}

const char *shape_text(arena *a, struct shape s)
{
    const char *text = "[";
    for (int i = 0; i < s.nd; i++)
        text = arena_printf(a, "%s%s%lld", text, i ? " " : "", (long long)s.d[i]);
    return arena_printf(a, "%s]", text);
}

i64 node_count(const node *n) { return shape_count(n->shape); }
u64 node_bytes(const node *n) { return dtype_bytes(n->type) * (u64)node_count(n); }

i64 node_dim(const node *n, int i)
{
    i = i < 0 ? n->shape.nd + i : i;
    return i >= 0 && i < n->shape.nd ? n->shape.d[i] : 1;
}
