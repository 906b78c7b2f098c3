/* transpose.h: 16 x 16 values transposed in registers: each step interleaves rows i and i + 8 into rows 2i
 * and 2i + 1; after four steps rows are columns.
 *
 *     #define LOAD(i)  float16 x##i = vload16(0, from + i * row), y##i;
 *     #define STORE(i) vstore16(x##i, 0, to + i * row);
 *     SIXTEEN(LOAD) TRANSPOSE(x, y) SIXTEEN(STORE)
 */
#ifndef TRANSPOSE_H
#define TRANSPOSE_H
#define SIXTEEN(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)
#define TRANSPOSE_ZIP(x, y, i, j, p, q) \
    y##p.even = x##i.lo; y##p.odd = x##j.lo; y##q.even = x##i.hi; y##q.odd = x##j.hi;
#define TRANSPOSE_STEP(x, y) \
    TRANSPOSE_ZIP(x, y, 0, 8, 0, 1)   TRANSPOSE_ZIP(x, y, 1, 9, 2, 3) \
    TRANSPOSE_ZIP(x, y, 2, 10, 4, 5)  TRANSPOSE_ZIP(x, y, 3, 11, 6, 7) \
    TRANSPOSE_ZIP(x, y, 4, 12, 8, 9)  TRANSPOSE_ZIP(x, y, 5, 13, 10, 11) \
    TRANSPOSE_ZIP(x, y, 6, 14, 12, 13) TRANSPOSE_ZIP(x, y, 7, 15, 14, 15)
#define TRANSPOSE(x, y) TRANSPOSE_STEP(x, y) TRANSPOSE_STEP(y, x) TRANSPOSE_STEP(x, y) TRANSPOSE_STEP(y, x)

/* 8 x 8, for registers that sixteen rows do not fit: pairs within each half of a vector, then pairs of pairs,
 * then halves; one instruction for each of the 24 results where a vector is a register. a0.. a7 -> b0.. b7 */
#define EIGHT(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)
#define TRANSPOSE_PAIR(a, i, j, p, q) \
    const float8 p = (float8)(a##i.s0, a##j.s0, a##i.s1, a##j.s1, a##i.s4, a##j.s4, a##i.s5, a##j.s5); \
    const float8 q = (float8)(a##i.s2, a##j.s2, a##i.s3, a##j.s3, a##i.s6, a##j.s6, a##i.s7, a##j.s7);
#define TRANSPOSE_FOUR(p, q, u, v) \
    const float8 u = (float8)(p.s01, q.s01, p.s45, q.s45), v = (float8)(p.s23, q.s23, p.s67, q.s67);
#define TRANSPOSE_HALF(u, v, i, j) b##i = (float8)(u.lo, v.lo); b##j = (float8)(u.hi, v.hi);
#define TRANSPOSE_8(a) \
    TRANSPOSE_PAIR(a, 0, 1, p0, q0) TRANSPOSE_PAIR(a, 2, 3, p2, q2) \
    TRANSPOSE_FOUR(p0, p2, u0, u1) TRANSPOSE_FOUR(q0, q2, u2, u3) \
    TRANSPOSE_PAIR(a, 4, 5, p4, q4) TRANSPOSE_PAIR(a, 6, 7, p6, q6) \
    TRANSPOSE_FOUR(p4, p6, u4, u5) TRANSPOSE_FOUR(q4, q6, u6, u7) \
    float8 b0, b1, b2, b3, b4, b5, b6, b7; \
    TRANSPOSE_HALF(u0, u4, 0, 4) TRANSPOSE_HALF(u1, u5, 1, 5) \
    TRANSPOSE_HALF(u2, u6, 2, 6) TRANSPOSE_HALF(u3, u7, 3, 7)
#endif
