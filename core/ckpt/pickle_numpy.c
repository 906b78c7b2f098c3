/* pickle_numpy.c: plain pickles of NumPy arrays, as pickle.dump writes them: dicts, lists and arrays whose
 * elements lie in the pickle itself.
 *
 *     numpy.core.multiarray._reconstruct(..), state (version, shape, dtype, fortran order, bytes)
 *     numpy.core.numeric._frombuffer(bytes, dtype, shape, 'C' or 'F')                         since protocol 5
 *     numpy.dtype('f4', ..), state (version, '<', ..)
 */
#include "ckpt/torch.h"

struct array { const u8 *bytes; bool fortran, swapped; };

static bool numpy_knows(const struct file_map *m)
{
    return m->n > 2 && m->p[0] == 0x80 && m->p[1] >= 2 && m->p[1] <= 5;
}

static const value *numpy_part(const value *tuple, size_t i)
{
    bool list = tuple->kind == P_TUPLE || tuple->kind == P_LIST;
    return list && i < tuple->node->n ? &tuple->node->item[i] : NULL;
}

static bool numpy_is(const value *v, const char *name)
{
    char class[200];
    slice s = v && v->kind == P_OPAQUE ? pickle_class(v, class) : (slice){ "", 0 };
    size_t n = strlen(name);
    return s.n >= n + 5 && !memcmp(s.p, "numpy.", 6) && !memcmp(s.p + s.n - n, name, n);
}

/* The element type, and whether its bytes are swapped; CKPT_TYPES for what is not a number. */
static enum ckpt_type numpy_type(const value *dtype, bool *swapped)
{
    if (!numpy_is(dtype, ".dtype"))
        return CKPT_TYPES;
    const value *name = numpy_part(&dtype->node->args, 0), *order = numpy_part(&dtype->node->state, 1);
    *swapped = order && slice_eq(pickle_text(order), ">");
    return name ? type_of(pickle_text(name), offsetof(struct type_row, npy)) : CKPT_TYPES;
}

/* An array under this name. 1: v is none. */
static int numpy_array(ckpt *c, slice name, const value *v)
{
    bool built = numpy_is(v, "._reconstruct"), framed = numpy_is(v, "._frombuffer"), swapped = false;
    if (!built && !framed)
        return 1;
    const value *from = built ? &v->node->state : &v->node->args;
    const value *shape = numpy_part(from, built ? 1 : 2), *dtype = numpy_part(from, built ? 2 : 1);
    const value *order = numpy_part(from, 3), *data = numpy_part(from, built ? 4 : 0);
    enum ckpt_type type = numpy_type(dtype, &swapped);
    i64 dims[CKPT_DIMS];
    size_t nd = shape && (shape->kind == P_TUPLE || shape->kind == P_LIST) ? shape->node->n : CKPT_DIMS + 1;
    if (type == CKPT_TYPES || !data || data->kind != P_BYTES || nd > CKPT_DIMS)
        return ckpt_skip(c, name, "an array of no numbers");
    for (size_t i = 0; i < nd; i++) {
        if (shape->node->item[i].kind != P_INT)
            return fail(FAULT_DATA, "array %s has a shape of no integers", ckpt_quote(name));
        dims[i] = shape->node->item[i].i;
    }
    entry *e = ckpt_entry(c, name, type, (int)nd, dims);
    if (!e)
        return -1;
    slice bytes = pickle_text(data);
    if (bytes.n != e->t.bytes)
        return fail(FAULT_DATA, "array %s holds %zu bytes, but its shape needs %llu", ckpt_quote(name),
                    bytes.n, (unsigned long long)e->t.bytes);
    struct array *a = arena_one(c->mem, struct array);
    bool fortran = order && (order->kind == P_BOOL ? order->i : slice_eq(pickle_text(order), "F"));
    *a = (struct array){ (const u8 *)bytes.p, fortran, swapped };
    e->src = a;
    return 0;
}

static int numpy_open(ckpt *c)
{
    struct pickle *p = arena_one(c->mem, struct pickle);
    value root;
    c->state = p;
    pickle_init(p, c->map.p, c->map.n);
    if (pickle_read(p, &root) || torch_list(c, &root, numpy_array))
        return fail_in("a plain pickle");
    if (p->nstorages)
        return fail(FAULT_DATA, "a plain pickle of tensors without their elements: torch.save writes them");
    return c->n ? 0
                : fail(FAULT_DATA,
                       "a plain pickle with no NumPy arrays in it: torch.save or numpy.savez it instead");
}

static void numpy_close(ckpt *c) { pickle_close(c->state); }

static const void *numpy_read(ckpt *c, entry *e, arena *mem)
{
    const struct array *a = e->src;
    i64 stride[CKPT_DIMS], step = 1;
    (void)c;
    if (!a->swapped && !(a->fortran && e->t.nd > 1))
        return a->bytes;
    u8 *out = arena_try(mem, e->t.bytes, 64);
    if (!out)
        return NULL;
    for (int i = 0; i < e->t.nd; step *= e->t.shape[a->fortran ? i : e->t.nd - 1 - i], i++)
        stride[a->fortran ? i : e->t.nd - 1 - i] = step;
    ckpt_gather(out, a->bytes, types[e->t.type].bytes, e->t.nd, e->t.shape, stride);
    if (a->swapped)
        ckpt_swap(out, e->t.bytes, types[e->t.type].unit);
    return out;
}

const struct format pickle_numpy_format = { "pickle", "", numpy_knows, numpy_open, numpy_read, numpy_close };
