/* strategy.c: the table of strategies and what all of them may rely on. */
#include "recycle/recycle.h"
#include <math.h>

#define STRATEGY(name) extern const strategy name##_strategy;
#include "recycle/strategies.def"
#undef STRATEGY

const strategy *const strategies[] = {
#define STRATEGY(name) &name##_strategy,
#include "recycle/strategies.def"
#undef STRATEGY
    NULL
};

const strategy *strategy_find(const char *name)
{
    char hint[96];
    const char *names[countof(strategies)];
    int n = 0;
    for (; strategies[n]; n++) {
        names[n] = strategies[n]->name;
        if (!strcmp(name, names[n]))
            return strategies[n];
    }
    fail(FAULT_USAGE, "unknown recycling strategy '%s'%s", name, text_hint(hint, name, names, n));
    return NULL;
}

/* Sums catch every NaN and infinity in one pass. The rest METIS relies on: it overruns its memory without. */
static int strategy_measured(const struct choice *c)
{
    f64 sum = 0;
    bool counts = true;
    int n = c->together ? c->total : 0;
    for (int i = 0; c->score && i < c->total; i++)
        sum += c->score[i];
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++) {
            f32 x = c->together[(size_t)i * n + j];
            sum += x;
            counts &= x >= 0 && x == c->together[(size_t)j * n + i];
        }
    if (!isfinite(sum))
        return fail(FAULT_NUMBERS, "the statistics of %s are not finite: does the predecessor itself compute "
                    "finite values on these images?", c->what);
    if (!counts)
        return fail(FAULT_NUMBERS, "the statistics of %s are damaged: co-activation must be symmetric and "
                    "not negative", c->what);
    return 0;
}

int recycle_choose(const strategy *s, const struct choice *c, i32 *out)
{
    check(c->total > 0 && c->subset > 0 && c->sets > 0, "%d of %d, %d times", c->subset, c->total, c->sets);
    check(!(s->needs & NEEDS_SCORE) || c->score, "%s without scores for %s", s->name, c->what);
    check(!(s->needs & NEEDS_TOGETHER) || c->together, "%s without co-activation for %s", s->name, c->what);
    if (c->subset > c->total)
        return fail(FAULT_DATA, "%s has %d units, the successor needs %d: the predecessor must be at least "
                    "as wide as the successor", c->what, c->total, c->subset);
    if (s->needs && strategy_measured(c))
        return -1;
    if (c->subset == c->total) {                  // nothing to choose, dead units or not
        for (i64 i = 0; i < (i64)c->sets * c->subset; i++)
            out[i] = (i32)(i % c->subset);
        return 0;
    }
    arena_mark m = arena_save(c->scratch);
    int rc = s->choose(c, out);
    arena_restore(c->scratch, m);
    return rc;
}
