/* params.c: named parameters in device slabs. Each starts on a block of ADAMW_BLOCK elements, so that
 * one launch per slab serves the optimiser, and what lies between two parameters is zero in all four
 * slabs and stays so.
 *
 *     value  [cls_token ..][pos_embed ..][blocks.0.norm1.weight ..] ...
 *     grad, m, v           at the same offsets
 *
 * For several ranks layers are spread, so that each rank's shard has some of the last ones: in the backward
 * pass gradients of all shards come at the same rate.
 */
#include "nn/nn.h"
#include <math.h>

params *params_new(void)
{
    arena *a = arena_open("parameters");
    params *p = arena_one(a, params);
    p->a = a;
    return p;
}

void params_free(params *p)
{
    if (!p)
        return;
    pool *pools[] = { p->values, p->grads, p->ms, p->vs };
    for (int i = 0; i < 4; i++)
        if (pools[i])
            pool_free(pools[i]);
    arena_close(p->a);
}

struct param *params_find(const params *p, const char *name)
{
    uintptr_t i = (uintptr_t)names_get(&p->names, name);
    return i ? &p->list[i - 1] : NULL;
}

/* Parameters, gradients and moments are F32. */
static u64 param_bytes(const struct param *x) { return dtype_bytes(F32) * (u64)shape_count(x->shape); }
static u64 params_padded(const struct param *x)
{
    return ROUND_UP(param_bytes(x), dtype_bytes(F32) * ADAMW_BLOCK);
}

u64 params_bytes(const params *p, enum params_use use)
{
    u64 one = 0;
    for (size_t i = 0; i < p->n; i++)
        one += params_padded(&p->list[i]);
    u64 shard = CEIL_DIV(one, (u64)MAX(1, p->shards)), grads = p->shard_grads ? shard : one;
    return one + (use >= PARAMS_GRAD ? grads : 0) + (use == PARAMS_TRAIN ? 2 * shard : 0);
}

void params_shard(const params *p, int r, int n, i64 *from, i64 *to)
{
    i64 all = 0;
    for (int k = 0; k < p->n_slabs; k++)
        all += p->slabs[k].count / ADAMW_BLOCK;
    share_of(all, r, n, NULL, from, to);
    *from *= ADAMW_BLOCK;
    *to *= ADAMW_BLOCK;
}

/* The order of parameters in memory: that of the list, or, for several ranks, each parameter goes to the shard
 * with the fewest bytes so far, and shards follow one another. */
static void find_order(params *p)
{
    int shards = MAX(1, p->laid_for), n = 0;
    u64 *size = arena_array(p->a, u64, shards);
    int *home = arena_array(p->a, int, p->n + 1);
    p->order = arena_array(p->a, int, p->n + 1);
    for (size_t i = 0; i < p->n; i++) {
        for (int k = 0; k < shards; k++)
            home[i] = size[k] < size[home[i]] ? k : home[i];
        size[home[i]] += params_padded(&p->list[i]);
    }
    for (int k = 0; k < shards; k++)
        for (size_t i = 0; i < p->n; i++)
            if (home[i] == k)
                p->order[n++] = (int)i;
}

/* A pool with the order's layout; every pool of the same device splits it alike. */
static pool *take_all(params *p, const char *what, range *out)
{
    pool *pool = pool_new(p->d, what);
    if (pool_reserve(pool, params_bytes(p, PARAMS_FORWARD)))
        return NULL;
    for (size_t i = 0; i < p->n; i++)
        if (!(out[p->order[i]] = pool_take(pool, params_padded(&p->list[p->order[i]]))).mem)
            return NULL;
    return pool;
}

static int fill_zero(params *p, const range *r)
{
    for (size_t i = 0; i < p->n; i++)
        if (mem_fill(p->d, r[i], 0))
            return -1;
    return 0;
}

/* After each parameter's last element: the caller writes the values themselves. */
static int fill_gaps(params *p, const range *r)
{
    for (size_t i = 0; i < p->n; i++) {
        u64 bytes = param_bytes(&p->list[i]);
        if (mem_fill(p->d, (range){ r[i].mem, r[i].off + bytes, r[i].bytes - bytes }, 0))
            return -1;
    }
    return 0;
}

/* Neighbours in one allocation form a slab. */
static void find_slabs(params *p, const range *v)
{
    p->slabs = arena_array(p->a, struct param_slab, p->n + 1);
    for (size_t k = 0; k < p->n; k++) {
        int i = p->order[k];
        struct param_slab *s = p->n_slabs ? &p->slabs[p->n_slabs - 1] : NULL;
        if (!s || s->value.mem != v[i].mem) {
            s = &p->slabs[p->n_slabs++];
            s->value = v[i];
        }
        s->value.bytes = v[i].off + v[i].bytes - s->value.off;
        s->count = (i64)(s->value.bytes / dtype_bytes(F32));
        p->list[i].slab = p->n_slabs - 1;
        p->list[i].offset = (i64)((v[i].off - s->value.off) / dtype_bytes(F32));
        p->list[i].value = (range){ v[i].mem, v[i].off, param_bytes(&p->list[i]) };
    }
}

static range params_alike(const struct param_slab *s, const range *r, size_t first)
{
    return (range){ r[first].mem, r[first].off, s->value.bytes };
}

static int open_more(params *p, range *r, pool **pool, const char *what, size_t which)
{
    if (!(*pool = take_all(p, what, r)) || fill_zero(p, r))
        return -1;
    for (size_t k = 0; k < p->n; k++) {
        struct param_slab *s = &p->slabs[p->list[p->order[k]].slab];
        if (!p->list[p->order[k]].offset)
            *(range *)((char *)s + which) = params_alike(s, r, (size_t)p->order[k]);
    }
    return 0;
}

/* What is updated here. */
static void find_owned(params *p)
{
    i64 from, to, at = 0;
    params_shard(p, p->shard, MAX(1, p->shards), &from, &to);
    for (int k = 0; k < p->n_slabs; at += p->slabs[k++].count) {
        struct param_slab *s = &p->slabs[k];
        s->first = MIN(s->count, MAX(0, from - at));
        s->owned = MAX(0, MIN(s->count, to - at) - s->first);
    }
}

/* Zeros for what is updated here: a moment, or the gradient. */
static int open_owned(params *p, pool **pool, const char *what, size_t which)
{
    u64 bytes = 0, size = dtype_bytes(F32);
    for (int k = 0; k < p->n_slabs; k++)
        bytes += size * (u64)p->slabs[k].owned;
    *pool = pool_new(p->d, what);
    if (bytes && pool_reserve(*pool, bytes))
        return -1;
    for (int k = 0; k < p->n_slabs; k++) {
        range *r = (range *)((char *)&p->slabs[k] + which);
        if (!p->slabs[k].owned)
            continue;
        *r = pool_take(*pool, size * (u64)p->slabs[k].owned);
        if (!r->mem || mem_fill(p->d, *r, 0))
            return -1;
    }
    return 0;
}

static int open_gradients(params *p, range *r)
{
    if (p->shard_grads)
        return open_owned(p, &p->grads, "gradients", offsetof(struct param_slab, grad));
    if (open_more(p, r, &p->grads, "gradients", offsetof(struct param_slab, grad)))
        return -1;
    for (size_t i = 0; i < p->n; i++)
        p->list[i].grad = (range){ r[i].mem, r[i].off, p->list[i].value.bytes };
    return 0;
}

range params_own_grad(const params *p, const struct param_slab *b)
{
    u64 size = dtype_bytes(F32);
    return p->shard_grads ? b->grad : (range){ b->grad.mem, b->grad.off + size * (u64)b->first,
                                               size * (u64)b->owned };
}

int params_open(params *p, dev *d, enum params_use use)
{
    p->d = d;
    find_order(p);
    range *r = arena_array(p->a, range, p->n + 1);
    if (!(p->values = take_all(p, "parameters", r)) || fill_gaps(p, r))
        return -1;
    find_slabs(p, r);
    find_owned(p);
    if (use >= PARAMS_GRAD && open_gradients(p, r))
        return -1;
    return use >= PARAMS_TRAIN && (open_owned(p, &p->ms, "first moments", offsetof(struct param_slab, m))
                                   || open_owned(p, &p->vs, "second moments", offsetof(struct param_slab, v)))
         ? -1 : 0;
}

params *params_twin(const params *p, const char *what)
{
    params *t = params_new();
    t->list = arena_array(t->a, struct param, p->n + 1);
    memcpy(t->list, p->list, p->n * sizeof *p->list);
    t->n = t->cap = p->n;
    for (size_t i = 0; i < t->n; i++)
        names_put(t->a, &t->names, t->list[i].name, (void *)(uintptr_t)(i + 1));
    t->total = p->total;
    t->order = p->order;
    t->d = p->d;
    range *r = arena_array(t->a, range, p->n + 1);
    bool done = (t->values = take_all(t, what, r)) && !fill_gaps(t, r);
    if (done)
        find_slabs(t, r);
    for (int k = 0; done && k < p->n_slabs; k++)
        done = !mem_copy(t->d, t->slabs[k].value, p->slabs[k].value);
    if (done)
        return t;
    params_free(t);
    return NULL;
}

int params_read(const params *p, const struct param *x, f32 *out)
{
    return mem_read(p->d, x->value, out);
}

int params_write(params *p, struct param *x, const f32 *values)
{
    return mem_write(p->d, x->value, values);
}

/* ---- into a checkpoint --------------------------------------------------------------------------------- */

struct stored { dev *d; range r; };

static int params_give(void *arg, void *out)
{
    const struct stored *s = arg;
    return mem_read(s->d, s->r, out);
}

void param_save(const params *p, const struct param *x, range r, ckpt *c, arena *a, const char *prefix)
{
    struct stored *s = arena_one(a, struct stored);
    *s = (struct stored){ p->d, r };
    ckpt_add_later(c, arena_printf(a, "%s%s", prefix, x->name), CKPT_F32, x->shape.nd, x->shape.d, params_give,
                   s);
}

void params_save(const params *p, ckpt *c, arena *a)
{
    for (size_t i = 0; i < p->n; i++)
        param_save(p, &p->list[i], p->list[i].value, c, a, "");
}
