/* analyse_write.c: an analysis as files: analysis.json has everything, the CSV files a row per expert and
 * per group of experts, the SVG files show the two. */
#include "study/analyse.h"
#include "log/files.h"
#include <math.h>

static const char *const parts[] = { "core", "universal" };

static f64 write_root_share(f64 part, f64 all) { return all > 0 ? sqrt(part / all) : NAN; }

static f64 write_top1(const struct analysis *x, i64 right)
{
    return x->labelled ? 100.0 * (f64)right / (f64)x->base.n : NAN;
}

static f64 write_lost(const struct analysis *x, const struct silenced *s)
{
    return s ? write_top1(x, (i64)x->base.top1) - write_top1(x, s->right) : NAN;
}

static f64 write_changed(const struct analysis *x, const struct silenced *s)
{
    return s ? (f64)s->changed / (f64)x->base.n : NAN;
}

static const char *write_class(const struct analysis *x, int k)
{
    return x->labelled && k >= 0 ? data_class_name(x->e->eval, k) : "";
}

/* The expert whose outputs are most like e's. */
static int write_nearest(const struct load *l, int e)
{
    int best = -1;
    for (int o = 0; o < l->experts; o++)
        if (o != e && (best < 0 || load_alike(l, e, o) > load_alike(l, e, best)))
            best = o;
    return best;
}

/* ---- analysis.json ------------------------------------------------------------------------------------- */

static json_t *write_silenced(const struct analysis *x, const struct silenced *s)
{
    if (!s)
        return json_null();
    return json_pack("{s:o, s:o, s:o}", "top1", json_number(write_top1(x, s->right)), "lost",
                     json_number(write_lost(x, s)), "changed", json_number(write_changed(x, s)));
}

static json_t *write_part(const struct analysis *x, const struct layer_analysis *l, int part)
{
    const struct load *d = &l->load;
    if (!(part == PART_CORE ? l->core : l->universal))
        return json_null();
    return json_pack("{s:o, s:o, s:o, s:o}", "norm",
                     json_number(write_root_share(d->square[part], d->square[PARTS])), "projection",
                     json_number(d->square[PARTS] > 0 ? d->along[part] / d->square[PARTS] : NAN), "combine",
                     json_number(load_part(d, part)), "silenced", write_silenced(x, l->part[part]));
}

static json_t *write_expert(const struct analysis *x, const struct layer_analysis *l, int e)
{
    const struct load *d = &l->load;
    int top = -1, near = write_nearest(d, e);
    f64 images = (f64)d->images, bits = x->labelled ? load_specialised(d, e, &top) : NAN;
    f64 rms = sqrt(d->gram[e * d->experts + e] / (images * (f64)d->slots));
    json_t *j =
        json_pack("{s:i, s:s, s:o, s:o, s:o, s:o, s:b, s:o}", "expert", e, "kind", parts[e >= l->core],
                  "share", json_number(load_share(d, e)), "dispatch", json_number(d->dispatch[e] / images),
                  "dispatch_tokens", json_number(d->spread[e] / images), "output_norm", json_number(rms),
                  "dead", load_dead(d, e), "specialisation", json_number(bits));
    if (top >= 0)
        json_object_set_new(j, "class", json_text(write_class(x, top)));
    if (near >= 0)
        json_object_set_new(j, "nearest", json_pack("{s:i, s:o, s:o}", "expert", near,
                            "outputs", json_number(load_alike(d, e, near)),
                            "weights", json_number(weights_alike(&l->weights, e, near))));
    if (l->n_moved)
        json_object_set_new(j, "moved", json_number(l->moved[0].each[e]));
    if (l->each)
        json_object_set_new(j, "silenced", write_silenced(x, l->each[e]));
    return j;
}

static json_t *write_twins(const struct layer_analysis *l)
{
    json_t *list = json_array();
    for (int a = 0; a < l->load.experts; a++)
        for (int b = a + 1; b < l->load.experts; b++) {
            f64 out = load_alike(&l->load, a, b), w = weights_alike(&l->weights, a, b);
            if (out > 0.99 || w > 0.99)
                json_array_append_new(list, json_pack("{s:[i, i], s:o, s:o}", "experts", a, b, "outputs",
                                                      json_number(out), "weights", json_number(w)));
        }
    return list;
}

static json_t *write_moved(const struct layer_analysis *l)
{
    json_t *list = json_array();
    for (int i = 0; i < l->n_moved; i++) {
        json_t *each = json_array();
        for (int e = 0; e < l->load.experts; e++)
            json_array_append_new(each, json_number(l->moved[i].each[e]));
        json_array_append_new(
            list,
            json_pack("{s:o, s:o, s:o, s:o}", "checkpoint", json_text(l->moved[i].file), "core",
                      json_number(l->core ? l->moved[i].mean[PART_CORE] : NAN), "universal",
                      json_number(l->universal ? l->moved[i].mean[PART_UNIVERSAL] : NAN), "experts", each));
    }
    return list;
}

static json_t *write_maps(const struct layer_analysis *l)
{
    int top[PARTS * MAPS_TOP], n = analyse_top(l, PART_CORE, top);
    json_t *list = json_array();
    n += analyse_top(l, PART_UNIVERSAL, top + n);
    for (int i = 0; i < n; i++)
        json_array_append_new(list, json_integer(top[i]));
    return list;
}

static json_t *write_layer(const struct analysis *x, struct layer_analysis *l)
{
    const struct load *d = &l->load;
    json_t *experts = json_array(), *dead = json_array();
    for (int e = 0; e < d->experts; e++) {
        json_array_append_new(experts, write_expert(x, l, e));
        if (load_dead(d, e))
            json_array_append_new(dead, json_integer(e));
    }
    json_t *j = json_pack("{s:i, s:i, s:i, s:i, s:I, s:o, s:o, s:o}", "block", l->index, "core", l->core,
                          "universal", l->universal, "slots", l->slots, "tokens", (json_int_t)l->tokens,
                          "entropy", json_number(load_entropy(d)), "token_entropy",
                          json_number(d->token_entropy / (f64)d->images), "mutual_information",
                          json_number(x->labelled ? load_information(d) : NAN));
    json_object_set_new(j, "contribution",
                        json_pack("{s:o, s:o}", "core", write_part(x, l, PART_CORE), "universal",
                                  write_part(x, l, PART_UNIVERSAL)));
    json_object_set_new(j, "dead", dead);
    json_t *twins = write_twins(l);
    l->twins = (int)json_array_size(twins);
    json_object_set_new(j, "twins", twins);
    json_object_set_new(j, "moved", write_moved(l));
    json_object_set_new(j, "shown", write_maps(l));
    json_object_set_new(j, "experts", experts);
    return j;
}

static json_t *write_confusion(const struct analysis *x)
{
    json_t *rows = json_array();
    for (int i = 0; i < x->scores.classes; i++) {
        json_t *row = json_array();
        for (int k = 0; k < x->scores.classes; k++)
            json_array_append_new(row, json_integer(x->scores.confusion[(i64)i * x->scores.classes + k]));
        json_array_append_new(rows, row);
    }
    return rows;
}

static int write_json(struct analysis *x, const char *path)
{
    json_t *layers = json_array(), *formulas = json_object();
    for (int i = 0; analyse_formulas[i][0]; i++)
        json_object_set_new(formulas, analyse_formulas[i][0], json_string(analyse_formulas[i][1]));
    for (int i = 0; i < x->layers; i++)
        json_array_append_new(layers, write_layer(x, &x->layer[i]));
    json_t *j =
        json_pack("{s:o, s:I, s:b, s:o, s:o, s:o}", "checkpoint", json_text(x->checkpoint), "images",
                  (json_int_t)x->base.n, "labelled", x->labelled, "top1",
                  json_number(write_top1(x, (i64)x->base.top1)), "formulas", formulas, "layers", layers);
    if (x->scores.confusion)
        json_object_set_new(j, "confusion", write_confusion(x));
    return json_save(path, j);
}

/* ---- tables -------------------------------------------------------------------------------------------- */

static void analyse_write_cell(FILE *f, f64 v)
{
    isfinite(v) ? fprintf(f, ",%.9g", v) : fputc(',', f);
}

static int write_experts_csv(const struct analysis *x, const char *path)
{
    struct file_out o;
    if (file_begin(&o, path))
        return -1;
    fprintf(o.f, "block,expert,kind,share,dispatch_tokens,dead,specialisation,class,nearest,outputs,weights,"
                 "moved,lost,changed\n");
    for (int i = 0; i < x->layers; i++)
        for (int e = 0; e < x->layer[i].load.experts; e++) {
            const struct layer_analysis *l = &x->layer[i];
            const struct load *d = &l->load;
            int top = -1, near = write_nearest(d, e);
            f64 bits = x->labelled ? load_specialised(d, e, &top) : NAN;
            fprintf(o.f, "%d,%d,%s", l->index, e, parts[e >= l->core]);
            analyse_write_cell(o.f, load_share(d, e));
            analyse_write_cell(o.f, d->spread[e] / (f64)d->images);
            fprintf(o.f, ",%d", load_dead(d, e));
            analyse_write_cell(o.f, bits);
            fputc(',', o.f);
            csv_text(o.f, write_class(x, top));
            fprintf(o.f, near < 0 ? "," : ",%d", near);
            analyse_write_cell(o.f, near < 0 ? NAN : load_alike(d, e, near));
            analyse_write_cell(o.f, near < 0 ? NAN : weights_alike(&l->weights, e, near));
            analyse_write_cell(o.f, l->n_moved ? l->moved[0].each[e] : NAN);
            analyse_write_cell(o.f, write_lost(x, l->each ? l->each[e] : NULL));
            analyse_write_cell(o.f, write_changed(x, l->each ? l->each[e] : NULL));
            fputc('\n', o.f);
        }
    return file_commit(&o);
}

static int write_parts_csv(const struct analysis *x, const char *path)
{
    struct file_out o;
    if (file_begin(&o, path))
        return -1;
    fprintf(o.f, "block,group,experts,norm,projection,combine,lost,changed\n");
    for (int i = 0; i < x->layers; i++)
        for (int p = 0; p < PARTS; p++) {
            const struct layer_analysis *l = &x->layer[i];
            const struct load *d = &l->load;
            if (!l->part[p])
                continue;
            fprintf(o.f, "%d,%s,%d", l->index, parts[p], p ? l->universal : l->core);
            analyse_write_cell(o.f, write_root_share(d->square[p], d->square[PARTS]));
            analyse_write_cell(o.f, d->square[PARTS] > 0 ? d->along[p] / d->square[PARTS] : NAN);
            analyse_write_cell(o.f, load_part(d, p));
            analyse_write_cell(o.f, write_lost(x, l->part[p]));
            analyse_write_cell(o.f, write_changed(x, l->part[p]));
            fputc('\n', o.f);
        }
    return file_commit(&o);
}

/* ---- charts -------------------------------------------------------------------------------------------- */

/* Shares of the experts of every layer, the most used first. */
static int write_load_chart(const struct analysis *x, const char *path)
{
    struct chart_series *s = arena_array(x->a, struct chart_series, x->layers);
    for (int i = 0; i < x->layers; i++) {
        const struct load *d = &x->layer[i].load;
        f64 *at = arena_array(x->a, f64, d->experts), *v = arena_array(x->a, f64, d->experts);
        for (int e = 0; e < d->experts; e++) {
            int k = e;
            for (f64 share = 100 * load_share(d, e); k >= 0; k--) {
                if (k && v[k - 1] < share) {
                    v[k] = v[k - 1];
                    continue;
                }
                v[k] = share;
                break;
            }
            at[e] = e + 1;
        }
        s[i] = (struct chart_series){ x->layer[i].block, d->experts, at, v };
    }
    return chart_lines(path, "Load of experts", "experts, the most used first", "combine weight, %", s,
                       x->layers);
}

static int write_parts_chart(const struct analysis *x, const char *path)
{
    static const char *const name[] = { "core: norm", "core: projection", "core: combine", "universal: norm",
                                        "universal: projection", "universal: combine" };
    struct chart_series s[6];
    const char **label = arena_array(x->a, const char *, x->layers);
    for (int k = 0; k < 6; k++) {
        f64 *v = arena_array(x->a, f64, x->layers);
        for (int i = 0; i < x->layers; i++) {
            const struct load *d = &x->layer[i].load;
            f64 three[] = { write_root_share(d->square[k / 3], d->square[PARTS]),
                            d->along[k / 3] / d->square[PARTS], load_part(d, k / 3) };
            v[i] = 100 * three[k % 3];
            label[i] = x->layer[i].block;
        }
        s[k] = (struct chart_series){ name[k], x->layers, NULL, v };
    }
    return chart_bars(path, "Contribution of core and universal experts", "share of the layer, %", label, s,
                      6);
}

/* Core and universal experts of every layer: how far from where recycling put them, a point a checkpoint. */
static int write_moved_chart(const struct analysis *x, const char *path)
{
    struct chart_series *s = arena_array(x->a, struct chart_series, x->layers * PARTS);
    int n = 0;
    for (int i = 0; i < x->layers; i++)
        for (int p = 0; p < PARTS; p++) {
            const struct layer_analysis *l = &x->layer[i];
            f64 *at = arena_array(x->a, f64, l->n_moved), *v = arena_array(x->a, f64, l->n_moved);
            for (int k = 0; k < l->n_moved; k++)             // the model itself comes first in the list
                at[k] = k, v[k] = l->moved[(k + 1) % l->n_moved].mean[p];
            if (p ? l->universal : l->core)
                s[n++] = (struct chart_series){ arena_printf(x->a, "%s %s", l->block, parts[p]), l->n_moved,
                                                at, v };
        }
    return chart_lines(path, "Distance from the recycled experts", "checkpoints kept, in order",
                       "|w - w0| / |w0|", s, n);
}

int analyse_save(struct analysis *x, const char *dir)
{
    const char *const *names = x->scores.confusion ? data_class_names(x->e->eval) : NULL;
    if (file_mkdirs(dir) || analyse_maps(x, dir)
        || write_json(x, arena_printf(x->a, "%s/analysis.json", dir)))
        return -1;
    if (names && (confusion_csv(arena_printf(x->a, "%s/confusion.csv", dir), &x->scores, names)
                  || confusion_png(arena_printf(x->a, "%s/confusion.png", dir), &x->scores)))
        return -1;
    if (!x->layers)
        return 0;
    if (x->layer[0].n_moved > 1 && write_moved_chart(x, arena_printf(x->a, "%s/moved.svg", dir)))
        return -1;
    return write_experts_csv(x, arena_printf(x->a, "%s/experts.csv", dir))
        || write_parts_csv(x, arena_printf(x->a, "%s/contributions.csv", dir))
        || write_load_chart(x, arena_printf(x->a, "%s/load.svg", dir))
        || write_parts_chart(x, arena_printf(x->a, "%s/contributions.svg", dir)) ? -1 : 0;
}

/* ---- for a person -------------------------------------------------------------------------------------- */

static void print_part(const struct analysis *x, const struct layer_analysis *l, int p)
{
    const struct load *d = &l->load;
    if (!l->part[p])
        return;
    printf("%-20s %-9s %7d %7.1f %11.1f %8.1f", l->block, parts[p], p ? l->universal : l->core,
           100 * write_root_share(d->square[p], d->square[PARTS]), 100 * d->along[p] / d->square[PARTS],
           100 * load_part(d, p));
    x->labelled ? printf(" %9.2f", write_lost(x, l->part[p])) : printf(" %9s", "-");
    printf(" %8.1f\n", 100 * write_changed(x, l->part[p]));
}

static void print_load(const struct analysis *x, const struct layer_analysis *l)
{
    int dead = 0;
    for (int e = 0; e < l->load.experts; e++)
        dead += load_dead(&l->load, e);
    printf("%-20s %8.3f %7d %7d", l->block, load_entropy(&l->load), dead, l->twins);
    x->labelled ? printf(" %12.4f", load_information(&l->load)) : printf(" %12s", "-");
    if (l->n_moved)
        printf(" %9.3f %9.3f", l->moved[0].mean[PART_CORE], l->moved[0].mean[PART_UNIVERSAL]);
    putchar('\n');
}

void analyse_print(const struct analysis *x)
{
    printf("%s: %lld images", x->checkpoint, (long long)x->base.n);
    if (x->labelled)
        printf(", top-1 %.2f %%", write_top1(x, (i64)x->base.top1));
    putchar('\n');
    if (!x->layers)
        return;
    printf("\nshares in %% of the layer; silenced: top-1 lost in points, images in %% with another first "
           "class\n");
    printf("%-20s %-9s %7s %7s %11s %8s %9s %8s\n", "block", "group", "experts", "norm", "projection",
           "combine", "lost", "changed");
    for (int i = 0; i < x->layers; i++)
        for (int p = 0; p < PARTS; p++)
            print_part(x, &x->layer[i], p);
    bool moved = x->layer[0].n_moved;
    printf("\n%-20s %8s %7s %7s %12s%s\n", "block", "entropy", "dead", "twins", "label, bits",
           moved ? "    moved: core universal" : "");
    for (int i = 0; i < x->layers; i++)
        print_load(x, &x->layer[i]);
}
