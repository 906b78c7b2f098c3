/* analyse_load.c: what one MoE layer's routing weights and expert outputs say, summed in double precision
 * on the host: a check of the device as well. */
#include "study/analyse.h"
#include <math.h>

void load_open(struct load *l, arena *a, int core, int universal, int classes)
{
    int e = core + universal;
    *l = (struct load){ .experts = e, .core = core, .classes = classes };
    l->combine = arena_array(a, f64, e);
    l->dispatch = arena_array(a, f64, e);
    l->spread = arena_array(a, f64, e);
    l->by_class = arena_array(a, f64, (i64)e * classes);
    l->gram = arena_array(a, f64, (i64)e * e);
}

/* ---- summing ------------------------------------------------------------------------------------------- */

/* An image's routing weights of one head: (n e s) both. */
static void analyse_load_weights(struct load *l, const struct routed *r, const f32 *disp, const f32 *comb,
                                 i32 label)
{
    f64 token = 1 / (f64)(r->h * r->n), slot = 1 / (f64)(r->h * r->s);
    for (i64 n = 0; n < r->n; n++) {
        for (i64 e = 0; e < r->e; e++) {
            f64 mass = 0;
            for (i64 s = 0; s < r->s; s++) {
                mass += (f64)comb[(n * r->e + e) * r->s + s];
                l->dispatch[e] += (f64)disp[(n * r->e + e) * r->s + s] / (f64)r->h;
            }
            l->combine[e] += mass * token;
            l->token_entropy -= mass > 0 ? mass * log(mass) * token : 0;
            if (label >= 0)
                l->by_class[e * l->classes + label] += mass * token;
        }
    }
    for (i64 i = 0; i < r->e * r->s; i++) {
        f64 entropy = 0;
        for (i64 n = 0; n < r->n; n++) {
            f64 d = (f64)disp[n * r->e * r->s + i];
            entropy -= d > 0 ? d * log(d) : 0;
        }
        l->spread[i / r->s] += exp(entropy) * slot;
    }
}

/* What a token gets from experts [from, to): (k) */
static void load_mixed(const struct routed *r, i64 image, i64 head, const f32 *comb, i64 from, i64 to,
                       f64 *out)
{
    i64 k = r->d / r->h;
    memset(out, 0, sizeof *out * (size_t)k);
    for (i64 e = from; e < to; e++)
        for (i64 s = 0; s < r->s; s++) {
            f64 c = (f64)comb[e * r->s + s];
            const f32 *y = r->experts + ((e * r->b + image) * r->s + s) * r->d + head * k;
            for (i64 j = 0; j < k && c != 0; j++)
                out[j] += c * (f64)y[j];
        }
}

static void load_outputs(struct load *l, const struct routed *r, i64 image, i64 head, const f32 *comb,
                         f64 *part[PARTS])
{
    i64 k = r->d / r->h;
    for (i64 n = 0; n < r->n; n++, comb += r->e * r->s) {
        load_mixed(r, image, head, comb, 0, l->core, part[PART_CORE]);
        load_mixed(r, image, head, comb, l->core, r->e, part[PART_UNIVERSAL]);
        for (i64 j = 0; j < k; j++) {
            f64 c = part[PART_CORE][j], u = part[PART_UNIVERSAL][j];
            l->square[PART_CORE] += c * c;
            l->square[PART_UNIVERSAL] += u * u;
            l->square[PARTS] += (c + u) * (c + u);
            l->along[PART_CORE] += c * (c + u);
            l->along[PART_UNIVERSAL] += u * (c + u);
        }
    }
}

static void load_gram(struct load *l, const struct routed *r)
{
    i64 row = r->s * r->d;
    for (i64 a = 0; a < r->e; a++)
        for (i64 b = 0; b <= a; b++) {
            f64 sum = 0;
            for (i64 i = 0; i < r->used; i++) {
                const f32 *x = r->experts + (a * r->b + i) * row, *y = r->experts + (b * r->b + i) * row;
                for (i64 j = 0; j < row; j++)
                    sum += (f64)x[j] * (f64)y[j];
            }
            l->gram[a * r->e + b] += sum;
            l->gram[b * r->e + a] += a == b ? 0 : sum;
        }
}

void load_add(struct load *l, const struct routed *r, arena *scratch)
{
    arena_mark m = arena_save(scratch);
    f64 *part[PARTS] = { arena_array(scratch, f64, r->d), arena_array(scratch, f64, r->d) };
    i64 map = r->n * r->e * r->s;
    for (i64 i = 0; i < r->used; i++)
        for (i64 h = 0; h < r->h; h++) {
            i64 at = (i * r->h + h) * map;
            analyse_load_weights(l, r, r->dispatch + at, r->combine + at, r->label ? r->label[i] : -1);
            load_outputs(l, r, i, h, r->combine + at, part);
        }
    load_gram(l, r);
    l->images += r->used;
    l->tokens = r->n;
    l->slots = r->s;
    arena_restore(scratch, m);
}

/* ---- what follows from it ------------------------------------------------------------------------------ */

static f64 load_all(const struct load *l)
{
    f64 all = 0;
    for (int e = 0; e < l->experts; e++)
        all += l->combine[e];
    return all;
}

f64 load_share(const struct load *l, int expert)
{
    f64 all = load_all(l);
    return all > 0 ? l->combine[expert] / all : 0;
}

f64 load_entropy(const struct load *l)
{
    f64 h = 0;
    for (int e = 0; e < l->experts; e++) {
        f64 p = load_share(l, e);
        h -= p > 0 ? p * log(p) : 0;
    }
    return l->experts > 1 ? h / log(l->experts) : 1;
}

f64 load_part(const struct load *l, int part)
{
    f64 sum = 0;
    for (int e = part == PART_CORE ? 0 : l->core; e < (part == PART_CORE ? l->core : l->experts); e++)
        sum += load_share(l, e);
    return sum;
}

bool load_dead(const struct load *l, int expert) { return load_share(l, expert) < 0.01 / l->experts; }

f64 load_alike(const struct load *l, int a, int b)
{
    f64 length = sqrt(l->gram[a * l->experts + a] * l->gram[b * l->experts + b]);
    return length > 0 ? l->gram[a * l->experts + b] / length : 0;
}

/* p(y): what all experts together give an image of each class is 1, so it is the classes' share of the
 * images. */
static f64 load_class_share(const struct load *l, int y)
{
    f64 mine = 0, all = 0;
    for (int e = 0; e < l->experts; e++)
        for (int k = 0; k < l->classes; k++) {
            all += l->by_class[e * l->classes + k];
            mine += k == y ? l->by_class[e * l->classes + k] : 0;
        }
    return all > 0 ? mine / all : 0;
}

static f64 load_bits(const struct load *l, int expert, const f64 *prior, int *top)
{
    const f64 *row = l->by_class + (i64)expert * l->classes;
    f64 all = 0, bits = 0;
    *top = -1;
    for (int y = 0; y < l->classes; y++)
        all += row[y];
    for (int y = 0; y < l->classes && all > 0; y++) {
        *top = *top < 0 || row[y] > row[*top] ? y : *top;
        bits += row[y] > 0 ? row[y] / all * log2(row[y] / all / prior[y]) : 0;
    }
    return bits;
}

static const f64 *load_prior(const struct load *l, arena *a)
{
    f64 *prior = arena_array(a, f64, l->classes);
    for (int y = 0; y < l->classes; y++)
        prior[y] = load_class_share(l, y);
    return prior;
}

f64 load_specialised(const struct load *l, int expert, int *top)
{
    arena *a = arena_open("classes");
    f64 bits = load_bits(l, expert, load_prior(l, a), top);
    arena_close(a);
    return bits;
}

f64 load_information(const struct load *l)
{
    arena *a = arena_open("classes");
    const f64 *prior = load_prior(l, a);
    f64 sum = 0;
    int top;
    for (int e = 0; e < l->experts; e++)
        sum += load_share(l, e) * load_bits(l, e, prior, &top);
    arena_close(a);
    return sum;
}
