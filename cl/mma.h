/* mma.h (GPU only): matrix engines. LANES items that run in step hold, together, A (MM x MK), B (MK x MN) and
 * the sums C (MM x MN), and MMA adds A B to C. Sums are floats, values of type ELEMENT:
 *
 *     BF16, F16    in pairs along k: a word has the values of k = 2 pair (low) and 2 pair + 1; MK is 16
 *     TF32, F32    a word is a float, of k = pair; MK is 8. TF32: NVIDIA's, which reads 11 bits of it, so that
 *                  IN_ELEMENT rounds first; F32: AMD's, exact: two instructions for four k each
 *
 * In words the layouts are the same. Who holds what is the vendor's choice: of item `lane`
 *
 *     A: word w is of row A_ROW, pair A_PAIR         B: word w is of column B_COL, pair B_PAIR
 *     C: value i is of row C_ROW, column C_COL
 *
 *     float c[BLOCKS][C_VALUES] = { 0 };  uint a[A_WORDS], b[BLOCKS][B_WORDS];
 *     READ_A(a, rows_of_a, line, lane)           of local memory, `line` words apart, a multiple of 4
 *     READ_B(b[0], columns_of_b, line, lane)     of BLOCKS blocks of B, side by side
 *     MMA(c[0], a, b[0], scratch, id) ...
 *
 * NVIDIA reads squares of 8 lines x 4 words: item `lane` says where line lane % 8 of square lane / 8 begins
 * (SQUARE_A, SQUARE_B), and gets word lane % 4 of line lane / 4 of each.
 *
 * EMULATED (JETCL_FAKE on another device): the same by way of local memory, `scratch` of SCRATCH words an
 * item. It finds words by tables of its own, from row or column and pair to lane and word, written down
 * from the vendors' manuals apart from those above, so that a wrong one of either shows. Then MMA has
 * barriers, and stands in uniform flow. */
#ifndef MMA_H
#define MMA_H
#define MMA_SYNC 1                            // NVIDIA from compute capability 8: PTX ISA, mma.m16n8k16, k8
#define MFMA     2                            // AMD CDNA from gfx90a: v_mfma_f32_16x16x16, 16x16x4
#define WMMA     3                            // AMD RDNA 3: v_wmma_f32_16x16x16
#define DPAS     4                            // Intel, sub-groups of 8: intel_sub_group_*_matrix_mad_k16
#include "unroll.h"
#ifndef ENGINE
#define ENGINE MMA_SYNC
#define EMULATED
#endif
#ifndef ELEMENT
#define ELEMENT BF16                          // for an editor
#endif
#define MMA_BF16 1
#define MMA_F16  2
#define MMA_TF32 3
#define MMA_F32  4
#define IS(T)    (JOIN(MMA_, ELEMENT) == JOIN(MMA_, T))
#define PER      (IS(BF16) || IS(F16) ? 2 : 1)  // values of a word
#define WORDS    8                            // of k
#define MK       (PER * WORDS)

#if ENGINE == MMA_SYNC
#define LANES 32
#define MM 16
#define MN 8
#define A_WORDS 4
#define B_WORDS 2
#define C_VALUES 4
#define BLOCKS 2                              // two of its squares are half an instruction
#define SQUARE_A(lane, line) (((lane) % 16) * (line) + (lane) / 16 * 4)
#define SQUARE_B(lane, line) (((lane) / 16 * 8 + (lane) % 8) * (line) + (lane) / 8 % 2 * 4)
#define C_ROW(lane, i)  ((lane) / 4 + 8 * ((i) / 2))
#define C_COL(lane, i)  ((lane) % 4 * 2 + (i) % 2)
#elif ENGINE == MFMA
#define LANES 64
#define MM 16
#define MN 16
#define A_WORDS 2
#define B_WORDS 2
#define C_VALUES 4
#define A_ROW(lane, w)  ((lane) % 16)
#define A_PAIR(lane, w) ((lane) / 16 * 2 + (w))
#define B_COL(lane, w)  A_ROW(lane, w)
#define B_PAIR(lane, w) A_PAIR(lane, w)
#define C_ROW(lane, i)  ((lane) / 16 * 4 + (i))
#define C_COL(lane, i)  ((lane) % 16)
#elif ENGINE == WMMA
#define LANES 32                              // items 16 to 31 hold the same rows and columns once more
#define MM 16
#define MN 16
#define A_WORDS 8
#define B_WORDS 8
#define C_VALUES 8
#define A_ROW(lane, w)  ((lane) % 16)
#define A_PAIR(lane, w) (w)
#define B_COL(lane, w)  A_ROW(lane, w)
#define B_PAIR(lane, w) (w)
#define C_ROW(lane, i)  (2 * (i) + (lane) / 16)
#define C_COL(lane, i)  ((lane) % 16)
#elif ENGINE == DPAS
#define LANES 8
#define MM 8
#define MN 8
#define A_WORDS 8
#define B_WORDS 8
#define C_VALUES 8
#define A_ROW(lane, w)  (w)
#define A_PAIR(lane, w) (lane)
#define B_COL(lane, w)  (lane)
#define B_PAIR(lane, w) (w)
#define C_ROW(lane, i)  (i)
#define C_COL(lane, i)  (lane)
#endif

#ifndef BLOCKS
#define BLOCKS 1
#endif
#if ENGINE == DPAS
/* A where lines are of pairs, `line` words from one to the next: fours of rows. */
#define A_BY_PAIRS
#define READ_A_PAIRS(a, lines, line, lane)                                                                \
    vstore4(vload4(0, (lines) + (lane) * (line)), 0, a);                                                  \
    vstore4(vload4(1, (lines) + (lane) * (line)), 1, a);
#endif
#ifndef SQUARE_A
#define READ_A(a, lines, line, lane)                                                                      \
    EACH(w_, A_WORDS) (a)[w_] = (lines)[A_ROW(lane, w_) * (line) + A_PAIR(lane, w_)];
#define READ_B(b, lines, line, lane)                                                                      \
    EACH(w_, BLOCKS * B_WORDS)                                                                            \
        (b)[w_] = (lines)[(w_ / B_WORDS * MN + B_COL(lane, w_ % B_WORDS)) * (line)                        \
                          + B_PAIR(lane, w_ % B_WORDS)];
#elif defined EMULATED
#define READ_SQUARES(to, lines, line, lane, square)                                                       \
    EACH(w_, 4) (to)[w_] = (lines)[square(8 * w_ + (lane) / 4, line) + (lane) % 4];
#define READ_A(a, lines, line, lane) READ_SQUARES(a, lines, line, lane, SQUARE_A)
#define READ_B(b, lines, line, lane) READ_SQUARES(b, lines, line, lane, SQUARE_B)
#else
static inline void read_squares(uint *to, local const uint *line)
{
    __asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                   : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"((uint)(size_t)line) : "memory");
}
#define READ_A(a, lines, line, lane) read_squares(a, (lines) + SQUARE_A(lane, line));
#define READ_B(b, lines, line, lane) read_squares(b, (lines) + SQUARE_B(lane, line));
#endif

/* Four floats as the engine's. TF32: to nearest, ties away from 0, as NVIDIA's instruction rounds. */
#if IS(F32)
#define IN_ELEMENT(v) as_uint4(v)
#elif IS(TF32) && defined EMULATED
static uint4 rounded_tf32(const float4 x)
{
    const uint4 u = as_uint4(x);
    return select((u + 0x1000) & 0xffffe000, u | 0x400000, as_uint4(isnan(x)));
}
#define IN_ELEMENT(v) rounded_tf32(v)
#elif IS(TF32)
static inline uint rounded_1_tf32(const float x)
{
    uint y;
    __asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(y) : "f"(x));
    return y;
}
#define IN_ELEMENT(v)                                                                                     \
    (uint4)(rounded_1_tf32((v).x), rounded_1_tf32((v).y), rounded_1_tf32((v).z), rounded_1_tf32((v).w))
#endif

#ifdef EMULATED
#include "quad.h"
/* Where (row of A, pair) and (column of B, pair) are: lane * words + word. WMMA: from either copy. */
#if ENGINE == MMA_SYNC
#define A_PLACE(row, pair) (((row) % 8 * 4 + (pair) % 4) * 4 + (row) / 8 + (pair) / 4 * 2)
#define B_PLACE(col, pair) (((col) * 4 + (pair) % 4) * 2 + (pair) / 4)
#define SUM_ROW(lane, i)   ((i) < 2 ? (lane) >> 2 : ((lane) >> 2) + 8)
#define SUM_COL(lane, i)   (2 * ((lane) & 3) + ((i) & 1))
#elif ENGINE == MFMA
#define A_PLACE(row, pair) (((pair) / 2 * 16 + (row)) * 2 + (pair) % 2)
#define B_PLACE(col, pair) A_PLACE(col, pair)
#define SUM_ROW(lane, i)   (4 * ((lane) >> 4) + (i))
#define SUM_COL(lane, i)   ((lane) & 15)
#elif ENGINE == WMMA
#define A_PLACE(row, pair) (((pair) % 2 * 16 + (row)) * 8 + (pair))
#define B_PLACE(col, pair) A_PLACE(col, pair)
#define SUM_ROW(lane, i)   ((i) * 2 + ((lane) >= 16))
#define SUM_COL(lane, i)   ((lane) & 15)
#elif ENGINE == DPAS
#define A_PLACE(row, pair) ((pair) * 8 + (row))
#define B_PLACE(col, pair) ((col) * 8 + (pair))
#define SUM_ROW(lane, i)   (i)
#define SUM_COL(lane, i)   (lane)
#endif
#define SCRATCH (A_WORDS + B_WORDS)

#if IS(F32)
#define value_of(word, k) as_float(word)
#elif IS(TF32)
#define value_of(word, k) as_float((word) & 0xffffe000)
#else
static float value_of(const uint word, const int k)
{
    const ushort h = word >> 16 * (k % 2);
    return JOIN(widened_4_, ELEMENT)((ushort4)(h)).x;
}
#endif

static void emulate(float *c, local const uint *as, local const uint *bs, const int lane)
{
    #pragma unroll 1
    for (int i = 0; i < C_VALUES; i++)
        #pragma unroll 1
        for (int k = 0; k < MK; k++) {
            const uint a = as[A_PLACE(SUM_ROW(lane, i), k / PER)], b = bs[B_PLACE(SUM_COL(lane, i), k / PER)];
            c[i] += value_of(a, k) * value_of(b, k);
        }
}

#define MMA(c, a, b, scratch, id)                                                                         \
    {                                                                                                     \
        local uint *as_ = (scratch) + (id) / LANES * (LANES * SCRATCH), *bs_ = as_ + LANES * A_WORDS;     \
        barrier(CLK_LOCAL_MEM_FENCE);                                                                     \
        for (int w_ = 0; w_ < A_WORDS; w_++)                                                              \
            as_[(id) % LANES * A_WORDS + w_] = (a)[w_];                                                   \
        for (int w_ = 0; w_ < B_WORDS; w_++)                                                              \
            bs_[(id) % LANES * B_WORDS + w_] = (b)[w_];                                                   \
        barrier(CLK_LOCAL_MEM_FENCE);                                                                     \
        emulate(c, as_, bs_, (id) % LANES);                                                               \
    }
#define IN_STEP

#else
#define SCRATCH 0
#define MMA(c, a, b, scratch, id) mma(c, a, b);
#define WORDS_8(x) (x)[0], (x)[1], (x)[2], (x)[3], (x)[4], (x)[5], (x)[6], (x)[7]
#define IN_STEP

#if ENGINE == MMA_SYNC
#if IS(TF32)
#define MMA_NAME "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32"
#elif IS(BF16)
#define MMA_NAME "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32"
#else
#define MMA_NAME "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32"
#endif
static inline void mma(float *c, const uint *a, const uint *b)
{
    __asm volatile(MMA_NAME " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                   : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                   : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
#else
#if IS(F16)
#pragma OPENCL EXTENSION cl_khr_fp16 : enable
#endif
#if ENGINE == MFMA
static inline void mma(float *c, const uint *a, const uint *b)
{
    const uint2 x = (uint2)(a[0], a[1]), y = (uint2)(b[0], b[1]);
    const float4 s = vload4(0, c);
#if IS(F32)
    const float4 half_way = __builtin_amdgcn_mfma_f32_16x16x4f32(as_float(a[0]), as_float(b[0]), s, 0, 0, 0);
    vstore4(__builtin_amdgcn_mfma_f32_16x16x4f32(as_float(a[1]), as_float(b[1]), half_way, 0, 0, 0), 0, c);
#elif IS(BF16)
    vstore4(__builtin_amdgcn_mfma_f32_16x16x16bf16_1k(as_short4(x), as_short4(y), s, 0, 0, 0), 0, c);
#else
    vstore4(__builtin_amdgcn_mfma_f32_16x16x16f16(as_half4(x), as_half4(y), s, 0, 0, 0), 0, c);
#endif
}
#elif ENGINE == WMMA
static inline void mma(float *c, const uint *a, const uint *b)
{
    const uint8 x = (uint8)(WORDS_8(a)), y = (uint8)(WORDS_8(b));
    const float8 s = vload8(0, c);
#if IS(BF16)
    vstore8(__builtin_amdgcn_wmma_f32_16x16x16_bf16_w32(as_short16(x), as_short16(y), s), 0, c);
#else
    vstore8(__builtin_amdgcn_wmma_f32_16x16x16_f16_w32(as_half16(x), as_half16(y), s), 0, c);
#endif
}
#elif ENGINE == DPAS
#undef IN_STEP
#define IN_STEP __attribute__((intel_reqd_sub_group_size(8)))
static inline void mma(float *c, const uint *a, const uint *b)
{
    const int8 x = as_int8((uint8)(WORDS_8(a))), y = as_int8((uint8)(WORDS_8(b)));
    const float8 s = vload8(0, c);
#if IS(BF16)
    vstore8(intel_sub_group_bf16_bf16_matrix_mad_k16(x, y, s), 0, c);
#else
    vstore8(intel_sub_group_f16_f16_matrix_mad_k16(x, y, s), 0, c);
#endif
}
#endif
#endif
#endif
#endif
