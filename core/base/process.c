/* process.c: which process is meant, across machines and containers. The number alone does not
 * say: it is used again, by another process of this machine later, and by others of other machines
 * and containers at the same time. */
#include "base/base.h"
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

/* When process pid began, in ticks since the machine's start; 0: there is none, or it has ended
 * and its parent has not asked yet. */
static unsigned long long process_started(long pid)
{
    char path[64], text[1024];
    unsigned long long start = 0;
    snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    FILE *f = fopen(path, "r");
    size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
    if (f)
        fclose(f);
    text[n] = 0;
    char *end = strrchr(text, ')');                        // a program's name may hold anything
    char state = 0;
    if (!end
        || sscanf(end + 1,
                  " %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu", &state,
                  &start)
               != 2
        || state == 'Z')
        return 0;
    return start;
}

/* The first word of a file or target of a link; "-" when there is none. */
static void process_word(const char *path, bool link, char out[64])
{
    char text[256] = "";
    FILE *f = link ? NULL : fopen(path, "r");
    ssize_t n = link ? readlink(path, text, sizeof text - 1)
                : f  ? (ssize_t)fread(text, 1, sizeof text - 1, f)
                     : 0;
    text[n > 0 ? n : 0] = 0;
    if (f)
        fclose(f);
    if (sscanf(text, "%63s", out) != 1)
        strcpy(out, "-");
}

void process_self(struct process *me)
{
    *me = (struct process){ .pid = (long)getpid(), .start = process_started((long)getpid()) };
    if (gethostname(me->host, sizeof me->host - 1) || !me->host[0])
        strcpy(me->host, "-");
    for (char *p = me->host; *p; p++)
        *p = (char)((u8)*p <= ' ' ? '_' : *p);
    process_word("/proc/sys/kernel/random/boot_id", false, me->boot);
    process_word("/proc/self/ns/pid", true, me->space);
}

enum process_state process_look(const struct process *p)
{
    struct process me;
    process_self(&me);
    if (strcmp(p->host, me.host) || strcmp(p->space, me.space))
        return PROCESS_ELSEWHERE;
    return !strcmp(p->boot, me.boot) && process_started(p->pid) == p->start ? PROCESS_LIVES : PROCESS_GONE;
}

/* ---- helpers ------------------------------------------------------------------------------------------- */

extern char **environ;
static bool is_program;

void process_is_program(void) { is_program = true; }

int process_help(const char *const words[])
{
    const char *argv[16] = { "jetcl" };
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t none;
    pid_t pid = 0;
    for (int i = 0; words[i] && i + 2 < countof(argv); i++)
        argv[i + 1] = words[i];
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDWR, 0);
    posix_spawn_file_actions_adddup2(&files, 0, 1);
    posix_spawn_file_actions_adddup2(&files, 0, 2);
    sigemptyset(&none);                           // ours are blocked: stop.c
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    if (!is_program || posix_spawn(&pid, "/proc/self/exe", &files, &attributes, (char *const *)argv, environ))
        pid = 0;
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
    return (int)pid;
}

void process_end(int helper)
{
    if (!helper)
        return;
    kill((pid_t)helper, SIGTERM);
    waitpid((pid_t)helper, NULL, 0);
}

void process_follow(void)
{
#ifdef __linux__
    prctl(PR_SET_PDEATHSIG, SIGTERM);
#endif
}
