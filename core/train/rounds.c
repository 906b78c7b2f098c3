/* rounds.c: dist.shard: gradients. No rank ever holds the gradient of all parameters: each is read from the
 * device where it is computed, after which its memory serves others, and what is kept is the sum over ranks of
 * the own shard (Rajbhandari et al. 2020, the second stage of ZeRO).
 *
 *     device   launches | read round 0 | launches | read round 1 | launches ...
 *     host                               send, receive, add up 0 | send, receive, add up 1 ...
 *
 * Rounds are made of the parameters in the order of their list, from its end on, so that they are the same on
 * all ranks, whatever a rank's graph is like. Sums are taken in the order of ranks, then of micro-batches.
 */
#include "train/learner.h"

struct leaving { const struct param *x; node *n; i64 begin; };      /* n NULL: zeros; begin: in all slabs */
struct round { int from, to; i64 *count; };       /* which of them; elements for each rank's shard */
struct rounds {
    arena *a;
    struct leaving *leaving;
    struct round *round;
    int n, passes;                                /* micro-batches of the rank with most; 0: not known yet */
    i64 first, owned, most;                       /* of the own shard; elements of the largest round */
    f32 *out[2], *in, *own;
    struct dist_pair *with;
    struct mark read[2];
};

/* The part of a gradient that lies in rank r's shard: elements [*from, *from + the result) of all slabs. */
static i64 rounds_part(const params *p, const struct leaving *e, int r, i64 *from)
{
    i64 begin, end;
    params_shard(p, r, dist_size(), &begin, &end);
    *from = MAX(begin, e->begin);
    return MAX(0, MIN(end, e->begin + shape_count(e->x->shape)) - *from);
}

static void rounds_find_leaving(struct rounds *o, const params *p, node *const *offloads)
{
    i64 *slab = arena_array(o->a, i64, p->n_slabs + 1);
    o->leaving = arena_array(o->a, struct leaving, p->n + 1);
    for (int k = 0; k < p->n_slabs; k++)
        slab[k + 1] = slab[k] + p->slabs[k].count;
    for (size_t i = 0; i < p->n; i++) {
        const struct param *x = &p->list[p->n - 1 - i];
        node *n = offloads ? offloads[p->n - 1 - i] : NULL;
        check(!n || n->in[0]->type == F32, "the gradient of %s is not F32", x->name);
        o->leaving[i] = (struct leaving){ x, n, slab[x->slab] + x->offset };
    }
}

/* A round ends where the ranks' buckets are full. */
static void rounds_cut(struct rounds *o, const params *p, f64 bucket)
{
    i64 full = (i64)(bucket * (1 << 20) / 4) * dist_size(), all = 0, from;
    o->round = arena_array(o->a, struct round, p->n + 1);
    for (int i = 0; i < (int)p->n; i++) {
        struct round *d = &o->round[o->n];
        if (!d->count)
            *d = (struct round){ i, i, arena_array(o->a, i64, dist_size()) };
        for (int r = 0; r < dist_size(); r++)
            d->count[r] += rounds_part(p, &o->leaving[i], r, &from);
        all += shape_count(o->leaving[i].x->shape);
        d->to = i + 1;
        o->most = MAX(o->most, all);
        if (all >= full || d->to == (int)p->n)
            o->n++, all = 0;
    }
}

int rounds_open(struct learner *l, node *const *offloads)
{
    arena *a = arena_open("rounds");
    struct rounds *o = l->rounds = arena_one(a, struct rounds);
    i64 to, in = 0;
    o->a = a;
    rounds_find_leaving(o, l->p, offloads);
    rounds_cut(o, l->p, l->s->dist.bucket);
    params_shard(l->p, dist_rank(), dist_size(), &o->first, &to);
    o->owned = to - o->first;
    for (int k = 0; k < o->n; k++)
        in = MAX(in, o->round[k].count[dist_rank()]);
    for (int i = 0; i < 2; i++)
        o->out[i] = arena_array(a, f32, o->most + 1);
    o->in = arena_array(a, f32, in * dist_size() + 1);
    o->own = arena_array(a, f32, o->owned + 1);
    o->with = arena_array(a, struct dist_pair, dist_size());
    const node *last = o->n && offloads ? o->leaving[o->round[0].to - 1].n : NULL;
    if (last)
        say(SAY_VERBOSE, "gradients leave in %d rounds, the first after %d of %d launches", o->n, last->list.to,
            launches_count(l->g->list));
    return 0;
}

void rounds_close(struct rounds *o)
{
    if (!o)
        return;
    marks_forget(o->read, 2);
    arena_close(o->a);
}

int rounds_passes(struct learner *l)
{
    struct rounds *o = l->rounds;
    arena *a = arena_open("micro-batches");
    f64 *n = arena_array(a, f64, dist_size());
    n[dist_rank()] = l->micro_batches;
    int rc = o->passes ? 0 : dist_sum(n, dist_size());
    for (int r = 0; r < dist_size() && !rc; r++)
        o->passes = MAX(o->passes, (int)n[r]);
    arena_close(a);
    return rc ? -1 : o->passes;
}

/* Reads a gradient to where its parts travel from: to[r] for rank r, which moves on. */
static int rounds_read_one(struct learner *l, const struct leaving *e, bool there, f32 **to)
{
    for (int r = 0; r < dist_size(); r++) {
        i64 from, n = rounds_part(l->p, e, r, &from);
        if (there && n) {
            range home = e->n->in[0]->home;
            home.off += 4 * (u64)(from - e->begin);
            home.bytes = 4 * (u64)n;
            if (mem_read_later(l->d, home, to[r]))
                return -1;
        } else
            memset(to[r], 0, sizeof **to * (size_t)n);
        to[r] += n;
    }
    return 0;
}

/* Enqueues what computes round k, from launch *at on, and its reads. Without images there is nothing. */
static int rounds_read(struct learner *l, int k, bool computes, int *at)
{
    struct rounds *o = l->rounds;
    struct round *d = &o->round[k];
    f32 **to = arena_array(o->a, f32 *, dist_size()), *p = o->out[k % 2];
    int rc = 0;
    for (int r = 0; r < dist_size(); p += d->count[r++])
        to[r] = p;
    for (int i = d->from; i < d->to && !rc; i++) {
        const struct leaving *e = &o->leaving[i];
        bool there = computes && e->n;
        if (there && e->n->list.to > *at) {
            rc = graph_run_part(l->g, *at, e->n->list.to);
            *at = e->n->list.to;
        }
        rc = rc || rounds_read_one(l, e, there, to) ? -1 : 0;
    }
    return rc || marks_end(l->d, &o->read[k % 2], 1) ? -1 : 0;
}

/* Adds what all ranks have of the own shard in round k. */
static void rounds_sum(struct learner *l, int k)
{
    struct rounds *o = l->rounds;
    const struct round *d = &o->round[k];
    const f32 *own = o->out[k % 2];
    i64 own_count = d->count[dist_rank()], at = 0;
    for (int r = 0; r < dist_rank(); r++)
        own += d->count[r];
    for (int i = d->from; i < d->to; i++) {
        i64 from, n = rounds_part(l->p, &o->leaving[i], dist_rank(), &from);
        for (i64 j = 0; j < n; j++, at++) {
            f32 sum = 0;
            for (int r = 0; r < dist_size(); r++)
                sum += r == dist_rank() ? own[at] : o->in[r * own_count + at];
            o->own[from - o->first + j] += sum;
        }
    }
}

static int rounds_exchange(struct learner *l, int k)
{
    struct rounds *o = l->rounds;
    const struct round *d = &o->round[k];
    i64 own = d->count[dist_rank()];
    f32 *out = o->out[k % 2];
    if (exchange_await(l, &o->read[k % 2]))
        return -1;
    for (int r = 0; r < dist_size(); out += d->count[r++])
        o->with[r] = (struct dist_pair){ out, 4 * (u64)d->count[r], o->in + r * own, 4 * (u64)own };
    if (dist_start(o->with) || dist_finish())
        return -1;
    rounds_sum(l, k);
    return 0;
}

int rounds_run(struct learner *l, bool first, bool computes)
{
    struct rounds *o = l->rounds;
    arena_mark m = arena_save(o->a);
    int at = 0, rc = 0;
    if (first)
        memset(o->own, 0, sizeof *o->own * (size_t)o->owned);
    for (int k = 0; k < o->n && !rc; k++)
        rc = rounds_read(l, k, computes, &at) || (k && rounds_exchange(l, k - 1)) ? -1 : 0;
    rc = rc || (computes && graph_run_part(l->g, at, launches_count(l->g->list))) ? -1 : 0;
    dev_flush(l->d);
    rc = rc || (o->n && rounds_exchange(l, o->n - 1)) ? -1 : 0;
    arena_restore(o->a, m);
    return rc;
}

int rounds_end(struct learner *l)
{
    return exchange_put_gradients(l, l->rounds->first, l->rounds->owned, l->rounds->own);
}
