/* weights.c: a network's parameters out of a checkpoint and into one, with what a checkpoint should
 * tell besides. */
#include "model/model.h"
#include <jansson.h>
#include <math.h>

/* ---- reading ------------------------------------------------------------------------------------------- */

struct load_options model_load_options(const struct spec *s)
{
    bool vit = !strcmp(s->model.family, "vit");
    struct shape image = model_images(s, 1);
    struct load_options o = { .strict = s->model.strict };
    model_prefix(s, &o.prefix);
    if (vit) {
        // The released scripts lose a token model's final norm; the paper's variant keeps it.
        o.norm_to_fc_norm = s->model.pool != POOL_token && s->variant == VARIANT_paper;
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

struct storing { params *p; struct want *w; const char *path; model_take *take; void *arg; };

/* One parameter to the device, or to the caller's function; ckpt_load holds no other at that time. */
static int store_param(void *arg, int i)
{
    const struct storing *t = arg;
    struct param *x = &t->p->list[i];
    for (i64 k = 0, n = shape_count(x->shape); k < n; k++)
        if (!isfinite(t->w[i].data[k]))
            return fail(FAULT_NUMBERS, "%s: %s holds a value that is not a number (element %lld is %g)",
                        t->path, x->name, (long long)k, (f64)t->w[i].data[k]);
    x->loaded = true;
    return t->take ? t->take(t->arg, x, t->w[i].data) : params_write(t->p, x, t->w[i].data);
}

static int weights_load(params *p, struct load_options o, ckpt *c, arena *a, struct load_report *r,
                        model_take *take, void *arg)
{
    struct storing t = { p, arena_array(a, struct want, p->n), ckpt_path(c), take, arg };
    o.store = store_param;
    o.arg = &t;
    for (size_t i = 0; i < p->n; i++)
        t.w[i] = want_of(&p->list[i]);
    return ckpt_load(a, c, t.w, (int)p->n, &o, r);
}

static int count_unset(const params *p, const char **first)
{
    int n = 0;
    for (size_t i = p->n; i-- > 0;)
        if (!p->list[i].loaded) {
            *first = p->list[i].name;
            n++;
        }
    return n;
}

int model_load(params *p, const struct spec *s, const char *path, bool ema)
{
    ckpt *c = ckpt_open_model(path, ema);
    if (!c)
        return -1;
    arena *a = arena_open("checkpoint");
    struct load_report report = { 0 };
    const char *first;
    int rc = weights_load(p, model_load_options(s), c, a, &report, NULL, NULL);
    int unset = rc ? 0 : count_unset(p, &first);
    if (!rc)
        load_report_say(&report, path);
    if (unset)
        warn("%s sets all but %d of the model's %zu parameters: %s%s at random", path, unset, p->n, first,
             unset > 1 ? " and the others start" : " starts");
    ckpt_close(c);
    arena_close(a);
    return rc;
}

/* What would set the parameter that the file lacks. */
static const char *unset_advice(arena *a, const ckpt *c, const char *name)
{
    if (text_starts(name, "fc_norm.") && ckpt_find(c, "norm.weight"))
        return model_pool(c, ckpt_find(c, "cls_token")) == POOL_token
                   ? "its head reads the class token: --set model.pool=token"
                   : "its head reads the mean of the patches after the norm: --set model.pool=norm_avg";
    if (text_starts(name, "norm.") && ckpt_find(c, "fc_norm.weight"))
        return "its head reads the mean of the patches: --set model.pool=avg";
    if (text_starts(name, "head."))
        return model_head(c) ? arena_printf(a, "its head has %d classes: --set model.classes=%d",
                                            model_head(c), model_head(c))
                             : "it has no head: train one first (jetcl train --set model.init=...)";
    if (text_ends(name, ".gamma"))
        return "it has no layer scale: --set model.layer_scale=off";
    if (text_ends(name, ".qkv.bias"))
        return "it has no biases there: --set model.qkv_bias=off";
    if (!strcmp(name, "cls_token"))
        return "it has no class token: --set model.class_token=off --set model.pool=avg";
    return arena_printf(a, "it holds another model (jetcl inspect --model %s)", ckpt_path(c));
}

/* Tokens and heads of the file that its numbers depend on, but that this model would not read. NULL: none. */
static const char *unread_advice(arena *a, const ckpt *c, const params *p)
{
    static const struct { const char *name, *what, *set; } row[] = {
        { "head_dist.weight", "a second head, for its distillation token", "model.dist_token=head" },
        { "dist_token", "a distillation token", "model.dist_token=on" },
        { "reg_token", "register tokens", "model.registers=" } };
    for (int i = 0; i < countof(row); i++) {
        const tensor *t = ckpt_find(c, row[i].name);
        bool counted = t && text_ends(row[i].set, "=") && t->nd == 3;
        const char *count = counted ? arena_printf(a, "%lld", (long long)t->shape[1]) : "";
        if (t && !params_find(p, row[i].name))
            return arena_printf(a, "it has %s, which this model would leave out: --set %s%s", row[i].what,
                                row[i].set, count);
    }
    return NULL;
}

/* What no tensor tells, but the numbers depend on. NULL: nothing. */
static const char *untold_advice(arena *a, const struct spec *s, const ckpt *c)
{
    int heads = strcmp(s->model.family, "vit") ? 0 : model_heads_said(c);
    if (heads && heads != s->model.heads)
        return arena_printf(a, "it has %d attention heads, this model %d: --set model.heads=%d", heads,
                            s->model.heads, heads);
    if (s->model.pool == POOL_token && model_pool(c, true) == POOL_norm_avg)
        return "its head reads the mean of the patches after the norm: --set model.pool=norm_avg";
    if (model_two_norms(c) && !spec_written(s, "model.pool"))
        return "it holds two final norms: --set model.pool=token reads the class token after `norm`, avg the "
               "mean of the patches after `fc_norm`";
    if (model_act_unknown(s, c))
        return "it does not say its activation: --set model.act=quick_gelu as in OpenAI's models, gelu as in "
               "most others";
    return NULL;
}

/* Numbers are only worth something when every parameter came from the file, and the file had no others. */
static int check_whole(const params *p, const struct spec *s, const ckpt *c, const struct load_report *r,
                       arena *a)
{
    const char *first = NULL, *line = NULL, *under;
    int unset = count_unset(p, &first);
    for (int i = 0; i < r->nlines && !line; i++)
        if (first && text_starts(r->line[i].text, first))
            line = r->line[i].text;
    if (unset)
        return fail(FAULT_DATA, "%s (%s names): %d of the model's %zu parameters would be drawn at "
                                "random%s%s; %s",
                    ckpt_path(c), ckpt_scheme(c, &under), unset, p->n, unset > 1 ? ", the first is " : ": ",
                    line ? line : first, unset_advice(a, c, first));
    if (unread_advice(a, c, p))
        return fail(FAULT_DATA, "%s: %s", ckpt_path(c), unread_advice(a, c, p));
    if (untold_advice(a, s, c))
        return fail(FAULT_DATA, "%s: %s", ckpt_path(c), untold_advice(a, s, c));
    if (r->nwrong && s->model.strict)
        return fail(FAULT_DATA,
                    "%s: it holds %d tensor%s that the model has no place for: %s; --set "
                    "model.strict=off leaves them out",
                    ckpt_path(c), r->nwrong, r->nwrong > 1 ? "s" : "", r->wrong);
    return 0;
}

/* A config.json that came with the file must fit it, whatever the experiment says. */
static int check_config(ckpt *c, arena *a)
{
    struct spec s;
    const char *value;
    bool says = false;
    for (int i = 0; i < ckpt_meta_count(c); i++)
        says |= text_starts(ckpt_meta_at(c, i, &value), "config.");
    return says && (spec_parse(&s, a, ckpt_path(c), "", NULL, 0) || model_read(&s, c, a)) ? -1 : 0;
}

int model_load_whole(params *p, const struct spec *s, ckpt *c, model_take *take, void *arg)
{
    arena *a = arena_open("checkpoint");
    struct load_report report = { 0 };
    struct load_options o = model_load_options(s);
    o.strict = o.norm_to_fc_norm = false;            // a token's norm is a start for the mean's, not its value
    int rc = check_config(c, a) || weights_load(p, o, c, a, &report, take, arg)
                     || check_whole(p, s, c, &report, a) ? -1 : 0;
    if (!rc && report.nlines)
        load_report_say(&report, ckpt_path(c));
    arena_close(a);
    return rc;
}

void model_settle(struct spec *s, const ckpt *c)
{
    if (s->model.pool == POOL_auto)
        s->model.pool = model_pool(c, s->model.class_token);
    const char *eps = ckpt_meta(c, "norm_eps"), *act = ckpt_meta(c, "act");
    int heads = model_heads_said(c);
    f64 says;
    if (heads && !spec_written(s, "model.heads"))
        s->model.heads = heads;
    if (eps && !spec_written(s, "model.norm_eps") && text_real(slice_of(eps), &says) && says > 0 && says <= 1)
        s->model.norm_eps = says;
    if (act && !spec_written(s, "model.act") && spec_word_index("model.act", act) >= 0)
        s->model.act = (enum mlp_act)spec_word_index("model.act", act);
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

void model_describe(ckpt *c, const struct spec *s, arena *a, const struct model_about *about)
{
    struct shape image = model_images(s, 1);
    ckpt_set_meta(c, "format", "jetcl 1");
    ckpt_set_meta(c, "version", JETCL_VERSION);
    ckpt_set_meta(c, "arch", s->model.arch);
    ckpt_set_meta(c, "family", s->model.family);
    ckpt_set_meta(c, "norm_eps", arena_printf(a, "%g", s->model.norm_eps));
    ckpt_set_meta(c, "act", spec_word(a, s, "model.act"));
    ckpt_set_meta(c, "image", arena_printf(a, "%d %d", (int)image.d[2], (int)image.d[3]));
    if (!strcmp(s->model.family, "vit")) {
        ckpt_set_meta(c, "heads", arena_printf(a, "%d", s->model.heads));
        if (s->model.pool == POOL_norm_avg)          // of the others the norm's name tells
            ckpt_set_meta(c, "pool", spec_word(a, s, "model.pool"));
        ckpt_set_meta(c, "grid", arena_printf(a, "%d %d", (int)image.d[2] / s->model.patch,
                                              (int)image.d[3] / s->model.patch));
    }
    ckpt_set_meta(c, "interpolation",
                  s->data.interpolation == INTERPOLATION_bicubic ? "bicubic" : "bilinear");
    ckpt_set_meta(c, "recipe", spec_text(a, s));
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
