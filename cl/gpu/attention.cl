/* attention.cl on GPUs: softmax(q k^T / sqrt(d)) v without the n x n matrix, by blocks (Dao et al. 2022).
 *
 *     qkv (b n 3 h D): row i of image z holds q, k and v of all heads, so a head's rows are 3 h D apart
 *
 * A group of 16 x 16 items owns B rows of one (image, head) and walks the others in blocks of B. Rows of q,
 * k, v and dout lie in local memory transposed, as [c][row] with B + 1 values a line: neither writing nor
 * reading has bank conflicts.
 *
 *              keys                 item (x, y) owns rows y + 16 r of the B x B scores and B x D results,
 *            x  x+16                and columns x + 16 c of each. Local memory, [row][column], shares scores.
 *        y [ s   s  ] -> [ p ] -> results += p v
 *     y+16 [ s   s  ]
 *
 *     attention       rows are queries: running maximum and sum, results rescaled when the maximum grows
 *     attention_dq    rows are queries: P from the stored log sums, dS = P (dP - sum(dout out)) / sqrt(d),
 *                     dq = dS k
 *     attention_dkv   rows are keys: the same with roles exchanged, dv = P^T dout, dk = dS^T q
 *
 * No two groups write one value, and blocks follow in order: runs repeat bit for bit. Bound: multiply-adds
 * and local memory.
 */
#include "special.h"
#ifndef D
#define D 64
#define B 32
#endif
#define R     (B / 16)                        // rows, and columns of scores, of an item
#define C     ((D + 15) / 16)                 // columns of results of an item
#define LINE  (B + 1)
#define GROUP __attribute__((reqd_work_group_size(16, 16, 1)))
#define SYNC  barrier(CLK_LOCAL_MEM_FENCE)

#define EACH_ROW  for (int r = 0; r < R; r++)
#define EACH(n)   for (int c = 0; c < (n); c++)

/* to[c][i] = from[i][c] for B rows, of which some exist; the others are 0. */
static void load_transposed(local float *to, global const float *from, const long row, const int rows)
{
    for (int t = get_local_id(1) * 16 + get_local_id(0); t < B * D; t += 256)
        to[t % D * LINE + t / D] = t / D < rows ? from[t / D * row + t % D] : 0;
}

/* s[r][c] = sum over the channels of a's row times b's row */
static void dots(float s[R][R], local const float *a, local const float *b)
{
    const int x = get_local_id(0), y = get_local_id(1);
    EACH_ROW EACH(R) s[r][c] = 0;
    for (int k = 0; k < D; k++, a += LINE, b += LINE)
        EACH_ROW EACH(R) s[r][c] = fma(a[y + 16 * r], b[x + 16 * c], s[r][c]);
}

/* sum[r][c] += p's row r times column c of v, which is stored transposed */
static void add_product(float sum[R][C], local const float *p, local const float *v)
{
    const int x = get_local_id(0), y = get_local_id(1);
    for (int j = 0; j < B; j++)
        EACH_ROW EACH(C) {
            const float value = v[min(x + 16 * c, D - 1) * LINE + j];
            sum[r][c] = fma(p[(y + 16 * r) * LINE + j], value, sum[r][c]);
        }
}

static void put(global float *to, const long row, const int rows, const float sum[R][C], const float scale[R])
{
    const int x = get_local_id(0), y = get_local_id(1);
    EACH_ROW EACH(C)
        if (y + 16 * r < rows && x + 16 * c < D)
            to[(y + 16 * r) * row + x + 16 * c] = sum[r][c] * scale[r];
}

/* What the 16 items of each row hold, summed or its maximum: the same order for all. */
static void across(float v[R], local float *shelf, const int maximum)
{
    const int x = get_local_id(0), y = get_local_id(1);
    EACH_ROW shelf[(y + 16 * r) * 17 + x] = v[r];
    SYNC;
    EACH_ROW {
        float all = shelf[(y + 16 * r) * 17];
        for (int c = 1; c < 16; c++) {
            const float other = shelf[(y + 16 * r) * 17 + c];
            all = maximum ? fmax(all, other) : all + other;
        }
        v[r] = all;
    }
    SYNC;
}

/* Where this group's head begins in an array whose rows are `row` long. */
static long head_at(const int n, const int h, const long row)
{
    const int z = get_group_id(1);
    return z / h * (n * row) + z % h * D;
}

/* log_sum may be NULL. room: 3 D LINE + 2 B LINE floats. */
GROUP kernel void attention(global const float *qkv, global float *out, global float *log_sum, const int n,
                            const int h, const float scale, local float *room)
{
    const int x = get_local_id(0), y = get_local_id(1), i0 = get_group_id(0) * B, z = get_group_id(1);
    const long row = 3L * h * D, out_row = (long)h * D;
    const long at = head_at(n, h, row), out_at = head_at(n, h, out_row);
    global const float *q = qkv + at, *k = q + h * D, *v = k + h * D;
    local float *qs = room, *ks = qs + D * LINE, *vs = ks + D * LINE, *ps = vs + D * LINE;
    local float *shelf = ps + B * LINE;
    float sum[R][C], s[R][R], top[R], total[R];
    EACH_ROW {
        top[r] = -INFINITY;
        total[r] = 0;
        EACH(C) sum[r][c] = 0;
    }
    load_transposed(qs, q + i0 * row, row, n - i0);
    for (int j0 = 0; j0 < n; j0 += B) {
        load_transposed(ks, k + j0 * row, row, n - j0);
        load_transposed(vs, v + j0 * row, row, n - j0);
        SYNC;
        dots(s, qs, ks);
        float now[R];
        EACH_ROW {
            now[r] = top[r];
            EACH(R) {
                s[r][c] = j0 + x + 16 * c < n ? s[r][c] * scale : -INFINITY;
                now[r] = fmax(now[r], s[r][c]);
            }
        }
        across(now, shelf, 1);
        EACH_ROW {
            const float shrink = exp_1(top[r] - now[r]);
            top[r] = now[r];
            total[r] *= shrink;
            EACH(C) sum[r][c] *= shrink;
            EACH(R) {
                const float p = exp_1(s[r][c] - now[r]);
                total[r] += p;
                ps[(y + 16 * r) * LINE + x + 16 * c] = p;
            }
        }
        SYNC;
        add_product(sum, ps, vs);
        SYNC;
    }
    across(total, shelf, 0);
    EACH_ROW {
        if (log_sum && x == 0 && i0 + y + 16 * r < n)
            log_sum[(long)z * n + i0 + y + 16 * r] = top[r] + log(total[r]);
        total[r] = 1 / total[r];
    }
    put(out + out_at + i0 * out_row, out_row, n - i0, sum, total);
}

/* inner, (b h n): sum(dout out) of each row, for attention_dkv. room here and there: 4 D LINE + 2 B
 * LINE floats. */
GROUP kernel void attention_dq(global const float *qkv, global const float *out, global const float *log_sum,
                               global const float *dout, global float *dqkv, global float *inner,
                               const int n, const int h, const float scale, local float *room)
{
    const int x = get_local_id(0), y = get_local_id(1), i0 = get_group_id(0) * B, z = get_group_id(1);
    const long row = 3L * h * D, out_row = (long)h * D;
    const long at = head_at(n, h, row), out_at = head_at(n, h, out_row);
    global const float *q = qkv + at, *k = q + h * D, *v = k + h * D;
    local float *qs = room, *gs = qs + D * LINE, *ks = gs + D * LINE, *vs = ks + D * LINE;
    local float *ds = vs + D * LINE, *shelf = ds + B * LINE;
    float sum[R][C], s[R][R], g[R][R], in[R], logs[R], one[R];
    const long first = (long)z * n + i0;
    global const float *o = out + out_at + i0 * out_row, *go = dout + out_at + i0 * out_row;
    EACH_ROW {
        const int i = y + 16 * r;
        one[r] = 1;
        in[r] = 0;
        logs[r] = i0 + i < n ? log_sum[first + i] : 0;
        EACH(C) {
            sum[r][c] = 0;
            if (i0 + i < n && x + 16 * c < D)
                in[r] += go[i * out_row + x + 16 * c] * o[i * out_row + x + 16 * c];
        }
    }
    across(in, shelf, 0);
    EACH_ROW
        if (x == 0 && i0 + y + 16 * r < n)
            inner[first + y + 16 * r] = in[r];
    load_transposed(qs, q + i0 * row, row, n - i0);
    load_transposed(gs, go, out_row, n - i0);
    for (int j0 = 0; j0 < n; j0 += B) {
        load_transposed(ks, k + j0 * row, row, n - j0);
        load_transposed(vs, v + j0 * row, row, n - j0);
        SYNC;
        dots(s, qs, ks);
        dots(g, gs, vs);
        EACH_ROW EACH(R) {
            const float p = j0 + x + 16 * c < n ? exp_1(fma(s[r][c], scale, -logs[r])) : 0;
            ds[(y + 16 * r) * LINE + x + 16 * c] = j0 + x + 16 * c < n ? p * (g[r][c] - in[r]) * scale : 0;
        }
        SYNC;
        add_product(sum, ds, ks);
        SYNC;
    }
    put(dqkv + at + i0 * row, row, n - i0, sum, one);
}

GROUP kernel void attention_dkv(global const float *qkv, global const float *log_sum,
                                global const float *dout, global float *dqkv, global const float *inner,
                                const int n, const int h, const float scale, local float *room)
{
    const int x = get_local_id(0), y = get_local_id(1), i0 = get_group_id(0) * B, z = get_group_id(1);
    const long row = 3L * h * D, out_row = (long)h * D;
    const long at = head_at(n, h, row), out_at = head_at(n, h, out_row);
    global const float *q = qkv + at, *k = q + h * D, *v = k + h * D;
    local float *qs = room, *gs = qs + D * LINE, *ks = gs + D * LINE, *vs = ks + D * LINE;
    local float *ps = vs + D * LINE, *ds = ps + B * LINE;
    float sum_k[R][C], sum_v[R][C], s[R][R], g[R][R], one[R];
    EACH_ROW {
        one[r] = 1;
        EACH(C) sum_k[r][c] = sum_v[r][c] = 0;
    }
    load_transposed(ks, k + i0 * row, row, n - i0);
    load_transposed(vs, v + i0 * row, row, n - i0);
    for (int j0 = 0; j0 < n; j0 += B) {
        load_transposed(qs, q + j0 * row, row, n - j0);
        load_transposed(gs, dout + out_at + j0 * out_row, out_row, n - j0);
        SYNC;
        dots(s, ks, qs);
        dots(g, vs, gs);
        EACH(R) {
            const int j = j0 + x + 16 * c;
            const float log_j = j < n ? log_sum[(long)z * n + j] : 0, in = j < n ? inner[(long)z * n + j] : 0;
            EACH_ROW {
                const float p = j < n ? exp_1(fma(s[r][c], scale, -log_j)) : 0;
                ps[(y + 16 * r) * LINE + x + 16 * c] = p;
                ds[(y + 16 * r) * LINE + x + 16 * c] = j < n ? p * (g[r][c] - in) * scale : 0;
            }
        }
        SYNC;
        add_product(sum_v, ps, gs);
        add_product(sum_k, ds, qs);
        SYNC;
    }
    put(dqkv + at + h * D + i0 * row, row, n - i0, sum_k, one);
    put(dqkv + at + 2 * h * D + i0 * row, row, n - i0, sum_v, one);
}
