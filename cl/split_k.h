/* split_k.h (GPU only): what products on GPUs (gpu/matmul.cl, gpu/matrix.cl) have in common: which piece of the
 * work a group has, and the sums of A's columns, which are joined over splits of k as C is. Before it: TM, TN,
 * ITEMS, and whether A and B are stored transposed, TA and TB. */
#ifndef SPLIT_K_H
#define SPLIT_K_H

/* A group's piece: of matrix z the tile of C at (m0, n0), over [k0, k1) of k. left: rows and columns of C from
 * there on. tile: its number among all tiles, of `tiles`. */
struct piece { int z, split, m0, n0, k0, k1, left_m, left_n, tile, tiles; };

static struct piece piece_here(const int batches, const int share, const long4 size)
{
    struct piece p;
    p.z = get_group_id(2) % batches, p.split = get_group_id(2) / batches;
    p.m0 = get_group_id(0) * TM, p.n0 = get_group_id(1) * TN;
    p.k0 = p.split * share, p.k1 = min(p.k0 + share, (int)size.z);
    p.left_m = (int)size.x - p.m0, p.left_n = (int)size.y - p.n0;
    p.tile = (p.z * (int)get_num_groups(1) + (int)get_group_id(1)) * (int)get_num_groups(0)
             + (int)get_group_id(0);
    p.tiles = batches * (int)get_num_groups(1) * (int)get_num_groups(0);
    return p;
}

/* Does no access of four values across k reach over the edge? */
static bool piece_is_whole(const struct piece p)
{
    return (!TA || p.left_m >= TM || p.left_m % 4 == 0) && (TB || p.left_n >= TN || p.left_n % 4 == 0);
}

/* A column's sum of a step lies in `lines` lines of local memory, `line` floats apart: to[i], i < n. */
static void sum_lines(local const float *columns, const int lines, const int line, volatile global float *to,
                      const int n, const int id)
{
    for (int i = id; i < n; i += ITEMS) {
        float s = 0;
        for (int p = 0; p < lines; p++)
            s += columns[p * line + i];
        to[i] = s;
    }
}

/* to[i] = the sum over splits, in order, of what each wrote. */
static void sum_splits(volatile global const float *sums, const int splits, global float *to, const int n,
                       const int id)
{
    for (int i = id; i < n; i += ITEMS) {
        float s = 0;
        for (int p = 0; p < splits; p++)
            s += sums[p * TM + i];
        to[i] = s;
    }
}
#endif
