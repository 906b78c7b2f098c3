/* loader.h: a loader from inside. Private to loader.c and loader_fill.c. */
#ifndef JETCL_DATA_LOADER_H
#define JETCL_DATA_LOADER_H
#include "data/set.h"

enum phase { FREE, LOADING, READY, HELD };
enum { LEAST_SLOTS = 4, MOST_SLOTS = 8, SLOT_MEMORY = 256 << 20, MOST_SUBSTITUTES = 100 };

struct slot {
    struct batch batch;                           /* first: a batch pointer is its slot's */
    enum phase phase;
    i64 number;
    int n, claimed, done;                         /* samples: all, handed out, finished */
    int own;                                      /* the first of them; those after are only mixed with */
    bool *damaged;                                /* samples to leave out */
    struct mix mix;
    i32 *local;                                   /* a share's: room for its places of partners */
    int fault_at;                                 /* first sample that failed, or -1 */
    enum fault fault;
    char message[2048];
};

struct loader {
    arena *a;
    dataset *d;
    struct data_options o;
    int classes, slots, workers, chunk;
    size_t size;                                  /* bytes of an image */
    u8 (*noise)[NOISE_DRAWS];                     /* NULL where nothing is erased */
    struct slot slot[MOST_SLOTS];
    pthread_t *thread;
    pthread_mutex_t lock;
    pthread_cond_t work, ready, idle;
    bool quit;
    int active;                                   /* workers inside a task */
    i64 epoch, scheduled, taken;                  /* next batch number to prepare, to hand out */
    i64 base, end;                                /* samples before batch 0; one past the last batch */
    i32 *order;                                   /* train: the epoch's permutation */
    f64 waited, busy;
    int numbered;                                 /* workers that have begun */
    i64 images;
    bool *skipped;                                /* per sample, reported already */
    const char **messages;
    size_t n_messages, messages_cap;
};

/* ---- loader_fill.c ------------------------------------------------------------------------------------- */

i64  loader_samples(const loader *l);                    /* of an epoch */
i64  loader_first(const loader *l, i64 number);          /* where batch `number` of this loader begins */
i64  loader_room(const loader *l);                       /* most images that a batch holds here */
/* With the lock held: chooses how the slot's batch is mixed and which samples it needs; its work can begin. */
void loader_schedule(loader *l, struct slot *s);
/* Sample k of the slot, without the lock. */
void loader_load(loader *l, struct slot *s, struct worker_space *w, int k);
/* All samples are there. */
void loader_loaded(loader *l, struct slot *s);
#endif
