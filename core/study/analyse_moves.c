/* analyse_moves.c: how far experts are from those that recycling made, in one or several checkpoints. */
#include "study/analyse.h"

static void analyse_move(struct layer_analysis *l, arena *a, const struct expert_weights *before,
                         const struct expert_weights *now, const char *file)
{
    struct moved *m = &l->moved[l->n_moved++];
    int experts = l->core + l->universal;
    *m = (struct moved){ .file = arena_printf(a, "%s", file), .each = arena_array(a, f64, experts) };
    for (int e = 0; e < experts; e++) {
        m->each[e] = weights_moved(now, before, e);
        m->mean[e >= l->core] += m->each[e] / (e < l->core ? l->core : l->universal);
    }
}

/* Of one checkpoint; NULL: of the model itself. */
static void analyse_moves_to(struct analysis *x, const ckpt *old, const ckpt *c, const char *file)
{
    for (int i = 0; i < x->layers; i++) {
        arena *scratch = arena_open("experts");
        struct layer_analysis *l = &x->layer[i];
        struct expert_weights before, then;
        struct weights_source was = weights_of_ckpt(old, scratch), is = weights_of_ckpt(c, scratch);
        if (weights_read(&before, scratch, l->scope, l->core, l->universal, &was)
            && (!c || weights_read(&then, scratch, l->scope, l->core, l->universal, &is)))
            analyse_move(l, x->a, &before, c ? &then : &l->weights, file);
        arena_close(scratch);
    }
}

int analyse_moves(struct analysis *x, const char *recycled, const char *const *files, int n)
{
    ckpt *old = ckpt_open_model(recycled, false);
    int rc = old ? 0 : -1;
    for (int i = 0; i < x->layers; i++)
        x->layer[i].moved = arena_array(x->a, struct moved, n + 1);
    if (!rc)
        analyse_moves_to(x, old, NULL, x->checkpoint);
    for (int f = 0; f < n && !rc; f++) {
        ckpt *c = ckpt_open_model(files[f], false);
        if (!c)
            rc = -1;
        else
            analyse_moves_to(x, old, c, files[f]);
        ckpt_close(c);
    }
    ckpt_close(old);
    return rc;
}
