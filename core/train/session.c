/* session.c: what every command that runs a model opens: device, data sets, parameters. The experiment's
 * `auto` values are filled in here from what was opened. */
#include "train/learner.h"

static int check_square(const struct spec *s)
{
    const struct shape of = model_images(s, 1);
    if (of.d[2] == of.d[3])
        return 0;
    return fail(FAULT_USAGE, "model.image is %d x %d, but images of a data set are read as squares",
                (int)of.d[2], (int)of.d[3]);
}

static int open_split(struct session *e, bool train)
{
    struct data_options *o = train ? &e->train_options : &e->eval_options;
    dataset **d = train ? &e->train : &e->eval;
    *o = data_options_of(&e->s, train);
    if (train && dist_size() > 1) {
        o->shared = true;
        exchange_share(&e->s, &o->from, &o->to);
    } else if (dist_size() > 1) {
        o->rank = dist_rank();
        o->ranks = dist_size();
    }
    if (check_square(&e->s))
        return -1;
    if (!*e->s.data.set)
        return fail(FAULT_USAGE, "data.set is not given "
                    "(--set data.set=folder --set data.root=DIR)");
    if (!(*d = data_open(o)))
        return -1;
    if (!train)                                   // no memory for more images than there are
        o->batch = MIN(o->batch, MAX(1, data_count(*d)));
    if (!train && e->train)
        return data_follow(*d, data_class_names(e->train), data_classes(e->train), e->train_options.split);
    if (!train)
        return 0;
    if (data_classes(*d) < 2)
        return fail(FAULT_DATA, "%s: all images are of one class, %s: nothing is to be learnt (images belong "
                    "in <split>/<class>/)", o->split, data_class_name(*d, 0));
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

/* What the device can hold. A CPU device's is the machine's, which some drivers
 * understate, within this process's limits. */
static u64 device_memory(const dev *d)
{
    const struct dev_info *info = dev_info(d);
    struct memory m = memory_look();
    return info->class == DEV_CPU ? MIN(MAX(info->global_mem, m.machine), m.limit) : info->global_mem;
}

/* Memory that is free now, where the device shares the machine's; else, or when it is not known, no limit. */
static u64 free_memory(const dev *d)
{
    return dev_info(d)->class == DEV_CPU ? memory_look().unused : UINT64_MAX;
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
    const char *by = dev_info(e->d)->class == DEV_CPU ? memory_look().by : "";
    return fail(FAULT_DEVICE, "training needs %s: %s for weights, gradients and moments, %s for the "
                "activations of %d image%s, %s to evaluate; %s has %s%s, %s of it free (a smaller model, or a "
                "larger train.accumulate)", need, weights, acts, images, images == 1 ? "" : "s", eval,
                dev_info(e->d)->name, have, by, left);
}

/* Fills in train.accumulate: as few micro-batches as nine tenths of the memory allow, whatever else runs
 * now, so that the same machine always computes the same; but what is not free now is not taken. Several
 * micro-batches, and averaged weights, take a slab each besides weights, gradients and two moments. */
int session_fit(struct session *e)
{
    int from, batch, given = e->s.train.accumulate, rc = 0;
    exchange_share(&e->s, &from, &batch);
    batch -= from;
    u64 have = device_memory(e->d) / 10 * 9;
    arena *a = arena_open("memory");
    struct model_count k;
    for (int count = MAX(1, given); have && batch && !rc; count++) {
        int images = MAX(1, batch / count);
        if (batch % count && !given)
            continue;
        if ((rc = model_count(a, &e->s, dist_size(), images,
                              e->eval ? e->eval_options.batch : data_options_of(&e->s, false).batch, &k)))
            break;
        bool sums = count > 1 && (e->s.dist.shard != SHARD_gradients || dist_size() == 1);
        u64 state = k.state_bytes + k.weight_bytes * (u64)(sums + (e->s.train.ema > 0));
        state += (u64)shape_count(model_images(&e->s, images)) * (count > 1 ? 2 : 1);    // pixels: see feed.c
        u64 need = state + k.train_bytes + k.eval_bytes;
        e->s.train.accumulate = count;
        if (need <= have) {
            rc = need > free_memory(e->d) ? too_large(e, &k, images, state) : 0;
            break;
        }
        if (given || count >= batch || state > have)
            rc = too_large(e, &k, images, state);
    }
    arena_close(a);
    return rc;
}

static int session_shares(const struct spec *s)
{
    f64 sum = 0;
    check(!shares_auto(s) || dist_size() == 1, "shares are measured before a session is opened");
    if (shares_auto(s))
        return 0;
    for (int i = 0; i < s->dist.shares.n; i++)
        sum += s->dist.shares.v[i];
    if (s->dist.shares.n && s->dist.shares.n != dist_size())
        return fail(FAULT_USAGE, "dist.shares has %d values for %d rank%s (--set dist.shares=[] for equal "
                                 "shares)",
                    s->dist.shares.n, dist_size(), dist_size() == 1 ? "" : "s");
    return s->dist.shares.n && sum <= 0 ? fail(FAULT_USAGE, "dist.shares are all 0") : 0;
}

/* Before anything that can fail on one rank alone. */
static int share_indices(const struct spec *s, int wants)
{
    struct data_options train = data_options_of(s, true), eval = data_options_of(s, false);
    return *s->data.set && (((wants & SESSION_TRAIN_DATA) && dist_share_index(&train))
                            || ((wants & SESSION_EVAL_DATA) && dist_share_index(&eval))) ? -1 : 0;
}

int session_open(struct session *e, const struct spec *s, int wants, const char *weights)
{
    *e = (struct session){ .s = *s };
    if (((wants & SESSION_TRAINS) && session_shares(s)) || share_indices(s, wants))
        return -1;
    if ((wants & SESSION_TRAIN_DATA) && open_split(e, true))
        return -1;
    if ((wants & SESSION_EVAL_DATA) && open_split(e, false))
        return -1;
    if (!(e->d = model_device(dev_open_rank(e->s.device, dist_size() > 1 ? dist_local() : -1), s)))
        return -1;
    if ((wants & SESSION_TRAINS) && session_fit(e))
        return -1;
    if (weights)
        e->s.model.init = weights;
    if (dist_rank())                              // rank 0's are sent to all
        e->s.model.init = "";
    e->p = model_open(e->d, &e->s, wants & SESSION_TRAINS ? PARAMS_TRAIN : PARAMS_FORWARD);
    return e->p ? 0 : -1;
}

/* Of a data set's classes and files, by name. */
static u64 session_hash(u64 h, const dataset *d)
{
    char path[4096];
    for (int k = 0; d && k < data_classes(d); k++)
        h = hash_text(h, data_class_name(d, k));
    for (i64 i = 0; d && i < data_count(d); i++) {
        const char *full = data_path(d, i, path), *slash = strrchr(full, '/');
        h = hash_text(h, slash ? slash : full);          // the folder may lie elsewhere on another machine
    }
    return h;
}

/* Two ranks that compute on one GPU, which takes them alternately. */
static void warn_of_sharing(void)
{
    for (int r = 0; r < dist_size(); r++)
        for (int k = 0; k < r; k++)
            if (!strcmp(dist_host(r), dist_host(k)) && !strcmp(dist_device(r), dist_device(k)))
                warn("%s and rank %d compute on the same GPU", dist_name(r), k);
}

int session_join(const struct session *e)
{
    if (dist_size() == 1)
        return 0;
    const struct dev_info *info = dev_info(e->d);
    if (dist_name_device(info->spec)
        || dist_same(session_hash(session_hash(HASH_START, e->train), e->eval), FAULT_DATA,
                     "the data set there"))
        return -1;
    dist_tell_names();
    if (info->gpu_kind || info->emulated)
        warn_of_sharing();
    return 0;
}

/* Labels go by name; without names on the model's side only a split of as many classes can be meant. */
static int follow_classes(struct session *e, const struct trained *t)
{
    if (t->names)
        return data_follow(e->eval, t->names, t->n, t->path);
    if (data_classes(e->eval) != t->n)
        return fail(FAULT_DATA, "%s does not name its %d classes, and %s has %d: name them in the order of "
                    "its head, --set data.classes=[...]", t->path, t->n, e->eval_options.split,
                    data_classes(e->eval));
    say(SAY_NORMAL, "%s does not name its %d classes: taken to be those of %s in this order", t->path, t->n,
        e->eval_options.split);
    return 0;
}

int session_open_trained(struct session *e, const struct trained *t, bool data)
{
    *e = (struct session){ .s = t->s };
    if (data && share_indices(&t->s, SESSION_EVAL_DATA))
        return -1;
    if (check_square(&e->s))                      // predict's images are not opened here
        return -1;
    if (data && (open_split(e, false) || follow_classes(e, t)))
        return -1;
    if (!(e->d = model_device(dev_open_rank(e->s.device, dist_size() > 1 ? dist_local() : -1), &e->s)) ||
        !(e->p = model_params(&e->s)))
        return -1;
    return params_open(e->p, e->d, PARAMS_FORWARD) || model_load_whole(e->p, &e->s, t->c, NULL, NULL) ? -1 : 0;
}

ckpt *session_ckpt(const struct session *e, arena *a)
{
    const dataset *d = e->train ? e->train : e->eval;
    int n = data_classes(d);
    const char **names = arena_array(a, const char *, n);
    f32 mean[3], std[3];
    f64 means[3], stds[3];
    data_mean_std(d, mean, std);
    for (int i = 0; i < 3; i++)
        means[i] = mean[i], stds[i] = std[i];
    for (int i = 0; i < n; i++)
        names[i] = data_class_name(d, i);
    const char *ema[] = { "ema", arena_printf(a, "%g", e->s.train.ema), NULL };
    struct model_about about = { .classes = names, .n_classes = n, .mean = means, .std = stds,
                                 .more = e->s.train.ema > 0 ? ema : NULL };
    ckpt *c = ckpt_new();
    model_describe(c, &e->s, a, &about);
    return c;
}

int session_save(const struct session *e, const params *p, const char *path)
{
    arena *a = arena_open("checkpoint");
    ckpt *c = session_ckpt(e, a);
    params_save(p, c, a);
    int rc = ckpt_save(c, path);
    ckpt_close(c);
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
