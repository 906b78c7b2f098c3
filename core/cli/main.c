/* main.c: finds the command, reads its options, runs it, and turns what it returns into a message and
 * an exit code. */
#include "cli/cli.h"
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>

extern const char jetcl_git[], jetcl_libraries[];

const struct command *const cli_commands[] = {
#define COMMAND(name) &name##_cmd,
#include "cli/commands.def"
#undef COMMAND
};
const int cli_command_count = countof(cli_commands);

/* ---- options every command shares ---------------------------------------------------------------------- */

static const struct { char letter; struct cli_option o; int takes; } shared[] = {
    { 'd',
      { "device", "SPEC",
        "auto, gpu, cpu, accelerator, P:D of `jetcl devices`, part of a name, uuid:... or pci:..." }, 0 },
    { 's', { "set", "KEY=VALUE", "replace one key of the experiment; repeat for several" }, 0 },
    { 0,   { "seed", "N", "the same as --set seed=N" }, 0 },
    { 0,   { "threads", "N", "host threads" }, 0 },
    { 'o', { "out", "DIR", "folder for the results; one below runs/ when not given" }, TAKES_OUT },
    { 'o', { "out", "FILE", "the file to write" }, TAKES_FILE },
    { 0,   { "resume", "[CKPT]", "go on where the run, or this checkpoint, stopped" }, TAKES_RESUME },
    { 0,   { "force", NULL, "use a folder that is not empty" }, TAKES_RESUME },
    { 'n', { "dry-run", NULL, "check, build, measure on made-up data; write nothing" },
      TAKES_DRY_RUN },
    { 0,   { "json", NULL, "results as JSON" }, TAKES_JSON },
    { 'v', { "verbose", NULL, "say more; repeat for more still" }, 0 },
    { 'q', { "quiet", NULL, "only errors" }, 0 },
    { 0,   { "color", "WHEN", "auto, always or never" }, 0 },
    { 0,   { "no-progress", NULL, "no redrawn line" }, 0 },
    { 0,   { "log-file", "FILE", "append messages to FILE as well" }, 0 },
    { 0,   { "cache-dir", "DIR", "for built kernels and tuning results" }, 0 },
    { 'h', { "help", NULL, "this text" }, 0 },
};
enum { OWN = 1000, SHARED = 2000, MAX_OPTIONS = 64 };

struct options {
    struct option list[MAX_OPTIONS + 1];
    const char *names[MAX_OPTIONS];
    char letters[MAX_OPTIONS * 2];
    int n;
};

static void add_option(struct options *o, const struct cli_option *row, int code)
{
    check(o->n < MAX_OPTIONS, "%s: too many options", row->name);
    int has = !row->value ? no_argument : row->value[0] == '[' ? optional_argument : required_argument;
    o->names[o->n] = row->name;
    o->list[o->n++] = (struct option){ row->name, has, NULL, code };
}

static void collect_options(struct options *o, const struct command *cmd)
{
    *o = (struct options){ .letters = ":" };
    for (int i = 0; cmd->options && cmd->options[i].name; i++)
        add_option(o, &cmd->options[i], OWN + i);
    for (int i = 0; i < countof(shared); i++) {
        if (shared[i].takes && !(shared[i].takes & cmd->takes))
            continue;
        add_option(o, &shared[i].o, SHARED + i);
        size_t used = strlen(o->letters);
        if (shared[i].letter)
            snprintf(o->letters + used, sizeof o->letters - used, "%c%s", shared[i].letter,
                     shared[i].o.value ? ":" : "");
    }
}

/* ---- help ---------------------------------------------------------------------------------------------- */

static void print_option(char letter, const struct cli_option *o)
{
    char text[64];
    const char *sep = !o->value ? "" : o->value[0] == '[' ? "" : " ";
    if (o->value && o->value[0] == '[')
        snprintf(text, sizeof text, "--%s[=%.*s]", o->name, (int)strlen(o->value) - 2, o->value + 1);
    else
        snprintf(text, sizeof text, "--%s%s%s", o->name, sep, o->value ? o->value : "");
    if (letter)
        printf("  -%c, %-22s ", letter, text);
    else
        printf("      %-22s ", text);
    print_wrapped(stdout, MAX(29, 7 + (int)strlen(text)), o->help);
}

static void help_command(const struct command *cmd)
{
    for (int i = 0; i < countof(cmd->examples) && cmd->examples[i]; i++)
        printf("  %s\n", cmd->examples[i]);
    bool fits = strlen("jetcl : ") + strlen(cmd->usage) + strlen(cmd->summary) <= 80;
    printf("%s%sjetcl %s%s:%s%s\n", cmd->examples[0] ? "\n" : "", say_bold(1), cmd->usage, say_plain(1),
           fits ? " " : "\n    ", cmd->summary);
    for (int i = 0; cmd->options && cmd->options[i].name; i++) {
        if (!i)
            printf("\n");
        print_option(0, &cmd->options[i]);
    }
    printf("\n");
    for (int i = 0; i < countof(shared); i++)
        if (!shared[i].takes || (shared[i].takes & cmd->takes))
            print_option(shared[i].letter, &shared[i].o);
}

static void help_all(void)
{
    printf("  jetcl table experiments/tables/demo.yaml      predecessors, then every cell of a table\n"
           "  jetcl run experiments/demo.yaml --seed 7      recycle, fine-tune and evaluate one\n\n"
           "%sjetcl COMMAND [options] [arguments]%s\n\n", say_bold(1), say_plain(1));
    for (int i = 0; i < cli_command_count; i++) {
        printf("  %-10s ", cli_commands[i]->name);
        print_wrapped(stdout, 13, cli_commands[i]->summary);
    }
    printf("\n`jetcl help COMMAND` shows its options, `jetcl help KEY` explains a key of an\n"
           "experiment file, `jetcl config --list` shows them all.\n");
}

static const struct command *find_command(const char *name)
{
    for (int i = 0; i < cli_command_count; i++)
        if (!strcmp(cli_commands[i]->name, name))
            return cli_commands[i];
    return NULL;
}

static int run_help(struct cli *c)
{
    if (cli_operands(c, 0, 1))
        return -1;
    if (!c->n)
        return help_all(), 0;
    const struct command *cmd = find_command(c->operands[0]);
    if (!cmd)
        return spec_help(stdout, c->operands[0]);
    help_command(cmd);
    if (spec_is_section(cmd->name))
        printf("\n`jetcl help %s.` explains the section %s of an experiment file.\n", cmd->name,
               cmd->name);
    return 0;
}
const struct command help_cmd = { "help", "explain a command, a key or a section of the experiment file",
                                  "help [COMMAND|KEY]",
                                  { "jetcl help train", "jetcl help model.moe.noise" }, NULL, 0, run_help };

/* ---- reading the command line -------------------------------------------------------------------------- */

/* getopt_long has refused argv[optind - 1]: says why. */
static int bad_option(const struct options *o, const struct command *cmd, int code, char **argv)
{
    const char *arg = argv[optind - 1];
    char name[64] = "";
    if (!text_starts(arg, "--"))
        return code == ':' ? fail(FAULT_USAGE, "option -%c wants a value", optopt)
                           : fail(FAULT_USAGE, "unknown option -%c (jetcl help %s)", optopt, cmd->name);
    snprintf(name, sizeof name, "%.*s", (int)strcspn(arg + 2, "="), arg + 2);
    if (code == ':')
        return fail(FAULT_USAGE, "option --%s wants a value", name);
    for (int i = 0; i < o->n; i++)
        if (!strcmp(o->names[i], name))
            return fail(FAULT_USAGE, "option --%s takes no value", name);
    const char *near = text_nearest(name, o->names, o->n);
    return near ? fail(FAULT_USAGE, "unknown option --%s (did you mean --%s?)", name, near)
                : fail(FAULT_USAGE, "unknown option --%s (jetcl help %s)", name, cmd->name);
}

static void add_set(struct cli *c, const char *by, const char *text)
{
    c->sets[c->n_sets++] = (struct spec_set){ by, text, NULL };
}

static const char *listed(arena *a, const char *list, const char *item)
{
    return list ? arena_printf(a, "%s,%s", list, item) : item;
}

struct loose { struct say_options say; const char *devices, *seed, *threads; bool help; };

static int color_of(const char *when, int *color)
{
    static const char *const words[] = { "never", "always", "auto" };
    for (int i = 0; i < countof(words); i++)
        if (!strcmp(when, words[i])) {
            *color = i == 2 ? -1 : i;
            return 0;
        }
    return fail(FAULT_USAGE, "--color wants auto, always or never, not '%s'", when);
}

static int take_shared(struct cli *c, struct loose *l, const char *name, const char *value)
{
    if (!strcmp(name, "set"))              add_set(c, "--set", value);
    else if (!strcmp(name, "device"))      l->devices = listed(c->arena, l->devices, value);
    else if (!strcmp(name, "seed"))        l->seed = value;
    else if (!strcmp(name, "threads"))     l->threads = value;
    else if (!strcmp(name, "out"))         c->out = value;
    else if (!strcmp(name, "resume"))      c->resume = value ? value : "";
    else if (!strcmp(name, "force"))       c->force = true;
    else if (!strcmp(name, "dry-run"))     c->dry_run = true;
    else if (!strcmp(name, "json"))        c->json = true;
    else if (!strcmp(name, "verbose"))     l->say.level = MAX(l->say.level, SAY_NORMAL) + 1;
    else if (!strcmp(name, "quiet"))       l->say.level = SAY_QUIET;
    else if (!strcmp(name, "color"))       return color_of(value, &l->say.color);
    else if (!strcmp(name, "no-progress")) l->say.no_progress = true;
    else if (!strcmp(name, "log-file"))    return say_log(SAY_LOG_FILE, value);
    else if (!strcmp(name, "cache-dir"))   setenv("JETCL_CACHE_DIR", value, 1);
    else if (!strcmp(name, "help"))        l->help = true;
    return 0;
}

static int log_level(void)
{
    static const char *const words[] = { "quiet", "normal", "verbose", "debug" };
    const char *level = getenv("JETCL_LOG");
    for (int i = 0; level && i < countof(words); i++)
        if (!strcmp(level, words[i]))
            return SAY_QUIET + i;
    return SAY_NORMAL;
}

static int read_options(struct cli *c, struct loose *l, int argc, char **argv)
{
    struct options o;
    collect_options(&o, c->command);
    c->sets = arena_array(c->arena, struct spec_set, argc + 3);
    c->given = arena_array(c->arena, struct cli_given, argc + 1);
    opterr = 0;
    for (int code; (code = getopt_long(argc, argv, o.letters, o.list, NULL)) != -1;) {
        if (code == '?' || code == ':')
            return bad_option(&o, c->command, code, argv);
        for (int i = 0; i < countof(shared); i++)
            if (code < OWN && shared[i].letter == code)
                code = SHARED + i;
        if (code >= SHARED && take_shared(c, l, shared[code - SHARED].o.name, optarg))
            return -1;
        if (code < SHARED)
            c->given[c->n_given++] =
                (struct cli_given){ c->command->options[code - OWN].name, optarg ? optarg : "" };
    }
    if (l->devices)
        add_set(c, "--device", arena_printf(c->arena, "device=%s", l->devices));
    if (l->seed)
        add_set(c, "--seed", arena_printf(c->arena, "seed=%s", l->seed));
    if (l->threads)
        add_set(c, "--threads", arena_printf(c->arena, "threads=%s", l->threads));
    c->operands = argv + optind;
    c->n = argc - optind;
    return 0;
}

static const char *given_value(const struct cli *c, const char *name)
{
    bool known = false;
    for (int i = 0; c->command->options && c->command->options[i].name; i++)
        known |= !strcmp(c->command->options[i].name, name);
    check(known, "%s has no option --%s", c->command->name, name);
    for (int i = c->n_given - 1; i >= 0; i--)
        if (!strcmp(c->given[i].name, name))
            return c->given[i].value;
    return NULL;
}

bool        cli_given(const struct cli *c, const char *name) { return given_value(c, name) != NULL; }
const char *cli_value(const struct cli *c, const char *name) { return given_value(c, name); }

int cli_count(const struct cli *c, const char *name, i64 lo, i64 hi, i64 *out)
{
    const char *value = given_value(c, name);
    i64 v = 0;
    if (!value)
        return 0;
    if (!text_int(slice_of(value), &v) || v < lo || v > hi)
        return fail(FAULT_USAGE, "--%s wants a whole number from %lld to %lld, not '%s'", name, (long long)lo,
                    (long long)hi, value);
    *out = v;
    return 0;
}

int cli_operands(const struct cli *c, int lo, int hi)
{
    if (c->n < lo || c->n > hi)
        return fail(FAULT_USAGE, "%s; usage: jetcl %s",
                    c->n < lo ? "something is missing" : "too many arguments", c->command->usage);
    return 0;
}

int cli_spec(struct cli *c, const char *path, struct spec *s)
{
    return spec_load(s, c->arena, path, c->sets, c->n_sets);
}

int cli_experiment(struct cli *c, struct spec *s)
{
    return cli_operands(c, 1, INT32_MAX) || cli_spec(c, c->operands[0], s) ? -1 : 0;
}

/* ---- main ---------------------------------------------------------------------------------------------- */

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

static int run(struct cli *c, int argc, char **argv)
{
    struct loose l = { .say = { log_level(), -1, false } };
    const char *word = argc > 1 ? argv[1] : "help";
    if (!strcmp(word, "--version") || !strcmp(word, "-V"))
        return print_version(), 0;
    if (!strcmp(word, "--help") || !strcmp(word, "-h"))
        word = "help";
    c->command = find_command(word);
    if (!c->command)
        return unknown_command(word);
    if (argc > 1 && read_options(c, &l, argc - 1, argv + 1))
        return -1;
    say_setup(l.say);
    if (c->json && c->dry_run)
        return fail(FAULT_USAGE, "--json is for results, and --dry-run has none");
    return l.help ? help_command(c->command), 0 : c->command->run(c);
}

/* Results that did not reach their reader: a closed pipe is the reader's choice, anything else a failure. */
static int close_stdout(void)
{
    bool bad = fflush(stdout) || ferror(stdout);
    return bad && errno != EPIPE ? fail(FAULT_RUN, "cannot write the results: %s", strerror(errno)) : 0;
}

int main(int argc, char **argv)
{
    struct cli c = { .arena = arena_open("program"), .argc = argc, .argv = argv };
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);                        // beyond a size limit writes fail, as on a full disk
    int rc = run(&c, argc, argv);
    if (!rc)
        rc = close_stdout();
    progress_done();
    if (!rc)
        return 0;
    fflush(stdout);
    say_error("jetcl: %s%s%s", c.command ? c.command->name : "", c.command ? ": " : "", fail_message());
    return fail_fault() ? (int)fail_fault() : FAULT_RUN;
}
