/* slabs.c: parameters, gradients and moments between the device and the host, as rows of elements: those of all
 * slabs, one slab after the other. */
#include "train/learner.h"

static int slab_copy(struct learner *l, range r, f32 *host, enum slab_way way, const struct mark *mark)
{
    switch (way) {
    case SLAB_READ:    return mem_read(l->d, r, host);
    case SLAB_WRITE:   return mem_write(l->d, r, host);
    case SLAB_READ_AT: return mem_read_at(l->d, mark, r, host);
    default:           return mem_write_beside(l->d, r, host);
    }
}

static range slab_range(const struct param_slab *b, enum slab_row row)
{
    return row == SLAB_VALUES ? b->value : row == SLAB_GRADS ? b->grad : row == SLAB_FIRSTS ? b->m : b->v;
}

/* What of [at, at + n) lies in slab k, whose first is element `slab`: from element *from on. */
static range slab_part(const struct learner *l, enum slab_row row, int k, i64 slab, i64 at, i64 n, i64 *from)
{
    const struct param_slab *b = &l->p->slabs[k];
    range whole = slab_range(b, row);
    bool owned = row >= SLAB_FIRSTS || (row == SLAB_GRADS && l->p->shard_grads);
    i64 begin = slab + (owned ? b->first : 0), end = begin + (owned ? b->owned : b->count);
    *from = MAX(at, begin);
    i64 there = MAX(0, MIN(at + n, end) - *from);
    return there ? (range){ whole.mem, whole.off + 4 * (u64)(*from - begin), 4 * (u64)there } : RANGE_NONE;
}

int slabs_copy(struct learner *l, enum slab_row row, i64 at, i64 n, f32 *host, enum slab_way way,
               const struct mark *mark)
{
    i64 slab = 0, from;
    for (int k = 0; k < l->p->n_slabs; slab += l->p->slabs[k++].count) {
        range r = slab_part(l, row, k, slab, at, n, &from);
        if (r.bytes && slab_copy(l, r, host + (from - at), way, mark))
            return -1;
    }
    return 0;
}

range slabs_range(const struct learner *l, enum slab_row row, i64 at, i64 n)
{
    i64 slab = 0, from;
    for (int k = 0; k < l->p->n_slabs; slab += l->p->slabs[k++].count) {
        range r = slab_part(l, row, k, slab, at, n, &from);
        if (r.bytes)
            return r.bytes == 4 * (u64)n ? r : RANGE_NONE;
    }
    return RANGE_NONE;
}
