/* analyse_open.c: the graph of an analysis: the model, whose experts can be silenced by an input (nn_give's
 * "silence") and whose routing, experts' outputs and attention can be read; and the list of what is silenced.
 */
#include "study/analyse.h"

/* What can be read after a run: views and leaves are copied. */
static node *analyse_seen(struct nn *m, const char *name)
{
    node *n = nn_find_tap(m, name);
    check(n, "no activation %s", name);
    return node_keep(n->op->flags & (OP_ALIAS | OP_LEAF) ? op_copy(n) : n);
}

static void analyse_give_masks(struct analysis *x, struct nn *m)
{
    for (int i = 0; i < x->layers; i++) {
        struct layer_analysis *l = &x->layer[i];
        l->mask = graph_input(x->g, arena_printf(x->a, "silence.%d", l->index), F32,
                              SHAPE(l->core + l->universal, 1, 1));
        nn_give(m, arena_printf(x->a, "%s.mlp.silence", l->block), l->mask);
    }
}

static void analyse_take_taps(struct analysis *x, struct nn *m)
{
    for (int i = 0; i < x->layers; i++) {
        struct layer_analysis *l = &x->layer[i];
        l->dispatch = analyse_seen(m, arena_printf(x->a, "%s.mlp.dispatch", l->block));
        l->combine = analyse_seen(m, arena_printf(x->a, "%s.mlp.combine", l->block));
        l->experts = analyse_seen(m, arena_printf(x->a, "%s.mlp.experts", l->block));
        l->tokens =
            shape_count(l->combine->shape) / x->batch / l->heads / (l->core + l->universal) / l->slots;
        i64 map = x->show * l->tokens * (l->core + l->universal);
        l->dispatch_map = arena_array(x->a, f32, map);
        l->combine_map = arena_array(x->a, f32, map);
    }
    if (strcmp(x->s.model.family, "convnext") && x->show) {
        x->qkv = arena_array(x->a, node *, x->blocks);
        for (int i = 0; i < x->blocks; i++)
            x->qkv[i] = analyse_seen(m, arena_printf(x->a, "%s.attn.qkv", model_block(x->a, &x->s, i)));
        x->attention_tokens = node_dim(x->qkv[0], 1);
        x->attention = arena_array(x->a, f32, x->show * x->blocks * x->attention_tokens);
    }
}

static void analyse_find_layers(struct analysis *x)
{
    x->blocks = model_depth(&x->s);
    x->layer = arena_array(x->a, struct layer_analysis, x->blocks);
    for (int i = 0; i < x->blocks; i++) {
        struct moe m;
        if (!moe_of_block(x->a, &x->s, i, &m))
            continue;
        struct layer_analysis *l = &x->layer[x->layers++];
        *l = (struct layer_analysis){ .block = model_block(x->a, &x->s, i),
                                      .index = i,
                                      .core = m.core,
                                      .universal = m.universal,
                                      .slots = x->s.model.moe.slots,
                                      .heads = m.heads };
        load_open(&l->load, x->a, l->core, l->universal, x->s.model.classes);
        l->scope = m.experts ? m.experts : arena_printf(x->a, "%s.mlp", l->block);
        arena *scratch = arena_open("experts");
        struct weights_source from = weights_of_params(x->e->p, scratch);
        weights_read(&l->weights, x->a, l->scope, l->core, l->universal, &from);
        arena_close(scratch);
    }
}

static struct silenced *analyse_silence(struct analysis *x, int layer, int first, int count)
{
    struct silenced *s = &x->silenced[x->n_silenced++];
    *s = (struct silenced){ .layer = layer, .first = first, .count = count, .mask = x->layer[layer].mask };
    return s;
}

static void analyse_plan_silence(struct analysis *x)
{
    int n = 0;
    for (int i = 0; i < x->layers; i++)
        n += PARTS + x->layer[i].core + x->layer[i].universal;
    x->silenced = arena_array(x->a, struct silenced, n);
    for (int i = 0; i < x->layers; i++) {
        struct layer_analysis *l = &x->layer[i];
        if (l->core)
            l->part[PART_CORE] = analyse_silence(x, i, 0, l->core);
        if (l->universal)
            l->part[PART_UNIVERSAL] = analyse_silence(x, i, l->core, l->universal);
        if (!x->each)
            continue;
        l->each = arena_array(x->a, struct silenced *, l->core + l->universal);
        for (int e = 0; e < l->core + l->universal; e++)
            l->each[e] = analyse_silence(x, i, e, 1);
    }
}

int analyse_open(struct analysis *x, const struct session *e, int batch)
{
    int placed;
    x->e = e;
    x->s = e->s;
    x->s.model.moe.noise_when = NOISE_training; // two runs, and silencing, differ by nothing else
    x->s.train.precision = PRECISION_fp32;
    x->batch = batch;
    x->side = list_at(x->s.model.image, 0);
    x->prefix = strcmp(x->s.model.family, "convnext") ? model_prefix(&x->s, &placed) : 0;
    x->shown = arena_array(x->a, u8, (i64)x->show * x->side * x->side * 3);
    scores_open(&x->scores, x->a, x->s.model.classes, 1, 0, x->labelled);
    x->g = graph_new(e->d);
    struct nn m = { .g = x->g, .p = e->p };
    analyse_find_layers(x);
    x->images = graph_input(x->g, "images", F32, model_images(&x->s, batch));
    graph_step(x->g);
    analyse_give_masks(x, &m);
    x->logits = node_keep(model_build(&m, &x->s, x->images));
    if (x->g->complaint)
        return graph_compile(x->g);
    analyse_take_taps(x, &m);
    analyse_plan_silence(x);
    simplify_graph(x->g);
    if (graph_compile(x->g) || feed_open(&x->feed, e->d, x->images, true))
        return -1;
    for (int i = 0; i < x->layers; i++)
        if (analyse_write_mask(x, i, 0, 0))
            return -1;
    return 0;
}

int analyse_write_mask(struct analysis *x, int layer, int first, int count)
{
    struct layer_analysis *l = &x->layer[layer];
    arena_mark m = arena_save(x->a);
    f32 *v = arena_array(x->a, f32, l->core + l->universal);
    for (int e = 0; e < l->core + l->universal; e++)
        v[e] = e >= first && e < first + count ? 0 : 1;
    int rc = node_write(l->mask, v);
    arena_restore(x->a, m);
    return rc;
}

void analyse_close(struct analysis *x)
{
    feed_close(&x->feed);
    graph_free(x->g);
    x->g = NULL;
}
