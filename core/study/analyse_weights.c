/* analyse_weights.c: experts as points in the space of their weights: how alike two are, and how far
 * training has taken each from what it was recycled from. Neurons are compared in their order: a permuted
 * twin is not seen. */
#include "study/analyse.h"
#include <math.h>

static const char *const tensors[] = { "vit_fc1.weight", "vit_fc1.bias", "vit_fc2.weight", "vit_fc2.bias" };

/* "<scope>.core_experts.", "<scope>.univ_experts." or, of Soft MoE, "<scope>.experts.": NULL when there is
 * none. */
static bool weights_read_part(struct expert_weights *w, arena *a, const char *prefix, int part, int experts,
                              const struct weights_source *from)
{
    const f32 *v[countof(tensors)];
    i64 each[countof(tensors)], width = 0, at = 0;
    for (int t = 0; t < countof(tensors); t++) {
        i64 count = 0;
        v[t] = from->get(from->who, arena_printf(a, "%s%s", prefix, tensors[t]), &count);
        if (!v[t] || count % experts)
            return false;
        each[t] = count / experts;
        width += each[t];
    }
    w->width[part] = width;
    w->rows[part] = arena_array(a, f32, width * experts);
    for (int t = 0; t < countof(tensors); at += each[t++])
        for (i64 e = 0; e < experts; e++)
            memcpy(w->rows[part] + e * width + at, v[t] + e * each[t], sizeof(f32) * (size_t)each[t]);
    return true;
}

bool weights_read(struct expert_weights *w, arena *a, const char *scope, int core, int universal,
                  const struct weights_source *from)
{
    *w = (struct expert_weights){ .experts = core + universal, .core = core };
    if (core && !weights_read_part(w, a, arena_printf(a, "%s.core_experts.", scope), PART_CORE, core, from)
        && !weights_read_part(w, a, arena_printf(a, "%s.experts.", scope), PART_CORE, core, from))
        return false;
    return !universal
           || weights_read_part(w, a, arena_printf(a, "%s.univ_experts.", scope), PART_UNIVERSAL, universal,
                                from);
}

/* ---- where they come from ------------------------------------------------------------------------------ */

struct weights_from { const params *p; const ckpt *c; arena *a; };

static const f32 *weights_get(void *who, const char *name, i64 *count)
{
    const struct weights_from *f = who;
    const struct param *x = f->p ? params_find(f->p, name) : NULL;
    const tensor *t = f->c ? ckpt_find(f->c, name) : NULL;
    if (!x && !t)
        return NULL;
    *count = x ? shape_count(x->shape) : (i64)t->count;
    f32 *v = arena_array(f->a, f32, *count);
    return (x ? params_read(f->p, x, v) : tensor_to_f32(t, v)) ? NULL : v;
}

static struct weights_source weights_from(const params *p, const ckpt *c, arena *a)
{
    struct weights_from *f = arena_one(a, struct weights_from);
    *f = (struct weights_from){ p, c, a };
    return (struct weights_source){ weights_get, f };
}

struct weights_source weights_of_params(const params *p, arena *a) { return weights_from(p, NULL, a); }
struct weights_source weights_of_ckpt(const ckpt *c, arena *a)     { return weights_from(NULL, c, a); }

/* ---- comparing ----------------------------------------------------------------------------------------- */

static const f32 *weights_row(const struct expert_weights *w, int expert, i64 *width)
{
    int part = expert < w->core ? PART_CORE : PART_UNIVERSAL;
    *width = w->width[part];
    return w->rows[part] ? w->rows[part] + (expert - (part ? w->core : 0)) * *width : NULL;
}

f64 weights_alike(const struct expert_weights *w, int a, int b)
{
    i64 width, other;
    const f32 *x = weights_row(w, a, &width), *y = weights_row(w, b, &other);
    f64 xx = 0, yy = 0, xy = 0;
    if (!x || !y || (a < w->core) != (b < w->core))
        return NAN;
    for (i64 i = 0; i < width; i++) {
        xx += (f64)x[i] * (f64)x[i];
        yy += (f64)y[i] * (f64)y[i];
        xy += (f64)x[i] * (f64)y[i];
    }
    return xx > 0 && yy > 0 ? xy / sqrt(xx * yy) : 0;
}

f64 weights_moved(const struct expert_weights *w, const struct expert_weights *before, int expert)
{
    i64 width, other;
    const f32 *x = weights_row(w, expert, &width), *y = weights_row(before, expert, &other);
    f64 apart = 0, length = 0;
    if (!x || !y || width != other || w->core != before->core || w->experts != before->experts)
        return NAN;
    for (i64 i = 0; i < width; i++) {
        apart += ((f64)x[i] - (f64)y[i]) * ((f64)x[i] - (f64)y[i]);
        length += (f64)y[i] * (f64)y[i];
    }
    return length > 0 ? sqrt(apart / length) : NAN;
}
