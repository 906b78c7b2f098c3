/* onnx.h: ops as ONNX operators (opset 17). An op's `onnx` function adds nodes and returns its value's name:
 *
 *     static const char *softmax_onnx(const node *n, struct onnx *o)
 *     {
 *         const char *y = onnx_apply(o, "Softmax", onnx_in(o, n, 0));
 *         onnx_int(o, "axis", axis_of(n));                 // of the node added last
 *         return y;
 *     }
 *
 * Nothing here knows a file: core/export writes the list. Images are counted by an axis without a length: the
 * network is built twice, for two and for three of them, and what differs between the twins is that axis.
 */
#ifndef JETCL_OP_ONNX_H
#define JETCL_OP_ONNX_H
#include "op/op.h"

#define ONNX_IN 4
#define ONNX_FLOAT 1                              /* numbers of types, for Cast */
#define ONNX_HALF 10

struct onnx_attr {
    const char *name;
    enum { ATTR_INT, ATTR_INTS, ATTR_REAL, ATTR_REALS } kind;
    i64 i;
    f32 f;
    i64 n;
    const i64 *ints;
    const f32 *reals;
};
struct onnx_node {
    const char *type, *out, *name, *in[ONNX_IN];
    int n_in, n_attr;
    struct onnx_attr attr[4];
};
struct onnx {
    arena       *a;
    bool         half;                            /* values are half precision, save onnx_wide's */
    const graph *twin;                            /* the same graph for another number of images */
    const char **value;                           /* of each node, by id: set as they are exported, in order */
    const char  *input;                           /* whose axis 0 counts images */
    const char  *images;                          /* how many, as a list of one; NULL until it is asked for */
    const node  *now;                             /* names new nodes */
    struct onnx_node **list;
    size_t       n, cap;
    const char  *complaint;                       /* the first, or NULL */
};

/* Exports all nodes of g that have no value yet. -1 + fail(FAULT_USAGE) for what ONNX has no operator for. */
int         onnx_graph(struct onnx *o, const graph *g);
const char *onnx_complain(struct onnx *o, const char *why);        /* for an op: returns NULL */

/* Values are names, in o's arena. */
const char *onnx_in(const struct onnx *o, const node *n, int k);   /* operand k's */
const char *onnx_push(struct onnx *o, const char *type, const char *const *in, int n_in);
#define onnx_apply(o, type, ...) \
    onnx_push(o, type, (const char *[]){ __VA_ARGS__ }, countof(((const char *[]){ __VA_ARGS__ })))
void        onnx_int(struct onnx *o, const char *name, i64 v);     /* attributes of the node added last */
void        onnx_ints(struct onnx *o, const char *name, i64 n, const i64 *v);
void        onnx_real(struct onnx *o, const char *name, f32 v);

const char *onnx_list(struct onnx *o, i64 n, const i64 *v);        /* a constant list of integers */
#define onnx_integers(o, ...) onnx_list(o, countof(((i64[]){ __VA_ARGS__ })), (i64[]){ __VA_ARGS__ })
const char *onnx_index(struct onnx *o, i64 v);                     /* a constant integer */
const char *onnx_number(struct onnx *o, f32 v);                    /* a constant number in single precision */
const char *onnx_half(struct onnx *o, const char *v);              /* as the graph has its values */
const char *onnx_wide(struct onnx *o, const char *v);              /* in single precision */
const char *onnx_values(struct onnx *o, struct shape s, const f32 *v);     /* a constant array */

int         onnx_images_axis(const struct onnx *o, const node *n); /* the axis that counts images; -1: none */
const char *onnx_shape(struct onnx *o, const node *n);             /* its shape for Reshape: -1 on that axis */
const char *onnx_expand(struct onnx *o, const char *x, const node *to);    /* broadcast to its shape */

#endif
