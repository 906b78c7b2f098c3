/* data.h: labelled image sets and the threads that make batches of them.
 *
 *     struct data_options o = { .set = "pets", .split = "test", .image = 224, .batch = 64 };
 *     dataset *d = data_open(&o);                        loader *l = loader_open(d, &o);
 *     for (loader_start(l, epoch, 0); (b = loader_next(l)); loader_release(l, b))
 *         step(b);                                       // the next batches are being prepared meanwhile
 *
 * Every sample's crop, flip and colours are a function of (seed, epoch, sample index): not of threads, nor of
 * what came before.
 */
#ifndef JETCL_DATA_H
#define JETCL_DATA_H

#include "data/image.h"
#include "spec/spec.h"

struct augment_options {
    int ra_ops;                                   /* RandAugment: operations per image, 0 off */
    f64 ra_magnitude, ra_std;                     /* level out of 10 and its spread */
    f64 erasing, mixup, cutmix, smoothing;        /* smoothing is the loss's; here only for the record */
    f64 scale_min;                                /* smallest area of a random resized crop, 0: 0.08 */
    bool flip;
    int pad;                                      /* > 0: pad and crop, in place of a random resized crop */
};

/* What the caller asks for; strings stay the caller's and must outlive the dataset. Zero is a usable default
 * everywhere. */
struct data_options {
    const char *set, *root, *split;
    const char *const *only; int n_only;          /* these classes alone, in this order; n_only 0: all */
    int  image, workers, batch;                   /* side; threads (0: one per CPU); images per batch */
    bool train;                                   /* shuffled, augmented, no short batch; or in order */
    u64  seed;
    int  eval_short;                              /* short edge before the centre crop; 0: image */
    int  fold;                                    /* dtd: which of its ten splits, 0: the first */
    bool bilinear, exif;                          /* else bicubic; EXIF rotation applied */
    bool released;                                /* CIFAR: fills take the means in reversed order */
    bool skip_errors;                             /* a damaged file is replaced (train) or left out (eval) */
    bool keep_decoded;                            /* hold decoded files in memory, where all fit into 1 GiB */
    bool fast_decode;                             /* train: shrink while decoding where enough is left */
    bool has_mean, has_std;                       /* else the set's own */
    f32  mean[3], std[3];                         /* in 0..255 */
    struct augment_options augment;
    i64  limit;                                   /* eval: at most so many samples, 0: all: the first ones, */
    bool spread;                                  /* or evenly spaced ones */
    /* Of each training batch only the images [from, to), in a job that shares it out; both 0: all. What an
     * image becomes and is mixed with depends on its place in the whole batch. */
    bool shared;
    int  from, to;
    int  rank, ranks;                             /* eval: only batches rank, rank + ranks, ...; ranks 0: all */
};
/* As the experiment says, for the training or the evaluation split; it must outlive the dataset. */
struct data_options data_options_of(const struct spec *s, bool train);

typedef struct dataset dataset;
typedef struct loader  loader;

/* ---- dataset.c ----------------------------------------------------------------------------------------- */

dataset    *data_open(const struct data_options *o);    /* NULL + fail(FAULT_DATA or FAULT_USAGE) */
/* The files of the set and their labels, found once for several processes: another one takes the index, and its
 * data_open then reads no folder and no list. It does so for this process, too, which found it. */
void       *data_index(arena *a, const struct data_options *o, u64 *bytes);  /* NULL + fail as data_open */
void        data_take_index(const struct data_options *o, const void *index);   /* it must stay */
/* Is there something to be found: are samples files, not yet listed by an index that was taken? */
bool        data_is_listed(const struct data_options *o);
/* Is the set not there at all? (One that is there and damaged, or has no such split, is.) */
bool        data_absent(const struct data_options *o);
/* Does this program draw it where it is absent? */
bool        data_drawn(const struct data_options *o);
/* Images of o->split and classes of the set as published; 0 where that is not known. */
int         data_published(const struct data_options *o, int *classes);
/* Pictures by name, and those below named folders, without labels (one class), for prediction. o->set and
 * split are not looked at. */
dataset    *data_open_files(const char *const *paths, int n, const struct data_options *o);
void        data_close(dataset *d);
int         data_count(const dataset *d), data_classes(const dataset *d);
const char *data_class_name(const dataset *d, int class);     /* printable UTF-8 */
const char *const *data_class_names(const dataset *d);
i32         data_label(const dataset *d, i64 i);
/* The file of sample i, or "train.bin, byte 3074" for sets that keep many pictures in a file. Raw bytes:
 * path_shown to print. */
const char *data_path(const dataset *d, i64 i, char out[4096]);
/* The folder that this split's class folders lie in; NULL where a split is not a folder. */
const char *data_folder(arena *a, const dataset *d, const char *split);
/* What lies in the set's folder and was not taken: "3 .tif, 2 hidden files; classes without a file: x"; ""
 * for nothing. */
const char *data_passed_over(arena *a, const dataset *d);
/* From now on d's classes are these, and its labels go by name: whatever the order of its own, and whether or
 * not it has them all. whose: what has the names ("the model"). -1 + fail(FAULT_DATA), listing both sides,
 * when d has images of a class that is not among them, or one that data.classes names is not. */
int         data_follow(dataset *d, const char *const *names, int n, const char *whose);
void        data_mean_std(const dataset *d, f32 mean[3], f32 std[3]);
/* Known sets, for lists and messages; NULL past the end. */
const char *data_set_name(int i);

/* Draws the demo's two sets into the folder, unless they are there. A run that is
 * interrupted leaves no half set. */
int         render_demo(const char *folder);

/* ---- labels.c ------------------------------------------------------------------------------------------ */

/* The index of the class called `name` among n, or -1. A class of ImageNet-1k may go by its WordNet
 * number on one side ("n01440764") and by its name ("tench") on the other; letters may be composed
 * or taken apart (with utf8proc). */
int         class_find(const char *const *names, int n, const char *name);
/* Do n names tell the classes apart? 0, or -1 + fail(FAULT_DATA). whose: the
 * file or folder, for the message. */
int         class_check(const char *const *names, int n, const char *whose);
/* The thousand classes of ImageNet-1k in their order. */
const char *const *imagenet_names(arena *a, bool wnids);

/* ---- loader.c ------------------------------------------------------------------------------------------ */

/* How an image is finished from bytes, the last thing before the network; cl/feed.cl reads it as 17 words.
 * Rectangles are y1 y2 x1 x2. Bytes give way to noise in own.box, those of image `partner` of the batch in
 * other.box; then the two are blended inside `mixed`: everything (Mixup), a part (CutMix) or nothing. */
struct recipe {
    i32 partner, mixed[4];
    struct erasing { i32 box[4]; u32 key[2]; } own, other;
};
enum { NOISE_DRAWS = 1 << 16 };

/* pixels: n h w 3 bytes, cropped and recoloured, and of a shared batch those of other shares' images that these
 * are mixed with after them; with recipes, values and noise they are what batch_image and,
 * on a device, feed.c make the network's input of. values: by channel and byte, of what is not mixed, and of
 * the two that add up where it is. noise: bytes by channel and 16-bit draw; NULL: nothing is ever erased.
 * soft_labels: n k, mixed as the images are. labels: the unmixed class. index: sample numbers. */
struct batch {
    int n, h, w;
    bool mixes;                                   /* is any recipe's `mixed` not empty? */
    u8 *pixels;
    const f32 *numbers;                          /* in place of pixels: n 3 h w, finished; never the loader's */
    struct recipe *recipes;
    struct { f32 alone[3][256], own[3][256], other[3][256]; } *values;
    const u8 (*noise)[NOISE_DRAWS];
    f32 *soft_labels;
    i32 *labels;
    i64 *index;
};

/* finish.c: image k as the network sees it: 3 h w, normalised, mixed, erased. A device gives the same bits. */
void batch_image(const struct batch *b, int k, f32 *planes);

loader *loader_open(dataset *d, const struct data_options *o);  /* threads, no work yet; NULL + fail */
void    loader_close(loader *l);
i64     loader_batches(const loader *l);                        /* per epoch */
/* Which batch of all *of ranks its own batch `number` is. */
i64     loader_place(const loader *l, i64 number, i64 *of);
/* Begins an epoch at a batch; what was under way is dropped. All batches of the last epoch must have been
 * released. */
void    loader_start(loader *l, i64 epoch, i64 from_batch);
/* The same at a sample in the epoch's order, which need not be the first of a batch of this size. */
void    loader_start_at(loader *l, i64 epoch, i64 from_sample);
/* Of a split that is not trained on: the batches [from, to) alone. */
void    loader_start_part(loader *l, i64 from_batch, i64 to_batch);
/* The next batch in order; valid until released. NULL at the end of the epoch (fail_fault() is FAULT_NONE) or
 * after a fault. Two batches may be held at a time. */
const struct batch *loader_next(loader *l);
void    loader_release(loader *l, const struct batch *b);
/* Which of the loader's batches this one is: numbers of batches that were skipped whole are left out. */
i64     loader_number(const struct batch *b);
f64     loader_wait_seconds(const loader *l);             /* spent blocked in loader_next since loader_open */
f64     loader_busy_seconds(const loader *l);                   /* worker threads' CPU time */
i64     loader_images(const loader *l);                         /* prepared so far: busy seconds per image */
/* Samples skipped so far (skip_errors), as messages; the list grows and stays valid until loader_close. */
int     loader_skipped(const loader *l, const char *const **messages);

#endif
