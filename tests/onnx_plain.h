/* onnx_plain.h: the ONNX operators that an export uses, by plain loops in float64, after their specification
 * (opset 17): what another program makes of a file. */
#ifndef JETCL_ONNX_PLAIN_H
#define JETCL_ONNX_PLAIN_H
#include "unit.h"
#include "onnx.pb-c.h"
#include <math.h>

enum { PLAIN_AXES = 6 };
struct value { const char *name; int nd; i64 d[PLAIN_AXES]; f64 *v; };
struct values { arena *a; struct value *list; size_t n, cap; };

static i64 value_count(const struct value *x)
{
    i64 n = 1;
    LOOP(i, x->nd) n *= x->d[i];
    return n;
}

static struct value value_new(arena *a, int nd, const i64 *d)
{
    struct value y = { .nd = nd };
    assert_true(nd <= PLAIN_AXES);
    LOOP(i, nd) y.d[i] = d[i];
    y.v = arena_array(a, f64, value_count(&y) + 1);
    return y;
}

static struct value *value_named(struct values *all, const char *name)
{
    for (size_t i = 0; i < all->n; i++)
        if (!strcmp(all->list[i].name, name))
            return &all->list[i];
    fail_msg("no value %s", name);
}

static void value_add(struct values *all, const char *name, struct value x)
{
    x.name = name;
    *arena_push(all->a, all->list, all->n, all->cap) = x;
}

/* ---- nodes and attributes ------------------------------------------------------------------------------ */

struct plain { struct values *all; const Onnx__NodeProto *n; struct value in[4]; };

static const Onnx__AttributeProto *plain_find(const struct plain *p, const char *name)
{
    for (size_t i = 0; i < p->n->n_attribute; i++)
        if (!strcmp(p->n->attribute[i]->name, name))
            return p->n->attribute[i];
    return NULL;
}

static i64 plain_int(const struct plain *p, const char *name, i64 otherwise)
{
    const Onnx__AttributeProto *x = plain_find(p, name);
    return x ? x->i : otherwise;
}

/* An axis of operand 0, from the end where it is negative. */
static int plain_axis(const struct plain *p, i64 axis) { return (int)(axis < 0 ? axis + p->in[0].nd : axis); }

/* Rows along an axis: element i of row (outer, inner) is at (outer n + i) inner_size + inner. */
struct along { i64 outer, n, inner; };
static struct along along_of(const struct value *x, int axis)
{
    struct along l = { 1, x->d[axis], 1 };
    LOOP(i, axis) l.outer *= x->d[i];
    for (int i = axis + 1; i < x->nd; i++)
        l.inner *= x->d[i];
    return l;
}

/* ---- pointwise ----------------------------------------------------------------------------------------- */

/* Where element i of an array of y's shape comes from in x, aligned at the last axes. */
static i64 plain_from(const struct value *y, i64 i, const struct value *x)
{
    i64 at = 0, step = 1;
    for (int k = y->nd - 1; k >= y->nd - x->nd; i /= y->d[k--]) {
        i64 extent = x->d[k - (y->nd - x->nd)];
        at += extent == 1 ? 0 : i % y->d[k] * step;
        step *= extent;
    }
    return at;
}

static struct value plain_broadcast(arena *a, const struct value *x, const struct value *y)
{
    i64 d[PLAIN_AXES];
    int nd = MAX(x->nd, y->nd);
    LOOP(k, nd) {
        i64 p = k < nd - x->nd ? 1 : x->d[k - (nd - x->nd)], q = k < nd - y->nd ? 1 : y->d[k - (nd - y->nd)];
        assert_true(p == q || p == 1 || q == 1);
        d[k] = MAX(p, q);
    }
    return value_new(a, nd, d);
}

static f64 plain_of_two(char op, f64 x, f64 y)
{
    return op == '+' ? x + y : op == '-' ? x - y : op == '*' ? x * y : op == '/' ? x / y
           : op == 'm' ? fmax(x, y) : x <= y;
}

static struct value plain_two(struct plain *p, char op)
{
    struct value y = plain_broadcast(p->all->a, &p->in[0], &p->in[1]);
    LOOP(i, value_count(&y))
        y.v[i] = plain_of_two(op, p->in[0].v[plain_from(&y, i, &p->in[0])],
                              p->in[1].v[plain_from(&y, i, &p->in[1])]);
    return y;
}

static f64 plain_same(f64 x) { return x; }
static struct value plain_one(struct plain *p, f64 (*f)(f64))
{
    struct value y = value_new(p->all->a, p->in[0].nd, p->in[0].d);
    LOOP(i, value_count(&y)) y.v[i] = f(p->in[0].v[i]);
    return y;
}

/* ---- constants and shapes ------------------------------------------------------------------------------ */

static struct value plain_constant(struct plain *p)
{
    const Onnx__AttributeProto *x = p->n->attribute[0];
    bool ints = !strcmp(x->name, "value_ints"), reals = !strcmp(x->name, "value_floats");
    i64 n = ints ? (i64)x->n_ints : (i64)x->n_floats;
    struct value y = value_new(p->all->a, ints || reals, &n);
    LOOP(i, ints || reals ? n : 1)
        y.v[i] = ints ? (f64)x->ints[i] : reals ? x->floats[i]
                 : !strcmp(x->name, "value_int") ? (f64)x->i : x->f;
    return y;
}

static struct value plain_shape(struct plain *p)
{
    i64 nd = p->in[0].nd;
    struct value y = value_new(p->all->a, 1, &nd);
    LOOP(i, nd) y.v[i] = (f64)p->in[0].d[i];
    return y;
}

static struct value plain_reshape(struct plain *p)
{
    i64 known = 1, d[PLAIN_AXES], nd = p->in[1].d[0];
    LOOP(i, nd) {
        d[i] = (i64)p->in[1].v[i];
        assert_true(d[i] > 0 || d[i] == -1);
        known *= d[i] > 0 ? d[i] : 1;
    }
    LOOP(i, nd) d[i] = d[i] < 0 ? value_count(&p->in[0]) / known : d[i];
    struct value y = value_new(p->all->a, (int)nd, d);
    assert_int_equal(value_count(&y), value_count(&p->in[0]));
    memcpy(y.v, p->in[0].v, sizeof *y.v * (size_t)value_count(&y));
    return y;
}

static struct value plain_expand(struct plain *p)
{
    struct value to = { .nd = (int)p->in[1].d[0] };
    LOOP(i, to.nd) to.d[i] = (i64)p->in[1].v[i];
    struct value y = plain_broadcast(p->all->a, &p->in[0], &to);
    LOOP(i, value_count(&y)) y.v[i] = p->in[0].v[plain_from(&y, i, &p->in[0])];
    return y;
}

static struct value plain_transpose(struct plain *p)
{
    const Onnx__AttributeProto *perm = plain_find(p, "perm");
    const struct value *x = &p->in[0];
    i64 d[PLAIN_AXES], step[PLAIN_AXES];
    assert_true(perm && (int)perm->n_ints == x->nd);
    LOOP(k, x->nd) {
        d[k] = x->d[perm->ints[k]];
        step[k] = along_of(x, (int)perm->ints[k]).inner;
    }
    struct value y = value_new(p->all->a, x->nd, d);
    LOOP(i, value_count(&y)) {
        i64 from = 0, left = i;
        for (int k = y.nd - 1; k >= 0; left /= d[k--])
            from += left % d[k] * step[k];
        y.v[i] = x->v[from];
    }
    return y;
}

/* ---- along an axis ------------------------------------------------------------------------------------- */

static struct value plain_concat(struct plain *p)
{
    int axis = plain_axis(p, plain_int(p, "axis", 0));
    i64 d[PLAIN_AXES], at = 0;
    memcpy(d, p->in[0].d, sizeof d);
    for (size_t k = 1; k < p->n->n_input; k++)
        d[axis] += p->in[k].d[axis];
    struct value y = value_new(p->all->a, p->in[0].nd, d);
    for (size_t k = 0; k < p->n->n_input; at += p->in[k++].d[axis]) {
        struct along l = along_of(&p->in[k], axis);
        LOOP(o, l.outer) LOOP(i, l.n * l.inner)
            y.v[(o * d[axis] + at) * l.inner + i] = p->in[k].v[o * l.n * l.inner + i];
    }
    return y;
}

static struct value plain_slice(struct plain *p)
{
    int axis = plain_axis(p, (i64)p->in[3].v[0]);
    i64 d[PLAIN_AXES], from = (i64)p->in[1].v[0], to = (i64)p->in[2].v[0];
    memcpy(d, p->in[0].d, sizeof d);
    d[axis] = to - from;
    assert_true(from >= 0 && from < to && to <= p->in[0].d[axis]);
    struct value y = value_new(p->all->a, p->in[0].nd, d);
    struct along l = along_of(&p->in[0], axis);
    LOOP(o, l.outer) LOOP(i, d[axis] * l.inner)
        y.v[o * d[axis] * l.inner + i] = p->in[0].v[(o * l.n + from) * l.inner + i];
    return y;
}

/* One place of an axis, which is gone then. */
static struct value plain_gather(struct plain *p)
{
    int axis = plain_axis(p, plain_int(p, "axis", 0));
    struct along l = along_of(&p->in[0], axis);
    i64 d[PLAIN_AXES], at = (i64)p->in[1].v[0];
    assert_true(p->in[1].nd == 0 && at >= 0 && at < l.n);
    LOOP(k, p->in[0].nd - 1) d[k] = p->in[0].d[k + (k >= axis)];
    struct value y = value_new(p->all->a, p->in[0].nd - 1, d);
    LOOP(o, l.outer) LOOP(i, l.inner) y.v[o * l.inner + i] = p->in[0].v[(o * l.n + at) * l.inner + i];
    return y;
}

/* Of each row the elements at places, that is, as many as places has. */
static struct value plain_gather_elements(struct plain *p)
{
    int axis = plain_axis(p, plain_int(p, "axis", 0));
    struct value y = value_new(p->all->a, p->in[1].nd, p->in[1].d);
    struct along l = along_of(&p->in[0], axis), m = along_of(&y, axis);
    assert_true(l.outer == m.outer && l.inner == m.inner);
    LOOP(o, m.outer) LOOP(k, m.n) LOOP(i, m.inner) {
        i64 to = (o * m.n + k) * m.inner + i, at = (i64)p->in[1].v[to];
        assert_true(at >= 0 && at < l.n);
        y.v[to] = p->in[0].v[(o * l.n + at) * l.inner + i];
    }
    return y;
}

static struct value plain_softmax(struct plain *p)
{
    struct value y = plain_one(p, plain_same);
    struct along l = along_of(&y, plain_axis(p, plain_int(p, "axis", -1)));
    LOOP(o, l.outer) LOOP(i, l.inner) {
        f64 *row = y.v + o * l.n * l.inner + i, sum = 0;
        LOOP(k, l.n) sum += row[k * l.inner] = exp(row[k * l.inner]);
        LOOP(k, l.n) row[k * l.inner] /= sum;
    }
    return y;
}

static struct value plain_running(struct plain *p)
{
    struct value y = plain_one(p, plain_same);
    struct along l = along_of(&y, plain_axis(p, (i64)p->in[1].v[0]));
    LOOP(o, l.outer) for (i64 k = 1; k < l.n; k++)
        LOOP(i, l.inner) y.v[(o * l.n + k) * l.inner + i] += y.v[(o * l.n + k - 1) * l.inner + i];
    return y;
}

/* Over the axes of operand 1 or of the attribute; their extents become 1, or nothing. */
static struct value plain_reduce(struct plain *p, bool most)
{
    const Onnx__AttributeProto *given = plain_find(p, "axes");
    const struct value *x = &p->in[0];
    i64 d[PLAIN_AXES], n = given ? (i64)given->n_ints : p->in[1].d[0];
    memcpy(d, x->d, sizeof d);
    LOOP(k, n) d[plain_axis(p, given ? given->ints[k] : (i64)p->in[1].v[k])] = 1;
    struct value y = value_new(p->all->a, x->nd, d);
    LOOP(i, value_count(&y)) y.v[i] = most ? -INFINITY : 0;
    LOOP(i, value_count(x)) {
        f64 *to = &y.v[plain_from(x, i, &y)];
        *to = most ? fmax(*to, x->v[i]) : *to + x->v[i];
    }
    if (plain_int(p, "keepdims", 1))
        return y;
    int nd = 0;
    LOOP(k, x->nd) if (d[k] != 1 || x->d[k] == 1)
        y.d[nd++] = d[k];
    y.nd = nd;
    return y;
}

static int plain_descending(const void *a, const void *b)
{
    f64 x = *(const f64 *)a, y = *(const f64 *)b;
    return (x < y) - (x > y);
}

static struct value plain_sorted(struct plain *p)
{
    struct value y = plain_one(p, plain_same);
    i64 n = y.d[y.nd - 1];
    assert_int_equal((i64)p->in[1].v[0], n);
    LOOP(o, value_count(&y) / n) qsort(y.v + o * n, (size_t)n, sizeof *y.v, plain_descending);
    return y;
}

/* ---- layers -------------------------------------------------------------------------------------------- */

static struct value plain_layernorm(struct plain *p)
{
    struct value y = plain_one(p, plain_same);
    i64 n = y.d[y.nd - 1];
    f64 eps = plain_find(p, "epsilon")->f;
    assert_int_equal(plain_int(p, "axis", -1), -1);
    LOOP(o, value_count(&y) / n) {
        f64 *row = y.v + o * n, mean = 0, square = 0;
        LOOP(k, n) mean += row[k] / (f64)n;
        LOOP(k, n) square += (row[k] - mean) * (row[k] - mean) / (f64)n;
        LOOP(k, n) row[k] = (row[k] - mean) / sqrt(square + eps) * p->in[1].v[k]
                            + (p->n->n_input > 2 ? p->in[2].v[k] : 0);
    }
    return y;
}

static struct value plain_matmul(struct plain *p)
{
    const struct value *a = &p->in[0], *b = &p->in[1];
    i64 m = a->d[a->nd - 2], k = a->d[a->nd - 1], n = b->d[b->nd - 1];
    struct value x = *a, z = *b;
    assert_int_equal(b->d[b->nd - 2], k);
    x.d[x.nd - 2] = x.d[x.nd - 1] = z.d[z.nd - 2] = z.d[z.nd - 1] = 1;      // how many there are of each
    struct value y = plain_broadcast(p->all->a, &x, &z), all = y;
    y.d[y.nd - 2] = m;
    y.d[y.nd - 1] = n;
    y = value_new(p->all->a, y.nd, y.d);
    LOOP(g, value_count(&all)) LOOP(i, m) LOOP(j, n) {
        const f64 *row = a->v + (plain_from(&all, g, &x) * m + i) * k;
        const f64 *column = b->v + plain_from(&all, g, &z) * k * n;
        LOOP(s, k) y.v[(g * m + i) * n + j] += row[s] * column[s * n + j];
    }
    return y;
}

/* x: (b c h w), weights: (channels, c / group, kh, kw) */
static struct value plain_conv(struct plain *p)
{
    const struct value *x = &p->in[0], *w = &p->in[1];
    const Onnx__AttributeProto *pads = plain_find(p, "pads"), *strides = plain_find(p, "strides");
    i64 c = x->d[1], h = x->d[2], width = x->d[3], out = w->d[0], each = w->d[1], kh = w->d[2], kw = w->d[3];
    i64 top = pads ? pads->ints[0] : 0, left = pads ? pads->ints[1] : 0;
    i64 below = pads ? pads->ints[2] : 0, right = pads ? pads->ints[3] : 0;
    i64 sh = strides ? strides->ints[0] : 1, sw = strides ? strides->ints[1] : 1;
    i64 group = plain_int(p, "group", 1), d[] = { x->d[0], out, (h + top + below - kh) / sh + 1,
                                                  (width + left + right - kw) / sw + 1 };
    assert_int_equal(each * group, c);
    struct value y = value_new(p->all->a, 4, d);
    LOOP(b, d[0]) LOOP(o, out) LOOP(r, d[2]) LOOP(s, d[3]) {
        f64 sum = p->n->n_input > 2 ? p->in[2].v[o] : 0;
        LOOP(i, each) LOOP(u, kh) LOOP(v, kw) {
            i64 row = r * sh + u - top, column = s * sw + v - left, from = o / (out / group) * each + i;
            if (row >= 0 && row < h && column >= 0 && column < width)
                sum += x->v[((b * c + from) * h + row) * width + column]
                       * w->v[((o * each + i) * kh + u) * kw + v];
        }
        y.v[((b * out + o) * d[2] + r) * d[3] + s] = sum;
    }
    return y;
}

/* ---- a graph ------------------------------------------------------------------------------------------- */

static struct value plain_compute(struct plain *p)
{
    static const struct { const char *type; char op; } two[] = { { "Add", '+' }, { "Sub", '-' }, { "Mul", '*' },
        { "Div", '/' }, { "Max", 'm' }, { "LessOrEqual", '<' } };
    static const struct { const char *type; f64 (*f)(f64); } one[] = { { "Cast", plain_same },
        { "Identity", plain_same }, { "Erf", erf }, { "Exp", exp }, { "Sqrt", sqrt }, { "Tanh", tanh } };
    static const struct { const char *type; struct value (*f)(struct plain *); } other[] = {
        { "Concat", plain_concat }, { "Constant", plain_constant }, { "Conv", plain_conv },
        { "CumSum", plain_running }, { "Expand", plain_expand }, { "Gather", plain_gather },
        { "GatherElements", plain_gather_elements }, { "LayerNormalization", plain_layernorm },
        { "MatMul", plain_matmul }, { "Reshape", plain_reshape }, { "Shape", plain_shape },
        { "Slice", plain_slice }, { "Softmax", plain_softmax }, { "TopK", plain_sorted },
        { "Transpose", plain_transpose } };
    const char *type = p->n->op_type;
    for (int i = 0; i < countof(two); i++)
        if (!strcmp(type, two[i].type))
            return plain_two(p, two[i].op);
    for (int i = 0; i < countof(one); i++)
        if (!strcmp(type, one[i].type))
            return plain_one(p, one[i].f);
    for (int i = 0; i < countof(other); i++)
        if (!strcmp(type, other[i].type))
            return other[i].f(p);
    return plain_reduce(p, !strcmp(type, "ReduceMax"));
}

/* All nodes of g, whose initialisers and input `all` holds. */
static const struct value *plain_graph(struct values *all, const Onnx__GraphProto *g)
{
    for (size_t i = 0; i < g->n_node; i++) {
        struct plain p = { all, g->node[i] };
        for (size_t k = 0; k < p.n->n_input; k++)
            p.in[k] = *value_named(all, p.n->input[k]);
        value_add(all, p.n->output[0], plain_compute(&p));
    }
    return value_named(all, g->output[0]->name);
}
#endif
