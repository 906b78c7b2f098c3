/* host.h: what the float64 loops of ops (op->host, op->host_side) share. They are the reference of the self-
 * test: plain, written from the formulas, and not fast.
 *
 *     for (i64 i = 0, every = host_every(rows, (f64)cols); i < rows; i += every)
 *         host_softmax(in[0] + i * cols, y + i * cols, cols, 1);
 */
#ifndef JETCL_OP_HOST_H
#define JETCL_OP_HOST_H
#include "op/op.h"

/* Of n pieces of `each` multiply-adds every which one is to be computed, so that large nodes take
 * milliseconds. No multiple of 2, 3, 5 or 7: places that are looked at do not repeat along an axis. */
i64  host_every(i64 n, f64 each);
/* Element i of an array of shape `out`, as an element of s, which broadcasts to it. */
i64  host_at(struct shape out, i64 i, struct shape s);
/* Of n elements, `step` apart. */
void host_softmax(const f64 *x, f64 *p, i64 n, i64 step);
void host_entmax(const f64 *x, f64 *p, i64 n);             /* side by side */
/* The adjoint of x from p = softmax(x), or entmax(x), and its adjoint g. */
void host_softmax_grad(const f64 *p, const f64 *g, f64 *dx, i64 n, i64 step, bool entmax);

/* ---- map_host.c */
/* What step s draws for the element `at` of its own shape; words: the step buffer's. */
f64  map_host_draw(const struct map_step *s, const f64 *words, i64 at);
/* A standard normal at an element of the device's counters: rng.c. */
f64  host_normal(const f64 *words, u32 stream, i64 element);
f64  map_host_act(enum act act, f64 x, bool slope);        /* of ACT_NONE: x */
void map_host(const node *n, const f64 *const *in, f64 *y);

#endif
