/* ranks.c: `--device 0:0,0:1` is `mpirun -n 2` of the same command. mpirun gets a process group of its own, so that
 * Ctrl-C reaches us alone: it, and the other signals that save, are passed on to the ranks as SIGUSR1, since at
 * SIGINT and SIGTERM mpirun would kill them before they have saved. */
#include "cli/ranks.h"
#include "dev/dev.h"
#include "dist/dist.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile pid_t child;

static void ranks_pass_on(int sig)
{
    (void)sig;
    if (child > 0)
        kill(child, SIGUSR1);
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

/* What mpirun returns is a rank's exit code, or 128 + the signal that killed one. */
static _Noreturn void ranks_wait(void)
{
    int status;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    exit(code > 128 ? FAULT_RUN : code);
}

int ranks_launch(struct cli *c, const char *devices)
{
    const char *first;
    char number[16], self[4096];
    int n = dist_size() > 1 || getenv("OMPI_COMM_WORLD_SIZE") || getenv("PMI_SIZE")
          ? 1 : dev_of_rank(c->arena, devices, -1, &first);
    if (n < 2)
        return 0;
    if (!dist_mpi)
        return fail(FAULT_USAGE, "device: %s: several devices need MPI: apt-get install libopenmpi-dev openmpi-bin, "
                    "then ./configure and make", devices);
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    snprintf(number, sizeof number, "%d", n);
    const char **argv = arena_array(c->arena, const char *, c->argc + 5);
    const char *text = arena_printf(c->arena, "mpirun -n %d", n);
    argv[0] = "mpirun", argv[1] = "-n", argv[2] = number;
    for (int i = 0; i < c->argc; i++) {
        argv[3 + i] = i || length < 0 ? c->argv[i] : arena_copy(c->arena, self, (size_t)length);
        text = arena_printf(c->arena, "%s %s", text, c->argv[i]);
    }
    say(SAY_NORMAL, "%s", text);
    ranks_environment();
    if ((child = fork()) == 0) {
        setpgid(0, 0);
        execvp("mpirun", (char *const *)argv);
        fprintf(stderr, "jetcl: mpirun: %s (apt-get install openmpi-bin)\n", strerror(errno));
        _exit(FAULT_USAGE);
    }
    if (child < 0)
        return fail(FAULT_RUN, "cannot start mpirun: %s", strerror(errno));
    const int signals[] = { SIGINT, SIGTERM, SIGUSR1 };
    for (int i = 0; i < countof(signals); i++)
        signal(signals[i], ranks_pass_on);
    ranks_wait();
}
