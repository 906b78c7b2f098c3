/* route.c: the routing of a MoE layer: which slot reads which tokens, and which token which slots.
 * Tokens and slots share one array of logits; each slot takes a softmax over the tokens, each token an
 * entmax over the slots. On CPUs one launch makes both and another their gradients; on GPUs each side
 * has its own (route_sides.c). Without such kernels, and under JETCL_TRACE=no_join, the same is
 * composed of the ops that say it. */
#include "op/route.h"
#include "op/host.h"

static i64 images_of(const node *x) { return node_dim(x, 0); }
static i64 tokens_of(const node *x) { return node_dim(x, 1); }
static i64 slots_of(const node *x)  { return node_dim(x, 2); }

/* Elements before the second result: what most devices ask of a view, and no gap where the sizes allow. */
static i64 route_second(const node *logits) { return ROUND_UP(node_count(logits), (i64)32); }

static u64 column_bytes(const node *logits, u64 n)
{
    return dtype_bytes(F32) * n * (u64)ROUND_UP(slots_of(logits), (i64)16);
}

/* ---- the gradient: dlogits, then each image's share of both temperatures' --------------------- */

static i64 partials_offset(const node *logits) { return ROUND_UP(node_count(logits), (i64)1024); }

static const char *route_grad_shape(const node *n, struct shape *out)
{
    *out = SHAPE(partials_offset(n->in[0]) + 2 * images_of(n->in[0]));
    return NULL;
}

static void route_grad_emit(const node *n, launches *l)
{
    const struct route_args *a = n->args;
    const node *x = n->in[0];
    launch_add(l, &(launch){ .file = "route", .kernel = "route_grad", .label = n->name,
        .local = { 1 }, .global = { (u64)images_of(x) }, .bytes = 6 * (f64)node_bytes(x),
        .args = { ARG_RANGE(x->home), ARG_RANGE(n->in[1]->home), ARG_RANGE(n->in[2]->home),
                  ARG_RANGE(n->in[3]->home), ARG_RANGE(n->in[4]->home), ARG_LONG(route_second(x)),
                  ARG_RANGE(n->home), ARG_LONG(partials_offset(x)), ARG_LONG(tokens_of(x)),
                  ARG_LONG(slots_of(x)), ARG_INT(a->flags), ARG_LOCAL(column_bytes(x, 1)) } });
}

/* ---- float64 on the host --------------------------------------------------------------------------- */

/* logits / T + noise of each element. noise: the step's words, or values, by the flags. */
static f64 *route_host_heated(const node *x, const struct route_args *a, const f64 *const *in, f64 t,
                              const f64 *noise)
{
    i64 slots = slots_of(x), tokens = tokens_of(x), row = ROUND_UP(slots, (i64)16);
    f64 *z = arena_array(x->g->a, f64, node_count(x));
    for (i64 i = 0; i < node_count(x); i++) {
        i64 image = i / slots / tokens, before = 0;
        if (a->flags & DRAWN && a->samples)
            before = (i64)noise[STEP_BEFORE] + image / a->samples * (i64)noise[STEP_OTHERS];
        i64 element = (i / slots + before * tokens) * row + i % slots;
        z[i] = in[0][i] / t + (a->flags & DRAWN ? (f64)a->std * host_normal(noise, a->stream, element)
                               : a->flags & GIVEN ? noise[i] : 0);
    }
    return z;
}

void route_host_side(const node *x, const struct route_args *a, bool dispatch, const f64 *const *in, f64 t,
                     const f64 *noise, f64 *y)
{
    i64 tokens = tokens_of(x), slots = slots_of(x);
    const f64 *z = route_host_heated(x, a, in, t, noise);
    for (i64 i = 0; i < images_of(x) && dispatch; i++)
        for (i64 j = 0; j < slots; j++)
            host_softmax(z + i * tokens * slots + j, y + i * tokens * slots + j, tokens, slots);
    for (i64 at = 0; at < node_count(x) && !dispatch; at += slots)
        if (a->flags & ENTMAX)
            host_entmax(z + at, y + at, slots);
        else
            host_softmax(z + at, y + at, slots, 1);
}

void route_host_side_grad(const node *x, bool dispatch, bool entmax, const f64 *y, const f64 *g, f64 *d)
{
    i64 tokens = tokens_of(x), slots = slots_of(x);
    for (i64 i = 0; i < images_of(x) && dispatch; i++)
        for (i64 j = i * tokens * slots; j < i * tokens * slots + slots; j++)
            host_softmax_grad(y + j, g + j, d + j, tokens, slots, false);
    for (i64 at = 0; at < node_count(x) && !dispatch; at += slots)
        host_softmax_grad(y + at, g + at, d + at, slots, 1, entmax);
}

static void route_host(const node *n, const f64 *const *in, f64 *y)
{
    const node *x = n->in[0];
    route_host_side(x, n->args, true, in, in[1][0], n->n_in > 3 ? in[3] : NULL, y);
    route_host_side(x, n->args, false, in, in[2][0], n->n_in > 3 ? in[3] : NULL, y + route_second(x));
}

static void route_grad_host(const node *n, const f64 *const *in, f64 *y)
{
    const node *x = n->in[0];
    i64 count = node_count(x), second = route_second(x), one = count / images_of(x);
    f64 *d[2] = { arena_array(x->g->a, f64, count), arena_array(x->g->a, f64, count) };
    bool entmax = ((const struct route_args *)n->args)->flags & ENTMAX;
    route_host_side_grad(x, true, false, in[3], in[4], d[0]);
    route_host_side_grad(x, false, entmax, in[3] + second, in[4] + second, d[1]);
    for (i64 i = 0; i < 2 * images_of(x); i++)
        y[partials_offset(x) + i] = 0;
    for (i64 i = 0; i < count; i++) {
        y[i] = d[0][i] / in[1][0] + d[1][i] / in[2][0];
        for (int k = 0; k < 2; k++)
            y[partials_offset(x) + 2 * (i / one) + k] -= d[k][i] * in[0][i] / (in[1 + k][0] * in[1 + k][0]);
    }
}

static const op route_grad_op = { "route_grad", .args = sizeof(struct route_args), .shape = route_grad_shape,
                                  .emit = route_grad_emit, .host = route_grad_host };

/* ---- both from logits ---------------------------------------------------------------------------------- */

static const char *route_shape(const node *n, struct shape *out)
{
    *out = SHAPE(route_second(n->in[0]) + node_count(n->in[0]));
    return NULL;
}

static void route_emit(const node *n, launches *l)
{
    const struct route_args *a = n->args;
    const node *x = n->in[0];
    launch_add(l, &(launch){ .file = "route", .kernel = "route", .label = n->name,
        .local = { 1 }, .global = { (u64)images_of(x) }, .bytes = 3 * (f64)node_bytes(x),
        .args = { ARG_RANGE(x->home), ARG_RANGE(n->in[1]->home), ARG_RANGE(n->in[2]->home),
                  ARG_RANGE(n->n_in > 3 ? n->in[3]->home : RANGE_NONE), ARG_RANGE(n->home),
                  ARG_LONG(route_second(x)), ARG_LONG(tokens_of(x)), ARG_LONG(slots_of(x)), ARG_REAL(a->std),
                  ARG_INT(a->stream), ARG_LONG(a->samples), ARG_INT(a->flags),
                  ARG_LOCAL(column_bytes(x, 2)) } });
}

static void route_vjp(node *n, node *g, node *dx[])
{
    node *x = n->in[0], *all = node_new(&route_grad_op, n->args, x, n->in[1], n->in[2], n, g);
    i64 b = images_of(x);
    node *sums = op_sum_to(op_view(all, partials_offset(x), SHAPE(b, 2)), SHAPE(2));
    dx[0] = op_view(all, 0, x->shape);
    dx[1] = op_view(sums, 0, n->in[1]->shape);
    dx[2] = op_view(sums, 1, n->in[2]->shape);
}

const op route_op = { "route", .args = sizeof(struct route_args), .shape = route_shape, .emit = route_emit,
                      .vjp = route_vjp, .host = route_host };

/* ---- building it --------------------------------------------------------------------------------------- */

static node *route_heated(node *logits, node *t, node *noise)
{
    logits = op_div(logits, t);
    return noise ? op_add(logits, noise) : logits;
}

static struct routing route_composed(node *logits, node *t_disp, node *t_comb, node *noise, bool entmax)
{
    node *comb = route_heated(logits, t_comb, noise),
         *disp = op_softmax(route_heated(logits, t_disp, noise), 1);
    return (struct routing){ disp, entmax ? op_entmax15(comb) : op_softmax(comb, 2) };
}

static bool route_by_sides(const dev *d) { return d && dev_class(d) == DEV_GPU; }

static bool route_fusible(const node *logits, const node *t_disp, const node *t_comb, const node *noise)
{
    dev *d = logits->g->d;
    if (logits->g->composed || logits->shape.nd != 3 || node_count(t_disp) != 1 || node_count(t_comb) != 1 ||
        (noise && !shape_equal(noise->shape, logits->shape)) || trace_on(TRACE_no_join))
        return false;
    if (!d || dev_class(d) == DEV_NULL)
        return true;
    return dev_has_override(d, "route")
           && (route_by_sides(d) || column_bytes(logits, 2) <= dev_info(d)->local_mem);
}

struct routing op_route(node *logits, node *t_disp, node *t_comb, node *noise, bool entmax)
{
    node_keep_f32(logits);
    if (!route_fusible(logits, t_disp, t_comb, noise))
        return route_composed(logits, t_disp, t_comb, noise, entmax);
    struct route_args a = { .flags = entmax ? ENTMAX : 0 };
    node *in[4] = { logits, t_disp, t_comb, noise };
    const struct map_step *drawn = noise ? map_drawn(noise, "normal") : NULL;
    if (drawn) {
        a = (struct route_args){ a.flags | DRAWN, drawn->c, drawn->stream, drawn->samples };
        in[3] = graph_step(logits->g);
    } else if (noise) {
        a.flags |= GIVEN;
    }
    if (route_by_sides(logits->g->d))
        return route_sides(logits, t_disp, t_comb, noise ? in[3] : NULL, &a);
    node *both = node_make(logits->g, &route_op, &a, in, noise ? 4 : 3);
    return (struct routing){ op_view(both, 0, logits->shape),
                             op_view(both, route_second(logits), logits->shape) };
}
