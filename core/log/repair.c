/* repair.c: what a resumed run finds in its folder (half a line, evaluations so far, other settings), and
 * what a run that starts again there removes. */
#include "log/files.h"
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <unistd.h>

static f64 real_in(const json_t *j, const char *name)
{
    const json_t *v = json_object_get(j, name);
    return json_is_number(v) ? json_number_value(v) : NAN;
}

static bool is_share(f64 v) { return isnan(v) || (v >= 0 && v <= 100); }

/* One line of metrics.jsonl into *p. false: no such line is ever written by this program. */
static bool past_line(json_t *j, arena *a, struct past *p)
{
    struct run_eval e = { 0 };
    json_int_t step = 0, n = 0;
    const char *split = "";
    f64 seconds = real_in(j, "run_s");
    if (!json_is_object(j))
        return false;
    p->seconds = seconds >= 0 ? seconds : p->seconds;
    if (json_unpack(j, "{s:s}", "split", &split) || strcmp(split, "eval"))
        return true;
    if (json_unpack(j, "{s:i, s:I, s:I}", "epoch", &e.epoch, "step", &step, "n", &n))
        return false;
    e = (struct run_eval){ e.epoch, step, n, real_in(j, "top1"), real_in(j, "top5"), real_in(j, "loss"),
                           real_in(j, "s") };
    while (p->n && p->evals[p->n - 1].step >= e.step)
        p->n--;
    *arena_push(a, p->evals, p->n, p->cap) = e;
    return e.epoch >= 0 && step >= 0 && n >= 0 && is_share(e.top1) && is_share(e.top5) && !(e.seconds < 0);
}

/* Evaluations and seconds of the parts before a resume; of a step logged twice the later line counts. */
int past_read(const char *path, arena *a, struct past *p)
{
    FILE *f = fopen(path, "r");
    char line[2048];
    int rc = 0;
    for (int at = 1; f && !rc && fgets(line, sizeof line, f); at++) {
        if (!text_ends(line, "\n") && feof(f))
            break;                                         // half a line: see repair_lines
        json_t *j = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
        if (!past_line(j, a, p))
            rc =
                fail(FAULT_DATA, "%s:%d: this line is not of this program: remove it, or the file", path, at);
        json_decref(j);
    }
    if (f)
        fclose(f);
    return rc;
}

/* A crash may have left half a line: the next one would be lost with it. */
int repair_lines(const char *path)
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

int repair_cut(const char *path, i64 step, i64 evaluated)
{
    FILE *f = fopen(path, "r+");
    char line[2048];
    bool cut = false;
    long at = 0;
    while (f && !cut && fgets(line, sizeof line, f)) {
        json_int_t of = 0;
        const char *split = "";
        json_t *j = json_loads(line, 0, NULL);
        json_unpack(j, "{s?s, s?I}", "split", &split, "step", &of);
        cut = of > (strcmp(split, "eval") ? step : evaluated);
        json_decref(j);
        at += cut ? 0 : (long)strlen(line);
    }
    bool bad = cut && ftruncate(fileno(f), at);
    int why = errno;
    if (f)
        fclose(f);
    return bad ? fail(FAULT_RUN, "%s: cannot write: %s", path, strerror(why)) : 0;
}

/* Other settings from here on may be intended; they are said. */
void repair_warn(const char *config, arena *a, const struct spec *s)
{
    struct spec before;
    if (!file_exists(config))
        return;
    if (spec_load(&before, a, config, NULL, 0)) {
        warn("%s", fail_message());
        fail_clear();
        return;
    }
    const char *changes = spec_changes(a, &before, s);
    if (changes[0])
        warn("the run continues with other settings than before: %s", changes);
}

/* Files of one folder that begin so. */
static void clear_kinds(const char *dir, const char *sub, const char *const *kinds, int n)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", dir, sub);
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));) {
        bool ours = false;
        for (int i = 0; i < n; i++)
            ours |= text_starts(e->d_name, kinds[i]);
        if (ours && snprintf(path, sizeof path, "%s/%s/%s", dir, sub, e->d_name) < (int)sizeof path)
            unlink(path);
    }
    if (d)
        closedir(d);
}

/* A run that starts again must not continue from what another one left (--force). Only files that a run
 * writes. */
void repair_clear(const char *dir)
{
    static const char *const top[] = { "result.json", "recycle.json", "log.txt" };
    static const char *const checkpoints[] = { "last.", "best.", "epoch_", "recycled." };
    static const char *const board[] = { "events.out.tfevents." };
    clear_kinds(dir, ".", top, countof(top));
    clear_kinds(dir, "ckpt", checkpoints, countof(checkpoints));
    clear_kinds(dir, "tb", board, countof(board));
}
