/* scene.c: one picture of the demo's sets: things of a class's shape, texture and layout over a background and
 * clutter; and its pixels. */
#include "data/scene.h"
#include <math.h>

static const f32 PI = 3.14159265f;

const char *const shape_names[]   = { "disc", "triangle", "star", "cross", "moon", "square",
                                    "hexagon", "ring", "arrow", "drop", "half", "bar" };
const char *const texture_names[] = { "plain", "stripes", "checker", "dots", "rings" };
const char *const layout_names[]  = { "one", "pair", "row", "circle", "grid" };

/* ---- shapes: signed distance (about) to the outline of a shape of radius 1, negative inside ------------ */

static f32 scene_polygon(f32 x, f32 y, int corners, f32 inner)
{
    f32 sector = 2 * PI / corners, a = atan2f(x, y), r = hypotf(x, y);
    a = fabsf(a - sector * roundf(a / sector));                   // fold into half of one corner's sector
    return r * cosf(sector / 2 - a) - inner;
}

static f32 scene_star(f32 x, f32 y)
{
    f32 sector = 2 * PI / 5, a = atan2f(x, y), r = hypotf(x, y);
    a = fabsf(a - sector * roundf(a / sector));
    f32 px = r * sinf(a), py = r * cosf(a);                   // edge from the tip (0,1) to the notch
    f32 nx = 0.42f * sinf(sector / 2), ny = 0.42f * cosf(sector / 2), dx = nx, dy = ny - 1,
        len = hypotf(dx, dy);
    return (px * -dy + (py - 1) * dx) / len;
}

static f32 scene_box(f32 x, f32 y, f32 w, f32 h) { return fmaxf(fabsf(x) - w, fabsf(y) - h); }

static f32 scene_outline(enum shape s, f32 x, f32 y)
{
    f32 r = hypotf(x, y);
    switch (s) {
    case DISC:     return r - 0.9f;
    case TRIANGLE: return scene_polygon(x, y, 3, 0.5f);
    case STAR:     return scene_star(x, y);
    case CROSS:    return fminf(scene_box(x, y, 0.95f, 0.33f), scene_box(x, y, 0.33f, 0.95f));
    case MOON:     return fmaxf(r - 0.95f, 0.75f - hypotf(x - 0.5f, y));
    case SQUARE:   return scene_box(x, y, 0.8f, 0.8f);
    case HEXAGON:  return scene_polygon(x, y, 6, 0.82f);
    case RING:     return fabsf(r - 0.7f) - 0.25f;
    case ARROW:
        return fminf(fmaxf(scene_polygon(x, y - 0.35f, 3, 0.42f), -0.2f - y),
                     scene_box(x, y + 0.5f, 0.25f, 0.45f));
    case DROP:     return y > 0 ? fmaxf(fabsf(x) * 0.87f + y * 0.5f - 0.55f, -y) : hypotf(x, y) - 0.63f;
    case HALF:     return fmaxf(hypotf(x, y + 0.35f) - 0.95f, -(y + 0.35f));
    default:       return scene_box(x, y, 0.95f, 0.38f);
    }
}

/* ---- what is in a picture ------------------------------------------------------------------------------ */

struct color { f32 v[3]; };
struct thing {
    enum shape shape;
    enum texture texture;
    f32 x, y, size, angle, period, phase;
    struct color ink, second;
    f32 opacity;
};
struct scene {
    struct thing things[16];
    int n;
    struct color near, far;
    f32 slope, wave[4], noise, gain, lift;
    bool grey;
};

/* Draws stand in statements of their own: the order of evaluation is part of the pictures. */
static f32 scene_between(rng *r, f64 lo, f64 hi) { return (f32)(lo + (hi - lo) * rng_unit(r)); }

/* A colour of any hue whose brightest channel is `value`. */
static struct color scene_color(rng *r, f32 value)
{
    struct color c;
    for (int i = 0; i < 3; i++)
        c.v[i] = scene_between(r, 0.1, 1);
    f32 top = fmaxf(c.v[0], fmaxf(c.v[1], c.v[2]));
    for (int i = 0; i < 3; i++)
        c.v[i] *= value / top;
    return c;
}

/* Centres and radius of a layout's things, in a picture that spans -1..1. */
static int scene_place(enum layout l, f32 at[8][2], f32 *radius)
{
    static const struct { int n; f32 radius, spread; } row[LAYOUTS] = {
        { 1, 0.62f, 0 }, { 2, 0.42f, 0.46f }, { 3, 0.3f, 0.62f }, { 5, 0.27f, 0.62f }, { 4, 0.36f, 0.44f },
    };
    int n = row[l].n;
    f32 s = row[l].spread;
    *radius = row[l].radius;
    for (int k = 0; k < n; k++) {
        f32 a = 2 * PI * k / n;
        f32 line = n > 1 ? s * (2.0f * k / (n - 1) - 1) : 0;
        at[k][0] = l == CIRCLE ? s * sinf(a) : l == GRID ? (k & 1 ? s : -s) : line;
        at[k][1] = l == CIRCLE ? s * cosf(a) : l == GRID ? (k & 2 ? s : -s) : 0;
    }
    return n;
}

static void scene_add_things(struct scene *s, struct kind k, rng *r)
{
    f32 at[8][2], radius;
    int n = scene_place(k.layout, at, &radius);
    f32 zoom = scene_between(r, 0.85, 1.15), angle = scene_between(r, -0.35, 0.35);
    f32 dx = scene_between(r, -0.12, 0.12), dy = scene_between(r, -0.12, 0.12);
    struct thing t = { .shape = k.shape, .texture = k.texture, .opacity = 1 };
    f32 bright = scene_between(r, 200, 255);
    t.ink = scene_color(r, bright);
    f32 dark = scene_between(r, 10, 70);
    t.second = scene_color(r, dark);
    t.period = scene_between(r, 0.34, 0.44);
    t.phase = scene_between(r, 0, 6.28);
    f32 own = scene_between(r, -0.4, 0.4);
    for (int i = 0; i < n; i++) {
        t.x = zoom * (at[i][0] * cosf(angle) - at[i][1] * sinf(angle)) + dx;
        t.y = zoom * (at[i][0] * sinf(angle) + at[i][1] * cosf(angle)) + dy;
        t.x += scene_between(r, -0.04, 0.04);
        t.y += scene_between(r, -0.04, 0.04);
        t.size = radius * zoom * scene_between(r, 0.9, 1.1);
        t.angle = own + scene_between(r, -0.2, 0.2);
        s->things[s->n++] = t;
    }
}

/* Faint small things of any shape and texture, under the ones that count. */
static void scene_add_clutter(struct scene *s, rng *r)
{
    for (int n = (int)rng_below(r, 4); n; n--) {
        struct thing *t = &s->things[s->n++];
        t->shape = rng_below(r, SHAPES);
        t->texture = rng_below(r, TEXTURES);
        t->x = scene_between(r, -1.1, 1.1);
        t->y = scene_between(r, -1.1, 1.1);
        t->size = scene_between(r, 0.1, 0.28);
        t->angle = scene_between(r, 0, 6.28);
        t->period = scene_between(r, 0.15, 0.3);
        t->phase = scene_between(r, 0, 6.28);
        t->ink = scene_color(r, 150);
        t->second = scene_color(r, 60);
        t->opacity = scene_between(r, 0.3, 0.7);
    }
}

static struct scene scene_compose(struct kind k, rng *r)
{
    struct scene s = { 0 };
    f32 near = scene_between(r, 60, 140);
    s.near = scene_color(r, near);
    s.slope = scene_between(r, 0, 6.28);
    s.noise = scene_between(r, 4, 18);
    s.gain = scene_between(r, 0.7, 1.1);
    s.lift = scene_between(r, -10, 30);
    f32 far = scene_between(r, 60, 140);
    s.far = scene_color(r, far);
    for (int c = 0; c < 3; c++)
        s.far.v[c] = 0.5f * (s.far.v[c] + s.near.v[c]);
    for (int i = 0; i < 4; i++)
        s.wave[i] = scene_between(r, -6, 6);
    s.grey = rng_below(r, 16) == 0;
    scene_add_clutter(&s, r);
    scene_add_things(&s, k, r);
    return s;
}

/* ---- pixels --------------------------------------------------------------------------------------------- */

/* How much of the second colour a thing shows at (u, v): its texture, in units of its size. */
static f32 scene_second_share(const struct thing *t, f32 u, f32 v)
{
    f32 k = 2 * PI / t->period, x;
    f32 a = sinf(k * u * t->size + t->phase), b = sinf(k * v * t->size + 2 * t->phase);
    switch (t->texture) {
    case STRIPES: x = a; break;
    case CHECKER: x = 2.5f * a * b; break;
    case DOTS:    x = 1.6f * (a * a * b * b) * 2 - 1; break;
    case RINGS:   x = sinf(k * hypotf(u, v) * t->size + t->phase); break;
    default:      return 0;
    }
    return fminf(1, fmaxf(0, 0.5f + 1.5f * x));
}

static void scene_paint(struct color *to, const struct thing *t, f32 x, f32 y, f32 pixels)
{
    f32 dx = (x - t->x) / t->size, dy = (y - t->y) / t->size;
    if (dx * dx + dy * dy > 4)
        return;
    f32 c = cosf(t->angle), s = sinf(t->angle), u = dx * c + dy * s, v = -dx * s + dy * c;
    f32 cover = t->opacity * fminf(1, fmaxf(0, 0.5f - scene_outline(t->shape, u, v) * t->size * pixels));
    if (cover <= 0)
        return;
    f32 share = scene_second_share(t, u, v);
    for (int i = 0; i < 3; i++)
        to->v[i] += cover * (t->ink.v[i] + share * (t->second.v[i] - t->ink.v[i]) - to->v[i]);
}

static struct color scene_background(const struct scene *s, f32 x, f32 y)
{
    struct color c;
    f32 t = 0.5f + 0.35f * (x * cosf(s->slope) + y * sinf(s->slope))
            + 0.2f * sinf(s->wave[0] * x + s->wave[1] * y) * sinf(s->wave[2] * x + s->wave[3] * y);
    for (int i = 0; i < 3; i++)
        c.v[i] = s->near.v[i] + t * (s->far.v[i] - s->near.v[i]);
    return c;
}

void scene_draw(struct kind k, rng *r, struct image *m)
{
    struct scene s = scene_compose(k, r);
    f32 pixels = 0.5f * (f32)MIN(m->w, m->h);
    for (int y = 0; y < m->h; y++)
        for (int x = 0; x < m->w; x++) {
            f32 px = (x + 0.5f - 0.5f * (f32)m->w) / pixels, py = (y + 0.5f - 0.5f * (f32)m->h) / pixels;
            struct color c = scene_background(&s, px, py);
            for (int i = 0; i < s.n; i++)
                scene_paint(&c, &s.things[i], px, py, pixels);
            f32 grey = 0.299f * c.v[0] + 0.587f * c.v[1] + 0.114f * c.v[2];
            for (int i = 0; i < 3; i++) {
                f32 v = (s.grey ? grey : c.v[i]) * s.gain + s.lift
                        + s.noise * rng_unit_to_normal(rng_unit(r));
                m->rgb[((size_t)y * m->w + x) * 3 + i] = (u8)fminf(255, fmaxf(0, v + 0.5f));
            }
        }
}
