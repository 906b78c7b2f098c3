/* append.c: a file that grows by a line now and then. What cannot be written, on a full disk or a server that
 * is away, is not a reason to end a run: it waits in memory and goes first the next time. A piece may be
 * written in part, so that the rest is what waits. */
#include "log/files.h"
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

struct append {
    const char *path;
    int         fd;
    arena      *a;                                /* of what waits */
    char       *waits;
    size_t      n, room;
    bool        told;
};

append *append_open(arena *a, const char *path, bool anew)
{
    append *f = arena_one(a, append);
    *f = (append){ .path = arena_printf(a, "%s", path), .a = arena_open("lines to be written") };
    f->fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_APPEND | (anew ? O_TRUNC : 0), 0666);
    if (f->fd >= 0)
        return f;
    fail(FAULT_RUN, "%s: cannot write: %s", path, strerror(errno));
    arena_close(f->a);
    return NULL;
}

static bool append_try(append *f)
{
    size_t done = 0;
    while (done < f->n) {
        ssize_t n = write(f->fd, f->waits + done, f->n - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    f->n -= done;
    if (f->n) {
        memmove(f->waits, f->waits + done, f->n);
        return false;
    }
    if (f->room > 1 << 16) {                      // much had waited
        arena_restore(f->a, (arena_mark){ 0 });
        f->waits = NULL;
        f->room = 0;
    }
    return true;
}

void append_put(append *f, const void *p, size_t n)
{
    while (f->n + n > f->room)
        f->waits = arena_grow(f->a, f->waits, f->n, &f->room, 1);
    memcpy(f->waits + f->n, p, n);
    f->n += n;
    bool done = append_try(f);
    if (!done && !f->told)
        warn("%s: cannot write: %s; the run continues, and tries again", f->path, strerror(errno));
    if (done && f->told)
        say(SAY_NORMAL, "%s: written again, with what was missing", f->path);
    f->told = !done;
}

int append_flush(append *f)
{
    return append_try(f) ? 0 : fail(FAULT_RUN, "%s: cannot write: %s", f->path, strerror(errno));
}

int append_sync(append *f)
{
    if (append_flush(f))
        return -1;
    bool bad = fsync(f->fd) && errno != EINVAL && errno != EROFS;        // a device or pipe has nothing to sync
    return bad ? fail(FAULT_RUN, "%s: cannot write: %s", f->path, strerror(errno)) : 0;
}

void append_close(append *f)
{
    if (!f)
        return;
    append_try(f);
    close(f->fd);
    arena_close(f->a);
}
