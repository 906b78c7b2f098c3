/* reduce.cl: sums of the middle axis of (a r b). Group (., p, .) sums part p of r, `part` rows from p part.
 * Bound by memory. Order of a sum: 16 running sums along a row (sum_rows), rows in order (sum_columns).
 */
__kernel ALONE void sum_rows(__global const float *x, __global float *y, long a, long r, long b, long part,
                             long block)
{
    const long parts = get_num_groups(1), p = get_group_id(1), j0 = p * part, j1 = min(r, j0 + part);
    const long i0 = get_group_id(0) * block, i1 = min(a, i0 + block);
    for (long i = i0; i < i1; i++) {
        __global const float *row = x + i * r;
        float16 s = 0;
        for (long j = j0; j < j1; j += 16)
            s += load_16(row + j, j1 - j, 0);
        y[i * parts + p] = sum_16(s);
    }
}

__kernel ALONE void sum_columns(__global const float *x, __global float *y, long a, long r, long b, long part,
                                long block)
{
    const long parts = get_num_groups(1), p = get_group_id(1), j0 = p * part, j1 = min(r, j0 + part);
    const long c0 = get_group_id(0) * block, c1 = min(b, c0 + block);
    for (long i = get_group_id(2); i < a; i += get_num_groups(2))
        for (long c = c0; c < c1; c += 16) {
            const long left = c1 - c;
            float16 s = 0;
            for (long j = j0; j < j1; j++)
                s += load_16(x + (i * r + j) * b + c, left, 0);
            store_16(s, y + (i * parts + p) * b + c, left);
        }
}
