/* join.h (GPU only): groups of one launch add up what all of them have computed: each writes its part, counts
 * itself, and the one that comes last reads all parts in order. So the bits do not depend on which one that is,
 * and no second launch is needed. Parts are read and written as volatile.
 *
 * What other groups wrote before they counted must be seen after. OpenCL C 1.2 has no word for it:
 * dev_info.joins says where it was seen to hold (joins.cl). Fences of the whole device: AMD's and NVIDIA's by
 * their own names; Intel's mem_fence() is one too (a send to fence.ugm.invalidate.tile). */
#ifndef JOIN_H
#define JOIN_H
#if defined(__has_builtin)
#if __has_builtin(__builtin_amdgcn_fence)
#define FENCE __builtin_amdgcn_fence(__ATOMIC_SEQ_CST, "agent")
#endif
#endif
#if !defined(FENCE) && (defined(__NV_CL_C_VERSION) || defined(__NVPTX__))
#define FENCE __asm volatile("membar.gl;" ::: "memory")
#endif
#ifndef FENCE
#define FENCE mem_fence(CLK_GLOBAL_MEM_FENCE)
#endif

/* Is this group the last of `splits` to come by? The same for all of its items. Where there is one only, it is:
 * barriers stand in no branch. */
static int last_to_come(volatile global int *counter, const int splits, local int *shared, const int id)
{
    FENCE;
    barrier(CLK_GLOBAL_MEM_FENCE | CLK_LOCAL_MEM_FENCE);
    if (id == 0) {
        const int before = splits > 1 ? atomic_inc(counter) : 0;
        if (splits > 1 && before == splits - 1)
            *counter = 0;                     // for the next launch
        *shared = before;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    FENCE;
    return *shared == splits - 1;
}
#endif
