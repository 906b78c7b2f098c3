/* cache.c: the folder of what may be thrown away: kernels' binaries and tuning files. */
#include "dev/dev.h"
#include <stdlib.h>

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
