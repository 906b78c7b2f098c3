/* timeline.c: what happened when, on which thread or queue, in the JSON that
 * ui.perfetto.dev and chrome://tracing read. */
#include "base/base.h"
#include <pthread.h>
#include <time.h>

struct span { const char *track, *name, *detail; f64 start, end; };
static struct {
    pthread_mutex_t lock;
    arena *a;                                     /* NULL: off */
    struct span *spans;
    size_t n, cap;
    f64 shift;                                    /* from clock_now() to the trace's time */
} line = { .lock = PTHREAD_MUTEX_INITIALIZER };

static f64 timeline_real(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (f64)t.tv_sec + 1e-9 * (f64)t.tv_nsec;
}

void timeline_begin(f64 *zero)
{
    pthread_mutex_lock(&line.lock);
    if (line.a)
        arena_close(line.a);
    *zero = *zero ? *zero : timeline_real();
    line.a = arena_open("timeline");
    line.spans = NULL;
    line.n = line.cap = 0;
    line.shift = timeline_real() - clock_now() - *zero;
    pthread_mutex_unlock(&line.lock);
}

bool timeline_on(void)
{
    pthread_mutex_lock(&line.lock);
    bool on = line.a != NULL;
    pthread_mutex_unlock(&line.lock);
    return on;
}

void timeline_span(const char *track, const char *name, const char *detail, f64 start, f64 end)
{
    pthread_mutex_lock(&line.lock);
    if (line.a && start + line.shift >= 0)
        *arena_push(line.a, line.spans, line.n, line.cap) = (struct span){
            arena_printf(line.a, "%s", track), arena_printf(line.a, "%s", name),
            arena_printf(line.a, "%s", detail), start + line.shift, MAX(start, end) + line.shift };
    pthread_mutex_unlock(&line.lock);
}

/* ---- JSON ------------------------------------------------------------------------------------------------ */

static void timeline_text(FILE *f, const char *s)
{
    fputc('"', f);
    for (; *s; s++)
        if (*s == '"' || *s == '\\')
            fprintf(f, "\\%c", *s);
        else
            fputc((u8)*s < 0x20 || (u8)*s >= 0x7f ? '?' : *s, f);
    fputc('"', f);
}

/* Names a process (thread 0) or one of its threads. */
static void timeline_name(FILE *f, const char *what, int process, int thread, const char *name)
{
    fprintf(f, "{\"ph\":\"M\",\"name\":\"%s\",\"pid\":%d,\"tid\":%d,\"args\":{\"name\":", what, process,
            thread);
    timeline_text(f, name);
    fputs("}},\n", f);
}

/* The number of a track, from 1; it is named when it is new. */
static int timeline_track(FILE *f, int process, const char **tracks, int *n, int most, const char *track)
{
    for (int i = 0; i < *n; i++)
        if (!strcmp(tracks[i], track))
            return i + 1;
    if (*n == most)
        return most;
    tracks[(*n)++] = track;
    timeline_name(f, "thread_name", process, *n, track);
    return *n;
}

void timeline_end(FILE *f, int process, const char *name)
{
    const char *tracks[256];
    int n = 0;
    pthread_mutex_lock(&line.lock);
    for (size_t i = 0; line.a && i < line.n; i++) {
        const struct span *s = &line.spans[i];
        int track = timeline_track(f, process, tracks, &n, countof(tracks), s->track);
        fprintf(f, "{\"ph\":\"X\",\"pid\":%d,\"tid\":%d,\"ts\":%.3f,\"dur\":%.3f,\"name\":", process, track,
                1e6 * s->start, 1e6 * (s->end - s->start));
        timeline_text(f, s->name);
        fputs(",\"args\":{\"what\":", f);
        timeline_text(f, s->detail);
        fputs("}},\n", f);
    }
    fprintf(f, "{\"ph\":\"M\",\"name\":\"process_name\",\"pid\":%d,\"args\":{\"name\":", process);
    timeline_text(f, name);
    fputs("}}", f);
    if (line.a)
        arena_close(line.a);
    line.a = NULL;
    pthread_mutex_unlock(&line.lock);
}
