/* predecessor.c: a dense checkpoint as a network that runs: its sizes are read off its tensors, the
 * normalisation of its images off its metadata. It sees images of the successor's size, or of
 * recycle.image: its position embedding is resampled for them. */
#include "recycle/stage.h"

/* Three numbers: what the experiment says, else the metadata, else a constant (0: the data set's own). */
static reals predecessor_three(const struct predecessor *p, reals given, const char *key, f64 otherwise,
                               arena *a)
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

/* recycle.image where activations are measured, else the successor's size, for a ViT the next multiple of
 * its patch. */
static int predecessor_see(struct predecessor *p, const struct spec *s, arena *a)
{
    int given = strcmp(p->path, s->recycle.from.experts) ? 0 : s->recycle.image;
    int patch = p->n.convnext ? 1 : p->s.model.patch, n = given ? 1 : s->model.image.n;
    if (given % patch)
        return spec_fail(s, "recycle.image", "%d is not a multiple of %d, the side of a patch of %s", given,
                         patch, p->path);
    int *side = arena_array(a, int, n);
    for (int i = 0; i < n; i++)
        side[i] = given ? given : ROUND_UP(s->model.image.v[i], patch);
    p->s.model.image = (counts){ n, side };
    return 0;
}

/* Strategies that measure nothing would carry over what is not a number. */
static int predecessor_check(const ckpt *c)
{
    for (int i = 0; i < ckpt_count(c); i++) {
        if (tensor_check_numbers(ckpt_at(c, i)))
            return -1;
        tensor_drop(ckpt_at(c, i));
    }
    return 0;
}

int predecessor_open(struct predecessor *p, const struct spec *s, const char *path, arena *a)
{
    *p = (struct predecessor){ .path = path, .s = *s };
    p->c = ckpt_open_model(path, false);
    if (!p->c || anatomy_of_ckpt(p->c, a, &p->n) || predecessor_check(p->c) || model_read(&p->s, p->c, a)
        || ckpt_sha256(p->c, p->sha256) || predecessor_see(p, s, a))
        return -1;
    if (s->recycle.from.heads && !strcmp(path, s->recycle.from.experts)) {
        int said = model_heads_said(p->c);
        if (said && said != s->recycle.from.heads)
            return spec_fail(s, "recycle.from.heads", "%s says that it has %d attention heads", path, said);
        p->n.heads = p->s.model.heads = s->recycle.from.heads;
    }
    const char *file = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    f64 augreg = strstr(file, "augreg") || text_ends(file, ".npz") ? 127.5 : 0;       // trained on [-1, 1]
    p->s.data.mean = predecessor_three(p, s->recycle.from.mean, "mean", augreg, a);
    p->s.data.std = predecessor_three(p, s->recycle.from.std, "std", augreg, a);
    p->s.model.init = path;
    p->s.model.init_ema = false;
    p->s.model.strict = true;
    p->s.model.classes = MAX(p->n.classes, 1);
    p->s.eval.crop = s->recycle.crop > 0 ? s->recycle.crop : s->eval.crop;
    return 0;
}

int predecessor_like(struct predecessor *p, const struct spec *s, const struct spec *from, dev *d, arena *a)
{
    *p = (struct predecessor){ .path = s->recycle.from.experts, .s = *s };
    p->s.model = from->model;
    p->s.model.init = "";
    p->s.model.classes = MAX(from->model.classes, 1);
    if (!strcmp(p->s.model.family, "vit") && (!p->s.model.heads || p->s.model.dim % p->s.model.heads))
        p->s.model.heads = 1;                                  // costs the same
    anatomy_of_spec(&p->s, a, &p->n);
    if (predecessor_see(p, s, a))
        return -1;
    p->p = model_open(d, &p->s, PARAMS_FORWARD);
    return p->p ? 0 : -1;
}

/* A backbone alone is a predecessor too: its activations are measured, its class scores are not read. */
static int give_no_head(const struct predecessor *p, params *all)
{
    arena *a = arena_open("no head");
    int rc = 0;
    for (size_t i = 0; i < all->n && !rc && !p->n.classes; i++) {
        struct param *x = &all->list[i];
        if (!text_starts(x->name, "head.") || text_starts(x->name, "head.norm."))
            continue;
        rc = params_write(all, x, arena_array(a, f32, shape_count(x->shape)));
        x->loaded = true;
    }
    arena_close(a);
    return rc;
}

int predecessor_heads(const struct predecessor *p)
{
    if (p->n.convnext || (p->n.heads > 0 && p->n.block->dim % p->n.heads == 0))
        return 0;
    return fail(FAULT_USAGE, "%s does not say how many attention heads it has (recycle.from.heads), a divisor "
                "of %d", p->path, p->n.block->dim);
}

int predecessor_load(struct predecessor *p, dev *d)
{
    if (predecessor_heads(p))
        return -1;
    if (p->p)
        return 0;
    params *whole = model_params(&p->s);
    int rc = !whole || params_open(whole, d, PARAMS_FORWARD) || give_no_head(p, whole)
             || model_load_whole(whole, &p->s, p->c, NULL, NULL) ? -1 : 0;
    if (rc)
        params_free(whole);
    else
        p->p = whole;
    return rc;
}

void predecessor_close(struct predecessor *p)
{
    params_free(p->p);
    ckpt_close(p->c);
    *p = (struct predecessor){ 0 };
}
