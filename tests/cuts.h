/* cuts.h: partitions of units, as the tests of recycling compare them. */
#ifndef JETCL_CUTS_H
#define JETCL_CUTS_H
#include "base/base.h"

/* Are the same of the n units together, whatever the parts are called? */
static inline bool same_cut(const i32 *x, const i32 *y, int n)
{
    for (int i = 0; i < n; i++)
        for (int j = 0; j < i; j++)
            if ((x[i] == x[j]) != (y[i] == y[j]))
                return false;
    return true;
}
#endif
