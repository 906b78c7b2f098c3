/* pickle_stack.c: the values a pickle builds, their memory and the stack they are built on. Memory is bounded
 * by MAX_MACHINE whatever the program says. */
#include "ckpt/pickle.h"

enum { MAX_MACHINE = 24 << 20 };

int pickle_wrong(const struct pickle *p, const char *what)
{
    return fail(FAULT_DATA, "pickle byte %td: %s", p->at - p->start, what);
}

/* ---- memory -------------------------------------------------------------------------------------------- */

static int too_much(const struct pickle *p)
{
    return fail(FAULT_DATA, "pickle byte %td: builds more than %d MB of objects", p->at - p->start,
                MAX_MACHINE >> 20);
}

/* Makes room for one more item in *list (a pointer to the list's pointer). */
int pickle_room(struct pickle *p, void *list, size_t n, size_t *cap, size_t item)
{
    void *items;
    if (n < *cap)
        return 0;
    if (arena_used(p->mem) + MAX(16, 2 * *cap) * item > MAX_MACHINE)
        return too_much(p);
    memcpy(&items, list, sizeof items);
    items = arena_grow(p->mem, items, n, cap, item);
    memcpy(list, &items, sizeof items);
    return 0;
}

void *pickle_alloc(struct pickle *p, size_t bytes)
{
    if (arena_used(p->mem) + bytes <= MAX_MACHINE)
        return arena_bytes(p->mem, bytes, 8);
    too_much(p);
    return NULL;
}

struct node *pickle_node(struct pickle *p) { return pickle_alloc(p, sizeof(struct node)); }

int pickle_add(struct pickle *p, struct node *list, value v)
{
    if (pickle_room(p, &list->item, list->n, &list->cap, sizeof v))
        return -1;
    list->item[list->n++] = v;
    return 0;
}

/* ---- the stack ----------------------------------------------------------------------------------------- */

int pickle_push(struct pickle *p, value v)
{
    if (pickle_room(p, &p->stack, p->nstack, &p->stack_cap, sizeof v))
        return -1;
    p->stack[p->nstack++] = v;
    return 0;
}

size_t pickle_bottom(const struct pickle *p) { return p->nmarks ? p->marks[p->nmarks - 1] : 0; }

int pickle_pop(struct pickle *p, value *v)
{
    *v = (value){ P_NONE };
    if (p->nstack <= pickle_bottom(p))
        return pickle_wrong(p, "stack is empty");
    *v = p->stack[--p->nstack];
    return 0;
}

value *pickle_top(struct pickle *p)
{
    if (p->nstack > pickle_bottom(p))
        return &p->stack[p->nstack - 1];
    pickle_wrong(p, "stack is empty");
    return NULL;
}

int pickle_push_mark(struct pickle *p)
{
    if (pickle_room(p, &p->marks, p->nmarks, &p->marks_cap, sizeof *p->marks))
        return -1;
    p->marks[p->nmarks++] = p->nstack;
    return 0;
}

/* The values above the topmost mark; they stay readable until the next push. */
int pickle_pop_mark(struct pickle *p, value **items, size_t *n)
{
    *items = NULL;
    *n = 0;
    if (!p->nmarks)
        return pickle_wrong(p, "no mark");
    size_t from = p->marks[--p->nmarks];
    *items = p->stack + from;
    *n = p->nstack - from;
    p->nstack = from;
    return 0;
}

value pickle_value(enum kind kind, struct node *n) { return (value){ kind, .node = n }; }

int pickle_push_node(struct pickle *p, enum kind kind, const value *items, size_t n)
{
    struct node *list = pickle_node(p);
    for (size_t i = 0; list && i < n; i++)
        if (pickle_add(p, list, items[i]))
            return -1;
    return list ? pickle_push(p, pickle_value(kind, list)) : -1;
}

/* ---- looking at values ----------------------------------------------------------------------------------- */

slice pickle_text(const value *v)
{
    return v->kind == P_TEXT || v->kind == P_BYTES ? (slice){ v->text, v->n } : (slice){ "", 0 };
}

const value *pickle_get(const value *dict, const char *key)
{
    const struct node *n = dict->kind == P_DICT || dict->kind == P_OPAQUE ? dict->node : NULL;
    for (size_t i = 0; n && i + 1 < n->n; i += 2)
        if (n->item[i].kind == P_TEXT && slice_eq(pickle_text(&n->item[i]), key))
            return &n->item[i + 1];
    return NULL;
}

slice pickle_class(const value *v, char out[200])
{
    const struct global *g = v->kind == P_OPAQUE ? v->node->class : NULL;
    if (!g)
        return SLICE("an object");
    int n = snprintf(out, 200, "%.*s.%.*s", (int)MIN(g->module.n, 99), g->module.p, (int)MIN(g->name.n, 99),
                     g->name.p);
    return (slice){ out, (size_t)n };
}
