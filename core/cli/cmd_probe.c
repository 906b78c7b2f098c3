/* cmd_probe.c: one forward, and one backward, of a checkpoint on a given batch: the door for comparing with
 * any other framework. Reads and writes safetensors; the model is in evaluation mode, so nothing is random
 * unless --noise is given. */
#include "cli/cli.h"
#include "model/model.h"
#include <fnmatch.h>
#include <math.h>

struct probe {
    struct cli *c;
    struct spec s;
    arena   *a;
    dev     *d;
    params  *p;
    graph   *g;
    ckpt    *w, *x, *y;                           /* the weights, what comes in, what goes out */
    const tensor *images, *labels, *soft_labels;  /* one kind of labels, or none */
    i64      b;
    struct nn m;
    node    *image_node, *label_node, *logits, *loss;
    struct tap *seen;                             /* activations asked for, and kept */
    size_t   n_seen, cap_seen;
};

/* ---- the batch ----------------------------------------------------------------------------------------- */

static int check_images(struct probe *b)
{
    char have[200], need[200];
    struct shape s = model_images(&b->s, 1);
    const tensor *t = b->images = ckpt_find(b->x, "images");
    if (!t)
        return fail(FAULT_DATA, "%s: no tensor 'images'", ckpt_path(b->x));
    b->b = t->nd ? t->shape[0] : 0;
    s.d[0] = b->b;
    if (b->b < 1 || !tensor_shape_is(t, s.nd, s.d))
        return fail(FAULT_DATA, "%s: images is %s, the model needs %s (model.image)", ckpt_path(b->x),
                    tensor_shape_text(have, t->nd, t->shape), tensor_shape_text(need, 4, s.d));
    return 0;
}

static int check_labels(struct probe *b)
{
    char have[200];
    b->labels = ckpt_find(b->x, "labels");
    b->soft_labels = ckpt_find(b->x, "soft_labels");
    if (b->labels && b->soft_labels)
        return fail(FAULT_DATA, "%s: has both labels and soft_labels; remove one of them", ckpt_path(b->x));
    if (cli_given(b->c, "grads") && !b->labels && !b->soft_labels)
        return fail(FAULT_DATA, "%s: --grads needs labels or soft_labels", ckpt_path(b->x));
    if (b->labels && !tensor_shape_is(b->labels, 1, &b->b))
        return fail(FAULT_DATA, "%s: labels is %s, expected [%lld]", ckpt_path(b->x),
                    tensor_shape_text(have, b->labels->nd, b->labels->shape), (long long)b->b);
    if (b->soft_labels && !tensor_shape_is(b->soft_labels, 2, (i64[]){ b->b, b->s.model.classes }))
        return fail(FAULT_DATA, "%s: soft_labels is %s, expected [%lld %d]", ckpt_path(b->x),
                    tensor_shape_text(have, b->soft_labels->nd, b->soft_labels->shape), (long long)b->b,
                    b->s.model.classes);
    return 0;
}

static int check_values(const struct probe *b, const char *name, const f32 *v, u64 n)
{
    for (u64 i = 0; i < n; i++)
        if (!isfinite(v[i]))
            return fail(FAULT_NUMBERS, "%s: %s holds a value that is not a number (element %llu is %g)",
                        ckpt_path(b->x), name, (unsigned long long)i, (f64)v[i]);
    return 0;
}

/* Rows of class probabilities: (b classes). */
static int write_labels(struct probe *b)
{
    i64 k = b->s.model.classes;
    f32 *rows = arena_array(b->a, f32, b->b * k);
    f64 *label = arena_array(b->a, f64, b->b);
    if (b->soft_labels)
        return tensor_to_f32(b->soft_labels, rows)
               || check_values(b, "soft_labels", rows, b->soft_labels->count)
               || node_write(b->label_node, rows) ? -1 : 0;
    if (tensor_to_f64(b->labels, label))
        return -1;
    for (i64 i = 0; i < b->b; i++) {
        if (!(label[i] >= 0 && label[i] < (f64)k) || label[i] != (f64)(i64)label[i])
            return fail(FAULT_DATA, "%s: labels[%lld] is %g, expected 0 to %lld", ckpt_path(b->x),
                        (long long)i, label[i], (long long)k - 1);
        rows[i * k + (i64)label[i]] = 1;
    }
    return node_write(b->label_node, rows);
}

static int write_inputs(struct probe *b)
{
    f32 *v = arena_array(b->a, f32, b->images->count);
    step_words w = { .u = { [STEP_SEED_LO] = (u32)b->s.seed, [STEP_SEED_HI] = (u32)((u64)b->s.seed >> 32) } };
    if (tensor_to_f32(b->images, v) || check_values(b, "images", v, b->images->count)
        || node_write(b->image_node, v) || (b->loss && write_labels(b)))
        return -1;
    return graph_set_step(b->g, &w) || dev_finish(b->d) ? -1 : 0;
}

/* ---- weights ------------------------------------------------------------------------------------------- */

/* Classes and pooling are the file's where the experiment leaves them open. */
static int probe_settle(struct probe *b, const char *weights)
{
    if (!(b->w = ckpt_open_model(weights, b->s.model.init_ema)))
        return -1;
    b->s.model.init = "";
    model_settle(&b->s, b->w);
    if (!b->s.model.classes)
        b->s.model.classes = model_head(b->w);
    return b->s.model.classes ? 0 : fail(FAULT_USAGE,
                                         "%s has no head: how many classes? (--set model.classes=N)", weights);
}

/* Numbers are only worth comparing when every parameter came from the file. */
static int probe_load_weights(struct probe *b)
{
    if (!(b->d = model_device(dev_open_real(b->s.device), &b->s)) || !(b->p = model_params(&b->s)))
        return -1;
    return params_open(b->p, b->d, cli_given(b->c, "grads") ? PARAMS_GRAD : PARAMS_FORWARD)
           || model_load_whole(b->p, &b->s, b->w, NULL, NULL) ? -1 : 0;
}

/* ---- the graph ----------------------------------------------------------------------------------------- */

/* The patterns of --activations=A,B; "block.*" for a bare --activations. */
static int choose_taps(struct probe *b)
{
    const char *given = cli_value(b->c, "activations");
    char hint[96];
    if (!given)
        return 0;
    char *list = arena_printf(b->a, "%s", *given ? given : "block.*"), *save = NULL;
    const char **names = arena_array(b->a, const char *, b->m.n_taps);
    for (size_t i = 0; i < b->m.n_taps; i++)
        names[i] = b->m.taps[i].name;
    for (char *want = strtok_r(list, ",", &save); want; want = strtok_r(NULL, ",", &save)) {
        size_t before = b->n_seen;
        for (size_t i = 0; i < b->m.n_taps; i++)
            if (!fnmatch(want, names[i], 0))
                *arena_push(b->a, b->seen, b->n_seen, b->cap_seen) = b->m.taps[i];
        if (b->n_seen == before)
            return fail(FAULT_USAGE, "no activation is called '%s'%s; --activations='*' writes all", want,
                        text_hint(hint, want, names, (int)b->m.n_taps));
    }
    for (size_t i = 0; i < b->n_seen; i++) {
        node *n = b->seen[i].n;
        b->seen[i].n = node_keep(n->op->flags & (OP_ALIAS | OP_LEAF) ? op_copy(n) : n);
    }
    return 0;
}

static int probe_build(struct probe *b)
{
    b->g = graph_new(b->d);
    b->g->half = model_precision(&b->s);
    b->m = (struct nn){ b->g, b->p };
    b->image_node = graph_input(b->g, "images", F32, model_images(&b->s, b->b));
    b->logits = model_build(&b->m, &b->s, b->image_node);
    if (choose_taps(b))
        return -1;
    if (b->labels || b->soft_labels) {
        b->label_node = graph_input(b->g, "labels", F32, SHAPE(b->b, b->s.model.classes));
        b->loss = op_mean(op_cross_entropy(b->logits, b->label_node, (f32)b->s.augment.smoothing));
    }
    if (cli_given(b->c, "grads")) {
        node **wrt = arena_array(b->a, node *, b->p->n), **grad = arena_array(b->a, node *, b->p->n);
        for (size_t i = 0; i < b->p->n; i++) {
            wrt[i] = nn_node(&b->m, b->p->list[i].name);
            check(wrt[i], "%s is not in the model", b->p->list[i].name);
        }
        grad_build(b->loss, wrt, (int)b->p->n, grad);
        for (size_t i = 0; i < b->p->n && !b->g->complaint; i++)
            if (grad[i])
                simplify_place(grad[i], b->p->list[i].grad);
    }
    node_keep(b->logits);
    if (b->loss)
        node_keep(b->loss);
    simplify_graph(b->g);
    return graph_compile(b->g);
}

/* ---- the results --------------------------------------------------------------------------------------- */

static int add_node(struct probe *b, const char *name, const node *n)
{
    f32 *v = arena_array(b->a, f32, node_count(n));
    if (node_read(n, v))
        return -1;
    ckpt_add(b->y, name, CKPT_F32, n->shape.nd, n->shape.d, v);
    return 0;
}

static int write_results(struct probe *b)
{
    b->y = ckpt_new();
    f64 smoothing = b->s.augment.smoothing;
    ckpt_set_meta(b->y, "loss", arena_printf(b->a, "cross entropy, label smoothing %g", smoothing));
    if (add_node(b, "logits", b->logits) || (b->loss && add_node(b, "loss", b->loss)))
        return -1;
    for (size_t i = 0; i < b->n_seen; i++)
        if (!ckpt_find(b->y, b->seen[i].name) && add_node(b, b->seen[i].name, b->seen[i].n))
            return -1;
    for (size_t i = 0; i < b->p->n && cli_given(b->c, "grads"); i++) {
        const struct param *x = &b->p->list[i];
        f32 *v = arena_array(b->a, f32, shape_count(x->shape));
        if (mem_read(b->d, x->grad, v))
            return -1;
        ckpt_add(b->y, arena_printf(b->a, "grad.%s", x->name), CKPT_F32, x->shape.nd, x->shape.d, v);
    }
    return ckpt_save(b->y, b->c->out);
}

static void say_results(struct probe *b)
{
    f32 loss = 0;
    printf("%s: logits %s", b->c->out, shape_text(b->a, b->logits->shape));
    if (b->loss && !node_read(b->loss, &loss))
        printf(", loss %.7g (label smoothing %g)", (f64)loss, b->s.augment.smoothing);
    if (b->n_seen)
        printf(", %d activations", (int)b->n_seen);
    if (cli_given(b->c, "grads"))
        printf(", %d gradients", (int)b->p->n);
    putchar('\n');
}

static int probe_work(struct probe *b)
{
    struct cli *c = b->c;
    if (cli_operands(c, 1, 1) || cli_experiment(c, &b->s))
        return -1;
    const char *weights = cli_given(c, "weights") ? cli_value(c, "weights") : b->s.model.init;
    const char *input = cli_value(c, "input");
    if (!*weights || !input || !c->out)
        return fail(FAULT_USAGE, "probe needs --weights, --input and --out");
    if (ckpt_can_save(c->out) || cli_not_input(c, "out", weights) || cli_not_input(c, "out", input))
        return -1;
    if (!cli_given(c, "noise"))
        b->s.model.moe.noise_when = NOISE_training;
    if (!(b->x = ckpt_open(input)) || probe_settle(b, weights) || check_images(b) || check_labels(b)
        || probe_load_weights(b))
        return -1;
    if (probe_build(b) || write_inputs(b) || graph_run(b->g) || dev_finish(b->d) || write_results(b))
        return -1;
    say_results(b);
    return 0;
}

static int probe_run(struct cli *c)
{
    struct probe b = { .c = c, .a = arena_open("probe") };
    int rc = probe_work(&b);
    graph_free(b.g);
    params_free(b.p);
    if (b.d)
        dev_close(b.d);
    ckpt_close(b.w);
    ckpt_close(b.x);
    ckpt_close(b.y);
    arena_close(b.a);
    return rc;
}

static const struct cli_option options[] = {
    { "weights", "FILE", "checkpoint; default: model.init" },
    { "input", "FILE", "images (b 3 h w), normalised; and labels (b) or soft_labels (b classes)" },
    { "grads", NULL, "also write the gradient of the loss by every parameter, grad.NAME" },
    { "activations", "[LIST]",
      "also write the results of blocks, block.N, or of these, patterns allowed: "
       "block.0,blocks.*.mlp.combine" },
    { "noise", NULL, "add the routing noise that the experiment has in evaluation" },
    { 0 },
};
const struct command probe_cmd = {
    "probe", "one forward and backward on given images, to compare with another framework",
    "probe --weights W --input X --out Y MODEL.yaml [options]",
    { "jetcl probe --weights w.safetensors --input x.safetensors --grads --out y.safetensors model.yaml",
      "jetcl probe --weights w.pth --input x.safetensors --activations --out y.safetensors model.yaml" },
    options, TAKES_FILE | TAKES_PRECISION, probe_run };
