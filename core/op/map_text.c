/* map_text.c: the kernel of a chain of formulas, as text. It depends on the formulas and on how operands
 * broadcast, not on sizes, so that layers share it.
 *
 * The result's axes are merged while all operands treat neighbours alike; what remains is rows x cols:
 *
 *     for each row r of my block:            operands that do not vary along the row are read, and random
 *         bases, row-wide values             numbers that do not are drawn, here
 *         for j by W:  load, steps, store    W = 16 on CPUs, 1 with many items on GPUs
 */
#include "op/map.h"

/* ---- how operands broadcast ---------------------------------------------------------------------------- */

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

/* Operand k broadcasts; the step buffer does not. */
static bool map_has_shape(const node *n, int k)
{
    const struct map_args *m = n->args;
    if (k < n->n_in)
        return n->in[k] != n->g->step;
    return !map_rows[m->step[k - n->n_in].row].arity;
}

/* Merging the columns into the row before would move a random number to another element unless rows fill whole
 * blocks of 16, the unit in which devices draw them; and the rows of a sample must be told from others. */
static bool splits_blocks(const node *n)
{
    const struct map_args *m = n->args;
    for (int i = 0; i < m->n; i++) {
        struct shape s = m->step[i].shape;
        if (!map_rows[m->step[i].row].arity && s.nd && (s.d[s.nd - 1] % 16 || m->step[i].samples))
            return true;
    }
    return false;
}

struct layout map_layout(const node *n)
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
            if (map_has_shape(n, k)) {
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

static void map_put(text *t, const char *fmt, ...) PRINTF(2, 3);
static void map_put(text *t, const char *fmt, ...)
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
        map_put(t, "%s(long)i%d", any ? " + " : "", axis);
        for (int inner = axis + 1; inner < l->n_axes; inner++)
            if (l->full[k] >> inner & 1 && !(in_rows && inner == l->n_axes - 1))
                map_put(t, inner == l->n_axes - 1 ? " * cols" : " * e%d", inner);
        any = true;
    }
    if (!any)
        map_put(t, "0");
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
    map_put(t, "V t%d; { ", i);
    if (!r->arity)
        map_put(t, "const V u = u%d; ", i);
    for (int v = 0, k = 0; v < 4 && r->arity && map_variables[r->arity][v]; v++)
        if (map_uses(r->text[s->which], map_variables[r->arity][v])) {
            int from = s->in[k++];
            map_put(t, "const V %s = %c%d; ", map_variables[r->arity][v], from < 0 ? 't' : 'v',
                    from < 0 ? -1 - from : from);
        }
    if (map_uses(r->text[s->which], "c"))
        map_put(t, "const float c = k%d; ", i);
    map_put(t, "t%d = %s; }\n", i, r->text[s->which]);
}

/* Elements of a half type are read and written by cl/type.h; a text without any knows nothing of it. */
static const char *map_type(const node *n) { return dtype_half(n->type) ? "ushort" : "float"; }

static void put_arguments(text *t, const node *n, const struct layout *l)
{
    const struct map_args *m = n->args;
    map_put(t, "(global %s *out", map_type(n));
    for (int k = 0; k < n->n_in; k++)
        if (map_has_shape(n, k))
            map_put(t, ", const global %s *p%d", map_type(n->in[k]), k);
        else
            map_put(t, ", const global uint *step%d", k);
    map_put(t, ", long rows, long cols, long block_rows, long block_cols");
    for (int axis = 1; axis < l->n_axes - 1; axis++)
        map_put(t, ", long e%d", axis);
    for (int i = 0; i < m->n; i++) {
        if (map_uses(map_rows[m->step[i].row].text[m->step[i].which], "c"))
            map_put(t, ", float k%d", i);
        if (!map_rows[m->step[i].row].arity)
            map_put(t, ", long4 drawn%d", i);
    }
    map_put(t, ")\n");
}

static void put_row_head(text *t, const node *n, const struct layout *l)
{
    const struct map_args *m = n->args;
    int rows = l->n_axes - 1;
    bool many = node_count(n) / MAX(1, l->extent[rows]) > UINT32_MAX;
    const char *integer = many ? "ulong" : "uint";                         // division is slow
    if (rows > 1)
        map_put(t, "%s q = (%s)r;\n", integer, integer);
    for (int axis = rows - 1; axis > 0; axis--)
        map_put(t, "const long i%d = q %% (%s)e%d; q /= (%s)e%d;\n", axis, integer, axis, integer, axis);
    map_put(t, rows > 1 ? "const long i0 = q;\n" : rows ? "const long i0 = r;\n" : "");
    for (int k = 0; k < n->n_in; k++) {
        if (!map_has_shape(n, k))
            continue;
        const node *x = n->in[k];
        map_put(t, "const global %s *q%d = p%d + (", map_type(x), k, k);
        put_base(t, l, k, false);
        map_put(t, ");\n");
        if (!along_row(l, k) && dtype_half(x->type))
            map_put(t, "const V v%d = (V)(LOAD_1(%s, q%d));\n", k, dtype_name(x->type), k);
        else if (!along_row(l, k))
            map_put(t, "const V v%d = (V)(*q%d);\n", k, k);
    }
    for (int i = 0; i < m->n; i++)
        if (!map_rows[m->step[i].row].arity) {
            bool along = along_row(l, n->n_in + i);
            map_put(t, "const long w%d = row_of_batch(", i);
            put_base(t, l, n->n_in + i, true);
            map_put(t, ", drawn%d, before, others) * %s;\n", i,
                    along ? "((cols + 15) / 16 * 16)" : "16"); // rng.c: rows start a block of 16
            if (!along)
                map_put(t, "const V u%d = (V)(draw(seed, now, (uint)drawn%d.x, w%d));\n", i, i, i);
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
    map_put(t, "kernel MAP_GROUP void %s\n", name);
    put_arguments(t, n, l);
    map_put(t, "{\n");
    for (int k = 0; k < n->n_in; k++)           // read once: a compiler cannot know that `out` lies elsewhere
        if (!map_has_shape(n, k))
            map_put(t, "const uint now = step%d[%d];\n"
                   "const ulong seed = (ulong)step%d[%d] << 32 | step%d[%d];\n"
                   "const long before = step%d[%d], others = step%d[%d];\n", k, STEP_NUMBER, k, STEP_SEED_HI, k,
                   STEP_SEED_LO, k, STEP_BEFORE, k, STEP_OTHERS);
    map_put(t, "const long r0 = get_group_id(1) * block_rows, r1 = min(r0 + block_rows, rows);\n"
           "const long c0 = get_group_id(0) * block_cols, c1 = min(c0 + block_cols, cols);\n"
           "for (long r = r0 + MAP_ROW; r < r1; r += MAP_ROWS) {\n");
    put_row_head(t, n, l);
    bool drawn = false;
    for (int i = 0; i < m->n; i++)
        drawn |= draws_along_row(n, l, i);
    map_put(t, drawn ? "for (long first = c0 + MAP_COL; first < c1; first += MAP_DRAWN * MAP_COLS) {\n"
                 : "for (long j = c0 + MAP_COL; j < c1; j += MAP_COLS) {\n");
    for (int i = 0; i < m->n; i++)
        if (draws_along_row(n, l, i))
            map_put(t, "bits_v b%d[MAP_DRAWN];\ndraw_bits(b%d, seed, now, (uint)drawn%d.x, w%d + first);\n", i,
                    i, i, i);
    if (drawn)
        map_put(t, "for (long part = 0, j = first; part < MAP_DRAWN && j < c1; part++, j += MAP_COLS) {\n");
    map_put(t, "const long left = c1 - j;\n");
    for (int k = 0; k < n->n_in; k++)
        if (map_has_shape(n, k) && along_row(l, k) && dtype_half(n->in[k]->type))
            map_put(t, "const V v%d = LOAD_V(%s, q%d + j, left);\n", k, dtype_name(n->in[k]->type), k);
        else if (map_has_shape(n, k) && along_row(l, k))
            map_put(t, "const V v%d = load_v(q%d + j, left);\n", k, k);
    for (int i = 0; i < m->n; i++) {
        if (!step_along_row(n, l, i))
            continue;
        if (draws_along_row(n, l, i))
            map_put(t, "const V u%d = unit_v(b%d[part]);\n", i, i);
        put_step(t, n, i);
    }
    if (dtype_half(n->type))
        map_put(t, "STORE_V(%s, t%d, out + r * cols + j, left);\n", dtype_name(n->type), m->n - 1);
    else
        map_put(t, "store_v(t%d, out + r * cols + j, left);\n", m->n - 1);
    map_put(t, "}\n}\n}\n%s", drawn ? "}\n" : "");
}

/* The kernel's name is a digest of its text: equal chains of a graph become one kernel. */
static const char *name_of(arena *a, const char *body, const node *n)
{
    const struct map_args *m = n->args;
    u64 h = hash_text(HASH_START, body);
    return arena_printf(a, "map_%s_%08x", map_rows[m->step[m->n - 1].row].name, (u32)(h ^ h >> 32));
}

const char *map_text(arena *a, const node *n, const struct layout *l, const char **name)
{
    text body = { .a = a }, all = { .a = a };
    put_kernel(&body, n, l, "map");
    *name = name_of(a, body.p, n);
    map_put(&all, "#include \"map.h\"\n");
    put_kernel(&all, n, l, *name);
    return all.p;
}
