/* laws.h: did draws come from the law that they should? Seeds are fixed, so a test passes always or never;
 * the limits are those that a right law misses once in about ten thousand seeds. */
#ifndef JETCL_TEST_LAWS_H
#define JETCL_TEST_LAWS_H
#include "unit.h"
#include <math.h>
#include <stdlib.h>

/* Chance that a normal number is below x. */
__attribute__((unused))
static f64 normal_cdf(f64 x) { return 0.5 * erfc(-x / sqrt(2)); }

/* Pearson's test: seen[i] of `draws` draws fell into bin i, which has this chance. Bins where less than 8 are
 * expected count as one; a bin without a chance must be empty. */
__attribute__((unused))
static void bins_follow(const char *what, const f64 *seen, const f64 *chance, int n, f64 draws)
{
    f64 sum = 0, all = 0, rare_seen = 0, rare = 0;
    int bins = 0;
    for (int i = 0; i < n; i++) {
        f64 expected = chance[i] * draws;
        all += seen[i];
        if (chance[i] <= 0 && seen[i] > 0)
            fail_msg("%s: bin %d has no chance, but was drawn %.0f times", what, i, seen[i]);
        if (expected < 8) {
            rare += expected;
            rare_seen += seen[i];
            continue;
        }
        sum += (seen[i] - expected) * (seen[i] - expected) / expected;
        bins++;
    }
    if (fabs(all - draws) > 0)
        fail_msg("%s: %.0f draws in the bins, expected %.0f", what, all, draws);
    if (rare_seen > rare + 5 * sqrt(rare) + 5 || rare_seen < rare - 5 * sqrt(rare) - 1)
        fail_msg("%s: %.0f draws in rare bins, expected %.1f", what, rare_seen, rare);
    f64 free = MAX(bins - 1, 1), limit = free + 4 * sqrt(2 * free) + 6;
    if (!(bins > 0 && sum <= limit))
        fail_msg("%s: chi-square %.1f in %d bins, at most %.1f expected", what, sum, bins, limit);
}

static int laws_ascending(const void *p, const void *q)
{
    f64 x = *(const f64 *)p, y = *(const f64 *)q;
    return (x > y) - (x < y);
}

/* Kolmogorov and Smirnov's test of n draws (sorted here) of a continuous law. */
__attribute__((unused))
static void draws_follow(const char *what, f64 *x, int n, f64 (*cdf)(f64 x, f64 parameter), f64 parameter)
{
    f64 most = 0;
    qsort(x, (size_t)n, sizeof *x, laws_ascending);
    for (int i = 0; i < n; i++) {
        f64 p = cdf(x[i], parameter);
        most = fmax(most, fmax(p - (f64)i / n, (f64)(i + 1) / n - p));
    }
    if (!(most * sqrt((f64)n) < 2.2))
        fail_msg("%s: %.4f from its distribution function, at most %.4f expected", what, most,
                 2.2 / sqrt((f64)n));
}
#endif
