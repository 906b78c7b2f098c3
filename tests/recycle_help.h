/* recycle_help.h: the device that tests of recycling measure on, with a cache of their own: statistics of
 * earlier runs must not serve. cmocka's group setup and teardown. */
#ifndef JETCL_RECYCLE_HELP_H
#define JETCL_RECYCLE_HELP_H
#define mem room                                     /* dev.h has a type of the other name */
#include "data_help.h"
#undef mem
#include "dev/dev.h"
#include <dirent.h>

static dev *device;

static int recycle_begin(void **state)
{
    (void)state;
    say_setup((struct say_options){ .level = SAY_QUIET });
    dev_set_cache_dir(scratch());
    device = dev_open(NULL);
    return device ? 0 : -1;
}

static int recycle_end(void **state)
{
    dev_close(device);
    return scratch_close(state);
}

static inline int files_in(const char *dir)
{
    int n = 0;
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));)
        n += e->d_name[0] != '.';
    if (d)
        closedir(d);
    return n;
}
#endif
