/* matmul.cl: C[z] = act(alpha A[z] B[z] + bias[z]) + other[z] on any device: the reference for the others.
 * One item per element of C, groups of 16 x 4. Bound: 8 bytes of A and B for every multiply-add, so caches
 * decide. */
#include "type.h"
#include "product.h"
#define ACT_REAL     float
#define gelu(x)      (0.5f * (x) * (1 + erf((x) * M_SQRT1_2_F)))
#define gelu_grad(x) fma((x) * RSQRT_2PI, exp(-0.5f * (x) * (x)), 0.5f * (1 + erf((x) * M_SQRT1_2_F)))
#include "act.h"

kernel void matmul(PRODUCT_ARGS, local float *unused)
{
    const int i = get_group_id(0) * 4 + get_local_id(1), j = get_group_id(1) * 16 + get_local_id(0);
    const int z = get_global_id(2);
    if (j >= size.y || i >= size.x)
        return;
    a += place(la, z, size.w) + (flags & TRANS_A ? i : i * la.y);
    b += place(lb, z, size.w) + (flags & TRANS_B ? j * lb.y : j);
    const long sa = flags & TRANS_A ? la.y : 1, sb = flags & TRANS_B ? 1 : lb.y;
    float y = 0;
    for (long k = 0; k < size.z; k++)
        y = fma(LOAD_1(Ta, a + k * sa), LOAD_1(Tb, b + k * sb), y);
    y *= alpha;
    c += place(lc, z, size.w) + i * lc.y + j;
    if (flags & ONTO)
        y += LOAD_1(Tc, c);
    if (flags & BIAS)
        y += LOAD_1(Td, bias + place(lbias, z, size.w) + j);
    if (flags & PRE)
        STORE_1(Ts, y, side + place(lside, z, size.w) + i * lside.y + j);
    if (flags & SLOPE)
        STORE_1(Ts, act_slope(act_of(flags), y), side + place(lside, z, size.w) + i * lside.y + j);
    y = act_value(act_of(flags), y);
    if (flags & RESIDUAL)
        y += LOAD_1(To, other + place(lother, z, size.w) + i * lother.y + j);
    if (flags & FACTOR)
        y *= LOAD_1(To, other + place(lother, z, size.w) + i * lother.y + j);
    STORE_1(Tc, flags & ADD ? y + LOAD_1(Tc, c) : y, c);
}
