/* measure.c: the statistics of an experiment: over which images, and kept where, so that they are measured
 * once per predecessor and image set. */
#include "recycle/stage.h"
#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>

/* ---- over the experiment's images ---------------------------------------------------------------------- */

static void show_progress(i64 done, i64 all, f64 seconds)
{
    char bar[32], left[24];
    f64 rate = (f64)done / MAX(seconds, 1e-9);
    text_time(left, (f64)(all - done) / MAX(rate, 1e-9));
    progress("measuring activations  %lld/%lld images  %s  %.0f img/s  ETA %s", (long long)done,
             (long long)all, say_bar(bar, 24, (f64)done / (f64)all), rate, left);
}

static int run_images(struct measuring *m, loader *l, i64 all)
{
    const struct batch *held = NULL, *b;
    i64 done = 0, passes = loader_batches(l);
    i64 a_batch = m->s->recycle.average == AVERAGE_all ? passes : m->s->recycle.batch / m->step;
    f64 start = clock_now(), told = start;
    int rc = 0;
    loader_start(l, 0, 0);
    stop_watched(true);
    for (i64 pass = 0; !rc && (b = loader_next(l)); pass++) {
        rc = measuring_step(m, b, (pass + 1) % a_batch == 0 || pass + 1 == passes);
        if (held)
            loader_release(l, held);
        held = b;
        done += b->n;
        show_progress(done, all, clock_now() - start);
        if (!say_live() && clock_now() - told > 30) {
            told = clock_now();
            say(SAY_NORMAL, "recycle: %lld of %lld images measured, %.1f img/s", (long long)done,
                (long long)all, (f64)done / (told - start));
        }
        if (!rc && stop_requested())
            rc = fail(stop_fault(), "stopped by a signal while measuring activations; nothing was written");
    }
    stop_watched(false);
    progress_done();
    bool read_all = fail_fault() == FAULT_NONE;
    rc = dev_finish(m->d) || rc || !read_all ? -1 : 0;
    if (held)
        loader_release(l, held);
    if (!rc && !done)
        return fail(FAULT_DATA, "no image could be read to measure activations on");
    if (!rc)
        say(SAY_NORMAL, "recycle: activations of %lld images measured at %.1f img/s", (long long)done,
            (f64)done / (clock_now() - start));
    return rc;
}

/* Names the first layer, as images pass them, that gave something else than numbers. */
static int measure_check_numbers(const struct statistics *st)
{
    static const enum site order[SITES] = { SITE_ATTN, SITE_CHANNEL, SITE_HIDDEN };
    for (int l = 0; l < st->depth; l++)
        for (int k = 0; k < SITES; k++) {
            const struct activity *x = &st->of[order[k]][l];
            for (int i = 0; i < x->width; i++)
                if (!isfinite(x->l1[i]) || !isfinite(x->l2[i]))
                    return fail(FAULT_NUMBERS, "the predecessor computes NaN or infinity at %s of block %d, "
                                "unit %d: is the checkpoint damaged?", site_names[order[k]], l, i);
        }
    return 0;
}

static int measure_images(struct predecessor *p, dev *d, dataset *set, struct data_options *o, bool pairs,
                          arena *a, struct statistics *out)
{
    struct measuring m = { 0 };
    loader *l = NULL;
    fail_clear();                                 // run_images tells a fault from the last image by this
    int rc = predecessor_load(p, d) || measuring_open(&m, &p->s, &p->n, d, p->p, pairs) ? -1 : 0;
    o->batch = m.step;
    rc = rc || !(l = loader_open(set, o)) || run_images(&m, l, o->limit) ? -1 : 0;
    rc = rc || measuring_read(&m, a, out) ? -1 : 0;
    rc = rc || measure_check_numbers(out) ? -1 : 0;
    if (l)
        loader_close(l);
    measuring_close(&m);
    return rc;
}

/* ---- where statistics are kept ------------------------------------------------------------------------- */

/* Which images, by name and size, everything that shapes them on their way, and what the network computes of
 * them that its tensors do not tell: a folder's config.json does. */
static void measure_hash(const struct predecessor *p, const dataset *set, const struct data_options *o,
                        char hex[65])
{
    char *text = NULL, path[4096];
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    check(f, "no memory stream");
    f32 mean[3], std[3];
    data_mean_std(set, mean, std);
    fprintf(f, "%s %s %d %d %d %d\n", o->set, o->split, o->image, o->eval_short, o->bilinear, o->exif);
    for (int i = 0; i < 3; i++)
        fprintf(f, "%.9g %.9g\n", mean[i], std[i]);
    for (i64 i = 0; i < o->limit; i++) {
        i64 at = o->spread ? i * data_count(set) / o->limit : i;
        struct stat st = { 0 };
        const char *full = data_path(set, at, path), *name = full;
        for (int slashes = 0, k = (int)strlen(full); k-- > 0 && slashes < 2;)       // the root may move
            if (full[k] == '/' && ++slashes == 2)
                name = full + k + 1;
        if (stat(full, &st))
            st.st_size = 0;
        fprintf(f, "%s %lld\n", name, (long long)st.st_size);
    }
    fprintf(f, "fold %d heads %d act %d norm_eps %.9g precision %d\n", o->fold, p->n.heads, (int)p->s.model.act,
            p->s.model.norm_eps, (int)p->s.train.precision);
    fclose(f);
    bytes_sha256(text, size, hex);
    free(text);
}

static struct provenance provenance_of(const struct predecessor *p, const dataset *set,
                                       const struct data_options *o, const struct spec *s)
{
    bool by_batch = s->recycle.average == AVERAGE_batch;
    struct provenance w = { .images = o->limit, .batch = by_batch ? s->recycle.batch : 0 };
    memcpy(w.predecessor, p->sha256, sizeof w.predecessor);
    measure_hash(p, set, o, w.image_hash);
    const char *plain = s->recycle.threshold == THRESHOLD_zero ? "zero" : "mean + std";
    if (s->recycle.threshold == THRESHOLD_percentile)
        snprintf(w.threshold, sizeof w.threshold, "percentile %.6g", s->recycle.percentile);
    else
        snprintf(w.threshold, sizeof w.threshold, "%s", plain);
    return w;
}

static const char *cache_path(const struct provenance *w, arena *a)
{
    char hex[65];
    const char *text = arena_printf(a, "%s %s %lld %d %s", w->predecessor, w->image_hash,
                                    (long long)w->images, w->batch, w->threshold);
    bytes_sha256(text, strlen(text), hex);
    return arena_printf(a, "%s/statistics/%.16s.safetensors", dev_cache_dir(), hex);
}

static bool measure_complete(const struct statistics *st, bool pairs)
{
    return !pairs || st->of[SITE_HIDDEN]->together;
}

/* 1: read; 0: to be measured; -1: a file that was asked for and does not serve. */
static int read_kept(const char *path, bool asked, const struct provenance *w, bool pairs, arena *a,
                     struct statistics *out)
{
    if (!file_exists(path))
        return 0;
    if (statistics_load(path, w, a, out)) {
        if (asked)
            return -1;
        fail_clear();
        return 0;
    }
    if (!measure_complete(out, pairs) && asked)
        return fail(FAULT_DATA, "%s has no co-activation: remove it, or name another file in "
                    "recycle.statistics", path);
    if (!measure_complete(out, pairs))
        return 0;
    say(SAY_NORMAL, "recycle: statistics of %lld images from %s", (long long)w->images, path);
    return 1;
}

/* Makes the folders, too: measuring takes minutes, and then there must be a place for what it gave. */
static int can_keep(const char *path, arena *a)
{
    const char *slash = strrchr(path, '/');
    int rc = slash && slash > path ? file_mkdirs(arena_printf(a, "%.*s", (int)(slash - path), path)) : 0;
    return rc || ckpt_can_save(path) ? -1 : 0;
}

static int measure_keep(const char *path, bool asked, const struct statistics *st, const struct provenance *w,
                        arena *a)
{
    int rc = can_keep(path, a) || statistics_save(st, w, path) ? -1 : 0;
    if (!rc || asked)
        return rc;
    warn("the statistics cannot be saved: %s", fail_message());
    fail_clear();
    return 0;
}

static struct data_options measure_images_of(const struct predecessor *p)
{
    struct data_options o = data_options_of(&p->s, true);
    o.train = o.fast_decode = false;
    o.augment = (struct augment_options){ 0 };
    return o;
}

int statistics_get(struct predecessor *p, const struct spec *s, dev *d, bool pairs, arena *a,
                   struct statistics *out)
{
    struct data_options o = measure_images_of(p);
    *out = (struct statistics){ 0 };
    if (!d && !*s->data.set)
        return 0;
    if (!*s->data.set)
        return fail(FAULT_USAGE, "strategy %s measures activations on images: set data.set and data.root",
                    s->recycle.strategy);
    int rows = list_at(p->s.model.image, 0), columns = list_at(p->s.model.image, 1);
    if (rows != columns)
        return fail(FAULT_USAGE, "%s sees images of %d x %d; only squares can be measured",
                    p->path, rows, columns);
    dataset *set = data_open(&o);
    if (!set)
        return -1;
    o.limit = MIN((i64)s->recycle.images, data_count(set));
    o.spread = s->recycle.average == AVERAGE_all;        // the released scripts take the first images
    struct provenance w = provenance_of(p, set, &o, s);
    bool asked = *s->recycle.statistics;
    const char *path = asked ? s->recycle.statistics : cache_path(&w, a);
    int rc = read_kept(path, asked, &w, pairs, a, out);
    if (!rc && d && asked)
        rc = can_keep(path, a);
    if (!rc && d && !(rc = measure_images(p, d, set, &o, pairs, a, out)))
        rc = measure_keep(path, asked, out, &w, a);
    data_close(set);
    return rc < 0 ? -1 : 0;
}
