/* launch.c: launch lists. Binding finds each launch its program, gives it a cl_kernel of its own and sets the
 * arguments once, so that running (enqueue.c) is one enqueue per launch and nothing else.
 */
#include "dev/list.h"

/* A kernel of generated text that is in some program of this device already, whichever list it came from. */
struct generated { struct generated *next; u64 text; int class; struct kernel *kernel; };

launches *launches_new(dev *d, const char *name)
{
    arena *a = arena_open("launches");
    launches *l = arena_one(a, launches);
    *l = (launches){ .a = a, .d = d, .name = arena_printf(a, "%s", name) };
    return l;
}

void launches_free(launches *l)
{
    if (!l)
        return;
    for (size_t i = l->n; i-- > 0;)               // PoCL searches a list of them, from the newest on
        if (l->e[i].cl)
            clReleaseKernel(l->e[i].cl);
    arena_close(l->a);
}

dev          *launches_dev(const launches *l)       { return l->d; }
int           launches_count(const launches *l)     { return (int)l->n; }
u64           launches_private(const launches *l)
{
    u64 most = 0;
    for (size_t i = 0; i < l->n; i++)
        most = l->e[i].kernel ? MAX(most, l->e[i].kernel->private_mem) : most;
    return most;
}
const char   *launches_name(const launches *l)      { return l->name; }
const launch *launches_at(const launches *l, int i) { return &l->e[i].k; }

static const char *launch_keep(launches *l, const char *s) { return s ? arena_printf(l->a, "%s", s) : NULL; }

/* With the NUL: texts do not run into each other. */
static u64 launch_hash(u64 h, const char *s) { return hash_bytes(h, s, strlen(s) + 1); }

/* k's options, and the types of its arrays that are not F32. */
static const char *defs_of(launches *l, const launch *k)
{
    const char *defs = launch_keep(l, k->defs);
    for (int i = 0; k->types && k->types[i]; i++)
        if (k->types[i] != '-' && k->args[i].kind == ARG_KIND_RANGE && k->args[i].type != F32)
            defs = arena_printf(l->a, "%s%s-DT%c=%s", defs ? defs : "", defs ? " " : "", k->types[i],
                                dtype_name(k->args[i].type));
    return defs;
}

static struct entry *launch_append(launches *l, const launch *k)
{
    struct entry *e = arena_push(l->a, l->e, l->n, l->cap);
    *e = (struct entry){ .k = *k };
    e->k.file = launch_keep(l, k->file);
    e->k.kernel = launch_keep(l, k->kernel);
    e->k.defs = defs_of(l, k);
    e->k.source = launch_keep(l, k->source);
    e->k.label = launch_keep(l, k->label);
    if (k->source)
        e->text = launch_hash(launch_hash(launch_hash(launch_hash(HASH_START, k->source), k->kernel), k->file),
                              e->k.defs ? e->k.defs : "");
    return e;
}

void launch_add(launches *l, const launch *k)
{
    check(k->file && k->kernel, "launch without file or kernel in %s", l->name);
    struct entry *e = launch_append(l, k);
    for (int i = 0; i < 3; i++) {
        e->global[i] = i && !k->global[i] ? 1 : k->global[i];
        e->local[i] = k->local[i] ? k->local[i] : 1;
        check(e->global[i] % e->local[i] == 0, "%s: global size %zu of axis %d is not a multiple of %zu",
              k->kernel, e->global[i], i, e->local[i]);
    }
}

void launch_other(launches *l, const launch *k, launch_call *call, const void *what, size_t bytes)
{
    struct entry *e = launch_append(l, k);
    e->call = call;
    e->what = memcpy(arena_bytes(l->a, bytes, 16), what, bytes);
}

/* ---- compiling ----------------------------------------------------------------------------------------- */

const char *launch_where(const struct entry *e)
{
    static _Thread_local char text[256];
    snprintf(text, sizeof text, "%s%s%s%s", e->k.kernel, e->k.label ? " (" : "", e->k.label ? e->k.label : "",
             e->k.label ? ")" : "");
    return text;
}

static bool launch_same_text(const char *a, const char *b) { return !strcmp(a ? a : "", b ? b : ""); }

/* Do a and b go into one program? */
static bool launch_together(const struct entry *a, const struct entry *b)
{
    return !b->call && !a->k.source == !b->k.source && launch_same_text(a->k.file, b->k.file) &&
           launch_same_text(a->k.defs, b->k.defs);
}

/* All launches of the list from the same file with the same defs take the program of the first of them. */
static int find_file(launches *l, size_t i)
{
    const launch *k = &l->e[i].k;
    const char *path;
    arena *a = arena_open("text");
    const char *text = source_text(a, l->d, k->file, &path), *defs = k->defs ? k->defs : "";
    struct program *p = NULL;
    if (text)
        p = program_get(l->d, arena_printf(a, "%s%s%s", path, *defs ? " " : "", defs), text,
                        program_options(a, l->d, defs));
    arena_close(a);
    for (size_t j = i; j < l->n && p; j++)
        if (!l->e[j].kernel && launch_together(&l->e[i], &l->e[j]))
            if (!(l->e[j].kernel = program_kernel(l->d, p, l->e[j].k.kernel)))
                return -1;
    return p ? 0 : -1;
}

static int class_now(const dev *d) { return trace_on(TRACE_no_class) ? -1 : (int)d->class; }

static struct generated *launch_known(const dev *d, u64 text)
{
    struct generated *g = d->generated;
    while (g && (g->text != text || g->class != class_now(d)))
        g = g->next;
    return g;
}

/* Texts of i's group that no list has built yet become one program, each once; then the whole group is
 * known. */
static int find_group(launches *l, size_t i)
{
    dev *d = l->d;
    arena *a = arena_open("generated");
    char *source = "";
    struct generated *before = d->generated;
    for (size_t j = i; j < l->n; j++) {
        struct entry *e = &l->e[j];
        if (!launch_together(&l->e[i], e) || launch_known(d, e->text))
            continue;
        struct generated *g = arena_one(d->a, struct generated);
        *g = (struct generated){ d->generated, e->text, class_now(d), NULL };
        d->generated = g;
        source = arena_printf(a, "%s%s\n", source, e->k.source);
    }
    struct program *p = NULL;
    if (d->generated != before) {
        const char *text = source_wrap(a, l->e[i].k.file, source);
        p = text ? program_get(d, l->e[i].k.file, text, program_options(a, d, l->e[i].k.defs)) : NULL;
        if (!p)
            d->generated = before;
    }
    arena_close(a);
    for (size_t j = i; j < l->n; j++) {
        struct generated *g = launch_together(&l->e[i], &l->e[j]) ? launch_known(d, l->e[j].text) : NULL;
        if (g && !g->kernel && !(g->kernel = program_kernel(d, p, l->e[j].k.kernel))) {
            d->generated = before;
            return -1;
        }
        if (g)
            l->e[j].kernel = g->kernel;
    }
    return l->e[i].kernel ? 0 : -1;
}

static const char *const kind_names[] = {
    "nothing", "a buffer", "an int", "a long", "a float", "local memory", "a long4"
};

static void check_args(const struct entry *e)
{
    const struct kernel *k = e->kernel;
    int n = 0;
    while (n < MAX_ARGS && e->k.args[n].kind != ARG_END)
        n++;
    check(n == k->args, "%s takes %d arguments, the launch gives %d", launch_where(e), k->args, n);
    for (int i = 0; i < n; i++)
        check(!k->kinds[i] || k->kinds[i] == e->k.args[i].kind, "%s: argument %d is %s, the launch gives %s",
              launch_where(e), i, kind_names[k->kinds[i]], kind_names[e->k.args[i].kind]);
    for (int i = 0; i < 3; i++)
        check(!k->required[0] || k->required[i] == e->local[i], "%s: needs groups of %zu x %zu x %zu",
              launch_where(e), k->required[0], k->required[1], k->required[2]);
}

static int check_limits(const dev *d, const struct entry *e)
{
    size_t group = e->local[0] * e->local[1] * e->local[2];
    u64 local = launch_local(e);
    if (group > e->kernel->max_group)
        return fail(FAULT_DEVICE, "%s: groups of %zu items; %s runs at most %zu of this kernel",
                    launch_where(e), group, d->info.name, e->kernel->max_group);
    if (local > d->info.local_mem)
        return fail(FAULT_DEVICE, "%s: needs %llu bytes of local memory; %s has %llu", launch_where(e),
                    (unsigned long long)local, d->info.name, (unsigned long long)d->info.local_mem);
    return 0;
}

static int bind_arg(struct entry *e, int i)
{
    const arg *v = &e->k.args[i];
    cl_mem m = NULL;
    if (v->kind == ARG_KIND_RANGE && v->r.mem && v->r.bytes && !(m = mem_bind(v->r)))
        return fail_in("%s: argument %d", launch_where(e), i);
    const struct { const void *value; size_t size; } as[] = {
        [ARG_KIND_RANGE] = { &m, sizeof m },       [ARG_KIND_INT] = { &v->i, sizeof v->i },
        [ARG_KIND_LONG] = { &v->l, sizeof v->l },  [ARG_KIND_REAL] = { &v->f, sizeof v->f },
        [ARG_KIND_LOCAL] = { NULL, v->bytes },     [ARG_KIND_LONG4] = { v->l4, sizeof v->l4 },
    };
    cl_int code = clSetKernelArg(e->cl, (cl_uint)i, as[v->kind].size, as[v->kind].value);
    crash_inside(NULL, NULL);
    return code ? ocl_check(launch_where(e), code, "clSetKernelArg") : 0;
}

static int launch_bind(launches *l, struct entry *e)
{
    cl_int code;
    if (!l->d->queue)
        return check_limits(l->d, e) || dump_launch(e) ? -1 : 0;
    check_args(e);
    if (check_limits(l->d, e) || dump_launch(e))
        return -1;
    if (!(e->global[0] && e->global[1] && e->global[2]))
        return 0;
    e->cl = clCreateKernel(e->kernel->program->cl, e->kernel->name, &code);
    if (ocl_check(launch_where(e), code, "clCreateKernel"))
        return -1;
    for (int i = 0; i < e->kernel->args; i++)
        if (bind_arg(e, i))
            return -1;
    trace(TRACE_launch, "%s %s: %s, %zu x %zu x %zu by %zu x %zu x %zu", l->name, launch_where(e),
          e->kernel->program->label, e->global[0], e->global[1], e->global[2], e->local[0], e->local[1],
          e->local[2]);
    return 0;
}

int launches_bind(launches *l)
{
    for (; l->compiled < l->n; l->compiled++) {
        struct entry *e = &l->e[l->compiled];
        if (e->call || !(l->d->queue || dump_on()))
            continue;
        if (!e->kernel && (e->k.source ? find_group(l, l->compiled) : find_file(l, l->compiled)))
            return fail_in("%s", launch_where(e));
        if (launch_bind(l, e))
            return -1;
    }
    return 0;
}

int launch_enqueue(struct entry *e, cl_command_queue queue, cl_uint n, const cl_event *after, cl_event *event)
{
    if (e->call)
        return e->call(e->what, queue);
    if (!e->cl)
        return 0;
    crash_kernel(launch_where(e));
    crash_inside("clEnqueueNDRangeKernel", launch_where(e));
    cl_int code = clEnqueueNDRangeKernel(queue, e->cl, 3, NULL, e->global, e->local, n, after, event);
    return code ? ocl_check(launch_where(e), code, "clEnqueueNDRangeKernel") : 0;
}
