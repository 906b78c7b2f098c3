/* dump_programs.c: JETCL_DUMP=DIR writes what a GPU's compiler would be given, for those who read what it
 * makes of it (tests/gpu):
 *
 *     DIR/matmul-0a1b2c3d4e5f.cl     the whole text of one program, after two lines:
 *                                    // label: cl/gpu/matmul.cl -DGX=16 ...
 *                                    // options: -cl-std=CL1.2 ...
 *     DIR/launches.tsv               a line for each launch: program, kernel, items, items of a group, bytes of
 *                                    local memory, flops, bytes, node
 *
 * On any device; the null device with JETCL_FAKE needs no OpenCL and builds nothing. */
#include "dev/list.h"
#include <ctype.h>
#include <stdlib.h>

static const char *dump_folder(void)
{
    const char *dir = getenv("JETCL_DUMP");
    return dir && *dir ? dir : NULL;
}

bool dump_on(void) { return dump_folder(); }

/* "cl/gpu/matmul.cl -DGX=16" -> "matmul-0a1b2c3d4e5f.cl" */
static const char *dump_name(arena *a, const char *label, const u8 *key)
{
    const char *slash = strrchr(label, '/'), *from = slash ? slash + 1 : label;
    int n = 0;
    while (isalnum((u8)from[n]) || from[n] == '_')
        n++;
    return arena_printf(a, "%.*s-%02x%02x%02x%02x%02x%02x.cl", n, from, key[0], key[1], key[2], key[3],
                        key[4], key[5]);
}

int dump_program(const char *label, const char *text, const char *options, const u8 *key)
{
    if (!dump_folder())
        return 0;
    arena *a = arena_open("dump");
    const char *path = arena_printf(a, "%s/%s", dump_folder(), dump_name(a, label, key));
    const char *all = arena_printf(a, "// label: %s\n// options: %s\n%s", label, options, text);
    int rc = file_exists(path) ? 0 : file_mkdirs(dump_folder()) || file_save(path, all, strlen(all)) ? -1 : 0;
    arena_close(a);
    return rc ? fail_in("JETCL_DUMP") : 0;
}

u64 launch_local(const struct entry *e)
{
    u64 bytes = e->kernel->local_mem;
    for (int i = 0; i < MAX_ARGS && e->k.args[i].kind != ARG_END; i++)
        bytes += e->k.args[i].kind == ARG_KIND_LOCAL ? e->k.args[i].bytes : 0;
    return bytes;
}

int dump_launch(const struct entry *e)
{
    if (!dump_folder())
        return 0;
    arena *a = arena_open("dump");
    const struct program *p = e->kernel->program;
    FILE *f = fopen(arena_printf(a, "%s/launches.tsv", dump_folder()), "a");
    const char *name = dump_name(a, p->label, p->key);
    if (f)
        fprintf(f, "%s\t%s\t%zu %zu %zu\t%zu %zu %zu\t%llu\t%.6g\t%.6g\t%s\n", name, e->k.kernel,
                e->global[0], e->global[1], e->global[2], e->local[0], e->local[1], e->local[2],
                (unsigned long long)launch_local(e), e->k.flops, e->k.bytes, e->k.label ? e->k.label : "-");
    bool right = f && !ferror(f);
    arena_close(a);
    return f && !fclose(f) && right ? 0 : fail(FAULT_DATA, "JETCL_DUMP=%s: cannot write launches.tsv",
                                               dump_folder());
}
