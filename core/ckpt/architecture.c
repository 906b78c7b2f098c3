/* architecture.c: what a model's name says that its tensors do not: other norms' epsilon, another activation,
 * positions that are computed. */
#include "ckpt/names.h"
#include <fnmatch.h>

static const struct architecture { const char *pattern, *norm_eps, *act, *why; } architectures[] = {
#define ARCHITECTURE(pattern, norm_eps, act, why) { pattern, norm_eps, act, why },
#include "ckpt/architectures.def"
#undef ARCHITECTURE
};

static const struct architecture *architecture_find(const char *name)
{
    for (int i = 0; i < countof(architectures); i++)
        if (!fnmatch(architectures[i].pattern, name, 0))
            return &architectures[i];
    return NULL;
}

/* By the name of the file or of the folder that it lies in, as timm's hub has them:
 * vit_base_patch32_clip_quickgelu_224.openai/model.safetensors. */
static const struct architecture *architecture_of_path(arena *a, const char *path, const char **name)
{
    const char *slash = strrchr(path, '/'), *folder = slash;
    while (folder && folder > path && folder[-1] != '/')
        folder--;
    *name = slash ? slash + 1 : path;
    const struct architecture *found = architecture_find(*name);
    if (found || !slash)
        return found;
    *name = arena_copy(a, folder, (size_t)(slash - folder));
    return architecture_find(*name);
}

int architecture_settle(ckpt *view, const ckpt *c)
{
    const char *name = ckpt_meta(c, "config.architecture");
    const struct architecture *found = name ? architecture_find(name) : NULL;
    if (!name && !ckpt_meta(c, "norm_eps"))          // neither ours nor with a config
        found = architecture_of_path(view->mem, c->path, &name);
    if (!found)
        return 0;
    if (found->why)
        return fail(FAULT_DATA, "%s has %s, which our models do not have", ckpt_quote(slice_of(name)),
                    found->why);
    int rc = 0;
    if (found->act && !ckpt_meta(view, "act") && !ckpt_meta(view, "config.hidden_act"))
        rc = ckpt_set_meta(view, "act", found->act);
    if (found->norm_eps && !ckpt_meta(view, "norm_eps"))
        rc |= ckpt_set_meta(view, "norm_eps", found->norm_eps);
    return rc;
}
