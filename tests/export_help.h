/* export_help.h: small models of every kind, exported to ONNX and unpacked by protobuf-c. */
#ifndef JETCL_EXPORT_HELP_H
#define JETCL_EXPORT_HELP_H
#include "unit.h"
#include "export/export.h"
#ifdef HAVE_ONNX
#include "onnx.pb-c.h"
#include <stdlib.h>
#include <unistd.h>

#define VIT "arch: vit, image: [8, 12], patch: 4, dim: 8, depth: 2, heads: 2, classes: 3"
#define CONVNEXT "arch: convnext, image: 32, depths: [1, 2], dims: [4, 8], classes: 3"

/* How many of the operators that say which network it is: attention and dispatch are softmaxes, entmax sorts.
 * */
static const struct { const char *model; int softmax, topk, conv, erf, expand; } rows[] = {
    { VIT, 2, 0, 0, 2, 1 },
    { VIT ", pool: token, dist_token: head, registers: 2, pre_norm: on", 2, 0, 0, 2, 3 },
    { VIT ", class_token: off, act: quick_gelu, qkv_bias: off, layer_scale: 1", 2, 0, 0, 0, 0 },
    { VIT ", moe: {layers: [1], core: 2, universal: 3}", 3, 1, 0, 3, 1 },
    { VIT ", moe: {layers: [0, 1], core: 2, universal: 0, slots: 2, combine: softmax}", 6, 0, 0, 2, 1 },
    { VIT ", moe: {layers: [0, 1], core: 1, universal: 2, share: 2, multi_head: on}", 4, 2, 0, 4, 1 },
    { VIT ", moe: {layers: [1], core: 2, universal: 2, input_as_phi: on, key_proj: on}", 3, 1, 0, 3, 1 },
    { VIT ", moe: {kind: vmoe, layers: [1], core: 4}", 4, 0, 0, 2, 1 },
    { CONVNEXT, 0, 0, 3, 3, 0 },
    { CONVNEXT ", grn: on, layer_scale: off", 0, 0, 3, 3, 0 },
    { CONVNEXT ", moe: {layers: [1, 2], core: 2, universal: 2}", 2, 2, 3, 5, 0 },
};

static char file[] = "/tmp/jetcl_export_XXXXXX";

/* Before a group of tests, and after it. */
static int make_file(void **state)
{
    (void)state;
    int fd = mkstemp(file);
    return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(file);
}
static const char *const classes[] = { "cat", "dog \"x\"", "\xc3\xa9lan" };
static const f64 mean[3] = { 120, 110, 100 };

struct exported { arena *a; struct spec s; params *p; f32 **values; ckpt *c; Onnx__ModelProto *m; };

static f32 queries = 1;                           /* their size: where it is small, epsilons show */

/* Random weights of a model, exported and unpacked. */
static struct exported exported(const char *model, bool half, bool probabilities)
{
    struct exported e = { arena_open("test") };
    const char *text = arena_printf(e.a, "model: {%s, drop_path: off}", model);
    if (spec_parse(&e.s, e.a, "x.yaml", text, NULL, 0) || !(e.p = model_params(&e.s)))
        fail_msg("%s: %s", model, fail_message());
    e.values = arena_array(e.a, f32 *, e.p->n);
    e.c = ckpt_new();
    for (size_t i = 0; i < e.p->n; i++) {
        const struct param *x = &e.p->list[i];
        e.values[i] = arena_array(e.a, f32, shape_count(x->shape));
        param_start(x, 1, e.values[i], e.a);
        rng r = rng_at(7, RNG_TEST, i, 0);                 // no zeros and ones, which show little
        LOOP(k, shape_count(x->shape)) e.values[i][k] += 0.1f * (f32)rng_normal(&r);
        if (text_ends(x->name, "mlp.phi") || text_ends(x->name, "mlp.mu"))
            LOOP(k, shape_count(x->shape)) e.values[i][k] *= queries;
        ckpt_add(e.c, x->name, CKPT_F32, x->shape.nd, x->shape.d, e.values[i]);
    }
    e.c = ckpt_model(e.c, false);
    struct model_about about = { .classes = classes, .n_classes = 3, .mean = mean, .std = mean };
    struct export x = { &e.s, e.c, &about, half, probabilities };
    size_t n;
    const char *bytes = e.c && !export_onnx(&x, file) ? file_text(e.a, file, &n) : NULL;
    e.m = bytes ? onnx__model_proto__unpack(NULL, n, (const u8 *)bytes) : NULL;
    if (!e.m)
        fail_msg("%s: %s", model, fail_message());
    return e;
}

static void forget(struct exported *e)
{
    onnx__model_proto__free_unpacked(e->m, NULL);
    ckpt_close(e->c);
    params_free(e->p);
    arena_close(e->a);
}
#else
#define NO_EXPORTS int main(void) \
    { \
        puts("skip export  ./configure did not find protobuf-c: apt-get install libprotobuf-c-dev " \
             "protobuf-c-compiler"); \
        return 0; \
    }
#endif
#endif
