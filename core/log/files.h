/* files.h: the parts of a run folder. Private to this folder. */
#ifndef JETCL_LOG_FILES_H
#define JETCL_LOG_FILES_H
#include "log/log.h"
#include <jansson.h>

/* ---- run_folder.c ---------------------------------------------------------------------------------------- */

/* A run's name as one of files: no separators, nothing a shell or another system would trip over. */
const char *folder_name(arena *a, const char *name);
void        folder_latest(const char *dir, bool move);       /* the link beside it; move: even if it is there */

/* ---- env.c --------------------------------------------------------------------------------------------- */

/* Writes config.yaml and env.json; NULL + fail. Hashes of the checkpoints that the run starts from follow in
 * env.json when they are known; env_close waits for them. The result lies in a. */
struct inputs *env_write(arena *a, const char *dir, const struct spec *s, const struct run_options *o,
                         const struct dev_info *device);
void           env_close(struct inputs *in);                    /* NULL is fine */

/* ---- repair.c ------------------------------------------------------------------------------------------ */

/* Evaluations and seconds of the parts of a run before a resume. */
struct past { struct run_eval *evals; size_t n, cap; f64 seconds; };
/* From metrics.jsonl; of a step logged twice the later line counts. 0, or -1 + fail(FAULT_DATA). */
int  past_read(const char *path, arena *a, struct past *p);
/* Cuts off half a line at the end, which a crash may leave. 0, or -1 + fail. */
int  repair_lines(const char *path);
/* Cuts off from the first line that is of a later step, or of a later evaluation than that of step
 * `evaluated`. */
int  repair_cut(const char *path, i64 step, i64 evaluated);
/* Warns when the run continues with other settings than config.yaml says it had. */
void repair_warn(const char *config, arena *a, const struct spec *s);
/* Removes what the run that was here before wrote, but config.yaml, env.json and metrics.jsonl, which are
 * written anew. */
void repair_clear(const char *dir);

/* ---- speed.c ------------------------------------------------------------------------------------------- */

enum { WINDOW = 32 };                   /* samples kept, at least a quarter second apart */
struct sample { f64 time, data_s; i64 images, steps; };
struct speed {
    int           epochs, eval_every;   /* as the experiment says */
    i64           step_limit;           /* 0: none */
    struct sample window[WINDOW];
    int           ticks, samples;       /* so far; in the window since it was emptied */
    struct sample last;                 /* of the last tick; time 0: none */
    f64           train_seconds;        /* between ticks, for train_images */
    i64           train_images;
    struct report_tick tick;
    struct report_step step;
    f64           eval_seconds;         /* of n_timed evaluations in this process */
    int           n_timed;
};
/* NAN while unknown; data_s: seconds waited for data, per step. */
struct pace { f64 img_s, data_share, data_s, epoch_left, run_left; };
void        speed_tick(struct speed *s, const struct report_tick *t);   /* redraws the line */
void        speed_eval(struct speed *s, f64 seconds);                   /* an evaluation took so long */
struct pace speed_pace(const struct speed *s);
void        speed_say(const struct speed *s);                           /* the line, where none is redrawn */

/* ---- json_out.c ---------------------------------------------------------------------------------------- */

json_t *json_number(f64 v);                                     /* null for what JSON has no number for */
json_t *json_text(const char *s);                               /* bytes that are not UTF-8 become '?' */
int     json_line(FILE *f, json_t *j);                          /* j on a line; takes it over; -1 + fail */
int     json_lines(FILE *f, json_t *j, int digits);            /* indented, numbers with so many digits */
int     json_save(const char *path, json_t *j);                 /* atomically; takes over j */

/* ---- append.c ------------------------------------------------------------------------------------------ */

/* A file that grows. append_put never fails: what cannot be written is said, waits, and is tried again with the
 * next. append_flush: is all of it written? append_sync: and on the disk? 0, or -1 + fail(FAULT_RUN). anew:
 * without what was there. append_open gives NULL + fail. */
typedef struct append append;
append *append_open(arena *a, const char *path, bool anew);
void    append_put(append *f, const void *p, size_t n);
int     append_flush(append *f), append_sync(append *f);
void    append_close(append *f);                                /* NULL is fine */

/* ---- tensorboard.c ------------------------------------------------------------------------------------- */

/* Event files of TensorBoard: scalars only. open gives NULL + fail. */
typedef struct tensorboard tensorboard;
tensorboard *tensorboard_open(arena *a, const char *dir);
void         tensorboard_scalar(tensorboard *t, i64 step, const char *tag, f64 value);
void         tensorboard_close(tensorboard *t);

#endif
