/* table_budget.c: which experiments of a table fit into a time: `table X --dry-run --budget 48h`. */
#include "study/table_forecast.h"
#include <math.h>

/* Seconds of an experiment, with the prepared runs it needs that are not chosen yet. */
static f64 budget_seconds(const struct asked *list, size_t n, const struct table *t, const struct asked *x)
{
    f64 sum = x->cost.seconds;
    for (int i = 0; i < x->run->n_uses; i++)
        for (size_t k = 0; k < n; k++)
            if (list[k].run == &t->runs[x->run->uses[i]] && !list[k].fits)
                sum += list[k].cost.seconds;
    return sum;
}

static void budget_take(struct asked *list, size_t n, const struct table *t, struct asked *x)
{
    x->fits = true;
    for (int i = 0; i < x->run->n_uses; i++)
        for (size_t k = 0; k < n; k++)
            list[k].fits |= list[k].run == &t->runs[x->run->uses[i]];
}

/* The cheapest first: so the most experiments fit. One whose time is not known does not. */
f64 budget_choose(struct asked *list, size_t n, const struct table *t, f64 seconds)
{
    f64 used = 0;
    for (;;) {
        struct asked *best = NULL;
        f64 least = INFINITY;
        for (size_t i = 0; i < n; i++) {
            f64 more = list[i].fits || list[i].run->prepared ? INFINITY : budget_seconds(list, n, t, &list[i]);
            if (more < least)
                best = &list[i], least = more;
        }
        if (!best || !(used + least <= seconds))
            return used;
        budget_take(list, n, t, best);
        used += least;
    }
}
