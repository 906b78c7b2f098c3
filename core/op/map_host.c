/* map_host.c: pointwise nodes in float64, from the texts of map.def and act.def themselves. A text that says
 * something else than its derivative is found by test_ops; here they tell what a kernel must give. */
#include "op/host.h"
#include "op/map.h"
#include <math.h>

/* The words of the texts that C has under other names. */
static f64 gelu(f64 x)      { return 0.5 * x * (1 + erf(x * 0.70710678118654752440)); }
static f64 gelu_grad(f64 x)
{
    return 0.5 * (1 + erf(x * 0.70710678118654752440)) + x * exp(-0.5 * x * x) * 0.39894228040143267794;
}
#define whole(x) floor(x)
#define unit_to_normal(u) rng_unit_to_normal(u)

/* v: the values of map_variables; u, c of what is drawn in float, as everywhere: the same bits. */
#define MAP0(name, text) \
    static f64 map_f_##name(const f64 *v, f64 k) { f32 u = (f32)v[0], c = (f32)k; return (f64)(text); }
#define MAP1(name, text, text_x) \
    static f64 map_f_##name(const f64 *v, f64 c) { const f64 x = v[0]; (void)x, (void)c; return text; } \
    static f64 map_f_##name##_x(const f64 *v, f64 c) \
    { \
        const f64 x = v[0], y = v[1], dy = v[2]; \
        (void)x, (void)y, (void)dy, (void)c; \
        return text_x; \
    }
#define MAP2(name, text, text_a, text_b) \
    static f64 map_f_##name(const f64 *v, f64 c) \
    { \
        const f64 a = v[0], b = v[1]; \
        (void)a, (void)b, (void)c; \
        return text; \
    } \
    static f64 map_f_##name##_a(const f64 *v, f64 c) \
    { \
        const f64 a = v[0], b = v[1], y = v[2], dy = v[3]; \
        (void)a, (void)b, (void)y, (void)dy, (void)c; \
        return text_a; \
    } \
    static f64 map_f_##name##_b(const f64 *v, f64 c) \
    { \
        const f64 a = v[0], b = v[1], y = v[2], dy = v[3]; \
        (void)a, (void)b, (void)y, (void)dy, (void)c; \
        return text_b; \
    }
#include "op/map.def"
#undef MAP0
#undef MAP1
#undef MAP2

typedef f64 map_formula(const f64 *v, f64 c);
static map_formula *const formulas[][3] = {
#define MAP0(name, ...) { map_f_##name },
#define MAP1(name, ...) { map_f_##name, map_f_##name##_x },
#define MAP2(name, ...) { map_f_##name, map_f_##name##_a, map_f_##name##_b },
#include "op/map.def"
#undef MAP0
#undef MAP1
#undef MAP2
};

f64 map_host_act(enum act act, f64 x, bool slope)
{
    switch (act) {
#define ACT(name, value, derivative) case ACT_##name: return slope ? (derivative) : (value);
#include "cl/act.def"
#undef ACT
    default: return slope ? 1 : x;
    }
}

/* ---- random numbers -------------------------------------------------------------------------------- */

static f32 host_unit(const f64 *words, u32 stream, i64 element)
{
    u64 seed = (u64)words[STEP_SEED_HI] << 32 | (u64)words[STEP_SEED_LO];
    return rng_element_unit(seed, stream, (u32)words[STEP_NUMBER], (u64)element);
}

f64 host_normal(const f64 *words, u32 stream, i64 element)
{
    return (f64)rng_unit_to_normal(host_unit(words, stream, element));
}

/* Rows start blocks of 16; those of a part of a batch stand where they stand in the whole (op_by_sample). */
f64 map_host_draw(const struct map_step *s, const f64 *words, i64 at)
{
    i64 cols = s->shape.nd ? s->shape.d[s->shape.nd - 1] : 1, row = at / cols, all = s->together * s->samples;
    row +=
        s->together * (i64)words[STEP_BEFORE] + (all ? row / all * s->together * (i64)words[STEP_OTHERS] : 0);
    f64 u = (f64)host_unit(words, s->stream, row * ROUND_UP(cols, (i64)16) + at % cols);
    return formulas[s->row][0](&u, (f64)s->c);
}

/* ---- a chain --------------------------------------------------------------------------------------- */

/* Which of its variables the text of step s names, in their order: the step's operands. */
static int map_named(const struct map_step *s, int named[4])
{
    const struct map_row *r = &map_rows[s->row];
    int n = 0;
    for (int v = 0; v < 4 && r->arity && map_variables[r->arity][v]; v++)
        if (map_uses(r->text[s->which], map_variables[r->arity][v]))
            named[n++] = v;
    return n;
}

static const f64 *map_words(const node *n, const f64 *const *in)
{
    for (int k = 0; k < n->n_in; k++)
        if (n->in[k] == n->g->step)
            return in[k];
    return NULL;
}

static f64 map_host_element(const node *n, const f64 *const *in, const f64 *words, const int (*named)[4], i64 i)
{
    const struct map_args *m = n->args;
    f64 t[MAX_STEPS] = { 0 };
    for (int k = 0; k < m->n; k++) {
        const struct map_step *s = &m->step[k];
        f64 v[4] = { 0 };
        for (int o = 0; o < s->n_in; o++) {
            int from = s->in[o];
            v[named[k][o]] = from < 0 ? t[-1 - from] : in[from][host_at(n->shape, i, n->in[from]->shape)];
        }
        t[k] = map_rows[s->row].arity ? formulas[s->row][s->which](v, (f64)s->c)
                                      : map_host_draw(s, words, host_at(n->shape, i, s->shape));
    }
    return t[m->n - 1];
}

void map_host(const node *n, const f64 *const *in, f64 *y)
{
    const struct map_args *m = n->args;
    int named[MAX_STEPS][4] = { { 0 } };
    const f64 *words = map_words(n, in);
    for (int k = 0; k < m->n; k++)
        map_named(&m->step[k], named[k]);
    for (i64 i = 0, every = host_every(node_count(n), 16.0 * m->n); i < node_count(n); i += every)
        y[i] = map_host_element(n, in, words, (const int (*)[4])named, i);
}
