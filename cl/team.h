/* team.h (GPU only): groups of TEAM x TEAMS items, for the kernels of cl/gpu: a team of TEAM neighbouring items
 * works on one row, so that what they read is one run of memory. Sums and maxima of a team are trees, in local
 * memory and, where the compiler has them, sub-groups: a fixed order, the same either way.
 *
 *     lanes      0 1 2 .. TEAM-1 | TEAM .. 2 TEAM-1 | ..       every item of the group must come by: there
 *                   team 0       |      team 1      |          are barriers in team_sum, team_sum2, team_max
 */
#ifndef TEAM_H
#define TEAM_H

#ifndef TEAM
#define TEAM  64
#define TEAMS 4
#endif
#define ITEMS (TEAM * TEAMS)
#define GROUP __attribute__((reqd_work_group_size(ITEMS, 1, 1)))
#define SHELF local float2 shelf[ITEMS]

/* What items of a sub-group exchange without memory or barriers: SWAP(x, far) is the x of item `me
 * ^ far`, for far below SUBGROUP, as each vendor says it. SUBGROUP 1: there are none. The sums'
 * order is the same with and without. */
#if defined(EMULATE_SUBGROUP)                     // by memory, so that CPUs run this path
#define SUBGROUP EMULATE_SUBGROUP
#define SWAP(x, far) team_swap(shelf, x, far)
static inline float team_swap(local float2 *shelf, float x, int far)
{
    const int me = get_local_id(0);
    shelf[me].x = x;
    barrier(CLK_LOCAL_MEM_FENCE);
    const float y = shelf[me ^ far].x;
    barrier(CLK_LOCAL_MEM_FENCE);
    return y;
}
#elif defined(__NV_CL_C_VERSION) || defined(__NVPTX__)
#define SUBGROUP 32
#define SWAP(x, far) warp_swap(x, far)
static inline float warp_swap(float x, int far)
{
    float y;
    __asm volatile("shfl.sync.bfly.b32 %0, %1, %2, 31, -1;" : "=f"(y) : "f"(x), "r"(far));
    return y;
}
#elif defined(__AMDGCN__)                         // waves of 64 on RDNA exchange within their halves
#define SUBGROUP 32
#define SWAP(x, far) as_float(__builtin_amdgcn_ds_bpermute((get_local_id(0) ^ (far)) << 2, as_int(x)))
#elif defined(cl_intel_subgroups) && defined(cl_intel_required_subgroup_size)
#pragma OPENCL EXTENSION cl_intel_subgroups : enable
#define SUBGROUP 16
#define SWAP(x, far) intel_sub_group_shuffle_xor(x, far)
#undef GROUP
#define GROUP __attribute__((reqd_work_group_size(ITEMS, 1, 1))) \
               __attribute__((intel_reqd_sub_group_size(SUBGROUP)))
#else
#define SUBGROUP 1
#define SWAP(x, far) (x)
#endif
#define SWAP2(x, far) ((float2)(SWAP((x).x, far), SWAP((x).y, far)))

/* step(a, b) over `team` neighbours, a power of two: halves in local memory until they fit a sub-group. Each
 * item holds the result then, the same bits: step is commutative. */
#define TEAM_TREE(type, part, step, swap)                                                   \
    const int me = get_local_id(0);                                                         \
    int far = team / 2;                                                                     \
    for (; far >= SUBGROUP; far /= 2) {                                                     \
        shelf[me] part = x;                                                                 \
        barrier(CLK_LOCAL_MEM_FENCE);                                                       \
        const type other = shelf[me ^ far] part;                                            \
        barrier(CLK_LOCAL_MEM_FENCE);                                                       \
        x = step(x, other);                                                                 \
    }                                                                                       \
    for (; far > 0; far /= 2)                                                               \
        x = step(x, swap(x, far));                                                          \
    return x;
#define TEAM_ADD(a, b) ((a) + (b))

static inline float team_sum(local float2 *shelf, int team, float x)
{
    TEAM_TREE(float, .x, TEAM_ADD, SWAP)
}

static inline float2 team_sum2(local float2 *shelf, int team, float2 x)
{
    TEAM_TREE(float2, , TEAM_ADD, SWAP2)
}

static inline float team_max(local float2 *shelf, int team, float x)
{
    TEAM_TREE(float, .x, fmax, SWAP)
}

/* A row for each team: row i of n values; a team beyond the last has none (n = 0), and comes by all barriers
 * like the others. The grid has a group for every TEAMS rows. */
#define TEAM_ROW(rows, cols)                                                                    \
    SHELF;                                                                                      \
    const long i = (long)get_group_id(0) * TEAMS + get_local_id(0) / TEAM, n = i < (rows) ? (cols) : 0
#define LANE ((long)get_local_id(0) & (TEAM - 1))
#define MINE(j, n) for (long j = LANE; j < (n); j += TEAM)

/* ---- columns of an array (a r b): a group takes `block` columns of one a, several items for each ------- */

/* This item's column begins at `base`; it takes rows down, down + step, .. Beyond the last there are none. */
#define TILE(r, b, block)                                                                                 \
    SHELF;                                                                                                \
    const int cols = block, me = get_local_id(0), across = me % cols, down = me / cols;                   \
    const int step = ITEMS / cols;                                                                        \
    const long groups = ((b) + cols - 1) / cols, c = get_group_id(0) % groups * cols + across;            \
    const long rows = c < (b) ? (r) : 0, base = get_group_id(0) / groups * (r) * (b) + c
#endif
