/* attention_host.c: attention and its gradient in float64 on the host, head by head. */
#include "op/attention.h"
#include "op/host.h"
#include <math.h>

/* Row i of head h of image z in packed qkv; part 0: q, 1: k, 2: v. */
static const f64 *attention_row(struct attention_sizes s, const f64 *qkv, i64 z, i64 h, i64 i, i64 part)
{
    return qkv + ((z * s.n + i) * 3 + part) * s.h * s.d + h * s.d;
}

static f64 attention_dot(const f64 *a, const f64 *b, i64 d)
{
    f64 sum = 0;
    for (i64 c = 0; c < d; c++)
        sum += a[c] * b[c];
    return sum;
}

/* p = softmax(q_i k^T / sqrt(d)). Returns log sum exp. */
static f64 attention_host_row(struct attention_sizes s, const f64 *qkv, i64 z, i64 h, i64 i, f64 *p)
{
    for (i64 j = 0; j < s.n; j++)
        p[j] = attention_dot(attention_row(s, qkv, z, h, i, 0), attention_row(s, qkv, z, h, j, 1), s.d)
               / sqrt((f64)s.d);
    f64 first = p[0];
    host_softmax(p, p, s.n, 1);
    return p[0] > 0 ? first - log(p[0]) : NAN;
}

void attention_host(const node *n, const f64 *const *in, f64 *y)
{
    struct attention_sizes s = attention_sizes(n);
    f64 *p = arena_array(n->g->a, f64, s.n);
    for (i64 z = 0, every = host_every(s.b * s.h, (f64)(s.n * s.n * s.d)); z < s.b * s.h; z += every)
        for (i64 i = 0; i < s.n; i++) {
            f64 *out = y + (z / s.h * s.n + i) * s.h * s.d + z % s.h * s.d;
            attention_host_row(s, in[0], z / s.h, z % s.h, i, p);
            for (i64 c = 0; c < s.d; c++)
                out[c] = 0;
            for (i64 j = 0; j < s.n; j++)
                for (i64 c = 0; c < s.d; c++)
                    out[c] += p[j] * attention_row(s, in[0], z / s.h, z % s.h, j, 2)[c];
        }
}

void attention_host_log_sum(const node *n, const node *side, const f64 *const *in, f64 *y)
{
    struct attention_sizes s = attention_sizes(n);
    f64 *p = arena_array(n->g->a, f64, s.n), unit = attention_on_gpu(n) ? 1 : log(2);   // CPUs: base 2
    i64 rows = node_count(side), every = host_every(rows, (f64)(s.n * s.d));
    for (i64 at = 0; at < rows; at += every)
        y[at] = attention_host_row(s, in[0], at / s.n / s.h, at / s.n % s.h, at % s.n, p) / unit;
}

/* dv_j += p_ij g_i; ds_ij = p_ij (g_i v_j - sum_j p_ij g_i v_j) / sqrt(d); dq_i += ds_ij k_j; dk_j += ds_ij
 * q_i */
static void attention_grad_host_row(struct attention_sizes s, const f64 *const *in, f64 *dx, i64 z, i64 h,
                                    i64 i, f64 *p)
{
    const f64 *x = in[0], *q = attention_row(s, x, z, h, i, 0),
              *g = in[3] + (z * s.n + i) * s.h * s.d + h * s.d;
    f64 *to = dx + (q - x), mean = 0;
    attention_host_row(s, x, z, h, i, p);
    for (i64 j = 0; j < s.n; j++)
        mean += p[j] * attention_dot(g, attention_row(s, x, z, h, j, 2), s.d);
    for (i64 j = 0; j < s.n; j++) {
        const f64 *k = attention_row(s, x, z, h, j, 1), *v = k + s.h * s.d;
        f64 ds = p[j] * (attention_dot(g, v, s.d) - mean) / sqrt((f64)s.d);
        for (i64 c = 0; c < s.d; c++) {
            to[c] += ds * k[c];
            dx[k - x + c] += ds * q[c];
            dx[v - x + c] += p[j] * g[c];
        }
    }
}

void attention_grad_host(const node *n, const f64 *const *in, f64 *dx)
{
    struct attention_sizes s = attention_sizes(n);
    f64 *p = arena_array(n->g->a, f64, s.n);
    for (i64 z = 0, every = host_every(s.b * s.h, 5 * (f64)(s.n * s.n * s.d)); z < s.b * s.h; z += every) {
        for (i64 i = 0; i < 3 * s.n; i++)
            for (i64 c = 0; c < s.d; c++)
                dx[attention_row(s, in[0], z / s.h, z % s.h, i / 3, i % 3) - in[0] + c] = 0;
        for (i64 i = 0; i < s.n; i++)
            attention_grad_host_row(s, in, dx, z / s.h, z % s.h, i, p);
    }
}
