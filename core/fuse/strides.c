/* strides.c: batched products read a permuted array where it lies. With (b e d) of tokens'
 * slots and products per expert:
 *
 *     permute (b e d) -> (e b d), cut into parts of e, each an operand: matrices of b rows
 *     becomes: the operand is (b e d) itself, its rows e d apart, its matrices d apart
 *
 * The node between becomes an alias of the array that only products understand (op_become_strided). GPUs alone:
 * each permutation is a launch and two passes over memory. */
#include "fuse/passes.h"

/* Where view v begins in its source; the source: no view. */
static node *strides_source(node *v, i64 *offset)
{
    for (*offset = 0; v->op == &view_op; v = v->in[0])
        *offset += v->op->offset(v);
    return v;
}

/* Is n a product that reads v as one matrix for each of its batches, and nothing else? */
static bool strides_reader(const node *n, const node *v)
{
    if (n->op != &matmul_op || n->in[0]->shape.nd != 3 || n->in[1]->shape.nd != 3)
        return false;
    for (int k = 2; k < n->n_in; k++)
        if (n->in[k] == v)
            return false;
    return true;
}

void fuse_strides(graph *g)
{
    if (!g->d || dev_class(g->d) != DEV_GPU || g->half != F32)
        return;
    bool *fits = arena_array(g->a, bool, g->n);
    for (size_t i = 0; i < g->n; i++)
        fits[i] = g->nodes[i]->shape.nd == 3 && !g->nodes[i]->keep && !g->nodes[i]->fixed
                  && !g->nodes[i]->maker;
    for (size_t i = 0; i < g->n; i++)
        for (int k = 0; k < g->nodes[i]->n_in; k++)
            fits[g->nodes[i]->in[k]->id] &= strides_reader(g->nodes[i], g->nodes[i]->in[k]);
    for (size_t i = 0; i < g->n; i++) {
        i64 offset;
        node *v = g->nodes[i], *p = strides_source(v, &offset);
        if (fits[i])
            op_become_strided(v, p, offset);
    }
}
