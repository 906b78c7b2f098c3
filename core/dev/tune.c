/* tune.c: values of tunables. cl/tune.def holds what ships; dev_tune() is where a tuning file's rows come first.
 */
#include "dev/ocl.h"

static const struct row { const char *kernel, *class, *macro; i32 value; } rows[] = {
#define TUNE(kernel, class, macro, value) { #kernel, #class, #macro, value },
#include "cl/tune.def"
#undef TUNE
};

static const struct row *find(const char *kernel, const char *class, const char *macro)
{
    for (const struct row *r = rows; r < rows + countof(rows); r++)
        if (!strcmp(r->kernel, kernel) && !strcmp(r->macro, macro) && (!class || !strcmp(r->class, class)))
            return r;
    return NULL;
}

i32 dev_tune(const dev *d, const char *kernel, const char *macro)
{
    static const char *const class[] = { "cpu", "gpu", NULL };       // the null device takes any row there is
    const struct row *r = find(kernel, trace_on(TRACE_no_class) ? "any" : class[d->class], macro);
    r = r ? r : find(kernel, "any", macro);
    check(r, "cl/tune.def has no row (%s, any, %s)", kernel, macro);
    return r->value;
}
