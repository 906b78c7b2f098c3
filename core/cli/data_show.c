/* data_show.c: `jetcl data show`: the first images of an epoch as training or evaluation sees them: their
 * labels as a list, a contact sheet, or tensors. */
#include "cli/data_actions.h"
#include "ckpt/ckpt.h"
#include "data/verify.h"
#include "log/files.h"
#include "train/learner.h"

/* The first n images of an epoch, gathered over batches. */
struct shown { int n, side, classes; f32 *images, *soft; i64 *index; };

static int show_gather(arena *a, dataset *d, const struct data_options *o, i64 epoch, struct shown *g)
{
    loader *l = loader_open(d, o);
    if (!l)
        return -1;
    size_t size = 3 * (size_t)g->side * (size_t)g->side;
    g->images = arena_array(a, f32, size * (size_t)g->n);
    g->soft = arena_array(a, f32, (i64)g->n * g->classes);
    g->index = arena_array(a, i64, g->n);
    int have = 0;
    loader_start(l, epoch, 0);
    for (const struct batch *b; have < g->n && (b = loader_next(l)); loader_release(l, b)) {
        int n = MIN(b->n, g->n - have);
        for (int k = 0; k < n; k++)
            batch_image(b, k, g->images + size * (size_t)(have + k));
        memcpy(g->soft + (i64)have * g->classes, b->soft_labels,
               sizeof(f32) * (size_t)n * (size_t)g->classes);
        memcpy(g->index + have, b->index, sizeof(i64) * (size_t)n);
        have += n;
    }
    g->n = have;
    loader_close(l);
    return have ? 0 : -1;
}

static void show_print(const dataset *d, const struct shown *g, int columns)
{
    for (int i = 0; i < g->n; i++) {
        char path[4096], text[512];
        printf("%3d,%-3d %s ", i / columns + 1, i % columns + 1,
               path_shown(text, data_path(d, g->index[i], path)));
        for (int k = 0; k < g->classes; k++)
            if (g->soft[(i64)i * g->classes + k] > 0)
                printf(" %s %.3g", data_class_name(d, k), (f64)g->soft[(i64)i * g->classes + k]);
        printf("\n");
    }
}

static int show_print_json(const dataset *d, const struct shown *g, int columns)
{
    json_t *all = json_array();
    for (int i = 0; i < g->n; i++) {
        char path[4096], text[512];
        json_t *labels = json_object();
        for (int k = 0; k < g->classes; k++)
            if (g->soft[(i64)i * g->classes + k] > 0)
                json_object_set_new(labels, data_class_name(d, k),
                                    json_real((f64)g->soft[(i64)i * g->classes + k]));
        json_array_append_new(all, json_pack("{s:i, s:i, s:o, s:o}", "row", i / columns + 1,
                                             "column", i % columns + 1, "path",
                                             json_text(path_shown(text, data_path(d, g->index[i], path))),
                                             "labels", labels));
    }
    return data_print_json(all);
}

static int show_save_tensors(const char *path, const struct shown *g)
{
    ckpt *k = ckpt_new();
    ckpt_add(k, "images", CKPT_F32, 4, (i64[]){ g->n, 3, g->side, g->side }, g->images);
    ckpt_add(k, "soft_labels", CKPT_F32, 2, (i64[]){ g->n, g->classes }, g->soft);
    ckpt_add(k, "index", CKPT_I64, 1, (i64[]){ g->n }, g->index);
    int rc = ckpt_save(k, path);
    ckpt_close(k);
    return rc;
}

static int show_save_sheet(arena *a, const char *path, const dataset *d, const struct shown *g, int columns)
{
    f32 mean[3], std[3];
    struct image sheet = { 0 };
    data_mean_std(d, mean, std);
    return sheet_draw(a, g->images, g->n, g->side, columns, mean, std, &sheet)
        || image_save_png(path, &sheet) ? -1 : 0;
}

static int show_images(struct cli *c, dataset *d, struct data_options *o, i64 images, i64 epoch)
{
    struct shown g = { .n = (int)MIN(images, data_count(d)), .side = o->image, .classes = data_classes(d) };
    o->batch = MIN(o->batch, data_count(d));
    const char *tensor = cli_value(c, "tensor"), *png = cli_value(c, "png");
    int columns = 1;
    if (show_gather(c->arena, d, o, epoch, &g))
        return -1;
    while (columns * columns < g.n)
        columns++;
    if ((png && show_save_sheet(c->arena, png, d, &g, columns)) || (tensor && show_save_tensors(tensor, &g)))
        return -1;
    if (c->json)
        return show_print_json(d, &g, columns);
    show_print(d, &g, columns);
    return 0;
}

int data_show(struct cli *c)
{
    struct spec s;
    struct data_options o;
    i64 images = 64, epoch = 0;
    const char *split = cli_value(c, "split") ? cli_value(c, "split") : "train";
    if (cli_count(c, "images", 1, 1 << 20, &images) || cli_count(c, "epoch", 0, 1 << 30, &epoch))
        return -1;
    if (strcmp(split, "train") && strcmp(split, "eval"))
        return fail(FAULT_USAGE, "--split must be train or eval (as the experiment defines them), not '%s'",
                    split);
    if (cli_value(c, "tensor") && ckpt_can_save(cli_value(c, "tensor")))
        return -1;
    if (cli_value(c, "png") && file_can_replace(cli_value(c, "png"), ".png"))
        return -1;
    if (data_options_given(c, &s, !strcmp(split, "train"), &o))
        return -1;
    dataset *d = data_open(&o);
    const char *png = cli_value(c, "png");
    int rc = !d || cli_not_inside("--png", png, data_folder(c->arena, d, s.data.train))
             || cli_not_inside("--png", png, data_folder(c->arena, d, s.data.eval)) ? -1 : 0;
    rc = rc ? rc : show_images(c, d, &o, images, epoch);
    data_close(d);
    return rc;
}
