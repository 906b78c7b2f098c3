/* autograd.h: the reverse sweep. The graph below knows nothing of it.
 *
 *     node *grads[2];
 *     grad_build(loss, (node *[]){ w, b }, 2, grads);        // d loss / d w, d loss / d b as nodes
 *
 * `make layers` checks that no file calls one that stands after it here:
 * Order: recompute grad
 */
#ifndef JETCL_AUTOGRAD_H
#define JETCL_AUTOGRAD_H
#include "op/op.h"

/* Appends the reverse sweep of a scalar loss; out[i] has wrt[i]'s shape, or is NULL when the loss does not
 * depend on it. An op without vjp on the way is a complaint that names it. */
void grad_build(node *loss, node *const *wrt, int n, node **out);

/* The sweep from any node with a given adjoint of its shape. */
void grad_build_from(node *y, node *adjoint, node *const *wrt, int n, node **out);

/* Nodes [from, to] of the forward part, by id, whose values are not kept for the backward part: it makes
 * them again from what goes into the stretch, right before it needs them. What is read outside of it
 * stays as well. */
struct span { int from, to; };
/* grad_build with such stretches, in any order, none inside another. */
void grad_build_forgetting(node *loss, node *const *wrt, int n, const struct span *spans, int n_spans,
                           node **out);
/* From the first to the last node of each of n scopes ("blocks.3"); scopes without nodes are left out.
 * Returns how many. */
int  recompute_spans(const graph *g, const char *const *scopes, int n, struct span *out);
/* Makes the span's nodes again at the end of the graph: again[id] is the new one of each. For the sweep. */
void recompute_span(graph *g, struct span s, node **again);

#endif
