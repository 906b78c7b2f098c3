/* predecessor.c: a dense checkpoint as a network that runs: its sizes are read off its tensors, its image
 * size off its position embedding, the normalisation of its images off its metadata. */
#include "recycle/stage.h"
#include <math.h>

static bool predecessor_has(const struct predecessor *p, const char *name)
{
    return ckpt_find(p->c, name) != NULL;
}

static counts pair(arena *a, int x, int y)
{
    int *v = arena_array(a, int, 2);
    v[0] = x;
    v[1] = y;
    return (counts){ 2, v };
}

/* Patches are squares; the grid is in the metadata, or square. */
static int vit_image(struct predecessor *p, arena *a)
{
    const tensor *patch = ckpt_find(p->c, "patch_embed.proj.weight"), *pos = ckpt_find(p->c, "pos_embed");
    const char *says = ckpt_meta(p->c, "grid");
    int rows = 0, columns = 0;
    if (!patch || patch->nd != 4 || patch->shape[3] < 1 || patch->shape[3] > 4096 || !pos || pos->nd < 2)
        return fail(FAULT_DATA, "%s: no patch_embed.proj.weight of four axes, or no pos_embed", p->path);
    p->s.model.patch = (int)patch->shape[3];
    p->s.model.class_token = predecessor_has(p, "cls_token");
    i64 tokens = pos->shape[pos->nd - 2] - p->s.model.class_token;
    if (!says || sscanf(says, "%d %d", &rows, &columns) != 2 || (i64)rows * columns != tokens)
        rows = columns = (int)lround(sqrt((f64)tokens));
    if (rows < 1 || (i64)rows * columns != tokens)
        return fail(FAULT_DATA, "%s: pos_embed has %lld positions, which is not a square",
                    p->path, (long long)tokens);
    p->s.model.image = pair(a, rows * p->s.model.patch, columns * p->s.model.patch);
    return 0;
}

static void size_vit(struct predecessor *p)
{
    p->s.model.family = "vit";
    p->s.model.dim = p->n.block->dim;
    p->s.model.depth = p->n.depth;
    p->s.model.heads = p->n.heads;
    p->s.model.pool = predecessor_has(p, "fc_norm.weight") || !p->s.model.class_token ? POOL_avg : POOL_token;
    p->s.model.qkv_bias = predecessor_has(p, "blocks.0.attn.qkv.bias");
    p->s.model.layer_scale = predecessor_has(p, "blocks.0.ls1.gamma");
}

static void size_convnext(struct predecessor *p, arena *a)
{
    int *depths = arena_array(a, int, p->n.stages), *dims = arena_array(a, int, p->n.stages), side = 0;
    for (int l = 0; l < p->n.depth; l++) {
        depths[p->n.block[l].stage]++;
        dims[p->n.block[l].stage] = p->n.block[l].dim;
    }
    p->s.model.family = "convnext";
    p->s.model.depths = (counts){ p->n.stages, depths };
    p->s.model.dims = (counts){ p->n.stages, dims };
    p->s.model.layer_scale = predecessor_has(p, "stages.0.blocks.0.gamma");
    const char *says = ckpt_meta(p->c, "image");
    if (says && sscanf(says, "%d", &side) == 1 && side > 0 && side <= 4096)
        p->s.model.image = pair(a, side, side);
}

/* Three numbers: what the experiment says, else the metadata, else a constant (0: the data set's own). */
static reals three(const struct predecessor *p, reals given, const char *key, f64 otherwise, arena *a)
{
    f64 v[3] = { otherwise, otherwise, otherwise };
    const char *says = ckpt_meta(p->c, key);
    if (given.n)
        return given;
    if ((!says || sscanf(says, "%lf %lf %lf", &v[0], &v[1], &v[2]) != 3) && !otherwise)
        return (reals){ 0 };
    f64 *copy = arena_array(a, f64, 3);
    memcpy(copy, v, sizeof v);
    return (reals){ 3, copy };
}

int predecessor_open(struct predecessor *p, const struct spec *s, const char *path, arena *a)
{
    *p = (struct predecessor){ .path = path, .s = *s };
    p->c = ckpt_open_model(path, false);
    if (!p->c || anatomy_of_ckpt(p->c, a, &p->n) || file_sha256(path, p->sha256))
        return -1;
    if (s->recycle.from.heads && !strcmp(path, s->recycle.from.experts))
        p->n.heads = s->recycle.from.heads;
    const char *file = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    f64 augreg = strstr(file, "augreg") || text_ends(file, ".npz") ? 127.5 : 0;       // trained on [-1, 1]
    p->s.data.mean = three(p, s->recycle.from.mean, "mean", augreg, a);
    p->s.data.std = three(p, s->recycle.from.std, "std", augreg, a);
    p->s.model.init = path;
    p->s.model.init_ema = false;
    p->s.model.strict = true;
    p->s.model.arch = file;
    p->s.model.classes = MAX(p->n.classes, 1);
    p->s.model.moe.layers = (counts){ 0 };
    p->s.model.mlp_ratio = (f64)p->n.block->hidden / p->n.block->dim * (1 + 1e-9);  // the builder rounds down
    p->s.eval.crop = s->recycle.crop > 0 ? s->recycle.crop : s->eval.crop;
    if (p->n.convnext)
        size_convnext(p, a);
    else
        size_vit(p);
    return p->n.convnext ? 0 : vit_image(p, a);
}

int predecessor_load(struct predecessor *p, dev *d)
{
    if (!p->n.convnext && (p->n.heads <= 0 || p->n.block->dim % p->n.heads))
        return fail(FAULT_USAGE, "%s does not say how many attention heads it has (recycle.from.heads), a "
                    "divisor of %d", p->path, p->n.block->dim);
    return p->p || (p->p = model_open(d, &p->s, PARAMS_FORWARD)) ? 0 : -1;
}

void predecessor_close(struct predecessor *p)
{
    params_free(p->p);
    ckpt_close(p->c);
    *p = (struct predecessor){ 0 };
}
