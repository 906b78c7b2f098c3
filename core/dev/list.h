/* list.h: a launch list from inside, for launch.c, order.c, profile.c, enqueue.c and blas.c. */
#ifndef JETCL_DEV_LIST_H
#define JETCL_DEV_LIST_H
#include "dev/ocl.h"

typedef int launch_call(const void *what, cl_command_queue queue);

struct entry {
    launch         k;
    u64            text;                     /* generated: hash of what makes its kernel, without the class */
    struct kernel *kernel;
    cl_kernel      cl;                       /* NULL: nothing to do (empty grid, null device), or a call */
    size_t         global[3], local[3];
    launch_call   *call;                     /* a library enqueues it from `what`; no kernel of ours */
    void          *what;
    int           *after, n_after;           /* launches that this one waits for: order.c */
    bool           waited;                   /* some launch waits for this one */
};

struct launches {
    arena        *a;
    dev          *d;
    const char   *name;
    struct entry *e;
    size_t        n, cap;
    size_t        compiled;                  /* entries before this one are ready */
    cl_event     *events;                    /* of each entry, and n + 2 more; NULL: none may overlap */
};

/* ---- launch.c */
const char *launch_where(const struct entry *e);         /* "softmax_rows (blocks.3.attn)", for messages */
/* Appends what `call` enqueues, given a copy of `what`. */
void launch_other(launches *l, const launch *k, launch_call *call, const void *what, size_t bytes);
int  launches_bind(launches *l);             /* programs, kernels and arguments; 0, or -1 + fail */
/* After `after`, giving `event` (0, NULL: in the queue's order). */
int  launch_enqueue(struct entry *e, cl_command_queue queue, cl_uint n, const cl_event *after,
                    cl_event *event);

/* ---- dump_programs.c */
int  dump_launch(const struct entry *e);
u64  launch_local(const struct entry *e);    /* bytes: the kernel's own and what arguments ask for */

/* ---- order.c */
int order_find(launches *l);                 /* fills in after, waited and events; 0, or -1 + fail */
int order_run(launches *l, struct mark *c, int n);   /* launches_run_marks() where there are events */

/* ---- profile.c */
int launches_timeline(launches *l, int from, int to);  /* runs [from, to), each launch a span of the timeline */
int launches_trace(launches *l, int from, int to);     /* runs [from, to); a table in JETCL_TRACE=time */

#endif
