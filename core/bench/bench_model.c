/* bench_model.c: a training step and a forward pass of ViT-T and its MoE twin of the same multiply-adds, at
 * 224 pixels, of the same pair small, at 32, and of the paper's ConvNeXt-F. Nothing is drawn but the routing
 * noise (no dropout, no stochastic depth), so that other programs can do the same. */
#include "bench/bench_subject.h"
#include "train/learner.h"
#include <stdlib.h>
#include <sys/resource.h>

#define PLAIN   "drop_path: off"
#define BF16_   "train: {precision: bf16}"
#define ROUTING "dropout: off, expert_drop: off"
const struct bench_model bench_models[] = {
    { "vit_t",   "model: {arch: vit_tiny_patch16_224, classes: 1000, " PLAIN "}", 32 },
    { "moe_t",   "model: {arch: vit_tiny_patch16_224, classes: 1000, " PLAIN ", "
                 "moe: {layers: [6, 7, 8, 9, 10, 11], " ROUTING "}}", 32 },
    { "vit_t_bf16", "model: {arch: vit_tiny_patch16_224, classes: 1000, " PLAIN "}\n" BF16_, 32 },
    { "moe_t_bf16", "model: {arch: vit_tiny_patch16_224, classes: 1000, " PLAIN ", "
                    "moe: {layers: [6, 7, 8, 9, 10, 11], " ROUTING "}}\n" BF16_, 32 },
    { "vit_s32", "model: {arch: vit, image: 32, patch: 4, dim: 96, depth: 6, heads: 3, classes: 10, "
                 PLAIN "}", 128 },
    { "moe_s32", "model: {arch: vit, image: 32, patch: 4, dim: 96, depth: 6, heads: 3, classes: 10, "
                 PLAIN ", moe: {layers: [3, 4, 5], core: 16, universal: 32, " ROUTING "}}", 128 },
    { "convnext_f", "model: {arch: convnext_f, classes: 1000, " PLAIN "}", 32 },
    { NULL },
};

/* Most memory the process held since reset_peak(), MB. */
static f64 peak_rss(void)
{
    struct rusage u;
    char line[256];
    long kb = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "VmHWM: %ld kB", &kb) == 1)
            break;
    if (f)
        fclose(f);
    if (!kb && !getrusage(RUSAGE_SELF, &u))
        kb = u.ru_maxrss;
    return (f64)kb / 1024;
}

static void reset_peak(void)
{
    FILE *f = fopen("/proc/self/clear_refs", "w");
    if (f) {
        fputs("5", f);
        fclose(f);
    }
}

/* ---- a step -------------------------------------------------------------------------------------------- */

struct stepping { struct learner l; const struct batch *b; };

static int bench_step(void *what)
{
    struct stepping *x = what;
    return learner_step(&x->l, x->b, 1) || learner_wait(&x->l) ? -1 : 0;
}

static f64 bench_flops_of(const graph *g)
{
    return subject_list(&(struct list){ g->list, 0, launches_count(g->list) }).flops;
}

static int measure_step(struct meter *m, const struct spec *s, params *p, const struct batch *noise,
                        struct bench_result *r)
{
    struct stepping x = { .b = noise };
    f64 start = clock_now(), loss, norm;
    int rc = -1;
    if (learner_open(&x.l, s, m->d, p) || bench_step(&x) || dev_finish(m->d))
        goto done;
    r->start_ms = 1e3 * (clock_now() - start);
    struct subject it = { bench_step, &x, .flops = bench_flops_of(x.l.g) * x.l.micro_batches };
    rc = meter_measure(m, &it, r) || learner_read(&x.l, &loss, &norm);
    if (!rc && !(loss - loss == 0))
        rc = fail(FAULT_NUMBERS, "the loss became %g", loss);
done:
    learner_close(&x.l);
    return rc ? -1 : 0;
}

/* ---- a forward pass ------------------------------------------------------------------------------------ */

struct forward { struct evaluator e; const struct batch *b; f32 *logits; };

static int model_forward(void *what)
{
    struct forward *x = what;
    return evaluator_logits(&x->e, x->b, x->logits);
}

static int measure_forward(struct meter *m, const struct spec *s, params *p, const struct batch *noise,
                           struct bench_result *r)
{
    arena *a = arena_open("scores");
    struct forward x = { .b = noise, .logits = arena_array(a, f32, (i64)noise->n * s->model.classes) };
    f64 start = clock_now();
    int rc = -1;
    if (evaluator_open(&x.e, s, m->d, p, noise->n) || model_forward(&x))
        goto done;
    r->start_ms = 1e3 * (clock_now() - start);
    struct subject it = { model_forward, &x, .flops = bench_flops_of(x.e.g) };
    rc = meter_measure(m, &it, r);
done:
    evaluator_close(&x.e);
    arena_close(a);
    return rc;
}

int bench_model(struct meter *m, const char *text, bool steps, struct bench_result *r)
{
    arena *a = arena_open("bench");
    struct spec s;
    params *p = NULL;
    int rc = -1;
    reset_peak();
    const struct spec_set batch = { "bench", arena_printf(a, "train.batch=%lld", (long long)r->batch), NULL };
    enum params_use use = steps ? PARAMS_TRAIN : PARAMS_FORWARD;
    if (spec_parse(&s, a, r->name, text, &batch, 1) || !(p = model_open(m->d, &s, use)))
        goto done;
    struct batch noise = feed_noise(a, &s, (int)r->batch, 1);
    rc = (steps ? measure_step : measure_forward)(m, &s, p, &noise, r);
    r->img_s = 1e3 * (f64)r->batch / r->median_ms;
    r->peak_rss_mb = peak_rss();
done:
    params_free(p);
    arena_close(a);
    return rc;
}
