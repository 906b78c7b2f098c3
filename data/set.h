/* set.h: what a data-set file fills in, and the stages of preparing a sample. Private to data/. */
#ifndef JETCL_SET_H
#define JETCL_SET_H

#include "data/data.h"
#include <pthread.h>

/* images: as published; 0: any number. joint: made of other splits, so sharing images with them is no
 * finding. */
struct data_split  { const char *name; i64 images; bool joint; int classes; }; /* classes: where they differ */
/* One file of `jetcl data fetch`: an archive, unpacked into the root's folder `into`, or a plain file put
 * there. gives: what is there afterwards, below the root. */
struct data_source { const char *url, *md5, *sha256, *into, *gives; };
struct data_file   { const char *name, *md5; };               /* below the set's folder */

/* One row of datasets.def. */
struct data_set {
    const char *name, *help;
    const char *folders[4];         /* where it lies below the root, ours first; or the root */
    const char *probe[2];           /* one of these must be there */
    const char *mistaken, *hint;    /* a folder people have instead, and what to say then */
    const char *made;               /* below the root, once this program has drawn the set; NULL: it does not */
    struct data_split splits[8];    /* none: any name */
    int classes;                    /* as published; 0: any number */
    struct data_source sources[5];
    struct data_file files[5];                    /* whose checksums are known */
    f32 mean[3], std[3];
    bool fill_reversed;                           /* released configuration: fills with the means reversed */
    /* Lists the samples of d->split, by set_add, and the classes, by set_classes. d->root is the folder
     * found. */
    int (*open)(dataset *d, const struct data_options *o);
    /* Pixels of sample i, where a sample is not a file of its own; NULL else. 0 or -1 + fail. */
    int (*pixels)(const dataset *d, i64 i, arena *a, struct image *out);
};
#define IMAGENET_PIXELS .mean = { 123.675f, 116.28f, 103.53f }, .std = { 58.395f, 57.12f, 57.375f }

struct names { const char **v; size_t n, cap; };
/* What lies in a folder of images and is not taken, by suffix (case ignored). */
enum { MOST_SUFFIXES = 12 };
struct passed_over {
    struct { char name[24]; i64 n; } suffix[MOST_SUFFIXES];
    int n;
    i64 hidden, folders;                          /* names from '.'; folders of thumbnails and the like */
};

enum { MOST_KEPT = 1 << 30 };                     /* bytes of decoded pictures */

struct dataset {
    arena *a;
    const struct data_set *kind;
    const char *root;                             /* the folder that holds the layout */
    const char *split;
    i64 n, cap, listed, published;                /* samples; before o->only chose; as published, or 0 */
    i32 *label;
    const char **path;                            /* below root; NULL for record files */
    int classes;
    bool chosen;                                  /* by data.classes: some may have no image */
    const char **class_name;
    struct passed_over passed;
    struct names empty;                           /* class folders without a file */
    f32 mean[3], std[3];
    struct file_map map[5];                       /* record files, and their names */
    const char *map_name[5];
    const u8 **record;                            /* per sample: its bytes in one of them */
    pthread_mutex_t lock;                         /* of kept */
    struct image *kept;                           /* decoded samples, if asked for: rgb NULL until decoded */
    i64 kept_bytes;
};

#define SET(name) extern const struct data_set name##_set;
#include "data/datasets.def"
#undef SET

void set_add(dataset *d, const char *path, i32 label);
void set_classes(dataset *d, const char *const *names, int n);   /* copied, made printable */
/* classes.c: leaves the samples of the n_only classes o->only, relabelled in their order. A split to evaluate
 * on may lack some. 0, or -1 + fail. */
int  classes_keep(dataset *d, const struct data_options *o);
/* root/path itself, or all pictures below it, with label 0. */
int  set_add_below(dataset *d, const char *path);
int  set_map(dataset *d, int k, const char *name);               /* d->map[k] = root/name */
/* Names of the folders in root/path, sorted. */
int  set_folders_in(dataset *d, const char *path, struct names *out);
/* A folder of thumbnails, resource forks or deleted files, by its name. */
bool folder_left_behind(const char *name);
/* The folder's images as samples, as folder.c describes. */
int  set_open_folder(dataset *d, const struct data_options *o);

/* ---- index.c: a listing as bytes ------------------------------------------------------------------------ */

/* d's samples and classes; all samples are files. */
void       *index_write(const dataset *d, arena *a, u64 *bytes);
/* d's samples from it, whose names stay there; some files are looked for. 0, or -1 + fail(FAULT_DATA). */
int         index_read(dataset *d, const void *index);
/* Of d's set, root and split: an index that was remembered, or NULL. d->root: not yet the layout's folder. */
const void *index_known(const dataset *d, int fold);
void        index_remember(const dataset *d, int fold, const void *index);

/* ---- lists.c: annotation files ------------------------------------------------------------------------- */

/* Walks a text: *line is the next line without its end (of any system) and surrounding blanks; empty ones
 * and those from '#' are skipped. */
bool list_line(const char **at, slice *line);
/* The line's next word; false when none is left. */
bool list_word(slice *line, slice *word);
/* root/name, whole, less a byte order mark; NULL + fail. */
char *list_text(const dataset *d, const char *name);
/* The lines of root/name are the n classes, in their order. 0, or -1 + fail(FAULT_DATA). */
int  list_classes(dataset *d, const char *name, int n);
/* A relative path without "..", or fail. what: the list's name. */
int  list_path_ok(const dataset *d, const char *what, slice path);
/* Names to be sorted by bytes, without doubles; class_of gives -1 for an unknown one. */
void names_add(arena *a, struct names *v, slice name);
void names_sort(struct names *v);
int  names_find(const struct names *v, slice name);

/* ---- mat.c: numeric arrays of MATLAB level-5 files ----------------------------------------------------- */

/* Array `name` of the file as integers; NULL + fail when it is not there or not of numbers. */
i32 *mat_integers(arena *a, const char *path, const char *name, size_t *n);
i32 *mat_integers_in(arena *a, const u8 *file, size_t bytes, const char *name, size_t *n);

/* ---- sweep.c: something done with every sample --------------------------------------------------------- */

struct worker_space;
/* Sample i's whole picture as stored, and the 32 bytes of SHA-256 of its file or record (NULL: not needed). 0
 * or -1 + fail. */
int sample_whole(struct worker_space *w, const dataset *d, bool exif, i64 i, struct image *out, u8 hash[32]);
/* Calls work(context, w, i) for every sample on some threads, in any order. Damaged samples (-1 + FAULT_DATA)
 * are counted and the first hundred named in order; anything else ends it with -1 + fail. */
struct sweep { i64 damaged; int n_messages; const char *messages[100]; };
int data_sweep(arena *a, dataset *d, int workers, const char *label,
               int (*work)(void *context, struct worker_space *w, i64 i), void *context, struct sweep *out);

/* ---- augment.c: the random choices --------------------------------------------------------------------- */

/* Memory and settings of one worker. */
struct worker_space {
    struct decoder decoder;
    struct resizer resizer;
    struct image stored, out, spare;
};

/* Sample i of d, prepared for training in `epoch` or for evaluation, as o->image x o->image RGB at `to`; what
 * is still to be erased of it goes into *e. 0 or -1 + fail. */
int sample_prepare(struct worker_space *w, dataset *d, const struct data_options *o, i64 epoch, i64 i,
                   u8 *to, struct erasing *e);
/* What warps leave free and around which erasing scatters: the channel means. */
struct fill { f32 mean[3], std[3]; u8 color[3]; };
struct fill fill_of(const dataset *d, const struct data_options *o);

/* ---- randaugment.c ------------------------------------------------------------------------------------- */

/* ra_ops operations of the timm "increasing" policy on m, drawn from r; spare: memory that may be swapped
 * with m's. */
int  randaugment(struct image *m, struct image *spare, arena *a, const struct augment_options *o,
                 const u8 fill[3], rng *r);

/* ---- finish.c: from bytes to numbers ------------------------------------------------------------------- */

/* mean + std z, truncated and clipped: a byte of noise for z normal. */
u8   noise_byte(f32 mean, f32 std, f32 z);
void noise_table(const struct fill *f, u8 (*noise)[NOISE_DRAWS]);
/* b->values: (byte - mean) / std; where images are mixed, weighted: the image itself
 * by `weight`, the other by `rest`. */
void values_table(struct batch *b, const f32 mean[3], const f32 std[3], f32 weight, f32 rest);

/* ---- mix.c: between samples ---------------------------------------------------------------------------- */

/* How one batch is mixed: the image's share of its label, the rectangle (y1 y2 x1 x2), and who with whom. */
struct mix { bool mixup, cutmix; f64 lambda; i32 box[4]; i32 *partner; };
void mix_choose(struct mix *m, const struct augment_options *a, u64 seed, i64 epoch, i64 number, int n,
                int side);
/* Rectangle around (cy, cx) of about 1 - lambda of the area, and what it leaves in fact. */
void cutmix_box(f64 lambda, int h, int w, int cy, int cx, i32 box[4], f64 *area_lambda);
/* Tells b of it: recipes, values, soft labels. What each image itself erases is there already. */
void mix_batch(const struct mix *m, struct batch *b, int classes, const f32 mean[3], const f32 std[3]);
void mix_label(f64 lambda, int label, int partner, int classes, f32 *soft);

#endif
