/* save.c: a save copies the state into the host's memory, which holds up the next step, and leaves the
 * rest to a thread: hashes, files, links. What it could not write is tried again at the next save; the
 * run ends by it only at its end.
 *
 *     last.state, last.safetensors        replaced one after the other, the state first
 *     epoch_NNNN.state, .safetensors      other names for the two, of the epochs that are kept
 */
#include "train/learner.h"
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

struct saver {
    struct session *e;
    struct learner *l;
    report         *r;                            /* NULL on ranks that do not write */
    const char     *dir;
    struct snapshot copy;
    bool            copies;                       /* there is memory for one */
    arena          *own, *a;                      /* a: of the save that is being written */
    ckpt           *state, *weights;
    i64             epoch, step;
    pthread_t       thread;
    bool            running;
    int             rc;                           /* of the last one */
    f64             begun, held, took;            /* when; seconds it held up the steps, and wrote */
    int             told;
    char            why[1024];
};

saver *saver_open(struct session *e, struct learner *l, report *r)
{
    arena *a = arena_open("saver");
    saver *v = arena_one(a, saver);
    *v = (saver){ .own = a, .e = e, .l = l, .r = r };
    v->dir = r ? arena_printf(a, "%s/ckpt", report_path(r, "")) : "";
    if (dist_size() > 1)                          // the moments of other ranks come while it is written
        return v;
    v->copies = !snapshot_open(&v->copy, l);
    if (!v->copies) {
        say(SAY_NORMAL, "memory for a copy of the state is short: saving holds up the steps until it is "
                        "written");
        fail_clear();
        snapshot_close(&v->copy);
    }
    return v;
}

/* ---- the thread's part ----------------------------------------------------------------------------------- */

/* Another name for what was just saved: the next save replaces last.* and leaves this. */
static int save_as(saver *v, arena *a, const char *kind)
{
    return file_link(arena_printf(a, "%s/last.%s", v->dir, kind),
                     arena_printf(a, "%s/epoch_%04lld.%s", v->dir, (long long)v->epoch, kind));
}

/* epoch_NNNN files beyond keep.last are removed. */
static void forget_old(saver *v, arena *a)
{
    const struct spec *s = &v->e->s;
    i64 newest = v->epoch - (i64)s->keep.last * MAX(1, s->keep.every);
    DIR *d = opendir(v->dir);
    for (struct dirent *e; d && (e = readdir(d));) {
        long long epoch = 0;
        int end = 0;
        if (sscanf(e->d_name, "epoch_%lld.%n", &epoch, &end) == 1 && end && epoch <= newest
            && (!strcmp(e->d_name + end, "state") || !strcmp(e->d_name + end, "safetensors")))
            unlink(arena_printf(a, "%s/%s", v->dir, e->d_name));
    }
    if (d)
        closedir(d);
}

/* The epoch's own names, where it is one that is kept. */
static int save_epoch(saver *v, arena *a)
{
    const struct spec *s = &v->e->s;
    if (v->epoch && s->keep.last && ((s->keep.states && save_as(v, a, "state"))
                                     || save_as(v, a, "safetensors")))
        return -1;
    if (v->epoch)
        forget_old(v, a);
    return 0;
}

static int save_files(saver *v, arena *a)
{
    if (ckpt_seal(v->state) || ckpt_save(v->state, arena_printf(a, "%s/last.state", v->dir))
        || ckpt_save(v->weights, arena_printf(a, "%s/last.safetensors", v->dir)))
        return -1;
    return save_epoch(v, a);
}

static void *save_thread(void *arg)
{
    saver *v = arg;
    crash_own_thread();
    f64 start = clock_now();
    arena *a = arena_open("saving");
    v->rc = save_files(v, a);
    snprintf(v->why, sizeof v->why, "%s", v->rc ? fail_message() : "");
    v->took = clock_now() - start;
    timeline_span("saving", "write files", v->dir, start, start + v->took);
    arena_close(a);
    return NULL;
}

/* ---- the loop's part ------------------------------------------------------------------------------------- */

/* Waits for the thread and clears up after it; keeps what it said. */
static void save_wait(saver *v)
{
    if (v->running)
        pthread_join(v->thread, NULL);
    v->running = false;
    if (!v->state)
        return;
    if (!v->rc) {
        stop_kept();
        report_saved(v->r, v->held, v->took);
        say(v->told++ ? SAY_VERBOSE : SAY_NORMAL, "saved after step %lld: the steps waited %.0f ms, written "
                                                  "in %.2f s",
            (long long)v->step, 1e3 * v->held, v->took);
    }
    ckpt_close(v->state);
    ckpt_close(v->weights);
    v->state = v->weights = NULL;
    arena_close(v->a);
    v->a = NULL;
}

/* The weights out of the state that was just written. */
static int save_weights_again(const saver *v, const char *state, arena *a)
{
    ckpt *from = ckpt_open(state), *c = from ? session_ckpt(v->e, a) : NULL;
    if (c)
        state_weights(from, v->l, c, a);
    int rc = c ? ckpt_save(c, arena_printf(a, "%s/last.safetensors", v->dir)) : -1;
    ckpt_close(c);
    ckpt_close(from);
    return rc;
}

/* Said at the next save, or an error at the end. */
static int save_failed(saver *v)
{
    v->rc = -1;
    snprintf(v->why, sizeof v->why, "%s", fail_message());
    fail_clear();
    return 0;
}

/* Without memory for a copy, or with several ranks: everything from the device, at once. Together. */
static int save_at_once(saver *v, const struct position *at, arena *a)
{
    const char *state = arena_printf(a, "%s/last.state", v->dir);
    v->rc = state_save(state, v->l, at);
    int rc = v->rc || (v->r && (save_weights_again(v, state, a) || save_epoch(v, a) || report_flush(v->r)))
             ? -1 : 0;
    v->rc = dist_agree(rc);
    if (v->rc)
        return save_failed(v);
    stop_kept();
    fail_clear();
    if (v->r)
        report_saved(v->r, clock_now() - v->begun, 0);
    return 0;
}

static int save_copied(saver *v, const struct position *at, arena *a)
{
    sigset_t all, old;
    if (snapshot_take(&v->copy, v->l) || !(v->state = state_ckpt(v->l, at, &v->copy, a))) {
        arena_close(a);
        return -1;
    }
    v->a = a;
    v->weights = session_ckpt(v->e, a);
    snapshot_weights(&v->copy, v->l, v->weights);
    v->held = clock_now() - v->begun;
    timeline_span("training", "copy what is saved", "", v->begun, v->begun + v->held);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    v->running = !pthread_create(&v->thread, NULL, save_thread, v);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (!v->running) {                            // no thread to be had: here, then
        save_thread(v);
        fail_clear();                             // it is in v->why
    }
    return 0;
}

int saver_start(saver *v, const struct position *at, i64 epoch)
{
    v->begun = clock_now();
    save_wait(v);                                 // where the disk is slower than saves follow one another
    if (v->rc)
        warn("cannot save: %s; the run continues, and tries again", v->why);
    v->rc = 0;
    v->epoch = epoch;
    v->step = at->step;
    if (v->copies && report_flush(v->r))          // a state must not be ahead of the metrics
        return save_failed(v);
    arena *a = arena_open("what is saved");
    if (v->copies)
        return save_copied(v, at, a);
    int rc = save_at_once(v, at, a);
    arena_close(a);
    return rc;
}

bool saver_lacks(const saver *v, i64 epoch)
{
    static const char *const kinds[] = { "safetensors", "state" };
    bool lacks = false;
    for (int i = 0; i < 1 + v->e->s.keep.states && v->e->s.keep.last; i++)
        lacks |= !file_exists(arena_printf(v->own, "%s/epoch_%04lld.%s", v->dir, (long long)epoch, kinds[i]));
    return lacks;
}

int saver_finish(saver *v)
{
    save_wait(v);
    return v->rc ? fail(FAULT_RUN, "%s", v->why) : 0;
}

void saver_close(saver *v)
{
    if (!v)
        return;
    save_wait(v);
    if (v->copies)
        snapshot_close(&v->copy);
    arena_close(v->own);
}

/* ---- room ------------------------------------------------------------------------------------------------ */

int saver_room(const struct session *e, const char *dir)
{
    const struct spec *s = &e->s;
    struct statvfs fs;
    char need[24], have[24];
    u64 weights = params_bytes(e->p, PARAMS_FORWARD), state = weights * (s->train.ema > 0 ? 4 : 3);
    u64 epochs = s->keep.every ? MIN((u64)s->keep.last, (u64)(s->train.epochs / s->keep.every)) : 0;
    u64 both = weights + state, kept = epochs * (weights + (s->keep.states ? state : 0));
    u64 all = 2 * both + kept + (s->keep.best ? 2 * weights : 0);  // twice: old files stay until new are whole
    if (statvfs(dir, &fs))
        return 0;
    u64 room = (u64)fs.f_bavail * fs.f_frsize;
    return room >= all ? 0 : fail(FAULT_RUN, "%s: the run will keep %s there (keep.every, keep.last, "
                                  "keep.states), and %s are free", dir, text_bytes(need, (f64)all),
                                  text_bytes(have, (f64)room));
}
