/* resize.c: Pillow's resampling (Image.resize), bit for bit: two one-dimensional passes, first across then
 * down, each an antialiased filter whose width grows with the reduction, weights in 22-bit fixed point, 8-bit
 * pixels between the passes. A pass whose size does not change is left out. Every output pixel depends on its
 * own weights alone, so a part of the result is computed from a part of the source.
 *
 *     source rows that matter --across--> rows of the columns asked for --down--> that part
 */
#include "data/simd.h"
#include "data/image.h"
#include <math.h>

enum { BITS = 32 - 8 - 2 };

/* The weights of one axis: output i is the sum over k < taps of weight[i*taps + k] * in[first[i] + k]. */
struct axis { int taps, n; i32 *weight, *first; };

static f64 resize_bicubic(f64 x)
{
    x = fabs(x);                                  // Keys 1981, a = -1/2
    return x < 1 ? ((1.5 * x) - 2.5) * x * x + 1 : x < 2 ? (((x - 5) * x + 8) * x - 4) * -0.5 : 0;
}

static f64 resize_bilinear(f64 x)
{
    x = fabs(x);
    return x < 1 ? 1 - x : 0;
}

static f64 resize_radius(enum filter f) { return f == FILTER_BICUBIC ? 2 : 1; }

/* One axis of a scaling: [start, start + length) of `in` inputs become `out` outputs, of which [at, at + n)
 * are wanted. */
struct span { enum filter filter; int in, out, at, n; f64 start, length; };

static struct span span_of(const struct scaling *s, bool down)
{
    bool boxed = s->box.w > 0, parted = s->part.w > 0;
    if (down)
        return (struct span){ s->filter, s->in_h, s->out_h, parted ? s->part.y : 0,
                              parted ? s->part.h : s->out_h,
                              boxed ? s->box.y : 0, boxed ? s->box.h : s->in_h };
    return (struct span){ s->filter, s->in_w, s->out_w, parted ? s->part.x : 0, parted ? s->part.w : s->out_w,
                          boxed ? s->box.x : 0, boxed ? s->box.w : s->in_w };
}

static bool resize_changes(const struct span *s)
{
    return s->in != s->out || s->start != 0 || s->length != s->in;
}

/* Inputs [*from, *to) under output `at`. */
static void resize_reach(const struct span *s, int at, int *from, int *to)
{
    f64 scale = s->length / s->out, support = resize_radius(s->filter) * MAX(scale, 1),
        center = s->start + (at + 0.5) * scale;
    *from = MAX(0, (int)(center - support + 0.5));
    *to = MIN(s->in, (int)(center + support + 0.5));
}

static void resize_needs(const struct span *s, int *from, int *to)
{
    int unused;
    *from = s->at;
    *to = s->at + s->n;
    if (resize_changes(s)) {
        resize_reach(s, s->at, from, &unused);
        resize_reach(s, s->at + s->n - 1, &unused, to);
    }
}

struct window scaling_needs(const struct scaling *s)
{
    struct span x = span_of(s, false), y = span_of(s, true);
    int x0, x1, y0, y1;
    resize_needs(&x, &x0, &x1);
    resize_needs(&y, &y0, &y1);
    return (struct window){ x0, y0, x1 - x0, y1 - y0 };
}

/* Makes *p hold `need` items; what was in it is gone. */
static int resize_room(arena *a, void *p, size_t *have, size_t need, size_t item)
{
    if (need <= *have)
        return 0;
    void *more = arena_try(a, need * 2 * item, 64);
    if (!more)
        return -1;
    memcpy(p, &more, sizeof more);
    *have = need * 2;
    return 0;
}

/* Weights of the outputs asked for; x->first counts from `offset` on. */
static int resize_weigh(struct resizer *r, int which, const struct span *s, int offset, struct axis *x)
{
    f64 scale = s->length / s->out, squeeze = 1 / MAX(scale, 1);
    int taps = (int)ceil(resize_radius(s->filter) * MAX(scale, 1)) * 2 + 1;
    if (resize_room(r->a, &r->exact, &r->exact_room, (size_t)taps, sizeof(f64))
        || resize_room(r->a, &r->weights[which], &r->room[which], (size_t)taps * (size_t)s->n, sizeof(i32))
        || resize_room(r->a, &r->first[which], &r->first_room[which], (size_t)s->n, sizeof(i32)))
        return -1;
    *x = (struct axis){ taps, s->n, r->weights[which], r->first[which] };
    for (int i = 0; i < s->n; i++) {
        i32 *w = x->weight + (size_t)i * taps;
        f64 center = s->start + (s->at + i + 0.5) * scale, sum = 0, *e = r->exact;
        int from, to;
        resize_reach(s, s->at + i, &from, &to);
        for (int k = 0; k < to - from; k++) {
            f64 at = (k + from - center + 0.5) * squeeze;
            e[k] = s->filter == FILTER_BICUBIC ? resize_bicubic(at) : resize_bilinear(at);
            sum += e[k];
        }
        for (int k = 0; k < taps; k++) {
            f64 v = k < to - from ? (sum != 0 ? e[k] / sum : e[k]) * (1 << BITS) : 0;
            w[k] = (i32)(v < 0 ? v - 0.5 : v + 0.5);
        }
        x->first[i] = from - offset;
    }
    return 0;
}

/* out[0..16) = the weighted sum of `taps` groups of 16 bytes, `step` bytes apart, rounded and clipped: on any
 * machine, ... */
#define WEIGHTED_SUM(in, step, w, taps, out) do { \
    i32x4 a_ = (i32x4){ 0 } + (1 << (BITS - 1)), b_ = a_, c_ = a_, d_ = a_; \
    for (int k_ = 0; k_ < (taps); k_++) { \
        u8x16 v_; \
        i32x4 x0_, x1_, x2_, x3_, w_ = (i32x4){ 0 } + (w)[k_]; \
        memcpy(&v_, (in) + (size_t)k_ * (step), 16); \
        WIDEN16(v_, x0_, x1_, x2_, x3_); \
        a_ += x0_ * w_; \
        b_ += x1_ * w_; \
        c_ += x2_ * w_; \
        d_ += x3_ * w_; \
    } \
    a_ >>= BITS; \
    b_ >>= BITS; \
    c_ >>= BITS; \
    d_ >>= BITS; \
    CLIP255(a_); \
    CLIP255(b_); \
    CLIP255(c_); \
    CLIP255(d_); \
    (out) = NARROW16(a_, b_, c_, d_); \
} while (0)

/* ... and where eight integers fit into a register, which compilers do not find by themselves. */
#define WEIGHTED_SUM_AVX2(in, step, w, taps, out) do { \
    i32x8 a_ = (i32x8){ 0 } + (1 << (BITS - 1)), b_ = a_; \
    for (int k_ = 0; k_ < (taps); k_++) { \
        const u8 *p_ = (in) + (size_t)k_ * (step); \
        i32x8 w_ = (i32x8){ 0 } + (w)[k_]; \
        a_ += LOAD8_AVX2(p_) * w_; \
        b_ += LOAD8_AVX2(p_ + 8) * w_; \
    } \
    a_ >>= BITS; \
    b_ >>= BITS; \
    CLIP255(a_); \
    CLIP255(b_); \
    (out) = NARROW16(LOW4(a_), HIGH4(a_), LOW4(b_), HIGH4(b_)); \
} while (0)

/* row_down: one output row of n bytes, a weighted sum of `taps` input rows. sums_across: the same for rows
 * that are transposed. */
#define DEFINE_SUMS(name, attributes, SUM) \
    attributes static void row_down##name(const u8 *in, size_t stride, const i32 *w, int taps, size_t n, \
                                          u8 *out) \
    { \
        for (size_t at = 0; at < n; at += 16) { \
            u8x16 v; \
            SUM(in + at, stride, w, taps, v); \
            memcpy(out + at, &v, MIN(16, n - at)); \
        } \
    } \
    attributes static void sums_across##name(const u8 *tall, const struct axis *x, int columns, u8 *out) \
    { \
        for (int i = 0; i < x->n; i++) { \
            const i32 *w = x->weight + (size_t)i * x->taps; \
            const u8 *in = tall + (size_t)x->first[i] * 48; \
            int taps = MIN(x->taps, columns - x->first[i]); \
            for (int c = 0; c < 3; c++) { \
                u8x16 v; \
                SUM(in + 16 * c, 48, w, taps, v); \
                memcpy(out + (size_t)(3 * i + c) * 16, &v, 16); \
            } \
        } \
    }
DEFINE_SUMS(_plain, , WEIGHTED_SUM)
#ifdef AVX2
DEFINE_SUMS(_avx2, AVX2, WEIGHTED_SUM_AVX2)
#endif
bool simd_plain;

/* Sixteen rows at a time, transposed, so that a vector holds one byte of each and taps are whole vectors
 * apart:
 *
 *     rows -> tall: in[x][c][16 rows] -> weighted sums: out[x][c][16 rows] -> rows */
static void resize_transpose(const u8 *const row[16], size_t n, u8 *tall)
{
    for (size_t at = 0; at < n; at += 16) {
        u8x16 v[16];
        for (int i = 0; i < 16; i++)
            memcpy(&v[i], row[i] + at, 16);
        TRANSPOSE16(v);
        memcpy(tall + at * 16, v, sizeof v);
    }
}

static void resize_transpose_back(const u8 *tall, size_t n, int rows, size_t stride, u8 *out)
{
    for (size_t at = 0; at < n; at += 16) {
        u8x16 v[16];
        memcpy(v, tall + at * 16, sizeof v);
        TRANSPOSE16(v);
        for (int i = 0; i < rows; i++)
            memcpy(out + (size_t)i * stride + at, &v[i], MIN(16, n - at));
    }
}

/* Columns of m's rows [top, top + rows), filtered across, into r->across; m begins at column mx of the
 * source. */
static int pass_across(struct resizer *r, const struct span *s, const struct image *m, int mx, int top,
                       int rows)
{
    struct axis x;
    if (image_room(r->a, &r->across, s->n, rows))
        return -1;
    if (!resize_changes(s)) {
        image_crop(m, (struct window){ s->at - mx, top, s->n, rows }, &r->across);
        return 0;
    }
    if (resize_weigh(r, 0, s, mx, &x))
        return -1;
    size_t n = (size_t)m->w * 3, out = (size_t)s->n * 3;
    if (resize_room(r->a, &r->tall, &r->tall_room, ROUND_UP(n, 16) * 16, 1)
        || resize_room(r->a, &r->wide, &r->wide_room, ROUND_UP(out, 16) * 16, 1))
        return -1;
    for (int y = 0; y < rows; y += 16) {
        const u8 *row[16];
        for (int i = 0; i < 16; i++)
            row[i] = m->rgb + (size_t)(top + MIN(y + i, rows - 1)) * n;
        resize_transpose(row, n, r->tall);
        BEST(sums_across, r->tall, &x, m->w, r->wide);
        resize_transpose_back(r->wide, out, MIN(16, rows - y), out, r->across.rgb + (size_t)y * out);
    }
    return 0;
}

/* r->across, whose first row is row `top` of the source, filtered down into out. */
static int pass_down(struct resizer *r, const struct span *s, int top, struct image *out)
{
    struct axis y;
    size_t stride = (size_t)out->w * 3;
    if (!resize_changes(s)) {
        memcpy(out->rgb, r->across.rgb, image_bytes(out));
        return 0;
    }
    if (resize_weigh(r, 1, s, top, &y))
        return -1;
    for (int i = 0; i < s->n; i++)
        BEST(row_down, r->across.rgb + (size_t)y.first[i] * stride, stride, y.weight + (size_t)i * y.taps,
                 MIN(y.taps, r->across.h - y.first[i]), stride, out->rgb + (size_t)i * stride);
    return 0;
}

int image_scale(struct resizer *r, const struct scaling *s, const struct image *m, int x, int y,
                struct image *out)
{
    struct span across = span_of(s, false), down = span_of(s, true);
    struct window need = scaling_needs(s);
    check(need.x >= x && need.y >= y && need.x + need.w <= x + m->w && need.y + need.h <= y + m->h,
          "scaling needs %d,%d %dx%d, has %d,%d %dx%d", need.x, need.y, need.w, need.h, x, y, m->w, m->h);
    if (image_room(r->a, out, across.n, down.n) || pass_across(r, &across, m, x, need.y - y, need.h))
        return -1;
    return pass_down(r, &down, need.y, out);
}

int image_resize(arena *a, const struct image *m, enum filter f, int w, int h, struct image *out)
{
    struct resizer r = { .a = a };
    return image_scale(&r, &(struct scaling){ f, m->w, m->h, w, h }, m, 0, 0, out);
}
