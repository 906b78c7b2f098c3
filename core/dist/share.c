/* share.c: contiguous shares of a batch or of the parameters. */
#include "dist/dist.h"
#include <math.h>

void share_of(i64 all, int r, int n, const f64 *weights, i64 *from, i64 *to)
{
    f64 sum = 0, before = 0, own = weights ? weights[r] : 1;
    for (int k = 0; k < n; k++) {
        sum += weights ? weights[k] : 1;
        before += k < r ? weights ? weights[k] : 1 : 0;
    }
    *from = (i64)rint((f64)all * before / sum);
    *to = (i64)rint((f64)all * (before + own) / sum);
}

void share_by_time(const f64 *seconds, int n, f64 *shares)
{
    f64 sum = 0;
    for (int r = 0; r < n; r++)
        sum += 1 / seconds[r];
    for (int r = 0; r < n; r++)
        shares[r] = rint(1000 / seconds[r] / sum) / 1000;
}
