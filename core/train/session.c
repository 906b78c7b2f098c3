/* session.c: what every command that runs a model opens: device, data sets, parameters. The experiment's `auto` values are
 * filled in here from what was opened. */
#include "train/learner.h"

static int open_split(struct session *e, bool train)
{
    struct data_options *o = train ? &e->train_options : &e->eval_options;
    dataset **d = train ? &e->train : &e->eval;
    *o = data_options_of(&e->s, train);
    if (!*e->s.data.set)
        return fail(FAULT_USAGE, "data.set is not given: which images? (--set data.set=folder --set data.root=DIR)");
    if (!(*d = data_open(o)))
        return -1;
    if (!e->s.model.classes)
        e->s.model.classes = data_classes(*d);
    if (e->s.model.classes != data_classes(*d))
        return fail(FAULT_USAGE, "model.classes is %d, but %s has %d", e->s.model.classes, o->split, data_classes(*d));
    if (train && data_count(*d) < e->s.train.batch)
        return fail(FAULT_USAGE, "train.batch is %d, but %s has only %d images", e->s.train.batch, o->split, data_count(*d));
    return 0;
}

int session_open(struct session *e, const struct spec *s, int wants, const char *weights)
{
    *e = (struct session){ .s = *s };
    if (((wants & SESSION_TRAIN_DATA) && open_split(e, true)) || ((wants & SESSION_EVAL_DATA) && open_split(e, false)))
        return -1;
    if (!(e->d = dev_open(e->s.device)))
        return -1;
    if (weights)
        e->s.model.init = weights;
    e->p = model_open(e->d, &e->s, wants & SESSION_TRAINS ? PARAMS_TRAIN : PARAMS_FORWARD);
    return e->p ? 0 : -1;
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
    int rc = model_save(e->p, &e->s, path, &(struct model_about){ .classes = names, .n_classes = n, .mean = means, .std = stds });
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
