/* manual.c: the manual page, `jetcl help --man`, from the tables that `help` reads: commands, options, keys,
 * data sets. In the man macros, which man and mandoc read. */
#include "cli/cli.h"
#include "cli/options.h"
#include "data/verify.h"

/* Text as roff prints it: backslashes and hyphens escaped, no control character at the start of a line. */
static void manual_text(const char *text)
{
    if (*text == '.' || *text == '\'')
        printf("\\&");
    for (; *text; text++)
        if (*text == '\\')
            printf("\\e");
        else
            printf(*text == '-' ? "\\-" : "%c", *text);
}

static void manual_line(const char *before, const char *text)
{
    printf("%s", before);
    manual_text(text);
    printf("\n");
}

static void manual_option(char letter, const struct cli_option *o)
{
    char help[OPTION_HELP];
    printf(".TP\n.B ");
    if (letter)
        printf("\\-%c, ", letter);
    printf("\\-\\-");
    manual_text(o->name);
    if (o->value && o->value[0] == '[')
        printf("\\fR[=\\fI%.*s\\fR]", (int)strlen(o->value) - 2, o->value + 1);
    else if (o->value)
        printf(" \\fI%s\\fR", o->value);
    manual_line("\n", option_help(help, o));
}

static void manual_command(const struct command *cmd)
{
    printf(".SS ");
    manual_line("jetcl ", cmd->usage);
    manual_line("", cmd->summary);
    for (int i = 0; cmd->options && cmd->options[i].name; i++)
        manual_option(0, &cmd->options[i]);
    for (int i = 0; i < cli_shared_count; i++)
        if (cli_shared[i].takes & cmd->takes)
            manual_option(cli_shared[i].letter, &cli_shared[i].o);
    for (int i = 0; i < countof(cmd->examples) && cmd->examples[i]; i++) {
        printf(i ? ".br\n" : ".PP\nExample:\n.br\n");
        manual_line(".B ", cmd->examples[i]);
    }
}

static void manual_keys(void)
{
    arena *a = arena_open("manual");
    const struct spec_row *rows;
    int n = spec_rows(a, &rows);
    printf(".SH KEYS OF AN EXPERIMENT FILE\nEach is also set by\n.BR \\-\\-set .\n");
    for (int i = 0; i < n; i++)
        if (rows[i].section) {
            manual_line(".SS ", rows[i].path);
            manual_line("", rows[i].help);
        } else {
            manual_line(".TP\n.B ", rows[i].path);
            manual_line("", rows[i].help);
            manual_line(".br\n", arena_printf(a, "%s; default %s", rows[i].values, rows[i].def));
        }
    arena_close(a);
}

static void manual_sets(void)
{
    printf(".SH DATA SETS\n");
    for (int i = 0; data_set_name(i); i++) {
        manual_line(".TP\n.B ", data_set_name(i));
        manual_line("", data_set_named(data_set_name(i))->help);
    }
}

/* Pairs of a name and its meaning, up to a NULL. */
static void manual_pairs(const char *title, const char *const *pairs)
{
    printf(".SH %s\n", title);
    for (; *pairs; pairs += 2) {
        manual_line(".TP\n.B ", pairs[0]);
        manual_line("", pairs[1]);
    }
}

static void manual_environment(void)
{
    printf(".SH ENVIRONMENT\n");
    for (const struct variable *v = variables; v->name; v++) {
        manual_line(".TP\n.B ", v->name);
        manual_line("", v->help);
    }
    static const char *const channels[] = {
#define TRACE(name, help) #name, help,
#include "base/trace.def"
#undef TRACE
        NULL };
    printf(".RS\n");
    for (const char *const *c = channels; *c; c += 2) {
        printf(".TP\n.B %s\n", c[0]);
        manual_line("", c[1]);
    }
    printf(".RE\n");
}

void help_manual(void)
{
    static const char *const codes[] = {
        "0", "done",
        "1", "run-time failure, such as a full disk",
        "2", "wrong command line or experiment file; nothing was started",
        "3", "data or a checkpoint is missing, damaged or does not fit",
        "4", "no such device, its driver failed, or its memory is too small",
        "5", "a loss that is not finite, or a comparison outside its tolerance",
        "75", "stopped by a signal after saving; --resume continues",
        "130, 143", "stopped by SIGINT or SIGTERM before anything was saved", NULL };
    static const char *const files[] = {
        "runs/NAME/TIME/", "a run: config.yaml, metrics.jsonl, log.txt, ckpt/, result.json",
        "~/.config/jetcl/config.yaml", "the user's defaults for device, device.matrix, threads, data.root"
        " and data.workers",
        "~/.cache/jetcl/", "compiled kernels, tuning results, statistics; may be removed", NULL };
    printf(
        ".TH JETCL 1 2026-11-29 \"jetcl %s\" \"User Commands\"\n.SH NAME\n"
        "jetcl \\- recycle dense checkpoints into mixtures of experts and fine\\-tune them, on OpenCL\n"
        ".SH SYNOPSIS\n.B jetcl\n.I COMMAND\n.RI [ options ]\n.RI [ arguments ]\n"
        ".SH DESCRIPTION\nMoE Jetpack (Zhu et al., NeurIPS 2024): cuts a pre\\-trained ViT or ConvNeXt into "
        "the experts of a mixture\\-of\\-experts model, fine\\-tunes and evaluates it.\n"
        "An experiment is a YAML file. Experiments that come with the program are found by name from any "
        "folder; a local file comes first. Results go to standard output, messages to standard error.\n"
        ".SH COMMANDS\n",
        JETCL_VERSION);
    for (int i = 0; i < cli_command_count; i++)
        manual_command(cli_commands[i]);
    printf(".SH OPTIONS OF EVERY COMMAND\n");
    for (int i = 0; i < cli_shared_count; i++)
        if (!cli_shared[i].takes)
            manual_option(cli_shared[i].letter, &cli_shared[i].o);
    manual_keys();
    manual_sets();
    manual_environment();
    manual_pairs("FILES", files);
    manual_pairs("EXIT STATUS", codes);
}
