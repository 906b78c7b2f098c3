/* ckpt.h: checkpoints of any framework as named tensors. Nothing in a file is executed, no length trusted.
 *
 *     ckpt *c = ckpt_open("vit.pth");                              // by content: safetensors, torch, npz
 *     const tensor *t = ckpt_find(c, "head.weight");               // name, type, shape; nothing is read yet
 *     if (tensor_to_f32(t, w)) return fail_in("head");             // any real type
 *     ckpt_close(c);
 *
 *     ckpt *out = ckpt_new();                                      // the other way round
 *     ckpt_add(out, "head.weight", CKPT_F32, 2, (i64[]){ 10, 192 }, w);
 *     rc = ckpt_save(out, "head.safetensors");                 // by suffix; a failure spares the old file
 */
#ifndef JETCL_CKPT_H
#define JETCL_CKPT_H

#include "base/base.h"

#define CKPT_DIMS 8

enum ckpt_type {
#define CKPT_TYPE(name, bytes, unit, safetensors, npy, storage, dtype) CKPT_##name,
#include "ckpt/types.def"
#undef CKPT_TYPE
    CKPT_TYPES
};
const char *ckpt_type_name(enum ckpt_type t);       /* "F32" */
int         ckpt_type_bytes(enum ckpt_type t);

typedef struct ckpt ckpt;
typedef struct {
    const char    *name;
    enum ckpt_type type;
    int            nd;                               /* 0: a scalar */
    i64            shape[CKPT_DIMS];
    u64            count, bytes;                     /* elements; bytes when contiguous */
    ckpt          *in;
} tensor;

/* ---- reading: ckpt.c and one file per format ----------------------------------------------------------- */

/* Opens by content, whatever the suffix: a file; an index of shards (.index.json); a folder of Hugging Face,
 * Accelerate or DeepSpeed, or of .npy files, with what its config.json says as metadata; a run's folder.
 * NULL + fail(FAULT_DATA) with the path in the message. */
ckpt         *ckpt_open(const char *path);
/* A run's folder stands for its last checkpoint: the path of that; any other path as it is. */
const char   *ckpt_of_run(arena *a, const char *path);
/* The same for bytes in memory, borrowed until ckpt_close; label stands for the path in messages. */
ckpt         *ckpt_open_bytes(const void *bytes, size_t n, const char *label);
void          ckpt_close(ckpt *c);                   /* NULL is fine */
int           ckpt_count(const ckpt *c);
const tensor *ckpt_at(const ckpt *c, int i);         /* in the file's order */
const tensor *ckpt_find(const ckpt *c, const char *name);        /* NULL when absent (no fail) */
const char   *ckpt_meta(const ckpt *c, const char *key);         /* NULL when absent */
int           ckpt_meta_count(const ckpt *c);
const char   *ckpt_meta_at(const ckpt *c, int i, const char **value);      /* the i-th key */
const char   *ckpt_format(const ckpt *c);            /* "safetensors", "torch zip", ..., "memory" */
const char   *ckpt_path(const ckpt *c);

/* How many things in the file were passed over because they are not tensors, and one of them in words. */
int           ckpt_skipped(const ckpt *c, const char **example);

/* The elements: contiguous, C order, little endian, aligned to their type. Read at the first call (a mapped
 * file is not copied), valid until tensor_drop or ckpt_close: a loader that drops holds one tensor at a time.
 * NULL + fail(FAULT_DATA) when the file does not hold them. An empty tensor gives some pointer. */
const void   *tensor_data(const tensor *t);
void          tensor_drop(const tensor *t);
/* out[count] = the elements as f32 (rounded to nearest even); -1 + fail for complex types. Drops nothing. */
int           tensor_to_f32(const tensor *t, f32 *out);
/* The same for weights; -1 + fail for integers, of which a quantised file holds the scale elsewhere. */
int           tensor_weights(const tensor *t, f32 *out);
/* As doubles, exact but for 64-bit integers beyond 2^53; and elements [from, from + n) only. */
int           tensor_to_f64(const tensor *t, f64 *out);
int           tensor_range(const tensor *t, u64 from, u64 n, f64 *out);
/* Is every value one that fp32 holds? 0, or -1 + fail(FAULT_NUMBERS), which names the
 * first that is not. Drops nothing. */
int           tensor_check_numbers(const tensor *t);
bool          tensor_shape_is(const tensor *t, int nd, const i64 *shape);
const char   *tensor_shape_text(char out[200], int nd, const i64 *shape);      /* "[64 197 192]" */

/* ---- names.c, load.c: a model's parameters out of anybody's file --------------------------------------- */

/* The model in c under timm's names, whichever framework named it (names/schemes.def): wrappers opened wherever
 * the patch embedding lies (ema: the averaged weights instead), optimisers, heads of pre-training and the like
 * left out. Of several models, averaged ones are passed over, and a student as large as its teacher; more than
 * one that remains is a failure, as nothing tells which is meant. Tensors that the scheme does not know keep
 * their names (ckpt_strange). Nothing is read or copied yet. Takes over c, also on failure. NULL +
 * fail(FAULT_DATA), which names the nearest schemes when none is followed. */
ckpt *ckpt_model(ckpt *c, bool ema);
/* The tensors of c whose names begin so. Takes over c, also on failure. NULL +
 * fail(FAULT_DATA) when none does. */
ckpt *ckpt_below(ckpt *c, const char *under);
/* ckpt_open, then ckpt_model. */
ckpt *ckpt_open_model(const char *path, bool ema);
/* Of ckpt_model's: whose names, and what stands before them ("state_dict.vit."). NULL of any other
 * checkpoint. */
const char *ckpt_scheme(const ckpt *c, const char **under);
/* How many tensors its scheme does not know, and the first. */
int         ckpt_strange(const ckpt *c, const char **first);
/* What was left out, grouped by reason, in one line; "" for nothing. */
const char *ckpt_left_out(const ckpt *c, arena *a);
/* The way back: c, with our names, under those of scheme `id` ("hf_vit"). Takes over c, also on failure. NULL
 * + fail(FAULT_USAGE) for an unknown scheme, FAULT_DATA for a parameter that it has no name for. */
ckpt *ckpt_named(ckpt *c, const char *id);

enum got { GOT_NOTHING, GOT_LOADED, GOT_RESIZED };   /* NOTHING: data is as it was */
struct want { const char *name; int nd; i64 shape[CKPT_DIMS]; f32 *data; enum got got; };
struct load_options {
    bool norm_to_fc_norm;                            /* the file's norm becomes our fc_norm; off: lost */
    int  grid[2];                                    /* our rows and columns of pos_embed; 0: square */
    int  prefix;                                     /* tokens before the grid: 1 with a class token */
    bool strict;                                     /* unexplained differences are an error */
    bool may_be_empty;                               /* a file of which nothing fits is not an error */
    int  (*store)(void *arg, int i);             /* wants may leave data NULL: then want i's is lent for this */
    void *arg;                                   /* call and gone after, one tensor at a time; -1 + fail ends */
};
struct load_report {
    int  loaded, resized, fresh, missing, unexpected;    /* fresh: a head or norm keeps its values */
    const char *scheme, *left_out;                   /* ckpt_scheme, ckpt_left_out */
    int  nwrong; const char *wrong;                  /* unexplained differences, and the first in words */
    int  nlines;                                     /* one for each but the loaded */
    struct load_line { char kind; const char *text; } *line;     /* kind: r, f, m, u as counted above */
};
/* Fills every want whose parameter the file has; the others keep their values. A head of another size, a head
 * or norm the file lacks or has too much are explained differences (fresh); others are missing, unexpected
 * or, when the shape is another, an error under strict; so is, always, a file of which nothing fits, unless
 * o->may_be_empty. c is what ckpt_model gave. Report lines lie in a. 0, or -1 + fail. */
int  ckpt_load(arena *a, ckpt *c, struct want *w, int n, const struct load_options *o, struct load_report *r);
/* On stderr: counts, then what is resized and fresh; every line with -v. */
void load_report_say(const struct load_report *r, const char *path);

/* Position embeddings [h0 w0 d] -> [h w d] as timm resamples them: antialiased bicubic (a = -0.5) for
 * PyTorch's files, plain bilinear for Google's. */
void posembed_resize(const f32 *from, int h0, int w0, f32 *to, int h, int w, int d, bool bilinear);

/* n filters [h0 w0] -> [h w] of a patch embedding, as FlexiViT resizes them: by the pseudo-inverse of bicubic
 * resampling, timm's way. false: not possible between these sizes. */
bool patch_resize(const f32 *from, int h0, int w0, f32 *to, int h, int w, i64 n);

/* c with its floating-point tensors as F32, F16 or BF16, rounded to nearest as they are saved; a number that
 * is too large for the type fails then (FAULT_NUMBERS), an infinity stays one. Takes over c, which
 * ckpt_close of the result closes. */
ckpt *ckpt_cast(ckpt *c, enum ckpt_type to);

/* ---- writing ------------------------------------------------------------------------------------------- */

ckpt *ckpt_new(void);                                /* an empty one, to be filled and saved */
/* data is borrowed until ckpt_close. Names must be new: check()ed, as are nd and type. */
void  ckpt_add(ckpt *c, const char *name, enum ckpt_type type, int nd, const i64 *shape, const void *data);
/* The same, but the elements are asked for when they are needed, and forgotten after: give writes them to
 * out, or -1 + fail. So what lies on a device is saved without being held in memory besides. */
void  ckpt_add_later(ckpt *c, const char *name, enum ckpt_type type, int nd, const i64 *shape,
                     int (*give)(void *arg, void *out), void *arg);
/* Copied; replaces an earlier value. model/weights.c has the keys that we write; "grid" ("rows columns" of
 * pos_embed) is the one read here. 0, or -1 + fail(FAULT_USAGE) for what is not UTF-8. */
int   ckpt_set_meta(ckpt *c, const char *key, const char *value);
/* .safetensors (.state), .npz, or .pth .pt .pth.tar .ckpt .bin (torch zip). Any ckpt can be saved, also one
 * opened: so convert works. Written beside, fsynced, renamed: a failure spares the old file. -1 + fail. */
int   ckpt_save(ckpt *c, const char *path);
/* Would ckpt_save know the suffix (FAULT_USAGE), and find a folder to write to (FAULT_RUN)? To complain
 * before the work is done. 0, or -1 + fail. */
int   ckpt_can_save(const char *path);

/* A SHA-256 of each tensor and of the metadata among the metadata: the last thing before ckpt_save. check: of
 * an open file; -1 + fail(FAULT_DATA) when anything is not as it was saved. */
int   ckpt_seal(ckpt *c);
int   ckpt_check_seal(const ckpt *c);

/* SHA-256 in lower-case hex: what a child records of its parents. 0, or -1 + fail(FAULT_DATA). */
int   file_sha256(const char *path, char hex[65]);
/* Of an opened file; of several, SHA-256 of theirs in order. */
int   ckpt_sha256(const ckpt *c, char hex[65]);
void  bytes_sha256(const void *p, size_t n, char hex[65]);

#endif
