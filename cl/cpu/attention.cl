/* attention.cl on CPUs: softmax(q k^T / sqrt(d)) v of one (image, head) at a time, never writing the n x n
 * matrix to memory.
 *
 *     qkv (b n 3 h d): row i of image z holds q, k and v of all heads, so a head's rows are 3 h d apart
 *
 * A group takes its share of the b*h heads one after the other, in a slab of work memory of its own, which
 * stays in the second cache. n = 197, d = 64: k^T and v packed 2 x 61 KiB, scores of MR query rows 8 KiB.
 *
 *     forward:   per MR query rows:
 *                    S = q k^T (panels of k^T) -> rows p = 2^(S - max) -> out = p v / sum, log sum kept
 *     backward:  per block of query rows, P and dS of the block in the slab:
 *                    P = 2^(S - log sum), dP = dout v^T, dS = P (dP - sum(dout out)) / sqrt(d)
 *                    dq = dS k
 *                after the block, per MR keys:
 *                    dv += P^T dout, dk += dS^T q
 * where S is scaled by log2(e) / sqrt(d) and logarithms are to base 2. One block of query rows follows the
 * other, so sums have one order. Bound: multiply-adds, 2 products forward, 5 backward.
 */
#define SPACE global
#define B_STEP step
#include "tile.h"
#include "special.h"

#define LOG2_E 1.44269504f
#define PANELS(n) (((n) + WIDE - 1) / WIDE)
#define PADDED(n) (PANELS(n) * WIDE)
#define EVEN(n) (((n) + 16 * PANELS(n) - 1) / (16 * PANELS(n)) * 16)       // columns of panels that are alike

/* All n columns of B (kk deep), panel behind panel. */
static void pack_all_plain(global float16 *to, global const float *b, const long row, const int kk,
                           const int n)
{
    const int wide = EVEN(n) / 16;
    for (int v = 0; 16 * v < n; v++) {
        global float16 *column = to + v / wide * wide * kk + v % wide;
        for (int k = 0; k < kk; k++)
            column[k * wide] = load_16(b + k * row + 16 * v, n - 16 * v, 0);
    }
}

static void pack_all_turned(global float16 *to, global const float *b, const long row, const int kk,
                            const int n)
{
    for (int j = 0; j < n; j += WIDE)
        pack_turned(to + j / WIDE * kk * NV, b + j * row, row, kk, n - j);
}

/* n values of some rows, before the first of them is waited for. */
static void fetch_rows(global const float *a, const long row, const int rows, const int n)
{
    for (int r = 0; r < rows; r++)
        for (int j = 0; j < n; j += 16)
            PREFETCH(a + r * row + j);
}

/* From a head's rows to those of the head after it, perhaps in the next image. */
static long offset_of_next(const int z, const int n, const int h, const int d)
{
    return (z + 1) % h ? d : (3L * n * h - h + 1) * d;
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

/* Packing n rows of n columns costs more than it gains when few rows of A read them. */
static struct right as_it_lies_or_packed(global float16 *room, global const float *b, const int row,
                                         const int kk, const int n, const int readers)
{
    const struct right r = { b, EVEN(n), row };
    if (readers < 100 && n % 16 == 0)
        return r;
    pack_all_plain(room, b, row, kk, n);
    return packed(room, EVEN(n));
}

#define ROW_OF_A(r) global const float *a##r = a + min(r, rows - 1) * row;
#define ROW_OF_TURNED(r) global const float *a##r = a + min(r, rows - 1);
#define PUT(r, v) to[r * (PADDED(n) / 16) + j / 16 + v] = c##r##v;
#define PUT_ROW(r) VECTORS(PUT, r)
#define PANEL_OF(b, j) \
    const int step = (b).step, columns = min(n - j, (b).wide); \
    global const float *panel = (b).b + (step == (b).wide ? (j) * kk : (j));

/* to[MR][PADDED(n)] = A B, A's rows `row` apart */
static void multiply_wide(global float16 *to, global const float *a, const long row, const int rows,
                          const struct right b, const int kk, const int n)
{
    ROWS(ROW_OF_A)
    for (int j = 0; j < n; j += b.wide) {
        PANEL_OF(b, j)
        MULTIPLY(columns, kk, 1)
        ROWS(PUT_ROW)
    }
}

/* sums[MR * NV] of columns j.. scaled and put (or added) to rows of C that are c_row apart */
static void put_rows(global float *c, const long c_row, const int rows, const float16 *sums,
                     const int columns, const float *scale, const bool onto)
{
    for (int r = 0; r < rows; r++)
        for (int v = 0; 16 * v < columns; v++) {
            global float *to = c + r * c_row + 16 * v;
            const float16 y = sums[r * NV + v] * scale[r];
            store_16(onto ? y + load_16(to, columns - 16 * v, 0) : y, to, columns - 16 * v);
        }
}

/* C = scale A B */
static void multiply(global float *c, const long c_row, global const float *a, const long row, const int rows,
                     const struct right b, const int kk, const int n, const float *scale)
{
    ROWS(ROW_OF_A)
    for (int j = 0; j < n; j += b.wide) {
        PANEL_OF(b, j)
        float16 sums[MR * NV];
        MULTIPLY(columns, kk, 1)
        ROWS(KEEP_SUMS)
        put_rows(c + j, c_row, rows, sums, columns, scale, false);
    }
}

/* C = or += A^T B, A stored (kk, ..) with rows `row` apart */
static void multiply_turned(global float *c, const long c_row, global const float *a, const long row,
                            const int rows, const struct right b, const int kk, const int n, const bool onto)
{
    float scale[MR];
    for (int r = 0; r < MR; r++)
        scale[r] = 1;
    ROWS(ROW_OF_TURNED)
    for (int j = 0; j < n; j += b.wide) {
        PANEL_OF(b, j)
        float16 sums[MR * NV];
        MULTIPLY(columns, kk, row)
        ROWS(KEEP_SUMS)
        put_rows(c + j, c_row, rows, sums, columns, scale, onto);
    }
}

/* ---- forward ------------------------------------------------------------------------------------------- */

/* 2^t for t <= 0: n + f, |f| <= 1/2: adding 3 2^22 + 127 rounds, and leaves n + 127 in the low bits. Below
 * 2^-126 it stays there; NaN passes. Coefficients: special_w.h says how. */
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

/* p[MR][PADDED(n)]: scores -> 2^(scale (score - top)), not divided by their sums; tops: the rows' largest. All
 * rows go together: their sums do not wait for one another, and constants are fetched once. */
static void soften(global float16 *p, const int n, const float scale, float *tops, float *sums)
{
    const int wide = PADDED(n) / 16, last = (n - 1) / 16;
    const int16 edge = (int16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15) + 16 * last < n;
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

/* heads: b*h; share: heads a group takes; slab: floats of a group's work. log_sum may be NULL. */
ALONE kernel void attention(global const float *qkv, global float *out, global float *log_sum,
                            global float *work, const int n, const int h, const int d, const int heads,
                            const int share, const long slab, const float scale)
{
    const int first = get_group_id(0) * share, end = min(first + share, heads);
    const long row = 3L * h * d, out_row = (long)h * d;
    const float scale_2 = scale * LOG2_E;
    global float16 *keys = (global float16 *)(work + get_group_id(0) * slab);
    global float16 *values = keys + d * (PADDED(n) / 16), *p = values + n * (PADDED(d) / 16);
    for (int z = first; z < end; z++) {
        global const float *q = qkv + z / h * (n * row) + z % h * d, *k = q + h * d, *v = k + h * d;
        global const float *next = k + offset_of_next(z, n, h, d);
        global float *o = out + z / h * (n * out_row) + z % h * d;
        pack_all_turned(keys, k, row, d, n);
        const struct right v_plain = as_it_lies_or_packed(values, v, row, n, d, n);
        for (int i = 0; i < n; i += MR) {
            const int rows = min(MR, n - i);
            float tops[16], sums[16];
            fetch_rows(q + (i + MR) * row, row, MR, d);
            fetch_rows(next + i * row, row, rows, d);
            fetch_rows(next + h * d + i * row, row, rows, d);
            multiply_wide(p, q + i * row, row, rows, packed(keys, WIDE), d, n);
            soften(p, n, scale_2, tops, sums);
            for (int r = MR; r < 16; r++)
                tops[r] = sums[r] = 1;
            if (log_sum) {                                   // 16 logarithms cost less than one
                const float16 logs = fma((float16)scale_2, vload16(0, tops), log2(vload16(0, sums)));
                store_16(logs, log_sum + (long)z * n + i, rows);
            }
            vstore16(1 / vload16(0, sums), 0, sums);
            multiply(o + i * out_row, out_row, (global const float *)p, PADDED(n), rows, v_plain, n, d, sums);
        }
    }
}

/* ---- backward ------------------------------------------------------------------------------------------ */

static float dot(global const float *a, global const float *b, const int n)
{
    float16 sum = 0;
    for (int j = 0; j < n; j += 16)
        sum = fma(load_16(a + j, n - j, 0), load_16(b + j, n - j, 0), sum);
    return sum_16(sum);
}

/* MR rows, p: scores -> P, g: dP -> dS. Columns past n become 0 in neither: no product reads them. */
static void turn_back(global float16 *p, global float16 *g, const int n, const float scale,
                      const float *log_sum, const float *inner)
{
    const int wide = PADDED(n) / 16;
    const float16 scale_2 = scale * LOG2_E;
#define KNOWN(r) const float16 less##r = -log_sum[r], inner##r = inner[r];
#define BACK(r) { const float16 e = exp2_of_score(fma(p[r * wide + v], scale_2, less##r)); \
                  p[r * wide + v] = e; g[r * wide + v] = e * (g[r * wide + v] - inner##r) * scale; }
    ROWS(KNOWN)
    for (int v = 0; 16 * v < n; v++) {
        ROWS(BACK)
    }
}

/* block: query rows whose P and dS are held at a time. */
ALONE kernel void attention_grad(global const float *qkv, global const float *out,
                                 global const float *log_sum, global const float *dout, global float *dqkv,
                                 global float *work, const int n, const int h, const int d, const int heads,
                                 const int share, const long slab, const float scale, const int block)
{
    const int first = get_group_id(0) * share, end = min(first + share, heads);
    const int wide = PADDED(n) / 16, deep_wide = PADDED(d) / 16;
    const long row = 3L * h * d, out_row = (long)h * d;
    global float16 *keys = (global float16 *)(work + get_group_id(0) * slab), *values = keys + d * wide;
    global float16 *keys_room = values + d * wide, *q_room = keys_room + n * deep_wide;
    global float16 *go_room = q_room + block * deep_wide, *p = go_room + block * deep_wide;
    global float16 *g = p + block * wide;
    float one[MR];
    for (int r = 0; r < MR; r++)
        one[r] = 1;
    for (int z = first; z < end; z++) {
        const long at = z / h * (n * row) + z % h * d, out_at = z / h * (n * out_row) + z % h * d;
        global const float *q = qkv + at, *k = q + h * d, *v = k + h * d;
        global const float *o = out + out_at, *go = dout + out_at;
        global float *dq = dqkv + at, *dk = dq + h * d, *dv = dk + h * d;
        fetch_rows(o, out_row, MR, d);
        fetch_rows(go, out_row, MR, d);
        pack_all_turned(keys, k, row, d, n);
        pack_all_turned(values, v, row, d, n);
        const struct right k_plain = as_it_lies_or_packed(keys_room, k, row, n, d, n);
        for (int i0 = 0; i0 < n; i0 += block) {
            const int deep = min(block, n - i0);
            for (int i = 0; i < deep; i += MR) {
                const int rows = min(MR, deep - i);
                const long r0 = i0 + i;
                global float16 *pi = p + i * wide, *gi = g + i * wide;
                float inner[MR], logs[MR];
                fetch_rows(q + (r0 + MR) * row, row, MR, d);
                fetch_rows(o + (r0 + MR) * out_row, out_row, MR, d);
                fetch_rows(go + (r0 + MR) * out_row, out_row, MR, d);
                multiply_wide(pi, q + r0 * row, row, rows, packed(keys, WIDE), d, n);
                multiply_wide(gi, go + r0 * out_row, out_row, rows, packed(values, WIDE), d, n);
                for (int r = 0; r < MR; r++) {
                    const long at_row = r0 + min(r, rows - 1);
                    logs[r] = log_sum[(long)z * n + at_row];
                    inner[r] = dot(o + at_row * out_row, go + at_row * out_row, d);
                }
                turn_back(pi, gi, n, scale, logs, inner);
                multiply(dq + r0 * row, row, (global const float *)gi, PADDED(n), rows, k_plain, n, d, one);
            }
            const struct right q_plain = as_it_lies_or_packed(q_room, q + i0 * row, row, deep, d, n);
            const struct right go_plain = as_it_lies_or_packed(go_room, go + i0 * out_row, out_row, deep, d,
                                                               n);
            for (int j = 0; j < n; j += MR)
                multiply_turned(dv + j * row, row, (global const float *)p + j, PADDED(n), min(MR, n - j),
                                go_plain, deep, d, i0 > 0);
            for (int j = 0; j < n; j += MR)
                multiply_turned(dk + j * row, row, (global const float *)g + j, PADDED(n), min(MR, n - j),
                                q_plain, deep, d, i0 > 0);
        }
    }
}
