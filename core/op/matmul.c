/* matmul.c: (... m k) x (... k n). The product itself, and which kernel computes it, is product.c's. */
#include "op/op.h"
#include "op/host.h"
#include "op/product.h"
#include "op/onnx.h"

struct sizes { i64 m, n, k, batch; bool flat; /* a's leading axes are rows of one product */ };

static bool matmul_shared(const node *x) { return x->shape.nd == 2; }

static bool equal_batches(const node *a, const node *b)
{
    size_t leading = (size_t)(a->shape.nd - 2);
    return a->shape.nd == b->shape.nd && !memcmp(a->shape.d, b->shape.d, sizeof(i64) * leading);
}

static struct sizes matmul_sizes(const node *n)
{
    const node *a = n->in[0], *b = n->in[1];
    int trans = ((const struct matmul_args *)n->args)->trans;
    bool ta = trans & TRANS_A, tb = trans & TRANS_B;
    struct sizes s = { .m = node_dim(a, ta ? -1 : -2), .n = node_dim(b, tb ? -2 : -1),
                       .k = node_dim(a, ta ? -2 : -1), .batch = 1 };
    s.batch = (matmul_shared(a) ? node_count(b) / (s.k * s.n) : node_count(a) / (s.m * s.k));
    s.flat = matmul_shared(b) && !matmul_shared(a) && !ta;
    if (s.flat) {
        s.m *= s.batch;
        s.batch = 1;
    }
    return s;
}

static const char *matmul_shape(const node *n, struct shape *out)
{
    const node *a = n->in[0], *b = n->in[1];
    int trans = ((const struct matmul_args *)n->args)->trans;
    if (a->shape.nd < 2 || b->shape.nd < 2)
        return "operands need two axes at least";
    if (node_dim(a, trans & TRANS_A ? -2 : -1) != node_dim(b, trans & TRANS_B ? -1 : -2))
        return "inner axes differ";
    if (!matmul_shared(a) && !matmul_shared(b) && !equal_batches(a, b))
        return "batch axes differ";
    *out = matmul_shared(a) ? b->shape : a->shape;
    out->d[out->nd - 2] = node_dim(a, trans & TRANS_A ? -1 : -2);
    out->d[out->nd - 1] = node_dim(b, trans & TRANS_B ? -2 : -1);
    return NULL;
}

node *op_matmul(node *a, node *b, int trans)
{
    return node_new(&matmul_op, (&(struct matmul_args){ .trans = trans, .alpha = 1 }), a, b);
}

/* C = op(A) op(B):  dA = dC op(B)^T, dB = op(A)^T dC, each transposed when its operand is stored so. */
static void matmul_vjp(node *n, node *g, node *dx[])
{
    const struct matmul_args *m = n->args;
    node *a = n->in[0], *b = n->in[1];
    bool ta = m->trans & TRANS_A, tb = m->trans & TRANS_B;
    dx[0] = ta ? op_matmul(b, g, TRANS_B | (tb ? TRANS_A : 0)) : op_matmul(g, b, tb ? 0 : TRANS_B);
    if (matmul_sizes(n).flat) {
        a = op_reshape(a, SHAPE(-1, node_dim(a, -1)));
        g = op_reshape(g, SHAPE(-1, node_dim(g, -1)));
    }
    dx[1] = tb ? op_matmul(g, a, TRANS_A | (ta ? TRANS_B : 0)) : op_matmul(a, g, ta ? 0 : TRANS_A);
}

static struct operand operand_of(const node *x, bool one)
{
    i64 row = node_dim(x, -1), matrix = row * node_dim(x, -2);
    const struct strided_view *s = op_strided(x);
    if (s)
        return (struct operand){ .r = x->in[0]->home, .at = s->at, .row = s->row, .outer = s->matrix,
                                 .type = x->type };
    return (struct operand){ .r = x->home, .row = row, .outer = one || matmul_shared(x) ? 0 : matrix,
                             .type = x->type };
}

static struct mask mask_of(const node *n)
{
    const struct matmul_args *m = n->args;
    const struct map_step *s = m->mask;
    i64 numbers = shape_count(s->shape), count = node_count(n), cols = node_dim(n, -1);
    return (struct mask){ .step = n->in[m->step]->home, .stream = s->stream, .together = s->together,
                          .samples = s->samples, .kept = s->c,
                          .rows = numbers == count ? 0 : count / cols / numbers };
}

static struct product product_of(const node *n)
{
    const struct matmul_args *m = n->args;
    struct sizes s = matmul_sizes(n);
    struct product p = { .m = s.m, .n = s.n, .k = s.k, .outer = s.batch, .inner = 1, .alpha = m->alpha,
                         .ta = m->trans & TRANS_A, .tb = m->trans & TRANS_B,
                         .a = operand_of(n->in[0], s.flat), .b = operand_of(n->in[1], s.flat),
                         .c = { .r = n->home, .row = s.n, .outer = s.m * s.n, .type = n->type },
                         .scratch = n->work };
    if (m->bias)                                  // (n), or (batch.. n): one row per batch
        p.bias = (struct operand){ .r = n->in[m->bias]->home, .type = n->in[m->bias]->type,
                                   .outer = node_count(n->in[m->bias]) > s.n ? s.n : 0 };
    if (m->residual || m->factor) {
        p.other = p.c;
        const node *other = n->in[m->residual ? m->residual : m->factor];
        p.other.r = other->home;
        p.other.type = other->type;
        p.times = m->factor;
    }
    p.act = m->act;
    if (m->mask)
        p.mask = mask_of(n);
    const node *side = m->pre ? m->pre : m->slope ? m->slope : m->sums;
    if (side) {
        p.keep = m->pre ? KEEP_PRE : m->slope ? KEEP_SLOPE : KEEP_SUMS;
        p.side = (struct operand){ .r = side->home, .row = s.n, .outer = m->sums ? s.m : s.m * s.n,
                                   .type = side->type };
    }
    return p;
}

bool matmul_masks(const node *n) { return product_masks(n->g->d); }

bool matmul_sums(const node *n)
{
    const struct matmul_args *m = n->args;
    const dev *d = n->g->d;
    bool plain = m->trans & TRANS_A && !m->act && !m->pre && !m->slope && !m->sums;
    // Of one matrix for all, or on GPUs of each: CPUs have no launches to save there.
    return plain && product_sums(d) && (n->in[0]->shape.nd == 2
                                        || (dev_class(d) == DEV_GPU && !matmul_shared(n->in[1])));
}

void matmul_key(const node *n, char key[64])
{
    struct product p = product_of(n);
    product_key(&p, key);
}

static void matmul_emit(const node *n, launches *l)
{
    struct product p = product_of(n);
    product_emit(l, &p, n->name);
}

static u64 matmul_scratch(const node *n)
{
    if (!n->g->d)
        return 0;
    struct product p = product_of(n);
    return product_scratch(n->g->d, &p);
}

static f64 matmul_macs(const node *n)
{
    struct sizes s = matmul_sizes(n);
    return (f64)s.m * (f64)s.n * (f64)s.k * (f64)s.batch;
}

/* ---- float64 on the host --------------------------------------------------------------------------- */

/* Row i of batch z as it is stored, or column i (down), of a strided view too. */
struct line { const f64 *v; i64 step; };
static struct line matmul_line(const node *x, const f64 *v, i64 z, i64 i, bool down)
{
    const struct strided_view *s = op_strided(x);
    i64 width = s ? s->row : node_dim(x, -1);
    i64 matrix = s ? s->matrix : matmul_shared(x) ? 0 : width * node_dim(x, -2);
    v += (s ? s->at : 0) + z * matrix;
    return down ? (struct line){ v + i, width } : (struct line){ v + i * width, 1 };
}

/* alpha op(A) op(B) + bias: a bias has one row for all batches, or one for each. */
static f64 matmul_host_sum(const node *n, const f64 *const *in, i64 at)
{
    const struct matmul_args *m = n->args;
    bool ta = m->trans & TRANS_A, tb = m->trans & TRANS_B;
    i64 cols = node_dim(n, -1), matrix = cols * node_dim(n, -2), z = at / matrix, i = at % matrix / cols,
        j = at % cols;
    const struct line x = matmul_line(n->in[0], in[0], z, i, ta), y = matmul_line(n->in[1], in[1], z, j, !tb);
    f64 sum = 0;
    for (i64 l = 0, k = node_dim(n->in[0], ta ? -2 : -1); l < k; l++)
        sum += x.v[l * x.step] * y.v[l * y.step];
    f64 bias = !m->bias ? 0 : in[m->bias][(node_count(n->in[m->bias]) > cols ? z * cols : 0) + j];
    return (f64)m->alpha * sum + bias;
}

static f64 matmul_host_element(const node *n, const f64 *const *in, i64 at)
{
    const struct matmul_args *m = n->args;
    f64 v = map_host_act(m->act, matmul_host_sum(n, in, at), false);
    if (m->mask)
        v *= map_host_draw(m->mask, in[m->step], at / (node_count(n) / shape_count(m->mask->shape)));
    if (m->residual)
        v += in[m->residual][at];
    return m->factor ? v * in[m->factor][at] : v;
}

/* Of large products some elements, and the whole last row, where tiles have their remainders. */
static void matmul_host(const node *n, const f64 *const *in, f64 *y)
{
    i64 count = node_count(n), every = host_every(count, matmul_macs(n) / (f64)MAX(1, count));
    for (i64 at = 0; at < count;
         at += at >= count - node_dim(n, -1) ? 1 : MIN(every, count - node_dim(n, -1) - at))
        y[at] = matmul_host_element(n, in, at);
}

/* What is kept for the backward part: the value before the activation, its slope, or the sums of stored a's
 * columns. */
static void matmul_host_side(const node *n, const node *side, const f64 *const *in, f64 *y)
{
    const struct matmul_args *m = n->args;
    const node *a = n->in[0];
    i64 rows = node_dim(a, -2), cols = node_dim(a, -1), count = node_count(side);
    for (i64 at = 0, every = host_every(count, matmul_macs(n) / (f64)count); at < count && side != m->sums;
         at += every) {
        f64 x = matmul_host_sum(n, in, at);
        y[at] = side == m->slope ? map_host_act(m->act, x, true) : x;
    }
    for (i64 at = 0; at < count && side == m->sums; at++) {
        const struct line column = matmul_line(a, in[0], at / cols, at % cols, true);
        y[at] = 0;
        for (i64 i = 0; i < rows; i++)
            y[at] += column.v[i * column.step];
    }
}

/* ---- ONNX ------------------------------------------------------------------------------------------ */

static const char *matmul_operand(struct onnx *o, const node *n, int k, bool stored_transposed)
{
    const char *x = onnx_in(o, n, k);
    int nd = n->in[k]->shape.nd;
    i64 order[MAX_DIM];
    if (!stored_transposed)
        return x;
    for (int i = 0; i < nd; i++)
        order[i] = i < nd - 2 ? i : 2 * nd - 3 - i;
    x = onnx_apply(o, "Transpose", x);
    onnx_ints(o, "perm", nd, order);
    return x;
}

static const char *matmul_onnx(const node *n, struct onnx *o)
{
    int trans = ((const struct matmul_args *)n->args)->trans;
    const char *a = matmul_operand(o, n, 0, trans & TRANS_A), *b = matmul_operand(o, n, 1, trans & TRANS_B);
    return onnx_apply(o, "MatMul", a, b);
}

const op matmul_op = { "matmul", .args = sizeof(struct matmul_args), .shape = matmul_shape,
                       .emit = matmul_emit, .vjp = matmul_vjp, .scratch = matmul_scratch, .macs = matmul_macs,
                       .host = matmul_host, .host_side = matmul_host_side, .onnx = matmul_onnx };
