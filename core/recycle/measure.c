/* measure.c: the statistics of an experiment: over which images, and kept where, so that they are measured
 * once per predecessor and image set. */
#include "dist/dist.h"
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

/* What comes from the loader: the next batch, and the one whose pass may not be done. */
struct measure_input { loader *l; const struct batch *next, *held; };

/* A pass of which all images were skipped is run without any. */
static int measure_pass(struct measuring *m, struct measure_input *in, i64 pass, bool ends)
{
    static const struct batch none;
    if (!in->next && !(in->next = loader_next(in->l)) && fail_fault() != FAULT_NONE)
        return -1;
    bool here = in->next && loader_number(in->next) == pass;
    if (measuring_step(m, here ? in->next : &none, ends))
        return -1;
    if (!here)
        return 0;
    if (in->held)
        loader_release(in->l, in->held);
    in->held = in->next;
    in->next = NULL;
    return 0;
}

struct measure_clock { f64 start, told; i64 all; };

static void measure_tell(struct measure_clock *t, i64 done)
{
    f64 now = clock_now();
    show_progress(done, t->all, now - t->start);
    if (say_live() || now - t->told <= 30)
        return;
    t->told = now;
    say(SAY_NORMAL, "recycle: %lld of %lld images measured, %.1f img/s", (long long)done, (long long)t->all,
        (f64)done / (now - t->start));
}

/* After every pass the ranks tell whether to continue. */
static int measure_agree(int rc)
{
    if (!rc && stop_requested())
        rc = fail(stop_fault(), "stopped by a signal while measuring activations; nothing was written");
    return dist_agree(rc);
}

/* This rank's segments, one pass after the other; sums: m->words of each. */
static int measure_segments(struct measuring *m, loader *l, const struct segments *g, f64 *sums)
{
    struct measure_input in = { l };
    struct measure_clock t = { clock_now(), clock_now(), g->images };
    i64 first = segment_begin(g, g->from), end = segment_begin(g, g->to), all = segment_begin(g, g->n);
    i64 a_batch = m->s->recycle.average == AVERAGE_all ? all : m->s->recycle.batch / g->step, at = g->from;
    int rc = 0;
    loader_start_part(l, first, end);
    t.all = MIN(g->images, end * g->step) - first * g->step;
    say(SAY_VERBOSE, "recycle: %lld of %lld images are measured on this rank", (long long)t.all,
        (long long)g->images);
    for (i64 i = first; i < first + g->rounds && !rc; i++) {
        rc = i < end ? measure_pass(m, &in, i, (i + 1) % a_batch == 0 || i + 1 == all) : 0;
        if (!rc && i < end && i + 1 == segment_begin(g, at + 1))
            rc = measuring_take(m, sums + m->words * (at++ - g->from));
        rc = measure_agree(rc);
        measure_tell(&t, m->seen);
    }
    rc = dev_finish(m->d) || rc ? -1 : 0;
    if (in.held)
        loader_release(l, in.held);
    return rc;
}

/* A rank that has no images waits for those that have. */
static int measure_wait(const struct segments *g)
{
    int rc = 0;
    for (i64 i = 0; i < g->rounds && !rc; i++)
        rc = measure_agree(0);
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

/* How many images and batches all ranks saw. */
static int measure_count(struct measuring *m, f64 seconds)
{
    f64 seen[2] = { (f64)m->seen, (f64)m->batches };
    if (dist_sum(seen, 2))
        return -1;
    m->batches = (i64)seen[1];
    if (!seen[0])
        return fail(FAULT_DATA, "no image could be read to measure activations on");
    say(SAY_NORMAL, "recycle: activations of %.0f images measured at %.1f img/s", seen[0], seen[0] / seconds);
    return 0;
}

/* Measures this rank's segments with an open network, and adds up those of all. */
static int measure_own(struct measuring *m, dataset *set, struct data_options *o, const struct segments *g,
                       arena *a, struct statistics *out)
{
    f64 *sums = arena_array(a, f64, m->words * MAX(1, g->to - g->from)), *sum = arena_array(a, f64, m->words);
    f64 start = clock_now();
    o->batch = g->step;
    loader *l = g->to > g->from ? loader_open(set, o) : NULL;
    int rc = dist_agree(g->to > g->from && !l ? -1 : 0);
    rc = rc || (l ? measure_segments(m, l, g, sums) : measure_wait(g)) || measure_count(m, clock_now() - start)
         || segments_sum(g, m->words, sums, sum) ? -1 : 0;
    rc = rc || (m->g && measuring_read(m, sum, g, a, out)) ? -1 : 0;
    if (l)
        loader_close(l);
    return rc;
}

/* Together. Who cannot read the predecessor, or has another one under its name, leaves it to others. */
static int measure_images(struct predecessor *p, dev *d, dataset *set, struct data_options *o, bool pairs,
                          arena *a, struct statistics *out)
{
    struct measuring m = { 0 };
    struct segments g;
    char whose[65];
    fail_clear();                                 // a pass tells a fault from the last image by this
    memcpy(whose, p->sha256, sizeof whose);
    if (dist_broadcast(whose, sizeof whose))
        return -1;
    segments_cut(&g, &p->s, o->limit, measuring_step_images(&p->s, d));
    int rc = segments_share(&g, p->c && !strcmp(whose, p->sha256), a);
    if (!rc && (g.to > g.from || !dist_rank()))            // rank 0 also adds up
        rc = predecessor_load(p, d) || measuring_open(&m, &p->s, &p->n, d, p->p, pairs) ? -1 : 0;
    rc = dist_agree(rc);
    stop_watched(true);
    rc = rc || measure_own(&m, set, o, &g, a, out) || (!dist_rank() && measure_check_numbers(out)) ? -1 : 0;
    stop_watched(false);
    progress_done();
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
    o.train = false;                              // so that no picture is shrunk while it is decoded
    o.augment = (struct augment_options){ 0 };
    return o;
}

static int check_measurable(const struct predecessor *p, const struct spec *s)
{
    if (!*s->data.set)
        return fail(FAULT_USAGE, "strategy %s measures activations on images: set data.set and data.root",
                    s->recycle.strategy);
    int rows = list_at(p->s.model.image, 0), columns = list_at(p->s.model.image, 1);
    return rows == columns ? 0 : fail(FAULT_USAGE, "%s sees images of %d x %d; only squares can be measured",
                                      p->path, rows, columns);
}

/* Where statistics of these images are kept. */
struct measure_place { struct provenance w; const char *path; bool asked; };

static struct measure_place measure_place_of(const struct predecessor *p, const struct spec *s,
                                             const dataset *set, const struct data_options *o, arena *a)
{
    struct measure_place k = { .w = provenance_of(p, set, o, s), .asked = *s->recycle.statistics };
    k.path = k.asked ? s->recycle.statistics : cache_path(&k.w, a);
    return k;
}

int statistics_get(struct predecessor *p, const struct spec *s, dev *d, bool pairs, arena *a,
                   struct statistics *out)
{
    struct data_options o = measure_images_of(p);
    struct measure_place k = { .path = "" };
    bool first = !dist_rank(), measures = false;
    dataset *set = NULL;
    *out = (struct statistics){ 0 };
    if (!d && !*s->data.set)
        return 0;
    int rc = (first && check_measurable(p, s)) || !(set = data_open(&o)) ? -1 : 0;
    if (!rc) {
        o.limit = MIN((i64)s->recycle.images, data_count(set));
        o.spread = s->recycle.average == AVERAGE_all;        // the released scripts take the first images
    }
    if (!rc && first) {
        k = measure_place_of(p, s, set, &o, a);
        rc = read_kept(k.path, k.asked, &k.w, pairs, a, out);
        measures = !rc && d;
        rc = rc < 0 || (measures && k.asked && can_keep(k.path, a)) ? -1 : 0;
    }
    rc = dist_agree(rc) || dist_broadcast(&measures, sizeof measures) ? -1 : 0;
    if (!rc && measures)
        rc = measure_images(p, d, set, &o, pairs, a, out)
             || (first && measure_keep(k.path, k.asked, out, &k.w, a)) ? -1 : 0;
    if (set)
        data_close(set);
    return rc;
}
