/* names.c: everybody's names for the parameters of a ViT or ConvNeXt, brought to timm's, which are ours. The
 * result is a checkpoint of its own whose tensors are made on demand from one or three tensors of the file:
 *
 *     blocks.0.attn.qkv.weight  <-  query/kernel, key/kernel, value/kernel, each transposed from (d, heads, d/heads)
 */
#include "ckpt/format.h"
#include <stdlib.h>

/* How a source becomes (its share of) the target. Kernels of JAX are (in, out), ours (out, in). */
enum how {
    AS_IS,
    TRANSPOSE,                                       /* (in, out)            -> (out, in)            */
    FROM_HEADS,                                      /* (heads, d/heads, d)  -> (d, heads * d/heads) */
    TO_HEADS,                                        /* (d, heads, d/heads)  -> (heads * d/heads, d) */
    FLAT,                                            /* (heads, d/heads)     -> (d)                  */
    CONV                                             /* (h, w, in, out)      -> (out, in, h, w)      */
};
/* In `from`: # a number, kept for the #s of `to`; ? a number of no interest; * at the end, the rest, kept.
 * Three rules with share 0, 1, 2 of 3 make one target, stacked along its first dimension. */
struct rule { const char *from, *to; enum how how; int share, of; };

static const struct rule google[] = {
    { "embedding/kernel",                            "patch_embed.proj.weight", CONV },
    { "embedding/bias",                              "patch_embed.proj.bias" },
    { "cls",                                         "cls_token" },
    { "pos_embedding",                               "pos_embed" },
    { "Transformer/posembed_input/pos_embedding",    "pos_embed" },
    { "Transformer/encoder_norm/scale",              "norm.weight" },
    { "Transformer/encoder_norm/bias",               "norm.bias" },
    { "head/kernel",                                 "head.weight", TRANSPOSE },
    { "head/bias",                                   "head.bias" },
#define BLOCK "Transformer/encoderblock_#/"
#define HEADS BLOCK "MultiHeadDotProductAttention_?/"
    { BLOCK "LayerNorm_0/scale",                     "blocks.#.norm1.weight" },
    { BLOCK "LayerNorm_0/bias",                      "blocks.#.norm1.bias" },
    { BLOCK "LayerNorm_?/scale",                     "blocks.#.norm2.weight" },
    { BLOCK "LayerNorm_?/bias",                      "blocks.#.norm2.bias" },
    { HEADS "query/kernel",                          "blocks.#.attn.qkv.weight", TO_HEADS, 0, 3 },
    { HEADS "key/kernel",                            "blocks.#.attn.qkv.weight", TO_HEADS, 1, 3 },
    { HEADS "value/kernel",                          "blocks.#.attn.qkv.weight", TO_HEADS, 2, 3 },
    { HEADS "query/bias",                            "blocks.#.attn.qkv.bias", FLAT, 0, 3 },
    { HEADS "key/bias",                              "blocks.#.attn.qkv.bias", FLAT, 1, 3 },
    { HEADS "value/bias",                            "blocks.#.attn.qkv.bias", FLAT, 2, 3 },
    { HEADS "out/kernel",                            "blocks.#.attn.proj.weight", FROM_HEADS },
    { HEADS "out/bias",                              "blocks.#.attn.proj.bias" },
    { BLOCK "MlpBlock_?/Dense_0/kernel",             "blocks.#.mlp.fc1.weight", TRANSPOSE },
    { BLOCK "MlpBlock_?/Dense_0/bias",               "blocks.#.mlp.fc1.bias" },
    { BLOCK "MlpBlock_?/Dense_1/kernel",             "blocks.#.mlp.fc2.weight", TRANSPOSE },
    { BLOCK "MlpBlock_?/Dense_1/bias",               "blocks.#.mlp.fc2.bias" },
    { 0 }
};

static const struct rule facebook[] = {
    { "downsample_layers.0.#.*",                     "stem.#.*" },
    { "downsample_layers.#.#.*",                     "stages.#.downsample.#.*" },
    { "stages.#.#.dwconv.*",                         "stages.#.blocks.#.conv_dw.*" },
    { "stages.#.#.pwconv#.*",                        "stages.#.blocks.#.mlp.fc#.*" },
    { "stages.#.#.*",                                "stages.#.blocks.#.*" },
    { "norm.*",                                      "head.norm.*" },
    { "head.*",                                      "head.fc.*" },
    { 0 }
};

/* Where the model lies within a file, and what else lies beside it. */
static const char *const nests[]     = { "state_dict.", "model_state_dict.", "model.", NULL };
static const char *const ema_nests[] = { "state_dict_ema.", "model_ema.", "ema_state_dict.", "ema.", NULL };
static const char *const prefixes[] = { "module.", "model.", "backbone.", "timm_model.", "_orig_mod.", NULL };
static const char *const beside[] = {
    "optimizer.", "optimizer_state", "message_hub.", "param_schedulers.", "lr_scheduler.", "scheduler.",
    "scaler.", "amp.", "loss_scaler.", "data_preprocessor.", "moe_layers_dict.", "state_dict_ema.",
    "model_ema.", "ema_state_dict.", "ema.", NULL };

static const char *prefix_of(const char *name, const char *const *list)
{
    while (*list && !text_starts(name, *list))
        list++;
    return *list;
}

/* ---- rules --------------------------------------------------------------------------------------------- */

enum { MAX_LAYERS = 1000 };

struct match { slice number[4], rest; };

static bool fits(const char *rule, const char *name, struct match *m)
{
    int n = 0;
    for (; *rule && *rule != '*'; rule++) {
        if (*rule == '#' || *rule == '?') {
            size_t digits = strspn(name, "0123456789");
            if (!digits || digits > 6)
                return false;
            if (*rule == '#')
                m->number[n++] = (slice){ name, digits };
            name += digits;
        } else if (*rule != *name++)
            return false;
    }
    m->rest = slice_of(name);
    return *rule == '*' || !*name;
}

static const char *rewrite(arena *a, const char *rule, const struct match *m)
{
    char out[2 * MAX_NAME] = "";
    int n = 0, at = 0;
    for (; *rule; rule++) {
        slice s = *rule == '#' ? m->number[n++] : *rule == '*' ? m->rest : (slice){ rule, 1 };
        at += snprintf(out + at, sizeof out - (size_t)at, "%.*s", (int)s.n, s.p);
    }
    return arena_copy(a, out, (size_t)at);
}

/* ---- the view ------------------------------------------------------------------------------------------ */

/* Elements of source from `offset` on, taken with these strides, are share `share` of `of` of the target. */
struct piece {
    const tensor *source;
    const char   *target;
    u64           offset;
    int           nd, share, of;
    size_t        order;                             /* as met in the file */
    i64           shape[CKPT_DIMS], stride[CKPT_DIMS];
    bool          whole;                             /* the source as it is */
};
struct pieces { struct piece **list; size_t n, cap; };

static void transpose(struct piece *p, i64 rows, i64 columns)
{
    p->nd = 2;
    p->shape[0] = columns;
    p->shape[1] = rows;
    p->stride[0] = 1;
    p->stride[1] = columns;
}

static void transpose_conv(struct piece *p)                /* (h, w, in, out) -> (out, in, h, w) */
{
    static const int from[] = { 3, 2, 0, 1 };
    const struct piece q = *p;
    for (int i = 0; i < 4; i++) {
        p->shape[i] = q.shape[from[i]];
        p->stride[i] = q.stride[from[i]];
    }
}

/* shape: the source's, or one layer's of a stack. false when it does not suit the rule. */
static bool shape_piece(struct piece *p, enum how how, int nd, const i64 *shape)
{
    static const int dims[] = { [TRANSPOSE] = 2, [FROM_HEADS] = 3, [TO_HEADS] = 3, [FLAT] = 2, [CONV] = 4 };
    i64 step = 1;
    if (how != AS_IS && nd != dims[how])
        return false;
    p->nd = nd;
    for (int i = nd - 1; i >= 0; step *= shape[i--]) {
        p->shape[i] = shape[i];
        p->stride[i] = step;
    }
    switch (how) {
    case AS_IS:      break;
    case TRANSPOSE:  transpose(p, shape[0], shape[1]); break;
    case FROM_HEADS: transpose(p, shape[0] * shape[1], shape[2]); break;
    case TO_HEADS:   transpose(p, shape[0], shape[1] * shape[2]); break;
    case FLAT:       p->nd = 1; p->shape[0] = step; p->stride[0] = 1; break;
    case CONV:       transpose_conv(p); break;
    }
    return true;
}

static int add_piece(arena *a, struct pieces *all, const struct piece *p)
{
    if (all->n >= MAX_TENSORS)
        return fail(FAULT_DATA, "more than %d tensors", MAX_TENSORS);
    struct piece *kept = arena_one(a, struct piece);
    *kept = *p;
    kept->order = all->n;
    *arena_push(a, all->list, all->n, all->cap) = kept;
    return 0;
}

/* One tensor, or one layer of a stacked one: by the first rule that fits, else under its own name. */
static int translate(arena *a, struct pieces *all, const tensor *t, const char *name, const struct rule *r,
                     i64 layer, i64 layers)
{
    struct match m;
    struct piece p = { t, name, .of = 1, .whole = !layers };
    int nd = t->nd - (layers > 0);
    const i64 *shape = t->shape + (layers > 0);
    while (r && r->from && !fits(r->from, name, &m))
        r++;
    bool ruled = r && r->from;
    if (!shape_piece(&p, ruled ? r->how : AS_IS, nd, shape))
        return fail(FAULT_DATA, "tensor %s of %d dimensions: not what this name stands for", t->name, t->nd);
    if (ruled) {
        p.target = rewrite(a, r->to, &m);
        p.share = r->share;
        p.of = MAX(r->of, 1);
        p.whole = !layers && r->how == AS_IS;
    }
    p.offset = layers ? (u64)layer * (t->count / (u64)layers) : 0;
    return add_piece(a, all, &p);
}

/* Newer big-vision files stack the layers: encoderblock/ instead of encoderblock_0/, encoderblock_1/ ... */
static int translate_stack(arena *a, struct pieces *all, const tensor *t, const char *name,
                           const struct rule *rules)
{
    const char *stack = rules == google ? strstr(name, "encoderblock/") : NULL;
    if (!stack || strlen(name) > 200)
        return translate(a, all, t, name, rules, 0, 0);
    if (!t->nd || t->shape[0] < 1 || t->shape[0] > MAX_LAYERS)       // each layer may cost unpacking them all
        return fail(FAULT_DATA, "tensor %s: a stack of none or more than %d layers", t->name, MAX_LAYERS);
    for (i64 i = 0; i < t->shape[0]; i++) {
        int head = (int)(stack - name) + 12;          // with "encoderblock"
        const char *one = arena_printf(a, "%.*s_%lld%s", head, name, (long long)i, stack + 12);
        if (translate(a, all, t, one, rules, i, t->shape[0]))
            return -1;
    }
    return 0;
}

/* ---- which tensors are the model ----------------------------------------------------------------------- */

static const char *longest_nest(arena *a, const ckpt *c, bool ema)
{
    const char *nest = "";
    for (int depth = 0; depth < 4; depth++) {
        const char *const *list = ema && !depth ? ema_nests : nests;
        for (; *list; list++) {
            const char *longer = arena_printf(a, "%s%s", nest, *list);
            size_t i = 0;
            while (i < c->n && !text_starts(c->list[i]->t.name, longer))
                i++;
            if (i < c->n) {
                nest = longer;
                break;
            }
        }
        if (!*list)
            break;
    }
    return nest;
}

static const struct rule *rules_for(const ckpt *c, const char **root)
{
    for (size_t i = 0; i < c->n; i++) {
        const char *name = c->list[i]->t.name, *end = "embedding/kernel";
        if (text_ends(name, end)) {
            *root = name;                            // up to "embedding/kernel": what every name starts with
            return google;
        }
        if (strstr(name, "downsample_layers."))
            return facebook;
    }
    return NULL;
}

static const char *plain_name(const char *name, const char *nest, slice root)
{
    const char *prefix;
    if (!text_starts(name, nest))
        return NULL;
    name += strlen(nest);
    if (root.n)
        return strncmp(name, root.p, root.n) ? NULL : name + root.n;
    if (prefix_of(name, beside))
        return NULL;
    while ((prefix = prefix_of(name, prefixes)))
        name += strlen(prefix);
    bool counter = !strcmp(name, "steps");           // of mmengine's averaged model
    return counter || prefix_of(name, beside) ? NULL : name;
}

static int collect(ckpt *view, const ckpt *c, bool ema, struct pieces *all)
{
    arena *a = view->mem;
    const char *nest = longest_nest(a, c, ema), *first = NULL;
    if (ema && !*nest)
        return fail(FAULT_DATA, "no averaged (EMA) weights in this file");
    const struct rule *rules = rules_for(c, &first);
    view->google = rules == google;
    slice root = { first, first ? strlen(first) - strlen("embedding/kernel") : 0 };
    for (size_t i = 0; i < c->n; i++) {
        const tensor *t = &c->list[i]->t;
        const char *name = plain_name(t->name, nest, root);
        if (name && *name && translate_stack(a, all, t, name, rules))
            return -1;
    }
    return all->n ? 0 : fail(FAULT_DATA, "no weights of a model in this file");
}

/* ---- the view ------------------------------------------------------------------------------------------ */

struct recipe { struct piece *piece[3]; int n; };

static int by_target(const void *a, const void *b)
{
    const struct piece *x = *(struct piece *const *)a, *y = *(struct piece *const *)b;
    int order = strcmp(x->target, y->target);
    return order ? order : x->share - y->share;
}

static bool same_rows(const struct piece *p, const struct piece *q)
{
    return p->source->type == q->source->type && p->nd == q->nd && p->of == q->of && p->nd > 0 &&
           !memcmp(p->shape + 1, q->shape + 1, (size_t)(p->nd - 1) * sizeof *p->shape);
}

static int add_entry(ckpt *view, struct piece **group, int n)
{
    struct piece *p = group[0];
    i64 shape[CKPT_DIMS];
    memcpy(shape, p->shape, sizeof shape);
    for (int i = 0; i < n && n == p->of; i++)
        if (group[i]->share != i || (i && !same_rows(p, group[i])))
            n = 0;                                   // shares doubled, or of shapes that do not stack
        else if (i)
            shape[0] += group[i]->shape[0];
    if (n != p->of)
        return fail(FAULT_DATA, "%s: its tensors in the file (%s) are doubled, incomplete or do not fit",
                    p->target, p->source->name);
    entry *e = ckpt_entry(view, slice_of(p->target), p->source->type, p->nd, shape);
    struct recipe *r = arena_one(view->mem, struct recipe);
    if (!e)
        return -1;
    memcpy(r->piece, group, (size_t)n * sizeof *group);
    r->n = n;
    e->src = r;
    return 0;
}

static int by_order(const void *a, const void *b)
{
    const struct recipe *x = (*(entry *const *)a)->src, *y = (*(entry *const *)b)->src;
    return x->piece[0]->order < y->piece[0]->order ? -1 : 1;
}

static int build(ckpt *view, struct pieces *all)
{
    qsort(all->list, all->n, sizeof *all->list, by_target);
    for (size_t from = 0, to; from < all->n; from = to) {
        for (to = from + 1; to < all->n && !strcmp(all->list[from]->target, all->list[to]->target);)
            to++;
        if (add_entry(view, all->list + from, (int)(to - from)))
            return -1;
    }
    qsort(view->list, view->n, sizeof *view->list, by_order);
    return 0;
}

static const void *read_view(ckpt *view, entry *e, arena *a)
{
    const struct recipe *r = e->src;
    (void)view;
    if (r->n == 1 && r->piece[0]->whole)
        return tensor_data(r->piece[0]->source);
    u8 *out = arena_try(a, e->t.bytes, 64), *to = out;
    for (int i = 0; out && i < r->n; i++) {
        const struct piece *p = r->piece[i];
        int size = types[e->t.type].bytes;
        u64 count = 1;
        bool was_read = ((const entry *)p->source)->data;
        const u8 *from = tensor_data(p->source);
        if (!from)
            return NULL;
        ckpt_gather(to, from + p->offset * (u64)size, size, p->nd, p->shape, p->stride);
        for (int k = 0; k < p->nd; k++)
            count *= (u64)p->shape[k];
        to += count * (u64)size;
        if (!was_read)
            tensor_drop(p->source);
    }
    return out;
}

static void drop_view(ckpt *view, entry *e)
{
    const struct recipe *r = e->src;
    (void)view;
    if (r->n == 1 && r->piece[0]->whole)
        tensor_drop(r->piece[0]->source);
}

static void close_view(ckpt *view) { ckpt_close(view->inner); }

static const struct format view_format = { "model", "", .read = read_view, .drop = drop_view,
                                           .close = close_view };

ckpt *ckpt_model(ckpt *c, bool ema)
{
    ckpt *view = ckpt_new();
    struct pieces all = { 0 };
    view->path = arena_copy(view->mem, c->path, strlen(c->path));
    view->format = &view_format;
    view->inner = c;
    int rc = 0;
    for (size_t i = 0; i < c->nmeta && !rc; i++)
        rc = ckpt_note(view, slice_of(c->meta[i].key), slice_of(c->meta[i].value));
    if (!rc && !collect(view, c, ema, &all) && !build(view, &all))
        return view;
    fail_in("%s", c->path);
    ckpt_close(view);
    return NULL;
}

ckpt *ckpt_open_model(const char *path, bool ema)
{
    ckpt *c = ckpt_open(path);
    return c ? ckpt_model(c, ema) : NULL;
}
