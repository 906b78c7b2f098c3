/* crash.c: faults of the processor, told in one line: SIGSEGV, SIGBUS and SIGABRT inside the device's driver,
 * on whichever of its threads, and SIGBUS where a mapped file was cut short by another process. Faults of our
 * own are left to the system, which writes the core.
 *
 * The handler runs on a stack of its own. Compilers inside drivers put handlers in place of ours, hence
 * crash_catch again after a build.
 */
#include "base/base.h"
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static _Thread_local bool        own;                      /* a thread of ours */
static _Thread_local const char *inside, *with;            /* it is in this call of the driver, for this */
static char last[128], hint[1024];                         /* the kernel it was last given, and how to help */

static const char *crash_name(int sig)
{
    return sig == SIGSEGV ? "SIGSEGV" : sig == SIGBUS ? "SIGBUS" : "SIGABRT";
}

static _Noreturn void crash_end(const char *text, enum fault fault)
{
    ssize_t ignored = write(2, text, strlen(text));
    (void)ignored;
    file_drop_unfinished();
    _exit(fault);
}

static void crash_handler(int sig, siginfo_t *info, void *context)
{
    static char text[2048];
    const char *path = sig == SIGBUS ? file_mapped_at(info->si_addr) : NULL;
    (void)context;
    if (path) {
        snprintf(text, sizeof text,
                 "jetcl: %s: the file became shorter, or could not be read, while it was in use\n", path);
        crash_end(text, FAULT_DATA);
    }
    if (own && !inside) {                                  // ours: as without this handler
        signal(sig, SIG_DFL);
        if (sig == SIGABRT)
            raise(sig);
        return;
    }
    if (inside)
        snprintf(text, sizeof text, "jetcl: the device's driver crashed (%s) in %.*s, %s%s\n",
                 crash_name(sig), (int)strcspn(inside, "("), inside, with, hint);
    else
        snprintf(text, sizeof text,
                 "jetcl: the device's driver crashed (%s) on a thread of its own, after kernel %s%s\n",
                 crash_name(sig), last[0] ? last : "none", hint);
    crash_end(text, FAULT_DEVICE);
}

void crash_catch(void)
{
    static char stack[64 << 10];
    static bool stacked;
    struct sigaction act = { .sa_sigaction = crash_handler, .sa_flags = SA_SIGINFO | SA_ONSTACK };
    sigemptyset(&act.sa_mask);
    if (!stacked)
        stacked = !sigaltstack(&(stack_t){ .ss_sp = stack, .ss_size = sizeof stack }, NULL);
    for (int i = 0; i < 3; i++)
        sigaction((int[]){ SIGSEGV, SIGBUS, SIGABRT }[i], &act, NULL);
    own = true;
}

void crash_own_thread(void)           { own = true; }
void crash_hint(const char *text)     { snprintf(hint, sizeof hint, "%s", text); }

void crash_kernel(const char *label)  { snprintf(last, sizeof last, "%s", label); }

void crash_inside(const char *call, const char *what)
{
    with = what;
    inside = call;
}
