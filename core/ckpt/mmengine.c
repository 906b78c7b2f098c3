/* mmengine.c: the configuration that mmengine keeps beside its tensors, Python text under "meta.cfg", for what
 * no tensor of mmpretrain's ViT or ConvNeXt tells: heads, epsilon, activation, what the head reads, images that
 * are not squares. Only literal arguments of dict(...) are looked at; nothing is executed.
 *
 *     model = dict(backbone=dict(arch='b', norm_cfg=dict(eps=1e-05, type='LN'), type='VisionTransformer'), ...)
 */
#include "ckpt/names.h"

/* The first `stop` outside of quotes and brackets, or the end. */
static const char *mmengine_end(const char *p, char stop)
{
    char quote = 0;
    for (int depth = 0; *p; p++) {
        if (quote)
            quote = *p == quote ? 0 : quote;
        else if (!depth && *p == stop)
            return p;
        else if (*p == '\'' || *p == '"')
            quote = *p;
        else
            depth += (strchr("([{", *p) != NULL) - (strchr(")]}", *p) != NULL);
    }
    return p;
}

/* The value of an argument; NULL: there is none, or no arguments. */
static const char *mmengine_value(arena *a, const char *arguments, const char *key)
{
    size_t n = strlen(key);
    for (const char *from = arguments, *end; from && *from; from = *end ? end + 1 : end) {
        from += strspn(from, " \n");
        end = mmengine_end(from, ',');
        if (!strncmp(from, key, n) && from[n] == '=')
            return arena_copy(a, from + n + 1, (size_t)(end - from) - n - 1);
    }
    return NULL;
}

/* The arguments of key=dict(...); NULL: there is none, or it does not end. */
static const char *mmengine_dict(arena *a, const char *arguments, const char *key)
{
    const char *value = mmengine_value(a, arguments, key);
    const char *from = value && text_starts(value, "dict(") ? value + 5 : NULL;
    const char *end = from ? mmengine_end(from, ')') : NULL;
    return end && *end ? arena_copy(a, from, (size_t)(end - from)) : NULL;
}

/* key='word', or "". */
static const char *mmengine_word(arena *a, const char *arguments, const char *key)
{
    const char *value = mmengine_value(a, arguments, key);
    return value && *value == '\'' ? arena_copy(a, value + 1, strcspn(value + 1, "'")) : "";
}

static int mmengine_note(ckpt *view, const char *key, const char *value)
{
    return !value || ckpt_meta(view, key) ? 0 : ckpt_set_meta(view, key, value);
}

/* Of the architectures that it has by name, two have other heads than their width suggests. */
static const char *mmengine_heads(arena *a, const char *backbone)
{
    const char *arch = mmengine_word(a, backbone, "arch"), *type = mmengine_word(a, backbone, "type");
    if (!*arch)
        return mmengine_value(a, mmengine_dict(a, backbone, "arch"), "num_heads");
    bool small = !strcmp(arch, "s") || !strcmp(arch, "small");
    return text_starts(arch, "mocov3-s")                     ? "12"
           : small && !strcmp(type, "VisionTransformer")     ? "8"
                                                             : NULL;
}

/* A norm whose epsilon is not said has another than where no norm is said at all. */
static const char *mmengine_eps(arena *a, const char *backbone)
{
    const char *norm = mmengine_dict(a, backbone, "norm_cfg"), *eps = mmengine_value(a, norm, "eps");
    return !norm ? NULL : eps ? eps : "1e-05";
}

/* Rows and columns of patches of its images, where it says two sides. */
static const char *mmengine_grid(arena *a, const char *backbone, const tensor *patch)
{
    const char *image = mmengine_value(a, backbone, "img_size");
    int rows, columns, side = patch && patch->nd == 4 && patch->shape[3] > 0 ? (int)patch->shape[3] : 0;
    if (!image || !side || sscanf(image + strcspn(image, "0123456789"), "%d ,%d", &rows, &columns) != 2)
        return NULL;
    return arena_printf(a, "%d %d", rows / side, columns / side);
}

/* Our word for its activation, "" where it is the usual one; NULL: another. */
static const char *mmengine_act(arena *a, const char *backbone)
{
    const char *layers = mmengine_dict(a, backbone, "layer_cfgs");
    const char *act = mmengine_dict(a, layers ? layers : backbone, "act_cfg");
    const char *type = mmengine_word(a, act, "type"), *curve = mmengine_word(a, act, "approximate");
    if (!act)
        return "";
    if (!strcmp(type, "GELU"))
        return !strcmp(curve, "tanh") ? "gelu_tanh" : "gelu";
    return text_ends(type, "QuickGELU") ? "quick_gelu" : NULL;
}

/* The arguments of the statement model = dict(...). */
static const char *mmengine_model(arena *a, const char *text)
{
    for (const char *at = text; at && (at = strstr(at, "model = dict(")); at++)
        if (at == text || at[-1] == '\n')
            return mmengine_dict(a, arena_printf(a, "model=%s", at + 8), "model");
    return NULL;
}

static int mmengine_refuse(const char *what)
{
    return fail(FAULT_DATA, "its configuration in meta says %s, which our models do not have", what);
}

int mmengine_settle(ckpt *view, const ckpt *c)
{
    arena *a = view->mem;
    const char *text = ckpt_meta(c, "meta.cfg");     // of mmcls, before 1.0: meta.config
    const char *model = mmengine_model(a, text ? text : ckpt_meta(c, "meta.config"));
    const char *backbone = mmengine_dict(a, model, "backbone"), *neck = mmengine_value(a, model, "neck");
    if (!backbone)
        return 0;
    const char *act = mmengine_act(a, backbone), *out = mmengine_word(a, backbone, "out_type");
    const char *late = mmengine_value(a, backbone, "gap_before_final_norm");
    const char *patches = mmengine_dict(a, backbone, "patch_cfg");
    const char *grid = mmengine_grid(a, backbone, ckpt_find(view, "patch_embed.proj.weight"));
    bool head = ckpt_find(view, "head.weight") || ckpt_find(view, "head.fc.weight");
    bool mean = !strcmp(out, "featmap") && neck && strstr(neck, "GlobalAveragePooling");
    if (!act)
        return mmengine_refuse("another activation");
    if (head && late && !strcmp(late, "False"))
        return mmengine_refuse("gap_before_final_norm=False");
    if (head && (!strcmp(out, "raw") || (!strcmp(out, "featmap") && !mean)))
        return mmengine_refuse("that a head reads all tokens");
    if (mmengine_value(a, patches, "stride") || mmengine_value(a, patches, "padding"))
        return mmengine_refuse("patches with a stride or padding of their own");
    return mmengine_note(view, "heads", mmengine_heads(a, backbone))
           || mmengine_note(view, "norm_eps", mmengine_eps(a, backbone))
           || mmengine_note(view, "act", *act ? act : NULL)
           || mmengine_note(view, "grid", grid)
           || mmengine_note(view, "pool", mean ? "norm_avg" : NULL) ? -1 : 0;
}
