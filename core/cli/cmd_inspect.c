/* cmd_inspect.c: what is in a checkpoint, of any framework, and how two of them differ. */
#include "cli/cli.h"
#include "model/model.h"
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>

struct summary { f64 min, max, mean; u64 nan, inf; bool real; char sha[65]; };

enum { STEP = 1 << 16 };

static ckpt *open_one(const struct cli *c, const char *path)
{
    bool ema = cli_given(c, "ema");
    return ema || cli_given(c, "model") ? ckpt_open_model(path, ema) : ckpt_open(path);
}

/* ---- one tensor ---------------------------------------------------------------------------------------- */

static void summary_add(struct summary *s, f64 v, f64 *sum)
{
    if (v != v)
        s->nan++;
    else if (isinf(v))
        s->inf++;
    else {
        s->min = MIN(s->min, v);
        s->max = MAX(s->max, v);
        *sum += v;
    }
}

/* Finite values only in min, max and mean; the others are counted. */
static int inspect_summarise(const tensor *t, struct summary *s)
{
    static f64 v[STEP];
    f64 sum = 0;
    const void *bytes = tensor_data(t);
    *s = (struct summary){ INFINITY, -INFINITY, .real = t->type != CKPT_C64 && t->type != CKPT_C128 };
    if (!bytes)
        return -1;
    bytes_sha256(bytes, t->bytes, s->sha);
    for (u64 from = 0, n; s->real && from < t->count; from += n) {
        n = MIN(STEP, t->count - from);
        if (tensor_range(t, from, n, v))
            return -1;
        for (u64 i = 0; i < n; i++)
            summary_add(s, v[i], &sum);
    }
    u64 finite = t->count - s->nan - s->inf;
    s->mean = finite ? sum / (f64)finite : NAN;
    s->real = s->real && finite;
    tensor_drop(t);
    return 0;
}

/* ---- as a table ---------------------------------------------------------------------------------------- */

/* A file's own words on a terminal: control characters would be obeyed there. */
static void print_words(const char *s, const char *line)
{
    for (; *s; s++)
        if (*s == '\n')
            printf("\n%s", line);
        else if (((u8)*s < 32 && *s != '\t') || *s == 127)
            printf("\\x%02x", (u8)*s);
        else
            putchar(*s);
}

static void print_head(const ckpt *c, const char *path, const char *sha, u64 size)
{
    char bytes[24], count[24];
    const char *value, *example;
    u64 n = 0;
    for (int i = 0; i < ckpt_count(c); i++)
        n += ckpt_at(c, i)->count;
    printf("%s%s%s: %s, %s, %d tensors of %s elements\n", say_bold(1), path, say_plain(1), ckpt_format(c),
           text_bytes(bytes, (f64)size), ckpt_count(c), text_count(count, (f64)n));
    printf("sha256 %s\n", sha);
    for (int i = 0; i < ckpt_meta_count(c); i++) {
        const char *key = ckpt_meta_at(c, i, &value);
        printf("  ");
        print_words(key, "    ");
        printf(": ");
        print_words(value, "    ");
        printf("\n");
    }
    int skipped = ckpt_skipped(c, &example);
    if (skipped)
        say(SAY_NORMAL, "%s: left out %d that %s no tensor%s (%s)", path, skipped, skipped > 1 ? "are" : "is",
            skipped > 1 ? "s" : "", example);
}

/* The model in the file: whose names, what network, the lines of an experiment that uses it; or why there is
 * none. JSON NULL: as text. */
static void inspect_model(struct cli *c, const char *path, json_t *all)
{
    struct spec s;
    const char *under, *scheme, *lines, *left;
    ckpt *m = ckpt_open_model(path, cli_given(c, "ema"));
    if (!m || spec_load(&s, c->arena, NULL, NULL, 0) || model_read(&s, m, c->arena)) {
        if (all)
            json_object_set_new(all, "no_model", json_string(fail_message()));
        else
            printf("model: %s\n", fail_message());
        fail_clear();
        ckpt_close(m);
        return;
    }
    scheme = ckpt_scheme(m, &under);
    lines = model_lines(c->arena, &s);
    left = ckpt_left_out(m, c->arena);
    if (all)
        json_object_set_new(all, "model",
                            json_pack("{s:s, s:s, s:s, s:s, s:b}", "names", scheme, "under", under,
                                      "experiment", lines, "left_out", left, "heads_known",
                                      strcmp(s.model.family, "vit") || ckpt_meta(m, "heads")));
    else {
        printf("names: %s%s%s%s\n", scheme, *under ? " under '" : "", under, *under ? "'" : "");
        if (*left)
            printf("left out: %s\n", left);
        printf("model: {%s}%s\n", lines,
               strcmp(s.model.family, "vit") || ckpt_meta(m, "heads") ? ""
               : s.model.heads ? "    # heads: channels / 64, a guess"
                               : "    # heads: no tensor tells them; put their number for 0");
        printf("recycle: {from: {experts: %s}}\n", path);
    }
    ckpt_close(m);
}

static void inspect_print_row(const tensor *t, const struct summary *s, int width)
{
    char shape[200];
    tensor_shape_text(shape, t->nd, t->shape);
    printf("%-*s %-7s %-18s", width, t->name, ckpt_type_name(t->type), shape);
    if (s->real)
        printf(" %11.4g %11.4g %11.4g", s->min, s->max, s->mean);
    else
        printf(" %11s %11s %11s", "-", "-", "-");
    printf("  %.8s", s->sha);
    if (s->nan)
        printf("  %llu NaN", (unsigned long long)s->nan);
    if (s->inf)
        printf("  %llu infinite", (unsigned long long)s->inf);
    printf("\n");
}

static int inspect_print_table(const ckpt *c)
{
    int width = 8;
    struct summary s;
    for (int i = 0; i < ckpt_count(c); i++)
        width = MAX(width, MIN(60, (int)strlen(ckpt_at(c, i)->name)));
    printf("%s%-*s %-7s %-18s %11s %11s %11s  %s%s\n", say_bold(1), width, "tensor", "type", "shape", "min",
           "max", "mean", "sha256", say_plain(1));
    for (int i = 0; i < ckpt_count(c); i++) {
        if (inspect_summarise(ckpt_at(c, i), &s))
            return -1;
        inspect_print_row(ckpt_at(c, i), &s, width);
    }
    return 0;
}

/* ---- as JSON ------------------------------------------------------------------------------------------- */

static json_t *real_or_null(bool real, f64 v) { return real && isfinite(v) ? json_real(v) : json_null(); }

static json_t *row_json(const tensor *t, const struct summary *s)
{
    json_t *shape = json_array();
    for (int i = 0; i < t->nd; i++)
        json_array_append_new(shape, json_integer(t->shape[i]));
    return json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:I, s:I, s:s}",
                     "name", t->name, "type", ckpt_type_name(t->type), "shape", shape,
                     "min", real_or_null(s->real, s->min), "max", real_or_null(s->real, s->max),
                     "mean", real_or_null(s->real, s->mean), "nan", (json_int_t)s->nan,
                     "inf", (json_int_t)s->inf, "sha256", s->sha);
}

static int inspect_print_json(struct cli *cli, const ckpt *c, const char *path, const char *sha, u64 size)
{
    json_t *tensors = json_array(), *notes = json_object();
    const char *value;
    struct summary s;
    int rc = 0;
    for (int i = 0; i < ckpt_count(c) && !rc; i++)
        if (!(rc = inspect_summarise(ckpt_at(c, i), &s)))
            json_array_append_new(tensors, row_json(ckpt_at(c, i), &s));
    for (int i = 0; i < ckpt_meta_count(c); i++) {
        const char *key = ckpt_meta_at(c, i, &value);
        json_object_set_new(notes, key, json_string(value));
    }
    json_t *all = json_pack("{s:s, s:s, s:s, s:I, s:o, s:o}", "path", path, "format", ckpt_format(c),
                            "sha256", sha, "bytes", (json_int_t)size, "metadata", notes, "tensors", tensors);
    if (all)
        inspect_model(cli, path, all);
    if (!rc && (!all || json_dumpf(all, stdout, JSON_INDENT(1)) || putchar('\n') == EOF))
        rc = fail(FAULT_RUN, "cannot write JSON");
    json_decref(all);
    return rc;
}

static int inspect_file(struct cli *c, const char *path)
{
    char sha[65];
    struct stat st;
    ckpt *file = open_one(c, path);
    int rc = file ? ckpt_sha256(file, sha) : -1;
    u64 size = !rc && !stat(path, &st) ? (u64)st.st_size : 0;
    if (!rc && c->json)
        rc = inspect_print_json(c, file, path, sha, size);
    else if (!rc) {
        print_head(file, path, sha, size);
        inspect_model(c, path, NULL);
        rc = inspect_print_table(file);
    }
    ckpt_close(file);
    return rc;
}

/* ---- differences --------------------------------------------------------------------------------------- */

struct change { const char *name, *what; f64 most, scale; };    /* what: in words, or NULL */
struct changes {
    struct change *list;
    size_t         n, cap;
    int            same;
    const tensor **lost, **fresh;                    /* only in the first, only in the second */
    size_t         nlost, lost_cap, nfresh, fresh_cap;
};

static bool complex_type(const tensor *t) { return t->type == CKPT_C64 || t->type == CKPT_C128; }

/* Largest difference between the values, and the largest value; NaN against NaN does not count. */
static int inspect_compare(const tensor *a, const tensor *b, struct change *d)
{
    static f64 x[STEP], y[STEP];
    for (u64 from = 0, n; from < a->count; from += n) {
        n = MIN(STEP, a->count - from);
        if (tensor_range(a, from, n, x) || tensor_range(b, from, n, y))
            return -1;
        for (u64 i = 0; i < n; i++) {
            bool same = x[i] == y[i] || (x[i] != x[i] && y[i] != y[i]);
            f64 by = same ? 0 : fabs(x[i] - y[i]);
            d->most = by == by ? MAX(d->most, by) : INFINITY;
            d->scale = isfinite(x[i]) ? MAX(d->scale, fabs(x[i])) : d->scale;
        }
    }
    return 0;
}

/* 1 when they are the same within tolerance * max|a|, 0 when not (then d says how), -1 + fail. */
static int same_tensor(arena *mem, const tensor *a, const tensor *b, f64 tolerance, struct change *d)
{
    char sa[200], sb[200];
    const void *p = tensor_data(a), *q = tensor_data(b);
    *d = (struct change){ a->name };
    if (!p || !q)
        return -1;
    if (!tensor_shape_is(a, b->nd, b->shape)) {
        d->what = arena_printf(mem, "%s and %s", tensor_shape_text(sa, a->nd, a->shape),
                               tensor_shape_text(sb, b->nd, b->shape));
        return 0;
    }
    if (a->type == b->type && !memcmp(p, q, a->bytes))
        return 1;
    if (a->type != b->type)
        d->what = arena_printf(mem, "%s and %s", ckpt_type_name(a->type), ckpt_type_name(b->type));
    else if (complex_type(a))
        d->what = "other complex values";
    if (complex_type(a) || complex_type(b))
        return 0;
    return inspect_compare(a, b, d) ? -1 : !d->what && d->most <= tolerance * d->scale;
}

static int find_changes(arena *mem, const ckpt *a, const ckpt *b, f64 tolerance, struct changes *all)
{
    struct change d;
    for (int i = 0; i < ckpt_count(a); i++) {
        const tensor *t = ckpt_at(a, i), *u = ckpt_find(b, t->name);
        if (!u) {
            *arena_push(mem, all->lost, all->nlost, all->lost_cap) = t;
            continue;
        }
        int same = same_tensor(mem, t, u, tolerance, &d);
        tensor_drop(t);
        tensor_drop(u);
        if (same < 0)
            return -1;
        all->same += same;
        if (!same)
            *arena_push(mem, all->list, all->n, all->cap) = d;
    }
    for (int i = 0; i < ckpt_count(b); i++)
        if (!ckpt_find(a, ckpt_at(b, i)->name))
            *arena_push(mem, all->fresh, all->nfresh, all->fresh_cap) = ckpt_at(b, i);
    return 0;
}

static void print_only(char sign, const tensor *const *list, size_t n)
{
    char shape[200];
    for (size_t i = 0; i < n; i++)
        printf("%c %s %s\n", sign, list[i]->name, tensor_shape_text(shape, list[i]->nd, list[i]->shape));
}

static void print_changes(const struct changes *all, const char *const path[2])
{
    print_only('-', all->lost, all->nlost);
    print_only('+', all->fresh, all->nfresh);
    for (size_t i = 0; i < all->n; i++) {
        const struct change *d = &all->list[i];
        printf("~ %s: %s", d->name, d->what ? d->what : "");
        if (d->scale > 0 || d->most > 0)
            printf("%sdiffers by up to %.3g where values reach %.3g", d->what ? ", " : "", d->most, d->scale);
        printf("\n");
    }
    printf("%d same, %zu differ, %zu only in %s, %zu only in %s\n", all->same, all->n, all->nlost, path[0],
           all->nfresh, path[1]);
}

static json_t *names_json(const tensor *const *list, size_t n)
{
    json_t *names = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(names, json_string(list[i]->name));
    return names;
}

static void print_changes_json(const struct changes *all)
{
    json_t *differ = json_array();
    for (size_t i = 0; i < all->n; i++) {
        const struct change *d = &all->list[i];
        json_array_append_new(differ, json_pack("{s:s, s:s*, s:o, s:o}", "name", d->name, "what", d->what,
                                                "max_difference", real_or_null(true, d->most),
                                                "max_abs", real_or_null(true, d->scale)));
    }
    json_t *root = json_pack("{s:i, s:o, s:o, s:o}", "same", all->same, "differ", differ,
                             "only_a", names_json(all->lost, all->nlost),
                             "only_b", names_json(all->fresh, all->nfresh));
    json_dumpf(root, stdout, JSON_INDENT(1));
    putchar('\n');
    json_decref(root);
}

static int inspect_diff(struct cli *c, const char *const path[2], f64 tolerance)
{
    struct changes all = { 0 };
    ckpt *a = open_one(c, path[0]), *b = a ? open_one(c, path[1]) : NULL;
    int rc = a && b ? find_changes(c->arena, a, b, tolerance, &all) : -1;
    if (!rc && c->json)
        print_changes_json(&all);
    else if (!rc)
        print_changes(&all, path);
    size_t n = all.n + all.nlost + all.nfresh;
    if (!rc && n)
        rc = fail(FAULT_NUMBERS, "%s and %s differ in %zu tensors", path[0], path[1], n);
    ckpt_close(b);
    ckpt_close(a);
    return rc;
}

/* ---- the command --------------------------------------------------------------------------------------- */

static int inspect_run(struct cli *c)
{
    const char *text = cli_value(c, "tolerance");
    f64 tolerance = 0;
    if (text && (!text_real(slice_of(text), &tolerance) || tolerance < 0))
        return fail(FAULT_USAGE, "--tolerance must be a number of at least 0, not '%s'", text);
    if (cli_given(c, "diff"))
        return cli_operands(c, 2, 2) ? -1 : inspect_diff(c, (const char *const *)c->operands, tolerance);
    return cli_operands(c, 1, 1) ? -1 : inspect_file(c, c->operands[0]);
}

static const struct cli_option options[] = {
    { "model", NULL, "show the model in the file under timm's names, as training would load it" },
    { "ema", NULL, "show its averaged weights; implies --model" },
    { "diff", NULL, "compare two files tensor by tensor; exit code 5 if they differ" },
    { "tolerance", "X", "with --diff: ignore differences up to X times a tensor's largest value" },
    { 0 },
};
const struct command inspect_cmd = {
    "inspect", "tensors, types, ranges, hashes and metadata of any checkpoint",
    "inspect FILE | inspect --diff FILE FILE [options]",
    { "jetcl inspect vit_tiny.npz --model", "jetcl inspect --diff a.pth b.npz --model" },
    options, TAKES_JSON, inspect_run };
