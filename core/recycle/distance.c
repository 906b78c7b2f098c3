/* distance.c: what recycling alone keeps of the predecessor: class scores of both on the same images, before
 * any training. */
#include "recycle/stage.h"
#include <math.h>

/* ---- class scores of a model on the first images ------------------------------------------------------- */

struct scorer { graph *g; node *images, *logits; struct feed feed; };

static int scorer_open(struct scorer *x, const struct spec *s, dev *d, params *p, int batch)
{
    x->g = graph_new(d);
    struct nn m = { .g = x->g, .p = p };
    x->images = graph_input(x->g, "images", F32, model_images(s, batch));
    graph_step(x->g);
    x->logits = node_keep(model_build(&m, s, x->images));
    simplify_graph(x->g);
    if (graph_compile(x->g) || feed_open(&x->feed, d, x->images, true))
        return -1;
    step_words w = { .u = { [STEP_SEED_LO] = (u32)s->seed, [STEP_SEED_HI] = (u32)((u64)s->seed >> 32) } };
    return x->g->step->home.mem ? node_write(x->g->step, &w) : 0;
}

/* Of the first `n` training images, as the model's own evaluation sees them; returns how many, or -1. */
static i64 distance_scores(const struct spec *s, dev *d, params *p, i64 n, f32 *out)
{
    struct scorer x = { 0 };
    struct data_options o = data_options_of(s, true);
    o.train = false;
    o.augment = (struct augment_options){ 0 };
    o.limit = n;
    o.spread = true;
    o.batch = (int)MIN(n, 32);
    i64 done = 0;
    dataset *set = data_open(&o);
    loader *l = set ? loader_open(set, &o) : NULL;
    int rc = l ? scorer_open(&x, s, d, p, o.batch) : -1;
    if (!rc)
        loader_start(l, 0, 0);
    for (const struct batch *b; !rc && (b = loader_next(l)); loader_release(l, b)) {
        range part = x.logits->home;
        part.bytes = part.bytes / (u64)o.batch * (u64)b->n;
        f32 *to = out + done * s->model.classes;
        rc = b->n && (feed_batch(&x.feed, b, 0, b->n) || graph_run(x.g) || mem_read(d, part, to)) ? -1 : 0;
        done += b->n;
    }
    if (l && fail_fault() != FAULT_NONE)
        rc = -1;
    if (l)
        loader_close(l);
    if (set)
        data_close(set);
    feed_close(&x.feed);
    graph_free(x.g);
    return rc ? -1 : done;
}

/* ---- the recycled model with the predecessor's head ---------------------------------------------------- */

/* The head of `classes` rows, its columns the channels kept. */
static int give_head(params *p, const struct predecessor *of, const i32 *channels, arena *a)
{
    const char *name = of->n.convnext ? "head.fc.weight" : "head.weight";
    const char *bias = of->n.convnext ? "head.fc.bias" : "head.bias";
    struct param *w = params_find(p, name), *b = params_find(p, bias);
    const tensor *from = ckpt_find(of->c, name), *from_bias = ckpt_find(of->c, bias);
    i64 rows = w->shape.d[0], columns = w->shape.d[1], wide = from->shape[1];
    f32 *all = arena_array(a, f32, from->count), *v = arena_array(a, f32, rows * columns);
    f32 *c = arena_array(a, f32, rows);
    if (tensor_weights(from, all) || (from_bias && tensor_weights(from_bias, c)))
        return -1;
    for (i64 i = 0; i < rows; i++)
        for (i64 j = 0; j < columns; j++)
            v[i * columns + j] = all[i * wide + (channels ? channels[j] : j)];
    return params_write(p, w, v) || params_write(p, b, c) ? -1 : 0;
}

static params *open_recycled(const struct spec *s, const ckpt *recycled, const struct predecessor *of,
                             const i32 *channels, dev *d)
{
    arena *a = arena_open("recycled");
    params *p = model_params(s);
    int rc = p ? params_open(p, d, PARAMS_FORWARD) : -1;
    for (size_t i = 0; !rc && i < p->n; i++) {
        const tensor *t = ckpt_find(recycled, p->list[i].name);
        if (!text_starts(p->list[i].name, "head.") || text_starts(p->list[i].name, "head.norm."))
            rc = t ? params_write(p, &p->list[i], tensor_data(t)) : -1;
    }
    rc = rc || give_head(p, of, channels, a) ? -1 : 0;
    arena_close(a);
    if (rc)
        params_free(p);
    return rc ? NULL : p;
}

static int distance_first(const f32 *z, int n)
{
    int best = 0;
    for (int k = 1; k < n; k++)
        best = z[k] > z[best] ? k : best;
    return best;
}

static void distance_compare(const f32 *before, const f32 *after, i64 n, int classes,
                             struct recycle_report *r)
{
    f64 apart = 0, length = 0, same = 0;
    for (i64 i = 0; i < n; i++) {
        const f32 *x = before + i * classes, *y = after + i * classes;
        for (int k = 0; k < classes; k++) {
            apart += ((f64)y[k] - (f64)x[k]) * ((f64)y[k] - (f64)x[k]);
            length += (f64)x[k] * (f64)x[k];
        }
        same += distance_first(x, classes) == distance_first(y, classes);
    }
    r->distance = length > 0 ? sqrt(apart / length) : NAN;
    r->agreement = same / (f64)n;
}

int distance_measure(struct predecessor *p, const struct spec *s, const ckpt *recycled, const i32 *channels,
                     dev *d, struct recycle_report *r)
{
    i64 n = s->recycle.compare;
    if (!n || !p->n.classes || !*s->data.set)
        return 0;
    struct spec with_head = *s;
    with_head.model.classes = p->n.classes;
    arena *a = arena_open("scores");
    f32 *before = arena_array(a, f32, n * p->n.classes), *after = arena_array(a, f32, n * p->n.classes);
    fail_clear();
    params *q = predecessor_load(p, d) ? NULL : open_recycled(&with_head, recycled, p, channels, d);
    i64 got = q ? distance_scores(&p->s, d, p->p, n, before) : -1;
    i64 again = got > 0 ? distance_scores(&with_head, d, q, n, after) : got;
    params_free(q);
    if (got > 0 && again == got)
        distance_compare(before, after, got, p->n.classes, r);
    arena_close(a);
    return got < 0 || again < 0 ? -1 : 0;
}
