/* unroll.h (GPU only): loops over an item's own arrays, which must be unrolled for those to stay in
 * registers. UNROLL=1, where compiling takes longer than running (CPUs, in tests), leaves them as
 * they are; the bits are the same. */
#ifndef UNROLL
#define UNROLL 8
#endif
#if UNROLL == 1
#define EACH(t, n) _Pragma("unroll 1") for (int t = 0; t < (n); t++)
#else
#define EACH(t, n) _Pragma("unroll") for (int t = 0; t < (n); t++)
#endif
