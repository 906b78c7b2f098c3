/* files.h: the parts of a run folder. Private to this folder. */
#ifndef JETCL_LOG_FILES_H
#define JETCL_LOG_FILES_H
#include "log/log.h"
#include <jansson.h>

/* The folder o asks for, made if need be, in a; *resumed tells whether there is something to go on with.
 * NULL + fail. */
const char *folder_choose(arena *a, const struct spec *s, const struct run_options *o, bool *resumed);
/* Writes config.yaml and env.json; NULL + fail. Hashes of the checkpoints that the run starts from follow in
 * env.json when they are known; folder_described waits for them. The result lies in a. */
struct inputs *folder_describe(arena *a, const char *dir, const struct spec *s, const struct run_options *o,
                               const struct dev_info *device);
void        folder_described(struct inputs *in);                /* NULL will do */
/* A run's name as one of files: no separators, nothing a shell or another system would trip over. */
const char *folder_name(arena *a, const char *name);
void        folder_latest(const char *dir);                     /* the link beside it */

json_t *json_number(f64 v);                                     /* null for what JSON has no number for */
json_t *json_text(const char *s);                               /* bytes that are not UTF-8 become '?' */
int     json_line(FILE *f, json_t *j);                          /* j on a line; takes it over; -1 + fail */
int     json_save(const char *path, json_t *j);                 /* atomically; takes over j */

/* Event files of TensorBoard: scalars only. open gives NULL + fail. */
typedef struct tensorboard tensorboard;
tensorboard *tensorboard_open(arena *a, const char *dir);
int          tensorboard_scalar(tensorboard *t, i64 step, const char *tag, f64 value);
void         tensorboard_close(tensorboard *t);

#endif
