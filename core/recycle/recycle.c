/* recycle.c: recycling as a stage: predecessors in, a complete checkpoint of the successor out. Nothing is
 * written before everything is there.
 *
 *     check widths -> statistics -> picks -> graft -> fill up with initial values -> compare -> save
 */
#include "dist/dist.h"
#include "recycle/stage.h"

struct stage {
    struct spec *s;                                 /* model.classes is filled in */
    dev *d;
    arena *a;
    struct model_about about;
    struct predecessor experts, dense;              /* dense.c NULL: none */
    struct anatomy to;
    struct statistics statistics;
    struct picks picks;
    ckpt *grafted, *out;
};

/* ---- what can be wrong before anything is measured ----------------------------------------------------- */

/* The trunk comes whole from the dense predecessor, so it must be of the successor's sizes. */
static int check_dense(const struct stage *r)
{
    const struct anatomy *n = &r->dense.n, *to = &r->to;
    if (n->convnext != to->convnext || n->depth != to->depth)
        return fail(FAULT_DATA, "%s: %d %s blocks, the successor has %d: recycle.from.dense must be of the "
                    "successor's sizes",
                    r->dense.path, n->depth, n->convnext ? "ConvNeXt" : "ViT", to->depth);
    for (int l = 0; l < n->depth; l++) {
        const struct block_shape *x = &n->block[l], *y = &to->block[l];
        if (x->stage != y->stage || x->dim != y->dim || x->hidden != y->hidden)
            return fail(FAULT_DATA, "%s: block %d has %d channels and %d neurons, the successor's %d and %d: "
                        "recycle.from.dense must be of the successor's sizes",
                        r->dense.path, l, x->dim, x->hidden, y->dim, y->hidden);
    }
    return 0;
}

/* Classes and normalisation of the images to be learnt; without a data set, the predecessor's classes. */
static int look_at_data(struct stage *r)
{
    struct data_options o = data_options_of(r->s, true);
    if (!*r->s->data.set) {
        int n = r->dense.c ? r->dense.n.classes : r->experts.n.classes;
        if (!r->s->model.classes && !(r->s->model.classes = n))
            return spec_fail(r->s, "model.classes",
                             "model.classes: auto needs a data set, or a predecessor with a head");
        return 0;
    }
    dataset *set = data_open(&o);
    if (!set)
        return -1;
    int n = data_classes(set);
    const char **names = arena_array(r->a, const char *, n);
    f64 *mean = arena_array(r->a, f64, 3), *std = arena_array(r->a, f64, 3);
    f32 m[3], d[3];
    data_mean_std(set, m, d);
    for (int i = 0; i < n; i++)
        names[i] = arena_printf(r->a, "%s", data_class_name(set, i));
    for (int i = 0; i < 3; i++) {
        mean[i] = m[i];
        std[i] = d[i];
    }
    r->about = (struct model_about){ .classes = names, .n_classes = n, .mean = mean, .std = std };
    data_close(set);
    if (!r->s->model.classes)
        r->s->model.classes = n;
    if (r->s->model.classes == n)
        return 0;
    return spec_fail(r->s, "model.classes", "model.classes is %d, but the data set has %d",
                     r->s->model.classes, n);
}

int recycle_check(const struct spec *s)
{
    if (!strategy_find(s->recycle.strategy))
        return spec_fail(s, "recycle.strategy", "%s", fail_message());
    if (*s->recycle.from.dense && !s->model.moe.layers.n)
        return spec_fail(s, "recycle.from.dense", "a model without experts (model.moe.layers: []) would be "
                         "that checkpoint whole: start from it with model.init, or cut it as "
                         "recycle.from.experts");
    return 0;
}

static int open_predecessors(struct stage *r)
{
    const struct spec *s = r->s;
    int needs = recycle_check(s) ? 0 : strategy_find(s->recycle.strategy)->needs;
    if (recycle_check(s))
        return -1;
    if (!*s->recycle.from.experts)
        return spec_fail(s, "recycle.from.experts",
                         "recycling needs recycle.from.experts, a dense checkpoint");
    anatomy_of_spec(s, r->a, &r->to);
    if (predecessor_open(&r->experts, s, s->recycle.from.experts, r->a))
        return -1;
    bool dense = *s->recycle.from.dense;
    if (dense && (predecessor_open(&r->dense, s, s->recycle.from.dense, r->a) || check_dense(r)))
        return -1;
    // With every choice made blindly, all that is wrong with the widths shows.
    struct spec blind = *s;
    struct picks unused;
    if (needs)
        blind.recycle.strategy = "uniform";
    if (needs && predecessor_heads(&r->experts))
        return -1;
    return picks_make(&blind, &r->experts.n, &r->to, NULL, r->a, &unused);
}

static int recycle_open_all(struct stage *r) { return open_predecessors(r) || look_at_data(r) ? -1 : 0; }

/* ---- filling up ---------------------------------------------------------------------------------------- */

static bool recycle_same_shape(const tensor *t, const struct param *x)
{
    return t && tensor_shape_is(t, x->shape.nd, x->shape.d);
}

/* Only a head of other classes and a grid of other size may differ in shape. */
static int check_shape(const tensor *t, const struct param *x, const char *path)
{
    char have[200], want[200];
    if (!t || text_starts(x->name, "head.") || text_ends(x->name, "pos_embed"))
        return 0;
    return fail(FAULT_DATA, "%s: %s becomes %s, the successor's is %s", path, x->name,
                tensor_shape_text(have, t->nd, t->shape),
                tensor_shape_text(want, x->shape.nd, x->shape.d));
}

/* What was not grafted, or does not fit as it is: initial values, then what ckpt_load makes of the graft. */
static int add_started(struct stage *r, const params *p, const bool *grafted)
{
    struct want *w = arena_array(r->a, struct want, p->n);
    const ckpt *source = r->dense.c ? r->dense.c : r->experts.c;
    struct load_options o = model_load_options(r->s);
    struct load_report report;
    ckpt *rest = ckpt_new();
    int n = 0;
    o.strict = o.norm_to_fc_norm = false;
    o.may_be_empty = true;                          // all that fits was grafted
    if (ckpt_meta(source, "grid"))
        ckpt_set_meta(rest, "grid", ckpt_meta(source, "grid"));
    for (size_t i = 0; i < p->n; i++) {
        const struct param *x = &p->list[i];
        const tensor *t = ckpt_find(r->grafted, x->name);
        if (grafted[i])
            continue;
        w[n] = (struct want){ .name = x->name, .nd = x->shape.nd,
                              .data = arena_array(r->a, f32, shape_count(x->shape)) };
        memcpy(w[n].shape, x->shape.d, sizeof *w->shape * (size_t)x->shape.nd);
        param_start(x, (u64)r->s->seed, w[n++].data, r->a);
        if (check_shape(t, x, r->experts.path)) {
            ckpt_close(rest);
            return -1;
        }
        if (t)
            ckpt_add(rest, t->name, t->type, t->nd, t->shape, tensor_data(t));
    }
    int rc = ckpt_load(r->a, rest, w, n, &o, &report), started = 0;
    for (int i = 0; i < n && !rc; i++) {
        ckpt_add(r->out, w[i].name, CKPT_F32, w[i].nd, w[i].shape, w[i].data);
        say(SAY_VERBOSE, "recycle: %s %s", w[i].name,
            w[i].got == GOT_RESIZED ? "resized" : "starts at its initial values");
        started += w[i].got == GOT_NOTHING;
    }
    say(SAY_NORMAL, "recycle: %d parameters come from the predecessor%s, %d start at their initial values",
        (int)p->n - started, r->dense.c ? "s" : "", started);
    ckpt_close(rest);
    return rc;
}

/* Grafted is what the graft has in its own shape; a position embedding also needs the same grid. */
static int recycle_assemble(struct stage *r)
{
    params *p = model_params(r->s);
    if (!p)
        return -1;
    bool *grafted = arena_array(r->a, bool, p->n), other_grid = false;
    const ckpt *source = r->dense.c ? r->dense.c : r->experts.c;
    struct load_options o = model_load_options(r->s);
    int grid[2];
    if (ckpt_meta(source, "grid") && sscanf(ckpt_meta(source, "grid"), "%d %d", &grid[0], &grid[1]) == 2)
        other_grid = grid[0] != o.grid[0] || grid[1] != o.grid[1];
    r->out = ckpt_new();
    for (size_t i = 0; i < p->n; i++) {
        const tensor *t = ckpt_find(r->grafted, p->list[i].name);
        grafted[i] = recycle_same_shape(t, &p->list[i]) && !(other_grid && text_ends(t->name, "pos_embed"));
        if (grafted[i])
            ckpt_add(r->out, t->name, CKPT_F32, t->nd, t->shape, tensor_data(t));
    }
    int rc = add_started(r, p, grafted);
    params_free(p);
    return rc;
}

static void recycle_describe(struct stage *r, const struct recycle_report *report)
{
    ckpt *c = r->out;
    model_describe(c, r->s, r->a, &r->about);
    ckpt_set_meta(c, "parent.experts", r->experts.sha256);
    if (r->dense.c)
        ckpt_set_meta(c, "parent.dense", r->dense.sha256);
    ckpt_set_meta(c, "recycle.strategy", r->s->recycle.strategy);
    ckpt_set_meta(c, "recycle.seed", arena_printf(r->a, "%lld", (long long)r->s->seed));
    ckpt_set_meta(c, "recycle.report", recycle_report_json(r->a, report));
}

/* ---- the stage ----------------------------------------------------------------------------------------- */

static int recycle_stages(struct stage *r, const char *out_path, struct recycle_report *report)
{
    const struct spec *s = r->s;
    if (dist_agree(ckpt_can_save(out_path) || recycle_open_all(r) ? -1 : 0))
        return -1;
    // A strategy that needs no statistics is still told about in the report, where there are some.
    int needs = strategy_find(s->recycle.strategy)->needs;
    if (statistics_get(&r->experts, s, needs ? r->d : NULL, needs & NEEDS_TOGETHER, r->a, &r->statistics))
        return -1;
    const struct statistics *st = r->statistics.depth ? &r->statistics : NULL;
    if (picks_make(s, &r->experts.n, &r->to, st, r->a, &r->picks))
        return -1;
    r->grafted = ckpt_new();
    if (recycle_graft(s, r->experts.c, r->dense.c, &r->experts.n, &r->to, &r->picks, r->a, r->grafted)
        || recycle_assemble(r))
        return -1;
    recycle_report_make(s, &r->experts.n, &r->to, st, &r->picks, r->a, report);
    struct predecessor *trunk = r->dense.c ? &r->dense : &r->experts;
    const i32 *channels = r->dense.c ? NULL : r->picks.channel[r->to.stages - 1];
    if (distance_measure(trunk, s, r->out, channels, r->d, report)) {
        if (fail_fault() != FAULT_DATA)
            return -1;
        warn("not compared with the predecessor: %s", fail_message());
        fail_clear();
    }
    recycle_describe(r, report);
    return ckpt_save(r->out, out_path);
}

/* A rank other than 0: it measures a part of the images, where it can. */
static int recycle_help(struct stage *r)
{
    const struct spec *s = r->s;
    if (dist_agree(0))
        return -1;
    int needs = strategy_find(s->recycle.strategy)->needs;
    if (predecessor_open(&r->experts, s, s->recycle.from.experts, r->a)) {
        ckpt_close(r->experts.c);
        r->experts.c = NULL;
        fail_clear();
    }
    return statistics_get(&r->experts, s, needs ? r->d : NULL, needs & NEEDS_TOGETHER, r->a, &r->statistics);
}

static void stage_close(struct stage *r)
{
    ckpt_close(r->out);
    ckpt_close(r->grafted);
    predecessor_close(&r->dense);
    predecessor_close(&r->experts);
    arena_close(r->a);
}

int recycle_check_inputs(const struct spec *s)
{
    struct spec copy = *s;
    struct stage r = { .s = &copy, .a = arena_open("recycling") };
    int rc = *s->recycle.from.experts ? open_predecessors(&r) : 0;
    stage_close(&r);
    return rc;
}

int recycle_run(const struct spec *s, dev *d, const char *out_path, arena *a, struct recycle_report *report)
{
    struct spec copy = *s;
    struct stage r = { .s = &copy, .d = d, .a = arena_open("recycling") };
    struct recycle_report mine;
    struct data_options images = data_options_of(s, true);
    int rc = *s->data.set ? dist_share_index(&images) : 0;
    rc = rc ? rc : dist_rank() ? recycle_help(&r) : recycle_stages(&r, out_path, &mine);
    rc = dist_agree(rc);
    if (!rc && report && !dist_rank()) {
        *report = mine;
        report->layer = arena_array(a, struct layer_report, mine.layers + 1);
        memcpy(report->layer, mine.layer, sizeof *mine.layer * (size_t)mine.layers);
    }
    stage_close(&r);
    return rc;
}

int recycle_forecast(const struct spec *s, const struct spec *from, dev *d, f64 *seconds)
{
    int needs = strategy_find(s->recycle.strategy)->needs, rc = 0;
    arena *a = arena_open("recycling");
    struct predecessor p = { 0 };
    *seconds = 0;
    if (needs)
        rc = predecessor_like(&p, s, from, d, a) || measuring_forecast(&p, d, needs & NEEDS_TOGETHER, seconds)
             ? -1 : 0;
    predecessor_close(&p);
    arena_close(a);
    return rc;
}

int recycle_try(const struct spec *s, dev *d, FILE *f)
{
    struct spec copy = *s;
    struct stage r = { .s = &copy, .d = d, .a = arena_open("recycling") };
    char time[24], memory[24], size[24];
    params *p = NULL;
    f64 each = 0;
    int rc = recycle_open_all(&r), needs = rc ? 0 : strategy_find(s->recycle.strategy)->needs;
    if (!rc && needs)
        rc = measuring_forecast(&r.experts, d, needs & NEEDS_TOGETHER, &each);
    if (!rc && (p = model_params(&copy))) {
        fprintf(f, "%s: %s of parameters\n", s->name, text_bytes(size, (f64)params_bytes(p, PARAMS_FORWARD)));
        if (needs)
            fprintf(f,
                    "statistics of %d images: about %s at %.1f img/s, unless they are saved already; %s of "
                    "device memory\n",
                    s->recycle.images, text_time(time, each * s->recycle.images), 1 / each,
                    text_bytes(memory, (f64)dev_mem_peak(d)));
    }
    rc = rc || !p ? -1 : 0;
    params_free(p);
    stage_close(&r);
    return rc;
}
