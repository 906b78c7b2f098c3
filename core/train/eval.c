/* eval.c: class scores and accuracy of a model in evaluation mode. */
#include "train/learner.h"
#include <limits.h>
#include <math.h>

int evaluator_open(struct evaluator *e, const struct spec *s, dev *d, params *p, int batch)
{
    *e = (struct evaluator){ .g = graph_new(d), .batch = batch, .classes = s->model.classes };
    struct nn m = { .g = e->g, .p = p };
    e->g->half = model_precision(s);
    e->images = graph_input(e->g, "images", F32, model_images(s, batch));
    graph_step(e->g);
    e->logits = node_keep(model_build(&m, s, e->images));
    simplify_graph(e->g);
    if (graph_compile(e->g) || feed_open(&e->feed, d, e->images, true))
        return -1;
    step_words w = { .u = { [STEP_SEED_LO] = (u32)s->seed, [STEP_SEED_HI] = (u32)((u64)s->seed >> 32) } };
    return e->g->step->home.mem ? node_write(e->g->step, &w) : 0;
}

void evaluator_close(struct evaluator *e)
{
    feed_close(&e->feed);
    graph_free(e->g);
    *e = (struct evaluator){ 0 };
}

/* The scores of the whole batch are numbers, or the first tensor that holds something else is named. */
static int eval_check_numbers(const struct evaluator *e, const struct batch *b, const f32 *logits)
{
    for (i64 i = 0; i < (i64)b->n * e->classes; i++)
        if (!isfinite(logits[i]))
            return graph_find_nan(e->g) ? -1 : fail(FAULT_NUMBERS, "the model's class scores are not numbers");
    return 0;
}

/* A short batch fills the front; the rest is left from before and computed for nothing. */
int evaluator_logits(struct evaluator *e, const struct batch *b, f32 *logits)
{
    range out = e->logits->home;
    out.bytes = out.bytes / (u64)e->batch * (u64)b->n;
    if (feed_batch(&e->feed, b, 0, b->n) || graph_run(e->g) || mem_read(e->g->d, out, logits))
        return -1;
    return eval_check_numbers(e, b, logits);
}

/* How many logits are not smaller than the true one's: 0 is top-1. A NaN is never right. */
static int eval_rank(const f32 *z, int classes, int label)
{
    int above = 0;
    for (int k = 0; k < classes; k++)
        above += k != label && !(z[k] < z[label]);
    return isnan(z[label]) ? INT_MAX : above;
}

/* Of the others the largest, the first of equal ones. */
int eval_predicted(const f32 *z, int classes, int label)
{
    int best = -1, above = eval_rank(z, classes, label);
    for (int k = 0; k < classes && above; k++)
        if (k != label && (best < 0 || z[k] > z[best]))
            best = k;
    return best < 0 ? label : best;
}

static f64 cross_entropy(const f32 *z, int classes, int label)
{
    f64 top = -INFINITY, sum = 0;
    for (int k = 0; k < classes; k++)
        top = fmax(top, z[k]);
    for (int k = 0; k < classes; k++)
        sum += exp(z[k] - top);
    return top + log(sum) - z[label];
}

void eval_count(const f32 *logits, const i32 *labels, int n, int classes, struct run_eval *sums,
                i64 *confusion)
{
    for (int i = 0; i < n; i++) {
        const f32 *z = logits + (i64)i * classes;
        int label = labels[i], above = eval_rank(z, classes, label);
        sums->top1 += above == 0;
        sums->top5 += above < 5;
        sums->loss += cross_entropy(z, classes, label);
        sums->n++;
        if (confusion)
            confusion[(i64)label * classes + eval_predicted(z, classes, label)]++;
    }
}

/* Of all batches, in their order, so that the sum does not depend on who computed which. */
enum { SUMS = 4 };
static void add_batches(const f64 *sums, i64 batches, struct run_eval *out)
{
    *out = (struct run_eval){ 0 };
    for (i64 k = 0; k < batches; k++, sums += SUMS) {
        out->top1 += sums[0];
        out->top5 += sums[1];
        out->loss += sums[2];
        out->n += (i64)sums[3];
    }
}

/* A batch's logits and labels on the way to rank 0, which counts those of all in their order: what it counts is
 * then to the digit that of one rank. */
struct eval_row { i64 n; f32 values[]; };

static u64 eval_bytes(const struct evaluator *e)
{
    return sizeof(struct eval_row) + 4 * (u64)e->batch * (u64)(e->classes + 1);
}

static int eval_collect(const struct evaluator *e, arena *a, const struct batch *b, const f32 *logits,
                        struct scores *s)
{
    u64 bytes = eval_bytes(e), *sizes = arena_array(a, u64, dist_size());
    void **into = arena_array(a, void *, dist_size());
    struct eval_row *own = arena_bytes(a, (size_t)bytes, 8);
    own->n = b ? b->n : 0;
    if (b) {
        memcpy(own->values, logits, 4 * (size_t)own->n * (size_t)e->classes);
        memcpy(own->values + (i64)e->batch * e->classes, b->labels, 4 * (size_t)own->n);
    }
    for (int r = 0; r < dist_size(); r++) {
        sizes[r] = bytes;
        into[r] = dist_rank() ? NULL : arena_bytes(a, (size_t)bytes, 8);
    }
    if (dist_gather(own, into, sizes))
        return -1;
    for (int r = 0; r < dist_size() && !dist_rank(); r++) {
        const struct eval_row *x = into[r];
        const i32 *labels = (const i32 *)(x->values + (i64)e->batch * e->classes);
        for (i64 i = 0; i < x->n; i++)
            scores_add(s, x->values + i * e->classes, labels[i]);
    }
    return 0;
}

/* Together, once per round in which each rank has a batch; in the last one a rank may have none. */
static int eval_round(const struct evaluator *e, const struct batch *b, const f32 *logits, struct scores *s,
                      int rc)
{
    if (dist_size() == 1) {
        for (int i = 0; !rc && i < b->n; i++)
            scores_add(s, logits + (i64)i * e->classes, b->labels[i]);
        return rc;
    }
    bool none = false;
    arena *a = arena_open("scores");
    rc = dist_agree_flag(rc, &none) || eval_collect(e, a, b, logits, s) ? -1 : 0;
    arena_close(a);
    return rc;
}

int evaluate(struct evaluator *e, loader *l, struct run_eval *out, struct scores *s)
{
    arena *a = arena_open("evaluation");
    f32 *logits = arena_array(a, f32, (i64)e->batch * e->classes);
    f64 start = clock_now();
    i64 batches = loader_batches(l), done = 0, all;
    int rc = 0;
    char bar[32];
    loader_place(l, 0, &all);
    f64 *sums = arena_array(a, f64, SUMS * MAX(1, all));
    loader_start(l, 0, 0);
    for (const struct batch *b; !rc && (b = loader_next(l)); loader_release(l, b)) {
        if (dist_size() == 1 && stop_requested()) {      // several ranks stop together, at the next step
            rc = fail(stop_fault(), "stopped by a signal during the evaluation");
            continue;
        }
        rc = evaluator_logits(e, b, logits);
        struct run_eval of = { 0 };
        if (!rc)
            eval_count(logits, b->labels, b->n, e->classes, &of, NULL);
        memcpy(sums + SUMS * loader_place(l, done, &all), (f64[SUMS]){ of.top1, of.top5, of.loss, (f64)of.n },
               SUMS * sizeof *sums);
        rc = s ? eval_round(e, b, logits, s, rc) : rc;
        progress("evaluating %s %lld/%lld", say_bar(bar, 24, (f64)done / (f64)batches), (long long)done,
                 (long long)batches);
        done++;
    }
    for (; s && !rc && dist_size() > 1 && done * dist_size() < all; done++)     // others may have a batch more
        rc = eval_round(e, NULL, NULL, s, fail_fault() != FAULT_NONE ? -1 : 0);
    rc = dist_agree(rc || fail_fault() != FAULT_NONE ? -1 : 0) || dist_sum(sums, SUMS * all) ? -1 : 0;
    add_batches(sums, all, out);
    arena_close(a);
    if (rc)
        return -1;
    if (!out->n)
        return fail(FAULT_DATA, "nothing to evaluate on");
    out->top1 *= 100.0 / (f64)out->n;
    out->top5 *= 100.0 / (f64)out->n;
    out->loss /= (f64)out->n;
    out->seconds = clock_now() - start;
    return 0;
}
