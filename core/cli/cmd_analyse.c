/* cmd_analyse.c: what the experts of a trained model do, and how soon runs got where they are. */
#include "cli/cli.h"
#include "study/analyse.h"
#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- where things are ---------------------------------------------------------------------------------- */

/* The run that a checkpoint lies in (RUN/ckpt/x.safetensors), or NULL. */
static const char *analyse_run_of(arena *a, const char *checkpoint)
{
    const char *slash = strrchr(checkpoint, '/');
    const char *dir = slash ? arena_printf(a, "%.*s", (int)(slash - checkpoint), checkpoint) : ".";
    if (!text_ends(dir, "/ckpt") && strcmp(dir, "ckpt"))
        return NULL;
    return strcmp(dir, "ckpt") ? arena_printf(a, "%.*s", (int)strlen(dir) - 5, dir) : ".";
}

static const char *analyse_out(struct cli *c, const char *checkpoint, const char *run)
{
    const char *given = cli_value(c, "out");
    if (given)
        return given;
    return run ? arena_printf(c->arena, "%s/analysis", run)
               : arena_printf(c->arena, "%s-analysis", checkpoint);
}

/* ---- which images -------------------------------------------------------------------------------------- */

/* --images as a number into *n; else the paths into *files. */
static int analyse_images_given(struct cli *c, i64 *n, const char ***files, int *n_files)
{
    *files = arena_array(c->arena, const char *, c->n_given + 1);
    for (int i = 0; i < c->n_given; i++) {
        const char *value = c->given[i].value;
        if (strcmp(c->given[i].name, "images"))
            continue;
        if (!text_int(slice_of(value), n))
            (*files)[(*n_files)++] = value;
        else if (*n < 1)
            return fail(FAULT_USAGE, "--images must be a positive number, or files and folders");
    }
    if (*n_files && cli_given(c, "data"))
        return fail(FAULT_USAGE, "--data has labels, files of --images have none: give one");
    return 0;
}

struct subject {
    struct trained t;
    struct session e;
    dataset       *files;
    loader        *l;
    i64            n;                             // images
    bool           labelled;
    int            batch;
};

/* Pictures that the analysis writes would be images of a class, or of the folder, the next time. */
static int analyse_not_among(struct cli *c, const struct subject *x, const char *const *files, int n)
{
    const char *out = analyse_out(c, x->t.path, analyse_run_of(c->arena, x->t.path));
    const char *const splits[] = { x->t.s.data.eval, x->t.s.data.train };
    for (int i = 0; x->labelled && i < countof(splits); i++)
        if (cli_not_inside("--out", out, data_folder(c->arena, x->e.eval, splits[i])))
            return -1;
    for (int i = 0; i < n; i++)
        if (file_is_folder(files[i]) && cli_not_inside("--out", out, files[i]))
            return -1;
    return 0;
}

static int subject_open(struct cli *c, struct subject *x)
{
    i64 n = 256;
    int used, n_files = 0;
    const char **files;
    if (analyse_images_given(c, &n, &files, &n_files) || cli_trained(c, &x->t, &used)
        || (cli_given(c, "save-images") && ckpt_can_save(cli_value(c, "save-images")))
        || cli_not_input(c, "save-images", x->t.path)
        || file_can_fill(analyse_out(c, x->t.path, analyse_run_of(c->arena, x->t.path))))
        return -1;
    if (used < c->n)
        return fail(FAULT_USAGE,
                    "several runs must all be run folders; images come after --images or --data");
    x->labelled = !n_files;
    if ((x->labelled && cli_data(c, &x->t.s)) || session_open_trained(&x->e, &x->t, x->labelled)
        || analyse_not_among(c, x, files, n_files))
        return -1;
    struct data_options o = x->labelled ? x->e.eval_options : data_options_of(&x->t.s, false);
    o.limit = n;
    o.spread = true;
    o.keep_decoded = false;
    o.skip_errors |= !x->labelled;
    if (!x->labelled && !(x->files = data_open_files(files, n_files, &o)))
        return -1;
    dataset *set = x->labelled ? x->e.eval : x->files;
    o.limit = x->n = MIN(n, (i64)data_count(set));
    o.batch = x->batch = (int)MIN(MIN(o.limit, 16), o.batch);
    return (x->l = loader_open(set, &o)) ? 0 : -1;
}

static void subject_close(struct subject *x)
{
    if (x->l)
        loader_close(x->l);
    data_close(x->files);
    session_close(&x->e);
    trained_close(&x->t);
}

/* ---- one model ----------------------------------------------------------------------------------------- */

/* With the run's recycled.safetensors: the way from there, over the checkpoints of epochs that were kept. */
static int analyse_way(struct analysis *x, const char *run)
{
    const char *recycled = run ? arena_printf(x->a, "%s/ckpt/recycled.safetensors", run) : "";
    glob_t kept = { 0 };
    if (!x->layers || !run || !file_exists(recycled))
        return 0;
    glob(arena_printf(x->a, "%s/ckpt/epoch_*.safetensors", run), 0, NULL, &kept);
    int rc = analyse_moves(x, recycled, (const char *const *)kept.gl_pathv, (int)kept.gl_pathc);
    globfree(&kept);
    return rc;
}

static int analyse_curve_of(struct cli *c, const char *run, const char *dir)
{
    struct curve curve;
    if (!run || !file_exists(arena_printf(c->arena, "%s/metrics.jsonl", run)))
        return 0;
    if (curve_read(&curve, c->arena, run)) {
        fail_clear();                                      // a run without an evaluation has no curve
        return 0;
    }
    return curves_save(&curve, 1, &curve.best, 1, dir, false);
}

static int analyse_one(struct cli *c)
{
    struct subject s = { 0 };
    struct analysis x = { .a = arena_open("analysis"), .show = 4, .each = cli_given(c, "each"),
                          .save_images = cli_value(c, "save-images") };
    i64 show = 4;
    int rc = cli_count(c, "show", 0, 1000, &show) || subject_open(c, &s) ? -1 : 0;
    const char *run = rc ? NULL : analyse_run_of(x.a, s.t.path);
    const char *dir = rc ? NULL : analyse_out(c, s.t.path, run);
    bool made = dir && !file_exists(dir);
    x.show = (int)show;
    x.of = s.n;
    x.labelled = s.labelled;
    x.checkpoint = s.t.path;
    rc = rc || file_mkdirs(dir) || analyse_open(&x, &s.e, s.batch) || analyse_images(&x, s.l)
         || analyse_way(&x, run) || analyse_save(&x, dir) || analyse_curve_of(c, run, dir) ? -1 : 0;
    if (!rc) {
        analyse_print(&x);
        say(SAY_NORMAL, "analysis in %s", dir);
    }
    if (rc && made)
        rmdir(dir);                                        // if nothing is in it
    if (x.g)
        analyse_close(&x);
    subject_close(&s);
    arena_close(x.a);
    return rc;
}

/* ---- several runs -------------------------------------------------------------------------------------- */

/* --at, else what each run got to. */
static int analyse_targets(struct cli *c, const struct curve *curves, int n, f64 **at, int *n_at)
{
    const char *given = cli_value(c, "at");
    char *save = NULL, *list = given ? arena_printf(c->arena, "%s", given) : NULL;
    *at = arena_array(c->arena, f64, n + (given ? (int)strlen(given) : 0));
    for (int i = 0; i < n && !given; i++)
        (*at)[(*n_at)++] = curves[i].best;
    for (char *w = given ? strtok_r(list, ",", &save) : NULL; w; w = strtok_r(NULL, ",", &save), (*n_at)++)
        if (!text_real(slice_of(w), &(*at)[*n_at]) || !((*at)[*n_at] > 0 && (*at)[*n_at] <= 100))
            return fail(FAULT_USAGE, "--at must be accuracies in %%, as 60,70, not '%s'", given);
    return 0;
}

static int analyse_runs(struct cli *c)
{
    struct curve *curves = arena_array(c->arena, struct curve, c->n);
    const char *dir = cli_value(c, "out");
    f64 *at = NULL;
    int n_at = 0;
    for (int i = 0; i < c->n; i++)
        if (curve_read(&curves[i], c->arena, c->operands[i]))
            return -1;
    dir = dir ? dir : "analysis";
    if (analyse_targets(c, curves, c->n, &at, &n_at) || curves_save(curves, c->n, at, n_at, dir, true))
        return -1;
    say(SAY_NORMAL, "convergence in %s", dir);
    return 0;
}

static int analyse_run(struct cli *c)
{
    int folders = 0;
    if (cli_operands(c, 1, 1 << 16))
        return -1;
    for (int i = 0; i < c->n; i++)
        folders += file_is_folder(c->operands[i]);
    return c->n > 1 && folders == c->n ? analyse_runs(c) : analyse_one(c);
}

static const struct cli_option options[] = {
    { "images", "N|PATH",
      "analyse N images of the evaluation split, evenly spread (256), or files and folders;"
      " may be repeated", true },
    { "data", "FOLDER", "take the images of this folder, with a folder per class, as in eval" },
    { "split", "NAME", "use this split instead of data.eval" },
    { "show", "N", "draw maps of N of the images, evenly spread (4)" },
    { "each", NULL, "silence every expert by itself, not only core and universal ones together" },
    { "at", "LIST", "several runs: accuracies in % to reach, as 60,70; default: the best of each" },
    { "out", "DIR", "write to DIR; default: analysis/ in the run's folder" },
    { "save-images", "FILE", "also save the images as the network sees them, for probe --input" },
    { 0 },
};
const struct command analyse_cmd = {
    "analyse", "what experts do and where they look; convergence of runs",
    "analyse RUN|CHECKPOINT|RUN RUN... [options]",
    { "jetcl analyse runs/demo_jetpack/latest --images 500",
      "jetcl analyse best.safetensors --images photos/ --out maps",
      "jetcl analyse runs/soft-moe/latest runs/jetpack/latest --at 60,70" },
    options, 0, analyse_run };
