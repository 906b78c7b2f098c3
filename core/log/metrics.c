/* report.c: what a run says while it goes: metrics.jsonl, the progress line, and at the end result.json.
 * Speed is always that of the last few seconds, waiting included; the first steps (drivers build kernels at
 * their first use) and evaluations stay out of it. */
#include "log/files.h"
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { WINDOW = 32,                 /* samples kept, at least a quarter second apart */
       START = 6 };                 /* steps until everything was used once, those run ahead included */
struct sample { f64 time, data_s; i64 images, steps; };

struct report {
    arena        *arena;
    const char   *dir;
    struct inputs *inputs;
    FILE         *metrics;
    tensorboard  *board;
    int           epochs, eval_every;                      /* as the experiment says */
    i64           step_limit;                              /* 0: none */
    u64           hash;
    f64           started, earlier;                        /* clock; seconds of the parts before a resume */
    struct sample window[WINDOW];
    int           ticks, samples;                          /* so far; in the window since it was emptied */
    struct sample last;                                    /* of the last tick; time 0: none */
    f64           train_seconds;                           /* between ticks, for train_images */
    i64           train_images;
    struct report_tick tick;
    struct report_step step;
    struct run_eval *evals;
    size_t        n_evals, cap_evals;
    f64           eval_seconds;                            /* of n_timed evaluations in this process */
    int           n_timed;
};

/* ---- metrics.jsonl ------------------------------------------------------------------------------------- */

static void set_real(json_t *j, const char *name, f64 v)
{
    json_object_set_new(j, name, json_number(v));
    if (!isfinite(v))
        json_object_set_new(j, "nan", json_true());
}

static json_t *stamped(const char *split, int epoch, i64 step)
{
    struct timespec now;
    struct tm tm;
    char text[64], stamp[80];
    clock_gettime(CLOCK_REALTIME, &now);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", gmtime_r(&now.tv_sec, &tm));
    snprintf(stamp, sizeof stamp, "%s.%03dZ", text, (int)(now.tv_nsec / 1000000));
    return json_pack("{s:s, s:s, s:i, s:I}", "t", stamp, "split", split, "epoch", epoch, "step",
                     (json_int_t)step);
}

/* Takes over j. */
static int write_line(report *r, json_t *j)
{
    char *text = json_dumps(j, JSON_COMPACT | JSON_REAL_PRECISION(7));
    json_decref(j);
    check(text, "a metrics line that is no JSON");
    bool bad = fprintf(r->metrics, "%s\n", text) < 0 || fflush(r->metrics);
    free(text);
    if (bad)
        fail(FAULT_RUN, "%s: cannot write: %s", report_path(r, "metrics.jsonl"), strerror(errno));
    return bad ? -1 : 0;
}

static f64 real_in(const json_t *j, const char *name)
{
    const json_t *v = json_object_get(j, name);
    return json_is_number(v) ? json_number_value(v) : NAN;
}

/* Evaluations and seconds of the parts before a resume; of a step logged twice the later line counts. */
static void read_metrics(report *r)
{
    FILE *f = fopen(report_path(r, "metrics.jsonl"), "r");
    char line[2048];
    while (f && fgets(line, sizeof line, f)) {
        struct run_eval e = { 0 };
        json_int_t step = 0, n = 0;
        const char *split = "";
        json_t *j = json_loads(line, 0, NULL);
        json_unpack(j, "{s?F}", "run_s", &r->earlier);
        bool eval = !json_unpack(j, "{s:s, s:i, s:I, s:I}", "split", &split, "epoch", &e.epoch, "step", &step,
                                 "n", &n) && !strcmp(split, "eval");
        e = (struct run_eval){ e.epoch, step, n, real_in(j, "top1"), real_in(j, "top5"), real_in(j, "loss"),
                               real_in(j, "s") };
        while (eval && r->n_evals && r->evals[r->n_evals - 1].step >= e.step)
            r->n_evals--;
        if (eval)
            *arena_push(r->arena, r->evals, r->n_evals, r->cap_evals) = e;
        json_decref(j);
    }
    if (f)
        fclose(f);
}

/* A crash may have left half a line: the next one would be lost with it. */
static int cut_half_line(const char *path)
{
    FILE *f = fopen(path, "r+");
    if (!f)
        return errno == ENOENT ? 0 : fail(FAULT_RUN, "%s: cannot write: %s", path, strerror(errno));
    fseek(f, 0, SEEK_END);
    long n = ftell(f);
    for (int c = 0; n > 0 && c != '\n'; n -= c != '\n') {
        fseek(f, n - 1, SEEK_SET);
        c = fgetc(f);
    }
    bool bad = ftruncate(fileno(f), n);
    fclose(f);
    return bad ? fail(FAULT_RUN, "%s: cannot write: %s", path, strerror(errno)) : 0;
}

/* ---- opening ------------------------------------------------------------------------------------------- */

/* The user may well want other settings from here on; he should know that he got them. */
static void warn_changes(report *r, const struct spec *s)
{
    struct spec before;
    const char *config = report_path(r, "config.yaml");
    if (!file_exists(config))
        return;
    if (spec_load(&before, r->arena, config, NULL, 0)) {
        warn("%s", fail_message());
        fail_clear();
        return;
    }
    const char *changes = spec_changes(r->arena, &before, s);
    if (changes[0])
        warn("the run goes on with other settings than it had: %s", changes);
}

/* A run that starts anew must not go on from what another one left (--force). */
static void remove_checkpoints(const char *dir)
{
    static const char *const kinds[] = { "last.", "best.", "epoch_", "recycled." };
    char path[4096];
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));) {
        bool ours = false;
        for (int i = 0; i < countof(kinds); i++)
            ours |= text_starts(e->d_name, kinds[i]);
        if (ours && snprintf(path, sizeof path, "%s/%s", dir, e->d_name) < (int)sizeof path)
            unlink(path);
    }
    if (d)
        closedir(d);
}

static int open_files(report *r, const struct spec *s, bool resumed)
{
    const char *metrics = report_path(r, "metrics.jsonl");
    if (file_mkdirs(report_path(r, "ckpt")))
        return -1;
    unlink(report_path(r, "result.json"));                 // complete no more
    if (!resumed)
        remove_checkpoints(report_path(r, "ckpt"));
    if (resumed) {
        if (cut_half_line(metrics))
            return -1;
        read_metrics(r);
        warn_changes(r, s);
    }
    r->metrics = fopen(metrics, resumed ? "a" : "w");
    if (!r->metrics)
        return fail(FAULT_RUN, "%s: cannot write: %s", metrics, strerror(errno));
    if (s->log.tensorboard && !(r->board = tensorboard_open(r->arena, report_path(r, "tb"))))
        return -1;
    return say_log(SAY_RUN_LOG, report_path(r, "log.txt"));
}

report *report_open(const struct spec *s, const struct run_options *o, const struct dev_info *device)
{
    arena *a = arena_open("report");
    report *r = arena_one(a, report);
    bool resumed;
    *r = (report){ .arena = a, .epochs = s->train.epochs, .eval_every = s->eval.every,
                   .step_limit = s->train.steps,
                   .hash = o->hash ? o->hash : spec_hash(s), .started = clock_now(), .step.loss = NAN };
    r->dir = folder_choose(a, s, o, &resumed);
    if (!r->dir || open_files(r, s, resumed) ||
        !(r->inputs = folder_describe(a, r->dir, s, o, device))) {
        report_close(r);
        return NULL;
    }
    folder_latest(r->dir);
    return r;
}

const char *report_path(report *r, const char *name)
{
    return name[0] ? arena_printf(r->arena, "%s/%s", r->dir, name) : r->dir;
}

void report_close(report *r)
{
    if (!r)
        return;
    progress_done();
    if (r->metrics)
        fclose(r->metrics);
    tensorboard_close(r->board);
    folder_described(r->inputs);
    arena_close(r->arena);
}

/* ---- speed --------------------------------------------------------------------------------------------- */

static void add_sample(report *r, const struct report_tick *t)
{
    if (++r->ticks < START)
        return;
    struct sample now = { clock_now(), t->data_s, t->images, (i64)(t->epoch - 1) * t->of + t->at };
    if (r->last.time > 0) {
        r->train_seconds += now.time - r->last.time;
        r->train_images += now.images - r->last.images;
    }
    r->last = now;
    if (!r->samples || now.time - r->window[(r->samples - 1) % WINDOW].time >= 0.25)
        r->window[r->samples++ % WINDOW] = now;
}

/* After an evaluation the window starts anew: its time was not training. */
static void forget_window(report *r)
{
    r->samples = 0;
    r->last.time = 0;
}

/* NAN while unknown; data_s: seconds waited for data, per step. */
struct pace { f64 img_s, data_share, data_s, epoch_left, run_left; };

static f64 evals_left(const report *r)
{
    return r->eval_every ? MAX(1, (f64)(r->epochs / r->eval_every - (r->tick.epoch - 1) / r->eval_every)) : 1;
}

static struct pace pace_now(const report *r)
{
    struct pace p = { NAN, NAN, NAN, NAN, NAN };
    if (!r->samples)
        return p;
    const struct sample *from = &r->window[r->samples > WINDOW ? r->samples % WINDOW : 0];
    f64 seconds = r->last.time - from->time, steps = (f64)(r->last.steps - from->steps);
    if (seconds <= 0 || steps <= 0)
        return p;
    i64 all = (i64)r->epochs * r->tick.of, total = r->step_limit && r->step_limit < all ? r->step_limit : all;
    p.img_s = (f64)(r->last.images - from->images) / seconds;
    p.data_share = MIN(1, (r->last.data_s - from->data_s) / seconds);
    p.data_s = (r->last.data_s - from->data_s) / steps;
    p.epoch_left = seconds / steps * (f64)(r->tick.of - r->tick.at);
    p.run_left = seconds / steps * (f64)(total - r->last.steps);
    if (r->n_timed)
        p.run_left += evals_left(r) * r->eval_seconds / r->n_timed;
    return p;
}

/* ---- the progress line --------------------------------------------------------------------------------- */

/* 0.0021 -> "2.1e-3" */
static const char *short_real(char out[24], f64 v)
{
    int exponent = 0;
    char digits[24];
    snprintf(digits, sizeof digits, "%.1e", v);
    char *e = strchr(digits, 'e');
    if (!e || sscanf(e + 1, "%d", &exponent) != 1)
        return "-";
    snprintf(out, 24, "%.*se%d", (int)(e - digits), digits, exponent);
    return out;
}

struct line { char text[512]; int n; };

static void PRINTF(2, 3) put(struct line *l, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(l->text + l->n, sizeof l->text - (size_t)l->n, fmt, ap);
    va_end(ap);
    l->n = MIN((int)sizeof l->text - 1, l->n + n);
}

/* What there is room for: a bar, the learning rate and the share of data go first. */
enum { WITH_BAR = 1, WITH_LR = 2, WITH_DATA = 4 };

static struct line progress_line(const report *r, int with)
{
    struct line l = { .n = 0 };
    char bar[16], a[24], b[24];
    const struct report_tick *t = &r->tick;
    struct pace p = pace_now(r);
    put(&l, "epoch %d/%d  %d/%d", t->epoch, r->epochs, t->at, t->of);
    if (with & WITH_BAR)
        put(&l, " %s", say_bar(bar, 12, (f64)t->at / MAX(1, t->of)));
    if (!isnan(r->step.loss) || r->step.step)
        put(&l, "  loss %.3f", r->step.loss);
    if ((with & WITH_LR) && r->step.step)
        put(&l, "  lr %s", short_real(a, r->step.lr));
    if (!isnan(p.img_s))
        put(&l, "  %.*f img/s", p.img_s < 10, p.img_s);
    if ((with & WITH_DATA) && !isnan(p.img_s))
        put(&l, "  data %.0f%%", 100 * p.data_share);
    if (!isnan(p.run_left))
        put(&l, "  ETA %s (run %s)", text_time(a, p.epoch_left), text_time(b, p.run_left));
    return l;
}

void report_tick(report *r, const struct report_tick *t)
{
    static const int levels[] = { WITH_BAR | WITH_LR | WITH_DATA, WITH_LR | WITH_DATA, WITH_DATA, 0 };
    r->tick = *t;
    add_sample(r, t);
    if (!say_live())
        return;
    int i = 0;
    struct line l = progress_line(r, levels[0]);
    while (l.n >= say_width() && i + 1 < countof(levels))
        l = progress_line(r, levels[++i]);
    progress("%s", l.text);
}

/* ---- what happened ------------------------------------------------------------------------------------- */

static int to_board(report *r, const char *split, i64 step, const char *name, f64 value)
{
    char tag[64];
    snprintf(tag, sizeof tag, "%s/%s", split, name);
    return r->board ? tensorboard_scalar(r->board, step, tag, value) : 0;
}

static f64 run_seconds(const report *r) { return r->earlier + clock_now() - r->started; }

int report_step(report *r, const struct report_step *s)
{
    struct pace p = pace_now(r);
    json_t *j = stamped("train", s->epoch, s->step);
    r->step = *s;
    set_real(j, "loss", s->loss);
    set_real(j, "lr", s->lr);
    set_real(j, "grad_norm", s->grad_norm);
    if (s->scale > 0)
        set_real(j, "scale", s->scale);
    json_object_set_new(j, "img_s", json_number(p.img_s));
    json_object_set_new(j, "data_s", json_number(p.data_s));
    json_object_set_new(j, "mem", json_integer((json_int_t)(s->mem >> 20)));
    json_object_set_new(j, "run_s", json_number(run_seconds(r)));
    if (!say_live())
        say(SAY_NORMAL, "%s", progress_line(r, WITH_LR | WITH_DATA).text);
    if (write_line(r, j) || to_board(r, "train", s->step, "loss", s->loss))
        return -1;
    return to_board(r, "train", s->step, "lr", s->lr) ||
           to_board(r, "train", s->step, "grad_norm", s->grad_norm) ? -1 : 0;
}

static const struct run_eval *best_eval(const report *r)
{
    const struct run_eval *best = NULL;
    for (size_t i = 0; i < r->n_evals; i++)
        if (!best || r->evals[i].top1 > best->top1)
            best = &r->evals[i];
    return best;
}

int report_eval(report *r, const struct run_eval *e)
{
    json_t *j = stamped("eval", e->epoch, e->step);
    *arena_push(r->arena, r->evals, r->n_evals, r->cap_evals) = *e;
    r->eval_seconds += e->seconds;
    r->n_timed++;
    forget_window(r);
    set_real(j, "loss", e->loss);
    set_real(j, "top1", e->top1);
    set_real(j, "top5", e->top5);
    json_object_set_new(j, "n", json_integer(e->n));
    json_object_set_new(j, "s", json_number(e->seconds));
    json_object_set_new(j, "run_s", json_number(run_seconds(r)));
    const struct run_eval *best = best_eval(r);
    char when[48] = "best so far";
    if (best->epoch != e->epoch)
        snprintf(when, sizeof when, "best %.2f %% after epoch %d", best->top1, best->epoch);
    say(SAY_NORMAL, "epoch %d: top1 %.2f %%  top5 %.2f %%  loss %.3f  (%s)", e->epoch, e->top1, e->top5,
        e->loss, when);
    if (write_line(r, j) || to_board(r, "eval", e->step, "loss", e->loss))
        return -1;
    return to_board(r, "eval", e->step, "top1", e->top1) ||
           to_board(r, "eval", e->step, "top5", e->top5) ? -1 : 0;
}

int report_event(report *r, const char *event, i64 step)
{
    while (!strcmp(event, "resume") && r->n_evals && r->evals[r->n_evals - 1].step > step)
        r->n_evals--;
    return write_line(r, json_pack("{s:s, s:I, s:o}", "event", event, "step", (json_int_t)step,
                                   "run_s", json_number(run_seconds(r))));
}

void report_result(const report *r, arena *a, struct run_result *out)
{
    const struct run_eval *last = r->n_evals ? &r->evals[r->n_evals - 1] : NULL, *best = best_eval(r);
    f64 speed = r->train_seconds > 0 ? (f64)r->train_images / r->train_seconds : NAN;
    *out = (struct run_result){ .reason = "done", .epochs = r->tick.epoch, .steps = r->step.step,
                                .top1 = NAN, .top5 = NAN, .loss = NAN, .best_top1 = NAN, .img_s = speed,
                                .seconds = run_seconds(r), .hash = r->hash, .n_evals = (int)r->n_evals };
    struct run_eval *evals = arena_array(a, struct run_eval, MAX(1, r->n_evals));
    for (size_t i = 0; i < r->n_evals; i++)
        evals[i] = r->evals[i];
    out->evals = evals;
    if (last) {
        out->top1 = last->top1;
        out->top5 = last->top5;
        out->loss = last->loss;
        out->epochs = MAX(out->epochs, last->epoch);
        out->steps = MAX(out->steps, last->step);
        out->best_top1 = best->top1;
        out->best_epoch = best->epoch;
    }
}

int report_finish(report *r, const struct run_result *result) { return result_save(r->dir, result); }
