/* analyse_maps.c: where on the image experts look, and which patches receive their outputs: the paper's Figures
 * 6 and 7. A sheet has a row per image: the image, its most used core experts, its most used universal
 * ones. */
#include "study/analyse.h"
#include <math.h>

enum { MAPS_GAP = 6, MAPS_LEAST = 160 };
#define MAPS_COLOR .7         /* the rest is the picture, whose light and dark must not pass for the map */

/* ---- one map ------------------------------------------------------------------------------------------- */

/* Dark violet to yellow: lighter is more, in print and to the colour-blind as well. */
static void maps_color(f64 v, f64 rgb[3])
{
    static const f64 stop[5][3] = { { 13, 8, 135 }, { 126, 3, 168 }, { 204, 71, 120 }, { 248, 149, 64 },
                                    { 240, 249, 33 } };
    int i = MIN((int)(v * 4), 3);
    for (int k = 0; k < 3; k++)
        rgb[k] = stop[i][k] + (v * 4 - i) * (stop[i + 1][k] - stop[i][k]);
}

/* (side side) values, the smallest of them black and the largest white, as a picture of w x w. How flat a
 * map really is dispatch_tokens says. */
static int maps_grow(arena *a, const f32 *v, i64 stride, int side, int w, struct image *out)
{
    struct image small = { 0 };
    f32 most = v[0], least = v[0];
    for (int i = 0; i < side * side; i++) {
        most = MAX(most, v[i * stride]);
        least = MIN(least, v[i * stride]);
    }
    if (image_room(a, &small, side, side))
        return -1;
    for (int i = 0; i < side * side; i++)
        memset(small.rgb + 3 * i,
               most > least ? (int)lrintf(255 * (v[i * stride] - least) / (most - least)) : 0, 3);
    return image_resize(a, &small, FILTER_BILINEAR, w, w, out);
}

/* The picture in grey under the map's colours. */
static void maps_blend(const struct image *picture, const struct image *heat, struct image *out)
{
    for (size_t i = 0; i < image_bytes(out); i += 3) {
        const u8 *p = picture->rgb + i;
        f64 grey = .299 * p[0] + .587 * p[1] + .114 * p[2], color[3];
        maps_color(heat->rgb[i] / 255.0, color);
        for (int k = 0; k < 3; k++)
            out->rgb[i + (size_t)k] = (u8)((1 - MAPS_COLOR) * grey + MAPS_COLOR * color[k]);
    }
}

/* ---- a sheet of them ----------------------------------------------------------------------------------- */

struct sheet { arena *a; struct image m; int tile, rows, columns; };

static int maps_open(struct sheet *s, arena *a, int tile, int rows, int columns)
{
    *s = (struct sheet){ .a = a, .tile = tile, .rows = rows, .columns = columns };
    int w = columns * (tile + MAPS_GAP) + MAPS_GAP, h = rows * (tile + MAPS_GAP) + MAPS_GAP;
    if (image_room(a, &s->m, w, h))
        return -1;
    memset(s->m.rgb, 255, image_bytes(&s->m));
    return 0;
}

static void maps_put(struct sheet *s, int row, int column, const struct image *m)
{
    size_t x = (size_t)(MAPS_GAP + column * (s->tile + MAPS_GAP)),
           y = (size_t)(MAPS_GAP + row * (s->tile + MAPS_GAP));
    for (size_t i = 0; i < (size_t)m->h; i++)
        memcpy(s->m.rgb + 3 * ((y + i) * (size_t)s->m.w + x), m->rgb + 3 * i * (size_t)m->w,
               3 * (size_t)m->w);
}

static int maps_picture(const struct analysis *x, arena *a, int i, int tile, struct image *out)
{
    size_t bytes = 3 * (size_t)x->side * (size_t)x->side;
    struct image m = { 0 };
    if (image_room(a, &m, x->side, x->side))
        return -1;
    memcpy(m.rgb, x->shown + (size_t)i * bytes, bytes);
    return image_resize(a, &m, FILTER_BICUBIC, tile, tile, out);
}

/* One tile: v's tokens after the prefix, `stride` apart, over the picture. */
static int maps_tile(const struct analysis *x, struct sheet *s, int row, int column,
                     const struct image *picture, const f32 *v, i64 stride, i64 tokens)
{
    struct image heat = { 0 }, out = { 0 };
    int side = (int)lround(sqrt((f64)(tokens - x->prefix)));
    if (maps_grow(s->a, v + x->prefix * stride, stride, side, s->tile, &heat)
        || image_room(s->a, &out, s->tile, s->tile))
        return -1;
    maps_blend(picture, &heat, &out);
    maps_put(s, row, column, &out);
    return 0;
}

static int maps_tile_side(const struct analysis *x) { return x->side * (int)CEIL_DIV(MAPS_LEAST, x->side); }

/* ---- the sheets ---------------------------------------------------------------------------------------- */

int analyse_top(const struct layer_analysis *l, int part, int top[MAPS_TOP])
{
    int first = part == PART_CORE ? 0 : l->core, end = part == PART_CORE ? l->core : l->core + l->universal,
        n = 0;
    for (; n < MAPS_TOP && n < end - first; n++) {
        top[n] = -1;
        for (int e = first; e < end; e++) {
            bool taken = false;
            for (int k = 0; k < n; k++)
                taken |= top[k] == e;
            if (!taken && (top[n] < 0 || l->load.combine[e] > l->load.combine[top[n]]))
                top[n] = e;
        }
    }
    return n;
}

static int maps_layer(const struct analysis *x, const struct layer_analysis *l, const f32 *maps,
                      const char *path)
{
    arena *a = arena_open("maps");
    int top[PARTS * MAPS_TOP], n = analyse_top(l, PART_CORE, top);
    n += analyse_top(l, PART_UNIVERSAL, top + n);
    i64 experts = l->core + l->universal;
    struct sheet s;
    int rc = maps_open(&s, a, maps_tile_side(x), x->n_shown, 1 + n);
    for (int i = 0; i < x->n_shown && !rc; i++) {
        struct image picture = { 0 };
        if ((rc = maps_picture(x, a, i, s.tile, &picture)))
            break;
        maps_put(&s, i, 0, &picture);
        for (int k = 0; k < n && !rc; k++)
            rc = maps_tile(x, &s, i, 1 + k, &picture, maps + i * l->tokens * experts + top[k], experts,
                           l->tokens);
    }
    rc = rc || image_save_png(path, &s.m) ? -1 : 0;
    arena_close(a);
    return rc;
}

static int maps_attention(const struct analysis *x, const char *path)
{
    arena *a = arena_open("maps");
    struct sheet s;
    int rc = maps_open(&s, a, maps_tile_side(x), x->n_shown, 1 + x->blocks);
    for (int i = 0; i < x->n_shown && !rc; i++) {
        struct image picture = { 0 };
        if ((rc = maps_picture(x, a, i, s.tile, &picture)))
            break;
        maps_put(&s, i, 0, &picture);
        for (int l = 0; l < x->blocks && !rc; l++)
            rc = maps_tile(x, &s, i, 1 + l, &picture,
                           x->attention + (i * x->blocks + l) * x->attention_tokens, 1, x->attention_tokens);
    }
    rc = rc || image_save_png(path, &s.m) ? -1 : 0;
    arena_close(a);
    return rc;
}

int analyse_maps(struct analysis *x, const char *dir)
{
    for (int i = 0; i < x->layers && x->n_shown; i++) {
        const struct layer_analysis *l = &x->layer[i];
        if (maps_layer(x, l, l->dispatch_map, arena_printf(x->a, "%s/layer-%02d-dispatch.png", dir, l->index))
            || maps_layer(x, l, l->combine_map,
                          arena_printf(x->a, "%s/layer-%02d-combine.png", dir, l->index)))
            return -1;
    }
    return x->attention && x->n_shown ? maps_attention(x, arena_printf(x->a, "%s/attention.png", dir)) : 0;
}
