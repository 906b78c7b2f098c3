/* count.c: parameters, multiply-adds and memory of an experiment's network, from the graphs that would run,
 * without a device.
 *
 * The paper's FLOPs are multiply-adds of linears, experts and the three routing products, without attention's
 * two products. Activation memory is what the planner lays out; kernels' own scratch comes on top of it. */
#include "model/model.h"

/* "blocks.3.attn.qkv'" -> "blocks.3": how many characters name the layer; 0 when the node belongs to none. */
static int layer_length(const char *name)
{
    bool stage = text_starts(name, "stages."), block = text_starts(name, "blocks.");
    int n = (int)strcspn(name, ".'"), parts = stage ? 2 : block ? 1 : 0;
    for (int i = 0; i < parts && name[n] == '.'; i++)
        n += 1 + (int)strcspn(name + n + 1, ".'");
    if (parts == 2 && text_starts(name + n, ".") && strstr(name, ".blocks."))
        n += 1 + (int)strcspn(name + n + 1, ".'");
    return n;
}

struct counter { arena *a; struct model_count *out; size_t n, cap; };

static struct model_layer *layer_of(struct counter *c, const char *name)
{
    int n = layer_length(name);
    for (size_t i = 0; i < c->n; i++)
        if (!strncmp(c->out->layer[i].name, name, (size_t)n) && !c->out->layer[i].name[n])
            return &c->out->layer[i];
    struct model_layer *l = arena_push(c->a, c->out->layer, c->n, c->cap);
    *l = (struct model_layer){ .name = arena_printf(c->a, "%.*s", n, name) };
    return l;
}

static bool count_backward(const node *n) { return strchr(n->name, '\'') != NULL; }

/* Is it one of attention's two products (or both in one op)? */
static bool count_attends(const node *n)
{
    return text_starts(n->op->name, "attention") || text_ends(n->name, "attn");
}

/* ---- graphs -------------------------------------------------------------------------------------------- */

/* Forward and, training, backward of a batch, simplified and planned. NULL + fail. */
static graph *count_plan(const struct spec *s, params *p, int batch, bool train)
{
    graph *g = graph_new(NULL);
    g->half = model_precision(s);
    struct nn m = { g, p, train };
    node *images = graph_input(g, "images", F32, model_images(s, batch));
    node *logits = node_keep(model_build(&m, s, images));
    if (train && !g->complaint) {
        node *target = graph_input(g, "targets", F32, logits->shape);
        node *loss = op_mean(op_cross_entropy(logits, target, (f32)s->augment.smoothing));
        node **wrt = arena_array(g->a, node *, p->n), **grad = arena_array(g->a, node *, p->n);
        for (size_t i = 0; i < p->n; i++)
            wrt[i] = nn_node(&m, p->list[i].name);
        model_grad(s, loss, wrt, (int)p->n, grad);
        for (size_t i = p->n; i-- > 0 && !g->complaint;)
            if (grad[i] && p->shard_grads)
                node_offload(grad[i]);
            else if (grad[i])
                simplify_place(grad[i], RANGE_NONE);
    }
    if (g->complaint) {
        fail(FAULT_USAGE, "%s", g->complaint);
        graph_free(g);
        return NULL;
    }
    simplify_graph(g);
    graph_offload_early(g);
    plan_build(g);
    return g;
}

static u64 count_planned(const struct spec *s, const graph *g, int batch)
{
    return g->plan->planned + 4 * (u64)shape_count(model_images(s, batch));
}

/* ---- what they say ------------------------------------------------------------------------------------- */

static void count_forward(struct counter *c, const struct spec *s, const graph *g)
{
    u64 *change = arena_array(g->a, u64, g->n + 2), alive = 0;
    for (int i = 0; i < g->plan->n; i++) {
        const struct block *b = &g->plan->blocks[i];
        change[b->from] += b->bytes;
        change[MIN(b->to, (int)g->n) + 1] -= b->bytes;
    }
    for (size_t i = 0; i < g->n; i++) {
        const node *n = g->nodes[i];
        alive += change[i];
        if (!layer_length(n->name) || n->op->flags & OP_LEAF)
            continue;
        struct model_layer *l = layer_of(c, n->name);
        f64 macs = n->op->macs ? n->op->macs(n) / c->out->eval_batch : 0;
        l->macs += macs;
        l->attention += count_attends(n) ? macs : 0;
        l->eval_bytes = MAX(l->eval_bytes, alive);
        c->out->macs += macs;
        c->out->paper_macs += count_attends(n) ? 0 : macs;
    }
    c->out->eval_bytes = count_planned(s, g, c->out->eval_batch);
}

static void count_training(struct counter *c, const struct spec *s, const graph *g)
{
    int first = 0;
    while (first < (int)g->n && !count_backward(g->nodes[first]))
        first++;
    for (int i = 0; i < g->plan->n; i++) {
        const struct block *b = &g->plan->blocks[i];
        if (b->from < first && b->to >= first && layer_length(b->owner->name))
            layer_of(c, b->owner->name)->kept_bytes += b->bytes;
    }
    c->out->train_bytes = count_planned(s, g, c->out->train_batch);
}

static void name_experts(struct counter *c, const struct spec *s)
{
    struct moe l;
    for (int i = 0; i < model_depth(s); i++) {
        if (!moe_of_block(c->a, s, i, &l))
            continue;
        struct model_layer *layer = layer_of(c, model_block(c->a, s, i));
        layer->experts = l.universal ? arena_printf(c->a, "%d + %d", l.core, l.universal)
                                     : arena_printf(c->a, "%d", l.core);
    }
}

int model_count(arena *a, const struct spec *s, int ranks, int train_batch, int eval_batch,
                struct model_count *out)
{
    *out = (struct model_count){ .train_batch = train_batch, .eval_batch = eval_batch };
    struct counter c = { a, out };
    params *p = model_params(s);
    if (p)
        model_shard(p, s, 0, ranks);
    graph *eval = p ? count_plan(s, p, eval_batch, false) : NULL;
    graph *train = eval ? count_plan(s, p, train_batch, true) : NULL;
    if (train) {
        for (size_t i = 0; i < p->n; i++)
            layer_of(&c, p->list[i].name)->params += shape_count(p->list[i].shape);
        count_forward(&c, s, eval);
        count_training(&c, s, train);
        name_experts(&c, s);
        out->n = (int)c.n;
        out->params = p->total;
        out->weight_bytes = params_bytes(p, PARAMS_FORWARD);
        out->state_bytes = params_bytes(p, PARAMS_TRAIN);
    }
    graph_free(eval);
    graph_free(train);
    params_free(p);
    return train ? 0 : -1;
}
