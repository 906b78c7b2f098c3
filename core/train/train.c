/* train.c: the training loop. The device always has a step to do: batches are prepared on threads, a step is
 * only enqueued, and losses are read every log.every steps. */
#include "train/learner.h"
#include <math.h>

struct loop {
    struct session  *e;
    report          *r;
    struct learner   l;
    struct evaluator v;
    loader          *train, *eval;
    const struct batch *held;                     /* whose arrays the device may still read */
    struct position  at;
    saver           *saver;
    i64              per_epoch, done;             /* steps: of an epoch, in this process */
    f64              began, saved;                /* clock_now() of train_loop, of the last save */
    bool             stop;                        /* some rank was asked to */
    struct timing    timing;
    f64              told, waited;            /* when the last numbers were reported, and dist_seconds() then */
};

static const struct spec *spec_of(const struct loop *t) { return &t->e->s; }

/* ---- position ------------------------------------------------------------------------------------------ */

/* Position is kept in samples; steps of this batch size are what the schedule goes by. */
static i64 steps_into_epoch(const struct loop *t) { return t->at.sample / spec_of(t)->train.batch; }
static i64 train_position(const struct loop *t) { return t->at.epoch * t->per_epoch + steps_into_epoch(t); }

/* Are all batches of the epoch done? The rest, too few for one, is left out. */
static bool is_whole(const struct loop *t) { return t->at.sample + spec_of(t)->train.batch > t->at.images; }

static bool is_over(const struct loop *t)
{
    const struct spec *s = spec_of(t);
    return t->at.epoch >= s->train.epochs || (s->train.steps && t->at.step >= s->train.steps)
           || (t->at.epoch == s->train.epochs - 1 && is_whole(t));
}

/* ---- checkpoints --------------------------------------------------------------------------------------- */

static int save_weights(struct loop *t, const char *name)
{
    return session_save(t->e, learner_weights(&t->l), report_path(t->r, name));
}

static int train_save(struct loop *t, bool epoch_file)
{
    t->saved = clock_now();
    return saver_start(t->saver, &t->at, epoch_file ? t->at.epoch : 0);
}

static int stop_here(struct loop *t)
{
    if (train_save(t, false) || saver_finish(t->saver))
        return -1;
    return fail(FAULT_STOPPED, "stopped by a signal after step %lld; --resume continues",
                (long long)t->at.step);
}

/* ---- evaluation ---------------------------------------------------------------------------------------- */

static f64 train_merit(const struct loop *t, const struct run_eval *got)
{
    switch (spec_of(t)->eval.metric) {
    case EVAL_top5: return got->top5;
    case EVAL_loss: return -got->loss;
    default:        return got->top1;
    }
}

/* Any loss is better than one that is not a number. */
static bool is_better(f64 now, f64 best) { return isnan(best) ? !isnan(now) : now > best; }

/* Better than any before: kept by rank 0, or, where it cannot be written, not the best yet. Together. */
static int keep_best(struct loop *t, const struct run_eval *got)
{
    int rc = t->r && spec_of(t)->keep.best ? save_weights(t, "ckpt/best.safetensors") : 0;
    bool full = rc && fail_fault() == FAULT_RUN;
    if (full) {
        warn("cannot save the best weights: %s; the run continues", fail_message());
        fail_clear();
        rc = 0;
    }
    if (dist_agree_flag(rc, &full))
        return -1;
    if (!full) {
        t->at.best = train_merit(t, got);
        t->at.best_epoch = got->epoch;
    }
    return 0;
}

/* 0; 1 when a signal stopped it: then it was not. */
static int evaluate_now(struct loop *t)
{
    struct run_eval got;
    f64 began = clock_now();
    if (evaluate(&t->v, t->eval, &got, NULL))
        return dist_size() == 1 && stop_requested() && fail_fault() == stop_fault() ? 1 : -1;
    got.epoch = (int)(t->at.epoch + (t->at.sample > 0));
    got.step = t->at.step;
    timeline_span("training", "evaluate", "", began, clock_now());
    bool better = !t->at.best_epoch || is_better(train_merit(t, &got), t->at.best);
    t->at.since_best = better ? 0 : t->at.since_best + 1;
    t->at.evaluated = t->at.step;
    int rc = better ? keep_best(t, &got) : 0;
    rc = rc || (t->r && report_eval(t->r, &got)) ? -1 : 0;
    return dist_agree(rc);
}

/* ---- steps --------------------------------------------------------------------------------------------- */

/* A scale below 1 no longer helps: gradients are not finite for another reason than their size. */
static int read_scale(struct loop *t, struct report_step *s)
{
    struct loss_scale now;
    if (!learner_scales(&t->l))
        return 0;
    if (learner_scale(&t->l, &now))
        return -1;
    s->scale = (f64)now.scale;
    s->skipped = now.skipped;
    return now.scale >= 1 ? 0 : fail(FAULT_NUMBERS, "step %lld: the loss scale fell to %g and gradients are "
                                     "still not finite: lower optim.lr, or try train.precision bf16",
                                     (long long)s->step, s->scale);
}

static int report_now(struct loop *t, f64 lr)
{
    struct report_step s = { .epoch = (int)t->at.epoch + 1, .step = t->at.step, .lr = lr,
                             .mem = dev_mem_peak(t->e->d), .ranks = dist_size() > 1 };
    f64 now = clock_now(), waited = dist_seconds();
    s.comm = t->told ? 100 * (waited - t->waited) / (now - t->told) : NAN;
    t->told = now;
    t->waited = waited;
    if (learner_read(&t->l, &s.loss, &s.grad_norm) || read_scale(t, &s) || (t->r && report_step(t->r, &s)))
        return -1;
    if (!isfinite(s.loss) || !isfinite(s.grad_norm))
        return fail(FAULT_NUMBERS, "step %lld: the loss is %g and the gradient's norm %g: lower optim.lr, or "
                    "find where it began with JETCL_TRACE=nan", (long long)s.step, s.loss, s.grad_norm);
    return 0;
}

static int one_step(struct loop *t, const struct batch *b)
{
    const struct spec *s = spec_of(t);
    f64 factor = schedule_factor(s, train_position(t), t->per_epoch);
    if (!t->done)
        progress("computing the first step");     // drivers build what is left at its launches
    if (learner_step(&t->l, b, factor))
        return -1;
    timing_part(&t->timing, "compute");
    if (learner_wait(&t->l))
        return -1;
    timing_part(&t->timing, "wait for device");
    if (t->held)
        loader_release(t->train, t->held);        // the step before is done
    t->held = b;
    t->at.step++;
    t->at.sample += s->train.batch;
    t->done++;
    if (t->r)
        report_tick(t->r, &(struct report_tick){ (int)t->at.epoch + 1, (int)steps_into_epoch(t),
                                                 (int)t->per_epoch, t->done * s->train.batch,
                                                 loader_wait_seconds(t->train), learner_loss(&t->l) });
    if (t->done == 2)                             // learner_wait has seen the first
        say(SAY_NORMAL, "first step after %.1f s, kernels included", clock_now() - t->began);
    bool due = t->at.step % s->log.every == 0 || is_whole(t) || is_over(t);
    if (due && report_now(t, s->optim.lr * factor))
        return -1;
    bool save = s->keep.minutes > 0 && clock_now() - t->saved >= 60 * s->keep.minutes;
    if (dist_size() > 1 && (!due || dist_agree_flag(0, &save)))  // exchanged only where ranks meet anyway
        return due ? -1 : 0;
    return save ? train_save(t, false) : 0;
}

static int release_held(struct loop *t)
{
    int rc = dev_finish(t->e->d);
    if (t->held)
        loader_release(t->train, t->held);
    t->held = NULL;
    return rc;
}

/* Together: all ranks have a batch, or none has: at the end of an epoch, after a
 * fault (*rc), or asked to stop. */
static const struct batch *next_batch(struct loop *t, int *rc)
{
    bool over = is_over(t);
    t->stop = stop_requested();
    const struct batch *b = over || t->stop ? NULL : loader_next(t->train);
    *rc = dist_agree_flag(!b && !over && !t->stop && fail_fault() != FAULT_NONE ? -1 : 0, &t->stop);
    if (b && (*rc || t->stop)) {
        loader_release(t->train, b);
        b = NULL;
    }
    return b;
}

static const char *trace_path(const struct loop *t) { return t->r ? report_path(t->r, "trace.json") : NULL; }

static int one_epoch(struct loop *t)
{
    int rc = 0;
    const struct batch *b;
    loader_start_at(t->train, t->at.epoch, t->at.sample);
    while (!rc && !(rc = timing_step(&t->timing, t->e->s.train.profile, t->done)) && (b = next_batch(t, &rc))) {
        timing_part(&t->timing, "wait for data");
        rc = one_step(t, b) || timing_done(&t->timing, t->at.step, t->done, trace_path(t),
                                           dev_info(t->e->d)->name) ? -1 : 0;
    }
    if (release_held(t) || rc)
        return -1;
    if (t->stop && !is_over(t))
        return stop_here(t);
    f64 busy = loader_busy_seconds(t->train);
    say(SAY_VERBOSE, "data: %.0f images/s per worker, %.1f s spent waiting so far",
        busy > 0 ? (f64)loader_images(t->train) / busy : 0, loader_wait_seconds(t->train));
    return 0;
}

/* Also asked of a state that is resumed. */
static bool is_enough(const struct loop *t)
{
    const struct spec *s = spec_of(t);
    return s->eval.patience && t->at.since_best >= s->eval.patience;
}

/* The epochs whose checkpoints stay. */
static bool is_kept(const struct loop *t)
{
    const struct spec *s = spec_of(t);
    return t->at.epoch && !t->at.sample && s->keep.every && t->at.epoch % s->keep.every == 0;
}

static int after_epoch(struct loop *t)
{
    const struct spec *s = spec_of(t);
    const struct position before = t->at;
    bool last = is_over(t), whole = is_whole(t);
    if (whole) {                                  // train.steps may end in the middle of one
        t->at.epoch++;
        t->at.sample = 0;
    }
    if ((last || (s->eval.every && t->at.epoch % s->eval.every == 0)) && t->v.g) {
        int rc = evaluate_now(t);
        if (rc > 0) {                             // a resume begins with it
            t->at.epoch = before.epoch;
            t->at.sample = before.sample;
            return stop_here(t);
        }
        if (rc)
            return -1;
    }
    bool keep = whole && is_kept(t);
    if (!last && !keep && !is_enough(t))
        return 0;
    return train_save(t, keep) || ((last || is_enough(t)) && saver_finish(t->saver)) ? -1 : 0;
}

static int open_loop(struct loop *t)
{
    struct session *e = t->e;
    t->train = loader_open(e->train, &e->train_options);
    t->eval = t->train ? loader_open(e->eval, &e->eval_options) : NULL;
    if (!t->eval || learner_open(&t->l, &e->s, e->d, e->p)
        || evaluator_open(&t->v, &e->s, e->d, learner_weights(&t->l), e->eval_options.batch))
        return -1;
    t->per_epoch = loader_batches(t->train);
    t->saver = saver_open(e, &t->l, t->r);
    t->saved = clock_now();
    t->at.images = data_count(e->train);
    return 0;
}

/* Together: from the state that rank 0 finds, if it does. */
static int open_state(struct loop *t)
{
    const char *path = t->r ? report_state(t->r) : NULL;
    const i64 images = t->at.images;
    bool any = path;
    if (dist_agree_flag(0, &any))
        return -1;
    if (!any)
        return 0;
    if (state_load(path, &t->l, &t->at))
        return -1;
    t->at.images = images;
    t->at.sample = MIN(t->at.sample, images);
    say(SAY_NORMAL, "continuing after step %lld", (long long)t->at.step);
    return dist_agree(t->r ? report_resume(t->r, t->at.step, t->at.evaluated) : 0);
}

/* With the evaluation that ends it. */
static bool is_done(const struct loop *t)
{
    return is_enough(t) || (is_over(t) && (t->at.evaluated == t->at.step || !t->v.g));
}

/* Killed after the state was written and before the files that come with it: the same save again. Together. */
static int save_rest(struct loop *t)
{
    bool lacks = t->r && ((is_kept(t) && saver_lacks(t->saver, t->at.epoch)) || is_done(t));
    if (dist_agree_flag(0, &lacks))
        return -1;
    return lacks && t->at.step ? train_save(t, is_kept(t)) || saver_finish(t->saver) ? -1 : 0 : 0;
}

int train_loop(struct session *e, report *r, const char **reason)
{
    struct loop t = { .e = e, .r = r, .began = clock_now() };
    fail_clear();
    int rc = dist_agree(open_loop(&t)) || open_state(&t) || save_rest(&t) ? -1 : 0;
    stop_watched(true);
    while (!rc && !is_done(&t))
        rc = one_epoch(&t) || after_epoch(&t) ? -1 : 0;
    stop_watched(false);
    rc = rc || timing_end(&t.timing, trace_path(&t), dev_info(e->d)->name) ? -1 : 0;
    *reason = is_enough(&t) ? "patience" : "done";
    saver_close(t.saver);
    learner_close(&t.l);
    evaluator_close(&t.v);
    if (t.train)
        loader_close(t.train);
    if (t.eval)
        loader_close(t.eval);
    return rc;
}
