/* matmul on CPUs with wide vectors: one item is one group, and owns mb x nb of one C.
 *
 *     for np columns, for kb of k:                      np and kb so that the packed part of B stays in the second cache
 *         pack B[k.. k+kb][n.. n+np] into local memory:  panels of W = 16 NV columns, each [k][W], zeros past the edge
 *         for MR rows, for each panel:                   MR x W sums in registers
 *             for k:  NV loads of B, MR broadcasts of A, MR NV multiply-adds
 *             sums -> C, row by row, with the epilogue after the last k
 *
 *          n ->   W     W    (edge)
 *        +-----+-----+-----+--              A is read where it lies: row pointers past the edge repeat the last row
 *     MR | sum | sum | sum |                and their sums are not stored, so one inner loop serves every size.
 *        +-----+-----+-----+--              B is packed even for few rows: packing reads it as memory likes it, and
 *                                           the lines of the next part are prefetched during the multiply-adds.
 *
 * Sums are named scalars, not arrays, so that no compiler puts them into memory. Tiles (MR, NV) keep 24 of AVX-512's 32
 * registers, 12 of AVX's 16 (a float16 is two there). Bound: multiply-adds; for few rows the bytes of B.
 */
#include "product.h"
#ifndef MR
#define MR 8
#define NV 3
#endif
#define W (16 * NV)

#define ROWS_1(X)  X(0)
#define ROWS_3(X)  ROWS_1(X) X(1) X(2)
#define ROWS_6(X)  ROWS_3(X) X(3) X(4) X(5)
#define ROWS_8(X)  ROWS_6(X) X(6) X(7)
#define ROWS_12(X) ROWS_8(X) X(8) X(9) X(10) X(11)
#define COLUMNS_1(X, r) X(r, 0)
#define COLUMNS_2(X, r) COLUMNS_1(X, r) X(r, 1)
#define COLUMNS_3(X, r) COLUMNS_2(X, r) X(r, 2)
#define COLUMNS_4(X, r) COLUMNS_3(X, r) X(r, 3)
#define PASTE(a, b) a##b
#define EXPAND(a, b) PASTE(a, b)
#define ROWS EXPAND(ROWS_, MR)
#define COLUMNS EXPAND(COLUMNS_, NV)

// PoCL's prefetch() does nothing, its compiler's own does. Addresses past the end are harmless.
#if defined(POCL_DEVICE_ADDRESS_BITS) && defined(__has_builtin)
#define PREFETCH(p) __builtin_prefetch((const void *)(size_t)(p), 0, 2)
#else
#define PREFETCH(p) (void)(p)
#endif

/* The first `left` values at p; the rest 0. */
static float16 some(global const float *p, const int left)
{
    if (left >= 16)
        return vload16(0, p);
    float t[16];
    for (int j = 0; j < 16; j++)
        t[j] = j < left ? p[j] : 0;
    return vload16(0, t);
}

static void put(const float16 v, global float *p, const int left)
{
    if (left >= 16) {
        vstore16(v, 0, p);
        return;
    }
    float t[16];
    vstore16(v, 0, t);
    for (int j = 0; j < left; j++)
        p[j] = t[j];
}

static void finish(float16 y, const int left, const int flags, global float *c, global const float *bias,
                   global float *pre, global const float *residual)
{
    if (flags & BIAS)
        y += some(bias, left);
    if (flags & PRE)
        put(y, pre, left);
    if (flags & GELU)
        y = 0.5f * y * (1 + erf(y * M_SQRT1_2_F));
    if (flags & RESIDUAL)
        y += some(residual, left);
    if (flags & ADD)
        y += some(c, left);
    put(y, c, left);
}

/* ---- packing: one panel, kk x W, of which nn columns exist -------------------------------------------------------- */

static void pack_plain(local float16 *to, global const float *b, const long row, const int kk, const int nn)
{
#define COPY(r, v) to[v] = vload16(v, b);
#define COPY_SOME(r, v) to[v] = some(b + 16 * v, nn - 16 * v);
    if (nn >= W)
        for (int k = 0; k < kk; k++, b += row, to += NV) { COLUMNS(COPY, ) }
    else
        for (int k = 0; k < kk; k++, b += row, to += NV) { COLUMNS(COPY_SOME, ) }
}

/* 16 x 16 values turned in registers: each round interleaves rows i and i+8 into rows 2i and 2i+1; four rounds turn. */
#define SIXTEEN(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)
#define ZIP(x, y, i, j, p, q) y##p.even = x##i.lo; y##p.odd = x##j.lo; y##q.even = x##i.hi; y##q.odd = x##j.hi;
#define ROUND(x, y) \
    ZIP(x, y, 0, 8, 0, 1) ZIP(x, y, 1, 9, 2, 3) ZIP(x, y, 2, 10, 4, 5) ZIP(x, y, 3, 11, 6, 7) \
    ZIP(x, y, 4, 12, 8, 9) ZIP(x, y, 5, 13, 10, 11) ZIP(x, y, 6, 14, 12, 13) ZIP(x, y, 7, 15, 14, 15)

static void pack_turned(local float16 *to, global const float *b, const long row, const int kk, const int nn)
{
    for (int v = 0; v < NV; v++) {
        const int last = nn - 1 - 16 * v;                   // columns past it repeat it: never stored
        if (last < 0) {
            for (int k = 0; k < kk; k++)
                to[k * NV + v] = 0;
            continue;
        }
        global const float *from = b + 16 * v * row;
        for (int k0 = 0; k0 < kk && kk >= 16; k0 += 16) {
            const int k = min(k0, kk - 16);                 // the last block overlaps the one before
#define LOAD(i) float16 x##i = vload16(0, from + min(i, last) * row + k), y##i;
#define STORE(i) to[(k + i) * NV + v] = x##i;
            SIXTEEN(LOAD) ROUND(x, y) ROUND(y, x) ROUND(x, y) ROUND(y, x) SIXTEEN(STORE)
        }
        for (int k = 0; k < kk && kk < 16; k++) {
            float t[16];
            for (int j = 0; j < 16; j++)
                t[j] = from[min(j, last) * row + k];
            to[k * NV + v] = vload16(0, t);
        }
    }
}

/* ---- the product -------------------------------------------------------------------------------------------------- */

/* block: mb, nb, kb, np */
__attribute__((reqd_work_group_size(1, 1, 1)))
kernel void matmul(PRODUCT_ARGS, local float16 *pack)
{
    const int z = get_group_id(2) % batches, part = get_group_id(2) / batches;
    const int m0 = get_group_id(0) * (int)block.x, m1 = min(m0 + (int)block.x, (int)size.x);
    const int n0 = get_group_id(1) * (int)block.y, n1 = min(n0 + (int)block.y, (int)size.y);
    const int k0 = part * share, k1 = min(k0 + share, (int)size.z), kb = block.z, np = block.w;
    const int turn_a = flags & TURN_A, turn_b = flags & TURN_B;
    const long ai = turn_a ? 1 : la.y, ak = turn_a ? la.y : 1, bk = turn_b ? 1 : lb.y, bn = turn_b ? lb.y : 1;
    a += place(la, z, size.w);
    c += place(lc, z, size.w) + part * (size.x * size.y * batches);
    bias += place(lbias, z, size.w);
    pre += place(lpre, z, size.w);
    residual += place(lresidual, z, size.w);
    global const float *bz = b + place(lb, z, size.w);
    const bool alone = get_num_groups(0) == 1 && get_num_groups(1) == 1 && z + 1 < batches;
    global const float *after = alone ? b + place(lb, z + 1, size.w) : bz;      // what the next group begins with

    for (int n = n0; n < n1; n += np)
    for (int k = k0; k < k1; k += kb) {
        const int kk = min(kb, k1 - k), end = min(n + np, n1), rest = flags & (k + kb < k1 ? 0 : ~0);
        const bool plain = alpha == 1 && !(rest & (GELU | PRE | RESIDUAL | ADD));
        for (int j = n; j < end; j += W) {
            local float16 *panel = pack + (j - n) / W * kk * NV;
            if (turn_b)
                pack_turned(panel, bz + j * bn + k * bk, lb.y, kk, end - j);
            else
                pack_plain(panel, bz + j * bn + k * bk, lb.y, kk, end - j);
        }
        // The part packed next, as runs of cache lines: rows of B, or (plain) columns 16 wide.
        const int more_k = k + kb < k1, more_n = n + np < n1;
        global const float *ahead = more_k ? bz + n * bn + (k + kb) * bk :
                                    (more_n ? bz + (n + np) * bn : after + n0 * bn) + k0 * bk;
        int run = turn_b ? kk / 16 + 1 : kk, left = run, lines = more_k || more_n || alone ? run * (turn_b ? end - n : (end - n) / 16 + 1) : 0;
        long step = turn_b ? 16 : lb.y, jump = turn_b ? lb.y - 16 * run : 16 - lb.y * run;

        for (int i = m0; i < m1; i += MR) {
            if (lines <= 0) {                               // then the rows of A that come next
                ahead = a + min(i + MR, m1 - 1) * ai + k * ak;
                left = run = turn_a ? kk : kk / 16 + 1;
                lines = turn_a ? run : run * MR;
                step = turn_a ? la.y : 16;
                jump = turn_a ? 0 : la.y - 16 * run;
            }
#define POINT(r) global const float *a##r = a + min(i + r, m1 - 1) * ai + k * ak;
            ROWS(POINT)
            for (int j = n; j < end; j += W) {
                local const float16 *panel = pack + (j - n) / W * kk * NV;
                if (lines <= 0)
                    step = jump = 0;
                lines -= kk;
#define ZERO(r, v) float16 c##r##v = 0;
#define ZERO_ROW(r) COLUMNS(ZERO, r)
                ROWS(ZERO_ROW)
                for (long p = 0, stop = kk * ak; p < stop; p += ak, panel += NV) {
#define GET(r, v) const float16 b##v = panel[v];
#define MAD(r, v) c##r##v = fma(x, b##v, c##r##v);
#define MAD_ROW(r) { const float16 x = a##r[p]; COLUMNS(MAD, r) }
                    COLUMNS(GET, )
                    PREFETCH(ahead);
                    ahead += step;
                    if (--left == 0) {
                        left = run;
                        ahead += jump;
                    }
                    ROWS(MAD_ROW)
                }
                if (plain && end - j >= W && i + MR <= m1) {
#define BIAS_OF(r, v) const float16 t##v = rest & BIAS ? vload16(v, bias + j) : 0;
#define PUT(r, v) vstore16(c##r##v + t##v, v, to);
#define PUT_ONTO(r, v) vstore16(c##r##v + vload16(v, to) + t##v, v, to);
#define PUT_ROW(r) { global float *to = c + (i + r) * lc.y + j; COLUMNS(PUT, r) }
#define PUT_ROW_ONTO(r) { global float *to = c + (i + r) * lc.y + j; COLUMNS(PUT_ONTO, r) }
                    COLUMNS(BIAS_OF, )
                    if (k > k0 || flags & ONTO) {
                        ROWS(PUT_ROW_ONTO)
                    } else {
                        ROWS(PUT_ROW)
                    }
                    continue;
                }
                float16 sums[MR * NV];
#define KEEP(r, v) sums[r * NV + v] = c##r##v;
#define KEEP_ROW(r) COLUMNS(KEEP, r)
                ROWS(KEEP_ROW)
                for (int r = 0; r < MR && i + r < m1; r++)
                    for (int v = 0; v < NV && j + 16 * v < end; v++) {
                        const int col = j + 16 * v;
                        const long row = i + r;
                        global float *to = c + row * lc.y + col;
                        float16 y = sums[r * NV + v] * alpha;
                        if (k > k0 || flags & ONTO)
                            y += some(to, end - col);
                        finish(y, end - col, rest, to, bias + col, pre + row * lpre.y + col,
                               residual + row * lresidual.y + col);
                    }
            }
        }
    }
}

/* C = epilogue(alpha * the sum of all parts' slabs): one item takes `rows` rows of one batch. */
__attribute__((reqd_work_group_size(1, 1, 1)))
kernel void matmul_sum(global const float *slab, const int parts, EPILOGUE_ARGS, const int rows)
{
    const int z = get_group_id(1), m0 = get_group_id(0) * rows, m1 = min(m0 + rows, (int)size.x), n = size.y;
    const long apart = size.x * size.y * batches;
    slab += z * size.x * size.y;
    c += place(lc, z, size.w);
    bias += place(lbias, z, size.w);
    pre += place(lpre, z, size.w);
    residual += place(lresidual, z, size.w);
    for (long i = m0; i < m1; i++)
        for (int j = 0; j < n; j += 16) {
            const int left = n - j;
            float16 y = 0;
            for (int p = 0; p < parts; p++)
                y += some(slab + p * apart + i * n + j, left);
            y *= alpha;
            if (flags & ONTO)
                y += some(c + i * lc.y + j, left);
            finish(y, left, flags, c + i * lc.y + j, bias + j, pre + i * lpre.y + j, residual + i * lresidual.y + j);
        }
}
