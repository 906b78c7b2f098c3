/* session.c: what every command that runs a model opens: device, data sets, parameters. The experiment's
 * `auto` values are filled in here from what was opened. */
#include "train/learner.h"
#include <unistd.h>

static int open_split(struct session *e, bool train)
{
    struct data_options *o = train ? &e->train_options : &e->eval_options;
    dataset **d = train ? &e->train : &e->eval;
    *o = data_options_of(&e->s, train);
    const struct shape of = model_images(&e->s, 1);
    if (of.d[2] != of.d[3])
        return fail(FAULT_USAGE, "model.image is %d x %d, but images of a data set are read as squares",
                    (int)of.d[2], (int)of.d[3]);
    if (!*e->s.data.set)
        return fail(FAULT_USAGE, "data.set is not given "
                    "(--set data.set=folder --set data.root=DIR)");
    if (!(*d = data_open(o)))
        return -1;
    if (!train && e->train)
        return data_follow(*d, data_class_names(e->train), data_classes(e->train), e->train_options.split);
    if (!train)
        return 0;
    if (!e->s.model.classes)
        e->s.model.classes = data_classes(*d);
    if (e->s.model.classes != data_classes(*d))
        return fail(FAULT_USAGE, "model.classes is %d, but %s has %d", e->s.model.classes, o->split,
                    data_classes(*d));
    if (data_count(*d) < e->s.train.batch)
        return fail(FAULT_USAGE, "train.batch is %d, but %s has only %d images", e->s.train.batch, o->split,
                    data_count(*d));
    return 0;
}

/* What the device can hold. A CPU device's is the machine's, which some drivers understate. */
static u64 device_memory(const dev *d)
{
    const struct dev_info *info = dev_info(d);
    u64 machine = (u64)sysconf(_SC_PHYS_PAGES) * (u64)sysconf(_SC_PAGESIZE);
    return info->class == DEV_CPU ? MAX(info->global_mem, machine) : info->global_mem;
}

/* Memory that is free now, where the device shares the machine's; else, or when it is not known, no limit. */
static u64 free_memory(const dev *d)
{
    char line[256];
    unsigned long long kb = 0;
    FILE *f = dev_info(d)->class == DEV_CPU ? fopen("/proc/meminfo", "r") : NULL;
    while (f && fgets(line, sizeof line, f) && sscanf(line, "MemAvailable: %llu kB", &kb) != 1)
        ;
    if (f)
        fclose(f);
    return kb ? (u64)kb << 10 : UINT64_MAX;
}

static int too_large(struct session *e, const struct model_count *k, int images, u64 state)
{
    char need[24], weights[24], acts[24], eval[24], have[24], left[24] = "all";
    u64 unused = free_memory(e->d);
    if (unused < device_memory(e->d))
        text_bytes(left, (f64)unused);
    text_bytes(need, (f64)(state + k->train_bytes + k->eval_bytes));
    text_bytes(weights, (f64)state);
    text_bytes(acts, (f64)k->train_bytes);
    text_bytes(eval, (f64)k->eval_bytes);
    text_bytes(have, (f64)device_memory(e->d));
    return fail(FAULT_DEVICE, "training needs %s: %s for weights, gradients and moments, %s for the "
                "activations of %d image%s, %s to evaluate; %s has %s, %s of it free (a smaller model, or a "
                "larger train.accumulate)", need, weights, acts, images, images == 1 ? "" : "s", eval,
                dev_info(e->d)->name, have, left);
}

/* Fills in train.accumulate: as few parts of a batch as nine tenths of the memory allow, whatever else runs
 * now, so that the same machine always computes the same; but what is not free now is not taken. Several
 * parts, and averaged weights, take an arena each besides weights, gradients and two moments. */
int session_fit(struct session *e)
{
    int batch = e->s.train.batch, given = e->s.train.accumulate, rc = 0;
    u64 have = device_memory(e->d) / 10 * 9;
    arena *a = arena_open("memory");
    struct model_count k;
    for (int parts = MAX(1, given); have && !rc; parts++) {
        int images = MAX(1, batch / parts);
        if (batch % parts && !given)
            continue;
        if ((rc = model_count(a, &e->s, images, data_options_of(&e->s, false).batch, &k)))
            break;
        u64 state = k.state_bytes + k.weight_bytes * ((parts > 1) + (e->s.train.ema > 0));
        state += (u64)shape_count(model_images(&e->s, images)) * (parts > 1 ? 2 : 1);    // pixels: see feed.c
        u64 need = state + k.train_bytes + k.eval_bytes;
        e->s.train.accumulate = parts;
        if (need <= have) {
            rc = need > free_memory(e->d) ? too_large(e, &k, images, state) : 0;
            break;
        }
        if (given || parts >= batch || state > have)
            rc = too_large(e, &k, images, state);
    }
    arena_close(a);
    return rc;
}

int session_open(struct session *e, const struct spec *s, int wants, const char *weights)
{
    *e = (struct session){ .s = *s };
    if ((wants & SESSION_TRAIN_DATA) && open_split(e, true))
        return -1;
    if ((wants & SESSION_EVAL_DATA) && open_split(e, false))
        return -1;
    if (!(e->d = dev_open_real(e->s.device)))
        return -1;
    if ((wants & SESSION_TRAINS) && session_fit(e))
        return -1;
    if (weights)
        e->s.model.init = weights;
    e->p = model_open(e->d, &e->s, wants & SESSION_TRAINS ? PARAMS_TRAIN : PARAMS_FORWARD);
    return e->p ? 0 : -1;
}

/* Labels go by name; without names on the model's side only a split of as many classes can be meant. */
static int follow_classes(struct session *e, const struct trained *t)
{
    if (t->names)
        return data_follow(e->eval, t->names, t->n, t->path);
    if (data_classes(e->eval) != t->n)
        return fail(FAULT_DATA, "%s does not name its %d classes, and %s has %d: name them in the order of its head, "
                    "--set data.classes=[...]", t->path, t->n, e->eval_options.split, data_classes(e->eval));
    say(SAY_NORMAL, "%s does not name its %d classes: taken to be those of %s in this order", t->path, t->n,
        e->eval_options.split);
    return 0;
}

int session_open_trained(struct session *e, const struct trained *t, bool data)
{
    *e = (struct session){ .s = t->s };
    if (data && (open_split(e, false) || follow_classes(e, t)))
        return -1;
    if (!(e->d = dev_open_real(e->s.device)) || !(e->p = model_params(&e->s)))
        return -1;
    return params_open(e->p, e->d, PARAMS_FORWARD) || model_load_whole(e->p, &e->s, t->c) ? -1 : 0;
}

int session_save(const struct session *e, const char *path)
{
    const dataset *d = e->train ? e->train : e->eval;
    arena *a = arena_open("class names");
    int n = data_classes(d);
    const char **names = arena_array(a, const char *, n);
    f32 mean[3], std[3];
    f64 means[3], stds[3];
    data_mean_std(d, mean, std);
    for (int i = 0; i < 3; i++)
        means[i] = mean[i], stds[i] = std[i];
    for (int i = 0; i < n; i++)
        names[i] = data_class_name(d, i);
    struct model_about about = { .classes = names, .n_classes = n, .mean = means, .std = stds };
    int rc = model_save(e->p, &e->s, path, &about);
    arena_close(a);
    return rc;
}

void session_close(struct session *e)
{
    params_free(e->p);
    if (e->train)
        data_close(e->train);
    if (e->eval)
        data_close(e->eval);
    if (e->d)
        dev_close(e->d);
    *e = (struct session){ 0 };
}
