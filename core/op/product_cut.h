/* product_cut.h: what product_cut.c decides and product.c launches. */
#ifndef JETCL_PRODUCT_CUT_H
#define JETCL_PRODUCT_CUT_H
#include "op/product.h"

struct cut {
    const char *file;                /* of kernels: "matmul", or another */
    char defs[224];                  /* the compiled variant */
    u64  items[2];                   /* of a group */
    i64  mb, nb;                     /* rows and columns of a group */
    i64  kb, np;                     /* of k and of the columns, what a CPU packs at a time */
    i64  share, splits;              /* split-K: k of one split, and how many */
    i64  tiles;                      /* GPUs: of all batches */
    bool joined;                     /* GPUs: the product itself adds up its splits */
    i64  workers;                    /* CPUs: groups that draw tickets for blocks */
    i64  local;                      /* floats of local memory */
};

struct cut product_cut(const dev *d, const struct product *p);
/* product_matrix.c: does a matrix engine compute it, and how it is cut then. */
bool       product_on_matrix(const dev *d, const struct product *p);
struct cut product_cut_matrix(const dev *d, const struct product *p);
/* Do all rows of A and B start at multiples of four values, of 16 bytes at least where they are F32? Do
 * offsets within one take more than 32 bits? */
bool product_aligned(const struct product *p);
bool product_far(const struct product *p);
/* The tunable's value for this shape, or else for the device's class. */
i64 product_tune(const dev *d, const struct product *p, const char *macro);
static inline i64 product_batches(const struct product *p) { return p->outer * p->inner; }

#endif
