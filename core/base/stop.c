/* stop.c: signals that ask the program to end. They are blocked in every thread and taken by one that waits for
 * them: a handler would not do, since the compiler inside a driver installs its own at its first build.
 *
 *     not asked for by stop_catch        the program ends at once, as without any of this
 *     asked for, stop_watched            stop_requested() becomes true; the loop that asks saves and ends
 *     asked for, not watched             the same, and the program ends when two seconds have passed
 *     a second SIGINT                    the program ends at once
 *     passed on, stop_pass_on            others are told, and this program ends when they have
 */
#include "base/base.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { GRACE = 2 };
static const struct { const char *name; int sig; } known[] = {
    { "INT", SIGINT }, { "TERM", SIGTERM }, { "HUP", SIGHUP }, { "USR1", SIGUSR1 }, { "USR2", SIGUSR2 },
};
static atomic_int  caught;
static void (*_Atomic passed_on)(bool again);
static sigset_t    set, before;                   /* ours; what was blocked at the start */
static atomic_bool asked[countof(known)], ignored[countof(known)], watched, kept, begun;

static int known_index(int sig)
{
    for (int i = 0; i < countof(known); i++)
        if (known[i].sig == sig)
            return i;
    return 0;
}

/* Ends the program as the signal would have, but removes temporary files and locks first. */
static void stop_now(int sig)
{
    sigset_t one;
    file_drop_unfinished();
    signal(sig, SIG_DFL);
    sigemptyset(&one);
    sigaddset(&one, sig);
    pthread_sigmask(SIG_UNBLOCK, &one, NULL);
    raise(sig);
    _exit(128 + sig);
}

/* The flag was not read for two seconds. */
static void stop_unwatched(int sig)
{
    const char *name = known[known_index(sig)].name;
    progress_done();
    if (!kept) {
        say_error("jetcl: stopped by SIG%s before anything was saved", name);
        stop_now(sig);
    }
    say_error(
        "jetcl: stopped by SIG%s; what was saved before is complete: --resume, or table again, continues",
        name);
    file_drop_unfinished();
    _exit(FAULT_STOPPED);
}

static void stop_take(int sig)
{
    int k = known_index(sig);
    int none = 0;
    if (ignored[k] && (sig == SIGHUP || (!asked[k] && !passed_on)))            // nohup, or a shell's background
        return;
    if (!passed_on && (!asked[k] || (caught && sig == SIGINT)))
        stop_now(sig);
    bool first = atomic_compare_exchange_strong(&caught, &none, sig);
    if (passed_on && (first || sig == SIGINT || sig == SIGTERM))
        passed_on(!first);
}

static void *stop_thread(void *arg)
{
    (void)arg;
    crash_own_thread();
    f64 since = 0;
    for (;;) {
        struct timespec tenth = { 0, 100000000 };
        int sig = caught ? sigtimedwait(&set, NULL, &tenth) : sigwaitinfo(&set, NULL);
        if (sig > 0)
            stop_take(sig);
        if (!caught || watched || passed_on)
            since = 0;
        else if (!since)
            since = clock_now();
        else if (clock_now() - since > GRACE)
            stop_unwatched(caught);
    }
    return NULL;
}

/* So that a signal that was ignored is delivered at all. */
static void stop_nothing(int sig) { (void)sig; }

void stop_begin(void)
{
    pthread_t thread;
    if (begun)
        return;
    begun = true;
    sigemptyset(&set);
    for (int i = 0; i < countof(known); i++) {
        struct sigaction was;
        sigaddset(&set, known[i].sig);
        ignored[i] = !sigaction(known[i].sig, NULL, &was) && was.sa_handler == SIG_IGN;
        if (ignored[i])
            signal(known[i].sig, stop_nothing);
    }
    pthread_sigmask(SIG_BLOCK, &set, &before);
    int why = pthread_create(&thread, NULL, stop_thread, NULL);
    if (why) {
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        warn("signals end the program at once, without saving: no thread for them: %s", strerror(why));
        return;
    }
    pthread_detach(thread);
}

void stop_catch(const char *const *names, int n)
{
    stop_begin();
    for (int j = 0; j < countof(known); j++) {
        asked[j] = false;
        for (int i = 0; i < n; i++)
            if (!strcmp(names[i], known[j].name))
                asked[j] = true;
    }
}

void stop_pass_on(void (*tell)(bool again)) { passed_on = tell; }

void stop_child(void)
{
    for (int i = 0; begun && i < countof(known); i++)
        signal(known[i].sig, ignored[i] ? SIG_IGN : SIG_DFL);
    if (begun)
        pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void       stop_watched(bool on)  { watched = on; }
void       stop_kept(void)        { kept = true; }
bool       stop_requested(void)   { return caught != 0; }
enum fault stop_fault(void)       { return kept ? FAULT_STOPPED : (enum fault)(128 + caught); }
