/* selftest.c: what a device must get right before anything is trained on it. */
#include "study/selftest.h"
#include "dist/dist.h"
#include "model/model.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#define CHECK_IMAGES(own) MIN(3, (own)->train.batch)       /* of an experiment's own network */

extern const char jetcl_git[];

static void check_say(struct selftest *t, bool ok, const char *what, const char *detail)
{
    if (t->n_lines < countof(t->lines))
        t->lines[t->n_lines++] = (struct check_line){ what, detail, ok };
    if (!ok && !t->failed)
        t->failed = detail;
}

/* ---- networks ------------------------------------------------------------------------------------------ */

/* Odd sizes leave remainders in every tile and vector; even ones take the paths without. */
static const struct { const char *name; int images; const char *sets[12]; } networks[] = {
    { "ViT and SpheroMoE, odd sizes",
      5,
      { "model.arch=vit", "model.image=[24, 40]", "model.patch=8", "model.dim=33", "model.depth=2",
        "model.heads=3", "model.moe.layers=[1]", "model.moe.core=3", "model.moe.universal=5",
        "model.classes=7", "model.drop_path=0.2" } },
    { "ViT and Soft MoE, even sizes",
      4,
      { "model.arch=vit", "model.image=32", "model.patch=8", "model.dim=64", "model.depth=2", "model.heads=2",
        "model.moe.layers=[1]", "model.moe.core=8", "model.moe.kind=soft", "model.classes=10" } },
    { "ConvNeXt",
      2,
      { "model.arch=convnext", "model.image=64", "model.depths=[1, 1, 1]", "model.dims=[8, 33, 48]",
        "model.classes=10", "model.moe.layers=[]" } },
};

/* Reports what was checked since `before`. */
static void check_told(struct selftest *t, arena *a, const char *what, const struct kernel_checks *before)
{
    struct kernel_checks *now = &t->kernels;
    const char *first = now->first;
    check_say(t, !first, what,
              first ? arena_printf(a, "%s%s", first,
                                   now->error > 0 ? arena_printf(a, " is off by %.2g", now->error) : "")
                    : arena_printf(a, "%d values, %d of them exact", now->nodes - before->nodes,
                                   now->equal - before->equal));
    now->first = NULL;
    now->error = 0;
}

static int check_network(struct selftest *t, arena *a, dev *d, const char *name, const struct spec *s, int n)
{
    const struct kernel_checks before = t->kernels;
    if (nodecheck_network(&t->kernels, s, d, n))
        return -1;
    check_told(t, a, name, &before);
    return 0;
}

/* Kernels that no network uses; with `ops` every op as well. */
static int check_others(struct selftest *t, arena *a, dev *d, bool ops)
{
    const struct kernel_checks before = t->kernels;
    if ((ops && opcheck_all(&t->kernels, d)) || kernelcheck_all(&t->kernels, d))
        return -1;
    check_told(t, a, ops ? "other ops, optimiser, batches" : "optimiser, statistics, batches", &before);
    return 0;
}

static int check_spec(arena *a, int i, struct spec *s)
{
    struct spec_set sets[12];
    int n = 0;
    while (n < countof(sets) && networks[i].sets[n]) {
        sets[n] = (struct spec_set){ .by = "self-test", .text = networks[i].sets[n] };
        n++;
    }
    return spec_load(s, a, NULL, sets, n);
}

/* Weights of twelve blocks would take longer to fill than to check. */
static int check_own(struct selftest *t, arena *a, dev *d, const struct spec *own)
{
    struct spec s = moe_shortened(a, own);
    return check_network(t, a, d, own->name, &s, CHECK_IMAGES(own));
}

/* ---- the same again ------------------------------------------------------------------------------------ */

/* Initial values that the device draws, against those of the host: equal bits. */
static int check_draws(struct selftest *t, arena *a, dev *d, const struct spec *s)
{
    struct spec own = *s;
    params *p = model_open(d, &own, PARAMS_FORWARD);
    const struct kernel_checks before = t->kernels;
    int rc = p ? 0 : -1;
    for (size_t i = 0; p && i < p->n && !rc; i++) {
        i64 n = shape_count(p->list[i].shape);
        f32 *got = arena_array(a, f32, n), *want = arena_array(a, f32, n);
        f64 *x = arena_array(a, f64, n), *y = arena_array(a, f64, n);
        rc = params_read(p, &p->list[i], got);
        param_start(&p->list[i], (u64)s->seed, want, a);
        for (i64 k = 0; k < n; k++)
            x[k] = got[k], y[k] = want[k];
        kernel_checked(&t->kernels, "start.cl draw", p->list[i].name, x, y, n, 0);
    }
    if (!rc)
        check_told(t, a, "random numbers", &before);
    params_free(p);
    return rc;
}

static int check_output(const node *out, arena *a, u64 *hash)
{
    f32 *v = arena_array(a, f32, node_count(out));
    if (graph_run(out->g) || dev_finish(out->g->d) || node_read(out, v))
        return -1;
    *hash = hash_bytes(HASH_START, v, (size_t)node_count(out) * 4);
    return 0;
}

/* The forward part ten times, and with launches that may overlap in another order: equal bits. */
static int check_repeats(struct selftest *t, arena *a, dev *d, const struct spec *s)
{
    enum { TIMES = 10 };
    struct spec own = *s;
    params *p = model_open(d, &own, PARAMS_FORWARD);
    u64 first = 0, now = 0;
    int other = 0, rc = p ? 0 : -1;
    struct nn m = { graph_new(d), p };
    if (!rc) {
        node *images = graph_input(m.g, "images", F32, model_images(s, 3));
        graph_step(m.g);
        node *out = node_keep(model_build(&m, s, images));
        f32 *v = arena_array(a, f32, node_count(images));
        for (i64 i = 0; i < node_count(images); i++)
            v[i] = (f32)((i * 37) % 101) / 50 - 1;
        step_words w = { .u = { [STEP_SEED_LO] = 1 } };
        simplify_graph(m.g);
        rc = graph_compile(m.g) || node_write(images, v) || graph_set_step(m.g, &w)
             || check_output(out, a, &first);
        for (int i = 0; i < TIMES && !rc; i++) {
            if (i >= TIMES / 2)
                trace_set("shuffle");
            rc = check_output(out, a, &now);
            other += now != first;
        }
        trace_set(getenv("JETCL_TRACE") ? getenv("JETCL_TRACE") : "");
    }
    if (!rc)
        check_say(t, !other, "repeatability", other ? arena_printf(a, "%d of %d runs gave other bits", other,
                                                                   TIMES)
                  : arena_printf(a, "equal bits %d times, %d of them in shuffled order", TIMES, TIMES / 2));
    graph_free(m.g);
    params_free(p);
    return rc ? -1 : 0;
}

/* ---- all of it ----------------------------------------------------------------------------------------- */

static int check_memory(struct selftest *t, arena *a, dev *d)
{
    struct check_line ranges, largest;
    if (memcheck_ranges(&ranges, a, d) || memcheck_largest(&largest, a, d))
        return -1;
    check_say(t, ranges.ok, ranges.what, ranges.detail);
    check_say(t, largest.ok, largest.what, largest.detail);
    return 0;
}

static int check_all(struct selftest *t, arena *a, dev *d)
{
    struct spec s;
    for (int i = 0; i < countof(networks); i++) {
        progress("%s: %s", dev_info(d)->name, networks[i].name);
        if (check_spec(a, i, &s) || check_network(t, a, d, networks[i].name, &s, networks[i].images))
            return -1;
    }
    int rc = check_spec(a, 0, &s) || check_memory(t, a, d) || check_draws(t, a, d, &s)
             || check_repeats(t, a, d, &s) ? -1 : 0;
    if (!rc && dev_class(d) == DEV_GPU && dev_info(d)->gpu_kind)
        check_say(t, true, "CLBlast",
                  dev_blas(d) ? "passed its check" : "not used: failed its check, or switched off");
    return rc;
}

/* The file that says that the check of s's network, or with NULL the whole of it, was made on d. Whatever
 * changes the kernels or their compiler is another case. */
static const char *check_record(arena *a, const struct spec *s, const char *device, const struct dev_info *d)
{
    char sizes[256] = "all";
    if (s)
        snprintf(sizes, sizeof sizes, "%s %d %d %d %d", s->model.arch, (int)s->model.dim, (int)s->model.depth,
                 (int)s->model.heads, (int)s->train.precision);
    u64 h = hash_text(HASH_START, d->name);
    const char *parts[] = { d->driver, d->version, d->platform, device, jetcl_git, sizes,
                            d->floats ? d->floats : "" };
    for (int i = 0; i < countof(parts); i++)
        h = hash_text(hash_text(h, "\n"), parts[i]);
    return arena_printf(a, "%s/checks/%016llx", dev_cache_dir(), (unsigned long long)h);
}

/* With JETCL_CL kernels may have changed: nothing is kept. */
static bool check_records(void)
{
    const char *folder = getenv("JETCL_CL");
    return !folder || !*folder;
}

/* text: the files that are replaced. Without a cache folder it is done again. */
static void check_keep(arena *a, const char *path, const char *text)
{
    if (check_records() && !file_mkdirs(arena_printf(a, "%s/checks", dev_cache_dir())))
        file_save(path, text, strlen(text));
    fail_clear();
}

/* The experiment whose network a helper gets ahead with, as a file beside the records; NULL: none can be
 * written. */
static const char *check_order(arena *a, const struct spec *own, const char *record)
{
    const char *path = arena_printf(a, "%s.%d.yaml", record, (int)getpid()), *text = spec_text(a, own);
    int rc = file_mkdirs(arena_printf(a, "%s/checks", dev_cache_dir())) || file_save(path, text, strlen(text));
    fail_clear();
    if (!rc)
        file_unfinished(path, true);
    return rc ? NULL : path;
}

static void check_order_end(const char *path)
{
    if (!path)
        return;
    unlink(path);
    file_unfinished(path, false);
}

/* PoCL compiles on one core: another process does the last checks first, and when this one gets there, their
 * kernels are in PoCL's cache. What was built before needs none. 0, or the process; *order: its experiment. */
static int check_helper(arena *a, const struct spec *own, const dev *d, const char *device, const char **order)
{
    const char *record = check_record(a, own, device, dev_info(d)), *ahead = "--ahead";
    if (!dev_builds_alone(d) || dist_size() > 1 || (!own && check_records() && file_exists(record)))
        return 0;
    if (own) {
        struct spec s = moe_shortened(a, own);
        if (!(*order = check_order(a, &s, record)))
            return 0;
        ahead = arena_printf(a, "--ahead=%s", *order);
    }
    return process_help((const char *[]){ "devices", "--check", ahead, "--device", device, NULL });
}

int selftest_ahead(arena *a, const char *device, const struct spec *own)
{
    struct kernel_checks c = kernel_checks_new(a);
    struct spec s;
    dev *d = dev_open_real(device);
    int last = countof(networks) - 1;
    int rc = !d || kernelcheck_all(&c, d) ? -1 : 0;
    if (!rc && own)
        rc = nodecheck_ahead(own, d, CHECK_IMAGES(own));
    else if (!rc)
        rc = check_spec(a, last, &s) || nodecheck_network(&c, &s, d, networks[last].images)
             || opcheck_all(&c, d) ? -1 : 0;
    dev_close(d);
    return rc;
}

static int check_by_bound(const void *a, const void *b)
{
    const struct kernel_check *x = a, *y = b;
    f64 p = x->error / MAX(x->bound, 1e-300), q = y->error / MAX(y->bound, 1e-300);
    return x->failed != y->failed ? y->failed - x->failed : (p < q) - (p > q);
}

int selftest_run(struct selftest *t, arena *a, const char *device, const struct spec *own, const char *replaced)
{
    f64 start = clock_now();
    struct dev_info found;
    if (!strcmp(device, "auto") && !dev_find(device, &found))
        device = arena_printf(a, "%s", found.spec);   // which it is was said before
    *t = (struct selftest){ .kernels = kernel_checks_new(a) };
    dev *d = dev_open_real(device);
    if (d)
        dev_replace(d, replaced);
    const char *order = NULL;
    int helper = d && !*replaced ? check_helper(a, own, d, device, &order) : 0;
    int rc = !d || (own ? check_own(t, a, d, own) : check_all(t, a, d))
             || check_others(t, a, d, !own) ? -1 : 0;
    process_end(helper);
    check_order_end(order);
    if (!rc && !own)
        check_keep(a, check_record(a, NULL, device, dev_info(d)), "");
    dev_close(d);
    qsort(t->kernels.list, (size_t)t->kernels.n, sizeof *t->kernels.list, check_by_bound);
    t->seconds = clock_now() - start;
    progress_done();
    return rc;
}

/* ---- before training ----------------------------------------------------------------------------------- */

/* The files whose kernels failed and have a generic one, "attention conv"; NULL: one that failed has none. */
static const char *check_culprits(arena *a, const struct selftest *t, const dev *d)
{
    const char *files = "";
    for (int i = 0; i < t->kernels.n; i++) {
        const struct kernel_check *k = &t->kernels.list[i];
        const char *file = arena_printf(a, "%.*s", (int)strcspn(k->name, ". "), k->name);
        if (k->failed && !dev_has_override(d, file))
            return NULL;
        if (k->failed && !strstr(arena_printf(a, " %s ", files), arena_printf(a, " %s ", file)))
            files = arena_printf(a, "%s%s%s", files, *files ? " " : "", file);
    }
    return *files ? files : NULL;
}

/* Without the kernels that failed: the generic ones of one file in their place, or of all files that are named,
 * where the test is then passed. */
static int check_without(const struct spec *s, const struct spec *own, arena *a, const struct selftest *t,
                         dev *d, const char **replaced)
{
    const char *all = check_culprits(a, t, d);
    char *save = NULL, *list = arena_printf(a, "%s", all && strlen(all) < 150 ? all : "");
    struct selftest again = { .failed = t->failed };
    for (char *file = strtok_r(list, " ", &save); file && again.failed && strchr(all, ' ');
          file = strtok_r(NULL, " ", &save))
        if (selftest_run(&again, a, s->device, own, *replaced = file))
            return -1;
    if (*list && again.failed && selftest_run(&again, a, s->device, own, *replaced = all))
        return -1;
    return !again.failed ? 0 : fail(FAULT_DEVICE, "%s fails its self-test: %s; --device %s@plain computes "
                                    "with the plain kernels", dev_info(d)->name, t->failed, s->device);
}

static void check_say_replaced(const dev *d, const char *files, const char *why)
{
    if (*files)
        warn("%s fails its self-test%s%s: plain kernels are used in place of those of %s", dev_info(d)->name,
             *why ? ": " : "", why, files);
}

/* Runs the test, and once more without what failed; *replaced: "" when nothing did. */
static int check_now(const struct spec *s, arena *a, dev *d, const char **replaced)
{
    struct selftest t;
    const struct spec *own = s->train.check == CHECK_full ? NULL : s;
    say(SAY_VERBOSE, "checking the kernels of this network on %s", dev_info(d)->name);
    *replaced = "";
    if (selftest_run(&t, a, s->device, own, "") || (t.failed && check_without(s, own, a, &t, d, replaced)))
        return -1;
    say(SAY_VERBOSE, "checked in %.1f s", t.seconds);
    check_say_replaced(d, *replaced, t.failed ? t.failed : "");
    return 0;
}

int selftest_before(const struct spec *s, dev *d)
{
    arena *a = arena_open("self-test");
    const char *check = getenv("JETCL_CHECK"), *replaced = NULL;
    bool off = s->train.check == CHECK_off || (s->train.check == CHECK_auto && check && !strcmp(check, "off"));
    int rc = 0;
    if (!off && dev_class(d) != DEV_NULL) {
        const char *path = check_record(a, s, s->device, dev_info(d));
        bool known = s->train.check == CHECK_auto && check_records() && file_exists(path);
        if (known && (replaced = file_text(a, path, NULL)))
            check_say_replaced(d, replaced, "");
        rc = replaced ? 0 : check_now(s, a, d, &replaced);
        if (!rc && !known)
            check_keep(a, path, replaced);
        if (!rc)
            dev_replace(d, replaced);
    }
    arena_close(a);
    return rc;
}
