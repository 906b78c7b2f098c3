/* epilogue.h (GPU only): what GPUs' products (cl/gpu/matmul.cl, cl/gpu/matrix.cl) do to four sums of a row. */
#ifndef EPILOGUE_H
#define EPILOGUE_H
#include "product.h"
#include "quad.h"
#include "special.h"
#include "step.h"
#if DRAWS
#include "random.h"
#endif
#define ACT_REAL  float4
#define gelu      gelu_4
#define gelu_grad gelu_grad_4
#include "act.h"

/* A mask that is drawn (DRAWS): mask = (stream, rows of a sample, rows of all, rows of C that share a number
 * or 0). */
#define MASK_ARGS global const uint *now, const long4 mask, const float kept
#if DRAWS
static float4 mask_of(MASK_ARGS, const long row, const int j, const int cols)
{
    const ulong seed = STEP_SEED(now);
    const long place = row_of_batch(mask.w ? row / mask.w : row, mask, now[STEP_BEFORE], now[STEP_OTHERS]);
    const ulong at = mask.w ? place * 16 : place * ((cols + 15) / 16 * 16) + j;
    const uint4 bits = mask.w ? (uint4)random_1(seed, (uint)mask.x, now[STEP_NUMBER], at)
                              : random_4(seed, (uint)mask.x, now[STEP_NUMBER], at);
    return convert_float4(convert_int4(kept + unit_4(bits))) * (1.0f / kept);
}
#endif

/* The sums y of columns j.. of row i, of which n exist. */
static void finish(float4 y, EPILOGUE_ARGS, MASK_ARGS, const int z, const long i, const int j, const int n)
{
    c += place(lc, z, size.w) + i * lc.y + j;
    y *= alpha;
    if (flags & ONTO)
        y += LOAD_4(Tc, c, n);
    if (flags & BIAS)
        y += LOAD_4(Td, bias + place(lbias, z, size.w) + j, n);
    if (flags & PRE)
        STORE_4(Ts, y, side + place(lside, z, size.w) + i * lside.y + j, n);
    if (flags & SLOPE)
        STORE_4(Ts, act_slope(act_of(flags), y), side + place(lside, z, size.w) + i * lside.y + j, n);
    y = act_value(act_of(flags), y);
#if DRAWS
    y *= mask_of(now, mask, kept, z * size.x + i, j, (int)size.y);
#endif
    if (flags & (RESIDUAL | FACTOR)) {
        const float4 x = LOAD_4(To, other + place(lother, z, size.w) + i * lother.y + j, n);
        y = flags & FACTOR ? y * x : y + x;
    }
    if (flags & ADD)
        y += LOAD_4(Tc, c, n);
    STORE_4(Tc, y, c, n);
}
#endif
