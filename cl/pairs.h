/* pairs.h: what the kernels of pairs.cl share. */
#ifndef PAIRS_H
#define PAIRS_H
#define STRIP 64

/* to[0..n) += x */
static inline void count_up(uint16 x, global uint *to, long n)
{
    uint v[16];
    if (n >= 16) {
        vstore16(vload16(0, to) + x, 0, to);
        return;
    }
    vstore16(x, 0, v);
    for (int k = 0; k < n; k++)
        to[k] += v[k];
}
#endif
