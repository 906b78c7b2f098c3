/* product.h: the matrix product and its fused epilogue as launches; the one door to every matmul kernel.
 *
 *     struct product p = { .m = b * n, .n = d_out, .k = d_in, .outer = 1, .inner = 1, .tb = true, .alpha = 1,
 *                          .a = { .r = x, .row = d_in }, .b = { .r = weight, .row = d_in },
 *                          .c = { .r = y, .row = d_out }, .bias = { .r = bias } };
 *     p.scratch = ...;                         // product_scratch(d, &p) bytes, free again after the launch
 *     product_emit(l, &p, "blocks.3.mlp.fc1");
 */
#ifndef JETCL_PRODUCT_H
#define JETCL_PRODUCT_H
#include "dev/dev.h"

/* Where an operand lies: element `at + outer * o + inner * i + row * r + c` of the range is row r, column c
 * of batch (o, i). Strides in elements; 0 shares one matrix among batches. Columns are contiguous. No
 * alignment is asked of `at`. */
struct operand { range r; i64 at, row, outer, inner; enum dtype type; };

/* An activation of cl/act.def, or none. */
enum act {
    ACT_NONE,
#define ACT(name, value, slope) ACT_##name,
#include "cl/act.def"
#undef ACT
};
/* Nothing, the value before the activation, the activation's derivative there; sums of stored A's columns
 * (where product_sums() can, and A is transposed). */
enum product_keep { KEEP_NOTHING, KEEP_PRE, KEEP_SLOPE, KEEP_SUMS };

/* C[z] = act(alpha op(A[z]) op(B[z]) + bias[z]) mask[z] + other[z] (+ C[z]) for every batch z = (outer,
 * inner). All sizes at least 1. C may not overlap A or B; what is added may be C itself. NaN and infinities
 * propagate; C is not read unless `accumulate`. The order of every sum depends on the sizes, the device
 * class and its tuning file only. */
struct product {
    i64 m, n, k, outer, inner;
    bool ta, tb;                     /* A is stored (k m) instead of (m k); B (n k) instead of (k n) */
    struct operand a, b, c;
    struct operand bias;             /* n values a batch (row unused); r.mem NULL: none */
    enum act act;
    struct operand other;            /* with a layout of its own; added after act; r.mem NULL: none */
    bool times;                      /* it is multiplied with instead */
    /* A mask that is drawn (op_keep_mask): 1 / kept with probability `kept`, else 0; one number
     * for `rows` rows of C, batch after batch, or where that is 0 one for each element. kept 0:
     * none. Only where product_masks(). */
    struct mask { range step; u32 stream; i64 together, samples, rows; f32 kept; } mask;
    enum product_keep keep;          /* a second result, for the backward part, goes to.. */
    struct operand side;             /* ..here: laid out like C; sums: m values a batch (row unused) */
    bool accumulate;                 /* C += instead of C = */
    f32 alpha;
    range scratch;                   /* of product_scratch() bytes: partial sums of a split k */
};

/* What dev_tune_for calls its shape: "nt.8192x576x192", m x n x k; after "nt." the number of batches, if more
 * than one; at the end, of half types, which and of what: "nt.8192x576x192.BF16ac". Kernels of half types are
 * others, and so are the values that suit them. */
void product_key(const struct product *p, char key[64]);
bool product_sums(const dev *d);
bool product_masks(const dev *d);
u64  product_scratch(const dev *d, const struct product *p);    /* bytes, or 0; p->scratch is not read */
/* The register tile of this device's CPU kernels (-DMR, -DNV): rows, and vectors of 16 columns. Attention
 * uses it too. */
struct product_tile { int rows, vectors; };
struct product_tile product_tile(const struct dev_info *i);
/* Of k, and values of B, that a CPU packs at a time, as its caches are large (product_cut.c). */
struct product_fit { i64 kb, pack; };
struct product_fit product_fit(const struct dev_info *i, bool transposed, bool few);
void product_emit(launches *l, const struct product *p, const char *label);

#endif
