/* set.h: what a data-set file fills in, and the stages of preparing a sample. Private to data/. */
#ifndef JETCL_SET_H
#define JETCL_SET_H

#include "data/data.h"
#include <pthread.h>

/* One row of datasets.def. open() finds the files below d->root and lists the samples of d->split by set_add. */
struct data_set {
    const char *name, *help;
    int (*open)(dataset *d, const struct data_options *o);
    /* Pixels of sample i where a sample is not a file of its own: NULL else. */
    void (*pixels)(const dataset *d, i64 i, struct image *out);
    f32 mean[3], std[3];
};

struct dataset {
    arena *a;
    const struct data_set *kind;
    const char *root;                             /* the folder that holds the layout */
    const char *split;
    i64 n, cap;
    i32 *label;
    const char **path;                            /* below root; NULL for record files */
    i64 *place;                                   /* record files of which some classes are used: a sample's place; else NULL */
    int classes;
    const char **class_name;
    f32 mean[3], std[3];
    struct file_map map[5];                       /* record files */
    void *own;                                    /* whatever else the set needs */
    pthread_mutex_t lock;                         /* of kept */
    struct image *kept;                           /* decoded samples, where asked for: rgb NULL until decoded */
    i64 kept_bytes;
};

#define SET(name) extern const struct data_set name##_set;
#include "data/datasets.def"
#undef SET

void set_add(dataset *d, const char *path, i32 label);
void set_classes(dataset *d, const char *const *names, int n);   /* copied, made printable */
int  folder_add_below(dataset *d, const char *path);             /* root/path itself, or all pictures below it; label 0 */
int  set_no_split(const dataset *d, const char *known);          /* fail(FAULT_USAGE): "known" lists the splits */

/* ---- augment.c: the random choices ------------------------------------------------------------------------------- */

/* Memory and settings of one worker. */
struct worker_space {
    struct decoder decoder;
    struct resizer resizer;
    struct image stored, out, spare;
};

/* Sample i of d, prepared for training in `epoch` or for evaluation, as o->image x o->image RGB at `to`. 0 or -1 + fail. */
int sample_prepare(struct worker_space *w, dataset *d, const struct data_options *o, i64 epoch, i64 i, u8 *to);

/* ---- randaugment.c ------------------------------------------------------------------------------------------------ */

/* ra_ops operations of the timm "increasing" policy on m, drawn from r; spare: memory that may be swapped with m's. */
int  randaugment(struct image *m, struct image *spare, arena *a, const struct augment_options *o, const u8 fill[3], rng *r);
/* Pixels of the window become mean + std z, z normal, truncated and clipped. */
void image_erase(struct image *m, struct window w, const f32 mean[3], const f32 std[3], u64 noise_seed);
void erase_with(struct image *m, struct window w, const f32 mean[3], const f32 std[3], const f32 *z);      /* w.h w.w 3 */

/* ---- mix.c: between samples --------------------------------------------------------------------------------------- */

/* How one batch is mixed: every image with that of partner[], by weight (Mixup) or in a rectangle (CutMix). own, other: what
 * a channel's byte counts, normalised and weighted, in the image itself and in its partner. */
struct mix { bool mixup, cutmix; f64 lambda; int y1, y2, x1, x2; i32 *partner; f32 own[3][256], other[3][256]; };
void mix_choose(struct mix *m, const struct augment_options *a, u64 seed, i64 epoch, i64 batch, int n, int side,
                const f32 mean[3], const f32 std[3]);
void cutmix_box(f64 lambda, int h, int w, int cy, int cx, int *y1, int *y2, int *x1, int *x2, f64 *area_lambda);
/* Image of the batch from the pixels of itself and its partner: normalised planes. */
void mix_image(struct mix *m, const u8 *rgb, const u8 *partner, int side, f32 *planes);
void mix_label(const struct mix *m, int label, int partner, int classes, f32 *soft);

#endif
