/* element.c: elements of tensors: byte order, strides, and their values as f32 and f64. */
#include "ckpt/format.h"
#include <math.h>

void ckpt_swap(void *p, u64 bytes, int unit)
{
    u8 *b = p;
    for (u64 at = 0; unit > 1 && at + (u64)unit <= bytes; at += (u64)unit)
        for (int i = 0; i < unit / 2; i++) {
            u8 keep = b[at + (u64)i];
            b[at + (u64)i] = b[at + (u64)(unit - 1 - i)];
            b[at + (u64)(unit - 1 - i)] = keep;
        }
}

/* memcpy of a constant size: a plain move that may be unaligned. */
#define ROW(unit) \
    for (i64 k = 0; k < n; k++) \
        memcpy((u8 *)to + k * size, (const u8 *)from + k * step * size, sizeof(unit))

static void gather_row(void *to, const void *from, int size, i64 n, i64 step)
{
    switch (size) {
    case 1:  ROW(u8); break;
    case 2:  ROW(u16); break;
    case 4:  ROW(u32); break;
    case 8:  ROW(u64); break;
    default: ROW(u64[2]); break;
    }
}

void ckpt_gather(void *to, const void *from, int size, int nd, const i64 *shape, const i64 *stride)
{
    i64 at[CKPT_DIMS] = { 0 }, offset = 0, one = 1, n = nd ? shape[nd - 1] : one;
    for (int i = 0; i < nd; i++)
        if (!shape[i])
            return;
    for (;; to = (u8 *)to + n * size) {
        gather_row(to, (const u8 *)from + offset * size, size, n, nd ? stride[nd - 1] : one);
        int i = nd - 2;
        for (; i >= 0 && ++at[i] == shape[i]; i--) {         // an odometer over all but the last dimension
            offset -= stride[i] * (shape[i] - 1);
            at[i] = 0;
        }
        if (i < 0)
            return;
        offset += stride[i];
    }
}

static f32 bits_to_f32(u32 bits)
{
    f32 v;
    memcpy(&v, &bits, 4);
    return v;
}

/* A small float of e exponent and m mantissa bits, as IEEE lays them out (sign, exponent, mantissa). E4M3 has
 * no infinity: only all ones is special there, a NaN. */
static f32 small_float(u32 bits, int e, int m, bool has_inf)
{
    u32 sign = bits >> (e + m) & 1, exp = bits >> m & ((1u << e) - 1), mant = bits & ((1u << m) - 1);
    u32 top = (1u << e) - 1, bias = (1u << (e - 1)) - 1;
    if (exp == top && (has_inf || mant == (1u << m) - 1))
        return bits_to_f32(sign << 31 | 255u << 23 | mant << (23 - m));
    if (exp)
        return bits_to_f32(sign << 31 | (exp + 127 - bias) << 23 | mant << (23 - m));
    f32 v = ldexpf((f32)mant, 1 - (int)bias - m);
    return sign ? -v : v;
}

static int no_reals(const tensor *t)
{
    return fail(FAULT_DATA, "%s: %s holds complex numbers", t->in->path, t->name);
}

#define EACH(ctype, value) \
    do { const ctype *v = (const ctype *)p + from; for (u64 i = 0; i < n; i++) out[i] = (value); } while (0)
#define EACH_TYPE(real) \
    switch (t->type) { \
    case CKPT_F64:     EACH(f64, (real)v[i]); return 0; \
    case CKPT_F32:     EACH(f32, v[i]); return 0; \
    case CKPT_F16:     EACH(u16, small_float(v[i], 5, 10, true)); return 0; \
    case CKPT_BF16:    EACH(u16, bits_to_f32((u32)v[i] << 16)); return 0; \
    case CKPT_F8_E4M3: EACH(u8, small_float(v[i], 4, 3, false)); return 0; \
    case CKPT_F8_E5M2: EACH(u8, small_float(v[i], 5, 2, true)); return 0; \
    case CKPT_I64:     EACH(i64, (real)v[i]); return 0; \
    case CKPT_I32:     EACH(i32, (real)v[i]); return 0; \
    case CKPT_I16:     EACH(int16_t, v[i]); return 0; \
    case CKPT_I8:      EACH(int8_t, v[i]); return 0; \
    case CKPT_U64:     EACH(u64, (real)v[i]); return 0; \
    case CKPT_U32:     EACH(u32, (real)v[i]); return 0; \
    case CKPT_U16:     EACH(u16, v[i]); return 0; \
    case CKPT_U8:      EACH(u8, v[i]); return 0; \
    case CKPT_BOOL:    EACH(u8, v[i] != 0); return 0; \
    default:           return no_reals(t); \
    }

int tensor_weights(const tensor *t, f32 *out)
{
    bool integers = t->type >= CKPT_I64 && t->type <= CKPT_BOOL;
    return !integers ? tensor_to_f32(t, out)
                     : fail(FAULT_DATA, "%s: %s holds integers (%s): quantised weights are not read",
                            t->in->path, t->name, ckpt_type_name(t->type));
}

int tensor_to_f32(const tensor *t, f32 *out)
{
    const void *p = tensor_data(t);
    u64 from = 0, n = t->count;
    if (!p)
        return -1;
    if (t->type == CKPT_F32 && n) {
        memcpy(out, p, n * sizeof *out);
        return 0;
    }
    EACH_TYPE(f32)
}

int tensor_range(const tensor *t, u64 from, u64 n, f64 *out)
{
    const void *p = tensor_data(t);
    check(from <= t->count && n <= t->count - from, "elements %llu + %llu of %llu", (unsigned long long)from,
          (unsigned long long)n, (unsigned long long)t->count);
    if (!p)
        return -1;
    EACH_TYPE(f64)
}

int tensor_to_f64(const tensor *t, f64 *out) { return tensor_range(t, 0, t->count, out); }

int tensor_check_numbers(const tensor *t)
{
    enum { STEP = 1024 };
    f64 v[STEP];
    for (u64 at = 0; at < t->count; at += STEP) {
        u64 n = MIN((u64)STEP, t->count - at);
        if (tensor_range(t, at, n, v))
            return -1;
        for (u64 k = 0; k < n; k++)
            if (!isfinite((f32)v[k]))
                return fail(FAULT_NUMBERS, "%s: %s holds a value that is %s (element %llu is %g)", t->in->path,
                            t->name, isfinite(v[k]) ? "too large for fp32" : "not a number",
                            (unsigned long long)(at + k), v[k]);
    }
    return 0;
}

bool tensor_shape_is(const tensor *t, int nd, const i64 *shape)
{
    return t->nd == nd && (!nd || !memcmp(t->shape, shape, (size_t)nd * sizeof *shape));
}

const char *tensor_shape_text(char out[200], int nd, const i64 *shape)
{
    int at = 0;
    out[at++] = '[';
    for (int i = 0; i < nd; i++)
        at += snprintf(out + at, 199 - (size_t)at, i ? " %lld" : "%lld", (long long)shape[i]);
    out[at++] = ']';
    out[at] = 0;
    return out;
}
