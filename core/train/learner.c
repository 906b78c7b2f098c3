/* learner.c: one optimiser step. A batch is computed in micro-batches that fit the device; the graph of one
 * leaves its gradients in the gradient slab (added up when there are several), then the optimiser's graph
 * takes one step.
 *
 *     upload 0 | forward, backward | += | upload 1 | forward, backward | += | clip, AdamW | EMA
 *
 * Everything is enqueued; the host only waits for the step before the last one, so that it stays ahead
 * of the device.
 */
#include "train/learner.h"
#include <math.h>

static range learner_take(pool *pool, u64 bytes)
{
    range r = pool_take(pool, bytes);
    r.bytes = bytes;
    return r;
}

/* Where gradients go: their slab, or, with several micro-batches, another one laid out alike. */
static int gradient_homes(struct learner *l, range *home)
{
    for (size_t i = 0; i < l->p->n; i++)
        home[i] = l->p->list[i].grad;
    if (l->micro_batches == 1 || l->p->shard_grads)
        return 0;
    l->micro_grads = pool_new(l->d, "gradients of a micro-batch");
    if (pool_reserve(l->micro_grads, params_bytes(l->p, PARAMS_FORWARD)))
        return -1;
    for (size_t k = 0; k < l->p->n; k++) {
        int i = l->p->order[k];
        const struct param *x = &l->p->list[i];
        home[i] = pool_take(l->micro_grads, ROUND_UP((u64)shape_count(x->shape), (u64)ADAMW_BLOCK) * 4);
        if (!home[i].mem)
            return -1;
        home[i].bytes = x->grad.bytes;
    }
    return 0;
}

/* After which node are r's values there? The rewrites may have merged the one that was placed there. */
static int made_at(const graph *g, range r)
{
    int at = -1;
    for (size_t i = 0; i < g->n; i++)
        if (node_makes(g->nodes[i], r))
            at = MAX(at, node_ready(g->nodes[i]));
    return at;
}

/* Each gradient is added to those of the micro-batches before as soon as it is there: other ranks get it, in
 * the last one, while the rest is computed. */
static void add_gradients(struct learner *l, node *const *grads, const range *home)
{
    for (size_t i = 0; i < l->p->n && l->micro_batches > 1; i++) {
        if (!grads[i])
            continue;
        op_add_into(l->g, l->p->list[i].grad, home[i], shape_count(l->p->list[i].shape));
        graph_hoist(l->g, made_at(l->g, home[i]));
    }
}

/* The gradients into their homes; or, where other ranks update most of them, into memory that is free again
 * once the host has read them. */
static void place_gradients(struct learner *l, node **grads, const range *home)
{
    for (size_t i = l->p->n; i-- > 0 && !l->g->complaint;)
        if (grads[i] && l->p->shard_grads)
            grads[i] = node_offload(grads[i]);
        else if (grads[i])                        // a parameter the loss does not see keeps a zero gradient
            simplify_place(grads[i], home[i]);
}

static int learner_build(struct learner *l)
{
    const struct spec *s = l->s;
    struct nn m = { l->g = graph_new(l->d), l->p, .train = true };
    l->g->half = model_precision(s);
    l->images = graph_input(l->g, "images", F32, model_images(s, l->micro_size));
    l->targets = graph_input(l->g, "targets", F32, SHAPE(l->micro_size, s->model.classes));
    graph_step(l->g);
    node *logits = model_build(&m, s, l->images);
    node *loss = op_mean(op_cross_entropy(logits, l->targets, (f32)s->augment.smoothing));
    if (l->micro_size < s->train.batch)            // its share of the batch's mean: they are summed
        loss = op_scale(loss, (f32)((f64)l->micro_size / s->train.batch));
    node **wrt = arena_array(l->g->a, node *, l->p->n), **grads = arena_array(l->g->a, node *, l->p->n);
    range *home = arena_array(l->g->a, range, l->p->n);
    for (size_t i = 0; i < l->p->n; i++)
        check((wrt[i] = nn_node(&m, l->p->list[i].name)), "%s is not in the model", l->p->list[i].name);
    if (gradient_homes(l, home))
        return -1;
    node *seen = loss;
    if (learner_scales(l)) {                      // the gradient's own; the loss is reported as it is
        range scale = { l->optim.scale.mem, l->optim.scale.off, dtype_bytes(F32) };
        seen = op_mul(loss, graph_fixed(l->g, "loss scale", F32, SCALAR, scale));
    }
    model_grad(s, seen, wrt, (int)l->p->n, grads);
    place_gradients(l, grads, home);
    simplify_place(loss, l->loss);
    op_add_into(l->g, l->loss_sum, l->loss, 1);
    simplify_graph(l->g);
    if (l->p->shard_grads)
        graph_offload_early(l->g);
    else if (!l->g->complaint)
        add_gradients(l, grads, home);
    return graph_compile(l->g) || (l->p->shard_grads ? rounds_open(l, grads) : exchange_plan(l))
                   || feed_open(&l->feed, l->d, l->images, l->micro_size == s->train.batch) ? -1 : 0;
}

static int open_ema(struct learner *l)
{
    if (!(l->ema = params_twin(l->p, "averaged weights")))
        return -1;
    l->ema_graph = graph_new(l->d);
    for (int k = 0; k < l->p->n_slabs; k++)
        op_blend_into(l->ema_graph, l->ema->slabs[k].value, l->p->slabs[k].value, l->p->slabs[k].count,
                      (f32)l->s->train.ema);
    simplify_graph(l->ema_graph);
    return graph_compile(l->ema_graph);
}

int learner_open(struct learner *l, const struct spec *s, dev *d, params *p)
{
    *l = (struct learner){ .s = s, .d = d, .p = p, .memory = pool_new(d, "loss") };
    int to;
    exchange_share(s, &l->first, &to);
    int share = to - l->first;
    l->micro_batches = share ? MAX(1, MIN(s->train.accumulate, share)) : 0;  // auto: see session_open
    l->micro_size = share ? CEIL_DIV(share, l->micro_batches) : 0;
    if (l->micro_size * l->micro_batches != share)
        return fail(FAULT_USAGE, "%d images of a batch cannot be split into %d equal micro-batches "
                    "(train.accumulate)", share, l->micro_batches);
    if (l->micro_batches > 1)
        say(SAY_NORMAL, "each batch of %d is computed in %d micro-batches", share, l->micro_batches);
    l->loss = learner_take(l->memory, 4);
    l->loss_sum = learner_take(l->memory, 4);
    if (!l->loss.mem || !l->loss_sum.mem || mem_fill(d, l->loss_sum, 0))
        return -1;
    if (optim_open(&l->optim, s, p)
        || (share ? learner_build(l) : p->shard_grads ? rounds_open(l, NULL) : exchange_plan(l)))
        return -1;
    return s->train.ema > 0 ? open_ema(l) : 0;
}

void learner_close(struct learner *l)
{
    if (l->d)
        dev_finish(l->d);
    feed_close(&l->feed);
    rounds_close(l->rounds);
    graph_free(l->g);
    graph_free(l->ema_graph);
    optim_close(&l->optim);
    params_free(l->ema);
    pool *pools[] = { l->memory, l->micro_grads };
    for (int i = 0; i < countof(pools); i++)
        if (pools[i])
            pool_free(pools[i]);
    *l = (struct learner){ 0 };
}

/* A graph's own step words; waits only when the ring comes round to words still in use. */
static int learner_set_step(struct learner *l, graph *g, const step_words *w)
{
    int slot = (int)(l->runs % STEPS_AHEAD);
    if (l->done[slot] && dev_wait(l->d, l->done[slot]))
        return -1;
    l->ring[slot] = *w;
    return graph_set_step(g, &l->ring[slot]);
}

static void learner_ran(struct learner *l) { l->done[l->runs++ % STEPS_AHEAD] = dev_fence(l->d); }

static int learner_run(struct learner *l, graph *g, const step_words *w, int n_marks)
{
    if (learner_set_step(l, g, w) || graph_run_marks(g, l->marks, n_marks))
        return -1;
    learner_ran(l);
    return 0;
}

/* Loss and gradients of micro-batch number `micro`; none of this rank's, where others have more. */
static int learner_micro(struct learner *l, const struct batch *b, int micro, step_words w)
{
    bool computes = micro < l->micro_batches;
    w.u[STEP_NUMBER] = (u32)l->step;
    w.u[STEP_BEFORE] = (u32)(l->first + micro * l->micro_size);
    w.u[STEP_OTHERS] = (u32)(l->s->train.batch - l->micro_size);
    if (computes && (feed_batch(&l->feed, b, (i64)micro * l->micro_size, l->micro_size)
                     || mem_write_later(l->d, l->targets->home,
                                        b->soft_labels + micro * node_count(l->targets))))
        return -1;
    if (!l->rounds)
        return learner_run(l, l->g, &w, micro + 1 < l->micro_batches ? 0 : l->n_marks);
    if ((computes && learner_set_step(l, l->g, &w)) || rounds_run(l, !micro, computes))
        return -1;
    if (computes)
        learner_ran(l);
    return 0;
}

static int learner_gradients(struct learner *l, const struct batch *b, const step_words *w)
{
    int passes = l->rounds ? rounds_passes(l) : l->micro_batches;
    if (passes < 0)
        return -1;
    if (l->micro_batches != 1 && !l->rounds)              // they are added up, or there are none
        for (int k = 0; k < l->p->n_slabs; k++)
            if (mem_fill(l->d, l->p->slabs[k].grad, 0))
                return -1;
    for (int micro = 0; micro < passes; micro++)
        if (learner_micro(l, b, micro, *w))
            return -1;
    return exchange_gradients(l);
}

int learner_step(struct learner *l, const struct batch *b, f64 lr_factor)
{
    const struct spec *s = l->s;
    step_words w = { .u = { [STEP_SEED_LO] = (u32)s->seed, [STEP_SEED_HI] = (u32)((u64)s->seed >> 32) } };
    if (learner_gradients(l, b, &w))
        return -1;
    l->summed++;
    l->step++;
    w.u[STEP_NUMBER] = (u32)l->step;
    w.f[STEP_LR] = (f32)(s->optim.lr * lr_factor);
    w.f[STEP_BIAS1] = (f32)(1 - pow(s->optim.betas.v[0], (f64)l->step));
    w.f[STEP_BIAS2] = (f32)(1 - pow(s->optim.betas.v[1], (f64)l->step));
    w.f[STEP_GRAD_SCALE] = 1;
    if ((l->optim.squares->list && graph_run(l->optim.squares)) || exchange_norm(l)
        || (l->optim.owns && learner_run(l, l->optim.g, &w, 0)) || exchange_values(l)
        || (l->ema_graph && graph_run(l->ema_graph)))
        return -1;
    int slot = (int)(l->step % STEPS_AHEAD);
    l->late[slot].steps = l->summed;
    if (mem_read_later(l->d, l->optim.norm, &l->late[slot].square)
        || mem_read_later(l->d, l->loss_sum, &l->late[slot].sum))
        return -1;
    l->before = l->last;
    l->last = dev_fence(l->d);
    dev_flush(l->d);
    return 0;
}

int learner_wait(struct learner *l)
{
    if (!l->before)
        return 0;
    if (dev_wait(l->d, l->before))
        return -1;
    if (learner_scales(l))
        return 0;                                 // an overflow is skipped
    f64 square = l->late[(l->step - 1) % STEPS_AHEAD].square;
    return isfinite(square) ? 0 : fail(FAULT_NUMBERS, "step %lld: the gradient's norm is %g: lower optim.lr, "
                                       "or find where it began with JETCL_TRACE=nan", (long long)l->step - 1,
                                       sqrt(square));
}

int learner_read(struct learner *l, f64 *loss, f64 *grad_norm)
{
    f32 sum, square;
    if (mem_read(l->d, l->loss_sum, &sum) || mem_read(l->d, l->optim.norm, &square)
        || mem_fill(l->d, l->loss_sum, 0))
        return -1;
    struct loss_scale scale;
    if (learner_scales(l)) {
        if (learner_scale(l, &scale))
            return -1;
        square = scale.square;
    }
    *loss = sum;
    if (dist_sum(loss, 1))
        return -1;
    *loss /= (f64)MAX(1, l->summed);
    *grad_norm = sqrt(square);
    l->summed = 0;
    return 0;
}

f64 learner_loss(const struct learner *l)
{
    int slot = (int)((l->step + STEPS_AHEAD - 1) % STEPS_AHEAD);
    f64 images = (f64)l->late[slot].steps * l->micro_size * l->micro_batches;
    return images > 0 ? (f64)l->late[slot].sum * l->s->train.batch / images : NAN;
}

bool learner_scales(const struct learner *l) { return l->s->train.precision == PRECISION_fp16; }

int learner_scale(struct learner *l, struct loss_scale *out) { return mem_read(l->d, l->optim.scale, out); }
int learner_set_scale(struct learner *l, const struct loss_scale *s)
{
    return mem_write(l->d, l->optim.scale, s);
}

params *learner_weights(const struct learner *l) { return l->ema ? l->ema : l->p; }
