/* builtins.h: the built-in functions that kernels call, put before them where the driver reads a far longer
 * header else (core/dev/program.c). Of each scalar function every type is here: a call must not convert its
 * operands because the right one is missing. What is not here is found missing by the compiler.
 */
#define BUILTIN   __attribute__((overloadable))
#define BUILTIN_0 __attribute__((overloadable, const))
#define BUILTIN_R __attribute__((overloadable, pure))
#define BUILTIN_C __attribute__((overloadable, convergent))

#define EACH_SIGNED(M)   M(char) M(short) M(int) M(long)
#define EACH_INTEGER(M)  EACH_SIGNED(M) M(uchar) M(ushort) M(uint) M(ulong)
#define EACH_TYPE(M)     EACH_INTEGER(M) M(float)
#define EACH_WIDTH(M, ...) \
    M(, __VA_ARGS__) M(2, __VA_ARGS__) M(3, __VA_ARGS__) M(4, __VA_ARGS__) M(8, __VA_ARGS__) M(16, __VA_ARGS__)
#define EACH_VECTOR(M, ...) \
    M(2, __VA_ARGS__) M(3, __VA_ARGS__) M(4, __VA_ARGS__) M(8, __VA_ARGS__) M(16, __VA_ARGS__)

/* ---- work-items ---------------------------------------------------------------------------------------- */

uint   BUILTIN_0 get_work_dim(void);
size_t BUILTIN_0 get_global_size(uint);
size_t BUILTIN_0 get_global_id(uint);
size_t BUILTIN_0 get_local_size(uint);
size_t BUILTIN_0 get_local_id(uint);
size_t BUILTIN_0 get_num_groups(uint);
size_t BUILTIN_0 get_group_id(uint);
size_t BUILTIN_0 get_global_offset(uint);
void   BUILTIN_C barrier(cl_mem_fence_flags);
void   BUILTIN   mem_fence(cl_mem_fence_flags);
void   BUILTIN   read_mem_fence(cl_mem_fence_flags);
void   BUILTIN   write_mem_fence(cl_mem_fence_flags);

/* ---- mathematics, in float ----------------------------------------------------------------------------- */

#define MATH_1(n, f)   float##n BUILTIN_0 f(float##n);
#define MATH_2(n, f)   float##n BUILTIN_0 f(float##n, float##n);
#define MATH_2S(n, f)  MATH_2(n, f)
#define MATH_3(n, f)   float##n BUILTIN_0 f(float##n, float##n, float##n);
#define TEST_1(n, f)   int##n BUILTIN_0 f(float##n);
#define SCALAR_2(n, f) float##n BUILTIN_0 f(float##n, float);
EACH_WIDTH(MATH_1, acos) EACH_WIDTH(MATH_1, asin) EACH_WIDTH(MATH_1, atan) EACH_WIDTH(MATH_1, ceil)
EACH_WIDTH(MATH_1, cos)  EACH_WIDTH(MATH_1, cosh) EACH_WIDTH(MATH_1, erf)  EACH_WIDTH(MATH_1, erfc)
EACH_WIDTH(MATH_1, exp)  EACH_WIDTH(MATH_1, exp2) EACH_WIDTH(MATH_1, expm1) EACH_WIDTH(MATH_1, fabs)
EACH_WIDTH(MATH_1, floor) EACH_WIDTH(MATH_1, log) EACH_WIDTH(MATH_1, log10) EACH_WIDTH(MATH_1, log1p)
EACH_WIDTH(MATH_1, log2) EACH_WIDTH(MATH_1, rint) EACH_WIDTH(MATH_1, round) EACH_WIDTH(MATH_1, rsqrt)
EACH_WIDTH(MATH_1, sign) EACH_WIDTH(MATH_1, sin)  EACH_WIDTH(MATH_1, sinh) EACH_WIDTH(MATH_1, sqrt)
EACH_WIDTH(MATH_1, tan)  EACH_WIDTH(MATH_1, tanh) EACH_WIDTH(MATH_1, trunc)
EACH_WIDTH(MATH_2, copysign) EACH_WIDTH(MATH_2, fmod) EACH_WIDTH(MATH_2, pow)
EACH_WIDTH(MATH_2, fmax) EACH_VECTOR(SCALAR_2, fmax) EACH_WIDTH(MATH_2, fmin) EACH_VECTOR(SCALAR_2, fmin)
EACH_WIDTH(MATH_3, fma)  EACH_WIDTH(MATH_3, mad)
EACH_WIDTH(TEST_1, isnan) EACH_WIDTH(TEST_1, isinf) EACH_WIDTH(TEST_1, isfinite)

/* ---- of every type ------------------------------------------------------------------------------------- */

#define LARGER(n, t) \
    t##n BUILTIN_0 max(t##n, t##n); \
    t##n BUILTIN_0 min(t##n, t##n); \
    t##n BUILTIN_0 clamp(t##n, t##n, t##n);
#define LARGER_S(n, t) \
    t##n BUILTIN_0 max(t##n, t); \
    t##n BUILTIN_0 min(t##n, t); \
    t##n BUILTIN_0 clamp(t##n, t, t);
#define LARGER_EACH(t) EACH_WIDTH(LARGER, t) EACH_VECTOR(LARGER_S, t)
EACH_TYPE(LARGER_EACH)

#define PICKED(n, t) t##n BUILTIN_0 bitselect(t##n, t##n, t##n);
#define PICKED_EACH(t) EACH_WIDTH(PICKED, t)
EACH_TYPE(PICKED_EACH)

#define BITS(n, t) \
    t##n BUILTIN_0 mul_hi(t##n, t##n); \
    t##n BUILTIN_0 popcount(t##n);
#define BITS_EACH(t) EACH_WIDTH(BITS, t)
EACH_INTEGER(BITS_EACH)

#define TRUTH(n, t) int BUILTIN_0 any(t##n); int BUILTIN_0 all(t##n);
#define TRUTH_EACH(t) EACH_WIDTH(TRUTH, t)
EACH_SIGNED(TRUTH_EACH)

#define CHOICE(n, t, m) \
    t##n BUILTIN_0 select(t##n, t##n, m##n); \
    t##n BUILTIN_0 select(t##n, t##n, u##m##n);
#define CHOICE_2(t, u, m) EACH_WIDTH(CHOICE, t, m) EACH_WIDTH(CHOICE, u, m)
CHOICE_2(char, uchar, char) CHOICE_2(short, ushort, short) CHOICE_2(int, uint, int) CHOICE_2(long, ulong, long)
EACH_WIDTH(CHOICE, float, int)

#define CONVERT(n, from, to) to##n BUILTIN_0 convert_##to##n(from##n);
#define CONVERT_EACH(t) \
    EACH_WIDTH(CONVERT, t, float) EACH_WIDTH(CONVERT, t, int) EACH_WIDTH(CONVERT, t, uint) \
    EACH_WIDTH(CONVERT, t, ushort)
EACH_TYPE(CONVERT_EACH)

/* ---- memory -------------------------------------------------------------------------------------------- */

#define LOAD_FROM(n, space, t)  t##n BUILTIN_R vload##n(size_t, const space t *);
#define STORE_TO(n, space, t)   void BUILTIN vstore##n(t##n, size_t, space t *);
#define MEMORY_EACH(t) \
    EACH_VECTOR(LOAD_FROM, global, t) EACH_VECTOR(LOAD_FROM, local, t)     \
    EACH_VECTOR(LOAD_FROM, private, t) EACH_VECTOR(LOAD_FROM, constant, t)     \
    EACH_VECTOR(STORE_TO, global, t) EACH_VECTOR(STORE_TO, local, t) EACH_VECTOR(STORE_TO, private, t)
EACH_TYPE(MEMORY_EACH)

#define LOAD_HALF(n, space)  float##n BUILTIN_R vload_half##n(size_t, const space half *);
#define STORE_HALF(n, space) \
    void BUILTIN vstore_half##n(float##n, size_t, space half *); \
    void BUILTIN vstore_half##n##_rte(float##n, size_t, space half *);
EACH_WIDTH(LOAD_HALF, global) EACH_WIDTH(LOAD_HALF, local) EACH_WIDTH(LOAD_HALF, private)
EACH_WIDTH(STORE_HALF, global) EACH_WIDTH(STORE_HALF, local) EACH_WIDTH(STORE_HALF, private)

#define PREFETCH(n, t) void BUILTIN prefetch(const global t##n *, size_t);
#define PREFETCH_EACH(t) EACH_WIDTH(PREFETCH, t)
EACH_TYPE(PREFETCH_EACH)

#define ATOMIC_IN(t, space) \
    t BUILTIN atomic_add(volatile space t *, t); \
    t BUILTIN atomic_sub(volatile space t *, t); \
    t BUILTIN atomic_inc(volatile space t *); \
    t BUILTIN atomic_dec(volatile space t *); \
    t BUILTIN atomic_xchg(volatile space t *, t); \
    t BUILTIN atomic_cmpxchg(volatile space t *, t, t); \
    t BUILTIN atomic_min(volatile space t *, t); \
    t BUILTIN atomic_max(volatile space t *, t); \
    t BUILTIN atomic_and(volatile space t *, t); \
    t BUILTIN atomic_or(volatile space t *, t);
ATOMIC_IN(int, global) ATOMIC_IN(int, local) ATOMIC_IN(uint, global) ATOMIC_IN(uint, local)
