/* route.cl: both sides of SpheroMoE's routing out of one array of logits (b n s), an image a group:
 *
 *     dispatch   softmax over the n tokens (down a column)  of  logits / T_d + noise
 *     combine    1.5-entmax, or softmax, over the s slots (along a row)  of  logits / T_c + noise
 *
 * Rows go by once: the noise is drawn (cl/random.h) once for both, the combine row is finished while it is in
 * L1, the dispatch row is left raw and its columns' maxima kept; twice more over the image's dispatch, 230 KB
 * in L2, make it a softmax. Bound by memory, 12 bytes a logit where separate passes move 32; backward 24
 * where they move 68.
 */
#include "entmax.h"
#include "random.h"
#include "special.h"
#include "step.h"

enum {
#define FLAG(name, value) name = value,
#include "route_flags.def"
#undef FLAG
};

static inline void softmax_row(global float *y, long s, float top)
{
    float16 sum = 0;
    for (long j = 0; j < s; j += 16) {
        const float16 e = exp_decay_16(load_16(y + j, s - j, -INFINITY) - top);
        store_16(e, y + j, s - j);
        sum += e;
    }
    const float scale = 1.0f / sum_16(sum);
    for (long j = 0; j < s; j += 16)
        store_16(load_16(y + j, s - j, 0) * scale, y + j, s - j);
}

/* A row's noise, groups of 16 from `group` on. */
static inline void draw_row(local float16 *to, long wide, ulong seed, uint stream, uint step, ulong group,
                            float std)
{
    for (long v = 0; v < wide; v += 2) {
        uint16 bits[2];
        random_32(seed, stream, step, group + v, bits);
        to[v] = std * normal_16(unit_16(bits[0]));
        if (v + 1 < wide)
            to[v + 1] = std * normal_16(unit_16(bits[1]));
    }
}

/* disp: both results, combine from `from` on. noise: the step buffer, or values. column: room for two rows of
 * s floats, rounded up to vectors: the columns' maxima, and the row's noise or the columns' sums. samples: of
 * the batch, in the images, which are samples or heads of samples. */
kernel ALONE void route(global const float *logits, global const float *t_disp,
                        global const float *t_comb, global const float *noise, global float *disp,
                        long from, long n, long s, float std, uint stream, long samples,
                        int flags, local float16 *column)
{
    global float *comb = disp + from;
    const long image = get_group_id(0), at = image * n * s, wide = (s + 15) / 16;
    const float r_disp = 1.0f / *t_disp, r_comb = 1.0f / *t_comb;
    const float none = -copysign(INFINITY, r_comb);   // after a row's end; a learned temperature may pass zero
    global const uint *step = (global const uint *)noise;
    const uint now = flags & DRAWN ? step[STEP_NUMBER] : 0;
    const ulong seed = flags & DRAWN ? STEP_SEED(step) : 0;
    // noise is drawn for an image of the whole batch
    const long place = (flags & DRAWN) && samples
                       ? image + step[STEP_BEFORE] + image / samples * step[STEP_OTHERS] : image;
    local float16 *top = column, *other = column + wide;
    for (long v = 0; v < wide; v++) {
        top[v] = -INFINITY;
        other[v] = 0;
    }
    for (long i = 0; i < n; i++) {
        const long row = at + i * s;
        float16 most = -INFINITY;
        if (flags & DRAWN)
            draw_row(other, wide, seed, stream, now, (place * n + i) * wide, std);
        for (long j = 0; j < s; j += 16) {
            const long v = j / 16, left = s - j;
            const float16 l = load_16(logits + row + j, left, none);
            const float16 z = flags & GIVEN ? load_16(noise + row + j, left, 0) : other[v];
            const float16 d = fma(l, r_disp, z), c = fma(l, r_comb, z);
            store_16(d, disp + row + j, left);
            store_16(c, comb + row + j, left);
            top[v] = larger_16(top[v], d);
            most = larger_16(most, c);
        }
        if (flags & ENTMAX)
            entmax_row(comb + row, comb + row, s, max_16(most));
        else
            softmax_row(comb + row, s, max_16(most));
    }
    for (long v = 0; v < wide; v++)
        other[v] = 0;
    for (long i = 0; i < n; i++)
        for (long j = 0; j < s; j += 16) {
            global float *y = disp + at + i * s + j;
            const float16 e = exp_decay_16(load_16(y, s - j, 0) - top[j / 16]);
            store_16(e, y, s - j);
            other[j / 16] += e;
        }
    for (long v = 0; v < wide; v++)
        other[v] = 1.0f / other[v];
    for (long i = 0; i < n; i++)
        for (long j = 0; j < s; j += 16) {
            global float *y = disp + at + i * s + j;
            store_16(load_16(y, s - j, 0) * other[j / 16], y, s - j);
        }
}

static inline float row_dot(global const float *a, global const float *b, long s)
{
    float16 sum = 0;
    for (long j = 0; j < s; j += 16)
        sum = fma(load_16(a + j, s - j, 0), load_16(b + j, s - j, 0), sum);
    return sum_16(sum);
}

/* With g1, g2 the adjoints of what the softmax and the entmax saw: dlogits = g1 / T_d + g2 / T_c, and from
 * dlogits[partials] on, side by side, each image's share of dT_d = -sum(g1 logits) / T_d^2 and of dT_c. */
kernel ALONE void route_grad(global const float *logits, global const float *t_disp,
                             global const float *t_comb, global const float *disp,
                             global const float *g_disp, long from, global float *dlogits,
                             long partials, long n, long s, int flags, local float16 *column)
{
    global const float *comb = disp + from, *g_comb = g_disp + from;
    const long image = get_group_id(0), at = image * n * s, wide = (s + 15) / 16;
    const float r_disp = 1.0f / *t_disp, r_comb = 1.0f / *t_comb;
    float16 h1 = 0, h2 = 0;
    for (long v = 0; v < wide; v++)
        column[v] = 0;
    for (long i = 0; i < n; i++)
        for (long j = 0; j < s; j += 16) {
            const long k = at + i * s + j, left = s - j;
            column[j / 16] = fma(load_16(disp + k, left, 0), load_16(g_disp + k, left, 0), column[j / 16]);
        }
    for (long i = 0; i < n; i++) {
        const long row = at + i * s;
        const float mean = flags & ENTMAX ? entmax_mean(comb + row, g_comb + row, s)
                                          : row_dot(comb + row, g_comb + row, s);
        for (long j = 0; j < s; j += 16) {
            const long k = row + j, left = s - j;
            const float16 p = load_16(comb + k, left, 0), l = load_16(logits + k, left, 0);
            const float16 g1 = load_16(disp + k, left, 0) * (load_16(g_disp + k, left, 0) - column[j / 16]);
            const float16 g2 = (flags & ENTMAX ? sqrt(p) : p) * (load_16(g_comb + k, left, 0) - mean);
            h1 = fma(g1, l, h1);
            h2 = fma(g2, l, h2);
            store_16(fma(g1, r_disp, g2 * r_comb), dlogits + k, left);
        }
    }
    dlogits[partials + 2 * image] = -r_disp * r_disp * sum_16(h1);
    dlogits[partials + 2 * image + 1] = -r_comb * r_comb * sum_16(h2);
}
