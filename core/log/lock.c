/* lock.c: a folder has one owner. The lock is a file DIR/lock that says who holds it:
 *
 *     jetcl lock 1
 *     HOST PID START BOOT NAMESPACE          who: a number of a process is used again, but not with its start
 *     2026-03-01 12:30:05                    since when
 *
 * It is made under another name and then linked, which succeeds for one process only, on NFS too. An owner of
 * this machine is asked for in /proc; of another machine one sees that it lives: it sets the file's time every
 * BEAT seconds, and one that has not for SILENT seconds is dead. Times of the file server are compared with
 * each other, never with the clock of this machine.
 */
#include "log/files.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { BEAT = 15, SILENT = 150, TRIES = 20 };

struct lock {
    arena          *a;
    const char     *path, *draft;                  /* draft: one that could not be removed, or NULL */
    ino_t           inode;
    pthread_t       thread;
    pthread_mutex_t mutex;
    pthread_cond_t  wake;
    bool            threaded, quit, lost;
};

/* ---- the file ------------------------------------------------------------------------------------------ */

static void lock_me(struct lock_owner *me)
{
    time_t now = time(NULL);
    struct tm tm;
    *me = (struct lock_owner){ .alive = true };
    process_self(&me->who);
    strftime(me->since, sizeof me->since, "%Y-%m-%d %H:%M:%S", localtime_r(&now, &tm));
}

/* 0; 1: no such file; -1: not a lock of this program. An empty one is of a process
 * that is just about to write it. */
static int lock_parse(const char *path, struct lock_owner *o)
{
    char text[512];
    *o = (struct lock_owner){ .who = { "-", "-", "-", 0, 0 }, .since = "a moment" };
    FILE *f = fopen(path, "r");
    if (!f)
        return errno == ENOENT ? 1 : -1;
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = 0;
    struct process *p = &o->who;
    return !n || sscanf(text, "jetcl lock 1\n%64s %ld %llu %63s %63s\n%31[^\n]", p->host, &p->pid, &p->start,
                        p->boot, p->space, o->since) == 6 ? 0 : -1;
}

/* Seconds between two times of one file server. */
static f64 lock_age(const struct stat *then, const struct stat *now)
{
    return (f64)(now->st_mtim.tv_sec - then->st_mtim.tv_sec)
           + 1e-9 * (f64)(now->st_mtim.tv_nsec - then->st_mtim.tv_nsec);
}

/* fresh: a file just made in the folder. */
static bool lock_lives(const struct lock_owner *o, const struct stat *file, const struct stat *fresh)
{
    enum process_state state = process_look(&o->who);
    return state == PROCESS_ELSEWHERE ? lock_age(file, fresh) < SILENT : state == PROCESS_LIVES;
}

/* The file at path, made new with `flag`. 0; 1: it is there already; -1 + fail. */
static int lock_make(const char *path, const struct lock_owner *me, int flag, struct stat *st)
{
    char text[512];
    const struct process *p = &me->who;
    int n = snprintf(text, sizeof text, "jetcl lock 1\n%s %ld %llu %s %s\n%s\n", p->host, p->pid, p->start,
                     p->boot, p->space, me->since);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | flag, 0666);
    bool bad = fd < 0 || write(fd, text, (size_t)n) != n || fsync(fd) || fstat(fd, st);
    int why = errno;
    if (fd >= 0)
        close(fd);
    if (bad && fd >= 0)
        unlink(path);
    if (fd < 0 && why == EEXIST)
        return 1;
    return bad ? fail(FAULT_RUN, "%s: cannot write: %s", path, strerror(why)) : 0;
}

/* Where a lock is written before it is linked. Processes of two machines, or
 * containers, often have one number. */
static const char *lock_draft(arena *a, const char *path, const struct process *me)
{
    return arena_printf(a, "%s.%s.%ld.%llu", path, me->host, me->pid, me->start);
}

/* 0: the lock is ours, the file *st; 1: there is one already; -1 + fail. */
static int lock_link(const char *mine, const char *path, const struct lock_owner *me, struct stat *st)
{
    int rc = lock_make(mine, me, O_TRUNC, st);
    if (rc || !link(mine, path))
        return rc;
    int why = errno;
    if (!stat(mine, st) && st->st_nlink == 2)              // done, but the server's answer was lost
        return 0;
    if (why == EEXIST)
        return 1;
    if (why != EPERM && why != ENOTSUP && why != ENOSYS)
        return fail(FAULT_RUN, "%s: cannot write: %s", path, strerror(why));
    return lock_make(path, me, O_EXCL, st);                // no links here: the next best, empty for a moment
}

/* Removes a dead owner's lock, unless another process was faster: then the file is another one by now. */
static void lock_break(const char *path, const struct lock_owner *dead)
{
    struct stat held, now;
    struct lock_owner o;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return;
    flock(fd, LOCK_EX);                                    // one breaks at a time
    bool same = !fstat(fd, &held) && !stat(path, &now) && held.st_ino == now.st_ino
             && !lock_parse(path, &o) && o.who.pid == dead->who.pid && o.who.start == dead->who.start;
    if (same && !unlink(path))
        warn("%s was left by process %ld on %s of %s, which is gone: taken over", path, dead->who.pid,
             dead->who.host, dead->since);
    close(fd);
}

int lock_look(const char *dir, struct lock_owner *o)
{
    char path[4096];
    struct stat file, fresh;
    struct lock_owner me;
    snprintf(path, sizeof path, "%s/lock", dir);
    *o = (struct lock_owner){ 0 };
    if (stat(path, &file))
        return 1;
    int rc = lock_parse(path, o);
    if (rc)
        return rc > 0 ? 1
                      : fail(FAULT_DATA,
                             "%s: not a lock of this program; remove it if no run uses the folder", path);
    lock_me(&me);
    if (process_look(&o->who) != PROCESS_ELSEWHERE)
        fresh = file;
    else {                                                 // what time is it on the server?
        arena *a = arena_open("time of the server");
        const char *mine = lock_draft(a, path, &me.who);
        if (lock_make(mine, &me, O_TRUNC, &fresh)) {
            fail_clear();
            clock_gettime(CLOCK_REALTIME, &fresh.st_mtim);
        }
        unlink(mine);
        arena_close(a);
    }
    o->alive = lock_lives(o, &file, &fresh);
    return 0;
}

/* ---- holding it ---------------------------------------------------------------------------------------- */

/* Sets the file's time, so that other machines see that the owner lives; and sees whether it is still ours. */
static void *lock_beat(void *arg)
{
    lock *l = arg;
    crash_own_thread();
    struct timespec until;
    struct stat st;
    pthread_mutex_lock(&l->mutex);
    while (!l->quit) {
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += BEAT;
        pthread_cond_timedwait(&l->wake, &l->mutex, &until);
        if (l->quit)
            break;
        l->lost |= !stat(l->path, &st) ? st.st_ino != l->inode : errno == ENOENT;
        if (!l->lost)
            utimensat(AT_FDCWD, l->path, NULL, 0);
    }
    pthread_mutex_unlock(&l->mutex);
    return NULL;
}

static void lock_begin(lock *l)
{
    pthread_condattr_t monotonic;
    sigset_t all, old;
    pthread_mutex_init(&l->mutex, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&l->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    l->threaded = !pthread_create(&l->thread, NULL, lock_beat, l);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static int lock_busy(const char *dir, const struct lock_owner *o)
{
    fail(FAULT_RUN, "%s is in use by process %ld on %s since %s", dir, o->who.pid, o->who.host, o->since);
    return 1;
}

void lock_clear(const char *dir)
{
    struct lock_owner o;
    char path[4096];
    snprintf(path, sizeof path, "%s/lock", dir);
    if (!lock_look(dir, &o) && !o.alive)
        lock_break(path, &o);
    fail_clear();
}

int lock_take(const char *dir, lock **out)
{
    arena *a = arena_open("lock");
    const char *path = arena_printf(a, "%s/lock", dir);
    struct lock_owner me, other;
    struct stat st;
    int rc = 1;
    *out = NULL;
    lock_me(&me);
    const char *mine = lock_draft(a, path, &me.who);
    for (int i = 0; rc == 1 && i < TRIES; i++) {
        if ((rc = lock_link(mine, path, &me, &st)) != 1)
            break;
        int none = lock_look(dir, &other);
        if (none < 0)
            rc = -1;
        else if (!none && other.alive) {
            lock_busy(dir, &other);
            break;
        } else if (!none)
            lock_break(path, &other);
    }
    bool left = unlink(mine) && errno != ENOENT;
    if (rc) {
        arena_close(a);
        return rc;
    }
    lock *l = arena_one(a, lock);
    *l = (lock){ .a = a, .path = path, .draft = left ? mine : NULL, .inode = st.st_ino };
    lock_begin(l);
    file_unfinished(path, true);
    *out = l;
    return 0;
}

bool lock_lost(lock *l)
{
    if (!l)
        return false;
    pthread_mutex_lock(&l->mutex);
    bool lost = l->lost;
    pthread_mutex_unlock(&l->mutex);
    return lost;
}

void lock_drop(lock *l)
{
    if (!l)
        return;
    pthread_mutex_lock(&l->mutex);
    l->quit = true;
    pthread_cond_signal(&l->wake);
    pthread_mutex_unlock(&l->mutex);
    if (l->threaded)
        pthread_join(l->thread, NULL);
    file_unfinished(l->path, false);
    struct stat st;
    if (!l->lost && !stat(l->path, &st) && st.st_ino == l->inode)
        unlink(l->path);
    if (l->draft)
        unlink(l->draft);
    pthread_cond_destroy(&l->wake);
    pthread_mutex_destroy(&l->mutex);
    arena_close(l->a);
}
