/* quad.h (GPU only): four elements of a row of any type (type.h) as a float4; of those at p, n exist. Accesses
 * of sixteen or eight bytes where p allows it. */
#ifndef QUAD_H
#define QUAD_H
#include "type.h"
#define LOAD_4(T, p, n)     JOIN(load_4_, T)(p, n)
#define STORE_4(T, v, p, n) JOIN(store_4_, T)(v, p, n)
#define SURE_4(T, p, aligned) JOIN(sure_4_, T)(p, aligned)      /* all four exist; does p allow one access? */

/* Loads and stores of fours of `one`, at once where p is a multiple of their size. */
#define FOURS(name, one, four)                                                                            \
    static four load_4_##name(global const one *p, const long n)                                          \
    {                                                                                                     \
        if (n >= 4)                                                                                       \
            return ((size_t)p & (sizeof(four) - 1)) == 0 ? *(global const four *)p : vload4(0, p);        \
        return (four)(n > 0 ? p[0] : 0, n > 1 ? p[1] : 0, n > 2 ? p[2] : 0, 0);                           \
    }                                                                                                     \
    static void store_4_##name(const four v, global one *p, const long n)                                 \
    {                                                                                                     \
        if (n >= 4 && ((size_t)p & (sizeof(four) - 1)) == 0)                                              \
            *(global four *)p = v;                                                                        \
        else if (n >= 4)                                                                                  \
            vstore4(v, 0, p);                                                                             \
        else {                                                                                            \
            if (n > 0) p[0] = v.x;                                                                        \
            if (n > 1) p[1] = v.y;                                                                        \
            if (n > 2) p[2] = v.z;                                                                        \
        }                                                                                                 \
    }
FOURS(F32, float, float4)
FOURS(halves, ushort, ushort4)

static float4 widened_4_BF16(const ushort4 h) { return as_float4(convert_uint4(h) << 16); }
static ushort4 narrowed_4_BF16(const float4 x)
{
    const uint4 u = as_uint4(x), is_nan = as_uint4(x != x);
    return convert_ushort4(((u + ((u >> 16 & 1) + 0x7fff & ~is_nan)) | (is_nan & 0x400000)) >> 16);
}

static float4 widened_4_F16(const ushort4 h)
{
    ushort v[4];
    vstore4(h, 0, v);
    return vload_half4(0, (const half *)v);
}
static ushort4 narrowed_4_F16(const float4 x)
{
    ushort v[4];
    vstore_half4_rte(x, 0, (half *)v);
    return vload4(0, v);
}

#define four_halves(p, aligned) ((aligned) ? *(global const ushort4 *)(p) : vload4(0, p))
#define sure_4_F32(p, aligned)  ((aligned) ? *(global const float4 *)(p) : vload4(0, p))
#define sure_4_BF16(p, aligned) widened_4_BF16(four_halves(p, aligned))
#define sure_4_F16(p, aligned)  widened_4_F16(four_halves(p, aligned))
#define load_4_BF16(p, n)     widened_4_BF16(load_4_halves(p, n))
#define load_4_F16(p, n)      widened_4_F16(load_4_halves(p, n))
#define store_4_BF16(v, p, n) store_4_halves(narrowed_4_BF16(v), p, n)
#define store_4_F16(v, p, n)  store_4_halves(narrowed_4_F16(v), p, n)
#endif
