/* route_sides.c: routing on GPUs: dispatch and combine as two ops of one launch each (cl/gpu/route.cl), and one
 * launch for the gradient of each. The gradient's node is dlogits; its temperature's, and the groups' shares of
 * it, are written by the same launch. */
#include "op/route.h"
#include "op/grid.h"
#include <math.h>

static i64 sides_images(const node *x) { return node_dim(x, 0); }
static i64 sides_tokens(const node *x) { return node_dim(x, 1); }
static i64 sides_slots(const node *x)  { return node_dim(x, 2); }

/* Dispatch goes by columns of an image, `block` to a group; combine by rows, one a team. */
static i64 sides_groups(const node *x, bool columns)
{
    i64 block = dev_tune(x->g->d, "route", "COLS"), teams = dev_team(x->g->d, "route").teams;
    return columns ? sides_images(x) * CEIL_DIV(sides_slots(x), block)
                   : CEIL_DIV(sides_images(x) * sides_tokens(x), teams);
}

/* ---- gradients: maybe what dlogits is added to, then logits, temperature, result, its adjoint ---------- */

struct side_grad_args { int flags; node *partials, *dt; };
static const op route_dispatch_op, route_combine_op, route_dispatch_grad_op, route_combine_grad_op;

static const node *sides_logits(const node *grad) { return grad->in[grad->n_in - 4]; }

static const char *sides_grad_shape(const node *n, struct shape *out)
{
    *out = sides_logits(n)->shape;
    return NULL;
}

static void sides_grad_emit(const node *n, launches *l)
{
    const struct side_grad_args *a = n->args;
    const node *x = sides_logits(n), *const *in = (const node *const *)n->in + n->n_in - 4;
    bool columns = n->op == &route_dispatch_grad_op;
    const arg by = columns ? (arg)ARG_LONG(dev_tune(launches_dev(l), "route", "COLS")) : (arg)ARG_INT(a->flags);
    launch k = { .file = "route", .kernel = columns ? "route_dispatch_grad" : "route_combine_grad",
                 .label = n->name,
        .bytes = (f64)node_bytes(x) * n->n_in,
        .args = { ARG_RANGE(x->home), ARG_RANGE(in[1]->home), ARG_RANGE(in[2]->home), ARG_RANGE(in[3]->home),
                  ARG_RANGE(n->n_in > 4 ? n->in[0]->home : RANGE_NONE), ARG_RANGE(n->home),
                  ARG_RANGE(a->partials->home), ARG_RANGE(a->dt ? a->dt->home : RANGE_NONE),
                  ARG_RANGE(a->dt ? dev_counters(launches_dev(l)) : RANGE_NONE), ARG_LONG(sides_images(x)),
                  ARG_LONG(sides_tokens(x)), ARG_LONG(sides_slots(x)), by } };
    grid_groups(l, &k, sides_groups(x, columns), 1, 1);
    launch_add(l, &k);
}

/* dx, added to what is before the logits, and -sum(d logits) / T^2 into each group's share. */
static void sides_host(const node *n, const f64 *const *all, f64 *dx, f64 *parts, f64 *dt)
{
    const node *x = sides_logits(n);
    const f64 *const *in = all + n->n_in - 4;
    bool columns = n->op == &route_dispatch_grad_op,
         entmax = ((const struct side_grad_args *)n->args)->flags & ENTMAX;
    i64 block = dev_tune(x->g->d, "route", "COLS"), teams = dev_team(x->g->d, "route").teams,
        slots = sides_slots(x);
    f64 *d = arena_array(x->g->a, f64, node_count(x));
    route_host_side_grad(x, columns, entmax, in[2], in[3], d);
    for (i64 i = 0; i < node_count(x); i++) {
        i64 image = i / slots / sides_tokens(x);
        i64 group = columns ? image * CEIL_DIV(slots, block) + i % slots / block : i / slots / teams;
        f64 share = -d[i] * in[0][i] / (in[1][0] * in[1][0]);
        if (dx)
            dx[i] = d[i] / in[1][0] + (n->n_in > 4 ? all[0][i] : 0);
        if (parts)
            parts[group] = (isnan(parts[group]) ? 0 : parts[group]) + share;
        if (dt)
            *dt = (isnan(*dt) ? 0 : *dt) + share;
    }
}

static void sides_grad_host(const node *n, const f64 *const *in, f64 *dx) { sides_host(n, in, dx, NULL, NULL); }

static void sides_grad_host_side(const node *n, const node *side, const f64 *const *in, f64 *y)
{
    bool all = side == ((const struct side_grad_args *)n->args)->dt;
    sides_host(n, in, NULL, all ? NULL : y, all ? y : NULL);
}

#define SIDE_GRAD .args = sizeof(struct side_grad_args), .shape = sides_grad_shape, .emit = sides_grad_emit, \
                  .host = sides_grad_host, .host_side = sides_grad_host_side
static const op route_dispatch_grad_op = { "route_dispatch_grad", SIDE_GRAD };
static const op route_combine_grad_op  = { "route_combine_grad", SIDE_GRAD };

/* The groups' shares of the temperature's gradient, and their sum: written by the gradient's launch. */
static const char *sides_partials_shape(const node *n, struct shape *out)
{
    *out = SHAPE(*(const i64 *)n->args);
    return NULL;
}

static const char *sides_dt_shape(const node *n, struct shape *out)
{
    (void)n;
    *out = SCALAR;
    return NULL;
}

static const op route_partials_op = { "route_partials", .args = sizeof(i64),
                                      .shape = sides_partials_shape };
static const op route_dt_op = { "route_dt", .shape = sides_dt_shape };

static void sides_vjp(node *n, node *g, node *dx[])
{
    bool columns = n->op == &route_dispatch_op;
    node *x = n->in[0], *t = n->in[1];
    i64 groups = sides_groups(x, columns);
    dx[0] = node_new(columns ? &route_dispatch_grad_op : &route_combine_grad_op,
                     (&(struct side_grad_args){ .flags = ((const struct route_args *)n->args)->flags }), x, t,
                     n, g);
    struct side_grad_args *grad = (struct side_grad_args *)dx[0]->args;
    grad->partials = node_new(&route_partials_op, &groups, x);
    grad->partials->maker = dx[0];
    if (dev_info(x->g->d)->joins) {
        grad->dt = node_new(&route_dt_op, NULL, grad->partials);         // partials: so that they have memory
        grad->dt->maker = dx[0];
    }
    dx[1] = op_reshape(grad->dt ? grad->dt : op_sum_to(grad->partials, SCALAR), t->shape);
}

bool route_takes_past(const node *n)
{
    return (n->op == &route_dispatch_grad_op || n->op == &route_combine_grad_op) && n->n_in == 4;
}

/* ---- the sides ----------------------------------------------------------------------------------------- */

static const char *sides_shape(const node *n, struct shape *out)
{
    *out = n->in[0]->shape;
    return NULL;
}

static void sides_emit(const node *n, launches *l)
{
    const struct route_args *a = n->args;
    const node *x = n->in[0];
    bool columns = n->op == &route_dispatch_op;
    launch k = { .file = "route", .label = n->name, .bytes = 2 * (f64)node_bytes(x),
        .kernel = columns ? "route_dispatch" : a->flags & ENTMAX ? "route_entmax" : "route_softmax",
        .args = { ARG_RANGE(x->home), ARG_RANGE(n->in[1]->home),
                  ARG_RANGE(n->n_in > 2 ? n->in[2]->home : RANGE_NONE), ARG_REAL(a->std), ARG_INT(a->stream),
                  ARG_LONG(a->samples), ARG_INT(a->flags), ARG_RANGE(n->home), ARG_LONG(sides_images(x)),
                  ARG_LONG(sides_tokens(x)), ARG_LONG(sides_slots(x)) } };
    if (columns)
        k.args[11] = (arg)ARG_LONG(dev_tune(launches_dev(l), "route", "COLS"));
    grid_groups(l, &k, sides_groups(x, columns), 1, 1);
    launch_add(l, &k);
}

static void sides_forward_host(const node *n, const f64 *const *in, f64 *y)
{
    route_host_side(n->in[0], n->args, n->op == &route_dispatch_op, in, in[1][0], n->n_in > 2 ? in[2] : NULL,
                    y);
}

#define SIDE .args = sizeof(struct route_args), .shape = sides_shape, .emit = sides_emit, .vjp = sides_vjp, \
             .host = sides_forward_host
static const op route_dispatch_op = { "route_dispatch", SIDE };
static const op route_combine_op  = { "route_combine", SIDE };

struct routing route_sides(node *logits, node *t_disp, node *t_comb, node *noise, const struct route_args *a)
{
    node *disp[3] = { logits, t_disp, noise }, *comb[3] = { logits, t_comb, noise };
    return (struct routing){ node_make(logits->g, &route_dispatch_op, a, disp, noise ? 3 : 2),
                             node_make(logits->g, &route_combine_op, a, comb, noise ? 3 : 2) };
}
