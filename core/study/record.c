/* record.c: one device's part of a comparison. The first step is computed twice: once in a graph of its own
 * that keeps every named activation and every gradient, and then, as all others, by the learner that trains. */
#include "study/compare.h"
#include "study/energy.h"
#include "train/learner.h"
#include <math.h>
#include <stdlib.h>

extern const char jetcl_git[];

/* A run in the making: what is recorded (r NULL: only its loss and its weights), and with which change. */
struct making {
    struct record *r;
    arena *a;
    const struct record_options *o;
    struct session e;
    struct learner l;
    loader *data;
    const struct batch *held;
    i64     next_epoch, left;                     /* of the loader: batches left of this epoch */
    bool    nudge;
    f64    *loss;
    struct record *seed;                       /* where the loss and the accuracy of this seed go, at the end */
    struct record *base;                       /* of a nudged run: r, whose bounds it widens */
    f64     started;
};

/* ---- tensors --------------------------------------------------------------------------------------------- */

static void record_add(struct making *m, const char *name, enum record_kind kind, i64 step, const f32 *v,
                       i64 count, f64 bound)
{
    struct record_tensor *t = arena_push(m->a, m->r->tensors, m->r->n, m->r->cap);
    *t = (struct record_tensor){ .name = name, .kind = kind, .step = step, .count = count,
                                 .n = MIN(count, m->o->keep), .bound = bound };
    t->hash = hash_bytes(HASH_START, v, (size_t)count * 4) | 1;
    t->v = arena_array(m->a, f32, MAX(1, t->n));
    for (i64 i = 0; i < t->n; i++)
        t->v[i] = v[record_index(i, t->n, count)];
}

/* A value of this run: recorded, or, in the run with perturbed weights, compared with the recorded one. */
static void record_value(struct making *m, const char *name, enum record_kind kind, i64 step, const f32 *v,
                         i64 count, f64 bound)
{
    struct record_tensor *t = record_find(m->r, name);
    if (!m->base && !t)
        record_add(m, name, kind, step, v, count, bound);
    else if (m->base && t && kind != RECORD_START && kind != RECORD_INPUT)
        record_spread(t, v, record_unit(m->base->precision));
}

/* Weights at the start (step 0) or after `step` steps. */
static int record_weights(struct making *m, i64 step)
{
    params *p = m->e.p;
    for (size_t i = 0; i < p->n; i++) {
        const struct param *x = &p->list[i];
        const char *name = arena_printf(m->a, step ? "after.%lld/%s" : "start/%.0lld%s", (long long)step,
                                        x->name);
        arena *scratch = arena_open("weights");
        f32 *v = arena_array(scratch, f32, shape_count(x->shape));
        int rc = params_read(p, x, v);
        if (!rc)
            record_value(m, name, step ? RECORD_AFTER : RECORD_START, step, v, shape_count(x->shape), 0);
        arena_close(scratch);
        if (rc)
            return -1;
    }
    return 0;
}

/* Every weight one rounding up or down. */
static int record_nudge(params *p)
{
    int rc = 0;
    for (size_t i = 0; i < p->n && !rc; i++) {
        struct param *x = &p->list[i];
        arena *a = arena_open("weights");
        f32 *v = arena_array(a, f32, shape_count(x->shape));
        rng r = rng_at(1, RNG_TEST, i, 0);
        rc = params_read(p, x, v);
        for (i64 k = 0; k < shape_count(x->shape); k++)
            v[k] = v[k] ? nextafterf(v[k], rng_u32(&r) & 1 ? INFINITY : -INFINITY) : 0;
        rc = rc || params_write(p, x, v) ? -1 : 0;
        arena_close(a);
    }
    return rc;
}

/* ---- the first step, kept in parts ----------------------------------------------------------------------- */

struct first { graph *g; node *images, *targets, *loss, **grads; struct nn m; struct feed feed; node **seen; };

enum { LARGEST_TAP = 1 << 26 };                   /* bytes; attention of large images is left out */

static int first_build(struct making *m, struct first *f)
{
    struct session *e = &m->e;
    const struct spec *s = &e->s;
    params *p = e->p;
    f->g = graph_new(e->d);
    f->g->half = model_precision(s);
    f->m = (struct nn){ f->g, p, .train = true };
    f->images = graph_input(f->g, "images", F32, model_images(s, m->l.micro_size));
    f->targets = graph_input(f->g, "targets", F32, SHAPE(m->l.micro_size, s->model.classes));
    graph_step(f->g);
    node *logits = model_build(&f->m, s, f->images), **wrt = arena_array(f->g->a, node *, p->n);
    f->loss = node_keep(op_mean(op_cross_entropy(logits, f->targets, (f32)s->augment.smoothing)));
    nn_tap(&f->m, logits, "logits");
    f->grads = arena_array(f->g->a, node *, p->n);
    f->seen = arena_array(f->g->a, node *, f->m.n_taps);
    for (size_t i = 0; i < p->n; i++)
        wrt[i] = nn_node(&f->m, p->list[i].name);
    model_grad(s, f->loss, wrt, (int)p->n, f->grads);
    for (size_t i = 0; i < p->n && !f->g->complaint; i++)
        if (f->grads[i])
            f->grads[i] = simplify_place(f->grads[i], p->list[i].grad);
    for (size_t i = 0; i < f->m.n_taps; i++) {
        node *n = f->m.taps[i].n;
        if (node_bytes(n) <= LARGEST_TAP)
            f->seen[i] = node_keep(n->op->flags & (OP_ALIAS | OP_LEAF) ? op_copy(n) : n);
    }
    simplify_graph(f->g);
    return graph_compile(f->g) || feed_open(&f->feed, e->d, f->images, m->l.micro_batches == 1) ? -1 : 0;
}

/* What the network sees, so that another framework can compute the same from the record alone. */
static int first_input(struct making *m, const node *n, const char *name)
{
    f32 *v = arena_array(n->g->a, f32, node_count(n));
    if (node_read(n, v))
        return -1;
    record_value(m, name, RECORD_INPUT, 1, v, node_count(n), 0);
    return 0;
}

static int first_keep(struct making *m, struct first *f)
{
    if (first_input(m, f->images, "input/images") || first_input(m, f->targets, "input/targets"))
        return -1;
    f64 *bound = record_bounds(f->g->a, f->g, record_unit(m->r->precision));
    params *p = m->e.p;
    for (size_t i = 0; i < f->m.n_taps; i++) {
        const node *n = f->seen[i];
        if (!n)
            continue;
        f32 *v = arena_array(f->g->a, f32, node_count(n));
        if (node_read(n, v))
            return -1;
        record_value(m, arena_printf(m->a, "forward/%s", f->m.taps[i].name), RECORD_FORWARD, 1, v,
                     node_count(n), bound[n->id]);
    }
    for (size_t i = 0; i < p->n; i++) {
        const struct param *x = &p->list[i];
        f32 *v = arena_array(f->g->a, f32, shape_count(x->shape));
        if (!f->grads[i])
            continue;
        if (mem_read(m->e.d, x->grad, v))
            return -1;
        record_value(m, arena_printf(m->a, "gradient/%s", x->name), RECORD_GRADIENT, 1, v,
                     shape_count(x->shape), bound[f->grads[i]->id]);
    }
    return 0;
}

static int record_first(struct making *m, const struct batch *b)
{
    struct first f = { 0 };
    u64 seed = (u64)m->e.s.seed;
    step_words w = { .u = { [STEP_SEED_LO] = (u32)seed, [STEP_SEED_HI] = (u32)(seed >> 32) } };
    int rc = first_build(m, &f) || feed_batch(&f.feed, b, 0, m->l.micro_size)
             || mem_write_later(m->e.d, f.targets->home, b->soft_labels) || graph_set_step(f.g, &w)
             || graph_run(f.g)
             || dev_finish(m->e.d) || first_keep(m, &f) ? -1 : 0;
    for (int k = 0; k < m->e.p->n_slabs && !rc; k++)       // what learner_open left there
        rc = mem_fill(m->e.d, m->e.p->slabs[k].grad, 0) || dev_finish(m->e.d) ? -1 : 0;
    feed_close(&f.feed);
    graph_free(f.g);
    return rc;
}

/* ---- steps ----------------------------------------------------------------------------------------------- */

static const struct batch *record_batch(struct making *m, struct batch *made_up, arena *scratch, i64 step)
{
    if (!m->data) {
        *made_up = feed_noise(scratch, &m->e.s, m->e.s.train.batch, (u64)m->e.s.seed + (u64)step * 1000003u);
        return made_up;
    }
    if (!m->left) {
        m->left = loader_batches(m->data);
        loader_start(m->data, m->next_epoch++, 0);
    }
    m->left--;
    return m->held = loader_next(m->data);
}

static bool record_due(const struct making *m, i64 step)
{
    return step == 1 || step == 10 || step == m->o->steps;
}

static int record_step(struct making *m, i64 step, f64 *busy)
{
    arena *scratch = arena_open("batch");
    struct batch made_up;
    f64 norm, per_epoch = m->data ? (f64)loader_batches(m->data) : 100, began;
    const struct batch *b = record_batch(m, &made_up, scratch, step);
    int rc = !b || (step == 1 && m->r && record_first(m, b)) ? -1 : 0;
    began = clock_now();
    f64 factor = schedule_factor(&m->e.s, step - 1, (i64)per_epoch);
    rc = rc || learner_step(&m->l, b, factor) || learner_read(&m->l, &m->loss[step - 1], &norm) ? -1 : 0;
    if (step == 1 && !rc && m->r && !m->base)
        m->r->start_s = clock_now() - m->started;
    else
        *busy += clock_now() - began;
    if (m->held)
        loader_release(m->data, m->held);
    m->held = NULL;
    arena_close(scratch);
    return rc || (m->r && record_due(m, step) && record_weights(m, step)) ? -1 : 0;
}

/* ---- whole runs ------------------------------------------------------------------------------------------ */

static int record_open(struct making *m, const struct spec *s)
{
    m->started = clock_now();
    bool data = *s->data.set;
    struct spec with = *s;
    if (!data && !with.model.classes)
        with.model.classes = 10;
    int wants = !data ? 0 : SESSION_TRAIN_DATA | (m->o->seeds > 1 && m->seed ? SESSION_EVAL_DATA : 0);
    if (session_open(&m->e, &with, SESSION_TRAINS | wants, NULL))
        return -1;
    if (m->r)
        m->r->precision = model_rounding(&m->e.s, m->e.d);
    if (m->nudge && record_nudge(m->e.p))
        return -1;
    if (data && !(m->data = loader_open(m->e.train, &m->e.train_options)))
        return -1;
    return learner_open(&m->l, &m->e.s, m->e.d, m->e.p);
}

static void record_close(struct making *m)
{
    learner_close(&m->l);
    if (m->data)
        loader_close(m->data);
    session_close(&m->e);
}

static void record_identity(struct making *m)
{
    const struct dev_info *d = dev_info(m->e.d);
    struct record *r = m->r;
    struct spec s = m->e.s;
    s.device = "";
    r->device = arena_printf(m->a, "%s", d->name);
    r->platform = arena_printf(m->a, "%s", d->platform);
    r->driver = arena_printf(m->a, "%s, %s", d->driver, d->version);
    r->program = arena_printf(m->a, "%s (%s)", JETCL_VERSION, jetcl_git);
    r->experiment = arena_printf(m->a, "%016llx", (unsigned long long)spec_hash(&s));
    r->batch = m->e.s.train.batch;
}

/* Accuracy on the evaluation split, with the weights as they are. */
static int record_top1(struct making *m, f64 *top1)
{
    struct evaluator v = { 0 };
    struct run_eval got;
    loader *l = loader_open(m->e.eval, &m->e.eval_options);
    int rc = !l || evaluator_open(&v, &m->e.s, m->e.d, m->e.p, m->e.eval_options.batch)
             || evaluate(&v, l, &got, NULL) ? -1 : 0;
    *top1 = rc ? NAN : got.top1;
    evaluator_close(&v);
    if (l)
        loader_close(l);
    return rc;
}

/* Adds a seed to the record: the mean loss of the last tenth of its steps, its accuracy. */
static int record_seed(struct making *m)
{
    struct record *r = m->seed;
    i64 n = m->o->steps, from = n - MAX(1, n / 10);
    f64 sum = 0;
    for (i64 i = from; i < n; i++)
        sum += m->loss[i];
    r->seed_loss[r->n_seeds] = sum / (f64)(n - from);
    r->seed_top1[r->n_seeds] = NAN;
    int rc = m->e.eval ? record_top1(m, &r->seed_top1[r->n_seeds]) : 0;
    r->n_seeds++;
    return rc;
}

static int record_train(struct making *m)
{
    f64 busy = 0;
    struct energy energy;
    energy_begin(&energy, "/sys", dev_info(m->e.d));
    int rc = m->r && !m->base ? record_weights(m, 0) : 0;
    for (i64 step = 1; step <= m->o->steps && !rc; step++) {
        progress("%s: step %lld of %lld%s", m->o->label, (long long)step, (long long)m->o->steps,
                 m->nudge ? ", weights one rounding off" : m->r ? "" : ", another seed");
        rc = record_step(m, step, &busy);
        energy_tick(&energy);
        if (stop_requested() && !rc)
            rc = fail(FAULT_STOPPED, "stopped by a signal");
    }
    f64 joules = energy_end(&energy);
    if (!rc && m->seed)
        rc = record_seed(m);
    if (rc || !m->r || m->base)
        return rc;
    i64 timed = MAX(1, m->o->steps - 1);
    m->r->step_ms = 1e3 * busy / (f64)timed;
    m->r->img_s = busy > 0 ? (f64)(timed * m->r->batch) / busy : 0;
    m->r->joules = joules / (f64)m->o->steps;
    m->r->joules_from = energy.from;
    m->r->memory = dev_mem_peak(m->e.d);
    return record_kernels(m->r, m->a, m->e.d, m->l.g->list, m->l.optim.g->list);
}

static int record_run(struct making *m, const struct spec *s)
{
    m->loss = arena_array(m->a, f64, m->o->steps);
    int rc = record_open(m, s);
    if (!rc && m->r && !m->base)
        record_identity(m);
    rc = rc || record_train(m) ? -1 : 0;
    progress_done();
    record_close(m);
    return rc;
}

/* The experiment with a later seed, of which only the losses are kept, and what seeds show. */
static int record_reseed(struct record *r, arena *a, const struct spec *s, const struct record_options *o,
                         int seed)
{
    struct making m = { .a = a, .o = o, .seed = r };
    struct spec seeded = *s;
    seeded.seed += seed;
    if (record_run(&m, &seeded))
        return -1;
    if (seed == 1)
        r->reseeded = m.loss, r->n_reseeded = (int)o->steps;
    return 0;
}

int record_make(struct record *r, arena *a, const struct spec *s, const struct record_options *o)
{
    struct making m = { .r = r, .a = a, .o = o, .seed = r };
    int seeds = MAX(1, o->seeds);
    *r = (struct record){ .label = o->label, .settings = o->settings ? o->settings : "", .steps = o->steps,
                          .joules_from = "",
                          .seed_loss = arena_array(a, f64, seeds + 1),
                          .seed_top1 = arena_array(a, f64, seeds + 1) };
    if (record_run(&m, s))
        return -1;
    r->loss = m.loss, r->n_loss = (int)o->steps;
    struct making nudged = { .r = r, .a = a, .o = o, .nudge = true, .base = r };
    if (o->yardsticks && record_run(&nudged, s))
        return -1;
    if (o->yardsticks)
        r->nudged = nudged.loss, r->n_nudged = (int)o->steps;
    for (int k = 1; k < MAX(seeds, o->yardsticks ? 2 : 1); k++)
        if (record_reseed(r, a, s, o, k))
            return -1;
    r->n_seeds = seeds;                           // the run with another seed above is not one of them
    return 0;
}
