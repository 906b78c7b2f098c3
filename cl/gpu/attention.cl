/* attention.cl on GPUs: softmax(q k^T / sqrt(d)) v without the n x n matrix, by blocks (Dao et al. 2022).
 *
 *     qkv (b n 3 h D): row i of image z holds q, k and v of all heads, so a head's rows are 3 h D apart
 *
 * A group of 8 x ROWS / 4 items owns ROWS rows of one (image, head) and walks the others in blocks of 32,
 * KEYS. An item (x, y) has 4 x 4 scores and 4 x 4 QUADS results, so that multiply-adds are what it is bound
 * by, not local memory:
 *
 *              keys 4x..              scores: 16 multiply-adds for a float4 of q and of k, both [channel][row]
 *          +----------------+         results: 16 QUADS for a float4 of p, [key][row], and of v, [key][channel]
 *     rows | s s s s        |
 *     4y.. | s s s s        |         p's float4 y of key j is at (y + j / 4) mod (ROWS / 4): neither writing
 *          +----------------+         nor reading meets a bank twice
 *
 * Local memory, three parts, 32 KB for 64 rows of 64 channels, so that two groups fit where there is 64:
 *
 *     rows (D ROWS)      q; in the backward kernels q and dout, or k and v, alternately
 *     block (32 WIDE)    k, v, .. of the block, transposed or as they are
 *     scores (32 WIDE)   sums across items, then p and dS; the forward kernel's v
 *
 *     attention       rows are queries: running maximum and sum, results rescaled when the maximum grows
 *     attention_dq    rows are queries: P from the stored log sums, dS = P (dP - sum(dout out)) / sqrt(d),
 *                     dq = dS k
 *     attention_dkv   rows are keys: the same with roles exchanged, dv = P^T dout, dk = dS^T q
 *
 * No two groups write one value, and blocks follow in order: runs repeat bit for bit. What is read (qkv, dout,
 * out) is of one type, Tx; what is written is of type Ty.
 */
#include "type.h"
#include "quad.h"
#include "special.h"
#include "unroll.h"
#ifndef D
#define D    64
#define ROWS 64
#endif
#define KEYS  32
#define GY    (ROWS / 4)
#define ITEMS (8 * GY)
#define QUADS ((D + 31) / 32)                 // float4s of results of an item's row
#define WIDE  (32 * QUADS > ROWS ? 32 * QUADS : ROWS)
#define GROUP __attribute__((reqd_work_group_size(8, GY, 1)))
#define SYNC  barrier(CLK_LOCAL_MEM_FENCE)

/* Channels c.. of a row, as many as there are. */
static float4 channels(global const TYPE(Tx) *p, const int c)
{
    return D % 4 == 0 || c + 4 <= D ? SURE_4(Tx, p + c, 0) : LOAD_4(Tx, p + c, D - c);
}

/* to[c][i] = from[i][c] for n rows (a power of two), of which some exist; the others are 0. Neighbours take
 * neighbouring rows: what they write is side by side. */
static void load_transposed(local float *to, global const TYPE(Tx) *from, const int row, const int n,
                            const int rows)
{
    for (int t = get_local_id(1) * 8 + get_local_id(0); t < n * ((D + 3) / 4); t += ITEMS) {
        const int i = t % n, c = t / n * 4;
        const float4 v = i < rows ? channels(from + i * row, c) : 0;
        to[c * n + i] = v.x;
        if (c + 1 < D) to[(c + 1) * n + i] = v.y;
        if (c + 2 < D) to[(c + 2) * n + i] = v.z;
        if (c + 3 < D) to[(c + 3) * n + i] = v.w;
    }
}

/* to[i][c] = from[i][c] for KEYS rows, of which some exist; the others, and channels past D, are 0. */
static void load_plain(local float4 *to, global const TYPE(Tx) *from, const int row, const int rows)
{
    for (int t = get_local_id(1) * 8 + get_local_id(0); t < KEYS * 8 * QUADS; t += ITEMS) {
        const int i = t / (8 * QUADS), c = t % (8 * QUADS) * 4;
        to[t] = i < rows && c < D ? channels(from + i * row, c) : 0;
    }
}

/* s[c]: of key 4x + c, the products with rows 4y.. summed over the channels */
static void dots(float4 s[4], local const float *rows, local const float *keys)
{
    local const float4 *a = (local const float4 *)rows + get_local_id(1);
    local const float4 *b = (local const float4 *)keys + get_local_id(0);
    EACH(c, 4) s[c] = 0;
    #pragma unroll UNROLL
    for (int k = 0; k < D; k++) {
        const float4 q = a[k * GY], v = b[k * (KEYS / 4)];
        s[0] = fma(q, v.x, s[0]);
        s[1] = fma(q, v.y, s[1]);
        s[2] = fma(q, v.z, s[2]);
        s[3] = fma(q, v.w, s[3]);
    }
}

static void put_scores(local float4 *scores, const float4 s[4])
{
    const int x = get_local_id(0), y = get_local_id(1);
    EACH(c, 4) scores[(4 * x + c) * GY + (y + x) % GY] = s[c];
}

/* sum[r][q] += row 4y + r of the scores times channels 4x + 32 q.. of v */
static void add_product(float4 sum[4][QUADS], local const float4 *scores, local const float4 *v)
{
    const int x = get_local_id(0), y = get_local_id(1);
    #pragma unroll (UNROLL == 1 ? 1 : 2)
    for (int j4 = 0; j4 < KEYS / 4; j4++) {
        local const float4 *p = scores + 4 * j4 * GY + (y + j4) % GY, *w = v + 4 * j4 * 8 * QUADS + x;
        EACH(j, 4) {
            const float4 s = p[j * GY];
            EACH(q, QUADS) {
                const float4 values = w[(j * QUADS + q) * 8];
                sum[0][q] = fma(s.x, values, sum[0][q]);
                sum[1][q] = fma(s.y, values, sum[1][q]);
                sum[2][q] = fma(s.z, values, sum[2][q]);
                sum[3][q] = fma(s.w, values, sum[3][q]);
            }
        }
    }
}

static void put_row(global TYPE(Ty) *to, const float4 sum[QUADS])
{
    EACH(q, QUADS) {
        const int c = 4 * get_local_id(0) + 32 * q;
        if (c < D)
            STORE_4(Ty, sum[q], to + c, D - c);
    }
}

/* `rows` of the group's rows exist; each times its scale. */
static void put(global TYPE(Ty) *to, const int row, const int rows, const float4 sum[4][QUADS],
                const float4 scale)
{
    const int i = 4 * get_local_id(1);
    float4 out[QUADS];
#define PUT(r, part)                                  \
    EACH(q, QUADS) out[q] = sum[r][q] * scale.part;   \
    if (i + r < rows)                                 \
        put_row(to + (i + r) * (long)row, out);
    PUT(0, x) PUT(1, y) PUT(2, z) PUT(3, w)
#undef PUT
}

/* What the 8 items of each row hold, summed or its maximum: the same order for all. */
static float4 across(const float4 v, local float4 *shelf, const int maximum)
{
    const int x = get_local_id(0), y = get_local_id(1);
    shelf[x * GY + y] = v;
    SYNC;
    float4 all = shelf[y];
    EACH(c, 7) {
        const float4 other = shelf[(c + 1) * GY + y];
        all = maximum ? fmax(all, other) : all + other;
    }
    SYNC;
    return all;
}

/* Values of four rows from i on, of which n exist. */
static float4 values_of(global const float *p, const int i, const int n)
{
    return (float4)(i < n ? p[i] : 0, i + 1 < n ? p[i + 1] : 0, i + 2 < n ? p[i + 2] : 0,
                    i + 3 < n ? p[i + 3] : 0);
}

static void put_values(global float *p, const float4 v, const int i, const int n)
{
    if (i < n)     p[i] = v.x;
    if (i + 1 < n) p[i + 1] = v.y;
    if (i + 2 < n) p[i + 2] = v.z;
    if (i + 3 < n) p[i + 3] = v.w;
}

#define HEAD                                                                                              \
    const int x = get_local_id(0), y = get_local_id(1), i0 = get_group_id(0) * ROWS, z = get_group_id(1); \
    const int row = 3 * h * D, out_row = h * D;                                                           \
    const long at = (long)(z / h) * n * row + z % h * D, out_at = (long)(z / h) * n * out_row + z % h * D; \
    global const TYPE(Tx) *q = qkv + at, *k = q + h * D, *v = k + h * D;                                  \
    local float *rows = room, *block = rows + D * ROWS, *scores = block + KEYS * WIDE;                    \
    local float4 *rows_4 = (local float4 *)rows, *block_4 = (local float4 *)block;                        \
    local float4 *scores_4 = (local float4 *)scores;                                                      \
    float4 s[4];                                                                                          \
    (void)rows_4, (void)x, (void)y;

/* log_sum may be NULL. room: D ROWS + 64 WIDE floats. */
GROUP kernel void attention(global const TYPE(Tx) *qkv, global TYPE(Ty) *out, global float *log_sum,
                            const int n, const int h, const float scale, local float *room)
{
    HEAD
    float4 sum[4][QUADS], top = -INFINITY, total = 0;
    EACH(r, 4) EACH(c, QUADS) sum[r][c] = 0;
    load_transposed(rows, q + i0 * (long)row, row, ROWS, n - i0);
    #pragma unroll 1
    for (int j0 = 0; j0 < n; j0 += KEYS) {
        load_transposed(block, k + j0 * (long)row, row, KEYS, n - j0);
        SYNC;
        dots(s, rows, block);
        float4 now = top;
        EACH(c, 4) {
            s[c] = j0 + 4 * x + c < n ? s[c] * scale : -INFINITY;
            now = fmax(now, s[c]);
        }
        SYNC;                                 // all items are done with k: its memory is the shelf's, then p's
        load_plain(scores_4, v + j0 * (long)row, row, n - j0);
        now = across(now, block_4, 1);
        const float4 shrink = exp_decay_4(top - now);
        top = now;
        total *= shrink;
        EACH(c, QUADS) {
            sum[0][c] *= shrink.x;
            sum[1][c] *= shrink.y;
            sum[2][c] *= shrink.z;
            sum[3][c] *= shrink.w;
        }
        EACH(c, 4) {
            s[c] = exp_decay_4(s[c] - now);
            total += s[c];
        }
        put_scores(block_4, s);
        SYNC;
        add_product(sum, block_4, scores_4);
        SYNC;
    }
    total = across(total, block_4, 0);
    const int left = n - i0;
    if (log_sum && x == 0)
        put_values(log_sum + (long)z * n + i0,
                   top + (float4)(log(total.x), log(total.y), log(total.z), log(total.w)),
                   4 * y, left);
    put(out + out_at + i0 * (long)out_row, out_row, left, sum, 1 / total);
}

/* inner, (b h n): sum(dout out) of each row, for attention_dkv. */
GROUP kernel void attention_dq(global const TYPE(Tx) *qkv, global const TYPE(Tx) *out,
                               global const float *log_sum, global const TYPE(Tx) *dout, global TYPE(Ty) *dqkv,
                               global float *inner, const int n, const int h, const float scale,
                               local float *room)
{
    HEAD
    float4 sum[4][QUADS], g[4], in = 0;
    const int left = n - i0;
    const long first = (long)z * n + i0;
    global const TYPE(Tx) *o = out + out_at + i0 * (long)out_row, *go = dout + out_at + i0 * (long)out_row;
    const float4 logs = values_of(log_sum + first, 4 * y, left);
    EACH(r, 4) EACH(c, QUADS) sum[r][c] = 0;
#define INNER(r, part)                                                     \
    for (int c = x; c < D && 4 * y + r < left; c += 8)                     \
        in.part += LOAD_1(Tx, go + (4 * y + r) * out_row + c) * LOAD_1(Tx, o + (4 * y + r) * out_row + c);
    INNER(0, x) INNER(1, y) INNER(2, z) INNER(3, w)
#undef INNER
    in = across(in, scores_4, 0);
    if (x == 0)
        put_values(inner + first, in, 4 * y, left);
    #pragma unroll 1
    for (int j0 = 0; j0 < n; j0 += KEYS) {
        load_transposed(rows, q + i0 * (long)row, row, ROWS, left);
        load_transposed(block, k + j0 * (long)row, row, KEYS, n - j0);
        SYNC;
        dots(s, rows, block);
        SYNC;
        load_transposed(rows, go, out_row, ROWS, left);
        load_transposed(block, v + j0 * (long)row, row, KEYS, n - j0);
        SYNC;
        dots(g, rows, block);
        SYNC;
        load_plain(block_4, k + j0 * (long)row, row, n - j0);
        EACH(c, 4) s[c] = j0 + 4 * x + c < n ? exp_decay_4(fma(s[c], scale, -logs)) * (g[c] - in) * scale : 0;
        put_scores(scores_4, s);
        SYNC;
        add_product(sum, scores_4, block_4);
        SYNC;
    }
    put(dqkv + at + i0 * (long)row, row, left, sum, 1);
}

GROUP kernel void attention_dkv(global const TYPE(Tx) *qkv, global const float *log_sum,
                                global const TYPE(Tx) *dout, global TYPE(Ty) *dqkv, global const float *inner,
                                const int n, const int h, const float scale, local float *room)
{
    HEAD
    float4 sum_k[4][QUADS], sum_v[4][QUADS], g[4];
    const int left = n - i0;
    EACH(r, 4) EACH(c, QUADS) sum_k[r][c] = sum_v[r][c] = 0;
    #pragma unroll 1
    for (int j0 = 0; j0 < n; j0 += KEYS) {
        global const TYPE(Tx) *qs = q + j0 * (long)row, *gs = dout + out_at + j0 * (long)out_row;
        load_transposed(rows, k + i0 * (long)row, row, ROWS, left);
        load_transposed(block, qs, row, KEYS, n - j0);
        SYNC;
        dots(s, rows, block);
        SYNC;
        load_transposed(rows, v + i0 * (long)row, row, ROWS, left);
        load_transposed(block, gs, out_row, KEYS, n - j0);
        SYNC;
        dots(g, rows, block);
        SYNC;
        load_plain(block_4, gs, out_row, n - j0);
        EACH(c, 4) {
            const int j = j0 + 4 * x + c;
            const float log_j = j < n ? log_sum[(long)z * n + j] : 0, in = j < n ? inner[(long)z * n + j] : 0;
            s[c] = j < n ? exp_decay_4(fma(s[c], scale, -log_j)) : 0;
            g[c] = s[c] * (g[c] - in) * scale;
        }
        put_scores(scores_4, s);
        SYNC;
        add_product(sum_v, scores_4, block_4);
        SYNC;
        load_plain(block_4, qs, row, n - j0);
        put_scores(scores_4, g);
        SYNC;
        add_product(sum_k, scores_4, block_4);
        SYNC;
    }
    put(dqkv + at + h * D + i0 * (long)row, row, left, sum_k, 1);
    put(dqkv + at + 2 * h * D + i0 * (long)row, row, left, sum_v, 1);
}
