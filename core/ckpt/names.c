/* names.c: the model in a file under our names, which are timm's, whatever the file calls them. scheme.c knows
 * the names, view.c makes the tensors; named.c is the way back. */
#include "ckpt/names.h"
#include <ctype.h>
#include <stdlib.h>

enum { MAX_LAYERS = 1000 };

/* ---- names as the schemes have them -------------------------------------------------------------------- */

/* What compiling, sharding and checkpointing put into names, anywhere. */
static const char *const wrappings[] = { "_orig_mod.", "_fsdp_wrapped_module.",
                                         "_checkpoint_wrapped_module." };

static const char *names_unwrapped(arena *a, const char *name)
{
    for (int i = 0; i < countof(wrappings); i++)
        for (const char *at; (at = strstr(name, wrappings[i]));)
            name = arena_printf(a, "%.*s%s", (int)(at - name), name, at + strlen(wrappings[i]));
    return name;
}

/* Newer big_vision files stack the layers: encoderblock/ instead of encoderblock_0/, encoderblock_1/ ... */
static const char *names_unstacked(arena *a, const char *name, bool *stacked)
{
    const char *stack = strstr(name, "encoderblock/");
    *stacked = stack;
    return stack ? arena_printf(a, "%.*s_0%s", (int)(stack - name) + 12, name, stack + 12) : name;
}

/* ---- from theirs --------------------------------------------------------------------------------------- */

struct translation {
    arena         *a;
    ckpt          *view;
    struct reading r;
    struct pieces  all;
    const char    *useless[8];                       /* beginnings of our names that DROP_WITH leaves out */
    int            nuseless;
    i64            heads;                            /* as shapes tell them; 0: not yet */
    bool           mean_first;                       /* the last norm is that of the mean of the patches */
};

static void names_leave(struct translation *x, const char *name, const char *why)
{
    *arena_push(x->a, x->view->left, x->view->nleft, x->view->left_cap) = (struct left_out){ name, why };
}

static const char *names_useless_why(const struct translation *x, const char *target)
{
    for (int i = 0; i < x->nuseless; i++)
        if (text_starts(target, x->useless[i]))
            return "of no use without what was left out before it";
    return NULL;
}

/* JAX's projections tell the number of heads, which no layer may have otherwise. */
static int names_note_heads(struct translation *x, const tensor *t, i64 heads)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)heads);
    if (x->heads && heads != x->heads)
        return fail(FAULT_DATA, "%s has %s heads, other layers have %lld", ckpt_quote(slice_of(t->name)), text,
                    (long long)x->heads);
    x->heads = heads;
    return ckpt_meta(x->view, "heads") ? 0 : ckpt_set_meta(x->view, "heads", text);
}

/* One tensor, or layer `layer` of `layers` stacked in one. */
static int names_translate_layer(struct translation *x, const tensor *t, const struct match *m, i64 layer,
                                 i64 layers)
{
    const struct rule *r = m->rule;
    struct piece p = {
        .source = t, .target = scheme_rewrite(x->a, r->to, m), .share = r->share, .pair = r->pair
    };
    const char *why = names_useless_why(x, p.target);
    if (x->mean_first && text_starts(p.target, "norm."))
        p.target = arena_printf(x->a, "fc_%s", p.target);
    if (why) {
        names_leave(x, t->name, why);
        return 0;
    }
    if (piece_shape(&p, r->how, false, t->nd - (layers > 0), t->shape + (layers > 0)))
        return -1;
    if (r->how == TO_HEADS && names_note_heads(x, t, t->shape[t->nd - 2]))
        return -1;
    p.whole = !layers && p.share < 0 && (r->how == COPY || (r->how == SQUEEZE && t->nd == 2));
    p.offset = layers ? (u64)layer * (t->count / (u64)layers) : 0;
    return pieces_add(x->a, &x->all, &p);
}

static int names_translate(struct translation *x, const tensor *t, struct match *m, bool stacked)
{
    if (!stacked)
        return names_translate_layer(x, t, m, 0, 0);
    if (!t->nd || t->shape[0] < 1 || t->shape[0] > MAX_LAYERS)       // each layer may cost unpacking them all
        return fail(FAULT_DATA, "tensor %s: a stack of none or more than %d layers", t->name, MAX_LAYERS);
    for (i64 i = 0; i < t->shape[0]; i++) {
        m->number[0] = slice_of(arena_printf(x->a, "%lld", (long long)i));
        if (names_translate_layer(x, t, m, i, t->shape[0]))
            return -1;
    }
    return 0;
}

/* A tensor that the scheme does not know keeps its name: the reader of the model decides. */
static int names_keep_strange(struct translation *x, const tensor *t, const char *name)
{
    struct piece p = { .source = t, .target = name, .share = -1, .whole = true };
    if (!x->view->strange++)
        x->view->strange_first = name;
    return piece_shape(&p, COPY, false, t->nd, t->shape) ? -1 : pieces_add(x->a, &x->all, &p);
}

static int names_translate_one(struct translation *x, const tensor *t, const char *name, bool stacked)
{
    struct match m;
    switch (reading_judge(&x->r, name, &m)) {
    case NAME_BESIDE:
        names_leave(x, t->name, "beside the model");
        return 0;
    case NAME_STRANGE:
        return names_keep_strange(x, t, name + strlen(x->r.under));
    default:
        if (m.rule->how != LEAVE)
            return names_translate(x, t, &m, stacked);
        names_leave(x, t->name, m.rule->to);
        return 0;
    }
}

static const struct piece *names_piece(const struct translation *x, const char *target)
{
    for (size_t i = 0; i < x->all.n; i++)
        if (!strcmp(x->all.list[i]->target, target))
            return x->all.list[i];
    return NULL;
}

/* What theirs does without, and ours has: zeros, one for each row of another tensor. */
static int names_add_zeros(struct translation *x)
{
    for (const struct rule *r = x->r.scheme->rule; r->from; r++) {
        const struct piece *like = r->how == ZEROED ? names_piece(x, r->to) : NULL;
        struct piece zeros = { .target = r->from, .share = -1 };
        if (!like || !like->nd || names_piece(x, r->from) || names_piece(x, r->beside))
            continue;
        if (piece_shape(&zeros, COPY, false, 1, like->shape) || pieces_add(x->a, &x->all, &zeros))
            return -1;
    }
    return 0;
}

/* What refuses the file, and what other rows leave out with themselves, before anything is translated. */
static int names_look_ahead(struct translation *x, const char *const *name, int n)
{
    struct match m;
    for (int i = 0; i < n; i++) {
        if (reading_judge(&x->r, name[i], &m) != NAME_KNOWN)
            continue;
        if (m.rule->how == REFUSE)
            return fail(FAULT_DATA, "%s (%s) is %s, which our models do not have",
                        ckpt_quote(slice_of(name[i])), x->r.scheme->title, m.rule->to);
        if (m.rule->with && x->nuseless < countof(x->useless))
            x->useless[x->nuseless++] = m.rule->with;
    }
    return 0;
}

static int names_say_eps(ckpt *view, f64 eps)
{
    char text[32];
    snprintf(text, sizeof text, "%g", eps);
    return eps == 1e-6 || ckpt_meta(view, "norm_eps") ? 0 : ckpt_set_meta(view, "norm_eps", text);
}

/* CLIP's activation leaves no trace in its tensors: OpenAI's files are known by a number that
 * they hold besides, of others only config.json or the model's name says it. */
static int names_say_act(ckpt *view, const ckpt *c, const struct reading *r)
{
    bool openai = ckpt_find(c, arena_printf(view->mem, "%sinput_resolution", r->under));
    if (ckpt_meta(view, "act") || ckpt_meta(view, "config.hidden_act"))
        return 0;
    if (openai)
        return ckpt_set_meta(view, "act", "quick_gelu");
    if (strstr(r->scheme->id, "siglip"))
        return ckpt_set_meta(view, "act", "gelu_tanh");
    return strstr(r->scheme->id, "clip") ? ckpt_set_meta(view, "act", "unknown") : 0;
}

/* MoCo v3's ViT-S has 12 heads, where others of its width have 6. Its pre-training is known by its two
 * encoders, what was made of it by the name that it gives the network. */
static int names_say_heads(ckpt *view, const ckpt *c, const struct reading *r)
{
    const tensor *token = ckpt_find(view, "cls_token");
    const char *arch = ckpt_meta(c, "arch");
    bool small = token && token->nd == 3 && token->shape[2] == 384, pair = path_says(r->under, "base_encoder");
    for (size_t i = 0; i < c->n && !pair && arch && !strcmp(arch, "vit_small"); i++)
        pair = text_starts(c->list[i]->t.name, "state_dict.module.");
    return small && pair && !ckpt_meta(view, "heads") ? ckpt_set_meta(view, "heads", "12") : 0;
}

static int names_translate_all(struct translation *x, ckpt *c, bool ema)
{
    int n = ckpt_count(c);
    const char **name = arena_array(x->a, const char *, n + 1), *nearest;
    bool *stacked = arena_array(x->a, bool, n + 1);
    for (int i = 0; i < n; i++)
        name[i] = names_unstacked(x->a, names_unwrapped(x->a, c->list[i]->t.name), &stacked[i]);
    if (!n)
        return fail(FAULT_DATA, "no tensors in this file");
    x->r = scheme_of(x->a, name, n, ema, &nearest);
    if (!x->r.scheme)
        return fail(FAULT_DATA, "no model whose names are known: %s", nearest);
    if (ema && !path_says(x->r.under, "ema"))
        return fail(FAULT_DATA, "no averaged (EMA) weights in this file");
    if (x->r.rival)
        return fail(FAULT_DATA, "holds more than one model, under %s and %s: jetcl convert --under PREFIX "
                    "FROM TO takes one of them", ckpt_quote(slice_of(x->r.under)),
                    ckpt_quote(slice_of(x->r.rival)));
    x->view->scheme = x->r.scheme->title;
    x->view->under = arena_printf(x->a, "%s%s", x->r.under, x->r.own);
    x->view->google = text_starts(x->r.scheme->id, "jax");
    x->mean_first = ckpt_meta(c, "pool") && !strcmp(ckpt_meta(c, "pool"), "avg");
    if (architecture_settle(x->view, c) || names_look_ahead(x, name, n))
        return -1;
    for (int i = 0; i < n; i++)
        if (names_translate_one(x, &c->list[i]->t, name[i], stacked[i]))
            return -1;
    if (names_add_zeros(x) || view_fill(x->view, &x->all))
        return -1;
    const char *foreign = scheme_foreign(x->r.scheme, x->view);
    if (foreign)
        return fail(FAULT_DATA, "%s with %s, which our models do not have", x->r.scheme->title, foreign);
    if (!ckpt_find(x->view, "head.weight") && !ckpt_find(x->view, "head.fc.weight"))
        ckpt_drop_meta(x->view, "config.num_labels");             // a head that is added has its own
    if (text_starts(x->r.scheme->id, "mmpretrain") && mmengine_settle(x->view, c))
        return -1;
    return names_say_eps(x->view, x->r.scheme->eps)
           || names_say_act(x->view, c, &x->r) || names_say_heads(x->view, c, &x->r) ? -1 : 0;
}

ckpt *ckpt_model(ckpt *c, bool ema)
{
    ckpt *view = view_new(c);
    struct translation x = { .a = view->mem, .view = view };
    const char *format = ckpt_meta(c, "format");
    if (format && text_starts(format, "jetcl ") && ckpt_meta(c, "ema"))
        ema = false;                                       // one of ours, which holds these and no others
    bool newer = format && text_starts(format, "jetcl ") && isdigit((u8)format[6]) && strcmp(format + 6, "1");
    if (newer)
        fail(FAULT_DATA, "format '%.40s', of a later version of this program", format);
    else if (format && text_starts(format, "jetcl state"))
        fail(FAULT_DATA, "the state of a run, for --resume; its weights are in the .safetensors beside it");
    else if (!names_translate_all(&x, c, ema))
        return view;
    fail_in("%s", c->path);
    ckpt_close(view);
    return NULL;
}

ckpt *ckpt_below(ckpt *c, const char *under)
{
    ckpt *view = view_new(c);
    struct pieces all = { 0 };
    int rc = 0;
    for (size_t i = 0; i < c->n && !rc; i++) {
        const tensor *t = &c->list[i]->t;
        struct piece p = { .source = t, .target = t->name, .share = -1, .whole = true };
        if (text_starts(t->name, under))
            rc = piece_shape(&p, COPY, false, t->nd, t->shape) ? -1 : pieces_add(view->mem, &all, &p);
    }
    rc = rc || (all.n ? view_fill(view, &all) : fail(FAULT_DATA, "no tensor under %s",
                                                     ckpt_quote(slice_of(under))));
    if (!rc)
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

const char *ckpt_scheme(const ckpt *c, const char **under)
{
    *under = c->under;
    return c->scheme;
}

int ckpt_strange(const ckpt *c, const char **first)
{
    *first = c->strange_first;
    return c->strange;
}

static int names_by_why(const void *a, const void *b)
{
    return strcmp((*(const struct left_out *const *)a)->why, (*(const struct left_out *const *)b)->why);
}

/* "14 tensors: the decoder of pre-training ('decoder_embed.weight', ...)", a reason a group. */
const char *ckpt_left_out(const ckpt *c, arena *a)
{
    const struct left_out **sorted = arena_array(a, const struct left_out *, c->nleft + 1);
    const char *text = "";
    for (size_t i = 0; i < c->nleft; i++)
        sorted[i] = &c->left[i];
    qsort(sorted, c->nleft, sizeof *sorted, names_by_why);
    for (size_t from = 0, to; from < c->nleft; from = to) {
        for (to = from + 1; to < c->nleft && !names_by_why(&sorted[from], &sorted[to]);)
            to++;
        text = arena_printf(a, "%s%s%zu %s (%s%s)", text, from ? "; " : "", to - from, sorted[from]->why,
                            ckpt_quote(slice_of(sorted[from]->name)), to - from > 1 ? ", ..." : "");
    }
    return text;
}
