/* load.c: fills a model's parameters from a checkpoint under timm's names, and says what became of each. */
#include "ckpt/format.h"

struct loading {
    arena                     *a;
    ckpt                      *c;
    const struct load_options *o;
    struct load_report        *r;
    size_t                     cap;                  /* of r->line */
};

static bool is_norm(const char *name) { return text_starts(name, "norm.") || text_starts(name, "fc_norm."); }

/* A head belongs to its classes, a final norm to its pooling, and these extra tokens to their training: that
 * another model has them, or lacks them, needs no explanation. */
static bool is_own(const char *name)
{
    static const char *const own[] = { "head.", "head_dist.", "pre_logits.", "dist_token", "reg_token",
                                       "mask_token" };
    for (int i = 0; i < countof(own); i++)
        if (text_starts(name, own[i]))
            return true;
    return is_norm(name);
}

static void load_note(struct loading *l, char kind, const char *text)
{
    size_t n = (size_t)l->r->nlines;
    *arena_push(l->a, l->r->line, n, l->cap) = (struct load_line){ kind, text };
    l->r->nlines = (int)n;
}

static void note_wrong(struct loading *l, char kind, const char *text)
{
    load_note(l, kind, text);
    if (!l->r->nwrong++)
        l->r->wrong = text;
}

/* ---- position embeddings ------------------------------------------------------------------------------- */

static int load_square(i64 n)
{
    int side = 0;
    while ((i64)(side + 1) * (side + 1) <= n)
        side++;
    return (i64)side * side == n ? side : 0;
}

/* What the metadata says of the file's grid: "7 9". */
static bool said_grid(const struct loading *l, int grid[2])
{
    const char *says = ckpt_meta(l->c, "grid");
    return says && sscanf(says, "%d %d", &grid[0], &grid[1]) == 2 && grid[0] > 0 && grid[1] > 0;
}

/* The file's grid: as its metadata says, if that leaves as few other tokens as there can be; else a square
 * after as few as possible, ours first. */
static bool find_grid(const struct loading *l, i64 tokens, int grid[2], int *prefix)
{
    const tensor *registers = ckpt_find(l->c, "reg_token");
    int own = registers && registers->nd == 3 ? (int)MIN(registers->shape[1], 64) : 0;
    int most = MAX(5, l->o->prefix + own);
    i64 others = said_grid(l, grid) ? tokens - (i64)grid[0] * grid[1] : -1;
    if (others >= 0 && others <= most) {
        *prefix = (int)others;
        return true;
    }
    for (int i = -1; i <= most; i++) {
        *prefix = i < 0 ? l->o->prefix : i;
        grid[0] = grid[1] = tokens > *prefix ? load_square(tokens - *prefix) : 0;
        if (grid[0])
            return true;
    }
    return false;
}

static int resize_tokens(struct loading *l, const tensor *t, struct want *w, i64 from, i64 to, int d)
{
    int grid[2], prefix, ours[2] = { l->o->grid[0], l->o->grid[1] };
    if (!ours[0])
        ours[0] = ours[1] = load_square(to - l->o->prefix);
    if ((i64)ours[0] * ours[1] + l->o->prefix != to)
        return fail(FAULT_DATA, "%s: %lld tokens are not a grid of %d x %d after %d others", w->name,
                    (long long)to, ours[0], ours[1], l->o->prefix);
    if (!find_grid(l, from, grid, &prefix))
        return fail(FAULT_DATA,
                    "%s: the file's %lld tokens are not a square grid, and its metadata names none "
                    "(jetcl convert --meta 'grid=ROWS COLUMNS')",
                    w->name, (long long)from);
    arena *scratch = arena_open("position embeddings");
    f32 *tokens = arena_array(scratch, f32, t->count);
    int rc = tensor_weights(t, tokens), shared = MIN(prefix, l->o->prefix);
    if (!rc) {                                       // tokens that had no position added get zeros
        memset(w->data, 0, (size_t)l->o->prefix * (size_t)d * sizeof *tokens);
        memcpy(w->data, tokens, (size_t)shared * (size_t)d * sizeof *tokens);
        posembed_resize(tokens + (i64)prefix * d, grid[0], grid[1],
                        w->data + (i64)l->o->prefix * d, ours[0], ours[1], d, l->c->google);
    }
    arena_close(scratch);
    w->got = GOT_RESIZED;
    l->r->resized++;
    load_note(l, 'r', arena_printf(l->a, "%s: %d x %d -> %d x %d, %s", w->name, grid[0], grid[1], ours[0],
                                   ours[1], l->c->google ? "bilinear" : "bicubic"));
    return rc;
}

/* ---- patch embeddings ---------------------------------------------------------------------------------- */

/* Filters of as many outputs, but of another patch size or of 1 or 4 input channels. */
static bool other_patch(const tensor *t, const struct want *w)
{
    bool patch = text_ends(w->name, "patch_embed.proj.weight"), stem = text_ends(w->name, "stem.0.weight");
    if ((!patch && !stem) || w->nd != 4 || t->nd != 4 || t->shape[0] != w->shape[0])
        return false;
    bool size = t->shape[2] == w->shape[2] && t->shape[3] == w->shape[3], small = true;
    for (int i = 2; i < 4; i++)
        small = small && t->shape[i] >= 1 && t->shape[i] <= 64 && w->shape[i] <= 64;
    i64 c = t->shape[1];
    return (size || (patch && small)) && (c == w->shape[1] || (w->shape[1] == 3 && (c == 1 || c == 4)));
}

/* Grey filters see the mean of red, green and blue; of RGB and a fourth channel the first three are kept. */
static void to_channels(const f32 *from, i64 c0, f32 *to, i64 c, i64 outputs, i64 pixels)
{
    for (i64 o = 0; o < outputs; o++)
        for (i64 k = 0; k < c; k++)
            for (i64 i = 0; i < pixels; i++)
                to[(o * c + k) * pixels + i] =
                    c0 == 1 ? from[o * pixels + i] / (f32)c : from[(o * c0 + k) * pixels + i];
}

static int resize_patch(struct loading *l, const tensor *t, struct want *w)
{
    i64 pixels = t->shape[2] * t->shape[3], filters = w->shape[0] * w->shape[1];
    arena *scratch = arena_open("patch embedding");
    f32 *file = arena_array(scratch, f32, t->count), *rgb = arena_array(scratch, f32, filters * pixels);
    int rc = tensor_weights(t, file);
    if (!rc)
        to_channels(file, t->shape[1], rgb, w->shape[1], w->shape[0], pixels);
    if (!rc && t->shape[2] == w->shape[2] && t->shape[3] == w->shape[3])
        memcpy(w->data, rgb, (size_t)(filters * pixels) * sizeof *rgb);
    else if (!rc
             && !patch_resize(rgb, (int)t->shape[2], (int)t->shape[3], w->data, (int)w->shape[2],
                              (int)w->shape[3], filters))
        rc = fail(FAULT_DATA, "%s: cannot be resized from %d x %d to %d x %d", w->name, (int)t->shape[2],
                  (int)t->shape[3], (int)w->shape[2], (int)w->shape[3]);
    arena_close(scratch);
    w->got = GOT_RESIZED;
    l->r->resized++;
    load_note(l, 'r',
              arena_printf(l->a, "%s: %d x %d of %d channels -> %d x %d of %d", w->name, (int)t->shape[2],
                           (int)t->shape[3], (int)t->shape[1], (int)w->shape[2], (int)w->shape[3],
                           (int)w->shape[1]));
    return rc;
}

/* ---- one parameter ------------------------------------------------------------------------------------- */

static const tensor *find_source(const struct loading *l, const char *name)
{
    const tensor *t = ckpt_find(l->c, name);
    if (t || !l->o->norm_to_fc_norm || !text_starts(name, "fc_norm."))
        return t;
    return ckpt_find(l->c, name + strlen("fc_"));
}

/* Equal but for dimensions of one: (1, 1, 192) and (192). */
static bool same_but_ones(const tensor *t, const struct want *w)
{
    int i = 0, k = 0;
    for (;; i++, k++) {
        while (i < t->nd && t->shape[i] == 1)
            i++;
        while (k < w->nd && w->shape[k] == 1)
            k++;
        if (i == t->nd || k == w->nd)
            return i == t->nd && k == w->nd;
        if (t->shape[i] != w->shape[k])
            return false;
    }
}

/* As many tokens, but the file says that they make another grid. */
static bool other_grid(const struct loading *l, const struct want *w)
{
    int grid[2];
    return text_ends(w->name, "pos_embed") && l->o->grid[0] && said_grid(l, grid) &&
           (grid[0] != l->o->grid[0] || grid[1] != l->o->grid[1]);
}

/* timm's registers may have positions of their own, which stand after those of the other tokens: our registers
 * have none, so theirs are added to them. The first such position in the file's pos_embed, or -1; a file
 * that has exactly the positions of this model has none for registers. */
static i64 registers_placed(const struct loading *l, const tensor *t, const struct want *w)
{
    const tensor *pos = text_ends(w->name, "reg_token") ? ckpt_find(l->c, "pos_embed") : NULL;
    int grid[2], prefix;
    if (!pos || t->nd != 3 || pos->nd < 2 || t->shape[2] < 1 || pos->shape[pos->nd - 1] != t->shape[2])
        return -1;
    i64 tokens = (i64)pos->count / t->shape[2], ours = (i64)l->o->grid[0] * l->o->grid[1];
    bool placed = !(ours && tokens == ours + l->o->prefix) && find_grid(l, tokens, grid, &prefix)
                  && prefix == l->o->prefix + t->shape[1];
    return placed ? l->o->prefix : -1;
}

static int load_values(struct loading *l, const tensor *t, struct want *w)
{
    i64 first = registers_placed(l, t, w);
    if (tensor_weights(t, w->data))
        return -1;
    if (first < 0)
        return 0;
    const tensor *pos = ckpt_find(l->c, "pos_embed");
    arena *scratch = arena_open("positions of registers");
    f32 *all = arena_array(scratch, f32, pos->count);
    int rc = tensor_weights(pos, all);
    for (u64 i = 0; i < t->count && !rc; i++)
        w->data[i] += all[first * t->shape[2] + (i64)i];
    arena_close(scratch);
    return rc;
}

static int load_found(struct loading *l, const tensor *t, struct want *w)
{
    char have[200], need[200];
    i64 d = w->nd ? w->shape[w->nd - 1] : 0;
    if (same_but_ones(t, w) && !other_grid(l, w)) {
        if (load_values(l, t, w))
            return -1;
        w->got = GOT_LOADED;
        l->r->loaded++;
        return 0;
    }
    bool tokens = text_ends(w->name, "pos_embed") && w->nd >= 2 && t->nd >= 2;
    if (tokens && d > 0 && t->shape[t->nd - 1] == d)
        return resize_tokens(l, t, w, (i64)t->count / d, w->shape[w->nd - 2], (int)d);
    if (other_patch(t, w))
        return resize_patch(l, t, w);
    tensor_shape_text(have, t->nd, t->shape);
    tensor_shape_text(need, w->nd, w->shape);
    const char *text = arena_printf(l->a, "%s: the file has %s, the model needs %s", w->name, have, need);
    if (is_own(w->name)) {
        l->r->fresh++;
        load_note(l, 'f', text);
    } else {
        l->r->missing++;
        note_wrong(l, 'm', text);
    }
    return 0;
}

static void note_absent(struct loading *l, const struct want *w)
{
    if (!is_own(w->name)) {
        l->r->missing++;
        note_wrong(l, 'm', arena_printf(l->a, "%s: not in the file", w->name));
        return;
    }
    bool lost = text_starts(w->name, "fc_norm.") && ckpt_find(l->c, w->name + strlen("fc_"));
    l->r->fresh++;
    load_note(l, 'f',
              arena_printf(l->a, "%s: not in the file%s", w->name, lost ? ", whose norm is left unused" : ""));
}

/* The file's own f32, where it lies: the caller only reads. */
static int lend_file(struct loading *l, const tensor *t, struct want *w, int i)
{
    if (!(w->data = (f32 *)tensor_data(t)))
        return -1;
    w->got = GOT_LOADED;
    l->r->loaded++;
    int rc = l->o->store(l->o->arg, i);
    w->data = NULL;
    return rc;
}

/* In memory of its own, which the caller takes the values from. */
static int load_lend(struct loading *l, const tensor *t, struct want *w, int i)
{
    if (t->type == CKPT_F32 && same_but_ones(t, w) && !other_grid(l, w) && registers_placed(l, t, w) < 0)
        return lend_file(l, t, w, i);
    u64 n = 1;
    arena *a = arena_open("parameter");
    for (int k = 0; k < w->nd; k++)
        n *= (u64)w->shape[k];
    w->data = arena_array(a, f32, n);
    int rc = load_found(l, t, w);
    if (!rc && w->got != GOT_NOTHING)
        rc = l->o->store(l->o->arg, i);
    arena_close(a);
    w->data = NULL;
    return rc;
}

static int load_one(struct loading *l, struct want *w, int i)
{
    const tensor *t = find_source(l, w->name);
    w->got = GOT_NOTHING;
    if (!t) {
        note_absent(l, w);
        return 0;
    }
    check(w->data || l->o->store, "nowhere to put %s", w->name);
    ((entry *)t)->used = true;
    int rc = w->data ? load_found(l, t, w) : load_lend(l, t, w, i);
    tensor_drop(t);
    return rc;
}

static void note_unexpected(struct loading *l)
{
    char shape[200];
    for (size_t i = 0; i < l->c->n; i++) {
        const entry *e = l->c->list[i];
        if (e->used)
            continue;
        l->r->unexpected++;
        const char *text = arena_printf(l->a, "%s %s: not of this model", e->t.name,
                                        tensor_shape_text(shape, e->t.nd, e->t.shape));
        if (is_own(e->t.name))
            load_note(l, 'u', text);
        else
            note_wrong(l, 'u', text);
    }
}

int ckpt_load(arena *a, ckpt *c, struct want *w, int n, const struct load_options *o, struct load_report *r)
{
    *r = (struct load_report){ .scheme = c->scheme, .left_out = ckpt_left_out(c, a) };
    struct loading l = { a, c, o, r };
    for (size_t i = 0; i < c->n; i++)
        c->list[i]->used = false;
    for (int i = 0; i < n; i++)
        if (load_one(&l, &w[i], i))
            return -1;
    note_unexpected(&l);
    if (n && !r->loaded && !r->resized && !o->may_be_empty)
        return fail(FAULT_DATA, "%s: nothing in it fits the model: %s", c->path,
                    r->wrong ? r->wrong : "no tensors");
    if (!o->strict || !r->nwrong)
        return 0;
    char more[64] = "";
    if (r->nwrong > 1)
        snprintf(more, sizeof more, " (and %d more)", r->nwrong - 1);
    return fail(FAULT_DATA, "%s: does not fit the model: %s%s; model.strict: false loads what fits", c->path,
                r->wrong, more);
}

void load_report_say(const struct load_report *r, const char *path)
{
    enum { SHOWN = 6 };
    int shown = 0;
    say(SAY_NORMAL, "%s: %s%s%d loaded, %d resized, %d re-initialised, %d missing, %d unexpected", path,
        r->scheme ? r->scheme : "", r->scheme ? ": " : "", r->loaded, r->resized, r->fresh, r->missing,
        r->unexpected);
    if (*r->left_out)
        say(SAY_NORMAL, "  left out: %s", r->left_out);
    static const struct { char kind; const char *word; } words[] = {
        { 'r', "resized" }, { 'f', "re-initialised" }, { 'm', "missing" }, { 'u', "unexpected" } };
    for (int k = 0; k < countof(words); k++)
        for (int i = 0; i < r->nlines; i++)
            if (r->line[i].kind == words[k].kind)
                say(k < 2 && shown++ < SHOWN ? SAY_NORMAL : SAY_VERBOSE, "  %s: %s", words[k].word,
                    r->line[i].text);
}
