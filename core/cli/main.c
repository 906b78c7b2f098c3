/* main.c: finds the command, runs it, and makes of what it returns a message and an exit code. */
#include "cli/cli.h"
#include "cli/options.h"
#include "dist/dist.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

extern const char jetcl_git[], jetcl_libraries[];

static void print_version(void) { printf("jetcl %s (%s)\n%s\n", JETCL_VERSION, jetcl_git, jetcl_libraries); }

static int unknown_command(const char *name)
{
    const char *names[64];
    for (int i = 0; i < cli_command_count; i++)
        names[i] = cli_commands[i]->name;
    const char *near = text_nearest(name, names, cli_command_count);
    if (name[0] == '-')
        return fail(FAULT_USAGE, "'%s' before a command; usage: jetcl COMMAND [options] [arguments]", name);
    return near ? fail(FAULT_USAGE, "unknown command '%s' (did you mean '%s'?)", name, near)
                : fail(FAULT_USAGE, "unknown command '%s' (jetcl help lists them)", name);
}

static int main_run(struct cli *c, int argc, char **argv)
{
    struct general g = { .say = { SAY_NORMAL, -1, false } };
    const char *word = argc > 1 ? argv[1] : "help";
    if (!strcmp(word, "--version") || !strcmp(word, "-V"))
        return print_version(), 0;
    if (!strcmp(word, "--help") || !strcmp(word, "-h"))
        word = "help";
    c->command = cli_find(word);
    if (!c->command)
        return unknown_command(word);
    if (options_log_level(&g.say.level) || (argc > 1 && options_read(c, &g, argc - 1, argv + 1)))
        return -1;
    if (dist_rank())
        g.say = (struct say_options){ SAY_QUIET, 0, true };
    say_setup(g.say);
    environment_check();
    if (dist_size() > 1 && !(c->command->takes & TAKES_RANKS))
        return fail(FAULT_USAGE, "runs as one process: start it without mpirun or srun");
    return g.help ? help_command(c->command), 0 : c->command->run(c);
}

/* Results that did not reach their reader: a closed pipe is the reader's choice, anything else a failure. */
static int close_stdout(void)
{
    bool bad = fflush(stdout) || ferror(stdout);
    return bad && errno != EPIPE ? fail(FAULT_RUN, "cannot write the results: %s", strerror(errno)) : 0;
}

/* Where one of them is closed, the next file that is opened would get its
 * number, and with it what is printed. */
static void open_standard(void)
{
    int fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= 2)
        fd = dup(fd);
    if (fd > 2)
        close(fd);
}

int main(int argc, char **argv)
{
    open_standard();
    dist_guard();
    process_is_program();
    stop_begin();
    crash_catch();
    static struct cli c;                             // to the end, as what it points to
    c = (struct cli){ .arena = arena_open("program"), .argc = argc, .argv = argv };
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);                        // beyond a size limit writes fail, as on a full disk
    int rc = dist_open();
    if (dist_rank() && !freopen("/dev/null", "w", stdout))     // rank 0 speaks for all
        rc = -1;
    rc = rc ? rc : main_run(&c, argc, argv);
    if (!rc)
        rc = close_stdout();
    progress_done();
    fflush(stdout);
    const char *command = c.command ? c.command->name : "";
    const char *line = arena_printf(c.arena, "jetcl: %s%s%s", command, *command ? ": " : "", fail_message());
    dist_close(rc ? line : NULL);
    return !rc ? 0 : fail_fault() ? (int)fail_fault() : FAULT_RUN;
}
