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
#define TICKETS    256
#define MANY_REGISTERS_INTEL "-cl-intel-256-GRF-per-thread"

struct dev {
    arena           *a;
    struct dev_info  info;
    enum dev_class   class;                  /* info.class unless forced */
    const char      *options;                /* more for the compiler, instead of $JETCL_CL_OPTIONS; or NULL */
    bool             rounded;                /* correctly rounded division and square root can be asked for */
    cl_device_id     id;
    cl_context       context;
    cl_command_queue queue;                  /* NULL: the null device */
    cl_command_queue timed, unordered, marks, beside;   /* made when first needed; commands of the last two wait
                                                         for their events alone */
    mem             *tickets;                /* TICKETS pairs for dev_tickets(), the last one handed out */
    int              ticket;
    u64              used, peak;
    bool             warned_full;
    bool             keep;                   /* binaries go to dev_cache_dir() */
    bool             own_builtins;           /* cl/builtins.h in place of the driver's header (program.c) */
    struct program  *programs;               /* newest first */
    struct generated *generated;             /* kernels of generated text that are built already (launch.c) */
    cl_event         fences[MAX_FENCES];     /* of fence f at f % MAX_FENCES, for reached < f <= last */
    fence            last, reached;
    enum { BLAS_UNKNOWN, BLAS_RIGHT, BLAS_WRONG } blas;
    bool             blas_anywhere;          /* dev_want_blas */
    bool             plain;                  /* dev_force_plain */
    bool             tf32;                   /* its matrix engine passed with it: dev_allow_tf32 */
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

/* A device of the driver's, not open. */
struct found { cl_platform_id platform; cl_device_id id; struct dev_info info; };

/* ---- probe.c */
extern const char driver_starts[];                         /* for crash_inside(), before a device runs */

/* ---- ocl.c */
const char *ocl_name(cl_int code);                          /* "CL_OUT_OF_RESOURCES" */
/* Makes the queue *q, with properties p, if it is not there yet; 0, or -1 + fail. */
int         queue_make(dev *d, cl_command_queue *q, cl_command_queue_properties p);
int         ocl_check(const char *what, cl_int code, const char *call);      /* 0, or fail(FAULT_DEVICE) */
#define OCL(what, call) (crash_inside(#call, what), ocl_check(what, (call), #call))

/* ---- cpu.c */
void host_caches(struct dev_info *i, u64 driver);     /* driver: bytes of the cache that OpenCL reports, or 0 */
u32  host_registers(u32 lanes);              /* vector registers of this machine's cores, used at that width */

/* ---- null.c */
extern const struct dev_info null_info;
dev *null_open(void);

/* ---- buffer.c */
cl_mem mem_bind(range r);                    /* the buffer or sub-buffer to give a kernel; NULL + fail */
void   mem_check(range r);                   /* lies inside its mem */

/* ---- source.c */
/* The whole text of kernel file `file` for d's class: prelude, then the file, each after a #line. *path:
 * "cl/cpu/x.cl". NULL + fail(FAULT_DEVICE) when there is none. */
const char *source_text(arena *a, const dev *d, const char *file, const char **path);
/* The same around generated text, whose lines read "GROUP:LINE" in build logs. */
const char *source_wrap(arena *a, const char *group, const char *text);
const char *source_builtins(arena *a);       /* cl/builtins.h */

bool        source_plain(const dev *d);      /* generic kernels only? */
bool        source_generic(const dev *d, const char *file);      /* for this file: plain, or replaced */
void        source_hash(char hex[20]);       /* of all kernel texts */

/* ---- fake.c */
/* The limits of $JETCL_FAKE and $JETCL_LANES over the device's own; 0, or -1 + fail */
int  fake_apply(struct dev_info *i, enum dev_class *class);

/* ---- dump_programs.c: into the folder $JETCL_DUMP, if it is set; 0, or -1 + fail */
bool dump_on(void);
int  dump_program(const char *label, const char *text, const char *options, const u8 *key);

/* ---- tunables.c */
void tune_load(dev *d);                      /* the tuning file's rows, if there is one for d */

/* ---- program.c: built once per device, text and options, and kept on disk */
struct kernel {                              /* an entry point of a program, looked at when first asked for */
    struct kernel  *next;
    struct program *program;
    const char     *name;
    int             args;
    u8              kinds[MAX_ARGS];         /* enum arg_kind of each; ARG_END where the driver is silent */
    bool            reads[MAX_ARGS];         /* const buffers: never written */
    u64             local_mem;               /* its own __local arrays */
    u64             private_mem;             /* of an item, outside registers: spills and arrays */
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

/* ---- probe.c */
u64 probe_number(cl_device_id id, cl_device_info what);     /* of 4 or 8 bytes; 0: the driver does not know */
void cache_check_driver(void);             /* once, before the first call into OpenCL: see cache.c */
int probe_devices(arena *a, struct found **out);            /* all usable ones; how many, or -1 + fail */

/* ---- matrix.c */
void matrix_confirm(dev *d);                 /* a small product; an engine that fails is not used */

/* ---- choose.c */
struct found *choose_device(arena *a, const char *spec); /* NULL + fail with those there are */
const char   *choose_kernels(const char *spec);          /* what follows a spec's @: cpu, gpu, plain; or NULL */

#endif
