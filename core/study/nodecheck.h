/* nodecheck.h: every kernel of a network against plain loops in float64 on the host.
 *
 *     struct kernel_checks c = kernel_checks_new(arena);
 *     if (nodecheck_network(&c, &spec, device, 4)) return -1;
 *     if (c.first) puts(c.first);            // "blocks.1.attn': attention_grad in attention.cl attention_grad"
 *
 * Each node is held against loops over the operands that the device itself has, so that errors do not add up:
 * what a node is off by is its own kernel's doing. Large products and attentions are looked at in part. */
#ifndef JETCL_NODECHECK_H
#define JETCL_NODECHECK_H
#include "graph/graph.h"
#include "spec/spec.h"

/* error: the worst over its bound, in the Euclidean norm of a node; ulps: of the node's largest value;
 * largest: of all, 0 where nothing but zeros was looked at. unsteady: the same launch gave other bits. */
struct kernel_check {
    const char *name, *where;
    int nodes;
    f64 error, ulps, bound, largest, ms;
    bool equal, failed, unsteady;
};
struct kernel_checks {
    arena *a;
    struct kernel_check *list;
    int n, cap;
    int nodes, equal; /* looked at; those of them with the bits that float64 rounds to */
    int unknown;                                  /* nodes without loops */
    const char *first;                            /* the first that is off, in words, or NULL */
    f64 error;
};
struct kernel_checks kernel_checks_new(arena *a);
/* Adds values that `kernel` ("adamw.cl adamw") gave for `where`; those whose `want` is NAN are not looked
 * at. */
void kernel_checked(struct kernel_checks *c, const char *kernel, const char *where, const f64 *got,
                    const f64 *want, i64 n, f64 bound);
/* Runs a compiled graph whose inputs are there, node by node. unit: of the coarsest type in it. 0, or -1 +
 * fail. */
int  nodecheck_graph(struct kernel_checks *c, graph *g, f64 unit);
/* The graph of s's network for n made-up images, forward and backward, on d. 0, or -1 + fail. */
int  nodecheck_network(struct kernel_checks *c, const struct spec *s, dev *d, int n);
/* Launches everything that nodecheck_network launches, the last first, over memory without meaning: its
 * kernels are compiled then. 0, or -1 + fail. */
int  nodecheck_ahead(const struct spec *s, dev *d, int n);

/* ---- kernelcheck.c: what is not part of a network's graph ------------------------------------------- */

/* Optimiser, averages, loss scale; activation statistics; batches; initial values. 0, or -1 + fail. */
int  kernelcheck_all(struct kernel_checks *c, dev *d);

/* ---- opcheck.c: ops that the networks of the self-test do not have, or not in every form ----------- */

/* Forward and backward part of each, at odd and even sizes. 0, or -1 + fail. */
int  opcheck_all(struct kernel_checks *c, dev *d);

#endif
