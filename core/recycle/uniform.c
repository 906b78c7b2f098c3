/* uniform.c: every (total/subset)-th unit, the same for every expert. Integers only: linspace in
 * floating point rounds differently from library to library. */
#include "recycle/recycle.h"

void uniform_fill(int total, int subset, enum spacing spacing, i32 *out)
{
    if (spacing == SPACING_FLOOR) {
        for (int i = 0; i < subset; i++)
            out[i] = (i32)((i64)i * total / subset);
        return;
    }
    i64 gaps = MAX(subset - 1, 1);
    for (int i = 0; i < subset; i++) {
        i64 x = (i64)i * (total - 1), at = x / gaps, twice = 2 * (x % gaps);
        bool up = spacing == SPACING_ROUND && (twice > gaps || (twice == gaps && at % 2));     // half to even
        out[i] = (i32)(at + up);
    }
}

static int uniform_choose(const struct choice *c, i32 *out)
{
    for (int set = 0; set < c->sets; set++)
        uniform_fill(c->total, c->subset, c->spacing, out + (size_t)set * c->subset);
    return 0;
}

const strategy uniform_strategy = { "uniform", "evenly spaced units, the same in every expert", 0,
                                    uniform_choose };
