/* exchange.c: a step over several ranks. Parameters lie in slabs; seen as one row of elements they are cut into
 * one shard per rank. Gradients go to the rank whose shard they are in, which adds them up in the order of the
 * ranks; what it makes of its parameters goes to all:
 *
 *     gradients of rank 0   [ a | b | c ] --.      rank 0:  a0 + a1 + a2 -> AdamW -> a'  --.
 *     gradients of rank 1   [ a | b | c ] ---+-->  rank 1:  b0 + b1 + b2 -> AdamW -> b'  ---+--> [ a'| b'| c']
 *     gradients of rank 2   [ a | b | c ] --'      rank 2:  c0 + c1 + c2 -> AdamW -> c'  --'
 *
 * in buckets, from the end of every shard on, where the last layers lie (params.c): they travel while the
 * backward pass computes the gradients of those before. A rank sends 2 (n - 1) / n times the parameters per
 * step (Rajbhandari et al. 2020, the first two stages of ZeRO). */
#include "train/learner.h"
#include <math.h>

enum { BLOCK = 1 << 20, SUMMED = 1 << 11 };       /* elements: sent to all, and summed in cache, at a time */
enum which { VALUES, GRADS, FIRSTS, SECONDS };

void exchange_share(const struct spec *s, int *from, int *to)
{
    i64 a, b;
    bool given = s->dist.shares.n == dist_size() && !shares_auto(s);
    share_of(s->train.batch, dist_rank(), dist_size(), given ? s->dist.shares.v : NULL, &a, &b);
    *from = (int)a;
    *to = (int)b;
}

u64 exchange_bytes(u64 weight_bytes, int ranks) { return 2 * weight_bytes / (u64)ranks * (u64)(ranks - 1); }

/* ---- between device and host --------------------------------------------------------------------------- */

/* Elements [at, at + n) of all slabs in a row, from the device or to it. Of moments, and of gradients that are
 * sharded, only what lies here. */
enum way { READ, WRITE, READ_AT, WRITE_BESIDE };  /* the last two while the graph runs: after its mark */

static int exchange_copy(struct learner *l, range r, f32 *host, enum way way, const struct mark *mark)
{
    switch (way) {
    case READ:  return mem_read(l->d, r, host);
    case WRITE: return mem_write(l->d, r, host);
    case READ_AT: return mem_read_at(l->d, mark, r, host);
    default:    return mem_write_beside(l->d, r, host);
    }
}

static range exchange_range(const struct param_slab *b, enum which which)
{
    return which == VALUES ? b->value : which == GRADS ? b->grad : which == FIRSTS ? b->m : b->v;
}

static int exchange_part(struct learner *l, enum which which, i64 at, i64 n, f32 *host, enum way way,
                         const struct mark *mark)
{
    i64 slab = 0;
    for (int k = 0; k < l->p->n_slabs; slab += l->p->slabs[k++].count) {
        const struct param_slab *b = &l->p->slabs[k];
        range whole = exchange_range(b, which);
        bool owned = which >= FIRSTS || (which == GRADS && l->p->shard_grads);
        i64 begin = slab + (owned ? b->first : 0), end = begin + (owned ? b->owned : b->count);
        i64 from = MAX(at, begin), to = MIN(at + n, end);
        if (from >= to)
            continue;
        range r = { whole.mem, whole.off + 4 * (u64)(from - begin), 4 * (u64)(to - from) };
        if (exchange_copy(l, r, host + (from - at), way, mark))
            return -1;
    }
    return 0;
}

static int exchange_move(struct learner *l, enum which which, i64 at, i64 n, f32 *host, bool write)
{
    return exchange_part(l, which, at, n, host, write ? WRITE : READ, NULL);
}

/* ---- buckets ------------------------------------------------------------------------------------------- */

static i64 bucket_size(const struct learner *l)
{
    return ROUND_UP((i64)(l->s->dist.bucket * (1 << 20) / 4) + 1, (i64)ADAMW_BLOCK);
}

/* Bucket `number` of rank r's shard, counted from its end: elements [*at, *at + *n). */
static void bucket_of(const struct learner *l, int r, i64 number, i64 *at, i64 *n)
{
    i64 from, to, size = bucket_size(l);
    params_shard(l->p, r, dist_size(), &from, &to);
    to = MAX(from, to - number * size);
    *at = MAX(from, to - size);
    *n = to - *at;
}

static i64 bucket_count(const struct learner *l)
{
    i64 most = 0;
    for (int r = 0; r < dist_size(); r++) {
        i64 from, to;
        params_shard(l->p, r, dist_size(), &from, &to);
        most = MAX(most, CEIL_DIV(to - from, bucket_size(l)));
    }
    return most;
}

/* Host memory of a bucket of every rank, two of them going out and one coming in. */
struct buckets { arena *a; f32 *out[2], *in; struct dist_pair *with; i64 size; struct mark read; };

static struct buckets buckets_open(const struct learner *l)
{
    struct buckets b = { arena_open("buckets") };
    for (int r = 0; r < dist_size(); r++) {
        i64 at, n;
        bucket_of(l, r, 0, &at, &n);
        b.size = MAX(b.size, n);
    }
    for (int i = 0; i < 2; i++)
        b.out[i] = arena_array(b.a, f32, b.size * dist_size());
    b.in = arena_array(b.a, f32, b.size * dist_size());
    b.with = arena_array(b.a, struct dist_pair, dist_size());
    return b;
}

/* Each rank's part of a bucket, from the device, as soon as it is computed. */
static int read_bucket(struct learner *l, struct buckets *b, i64 number)
{
    for (int r = 0; r < dist_size(); r++) {
        i64 at, n;
        bucket_of(l, r, number, &at, &n);
        f32 *to = b->out[number % 2] + r * b->size;
        if (exchange_part(l, GRADS, at, n, to, READ_AT, &l->marks[number]))
            return -1;
    }
    return mem_reads_end(l->d, &b->read);
}

/* Waits until it is there; other exchanges continue meanwhile. */
int exchange_await(struct learner *l, struct mark *m)
{
    bool yes = false;
    int rc = 0;
    f64 start = clock_now();
    while (!yes && !(rc = mark_reached(l->d, m, &yes)))
        if (!yes)
            dist_progress(start);
    marks_forget(m, 1);
    return rc;
}

static void send_bucket(struct learner *l, struct buckets *b, i64 number)
{
    i64 at, own;
    bucket_of(l, dist_rank(), number, &at, &own);
    for (int r = 0; r < dist_size(); r++) {
        i64 n;
        bucket_of(l, r, number, &at, &n);
        b->with[r] = (struct dist_pair){ b->out[number % 2] + r * b->size, 4 * (u64)n, b->in + r * b->size,
                                         4 * (u64)own };
    }
    dist_start(b->with);
}

/* This rank's part of a bucket: the sum, in the order of the ranks. */
static int sum_bucket(struct learner *l, struct buckets *b, i64 number)
{
    i64 at, n;
    bucket_of(l, dist_rank(), number, &at, &n);
    f32 *sum = b->in, *own = b->out[number % 2] + dist_rank() * b->size;
    for (i64 from = 0; from < n; from += SUMMED)
        for (int r = 0; r < dist_size(); r++) {
            const f32 *x = r == dist_rank() ? own : b->in + r * b->size;
            for (i64 i = from; i < MIN(n, from + SUMMED); i++)
                sum[i] = r ? sum[i] + x[i] : x[i];
        }
    return exchange_part(l, GRADS, at, n, sum, WRITE_BESIDE, NULL);
}

/* What each rank has of its shard, to all. */
static int exchange_spread(struct learner *l, struct buckets *b, enum which which)
{
    for (i64 k = 0, of = bucket_count(l); k < of; k++) {
        i64 at, own;
        bucket_of(l, dist_rank(), k, &at, &own);
        if (exchange_move(l, which, at, own, b->out[0], false))
            return -1;
        for (int r = 0; r < dist_size(); r++) {
            i64 n;
            bucket_of(l, r, k, &at, &n);
            b->with[r] = (struct dist_pair){ b->out[0], 4 * (u64)own, b->in + r * b->size, 4 * (u64)n };
        }
        if (dist_start(b->with) || dist_finish())
            return -1;
        for (int r = 0; r < dist_size(); r++) {
            i64 n;
            bucket_of(l, r, k, &at, &n);
            if (r != dist_rank() && exchange_move(l, which, at, n, b->in + r * b->size, true))
                return -1;
        }
    }
    return 0;
}

/* ---- a step -------------------------------------------------------------------------------------------- */

static bool exchange_sharded(const struct learner *l) { return l->p->shards > 1; }

int exchange_put_gradients(struct learner *l, i64 at, i64 n, f32 *values)
{
    return exchange_move(l, GRADS, at, n, values, true);
}

/* Launches that must be done before rank r's part of a bucket is there. */
static int bucket_last(const struct learner *l, int r, i64 number)
{
    i64 at, n, slab = 0;
    int last = 0;
    bucket_of(l, r, number, &at, &n);
    for (int k = 0; k < l->p->n_slabs; slab += l->p->slabs[k++].count) {
        const struct param_slab *b = &l->p->slabs[k];
        i64 from = MAX(at, slab), to = MIN(at + n, slab + b->count);
        range whole = b->grad;
        if (from < to)
            last = MAX(last, graph_last(l->g, (range){ whole.mem, whole.off + 4 * (u64)(from - slab),
                                                       4 * (u64)(to - from) }));
    }
    return last;
}

int exchange_plan(struct learner *l)
{
    if (dist_size() == 1)
        return 0;
    bool overlap = l->s->dist.overlap && l->g;   // without images nothing runs
    int all = l->g ? launches_count(l->g->list) : 0, last = 0;
    l->n_marks = (int)bucket_count(l);
    l->marks = arena_array(l->p->a, struct mark, l->n_marks);
    for (int k = 0; k < l->n_marks; k++) {
        for (int r = 0; r < dist_size() && overlap; r++)
            last = MAX(last, bucket_last(l, r, k));
        l->marks[k].at = overlap ? last : all;
    }
    if (l->n_marks)
        say(SAY_VERBOSE, "gradients leave in %d bucket%s, the first after %d of %d launches", l->n_marks,
            l->n_marks == 1 ? "" : "s", l->marks[0].at, all);
    return 0;
}

int exchange_gradients(struct learner *l)
{
    if (dist_size() == 1)
        return 0;
    if (l->rounds)
        return rounds_end(l);
    struct buckets b = buckets_open(l);
    i64 of = l->n_marks;
    int rc = marks_end(l->d, l->marks, l->n_marks) || read_bucket(l, &b, 0);       // without images nothing ran
    for (i64 k = 0; k < of && !rc; k++) {
        if ((rc = exchange_await(l, &b.read)))
            break;
        send_bucket(l, &b, k);
        if (k + 1 < of)
            rc = read_bucket(l, &b, k + 1);
        rc = dist_finish() || rc || sum_bucket(l, &b, k) ? -1 : 0;
    }
    marks_forget(l->marks, l->n_marks);
    rc = rc || (!exchange_sharded(l) && exchange_spread(l, &b, GRADS)) ? -1 : 0;
    arena_close(b.a);
    return rc;
}

int exchange_norm(struct learner *l)
{
    f32 square = 0;
    if (dist_size() == 1 || !exchange_sharded(l))
        return 0;
    if (l->optim.squares->list && mem_read(l->d, l->optim.norm, &square))
        return -1;
    f64 sum = square;
    if (dist_sum(&sum, 1))
        return -1;
    square = (f32)sum;
    return mem_write(l->d, l->optim.norm, &square);
}

int exchange_values(struct learner *l)
{
    if (dist_size() == 1 || !exchange_sharded(l))
        return 0;
    struct buckets b = buckets_open(l);
    int rc = exchange_spread(l, &b, VALUES);
    arena_close(b.a);
    return rc;
}

int exchange_put(struct learner *l, bool second, i64 at, i64 n, f32 *values)
{
    return exchange_move(l, second ? SECONDS : FIRSTS, at, n, values, true);
}

int exchange_start(params *p)
{
    struct learner l = { .d = p->d, .p = p };
    arena *a = arena_open("values");
    i64 all = 0, n;
    f32 *v = arena_array(a, f32, BLOCK);
    int rc = 0;
    for (int k = 0; k < p->n_slabs; k++)
        all += p->slabs[k].count;
    for (i64 at = 0; at < all && dist_size() > 1 && !rc; at += n) {
        n = MIN(BLOCK, all - at);
        rc = (!dist_rank() && exchange_move(&l, VALUES, at, n, v, false)) || dist_broadcast(v, 4 * (u64)n)
             || (dist_rank() && exchange_move(&l, VALUES, at, n, v, true)) ? -1 : 0;
    }
    arena_close(a);
    return rc;
}

int exchange_gather(struct learner *l, bool second, i64 at, i64 n, f32 *out)
{
    enum which which = second ? SECONDS : FIRSTS;
    if (dist_size() == 1 || !exchange_sharded(l))
        return dist_rank() ? 0 : exchange_move(l, which, at, n, out, false);
    arena *a = arena_open("moment");
    f32 *own = arena_array(a, f32, MAX(1, n));
    void **into = arena_array(a, void *, dist_size());
    u64 *bytes = arena_array(a, u64, dist_size());
    i64 mine = 0, length = 0;
    for (int r = 0; r < dist_size(); r++) {
        i64 from, to;
        params_shard(l->p, r, dist_size(), &from, &to);
        from = MAX(from, at), to = MAX(from, MIN(to, at + n));
        into[r] = out ? out + MIN(n, from - at) : NULL;
        bytes[r] = 4 * (u64)(to - from);
        if (r == dist_rank())
            mine = from, length = to - from;
    }
    int rc = exchange_move(l, which, mine, length, own, false) || dist_gather(own, into, bytes) ? -1 : 0;
    arena_close(a);
    return rc;
}
