/* attention.c: softmax(q k^T / sqrt(d)) v for every head of packed qkv (b n 3*h*d), composed of products and a softmax. */
#include "op/op.h"
#include <math.h>

node *op_attention(node *qkv, int heads)
{
    i64 b = node_dim(qkv, 0), n = node_dim(qkv, 1), d = node_dim(qkv, 2) / (3 * heads);
    if (qkv->shape.nd != 3 || d * 3 * heads != node_dim(qkv, 2)) {
        graph_complain(qkv->g, "attention: %s is not (b n 3*%d*d)", shape_text(qkv->g->a, qkv->shape), heads);
        return qkv;
    }
    node *split = op_transpose(op_reshape(qkv, SHAPE(b, n, 3, heads, d)), 2, 0, 3, 1, 4);               /* 3 b h n d */
    struct shape one = SHAPE(b * heads, n, d);
    i64 part = b * heads * n * d;
    node *q = op_view(split, 0, one), *k = op_view(split, part, one), *v = op_view(split, 2 * part, one);
    node *score = op_scale(op_matmul(q, k, TRANS_B), (f32)(1 / sqrt((f64)d)));                          /* (b h) n n */
    node *out = op_matmul(op_softmax(score, -1), v, 0);                                                 /* (b h) n d */
    return op_reshape(op_transpose(op_reshape(out, SHAPE(b, heads, n, d)), 0, 2, 1, 3), SHAPE(b, n, heads * d));
}
