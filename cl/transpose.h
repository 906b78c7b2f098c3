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
#endif
