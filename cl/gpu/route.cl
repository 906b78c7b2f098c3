/* route.cl for GPUs: SpheroMoE's routing of logits (b n s), as cl/cpu/route.cl has it:
 *
 *     dispatch   softmax over the n tokens (down a column)  of  logits / T_d + noise
 *     combine    1.5-entmax, or softmax, over the s slots (along a row)  of  logits / T_c + noise
 *
 * One launch for each, since rows and columns have other groups: a team takes a row of combine, a group
 * `block` columns of an image's dispatch. Each draws the noise of its own elements, a function of the element,
 * and leaves the sum where its result will be: later passes find it in the cache. One launch for each
 * backward, too. Bound by memory.
 */
#include "team_entmax.h"
#include "random.h"
#include "special.h"
#include "step.h"
#include "join.h"

enum {
#define FLAG(name, value) name = value,
#include "route_flags.def"
#undef FLAG
};

#define NOISE_ARGS  global const float *noise, float std, uint stream, long samples, int flags
#define NOISE       noise, std, stream, samples, flags
#define SIDE_ARGS   global const float *logits, global const float *t, NOISE_ARGS, global float *y,       \
                    long images, long tokens, long slots

/* Of one logit: drawn for an image of the whole batch (STEP_BEFORE, STEP_OTHERS), given, or none. samples: of
 * the batch, in the images, which are samples or heads of samples. */
static inline float noise_at(NOISE_ARGS, long row, long tokens, long slot, long slots)
{
    if (!(flags & DRAWN))
        return flags & GIVEN ? noise[row * slots + slot] : 0;
    global const uint *now = (global const uint *)noise;
    const ulong seed = STEP_SEED(now);
    const long image = row / tokens,
               moved = samples ? now[STEP_BEFORE] + image / samples * now[STEP_OTHERS] : 0;
    const long element = (row + moved * tokens) * ((slots + 15) / 16 * 16) + slot;
    return std * normal_1(unit_1(random_1(seed, stream, now[STEP_NUMBER], (ulong)element)));
}

/* y[i] = the row before its entmax or softmax; top: its largest value. */
#define COMBINE_RAW                                                                                        \
    TEAM_ROW(images * tokens, slots);                                                                      \
    const float scale = 1.0f / *t;                                                                         \
    float top = -INFINITY;                                                                                 \
    y += i * slots;                                                                                        \
    MINE(j, n) {                                                                                           \
        y[j] = fma(logits[i * slots + j], scale, noise_at(NOISE, i, tokens, j, slots));                    \
        top = fmax(top, y[j]);                                                                             \
    }                                                                                                      \
    top = team_max(shelf, TEAM, top)

/* In all passes an item meets the values that it wrote itself. */
kernel GROUP void route_entmax(SIDE_ARGS)
{
    local int going[TEAMS];
    COMBINE_RAW;
    const float tau = team_entmax(shelf, going, y, n, top);
    MINE(j, n)
        y[j] = entmax_part(y[j], top, tau);
}

kernel GROUP void route_softmax(SIDE_ARGS)
{
    COMBINE_RAW;
    float s = 0;
    MINE(j, n) {
        y[j] = exp_decay_1(y[j] - top);
        s += y[j];
    }
    s = 1.0f / team_sum(shelf, TEAM, s);
    MINE(j, n)
        y[j] *= s;
}

kernel GROUP void route_dispatch(SIDE_ARGS, long block)
{
    TILE(tokens, slots, block);
    const float scale = 1.0f / *t;
    float top = -INFINITY, s = 0;
    for (long j = down; j < rows; j += step) {
        const long k = base + j * slots, row = k / slots;
        y[k] = fma(logits[k], scale, noise_at(NOISE, row, tokens, c, slots));
        top = fmax(top, y[k]);
    }
    shelf[me].x = top;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int k = 0; k < step; k++)
        top = fmax(top, shelf[k * cols + across].x);
    for (long j = down; j < rows; j += step) {
        y[base + j * slots] = exp_decay_1(y[base + j * slots] - top);
        s += y[base + j * slots];
    }
    shelf[me].y = s;
    barrier(CLK_LOCAL_MEM_FENCE);
    s = 0;
    for (int k = 0; k < step; k++)
        s += shelf[k * cols + across].y;
    s = 1.0f / s;
    for (long j = down; j < rows; j += step)
        y[base + j * slots] *= s;
}

/* dx = the adjoint of the logits, added to `past`, if any. Each group leaves its share of dT =
 * -sum(g' logits) / T^2, g' the adjoint of what the softmax or entmax saw; where groups may join, the
 * last one to come adds them up. */
#define GRAD_ARGS global const float *logits, global const float *t, global const float *y,              \
                  global const float *g, global const float *past, global float *dx,                     \
                  volatile global float *parts, global float *dt, volatile global int *counter,       \
                  long images, long tokens, long slots

/* h: this item's of sum(g' logits). */
static void temperature(float h, float scale, volatile global float *parts, global float *dt,
                        volatile global int *counter, local float2 *shelf, local int *before)
{
    const int me = get_local_id(0), groups = get_num_groups(0);
    h = team_sum(shelf, ITEMS, h);
    if (me == 0 && parts)
        parts[get_group_id(0)] = -scale * scale * h;
    const bool last = last_to_come(counter, dt ? groups : 1, before, me) && dt;
    float sum = 0;
    for (int k = me; k < (last ? groups : 0); k += ITEMS)
        sum += parts[k];
    sum = team_sum(shelf, ITEMS, sum);
    if (last && me == 0)
        *dt = sum;
}

kernel GROUP void route_dispatch_grad(GRAD_ARGS, long block)
{
    TILE(tokens, slots, block);
    local int before;
    const float scale = 1.0f / *t;
    float s = 0, h = 0;
    for (long j = down; j < rows; j += step)
        s = fma(y[base + j * slots], g[base + j * slots], s);
    shelf[me].x = s;
    barrier(CLK_LOCAL_MEM_FENCE);
    s = 0;
    for (int k = 0; k < step; k++)
        s += shelf[k * cols + across].x;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (long j = down; j < rows; j += step) {
        const long k = base + j * slots;
        const float d = y[k] * (g[k] - s);
        h = fma(d, logits[k], h);
        dx[k] = fma(d, scale, past ? past[k] : 0);
    }
    temperature(h, scale, parts, dt, counter, shelf, &before);
}

kernel GROUP void route_combine_grad(GRAD_ARGS, int flags)
{
    TEAM_ROW(images * tokens, slots);
    local int before;
    const float scale = 1.0f / *t;
    float2 s = 0;
    float h = 0;
    y += i * slots, g += i * slots;
    MINE(j, n) {
        const float weight = flags & ENTMAX ? sqrt(y[j]) : y[j];
        s = fma((float2)(1, g[j]), (float2)weight, s);
    }
    s = team_sum2(shelf, TEAM, s);
    const float mean = flags & ENTMAX ? s.y / s.x : s.y;
    MINE(j, n) {
        const long k = i * slots + j;
        const float d = (flags & ENTMAX ? sqrt(y[j]) : y[j]) * (g[j] - mean);
        h = fma(d, logits[k], h);
        dx[k] = fma(d, scale, past ? past[k] : 0);
    }
    temperature(h, scale, parts, dt, counter, shelf, &before);
}
