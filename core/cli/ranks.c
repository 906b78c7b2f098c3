/* ranks.c: `--device 0:0,0:1` is `mpirun -n 2` of the same command. mpirun gets a process group of its
 * own, so that Ctrl-C reaches us alone. It, and the other signals that save, go to the ranks as SIGUSR1,
 * and from here: at SIGINT and SIGTERM mpirun would kill them before they have saved, and of some
 * versions SIGUSR1 does not get through.
 */
#include "cli/ranks.h"
#include "dev/dev.h"
#include "dist/dist.h"
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static atomic_int mpirun;                         /* its process; 0: not yet */

static pid_t ranks_parent(pid_t pid)
{
    char path[64], text[512];
    int parent = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "r");
    size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
    if (f)
        fclose(f);
    text[n] = 0;
    const char *end = strrchr(text, ')');                  // a program's name may hold anything
    return end && sscanf(end + 1, " %*c %d", &parent) == 1 ? (pid_t)parent : 0;
}

/* This program, started by mpirun, or by one that it started. */
static bool ranks_is_one(pid_t pid)
{
    char path[64], exe[4096] = "", own[4096] = "";
    snprintf(path, sizeof path, "/proc/%d/exe", (int)pid);
    if (readlink(path, exe, sizeof exe - 1) < 0 || readlink("/proc/self/exe", own, sizeof own - 1) < 0
        || strcmp(exe, own))
        return false;
    while (pid > 1 && pid != mpirun)
        pid = ranks_parent(pid);
    return pid > 1;
}

/* Without ranks there is nothing that could be saved. */
static void ranks_tell(bool again)
{
    int told = 0;
    while (!mpirun)                                        // between fork and what comes after it
        usleep(1000);
    DIR *d = again ? NULL : opendir("/proc");
    for (struct dirent *e; d && (e = readdir(d));) {
        pid_t pid = (pid_t)atoi(e->d_name);
        told += pid > 1 && pid != mpirun && ranks_is_one(pid) && !kill(pid, SIGUSR1);
    }
    if (d)
        closedir(d);
    if (!told)
        kill(mpirun, SIGTERM);
}

static void ranks_environment(void)
{
    setenv("OMPI_MCA_rmaps_base_oversubscribe", "1", 0);   // more ranks than cores: devices may be GPUs
    setenv("OMPI_MCA_hwloc_base_binding_policy", "none", 0);        // a CPU device has threads of its own
    setenv("OMPI_MCA_orte_execute_quiet", "1", 0);
    if (geteuid() == 0) {
        setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 0);
        setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 0);
    }
}

/* mpirun returns a rank's exit code or, of one that was killed, 128 + the signal; MPICH's: the signal. */
static _Noreturn void ranks_wait(void)
{
    int status;
    while (waitpid(mpirun, &status, 0) < 0 && errno == EINTR)
        ;
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    if (stop_requested() && code && code != FAULT_STOPPED)
        exit(stop_fault());
    exit(code <= FAULT_NUMBERS || code == FAULT_STOPPED ? code : FAULT_RUN);
}

/* mpirun -n NUMBER of this command. */
static const char **ranks_command(struct cli *c, const char *number)
{
    char self[4096];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    int n = 0;
    const char **argv = arena_array(c->arena, const char *, c->argc + 4);
    argv[n++] = dist_mpi->launcher;
    argv[n++] = "-n";
    argv[n++] = number;
    argv[n++] = length < 0 ? c->argv[0] : arena_copy(c->arena, self, (size_t)length);
    for (int i = 1; i < c->argc; i++)
        argv[n++] = c->argv[i];
    return argv;
}

int ranks_launch(struct cli *c, const char *devices)
{
    const char *first;
    char number[16];
    int n = dist_size() > 1 || getenv("OMPI_COMM_WORLD_SIZE") || getenv("PMI_SIZE")
          ? 1 : dev_of_rank(c->arena, devices, -1, &first);
    if (n < 2)
        return 0;
    if (!dist_mpi)
        return fail(FAULT_USAGE, "device: %s: several devices need MPI: apt-get install libopenmpi-dev "
                    "openmpi-bin, then ./configure and make", devices);
    snprintf(number, sizeof number, "%d", n);
    const char **argv = ranks_command(c, number), *text = argv[0];
    for (int i = 1; argv[i]; i++)
        text = arena_printf(c->arena, "%s %s", text, argv[i]);
    say(SAY_NORMAL, "%s", text);
    ranks_environment();
    stop_pass_on(ranks_tell);
    pid_t child = fork();
    if (child == 0) {
        stop_child();
        setpgid(0, 0);
        execvp(argv[0], (char *const *)argv);
        fprintf(stderr, "jetcl: %s: %s (./configure names its package)\n", argv[0], strerror(errno));
        _exit(FAULT_USAGE);
    }
    if (child < 0)
        return stop_pass_on(NULL), fail(FAULT_RUN, "cannot start %s: %s", argv[0], strerror(errno));
    mpirun = child;
    ranks_wait();
}
