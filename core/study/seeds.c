/* seeds.c: what several seeds can show: means, intervals, tests, in words. */
#include "study/seeds.h"
#include <math.h>

/* 97.5 % point of Student's t. */
static f64 seeds_student(f64 freedom)
{
    static const f64 t[] = { 12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228 };
    int k = (int)freedom;
    return k < 1 ? t[0] : k <= countof(t) ? t[k - 1] : 1.96 + 2.7 / freedom;
}

struct seeds seeds_of(const f64 *v, int n)
{
    struct seeds s = { .mean = NAN, .sd = NAN, .half = NAN };
    f64 sum = 0, square = 0;
    for (int i = 0; i < n; i++)
        if (isfinite(v[i]))
            sum += v[i], s.n++;
    if (s.n)
        s.mean = sum / s.n;
    for (int i = 0; i < n; i++)
        if (isfinite(v[i]))
            square += (v[i] - s.mean) * (v[i] - s.mean);
    if (s.n > 1) {
        s.sd = sqrt(square / (s.n - 1));
        s.half = seeds_student(s.n - 1) * s.sd / sqrt(s.n);
    }
    return s;
}

const char *seeds_unpaired(arena *a, const struct seeds *x, const struct seeds *y)
{
    f64 vx = x->n > 1 ? x->sd * x->sd / x->n : NAN, vy = y->n > 1 ? y->sd * y->sd / y->n : NAN;
    if (isnan(vx) || isnan(vy) || !(vx + vy > 0))          // seeds of equal results are copies of one
        return "one seed cannot say whether that is chance";
    f64 freedom = (vx + vy) * (vx + vy) / (vx * vx / (x->n - 1) + vy * vy / (y->n - 1));
    return arena_printf(a, fabs(x->mean - y->mean) > seeds_student(freedom) * sqrt(vx + vy)
                        ? "more than %d and %d seeds leave to chance (5 %%)"
                        : "no difference that %d and %d seeds can show", x->n, y->n);
}

/* The mean of a difference to the digits that its interval leaves. */
static const char *seeds_difference(arena *a, const struct seeds *s)
{
    if (!(s->half >= 1e-4 && s->half < 1e5))
        return arena_printf(a, "%+.3g ± %.2g", s->mean, s->half);
    int digits = MAX(0, 1 - (int)floor(log10(s->half)));
    return arena_printf(a, "%+.*f ± %.*f", digits, s->mean, digits, s->half);
}

struct seeds seeds_pairs(arena *a, const f64 *x, const f64 *y, int n)
{
    f64 *d = arena_array(a, f64, n + 1);
    for (int i = 0; i < n; i++)
        d[i] = x[i] - y[i];
    return seeds_of(d, n);
}

const char *seeds_paired(arena *a, const f64 *x, const f64 *y, int n)
{
    struct seeds s = seeds_pairs(a, x, y, n);
    if (s.n < 2)
        return "one seed cannot say whether that is chance";
    if (!(s.sd > 0))
        return s.mean ? arena_printf(a, "%+.3g in each of %d seeds", s.mean, s.n)
                      : arena_printf(a, "no difference in each of %d seeds", s.n);
    return arena_printf(a, "%s by pairs of %d seeds (95 %%): %s", seeds_difference(a, &s), s.n,
                        fabs(s.mean) > s.half
                        ? "more than they leave to chance" : "no difference that they can show");
}
