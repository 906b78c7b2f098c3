/* model.h: the networks an experiment can name, built from nn's layers. One builder serves counting, training
 * and evaluation.
 *
 *     params *p = model_open(d, &spec, PARAMS_TRAIN);                   // from spec.model.init, else random
 *     struct nn m = { graph_new(d), p, .train = true };
 *     node *images = graph_input(m.g, "images", F32, model_images(&spec, 32));
 *     node *logits = model_build(&m, &spec, images);                    // (32 classes)
 *     model_save(p, &spec, "last.safetensors", &(struct model_about){ .classes = names, .n_classes = n });
 *
 * `make layers` checks that no file calls one that stands after it here:
 * Order: blocks arch read spheromoe vit convnext feed weights model count
 *
 * spec.model.classes is a number by now: the caller fills in what `auto` means. Axis letters: b images, n
 * tokens, d channels, h heads, e experts, s slots per expert.
 */
#ifndef JETCL_MODEL_H
#define JETCL_MODEL_H
#include "data/data.h"
#include "nn/nn.h"
#include "spec/spec.h"

/* A family of networks: (b 3 h w) -> logits (b classes). */
struct model { const char *name; node *(*build)(struct nn *m, const struct spec *s, node *images); };
#define MODEL(name) extern const struct model name##_model;
#include "model/models.def"
#undef MODEL

/* ---- blocks.c ------------------------------------------------------------------------------------------ */

struct shape model_images(const struct spec *s, i64 batch);       /* (b 3 height width) */
/* Blocks are counted through all stages from 0. Their scope: "blocks.3", "stages.1.blocks.0". */
int         model_depth(const struct spec *s);
const char *model_block(arena *a, const struct spec *s, int block);
/* What train.precision stores activations in: for a graph's `half`. */
enum dtype  model_precision(const struct spec *s);
/* d (or NULL) as the experiment asks for it, before anything is built for it. */
dev        *model_device(dev *d, const struct spec *s);
/* What its products round to on d: "fp32", "bf16", "fp16", or "tf32". */
const char *model_rounding(const struct spec *s, const dev *d);
/* What s->model.act names. */
node     *(*model_act(const struct spec *s))(node *);
/* Tokens before the patches: class, distillation, registers; and how many of them have a position. */
int         model_prefix(const struct spec *s, int *with_position);
/* A rate that rises linearly from 0 at the first block to `last` at the last one. */
f32         model_rate(const struct spec *s, f64 last, int block);

/* ---- model.c ------------------------------------------------------------------------------------------- */

/* The network of s->model on normalised images. Taps, to look inside (nn_find_tap): of every
 * block "block.<i>" (what it gives, as (b c h w) from a ConvNeXt), "<block>.norm2" (what its MLP reads, of a
 * ConvNeXt too) and "<block>.mlp" (what its MLP gives); for recycling "<block>.attn.proj.in" and
 * "<block>.mlp.act"; of MoE layers "<block>.mlp.dispatch" (b n e s), "<block>.mlp.combine" (b n (e s)) and
 * "<block>.mlp.experts" (e b s d), what each expert gives; of a ViT "<block>.attn.qkv" (b n 3d). */
node *model_build(struct nn *m, const struct spec *s, node *images);

/* grad_build of a loss over the network, as train.recompute says. */
void model_grad(const struct spec *s, node *loss, node *const *wrt, int n, node **out);

/* The parameters of s->model by name and shape, no memory taken. NULL + fail(FAULT_USAGE) when it
 * cannot be built. */
params *model_params(const struct spec *s);
/* The same with memory on d, and values: those of s->model.init if given; random ones from s->seed
 * for the rest. */
params *model_open(dev *d, const struct spec *s, enum params_use use);

/* ---- feed.c: batches of the loader into a network's input ---------------------------------------------- */

/* Where a batch lies on the device, and how it gets there: NULL, in the queue of the launches. */
struct feed_set { range pixels, recipes, values; upload *up; launches *list; };
struct feed {
    dev  *d;
    pool *memory;
    range images, noise;
    const void *noise_of;                         /* the table that the device has */
    struct feed_set set[2];                       /* in turns, where batches go up beside launches; else one */
    int   sets, next;
    i64   micro;                                  /* images of a micro-batch */
    int   h, w;
    bool  gathered;                               /* partners lie after the micro-batch's own images */
};
/* images: a compiled graph's input (micro 3 h w). whole: batches are never larger than it. 0, or -1 + fail. */
int  feed_open(struct feed *f, dev *d, const node *images, bool whole);
void feed_close(struct feed *f);
/* Images [from, from + n) of b, n <= micro, into the front of `images`, finished; whole: all of b.
 * Enqueued: b must stay until a later fence. Batches that erase are all of one loader, so the table of
 * noise goes up once. */
int  feed_batch(struct feed *f, const struct batch *b, i64 from, i64 n);
/* n images of noise with mean 0 and variance 1, mixed as the loader's are, and labels: for measurements. */
struct batch feed_noise(arena *a, const struct spec *s, int n, u64 seed);

/* ---- weights.c ----------------------------------------------------------------------------------------- */

/* To start from: fills p from any checkpoint (ckpt.h) and says on stderr what became of it, and in a warning
 * what starts at random. 0, or -1 + fail: FAULT_DATA, FAULT_NUMBERS for a value that is not a number. */
int model_load(params *p, const struct spec *s, const char *path, bool ema);
/* To use: the same from c (ckpt_open_model's), but refused unless every parameter is in it. take, where given,
 * gets each parameter's values in place of the device, and p needs no memory; they are gone after its call. */
typedef int model_take(void *arg, const struct param *x, const f32 *values);
int model_load_whole(params *p, const struct spec *s, ckpt *c, model_take *take, void *arg);
/* Fills in model.pool: auto, and model.heads, model.norm_eps and model.act as the file has them unless the
 * experiment says. */
void model_settle(struct spec *s, const ckpt *c);

/* How ckpt_load fits a file to this model. */
struct load_options model_load_options(const struct spec *s);

/* What a checkpoint tells besides its weights. `more`: further key, value, ..., NULL; NULL for none. */
struct model_about {
    const char *const *classes;
    int n_classes;
    const f64 *mean, *std;
    const char *const *more;
};
/* Writes it into c's metadata, with the experiment. */
void  model_describe(ckpt *c, const struct spec *s, arena *a, const struct model_about *about);
int   model_save(const params *p, const struct spec *s, const char *path, const struct model_about *about);

/* ---- read.c: which model a checkpoint holds (c: ckpt_open_model's) ------------------------------------- */

/* The text of an experiment file: the one the model was saved with, less device and threads; else what the
 * shapes of its tensors say. NULL + fail(FAULT_DATA) when they are not those of a model here. *guessed:
 * nothing says which mean and std its images had. *heads_known: a ViT's heads leave no trace in shapes; the
 * text then says 1. */
const char *model_experiment_text(const ckpt *c, arena *a, bool *guessed, bool *heads_known);
/* How many classes it has and their names in index order: its metadata's, else ImageNet's for a thousand,
 * else NULL. 0 classes without a head; -1 + fail(FAULT_DATA) when metadata and head contradict each other. */
int         model_classes(const ckpt *c, arena *a, const char *const **names);

/* ---- arch.c -------------------------------------------------------------------------------------------- */

/* The dense network in c (ckpt_model's) into s->model: family, sizes, options, classes (0: no head), the
 * image that its position embedding is for. heads is 0 when nothing says it; pool, of two final norms, and an
 * unknown activation stay what s says. Lists lie in a. 0, or -1 +
 * fail(FAULT_DATA). */
int         model_read(struct spec *s, const ckpt *c, arena *a);
/* Outputs of its head, 0 without one. */
int         model_head(const ckpt *c);
/* Attention heads, which leave no trace in shapes: the metadata's, or 0; else those of the published ViT of
 * that width, or 0. */
int         model_heads_said(const ckpt *c);
int         model_heads(const ckpt *c, int dim);
/* The word of model.pool for a ViT with or without a class token: as the file says, else as its norms tell. */
int         model_pool(const ckpt *c, bool class_token);
/* Two final norms, `norm` and `fc_norm`: which of them the head reads only the experiment can say. */
bool        model_two_norms(const ckpt *c);
/* A file whose activation nothing tells, and an experiment that does not say it either. */
bool        model_act_unknown(const struct spec *s, const ckpt *c);
/* What an experiment file says of such a model: "arch: vit, image: 224, patch: 16, ...". */
const char *model_lines(arena *a, const struct spec *s);

/* ---- spheromoe.c --------------------------------------------------------------------------------------- */

/* How one MoE layer differs from the others; everything else is in spec.model.moe. */
struct moe {
    int core, universal, heads;
    f32 expert_drop;
    const char *experts;                          /* scope its experts are under; NULL: this one */
};
/* What the experiment says of a block, counted through all stages; false: a dense one. */
bool  moe_of_block(arena *a, const struct spec *s, int block, struct moe *out);
/* s with fewer blocks, of the same kernels at the same sizes: of each row of equal blocks in a stage two, and
 * so many more as share their experts. Lists lie in a. */
struct spec moe_shortened(arena *a, const struct spec *s);
/* (b n d) -> (b n d). For analysis "silence" (e 1 1), given by nn_give, multiplies what experts give. Random
 * tensors (nn_give): "noise" ((h b) n (e s)), "expert_drop" (1 or e, b, 1), and after "core_experts.",
 * "univ_experts.", "experts.": "drop1" (e (b s) hidden), "drop2" (e (b s) d). */
node *moe_layer(struct nn *m, const struct spec *s, const struct moe *l, node *x);

/* ---- count.c ------------------------------------------------------------------------------------------- */

/* One layer: a block, or what stands before and after them. Multiply-adds are for one image. */
struct model_layer {
    const char *name, *experts;                   /* "98 + 196", NULL for a dense one */
    i64 params;                                   /* its own: shared experts count in their first layer */
    f64 macs, attention;                          /* all multiply-adds; those of attention's two products */
    u64 eval_bytes;                               /* most activation memory while it computes, evaluating */
    u64 kept_bytes;                               /* what it leaves for the backward pass, training */
};
struct model_count {
    int n;
    struct model_layer *layer;
    i64 params;
    f64 macs, paper_macs;                         /* all; without attention's products, as the paper counts */
    int eval_batch, train_batch;                  /* images that are in memory at once */
    u64 eval_bytes, train_bytes;                  /* activations and input, as planned for them */
    u64 weight_bytes, state_bytes;                /* weights; weights, gradients and both moments */
};
/* Without a device, from the same graphs that would run; memory is that of one of `ranks`, which share state as
 * dist.shard says. 0, or -1 + fail(FAULT_USAGE). */
int model_count(arena *a, const struct spec *s, int ranks, int train_batch, int eval_batch,
                struct model_count *out);
/* Before params_open: who keeps what of `ranks`, by dist.shard. */
void model_shard(params *p, const struct spec *s, int rank, int ranks);

#endif
