/* anatomy.c: depth and widths of a network, from an experiment or from a checkpoint's names and shapes. */
#include "model/model.h"
#include "recycle/recycle.h"

bool block_moe(const struct block_shape *b) { return b->core + b->universal > 0; }

int anatomy_stage_dim(const struct anatomy *n, int stage)
{
    for (int l = 0; l < n->depth; l++)
        if (n->block[l].stage == stage)
            return n->block[l].dim;
    check(0, "stage %d of %d", stage, n->stages);
}

const char *anatomy_block_name(char out[64], const struct anatomy *n, int block)
{
    const struct block_shape *b = &n->block[block];
    if (n->convnext)
        snprintf(out, 64, "stages.%d.blocks.%d", b->stage, b->index);
    else
        snprintf(out, 64, "blocks.%d", b->index);
    return out;
}

static bool anatomy_listed(counts list, int x)
{
    for (int i = 0; i < list.n; i++)
        if (list.v[i] == x)
            return true;
    return false;
}

void anatomy_of_spec(const struct spec *s, arena *a, struct anatomy *out)
{
    *out = (struct anatomy){ .convnext = !strcmp(s->model.family, "convnext"), .stages = 1,
                             .heads = s->model.heads, .classes = s->model.classes };
    counts depths = { 1, &s->model.depth }, dims = { 1, &s->model.dim };
    if (out->convnext) {
        depths = s->model.depths;
        dims = s->model.dims;
        out->stages = depths.n;
        out->heads = 0;
    }
    for (int i = 0; i < depths.n; i++)
        out->depth += depths.v[i];
    struct block_shape *b = out->block = arena_array(a, struct block_shape, out->depth);
    int l = 0, moe_stage = -1;
    for (int stage = 0; stage < out->stages; stage++) {
        bool fresh = true;                        // lists of moe keys count the stages that hold MoE blocks
        for (int i = 0; i < depths.v[stage]; i++, l++, b++) {
            *b = (struct block_shape){ .stage = stage, .index = i, .dim = list_at(dims, stage) };
            b->hidden = (int)(b->dim * s->model.mlp_ratio);
            if (!anatomy_listed(s->model.moe.layers, l))
                continue;
            moe_stage += fresh;
            fresh = false;
            b->core = list_at(s->model.moe.core, moe_stage);
            b->universal = list_at(s->model.moe.universal, moe_stage);
            if (s->model.moe.kind != MOE_sphero) {           // one kind of expert, of full width
                b->core += b->universal;
                b->universal = 0;
            }
            b->narrow = (int)(b->hidden * s->model.moe.universal_ratio);
        }
    }
}

/* Reads the sizes of the block called name. 1 when there is none, -1 + fail when it is not a dense one. */
static int read_block(const ckpt *c, const char *name, struct block_shape *b)
{
    char key[160];
    snprintf(key, sizeof key, "%s.mlp.fc1.weight", name);
    const tensor *fc1 = ckpt_find(c, key);
    if (fc1 && fc1->nd == 2) {
        b->hidden = (int)fc1->shape[0];
        b->dim = (int)fc1->shape[1];
        return 0;
    }
    if (fc1)
        return fail(FAULT_DATA, "%s: %s has %d axes, expected 2", ckpt_path(c), key, fc1->nd);
    const char *experts[] = { "core_experts", "experts" };
    for (int i = 0; i < countof(experts); i++) {
        snprintf(key, sizeof key, "%s.mlp.%s.vit_fc1.weight", name, experts[i]);
        if (ckpt_find(c, key))
            return fail(FAULT_DATA, "%s: %s is a mixture of experts already; a predecessor is dense",
                        ckpt_path(c), name);
    }
    return 1;
}

int anatomy_of_ckpt(const ckpt *c, arena *a, struct anatomy *out)
{
    *out = (struct anatomy){ .convnext = ckpt_find(c, "stem.0.weight") };
    struct block_shape *list = NULL;
    size_t n = 0, cap = 0;
    for (int stage = 0; stage < (out->convnext ? MAX_STAGES : 1); stage++)
        for (int i = 0;; i++) {
            struct block_shape b = { .stage = stage, .index = i };
            char name[64];
            out->block = &b;
            int rc = read_block(c, anatomy_block_name(name, out, 0), &b);
            if (rc < 0)
                return -1;
            if (rc)
                break;
            *arena_push(a, list, n, cap) = b;
            out->stages = stage + 1;
        }
    out->block = list;
    out->depth = (int)n;
    if (!n)
        return fail(FAULT_DATA, "%s: no blocks.0.mlp.fc1.weight and no stages.0.blocks.0.mlp.fc1.weight: "
                    "neither a ViT nor a ConvNeXt as timm names them", ckpt_path(c));
    out->heads = out->convnext ? 0 : model_heads(c, list->dim);
    const tensor *head = ckpt_find(c, out->convnext ? "head.fc.weight" : "head.weight");
    out->classes = head && head->nd == 2 ? (int)head->shape[0] : 0;
    return 0;
}
