/* cmd_data.c: what there is to know about data sets: list, verify, fetch, stats, show (data_show.c), speed.
 * Operand 1 names a set or an experiment. */
#include "cli/data_actions.h"
#include "cli/options.h"
#include "data/verify.h"
#include "train/learner.h"
#include "log/files.h"
#include <jansson.h>
#include <stdlib.h>

int data_print_json(json_t *j)
{
    char *text = json_dumps(j, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
    puts(text ? text : "{}");
    free(text);
    json_decref(j);
    return 0;
}

/* ---- which set ----------------------------------------------------------------------------------------- */

int data_options_given(struct cli *c, struct spec *s, bool train, struct data_options *o)
{
    if (cli_operands(c, 2, 2))
        return -1;
    const char *what = c->operands[1];
    bool file = text_ends(what, ".yaml") || text_ends(what, ".yml") || strchr(what, '/');
    if (cli_spec(c, file ? what : NULL, s))
        return -1;
    if (!file)
        s->data.set = what;
    if (cli_value(c, "root"))
        s->data.root = cli_value(c, "root");
    if (!*s->data.set)
        return fail(FAULT_USAGE, "%s: data.set is not given", what);
    *o = data_options_of(s, train);
    return data_set_named(o->set) ? 0 : -1;
}

/* ---- list ---------------------------------------------------------------------------------------------- */

static json_t *data_set_json(const struct data_set *k)
{
    json_t *splits = json_object();
    for (const struct data_split *p = k->splits; p->name; p++)
        json_object_set_new(splits, p->name, json_integer(p->images));
    return json_pack("{s:s, s:s, s:i, s:o, s:b}", "name", k->name, "help", k->help, "classes", k->classes,
                     "splits", splits, "fetch", k->sources[0].url != NULL);
}

static int data_list(struct cli *c)
{
    if (cli_operands(c, 1, 1))
        return -1;
    json_t *all = json_array();
    for (int i = 0; data_set_name(i); i++) {
        const struct data_set *k = data_set_named(data_set_name(i));
        if (c->json)
            json_array_append_new(all, data_set_json(k));
        else {
            printf("%s%-10s%s %s\n", say_bold(1), k->name, say_plain(1), k->help);
            for (const struct data_split *p = k->splits; p->name; p++)
                printf("%s%s %ld", p == k->splits ? "           " : ", ", p->name, (long)p->images);
            printf("%s%s", k->splits[0].name ? " images\n" : "", "");
        }
    }
    if (c->json)
        return data_print_json(all);
    json_decref(all);
    printf("\nlooked for in %s (data.root, $JETCL_DATA)\n", data_default_root(c->arena, NULL));
    return 0;
}

/* ---- verify -------------------------------------------------------------------------------------------- */

static json_t *data_verify_json(const struct verify_report *r)
{
    json_t *splits = json_array(), *files = json_array(), *doubles = json_array();
    for (int i = 0; i < r->n_splits; i++) {
        const struct verify_split *s = &r->splits[i];
        json_t *bad = json_array();
        for (int k = 0; k < s->sweep.n_messages; k++)
            json_array_append_new(bad, json_string(s->sweep.messages[k]));
        json_array_append_new(splits,
                              json_pack("{s:s, s:s?, s:s?, s:I, s:I, s:i, s:i, s:I, s:o}", "name", s->name,
                                        "error", s->error, "passed_over", s->passed, "images",
                                        (json_int_t)s->images, "published", (json_int_t)s->published,
                                        "classes", s->classes, "published_classes", s->published_classes,
                                        "damaged", (json_int_t)s->sweep.damaged, "messages", bad));
    }
    for (int i = 0; i < r->n_files; i++)
        json_array_append_new(files, json_pack("{s:s, s:b}", "name", r->files[i].name, "as_published",
                                               r->files[i].as_published));
    for (int i = 0; i < r->n_doubles; i++)
        json_array_append_new(doubles, json_pack("[s, s]", r->doubles[i].a, r->doubles[i].b));
    return json_pack("{s:s?, s:i, s:o, s:o, s:I, s:o}", "root", r->root, "problems", r->problems, "splits",
                     splits, "files", files, "all_doubles", (json_int_t)r->all_doubles, "doubles", doubles);
}

static void data_print_split(const struct verify_split *s)
{
    if (s->error) {
        printf("  %-10s %s%s%s\n", s->name, say_red(1), s->error, say_plain(1));
        return;
    }
    bool images = !s->published || s->published == s->images;
    bool classes = !s->published_classes || s->published_classes == s->classes;
    printf("  %-10s %8ld images  %4d classes", s->name, (long)s->images, s->classes);
    if (!images)
        printf("  %s%ld images were published%s", say_red(1), (long)s->published, say_plain(1));
    if (!classes)
        printf("  %s%d classes were published%s", say_red(1), s->published_classes, say_plain(1));
    printf("%s\n", images && classes && s->published ? "  as published" : "");
    if (*s->passed)
        printf("    passed over: %s\n", s->passed);
    if (s->sweep.damaged)
        printf("    %s%ld damaged%s\n", say_red(1), (long)s->sweep.damaged, say_plain(1));
    for (int k = 0; k < s->sweep.n_messages; k++)
        printf("    %s\n", s->sweep.messages[k]);
}

static int data_verify_set(struct cli *c)
{
    struct spec s;
    struct data_options o;
    struct verify_report *r = arena_one(c->arena, struct verify_report);
    if (data_options_given(c, &s, false, &o) || data_verify(c->arena, &o, r))
        return -1;
    if (c->json)
        data_print_json(data_verify_json(r));
    else {
        printf("%s in %s\n", o.set, r->root ? r->root : data_default_root(c->arena, o.root));
        for (int i = 0; i < r->n_splits; i++)
            data_print_split(&r->splits[i]);
        for (int i = 0; i < r->n_files; i++)
            printf("  %-28s %s%s%s\n", r->files[i].name, r->files[i].as_published ? "" : say_red(1),
                   r->files[i].as_published ? "checksum as published"
                                            : "checksum differs from the published one",
                   say_plain(1));
        if (r->all_doubles)
            printf("  %ld pictures are in two splits%s\n", (long)r->all_doubles,
                   r->n_doubles < r->all_doubles ? "; the first of them:" : ":");
        for (int i = 0; i < r->n_doubles; i++)
            printf("    %s = %s\n", r->doubles[i].a, r->doubles[i].b);
        printf("%s\n", r->problems ? ""
                       : r->passed ? "  in order, apart from what was passed over"
                                   : "  in order");
    }
    if (!r->problems)
        return 0;
    return fail(FAULT_DATA, "%s: %d problem%s found", o.set, r->problems, r->problems > 1 ? "s" : "");
}

/* ---- fetch, stats -------------------------------------------------------------------------------------- */

static int data_fetch_set(struct cli *c)
{
    struct spec s;
    struct data_options o;
    if (data_options_given(c, &s, false, &o))
        return -1;
    return data_fetch(data_set_named(o.set), data_default_root(c->arena, o.root), cli_value(c, "from"),
                      cli_given(c, "keep"));
}

static void data_print_stats(const struct data_options *o, const struct stats_report *r)
{
    printf("%s of %s: %ld images, %ld damaged\n", r->split, o->set, (long)r->images, (long)r->sweep.damaged);
    printf("  mean        %.3f %.3f %.3f\n", r->mean[0], r->mean[1], r->mean[2]);
    printf("  std         %.3f %.3f %.3f\n", r->std[0], r->std[1], r->std[2]);
    printf("  within      %.3f %.3f %.3f   (of each picture, on average)\n", r->std_within[0],
           r->std_within[1], r->std_within[2]);
}

static int data_stats_set(struct cli *c)
{
    struct spec s;
    struct data_options o;
    struct stats_report r;
    bool train = !cli_value(c, "split") || strcmp(cli_value(c, "split"), "eval");
    if (data_options_given(c, &s, train, &o))
        return -1;
    if (cli_value(c, "split") && strcmp(cli_value(c, "split"), "eval")
        && strcmp(cli_value(c, "split"), "train"))
        o.split = cli_value(c, "split");
    if (data_stats(c->arena, &o, &r))
        return -1;
    if (c->json)
        data_print_json(json_pack("{s:s, s:I, s:I, s:I, s:[f,f,f], s:[f,f,f], s:[f,f,f]}", "split", r.split,
                             "images", (json_int_t)r.images, "damaged", (json_int_t)r.sweep.damaged, "pixels",
                             (json_int_t)r.pixels, "mean", r.mean[0], r.mean[1], r.mean[2], "std", r.std[0],
                             r.std[1], r.std[2], "std_within", r.std_within[0], r.std_within[1],
                             r.std_within[2]));
    else
        data_print_stats(&o, &r);
    for (int i = 0; i < r.sweep.n_messages; i++)
        warn("%s", r.sweep.messages[i]);
    return 0;
}

/* ---- speed --------------------------------------------------------------------------------------------- */

/* Batches as training would take them, without a network, for some seconds; every picture decoded again, as in
 * a large set. */
static int data_time_loader(dataset *d, const struct data_options *o, f64 seconds, bool json)
{
    loader *l = loader_open(d, o);
    if (!l)
        return -1;
    i64 images = 0;
    f64 start = clock_now();
    fail_clear();
    for (i64 epoch = 0; clock_now() - start < seconds && fail_fault() == FAULT_NONE; epoch++) {
        loader_start(l, epoch, 0);
        for (const struct batch *b; clock_now() - start < seconds && (b = loader_next(l));
             loader_release(l, b)) {
            images += b->n;
            progress("%ld images", (long)images);
        }
    }
    f64 wall = clock_now() - start, busy = loader_busy_seconds(l);
    f64 per_worker = busy > 0 ? (f64)loader_images(l) / busy : 0;
    progress_done();
    int rc = fail_fault() == FAULT_NONE ? 0 : -1;
    loader_close(l);
    if (!rc && json)
        return data_print_json(json_pack("{s:I, s:f, s:i, s:f, s:f}", "images", (json_int_t)images, "seconds",
                                         wall, "workers", o->workers, "img_s", (f64)images / wall,
                                         "img_s_per_worker", per_worker));
    if (!rc)
        printf("%ld images in %.1f s: %.0f img/s with %d workers; %.0f img/s for each second of a worker's "
               "processor time\n", (long)images, wall, (f64)images / wall, o->workers, per_worker);
    return rc;
}

static int data_speed(struct cli *c)
{
    struct spec s;
    struct data_options o;
    i64 seconds = 5;
    const char *split = cli_value(c, "split") ? cli_value(c, "split") : "train";
    if (cli_count(c, "seconds", 1, 86400, &seconds) || data_options_given(c, &s, strcmp(split, "eval"), &o))
        return -1;
    o.keep_decoded = false;
    dataset *d = data_open(&o);
    if (d)
        o.batch = MIN(o.batch, data_count(d));
    int rc = d ? data_time_loader(d, &o, (f64)seconds, c->json) : -1;
    data_close(d);
    return rc;
}

/* ---- the command --------------------------------------------------------------------------------------- */

static bool data_takes(const struct cli_option *o, const char *action)
{
    for (const char *p = o->of; p && *p; p += strspn(p, ", ")) {
        slice word = { p, strcspn(p, ", ") };
        if (slice_eq(word, action))
            return true;
        p += word.n;
    }
    return !o->of;
}

static int data_check_options(const struct cli *c, const char *action)
{
    char help[OPTION_HELP];
    for (const struct cli_option *o = c->command->options; o->name; o++)
        if (cli_given(c, o->name) && !data_takes(o, action))
            return fail(FAULT_USAGE, "data %s has no --%s (%s)", action, o->name, option_help(help, o));
    return 0;
}

static int data_run(struct cli *c)
{
    static const struct { const char *name; int (*run)(struct cli *c); } actions[] = {
        { "list", data_list }, { "verify", data_verify_set }, { "fetch", data_fetch_set },
        { "stats", data_stats_set }, { "show", data_show }, { "speed", data_speed } };
    const char *names[countof(actions)];
    if (cli_operands(c, 1, 2))
        return -1;
    for (int i = 0; i < countof(actions); i++)
        names[i] = actions[i].name;
    for (int i = 0; i < countof(actions); i++)
        if (!strcmp(c->operands[0], names[i]))
            return data_check_options(c, names[i]) ? -1 : actions[i].run(c);
    char hint[96];
    return fail(FAULT_USAGE, "no action '%s'%s; there are list, verify, fetch, stats, show, speed",
                c->operands[0], text_hint(hint, c->operands[0], names, countof(names)));
}

static const struct cli_option options[] = {
    { "root", "DIR", "folder of the data sets, instead of data.root" },
    { "split", "NAME", "train or eval; stats: also any split of the set", .of = "show, speed, stats" },
    { "images", "N", "number of images (64)", .of = "show" },
    { "epoch", "N", "draw as in this epoch (0)", .of = "show" },
    { "seconds", "N", "time to prepare batches (5)", .of = "speed" },
    { "png", "FILE", "write a contact sheet", .of = "show" },
    { "tensor", "FILE", "write images, soft_labels and index as .safetensors, for probe", .of = "show" },
    { "from", "URL", "take the published files from this folder or mirror", .of = "fetch" },
    { "keep", NULL, "keep the archives", .of = "fetch" },
    { 0 },
};
const struct command data_cmd = { "data", "list, verify, fetch, measure or show data sets",
                                  "data list|verify|fetch|stats|show|speed [SET|EXP.yaml] [options]",
                                  { "jetcl data verify cifar10 --root ~/data",
                                    "jetcl data show experiments/demo.yaml --images 36 --png sheet.png" },
                                  options, TAKES_JSON, data_run };
