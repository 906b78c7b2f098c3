/* names.h: naming schemes, and checkpoints whose tensors are made on demand out of another's. Private to
 * core/ckpt.
 *
 *     blocks.0.attn.qkv.weight  <-  query/kernel, key/kernel, value/kernel, transposed: (d, heads, d/heads)
 */
#ifndef JETCL_CKPT_NAMES_H
#define JETCL_CKPT_NAMES_H

#include "ckpt/format.h"

/* ---- architecture.c ------------------------------------------------------------------------------------ */

/* What the name of the model in c says beyond its tensors, into the view's metadata, where that says nothing
 * yet. 0, or -1 + fail(FAULT_DATA): it is no model of ours. */
int architecture_settle(ckpt *view, const ckpt *c);

/* ---- mmengine.c ---------------------------------------------------------------------------------------- */

/* What the configuration in c says of mmpretrain's model in view, into its metadata, where that says nothing
 * yet. 0, or -1 + fail(FAULT_DATA): it is no model of ours. */
int mmengine_settle(ckpt *view, const ckpt *c);

/* ---- scheme.c: the tables, and which of them a file follows -------------------------------------------- */

/* How a source becomes (its share of) the target. Kernels of JAX are (in, out), ours (out, in). */
enum how {
    COPY,
    TRANSPOSE,                                       /* (in, out)            <-> (out, in)           */
    VECTOR,                                          /* (d)                  <-> (1, 1, d)           */
    MATRIX,                                          /* (n, d)               <-> (1, n, d)           */
    COLUMN,                                          /* (d, 1, 1)            <-> (d)                 */
    INNERMOST,                                       /* (1, 1, 1, d)         <-> (d)                 */
    SQUEEZE,                                         /* (out, in[, 1, 1])     -> (out, in)           */
    FROM_HEADS,                                      /* (heads, d/heads, d)   -> (d, heads * d/heads) */
    TO_HEADS,                                        /* (d, heads, d/heads)   -> (heads * d/heads, d) */
    FLAT,                                            /* (heads, d/heads)      -> (d)                 */
    CONV,                                            /* (h, w, in, out)       -> (out, in, h, w)     */
    LEAVE,                                           /* known, not of the model: `to` says what      */
    REFUSE,                                          /* known, makes another model: `to` says what   */
    PREFIX,                                          /* no name: what export puts before all of them */
    APART,                                           /* no name: a model of both ours computes otherwise */
    ALWAYS,                                          /* no name: theirs always has this tensor of ours */
    ZEROED,                                          /* no name: theirs does without this tensor of ours */
    FILLED,                                          /* exported as zeros beside this tensor of ours */
    FIXED,                                           /* no name: metadata that every model of theirs has so */
    SQUARE                                           /* no name: as many rows of patches as columns */
};
/* from, to: see names/schemes.def. Rules of share 0, 1, 2 make one target, stacked; share -1: alone. beside:
 * exported by this rule only if the model has this tensor of ours too ("!x": has not). */
struct rule { const char *from, *to; enum how how; int share; bool pair; const char *with, *beside; };
struct scheme { const char *id, *title, *own; f64 eps; const struct rule *rule; };

/* What a name is under a scheme. */
struct match { const struct rule *rule; slice number[4], rest; };
const char *scheme_rewrite(arena *a, const char *pattern, const struct match *m);
/* The other way: the first rule whose `to` is our name and that can be inverted, for the model in c. */
bool        scheme_match_ours(const struct scheme *s, const ckpt *c, const char *name, struct match *m);
/* The next rule after m's (from the first, where that is NULL) by which theirs has zeros beside our name. */
bool        scheme_fill(const struct scheme *s, const ckpt *c, const char *name, struct match *m);
/* Why a model with these tensors of ours is not computed as ours would be; NULL: it is. */
const char *scheme_foreign(const struct scheme *s, const ckpt *c);
/* What every model under these names has that the one in c has not; NULL: nothing. */
const char *scheme_lacks(const struct scheme *s, const ckpt *c);
/* What stands before every name of the model in c when it is exported. */
const char *scheme_prefix(arena *a, const struct scheme *s, const ckpt *c);
const struct scheme *scheme_find(const char *id);    /* NULL + fail(FAULT_USAGE) listing them */

/* The scheme that a file's names follow, and what stands before every name of the model. */
struct reading {
    const struct scheme *scheme;
    const char *under, *own;                         /* "state_dict.module.", then "vit." or "" */
    int fit, strange;                                /* names that are parameters; unknown ones of the model */
    const char *rival;                               /* what stands before another whole model; NULL: none */
};
/* Has the path this word, between what is neither letter nor digit?
 * "model_ema.blocks" says ema, "schema." does not. */
bool path_says(const char *path, const char *word);
/* The best reading of n names. scheme NULL: none; then *nearest says which come near and what does not fit. */
struct reading scheme_of(arena *a, const char *const *name, int n, bool ema, const char **nearest);
enum verdict { NAME_BESIDE, NAME_STRANGE, NAME_KNOWN };
enum verdict reading_judge(const struct reading *r, const char *name, struct match *m);

/* ---- view.c: a checkpoint of pieces of another's tensors ----------------------------------------------- */

/* Elements of source from `offset` on, taken with these strides, are share `share` of the target; share -1:
 * all of it. source NULL: zeros. */
struct piece {
    const tensor *source;
    const char   *target;
    u64           offset;
    int           nd, share;
    bool          pair, whole;                       /* share 1 is zeros; the source as it is */
    size_t        order;                             /* as met in the file */
    i64           shape[CKPT_DIMS], stride[CKPT_DIMS];
};
struct pieces { struct piece **list; size_t n, cap; };

/* The source whole, shaped as the rule says: into ours, or back into theirs. -1 + fail when its shape does
 * not suit. */
int   piece_shape(struct piece *p, enum how how, bool back, int nd, const i64 *shape);
int   pieces_add(arena *a, struct pieces *all, const struct piece *p);
/* A view of c with its path and no tensors yet; c is closed with it. */
ckpt *view_new(ckpt *c);
/* c's metadata, and the pieces as tensors. 0, or -1 + fail without the path. */
int   view_fill(ckpt *view, struct pieces *all);

#endif
