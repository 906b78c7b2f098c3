/* cast.c: a checkpoint whose floating-point tensors are of another type, converted one at a time as they are
 * saved. */
#include "ckpt/format.h"
#include <math.h>

static u32 bits_of(f32 x)
{
    u32 bits;
    memcpy(&bits, &x, 4);
    return bits;
}

/* To nearest, ties to even; what is too large becomes infinite, NaN stays NaN. */
static u16 cast_half(f32 x)
{
    u32 bits = bits_of(x), sign = bits >> 16 & 0x8000u, mantissa = bits & 0x7fffffu;
    int e = (int)(bits >> 23 & 255) - 127;
    if (e == 128)
        return (u16)(sign | 0x7c00u | (mantissa ? 0x200u : 0));
    if (e < -25)
        return (u16)sign;
    u32 shift = e < -14 ? (u32)(-1 - e) : 13, all = mantissa | 0x800000u;
    u32 kept = all >> shift, rest = all & ((1u << shift) - 1), tie = 1u << (shift - 1);
    kept += rest > tie || (rest == tie && kept & 1);
    // the implicit bit, and a carry, raise the exponent
    u32 value = e < -14 ? kept : kept + ((u32)(e + 14) << 10);
    return (u16)(sign | (value < 0x7c00u ? value : 0x7c00u));
}

static u16 cast_brain(f32 x)
{
    u32 bits = bits_of(x);
    return x != x ? (u16)(bits >> 16 | 64) : (u16)((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

/* Infinite, in the bits of type `to`. */
static bool cast_infinite(enum ckpt_type to, const void *p, u64 i)
{
    return to == CKPT_F32   ? isinf(((const f32 *)p)[i])
           : to == CKPT_F16 ? (((const u16 *)p)[i] & 0x7fff) == 0x7c00
                            : (((const u16 *)p)[i] & 0x7fff) == 0x7f80;
}

/* A number must not become an infinity. */
static int cast_check(const entry *e, const void *out)
{
    const tensor *t = e->src;
    for (u64 i = 0; i < e->t.count; i++) {
        f64 was;
        if (!cast_infinite(e->t.type, out, i))
            continue;
        if (tensor_range(t, i, 1, &was))
            return -1;
        if (isfinite(was))
            return fail(FAULT_NUMBERS, "%s: %s holds %g (element %llu), which is too large for %s", t->in->path,
                        t->name, was, (unsigned long long)i, ckpt_type_name(e->t.type));
    }
    return 0;
}

static const void *cast_read(ckpt *c, entry *e, arena *a)
{
    const tensor *t = e->src;
    enum ckpt_type to = e->t.type;
    (void)c;
    if (to == t->type)
        return tensor_data(t);
    u8 *out = arena_try(a, e->t.bytes, 64);
    arena *scratch = arena_open("conversion");
    f32 *v = !out || to == CKPT_F32 ? (f32 *)out : arena_array(scratch, f32, t->count);
    int rc = out ? tensor_to_f32(t, v) : -1;
    for (u64 i = 0; i < t->count && !rc && to != CKPT_F32; i++)
        ((u16 *)out)[i] = to == CKPT_F16 ? cast_half(v[i]) : cast_brain(v[i]);
    rc = rc || cast_check(e, out) ? -1 : 0;
    arena_close(scratch);
    tensor_drop(t);
    return rc ? NULL : out;
}

static void cast_drop(ckpt *c, entry *e)
{
    (void)c;
    tensor_drop(e->src);
}

static void cast_close(ckpt *c) { ckpt_close(c->inner); }

static const struct format cast_format = { "cast", "", .read = cast_read, .drop = cast_drop,
                                           .close = cast_close };

static bool cast_is_real(enum ckpt_type t)
{
    return t == CKPT_F64 || t == CKPT_F32 || t == CKPT_F16 || t == CKPT_BF16;
}

ckpt *ckpt_cast(ckpt *c, enum ckpt_type to)
{
    ckpt *out = ckpt_make(c->path);
    check(to == CKPT_F32 || to == CKPT_F16 || to == CKPT_BF16, "type %d", (int)to);
    out->inner = c;
    out->format = &cast_format;
    for (size_t i = 0; i < c->nmeta; i++)
        ckpt_set_meta(out, c->meta[i].key, c->meta[i].value);
    for (size_t i = 0; i < c->n; i++) {
        const tensor *t = &c->list[i]->t;
        entry *e = ckpt_entry(out, slice_of(t->name), cast_is_real(t->type) ? to : t->type, t->nd, t->shape);
        check(e, "%s", fail_message());              // it was one in c already
        e->src = t;
    }
    return out;
}
