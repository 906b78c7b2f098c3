/* host.c: what the float64 loops of several ops share. */
#include "op/host.h"
#include <math.h>

enum { MOST_MACS = 1 << 21 };

i64 host_every(i64 n, f64 each)
{
    i64 every = MAX(1, (i64)((f64)n * each / MOST_MACS));
    while (every > 1 && !(every % 2 && every % 3 && every % 5 && every % 7))
        every++;
    return every;
}

i64 host_at(struct shape out, i64 i, struct shape s)
{
    i64 at = 0, step = 1;
    for (int k = out.nd; k-- > out.nd - s.nd; i /= out.d[k]) {
        i64 extent = s.d[k - (out.nd - s.nd)];
        at += extent == 1 ? 0 : i % out.d[k] * step;
        step *= extent;
    }
    return at;
}

void host_softmax(const f64 *x, f64 *p, i64 n, i64 step)
{
    f64 top = -INFINITY, sum = 0;
    for (i64 k = 0; k < n; k++)
        top = fmax(top, x[k * step]);
    for (i64 k = 0; k < n; k++) {
        p[k * step] = exp(x[k * step] - top);
        sum += p[k * step];
    }
    for (i64 k = 0; k < n; k++)
        p[k * step] /= sum;
}

/* tau by bisection: sum_i max(z_i - tau, 0)^2 falls from at least 1 to 0 on [-1, 0]. */
void host_entmax(const f64 *x, f64 *p, i64 n)
{
    f64 top = -INFINITY, lo = -1, hi = 0;
    for (i64 i = 0; i < n; i++)
        top = fmax(top, x[i] / 2);
    for (int round = 0; round < 60; round++) {
        f64 tau = (lo + hi) / 2, sum = 0;
        for (i64 i = 0; i < n; i++)
            sum += pow(fmax(x[i] / 2 - top - tau, 0), 2);
        if (sum > 1)
            lo = tau;
        else
            hi = tau;
    }
    for (i64 i = 0; i < n; i++)
        p[i] = pow(fmax(x[i] / 2 - top - lo, 0), 2);
}

/* dx = s (g - sum(s g) / sum(s)), s = p, or sqrt(p) of an entmax. */
void host_softmax_grad(const f64 *p, const f64 *g, f64 *dx, i64 n, i64 step, bool entmax)
{
    f64 along = 0, all = 0;
    for (i64 k = 0; k < n; k++) {
        f64 s = entmax ? sqrt(p[k * step]) : p[k * step];
        along += s * g[k * step];
        all += s;
    }
    for (i64 k = 0; k < n; k++)
        dx[k * step] =
            (entmax ? sqrt(p[k * step]) : p[k * step]) * (g[k * step] - (entmax ? along / all : along));
}
