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

#endif
