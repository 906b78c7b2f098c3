/* lockstep.c: two graphs of one network, node by node. Each node of both works on the same operands, those of
 * the reference, so that errors do not add up: what a node is off by is its own kernel's doing.
 *
 *     node 0   reference ----> values --.--> compare
 *              device    ----> values --'
 *                 '<---- the reference's values, for the nodes that follow
 *
 * What has float64 loops on the host (products, sums, normalisations, softmax, entmax, loss) is held against
 * those, both the device's and the plain kernel; everything else against the reference device. Where one
 * side has an op that the other composes of several (attention, routing), the stretch between two nodes that
 * both have is looked at as a whole.
 */
#include "study/compare.h"
#include "model/model.h"
#include "study/lockstep_host.h"
#include <math.h>
#include <stdlib.h>

struct side { dev *d; params *p; graph *g; node *images, *targets; };

static int side_open(struct side *x, const struct spec *s, int n)
{
    if (!(x->p = model_params(s)) || params_open(x->p, x->d, PARAMS_GRAD))
        return -1;
    x->g = graph_new(x->d);
    x->g->half = model_precision(s);
    struct nn m = { x->g, x->p, .train = true };
    x->images = graph_input(x->g, "images", F32, model_images(s, n));
    x->targets = graph_input(x->g, "targets", F32, SHAPE(n, s->model.classes));
    graph_step(x->g);
    node *loss = node_keep(op_mean(op_cross_entropy(model_build(&m, s, x->images), x->targets, 0.1f)));
    node **wrt = arena_array(x->g->a, node *, x->p->n), **grads = arena_array(x->g->a, node *, x->p->n);
    for (size_t i = 0; i < x->p->n; i++)
        wrt[i] = nn_node(&m, x->p->list[i].name);
    model_grad(s, loss, wrt, (int)x->p->n, grads);
    for (size_t i = 0; i < x->p->n && !x->g->complaint; i++)
        if (grads[i])
            simplify_place(grads[i], x->p->list[i].grad);
    simplify_graph(x->g);
    return graph_compile(x->g);
}

static void side_close(struct side *x)
{
    graph_free(x->g);
    params_free(x->p);
}

/* Weights, images, labels and step: the same for both, from the host. */
static int side_fill(struct side *x, const struct spec *s, arena *a)
{
    rng r = rng_at(1, RNG_TEST, 0, 0);
    i64 n = node_count(x->images), rows = node_dim(x->targets, 0), classes = node_dim(x->targets, 1);
    f32 *v = arena_array(a, f32, n), *t = arena_array(a, f32, rows * classes);
    step_words *w = arena_one(a, step_words);
    *w = (step_words){ .u = { [STEP_SEED_LO] = 7 } };
    for (i64 i = 0; i < n; i++)
        v[i] = (f32)rng_normal(&r);
    for (i64 i = 0; i < rows; i++)
        t[i * classes + rng_below(&r, (u32)classes)] = 1;
    for (size_t i = 0; i < x->p->n; i++) {
        struct param *k = &x->p->list[i];
        f32 *start = arena_array(a, f32, shape_count(k->shape));
        param_start(k, (u64)s->seed, start, a);
        for (i64 j = 0; j < shape_count(k->shape); j++)
            start[j] += 0.05f * (f32)rng_normal(&r);       // zeros and ones would hide a wrong bias or scale
        if (params_write(x->p, k, start))
            return -1;
    }
    return node_write(x->images, v) || node_write(x->targets, t) || graph_set_step(x->g, w) || dev_finish(x->d)
           ? -1 : 0;
}

/* ---- values ---------------------------------------------------------------------------------------------- */

/* Raw bytes, and as f64; NULL + fail. */
static f64 *step_values(arena *a, const node *n, void **raw)
{
    i64 count = node_count(n);
    f64 *v = arena_array(a, f64, MAX(1, count));
    f32 *w = arena_array(a, f32, MAX(1, count));
    *raw = arena_bytes(a, MAX(16, (size_t)n->home.bytes), 16);
    if (mem_read(n->g->d, n->home, *raw) || node_read(n, w))
        return NULL;
    for (i64 i = 0; i < count; i++)
        v[i] = w[i];
    return v;
}

struct gap { f64 error, ulps; bool equal; };

static struct gap step_gap(const f64 *x, const f64 *want, i64 n)
{
    f64 gap = 0, size = 0, most = 0, top = 0;
    bool equal = true, broken = false;
    for (i64 i = 0; i < n; i++) {
        f64 d = fabs(x[i] - want[i]);
        equal &= d == 0 || (isnan(x[i]) && isnan(want[i])) || x[i] == want[i];
        broken |= !isfinite(d) && x[i] != want[i] && !(isnan(x[i]) && isnan(want[i]));
        if (!isfinite(d))
            continue;
        gap += d * d;
        size += want[i] * want[i];
        most = MAX(most, d);
        top = MAX(top, fabs(want[i]));
    }
    if (broken)
        return (struct gap){ INFINITY, INFINITY, false };
    return (struct gap){ gap > 0 ? sqrt(gap / MAX(size, 1e-300)) : 0,
                         most > 0 ? most / MAX(top, 0x1p-126) * 0x1p23 : 0, equal };
}

/* ---- one node ------------------------------------------------------------------------------------------- */

struct stepping {
    struct lockstep *l;
    arena *a;
    struct side *ref, *x;
    f64 unit;
    int cap;
    const char *stretch;                          /* kernels since the last node that both have; "" */
    size_t pairs;
    u16 (*pair)[2];                     /* nodes that both have: places in the reference, in the device's */
    f64 roundings;                      /* of that stretch; and what values that are not shared may be off by */
};

static const char *step_kernels(arena *a, const graph *g, const node *n)
{
    const char *text = "";
    for (int i = n->list.from, shown = 0; i < n->list.to && shown < 3; i++) {
        const launch *k = launches_at(g->list, i);
        if (shown && strstr(text, k->kernel))
            continue;
        text = shown ? arena_printf(a, "%s+%s", text, k->kernel)
             : k->source ? arena_printf(a, "%s (generated)", k->file)
             : arena_printf(a, "%s.cl %s", k->file, k->kernel);
        shown++;
    }
    return text;
}

static struct lockstep_kernel *step_row(struct stepping *s, const char *name)
{
    for (int i = 0; i < s->l->n_kernels; i++)
        if (!strcmp(s->l->kernels[i].name, name))
            return &s->l->kernels[i];
    if (s->l->n_kernels == s->cap)
        return NULL;
    struct lockstep_kernel *k = &s->l->kernels[s->l->n_kernels++];
    *k = (struct lockstep_kernel){ .name = arena_printf(s->a, "%s", name), .where = "", .equal = true };
    return k;
}

static void step_count(struct stepping *s, const node *n, const char *kernels, struct gap gap, f64 bound)
{
    struct lockstep *l = s->l;
    struct lockstep_kernel *k = step_row(s, kernels);
    l->nodes++;
    l->equal += gap.equal;
    if (!k)
        return;
    k->nodes++;
    k->equal &= gap.equal;
    k->ulps = MAX(k->ulps, gap.ulps);
    if (!k->bound || gap.error / bound > k->error / k->bound) {
        k->error = gap.error;
        k->bound = bound;
        k->where = arena_printf(s->a, "%s", n->name);
    }
    k->failed |= !(gap.error <= bound);
    if (!(gap.error <= bound) && !l->first) {
        l->first = arena_printf(s->a, "%s: %s in %s", n->name, node_title(n), kernels);
        l->error = gap.error;
    }
}

/* n of the reference and m of the device, both just run: compared; then the
 * device's becomes the reference's. */
static int step_compare(struct stepping *s, const node *n, const node *m, const f64 *host, const char *kernels)
{
    if (n->op->flags & OP_PARTIAL)
        return 0;
    arena *a = arena_open("values");
    void *raw, *other;
    f64 *want = step_values(a, n, &raw), *got = want ? step_values(a, m, &other) : NULL;
    f64 bound = 16 * s->unit * sqrt(record_roundings(n) + s->roundings);
    int rc = got ? 0 : -1;
    if (got && host)                              // the plain kernel is looked at too
        step_count(s, n, arena_printf(a, "plain %s", kernels), step_gap(want, host, node_count(n)), bound);
    if (got)
        step_count(s, m, kernels, step_gap(got, host ? host : want, node_count(n)), bound);
    if (got && m->type == n->type)
        rc = mem_write(s->x->d, m->home, raw);
    arena_close(a);
    return rc;
}

/* Nodes [from, to) that only this side has. */
static int step_alone(struct stepping *s, struct side *x, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        const node *n = x->g->nodes[i];
        if (n->list.from == n->list.to)
            continue;
        if (launches_run_part(x->g->list, n->list.from, n->list.to) || dev_finish(x->d))
            return -1;
        s->roundings += record_roundings(n);
        if (x == s->x && strlen(s->stretch) < 80)
            s->stretch = arena_printf(s->a, "%s%s > ", s->stretch, step_kernels(s->a, x->g, n));
    }
    return 0;
}

static int step_node(struct stepping *s, const node *n, const node *m)
{
    if (n->list.from == n->list.to && m->list.from == m->list.to)
        return 0;                                 // a leaf, a view, or what another node has written besides
    arena *a = arena_open("host");
    const f64 *operands[MAX_IN] = { 0 };
    void *raw;
    for (int k = 0; k < n->n_in && lockstep_on_host(n); k++)
        operands[k] = step_values(a, n->in[k], &raw);
    const f64 *host = lockstep_host(a, n, operands);
    int rc = launches_run_part(s->ref->g->list, n->list.from, n->list.to)
             || launches_run_part(s->x->g->list, m->list.from, m->list.to) || dev_finish(s->ref->d)
             || dev_finish(s->x->d);
    const char *kernels = arena_printf(a, "%s%s", s->stretch, step_kernels(a, s->x->g, m));
    rc = rc || step_compare(s, n, m, host, kernels);
    for (size_t k = 0; k < s->pairs && !rc; k++) {          // now, before their memory is used again
        const node *beside = s->ref->g->nodes[s->pair[k][0]], *own = s->x->g->nodes[s->pair[k][1]];
        if (beside->maker == n && own->maker == m)
            rc = step_compare(s, beside, own, NULL, kernels);
    }
    arena_close(a);
    return rc ? -1 : 0;
}

static bool step_same(const node *n, const node *m)
{
    return n->op == m->op && n->type == m->type && shape_equal(n->shape, m->shape) && !n->maker == !m->maker
           && !strcmp(n->name ? n->name : "", m->name ? m->name : "");
}

enum { MOST_NODES = 12000 };

/* The longest list of nodes that both have in the same order: *n pairs. */
static u16 (*step_pairs(arena *a, const graph *g, const graph *h, size_t *n))[2]
{
    size_t wide = h->n + 1;
    u16 *common = arena_array(a, u16, (g->n + 1) * wide),
        (*pair)[2] = arena_bytes(a, (MIN(g->n, h->n) + 1) * 4, 4);
    for (size_t i = g->n; i-- > 0;)
        for (size_t j = h->n; j-- > 0;)
            common[i * wide + j] = step_same(g->nodes[i], h->nodes[j])
                                   ? (u16)(common[(i + 1) * wide + j + 1] + 1)
                                   : MAX(common[(i + 1) * wide + j], common[i * wide + j + 1]);
    *n = 0;
    for (size_t i = 0, j = 0; i < g->n && j < h->n;)
        if (step_same(g->nodes[i], h->nodes[j]))
            pair[*n][0] = (u16)i++, pair[(*n)++][1] = (u16)j++;
        else if (common[(i + 1) * wide + j] >= common[i * wide + j + 1])
            i++;
        else
            j++;
    return pair;
}

static int step_all(struct stepping *s, arena *a)
{
    graph *g = s->ref->g, *h = s->x->g;
    size_t i = 0, j = 0;
    if (g->n > MOST_NODES || h->n > MOST_NODES)
        return fail(FAULT_USAGE, "a network of %zu nodes is too large to check node by node", h->n);
    s->pair = step_pairs(a, g, h, &s->pairs);
    f64 apart = s->pairs == g->n && g->n == h->n ? 0 : 64;
    for (size_t k = 0; k < s->pairs; k++) {
        const u16 *at = s->pair[k];
        s->stretch = "";
        s->roundings = apart;
        if (step_alone(s, s->ref, i, at[0]) || step_alone(s, s->x, j, at[1])
            || step_node(s, g->nodes[at[0]], h->nodes[at[1]]))
            return -1;
        i = at[0] + 1u;
        j = at[1] + 1u;
    }
    return 0;
}

static int by_bound(const void *a, const void *b)
{
    const struct lockstep_kernel *x = a, *y = b;
    f64 p = x->error / MAX(x->bound, 1e-300), q = y->error / MAX(y->bound, 1e-300);
    return (p < q) - (p > q);
}

int lockstep_run(struct lockstep *l, arena *a, const struct spec *s, dev *d, dev *reference, int n)
{
    static const char *const names[] = { "fp32", "bf16", "fp16" };
    struct side ref = { reference }, x = { d };
    struct stepping step = { .l = l, .a = a, .ref = &ref, .x = &x, .cap = 256, .stretch = "" };
    arena *host = arena_open("lockstep");
    *l = (struct lockstep){ .kernels = arena_array(a, struct lockstep_kernel, 256) };
    step.unit = record_unit(names[s->train.precision == PRECISION_fp16 ? 2 : s->train.precision ? 1 : 0]);
    int rc = side_open(&ref, s, n) || side_open(&x, s, n) || side_fill(&ref, s, host) || side_fill(&x, s, host)
             ? -1 : 0;
    rc = rc || step_all(&step, host) ? -1 : 0;
    qsort(l->kernels, (size_t)l->n_kernels, sizeof *l->kernels, by_bound);
    side_close(&x);
    side_close(&ref);
    arena_close(host);
    return rc;
}
