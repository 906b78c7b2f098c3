/* state.c: what a run needs to continue: one safetensors file that is replaced as a whole, so that
 * weights, moments and counters always belong together. Random draws are functions of seed and step and
 * need no state. */
#include "train/learner.h"
#include <math.h>
#include <stdlib.h>

#define STATE_FORMAT "jetcl state 2"

/* Moments lie where they are updated: on this rank a shard of them, or all. */
enum { FIRST = 1, SECOND };
struct values { const char *prefix; range (*of)(const struct learner *l, const struct param *x); int moment; };

static range state_within(range slab, const struct param *x)
{
    return (range){ slab.mem, slab.off + 4 * (u64)x->offset, 4 * (u64)shape_count(x->shape) };
}

static range value_of(const struct learner *l, const struct param *x)
{
    return state_within(l->p->slabs[x->slab].value, x);
}

static range ema_of(const struct learner *l, const struct param *x)
{
    return state_within(l->ema->slabs[x->slab].value, x);
}

static const struct values kinds[] = {
    { "", value_of, 0 }, { "m.", NULL, FIRST }, { "v.", NULL, SECOND }, { "ema.", ema_of, 0 },
};

static int state_kinds_of(const struct learner *l) { return l->ema ? 4 : 3; }

static void set_number(ckpt *c, arena *a, const char *key, f64 v)
{
    ckpt_set_meta(c, key, arena_printf(a, "%.17g", v));
}

static f64 state_number(const ckpt *c, const char *key)
{
    const char *text = ckpt_meta(c, key);
    return text ? strtod(text, NULL) : 0;
}

/* fp16: the loss scale and its counters. */
static int save_scale(ckpt *c, arena *a, struct learner *l)
{
    struct loss_scale s;
    if (!learner_scales(l))
        return 0;
    if (learner_scale(l, &s))
        return -1;
    set_number(c, a, "scale", (f64)s.scale);
    set_number(c, a, "scale.good", s.good);
    set_number(c, a, "scale.skipped", s.skipped);
    set_number(c, a, "scale.taken", s.taken);
    set_number(c, a, "scale.square", (f64)s.square);
    return 0;
}

/* A state from training in another precision has none: then the scale starts again. */
static int load_scale(const ckpt *c, struct learner *l)
{
    struct loss_scale s = { 0 };
    if (!learner_scales(l))
        return 0;
    if (c)
        s = (struct loss_scale){ (f32)state_number(c, "scale"), (u32)state_number(c, "scale.good"),
                                 (u32)state_number(c, "scale.skipped"), (u32)state_number(c, "scale.taken"),
                                 (f32)state_number(c, "scale.square") };
    if (dist_broadcast(&s, sizeof s))
        return -1;
    if (!(s.scale > 0))
        s = (struct loss_scale){ .scale = LOSS_SCALE_START, .taken = (u32)l->step };
    return learner_set_scale(l, &s);
}

/* ---- moments of all ranks ------------------------------------------------------------------------------- */

/* Rank 0 requests what the file needs next, any number of times and in any order; moment 0: the end. */
struct question { i64 at, n; i32 moment; };
struct moment { struct learner *l; const struct param *x; int moment; };

static i64 place_of(const struct learner *l, const struct param *x)
{
    i64 at = x->offset;
    for (int k = 0; k < x->slab; k++)
        at += l->p->slabs[k].count;
    return at;
}

static int state_give(void *arg, void *out)
{
    const struct moment *m = arg;
    struct question q = { place_of(m->l, m->x), shape_count(m->x->shape), m->moment };
    if (dist_broadcast(&q, sizeof q))
        return -1;
    return exchange_gather(m->l, m->moment == SECOND, q.at, q.n, out);
}

static int state_serve(struct learner *l)
{
    struct question q = { 0 };
    while (!dist_broadcast(&q, sizeof q) && q.moment)
        if (exchange_gather(l, q.moment == SECOND, q.at, q.n, NULL))
            return -1;
    return 0;
}

static void state_add_values(ckpt *c, arena *a, struct learner *l, const struct values *kind,
                             const struct param *x)
{
    if (kind->of) {
        param_save(l->p, x, kind->of(l, x), c, a, kind->prefix);
        return;
    }
    struct moment *m = arena_one(a, struct moment);
    *m = (struct moment){ l, x, kind->moment };
    ckpt_add_later(c, arena_printf(a, "%s%s", kind->prefix, x->name), CKPT_F32, x->shape.nd, x->shape.d,
                   state_give, m);
}

/* ---- a copy ---------------------------------------------------------------------------------------------- */

int snapshot_open(struct snapshot *s, const struct learner *l)
{
    *s = (struct snapshot){ .a = arena_open("copy of the state") };
    for (int k = 0; k < state_kinds_of(l); k++) {
        s->kind[k] = arena_array(s->a, u8 *, l->p->n_slabs + 1);
        for (int i = 0; i < l->p->n_slabs; i++)
            if (!(s->kind[k][i] = arena_try(s->a, l->p->slabs[i].value.bytes, 64)))
                return -1;
    }
    return 0;
}

void snapshot_close(struct snapshot *s)
{
    arena_close(s->a);
    *s = (struct snapshot){ 0 };
}

int snapshot_take(struct snapshot *s, struct learner *l)
{
    for (int i = 0; i < l->p->n_slabs; i++) {
        const struct param_slab *b = &l->p->slabs[i];
        const range from[] = { b->value, b->m, b->v, learner_weights(l)->slabs[i].value };
        for (int k = 0; k < state_kinds_of(l); k++)
            if (mem_read(l->d, (range){ from[k].mem, from[k].off, b->value.bytes }, s->kind[k][i]))
                return -1;
    }
    return 0;
}

static const void *snapshot_of(const struct snapshot *s, int k, const struct param *x)
{
    return s->kind[k][x->slab] + 4 * (size_t)x->offset;
}

void snapshot_weights(const struct snapshot *s, const struct learner *l, ckpt *c)
{
    for (size_t i = 0; i < l->p->n; i++) {
        const struct param *x = &l->p->list[i];
        ckpt_add(c, x->name, CKPT_F32, x->shape.nd, x->shape.d, snapshot_of(s, l->ema ? 3 : 0, x));
    }
}

static int state_copy(void *arg, void *out)
{
    const tensor *t = arg;
    int rc = tensor_to_f32(t, out);
    tensor_drop(t);
    return rc;
}

void state_weights(const ckpt *state, const struct learner *l, ckpt *c, arena *a)
{
    for (size_t i = 0; i < l->p->n; i++) {
        const struct param *x = &l->p->list[i];
        const tensor *t = ckpt_find(state, arena_printf(a, "%s%s", l->ema ? "ema." : "", x->name));
        check(t, "%s is not in the state that was just written", x->name);
        ckpt_add_later(c, x->name, CKPT_F32, x->shape.nd, x->shape.d, state_copy, (void *)t);
    }
}

/* ---- writing --------------------------------------------------------------------------------------------- */

ckpt *state_ckpt(struct learner *l, const struct position *at, const struct snapshot *s, arena *a)
{
    ckpt *c = ckpt_new();
    f32 sum = 0;
    for (int k = 0; k < state_kinds_of(l); k++)
        for (size_t i = 0; i < l->p->n; i++) {
            const struct param *x = &l->p->list[i];
            if (s)
                ckpt_add(c, arena_printf(a, "%s%s", kinds[k].prefix, x->name), CKPT_F32, x->shape.nd,
                         x->shape.d, snapshot_of(s, k, x));
            else
                state_add_values(c, a, l, &kinds[k], x);
        }
    ckpt_set_meta(c, "format", STATE_FORMAT);
    set_number(c, a, "epoch", (f64)at->epoch);
    set_number(c, a, "step", (f64)at->step);
    set_number(c, a, "sample", (f64)at->sample);
    set_number(c, a, "images", (f64)at->images);
    set_number(c, a, "evaluated", (f64)at->evaluated);
    set_number(c, a, "best", at->best);
    set_number(c, a, "best_epoch", (f64)at->best_epoch);
    set_number(c, a, "since_best", (f64)at->since_best);
    // What the next line of metrics.jsonl begins with: the losses since the last one.
    set_number(c, a, "summed", (f64)l->summed);
    if (save_scale(c, a, l) || mem_read(l->d, l->loss_sum, &sum)) {
        ckpt_close(c);
        return NULL;
    }
    set_number(c, a, "loss_sum", (f64)sum);
    return c;
}

static int state_write(const char *path, struct learner *l, const struct position *at)
{
    arena *a = arena_open("state");
    ckpt *c = state_ckpt(l, at, NULL, a);
    int rc = !c || ckpt_seal(c) || ckpt_save(c, path) ? -1 : 0;
    ckpt_close(c);
    arena_close(a);
    struct question no_more = { 0 };
    return dist_broadcast(&no_more, sizeof no_more) || rc ? -1 : 0;
}

/* The losses since the last line of metrics.jsonl, all to rank 0, which writes them. Together. */
static int gather_losses(struct learner *l)
{
    f32 own = 0;
    if (dist_size() == 1)
        return 0;
    if (dist_agree(mem_read(l->d, l->loss_sum, &own)))
        return -1;
    f64 sum = own;
    if (dist_sum(&sum, 1))
        return -1;
    own = dist_rank() ? 0 : (f32)sum;
    return dist_agree(mem_write(l->d, l->loss_sum, &own));
}

int state_save(const char *path, struct learner *l, const struct position *at)
{
    if (gather_losses(l))
        return -1;
    return dist_agree(dist_rank() ? state_serve(l) : state_write(path, l, at));
}

/* ---- reading --------------------------------------------------------------------------------------------- */

static bool read_count(const ckpt *c, const char *key, f64 most, i64 *out)
{
    f64 v = state_number(c, key);
    bool ok = v >= 0 && v <= most && v == floor(v);
    *out = ok ? (i64)v : 0;
    return ok;
}

/* Counters beyond what any run could have are those of no state. */
static int read_position(const ckpt *c, const char *path, struct position *at)
{
    const char *format = ckpt_meta(c, "format");
    const f64 most = 1125899906842624.0;                   // 2^50
    if (!format || strcmp(format, STATE_FORMAT))
        return fail(FAULT_DATA, "%s: not a state that this version can continue from (%s; wanted: %s)", path,
                    format ? format : "no format in it", STATE_FORMAT);
    at->best = state_number(c, "best");
    if (!read_count(c, "epoch", 1e6, &at->epoch) || !read_count(c, "step", most, &at->step)
        || !read_count(c, "sample", most, &at->sample) || !read_count(c, "images", most, &at->images)
        || !read_count(c, "evaluated", most, &at->evaluated)
        || !read_count(c, "best_epoch", 1e6 + 1, &at->best_epoch)
        || !read_count(c, "since_best", 1e6, &at->since_best))
        return fail(FAULT_DATA, "%s: a counter in it is outside its range", path);
    return 0;
}

/* Weights, both moments, averaged weights: everything that state_load will ask for. */
static int state_check_kind(const ckpt *c, const char *path, const char *prefix, const params *p, arena *a)
{
    for (size_t i = 0; i < p->n; i++) {
        const char *name = arena_printf(a, "%s%s", prefix, p->list[i].name);
        const tensor *t = ckpt_find(c, name);
        if (!t || !tensor_shape_is(t, p->list[i].shape.nd, p->list[i].shape.d))
            return fail(FAULT_DATA, "%s: '%s' is missing or of another shape: this is the state of another "
                                    "model%s", path,
                        name, strcmp(prefix, "ema.") ? "" : ", or of a run without train.ema");
    }
    return 0;
}

int state_check(const char *path, const params *p, bool ema, struct position *at)
{
    ckpt *c = ckpt_open(path);
    arena *a = arena_open("check of a state");
    int rc = !c || read_position(c, path, at) || ckpt_check_seal(c) ? -1 : 0;
    for (int k = 0; k < (ema ? 4 : 3) && !rc; k++)
        rc = state_check_kind(c, path, kinds[k].prefix, p, a);
    ckpt_close(c);
    arena_close(a);
    return rc;
}

static int load_tensor(const tensor *t, const char *name, const struct param *x, const char *path, f32 *v)
{
    if (!t || !tensor_shape_is(t, x->shape.nd, x->shape.d))
        return fail(FAULT_DATA, "%s: '%s' is missing or of another shape: this is the state of another model",
                    path, name);
    int rc = tensor_to_f32(t, v);
    tensor_drop(t);
    return rc;
}

/* Rank 0 reads, all get it; each keeps the moments that it updates. */
static int state_load_values(const ckpt *c, struct learner *l, int k, const struct param *x, const char *path,
                     arena *a)
{
    const char *name = arena_printf(a, "%s%s", kinds[k].prefix, x->name);
    const tensor *t = c ? ckpt_find(c, name) : NULL;
    i64 n = shape_count(x->shape);
    f32 *v = arena_array(a, f32, n);
    int rc = c ? load_tensor(t, name, x, path, v) : 0;
    if (dist_agree(rc) || dist_broadcast(v, 4 * (u64)n))
        return -1;
    return kinds[k].of ? mem_write(l->d, kinds[k].of(l, x), v)
                       : exchange_put(l, kinds[k].moment == SECOND, place_of(l, x), n, v);
}

int state_load(const char *path, struct learner *l, struct position *at)
{
    ckpt *c = dist_rank() ? NULL : ckpt_open(path);
    int rc = dist_rank() || (c && !read_position(c, path, at) && !ckpt_check_seal(c)) ? 0 : -1;
    rc = dist_agree(rc);
    arena *a = arena_open("state");
    for (int k = 0; k < state_kinds_of(l); k++)
        for (size_t i = 0; i < l->p->n && !rc; i++) {
            arena_mark m = arena_save(a);
            rc = state_load_values(c, l, k, &l->p->list[i], path, a);
            arena_restore(a, m);
        }
    rc = rc || dist_broadcast(at, sizeof *at) ? -1 : 0;
    f64 losses[2] = { c ? state_number(c, "summed") : 0, c ? state_number(c, "loss_sum") : 0 };
    rc = rc || dist_broadcast(losses, sizeof losses) ? -1 : 0;
    if (!rc) {
        f32 sum = dist_rank() ? 0 : (f32)losses[1];        // of all ranks: see gather_losses
        l->summed = (i64)losses[0];
        rc = mem_write(l->d, l->loss_sum, &sum);
    }
    if (!rc) {
        l->step = at->step;
        rc = load_scale(c, l);
    }
    ckpt_close(c);
    arena_close(a);
    return rc;
}
