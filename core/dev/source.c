/* source.c: kernel text. The build embeds cl/; files in the folder JETCL_CL names come before those (edit,
 * rerun, no rebuild). A file of the device's class (cl/cpu/x.cl) replaces the generic one whole, and
 * `#include "x.h"` is resolved here, since no folder exists at run time. Every piece follows a #line,
 * so that build logs say cl/softmax.cl:17.
 */
#include "dev/source.h"
#include "dev/ocl.h"
#include <openssl/evp.h>
#include <stdlib.h>

/* path: "cl/...", as embedded. NULL when there is no such file. */
static const char *source_load(arena *a, const char *path)
{
    const char *folder = getenv("JETCL_CL");
    char *own = folder && *folder ? arena_printf(a, "%s/%s", folder, path + 3) : NULL;
    if (own && file_exists(own))
        return file_text(a, own, NULL);
    for (const struct source_file *f = source_files; f->path; f++)
        if (!strcmp(f->path, path))
            return f->text;
    return NULL;
}

bool source_plain(const dev *d) { return d->plain || trace_on(TRACE_no_class); }

bool source_generic(const dev *d, const char *file)
{
    const char *at = d->info.replaced;
    size_t n = strlen(file);
    while ((at = strstr(at, file)) && (at[-1] != ' ' || at[n] != ' '))
        at++;
    return source_plain(d) || at;
}

void source_hash(char hex[20])
{
    arena *a = arena_open("source");
    EVP_MD_CTX *sum = EVP_MD_CTX_new();
    u8 out[32];
    check(sum && EVP_DigestInit_ex(sum, EVP_sha256(), NULL), "sha256");
    for (const struct source_file *f = source_files; f->path; f++) {
        const char *text = source_load(a, f->path);
        EVP_DigestUpdate(sum, text ? text : "", text ? strlen(text) : 0);
    }
    EVP_DigestFinal_ex(sum, out, NULL);
    EVP_MD_CTX_free(sum);
    hash_hex(hex, out, 8);
    arena_close(a);
}

static const char *class_path(arena *a, const dev *d, const char *file)
{
    static const char *const folder[] = { "cpu", "gpu" };
    if (source_generic(d, file) || d->class == DEV_NULL)
        return NULL;
    return arena_printf(a, "cl/%s/%s.cl", folder[d->class], file);
}

bool dev_has_override(const dev *d, const char *file)
{
    arena *a = arena_open("source");
    const char *path = class_path(a, d, file);
    bool found = path && source_load(a, path);
    arena_close(a);
    return found;
}

/* A kernel file says so by an #include of type.h in its own text. Through another header it does not count:
 * gpu/route.cl computes in float, and casts stand around it. */
bool dev_has_types(const dev *d, const char *file)
{
    arena *a = arena_open("source");
    const char *cpu = arena_printf(a, "cl/cpu/%s.cl", file), *path = d ? class_path(a, d, file) : cpu,
               *text = path ? source_load(a, path) : NULL;
    text = text ? text : source_load(a, arena_printf(a, "cl/%s.cl", file));
    bool found = text && strstr(text, "#include \"type.h\"");
    arena_close(a);
    return found;
}

/* Text with its includes put in, each file after its #line. NULL + fail when an included file does not
 * exist. */
static const char *source_expand(arena *a, const char *path, const char *text, int depth)
{
    static const char word[] = "#include \"";
    char *out = arena_printf(a, "#line 1 \"%s\"\n", path);
    check(depth < 8, "%s: includes itself", path);
    int line = 1;
    for (const char *p = text, *from = text; *p; line++) {
        const char *end = p + strcspn(p, "\n"), *next = end + (*end == '\n');
        if (text_starts(p, word)) {
            const char *name = p + sizeof word - 1;
            const char *inner = arena_printf(a, "cl/%.*s", (int)strcspn(name, "\"\n"), name);
            const char *body = source_load(a, inner);
            if (!body) {
                fail(FAULT_DEVICE, "%s:%d: no kernel file %s", path, line, inner);
                return NULL;
            }
            if (!(body = source_expand(a, inner, body, depth + 1)))
                return NULL;
            out = arena_printf(a, "%s%.*s%s\n#line %d \"%s\"\n", out, (int)(p - from), from, body, line + 1,
                               path);
            from = next;
        }
        if (!*next)
            return arena_printf(a, "%s%s", out, from);
        p = next;
    }
    return out;
}

static const char *with_prelude(arena *a, const char *path, const char *text)
{
    const char *prelude = source_load(a, "cl/prelude.h");
    check(prelude, "no cl/prelude.h in this program");
    prelude = source_expand(a, "cl/prelude.h", prelude, 0);
    text = prelude ? source_expand(a, path, text, 0) : NULL;
    return text ? arena_printf(a, "%s\n%s", prelude, text) : NULL;
}

const char *source_text(arena *a, const dev *d, const char *file, const char **path)
{
    *path = class_path(a, d, file);
    const char *text = *path ? source_load(a, *path) : NULL;
    if (!text) {
        *path = arena_printf(a, "cl/%s.cl", file);
        text = source_load(a, *path);
    }
    if (!text) {
        fail(FAULT_DEVICE, "no kernel file %s", *path);
        return NULL;
    }
    return with_prelude(a, *path, text);
}

const char *source_wrap(arena *a, const char *group, const char *text)
{
    return with_prelude(a, group, text);
}

const char *source_builtins(arena *a)
{
    const char *text = source_load(a, "cl/builtins.h");
    check(text, "no cl/builtins.h in this program");
    return source_expand(a, "cl/builtins.h", text, 0);
}
