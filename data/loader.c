/* loader.c: worker threads fill batches ahead of the consumer. A batch goes round in one of a few slots:
 *
 *     FREE -> LOADING (samples decoded and augmented, any order) -> READY -> HELD -> FREE
 *
 * Workers take the oldest batch first and a few samples of it at a time; who ends the last of them chooses how
 * the batch is mixed. What is in a batch depends on (seed, epoch, batch number) only; the threads decide just
 * when. Bytes and recipes are all that is handed over: see finish.c.
 */
#include "data/loader.h"
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* ---- threads ------------------------------------------------------------------------------------------- */

static struct slot *oldest_with_work(loader *l)
{
    struct slot *best = NULL;
    for (struct slot *s = l->slot; s < l->slot + l->slots; s++)
        if (s->phase == LOADING && s->claimed < s->n && (!best || s->number < best->number))
            best = s;
    return best;
}

static f64 thread_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (f64)t.tv_sec + 1e-9 * (f64)t.tv_nsec;
}

static _Thread_local int worker_number;          /* from 1; 0: a thread that is not a worker */

/* Training's loader works ahead while another one reads for an evaluation. */
static void task_span(const loader *l, const struct slot *s, int images, f64 began)
{
    char track[64], name[64];
    if (!timeline_on())
        return;
    snprintf(track, sizeof track, "data worker %d%s", worker_number, l->o.train ? "" : ", evaluation");
    snprintf(name, sizeof name, "%d images of batch %lld", images, (long long)s->number);
    timeline_span(track, name, "", began, clock_now());
}

/* Called and returns with the lock held; works without it. An epoch that starts meanwhile frees the slot. */
static void run_task(loader *l, struct slot *s, struct worker_space *w)
{
    int from = s->claimed, to = MIN(s->n, from + l->chunk);
    s->claimed = to;
    l->active++;
    pthread_mutex_unlock(&l->lock);
    f64 start = thread_seconds(), began = clock_now();
    for (int k = from; k < to; k++)
        loader_load(l, s, w, k);
    pthread_mutex_lock(&l->lock);
    s->done += to - from;
    bool last = s->phase == LOADING && s->done == s->n;
    if (last && s->fault_at < 0) {
        pthread_mutex_unlock(&l->lock);
        loader_loaded(l, s);
        pthread_mutex_lock(&l->lock);
    }
    task_span(l, s, to - from, began);
    l->busy += thread_seconds() - start;
    l->images += to - from;
    l->active--;
    if (last && s->phase == LOADING) {
        s->phase = READY;
        pthread_cond_broadcast(&l->ready);
    }
}

static void *loader_thread(void *arg)
{
    loader *l = arg;
    crash_own_thread();
    struct worker_space w = { .decoder.a = arena_open("data worker") };
    w.resizer.a = w.decoder.a;
    pthread_mutex_lock(&l->lock);
    worker_number = ++l->numbered;
    while (!l->quit) {
        struct slot *s = oldest_with_work(l);
        if (s)
            run_task(l, s, &w);
        else
            pthread_cond_wait(&l->work, &l->lock);
        if (!l->active)
            pthread_cond_signal(&l->idle);
    }
    pthread_mutex_unlock(&l->lock);
    arena_close(w.decoder.a);
    return NULL;
}

/* Threads leave signals to the program's own. */
static int start_threads(loader *l, int n)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    l->thread = arena_array(l->a, pthread_t, n);
    int rc = 0;
    for (; l->workers < n && !rc; l->workers += !rc)
        rc = pthread_create(&l->thread[l->workers], NULL, loader_thread, l);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return l->workers ? 0 : fail(FAULT_RUN, "cannot start data threads: %s", strerror(rc));
}

/* ---- the consumer's side ------------------------------------------------------------------------------- */

static int slot_memory(loader *l, struct slot *s, size_t n)
{
    struct batch *b = &s->batch;
    b->h = b->w = l->o.image;
    b->noise = l->noise;
    b->pixels = arena_try(l->a, n * l->size + IMAGE_SLACK, 64);
    b->soft_labels = arena_try(l->a, n * (size_t)l->classes * sizeof(f32), 64);
    b->recipes = arena_array(l->a, struct recipe, n);
    b->values = arena_bytes(l->a, sizeof *b->values, 64);
    b->labels = arena_array(l->a, i32, n);
    b->index = arena_array(l->a, i64, n);
    s->damaged = arena_array(l->a, bool, n);
    s->mix.partner = arena_array(l->a, i32, MAX(n, (size_t)l->o.batch));
    s->local = arena_array(l->a, i32, n);
    return b->pixels && b->soft_labels ? 0 : -1;
}

static int check_options(const dataset *d, const struct data_options *o)
{
    if (o->image < 1 || o->image > 8192)
        return fail(FAULT_USAGE, "image size %d is outside 1..8192", o->image);
    if (o->batch < 1 || o->batch > 1 << 20)
        return fail(FAULT_USAGE, "batch %d is outside 1..%d", o->batch, 1 << 20);
    if (o->eval_short && o->eval_short < o->image)
        return fail(FAULT_USAGE, "a short edge of %d is too small to crop %d from", o->eval_short, o->image);
    if (o->shared && !(o->train && o->from >= 0 && o->from <= o->to && o->to <= o->batch))
        return fail(FAULT_USAGE, "a share of images %d to %d of a batch of %d", o->from, o->to, o->batch);
    if (o->train && o->batch > data_count(d))
        return fail(FAULT_USAGE, "a batch of %d is larger than the whole split '%s' of %d images", o->batch,
                    d->split, data_count(d));
    return 0;
}

static int open_slots(loader *l)
{
    l->size = (size_t)l->o.image * (size_t)l->o.image * 3;
    l->slots = (int)MIN(MOST_SLOTS, MAX(LEAST_SLOTS, SLOT_MEMORY / (l->size * (size_t)MAX(1, loader_room(l)))));
    if (l->o.train && l->o.augment.erasing > 0) {
        struct fill fill = fill_of(l->d, &l->o);
        noise_table(&fill, l->noise = arena_bytes(l->a, 3 * NOISE_DRAWS, 64));
    }
    for (int i = 0; i < l->slots; i++)
        if (slot_memory(l, &l->slot[i], (size_t)MAX(1, loader_room(l))))
            return -1;
    l->skipped = arena_array(l->a, bool, data_count(l->d));
    if (l->o.train)
        l->order = arena_array(l->a, i32, data_count(l->d));
    l->taken = l->scheduled = l->end = loader_batches(l);  // nothing to do before loader_start
    int n = l->o.workers > 0 ? l->o.workers : (int)sysconf(_SC_NPROCESSORS_ONLN);
    l->chunk = l->o.image <= 64 ? MAX(1, MIN(16, l->o.batch / (4 * n))) : 1;
    return start_threads(l, MIN(n, 256));
}

loader *loader_open(dataset *d, const struct data_options *o)
{
    if (check_options(d, o))
        return NULL;
    if (d->published && d->listed != d->published)
        warn("%s: split '%s' of %s has %ld images here, %ld as published (see: jetcl data verify)", d->root,
             d->split, d->kind->name, (long)d->listed, (long)d->published);
    arena *a = arena_open("loader");
    loader *l = arena_one(a, loader);
    *l = (loader){ .a = a, .d = d, .o = *o, .classes = data_classes(d) };
    data_mean_std(d, l->o.mean, l->o.std);
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->work, NULL);
    pthread_cond_init(&l->ready, NULL);
    pthread_cond_init(&l->idle, NULL);
    if (open_slots(l)) {
        loader_close(l);
        return NULL;
    }
    return l;
}

void loader_close(loader *l)
{
    if (!l)
        return;
    pthread_mutex_lock(&l->lock);
    l->quit = true;
    pthread_cond_broadcast(&l->work);
    pthread_mutex_unlock(&l->lock);
    for (int i = 0; i < l->workers; i++)
        pthread_join(l->thread[i], NULL);
    pthread_cond_destroy(&l->work);
    pthread_cond_destroy(&l->ready);
    pthread_cond_destroy(&l->idle);
    pthread_mutex_destroy(&l->lock);
    arena_close(l->a);
}

/* Batches first to end, of what comes after `base` samples of the epoch. */
static void start_epoch(loader *l, i64 epoch, i64 base, i64 first, i64 end)
{
    pthread_mutex_lock(&l->lock);
    for (int i = 0; i < l->slots; i++) {
        check(l->slot[i].phase != HELD, "an epoch starts while batch %ld is held", (long)l->slot[i].number);
        l->slot[i].phase = FREE;
    }
    while (l->active)
        pthread_cond_wait(&l->idle, &l->lock);
    l->epoch = epoch;
    l->base = base;
    l->scheduled = l->taken = first;
    l->end = end;
    for (i64 i = 0; l->order && i < data_count(l->d); i++)
        l->order[i] = (i32)i;
    rng r = rng_at(l->o.seed, RNG_SHUFFLE, (u64)epoch, 0);
    if (l->order)
        rng_shuffle(&r, l->order, data_count(l->d));
    for (int i = 0; i < l->slots; i++)
        loader_schedule(l, &l->slot[i]);
    pthread_mutex_unlock(&l->lock);
}

void loader_start(loader *l, i64 epoch, i64 from_batch)
{
    check(from_batch >= 0 && from_batch <= loader_batches(l), "batch %ld of %ld", (long)from_batch,
          (long)loader_batches(l));
    start_epoch(l, epoch, 0, from_batch, loader_batches(l));
}

void loader_start_part(loader *l, i64 from_batch, i64 to_batch)
{
    check(!l->o.train && from_batch >= 0 && from_batch <= to_batch && to_batch <= loader_batches(l),
          "batches %ld to %ld of %ld", (long)from_batch, (long)to_batch, (long)loader_batches(l));
    start_epoch(l, 0, 0, from_batch, to_batch);
}

i64 loader_number(const struct batch *b) { return ((const struct slot *)b)->number; }

void loader_start_at(loader *l, i64 epoch, i64 from)
{
    i64 b = l->o.batch;
    check(l->o.train && !l->o.ranks, "a place in the order of a split that is not trained on");
    start_epoch(l, epoch, from % b, from / b, from / b + MAX(0, loader_samples(l) - from) / b);
}

static struct slot *slot_of(loader *l, i64 number)
{
    for (int i = 0; i < l->slots; i++)
        if (l->slot[i].phase != FREE && l->slot[i].number == number)
            return &l->slot[i];
    check(false, "batch %ld is not under way: more than two batches held?", (long)number);
}

/* Waits for batch l->taken and takes it; NULL at the end. */
static struct slot *loader_take(loader *l)
{
    if (l->taken >= l->end)
        return NULL;
    struct slot *s = slot_of(l, l->taken);
    f64 start = clock_now();
    while (s->phase != READY)
        pthread_cond_wait(&l->ready, &l->lock);
    f64 waited = clock_now() - start;
    trace(TRACE_data, "epoch %ld batch %ld: %d images after %.2f ms, %ld ahead", (long)l->epoch,
          (long)s->number, s->batch.n, 1e3 * waited, (long)(l->scheduled - l->taken - 1));
    l->waited += waited;
    l->taken++;
    s->phase = HELD;
    return s;
}

const struct batch *loader_next(loader *l)
{
    fail_clear();
    pthread_mutex_lock(&l->lock);
    struct slot *s = loader_take(l);
    while (s && s->fault_at < 0 && !s->batch.n && !l->o.shared) {      // every sample of it was skipped
        loader_schedule(l, s);
        s = loader_take(l);
    }
    if (s && s->fault_at >= 0) {
        fail(s->fault, "%s", s->message);
        l->taken = l->scheduled = l->end;
        s->phase = FREE;
        s = NULL;
    }
    pthread_mutex_unlock(&l->lock);
    return s ? &s->batch : NULL;
}

void loader_release(loader *l, const struct batch *b)
{
    struct slot *s = (struct slot *)b;
    pthread_mutex_lock(&l->lock);
    check(s->phase == HELD, "batch %ld was not held", (long)s->number);
    loader_schedule(l, s);
    pthread_mutex_unlock(&l->lock);
}

/* ---- what it did --------------------------------------------------------------------------------------- */

static f64 locked_real(const loader *l, const f64 *v)
{
    pthread_mutex_t *lock = (pthread_mutex_t *)&l->lock;
    pthread_mutex_lock(lock);
    f64 x = *v;
    pthread_mutex_unlock(lock);
    return x;
}

f64 loader_wait_seconds(const loader *l) { return locked_real(l, &l->waited); }
f64 loader_busy_seconds(const loader *l) { return locked_real(l, &l->busy); }

i64 loader_images(const loader *l)
{
    pthread_mutex_lock((pthread_mutex_t *)&l->lock);
    i64 n = l->images;
    pthread_mutex_unlock((pthread_mutex_t *)&l->lock);
    return n;
}

int loader_skipped(const loader *l, const char *const **messages)
{
    pthread_mutex_lock((pthread_mutex_t *)&l->lock);
    int n = (int)l->n_messages;
    *messages = l->messages;
    pthread_mutex_unlock((pthread_mutex_t *)&l->lock);
    return n;
}
