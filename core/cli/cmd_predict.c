/* cmd_predict.c: classes and probabilities for images or folders, as CSV or JSON lines. Class names and
 * normalisation are the checkpoint's. */
#include "cli/cli.h"
#include "cli/ranks.h"
#include "dist/dist.h"
#include "train/learner.h"
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

struct prediction {
    struct cli       *c;
    struct trained    model;
    struct session    e;
    struct evaluator  v;
    dataset          *files;
    loader           *l;
    int               top;
    int              *best;                       /* [classes], and the scores of a batch: (batch classes) */
    f32              *scores;
    FILE             *out;                        /* stdout; among several ranks a text, for rank 0 to print */
    char             *text;
    size_t            length;
    char              here[4096];                 /* prefix that paths below the working folder lose */
};

static void predict_softmax(f32 *z, int n)
{
    f64 top = -INFINITY, sum = 0;
    for (int k = 0; k < n; k++)
        top = fmax(top, z[k]);
    for (int k = 0; k < n; k++)
        sum += exp(z[k] - top);
    for (int k = 0; k < n; k++)
        z[k] = (f32)(exp(z[k] - top) / sum);
}

/* Likeliest first; equal ones by number. */
static int by_likelihood(const void *a, const void *b, void *p)
{
    int i = *(const int *)a, j = *(const int *)b;
    f32 x = ((const f32 *)p)[i], y = ((const f32 *)p)[j];
    return x != y ? (x < y ? 1 : -1) : i - j;
}

/* All n classes in this order; one alone is found without sorting. */
static void predict_likeliest(f32 *p, int n, int *order, int top)
{
    int best = 0;
    for (int k = 0; k < n; k++) {
        order[k] = k;
        best = p[k] > p[best] ? k : best;
    }
    if (top == 1)
        order[0] = best;
    else
        qsort_r(order, (size_t)n, sizeof *order, by_likelihood, p);
}

static const char *class_name(const struct prediction *t, int k, char number[16])
{
    snprintf(number, 16, "%d", k);
    return t->model.names ? t->model.names[k] : number;
}

static void predict_print_csv(const struct prediction *t, const char *path, const f32 *p)
{
    char number[16];
    for (int i = 0; i < t->top; i++) {
        const int k = t->best[i];
        csv_text(t->out, path);
        fprintf(t->out, ",%d,%d,", i + 1, k);
        csv_text(t->out, class_name(t, k, number));
        fprintf(t->out, ",%.6f\n", (f64)p[k]);
    }
}

static void predict_print_json(const struct prediction *t, const char *path, const f32 *p)
{
    json_t *list = json_array();
    char number[16];
    for (int i = 0; i < t->top; i++) {
        const int k = t->best[i];
        json_array_append_new(list, json_pack("{s:i, s:s, s:f}", "class", k, "name",
                                              class_name(t, k, number), "p", (f64)p[k]));
    }
    json_t *line = json_pack("{s:s, s:o}", "image", path, "top", list);
    char *text = json_dumps(line, JSON_COMPACT | JSON_REAL_PRECISION(6));
    fprintf(t->out, "%s\n", text ? text : "{}");
    free(text);
    json_decref(line);
}

static int predict_batch(const struct prediction *t, struct evaluator *v, const struct batch *b)
{
    int classes = t->e.s.model.classes;
    size_t skip = strlen(t->here);
    if (evaluator_logits(v, b, t->scores))
        return -1;
    for (int i = 0; i < b->n; i++) {
        char path[4096], shown[512];
        f32 *p = t->scores + (i64)i * classes;
        data_path(t->files, b->index[i], path);
        predict_softmax(p, classes);
        predict_likeliest(p, classes, t->best, t->top);
        const char *name = path_shown(shown, strncmp(path, t->here, skip) ? path : path + skip);
        t->c->json ? predict_print_json(t, name, p) : predict_print_csv(t, name, p);
    }
    return 0;
}

/* Together, once per round in which each rank has a batch, one after the other of all; in the last round a rank
 * may have none. */
static int predict_round(struct prediction *t, const struct batch *b)
{
    bool none = false;
    int rc = fail_fault() != FAULT_NONE || (b && predict_batch(t, &t->v, b)) ? -1 : 0;
    if (dist_size() == 1)
        return rc;
    if (dist_agree_flag(rc, &none))
        return -1;
    fflush(t->out);
    rc = dist_print(stdout, t->text, t->length);
    rewind(t->out);
    return rc;
}

static int predict_all(struct prediction *t)
{
    int classes = t->e.s.model.classes, rc = 0;
    i64 done = 0, all;
    t->out = dist_size() == 1 ? stdout : open_memstream(&t->text, &t->length);
    check(t->out, "no memory stream");
    t->best = arena_array(t->c->arena, int, classes);
    t->scores = arena_array(t->c->arena, f32, (i64)t->v.batch * classes);
    loader_start(t->l, 0, 0);
    if (!t->c->json)
        puts("image,rank,class,name,probability");
    for (const struct batch *b; !rc && (b = loader_next(t->l)); loader_release(t->l, b), done++)
        rc = predict_round(t, b);
    loader_place(t->l, 0, &all);
    for (; !rc && dist_size() > 1 && done * dist_size() < all; done++)
        rc = predict_round(t, NULL);
    return dist_agree(rc || fail_fault() != FAULT_NONE ? -1 : 0);
}

/* A damaged image spares the others: its message comes when they are done. */
static int say_unread(const struct prediction *t)
{
    const char *const *messages;
    f64 n = loader_skipped(t->l, &messages);
    bool here = n > 0;
    if (dist_sum(&n, 1))
        return -1;
    return dist_agree(here ? fail(FAULT_DATA, "%.0f of %d images could not be read, the first: %s", n,
                                  data_count(t->files), messages[0]) : 0);
}

static int predict_open(struct prediction *t, int used)
{
    struct cli *c = t->c;
    i64 top = 1;
    if (used == c->n)
        return fail(FAULT_USAGE, "which images? jetcl %s", c->command->usage);
    if (cli_count(c, "top", 1, t->model.n, &top))
        return -1;
    t->top = (int)top;
    struct data_options o = data_options_of(&t->model.s, false);
    o.keep_decoded = false;
    o.skip_errors = true;
    if (dist_size() > 1)
        o.rank = dist_rank(), o.ranks = dist_size();
    t->files = data_open_files((const char *const *)c->operands + used, c->n - used, &o);
    if (!t->files || session_open_trained(&t->e, &t->model, false)
        || evaluator_open(&t->v, &t->e.s, t->e.d, t->e.p, o.batch))
        return -1;
    t->l = loader_open(t->files, &o);
    return t->l ? 0 : -1;
}

static int predict_run(struct cli *c)
{
    struct prediction t = { .c = c };
    int used;
    if (getcwd(t.here, sizeof t.here - 1))
        strcat(t.here, "/");
    fail_clear();
    int rc = cli_operands(c, 2, 1 << 20) || cli_trained(c, &t.model, &used)
             || ranks_launch(c, t.model.s.device) ? -1 : 0;
    rc = dist_agree(rc || predict_open(&t, used) ? -1 : 0) || predict_all(&t) || say_unread(&t) ? -1 : 0;
    if (t.text)
        fclose(t.out);
    free(t.text);
    if (t.l)
        loader_close(t.l);
    evaluator_close(&t.v);
    data_close(t.files);
    session_close(&t.e);
    trained_close(&t.model);
    return rc;
}

static const struct cli_option options[] = {
    { "top", "K", "print the K likeliest classes of each image (1)" },
    { 0 },
};
const struct command predict_cmd = {
    "predict", "class and probability for images or folders",
    "predict RUN|CHECKPOINT|EXP.yaml CHECKPOINT IMAGE|FOLDER... [options]",
    { "jetcl predict runs/demo_jetpack/latest cat.jpg",
      "jetcl predict best.safetensors photos/ --top 5 --json" },
    options, TAKES_JSON | TAKES_PRECISION | TAKES_RANKS, predict_run };
