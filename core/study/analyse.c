/* analyse.c: a trained model over a few images, once as it is and once more for each group of experts that
 * is silenced. One graph: which experts speak is an input (nn_give's "silence"), so nothing is compiled or
 * loaded again. */
#include "study/analyse.h"
#include <math.h>

const char *const analyse_formulas[][2] = {
    { "notation", "C combine, D dispatch weights (image, token, expert, slot); y what an expert gives; "
                  "o_g = sum over the group's experts and slots of C y; o = o of all experts; p(e) = share" },
    { "share", "mean over images and tokens of sum_s C, divided by its sum over experts" },
    { "contribution.norm", "sqrt(sum |o_g|^2) / sqrt(sum |o|^2), sums over images, tokens, channels" },
    { "contribution.projection", "sum o_g . o / sum |o|^2: groups sum to 1" },
    { "contribution.combine", "sum over the group of share: groups sum to 1" },
    { "silenced.lost", "top-1 of the model less top-1 with the y of the group set to 0, in points" },
    { "silenced.changed", "share of images whose first class is another one then" },
    { "dispatch",
      "mean over images of sum over tokens and slots of D: the number of slots, by construction" },
    { "dispatch_tokens",
      "mean over images and slots of exp(entropy of D over tokens): how many tokens a slot reads" },
    { "entropy", "-sum_e p(e) ln p(e) / ln(experts)" },
    { "token_entropy", "mean over images and tokens of the entropy of sum_s C over experts, nats" },
    { "dead", "share < 0.01 / experts" },
    { "twins",
      "cosine > 0.99 of outputs over all images and slots, or of weights and biases in their order" },
    { "specialisation",
      "sum_y p(y|e) log2(p(y|e) / p(y)), p(e,y) = mean over images of label y of sum_s C: bits" },
    { "mutual_information", "sum_e p(e) specialisation(e): bits" },
    { "moved", "|w - w0| / |w0|, w0 the expert as it was recycled" },
    { NULL, NULL }
};

static int analyse_first(const f32 *z, int n)
{
    int best = 0;
    for (int k = 1; k < n; k++)
        best = z[k] > z[best] ? k : best;
    return best;
}

static const f32 *analyse_read(struct analysis *x, const node *n)
{
    f32 *v = arena_array(x->a, f32, node_count(n));
    return node_read(n, v) ? NULL : v;
}

/* The k-th of `show` is image k of / show: a folder has its classes one after the other. */
i64 analyse_place(const struct analysis *x, i64 i)
{
    if (x->of <= x->show)
        return i < x->show ? i : -1;
    i64 k = CEIL_DIV(i * x->show, x->of);
    return k < x->show && k * x->of / x->show == i ? k : -1;
}

/* (n e) means over heads (and slots, of dispatch; sums over slots, of combine) of the images to be shown. */
static void analyse_keep_maps(struct analysis *x, struct layer_analysis *l, const struct routed *r, i64 done)
{
    i64 maps = r->n * r->e;
    for (i64 i = 0; i < r->used; i++) {
        i64 place = analyse_place(x, done + i), all = place < 0 ? 0 : r->h * maps * r->s;
        for (i64 k = 0; k < all; k++) {
            i64 at = i * r->h * maps * r->s + k, to = place * maps + k % (maps * r->s) / r->s;
            l->dispatch_map[to] += r->dispatch[at] / (f32)(r->h * r->s);
            l->combine_map[to] += r->combine[at] / (f32)r->h;
        }
    }
}

static int analyse_layer(struct analysis *x, struct layer_analysis *l, const struct batch *b, i64 done)
{
    arena_mark m = arena_save(x->a);
    struct routed r = { .b = x->batch,
                        .used = b->n,
                        .h = l->heads,
                        .n = l->tokens,
                        .e = l->core + l->universal,
                        .s = l->slots,
                        .d = node_dim(l->experts, -1),
                        .label = x->labelled ? b->labels : NULL };
    if (!(r.dispatch = analyse_read(x, l->dispatch)) || !(r.combine = analyse_read(x, l->combine))
        || !(r.experts = analyse_read(x, l->experts)))
        return -1;
    load_add(&l->load, &r, x->a);
    analyse_keep_maps(x, l, &r, done);
    arena_restore(x->a, m);
    return 0;
}

/* softmax(q . k / sqrt(k)) of queries [from, to), their mean and that over heads: (n), of qkv (n 3 h k). */
static void analyse_attend(const f32 *qkv, i64 n, i64 heads, i64 d, i64 from, i64 to, f32 *out, f64 *row)
{
    i64 k = d / heads;
    for (i64 h = 0; h < heads; h++)
        for (i64 q = from; q < to; q++) {
            f64 top = -INFINITY, sum = 0;
            for (i64 t = 0; t < n; t++) {
                row[t] = 0;
                for (i64 j = 0; j < k; j++)
                    row[t] +=
                        (f64)qkv[q * 3 * d + h * k + j] * (f64)qkv[t * 3 * d + d + h * k + j] / sqrt((f64)k);
                top = fmax(top, row[t]);
            }
            for (i64 t = 0; t < n; t++) {
                row[t] = exp(row[t] - top);
                sum += row[t];
            }
            for (i64 t = 0; t < n; t++)
                out[t] += (f32)(row[t] / sum / (f64)(heads * (to - from)));
        }
}

static bool analyse_any_shown(const struct analysis *x, i64 first, i64 n)
{
    bool any = false;
    for (i64 i = first; i < first + n; i++)
        any |= analyse_place(x, i) >= 0;
    return any;
}

/* Of the class token where the head reads it, else the mean over patches' queries. */
static int analyse_attention(struct analysis *x, const struct batch *b, i64 done)
{
    bool token = x->s.model.pool == POOL_token;
    i64 n = x->attention_tokens, d = x->s.model.dim;
    for (int l = 0; l < x->blocks && x->qkv && analyse_any_shown(x, done, b->n); l++) {
        arena_mark m = arena_save(x->a);
        const f32 *v = analyse_read(x, x->qkv[l]);
        f64 *row = arena_array(x->a, f64, n);
        for (i64 i = 0; v && i < b->n; i++) {
            i64 place = analyse_place(x, done + i);
            if (place >= 0)
                analyse_attend(v + i * n * 3 * d, n, x->s.model.heads, d, token ? 0 : x->prefix,
                               token ? 1 : n, x->attention + (place * x->blocks + l) * n, row);
        }
        if (!v)
            return -1;
        arena_restore(x->a, m);
    }
    return 0;
}

static int analyse_logits(struct analysis *x, f32 *z)
{
    i64 n = node_count(x->logits);
    if (graph_run(x->g) || node_read(x->logits, z))
        return -1;
    for (i64 i = 0; i < n; i++)
        if (!isfinite(z[i]))
            return fail(FAULT_NUMBERS, "the model's class scores are not numbers");
    return 0;
}

static int analyse_silenced(struct analysis *x, const struct batch *b, const f32 *base, f32 *z)
{
    int classes = x->s.model.classes;
    for (int i = 0; i < x->n_silenced; i++) {
        struct silenced *s = &x->silenced[i];
        struct run_eval got = { 0 };
        if (analyse_write_mask(x, s->layer, s->first, s->count) || analyse_logits(x, z)
            || analyse_write_mask(x, s->layer, 0, 0))
            return -1;
        eval_count(z, b->labels, b->n, classes, &got, NULL);
        s->right += (i64)got.top1;
        for (i64 k = 0; k < b->n; k++)
            s->changed +=
                analyse_first(z + k * classes, classes) != analyse_first(base + k * classes, classes);
        progress("silencing %d/%d of images %lld", i + 1, x->n_silenced, (long long)x->base.n);
    }
    return 0;
}

static void analyse_keep_images(struct analysis *x, const struct batch *b, i64 done)
{
    i64 image = 3 * (i64)x->side * x->side;
    for (i64 i = 0; i < b->n; i++)
        if (analyse_place(x, done + i) >= 0)
            memcpy(x->shown + x->n_shown++ * image, b->pixels + i * image, (size_t)image);
    for (i64 i = 0; i < b->n && x->kept; i++, x->n_kept++) {
        batch_image(b, (int)i, x->kept + x->n_kept * image);
        x->kept_labels[x->n_kept] = b->labels[i];
    }
}

static int analyse_batch(struct analysis *x, const struct batch *b, i64 done)
{
    arena_mark m = arena_save(x->a);
    f32 *base = arena_array(x->a, f32, node_count(x->logits)),
        *z = arena_array(x->a, f32, node_count(x->logits));
    analyse_keep_images(x, b, done);
    if (feed_batch(&x->feed, b, 0, b->n) || analyse_logits(x, base))
        return -1;
    eval_count(base, b->labels, b->n, x->s.model.classes, &x->base, x->scores.confusion);
    for (int i = 0; i < x->layers; i++)
        if (analyse_layer(x, &x->layer[i], b, done))
            return -1;
    int rc = analyse_attention(x, b, done) || analyse_silenced(x, b, base, z) ? -1 : 0;
    arena_restore(x->a, m);
    return rc;
}

static int analyse_write_images(struct analysis *x)
{
    ckpt *c = ckpt_new();
    ckpt_add(c, "images", CKPT_F32, 4, (i64[]){ x->n_kept, 3, x->side, x->side }, x->kept);
    if (x->labelled)
        ckpt_add(c, "labels", CKPT_I32, 1, &x->n_kept, x->kept_labels);
    int rc = ckpt_save(c, x->save_images);
    ckpt_close(c);
    return rc;
}

int analyse_images(struct analysis *x, loader *l)
{
    i64 done = 0, room = loader_batches(l) * x->batch;
    int rc = 0;
    if (x->save_images) {
        x->kept = arena_array(x->a, f32, room * 3 * x->side * x->side);
        x->kept_labels = arena_array(x->a, i32, room);
    }
    fail_clear();
    loader_start(l, 0, 0);
    for (const struct batch *b; !rc && (b = loader_next(l)); loader_release(l, b)) {
        rc = analyse_batch(x, b, done);
        done += b->n;
        if (!rc && stop_requested())
            rc = fail(stop_fault(), "stopped by a signal; nothing was written");
    }
    progress_done();
    if (rc || fail_fault() != FAULT_NONE)
        return -1;
    if (!done)
        return fail(FAULT_DATA, "no image could be read");
    return x->save_images ? analyse_write_images(x) : 0;
}
