/* run_folder.c: where a run lives, who may write there, and the `latest` link. Finding a folder only looks;
 * what is in the way is refused before anything is made. */
#include "log/files.h"
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Locks do not count. */
static bool is_empty(const char *path)
{
    DIR *d = opendir(path);
    int n = 0;
    for (struct dirent *e; d && (e = readdir(d));)
        n += strcmp(e->d_name, ".") && strcmp(e->d_name, "..") && !text_starts(e->d_name, "lock");
    if (d)
        closedir(d);
    return !n;
}

/* Has a run begun here? One that was killed at once may have left no more than its first folder. */
static bool is_run(arena *a, const char *dir)
{
    return file_exists(arena_printf(a, "%s/config.yaml", dir))
           || file_is_folder(arena_printf(a, "%s/ckpt", dir));
}

const char *folder_name(arena *a, const char *name)
{
    char *out = arena_printf(a, "%s", name[0] ? name : "unnamed");
    for (char *p = out; *p; p++)
        if ((u8)*p <= ' ' || strchr("/\\:*?\"<>|", *p) || (*p == '.' && p == out))
            *p = '_';
    return out;
}

/* ---- which ----------------------------------------------------------------------------------------------- */

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
        if (errno != EEXIST || i > 1000) {
            fail(FAULT_RUN, "%s: cannot make the folder: %s", dir, strerror(errno));
            return NULL;
        }
        dir = arena_printf(a, "%s-%d", base, i);
    }
    return dir;
}

/* --resume=RUN/ckpt/X.safetensors: that run, from the state that was saved with X. */
static int folder_of_checkpoint(arena *a, const char *path, struct run_folder *f)
{
    const char *slash = strrchr(path, '/'), *dot = strrchr(path, '.');
    if (!file_exists(path))
        return fail(FAULT_DATA, "%s: no such run folder or checkpoint to resume", path);
    bool ours = dot && (!strcmp(dot, ".safetensors") || !strcmp(dot, ".state"));
    const char *state = ours ? arena_printf(a, "%.*s.state", (int)(dot - path), path) : path;
    if (!ours || !file_exists(state))
        return fail(FAULT_DATA, "%s: no state was saved with it, so that no run can be continued from it; "
                    "--set model.init=%s starts a new run from its weights", path, path);
    f->state = state;
    f->dir = slash ? arena_printf(a, "%.*s/..", (int)(slash - path), path) : "..";
    size_t n = slash ? (size_t)(slash - path) : 0;
    if (n >= 5 && !strncmp(slash - 5, "/ckpt", 5))
        f->dir = arena_copy(a, path, n - 5);
    else if (n == 4 && !strncmp(path, "ckpt", 4))
        f->dir = ".";
    return is_run(a, f->dir) ? 0 : fail(FAULT_DATA, "%s: %s is not a run folder", path, f->dir);
}

/* Does the run in dir have checkpoints that are saved together with a state? */
static bool has_checkpoints(arena *a, const char *dir)
{
    DIR *d = opendir(arena_printf(a, "%s/ckpt", dir));
    bool any = false;
    for (struct dirent *e; d && (e = readdir(d));)
        any |= text_ends(e->d_name, ".safetensors")
               && (text_starts(e->d_name, "last.") || text_starts(e->d_name, "epoch_"));
    if (d)
        closedir(d);
    return any;
}

/* The newest state of the run in f->dir, if there is one: a run that was ended before its first save has
 * none. */
static int newest_state(arena *a, struct run_folder *f)
{
    const char *state = arena_printf(a, "%s/ckpt/last.state", f->dir);
    if (file_exists(state))
        f->state = state;
    else if (has_checkpoints(a, f->dir))
        return fail(FAULT_DATA,
                    "%s is missing: the run cannot be continued from its last step "
                    "(--resume=CKPT with another checkpoint that has its .state; --force starts anew)",
                    state);
    return 0;
}

/* Would removing what a run left in dir remove what this run starts from? */
static int holds_input(arena *a, const char *dir, const struct spec *s)
{
    const struct { const char *key, *path; } in[] = {
        { "model.init", s->model.init }, { "recycle.from.experts", s->recycle.from.experts },
        { "recycle.from.dense", s->recycle.from.dense }, { "recycle.statistics", s->recycle.statistics },
        { "data.root", s->data.root } };
    char here[4096], real[4096];
    if (!realpath(dir, here))
        return 0;
    size_t n = strlen(here);
    for (int i = 0; i < countof(in); i++)
        if (*in[i].path && realpath(in[i].path, real) && !strncmp(real, here, n)
            && (real[n] == '/' || !real[n]))
            return fail(FAULT_USAGE, "--force: %s holds %s of this experiment (%s)", dir, in[i].key,
                        in[i].path);
    (void)a;
    return 0;
}

/* --out DIR. */
static int folder_given(arena *a, const struct spec *s, const struct run_options *o, struct run_folder *f)
{
    struct stat st;
    f->dir = arena_printf(a, "%s", o->out);
    if (stat(f->dir, &st) == 0 && !S_ISDIR(st.st_mode))
        return fail(FAULT_USAGE, "--out %s: a file, not a folder", f->dir);
    if (!file_is_folder(f->dir) || is_empty(f->dir))
        return 0;
    if (!o->resume && !o->force)
        return fail(FAULT_USAGE, "%s is not empty; --resume continues the run in it, --force overwrites it",
                    f->dir);
    if (!is_run(a, f->dir))
        return fail(FAULT_USAGE, o->force ? "--force: %s holds no run, and only what a run wrote is removed"
                    : "%s holds no run to resume", f->dir);
    if (o->force)
        return holds_input(a, f->dir, s);
    f->resumed = true;
    return newest_state(a, f);
}

/* Only looks. f->dir stays NULL for a new folder in runs/. */
static int folder_find(arena *a, const struct spec *s, const struct run_options *o, struct run_folder *f)
{
    if (o->resume && o->force)
        return fail(FAULT_USAGE, "--resume continues a run, --force starts a new one: give only one of them");
    if (o->resume && o->resume[0] && o->out)
        return fail(FAULT_USAGE, "--resume=%s continues in that run's folder: do not give --out", o->resume);
    if (o->out)
        return folder_given(a, s, o, f);
    if (!o->resume)
        return 0;
    f->resumed = true;
    if (o->resume[0] && !file_is_folder(o->resume))
        return folder_of_checkpoint(a, o->resume, f);
    if (o->resume[0]) {
        f->dir = arena_printf(a, "%s", o->resume);
        return is_run(a, f->dir) ? newest_state(a, f) : fail(FAULT_DATA, "%s holds no run to resume", f->dir);
    }
    const char *latest = arena_printf(a, "runs/%s/latest", folder_name(a, s->name));
    char real[4096];
    if (!realpath(latest, real))
        return fail(FAULT_DATA, "%s: no run to resume", latest);
    f->dir = arena_printf(a, "%s", real);
    return newest_state(a, f);
}

/* ---- whose ----------------------------------------------------------------------------------------------- */

/* How many folders of this path are missing. */
static int run_folder_missing(const char *path)
{
    char p[4096];
    int n = 0;
    snprintf(p, sizeof p, "%s", path);
    for (; *p && !file_exists(p); n++) {
        char *slash = strrchr(p, '/');
        *(slash ? slash : p) = 0;
    }
    return n;
}

/* Half files of owners that were killed while they wrote: NAME.PID.tmp. */
static void remove_leftovers(arena *a, const char *dir)
{
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));) {
        size_t n = strlen(e->d_name), digits = 0;
        if (n < 6 || !text_ends(e->d_name, ".tmp"))
            continue;
        while (digits < n - 4 && e->d_name[n - 5 - digits] >= '0' && e->d_name[n - 5 - digits] <= '9')
            digits++;
        if (!digits || digits > n - 6 || e->d_name[n - 5 - digits] != '.')
            continue;
        if (!unlink(arena_printf(a, "%s/%s", dir, e->d_name)))
            say(SAY_VERBOSE, "%s/%s: removed, half written by a process that is gone", dir, e->d_name);
    }
    if (d)
        closedir(d);
}

/* A run writes here all the time: whether it may is asked before it changes anything. */
static int run_folder_writable(arena *a, const char *dir)
{
    static const char *const in[] = { "", "/ckpt", "/metrics.jsonl", "/metrics.csv", "/log.txt" };
    for (int i = 0; i < countof(in); i++) {
        const char *path = arena_printf(a, "%s%s", dir, in[i]);
        if (access(path, file_is_folder(path) ? W_OK | X_OK : W_OK) && errno != ENOENT)
            return fail(FAULT_RUN, "%s: cannot write: %s (a run needs a folder of its own: copy this one, or "
                        "give --out DIR)", path, strerror(errno));
    }
    return 0;
}

int folder_claim(arena *a, const struct spec *s, const struct run_options *o, struct run_folder *f)
{
    *f = (struct run_folder){ .made = 0 };
    if (folder_find(a, s, o, f))
        return -1;
    if (f->dir) {
        f->made = run_folder_missing(f->dir);
        if (file_mkdirs(f->dir) || run_folder_writable(a, f->dir))
            return -1;
    } else {
        f->made = 1 + run_folder_missing(arena_printf(a, "runs/%s", folder_name(a, s->name)));
        if (!(f->dir = new_folder(a, s)))
            return -1;
    }
    int rc = lock_take(f->dir, &f->lock);
    if (!rc) {
        f->state = NULL;                                   // its last owner may just have saved
        rc = !f->resumed || (o->resume[0] && !file_is_folder(o->resume)) ? folder_find(a, s, o, f)
                                                                    : newest_state(a, f);
    }
    if (rc) {
        folder_release(f);
        return rc;
    }
    remove_leftovers(a, f->dir);
    remove_leftovers(a, arena_printf(a, "%s/ckpt", f->dir));
    return 0;
}

void folder_release(struct run_folder *f)
{
    char p[4096];
    if (!f->dir)
        return;
    lock_drop(f->lock);
    f->lock = NULL;
    snprintf(p, sizeof p, "%s", f->dir);
    for (int i = 0; i < f->made && !rmdir(p); i++) {       // folders that are not empty stay
        char *slash = strrchr(p, '/');
        if (!slash)
            break;
        *slash = 0;
    }
}

void folder_latest(const char *dir, bool move)
{
    const char *slash = strrchr(dir, '/');
    char link[4096], fresh[4160];
    if (!slash || !strcmp(slash, "/") ||
        snprintf(link, sizeof link, "%.*s/latest", (int)(slash - dir), dir) >= (int)sizeof link)
        return;
    struct stat st;
    if (lstat(link, &st) == 0 && (!move || !S_ISLNK(st.st_mode)))
        return;                                            // or a file of the user's
    snprintf(fresh, sizeof fresh, "%s.%d", link, (int)getpid());
    if (symlink(slash + 1, fresh) || rename(fresh, link))
        unlink(fresh);                                     // a file system without links can do without it
}
