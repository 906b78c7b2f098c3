/* onnx_nodes.c: the list of ONNX nodes that ops fill. */
#include "op/onnx.h"

const char *onnx_complain(struct onnx *o, const char *why)
{
    if (!o->complaint)
        o->complaint = arena_printf(o->a, "%s: %s", o->now->name, why);
    return NULL;
}

const char *onnx_in(const struct onnx *o, const node *n, int k) { return o->value[n->in[k]->id]; }

const char *onnx_push(struct onnx *o, const char *type, const char *const *in, int n_in)
{
    struct onnx_node *x = arena_one(o->a, struct onnx_node);
    check(n_in <= ONNX_IN, "%s has %d operands", type, n_in);
    *x = (struct onnx_node){ .type = type, .n_in = n_in };
    memcpy(x->in, in, sizeof *in * (size_t)n_in);
    x->name = arena_printf(o->a, "%s/%s_%zu", o->now && *o->now->name ? o->now->name : "model", type, o->n);
    x->out = x->name;
    *arena_push(o->a, o->list, o->n, o->cap) = x;
    return x->out;
}

static struct onnx_attr *onnx_attr(struct onnx *o, const char *name)
{
    struct onnx_node *x = o->list[o->n - 1];
    check(x->n_attr < countof(x->attr), "%s has too many attributes", x->type);
    struct onnx_attr *a = &x->attr[x->n_attr++];
    a->name = name;
    return a;
}

void onnx_int(struct onnx *o, const char *name, i64 v)
{
    struct onnx_attr *a = onnx_attr(o, name);
    a->kind = ATTR_INT;
    a->i = v;
}

void onnx_ints(struct onnx *o, const char *name, i64 n, const i64 *v)
{
    struct onnx_attr *a = onnx_attr(o, name);
    a->kind = ATTR_INTS;
    a->n = n;
    a->ints = (const i64 *)arena_copy(o->a, v, sizeof *v * (size_t)n);
}

void onnx_real(struct onnx *o, const char *name, f32 v)
{
    struct onnx_attr *a = onnx_attr(o, name);
    a->kind = ATTR_REAL;
    a->f = v;
}

const char *onnx_list(struct onnx *o, i64 n, const i64 *v)
{
    const char *name = onnx_push(o, "Constant", NULL, 0);
    onnx_ints(o, "value_ints", n, v);
    return name;
}

const char *onnx_index(struct onnx *o, i64 v)
{
    const char *name = onnx_push(o, "Constant", NULL, 0);
    onnx_int(o, "value_int", v);
    return name;
}

const char *onnx_number(struct onnx *o, f32 v)
{
    const char *name = onnx_push(o, "Constant", NULL, 0);
    onnx_real(o, "value_float", v);
    return name;
}

const char *onnx_values(struct onnx *o, struct shape s, const f32 *v)
{
    const char *flat = onnx_push(o, "Constant", NULL, 0);
    struct onnx_attr *a = onnx_attr(o, "value_floats");
    a->kind = ATTR_REALS;
    a->n = shape_count(s);
    a->reals = (const f32 *)arena_copy(o->a, v, sizeof *v * (size_t)a->n);
    return onnx_apply(o, "Reshape", flat, onnx_list(o, s.nd, s.d));
}

static const char *onnx_cast(struct onnx *o, const char *v, int to)
{
    if (!o->half)
        return v;
    const char *y = onnx_apply(o, "Cast", v);
    onnx_int(o, "to", to);
    return y;
}

const char *onnx_half(struct onnx *o, const char *v) { return onnx_cast(o, v, ONNX_HALF); }
const char *onnx_wide(struct onnx *o, const char *v) { return onnx_cast(o, v, ONNX_FLOAT); }

/* ---- shapes -------------------------------------------------------------------------------------------- */

int onnx_images_axis(const struct onnx *o, const node *n)
{
    const node *twin = o->twin->nodes[n->id];
    for (int i = 0; i < n->shape.nd; i++)
        if (n->shape.d[i] != twin->shape.d[i])
            return i;
    return -1;
}

const char *onnx_shape(struct onnx *o, const node *n)
{
    struct shape s = n->shape;
    int axis = onnx_images_axis(o, n);
    if (axis >= 0)
        s.d[axis] = -1;
    return onnx_list(o, s.nd, s.d);
}

static const char *onnx_count(struct onnx *o)
{
    if (!o->images)
        o->images = onnx_apply(o, "Slice", onnx_apply(o, "Shape", o->input), onnx_integers(o, 0),
                               onnx_integers(o, 1), onnx_integers(o, 0));
    return o->images;
}

const char *onnx_expand(struct onnx *o, const char *x, const node *to)
{
    const i64 *d = to->shape.d;
    int axis = onnx_images_axis(o, to);
    if (axis < 0)
        return onnx_apply(o, "Expand", x, onnx_list(o, to->shape.nd, d));
    if (d[axis] != o->twin->nodes[to->id]->shape.d[axis] - 1)
        return onnx_complain(o, "an axis of more than the images cannot be expanded");
    const char *before = onnx_list(o, axis, d), *after = onnx_list(o, to->shape.nd - axis - 1, d + axis + 1);
    const char *shape = onnx_apply(o, "Concat", before, onnx_count(o), after);
    onnx_int(o, "axis", 0);
    return onnx_apply(o, "Expand", x, shape);
}

/* ---- a graph ------------------------------------------------------------------------------------------- */

int onnx_graph(struct onnx *o, const graph *g)
{
    check(g->n == o->twin->n, "graphs for two and three images have %zu and %zu nodes", g->n, o->twin->n);
    for (size_t i = 0; i < g->n && !o->complaint; i++) {
        const node *n = g->nodes[i];
        if (o->value[i])
            continue;
        o->now = n;
        o->value[i] = n->op->onnx ? n->op->onnx(n, o) : NULL;
        if (!o->value[i])
            onnx_complain(o, arena_printf(o->a, "ONNX has no word for %s", node_title(n)));
    }
    return o->complaint ? fail(FAULT_USAGE, "%s", o->complaint) : 0;
}
