/* op.h: what can be computed. One file per op; ops.def lists them, map.def holds the pointwise ones as rows.
 *
 *     node *y = op_add(op_matmul(x, w, TRANS_B), bias);          // x (b n d), w (h d), bias (h) -> y (b n h)
 *     node *p = op_softmax(y, -1);
 *     node *loss = op_mean(op_cross_entropy(logits, labels, 0.1f));
 *
 * Axis letters of shapes: b batch, n tokens, d channels, h heads, e experts, s slots. Builders make float32
 * values; with train.precision the last pass (fuse/types.c) stores some of them in a half type.
 */
#ifndef JETCL_OP_H
#define JETCL_OP_H
#include "graph/graph.h"
#include "op/product.h"

/* Every op, for listings and tests. */
extern const op *const op_list[];
extern const int       op_count;

/* ---- map.c: pointwise, with broadcasting; map.def has the formulas ------------------------------------- */

/* A builder for each row: op_exp(x), op_scale(x, c), op_add(a, b), op_normal(g, shape, c). */
#define MAP0(name, y)         node *op_##name(graph *g, struct shape s, f32 c);
#define MAP1(name, y, dx)     node *op_##name(node *x);
#define MAP1C(name, y, dx)    node *op_##name(node *x, f32 c);
#define MAP2(name, y, da, db) node *op_##name(node *a, node *b);
#include "op/map.def"
#undef MAP0
#undef MAP1
#undef MAP1C
#undef MAP2
node *op_expand(node *x, struct shape s);         /* x broadcast to s, written out */

struct map_row { const char *name; int arity; const char *text[3]; };    /* y, and the derivatives times dy */
extern const struct map_row map_rows[];
extern const int            map_row_count;

#define MAX_STEPS 24
/* One formula of a chain: its row, which of the row's texts, and its operands (>= 0: an operand of the node,
 * < 0: the result of step -1-k). */
struct map_step {
    int row, which, in[4], n_in;
    f32 c;
    u32 stream;                                   /* of a random row, as all below */
    struct shape shape;
    i64 together, samples;                        /* op_by_sample's, or 0 */
};
struct map_args { struct shape shape; int n; struct map_step step[MAX_STEPS]; };
extern const op map_op;
bool  map_is(const node *n, const char *row, int which);       /* nothing but this text of this row? */
enum act map_act(const node *n, int which);       /* the activation of which it is this text alone */
void  map_become_mul(node *n, node *a, node *b);  /* for fuse/ */
bool  map_draws(const node *n);                   /* does it draw random numbers? */
bool  map_fits(const node *n);                    /* do its operands and constants fit in one launch? */
/* What n draws, if it is nothing but a draw of this row ("normal"); else NULL. */
const struct map_step *map_drawn(const node *n, const char *row);
/* Says where the samples of a batch lie in a drawn tensor: `together` rows (of its last axis) belong to one
 * of `samples`, and so on, once or several times over. What is drawn then depends on a sample's place in the
 * whole batch (STEP_BEFORE, STEP_OTHERS). Returns it. */
node *op_by_sample(node *drawn, i64 together, i64 samples);

/* ---- matmul.c ------------------------------------------------------------------------------------------ */

enum { TRANS_A = 1, TRANS_B = 2 };
/* (... m k) x (... k n) -> (... m n). A 2-d right operand serves all batches (then a's leading axes are
 * rows of one product); else batch axes must be equal. TRANS_A: a is stored (... k m); TRANS_B: b is
 * stored (... n k). */
node *op_matmul(node *a, node *b, int trans);
/* What a product does besides multiplying; fuse/ fills it from the nodes around. */
struct matmul_args {
    int trans;
    enum act act;
    int bias, residual, factor;                /* which operand, or 0; only one of the last two */
    int step;                                  /* likewise: the step buffer, where.. */
    const struct map_step *mask;               /* ..a keep_mask of this shape's front, ones after it, multiplies
                                                     before the last two; NULL: none */
    /* Second results for the backward part, or NULL: the value before the activation, or its derivative;
     * the sums of stored a's columns. At most one. */
    node *pre, *slope, *sums;
    f32 alpha;
};
extern const op matmul_op;
bool matmul_masks(const node *n);                 /* can it draw a mask, where it runs? */
bool matmul_sums(const node *n);                  /* can it, where it runs, sum stored a's columns as well? */
void matmul_key(const node *n, char key[64]);     /* what dev_tune_for calls the shape */

/* ---- the others ---------------------------------------------------------------------------------------- */

node *op_softmax(node *x, int axis);
node *op_entmax15(node *x);                       /* over the last axis (Peters, Niculae and Martins 2019) */
/* (x - mean) / sqrt(var + eps) * w + b over the last axis, biased variance; w, b as long, or both NULL. */
node *op_layernorm(node *x, node *w, node *b, f32 eps);
extern const op layernorm_grad_op;                /* maybe what dx is added to, then dy, x, w */
/* x / (|x| + eps) over the last axis; eps_inside: x / sqrt(|x|^2 + eps). */
node *op_l2norm(node *x, f32 eps, bool eps_inside);
/* softmax(q k^T / sqrt(d)) v of packed [q heads, k heads, v heads], (b n 3*h*d) -> (b n h*d), heads side by
 * side. */
node *op_attention(node *qkv, int heads);
/* Routing of a MoE layer, logits (b n s): disp = softmax over n of logits / t_disp + noise, comb =
 * 1.5-entmax (or softmax) over s of logits / t_comb + noise. Temperatures are numbers; noise like logits, or
 * NULL: it gets no gradient. */
struct routing { node *disp, *comb; };
struct routing op_route(node *logits, node *t_disp, node *t_comb, node *noise, bool entmax);
/* For fuse/: is it the gradient of a side, whose launch can add it to one more operand, the first? */
bool route_takes_past(const node *n);
extern const op attention_op;
void attention_key(const node *n, char key[64]);  /* as matmul_key */
int  attention_heads(const node *n);

node *op_sum_to(node *x, struct shape s);         /* sums the axes that are 1 in s, or missing at its front */
node *op_sum(node *x, int axis);                  /* keeps the axis, with length 1 */
node *op_mean(node *x);                           /* of everything -> scalar */
extern const op sum_op;
/* Does it add up all rows of `cols` values, in each of `batches`? */
bool  op_sums_rows(const node *n, i64 batches, i64 cols);

/* count(s) elements from `offset` on; no copy if that is aligned. */
node *op_view(node *x, i64 offset, struct shape s);
node *op_reshape(node *x, struct shape s);                  /* one axis may be -1 */
node *op_permute(node *x, const int *order);                /* axis i of the result is axis order[i] of x */
#define op_transpose(x, ...) op_permute(x, (int[]){ __VA_ARGS__ })
node *op_slice(node *x, int axis, i64 from, i64 count);
node *op_pad(node *x, int axis, i64 before, i64 total);     /* zeros around: the adjoint of slice */
node *op_concat(node *a, node *b, int axis);
extern const op view_op, pad_op, permute_op;
/* For fuse/. If the 1-d pads a and b are the two parts of one array, `at` (the later of them) becomes
 * their concatenation; n becomes a view of all of x. */
bool  op_become_concat(node *at, node *a, node *b);
void  op_become_view(node *n, node *x);
/* n shows permute's result from `offset` on, as (matrices rows cols). Where these lie evenly in what is
 * permuted it becomes an alias of that, which only products may read: `at`, `row` and `matrix` of
 * op_strided say where in elements. */
bool  op_become_strided(node *n, const node *permute, i64 offset);
struct strided_view { i64 at, row, matrix; };
const struct strided_view *op_strided(const node *n);       /* NULL: n is none */

/* logits (b k), target (b k) rows that sum to 1 -> (b): -sum_k t' log softmax, with the smoothed
 * t' = t (1 - smoothing) + smoothing / k. */
node *op_cross_entropy(node *logits, node *target, f32 smoothing);

/* On whole slabs. No gradient passes, and none is dropped as dead (OP_EFFECT). Sizes in elements.
 * op_square_sum: sum of squares -> scalar. */
#define ADAMW_BLOCK 1024                          /* elements that share a learning rate and a decay */
struct adamw_args {
    range p, g, m, v, groups;                     /* groups: float2 (lr scale, weight decay) a block */
    i64 count;
    f64 beta1, beta2;
    f32 eps, clip;
};
node *op_square_sum(graph *g, range x, i64 count);
/* AdamW (Loshchilov and Hutter 2019) as torch: decay first, then the step; gradients scaled by
 * STEP_GRAD_SCALE and clipped to global norm `clip` (0: off), square_sum being that of all gradients. */
void  op_adamw(node *square_sum, const struct adamw_args *a);
/* The scale of a loss that was multiplied with state.scale: after square_sum, before op_adamw, whose step
 * words it corrects: gradients are divided by the scale; one that is not finite halves it, and its step is
 * skipped; `grow` good steps double it. */
struct loss_scale { f32 scale; u32 good, skipped, taken; f32 square; };    /* on the device; square: of the norm
                                                                                 of the last gradient taken */
struct loss_scale_args { range state; f64 beta1, beta2; i32 grow; };
#define LOSS_SCALE_START 65536.0f
#define LOSS_SCALE_MOST  16777216.0f
#define LOSS_SCALE_GROW  2000
void  op_loss_scale(node *square_sum, const struct loss_scale_args *a);
void  op_add_into(graph *g, range sum, range x, i64 count);        /* sum += x, enqueued at this place */
void  op_blend_into(graph *g, range mean, range x, i64 count, f32 keep);   /* mean = keep mean + (1-keep) x */

/* Activation statistics of x (images ... channels), added up over steps into memory of the caller's, zeroed
 * at first. state, stats_state_words() floats: for each channel sum |x|, its rounding, sum x^2, its rounding,
 * sum of the batches' sqrt(sum x^2), its rounding, and how often x > limit, as u32. together, channels^2 u32
 * or none: how often two channels are above it in one row, for pairs i <= j. job, I32: how many images are
 * real, and whether they end a batch (then x^2 starts again). The limit: 0, or of each image, or of all of a
 * step's, a percentile (in 10^-6 per cent) or mean + std. */
enum stats_limit { STATS_ZERO, STATS_PERCENTILE, STATS_MEAN_STD };
struct stats_args { range state, together; enum stats_limit limit; bool by_image; int percentile; };
void  op_stats(node *x, node *job, const struct stats_args *s);
i64   stats_state_words(i64 channels);

/* Depthwise convolution of (b h w c), weight (c 1 kh kw), bias (c); stride 1, zero padding, the same size. */
node *op_depthwise(node *x, node *w, node *b);

#endif
