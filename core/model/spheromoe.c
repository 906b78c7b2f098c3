/* spheromoe.c: the mixture-of-experts layers. Routing is soft: every slot reads a mean of tokens, every token
 * a mean of slots, so nothing is sorted and every expert is used.
 *
 *   SpheroMoE (Zhu et al. 2024)         cosine routing, two temperatures that divide, entmax combine,
 *                                       core and universal experts
 *   Soft MoE as the reference has it    one scale that multiplies, softmax both ways, one kind of expert
 *   Soft MoE (Puigcerver et al. 2024)   the original: queries `mu` (d e s), epsilon inside the root
 *
 * Experts work in layout (e (b s) d): each sees all its slots of a batch as the rows of one matrix, and
 * all experts of a kind are one batched product. Along e, cutting in core and universal and joining again
 * costs no copy.
 */
#include "model/model.h"
#include <math.h>

#define NORM_EPS 1e-6f
#define SLOT_EPS 1e-5f                            /* unlike every other layer norm of the model */

struct sizes { i64 b, n, d, h, k /* d of one head */, e, s; };

/* ---- which blocks -------------------------------------------------------------------------------------- */

static bool moe_listed(counts list, int x)
{
    for (int i = 0; i < list.n; i++)
        if (list.v[i] == x)
            return true;
    return false;
}

struct stage { int index, first, count; };

static struct stage stage_of(const struct spec *s, int block)
{
    if (strcmp(s->model.family, "convnext"))
        return (struct stage){ 0, 0, s->model.depth };
    struct stage g = { 0, 0, s->model.depths.v[0] };
    while (block >= g.first + g.count)
        g = (struct stage){ g.index + 1, g.first + g.count, s->model.depths.v[g.index + 1] };
    return g;
}

static bool holds_moe(const struct spec *s, struct stage g)
{
    for (int i = g.first; i < g.first + g.count; i++)
        if (moe_listed(s->model.moe.layers, i))
            return true;
    return false;
}

/* The block whose experts this one uses: the first of every `share` MoE layers of a stage. */
static int owner_of(const struct spec *s, struct stage g, int block)
{
    int owner = block, n = 0;
    for (int i = g.first; i <= block; i++)
        if (moe_listed(s->model.moe.layers, i) && n++ % s->model.moe.share == 0)
            owner = i;
    return owner;
}

bool moe_of_block(arena *a, const struct spec *s, int block, struct moe *out)
{
    struct stage g = stage_of(s, block);
    int with_moe = 0;                             // lists count the stages that hold MoE layers
    if (!moe_listed(s->model.moe.layers, block))
        return false;
    for (int b = 0; b < g.first;) {
        struct stage before = stage_of(s, b);
        with_moe += holds_moe(s, before);
        b = before.first + before.count;
    }
    int owner = owner_of(s, g, block);
    *out = (struct moe){ .core = list_at(s->model.moe.core, with_moe),
                         .universal = list_at(s->model.moe.universal, with_moe),
                         .heads = s->model.moe.multi_head ? s->model.heads : 1,
                         .expert_drop = model_rate(s, s->model.moe.expert_drop, block) };
    if (owner != block)
        out->experts = arena_printf(a, "%s.mlp", model_block(a, s, owner));
    return true;
}

struct spec moe_shortened(arena *a, const struct spec *s)
{
    struct spec out = *s;
    counts all = s->model.moe.layers;
    int row = 0, kept = 0, n = 0;
    int *depths = arena_array(a, int, s->model.depths.n), *layers = arena_array(a, int, all.n + 1);
    for (int i = 0; i < model_depth(s); i++) {
        struct stage g = stage_of(s, i);
        bool moe = moe_listed(all, i), same = i > g.first && moe == moe_listed(all, i - 1);
        row = same ? row + 1 : 1;
        if (row > s->model.moe.share + 1)
            continue;
        if (moe)
            layers[n++] = kept;
        depths[g.index]++;
        kept++;
    }
    out.model.depth = kept;
    if (!strcmp(s->model.family, "convnext"))
        out.model.depths.v = depths;
    out.model.moe.layers = (counts){ n, layers };
    return out;
}

/* ---- experts ------------------------------------------------------------------------------------------- */

/* A parameter of the experts: the layer's own, or of the layer that shares its experts with this one. */
static node *expert_param(struct nn *m, const struct moe *l, const char *name, struct shape shape,
                          struct init init)
{
    const char *own = m->g->scope;                // blocks.7.mlp.core_experts.vit_fc1
    if (l->experts)
        m->g->scope = arena_printf(m->g->a, "%s%s", l->experts, strstr(own, ".mlp.") + strlen(".mlp"));
    node *n = nn_param(m, name, shape, init);
    m->g->scope = own;
    return n;
}

/* (e rows in) -> (e rows out), each expert with a matrix of its own. */
static node *expert_linear(struct nn *m, const struct spec *s, const struct moe *l, node *x,
                           const char *name, i64 out)
{
    const char *old = graph_push(m->g, "%s", name);
    i64 e = node_dim(x, 0), in = node_dim(x, 2);
    f64 fan = s->model.moe.init == EXPERT_INIT_released ? (f64)in * (f64)out : (f64)in;
    struct init start = { INIT_UNIFORM, (f32)(1 / sqrt(fan)) };
    node *w = expert_param(m, l, "weight", SHAPE(e, out, in), start);
    node *b = expert_param(m, l, "bias", SHAPE(e, out), (struct init){ INIT_CONSTANT, 0 });
    node *y = op_add(op_matmul(x, w, TRANS_B), op_reshape(b, SHAPE(e, 1, out)));
    graph_pop(m->g, old);
    return y;
}

/* x gamma + beta, per channel. */
static node *scale_offset(struct nn *m, const struct moe *l, node *x, const char *name)
{
    const char *old = graph_push(m->g, "%s", name);
    struct shape d = SHAPE(node_dim(x, -1));
    x = op_mul(x, expert_param(m, l, "gamma", d, (struct init){ INIT_CONSTANT, 1 }));
    x = op_add(x, expert_param(m, l, "beta", d, (struct init){ INIT_CONSTANT, 0 }));
    graph_pop(m->g, old);
    return x;
}

static node *moe_experts(struct nn *m, const struct spec *s, const struct moe *l, node *x, const char *name,
                         i64 hidden)
{
    f32 rate = (f32)s->model.moe.dropout;
    f32 rate_act = s->model.moe.dropout_act < 0 ? rate : (f32)s->model.moe.dropout_act;
    const char *old = graph_push(m->g, "%s", name);
    i64 d = node_dim(x, -1);
    if (s->model.moe.layer_scale)
        x = scale_offset(m, l, x, "scale_in");
    node *h = model_act(s)(expert_linear(m, s, l, x, "vit_fc1", hidden));               /* e (b s) hidden   */
    i64 slots = node_dim(x, 1) / MAX(1, m->batch);                                      /* of a sample      */
    h = nn_dropout(m, h, "drop1", slots, rate_act);
    node *y =
        nn_dropout(m, expert_linear(m, s, l, h, "vit_fc2", d), "drop2", slots, rate); /* e (b s) d        */
    if (s->model.moe.layer_scale)
        y = scale_offset(m, l, y, "scale_out");
    graph_pop(m->g, old);
    return y;
}

/* Core experts first, then the universal ones: the order of phi's rows. (e (b s) d) -> the same. */
static node *all_experts(struct nn *m, const struct spec *s, const struct moe *l, node *x)
{
    i64 hidden = (i64)((f64)node_dim(x, -1) * s->model.mlp_ratio);
    i64 narrow = (i64)((f64)hidden * s->model.moe.universal_ratio);
    if (s->model.moe.kind != MOE_sphero)
        return moe_experts(m, s, l, x, "experts", hidden);
    node *core = NULL, *univ = NULL;
    if (l->core)                                                                        /* few and wide     */
        core = moe_experts(m, s, l, op_slice(x, 0, 0, l->core), "core_experts", hidden);
    if (l->universal)                                                                   /* many and narrow  */
        univ = moe_experts(m, s, l, op_slice(x, 0, l->core, l->universal), "univ_experts", narrow);
    return !univ ? core : !core ? univ : op_concat(core, univ, 0);
}

/* Stochastic depth of the experts: of all at once for a sample, as released, or of each, as the
 * paper draws it. */
static node *expert_drop(struct nn *m, const struct spec *s, const struct moe *l, node *y, struct sizes z)
{
    struct shape per = SHAPE(s->model.moe.expert_drop_per == DROP_sample ? 1 : z.e, z.b, 1);
    node *mask = nn_mask(m, "expert_drop", per, 1, l->expert_drop);
    if (!mask)
        return y;
    return op_reshape(op_mul(op_reshape(y, SHAPE(z.e, z.b, z.s * z.d)), mask), y->shape);
}

/* For analysis: "silence" (e 1 1), where given, multiplies each expert's output; the tap is (e b s d). */
static node *expert_seen(struct nn *m, node *y, struct sizes z)
{
    node *mask = nn_mask(m, "silence", SHAPE(z.e, 1, 1), 1, 0);
    y = mask ? op_mul(y, mask) : y;
    nn_tap(m, op_reshape(y, SHAPE(z.e, z.b, z.s, z.d)), "experts");
    return y;
}

/* ---- routing ------------------------------------------------------------------------------------------- */

/* Heads apart: (b n (h k)) -> ((h b) n k), and back. One head: nothing moves. */
static node *split_heads(node *x, struct sizes z)
{
    if (z.h == 1)
        return x;
    x = op_transpose(op_reshape(x, SHAPE(z.b, z.n, z.h, z.k)), 2, 0, 1, 3);
    return op_reshape(x, SHAPE(z.h * z.b, z.n, z.k));
}

static node *merge_heads(node *x, struct sizes z)
{
    if (z.h == 1)
        return x;
    x = op_transpose(op_reshape(x, SHAPE(z.h, z.b, z.n, z.k)), 1, 2, 0, 3);
    return op_reshape(x, SHAPE(z.b, z.n, z.d));
}

/* The reference's Soft MoE with a slot norm leaves both sides at the length they have. */
static bool on_sphere(const struct spec *s)
{
    return s->model.moe.kind == MOE_sphero || !s->model.moe.slot_norm;
}

/* What tokens are compared by: ((h b) n k). */
static node *moe_keys(struct nn *m, const struct spec *s, node *x)
{
    if (s->model.moe.key_proj)
        x = scale_offset(m, &(struct moe){ 0 }, x, "phi_key_proj");
    bool original = s->model.moe.kind == MOE_vmoe;
    return s->model.moe.key_norm && on_sphere(s) ? op_l2norm(x, NORM_EPS, original) : x;
}

/* x (b n d) -> (b to d): tokens between tokens, as torch's linear interpolation without aligned corners. */
static node *moe_interpolated(struct nn *m, node *x, i64 to)
{
    i64 n = node_dim(x, 1);
    arena *a = arena_open("weights");
    f32 *w = arena_array(a, f32, to * n);
    for (i64 i = 0; i < to; i++) {
        f64 at = fmax(((f64)i + .5) * (f64)n / (f64)to - .5, 0);
        i64 left = MIN((i64)at, n - 1), right = MIN(left + 1, n - 1);
        w[i * n + left] += (f32)(1 - (at - (f64)left));
        w[i * n + right] += (f32)(at - (f64)left);
    }
    node *y = op_matmul(graph_constant(m->g, "interpolation", SHAPE(to, n), w), x, 0);
    arena_close(a);
    return y;
}

/* What slots are compared by: (h (e s) k), ((e s) d) for one head, (b (e s) d) where they come from
 * the tokens. */
static node *moe_queries(struct nn *m, const struct spec *s, node *x, struct sizes z)
{
    struct shape rows = z.h == 1 ? SHAPE(z.e * z.s, z.d) : SHAPE(z.e * z.s, z.h, z.k);
    struct init normal = { INIT_NORMAL, (f32)(1 / sqrt((f64)z.d)) }, orthogonal = { INIT_ORTHOGONAL, 1 };
    if (s->model.moe.kind == MOE_vmoe) {
        node *mu = op_reshape(nn_param(m, "mu", SHAPE(z.d, z.e, z.s), normal), SHAPE(z.d, z.e * z.s));
        return op_l2norm(op_transpose(mu, 1, 0), NORM_EPS, true);
    }
    node *phi;
    if (s->model.moe.input_as_phi) {
        phi = moe_interpolated(m, x, z.e * z.s);
    } else {
        struct init start = s->model.moe.kind == MOE_sphero ? orthogonal : normal;
        phi = op_reshape(nn_param(m, "phi", SHAPE(z.e, z.s, z.d), start), rows);
    }
    if (s->model.moe.query_proj)
        phi = scale_offset(m, &(struct moe){ 0 }, phi, "phi_query_proj");
    if (s->model.moe.slot_norm)
        phi = nn_layernorm(m, phi, "slot_norm", SLOT_EPS);
    if (on_sphere(s))
        phi = op_l2norm(phi, NORM_EPS, false);
    return z.h == 1 ? phi : op_transpose(phi, 1, 0, 2);
}

static node *moe_scalar(struct nn *m, const struct spec *s, const char *name)
{
    return nn_param(m, name, SCALAR, (struct init){ INIT_CONSTANT, (f32)s->model.moe.temperature });
}

/* Dispatch over tokens, combine over slots, of similarities over a temperature plus the noise that both sides
 * share. Soft MoE has its scale in the similarities already. */
static struct routing moe_routing(struct nn *m, const struct spec *s, node *logits, node *noise)
{
    bool entmax = s->model.moe.combine == COMBINE_entmax15;
    if (s->model.moe.kind != MOE_sphero) {
        node_keep_f32(logits);
        logits = noise ? op_add(logits, noise) : logits;
        node *disp = op_softmax(logits, 1);
        return (struct routing){ disp, entmax ? op_entmax15(logits) : op_softmax(logits, 2) };
    }
    node *t_disp = moe_scalar(m, s, "scales.0");
    node *t_comb = s->model.moe.shared_temperature ? t_disp : moe_scalar(m, s, "scales.1");
    return op_route(logits, t_disp, t_comb, noise, entmax);
}

/* How alike tokens and slots are: ((h b) n (e s)), the cosine where both lie on the sphere. */
static node *moe_similarity(struct nn *m, const struct spec *s, node *x, struct sizes z)
{
    node *key = moe_keys(m, s, x), *query = moe_queries(m, s, x, z);
    if (s->model.moe.kind != MOE_sphero)
        query = op_mul(query, moe_scalar(m, s, "scale"));
    if (s->model.moe.input_as_phi)
        query = op_scale(query, (f32)(1 / sqrt((f64)z.d)));
    if (z.h == 1)
        return op_matmul(key, query, TRANS_B);
    node *logits = op_matmul(op_reshape(key, SHAPE(z.h, z.b * z.n, z.k)), query, TRANS_B);
    return op_reshape(logits, SHAPE(z.h * z.b, z.n, z.e * z.s));
}

/* A routing weight as a tap: (b n ..) or (b h n ..), as the last axes say. */
static void tap_weights(struct nn *m, node *w, const char *name, struct sizes z, i64 e, i64 s)
{
    node *seen = op_reshape(w, SHAPE(z.h, z.b, z.n, e * s));
    seen = z.h == 1 ? seen : op_transpose(seen, 1, 0, 2, 3);
    struct shape one = SHAPE(z.b, z.n, e, s), many = SHAPE(z.b, z.h, z.n, e, s);
    if (e == 1) {
        one = SHAPE(z.b, z.n, s);
        many = SHAPE(z.b, z.h, z.n, s);
    }
    nn_tap(m, op_reshape(seen, z.h == 1 ? one : many), name);
}

static struct sizes moe_sizes_of(const struct spec *s, const struct moe *l, const node *x)
{
    struct sizes z = { node_dim(x, 0), node_dim(x, 1), node_dim(x, 2), l->heads, 0,
                       l->core + l->universal, s->model.moe.slots };
    z.k = z.d / z.h;
    if (z.k * z.h != z.d)
        graph_complain(x->g, "%lld heads do not divide %lld channels", (long long)z.h, (long long)z.d);
    return z;
}

node *moe_layer(struct nn *m, const struct spec *s, const struct moe *l, node *x)
{
    struct sizes z = moe_sizes_of(s, l, x);
    f64 std = s->model.moe.noise == NOISE_ONE_OVER_E ? 1 / (f64)z.e : s->model.moe.noise;
    node *token = split_heads(x, z);                                                    /* (h b) n k        */
    node *logits = moe_similarity(m, s, token, z);                                      /* (h b) n (e s)    */
    node *noise = nn_noise(m, "noise", logits->shape, node_dim(logits, 1), (f32)std,
                           s->model.moe.noise_when == NOISE_always);
    struct routing w = moe_routing(m, s, logits, noise);
    tap_weights(m, w.disp, "dispatch", z, z.e, z.s);
    tap_weights(m, w.comb, "combine", z, 1, z.e * z.s);

    node *slot = op_matmul(w.disp, token, TRANS_A);                                     /* (h b) (e s) k    */
    slot = op_transpose(op_reshape(slot, SHAPE(z.h, z.b, z.e, z.s, z.k)), 2, 1, 3, 0, 4); /* e b s h k      */
    slot = op_reshape(slot, SHAPE(z.e, z.b * z.s, z.d));
    node *y = expert_drop(m, s, l, all_experts(m, s, l, slot), z);                      /* e (b s) d        */
    y = expert_seen(m, y, z);
    y = op_transpose(op_reshape(y, SHAPE(z.e, z.b, z.s, z.h, z.k)), 3, 1, 0, 2, 4);     /* h b e s k        */
    y = op_matmul(w.comb, op_reshape(y, SHAPE(z.h * z.b, z.e * z.s, z.k)), 0);          /* (h b) n k        */
    return merge_heads(y, z);
}
