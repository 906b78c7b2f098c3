/* optim.c: which learning rate and decay each parameter has, and the graph of the update.
 *
 * The rule is the released code's, which looks for substrings in names: layers are counted from the
 * embeddings (0) to head and experts (depth + 1); a parameter's rate is layer_decay^(layers above it).
 */
#include "train/learner.h"
#include <math.h>
#include <stdlib.h>

static bool optim_has(const char *name, const char *part) { return strstr(name, part) != NULL; }

/* Index after "blocks." or "stages.", or -1. */
static int index_after(const char *name, const char *word)
{
    const char *p = strstr(name, word);
    return p ? atoi(p + strlen(word)) : -1;
}

static bool is_moe_norm2(const struct spec *s, const char *name)
{
    char part[64];
    for (int i = 0; i < s->model.moe.layers.n; i++) {
        snprintf(part, sizeof part, "blocks.%d.norm2.", s->model.moe.layers.v[i]);
        if (text_starts(name, part))
            return true;
    }
    return false;
}

/* The released code has the blocks 6..11 of its own model written into the rule, as substrings. */
static bool is_released_norm2(const char *name)
{
    char part[64];
    for (int i = 6; i <= 11; i++) {
        snprintf(part, sizeof part, "%d.norm2.", i);
        if (optim_has(name, part))
            return true;
    }
    return false;
}

static bool is_top(const struct spec *s, const char *name)
{
    static const char *const inside[] = { "phi", "scale", "slot", "experts" };
    for (int i = 0; i < countof(inside); i++)
        if (optim_has(name, inside[i]))
            return true;
    if (text_ends(name, "mlp.mu"))
        return true;
    return s->optim.groups == GROUPS_released ? is_released_norm2(name) : is_moe_norm2(s, name);
}

/* ConvNeXt as mmpretrain groups it: stem 0, the third stage in groups of three blocks, 12 layers (6 when
 * it is short). */
static int convnext_layer(const struct spec *s, const char *name, int *layers)
{
    int stage = index_after(name, "stages."), block = index_after(name, ".blocks.");
    int third = s->model.depths.n >= 2 ? s->model.depths.v[s->model.depths.n - 2] : 0;
    int last = third > 9 ? 12 : 6;
    *layers = last + 2;
    if (text_starts(name, "stem"))
        return 0;
    if (stage < 0)
        return last + 1;
    if (optim_has(name, "downsample"))
        return stage == 0 ? 0 : stage == 3 ? last : stage + 1;
    return stage < 2 ? stage + 1 : stage == 2 ? 3 + block / 3 : last;
}

static int vit_layer(const struct spec *s, const char *name, int *layers)
{
    *layers = s->model.depth + 2;
    int block = index_after(name, "blocks.");
    static const char *const first[] = { "cls_token", "dist_token", "reg_token", "pos_embed", "patch_embed",
                                         "norm_pre" };
    for (int i = 0; i < countof(first); i++)
        if (text_starts(name, first[i]))
            return 0;
    return block >= 0 ? block + 1 : *layers - 1;
}

static bool optim_is_norm(const char *name, int nd)
{
    return nd == 1 && (optim_has(name, "norm") || text_starts(name, "stem.1.")
                        || optim_has(name, "downsample.0."));
}

static f64 decay_of(const struct spec *s, const char *name, int nd)
{
    if (text_ends(name, "pos_embed") || optim_has(name, "mlp.scale"))
        return 0;
    if (s->optim.groups == GROUPS_released && optim_has(name, ".mlp.slot_norm"))
        return s->optim.weight_decay;             // a rule of their own replaces the one for norms
    return optim_is_norm(name, nd) || text_ends(name, ".bias") ? 0 : s->optim.weight_decay;
}

struct group optim_group(const struct spec *s, const char *name, int nd)
{
    bool convnext = !strcmp(s->model.family, "convnext");
    int layers, layer = (convnext ? convnext_layer : vit_layer)(s, name, &layers);
    if (is_top(s, name))
        layer = layers - 1;
    return (struct group){ pow(s->optim.layer_decay, layers - 1 - layer), decay_of(s, name, nd), layer };
}

/* ---- the update ---------------------------------------------------------------------------------------- */

/* A row (lr scale, weight decay) per block of what is updated here of slab k. */
static range write_table(const struct spec *s, const params *p, int k, pool *memory)
{
    const struct param_slab *slab = &p->slabs[k];
    arena *a = arena_open("parameter groups");
    i64 blocks = CEIL_DIV(slab->owned, (i64)ADAMW_BLOCK), skip = slab->first / ADAMW_BLOCK;
    f32 *table = arena_array(a, f32, 2 * blocks);
    for (size_t i = 0; i < p->n; i++) {
        const struct param *x = &p->list[i];
        struct group group = optim_group(s, x->name, x->shape.nd);
        i64 n = CEIL_DIV(shape_count(x->shape), (i64)ADAMW_BLOCK), first = x->offset / ADAMW_BLOCK;
        for (i64 b = MAX(first - skip, 0); x->slab == k && b < MIN(first + n - skip, blocks); b++) {
            table[2 * b] = (f32)group.lr_scale;
            table[2 * b + 1] = (f32)group.weight_decay;
        }
    }
    range r = pool_take(memory, 8 * (u64)blocks);
    if (r.mem && mem_write(p->d, (range){ r.mem, r.off, 8 * (u64)blocks }, table))
        r = RANGE_NONE;
    arena_close(a);
    return r;
}

/* Before the updates, which read what it finds out. */
static int open_scale(struct optim *o, const struct spec *s, dev *d, node *sum)
{
    const struct loss_scale start = { .scale = LOSS_SCALE_START };
    o->scale = pool_take(o->memory, sizeof start);
    o->scale.bytes = sizeof start;
    if (!o->scale.mem || mem_write(d, o->scale, &start))
        return -1;
    op_loss_scale(sum, &(struct loss_scale_args){ o->scale, s->optim.betas.v[0], s->optim.betas.v[1],
                                                  LOSS_SCALE_GROW });
    return 0;
}

/* Of a slab's values those that are updated here. */
static range owned_values(const struct param_slab *b)
{
    u64 size = dtype_bytes(F32);
    return (range){ b->value.mem, b->value.off + size * (u64)b->first, size * (u64)b->owned };
}

/* The sum of squares of the gradients that are updated here. */
static int optim_norm(struct optim *o, const params *p)
{
    node *sum = NULL;
    o->norm = pool_take(o->memory, 4);
    o->norm.bytes = 4;
    if (!o->norm.mem || mem_fill(p->d, o->norm, 0))
        return -1;
    for (int k = 0; k < p->n_slabs; k++) {
        const struct param_slab *b = &p->slabs[k];
        node *part = b->owned ? op_square_sum(o->squares, params_own_grad(p, b), b->owned) : NULL;
        sum = sum && part ? op_add(sum, part) : part ? part : sum;
    }
    if (!sum)
        return 0;
    simplify_place(sum, o->norm);
    simplify_graph(o->squares);
    return graph_compile(o->squares);
}

int optim_open(struct optim *o, const struct spec *s, params *p)
{
    *o = (struct optim){ .g = graph_new(p->d), .squares = graph_new(p->d),
                         .memory = pool_new(p->d, "optimiser") };
    if (optim_norm(o, p))
        return -1;
    node *sum = graph_fixed(o->g, "norm", F32, SCALAR, o->norm);
    if (s->train.precision == PRECISION_fp16 && open_scale(o, s, p->d, sum))
        return -1;
    o->owns = s->train.precision == PRECISION_fp16;        // every rank counts its steps
    for (int k = 0; k < p->n_slabs; k++) {
        struct param_slab *b = &p->slabs[k];
        if (!b->owned)
            continue;
        o->owns = true;
        range table = write_table(s, p, k, o->memory);
        if (!table.mem)
            return -1;
        op_adamw(sum, &(struct adamw_args){ owned_values(b), params_own_grad(p, b), b->m, b->v, table,
                                            b->owned, s->optim.betas.v[0], s->optim.betas.v[1],
                                            (f32)s->optim.eps, (f32)s->train.clip_norm });
    }
    simplify_graph(o->g);
    return graph_compile(o->g);
}

void optim_close(struct optim *o)
{
    graph_free(o->g);
    graph_free(o->squares);
    if (o->memory)
        pool_free(o->memory);
    *o = (struct optim){ 0 };
}
