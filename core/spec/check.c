/* check.c: keys against each other. What a single value may be stands in its row of keys.def. */
#include "spec/key.h"
#include <signal.h>

static int check_vit(const struct spec *s)
{
    for (int i = 0; i < s->model.image.n; i++)
        if (s->model.image.v[i] % s->model.patch)
            return spec_fail(s, "model.image", "an image side of %d is not a multiple of model.patch %d",
                             s->model.image.v[i], s->model.patch);
    if (s->model.dim % s->model.heads)
        return spec_fail(s, "model.heads", "%d heads do not divide model.dim %d", s->model.heads,
                         s->model.dim);
    if (s->model.pool == POOL_token && !s->model.class_token)
        return spec_fail(s, "model.pool", "pool: token needs class_token: on");
    if (s->model.dist_token != DISTILL_off && !s->model.class_token)
        return spec_fail(s, "model.dist_token", "dist_token needs class_token: on");
    if (s->model.dist_token == DISTILL_head && (s->model.pool == POOL_avg || s->model.pool == POOL_norm_avg))
        return spec_fail(s, "model.dist_token", "dist_token: head needs pool: token");
    return 0;
}

static int check_convnext(const struct spec *s)
{
    if (s->model.depths.n != s->model.dims.n)
        return spec_fail(s, "model.depths", "%d depths but %d dims", s->model.depths.n, s->model.dims.n);
    int least = 4 << (s->model.dims.n - 1);
    for (int i = 0; i < s->model.image.n; i++)
        if (s->model.image.v[i] < least)
            return spec_fail(s, "model.image", "%d stages need an image of at least %d pixels a side",
                             s->model.dims.n, least);
    return 0;
}

/* Stages of the network with at least one MoE block; a ViT is one stage. */
static int moe_stages(const struct spec *s, bool convnext)
{
    int stages = 0, from = 0;
    for (int stage = 0; stage < (convnext ? s->model.depths.n : 1); stage++) {
        int to = from + (convnext ? s->model.depths.v[stage] : s->model.depth);
        bool any = false;
        for (int i = 0; i < s->model.moe.layers.n; i++)
            any |= s->model.moe.layers.v[i] >= from && s->model.moe.layers.v[i] < to;
        stages += any;
        from = to;
    }
    return stages;
}

static int check_moe(const struct spec *s, bool convnext)
{
    int depth = convnext ? 0 : s->model.depth;
    for (int i = 0; convnext && i < s->model.depths.n; i++)
        depth += s->model.depths.v[i];
    for (int i = 0; i < s->model.moe.layers.n; i++)
        if (s->model.moe.layers.v[i] >= depth)
            return spec_fail(s, "model.moe.layers", "layer %d of a model with %d blocks, counted from 0",
                             s->model.moe.layers.v[i], depth);
    if (!s->model.moe.layers.n)
        return 0;
    const counts *experts[] = { &s->model.moe.core, &s->model.moe.universal };
    const char *keys[] = { "model.moe.core", "model.moe.universal" };
    int stages = moe_stages(s, convnext);
    for (int i = 0; i < 2; i++) {
        if (experts[i]->n != 1 && experts[i]->n != stages)
            return spec_fail(s, keys[i], "%d values, but MoE blocks are in %d stage%s", experts[i]->n, stages,
                             stages > 1 ? "s" : "");
        for (int j = 0; i && j < experts[i]->n; j++)
            if (experts[i]->v[j] && s->model.moe.kind != MOE_sphero)
                return spec_fail(s, keys[i], "universal experts require kind: sphero");
    }
    for (int j = 0; j < stages; j++)
        if (!list_at(*experts[0], j) && !list_at(*experts[1], j))
            return spec_fail(s, keys[0], "no experts at all");
    if (s->model.moe.multi_head && convnext)
        return spec_fail(s, "model.moe.multi_head", "a ConvNeXt has no attention heads");
    if (s->model.moe.input_as_phi && (s->model.moe.multi_head || s->model.moe.kind != MOE_sphero))
        return spec_fail(s, "model.moe.input_as_phi", "requires kind: sphero without multi_head");
    return 0;
}

/* Mean and std of pixels. Other programs give fractions. */
static int check_pixels(const struct spec *s)
{
    const struct { const char *key; reals v; } given[] = {
        { "data.mean", s->data.mean }, { "data.std", s->data.std },
        { "recycle.from.mean", s->recycle.from.mean }, { "recycle.from.std", s->recycle.from.std } };
    for (int i = 0; i < countof(given); i++) {
        reals v = given[i].v;
        bool fractions = v.n > 0;
        for (int k = 0; k < v.n; k++)
            fractions = fractions && v.v[k] > 0 && v.v[k] < 1;
        if (v.n == 2)
            return spec_fail(s, given[i].key, "one value, or one for each of red, green, blue");
        if (fractions)
            return spec_fail(s, given[i].key, "pixels are from 0 to 255 here: multiply fractions by 255");
    }
    return 0;
}

static int check_recipe(const struct spec *s)
{
    if (s->train.accumulate > s->train.batch)
        return spec_fail(s, "train.accumulate", "a batch of %d cannot be split in %d", s->train.batch,
                         s->train.accumulate);
    if (s->augment.randaugment.n && s->augment.randaugment.n != 3)
        return spec_fail(s, "augment.randaugment",
                         "must be [operations, magnitude, its standard deviation] or off");
    if (s->augment.randaugment.n && (s->augment.randaugment.v[0] > 15 || s->augment.randaugment.v[1] > 10))
        return spec_fail(s, "augment.randaugment", "at most 15 operations of magnitude 10");
    if (s->recycle.from.dense[0] && !s->recycle.from.experts[0])
        return spec_fail(s, "recycle.from.dense", "nothing is recycled without recycle.from.experts");
    return 0;
}

static int check_signals(const struct spec *s)
{
    static const char *const known[] = { "INT", "TERM", "USR1", "USR2", "HUP" };
    for (int i = 0; i < s->signal.save_on.n; i++) {
        bool found = false;
        for (int j = 0; j < countof(known); j++)
            found |= !strcmp(s->signal.save_on.v[i], known[j]);
        if (!found)
            return spec_fail(s, "signal.save_on", "'%s' is not INT, TERM, USR1, USR2 or HUP",
                             s->signal.save_on.v[i]);
    }
    return 0;
}

static int check_shares(const struct spec *s)
{
    for (int i = 0; i < s->dist.shares.n; i++)
        if (s->dist.shares.v[i] < 0 && s->dist.shares.n > 1)
            return spec_fail(s, "dist.shares", "auto stands for all ranks: dist.shares: auto");
    return 0;
}

int spec_check(const struct spec *s)
{
    bool convnext = !strcmp(s->model.family, "convnext");
    if (convnext ? check_convnext(s) : check_vit(s))
        return -1;
    return check_moe(s, convnext) || check_recipe(s) || check_pixels(s) || check_signals(s) || check_shares(s)
           ? -1 : 0;
}
