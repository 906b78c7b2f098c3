/* cmd_predict.c: classes and probabilities for images or folders, as CSV or JSON lines. Class names and
 * normalisation are the checkpoint's. */
#include "cli/cli.h"
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

static void predict_print_csv(const struct prediction *t, const char *path, const int *best, const f32 *p)
{
    char number[16];
    for (int i = 0; i < t->top; i++) {
        csv_text(stdout, path);
        printf(",%d,%d,", i + 1, best[i]);
        csv_text(stdout, class_name(t, best[i], number));
        printf(",%.6f\n", (f64)p[best[i]]);
    }
}

static void predict_print_json(const struct prediction *t, const char *path, const int *best, const f32 *p)
{
    json_t *list = json_array();
    char number[16];
    for (int i = 0; i < t->top; i++) {
        const char *name = class_name(t, best[i], number);
        json_array_append_new(list, json_pack("{s:i, s:s, s:f}", "class", best[i], "name", name,
                                              "p", (f64)p[best[i]]));
    }
    json_t *line = json_pack("{s:s, s:o}", "image", path, "top", list);
    char *text = json_dumps(line, JSON_COMPACT | JSON_REAL_PRECISION(6));
    puts(text ? text : "{}");
    free(text);
    json_decref(line);
}

static int predict_all(struct prediction *t)
{
    int classes = t->e.s.model.classes, *best = arena_array(t->c->arena, int, classes), rc = 0;
    f32 *logits = arena_array(t->c->arena, f32, (i64)t->v.batch * classes);
    size_t skip = strlen(t->here);
    loader_start(t->l, 0, 0);
    if (!t->c->json)
        puts("image,rank,class,name,probability");
    for (const struct batch *b; !rc && (b = loader_next(t->l)); loader_release(t->l, b)) {
        rc = evaluator_logits(&t->v, b, logits);
        for (int i = 0; i < b->n && !rc; i++) {
            char path[4096], shown[512];
            f32 *p = logits + (i64)i * classes;
            data_path(t->files, b->index[i], path);
            predict_softmax(p, classes);
            predict_likeliest(p, classes, best, t->top);
            const char *name = path_shown(shown, strncmp(path, t->here, skip) ? path : path + skip);
            t->c->json ? predict_print_json(t, name, best, p) : predict_print_csv(t, name, best, p);
        }
    }
    return rc || fail_fault() != FAULT_NONE ? -1 : 0;
}

/* A damaged image spares the others: its message comes when they are done. */
static int say_unread(const struct prediction *t)
{
    const char *const *messages;
    int n = loader_skipped(t->l, &messages);
    if (!n)
        return 0;
    return fail(FAULT_DATA, "%d of %d images could not be read, the first: %s", n, data_count(t->files),
                messages[0]);
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
    int rc = cli_operands(c, 2, 1 << 20) || cli_trained(c, &t.model, &used) || predict_open(&t, used)
             || predict_all(&t)
             || say_unread(&t) ? -1 : 0;
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
    { "jetcl predict runs/demo/latest cat.jpg",
      "jetcl predict best.safetensors photos/ --top 5 --json" },
    options, TAKES_JSON | TAKES_PRECISION, predict_run };
