/* copy.c: every expert is the whole dense MLP (Sparse Upcycling, Komatsuzaki et al. 2023): a baseline. */
#include "recycle/recycle.h"

/* recycle_choose takes all units where as many are asked for; here it is fewer. */
static int copy_choose(const struct choice *c, i32 *out)
{
    (void)out;
    return fail(FAULT_DATA, "strategy copy: %s has %d units, the successor needs %d: copies need a "
                "predecessor exactly as wide as the successor", c->what, c->total, c->subset);
}

const strategy copy_strategy = {
    "copy", "every expert a copy of the dense MLP (Sparse Upcycling)", 0, copy_choose
};
