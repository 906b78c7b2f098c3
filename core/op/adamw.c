/* adamw.c: the optimiser's step over whole slabs: a launch per slab instead of one per parameter. Learning
 * rate scale and weight decay stand in a table with a row per block of ADAMW_BLOCK elements; parameters start
 * on blocks.
 *
 *     p *= 1 - lr wd;   m = b1 m + (1 - b1) g;   v = b2 v + (1 - b2) g^2
 *     p -= lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps)                (Loshchilov and Hutter 2019)
 */
#include "op/op.h"
#include "op/grid.h"

static const char *scalar_shape(const node *n, struct shape *out)
{
    (void)n;
    *out = SCALAR;
    return NULL;
}

/* ---- sum of squares ------------------------------------------------------------------------------------ */

struct slab_args { range x, sum; i64 count; f32 keep, share; };

#define SQUARE_CHUNK 16384
static i64 chunks_of(const struct slab_args *s) { return CEIL_DIV(s->count, (i64)SQUARE_CHUNK); }

static void square_emit(const node *n, launches *l)
{
    const struct slab_args *s = n->args;
    launch first = { .file = "adamw", .kernel = "square_partials", .label = n->name,
                     .bytes = (f64)dtype_bytes(F32) * (f64)s->count,
                     .args = { ARG_RANGE(s->x), ARG_RANGE(n->work), ARG_LONG(s->count),
                               ARG_LONG(SQUARE_CHUNK) } };
    launch second = { .file = "adamw", .kernel = "add_partials", .label = n->name,
                      .args = { ARG_RANGE(n->work), ARG_RANGE(n->home), ARG_LONG(chunks_of(s)) } };
    grid_groups(l, &first, chunks_of(s), 1, 1);
    launch_add(l, &first);
    grid_groups(l, &second, 1, 1, 1);
    launch_add(l, &second);
}

static u64 square_scratch(const node *n) { return dtype_bytes(F32) * (u64)chunks_of(n->args); }

const op square_sum_op = { "square_sum", .args = sizeof(struct slab_args), .shape = scalar_shape,
                           .emit = square_emit, .scratch = square_scratch };

node *op_square_sum(graph *g, range x, i64 count)
{
    return node_make(g, &square_sum_op, &(struct slab_args){ .x = x, .count = count }, NULL, 0);
}

/* ---- sum = keep sum + share x -------------------------------------------------------------------------- */

static void blend_emit(const node *n, launches *l)
{
    const struct slab_args *s = n->args;
    launch k = { .file = "adamw", .kernel = "blend_into", .label = n->name,
                 .bytes = 3 * (f64)dtype_bytes(F32) * (f64)s->count,
                 .args = { ARG_RANGE(s->sum), ARG_RANGE(s->x), ARG_LONG(s->count), ARG_LONG(SQUARE_CHUNK),
                           ARG_REAL(s->keep), ARG_REAL(s->share) } };
    grid_groups(l, &k, chunks_of(s), 1, 1);
    launch_add(l, &k);
}

const op blend_into_op = { "blend_into", .args = sizeof(struct slab_args), .flags = OP_EFFECT,
                           .shape = scalar_shape, .emit = blend_emit };

static void adamw_blend(graph *g, range sum, range x, i64 count, f32 keep, f32 share)
{
    node *n = node_make(g, &blend_into_op, &(struct slab_args){ x, sum, count, keep, share }, NULL, 0);
    n->fixed = true;                              // graph_last asks who makes the sum
    n->home = sum;
}

void op_blend_into(graph *g, range mean, range x, i64 count, f32 keep)
{
    adamw_blend(g, mean, x, count, keep, 1 - keep);
}

void op_add_into(graph *g, range sum, range x, i64 count) { adamw_blend(g, sum, x, count, 1, 1); }

/* ---- AdamW --------------------------------------------------------------------------------------------- */

static void adamw_emit(const node *n, launches *l)
{
    const struct adamw_args *a = n->args;
    i64 blocks = CEIL_DIV(a->count, (i64)ADAMW_BLOCK), share = dev_tune(launches_dev(l), "adamw", "SHARE");
    // 1 - beta in double: in float, 1 - .999 is off by 1e-5 of itself, and v with it
    launch k = { .file = "adamw", .kernel = "adamw", .label = n->name,
                 .bytes = 7 * (f64)dtype_bytes(F32) * (f64)a->count,
                 .args = { ARG_RANGE(a->p), ARG_RANGE(a->g), ARG_RANGE(a->m), ARG_RANGE(a->v),
                           ARG_RANGE(a->groups), ARG_RANGE(n->in[0]->home), ARG_RANGE(n->in[1]->home),
                           ARG_LONG(a->count), ARG_LONG(share), ARG_REAL(a->beta1), ARG_REAL(1 - a->beta1),
                           ARG_REAL(a->beta2), ARG_REAL(1 - a->beta2), ARG_REAL(a->eps),
                           ARG_REAL(a->clip) } };
    grid_groups(l, &k, CEIL_DIV(blocks, share), 1, 1);
    launch_add(l, &k);
}

const op adamw_op = { "adamw", .args = sizeof(struct adamw_args), .flags = OP_EFFECT, .shape = scalar_shape,
                      .emit = adamw_emit };

void op_adamw(node *square_sum, const struct adamw_args *a)
{
    node_new(&adamw_op, a, square_sum, graph_step(square_sum->g));
}
