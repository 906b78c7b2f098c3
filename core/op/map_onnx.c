/* map_onnx.c: pointwise formulas as ONNX operators. */
#include "op/map.h"
#include "op/onnx.h"

static const char *map_constant(struct onnx *o, f32 c) { return onnx_half(o, onnx_number(o, c)); }

/* x (1 + erf(x / sqrt 2)) / 2, in the order that ONNX Runtime recognises. */
static const char *map_gelu(struct onnx *o, const char *x)
{
    const char *e = onnx_apply(o, "Erf", onnx_apply(o, "Div", x, map_constant(o, 1.41421356f)));
    e = onnx_apply(o, "Mul", x, onnx_apply(o, "Add", e, map_constant(o, 1)));
    return onnx_apply(o, "Mul", e, map_constant(o, 0.5f));
}

/* x (1 + tanh(z)) / 2 */
static const char *map_by_tanh(struct onnx *o, const char *x, const char *z)
{
    const char *t = onnx_apply(o, "Add", onnx_apply(o, "Tanh", z), map_constant(o, 1));
    return onnx_apply(o, "Mul", onnx_apply(o, "Mul", x, map_constant(o, 0.5f)), t);
}

static const char *map_quick_gelu(struct onnx *o, const char *x)
{
    return map_by_tanh(o, x, onnx_apply(o, "Mul", x, map_constant(o, 0.851f)));
}

/* z = x (0.798 + 0.0357 x^2) */
static const char *map_gelu_tanh(struct onnx *o, const char *x)
{
    const char *z = onnx_apply(o, "Mul", onnx_apply(o, "Mul", x, x), map_constant(o, 0.0356774081f));
    return map_by_tanh(o, x, onnx_apply(o, "Mul", x, onnx_apply(o, "Add", z, map_constant(o, 0.797884561f))));
}

/* Rows that are a node of that type: of their operands, or of their operand and the constant. */
static const struct { const char *row, *type; bool constant; } map_words[] = {
    { "exp", "Exp" },  { "sqrt", "Sqrt" }, { "tanh", "Tanh" }, { "add", "Add" }, { "sub", "Sub" },
    { "mul", "Mul" },  { "div", "Div" },   { "scale", "Mul", true }, { "offset", "Add", true } };

const char *map_onnx(const node *n, struct onnx *o)
{
    const struct map_args *m = n->args;
    const struct map_step *s = &m->step[0];
    const char *row = map_rows[s->row].name;
    check(m->n == 1 && !s->which, "a chain of formulas is exported");
    const char *x = n->n_in ? onnx_in(o, n, 0) : NULL;
    for (int i = 0; i < countof(map_words); i++)
        if (!strcmp(row, map_words[i].row))
            return map_words[i].constant ? onnx_apply(o, map_words[i].type, x, map_constant(o, s->c))
                   : n->n_in == 2        ? onnx_apply(o, map_words[i].type, x, onnx_in(o, n, 1))
                                         : onnx_apply(o, map_words[i].type, x);
    if (!strcmp(row, "copy"))
        return shape_equal(n->shape, n->in[0]->shape) ? onnx_apply(o, "Identity", x) : onnx_expand(o, x, n);
    if (!strcmp(row, "square"))
        return onnx_apply(o, "Mul", x, x);
    return !strcmp(row, "gelu")         ? map_gelu(o, x)
           : !strcmp(row, "gelu_tanh")  ? map_gelu_tanh(o, x)
           : !strcmp(row, "quick_gelu") ? map_quick_gelu(o, x)
                                        : NULL;
}
