/* weights.c: a network's parameters out of a checkpoint and into one, with what a checkpoint should
 * tell besides. */
#include "model/model.h"
#include <jansson.h>

/* ---- reading ------------------------------------------------------------------------------------------- */

struct load_options model_load_options(const struct spec *s)
{
    bool vit = !strcmp(s->model.family, "vit");
    struct shape image = model_images(s, 1);
    struct load_options o = { .strict = s->model.strict };
    model_prefix(s, &o.prefix);
    if (vit) {
        // The released scripts lose a token model's final norm; the paper's variant keeps it.
        o.norm_to_fc_norm = s->model.pool == POOL_avg && s->variant == VARIANT_paper;
        o.grid[0] = (int)(image.d[2] / s->model.patch);
        o.grid[1] = (int)(image.d[3] / s->model.patch);
    }
    return o;
}

static struct want want_of(const struct param *x)
{
    struct want w = { .name = x->name, .nd = x->shape.nd };
    for (int i = 0; i < w.nd; i++)
        w.shape[i] = x->shape.d[i];
    return w;
}

struct storing { params *p; struct want *w; };

/* One parameter to the device; ckpt_load holds no other at that time. */
static int store_param(void *arg, int i)
{
    const struct storing *t = arg;
    t->p->list[i].loaded = true;
    return params_write(t->p, &t->p->list[i], t->w[i].data);
}

int model_load(params *p, const struct spec *s, const char *path, bool ema)
{
    ckpt *c = ckpt_open_model(path, ema);
    if (!c)
        return -1;
    arena *a = arena_open("checkpoint");
    struct storing t = { p, arena_array(a, struct want, p->n) };
    struct load_options o = model_load_options(s);
    struct load_report report = { 0 };
    o.store = store_param;
    o.arg = &t;
    for (size_t i = 0; i < p->n; i++)
        t.w[i] = want_of(&p->list[i]);
    int rc = ckpt_load(a, c, t.w, (int)p->n, &o, &report);
    if (!rc)
        load_report_say(&report, path);
    ckpt_close(c);
    arena_close(a);
    return rc;
}

int model_classes(const ckpt *c, arena *a, const char *const **names)
{
    const char *text = ckpt_meta(c, "classes");
    json_t *list = text ? json_loads(text, 0, NULL) : NULL;
    int n = list && json_is_array(list) ? (int)json_array_size(list) : 0;
    const char **out = arena_array(a, const char *, n + 1);
    for (int i = 0; i < n; i++) {
        const char *name = json_string_value(json_array_get(list, (size_t)i));
        out[i] = arena_printf(a, "%s", name ? name : "");
    }
    json_decref(list);
    *names = out;
    return n;
}

/* ---- writing ------------------------------------------------------------------------------------------- */

static const char *weights_numbers(arena *a, const f64 *v, int n)
{
    const char *text = "";
    for (int i = 0; i < n; i++)
        text = arena_printf(a, "%s%s%.9g", text, i ? " " : "", v[i]);
    return text;
}

/* A folder's name may be no UTF-8, as JSON must be: it keeps its place in the list, without the letters. */
static json_t *class_json(arena *a, const char *name)
{
    json_t *text = json_string(name);
    char *plain = text ? NULL : arena_printf(a, "%s", name);
    for (char *s = plain; s && *s; s++)
        *s = (char)((u8)*s < 128 ? *s : '?');
    return text ? text : json_string(plain);
}

static const char *class_list(arena *a, const struct model_about *about)
{
    json_t *list = json_array();
    for (int i = 0; i < about->n_classes; i++)
        json_array_append_new(list, class_json(a, about->classes[i]));
    char *text = json_dumps(list, JSON_COMPACT);
    const char *copy = arena_printf(a, "%s", text ? text : "[]");
    free(text);
    json_decref(list);
    return copy;
}

/* The complete experiment as text. */
static const char *recipe(arena *a, const struct spec *s)
{
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    check(f, "no memory stream");
    spec_write(f, s);
    fclose(f);
    const char *copy = arena_copy(a, text, n);
    free(text);
    return copy;
}

void model_describe(ckpt *c, const struct spec *s, arena *a, const struct model_about *about)
{
    struct shape image = model_images(s, 1);
    ckpt_set_meta(c, "format", "jetcl 1");
    ckpt_set_meta(c, "version", JETCL_VERSION);
    ckpt_set_meta(c, "arch", s->model.arch);
    ckpt_set_meta(c, "family", s->model.family);
    ckpt_set_meta(c, "norm_eps", arena_printf(a, "%g", s->model.norm_eps));
    ckpt_set_meta(c, "act", s->model.act == MLP_ACT_gelu ? "gelu" : "quick_gelu");
    ckpt_set_meta(c, "image", arena_printf(a, "%d %d", (int)image.d[2], (int)image.d[3]));
    if (!strcmp(s->model.family, "vit")) {
        ckpt_set_meta(c, "heads", arena_printf(a, "%d", s->model.heads));
        ckpt_set_meta(c, "grid", arena_printf(a, "%d %d", (int)image.d[2] / s->model.patch,
                                              (int)image.d[3] / s->model.patch));
    }
    ckpt_set_meta(c, "interpolation",
                  s->data.interpolation == INTERPOLATION_bicubic ? "bicubic" : "bilinear");
    ckpt_set_meta(c, "recipe", recipe(a, s));
    if (about && about->n_classes)
        ckpt_set_meta(c, "classes", class_list(a, about));
    if (about && about->mean)
        ckpt_set_meta(c, "mean", weights_numbers(a, about->mean, 3));
    if (about && about->std)
        ckpt_set_meta(c, "std", weights_numbers(a, about->std, 3));
    for (const char *const *m = about ? about->more : NULL; m && m[0]; m += 2)
        ckpt_set_meta(c, m[0], m[1]);
}

int model_save(const params *p, const struct spec *s, const char *path, const struct model_about *about)
{
    arena *a = arena_open("checkpoint");
    ckpt *c = ckpt_new();
    model_describe(c, s, a, about);
    params_save(p, c, a);
    int rc = ckpt_save(c, path);
    ckpt_close(c);
    arena_close(a);
    return rc;
}
