/* move.cl for GPUs: neighbouring items move neighbouring values; cl/move.cl says what each kernel does.
 * Bound by memory. */
#include "type.h"
#include "team.h"

kernel GROUP void copy_block(global const TYPE(Tx) *src, global TYPE(Ty) *dst, long a, long run,
                             long src_run, long src_from, long dst_run, long dst_from, long chunks,
                             long chunk, long rows)
{
    const long j0 = get_group_id(0) % chunks * chunk, r0 = get_group_id(0) / chunks * rows;
    const int width = min(chunk, run - j0), count = min(rows, a - r0) * width;
    src += r0 * src_run + src_from + j0;
    dst += r0 * dst_run + dst_from + j0;
    for (int at = get_local_id(0); at < count; at += ITEMS) {
        const int r = at / width, j = at - r * width;
        STORE_1(Ty, LOAD_1(Tx, src + r * src_run + j), dst + r * dst_run + j);
    }
}

kernel GROUP void pad_block(global const TYPE(Tx) *src, global TYPE(Ty) *dst, long a, long run, long from,
                            long dst_run, long chunks, long chunk, long rows)
{
    const long j0 = get_group_id(0) % chunks * chunk, r0 = get_group_id(0) / chunks * rows;
    const int width = min(chunk, dst_run - j0), count = min(rows, a - r0) * width;
    for (int at = get_local_id(0); at < count; at += ITEMS) {
        const int r = at / width, j = at - r * width;
        const long k = j0 + j - from;
        STORE_1(Ty, k >= 0 && k < run ? LOAD_1(Tx, src + (r0 + r) * run + k) : 0.0f,
                dst + (r0 + r) * dst_run + j0 + j);
    }
}

/* A team takes every TEAMS-th row of the group's. */
kernel GROUP void permute_rows(global const TYPE(Tx) *src, global TYPE(Ty) *dst, long rows, long block,
                               long run, long4 e, long s0, long4 s)
{
    const long r0 = get_group_id(0) * block, r1 = min(rows, r0 + block);
    for (long r = r0 + get_local_id(0) / TEAM; r < r1; r += TEAMS) {
        const long i4 = r % e.w, q4 = r / e.w, i3 = q4 % e.z, q3 = q4 / e.z;
        const long i2 = q3 % e.y, q2 = q3 / e.y, i1 = q2 % e.x, i0 = q2 / e.x;
        global const TYPE(Tx) *from = src + i0 * s0 + i1 * s.x + i2 * s.y + i3 * s.z + i4 * s.w;
        MINE(j, run)
            STORE_1(Ty, LOAD_1(Tx, from + j), dst + r * run + j);
    }
}

/* A group takes squares of SIDE x SIDE, one after the other along v; a row of local memory is one longer than
 * needed, so that reading a column meets every bank. */
#define SIDE 32

kernel GROUP void permute_transpose(global const TYPE(Tx) *src, global TYPE(Ty) *dst, long4 size, long4 e,
                                 long4 src_s, long4 dst_s, long blocks, long block)
{
    local float square[SIDE][SIDE + 1];
    const long nu = size.x, nv = size.y, du = size.z, sv = size.w;
    const int x = get_local_id(0) % SIDE, y = get_local_id(0) / SIDE;
    long q = get_group_id(0) / blocks;
    const long i3 = q % e.w, q3 = q / e.w, i2 = q3 % e.z, q2 = q3 / e.z, i1 = q2 % e.y, i0 = q2 / e.y;
    src += i0 * src_s.x + i1 * src_s.y + i2 * src_s.z + i3 * src_s.w;
    dst += i0 * dst_s.x + i1 * dst_s.y + i2 * dst_s.z + i3 * dst_s.w;
    const long u1 = min(nu, (long)(get_group_id(0) % blocks + 1) * block);
    for (long u = get_group_id(0) % blocks * block; u < u1; u += SIDE)
        for (long v = 0; v < nv; v += SIDE) {
            for (int k = y; k < SIDE; k += ITEMS / SIDE)
                if (u + x < u1 && v + k < nv)
                    square[k][x] = LOAD_1(Tx, src + (v + k) * sv + u + x);
            barrier(CLK_LOCAL_MEM_FENCE);
            for (int k = y; k < SIDE; k += ITEMS / SIDE)
                if (u + k < u1 && v + x < nv)
                    STORE_1(Ty, square[x][k], dst + (u + k) * du + v + x);
            barrier(CLK_LOCAL_MEM_FENCE);
        }
}
