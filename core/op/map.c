/* map.c: pointwise ops. A map node is a chain of formulas (one, when a builder makes it; more after
 * simplify.c joined neighbours), compiled into one generated kernel whose text depends on the formulas and on
 * how operands broadcast, not on sizes, so that layers share it.
 *
 * The result's axes are merged while all operands treat neighbours alike; what remains is rows x cols:
 *
 *     for each row r of my block:            operands that do not vary along the row are read, and random
 *         bases, row-wide values             numbers that do not are drawn, here
 *         for j by W:  load, steps, store    W = 16 on CPUs, 1 with many items on GPUs
 */
#include "op/op.h"
#include <ctype.h>
#include <stdlib.h>

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

/* The variables a text may use, in operand order: a forward text the operands; a derivative also y and dy. */
static const char *const variables[3][4] = { { NULL }, { "x", "y", "dy" }, { "a", "b", "y", "dy" } };

static bool uses(const char *text, const char *word)
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

bool map_drawn(const node *n, f32 *scale, u32 *stream)
{
    const struct map_args *m = n->args;
    if (n->op != &map_op || m->n != 1 || m->step[0].row != MAP_normal)
        return false;
    *scale = m->step[0].c;
    *stream = m->step[0].stream;
    return true;
}

bool map_is(const node *n, const char *row, int which)
{
    const struct map_args *m = n->args;
    return n->op == &map_op && m->n == 1 && m->step[0].which == which
        && !strcmp(map_rows[m->step[0].row].name, row);
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

static const char *shape(const node *n, struct shape *out)
{
    const struct map_args *m = n->args;
    *out = m->shape;
    for (int i = 0; i < n->n_in; i++)
        if (n->in[i] != n->g->step && !shape_broadcast(*out, n->in[i]->shape, out))
            return "shapes do not broadcast";
    return NULL;
}

/* One step whose operands are those of `have` that its text uses. */
static node *single(graph *g, int row, int which, node *const have[4], f32 c, struct shape s)
{
    struct map_step only = { .row = row, .which = which, .c = c, .shape = s };
    struct map_args m = { .shape = s, .n = 1, .step = { only } };
    node *in[4];
    const struct map_row *r = &map_rows[row];
    for (int v = 0; v < 4 && r->arity && variables[r->arity][v]; v++)
        if (uses(r->text[which], variables[r->arity][v])) {
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

static node *map1(int row, node *x, f32 c) { return single(x->g, row, 0, (node *[4]){ x }, c, x->shape); }

static node *map2(int row, node *a, node *b)
{
    struct shape s;
    if (!shape_broadcast(a->shape, b->shape, &s)) {
        graph_complain(a->g, "%s: shapes do not broadcast: %s x %s", map_rows[row].name,
                       shape_text(a->g->a, a->shape), shape_text(a->g->a, b->shape));
        s = a->shape;
        b = a;
    }
    return single(a->g, row, 0, (node *[4]){ a, b }, 0, s);
}

node *op_add(node *a, node *b)           { return map2(MAP_add, a, b); }
node *op_sub(node *a, node *b)           { return map2(MAP_sub, a, b); }
node *op_mul(node *a, node *b)           { return map2(MAP_mul, a, b); }
node *op_div(node *a, node *b)           { return map2(MAP_div, a, b); }
node *op_greater_than(node *a, node *b)  { return map2(MAP_greater_than, a, b); }
node *op_scale(node *x, f32 c)           { return map1(MAP_scale, x, c); }
node *op_offset(node *x, f32 c)          { return map1(MAP_offset, x, c); }
node *op_greater(node *x, f32 c)         { return map1(MAP_greater, x, c); }
node *op_copy(node *x)                   { return map1(MAP_copy, x, 0); }
node *op_fill(node *x, f32 c)            { return map1(MAP_fill, x, c); }
node *op_neg(node *x)                    { return map1(MAP_neg, x, 0); }
node *op_exp(node *x)                    { return map1(MAP_exp, x, 0); }
node *op_sqrt(node *x)                   { return map1(MAP_sqrt, x, 0); }
node *op_square(node *x)                 { return map1(MAP_square, x, 0); }
node *op_tanh(node *x)                   { return map1(MAP_tanh, x, 0); }
node *op_abs(node *x)                    { return map1(MAP_abs, x, 0); }
node *op_gelu(node *x)                   { return map1(MAP_gelu, x, 0); }

node *op_expand(node *x, struct shape s) { return single(x->g, MAP_copy, 0, (node *[4]){ x }, 0, s); }

node *op_normal(graph *g, struct shape s, f32 scale)   { return single(g, MAP_normal, 0, NULL, scale, s); }
node *op_uniform(graph *g, struct shape s)             { return single(g, MAP_uniform, 0, NULL, 0, s); }
node *op_keep_mask(graph *g, struct shape s, f32 keep) { return single(g, MAP_keep_mask, 0, NULL, keep, s); }

static void vjp(node *n, node *g, node *dx[])
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
            dx[i] = single(g->g, s->row, 1 + i, r->arity == 1 ? one : two, s->c, n->shape);
}

/* ---- how operands broadcast ---------------------------------------------------------------------------- */

/* Operands are the node's, then its steps: a random step has a shape of its own. */
struct layout {
    int n_axes;                          /* after merging; the last is the columns */
    i64 extent[MAX_DIM];
    u32 full[MAX_IN + MAX_STEPS];        /* bit per axis: does this operand (or random step) vary along it? */
};

static i64 dim_at(struct shape s, struct shape out, int axis) /* axis of `out`, aligned at the last */
{
    int i = axis - (out.nd - s.nd);
    return i < 0 ? 1 : s.d[i];
}

static struct shape shape_of(const node *n, int k)
{
    const struct map_args *m = n->args;
    return k < n->n_in ? n->in[k]->shape : m->step[k - n->n_in].shape;
}

static bool has_shape(const node *n, int k)
{
    const struct map_args *m = n->args;
    if (k < n->n_in)
        return n->in[k] != n->g->step;
    return !map_rows[m->step[k - n->n_in].row].arity;
}

/* Merging the columns into the row before would move a random number to another element unless rows fill
 * whole blocks of 16, the unit in which devices draw them. */
static bool splits_blocks(const node *n)
{
    const struct map_args *m = n->args;
    for (int i = 0; i < m->n; i++) {
        struct shape s = m->step[i].shape;
        if (!map_rows[m->step[i].row].arity && s.nd && s.d[s.nd - 1] % 16)
            return true;
    }
    return false;
}

static struct layout layout_of(const node *n)
{
    const struct map_args *m = n->args;
    struct layout l = { 0 };
    int count = n->n_in + m->n;
    bool split = splits_blocks(n);
    for (int axis = 0; axis < n->shape.nd; axis++) {
        i64 extent = n->shape.d[axis];
        bool last = axis == n->shape.nd - 1;
        if (extent == 1 && !(last && split))
            continue;
        u32 full[MAX_IN + MAX_STEPS] = { 0 };
        bool same = l.n_axes > 0 && !(last && split);
        for (int k = 0; k < count; k++)
            if (has_shape(n, k)) {
                full[k] = dim_at(shape_of(n, k), n->shape, axis) == extent;
                same &= l.n_axes && full[k] == (l.full[k] >> (l.n_axes - 1) & 1);
            }
        if (same)
            l.extent[l.n_axes - 1] *= extent;
        else {
            for (int k = 0; k < count; k++)
                l.full[k] |= full[k] << l.n_axes;
            l.extent[l.n_axes++] = extent;
        }
    }
    if (!l.n_axes)
        l.extent[l.n_axes++] = 1;
    return l;
}

/* ---- generated text ------------------------------------------------------------------------------------ */

typedef struct { char *p; size_t n, cap; arena *a; } text;

static void put(text *t, const char *fmt, ...) PRINTF(2, 3);
static void put(text *t, const char *fmt, ...)
{
    char line[512];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    check(n < (int)sizeof line, "generated line too long: %s", line);
    while (t->n + (size_t)n + 1 > t->cap)
        t->p = arena_grow(t->a, t->p, t->n, &t->cap, 1);
    memcpy(t->p + t->n, line, (size_t)n + 1);
    t->n += (size_t)n;
}

/* Where operand k's row begins, in elements or in its own rows: from the row's indices i0.., extents e1.. */
static void put_base(text *t, const struct layout *l, int k, bool in_rows)
{
    bool any = false;
    for (int axis = 0; axis < l->n_axes - 1; axis++) {
        if (!(l->full[k] >> axis & 1))
            continue;
        put(t, "%s(long)i%d", any ? " + " : "", axis);
        for (int inner = axis + 1; inner < l->n_axes; inner++)
            if (l->full[k] >> inner & 1 && !(in_rows && inner == l->n_axes - 1))
                put(t, inner == l->n_axes - 1 ? " * cols" : " * e%d", inner);
        any = true;
    }
    if (!any)
        put(t, "0");
}

static bool along_row(const struct layout *l, int k) { return l->full[k] >> (l->n_axes - 1) & 1; }

/* Does step i vary along a row? Through its operands, or as a random draw of its own. */
static bool step_along_row(const node *n, const struct layout *l, int i)
{
    const struct map_args *m = n->args;
    const struct map_step *s = &m->step[i];
    if (!map_rows[s->row].arity)
        return along_row(l, n->n_in + i);
    for (int k = 0; k < s->n_in; k++)
        if (s->in[k] < 0 ? step_along_row(n, l, -1 - s->in[k]) : along_row(l, s->in[k]))
            return true;
    return false;
}

/* "V t2; { const V a = v0, b = t1; t2 = a * b; }" */
static void put_step(text *t, const node *n, int i)
{
    const struct map_args *m = n->args;
    const struct map_step *s = &m->step[i];
    const struct map_row *r = &map_rows[s->row];
    put(t, "V t%d; { ", i);
    if (!r->arity)
        put(t, "const V u = u%d; ", i);
    for (int v = 0, k = 0; v < 4 && r->arity && variables[r->arity][v]; v++)
        if (uses(r->text[s->which], variables[r->arity][v])) {
            int from = s->in[k++];
            put(t, "const V %s = %c%d; ", variables[r->arity][v], from < 0 ? 't' : 'v',
                from < 0 ? -1 - from : from);
        }
    if (uses(r->text[s->which], "c"))
        put(t, "const float c = k%d; ", i);
    put(t, "t%d = %s; }\n", i, r->text[s->which]);
}

static void put_arguments(text *t, const node *n, const struct layout *l)
{
    const struct map_args *m = n->args;
    put(t, "(__global float *out");
    for (int k = 0; k < n->n_in; k++)
        put(t, has_shape(n, k) ? ", const __global float *p%d" : ", const __global uint *step%d", k);
    put(t, ", long rows, long cols, long block_rows, long block_cols");
    for (int axis = 1; axis < l->n_axes - 1; axis++)
        put(t, ", long e%d", axis);
    for (int i = 0; i < m->n; i++) {
        if (uses(map_rows[m->step[i].row].text[m->step[i].which], "c"))
            put(t, ", float k%d", i);
        if (!map_rows[m->step[i].row].arity)
            put(t, ", uint stream%d", i);
    }
    put(t, ")\n");
}

static void put_row_head(text *t, const node *n, const struct layout *l)
{
    const struct map_args *m = n->args;
    int rows = l->n_axes - 1;
    bool many = node_count(n) / MAX(1, l->extent[rows]) > UINT32_MAX;
    const char *whole = many ? "ulong" : "uint";                         // division is dear
    if (rows > 1)
        put(t, "%s q = (%s)r;\n", whole, whole);
    for (int axis = rows - 1; axis > 0; axis--)
        put(t, "const long i%d = q %% (%s)e%d; q /= (%s)e%d;\n", axis, whole, axis, whole, axis);
    put(t, rows > 1 ? "const long i0 = q;\n" : rows ? "const long i0 = r;\n" : "");
    for (int k = 0; k < n->n_in; k++) {
        if (!has_shape(n, k))
            continue;
        put(t, "const __global float *q%d = p%d + (", k, k);
        put_base(t, l, k, false);
        put(t, ");\n");
        if (!along_row(l, k))
            put(t, "const V v%d = (V)(*q%d);\n", k, k);
    }
    for (int i = 0; i < m->n; i++)
        if (!map_rows[m->step[i].row].arity) {
            bool along = along_row(l, n->n_in + i);
            put(t, "const long w%d = (", i);
            put_base(t, l, n->n_in + i, true);
            put(t, ") * %s;\n", along ? "((cols + 15) / 16 * 16)" : "16");  // rng.c: rows start a block of 16
            if (!along)
                put(t, "const V u%d = (V)(draw(seed, now, stream%d, w%d));\n", i, i, i);
        }
    for (int i = 0; i < m->n; i++)
        if (!step_along_row(n, l, i))
            put_step(t, n, i);
}

static bool draws_along_row(const node *n, const struct layout *l, int i)
{
    const struct map_args *m = n->args;
    return !map_rows[m->step[i].row].arity && along_row(l, n->n_in + i);
}

static void put_kernel(text *t, const node *n, const struct layout *l, const char *name)
{
    const struct map_args *m = n->args;
    put(t, "__kernel MAP_GROUP void %s\n", name);
    put_arguments(t, n, l);
    put(t, "{\n");
    for (int k = 0; k < n->n_in; k++)           // read once: a compiler cannot know that `out` lies elsewhere
        if (!has_shape(n, k))
            put(t, "const uint now = step%d[0];\n"
                   "const ulong seed = (ulong)step%d[2] << 32 | step%d[1];\n", k, k, k);
    put(t, "const long r0 = get_group_id(1) * block_rows, r1 = min(r0 + block_rows, rows);\n"
           "const long c0 = get_group_id(0) * block_cols, c1 = min(c0 + block_cols, cols);\n"
           "for (long r = r0 + MAP_ROW; r < r1; r += MAP_ROWS) {\n");
    put_row_head(t, n, l);
    bool drawn = false;
    for (int i = 0; i < m->n; i++)
        drawn |= draws_along_row(n, l, i);
    put(t, drawn ? "for (long first = c0 + MAP_COL; first < c1; first += MAP_DRAWN * MAP_COLS) {\n"
                 : "for (long j = c0 + MAP_COL; j < c1; j += MAP_COLS) {\n");
    for (int i = 0; i < m->n; i++)
        if (draws_along_row(n, l, i))
            put(t, "bits_v b%d[MAP_DRAWN];\ndraw_bits(b%d, seed, now, stream%d, w%d + first);\n", i, i, i, i);
    if (drawn)
        put(t, "for (long part = 0, j = first; part < MAP_DRAWN && j < c1; part++, j += MAP_COLS) {\n");
    put(t, "const long left = c1 - j;\n");
    for (int k = 0; k < n->n_in; k++)
        if (has_shape(n, k) && along_row(l, k))
            put(t, "const V v%d = load_v(q%d + j, left);\n", k, k);
    for (int i = 0; i < m->n; i++) {
        if (!step_along_row(n, l, i))
            continue;
        if (draws_along_row(n, l, i))
            put(t, "const V u%d = unit_v(b%d[part]);\n", i, i);
        put_step(t, n, i);
    }
    put(t, "store_v(t%d, out + r * cols + j, left);\n}\n}\n}\n%s", m->n - 1, drawn ? "}\n" : "");
}

/* The kernel's name is a digest of its text: equal chains of a graph become one kernel. */
static const char *name_of(arena *a, const char *body, const node *n)
{
    const struct map_args *m = n->args;
    u64 h = 14695981039346656037u;                            // FNV-1a
    for (const char *p = body; *p; p++)
        h = (h ^ (u8)*p) * 1099511628211u;
    return arena_printf(a, "map_%s_%08x", map_rows[m->step[m->n - 1].row].name, (u32)(h ^ h >> 32));
}

/* Groups take blocks of rows x columns. Items of a GPU's group stand side by side along a row, and rows too
 * short for all of them are taken several at a time. */
struct blocks { i64 rows, cols, across; };

static struct blocks blocks_of(const dev *d, i64 rows, i64 cols)
{
    i64 share = dev_tune(d, "map", "SHARE"), groups = dev_tune(d, "map", "GROUPS");
    i64 wg = dev_tune(d, "map", "WG");
    struct blocks b = { .across = wg };
    while (b.across > 1 && b.across / 2 >= cols)
        b.across /= 2;
    b.cols = ROUND_UP(MIN(cols, MAX(share, cols / groups)), (i64)16);
    b.rows = MAX(MAX(1, share / MAX(1, cols)), CEIL_DIV(rows, groups));
    return b;
}

static void emit(const node *n, launches *list)
{
    arena *a = n->g->a;
    const struct map_args *m = n->args;
    struct layout l = layout_of(n);
    dev *d = launches_dev(list);
    i64 cols = l.extent[l.n_axes - 1], rows = node_count(n) / MAX(1, cols);
    u64 wg = (u64)dev_tune(d, "map", "WG");
    struct blocks b = blocks_of(d, rows, cols);

    text body = { .a = a }, whole = { .a = a };
    put_kernel(&body, n, &l, "map");
    const char *name = name_of(a, body.p, n);
    put(&whole, "#include \"map.h\"\n");
    put_kernel(&whole, n, &l, name);

    u64 across = (u64)b.across, down = wg / across;
    launch k = { .file = "map", .kernel = name, .source = whole.p, .label = n->name,
                 .defs = wg == 1 ? "-DMAP_W=16" : "-DMAP_W=1", .local = { across, down },
                 .global = { (u64)CEIL_DIV(cols, b.cols) * across, (u64)CEIL_DIV(rows, b.rows) * down } };
    int c = 0;
    k.args[c++] = (arg)ARG_RANGE(n->home);
    k.bytes = (f64)node_bytes(n);
    for (int i = 0; i < n->n_in; i++) {
        k.args[c++] = (arg)ARG_RANGE(n->in[i]->home);
        k.bytes += (f64)node_bytes(n->in[i]);
    }
    i64 sizes[] = { rows, cols, b.rows, b.cols };
    for (int i = 0; i < 4; i++)
        k.args[c++] = (arg)ARG_LONG(sizes[i]);
    for (int axis = 1; axis < l.n_axes - 1; axis++)
        k.args[c++] = (arg)ARG_LONG(l.extent[axis]);
    for (int i = 0; i < m->n; i++) {
        check(c < MAX_ARGS - 2, "%s: a chain of too many arguments", n->name);
        if (uses(map_rows[m->step[i].row].text[m->step[i].which], "c"))
            k.args[c++] = (arg)ARG_REAL(m->step[i].c);
        if (!map_rows[m->step[i].row].arity)
            k.args[c++] = (arg)ARG_INT(m->step[i].stream);
    }
    launch_add(list, &k);
}

/* "mul add gelu'": the steps in order. */
static const char *title(const node *n)
{
    const struct map_args *m = n->args;
    const char *text = "";
    for (int i = 0; i < m->n; i++) {
        const char *name = map_rows[m->step[i].row].name, *prime = m->step[i].which ? "'" : "";
        text = arena_printf(n->g->a, "%s%s%s%s", text, i ? " " : "", name, prime);
    }
    return text;
}

const op map_op = { "map", .args = sizeof(struct map_args), .flags = OP_INPLACE, .shape = shape, .emit = emit,
                    .vjp = vjp, .title = title };
