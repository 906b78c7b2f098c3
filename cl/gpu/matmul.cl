/* matmul.cl on GPUs: a group of GX x GY items owns a TM x TN tile of one C and walks its share of k by TK.
 *
 *        +---- TN ----+       A's and B's parts of a step lie in local memory as [k][TM + 4] and [k][TN + 4],
 *     TK |     B      |       whichever way they are stored; the next step's are on their way in registers
 *        +------------+       meanwhile. Rows are 4 longer than needed, so transposed stores spread over the
 *   +TK+ +------------+       banks.
 *   |  | |            |       Item (x, y) owns rows 4y + 4 GY p + (0..3) and columns 4x + 4 GX q + (0..3),
 *   |A | |     C      | TM    p < RM / 4 and q < RN / 4: neighbours read neighbouring float4s, without bank
 *   |  | |            |       conflicts. Past the edges zeros are loaded and nothing is stored.
 *   +--+ +------------+
 *
 * Barriers stand in uniform flow: step counts depend on the group alone. Bound: multiply-adds; a step moves
 * 4 TK (TM + TN) bytes for 2 TK TM TN operations.
 */
#include "product.h"
#include "special.h"
#define ACT_REAL  float4
#define gelu      gelu_4
#define gelu_grad gelu_grad_4
#include "act.h"
#ifndef GX
#define GX 16
#define GY 16
#define RM 4
#define RN 4
#endif
#define TM    (GY * RM)
#define TN    (GX * RN)
#define TK    16
#define ITEMS (GX * GY)
#define QUADS(side) ((side) * TK / 4)         // float4s of one part

static float4 load_4(global const float *p, const long n)
{
    if (n >= 4)
        return ((size_t)p & 15) == 0 ? *(global const float4 *)p : vload4(0, p);
    return (float4)(n > 0 ? p[0] : 0, n > 1 ? p[1] : 0, n > 2 ? p[2] : 0, 0);
}

static void store_4(const float4 v, global float *p, const long n)
{
    if (n >= 4 && ((size_t)p & 15) == 0)
        *(global float4 *)p = v;
    else if (n >= 4)
        vstore4(v, 0, p);
    else {
        if (n > 0) p[0] = v.x;
        if (n > 1) p[1] = v.y;
        if (n > 2) p[2] = v.z;
    }
}

/* ---- the epilogue: the sums y of columns j.. of row i, of which n exist -------------------------------- */

static void finish(float4 y, EPILOGUE_ARGS, const int z, const long i, const int j, const int n)
{
    c += place(lc, z, size.w) + i * lc.y + j;
    y *= alpha;
    if (flags & ONTO)
        y += load_4(c, n);
    if (flags & BIAS)
        y += load_4(bias + place(lbias, z, size.w) + j, n);
    if (flags & PRE)
        store_4(y, side + place(lside, z, size.w) + i * lside.y + j, n);
    if (flags & SLOPE)
        store_4(act_slope(act_of(flags), y), side + place(lside, z, size.w) + i * lside.y + j, n);
    y = act_value(act_of(flags), y);
    if (flags & (RESIDUAL | FACTOR)) {
        const float4 x = load_4(other + place(lother, z, size.w) + i * lother.y + j, n);
        y = flags & FACTOR ? y * x : y + x;
    }
    if (flags & ADD)
        y += load_4(c, n);
    store_4(y, c, n);
}

/* ---- one operand's part of a step: `side` columns of A^T or B by TK of k ------------------------------- */

/* Where float4 number q of the part lies, (across, k): along k if k is contiguous in memory, else across. */
static int2 place_in_part(const int q, const int side, const int along)
{
    return along ? (int2)(q / (TK / 4), q % (TK / 4) * 4) : (int2)(q % (side / 4) * 4, q / (side / 4));
}

/* across: columns that exist; deep: ks that exist. */
static float4 fetch(global const float *from, const long row, const int q, const int side, const int along,
                    const int across, const int deep)
{
    const int2 at = place_in_part(q, side, along);
    if (q >= QUADS(side) || at.x >= across || at.y >= deep)
        return 0;
    return along ? load_4(from + at.x * row + at.y, deep - at.y)
                 : load_4(from + at.y * row + at.x, across - at.x);
}

static void keep(local float4 *to, const float4 v, const int q, const int side, const int along)
{
    const int2 at = place_in_part(q, side, along);
    local float4 *row = to + at.y * (side / 4 + 1);
    if (q >= QUADS(side))
        return;
    if (along) {
        local float *p = (local float *)row + at.x;
        p[0] = v.x;
        p[side + 4] = v.y;
        p[2 * (side + 4)] = v.z;
        p[3 * (side + 4)] = v.w;
    } else {
        row[at.x / 4] = v;
    }
}

#define FETCHES(side) ((QUADS(side) + ITEMS - 1) / ITEMS)
#define FETCH_ALL(k)                                                                                      \
    for (int t = 0; t < FETCHES(TM); t++)                                                                 \
        next_a[t] = fetch(a + (k) * ak, la.y, id + t * ITEMS, TM, along_a, (int)size.x - m0, k1 - (k));   \
    for (int t = 0; t < FETCHES(TN); t++)                                                                 \
        next_b[t] = fetch(b + (k) * bk, lb.y, id + t * ITEMS, TN, along_b, (int)size.y - n0, k1 - (k));

/* block: TM, TN; tiles: TK * (TM + TN + 8) floats */
__attribute__((reqd_work_group_size(GX, GY, 1)))
kernel void matmul(PRODUCT_ARGS, local float4 *tiles)
{
    const int z = get_group_id(2) % batches, split = get_group_id(2) / batches;
    const int m0 = get_group_id(0) * TM, n0 = get_group_id(1) * TN;
    const int k0 = split * share, k1 = min(k0 + share, (int)size.z);
    const int x = get_local_id(0), y = get_local_id(1), id = y * GX + x;
    const int along_a = !(flags & TRANS_A), along_b = flags & TRANS_B;
    const long ak = along_a ? 1 : la.y, bk = along_b ? 1 : lb.y;
    a += place(la, z, size.w) + m0 * (along_a ? la.y : 1);
    b += place(lb, z, size.w) + n0 * (along_b ? lb.y : 1);
    c += split * (size.x * size.y * batches);
    local float4 *tile_a = tiles, *tile_b = tiles + TK * (TM / 4 + 1);
    float4 sum[RM][RN / 4], next_a[FETCHES(TM)], next_b[FETCHES(TN)];
    for (int r = 0; r < RM; r++)
        for (int q = 0; q < RN / 4; q++)
            sum[r][q] = 0;

    FETCH_ALL(k0)
    for (int k = k0; k < k1; k += TK) {
        for (int t = 0; t < FETCHES(TM); t++)
            keep(tile_a, next_a[t], id + t * ITEMS, TM, along_a);
        for (int t = 0; t < FETCHES(TN); t++)
            keep(tile_b, next_b[t], id + t * ITEMS, TN, along_b);
        barrier(CLK_LOCAL_MEM_FENCE);
        if (k + TK < k1) {
            FETCH_ALL(k + TK)
        }
        for (int p = 0; p < TK; p++) {
            const local float4 *row_a = tile_a + p * (TM / 4 + 1) + y, *row_b = tile_b + p * (TN / 4 + 1) + x;
            float4 bs[RN / 4];
            for (int q = 0; q < RN / 4; q++)
                bs[q] = row_b[GX * q];
            for (int r = 0; r < RM / 4; r++) {
                const float4 as = row_a[GY * r];
                for (int q = 0; q < RN / 4; q++) {
                    sum[4 * r][q] = fma(as.x, bs[q], sum[4 * r][q]);
                    sum[4 * r + 1][q] = fma(as.y, bs[q], sum[4 * r + 1][q]);
                    sum[4 * r + 2][q] = fma(as.z, bs[q], sum[4 * r + 2][q]);
                    sum[4 * r + 3][q] = fma(as.w, bs[q], sum[4 * r + 3][q]);
                }
            }
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }

    for (int r = 0; r < RM; r++) {
        const int i = m0 + 4 * y + 4 * GY * (r / 4) + r % 4;
        for (int q = 0; q < RN / 4; q++) {
            const int j = n0 + 4 * x + 4 * GX * q;
            if (i < size.x && j < size.y)
                finish(sum[r][q], c, lc, bias, lbias, side, lside, other, lother, size, batches, flags,
                       alpha, z, i, j, (int)size.y - j);
        }
    }
}

/* C = epilogue(sum of all splits' slabs): one item takes four columns of a row. */
kernel void matmul_sum(global const float *slab, const int splits, EPILOGUE_ARGS, const int rows)
{
    const int j = 4 * get_global_id(0), z = get_global_id(2), n = size.y;
    const long i = get_global_id(1), apart = size.x * size.y * batches;
    if (j >= n)
        return;
    float4 y = 0;
    slab += z * size.x * size.y + i * n + j;
    for (int p = 0; p < splits; p++)
        y += load_4(slab + p * apart, n - j);
    finish(y, c, lc, bias, lbias, side, lside, other, lother, size, batches, flags, alpha, z, i, j,
           n - j);
}
