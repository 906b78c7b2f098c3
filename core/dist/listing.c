/* listing.c: which files a data set has, found once for all ranks: a million files take minutes to list, and a
 * file system that all hosts share is asked by one of them. */
#include "data/data.h"
#include "dist/dist.h"

int dist_share_index(const struct data_options *o)
{
    static arena *a;                              // as long as the program: data sets have their names there
    void *index = NULL;
    u64 bytes = 0;
    if (dist_size() == 1 || !data_is_listed(o))
        return 0;
    a = a ? a : arena_open("index of a data set");
    if (dist_agree(dist_rank() || (index = data_index(a, o, &bytes)) ? 0 : -1)
        || dist_broadcast(&bytes, sizeof bytes))
        return -1;
    if (dist_rank())
        index = arena_bytes(a, bytes, 8);
    if (dist_broadcast(index, bytes))
        return -1;
    data_take_index(o, index);
    return 0;
}
