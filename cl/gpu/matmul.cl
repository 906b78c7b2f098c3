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
#define SLAB  (TM * TN / 4)                   // float4s of a split's sums
#include "split_k.h"

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

/* ---- steps, over the kernel's own arrays: those must stay in registers ---------------------------------- */

#define PLACE_ALL                                                                                         \
    EACH(t, FETCHES(TM)) at_a[t] = offset_of((id + t * ITEMS) % QUADS(TM), TM, !TA, row_a, w.left_m);     \
    EACH(t, FETCHES(TN)) at_b[t] = offset_of((id + t * ITEMS) % QUADS(TN), TN, TB, row_b, w.left_n);
#define FETCH_ALL                                                                                         \
    EACH(t, FETCHES(TM)) next_a[t] = SURE_4(Ta, a + at_a[t], ALIGNED);                                    \
    EACH(t, FETCHES(TN)) next_b[t] = SURE_4(Tb, b + at_b[t], ALIGNED);                                    \
    a += TK * ak;                                                                                         \
    b += TK * bk;
/* `left` of k exist. */
#define FETCH_ALL_EDGE(left)                                                                              \
    EACH(t, FETCHES(TM)) next_a[t] = FETCH_EDGE(Ta, a, row_a, id + t * ITEMS, TM, !TA, w.left_m, left);   \
    EACH(t, FETCHES(TN)) next_b[t] = FETCH_EDGE(Tb, b, row_b, id + t * ITEMS, TN, TB, w.left_n, left);    \
    a += TK * ak;                                                                                         \
    b += TK * bk;
#if WITH_SUMS
#define ADD_COLUMNS    EACH(t, FETCHES(TM)) column[t] += next_a[t];
#else
#define ADD_COLUMNS
#endif
#define KEEP_ALL                                                                                          \
    EACH(t, FETCHES(TM)) keep(tile_a, next_a[t], id + t * ITEMS, TM, !TA);                                \
    EACH(t, FETCHES(TN)) keep(tile_b, next_b[t], id + t * ITEMS, TN, TB);                                 \
    ADD_COLUMNS
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

/* ---- the end: sums of all splits, and the epilogue ------------------------------------------------------ */

#define EACH_SUM EACH(r, RM) EACH(q, RN / 4)
#define IN_SLAB  ((r * (RN / 4) + q) * ITEMS)
#define PUT_SLAB EACH_SUM slab[w.split * SLAB + IN_SLAB] = sum[r][q];
#define ADD_SLABS                                                                                         \
    EACH_SUM sum[r][q] = 0;                                                                               \
    _Pragma("unroll 1")                                                                                   \
    for (int p = 0; p < splits; p++)                                                                      \
        EACH_SUM sum[r][q] += slab[p * SLAB + IN_SLAB];
/* sum[0] is row i of C. */
#define FINISH_ROW(i)                                                                                     \
    EACH(q, RN / 4) {                                                                                     \
        const int j = w.n0 + 4 * x + 4 * GX * q;                                                          \
        if (i < size.x && j < size.y)                                                                     \
            finish(sum[0][q], c, lc, bias, lbias, side, lside, other, lother, size, batches, flags,       \
                   alpha, now, mask, kept, w.z, i, j, (int)size.y - j);                                   \
    }

/* ---- the product --------------------------------------------------------------------------------------- */

/* block: TM, TN, splits, and whether they are joined here; tickets: then a zero for each tile; slab: then, of
 * each tile, the splits' sums as items hold them, and after all tiles' the sums of A's columns, TM a split;
 * tiles: TK * (TM + TN + 8) floats. */
__attribute__((reqd_work_group_size(GX, GY, 1)))
kernel void matmul(PRODUCT_ARGS, local float4 *tiles, volatile global float4 *slab, MASK_ARGS)
{
    const struct piece w = piece_here(batches, share, size);
    const int x = get_local_id(0), y = get_local_id(1), id = y * GX + x;
    const INDEX row_a = la.y, row_b = lb.y, ak = TA ? row_a : 1, bk = TB ? 1 : row_b;
    local float4 *tile_a = tiles, *tile_b = tiles + TK * LINE_A;
    float4 sum[RM][RN / 4], next_a[FETCHES(TM)], next_b[FETCHES(TN)];
    a += place(la, w.z, size.w) + w.m0 * (TA ? 1 : la.y) + w.k0 * (long)ak;
    b += place(lb, w.z, size.w) + w.n0 * (TB ? lb.y : 1) + w.k0 * (long)bk;
    EACH_SUM sum[r][q] = 0;
#if WITH_SUMS
    float4 column[FETCHES(TM)];
    EACH(t, FETCHES(TM)) column[t] = 0;
#endif

    int steps = piece_is_whole(w) ? (w.k1 - w.k0) / TK : 0;
    const int deep = w.k1 - w.k0 - steps * TK;
    if (steps) {
        INDEX at_a[FETCHES(TM)], at_b[FETCHES(TN)];
        PLACE_ALL
        FETCH_ALL
        #pragma unroll 1
        for (; steps > 0; steps--) {
            KEEP_ALL
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
        FETCH_ALL_EDGE(deep - k)
        KEEP_ALL
        barrier(CLK_LOCAL_MEM_FENCE);
        #pragma unroll 1
        for (int p = 0; p < TK; p++)
            MULTIPLY_ONE(p)
        barrier(CLK_LOCAL_MEM_FENCE);
    }

    const int splits = block.z, joined = block.w && splits > 1, down = get_num_groups(0);
#if WITH_SUMS
    /* Items hold quads of one row of k each: the rows meet in local memory, in order. */
    volatile global float *sums = (volatile global float *)(slab + (long)w.tiles * splits * SLAB) +
                                  ((long)(w.z * down + (int)get_group_id(0)) * splits) * TM;
    global float *sums_out = (global float *)side + place(lside, w.z, size.w) + w.m0;
    EACH(t, FETCHES(TM)) keep(tile_a, column[t], id + t * ITEMS, TM, 0);
    barrier(CLK_LOCAL_MEM_FENCE);
    sum_lines((local float *)tiles, TK, 4 * LINE_A,
              joined ? sums + w.split * TM : sums_out + w.split * (size.x * batches),
              w.n0 ? 0 : joined ? TM : min(w.left_m, TM), id);
    barrier(CLK_LOCAL_MEM_FENCE);
#endif
    slab += (long)w.tile * splits * SLAB + id;
    if (joined) {
        PUT_SLAB
    } else {
        c += w.split * (size.x * size.y * batches);   // F32 where there are several
    }
    if (!last_to_come(tickets + w.tile, joined ? splits : 1, (local int *)tiles, id))
        return;
    if (joined) {
        ADD_SLABS
    }
#if WITH_SUMS
    sum_splits(sums, splits, sums_out, joined && w.n0 == 0 ? min(w.left_m, TM) : 0, id);
#endif
    /* One row after the other: each takes the registers of the one before, so that no array has a variable
     * index, and the epilogue's text is there once. */
    #pragma unroll 1
    for (int r = 0; r < RM; r++) {
        const int i = w.m0 + 4 * y + 4 * GY * (r / 4) + r % 4;
        FINISH_ROW(i)
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
