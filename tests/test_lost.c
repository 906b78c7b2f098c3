/* test_lost.c: ranks that are gone, late or out of order, as the ranks that are left see them: over messages of
 * the test's own in place of MPI's, so that each moment can be chosen. dist_mpi is the test's here. */
#include "apart.h"
#include "dist/dist.h"
#include <math.h>
#include <signal.h>

enum { RANKS = 4, NONE = -1 };
static int own, found = RANKS, late = NONE, gone[2] = { NONE, NONE };
static int started;                               /* messages */
static f64 began, asked;                          /* when this rank knew all others, and asked a late one */
static f64 comes = INFINITY;                      /* seconds later that is there */

static int lost_open(int *rank, int *size, int *local)
{
    *rank = own;
    *size = found;
    *local = 0;
    return 0;
}

/* All say what this rank says. The first message is who they are: a process that began at another time is
 * another one, so this one's number with another start is gone. */
static void lost_start(const struct dist_pair *with, int tag)
{
    (void)tag;
    for (int r = 0; r < RANKS; r++) {
        if (r != own && with[r].recv && with[r].received == with[r].sent)
            memcpy(with[r].recv, with[r].send, with[r].sent);
        if (!started && (r == gone[0] || r == gone[1]))
            ((struct process *)with[r].recv)->start++;
    }
    started++;
    asked = 0;
}

static int lost_left(int *missing)
{
    if (late != NONE)
        *missing = late;
    asked = asked ? asked : clock_now();
    return !(late == NONE || !began || clock_now() - asked > comes);
}

static void lost_close(void) { fprintf(stderr, "closed\n"); }

/* A launcher's signal, and an alarm where it is far away, must be able to end this process. */
static bool lost_ends_at(int signal)
{
    struct sigaction now;
    sigset_t blocked;
    sigprocmask(SIG_BLOCK, NULL, &blocked);
    return !sigaction(signal, NULL, &now) && now.sa_handler == SIG_DFL && !sigismember(&blocked, signal);
}

static void lost_abort(int code)
{
    if (!lost_ends_at(SIGTERM) || !lost_ends_at(SIGINT) || !lost_ends_at(SIGALRM) || !alarm(0))
        fprintf(stderr, "cannot be ended\n");
    fprintf(stderr, "abort %d %s\n", code, clock_now() - began < 2.9 ? "at once" : "after others");
    _Exit(40 + code);
}

static void lost_guard(void) { }

static const struct dist_backend lost_backend = {
    "none", lost_guard, lost_open, lost_start, lost_left, lost_close, lost_abort
};
const struct dist_backend *const dist_mpi = &lost_backend;

static void lost_job(void)
{
    setenv("OMPI_COMM_WORLD_SIZE", "4", 1);
    say_setup((struct say_options){ SAY_QUIET, 0, true });
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    check(!dist_open() && dist_size() == RANKS && dist_rank() == own, "%s", fail_message());
    began = clock_now();
}

static void wait_for_late(void)
{
    bool flag = false;
    lost_job();
    if (late == NONE && gone[0] != NONE)
        late = gone[0];
    dist_timeout(0.2);
    dist_agree_flag(0, &flag);
    fprintf(stderr, "nobody was missed\n");
}

/* Exit code of abort(CODE), and what is printed once. */
static void expect_end(void (*work)(void), int code, const char *text)
{
    int status = apart(work);
    const char *found = strstr(output, text);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != code || !found || strstr(found + 1, text)
        || strstr(output, "cannot be ended"))
        fail_msg("status %d, expected exit %d and once '%s': %s", status, code, text, output);
}

static void set_up(int rank, int late_rank, int gone_rank, int gone_too)
{
    own = rank;
    late = late_rank;
    gone[0] = gone_rank;
    gone[1] = gone_too;
}

/* The rank whose process ended is named, by the first of those that are left, at once. */
static void test_gone(void **state)
{
    (void)state;
    set_up(0, NONE, 2, NONE);
    expect_end(wait_for_late, 40 + FAULT_RUN, "jetcl: rank 2 (");
    assert_non_null(strstr(output, ") is gone: its process ended"));
    assert_non_null(strstr(output, "abort 1 at once\n"));
    set_up(1, NONE, 3, 0);                        // the lowest is named; rank 1 is now the first
    expect_end(wait_for_late, 40 + FAULT_RUN, "jetcl: rank 0 (");
    assert_non_null(strstr(output, "abort 1 at once\n"));
    set_up(1, NONE, 3, NONE);                     // rank 0 speaks first, and this one three seconds later
    expect_end(wait_for_late, 40 + FAULT_RUN, "jetcl: rank 3 (");
    assert_non_null(strstr(output, "abort 1 after others\n"));
}

/* One that lives and does not answer is waited for as long as dist.timeout says. */
static void test_late(void **state)
{
    (void)state;
    set_up(0, 3, NONE, NONE);
    expect_end(wait_for_late, 40 + FAULT_RUN, "jetcl: rank 3 (");
    assert_non_null(strstr(output, ") has not answered for 0 s (dist.timeout)"));
    assert_non_null(strstr(output, "abort 1 at once\n"));
    set_up(1, 0, NONE, NONE);                     // the late one says nothing, so this one is the first
    expect_end(wait_for_late, 40 + FAULT_RUN, "jetcl: rank 0 (");
    assert_non_null(strstr(output, "abort 1 at once\n"));
    set_up(0, NONE, NONE, NONE);
    expect_end(wait_for_late, 0, "nobody was missed\n");
}

/* Work that only some ranks do takes as long as it takes: dist.timeout is for what all do. Waiting adds up. */
static void wait_for_work(void)
{
    f64 v = 3;
    lost_job();
    f64 before = dist_seconds(), start = clock_now();
    dist_timeout(0.02);
    comes = 0.1;
    for (int call = 0; call < 4; call++)
        check(!(call == 0 ? dist_agree(0) : call == 1 ? dist_broadcast(&v, sizeof v)
                : call == 2 ? dist_sum(&v, 1) : dist_same(1, FAULT_DATA, "x")), "%s", fail_message());
    f64 waited = dist_seconds() - before;
    fprintf(stderr, "all came: %g, waited %s\n", v,
            waited >= 0.399 && waited <= clock_now() - start ? "right" : "wrong");
}

static void test_work(void **state)
{
    (void)state;
    set_up(0, 2, NONE, NONE);
    expect_end(wait_for_work, 0, "all came: 12, waited right\n");
}

/* Each launcher says in a word of its own how many it started. */
static const char *word;
static void open_by_word(void)
{
    unsetenv("OMPI_COMM_WORLD_SIZE");
    setenv(word, found == 1 ? "2" : "4", 1);
    int rc = dist_open();
    fprintf(stderr, "%d of %d: %s\n", rc, dist_size(), rc ? fail_message() : "");
}

static void test_launchers(void **state)
{
    (void)state;
    static const char *const words[] = { "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS",
                                         "SLURM_STEP_NUM_TASKS" };
    set_up(0, NONE, NONE, NONE);
    for (int i = 0; i < countof(words); i++) {
        word = words[i];
        expect_end(open_by_word, 0, "0 of 4: \n");
    }
    found = 1;
    expect_end(open_by_word, 0, "-1 of 1: started as one of 2 ranks, but MPI finds only itself");
    found = RANKS;
    word = "NO_LAUNCHER";
    expect_end(open_by_word, 0, "0 of 1: \n");
}

/* What all ranks know of is told by the first that failed. */
static void close_all_failed(void)
{
    lost_job();
    fail(FAULT_DATA, "no such file");
    dist_close("no such file");
}

static void close_alone_failed(void)
{
    lost_job();
    late = 1;
    fail(FAULT_DATA, "no such file");
    dist_close("no such file");
}

static void close_without_others(void)
{
    lost_job();
    late = 1;
    dist_timeout(0.2);
    dist_close(NULL);
}

static void progress_beside_gone(void)
{
    lost_job();
    dist_progress(clock_now());
    usleep(60000);
    dist_progress(clock_now());
    fprintf(stderr, "nobody was missed\n");
}

static void test_close(void **state)
{
    (void)state;
    set_up(0, NONE, NONE, NONE);
    expect_end(close_all_failed, 0, "no such file");
    assert_non_null(strstr(output, "closed\n"));
    expect_end(close_alone_failed, 40 + FAULT_DATA, "failed: no such file");
    assert_non_null(strstr(output, "jetcl: rank 0 ("));
    assert_non_null(strstr(output, "after others\n"));  // these may be on their way
    set_up(1, NONE, NONE, NONE);
    expect_end(close_all_failed, 0, "closed\n");
    assert_null(strstr(output, "no such file"));          // rank 0 has told it
    set_up(0, NONE, 1, NONE);
    expect_end(close_without_others, 40 + FAULT_RUN, "rank 1 (");
    assert_non_null(strstr(output, "is gone"));
    expect_end(progress_beside_gone, 40 + FAULT_RUN, "is gone");
}

#define T(f) cmocka_unit_test(f)
int main(void)
{
    const struct CMUnitTest tests[] = { T(test_gone), T(test_late), T(test_work), T(test_launchers),
                                        T(test_close) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
