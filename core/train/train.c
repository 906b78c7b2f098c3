/* train.c: the training loop. The device always has a step to do: batches are prepared on threads, a step is
 * only enqueued, and losses are read every log.every steps. */
#include "train/learner.h"
#include <errno.h>
#include <math.h>
#include <unistd.h>

struct loop {
    struct session  *e;
    report          *r;
    struct learner   l;
    struct evaluator v;
    loader          *train, *eval;
    const struct batch *held;                     /* whose arrays the device may still read */
    struct progress  at;
    i64              per_epoch, last_step, done;  /* steps: of an epoch, of the run, in this process */
    bool             stop;                        /* some rank was asked to */
};

static const struct spec *spec_of(const struct loop *t) { return &t->e->s; }

/* ---- checkpoints --------------------------------------------------------------------------------------- */

static int save_weights(struct loop *t, const char *name)
{
    return session_save(t->e, report_path(t->r, name));
}

/* epoch_NNNN files beyond keep.last go. */
static void forget_old(struct loop *t)
{
    const struct spec *s = spec_of(t);
    char name[64];
    i64 newest = t->at.epoch - (i64)s->keep.last * MAX(1, s->keep.every);
    for (i64 e = newest; e > 0 && e > t->at.epoch - 10000; e--) {
        snprintf(name, sizeof name, "ckpt/epoch_%04lld.safetensors", (long long)e);
        if (unlink(report_path(t->r, name)) && errno != ENOENT)
            break;
    }
}

/* Another name for what was just saved: the next save replaces last.safetensors and leaves this. Nonzero where
 * the file system has no hard links; then the weights are written again. */
static int link_last(struct loop *t, const char *name)
{
    const char *path = report_path(t->r, name);
    if (unlink(path) && errno != ENOENT)
        return -1;
    return link(report_path(t->r, "ckpt/last.safetensors"), path);
}

static int train_save(struct loop *t, bool epoch_file)
{
    char name[64];
    snprintf(name, sizeof name, "ckpt/epoch_%04lld.safetensors", (long long)t->at.epoch);
    int rc = learner_swap_ema(&t->l);
    if (t->r && !rc)
        rc = save_weights(t, "ckpt/last.safetensors")
             || (epoch_file && link_last(t, name) && save_weights(t, name)) ? -1 : 0;
    if (dist_agree(rc) || learner_swap_ema(&t->l))
        return -1;
    if (t->r)
        forget_old(t);
    if (state_save(t->r ? report_path(t->r, "ckpt/last.state") : NULL, &t->l, &t->at))
        return -1;
    stop_kept();
    return 0;
}

/* ---- evaluation ---------------------------------------------------------------------------------------- */

static f64 merit(const struct loop *t, const struct run_eval *got)
{
    switch (spec_of(t)->eval.metric) {
    case EVAL_top5: return got->top5;
    case EVAL_loss: return -got->loss;
    default:        return got->top1;
    }
}

/* Any loss is better than one that is not a number. */
static bool is_better(f64 now, f64 best) { return isnan(best) ? !isnan(now) : now > best; }

static int evaluate_now(struct loop *t)
{
    struct run_eval got;
    if (learner_swap_ema(&t->l) || evaluate(&t->v, t->eval, &got, NULL))
        return -1;
    got.epoch = (int)CEIL_DIV(t->at.step, t->per_epoch);
    got.step = t->at.step;
    bool better = !t->at.best_epoch || is_better(merit(t, &got), t->at.best);
    if (better) {
        t->at.best = merit(t, &got);
        t->at.best_epoch = got.epoch;
    }
    t->at.since_best = better ? 0 : t->at.since_best + 1;
    int rc = 0;
    if (t->r)
        rc = (better && spec_of(t)->keep.best && save_weights(t, "ckpt/best.safetensors"))
             || report_eval(t->r, &got) ? -1 : 0;
    return dist_agree(rc) || learner_swap_ema(&t->l) ? -1 : 0;
}

/* ---- steps --------------------------------------------------------------------------------------------- */

/* A scale below 1 helps no more: gradients are not finite for another reason than their size. */
static int read_scale(struct loop *t, struct report_step *s)
{
    struct loss_scale now;
    if (!learner_scales(&t->l))
        return 0;
    if (learner_scale(&t->l, &now))
        return -1;
    s->scale = (f64)now.scale;
    s->skipped = now.skipped;
    return now.scale >= 1 ? 0 : fail(FAULT_NUMBERS, "step %lld: the loss scale fell to %g and gradients are still not "
                                     "finite: lower optim.lr, or try train.precision bf16", (long long)s->step,
                                     s->scale);
}

static int report_now(struct loop *t, f64 lr)
{
    struct report_step s = { .epoch = (int)t->at.epoch + 1, .step = t->at.step, .lr = lr,
                             .mem = dev_mem_peak(t->e->d) };
    if (learner_read(&t->l, &s.loss, &s.grad_norm) || read_scale(t, &s) || (t->r && report_step(t->r, &s)))
        return -1;
    if (!isfinite(s.loss) || !isfinite(s.grad_norm))
        return fail(FAULT_NUMBERS, "step %lld: the loss is %g and the gradient's norm %g: lower optim.lr, or "
                    "find where it began with JETCL_TRACE=nan", (long long)s.step, s.loss, s.grad_norm);
    return 0;
}

static int one_step(struct loop *t, const struct batch *b, i64 at)
{
    const struct spec *s = spec_of(t);
    f64 factor = schedule_factor(s, t->at.step, t->per_epoch);
    if (learner_step(&t->l, b, factor) || learner_wait(&t->l))
        return -1;
    if (t->held)
        loader_release(t->train, t->held);        // the step before is done
    t->held = b;
    t->at.step++;
    t->done++;
    if (t->r)
        report_tick(t->r, &(struct report_tick){ (int)t->at.epoch + 1, (int)at + 1, (int)t->per_epoch,
                                                 t->done * s->train.batch, loader_wait_seconds(t->train) });
    bool due = t->at.step % s->log.every == 0 || at + 1 == t->per_epoch || t->at.step == t->last_step;
    return due ? report_now(t, s->optim.lr * factor) : 0;
}

static int release_held(struct loop *t)
{
    int rc = dev_finish(t->e->d);
    if (t->held)
        loader_release(t->train, t->held);
    t->held = NULL;
    return rc;
}

/* Together: all ranks have a batch, or none has: at the end of an epoch, after a fault (*rc), or asked to stop. */
static const struct batch *next_batch(struct loop *t, int *rc)
{
    bool over = t->at.step >= t->last_step;
    t->stop = stop_requested();
    const struct batch *b = over || t->stop ? NULL : loader_next(t->train);
    *rc = dist_agree_flag(!b && !over && !t->stop && fail_fault() != FAULT_NONE ? -1 : 0, &t->stop);
    if (b && (*rc || t->stop)) {
        loader_release(t->train, b);
        b = NULL;
    }
    return b;
}

static int one_epoch(struct loop *t)
{
    i64 at = t->at.step - t->at.epoch * t->per_epoch;
    int rc = 0;
    const struct batch *b;
    loader_start(t->train, t->at.epoch, at);
    while (!rc && (b = next_batch(t, &rc)))
        rc = one_step(t, b, at++);
    if (release_held(t) || rc)
        return -1;
    if (t->stop && t->at.step < t->last_step) {
        if (train_save(t, false))
            return -1;
        return fail(FAULT_STOPPED, "stopped by a signal after step %lld; --resume continues",
                    (long long)t->at.step);
    }
    t->at.epoch = t->at.step / t->per_epoch;      // train.steps may end in the middle of one
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

static int after_epoch(struct loop *t)
{
    const struct spec *s = spec_of(t);
    bool last = t->at.step >= t->last_step;
    if ((last || (s->eval.every && t->at.epoch % s->eval.every == 0)) && t->v.g && evaluate_now(t))
        return -1;
    bool whole = t->at.step == t->at.epoch * t->per_epoch;
    bool keep = whole && s->keep.every && t->at.epoch % s->keep.every == 0;
    return last || keep || is_enough(t) ? train_save(t, keep && s->keep.last) : 0;
}

static int open_loop(struct loop *t)
{
    struct session *e = t->e;
    t->train = loader_open(e->train, &e->train_options);
    t->eval = t->train ? loader_open(e->eval, &e->eval_options) : NULL;
    if (!t->eval || learner_open(&t->l, &e->s, e->d, e->p)
        || evaluator_open(&t->v, &e->s, e->d, e->p, e->eval_options.batch))
        return -1;
    t->per_epoch = loader_batches(t->train);
    t->last_step = e->s.train.epochs * t->per_epoch;
    if (e->s.train.steps)
        t->last_step = MIN((i64)e->s.train.steps, t->last_step);
    return 0;
}

/* Together: from the state that rank 0 finds, if it does. */
static int open_state(struct loop *t)
{
    const char *path = t->r ? report_state(t->r) : NULL;
    bool any = path;
    if (dist_agree_flag(0, &any))
        return -1;
    if (!any)
        return 0;
    if (state_load(path, &t->l, &t->at))
        return -1;
    say(SAY_NORMAL, "continuing after step %lld", (long long)t->at.step);
    return dist_agree(t->r ? report_resume(t->r, t->at.step, t->at.step) : 0);
}

int train_loop(struct session *e, report *r, const char **reason)
{
    struct loop t = { .e = e, .r = r };
    fail_clear();
    int rc = dist_agree(open_loop(&t)) || open_state(&t) ? -1 : 0;
    stop_watched(true);
    while (!rc && !is_enough(&t) && t.at.step < t.last_step)
        rc = one_epoch(&t) || after_epoch(&t) ? -1 : 0;
    stop_watched(false);
    *reason = is_enough(&t) ? "patience" : "done";
    learner_close(&t.l);
    evaluator_close(&t.v);
    if (t.train)
        loader_close(t.train);
    if (t.eval)
        loader_close(t.eval);
    return rc;
}
