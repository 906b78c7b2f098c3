/* attention_matrix.cl: attention.cl's three kernels on a matrix engine (mma.h), where qkv is of a half type.
 *
 *     qkv (b n 3 h D): row i of image z holds q, k and v of all heads, so a head's rows are 3 h D apart
 *
 * A group of 256 items, TEAMS of LANES, owns ROWS rows of one (image, head) and walks the others
 * in blocks of KEYS. All products are of lines in local memory, of two values a word, whose pairs
 * run along what is summed over:
 *
 *     lines of channels, DEEP words     q, k, v, dout as they are stored: scores q k^T, dP = dout v^T
 *     lines of keys, ALONG words        p and dS of a row, and columns of k, v, q, dout: p v, dS k, ..
 *
 *     WX teams across, WY down      a team has MM rows of scores or results, KEYS / WX of the scores' columns
 *     +-----+-----+                 and WIDE / WX of the results' channels. Lines are 4 words longer than
 *     |  0  |  1  | MM rows         needed, so that 8 consecutive ones take 8 different groups of four banks.
 *     +-----+-----+
 *
 * The forward kernel's scores pass through local memory as floats: there an item has a quarter of a row, for
 * its maximum and sum. The backward kernels know both, and compute P and dS where the engine leaves its sums.
 * Bound: local memory and the engine. Channels past D, and rows that do not exist, are 0.
 */
#include "type.h"
#if BYTES(Tx) == 2
#define ELEMENT Tx
#else
#define ELEMENT BF16                          // for an editor
#endif
#include "quad.h"
#include "special.h"
#include "unroll.h"
#include "mma.h"
#ifndef D
#define D 64
#endif
#define ROWS  64
#define KEYS  32
#define ITEMS 256
#define WIDE  ((D + 31) / 32 * 32)
#define WY    (ROWS / MM)
#define WX    (ITEMS / LANES / WY)
#define BS    (KEYS / WX / MN)                // blocks of scores of a team
#define BC    (WIDE / WX / MN)                // blocks of results
#define DEEP  (WIDE / 2 + 4)
#define ALONG (KEYS / 2 + 4)
#define SCORE (KEYS + 4)                      // floats of a row of scores
#define STRIP (WIDE + 4)                      // and of results
#define GROUP __attribute__((reqd_work_group_size(ITEMS, 1, 1))) IN_STEP
#define SYNC  barrier(CLK_LOCAL_MEM_FENCE)

/* ---- lines --------------------------------------------------------------------------------------------- */

/* to[i][c / 2] = channels of row i, for n rows, of which some exist. */
static void load_lines(local uint *to, global const ushort *from, const int row, const int n, const int rows)
{
    for (int t = get_local_id(0); t < n * (WIDE / 4); t += ITEMS) {
        const int i = t / (WIDE / 4), c = t % (WIDE / 4) * 4;
        const ushort4 v = i < rows ? load_4_halves(from + i * (long)row + c, D - c) : (ushort4)0;
        vstore2(as_uint2(v), 0, to + i * DEEP + c / 2);
    }
}

/* to[c][i / 2] = channel c of rows i and i + 1, for KEYS rows, of which some exist. */
static void load_columns(local uint *to, global const ushort *from, const int row, const int rows)
{
    for (int t = get_local_id(0); t < KEYS / 2 * (WIDE / 4); t += ITEMS) {
        const int pair = t % (KEYS / 2), c = t / (KEYS / 2) * 4;
        global const ushort *p = from + 2 * pair * (long)row + c;
        const ushort4 v = 2 * pair < rows ? load_4_halves(p, D - c) : (ushort4)0;
        const ushort4 w = 2 * pair + 1 < rows ? load_4_halves(p + row, D - c) : (ushort4)0;
        const uint4 both = convert_uint4(v) | convert_uint4(w) << 16;
        local uint *line = to + c * ALONG + pair;
        line[0] = both.x;
        line[ALONG] = both.y;
        line[2 * ALONG] = both.z;
        line[3 * ALONG] = both.w;
    }
}

/* sum[g] += lines of a, this team's rows, times lines of b, its columns: `deep` values each. */
#define MULTIPLY(sum, blocks, a, line_a, b, line_b, deep)                                                 \
    EACH(step, (deep) / MK) {                                                                             \
        uint as[A_WORDS], bs[BLOCKS][B_WORDS];                                                            \
        READ_A(as, (a) + ty * MM * (line_a) + step * WORDS, line_a, lane)                                 \
        EACH(pair, (blocks) / BLOCKS) {                                                                   \
            const int first = (tx * (blocks) + pair * BLOCKS) * MN;                                       \
            READ_B(bs[0], (b) + first * (line_b) + step * WORDS, line_b, lane)                            \
            EACH(g, BLOCKS) {                                                                             \
                MMA(sum[pair * BLOCKS + g], as, bs[g], scratch, id)                                       \
            }                                                                                             \
        }                                                                                                 \
    }
#define CLEAR(sum, blocks) EACH(g, blocks) EACH(i, C_VALUES) sum[g][i] = 0;

/* Row and column, within the group's tile of scores or results, of value i of block g of this team. */
#define ROW_OF(i)            (ty * MM + C_ROW(lane, i))
#define COL_OF(blocks, g, i) ((tx * (blocks) + g) * MN + C_COL(lane, i))

static ushort half_of(const float x) { return JOIN(narrowed_4_, ELEMENT)((float4)(x)).x; }

/* A value of a line of keys. Words are read again: compilers take vectors, not
 * ushorts, for what may be part of them. */
static void put_half(local uint *lines, const float x, const int row, const int col)
{
    ((local uchar2 *)lines)[row * (2 * ALONG) + col] = as_uchar2(half_of(x));
}

/* `rows` of the group's results exist, each times its scale; by four channels, through local memory. */
#define PUT(to, row, rows, sum, scale_of)                                                                 \
    {                                                                                                     \
        local float *strip = (local float *)room;                                                         \
        SYNC;                                                                                             \
        EACH(g, BC) EACH(i, C_VALUES)                                                                     \
            strip[ROW_OF(i) * STRIP + COL_OF(BC, g, i)] = sum[g][i] * scale_of(ROW_OF(i));                \
        SYNC;                                                                                             \
        for (int t = id; t < min(rows, ROWS) * (WIDE / 4); t += ITEMS) {                                  \
            const int i = t / (WIDE / 4), c = t % (WIDE / 4) * 4;                                         \
            if (c < D)                                                                                    \
                STORE_4(Ty, vload4(0, strip + i * STRIP + c), (to) + i * (long)(row) + c, D - c);         \
        }                                                                                                 \
        SYNC;                                                                                             \
    }
#define NO_SCALE(row) 1

/* The four items of a row: what they hold, in order. */
static float4 of_row(local float *shelf, const float x)
{
    const int id = get_local_id(0);
    shelf[id] = x;
    SYNC;
    const float4 all = vload4(id / 4, shelf);
    SYNC;
    return all;
}

#define HEAD                                                                                              \
    const int id = get_local_id(0), lane = id % LANES, team = id / LANES, tx = team % WX, ty = team / WX; \
    const int i0 = get_group_id(0) * ROWS, z = get_group_id(1), left = n - i0;                            \
    const int row = 3 * h * D, out_row = h * D, mine = id / 4, part = id % 4;                             \
    const long at = (long)(z / h) * n * row + z % h * D, out_at = (long)(z / h) * n * out_row + z % h * D; \
    global const ushort *q = qkv + at, *k = q + h * D, *v = k + h * D;                                    \
    local uint *rows = (local uint *)room, *block = rows + ROWS * DEEP;

/* ---- kernels: room, in words, as core/op/attention.c counts it ------------------------------------------- */

/* room: ROWS lines of q; KEYS of k, WIDE columns of v, ROWS of p; scores, and a float for each item and row. */
GROUP kernel void attention(global const ushort *qkv, global TYPE(Ty) *out, global float *log_sum, const int n,
                            const int h, const float scale, local uint4 *room)
{
    HEAD
    local uint *columns = block + KEYS * DEEP, *p = columns + WIDE * ALONG;
    local float *scores = (local float *)(p + ROWS * ALONG), *shelf = scores + ROWS * SCORE,
        *factor = shelf + ITEMS;
    local uint *scratch = (local uint *)(factor + ROWS);
    float sum[BC][C_VALUES], s[BS][C_VALUES], top = -INFINITY, total = 0;
    CLEAR(sum, BC)
    load_lines(rows, q + i0 * (long)row, row, ROWS, left);
    #pragma unroll 1
    for (int j0 = 0; j0 < n; j0 += KEYS) {
        load_lines(block, k + j0 * (long)row, row, KEYS, n - j0);
        load_columns(columns, v + j0 * (long)row, row, n - j0);
        SYNC;
        CLEAR(s, BS)
        MULTIPLY(s, BS, rows, DEEP, block, DEEP, WIDE)
        EACH(g, BS) EACH(i, C_VALUES) scores[ROW_OF(i) * SCORE + COL_OF(BS, g, i)] = s[g][i];
        SYNC;
        float4 x[2];
        float now = top;
        EACH(e, 2) {
            const int j = part * 8 + 4 * e;
            x[e] = vload4(0, scores + mine * SCORE + j) * scale;
            x[e] = (int4)(j, j + 1, j + 2, j + 3) < (int4)(n - j0) ? x[e] : (float4)(-INFINITY);
            now = fmax(now, fmax(fmax(x[e].x, x[e].y), fmax(x[e].z, x[e].w)));
        }
        const float4 tops = of_row(shelf, now);
        now = fmax(fmax(tops.x, tops.y), fmax(tops.z, tops.w));
        const float shrink = exp_decay_1(top - now);
        top = now;
        total *= shrink;
        EACH(e, 2) {
            x[e] = exp_decay_4(x[e] - now);
            total += (x[e].x + x[e].y) + (x[e].z + x[e].w);
            vstore2(as_uint2(JOIN(narrowed_4_, ELEMENT)(x[e])), 0, p + mine * ALONG + part * 4 + 2 * e);
        }
        if (part == 0)
            factor[mine] = shrink;
        SYNC;
        EACH(g, BC) EACH(i, C_VALUES) sum[g][i] *= factor[ROW_OF(i)];
        MULTIPLY(sum, BC, p, ALONG, columns, ALONG, KEYS)
        SYNC;
    }
    const float4 totals = of_row(shelf, total);
    total = (totals.x + totals.y) + (totals.z + totals.w);
    if (part == 0) {
        factor[mine] = 1 / total;
        if (log_sum && mine < left)
            log_sum[(long)z * n + i0 + mine] = top + log(total);
    }
    SYNC;
#define SCALE_OF(row) scales[i]
    float scales[C_VALUES];
    EACH(i, C_VALUES) scales[i] = factor[ROW_OF(i)];
    PUT(out + out_at + i0 * (long)out_row, out_row, left, sum, SCALE_OF)
}

/* inner, (b h n): sum(dout out) of each row, for attention_dkv. room: ROWS lines of q, KEYS of k, ROWS of dout,
 * KEYS of v; WIDE columns of k, ROWS of dS; a float for each item, two for each row. */
GROUP kernel void attention_dq(global const ushort *qkv, global const ushort *out, global const float *log_sum,
                               global const ushort *dout, global TYPE(Ty) *dqkv, global float *inner,
                               const int n, const int h, const float scale, local uint4 *room)
{
    HEAD
    local uint *outer = block + KEYS * DEEP, *values = outer + ROWS * DEEP, *columns = values + KEYS * DEEP;
    local uint *ds = columns + WIDE * ALONG;
    local float *shelf = (local float *)(ds + ROWS * ALONG), *logs = shelf + ITEMS, *inners = logs + ROWS;
    local uint *scratch = (local uint *)(inners + ROWS);
    float sum[BC][C_VALUES], s[BS][C_VALUES], g_s[BS][C_VALUES], in = 0;
    global const ushort *o = out + out_at + i0 * (long)out_row, *go = dout + out_at + i0 * (long)out_row;
    CLEAR(sum, BC)
    for (int c = part; c < D && mine < left; c += 4)
        in += LOAD_1(ELEMENT, go + mine * (long)out_row + c) * LOAD_1(ELEMENT, o + mine * (long)out_row + c);
    const float4 ins = of_row(shelf, in);
    in = (ins.x + ins.y) + (ins.z + ins.w);
    if (part == 0) {
        inners[mine] = in;
        logs[mine] = mine < left ? log_sum[(long)z * n + i0 + mine] : 0;
        if (mine < left)
            inner[(long)z * n + i0 + mine] = in;
    }
    load_lines(rows, q + i0 * (long)row, row, ROWS, left);
    load_lines(outer, go, out_row, ROWS, left);
    #pragma unroll 1
    for (int j0 = 0; j0 < n; j0 += KEYS) {
        load_lines(block, k + j0 * (long)row, row, KEYS, n - j0);
        load_lines(values, v + j0 * (long)row, row, KEYS, n - j0);
        load_columns(columns, k + j0 * (long)row, row, n - j0);
        SYNC;
        CLEAR(s, BS)
        CLEAR(g_s, BS)
        MULTIPLY(s, BS, rows, DEEP, block, DEEP, WIDE)
        MULTIPLY(g_s, BS, outer, DEEP, values, DEEP, WIDE)
        EACH(g, BS) EACH(i, C_VALUES) {
            const int r = ROW_OF(i), c = COL_OF(BS, g, i);
            const float prob = j0 + c < n ? exp_decay_1(fma(s[g][i], scale, -logs[r])) : 0;
            put_half(ds, prob * (g_s[g][i] - inners[r]) * scale, r, c);
        }
        SYNC;
        MULTIPLY(sum, BC, ds, ALONG, columns, ALONG, KEYS)
        SYNC;
    }
    PUT(dqkv + at + i0 * (long)row, row, left, sum, NO_SCALE)
}

/* Rows are keys, and blocks of queries. room: ROWS lines of k, KEYS of q, ROWS of v, KEYS of dout; WIDE columns
 * of dout, then of q; ROWS of P^T, then of dS^T. */
GROUP kernel void attention_dkv(global const ushort *qkv, global const float *log_sum,
                                global const ushort *dout, global TYPE(Ty) *dqkv, global const float *inner,
                                const int n, const int h, const float scale, local uint4 *room)
{
    HEAD
    local uint *values = block + KEYS * DEEP, *outer = values + ROWS * DEEP, *columns = outer + KEYS * DEEP;
    local uint *p = columns + WIDE * ALONG, *scratch = p + ROWS * ALONG + ITEMS + 2 * ROWS;
    float sum_k[BC][C_VALUES], sum_v[BC][C_VALUES], s[BS][C_VALUES], g_s[BS][C_VALUES];
    (void)mine, (void)part;
    CLEAR(sum_k, BC)
    CLEAR(sum_v, BC)
    load_lines(rows, k + i0 * (long)row, row, ROWS, left);
    load_lines(values, v + i0 * (long)row, row, ROWS, left);
    #pragma unroll 1
    for (int j0 = 0; j0 < n; j0 += KEYS) {
        global const ushort *qs = q + j0 * (long)row, *gs = dout + out_at + j0 * (long)out_row;
        load_lines(block, qs, row, KEYS, n - j0);
        load_lines(outer, gs, out_row, KEYS, n - j0);
        load_columns(columns, gs, out_row, n - j0);
        SYNC;
        CLEAR(s, BS)
        CLEAR(g_s, BS)
        MULTIPLY(s, BS, rows, DEEP, block, DEEP, WIDE)
        MULTIPLY(g_s, BS, values, DEEP, outer, DEEP, WIDE)
        EACH(g, BS) EACH(i, C_VALUES) {
            const int c = COL_OF(BS, g, i), j = j0 + c;
            const long there = (long)z * n + min(j, n - 1);
            s[g][i] = j < n ? exp_decay_1(fma(s[g][i], scale, -log_sum[there])) : 0;
            g_s[g][i] = s[g][i] * (g_s[g][i] - inner[there]) * scale;
            put_half(p, s[g][i], ROW_OF(i), c);
        }
        SYNC;
        MULTIPLY(sum_v, BC, p, ALONG, columns, ALONG, KEYS)
        SYNC;
        // In this order: after a loop that some items leave early PoCL 3.1 forgets their arrays.
        EACH(g, BS) EACH(i, C_VALUES) put_half(p, g_s[g][i], ROW_OF(i), COL_OF(BS, g, i));
        load_columns(columns, qs, row, n - j0);
        SYNC;
        MULTIPLY(sum_k, BC, p, ALONG, columns, ALONG, KEYS)
        SYNC;
    }
    PUT(dqkv + at + h * D + i0 * (long)row, row, left, sum_k, NO_SCALE)
    PUT(dqkv + at + 2 * h * D + i0 * (long)row, row, left, sum_v, NO_SCALE)
}
