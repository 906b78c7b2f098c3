/* graft.c: cuts the predecessor's tensors by lists of indices. cuts.def says for every axis of every
 * parameter which list applies, so ViT, ConvNeXt, dense parts and experts are all the same few lines: look up
 * the lists, gather.
 *
 *     blocks.6.mlp.fc1.weight  "hc"
 *     ->  blocks.6.mlp.core_experts.vit_fc1.weight[e] = W[hidden neurons of e][channels of e]
 */
#include "recycle/recycle.h"

struct cut { const char *key, *axes; };
static const struct cut cuts[] = {
#define CUT(key, axes) { key, axes },
#include "recycle/cuts.def"
#undef CUT
};

/* n of total units, all of them when index is NULL. */
struct units { const i32 *index; i64 n, total; };
/* The lists that the letters of cuts.def stand for. */
struct lists { struct units c, p, a, q, h; };

struct grafter {
    const struct spec *s;
    const ckpt *experts, *dense;
    const struct anatomy *from, *to;
    const struct picks *picks;
    arena *a, *scratch;
    ckpt *out;
};

/* Copies the units of axis 0, each a whole block of the axes after it, recursively. Returns dst's end. */
static f32 *graft_gather(const f32 *src, const struct units *axis, int nd, f32 *dst)
{
    i64 inner = 1;
    bool whole = true;
    for (int i = 1; i < nd; i++) {
        inner *= axis[i].total;
        whole &= !axis[i].index;
    }
    for (i64 i = 0; i < axis->n; i++) {
        const f32 *row = src + (axis->index ? axis->index[i] : i) * inner;
        if (!whole) {
            dst = graft_gather(row, axis + 1, nd - 1, dst);
            continue;
        }
        memcpy(dst, row, sizeof *dst * (size_t)inner);
        dst += inner;
    }
    return dst;
}

/* The commonest innermost case without a call per element. */
static f32 *gather_matrix(const f32 *src, const struct units *rows, const struct units *columns, f32 *dst)
{
    for (i64 i = 0; i < rows->n; i++) {
        const f32 *row = src + (rows->index ? rows->index[i] : i) * columns->total;
        for (i64 j = 0; j < columns->n; j++)
            dst[j] = row[columns->index[j]];
        dst += columns->n;
    }
    return dst;
}

static f32 *gather_all(const f32 *src, const struct units *axis, int nd, f32 *dst)
{
    return nd == 2 && axis[1].index ? gather_matrix(src, axis, axis + 1, dst)
                                    : graft_gather(src, axis, nd, dst);
}

/* Which units of each axis of t the letters ask for; -1 + fail when t's widths are not its network's. */
static int axes_of(const tensor *t, const char *letters, const struct lists *l, struct units *axis)
{
    int nd = (int)strlen(letters);
    bool fits = t->nd == nd;
    for (int i = 0; fits && i < nd; i++) {
        const struct units whole = { NULL, t->shape[i], t->shape[i] };
        switch (letters[i]) {
        case 'c': axis[i] = l->c; break;
        case 'p': axis[i] = l->p; break;
        case 'a': axis[i] = l->a; break;
        case 'q': axis[i] = l->q; break;
        case 'h': axis[i] = l->h; break;
        default:  axis[i] = whole;
        }
        fits = axis[i].total == t->shape[i];
    }
    if (fits)
        return nd;
    char got[200], want[200] = "";
    for (int i = 0; i < nd; i++) {
        const char *names[] = { "channels", "channels before", "attention channels", "3 x attention channels",
                                "neurons", "*" };
        const struct units *u[] = { &l->c, &l->p, &l->a, &l->q, &l->h, NULL };
        int k = (int)(strchr("cpaqh-", letters[i]) - "cpaqh-");
        size_t at = strlen(want);
        snprintf(want + at, sizeof want - at, u[k] ? "%s%s (%ld)" : "%s%s", i ? ", " : "", names[k],
                 u[k] ? (long)u[k]->total : 0L);
    }
    return fail(FAULT_DATA, "%s: %s is %s, expected %s", ckpt_path(t->in), t->name,
                tensor_shape_text(got, t->nd, t->shape), want);
}

static const f32 *graft_values(const struct grafter *g, const tensor *t)
{
    if (t->type == CKPT_F32)
        return tensor_data(t);
    f32 *v = arena_array(g->scratch, f32, t->count);
    return tensor_weights(t, v) ? NULL : v;
}

/* Adds `name`: one cut of t (experts == 0), or a cut for each of `experts` lists one after the other. */
static int add_cut(const struct grafter *g, const tensor *t, const char *letters, const struct lists *l,
                   int experts, const char *name)
{
    struct units axis[CKPT_DIMS];
    i64 shape[CKPT_DIMS] = { experts }, count = MAX(experts, 1);
    int nd = axes_of(t, letters, l, axis), first = experts > 0;
    if (nd < 0)
        return -1;
    for (int i = 0; i < nd; i++)
        count *= shape[first + i] = axis[i].n;
    arena_mark m = arena_save(g->scratch);
    const f32 *src = graft_values(g, t);
    if (!src)
        return fail_in("%s", t->name);
    f32 *dst = arena_array(g->a, f32, count), *end = dst;
    for (int e = 0; e < MAX(experts, 1); e++) {
        axes_of(t, letters, l + e, axis);
        end = gather_all(src, axis, nd, end);
    }
    check(end - dst == count, "%s: %ld of %ld", name, (long)(end - dst), (long)count);
    tensor_drop(t);
    arena_restore(g->scratch, m);
    ckpt_add(g->out, name, CKPT_F32, first + nd, shape, dst);
    return 0;
}

/* The key with its '#' replaced by these numbers, in order. */
static const char *key_at(arena *a, const char *key, int first, int second)
{
    const char *hash = strchr(key, '#'), *next = hash ? strchr(hash + 1, '#') : NULL;
    if (!hash)
        return key;
    if (!next)
        return arena_printf(a, "%.*s%d%s", (int)(hash - key), key, first, hash + 1);
    return arena_printf(a, "%.*s%d%.*s%d%s", (int)(hash - key), key, first, (int)(next - hash - 1), hash + 1,
                        second, next + 1);
}

static const char *block_key(const struct grafter *g, const struct anatomy *n, const char *key, int block)
{
    const struct block_shape *b = &n->block[block];
    return n->convnext ? key_at(g->a, key, b->stage, b->index) : key_at(g->a, key, b->index, 0);
}

static struct units graft_channels(const struct grafter *g, int stage)
{
    int n = anatomy_stage_dim(g->to, stage);
    if (g->dense)
        return (struct units){ NULL, n, n };
    return (struct units){ g->picks->channel[stage], n, anatomy_stage_dim(g->from, stage) };
}

/* A parameter outside the experts: cut from the experts' predecessor, or the second one's as it is. */
static int add_dense(const struct grafter *g, const struct cut *c, const struct lists *l, const char *from,
                     const char *to)
{
    const tensor *t = ckpt_find(g->dense ? g->dense : g->experts, g->dense ? to : from);
    // The released scripts lose the final norm here: token models call it norm, averaging ones fc_norm.
    if (!t && text_starts(to, "fc_norm.") && g->s->recycle.cut == CUT_paper)
        t = ckpt_find(g->dense ? g->dense : g->experts, to + strlen("fc_"));
    return t ? add_cut(g, t, c->axes, l, 0, to) : 0;
}

/* Lists of the dense part of block l, or of a stage (block < 0). */
static struct lists dense_lists(const struct grafter *g, int stage, int block)
{
    struct lists l = { .c = graft_channels(g, stage),
                       .p = stage ? graft_channels(g, stage - 1) : (struct units){ 0 } };
    if (block < 0)
        return l;
    const struct block_shape *to = &g->to->block[block];
    const struct block_picks *b = &g->picks->block[block];
    const struct block_shape *from = g->dense ? to : &g->from->block[b->from];
    l.a = (struct units){ g->dense ? NULL : b->attn, to->dim, from->dim };
    l.h = (struct units){ g->dense ? NULL : b->hidden, to->hidden, from->hidden };
    i32 *triple = l.a.index ? arena_array(g->a, i32, 3 * l.a.n) : NULL;
    for (i64 i = 0; triple && i < 3 * l.a.n; i++)
        triple[i] = (i32)(l.a.index[i % l.a.n] + i / l.a.n * l.a.total);
    l.q = (struct units){ triple, 3 * l.a.n, 3 * l.a.total };
    return l;
}

/* Lists of experts [first, first + n) of block l: core experts, or universal ones with their narrow share. */
static struct lists *expert_lists(const struct grafter *g, int l, int first, int n, bool universal)
{
    const struct block_shape *to = &g->to->block[l], *from = &g->from->block[g->picks->block[l].from];
    const struct block_picks *b = &g->picks->block[l];
    struct lists *out = arena_array(g->a, struct lists, n);
    for (int e = 0; e < n; e++) {
        const i32 *hidden = b->expert_hidden + (size_t)(first + e) * to->hidden;
        const i32 *own = b->expert_channel ? b->expert_channel + (size_t)(first + e) * to->dim : NULL;
        out[e].c = (struct units){ own ? own : g->picks->channel[to->stage], to->dim, from->dim };
        out[e].h = (struct units){ hidden, to->hidden, from->hidden };
        if (!universal)
            continue;
        i32 *narrow = arena_array(g->a, i32, to->narrow);
        for (int i = 0; i < to->narrow; i++)
            narrow[i] = hidden[b->narrow[i]];
        out[e].h = (struct units){ narrow, to->narrow, from->hidden };
        if (b->dense_hidden) {
            out[e].c = (struct units){ NULL, to->dim, to->dim };
            out[e].h = (struct units){ b->dense_hidden + (size_t)e * to->narrow, to->narrow, to->hidden };
        }
    }
    return out;
}

static int add_experts(const struct grafter *g, const struct cut *c, int l)
{
    const struct block_shape *to = &g->to->block[l];
    const char *fc = strstr(c->key, "fc");                                              // fc1.weight
    bool dual = g->s->model.moe.kind == MOE_sphero;
    char block[64];
    anatomy_block_name(block, g->to, l);
    for (int universal = 0; universal < 2; universal++) {
        int n = universal ? to->universal : to->core;
        const struct block_picks *b = &g->picks->block[l];
        bool second = universal && b->dense_hidden;
        const ckpt *source = second ? g->dense : g->experts;
        const char *key = second ? block_key(g, g->to, c->key, l) : block_key(g, g->from, c->key, b->from);
        const tensor *t = ckpt_find(source, key);
        if (!n)
            continue;
        if (!t)
            return fail(FAULT_DATA, "%s: no %s", ckpt_path(source), key);
        const char *kind = !dual ? "experts" : universal ? "univ_experts" : "core_experts";
        const char *name = arena_printf(g->a, "%s.mlp.%s.vit_%s", block, kind, fc);
        if (add_cut(g, t, c->axes, expert_lists(g, l, universal ? to->core : 0, n, universal), n, name))
            return -1;
    }
    return 0;
}

static int graft_add_blocks(const struct grafter *g, const struct cut *c)
{
    bool mlp = strstr(c->key, ".mlp.") != NULL;
    for (int l = 0; l < g->to->depth; l++) {
        int from = g->picks->block[l].from;
        if (mlp && block_moe(&g->to->block[l]) && strstr(c->key, ".grn."))
            continue;                                // experts are plain MLPs
        if (mlp && block_moe(&g->to->block[l])) {
            if (add_experts(g, c, l))
                return -1;
            continue;
        }
        struct lists lists = dense_lists(g, g->to->block[l].stage, l);
        if (add_dense(g, c, &lists, block_key(g, g->from, c->key, from), block_key(g, g->to, c->key, l)))
            return -1;
    }
    return 0;
}

/* Parameters that are not of a block: of each stage but the first, or of the whole network. */
static int add_rest(const struct grafter *g, const struct cut *c)
{
    bool staged = strchr(c->key, '#');
    bool head = text_starts(c->key, "head"), norm = text_starts(c->key, "head.norm.");
    if (head && !norm && !g->dense && g->s->recycle.cut == CUT_released)
        return 0;                                                                       // as the script
    for (int stage = staged; stage < (staged ? g->to->stages : 1); stage++) {
        struct lists lists = dense_lists(g, head ? g->to->stages - 1 : stage, -1);
        const char *key = key_at(g->a, c->key, stage, 0);
        if (add_dense(g, c, &lists, key, key))
            return -1;
    }
    return 0;
}

int recycle_graft(const struct spec *s, const ckpt *experts, const ckpt *dense, const struct anatomy *from,
                  const struct anatomy *to, const struct picks *p, arena *a, ckpt *out)
{
    struct grafter g = { s, experts, dense, from, to, p, a, arena_open("graft"), out };
    int rc = 0;
    for (int i = 0; i < countof(cuts) && !rc; i++) {
        const char *key = cuts[i].key;
        if (strchr(key, '#') && text_starts(key, "stages.") != to->convnext)
            continue;
        rc = strstr(key, "blocks.#") ? graft_add_blocks(&g, &cuts[i]) : add_rest(&g, &cuts[i]);
    }
    arena_close(g.scratch);
    return rc;
}
