/* folder.c: where a run lives, and the files that say what it is: config.yaml, env.json, the `latest` link */
#include "log/files.h"
#include "ckpt/ckpt.h"
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

extern const char jetcl_git[], jetcl_libraries[];
extern char     **environ;

/* ---- which folder -------------------------------------------------------------------------------------- */

static bool is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static bool is_empty(const char *path)
{
    DIR *d = opendir(path);
    int n = 0;
    for (struct dirent *e; d && (e = readdir(d));)
        n += strcmp(e->d_name, ".") && strcmp(e->d_name, "..");
    if (d)
        closedir(d);
    return !n;
}

/* Has a run begun here? One that was killed at once may have left no more than its first folder. */
static bool is_run(arena *a, const char *dir)
{
    return file_exists(arena_printf(a, "%s/config.yaml", dir)) || is_folder(arena_printf(a, "%s/ckpt", dir));
}

const char *folder_name(arena *a, const char *name)
{
    char *out = arena_printf(a, "%s", name[0] ? name : "unnamed");
    for (char *p = out; *p; p++)
        if ((u8)*p <= ' ' || strchr("/\\:*?\"<>|", *p) || (*p == '.' && p == out))
            *p = '_';
    return out;
}

static const char *new_folder(arena *a, const struct spec *s)
{
    time_t now = time(NULL);
    struct tm tm;
    char stamp[32];
    strftime(stamp, sizeof stamp, "%Y%m%d-%H%M%S", localtime_r(&now, &tm));
    const char *base = arena_printf(a, "runs/%s/%s", folder_name(a, s->name), stamp), *dir = base;
    if (file_mkdirs(arena_printf(a, "runs/%s", folder_name(a, s->name))))
        return NULL;
    for (int i = 2; mkdir(dir, 0777); i++) {               // two runs in one second
        if (errno != EEXIST || i > 1000)
            return fail(FAULT_RUN, "%s: cannot make the folder: %s", dir, strerror(errno)), NULL;
        dir = arena_printf(a, "%s-%d", base, i);
    }
    return dir;
}

/* --resume=X: a run folder, or a checkpoint in one (DIR/ckpt/last.safetensors). */
static const char *folder_of_checkpoint(arena *a, const char *path)
{
    if (is_folder(path))
        return path;
    if (!file_exists(path))
        return fail(FAULT_DATA, "%s: no such run folder or checkpoint to resume", path), NULL;
    char *dir = arena_printf(a, "%s/../..", path), *slash = strrchr(path, '/');
    if (slash) {
        size_t n = (size_t)(slash - path);
        dir = n >= 5 && !strncmp(slash - 5, "/ckpt", 5) ? arena_copy(a, path, n - 5) : arena_copy(a, path, n);
    } else
        dir = "..";
    return dir;
}

const char *folder_choose(arena *a, const struct spec *s, const struct run_options *o, bool *resumed)
{
    *resumed = o->resume != NULL;
    if (o->resume && o->force)
        return fail(FAULT_USAGE, "--resume goes on, --force starts anew: leave one out"), NULL;
    if (o->resume && o->resume[0] && o->out)
        return fail(FAULT_USAGE, "--resume=%s goes on in that run's folder: leave --out out", o->resume),
               NULL;
    if (o->resume && o->resume[0])
        return folder_of_checkpoint(a, o->resume);
    if (o->resume && !o->out) {
        const char *latest = arena_printf(a, "runs/%s/latest", folder_name(a, s->name));
        char real[4096];
        return realpath(latest, real) ? arena_printf(a, "%s", real)
                                      : (fail(FAULT_DATA, "%s: no run to resume", latest), NULL);
    }
    if (!o->out)
        return new_folder(a, s);
    if (is_folder(o->out) && !is_empty(o->out) && !o->resume && !o->force)
        return fail(FAULT_USAGE, "%s is not empty; --resume goes on with the run in it, --force overwrites",
                    o->out), NULL;
    *resumed = o->resume && is_folder(o->out) && !is_empty(o->out);
    if (*resumed && !is_run(a, o->out))
        return fail(FAULT_USAGE, "%s holds no run to resume; --force in place of --resume starts one there",
                    o->out),
               NULL;
    return file_mkdirs(o->out) ? NULL : arena_printf(a, "%s", o->out);
}

void folder_latest(const char *dir)
{
    const char *slash = strrchr(dir, '/');
    char link[4096], fresh[4160];
    if (!slash || !strcmp(slash, "/") ||
        snprintf(link, sizeof link, "%.*s/latest", (int)(slash - dir), dir) >= (int)sizeof link)
        return;
    struct stat st;
    if (lstat(link, &st) == 0 && !S_ISLNK(st.st_mode))
        return;                                            // somebody's own file
    snprintf(fresh, sizeof fresh, "%s.%d", link, (int)getpid());
    if (symlink(slash + 1, fresh) || rename(fresh, link))
        unlink(fresh);                                     // a file system without links can do without it
}

/* ---- env.json ------------------------------------------------------------------------------------------ */

json_t *json_number(f64 v) { return __builtin_isfinite(v) ? json_real(v) : json_null(); }

int json_line(FILE *f, json_t *j)
{
    char *text = json_dumps(j, JSON_COMPACT | JSON_REAL_PRECISION(7));
    json_decref(j);
    if (!text)
        return fail(FAULT_RUN, "a result that is no JSON");
    fprintf(f, "%s\n", text);
    free(text);
    return 0;
}

int json_save(const char *path, json_t *j)
{
    char *text = json_dumps(j, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    json_decref(j);
    if (!text)
        return fail(FAULT_RUN, "%s: text that is not UTF-8", path);
    size_t n = strlen(text);
    text[n] = '\n';                                        // in place of the NUL
    int rc = file_save(path, text, n + 1);
    free(text);
    return rc;
}

/* File names can hold any bytes; jansson refuses what is not UTF-8. */
json_t *json_text(const char *s)
{
    json_t *j = json_string(s);
    if (j)
        return j;
    char copy[4096];
    snprintf(copy, sizeof copy, "%s", s);
    for (char *p = copy; *p; p++)
        if ((u8)*p >= 0x80)
            *p = '?';
    return json_string(copy);
}

/* Variables that change what an OpenCL loader, driver or this program does. */
static json_t *environment(void)
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

static json_t *machine(void)
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

static json_t *device_identity(const struct dev_info *d)
{
    if (!d)
        return json_null();
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:s}",
                     "name", json_text(d->name), "vendor", json_text(d->vendor),
                     "driver", json_text(d->driver), "version", json_text(d->version),
                     "platform", json_text(d->platform), "spec", json_text(d->spec),
                     "uuid", json_text(d->uuid), "pci", json_text(d->pci),
                     "memory", (json_int_t)d->global_mem, "tuning", d->tuning);
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
    in->file[in->n++].path = arena_printf(a, "%s", path);
    json_object_set_new(json_object_get(in->env, "inputs"), key,
                        json_pack("{s:o}", "path", json_text(path)));
}

static void *hash_inputs(void *arg)
{
    struct inputs *in = arg;
    char hex[65];
    json_t *j = json_object_get(in->env, "inputs");
    for (int i = 0; i < in->n; i++)                        // what is missing is reported by whoever needs it
        if (!file_sha256(in->file[i].path, hex))
            json_object_set_new(json_object_get(j, in->file[i].key), "sha256", json_string(hex));
    if (json_save(in->env_path, json_incref(in->env)))
        snprintf(in->why, sizeof in->why, "%s", fail_message());
    fail_clear();
    return NULL;
}

void folder_described(struct inputs *in)
{
    if (!in)
        return;
    if (in->threaded)
        pthread_join(in->thread, NULL);
    if (in->why[0])
        warn("%s", in->why);
    json_decref(in->env);
}

struct inputs *folder_describe(arena *a, const char *dir, const struct spec *s, const struct run_options *o,
                               const struct dev_info *device)
{
    struct inputs *in = arena_one(a, struct inputs);
    char path[4096], hash[20];
    char *yaml = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&yaml, &n);
    check(f, "open_memstream failed");
    fprintf(f, "# jetcl %s (%s)", JETCL_VERSION, jetcl_git);
    fprintf(f, device ? " on %s\n" : "\n", device ? device->name : "");
    spec_write(f, s);
    fclose(f);
    snprintf(path, sizeof path, "%s/config.yaml", dir);
    int rc = file_save(path, yaml, n);
    free(yaml);
    if (rc)
        return NULL;
    json_t *line = json_array();
    for (int i = 0; i < o->argc; i++)
        json_array_append_new(line, json_text(o->argv[i]));
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)spec_hash(s));
    in->env_path = arena_printf(a, "%s/env.json", dir);
    in->env = json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:{}}",
                        "version", JETCL_VERSION, "git", jetcl_git, "libraries", jetcl_libraries,
                        "experiment", hash, "command", line, "machine", machine(),
                        "device", device_identity(device), "environment", environment(), "inputs");
    add_input(in, a, "model.init", s->model.init);
    add_input(in, a, "recycle.from.experts", s->recycle.from.experts);
    add_input(in, a, "recycle.from.dense", s->recycle.from.dense);
    if (json_save(in->env_path, json_incref(in->env))) {
        json_decref(in->env);
        return NULL;
    }
    in->threaded = in->n && !pthread_create(&in->thread, NULL, hash_inputs, in);
    if (in->n && !in->threaded)
        hash_inputs(in);
    return in;
}
