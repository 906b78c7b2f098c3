/* dist.c: what ranks do together, made of one operation: each rank sends something to each other one. */
#include "dist/dist.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

struct rank_about { struct process who; char device[64]; };
struct verdict { i32 fault, flag; char message[1000]; };

static struct {
    arena *a;
    int rank, size, local;
    f64 timeout, waited, moved;                   /* when a message arrived or left last, as far as we know */
    int left;                                     /* messages that were under way then */
    struct rank_about *about;
    struct dist_pair *pairs;                      /* for the calls below */
    struct verdict *verdicts;
} job = { .size = 1, .timeout = 600 };

int  dist_rank(void)             { return job.rank; }
int  dist_size(void)             { return job.size; }
int  dist_local(void)            { return job.local; }
f64  dist_seconds(void)          { return job.waited; }
void dist_timeout(f64 seconds)   { job.timeout = seconds; }
const char *dist_host(int rank)   { return job.about ? job.about[rank].who.host : "this host"; }
const char *dist_device(int rank) { return job.about ? job.about[rank].device : ""; }

const char *dist_name(int rank)
{
    static char text[4][160];
    static int next;
    char *s = text[next++ % 4];
    snprintf(s, sizeof text[0], "rank %d (%s%s%s)", rank, dist_host(rank), *dist_device(rank) ? ", " : "",
             dist_device(rank));
    return s;
}

/* ---- waiting ------------------------------------------------------------------------------------------- */

/* Is the rank's process, of this host and container, gone? */
static bool is_gone(int r) { return job.about && process_look(&job.about[r].who) == PROCESS_GONE; }

static void dist_nap(f64 seconds)
{
    struct timespec t = { (time_t)seconds, (long)(1e9 * (seconds - (f64)(time_t)seconds)) };
    nanosleep(&t, NULL);
}

/* Nothing is saved after this, and the run's folder must not stay locked: the launcher's SIGTERM ends us,
 * and where it has lost touch with us, an alarm. */
static void end_at_signals(void)
{
    static const int signals[] = { SIGTERM, SIGINT, SIGALRM };
    sigset_t set;
    sigemptyset(&set);
    for (int i = 0; i < countof(signals); i++) {
        signal(signals[i], SIG_DFL);
        sigaddset(&set, signals[i]);
    }
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    alarm(5);
}

/* Rank 0 reports at once; others only if no rank before them did. */
static _Noreturn void end_job(int lost, const char *what, int code)
{
    int before = job.rank - (lost >= 0 && lost < job.rank);
    dist_nap(3.0 * before);                       // what MPI needs to end the others
    say_error("jetcl: %s %s", lost < 0 ? dist_name(job.rank) : dist_name(lost), what);
    end_at_signals();
    dist_nap(1);                                  // what MPICH's mpirun has not passed on by then is lost
    dist_mpi->abort(code);
    _Exit(code);
}

/* Launchers end the others soon after one is gone: who looks often names it before that. */
static void look_for_gone(void)
{
    static f64 looked;
    if (clock_now() - looked < 0.05)
        return;
    looked = clock_now();
    for (int r = 0; r < job.size; r++)
        if (r != job.rank && is_gone(r)) {
            end_job(r, "is gone: its process ended, and the job with it; --resume continues from the last "
                       "state",
                    FAULT_RUN);
        }
}

/* Tags tell the end of a job from its work. */
enum { WORK, END };

static void dist_post(const struct dist_pair *with, int tag)
{
    if (job.size > 1)
        dist_mpi->start(with, tag);
}

int dist_start(const struct dist_pair *with)
{
    dist_post(with, WORK);
    return 0;
}

static bool all_done(int *missing)
{
    int left = dist_mpi->left(missing);
    if (left != job.left)
        job.moved = clock_now();
    job.left = left;
    return !left;
}

/* Polling interrupts a core that a device of this host may compute on, 15 us each time: it sleeps soon, and
 * ever longer, up to an eighth of the time in which nothing has moved. */
static void nap_since(f64 start)
{
    f64 waited = clock_now() - MAX(start, job.moved);
    if (waited > 50e-6)
        dist_nap(MIN(MAX(30e-6, waited / 8), 2e-3));
}

static void wait_for_all(f64 patience)
{
    f64 start = clock_now();
    int missing = 0;
    while (job.size > 1 && !all_done(&missing)) {
        look_for_gone();
        if (clock_now() - start > patience) {
            char why[128];
            snprintf(why, sizeof why, "has not answered for %.0f s (dist.timeout); the job ends here",
                     patience);
            end_job(missing, why, FAULT_RUN);
        }
        nap_since(start);
    }
    f64 end = clock_now();
    job.waited += end - start;
    if (job.size > 1)
        timeline_span("MPI", "wait for ranks", "", start, end);
}

/* MPI moves large messages only while it is called. */
void dist_progress(f64 start)
{
    int missing;
    if (job.size > 1) {
        all_done(&missing);
        look_for_gone();
    }
    nap_since(start);
}

int dist_finish(void)
{
    wait_for_all(job.timeout);
    return 0;
}

/* ---- opening and closing ------------------------------------------------------------------------------- */

/* How many processes a launcher says it started, or 0. */
static int dist_launched(void)
{
    static const char *const says[] = { "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS",
                                        "SLURM_STEP_NUM_TASKS" };
    for (int i = 0; i < countof(says); i++)
        if (getenv(says[i]) && atoi(getenv(says[i])) > 0)
            return atoi(getenv(says[i]));
    return 0;
}

static void send_all(const void *p, u64 bytes, void *into, int tag)
{
    for (int r = 0; r < job.size; r++)
        job.pairs[r] = (struct dist_pair){ p, bytes, (char *)into + bytes * (u64)r, bytes };
    dist_post(job.pairs, tag);
}

void dist_guard(void)
{
    if (dist_mpi && dist_launched() > 1)
        dist_mpi->guard();
}

int dist_open(void)
{
    int n = dist_launched();
    if (n < 2)
        return 0;
    if (!dist_mpi)
        return fail(FAULT_USAGE, "started as one of %d ranks, but built without MPI (apt-get install "
                    "libopenmpi-dev, ./configure, make)", n);
    if (dist_mpi->open(&job.rank, &job.size, &job.local))
        return -1;
    if (job.size == 1)
        return fail(FAULT_USAGE, "started as one of %d ranks, but MPI finds only itself: a launcher of "
                    "another MPI (srun --mpi=list shows what there is)", n);
    job.a = arena_open("ranks");
    job.pairs = arena_array(job.a, struct dist_pair, job.size);
    job.verdicts = arena_array(job.a, struct verdict, job.size);
    return dist_name_device("");
}

int dist_name_device(const char *device)
{
    struct rank_about own = { .device = "" };
    if (job.size == 1)
        return 0;
    process_self(&own.who);
    snprintf(own.device, sizeof own.device, "%s", device);
    struct rank_about *all = arena_array(job.a, struct rank_about, job.size);
    send_all(&own, sizeof own, all, WORK);
    all[job.rank] = own;
    dist_finish();
    job.about = all;
    return 0;
}

void dist_tell_names(void)
{
    for (int r = 0; r < job.size && job.size > 1; r++)
        say(SAY_NORMAL, "%s", dist_name(r));
}

/* Each rank's result arrives within the time limit, or the job ends with this rank's message. */
static bool everybody_ends(struct verdict *own)
{
    f64 start = clock_now();
    int missing = 0;
    send_all(own, sizeof *own, job.verdicts, END);
    while (!all_done(&missing)) {
        if (clock_now() - start > (own->fault ? 3 : job.timeout))
            return false;
        look_for_gone();
        dist_nap(1e-3);
    }
    return true;
}

void dist_close(const char *failed)
{
    struct verdict own = { .fault = failed ? (i32)(fail_fault() ? fail_fault() : FAULT_RUN) : 0 };
    if (job.size == 1) {
        if (failed)
            say_error("%s", failed);
        return;
    }
    // a failure that all know of, or an end: the others come here as well
    if (!everybody_ends(&own)) {
        char text[2100];
        snprintf(text, sizeof text, "failed: %s", fail_message());
        end_job(-1, text, own.fault);
    }
    int first = job.size;
    job.verdicts[job.rank] = own;
    for (int r = job.size - 1; r >= 0; r--)
        first = job.verdicts[r].fault ? r : first;
    if (failed && job.rank == first)
        say_error("%s", failed);
    dist_mpi->close();
}

/* ---- together ------------------------------------------------------------------------------------------- */

static int dist_vote(int rc, bool *flag, f64 patience)
{
    struct verdict own = { .fault = rc ? (i32)(fail_fault() ? fail_fault() : FAULT_RUN) : 0, .flag = *flag };
    if (job.size == 1)
        return rc;
    if (rc)
        snprintf(own.message, sizeof own.message, "%s", fail_message());
    send_all(&own, sizeof own, job.verdicts, WORK);
    wait_for_all(patience);
    job.verdicts[job.rank] = own;
    int first = -1;
    for (int r = job.size - 1; r >= 0; r--) {
        *flag |= job.verdicts[r].flag != 0;
        first = job.verdicts[r].fault ? r : first;
    }
    if (first < 0)
        return 0;
    const struct verdict *v = &job.verdicts[first];
    return first ? fail((enum fault)v->fault, "%s: %s", dist_name(first), v->message)
                 : fail((enum fault)v->fault, "%s", v->message);
}

int dist_agree(int rc)
{
    bool none = false;
    return dist_vote(rc, &none, 1e9);
}

int dist_agree_flag(int rc, bool *flag) { return dist_vote(rc, flag, job.timeout); }

int dist_broadcast(void *p, u64 bytes)
{
    if (job.size == 1)
        return 0;
    for (int r = 0; r < job.size; r++)
        job.pairs[r] = job.rank ? (struct dist_pair){ .recv = p, .received = r ? 0 : bytes }
                                : (struct dist_pair){ .send = p, .sent = bytes };
    dist_start(job.pairs);
    wait_for_all(1e9);                            // rank 0 may have had something to do first
    return 0;
}

int dist_sum(f64 *v, i64 n)
{
    if (job.size == 1)
        return 0;
    arena *a = arena_open("sum over ranks");
    f64 *all = arena_array(a, f64, n * job.size);
    send_all(v, sizeof *v * (u64)n, all, WORK);
    memcpy(all + n * job.rank, v, sizeof *v * (size_t)n);
    wait_for_all(1e9);
    for (i64 i = 0; i < n; i++) {
        v[i] = 0;
        for (int r = 0; r < job.size; r++)
            v[i] += all[r * n + i];
    }
    arena_close(a);
    return 0;
}

int dist_gather(const void *own, void *const *into, const u64 *bytes)
{
    if (!job.rank && bytes[0])
        memcpy(into[0], own, bytes[0]);
    if (job.size == 1)
        return 0;
    for (int r = 0; r < job.size; r++)
        job.pairs[r] = job.rank ? (struct dist_pair){ .send = own, .sent = r ? 0 : bytes[job.rank] }
                                : (struct dist_pair){ .recv = into[r], .received = bytes[r] };
    dist_start(job.pairs);
    return dist_finish();
}

int dist_print(FILE *to, const char *text, u64 bytes)
{
    arena *a = arena_open("texts");
    f64 *sizes = arena_array(a, f64, job.size);
    u64 *sent = arena_array(a, u64, job.size);
    void **into = arena_array(a, void *, job.size);
    sizes[job.rank] = (f64)bytes;
    int rc = dist_sum(sizes, job.size);
    for (int r = 0; r < job.size; r++) {
        sent[r] = (u64)sizes[r];
        into[r] = job.rank ? NULL : arena_bytes(a, MAX((size_t)1, (size_t)sent[r]), 1);
    }
    rc = rc || dist_gather(text, into, sent) ? -1 : 0;
    for (int r = 0; r < job.size && !job.rank && !rc; r++)
        fwrite(into[r], 1, (size_t)sent[r], to);
    arena_close(a);
    return rc;
}

int dist_same(u64 hash, enum fault fault, const char *what)
{
    if (job.size == 1)
        return 0;
    arena *a = arena_open("hashes");
    u64 *all = arena_array(a, u64, job.size);
    send_all(&hash, sizeof hash, all, WORK);
    wait_for_all(1e9);
    all[job.rank] = hash;
    int odd = 0;
    for (int r = job.size - 1; r > 0; r--)
        odd = all[r] != all[0] ? r : odd;
    arena_close(a);
    return odd ? fail(fault, "%s: %s is not that of rank 0", dist_name(odd), what) : 0;
}
