/* nodecheck.c: a graph node by node, each against its op's float64 loops.
 *
 *     operands, as the device has them --.--> kernel -----> values
 *                                        '--> op->host ---> values, compared
 */
#include "study/nodecheck.h"
#include "model/model.h"
#include "study/compare.h"
#include <math.h>

/* ---- values ---------------------------------------------------------------------------------------- */

/* Of a node as f64, integers as such; of a strided view all that it is a view of. NULL + fail. */
static f64 *node_values(arena *a, const node *n)
{
    n = op_strided(n) ? n->in[0] : n;
    i64 count = node_count(n);
    f64 *v = arena_array(a, f64, MAX(1, count));
    f32 *raw = arena_bytes(a, MAX(16, MAX((size_t)n->home.bytes, (size_t)count * 4)), 16);
    if (node_read(n, raw))
        return NULL;
    for (i64 i = 0; i < count; i++) {
        u32 word;
        memcpy(&word, &raw[i], sizeof word);
        v[i] = n->type == I32 ? (f64)word : (f64)raw[i];
    }
    return v;
}

struct gap { f64 error, ulps, largest; bool equal; };

static struct gap node_gap(const f64 *x, const f64 *want, i64 n)
{
    f64 gap = 0, size = 0, most = 0, top = 0;
    bool equal = true, broken = false;
    for (i64 i = 0; i < n; i++) {
        if (isnan(want[i]))
            continue;
        f64 d = fabs(x[i] - want[i]);
        equal &= x[i] == (f64)(f32)want[i];
        broken |= !isfinite(d) && x[i] != want[i];
        if (!isfinite(d))
            continue;
        gap += d * d;
        size += want[i] * want[i];
        most = MAX(most, d);
        top = MAX(top, fabs(want[i]));
    }
    if (broken)
        return (struct gap){ INFINITY, INFINITY, top, false };
    return (struct gap){ gap > 0 ? sqrt(gap / MAX(size, 1e-300)) : 0,
                         most > 0 ? most / MAX(top, 0x1p-126) * 0x1p23 : 0, top, equal };
}

/* ---- the table ------------------------------------------------------------------------------------- */

struct kernel_checks kernel_checks_new(arena *a)
{
    enum { MOST = 512 };
    return (struct kernel_checks){ .a = a, .cap = MOST, .list = arena_array(a, struct kernel_check, MOST) };
}

static struct kernel_check *kernel_row(struct kernel_checks *c, const char *name)
{
    for (int i = 0; i < c->n; i++)
        if (!strcmp(c->list[i].name, name))
            return &c->list[i];
    if (c->n == c->cap)
        return &c->list[c->cap - 1];
    c->list[c->n] = (struct kernel_check){ .name = arena_printf(c->a, "%s", name), .bound = 1, .where = "",
                                           .equal = true };
    return &c->list[c->n++];
}

void kernel_checked(struct kernel_checks *c, const char *kernel, const char *where, const f64 *got,
                    const f64 *want, i64 n, f64 bound)
{
    struct kernel_check *k = kernel_row(c, kernel);
    struct gap gap = node_gap(got, want, n);
    bool failed = !(gap.error <= bound);
    c->nodes++;
    c->equal += gap.equal;
    k->nodes++;
    k->equal &= gap.equal;
    k->failed |= failed;
    k->ulps = MAX(k->ulps, gap.ulps);
    k->largest = MAX(k->largest, gap.largest);
    if (gap.error / bound >= k->error / k->bound) {
        k->error = gap.error;
        k->bound = bound;
        k->where = arena_printf(c->a, "%s", where);
    }
    if (failed && !c->first) {
        c->first = arena_printf(c->a, "%s in %s", where, kernel);
        c->error = gap.error;
    }
}

/* ---- one node -------------------------------------------------------------------------------------- */

/* "attention.cl attention_dq+attention_dkv" */
static const char *node_kernels(arena *a, const node *n)
{
    const char *text = "";
    for (int i = n->list.from; i < n->list.to; i++) {
        const launch *k = launches_at(n->g->list, i);
        bool again = false;
        for (int j = n->list.from; j < i; j++)
            again |= !strcmp(launches_at(n->g->list, j)->kernel, k->kernel);
        if (!again)
            text = *text       ? arena_printf(a, "%s+%s", text, k->kernel)
                   : k->source ? arena_printf(a, "%s (generated)", k->file)
                               : arena_printf(a, "%s.cl %s", k->file, k->kernel);
    }
    return text;
}

static int node_compare(struct kernel_checks *c, arena *a, const node *n, const f64 *const *operands, f64 unit)
{
    const node *by = n->maker ? n->maker : n;
    if (n->maker ? !by->op->host_side : !by->op->host) {
        c->unknown++;
        return 0;
    }
    f64 *want = arena_array(a, f64, MAX(1, node_count(n))), *got = node_values(a, n);
    for (i64 i = 0; i < node_count(n); i++)
        want[i] = NAN;
    if (!got)
        return -1;
    if (n->maker)
        by->op->host_side(by, n, operands, want);
    else
        by->op->host(n, operands, want);
    const char *where = arena_printf(a, "%s: %s", n->name, node_title(n));
    f64 roundings = MAX(record_roundings(n), record_roundings(by));
    kernel_checked(c, node_kernels(a, by), where, got, want, node_count(n), 16 * unit * sqrt(roundings));
    return 0;
}

static bool node_over_operand(const node *n)
{
    bool over = false;
    for (int k = 0; k < n->n_in; k++) {
        range x = n->in[k]->home, y = n->home;
        over |= x.mem == y.mem && x.off < y.off + y.bytes && y.off < x.off + x.bytes;
    }
    return over;
}

/* The bits of n and of what its launches write besides. */
static int node_bits(const node *n, u64 *hash)
{
    arena *a = arena_open("bits");
    int rc = 0;
    *hash = HASH_START;
    for (size_t i = 0; i < n->g->n && !rc; i++) {
        const node *x = n->g->nodes[i];
        if (x != n && x->maker != n)
            continue;
        u8 *raw = arena_bytes(a, MAX(16, (size_t)x->home.bytes), 16);
        rc = mem_read(n->g->d, x->home, raw);
        *hash = hash_bytes(*hash, raw, (size_t)node_bytes(x));
    }
    arena_close(a);
    return rc;
}

/* Small ones three times in a row, so that all of a CPU's threads are awake for the last. */
static int node_again(const node *n, bool small)
{
    int rc = 0;
    for (int i = small ? 0 : 2; i < 3 && !rc; i++)
        rc = launches_run_part(n->g->list, n->list.from, n->list.to);
    return rc || dev_finish(n->g->d) ? -1 : 0;
}

/* The same launches over the same operands: equal bits, or groups depend on one another's order. Where a
 * processor has other work, two orders in a row are often the same. */
static int node_repeat(struct kernel_checks *c, const node *n, arena *a)
{
    u64 first, now;
    if (node_over_operand(n))
        return 0;
    bool small = node_bytes(n) < 1 << 18;
    int rc = node_bits(n, &first), other = 0, times = small ? 9 : 6;
    for (int i = 0; i < times && !rc; i++) {
        rc = node_again(n, small) || node_bits(n, &now) ? -1 : 0;
        other += now != first;
    }
    if (rc || !other)
        return rc;
    const char *kernel = node_kernels(a, n);
    struct kernel_check *k = kernel_row(c, kernel);
    k->failed = k->unsteady = true;
    k->where = arena_printf(c->a, "%s: %s", n->name, node_title(n));
    if (!c->first)
        c->first = arena_printf(c->a, "%s in %s: other bits at each launch", k->where, kernel);
    return 0;
}

/* Weights of many experts are gigabytes in float64: their products are not looked at. */
static bool node_large(const node *n)
{
    enum { MOST_VALUES = 1 << 22 };
    i64 most = node_count(n);
    for (int k = 0; k < n->n_in; k++)
        most = MAX(most, node_count(n->in[k]));
    return most > MOST_VALUES;
}

/* Operands are read before the launches: a node may write over its own. */
static int node_check(struct kernel_checks *c, const node *n, f64 unit)
{
    graph *g = n->g;
    arena *a = arena_open("values");
    arena_mark mark = arena_save(g->a);
    const f64 *operands[MAX_IN] = { 0 };
    int rc = 0;
    for (int k = 0; k < n->n_in && !rc; k++)
        rc = (operands[k] = node_values(a, n->in[k])) ? 0 : -1;
    rc = rc || launches_run_part(g->list, n->list.from, n->list.to) || dev_finish(g->d)
         || node_compare(c, a, n, operands, unit) ? -1 : 0;
    for (size_t k = 0; k < g->n && !rc; k++)
        if (g->nodes[k]->maker == n)
            rc = node_compare(c, a, g->nodes[k], operands, unit);
    rc = rc || node_repeat(c, n, a) ? -1 : 0;
    arena_restore(g->a, mark);
    arena_close(a);
    return rc;
}

/* An argument without the place of its memory. */
static u64 node_work_arg(u64 h, const arg *a)
{
    h = hash_bytes(h, &a->kind, sizeof a->kind);
    if (a->kind == ARG_KIND_RANGE)
        return hash_bytes(h, &a->r.bytes, sizeof a->r.bytes);
    return hash_bytes(h, &a->l4, a->kind == ARG_KIND_LONG4 ? sizeof a->l4
                      : a->kind == ARG_KIND_INT || a->kind == ARG_KIND_REAL ? sizeof a->i : sizeof a->l);
}

/* What n's launches do, in whatever memory; 0 where a library does it, whose arguments are not known. */
static u64 node_work(const node *n)
{
    u64 h = hash_text(HASH_START, n->op->name);
    h = hash_bytes(h, n->shape.d, (size_t)n->shape.nd * sizeof *n->shape.d);
    for (int i = n->list.from; i < n->list.to; i++) {
        const launch *k = launches_at(n->g->list, i);
        const char *texts[] = { k->file, k->kernel, k->defs, k->source };
        if (k->args[0].kind == ARG_END)
            return 0;
        for (int j = 0; j < countof(texts); j++)
            h = hash_text(hash_text(h, "\n"), texts[j] ? texts[j] : "");
        h = hash_bytes(hash_bytes(h, k->global, sizeof k->global), k->local, sizeof k->local);
        for (int j = 0; j < MAX_ARGS && k->args[j].kind != ARG_END; j++)
            h = node_work_arg(h, &k->args[j]);
    }
    return h;
}

/* Is n's work that of a node before it? Blocks of a network repeat theirs: one of each is looked at. */
static bool node_known(u64 *seen, size_t *n_seen, const node *n)
{
    u64 work = node_work(n);
    for (size_t i = 0; work && i < *n_seen; i++)
        if (seen[i] == work)
            return true;
    seen[(*n_seen)++] = work;
    return false;
}

static int node_pass(const node *n)
{
    return launches_run_part(n->g->list, n->list.from, n->list.to) || dev_finish(n->g->d) ? -1 : 0;
}

/* Adds what each launch takes to its kernel's row. */
static int nodecheck_times(struct kernel_checks *c, graph *g)
{
    arena *a = arena_open("times");
    f64 *seconds = arena_array(a, f64, launches_count(g->list) + 1);
    int rc = launches_time(g->list, seconds);
    for (size_t i = 0; i < g->n && !rc; i++)
        for (int k = g->nodes[i]->list.from; k < g->nodes[i]->list.to; k++)
            kernel_row(c, node_kernels(a, g->nodes[i]))->ms += 1e3 * seconds[k];
    arena_close(a);
    return rc;
}

int nodecheck_graph(struct kernel_checks *c, graph *g, f64 unit)
{
    arena *a = arena_open("nodecheck");
    u64 *seen = arena_array(a, u64, g->n + 1);
    size_t n_seen = 0;
    int rc = 0;
    for (size_t i = 0; i < g->n && !rc; i++) {
        const node *n = g->nodes[i];
        if (n->list.from < n->list.to)
            rc = node_large(n) || node_known(seen, &n_seen, n) ? node_pass(n) : node_check(c, n, unit);
    }
    rc = rc || nodecheck_times(c, g) ? -1 : 0;
    arena_close(a);
    return rc;
}

/* ---- a network ------------------------------------------------------------------------------------- */

struct network { params *p; graph *g; node *images, *targets; };

static int network_open(struct network *x, const struct spec *s, dev *d, int n)
{
    if (!(x->p = model_params(s)) || params_open(x->p, d, PARAMS_GRAD))
        return -1;
    x->g = graph_new(d);
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

/* Every weight away from its start: zeros and ones would hide a wrong bias or scale. Large ones get a cheap
 * noise. */
static void weight_fill(const struct param *k, f32 *v, u64 seed, arena *a, rng *r)
{
    enum { LARGE = 1 << 20 };
    i64 n = shape_count(k->shape);
    u32 x = rng_u32(r);
    if (n <= LARGE)
        param_start(k, seed, v, a);
    for (i64 j = 0; j < n; j++) {
        x = x * 1664525 + 1013904223;
        v[j] = n <= LARGE ? v[j] + 0.05f * (f32)rng_normal(r) : 0.05f * 0x1p-31f * (f32)(i32)x;
    }
}

static int network_weights(struct network *x, const struct spec *s, rng *r)
{
    int rc = 0;
    for (size_t i = 0; i < x->p->n && !rc; i++) {
        struct param *k = &x->p->list[i];
        arena *a = arena_open("weights");
        f32 *v = arena_array(a, f32, shape_count(k->shape));
        weight_fill(k, v, (u64)s->seed, a, r);
        rc = params_write(x->p, k, v);
        arena_close(a);
    }
    return rc;
}

/* A micro-batch in the middle of a batch: what is drawn must be that of its place. */
static int network_fill(struct network *x, const struct spec *s, dev *d, arena *a)
{
    rng r = rng_at(1, RNG_TEST, 0, 0);
    i64 n = node_count(x->images), rows = node_dim(x->targets, 0), classes = node_dim(x->targets, 1);
    f32 *v = arena_array(a, f32, n), *t = arena_array(a, f32, rows * classes);
    step_words *w = arena_one(a, step_words);
    *w = (step_words){ .u = { [STEP_NUMBER] = 3, [STEP_SEED_LO] = 7, [STEP_BEFORE] = 2, [STEP_OTHERS] = 4 } };
    for (i64 i = 0; i < n; i++)
        v[i] = (f32)rng_normal(&r);
    for (i64 i = 0; i < rows; i++)
        t[i * classes + rng_below(&r, (u32)classes)] = 1;
    return network_weights(x, s, &r) || node_write(x->images, v) || node_write(x->targets, t)
           || graph_set_step(x->g, w) || dev_finish(d) ? -1 : 0;
}

int nodecheck_network(struct kernel_checks *c, const struct spec *s, dev *d, int n)
{
    struct network x = { 0 };
    arena *a = arena_open("nodecheck");
    f64 unit = record_unit(model_rounding(s, d));
    int rc = network_open(&x, s, d, n) || network_fill(&x, s, d, a) || nodecheck_graph(c, x.g, unit) ? -1 : 0;
    graph_free(x.g);
    params_free(x.p);
    arena_close(a);
    return rc;
}

int nodecheck_ahead(const struct spec *s, dev *d, int n)
{
    struct network x = { 0 };
    int rc = network_open(&x, s, d, n);
    for (size_t i = rc ? 0 : x.g->n; i > 0 && !rc; i--)
        rc = node_pass(x.g->nodes[i - 1]);
    graph_free(x.g);
    params_free(x.p);
    return rc;
}
