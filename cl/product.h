/* product.h: what the matmul files of all classes share: their arguments, and the epilogue's steps.
 *
 *     C[z] = act(alpha A[z] B[z] + bias[z]) + other[z],         z = (outer, inner), one matrix a batch
 *
 * A long4 places an operand: (element of the first value, stride of a row, stride of outer, stride of inner).
 */
#include "type.h"
enum {
#define FLAG(name, value) name = value,
#include "product_flags.def"
#undef FLAG
    ACTIVATION = -ACT_UNIT                    // all bits of its number
};
static int act_of(const int flags) { return flags / ACT_UNIT; }

#define EPILOGUE_ARGS                                                                                     \
    global TYPE(Tc) *c, const long4 lc, global const TYPE(Td) *bias, const long4 lbias,                   \
    global TYPE(Ts) *side, const long4 lside, global const TYPE(To) *other, const long4 lother,           \
    const long4 size,                         /* m, n, k, batches of the inner axis */                    \
    const int batches,                        /* outer * inner */                                         \
    const int flags, const float alpha

#define PRODUCT_ARGS                                                                                      \
    global const TYPE(Ta) *a, const long4 la, global const TYPE(Tb) *b, const long4 lb, EPILOGUE_ARGS,    \
    const long4 block,                        /* how the class cuts it up: see each file */               \
    const int share,                          /* of k for one group; less than k: group z / batches does  \
                                                 its split and writes a slab of its own, slabs lie         \
                                                 m * n * batches apart */                                 \
    volatile global int *tickets                /* CPUs: ticket.h */

static long place(const long4 l, const int z, const int inner)
{
    return l.x + z / inner * l.z + z % inner * l.w;
}
