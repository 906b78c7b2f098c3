/* loss_scale.cl: what becomes of a step whose loss was scaled: one item, between the norm of the gradients
 * and the optimiser, whose step words it writes. So nothing waits for the host.
 *
 *     state   scale | steps since it changed, skipped, taken (as uint) | squared norm of the last one taken
 *
 * A norm that is not finite is an overflow: the optimiser skips the step and the scale is halved. After
 * `grow` good steps it doubles. Scales are powers of two, so dividing by them is exact. */
#include "step.h"

enum { SCALE, GOOD, SKIPPED, TAKEN, NORM };

kernel void loss_scale(global float *state, global const float *square_sum, global float *step,
                       float log_beta1, float log_beta2, uint grow, float most)
{
    global uint *count = (global uint *)state;
    const float scale = state[SCALE];
    const bool over = !isfinite(*square_sum);
    if (get_global_id(0))
        return;
    step[STEP_SKIP] = as_float(over ? 1u : 0u);
    step[STEP_GRAD_SCALE] /= scale;
    if (over) {
        state[SCALE] = max(scale * 0.5f, 0x1p-24f);         // never 0: gradients are divided by it
        count[GOOD] = 0;
        count[SKIPPED]++;
        return;
    }
    // skipped steps do not count: 1 - beta^taken
    const float taken = ++count[TAKEN];
    step[STEP_BIAS1] = -expm1(taken * log_beta1);
    step[STEP_BIAS2] = -expm1(taken * log_beta2);
    state[NORM] = *square_sum / scale / scale;
    if (++count[GOOD] >= grow) {
        state[SCALE] = min(scale * 2, most);
        count[GOOD] = 0;
    }
}
