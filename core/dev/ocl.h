/* ocl.h: what the files of core/dev share: the OpenCL handles, and the macro every OpenCL call goes through.
 *
 *     if (OCL(m->what, clEnqueueFillBuffer(...)))  // "activations: clEnqueueFillBuffer: CL_OUT_OF_RESOURCES"
 *         return -1;
 */
#ifndef JETCL_DEV_OCL_H
#define JETCL_DEV_OCL_H
#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>
#include "dev/dev.h"

#define MAX_FENCES 64
#define TURNS      256

struct dev {
    arena           *a;
    struct dev_info  info;
    enum dev_class   class;                  /* info.class unless forced */
    bool             rounded;                /* correctly rounded division and square root can be asked for */
    cl_device_id     id;
    cl_context       context;
    cl_command_queue queue, timed, loose;    /* queue NULL: the null device; timed, and loose, whose commands
                                                wait for their events alone: made when first wanted */
    mem             *turns;                  /* TURNS pairs for dev_turns(), the last one handed out */
    int              turn;
    u64              used, peak;
    bool             warned_full;
    bool             keep;                   /* binaries go to dev_cache_dir() */
    struct program  *programs;               /* newest first */
    struct generated *generated;             /* kernels of generated text that are built already (launch.c) */
    cl_event         fences[MAX_FENCES];     /* of fence f at f % MAX_FENCES, for reached < f <= last */
    fence            last, reached;
    enum { BLAS_UNKNOWN, BLAS_RIGHT, BLAS_WRONG } blas;
    bool             blas_anywhere;          /* dev_want_blas */
    bool             plain;                  /* dev_force_plain */
    struct tuned    *tuned;                  /* rows of the tuning file */
};

/* One allocation and the sub-buffers that launches have bound of it. */
struct mem {
    arena      *a;
    dev        *d;
    cl_mem      cl;
    u64         bytes;
    const char *what;
    struct sub *subs[256];
};

/* ---- ocl.c */
const char *ocl_name(cl_int code);                          /* "CL_OUT_OF_RESOURCES" */
int         ocl_check(const char *what, cl_int code, const char *call);      /* 0, or fail(FAULT_DEVICE) */
#define OCL(what, call) ocl_check(what, (call), #call)

/* ---- null.c */
extern const struct dev_info null_info;
dev *null_open(void);

/* ---- buffer.c */
cl_mem mem_bind(range r);                    /* the buffer or sub-buffer to give a kernel; NULL + fail */

/* ---- source.c */
/* The whole text of kernel file `file` for d's class: prelude, then the file, each behind a #line. *path:
 * "cl/cpu/x.cl". NULL + fail(FAULT_DEVICE) when there is none. */
const char *source_text(arena *a, const dev *d, const char *file, const char **path);
/* The same around generated text, whose lines read "GROUP:LINE" in build logs. */
const char *source_wrap(arena *a, const char *group, const char *text);

bool        source_plain(const dev *d);      /* generic kernels only? */
void        source_hash(char hex[20]);       /* of all kernel texts */

/* ---- tune.c */
void tune_load(dev *d);                      /* the tuning file's rows, if there is one for d */

/* ---- program.c: built once per device, text and options, and kept on disk */
struct kernel {                              /* an entry point of a program, looked at when first asked for */
    struct kernel  *next;
    struct program *program;
    const char     *name;
    int             args;
    u8              kinds[MAX_ARGS];         /* enum arg_kind of each; ARG_END where the driver is silent */
    bool            reads[MAX_ARGS];         /* buffers behind const: never written */
    u64             local_mem;               /* its own __local arrays */
    size_t          max_group, required[3];  /* required: reqd_work_group_size, or zeros */
};
struct program {
    struct program *next;
    const char     *label;                   /* "cl/softmax.cl -DROWS=4" */
    u8              key[32];
    cl_program      cl;
    struct kernel  *kernels;
    arena          *a;                       /* its strings and kernels */
};
/* Options as the compiler sees them: class and capabilities, then defs (may be NULL). */
const char     *program_options(arena *a, const dev *d, const char *defs);
/* NULL + fail when it does not build, or has no such kernel for this device. */
struct program *program_get(dev *d, const char *label, const char *text, const char *options);
struct kernel  *program_kernel(dev *d, struct program *p, const char *name);
void            programs_close(dev *d);

/* ---- launch.c, profile.c */
/* Seconds of launches [from, to) by device events, the queue drained before and after. */
int launches_time_part(launches *l, int from, int to, f64 *seconds);
int launches_trace(launches *l, int from, int to);          /* the same, as a table in JETCL_TRACE=time */

/* ---- blas.c */
void gemm_check(const struct gemm *g);       /* sizes make sense and stay inside their ranges */
int  gemm_run(const struct gemm *g, cl_command_queue queue);
#endif
