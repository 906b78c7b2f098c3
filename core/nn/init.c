/* init.c: how parameters start. The draws of a parameter depend on the seed and its name alone. */
#include "nn/nn.h"
#include <math.h>

static u64 hash(const char *s)
{
    u64 h = 14695981039346656037u;                // FNV-1a
    for (; *s; s++)
        h = (h ^ (u8)*s) * 1099511628211u;
    return h;
}

static f32 trunc_normal(rng *r, f32 std)
{
    for (;;) {
        f64 v = rng_normal(r) * std;
        if (fabs(v) <= 2)
            return (f32)v;
    }
}

/* Orthonormal rows (or columns, when there are more rows) of (rows, cols): Gram-Schmidt, twice for accuracy,
 * on normal vectors. O(rows cols min(rows, cols)). */
static void orthogonal(rng *r, f32 *v, i64 rows, i64 cols, f32 gain, arena *a)
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
    rng r = rng_at(seed, RNG_INIT, hash(x->name), 0);
    i64 n = shape_count(x->shape);
    if (x->init.kind == INIT_ORTHOGONAL) {        // (first axis, all others)
        i64 rows = x->shape.nd ? x->shape.d[0] : 1;
        orthogonal(&r, v, rows, n / rows, x->init.scale, a);
        return;
    }
    for (i64 i = 0; i < n; i++) {
        if (i && i % 8192 == 0)                   // a generator has 4096 blocks of four: to the next position
            r = rng_at(seed, RNG_INIT, hash(x->name), (u32)(i / 8192));
        switch (x->init.kind) {
        case INIT_CONSTANT:     v[i] = x->init.scale; break;
        case INIT_NORMAL:       v[i] = (f32)(rng_normal(&r) * x->init.scale); break;
        case INIT_TRUNC_NORMAL: v[i] = trunc_normal(&r, x->init.scale); break;
        default:                v[i] = (f32)((2 * rng_unit(&r) - 1) * x->init.scale);
        }
    }
}

int params_init(params *p, u64 seed)
{
    arena *a = arena_open("initial values");
    int rc = 0;
    for (size_t i = 0; i < p->n && !rc; i++) {
        struct param *x = &p->list[i];
        if (x->loaded)
            continue;
        arena_mark mark = arena_save(a);
        f32 *v = arena_array(a, f32, shape_count(x->shape));
        param_start(x, seed, v, a);
        rc = params_write(p, x, v);
        arena_restore(a, mark);
    }
    arena_close(a);
    return rc;
}
