/* map_emit.c: the launch of a pointwise node: who computes which rows and columns. */
#include "op/map.h"

/* Groups take blocks of rows x columns. Items of a GPU's group stand side by side along a row, and rows too
 * short for all of them are taken several at a time. */
struct blocks { i64 rows, cols, across; };

static struct blocks map_blocks(const dev *d, i64 rows, i64 cols)
{
    i64 share = dev_tune(d, "map", "SHARE"), groups = dev_tune(d, "map", "GROUPS");
    i64 wg = dev_group(d, "map");
    struct blocks b = { .across = wg };
    while (b.across > 1 && b.across / 2 >= cols)
        b.across /= 2;
    b.cols = ROUND_UP(MIN(cols, MAX(share, cols / groups)), (i64)16);
    b.rows = MAX(MAX(1, share / MAX(1, cols)), CEIL_DIV(rows, groups));
    return b;
}

/* What step s takes beside its operands: its constant, its random stream. */
static bool takes_constant(const struct map_step *s)
{
    return map_uses(map_rows[s->row].text[s->which], "c");
}
static bool takes_stream(const struct map_step *s) { return !map_rows[s->row].arity; }

bool map_fits(const node *n)
{
    const struct map_args *m = n->args;
    int args = 1 + n->n_in + 4 + MAX(0, map_layout(n).n_axes - 2);
    for (int i = 0; i < m->n; i++)
        args += takes_constant(&m->step[i]) + takes_stream(&m->step[i]);
    return args <= MAX_ARGS;
}

void map_emit(const node *n, launches *list)
{
    const struct map_args *m = n->args;
    struct layout l = map_layout(n);
    dev *d = launches_dev(list);
    i64 cols = l.extent[l.n_axes - 1], rows = node_count(n) / MAX(1, cols);
    u64 wg = (u64)dev_group(d, "map");
    struct blocks b = map_blocks(d, rows, cols);

    const char *name, *text = map_text(n->g->a, n, &l, &name);
    u64 across = (u64)b.across, down = wg / across;
    launch k = { .file = "map", .kernel = name, .source = text, .label = n->name,
                 .defs = wg == 1 ? "-DMAP_W=16" : "-DMAP_W=1", .local = { across, down },
                 .global = { (u64)CEIL_DIV(cols, b.cols) * across, (u64)CEIL_DIV(rows, b.rows) * down } };
    int c = 0;
    check(map_fits(n), "%s: a chain of too many arguments", n->name);
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
        if (takes_constant(&m->step[i]))
            k.args[c++] = (arg)ARG_REAL(m->step[i].c);
        if (takes_stream(&m->step[i]))
            k.args[c++] = (arg)ARG_LONG4(m->step[i].stream, m->step[i].together,
                                         m->step[i].together * m->step[i].samples, 0);
    }
    launch_add(list, &k);
}
