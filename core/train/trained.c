/* trained.c: a checkpoint to evaluate or predict with: its experiment, its classes, how its images are
 * normalised. All of that is read off the file; an experiment given besides says it instead, but for the
 * classes, whose number and names are always the file's. */
#include "train/learner.h"

static int read_experiment(struct trained *t, arena *a, const struct spec_set *sets, int n)
{
    bool guessed, heads;
    const char *text = model_experiment_text(t->c, a, &guessed, &heads);
    const char *name = arena_printf(a, "%s (its experiment)", t->path);
    if (!text)
        return -1;
    if (spec_load_text(&t->s, a, name, text, NULL, 0))         // the file is wrong, not what was asked for
        return fail(FAULT_DATA, "%s", fail_message());
    if (n && spec_load_text(&t->s, a, name, text, sets, n))
        return -1;
    for (int i = 0; i < n; i++)
        heads |= sets[i].text && text_starts(sets[i].text, "model.heads=");
    if (!heads)
        return fail(FAULT_DATA,
                    "%s does not say how many attention heads it has: --set model.heads=N, a divisor of "
                    "%d",
                    t->path, t->s.model.dim);
    if (guessed && !t->s.data.mean.n && !ckpt_meta(t->c, "mean"))
        say(SAY_NORMAL,
            "%s does not say how its images were normalised: taken as ImageNet's (--set data.mean=... "
            "--set data.std=...)",
            t->path);
    return 0;
}

static int trained_read_classes(struct trained *t, arena *a)
{
    t->n = model_classes(t->c, a, &t->names);
    if (t->n < 0)
        return -1;
    if (!t->n)
        return fail(FAULT_DATA,
                    "%s has no head, so no classes: train one first (jetcl train --set model.init=%s)",
                    t->path, t->path);
    if (t->s.model.classes && t->s.model.classes != t->n)
        return fail(FAULT_DATA, "model.classes is %d, but the head of %s has %d", t->s.model.classes, t->path,
                    t->n);
    if (!t->names && t->s.data.classes.n == t->n)
        t->names = t->s.data.classes.v;
    t->s.model.classes = t->n;
    return 0;
}

/* Mean or std, from `least` to 255, out of the metadata, where the experiment leaves them to the data set. */
static int read_three(const struct trained *t, arena *a, const char *key, f64 least, reals *to)
{
    f64 *v = arena_array(a, f64, 3);
    const char *text = ckpt_meta(t->c, key);
    if (to->n || !text || !*text)
        return 0;
    bool fits = sscanf(text, "%lf %lf %lf", &v[0], &v[1], &v[2]) == 3, fractions = true;
    for (int i = 0; i < 3; i++) {
        fits = fits && v[i] >= least && v[i] <= 255;
        fractions = fractions && v[i] > 0 && v[i] < 1;
    }
    if (!fits || fractions)                                // of pixels from 0 to 255
        return fail(FAULT_DATA, "%s: its metadata says '%.60s' for %s, which is not three such numbers "
                    "(--set data.%s=[...])", t->path, text, key, key);
    *to = (reals){ 3, v };
    return 0;
}

/* In the experiment of a run model.init_ema is about what the run started from, not about what it left. */
static bool trained_wants_ema(const struct trained *t, const char *path, const struct spec *s,
                              const struct spec_set *sets, int n)
{
    const char *format = ckpt_meta(t->c, "format");
    bool asked = !format || !text_starts(format, "jetcl ") || (s && !strcmp(path, s->model.init));
    for (int i = 0; i < n; i++)
        asked |= sets[i].text && text_starts(sets[i].text, "model.init_ema=");
    return t->s.model.init_ema && asked;
}

int trained_open(struct trained *t, arena *a, const char *path, const struct spec *s,
                 const struct spec_set *sets, int n)
{
    *t = (struct trained){ .path = ckpt_of_run(a, path) };
    if (!(t->c = ckpt_open_model(t->path, false)))
        return -1;
    if (s)
        t->s = *s;
    else if (read_experiment(t, a, sets, n))
        return -1;
    if (trained_wants_ema(t, path, s, sets, n)) {
        ckpt_close(t->c);
        if (!(t->c = ckpt_open_model(t->path, true)))
            return -1;
    }
    t->s.model.init = "";
    model_settle(&t->s, t->c);
    if (read_three(t, a, "mean", 0, &t->s.data.mean) || read_three(t, a, "std", 1e-6, &t->s.data.std))
        return -1;
    return trained_read_classes(t, a);
}

void trained_close(struct trained *t)
{
    ckpt_close(t->c);
    *t = (struct trained){ 0 };
}
