/* view.c: a checkpoint whose tensors are made on demand: pieces of another's tensors, transposed, squeezed or
 * stacked. Nothing is read or copied before tensor_data asks. */
#include "ckpt/names.h"
#include <stdlib.h>

/* ---- shapes -------------------------------------------------------------------------------------------- */

static void view_set(struct piece *p, int nd, const i64 *shape)
{
    i64 step = 1, copy[CKPT_DIMS];
    memcpy(copy, shape, sizeof *shape * (size_t)nd);
    p->nd = nd;
    for (int i = nd - 1; i >= 0; step *= copy[i--]) {
        p->shape[i] = copy[i];
        p->stride[i] = step;
    }
}

static void view_transpose(struct piece *p, i64 rows, i64 columns)
{
    p->nd = 2;
    p->shape[0] = columns;
    p->shape[1] = rows;
    p->stride[0] = 1;
    p->stride[1] = columns;
}

static void view_transpose_conv(struct piece *p)          /* (h, w, in, out) -> (out, in, h, w) */
{
    static const int from[] = { 3, 2, 0, 1 };
    const struct piece q = *p;
    for (int i = 0; i < 4; i++) {
        p->shape[i] = q.shape[from[i]];
        p->stride[i] = q.stride[from[i]];
    }
}

/* The dimensions of a source for each way, here and back; -1: any. */
static bool view_suits(enum how how, bool back, int nd, const i64 *s)
{
    static const int there[] = {
        [COPY] = -1,    [TRANSPOSE] = 2,  [VECTOR] = 1,   [MATRIX] = 2, [COLUMN] = 3, [INNERMOST] = 4,
        [SQUEEZE] = -1, [FROM_HEADS] = 3, [TO_HEADS] = 3, [FLAT] = 2,   [CONV] = 4
    };
    static const int home[] = { [COPY] = -1, [TRANSPOSE] = 2, [VECTOR] = 3, [MATRIX] = 3, [COLUMN] = 1,
                                [INNERMOST] = 1, [SQUEEZE] = -1 };
    int want = back ? home[how] : there[how];
    if (want >= 0 && nd != want)
        return false;
    if (how == SQUEEZE && !back)
        return nd == 2 || (nd == 4 && s[2] == 1 && s[3] == 1);
    if (how == COLUMN && !back)
        return s[1] == 1 && s[2] == 1;
    if (how == INNERMOST && !back)
        return s[0] == 1 && s[1] == 1 && s[2] == 1;
    if ((how == VECTOR || how == MATRIX) && back)
        return s[0] == 1 && (how == MATRIX || s[1] == 1);
    return true;
}

int piece_shape(struct piece *p, enum how how, bool back, int nd, const i64 *s)
{
    char text[200];
    if (!view_suits(how, back, nd, s))
        return fail(FAULT_DATA, "%s is %s, which is not what this name stands for", p->source->name,
                    tensor_shape_text(text, nd, s));
    view_set(p, nd, s);
    switch (how) {
    case TRANSPOSE:  view_transpose(p, s[0], s[1]); break;
    case FROM_HEADS: view_transpose(p, s[0] * s[1], s[2]); break;
    case TO_HEADS:   view_transpose(p, s[0], s[1] * s[2]); break;
    case FLAT:       view_set(p, 1, (i64[]){ s[0] * s[1] }); break;
    case CONV:       view_transpose_conv(p); break;
    case SQUEEZE:    view_set(p, back ? nd : 2, s); break;
    case VECTOR:     back ? view_set(p, 1, (i64[]){ s[2] }) : view_set(p, 3, (i64[]){ 1, 1, s[0] }); break;
    case MATRIX:
        back ? view_set(p, 2, (i64[]){ s[1], s[2] }) : view_set(p, 3, (i64[]){ 1, s[0], s[1] });
        break;
    case COLUMN:     back ? view_set(p, 3, (i64[]){ s[0], 1, 1 }) : view_set(p, 1, s); break;
    case INNERMOST:  back ? view_set(p, 4, (i64[]){ 1, 1, 1, s[0] }) : view_set(p, 1, (i64[]){ s[3] }); break;
    default:         break;
    }
    return 0;
}

int pieces_add(arena *a, struct pieces *all, const struct piece *p)
{
    if (all->n >= MAX_TENSORS)
        return fail(FAULT_DATA, "more than %d tensors", MAX_TENSORS);
    struct piece *kept = arena_one(a, struct piece);
    *kept = *p;
    kept->order = all->n;
    *arena_push(a, all->list, all->n, all->cap) = kept;
    return 0;
}

/* ---- tensors of pieces --------------------------------------------------------------------------------- */

struct piece_list { struct piece *piece[3]; int n; };

static int view_by_target(const void *a, const void *b)
{
    const struct piece *x = *(struct piece *const *)a, *y = *(struct piece *const *)b;
    int order = strcmp(x->target, y->target);
    return order ? order : x->share - y->share;
}

static bool view_same_rows(const struct piece *p, const struct piece *q)
{
    return p->source->type == q->source->type && p->nd == q->nd && p->pair == q->pair && p->nd > 0 &&
           !memcmp(p->shape + 1, q->shape + 1, (size_t)(p->nd - 1) * sizeof *p->shape);
}

/* Shares 0, 1, 2 in order, or 0 and 2 of a pair, whose middle is zeros of the first one's shape; else alone. */
static bool view_complete(arena *a, struct piece **group, int n, struct piece_list *r)
{
    bool alone = group[0]->share < 0, pair = group[0]->pair;
    r->n = 0;
    if (n != (alone ? 1 : pair ? 2 : 3))
        return false;
    for (int i = 0; i < n; i++) {
        if (!alone && (group[i]->share != (pair ? 2 * i : i) || !view_same_rows(group[0], group[i])))
            return false;
        r->piece[r->n++] = group[i];
        if (pair && !i) {
            struct piece *zeros = r->piece[r->n++] = arena_one(a, struct piece);
            *zeros = *group[0];
            zeros->source = NULL;
        }
    }
    return true;
}

static int view_add_entry(ckpt *view, struct piece **group, int n)
{
    struct piece *p = group[0];
    struct piece_list *r = arena_one(view->mem, struct piece_list);
    i64 shape[CKPT_DIMS];
    if (!view_complete(view->mem, group, n, r))
        return fail(FAULT_DATA, "%s: its tensors in the file (%s) are doubled, incomplete or do not fit",
                    p->target, p->source ? p->source->name : "zeros");
    memcpy(shape, p->shape, sizeof shape);
    for (int i = 1; i < r->n; i++)
        shape[0] += r->piece[i]->shape[0];
    entry *e = ckpt_entry(view, slice_of(p->target), p->source ? p->source->type : CKPT_F32, p->nd, shape);
    if (!e)
        return -1;
    e->src = r;
    return 0;
}

static int view_by_order(const void *a, const void *b)
{
    const struct piece_list *x = (*(entry *const *)a)->src, *y = (*(entry *const *)b)->src;
    return x->piece[0]->order < y->piece[0]->order ? -1 : 1;
}

int view_fill(ckpt *view, struct pieces *all)
{
    const ckpt *c = view->inner;
    for (size_t i = 0; i < c->nmeta; i++)
        if (ckpt_note(view, slice_of(c->meta[i].key), slice_of(c->meta[i].value)))
            return -1;
    qsort(all->list, all->n, sizeof *all->list, view_by_target);
    for (size_t from = 0, to; from < all->n; from = to) {
        for (to = from + 1; to < all->n && !strcmp(all->list[from]->target, all->list[to]->target);)
            to++;
        if (view_add_entry(view, all->list + from, (int)(to - from)))
            return -1;
    }
    qsort(view->list, view->n, sizeof *view->list, view_by_order);
    return 0;
}

/* ---- elements ------------------------------------------------------------------------------------------ */

static u64 view_piece_bytes(const struct piece *p, int size)
{
    u64 count = 1;
    for (int k = 0; k < p->nd; k++)
        count *= (u64)p->shape[k];
    return count * (u64)size;
}

static const void *view_read(ckpt *view, entry *e, arena *a)
{
    const struct piece_list *r = e->src;
    (void)view;
    if (r->n == 1 && r->piece[0]->whole)
        return tensor_data(r->piece[0]->source);
    u8 *out = arena_try(a, e->t.bytes, 64), *to = out;
    int size = ckpt_type_bytes(e->t.type);
    for (int i = 0; out && i < r->n; i++) {
        const struct piece *p = r->piece[i];
        u64 bytes = view_piece_bytes(p, size);
        if (!p->source)
            memset(to, 0, bytes);
        else {
            bool was_read = ((const entry *)p->source)->data;
            const u8 *from = tensor_data(p->source);
            if (!from)
                return NULL;
            ckpt_gather(to, from + p->offset * (u64)size, size, p->nd, p->shape, p->stride);
            if (!was_read)
                tensor_drop(p->source);
        }
        to += bytes;
    }
    return out;
}

static void view_drop(ckpt *view, entry *e)
{
    const struct piece_list *r = e->src;
    (void)view;
    if (r->n == 1 && r->piece[0]->whole)
        tensor_drop(r->piece[0]->source);
}

static void view_close(ckpt *view) { ckpt_close(view->inner); }

static const struct format view_format = { "model", "", .read = view_read, .drop = view_drop,
                                           .close = view_close };

ckpt *view_new(ckpt *c)
{
    ckpt *view = ckpt_new();
    view->path = arena_copy(view->mem, c->path, strlen(c->path));
    view->format = &view_format;
    view->inner = c;
    return view;
}
