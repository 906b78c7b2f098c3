/* map.c: pointwise ops: the table of formulas, and the nodes made from it. A map node is a chain of formulas:
 * one when a builder makes it, more after fuse/ joined neighbours. map_text.c writes the kernel of a chain,
 * map_emit.c launches it.
 */
#include "op/map.h"
#include "op/host.h"
#include <ctype.h>

const struct map_row map_rows[] = {
#define MAP0(name, y)         { #name, 0, { #y } },
#define MAP1(name, y, dx)     { #name, 1, { #y, #dx } },
#define MAP2(name, y, da, db) { #name, 2, { #y, #da, #db } },
#include "op/map.def"
#undef MAP0
#undef MAP1
#undef MAP2
};
enum map_id {
#define MAP0(name, ...) MAP_##name,
#define MAP1(name, ...) MAP_##name,
#define MAP2(name, ...) MAP_##name,
#include "op/map.def"
#undef MAP0
#undef MAP1
#undef MAP2
    MAP_COUNT
};
const int map_row_count = MAP_COUNT;

const char *const map_variables[3][4] = { { NULL }, { "x", "y", "dy" }, { "a", "b", "y", "dy" } };

bool map_uses(const char *text, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = strstr(text, word); p; p = strstr(p + 1, word)) {
        bool left = p == text || !(isalnum((u8)p[-1]) || p[-1] == '_' || p[-1] == '.');
        if (left && !isalnum((u8)p[n]) && p[n] != '_')
            return true;
    }
    return false;
}

bool map_draws(const node *n)
{
    const struct map_args *m = n->args;
    for (int i = 0; n->op == &map_op && i < m->n; i++)
        if (!map_rows[m->step[i].row].arity)
            return true;
    return false;
}

bool map_is(const node *n, const char *row, int which)
{
    const struct map_args *m = n->args;
    return n->op == &map_op && m->n == 1 && m->step[0].which == which
        && !strcmp(map_rows[m->step[0].row].name, row);
}

const struct map_step *map_drawn(const node *n, const char *row)
{
    return map_is(n, row, 0) ? ((const struct map_args *)n->args)->step : NULL;
}

enum act map_act(const node *n, int which)
{
#define ACT(name, value, slope) if (map_is(n, #name, which)) return ACT_##name;
#include "cl/act.def"
#undef ACT
    return ACT_NONE;
}

void map_become_mul(node *n, node *a, node *b)
{
    struct map_args *m = arena_one(n->g->a, struct map_args);
    m->shape = m->step[0].shape = n->shape;
    m->n = 1;
    m->step[0].row = MAP_mul;
    m->step[0].in[1] = 1;
    m->step[0].n_in = 2;
    n->args = m;
    n->in[0] = a;
    n->in[1] = b;
    n->n_in = 2;
}

/* ---- builders ------------------------------------------------------------------------------------------ */

static const char *map_shape(const node *n, struct shape *out)
{
    const struct map_args *m = n->args;
    *out = m->shape;
    for (int i = 0; i < n->n_in; i++)
        if (n->in[i] != n->g->step && !shape_broadcast(*out, n->in[i]->shape, out))
            return "shapes do not broadcast";
    return NULL;
}

/* One step whose operands are those of `have` that its text uses. */
static node *map_single(graph *g, int row, int which, node *const have[4], f32 c, struct shape s)
{
    struct map_step only = { .row = row, .which = which, .c = c, .shape = s };
    struct map_args m = { .shape = s, .n = 1, .step = { only } };
    node *in[4];
    const struct map_row *r = &map_rows[row];
    for (int v = 0; v < 4 && r->arity && map_variables[r->arity][v]; v++)
        if (map_uses(r->text[which], map_variables[r->arity][v])) {
            m.step[0].in[m.step[0].n_in] = m.step[0].n_in;
            in[m.step[0].n_in++] = have[v];
        }
    if (!r->arity) {
        m.step[0].stream = graph_stream(g);
        in[m.step[0].n_in] = graph_step(g);
        return node_make(g, &map_op, &m, in, 1);
    }
    return node_make(g, &map_op, &m, in, m.step[0].n_in);
}

static node *map_unary(int row, node *x, f32 c)
{
    return map_single(x->g, row, 0, (node *[4]){ x }, c, x->shape);
}

static node *map_binary(int row, node *a, node *b)
{
    struct shape s;
    if (!shape_broadcast(a->shape, b->shape, &s)) {
        graph_complain(a->g, "%s: shapes do not broadcast: %s x %s", map_rows[row].name,
                       shape_text(a->g->a, a->shape), shape_text(a->g->a, b->shape));
        s = a->shape;
        b = a;
    }
    return map_single(a->g, row, 0, (node *[4]){ a, b }, 0, s);
}

#define MAP0(name, y) \
    node *op_##name(graph *g, struct shape s, f32 c) { return map_single(g, MAP_##name, 0, NULL, c, s); }
#define MAP1(name, y, dx)     node *op_##name(node *x)          { return map_unary(MAP_##name, x, 0); }
#define MAP1C(name, y, dx)    node *op_##name(node *x, f32 c)   { return map_unary(MAP_##name, x, c); }
#define MAP2(name, y, da, db) node *op_##name(node *a, node *b) { return map_binary(MAP_##name, a, b); }
#include "op/map.def"
#undef MAP0
#undef MAP1
#undef MAP1C
#undef MAP2

node *op_by_sample(node *drawn, i64 together, i64 samples)
{
    struct map_step *s = &((struct map_args *)drawn->args)->step[0];
    i64 rows = shape_count(s->shape) / MAX(1, node_dim(drawn, -1));
    check(map_draws(drawn) && together > 0 && samples > 0 && rows % (together * samples) == 0,
          "%lld rows of %lld samples in %s", (long long)together, (long long)samples,
          shape_text(drawn->g->a, s->shape));
    s->together = together;
    s->samples = samples;
    return drawn;
}

node *op_expand(node *x, struct shape s) { return map_single(x->g, MAP_copy, 0, (node *[4]){ x }, 0, s); }

static void map_vjp(node *n, node *g, node *dx[])
{
    const struct map_args *m = n->args;
    check(m->n == 1, "gradient of a joined chain");
    const struct map_step *s = &m->step[0];
    const struct map_row *r = &map_rows[s->row];
    node *const one[4] = { n->in[0], n, g }, *const two[4] = { n->in[0], n->in[1], n, g };
    for (int i = 0; i < r->arity; i++)
        if (!strcmp(r->text[1 + i], "dy"))
            dx[i] = g;
        else if (strcmp(r->text[1 + i], "0"))
            dx[i] = map_single(g->g, s->row, 1 + i, r->arity == 1 ? one : two, s->c, n->shape);
}

/* "mul add gelu'": the steps in order. */
static const char *map_title(const node *n)
{
    const struct map_args *m = n->args;
    const char *text = "";
    for (int i = 0; i < m->n; i++) {
        const char *name = map_rows[m->step[i].row].name, *prime = m->step[i].which ? "'" : "";
        text = arena_printf(n->g->a, "%s%s%s%s", text, i ? " " : "", name, prime);
    }
    return text;
}

const op map_op = { "map", .args = sizeof(struct map_args), .flags = OP_INPLACE, .shape = map_shape,
                    .emit = map_emit, .vjp = map_vjp, .title = map_title, .host = map_host,
                    .onnx = map_onnx };
