/* entmax.cl: 1.5-entmax of rows and its gradient dx = s (g - sum(s g) / sum(s)), s = sqrt(p). An item takes
 * `block` rows; a row stays in L1. Bound by arithmetic there. */
#include "entmax.h"
#define ROWS(i) \
    const long last_ = min(rows, (long)(get_group_id(0) + 1) * block); \
    for (long i = get_group_id(0) * block; i < last_; i++)

kernel ALONE void entmax15(global const float *x, global float *y, long rows, long cols, long block)
{
    ROWS(i) {
        float16 m = -INFINITY;
        for (long j = 0; j < cols; j += 16)
            m = larger_16(m, load_16(x + i * cols + j, cols - j, -INFINITY));
        entmax_row(x + i * cols, y + i * cols, cols, max_16(m));
    }
}

kernel ALONE void entmax15_grad(global const float *y, global const float *g, global float *dx,
                                long rows, long cols, long block)
{
    ROWS(i) {
        global const float *p = y + i * cols, *q = g + i * cols;
        const float mean = entmax_mean(p, q, cols);
        for (long j = 0; j < cols; j += 16) {
            const long left = cols - j;
            const float16 root = sqrt(load_16(p + j, left, 0));
            store_16(root * (load_16(q + j, left, 0) - mean), dx + i * cols + j, left);
        }
    }
}
