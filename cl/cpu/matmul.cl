/* matmul.cl on CPUs with wide vectors: one item is one group, and draws tickets for blocks of mb x nb of
 * one C.
 *
 *     for np columns, for kb of k:                  so that the packed part of B stays in the second cache;
 *                                                   if it is all of B, it serves the next block too
 *         pack B[k.. k+kb][n.. n+np]:               into local memory: panels of WIDE = 16 NV columns, each
 *                                                   [k][WIDE]
 *         for MR rows, for each panel:              MR x WIDE sums in registers
 *             for k:  NV loads of B, MR broadcasts of A, MR NV multiply-adds
 *             sums -> C, with the epilogue after the last k
 *
 *          n ->  WIDE  WIDE  edge       A is read where it lies: row pointers past the edge repeat the last
 *        +-----+-----+-----+--          row, and their sums are not stored. The last panel computes only the
 *     MR | sum | sum | su  |            vectors it has. So one text serves every size, and every transpose,
 *        +-----+-----+-----+--          as strides.
 *
 * With BAND a transposed A is packed too, so many columns at a time, in tiles [k][MR]: where it lies, each k
 * has a line of its own, and lines a power of two apart share a few sets of the cache.
 *
 * B is packed even for few rows: packing reads whole lines in order, and the lines that are packed next
 * are prefetched during the multiply-adds, then those of A's next rows. Where A is of a half type, MR rows (or
 * a band) of it are converted to floats before their panels: in the inner loop each would be alone. C of
 * a half type is written once, after the last k (core/op/product_cut.c). The inner loop is tile.h's. Bound:
 * multiply-adds; for few rows the bytes of B.
 */
#include "type.h"
#include "product.h"
#include "special.h"
#define ACT_REAL  float16
#define gelu      gelu_16
#define gelu_grad gelu_grad_16
#include "act.h"
#include "ticket.h"
#define AHEAD                                 \
    PREFETCH(f.p);                           \
    f.p += f.step;                          \
    if (--f.left == 0) {                     \
        f.left = f.run;                     \
        f.p += f.jump;                      \
    }
#define SPACE local
#include "tile.h"

/* ---- the epilogue -------------------------------------------------------------------------------------- */

/* Where sums go: row strides, and what is done to them (flags of product.h). */
struct target {
    global TYPE(Tc) *c;
    global TYPE(Ts) *side;
    global const TYPE(Td) *bias;
    global const TYPE(To) *other;
    long row, side_row, other_row;
    int flags;
    float alpha;
};

static struct target target_of(EPILOGUE_ARGS, const int z)
{
    const struct target t = { c + place(lc, z, size.w), side + place(lside, z, size.w),
                              bias + place(lbias, z, size.w), other + place(lother, z, size.w),
                              lc.y, lside.y, lother.y, flags, alpha };
    return t;
}

/* The sums y of columns j.. of row i, of which n exist. */
static void finish(float16 y, const struct target *t, const long i, const int j, const int n)
{
    global TYPE(Tc) *c = t->c + i * t->row + j;
    y *= t->alpha;
    if (t->flags & ONTO)
        y += LOAD_16(Tc, c, n, 0);
    if (t->flags & BIAS)
        y += LOAD_16(Td, t->bias + j, n, 0);
    if (t->flags & PRE)
        STORE_16(Ts, y, t->side + i * t->side_row + j, n);
    if (t->flags & ACTIVATION) {
        const float16 u = y;
        y = act_value(act_of(t->flags), u);
        if (t->flags & SLOPE)
            STORE_16(Ts, act_slope(act_of(t->flags), u), t->side + i * t->side_row + j, n);
    }
    if (t->flags & RESIDUAL)
        y += LOAD_16(To, t->other + i * t->other_row + j, n, 0);
    if (t->flags & FACTOR)
        y *= LOAD_16(To, t->other + i * t->other_row + j, n, 0);
    if (t->flags & ADD)
        y += LOAD_16(Tc, c, n, 0);
    STORE_16(Tc, y, c, n);
}

/* ---- the product --------------------------------------------------------------------------------------- */

/* What is prefetched: runs of cache lines, `step` bytes from line to line, `jump` more from run to run. */
struct ahead { global const char *p; int run, left, lines; long step, jump; };

static void aim(struct ahead *f, global const void *p, const int lines, const int run, const long step,
                const long next)
{
    const struct ahead to = { (global const char *)p, run, run, lines, step, next - step * run };
    *f = to;
}

// Whole vectors go from the registers to C if there is at most a bias, and one matrix, to add or multiply
// with: the old C, or `other`.
#if defined(BAND)
#define ROW_OF_A(r)    local const float *a##r = s.floats + r;
#define STEP_OF_A      MR
#elif BYTES(Ta) == 2
#define LINE(kk)       (((kk) + 15) / 16 * 16)
#define ROW_OF_A(r)    local const float *a##r = s.floats + r * LINE(s.kk);
#define STEP_OF_A      1
#else
#define ROW_OF_A(r)    global const float *a##r = s.a + min(i + r, s.m1 - 1) * s.ai;
#define STEP_OF_A      s.ak
#endif
#define LOAD_BIAS(r, v) const float16 t##v = to.flags & BIAS ? LOAD_WHOLE(Td, to.bias + j + 16 * v) : 0;
#define PUT(r, v)      STORE_WHOLE(Tc, c##r##v + t##v, row + 16 * v);
#define PUT_ONTO(r, v) STORE_WHOLE(Tc, c##r##v + LOAD_WHOLE(To, old + 16 * v) + t##v, row + 16 * v);
#define PUT_TIMES(r, v) STORE_WHOLE(Tc, (c##r##v + t##v) * LOAD_WHOLE(To, old + 16 * v), row + 16 * v);
#define ROW_OF_C(r)    global TYPE(Tc) *row = to.c + (i + r) * to.row + j;
#define ROW_OF_OLD(r)  global const TYPE(To) *old = s.old + (i + r) * s.old_row + j;
#define FETCH_OLD(r, v) PREFETCH_NEAR(old + 16 * v);
#define FETCH_ROW(r)   { ROW_OF_OLD(r) VECTORS(FETCH_OLD, r) }
#define FETCH_C(r, v)  PREFETCH_TO_WRITE(row + 16 * v);
#define FETCH_ROW_OF_C(r) { ROW_OF_C(r) VECTORS(FETCH_C, r) }
#define PUT_1(r)       { ROW_OF_C(r) VECTORS_1(PUT, r) }
#define PUT_2(r)       { ROW_OF_C(r) VECTORS_2(PUT, r) }
#define PUT_3(r)       { ROW_OF_C(r) VECTORS_3(PUT, r) }
#define PUT_ONTO_1(r)  { ROW_OF_C(r) ROW_OF_OLD(r) VECTORS_1(PUT_ONTO, r) }
#define PUT_ONTO_2(r)  { ROW_OF_C(r) ROW_OF_OLD(r) VECTORS_2(PUT_ONTO, r) }
#define PUT_ONTO_3(r)  { ROW_OF_C(r) ROW_OF_OLD(r) VECTORS_3(PUT_ONTO, r) }
#define PUT_TIMES_1(r) { ROW_OF_C(r) ROW_OF_OLD(r) VECTORS_1(PUT_TIMES, r) }
#define PUT_TIMES_2(r) { ROW_OF_C(r) ROW_OF_OLD(r) VECTORS_2(PUT_TIMES, r) }
#define PUT_TIMES_3(r) { ROW_OF_C(r) ROW_OF_OLD(r) VECTORS_3(PUT_TIMES, r) }
#define PUT_SUMS(nv)                          \
    {                                         \
        VECTORS_##nv(LOAD_BIAS, )             \
        if (to.flags & (ONTO | RESIDUAL)) {   \
            ROWS(PUT_ONTO_##nv)               \
        } else if (to.flags & FACTOR) {       \
            ROWS(PUT_TIMES_##nv)              \
        } else {                              \
            ROWS(PUT_##nv)                    \
        }                                     \
    }

/* B is stored [k][column]; the edge's vector is filled up with 0, vectors past it are left alone. */
static void pack_plain(SPACE float16 *to, global const TYPE(Tb) *b, const long row, const int kk, const int nn)
{
    const int whole = min(nn, WIDE) / 16;
    if (whole == NV) {
        for (int k = 0; k < kk; k++, b += row, to += NV) {
#define COPY(r, v) to[v] = LOAD_WHOLE(Tb, b + 16 * v);
            VECTORS(COPY, )
        }
        return;
    }
    for (int k = 0; k < kk; k++, b += row, to += NV) {
        for (int v = 0; v < whole; v++)
            to[v] = LOAD_WHOLE(Tb, b + 16 * v);
        if (nn % 16)
            to[whole] = LOAD_16(Tb, b + 16 * whole, nn % 16, 0);
    }
}

/* kk x columns of B, panel after panel. */
static void pack_block(local float16 *to, global const TYPE(Tb) *b, const long row, const bool transposed,
                      const int kk, const int columns)
{
    for (int j = 0; j < columns; j += WIDE, to += kk * NV)
        if (transposed)
            pack_transposed(to, b + j * row, row, kk, columns - j);
        else
            pack_plain(to, b + j, row, kk, columns - j);
}

/* One step of a block: columns [n, end) of C, kk of k. */
struct step {
    global const TYPE(Ta) *a;                     // at the step's first k; rows ai apart, k ak apart
    local float *floats;                          // a copy of MR rows of it, packed or widened
    local const float *panels;                    // of B, packed
    global const TYPE(To) *old;                    // the matrix that C is added to, or multiplied with
    long ai, ak, old_row;
    int m1, n, end, kk, fetched;                  // the band whose next one is being fetched
    bool other_too, simple;                       // `other` is read; sums may go from the registers to C
};

/* Rows i.. of A as the inner loop reads them: of a band, packed when its first are asked for; widened, those
 * past the edge repeating the last; or in place. `columns`: of a transposed A. */
#if defined(BAND)
#define SUMMED local const float
#define COLUMNS_OF_A(s, i) (s).floats
static void copy_a(struct step *s, local float *to, const int i, const int m0, const int columns)
{
    const int at = (i - m0) % BAND;
    if (at == 0)
        pack_band(to, s->a + i, s->ak, s->kk, min(BAND, s->m1 - i), columns - i);
    s->floats = to + at * s->kk;
}
#elif BYTES(Ta) == 2
#define SUMMED local const float
#define COLUMNS_OF_A(s, i) (s).floats
static void copy_a(struct step *s, local float *to, const int i, const int m0, const int columns)
{
    s->floats = to;
    for (int r = 0; r < MR; r++, to += LINE(s->kk)) {
        global const TYPE(Ta) *row = s->a + min(i + r, s->m1 - 1) * s->ai;
        for (int k = 0; k + 16 <= s->kk; k += 16)
            vstore16(LOAD_WHOLE(Ta, row + k), 0, to + k);
        if (s->kk % 16)
            vstore16(LOAD_16(Ta, row + s->kk / 16 * 16, s->kk % 16, 0), 0, to + s->kk / 16 * 16);
    }
}
#else
#define SUMMED global const float
#define COLUMNS_OF_A(s, i) ((s).a + i)
#define copy_a(s, to, i, m0, columns)
#endif

/* sums[0..count) = or += those of the columns of a, kk rows of which lie `row` apart. They are read just
 * before the multiply-adds read them. */
static void sum_columns(global float *sums, SUMMED *a, const long row, const int kk,
                        const int count, const bool onto)
{
#if defined(BAND)
    const bool eight = true;                      // a row of eight reaches into the next, or into padding
#else
    const bool eight = count == 8;
#endif
    float all[8] = { 0 };
    if (eight) {
        float8 s = 0, t = 0;
        int p = 0;
        for (; p + 1 < kk; p += 2, a += 2 * row) {
            s += vload8(0, a);
            t += vload8(0, a + row);
        }
        if (p < kk)
            s += vload8(0, a);
        vstore8(s + t, 0, all);
    } else
        for (int c = 0; c < count; c++)
            for (int p = 0; p < kk; p++)
                all[c] += a[p * row + c];
    for (int c = 0; c < count; c++)
        sums[c] = onto ? sums[c] + all[c] : all[c];
}

/* Rows i.. i + MR of one step. Returns what is to be prefetched after them. Always inlined: as a call it
 * costs 1 to 2 % of a product. */
__attribute__((always_inline))
static struct ahead multiply_rows(const struct step s, const struct target to, struct ahead f, const int i)
{
    const bool quick = s.simple && i + MR <= s.m1;
    const long ak = STEP_OF_A;
    ROWS(ROW_OF_A)
    for (int j = s.n; j < s.end; j += WIDE) {
        const int columns = s.end - j;
        local const float *panel = s.panels + (j - s.n) / WIDE * s.kk * WIDE;
        if (f.lines <= 0)
            f.step = f.jump = 0;
        f.lines -= s.kk / STEPS;
        if (s.other_too) {
            ROWS(FETCH_ROW)
        }
#if SIMD < 16
        else {                                    // stores wait for their lines
            ROWS(FETCH_ROW_OF_C)
        }
#endif
        MULTIPLY(columns, s.kk, ak)
#if NV == 3
        if (quick && columns >= 48)
            PUT_SUMS(3)
        else if (quick && columns == 32)
            PUT_SUMS(2)
        else
#endif
        if (quick && (columns == 16 || columns * (NV == 1) > 16))
            PUT_SUMS(1)
        else {
            float16 sums[MR * NV];
            ROWS(KEEP_SUMS)
            for (int r = 0; r < min(MR, s.m1 - i); r++)
                for (int v = 0; 16 * v < min(WIDE, columns); v++)
                    finish(sums[r * NV + v], &to, i + r, j + 16 * v, columns - 16 * v);
        }
    }
    return f;
}

/* Aims at what is read of A after row i: the next band, or the first of the next k; or MR columns, or rows. */
static void aim_at_a(struct ahead *f, struct step *s, const int i, const int m0, const bool more_k,
                     const bool trans, const long row)
{
#if defined(BAND)
    const int next = i - (i - m0) % BAND + BAND, run = BAND * BYTES(Ta) / 64 + 1;
    const bool more = next < s->m1;
    if (s->fetched != next)
        aim(f, more ? s->a + next : s->a + s->kk * row + m0, more || more_k ? run * s->kk : 0, run, 64,
            row * BYTES(Ta));
    s->fetched = next;
#else
    const int line = trans ? s->kk : s->kk * BYTES(Ta) / 64 + 1;
    const int at = min(trans ? i + 2 * MR - 1 : i + MR, s->m1 - 1);
    aim(f, s->a + at * s->ai, trans ? line : line * MR, line, trans ? row * BYTES(Ta) : 64, row * BYTES(Ta));
#endif
}

/* The block `at` = (row of blocks, column of blocks, batch and split). Is B packed for it already? */
static void multiply_block(PRODUCT_ARGS, local float16 *pack, const int3 at, const bool packed,
                           const bool alone)
{
    const int z = at.z % batches, split = at.z / batches;
    const int m0 = at.x * (int)block.x, m1 = min(m0 + (int)block.x, (int)size.x);
    const int n0 = at.y * (int)block.y, n1 = min(n0 + (int)block.y, (int)size.y);
    const int k0 = split * share, k1 = min(k0 + share, (int)size.z), kb = block.z, np = block.w;
    const int ta = flags & TRANS_A, tb = flags & TRANS_B;
    const long ai = ta ? 1 : la.y, ak = ta ? la.y : 1, bk = tb ? 1 : lb.y, bn = tb ? lb.y : 1;
    const int late = BIAS | ACTIVATION | PRE | SLOPE | FACTOR | ADD | (flags & ACTIVATION ? RESIDUAL : 0);
    struct target to = target_of(c, lc, bias, lbias, side, lside, other, lother, size, batches, flags, alpha,
                                 z);
    struct ahead f;
    to.c += split * (size.x * size.y * batches);
    to.side += split * (size.x * batches);
    a += place(la, z, size.w);
    b += place(lb, z, size.w);
    const int later = min(z + (int)get_num_groups(0), batches - 1);
    const long next_batch = alone ? place(lb, later, size.w) - place(lb, z, size.w) : 0;

    for (int n = n0; n < n1; n += np)
    for (int k = k0; k < k1; k += kb) {
        const int kk = min(kb, k1 - k), end = min(n + np, n1), more_k = k + kb < k1, more_n = n + np < n1;
        to.flags = (k > k0 ? ONTO : flags & ~late) | (more_k ? 0 : flags & late);
        const bool other_too = to.flags & (RESIDUAL | FACTOR);
        const bool simple = alpha == 1 && !(to.flags & (ACTIVATION | ADD)) && !(to.flags & ONTO && other_too);
        local float *floats = (local float *)pack + kb * np;
        struct step s = { a + k * ak, floats, (local const float *)pack, other_too ? to.other : to.c, ai,
                                ak, other_too ? to.other_row : to.row, m1, n, end, kk, -1, other_too, simple };
        if (!packed)
            pack_block(pack, b + n * bn + k * bk, lb.y, tb, kk, end - n);
        // What is packed next lies in runs of lines: rows of B, or (not transposed) columns 16 wide.
        global const TYPE(Tb) *next = more_k ? b + n * bn + (k + kb) * bk :
                                   b + (more_n ? (n + np) * bn : next_batch + n0 * bn) + k0 * bk;
        const long line = lb.y * BYTES(Tb);
        const int run = tb ? kk * BYTES(Tb) / 64 + 1 : kk, runs = tb ? end - n : (end - n) * BYTES(Tb) / 64 + 1;
        aim(&f, next, more_k || more_n || alone ? run * runs : 0, run, tb ? 64 : line, tb ? line : 64);
        for (int i = m0; i < m1; i += MR) {
            if (f.lines <= 0)
                aim_at_a(&f, &s, i, m0, more_k, ta, la.y);
            copy_a(&s, floats, i, m0, (int)size.x);
            if (flags & SUMS && n == 0)
                sum_columns((global float *)to.side + i, COLUMNS_OF_A(s, i), STEP_OF_A, kk, min(MR, m1 - i),
                            k > k0);
            f = multiply_rows(s, to, f, i);
        }
    }
}

/* block: mb, nb, kb, np. Blocks below one another follow each other. */
ALONE kernel void matmul(PRODUCT_ARGS, local float16 *pack)
{
    const int gm = (size.x + block.x - 1) / block.x, gn = (size.y + block.y - 1) / block.y;
    const int blocks = gm * gn * batches * (int)((size.z + share - 1) / share);
    const bool whole = block.y <= block.w && min((long)share, size.z) <= block.z;
    const bool alone = gm == 1 && gn == 1 && batches > 1;
    int packed = -1;
    for (int i = next_ticket(tickets); i < blocks; i = next_ticket(tickets)) {
        const int column = i / gm;
        multiply_block(a, la, b, lb, c, lc, bias, lbias, side, lside, other, lother, size, batches, flags,
                       alpha, block, share, tickets, pack, (int3)(i % gm, column % gn, column / gn),
                       packed == column, alone);
        packed = whole ? column : -1;
    }
    return_tickets(tickets);
}

/* C = epilogue(sum of all splits' slabs): one item takes `rows` rows of one batch. */
ALONE kernel void matmul_sum(global const float *slab, const int splits, EPILOGUE_ARGS, const int rows)
{
    const int z = get_group_id(2), m0 = get_group_id(1) * rows, m1 = min(m0 + rows, (int)size.x), n = size.y;
    const long apart = size.x * size.y * batches;
    const struct target to = target_of(c, lc, bias, lbias, side, lside, other, lother, size, batches, flags,
                                       alpha, z);
    global const float *sums = slab + splits * apart + z * size.x;
    for (long i = m0; i < m1 && flags & SUMS; i++) {
        float s = 0;
        for (int p = 0; p < splits; p++)
            s += sums[p * size.x * batches + i];
        ((global float *)to.side)[i] = s;
    }
    slab += z * size.x * size.y;
    for (long i = m0; i < m1; i++)
        for (int j = 0; j < n; j += 16) {
            float16 y = 0;
            for (int p = 0; p < splits; p++)
                y += load_16(slab + p * apart + i * n + j, n - j, 0);
            finish(y, &to, i, j, n - j);
        }
}
