/* result.c: result.json, written last: where it is, the run is complete. */
#include "log/files.h"
#include <inttypes.h>
#include <stdlib.h>

/* Fields that are plain numbers: read and written by one list. */
#define COUNTS(X) X(epochs, int) X(steps, i64) X(best_epoch, int) X(params, i64) X(unset, int) \
                  X(memory, u64) X(saves, i64)
#define REALS(X)  X(top1) X(top5) X(loss) X(best_top1) X(seconds) X(img_s) X(flops) X(flops_complete) \
                  X(save_wait) X(save_seconds)
#define EVAL_REALS(X) X(top1) X(top5) X(loss) X(seconds)

static json_t *eval_json(const struct run_eval *e)
{
    json_t *j = json_pack("{s:i, s:I, s:I}", "epoch", e->epoch, "step", (json_int_t)e->step, "n",
                          (json_int_t)e->n);
#define PUT(name) json_object_set_new(j, #name, json_number(e->name));
    EVAL_REALS(PUT)
#undef PUT
    return j;
}

int result_save(const char *dir, const struct run_result *r)
{
    char path[4096], hash[20];
    json_t *j = json_pack("{s:s}", "reason", r->reason), *evals = json_array(), *skipped = json_array();
#define PUT(name, type) json_object_set_new(j, #name, json_integer((json_int_t)r->name));
    COUNTS(PUT)
#undef PUT
#define PUT(name) json_object_set_new(j, #name, json_number(r->name));
    REALS(PUT)
#undef PUT
    snprintf(hash, sizeof hash, "%016" PRIx64, r->hash);
    json_object_set_new(j, "experiment", json_string(hash));
    for (int i = 0; i < r->n_evals; i++)
        json_array_append_new(evals, eval_json(&r->evals[i]));
    json_object_set_new(j, "evals", evals);
    for (int i = 0; i < r->n_skipped; i++) {
        json_t *s = json_string(r->skipped[i]);
        json_array_append_new(skipped, s ? s : json_string("(a name that is not UTF-8)"));
    }
    json_object_set_new(j, "skipped", skipped);
    snprintf(path, sizeof path, "%s/result.json", dir);
    return json_save(path, j);
}

/* ---- reading ------------------------------------------------------------------------------------------- */

static bool read_real(json_t *j, const char *name, f64 *out)
{
    json_t *v = json_object_get(j, name);
    *out = json_is_null(v) ? __builtin_nan("") : json_number_value(v);
    return json_is_number(v) || json_is_null(v);
}

static bool read_eval(json_t *j, struct run_eval *e)
{
    json_t *epoch = json_object_get(j, "epoch"), *step = json_object_get(j, "step");
    json_t *n = json_object_get(j, "n");
    e->epoch = (int)json_integer_value(epoch);
    e->step = json_integer_value(step);
    e->n = json_integer_value(n);
    bool ok = json_is_integer(epoch) && json_is_integer(step) && json_is_integer(n);
#define GET(name) ok &= read_real(j, #name, &e->name);
    EVAL_REALS(GET)
#undef GET
    return ok;
}

static bool read_lists(arena *a, json_t *j, struct run_result *r)
{
    json_t *evals = json_object_get(j, "evals"), *skipped = json_object_get(j, "skipped");
    r->n_evals = (int)json_array_size(evals);
    r->n_skipped = (int)json_array_size(skipped);
    struct run_eval *e = arena_array(a, struct run_eval, MAX(1, r->n_evals));
    const char **s = arena_array(a, const char *, MAX(1, r->n_skipped));
    bool ok = json_is_array(evals) && json_is_array(skipped);
    for (int i = 0; i < r->n_evals; i++)
        ok &= read_eval(json_array_get(evals, (size_t)i), &e[i]);
    for (int i = 0; i < r->n_skipped; i++) {
        json_t *v = json_array_get(skipped, (size_t)i);
        ok &= json_is_string(v);
        s[i] = arena_printf(a, "%s", json_is_string(v) ? json_string_value(v) : "");
    }
    r->evals = e;
    r->skipped = s;
    return ok;
}

static bool read_result(arena *a, json_t *j, struct run_result *r)
{
    const char *reason = json_string_value(json_object_get(j, "reason"));
    const char *hash = json_string_value(json_object_get(j, "experiment"));
    bool ok = reason && hash && read_lists(a, j, r);
    r->reason = arena_printf(a, "%s", reason ? reason : "");
    r->hash = hash ? strtoull(hash, NULL, 16) : 0;
#define GET(name, type) \
    ok &= json_is_integer(json_object_get(j, #name)); \
    r->name = (type)json_integer_value(json_object_get(j, #name));
    COUNTS(GET)
#undef GET
#define GET(name) ok &= read_real(j, #name, &r->name);
    REALS(GET)
#undef GET
    return ok;
}

int result_load(arena *a, const char *dir, struct run_result *r)
{
    const char *path = arena_printf(a, "%s/result.json", dir);
    json_error_t e;
    *r = (struct run_result){ 0 };
    if (!file_exists(path))
        return 1;
    json_t *j = json_load_file(path, JSON_REJECT_DUPLICATES, &e);
    if (!j)
        return fail(FAULT_DATA, "%s:%d: %s", path, e.line, e.text);
    bool ok = read_result(a, j, r);
    json_decref(j);
    return ok ? 0 : fail(FAULT_DATA, "%s: not a result of this program; remove it to run again", path);
}
