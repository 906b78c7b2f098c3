/* product.h: what the matmul files of all classes share: their arguments, and the epilogue's steps.
 *
 *     C[z] = act(alpha A[z] B[z] + bias[z]) + other[z],         z = (outer, inner), one matrix a batch
 *
 * A long4 places an operand: (element of the first value, stride of a row, stride of outer, stride of inner).
 */
enum {
    TRANS_A = 1, TRANS_B = 2,                   // A is stored (k m), B is stored (n k)
    GELU = 4, BIAS = 8,
    PRE = 16,                                 // what goes into the activation is kept in `side`
    RESIDUAL = 32,                            // `other` is added
    ONTO = 64,                                // the sum starts from what C holds
    ADD = 128,                                // what C holds is added at the end, after the activation
    SLOPE = 256,                              // the activation's derivative is kept in `side`
    FACTOR = 512,                             // `other` is multiplied with, where else it would be added
    SUMS = 1024                               // (CPUs, TRANS_A) side[i] = sum of A's column i
};

#define EPILOGUE_ARGS                                                                                     \
    global float *c, const long4 lc, global const float *bias, const long4 lbias,                         \
    global float *side, const long4 lside, global const float *other, const long4 lother,                 \
    const long4 size,                         /* m, n, k, batches of the inner axis */                    \
    const int batches,                        /* outer * inner */                                         \
    const int flags, const float alpha

#define PRODUCT_ARGS                                                                                      \
    global const float *a, const long4 la, global const float *b, const long4 lb, EPILOGUE_ARGS,          \
    const long4 block,                        /* how the class cuts it up: see each file */               \
    const int share,                          /* of k for one group; less than k: group z / batches does  \
                                                 its part and writes a slab of its own, slabs lie         \
                                                 m * n * batches apart */                                 \
    volatile global int *tickets                /* CPUs: ticket.h */

static long place(const long4 l, const int z, const int inner)
{
    return l.x + z / inner * l.z + z % inner * l.w;
}
