/* tune_model.c: for every shape of a training step's products and attention, one parameter after the other: its
 * values race the best so far, alternately, so that other work slows both. What wins by 3 % and agrees with
 * the generic kernels is the new best.
 *
 *     shipped -- KB: 128, 384, 512 --> best -- NP: 192, 768 --> best -- ... --> again against shipped; kept
 */
#include "bench/tune.h"
#include <math.h>
#include <stdlib.h>

enum { MACROS = 6, VALUES = 6, ROUNDS = 9 };
#define GAIN 0.97
struct choice { const char *macro; i32 values[VALUES]; };       /* to try besides what ships; ends in 0 */

/* One shape: a small graph of its own can be built from what is here. */
struct job {
    const struct kind *kind;
    char         key[64];
    struct shape in[2];
    int          n_in, arg;              /* arg: transposes, or heads */
    int          uses;
    f64          macs;
};

struct kind {
    const op *op;
    const char *name;
    void    (*key)(const node *n, char key[64]);
    int     (*arg)(const node *n);
    int       n_in;
    node   *(*build)(const struct job *j, node *const *in);      /* the values that are compared */
    struct choice of_class[2][MACROS];   /* by enum dev_class */
};

static int trans_of(const node *n) { return ((const struct matmul_args *)n->args)->trans; }
static node *build_product(const struct job *j, node *const *in) { return op_matmul(in[0], in[1], j->arg); }

/* Its gradient, with the forward part that it needs. */
static node *build_attention(const struct job *j, node *const *in)
{
    node *y = op_attention(in[0], j->arg), *dx;
    grad_build_from(y, op_scale(y, .5f), in, 1, &dx);
    return dx;
}

static const struct kind kinds[] = {
    { &matmul_op, "matmul", matmul_key, trans_of, 2, build_product,
      { { { "KB", { 128, 192, 256, 384, 768 } }, { "PACK", { 12288, 49152, 98304, 196608 } },
          { "GROUPS", { 1, 2, 8 } }, { "BLOCKS", { 1, 128 } }, { "TILE", { 1, 2, 3, 4, 5 } } },
        { { "TILE", { 1, 2, 3, 4 } }, { "GROUPS", { 64, 1024 } }, { "SPLIT_K", { 64, 1024 } },
          { "BLAS", { 1, 1 << 20 } } } } },
    { &attention_op, "attention", attention_key, attention_heads, 1, build_attention,
      { { { "BLOCK", { 8192, 16384, 65536 } } }, { { "ROWS", { 32, 64 } } } } },
};

/* ---- the shapes ---------------------------------------------------------------------------------------- */

struct jobs { arena *a; struct job *list; size_t n, cap; };

static void add_job(struct jobs *all, const struct kind *kind, const node *n)
{
    char key[64];
    kind->key(n, key);
    for (size_t i = 0; i < all->n; i++)
        if (all->list[i].kind == kind && !strcmp(all->list[i].key, key)) {
            all->list[i].uses++;
            return;
        }
    struct job *j = arena_push(all->a, all->list, all->n, all->cap);
    *j = (struct job){ .kind = kind, .n_in = kind->n_in, .arg = kind->arg(n), .uses = 1,
                       .macs = n->op->macs(n) };
    memcpy(j->key, key, sizeof key);
    for (int k = 0; k < kind->n_in; k++)
        j->in[k] = n->in[k]->shape;
}

/* The step's graph as the learner builds it, without its memory. */
static int find_jobs(struct jobs *all, const struct spec *s, dev *d)
{
    struct session e = { .s = *s, .d = d };
    params *p = session_fit(&e) ? NULL : model_params(s);
    if (!p)
        return -1;
    i64 size = s->train.batch / e.s.train.accumulate;
    struct nn m = { graph_new(d), p, .train = true };
    graph *g = m.g;
    node *images = graph_fixed(g, "images", F32, model_images(s, size), RANGE_NONE);
    node *target = graph_fixed(g, "targets", F32, SHAPE(size, s->model.classes), RANGE_NONE);
    node *loss = op_mean(op_cross_entropy(model_build(&m, s, images), target, (f32)s->augment.smoothing));
    node **wrt = arena_array(g->a, node *, p->n), **grads = arena_array(g->a, node *, p->n);
    for (size_t i = 0; i < p->n && !g->complaint; i++)
        wrt[i] = nn_node(&m, p->list[i].name);
    if (!g->complaint)
        model_grad(s, loss, wrt, (int)p->n, grads);
    for (size_t i = 0; i < p->n && !g->complaint; i++)
        if (grads[i])
            simplify_place(grads[i], RANGE_NONE);
    simplify_graph(g);
    for (size_t i = 0; i < g->n && !g->complaint; i++)
        for (int k = 0; k < countof(kinds); k++)
            if (g->nodes[i]->op == kinds[k].op)
                add_job(all, &kinds[k], g->nodes[i]);
    int rc = g->complaint ? fail(FAULT_USAGE, "%s", g->complaint) : 0;
    graph_free(g);
    params_free(p);
    return rc;
}

static f64 work_of(const struct job *j) { return j->macs * j->uses; }

/* The most work first. */
static void sort_jobs(struct jobs *all)
{
    struct job *list = all->list;
    for (size_t i = 1; i < all->n; i++)
        for (size_t k = i; k > 0 && work_of(&list[k]) > work_of(&list[k - 1]); k--) {
            struct job j = list[k];
            list[k] = list[k - 1];
            list[k - 1] = j;
        }
}

/* ---- a race -------------------------------------------------------------------------------------------- */

struct trial  { graph *g; node *y; };
struct result { f64 a, b, ratio; };

static void trial_close(struct trial *t)
{
    graph_free(t->g);
    *t = (struct trial){ 0 };
}

/* The shape's graph on d, as its tunables stand now, with the same inputs each time. 0, or -1 + fail and
 * nothing open. */
static int trial_open(struct trial *t, const struct job *j, dev *d)
{
    t->g = graph_new(d);
    node *in[2];
    rng r = rng_at(1, RNG_TEST, 0, 0);
    for (int k = 0; k < j->n_in; k++)
        in[k] = graph_input(t->g, "in", F32, j->in[k]);
    t->y = node_keep(j->kind->build(j, in));
    simplify_graph(t->g);
    int rc = graph_compile(t->g);
    for (int k = 0; k < j->n_in && !rc; k++) {
        arena *a = arena_open("values");
        f32 *v = arena_array(a, f32, node_count(in[k]));
        for (i64 i = 0; i < node_count(in[k]); i++)
            v[i] = (f32)(2 * rng_unit(&r) - 1);
        rc = node_write(in[k], v);
        arena_close(a);
    }
    rc = rc || graph_run(t->g) || dev_finish(d) ? -1 : 0;
    if (rc)
        trial_close(t);
    return rc;
}

static bool same_text(const char *x, const char *y) { return !strcmp(x ? x : "", y ? y : ""); }

static bool same_arg(const arg *p, const arg *q)
{
    return p->kind == q->kind && !(p->kind == ARG_KIND_INT && p->i != q->i)
        && !(p->kind == ARG_KIND_LONG && p->l != q->l) && !(p->kind == ARG_KIND_LOCAL && p->bytes != q->bytes)
        && !(p->kind == ARG_KIND_LONG4 && memcmp(p->l4, q->l4, sizeof p->l4));
}

/* Would both enqueue the same? Then no race is needed. */
static bool same_launches(const launches *x, const launches *y)
{
    if (launches_count(x) != launches_count(y))
        return false;
    for (int i = 0; i < launches_count(x); i++) {
        const launch *a = launches_at(x, i), *b = launches_at(y, i);
        if (!same_text(a->kernel, b->kernel) || !same_text(a->defs, b->defs)
            || memcmp(a->global, b->global, sizeof a->global) || memcmp(a->local, b->local, sizeof a->local))
            return false;
        for (int k = 0; k < MAX_ARGS && (a->args[k].kind || b->args[k].kind); k++)
            if (!same_arg(&a->args[k], &b->args[k]))
                return false;
    }
    return true;
}

static int time_one(const struct trial *t, int times, f64 *took)
{
    f64 start = clock_now();
    for (int i = 0; i < times; i++)
        if (graph_run(t->g))
            return -1;
    if (dev_finish(t->g->d))
        return -1;
    *took = (clock_now() - start) / times;
    return 0;
}

static int tune_ascending(const void *a, const void *b)
{
    f64 x = *(const f64 *)a, y = *(const f64 *)b;
    return (x > y) - (x < y);
}

/* Both alternately: the least seconds of each, and b's over a's: of the least ones or in the middle of the
 * rounds, whichever says less for b. A clear loser runs no further. */
static int tune_race(const struct trial *a, const struct trial *b, struct result *r)
{
    f64 once, x, y, ratio[ROUNDS];
    int n = 0;
    *r = (struct result){ 1e9, 1e9, 1 };
    if (time_one(a, 1, &once))
        return -1;
    int times = (int)MAX(1, MIN(1000, 3e-3 / once));
    while (n < ROUNDS && (n < 2 || r->b < 1.2 * r->a)) {
        if (time_one(a, times, &x) || time_one(b, times, &y))
            return -1;
        ratio[n++] = y / x;
        r->a = MIN(r->a, x);
        r->b = MIN(r->b, y);
    }
    qsort(ratio, (size_t)n, sizeof *ratio, tune_ascending);
    r->ratio = MAX(ratio[n / 2], r->b / r->a);
    return 0;
}

/* ---- a shape ------------------------------------------------------------------------------------------- */

struct tuner { arena *a; dev *d, *plain; f64 deadline; f32 *want; };

/* What the generic kernels make of it, once for a shape. */
static int find_want(struct tuner *u, const struct job *j)
{
    struct trial t;
    if (u->want)
        return 0;
    if (trial_open(&t, j, u->plain))
        return -1;
    f32 *v = arena_array(u->a, f32, node_count(t.y));
    int rc = node_read(t.y, v);
    trial_close(&t);
    u->want = rc ? NULL : v;
    return rc;
}

/* 1: its values are right; 0: they are not; -1 + fail. */
static int tune_agrees(struct tuner *u, const struct job *j, const struct trial *t)
{
    if (find_want(u, j))
        return -1;
    arena_mark mark = arena_save(u->a);
    i64 n = node_count(t->y);
    f32 *got = arena_array(u->a, f32, n);
    f64 top = 0, far = 0;
    int rc = node_read(t->y, got);
    bool finite = true;
    for (i64 i = 0; i < n && !rc; i++) {
        top = fmax(top, fabs(u->want[i]));
        far = fmax(far, fabs((f64)got[i] - u->want[i]));
        finite &= isfinite(got[i]) != 0;
    }
    arena_restore(u->a, mark);
    return rc ? -1 : finite && far <= 1e-4 * top;
}

static void set_rows(struct tuner *u, const struct job *j, const struct choice *c, const i32 *now)
{
    dev_tune_drop(u->d, j->kind->name, j->key);
    for (int m = 0; m < MACROS; m++)
        if (now[m])
            dev_tune_set(u->d, j->kind->name, j->key, c[m].macro, now[m]);
}

/* On a GPU, does b's compiler keep more outside registers than a's? Then it is not even timed. */
static bool tune_spills(const dev *d, const struct trial *a, const struct trial *b)
{
    return dev_class(d) == DEV_GPU && !dev_info(d)->cpu_kind &&
           launches_private(b->g->list) > launches_private(a->g->list);
}

/* One value against the best so far; takes its place when it wins. */
static int try_value(struct tuner *u, const struct job *j, const char *what, struct trial *best,
                     struct tune_row *r, bool *won)
{
    struct trial t;
    struct result got;
    *won = false;
    if (trial_open(&t, j, u->d)) {                // more than this device can do
        say(SAY_VERBOSE, "%s %s: %s", j->kind->name, j->key, fail_message());
        fail_clear();
        return 0;
    }
    int right = 1, rc = 0;
    if (tune_spills(u->d, best, &t)) {
        say(SAY_VERBOSE, "%s %s: %s spills registers", j->kind->name, j->key, what);
    } else if (!same_launches(best->g->list, t.g->list)) {
        r->tried++;
        rc = tune_race(best, &t, &got);
        *won = !rc && got.ratio < GAIN;
        right = *won ? tune_agrees(u, j, &t) : 1;
    }
    if (!right)
        warn("%s %s: %s disagrees with the generic kernel; not used", j->kind->name, j->key,
             what);
    *won = *won && right == 1;
    if (*won) {
        trial_close(best);
        *best = t;
    } else {
        trial_close(&t);
    }
    return rc || right < 0 ? -1 : 0;
}

static int tune_job(struct tuner *u, const struct job *j, struct tune_row *r)
{
    const struct choice *c = j->kind->of_class[dev_class(u->d) == DEV_GPU];
    struct trial shipped, best = { 0 };
    i32 now[MACROS] = { 0 };
    struct result got;
    bool any = false;
    int rc = -1;
    *r = (struct tune_row){ .kernel = j->kind->name, .shape = arena_printf(u->a, "%s", j->key), .choice = "",
                            .uses = j->uses };
    arena_mark mark = arena_save(u->a);
    u->want = NULL;
    set_rows(u, j, c, now);
    if (trial_open(&shipped, j, u->d) || trial_open(&best, j, u->d))
        goto done;
    for (int m = 0; m < MACROS && c[m].macro; m++)
        for (int v = 0; v < VALUES && c[m].values[v] && clock_now() < u->deadline; v++) {
            i32 before = now[m];
            bool won;
            now[m] = c[m].values[v];
            set_rows(u, j, c, now);
            progress("%s %s: %s = %d", r->kernel, r->shape, c[m].macro, now[m]);
            if (try_value(u, j, arena_printf(u->a, "%s=%d", c[m].macro, now[m]), &best, r, &won))
                goto done;
            now[m] = won ? now[m] : before;
            any |= won;
        }
    if (tune_race(&shipped, &best, &got))
        goto done;
    if (!any || !(got.ratio < GAIN)) {
        memset(now, 0, sizeof now);
        got.b = got.a = MIN(got.a, got.b);
        got.ratio = 1;
    }
    r->shipped_ms = 1e3 * got.a;
    r->best_ms = 1e3 * got.b;
    r->ratio = got.ratio;
    rc = 0;
done:
    set_rows(u, j, c, now);
    trial_close(&best);
    trial_close(&shipped);
    arena_restore(u->a, mark);
    for (int m = 0; m < MACROS && !rc; m++)
        if (now[m])
            r->choice = arena_printf(u->a, "%s%s%s=%d", r->choice, *r->choice ? " " : "", c[m].macro, now[m]);
    return rc;
}

int tune_model(arena *a, const struct spec *s, dev *d, f64 seconds, struct tune_row **rows)
{
    struct tuner u = { a, d, NULL, clock_now() + seconds, NULL };
    struct jobs all = { a };
    int n = 0, rc = -1;
    if (dev_class(d) == DEV_NULL)
        return fail(FAULT_USAGE, "the null device computes nothing; there is nothing to tune");
    if (find_jobs(&all, s, d) || !(u.plain = dev_open(dev_info(d)->spec)))
        return -1;
    dev_force_plain(u.plain);
    sort_jobs(&all);
    *rows = arena_array(a, struct tune_row, all.n);
    for (; n < (int)all.n && (!n || clock_now() < u.deadline); n++) {
        progress_label(arena_printf(a, "[%d/%d] ", n + 1, (int)all.n));
        if (tune_job(&u, &all.list[n], &(*rows)[n]) || dev_tune_save(d))
            goto done;
    }
    if (n < (int)all.n)
        say(SAY_NORMAL, "out of time after %d of %d shapes, the largest first", n, (int)all.n);
    rc = n;
done:
    progress_label("");
    progress_done();
    dev_close(u.plain);
    return rc;
}
