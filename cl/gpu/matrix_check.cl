/* matrix_check.cl: one block on the matrix engine, as mma.h says it is laid out: C = A B of small integers,
 * as the host knows them (core/dev/matrix.c). */
#include "type.h"
#if BYTES(Ta) == 2
#define HALF Ta
#else
#define HALF BF16
#endif
#include "quad.h"
#include "mma.h"

__attribute__((reqd_work_group_size(LANES, 1, 1))) IN_STEP
kernel void matrix_check(global const TYPE(Ta) *a, global const TYPE(Tb) *b, global float *c,
                         local uint *scratch)
{
    const int lane = get_local_id(0);
    uint as[A_WORDS], bs[B_WORDS];
    float sum[C_VALUES];
    for (int i = 0; i < C_VALUES; i++)
        sum[i] = 0;
    for (int w = 0; w < A_WORDS; w++)
        as[w] = ((global const uint *)a)[A_ROW(lane, w) * (MK / 2) + A_PAIR(lane, w)];
    for (int w = 0; w < B_WORDS; w++)
        bs[w] = ((global const uint *)b)[B_COL(lane, w) * (MK / 2) + B_PAIR(lane, w)];
    MMA(sum, as, bs, scratch, lane)
    for (int i = 0; i < C_VALUES; i++)
        c[C_ROW(lane, i) * MN + C_COL(lane, i)] = sum[i];
}
