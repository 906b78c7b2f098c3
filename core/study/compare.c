/* compare.c: two records side by side: where the numbers part, and whether rounding explains it. */
#include "study/compare.h"
#include "study/seeds.h"
#include <math.h>
#include <stdlib.h>

/* ---- tensors --------------------------------------------------------------------------------------------- */

/* The i-th of the n values that both kept; a record that has all of a tensor meets one that has some of it. */
static f32 compare_value(const struct record_tensor *t, i64 i, i64 n)
{
    return t->v[t->n == n ? i : record_index(i, n, t->n)];
}

static f64 compare_ulps(f64 d, f64 size) { return d > 0 ? d / (MAX(size, 0x1p-126) * 0x1p-23) : 0; }

/* A bound of one precision's rounding, for a comparison with a coarser one. Adam's steps are as long for small
 * gradients as for large ones: of weights that begin at 0 those whose gradient is smaller than its error e may
 * go the other way, a share of about e, by twice their size: 2 sqrt(e). */
static f64 compare_bound(const struct record_tensor *t, f64 own, f64 coarser)
{
    f64 linear = t->bound * MAX(1, coarser / own);
    bool flips = t->kind == RECORD_AFTER && coarser > own;
    return t->bound > 0 ? MIN(0.5, flips ? MAX(linear, 2 * sqrt(8 * coarser)) : linear) : 0;
}

/* ulps: the largest difference in units of the last place of the tensor's largest value. */
static struct compared compare_tensors(const struct comparison *of, const struct record_tensor *x,
                                       const struct record_tensor *y)
{
    f64 ux = record_unit(of->a->precision), uy = record_unit(of->b->precision), tolerance = of->tolerance;
    struct compared c = { .a = x, .b = y, .bound = MAX(compare_bound(x, ux, uy), compare_bound(y, uy, ux)) };
    i64 n = MIN(x->n, y->n);
    f64 gap = 0, size = 0, most = 0, top = 0;
    bool same = x->count == y->count, unseen = !n && x->count && !(x->hash && x->hash == y->hash);
    bool broken = !same || unseen || (x->n != n && x->n != x->count) || (y->n != n && y->n != y->count);
    for (i64 i = 0; i < n && !broken; i++) {
        f64 p = compare_value(x, i, n), q = compare_value(y, i, n), d = fabs(p - q);
        broken = isnan(d) && !(isnan(p) && isnan(q)) && p != q;
        same &= p == q || (isnan(p) && isnan(q));
        if (!isfinite(d))
            continue;
        gap += d * d;
        size += MAX(p * p, q * q);
        most = MAX(most, d);
        top = MAX(top, MAX(fabs(p), fabs(q)));
    }
    c.error = broken ? INFINITY : gap > 0 ? sqrt(gap / size) : 0;
    c.ulps = broken ? INFINITY : compare_ulps(most, top);
    c.equal = same && !broken && (!x->hash || !y->hash || x->hash == y->hash);
    if (tolerance > 0 && x->kind != RECORD_AFTER)
        c.bound = tolerance;
    c.beyond = x->kind <= RECORD_INPUT ? !c.equal && c.error > 0x1p-23
             : c.bound > 0 ? c.error > c.bound : broken;
    return c;
}

static void compare_all(struct comparison *c, arena *a)
{
    c->list = arena_array(a, struct compared, c->a->n + 1);
    c->same_start = true;
    for (size_t i = 0; i < c->a->n; i++) {
        const struct record_tensor *t = &c->a->tensors[i], *u = record_find(c->b, t->name);
        if (!u)
            continue;
        struct compared *x = &c->list[c->n++];
        *x = compare_tensors(c, t, u);
        c->equal += x->equal;
        if (t->kind == RECORD_START)
            c->same_start &= !x->beyond;
        if (t->kind == RECORD_FORWARD || t->kind == RECORD_GRADIENT)
            c->worst = MAX(c->worst, x->error);
    }
    c->missing = c->a->n + c->b->n - 2 * c->n;
}

/* ---- loss ------------------------------------------------------------------------------------------------ */

static f64 compare_mean_gap(const f64 *x, const f64 *y, int n)
{
    f64 sum = 0;
    for (int i = 0; i < n; i++)
        sum += fabs(x[i] - y[i]);
    return n ? sum / n : 0;
}

/* Up to each step, eight times what one rounding at the start has made of the loss so far. */
static void compare_losses(struct comparison *c, arena *a)
{
    const struct record *own = c->a->n_nudged ? c->a : c->b;
    c->n_loss = MIN(c->a->n_loss, c->b->n_loss);
    c->gap = arena_array(a, f64, MAX(1, c->n_loss));
    c->allowed = arena_array(a, f64, MAX(1, c->n_loss));
    f64 unit = MAX(record_unit(c->a->precision), record_unit(c->b->precision)), grown = 0;
    for (int i = 0; i < c->n_loss; i++) {
        c->gap[i] = fabs(c->a->loss[i] - c->b->loss[i]);
        if (c->a->loss[i] == c->b->loss[i] || (isnan(c->a->loss[i]) && isnan(c->b->loss[i])))
            c->gap[i] = 0;                        // infinities too
        if (i >= own->n_nudged)
            continue;
        grown = MAX(grown, fabs(own->loss[i] - own->nudged[i]));
        c->allowed[i] = 8 * (grown * MAX(1, unit / 0x1p-24) + 8 * unit * fabs(own->loss[i]));
    }
    c->mean_gap = compare_mean_gap(c->a->loss, c->b->loss, c->n_loss);
    own = c->a->n_reseeded ? c->a : c->b;
    c->seed_gap = compare_mean_gap(own->loss, own->reseeded, MIN(own->n_loss, own->n_reseeded));
}

static int compare_loss_parts(const struct comparison *c)
{
    for (int i = 0; i < c->n_loss; i++)
        if (isnan(c->gap[i]) || (c->allowed[i] > 0 && !(c->gap[i] <= c->allowed[i])))
            return i + 1;
    return 0;
}

/* ---- verdict --------------------------------------------------------------------------------------------- */

/* "gradient/blocks.3.attn.qkv.weight" -> "blocks.3.attn.qkv" */
static const char *compare_layer(arena *a, const struct record_tensor *t)
{
    const char *name = strchr(t->name, '/') + 1;
    char *layer = arena_printf(a, "%s", name), *dot = strrchr(layer, '.');
    if (t->kind != RECORD_FORWARD && dot)
        *dot = 0;
    return layer;
}

/* Twins are to give equal bits. */
static bool compare_off(const struct comparison *c, size_t i)
{
    return c->list[i].beyond || (c->twins && !c->list[i].equal);
}

/* The network's order: activations and weights forwards, gradients from the head back. */
static const struct compared *compare_first(const struct comparison *c)
{
    for (size_t i = 0; i < c->n; i++)
        if (compare_off(c, i) && c->list[i].a->kind <= RECORD_FORWARD)
            return &c->list[i];
    for (size_t i = c->n; i-- > 0;)
        if (compare_off(c, i) && c->list[i].a->kind == RECORD_GRADIENT)
            return &c->list[i];
    for (size_t i = 0; i < c->n; i++)
        if (compare_off(c, i))
            return &c->list[i];
    return NULL;
}

/* The same computation on the same device, as far as the records tell. */
static bool compare_twins(const struct record *a, const struct record *b)
{
    const char *const own[] = { a->label,   a->device,     a->platform,  a->driver,
                                a->program, a->experiment, a->precision, a->settings };
    const char *const other[] = { b->label,   b->device,     b->platform,  b->driver,
                                  b->program, b->experiment, b->precision, b->settings };
    for (int i = 0; i < countof(own); i++)
        if (strcmp(own[i], other[i]))
            return false;
    return a->batch == b->batch;
}

static const char *compare_seed_words(arena *a, const struct comparison *c)
{
    if (!(c->seed_gap > 0) || !(c->mean_gap > 0))
        return "";
    return arena_printf(a, "; the losses differ by %.2g on average, two seeds' by %.2g", c->mean_gap,
                        c->seed_gap);
}

static const char *compare_kind_word(const struct record_tensor *t)
{
    return t->kind == RECORD_START ? "initial value" : t->kind == RECORD_INPUT ? "input"
         : t->kind == RECORD_FORWARD ? "activation"
         : t->kind == RECORD_GRADIENT ? "gradient" : "weight";
}

static const char *compare_words(struct comparison *c, arena *a)
{
    const char *seeds = compare_seed_words(a, c);
    if (c->agree)
        return (size_t)c->equal == c->n && c->mean_gap == 0
               ? arena_printf(a, "no difference: equal bits in all %d tensors over %d steps", c->equal,
                              c->n_loss)
               : arena_printf(a, "no difference beyond %s over %d steps (largest %.2g)%s",
                              c->tolerance > 0 ? "the tolerance" : "rounding", c->n_loss, c->worst, seeds);
    if (!c->first)
        return arena_printf(
            a, "differs from step %lld on, in the loss: by %.2g where rounding explains %.2g%s",
            (long long)c->first_step, c->gap[c->first_step - 1], c->allowed[c->first_step - 1], seeds);
    if (!c->first->beyond)
        return arena_printf(a, "the same device gives other bits from %s on, first in %s: %s %s by %.2g",
                            c->first_step ? arena_printf(a, "step %lld", (long long)c->first_step)
                                          : "the start",
                            c->first_layer, compare_kind_word(c->first->a),
                            strchr(c->first->a->name, '/') + 1, c->first->error);
    const char *limit =
        c->first->bound > 0 ? arena_printf(
            a, " where %s %.2g", c->tolerance > 0 ? "the tolerance is" : "rounding explains", c->first->bound)
                            : "";
    return arena_printf(a, "differs from %s on, first in %s: %s %s by %.2g%s%s",
                        c->first_step ? arena_printf(a, "step %lld", (long long)c->first_step) : "the start",
                        c->first_layer, compare_kind_word(c->first->a), strchr(c->first->a->name, '/') + 1,
                        c->first->error, limit, seeds);
}

/* "over 3 seeds: ..." of the loss at the end and, where there was an evaluation, of the accuracy. */
static const char *compare_seeds(arena *a, const struct comparison *c)
{
    const struct record *x = c->a, *y = c->b;
    int n = MIN(x->n_seeds, y->n_seeds);
    if (n < 2)
        return NULL;
    struct seeds p = seeds_of(x->seed_loss, n), q = seeds_of(y->seed_loss, n);
    const char *text = arena_printf(a,
                                    "over %d seeds the loss ends at %.4g ± %.2g and %.4g ± %.2g (95 %%); %s",
                                    n, p.mean, p.half, q.mean, q.half,
                                    seeds_paired(a, x->seed_loss, y->seed_loss, n));
    p = seeds_of(x->seed_top1, n), q = seeds_of(y->seed_top1, n);
    return p.n < 2 || q.n < 2 ? text
         : arena_printf(a, "%s; top-1 is %.2f ± %.2f and %.2f ± %.2f %%; %s", text, p.mean, p.half, q.mean,
                        q.half, seeds_paired(a, x->seed_top1, y->seed_top1, n));
}

void compare_records(struct comparison *c, arena *a, const struct record *x, const struct record *y,
                     f64 tolerance)
{
    *c = (struct comparison){ .a = x, .b = y, .tolerance = tolerance };
    c->twins = !(tolerance > 0) && compare_twins(x, y);
    compare_all(c, a);
    compare_losses(c, a);
    c->first = compare_first(c);
    int loss = compare_loss_parts(c);
    if (c->first && c->first->a->kind == RECORD_AFTER && loss && loss < c->first->a->step)
        c->first_step = loss;                     // the weights, looked at now and then, say where
    else if (c->first)
        c->first_step = c->first->a->kind == RECORD_AFTER ? c->first->a->step
                                                              : c->first->a->kind != RECORD_START;
    else
        c->first_step = loss;
    if (c->first)
        c->first_layer = compare_layer(a, c->first->a);
    c->agree = !c->first && !loss && (c->n || c->n_loss);
    c->verdict = c->n || c->n_loss ? compare_words(c, a) : "nothing in common to compare";
    c->seeds = compare_seeds(a, c);
    c->speed = x->step_ms > 0 && y->step_ms > 0 ? y->step_ms / x->step_ms : 0;
}
