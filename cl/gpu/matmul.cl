/* matmul.cl on GPUs: a group of GX x GY items owns a TM x TN tile of one C and walks its share of k by TK.
 *
 *        +---- TN ----+       A's and B's panels of a step lie in local memory as [k][TM + 4] and [k][TN + 4],
 *     TK |     B      |       whichever way they are stored; the next step's are on their way in registers
 *        +------------+       meanwhile. Rows are 4 longer than needed, so that transposed stores spread over
 *   +TK+ +------------+       the banks.
 *   |  | |            |       Item (x, y) owns rows 4y + 4 GY p + (0..3) and columns 4x + 4 GX q + (0..3),
 *   |A | |     C      | TM    p < RM / 4 and q < RN / 4: neighbours read neighbouring float4s, without bank
 *   |  | |            |       conflicts. 8 x 8 sums an item: 64 multiply-adds for 4 reads.
 *   +--+ +------------+
 *
 * Transposes are compiled in (-DTA, -DTB), so that a step has no tests: rows past the edge of C repeat the last
 * one, whose sums are not stored, and what is left of k past whole steps, or a tile whose last float4 would be
 * cut by the edge, is done by steps that look at every value.
 *
 * Split-K: each split keeps its sums in a slab. JOINED: the last group of a tile to come by (an integer counter
 * says so) adds all of them in order, so that neither the bits nor the number of launches depend on which one
 * that is. Else matmul_sum does, in a launch of its own.
 *
 * Barriers stand in uniform flow: step counts depend on the group alone. Bound: multiply-adds; a step moves
 * 4 TK (TM + TN) bytes for 2 TK TM TN operations.
 */
#include "type.h"
#include "epilogue.h"
#ifndef GX
#define GX 16
#define GY 16
#define RM 4
#define RN 4
#define TA 0                                  // is A stored (k m), B (n k)?
#define TB 0
#define ALIGNED 0                             // do all rows start at multiples of 16 bytes?
#define WITH_SUMS 0                           // side[i] = sum of A's column i, too
#define DRAWS 0                              // is C multiplied by a mask?
#define INDEX int                             // offsets within a matrix
#endif
#ifndef TK
#define TK    8
#endif
#include "unroll.h"
#include "join.h"
#define TM    (GY * RM)
#define TN    (GX * RN)
#define ITEMS (GX * GY)
#define LINE_A (TM / 4 + 1)                   // float4s of a line of local memory
#define LINE_B (TN / 4 + 1)
#define QUADS(side)   ((side) * TK / 4)       // float4s of one panel
#define FETCHES(side) ((QUADS(side) + ITEMS - 1) / ITEMS)

/* ---- one operand's panel of a step: `side` columns of A^T or B by TK of k ------------------------------- */

/* Where float4 number q of the panel lies, (across, k): along k if k is contiguous in memory, else across. */
static int2 panel_place(const int q, const int side, const int along)
{
    return along ? (int2)(q / (TK / 4), q % (TK / 4) * 4) : (int2)(q % (side / 4) * 4, q / (side / 4));
}

/* Its offset where nothing is tested: `left` columns exist, at least one (along) or four, and a multiple. */
static INDEX offset_of(const int q, const int side, const int along, const INDEX row, const int left)
{
    const int2 at = panel_place(q, side, along);
    return along ? min(at.x, left - 1) * row + at.y : at.y * row + min(at.x, left - 4);
}

/* The same with tests, from x on: how many of the four exist. across: columns that do; deep: ks. */
static int existing(const int q, const int side, const int along, const int across, const int deep)
{
    const int2 at = panel_place(q, side, along);
    if (q >= QUADS(side) || at.x >= across || at.y >= deep)
        return 0;
    return along ? deep - at.y : across - at.x;
}

static long place_of(const int q, const int side, const int along, const long row)
{
    const int2 at = panel_place(q, side, along);
    return along ? at.x * row + at.y : at.y * row + at.x;
}
#define FETCH_EDGE(T, from, row, q, side, along, across, deep) \
    LOAD_4(T, from + place_of(q, side, along, row), existing(q, side, along, across, deep))

static void keep(local float4 *to, const float4 v, const int q, const int side, const int along)
{
    const int2 at = panel_place(q, side, along);
    local float4 *row = to + at.y * (side / 4 + 1);
    if (QUADS(side) % ITEMS && q >= QUADS(side))
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

#define FETCH_ALL                                                                                         \
    EACH(t, FETCHES(TM)) next_a[t] = SURE_4(Ta, a + at_a[t], ALIGNED);                                    \
    EACH(t, FETCHES(TN)) next_b[t] = SURE_4(Tb, b + at_b[t], ALIGNED);                                    \
    a += TK * ak;                                                                                         \
    b += TK * bk;
#define KEEP_ALL                                                                                          \
    EACH(t, FETCHES(TM)) keep(tile_a, next_a[t], id + t * ITEMS, TM, !TA);                                \
    EACH(t, FETCHES(TN)) keep(tile_b, next_b[t], id + t * ITEMS, TN, TB);
#if WITH_SUMS
#define ADD_COLUMNS    EACH(t, FETCHES(TM)) column[t] += next_a[t];
#else
#define ADD_COLUMNS
#endif
#define MULTIPLY_ONE(p)                                                                                   \
    {                                                                                                     \
        const local float4 *row_a = tile_a + (p) * LINE_A + y, *row_b = tile_b + (p) * LINE_B + x;        \
        float4 bs[RN / 4];                                                                                \
        EACH(q, RN / 4) bs[q] = row_b[GX * q];                                                            \
        EACH(r, RM / 4) {                                                                                 \
            const float4 as = row_a[GY * r];                                                              \
            EACH(q, RN / 4) {                                                                             \
                sum[4 * r][q] = fma(as.x, bs[q], sum[4 * r][q]);                                          \
                sum[4 * r + 1][q] = fma(as.y, bs[q], sum[4 * r + 1][q]);                                  \
                sum[4 * r + 2][q] = fma(as.z, bs[q], sum[4 * r + 2][q]);                                  \
                sum[4 * r + 3][q] = fma(as.w, bs[q], sum[4 * r + 3][q]);                                  \
            }                                                                                             \
        }                                                                                                 \
    }

/* ---- the product --------------------------------------------------------------------------------------- */

/* block: TM, TN, splits, and whether they are joined here; tickets: then a zero for each tile; slab: then, of
 * each tile, the splits' sums as items hold them, and after all tiles' the sums of A's columns, TM a split;
 * tiles: TK * (TM + TN + 8) floats. */
__attribute__((reqd_work_group_size(GX, GY, 1)))
kernel void matmul(PRODUCT_ARGS, local float4 *tiles, volatile global float4 *slab, MASK_ARGS)
{
    const int z = get_group_id(2) % batches, split = get_group_id(2) / batches;
    const int m0 = get_group_id(0) * TM, n0 = get_group_id(1) * TN;
    const int k0 = split * share, k1 = min(k0 + share, (int)size.z);
    const int left_m = (int)size.x - m0, left_n = (int)size.y - n0;
    const int x = get_local_id(0), y = get_local_id(1), id = y * GX + x;
    const INDEX row_a = la.y, row_b = lb.y, ak = TA ? row_a : 1, bk = TB ? 1 : row_b;
    local float4 *tile_a = tiles, *tile_b = tiles + TK * LINE_A;
    float4 sum[RM][RN / 4], next_a[FETCHES(TM)], next_b[FETCHES(TN)];
    a += place(la, z, size.w) + m0 * (TA ? 1 : la.y) + k0 * (long)ak;
    b += place(lb, z, size.w) + n0 * (TB ? lb.y : 1) + k0 * (long)bk;
    EACH(r, RM) EACH(q, RN / 4) sum[r][q] = 0;
#if WITH_SUMS
    float4 column[FETCHES(TM)];
    EACH(t, FETCHES(TM)) column[t] = 0;
#endif

    const bool whole = (!TA || left_m >= TM || left_m % 4 == 0) && (TB || left_n >= TN || left_n % 4 == 0);
    int steps = whole ? (k1 - k0) / TK : 0;
    const int deep = k1 - k0 - steps * TK;
    if (steps) {
        INDEX at_a[FETCHES(TM)], at_b[FETCHES(TN)];
        EACH(t, FETCHES(TM)) at_a[t] = offset_of((id + t * ITEMS) % QUADS(TM), TM, !TA, row_a, left_m);
        EACH(t, FETCHES(TN)) at_b[t] = offset_of((id + t * ITEMS) % QUADS(TN), TN, TB, row_b, left_n);
        FETCH_ALL
        #pragma unroll 1
        for (; steps > 0; steps--) {
            KEEP_ALL
            ADD_COLUMNS
            barrier(CLK_LOCAL_MEM_FENCE);
            if (steps > 1) {
                FETCH_ALL
            }
            #pragma unroll UNROLL
            for (int p = 0; p < TK; p++)
                MULTIPLY_ONE(p)
            barrier(CLK_LOCAL_MEM_FENCE);
        }
    }
    #pragma unroll 1
    for (int k = 0; k < deep; k += TK) {
        EACH(t, FETCHES(TM)) next_a[t] = FETCH_EDGE(Ta, a, row_a, id + t * ITEMS, TM, !TA, left_m, deep - k);
        EACH(t, FETCHES(TN)) next_b[t] = FETCH_EDGE(Tb, b, row_b, id + t * ITEMS, TN, TB, left_n, deep - k);
        a += TK * ak;
        b += TK * bk;
        KEEP_ALL
        ADD_COLUMNS
        barrier(CLK_LOCAL_MEM_FENCE);
        #pragma unroll 1
        for (int p = 0; p < TK; p++)
            MULTIPLY_ONE(p)
        barrier(CLK_LOCAL_MEM_FENCE);
    }

    const int splits = block.z, joined = block.w && splits > 1;
    const int tile = (z * (int)get_num_groups(1) + (int)get_group_id(1)) * (int)get_num_groups(0)
                      + (int)get_group_id(0);
#if WITH_SUMS
    const int tiles_all = batches * (int)get_num_groups(1) * (int)get_num_groups(0);
    /* Items hold quads of one row of k each: the rows meet in local memory, in order. */
    volatile global float *sums = (volatile global float *)(slab + (long)tiles_all * splits * (TM * TN / 4)) +
                                  ((long)(z * (int)get_num_groups(0) + (int)get_group_id(0)) * splits) * TM;
    local float *columns = (local float *)tiles;
    EACH(t, FETCHES(TM)) keep(tile_a, column[t], id + t * ITEMS, TM, 0);
    barrier(CLK_LOCAL_MEM_FENCE);
    volatile global float *sums_here =
        joined ? sums + split * TM
               : (global float *)side + place(lside, z, size.w) + split * (size.x * batches) + m0;
    const int sums_now = n0 ? 0 : joined ? TM : min(left_m, TM);
    for (int i = id; i < sums_now; i += ITEMS) {
        float s = 0;
        for (int p = 0; p < TK; p++)
            s += columns[p * 4 * LINE_A + i];
        sums_here[i] = s;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
#endif
    slab += (long)tile * splits * (TM * TN / 4) + id;
    if (joined) {
        EACH(r, RM) EACH(q, RN / 4) slab[split * (TM * TN / 4) + (r * (RN / 4) + q) * ITEMS] = sum[r][q];
    } else {
        c += split * (size.x * size.y * batches);     // F32 where there are several
    }
    if (!last_to_come(tickets + tile, joined ? splits : 1, (local int *)tiles, id))
        return;
    if (joined) {
        EACH(r, RM) EACH(q, RN / 4) sum[r][q] = 0;
        #pragma unroll 1
        for (int p = 0; p < splits; p++)
            EACH(r, RM) EACH(q, RN / 4) sum[r][q] += slab[p * (TM * TN / 4) + (r * (RN / 4) + q) * ITEMS];
    }
#if WITH_SUMS
    for (int i = id; i < min(left_m, TM) && joined && n0 == 0; i += ITEMS) {
        float s = 0;
        for (int p = 0; p < splits; p++)
            s += sums[p * TM + i];
        ((global float *)side)[place(lside, z, size.w) + m0 + i] = s;
    }
#endif
    /* One row after the other: each takes the registers of the one before, so that no array has a variable
     * index, and the epilogue's text is there once. */
    #pragma unroll 1
    for (int r = 0; r < RM; r++) {
        const int i = m0 + 4 * y + 4 * GY * (r / 4) + r % 4;
        EACH(q, RN / 4) {
            const int j = n0 + 4 * x + 4 * GX * q;
            if (i < size.x && j < size.y)
                finish(sum[0][q], c, lc, bias, lbias, side, lside, other, lother, size, batches, flags,
                       alpha, now, mask, kept, z, i, j, (int)size.y - j);
        }
        EACH(s, RM - 1) EACH(q, RN / 4) sum[s][q] = sum[s + 1][q];
    }
}

/* C = epilogue(sum of all splits' slabs): one item takes four columns of a row. */
kernel void matmul_sum(global const float *slab, const int splits, EPILOGUE_ARGS, const int rows, MASK_ARGS)
{
    const int j = 4 * get_global_id(0), z = get_global_id(2), n = size.y;
    const long i = get_global_id(1), apart = size.x * size.y * batches;
    if (j >= n)
        return;
    float4 y = 0;
    if (flags & SUMS && j == 0) {
        global const float *sums = slab + splits * apart + z * size.x + i;
        float s = 0;
        for (int p = 0; p < splits; p++)
            s += sums[p * size.x * batches];
        ((global float *)side)[place(lside, z, size.w) + i] = s;
    }
    slab += z * size.x * size.y + i * n + j;
    for (int p = 0; p < splits; p++)
        y += load_4_F32(slab + p * apart, n - j);
    finish(y, c, lc, bias, lbias, side, lside, other, lother, size, batches, flags, alpha, now, mask,
           kept, z, i, j, n - j);
}
