/* pickle_call.c: what Python would call while unpickling, and what we make of it: dicts, tensors, storages,
 * and opaque values that only remember the name of their class.
 */
#include "ckpt/pickle.h"

static const struct { const char *module, *name; enum meaning meaning; } known[] = {
    { "collections",   "OrderedDict",                   G_DICT },
    { "collections",   "defaultdict",                   G_DICT },
    { "collections",   "Counter",                       G_DICT },
    { "builtins",      "dict",                          G_DICT },
    { "__builtin__",   "dict",                          G_DICT },
    { "torch._utils",  "_rebuild_tensor",               G_REBUILD },
    { "torch._utils",  "_rebuild_tensor_v2",            G_REBUILD },
    { "torch._utils",  "_rebuild_tensor_v3",            G_REBUILD_V3 },
    { "torch._utils",  "_rebuild_parameter",            G_PARAMETER },
    { "torch._utils",  "_rebuild_parameter_with_state", G_PARAMETER },
    { "torch._tensor", "_rebuild_from_type",            G_FROM_TYPE },
    { "torch._tensor", "_rebuild_from_type_v2",         G_FROM_TYPE },
    { "torch.storage", "UntypedStorage",                G_UNTYPED },
    { "torch.storage", "_UntypedStorage",               G_UNTYPED },
    { "torch",         "UntypedStorage",                G_UNTYPED },
    { "torch",         "Size",                          G_SIZE },
    { "_codecs",       "encode",                        G_ENCODE },
};

/* No checkpoint has a use for these; a file that names one was made to be run. */
static const char *const harmful_modules[] = {
    "os", "posix", "nt", "subprocess", "sys", "shutil", "socket", "runpy", "importlib", "pty", "ctypes",
    "_ctypes", "webbrowser", "commands", "code", "codeop", "pickle", "_pickle", "marshal", "asyncio",
    "multiprocessing", "urllib", "requests", "http", "ftplib", "smtplib", "timeit", "pdb", "bdb", "cProfile",
    "profile", "pip" };
static const char *const harmful_builtins[] = {
    "eval", "exec", "execfile", "compile", "__import__", "open", "input", "breakpoint" };

/* ---- globals ------------------------------------------------------------------------------------------- */

static bool in_list(slice s, const char *const *list, int n)
{
    for (int i = 0; i < n; i++)
        if (slice_eq(s, list[i]))
            return true;
    return false;
}

static bool any_part_in(slice dotted, const char *const *list, int n)
{
    for (size_t from = 0, to; from <= dotted.n; from = to + 1) {
        for (to = from; to < dotted.n && dotted.p[to] != '.'; to++)
            ;
        if (in_list((slice){ dotted.p + from, to - from }, list, n))
            return true;
    }
    return false;
}

static bool is_harmful(slice module, slice name)
{
    const char *dot = memchr(module.p, '.', module.n);
    slice root = { module.p, dot ? (size_t)(dot - module.p) : module.n };
    bool builtin = slice_eq(module, "builtins") || slice_eq(module, "__builtin__");
    bool path = memchr(name.p, '.', name.n);         // "serialization.os.system" of torch
    return in_list(root, harmful_modules, countof(harmful_modules)) ||
           (path && any_part_in(name, harmful_modules, countof(harmful_modules))) ||
           (builtin && any_part_in(name, harmful_builtins, countof(harmful_builtins)));
}

static void give_meaning(struct global *g)
{
    for (int i = 0; i < countof(known); i++)
        if (slice_eq(g->module, known[i].module) && slice_eq(g->name, known[i].name))
            g->meaning = known[i].meaning;
    if (g->meaning != G_OTHER || !(slice_eq(g->module, "torch") || slice_eq(g->module, "torch.cuda")))
        return;
    if ((g->type = type_of(g->name, offsetof(struct type_row, storage))) < CKPT_TYPES)
        g->meaning = G_STORAGE;
    else if ((g->type = type_of(g->name, offsetof(struct type_row, dtype))) < CKPT_TYPES)
        g->meaning = G_DTYPE;
}

int pickle_global(struct pickle *p, slice module, slice name)
{
    struct global *g = pickle_alloc(p, sizeof *g);
    if (!g)
        return -1;
    *g = (struct global){ module, name, G_OTHER, CKPT_TYPES };
    give_meaning(g);
    if (g->meaning == G_OTHER && is_harmful(module, name))
        return fail(FAULT_DATA, "pickle byte %td: would call %s of %s, which no checkpoint needs: refused",
                    p->at - p->start, ckpt_quote(name), ckpt_quote(module));
    return pickle_push(p, (value){ P_GLOBAL, .global = g });
}

/* ---- tensors ------------------------------------------------------------------------------------------- */

static const value *pickle_arg(const value *tuple, size_t i, enum kind kind)
{
    const struct node *n = tuple->kind == P_TUPLE || tuple->kind == P_LIST ? tuple->node : NULL;
    const value *v = n && i < n->n ? &n->item[i] : NULL;
    return v && (v->kind == kind || (kind == P_TUPLE && v->kind == P_LIST)) ? v : NULL;
}

static int pickle_numbers(const struct pickle *p, const value *tuple, i64 out[CKPT_DIMS], int *n)
{
    if (tuple->node->n > CKPT_DIMS)
        return pickle_wrong(p, "a tensor of more than 8 dimensions");
    *n = (int)tuple->node->n;
    for (int i = 0; i < *n; i++) {
        const value *v = pickle_arg(tuple, (size_t)i, P_INT);
        if (!v || v->i < 0)
            return pickle_wrong(p, "a tensor's shape and strides must be integers, none negative");
        out[i] = v->i;
    }
    return 0;
}

/* The last element a view touches must lie in its storage. */
static bool view_fits(const struct view *v, i64 numel)
{
    i64 last = v->offset, step;
    for (int i = 0; i < v->nd; i++)
        if (!v->shape[i])
            return v->offset <= numel;
    for (int i = 0; i < v->nd; i++)
        if (__builtin_mul_overflow(v->shape[i] - 1, v->stride[i], &step) ||
            __builtin_add_overflow(last, step, &last))
            return false;
    return last < numel;
}

/* x.conj() and its like only mark a tensor; the marks are saved beside elements that know nothing of them. */
static bool is_marked(const value *marks)
{
    const value *conj = marks ? pickle_get(marks, "conj") : NULL,
                *neg = marks ? pickle_get(marks, "neg") : NULL;
    return (conj && conj->kind == P_BOOL && conj->i) || (neg && neg->kind == P_BOOL && neg->i);
}

/* _rebuild_tensor(storage, offset, shape, strides), _v2 with two more of no interest and marks, _v3 with a
 * dtype before the marks */
static int pickle_rebuild(struct pickle *p, const value *args, bool v3)
{
    const value *storage = pickle_arg(args, 0, P_STORAGE), *offset = pickle_arg(args, 1, P_INT);
    const value *shape = pickle_arg(args, 2, P_TUPLE), *stride = pickle_arg(args, 3, P_TUPLE);
    const value *dtype = v3 ? pickle_arg(args, 6, P_GLOBAL) : NULL;
    bool typed = !v3 || (dtype && dtype->global->meaning == G_DTYPE);
    struct view *v = pickle_alloc(p, sizeof *v);
    int nstride;
    if (!v)
        return -1;
    if (!storage || !offset || offset->i < 0 || !shape || !stride || !typed)
        return pickle_wrong(p, "a tensor's arguments are of other types than PyTorch writes");
    v->storage = storage->storage;
    v->type = v3 ? dtype->global->type : v->storage->type;
    if (pickle_numbers(p, shape, v->shape, &v->nd) || pickle_numbers(p, stride, v->stride, &nstride))
        return -1;
    if (is_marked(pickle_arg(args, 6 + v3, P_DICT)))
        return pickle_wrong(
            p, "a tensor still to be conjugated or negated: save its resolve_conj().resolve_neg()");
    if (nstride != v->nd)
        return pickle_wrong(p, "a tensor of as many strides as dimensions expected");
    if (__builtin_add_overflow(offset->i, v->storage->shift, &v->offset))
        return pickle_wrong(p, "a tensor's offset is out of range");
    i64 numel = v->storage->numel / (v->storage->untyped ? ckpt_type_bytes(v->type) : 1);
    if (!view_fits(v, numel))
        return pickle_wrong(p, "a tensor is larger than its storage");
    return pickle_push(p, (value){ P_TENSOR, .view = v });
}

/* ('storage', class, key, place, numel[, None or (view's key, offset, numel)]) or ('module', class, ...) */
int pickle_persistent(struct pickle *p)
{
    value id;
    if (pickle_pop(p, &id))
        return -1;
    const value *word = pickle_arg(&id, 0, P_TEXT), *class = pickle_arg(&id, 1, P_GLOBAL);
    const value *key = pickle_arg(&id, 2, P_TEXT), *numel = pickle_arg(&id, 4, P_INT);
    if (word && class && slice_eq(pickle_text(word), "module"))
        return pickle_push(p, *class);
    if (!word || !slice_eq(pickle_text(word), "storage") || !class || !key || !numel || numel->i < 0)
        return pickle_wrong(p, "not a storage as PyTorch writes it");
    bool untyped = class->global->meaning == G_UNTYPED;
    struct storage *s = pickle_alloc(p, sizeof *s);
    if (!s || pickle_room(p, &p->storages, p->nstorages, &p->storages_cap, sizeof s))
        return -1;
    if (!untyped && class->global->meaning != G_STORAGE)
        return fail(FAULT_DATA, "storage of unknown type %s", ckpt_quote(class->global->name));
    *s = (struct storage){ pickle_text(key), untyped ? CKPT_U8 : class->global->type, numel->i, untyped };
    const value *part = pickle_arg(&id, 5, P_TUPLE), *shift = part ? pickle_arg(part, 1, P_INT) : NULL;
    if (part && (!shift || shift->i < 0))
        return pickle_wrong(p, "not a view of a storage as PyTorch writes it");
    s->shift = shift ? shift->i : 0;
    p->storages[p->nstorages++] = s;
    return pickle_push(p, (value){ P_STORAGE, .storage = s });
}

/* ---- what would be calls ------------------------------------------------------------------------------- */

int pickle_opaque(struct pickle *p, const struct global *class)
{
    struct node *n = pickle_node(p);
    if (!n)
        return -1;
    n->class = class;
    return pickle_push(p, pickle_value(P_OPAQUE, n));
}

/* OrderedDict(), OrderedDict([[k, v], ...]), defaultdict(factory), Counter({...}) */
static int call_dict(struct pickle *p, const value *args)
{
    const value *pairs = pickle_arg(args, 0, P_TUPLE), *dict = pickle_arg(args, 0, P_DICT);
    if (dict)
        return pickle_push(p, *dict);
    struct node *n = pickle_node(p);
    for (size_t i = 0; n && pairs && i < pairs->node->n; i++) {
        const value *pair = pickle_arg(pairs, i, P_TUPLE);
        if (!pair || pair->node->n != 2)
            return pickle_wrong(p, "a dict of something other than pairs");
        if (pickle_add(p, n, pair->node->item[0]) || pickle_add(p, n, pair->node->item[1]))
            return -1;
    }
    return n ? pickle_push(p, pickle_value(P_DICT, n)) : -1;
}

/* encode(text, 'latin1'): how protocol 2 writes bytes. */
static int call_encode(struct pickle *p, const value *args)
{
    const value *text = pickle_arg(args, 0, P_TEXT), *coding = pickle_arg(args, 1, P_TEXT);
    if (!text || !coding || !slice_eq(pickle_text(coding), "latin1"))
        return pickle_opaque(p, NULL);
    slice s = pickle_text(text);
    u8 *out = pickle_alloc(p, s.n + 1);
    u32 n = 0;
    for (size_t i = 0; out && i < s.n; i++) {
        u8 c = (u8)s.p[i];
        if (c >= 0x80 && (c > 0xc3 || c < 0xc2 || i + 1 == s.n))
            return pickle_wrong(p, "text that is not latin1");
        out[n++] = c < 0x80 ? c : (u8)(c << 6 | ((u8)s.p[++i] & 63));
    }
    return out ? pickle_push(p, (value){ P_BYTES, n, .text = (const char *)out }) : -1;
}

static const struct global *class_of(const value *f)
{
    return f->kind == P_GLOBAL ? f->global : f->kind == P_OPAQUE ? f->node->class : NULL;
}

/* (function, class, arguments, attributes): what a tensor with attributes, a
 * subclass or a buffer is saved as */
static int unwrap_call(const struct pickle *p, value *f, value *args)
{
    const value *inner = pickle_arg(args, 0, P_GLOBAL), *with = pickle_arg(args, 2, P_TUPLE);
    if (!inner || inner->global->meaning == G_FROM_TYPE || !with)
        return pickle_wrong(p, "a tensor's arguments are of other types than PyTorch writes");
    value g = *inner;
    *args = *with;
    *f = g;
    return 0;
}

int pickle_call(struct pickle *p)
{
    value f, args;
    const value *first;
    if (pickle_pop(p, &args) || pickle_pop(p, &f))
        return -1;
    if (args.kind != P_TUPLE)
        return pickle_wrong(p, "a call's arguments must be a tuple");
    if (f.kind == P_GLOBAL && f.global->meaning == G_FROM_TYPE && unwrap_call(p, &f, &args))
        return -1;
    switch (f.kind == P_GLOBAL ? f.global->meaning : G_OTHER) {
    case G_DICT:       return call_dict(p, &args);
    case G_REBUILD:    return pickle_rebuild(p, &args, false);
    case G_REBUILD_V3: return pickle_rebuild(p, &args, true);
    case G_PARAMETER:
        if (!args.node->n)
            return pickle_wrong(p, "a parameter of nothing");
        return pickle_push(p, args.node->item[0]);
    case G_SIZE:
        first = pickle_arg(&args, 0, P_TUPLE);
        return first ? pickle_push(p, *first) : pickle_wrong(p, "torch.Size of something other than a tuple");
    case G_ENCODE:     return call_encode(p, &args);
    default:
        if (pickle_opaque(p, class_of(&f)))
            return -1;
        pickle_top(p)->node->args = args;
        return 0;
    }
}

/* class, args -> instance; keywords: class, args, kwargs */
int pickle_object(struct pickle *p, bool keywords)
{
    value class, args, kwargs;
    if ((keywords && pickle_pop(p, &kwargs)) || pickle_pop(p, &args) || pickle_pop(p, &class))
        return -1;
    if (class.kind == P_GLOBAL && class.global->meaning == G_DICT)
        return pickle_push_node(p, P_DICT, NULL, 0);
    return pickle_opaque(p, class.kind == P_GLOBAL ? class.global : NULL);
}

int pickle_build(struct pickle *p)
{
    value state, *object;
    if (pickle_pop(p, &state) || !(object = pickle_top(p)))
        return -1;
    if (object->kind == P_DICT || object->kind == P_OPAQUE)
        object->node->state = state;
    return 0;                                        // a tensor's hooks, a class's own state: of no interest
}

