/* stop.c: signals that ask a long command to save and end. The handler only sets a flag; a second SIGINT
 * ends at once. */
#include "base/base.h"
#include <signal.h>

static volatile sig_atomic_t caught;

static void handler(int sig)
{
    if (caught && sig == SIGINT) {
        signal(sig, SIG_DFL);
        raise(sig);
    }
    caught = sig;
}

void stop_catch(const char *const *names, int n)
{
    static const struct { const char *name; int sig; } known[] = {
        { "INT", SIGINT }, { "TERM", SIGTERM }, { "USR1", SIGUSR1 }, { "USR2", SIGUSR2 }, { "HUP", SIGHUP },
    };
    struct sigaction act = { .sa_handler = handler, .sa_flags = SA_RESTART };
    sigemptyset(&act.sa_mask);
    for (int i = 0; i < n; i++)
        for (int j = 0; j < countof(known); j++)
            if (!strcmp(names[i], known[j].name))
                sigaction(known[j].sig, &act, NULL);
}

bool       stop_requested(void) { return caught != 0; }
enum fault stop_fault(void)     { return (enum fault)(128 + caught); }
