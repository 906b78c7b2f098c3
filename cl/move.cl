/* move.cl: the same values in another place. Bound by memory: each item streams its share of a run with float16 loads.
 *
 *   copy_block   dst (A, dst_run) takes `run` elements at dst_from of each of A rows from src (A, src_run) at src_from
 *   pad_block    dst (A, dst_run) = zeros with src (A, run) at `from`
 *   permute_*    dst contiguous (e0 .. e5), src with a stride per axis; _rows: the last axis is contiguous in src too
 */
__kernel ALONE void copy_block(__global const float *src, __global float *dst, long a, long run, long src_run, long src_from, long dst_run,
                long dst_from, long part, long rows)
{
    const long j0 = get_group_id(0) * part, j1 = min(run, j0 + part);
    const long r0 = get_group_id(1) * rows, r1 = min(a, r0 + rows);
    for (long r = r0; r < r1; r++) {
        __global const float *s = src + r * src_run + src_from;
        __global float *d = dst + r * dst_run + dst_from;
        long j = j0;
        for (; j + 16 <= j1; j += 16)
            vstore16(vload16(0, s + j), 0, d + j);
        for (; j < j1; j++)
            d[j] = s[j];
    }
}

__kernel ALONE void pad_block(__global const float *src, __global float *dst, long run, long from, long dst_run)
{
    const long j0 = get_group_id(0) * 4096, j1 = min(dst_run, j0 + 4096), r = get_group_id(1);
    for (long j = j0; j < j1; j++)
        dst[r * dst_run + j] = j >= from && j < from + run ? src[r * run + j - from] : 0.0f;
}

/* Source of result row r of the five outer axes. */
static inline long row_source(long r, long e1, long e2, long e3, long e4, long s0, long s1, long s2, long s3, long s4)
{
    const long i4 = r % e4, q4 = r / e4, i3 = q4 % e3, q3 = q4 / e3, i2 = q3 % e2, q2 = q3 / e2, i1 = q2 % e1, i0 = q2 / e1;
    return i0 * s0 + i1 * s1 + i2 * s2 + i3 * s3 + i4 * s4;
}

__kernel ALONE void permute_rows(__global const float *src, __global float *dst, long rows, long block, long e1, long e2, long e3, long e4,
                  long e5, long s0, long s1, long s2, long s3, long s4, long s5)
{
    const long r0 = get_group_id(0) * block, r1 = min(rows, r0 + block);
    for (long r = r0; r < r1; r++) {
        __global const float *s = src + row_source(r, e1, e2, e3, e4, s0, s1, s2, s3, s4);
        __global float *d = dst + r * e5;
        long j = 0;
        for (; j + 16 <= e5; j += 16)
            vstore16(vload16(0, s + j), 0, d + j);
        for (; j < e5; j++)
            d[j] = s[j];
    }
}

__kernel ALONE void permute_items(__global const float *src, __global float *dst, long rows, long block, long e1, long e2, long e3, long e4,
                   long e5, long s0, long s1, long s2, long s3, long s4, long s5)
{
    const long r0 = get_group_id(0) * block, r1 = min(rows, r0 + block);
    for (long r = r0; r < r1; r++) {
        __global const float *s = src + row_source(r, e1, e2, e3, e4, s0, s1, s2, s3, s4);
        for (long j = 0; j < e5; j++)
            dst[r * e5 + j] = s[j * s5];
    }
}
