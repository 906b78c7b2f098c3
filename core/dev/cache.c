/* cache.c: the folders of what may be thrown away: our kernels' binaries and tuning files, and the driver's. */
#include "dev/ocl.h"
#include <ftw.h>
#include <stdlib.h>
#include <unistd.h>

static char cache_dir[4096];

void dev_set_cache_dir(const char *path) { snprintf(cache_dir, sizeof cache_dir, "%s", path); }

const char *dev_cache_dir(void)
{
    const char *own = getenv("JETCL_CACHE_DIR"), *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (*cache_dir)
        return cache_dir;
    if (own && *own)
        dev_set_cache_dir(own);
    else if (xdg && *xdg)
        snprintf(cache_dir, sizeof cache_dir, "%s/jetcl", xdg);
    else
        snprintf(cache_dir, sizeof cache_dir, "%s/.cache/jetcl", home && *home ? home : ".");
    return cache_dir;
}

/* ---- PoCL's own cache ----------------------------------------------------------------------------------- */

/* PoCL finds no device at all when it cannot make its cache folder, and says nothing. It gets
 * one that is removed at the end. */
static char driver_cache[] = "/tmp/jetcl-pocl-XXXXXX";

static int cache_remove(const char *path, const struct stat *st, int kind, struct FTW *walk)
{
    (void)st, (void)kind, (void)walk;
    return remove(path);
}

static void cache_remove_driver(void) { nftw(driver_cache, cache_remove, 16, FTW_DEPTH | FTW_PHYS); }

static bool cache_writable(const char *path)
{
    bool ok = !file_mkdirs(path) && !access(path, W_OK);
    fail_clear();
    return ok;
}

void cache_check_driver(void)
{
    const char *own = getenv("POCL_CACHE_DIR"), *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    static bool checked;
    char path[4200];
    if (checked)
        return;
    checked = true;
    if (own && *own)
        snprintf(path, sizeof path, "%s", own);
    else if (xdg && *xdg)
        snprintf(path, sizeof path, "%s/pocl/kcache", xdg);
    else
        snprintf(path, sizeof path, "%s/.cache/pocl/kcache", home && *home ? home : "/tmp");
    if (cache_writable(path))
        return;
    if (!mkdtemp(driver_cache)) {
        warn("cannot write %s, PoCL's folder for built kernels, nor /tmp: PoCL offers no device "
             "(set POCL_CACHE_DIR)", path);
        return;
    }
    warn("cannot write %s: kernels on PoCL are built again in every run (set POCL_CACHE_DIR)", path);
    setenv("POCL_CACHE_DIR", driver_cache, 1);
    atexit(cache_remove_driver);
}

/* ---- where caches lie ---------------------------------------------------------------------------------- */

const char *dev_cache_hint(arena *a, const struct dev_info *i)
{
    static const struct { const char *platform, *variable, *below, *folder; } caches[] = {
        { "Portable Computing", "POCL_CACHE_DIR", "XDG_CACHE_HOME", "pocl/kcache" },
        { "NVIDIA", "CUDA_CACHE_PATH", NULL, ".nv/ComputeCache" },
        { "Intel", "NEO_CACHE_DIR", "XDG_CACHE_HOME", "neo_compiler_cache" },
        { "rusticl", "MESA_SHADER_CACHE_DIR", "XDG_CACHE_HOME", "mesa_shader_cache" },
    };
    const char *own = arena_printf(a, "%s/kernels", dev_cache_dir()), *home = getenv("HOME");
    for (int k = 0; k < countof(caches); k++) {
        const char *given = getenv(caches[k].variable),
                   *below = caches[k].below ? getenv(caches[k].below) : NULL;
        if (!strstr(i->platform, caches[k].platform))
            continue;
        if (given && *given)
            return arena_printf(a, "; if it is a damaged cache, remove %s and %s", given, own);
        if (below && *below)
            return arena_printf(a, "; if it is a damaged cache, remove %s/%s and %s", below, caches[k].folder,
                                own);
        return arena_printf(a, "; if it is a damaged cache, remove %s/%s%s and %s", home ? home : "~",
                            caches[k].below ? ".cache/" : "", caches[k].folder, own);
    }
    return arena_printf(a, "; if it is a damaged cache, remove %s and that of the driver", own);
}
