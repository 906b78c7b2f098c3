/* tune_model.c: for every shape of a training step's products and attention, one parameter after the other: its
 * values race the best so far, alternately, so that other work slows both. What wins by 3 % and agrees with
 * the generic kernels is the new best.
 *
 *     shipped -- KB: 128, 384, 512 --> best -- NP: 192, 768 --> best -- ... --> again against shipped; kept
 */
#include "bench/tune.h"
#include "bench/tune_trial.h"
#include <math.h>
#include <stdlib.h>

#define GAIN 0.97

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
                       .macs = n->op->macs(n), .out = n->type };
    memcpy(j->key, key, sizeof key);
    for (int k = 0; k < kind->n_in; k++) {
        j->in[k] = n->in[k]->shape;
        j->type[k] = n->in[k]->type;
    }
}

/* The step's graph as the learner builds it; of its memory only the weights', which say what is rounded once
 * (fuse/types.c). */
static int find_jobs(struct jobs *all, const struct spec *s, dev *d)
{
    struct session e = { .s = *s, .d = d };
    params *p = session_fit(&e) ? NULL : model_params(s);
    if (!p || params_open(p, d, PARAMS_FORWARD)) {
        params_free(p);
        return -1;
    }
    i64 size = s->train.batch / e.s.train.accumulate;
    struct nn m = { graph_new(d), p, .train = true };
    graph *g = m.g;
    g->half = model_precision(s);
    node *images = graph_input(g, "images", F32, model_images(s, size));
    node *target = graph_input(g, "targets", F32, SHAPE(size, s->model.classes));
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

/* ---- a shape ------------------------------------------------------------------------------------------- */

struct tuner { arena *a; dev *d, *plain; f64 deadline; f32 *want; };

/* What the generic kernels make of it in F32, once for a shape. */
static int find_want(struct tuner *u, const struct job *j)
{
    struct trial t;
    struct job exact = *j;
    if (u->want)
        return 0;
    exact.type[0] = exact.type[1] = exact.out = F32;
    if (trial_open(&t, &exact, u->plain))
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
    f64 most = job_half(j) ? 0x1p-6 : 1e-4;       // of BF16 some units in the last place
    return rc ? -1 : finite && far <= most * top;
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
    struct race got;
    *won = false;
    if (trial_open(&t, j, u->d)) {                // more than this device can do
        say(SAY_VERBOSE, "%s %s: %s", j->kind->name, j->key, fail_message());
        fail_clear();
        return 0;
    }
    int right = 1, rc = 0;
    if (tune_spills(u->d, best, &t)) {
        say(SAY_VERBOSE, "%s %s: %s spills registers", j->kind->name, j->key, what);
    } else if (!trial_same(best, &t)) {
        r->tried++;
        rc = trial_race(best, &t, &got);
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
    struct race got;
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
    if (trial_race(&shipped, &best, &got))
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
