/* render.c: the demo's two image sets, drawn by the program. A class is (shape, texture, layout); colour,
 * pose, background, clutter, lighting and noise are drawn anew for every picture and say nothing about it. No
 * shape, texture or layout belongs to one class alone, so none of them decides by itself. Set b, for
 * pre-training, has more classes, of other shapes.
 *
 *     demo/a/train/disc-stripes-one/0000.jpg ...    demo/b/test/...
 *     demo/rendered.txt    written last: its presence means complete
 */
#include "data/formats.h"
#include "data/set.h"
#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define MARK "jetcl demo set, version 1\n"
enum { SEED = 20240, A_TRAIN = 180, A_TEST = 60, B_TRAIN = 150, B_TEST = 25 /* pictures per class */ };
static const f32 PI = 3.14159265f;

enum shape   { DISC, TRIANGLE, STAR, CROSS, MOON, SQUARE, HEXAGON, RING, ARROW, DROP, HALF, BAR, SHAPES };
enum texture { PLAIN, STRIPES, CHECKER, DOTS, RINGS, TEXTURES };
enum layout  { ONE, PAIR, ROW, CIRCLE, GRID, LAYOUTS };

static const char *const shape_names[]   = { "disc", "triangle", "star", "cross", "moon", "square",
                                             "hexagon", "ring", "arrow", "drop", "half", "bar" };
static const char *const texture_names[] = { "plain", "stripes", "checker", "dots", "rings" };
static const char *const layout_names[]  = { "one", "pair", "row", "circle", "grid" };

struct kind { u8 shape, texture, layout; };
struct set  { const char *name; const struct kind *kinds; int n, train, test; };

static const struct kind kinds_a[] = {
    { DISC, STRIPES, ONE },        { DISC, CHECKER, PAIR },
    { TRIANGLE, STRIPES, CIRCLE }, { TRIANGLE, PLAIN, ONE },
    { STAR, DOTS, ONE },           { STAR, STRIPES, PAIR },
    { CROSS, CHECKER, ROW },       { CROSS, DOTS, PAIR },
    { MOON, PLAIN, PAIR },         { MOON, CHECKER, ONE },
};
static const struct kind kinds_b[] = {
    { SQUARE, STRIPES, ONE },   { SQUARE, CHECKER, PAIR },  { SQUARE, DOTS, ROW },
    { HEXAGON, PLAIN, ONE },    { HEXAGON, STRIPES, PAIR }, { HEXAGON, RINGS, GRID },
    { RING, PLAIN, PAIR },      { RING, CHECKER, ONE },     { RING, STRIPES, CIRCLE },
    { ARROW, PLAIN, ROW },      { ARROW, DOTS, ONE },       { ARROW, STRIPES, GRID },
    { DROP, CHECKER, PAIR },    { DROP, PLAIN, CIRCLE },    { DROP, DOTS, ONE },
    { HALF, STRIPES, ROW },     { HALF, RINGS, ONE },       { HALF, CHECKER, CIRCLE },
    { BAR, PLAIN, GRID },       { BAR, RINGS, PAIR },
};
static const struct set demo_sets[] = {
    { "a", kinds_a, countof(kinds_a), A_TRAIN, A_TEST },
    { "b", kinds_b, countof(kinds_b), B_TRAIN, B_TEST },
};

/* ---- shapes: signed distance (about) to the outline of a shape of radius 1, negative inside ------------ */

static f32 render_polygon(f32 x, f32 y, int corners, f32 inner)
{
    f32 sector = 2 * PI / corners, a = atan2f(x, y), r = hypotf(x, y);
    a = fabsf(a - sector * roundf(a / sector));                   // fold into half of one corner's sector
    return r * cosf(sector / 2 - a) - inner;
}

static f32 render_star(f32 x, f32 y)
{
    f32 sector = 2 * PI / 5, a = atan2f(x, y), r = hypotf(x, y);
    a = fabsf(a - sector * roundf(a / sector));
    f32 px = r * sinf(a), py = r * cosf(a);                   // edge from the tip (0,1) to the notch
    f32 nx = 0.42f * sinf(sector / 2), ny = 0.42f * cosf(sector / 2), dx = nx, dy = ny - 1,
        len = hypotf(dx, dy);
    return (px * -dy + (py - 1) * dx) / len;
}

static f32 render_box(f32 x, f32 y, f32 w, f32 h) { return fmaxf(fabsf(x) - w, fabsf(y) - h); }

static f32 render_outline(enum shape s, f32 x, f32 y)
{
    f32 r = hypotf(x, y);
    switch (s) {
    case DISC:     return r - 0.9f;
    case TRIANGLE: return render_polygon(x, y, 3, 0.5f);
    case STAR:     return render_star(x, y);
    case CROSS:    return fminf(render_box(x, y, 0.95f, 0.33f), render_box(x, y, 0.33f, 0.95f));
    case MOON:     return fmaxf(r - 0.95f, 0.75f - hypotf(x - 0.5f, y));
    case SQUARE:   return render_box(x, y, 0.8f, 0.8f);
    case HEXAGON:  return render_polygon(x, y, 6, 0.82f);
    case RING:     return fabsf(r - 0.7f) - 0.25f;
    case ARROW:
        return fminf(fmaxf(render_polygon(x, y - 0.35f, 3, 0.42f), -0.2f - y),
                     render_box(x, y + 0.5f, 0.25f, 0.45f));
    case DROP:     return y > 0 ? fmaxf(fabsf(x) * 0.87f + y * 0.5f - 0.55f, -y) : hypotf(x, y) - 0.63f;
    case HALF:     return fmaxf(hypotf(x, y + 0.35f) - 0.95f, -(y + 0.35f));
    default:       return render_box(x, y, 0.95f, 0.38f);
    }
}

/* ---- one picture --------------------------------------------------------------------------------------- */

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
static f32 render_between(rng *r, f64 lo, f64 hi) { return (f32)(lo + (hi - lo) * rng_unit(r)); }

/* A colour of any hue whose brightest channel is `value`. */
static struct color render_color_of(rng *r, f32 value)
{
    struct color c;
    for (int i = 0; i < 3; i++)
        c.v[i] = render_between(r, 0.1, 1);
    f32 top = fmaxf(c.v[0], fmaxf(c.v[1], c.v[2]));
    for (int i = 0; i < 3; i++)
        c.v[i] *= value / top;
    return c;
}

/* Centres and radius of a layout's things, in a picture that spans -1..1. */
static int render_place(enum layout l, f32 at[8][2], f32 *radius)
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

static void add_things(struct scene *s, struct kind k, rng *r)
{
    f32 at[8][2], radius;
    int n = render_place(k.layout, at, &radius);
    f32 zoom = render_between(r, 0.85, 1.15), angle = render_between(r, -0.35, 0.35);
    f32 dx = render_between(r, -0.12, 0.12), dy = render_between(r, -0.12, 0.12);
    struct thing t = { .shape = k.shape, .texture = k.texture, .opacity = 1 };
    f32 bright = render_between(r, 200, 255);
    t.ink = render_color_of(r, bright);
    f32 dark = render_between(r, 10, 70);
    t.second = render_color_of(r, dark);
    t.period = render_between(r, 0.34, 0.44);
    t.phase = render_between(r, 0, 6.28);
    f32 own = render_between(r, -0.4, 0.4);
    for (int i = 0; i < n; i++) {
        t.x = zoom * (at[i][0] * cosf(angle) - at[i][1] * sinf(angle)) + dx;
        t.y = zoom * (at[i][0] * sinf(angle) + at[i][1] * cosf(angle)) + dy;
        t.x += render_between(r, -0.04, 0.04);
        t.y += render_between(r, -0.04, 0.04);
        t.size = radius * zoom * render_between(r, 0.9, 1.1);
        t.angle = own + render_between(r, -0.2, 0.2);
        s->things[s->n++] = t;
    }
}

/* Faint small things of any shape and texture, under the ones that count. */
static void add_clutter(struct scene *s, rng *r)
{
    for (int n = (int)rng_below(r, 4); n; n--) {
        struct thing *t = &s->things[s->n++];
        t->shape = rng_below(r, SHAPES);
        t->texture = rng_below(r, TEXTURES);
        t->x = render_between(r, -1.1, 1.1);
        t->y = render_between(r, -1.1, 1.1);
        t->size = render_between(r, 0.1, 0.28);
        t->angle = render_between(r, 0, 6.28);
        t->period = render_between(r, 0.15, 0.3);
        t->phase = render_between(r, 0, 6.28);
        t->ink = render_color_of(r, 150);
        t->second = render_color_of(r, 60);
        t->opacity = render_between(r, 0.3, 0.7);
    }
}

static struct scene render_compose(struct kind k, rng *r)
{
    struct scene s = { 0 };
    f32 near = render_between(r, 60, 140);
    s.near = render_color_of(r, near);
    s.slope = render_between(r, 0, 6.28);
    s.noise = render_between(r, 4, 18);
    s.gain = render_between(r, 0.7, 1.1);
    s.lift = render_between(r, -10, 30);
    f32 far = render_between(r, 60, 140);
    s.far = render_color_of(r, far);
    for (int c = 0; c < 3; c++)
        s.far.v[c] = 0.5f * (s.far.v[c] + s.near.v[c]);
    for (int i = 0; i < 4; i++)
        s.wave[i] = render_between(r, -6, 6);
    s.grey = rng_below(r, 16) == 0;
    add_clutter(&s, r);
    add_things(&s, k, r);
    return s;
}

/* How much of the second colour a thing shows at (u, v): its texture, in units of its size. */
static f32 second_share(const struct thing *t, f32 u, f32 v)
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

static void render_paint(struct color *to, const struct thing *t, f32 x, f32 y, f32 pixels)
{
    f32 dx = (x - t->x) / t->size, dy = (y - t->y) / t->size;
    if (dx * dx + dy * dy > 4)
        return;
    f32 c = cosf(t->angle), s = sinf(t->angle), u = dx * c + dy * s, v = -dx * s + dy * c;
    f32 cover = t->opacity * fminf(1, fmaxf(0, 0.5f - render_outline(t->shape, u, v) * t->size * pixels));
    if (cover <= 0)
        return;
    f32 share = second_share(t, u, v);
    for (int i = 0; i < 3; i++)
        to->v[i] += cover * (t->ink.v[i] + share * (t->second.v[i] - t->ink.v[i]) - to->v[i]);
}

static struct color render_background(const struct scene *s, f32 x, f32 y)
{
    struct color c;
    f32 t = 0.5f + 0.35f * (x * cosf(s->slope) + y * sinf(s->slope))
            + 0.2f * sinf(s->wave[0] * x + s->wave[1] * y) * sinf(s->wave[2] * x + s->wave[3] * y);
    for (int i = 0; i < 3; i++)
        c.v[i] = s->near.v[i] + t * (s->far.v[i] - s->near.v[i]);
    return c;
}

static void render_draw(const struct scene *s, rng *r, struct image *m)
{
    f32 pixels = 0.5f * (f32)MIN(m->w, m->h);
    for (int y = 0; y < m->h; y++)
        for (int x = 0; x < m->w; x++) {
            f32 px = (x + 0.5f - 0.5f * (f32)m->w) / pixels, py = (y + 0.5f - 0.5f * (f32)m->h) / pixels;
            struct color c = render_background(s, px, py);
            for (int i = 0; i < s->n; i++)
                render_paint(&c, &s->things[i], px, py, pixels);
            f32 grey = 0.299f * c.v[0] + 0.587f * c.v[1] + 0.114f * c.v[2];
            for (int i = 0; i < 3; i++) {
                f32 v = (s->grey ? grey : c.v[i]) * s->gain + s->lift
                        + s->noise * rng_unit_to_normal(rng_unit(r));
                m->rgb[((size_t)y * m->w + x) * 3 + i] = (u8)fminf(255, fmaxf(0, v + 0.5f));
            }
        }
}

/* ---- files --------------------------------------------------------------------------------------------- */

/* Picture i of a class: an uneven size, JPEG of some quality or PNG. */
static int render_one(arena *a, const char *folder, const struct set *set, int split, int kind, int i)
{
    u64 number = (u64)(set - demo_sets) << 40 | (u64)split << 32 | (u64)kind << 16 | (u64)i;
    rng r = rng_at(SEED, RNG_RENDER, number, 0);
    struct image m = { 0 };
    int w = 36 + (int)rng_below(&r, 13), h = 36 + (int)rng_below(&r, 13);
    int quality = 80 + (int)rng_below(&r, 16);
    bool png = rng_below(&r, 4) == 0;
    if (image_room(a, &m, w, h))
        return -1;
    struct scene s = render_compose(set->kinds[kind], &r);
    render_draw(&s, &r, &m);
    char path[4096];
    snprintf(path, sizeof path, "%s/%04d.%s", folder, i, png ? "png" : "jpg");
    FILE *f = fopen(path, "wb");
    if (!f)
        return fail(FAULT_RUN, "%s: cannot write: %s", path, strerror(errno));
    int bad = png ? png_write(f, &m) : jpeg_write(f, &m, quality);
    if (fclose(f) || bad)
        return fail(FAULT_RUN, "%s: cannot write: %s", path, strerror(errno));
    return 0;
}

/* The classes of both sets and splits, drawn by a few threads. */
struct drawing {
    const char *folder;
    struct { const struct set *set; int split, kind; } job[128];
    int jobs, next, done, all;                    /* done, all: images */
    pthread_mutex_t lock;
    bool failed;
    enum fault fault;
    char message[2048];
};

static int render_class(struct drawing *d, arena *a, const struct set *set, int split, int kind)
{
    struct kind k = set->kinds[kind];
    char bar[32];
    const char *path = arena_printf(a, "%s/%s/%s/%s-%s-%s", d->folder, set->name, split ? "test" : "train",
                                    shape_names[k.shape], texture_names[k.texture], layout_names[k.layout]);
    if (file_mkdirs(path))
        return -1;
    for (int i = 0; i < (split ? set->test : set->train); i++) {
        arena_mark mark = arena_save(a);
        int rc = render_one(a, path, set, split, kind, i);
        arena_restore(a, mark);
        if (rc)
            return -1;
        int done = __atomic_add_fetch(&d->done, 1, __ATOMIC_RELAXED);
        progress("drawing the demo's images  %d/%d  %s", done, d->all, say_bar(bar, 24, (f64)done / d->all));
    }
    return 0;
}

static void *draw_classes(void *arg)
{
    struct drawing *d = arg;
    arena *a = arena_open("drawing");
    pthread_mutex_lock(&d->lock);
    while (d->next < d->jobs && !d->failed) {
        int j = d->next++;
        pthread_mutex_unlock(&d->lock);
        int rc = render_class(d, a, d->job[j].set, d->job[j].split, d->job[j].kind);
        pthread_mutex_lock(&d->lock);
        if (rc && !d->failed) {
            d->failed = true;
            d->fault = fail_fault();
            snprintf(d->message, sizeof d->message, "%s", fail_message());
        }
    }
    pthread_mutex_unlock(&d->lock);
    arena_close(a);
    return NULL;
}

static int render_all(arena *a, const char *folder)
{
    struct drawing *d = arena_one(a, struct drawing);
    d->folder = folder;
    pthread_mutex_init(&d->lock, NULL);
    for (const struct set *s = demo_sets; s < demo_sets + countof(demo_sets); s++)
        for (int i = 0; i < 2 * s->n; i++, d->jobs++) {
            d->job[d->jobs].set = s;
            d->job[d->jobs].split = i & 1;
            d->job[d->jobs].kind = i / 2;
            d->all += i & 1 ? s->test : s->train;
        }
    say(SAY_NORMAL, "drawing the demo's %d images", d->all);
    pthread_t other;
    bool two = !pthread_create(&other, NULL, draw_classes, d);
    draw_classes(d);
    if (two)
        pthread_join(other, NULL);
    progress_done();
    pthread_mutex_destroy(&d->lock);
    return d->failed ? fail(d->fault, "%s", d->message)
                     : file_save(arena_printf(a, "%s/rendered.txt", folder), MARK, sizeof MARK - 1);
}

static int render_remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}
static void remove_tree(const char *path) { nftw(path, render_remove_entry, 16, FTW_DEPTH | FTW_PHYS); }

/* Removes what a run that was killed left beside the folder: FOLDER.PID.tmp of a process that is gone. */
static void render_sweep(arena *a, const char *folder)
{
    const char *slash = strrchr(folder, '/'), *name = slash ? slash + 1 : folder;
    const char *parent = slash ? arena_printf(a, "%.*s", (int)MAX(1, slash - folder), folder) : ".";
    DIR *dir = opendir(parent);
    for (const struct dirent *e; dir && (e = readdir(dir));) {
        int pid, end = 0;
        if (text_starts(e->d_name, name) && sscanf(e->d_name + strlen(name), ".%d.tmp%n", &pid, &end) == 1
            && end && !e->d_name[strlen(name) + (size_t)end] && pid > 0 && kill(pid, 0) && errno == ESRCH)
            remove_tree(arena_printf(a, "%s/%s", parent, e->d_name));
    }
    if (dir)
        closedir(dir);
}

enum found { NOTHING, OURS, OURS_OTHER, FOREIGN };

/* What lies at `folder`. Its mark is written last, so a folder of ours without one was left by a broken
 * copy. */
static enum found render_look(arena *a, const char *folder)
{
    const char *mark = arena_printf(a, "%s/rendered.txt", folder),
               *text = file_exists(mark) ? file_text(a, mark, NULL) : NULL;
    if (text)
        return !strcmp(text, MARK) ? OURS : text_starts(text, "jetcl demo set") ? OURS_OTHER : FOREIGN;
    if (!file_exists(folder) || !rmdir(folder))               // an empty folder goes
        return NOTHING;
    return FOREIGN;
}

static int render_beside(arena *a, const char *folder, enum found found)
{
    const char *fresh = arena_printf(a, "%s.%d.tmp", folder, (int)getpid()),
               *old = arena_printf(a, "%s.%d.old", folder, (int)getpid());
    render_sweep(a, folder);
    remove_tree(fresh);
    if (file_mkdirs(fresh) || render_all(a, fresh)) {
        remove_tree(fresh);
        return -1;
    }
    if (found == OURS_OTHER && !rename(folder, old))
        remove_tree(old);
    if (!rename(fresh, folder))
        return 0;
    int err = errno;
    remove_tree(fresh);
    if (render_look(a, folder) == OURS)
        return 0;
    return fail(FAULT_RUN, "%s: cannot put the rendered set there: %s", folder, strerror(err));
}

int render_demo(const char *folder)
{
    arena *a = arena_open("demo set");
    enum found found = render_look(a, folder);
    int rc = 0;
    if (found == FOREIGN)
        rc = fail(FAULT_DATA, "%s: holds something else than the demo's images; move it away", folder);
    else if (found != OURS)
        rc = render_beside(a, folder, found);
    arena_close(a);
    return rc;
}

static int open_demo(dataset *d, const struct data_options *o)
{
    i64 size = 0;
    for (const struct data_split *s = d->kind->splits; s->name; s++)
        size = strcmp(s->name, d->split) ? size : s->images;
    d->root = arena_printf(d->a, "%s/demo", d->root);
    if (render_demo(d->root) || set_open_folder(d, o))
        return -1;
    if (d->n != size)
        return fail(FAULT_DATA, "%s/%s: %ld of %ld images are left; delete %s and it is drawn again", d->root,
                    d->split, (long)d->n, (long)size, d->root);
    return 0;
}

const struct data_set demo_set = {
    .name = "demo", .help = "drawn by this program: a (10 classes) to fine-tune on, b (20) to pre-train on",
    .open = open_demo, IMAGENET_PIXELS,
    .made = "demo/rendered.txt",
    .splits = { { "a/train", 10 * A_TRAIN, .classes = 10 }, { "a/test", 10 * A_TEST, .classes = 10 },
                { "b/train", 20 * B_TRAIN, .classes = 20 }, { "b/test", 20 * B_TEST, .classes = 20 } },
};
