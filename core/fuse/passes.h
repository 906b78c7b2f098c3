/* passes.h: what simplify.c calls, one after the other. Each pass leaves the nodes it absorbed without
 * readers; drop_dead removes them. */
#ifndef JETCL_FUSE_PASSES_H
#define JETCL_FUSE_PASSES_H
#include "fuse/fuse.h"

/* ---- drop.c */
void drop_dead(graph *g);

/* ---- uses.c: how often each node, by id, is an operand. A pass counts once and updates its counts */
int *uses_count(graph *g);
void uses_forget(const node *n, int *uses);      /* before n's operands change */
void uses_add(const node *n, int *uses);         /* after they did */
/* Can n's values stay in registers? One node reads them, and nothing outside the graph. */
bool uses_private(const node *n, const int *uses);
node *source_of(node *n);                        /* where n's values come from, whatever their shape */

/* ---- products.c, sums.c, join.c */
void fuse_products(graph *g);
void fuse_sums(graph *g);
void fuse_pads(graph *g);
void join_chains(graph *g);

/* ---- strides.c */
void fuse_strides(graph *g);

/* ---- types.c */
void types_assign(graph *g);                     /* last: nothing looks at a node's type before */

#endif
