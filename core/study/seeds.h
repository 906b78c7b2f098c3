/* seeds.h: what several seeds can show.
 *
 *     struct seeds x = seeds_of(top1, 3);
 *     printf("%.1f +- %.1f\n", x.mean, x.half);
 *     puts(seeds_paired(a, ours, theirs, 3));
 */
#ifndef JETCL_SEEDS_H
#define JETCL_SEEDS_H
#include "base/base.h"

/* n: of finite values; sd: with n - 1; half: half the 95 % interval of the mean by
 * Student's t. NAN where unknown. */
struct seeds { int n; f64 mean, sd, half; };
struct seeds seeds_of(const f64 *v, int n);
/* The differences x - y of pairs of seeds; where one of a pair is NAN, it is left out. */
struct seeds seeds_pairs(arena *a, const f64 *x, const f64 *y, int n);
/* Welch's test at 5 %, in words; the differences by pairs of seeds, with their
 * interval, in words. Both lie in a. */
const char *seeds_unpaired(arena *a, const struct seeds *x, const struct seeds *y);
const char *seeds_paired(arena *a, const f64 *x, const f64 *y, int n);

#endif
