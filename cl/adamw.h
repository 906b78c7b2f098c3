/* adamw.h: what the optimiser's step of all classes shares: its arguments, the scale of the gradient
 * (clipping by the global norm), and a walk over the blocks of a group, each with its own learning
 * rate and decay. */
#include "step.h"

#define BLOCK 1024                       /* ADAMW_BLOCK of op.h */

#define ADAMW_ARGS                                                                                        \
    global float *p, global const float *g, global float *m, global float *v,                             \
    global const float2 *groups, global const float *square_sum, global const float *step,                \
    long count, long share, float beta1, float new1, float beta2, float new2, float eps, float clip

/* b: the block; its values end before `end`. */
#define EACH_BLOCK(b)                                                                                     \
    const float norm = sqrt(*square_sum) * step[STEP_GRAD_SCALE];                                         \
    const float scale = step[STEP_GRAD_SCALE] * (clip > 0 ? min(1.0f, clip / (norm + 1e-6f)) : 1.0f);     \
    const float root2 = sqrt(step[STEP_BIAS2]);                                                           \
    const long blocks_ = as_uint(step[STEP_SKIP]) ? 0 : (count + BLOCK - 1) / BLOCK;                      \
    const long last_ = min(blocks_, ((long)get_group_id(0) + 1) * share);                                 \
    for (long b = get_group_id(0) * share; b < last_; b++)

/* The block's learning rate over the first bias correction, what the decay keeps, and its end. */
#define BLOCK_RATES(b)                                                                                    \
    const float lr = step[STEP_LR] * groups[b].x, keep = 1 - lr * groups[b].y;                            \
    const float rate = lr / step[STEP_BIAS1];                                                             \
    const long end = min(count, (b + 1) * BLOCK);
