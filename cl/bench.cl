/* bench.cl: the most a device can do, for `jetcl bench` to hold kernels against. WG items a group (1 on
 * CPUs), each with vectors of LANES floats.
 *
 *   fma_chain    ten independent chains of fused multiply-adds per item, in registers: ten hide an fma's
 *                latency, and ten accumulators fit any register file
 *   stream       y = x; a group copies `chunk` values, neighbouring items neighbouring vectors
 */
#ifndef WG
#define WG    1
#define LANES 16
#endif
#define vec  JOIN(float, LANES)
#define GROUP __attribute__((reqd_work_group_size(WG, 1, 1)))
#define CHAINS(F) F(0) F(1) F(2) F(3) F(4) F(5) F(6) F(7) F(8) F(9)

kernel GROUP void fma_chain(global float *out, int rounds, float m, float c)
{
    const int i = get_global_id(0);
#define START(k) vec a##k = (vec)((float)(i + k));
#define STEP(k)  a##k = fma(a##k, (vec)m, (vec)c);
#define SUM(k)   + a##k
    CHAINS(START)
    for (int r = 0; r < rounds; r++) {
        CHAINS(STEP)
    }
    const vec sum = CHAINS(SUM);
    out[i] = sum.s0 + sum.s1 + sum.s2 + sum.s3;
}

kernel GROUP void stream(global const float *x, global float *y, long chunk)
{
    const long j0 = get_group_id(0) * chunk;
    for (long j = j0 + get_local_id(0) * LANES; j < j0 + chunk; j += WG * LANES)
#if LANES == 16
        store_16(load_16(x + j, 16, 0), y + j, 16);
#else
        JOIN(vstore, LANES)(JOIN(vload, LANES)(0, x + j), 0, y + j);
#endif
}
