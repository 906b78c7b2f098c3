/* nn.h: named parameters and the layers models are made of.
 *
 *     params *p = params_new();
 *     struct nn m = { graph_new(NULL), p };                  // without a device: parameters are registered
 *     model_build(&m, spec, batch);  params_open(p, d, PARAMS_TRAIN);  params_init(p, seed);
 *     struct nn t = { graph_new(d), p, .train = true };      // then any number of graphs on them
 *     node *y = nn_linear(&t, x, "fc1", 768, true);          // parameters "<scope>.fc1.weight" and ".bias"
 *
 * A parameter's name is its checkpoint key, verbatim: the graph's scope plus its own. Weights are (out,
 * in), as in torch.
 *
 * `make layers` checks that no file calls one that stands after it here:
 * Order: params init layers
 */
#ifndef JETCL_NN_H
#define JETCL_NN_H
#include "fuse/fuse.h"
#include "ckpt/ckpt.h"
#include "dist/dist.h"

/* ---- params.c ------------------------------------------------------------------------------------------ */

/* How a parameter starts; `scale` is the standard deviation, the bound or the constant. */
enum init_kind { INIT_CONSTANT, INIT_NORMAL, INIT_TRUNC_NORMAL /* cut at 2 units, as timm */, INIT_UNIFORM,
                 INIT_ORTHOGONAL };
struct init { enum init_kind kind; f32 scale; };

struct param {
    const char  *name;
    struct shape shape;
    struct init  init;
    i64          offset;                          /* elements into its slab; a multiple of ADAMW_BLOCK */
    int          slab;
    range        value, grad;
    bool         loaded;                          /* came from a checkpoint */
};

/* Parameters follow one another in as few slabs as allocations allow; gradients alike. Moments are there of
 * `owned` elements from `first` on: all, or in a job that shards them what this rank updates; of gradients the
 * same with shard_grads. */
struct param_slab { i64 count, first, owned; range value, grad, m, v; };

typedef struct {
    arena        *a;
    struct param *list;
    size_t        n, cap;
    struct name_table names;                      /* 1 + position in list */
    i64           total;                          /* elements of all parameters */
    dev          *d;                              /* NULL until params_open */
    struct param_slab *slabs;
    int           n_slabs;
    pool         *values, *grads, *ms, *vs;
    int           shard, shards;             /* before params_open: which part has moments here; 0 of 0: all */
    bool          shard_grads;               /* the same: gradients, too, are only kept of this part */
    int           laid_for;                  /* the same: shards that the layout spreads layers over; 0: none */
    int          *order;                     /* of the list, in memory */
} params;

enum params_use { PARAMS_FORWARD, PARAMS_GRAD, PARAMS_TRAIN /* with moments, zeroed */ };

params *params_new(void);
void    params_free(params *p);
/* Where shard r of n begins and ends, in elements of all slabs one after the other. */
void    params_shard(const params *p, int r, int n, i64 *from, i64 *to);
/* The gradients of slab b that are updated here. */
range   params_own_grad(const params *p, const struct param_slab *b);
int     params_open(params *p, dev *d, enum params_use use);       /* takes device memory; 0 or -1 + fail */
/* The same parameters with values of their own, which begin as p's: no gradients, no moments. what: their name
 * among the device's memory. Names stay p's, which must outlive it. NULL + fail. */
params *params_twin(const params *p, const char *what);
/* Memory params_open would take. */
u64     params_bytes(const params *p, enum params_use use);
/* Its initial values for a seed; a is for scratch. */
void    param_start(const struct param *x, u64 seed, f32 *v, arena *a);
/* Random start of every parameter that was not loaded: a function of (seed, its name), whatever the
 * order. 0 or -1. */
int     params_init(params *p, u64 seed);
struct param *params_find(const params *p, const char *name);      /* NULL when absent */
int     params_read(const params *p, const struct param *x, f32 *out);
int     params_write(params *p, struct param *x, const f32 *values);
/* Adds every parameter to a checkpoint. Values are read when it is saved, one tensor at a time. */
void    params_save(const params *p, ckpt *c, arena *a);
/* The same with what lies at r in x's shape (a moment, say), under prefix + x's name. */
void    param_save(const params *p, const struct param *x, range r, ckpt *c, arena *a, const char *prefix);

/* ---- layers.c ------------------------------------------------------------------------------------------ */

struct tap { const char *name; node *n; };
struct nn {
    graph      *g;
    params     *p;
    bool        train;                            /* dropout, noise and drop path are drawn */
    i64         batch;                            /* samples, each with its own draws; 0: draws go by place */
    struct tap *taps;                             /* named activations, for probe, recycling and analysis */
    size_t      n_taps, cap_taps;
    struct tap *given;                            /* nn_give's */
    size_t      n_given, cap_given;
    /* Told of each tap while its neighbours are built, for nodes that must run there (recycling's
     * statistics). */
    void      (*on_tap)(void *who, const char *name, node *n);
    void       *who;
};

node *nn_param(struct nn *m, const char *name, struct shape s, struct init init);
node *nn_node(const struct nn *m, const char *full);               /* the parameter's node; NULL: unused */
/* Records n under "<scope>.<name>" and returns it. */
node *nn_tap(struct nn *m, node *n, const char *name);
node *nn_find_tap(const struct nn *m, const char *name);           /* NULL when absent */

/* The random tensor of that full name is n instead of a drawn one: noise of standard deviation 1, or a
 * mask that is divided by its keep already. So the draws of another framework can be injected. Before the
 * model is built. */
void  nn_give(struct nn *m, const char *name, node *n);
/* The random tensor "<scope>.<name>": what was given, else drawn; NULL: neither (rate 0, or not training).
 * together: how many rows in a row belong to one sample. */
node *nn_mask(struct nn *m, const char *name, struct shape s, i64 together, f32 rate); /* 1/(1-rate) or 0 */
/* N(0, std^2) */
node *nn_noise(struct nn *m, const char *name, struct shape s, i64 together, f32 std, bool always);

node *nn_linear(struct nn *m, node *x, const char *name, i64 out, bool bias);      /* (... in) -> (... out) */
node *nn_layernorm(struct nn *m, node *x, const char *name, f32 eps);
/* Of single elements, and of whole samples (axis 0; Huang et al. 2016); neither unless training. */
node *nn_dropout(struct nn *m, node *x, const char *name, i64 together, f32 rate);
node *nn_drop_path(struct nn *m, node *x, const char *name, f32 rate);
node *nn_scale(struct nn *m, node *x, const char *name, f32 start);                /* x gamma, per channel */
node *nn_attention(struct nn *m, node *x, int heads, bool qkv_bias);               /* taps "qkv", "proj.in" */
/* fc2(act(fc1(x))); tap "act". grn: global response normalisation after it (Woo et al. 2023). */
node *nn_mlp(struct nn *m, node *x, i64 hidden, node *(*act)(node *), bool grn);
/* Mean over tokens from `skip` on, (b n d) -> (b d). If x is a residual stream plus a branch, the branch's
 * last products, biases and scales are computed from means: sums in another order, n times fewer. */
node *nn_mean_tokens(node *x, i64 skip);
/* (b 3 h w) -> (b h/p*w/p dim): a convolution whose stride is its kernel, as a product. The weight starts as
 * `init` says and the bias at zero; NULL: both uniform in +-1/sqrt(inputs), torch's default for a
 * convolution. */
node *nn_patches(struct nn *m, node *images, const char *name, int patch, i64 dim, bool bias,
                 const struct init *init);

#endif
