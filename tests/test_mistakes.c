/* test_mistakes.c: what only a wrong program can do to the device runtime: each mistake ends in abort() and a
 * line that says what is wrong. The program starts itself again for each of them. */
#include "dev_help.h"
#include <sys/wait.h>
#include <unistd.h>

static const char *itself;                   /* this program */

static void add_one(dev *d, launch k)
{
    mem *m = mem_new(d, 4096, "m");
    k.args[0].r.mem = m;
    launches *l = launches_new(d, "wrong");
    launch_add(l, &k);
    launches_compile(l);
    launches_run(l);
}

#define ADD .file = "group", .kernel = "add", .source = text_add, .global = { 64 }
static const range whole = { NULL, 0, 4096 };
static void too_few(dev *d)    { add_one(d, (launch){ ADD, .args = { ARG_RANGE(whole), ARG_REAL(1) } }); }
static void wrong_kind(dev *d)
{
    add_one(d, (launch){ ADD, .args = { ARG_RANGE(whole), ARG_INT(1), ARG_INT(1) } });
}
static void no_kernel(dev *d)  { add_one(d, (launch){ ADD, .kernel = "sub", .args = { ARG_RANGE(whole) } }); }
static void misfit(dev *d)     { add_one(d, (launch){ ADD, .local = { 7 }, .args = { ARG_RANGE(whole) } }); }
static void odd_offset(dev *d)
{
    range odd = { NULL, 4, 64 };
    add_one(d, (launch){ ADD, .args = { ARG_RANGE(odd), ARG_REAL(1), ARG_INT(1) } });
}
static void too_long(dev *d)
{
    range past = { NULL, 0, 4097 };
    add_one(d, (launch){ ADD, .args = { ARG_RANGE(past), ARG_REAL(1), ARG_INT(1) } });
}
static void no_tune(dev *d) { dev_tune(d, "copy", "NONSENSE"); }
static void wrong_group(dev *d)
{
    add_one(d, (launch){ ADD, .kernel = "alone", .local = { 2 }, .args = { ARG_RANGE(whole) },
                         .source = "__kernel ALONE void alone(__global float *x) { x[0] = 1; }" });
}
static void not_compiled(dev *d)
{
    launches *l = launches_new(d, "early");
    launch_add(l, &(launch){ ADD });
    launches_run(l);
}

/* What this program prints to stderr when it is started again for a mistake (main), which must end by
 * abort(). A plain fork would not do: drivers have threads. */
static void expect_abort(const char *mistake, const char *part)
{
    int ends[2], status;
    char text[4096] = "";
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    if (!pid) {
        dup2(ends[1], 2);
        execl(itself, itself, mistake, (char *)NULL);
        _exit(0);
    }
    close(ends[1]);
    size_t n = 0;
    for (ssize_t got; n < sizeof text - 1 && (got = read(ends[0], text + n, sizeof text - 1 - n)) > 0;)
        n += (size_t)got;
    close(ends[0]);
    waitpid(pid, &status, 0);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT || !strstr(text, part))
        fail_msg("%s: expected an abort with '%s', got status %d: %s", mistake, part, status, text);
}

static const struct mistake {
    const char *name;
    void (*make)(dev *);
    const char *text;
    bool compiles;
} mistakes[] = {
    { "misfit",       misfit,       "is not a multiple of 7" },
    { "no_tune",      no_tune,      "no row (copy, any, NONSENSE)" },
    { "not_compiled", not_compiled, "early is not compiled" },
    { "too_few",      too_few,      "add takes 3 arguments, the launch gives 2", true },
    { "wrong_kind",   wrong_kind,   "argument 1 is a float, the launch gives an int", true },
    { "no_kernel",    no_kernel,    "has no kernel sub", true },
    { "odd_offset",   odd_offset,   "offset 4", true },
    { "too_long",     too_long,     "4097 bytes at 0 of 4096", true },
    { "wrong_group",  wrong_group,  "needs groups of 1 x 1 x 1", true },
};

static void test_mistakes(void **state)
{
    (void)state;
    dev *d = open_device();
    bool real = dev_class(d) != DEV_NULL;
    dev_close(d);
    for (int i = 0; i < countof(mistakes); i++)
        if (real || !mistakes[i].compiles)
            expect_abort(mistakes[i].name, mistakes[i].text);
}

int main(int argc, char **argv)
{
    itself = argv[0];
    scratch = arena_open("mistakes");
    // No cache: drivers that load kept binaries may not know their arguments' types.
    setenv("JETCL_CACHE_DIR", "/dev/null/none", 1);
    for (int i = 0; argc > 1 && i < countof(mistakes); i++)
        if (!strcmp(mistakes[i].name, argv[1]))
            mistakes[i].make(open_device());
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_mistakes) };
    return argc > 1 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
