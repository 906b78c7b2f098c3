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

void exchange_share(const struct spec *s, int *from, int *to)
{
    i64 a, b;
    bool given = s->dist.shares.n == dist_size() && !shares_auto(s);
    share_of(s->train.batch, dist_rank(), dist_size(), given ? s->dist.shares.v : NULL, &a, &b);
    *from = (int)a;
    *to = (int)b;
}

u64 exchange_bytes(u64 weight_bytes, int ranks) { return 2 * weight_bytes / (u64)ranks * (u64)(ranks - 1); }

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

/* Host memory of a bucket of every rank, two of them going out and one coming in, for a device with memory of
 * its own. `part` says where the ranks' parts of the two lie: here, or in memory that the device has lent. */
struct lent { range r; void *p; };
struct buckets {
    arena *a;
    f32 *out[2], *in, **part[2];
    struct dist_pair *with;
    i64 size;
    struct mark read;
    struct lent *lent;
    size_t n_lent, cap_lent;
};

static struct buckets buckets_open(const struct learner *l)
{
    struct buckets b = { arena_open("buckets") };
    for (int r = 0; r < dist_size(); r++) {
        i64 at, n;
        bucket_of(l, r, 0, &at, &n);
        b.size = MAX(b.size, n);
    }
    for (int i = 0; i < 2; i++) {
        b.out[i] = arena_array(b.a, f32, b.size * dist_size());
        b.part[i] = arena_array(b.a, f32 *, dist_size());
    }
    b.in = arena_array(b.a, f32, b.size * dist_size());
    b.with = arena_array(b.a, struct dist_pair, dist_size());
    return b;
}

/* What was lent, back to the device. */
static int buckets_return(struct learner *l, struct buckets *b)
{
    int rc = 0;
    while (b->n_lent) {
        struct lent *x = &b->lent[--b->n_lent];
        rc = mem_return(l->d, x->r, x->p) || rc ? -1 : 0;
    }
    return rc;
}

static int buckets_close(struct learner *l, struct buckets *b, int rc)
{
    rc = buckets_return(l, b) || rc ? -1 : 0;
    arena_close(b->a);
    return rc;
}

/* *p becomes the device's own memory of these elements, where it is the host's and they lie in one slab, until
 * buckets_return(); else it stays. */
static int bucket_lend(struct learner *l, struct buckets *b, enum slab_row row, i64 at, i64 n, bool write,
                       const struct mark *mark, f32 **p)
{
    range r = slabs_range(l, row, at, n);
    void *lent;
    if (!dev_lends(l->d) || !r.bytes)
        return 0;
    if (mem_lend(l->d, mark, r, write, &lent))
        return -1;
    *arena_push(b->a, b->lent, b->n_lent, b->cap_lent) = (struct lent){ r, lent };
    *p = lent;
    return 0;
}

/* Each rank's part of a bucket, from the device, as soon as it is computed. */
static int read_bucket(struct learner *l, struct buckets *b, i64 number)
{
    const struct mark *mark = &l->marks[number];
    for (int r = 0; r < dist_size(); r++) {
        i64 at, n;
        bucket_of(l, r, number, &at, &n);
        f32 *copy = b->out[number % 2] + r * b->size, *to = copy;
        if (bucket_lend(l, b, SLAB_GRADS, at, n, r == dist_rank(), mark, &to) ||
            (to == copy && slabs_copy(l, SLAB_GRADS, at, n, to, SLAB_READ_AT, mark)))
            return -1;
        b->part[number % 2][r] = to;
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
        b->with[r] = (struct dist_pair){ b->part[number % 2][r], 4 * (u64)n, b->in + r * b->size,
                                         4 * (u64)own };
    }
    dist_start(b->with);
}

/* The length of whole blocks is known, so that compilers take vectors. */
static void bucket_add(f32 *restrict sum, const f32 *restrict x, i64 n)
{
    if (n == SUMMED)
        for (int i = 0; i < SUMMED; i++)
            sum[i] += x[i];
    else
        for (i64 i = 0; i < n; i++)
            sum[i] += x[i];
}

/* This rank's part of a bucket: the sum, in the order of the ranks. */
static int sum_bucket(struct learner *l, struct buckets *b, i64 number)
{
    i64 at, n;
    bucket_of(l, dist_rank(), number, &at, &n);
    f32 *own = b->part[number % 2][dist_rank()];
    bool copied = own == b->out[number % 2] + dist_rank() * b->size;
    for (i64 from = 0; from < n; from += SUMMED) {
        f32 sum[SUMMED];
        i64 part = MIN(n - from, SUMMED);
        for (int r = 0; r < dist_size(); r++) {
            const f32 *x = (r == dist_rank() ? own : b->in + r * b->size) + from;
            if (r)
                bucket_add(sum, x, part);
            else
                memcpy(sum, x, sizeof *sum * (size_t)part);
        }
        memcpy(own + from, sum, sizeof *sum * (size_t)part);
    }
    return copied ? slabs_copy(l, SLAB_GRADS, at, n, own, SLAB_WRITE_BESIDE, NULL) : 0;
}

/* Bucket k of what each rank has of its shard, to all. */
static int spread_bucket(struct learner *l, struct buckets *b, enum slab_row row, i64 k)
{
    i64 at, own, n;
    f32 *out = b->out[0];
    bucket_of(l, dist_rank(), k, &at, &own);
    if (bucket_lend(l, b, row, at, own, false, NULL, &out) ||
        (out == b->out[0] && slabs_copy(l, row, at, own, out, SLAB_READ, NULL)))
        return -1;
    for (int r = 0; r < dist_size(); r++) {
        f32 **in = &b->part[0][r];
        bucket_of(l, r, k, &at, &n);
        *in = b->in + r * b->size;
        if (r != dist_rank() && bucket_lend(l, b, row, at, n, true, NULL, in))
            return -1;
        b->with[r] = (struct dist_pair){ out, 4 * (u64)own, *in, 4 * (u64)n };
    }
    if (dist_start(b->with) || dist_finish())
        return -1;
    for (int r = 0; r < dist_size(); r++) {
        bucket_of(l, r, k, &at, &n);
        f32 *copy = b->in + r * b->size;
        if (r != dist_rank() && b->part[0][r] == copy && slabs_copy(l, row, at, n, copy, SLAB_WRITE, NULL))
            return -1;
    }
    return 0;
}

static int exchange_spread(struct learner *l, struct buckets *b, enum slab_row row)
{
    int rc = 0;
    for (i64 k = 0, of = bucket_count(l); k < of && !rc; k++)
        rc = spread_bucket(l, b, row, k);
    return rc;
}

/* ---- a step -------------------------------------------------------------------------------------------- */

static bool exchange_sharded(const struct learner *l) { return l->p->shards > 1; }

int exchange_put_gradients(struct learner *l, i64 at, i64 n, f32 *values)
{
    return slabs_copy(l, SLAB_GRADS, at, n, values, SLAB_WRITE, NULL);
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
    rc = rc || buckets_return(l, &b) || (!exchange_sharded(l) && exchange_spread(l, &b, SLAB_GRADS)) ? -1 : 0;
    return buckets_close(l, &b, rc);
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
    return buckets_close(l, &b, exchange_spread(l, &b, SLAB_VALUES));
}

int exchange_put(struct learner *l, bool second, i64 at, i64 n, f32 *values)
{
    return slabs_copy(l, second ? SLAB_SECONDS : SLAB_FIRSTS, at, n, values, SLAB_WRITE, NULL);
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
        rc = (!dist_rank() && slabs_copy(&l, SLAB_VALUES, at, n, v, SLAB_READ, NULL))
             || dist_broadcast(v, 4 * (u64)n)
             || (dist_rank() && slabs_copy(&l, SLAB_VALUES, at, n, v, SLAB_WRITE, NULL)) ? -1 : 0;
    }
    arena_close(a);
    return rc;
}

int exchange_gather(struct learner *l, bool second, i64 at, i64 n, f32 *out)
{
    enum slab_row row = second ? SLAB_SECONDS : SLAB_FIRSTS;
    if (dist_size() == 1 || !exchange_sharded(l))
        return dist_rank() ? 0 : slabs_copy(l, row, at, n, out, SLAB_READ, NULL);
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
    int rc = slabs_copy(l, row, mine, length, own, SLAB_READ, NULL) || dist_gather(own, into, bytes) ? -1 : 0;
    arena_close(a);
    return rc;
}
