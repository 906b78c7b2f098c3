/* mpi.c: messages between ranks: MPI's point-to-point calls and nothing else of it, so that sums have an order
 * and a rank that is missing has a number. */
#include "dist/dist.h"

#ifdef HAVE_MPI
#include <mpi.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* Bytes, seconds. Where ranks of a host may not read each other's memory (containers), a call of MPI_Test moves
 * 32 KiB of one message, and we call it seldom: 25 MB went at 0.05 GB/s in one, and go at 1.3 in these. */
enum { PIECE = 1 << 20, PATIENCE = 5 };
static MPI_Request *request;
static int *from, n_requests, cap_requests, ranks, own;
static bool broken;                               /* a message failed: its rank stays missing */

/* MPICH's mpirun kills all ranks at once when a process that it started dies, before another rank can name it.
 * That process is therefore one that only waits for the rank, its child, and outlives it by HELD seconds where
 * a signal ended it. */
#ifdef MPICH_VERSION
enum { HELD = 3 };
static void mpi_guard(void)
{
    sigset_t all, before;
    int status;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);      // sent to both; the rank answers
    pid_t parent = getpid(), rank = fork();
    if (rank <= 0) {
        sigprocmask(SIG_SETMASK, &before, NULL);
        if (!rank && (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent))
            _exit(FAULT_RUN);
        return;
    }
    while (waitpid(rank, &status, 0) < 0 && errno == EINTR)
        ;
    if (WIFEXITED(status))
        _exit(WEXITSTATUS(status));
    sleep(HELD);
    _exit(FAULT_RUN);
}
#else
static void mpi_guard(void) { }
#endif

static int mpi_open(int *rank, int *size, int *local)
{
    int level, argc = 0;
    char **argv = NULL;
    MPI_Comm host;
    setenv("OMPI_MCA_opal_signal", "", 0);        // signals are ours
    setenv("UCX_TLS", "^cma", 0);                 // it ends a process whose peer is gone before we can say so
    setenv("UCX_TCP_PUT_ENABLE", "n", 0);         // MPICH's end may wait for ever for a peer to acknowledge one
    if (MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &level))
        return fail(FAULT_RUN, "MPI does not start");
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    MPI_Comm_rank(MPI_COMM_WORLD, &own);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &host);
    MPI_Comm_rank(host, local);
    MPI_Comm_free(&host);
    *rank = own;
    *size = ranks;
    return 0;
}

static void mpi_piece(bool send, void *p, u64 bytes, int with, int tag)
{
    static arena *a;
    a = a ? a : arena_open("messages");
    if (n_requests == cap_requests) {
        size_t cap = (size_t)cap_requests;
        from = arena_grow(a, from, (size_t)n_requests, &cap, sizeof *from);
        cap = (size_t)cap_requests;
        request = arena_grow(a, request, (size_t)n_requests, &cap, sizeof *request);
        cap_requests = (int)cap;
    }
    from[n_requests] = with;
    int bad = send ? MPI_Isend(p, (int)bytes, MPI_BYTE, with, tag, MPI_COMM_WORLD, &request[n_requests])
                   : MPI_Irecv(p, (int)bytes, MPI_BYTE, with, tag, MPI_COMM_WORLD, &request[n_requests]);
    broken |= bad;
    n_requests++;
}

static void mpi_start(const struct dist_pair *with, int tag)
{
    for (int send = 0; send < 2; send++)
        for (int r = 0; r < ranks; r++) {
            u64 all = send ? with[r].sent : with[r].received;
            char *p = send ? (char *)with[r].send : with[r].recv;
            for (u64 at = 0; r != own && at < all; at += PIECE)
                mpi_piece(send, p + at, MIN(all - at, (u64)PIECE), r, tag);
        }
}

static int mpi_left(int *waiting_for)
{
    int left = 0;
    for (int i = 0; i < n_requests; i++) {
        int flag = 0;
        if (!broken && MPI_Test(&request[i], &flag, MPI_STATUS_IGNORE))
            broken = true;
        flag &= !broken;
        if (!flag && !left++)
            *waiting_for = from[i];
    }
    if (!left)
        n_requests = 0;
    return left;
}

static void mpi_close(void) { MPI_Finalize(); }

static void *mpi_exit_late(void *code)
{
    sleep(PATIENCE);
    _Exit((int)(intptr_t)code);
}

/* MPI_Abort waits for all hosts, also for one whose link is cut. */
static void mpi_abort(int code)
{
    pthread_t late;
    pthread_create(&late, NULL, mpi_exit_late, (void *)(intptr_t)code);
    MPI_Abort(MPI_COMM_WORLD, code);
    _Exit(code);
}

static const struct dist_backend backend = {
    MPIRUN, mpi_guard, mpi_open, mpi_start, mpi_left, mpi_close, mpi_abort
};
const struct dist_backend *const dist_mpi = &backend;
#else
const struct dist_backend *const dist_mpi = NULL;
#endif
