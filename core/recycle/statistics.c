/* statistics.c: activation statistics as a file: measuring happens once per predecessor and image set.
 *
 *     mlp.act.7.l1 .l2 .count   F64 [neurons]     mlp.act.7.together   F32 [neurons, neurons], where measured
 *
 * Its metadata say what was measured; a file that does not match is not used. */
#include "recycle/recycle.h"

const char *const site_names[SITES] = { "mlp.act", "attn.proj", "norm2" };

const f64 *activity_score(const struct spec *s, const struct activity *x)
{
    return s->recycle.metric == METRIC_l1 ? x->l1 : s->recycle.metric == METRIC_l2 ? x->l2 : x->count;
}

static const char *count_text(arena *a, const struct provenance *w, int field)
{
    return field ? arena_printf(a, "%d", w->batch) : arena_printf(a, "%ld", (long)w->images);
}

/* The rows of the metadata, and how a person would call them. */
static int statistics_rows_of(const struct provenance *w, arena *a, const char *row[][3])
{
    const char *all[][3] = {
        { "predecessor", w->predecessor, "predecessor" },
        { "images", w->image_hash, "set of images" },
        { "image_count", count_text(a, w, 0), "number of images" },
        { "batch", count_text(a, w, 1), "images per batch" },
        { "threshold", w->threshold, "threshold" },
    };
    memcpy(row, all, sizeof all);
    return countof(all);
}

int statistics_save(const struct statistics *st, const struct provenance *w, const char *path)
{
    ckpt *c = ckpt_new();
    arena *a = arena_open("statistics");
    const char *row[8][3];
    for (int i = 0, n = statistics_rows_of(w, a, row); i < n; i++)
        ckpt_set_meta(c, row[i][0], row[i][1]);
    ckpt_set_meta(c, "format", "jetcl statistics 2");
    for (enum site site = 0; site < SITES; site++)
        for (int l = 0; l < st->depth; l++) {
            const struct activity *x = &st->of[site][l];
            const i64 shape[2] = { x->width, x->width };
            if (!x->width)
                continue;
            ckpt_add(c, arena_printf(a, "%s.%d.l1", site_names[site], l), CKPT_F64, 1, shape, x->l1);
            ckpt_add(c, arena_printf(a, "%s.%d.l2", site_names[site], l), CKPT_F64, 1, shape, x->l2);
            ckpt_add(c, arena_printf(a, "%s.%d.count", site_names[site], l), CKPT_F64, 1, shape, x->count);
            if (!x->together)
                continue;
            const char *name = arena_printf(a, "%s.%d.together", site_names[site], l);
            ckpt_add(c, name, CKPT_F32, 2, shape, x->together);
        }
    int rc = ckpt_seal(c) || ckpt_save(c, path) ? -1 : 0;
    ckpt_close(c);
    arena_close(a);
    return rc;
}

/* A vector of the layer, copied into the arena; the first one sets the layer's width. NULL + fail. */
static f64 *statistics_vector(const ckpt *c, const char *layer, const char *what, struct activity *x, arena *a)
{
    const tensor *t = ckpt_find(c, arena_printf(a, "%s.%s", layer, what));
    if (!t || t->nd != 1 || t->shape[0] < 1 || t->shape[0] > 1 << 22 || (x->width && t->shape[0] != x->width)) {
        fail(FAULT_DATA, "%s: %s.%s is missing or has another shape", ckpt_path(c), layer, what);
        return NULL;
    }
    x->width = (int)t->shape[0];
    f64 *v = arena_array(a, f64, x->width);
    return tensor_to_f64(t, v) ? NULL : v;
}

static int statistics_read_layer(const ckpt *c, const char *layer, struct activity *x, arena *a)
{
    if (!(x->l1 = statistics_vector(c, layer, "l1", x, a)) || !(x->l2 = statistics_vector(c, layer, "l2", x, a))
        || !(x->count = statistics_vector(c, layer, "count", x, a)))
        return -1;
    const tensor *t = ckpt_find(c, arena_printf(a, "%s.together", layer));
    if (!t)
        return 0;
    if (!tensor_shape_is(t, 2, (i64[]){ x->width, x->width }))
        return fail(FAULT_DATA, "%s: %s.together is not %d x %d", ckpt_path(c), layer, x->width, x->width);
    x->together = arena_array(a, f32, t->count);
    return tensor_to_f32(t, x->together);
}

static int statistics_match(const ckpt *c, const struct provenance *w, arena *a)
{
    const char *row[8][3];
    const char *format = ckpt_meta(c, "format");
    if (!format || strcmp(format, "jetcl statistics 2"))
        return fail(FAULT_DATA, "%s is not a statistics file", ckpt_path(c));
    for (int i = 0, n = statistics_rows_of(w, a, row); i < n; i++) {
        const char *has = ckpt_meta(c, row[i][0]);
        if (!has || strcmp(has, row[i][1]))
            return fail(FAULT_DATA, "%s was measured with another %s (%.16s, expected %.16s): remove it, or "
                        "name another file in recycle.statistics",
                        ckpt_path(c), row[i][2], has ? has : "none", row[i][1]);
    }
    return 0;
}

int statistics_load(const char *path, const struct provenance *w, arena *a, struct statistics *out)
{
    ckpt *c = ckpt_open(path);
    if (!c)
        return -1;
    int rc = statistics_match(c, w, a) || ckpt_check_seal(c) ? -1 : 0;
    *out = (struct statistics){ 0 };
    while (ckpt_find(c, arena_printf(a, "%s.%d.l1", site_names[SITE_HIDDEN], out->depth)))
        out->depth++;
    for (enum site site = 0; site < SITES && !rc; site++) {
        out->of[site] = arena_array(a, struct activity, out->depth);
        for (int l = 0; l < out->depth && !rc; l++) {
            const char *layer = arena_printf(a, "%s.%d", site_names[site], l);
            if (site == SITE_ATTN && !ckpt_find(c, arena_printf(a, "%s.l1", layer)))
                continue;                                        // ConvNeXt
            rc = statistics_read_layer(c, layer, &out->of[site][l], a);
        }
    }
    ckpt_close(c);
    return rc;
}
