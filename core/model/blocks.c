/* blocks.c: what every family is counted by: the images it reads, and its blocks through all stages. */
#include "model/model.h"

struct shape model_images(const struct spec *s, i64 batch)
{
    return SHAPE(batch, 3, list_at(s->model.image, 0), list_at(s->model.image, 1));
}

enum dtype model_precision(const struct spec *s)
{
    return s->train.precision == PRECISION_bf16 ? BF16 : s->train.precision == PRECISION_fp16 ? F16 : F32;
}

dev *model_device(dev *d, const struct spec *s)
{
    if (d && s->device_matrix == MATRIX_ENGINE_off)
        dev_no_matrix(d);
    if (d && s->device_matrix == MATRIX_ENGINE_tf32 && !dev_allow_tf32(d) && dev_class(d) != DEV_NULL)
        say(SAY_NORMAL, "device.matrix: tf32: %s has no TF32; products of fp32 stay fp32", dev_info(d)->name);
    return d;
}

const char *model_rounding(const struct spec *s, const dev *d)
{
    enum dtype t = model_precision(s);
    return t == BF16 ? "bf16" : t == F16 ? "fp16" : dev_tf32(d) ? "tf32" : "fp32";
}

int model_depth(const struct spec *s)
{
    int n = 0;
    if (strcmp(s->model.family, "convnext"))
        return s->model.depth;
    for (int i = 0; i < s->model.depths.n; i++)
        n += s->model.depths.v[i];
    return n;
}

const char *model_block(arena *a, const struct spec *s, int block)
{
    int stage = 0;
    if (strcmp(s->model.family, "convnext"))
        return arena_printf(a, "blocks.%d", block);
    while (block >= s->model.depths.v[stage])
        block -= s->model.depths.v[stage++];
    return arena_printf(a, "stages.%d.blocks.%d", stage, block);
}

node *(*model_act(const struct spec *s))(node *)
{
    static node *(*const build[])(node *) = {
#define ACT(name, value, slope) op_##name,
#include "cl/act.def"
#undef ACT
    };
    return build[s->model.act];
}

int model_prefix(const struct spec *s, int *with_position)
{
    *with_position = s->model.class_token + (s->model.dist_token != DISTILL_off);
    return *with_position + s->model.registers;
}

f32 model_rate(const struct spec *s, f64 last, int block)
{
    return (f32)(last * block / MAX(model_depth(s) - 1, 1));
}
