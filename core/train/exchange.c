/* exchange.c: a step over several ranks. Parameters lie in slabs; seen as one row of elements they are cut into
 * one shard per rank. Gradients go to the rank whose shard they are in, which adds them up in the order of the
 * ranks; what it makes of its parameters goes to all:
 *
 *     gradients of rank 0   [ a | b | c ] --.        rank 0:  a0 + a1 + a2 -> AdamW -> a'  --.
 *     gradients of rank 1   [ a | b | c ] ---+-->    rank 1:  b0 + b1 + b2 -> AdamW -> b'  ---+--> [ a'| b'| c']
 *     gradients of rank 2   [ a | b | c ] --'        rank 2:  c0 + c1 + c2 -> AdamW -> c'  --'
 *
 * in buckets, the next of which is read from the device while one is under way. A rank sends 2 (n - 1) / n
 * times the parameters per step (Rajbhandari et al. 2020, the first two stages of ZeRO). */
#include "train/learner.h"
#include <math.h>

enum { BUCKET = 1 << 20 };                        /* elements of each shard that go at a time */
enum which { VALUES, GRADS, FIRSTS, SECONDS };

void exchange_share(const struct spec *s, int *from, int *to)
{
    i64 a, b;
    bool given = s->dist.shares.n == dist_size();
    share_of(s->train.batch, dist_rank(), dist_size(), given ? s->dist.shares.v : NULL, &a, &b);
    *from = (int)a;
    *to = (int)b;
}

u64 exchange_bytes(u64 weight_bytes, int ranks) { return 2 * weight_bytes / (u64)ranks * (u64)(ranks - 1); }

/* ---- between device and host --------------------------------------------------------------------------- */

/* Elements [at, at + n) of all slabs in a row, from the device or to it. Of moments only what lies here. */
static int exchange_move(struct learner *l, enum which which, i64 at, i64 n, f32 *host, bool write)
{
    i64 slab = 0;
    for (int k = 0; k < l->p->n_slabs; slab += l->p->slabs[k++].count) {
        const struct param_slab *b = &l->p->slabs[k];
        range whole = which == VALUES ? b->value : which == GRADS ? b->grad : which == FIRSTS ? b->m : b->v;
        i64 begin = slab + (which >= FIRSTS ? b->first : 0), end = begin + (which >= FIRSTS ? b->owned : b->count);
        i64 from = MAX(at, begin), to = MIN(at + n, end);
        if (from >= to)
            continue;
        range r = { whole.mem, whole.off + 4 * (u64)(from - begin), 4 * (u64)(to - from) };
        if (write ? mem_write(l->d, r, host + (from - at)) : mem_read(l->d, r, host + (from - at)))
            return -1;
    }
    return 0;
}

/* ---- buckets ------------------------------------------------------------------------------------------- */

/* Bucket `number` of rank r's shard: elements [*at, *at + *n). */
static void bucket_of(const struct learner *l, int r, i64 number, i64 *at, i64 *n)
{
    i64 from, to;
    params_shard(l->p, r, dist_size(), &from, &to);
    *at = MIN(to, from + number * BUCKET);
    *n = MIN(to - *at, BUCKET);
}

static i64 bucket_count(const struct learner *l)
{
    i64 most = 0;
    for (int r = 0; r < dist_size(); r++) {
        i64 from, to;
        params_shard(l->p, r, dist_size(), &from, &to);
        most = MAX(most, CEIL_DIV(to - from, (i64)BUCKET));
    }
    return most;
}

/* Host memory of a bucket of every rank, two of them going out and one coming in. */
struct buckets { arena *a; f32 *out[2], *in; struct dist_pair *with; i64 size; };

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

/* Everybody's part of a bucket, from the device. */
static int read_bucket(struct learner *l, struct buckets *b, i64 number)
{
    for (int r = 0; r < dist_size(); r++) {
        i64 at, n;
        bucket_of(l, r, number, &at, &n);
        if (exchange_move(l, GRADS, at, n, b->out[number % 2] + r * b->size, false))
            return -1;
    }
    return 0;
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

/* The own part of a bucket: the sum, in the order of the ranks. */
static int sum_bucket(struct learner *l, struct buckets *b, i64 number)
{
    i64 at, n;
    bucket_of(l, dist_rank(), number, &at, &n);
    f32 *sum = b->in, *own = b->out[number % 2] + dist_rank() * b->size;
    for (int r = 0; r < dist_size(); r++) {
        const f32 *x = r == dist_rank() ? own : b->in + r * b->size;
        for (i64 i = 0; i < n; i++)
            sum[i] = r ? sum[i] + x[i] : x[i];
    }
    return exchange_move(l, GRADS, at, n, sum, true);
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

int exchange_gradients(struct learner *l)
{
    if (dist_size() == 1)
        return 0;
    struct buckets b = buckets_open(l);
    i64 of = bucket_count(l);
    int rc = read_bucket(l, &b, 0);
    for (i64 k = 0; k < of && !rc; k++) {
        send_bucket(l, &b, k);
        if (k + 1 < of)
            rc = read_bucket(l, &b, k + 1);
        rc = dist_finish() || rc || sum_bucket(l, &b, k) ? -1 : 0;
    }
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
    f32 *v = arena_array(a, f32, BUCKET);
    int rc = 0;
    for (int k = 0; k < p->n_slabs; k++)
        all += p->slabs[k].count;
    for (i64 at = 0; at < all && dist_size() > 1 && !rc; at += n) {
        n = MIN(BUCKET, all - at);
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
