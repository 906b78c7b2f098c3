/* matrix.cl: products on matrix engines (mma.h), of half types or, where the engine has them, of floats. A
 * group of WX x WY teams of LANES items owns a TM x TN tile of one C, a team BM x BN blocks of it; they walk
 * their share of k by TK.
 *
 *        +------- TN -------+        A's and B's parts of a step lie in local memory alike, as rows of A or
 *        | BN MN |    |     |        columns of B, LINE words each of PER values along k: what an engine takes
 *   BM MM|-------+----+-----|        is then a word, or several in a row, whoever holds it. Halves stored
 *        |       |    |     | TM     across k are read two k at a time and paired. F32 operands are rounded to
 *        |-------+----+-----|        ELEMENT on the way. The next step's parts are on their way in
 *        |       |    |     |        registers meanwhile, as they are stored.
 *        +------------------+
 *                                    Lines are 4 words longer than TK needs: 8 consecutive rows take 8
 *                                    different groups of four banks.
 *
 * Edges, splits of k and the sums of A's columns: as in matmul.cl. For the epilogue sums pass through local
 * memory, a row of blocks at a time, so that it is matmul.cl's, by four columns, whatever the engine's layout
 * is. Splits are joined here, or there are none. Bound: the engine; a step reads 4 DEEP (BM MM + BN MN) bytes
 * of local memory for each DEEP / WORDS BM BN instructions of a team.
 */
#include "type.h"
#ifdef ELEMENT
#elif BYTES(Ta) == 2
#define ELEMENT Ta
#else
#define ELEMENT Tb
#endif
#include "epilogue.h"
#include "unroll.h"
#include "join.h"
#include "mma.h"
#ifndef WX
#define WX 2
#define WY 2
#define BM 2
#define BN 2
#define TA 0                                  // is A stored (k m), B (n k)?
#define TB 0
#define ALIGNED 0                             // do all rows start at multiples of four values?
#define WITH_SUMS 0                           // side[i] = sum of A's column i, too
#define DRAWS 0                               // is C multiplied by a mask?
#define INDEX int                             // offsets within a matrix
#endif
#define DEEP  16                              // words of k in a step
#define TK    (PER * DEEP)
#define TM    (WY * BM * MM)
#define TN    (WX * BN * MN)
#define ITEMS (WX * WY * LANES)
#define LINE  (DEEP + 4)
#ifdef A_BY_PAIRS
#define LINE_A          (TM + 4)
#define AT_A(row, pair) ((pair) * LINE_A + (row))
#define READ_ROWS       READ_A_PAIRS
#define KEEP_A          keep_pairs
#else
#define LINE_A          LINE
#define AT_A(row, pair) ((row) * LINE_A + (pair))
#define READ_ROWS       READ_A
#define KEEP_A          keep
#endif
#define STRIP (BN * MN + 4)                   // floats of a row of a team's sums in local memory
#define FETCHES(side) ((side) * DEEP / 4 / ITEMS)
#define SLAB  (TM * TN)                       // floats of a split's sums
#include "split_k.h"

/* ---- one operand's part of a step: `side` rows by TK of k, in pieces of four words ----------------------- */

/* Where piece q lies, (across, k): four words along k, or one of each of four across. Neighbours take other k,
 * and four of them the values side by side: their stores spread over the banks. */
static int2 place_in_part(const int q, const int side, const int along)
{
    return along ? (int2)(q / (DEEP / 4), q % (DEEP / 4) * 4 * PER)
                 : (int2)(q / 8 % (side / 4) * 4, (q % 8 + q / (2 * side) * 8) * PER);
}

/* Its offset where nothing is tested: `left` exist across, at least one (along) or four, and a multiple. */
static INDEX offset_of(const int q, const int side, const int along, const INDEX row, const int left)
{
    const int2 at = place_in_part(q, side, along);
    return along ? min(at.x, left - 1) * row + at.y : at.y * row + min(at.x, left - 4);
}

/* Values of the first and second four of piece q that exist. */
static int2 existing(const int q, const int side, const int along, const int across, const int deep)
{
    const int2 at = place_in_part(q, side, along);
    if (at.x >= across)
        return 0;
    return along ? (int2)(deep - at.y, deep - at.y - 4)
                 : (int2)(at.y < deep ? across - at.x : 0, at.y + 1 < deep ? across - at.x : 0);
}
#define OFFSET_EDGE(q, side, along, row)                                                                  \
    (place_in_part(q, side, along).x * (long)(along ? row : 1) +                                          \
     place_in_part(q, side, along).y * (long)(along ? 1 : row))

#define four_F32(p, n)  load_4_F32(p, n)
#define four_BF16(p, n) load_4_halves(p, n)
#define four_F16(p, n)  load_4_halves(p, n)
#define FOUR(T, p, n)   JOIN(four_, T)(p, n)
#define sure_F32(p)     (*(global const float4 *)(p))
#define sure_BF16(p)    (*(global const ushort4 *)(p))
#define sure_F16(p)     (*(global const ushort4 *)(p))
#define SURE(T, p)      (ALIGNED ? JOIN(sure_, T)(p) : vload4(0, p))

/* RAW: a piece as it is stored, the second four `second` after the first. packed: as words. ADDED: four sums
 * along k, where it lies across. */
#if PER == 2
#define raw_F32  float8
#define raw_BF16 ushort8
#define raw_F16  ushort8
#define RAW(T)   JOIN(raw_, T)
#define FETCH(T, p, second) (RAW(T))(SURE(T, p), SURE(T, (p) + (second)))
#define FETCH_EDGE(T, p, second, exist) (RAW(T))(FOUR(T, p, (exist).x), FOUR(T, (p) + (second), (exist).y))

static ushort8 halves_of(const float8 x)
{
    return (ushort8)(JOIN(narrowed_4_, ELEMENT)(x.lo), JOIN(narrowed_4_, ELEMENT)(x.hi));
}
static uint4 packed_halves(const ushort8 v, const int along)
{
    return along ? as_uint4(v) : convert_uint4(v.lo) | convert_uint4(v.hi) << 16;
}
#define packed_F32(x, along)  packed_halves(halves_of(x), along)
#define packed_BF16(x, along) packed_halves(x, along)
#define packed_F16(x, along)  packed_halves(x, along)
#define added_F32(x)   ((x).lo + (x).hi)
#define added_BF16(x)  (widened_4_BF16((x).lo) + widened_4_BF16((x).hi))
#define added_F16(x)   (widened_4_F16((x).lo) + widened_4_F16((x).hi))
#else
#define RAW(T)                          float4
#define FETCH(T, p, second)             SURE(T, p)
#define FETCH_EDGE(T, p, second, exist) FOUR(T, p, (exist).x)
#define packed_F32(x, along)            IN_ELEMENT(x)
#define added_F32(x)                    (x)
#endif
#define PACKED(T, x, along) JOIN(packed_, T)(x, along)
#define ADDED(T, x)         JOIN(added_, T)(x)

/* Words that lie side by side, or `line` apart. */
static void keep_words(local uint *to, const uint4 w, const int line, const int together)
{
    if (together) {
        vstore4(w, 0, to);
    } else {
        to[0] = w.x;
        to[line] = w.y;
        to[2 * line] = w.z;
        to[3 * line] = w.w;
    }
}

static void keep(local uint *to, const uint4 w, const int q, const int side, const int along)
{
    const int2 at = place_in_part(q, side, along);
    keep_words(to + at.x * LINE + at.y / PER, w, LINE, along);
}

#ifdef A_BY_PAIRS
static void keep_pairs(local uint *to, const uint4 w, const int q, const int side, const int along)
{
    const int2 at = place_in_part(q, side, along);
    keep_words(to + AT_A(at.x, at.y / PER), w, LINE_A, !along);
}
#endif

/* ---- steps, over the kernel's own arrays: those must stay in registers ---------------------------------- */

#define SECOND_A (TA ? row_a : 4)
#define SECOND_B (TB ? 4 : row_b)
#define PLACE_ALL                                                                                         \
    EACH(t, FETCHES(TM)) at_a[t] = offset_of(id + t * ITEMS, TM, !TA, row_a, w.left_m);                   \
    EACH(t, FETCHES(TN)) at_b[t] = offset_of(id + t * ITEMS, TN, TB, row_b, w.left_n);
#define FETCH_ALL                                                                                         \
    EACH(t, FETCHES(TM)) next_a[t] = FETCH(Ta, a + at_a[t], SECOND_A);                                    \
    EACH(t, FETCHES(TN)) next_b[t] = FETCH(Tb, b + at_b[t], SECOND_B);                                    \
    a += TK * ak;                                                                                         \
    b += TK * bk;
/* `left` of k exist. */
#define FETCH_ALL_EDGE(left)                                                                              \
    EACH(t, FETCHES(TM))                                                                                  \
        next_a[t] = FETCH_EDGE(Ta, a + OFFSET_EDGE(id + t * ITEMS, TM, !TA, row_a), SECOND_A,             \
                               existing(id + t * ITEMS, TM, !TA, w.left_m, left));                        \
    EACH(t, FETCHES(TN))                                                                                  \
        next_b[t] = FETCH_EDGE(Tb, b + OFFSET_EDGE(id + t * ITEMS, TN, TB, row_b), SECOND_B,              \
                               existing(id + t * ITEMS, TN, TB, w.left_n, left));                         \
    a += TK * ak;                                                                                         \
    b += TK * bk;
#if WITH_SUMS
#define ADD_COLUMNS    EACH(t, FETCHES(TM)) column[t] += ADDED(Ta, next_a[t]);
#else
#define ADD_COLUMNS
#endif
#define KEEP_ALL                                                                                          \
    EACH(t, FETCHES(TM)) KEEP_A(tile_a, PACKED(Ta, next_a[t], !TA), id + t * ITEMS, TM, !TA);             \
    EACH(t, FETCHES(TN)) keep(tile_b, PACKED(Tb, next_b[t], TB), id + t * ITEMS, TN, TB);                 \
    ADD_COLUMNS

/* The engine's part of a step. */
#define MULTIPLY                                                                                          \
    EACH(s, DEEP / WORDS) {                                                                               \
        uint as[A_WORDS], bs[BN][B_WORDS];                                                                \
        EACH(g, BN / BLOCKS) {                                                                            \
            READ_B(bs[g * BLOCKS], mine_b + g * BLOCKS * MN * LINE + s * WORDS, LINE, lane)               \
        }                                                                                                 \
        EACH(f, BM) {                                                                                     \
            READ_ROWS(as, mine_a + AT_A(f * MM, s * WORDS), LINE_A, lane)                                 \
            EACH(g, BN) {                                                                                 \
                MMA(sum[f][g], as, bs[g], tiles + (TM + TN) * LINE, id)                                   \
            }                                                                                             \
        }                                                                                                 \
    }

/* ---- the end: sums of all splits, and the epilogue ------------------------------------------------------ */

#define EACH_SUM EACH(f, BM) EACH(g, BN) EACH(i, C_VALUES)
#define IN_SLAB  (((f * BN + g) * C_VALUES + i) * ITEMS)
#define PUT_SLAB EACH_SUM slab[w.split * SLAB + IN_SLAB] = sum[f][g][i];
#define ADD_SLABS                                                                                         \
    EACH_SUM sum[f][g][i] = 0;                                                                            \
    _Pragma("unroll 1")                                                                                   \
    for (int p = 0; p < splits; p++)                                                                      \
        EACH_SUM sum[f][g][i] += slab[p * SLAB + IN_SLAB];
/* sum[0] is row f of the team's blocks. */
#define FINISH_BLOCKS(f)                                                                                  \
    EACH(g, BN) EACH(i, C_VALUES) strip[C_ROW(lane, i) * STRIP + g * MN + C_COL(lane, i)] = sum[0][g][i]; \
    barrier(CLK_LOCAL_MEM_FENCE);                                                                         \
    _Pragma("unroll 1")                                                                                   \
    for (int q = lane; q < MM * BN * MN / 4; q += LANES) {                                                \
        const int r = q / (BN * MN / 4), col = q % (BN * MN / 4) * 4;                                     \
        const int i = w.m0 + (y * BM + f) * MM + r, j = w.n0 + x * BN * MN + col;                         \
        if (i < size.x && j < size.y)                                                                     \
            finish(vload4(0, strip + r * STRIP + col), c, lc, bias, lbias, side, lside, other, lother,    \
                   size, batches, flags, alpha, now, mask, kept, w.z, i, j, (int)size.y - j);             \
    }

/* ---- the product --------------------------------------------------------------------------------------- */

/* block: TM, TN, splits, and whether they are joined; tickets, slab: as in matmul.cl; room: (TM + TN) * LINE +
 * ITEMS * SCRATCH words. */
__attribute__((reqd_work_group_size(ITEMS, 1, 1))) IN_STEP
kernel void matmul(PRODUCT_ARGS, local uint4 *room, volatile global float *slab, MASK_ARGS)
{
    local uint *tiles = (local uint *)room;
    const struct piece w = piece_here(batches, share, size);
    const int id = get_local_id(0), lane = id % LANES, team = id / LANES, x = team % WX, y = team / WX;
    const INDEX row_a = la.y, row_b = lb.y, ak = TA ? row_a : 1, bk = TB ? 1 : row_b;
    local uint *tile_a = tiles, *tile_b = tiles + TM * LINE;
    local const uint *mine_a = tile_a + AT_A(y * BM * MM, 0), *mine_b = tile_b + x * BN * MN * LINE;
    float sum[BM][BN][C_VALUES];
    RAW(Ta) next_a[FETCHES(TM)];
    RAW(Tb) next_b[FETCHES(TN)];
    a += place(la, w.z, size.w) + w.m0 * (TA ? 1 : la.y) + w.k0 * (long)ak;
    b += place(lb, w.z, size.w) + w.n0 * (TB ? lb.y : 1) + w.k0 * (long)bk;
    EACH_SUM sum[f][g][i] = 0;
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
            MULTIPLY
            barrier(CLK_LOCAL_MEM_FENCE);
        }
    }
    #pragma unroll 1
    for (int k = 0; k < deep; k += TK) {
        FETCH_ALL_EDGE(deep - k)
        KEEP_ALL
        barrier(CLK_LOCAL_MEM_FENCE);
        MULTIPLY
        barrier(CLK_LOCAL_MEM_FENCE);
    }

    const int splits = block.z, joined = block.w && splits > 1, down = get_num_groups(0);
#if WITH_SUMS
    /* Items hold sums of fours of columns over some of a step's k: those meet in local memory, in order. */
    volatile global float *sums = slab + (long)w.tiles * splits * SLAB +
                                  ((long)(w.z * down + (int)get_group_id(0)) * splits) * TM;
    global float *sums_out = (global float *)side + place(lside, w.z, size.w) + w.m0;
    EACH(t, FETCHES(TM)) {
        const int2 at = place_in_part(id + t * ITEMS, TM, 0);
        vstore4(column[t], 0, (local float *)tiles + at.y / PER * TM + at.x);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    sum_lines((local float *)tiles, DEEP, TM, joined ? sums + w.split * TM : sums_out,
              w.n0 ? 0 : joined ? TM : min(w.left_m, TM), id);
    barrier(CLK_LOCAL_MEM_FENCE);
#endif
    slab += (long)w.tile * splits * SLAB + id;
    if (joined) {
        PUT_SLAB
    }
    if (!last_to_come(tickets + w.tile, joined ? splits : 1, (local int *)tiles, id))
        return;
    if (joined) {
        ADD_SLABS
    }
#if WITH_SUMS
    sum_splits(sums, splits, sums_out, joined && w.n0 == 0 ? min(w.left_m, TM) : 0, id);
#endif
    /* One row of blocks after the other: each takes the registers of the one before. */
    local float *strip = (local float *)tiles + team * (MM * STRIP);
    #pragma unroll 1
    for (int f = 0; f < BM; f++) {
        barrier(CLK_LOCAL_MEM_FENCE);
        FINISH_BLOCKS(f)
        EACH(s, BM - 1) EACH(g, BN) EACH(i, C_VALUES) sum[s][g][i] = sum[s + 1][g][i];
    }
}
