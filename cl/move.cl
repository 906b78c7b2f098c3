/* move.cl: the same values in another place. Bound by memory.
 *
 *   copy_block     dst (a, dst_run) takes `run` values at dst_from of each of a rows from src (a, src_run),
 *                  at src_from
 *   pad_block      dst (a, dst_run) = zeros with src (a, run) at `from`
 *   permute_rows   dst rows of `run` values, together in src too: there at s0 .. s4 along axes e0 .. e4
 *   permute_transpose   two axes transposed: u lies together in src, v in dst; the others stay as they are
 *
 * Groups are counted along one axis only: a GPU's other two may end at 65535.
 */
#include "type.h"
#include "transpose.h"

static inline void copy_run(global const TYPE(Tx) *s, global TYPE(Ty) *d, long n)
{
    for (long j = 0; j < n; j += 16)
        STORE_16(Ty, LOAD_16(Tx, s + j, n - j, 0), d + j, n - j);
}

/* Group: chunk get_group_id(0) % chunks of each of `rows` rows. */
kernel ALONE void copy_block(global const TYPE(Tx) *src, global TYPE(Ty) *dst, long a, long run,
                             long src_run, long src_from, long dst_run, long dst_from, long chunks,
                             long chunk, long rows)
{
    const long j = get_group_id(0) % chunks * chunk, n = min(chunk, run - j);
    const long r0 = get_group_id(0) / chunks * rows, r1 = min(a, r0 + rows);
    for (long r = r0; r < r1; r++)
        copy_run(src + r * src_run + src_from + j, dst + r * dst_run + dst_from + j, n);
}

static inline void zero_run(global TYPE(Ty) *d, long n)
{
    for (long j = 0; j < n; j += 16)
        STORE_16(Ty, 0, d + j, n - j);
}

kernel ALONE void pad_block(global const TYPE(Tx) *src, global TYPE(Ty) *dst, long a, long run, long from,
                            long dst_run, long chunks, long chunk, long rows)
{
    const long j0 = get_group_id(0) % chunks * chunk, j1 = min(dst_run, j0 + chunk);
    const long begin = clamp(from, j0, j1), end = clamp(from + run, j0, j1);
    const long r0 = get_group_id(0) / chunks * rows, r1 = min(a, r0 + rows);
    for (long r = r0; r < r1; r++) {
        global TYPE(Ty) *d = dst + r * dst_run;
        zero_run(d + j0, begin - j0);
        copy_run(src + r * run + begin - from, d + begin, end - begin);
        zero_run(d + end, j1 - end);
    }
}

/* e, s: axes 1 to 4 of the rows; axis 0 is what remains. Neighbouring rows are found by stepping, not
 * by division. */
kernel ALONE void permute_rows(global const TYPE(Tx) *src, global TYPE(Ty) *dst, long rows, long block,
                               long run, long4 e, long s0, long4 s)
{
    const long r0 = get_group_id(0) * block, r1 = min(rows, r0 + block);
    long q = r0;
    long4 i;
    i.w = q % e.w, q /= e.w;
    i.z = q % e.z, q /= e.z;
    i.y = q % e.y, q /= e.y;
    i.x = q % e.x, q /= e.x;
    global const TYPE(Tx) *from = src + q * s0 + i.x * s.x + i.y * s.y + i.z * s.z + i.w * s.w;
    for (long r = r0; r < r1; r++) {
        copy_run(from, dst + r * run, run);
        from += s.w;
        if (++i.w < e.w)
            continue;
        i.w = 0;
        from += s.z - e.w * s.w;
        if (++i.z < e.z)
            continue;
        i.z = 0;
        from += s.y - e.z * s.z;
        if (++i.y < e.y)
            continue;
        i.y = 0;
        from += s.x - e.y * s.y;
        if (++i.x < e.x)
            continue;
        i.x = 0;
        from += s0 - e.x * s.x;
    }
}

/* size: (nu, nv, stride of u in dst, stride of v in src). The other axes, first to last: extents e, strides in
 * src and dst. Group: `block` of u, all of v, of one matrix. Squares of 16 x 16 are transposed in registers;
 * those at the end overlap the ones before in v, and in u read again what the one before has read.
 *
 *           v                              u
 *     +-----------+                 +----------+
 *     |    src    | u block         |   dst    |
 *     | transpose |                 |          |
 *     +-----------+                 +----------+ v
 */
kernel ALONE void permute_transpose(global const TYPE(Tx) *src, global TYPE(Ty) *dst, long4 size, long4 e,
                                 long4 src_s, long4 dst_s, long blocks, long block)
{
    const long nu = size.x, nv = size.y, du = size.z, sv = size.w;
    long q = get_group_id(0) / blocks;
    const long i3 = q % e.w, q3 = q / e.w, i2 = q3 % e.z, q2 = q3 / e.z, i1 = q2 % e.y, i0 = q2 / e.y;
    src += i0 * src_s.x + i1 * src_s.y + i2 * src_s.z + i3 * src_s.w;
    dst += i0 * dst_s.x + i1 * dst_s.y + i2 * dst_s.z + i3 * dst_s.w;
    const long u0 = get_group_id(0) % blocks * block, u1 = min(nu, u0 + block);
    if (nu < 16 || nv < 16) {
        for (long u = u0; u < u1; u++)
            for (long v = 0; v < nv; v++)
                STORE_1(Ty, LOAD_1(Tx, src + v * sv + u), dst + u * du + v);
        return;
    }
    for (long from = u0; from < u1; from += 16) {
        const long u = min(from, nu - 16), first = from - u, last = u1 - u;
        for (long at = 0; at < nv; at += 16) {
            const long v = min(at, nv - 16);
#define LOAD(k)  float16 x##k = LOAD_16(Tx, src + (v + k) * sv + u, 16, 0), y##k;
#define STORE(k) if (k >= first && k < last) STORE_16(Ty, x##k, dst + (u + k) * du + v, 16);
            SIXTEEN(LOAD) TRANSPOSE(x, y) SIXTEEN(STORE)
        }
    }
}
