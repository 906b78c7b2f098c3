/* dist.h: the ranks of a job. One rank drives one device; what they say to one another goes through here, and
 * mpi.c is the only file that includes mpi.h. Alone, or built without MPI, there is one rank and every
 * call returns at once.
 *
 *     if (dist_open()) return -1;                          // once, before anything else
 *     rc = dist_agree(open_everything());                  // all ranks, or none
 *     if (dist_broadcast(weights, bytes)) return -1;       // what rank 0 has, everywhere
 *     f64 sum = loss; dist_sum(&sum, 1);                   // the same bits on every rank
 *     dist_close(rc ? fail_message() : NULL);
 *
 * Every function that all ranks must call together says "together". Sums are taken in the order of the ranks,
 * never in that of arrival. A rank that does not answer for dist_timeout() seconds, or whose process is gone,
 * ends the job with a line that names it.
 *
 * `make layers` checks that no file calls one that stands after it here:
 * Order: share mpi dist listing
 */
#ifndef JETCL_DIST_H
#define JETCL_DIST_H
#include "base/base.h"

/* ---- dist.c -------------------------------------------------------------------------------------------- */

/* For a rank, first of all, before there are threads: it may become the child of a process that only waits for
 * it, so that its end is seen before the launcher ends the job. */
void dist_guard(void);
/* Joins the job that mpirun or srun started, if one did. 0, or -1 + fail(FAULT_USAGE) when there are other
 * ranks and no MPI was built in. */
int  dist_open(void);
/* Together, at the end: NULL, or the line that says what failed, which the first rank that failed prints:
 * before any of them ends, as mpirun then stops the others. When only some fail and the rest does not come
 * here, the job is ended with this rank's message and this does not return. */
void dist_close(const char *failed);
int  dist_rank(void), dist_size(void);
int  dist_local(void);                            /* which of the ranks on its host */
void dist_timeout(f64 seconds);
/* Together: tells all ranks what this one computes on. */
int  dist_name_device(const char *device);
const char *dist_name(int rank);                  /* "rank 2 (host, 0:1)" */
void dist_tell_names(void);                       /* a line for each, where there are several */
const char *dist_host(int rank), *dist_device(int rank);

/* Together: 0 when rc is 0 on every rank; else -1 everywhere, with the message and fault of the first that
 * failed. Waits as long as it takes for work that only some ranks do. */
int  dist_agree(int rc);
/* The same with a flag, which is set on all when it is on one; dist_timeout() counts. */
int  dist_agree_flag(int rc, bool *flag);
int  dist_broadcast(void *p, u64 bytes);          /* together: from rank 0 */
int  dist_sum(f64 *v, i64 n);                     /* together: the sum over ranks, on all */
/* Together: rank r's bytes[r] at `own` go to rank 0's into[r]; into counts on rank 0 alone. */
int  dist_gather(const void *own, void *const *into, const u64 *bytes);
int  dist_print(FILE *to, const char *text, u64 bytes);  /* together: rank 0 writes all ranks', in order */
/* Together: is this number the same everywhere? -1 + fail(fault) with the first rank that differs. */
int  dist_same(u64 hash, enum fault fault, const char *what);

/* What goes to rank r and comes from it; this rank's own is not read. */
struct dist_pair { const void *send; u64 sent; void *recv; u64 received; };
int  dist_start(const struct dist_pair *with);    /* together; the memory stays until dist_finish */
int  dist_finish(void);
/* Between start and finish: lets what was started move on, then sleeps, the longer the more time has passed
 * since `start`, of clock_now(), when the caller began to wait for something else. */
void dist_progress(f64 start);
f64  dist_seconds(void);                          /* spent waiting for other ranks so far */

/* ---- listing.c ------------------------------------------------------------------------------------------ */

struct data_options;
/* Together, before any rank opens this data set: rank 0 reads which files it has, and tells the others. 0, or
 * -1 + fail as data_open on rank 0 failed. */
int  dist_share_index(const struct data_options *o);

/* ---- share.c: who has what ------------------------------------------------------------------------------ */

/* Rank r of n takes [*from, *to) of `all` things, as weights (n of them; NULL: equal ones) say. */
void share_of(i64 all, int r, int n, const f64 *weights, i64 *from, i64 *to);
/* Of n ranks that take so long for the same: each one's part of the work, to a thousandth, with which all take
 * as long. */
void share_by_time(const f64 *seconds, int n, f64 *shares);

/* ---- mpi.c ----------------------------------------------------------------------------------------------  */

/* The few things that need MPI, for dist.c. */
struct dist_backend {
    const char *launcher;                         /* its mpirun */
    void (*guard)(void);
    int  (*open)(int *rank, int *size, int *local);
    void (*start)(const struct dist_pair *with, int tag);
    int  (*left)(int *waiting_for);               /* of start's messages; 0: done, else one that is missing */
    void (*close)(void);
    void (*abort)(int code);                      /* does not return */
};
extern const struct dist_backend *const dist_mpi; /* NULL: built without */

#endif
