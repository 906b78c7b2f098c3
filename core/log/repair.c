/* repair.c: what a resumed run finds in its folder (half a line, evaluations so far, other settings), and what
 * a run that starts anew there removes. */
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

/* Evaluations and seconds of the parts before a resume; of a step logged twice the later line counts. */
void past_read(const char *path, arena *a, struct past *p)
{
    FILE *f = fopen(path, "r");
    char line[2048];
    while (f && fgets(line, sizeof line, f)) {
        struct run_eval e = { 0 };
        json_int_t step = 0, n = 0;
        const char *split = "";
        json_t *j = json_loads(line, 0, NULL);
        json_unpack(j, "{s?F}", "run_s", &p->seconds);
        bool eval = !json_unpack(j, "{s:s, s:i, s:I, s:I}", "split", &split, "epoch", &e.epoch, "step", &step,
                                 "n", &n) && !strcmp(split, "eval");
        e = (struct run_eval){ e.epoch, step, n, real_in(j, "top1"), real_in(j, "top5"), real_in(j, "loss"),
                               real_in(j, "s") };
        while (eval && p->n && p->evals[p->n - 1].step >= e.step)
            p->n--;
        if (eval)
            *arena_push(a, p->evals, p->n, p->cap) = e;
        json_decref(j);
    }
    if (f)
        fclose(f);
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

/* The user may well want other settings from here on; he should know that he got them. */
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

/* A run that starts anew must not go on from what another one left (--force). */
void repair_clear(const char *dir)
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
