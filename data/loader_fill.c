/* loader_fill.c: what is in a batch: its samples, those of other shares that they are mixed with, and what
 * becomes of damaged ones. A function of (seed, epoch, batch number) only. */
#include "data/loader.h"
#include <stdlib.h>

i64 loader_samples(const loader *l)
{
    i64 n = data_count(l->d);
    return l->o.train || !l->o.limit ? n : MIN(n, l->o.limit);
}

i64 loader_place(const loader *l, i64 number, i64 *of)
{
    i64 n = loader_samples(l), b = l->o.batch;
    *of = l->o.train ? n / b : CEIL_DIV(n, b);
    return l->o.ranks ? number * l->o.ranks + l->o.rank : number;
}

i64 loader_batches(const loader *l)
{
    i64 all;
    loader_place(l, 0, &all);
    return l->o.ranks ? MAX(0, CEIL_DIV(all - l->o.rank, l->o.ranks)) : all;
}

/* Where batch `number` of this loader begins. */
i64 loader_first(const loader *l, i64 number)
{
    i64 all;
    return l->base + loader_place(l, number, &all) * l->o.batch;
}

/* Most images that a batch holds here: a share's own, and as many that they may be mixed with. */
i64 loader_room(const loader *l) { return l->o.shared ? 2 * (i64)(l->o.to - l->o.from) : l->o.batch; }

/* ---- filling a slot ------------------------------------------------------------------------------------ */

static i64 sample_of(const loader *l, i64 position)
{
    if (l->order)
        return l->order[position];
    return l->o.spread ? position * data_count(l->d) / loader_samples(l) : position;
}

/* How the batch is mixed, and from then on which samples are needed here and where each lies: a share's own,
 * then those of other shares that they are mixed with. mix.partner becomes places in the slot. */
static void choose_samples(loader *l, struct slot *s)
{
    static const struct augment_options none;
    i64 first = loader_first(l, s->number);
    int all = (int)MIN(l->o.batch, loader_samples(l) - first), from = l->o.shared ? l->o.from : 0;
    s->own = s->n = l->o.shared ? l->o.to - from : all;
    for (int k = 0; k < s->own; k++)
        s->batch.index[k] = sample_of(l, first + from + k);
    if (l->o.train)
        mix_choose(&s->mix, &l->o.augment, l->o.seed, l->epoch, s->number, all, l->o.image);
    else
        mix_choose(&s->mix, &none, 0, 0, 0, all, l->o.image);
    for (int k = 0; k < s->own && l->o.shared; k++) {
        int partner = s->mix.partner[from + k];
        bool here = partner >= from && partner < l->o.to;
        if (!here)
            s->batch.index[s->n] = sample_of(l, first + partner);
        s->local[k] = here ? partner - from : s->n++;
    }
    if (l->o.shared)
        memcpy(s->mix.partner, s->local, sizeof *s->local * (size_t)s->own);
}

void loader_schedule(loader *l, struct slot *s)
{
    s->phase = FREE;
    if (l->scheduled >= l->end)
        return;
    s->number = l->scheduled++;
    choose_samples(l, s);
    s->batch.n = s->n;
    s->claimed = s->done = 0;
    s->fault_at = -1;
    s->phase = s->n ? LOADING : READY;
    pthread_cond_broadcast(&l->work);
}

static void note_skipped(loader *l, i64 i)
{
    pthread_mutex_lock(&l->lock);
    if (!l->skipped[i]) {
        l->skipped[i] = true;
        *arena_push(l->a, l->messages, l->n_messages, l->messages_cap) =
            arena_printf(l->a, "%s", fail_message());
        warn("skipped: %s", fail_message());
    }
    pthread_mutex_unlock(&l->lock);
    fail_clear();
}

static int loader_prepare(loader *l, struct worker_space *w, i64 i, u8 *to, struct erasing *e)
{
    char path[4096], shown[512];
    if (!sample_prepare(w, l->d, &l->o, l->epoch, i, to, e))
        return 0;
    return fail_in("%s", path_shown(shown, data_path(l->d, i, path)));
}

/* Sample k of the slot. A damaged file that may be skipped gives way to the next sample in training, and
 * leaves a gap in evaluation. */
void loader_load(loader *l, struct slot *s, struct worker_space *w, int k)
{
    u8 *to = s->batch.pixels + (size_t)k * l->size;
    s->damaged[k] = false;
    for (int tries = 1;; tries++) {
        if (!loader_prepare(l, w, s->batch.index[k], to, &s->batch.recipes[k].own))
            return;
        if (!l->o.skip_errors || fail_fault() != FAULT_DATA)
            break;
        if (tries == MOST_SUBSTITUTES) {
            fail_in("%d damaged samples in a row, the last", tries);
            break;
        }
        note_skipped(l, s->batch.index[k]);
        s->damaged[k] = !l->o.train;
        if (!l->o.train)
            return;
        s->batch.index[k] = (s->batch.index[k] + 1) % data_count(l->d);
    }
    pthread_mutex_lock(&l->lock);
    if (s->fault_at < 0 || k < s->fault_at) {
        s->fault_at = k;
        s->fault = fail_fault();
        snprintf(s->message, sizeof s->message, "%s", fail_message());
    }
    pthread_mutex_unlock(&l->lock);
}

/* Closes the gap that damaged samples leave. */
static void close_gaps(loader *l, struct batch *b, const bool *damaged)
{
    int n = 0;
    for (int k = 0; k < b->n; k++) {
        if (damaged[k])
            continue;
        if (n < k) {
            memcpy(b->pixels + (size_t)n * l->size, b->pixels + (size_t)k * l->size, l->size);
            b->recipes[n] = b->recipes[k];
            b->index[n] = b->index[k];
        }
        b->labels[n] = data_label(l->d, b->index[n]);
        n++;
    }
    b->n = n;
}

/* All samples are there. */
void loader_loaded(loader *l, struct slot *s)
{
    struct batch *b = &s->batch;
    close_gaps(l, b, s->damaged);
    b->n = MIN(b->n, s->own);
    mix_batch(&s->mix, b, l->classes, l->o.mean, l->o.std);
}
