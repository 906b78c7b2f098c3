/* file.c: whole files, read by mapping and replaced atomically. */
#include "base/base.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- what is mapped, and what is half written ------------------------------------------------------------ */

/* Read in a signal handler, so the array must not move. Maps beyond this number are not recorded. */
static struct { const u8 *volatile p; u64 n; char path[1024]; } maps[64];
static struct { char path[4200]; dev_t device; ino_t inode; } unfinished[64];
static pthread_mutex_t lists = PTHREAD_MUTEX_INITIALIZER;

static void map_note(const struct file_map *m, const char *path)
{
    pthread_mutex_lock(&lists);
    for (int i = 0; i < countof(maps); i++)
        if (!maps[i].p) {
            snprintf(maps[i].path, sizeof maps[i].path, "%s", path);
            maps[i].n = m->n;
            maps[i].p = m->p;
            break;
        }
    pthread_mutex_unlock(&lists);
}

static void map_forget(const struct file_map *m)
{
    pthread_mutex_lock(&lists);
    for (int i = 0; i < countof(maps); i++)
        if (maps[i].p == m->p)
            maps[i].p = NULL;
    pthread_mutex_unlock(&lists);
}

const char *file_mapped_at(const void *p)
{
    for (int i = 0; i < countof(maps); i++)
        if (maps[i].p && (uintptr_t)p - (uintptr_t)maps[i].p < ROUND_UP(maps[i].n, (u64)4096))
            return maps[i].path;
    return NULL;
}

void file_unfinished(const char *path, bool yes)
{
    struct stat st;
    if (yes && stat(path, &st))
        return;
    pthread_mutex_lock(&lists);
    for (int i = 0; i < countof(unfinished); i++)
        if (yes ? !unfinished[i].path[0] : !strcmp(unfinished[i].path, path)) {
            unfinished[i].device = yes ? st.st_dev : 0;
            unfinished[i].inode = yes ? st.st_ino : 0;
            snprintf(unfinished[i].path, sizeof unfinished[i].path, "%s", yes ? path : "");
            break;
        }
    pthread_mutex_unlock(&lists);
}

void file_drop_unfinished(void)
{
    struct stat st;
    for (int i = 0; i < countof(unfinished); i++)      // without the mutex: also where a fault ends the program
        if (unfinished[i].path[0] && !stat(unfinished[i].path, &st) && st.st_dev == unfinished[i].device
            && st.st_ino == unfinished[i].inode)    // else it is another process's: a lock that was taken over
            unlink(unfinished[i].path);
}

/* ---- reading --------------------------------------------------------------------------------------------- */

/* A file that cannot be opened for want of memory or descriptors is not a wrong one. */
static enum fault file_fault(int err)
{
    return err == ENOMEM || err == EMFILE || err == ENFILE ? FAULT_RUN : FAULT_DATA;
}

int file_map(const char *path, struct file_map *m)
{
    *m = (struct file_map){ 0 };
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), rc = -1;       // opening a FIFO must not block
    struct stat st;
    if (fd < 0 || fstat(fd, &st)) {
        fail(file_fault(errno), "%s: %s", path, strerror(errno));
        goto done;
    }
    if (!S_ISREG(st.st_mode)) {
        fail(FAULT_DATA, "%s: not a regular file", path);
        goto done;
    }
    rc = 0;
    if (!st.st_size)
        goto done;
    void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED)
        rc = fail(file_fault(errno), "%s: cannot map: %s", path, strerror(errno));
    else
        *m = (struct file_map){ p, (u64)st.st_size };
    if (m->p)
        map_note(m, path);
done:
    if (fd >= 0)
        close(fd);
    return rc;
}

void file_unmap(struct file_map *m)
{
    if (m->p) {
        map_forget(m);
        munmap((void *)m->p, m->n);
    }
    *m = (struct file_map){ 0 };
}

static void file_advise(const struct file_map *m, const void *p, u64 n, int advice)
{
    u64 page = (u64)sysconf(_SC_PAGESIZE), at = (u64)((uintptr_t)p - (uintptr_t)m->p);
    if (at >= m->n)                                         // not in this map
        return;
    u64 from = at / page * page, to = ROUND_UP(at + MIN(n, m->n - at), page);
    madvise((u8 *)m->p + from, to - from, advice);
}

void file_expect(const struct file_map *m, const void *p, u64 n) { file_advise(m, p, n, MADV_WILLNEED); }
/* A private map that is never written: the file still has what is dropped. */
void file_forget(const struct file_map *m, const void *p, u64 n) { file_advise(m, p, n, MADV_DONTNEED); }

char *file_text(arena *a, const char *path, size_t *n)
{
    struct file_map m;
    if (file_map(path, &m))
        return NULL;
    char *text = arena_copy(a, m.p, m.n);
    if (n)
        *n = m.n;
    file_unmap(&m);
    return text;
}

bool file_exists(const char *path) { return access(path, F_OK) == 0; }

int file_mkdirs(const char *path)
{
    char p[4096];
    if (snprintf(p, sizeof p, "%s", path) >= (int)sizeof p)
        return fail(FAULT_RUN, "path too long: %zu bytes: %.80s...", strlen(path), path);
    for (char *s = p + 1;; s++) {
        if (*s && *s != '/')
            continue;
        char c = *s;
        *s = 0;
        struct stat st;
        int why = mkdir(p, 0777) ? errno : 0;
        if (why && (stat(p, &st) || !S_ISDIR(st.st_mode)))
            return fail(FAULT_RUN, "%s: cannot make the folder: %s", p, strerror(why));
        if (!c)
            return 0;
        *s = c;
    }
}

/* A device or a pipe would be renamed away. */
static int file_replaceable(const char *path)
{
    struct stat st;
    if (stat(path, &st) || S_ISREG(st.st_mode))
        return 0;
    return fail(FAULT_RUN, "%s: cannot write: %s", path,
                S_ISDIR(st.st_mode) ? strerror(EISDIR) : "not a regular file");
}

int file_can_save(const char *path)
{
    char dir[4096];
    const char *slash = strrchr(path, '/');
    snprintf(dir, sizeof dir, "%.*s", slash ? MAX((int)(slash - path), 1) : 1, slash ? path : ".");
    if (access(dir, W_OK | X_OK))
        return fail(FAULT_RUN, "%s: cannot write: %s", path, strerror(errno));
    return file_replaceable(path);
}

int file_can_replace(const char *path, const char *suffix)
{
    if (file_can_save(path))
        return -1;
    if (file_exists(path) && !text_ends(path, suffix))
        return fail(FAULT_USAGE, "%s is there already and does not end in %s: not replaced", path, suffix);
    return 0;
}

bool file_is_folder(const char *path)
{
    struct stat st;
    return !stat(path, &st) && S_ISDIR(st.st_mode);
}

bool file_same(const char *a, const char *b)
{
    struct stat x, y;
    return !stat(a, &x) && !stat(b, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* path, or the folder that those above it would be made in. */
static void file_nearest(const char *path, char p[4096])
{
    struct stat st;
    snprintf(p, 4096, "%s", *path ? path : ".");
    while (stat(p, &st) && errno == ENOENT) {
        char *slash = strrchr(p, '/');
        snprintf(p, 4096, "%.*s", slash ? MAX((int)(slash - p), 1) : 1, slash ? path : ".");
    }
}

bool file_inside(const char *path, const char *folder)
{
    char p[4096], real[PATH_MAX], inside[PATH_MAX];
    file_nearest(path, p);
    if (!realpath(p, real) || !realpath(folder, inside))
        return false;
    size_t n = strlen(inside);
    return !strncmp(real, inside, n) && (n == 1 || !real[n] || real[n] == '/');
}

int file_can_fill(const char *dir)
{
    char p[4096];
    struct stat st;
    file_nearest(dir, p);
    int why = stat(p, &st) ? errno : !S_ISDIR(st.st_mode) ? ENOTDIR : access(p, W_OK | X_OK) ? errno : 0;
    return why ? fail(FAULT_RUN, "%s: cannot write: %s", p, strerror(why)) : 0;
}

int file_begin(struct file_out *o, const char *path)
{
    *o = (struct file_out){ .path = path };
    if (file_replaceable(path))
        return -1;
    if (snprintf(o->tmp, sizeof o->tmp, "%s.%d.tmp", path, (int)getpid()) >= (int)sizeof o->tmp)
        return fail(FAULT_RUN, "path too long: %zu bytes: %.80s...", strlen(path), path);
    o->f = fopen(o->tmp, "wb");
    if (o->f)
        file_unfinished(o->tmp, true);
    return o->f ? 0 : fail(FAULT_RUN, "%s: cannot write: %s", path, strerror(errno));
}

void file_abort(struct file_out *o)
{
    if (o->f)
        fclose(o->f);
    o->f = NULL;
    unlink(o->tmp);
    file_unfinished(o->tmp, false);
}

/* The rename is on disk only when its folder is. */
static void sync_folder(const char *path)
{
    char dir[4096];
    snprintf(dir, sizeof dir, "%s", path);
    char *slash = strrchr(dir, '/');
    if (slash)
        slash[slash == dir] = 0;
    int fd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
}

int file_commit(struct file_out *o)
{
    bool bad = fflush(o->f) || ferror(o->f) || fsync(fileno(o->f));
    int err = errno;
    bad |= fclose(o->f) && !bad && (err = errno, true);
    o->f = NULL;
    if (!bad && rename(o->tmp, o->path)) {
        bad = true;
        err = errno;
    }
    if (bad)
        unlink(o->tmp);
    file_unfinished(o->tmp, false);
    if (bad)
        return fail(FAULT_RUN, "%s: cannot write: %s", o->path, strerror(err));
    sync_folder(o->path);
    return 0;
}

int file_save(const char *path, const void *bytes, size_t n)
{
    struct file_out o;
    if (file_begin(&o, path))
        return -1;
    if (n)
        fwrite(bytes, 1, n, o.f);                 // a short write shows in file_commit's ferror
    return file_commit(&o);
}

/* Without hard links: FAT, and many network and user-space file systems. */
static int file_copy(const char *from, const char *to)
{
    struct file_map m;
    struct file_out o;
    if (file_map(from, &m))
        return fail(FAULT_RUN, "%s: cannot write: %s", to, fail_message());
    int rc = file_begin(&o, to);
    for (u64 at = 0, piece; !rc && at < m.n; at += piece) {
        piece = MIN(m.n - at, (u64)8 << 20);
        fwrite(m.p + at, 1, piece, o.f);          // a short write shows in file_commit's ferror
        file_forget(&m, m.p, at);
    }
    rc = rc ? rc : file_commit(&o);
    file_unmap(&m);
    return rc;
}

int file_link(const char *from, const char *to)
{
    char fresh[4096];
    if (snprintf(fresh, sizeof fresh, "%s.%ld.tmp", to, (long)getpid()) >= (int)sizeof fresh)
        return fail(FAULT_RUN, "path too long: %zu bytes: %.80s...", strlen(to), to);
    bool done = !link(from, fresh) && !rename(fresh, to);
    unlink(fresh);                              // also where both were names of one file: then rename leaves it
    if (!done)
        return file_copy(from, to);
    sync_folder(to);
    return 0;
}

f64 clock_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (f64)t.tv_sec + 1e-9 * (f64)t.tv_nsec;
}
