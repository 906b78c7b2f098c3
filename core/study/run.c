/* run.c: one experiment from start to finish. Everything that can be wrong is looked at before the run folder
 * is made; stages whose result lies in the folder are not done again. */
#include "recycle/recycle.h"
#include "study/selftest.h"
#include "study/study.h"
#include "train/learner.h"
#include <math.h>
#include <stdlib.h>

/* A finished run of the same experiment is only read. 1: it was; 0: there is work. */
static int already_done(const struct spec *s, const struct run_options *o, const char *dir, arena *a,
                        struct run_result *r)
{
    if (!o->resume || text_ends(o->resume, ".safetensors") || text_ends(o->resume, ".state"))
        return 0;                                          // from a checkpoint on, whatever came after it
    int none = result_load(a, dir, r);
    if (none < 0)
        return -1;
    bool same = none == 0 && r->hash == spec_hash(s);
    if (same)
        say(SAY_NORMAL, "%s is complete: nothing is left to do", dir);
    return same;
}

/* Paths in a file start at that file's folder, outputs lie below the working folder: warns when both have such
 * a run. */
static void warn_elsewhere(const char *key, const char *path)
{
    const char *tail = strstr(path, "runs/");
    char there[4096], here[4096];
    if (tail && tail != path && realpath(path, there) && realpath(tail, here) && strcmp(there, here))
        warn("%s is %s, and there is a %s here too, which is not used", key, path, tail);
}

/* What a new run starts from, before anything is built or made. */
int run_check_start(const struct spec *s)
{
    if (recycle_check(s))
        return -1;
    if (s->train.epochs && s->schedule.warmup_epochs >= s->train.epochs)
        warn("schedule.warmup_epochs is %g, but train.epochs is %d: the learning rate never reaches optim.lr",
             s->schedule.warmup_epochs, s->train.epochs);
    if (*s->data.set && !strcmp(s->data.train, s->data.eval))
        warn("data.eval is data.train: accuracies are those on the images that are learnt");
    const struct { const char *key, *path; } from[] = { { "model.init", s->model.init },
                                                        { "recycle.from.experts", s->recycle.from.experts },
                                                        { "recycle.from.dense", s->recycle.from.dense } };
    for (int i = 0; i < countof(from); i++) {
        if (*from[i].path && !file_exists(from[i].path))
            return fail(FAULT_DATA, "%s: %s: no such checkpoint (%s)", from[i].key, from[i].path,
                        strstr(from[i].path, "runs/")
                        ? "a run has to make it first; `jetcl table` runs all that its experiments start from, "
                          "as `jetcl table demo`" : "README, \"The paper's experiments\"");
        ckpt *c = *from[i].path ? ckpt_open(from[i].path) : NULL;
        if (*from[i].path && !c)
            return fail_in("%s", from[i].key);
        ckpt_close(c);
        warn_elsewhere(from[i].key, from[i].path);
    }
    const char *kept = s->recycle.statistics;
    ckpt *c = *kept && file_exists(kept) ? ckpt_open(kept) : NULL;
    if (*kept && file_exists(kept) && !c)
        return fail_in("recycle.statistics");
    ckpt_close(c);
    return recycle_check_inputs(s);
}

/* The report lies in the checkpoint too: a run that was killed in between has it from there. */
static int write_recycle_json(report *rep, const char *checkpoint)
{
    const char *to = report_path(rep, "recycle.json");
    if (file_exists(to))
        return 0;
    ckpt *c = ckpt_open(checkpoint);
    const char *text = c ? ckpt_meta(c, "recycle.report") : NULL;
    int rc = !c || (text && file_save(to, text, strlen(text))) ? -1 : 0;
    ckpt_close(c);
    return rc;
}

/* The first stage, once per folder: a resumed run finds its file. Together; rep on rank 0. */
static int recycle_first(struct session *e, report *rep, arena *a)
{
    const char *path = rep ? report_path(rep, "ckpt/recycled.safetensors") : "";
    struct recycle_report r;
    bool to_do = rep && !file_exists(path);
    if (!*e->s.recycle.from.experts)
        return 0;
    if (dist_broadcast(&to_do, sizeof to_do))
        return -1;
    if (to_do && recycle_run(&e->s, e->d, path, a, &r))
        return fail_fault() >= FAULT_STOPPED           // a rank's: stop_fault()
               ? fail(FAULT_STOPPED, "stopped by a signal while recycling; --resume does it again") : -1;
    if (!rep)
        return 0;
    if (write_recycle_json(rep, path))
        return -1;
    return model_load(e->p, &e->s, path, false);
}

static int write_result(struct session *e, report *rep, const char *reason, arena *a, struct run_result *r)
{
    struct model_count k;
    if (model_count(a, &e->s, 1, 1, 1, &k))
        return -1;
    report_result(rep, a, r);
    r->reason = reason;
    r->params = k.params;
    r->unset = 0;
    for (size_t i = 0; i < e->p->n; i++)
        r->unset += !e->p->list[i].loaded;
    r->flops = k.paper_macs;
    r->flops_complete = k.macs;
    r->memory = dev_mem_peak(e->d);
    // Read back: a table made at once and one made of files have the same digits.
    return report_finish(rep, r) || result_load(a, report_path(rep, ""), r) ? -1 : 0;
}

/* A run that continues: from a state that is whole, of this model, seed and order of the data. */
static int check_continue(const struct session *e, const struct run_folder *f, arena *a)
{
    struct position at;
    struct spec before;
    const char *config = arena_printf(a, "%s/config.yaml", f->dir);
    int images = data_count(e->train);
    if (file_exists(config)) {
        if (spec_load(&before, a, config, NULL, 0))
            return fail_in("%s cannot be continued as its settings cannot be compared with these", f->dir);
        const char *what = spec_fixed(a, &before, &e->s);
        if (what)
            return fail(FAULT_USAGE,
                        "%s cannot be continued: %s (batch, micro-batches, workers and epochs may change; "
                        "seed, data and model may not)",
                        f->dir, what);
    }
    if (state_check(f->state, e->p, e->s.train.ema > 0, &at))
        return -1;
    if (at.images && at.images != images && e->s.data.changed != CHANGED_accept)
        return fail(FAULT_DATA,
                    "%s: trained on %lld images so far, and there are %d now; --set data.changed=accept "
                    "continues with these",
                    f->dir, (long long)at.images, images);
    return 0;
}

/* The self-test, on what this rank computes on. */
static int check_device(const struct session *e, arena *a)
{
    struct spec own = e->s;
    if (dist_size() > 1)
        dev_of_rank(a, e->s.device, dist_local(), &own.device);
    return selftest_before(&own, e->d);
}

/* In a folder that is ours. Everything that can be wrong is found before
 * report_open, the first to change anything. */
static int run_claimed(const struct spec *s, const struct run_options *o, arena *a, struct run_result *r)
{
    struct session e = { 0 };
    struct spec measured = *s;
    report *rep = NULL;
    const char *reason = NULL;
    bool first = !dist_rank();                             // has the folder; others compute
    int rc = dist_agree(first && !o->folder->state ? run_check_start(s) : 0);
    if (rc)
        return -1;
    stop_catch(s->signal.save_on.v, s->signal.save_on.n);
    if (o->folder->state)
        stop_kept();
    if (shares_measure(&measured, a))
        return -1;
    rc = session_open(&e, &measured, SESSION_TRAIN_DATA | SESSION_EVAL_DATA | SESSION_TRAINS, NULL)
         || check_device(&e, a) ? -1 : 0;
    if (!rc && stop_requested())
        rc = fail(stop_fault(), "stopped by a signal before anything was saved");
    if (!rc && first)
        rc = o->folder->state ? check_continue(&e, o->folder, a) : saver_room(&e, o->folder->dir);
    if (!(rc = dist_agree(rc) || session_join(&e) ? -1 : 0) && first)
        rc = (rep = report_open(&e.s, o, dev_info(e.d))) ? 0 : -1;
    if (rep && !o->out)
        say(SAY_NORMAL, "run folder %s", report_path(rep, ""));
    rc = dist_agree(rc) || recycle_first(&e, rep, a) ? -1 : 0;
    rc = dist_agree(rc) || exchange_start(e.p) || train_loop(&e, rep, &reason) ? -1 : 0;
    rc = rc || dist_agree(first ? write_result(&e, rep, reason, a, r) : 0) ? -1 : 0;
    report_close(rep);
    session_close(&e);
    return rc;
}

/* Rank 0's part: WORK with the folder claimed, BUSY when another process works there, -1 + fail. */
enum { WORK, BUSY, DONE };
static int find_work(const struct spec *s, const struct run_options *o, arena *a, struct run_folder *f,
                     struct run_result *r)
{
    int rc = o->out ? already_done(s, o, o->out, a, r) : 0;
    if (rc > 0)
        lock_clear(o->out);
    if (rc)
        return rc < 0 ? -1 : DONE;
    if ((rc = folder_claim(a, s, o, f)))
        return rc < 0 ? -1 : BUSY;
    if ((rc = already_done(s, o, f->dir, a, r)))           // by another process that was faster
        folder_release(f);
    return rc < 0 ? -1 : rc ? DONE : WORK;
}

int run_experiment(const struct spec *s, const struct run_options *o, arena *a, struct run_result *r)
{
    struct run_folder f = { 0 };
    struct run_options known = *o;
    *r = (struct run_result){ 0 };
    dist_timeout(s->dist.timeout);
    int rc = dist_rank() ? WORK : find_work(s, o, a, &f, r);
    bool idle = rc > WORK;
    if (dist_agree_flag(rc < 0 ? -1 : 0, &idle))
        return -1;
    if (idle)
        return rc == BUSY;
    known.folder = &f;
    known.hash = spec_hash(s); // of what was asked for; the session's has no `auto` left
    rc = run_claimed(s, &known, a, r);
    if (!dist_rank())
        folder_release(&f);
    return rc;
}
