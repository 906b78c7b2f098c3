/* importance.c: units that are active in the predecessor are kept (Zhu et al. 2024, the method's
 * default). What all parts of the successor share, the residual stream, takes the most active; each
 * expert draws its own neurons with probability proportional to their activation, without replacement, so
 * that experts differ. */
#include "recycle/recycle.h"
#include <stdlib.h>

struct ranked { f64 score; i32 unit; };

static int strongest_first(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return (x->unit > y->unit) - (x->unit < y->unit);
}

static void importance_strongest(const struct choice *c, i32 *out)
{
    struct ranked *r = arena_array(c->scratch, struct ranked, c->total);
    for (int i = 0; i < c->total; i++)
        r[i] = (struct ranked){ c->score[i], i };
    qsort(r, (size_t)c->total, sizeof *r, strongest_first);
    for (int i = 0; i < c->subset; i++)
        out[i] = r[i].unit;
    sample_sort(out, c->subset, c->total, c->scratch);
}

static int importance_choose(const struct choice *c, i32 *out)
{
    u64 *weight = arena_array(c->scratch, u64, c->total);
    if (sample_weights(c->what, c->score, c->total, weight))
        return -1;
    for (int set = 0; set < c->sets; set++, out += c->subset) {
        if (c->best) {
            importance_strongest(c, out);
            continue;
        }
        rng r = rng_at(c->seed, RNG_RECYCLE, c->place, (u32)set);
        int n = sample_draw(&r, weight, c->total, c->subset, out, c->scratch);
        if (n < c->subset)
            return fail(FAULT_NUMBERS, "only %d of the %d units of %s were ever active, %d are needed: use "
                        "more images, a lower recycle.threshold, or another metric",
                        n, c->total, c->what, c->subset);
        sample_sort(out, c->subset, c->total, c->scratch);
    }
    return 0;
}

const strategy importance_strategy = {
    "importance", "draws by activation; shared channels: the most active", NEEDS_SCORE, importance_choose
};
