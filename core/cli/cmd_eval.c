/* cmd_eval.c: how right a checkpoint is on a labelled set, over all and for each class. */
#include "cli/cli.h"
#include "study/analyse.h"
#include "cli/ranks.h"
#include "log/files.h"

/* ---- what is written ----------------------------------------------------------------------------------- */

static const char *eval_class(const struct session *e, int k) { return data_class_name(e->eval, k); }

static int eval_write_classes(const char *path, const struct session *e, const struct scores *s)
{
    struct file_out o;
    if (file_begin(&o, path))
        return -1;
    fprintf(o.f, "class,name,images,top1,precision,recall,f1\n");
    for (int k = 0; k < s->classes; k++) {
        struct class_score c = scores_class(s, k);
        fprintf(o.f, "%d,", k);
        csv_text(o.f, eval_class(e, k));
        fprintf(o.f, ",%lld,%.4f,%.6f,%.6f,%.6f\n", (long long)c.images, 100 * c.recall, c.precision, c.recall,
                c.f1);
    }
    return file_commit(&o);
}

static int eval_save_logits(const char *path, const struct session *e, const struct scores *s)
{
    ckpt *c = ckpt_new();
    json_t *names = json_array();
    for (int k = 0; k < s->classes; k++)
        json_array_append_new(names, json_text(eval_class(e, k)));
    char *text = json_dumps(names, JSON_COMPACT);
    ckpt_add(c, "logits", CKPT_F32, 2, (i64[]){ s->n, s->classes }, s->logits);
    ckpt_add(c, "labels", CKPT_I64, 1, &s->n, s->labels);
    int rc = ckpt_set_meta(c, "classes", text ? text : "[]") || ckpt_save(c, path) ? -1 : 0;
    free(text);
    json_decref(names);
    ckpt_close(c);
    return rc;
}

/* Every --confusion: a picture where the name ends in .png. */
static int eval_write_files(struct cli *c, const struct session *e, const struct scores *s)
{
    for (int i = 0; i < c->n_given; i++) {
        const char *path = c->given[i].value, *name = c->given[i].name;
        bool matrix = !strcmp(name, "confusion"), png = text_ends(path, ".png");
        if (matrix && (png ? confusion_png(path, s) : confusion_csv(path, s, data_class_names(e->eval))))
            return -1;
        if (!strcmp(name, "per-class") && eval_write_classes(path, e, s))
            return -1;
        if (!strcmp(name, "save-logits") && eval_save_logits(path, e, s))
            return -1;
    }
    return 0;
}

static json_t *eval_classes_json(const struct session *e, const struct scores *s)
{
    json_t *list = json_array();
    for (int k = 0; k < s->classes; k++) {
        struct class_score c = scores_class(s, k);
        json_array_append_new(list, json_pack("{s:o, s:I, s:o, s:o, s:o}", "name", json_text(eval_class(e, k)),
                                              "n", (json_int_t)c.images, "precision", json_number(c.precision),
                                              "recall", json_number(c.recall), "f1", json_number(c.f1)));
    }
    return list;
}

static int eval_print_json(const struct trained *t, const struct session *e, const struct run_eval *r,
                      const struct scores *s)
{
    struct class_score m = scores_mean(s);
    return json_line(stdout, json_pack("{s:o, s:o, s:I, s:o, s:o, s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
                                       "checkpoint", json_text(t->path), "split", json_text(e->s.data.eval),
                                       "n", (json_int_t)r->n, "top1", json_number(r->top1),
                                       "top5", json_number(r->top5), "k", s->k,
                                       "topk", json_number(100.0 * (f64)s->in_top_k / (f64)s->n),
                                       "loss", json_number(r->loss), "precision", json_number(m.precision),
                                       "recall", json_number(m.recall), "f1", json_number(m.f1),
                                       "ece", json_number(scores_calibration(s)),
                                       "seconds", json_number(r->seconds), "classes", eval_classes_json(e, s)));
}

static void eval_print_text(const struct trained *t, const struct session *e, const struct run_eval *r,
                       const struct scores *s)
{
    struct class_score m = scores_mean(s);
    printf("%s: top-1 %.2f %%, top-5 %.2f %%", t->path, r->top1, r->top5);
    if (s->k != 1 && s->k != 5)
        printf(", top-%d %.2f %%", s->k, 100.0 * (f64)s->in_top_k / (f64)s->n);
    printf(", loss %.4f on %lld images of %s (%.0f img/s)\n", r->loss, (long long)r->n, e->s.data.eval,
           (f64)r->n / r->seconds);
    printf("mean over classes: precision %.4f, recall %.4f, F1 %.4f; expected calibration error %.4f\n",
           m.precision, m.recall, m.f1, scores_calibration(s));
}

/* ---- the command --------------------------------------------------------------------------------------- */

/* Checked before the work starts: can the files be written? */
static int eval_check_files(const struct cli *c)
{
    for (int i = 0; i < c->n_given; i++) {
        const char *path = c->given[i].value, *name = c->given[i].name;
        bool png = !strcmp(name, "confusion") && text_ends(path, ".png");
        bool written = !strcmp(name, "confusion") || !strcmp(name, "per-class");
        if ((written && file_can_replace(path, png ? ".png" : ".csv"))
            || (!strcmp(name, "save-logits") && ckpt_can_save(path)))
            return -1;
    }
    return 0;
}

static int eval_check_matrix(const struct cli *c, int classes)
{
    return cli_given(c, "confusion") && classes > CONFUSION_CLASSES
           ? fail(FAULT_USAGE, "a confusion matrix of %d classes would have %.1e entries (at most %d "
                  "classes); --per-class writes each class's numbers", classes, (f64)classes * classes,
                  CONFUSION_CLASSES) : 0;
}

static int eval_split(struct cli *c, const struct trained *t, struct session *e)
{
    struct evaluator v = { 0 };
    struct scores s;
    struct run_eval got;
    i64 k = 5;
    loader *l = NULL;
    int rc = cli_count(c, "top", 1, t->n, &k) || eval_check_matrix(c, t->n) || session_open_trained(e, t, true)
          || evaluator_open(&v, &e->s, e->d, e->p, e->eval_options.batch)
          || !(l = loader_open(e->eval, &e->eval_options)) ? -1 : 0;
    if (!rc) {
        scores_open(&s, c->arena, t->n, (int)k, cli_given(c, "save-logits") ? data_count(e->eval) : 0,
                    cli_given(c, "confusion"));
        rc = evaluate(&v, l, &got, &s);
        progress_done();
    }
    rc = dist_agree(rc || (!dist_rank() && eval_write_files(c, e, &s)) ? -1 : 0);
    if (!rc && c->json && !dist_rank())
        rc = eval_print_json(t, e, &got, &s);
    else if (!rc && !dist_rank())
        eval_print_text(t, e, &got, &s);
    if (l)
        loader_close(l);
    evaluator_close(&v);
    return rc;
}

static int eval_run(struct cli *c)
{
    struct trained t = { 0 };
    struct session e = { 0 };
    int used;
    int rc = cli_operands(c, 1, 2) || eval_check_files(c) || cli_trained(c, &t, &used) ? -1 : 0;
    if (!rc && used < c->n)
        rc = fail(FAULT_USAGE, "too many arguments: a checkpoint knows its experiment, and images come after "
                               "--data");
    rc = rc || cli_not_input(c, "save-logits", t.path) || cli_data(c, &t.s) || ranks_launch(c, t.s.device)
         || eval_split(c, &t, &e) ? -1 : 0;
    session_close(&e);
    trained_close(&t);
    return rc;
}

static const struct cli_option options[] = {
    { "data", "FOLDER",
      "evaluate on this folder, or the split in it, with a folder per class; classes are matched by name" },
    { "split", "NAME", "use this split instead of data.eval" },
    { "top", "K", "also print how often the class is among the K likeliest" },
    { "per-class", "FILE", "write number of images, precision, recall and F1 of every class as CSV" },
    { "confusion", "FILE",
      "write the confusion matrix, rows are the truth: .csv, or drawn as .png; may be repeated", true },
    { "save-logits", "FILE",
      "write logits and labels of every image, in the set's order, as .safetensors or .npz" },
    { 0 },
};
const struct command eval_cmd = {
    "eval", "accuracy of a checkpoint on labelled images", "eval RUN|CHECKPOINT|EXP.yaml CHECKPOINT [options]",
    { "jetcl eval runs/demo_jetpack/latest",
      "jetcl eval best.safetensors --data photos/ --per-class classes.csv" },
    options, TAKES_JSON | TAKES_PRECISION | TAKES_RANKS, eval_run };
