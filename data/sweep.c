/* sweep.c: every sample of a split, once, on several threads: what verify and stats are made of. */
#include "data/set.h"
#include <openssl/evp.h>
#include <stdlib.h>
#include <unistd.h>

static int sweep_sha256(const void *p, size_t n, u8 hash[32])
{
    bool ok = EVP_Digest(p, n, hash, NULL, EVP_sha256(), NULL) == 1;
    return ok ? 0 : fail(FAULT_RUN, "libcrypto has no SHA-256");
}

int sample_whole(struct worker_space *w, const dataset *d, bool exif, i64 i, struct image *out, u8 hash[32])
{
    char path[4096];
    struct image_info info;
    size_t n;
    if (d->kind->pixels)
        return d->kind->pixels(d, i, w->decoder.a, out)
            || (hash && sweep_sha256(out->rgb, image_bytes(out), hash)) ? -1 : 0;
    if (image_read_file(&w->decoder, data_path(d, i, path), &n)
        || (hash && sweep_sha256(w->decoder.file, n, hash)))
        return -1;
    return image_peek(w->decoder.file, n, exif, &info)
        || image_decode(&w->decoder, w->decoder.file, n, &info, NULL, 0, out) ? -1 : 0;
}

struct shared {
    dataset *d;
    int (*work)(void *context, struct worker_space *w, i64 i);
    void *context;
    const char *label;
    pthread_mutex_t lock;
    i64 next;
    bool *damaged;
    arena *a;
    struct { i64 sample; const char *text; } *bad;
    size_t n_bad, cap_bad;
    bool failed;
    enum fault fault;
    char message[2048];
};

enum { CHUNK = 16 };

/* With the lock held. */
static void sweep_note(struct shared *s, i64 i)
{
    char path[4096], shown[512];
    fail_in("%s", path_shown(shown, data_path(s->d, i, path)));
    if (fail_fault() == FAULT_DATA) {
        *arena_push(s->a, s->bad, s->n_bad, s->cap_bad) =
            (__typeof__(*s->bad)){ i, arena_printf(s->a, "%s", fail_message()) };
    } else if (!s->failed) {
        s->failed = true;
        s->fault = fail_fault();
        snprintf(s->message, sizeof s->message, "%s", fail_message());
    }
    fail_clear();
}

static void *sweep_thread(void *arg)
{
    struct shared *s = arg;
    struct worker_space w = { .decoder.a = arena_open("sweep") };
    char bar[32];
    w.resizer.a = w.decoder.a;
    pthread_mutex_lock(&s->lock);
    while (s->next < data_count(s->d) && !s->failed) {
        i64 from = s->next, to = MIN(from + CHUNK, (i64)data_count(s->d));
        s->next = to;
        pthread_mutex_unlock(&s->lock);
        progress("%s  %ld/%d  %s", s->label, (long)from, data_count(s->d),
                 say_bar(bar, 24, (f64)from / data_count(s->d)));
        for (i64 i = from; i < to; i++)
            if (s->work(s->context, &w, i)) {
                pthread_mutex_lock(&s->lock);
                sweep_note(s, i);
                pthread_mutex_unlock(&s->lock);
            }
        pthread_mutex_lock(&s->lock);
    }
    pthread_mutex_unlock(&s->lock);
    arena_close(w.decoder.a);
    return NULL;
}

static void run_threads(struct shared *s, int workers)
{
    pthread_t thread[64];
    int n = MIN(countof(thread), workers > 0 ? workers : (int)sysconf(_SC_NPROCESSORS_ONLN)), started = 0;
    while (started < n - 1 && !pthread_create(&thread[started], NULL, sweep_thread, s))
        started++;
    sweep_thread(s);
    while (started)
        pthread_join(thread[--started], NULL);
    progress_done();
}

static int sweep_by_sample(const void *a, const void *b)
{
    i64 x = *(const i64 *)a, y = *(const i64 *)b;
    return x < y ? -1 : x > y;
}

int data_sweep(arena *a, dataset *d, int workers, const char *label,
               int (*work)(void *context, struct worker_space *w, i64 i), void *context, struct sweep *out)
{
    struct shared s = { .d = d, .work = work, .context = context, .label = label, .a = a };
    pthread_mutex_init(&s.lock, NULL);
    run_threads(&s, workers);
    pthread_mutex_destroy(&s.lock);
    if (s.failed)
        return fail(s.fault, "%s", s.message);
    *out = (struct sweep){ .damaged = (i64)s.n_bad };
    if (s.n_bad)
        qsort(s.bad, s.n_bad, sizeof *s.bad, sweep_by_sample);
    for (size_t i = 0; i < MIN(s.n_bad, countof(out->messages)); i++)
        out->messages[out->n_messages++] = s.bad[i].text;
    return 0;
}
