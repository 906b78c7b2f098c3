/* route.h: routing from inside: what op_route (route.c) is made of where rows and columns have
 * launches of their own (route_sides.c). */
#ifndef JETCL_OP_ROUTE_H
#define JETCL_OP_ROUTE_H
#include "op/op.h"

enum {
#define FLAG(name, value) name = value,
#include "cl/route_flags.def"
#undef FLAG
};
struct route_args { int flags; f32 std; u32 stream; i64 samples; };

/* noise: the step buffer, an operand, or NULL, as a->flags say. */
struct routing route_sides(node *logits, node *t_disp, node *t_comb, node *noise, const struct route_args *a);

/* In float64: y = the dispatch or combine of logits x (in[0]) at temperature t, noise as above; d = the
 * adjoint of what its softmax or entmax saw, from y and its adjoint g. */
void route_host_side(const node *x, const struct route_args *a, bool dispatch, const f64 *const *in, f64 t,
                     const f64 *noise, f64 *y);
void route_host_side_grad(const node *x, bool dispatch, bool entmax, const f64 *y, const f64 *g, f64 *d);

#endif
