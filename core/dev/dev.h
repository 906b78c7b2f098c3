/* dev.h: one OpenCL device: memory, programs and launch lists. Only core/dev includes CL/cl.h.
 *
 *     dev *d = dev_open("auto");                                       // NULL: fail_message() says why
 *     mem *m = mem_new(d, 1 << 20, "demo");
 *     launches *l = launches_new(d, "demo");
 *     launch_add(l, &(launch){ .file = "softmax", .kernel = "softmax_rows", .global = { 64 }, .local = { 1 },
 *                              .args = { ARG_RANGE(x), ARG_RANGE(y), ARG_INT(64), ARG_INT(10) } });
 *     launches_compile(l);  launches_run(l);  dev_finish(d);
 *
 * `make layers` checks that no file calls one that stands after it here:
 * Order: cache cpu probe fake dump_programs ocl null source tunables program buffer launch mark upload order
 * Order: profile enqueue blas fill joins matrix choose open
 */
#ifndef JETCL_DEV_H
#define JETCL_DEV_H
#include "base/base.h"

typedef struct dev dev;
typedef struct mem mem;
typedef struct launches launches;

enum dtype {
#define DTYPE(name, bytes) name,
#include "dev/dtypes.def"
#undef DTYPE
};
static inline const char *dtype_name(enum dtype t)
{
    static const char *const names[] = {
#define DTYPE(name, bytes) #name,
#include "dev/dtypes.def"
#undef DTYPE
    };
    return names[t];
}
static inline bool dtype_half(enum dtype t) { return t == F16 || t == BF16; }
static inline u64 dtype_bytes(enum dtype t)       /* of one element */
{
    static const u8 bytes[] = {
#define DTYPE(name, bytes) bytes,
#include "dev/dtypes.def"
#undef DTYPE
    };
    return bytes[t];
}

/* ---- probe.c, choose.c, open.c ------------------------------------------------------------------------- */

/* A class decides which kernels a device runs: files in cl/cpu and cl/gpu override those in cl/. */
enum dev_class { DEV_CPU, DEV_GPU, DEV_NULL };

/* Matrix engines: matrices.def. */
enum matrix {
    MATRIX_none,
#define MATRIX(name, title, lanes, rows, columns, words, floats) MATRIX_##name,
#include "dev/matrices.def"
#undef MATRIX
};

static inline const char *dev_matrix_name(enum matrix m)
{
    static const char *const names[] = {
        "none",
#define MATRIX(name, title, lanes, rows, columns, words, floats) #name,
#include "dev/matrices.def"
#undef MATRIX
    };
    return names[m];
}

struct dev_info {
    char name[128], vendor[128], driver[128], version[128], platform[128];
    char spec[64];                       /* "platform:device", as clinfo -l counts */
    char replaced[160];                  /* dev_replace(): " attention conv ", or "" */
    char uuid[40], pci[16];              /* "" when the device does not say */
    enum dev_class class;
    bool cpu_kind, gpu_kind, accelerator_kind;
    u64  global_mem, max_alloc, local_mem;
    u32  compute_units, max_group, align;         /* align: bytes a sub-buffer must start at */
    u32  simd;                        /* lanes: preferred work-group multiple; 16 on wide CPUs */
    u32  registers;                   /* CPUs: vector registers of a core */
    u64  cache[3];                    /* CPUs: bytes of a core's first cache (for data), its second, the last */
    char cache_from[48];              /* who said so: cpu.c */
    bool fp16, fp64, subgroups, little_endian;
    bool fma;                   /* a fused multiply-add is an instruction */
    bool joins;                 /* may a group read what others wrote before they counted up an integer? */
    u32  emulated;              /* JETCL_FAKE on a CPU: lanes of the sub-groups that cl/team.h emulates, or 0 */
    enum matrix matrix;         /* of an open device: confirmed, and in use */
    const char *floats;         /* of an open device: what its engine makes of F32, "F32" or "TF32"; or NULL */
    char many_registers[32];    /* build option for kernels that need them, or "" */
    char tuning[20];            /* of an open device: hash of the tuning file in use, or "" */
};

/* The processors this process may run on. Cores of two speeds: the slow ones
 * reach less than 0.9 of the fast. */
struct dev_host { int cpus, cores, nodes; bool two_speeds; };
void dev_host(struct dev_host *h);

/* All devices of all platforms that have any. Returns how many; 0 when there is no OpenCL at all. */
int dev_list(arena *a, struct dev_info **out);

/* The device a spec means, without opening it. 0, or -1 + fail(FAULT_DEVICE) as dev_open. */
int dev_find(const char *spec, struct dev_info *out);

/* spec: auto gpu cpu accelerator P:D part-of-a-name uuid:... pci:... null; NULL: $JETCL_DEVICE or auto. With
 * @cpu or @gpu after it: the kernels of that class, whatever the device is; with @plain: the generic ones.
 * NULL + fail(FAULT_DEVICE) with the devices that exist. Says in one line which device `auto` took. */
dev                   *dev_open(const char *spec);
/* The same when results are needed: `null`, which computes nothing, is refused with fail(FAULT_USAGE). */
dev                   *dev_open_real(const char *spec);
/* dev_open_real for one of several processes, `rank` (from 0) of those on this machine: of a list "a,b", of
 * `gpu:*`, `gpu` and `auto` (all GPUs, where there are any), and of `cpu:*` it takes the rank-th, and begins
 * again after the last. rank < 0: dev_open_real. */
dev                   *dev_open_rank(const char *spec, int rank);
/* How many devices a setting names in this way, and the rank-th of them as P:D or what it is called. */
int                    dev_of_rank(arena *a, const char *spec, int rank, const char **out);
void                   dev_close(dev *d);
const struct dev_info *dev_info(const dev *d);
enum dev_class         dev_class(const dev *d);     /* under JETCL_TRACE=no_class: still its own class */
/* For tests, before anything is built: kernels and tunables of another class (JETCL_CLASS=cpu|gpu does the
 * same; here a CPU compiles a GPU's without optimisation, as unrolling their tiles takes PoCL minutes), a
 * smaller largest allocation than the device's own, CLBlast although it is not a GPU. */
void                   dev_force_class(dev *d, enum dev_class class);
void                   dev_limit_alloc(dev *d, u64 bytes);
void                   dev_want_blas(dev *d);
/* The generic kernels in place of its class's, as JETCL_TRACE=no_class, for this handle alone: what others
 * are checked against. */
void                   dev_force_plain(dev *d);
/* From now on d takes the generic kernels of these files ("attention conv") in place of its class's. */
void                   dev_replace(dev *d, const char *files);
/* $JETCL_CACHE_DIR, else $XDG_CACHE_HOME/jetcl, else ~/.cache/jetcl; or what was set. */
const char            *dev_cache_dir(void);
void                   dev_set_cache_dir(const char *path);
/* Does its driver compile on one core alone, and find what another process has built? */
bool                   dev_builds_alone(const dev *d);
/* "; if it is a damaged cache, remove ...": where this device's driver keeps compiled kernels, and we do. */
const char            *dev_cache_hint(arena *a, const struct dev_info *i);

/* Waits for everything enqueued. The place where OpenCL's errors come out: 0, or -1 + fail(FAULT_DEVICE). */
int  dev_finish(dev *d);
void dev_flush(dev *d);

/* A point in the queue; waiting for it does not wait for what came later. fence 0 is already reached. */
typedef u64 fence;
fence dev_fence(dev *d);
int   dev_wait(dev *d, fence f);

/* ---- buffer.c, fill.c ---------------------------------------------------------------------------------- */

/* One allocation, at most max_alloc bytes. NULL + fail(FAULT_DEVICE) naming `what`, the size and the limit.
 * Contents are undefined (the null device keeps none). */
mem *mem_new(dev *d, u64 bytes, const char *what);
void mem_free(mem *m);
u64  mem_bytes(const mem *m);
/* A hint, before anything is written: a CPU's buffer is memory of this process, and large pages are faster
 * where kernels walk down columns and touch another small page at every step. The contents are lost. */
void mem_large_pages(mem *m);

/* Part of a mem. off must be a multiple of dev_info()->align. */
typedef struct { mem *mem; u64 off, bytes; } range;
#define RANGE_NONE ((range){ 0 })

/* A growing list of mems that hands out aligned ranges; for parameters, optimiser state, inputs. */
typedef struct pool pool;
pool *pool_new(dev *d, const char *what);
void  pool_free(pool *p);
/* A new range of `bytes` rounded up to the alignment. Ranges follow one another inside a mem in the
 * order of the calls. pool_reserve first announces the total (of sizes rounded up), so that one mem (or as
 * few as max_alloc allows) serves all. mem == NULL in the result: fail() says why. */
int   pool_reserve(pool *p, u64 bytes);
range pool_take(pool *p, u64 bytes);
u64   pool_total(const pool *p);

int mem_write(dev *d, range r, const void *src);        /* blocking: src may go when it returns */
int mem_read(dev *d, range r, void *dst);               /* blocking; waits for the queue */
int mem_write_later(dev *d, range r, const void *src);  /* src must stay until a later fence is reached */
int mem_read_later(dev *d, range r, void *dst);         /* dst is filled when a later fence is reached */
int mem_fill(dev *d, range r, u32 pattern);             /* enqueued */
#define START_BLOCK 16384                               /* values that a group of cl/start.cl takes */
int mem_copy(dev *d, range dst, range src);             /* enqueued */
/* Two I32, zero between launches, from which the groups of a kernel draw tickets for pieces of work
 * (cl/ticket.h). Others at each call, so that launches may overlap (the same after 256 calls: those do not
 * overlap). */
range dev_tickets(dev *d);
/* COUNTERS I32, zero between launches, for kernels whose groups join what they computed: of a device that
 * runs one launch after the other. */
range dev_counters(dev *d);
/* Does a group see what others wrote before they counted up an integer? Asks the device, in some milliseconds;
 * dev_open does, for what is not a CPU. defs: NULL, or for tests -DBROKEN, for which the answer must be no. */
bool  dev_joins_hold(dev *d, const char *defs);
#define DEV_COUNTERS 16384
u64 dev_mem_used(const dev *d);                         /* bytes in live mems, and the most there ever were */
u64 dev_mem_peak(const dev *d);

/* ---- launch.c, enqueue.c, profile.c -------------------------------------------------------------------- */

enum arg_kind { ARG_END, ARG_KIND_RANGE, ARG_KIND_INT, ARG_KIND_LONG, ARG_KIND_REAL, ARG_KIND_LOCAL,
                ARG_KIND_LONG4 };
typedef struct {
     enum arg_kind kind;
     enum dtype type;
     union { range r; i32 i; i64 l, l4[4]; f32 f; u64 bytes; };
 } arg;
#define ARG_RANGE(x) { .kind = ARG_KIND_RANGE, .r = (x) }
#define ARG_TYPED(x, t) { .kind = ARG_KIND_RANGE, .type = (t), .r = (x) }   /* see launch.types */
#define ARG_INT(x)   { .kind = ARG_KIND_INT,   .i = (i32)(x) }
#define ARG_LONG(x)  { .kind = ARG_KIND_LONG,  .l = (i64)(x) }
#define ARG_REAL(x)  { .kind = ARG_KIND_REAL,  .f = (f32)(x) }
#define ARG_LOCAL(n) { .kind = ARG_KIND_LOCAL, .bytes = (n) }         /* n bytes of __local memory */
#define ARG_LONG4(x, y, z, w) { .kind = ARG_KIND_LONG4, .l4 = { (x), (y), (z), (w) } }   /* strides, sizes */
#define MAX_ARGS 24

typedef struct {
    const char *file;          /* "softmax" -> cl/<class>/softmax.cl, else cl/softmax.cl */
    const char *kernel;
    const char *defs;         /* "-DROWS=4 -DWG=1" or NULL; one program per (file, defs) */
    const char *types;        /* "xw-y": letters of the first arguments; where one's type is not F32 the program
                                  is built with -DTx=F16 (cl/type.h). '-': none; NULL: all are F32 */
    const char *source;        /* generated text instead of a file: then `file` names its group, and a list's
                                  launches of one group and defs become one program, equal texts once */
    u64         global[3], local[3];     /* items, not groups; 0 is 1, but global[0] = 0 skips the launch */
    arg         args[MAX_ARGS];          /* up to the first ARG_END */
    const char *label;         /* node it belongs to, for messages, traces and timing */
    f64         flops, bytes;  /* what it must do and move, for bench and JETCL_TRACE=time */
} launch;

launches *launches_new(dev *d, const char *name);
void      launches_free(launches *l);
void      launch_add(launches *l, const launch *k);     /* copies k and the strings it points to */
dev      *launches_dev(const launches *l);
const char *launches_name(const launches *l);
int       launches_count(const launches *l);
/* The most memory that an item of a compiled list's kernels has outside registers, in bytes: what a compiler
 * has spilled. 0 where drivers do not say. */
u64       launches_private(const launches *l);
const launch *launches_at(const launches *l, int i);
/* Builds what is missing (binary cache first), creates kernels, binds arguments. 0 or -1 + fail(FAULT_DEVICE)
 * with the kernel and the build log, whose lines read cl/FILE.cl:LINE. */
int       launches_compile(launches *l);
/* Enqueues everything without waiting: launches that touch the same memory in the order they were added,
 * others may overlap on CPUs (order.c). No allocation, no clSetKernelArg. */
int       launches_run(launches *l);
int       launches_run_part(launches *l, int from, int to);     /* launches [from, to), in order */
/* The same, giving events at marks (ascending) after which the launches before `at` are done: mark.c. */
struct mark { int at; void *event; };
int       launches_run_marks(launches *l, struct mark *c, int n);
/* Runs once with profiling and waits: seconds[i] of each launch from device events. */
int       launches_time(launches *l, f64 *seconds);

/* ---- mark.c: copies while a list runs ------------------------------------------------------------------- */

/* Those of the marks that have no event get one that comes when all is done that was enqueued so far. */
int  marks_end(dev *d, struct mark *c, int n);
void marks_forget(struct mark *c, int n);
/* Reads r once the mark is reached, whatever is enqueued after it; dst is filled when `end` of a
 * later mem_reads_end is reached. */
int  mem_read_at(dev *d, const struct mark *c, range r, void *dst);
int  mem_reads_end(dev *d, struct mark *end);
/* The memory of a device that is a CPU is the host's: r itself, without a copy, as from `end` of a later
 * mem_reads_end on, to be read, or written as well; c NULL: now, after all that is enqueued. Launches must not
 * touch r until mem_return(). */
bool dev_lends(const dev *d);
int  mem_lend(dev *d, const struct mark *c, range r, bool write, void **p);
int  mem_return(dev *d, range r, void *p);
int  mark_reached(dev *d, const struct mark *c, bool *yes);    /* does not wait; -1 + fail when a copy failed */
/* Blocking, beside the launches that run, which must not touch r. */
int  mem_write_beside(dev *d, range r, const void *src);

/* ---- upload.c: batches that go up while launches run ---------------------------------------------------- */

/* Host memory that the device can fetch from, for one set of ranges. A set is written again and again:
 *
 *     upload_begin(u);  upload_add(u, r, pixels); ...  upload_end(u);     // launches from here on find it
 *     launches_run(l);  upload_read(u);                                   // from here on it is written over
 *
 * With two sets in turns one goes up while the other is read. Every call: 0, or -1 + fail. */
typedef struct upload upload;
bool    dev_uploads_beside(const dev *d);    /* is it faster than mem_write_later? Where memory is another's */
upload *upload_new(dev *d, u64 bytes);       /* for so many bytes a time; NULL + fail */
void    upload_free(upload *u);
int     upload_begin(upload *u);
int     upload_add(upload *u, range r, const void *src);        /* src may go when it returns */
int     upload_end(upload *u);
int     upload_read(upload *u);

/* ---- tunables.c ---------------------------------------------------------------------------------------- */

/* Value of a tunable for this device class: the row TUNE(kernel, class, macro, value) of cl/tune.def, the row
 * of class `any` otherwise. Missing row: check() fails. Emitters use it for both -D and the grid. */
i32 dev_tune(const dev *d, const char *kernel, const char *macro);
/* Items of a group of a kernel that takes rows: TEAM for each of TEAMS rows. Fewer than cl/tune.def's rows
 * say where the device runs smaller groups only. WG likewise. */
struct dev_team { i32 team, teams; };
struct dev_team dev_team(const dev *d, const char *kernel);
i32 dev_group(const dev *d, const char *kernel);
/* The same for one shape of a kernel ("nt.8192x576x192"): the tuning file's row, where it has one,
 * comes first. */
i32 dev_tune_for(const dev *d, const char *kernel, const char *shape, const char *macro);
/* Rows of the device's tuning file, dev_cache_dir()/tuning/KEY.txt, which dev_open reads; one that is
 * damaged, or made for another device, driver or other kernels, is ignored with a warning. Changes count for
 * what is emitted later. */
void dev_tune_set(dev *d, const char *kernel, const char *shape, const char *macro, i32 value);
void dev_tune_drop(dev *d, const char *kernel, const char *shape);     /* all of a shape's rows */
int  dev_tune_save(dev *d);                       /* writes the file; 0 or -1 + fail */
const char *dev_tune_path(const dev *d, char path[4200]);
/* Is there cl/<class>/<file>.cl for this device (and not switched off by no_class)? */
bool dev_has_override(const dev *d, const char *file);
/* Does this device's kernel file of that name serve half types (includes cl/type.h)? NULL: a CPU's. */
bool dev_has_types(const dev *d, const char *file);

/* ---- matrix.c ------------------------------------------------------------------------------------------ */

/* The matrix engine that products of half types use, and those of F32 if dev_info's `floats` says so; or NULL:
 * there is no device or none on it, it failed its check when the device was opened, or it was switched off. A
 * block of C is rows x columns, held by `lanes` items, for which an item gives `words` words of A and B. */
struct dev_matrix { const char *name, *title; int lanes, rows, columns, words; const char *floats; };
const struct dev_matrix *dev_matrix(const dev *d);
const char *dev_matrix_floats(enum matrix m);     /* what an engine is made to take F32 as: matrices.def */
/* Macros for files that include cl/mma.h; element: the type that it multiplies, NULL: the operands'. */
void        dev_matrix_defs(const dev *d, const char *element, char out[64]);
/* Before anything is built: no engine; or F32 as TF32, if it has that and it passed: else false. */
void        dev_no_matrix(dev *d);
bool        dev_allow_tf32(dev *d);
/* Are products of F32 computed in TF32? */
bool        dev_tf32(const dev *d);

/* ---- blas.c -------------------------------------------------------------------------------------------- */

/* C = alpha A B + beta C through CLBlast as one entry of the list, row-major, batched by strides in elements.
 * dev_blas(): may CLBlast be used here (GPU class, not switched off, passed its self-check). */
struct gemm { bool ta, tb; i64 m, n, k, lda, ldb, ldc, batch, sa, sb, sc; range a, b, c; f32 alpha, beta; };
bool dev_blas(dev *d);
void launch_gemm(launches *l, const struct gemm *g, const char *label);

#endif
