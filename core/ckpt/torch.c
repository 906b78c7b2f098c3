/* torch.c: from unpickled values to entries: dicts, lists and modules are walked, tensors named by path. */
#include "ckpt/torch.h"

enum { MAX_DEPTH = 64, MAX_VISITS = 1 << 20, MAX_NOTES = 4096, MAX_NOTE = 64 << 10, MAX_EXPANSION = 16 };

struct walk { ckpt *c; char path[MAX_NAME + 1]; size_t len; int depth, visits, notes; u64 total;
              int (*other)(ckpt *c, slice path, const value *v); };

static int torch_walk(struct walk *w, const value *v);

bool view_is_plain(const struct view *v)
{
    i64 step = 1;
    for (int i = v->nd - 1; i >= 0; step *= v->shape[i--])
        if (v->shape[i] != 1 && v->stride[i] != step)
            return false;
    return true;
}

u64 view_span(const struct view *v)
{
    u64 last = 0;
    for (int i = 0; i < v->nd; i++) {
        if (!v->shape[i])
            return 0;
        last += (u64)(v->shape[i] - 1) * (u64)v->stride[i];
    }
    return last + 1;
}

/* ---- names --------------------------------------------------------------------------------------------- */

static int torch_enter(struct walk *w, slice key, const value *v)
{
    size_t len = w->len;
    bool dot = len > 0;
    if (len + dot + key.n > MAX_NAME)
        return fail(FAULT_DATA, "a name longer than %d bytes, in %s", MAX_NAME,
                    ckpt_quote((slice){ w->path, len }));
    if (dot)
        w->path[w->len++] = '.';
    memcpy(w->path + w->len, key.p, key.n);
    w->len += key.n;
    int rc = torch_walk(w, v);
    w->len = len;
    return rc;
}

static slice torch_path(const struct walk *w) { return w->len ? (slice){ w->path, w->len } : SLICE("tensor"); }

static slice key_text(const value *key, size_t i, char out[32])
{
    if (key->kind == P_TEXT || key->kind == P_BYTES)
        return pickle_text(key);
    bool number = key->kind == P_INT;
    int n = snprintf(out, 32, number ? "%lld" : "#%lld", (long long)(number ? key->i : (i64)i / 2));
    return (slice){ out, (size_t)n };
}

/* ---- leaves -------------------------------------------------------------------------------------------- */

/* A view may repeat its storage (stride 0), so shapes are held against the file's size once more. */
static int add_tensor(struct walk *w, const struct view *v)
{
    entry *e = ckpt_entry(w->c, torch_path(w), v->type, v->nd, v->shape);
    if (!e)
        return -1;
    u64 limit = w->c->map.n + MAX_SLACK;
    u64 held = (u64)v->storage->numel * (u64)ckpt_type_bytes(v->storage->type);
    w->total += e->t.bytes;
    if ((e->t.bytes > held && e->t.bytes > limit) || w->total > MAX_EXPANSION * limit)
        return fail(FAULT_DATA, "%s expands to %llu bytes, out of proportion to a file of %llu",
                    ckpt_quote(torch_path(w)), (unsigned long long)e->t.bytes, (unsigned long long)w->c->map.n);
    e->src = v;
    return 0;
}

static int add_note(struct walk *w, const value *v)
{
    char number[40];
    slice text = { number, 0 };
    if (!w->len || w->notes >= MAX_NOTES || memchr(w->path, 0, w->len))
        return 0;
    switch (v->kind) {
    case P_TEXT:  text = pickle_text(v); break;
    case P_INT:   text.n = (size_t)snprintf(number, sizeof number, "%lld", (long long)v->i); break;
    case P_BOOL:  text = v->i ? SLICE("true") : SLICE("false"); break;
    case P_FLOAT: text.n = (size_t)snprintf(number, sizeof number, "%.17g", v->f); break;
    default:      return 0;
    }
    slice key = { w->path, w->len };
    if (text.n > MAX_NOTE || memchr(text.p, 0, text.n) || !ckpt_is_utf8(text) || !ckpt_is_utf8(key))
        return 0;
    w->notes++;
    return ckpt_note(w->c, key, text);
}

/* What save() put beside the state dict: text by text. */
static int own_notes(struct walk *w, const struct node *dict)
{
    const value *notes = pickle_get(&dict->state, TORCH_NOTES);
    const struct node *n = notes && notes->kind == P_DICT ? notes->node : NULL;
    for (size_t i = 0; n && i + 1 < n->n; i += 2)
        if (n->item[i].kind == P_TEXT && n->item[i + 1].kind == P_TEXT &&
            ckpt_note(w->c, pickle_text(&n->item[i]), pickle_text(&n->item[i + 1])))
            return -1;
    return 0;
}

/* ---- containers ---------------------------------------------------------------------------------------- */

static int walk_dict(struct walk *w, const value *dict)
{
    const struct node *n = dict->node;
    char number[32];
    for (size_t i = 0; i + 1 < n->n; i += 2) {
        const value *v = &n->item[i + 1];
        if (torch_enter(w, key_text(&n->item[i], i, number), v))
            return -1;
    }
    return own_notes(w, n);
}

static int walk_list(struct walk *w, const value *list)
{
    char number[32];
    w->visits += (int)MIN(list->node->n, MAX_VISITS);
    for (size_t i = 0; i < list->node->n; i++) {
        const value *v = &list->node->item[i];
        if (v->kind < P_TUPLE)                       // numbers of a list are not metadata
            continue;
        int n = snprintf(number, sizeof number, "%zu", i);
        if (torch_enter(w, (slice){ number, (size_t)n }, v))
            return -1;
    }
    return 0;
}

/* A whole torch.nn.Module: its parameters, buffers and modules; a class derived from dict: its items. */
static int walk_opaque(struct walk *w, const value *v)
{
    static const char *const inner[] = { "_parameters", "_buffers", "_modules" };
    char class[200];
    bool any = false;
    int rc = w->other ? w->other(w->c, torch_path(w), v) : 1;
    if (rc <= 0)
        return rc;
    for (int i = 0; i < countof(inner); i++) {
        const value *part = pickle_get(&v->node->state, inner[i]);
        if (!part || part->kind != P_DICT)
            continue;
        any = true;
        if (torch_walk(w, part))
            return -1;
    }
    if (any || v->node->n)
        return any ? 0 : walk_dict(w, v);
    return ckpt_skip(w->c, torch_path(w),
                     arena_printf(w->c->mem, "%.*s", (int)pickle_class(v, class).n, class));
}

static int walk_inside(struct walk *w, const value *v)
{
    switch (v->kind) {
    case P_TENSOR: return add_tensor(w, v->view);
    case P_DICT:   return walk_dict(w, v);
    case P_LIST:
    case P_TUPLE:  return walk_list(w, v);
    case P_OPAQUE: return walk_opaque(w, v);
    default:       return add_note(w, v);
    }
}

/* Values may be shared, may even hold themselves: depth and the number of visits end what else would not. */
static int torch_walk(struct walk *w, const value *v)
{
    if (++w->visits > MAX_VISITS)
        return fail(FAULT_DATA, "pickle of more than %d objects", MAX_VISITS);
    if (w->depth == MAX_DEPTH)
        return fail(FAULT_DATA, "pickle nested deeper than %d", MAX_DEPTH);
    w->depth++;
    int rc = walk_inside(w, v);
    w->depth--;
    return rc;
}

int torch_list(ckpt *c, const value *root, int (*other)(ckpt *c, slice path, const value *v))
{
    struct walk w = { .c = c, .other = other };
    return torch_walk(&w, root);
}
