/* layers.c: the layers models are made of. Each names its parameters as the checkpoints do. */
#include "nn/nn.h"
#include <math.h>

static const char *nn_scoped(graph *g, const char *name)
{
    return *g->scope ? arena_printf(g->a, "%s.%s", g->scope, name) : arena_printf(g->a, "%s", name);
}

node *nn_param(struct nn *m, const char *name, struct shape s, struct init init)
{
    const char *full = nn_scoped(m->g, name);
    struct param *x = params_find(m->p, full);
    if (!x) {
        check(!m->p->d, "parameter %s was first used after memory was allocated", full);
        x = arena_push(m->p->a, m->p->list, m->p->n, m->p->cap);
        *x = (struct param){ .name = arena_printf(m->p->a, "%s", full), .shape = s, .init = init };
        names_put(m->p->a, &m->p->names, x->name, (void *)(uintptr_t)m->p->n);
        m->p->total += shape_count(s);
    }
    check(shape_equal(x->shape, s), "parameter %s has two shapes", full);
    node *n = nn_node(m, full);                   // one node per graph, also for shared layers
    return n ? n : graph_fixed(m->g, full, F32, s, x->value);
}

node *nn_node(const struct nn *m, const char *full) { return names_get(&m->g->fixed, full); }

static node *nn_tap_of(const struct tap *list, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(list[i].name, name))
            return list[i].n;
    return NULL;
}

node *nn_tap(struct nn *m, node *n, const char *name)
{
    struct tap *t = arena_push(m->g->a, m->taps, m->n_taps, m->cap_taps);
    *t = (struct tap){ nn_scoped(m->g, name), n };
    if (m->on_tap)
        m->on_tap(m->who, t->name, n);
    return n;
}

node *nn_find_tap(const struct nn *m, const char *name) { return nn_tap_of(m->taps, m->n_taps, name); }

void nn_give(struct nn *m, const char *name, node *n)
{
    struct tap *t = arena_push(m->g->a, m->given, m->n_given, m->cap_given);
    *t = (struct tap){ arena_printf(m->g->a, "%s", name), n };
}

static node *nn_given(const struct nn *m, const char *name)
{
    return m->n_given ? nn_tap_of(m->given, m->n_given, nn_scoped(m->g, name)) : NULL;
}

static node *nn_by_sample(const struct nn *m, node *drawn, i64 together)
{
    return m->batch ? op_by_sample(drawn, together, m->batch) : drawn;
}

node *nn_mask(struct nn *m, const char *name, struct shape s, i64 together, f32 rate)
{
    node *mask = nn_given(m, name);
    return mask || !m->train || rate <= 0 ? mask : nn_by_sample(m, op_keep_mask(m->g, s, 1 - rate), together);
}

node *nn_noise(struct nn *m, const char *name, struct shape s, i64 together, f32 std, bool always)
{
    node *noise = nn_given(m, name);
    if (noise)
        return op_scale(noise, std);
    return std > 0 && (m->train || always) ? nn_by_sample(m, op_normal(m->g, s, std), together) : NULL;
}

node *nn_linear(struct nn *m, node *x, const char *name, i64 out, bool bias)
{
    const char *old = graph_push(m->g, "%s", name);
    node *w = nn_param(m, "weight", SHAPE(out, node_dim(x, -1)), (struct init){ INIT_TRUNC_NORMAL, .02f });
    node *y = op_matmul(x, w, TRANS_B);
    if (bias)
        y = op_add(y, nn_param(m, "bias", SHAPE(out), (struct init){ INIT_CONSTANT, 0 }));
    graph_pop(m->g, old);
    return y;
}

node *nn_layernorm(struct nn *m, node *x, const char *name, f32 eps)
{
    const char *old = graph_push(m->g, "%s", name);
    struct shape s = SHAPE(node_dim(x, -1));
    node *w = nn_param(m, "weight", s, (struct init){ INIT_CONSTANT, 1 });
    node *b = nn_param(m, "bias", s, (struct init){ INIT_CONSTANT, 0 });
    node *y = op_layernorm(x, w, b, eps);
    graph_pop(m->g, old);
    return y;
}

node *nn_dropout(struct nn *m, node *x, const char *name, i64 together, f32 rate)
{
    node *mask = nn_mask(m, name, x->shape, together, rate);
    return mask ? op_mul(x, mask) : x;
}

node *nn_drop_path(struct nn *m, node *x, const char *name, f32 rate)
{
    struct shape s = x->shape;
    for (int i = 1; i < s.nd; i++)
        s.d[i] = 1;
    node *mask = nn_mask(m, name, s, 1, rate);
    return mask ? op_mul(x, mask) : x;
}

node *nn_scale(struct nn *m, node *x, const char *name, f32 start)
{
    return op_mul(x, nn_param(m, name, SHAPE(node_dim(x, -1)), (struct init){ INIT_CONSTANT, start }));
}

node *nn_attention(struct nn *m, node *x, int heads, bool qkv_bias)
{
    i64 d = node_dim(x, -1);
    node *qkv = nn_tap(m, nn_linear(m, x, "qkv", 3 * d, qkv_bias), "qkv");             /* b n (3 h d)       */
    node *y = nn_tap(m, op_attention(qkv, heads), "proj.in");                          /* b n (h d)         */
    return nn_linear(m, y, "proj", d, true);                                           /* b n d             */
}

/* x + bias + weight x |x|_2 / (mean over channels of |x|_2), norms over a sample's map: (b h w c). The offset
 * keeps the root's gradient finite where a channel is all zeros. */
static node *layers_response_norm(struct nn *m, node *x)
{
    const char *old = graph_push(m->g, "grn");
    i64 b = node_dim(x, 0), c = node_dim(x, -1);
    node *y = op_reshape(x, SHAPE(b, -1, c));
    node *norm = op_sqrt(op_offset(op_sum(op_square(y), 1), 1e-24f));                  /* b 1 c             */
    node *mean = op_scale(op_sum(norm, 2), 1 / (f32)c);                                /* b 1 1             */
    node *w = nn_param(m, "weight", SHAPE(c), (struct init){ INIT_CONSTANT, 0 });
    node *bias = nn_param(m, "bias", SHAPE(c), (struct init){ INIT_CONSTANT, 0 });
    node *scale = op_mul(op_div(norm, op_offset(mean, 1e-6f)), w);
    y = op_add(y, op_add(op_mul(y, scale), bias));
    graph_pop(m->g, old);
    return op_reshape(y, x->shape);
}

node *nn_mlp(struct nn *m, node *x, i64 hidden, node *(*act)(node *), bool grn)
{
    i64 d = node_dim(x, -1);
    node *h = nn_tap(m, act(nn_linear(m, x, "fc1", hidden, true)), "act");
    if (grn)
        h = layers_response_norm(m, h);
    return nn_linear(m, h, "fc2", d, true);
}

/* The sum over tokens: a product with a row of ones, and zeros for those left out. So x (b n d) is read where
 * it lies, and its adjoint written in one launch. */
static node *sum_here(node *x, i64 skip)
{
    i64 n = node_dim(x, 1);
    node *ones = op_fill(op_view(x, 0, SHAPE(1, n - skip)), 1);
    return op_matmul(skip ? op_pad(ones, 1, skip, n) : ones, x, 0);                    /* b 1 d             */
}

/* Is x = f(in[0], in[1]) linear in the tokens of in[0], and in[1] the same for all of an image's tokens? */
static bool linear_in_tokens(const node *x, const char *row)
{
    const node *c = x->in[1];
    return map_is(x, row, 0) && shape_equal(x->in[0]->shape, x->shape) &&
           (c->shape.nd < 2 || (c->shape.nd == 3 && c->shape.d[1] == 1));
}

/* The sum over tokens, of what x was computed from where it is linear in them: one row an image, not n. */
static node *sum_before(node *x, i64 skip)
{
    const struct matmul_args *m = x->op == &matmul_op ? x->args : NULL;
    if (m && !(m->trans & TRANS_A) && x->in[0]->shape.nd == 3)
        return op_matmul(sum_before(x->in[0], skip), x->in[1], m->trans);
    if (linear_in_tokens(x, "mul"))
        return op_mul(sum_before(x->in[0], skip), x->in[1]);
    if (linear_in_tokens(x, "add"))
        return op_add(sum_before(x->in[0], skip), op_scale(x->in[1], (f32)(node_dim(x, 1) - skip)));
    return sum_here(x, skip);
}

node *nn_mean_tokens(node *x, i64 skip)
{
    i64 b = node_dim(x, 0), n = node_dim(x, 1) - skip, d = node_dim(x, 2);
    bool residual = map_is(x, "add", 0) && shape_equal(x->in[0]->shape, x->in[1]->shape);
    node *sum;
    if (!x->g->d)                                 // only counts matter, of the model as it is written
        sum = op_sum(op_slice(x, 1, skip, n), 1);
    else if (residual)
        sum = op_add(sum_here(x->in[0], skip), sum_before(x->in[1], skip));
    else
        sum = sum_here(x, skip);
    return op_scale(op_reshape(sum, SHAPE(b, d)), 1 / (f32)n);
}

node *nn_patches(struct nn *m, node *images, const char *name, int patch, i64 dim, bool bias,
                 const struct init *init)
{
    const char *old = graph_push(m->g, "%s", name);
    i64 b = node_dim(images, 0), c = node_dim(images, 1);
    i64 h = node_dim(images, 2) / patch, w = node_dim(images, 3) / patch;
    i64 inside = c * patch * patch;
    struct init usual = { INIT_UNIFORM, 1 / sqrtf((f32)inside) }, zero = { INIT_CONSTANT, 0 };
    node *weight = nn_param(m, "weight", SHAPE(dim, c, patch, patch), init ? *init : usual);
    if (h * patch != node_dim(images, 2) || w * patch != node_dim(images, 3))
        graph_complain(m->g, "patches of %d do not tile %s", patch, shape_text(m->g->a, images->shape));
    node *rows = op_reshape(images, SHAPE(b, c, h, patch, w, patch));                  /* b c h p w q       */
    rows = op_reshape(op_transpose(rows, 0, 2, 4, 1, 3, 5), SHAPE(b, h * w, inside));  /* b (h w) (c p q)   */
    node *y = op_matmul(rows, op_reshape(weight, SHAPE(dim, inside)), TRANS_B);
    if (bias)
        y = op_add(y, nn_param(m, "bias", SHAPE(dim), init ? zero : usual));
    graph_pop(m->g, old);
    return y;
}
