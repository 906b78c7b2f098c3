/* matrix_check.cl: two blocks on the matrix engine, as mma.h says they are laid out: C = A B of small integers,
 * as the host knows them (core/dev/matrix.c). */
#include "type.h"
#ifndef ELEMENT
#define ELEMENT Ta
#endif
#include "quad.h"
#include "mma.h"

#define LINE    (WORDS + 4)
#define ACROSS  2                             // blocks of B: a multiple of BLOCKS

/* room: lines of A and B, and ITEMS * SCRATCH words. */
__attribute__((reqd_work_group_size(LANES, 1, 1))) IN_STEP
kernel void matrix_check(global const TYPE(Ta) *a, global const TYPE(Tb) *b, global float *c,
                         local uint4 *room)
{
    const int lane = get_local_id(0);
    local uint *rows = (local uint *)room, *columns = rows + MM * LINE, *scratch = columns + ACROSS * MN * LINE;
    uint as[A_WORDS], bs[ACROSS][B_WORDS];
    float sum[ACROSS][C_VALUES];
    for (int i = lane; i < MM * WORDS; i += LANES)
        rows[i / WORDS * LINE + i % WORDS] = ((global const uint *)a)[i];
    for (int i = lane; i < ACROSS * MN * WORDS; i += LANES)
        columns[i / WORDS * LINE + i % WORDS] = ((global const uint *)b)[i];
    barrier(CLK_LOCAL_MEM_FENCE);
    READ_A(as, rows, LINE, lane)
    EACH(g, ACROSS / BLOCKS) {
        READ_B(bs[g * BLOCKS], columns + g * BLOCKS * MN * LINE, LINE, lane)
    }
    EACH(g, ACROSS) {
        EACH(i, C_VALUES) sum[g][i] = 0;
        MMA(sum[g], as, bs[g], scratch, lane)
    }
    EACH(g, ACROSS) EACH(i, C_VALUES) c[C_ROW(lane, i) * (ACROSS * MN) + g * MN + C_COL(lane, i)] = sum[g][i];
}
