/* analyse.h: what the experts of a trained model do: how much of a layer they carry, for which images, and
 * where on the image they look.
 *
 *     struct analysis x = { .a = a, .show = 4 };
 *     if (analyse_open(&x, &e, 16) || analyse_images(&x, l) || analyse_save(&x, "analysis")) return -1;
 *     analyse_close(&x);
 *
 * Axis letters: b images, h heads, n tokens, e experts, s slots per expert, d channels. Core experts come
 * first.
 */
#ifndef JETCL_ANALYSE_H
#define JETCL_ANALYSE_H
#include "train/learner.h"
#include <jansson.h>

/* ---- chart.c: two kinds of SVG ------------------------------------------------------------------------ */

struct chart_series { const char *name; int n; const f64 *x, *y; };  /* what is not finite is left out */
/* Lines, one per series, with axes and a legend. 0, or -1 + fail. */
int chart_lines(const char *path, const char *title, const char *x_name, const char *y_name,
                const struct chart_series *s, int n);
/* Groups of bars: group g has a bar of height y[g] of each series (x is not read). label: the groups, or
 * NULL. */
int chart_bars(const char *path, const char *title, const char *y_name, const char *const *label,
               const struct chart_series *s, int n);

/* ---- confusion.c -------------------------------------------------------------------------------------- */

/* The confusion matrix as CSV, and drawn: rows are the truth, the darker a square, the larger its share of
 * its row. */
int confusion_csv(const char *path, const struct scores *s, const char *const *names);
int confusion_png(const char *path, const struct scores *s);

/* ---- analyse_load.c: one MoE layer, from its routing weights and its experts' outputs ----------------- */

/* A batch, of which the first `used` images count. */
struct routed {
    i64 b, used, h, n, e, s, d;                   /* d: channels of all heads */
    const f32 *dispatch, *combine;                /* (b h n e s) both */
    const f32 *experts;                           /* (e b s d) */
    const i32 *label;                             /* (b), or NULL */
};
enum { PART_CORE, PART_UNIVERSAL, PARTS };        /* of the experts; Soft MoE's are all core */

/* Sums over images; the formulas of what is made of them stand in analyse_formulas. */
struct load {
    int  experts, core, classes;
    i64  images, tokens, slots;                   /* tokens, slots: of one image */
    f64 *combine;                                 /* (e) mean over heads and tokens of sum over slots of C */
    f64 *dispatch;  /* (e) mean over heads of the sum over tokens and slots of D */
    f64 *spread;  /* (e) mean over heads and slots of exp(entropy of D over tokens) */
    f64 *by_class;                                /* (e classes): combine again, by label */
    f64 *gram;                                    /* (e e) inner products of outputs */
    f64  token_entropy;                           /* mean over heads and tokens of C's entropy over experts */
    f64  square[PARTS + 1], along[PARTS];         /* |o_part|^2, last |o|^2; o_part . o */
};
void load_open(struct load *l, arena *a, int core, int universal, int classes);
void load_add(struct load *l, const struct routed *r, arena *scratch);

f64  load_share(const struct load *l, int expert);              /* of the combine weight: they sum to 1 */
f64  load_entropy(const struct load *l);  /* of the shares, in 0..1: 1 when all are equal */
f64  load_part(const struct load *l, int part);  /* share of combine weight of core, universal experts */
bool load_dead(const struct load *l, int expert);               /* share below a hundredth of an equal one */
f64  load_alike(const struct load *l, int a, int b);  /* cosine of their outputs; 0 when one is silent */
/* Bits an expert says about the label: sum over classes of p(y|e) log2(p(y|e) / p(y)). *top: its likeliest
 * class. */
f64  load_specialised(const struct load *l, int expert, int *top);
f64  load_information(const struct load *l);  /* mutual information of expert and label, bits */

/* ---- analyse_weights.c -------------------------------------------------------------------------------- */

/* The weights and biases of every expert of a layer, one row each, core ones first. */
struct expert_weights { int experts, core; i64 width[PARTS]; f32 *rows[PARTS]; };
/* Of the layer "<scope>": get(name) gives a tensor's values (e ...) as f32, or NULL when there is none. */
struct weights_source { const f32 *(*get)(void *who, const char *name, i64 *count); void *who; };
bool weights_read(struct expert_weights *w, arena *a, const char *scope, int core, int universal,
                  const struct weights_source *from);
struct weights_source weights_of_params(const params *p, arena *a);
struct weights_source weights_of_ckpt(const ckpt *c, arena *a);
f64  weights_alike(const struct expert_weights *w, int a, int b);           /* cosine; NAN across kinds */
/* |w - w0| / |w0| of one expert; NAN when the sizes differ. */
f64  weights_moved(const struct expert_weights *w, const struct expert_weights *before, int expert);

/* ---- analyse_open.c ----------------------------------------------------------------------------------- */

/* What silencing did: on how many images the prediction is right, and on how many it is another one. */
struct silenced { int layer, first, count; i64 right, changed; node *mask; };
struct moved { const char *file; f64 mean[PARTS]; f64 *each; };  /* from recycled.safetensors to `file` */
struct layer_analysis {
    const char *block, *scope;  /* "blocks.7"; where its experts are named: "blocks.7.mlp" */
    int  index, core, universal, slots, heads;
    int  twins;                                   /* pairs; known once saved */
    struct load load;
    struct expert_weights weights;
    struct silenced *part[PARTS], **each;         /* NULL: not done */
    struct moved *moved; int n_moved;
    node *dispatch, *combine, *experts, *mask;
    f32  *dispatch_map, *combine_map;  /* (show n e), means over heads and slots, sums over slots */
    i64   tokens;
};
struct analysis {
    arena *a;
    int    show;                                  /* images that maps are drawn of */
    i64    of;                                    /* evenly spread over so many; 0: the first ones */
    bool   each;                                  /* silence every expert by itself, too */
    const char *save_images;  /* NULL, or a file for the images as the network sees them */
    const struct session *e;
    bool   labelled;
    const char *checkpoint;
    struct spec s;
    graph *g;
    node  *images, *logits;
    struct feed feed;
    int    batch, layers, blocks, prefix;
    struct layer_analysis *layer;
    node **qkv;                                   /* (blocks) of a ViT */
    f32   *attention;                             /* (show blocks n) */
    i64    attention_tokens;
    struct silenced *silenced; int n_silenced;
    struct scores scores;
    struct run_eval base;
    u8    *shown; int n_shown, side;              /* (show side side 3) */
    f32   *kept; i64 n_kept; i32 *kept_labels;    /* for save_images */
};
/* Fill in a, show, of, each, labelled and save_images before. batch: images at a time. 0, or -1 + fail. */
int  analyse_open(struct analysis *x, const struct session *e, int batch);
void analyse_close(struct analysis *x);
/* Layer's experts [first, first + count) are silent, the others speak; count 0: all speak. */
int  analyse_write_mask(struct analysis *x, int layer, int first, int count);

/* ---- analyse.c ---------------------------------------------------------------------------------------- */

extern const char *const analyse_formulas[][2];   /* name, formula; ends in NULL */
/* Place of the i-th image among those that maps are drawn of, or -1. */
i64  analyse_place(const struct analysis *x, i64 i);
/* Runs over the loader's images and adds up all that is said of them. 0, or -1 + fail. */
int  analyse_images(struct analysis *x, loader *l);

/* ---- analyse_moves.c ---------------------------------------------------------------------------------- */

/* How far experts are from those in `recycled`, now and in each of the n checkpoints. 0, or -1 + fail. */
int  analyse_moves(struct analysis *x, const char *recycled, const char *const *files, int n);

/* ---- analyse_maps.c: <dir>/layer-NN-dispatch.png, -combine.png, attention.png ------------------------- */

enum { MAPS_TOP = 3 };                            /* most used experts of each kind */
int  analyse_maps(struct analysis *x, const char *dir);
/* The most used experts of a part: at most MAPS_TOP; how many. */
int  analyse_top(const struct layer_analysis *l, int part, int top[MAPS_TOP]);

/* ---- analyse_write.c ---------------------------------------------------------------------------------- */

/* analysis.json, experts.csv, contributions.csv, load.svg, contributions.svg, confusion.csv and .png. */
int  analyse_save(struct analysis *x, const char *dir);
void analyse_print(const struct analysis *x);     /* on stdout, for a person */

/* ---- curves.c: accuracy over epochs of one or several runs -------------------------------------------- */

struct curve { const char *run; int n; f64 *epoch, *hours, *top1; f64 best; };
/* dir/metrics.jsonl. 0, or -1 + fail(FAULT_DATA). */
int  curve_read(struct curve *c, arena *a, const char *dir);
/* Where a curve first reaches a top-1 of `at`: its index, or -1. */
int  curve_reaches(const struct curve *c, f64 at);
/* convergence.json, .csv and two .svg into dir; a table on stdout when `print`. */
int  curves_save(const struct curve *c, int n, const f64 *at, int n_at, const char *dir, bool print);

#endif
