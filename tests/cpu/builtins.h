/* builtins.h: the OpenCL functions that kernels of cl/cpu call, as vector code that any clang compiles for any
 * CPU: only to look at the instructions (check.py), never to run. Appended to a dumped program. */
#undef fma
#pragma clang fp contract(fast)
#define OVER __attribute__((overloadable, always_inline))
#define FOR_WIDTHS(X) X(2) X(4) X(8) X(16)

#define FLOATS(n)                                                                                       \
    OVER float##n fma(float##n a, float##n b, float##n c) { return a * b + c; }                         \
    OVER float##n fabs(float##n a) { return as_float##n(as_int##n(a) & 0x7fffffff); }                   \
    OVER float##n fmax(float##n a, float##n b) { return a > b ? a : b; }                                \
    OVER float##n fmin(float##n a, float##n b) { return a < b ? a : b; }                                \
    OVER float##n clamp(float##n a, float lo, float hi) { return fmin(fmax(a, (float##n)lo), (float##n)hi); } \
    OVER float##n copysign(float##n a, float##n b)                                                      \
        { return as_float##n((as_int##n(a) & 0x7fffffff) | (as_int##n(b) & (int)0x80000000)); }         \
    OVER float##n select(float##n a, float##n b, int##n c) { return c < 0 ? b : a; }                    \
    OVER float##n sqrt(float##n a) { for (int i = 0; i < n; i++) a[i] = __builtin_sqrtf(a[i]); return a; } \
    OVER int##n max(int##n a, int##n b) { return a > b ? a : b; }                                       \
    OVER int##n min(int##n a, int##n b) { return a < b ? a : b; }                                       \
    OVER float##n convert_float##n(uint##n a) { return __builtin_convertvector(a, float##n); }          \
    OVER float##n convert_float##n(int##n a) { return __builtin_convertvector(a, float##n); }           \
    OVER uint##n convert_uint##n(ulong##n a) { return __builtin_convertvector(a, uint##n); }            \
    OVER int##n convert_int##n(float##n a) { return __builtin_convertvector(a, int##n); }               \
    OVER float##n vload##n(size_t i, const __global float *p)                                           \
        { typedef float unaligned __attribute__((ext_vector_type(n), aligned(4)));                      \
          return *(const __global unaligned *)(p + n * i); }                                            \
    OVER float##n vload##n(size_t i, const __local float *p)                                            \
        { typedef float unaligned __attribute__((ext_vector_type(n), aligned(4)));                      \
          return *(const __local unaligned *)(p + n * i); }                                             \
    OVER float##n vload##n(size_t i, const __private float *p)                                          \
        { typedef float unaligned __attribute__((ext_vector_type(n), aligned(4)));                      \
          return *(const __private unaligned *)(p + n * i); }                                           \
    OVER void vstore##n(float##n v, size_t i, __global float *p)                                        \
        { typedef float unaligned __attribute__((ext_vector_type(n), aligned(4)));                      \
          *(__global unaligned *)(p + n * i) = v; }                                                     \
    OVER void vstore##n(float##n v, size_t i, __local float *p)                                         \
        { typedef float unaligned __attribute__((ext_vector_type(n), aligned(4)));                      \
          *(__local unaligned *)(p + n * i) = v; }                                                      \
    OVER void vstore##n(float##n v, size_t i, __private float *p)                                       \
        { typedef float unaligned __attribute__((ext_vector_type(n), aligned(4)));                      \
          *(__private unaligned *)(p + n * i) = v; }
FOR_WIDTHS(FLOATS)

#undef fma
OVER float fma(float a, float b, float c) { return a * b + c; }
OVER float sqrt(float a) { return __builtin_sqrtf(a); }
OVER float fabs(float a) { return __builtin_fabsf(a); }
OVER float fmax(float a, float b) { return a > b ? a : b; }
OVER float fmin(float a, float b) { return a < b ? a : b; }
OVER int max(int a, int b) { return a > b ? a : b; }
OVER int min(int a, int b) { return a < b ? a : b; }
OVER long max(long a, long b) { return a > b ? a : b; }
OVER long min(long a, long b) { return a < b ? a : b; }
OVER int clamp(int a, int lo, int hi) { return min(max(a, lo), hi); }
OVER long clamp(long a, long lo, long hi) { return min(max(a, lo), hi); }
OVER float select(float a, float b, int c) { return c ? b : a; }
