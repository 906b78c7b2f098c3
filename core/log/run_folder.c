/* run_folder.c: where a run lives, and the `latest` link. */
#include "log/files.h"
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static bool is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static bool is_empty(const char *path)
{
    DIR *d = opendir(path);
    int n = 0;
    for (struct dirent *e; d && (e = readdir(d));)
        n += strcmp(e->d_name, ".") && strcmp(e->d_name, "..");
    if (d)
        closedir(d);
    return !n;
}

/* Has a run begun here? One that was killed at once may have left no more than its first folder. */
static bool is_run(arena *a, const char *dir)
{
    return file_exists(arena_printf(a, "%s/config.yaml", dir)) || is_folder(arena_printf(a, "%s/ckpt", dir));
}

const char *folder_name(arena *a, const char *name)
{
    char *out = arena_printf(a, "%s", name[0] ? name : "unnamed");
    for (char *p = out; *p; p++)
        if ((u8)*p <= ' ' || strchr("/\\:*?\"<>|", *p) || (*p == '.' && p == out))
            *p = '_';
    return out;
}

static const char *new_folder(arena *a, const struct spec *s)
{
    time_t now = time(NULL);
    struct tm tm;
    char stamp[32];
    strftime(stamp, sizeof stamp, "%Y%m%d-%H%M%S", localtime_r(&now, &tm));
    const char *base = arena_printf(a, "runs/%s/%s", folder_name(a, s->name), stamp), *dir = base;
    if (file_mkdirs(arena_printf(a, "runs/%s", folder_name(a, s->name))))
        return NULL;
    for (int i = 2; mkdir(dir, 0777); i++) {               // two runs in one second
        if (errno != EEXIST || i > 1000)
            return fail(FAULT_RUN, "%s: cannot make the folder: %s", dir, strerror(errno)), NULL;
        dir = arena_printf(a, "%s-%d", base, i);
    }
    return dir;
}

/* --resume=X: a run folder, or a checkpoint in one (DIR/ckpt/last.safetensors). */
static const char *folder_of_checkpoint(arena *a, const char *path)
{
    if (is_folder(path))
        return path;
    if (!file_exists(path))
        return fail(FAULT_DATA, "%s: no such run folder or checkpoint to resume", path), NULL;
    char *dir = arena_printf(a, "%s/../..", path), *slash = strrchr(path, '/');
    if (slash) {
        size_t n = (size_t)(slash - path);
        dir = n >= 5 && !strncmp(slash - 5, "/ckpt", 5) ? arena_copy(a, path, n - 5) : arena_copy(a, path, n);
    } else
        dir = "..";
    return dir;
}

const char *folder_choose(arena *a, const struct spec *s, const struct run_options *o, bool *resumed)
{
    *resumed = o->resume != NULL;
    if (o->resume && o->force)
        return fail(FAULT_USAGE, "--resume continues a run, --force starts a new one: give only one of them"), NULL;
    if (o->resume && o->resume[0] && o->out)
        return fail(FAULT_USAGE, "--resume=%s continues in that run's folder: do not give --out", o->resume),
               NULL;
    if (o->resume && o->resume[0])
        return folder_of_checkpoint(a, o->resume);
    if (o->resume && !o->out) {
        const char *latest = arena_printf(a, "runs/%s/latest", folder_name(a, s->name));
        char real[4096];
        return realpath(latest, real) ? arena_printf(a, "%s", real)
                                      : (fail(FAULT_DATA, "%s: no run to resume", latest), NULL);
    }
    if (!o->out)
        return new_folder(a, s);
    if (is_folder(o->out) && !is_empty(o->out) && !o->resume && !o->force)
        return fail(FAULT_USAGE, "%s is not empty; --resume continues the run in it, --force overwrites it",
                    o->out), NULL;
    *resumed = o->resume && is_folder(o->out) && !is_empty(o->out);
    if (*resumed && !is_run(a, o->out))
        return fail(FAULT_USAGE, "%s holds no run to resume; --force instead of --resume starts one there",
                    o->out),
               NULL;
    return file_mkdirs(o->out) ? NULL : arena_printf(a, "%s", o->out);
}

void folder_latest(const char *dir)
{
    const char *slash = strrchr(dir, '/');
    char link[4096], fresh[4160];
    if (!slash || !strcmp(slash, "/") ||
        snprintf(link, sizeof link, "%.*s/latest", (int)(slash - dir), dir) >= (int)sizeof link)
        return;
    struct stat st;
    if (lstat(link, &st) == 0 && !S_ISLNK(st.st_mode))
        return;                                            // somebody's own file
    snprintf(fresh, sizeof fresh, "%s.%d", link, (int)getpid());
    if (symlink(slash + 1, fresh) || rename(fresh, link))
        unlink(fresh);                                     // a file system without links can do without it
}
