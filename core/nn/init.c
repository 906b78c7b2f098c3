/* init.c: how parameters start. The draws of a parameter depend on the seed and its name alone; the device
 * makes them, as a billion bytes on one core take seconds. */
#include "nn/nn.h"
#include "op/grid.h"
#include <float.h>
#include <math.h>

#define CUT 2.0f                                  /* of INIT_TRUNC_NORMAL */

/* How elements are drawn: u is uniform in [0, 1), Phi the normal distribution function. Cut normals come from
 * the part of u that Phi leaves them, as torch's trunc_normal_ takes them. */
struct law { bool normal; f32 low, span, scale, bound; };

static struct law law_of(struct init start)
{
    f64 out = start.kind == INIT_TRUNC_NORMAL ? erfc(CUT / start.scale * sqrt(.5)) / 2 : 0;    // Phi(-cut)
    return (struct law){ start.kind != INIT_UNIFORM, (f32)out, (f32)(1 - 2 * out), start.scale,
                         start.kind == INIT_TRUNC_NORMAL ? CUT : FLT_MAX };
}

static u64 seed_of(const struct param *x, u64 seed) { return seed ^ hash_text(HASH_START, x->name); }

/* Element i, bit by bit what cl/start.cl draws. */
static f32 init_draw(const struct law *w, u64 seed, u64 i)
{
    f32 u = rng_element_unit(seed, RNG_INIT, 0, i);
    f32 v = w->normal ? rng_unit_to_normal(fmaf(u, w->span, w->low)) : 2 * u - 1;
    return fminf(fmaxf(v * w->scale, -w->bound), w->bound);
}

/* Orthonormal rows (or columns, when there are more rows) of (rows, cols): Gram-Schmidt, twice for accuracy,
 * on normal vectors. O(rows cols min(rows, cols)). */
static void init_orthogonal(rng *r, f32 *v, i64 rows, i64 cols, f32 gain, arena *a)
{
    bool flip = rows > cols;
    i64 n = MIN(rows, cols), len = MAX(rows, cols);
    f64 *q = arena_array(a, f64, n * len);
    for (i64 i = 0; i < n; i++) {
        f64 *x = q + i * len, norm = 0;
        for (i64 k = 0; k < len; k++)
            x[k] = rng_normal(r);
        for (int again = 0; again < 2; again++)
            for (i64 j = 0; j < i; j++) {
                f64 dot = 0;
                for (i64 k = 0; k < len; k++)
                    dot += x[k] * q[j * len + k];
                for (i64 k = 0; k < len; k++)
                    x[k] -= dot * q[j * len + k];
            }
        for (i64 k = 0; k < len; k++)
            norm += x[k] * x[k];
        for (i64 k = 0; k < len; k++)
            x[k] /= sqrt(norm);
    }
    for (i64 i = 0; i < rows; i++)
        for (i64 k = 0; k < cols; k++)
            v[i * cols + k] = gain * (f32)(flip ? q[k * len + i] : q[i * len + k]);
}

void param_start(const struct param *x, u64 seed, f32 *v, arena *a)
{
    i64 n = shape_count(x->shape);
    if (x->init.kind == INIT_ORTHOGONAL) {        // (first axis, all others)
        rng r = rng_at(seed, RNG_INIT, hash_text(HASH_START, x->name), 0);
        i64 rows = x->shape.nd ? x->shape.d[0] : 1;
        init_orthogonal(&r, v, rows, n / rows, x->init.scale, a);
        return;
    }
    struct law w = law_of(x->init);
    for (i64 i = 0; i < n; i++)
        v[i] = x->init.kind == INIT_CONSTANT ? x->init.scale : init_draw(&w, seed_of(x, seed), (u64)i);
}

/* ---- on the device ------------------------------------------------------------------------------------- */

static void add_draw(launches *l, const struct param *x, u64 seed)
{
    struct law w = law_of(x->init);
    i64 n = shape_count(x->shape);
    launch k = { .file = "start", .kernel = "draw", .label = x->name,
                 .args = { ARG_RANGE(x->value), ARG_LONG(n), ARG_LONG((i64)seed_of(x, seed)),
                           ARG_INT(RNG_INIT), ARG_INT(w.normal), ARG_REAL(w.low), ARG_REAL(w.span),
                           ARG_REAL(w.scale), ARG_REAL(w.bound) } };
    grid_groups(l, &k, CEIL_DIV(n, START_BLOCK), 1, 1);
    launch_add(l, &k);
}

static int start_from_host(params *p, struct param *x, u64 seed)
{
    arena *a = arena_open("initial values");
    f32 *v = arena_array(a, f32, shape_count(x->shape));
    param_start(x, seed, v, a);
    int rc = params_write(p, x, v);
    arena_close(a);
    return rc;
}

static int init_launch(params *p, struct param *x, u64 seed, launches *l)
{
    union { f32 f; u32 u; } constant = { x->init.scale };
    switch (x->init.kind) {
    case INIT_CONSTANT:   return mem_fill(p->d, x->value, constant.u);
    case INIT_ORTHOGONAL: return start_from_host(p, x, seed);
    default:              add_draw(l, x, seed); return 0;
    }
}

int params_init(params *p, u64 seed)
{
    launches *l = launches_new(p->d, "initial values");
    int rc = 0;
    for (size_t i = 0; i < p->n && !rc; i++)
        rc = p->list[i].loaded ? 0 : init_launch(p, &p->list[i], seed, l);
    rc = rc || launches_compile(l) || launches_run(l) ? -1 : 0;
    launches_free(l);
    return rc;
}
