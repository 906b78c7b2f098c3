/* apart.h: for test_base.c and test_say.c: a folder of the test's own, and work in a process of its own. */
#ifndef JETCL_APART_H
#define JETCL_APART_H
#include "unit.h"
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#define SOME __attribute__((unused)) static      /* not all of these in every test */

static char folder[] = "/tmp/jetcl-base-XXXXXX", name_of[4096];
SOME const char *at(const char *name)
{
    return snprintf(name_of, sizeof name_of, "%s/%s", folder, name), name_of;
}

/* What work() leaves on stderr, and how it ends (a status of waitpid), in a process of its own. */
static char output[8192];
static int apart(void (*work)(void))
{
    int ends[2], status = 0;
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    if (!pid) {
        dup2(ends[1], 2);
        work();
        _exit(0);
    }
    close(ends[1]);
    size_t n = 0;
    for (ssize_t got; n < sizeof output - 1 && (got = read(ends[0], output + n, sizeof output - 1 - n)) > 0;)
        n += (size_t)got;
    output[n] = 0;
    close(ends[0]);
    waitpid(pid, &status, 0);
    return status;
}

SOME void expect_text(const char *path, const char *want)
{
    arena *a = arena_open("test");
    size_t n = 0;
    char *got = file_text(a, path, &n);
    assert_non_null(got);
    assert_int_equal(n, strlen(want));
    assert_string_equal(got, want);
    arena_close(a);
}

SOME int begin(void **state) { (void)state; return mkdtemp(folder) ? 0 : -1; }

SOME int end(void **state)
{
    (void)state;
    char command[100];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}
#endif
