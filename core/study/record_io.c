/* record_io.c: a record as a file. Values are float32 tensors of a safetensors file; everything else
 * is one JSON text in its metadata. Only "loss" and the tensors are asked for, so that other
 * frameworks can write one in a few lines. */
#include "study/compare.h"
#include "ckpt/ckpt.h"
#include "log/files.h"
#include <math.h>
#include <stdlib.h>

enum { MOST_KEPT = 1 << 16, MOST_TENSORS = 100000, MOST_STEPS = 10000000 };

i64 record_index(i64 i, i64 n, i64 count)
{
    if (n >= count)
        return i;
    u64 jitter = (u64)(u32)((u64)i * 2654435761u) * (u64)(count / n) >> 32;
    return (i64)((u64)i * (u64)count / (u64)n + jitter);
}

struct record_tensor *record_find(const struct record *r, const char *name)
{
    for (size_t i = 0; i < r->n; i++)
        if (!strcmp(r->tensors[i].name, name))
            return &r->tensors[i];
    return NULL;
}

f64 record_unit(const char *precision)
{
    return precision && !strcmp(precision, "bf16") ? 0x1p-9
         : precision && (!strcmp(precision, "fp16") || !strcmp(precision, "tf32")) ? 0x1p-12 : 0x1p-24;
}

/* ---- writing --------------------------------------------------------------------------------------------- */

json_t *record_json(const struct record *r)
{
    json_t *kernels = json_array();
    for (int i = 0; i < r->n_kernels; i++) {
        const struct record_kernel *k = &r->kernels[i];
        json_array_append_new(kernels, json_pack("{s:s, s:i, s:o, s:o, s:o, s:o}", "name", k->name, "launches",
                              k->launches, "ms", json_number(k->ms), "gflops", json_number(k->gflops), "gb_s",
                              json_number(k->gb_s), "of_peak", json_number(k->of_peak)));
    }
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:f, s:f, s:f, s:f, s:I, s:i, s:f, "
                     "s:f, s:o, s:o}",
                     "label", json_text(r->label), "device", json_text(r->device), "platform",
                     json_text(r->platform),
                     "driver", json_text(r->driver), "program", json_text(r->program), "experiment",
                     json_text(r->experiment), "precision", json_text(r->precision), "settings",
                     json_text(r->settings), "steps", (json_int_t)r->steps, "batch", (json_int_t)r->batch,
                     "start_s", r->start_s, "step_ms", r->step_ms, "img_s", r->img_s, "joules", r->joules,
                     "memory", (json_int_t)r->memory, "launches", r->launches, "peak_gflops", r->peak_gflops,
                     "peak_gb_s", r->peak_gb_s, "joules_from", json_text(r->joules_from), "kernels", kernels);
}

static json_t *io_tensors(const struct record *r)
{
    json_t *tensors = json_object();
    char hash[20];
    for (size_t i = 0; i < r->n; i++) {
        const struct record_tensor *t = &r->tensors[i];
        snprintf(hash, sizeof hash, "%016llx", (unsigned long long)t->hash);
        json_object_set_new(tensors, t->name, json_pack("{s:I, s:s, s:o}", "count", (json_int_t)t->count,
                                                        "hash", hash, "bound", json_number(t->bound)));
    }
    return tensors;
}

int record_save(const struct record *r, const char *path)
{
    arena *a = arena_open("record");
    ckpt *c = ckpt_new();
    const struct { const char *name; const f64 *v; int n; } curves[] = {
        { "loss", r->loss, r->n_loss }, { "loss.nudged", r->nudged, r->n_nudged },
        { "loss.reseeded", r->reseeded, r->n_reseeded },
        { "seeds.loss", r->seed_loss, r->n_seeds }, { "seeds.top1", r->seed_top1, r->n_seeds } };
    for (size_t i = 0; i < r->n; i++) {
        const struct record_tensor *t = &r->tensors[i];
        i64 n = MIN(t->n, MOST_KEPT);
        f32 *v = arena_array(a, f32, MAX(1, n));
        for (i64 k = 0; k < n; k++)               // of what is kept, where it is more than a file takes
            v[k] = t->v[record_index(k, n, t->n)];
        if (n == t->n || t->n == t->count)
            ckpt_add(c, t->name, CKPT_F32, 1, &n, v);
    }
    for (int i = 0; i < countof(curves); i++)
        if (curves[i].n)
            ckpt_add(c, curves[i].name, CKPT_F64, 1, (i64[]){ curves[i].n }, curves[i].v);
    json_t *about = record_json(r);
    json_object_set_new(about, "tensors", io_tensors(r));
    char *text = json_dumps(about, JSON_COMPACT);
    json_decref(about);
    ckpt_set_meta(c, "format", "jetcl record 1");
    int rc = text ? ckpt_set_meta(c, "record", text) : -1;
    free(text);
    const char *twin = arena_printf(a, "%s.new.safetensors", path);
    if (!rc && !(rc = ckpt_save(c, twin)) && rename(twin, path))
        rc = fail(FAULT_RUN, "%s: cannot write", path);
    ckpt_close(c);
    arena_close(a);
    return rc;
}

/* ---- reading --------------------------------------------------------------------------------------------- */

static const char *io_text(arena *a, const json_t *j, const char *key, const char *otherwise)
{
    const char *v = json_string_value(json_object_get(j, key));
    return v ? arena_printf(a, "%s", v) : otherwise;
}

static f64 io_number(const json_t *j, const char *key)
{
    f64 v = json_number_value(json_object_get(j, key));
    return isfinite(v) && v > 0 && v < 0x1p62 ? v : 0;
}

static int io_kind(struct record_tensor *t)
{
    long long step = 0;
    char slash = 0;
    if (text_starts(t->name, "start/"))         t->kind = RECORD_START;
    else if (text_starts(t->name, "input/"))    t->kind = RECORD_INPUT;
    else if (text_starts(t->name, "forward/"))  t->kind = RECORD_FORWARD;
    else if (text_starts(t->name, "gradient/")) t->kind = RECORD_GRADIENT;
    else if (sscanf(t->name, "after.%12lld%c", &step, &slash) == 2 && slash == '/' && step > 0)
        t->kind = RECORD_AFTER, t->step = step;
    else
        return -1;
    return 0;
}

static int io_tensor(struct record *r, arena *a, const tensor *t, const json_t *about)
{
    struct record_tensor x = { .name = arena_printf(a, "%s", t->name), .count = (i64)t->count,
                               .n = (i64)t->count };
    if (io_kind(&x))
        return 0;                                 // a later version's
    if (r->n >= MOST_TENSORS || t->count > 1u << 24)
        return fail(FAULT_DATA, "%s: larger than any record", t->name);
    x.v = arena_array(a, f32, MAX(1, x.n));
    if (tensor_to_f32(t, x.v))
        return -1;
    tensor_drop(t);
    const json_t *j = json_object_get(about, t->name);
    if (json_is_object(j)) {
        x.count = MAX(x.n, (i64)io_number(j, "count"));
        x.hash = strtoull(io_text(a, j, "hash", "0"), NULL, 16);
        x.bound = io_number(j, "bound");
    }
    *arena_push(a, r->tensors, r->n, r->cap) = x;
    return 0;
}

static int io_curve(const ckpt *c, arena *a, const char *name, f64 **v, int *n)
{
    const tensor *t = ckpt_find(c, name);
    if (!t)
        return 0;
    if (t->count > MOST_STEPS)
        return fail(FAULT_DATA, "%s: larger than any record", name);
    *n = (int)t->count;
    *v = arena_array(a, f64, MAX(1, *n));
    return tensor_to_f64(t, *v);
}

static void io_kernels(struct record *r, arena *a, const json_t *list)
{
    r->kernels = arena_array(a, struct record_kernel, MAX(1, json_array_size(list)));
    for (size_t i = 0; i < json_array_size(list) && i < 1000; i++) {
        const json_t *k = json_array_get(list, i);
        r->kernels[r->n_kernels++] = (struct record_kernel){ io_text(a, k, "name", "?"),
                                                             (int)io_number(k, "launches"),
            io_number(k, "ms"), io_number(k, "gflops"), io_number(k, "gb_s"),
            io_number(k, "of_peak") };
    }
}

static int io_read(struct record *r, arena *a, const ckpt *c, const char *path, const json_t *j)
{
    const json_t *about = json_object_get(j, "tensors");
    *r = (struct record){ .label = io_text(a, j, "label", path), .device = io_text(a, j, "device", "unknown"),
        .platform = io_text(a, j, "platform", ""), .driver = io_text(a, j, "driver", ""),
        .program = io_text(a, j, "program", "unknown"), .experiment = io_text(a, j, "experiment", ""),
        .precision = io_text(a, j, "precision", "fp32"), .settings = io_text(a, j, "settings", ""),
        .steps = (i64)io_number(j, "steps"), .batch = (i64)io_number(j, "batch"),
        .start_s = io_number(j, "start_s"),
        .step_ms = io_number(j, "step_ms"), .img_s = io_number(j, "img_s"), .joules = io_number(j, "joules"),
        .memory = (u64)io_number(j, "memory"), .launches = (int)io_number(j, "launches"),
        .peak_gflops = io_number(j, "peak_gflops"), .peak_gb_s = io_number(j, "peak_gb_s"),
        .joules_from = io_text(a, j, "joules_from", "") };
    int n_top1 = 0;
    io_kernels(r, a, json_object_get(j, "kernels"));
    for (int i = 0; i < ckpt_count(c); i++)
        if (io_tensor(r, a, ckpt_at(c, i), about))
            return fail_in("%s", path);
    if (io_curve(c, a, "loss", &r->loss, &r->n_loss) || io_curve(c, a, "loss.nudged", &r->nudged, &r->n_nudged)
        || io_curve(c, a, "loss.reseeded", &r->reseeded, &r->n_reseeded)
        || io_curve(c, a, "seeds.loss", &r->seed_loss, &r->n_seeds)
        || io_curve(c, a, "seeds.top1", &r->seed_top1, &n_top1))
        return fail_in("%s", path);
    r->n_seeds = MIN(r->n_seeds, n_top1);
    return r->n || r->n_loss ? 0 : fail(FAULT_DATA, "%s: a record without any values", path);
}

int record_load(struct record *r, arena *a, const char *path)
{
    ckpt *c = ckpt_open(path);
    if (!c)
        return -1;
    const char *format = ckpt_meta(c, "format"), *text = ckpt_meta(c, "record");
    json_error_t e;
    json_t *j = NULL;
    int rc = 0;
    if (!format || strcmp(format, "jetcl record 1"))
        rc = fail(FAULT_DATA, "%s: not a record of `jetcl compare --record` (format 1)", path);
    else if (!(j = json_loads(text ? text : "{}", 0, &e)) || !json_is_object(j))
        rc = fail(FAULT_DATA, "%s: damaged description: %s", path, j ? "not an object" : e.text);
    else
        rc = io_read(r, a, c, path, j);
    json_decref(j);
    ckpt_close(c);
    return rc;
}
