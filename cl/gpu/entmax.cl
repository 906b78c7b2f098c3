/* entmax.cl for GPUs: a team takes a row; team_entmax.h finds its threshold. */
#include "type.h"
#include "team_entmax.h"

kernel GROUP void entmax15(global const TYPE(Tx) *x, global TYPE(Ty) *y, long rows, long cols, long block)
{
    TEAM_ROW(rows, cols);
    local int going[TEAMS];
    global const TYPE(Tx) *from = x + i * cols;
    float top = -INFINITY;
    MINE(j, n)
        top = fmax(top, LOAD_1(Tx, from + j));
    top = team_max(shelf, TEAM, top);
    const float tau = team_entmax(shelf, going, from, n, top);
    MINE(j, n)
        STORE_1(Ty, entmax_part(LOAD_1(Tx, from + j), top, tau), y + i * cols + j);
}

kernel GROUP void entmax15_grad(global const TYPE(Tx) *y, global const TYPE(Tg) *g, global TYPE(Ty) *dx,
                                long rows, long cols, long block)
{
    TEAM_ROW(rows, cols);
    float2 s = 0;
    MINE(j, n) {
        const float root = sqrt(LOAD_1(Tx, y + i * cols + j));
        s = fma((float2)(1, LOAD_1(Tg, g + i * cols + j)), (float2)root, s);
    }
    s = team_sum2(shelf, TEAM, s);
    const float mean = s.y / s.x;
    MINE(j, n)
        STORE_1(Ty, sqrt(LOAD_1(Tx, y + i * cols + j)) * (LOAD_1(Tg, g + i * cols + j) - mean),
                dx + i * cols + j);
}
