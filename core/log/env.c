/* env.c: what a run was made of: config.yaml, and env.json with program, machine, device and input files. */
#include "log/files.h"
#include "ckpt/ckpt.h"
#include "op/product.h"
#include <pthread.h>
#include <stdlib.h>
#include <sys/utsname.h>
#include <unistd.h>

extern const char jetcl_git[], jetcl_libraries[];
extern char     **environ;

/* Variables that change what an OpenCL loader, driver or this program does. */
static json_t *env_environment(void)
{
    static const char *const prefixes[] = { "JETCL_", "OCL_ICD_", "OPENCL_", "POCL_", "CLBLAST_",
                                            "CUDA_VISIBLE_DEVICES=", "ROCR_VISIBLE_DEVICES=",
                                            "GPU_DEVICE_ORDINAL=", "OMP_NUM_THREADS=" };
    json_t *j = json_object();
    for (char **e = environ; *e; e++)
        for (int i = 0; i < countof(prefixes); i++) {
            const char *eq = strchr(*e, '=');
            if (!eq || !text_starts(*e, prefixes[i]))
                continue;
            char name[128];
            snprintf(name, sizeof name, "%.*s", (int)(eq - *e), *e);
            json_object_set_new(j, name, json_text(eq + 1));
        }
    return j;
}

static json_t *env_machine(void)
{
    struct utsname u;
    char model[128] = "", line[256];
    FILE *f = fopen("/proc/cpuinfo", "r");
    while (f && !model[0] && fgets(line, sizeof line, f))
        if (sscanf(line, "model name : %127[^\n]", model) == 1)
            break;
    if (f)
        fclose(f);
    if (uname(&u))
        memset(&u, 0, sizeof u);
    return json_pack("{s:o, s:o, s:o, s:o, s:i}", "name", json_text(u.nodename), "os", json_text(u.sysname),
                     "kernel", json_text(u.release),
                     "cpu", json_text(model), "cpus", (int)sysconf(_SC_NPROCESSORS_ONLN));
}

/* What kernels on CPUs are shaped by, and so the order of their sums. */
static json_t *device_shape(const struct dev_info *d)
{
    if (!d->cpu_kind)
        return json_null();
    struct product_tile t = product_tile(d);
    return json_pack("{s:i, s:i, s:[I,I,I], s:s, s:i, s:i, s:i}", "lanes", (int)d->simd, "registers",
                     (int)d->registers, "caches", (json_int_t)d->cache[0], (json_int_t)d->cache[1],
                     (json_int_t)d->cache[2], "caches_from", d->cache_from, "tile_rows", t.rows,
                     "tile_columns", 16 * t.vectors, "units", (int)d->compute_units);
}

static json_t *device_identity(const struct dev_info *d)
{
    if (!d)
        return json_null();
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:s, s:s, s:o, s:s}",
                     "name", json_text(d->name), "vendor", json_text(d->vendor),
                     "driver", json_text(d->driver), "version", json_text(d->version),
                     "platform", json_text(d->platform), "spec", json_text(d->spec),
                     "uuid", json_text(d->uuid), "pci", json_text(d->pci),
                     "memory", (json_int_t)d->global_mem, "tuning", d->tuning,
                     "matrix", dev_matrix_name(d->matrix), "shape", device_shape(d),
                     "plain_kernels", *d->replaced ? d->replaced : "");
}

/* ---- files the result depends on, by content ----------------------------------------------------------- */

/* A gigabyte takes as long to hash as a step to train: env.json is written at once, and again with hashes. */
struct inputs {
    struct { const char *key, *path; } file[3];
    int         n;
    const char *env_path;
    json_t     *env;
    pthread_t   thread;
    bool        threaded;
    char        why[256];                                  /* they could not be written; "" */
};

static void add_input(struct inputs *in, arena *a, const char *key, const char *path)
{
    if (!path[0])
        return;
    in->file[in->n].key = key;
    in->file[in->n++].path = arena_printf(a, "%s", ckpt_of_run(a, path));
    json_object_set_new(json_object_get(in->env, "inputs"), key,
                        json_pack("{s:o}", "path", json_text(path)));
}

static void *env_hash(void *arg)
{
    struct inputs *in = arg;
    crash_own_thread();
    char hex[65];
    json_t *j = json_object_get(in->env, "inputs");
    for (int i = 0; i < in->n; i++)                        // what is missing is reported where it is needed
        if (!file_sha256(in->file[i].path, hex))
            json_object_set_new(json_object_get(j, in->file[i].key), "sha256", json_string(hex));
    if (json_save(in->env_path, json_incref(in->env)))
        snprintf(in->why, sizeof in->why, "%s", fail_message());
    fail_clear();
    return NULL;
}

void env_close(struct inputs *in)
{
    if (!in)
        return;
    if (in->threaded)
        pthread_join(in->thread, NULL);
    if (in->why[0])
        warn("%s", in->why);
    json_decref(in->env);
}

struct inputs *env_write(arena *a, const char *dir, const struct spec *s, const struct run_options *o,
                               const struct dev_info *device)
{
    struct inputs *in = arena_one(a, struct inputs);
    char path[4096], hash[20];
    const char *yaml = arena_printf(a, "# jetcl %s (%s)%s%s\n%s", JETCL_VERSION, jetcl_git,
                                    device ? " on " : "", device ? device->name : "", spec_text(a, s));
    snprintf(path, sizeof path, "%s/config.yaml", dir);
    if (file_save(path, yaml, strlen(yaml)))
        return NULL;
    json_t *line = json_array();
    for (int i = 0; i < o->argc; i++)
        json_array_append_new(line, json_text(o->argv[i]));
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)spec_hash(s));
    in->env_path = arena_printf(a, "%s/env.json", dir);
    in->env = json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:{}}",
                        "version", JETCL_VERSION, "git", jetcl_git, "libraries", jetcl_libraries,
                        "experiment", hash, "command", line, "machine", env_machine(),
                        "device", device_identity(device), "environment", env_environment(), "inputs");
    add_input(in, a, "model.init", s->model.init);
    add_input(in, a, "recycle.from.experts", s->recycle.from.experts);
    add_input(in, a, "recycle.from.dense", s->recycle.from.dense);
    if (json_save(in->env_path, json_incref(in->env))) {
        json_decref(in->env);
        return NULL;
    }
    in->threaded = in->n && !pthread_create(&in->thread, NULL, env_hash, in);
    if (in->n && !in->threaded)
        env_hash(in);
    return in;
}
