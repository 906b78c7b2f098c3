/* fuse.h: passes that rewrite a finished graph, between its builders and graph_compile.
 *
 *     grads[0] = simplify_place(grads[0], home);             // computed straight into the gradient slab
 *     simplify_graph(g);                                     // drop, fuse, join
 *
 * `make layers` checks that no file calls one that stands after it here:
 * Order: uses drop products sums strides join types simplify
 */
#ifndef JETCL_FUSE_H
#define JETCL_FUSE_H
#include "autograd/autograd.h"

/* A node with n's values that is computed into `home`: n itself where nothing hinders it, else a copy. */
node *simplify_place(node *n, range home);

/* Drops nodes that nothing alive reads: all that is done to a graph that is written out instead of run. */
void simplify_drop(graph *g);
/* Drops dead nodes (alive: kept, fixed, effects, and what they need), fuses what follows a product into
 * it, joins pointwise chains; decides what is stored in g->half, if that is not F32. JETCL_TRACE=no_join
 * leaves fusing and joining out. Node ids change; order
 * stays valid. */
void simplify_graph(graph *g);

#endif
