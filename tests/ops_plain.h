/* ops_plain.h: every op as a plain loop in double, what tests/ops_cases.def compares the kernels with. */
/* ---- plain loops: x[i] of shape s[i] -> y -------------------------------------------------------------- */

typedef const f64 *const *in;
#define PLAIN(name) static void plain_##name(in x, const struct shape *s, f64 *y)
#define A(k)  s[0].d[k]
#define N(k)  shape_count(s[k])

static f64 plain_phi(f64 x) { return 0.5 * x * (1 + erf(x / sqrt(2))); }

PLAIN(add)        { LOOP(i, N(0)) y[i] = x[0][i] + x[1][i]; }
PLAIN(add_row)    { LOOP(i, N(0)) y[i] = x[0][i] + x[1][i % A(2)]; }
PLAIN(mul_column) { LOOP(i, N(0)) y[i] = x[0][i] * x[1][i / (3 * A(2))]; }
PLAIN(mul_middle) { LOOP(i, N(0)) y[i] = x[0][i] * x[1][i / (2 * A(3)) % A(1) * A(3) + i % A(3)]; }
PLAIN(div_scalar) { LOOP(i, N(0)) y[i] = x[0][i] / (x[1][0] * x[1][0] + 1); }
PLAIN(chain)      { LOOP(i, N(0)) y[i] = tanh((x[0][i] - x[1][i]) * exp(.3 * x[1][i])); }

/* y (m n) = op(a) op(b) */
static void product(const f64 *a, const f64 *b, f64 *y, i64 m, i64 n, i64 k, bool ta, bool tb)
{
    LOOP(i, m) LOOP(j, n) {
        f64 sum = 0;
        LOOP(l, k) sum += (ta ? a[l * m + i] : a[i * k + l]) * (tb ? b[j * k + l] : b[l * n + j]);
        y[i * n + j] = sum;
    }
}
PLAIN(matmul)      { product(x[0], x[1], y, A(0), 7, A(1), false, false); }
PLAIN(matmul_ta)   { product(x[0], x[1], y, A(1), 7, A(0), true, false); }
PLAIN(matmul_tb)   { product(x[0], x[1], y, A(0), 7, A(1), false, true); }
PLAIN(matmul_tab)  { product(x[0], x[1], y, A(1), 7, A(0), true, true); }
PLAIN(batched)
{
    LOOP(b, 3)
        product(x[0] + b * A(1) * A(2), x[1] + b * 5 * A(2), y + b * A(1) * 5, A(1), 5, A(2), false, true);
}
PLAIN(shared_left)
{
    LOOP(b, 3) product(x[0], x[1] + b * 5 * A(1), y + b * A(0) * 5, A(0), 5, A(1), false, false);
}
PLAIN(bias_gelu)
{
    product(x[0], x[1], y, 2 * A(1), 9, A(2), false, true);
    LOOP(i, 2 * A(1) * 9) y[i] = plain_phi(y[i] + x[2][i % 9]);
}
PLAIN(residual)
{
    product(x[0], x[1], y, 2 * A(1), A(2), A(2), false, true);
    LOOP(i, N(0)) y[i] += x[2][i % A(2)] + x[0][i];
}

static void depthwise(const f64 *x, const f64 *w, f64 *y, const struct shape *s, i64 kh, i64 kw)
{
    LOOP(b, A(0)) LOOP(i, A(1)) LOOP(j, A(2)) LOOP(c, A(3)) {
        f64 sum = 0;
        LOOP(p, kh) LOOP(q, kw) {
            i64 u = i + p - kh / 2, v = j + q - kw / 2;
            if (u >= 0 && u < A(1) && v >= 0 && v < A(2))
                sum += w[(c * kh + p) * kw + q] * x[((b * A(1) + u) * A(2) + v) * A(3) + c];
        }
        y[((b * A(1) + i) * A(2) + j) * A(3) + c] = sum;
    }
}
PLAIN(depthwise)      { depthwise(x[0], x[1], y, s, 7, 7); LOOP(i, N(0)) y[i] += x[2][i % A(3)]; }
PLAIN(depthwise_wide) { depthwise(x[0], x[1], y, s, 3, 5); }

static void softmax(const f64 *x, f64 *y, i64 n, i64 step)
{
    f64 top = -INFINITY, sum = 0;
    LOOP(i, n) top = fmax(top, x[i * step]);
    LOOP(i, n) sum += exp(x[i * step] - top);
    LOOP(i, n) y[i * step] = exp(x[i * step] - top) / sum;
}
PLAIN(softmax)      { LOOP(i, A(0)) softmax(x[0] + i * A(1), y + i * A(1), A(1), 1); }
PLAIN(softmax_axis)
{
    i64 n = A(1) * A(2);
    LOOP(b, 2) LOOP(j, A(2)) softmax(x[0] + b * n + j, y + b * n + j, A(1), A(2));
}

PLAIN(attention)                                  // two heads
{
    i64 n = A(1), d = A(2) / 6, row = A(2);
    f64 *p = calloc((size_t)n, sizeof *p);
    LOOP(z, A(0)) LOOP(h, 2) LOOP(i, n) {
        const f64 *q = x[0] + (z * n + i) * row + h * d;
        const f64 *k = x[0] + z * n * row + (2 + h) * d, *v = k + 2 * d;
        f64 top = -INFINITY, sum = 0, *to = y + (z * n + i) * 2 * d + h * d;
        LOOP(j, n) {
            p[j] = 0;
            LOOP(c, d) p[j] += q[c] * k[j * row + c] / sqrt((f64)d);
            top = fmax(top, p[j]);
        }
        LOOP(j, n) sum += p[j] = exp(p[j] - top);
        LOOP(c, d) {
            to[c] = 0;
            LOOP(j, n) to[c] += p[j] / sum * v[j * row + c];
        }
    }
    free(p);
}

/* The threshold by bisection: another way than the kernel's. */
PLAIN(entmax)
{
    LOOP(r, A(0)) {
        const f64 *z = x[0] + r * A(1);
        f64 top = -INFINITY, lo = -1, hi = 0;
        LOOP(i, A(1)) top = fmax(top, .75 * z[i]);
        LOOP(round, 100) {
            f64 mid = (lo + hi) / 2, sum = 0;
            LOOP(i, A(1)) sum += pow(fmax(.75 * z[i] - top - mid, 0), 2);
            *(sum > 1 ? &lo : &hi) = mid;
        }
        LOOP(i, A(1)) y[r * A(1) + i] = pow(fmax(.75 * z[i] - top - lo, 0), 2);
    }
}

/* 2 dispatch + combine of logits (2 r c), temperatures 1 + x1^2 and 1 + x2^2 */
static void routing(in x, const struct shape *s, f64 *y, bool entmax)
{
    struct shape row = SHAPE(A(1), A(2));
    i64 n = A(1) * A(2);
    f64 *z = calloc((size_t)n, sizeof *z), *p = calloc((size_t)n, sizeof *p);
    LOOP(b, 2) {
        const f64 *l = x[0] + b * n;
        LOOP(i, n) z[i] = l[i] / (1 + x[1][0] * x[1][0]);
        LOOP(j, A(2)) softmax(z + j, y + b * n + j, A(1), A(2));
        LOOP(i, n) z[i] = l[i] / (1 + x[2][0] * x[2][0]) / (entmax ? 1.5 : 1);
        if (entmax)
            plain_entmax((const f64 *[]){ z }, &row, p);
        else
            plain_softmax((const f64 *[]){ z }, &row, p);
        LOOP(i, n) y[b * n + i] = 2 * y[b * n + i] + p[i];
    }
    free(z), free(p);
}
PLAIN(route)         { routing(x, s, y, true); }
PLAIN(route_softmax) { routing(x, s, y, false); }

static void layernorm(const f64 *x, f64 *y, i64 n)
{
    f64 mean = 0, var = 0;
    LOOP(i, n) mean += x[i] / (f64)n;
    LOOP(i, n) var += (x[i] - mean) * (x[i] - mean) / (f64)n;
    LOOP(i, n) y[i] = (x[i] - mean) / sqrt(var + (f64)1e-2f);
}
PLAIN(layernorm_plain) { LOOP(r, A(0)) layernorm(x[0] + r * A(1), y + r * A(1), A(1)); }
PLAIN(layernorm)
{
    plain_layernorm_plain(x, s, y);
    LOOP(i, N(0)) y[i] = y[i] * x[1][i % A(1)] + x[2][i % A(1)];
}
PLAIN(layernorm_past)
{
    plain_layernorm(x, s, y);
    LOOP(i, N(0)) y[i] = x[0][i] + tanh(y[i]);
}

static void l2norm(const f64 *x, const struct shape *s, f64 *y, f64 outside, f64 inside)
{
    LOOP(r, A(0)) {
        f64 sum = inside;
        LOOP(i, A(1)) sum += x[r * A(1) + i] * x[r * A(1) + i];
        LOOP(i, A(1)) y[r * A(1) + i] = x[r * A(1) + i] / (sqrt(sum) + outside);
    }
}
PLAIN(l2norm)        { l2norm(x[0], s, y, 1e-6, 0); }
PLAIN(l2norm_inside) { l2norm(x[0], s, y, 0, (f64)1e-2f); }

PLAIN(sum_rows)    { LOOP(i, A(0)) { y[i] = 0; LOOP(j, A(1)) y[i] += x[0][i * A(1) + j]; } }
PLAIN(sum_columns) { LOOP(j, A(1)) { y[j] = 0; LOOP(i, A(0)) y[j] += x[0][i * A(1) + j]; } }
PLAIN(sum_ends)
{
    LOOP(j, A(1)) { y[j] = 0; LOOP(i, A(0)) LOOP(k, 3) y[j] += x[0][(i * A(1) + j) * 3 + k]; }
}
PLAIN(mean)        { y[0] = 0; LOOP(i, N(0)) y[0] += x[0][i] / (f64)N(0); }

PLAIN(view)   { LOOP(i, A(1) * A(2)) y[i] = x[0][A(1) * A(2) + i]; }
PLAIN(slice)
{
    LOOP(i, A(0)) LOOP(j, 2) LOOP(k, A(2))
        y[(i * 2 + j) * A(2) + k] = x[0][(i * 3 + j + 1) * A(2) + k];
}
PLAIN(pad)
{
    LOOP(i, A(0)) LOOP(j, 4) LOOP(k, A(2))
        y[(i * 4 + j) * A(2) + k] = j == 1 || j == 2 ? x[0][(i * 2 + j - 1) * A(2) + k] : 0;
}
PLAIN(concat)
{
    LOOP(i, A(0)) LOOP(j, 3) LOOP(k, A(2))
        y[(i * 3 + j) * A(2) + k] = j < 2 ? x[0][(i * 2 + j) * A(2) + k] : x[1][i * A(2) + k];
}
PLAIN(concat_outer) { LOOP(i, N(0)) y[i] = x[0][i]; LOOP(i, N(1)) y[N(0) + i] = x[1][i]; }
PLAIN(concat_slices) { LOOP(i, N(0)) y[i] = x[0][i] * (i < A(1) * A(2) ? 2 : 3); }
PLAIN(permute)
{
    LOOP(a, 2) LOOP(b, A(1)) LOOP(c, 3) LOOP(d, A(3))
        y[((c * 2 + a) * A(3) + d) * A(1) + b] = x[0][((a * A(1) + b) * 3 + c) * A(3) + d];
}
PLAIN(permute_rows)
{
    LOOP(a, 2) LOOP(b, A(1)) LOOP(c, 3) LOOP(d, A(3))
        y[((b * 3 + c) * 2 + a) * A(3) + d] = x[0][((a * A(1) + b) * 3 + c) * A(3) + d];
}
PLAIN(cross_entropy)                              // targets are uniform, whatever the smoothing
{
    LOOP(i, A(0)) {
        const f64 *z = x[0] + i * A(1);
        f64 top = -INFINITY, sum = 0, mean = 0;
        LOOP(j, A(1)) top = fmax(top, z[j]);
        LOOP(j, A(1)) sum += exp(z[j] - top);
        LOOP(j, A(1)) mean += (top + log(sum) - z[j]) / (f64)A(1);
        y[i] = mean;
    }
}
