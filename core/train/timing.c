/* timing.c: train.profile: some steps as a trace of kernels, data threads, saving and waiting for other ranks.
 * The parts of a step follow one another without a gap on the track "training": their sum is the step.
 *
 *     step 3          |------------------------------------------------|
 *     its parts       | wait for data | compute | wait for device | save |
 */
#include "train/learner.h"
#include <stdlib.h>

enum { WARM_UP = 2 };                   /* steps in which kernels are still being built and memory is touched */

int timing_step(struct timing *t, i64 steps, i64 done)
{
    t->began = t->mark = clock_now();
    if (!steps || t->over || t->on || done < WARM_UP)
        return 0;
    f64 zero = 0;
    if (!dist_rank())
        timeline_begin(&zero);
    if (dist_broadcast(&zero, sizeof zero))
        return -1;
    if (dist_rank())
        timeline_begin(&zero);
    t->on = true;
    t->until = done + steps;
    t->began = t->mark = clock_now();
    return 0;
}

void timing_part(struct timing *t, const char *part)
{
    f64 now = t->on ? clock_now() : 0;
    if (t->on)
        timeline_span("training", part, "", t->mark, now);
    t->mark = now;
}

/* This rank's events, and those of all others on rank 0. Together. */
static int timing_gather(FILE *f, const char *own, u64 bytes)
{
    int n = dist_size();
    arena *a = arena_open("trace");
    f64 *sizes = arena_array(a, f64, n);
    u64 *each = arena_array(a, u64, n);
    void **into = arena_array(a, void *, n);
    sizes[dist_rank()] = (f64)bytes;
    int rc = n > 1 ? dist_sum(sizes, n) : 0;
    for (int r = 0; r < n && !rc; r++) {
        each[r] = (u64)sizes[r];
        into[r] = dist_rank() ? NULL : arena_bytes(a, (size_t)each[r] + 1, 1);
    }
    rc = rc || (n > 1 && dist_gather(own, into, each)) ? -1 : 0;
    for (int r = 0; r < n && !rc && f; r++) {
        fputs(r ? ",\n" : "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n", f);
        fwrite(r ? into[r] : own, 1, (size_t)each[r], f);
    }
    if (f)
        fputs("\n]}\n", f);
    arena_close(a);
    return rc;
}

int timing_end(struct timing *t, const char *path, const char *device)
{
    char *text = NULL, name[200];
    size_t n;
    struct file_out o;
    if (!t->on)
        return 0;
    FILE *f = open_memstream(&text, &n);
    check(f, "open_memstream failed");
    snprintf(name, sizeof name, "rank %d: %s", dist_rank(), device);
    timeline_end(f, dist_rank(), name);
    fclose(f);
    t->on = false;
    t->over = true;
    int rc = path && file_begin(&o, path) ? -1 : 0;
    if (dist_agree(rc)) {
        free(text);
        return -1;
    }
    rc = timing_gather(path ? o.f : NULL, text, n);
    free(text);
    if (path)
        rc = rc ? (file_abort(&o), -1) : file_commit(&o);
    if (path && !rc)
        say(SAY_NORMAL, "%s: for https://ui.perfetto.dev or chrome://tracing", path);
    return dist_agree(rc);
}

int timing_done(struct timing *t, i64 step, i64 done, const char *path, const char *device)
{
    char name[32];
    if (!t->on)
        return 0;
    timing_part(t, "save and report");
    snprintf(name, sizeof name, "step %lld", (long long)step);
    timeline_span("training", name, "", t->began, t->mark);
    return done >= t->until ? timing_end(t, path, device) : 0;
}
