/* tune_trial.c: one shape's kernels on a device, as the tunables stand: built, given values, run, and raced
 * against another choice of tunables. */
#include "bench/tune_trial.h"
#include <math.h>
#include <stdlib.h>

enum { ROUNDS = 9 };

void trial_close(struct trial *t)
{
    graph_free(t->g);
    *t = (struct trial){ 0 };
}

bool job_half(const struct job *j) { return dtype_half(j->type[0]) || dtype_half(j->type[1]); }

/* The half type's bits of a multiple of 1/64 from -1 to 1, which both types have exactly. */
static u16 half_bits(f32 v, enum dtype type)
{
    u32 bits;
    memcpy(&bits, &v, sizeof bits);
    u32 size = bits & 0x7fffffff;
    return (u16)(type == BF16 ? bits >> 16 : (bits >> 16 & 0x8000) | (size ? (size - 0x38000000) >> 13 : 0));
}

/* Values that are the same in every type. */
static int write_values(node *n, rng *r)
{
    arena *a = arena_open("values");
    i64 count = node_count(n);
    f32 *v = arena_array(a, f32, count);
    u16 *half = arena_array(a, u16, count);
    for (i64 i = 0; i < count; i++) {
        v[i] = (f32)round(128 * rng_unit(r) - 64) / 64;
        half[i] = half_bits(v[i], n->type);
    }
    int rc = node_write(n, dtype_half(n->type) ? (const void *)half : v);
    arena_close(a);
    return rc;
}

int trial_open(struct trial *t, const struct job *j, dev *d)
{
    t->g = graph_new(d);
    node *in[2];
    rng r = rng_at(1, RNG_TEST, 0, 0);
    for (int k = 0; k < j->n_in; k++)
        in[k] = graph_input(t->g, "in", j->type[k], j->in[k]);
    if (job_half(j))
        t->g->half = dtype_half(j->type[0]) ? j->type[0] : j->type[1];
    t->y = node_keep(j->kind->build(j, in));
    simplify_graph(t->g);
    t->y->type = j->out;                          // nothing here reads it: the pass has left it F32
    int rc = graph_compile(t->g);
    for (int k = 0; k < j->n_in && !rc; k++)
        rc = write_values(in[k], &r);
    rc = rc || graph_run(t->g) || dev_finish(d) ? -1 : 0;
    if (rc)
        trial_close(t);
    return rc;
}

static bool same_text(const char *x, const char *y) { return !strcmp(x ? x : "", y ? y : ""); }

static bool same_arg(const arg *p, const arg *q)
{
    return p->kind == q->kind && !(p->kind == ARG_KIND_INT && p->i != q->i)
        && !(p->kind == ARG_KIND_LONG && p->l != q->l) && !(p->kind == ARG_KIND_LOCAL && p->bytes != q->bytes)
        && !(p->kind == ARG_KIND_LONG4 && memcmp(p->l4, q->l4, sizeof p->l4));
}

bool trial_same(const struct trial *p, const struct trial *q)
{
    const launches *x = p->g->list, *y = q->g->list;
    if (launches_count(x) != launches_count(y))
        return false;
    for (int i = 0; i < launches_count(x); i++) {
        const launch *a = launches_at(x, i), *b = launches_at(y, i);
        if (!same_text(a->kernel, b->kernel) || !same_text(a->defs, b->defs)
            || memcmp(a->global, b->global, sizeof a->global) || memcmp(a->local, b->local, sizeof a->local))
            return false;
        for (int k = 0; k < MAX_ARGS && (a->args[k].kind || b->args[k].kind); k++)
            if (!same_arg(&a->args[k], &b->args[k]))
                return false;
    }
    return true;
}

static int time_one(const struct trial *t, int times, f64 *took)
{
    f64 start = clock_now();
    for (int i = 0; i < times; i++)
        if (graph_run(t->g))
            return -1;
    if (dev_finish(t->g->d))
        return -1;
    *took = (clock_now() - start) / times;
    return 0;
}

static int trial_ascending(const void *a, const void *b)
{
    f64 x = *(const f64 *)a, y = *(const f64 *)b;
    return (x > y) - (x < y);
}

int trial_race(const struct trial *a, const struct trial *b, struct race *r)
{
    f64 once, x, y, ratio[ROUNDS];
    int n = 0;
    *r = (struct race){ 1e9, 1e9, 1 };
    if (time_one(a, 1, &once))
        return -1;
    int times = (int)MAX(1, MIN(1000, 3e-3 / once));
    while (n < ROUNDS && (n < 2 || r->b < 1.2 * r->a)) {
        if (time_one(a, times, &x) || time_one(b, times, &y))
            return -1;
        ratio[n++] = y / x;
        r->a = MIN(r->a, x);
        r->b = MIN(r->b, y);
    }
    qsort(ratio, (size_t)n, sizeof *ratio, trial_ascending);
    r->ratio = MAX(ratio[n / 2], r->b / r->a);
    return 0;
}
