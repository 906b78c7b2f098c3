/* environment.c: the program's own environment variables are rows of variables.def; help and manual list the
 * same rows. */
#include "base/base.h"
#include <stdlib.h>

#define OWN "JETCL_"
extern char **environ;

const struct variable variables[] = {
#define VARIABLE(name, help) { #name, help },
#include "base/variables.def"
#undef VARIABLE
    { 0 },
};

static bool environment_knows(slice name)
{
    for (const struct variable *v = variables; v->name; v++)
        if (slice_eq(name, v->name))
            return true;
    return false;
}

void environment_check(void)
{
    arena *a = arena_open("environment");
    const char *rests[countof(variables)];        // without JETCL_, which would make any two names alike
    int n = 0;
    for (; variables[n].name; n++)
        rests[n] = variables[n].name + strlen(OWN);
    for (char **at = environ; at && *at;) {
        slice given = { *at, strcspn(*at, "=") };
        if (!text_starts(*at, OWN) || environment_knows(given)) {
            at++;
            continue;
        }
        const char *name = arena_printf(a, "%.*s", (int)given.n, given.p);
        const char *near = text_nearest(name + strlen(OWN), rests, n);
        warn("the environment variable %s is unknown%s", name,
             near ? arena_printf(a, " (did you mean '" OWN "%s'?)", near) : "");
        if (unsetenv(name))
            break;
        at = environ;                             // rows have moved
    }
    arena_close(a);
}
