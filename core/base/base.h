/* base.h: the names every file has: integers, small macros, failing, arenas, text, random numbers.
 *
 *     arena *a = arena_open("run");
 *     int *ids = arena_array(a, int, n);               // zeroed; freed with the arena
 *     if (!(f = fopen(path, "rb"))) return fail(FAULT_DATA, "%s: %s", path, strerror(errno));
 *     check(i < n, "index %d of %d", i, n);            // ours: stops the program
 *
 * `make layers` checks that no file calls one that stands after it here:
 * Order: fail pages process text arena rng file hash crash memory say timeline stop trace environment
 */
#ifndef JETCL_BASE_H
#define JETCL_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef uint8_t  u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int32_t  i32;
typedef int64_t  i64;
typedef float    f32;
typedef double   f64;

#define countof(a)    ((int)(sizeof(a) / sizeof *(a)))
#define MIN(a, b)     ((a) < (b) ? (a) : (b))
#define MAX(a, b)     ((a) > (b) ? (a) : (b))
#define CEIL_DIV(a, b) (((a) + (b) - 1) / (b))
#define ROUND_UP(a, b) (CEIL_DIV(a, b) * (b))
#define PRINTF(f, a)  __attribute__((format(printf, f, a)))

#define JETCL_VERSION "0.1.0"

/* ---- fail.c: what went wrong, in one line -------------------------------------------------------------- */

/* By whose fault; the number is the program's exit code (README, "Exit codes"). */
enum fault {
    FAULT_NONE = 0, FAULT_RUN = 1, FAULT_USAGE = 2, FAULT_DATA = 3, FAULT_DEVICE = 4, FAULT_NUMBERS = 5,
    FAULT_STOPPED = 75
};

/* Records the message for this thread and returns -1. A later fail() replaces an earlier one. */
int         fail(enum fault fault, const char *fmt, ...) PRINTF(2, 3);
/* Puts "context: " before the recorded message; the fault stays. Returns -1. */
int         fail_in(const char *fmt, ...) PRINTF(1, 2);
const char *fail_message(void);                 /* "" when nothing failed */
enum fault  fail_fault(void);
void        fail_clear(void);

/* Broken invariants of our own: prints the values and aborts. Always on. */
_Noreturn void check_failed(const char *file, int line, const char *cond, const char *fmt, ...) PRINTF(4, 5);
#define check(cond, ...) do { if (!(cond)) check_failed(__FILE__, __LINE__, #cond, __VA_ARGS__); } while (0)

/* ---- arena.c: the only malloc in the program ----------------------------------------------------------- */

typedef struct arena arena;
typedef struct { void *chunk; size_t used; } arena_mark;

arena     *arena_open(const char *name);                        /* name: for messages; not copied */
void       arena_close(arena *a);                               /* frees everything in it; NULL is fine */
void      *arena_bytes(arena *a, size_t bytes, size_t align);   /* zeroed; out of memory ends the program */
arena_mark arena_save(arena *a);
void       arena_restore(arena *a, arena_mark m);               /* drops what came after the mark */
size_t     arena_used(const arena *a);
char      *arena_printf(arena *a, const char *fmt, ...) PRINTF(2, 3);
char      *arena_vprintf(arena *a, const char *fmt, va_list ap);
char      *arena_copy(arena *a, const void *src, size_t bytes); /* copy with a NUL after it */
/* A longer array holding the old one's n items: for lists that double. The old one stays until
 * the arena goes. */
void      *arena_grow(arena *a, void *old, size_t n, size_t *cap, size_t item);
/* Tests: the n-th allocation from now returns NULL from arena_try; n < 0 switches off. */
void       arena_fail_after(i64 n);
void      *arena_try(arena *a, size_t bytes, size_t align);     /* arena_bytes, but NULL + fail() when full */

#define arena_one(a, type)      ((type *)arena_bytes(a, sizeof(type), _Alignof(type)))
#define arena_array(a, type, n) ((type *)arena_bytes(a, sizeof(type) * (size_t)(n), _Alignof(type)))
#define arena_push(a, list, n, cap) \
    ((list) = (n) < (cap) ? (list) : arena_grow(a, list, n, &(cap), sizeof *(list)), &(list)[(n)++])

/* ---- memory.c: how much this process may have ----------------------------------------------------------- */

/* Bytes. limit: of `ulimit -v` and of the control groups that it is in; UINT64_MAX: none. unused: what
 * can still be had of machine and limit. by: " (ulimit -v)" or " (its control group)" when that is less
 * than the machine has, else "". */
struct memory { u64 machine, limit, unused; const char *by; };
struct memory memory_look(void);

/* ---- pages.c: hints about memory's pages ---------------------------------------------------------------- */

void pages_fetch(void *p, size_t bytes);    /* all at once: a third of the cost of a page fault for each less */
void pages_large(void *p, size_t bytes);    /* large ones, before the first byte is written */

/* ---- stop.c: being asked to end ------------------------------------------------------------------------ */

/* Blocks the signals "INT", "TERM", "HUP", "USR1" and "USR2" and starts the thread that waits for
 * them: before any library has started a thread. They end the program as usual until stop_catch names
 * those that set a flag instead. */
void stop_begin(void);
void stop_catch(const char *const *names, int n);
/* From now on a loop reads the flag at least once per step, and ends by itself; where none does, the program
 * ends two seconds after the signal. A second SIGINT always ends it at once. */
void stop_watched(bool on);
bool stop_requested(void);
/* For a program that starts processes to do its work. A child, between fork and exec: signals as they were
 * before stop_begin. The parent: what asks it to end is told to `tell` from now on, on another thread: with
 * `again` false the first signal, true a SIGINT or SIGTERM after it. */
void stop_child(void);
void stop_pass_on(void (*tell)(bool again));
/* Something was saved from which the same command continues. */
void stop_kept(void);
/* What a command ends with that was stopped: FAULT_STOPPED after stop_kept(), else 128 + the signal. */
enum fault stop_fault(void);

/* ---- process.c: which process is meant, across machines and containers --------------------------------- */

/* start: ticks since the machine's; boot: which start of the machine; space:
 * its namespace of process numbers. */
struct process { char host[65], boot[64], space[64]; long pid; unsigned long long start; };
void process_self(struct process *me);
/* main() says that /proc/self/exe is this program: only then are there helpers. */
void process_is_program(void);
/* Starts this program once more, silent, with these words after its name, up to NULL: work done ahead, that may
 * fail or be ended at any moment. Its process, for process_end; 0: not started. */
int  process_help(const char *const words[]);
void process_end(int helper);
/* Called by a helper: it ends when the process that started it does. */
void process_follow(void);
/* Of another machine, or container, /proc here does not tell. A process that ended, but whose
 * parent has not asked yet, is gone. */
enum process_state { PROCESS_LIVES, PROCESS_GONE, PROCESS_ELSEWHERE };
enum process_state process_look(const struct process *p);

/* ---- crash.c: faults inside a driver, and mapped files that are cut short ------------------------------- */

/* From now on they end the program with one line and FAULT_DEVICE or FAULT_DATA. Again after a driver's
 * compiler has run. The calling thread, and those that call crash_own_thread, are ours. */
void crash_catch(void);
void crash_own_thread(void);
/* The calling thread is about to call the driver for this, or (NULL, NULL) it has returned. */
void crash_inside(const char *call, const char *what);
void crash_kernel(const char *label);        /* this one is given to the driver, which may run it at any time */
void crash_hint(const char *text);           /* is added to the line: ": remove the cache ..." */

/* ---- trace.c ------------------------------------------------------------------------------------------- */

enum trace_channel {
#define TRACE(name, help) TRACE_##name,
#include "base/trace.def"
#undef TRACE
    TRACE_COUNT
};
bool  trace_on(enum trace_channel c);            /* JETCL_TRACE=graph,plan,...  read once */
void  trace(enum trace_channel c, const char *fmt, ...) PRINTF(2, 3);   /* one line; silent unless asked */
FILE *trace_file(void);
void  trace_set(const char *list);               /* for tests: as if JETCL_TRACE were list */

/* ---- environment.c ------------------------------------------------------------------------------------- */

struct variable { const char *name, *help; };
extern const struct variable variables[];         /* JETCL_*, with their help; ends in an empty row */
/* Warns of each other JETCL_*, with the nearest name, and removes it, so that processes that are started from
 * here do not warn again. Before the first thread. */
void environment_check(void);

/* ---- say.c: everything a person reads on stderr: messages, warnings, the progress line ----------------- */

enum say_level { SAY_QUIET = -1, SAY_NORMAL = 0, SAY_VERBOSE = 1, SAY_DEBUG = 2 };
struct say_options { int level; int color; /* -1 auto, 0, 1 */ bool no_progress; };
void say_setup(struct say_options o);
/* Also append every message (not progress) to a file: the one the user asked for, and the run's own; quiet
 * or not. NULL stops. */
enum say_sink { SAY_LOG_FILE, SAY_RUN_LOG };
int  say_log(enum say_sink sink, const char *path);
void say(enum say_level level, const char *fmt, ...) PRINTF(2, 3);      /* shown when level <= the chosen */
void warn(const char *fmt, ...) PRINTF(1, 2);     /* "warning: ..." unless quiet; thread-safe like say() */
void say_error(const char *fmt, ...) PRINTF(1, 2);      /* shown always: main's last line */
bool say_live(void);                              /* is there a terminal to redraw a line on? */
/* Redraws the progress line, at most ten times a second; nothing without a terminal. Cleared before
 * any message. */
void progress(const char *fmt, ...) PRINTF(1, 2);
void progress_done(void);
void progress_label(const char *label);           /* stands before every progress line: "[2/8] "; or "" */
/* Prose from column `indent` on: broken at blanks so that it ends within 80 columns; ends the line too. */
void print_wrapped(FILE *f, int indent, const char *text);
int  say_width(void);                             /* columns left for a line on the terminal; 80 if unknown */
const char *say_bar(char *out, int width, double fraction);             /* "[====>    ]" into out[width+1] */
/* Colour codes, or "" when colour is off for that stream (1 stdout, 2 stderr). */
const char *say_bold(int fd), *say_red(int fd), *say_green(int fd), *say_dim(int fd), *say_plain(int fd);

/* ---- text.c -------------------------------------------------------------------------------------------- */

typedef struct { const char *p; size_t n; } slice;
#define SLICE(lit) ((slice){ lit, sizeof(lit) - 1 })
slice slice_of(const char *s);
bool  slice_eq(slice a, const char *s);
bool  text_starts(const char *s, const char *prefix);
bool  text_ends(const char *s, const char *suffix);
bool  text_real(slice s, f64 *out);               /* whole slice is one finite decimal number ("4e-3") */
bool  text_int(slice s, i64 *out);                /* whole slice is one decimal integer within i64 */
/* The candidate nearest to s by edit distance, or NULL when none is near enough to be meant. */
const char *text_nearest(const char *s, const char *const *names, int n);
/* " (did you mean 'NAME'?)" for the end of a message; "" when no name is near. */
const char *text_hint(char out[96], const char *s, const char *const *names, int n);
/* s in quotes, those inside doubled (RFC 4180): a parser gets s back, byte by byte. */
void        csv_text(FILE *f, const char *s);
const char *text_bytes(char out[24], f64 bytes);  /* "1.7 GB" */
const char *text_time(char out[24], f64 seconds); /* "0:41", "2:03:11", "2d 03:11" */
bool  text_duration(const char *s, f64 *seconds); /* "48h", "1d12h", "1.5h30m", "20s" */
const char *text_count(char out[24], f64 n);      /* "265.4M" */

/* ---- hash.c --------------------------------------------------------------------------------------------- */

/* FNV-1a (Fowler, Noll and Vo) of 64 bits: to tell texts apart, not as protection against forgery. Starts at
 * HASH_START; further texts are added to what an earlier call gave. */
#define HASH_START 0xcbf29ce484222325u
u64         hash_bytes(u64 h, const void *bytes, size_t n);
u64         hash_text(u64 h, const char *s);      /* without its NUL */
/* From names to what they stand for; a zeroed one is empty. Names are not copied. names_get: NULL when there is
 * none; names_put: the first one put stays. */
struct name_table { struct name_row { const char *name; void *value; } *rows; size_t n, cap; };
void       *names_get(const struct name_table *t, const char *name);
void        names_put(arena *a, struct name_table *t, const char *name, void *value);
const char *hash_hex(char *out, const void *bytes, size_t n);          /* two digits a byte, into out[2n + 1] */

/* ---- file.c: whole files, safely ----------------------------------------------------------------------- */

/* A read-only map of a file (empty files have p = NULL). 0 or -1 + fail(FAULT_DATA), FAULT_RUN for want of
 * memory or descriptors. */
struct file_map { const u8 *p; u64 n; };
int  file_map(const char *path, struct file_map *m);
void file_unmap(struct file_map *m);
void file_expect(const struct file_map *m, const void *p, u64 n);       /* read soon: fetch them ahead */
void file_forget(const struct file_map *m, const void *p, u64 n);       /* drops pages; read again if used */
char *file_text(arena *a, const char *path, size_t *n);      /* whole file, NUL-terminated; NULL + fail */
bool file_exists(const char *path);
bool file_is_folder(const char *path);
int  file_mkdirs(const char *path);                          /* mkdir -p */
/* Could a file be written there, as far as its folder tells? Writes nothing. 0, or -1 + fail(FAULT_RUN). */
int  file_can_save(const char *path);
int  file_can_fill(const char *dir);                       /* the same of files in dir, which may be missing */
/* The same of what a person names: a file that is there is replaced only if its name ends in `suffix`, else it
 * is a mistake, such as an input's name: -1 + fail(FAULT_USAGE). */
int  file_can_replace(const char *path, const char *suffix);
bool file_same(const char *a, const char *b);                /* two names of one file that exists */
bool file_inside(const char *path, const char *folder);      /* or the folder itself; path need not exist */
/* Atomic replacement: write to a temporary name beside path, then fsync and rename; a crash leaves
 * the old file. */
struct file_out { FILE *f; const char *path; char tmp[4096]; };
int  file_begin(struct file_out *o, const char *path);
int  file_commit(struct file_out *o);                        /* 0, or -1 + fail and the old file as it was */
void file_abort(struct file_out *o);
int  file_save(const char *path, const void *bytes, size_t n);          /* the three above in one */
/* Another name, `to`, for the file `from` as it is now; a copy where the file system has no hard links. What
 * was at `to` is replaced as a whole. 0, or -1 + fail(FAULT_RUN). */
int  file_link(const char *from, const char *to);
/* The file that is at path now goes when the program is ended by a signal; `yes` false: no longer. path is
 * copied; file_begin does it for its own. */
void file_unfinished(const char *path, bool yes);
void file_drop_unfinished(void);
const char *file_mapped_at(const void *p);                  /* whose map holds p: for crash.c; NULL: no map's */
/* ---- timeline.c: spans of time of any thread, as a trace for ui.perfetto.dev and chrome://tracing ------ */

/* From now on. *zero: the time of day, in seconds, that the trace begins with; 0: now, and it is returned. */
void timeline_begin(f64 *zero);
bool timeline_on(void);
/* start, end: of clock_now(). Spans of one track must nest or follow one another. Nothing where it is not
 * on, nor for what began before. */
void timeline_span(const char *track, const char *name, const char *detail, f64 start, f64 end);
/* Writes the events as a list of JSON objects, without brackets around, and stops.
 * process: a number and its name. */
void timeline_end(FILE *f, int process, const char *name);

f64  clock_now(void);                                        /* monotonic seconds */

/* ---- rng.c: counter-based random numbers (Salmon et al. 2011, Philox4x32-10), bit-equal to cl/random.h - */

/* Streams keep draws for different purposes apart; the number is part of results, so never renumber. */
enum rng_stream {
    RNG_INIT = 1, RNG_SHUFFLE = 2, RNG_AUGMENT = 3, RNG_MIX = 4, RNG_RECYCLE = 5, RNG_RENDER = 6,
    RNG_TEST = 7, RNG_NODE = 16 /* + the node's own number: dropout, noise */
};
typedef struct { u32 key[2], ctr[4], out[4]; int left; } rng;

void rng_philox(const u32 key[2], const u32 ctr[4], u32 out[4]);
/* The generator of (seed, stream) at position (a, b), e.g. (epoch, sample). Equal arguments, equal
 * numbers, anywhere. */
rng  rng_at(u64 seed, u32 stream, u64 a, u32 b);
u32  rng_u32(rng *r);
f64  rng_unit(rng *r);                            /* [0, 1), 32 bits */
f64  rng_normal(rng *r);                          /* N(0, 1) */
u32  rng_below(rng *r, u32 n);                    /* uniform in [0, n), unbiased */
void rng_shuffle(rng *r, i32 *v, int n);
/* What the device draws for element i of (seed, stream) at step: bits, uniform [0,1) of 24 bits, normal. */
u32  rng_element(u64 seed, u32 stream, u32 step, u64 i);
f32  rng_element_unit(u64 seed, u32 stream, u32 step, u64 i);
f32  rng_element_normal(u64 seed, u32 stream, u32 step, u64 i);
f32  rng_unit_to_normal(f32 u);                   /* inverse normal CDF, the polynomial the device uses */

#endif
