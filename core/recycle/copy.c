/* copy.c: every expert is the whole dense MLP (Sparse Upcycling, Komatsuzaki et al. 2023), the method's yardstick. */
#include "recycle/recycle.h"

static int choose(const struct choice *c, i32 *out)
{
    if (c->subset != c->total)
        return fail(FAULT_DATA, "strategy copy: %s has %d units, the successor takes %d: copies want a predecessor exactly "
                    "as wide as the successor", c->what, c->total, c->subset);
    for (int i = 0; i < c->sets * c->subset; i++)
        out[i] = i % c->subset;
    return 0;
}

const strategy copy_strategy = { "copy", "every expert a copy of the dense MLP (Sparse Upcycling)", 0, choose };
