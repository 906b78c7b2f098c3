/* attention.cl on CPUs: softmax(q k^T / sqrt(d)) v of one (image, head) at a time, never writing the n x n
 * matrix to memory.
 *
 *     qkv (b n 3 h d): row i of image z holds q, k and v of all heads, so a head's rows are 3 h d apart
 *
 * A group takes one of the b*h heads after the other, in a slab of work memory of its own, which stays in the
 * second cache. n = 197, d = 64: k^T and v packed 2 x 61 KiB, scores of MR query rows 8 KiB.
 *
 *     forward:   per MR query rows:
 *                    S = q k^T (panels of k^T) -> rows p = 2^(S - max) -> out = p v / sum, log sum kept
 *     backward:  per block of query rows, P and dS of the block in the slab:
 *                    P = 2^(S - log sum), dP = dout v^T, dS = P (dP - sum(P dP))
 *                    dq = dS k
 *                after the block, per MR keys:
 *                    dv += P^T dout, dk += dS^T q
 * where S is scaled by log2(e) / sqrt(d), dq and dk by 1 / sqrt(d), and logarithms are to base 2. One block
 * of query rows follows the other, so sums have one order. Bound: multiply-adds, 2 products forward, 5
 * backward.
 *
 * Of a half type (qkv and dout: Tx; out and dqkv: Ty) rows of v, k, q and dout are floats in the slab before
 * they are multiplied with, and all query rows are one block, since dv and dk are written once.
 */
#include "type.h"
#undef Tb
#define Tb Tx
#define SPACE global
#define B_STEP step
#define STEPS 1                   /* short loops: by four steps 8 % slower than as compilers unroll them */
#include "tile.h"
#include "special.h"
#include "ticket.h"

#define LOG2_E 1.44269504f
#define PANELS(n) (((n) + WIDE - 1) / WIDE)
#define PADDED(n) (PANELS(n) * WIDE)
#define EVEN(n) (((n) + 16 * PANELS(n) - 1) / (16 * PANELS(n)) * 16)       // columns of panels that are alike

/* All n columns of B (kk deep), panel after panel. */
static void pack_all_plain(global float16 *to, global const TYPE(Tx) *b, const long row, const int kk,
                           const int n)
{
    const int wide = EVEN(n) / 16;
    for (int v = 0; 16 * v < n; v++) {
        global float16 *column = to + v / wide * wide * kk + v % wide;
        for (int k = 0; k < kk; k++)
            column[k * wide] = LOAD_16(Tx, b + k * row + 16 * v, n - 16 * v, 0);
    }
}

static void pack_all_transposed(global float16 *to, global const TYPE(Tx) *b, const long row, const int kk,
                            const int n)
{
    for (int j = 0; j < n; j += WIDE)
        pack_transposed(to + j / WIDE * kk * NV, b + j * row, row, kk, n - j);
}

/* n values of some rows, before the first of them is waited for. */
static void fetch_rows(global const TYPE(Tx) *a, const long row, const int rows, const int n)
{
    for (int r = 0; r < rows; r++)
        for (int j = 0; j < n; j += 64 / BYTES(Tx))
            PREFETCH(a + r * row + j);
}

/* ---- products of MR rows: `rows` of them exist, the others repeat the last ----------------------------- */

/* B: panels of `wide` columns, rows `step` apart: packed, or the rows of a matrix as they lie, which then are
 * whole vectors. */
struct right { global const float *b; int wide, step; };

static struct right packed(global const float16 *b, const int wide)
{
    const struct right r = { (global const float *)b, wide, wide };
    return r;
}

/* Whole vectors are read where they lie, unless rows a multiple of 2 KiB apart share few lines of a cache. */
static struct right as_it_lies_or_packed(global float16 *room, global const TYPE(Tx) *b, const int row,
                                         const int kk, const int n)
{
#if BYTES(Tx) == 4
    const struct right r = { b, EVEN(n), row };
    if (n % 16 == 0 && row % 512)
        return r;
#endif
    pack_all_plain(room, b, row, kk, n);
    return packed(room, EVEN(n));
}

/* A: `rows` rows, `row` apart; `step` floats from one k to the next. Passed by address: copies of structs
 * of several types were written in parts and read whole, which stalls. */
struct left { global const float *a; long row, step; int rows; };

/* `rows` of a's, n values each; of a half type as floats in `room`. */
static struct left rows_of(global float *room, global const TYPE(Tx) *a, const long row, const int rows,
                           const int n)
{
#if BYTES(Tx) == 4
    const struct left l = { a, row, 1, rows };
#else
    const struct left l = { room, PADDED(n), 1, rows };
    for (int r = 0; r < rows; r++)
        for (int j = 0; j < n; j += 16)
            vstore16(LOAD_16(Tx, a + r * row + j, n - j, 0), 0, room + r * PADDED(n) + j);
#endif
    return l;
}

#define ROW_OF_A(r) global const float *a##r = a->a + min(r, a->rows - 1) * a->row;
#define PANEL_OF(b, j) \
    const int step = (b)->step, columns = min(n - j, (b)->wide); \
    global const float *panel = (b)->b + (step == (b)->wide ? (j) * kk : (j));
#define PUT(r, v) to[r * (PADDED(n) / 16) + j / 16 + v] = c##r##v;
#define PUT_ROW(r) VECTORS(PUT, r)

/* to[MR][PADDED(n)] = A B */
static void multiply_wide(global float16 *to, const struct left *a, const struct right *b, const int kk,
                          const int n)
{
    ROWS(ROW_OF_A)
    for (int j = 0; j < n; j += b->wide) {
        PANEL_OF(b, j)
        MULTIPLY(columns, kk, a->step)
        ROWS(PUT_ROW)
    }
}

/* What multiply() fetches besides, a line in each step of k: the k rows of the head to come, or (odd) its v
 * rows, 16 columns of all rows at a time. */
struct ahead { global const TYPE(Tx) *p; long step; };

static struct ahead of_next(global const TYPE(Tx) *k, const int z, const int next, const int i, const int n,
                            const int h, const int d)
{
    const long to_next = (next / h - z / h) * (3L * n * h * d) + (next % h - z % h) * d;
    const int line = i / MR, column = line / 2 * 16;
    const struct ahead f = { k + to_next + line % 2 * h * d + column, column < d ? 3L * h * d : 0 };
    return f;
}

#undef AHEAD
#define AHEAD PREFETCH(ahead); ahead += f->step;

/* One vector of C, of which `columns` exist. */
static void put(global TYPE(Ty) *to, float16 y, const int columns, const bool onto)
{
    if (onto)
        y += LOAD_16(Ty, to, columns, 0);
    STORE_16(Ty, y, to, columns);
}

/* C = or += scale A B, rows of C c_row apart */
static void multiply(global TYPE(Ty) *c, const long c_row, const struct left *a, const struct right *b,
                     const int kk, const int n, const float *scale, const bool onto, const struct ahead *f)
{
    ROWS(ROW_OF_A)
    for (int j = 0; j < n; j += b->wide) {
        PANEL_OF(b, j)
        global const TYPE(Tx) *ahead = f->p;
        MULTIPLY(columns, kk, a->step)
        if (a->rows == MR && columns % 16 == 0) {
            global TYPE(Ty) *to = c + j;
#define PUT_WHOLE(r, v) if (16 * v < columns) put(to + r * c_row + 16 * v, c##r##v * scale[r], 16, onto);
#define PUT_WHOLE_ROW(r) VECTORS(PUT_WHOLE, r)
            ROWS(PUT_WHOLE_ROW)
        } else {
            float16 sums[MR * NV];
            ROWS(KEEP_SUMS)
            for (int r = 0; r < a->rows; r++)
                for (int v = 0; 16 * v < columns; v++)
                    put(c + r * c_row + j + 16 * v, sums[r * NV + v] * scale[r], columns - 16 * v, onto);
        }
    }
}

/* ---- forward ------------------------------------------------------------------------------------------- */

/* 2^t for t <= 0: n + f, |f| <= 1/2: adding 3 2^22 + 127 rounds, and leaves n + 127 in the low bits. Below
 * 2^-126 it stays there; NaN passes. Coefficients: see special_lanes.h. */
static float16 exp2_of_score(float16 t)
{
    t = select(t, (float16)-126.0f, t < -126.0f);
    const float16 shifted = t + 12583039.0f, f = t - (shifted - 12583039.0f);
    float16 p = fma(f, (float16)1.33335581e-3f, (float16)9.61812911e-3f);
    p = fma(p, f, (float16)5.55041087e-2f);
    p = fma(p, f, (float16)2.40226507e-1f);
    p = fma(p, f, (float16)6.93147182e-1f);
    p = fma(p, f, (float16)1.0f);
    return p * as_float16(as_int16(shifted) << 23);
}

/* Which lanes of the last of n columns' vectors exist. */
static int16 edge_of(const int n)
{
    return (int16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15) + (n - 1) / 16 * 16 < n;
}

/* p[MR][PADDED(n)]: scores -> 2^(scale (score - top)), not divided by their sums; tops: the largest of each
 * row. All rows go together: their sums do not wait for one another, and constants are fetched once. */
static void softmax_block(global float16 *p, const int n, const float scale, float *tops, float *sums)
{
    const int wide = PADDED(n) / 16, last = (n - 1) / 16;
    const int16 edge = edge_of(n);
#define EDGE(r) p[r * wide + last] = select((float16)-INFINITY, p[r * wide + last], edge);
#define FIRST(r) float16 top##r = p[r * wide];
#define LARGER(r) top##r = larger_16(top##r, p[r * wide + v]);
#define TOP(r) tops[r] = max_16(top##r);
    ROWS(EDGE) ROWS(FIRST)
    for (int v = 1; v <= last; v++) {
        ROWS(LARGER)
    }
    ROWS(TOP)
#define START(r) float16 sum##r = 0; top##r = tops[r];
#define TERM(r) { const float16 e = exp2_of_score(scale * (p[r * wide + v] - top##r)); \
                  sum##r += e; p[r * wide + v] = e; }
#define SUM(r) sums[r] = sum_16(sum##r);
    ROWS(START)
    for (int v = 0; v <= last; v++) {
        ROWS(TERM)
    }
    ROWS(SUM)
}

/* heads: b*h; tickets: ticket.h's; slab: floats of a group's work. log_sum may be NULL. */
ALONE kernel void attention(global const TYPE(Tx) *qkv, global TYPE(Ty) *out, global float *log_sum,
                            global float *work, const int n, const int h, const int d, const int heads,
                            volatile global int *tickets, const long slab, const float scale)
{
    const long row = 3L * h * d, out_row = (long)h * d;
    const float scale_2 = scale * LOG2_E;
    global float16 *keys = (global float16 *)(work + get_group_id(0) * slab);
    global float16 *values = keys + d * (PADDED(n) / 16), *p = values + n * (PADDED(d) / 16);
    global float *room = (global float *)(p + MR * (PADDED(n) / 16));
    for (int z = next_ticket(tickets), next; z < heads; z = next) {
        next = next_ticket(tickets);
        global const TYPE(Tx) *q = qkv + z / h * (n * row) + z % h * d, *k = q + h * d, *v = k + h * d;
        global TYPE(Ty) *o = out + z / h * (n * out_row) + z % h * d;
        pack_all_transposed(keys, k, row, d, n);
        const struct right k_transposed = packed(keys, WIDE);
        const struct right v_plain = as_it_lies_or_packed(values, v, row, n, d);
        for (int i = 0; i < n; i += MR) {
            const int rows = min(MR, n - i);
            float tops[16], sums[16];
            fetch_rows(q + (i + MR) * row, row, MR, d);
            const struct left qs = rows_of(room, q + i * row, row, rows, d);
            const struct left ps = { (global const float *)p, PADDED(n), 1, rows };
            multiply_wide(p, &qs, &k_transposed, d, n);
            softmax_block(p, n, scale_2, tops, sums);
            for (int r = MR; r < 16; r++)
                tops[r] = sums[r] = 1;
            if (log_sum) {                                   // 16 logarithms cost less than one
                const float16 logs = fma((float16)scale_2, vload16(0, tops), log2(vload16(0, sums)));
                store_16(logs, log_sum + (long)z * n + i, rows);
            }
            vstore16(1 / vload16(0, sums), 0, sums);
            const struct ahead f = of_next(k, z, next < heads ? next : z, i, n, h, d);
            multiply(o + i * out_row, out_row, &ps, &v_plain, n, d, sums, false, &f);
        }
    }
    return_tickets(tickets);
}

/* ---- backward ------------------------------------------------------------------------------------------ */

/* MR rows, p: scores -> P, g: dP -> dS / scale: products with it scale. Columns of g past n are 0 while sums
 * are taken; no product reads any past n. */
static void scores_grad(global float16 *p, global float16 *g, const int n, const float scale,
                        const float *log_sum)
{
    const int wide = PADDED(n) / 16, last = (n - 1) / 16;
    const int16 edge = edge_of(n);
#define EDGE_OF_G(r) g[r * wide + last] = select((float16)0, g[r * wide + last], edge);
#define KNOWN(r) float16 sum##r = 0, less##r = -log_sum[r];
#define WEIGHT(r) { const float16 e = exp2_of_score(fma(p[r * wide + v], (float16)scale, less##r)); \
                    sum##r = fma(e, g[r * wide + v], sum##r); p[r * wide + v] = e; }
#define INNER(r) sum##r = sum_16(sum##r);
#define BACK(r) g[r * wide + v] = p[r * wide + v] * (g[r * wide + v] - sum##r);
    ROWS(EDGE_OF_G) ROWS(KNOWN)
    for (int v = 0; v <= last; v++) {
        ROWS(WEIGHT)
    }
    ROWS(INNER)
    for (int v = 0; v <= last; v++) {
        ROWS(BACK)
    }
}

/* block: query rows whose P and dS are held at a time. */
ALONE kernel void attention_grad(global const TYPE(Tx) *qkv, global const float *log_sum,
                                 global const TYPE(Tx) *dout, global TYPE(Ty) *dqkv, global float *work,
                                 const int n, const int h, const int d, const int heads,
                                 volatile global int *tickets, const long slab, const float scale,
                                 const int block)
{
    const int wide = PADDED(n) / 16, deep_wide = PADDED(d) / 16;
    const long row = 3L * h * d, out_row = (long)h * d;
    global float16 *keys = (global float16 *)(work + get_group_id(0) * slab), *values = keys + d * wide;
    global float16 *keys_room = values + d * wide, *q_room = keys_room + n * deep_wide;
    global float16 *go_room = q_room + block * deep_wide, *p = go_room + block * deep_wide;
    global float16 *g = p + block * wide;
    global float *rows_room = (global float *)(g + block * wide), *gos_room = rows_room + MR * 16 * deep_wide;
    const struct ahead nothing = { qkv, 0 };
    float one[MR], scales[MR];
    for (int r = 0; r < MR; r++) {
        one[r] = 1;
        scales[r] = scale;
    }
    for (int z = next_ticket(tickets), next; z < heads; z = next) {
        next = next_ticket(tickets);
        const long at = z / h * (n * row) + z % h * d, out_at = z / h * (n * out_row) + z % h * d;
        global const TYPE(Tx) *q = qkv + at, *k = q + h * d, *v = k + h * d;
        global const TYPE(Tx) *go = dout + out_at;
        global TYPE(Ty) *dq = dqkv + at, *dk = dq + h * d, *dv = dk + h * d;
        fetch_rows(go, out_row, MR, d);
        pack_all_transposed(keys, k, row, d, n);
        pack_all_transposed(values, v, row, d, n);
        const struct right k_transposed = packed(keys, WIDE), v_transposed = packed(values, WIDE);
        const struct right k_plain = as_it_lies_or_packed(keys_room, k, row, n, d);
        for (int i0 = 0; i0 < n; i0 += block) {
            const int deep = min(block, n - i0);
            for (int i = 0; i < deep; i += MR) {
                const int rows = min(MR, deep - i);
                const long r0 = i0 + i;
                global float16 *pi = p + i * wide, *gi = g + i * wide;
                float logs[MR];
                fetch_rows(q + (r0 + MR) * row, row, MR, d);
                fetch_rows(go + (r0 + MR) * out_row, out_row, MR, d);
                const struct left qs = rows_of(rows_room, q + r0 * row, row, rows, d);
                const struct left gos = rows_of(gos_room, go + r0 * out_row, out_row, rows, d);
                const struct left gs = { (global const float *)gi, PADDED(n), 1, rows };
                multiply_wide(pi, &qs, &k_transposed, d, n);
                multiply_wide(gi, &gos, &v_transposed, d, n);
                for (int r = 0; r < MR; r++)
                    logs[r] = log_sum[(long)z * n + r0 + min(r, rows - 1)];
                scores_grad(pi, gi, n, scale * LOG2_E, logs);
                const struct ahead f = of_next(k, z, next < heads ? next : z, r0, n, h, d);
                multiply(dq + r0 * row, row, &gs, &k_plain, n, d, scales, false, &f);
            }
            const struct right q_plain = as_it_lies_or_packed(q_room, q + i0 * row, row, deep, d);
            const struct right go_plain = as_it_lies_or_packed(go_room, go + i0 * out_row, out_row, deep, d);
            for (int j = 0; j < n; j += MR) {
                const struct left a = { (global const float *)p + j, 1, PADDED(n), min(MR, n - j) };
                multiply(dv + j * row, row, &a, &go_plain, deep, d, one, i0 > 0, &nothing);
            }
            for (int j = 0; j < n; j += MR) {
                const struct left a = { (global const float *)g + j, 1, PADDED(n), min(MR, n - j) };
                multiply(dk + j * row, row, &a, &q_plain, deep, d, scales, i0 > 0, &nothing);
            }
        }
    }
    return_tickets(tickets);
}
