/* arch.c: a dense network's sizes and options, read off the names and shapes of its checkpoint. */
#include "model/model.h"
#include <math.h>

static bool arch_has(const ckpt *c, const char *name) { return ckpt_find(c, name) != NULL; }

static counts arch_pair(arena *a, int x, int y)
{
    int *v = arena_array(a, int, 2);
    v[0] = x;
    v[1] = y;
    return (counts){ x == y ? 1 : 2, v };
}

int model_head(const ckpt *c)
{
    const tensor *head = ckpt_find(c, "head.weight");
    head = head ? head : ckpt_find(c, "head.fc.weight");
    return head && head->nd >= 2 && head->shape[0] > 0 && head->shape[0] <= 1000000 ? (int)head->shape[0] : 0;
}

int model_heads_said(const ckpt *c)
{
    const char *says = ckpt_meta(c, "heads");
    i64 n;
    return says && text_int(slice_of(says), &n) && n > 0 && n <= 1024 ? (int)n : 0;
}

int model_heads(const ckpt *c, int dim)
{
    static const struct { int dim, heads; } published[] = {
        { 192, 3 },   { 384, 6 },   { 512, 8 },   { 768, 12 }, { 1024, 16 },
        { 1152, 16 }, { 1280, 16 }, { 1408, 16 }, { 1664, 16 } };
    if (model_heads_said(c))
        return model_heads_said(c);
    for (int i = 0; i < countof(published); i++)
        if (published[i].dim == dim)
            return published[i].heads;
    return 0;
}

bool model_two_norms(const ckpt *c) { return arch_has(c, "norm.weight") && arch_has(c, "fc_norm.weight"); }

int model_pool(const ckpt *c, bool class_token)
{
    const char *says = ckpt_meta(c, "pool"), *timm = ckpt_meta(c, "config.global_pool");
    int word = says ? spec_word_index("model.pool", says) : -1;
    if (word > POOL_auto)
        return word;
    bool mean = !class_token || (timm && !strcmp(timm, "avg"));
    return arch_has(c, "fc_norm.weight") ? POOL_avg
           : !mean                       ? POOL_token
           : arch_has(c, "norm.weight")  ? POOL_norm_avg
                                         : POOL_avg;
}

/* What its head reads: of two final norms nothing tells which one, unless the experiment does. */
static void arch_read_pool(struct spec *s, const ckpt *c)
{
    if (!model_two_norms(c))
        s->model.pool = model_pool(c, s->model.class_token);
    else if (!spec_written(s, "model.pool"))
        s->model.pool = POOL_auto;
}

bool model_act_unknown(const struct spec *s, const ckpt *c)
{
    const char *says = ckpt_meta(c, "act");
    return says && !strcmp(says, "unknown") && !spec_written(s, "model.act");
}

/* A dense block's width and hidden width. 1 when there is none, -1 + fail when it is not a dense one. */
static int arch_read_block(const ckpt *c, const char *name, int *dim, int *hidden)
{
    static const char *const experts[] = { "core_experts", "univ_experts", "experts" };
    char key[160], shape[200];
    for (int i = 0; i < countof(experts); i++) {
        snprintf(key, sizeof key, "%s.mlp.%s.vit_fc1.weight", name, experts[i]);
        if (arch_has(c, key))
            return fail(FAULT_DATA, "%s: %s is a mixture of experts already; a predecessor is dense",
                        ckpt_path(c), name);
    }
    snprintf(key, sizeof key, "%s.mlp.fc1.weight", name);
    const tensor *fc1 = ckpt_find(c, key);
    if (!fc1)
        return 1;
    if (fc1->nd != 2 || fc1->shape[0] < 1 || fc1->shape[1] < 1 || fc1->shape[0] > 1 << 22
        || fc1->shape[1] > 1 << 16)
        return fail(FAULT_DATA, "%s: %s is %s, expected [hidden channels]", ckpt_path(c), key,
                    tensor_shape_text(shape, fc1->nd, fc1->shape));
    *hidden = (int)fc1->shape[0];
    *dim = (int)fc1->shape[1];
    snprintf(key, sizeof key, "%s.mlp.fc2.weight", name);
    const tensor *fc2 = ckpt_find(c, key);
    if (fc2 && (fc2->nd != 2 || fc2->shape[0] != *dim || fc2->shape[1] != *hidden))
        return fail(FAULT_DATA, "%s: %s is %s, expected [%d %d]: a gated MLP is not ours", ckpt_path(c), key,
                    tensor_shape_text(shape, fc2->nd, fc2->shape), *dim, *hidden);
    return 0;
}

/* Rows and columns of patches after the tokens that have a position too, after none, or after registers that
 * have one: as the metadata says, or a square. false: neither. */
static bool arch_read_grid(const ckpt *c, i64 tokens, int placed, int registers, int grid[2])
{
    const char *says = ckpt_meta(c, "grid");
    const int withs[] = { placed, 0, placed + registers };
    for (int i = 0; i < countof(withs); i++) {
        i64 n = tokens - withs[i];
        if (says && sscanf(says, "%d %d", &grid[0], &grid[1]) == 2 && grid[0] > 0 && grid[1] > 0 &&
            (i64)grid[0] * grid[1] == n)
            return true;
        grid[0] = grid[1] = n > 0 ? (int)lround(sqrt((f64)n)) : 0;
        if (n > 0 && (i64)grid[0] * grid[1] == n)
            return true;
    }
    return false;
}

static int arch_read_image(struct spec *s, const ckpt *c, arena *a)
{
    const tensor *patch = ckpt_find(c, "patch_embed.proj.weight"), *pos = ckpt_find(c, "pos_embed");
    int grid[2], placed;
    int registers = model_prefix(s, &placed) - placed;
    if (!patch || patch->nd != 4 || patch->shape[3] < 1 || patch->shape[3] > 1024)
        return fail(FAULT_DATA, "%s: no patch_embed.proj.weight of four axes: its patches are not ours",
                    ckpt_path(c));
    if (!pos || pos->nd < 2)
        return fail(FAULT_DATA, "%s: no pos_embed: its positions are computed, relative or missing",
                    ckpt_path(c));
    if (patch->shape[2] != patch->shape[3])
        return fail(FAULT_DATA, "%s: patches of %lld x %lld pixels; ours are squares", ckpt_path(c),
                    (long long)patch->shape[2], (long long)patch->shape[3]);
    s->model.patch = (int)patch->shape[3];
    i64 tokens = pos->shape[pos->nd - 2];
    if (!arch_read_grid(c, tokens, placed, registers, grid) || grid[0] > 4096 / s->model.patch
        || grid[1] > 4096 / s->model.patch)
        return fail(FAULT_DATA,
                    "%s: pos_embed has %lld positions, which is not a square of at most 4096 pixels, and its "
                    "metadata names no grid",
                    ckpt_path(c), (long long)tokens);
    s->model.image = arch_pair(a, grid[0] * s->model.patch, grid[1] * s->model.patch);
    return 0;
}

static int arch_read_vit(struct spec *s, const ckpt *c, arena *a)
{
    char name[32];
    const tensor *registers = ckpt_find(c, "reg_token");
    int rc = 0, dim, hidden;
    s->model.family = "vit";
    for (s->model.depth = 0;; s->model.depth++) {
        snprintf(name, sizeof name, "blocks.%d", s->model.depth);
        if ((rc = arch_read_block(c, name, &dim, &hidden)))
            break;
        if (!s->model.depth) {
            s->model.dim = dim;
            s->model.mlp_ratio = (f64)hidden / dim * (1 + 1e-9);     // the builder rounds down
        }
    }
    if (rc < 0)
        return -1;
    s->model.heads = model_heads(c, s->model.dim);
    s->model.class_token = arch_has(c, "cls_token");
    s->model.dist_token = arch_has(c, "head_dist.weight") ? DISTILL_head
                          : arch_has(c, "dist_token")     ? DISTILL_on
                                                          : DISTILL_off;
    s->model.registers = registers && registers->nd == 3 ? (int)MIN(registers->shape[1], 64) : 0;
    s->model.pre_norm = arch_has(c, "norm_pre.weight");
    arch_read_pool(s, c);
    s->model.qkv_bias = arch_has(c, "blocks.0.attn.qkv.bias");
    s->model.layer_scale = arch_has(c, "blocks.0.ls1.gamma");
    return arch_read_image(s, c, a);
}

static int arch_read_convnext(struct spec *s, const ckpt *c, arena *a)
{
    enum { MAX = 8 };
    int *depths = arena_array(a, int, MAX), *dims = arena_array(a, int, MAX), stages = 0, rc = 0, hidden = 0,
        side = 0;
    char name[64];
    for (; stages < MAX && rc >= 0; stages++) {
        for (rc = 0; rc == 0; depths[stages] += rc == 0) {
            snprintf(name, sizeof name, "stages.%d.blocks.%d", stages, depths[stages]);
            rc = arch_read_block(c, name, &dims[stages], &hidden);
        }
        if (!depths[stages])
            break;
    }
    if (rc < 0)
        return -1;
    s->model.family = "convnext";
    s->model.depths = (counts){ stages, depths };
    s->model.dims = (counts){ stages, dims };
    s->model.mlp_ratio = (f64)hidden / dims[MAX(stages - 1, 0)] * (1 + 1e-9);
    s->model.layer_scale = arch_has(c, "stages.0.blocks.0.gamma");
    s->model.grn = arch_has(c, "stages.0.blocks.0.mlp.grn.weight");
    const char *says = ckpt_meta(c, "image");
    if (says && sscanf(says, "%d", &side) == 1 && side > 0 && side <= 4096)
        s->model.image = arch_pair(a, side, side);
    return 0;
}

static const char *arch_list(arena *a, counts list)
{
    const char *text = "";
    for (int i = 0; i < list.n; i++)
        text = arena_printf(a, "%s%s%d", text, i ? " " : "", list.v[i]);
    return text;
}

static const char *arch_number(arena *a, i64 n) { return arena_printf(a, "%lld", (long long)n); }

/* A folder's config.json against the tensors. 0, or -1 + fail. */
static int arch_check_config(const ckpt *c, const struct spec *s, arena *a)
{
    bool vit = !strcmp(s->model.family, "vit");
    const tensor *patch = ckpt_find(c, vit ? "patch_embed.proj.weight" : "stem.0.weight");
    bool whole = patch && patch->nd == 4;
    i64 hidden = llround(s->model.dim * s->model.mlp_ratio);
    const char *ratio = ckpt_meta(c, "config.mlp_ratio");              // 3.7362 of 1152 channels is 4304
    f64 said;
    bool fits = ratio && text_real(slice_of(ratio), &said) && fabs(said * s->model.dim - (f64)hidden) < 1;
    const struct { const char *key, *have; } row[] = {
        { "hidden_size", vit ? arch_number(a, s->model.dim) : NULL },
        { "num_hidden_layers", vit ? arch_number(a, s->model.depth) : NULL },
        { "image_size", vit ? arch_list(a, s->model.image) : NULL },
        { "intermediate_size", vit ? arch_number(a, hidden) : NULL },
        { "mlp_ratio", !vit || fits ? NULL : arena_printf(a, "%.12g", (f64)hidden / s->model.dim) },
        { "num_register_tokens", vit ? arch_number(a, s->model.registers) : NULL },
        { "qkv_bias", !vit ? NULL : s->model.qkv_bias ? "true" : "false" },
        { "patch_size", whole ? arch_number(a, patch->shape[3]) : NULL },
        { "num_channels", whole ? arch_number(a, patch->shape[1]) : NULL },
        { "hidden_sizes", vit ? NULL : arch_list(a, s->model.dims) },
        { "num_labels", model_head(c) ? arch_number(a, model_head(c)) : NULL },
        { "depths", vit ? NULL : arch_list(a, s->model.depths) } };
    const char *act = ckpt_meta(c, "config.hidden_act"), *eps = ckpt_meta(c, "config.layer_norm_eps");
    if (eps)
        return fail(FAULT_DATA, "%s: config.json says layer_norm_eps %.40s of the last norm alone, which our "
                    "models do not have", ckpt_path(c), eps);
    if (act)
        return fail(FAULT_DATA, "%s: config.json says hidden_act %.40s, which our models do not have",
                    ckpt_path(c), act);
    const char *pool = ckpt_meta(c, "config.global_pool");
    bool token = pool && !strcmp(pool, "token"), known = !pool || !*pool || token || !strcmp(pool, "avg");
    bool late = token && s->model.pool == POOL_avg;
    if (model_head(c) && (!known || late))
        return fail(FAULT_DATA, "%s: config.json says global_pool %.40s%s, which our models do not have",
                    ckpt_path(c), pool, late ? " before fc_norm" : "");
    for (int i = 0; i < countof(row); i++) {
        const char *says = ckpt_meta(c, arena_printf(a, "config.%s", row[i].key));
        if (says && row[i].have && strcmp(says, row[i].have))
            return fail(FAULT_DATA, "%s: config.json says %s %.60s, but the tensors have %s", ckpt_path(c),
                        row[i].key, says, row[i].have);
    }
    const char *heads = ckpt_meta(c, "heads");
    if (vit && heads && *heads && (s->model.heads < 1 || s->model.dim % s->model.heads))
        return fail(FAULT_DATA, "%s: says %.40s attention heads, which do not divide %d channels",
                    ckpt_path(c), ckpt_meta(c, "heads"), s->model.dim);
    return 0;
}

int model_read(struct spec *s, const ckpt *c, arena *a)
{
    bool convnext = arch_has(c, "stem.0.weight");
    const char *eps = ckpt_meta(c, "norm_eps"), *act = ckpt_meta(c, "act"),
               *slash = strrchr(ckpt_path(c), '/');
    char head[32];
    snprintf(head, sizeof head, "head%s.weight", convnext ? ".fc" : "");
    const tensor *w = ckpt_find(c, head);
    if (!arch_has(c, convnext ? "stages.0.blocks.0.mlp.fc1.weight" : "blocks.0.mlp.fc1.weight") &&
        arch_read_block(c, convnext ? "stages.0.blocks.0" : "blocks.0", &(int){ 0 }, &(int){ 0 }) >= 0)
        return fail(FAULT_DATA,
                    "%s: no blocks.0.mlp.fc1.weight and no stages.0.blocks.0.mlp.fc1.weight: neither a "
                    "ViT nor a ConvNeXt",
                    ckpt_path(c));
    s->model.arch = slash ? slash + 1 : ckpt_path(c);
    s->model.moe.layers = (counts){ 0 };
    s->model.classes = w && w->nd == 2 && w->shape[0] < 1 << 20 ? (int)w->shape[0] : 0;
    s->model.head_bias = !w || arch_has(c, convnext ? "head.fc.bias" : "head.bias");
    if (!eps || !text_real(slice_of(eps), &s->model.norm_eps)
        || !(s->model.norm_eps > 0 && s->model.norm_eps <= 1))
        s->model.norm_eps = 1e-6;
    if (!act || strcmp(act, "unknown") || model_act_unknown(s, c))
        s->model.act = (enum mlp_act)MAX(0, act ? spec_word_index("model.act", act) : -1);   // gelu, the first
    return (convnext ? arch_read_convnext : arch_read_vit)(s, c, a) || arch_check_config(c, s, a) ? -1 : 0;
}

/* In nine digits if that gives the same hidden width, else as it is, a little too large: the builder rounds
 * down, and 0.270833333 of 384 channels are 103. */
static const char *arch_ratio(arena *a, const struct spec *s)
{
    int dim = strcmp(s->model.family, "vit") ? s->model.dims.v[s->model.dims.n - 1] : s->model.dim;
    const char *text = arena_printf(a, "%.9g", s->model.mlp_ratio / (1 + 1e-9));
    f64 ratio;
    bool same = text_real(slice_of(text), &ratio) && (i64)(dim * ratio) == (i64)(dim * s->model.mlp_ratio);
    return same ? text : arena_printf(a, "%.12g", s->model.mlp_ratio);
}

const char *model_lines(arena *a, const struct spec *s)
{
    static const char *const vit[] = { "image",     "patch",     "dim",      "depth",       "heads",
                                       "classes",   "mlp_ratio", "pool",     "class_token", "dist_token",
                                       "registers", "pre_norm",  "qkv_bias", "head_bias",   "layer_scale",
                                       "norm_eps",  "act",       NULL };
    static const char *const convnext[] = { "depths",      "dims",     "classes", "mlp_ratio", "head_bias",
                                            "layer_scale", "norm_eps", "act",     "grn",       NULL };
    struct spec usual;
    struct spec_set family = { "family", arena_printf(a, "model.arch=%s", s->model.family), NULL };
    check(!spec_load(&usual, a, NULL, &family, 1), "%s", fail_message());
    bool is_vit = !strcmp(s->model.family, "vit");
    const char *const *list = is_vit ? vit : convnext, *text = arena_printf(a, "arch: %s", s->model.family);
    int always = is_vit ? 5 : 2;
    for (int i = 0; list[i]; i++) {
        const char *key = arena_printf(a, "model.%s", list[i]), *value = spec_value(a, s, key);
        const char *otherwise = spec_value(a, &usual, key);
        if (!strcmp(list[i], "mlp_ratio"))
            value = arch_ratio(a, s);
        if (i < always || strcmp(value, otherwise))
            text = arena_printf(a, "%s, %s: %s", text, list[i], value);
    }
    return text;
}
