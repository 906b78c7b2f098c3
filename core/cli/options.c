/* options.c: the options every command shares, and reading the command line. */
#include "cli/cli.h"
#include "cli/options.h"
#include "ckpt/ckpt.h"
#include <getopt.h>
#include <stdlib.h>
#include <sys/stat.h>

const struct command *const cli_commands[] = {
#define COMMAND(name) &name##_cmd,
#include "cli/commands.def"
#undef COMMAND
};
const int cli_command_count = countof(cli_commands);

const struct command *cli_find(const char *name)
{
    for (int i = 0; i < cli_command_count; i++)
        if (!strcmp(cli_commands[i]->name, name))
            return cli_commands[i];
    return NULL;
}

/* ---- options every command shares ---------------------------------------------------------------------- */

const struct shared_option cli_shared[] = {
    { 'd',
      { "device", "SPEC",
        "auto, gpu, cpu, accelerator, P:D of `jetcl devices`, part of a name, uuid:... or pci:...; several "
        "for run, train, eval and predict: a,b or gpu:*", true }, 0 },
    { 's', { "set", "KEY=VALUE", "set one key of the experiment; may be repeated, the last of one key counts",
             true }, 0 },
    { 0,   { "seed", "N", "the same as --set seed=N" }, 0 },
    { 0,   { "threads", "N", "number of host threads" }, 0 },
    { 0,   { "precision", "P", "store activations as fp32, bf16 or fp16; the same as --set train.precision=P" },
      TAKES_PRECISION },
    { 'o', { "out", "DIR", "write results to DIR; default: runs/NAME/TIME below the folder the command is "
             "started in, whereas paths in an experiment file start at that file" }, TAKES_OUT },
    { 'o', { "out", "FILE", "write to FILE" }, TAKES_FILE },
    { 0,   { "resume", "[CKPT]", "continue the run, or from this checkpoint" }, TAKES_RESUME },
    { 0,   { "force", NULL, "use a folder that is not empty" }, TAKES_RESUME },
    { 'n', { "dry-run", NULL, "check, build and measure on random data; write nothing" },
      TAKES_DRY_RUN },
    { 0,   { "json", NULL, "print results as JSON" }, TAKES_JSON },
    { 'v', { "verbose", NULL, "print more; repeat for still more" }, 0 },
    { 'q', { "quiet", NULL, "print only errors" }, 0 },
    { 0,   { "color", "WHEN", "auto, always or never" }, 0 },
    { 0,   { "no-progress", NULL, "do not redraw a progress line" }, 0 },
    { 0,   { "log-file", "FILE", "also append messages to FILE" }, 0 },
    { 0,   { "cache-dir", "DIR", "folder for compiled kernels and tuning results" }, 0 },
    { 'h', { "help", NULL, "show this help" }, 0 },
};
const int cli_shared_count = countof(cli_shared);
enum { OWN = 1000, SHARED = 2000, MAX_OPTIONS = 64 };

struct options {
    struct option list[MAX_OPTIONS + 1];
    const char *names[MAX_OPTIONS];
    char letters[MAX_OPTIONS * 2];
    const struct cli_option *rows[MAX_OPTIONS];
    const char *given[MAX_OPTIONS];        /* the value so far */
    int n;
};

static void add_option(struct options *o, const struct cli_option *row, int code)
{
    check(o->n < MAX_OPTIONS, "%s: too many options", row->name);
    int has = !row->value ? no_argument : row->value[0] == '[' ? optional_argument : required_argument;
    o->names[o->n] = row->name;
    o->rows[o->n] = row;
    o->list[o->n++] = (struct option){ row->name, has, NULL, code };
}

static void collect_options(struct options *o, const struct command *cmd)
{
    *o = (struct options){ .letters = ":" };
    for (int i = 0; cmd->options && cmd->options[i].name; i++)
        add_option(o, &cmd->options[i], OWN + i);
    for (int i = 0; i < countof(cli_shared); i++) {
        if (cli_shared[i].takes && !(cli_shared[i].takes & cmd->takes))
            continue;
        add_option(o, &cli_shared[i].o, SHARED + i);
        size_t used = strlen(o->letters);
        if (cli_shared[i].letter)
            snprintf(o->letters + used, sizeof o->letters - used, "%c%s", cli_shared[i].letter,
                     cli_shared[i].o.value ? ":" : "");
    }
}

/* ---- reading the command line -------------------------------------------------------------------------- */

/* getopt_long has refused argv[optind - 1]: says why. */
static int bad_option(const struct options *o, const struct command *cmd, int code, char **argv)
{
    const char *arg = argv[optind - 1];
    char name[64] = "";
    if (!text_starts(arg, "--"))
        return code == ':' ? fail(FAULT_USAGE, "option -%c needs a value", optopt)
                           : fail(FAULT_USAGE, "unknown option -%c (jetcl help %s)", optopt, cmd->name);
    snprintf(name, sizeof name, "%.*s", (int)strcspn(arg + 2, "="), arg + 2);
    if (code == ':')
        return fail(FAULT_USAGE, "option --%s needs a value", name);
    for (int i = 0; i < o->n; i++)
        if (!strcmp(o->names[i], name))
            return fail(FAULT_USAGE, "option --%s takes no value", name);
    const char *near = text_nearest(name, o->names, o->n);
    return near ? fail(FAULT_USAGE, "unknown option --%s (did you mean --%s?)", name, near)
                : fail(FAULT_USAGE, "unknown option --%s (jetcl help %s)", name, cmd->name);
}

/* Refuses an option given twice with different values, and an empty value (a variable of a script that is not
 * set). */
static int option_once(struct options *o, int code, const char *value)
{
    int i = 0;
    while (o->list[i].val != code)
        i++;
    const char *before = o->given[i];
    if (value && !*value && o->list[i].has_arg == required_argument)
        return fail(FAULT_USAGE, "--%s must not be empty", o->names[i]);
    o->given[i] = value ? value : "";
    return !before || o->rows[i]->many || !strcmp(before, o->given[i])
           ? 0 : fail(FAULT_USAGE, "--%s is given twice, as '%s' and as '%s': give one of them", o->names[i],
                      before, o->given[i]);
}

static void add_set(struct cli *c, const char *by, const char *text)
{
    c->sets[c->n_sets++] = (struct spec_set){ by, text, NULL };
}

static const char *options_listed(arena *a, const char *list, const char *item)
{
    return list ? arena_printf(a, "%s,%s", list, item) : item;
}

static int options_color_of(const char *when, int *color)
{
    static const char *const words[] = { "never", "always", "auto" };
    for (int i = 0; i < countof(words); i++)
        if (!strcmp(when, words[i])) {
            *color = i == 2 ? -1 : i;
            return 0;
        }
    return fail(FAULT_USAGE, "--color must be auto, always or never, not '%s'", when);
}

static int set_shared(struct cli *c, struct general *g, const char *name, const char *value)
{
    if (!strcmp(name, "set"))              add_set(c, "--set", value);
    else if (!strcmp(name, "device"))      g->devices = options_listed(c->arena, g->devices, value);
    else if (!strcmp(name, "seed"))        g->seed = value;
    else if (!strcmp(name, "threads"))     g->threads = value;
    else if (!strcmp(name, "precision"))   g->precision = value;
    else if (!strcmp(name, "out"))         c->out = value;
    else if (!strcmp(name, "resume"))      c->resume = value ? value : "";
    else if (!strcmp(name, "force"))       c->force = true;
    else if (!strcmp(name, "dry-run"))     c->dry_run = true;
    else if (!strcmp(name, "json"))        c->json = true;
    else if (!strcmp(name, "verbose"))     g->say.level = MAX(g->say.level, SAY_NORMAL) + 1;
    else if (!strcmp(name, "quiet"))       g->say.level = SAY_QUIET;
    else if (!strcmp(name, "color"))       return options_color_of(value, &g->say.color);
    else if (!strcmp(name, "no-progress")) g->say.no_progress = true;
    else if (!strcmp(name, "log-file"))    return say_log(SAY_LOG_FILE, value);
    else if (!strcmp(name, "cache-dir"))   setenv("JETCL_CACHE_DIR", value, 1);
    else if (!strcmp(name, "help"))        g->help = true;
    return 0;
}

int options_log_level(int *level)
{
    static const char *const words[] = { "quiet", "normal", "verbose", "debug" };
    const char *word = getenv("JETCL_LOG");
    *level = SAY_NORMAL;
    for (int i = 0; word && i < countof(words); i++)
        if (!strcmp(word, words[i])) {
            *level = SAY_QUIET + i;
            return 0;
        }
    return word && *word ? fail(FAULT_USAGE, "JETCL_LOG=%s: must be quiet, normal, verbose or debug", word) : 0;
}

/* An option that sets a key, which --set may set too, but not otherwise. */
static int options_set(struct cli *c, const char *option, const char *key, const char *value)
{
    for (int i = 0; value && i < c->n_sets; i++)
        if (text_starts(c->sets[i].text, key) && strcmp(c->sets[i].text + strlen(key), value))
            return fail(FAULT_USAGE, "%s %s and --set %s: give one of them", option, value, c->sets[i].text);
    if (value)
        add_set(c, option, arena_printf(c->arena, "%s%s", key, value));
    return 0;
}

int options_read(struct cli *c, struct general *g, int argc, char **argv)
{
    struct options o;
    collect_options(&o, c->command);
    c->sets = arena_array(c->arena, struct spec_set, argc + 4);
    c->given = arena_array(c->arena, struct cli_given, argc + 1);
    opterr = 0;
    for (int code; (code = getopt_long(argc, argv, o.letters, o.list, NULL)) != -1;) {
        if (code == '?' || code == ':')
            return bad_option(&o, c->command, code, argv);
        for (int i = 0; i < countof(cli_shared); i++)
            if (code < OWN && cli_shared[i].letter == code)
                code = SHARED + i;
        if (option_once(&o, code, optarg))
            return -1;
        if (code >= SHARED && set_shared(c, g, cli_shared[code - SHARED].o.name, optarg))
            return -1;
        if (code < SHARED)
            c->given[c->n_given++] =
                (struct cli_given){ c->command->options[code - OWN].name, optarg ? optarg : "" };
    }
    c->operands = argv + optind;
    c->n = argc - optind;
    return options_set(c, "--device", "device=", g->devices) || options_set(c, "--seed", "seed=", g->seed)
           || options_set(c, "--threads", "threads=", g->threads)
           || options_set(c, "--precision", "train.precision=", g->precision) ? -1 : 0;
}

static const char *given_value(const struct cli *c, const char *name)
{
    bool known = false;
    for (int i = 0; c->command->options && c->command->options[i].name; i++)
        known |= !strcmp(c->command->options[i].name, name);
    check(known, "%s has no option --%s", c->command->name, name);
    for (int i = 0; i < c->n_given; i++)
        if (!strcmp(c->given[i].name, name))
            return c->given[i].value;
    return NULL;
}

bool        cli_given(const struct cli *c, const char *name) { return given_value(c, name) != NULL; }
const char *cli_value(const struct cli *c, const char *name) { return given_value(c, name); }

const char *option_help(char out[OPTION_HELP], const struct cli_option *o)
{
    int n = snprintf(out, OPTION_HELP, "%s%s%s", o->of ? o->of : "", o->of ? ": " : "", o->help);
    check(n < OPTION_HELP, "the help of --%s is too long", o->name);
    return out;
}

int cli_count(const struct cli *c, const char *name, i64 lo, i64 hi, i64 *out)
{
    const char *value = given_value(c, name);
    i64 v = 0;
    if (!value)
        return 0;
    if (!text_int(slice_of(value), &v) || v < lo || v > hi)
        return fail(FAULT_USAGE, "--%s must be an integer from %lld to %lld, not '%s'", name, (long long)lo,
                    (long long)hi, value);
    *out = v;
    return 0;
}

int cli_not_inside(const char *option, const char *path, const char *folder)
{
    if (!path || !folder || !file_inside(path, folder))
        return 0;
    return fail(FAULT_USAGE, "%s %s: would put pictures among the images of %s: name a place outside", option,
                path, folder);
}

int cli_not_input(const struct cli *c, const char *name, const char *input)
{
    const char *out = !strcmp(name, "out") ? c->out : given_value(c, name);
    return out && input && file_same(out, input)
           ? fail(FAULT_USAGE, "--%s %s would replace what is read", name, out) : 0;
}

int cli_operands(const struct cli *c, int lo, int hi)
{
    if (c->n < lo || c->n > hi)
        return fail(FAULT_USAGE, "%s; usage: jetcl %s",
                    c->n < lo ? "missing argument" : "too many arguments", c->command->usage);
    return 0;
}

const char *cli_find_file(struct cli *c, const char *name, const char *kind)
{
    const char *found = spec_find(c->arena, name, kind);
    if (found && strcmp(found, name))
        say(SAY_NORMAL, "%s: %s", name, found);
    return found ? found : name;                  // reading it says what is wrong
}

/* Has the text a key at the first column? */
static bool options_has_key(const char *text, const char *key)
{
    size_t n = strlen(key);
    for (const char *line = text; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
        if (!strncmp(line, key, n) && line[n] == ':')
            return true;
    return false;
}

enum file_kind cli_kind(arena *a, const char *path)
{
    struct stat st;
    if (stat(path, &st))
        return FILE_OTHER;
    if (S_ISDIR(st.st_mode))
        return file_exists(arena_printf(a, "%s/config.yaml", path)) ? FILE_RUN : FILE_OTHER;
    size_t n = 0;
    char *text = S_ISREG(st.st_mode) && st.st_size < 1 << 20 ? file_text(a, path, &n) : NULL;
    bool yaml = text && !memchr(text, 0, n);
    if (yaml && (options_has_key(text, "rows") || options_has_key(text, "columns")))
        return FILE_TABLE;
    if (yaml && (options_has_key(text, "model") || options_has_key(text, "base")))
        return FILE_EXPERIMENT;
    ckpt *c = S_ISREG(st.st_mode) && !yaml ? ckpt_open(path) : NULL;
    ckpt_close(c);
    return c ? FILE_CHECKPOINT : FILE_OTHER;
}

/* Where something else was given than an experiment, the command that takes it. */
static int options_not_experiment(struct cli *c, const char *path)
{
    const char *why = arena_printf(c->arena, "%s", fail_message());
    enum fault fault = fail_fault();
    switch (path ? cli_kind(c->arena, path) : FILE_OTHER) {
    case FILE_RUN:
        return fail(FAULT_USAGE, "%s is a run's folder, not an experiment: jetcl run %s/config.yaml repeats "
                    "the run, jetcl eval %s evaluates it", path, path, path);
    case FILE_TABLE:
        return fail(FAULT_USAGE, "%s is a table, not an experiment: jetcl table %s", path, path);
    case FILE_CHECKPOINT:
        return fail(FAULT_USAGE, "%s is a checkpoint, not an experiment: jetcl eval, predict, inspect and "
                    "convert take one", path);
    default:
        return fail(fault, "%s", why);
    }
}

int cli_spec(struct cli *c, const char *path, struct spec *s)
{
    path = path ? cli_find_file(c, path, "") : NULL;
    return spec_load(s, c->arena, path, c->sets, c->n_sets) ? options_not_experiment(c, path) : 0;
}

int cli_experiment(struct cli *c, struct spec *s)
{
    return cli_operands(c, 1, INT32_MAX) || cli_spec(c, c->operands[0], s) ? -1 : 0;
}
