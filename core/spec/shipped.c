/* shipped.c: the experiments that come with the program, found by name from any folder: `jetcl run demo`.
 * They lie in PREFIX/share/jetcl/experiments after `make install`, else in the folder of the sources; both
 * are found from the program's own place, so an installation can be moved. */
#include "spec/key.h"
#include <errno.h>
#include <dirent.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static bool shipped_used;                         /* an experiment was found by name, or lies in share/ */

static bool shipped_is_file(const char *path)
{
    struct stat st;
    return !stat(path, &st) && !S_ISDIR(st.st_mode);
}

static const char *spec_shipped_folder(void)
{
    static char folder[PATH_MAX];
    static const char *const places[] = { "share/jetcl/experiments", "experiments" };
    char prefix[PATH_MAX / 2];
    ssize_t n = readlink("/proc/self/exe", prefix, sizeof prefix - 1);
    prefix[MAX(n, 0)] = 0;
    for (int up = 0; up < 2; up++) {                        // PREFIX of PREFIX/bin/jetcl
        char *slash = strrchr(prefix, '/');
        if (!slash)
            return "";
        *slash = 0;
    }
    for (int i = 0; i < countof(places); i++) {
        snprintf(folder, sizeof folder, "%s/%s", prefix, places[i]);
        if (!access(folder, X_OK))
            return folder;
    }
    return "";
}

/* `name` or `name.yaml` below dir; NULL when neither is there. */
static const char *shipped_below(arena *a, const char *dir, const char *name)
{
    const char *path = arena_printf(a, "%s%s%s", dir, *dir ? "/" : "", name);
    if (shipped_is_file(path))
        return path;
    path = arena_printf(a, "%s.yaml", path);
    return shipped_is_file(path) ? path : NULL;
}

const char *spec_find(arena *a, const char *name, const char *kind)
{
    const char *folder = spec_shipped_folder(), *found = shipped_below(a, "", name);
    char real[PATH_MAX];
    if (found) {
        bool inside = realpath(found, real) && text_starts(real, folder);
        shipped_used |= inside && text_ends(folder, "/share/jetcl/experiments");
        return found;
    }
    if (text_starts(name, "experiments/"))
        name += strlen("experiments/");
    if (!folder[0] || name[0] == '/' || name[0] == '.' || !name[0])
        return NULL;
    if (*kind)
        found = shipped_below(a, arena_printf(a, "%s/%s", folder, kind), name);
    if (!found)
        found = shipped_below(a, folder, name);
    shipped_used |= found != NULL;
    return found;
}

const char *shipped_path(arena *a, const char *path)
{
    if (!shipped_used)
        return path;
    const char *folder = spec_shipped_folder(), *plain = path_plain(a, path);
    size_t n = strlen(folder) - strlen("/experiments");
    bool beside = !strncmp(plain, folder, n) && plain[n] == '/' && !text_starts(plain + n, "/experiments/");
    return beside ? plain + n + 1 : path;
}

/* Names below dir, without `.yaml`, in alphabetical order. 0, or -1 + fail(). */
static int shipped_list(FILE *f, arena *a, const char *dir, const char *prefix)
{
    struct dirent **list;
    int n = scandir(dir, &list, NULL, alphasort), rc = 0;
    if (n < 0)
        return fail(FAULT_DATA, "%s: %s", dir, strerror(errno));
    for (int i = 0; i < n; i++) {
        const char *name = list[i]->d_name, *path = arena_printf(a, "%s/%s", dir, name);
        if (text_ends(name, ".yaml"))
            fprintf(f, "%s%.*s\n", prefix, (int)strlen(name) - 5, name);
        else if (name[0] != '.' && !shipped_is_file(path))
            rc |= shipped_list(f, a, path, arena_printf(a, "%s%s/", prefix, name));
        free(list[i]);
    }
    free(list);
    return rc;
}

int spec_shipped_list(FILE *f)
{
    const char *folder = spec_shipped_folder();
    if (!folder[0])
        return fail(FAULT_DATA, "no experiments are installed beside this program");
    arena *a = arena_open("experiments");
    int rc = shipped_list(f, a, folder, "");
    arena_close(a);
    return rc;
}
