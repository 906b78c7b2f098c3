/* metrics.c: what a run says while it goes: metrics.jsonl, event files, and at the end result.json. */
#include "log/files.h"
#include <math.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

struct report {
    arena        *arena;
    const char   *dir, *state;
    struct run_folder own;                                 /* claimed here */
    lock         *lock;
    char          paths[8][4200];               /* of report_path, used in a circle: nothing grows with a run */
    int           n_paths;
    struct inputs *inputs;
    append       *metrics, *csv;
    tensorboard  *board;
    u64           hash;
    f64           started;                                 /* clock_now() */
    struct past   past;                                    /* evaluations, those before a resume included */
    struct speed  speed;
    i64           saves;
    f64           save_wait, save_seconds;                 /* the most of them */
};

/* ---- metrics.jsonl ------------------------------------------------------------------------------------- */

static void set_real(json_t *j, const char *name, f64 v)
{
    json_object_set_new(j, name, json_number(v));
    if (!isfinite(v))
        json_object_set_new(j, "nan", json_true());
}

static json_t *metrics_stamped(const char *split, int epoch, i64 step)
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

/* The same line for spreadsheets: a column for each number, empty where a line has none. */
static const char *const csv_columns[] = { "t", "split", "epoch", "step", "loss", "lr", "grad_norm", "img_s",
                                           "data_s", "mem", "top1", "top5", "n", "s", "run_s" };

/* Everything that f got is at *text, to be freed. */
static FILE *text_begin(char **text, size_t *n)
{
    FILE *f = open_memstream(text, n);
    check(f, "no memory stream");
    return f;
}

static void write_csv(report *r, const json_t *j)
{
    char *text;
    size_t n;
    FILE *f = text_begin(&text, &n);
    for (int i = 0; i < countof(csv_columns) && json_object_get(j, "split"); i++) {
        const json_t *v = json_object_get(j, csv_columns[i]);
        fputs(i ? "," : "", f);
        if (json_is_string(v))
            fputs(json_string_value(v), f);
        else if (json_is_integer(v))
            fprintf(f, "%lld", (long long)json_integer_value(v));
        else if (json_is_real(v))
            fprintf(f, "%.7g", json_real_value(v));
        fputs(i == countof(csv_columns) - 1 ? "\n" : "", f);
    }
    fclose(f);
    append_put(r->csv, text, n);
    free(text);
}

static int open_csv(report *r)
{
    char head[512] = "";
    if (!(r->csv = append_open(r->arena, report_path(r, "metrics.csv"), true)))
        return -1;
    for (int i = 0; i < countof(csv_columns); i++) {
        size_t n = strlen(head);
        snprintf(head + n, sizeof head - n, "%s%s", csv_columns[i], i == countof(csv_columns) - 1 ? "\n" : ",");
    }
    append_put(r->csv, head, strlen(head));
    return 0;
}

/* What metrics.jsonl holds: of a run that continues, without what is done again. */
static int rewrite_csv(report *r)
{
    char *line = NULL;
    size_t room = 0;
    FILE *f = fopen(report_path(r, "metrics.jsonl"), "r");
    append_close(r->csv);
    int rc = open_csv(r);
    while (f && !rc && getline(&line, &room, f) > 0) {
        json_t *j = json_loads(line, 0, NULL);
        write_csv(r, j);
        json_decref(j);
    }
    free(line);
    if (f)
        fclose(f);
    return rc;
}

/* Takes over j. */
static int write_line(report *r, json_t *j)
{
    if (lock_lost(r->lock)) {
        json_decref(j);
        return fail(FAULT_RUN,
                    "%s: another process has taken over the folder, after minutes in which this one was "
                    "not seen",
                    r->dir);
    }
    write_csv(r, j);
    char *text = json_dumps(j, JSON_COMPACT | JSON_REAL_PRECISION(9));     // as result.json has them
    json_decref(j);
    check(text, "a metrics line that is not valid JSON");
    size_t n = strlen(text);
    text[n] = '\n';                                        // in place of the NUL
    append_put(r->metrics, text, n + 1);
    free(text);
    return 0;
}

/* ---- opening ------------------------------------------------------------------------------------------- */

static int open_files(report *r, const struct spec *s, bool resumed)
{
    const char *metrics = report_path(r, "metrics.jsonl");
    bool continued = resumed && r->state;
    if (continued && past_read(metrics, r->arena, &r->past))
        return -1;
    if (file_mkdirs(report_path(r, "ckpt")))
        return -1;
    unlink(report_path(r, "result.json"));                 // no longer complete
    if (!resumed)
        repair_clear(r->dir);
    if (continued) {
        if (repair_lines(metrics))
            return -1;
        repair_warn(report_path(r, "config.yaml"), r->arena, s);
    }
    if (resumed && !r->state)
        say(SAY_NORMAL, "%s: the run there was ended before its first save: it begins again", r->dir);
    if (!(r->metrics = append_open(r->arena, metrics, !continued)))
        return -1;
    if (continued ? rewrite_csv(r) : open_csv(r))          // a new file is not read: it may be a device
        return -1;
    if (s->log.tensorboard && !(r->board = tensorboard_open(r->arena, report_path(r, "tb"))))
        return -1;
    return say_log(SAY_RUN_LOG, report_path(r, "log.txt"));
}

report *report_open(const struct spec *s, const struct run_options *o, const struct dev_info *device)
{
    arena *a = arena_open("report");
    report *r = arena_one(a, report);
    const struct run_folder *f = o->folder;
    *r = (report){ .arena = a, .hash = o->hash ? o->hash : spec_hash(s), .started = clock_now(),
                   .speed = { .epochs = s->train.epochs, .eval_every = s->eval.every,
                              .step_limit = s->train.steps, .tick.loss = NAN } };
    if (!f && !folder_claim(a, s, o, &r->own))
        f = &r->own;
    if (f) {
        r->dir = f->dir;
        r->state = f->state;
        r->lock = f->lock;
    }
    if (!f || open_files(r, s, f->resumed) ||
        !(r->inputs = env_write(a, r->dir, s, o, device))) {
        report_close(r);
        return NULL;
    }
    if (o->latest != LATEST_STAYS)
        folder_latest(r->dir, o->latest == LATEST_MOVES);
    return r;
}

const char *report_path(report *r, const char *name)
{
    if (!name[0])
        return r->dir;
    char *path = r->paths[r->n_paths++ % countof(r->paths)];
    snprintf(path, sizeof r->paths[0], "%s/%s", r->dir, name);
    return path;
}

const char *report_state(const report *r) { return r->state; }

void report_close(report *r)
{
    if (!r)
        return;
    progress_done();
    append_close(r->metrics);
    append_close(r->csv);
    tensorboard_close(r->board);
    env_close(r->inputs);
    folder_release(&r->own);
    arena_close(r->arena);
}

/* ---- what happened ------------------------------------------------------------------------------------- */

static void to_board(report *r, const char *split, i64 step, const char *name, f64 value)
{
    char tag[64];
    snprintf(tag, sizeof tag, "%s/%s", split, name);
    if (r->board)
        tensorboard_scalar(r->board, step, tag, value);
}

void report_tick(report *r, const struct report_tick *t) { speed_tick(&r->speed, t); }

static f64 run_seconds(const report *r) { return r->past.seconds + clock_now() - r->started; }

int report_step(report *r, const struct report_step *s)
{
    struct pace p = speed_pace(&r->speed);
    json_t *j = metrics_stamped("train", s->epoch, s->step);
    r->speed.step = *s;
    r->speed.tick.loss = s->loss;
    set_real(j, "loss", s->loss);
    set_real(j, "lr", s->lr);
    set_real(j, "grad_norm", s->grad_norm);
    if (s->scale > 0) {
        set_real(j, "scale", s->scale);
        json_object_set_new(j, "skipped", json_integer((json_int_t)s->skipped));
    }
    json_object_set_new(j, "img_s", json_number(p.img_s));
    json_object_set_new(j, "data_s", json_number(p.data_s));
    if (s->ranks)
        json_object_set_new(j, "comm", json_number(s->comm));
    json_object_set_new(j, "mem", json_integer((json_int_t)(s->mem >> 20)));
    json_object_set_new(j, "run_s", json_number(run_seconds(r)));
    speed_say(&r->speed);
    to_board(r, "train", s->step, "loss", s->loss);
    if (s->scale > 0)
        to_board(r, "train", s->step, "scale", s->scale);
    to_board(r, "train", s->step, "lr", s->lr);
    to_board(r, "train", s->step, "grad_norm", s->grad_norm);
    if (p.img_s > 0)
        to_board(r, "train", s->step, "img_s", p.img_s);
    to_board(r, "train", s->step, "mem", (f64)(s->mem >> 20));
    return write_line(r, j);
}

static const struct run_eval *best_eval(const report *r)
{
    const struct run_eval *best = NULL;
    for (size_t i = 0; i < r->past.n; i++)
        if (!best || r->past.evals[i].top1 > best->top1)
            best = &r->past.evals[i];
    return best;
}

/* As metrics.jsonl gives it back: what is the best must not depend on whether a run was resumed. */
static f64 metrics_rounded(f64 v)
{
    char text[40];
    snprintf(text, sizeof text, "%.9g", v);
    return strtod(text, NULL);
}

int report_eval(report *r, const struct run_eval *e)
{
    struct run_eval kept = *e;
    kept.top1 = metrics_rounded(e->top1);
    kept.top5 = metrics_rounded(e->top5);
    kept.loss = metrics_rounded(e->loss);
    json_t *j = metrics_stamped("eval", e->epoch, e->step);
    *arena_push(r->arena, r->past.evals, r->past.n, r->past.cap) = kept;
    speed_eval(&r->speed, e->seconds);
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
    to_board(r, "eval", e->step, "loss", e->loss);
    to_board(r, "eval", e->step, "top1", e->top1);
    to_board(r, "eval", e->step, "top5", e->top5);
    return write_line(r, j);
}

void report_saved(report *r, f64 held, f64 took)
{
    r->saves++;
    r->save_wait = MAX(r->save_wait, held);
    r->save_seconds = MAX(r->save_seconds, took);
}

int report_event(report *r, const char *event, i64 step)
{
    return write_line(r, json_pack("{s:s, s:I, s:o}", "event", event, "step", (json_int_t)step,
                                   "run_s", json_number(run_seconds(r))));
}

int report_resume(report *r, i64 step, i64 evaluated)
{
    while (r->past.n && r->past.evals[r->past.n - 1].step > evaluated)
        r->past.n--;
    return repair_cut(report_path(r, "metrics.jsonl"), step, evaluated) || rewrite_csv(r)
                   || report_event(r, "resume", step) ? -1 : 0;
}

void report_result(const report *r, arena *a, struct run_result *out)
{
    const struct run_eval *last = r->past.n ? &r->past.evals[r->past.n - 1] : NULL, *best = best_eval(r);
    f64 speed = r->speed.train_seconds > 0 ? (f64)r->speed.train_images / r->speed.train_seconds : NAN;
    *out = (struct run_result){ .reason = "done", .epochs = r->speed.tick.epoch, .steps = r->speed.step.step,
                                .top1 = NAN, .top5 = NAN, .loss = NAN, .best_top1 = NAN, .img_s = speed,
                                .seconds = run_seconds(r), .hash = r->hash, .n_evals = (int)r->past.n,
                                .saves = r->saves, .save_wait = r->save_wait, .save_seconds = r->save_seconds };
    struct run_eval *evals = arena_array(a, struct run_eval, MAX(1, r->past.n));
    for (size_t i = 0; i < r->past.n; i++)
        evals[i] = r->past.evals[i];
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

int report_flush(report *r) { return append_flush(r->metrics); }

int report_finish(report *r, const struct run_result *result)
{
    return append_sync(r->metrics) || append_sync(r->csv) || result_save(r->dir, result) ? -1 : 0;
}
