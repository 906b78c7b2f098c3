/* model.c: the list of families, and opening a network's parameters. */
#include "model/model.h"

static const struct model *const models[] = {
#define MODEL(name) &name##_model,
#include "model/models.def"
#undef MODEL
};

node *model_build(struct nn *m, const struct spec *s, node *images)
{
    check(s->model.classes > 0, "model.classes is still auto");
    m->batch = node_dim(images, 0);
    for (int i = 0; i < countof(models); i++)
        if (!strcmp(models[i]->name, s->model.family))
            return models[i]->build(m, s, images);
    graph_complain(m->g, "model.family '%s' is not built in", s->model.family);
    return images;
}

/* Not the last block: its backward part follows at once, so that forgetting it would save nothing. */
void model_grad(const struct spec *s, node *loss, node *const *wrt, int n, node **out)
{
    graph *g = loss->g;
    int blocks = s->train.recompute == RECOMPUTE_blocks ? model_depth(s) - 1 : 0;
    const char **scopes = arena_array(g->a, const char *, blocks);
    struct span *spans = arena_array(g->a, struct span, blocks);
    for (int i = 0; i < blocks; i++)
        scopes[i] = model_block(g->a, s, i);
    grad_build_forgetting(loss, wrt, n, spans, recompute_spans(g, scopes, blocks, spans), out);
}

params *model_params(const struct spec *s)
{
    struct nn m = { graph_new(NULL), params_new() };
    model_build(&m, s, graph_input(m.g, "images", F32, model_images(s, 1)));
    if (m.g->complaint) {
        fail(FAULT_USAGE, "%s", m.g->complaint);
        params_free(m.p);
        m.p = NULL;
    }
    graph_free(m.g);
    return m.p;
}

void model_shard(params *p, const struct spec *s, int rank, int ranks)
{
    if (s->dist.shard == SHARD_off)
        return;
    p->shard = rank;
    p->shards = ranks;
    p->shard_grads = s->dist.shard == SHARD_gradients && ranks > 1;
}

params *model_open(dev *d, const struct spec *s, enum params_use use)
{
    params *p = model_params(s);
    if (!p)
        return NULL;
    p->laid_for = dist_size() > 1 ? dist_size() : 0;
    model_shard(p, s, dist_rank(), dist_size());
    if (params_open(p, d, use) || (s->model.init[0] && model_load(p, s, s->model.init, s->model.init_ema))
        || params_init(p, (u64)s->seed)) {
        params_free(p);
        return NULL;
    }
    return p;
}
