/* named.c: a model of ours under another framework's names, such that the model that it is there loads it
 * strictly and computes the same; or why there is none. */
#include "ckpt/names.h"
#include <math.h>
#include <stdio.h>

/* ---- names --------------------------------------------------------------------------------------------- */

/* Share i of three along the first axis. */
static void named_third(struct piece *p, int i)
{
    p->shape[0] /= 3;
    p->offset = (u64)(i * p->shape[0] * p->stride[0]);
    p->whole = false;
}

/* What theirs always has beside this tensor, and ours only may have: zeros. */
static int named_fill(arena *a, const struct scheme *s, const char *own, const ckpt *c, const tensor *t,
                      struct pieces *all)
{
    struct match m = { 0 };
    while (t->nd && scheme_fill(s, c, t->name, &m)) {
        const char *theirs = m.rule->from, *before = *theirs == '^' ? "" : own;
        struct piece zeros = { .target = arena_printf(a, "%s%s", before, scheme_rewrite(a, theirs, &m)),
                               .share = -1 };
        if (piece_shape(&zeros, COPY, true, 1, t->shape) || pieces_add(a, all, &zeros))
            return -1;
    }
    return 0;
}

/* Our tensor under the names of s: three tensors where they keep queries, keys and values apart. */
static int named_one(arena *a, const struct scheme *s, const char *own, const ckpt *c, const tensor *t,
                     struct pieces *all)
{
    struct match m;
    if (!scheme_match_ours(s, c, t->name, &m))
        return fail(FAULT_DATA, "%s has no name for %s", s->title, t->name);
    bool fused = m.rule->share >= 0;
    if (fused && (!t->nd || t->shape[0] % 3))
        return fail(FAULT_DATA, "%s does not hold queries, keys and values", t->name);
    for (int i = 0; i < (fused ? 3 : 1); i++) {
        const struct rule *r = m.rule + i;           // shares stand one after the other in the table
        struct piece p = { .source = t, .share = -1, .whole = r->how == COPY || r->how == SQUEEZE };
        p.target = arena_printf(a, "%s%s", *r->from == '^' ? "" : own, scheme_rewrite(a, r->from, &m));
        if (piece_shape(&p, r->how, true, t->nd, t->shape))
            return -1;
        if (fused)
            named_third(&p, i);
        if (pieces_add(a, all, &p))
            return -1;
    }
    return named_fill(a, s, own, c, t, all);
}

/* ---- what cannot be said ------------------------------------------------------------------------------- */

/* Rows and columns of patches: the file says them, or they are a square of n. */
static bool named_grid(const ckpt *c, i64 n, int grid[2])
{
    const char *says = ckpt_meta(c, "grid");
    if (says && sscanf(says, "%d %d", &grid[0], &grid[1]) == 2)
        return n < 0 || (i64)grid[0] * grid[1] == n;
    grid[0] = grid[1] = n > 0 ? (int)lround(sqrt((f64)n)) : 0;
    return n > 0 && (i64)grid[0] * grid[1] == n;
}

/* The head of a class token looks like one of the mean after the norm; only timm's configuration tells them
 * apart. timm's classes with a distillation token have two heads or none, and those with registers a position
 * for each token or for patches alone. */
static int named_check_tokens(const struct scheme *s, const ckpt *c)
{
    const char *pool = ckpt_meta(c, "pool");
    const tensor *pos = ckpt_find(c, "pos_embed");
    bool class_token = ckpt_find(c, "cls_token"), distilled = ckpt_find(c, "dist_token");
    bool head = ckpt_find(c, "head.weight"), timm = !strcmp(s->id, "timm_vit");
    int grid[2];
    if (pool && !strcmp(pool, "norm_avg") && class_token && head && !timm)
        return fail(FAULT_DATA, "%s's head reads the class token, this model's the mean of the patches",
                    s->title);
    if (distilled && head && !ckpt_find(c, "head_dist.weight") && strcmp(s->id, "hf_vit"))
        return fail(FAULT_DATA, "%s has a second head for its distillation token, this model has none",
                    s->title);
    if (timm && class_token && ckpt_find(c, "reg_token") && pos && pos->nd == 3
        && named_grid(c, pos->shape[1] - 1 - distilled, grid))
        return fail(FAULT_DATA, "%s's class token has no position where its registers have none, this "
                    "model's has one", s->title);
    return 0;
}

/* What the file's metadata says, but every model of theirs has otherwise. */
static int named_check_fixed(const struct scheme *s, const ckpt *c)
{
    int grid[2];
    for (const struct rule *r = s->rule; r->from; r++) {
        const char *says = r->how == FIXED ? ckpt_meta(c, r->from) : NULL;
        f64 mine, theirs;
        bool numbers = says && text_real(slice_of(says), &mine) && text_real(slice_of(r->to), &theirs);
        if (says && (numbers ? mine != theirs : strcmp(says, r->to) != 0))
            return fail(FAULT_DATA, "%s's %s is %s, this model's is %.40s", s->title, r->from, r->to, says);
        if (r->how == SQUARE && named_grid(c, -1, grid) && grid[0] != grid[1])
            return fail(FAULT_DATA, "%s's images are squares, this model's have %d x %d patches", s->title,
                        grid[0], grid[1]);
    }
    return 0;
}

static int named_check(const struct scheme *s, const ckpt *c)
{
    const char *lacks = scheme_lacks(s, c), *foreign = scheme_foreign(s, c);
    if (named_check_tokens(s, c) || named_check_fixed(s, c))
        return -1;
    if (foreign)
        return fail(FAULT_DATA, "%s cannot have %s", s->title, foreign);
    return lacks ? fail(FAULT_DATA, "%s always has what is %s here, which this model has not", s->title, lacks)
                 : 0;
}

ckpt *ckpt_named(ckpt *c, const char *id)
{
    const struct scheme *s = scheme_find(id);
    ckpt *view = view_new(c);
    struct pieces all = { 0 };
    const char *prefix = s ? scheme_prefix(view->mem, s, c) : "";
    int rc = s ? named_check(s, c) : -1;
    for (size_t i = 0; i < c->n && !rc; i++)
        rc = named_one(view->mem, s, prefix, c, &c->list[i]->t, &all);
    if (!rc && !view_fill(view, &all))
        return view;
    fail_in("%s", c->path);
    ckpt_close(view);
    return NULL;
}
