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
