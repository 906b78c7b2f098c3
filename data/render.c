/* render.c: the demo's two image sets, drawn by the program. A class is (shape, texture, layout); colour,
 * pose, background, clutter, lighting and noise are drawn again for every picture and say nothing about it. No
 * shape, texture or layout belongs to one class alone, so none of them decides by itself. Set b, for
 * pre-training, has more classes, of other shapes.
 *
 *     demo/a/train/disc-stripes-one/0000.jpg ...    demo/b/test/...
 *     demo/rendered.txt    written last: its presence means complete
 */
#include "data/formats.h"
#include "data/scene.h"
#include "data/set.h"
#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define MARK "jetcl demo set, version 1\n"
enum { SEED = 20240, A_TRAIN = 180, A_TEST = 60, B_TRAIN = 150, B_TEST = 25 /* pictures per class */ };

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
    scene_draw(set->kinds[kind], &r, &m);
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

static void *render_classes(void *arg)
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
    bool two = !pthread_create(&other, NULL, render_classes, d);
    render_classes(d);
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
static void render_remove(const char *path) { nftw(path, render_remove_entry, 16, FTW_DEPTH | FTW_PHYS); }

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
            render_remove(arena_printf(a, "%s/%s", parent, e->d_name));
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
    render_remove(fresh);
    if (file_mkdirs(fresh) || render_all(a, fresh)) {
        render_remove(fresh);
        return -1;
    }
    if (found == OURS_OTHER && !rename(folder, old))
        render_remove(old);
    if (!rename(fresh, folder))
        return 0;
    int err = errno;
    render_remove(fresh);
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

static int render_open(dataset *d, const struct data_options *o)
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
    .open = render_open, IMAGENET_PIXELS,
    .made = "demo/rendered.txt",
    .splits = { { "a/train", 10 * A_TRAIN, .classes = 10 }, { "a/test", 10 * A_TEST, .classes = 10 },
                { "b/train", 20 * B_TRAIN, .classes = 20 }, { "b/test", 20 * B_TEST, .classes = 20 } },
};
