/* state.c: what a run needs to continue: one safetensors file that is replaced as a whole, so that
 * weights, moments and counters always belong together. Random draws are functions of seed and step and
 * need no state. */
#include "train/learner.h"
#include <stdlib.h>

struct part { const char *prefix; range (*of)(const struct learner *l, const struct param *x); };

static range state_within(range slab, const struct param *x)
{
    return (range){ slab.mem, slab.off + 4 * (u64)x->offset, 4 * (u64)shape_count(x->shape) };
}

static range value_of(const struct learner *l, const struct param *x)
{
    return state_within(l->p->slabs[x->slab].value, x);
}

static range first_of(const struct learner *l, const struct param *x)
{
    return state_within(l->p->slabs[x->slab].m, x);
}

static range second_of(const struct learner *l, const struct param *x)
{
    return state_within(l->p->slabs[x->slab].v, x);
}

static range ema_of(const struct learner *l, const struct param *x)
{
    return state_within(l->ema_slabs[x->slab], x);
}

static const struct part parts[] = {
    { "", value_of }, { "m.", first_of }, { "v.", second_of }, { "ema.", ema_of },
};

static int state_parts_of(const struct learner *l) { return l->ema ? 4 : 3; }

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

/* A state from training in another precision has none: then the scale starts anew. */
static int load_scale(const ckpt *c, struct learner *l)
{
    struct loss_scale s = { (f32)state_number(c, "scale"), (u32)state_number(c, "scale.good"),
                            (u32)state_number(c, "scale.skipped"), (u32)state_number(c, "scale.taken"),
                            (f32)state_number(c, "scale.square") };
    if (!learner_scales(l))
        return 0;
    if (!(s.scale > 0))
        s = (struct loss_scale){ .scale = LOSS_SCALE_START, .taken = (u32)l->step };
    return learner_set_scale(l, &s);
}

int state_save(const char *path, struct learner *l, const struct progress *at)
{
    arena *a = arena_open("state");
    ckpt *c = ckpt_new();
    for (int k = 0; k < state_parts_of(l); k++)
        for (size_t i = 0; i < l->p->n; i++)
            param_save(l->p, &l->p->list[i], parts[k].of(l, &l->p->list[i]), c, a, parts[k].prefix);
    ckpt_set_meta(c, "format", "jetcl state 1");
    set_number(c, a, "epoch", (f64)at->epoch);
    set_number(c, a, "step", (f64)at->step);
    set_number(c, a, "best", at->best);
    set_number(c, a, "best_epoch", (f64)at->best_epoch);
    set_number(c, a, "since_best", (f64)at->since_best);
    int rc = save_scale(c, a, l) || ckpt_save(c, path) ? -1 : 0;
    ckpt_close(c);
    arena_close(a);
    return rc;
}

static int load_part(const ckpt *c, struct learner *l, int k, const struct param *x, const char *path,
                     arena *a)
{
    const char *name = arena_printf(a, "%s%s", parts[k].prefix, x->name);
    const tensor *t = ckpt_find(c, name);
    if (!t || !tensor_shape_is(t, x->shape.nd, x->shape.d))
        return fail(FAULT_DATA, "%s: '%s' is missing or of another shape: this is the state of another model",
                    path, name);
    f32 *v = arena_array(a, f32, t->count);
    int rc = tensor_to_f32(t, v) || mem_write(l->d, parts[k].of(l, x), v) ? -1 : 0;
    tensor_drop(t);
    return rc;
}

int state_load(const char *path, struct learner *l, struct progress *at)
{
    ckpt *c = ckpt_open(path);
    if (!c)
        return -1;
    arena *a = arena_open("state");
    int rc = 0;
    for (int k = 0; k < state_parts_of(l); k++)
        for (size_t i = 0; i < l->p->n && !rc; i++) {
            arena_mark m = arena_save(a);
            rc = load_part(c, l, k, &l->p->list[i], path, a);
            arena_restore(a, m);
        }
    *at = (struct progress){ (i64)state_number(c, "epoch"), (i64)state_number(c, "step"),
                             state_number(c, "best"),
                             (i64)state_number(c, "best_epoch"), (i64)state_number(c, "since_best") };
    l->step = at->step;
    rc = rc || load_scale(c, l) ? -1 : 0;
    ckpt_close(c);
    arena_close(a);
    return rc;
}
