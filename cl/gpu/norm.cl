/* norm.cl for GPUs: a team of TEAM items takes a row, its neighbours neighbouring values; sums are trees. The
 * row is read two or three times, from the cache after the first. Bound by memory.
 */
#include "type.h"
#include "team.h"
#include "join.h"

/* mean, 1 / sqrt(var + eps) */
static inline float2 statistics(global const TYPE(Tx) *x, long n, float eps, local float2 *shelf)
{
    float s = 0, d2 = 0;
    MINE(j, n)
        s += LOAD_1(Tx, x + j);
    const float mean = team_sum(shelf, TEAM, s) / n;
    MINE(j, n) {
        const float d = LOAD_1(Tx, x + j) - mean;
        d2 = fma(d, d, d2);
    }
    return (float2)(mean, 1.0f / sqrt(team_sum(shelf, TEAM, d2) / n + eps));
}

kernel GROUP void layernorm(global const TYPE(Tx) *x, global TYPE(Ty) *y, long rows, long cols,
                            long block, float eps)
{
    TEAM_ROW(rows, cols);
    const float2 s = statistics(x + i * cols, n, eps, shelf);
    MINE(j, n)
        STORE_1(Ty, (LOAD_1(Tx, x + i * cols + j) - s.x) * s.y, y + i * cols + j);
}

kernel GROUP void layernorm_affine(global const TYPE(Tx) *x, global const float *w,
                                   global const float *b, global TYPE(Ty) *y, long rows, long cols,
                                   long block, float eps)
{
    TEAM_ROW(rows, cols);
    const float2 s = statistics(x + i * cols, n, eps, shelf);
    MINE(j, n)
        STORE_1(Ty, fma((LOAD_1(Tx, x + i * cols + j) - s.x) * s.y, w[j], b[j]), y + i * cols + j);
}

/* The group's rows go by in chunks of CHUNK: first teams find what a row needs (mean, r, mean(h), mean(h n)),
 * then each item walks down its own columns for dx and for the sums, which no other item touches:
 *
 *     dx[.., c], dw[c], db[c]  by item  c mod ITEMS
 *
 * `more` is added to dx, where there is some; dx may lie over x, g or more; partials is as cl/norm.cl has it.
 * Where the device joins (join.h), the last group adds the partials of all into sum_w and sum_b.
 */
#define CHUNK (4 * TEAMS)

kernel GROUP void layernorm_grad(global const TYPE(Tx) *x, global const TYPE(Tb) *w,
                                 global const TYPE(Tg) *g, global const TYPE(Tm) *more,
                                 global TYPE(Ty) *dx, global float *partials, long rows, long cols,
                                 long block, long apart, float eps, global float *sum_to_w,
                                 global float *sum_to_b, volatile global int *counter)
{
    SHELF;
    local int before;
    local float4 stats[CHUNK];
    global float *dw = partials + get_group_id(0) * cols, *db = dw + apart;
    const long begin = get_group_id(0) * block, last = min(rows, begin + block);
    for (long from = begin; from < last; from += CHUNK) {
        const int count = min((long)CHUNK, last - from);
        for (int k = get_local_id(0) / TEAM; k < CHUNK; k += TEAMS) {
            const long at = (from + k) * cols, n = k < count ? cols : 0;
            const float2 s = statistics(x + at, n, eps, shelf);
            float2 sum = 0;
            MINE(j, n) {
                const float h = LOAD_1(Tg, g + at + j) * LOAD_1(Tb, w + j);
                sum += (float2)(h, h * (LOAD_1(Tx, x + at + j) - s.x) * s.y);
            }
            sum = team_sum2(shelf, TEAM, sum) / cols;
            if (LANE == 0)
                stats[k] = (float4)(s, sum);
        }
        barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);      // dx may lie over what teams have read
        for (long c = get_local_id(0); c < cols; c += ITEMS) {
            float sum_w = partials && from > begin ? dw[c] : 0, sum_b = partials && from > begin ? db[c] : 0;
            for (int k = 0; k < count; k++) {
                const float4 s = stats[k];
                const long at = (from + k) * cols + c;
                const float n = (LOAD_1(Tx, x + at) - s.x) * s.y, gj = LOAD_1(Tg, g + at);
                sum_w = fma(gj, n, sum_w);
                sum_b += gj;
                const float y = s.y * (gj * LOAD_1(Tb, w + c) - s.z - n * s.w);
                STORE_1(Ty, more ? y + LOAD_1(Tm, more + at) : y, dx + at);
            }
            if (partials) {
                dw[c] = sum_w;
                db[c] = sum_b;
            }
        }
        barrier(CLK_LOCAL_MEM_FENCE);             // the next chunk's rows take the place of these
    }
    const int joins = sum_to_w || sum_to_b, groups = get_num_groups(0);
    if (!last_to_come(counter, joins ? groups : 1, &before, get_local_id(0)))
        return;
    for (long c = get_local_id(0); c < 2 * cols && joins; c += ITEMS) {
        const long j = c % cols;
        global float *to = c < cols ? sum_to_w : sum_to_b;
        volatile global float *partial = partials + (c < cols ? 0 : apart) + j;
        float s = 0;
        for (int p = 0; p < groups; p++)
            s += partial[p * cols];
        if (to)
            to[j] = s;
    }
}

static inline void scale_row(global const TYPE(Tx) *x, global TYPE(Ty) *y, long n, float c)
{
    MINE(j, n)
        STORE_1(Ty, LOAD_1(Tx, x + j) * c, y + j);
}

static inline float row_square(global const TYPE(Tx) *x, long n, local float2 *shelf)
{
    float s = 0;
    MINE(j, n) {
        const float v = LOAD_1(Tx, x + j);
        s = fma(v, v, s);
    }
    return team_sum(shelf, TEAM, s);
}

/* |x|^2, x . g */
static inline float2 row_dots(global const TYPE(Tx) *x, global const TYPE(Tg) *g, long n,
                              local float2 *shelf)
{
    float2 s = 0;
    MINE(j, n) {
        const float v = LOAD_1(Tx, x + j);
        s = fma((float2)(v, LOAD_1(Tg, g + j)), (float2)v, s);
    }
    return team_sum2(shelf, TEAM, s);
}

kernel GROUP void l2norm(global const TYPE(Tx) *x, global TYPE(Ty) *y, long rows, long cols, long block,
                         float eps)
{
    TEAM_ROW(rows, cols);
    const float square = row_square(x + i * cols, n, shelf);
    scale_row(x + i * cols, y + i * cols, n, 1.0f / (sqrt(square) + eps));
}

kernel GROUP void l2norm_inside(global const TYPE(Tx) *x, global TYPE(Ty) *y, long rows, long cols,
                                long block, float eps)
{
    TEAM_ROW(rows, cols);
    const float square = row_square(x + i * cols, n, shelf);
    scale_row(x + i * cols, y + i * cols, n, 1.0f / sqrt(square + eps));
}

/* y = c x with c = c(|x|^2):  dx = c g + x * slope, slope = 2 c' (x . g) */
static inline void l2norm_grad_row(global const TYPE(Tx) *x, global const TYPE(Tg) *g,
                                   global TYPE(Ty) *dx, long n, float c, float slope)
{
    MINE(j, n)
        STORE_1(Ty, fma(LOAD_1(Tx, x + j), slope, LOAD_1(Tg, g + j) * c), dx + j);
}

/* At a zero row the derivative of |x| is taken as 0: dx = g / eps. */
kernel GROUP void l2norm_grad(global const TYPE(Tx) *x, global const TYPE(Tg) *g, global TYPE(Ty) *dx,
                              long rows, long cols, long block, float eps)
{
    TEAM_ROW(rows, cols);
    const float2 s = row_dots(x + i * cols, g + i * cols, n, shelf);
    const float r = sqrt(s.x), c = 1.0f / (r + eps);
    l2norm_grad_row(x + i * cols, g + i * cols, dx + i * cols, n, c, r == 0 ? 0.0f : -s.y * c * c / r);
}

kernel GROUP void l2norm_inside_grad(global const TYPE(Tx) *x, global const TYPE(Tg) *g,
                                     global TYPE(Ty) *dx, long rows, long cols, long block, float eps)
{
    TEAM_ROW(rows, cols);
    const float2 s = row_dots(x + i * cols, g + i * cols, n, shelf);
    const float c = 1.0f / sqrt(s.x + eps);
    l2norm_grad_row(x + i * cols, g + i * cols, dx + i * cols, n, c, -s.y * c * c * c);
}
